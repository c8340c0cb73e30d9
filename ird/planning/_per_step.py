"""The plan that is careful at every step: one ordinary planning problem."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ird.beliefs import Belief, check_belief, counting
from ird.blocks import ROWS, in_blocks
from ird.planning._explain import remember
from ird.planning._offsets import check_units
from ird.planning._risk_plan import (
    RiskPlan,
    check_risk,
    rounding_of_sums,
    rounding_of_visits,
    visits_of,
)
from ird.risk import Risk
from mdps.checks import check_array
from mdps.mdp import MDP
from mdps.solvers import Solution, solve


def plan_per_step(
    mdp: MDP, belief: Belief, *, risk: Risk, baseline: Float[Array, " K"], units: Float[Array, " N"] | None = None
) -> RiskPlan:
    """Plan for the sum over time of the risk-adjusted reward of each step.

    `Σ_t ρ(w_i·(φ(s_t) - baseline))`: the per-step variant of Hadfield-Menell et al. (2017, section 4),
    measured from a baseline.  The adversary may choose again at every step, so this is more cautious
    than `plan`: the risk-adjusted rewards add up to no more than the risk-adjusted return.  It freezes where a
    goal is paid once and steps cost, since what evidence knows as a sum is split and the worst taken of each part;
    `plan_least_exposure` does not.  `print` of the plan says whether it has.

    Args:
        mdp: where to plan.
        belief: weight samples and their log probabilities.
        risk: a measure from `ird.risk`.
        baseline: features of an ordinary visit, `[K]` (see `start_features`, `training_features`).
        units: as in `plan`.

    Returns:
        A `RiskPlan`: `objective` is what the policy attains in the per-step objective, `bound` what
        no policy exceeds in it, from the initial distribution.

    Raises:
        ValueError: for a belief about other features, or a baseline of the wrong shape or not finite.

    Example:
        Two who may have written: to one the goal is an end to costly steps, to the other a prize.  Both would go.

        >>> import jax.numpy as jnp, mdps
        >>> from ird import planning, posterior
        >>> from ird.risk import WorstCase
        >>> legend = {"S": "floor", ".": "floor", "G": "goal"}
        >>> grid = mdps.GridWorld.from_text("S..G", legend, terminal=("goal",), step=True, horizon=12)
        >>> belief = posterior.exact(candidates=jnp.array([[0.0, -2.0, -1.0], [0.0, 10.0, -0.1]]))
        >>> start = planning.start_features(grid.mdp)
        >>> plan = planning.plan_per_step(grid.mdp, belief, risk=WorstCase(), baseline=start)
        >>> [line.split(",")[0] for line in str(plan).splitlines() if "gain" in line]
        ['frozen: it stays where it begins']
    """
    weights, log_weights = check_belief(mdp, belief)
    baseline = check_array("baseline", baseline)
    if baseline.shape != (mdp.num_features,):
        raise ValueError(
            f"baseline has shape {baseline.shape}, but this MDP has {mdp.num_features} features; "
            "give the features of one visit."
        )
    units = None if units is None else check_units(units, log_weights)
    check_risk(risk, weights, log_weights)
    # Three programs: the one in the middle is everybody's.
    reward, slack = _careful_reward(mdp, weights, log_weights, risk, baseline, units, kind=type(risk))
    found = _certified(mdp, reward, slack, solve(mdp, reward))
    return remember(found, mdp, belief, risk=risk, baseline=baseline, units=units)


@functools.partial(jax.jit, static_argnames="kind")
@jax.default_matmul_precision("highest")
def _careful_reward(mdp: MDP, weights, log_weights, risk: Risk, baseline, units, kind: type) -> tuple[Array, Array]:
    """The risk-adjusted reward of each visit, `[S]` or `[S, A]`, and what may be rounding in any of them.

    `kind` is the measure's class: JAX may take two classes for one (`mdps.pytrees`), should a user's be so made.
    """
    del kind
    dtype = jnp.result_type(weights, mdp.probability, float)
    weights, log_weights = weights.astype(dtype), log_weights.astype(dtype)
    if units is not None:
        weights = weights / jnp.where(jnp.isfinite(units), units, jnp.nan).astype(dtype)[:, None]
    [weights] = counting(log_weights, weights)
    features = mdp.features.astype(dtype).reshape(-1, mdp.num_features) - baseline.astype(dtype)[None]
    each = in_blocks(lambda block: risk.value(block @ weights.T, log_weights), features, ROWS)
    slack = rounding_of_sums(dtype, *weights.shape) * jnp.max(jnp.abs(features) @ jnp.max(jnp.abs(weights), axis=0))
    return each.reshape(mdp.features.shape[:-1]), slack


@jax.jit
@jax.default_matmul_precision("highest")
def _certified(mdp: MDP, reward, slack, solution: Solution) -> RiskPlan:
    """What the policy attains, and what none exceeds."""
    dtype, total = reward.dtype, mdp.total_visits
    mdp = jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, mdp)
    taken = visits_of(mdp, solution.policy)[..., None] * solution.policy
    taken = jnp.sum(taken.reshape(-1, *taken.shape[-2:]), axis=0)
    per_action = reward[:, None] if reward.ndim == 1 else reward
    attained = jnp.sum(taken * per_action)
    size = jnp.sum(taken * jnp.abs(per_action))
    summed = 4 * jnp.finfo(dtype).eps * total * jnp.max(jnp.abs(reward))
    lost = total * slack + summed
    objective = attained - lost - rounding_of_visits(mdp, dtype) * size
    bound = mdp.initial @ solution.value + solution.error_bound + lost
    known = jnp.isfinite(bound) & jnp.isfinite(objective)
    by_action = mdp.features if mdp.features.ndim == 3 else mdp.features[:, None]
    return RiskPlan(
        policy=solution.policy,
        objective=objective,
        bound=jnp.where(known, jnp.maximum(bound, objective), jnp.inf),
        feature_expectations=jnp.einsum("sa,sak->k", taken, by_action),
        converged=solution.converged & known,
        steps=solution.steps,
    )
