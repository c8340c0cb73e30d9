"""The feature expectations of optimal policies, for many rewards at once: planning as its users need it.

Inverse reward design and its planners ask one thing of a planner: where do optimal policies for
these weights go, counted in features?  Answering it in one kernel never writes a policy down in
memory that the caller would only read once, which for finite horizons is many times faster than
`solve` followed by `feature_expectations`.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mdps.kernels import (
    VECTOR,
    Margins,
    arrivals,
    batch_last,
    columns,
    expect,
    neighbours,
    settle,
    span,
    sweep,
    tiled,
    total,
)
from mdps.linear import MAX_STEPS
from mdps.mdp import MDP

ENTRIES = 2**14  # states times rewards planned together on a CPU: they then stay in the caches


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
        `Optimum(value [], features [K], error_bound [])`.

    Raises:
        ValueError: if the number of weights is not the number of features, or one is not finite.

    Example:
        >>> import mdps
        >>> grid = mdps.GridWorld.from_text("S.G", {"S": "floor", ".": "floor", "G": "goal"}, horizon=5)
        >>> mdps.optimum(grid.mdp, grid.weights(goal=1.0)).features.tolist()
        [2.0, 3.0]
    """
    mdp.reward(weights)  # its checks; the unused product is removed by the compiler
    dtype = jnp.result_type(mdp.features, weights)
    if tol is None:
        tol = 0.0 if dtype == jnp.float32 else 1e-6
    arrays = (mdp.probability, mdp.features, mdp.initial, jnp.asarray(weights), mdp.discount, jnp.asarray(tol))
    arrays = tuple(x.astype(dtype) for x in arrays)
    kernel = _kernel(
        _Known(mdp.horizon, mdp.layout.sink, mdp.layout.shifts, mdp.layout.slots, mdp.layout.aligned, mdp.features.ndim)
    )
    value, features, bound = kernel(mdp.next_state, mdp.predecessor_state, mdp.predecessor_slot, *arrays)
    return Optimum(value, features, bound)


class _Known(NamedTuple):
    """What is known of the MDP when planning is compiled; all but the last are fields of `MDP`."""

    horizon: int | None
    sink: int | None
    offsets: tuple[int, ...] | None
    slots: tuple[tuple[int, ...], ...] | None
    aligned: bool
    feature_rank: int


@functools.cache
def _kernel(known: _Known):
    core_in, core_out = (2, 2, 2, 3, known.feature_rank, 1, 1, 0, 0), (0, 1, 0)

    @batch_last(core_in, core_out)
    def kernel(*arrays):
        wide = max(ENTRIES // arrays[0].shape[0], 8 * VECTOR)
        width = wide - wide % VECTOR if jax.default_backend() == "cpu" else None
        return tiled(functools.partial(_plan, known), arrays, core_in, core_out, width)

    return kernel


def _plan(known: _Known, next_state, origin, slot, probability, features, initial, weights, gamma, tol):
    """Plan, then push the optimal policy's probability forward; every array has its batch axes last."""
    horizon, sink, offsets, slots, aligned, feature_rank = known
    S, A, D = probability.shape[:3]
    # Features by action, or for all of them; and features @ weights, [S, 1 or A, *batch].  Products are listed,
    # not reduced over an axis between others: the compiler's reductions there take longer than a plan.
    features = features[:, None] if feature_rank == 2 else features
    reward = functools.reduce(jnp.add, [features[:, :, k] * weights[k] for k in range(weights.shape[0])])
    batch = np.broadcast_shapes(reward.shape[2:], probability.shape[3:], gamma.shape, initial.shape[1:], tol.shape)
    rounding = (D + 3) * jnp.finfo(reward.dtype).eps / 2
    zero = jnp.zeros((S, *batch), reward.dtype)

    # A processor reads neighbours where they lie; an accelerator would rather compute than copy.
    in_place = sink is None and horizon is not None and jax.default_backend() == "cpu"
    margins = Margins(offsets, S) if in_place and offsets is not None else None
    discounted = [columns(gamma * x) for x in columns(probability)]

    def q_values(v):
        near = neighbours(offsets or next_state, v) if margins is None else margins.near(v)
        return [reward[:, a % reward.shape[1]] + x for a, x in enumerate(expect(discounted, near, slots))]

    def ties(q, best, scale, residual: float | Array = 0.0):
        """Which actions are optimal within rounding and the reach of the residual, a list over A.

        `scale` is the largest |Q|, or a little more.
        """
        slack = jnp.maximum(16 * jnp.finfo(best.dtype).eps * scale, 2 * gamma * residual)
        return [x >= best - slack for x in q]

    def policy_slots(policy):
        """Probability of each successor slot under the policy, a list over D."""
        return [sum(policy[a] * probability[:, a, d] for a in range(A)) for d in range(D)]

    def paid(policy):
        """Features collected on leaving each state, a list over K of `[S, *batch]`."""
        if feature_rank == 2:
            return [jnp.broadcast_to(features[:, 0, k], zero.shape) for k in range(features.shape[2])]
        return [sum(policy[a] * features[:, a, k] for a in range(A)) for k in range(features.shape[2])]

    if horizon is None:
        settled = settle(
            lambda v: functools.reduce(jnp.maximum, q_values(v)), zero, gamma, span, tol, rounding, MAX_STEPS
        )
        q = q_values(settled.value)
        scale = jnp.max(functools.reduce(jnp.maximum, [jnp.abs(x) for x in q]), axis=0)
        tied = ties(q, functools.reduce(jnp.maximum, q), scale, settled.residual)
        share = [x.astype(zero.dtype) for x in tied]
        count = sum(share)
        policy = [x / count for x in share]
        # A visit is worth at most the largest reward, so this keeps the return within `tol`.
        worth = jnp.maximum(jnp.max(jnp.abs(reward), axis=(0, 1)), jnp.finfo(reward.dtype).tiny)
        visits = _visits(policy_slots(policy), origin, slot, offsets, initial, gamma, tol / worth, sink)
        collected = jnp.stack([jnp.sum(visits * x, axis=0) for x in paid(policy)])
        estimate, bound = settled.value, settled.bound
    else:
        # Backward for the values, keeping one bit per state and action: is it optimal?  Then forward
        # with the probability, edge by edge, which reads the bits where the edges come from.
        largest = jnp.max(jnp.abs(reward), axis=(0, 1))

        def back(carry, _):
            v, size, scale = carry
            best = functools.reduce(jnp.maximum, q_values(v))
            # Computed again, which costs less than to write down what each action is worth and read it.
            bits = _pack(ties(q_values(jax.lax.optimization_barrier(v)), best, largest + gamma * size))
            size = jnp.max(jnp.abs(best), axis=0)
            return (best if margins is None else margins.put(v, best), size, scale + size), bits

        # Probability of each edge into a state under each action, a list over A of lists over P.
        edge = [arrivals([probability[:, a, d] for d in range(D)], origin, slot, offsets) for a in range(A)]
        near_by = tuple(-o for o in offsets) if offsets else origin
        # Which actions may have taken the p-th edge: those of its slot, where every slot has its place in the list.
        arriving = [[a for a in range(A) if not (aligned and slots) or p in slots[a]] for p in range(len(edge[0]))]

        def forward(carry, bits):
            here, visits, leaving = carry
            each = here / sum(jax.lax.population_count(b).astype(here.dtype) for b in bits)  # per optimal action
            from_here = [jnp.where(_bit(bits, a), each, 0) for a in range(A)]
            visits = [n + (here if feature_rank == 2 else from_here[a]) for a, n in enumerate(visits)]
            if margins is None:
                near, *near_bits = [neighbours(near_by, x) for x in (each, *bits)]
            else:
                leaving = [margins.put(wide, x) for wide, x in zip(leaving, (each, *bits), strict=True)]
                near, *near_bits = [[margins.at(x, o) for o in near_by] for x in leaving]
            moved = sum(
                x * sum(jnp.where(_bit(flags, a), edge[a][p], 0) for a in arriving[p])
                for p, (x, *flags) in enumerate(zip(near, *near_bits, strict=True))
            )
            if sink is not None:
                arrived = sum(jnp.sum(from_here[a] * probability[:, a, -1], axis=0) for a in range(A))
                moved = moved + (jnp.arange(S) == sink).reshape(S, *(1,) * len(batch)) * arrived
            return (gamma * moved, visits, leaving), None

        none = jnp.zeros(batch, reward.dtype)
        wide = zero if margins is None else margins.empty(zero)
        (estimate, _, scale), chosen = jax.lax.scan(back, (wide, none, none), None, length=horizon)
        estimate = estimate if margins is None else margins.at(estimate, 0)
        nowhere = [] if margins is None else [margins.empty(x) for x in (zero, *(b[0] for b in chosen))]
        start = (jnp.broadcast_to(initial, zero.shape), [zero] * (1 if feature_rank == 2 else A), nowhere)
        (_, visits, _), _ = jax.lax.scan(forward, start, chosen, reverse=True)
        collected = functools.reduce(jnp.add, [_total(features[:, a], n) for a, n in enumerate(visits)])
        bound = rounding * scale  # each step's backup rounds in proportion to its values
    value = jnp.sum(collected * weights, axis=0)
    # `bound` is how far the estimate can be from the optimum; sharing near ties costs the policy a little more.
    return value, collected, bound + jnp.abs(jnp.sum(initial * estimate, axis=0) - value)


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


def _visits(slots, origin, slot, offsets, initial, gamma, tol, sink):
    """Expected discounted visits `[S, *batch]` of a policy given as its slot probabilities."""
    S, batch = origin.shape[0], slots[0].shape[1:]
    table = arrivals(slots, origin, slot, offsets)
    near_by = tuple(-o for o in offsets) if offsets else origin
    here = (jnp.arange(S) == (-1 if sink is None else sink)).reshape(S, *(1,) * len(batch))

    def push(y):
        moved = sweep(near_by, table, y)
        if sink is not None:
            moved = moved + here * jnp.sum(slots[-1] * y, axis=0)
        return initial + gamma * moved

    rounding = (origin.shape[1] + 3) * jnp.finfo(slots[0].dtype).eps / 2
    start = jnp.broadcast_to(initial, slots[0].shape)
    return settle(push, start, gamma, total, tol, rounding, MAX_STEPS).value
