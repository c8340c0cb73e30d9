"""A successor table as an operator: what every action expects of the next state, and sweeps of a fixed policy.

Two ways to hold a table, and neither takes longer to compile for a larger table:

- `Columns`: few slots and actions.  Each pair is an array of its own; the compiler fuses all of a sweep into one loop,
  and on a grid neighbours are slices.
- `Gathered`: many slots or actions.  A loop takes a few slots at a time, and the actions are an axis.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array

from mdps.kernels.blocks import sweeps
from mdps.kernels.layout import Layout
from mdps.kernels.neighbourhood import (
    Index,
    columns,
    dot,
    expect,
    few_at_a_time,
    gathered_sum,
    listed,
    neighbours,
    repeat,
    rows_at,
)

MOST_PAIRS = 40  # slots times actions that are arrays of their own: compiling takes time in proportion to them


def operator(layout: Layout, next_state: Array, probability: Array, *, in_place: bool) -> "Operator":
    """The operator of a table `next_state [S, D, *batch]`, `probability [S, A, D, *batch]`."""
    A, D = probability.shape[1:3]
    if layout.shifts is not None or A * D <= MOST_PAIRS:
        index = layout.shifts or columns(next_state)
        return Columns(index, [columns(x) for x in columns(probability)], layout.slots, in_place)
    return Gathered.of(next_state, probability)


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

    @property
    def num_states(self) -> int:
        """S, the number of states."""
        return jax.tree.leaves(self.probability)[0].shape[0]

    @property
    def num_actions(self) -> int:
        """A, the number of actions."""
        return len(self.probability) if isinstance(self.probability, list) else self.probability.shape[1]

    def by_action(self, numbers: Array) -> list[Array]:
        """Numbers `[S, A, *batch]` as this operator takes and gives them."""
        return columns(numbers)

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
        next_state: `[D, S, *batch]`.
        probability: `[D, S, A, *batch]`.
    """

    next_state: Array
    probability: Array

    @staticmethod
    def of(next_state: Array, probability: Array) -> "Gathered":
        """The operator of `[S, D, *batch]` and `[S, A, D, *batch]`."""
        return Gathered(jnp.moveaxis(next_state, 1, 0), jnp.moveaxis(probability, 2, 0))

    @property
    def num_states(self) -> int:
        """S, the number of states."""
        return self.probability.shape[1]

    @property
    def num_actions(self) -> int:
        """A, the number of actions."""
        return self.probability.shape[2]

    def by_action(self, numbers: Array) -> Array:
        """Numbers `[S, A, *batch]` as this operator takes and gives them."""
        return numbers

    def _expected(self, weight: Callable, values: Array) -> Array:
        """Σ_d weight(d) V(s_d), `[S, A, *batch]`."""
        return few_at_a_time(len(self.next_state), lambda d: weight(d) * rows_at(values, self.next_state[d])[:, None])

    def expect(self, values: Array) -> Array:
        """Σ_d p(d | s, a) V(s_d), `[S, A, *batch]`."""
        return self._expected(lambda d: self.probability[d], values)

    def mixed(self, share) -> Array:
        """Σ_a share(a | s) p(d | s, a), `[D, S, *batch]`."""
        return jnp.sum(share * self.probability, axis=2)

    def follow(self, weight, values: Array) -> Array:
        """Σ_d weight(d | s) V(s_d)."""
        return gathered_sum(self.next_state, weight, values)

    def sweeps(self, weight, paid: Array, values: Array, count) -> Array:
        """`V <- paid + Σ_d weight(d | s) V(s_d)`, `count` times."""
        return jax.lax.fori_loop(0, count, lambda _, x: paid + self.follow(weight, x), values)

    def backups(self, backup: Callable, values: Array, count) -> Array:
        """`V <- backup(expected V by action)`, `count` times."""
        return jax.lax.fori_loop(0, count, lambda _, x: backup(self.expect(x)), values)

    def apart(self, one, values: Array) -> Array:
        """Σ_d |p(d | s, a) - Σ_b one(b | s) p(d | s, b)| V(s_d), `[S, A, *batch]`."""
        mixed = self.mixed(one)
        return self._expected(lambda d: jnp.abs(self.probability[d] - mixed[d][:, None]), values)

    def astype(self, dtype) -> "Gathered":
        """The same table in another precision."""
        return replace(self, probability=self.probability.astype(dtype))

    def whole(self, probability: Array) -> "Gathered":
        """This operator, which is whole."""
        del probability
        return self


Operator = Columns | Gathered
