"""Bayes' rule on samples: log weights that sum to one, moments, systematic resampling."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ird.priors import PRIOR_DRAWS


def normalise(log_weights: Float[Array, " N"]) -> Float[Array, " N"]:
    """Log weights that sum to one."""
    # Measured from the largest: a sum of a thousand nats would round by a thousand ulps.
    largest = jax.lax.stop_gradient(jnp.max(log_weights))
    moved = log_weights - jnp.where(jnp.isfinite(largest), largest, 0)
    return moved - jax.scipy.special.logsumexp(moved)


def moments(weights: Float[Array, " N K"], log_weights: Float[Array, " N"]) -> tuple[Array, Array]:
    """Weighted mean and variance, `[K]` each."""
    p = jnp.exp(log_weights)
    mean = jnp.matmul(p, weights, precision=jax.lax.Precision.HIGHEST)
    return mean, jnp.matmul(p, (weights - mean[None]) ** 2, precision=jax.lax.Precision.HIGHEST)


def systematic(log_weights: Float[Array, " N"], num_samples: int, offset: Float[Array, ""]) -> Array:
    """Rows by systematic resampling: the points (i + offset) / n of the cumulative probability."""
    total = jnp.cumsum(jnp.exp(log_weights))
    points = (jnp.arange(num_samples) + offset) / num_samples * total[-1]
    return jnp.minimum(jnp.searchsorted(total, points, side="right"), log_weights.shape[0] - 1)


@jax.jit
def weigh(
    weights: Float[Array, " N K"],
    parameters: dict[str, Array],
    log_likelihood: Float[Array, " N"],
    log_prior: Float[Array, " N"],
) -> dict[str, Any]:
    """Bayes' rule on samples, and what is to be known of prior and posterior: most fields of a `Posterior`."""
    log_prior = normalise(log_prior)
    log_weights = normalise(log_prior + log_likelihood)
    mean, variance = moments(weights, log_prior)
    kept = systematic(log_prior, min(weights.shape[0], PRIOR_DRAWS), jnp.asarray(0.5, log_prior.dtype))
    return {
        "weights": weights,
        "parameters": parameters,
        "log_weights": log_weights,
        "effective_sample_size": 1 / jnp.sum(jnp.exp(2 * log_weights)),
        "pareto_k": jnp.full((), jnp.nan, log_weights.dtype),
        "prior_mean": mean,
        "prior_sd": jnp.sqrt(variance),
        "prior_sample": weights[kept],
        "prior_parameters": {name: x[kept] for name, x in parameters.items()},
    }
