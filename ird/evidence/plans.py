"""Feature expectations of many plans: planned for at once, equal ones merged and counted."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.evidence.boltzmann import accuracy
from mdps import MDP
from mdps.checks import check_sums, is_concrete
from mdps.optimal_features import Optimum, optimum

__all__ = ["covariance", "merge_equal", "plan_features", "plan_for"]
__dir__ = __all__.copy


@jax.jit
def plan_features(mdp: MDP, weights: Float[Array, " M K"]) -> Float[Array, " M K"]:
    """Feature expectations of the plan for each row of weights, in the MDP, `[M, K]`."""
    check_sums(mdp)
    return jax.vmap(lambda w: optimum(mdp, w).features)(weights)


@jax.jit
def plan_for(mdp: MDP, weights: Float[Array, " M K"], beta: Float[Array, ""]) -> Optimum:
    """The optimum for each row of weights, as accurate as people of this β make it matter."""
    tol = accuracy(jnp.result_type(weights, mdp.features), beta)
    return jax.vmap(lambda w: optimum(mdp, w, tol=tol))(weights)


def merge_equal(features: Float[Array, " M K"]) -> tuple[Float[Array, " U K"], Float[Array, " U"]]:
    """Merge rows that are equal within rounding; returns the first of each `[U, K]` and how many `[U]`.

    Rows are compared on a grid of 64 ulps of the largest entry.  Two equal rows that fall on either
    side of a grid line stay apart, which changes no sum.  Traced rows all stay, each counted once.
    """
    if not is_concrete(features):
        return features, jnp.ones(features.shape[0], features.dtype)
    held = np.asarray(features)
    step = 64 * float(np.finfo(held.dtype).eps) * max(float(np.abs(held).max()), float(np.finfo(np.float32).tiny))
    cells = np.rint(held.astype(np.float64) / step).astype(np.int64)
    # Rows are told apart by a random sum of their cells (modulo 2^64): a sort of numbers, not of rows.
    _, first, of, counts = np.unique(
        cells @ _multipliers(cells.shape[1]), return_index=True, return_inverse=True, return_counts=True
    )
    if (cells != cells[first[of]]).any():  # two rows of one sum: not in our lifetime, but it costs little to look
        _, first, counts = np.unique(cells, axis=0, return_index=True, return_counts=True)
    order = np.argsort(first)
    return jax.device_put((held[first[order]], counts[order].astype(held.dtype)))


@functools.cache
def _multipliers(K: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-(2**63), 2**63, K)


@jax.jit
def covariance(features: Float[Array, " M K"], counts: Float[Array, " M"]) -> Float[Array, " K K"]:
    """Covariance of rows that are counted, `[K, K]`."""
    share = (counts / jnp.sum(counts))[:, None]
    centred = features - features[:1]
    centred = centred - jnp.sum(share * centred, axis=0, keepdims=True)
    return jnp.matmul((share * centred).T, centred, precision=jax.lax.Precision.HIGHEST)
