"""Where a state's actions share few successors: a table in which each action lists its own.

The table of an MDP lists what all actions of a state lead to, `D` successors.  Where these are more than twice as many
as one action has, `d`, most of its numbers are zeros.  Here every action has its own list, made once for all sweeps
from the bits that say which numbers are not zero: an action then expects with `d` products, and a sweep of a policy
that takes one action in each state reads one list of `d` a state.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from mdps.kernels.neighbourhood import as_columns, columns, dot, gathered_sum
from mdps.kernels.xla import unfused


class Chosen(NamedTuple):
    """What a policy of one action in each state follows.

    Attributes:
        next_state: `[d, S]`.
        weight: `[d, S]`.
    """

    next_state: Array
    weight: Array


class Shares(NamedTuple):
    """What a policy of several actions in a state follows: all of them.

    Attributes:
        by_action: how much each counts.
    """

    by_action: list[Array]


_FEW = 8  # actions
_TOGETHER = 512  # states whose lists are made at a time


@dataclass(frozen=True)
class Own:
    """A table by state and action, without a batch.

    Numbers by action are a list of arrays `[S, *batch]` where actions are few, and else an axis, `[S, A, *batch]`.

    Attributes:
        shared: the same table by state, an operator for what goes by its slots.
        again: makes `shared` anew: in a branch that is seldom taken, where the copy of the table is then made, too.
        next_state: `[d, A, S]`.
        probability: `[d, A, S]`; padding is zero.
        in_place: whether a processor reads; it gathers for all actions at once, apart from what is made of it.
    """

    shared: Any
    again: Callable[[], Any]
    next_state: Array
    probability: Array
    in_place: bool

    @staticmethod
    def of(most: int, next_state: Array, probability: Array, by_state: Callable, *, in_place: bool) -> "Own":
        """The operator of `[S, D]` and `[S, A, D]`, where no action has more than so many successors.

        Args:
            most: `Layout.own`.
            next_state: `[S, D]`.
            probability: `[S, A, D]`.
            by_state: makes the operator that holds it by state.
            in_place: as above.
        """
        S, A, _ = probability.shape
        block = min(S, _TOGETHER) if in_place else S

        def some(k, tables):
            """The lists of one block of states, which stays in a processor's cache; the last ends with the table."""
            first = jnp.minimum(k * block, S - block)
            of = lambda table: jax.lax.dynamic_slice_in_dim(table, first, block)  # noqa: E731
            lists = _lists_of(most, of(next_state), of(probability))
            return tuple(jax.lax.dynamic_update_slice(x, y, (0, 0, first)) for x, y in zip(tables, lists, strict=True))

        empty = jnp.zeros((most, A, S), next_state.dtype), jnp.zeros((most, A, S), probability.dtype)
        own, chance = jax.lax.fori_loop(0, -(-S // block), some, empty)
        return Own(by_state(), by_state, own, chance, in_place)

    @property
    def num_states(self) -> int:
        """S, the number of states."""
        return self.probability.shape[2]

    @property
    def num_actions(self) -> int:
        """A, the number of actions."""
        return self.probability.shape[1]

    @property
    def listed(self) -> bool:
        """Whether numbers by action are a list: what compares a few is then one loop, and no reduction."""
        return self.num_actions <= _FEW

    def by_action(self, numbers: Array) -> list[Array] | Array:
        """Numbers `[S, A, *batch]` as this operator takes and gives them."""
        return columns(numbers) if self.listed else numbers

    def expect(self, values: Array) -> list[Array] | Array:
        """Σ_d p(d | s, a) V(s_d), by action."""
        d, A, S = self.probability.shape
        to, chance = (table.reshape(d, A * S) for table in (self.next_state, self.probability))
        chance = chance.reshape(d, A * S, *(1,) * (values.ndim - 1))
        if self.in_place:  # merged, the gathering would be done once more for each of what reads it
            ahead = unfused(~(values.reshape(-1)[0] > jnp.inf), gathered_sum, to, chance, values)
        else:
            ahead = gathered_sum(to, chance, values)
        ahead = ahead.reshape(A, S, *values.shape[1:])
        return list(ahead) if self.listed else jnp.moveaxis(ahead, 0, 1)

    def expects(self, *values: Array) -> list:
        """`expect` of several."""
        return [self.expect(x) for x in values]

    def mixed(self, share) -> Array:
        """Σ_a share(a | s) p(d | s, a), by slot."""
        return self.shared.mixed(_stacked(share))

    def following(self, share, *, one: bool) -> Chosen | Shares:
        """What `follow` and `sweeps` take for a policy; with `one`, any one of its actions will do for all of them."""
        share = as_columns(share)
        if not one or share[0].ndim > 1:
            return Shares(share)
        action, most = jnp.zeros(share[0].shape, jnp.int32), share[0]
        for a in range(1, len(share)):
            action, most = jnp.where(share[a] > most, a, action), jnp.maximum(most, share[a])
        picked = [jnp.take_along_axis(x, action[None, None], axis=1)[:, 0] for x in (self.next_state, self.probability)]
        return Chosen(picked[0], functools.reduce(jnp.add, share)[None] * picked[1])

    def follow(self, weight, values: Array) -> Array:
        """Σ_d weight(d | s) V(s_d)."""
        if isinstance(weight, Chosen):
            return gathered_sum(weight.next_state, weight.weight, values)
        if isinstance(weight, Shares):
            return dot(weight.by_action, as_columns(self.expect(values)))
        return self.shared.follow(weight, values)

    def sweeps(self, weight, paid: Array, values: Array, count) -> Array:
        """`V <- paid + Σ_d weight(d | s) V(s_d)`, `count` times."""
        return jax.lax.fori_loop(0, count, lambda _, x: paid + self.follow(weight, x), values)

    def backups(self, backup: Callable, values: Array, count) -> Array:
        """`V <- backup(expected V by action)`, `count` times."""
        return jax.lax.fori_loop(0, count, lambda _, x: backup(self.expect(x)), values)

    def apart(self, one, values: Array) -> list[Array] | Array:
        """Σ_d |p(d | s, a) - Σ_b one(b | s) p(d | s, b)| V(s_d), by action."""
        return self.by_action(self.again().apart(_stacked(one), values))

    def astype(self, dtype) -> "Own":
        """The same table in another precision."""
        return replace(
            self,
            shared=self.shared.astype(dtype),
            again=lambda: self.again().astype(dtype),
            probability=self.probability.astype(dtype),
        )

    def whole(self, probability: Array) -> "Own":
        """This operator, which is whole."""
        del probability
        return self


def _stacked(numbers: list[Array] | Array) -> Array:
    """Numbers by action as `[S, A, *batch]`."""
    return jnp.stack(numbers, axis=1) if isinstance(numbers, list) else numbers


def _lists_of(most: int, next_state: Array, probability: Array) -> tuple[Array, Array]:
    """Each action's successors and their probabilities, `[most, A, S]`, of `[S, D]` and `[S, A, D]`."""
    S, A, D = probability.shape
    slot, beyond = _places(probability != 0, most)
    taken, slot = slot < D, jnp.minimum(slot, D - 1)
    state, action = jnp.arange(S, dtype=jnp.int32)[:, None, None], jnp.arange(A, dtype=jnp.int32)[None, :, None]
    own = next_state.reshape(-1).at[state * D + slot].get(mode="promise_in_bounds")
    chance = probability.reshape(-1).at[(state * A + action) * D + slot].get(mode="promise_in_bounds")
    chance = jnp.where(beyond[..., None], jnp.nan, jnp.where(taken, chance, 0))  # not the table that `most` is of
    return jnp.transpose(own, (2, 1, 0)), jnp.transpose(chance, (2, 1, 0))


def _places(marked: Array, most: int) -> tuple[Array, Array]:
    """Where the first `most` marks of each row are, `[S, A, most]`, D beyond the last, and which rows have more.

    A row is read once, into words of 32 bits; the lowest bit is taken away so many times.

    Args:
        marked: `[S, A, D]`.
        most: how many are looked for.
    """
    D, words = marked.shape[2], []
    for first in range(0, D, 32):
        part = marked[:, :, first : first + 32]
        bit = (jnp.uint32(1) << jnp.arange(part.shape[2], dtype=jnp.uint32))[None, None]
        words.append(jnp.sum(jnp.where(part, bit, jnp.uint32(0)), axis=2, dtype=jnp.uint32))
    words = jnp.stack(words)
    begin = 32 * jnp.arange(len(words), dtype=jnp.int32)[:, None, None]

    def lowest(words, _):
        below = jax.lax.population_count((words & (~words + 1)) - 1).astype(jnp.int32)
        place = jnp.where(words > 0, begin + below, D)
        first = jnp.min(place, axis=0)
        return jnp.where((place == first[None]) & (place < D), words & (words - 1), words), first

    words, places = jax.lax.scan(lowest, words, None, length=most)
    return jnp.moveaxis(places, 0, 2), jnp.any(words > 0, axis=0)
