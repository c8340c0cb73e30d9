"""The linear systems of a fixed policy: evaluation backward, occupancy forward, each the other's transpose.

With `M` the policy's transition operator, evaluation solves `x = b + γ M x` and occupancy solves
`y = c + γ Mᵀ y`; with a horizon they are the backward and the forward recursion over `T` steps.
Both are differentiable in either mode (`jax.lax.custom_linear_solve`): no iteration is unrolled.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mdps.kernels import arrivals, batch_last, columns, largest, refine, settle, sweep, total, worth_refining
from mdps.mdp import MDP

MAX_STEPS = 1_000_000


def policy_weights(mdp: MDP, policy: Float[Array, " ... S A"]) -> Float[Array, " ... S D"]:
    """Probability of each successor slot under a policy: `[S, D]`, or `[T, S, D]` with a horizon."""
    probability = jnp.expand_dims(mdp.probability, tuple(range(policy.ndim - 2)))
    weights = jnp.sum(policy[..., None] * probability, axis=-2)
    if mdp.horizon is not None and weights.ndim == 2:  # one policy for every step
        weights = jnp.broadcast_to(weights, (mdp.horizon, *weights.shape))
    return weights


def evaluate(mdp: MDP, weights: Float[Array, " ... S D"], source: Float[Array, " ... S"], tol=None) -> Array:
    """Solve `x = source + γ M x`: the value of a policy whose expected reward is `source`.

    Args:
        mdp: the MDP.
        weights: `policy_weights`, `[S, D]`, or `[T, S, D]` with a horizon.
        source: reward per step, `[S]`, or `[T, S]` with a horizon.
        tol: absolute error allowed in the largest entry (endless MDPs); None: the rounding floor.

    Returns:
        `x`, of the shape of `source`; with a horizon `x[t]` is the value from step `t` on.
    """
    return _solve(mdp, weights, source, tol, forward=False)


def push(mdp: MDP, weights: Float[Array, " ... S D"], source: Float[Array, " ... S"], tol=None) -> Array:
    """Solve `y = source + γ Mᵀ y`: expected discounted visits, where `source` is where they begin.

    The arguments are those of `evaluate`, save that `tol` bounds the sum of absolute errors; with
    a horizon `y[t]` holds the discounted visits at step `t`.
    """
    return _solve(mdp, weights, source, tol, forward=True)


def _solve(mdp: MDP, weights, source, tol, *, forward: bool):
    dtype = jnp.result_type(weights, source)
    weights, source = weights.astype(dtype), source.astype(dtype)
    gamma = jnp.asarray(mdp.discount, dtype)
    tol = jnp.zeros((), dtype) if tol is None else jnp.asarray(tol, dtype)

    def solve(b, forward):
        if mdp.horizon is None:
            tables = (mdp.predecessor_state, mdp.predecessor_slot) if forward else (mdp.next_state, mdp.next_state)
            return _endless(forward, mdp.layout.sink if forward else None, mdp.layout.shifts)(
                *tables, weights, gamma, b, tol
            )[0]
        index = mdp.predecessor_state if forward else mdp.next_state
        table = _arrivals(mdp, weights) if forward else weights
        return _recursion(forward, mdp.layout.sink if forward else None, mdp.layout.shifts)(
            index, table, weights[..., -1], gamma, b
        )[0]

    return jax.lax.custom_linear_solve(
        lambda x: x - gamma * (arrive if forward else depart)(mdp, weights, x),
        source,
        solve=lambda _, b: solve(b, forward),
        transpose_solve=lambda _, b: solve(b, not forward),
    )


def depart(mdp: MDP, weights, x):
    """`M x`, the expectation over successors (of step `t + 1`, with a horizon); its transpose is `arrive`."""
    ahead = x if mdp.horizon is None else jnp.concatenate([x[1:], jnp.zeros_like(x[:1])])
    return jnp.sum(weights * ahead[..., mdp.next_state], axis=-1)


def arrive(mdp: MDP, weights, y):
    """`Mᵀ y`, what arrives from the predecessors (at step `t - 1`, with a horizon)."""
    pushed = jnp.sum(_arrivals(mdp, weights) * y[..., mdp.predecessor_state], axis=-1)
    if mdp.layout.sink is not None:
        pushed = pushed.at[..., mdp.layout.sink].add(jnp.sum(weights[..., -1] * y, axis=-1))
    if mdp.horizon is None:
        return pushed
    return jnp.concatenate([jnp.zeros_like(pushed[:1]), pushed[:-1]])


def _arrivals(mdp: MDP, weights):
    """The weights `[..., S, D]` listed by arrival, `[..., S, P]`; padding weighs nothing."""
    padded = jnp.concatenate([weights, jnp.zeros_like(weights[..., :1])], axis=-1)
    return padded[..., mdp.predecessor_state, mdp.predecessor_slot]


def _absorb(sink: int | None, moved, departing, values):
    """Add what every state sends to the sink, an edge that the predecessor table leaves out."""
    if sink is None:
        return moved
    here = (jnp.arange(moved.shape[0]) == sink).reshape(-1, *(1,) * (moved.ndim - 1))
    return moved + here * jnp.sum(departing * values, axis=0)


def _near(forward: bool, offsets: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The offsets of the neighbours that a sweep reads: predecessors forward, successors backward."""
    return tuple(-o for o in offsets) if offsets and forward else offsets


@functools.cache
def _endless(forward: bool, sink: int | None, offsets: tuple[int, ...] | None):
    """Kernel for `x = b + γ M x`, batch axes last: sweeps until the certified error is at most `tol`."""

    @batch_last(core_in=(2, 2, 2, 0, 1, 0), core_out=(1,))
    def kernel(index, slot, weights, gamma, source, tol):
        table, departing = columns(weights), weights[:, -1]
        if forward:
            table = arrivals(table, index, slot, offsets)
        near = _near(forward, offsets) or index
        shape = np.broadcast_shapes(source.shape, table[0].shape, departing.shape, (1, *gamma.shape), (1, *tol.shape))
        measure = total if forward else largest

        def rounding(dtype):
            return (index.shape[1] + 3) * jnp.finfo(dtype).eps / 2

        def operator(dtype, source):
            scaled, leaving = [(gamma * x).astype(dtype) for x in table], (gamma * departing).astype(dtype)
            return lambda x: source + _absorb(sink, sweep(near, scaled, x), leaving, x)

        def solve(dtype, source, start, tol, known=None):
            step, low_gamma, low_tol = operator(dtype, source), gamma.astype(dtype), tol.astype(dtype)
            return settle(step, start, low_gamma, measure, low_tol, rounding(dtype), MAX_STEPS, known=known)

        start, known = jnp.broadcast_to(source, shape), None
        if worth_refining(source.dtype, shape):  # pyright: ignore[reportArgumentType]
            step = operator(jnp.float64, source)

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
def _recursion(forward: bool, sink: int | None, offsets: tuple[int, ...] | None):
    """Kernel for the `T`-step recursions, batch axes last: the tables are `[T, S, J]`, the source `[T, S]`."""

    @batch_last(core_in=(2, 3, 2, 0, 2), core_out=(2,))
    def kernel(index, table, departing, gamma, source):
        near = _near(forward, offsets) or index

        def step(x, now):
            table_t, departing_t, source_t = now
            if forward:
                y = source_t + x
                return gamma * _absorb(sink, sweep(near, table_t, y), departing_t, y), y
            x = source_t + gamma * sweep(near, table_t, x)
            return x, x

        batch = np.broadcast_shapes(source.shape[2:], table.shape[3:], gamma.shape)
        start = jnp.zeros((source.shape[1], *batch), source.dtype)
        return (jax.lax.scan(step, start, (table, departing, source), reverse=not forward)[1],)

    return kernel
