"""The posterior over true rewards: exact, weighted draws, or chains; and what it can not tell.

`exact` sums over a list; `importance` and `laplace` weigh independent draws; `nuts` and `exchange` run
chains; `smc` moves a crowd from the prior to the posterior.  All return the same `Posterior`.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from numpyro.distributions import Distribution

from ird.auxiliary import exchange
from ird.bayes import (
    check_finite_likelihood,
    log_likelihood,
    log_likelihood_of_each,
    shared_names,
    sum_of_covariances,
    weigh,
)
from ird.chains import ConvergenceWarning
from ird.diagnostics import pareto_shape
from ird.evidence import Evidence
from ird.gaussian import laplace
from ird.mcmc import nuts
from ird.priors import check_prior, draw_from
from ird.samples import Posterior
from ird.tempering import smc
from ird.unknowns import Prior, check_unknowns, draw_unknowns
from mdps.checks import check_array, check_count, check_key, check_real, is_concrete

__all__ = ["ConvergenceWarning", "Posterior", "exact", "exchange", "importance", "laplace", "nuts", "smc"]


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
    return Posterior(feature_covariance=sum_of_covariances(evidence), feature_names=names, **found)


def importance(
    *evidence: Evidence,
    prior: Prior,
    num_samples: int,
    key: Key[Array, ""],
    beta: Distribution | None = None,
) -> Posterior:
    """The posterior by importance sampling: draws from the prior, weighted by the likelihood of the evidence.

    Right for up to a handful of weights, or vague evidence; `effective_sample_size` and `pareto_k`
    tell when it was not.  Runs under `jit` and `vmap`, over maps too.

    Args:
        *evidence: any number of pieces of evidence about the same features; none gives the prior.
        prior: a numpyro distribution over `[K]` (independent weights may also be its batch), or a
            numpyro model that returns weights `[K]`: see `nuts`.
        num_samples: how many draws, N (static).
        key: a `jax.random.key`.
        beta: numpyro distribution of an unknown β, one number for all evidence or one for each piece.

    Returns:
        A `Posterior` on the draws.

    Raises:
        ValueError: for a prior that does not fit, a β that cannot be replaced, or evidence about
            different features.

    Example:
        >>> import jax, numpyro.distributions as dist
        >>> prior = dist.Uniform(-1, 1).expand([3]).to_event(1)
        >>> belief = importance(prior=prior, num_samples=100, key=jax.random.key(0))
        >>> belief.weights.shape, round(float(belief.effective_sample_size))
        ((100, 3), 100)
    """
    names = shared_names(evidence)
    num_samples = check_count("num_samples", num_samples)
    check_key(key)
    if isinstance(prior, Distribution) and beta is None:
        weights, parameters = draw_from(check_prior(prior, len(names) or None), num_samples, key), {}
    else:
        ready, beta_prior = check_unknowns(evidence, prior, beta)
        weights, parameters = draw_unknowns(ready, beta_prior, num_samples, key=key)
    likely = log_likelihood_of_each(evidence, weights, None if beta is None else parameters["beta"])
    found = weigh(weights, parameters, likely, jnp.zeros_like(likely))
    check_finite_likelihood(found["log_weights"])
    found["pareto_k"] = pareto_shape(likely)
    return Posterior(feature_covariance=sum_of_covariances(evidence), feature_names=names, **found)


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
