"""How good sets of options are as queries: the objective over many sets at once, block by block."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ird.blocks import ENTRIES_OF_QUERIES, in_blocks, rows_per_block
from ird.queries.objectives import Objective
from mdps.pytrees import frozen_pytree

__all__ = ["Scores"]
__dir__ = __all__.copy


@frozen_pytree
@dataclass(frozen=True)
class Scores:
    """The objective of any set of M options; larger is better.

    Sets are rows of indices into the options; -1 is an empty place.

    Attributes:
        logits: β w_i·φ_m of each option and sample, `[M, N]`.
        log_weights: log probability of each sample, `[N]`.
        objective: what makes a query good (static).
    """

    logits: Float[Array, " M N"]
    log_weights: Float[Array, " N"]
    objective: Objective = field(metadata={"static": True})

    def of_sets(self, sets: Int[Array, " B q"]) -> Float[Array, " B"]:
        """Of each set, `[B]`."""

        def one(rows):
            return self.objective.value(jax.nn.log_softmax(self._shown(rows), axis=0), self.log_weights)

        return self._sign * in_blocks(jax.vmap(one), sets, self._block(sets.shape[1]))

    def of_pairs(self) -> Float[Array, " D M"]:
        """Of the pair (m, m + d + 1 modulo M), at `[d, m]`: every pair at least once."""
        M, nothing_else = self.logits.shape[0], jnp.zeros_like(self.logits[:1])

        def of(d):
            return self._grown(nothing_else, jnp.roll(self.logits, -d - 1, axis=0) - self.logits)

        return jax.lax.map(of, jnp.arange(M // 2))

    def of_sets_with(self, rows: Int[Array, " q"]) -> Float[Array, " M"]:
        """Of the set with each option added to it, `[M]`; an option that is in it already adds nothing good."""
        shown = self._shown(rows)
        all_together = jax.scipy.special.logsumexp(shown, axis=0)[None]
        values = self._grown(shown - all_together, self.logits - all_together)
        there = jnp.any(jnp.arange(self.logits.shape[0])[:, None] == rows[None], axis=1)
        return jnp.where(there, -jnp.inf, values)

    def _grown(self, log_choice, log_odds) -> Array:
        def block(odds):
            return self.objective.grown(log_choice, odds, self.log_weights)

        return self._sign * in_blocks(block, log_odds, self._block(1))

    def _shown(self, rows) -> Array:
        return jnp.where((rows >= 0)[:, None], self.logits[rows], -jnp.inf)

    def _block(self, options: int) -> int:
        return rows_per_block(options * self.logits.shape[1], ENTRIES_OF_QUERIES, least=1)

    @property
    def _sign(self) -> int:
        return 1 if self.objective.maximise else -1
