"""Priors over reward weights: numpyro distributions over `[K]`."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
from numpyro.distributions import (
    Distribution,
    LowRankMultivariateNormal,
    MultivariateNormal,
    MultivariateStudentT,
)

from mdps.checks import shown

__all__ = ["check_prior", "covariance_of_prior", "draw_from"]
__dir__ = __all__.copy

# How many prior draws are kept to draw the prior beside the posterior.
PRIOR_DRAWS = 2048


def check_prior(prior: Any, num_features: int | None) -> Distribution:
    """A numpyro distribution over weights `[K]`; one batch axis of independent weights becomes the event.

    Raises:
        ValueError: if it is no distribution over vectors of that many weights.
    """
    if not isinstance(prior, Distribution):
        raise ValueError(
            f"prior is {shown(prior)}; give a numpyro distribution over [K], such as "
            "dist.Normal(0.0, 1.0).expand([K]).to_event(1)."
        )
    if len(prior.batch_shape) == 1 and prior.event_shape == ():
        prior = prior.to_event(1)
    if prior.batch_shape != () or len(prior.event_shape) != 1:
        raise ValueError(
            f"prior has batch shape {prior.batch_shape} and event shape {prior.event_shape}; it must be one "
            "distribution over vectors of K weights: .expand([K]).to_event(1) makes one from a scalar distribution."
        )
    if num_features is not None and prior.event_shape != (num_features,):
        raise ValueError(
            f"prior is over {prior.event_shape[0]} weights, but the evidence has {num_features} features; "
            "give one weight per feature."
        )
    return prior


def draw_from(prior: Distribution, num_samples: int, key: Key[Array, ""]) -> Float[Array, " N K"]:
    """Draws from a prior that `check_prior` has passed, `[N, K]`."""
    with jax.numpy_rank_promotion("allow"):  # numpyro relies on it
        return jnp.asarray(prior.sample(key, (num_samples,)))


def covariance_of_prior(prior: Any) -> Float[Array, " K K"] | None:
    """The covariance of a prior whose weights go together, `[K, K]`; None of any other, or where it has none.

    A Student's distribution of two degrees of freedom or fewer has none: its scale stands in for it.
    """
    if isinstance(prior, MultivariateStudentT):
        df, root = jnp.asarray(prior.df), jnp.asarray(prior.scale_tril)
        spread = jnp.where(df > 2, df / jnp.where(df > 2, df - 2, 1), 1)
        return spread * jnp.matmul(root, jnp.swapaxes(root, -1, -2), precision=jax.lax.Precision.HIGHEST)
    if isinstance(prior, LowRankMultivariateNormal | MultivariateNormal):
        return jnp.asarray(prior.covariance_matrix)
    return None
