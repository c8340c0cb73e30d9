"""Many rows, one block after another: how much work is in memory at once, on a processor and on an accelerator."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import sequential_vmap
from jaxtyping import Array, Float

from mdps.kernels import on_cpu

# Entries of one block of rows × columns, on a processor and on an accelerator: small enough for a cache there, large
# enough to keep all of it busy here.  A query's score holds several arrays of its size.
ENTRIES, ENTRIES_OF_QUERIES = (2**20, 2**26), (2**18, 2**26)
# Rows that pass side by side where each needs work of its own.
SIDE_BY_SIDE = 256


def in_blocks(function, rows: Array, size: int):
    """`function` over blocks of `size` rows, one after another, so that only one block's work is in memory."""
    N = rows.shape[0]
    size = max(1, min(size, N))
    if size == N:
        return function(rows)
    whole = N - N % size
    out = jax.lax.map(function, rows[:whole].reshape(-1, size, *rows.shape[1:]))
    out = jax.tree.map(lambda x: x.reshape(whole, *x.shape[2:]), out)
    if whole == N:
        return out
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), out, function(rows[whole:]))


def in_even_blocks(function: Callable, *rows: Array) -> Array:
    """`function` over blocks of rows one after another, `[N, ...] -> [N]`; the last is filled up from the first.

    All blocks are of one size, so the function is compiled once.
    """
    N = rows[0].shape[0]
    size = min(SIDE_BY_SIDE, N)
    count = -(-N // size)
    blocks = [x[np.arange(count * size) % N].reshape(count, size, *x.shape[1:]) for x in rows]
    return jax.lax.map(lambda block: function(*block), tuple(blocks)).reshape(-1)[:N]


def stream(function, weights: Float[Array, " N K"], table: Float[Array, " M K"], *more: Array) -> Float[Array, " N"]:
    """`function(rows, table, *more)` over blocks of rows of `weights`, each of which meets every row of the table.

    On a processor the problems of a `vmap` pass one after another too: side by side their blocks would leave its
    caches, and memory would grow with the batch.
    """

    def plain(weights, table, *more):
        return in_blocks(lambda rows: function(rows, table, *more), weights, rows_per_block(table.shape[0]))

    if not on_cpu():
        return plain(weights, table, *more)
    in_turn = jax.custom_jvp(sequential_vmap(plain))

    @in_turn.defjvp
    def _(primals, tangents):
        return in_turn(*primals), jax.jvp(plain, primals, tangents)[1]

    return in_turn(weights, table, *more)


def rows_per_block(columns: int, entries: tuple[int, int] | None = None, least: int = 8) -> int:
    """How many rows pass at once where each meets so many columns; `ENTRIES` are in a block unless told otherwise."""
    on_host, on_device = ENTRIES if entries is None else entries
    return max((on_host if on_cpu() else on_device) // columns, least)
