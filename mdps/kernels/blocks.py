"""Many sweeps of one large problem, block by block, so that each block stays in a processor's cache."""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdps.kernels.neighbourhood import as_columns, dot, iterate
from mdps.kernels.xla import unfused

# One problem of more states than this is swept in blocks, which then stay in a processor's cache, so many times.
_BLOCK, _DEEPEST = 2**18, 11


def sweeps(index, weight, source, values: Float[Array, " S ..."], count: int, *, in_place: bool = True) -> Array:
    """`count` sweeps with a source: `x[s] <- source[s] + sum_j weight[s, j] * x[index[s, j]]`.

    Args:
        index: as in `neighbours`.
        weight: `[S, J]`, or a list of columns.
        source: `[S, *batch]`.
        values: `[S, *batch]`.
        count: how many sweeps.
        in_place: as in `iterate`; False where the states are spread over devices, and blocks would gather them.
    """
    weight = as_columns(weight)
    if in_place and isinstance(index, tuple) and values.ndim == 1 and values.size > _BLOCK:
        deepest = min(
            _DEEPEST, _BLOCK // (8 * max(1, *map(abs, index)))
        )  # what surrounds a block stays a quarter of it
        if deepest > 1 and count > 0:
            return _block_by_block(index, weight, source, values, count, math.ceil(count / math.ceil(count / deepest)))
    return iterate(index, lambda near: source + dot(weight, near), values, count, in_place=in_place)


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
        return inner(here) + dot([inner(w) for w in ways], near)

    def several(x, times):
        padded = framed(x)

        def one(k, out):
            swept = jax.lax.dynamic_slice(padded, (k * block,), (block + 2 * margin,))
            for i in range(1, times + 1):
                sweep = functools.partial(shorter, swept.size - 2 * reach)
                swept = unfused(
                    always, sweep, k * block + i * reach, swept, *tables
                )  # merged, most would run five times
            spare = (swept.size - block) // 2
            return jax.lax.dynamic_update_slice(out, jax.lax.slice_in_dim(swept, spare, spare + block), (k * block,))

        return jax.lax.fori_loop(0, number, one, jnp.zeros(number * block, x.dtype))[:S]

    values = jax.lax.fori_loop(0, count // depth, lambda _, x: several(x, depth), values)
    return several(values, count % depth) if count % depth else values
