"""The linear systems of a fixed policy: evaluation backward, occupancy forward, each the other's transpose.

With `M` the policy's transition operator, evaluation solves `x = b + γ M x` and occupancy solves
`y = c + γ Mᵀ y`; with a horizon they are the backward and the forward recursion over `T` steps.
Both are differentiable in either mode (`jax.lax.custom_linear_solve`): no iteration is unrolled.

A policy's rows may add up to less than one: what is missing ends there.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mdps.kernels import (
    Arrivals,
    Layout,
    batch_last,
    into_sink,
    l1_change,
    max_change,
    operator,
    pays_to_refine,
    refine,
    settle,
    summed,
)
from mdps.mdp import MDP

__all__ = ["arrive", "depart", "evaluate", "policy_weights", "push"]
__dir__ = __all__.copy

MAX_STEPS = 1_000_000


def policy_weights(mdp: MDP, policy: Float[Array, " ... S A"]) -> Float[Array, " ... S D"]:
    """Probability of each successor slot under a policy: `[S, D]`, or `[T, S, D]` with a horizon."""
    probability = jnp.expand_dims(mdp.probability, tuple(range(policy.ndim - 2)))
    weights = jnp.sum(policy[..., None] * probability, axis=-2)
    if mdp.horizon is not None and weights.ndim == 2:  # one policy for every step
        weights = jnp.broadcast_to(weights, (mdp.horizon, *weights.shape))
    return weights


def evaluate(mdp: MDP, policy: Float[Array, " ... S A"], source: Float[Array, " ... S"], tol=None) -> Array:
    """Solve `x = source + γ M x`: the value of a policy whose expected reward is `source`.

    Args:
        mdp: the MDP.
        policy: `[S, A]`, or `[T, S, A]` with a horizon.
        source: reward per step, `[S]`, or `[T, S]` with a horizon.
        tol: absolute error allowed in the max_change entry (endless MDPs); None: the rounding floor.

    Returns:
        `x`, of the shape of `source`; with a horizon `x[t]` is the value from step `t` on.
    """
    return _solve_linear(mdp, policy, source, tol, forward=False)


def push(mdp: MDP, policy: Float[Array, " ... S A"], source: Float[Array, " ... S"], tol=None) -> Array:
    """Solve `y = source + γ Mᵀ y`: expected discounted visits, where `source` is where they begin.

    The arguments are those of `evaluate`, save that `tol` bounds the sum of absolute errors; with
    a horizon `y[t]` holds the discounted visits at step `t`.
    """
    return _solve_linear(mdp, policy, source, tol, forward=True)


def _solve_linear(mdp: MDP, policy, source, tol, *, forward: bool):
    dtype = jnp.result_type(policy, mdp.probability, source)
    policy, source, probability = (jnp.asarray(x, dtype) for x in (policy, source, mdp.probability))
    gamma = jnp.asarray(mdp.discount, dtype)
    tol = jnp.zeros((), dtype) if tol is None else jnp.asarray(tol, dtype)
    if mdp.horizon is not None and policy.ndim == 2:  # one policy for every step
        policy = jnp.broadcast_to(policy, (mdp.horizon, *policy.shape))
    tables = mdp.next_state, mdp.predecessor_state, mdp.predecessor_slot, *mdp.predecessor_sums, probability, policy

    def solve(b, forward):
        if mdp.horizon is None:
            return _fixed_point(forward, mdp.layout, len(mdp.predecessor_sums))(*tables, gamma, b, tol)[0]
        return _recursion(forward, mdp.layout, len(mdp.predecessor_sums))(*tables, gamma, b)[0]

    def apply(x):
        weights = policy_weights(mdp, policy)
        return (arrive if forward else depart)(mdp, weights, x)

    return jax.lax.custom_linear_solve(
        lambda x: x - gamma * apply(x),
        source,
        solve=lambda _, b: solve(b, forward),
        transpose_solve=lambda _, b: solve(b, not forward),
    )


def depart(mdp: MDP, weights, x):
    """`M x`, the expectation over successors (of step `t + 1`, with a horizon); its transpose is `arrive`."""
    ahead = x if mdp.horizon is None else jnp.concatenate([x[1:], jnp.zeros_like(x[:1])])
    if mdp.layout.dense:
        return jnp.einsum("...sd,...d->...s", weights, ahead, precision=jax.lax.Precision.HIGHEST)
    return jnp.sum(weights * ahead[..., mdp.next_state], axis=-1)


def arrive(mdp: MDP, weights, y):
    """`Mᵀ y`, what arrives from the predecessors (at step `t - 1`, with a horizon)."""
    if mdp.layout.dense:
        pushed = jnp.einsum("...sd,...s->...d", weights, y, precision=jax.lax.Precision.HIGHEST)
    else:
        rows = jnp.sum(_arrivals(mdp, weights) * y[..., mdp.predecessor_state], axis=-1)
        pushed = jnp.moveaxis(summed(jnp.moveaxis(rows, -1, 0), mdp.predecessor_sums, mdp.num_states), 0, -1)
    sent = jnp.moveaxis(weights[..., -1] * y, -1, 0)
    pushed = jnp.moveaxis(into_sink(mdp.layout, jnp.moveaxis(pushed, -1, 0), sent), 0, -1)
    if mdp.horizon is None:
        return pushed
    return jnp.concatenate([jnp.zeros_like(pushed[:1]), pushed[:-1]])


def _arrivals(mdp: MDP, weights):
    """The weights `[..., S, D]` listed by arrival, `[..., R, P]`; padding weighs nothing."""
    padded = jnp.concatenate([weights, jnp.zeros_like(weights[..., :1])], axis=-1)
    return padded[..., mdp.predecessor_state, mdp.predecessor_slot]


@functools.cache
def _fixed_point(forward: bool, layout: Layout, levels: int):
    """Kernel for `x = b + γ M x`, batch axes last: sweeps until the certified error is at most `tol`."""
    core_in = (2, 2, 2, *[1] * levels, 3, 2, 0, 1, 0)

    @batch_last(core_in=core_in, core_out=(1,))
    def kernel(*arrays):
        next_state, origin, slot, *sums, probability, policy, gamma, source, tol = arrays
        batch = np.broadcast_shapes(*(x.shape[n:] for x, n in zip(arrays, core_in, strict=True)))
        shape = (*source.shape[:1], *batch)
        table = operator(layout, next_state, probability, in_place=False)
        transpose = Arrivals(layout, table, origin, slot, tuple(sums))
        scaled = table.mixed(table.by_action(gamma * policy))
        weights = transpose.weights(scaled) if forward else scaled
        measure = l1_change if forward else max_change

        def rounding(dtype):
            terms = transpose.terms if forward else next_state.shape[1]
            return (terms + 3) * jnp.finfo(dtype).eps / 2

        def sweep(dtype, source):
            carried = jax.tree.map(lambda x: x.astype(dtype), weights)
            one_step = transpose.astype(dtype) if forward else table.astype(dtype)
            return lambda x: source + one_step.follow(carried, x)

        def solve(dtype, source, start, tol, known=None):
            step, low_gamma, low_tol = sweep(dtype, source), gamma.astype(dtype), tol.astype(dtype)
            return settle(step, start, low_gamma, measure, low_tol, rounding(dtype), MAX_STEPS, known=known)

        start, known = jnp.broadcast_to(source, shape), None
        if pays_to_refine(source.dtype, shape):
            step = sweep(jnp.float64, source)

            def correct(x, ahead, _, context, tol):
                missing = (ahead - x).astype(jnp.float32)
                settled = solve(jnp.float32, missing, missing, tol)
                return settled.value, settled.steps

            start, known = refine(
                lambda x: (step(x), ()),
                correct,
                jnp.zeros(shape, source.dtype),
                gamma,
                measure,
                jnp.broadcast_to(tol, shape[1:]),
                rounding(jnp.float64),
            )
        return (solve(source.dtype, source, start, tol, known).value,)

    return kernel


@functools.cache
def _recursion(forward: bool, layout: Layout, levels: int):
    """Kernel for the `T`-step recursions, batch axes last: policies are `[T, S, A]`, the source `[T, S]`."""
    core_in = (2, 2, 2, *[1] * levels, 3, 3, 0, 2)

    @batch_last(core_in=core_in, core_out=(2,))
    def kernel(*arrays):
        next_state, origin, slot, *sums, probability, policy, gamma, source = arrays
        table = operator(layout, next_state, probability, in_place=False)
        transpose = Arrivals(layout, table, origin, slot, tuple(sums))

        def step(x, now):
            policy_t, source_t = now
            by_slot = table.mixed(table.by_action(policy_t))
            if forward:
                y = source_t + x
                return gamma * transpose.flow(by_slot, y), y
            x = source_t + gamma * table.follow(by_slot, x)
            return x, x

        batch = np.broadcast_shapes(*(x.shape[n:] for x, n in zip(arrays, core_in, strict=True)))
        start = jnp.zeros((source.shape[1], *batch), source.dtype)
        return (jax.lax.scan(step, start, (policy, source), reverse=not forward)[1],)

    return kernel
