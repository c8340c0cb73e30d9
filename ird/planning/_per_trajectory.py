"""The certified plan over whole trajectories, as a small game.

A policy matters to the objective only through its feature expectations φ, a point of a polytope in
K dimensions.  `plan` therefore plays a small game instead of solving a linear program over states:
the planner answers a mixture of rewards with an optimal policy (`mdps.solve`), the risk measure
answers a mixture of policies with its worst distribution over weight samples, and the matrix game
between the answers found so far says what to ask next.  What the mixture attains is a lower bound
on the optimum and what `solve` achieves against the adversary is an upper one, at every step.
"""

import functools
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.beliefs import Belief, check_belief, counting
from ird.planning._explain import remember
from ird.planning._matrix_game import equilibrium
from ird.planning._offsets import check_offset, check_units, first_features
from ird.planning._risk_plan import (
    RiskPlan,
    check_risk,
    rounding_of_sums,
    rounding_of_visits,
    visits_of,
)
from ird.risk import Risk
from mdps.checks import check_count, check_number, is_concrete
from mdps.mdp import MDP
from mdps.solvers import solve

MAX_STEPS = 400
ROUNDS = 2  # answers of the adversary for each plan


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

    The objective is not differentiated, and `jax.grad` of it says so.  By the envelope theorem its derivative is that
    of `ρ(R)` at the plan's own features under the adversary's part of the equilibrium; but where the plan randomises
    the adversary's best answer is not unique, and of the equilibrium the planner keeps mixtures of rewards, `[K]`, not
    of samples, `[N]`.  With `Entropic` and `Mean` the answer is unique, and the derivative is that of
    `risk.value(weights @ jax.lax.stop_gradient(plan.feature_expectations) - offset, log_weights)`.

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
        >>> from ird import planning, posterior
        >>> from ird.risk import WorstCase
        >>> text = "S..|.#.|..G".replace("|", chr(10))
        >>> legend = {"S": "floor", ".": "floor", "G": "goal"}
        >>> grid = mdps.GridWorld.from_text(text, legend, horizon=6)
        >>> belief = posterior.exact(candidates=jnp.array([[0.0, 1.0], [0.0, 3.0]]))
        >>> careful = planning.plan(grid.mdp, belief, risk=WorstCase(), offset=planning.no_offset(belief))
        >>> round(float(careful.objective), 3), bool(careful.converged)
        (2.0, True)
    """
    weights, log_weights = check_belief(mdp, belief)
    offset = check_offset(offset, log_weights, "planning.start_offset(mdp, belief)")
    units = None if units is None else check_units(units, log_weights)
    check_number(
        "tol", tol, lambda x: 0 < x < np.inf, "it must be positive and finite (relative to max(1, |objective|))."
    )
    max_steps = check_count("max_steps", max_steps)
    check_risk(risk, weights, log_weights)
    given = (mdp, weights, log_weights, risk, offset, units)
    given = jax.tree.map(lambda x: x if is_concrete(x) else _not_differentiated(x), given)
    found = _plan(*given, tol, max_steps, kind=type(risk))
    return remember(found, mdp, belief, risk=risk, offset=offset, units=units)


@jax.custom_jvp
def _not_differentiated(x):
    """The same, refused where it is differentiated: a loop would differentiate its steps, not its answer."""
    return x


@_not_differentiated.defjvp
def _(primals, tangents):
    raise ValueError(
        "planning.plan is not differentiated: its adversary's best answer is not unique where the plan randomises; "
        "plan with jax.lax.stop_gradient(...) of what is differentiated, and see planning.plan for what may be "
        "differentiated then."
    )


class _Problem(NamedTuple):
    """What does not change while the game is played."""

    mdp: MDP
    risk: Risk
    samples: Array  # [N, L] weights, less the offset, and 0: returns are samples @ (φ, 1, 1)
    log_weights: Array  # [N]
    heaviest: Array  # [L] largest absolute value of each column of `samples`
    total: Array  # visits of any policy
    tol: Array


class _Search(NamedTuple):
    """The game so far, and the best that was found; L = K + 2.

    Row 0 of the planner's answers is none of them but their mixture: of those that the best mixture needs but that
    had to make room.  So nothing that was found is lost, whatever is forgotten.
    """

    table: Array  # [2, n, L] (φ, 1, 1) of the planner's answers, (w, h, 1) of the adversary's, who pays w·φ + h
    used: Array  # [2, n] which rows hold one
    mixture: Array  # [2, n] the equilibrium of these
    reward: Array  # [L] the adversary's mixture of its answers
    taken: Array  # [J, S, A] or [J, T, S, A] visits of the planner's answers, the first J ≤ n rows
    policy: Array  # [S, A] or [T, S, A] the last of them
    best: Array  # [n] the mixture of the planner's answers that attains the most
    lower: Array  # what that attains
    upper: Array  # what nothing exceeds
    floor: Array  # the part of the gap that is the solver's error and rounding
    lost: Array  # what will be taken off the objective for rounding, about
    stalled: Array  # steps since the gap last shrank noticeably
    steps: Array


@functools.partial(jax.jit, static_argnames=("max_steps", "kind"))
@jax.default_matmul_precision("highest")
def _plan(mdp: MDP, weights, log_weights, risk: Risk, offset, units, tol, max_steps: int, kind: type) -> RiskPlan:
    """`kind` is the measure's class: JAX may take two classes for one (`mdps.pytrees`), should a user's be so made."""
    del kind
    dtype = jnp.result_type(weights, mdp.probability, float)
    mdp = jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, mdp)
    weights, offset, log_weights, tol = (jnp.asarray(x, dtype) for x in (weights, offset, log_weights, tol))
    # Features are measured from those of the first step, and the offset with them: where plans stay near home,
    # returns are then small, and so is what rounds.
    home, total = first_features(mdp), mdp.total_visits
    mdp = replace(mdp, features=mdp.features - jnp.expand_dims(home, tuple(range(mdp.features.ndim - 1))))
    offset = offset - weights @ (home * total)
    samples = jnp.concatenate([weights, -offset[:, None], jnp.zeros_like(offset)[:, None]], axis=1)
    if units is not None:
        samples = samples / jnp.where(jnp.isfinite(units), units, jnp.nan).astype(dtype)[:, None]
    [samples] = counting(log_weights, samples)
    heaviest = jnp.max(jnp.abs(samples), axis=0)
    given = _Problem(mdp, risk, samples, log_weights, heaviest, total, tol)

    def unfinished(s: _Search):
        enough = 0.95 * tol * jnp.maximum(1, jnp.abs(s.lower)) - s.lost
        close = s.upper - s.lower <= jnp.maximum(enough, 1.1 * s.floor)
        hopeless = jnp.isnan(s.upper) | (s.stalled >= 12 + samples.shape[1])
        return (s.steps < 1) | (~close & (s.steps < max_steps) & ~hopeless)

    search = jax.lax.while_loop(unfinished, functools.partial(_round, given), _nothing_yet(given))
    best = jnp.where(search.best < 1e-4 * tol, 0, search.best)[: len(search.taken)]
    taken = jnp.tensordot(best, search.taken, axes=1)
    here = jnp.sum(taken, axis=-1, keepdims=True)
    # Where the mixture never comes, do what is best against the adversary.
    policy = jnp.where(here > 0, taken / jnp.where(here > 0, here, 1), search.policy)
    _, features = _collected(given, policy)
    # Its own features, not those of the mixture, of which a little was left out.
    objective = worst_tilt(given.risk, given.samples, given.log_weights, features)[1] - sum(_rounding(given, features))
    known = jnp.isfinite(search.upper) & jnp.isfinite(objective)
    bound = jnp.where(known, jnp.maximum(search.upper, objective), jnp.inf)
    converged = known & (bound - objective <= tol * jnp.maximum(1, jnp.abs(objective)))
    return RiskPlan(policy, objective, bound, features[:-2] + home * total, converged, search.steps)


def _nothing_yet(given: _Problem) -> _Search:
    """No plan, and the belief's mean as the first answer of the adversary: every measure lies below the mean."""
    mdp, samples = given.mdp, given.samples
    dtype, L = samples.dtype, samples.shape[1]
    n, J = max(32, 6 * (L - 2)), max(16, 3 * (L - 2))
    shape = (*(() if mdp.horizon is None else (mdp.horizon,)), mdp.num_states, mdp.num_actions)
    first = np.zeros((2, n), bool)
    first[1, 0] = True
    p = jnp.exp(given.log_weights)
    mean = (p / jnp.sum(p)) @ samples + (np.arange(L) == L - 1)
    inf, none = jnp.asarray(jnp.inf, dtype), jnp.zeros((), jnp.int32)
    return _Search(
        table=jnp.where(first[..., None], mean[None, None], 0),
        used=jnp.asarray(first),
        mixture=jnp.asarray(first, dtype),
        reward=mean,
        taken=jnp.zeros((J, *shape), dtype),
        policy=jnp.zeros(shape, dtype),
        best=jnp.asarray(np.zeros(n), dtype),
        lower=-inf,
        upper=inf,
        floor=jnp.zeros((), dtype),
        lost=jnp.zeros((), dtype),
        stalled=none,
        steps=none,
    )


def _round(given: _Problem, s: _Search) -> _Search:
    """The planner answers the adversary's mixture of rewards, and the adversary a few times the planner's."""
    now = _plan_against(given, s)
    now = jax.lax.fori_loop(0, ROUNDS, lambda _, s: _tilt_against(given, s), now)
    shrunk = now.upper - now.lower < 0.99 * (s.upper - s.lower)
    return now._replace(stalled=jnp.where(shrunk, 0, s.stalled + 1), steps=s.steps + 1)


def _plan_against(given: _Problem, s: _Search) -> _Search:
    """Plan for the adversary's mixture of rewards: one more policy, and a bound of what any can attain.

    Features are measured from those of the most rewarding place.  That moves every return by the
    same known amount and keeps values, to whose size rounding is proportional, small: in float32
    the certificate is several times tighter.
    """
    mdp = given.mdp
    accuracy = given.tol * jnp.maximum(1, jnp.where(s.steps == 0, 0, jnp.abs(s.lower))) / 32
    reward = mdp.features @ s.reward[:-2]
    most = jnp.max(reward)
    solution = solve(mdp, reward - most, tol=accuracy)
    taken, features = _collected(given, solution.policy)
    summed, visited = _rounding(given, features)
    error = solution.error_bound + summed
    bound = jnp.sum(mdp.initial * solution.value) + given.total * most + s.reward[-2] + error

    place, again = _place(s, 0, features)
    # What the best mixture has there goes to row 0, unless it is the same policy again.
    share = jnp.where(again, 0, s.best[place])
    into = jnp.where(share > 0, share / (s.best[0] + share), 0)

    def put(table, row):
        """The row in its place, and what was there in row 0 (by selects: scatters are slow in a batch)."""
        merged = (1 - into) * table[0] + into * table[place]
        rows = np.arange(table.shape[0]).reshape(-1, *(1,) * row.ndim)
        return jnp.where(rows == place, row[None], jnp.where(rows == 0, merged[None], table))

    rows = np.arange(s.used.shape[1])
    used = s.used[0] | (rows == place) | ((rows == 0) & (into > 0))
    return s._replace(
        table=jnp.stack([put(s.table[0], features), s.table[1]]),
        used=jnp.stack([used, s.used[1]]),
        taken=put(s.taken, taken),
        policy=solution.policy,
        best=jnp.where((rows == place) & ~again, 0, s.best) + (rows == 0) * share,
        upper=jnp.minimum(bound, s.upper),
        floor=jnp.where(bound < s.upper, error + summed, s.floor),
        lost=summed + visited,
    )


def _tilt_against(given: _Problem, s: _Search) -> _Search:
    """The worst tilt of the belief against the planner's mixture: one more cut, and what the mixture attains."""
    mixture = equilibrium(s.table, s.used, 0.05 * (s.upper - s.lower))
    features, reward = jnp.einsum("pn,pnl->pl", mixture, s.table)
    cut, value = worst_tilt(given.risk, given.samples, given.log_weights, features)
    s = s._replace(mixture=mixture)
    place, _ = _place(s, 1, cut)
    here = (np.arange(mixture.shape[1]) == place)[None] & np.array([[False], [True]])
    better = value > s.lower
    return s._replace(
        table=jnp.where(here[..., None], cut[None, None], s.table),
        used=s.used | here,
        reward=reward,
        best=jnp.where(better, mixture[0], s.best),
        lower=jnp.where(better, value, s.lower),
    )


def worst_tilt(risk: Risk, samples: Array, log_weights: Array, features: Array) -> tuple[Array, Array]:
    """The adversary's answer (w, h, 1) to a plan that collects these features, `[L]`, and what the plan attains."""
    tilt = risk.adversary(samples @ features, log_weights)
    paid = risk.penalty(tilt, log_weights)
    L = features.shape[0]
    cut = tilt @ samples + jnp.where(np.arange(L) == L - 2, paid, np.arange(L) == L - 1)
    return cut, jnp.sum((cut * features)[:-1])


def _place(s: _Search, player: int, row: Array) -> tuple[Array, Array]:
    """Where an answer goes: over an equal one, else a free row, else the least of the equilibrium; is it an equal one?

    Row 0 of the planner is no place, nor are rows without visits.
    """
    table, rows = s.table[player], np.arange(s.used.shape[1])
    close = jnp.abs(table - row[None]) <= 16 * jnp.finfo(table.dtype).eps * (jnp.abs(table) + jnp.abs(row)[None])
    same = jnp.all(close, axis=1)
    no_place = (rows == 0) | (rows >= len(s.taken)) if player == 0 else rows < 0
    weight = jnp.where(no_place, 2, jnp.where(same, -2, jnp.where(s.used[player], s.mixture[player], -1)))
    place = jnp.argmin(weight)
    return place, same[place]


def _collected(given: _Problem, policy: Array) -> tuple[Array, Array]:
    """Visits of a policy by action, `[S, A]` or `[T, S, A]`, and the features that they collect, and 1, 1: `[L]`."""
    visits = visits_of(given.mdp, policy)
    taken, features = visits[..., None] * policy, given.mdp.features
    if features.ndim == 2:
        found = jnp.sum(visits.reshape(-1, visits.shape[-1]), axis=0) @ features
    else:
        found = jnp.einsum("sa,sak->k", jnp.sum(taken.reshape(-1, *taken.shape[-2:]), axis=0), features)
    return taken, jnp.append(found, np.ones(2, found.dtype))


def _rounding(given: _Problem, features: Array) -> tuple[Array, Array]:
    """What rounding makes of the return of a plan that collects these features: of sums, and of its visits."""
    N, L = given.samples.shape
    size = given.heaviest @ jnp.abs(features)
    return rounding_of_sums(size.dtype, N, L - 2) * size, rounding_of_visits(given.mdp, size.dtype) * size
