"""Arrays over the states of a grid that carry the margins which shifting would add.

A shifted copy (`kernels.shifted`) pads and slices.  On a CPU the compiler then asks of every element whether
it lies inside, and computes what is shifted again for each shift.  Where an array is kept with its margins
and written in place, every neighbour is a plain slice: planning for many rewards is four times as fast.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Num


@dataclass(frozen=True)
class Margins:
    """Where the margins are.

    Attributes:
        offsets: how far each slot leads, the same from every state (`MDP.offsets`).
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
