"""How to look for the best set of rewards to ask about: greedily, exhaustively, or not at all."""

import itertools
import math
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from ird.queries.scores import Scores
from mdps.checks import check_count

__all__ = ["Exhaustive", "Greedy", "Random", "Search"]
__dir__ = __all__.copy


class Search(Protocol):
    """How a set of rewards is looked for.  Hashable, so that it can be static under `jit`."""

    def check(self, num_rewards: int, size: int, key: Key[Array, ""] | None) -> None:
        """Refuse what this search cannot do."""
        ...

    def find(self, scores: Scores, size: int, key: Key[Array, ""] | None) -> Int[Array, " q"]:
        """A set of `size` of the rewards, as indices."""
        ...


@dataclass(frozen=True)
class Greedy:
    """Begin with the best pair, then add whichever reward helps most, one at a time.

    Mindermann et al. (2018) begin with one reward drawn at random instead, `Greedy(starts=1)`.  The
    best of all pairs involves no chance, and costs M/2 times as much as adding one reward.

    Attributes:
        starts: how many rewards, drawn at random, a pair may begin with; None: all.
    """

    starts: int | None = None

    def __post_init__(self):
        if self.starts is not None:
            check_count("starts", self.starts)

    def check(self, num_rewards: int, size: int, key: Key[Array, ""] | None) -> None:
        """Refuse a wrong number of starts, or random ones without a key."""
        if self.starts is None:
            return
        if self.starts > num_rewards:
            raise ValueError(f"starts is {self.starts}; it must be in 1..{num_rewards}, the rewards in the pool.")
        if key is None:
            raise ValueError("Greedy(starts=...) begins at random: give choose a key, or use Greedy().")

    def find(self, scores: Scores, size: int, key: Key[Array, ""] | None) -> Int[Array, " q"]:
        """Grow one set."""
        M = scores.logits.shape[0]
        if self.starts is None:
            values = scores.of_pairs()
            d, first = jnp.divmod(jnp.argmax(values), M)
            second = (first + d + 1) % M
        else:
            starts = _draw(M, self.starts, key)
            values = jax.lax.map(lambda m: scores.of_sets_with(m[None]), starts)
            first, second = jnp.divmod(jnp.argmax(values), M)
            first = starts[first]
        place = jnp.arange(size)
        begun = jnp.where(place == 0, first, jnp.where(place == 1, second, -1))

        def grow(count, rows):
            return jnp.where(place == count, jnp.argmax(scores.of_sets_with(rows)), rows)

        return jax.lax.fori_loop(2, size, grow, begun) if size > 2 else begun


@dataclass(frozen=True)
class Exhaustive:
    """Score every set: the best query there is, for small pools.

    Attributes:
        most: refuse to score more sets than this.
    """

    most: int = 100_000

    def __post_init__(self):
        check_count("most", self.most)

    def check(self, num_rewards: int, size: int, key: Key[Array, ""] | None) -> None:
        """Refuse too many sets."""
        count = math.comb(num_rewards, size)
        if count > self.most:
            raise ValueError(
                f"there are {count:,} sets of {size} of {num_rewards} rewards, more than most={self.most:,}; use "
                "Greedy(), a smaller pool, or Exhaustive(most=...) if you can wait."
            )

    def find(self, scores: Scores, size: int, key: Key[Array, ""] | None) -> Int[Array, " q"]:
        """The best of all sets."""
        every = itertools.combinations(range(scores.logits.shape[0]), size)
        sets = jnp.asarray(np.fromiter(every, np.dtype((np.int32, size))))
        return sets[jnp.argmax(scores.of_sets(sets))]


@dataclass(frozen=True)
class Random:
    """Any set, each as likely as the other: what an active choice has to beat."""

    def check(self, num_rewards: int, size: int, key: Key[Array, ""] | None) -> None:
        """Refuse to draw without a key."""
        if key is None:
            raise ValueError("a random query needs a key: choose(..., search=Random(), key=jax.random.key(0)).")

    def find(self, scores: Scores, size: int, key: Key[Array, ""] | None) -> Int[Array, " q"]:
        """Draw a set."""
        return _draw(scores.logits.shape[0], size, key)


def _draw(num_rewards: int, count: int, key) -> Array:
    return jax.random.choice(key, num_rewards, (count,), replace=False)
