"""The posterior by draws from the prior, weighted by the likelihood of the evidence."""

import jax.numpy as jnp
from jaxtyping import Array, Key
from numpyro.distributions import Distribution

from ird.diagnostics import pareto_k
from ird.evidence import Evidence
from ird.likelihood import (
    betas_of,
    check_finite_likelihood,
    log_likelihood_of_each,
    names_of_unknown,
    shared_names,
    sum_of_covariances,
)
from ird.posterior._posterior import Posterior
from ird.posterior._told import telling
from ird.posterior._weights import weigh
from ird.priors import check_prior, draw_from
from ird.unconstrained import Prior, check_unknowns, draw_unknowns
from mdps.checks import check_count, check_key


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
        beta: numpyro distribution of an unknown β, one number for all evidence or one for each piece; evidence may
            also bring its own (`Comparison(..., beta=dist)`), named after it.

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
    own = any(names_of_unknown(evidence))
    if isinstance(prior, Distribution) and beta is None and not own:
        weights, parameters = draw_from(check_prior(prior, len(names) or None), num_samples, key), {}
    else:
        ready, beta_prior = check_unknowns(evidence, prior, beta)
        weights, parameters = draw_unknowns(ready, beta_prior, num_samples, key=key)
    betas = betas_of(evidence, parameters, beta is not None)
    likely = log_likelihood_of_each(evidence, weights, betas)
    found = weigh(weights, parameters, likely, jnp.zeros_like(likely))
    check_finite_likelihood(found["log_weights"])
    found["pareto_k"] = pareto_k(likely)
    belief = Posterior(feature_covariance=sum_of_covariances(evidence), feature_names=names, **found)
    return telling(belief, evidence, betas, prior=prior)
