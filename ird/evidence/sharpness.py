"""What rounding can do to the evidence of sharp people, told where it matters."""

import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.evidence.boltzmann import Gains
from mdps.checks import is_concrete

__all__ = ["in_doubt", "is_known", "warn_if_blunt", "warn_if_noisy"]
__dir__ = __all__.copy

NOISY = 0.25  # nats by which estimated features may move odds before it is told
BLUNT = 0.01  # nats by which an answer may be off before it is told
UNLIKELY = 7.0  # nats by which a candidate may fall short of the likeliest and still count: a thousandth


def in_doubt(answer: Callable[[Array], Array], gains: Gains) -> tuple[Array, Array]:
    """An answer about gains, and what it may be off by because they are: Σ |∂answer / ∂gain| doubt, to first order."""
    value, back = jax.vjp(answer, gains.value)
    (slope,) = back(jnp.ones_like(value))
    return value, jnp.sum(jnp.where(gains.value > -jnp.inf, jnp.abs(slope) * gains.doubt, 0))


def is_known(*trees) -> bool:
    """Whether nothing is being traced, so that a warning can say what is."""
    return all(is_concrete(leaf) for leaf in jax.tree.leaves(trees))


def warn_if_blunt(what: str, beta, log_likelihood: Float[Array, " N"], doubt: Float[Array, " N"]) -> None:
    """Warn that β makes so much of rounding that one of the likeliest candidates may be off by more than `BLUNT`.

    Args:
        what: whose likelihood it is.
        beta: inverse temperature.
        log_likelihood: of each candidate.
        doubt: what that may be off by.
    """
    likely = np.nan_to_num(np.asarray(log_likelihood), nan=-np.inf)
    off = np.asarray(doubt)[likely >= likely.max(initial=-np.inf) - UNLIKELY]
    if not np.max(off, initial=0.0) > BLUNT:
        return
    cure = (
        "run it in float64: jax.config.update('jax_enable_x64', True)"
        if off.dtype == np.float32
        else "float64 does not reach that far: lower β, the discount or the largest penalties"
    )
    warnings.warn(
        f"{what}: with β = {float(np.max(beta)):.3g} a log-likelihood may be off by {float(off.max()):.2g} nats, "
        f"because differences of values within their rounding count as none; {cure}.",
        RuntimeWarning,
        stacklevel=3,
    )


def warn_if_noisy(log_likelihood: Float[Array, " N"], error: Float[Array, " N"]) -> None:
    """Warn that features were estimated so roughly that a likely candidate may be off by more than `NOISY`.

    Args:
        log_likelihood: of each candidate.
        error: root mean square error of that, in nats.
    """
    likely = np.nan_to_num(np.asarray(log_likelihood), nan=-np.inf)
    off = float(np.max(np.asarray(error)[likely >= likely.max(initial=-np.inf) - UNLIKELY], initial=0.0))
    if not off > NOISY:
        return
    warnings.warn(
        f"ProxyReward.from_features: a log-likelihood may be off by {off:.2g} nats, because features were estimated; "
        f"{(off / NOISY) ** 2:.2g} times as many rollouts bring that below {NOISY}.",
        RuntimeWarning,
        stacklevel=3,
    )
