"""Feature expectations that a simulator estimated: where they came from, and what their errors do to a likelihood."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.blocks import stream
from ird.evidence.normalizers import SumOverProxies
from ird.evidence.plans import covariance, merge_equal
from mdps.checks import check_array, check_names, check_number, check_real, is_concrete
from mdps.pytrees import frozen_pytree

__all__ = ["NoTable", "SumOverRollouts", "check_errors", "check_place", "covariance_of", "sum_over", "told_apart"]
__dir__ = __all__.copy

_SURE = 3.0  # deviations by which a variance must exceed what noise alone makes of it


@frozen_pytree
@dataclass(frozen=True)
class NoTable:
    """A place that is known only by what was rolled out there: it stands where evidence otherwise keeps its MDP.

    Attributes:
        total_visits: how many (discounted) visits a run there has: T steps, (1 - γ^T)/(1 - γ), or 1 for one answer.
        feature_names: one name per feature (static).

    Example:
        >>> place = NoTable(1.0, ("correct", "long"))
        >>> place.num_features
        2
    """

    total_visits: float | Float[Array, ""]
    feature_names: tuple[str, ...] = field(default=(), metadata={"static": True})

    @property
    def num_features(self) -> int:
        """K, the number of features."""
        return len(self.feature_names)

    def __getattr__(self, name: str):
        raise AttributeError(
            f"there is no {name} without a table: this is where ProxyReward.from_features was made, of which only "
            "total_visits and feature_names are known."
        )


@frozen_pytree
@dataclass(frozen=True)
class SumOverRollouts(SumOverProxies):
    """Z̃(w) = Σ_j n_j exp(β w·φ_j) with φ_j estimated from rollouts, and how well.

    Attributes:
        features: estimated feature expectations of the plan for each proxy, `[M, K]`.
        counts: how many proxies share that plan (and its estimate), n_j, `[M]`.
        errors: variance of each estimate, `[M, K]`, or its covariance, `[M, K, K]`; estimates of different rows are
            independent.
    """

    errors: Float[Array, " M K"] | Float[Array, " M K K"]

    def log_likelihood_error(
        self, weights: Float[Array, " N K"], beta: Float[Array, ""], own: Float[Array, " K"]
    ) -> Float[Array, " N"]:
        """What β w·φ̃ - log Z̃(w) is off by (root mean square, nats), `[N]`; `own`: the proxy's row of `features`."""
        return _error_of(self.features, self.counts, self.errors, weights, beta, own)


@jax.jit
def _error_of(features, counts, errors, weights, beta, own) -> Array:
    r"""The root mean square error of a log-likelihood, to second order.

    With x_j = β w·e_j the error of each logit, q_j the share of a row, and r the proxy's own row:

        error = x_r - Σ_j q_j x_j - ½ (Σ_j q_j x_j² - (Σ_j q_j x_j)²) + ...

    whose variance is (1 - 2 q_r) v_r + Σ_j q_j² v_j, and whose mean is -½ Σ_j q_j (1 - q_j) v_j, v_j = β² wᵀ Σ_j w.
    """
    row = jnp.argmin(jnp.sum(jnp.abs(features - own[None]), axis=1))

    def block(rows, features, errors, log_counts, beta, own, row):
        logits = beta * jnp.matmul(rows, (features - own[None]).T) + log_counts[None]
        q = jax.nn.softmax(logits, axis=1)
        v = beta**2 * _variance_along(rows, errors)
        spread = jnp.sum(q**2 * v, axis=1) + (1 - 2 * q[:, row]) * v[:, row]
        mean = jnp.sum(q * (1 - q) * v, axis=1) / 2
        return jnp.sqrt(jnp.maximum(spread, 0) + mean**2)

    with jax.default_matmul_precision("highest"):
        return stream(block, weights, features, errors, jnp.log(counts), beta, own, row)


def _variance_along(weights: Array, errors: Array) -> Array:
    """Variance of w·e_j of each row of weights and each row's error e_j, `[N, M]`."""
    if errors.ndim == 2:
        return jnp.matmul(weights**2, errors.T)
    pairs = (weights[:, :, None] * weights[:, None, :]).reshape(weights.shape[0], -1)
    return jnp.maximum(jnp.matmul(pairs, errors.reshape(errors.shape[0], -1).T), 0)


@jax.jit
def told_apart(features: Float[Array, " M K"], counts: Float[Array, " M"], errors: Array) -> Float[Array, " K K"]:
    r"""Covariance of the features of some plans that were estimated, less what the errors can have made of it.

    Errors alone would make every direction vary, and so let the evidence seem to speak of all of them.  The covariance
    of M errors in K dimensions exceeds its expectation N by a factor of (1 + (√K + t)/√M)² with a probability below
    exp(-t²/2) (Davidson and Szarek 2001); with t = 3 that multiple of N is taken off, and what is negative then is 0.
    Of rows of unequal errors M is the number of equal ones that would scatter as much.

    Args:
        features: estimates, `[M, K]`.
        counts: how often each row counts, `[M]`.
        errors: their variances, `[M, K]`, or covariances, `[M, K, K]`.

    Returns:
        `[K, K]`, with no negative eigenvalue but for rounding.

    Example:
        >>> import jax.numpy as jnp
        >>> features = jnp.array([[0.0, 0.01], [4.0, 0.0], [0.0, 0.0], [4.0, 0.01]])
        >>> found = told_apart(features, jnp.ones(4), jnp.full((4, 2), 0.01))
        >>> bool(found[0, 0] > 3), float(found[1, 1])  # the second differs by less than its error
        (True, 0.0)
    """
    K, dtype = features.shape[1], features.dtype
    share = counts / jnp.sum(counts)
    noise = jnp.tensordot(share, errors, axes=1)
    noise = jnp.diag(noise) if errors.ndim == 2 else noise
    each = errors if errors.ndim == 2 else jnp.diagonal(errors, axis1=1, axis2=2)
    mean = jnp.diag(noise)
    size = share * jnp.sum(each / jnp.where(mean > 0, mean, 1)[None], axis=1)  # in no unit
    some = jnp.sum(size**2)
    rows = jnp.where(some > 0, jnp.sum(size) ** 2 / jnp.where(some > 0, some, 1), 1)

    def edge(dimensions):
        return (1 + (dimensions**0.5 + _SURE) / jnp.sqrt(rows)) ** 2

    found = covariance(features, counts)
    seen = jnp.diag(found) > edge(1) * mean
    left = jnp.where(seen[:, None] & seen[None], found - edge(K) * noise, 0)
    sd = jnp.where(seen, jnp.sqrt(jnp.where(seen, jnp.diag(found), 1)), 1)
    values, vectors = jnp.linalg.eigh(left / (sd[:, None] * sd[None]))
    # What is left of a zero after a decomposition is rounding of the largest.
    values = jnp.where(values > 8 * K * jnp.finfo(dtype).eps * jnp.max(values), values, 0)
    root = vectors * jnp.sqrt(values)[None] * sd[:, None]
    return jnp.matmul(root, root.T, precision=jax.lax.Precision.HIGHEST)


def sum_over(features: Float[Array, " M K"], errors: Array | None) -> SumOverProxies:
    """The normalizer of alternatives that have been planned for; with the errors of their features, if they have any.

    One plan that was rolled out once has one error, however many alternatives share it.
    """
    if errors is None:
        return SumOverProxies(*merge_equal(features))
    K, flat = features.shape[1], errors.reshape(errors.shape[0], -1)
    rows, counts = merge_equal(jnp.concatenate([features, flat], axis=1))
    return SumOverRollouts(rows[:, :K], counts, rows[:, K:].reshape(-1, *errors.shape[1:]))


def covariance_of(proxies: SumOverProxies) -> Float[Array, " K K"]:
    """Covariance of the features of the plans, `[K, K]`; of estimates, less what their errors make of it."""
    if isinstance(proxies, SumOverRollouts):
        return told_apart(proxies.features, proxies.counts, proxies.errors)
    return covariance(proxies.features, proxies.counts)


def check_place(alternatives, visits, feature_names) -> tuple[Array, NoTable]:
    """Rewards `[M, K]` that a designer could have written for a place without a table, and that place."""
    alternatives = check_real("alternatives", alternatives)
    if alternatives.ndim != 2 or alternatives.size == 0:
        raise ValueError(
            f"alternatives has shape {alternatives.shape}; give the rewards the designer could have written, [M, K] "
            "with at least one row and one feature, the proxy among them."
        )
    alternatives = check_array("alternatives", alternatives)
    names = check_names(() if feature_names is None else feature_names, alternatives.shape[1])
    cure = "it is how many (discounted) visits a run has and must be positive and finite (1 for one answer)."
    visits = check_number("visits", visits, lambda x: 0 < x < np.inf, cure, dtype=alternatives.dtype)
    return alternatives, NoTable(visits, names)


def check_errors(standard_error, covariance, features: Float[Array, " M K"]) -> Array | None:
    """Variances `[M, K]` or covariances `[M, K, K]` of estimated features; None where they are exact."""
    shape, dtype = features.shape, features.dtype
    if standard_error is not None and covariance is not None:
        raise ValueError("standard_error and covariance are both given; one says what the other does: give one.")
    if covariance is None:
        if standard_error is None:
            return None
        given = check_real("standard_error", standard_error)
        if given.shape != shape:
            raise ValueError(f"standard_error has shape {given.shape}; give one number per estimate, {shape}.")
        given = check_array("standard_error", given, dtype=dtype)
        if is_concrete(given) and (np.asarray(given) < 0).any():
            raise ValueError("standard_error holds a negative number; give standard deviations of the means.")
        return given**2
    given, wanted = check_real("covariance", covariance), (*shape, shape[1])
    if given.shape != wanted:
        raise ValueError(f"covariance has shape {given.shape}; give one matrix per row of features, {wanted}.")
    given = check_array("covariance", given, dtype=dtype)
    if is_concrete(given):
        held = np.asarray(given, float)
        size = 64 * float(np.finfo(dtype).eps) * np.abs(held).max(initial=0.0)
        if np.abs(held - held.swapaxes(1, 2)).max() > size or np.linalg.eigvalsh(held).min() < -size:
            raise ValueError(
                "covariance holds a matrix that is none (not symmetric, or with a negative variance along some "
                "direction); give that of the mean over rollouts, such as numpy.cov(found.T) / len(found)."
            )
    return given
