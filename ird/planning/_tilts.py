r"""How much of a reward a policy can win at a given distance from a reference: a family of quadratic programs.

For a canonical reward X of length one under the occupancy ν of the reference (`ird.flows`), and any s > 0,

    μ_s = argmax  s X·μ - χ²(μ)/2  over occupancies μ,      χ²(μ) = Σ (μ - ν)² / ν

is ν tilted along X, kept among occupancies by a potential v that solves a convex problem in S numbers,

    min_v  (1 - γ) μ₀·v + Σ ν H(s X + B v),      H(a) = a + a²/2 for a > -1, else -1/2;      μ_s = ν (1 + s X + B v)₊

by an interior point method.  As s grows from 0, t = X·μ_s grows, and χ² is the least with which t can be had; its
derivative is dχ²/dt = 2 s.  So whatever is won per t and charged by χ² is a search in one number.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import scipy.sparse as sp

__all__ = ["Tilt", "Tilting"]
__dir__ = __all__.copy

_INSIDE_STEPS, _POLISHES = 80, 8
_FARTHEST = 1e7  # beyond it only the reward itself matters


@dataclass(frozen=True)
class Tilt:
    """One member of the family.

    Attributes:
        s: how far ν was tilted.
        v: the potential, `[S]`.
        visits: μ_s, normalised, of states and actions in a row.
        t: X·μ_s.
        chi: sqrt(χ²) of it.
        off: the length of what is no tilt along X, sqrt(χ² - t²).
        behind: s - t.
    """

    s: float
    v: np.ndarray
    visits: np.ndarray
    t: float
    chi: float
    off: float
    behind: float


@dataclass
class Tilting:
    """The family, over states and actions that can occur.

    Attributes:
        moved: B, `[n, S]`.
        start: (1 - γ) μ₀, `[S]`.
        reference: ν, `[n]`.
        reward: X, `[n]`: Σ ν X = 0, Σ ν X² = 1.
        solves: linear systems so far.
    """

    moved: "sp.csr_matrix"
    start: np.ndarray
    reference: np.ndarray
    reward: np.ndarray
    solves: int = 0

    def at(self, s: float) -> Tilt:
        """μ_s: an interior point method finds which actions are not taken, Newton's then the rest."""
        v, y = self._from_inside(s)
        best, off = (v, y), self._unbalanced(y)
        for _ in range(_POLISHES):
            a = s * self.reward + self.moved @ v
            y = np.maximum(1 + a, 0)
            now = self._unbalanced(y)
            # Far out v is large and 1 + s X + B v all rounding: then what was found inside stands.
            if not now < off / 2:
                break
            best, off = (v, y), now
            self.solves += 1
            slope = self.start + self.moved.T @ (self.reference * y)
            v = v - self._factor(self.reference * (a > -1) + 1e-12 * self.reference).solve(slope)
        v, y = best
        return self.measured(s, v, self.reference * y)

    def measured(self, s: float, v: np.ndarray, visits: np.ndarray) -> Tilt:
        """What occupancies win and how far they are from the reference."""
        gain = visits / self.reference - 1
        t = float(self.reward @ visits)
        length = lambda x: float(np.sqrt(self.reference @ x**2))  # noqa: E731
        # Term by term, for both may be close.
        behind = float((self.reference * self.reward) @ (s * self.reward - gain))
        return Tilt(s, v, visits, t, length(gain), length(gain - t * self.reward), behind)

    def straight(self) -> Tilt:
        """The last member that is ν tilted along X and nothing else: some action is no longer taken."""
        s = 1 / -self.reward.min()
        return self.measured(s, np.zeros_like(self.start), self.reference * np.maximum(1 + s * self.reward, 0))

    def turn(self) -> tuple[np.ndarray, np.ndarray]:
        """How the potential, `[S]`, and the visits per ν, `[n]`, go on from there, per s."""
        ended, ahead = self.reward <= self.reward.min() * (1 - 1e-12), np.zeros_like(self.start)
        for _ in range(int(ended.sum()) + 1):
            kept = self.reference * np.where(ended, 1e-12, 1)
            ahead = -self._factor(kept).solve(self.moved.T @ (kept * self.reward))
            back = ended & (self.reward + self.moved @ ahead > 1e-12)
            if not back.any():
                break
            ended = ended & ~back
        return ahead, np.where(ended, 0, self.reward + self.moved @ ahead)

    def until(self, falls) -> Tilt:
        """The first member at which `falls(tilt)`, which decreases in s, is no longer positive."""
        from scipy.optimize import brentq

        low = self.straight().s
        high = self.at(2 * low)
        while falls(high) > 0 and high.s < _FARTHEST * low:
            high = self.at(4 * high.s)
        seen, bottom, top = [high], float(np.log(low)), float(np.log(high.s))

        def value(log_s: float) -> float:
            if bottom < log_s < top:
                seen.append(self.at(float(np.exp(log_s))))
            return 1.0 if log_s <= bottom else falls(high if log_s >= top else seen[-1])

        if falls(high) < 0:
            brentq(value, bottom, top, xtol=1e-10)
        return min((tilt for tilt in seen if falls(tilt) <= 0), key=lambda tilt: tilt.s, default=high)

    def _from_inside(self, s: float) -> tuple[np.ndarray, np.ndarray]:
        """The potential and y = μ/ν, by Mehrotra's predictor and corrector on y >= 0 and its prices z."""
        moved, nu, target = self.moved, self.reference, 1 + s * self.reward
        y, z, v = np.ones_like(nu), np.ones_like(nu), np.zeros_like(self.start)

        def longest(x, step):
            falling = step < 0
            return min(1.0, float(np.min(-x[falling] / step[falling]))) if falling.any() else 1.0

        for _ in range(_INSIDE_STEPS):
            wrong = y - target - moved @ v - z
            lacking = self.start + moved.T @ (nu * y)
            gap = float(nu @ (y * z)) / nu.sum()
            if gap < 1e-13 * (1 + s) and np.abs(wrong).max() < 1e-10 * (1 + s):
                break
            self.solves += 1
            weight = 1 / (1 + z / y)
            factor = self._factor(nu * weight)
            dy, dz, dv, after = np.zeros_like(nu), np.zeros_like(nu), np.zeros_like(v), 0.0
            for _ in range(2):  # straight for the end first, then past what that has shown to bend
                complement = after - y * z - dy * dz
                aim = complement / y - wrong
                dv = -factor.solve(lacking + moved.T @ (nu * weight * aim))
                dy = weight * (moved @ dv + aim)
                dz = (complement - z * dy) / y
                ahead = float(nu @ ((y + longest(y, dy) * dy) * (z + longest(z, dz) * dz))) / nu.sum()
                after = (ahead / gap) ** 3 * gap
            share = 0.995 * min(longest(y, dy), longest(z, dz))
            y, z, v = y + share * dy, z + share * dz, v + share * dv
        return v, np.where(y > z, y, 0)

    def _unbalanced(self, y: np.ndarray) -> float:
        """What enters a state and does not leave it, of how often the reference is there."""
        return float(np.max(np.abs(self.start + self.moved.T @ (self.reference * y)) / self._whole))

    def _factor(self, weights: np.ndarray):
        import scipy.sparse as sp
        from scipy.sparse.linalg import splu

        return splu((self.moved.T @ sp.diags(weights) @ self.moved).tocsc())

    @cached_property
    def _whole(self) -> np.ndarray:
        """The curvature in each state where every action is active, `[S]`."""
        return self.moved.multiply(self.moved).T @ self.reference
