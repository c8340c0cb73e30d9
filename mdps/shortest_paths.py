"""No discount and no horizon: the optimum where ends absorb and a way leads to them (stochastic shortest paths).

Nothing contracts, so values are swept until a certificate holds (after Bertsekas & Tsitsiklis 1991).  With h the time
to the end by the slowest of the actions that may be the best, found well enough that `h ≥ 1 + P_π h` (a step of
π gains on the end), a number δ that satisfies

    V - δh ≤ T_π (V - δh)        so that V - δh is at most what π attains
    V + δh ≥ T (V + δh)          so that V + δh is at least what anything attains

and V = 0 at the ends puts V* within δh of V, state by state.  Every inequality is one application of the table, whose
rounding is charged.  Where none is found the bound is infinite.

Everything compiled here has its batch axes last.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mdps import bellman
from mdps.bellman import ByAction, Interval, each
from mdps.kernels import Operator, batch_last, operator
from mdps.value_iteration import Optimal, Task

__all__ = ["EndingWorld", "proper"]
__dir__ = __all__.copy

CYCLE = 16  # sweeps between two certificates
PATIENCE = 32  # certificates without progress after which rounding is to blame


class EndingWorld(NamedTuple):
    """The arrays of one tile.

    Attributes:
        table: the successors.
        rewards: by action; -inf where an action does not exist.
        idle: whether an action stays where it is for certain, by action.
        end: whether a state is an end, `[S, *batch]`.
        unit: relative rounding of a sweep.
    """

    table: Operator
    rewards: ByAction
    idle: ByAction
    end: Array
    unit: float

    def look(self, v: Array) -> Interval:
        """Action values, with their rounding."""
        q = bellman.q_values(self.table.expect(v), self.rewards, jnp.ones(()).astype(v.dtype))
        sizes = bellman.sizes_of(self.table.expect(jnp.abs(v)), self.rewards, jnp.ones(()).astype(v.dtype))
        return Interval(q, bellman.rounding_of(q, sizes, self.unit))

    def best(self, v: Array) -> Array:
        """One sweep: the largest action value, 0 at the ends."""
        q = bellman.q_values(self.table.expect(v), self.rewards, jnp.ones(()).astype(v.dtype))
        return jnp.where(self.end, 0, bellman.largest_of(q))

    def longest(self, near: ByAction, h: Array) -> Array:
        """`CYCLE` sweeps of the time to the end if one always takes the longest of the actions marked."""

        def sweep(_, h):
            slowest = bellman.largest_of(each(lambda n, x: jnp.where(n, x, 0), near, self.table.expect(h)))
            return jnp.where(self.end, 0, 1 + slowest)

        return jax.lax.fori_loop(0, CYCLE, sweep, h)

    def times(self, policy: ByAction, h: Array, count: int) -> Array:
        """`count` sweeps of the time to the end under a policy."""
        one = jnp.where(self.end, 0, jnp.ones_like(h))
        return self.table.sweeps(self.table.mixed(policy), one, h, count)


@functools.cache
def proper(task: Task):
    """The solver: `(next_state, probability, reward [S, A], tol) -> Optimal`, mapped with plain `jax.vmap`."""
    core_in = (2, 3, 2, 0)

    @batch_last(core_in, (1, 2, 1, 0, 0, 0, 0))
    def kernel(next_state, probability, reward, tol):
        inputs = (next_state, probability, reward, tol)
        batch = np.broadcast_shapes(*(x.shape[n:] for x, n in zip(inputs, core_in, strict=True)))
        S, A, D = probability.shape[:3]
        own = jnp.arange(S).reshape(S, 1, *(1,) * len(batch))
        leaving = jnp.sum(jnp.where((next_state != own)[:, None], probability, 0), axis=2)
        exists = reward > -jnp.inf
        end = jnp.broadcast_to(jnp.all((leaving == 0) | ~exists, axis=1), (S, *batch))
        # An end that pays would pay for ever.
        sound = jnp.all(~end[:, None] | ~exists | (reward == 0), axis=(0, 1))
        table = operator(task.layout, next_state, probability, in_place=task.in_place)
        reward = jnp.broadcast_to(reward, (S, A, *reward.shape[2:]))
        idle = table.by_action(jnp.broadcast_to(leaving == 0, (S, A, *leaving.shape[2:])))
        world = EndingWorld(table, table.by_action(reward), idle, end, bellman.unit(D, reward.dtype))
        return _solve_undiscounted(world, jnp.broadcast_to(tol, batch), sound, task.max_steps)

    return kernel


class _Search(NamedTuple):
    """Where the search stands.

    Attributes:
        v: values, `[S, *batch]`.
        mean: time to the end of the policy that attains them, `[S, *batch]`.
        h: time to the end by the longest of the actions that may be the best, `[S, *batch]`.
        delta: δ of the last certificate, infinite where there is none, `[*batch]`.
        floor: what rounding alone would leave of the bound, `[*batch]`.
        shrunk: the bound when it last shrank by a tenth.
        stale: certificates since then.
        steps: sweeps of the values.
    """

    v: Array
    mean: Array
    h: Array
    delta: Array
    floor: Array
    shrunk: Array
    stale: Array
    steps: Array


def _solve_undiscounted(world: EndingWorld, tol, sound, max_steps: int) -> Optimal:
    def cycle(now: _Search) -> _Search:
        v = jax.lax.fori_loop(0, CYCLE, lambda _, x: world.best(x), now.v)
        seen = world.look(v)
        policy = bellman.shared(seen.contenders(), v.dtype)
        mean, best = world.times(policy, now.mean, CYCLE), bellman.largest_of(seen.q)
        # Ties that are not yet settled must come nearer to the end, too: h allows for the slowest of them.
        unsettled = 2 * jnp.max(jnp.where(world.end, 0, jnp.abs(best - v)), axis=0) * (1 + jnp.max(mean, axis=0))
        near = each(lambda q, e, i, b: ~i & (q + 2 * e >= b - unsettled), seen.q, seen.off, world.idle, best)
        h = world.longest(near, now.h)
        delta, least = _certify(world, v, h, seen, policy)
        bound = delta * jnp.max(h, axis=0)
        shrunk = bound < 0.9 * now.shrunk
        stale = jnp.where(shrunk, 0, now.stale + 1)
        floor = least * jnp.max(h, axis=0)
        return _Search(v, mean, h, delta, floor, jnp.where(shrunk, bound, now.shrunk), stale, now.steps + CYCLE)

    def going(now: _Search):
        found = now.delta * jnp.max(now.h, axis=0) <= tol
        tired = jnp.isfinite(now.delta) & (now.stale > PATIENCE)
        return jnp.any(~found & ~tired & jnp.all(jnp.isfinite(now.v), axis=0)) & (now.steps + CYCLE <= max_steps)

    zero, column = jnp.zeros(world.end.shape, tol.dtype), jnp.zeros(tol.shape, tol.dtype)
    start = _Search(zero, zero, zero, column + jnp.inf, column, column + jnp.inf, column, jnp.zeros((), jnp.int32))
    found = jax.lax.while_loop(going, cycle, start)
    within = jnp.where(world.end, 0, found.delta * found.h)
    policy, short = _policy(world, found, within)
    bound = jnp.where(sound, jnp.max(within, axis=0), jnp.inf)
    steps = jnp.broadcast_to(found.steps, tol.shape)
    return Optimal(
        found.v, bellman.stacked(policy), within, bound, jnp.where(sound, short, jnp.inf), found.floor, steps
    )


def _certify(world: EndingWorld, v, h, seen: Interval, policy: ByAction) -> tuple[Array, Array]:
    """δ, or infinity where the inequalities have none; and what rounding alone would make of it, both `[*batch]`."""
    ahead = world.table.expect(h)
    # What a step of each action gains on the end, at least.
    gain = each(lambda x, mine: mine - x * (1 + world.unit), ahead, h)
    lower, least = _below(world, v, gain, seen, policy)

    def needed(c, g, idle):
        """δ has to be at least this, where the step gains on the end; an idle action need only not pay."""
        return jnp.where(
            idle, -jnp.inf, jnp.where(g > 0, c / jnp.where(g > 0, g, 1), jnp.where(c > 0, jnp.inf, -jnp.inf))
        )

    def allowed(c, g, idle):
        """δ must be at most this, where the step leads away from the end."""
        return jnp.where(~idle & (g < 0), c / jnp.where(g < 0, g, 1), jnp.inf)

    over = each(lambda q, e, x: q + e - x, seen.q, seen.off, v)
    free = jnp.all(
        jnp.where(bellman.stacked(world.idle) & ~world.end[:, None], bellman.stacked(world.rewards), 0) <= 0,
        axis=(0, 1),
    )
    inside = lambda x, other: jnp.where(world.end, other, x)  # noqa: E731
    need = jnp.max(inside(bellman.largest_of(each(needed, over, gain, world.idle)), -jnp.inf), axis=0)
    cap = jnp.min(
        inside(-bellman.largest_of(each(lambda c, g, i: -allowed(c, g, i), over, gain, world.idle)), jnp.inf), axis=0
    )
    delta = jnp.maximum(jnp.maximum(lower, need), 0)
    return jnp.where(free & (delta <= cap), delta, jnp.inf), least


def _below(world: EndingWorld, v, gain: ByAction, seen: Interval, policy: ByAction) -> tuple[Array, Array]:
    """The least δ with V - δh ≤ T_π (V - δh), and what rounding alone makes of it."""
    follow = lambda x: bellman.followed(policy, x)  # noqa: E731
    progress, rho = follow(gain), follow(seen.off) + world.unit * jnp.abs(v)
    behind = jnp.maximum(v - follow(seen.q) + rho, 0)
    ratio = lambda x: jnp.where(progress > 0, x / jnp.where(progress > 0, progress, 1), jnp.inf)  # noqa: E731
    inside = lambda x: jnp.max(jnp.where(world.end, 0, x), axis=0)  # noqa: E731
    return inside(ratio(behind)), inside(ratio(rho))


def _policy(world: EndingWorld, found: _Search, within: Array) -> tuple[ByAction, Array]:
    """Equal shares of what cannot be told from the best, and what that falls short of the optimum at most."""
    v, seen = found.v, world.look(found.v)
    one = bellman.first_of(seen.q)
    best = bellman.largest_of(seen.q)
    best_off = bellman.sum_of(each(lambda f, e: jnp.where(f > 0, e, 0), one, seen.off))
    # Without a certificate nothing is known of the error: only rounding is allowed for.
    counts = bellman.share_of_error(jnp.maximum(found.h, 1))
    slack = world.table.apart(one, jnp.where(jnp.isfinite(within), counts * within, 0))
    tied = each(lambda q, e, r, b, o: b - q <= e + r + o, seen.q, slack, seen.off, best, best_off)
    policy = bellman.shared(tied, v.dtype)

    def certified(h):
        gain = each(lambda x, mine: mine - x * (1 + world.unit), world.table.expect(h), h)
        return _below(world, v, gain, seen, policy)[0]

    def going(carry):
        h, delta, before, steps = carry
        better = ~(delta * jnp.max(h, axis=0) < 1.1 * jnp.max(within, axis=0)) & ~(delta >= 0.999 * before)
        return jnp.any((better | ~jnp.isfinite(delta)) & jnp.isfinite(found.delta)) & (steps < 4 * found.steps)

    def more(carry):
        h, delta, _, steps = carry
        h = world.times(policy, h, CYCLE)
        return h, certified(h), delta, steps + CYCLE

    start = found.h, certified(found.h), jnp.full_like(found.delta, jnp.inf), jnp.zeros((), jnp.int32)
    h, delta, _, _ = jax.lax.while_loop(going, more, start)
    return policy, jnp.max(within + jnp.where(world.end, 0, delta * h), axis=0)
