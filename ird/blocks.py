"""Many rows, one block after another: how much work is in memory at once, on a processor and on an accelerator."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap
from jaxtyping import Array, Float

from mdps.kernels import on_cpu

__all__ = ["in_blocks", "rows_per_block", "stream"]
__dir__ = __all__.copy

# Entries of one block of rows × columns, on a processor and on an accelerator: small enough for a cache there, large
# enough to keep all of it busy here.  A query's score holds several arrays of its size; plans are held whole, for all
# states and actions, and memory alone bounds them.
ENTRIES, ENTRIES_OF_QUERIES, ENTRIES_OF_PLANS = (2**20, 2**26), (2**18, 2**26), (2**24, 2**24)
# Rows that pass side by side where each needs work of its own, such as a plan; and maps, each of which holds
# many of those.
ROWS, MAPS = 256, 8


def in_blocks(function: Callable, rows: Any, size: int) -> Any:
    """`function` over blocks of at most `size` rows, one after another, so that only one block's work is in memory.

    All blocks are of one size, so that the function is compiled once: as even as can be, the last filled up with rows
    from the front, whose results are dropped.

    Args:
        function: of a block of rows, which gives arrays with a row for each.
        rows: an array `[N, ...]`, or a pytree of them.
        size: the most rows of a block.
    """
    N = jax.tree.leaves(rows)[0].shape[0]
    count = -(-N // max(size, 1))
    if count <= 1:
        return function(rows)
    each = -(-N // count)
    filled = jax.tree.map(lambda x: jnp.concatenate([x, x[: count * each - N]]), rows) if N % each else rows
    blocks = jax.tree.map(lambda x: x.reshape(count, each, *x.shape[1:]), filled)
    return jax.tree.map(lambda y: y.reshape(count * each, *y.shape[2:])[:N], jax.lax.map(function, blocks))


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
