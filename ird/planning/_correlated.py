r"""A plan for a written reward that is trusted only near the policy under which it agreed with the meant one.

Two rewards of correlation r under a reference policy may differ anywhere that policy seldom goes.  With normalised
occupancies μ of a plan and ν of the reference, and χ² = Σ (μ - ν)²/ν (Laidlaw et al. 2025 for the penalty):

    penalty       maximise  R̃·μ - λ sqrt(χ²)
    correlation   maximise  r x - sqrt(1 - r²) sqrt(χ² - x²),   x = X·μ,  X the written reward made canonical, length 1

The second is the exact least that any reward with this correlation gains over the reference, in its own standard
deviations.  Both win per x and are charged by χ², so both are a search among tilted references (`_tilts`), and the
potential found there proves how far it is from the best.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ird.flows import (
    check_stationary,
    features_by_action,
    flow_of,
    least_potential,
    reference_flow,
    starts,
    visitable,
)
from ird.planning._tilts import Tilt, Tilting
from mdps.checks import check_mdp, check_number, check_weights, is_concrete, require_concrete, shown
from mdps.mdp import MDP
from mdps.pytrees import frozen_pytree, in_one_line

if TYPE_CHECKING:
    import scipy.sparse as sp

__all__ = ["CorrelatedPlan", "plan_correlated"]
__dir__ = __all__.copy

_NOTHING_LEFT = 1e-9  # of its size: a reward of which less is left ranks all policies alike


@frozen_pytree
@dataclass(frozen=True, eq=False)
class CorrelatedPlan:
    """A plan near a reference policy, with a certificate.

    Attributes:
        policy: probability of each action, `[S, A]`.
        objective: what it attains.  With a penalty in units of return, the penalty taken off; with a correlation the
            least gain over the reference, per visit, in standard deviations of the meant reward under the reference.
        bound: no policy attains more.
        feature_expectations: expected discounted sum of features under the policy, `[K]`.
        converged: whether `bound - objective` is within the tolerance.
        steps: sparse linear systems solved.
        chi_squared: χ² of the policy's occupancy from the reference's.
        threshold: the penalty from which on the reference itself is the best, in units of reward per visit: the
            length of the written reward, made canonical, under the reference.
        gain: written return less that of the reference.
    """

    policy: Float[Array, " S A"]
    objective: Float[Array, ""]
    bound: Float[Array, ""]
    feature_expectations: Float[Array, " K"]
    converged: Bool[Array, ""]
    steps: Int[Array, ""]
    chi_squared: Float[Array, ""]
    threshold: Float[Array, ""]
    gain: Float[Array, ""]

    __repr__ = in_one_line

    def __str__(self) -> str:
        if not all(is_concrete(x) for x in (self.objective, self.bound, self.gain)) or np.ndim(self.objective):
            return f"{type(self).__name__} of a batch, or traced: objective {shown(self.objective)}"
        lines = [
            f"objective            {float(self.objective):.4g}  (no policy attains more than {float(self.bound):.4g})",
            f"written return       {float(self.gain):.4g} above the reference",
            f"distance             chi squared {float(self.chi_squared):.3g} from the reference",
        ]
        if float(self.chi_squared) == 0:
            lines.append(f"stays at the reference: the penalty is not below the threshold {float(self.threshold):.4g}")
        return "\n".join(lines)


def plan_correlated(
    mdp: MDP,
    proxy: Any,
    *,
    reference: Float[Array, " S A"] | np.ndarray | None = None,
    penalty: float | None = None,
    correlation: float | None = None,
    tol: float | None = None,
) -> CorrelatedPlan:
    r"""Plan for a written reward, but only as far from a reference policy as its agreement there can be trusted.

    Give `penalty` or `correlation`.  A penalty is charged per sqrt(χ²) and visit; from `threshold` on the plan is the
    reference itself, which in an MDP comes earlier than at the reward's standard deviation.  With a correlation the
    plan is the one with the best guarantee against *every* reward that has it: `alignment.correlation` measures one,
    and what it guarantees.  Rewards are compared up to shaping.  It runs on the host, in float64.

    Args:
        mdp: an endless MDP with a discount below 1.
        proxy: weights `[K]`, or a `ProxyReward`.
        reference: the policy under which the written reward was seen to agree, `[S, A]`; it must take every action.
            None: the uniform one.
        penalty: λ > 0, in units of reward per visit.
        correlation: r, between 0 and 1.
        tol: gap allowed between `objective` and `bound`, relative to the larger of the objective and what is at stake;
            None: 1e-6 in float64, 1e-4 in float32, in which the answer is handed over.

    Returns:
        A `CorrelatedPlan`.

    Raises:
        ValueError: for an MDP with a horizon, a reference that leaves out an action (state and action are named), both
            or neither of penalty and correlation, or anything traced.

    Source:
        Laidlaw, Singhal & Dragan (2025) for the penalty; the exact worst case is derived on the page "How wrong can
        this reward be?".

    Example:
        >>> import jax.numpy as jnp, numpy as np, mdps
        >>> from ird import planning
        >>> bandit = mdps.MDP.from_dense(np.ones((1, 3, 1)), np.eye(3)[None], [1.0], discount=0.5)
        >>> seldom = np.array([[0.5, 0.3, 0.2]])  # the third arm pays best and was tried least
        >>> near = planning.plan_correlated(bandit, jnp.array([0.0, 1.0, 2.0]), reference=seldom, penalty=0.5)
        >>> [round(float(p), 3) for p in near.policy[0]], round(float(near.threshold), 3)
        ([0.0, 0.267, 0.733], 0.781)
        >>> sure = planning.plan_correlated(bandit, jnp.array([0.0, 1.0, 2.0]), reference=seldom, correlation=0.5)
        >>> [round(float(p), 3) for p in sure.policy[0]], round(float(sure.objective), 3)
        ([0.0, 0.429, 0.571], 0.558)
    """
    check_mdp(mdp)
    weights = check_weights(mdp, proxy.weights if hasattr(proxy, "weights") else proxy, "proxy")
    require_concrete("planning.plan_correlated", probability=mdp.probability, features=mdp.features, proxy=weights)
    require_concrete("planning.plan_correlated", penalty=penalty, correlation=correlation, tol=tol)
    check_stationary(mdp)
    rate = _checked_rate(penalty, correlation)
    if tol is None:
        tol = 1e-4 if mdp.features.dtype == jnp.float32 else 1e-6
    tol = float(
        check_number("tol", tol, lambda x: 0 < x < np.inf, "it must be positive and finite (of what is at stake).")
    )
    world = _near(mdp, reference, weights)
    if world.length <= _NOTHING_LEFT * world.size:
        found = _Found(world.staying(), lambda _: 0.0, 0.0)  # whatever is done is worth the same
    else:
        found = _penalised(world, rate) if penalty is not None else _guaranteed(world, rate)
    return _handed_over(mdp, world, found, tol, returns=penalty is not None)


def _checked_rate(penalty, correlation) -> float:
    if (penalty is None) == (correlation is None):
        raise ValueError("give either penalty=λ or correlation=r: they are two ways to say how far to trust the proxy.")
    if penalty is not None:
        rate = check_number("penalty", penalty, lambda x: 0 < x < np.inf, "it must be positive and finite.")
    else:
        rate = check_number("correlation", correlation, lambda x: 0 < x < 1, "it must lie between 0 and 1.")
    return float(rate)


@dataclass
class _Near:
    """A map and a reference, over states and actions that can occur, all in float64.

    Attributes:
        counts: which states and actions those are, `[S, A]`.
        moved: B of all states and actions, `[S·A, S]`.
        tilting: the family of tilted references.
        length: of the canonical written reward under the reference.
        size: of the written reward as it stands.
        written: the written reward as it stands, `[n]`.
        policy: the reference, `[S, A]`.
        potential: Φ of the canonical form, `[S]`.
    """

    counts: np.ndarray
    moved: "sp.csr_matrix"
    tilting: Tilting
    length: float
    size: float
    written: np.ndarray
    policy: np.ndarray
    potential: np.ndarray

    def staying(self) -> Tilt:
        """The reference itself."""
        return self.tilting.measured(0.0, np.zeros_like(self.tilting.start), self.tilting.reference)


@dataclass
class _Found:
    """The best tilt, what a tilt attains above the reference and per visit, and a bound on that."""

    best: Tilt
    attained: Callable[[Tilt], float]
    bound: float


def _near(mdp: MDP, reference, weights) -> _Near:
    counts, moved = visitable(mdp)
    policy, flow = reference_flow(mdp, reference, moved, counts)
    on, reached = counts.ravel(), counts.any(axis=1)
    inside = moved[:, np.flatnonzero(reached)]
    written = features_by_action(mdp) @ np.asarray(weights, np.float64)
    potential = least_potential(inside, np.where(on, flow, 0), written)
    flow, inside, kept = flow[on], inside[on], written[on]
    canonical = kept + inside @ potential
    length, size = np.sqrt(flow @ canonical**2), np.sqrt(flow @ kept**2)
    tilting = Tilting(inside, starts(mdp)[reached], flow, canonical / (length if length > 0 else 1))
    return _Near(counts, moved, tilting, float(length), float(size), kept, policy, potential)


def _penalised(world: _Near, penalty: float) -> _Found:
    """The tilt at which a step further wins as much as it is charged."""

    def attained(tilt: Tilt) -> float:
        return world.length * tilt.t - penalty * tilt.chi

    if penalty >= world.length:
        return _Found(world.staying(), attained, 0.0)
    best = world.tilting.until(lambda tilt: world.length - penalty * tilt.s / tilt.chi)
    # The adversary's share of the ball, and with the same factor the potential that answers it.
    factor = min(world.length / best.s, penalty / best.chi)
    gain = best.visits / world.tilting.reference - 1
    bound = _no_more_than(world, world.length * world.tilting.reward - factor * gain, world.length / best.s * best.v)
    return _Found(best, attained, bound)


def _guaranteed(world: _Near, r: float) -> _Found:
    """The tilt with the best guarantee against every reward of correlation r."""
    rest, X = (1 - r**2) ** 0.5, world.tilting.reward
    # Straight along the written reward nothing is charged; from where that ends the charge begins at once.
    best, (potential, gain) = world.tilting.straight(), world.tilting.turn()
    along = float((world.tilting.reference * X) @ gain)
    behind, off = 1 - along, float(np.sqrt(world.tilting.reference @ (gain - along * X) ** 2))
    if r * off > rest * behind:
        best = world.tilting.until(lambda tilt: r - rest * tilt.behind / tilt.off if tilt.off > 0 else r)
        potential, gain = best.v, best.visits / world.tilting.reference - 1
        along, behind, off = best.t, best.behind, best.off
    # The adversary's share of the ball, and with the same factor the potential that answers it.
    factor = min(r / behind, rest / off) if behind > 0 and off > 0 else 0.0
    against = r * X - factor * (gain - along * X)
    bound = _no_more_than(world, against, r / behind * potential if behind > 0 else 0 * potential)
    return _Found(best, lambda tilt: r * tilt.t - rest * tilt.off, bound)


def _no_more_than(world: _Near, reward: np.ndarray, potential: np.ndarray) -> float:
    """No policy's occupancy collects more of a reward than this, whatever the potential."""
    residual = reward + world.tilting.moved @ potential
    rounding = 8 * np.finfo(np.float64).eps * np.abs(reward).max()
    return float(world.tilting.start @ potential + residual.max() + rounding)


def _handed_over(mdp: MDP, world: _Near, found: "_Found", tol: float, *, returns: bool) -> CorrelatedPlan:
    """The plan in the precision of the MDP, with what its policy attains there."""
    dtype, total = mdp.features.dtype, float(mdp.total_visits)
    policy = jnp.asarray(_policy_of(world, found.best), dtype)
    counts = world.counts
    flow = flow_of(mdp, np.asarray(policy, np.float64), world.moved, counts)
    here = world.tilting.measured(found.best.s, found.best.v, flow[counts.ravel()])
    objective, bound, stake = found.attained(here), found.bound, 1.0
    if returns:  # above the reference and per visit so far
        stay = float(starts(mdp)[counts.any(axis=1)] @ world.potential)
        objective, bound, stake = total * (stay + objective), total * (stay + bound), total * world.length
    rounding = 64 * np.finfo(np.float64).eps * (abs(objective) + stake)
    objective, bound = objective - rounding, max(bound, objective) + rounding
    numbers = (objective, bound, here.chi**2, world.length, total * world.length * here.t)
    objective_, bound_, chi_squared, threshold, gain = (jnp.asarray(x, dtype) for x in numbers)
    return CorrelatedPlan(
        policy,
        objective_,
        bound_,
        jnp.asarray(total * (flow @ features_by_action(mdp)), dtype),
        jnp.asarray(bound - objective <= tol * max(abs(objective), stake)),
        jnp.asarray(world.tilting.solves),
        chi_squared,
        threshold,
        gain,
    )


def _policy_of(world: _Near, best: Tilt) -> np.ndarray:
    """The policy of some occupancies; where they never come, the reference."""
    visits = np.zeros(world.counts.shape)
    visits[world.counts] = best.visits
    total = visits.sum(axis=1, keepdims=True)
    there = total > 1e-13
    return np.where(there, visits / np.where(there, total, 1), world.policy)
