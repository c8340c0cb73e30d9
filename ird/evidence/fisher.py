"""What evidence was able to tell: its Fisher information where all choices are equally likely, and what is normal.

A belief's spread does not say what the evidence spoke about: a decided choice has no information left at the belief's
mean, and one-sided evidence leaves half of the prior's spread in a direction that it knows well.  What counts is
whether other choices would have told something else:

    I_e = β² Σ_c q_c (ψ_c - ψ̄)(ψ_c - ψ̄)ᵀ

the variance over the options (each as often as it could have been chosen) of what the log-likelihood gains along a
direction: the Fisher information at w = 0, where all choices are equally likely.  Along its null space the evidence
could say nothing, whatever was chosen.

Some evidence also shows how one behaves: a proxy's plan in its training map, a demonstration, the state that people
left behind.  That is what visits in a new map are compared with.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float

from ird.evidence.protocol import Evidence

__all__ = ["Shown", "Telling", "told"]
__dir__ = __all__.copy


class Shown(NamedTuple):
    """Behaviour that evidence showed.

    Attributes:
        normal: features of a visit there, on average, `[K]`.
        reference: the same where nothing in particular is wanted: of a proxy that another could as well have written,
            of a policy that acts at random.
    """

    normal: Float[Array, " K"]
    reference: Float[Array, " K"]


@runtime_checkable
class Telling(Protocol):
    """Evidence that says what it was able to tell."""

    def information(self, mean: Float[Array, " K"]) -> Float[Array, " K K"]:
        """Fisher information about the weights where all choices are equally likely, β² included, `[K, K]`.

        Args:
            mean: the belief's mean, for readings of people that say nothing at w = 0.
        """
        ...

    def shown(self) -> Shown | None:
        """The behaviour that it shows, if any."""
        ...


def told(evidence: Sequence[Evidence], mean: Float[Array, " K"], beta_squared: Any = None) -> dict[str, Array]:
    """What all of the evidence was able to tell: what a `Posterior` keeps of it.

    Args:
        evidence: any pieces.
        mean: the belief's mean, `[K]`.
        beta_squared: mean of β² under the belief, `[]`, where β was unknown, or a tuple of that for each piece; None,
            for all or for a piece: its own.

    Returns:
        "information" `[K, K]`; of the E pieces that show behaviour "normal" `[E, K]` and "gains" `[E, K]`, what they
        collect per visit above their reference; and the mean "reference" `[K]`.  Nothing where some evidence does not
        say what it could tell.
    """
    if not all(isinstance(e, Telling) for e in evidence):
        return {}
    K = mean.shape[0]
    total = jnp.zeros((K, K), mean.dtype)
    each = beta_squared if isinstance(beta_squared, tuple) else (beta_squared,) * len(evidence)
    for e, scale in zip(evidence, each, strict=True):
        if scale is None:
            total = total + e.information(mean)  # pyright: ignore[reportAttributeAccessIssue]
        else:
            total = total + scale * e.replace(beta=1.0).information(mean)  # pyright: ignore[reportAttributeAccessIssue]
    seen = [s for s in (e.shown() for e in evidence) if s is not None]  # pyright: ignore[reportAttributeAccessIssue]
    if not seen:
        nothing = jnp.zeros((0, K), mean.dtype)
        return {"information": total, "normal": nothing, "gains": nothing, "reference": jnp.zeros(K, mean.dtype)}
    normal, reference = (jnp.stack([getattr(s, name) for s in seen]) for name in Shown._fields)
    return {
        "information": total,
        "normal": normal,
        "gains": normal - reference,
        "reference": jnp.mean(reference, axis=0),
    }
