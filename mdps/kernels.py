"""The inner loops over the successor table, and the layout that makes them fast.

Every array here carries its batch axes *last*: values are `[S, *batch]`, so that gathering a
successor is a copy of contiguous rows and the arithmetic vectorises over the batch (12 times
faster on a CPU than `vmap` of the same loop over `[B, S]`).  `batch_last` lets callers write a
plain `jax.vmap`: it adds each mapped axis behind the core axes instead of in front.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float, Int, Num

from mdps.margins import Margins

# Each state's neighbours: a table, the list of its columns, or how far each column leads (`MDP.offsets`).
Index = Int[Array, " S J ..."] | list[Array] | tuple[int, ...]


def batch_last(core_in: Sequence[int], core_out: Sequence[int]) -> Callable:
    """Decorate a function on batch-last arrays so that `vmap` appends trailing batch axes.

    Args:
        core_in: rank of each argument without batch axes.
        core_out: rank of each result without batch axes.

    The decorated function takes arrays of shape `core + batch`, where the batch axes of all
    arguments have the same rank and broadcast together, and returns results of shape
    `core + batch`, fully broadcast.  Nested maps put the outer axis before the inner one.
    """

    def decorate(function):
        @custom_vmap
        @functools.wraps(function)
        def batched(*args):
            batch = np.broadcast_shapes(*(x.shape[n:] for x, n in zip(args, core_in, strict=True)))
            with jax.numpy_rank_promotion("allow"):  # trailing batch axes line up by themselves
                results = function(*args)
            return tuple(jnp.broadcast_to(y, y.shape[:n] + batch) for y, n in zip(results, core_out, strict=True))

        @batched.def_vmap
        def rule(axis_size, in_batched, *args):
            del axis_size
            moved = [
                jnp.moveaxis(x, 0, n) if mapped else jnp.expand_dims(x, n)
                for x, n, mapped in zip(args, core_in, in_batched, strict=True)
            ]
            results = batched(*moved)
            back = tuple(jnp.moveaxis(y, n, 0) for y, n in zip(results, core_out, strict=True))
            return back, (True,) * len(back)

        return batched

    return decorate


def columns(table: Array) -> list[Array]:
    """The second axis as a list of arrays `[S, ...]`; split outside a loop, each is contiguous inside it."""
    return [table[:, j] for j in range(table.shape[1])]


def listed(table: Array | list) -> list:
    """A table's columns, which a caller may have split already."""
    return table if isinstance(table, list) else columns(table)


def neighbours(
    index: Index,
    values: Num[Array, " R ..."],
    *,
    in_place: bool = False,
) -> list[Array]:
    """The values at each state's `j`-th neighbour: a list of `J` arrays `[S, *batch]`.

    A list, not a stacked array: stacking copies, and XLA fuses the separate gathers.  Here and below
    a table may come as the list of its `columns`, or, where the j-th neighbour of every state `s` is
    `s + offset[j]` (`MDP.offsets`), as those offsets: shifted copies vectorise, which gathers do not.
    `in_place`, where a processor reads, they are slices of one copy with margins.
    """
    if isinstance(index, tuple) and in_place:
        margins = Margins(index, values.shape[0])
        return margins.near(margins.put(margins.empty(values), values))
    if isinstance(index, tuple):
        return [shifted(values, offset) for offset in index]
    return [_rows(values, i) for i in listed(index)]


def shifted(values: Num[Array, " S ..."], offset: int) -> Array:
    """`values[s + offset]` at each `s`, and 0 where that is no state."""
    S = values.shape[0]
    beyond = [(max(-offset, 0), max(offset, 0))] + [(0, 0)] * (values.ndim - 1)
    return jax.lax.slice_in_dim(jnp.pad(values, beyond), max(offset, 0), max(offset, 0) + S)


def arrivals(slots: list[Array], origin: Array, slot: Array, offsets: tuple[int, ...] | None) -> list[Array]:
    """What each state's edges carry, listed by where they arrive: from a list over `D` to a list over `P`.

    Args:
        slots: a number for each successor slot, `D` arrays `[S, *batch]`.
        origin: the predecessor table, `[S, P]`.
        slot: which of its origin's slots each edge is, `[S, P]`; `D` is padding, which carries 0.
        offsets: `MDP.offsets`.
    """
    if offsets is not None:
        return [shifted(x, -offset) for x, offset in zip(slots, offsets, strict=True)]
    S, D = slots[0].shape[0], len(slots)
    listed = neighbours(origin * D + jnp.minimum(slot, D - 1), jnp.stack(slots, 1).reshape(S * D, *slots[0].shape[1:]))
    return [jnp.where(slot[:, p] < D, x, 0) for p, x in enumerate(listed)]


def expect(
    probability: Float[Array, " S A D ..."] | list[list[Array]],
    near: list[Array],
    slots: Sequence[Sequence[int]] | None = None,
) -> list[Array]:
    """Expected value at the next state, for each action, given the values at the neighbours: `A` arrays `[S, *batch]`.

    With `MDP.slots`, products with what no state can have are left out.
    """
    rows = [listed(row) for row in listed(probability)]
    slots = slots or [range(len(near))] * len(rows)
    return [_dot([row[d] for d in some], [near[d] for d in some]) for row, some in zip(rows, slots, strict=True)]


def sweep(
    index: Index,
    weight: Float[Array, " S J ..."] | list[Array],
    values: Float[Array, " S ..."],
) -> Array:
    """One application of a fixed policy's linear operator: `sum_j weight[s, j] * values[index[s, j]]`.

    With the successor table it takes expectations; with the predecessor table it pushes probability.
    """
    return _dot(weight, neighbours(index, values))


# One problem of more states than this is swept in blocks, which then stay in a processor's cache, so many times.
_BLOCK, _DEEPEST = 2**18, 11


def repeat(index, combine: Callable, values: Float[Array, " S ..."], count, *, in_place: bool) -> Array:
    """`values <- combine(values at the neighbours)`, `count` times.

    A sweep must not overwrite what it still reads, so a plain loop copies its array each time.  `in_place`,
    values whose neighbours are found by shifting alternate between two arrays with margins instead.
    """
    if not (in_place and isinstance(index, tuple)):
        return jax.lax.fori_loop(0, count, lambda _, x: combine(neighbours(index, x)), values)
    margins = Margins(index, values.shape[0])

    def twice(_, pair):
        read, write = pair
        write = margins.put(write, combine(margins.near(read)))
        return margins.put(read, combine(margins.near(write))), write

    values = jax.lax.fori_loop(0, count % 2, lambda _, x: combine(neighbours(index, x)), values)
    wide = margins.put(margins.empty(values), values)
    return margins.at(jax.lax.fori_loop(0, count // 2, twice, (wide, jnp.zeros_like(wide)))[0], 0)


def sweeps(index, weight, source, values: Float[Array, " S ..."], count: int, *, in_place: bool = True) -> Array:
    """`count` sweeps with a source: `x[s] <- source[s] + sum_j weight[s, j] * x[index[s, j]]`.

    Args:
        index: as in `neighbours`.
        weight: `[S, J]`, or a list of columns.
        source: `[S, *batch]`.
        values: `[S, *batch]`.
        count: how many sweeps.
        in_place: as in `repeat`; False where the states are spread over devices, and blocks would gather them.
    """
    weight = listed(weight)
    if in_place and isinstance(index, tuple) and values.ndim == 1 and values.size > _BLOCK:
        deepest = min(
            _DEEPEST, _BLOCK // (8 * max(1, *map(abs, index)))
        )  # what surrounds a block stays a quarter of it
        if deepest > 1 and count > 0:
            return _block_by_block(index, weight, source, values, count, math.ceil(count / math.ceil(count / deepest)))
    return repeat(index, lambda near: source + _dot(weight, near), values, count, in_place=in_place)


def apart(always: Array, function: Callable, *operands):
    """`function(*operands)`, which the compiler does not merge with what surrounds it.

    Args:
        always: a condition that holds, NaN or not, though the compiler cannot know; the other branch is NaN.
        function: any function of arrays.
        *operands: its arguments.
    """

    def never(*operands):
        return jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), jax.eval_shape(function, *operands))

    return jax.lax.cond(always, function, never, *operands)


def _block_by_block(offsets, weight: list[Array], source, values: Float[Array, " S"], count: int, depth: int) -> Array:
    """`sweeps` of one large problem: `depth` at a time in each block, with as much of its surroundings as they see.

    Every sweep of a block leaves out what its last neighbours would have needed, so it is a new, shorter array, and
    a processor's cores can share its writing.
    """
    S, reach = values.size, max(abs(o) for o in offsets)
    number = math.ceil(S / _BLOCK)
    block, margin = math.ceil(S / number), depth * reach
    framed = lambda table: jnp.pad(table, (margin, margin + number * block - S))  # noqa: E731
    tables = [framed(table) for table in (source, *weight)]  # nothing comes from beyond the ends: weight zero
    always = ~(source[0] > jnp.inf)

    def shorter(length, first, x, here, *ways):
        inner = lambda table: jax.lax.dynamic_slice(table, (first,), (length,))  # noqa: E731
        near = [jax.lax.slice_in_dim(x, reach + o, reach + o + length) for o in offsets]
        return inner(here) + _dot([inner(w) for w in ways], near)

    def several(x, times):
        padded = framed(x)

        def one(k, out):
            swept = jax.lax.dynamic_slice(padded, (k * block,), (block + 2 * margin,))
            for i in range(1, times + 1):
                sweep = functools.partial(shorter, swept.size - 2 * reach)
                swept = apart(always, sweep, k * block + i * reach, swept, *tables)  # merged, most would run five times
            spare = (swept.size - block) // 2
            return jax.lax.dynamic_update_slice(out, jax.lax.slice_in_dim(swept, spare, spare + block), (k * block,))

        return jax.lax.fori_loop(0, number, one, jnp.zeros(number * block, x.dtype))[:S]

    values = jax.lax.fori_loop(0, count // depth, lambda _, x: several(x, depth), values)
    return several(values, count % depth) if count % depth else values


def _dot(weight: Array | list[Array], near: list[Array]) -> Array:
    return functools.reduce(jnp.add, [w * x for w, x in zip(listed(weight), near, strict=True)])


def _rows(values: Array, index: Array) -> Array:
    """`values[index]` along the first axis; one contiguous row per state where the index is not batched."""
    if index.size == index.shape[0]:
        return values.at[index.reshape(-1)].get(mode="promise_in_bounds")
    batch = np.broadcast_shapes(values.shape[1:], index.shape[1:])
    values = jnp.broadcast_to(values, (values.shape[0], *batch))
    return jnp.take_along_axis(
        values, jnp.broadcast_to(index, (index.shape[0], *batch)), axis=0, mode="promise_in_bounds"
    )


class Settled(NamedTuple):
    """Where a γ-contraction settled, one entry per batch column.

    Attributes:
        value: the fixed point, within `bound` of the exact one.
        bound: certified error in the norm that `measure` used, rounding included.
        residual: the last change, less a constant shift (the Bellman residual).
        floor: the part of `bound` that is rounding; no tolerance below twice this can be met.
        steps: applications of the operator.
    """

    value: Array
    bound: Array
    residual: Array
    floor: Array
    steps: Array


def span(new: Array, old: Array) -> tuple[Array, Array, Array]:
    """Measure of change for a Bellman operator: half the span, its centre, and the scale of the values.

    A Bellman operator moves a constant `c` to `γ c`, so the fixed point lies within
    `γ/(1-γ) · half span` of `new + γ/(1-γ) · centre` (Puterman 2005, theorem 6.6.3).
    """
    change = new - old
    low, high = jnp.min(change, axis=0), jnp.max(change, axis=0)
    return (high - low) / 2, (high + low) / 2, jnp.max(jnp.abs(new), axis=0)


def total(new: Array, old: Array) -> tuple[Array, Array, Array]:
    """Measure of change for pushed probability: the sum of absolute changes, which γ contracts."""
    change = jnp.sum(jnp.abs(new - old), axis=0)
    return change, jnp.zeros_like(change), jnp.sum(jnp.abs(new), axis=0)


def largest(new: Array, old: Array) -> tuple[Array, Array, Array]:
    """Measure of change for a linear system with non-negative rows that sum to at most one: the largest."""
    change = jnp.max(jnp.abs(new - old), axis=0)
    return change, jnp.zeros_like(change), jnp.max(jnp.abs(new), axis=0)


def certify(applied, x, gamma, measure, rounding, steps) -> tuple[Settled, Array]:
    """What one application of a γ-contraction proves of its fixed point, and the centre of the change."""
    reach = gamma / (1 - gamma)
    radius, centre, scale = measure(applied, x)
    floor = rounding * (scale + jnp.abs(reach * centre)) / (1 - gamma)
    return Settled(applied + reach * centre, reach * radius + floor, radius, floor, steps), centre


def settle_in_cycles(
    apply, advance, start, gamma, measure, tol, rounding, max_steps, period: int = 8, known: Settled | None = None
) -> Settled:
    """Iterate a γ-contraction until its certified error is at most `tol`, or at its rounding floor.

    A cycle of `period` sweeps ends in a secant step along the slowest mode (reduced rank
    extrapolation with one difference, Smith, Ford & Sidi 1987).  It is taken only when the residual
    has shrunk since the last one: between two of them are plain sweeps, whose convergence is a
    theorem.  A residual that does not shrink in the time in which γ brings 1e4 to 1 is rounding.
    Columns of the batch that are done keep their answer, so it does not depend on their neighbours.

    Args:
        apply: `x -> (T x, context)`, the contraction on arrays `[S, *batch]`.
        advance: `(T x, context, n) -> y`, `n` further sweeps (static), of `T` or of a linear
            operator that agrees with `T` at `x`.
        start: `[S, *batch]`.
        gamma: modulus of contraction, `[*batch]` (1s where shared).
        measure: `span`, `largest` or `total`.
        tol: absolute error allowed, in the norm of `measure`, `[*batch]`.
        rounding: relative rounding error of one application.
        max_steps: most applications of the operator.
        period: sweeps in a cycle; even, since grids alternate between two colours.
        known: what is certified already; columns in which that is within `tol` are left alone.
    """
    longest = gamma**period / (1 - gamma**period)  # the secant step of the slowest possible mode, γ itself
    patience = 16 + np.log(1e4) / jnp.maximum(-jnp.log(gamma) * period, 1e-6)

    def body(carry):
        x, before, settled, done, shrunk_at, stale, steps = carry
        applied, context = apply(x)
        fresh, _ = certify(applied, x, gamma, measure, rounding, jnp.full_like(stale, steps + 1))
        settled = jax.tree.map(lambda old, new: jnp.where(done, old, new), settled, fresh)
        shrunk = fresh.residual < 0.9 * shrunk_at
        stale = jnp.where(shrunk, 0, stale + 1)
        # Written so that NaN counts as done: it will not get better.
        done = done | ~(fresh.bound > jnp.maximum(tol, 2 * fresh.floor)) | (stale > patience)
        more = jnp.any(~done) & (steps + period < max_steps)
        # A fixed number of sweeps: an accelerator then asks nobody after each whether to go on.
        y = jax.lax.cond(more, lambda: advance(applied, context, period - 1), lambda: applied)
        now = y - x
        if measure is span:  # what all states have in common is its centre, and no part of a slow mode
            now = now - now[:1]
        turn = now - before[0]
        size = jnp.sum(turn * turn, axis=0)
        secant = jnp.clip(jnp.sum(now * turn, axis=0) / jnp.where(size > 0, size, 1), -longest, 0.5)
        secant = jnp.where(shrunk & (steps > 0) & (size > 0), secant, 0)
        shrunk_at = jnp.where(shrunk, fresh.residual, shrunk_at)
        x = y - secant * (y - before[1])
        return x, (now, y), settled, done, shrunk_at, stale, steps + period

    def unfinished(carry):
        done, steps = carry[3], carry[6]
        return jnp.any(~done) & (steps < max_steps)

    column = jnp.zeros(start.shape[1:], start.dtype)
    count = jnp.zeros(start.shape[1:], jnp.int32)
    if known is None:
        known = Settled(start, column + jnp.inf, column, column, count)
    first = (start, (start, start), known, known.bound <= jnp.maximum(tol, 2 * known.floor), column + jnp.inf, count, 0)
    return jax.lax.while_loop(unfinished, body, first)[2]


def settle(operator, start, gamma, measure, tol, rounding, max_steps, period: int = 12, known=None) -> Settled:
    """`settle_in_cycles` for a contraction `operator` of arrays `[S, *batch]` that is as cheap as any part of it."""

    def advance(x, _, count):
        return jax.lax.fori_loop(0, count, lambda _, y: operator(y), x)

    return settle_in_cycles(
        lambda x: (operator(x), ()), advance, start, gamma, measure, tol, rounding, max_steps, period, known
    )


def worth_refining(dtype, shape: tuple[int, ...]) -> bool:
    """Whether mixed precision pays for its longer compilation: float64, and limited by memory."""
    return dtype == jnp.float64 and math.prod(shape) >= 2**16


def refine(
    apply, correct, start: Array, gamma, measure, tol: Array, rounding, rounds: int = 6
) -> tuple[Array, Settled]:
    """Iterative refinement: solve in low precision for what is missing, add it in high precision.

    Rounds go on, column by column, while the error bound is above `tol` and each divides it by four.

    Args:
        apply: `x -> (T x, context)`, the contraction on arrays `[S, *batch]`, in high precision.
        correct: `(x, T x, centre of their difference [*batch], context, tolerance [*batch]) -> (correction, steps)`,
            in low precision, beside the constant that a constant difference of `centre` adds up to.
        start: `[S, *batch]`, in high precision.
        gamma: modulus of contraction, `[*batch]`.
        measure: `span`, `largest` or `total`.
        tol: error allowed, `[*batch]`.
        rounding: relative rounding error of one application, in high precision.
        rounds: most corrections.

    Returns:
        Where to go on from, and what was certified on the way there.
    """
    # What a round is asked to leave of the error: more than where float32 stalls.
    gain = 32 * jnp.finfo(jnp.float32).eps / (1 - gamma)

    def body(carry):
        x, settled, active, steps, count = carry
        applied, context = apply(x)
        fresh, centre = certify(applied, x, gamma, measure, rounding, steps + 1)
        goal = jnp.maximum(tol, 2 * fresh.floor)
        again = active & (fresh.bound > goal) & (fresh.bound < settled.bound / 4)
        settled = jax.tree.map(lambda old, new: jnp.where(active, new, old), settled, fresh)
        # Columns at rest ask for nothing, and stop at once.
        wanted = jnp.where(again, jnp.maximum(goal / 4, gain * fresh.bound), jnp.inf)
        ask = functools.partial(correct, x, applied, centre, context, wanted)
        rest = functools.partial(jax.tree.map, jnp.zeros_like, jax.eval_shape(ask))
        correction, taken = jax.lax.cond(jnp.any(again), ask, rest)
        move = again & jnp.all(jnp.isfinite(correction), axis=0)
        x = jnp.where(move, x + (correction.astype(x.dtype) + centre / (1 - gamma)), x)
        return x, settled, move, steps + jnp.where(again, taken + 1, 0), count + 1

    column, none = jnp.zeros(start.shape[1:], start.dtype), jnp.zeros(start.shape[1:], jnp.int32)
    nothing = Settled(start, column + jnp.inf, column, column, none)
    carry = start, nothing, column == 0, none, 0
    carry = jax.lax.while_loop(lambda c: jnp.any(c[2]) & (c[4] <= rounds), body, carry)
    return carry[0], carry[1]
