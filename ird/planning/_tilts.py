r"""How much of a reward a policy can win at a given distance from a reference: a family of quadratic programs.

For a canonical reward X of length one under the occupancy ν of the reference (`ird.flows`), and any s > 0,

    μ_s = argmax  s X·μ - χ²(μ)/2  over occupancies μ,      χ²(μ) = Σ (μ - ν)² / ν

is ν tilted along X, kept among occupancies by a potential v that solves a convex problem in S numbers,

    min_v  (1 - γ) μ₀·v + Σ ν H(s X + B v),      H(a) = a + a²/2 for a > -1, else -1/2;      μ_s = ν (1 + s X + B v)₊

by a semismooth Newton method.  As s grows from 0, t = X·μ_s grows, and χ² is the least with which t can be had; its
derivative is dχ²/dt = 2 s.  So whatever is won per t and charged by χ² is a search in one number.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import scipy.sparse as sp

__all__ = ["Tilt", "Tilting"]
__dir__ = __all__.copy

_NEWTON_STEPS, _HALVINGS = 100, 40
_BALANCED = 1e-14  # what may enter and not leave, of all visits
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
        newton: Newton steps so far.
    """

    moved: "sp.csr_matrix"
    start: np.ndarray
    reference: np.ndarray
    reward: np.ndarray
    newton: int = 0

    def at(self, s: float, near: Tilt | None = None) -> Tilt:
        """μ_s, from a member that is near."""
        v = np.zeros_like(self.start) if near is None or near.s == 0 else near.v * (s / near.s)
        value, slope, active = self._look(s, v)
        for _ in range(_NEWTON_STEPS):
            if np.abs(slope).sum() <= _BALANCED:
                break
            self.newton += 1
            step, before = self._step(slope, active), np.abs(slope).sum()
            for halving in range(_HALVINGS):
                moved = v + step * 0.5**halving
                new = self._look(s, moved)
                if new[0] <= value + 1e-4 * 0.5**halving * (slope @ step) or np.abs(new[1]).sum() < before / 2:
                    break
            else:
                break  # no descent is left to see in float64
            settled = halving == 0 and (new[2] == active).all() and np.abs(new[1]).sum() > before / 2
            v, (value, slope, active) = moved, new
            if settled:
                break  # the same quadratic twice: what is left is rounding
        return self.measured(s, v, self.reference * np.maximum(1 + s * self.reward + self.moved @ v, 0))

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
        return self.at(1 / -self.reward.min())

    def turn(self) -> tuple[np.ndarray, np.ndarray]:
        """How the potential, `[S]`, and the visits per ν, `[n]`, go on from there, per s."""
        ended = self.reward <= self.reward.min() * (1 - 1e-12)
        for _ in range(int(ended.sum()) + 1):
            ahead = self._step(self.moved.T @ (self.reference * ~ended * self.reward), ~ended)
            back = ended & (self.reward + self.moved @ ahead > 1e-12)
            if not back.any():
                break
            ended = ended & ~back
        return ahead, np.where(ended, 0, self.reward + self.moved @ ahead)

    def until(self, falls) -> Tilt:
        """The first member at which `falls(tilt)`, which decreases in s, is no longer positive."""
        from scipy.optimize import brentq

        low = self.straight()
        high = self.at(2 * low.s, low)
        while falls(high) > 0 and high.s < _FARTHEST * low.s:
            low, high = high, self.at(4 * high.s, high)
        seen = [low, high]

        def value(log_s: float) -> float:
            s = float(np.exp(log_s))
            if s > low.s:
                seen.append(self.at(s, min(seen, key=lambda tilt: abs(tilt.s - s))))
            return falls(seen[-1]) if s > low.s else 1.0

        if falls(high) < 0:
            brentq(value, np.log(low.s), np.log(high.s), xtol=1e-10, rtol=1e-12)
        return min((tilt for tilt in seen[1:] if falls(tilt) <= 0), key=lambda tilt: tilt.s, default=high)

    def _look(self, s: float, v: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        a = s * self.reward + self.moved @ v
        active = a > -1
        paid = np.where(active, a + a**2 / 2, -0.5)
        slope = self.start + self.moved.T @ (self.reference * np.where(active, 1 + a, 0))
        return float(self.start @ v + self.reference @ paid), slope, active

    def _step(self, slope: np.ndarray, active: np.ndarray) -> np.ndarray:
        import scipy.sparse as sp
        from scipy.sparse.linalg import splu

        bent = self.moved.T @ sp.diags(self.reference * active) @ self.moved
        # A state that no active action leads from has no curvature of its own.
        damping = min(1e-3, np.abs(slope).sum() + 1e-9) * 1e-3 * (bent.diagonal().mean() + 1e-300)
        return -splu((bent + damping * sp.eye(len(slope))).tocsc()).solve(slope)
