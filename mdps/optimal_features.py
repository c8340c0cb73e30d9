"""The feature expectations of optimal policies, for many rewards at once: planning as its users need it.

Inverse reward design and its planners ask one thing of a planner: where do optimal policies for
these weights go, counted in features?  Answering it in one kernel never writes a policy down in
memory that the caller would only read once, which for finite horizons is many times faster than
`solve` followed by `feature_expectations`.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mdps import bellman
from mdps.bellman import ByAction, Interval, each
from mdps.checks import check_mdp, check_tolerance, check_weights
from mdps.kernels import (
    Arrivals,
    Columns,
    Layout,
    Neighbours,
    Operator,
    arrivals,
    as_columns,
    batch_last,
    columns,
    columns_at_once,
    expect,
    l1_change,
    on_cpu,
    operator,
    settle,
    tiled,
)
from mdps.mdp import MDP
from mdps.policy_evaluation import MAX_STEPS
from mdps.value_iteration import (
    CYCLE_OF_BACKUPS,
    CYCLE_OF_ONE,
    Problem,
    Task,
    certified_values,
    judge,
)

__all__ = ["Optimum", "optimum"]
__dir__ = __all__.copy

MOST_EDGES = 12  # into a state, that are arrays of their own


class Optimum(NamedTuple):
    """An optimal policy seen through its features.

    Attributes:
        value: the policy's return from the initial distribution, in units of reward.
        features: its feature expectations φ.
        error_bound: certified bound on |value - optimum|, rounding included.
    """

    value: Float[Array, ""]
    features: Float[Array, " K"]
    error_bound: Float[Array, ""]


def optimum(mdp: MDP, weights: Float[Array, " K"], *, tol: float | Float[Array, ""] | None = None) -> Optimum:
    """Plan for `features @ weights` and return what the optimal policy collects.

    The policy is that of `mdps.solve` (ties shared), so `features` is a subgradient of the optimal
    value in the weights.  Map it over weights, MDPs or both with `jax.vmap`.

    Args:
        mdp: the MDP.
        weights: reward per unit of each feature, `[K]`.
        tol: absolute bound on the error of the value (endless MDPs); None: as in `mdps.solve`.

    Returns:
        `Optimum(value [], features [K], error_bound [])`; without a discount and a horizon NaN, and an infinite bound.

    Raises:
        ValueError: if the number of weights is not the number of features, or one is not finite.

    Example:
        >>> import mdps
        >>> grid = mdps.GridWorld.from_text("S.G", {"S": "floor", ".": "floor", "G": "goal"}, horizon=5)
        >>> mdps.optimum(grid.mdp, grid.weights(goal=1.0)).features.tolist()
        [2.0, 3.0]
    """
    weights = check_weights(check_mdp(mdp), weights)
    dtype = jnp.result_type(mdp.features, weights)
    check_tolerance(tol, dtype)
    if tol is None:
        tol = 0.0 if dtype == jnp.float32 else 1e-6
    if mdp.layout.undiscounted:  # visits to an end have no sum
        nothing = jnp.full((mdp.num_features,), jnp.nan, dtype)
        return Optimum(nothing[0], nothing, jnp.full((), jnp.inf, dtype))
    return _optimum(mdp, weights, tol)


@jax.jit
def _optimum(mdp: MDP, weights, tol) -> Optimum:
    dtype = jnp.result_type(mdp.features, weights)
    gamma = jnp.asarray(mdp.discount, dtype)
    closed = jnp.zeros((), dtype)
    if mdp.available is not None:
        closed = jnp.where(mdp.available, 0, -jnp.inf)
    arrays = (mdp.probability, mdp.features, closed, mdp.initial, weights, gamma, jnp.asarray(tol))
    arrays = tuple(x.astype(dtype) for x in arrays)
    known = _Known(mdp.horizon, mdp.layout, len(mdp.predecessor_sums), mdp.features.ndim, mdp.available is not None)
    kernel = _kernel(known)
    tables = mdp.next_state, mdp.predecessor_state, mdp.predecessor_slot, *mdp.predecessor_sums
    value, features, bound = kernel(*tables, *arrays)
    may_be = gamma < 1 if mdp.horizon is None else gamma <= 1
    sound = (gamma >= 0) & may_be & jnp.isfinite(value) & jnp.all(jnp.isfinite(features))
    sound = sound & jnp.isfinite(jnp.sum(mdp.probability))  # of an action that is never taken for it, too
    return Optimum(value, features, jnp.where(sound, bound, jnp.inf))


class _Known(NamedTuple):
    """What is known of the MDP when planning is compiled.

    Attributes:
        horizon: `MDP.horizon`.
        layout: `MDP.layout`.
        levels: how many tables `MDP.predecessor_sums` has.
        feature_rank: 2 for features of states, 3 for features of states and actions.
        some_closed: whether some actions do not exist.
    """

    horizon: int | None
    layout: Layout
    levels: int
    feature_rank: int
    some_closed: bool


@functools.cache
def _kernel(known: _Known):
    core_in = (2, 2, 2, *[1] * known.levels, 3, known.feature_rank, 2 if known.some_closed else 0, 1, 1, 0, 0)
    core_out = (0, 1, 0)

    @batch_last(core_in, core_out)
    def kernel(*arrays):
        width = columns_at_once(arrays[0].shape[0], dense=known.layout.dense, least=8) if on_cpu() else None
        return tiled(functools.partial(_plan, known), arrays, core_in, core_out, width)

    return kernel


def _plan(known: _Known, next_state, origin, slot, *others):
    """Plan, then push the optimal policy's probability forward; every array has its batch axes last."""
    *sums, probability, features, closed, initial, weights, gamma, tol = others
    # Features by action, or for all of them; and features @ weights, [S, 1 or A, *batch].  Products are as_columns,
    # not reduced over an axis between others: the compiler's reductions there take longer than a plan.
    features = features[:, None] if known.feature_rank == 2 else features
    reward = functools.reduce(jnp.add, [features[:, :, k] * weights[k] for k in range(weights.shape[0])])
    if known.some_closed:
        reward = reward + closed
    batch = np.broadcast_shapes(reward.shape[2:], probability.shape[3:], gamma.shape, initial.shape[1:], tol.shape)
    table = operator(known.layout, next_state, probability, in_place=on_cpu() and known.horizon is None)
    transpose = Arrivals(known.layout, table, origin, slot, tuple(sums))
    world = _World(known, next_state, transpose, probability, features, table.by_action(reward), gamma, batch)
    if known.horizon is None:
        estimate, within, collected = _of_endless(world, initial, tol)
    elif _few(world):
        estimate, within, collected = _by_edges(world, initial)
    else:
        estimate, within, collected = _by_state(world, initial)
    value = jnp.sum(collected * weights, axis=0)
    # The estimate is within `within` of the optimum; sharing near ties costs the policy a little more.
    expected = jnp.sum(initial * estimate, axis=0)
    rounding = (reward.shape[0] + 2) * jnp.finfo(reward.dtype).eps / 2 * jnp.sum(initial * jnp.abs(estimate), axis=0)
    return value, collected, jnp.sum(initial * within, axis=0) + rounding + jnp.abs(expected - value)


class _World(NamedTuple):
    """The arrays of one tile, batch axes last.

    Attributes:
        known: what is known when planning is compiled.
        next_state: `[S, D]`.
        transpose: the predecessor table.
        probability: `[S, A, D]`.
        features: `[S, 1 or A, K]`.
        rewards: by action, or one for all; -inf where an action does not exist.
        gamma: discount.
        batch: shape of the batch.
    """

    known: _Known
    next_state: Array
    transpose: Arrivals
    probability: Array
    features: Array
    rewards: ByAction
    gamma: Array
    batch: tuple[int, ...]

    @property
    def zero(self) -> Array:
        """0 in every state, `[S, *batch]`."""
        return jnp.zeros((self.next_state.shape[0], *self.batch), self.rewards[0].dtype)

    @property
    def steps(self) -> int:
        """The horizon, of a map that has one."""
        return self.known.horizon or 0

    @property
    def unit(self) -> float:
        """Relative rounding of one backup."""
        return bellman.unit(self.next_state.shape[1], self.rewards[0].dtype)

    @property
    def table(self) -> Operator:
        """The successor table."""
        return self.transpose.table

    def paid(self, visits: ByAction, state_visits: Array) -> Array:
        """Features collected by visits to states and actions, `[K, *batch]`."""
        if self.known.feature_rank == 2:
            return _total(self.features[:, 0], state_visits)
        return functools.reduce(jnp.add, [_total(self.features[:, a], n) for a, n in enumerate(as_columns(visits))])


def _few(world: _World) -> bool:
    """Whether every pair of a slot and an action, and every edge into a state, is an array of its own."""
    return isinstance(world.table, Columns) and not world.transpose.sums and world.transpose.terms <= MOST_EDGES


def _looks_far(world: _World) -> bool:
    """Whether the horizon is so long that not the whole bound on the values' error counts where actions share."""
    return world.steps > bellman.WHOLE_REACH


def _of_endless(world: _World, initial, tol):
    """Values by value iteration, then the visits of the policy that shares ties."""
    known, gamma, table = world.known, world.gamma, world.table
    problem = Problem(True, table, world.rewards, gamma, jnp.zeros(world.batch, tol.dtype), world.next_state.shape[1])
    # Where many columns share one table a full backup costs little more than a fixed policy's sweep.
    full = math.prod(world.probability.shape[3:]) < math.prod(world.batch)
    period = CYCLE_OF_BACKUPS if full else CYCLE_OF_ONE
    # The estimate, and the policy that attains it, each take their part of the tolerance.
    part = 0.3 * jnp.broadcast_to(tol, world.batch)
    settled = certified_values(problem, world.zero, part, MAX_STEPS, period, full)
    optimal = judge(problem, Task(True, False, MAX_STEPS, on_cpu(), known.layout), settled)
    policy = table.by_action(optimal.policy)
    visits = _visits(world, policy, initial)
    return optimal.value, optimal.within, world.paid(each(lambda p, n: p * n, policy, visits), visits)


def _visits(world: _World, policy: ByAction, initial) -> Array:
    """Expected discounted visits `[S, *batch]` of a policy.

    They are multiplied with other weights later, so they are as accurate as they can be (float64: to 1e-10 of all
    visits, in the sum of absolute errors), whatever the reward that was planned for.
    """
    gamma, dtype, transpose = world.gamma, world.rewards[0].dtype, world.transpose
    scaled = world.table.mixed(each(lambda p: gamma * p, policy))
    weights = transpose.weights(scaled)
    start = jnp.broadcast_to(initial, world.zero.shape)
    rounding = (transpose.terms + 3) * jnp.finfo(dtype).eps / 2
    tol = jnp.broadcast_to((1e-10 if dtype == jnp.float64 else 0.0) / (1 - gamma), world.batch)
    push = lambda y: initial + transpose.follow(weights, y)  # noqa: E731
    return settle(push, start, gamma, l1_change, tol, rounding, MAX_STEPS).value


def _by_edges(world: _World, initial):
    """With a horizon, where edges are few: backward for values and ties, then forward with the probability.

    Backward keeps one bit per state and action: may it be optimal?  Forward goes edge by edge, which reads the bits
    where the edges come from.
    """
    reading = Neighbours.of(world.known.layout, world.next_state, world.transpose.origin)
    estimate, within, chosen = _ties_backward(world, reading)
    visits = _visits_forward(world, reading, chosen, initial)
    return estimate, within, world.paid(visits, visits[0])


def _ties_backward(world: _World, reading: Neighbours):
    """Value at the start `[S, *batch]`, a bound on its error, and packed `[T, S, *batch]` which actions may be best."""
    gamma, zero, slots = world.gamma, world.zero, world.known.layout.slots
    discounted = [columns(gamma * x) for x in columns(world.probability)]
    # What an action value rounds: its reward, and what it adds up of the values, beside the error of those.
    paid_off = [jnp.where(r > -jnp.inf, world.unit * jnp.abs(r), 0) for r in world.rewards]

    def by_action(own, wide):
        return [own[a % len(own)] + x for a, x in enumerate(expect(discounted, reading.of_slots(wide), slots))]

    def back(carry, counts):
        v, loose, counted, _ = carry
        seen = Interval(by_action(world.rewards, v), by_action(paid_off, loose))
        tied = as_columns(seen.contenders())
        best, within = bellman.largest_of(seen.q), seen.loosest(tied)
        fair = tied if counted is None else as_columns(Interval(seen.q, by_action(paid_off, counted)).contenders())
        rounding = world.unit * jnp.abs(best)
        loose = reading.put(loose, within + rounding)
        if counted is not None:
            counted = reading.put(counted, counts * within + rounding)
        return (reading.put(v, best), loose, counted, within), _pack(fair)

    wide = reading.put(reading.empty(zero), zero)
    start = wide, wide, wide if _looks_far(world) else None, zero
    # What is put down at a step is read at the one before.
    counts = bellman.shares_by_step(gamma, world.steps + 1)[:-1]
    (value, _, _, within), chosen = jax.lax.scan(back, start, counts, reverse=True)
    return reading.taken(value), within, chosen


def _visits_forward(world: _World, reading: Neighbours, chosen, initial):
    """Discounted visits where optimal actions share: of states, or a list over actions where those have features."""
    zero, layout, transpose = world.zero, world.known.layout, world.transpose
    A, D = world.probability.shape[1:3]
    of_states = world.known.feature_rank == 2
    # Probability of each edge into a state under each action, a list over A of lists over P.
    edge = [
        arrivals([world.probability[:, a, d] for d in range(D)], transpose.origin, transpose.slot, layout.shifts)
        for a in range(A)
    ]
    # Which actions may have taken the p-th edge: those of its slot, where every slot has its place in the list.
    arriving = [
        [a for a in range(A) if not (layout.aligned and layout.slots) or p in layout.slots[a]]
        for p in range(len(edge[0]))
    ]

    def arrived(shares, bits):
        """What comes in, edge by edge: each origin's share per optimal action, if the edge's action is one."""
        moved = []
        for p, share in enumerate(shares):
            flags = [word[p] for word in bits]
            moved.append(share * sum(jnp.where(_bit(flags, a), edge[a][p], 0) for a in arriving[p]))
        return functools.reduce(jnp.add, moved)

    def forward(carry, bits):
        here, visits, rooms = carry
        share = here / sum(jax.lax.population_count(b).astype(here.dtype) for b in bits)  # per optimal action
        from_here = [jnp.where(_bit(bits, a), share, 0) for a in range(A)]
        visits = [n + (here if of_states else from_here[a]) for a, n in enumerate(visits)]
        placed = [reading.put(room, x) for room, x in zip(rooms, (share, *bits), strict=True)]
        shares, *near_bits = [reading.of_edges(x) for x in placed]
        moved = arrived(shares, near_bits)
        sent = functools.reduce(jnp.add, [from_here[a] * world.probability[:, a, -1] for a in range(A)])
        moved = transpose.absorbed(moved, sent)
        return (world.gamma * moved, visits, rooms if reading.margins is None else placed), None

    rooms = [reading.empty(x) for x in (zero, *(b[0] for b in chosen))]
    start = (jnp.broadcast_to(initial, zero.shape), [zero] * (1 if of_states else A), rooms)
    (_, visits, _), _ = jax.lax.scan(forward, start, chosen)
    return visits


def _by_state(world: _World, initial):
    """With a horizon, where edges are many: backward, keeping which actions may be optimal, then forward by state."""
    known, gamma, zero = world.known, world.gamma, world.zero
    table = world.table

    def back(carry, counts):
        v, within = carry
        q = bellman.q_values(table.expect(v), world.rewards, gamma)

        def seen(error):
            loose = bellman.sizes_of(table.expect(error / world.unit + jnp.abs(v)), world.rewards, gamma)
            return Interval(q, bellman.rounding_of(q, loose, world.unit))

        loosely = seen(within)
        tied = loosely.contenders()
        fair = seen(counts * within).contenders() if _looks_far(world) else tied
        return (bellman.largest_of(q), loosely.loosest(tied)), fair

    def forward(carry, tied):
        here, visits, by_action = carry
        policy = bellman.shared(tied, here.dtype)
        moved = world.transpose.flow(table.mixed(policy), here)
        more = each(lambda n, p, x: n + p * x, by_action, policy, here) if known.feature_rank == 3 else by_action
        return (gamma * moved, visits + here, more), None

    counts = bellman.shares_by_step(gamma, world.steps)
    (estimate, within), chosen = jax.lax.scan(back, (zero, zero), counts, reverse=True)
    nothing = table.by_action(jnp.zeros((zero.shape[0], world.probability.shape[1], *world.batch), zero.dtype))
    start = (jnp.broadcast_to(initial, zero.shape), zero, nothing)
    (_, visits, by_action), _ = jax.lax.scan(forward, start, chosen)
    return estimate, within, world.paid(by_action, visits)


def _total(features, visits):
    """Features `[S, K, *batch]` times visits `[S, *batch]`, summed over states: a matrix product where it can be."""
    S, K = features.shape[:2]
    if features.size > S * K:
        return jnp.stack([jnp.sum(features[:, k] * visits, axis=0) for k in range(K)])
    product = jnp.matmul(features.reshape(S, K).T, visits.reshape(S, -1), precision=jax.lax.Precision.HIGHEST)
    return product.reshape(K, *visits.shape[1:])


def _pack(flags) -> list[Array]:
    """Boolean arrays, one per action, as bits: a list of `uint8` arrays, eight actions in each."""
    bits = [jnp.where(flag, jnp.uint8(1 << i % 8), jnp.uint8(0)) for i, flag in enumerate(flags)]
    return [functools.reduce(jnp.add, bits[first : first + 8]) for first in range(0, len(bits), 8)]


def _bit(bits, a: int):
    """The flag of action `a` among packed ones."""
    return (bits[a // 8] & jnp.uint8(1 << (a % 8))) != 0
