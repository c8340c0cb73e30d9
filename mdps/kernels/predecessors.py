"""The transpose of a successor table: what arrives in a state from its predecessors, gathered, not scattered.

A state with more predecessors than a row of the table holds has further rows behind those of the states.  What is
in them is added to the first by sums over sorted segments, `MDP.predecessor_sums`, so that where all states lead to
one, memory and arithmetic stay in proportion to the edges, and the time to compile does not grow at all.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array

from mdps.kernels.layout import MOST_ROWS, Layout
from mdps.kernels.neighbourhood import dot, gathered, gathered_sum, neighbours, shifted
from mdps.kernels.operators import Matrix, Operator


@dataclass(frozen=True)
class Arrivals:
    """The predecessor table of an MDP, batch axes last.

    What edges carry is given by successor slot, as the operator's `mixed` gives it.

    Attributes:
        layout: `MDP.layout`.
        table: the operator of the same MDP.
        origin: `MDP.predecessor_state`, `[R, P, *batch]`.
        slot: `MDP.predecessor_slot`, `[R, P, *batch]`.
        sums: `MDP.predecessor_sums`.
    """

    layout: Layout
    table: Operator
    origin: Array
    slot: Array
    sums: tuple[Array, ...]

    @property
    def terms(self) -> int:
        """Most numbers that are added up one after the other, for the rounding."""
        if isinstance(self.table, Matrix):
            return self.table.num_states
        return self.origin.shape[1] + sum(min(MOST_ROWS, to.shape[0]) for to in self.sums)

    def astype(self, dtype) -> "Arrivals":
        """The same table in another precision."""
        return replace(self, table=self.table.astype(dtype))

    def weights(self, by_slot):
        """What edges carry, listed by where they arrive, and what the last slot carries to the sink."""
        if isinstance(self.table, Matrix):
            return by_slot, None
        departing = None if self.layout.sink is None else by_slot[-1]
        if self.layout.shifts is not None:
            return [shifted(x, -shift) for x, shift in zip(by_slot, self.layout.shifts, strict=True)], departing
        return gathered(self._edges(by_slot), self._flat(by_slot)), departing

    def follow(self, weights, values: Array) -> Array:
        """What arrives in each state, `[S, *batch]`, when `values` leave and `weights` are theirs."""
        incoming, departing = weights
        if isinstance(self.table, Matrix):
            return self.table.arrive(incoming, values)
        if self.layout.shifts is not None:
            moved = dot(incoming, neighbours(tuple(-shift for shift in self.layout.shifts), values))
        else:
            moved = self._summed(jnp.moveaxis(self.origin, 1, 0), incoming, values)
        return moved if departing is None else self.absorbed(moved, departing * values)

    def flow(self, by_slot, values: Array) -> Array:
        """`follow(weights(by_slot), values)` for weights that are used once: one gather, of what edges carry."""
        if self.layout.shifts is not None or isinstance(self.table, Matrix):
            return self.follow(self.weights(by_slot), values)
        carried = [x * values for x in by_slot] if isinstance(by_slot, list) else by_slot * values
        moved = self._summed(self._edges(carried), None, self._flat(carried))
        return self.absorbed(moved, carried[-1])

    def _flat(self, by_slot) -> Array:
        """What edges carry as one list, `[D S + 1, *batch]`, whose last entry is nothing."""
        table = jnp.stack(by_slot) if isinstance(by_slot, list) else by_slot
        flat = table.reshape(-1, *table.shape[2:])
        return jnp.concatenate([flat, jnp.zeros_like(flat[:1])])

    def _edges(self, by_slot) -> Array:
        """Where in `_flat` the predecessor table's edges are, `[P, R, *batch]`; padding is its last entry."""
        D, S = len(by_slot), by_slot[0].shape[0]
        return jnp.moveaxis(jnp.where(self.slot < D, self.slot * S + self.origin, D * S), 1, 0)

    def _summed(self, index: Array, weights: Array | None, values: Array) -> Array:
        rows = gathered_sum(index, weights, values, alone=bool(self.sums))
        return summed(rows, self.sums, self.table.num_states)

    def absorbed(self, moved: Array, leaving: Array) -> Array:
        """`moved` and what every state sends to the sink, an edge that the predecessor table leaves out."""
        return into_sink(self.layout, moved, leaving)


def into_sink(layout: Layout, moved: Array, leaving: Array) -> Array:
    """`moved` and what every state sends to the sink, if there is one: an edge that no predecessor table holds."""
    if layout.sink is None:
        return moved
    here = (jnp.arange(moved.shape[0]) == layout.sink).reshape(-1, *(1,) * (moved.ndim - 1))
    return moved + here * jnp.sum(leaving, axis=0, keepdims=True)


def summed(rows: Array, sums: tuple[Array, ...], num_states: int) -> Array:
    """Each state's rows added up, `[S, *batch]`, from what is in all rows, `[R, *batch]`."""
    further = rows[num_states:]
    for to, after in zip(sums, [*(next_to.shape[0] for next_to in sums[1:]), num_states]):
        further = _sum_by_segment(further, to, after)
    return rows[:num_states] + further if sums else rows


def _sum_by_segment(rows: Array, to: Array, count: int) -> Array:
    """The sum of the `rows [N, *batch]` that belong `to [N, *batch]` each of `count` segments."""
    if to.size == to.shape[0]:
        return jax.ops.segment_sum(rows, to.reshape(-1), count, indices_are_sorted=True, mode="promise_in_bounds")
    wide = jnp.broadcast_to(to, rows.shape).reshape(rows.shape[0], -1)
    flat = wide * wide.shape[1] + jnp.arange(wide.shape[1])
    total = jax.ops.segment_sum(rows.reshape(-1), flat.reshape(-1), count * wide.shape[1], mode="promise_in_bounds")
    return total.reshape(count, *rows.shape[1:])
