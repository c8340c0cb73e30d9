"""A successor table as an operator: what every action expects of the next state, and sweeps of a fixed policy.

Where a table has few slots and actions, each pair is an array of its own (`Columns`): the compiler then fuses all of
a sweep into one loop, and on a grid neighbours are slices.  Elsewhere one gather brings all neighbours and the actions
are an axis (`Gathered`), so that compiling costs the same however many there are.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array

from mdps.kernels.blocks import sweeps
from mdps.kernels.layout import Layout
from mdps.kernels.neighbourhood import Index, columns, dot, expect, listed, neighbours, repeat

MOST_PAIRS = 40  # slots times actions that are arrays of their own: compiling takes time in proportion to them


def operator(layout: Layout, next_state: Array, probability: Array, *, in_place: bool) -> "Columns | Gathered":
    """The operator of a table `next_state [S, D, *batch]`, `probability [S, A, D, *batch]`."""
    A, D = probability.shape[1:3]
    if layout.shifts is not None or A * D <= MOST_PAIRS:
        index = layout.shifts or columns(next_state)
        return Columns(index, [columns(x) for x in columns(probability)], layout.slots, in_place)
    return Gathered(next_state, probability)


@dataclass(frozen=True)
class Columns:
    """A table of few slots and actions.

    Attributes:
        index: where each slot leads.
        probability: by action, then by slot; or the table `[S, A, D, *batch]`, read where it lies.
        slots: `Layout.slots`.
        in_place: whether a processor reads shifted neighbours from one copy with margins.
    """

    index: Index
    probability: list[list[Array]] | Array
    slots: tuple[tuple[int, ...], ...] | None
    in_place: bool

    def expect(self, values: Array) -> list[Array]:
        """Σ_d p(d | s, a) V(s_d), by action."""
        return expect(self.probability, neighbours(self.index, values, in_place=self.in_place), self.slots)

    def mixed(self, share) -> list[Array]:
        """Σ_a share(a | s) p(d | s, a), by slot."""
        rows = [listed(x) for x in listed(self.probability)]
        taking = [
            [a for a in range(len(rows)) if self.slots is None or d in self.slots[a]] for d in range(len(rows[0]))
        ]
        none = jnp.zeros_like(rows[0][0])  # of a slot that no action takes: its states are gone
        return [
            functools.reduce(jnp.add, [share[a] * rows[a][d] for a in some]) if some else none
            for d, some in enumerate(taking)
        ]

    def follow(self, weight, values: Array) -> Array:
        """Σ_d weight(d | s) V(s_d)."""
        return dot(weight, neighbours(self.index, values, in_place=self.in_place))

    def sweeps(self, weight, paid: Array, values: Array, count) -> Array:
        """`V <- paid + Σ_d weight(d | s) V(s_d)`, `count` times."""
        return sweeps(self.index, weight, paid, values, count, in_place=self.in_place)

    def backups(self, backup: Callable, values: Array, count) -> Array:
        """`V <- backup(expected V by action)`, `count` times."""
        step = lambda near: backup(expect(self.probability, near, self.slots))  # noqa: E731
        return repeat(self.index, step, values, count, in_place=self.in_place)

    def apart(self, one, values: Array) -> list[Array]:
        """Σ_d |p(d | s, a) - Σ_b one(b | s) p(d | s, b)| V(s_d), by action."""
        near, mixed = neighbours(self.index, values, in_place=self.in_place), self.mixed(one)
        return [dot([jnp.abs(p - m) for p, m in zip(listed(row), mixed)], near) for row in listed(self.probability)]

    def astype(self, dtype) -> "Columns":
        """The same table in another precision."""
        return replace(self, probability=jax.tree.map(lambda x: x.astype(dtype), self.probability))

    def whole(self, probability: Array) -> "Columns":
        """The same operator, which reads its table where it lies: for few sweeps, to split it would take longer."""
        return replace(self, probability=probability)


@dataclass(frozen=True)
class Gathered:
    """A table of many slots or actions.

    Attributes:
        next_state: `[S, D, *batch]`.
        probability: `[S, A, D, *batch]`.
    """

    next_state: Array
    probability: Array

    def _near(self, values: Array) -> Array:
        index = self.next_state
        if index.size == index.shape[0] * index.shape[1]:
            return values.at[index.reshape(index.shape[:2])].get(mode="promise_in_bounds")
        batch = jnp.broadcast_shapes(values.shape[1:], index.shape[2:])
        values = jnp.broadcast_to(values, (values.shape[0], *batch))[:, None]
        index = jnp.broadcast_to(index, (*index.shape[:2], *batch))
        return jnp.take_along_axis(values, index, axis=0, mode="promise_in_bounds")

    def _by_action(self, probability: Array, near: Array) -> Array:
        return jnp.sum(probability * near[:, None], axis=2)

    def expect(self, values: Array) -> Array:
        """Σ_d p(d | s, a) V(s_d), `[S, A, *batch]`."""
        return self._by_action(self.probability, self._near(values))

    def mixed(self, share) -> Array:
        """Σ_a share(a | s) p(d | s, a), `[S, D, *batch]`."""
        return jnp.sum(share[:, :, None] * self.probability, axis=1)

    def follow(self, weight, values: Array) -> Array:
        """Σ_d weight(d | s) V(s_d)."""
        return jnp.sum(weight * self._near(values), axis=1)

    def sweeps(self, weight, paid: Array, values: Array, count) -> Array:
        """`V <- paid + Σ_d weight(d | s) V(s_d)`, `count` times."""
        return jax.lax.fori_loop(0, count, lambda _, x: paid + self.follow(weight, x), values)

    def backups(self, backup: Callable, values: Array, count) -> Array:
        """`V <- backup(expected V by action)`, `count` times."""
        return jax.lax.fori_loop(0, count, lambda _, x: backup(self.expect(x)), values)

    def apart(self, one, values: Array) -> Array:
        """Σ_d |p(d | s, a) - Σ_b one(b | s) p(d | s, b)| V(s_d), `[S, A, *batch]`."""
        return self._by_action(jnp.abs(self.probability - self.mixed(one)[:, None]), self._near(values))

    def astype(self, dtype) -> "Gathered":
        """The same table in another precision."""
        return replace(self, probability=self.probability.astype(dtype))

    def whole(self, probability: Array) -> "Gathered":
        """This operator, which is whole."""
        del probability
        return self
