"""The optimum of an endless MDP: cycles of sweeps in one or two precisions, then a certificate of what came out.

In a large problem in float64 almost every sweep runs in float32, on what is missing: with `Q` the action values of
an estimate `V`, the optimum of the MDP with reward `Q - V` is `V* - V` (potential-based shaping,
Ng, Harada & Russell 1999).  Sweeps in float64 finish, and certify.

Everything here has its batch axes last.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mdps import bellman
from mdps.bellman import ByAction, Interval, each
from mdps.kernels import (
    Columns,
    Layout,
    Operator,
    Settled,
    batch_last,
    columns_at_once,
    fills_the_caches,
    operator,
    pays_to_refine,
    refine,
    settle_in_cycles,
    span_change,
    tiled,
    unfused,
)

__all__ = ["Optimal", "Problem", "Task", "View", "certified_values", "endless", "judge", "settle_ties"]
__dir__ = __all__.copy

# Sweeps between two improvements of the policy, as measured: a backup of many columns that share one table costs
# little more than a fixed policy's sweep; one problem, whose table is its own, improves its policy seldom.
CYCLE_OF_BACKUPS, CYCLE_OF_BATCH, CYCLE_OF_ONE = 12, 16, 56

# Ties are told unfused by more sweeps of the values' error only if what the two actions are worth differs by at least
# this share of themselves.  What is closer is shared, which costs no more than that.
WORTH_TELLING = 1e-3


class Task(NamedTuple):
    """What is known of a problem when its solver is compiled.

    Attributes:
        hard: whether the temperature is 0.
        traced: whether the temperature is traced, and may turn out to be 0.
        max_steps: most sweeps.
        in_place: whether a processor reads neighbours where they lie.
        layout: `MDP.layout`.
    """

    hard: bool
    traced: bool
    max_steps: int
    in_place: bool
    layout: Layout


class Optimal(NamedTuple):
    """What came out.

    Attributes:
        value: V(s), `[S, *batch]`.
        policy: `[S, A, *batch]`.
        within: bound on |V(s) - V*(s)| by state, `[S, *batch]`.
        bound: bound on the largest error of the values, `[*batch]`.
        policy_bound: bound on what the policy falls short of the optimum, `[*batch]`.
        floor: the part of `bound` that is rounding, `[*batch]`.
        steps: sweeps, `[*batch]`.
    """

    value: Array
    policy: Array
    within: Array
    bound: Array
    policy_bound: Array
    floor: Array
    steps: Array


@dataclass(frozen=True)
class Problem:
    """An endless MDP in one precision.

    Attributes:
        hard: whether the temperature is 0.
        table: its successors.
        rewards: r(s, a) by action, or one for all; -inf where an action does not exist.
        gamma: discount, `[*batch]`.
        tau: temperature, `[*batch]`.
        terms: successors of a state, for the rounding.
    """

    hard: bool
    table: Operator
    rewards: ByAction
    gamma: Array
    tau: Array
    terms: int

    @property
    def unit(self) -> float:
        """Relative rounding of one backup."""
        return bellman.unit(self.terms, self.gamma.dtype, hard=self.hard)

    @property
    def rest(self) -> Array:
        """What a backup rounds however small the values are: the logarithm of a soft one."""
        return jnp.zeros_like(self.tau) if self.hard else self.tau * (1 + math.log(self.num_actions))

    @property
    def num_actions(self) -> int:
        """A."""
        return self.table.num_actions

    @property
    def on_a_grid(self) -> bool:
        """Whether each slot leads equally far from every state (`Layout.shifts`)."""
        return isinstance(self.table, Columns) and isinstance(self.table.index, tuple)

    def q_values(self, v: Array) -> ByAction:
        """Q(s, a) for an estimate of V."""
        return bellman.q_values(self.table.expect(v), self.rewards, self.gamma)

    def like_q(self, v: Array) -> ByAction:
        """Zeros in the form of action values."""
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(self.q_values, v))

    def backup(self, q: ByAction) -> Array:
        """The optimal value for given action values."""
        return bellman.backup(self.hard, q, self.tau)

    def improve(self, q: ByAction, table) -> tuple[Array, Any]:
        """The backup of `q`, and γ times the policy that attains it, as `follow` and `sweeps` of the table take it."""
        ahead, share = bellman.attain(self.hard, q, self.tau)
        dtype = jax.tree.leaves(table.probability)[0].dtype
        share = each(lambda x: x.astype(dtype), share)
        scale = self.gamma.astype(dtype) / jnp.maximum(bellman.sum_of(share), 1)
        return ahead, table.following(each(lambda x, c: c * x, share, scale), one=self.hard)

    def astype(self, dtype, table, rewards: ByAction) -> "Problem":
        """The problem with other rewards in another precision."""
        gamma, tau = self.gamma.astype(dtype), self.tau.astype(dtype)
        return replace(self, table=table, rewards=rewards, gamma=gamma, tau=tau)


@functools.cache
def endless(task: Task):
    """The solver of a task: `(next_state, probability, reward, γ, τ, tol) -> Optimal`, mapped with plain `jax.vmap`."""
    core_in, core_out = (2, 3, 2, 0, 0, 0), (1, 2, 1, 0, 0, 0, 0)

    @batch_last(core_in, core_out)
    def kernel(*arrays):
        S, batch = arrays[0].shape[0], np.broadcast_shapes(*(x.shape[n:] for x, n in zip(arrays, core_in, strict=True)))
        # Where each action has its own list, float32 gains nothing that its longer program is worth.
        plain = task.layout.dense or (task.hard and task.layout.own is not None)
        refining = pays_to_refine(arrays[2].dtype, (S, *batch)) and not plain
        width = None
        if task.in_place and not fills_the_caches(S):  # a soft policy weighs every successor
            width = columns_at_once(S, dense=task.layout.dense, least=2, heavy=not task.hard)
        return tiled(functools.partial(_side_by_side, task, refining), arrays, core_in, core_out, width)

    return kernel


def _side_by_side(task: Task, refining: bool, next_state, probability, reward, gamma, tau, tol) -> Optimal:
    """Solve the columns of one tile."""
    inputs = ((next_state, 2), (probability, 3), (reward, 2), (gamma, 0), (tau, 0), (tol, 0))
    batch = np.broadcast_shapes(*(x.shape[n:] for x, n in inputs))
    tol = jnp.broadcast_to(tol, batch)
    # Where many columns share one table a full backup costs little more than a fixed policy's sweep.
    full = task.hard and math.prod(probability.shape[3:]) < math.prod(batch)
    period = CYCLE_OF_BACKUPS if full else CYCLE_OF_BATCH if batch else CYCLE_OF_ONE
    table = operator(task.layout, next_state, probability, in_place=task.in_place)
    terms = task.layout.own if task.hard and task.layout.own else next_state.shape[1]  # what else is added up is zero
    problem = Problem(task.hard, table, table.by_action(reward), gamma, tau, terms)
    start, known = jnp.zeros((reward.shape[0], *batch), reward.dtype), None
    if refining:
        low = table.astype(jnp.float32)
        problem = replace(problem, table=table.whole(probability))
        start, known = _in_two_precisions(problem, low, start, tol, task.max_steps, period, full)
        problem = replace(problem, table=table)
    # A little less than the tolerance, which the certificate is to meet after its own rounding.
    settled = certified_values(problem, start, 0.95 * tol, task.max_steps, period, full, known)
    return judge(problem, task, settled)


def certified_values(problem: Problem, start, tol, max_steps: int, period: int, full: bool, known=None) -> Settled:
    """Cycles of sweeps until the values are certified to `tol`, or as far as rounding lets them.

    Args:
        problem: the MDP.
        start: first estimate, `[S, *batch]`.
        tol: error allowed, `[*batch]`.
        max_steps: most sweeps.
        period: sweeps in a cycle.
        full: whether all sweeps of a cycle are backups; else the policy of its first one is swept.
        known: what is certified already.
    """
    table = problem.table

    def apply(v):
        q = problem.q_values(v)
        if full:
            return problem.backup(q), ()
        ahead, weight = problem.improve(q, table)
        return ahead, (weight, ahead - table.follow(weight, v))

    def advance(v, context, count):
        if full:
            ahead = lambda expected: problem.backup(bellman.q_values(expected, problem.rewards, problem.gamma))  # noqa: E731
            return table.backups(ahead, v, count)
        weight, paid = context
        return table.sweeps(weight, paid, v, count)

    # Where nothing is known of how states lie to each other, they may mix in a few sweeps.
    growing = not problem.on_a_grid
    return settle_in_cycles(
        apply,
        advance,
        start,
        gamma=problem.gamma,
        measure=span_change,
        tol=tol,
        rounding=problem.unit,
        max_steps=max_steps,
        period=period,
        known=known,
        rest=problem.rest,
        growing=growing,
    )


def _in_two_precisions(problem: Problem, low_table, start, tol, max_steps: int, period: int, full: bool):
    """An estimate from sweeps in float32, corrected by what it lacks, and what is certified of it."""
    low, gamma = jnp.dtype(jnp.float32), problem.gamma
    highest, lowest = bellman.extremes(each(lambda r: jnp.where(r > -jnp.inf, r, jnp.nan), problem.rewards))
    middle = (highest + lowest) / 2
    size = gamma / (1 - gamma) * (highest - middle)
    near = (32 if problem.hard else 8) * jnp.finfo(low).eps / (1 - gamma) * size
    shifted = problem.astype(low, low_table, each(lambda x: (x - middle).astype(low), problem.rewards))
    rough = certified_values(
        shifted, start.astype(low), jnp.maximum(tol / 4, near).astype(low), max_steps, period, full
    )
    start = rough.value.astype(start.dtype) + middle / (1 - gamma)

    def apply(v):
        q = problem.q_values(v)
        return (problem.backup(q), q) if problem.hard else problem.improve(q, low_table)

    def correct(v, ahead, centre, context, tol):
        nothing, tol = jnp.zeros(start.shape, low), tol.astype(low)
        if problem.hard:
            missing = each(lambda q, x: (q - x - centre).astype(low), context, v)
            settled = certified_values(problem.astype(low, low_table, missing), nothing, tol, max_steps, period, full)
        else:  # a soft backup rounds in proportion to τ, however little is missing; Newton's step does not
            missing = (ahead - v - centre).astype(low)
            settled = settle_in_cycles(
                lambda x: (missing + low_table.follow(context, x), ()),
                lambda x, _, n: low_table.sweeps(context, missing, x, n),
                missing,
                gamma=gamma.astype(low),
                measure=span_change,
                tol=tol,
                rounding=bellman.unit(problem.terms, low, hard=False),
                max_steps=max_steps,
                period=12,
            )
        return settled.value, settled.steps

    start, known = refine(apply, correct, start, gamma, span_change, tol, problem.unit, rest=problem.rest)
    return start, known._replace(steps=known.steps + rough.steps)


class View(NamedTuple):
    """The values as they stand, and what is known of the actions.

    Attributes:
        value: V(s), `[S, *batch]`.
        within: bound on |V(s) - V*(s)|, `[S, *batch]`.
        q: action values of V, by action.
        off: their rounding, by action.
        tied: which actions are not told unfused from the best, by action: one of them is it.
        fair: which of them share (`bellman.share_of_error`), by action.
        undecided: whether more sweeps may tell actions unfused that are far from equal, `[*batch]`.
        sweeps: how many it took to get here, `[*batch]`.
    """

    value: Array
    within: Array
    q: ByAction
    off: ByAction
    tied: ByAction
    fair: ByAction
    undecided: Array
    sweeps: Array


def judge(problem: Problem, task: Task, settled: Settled) -> Optimal:
    """The policy of the values that were found, and what all of it can be off by.

    With δ = TV - V, whose computation rounds by ρ(s), the values are within max |δ| / (1 - γ) + max ρ / (1 - γ) of V*
    (Puterman 2005, theorem 6.3.1), and a policy π falls short of V* by at most

        max (TV - T_π V) + γ/(1-γ) [max (TV - V) - min (T_π V - V)] + 2 max ρ / (1 - γ)
    """
    gamma, tau = problem.gamma, problem.tau
    reach, settles_ties = 1 / (1 - gamma), problem.hard or task.traced
    certain = problem.hard if problem.hard else tau <= 0

    def attained(q, off):
        """The backup, the shares that attain it, and its rounding."""
        if problem.hard:
            return bellman.largest_of(q), q, Interval(q, off).loosest(Interval(q, off).contenders())
        ahead, share = _softly(problem, task, q)
        rho = bellman.soft_rounding(share, off, ahead, tau, problem.num_actions)
        if settles_ties:
            rho = jnp.where(certain, Interval(q, off).loosest(Interval(q, off).contenders()), rho)
        return ahead, share, rho

    def bounded(v, ahead, rho):
        return (jnp.max(jnp.abs(ahead - v), axis=0) + jnp.max(rho, axis=0)) * reach

    v, sweeps = settled.value, jnp.zeros((), jnp.int32)
    if settles_ties:
        view = settle_ties(problem, v, lambda v, q, off: bounded(v, *attained(q, off)[::2]), certain * settled.steps)
        v, q, off, sweeps = view.value, view.q, view.off, view.sweeps
    else:
        view, (q, off) = None, _look(problem, v)
    ahead, share, rho = attained(q, off)
    bound = bounded(v, ahead, rho)
    within, followed = jnp.broadcast_to(bound, v.shape), ahead
    policy = q if problem.hard else bellman.normalised(share)
    if view is not None:
        within = jnp.where(certain, view.within, within)
        bound = jnp.minimum(bound, jnp.max(within, axis=0))
        fair = bellman.shared(view.fair, v.dtype)
        policy = fair if problem.hard else each(lambda a, b: jnp.where(certain, a, b), fair, policy)
        followed = jnp.where(certain, bellman.followed(policy, q), ahead)
    # A soft policy attains the backup; one that shares near ties falls a little short of it.
    floor = jnp.max(rho, axis=0) * reach
    behind, gain = jnp.max(ahead - followed, axis=0), jnp.max(ahead - v, axis=0) - jnp.min(followed - v, axis=0)
    short = behind + gamma * reach * gain + 2 * floor
    floor = jnp.maximum(floor, settled.floor)
    return Optimal(v, bellman.stacked(policy), within, bound, short, floor, settled.steps + sweeps)


def _look(problem: Problem, v: Array, *others: Array) -> tuple[ByAction, ...]:
    """Action values, by how much each is off because numbers round, and what is expected of other numbers."""
    ahead, size, *beyond = problem.table.expects(v, jnp.abs(v), *others)
    q = bellman.q_values(ahead, problem.rewards, problem.gamma)
    sizes = bellman.sizes_of(size, problem.rewards, problem.gamma)
    return q, bellman.rounding_of(q, sizes, bellman.unit(problem.terms, v.dtype)), *beyond


def _softly(problem: Problem, task: Task, q: ByAction) -> tuple[Array, ByAction]:
    """The soft backup of `q` and its shares."""
    best = bellman.largest_of(q)
    weigh = lambda best, *q: bellman.softmax_shares(list(q), best, problem.tau)  # noqa: E731
    if not isinstance(q, list):
        share = bellman.softmax_shares(q, best, problem.tau)
    elif task.in_place:  # unfused, or each action would compute everybody's exponentials again
        share = unfused(~(jnp.max(best) < -jnp.inf), weigh, best, *q)
    else:
        share = weigh(best, *q)
    return best + problem.tau * jnp.log(bellman.sum_of(share)), share


def settle_ties(problem: Problem, values: Array, bounded: Callable, most) -> View:
    """Which actions are optimal as far as arithmetic can tell, and a bound by state on the error of the values.

    Two actions a, b at s are told unfused if what they are worth differs by more than

        ρ_a + ρ_b + γ Σ_d |p_a - p_b|(d) E(s_d)

    with E a bound on the error of the values, at first a constant; over a long reach not all of it counts where they
    are to share (`bellman.share_of_error`).  Values and bound are swept together,

        V <- TV,    E <- ρ + γ max P_a E    over the actions that are not told unfused from the best,

    or the constant bound of the new values, where that is less, but only while that may tell actions unfused that are
    far from equal (far from a goal the values are small, and so must be their errors), and no more often than the
    values were.  Columns that are done keep what they know.

    Args:
        problem: the MDP.
        values: `[S, *batch]`.
        bounded: the constant bound on the error of values, given their action values and the rounding of those.
        most: most sweeps, `[*batch]`.
    """
    gamma, relative = problem.gamma, bellman.unit(problem.terms, values.dtype)
    counts = bellman.share_of_error(1 / (1 - gamma))

    def look(now: View) -> View:
        """One sweep, but for the first time, and what it tells."""
        first = now.sweeps < 0
        v = jnp.where(first, now.value, bellman.largest_of(now.q))
        q, off, beyond = _look(problem, v, now.within)
        ahead = bellman.largest_of(each(lambda t, e: jnp.where(t, e, 0), now.tied, beyond))
        rho = bellman.largest_of(each(lambda t, e: jnp.where(t, e, 0), now.tied, now.off))
        within = jnp.minimum(jnp.where(first, jnp.inf, rho + gamma * ahead), bounded(v, q, off))
        one, best = bellman.first_of(q), bellman.largest_of(q)
        best_off = bellman.sum_of(each(lambda f, e: jnp.where(f > 0, e, 0), one, off))
        gap = each(lambda x, b: b - x, q, best)
        slack = apart_where_close(one, within, gap, off, best_off)
        tied = each(lambda g, e, r, b: g <= r + b + gamma * e, gap, slack, off, best_off)
        fair = each(lambda g, e, r, b: g <= r + b + counts * gamma * e, gap, slack, off, best_off)
        # Far from equal: the difference is more than a small share of what was added up.
        far = each(lambda g, t, r, b: t & (g * relative > WORTH_TELLING * (r + b)), gap, fair, off, best_off)
        # A bound that falls by less is within a sixteenth of where it would settle.
        falls = first | jnp.any(within < (1 - (1 - gamma) / 16) * now.within, axis=0)
        new = View(v, within, q, off, tied, fair, falls & jnp.any(bellman.any_of(far), axis=0), now.sweeps + 1)
        going = goes_on(now)
        return jax.tree.map(lambda old, x: jnp.where(going, x, old), now, new)

    def goes_on(now: View) -> Array:
        """Columns that are looked at once more, `[*batch]`."""
        return (now.sweeps < 0) | (now.undecided & (now.sweeps < most))

    def apart_where_close(one, within, gap, off, best_off):
        """Σ_d |p_a - p_b|(d) E(s_d) by action; where even twice the largest E leaves no tie, that: it is no work."""
        table = problem.table
        if problem.on_a_grid:  # which has its ties
            return table.apart(one, within)
        most = 2 * jnp.max(within, axis=0)
        close = each(lambda g, f, r, b: (g <= r + b + gamma * most) & (f == 0), gap, one, off, best_off)
        some = jnp.any(bellman.any_of(close))
        return jax.lax.cond(
            some, lambda: table.apart(one, within), lambda: each(lambda g: jnp.broadcast_to(most, g.shape), gap)
        )

    # The first look stands inside the loop, so that there is one of it to compile.
    nothing = problem.like_q(values)
    none, batch = each(lambda x: x > 0, nothing), values.shape[1:]
    looked = jnp.ones(batch, bool), jnp.full(batch, -1, jnp.int32)
    start = View(values, jnp.zeros_like(values), nothing, nothing, none, none, *looked)
    return jax.lax.while_loop(lambda now: jnp.any(goes_on(now)), look, start)
