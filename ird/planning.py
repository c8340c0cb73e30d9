"""Planning under a belief about the reward: certified per trajectory, or greedily per step.

A policy matters to the objective only through its feature expectations φ, a point of a polytope in
K dimensions.  `plan` therefore plays a small game instead of solving a linear program over states:
the planner answers a mixture of rewards with an optimal policy (`mdps.solve`), the risk measure
answers a mixture of policies with its worst distribution over weight samples, and the matrix game
between the answers found so far says what to ask next.  What the mixture attains is a lower bound
on the optimum and what `solve` achieves against the adversary is an upper one, at every step.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ird.matrix_game import equilibrium
from ird.offsets import (
    BLOCK,
    Belief,
    check_belief,
    check_units,
    log_normalizer_offset,
    map_features,
    no_offset,
    policy_offset,
    regret_offset,
    start_features,
    start_offset,
    training_features,
    training_offset,
    training_stakes,
)
from ird.risk import Risk
from mdps.checks import check_finite, is_concrete
from mdps.linear import policy_weights, push
from mdps.mdp import MDP
from mdps.policies import occupancy
from mdps.solvers import solve

__all__ = [
    "RiskPlan",
    "log_normalizer_offset",
    "map_features",
    "no_offset",
    "plan",
    "plan_per_step",
    "policy_offset",
    "regret_offset",
    "start_features",
    "start_offset",
    "training_features",
    "training_offset",
    "training_stakes",
]

MAX_STEPS = 400
ROUNDS = 2  # answers of the adversary for each plan


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RiskPlan:
    """A plan that is careful about what the reward might be, with a certificate.

    Attributes:
        policy: probability of each action, `[S, A]`, or `[T, S, A]` with a horizon.
        objective: what this policy attains, in units of return.
        bound: no policy attains more; includes the solver's own error bound.
        feature_expectations: expected discounted sum of features under the policy, `[K]`.
        converged: whether `bound - objective` met the tolerance.
        steps: calls of the solver.
    """

    policy: Float[Array, " S A"] | Float[Array, " T S A"]
    objective: Float[Array, ""]
    bound: Float[Array, ""]
    feature_expectations: Float[Array, " K"]
    converged: Bool[Array, ""]
    steps: Int[Array, ""]


def plan(
    mdp: MDP,
    belief: Belief,
    *,
    risk: Risk,
    offset: Float[Array, " N"],
    units: Float[Array, " N"] | None = None,
    tol: float | Float[Array, ""] = 1e-3,
    max_steps: int = MAX_STEPS,
) -> RiskPlan:
    """Plan for the best risk-adjusted return over whole trajectories, among all randomised policies.

    Maximises `ρ(R)`, `R_i = w_i·φ(μ) - c_i`, for weight samples `w_i` and offsets `c_i`
    (Hadfield-Menell et al. 2017, section 4, with `ρ` the minimum; Brown et al. 2020 with mean-CVaR).
    The risk is over `w` alone: transitions are averaged.  Randomising can pay, because the
    adversary does not see the coin.

    Args:
        mdp: where to plan.
        belief: weight samples and their log probabilities.
        risk: a measure from `ird.risk`.
        offset: what each sample's return is measured from, `[N]`, in units of return (see `start_offset`
            and the others).  It decides which samples count as bad outcomes: there is no neutral choice.
        units: what one unit of each sample's return is, `[N]`, in units of reward (see `training_stakes`);
            None for one each.  The objective is then in these units.
        tol: gap allowed between `objective` and `bound`, relative to max(1, |objective|).
        max_steps: most calls of the solver (static).

    Returns:
        A `RiskPlan`; `objective ≤ optimum ≤ bound`.  When rounding does not allow `tol`, it stops
        there with `converged=False` and the bound that was reached.

    Raises:
        ValueError: for a belief about other features, an offset of the wrong shape, values that
            are not finite, or a tolerance or a number of steps that is not positive.

    Example:
        >>> import jax.numpy as jnp, mdps
        >>> from ird import posterior
        >>> from ird.risk import WorstCase
        >>> text = "S..|.#.|..G".replace("|", chr(10))
        >>> legend = {"S": "floor", ".": "floor", "G": "goal"}
        >>> grid = mdps.GridWorld.from_text(text, legend, horizon=6)
        >>> belief = posterior.exact(candidates=jnp.array([[0.0, 1.0], [0.0, 3.0]]))
        >>> careful = plan(grid.mdp, belief, risk=WorstCase(), offset=no_offset(belief))
        >>> round(float(careful.objective), 3), bool(careful.converged)
        (2.0, True)
    """
    weights, log_weights = check_belief(mdp, belief)
    if offset is None:
        raise ValueError(
            "offset is None; say what returns are measured from: planning.start_offset(mdp, belief), or "
            "planning.no_offset(belief) to measure from nothing."
        )
    offset = jnp.asarray(offset)
    if offset.shape != log_weights.shape:
        raise ValueError(
            f"offset has shape {offset.shape}, but the belief holds {log_weights.shape[0]} samples; "
            "give one number per sample."
        )
    check_finite("offset", offset)
    if units is not None:
        units = check_units(units, log_weights)
        weights, offset = weights / units[:, None], offset / units
    if is_concrete(tol) and not 0 < float(tol) < float("inf"):
        raise ValueError(f"tol is {tol}; it must be positive and finite (relative to max(1, |objective|)).")
    if isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 1:
        raise ValueError(f"max_steps is {max_steps!r}; give a whole number ≥ 1.")
    _check_risk(risk, weights, log_weights)
    return _plan(mdp, weights, log_weights, risk, offset, tol, max_steps)


class _Search(NamedTuple):
    """The game so far, and the best that was found."""

    features: Array  # [J, K] of the planner's answers
    chosen: Array  # [J, S, A] or [J, T, S, A], whether they ever take that action; those they take share equally
    used: Array  # [J] which rows hold one
    cuts: Array  # [M, K] mean weights of the adversary's answers
    intercepts: Array  # [M] so that ρ(R(φ)) ≤ intercept + cut·φ for every φ
    cut_used: Array  # [M]
    tilt: Array  # [M] the adversary's mixture of its answers: what the planner answers next
    mixture: Array  # [J] of the best policy found
    lower: Array  # what that attains
    upper: Array  # what nothing exceeds
    floor: Array  # the part of the gap that is rounding and the solver's error
    stalled: Array  # steps since the gap last shrank noticeably
    steps: Array


@functools.partial(jax.jit, static_argnames="max_steps")
def _plan(mdp: MDP, weights, log_weights, risk: Risk, offset, tol, max_steps: int) -> RiskPlan:
    K = weights.shape[1]
    rows, memory = max(16, 3 * K), max(24, 6 * K)
    dtype = jnp.result_type(weights, mdp.probability, float)
    mdp = jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, mdp)
    weights, log_weights, offset, tol = (jnp.asarray(x, dtype) for x in (weights, log_weights, offset, tol))
    # Sums over samples and products over features round; charge them as pairwise sums do.
    rounding = jnp.finfo(dtype).eps * (jnp.log2(weights.shape[0] + 1.0) + K + 4).astype(dtype)
    heaviest = jnp.max(jnp.abs(weights), axis=0)
    worth = heaviest @ jnp.max(jnp.abs(mdp.features.reshape(-1, K)), axis=0)  # of one visit, to any sample
    worth = jnp.maximum(worth, jnp.finfo(dtype).tiny)

    def nature(phi):
        """ρ at φ and the cut that supports it there."""
        returns = weights @ phi - offset
        tilt = risk.adversary(returns, log_weights)
        paid = risk.penalty(tilt, log_weights)
        return tilt @ returns + paid, tilt @ weights, paid - tilt @ offset

    p = jnp.exp(log_weights)
    steps = () if mdp.horizon is None else (mdp.horizon,)
    search = _Search(
        features=jnp.zeros((rows, K), dtype),
        chosen=jnp.zeros((rows, *steps, mdp.num_states, mdp.num_actions), bool),
        used=jnp.zeros(rows, bool),
        cuts=jnp.zeros((memory, K), dtype).at[0].set(p @ weights),
        intercepts=jnp.zeros(memory, dtype).at[0].set(-p @ offset),  # every measure lies below the mean
        cut_used=jnp.arange(memory) < 1,
        tilt=(jnp.arange(memory) < 1).astype(dtype),
        mixture=jnp.zeros(rows, dtype),
        lower=jnp.asarray(-jnp.inf, dtype),
        upper=jnp.asarray(jnp.inf, dtype),
        floor=jnp.zeros((), dtype),
        stalled=jnp.zeros((), jnp.int32),
        steps=jnp.zeros((), jnp.int32),
    )

    def unfinished(s):
        gap = s.upper - s.lower
        enough = jnp.maximum(0.95 * tol * jnp.maximum(1, jnp.abs(s.lower)), 1.1 * s.floor)
        return (s.steps < 1) | (~(gap <= enough) & (s.steps < max_steps) & (s.stalled < 12 + K))

    def body(s):
        # The planner answers the adversary's mixture of rewards ...
        w = s.tilt @ s.cuts
        accuracy = tol * jnp.maximum(1, jnp.where(s.steps == 0, 0, jnp.abs(s.lower))) / 32
        reply = _answer(mdp, w, accuracy, accuracy / worth)
        scale = jnp.max(jnp.abs(offset)) + heaviest @ jnp.abs(reply.features)
        error = reply.error + rounding * scale
        bound = reply.value + s.tilt @ s.intercepts + error
        place, kept = _place(s.used, s.mixture, s.features, reply.features)
        now = s._replace(
            features=_put(s.features, place, reply.features),
            chosen=_put(s.chosen, place, reply.chosen),
            used=s.used | place,
            mixture=jnp.where(kept, s.mixture, 0),
            upper=jnp.minimum(bound, s.upper),
            floor=jnp.where(bound < s.upper, error, s.floor),
            steps=s.steps + 1,
        )

        # ... and the adversary the planner's mixture of policies, a few times for each plan: it is the cheaper one.
        def respond(_, s):
            x, y = equilibrium(s.features, s.cuts, s.intercepts, s.used, s.cut_used, 0.05 * (s.upper - s.lower))
            value, cut, intercept = nature(x @ s.features)
            table = jnp.concatenate([s.cuts, s.intercepts[:, None]], axis=1)
            place, kept = _place(s.cut_used, y, table, jnp.append(cut, intercept))
            better = value > s.lower
            return s._replace(
                cuts=_put(s.cuts, place, cut),
                intercepts=_put(s.intercepts, place, intercept),
                cut_used=s.cut_used | place,
                tilt=jnp.where(kept, y, 0),
                mixture=jnp.where(better, x, s.mixture),
                lower=jnp.where(better, value, s.lower),
            )

        now = jax.lax.fori_loop(0, ROUNDS, respond, now)
        shrunk = now.upper - now.lower < 0.99 * (s.upper - s.lower)
        return now._replace(tilt=now.tilt / jnp.sum(now.tilt), stalled=jnp.where(shrunk, 0, s.stalled + 1))

    search = jax.lax.while_loop(unfinished, body, search)
    policy, phi = _mix(mdp, search.mixture, search.chosen)
    objective = risk.value(weights @ phi - offset, log_weights)
    bound = jnp.maximum(search.upper, objective)
    converged = bound - objective <= tol * jnp.maximum(1, jnp.abs(objective))
    return RiskPlan(policy, objective, bound, phi, converged, search.steps)


class _Answer(NamedTuple):
    """An optimal policy for some weights: the optimum, its error, the features collected and the actions chosen."""

    value: Array
    error: Array
    features: Array
    chosen: Array


def _answer(mdp: MDP, w: Array, accuracy: Array, visits_accuracy: Array) -> _Answer:
    """Plan for weights `w`, to an absolute `accuracy` of the return and of the visits.

    Features are measured from those of the most rewarding place.  That moves every return by the
    same known amount and keeps values, to whose size rounding is proportional, small: in float32
    the certificate is several times tighter.
    """
    reward = mdp.reward(w)
    best = mdp.features.reshape(-1, mdp.num_features)[jnp.argmax(reward)]
    reward = reward - best @ w
    solution = solve(mdp, reward, tol=accuracy)
    chosen = solution.policy > 0
    visits = _visits(mdp, _shares(chosen, reward.dtype), visits_accuracy)
    value = mdp.initial @ solution.value + mdp.total_visits * (best @ w)
    return _Answer(value, solution.error_bound, _collected(mdp, visits), chosen)


def _shares(chosen: Array, dtype) -> Array:
    """The policy that shares its probability equally among the chosen actions."""
    chosen = chosen.astype(dtype)
    return chosen / jnp.maximum(jnp.sum(chosen, axis=-1, keepdims=True), 1)


def _put(table: Array, place: Array, row: Array) -> Array:
    """`table` with one row replaced (a select: scatters are slow in a batch)."""
    return jnp.where(place.reshape(-1, *(1,) * row.ndim), row[None], table)


def _place(used: Array, weight: Array, table: Array, row: Array) -> tuple[Array, Array]:
    """Where a new answer goes: over an equal one, else a free place, else where the least weight lies.

    Returns a mask of that place, and of the places whose weight still means what it did.
    """
    scale = jnp.max(jnp.abs(table), axis=0) + jnp.abs(row)
    distance = jnp.max(jnp.abs(table - row[None]) / jnp.where(scale > 0, scale, 1)[None], axis=1)
    same = used & (distance <= 16 * jnp.finfo(table.dtype).eps)
    place = jnp.arange(used.shape[0]) == jnp.argmin(jnp.where(same, -2.0, jnp.where(used, weight, -1.0)))
    return place, ~place | same


def _mix(mdp: MDP, mixture, chosen) -> tuple[Array, Array]:
    """One policy that visits what a mixture of the planner's answers visits, and its feature expectations.

    Occupancies are mixed, then normalised; states that the mixture never visits follow its heaviest policy.
    """
    kept = jnp.where(mixture < 1e-7, 0, mixture)
    order = jnp.argsort(-kept)
    kept = kept[order] / jnp.sum(kept)

    def add(carry):
        total, j = carry
        return total + kept[j] * _visits(mdp, _shares(chosen[order[j]], mixture.dtype)), j + 1

    def more(carry):
        j = carry[1]
        return (j < kept.shape[0]) & (kept[jnp.minimum(j, kept.shape[0] - 1)] > 0)

    nothing = jnp.zeros(chosen.shape[1:], mixture.dtype)
    total, _ = jax.lax.while_loop(more, add, (nothing, jnp.zeros((), jnp.int32)))
    here = jnp.sum(total, axis=-1, keepdims=True)
    heaviest = _shares(chosen[order[0]], mixture.dtype)
    return jnp.where(here > 0, total / jnp.where(here > 0, here, 1), heaviest), _collected(mdp, total)


def _visits(mdp: MDP, policy, tol=None) -> Array:
    """Discounted visits of each action in each state, `[S, A]`, or per step `[T, S, A]` with a horizon."""
    if mdp.horizon is None:
        return jnp.maximum(occupancy(mdp, policy, tol=tol), 0)
    start = jnp.zeros((mdp.horizon, mdp.num_states), policy.dtype).at[0].set(mdp.initial)
    return push(mdp, policy_weights(mdp, policy), start)[..., None] * policy


def _collected(mdp: MDP, visits) -> Array:
    """Features collected by visits `[S, A]` or `[T, S, A]`."""
    visits = jnp.sum(visits.reshape(-1, *visits.shape[-2:]), axis=0)
    if mdp.features.ndim == 3:
        return jnp.einsum("sa,sak->k", visits, mdp.features)
    return jnp.sum(visits, axis=1) @ mdp.features


def plan_per_step(
    mdp: MDP, belief: Belief, *, risk: Risk, baseline: Float[Array, " K"], units: Float[Array, " N"] | None = None
) -> RiskPlan:
    """Plan for the sum over time of the risk-adjusted reward of each step.

    `Σ_t ρ(w_i·(φ(s_t) - baseline))`: the per-step variant of Hadfield-Menell et al. (2017, section 4),
    measured from a baseline.  The adversary may choose again at every step, so this is more cautious
    than `plan`: the risk-adjusted rewards add up to no more than the risk-adjusted return.

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
    """
    weights, log_weights = check_belief(mdp, belief)
    baseline = jnp.asarray(baseline)
    if baseline.shape != (mdp.num_features,):
        raise ValueError(
            f"baseline has shape {baseline.shape}, but this MDP has {mdp.num_features} features; "
            "give the features of one visit."
        )
    check_finite("baseline", baseline)
    if units is not None:
        weights = weights / check_units(units, log_weights)[:, None]
    _check_risk(risk, weights, log_weights)
    return _plan_per_step(mdp, weights, log_weights, risk, baseline)


@jax.jit
def _plan_per_step(mdp: MDP, weights, log_weights, risk: Risk, baseline) -> RiskPlan:
    dtype = jnp.result_type(weights, mdp.probability, float)
    weights = weights.astype(dtype)
    shape, flat = mdp.features.shape[:-1], mdp.features.reshape(-1, mdp.num_features).astype(dtype)
    flat = flat - baseline.astype(dtype)[None]
    careful = jax.lax.map(lambda phi: risk.value(weights @ phi, log_weights), flat, batch_size=min(BLOCK, len(flat)))
    reward = careful.reshape(shape)
    solution = solve(mdp, reward)
    total = occupancy(mdp, solution.policy)
    per_action = reward[:, None] if reward.ndim == 1 else reward
    objective = jnp.sum(total * per_action)
    bound = jnp.maximum(mdp.initial.astype(dtype) @ solution.value + solution.error_bound, objective)
    return RiskPlan(solution.policy, objective, bound, _collected(mdp, total), solution.converged, solution.steps)


def _check_risk(risk: Risk, weights, log_weights) -> None:
    """Let a risk measure look at concrete weights, computing nothing."""
    if isinstance(risk, type) or not callable(getattr(risk, "value", None)):
        raise ValueError(f"risk is {risk!r}; give a measure from ird.risk, such as CVaR(0.1) or Mean().")
    jax.eval_shape(lambda returns: risk.value(returns, log_weights), jnp.zeros(log_weights.shape, weights.dtype))
