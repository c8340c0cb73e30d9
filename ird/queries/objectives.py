"""What makes a query a good one: how much its answer is expected to tell about the reward."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.scipy.special import entr
from jaxtyping import Array, Float

__all__ = ["InformationGain", "Objective", "PosteriorEntropy"]
__dir__ = __all__.copy


class Objective:
    """What queries are compared by.  Hashable, since it is static under `jit`: frozen dataclasses are.

    A new one needs `value` alone, and `maximise = False` if less is better.
    """

    maximise: ClassVar[bool] = True

    def value(self, log_choice: Float[Array, " C N"], log_weights: Float[Array, " N"]) -> Float[Array, ""]:
        """Of a query, given log P(c | w_i) of each of C answers under each sample, and log P(w_i)."""
        raise NotImplementedError

    def grown(
        self, log_choice: Float[Array, " C N"], log_odds: Float[Array, " B N"], log_weights: Float[Array, " N"]
    ) -> Float[Array, " B"]:
        """Of a query with one more option, for each of B options that might be added.

        Args:
            log_choice: log P(c | w_i) without it.
            log_odds: log odds of the new option against all others together, under each sample.
            log_weights: log P(w_i).
        """

        def one(odds):
            log_stay, log_new = jax.nn.log_sigmoid(-odds), jax.nn.log_sigmoid(odds)
            return self.value(jnp.concatenate([log_choice + log_stay[None], log_new[None]]), log_weights)

        return jax.vmap(one)(log_odds)


@dataclass(frozen=True)
class InformationGain(Objective):
    """Expected information gain: the mutual information of reward and answer (Lindley 1956), in nats.

        I(w; c) = Σ_i p_i Σ_c P(c | w_i) log (P(c | w_i) / P̄(c)),    P̄(c) = Σ_i p_i P(c | w_i)

    Between zero and both the entropy of the belief and log(number of answers).

    Example:
        >>> telling = jnp.log(jnp.asarray([[0.9, 0.1], [0.1, 0.9]]))  # answers by samples
        >>> round(float(InformationGain().value(telling, jnp.log(jnp.asarray([0.5, 0.5])))), 3)
        0.368
    """

    def value(self, log_choice: Float[Array, " C N"], log_weights: Float[Array, " N"]) -> Float[Array, ""]:
        """I(w; c), as the mean KL(P(· | w_i) ‖ P̄): its terms are not negative, so nothing cancels."""
        p, chance = jnp.exp(log_weights), jnp.exp(log_choice)
        mean = jnp.sum(chance * p[None], axis=1, keepdims=True)
        surprise = log_choice - jnp.log(jnp.where(mean > 0, mean, 1))
        told = jnp.sum(jnp.where(chance > 0, chance * surprise, 0), axis=0)
        return jnp.sum(p * told)

    def grown(
        self, log_choice: Float[Array, " C N"], log_odds: Float[Array, " B N"], log_weights: Float[Array, " N"]
    ) -> Float[Array, " B"]:
        """I(w; c) = H(P̄) - E[H(c | w)] by the chain rule: matrix products, whatever the number of options.

        With x = P(new | w) the old probabilities shrink by 1 - x, so that their means change by a
        matrix product, and H(c | w) = h(x) + (1 - x) H(old | w), h the entropy of a coin.
        """
        p, chance = jnp.exp(log_weights), jnp.exp(log_choice)
        small = jnp.exp(-jnp.abs(log_odds))  # one exponential and one logarithm for each option and sample
        less = small / (1 + small)
        coin = jnp.log(1 + small) + jnp.abs(log_odds) * less
        x = jnp.where(log_odds > 0, 1 - less, less)
        entropy = -jnp.sum(jnp.where(chance > 0, chance * log_choice, 0), axis=0)
        old = chance * p[None]
        product = jnp.concatenate([old, (p * entropy)[None], p[None]])
        moved = jnp.matmul(x, product.T, precision=jax.lax.Precision.HIGHEST)  # [B, C + 2]
        means = jnp.concatenate([jnp.sum(old, axis=1)[None] - moved[:, :-2], moved[:, -1:]], axis=1)
        unsure = coin @ p + jnp.sum(p * entropy) - moved[:, -2]
        return jnp.sum(entr(jnp.maximum(means, 0)), axis=1) - unsure


@dataclass(frozen=True)
class PosteriorEntropy(Objective):
    """Expected entropy of the belief after the answer (Mindermann et al. 2018), in nats; less is better.

        Σ_c P̄(c) H(w | c) = H(w) - I(w; c)

    The belief's own entropy depends on no query, so this ranks queries exactly as `InformationGain`
    does; it says what remains to be known.
    """

    maximise: ClassVar[bool] = False

    def value(self, log_choice: Float[Array, " C N"], log_weights: Float[Array, " N"]) -> Float[Array, ""]:
        """H(w) - I(w; c), in nats."""
        return jnp.sum(entr(jnp.exp(log_weights))) - InformationGain().value(log_choice, log_weights)

    def grown(
        self, log_choice: Float[Array, " C N"], log_odds: Float[Array, " B N"], log_weights: Float[Array, " N"]
    ) -> Float[Array, " B"]:
        """H(w) - I(w; c) with each option."""
        return jnp.sum(entr(jnp.exp(log_weights))) - InformationGain().grown(log_choice, log_odds, log_weights)
