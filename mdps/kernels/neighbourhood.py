"""What a sweep reads: the values at each state's neighbours, gathered from a table or found by shifting.

A shifted copy (`shifted`) pads and slices.  On a CPU the compiler then asks of every element whether
it lies inside, and computes what is shifted again for each shift.  Where an array is kept with its margins
and written in place (`Margins`), every neighbour is a plain slice: planning for many rewards is four times as fast.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from mdps.kernels.layout import Layout
from mdps.kernels.xla import on_cpu

# Each state's neighbours: a table, the list of its columns, or how far each column leads (`Layout.shifts`).
Index = Int[Array, " S J ..."] | list[Array] | tuple[int, ...]


@dataclass(frozen=True)
class Margins:
    """Where the margins are.

    Attributes:
        offsets: how far each slot leads, the same from every state (`Layout.shifts`).
        num_states: S.
    """

    offsets: tuple[int, ...]
    num_states: int

    @property
    def below(self) -> int:
        """Rows before the first state."""
        return max(0, -min(self.offsets), *self.offsets)

    def empty(self, like: Num[Array, " S ..."]) -> Num[Array, " R ..."]:
        """Zeros for an array `[S, *batch]` with its margins."""
        return jnp.zeros((self.num_states + 2 * self.below, *like.shape[1:]), like.dtype)

    def put(self, wide: Num[Array, " R ..."], values: Num[Array, " S ..."]) -> Num[Array, " R ..."]:
        """`wide` with other values at the states; its margins stay zero."""
        return jax.lax.dynamic_update_slice(wide, values, (self.below, *(0,) * (values.ndim - 1)))

    def at(self, wide: Num[Array, " R ..."], offset: int) -> Num[Array, " S ..."]:
        """`values[s + offset]` at each `s`, and 0 where that is no state."""
        return jax.lax.slice_in_dim(wide, self.below + offset, self.below + offset + self.num_states)

    def near(self, wide: Num[Array, " R ..."]) -> list[Array]:
        """The values at each state's neighbours, a list over slots."""
        return [self.at(wide, offset) for offset in self.offsets]


def columns(table: Array) -> list[Array]:
    """The second axis as a list of arrays `[S, ...]`; split outside a loop, each is contiguous inside it."""
    return [table[:, j] for j in range(table.shape[1])]


def as_columns(table: Array | list) -> list:
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
    `s + offset[j]` (`Layout.shifts`), as those offsets: shifted copies vectorise, which gathers do not.
    `in_place`, where a processor reads, they are slices of one copy with margins.
    """
    if isinstance(index, tuple) and in_place:
        margins = Margins(index, values.shape[0])
        return margins.near(margins.put(margins.empty(values), values))
    if isinstance(index, tuple):
        return [shifted(values, offset) for offset in index]
    return [rows_at(values, i) for i in as_columns(index)]


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
        offsets: `Layout.shifts`.
    """
    if offsets is not None:
        return [shifted(x, -offset) for x, offset in zip(slots, offsets, strict=True)]
    S, D = slots[0].shape[0], len(slots)
    arrived = neighbours(origin * D + jnp.minimum(slot, D - 1), jnp.stack(slots, 1).reshape(S * D, *slots[0].shape[1:]))
    return [jnp.where(slot[:, p] < D, x, 0) for p, x in enumerate(arrived)]


def expect(
    probability: Float[Array, " S A D ..."] | list[list[Array]],
    near: list[Array],
    slots: Sequence[Sequence[int]] | None = None,
) -> list[Array]:
    """Expected value at the next state, for each action, given the values at the neighbours: `A` arrays `[S, *batch]`.

    With `Layout.slots`, products with what no state can have are left out.
    """
    rows = [as_columns(row) for row in as_columns(probability)]
    slots = slots or [range(len(near))] * len(rows)
    return [dot([row[d] for d in some], [near[d] for d in some]) for row, some in zip(rows, slots, strict=True)]


def sweep(
    index: Index,
    weight: Float[Array, " S J ..."] | list[Array],
    values: Float[Array, " S ..."],
) -> Array:
    """One application of a fixed policy's linear operator: `sum_j weight[s, j] * values[index[s, j]]`.

    With the successor table it takes expectations; with the predecessor table it pushes probability.
    """
    return dot(weight, neighbours(index, values))


def dot(weight: Array | list[Array], near: list[Array]) -> Array:
    """`sum_j weight[j] * near[j]`, over columns."""
    return functools.reduce(jnp.add, [w * x for w, x in zip(as_columns(weight), near, strict=True)])


def gathered_sum(index: Array, weight: Array | None, values: Array, *, alone: bool = False) -> Array:
    """`sum_j weight[j] * values[index[j]]` over rows that are gathered, `[R, *batch]`.

    Args:
        index: rows of `values`, by slot, `[J, R, *batch]`.
        weight: `[J, R, *batch]`, or None for ones.
        values: `[S, *batch]`.
        alone: as in `few_at_a_time`.
    """

    def term(j):
        near = rows_at(values, index[j])
        return near if weight is None else weight[j] * near

    return few_at_a_time(index.shape[0], term, alone=alone)


_UNROLLED = 8


def few_at_a_time(count: int, term: Callable, *, alone: bool = False) -> Array:
    """`term(0) + ... + term(count - 1)`, arrays of one shape; however many, it compiles in the time of a few.

    Args:
        count: how many (static).
        term: `j -> array`; `j` may be traced.
        alone: what reads the result gathers from it, so that it must not be computed again for each reader: always a
            loop, which the compiler does not merge with others.
    """
    if count == 1 or (count <= _UNROLLED and not alone):
        return functools.reduce(jnp.add, [term(j) for j in range(count)])
    together = 8 if count >= 32 else 4 if count >= 8 else 2 if count >= 4 else 1
    odd = count % together

    def more(k, x):
        return x + functools.reduce(jnp.add, [term(odd + together * k + i) for i in range(together)])

    first = functools.reduce(jnp.add, [term(j) for j in range(odd)]) if odd else None
    nothing = jax.eval_shape(lambda: term(0))
    start = jnp.zeros(nothing.shape, nothing.dtype) if first is None else first
    return jax.lax.fori_loop(0, count // together, more, start)


def gathered(index: Array, values: Array) -> Array:
    """`values[index[j]]` for every slot, `[J, R, *batch]`, for an index `[J, R, *batch]`."""
    J, R = index.shape[:2]
    rows = rows_at(values, index.reshape(J * R, *index.shape[2:]))
    return rows.reshape(J, R, *rows.shape[1:])


def rows_at(values: Array, index: Array) -> Array:
    """`values[index]` along the first axis; one contiguous row per state where the index is not batched."""
    if index.size == index.shape[0]:
        return values.at[index.reshape(-1)].get(mode="promise_in_bounds")
    batch = np.broadcast_shapes(values.shape[1:], index.shape[1:])
    values = jnp.broadcast_to(values, (values.shape[0], *batch))
    return jnp.take_along_axis(
        values, jnp.broadcast_to(index, (index.shape[0], *batch)), axis=0, mode="promise_in_bounds"
    )


def iterate(index, combine: Callable, values: Float[Array, " S ..."], count, *, in_place: bool) -> Array:
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


class Neighbours(NamedTuple):
    """How numbers of other states are read: where they lie, between margins, or gathered.

    A processor reads neighbours where they lie; an accelerator would rather compute than copy.
    """

    margins: Margins | None
    ahead: Any  # where each slot leads: shifts, or successors [S, D]
    behind: Any  # where each edge into a state comes from: shifts, or origins [S, P]

    @staticmethod
    def of(layout: Layout, next_state: Array, origin: Array) -> "Neighbours":
        """How they are read in a table of successors `[S, D]` and of origins `[S, P]`."""
        in_place = layout.sink is None and layout.shifts is not None and on_cpu()
        return Neighbours(
            Margins(layout.shifts, next_state.shape[0]) if in_place and layout.shifts is not None else None,
            layout.shifts or next_state,
            tuple(-o for o in layout.shifts) if layout.shifts else origin,
        )

    def empty(self, x):
        """Room for `x`; without margins none is needed."""
        return None if self.margins is None else self.margins.empty(x)

    def put(self, wide, x):
        """`x` in its room."""
        return x if self.margins is None else self.margins.put(wide, x)

    def taken(self, wide):
        """What was put there."""
        return wide if self.margins is None else self.margins.at(wide, 0)

    def of_slots(self, wide):
        """A list over the slots: what lies where each leads."""
        return neighbours(self.ahead, wide) if self.margins is None else self.margins.near(wide)

    def of_edges(self, wide):
        """A list over the edges into a state: what lies where each comes from."""
        return (
            neighbours(self.behind, wide) if self.margins is None else [self.margins.at(wide, o) for o in self.behind]
        )
