"""Batches: `vmap` puts its axes last, and a large batch is worked through by tiles that fit in the caches."""

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap

VECTOR = 16  # columns that a processor may work on at once; what is left over would take its time one by one
# States times columns that a processor works on together: they then stay in its caches.  A sweep that is a matrix
# product takes care of the caches itself.
ENTRIES, ENTRIES_OF_PRODUCTS = 2**14, 2**21


def fills_the_caches(states: int) -> bool:
    """Whether one column of so many states fills a processor's caches by itself."""
    return states > ENTRIES


def columns_at_once(states: int, *, dense: bool, least: int, heavy: bool = False) -> int:
    """How many columns of a batch a processor takes at once: whole vectors of them, at least `least`.

    `heavy`: each column holds twice as much beside its values.
    """
    entries = ENTRIES_OF_PRODUCTS if dense else ENTRIES // 2 if heavy else ENTRIES
    wide = max(entries // states, least * VECTOR)
    return wide - wide % VECTOR


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


def tiled(function: Callable, arrays: Sequence, core_in: Sequence[int], core_out: Sequence[int], width: int | None):
    """Apply a batch-last function to at most `width` columns at a time (all at once, when None).

    Args:
        function: takes arrays of shape `core + batch` and returns a tuple of arrays `core + batch`.
        arrays: its arguments; their batch axes have the same rank and broadcast together.
        core_in: rank of each argument without batch axes.
        core_out: rank of each result without batch axes.
        width: columns per tile.
    """
    batch = np.broadcast_shapes(*(x.shape[n:] for x, n in zip(arrays, core_in, strict=True)))
    columns = math.prod(batch)
    if width is None or columns <= width:
        results = function(*arrays)
        return tuple(jnp.broadcast_to(y, y.shape[:n] + batch) for y, n in zip(results, core_out, strict=True))
    axis = next(i for i, size in enumerate(batch) if size > 1)
    size = int(batch[axis])
    # Tiles of equal size, as few as will do; the last one repeats columns and the surplus is cut off.
    count = math.ceil(size / max(1, width // (columns // size)))
    step = math.ceil(size / count)
    if columns == size:
        step += -step % VECTOR
    index = jnp.minimum(jnp.arange(count * step).reshape(count, step), size - 1)

    def split(x, n):
        """Tiles to the front, or None where `x` is shared by all of them."""
        return None if x.shape[n + axis] == 1 else jnp.moveaxis(jnp.take(x, index, axis=n + axis), n + axis, 0)

    tiles = [split(x, n) for x, n in zip(arrays, core_in, strict=True)]

    def one(tile):
        now = [x if t is None else t for x, t in zip(arrays, tile, strict=True)]
        return tiled(function, now, core_in, core_out, width)

    def join(y, n):
        y = jnp.moveaxis(y, 0, n + axis)
        y = y.reshape(*y.shape[: n + axis], count * step, *y.shape[n + axis + 2 :])
        return jax.lax.slice_in_dim(y, 0, size, axis=n + axis)

    return tuple(join(y, n) for y, n in zip(jax.lax.map(one, tiles), core_out, strict=True))
