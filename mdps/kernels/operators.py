"""A successor table as an operator: what every action expects of the next state, and sweeps of a fixed policy.

Four ways to hold a table, each the fastest for its kind, and none that takes longer to compile for a larger table:

- `Columns`: few slots and actions.  Each pair is an array of its own; the compiler fuses all of a sweep into one loop,
  and on a grid neighbours are slices.
- `Gathered`: many slots or actions.  A loop takes a few slots at a time, and the actions are an axis.
- `Own`: as many, but an action leads to less than half of what a state's actions lead to.  Each has a list of its own.
- `Matrix`: where a state leads to most others.  Every sweep is a matrix product, and nothing is gathered.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mdps.kernels.blocks import sweeps
from mdps.kernels.layout import MOST_PAIRS, Layout
from mdps.kernels.neighbourhood import (
    Index,
    as_columns,
    columns,
    dot,
    expect,
    few_at_a_time,
    gathered_sum,
    iterate,
    neighbours,
    rows_at,
)
from mdps.kernels.own_successors import Own


def operator(layout: Layout, next_state: Array, probability: Array, *, in_place: bool) -> "Operator":
    """The operator of a table `next_state [S, D, *batch]`, `probability [S, A, D, *batch]`."""
    A, D = probability.shape[1:3]
    if layout.dense:
        return Matrix.of(probability)
    if layout.shifts is not None or A * D <= MOST_PAIRS:
        index = layout.shifts or columns(next_state)
        return Columns(index, [columns(x) for x in columns(probability)], layout.slots, in_place)
    by_state = lambda: Gathered.of(next_state, probability)  # noqa: E731
    mapped = next_state.size > next_state.shape[0] * D or probability.size > probability.shape[0] * A * D
    if layout.own is None or mapped:  # MDPs of a batch have their successors in different slots
        return by_state()
    first = lambda table, rank: table.reshape(table.shape[:rank])  # noqa: E731
    return Own.of(layout.own, first(next_state, 2), first(probability, 3), by_state, in_place=in_place)


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

    def expects(self, *values: Array) -> list[list[Array]]:
        """`expect` of several."""
        return [self.expect(x) for x in values]

    def mixed(self, share) -> list[Array]:
        """Σ_a share(a | s) p(d | s, a), by slot."""
        rows = [as_columns(x) for x in as_columns(self.probability)]
        taking = [
            [a for a in range(len(rows)) if self.slots is None or d in self.slots[a]] for d in range(len(rows[0]))
        ]
        none = jnp.zeros_like(rows[0][0])  # of a slot that no action takes: its states are gone
        return [
            functools.reduce(jnp.add, [share[a] * rows[a][d] for a in some]) if some else none
            for d, some in enumerate(taking)
        ]

    def following(self, share, *, one: bool) -> list[Array]:
        """What `follow` and `sweeps` take for a policy; with `one`, any one of its actions will do for all of them."""
        del one
        return self.mixed(share)

    def follow(self, weight, values: Array) -> Array:
        """Σ_d weight(d | s) V(s_d)."""
        return dot(weight, neighbours(self.index, values, in_place=self.in_place))

    def sweeps(self, weight, paid: Array, values: Array, count) -> Array:
        """`V <- paid + Σ_d weight(d | s) V(s_d)`, `count` times."""
        return sweeps(self.index, weight, paid, values, count, in_place=self.in_place)

    def backups(self, backup: Callable, values: Array, count) -> Array:
        """`V <- backup(expected V by action)`, `count` times."""
        step = lambda near: backup(expect(self.probability, near, self.slots))  # noqa: E731
        return iterate(self.index, step, values, count, in_place=self.in_place)

    def apart(self, one, values: Array) -> list[Array]:
        """Σ_d |p(d | s, a) - Σ_b one(b | s) p(d | s, b)| V(s_d), by action."""
        near, mixed = neighbours(self.index, values, in_place=self.in_place), self.mixed(one)
        return [
            dot([jnp.abs(p - m) for p, m in zip(as_columns(row), mixed)], near) for row in as_columns(self.probability)
        ]

    def astype(self, dtype) -> "Columns":
        """The same table in another precision."""
        return replace(self, probability=jax.tree.map(lambda x: x.astype(dtype), self.probability))

    def whole(self, probability: Array) -> "Columns":
        """The same operator, which reads its table where it lies: for few sweeps, to split it would take longer."""
        return replace(self, probability=probability)


# What tables have in common in which the actions are an axis.


def _as_it_is(self: "Gathered | Matrix", numbers: Array) -> Array:
    """Numbers `[S, A, *batch]` as this operator takes and gives them."""
    return numbers


def _following(self: "Gathered | Matrix", share, *, one: bool) -> Array:
    """What `follow` and `sweeps` take for a policy; with `one`, any one of its actions will do for all of them."""
    del one
    return self.mixed(share)


def _sweeps(self: "Gathered | Matrix", weight, paid: Array, values: Array, count) -> Array:
    """`V <- paid + Σ_d weight(d | s) V(s_d)`, `count` times."""
    return jax.lax.fori_loop(0, count, lambda _, x: paid + self.follow(weight, x), values)


def _backups(self: "Gathered | Matrix", backup: Callable, values: Array, count) -> Array:
    """`V <- backup(expected V by action)`, `count` times."""
    return jax.lax.fori_loop(0, count, lambda _, x: backup(self.expect(x)), values)


def _astype(self: "Gathered | Matrix", dtype):
    """The same table in another precision."""
    return replace(self, probability=self.probability.astype(dtype))


def _whole(self: "Gathered | Matrix", probability: Array):
    """This operator, which is whole."""
    del probability
    return self


@dataclass(frozen=True)
class Gathered:
    """A table of many slots or actions.

    Attributes:
        next_state: `[D, S, *batch]`.
        probability: `[D, S, A, *batch]`.
    """

    next_state: Array
    probability: Array

    by_action, following, sweeps, backups = _as_it_is, _following, _sweeps, _backups
    astype, whole = _astype, _whole

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

    def _expected(self, weight: Callable, values: Array) -> Array:
        """Σ_d weight(d) V(s_d), `[S, A, *batch]`."""
        return few_at_a_time(len(self.next_state), lambda d: weight(d) * rows_at(values, self.next_state[d])[:, None])

    def expect(self, values: Array) -> Array:
        """Σ_d p(d | s, a) V(s_d), `[S, A, *batch]`."""
        return self._expected(lambda d: self.probability[d], values)

    def expects(self, *values: Array) -> list[Array]:
        """`expect` of several, in one pass over the table."""
        wide = Gathered(self.next_state[..., None], self.probability[..., None])
        ahead = wide.expect(jnp.stack(values, axis=-1))
        return [ahead[..., i] for i in range(len(values))]

    def mixed(self, share) -> Array:
        """Σ_a share(a | s) p(d | s, a), `[D, S, *batch]`."""
        return jnp.sum(share * self.probability, axis=2)

    def follow(self, weight, values: Array) -> Array:
        """Σ_d weight(d | s) V(s_d)."""
        return gathered_sum(self.next_state, weight, values)

    def apart(self, one, values: Array) -> Array:
        """Σ_d |p(d | s, a) - Σ_b one(b | s) p(d | s, b)| V(s_d), `[S, A, *batch]`."""
        mixed = self.mixed(one)
        return self._expected(lambda d: jnp.abs(self.probability[d] - mixed[d][:, None]), values)


@dataclass(frozen=True)
class Matrix:
    """A table whose slot `d` is state `d`: the transition tensor.

    What a fixed policy does is a matrix of its own, `[S, S']`, only where there is no batch.  Columns of a batch share
    the product with the whole table, weighted by their policies.

    Attributes:
        probability: a row for each state and action, `[*own, S A, S']`.
        own: for each batch axis, whether the table has it.
        num_actions: A.
    """

    probability: Array
    own: tuple[bool, ...]
    num_actions: int

    by_action, following, sweeps, backups = _as_it_is, _following, _sweeps, _backups
    astype, whole = _astype, _whole

    @property
    def num_states(self) -> int:
        """S, the number of states."""
        return self.probability.shape[-1]

    @staticmethod
    def of(probability: Array) -> "Matrix":
        """The operator of `[S, A, S', *batch]`."""
        S, A = probability.shape[:2]
        own = tuple(size > 1 for size in probability.shape[3:])
        whole = probability.reshape(S * A, S, *(size for size in probability.shape[3:] if size > 1))
        return Matrix(jnp.moveaxis(whole, (0, 1), (-2, -1)), own, A)

    def _product(self, values: Array, *, back: bool = False) -> Array:
        """Rows times values `[S', *batch]`, `[S A, *batch]`; or, back, values `[S A, *batch]` times rows."""
        sizes = iter(self.probability.shape)
        further = (1,) * (values.ndim - 1 - len(self.own))  # axes that a caller has added
        wide = np.broadcast_shapes(values.shape[1:], (*(next(sizes) if own else 1 for own in self.own), *further))
        values = jnp.broadcast_to(values, (values.shape[0], *wide))
        batch = "abcdefghijklmnop"[: len(wide)]
        mine = "".join(letter for letter, own in zip(batch, self.own) if own)
        rows = f"{mine}yz,y{batch}->z{batch}" if back else f"{mine}yz,z{batch}->y{batch}"
        return jnp.einsum(rows, self.probability, values, precision=jax.lax.Precision.HIGHEST)

    def expect(self, values: Array) -> Array:
        """Σ_d p(d | s, a) V(s_d), `[S, A, *batch]`."""
        ahead = self._product(values)
        return ahead.reshape(-1, self.num_actions, *ahead.shape[1:])

    def expects(self, *values: Array) -> list[Array]:
        """`expect` of several, as one product."""
        ahead = self.expect(jnp.stack(values, axis=-1))
        return [ahead[..., i] for i in range(len(values))]

    def mixed(self, share) -> Array:
        """Σ_a share(a | s) p(d | s, a), `[S, S']`; with a batch the shares themselves."""
        if share.ndim > 2:
            return share
        rows = self.probability.reshape(*share.shape, -1)
        return jnp.einsum("sa,sat->st", share, rows, precision=jax.lax.Precision.HIGHEST)

    def follow(self, weight, values: Array) -> Array:
        """Σ_d weight(d | s) V(s_d)."""
        if values.ndim == 1:
            return jnp.matmul(weight, values, precision=jax.lax.Precision.HIGHEST)
        return jnp.sum(weight * self.expect(values), axis=1)

    def arrive(self, weight, values: Array) -> Array:
        """Σ_s weight(d | s) y(s), what arrives in each state, `[S, *batch]`."""
        if values.ndim == 1:
            return jnp.matmul(values, weight, precision=jax.lax.Precision.HIGHEST)
        leaving = weight * values[:, None]
        return self._product(leaving.reshape(-1, *leaving.shape[2:]), back=True)

    def apart(self, one, values: Array) -> Array:
        """Σ_d |p(d | s, a) - Σ_b one(b | s) p(d | s, b)| V(s_d), `[S, A, *batch]`, where `one` is 1 for one action."""
        A = self.num_actions
        rows = self.probability.reshape(*self.probability.shape[:-2], -1, A, self.probability.shape[-1])
        if values.ndim == 1:
            return jnp.sum(jnp.abs(rows - self.mixed(one)[:, None]) * values, axis=-1)
        chosen = jnp.argmax(one, axis=1)
        first, second = (jnp.asarray(x, jnp.int32) for x in np.triu_indices(A, 1))

        def pair(k, found):
            """What two actions differ in is the same for all columns of the batch: one product for all of them."""
            a, b = first[k], second[k]
            difference = jnp.abs(jnp.take(rows, a, axis=-2) - jnp.take(rows, b, axis=-2))
            ahead = replace(self, probability=difference, num_actions=1)._product(values)
            for here, other in ((a, b), (b, a)):
                old = jax.lax.dynamic_index_in_dim(found, here, 1, keepdims=False)
                new = jnp.where(chosen == other, ahead, old)
                found = jax.lax.dynamic_update_index_in_dim(found, new, here, 1)
            return found

        nothing = jnp.zeros(jnp.broadcast_shapes(one.shape, (1, 1, *values.shape[1:])), values.dtype)
        return jax.lax.fori_loop(0, first.size, pair, nothing)


Operator = Columns | Gathered | Matrix | Own
