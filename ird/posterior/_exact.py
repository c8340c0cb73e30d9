"""The posterior over a list of rewards: one pass of Bayes' rule."""

import numpy as np
from jaxtyping import Array, Float

from ird.evidence import Evidence
from ird.likelihood import check_finite_likelihood, log_likelihood, shared_names, sum_of_covariances
from ird.posterior._posterior import Posterior
from ird.posterior._told import telling
from ird.posterior._weights import weigh
from mdps.checks import check_array, check_real, is_concrete


def exact(
    *evidence: Evidence,
    candidates: Float[Array, " N K"] | np.ndarray,
    log_prior: Float[Array, " N"] | np.ndarray | None = None,
) -> Posterior:
    """The posterior over a finite set of candidate rewards: one pass of Bayes' rule.

    P(w_i | w̃) ∝ P(w_i) Π_e P(w̃_e | w_i, M̃_e): independent evidence adds in log (Ratner et al. 2018).

    Args:
        *evidence: any number of pieces of evidence about the same features; none gives the prior.
        candidates: the rewards that may be true, `[N, K]`.
        log_prior: log prior probability of each, up to a constant, `[N]`; None for equal.

    Returns:
        A `Posterior` on the candidates.

    Raises:
        ValueError: for candidates of the wrong shape or not finite, a prior of the wrong shape or of
            zero total probability, or evidence about different features.

    Example:
        >>> import jax.numpy as jnp
        >>> belief = exact(candidates=jnp.eye(2), log_prior=jnp.log(jnp.array([0.25, 0.75])))
        >>> belief.mean().tolist()
        [0.25, 0.75]
    """
    names = shared_names(evidence)
    candidates = _check_candidates(candidates, names)
    N = candidates.shape[0]
    log_prior = np.zeros(N, candidates.dtype) if log_prior is None else check_real("log_prior", log_prior)
    if log_prior.shape != (N,):
        raise ValueError(f"log_prior has shape {log_prior.shape}; give one number per candidate, [{N}].")
    log_prior = check_array("log_prior", log_prior, finite=False, dtype=candidates.dtype)
    if is_concrete(log_prior):
        values = np.asarray(log_prior)
        bad = np.isnan(values) | (values == np.inf)
        if bad.any():
            raise ValueError(f"log_prior is {values[bad][0]} at index {bad.argmax()}; use -inf for the impossible.")
        if (values == -np.inf).all():
            raise ValueError("log_prior is -inf everywhere: the candidates have zero total prior; allow at least one.")
    found = weigh(candidates, {}, log_likelihood(evidence, candidates), log_prior)
    check_finite_likelihood(found["log_weights"])
    belief = Posterior(feature_covariance=sum_of_covariances(evidence), feature_names=names, **found)
    return telling(belief, evidence)


def _check_candidates(candidates, names: tuple[str, ...]) -> Array:
    candidates = check_array("candidates", candidates, finite=False)
    if candidates.ndim != 2 or candidates.size == 0 or (names and candidates.shape[1] != len(names)):
        features = f"K={len(names)} features {names}" if names else "one column per feature"
        raise ValueError(f"candidates has shape {candidates.shape}; it must be [N, K] with N ≥ 1 and {features}.")
    if is_concrete(candidates):
        bad = ~np.isfinite(np.asarray(candidates)).all(axis=1)
        if bad.any():
            raise ValueError(f"candidates has {bad.sum()} rows that are not finite, the first is row {bad.argmax()}.")
    return candidates
