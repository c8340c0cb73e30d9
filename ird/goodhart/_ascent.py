r"""Steepest ascent of a written reward over occupancies, and where to stop so that no reward of a cone falls.

Occupancies are normalised to a sum of one.  From a policy's the path follows, face by face, the unit direction t along
which the written reward rises most; its slope R̃·t never increases, and is 0 at an optimum.  M R is the projection of a
reward on the differences of occupancies (`alignment.Minimal`).  Of all rewards R with an angle of at most θ between
M R and M R̃, none falls along a unit direction t if and only if

    R̃·t >= sin θ · |M R̃|         for θ < π/2; beyond it every direction lowers some

(Karwowski et al. 2024: the early stop).  That is a fact about directions: any optimiser's iterates can be stopped so.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ird.flows import check_stationary, flow_of, visitable
from ird.goodhart._curve import check_either, range_of, reward_table
from ird.goodhart._tangent import MOST_PAIRS, dense_flow, rising, shares_of_flow
from mdps.checks import (
    check_array,
    check_count,
    check_mdp,
    check_number,
    check_policy,
    is_concrete,
    require_concrete,
    shown,
)
from mdps.mdp import MDP
from mdps.policies import uniform_policy
from mdps.pytrees import frozen_pytree, in_one_line

_FLAT = 1e-9  # of the reward's own length: a slope that is rounding
_ASTRAY = 1e-6  # of a direction: how much of it may leave the flow


@frozen_pytree
@dataclass(frozen=True, eq=False)
class Path:
    """Occupancies one after another, and how fast the written reward rises from each to the next.

    Attributes:
        occupancies: normalised to a sum of one, `[I, S, A]`.
        slopes: written reward per unit of distance between normalised occupancies from each to the next, `[I]`; 0 at
            the last.
        length: |M R̃|, the most that a slope can be.
        proxy: return of the written reward, `[I]`.
        converged: whether the last is optimal for the written reward: not if `max_steps` ended it, or float64 (visits
            of far states 1e15 times rarer than others); of iterates, whether they moved at all.
        mdp: the MDP.
    """

    occupancies: Float[Array, " I S A"]
    slopes: Float[Array, " I"]
    length: Float[Array, ""]
    proxy: Float[Array, " I"]
    converged: Bool[Array, ""]
    mdp: MDP

    __repr__ = in_one_line

    def stop(self, angle: float | Float[Array, ""]) -> Int[Array, ""]:
        """The first place from which some reward within this angle of the written one may fall: where to stop.

        Args:
            angle: θ, in radians, between the canonical rewards: `alignment.geometry(mdp).angle(written, meant)`, or a
                quantile of it under a belief. From π/2 on the answer is 0, the start.

        Returns:
            An index into `occupancies`; the last where nothing can fall on the way.
        """
        within = "it is an angle in radians, from 0 to π."
        angle = check_number("angle", angle, lambda x: 0 <= x <= np.pi + 1e-6, within, dtype=self.slopes.dtype)
        return _first_fall(self.slopes, self.length, angle)

    def returns(self, true: Any) -> Float[Array, " I"]:
        """Return of a reward, weights `[K]` or a table, at each occupancy, `[I]`."""
        reward = reward_table(self.mdp, check_either(self.mdp, "true", true))
        return _returns_at(self.occupancies, reward, self.mdp.total_visits)

    def drop(self, true: Any, stop: Int[Array, ""] | int | None = None) -> Float[Array, ""]:
        """By how much the meant return ends below its best on the way, in units of return.

        Args:
            true: the meant reward, weights `[K]` or a table.
            stop: the index at which the path is left, such as `path.stop(angle)`; None: its end.
        """
        end = self.slopes.shape[0] - 1 if stop is None else self._place("stop", stop)
        return _fallen(self.returns(true), jnp.asarray(end))

    def relative_drop(self, true: Any, stop: Int[Array, ""] | int | None = None) -> Float[Array, ""]:
        """The drop as a share of what lies between the worst and the best return, from 0 to 1."""
        span = range_of(self.mdp, reward_table(self.mdp, check_either(self.mdp, "true", true)))
        return self.drop(true, stop) / jnp.maximum(span, 1e-30)

    def policy(self, index: Int[Array, ""] | int) -> Float[Array, " S A"]:
        """The stationary policy of one occupancy; where it never is, at random."""
        visits = self.occupancies[self._place("index", index)]
        total = jnp.sum(visits, axis=1, keepdims=True)
        return jnp.where(total > 0, visits / jnp.where(total > 0, total, 1), uniform_policy(self.mdp))

    def _place(self, name: str, index) -> Any:
        """An index into the path, from the end if it is negative; JAX itself would take the nearest for any other."""
        many = self.slopes.shape[0]
        if is_concrete(index) and (
            np.ndim(index) or not np.issubdtype(np.asarray(index).dtype, np.integer) or not -many <= index < many
        ):
            raise ValueError(f"{name} is {shown(index)}; give a whole number, an index into the {many} places.")
        return jnp.where(jnp.asarray(index) < 0, index + many, index)


def ascend(
    mdp: MDP, proxy: Any, *, start: Float[Array, " S A"] | np.ndarray | None = None, max_steps: int = 1000
) -> Path:
    """Follow the steepest ascent of a written reward over occupancies, from a policy to an optimum.

    On the host in float64, with a dense matrix of states and actions: for MDPs of some hundreds of both together (480
    take a quarter of a minute).

    Args:
        mdp: an endless MDP with a discount below 1.
        proxy: the written reward: weights `[K]`, a `ProxyReward`, or a table `[S]` or `[S, A]`.
        start: the policy to start from, `[S, A]`; None: the one that acts at random.
        max_steps: most pieces of the path.

    Returns:
        A `Path`: `stop(angle)`, `drop(true)`, `policy(index)`.

    Raises:
        ValueError: for an MDP with a horizon or without a discount, or one that is too large, and for rewards and
            policies that do not fit it.
        TypeError: under `jit` or `vmap`.

    Example:
        >>> import jax.numpy as jnp, mdps
        >>> from ird import alignment
        >>> grid = mdps.GridWorld.from_text("aSb", {"a": "left", "S": "mid", "b": "right"}, discount=0.5, goal=None)
        >>> written, meant = grid.weights(left=1.0, right=1.0), grid.weights(left=1.0)
        >>> path = ascend(grid.mdp, written)
        >>> angle = alignment.geometry(grid.mdp).angle(written, meant)
        >>> float(path.drop(meant, path.stop(angle))), bool(path.converged)
        (0.0, True)
    """
    held = _door(mdp, "ascend", proxy)
    max_steps = check_count("max_steps", max_steps)
    start = None if start is None else _stationary(mdp, "start", start)
    require_concrete("goodhart.ascend", start=start)
    reward, policy = reward_table(mdp, held), uniform_policy(mdp) if start is None else start
    live, moved = visitable(mdp)
    if live.sum() > MOST_PAIRS:
        raise ValueError(
            f"mdp has {live.sum()} states and actions that can occur, and goodhart.ascend makes a square matrix of "
            f"them; it takes at most {MOST_PAIRS}: use goodhart.along on the iterates of another optimiser."
        )
    basis = shares_of_flow(dense_flow(live, moved))
    projector = np.eye(basis.shape[0]) - basis @ basis.T
    R = np.asarray(reward, np.float64)[live]
    c = R - basis @ (basis.T @ R)
    begin = flow_of(mdp, np.asarray(policy, np.float64), moved, live)[live.ravel()]
    places, slopes, converged = _climb(projector, c, begin, np.linalg.norm(R), max_steps)
    return _path_through(mdp, live, reward, np.array(places), np.array(slopes), np.linalg.norm(c), converged)


def along(mdp: MDP, proxy: Any, policies: Float[Array, " I S A"] | np.ndarray) -> Path:
    """The path of any optimiser's iterates: how fast the written reward rises from each to the next, and where to stop.

    Args:
        mdp: an endless MDP with a discount below 1.
        proxy: the written reward: weights `[K]`, a `ProxyReward`, or a table `[S]` or `[S, A]`.
        policies: the iterates, in order, `[I, S, A]`.

    Returns:
        A `Path`; stopping it by an angle is sound for every reward of the cone, between the iterates as well.

    Raises:
        ValueError: for an MDP with a horizon or without a discount, and for rewards and policies that do not fit it.
        TypeError: under `jit` or `vmap`.

    Example:
        >>> import jax.numpy as jnp, mdps
        >>> grid = mdps.GridWorld.from_text("aSb", {"a": "left", "S": "mid", "b": "right"}, discount=0.5, goal=None)
        >>> reward = grid.mdp.reward(grid.weights(left=1.0))
        >>> iterates = jnp.stack([mdps.solve(grid.mdp, reward, temperature=t).policy for t in (4.0, 1.0, 0.25)])
        >>> path = along(grid.mdp, reward, iterates)
        >>> bool((path.slopes[:-1] > 0).all()), int(path.stop(0.3))
        (True, 2)
    """
    held = _door(mdp, "along", proxy)
    policies = check_array("policies", policies)
    require_concrete("goodhart.along", policies=policies)
    if policies.ndim != 3 or policies.shape[0] == 0:
        raise ValueError(f"policies has shape {policies.shape}; give the iterates in order, [I, S, A] with I ≥ 1.")
    iterates = [_stationary(mdp, f"policies[{i}]", x) for i, x in enumerate(np.asarray(policies))]
    reward, (live, moved) = reward_table(mdp, held), visitable(mdp)
    places = np.array([flow_of(mdp, np.asarray(x, np.float64), moved, live)[live.ravel()] for x in iterates])
    basis = shares_of_flow(dense_flow(live, moved))
    R = np.asarray(reward, np.float64)[live]
    steps = np.diff(places, axis=0)
    far = np.linalg.norm(steps, axis=1)
    slopes = np.append(np.where(far > 0, steps @ R / np.where(far > 0, far, 1), 0), 0.0)
    length = np.linalg.norm(R - basis @ (basis.T @ R))
    return _path_through(mdp, live, reward, places, slopes, length, bool((far > 0).any()))


def _door(mdp: MDP, name: str, proxy: Any) -> Array:
    """The written reward, weights or a table, of an MDP that is known and has no horizon."""
    check_mdp(mdp)
    require_concrete(f"goodhart.{name}", next_state=mdp.next_state, probability=mdp.probability, initial=mdp.initial)
    check_stationary(mdp)
    held = check_either(mdp, "proxy", proxy)
    require_concrete(f"goodhart.{name}", proxy=held)
    return held


def _stationary(mdp: MDP, name: str, policy) -> Array:
    """A policy `[S, A]`, by the name that it has here."""
    try:
        return check_policy(mdp, policy, stationary=True)
    except ValueError as error:
        raise ValueError(f"{name} is no such policy: {error}") from None


def _climb(projector, c, visits, size, max_steps: int) -> tuple[list[np.ndarray], list[float], bool]:
    """Occupancies face by face, and the slope from each, until none rises."""
    length = np.linalg.norm(c)
    places, slopes = [visits], []
    if length <= _FLAT * size:
        return places, [0.0], True
    unit, prices = c / length, None
    for _ in range(max_steps):
        here = places[-1]
        t, prices = rising(projector, unit, here <= 0, prices)
        slope = np.linalg.norm(t)  # of the unit reward: t is its projection on a cone
        if slope <= _FLAT:
            return places, [*slopes, 0.0], True
        falling = (t < -1e-12 * slope) & (here > 0)
        if not falling.any() or np.linalg.norm(t - projector @ t) > _ASTRAY * slope:
            return places, [*slopes, 0.0], False
        slopes.append(slope * length)
        step = np.min(here[falling] / -t[falling])
        ahead = here + step * t
        ahead[(ahead <= 1e-15) | (falling & (here <= -t * step * (1 + 1e-12)))] = 0
        places.append(ahead)
    return places, [*slopes, 0.0], False


def _path_through(mdp: MDP, live, reward, places: np.ndarray, slopes: np.ndarray, length, converged: bool) -> Path:
    dtype = jnp.result_type(mdp.probability, reward)
    table = np.zeros((len(places), *live.shape))
    table[:, live] = places
    proxy = float(mdp.total_visits) * np.sum(table * np.asarray(reward, np.float64)[None], axis=(1, 2))
    visits, rises, most, returns = (jnp.asarray(x, dtype) for x in (table, slopes, length, proxy))
    return Path(visits, rises, most, returns, jnp.asarray(converged), mdp)


@jax.jit
def _first_fall(slopes, length, angle) -> Array:
    falls = (slopes < jnp.sin(angle) * length).at[-1].set(True)
    return jnp.where(angle >= jnp.pi / 2, 0, jnp.argmax(falls))


@jax.jit
def _returns_at(occupancies, reward, total_visits) -> Array:
    return total_visits * jnp.sum(occupancies * reward[None], axis=(1, 2))


@jax.jit
def _fallen(returns, end) -> Array:
    walked = jnp.arange(returns.shape[0]) <= end
    return jnp.max(jnp.where(walked, returns, -jnp.inf)) - returns[end]
