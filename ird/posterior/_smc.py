"""The posterior by a crowd that follows it from the prior: sequential Monte Carlo, for more than one mode."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from numpyro.distributions import Distribution

from ird.evidence import Evidence
from ird.likelihood import as_pytrees, betas_of, check_finite_likelihood, opened, shared_names, sum_of_covariances
from ird.posterior._posterior import Posterior
from ird.posterior._summary import tell
from ird.posterior._told import telling
from ird.posterior._weights import moments
from ird.unconstrained import Prior, Unknowns, check_unknowns
from mdps.checks import check_count, check_key, check_number


def smc(
    *evidence: Evidence,
    prior: Prior,
    num_samples: int,
    key: Key[Array, ""],
    beta: Distribution | None = None,
    target_size: float | Float[Array, ""] = 0.5,
    num_moves: int = 10,
    max_stages: int = 100,
) -> Posterior:
    """The posterior by adaptive tempered sequential Monte Carlo (Del Moral, Doucet & Jasra 2006), by blackjax.

    Draws from the prior are led to the posterior by stages p(w) p(evidence | w)^λ, λ from 0 to 1.  Each
    stage raises λ as far as leaves the share `target_size` of the effective sample size, resamples, and
    moves every draw by random-walk Metropolis steps shaped by the crowd's own covariance.

    Right where there may be several modes (demonstrations read as Boltzmann-rational, states of the
    world), which a chain or a Gaussian would miss, and on a GPU.  No derivative is needed.  Beyond a
    dozen or two unknowns random-walk steps tire, and `nuts` does better.

    Draws that descend from one draw of the prior are not independent of each other.  The effective
    sample size counts that, by the variance of the mean between families (Lee & Whiteley 2018).

    Args:
        *evidence: any number of pieces of evidence about the same features; none gives the prior.
        prior: a numpyro distribution over `[K]` (independent weights may also be its batch), or a
            numpyro model that returns weights `[K]`: see `nuts`.
        num_samples: how many draws move together, N (static).
        key: a `jax.random.key`.
        beta: numpyro distribution of an unknown β, one number for all evidence or one for each piece; evidence may
            also bring its own (`Comparison(..., beta=dist)`), named after it.
        target_size: share of the effective sample size that a stage may leave, in (0, 1).
        num_moves: Metropolis steps per stage (static).
        max_stages: most stages.

    Returns:
        A `Posterior` of N equally weighted draws, with "temperature" (λ reached), "stages" and
        "acceptance" (of the last stage's moves) among its diagnostics, and each draw's family as
        "ancestor" among its sample_stats.

    Raises:
        ImportError: if blackjax is not installed.
        ValueError: for a prior that does not fit, a β that cannot be replaced, evidence about different
            features, or a likelihood that is not finite.

    Warns:
        ConvergenceWarning: if `max_stages` did not suffice, or the draws are worth too few.

    Example:
        >>> import jax, numpyro.distributions as dist
        >>> from ird.evidence import Choice
        >>> seen = Choice([[1.0, 0.0], [0.0, 1.0]], 0, beta=4.0, feature_names=("tea", "coffee"))
        >>> prior = dist.Uniform(-1, 1).expand([2]).to_event(1)
        >>> belief = smc(seen, prior=prior, num_samples=1000, key=jax.random.key(0))
        >>> float(belief.diagnostics["temperature"]), bool(belief.mean()[0] > belief.mean()[1])
        (1.0, True)
    """
    names = shared_names(evidence)
    check_key(key)
    num_samples, num_moves = check_count("num_samples", num_samples, least=2), check_count("num_moves", num_moves)
    max_stages = check_count("max_stages", max_stages)
    cure = "it is a share of the samples, strictly between 0 and 1."
    target_size = check_number("target_size", target_size, lambda x: 0 < x < 1, cure)
    ready, beta_prior = check_unknowns(evidence, prior, beta)
    try:
        import blackjax
    except ImportError as error:
        raise ImportError("posterior.smc needs blackjax: pip install 'inverse-reward-design[smc]'.") from error
    limits = (target_size, jnp.asarray(max_stages))
    settings = {"sizes": (num_samples, num_moves), "names": names, "blackjax": blackjax}
    belief = _temper(as_pytrees(evidence), ready, beta_prior, limits, key, **settings)
    check_finite_likelihood(belief.log_weights)
    return tell(telling(belief, evidence, betas_of(evidence, belief.parameters, beta is not None), prior=prior))


@functools.partial(jax.jit, static_argnames=("sizes", "names", "blackjax"))
def _temper(evidence, prior, beta, limits, key, *, sizes, names, blackjax) -> Posterior:
    evidence, (target_size, max_stages), (N, num_moves) = opened(evidence), limits, sizes
    for_prior, for_draws, for_stages = jax.random.split(key, 3)
    with jax.numpy_rank_promotion("allow"):  # numpyro and blackjax rely on it
        unknown = Unknowns.of(evidence, prior, beta, key=for_prior)
        z = unknown.draw(N, key=for_draws)
        D = z.shape[1]
        walk = blackjax.additive_step_random_walk.build_kernel()

        def move(key, state, log_density, sigma):
            return walk(key, state, log_density, blackjax.mcmc.random_walk.normal(sigma))

        def stage(carry):
            state, families, count, _, _ = carry
            covariance = _covariance(state.particles, state.weights)
            # 2.38² / D times the covariance is the best Gaussian step for a Gaussian (Roberts, Gelman & Gilks 1997).
            sigma = 2.38 / np.sqrt(D) * jnp.linalg.cholesky(covariance)
            sampler = blackjax.adaptive_tempered_smc(
                unknown.log_prior,
                unknown.log_likelihood,
                move,
                blackjax.additive_step_random_walk.init,
                {"sigma": sigma[None]},
                blackjax.smc.resampling.systematic,
                target_size,
                num_mcmc_steps=num_moves,
            )
            new, info = sampler.step(jax.random.fold_in(for_stages, count), state)
            accepted = jnp.mean(info.update_info.acceptance_rate)
            # A stage moves under the λ it finds; only one that found λ = 1 has moved under the posterior.
            return new, families[info.ancestors], count + 1, state.tempering_param >= 1, accepted

        def unfinished(carry):
            _, _, count, done, _ = carry
            return ~done & (count < max_stages)

        zero = jnp.zeros((), z.dtype)
        start = blackjax.smc.tempered.init(z)._replace(tempering_param=zero, weights=jnp.full((N,), 1 / N, z.dtype))
        first = (start, jnp.arange(N), jnp.asarray(0), jnp.asarray(False), zero)
        state, families, count, _, accepted = jax.lax.while_loop(unfinished, stage, first)
        weights, parameters = jax.vmap(unknown.constrain)(state.particles)
    log_weights = jnp.log(state.weights)
    return Posterior(
        weights=weights,
        log_weights=log_weights,
        effective_sample_size=family_size(weights, log_weights, families),
        pareto_k=jnp.full((), jnp.nan, weights.dtype),
        feature_covariance=sum_of_covariances(evidence),
        parameters=parameters,
        diagnostics={"temperature": state.tempering_param, "stages": count, "acceptance": accepted},
        sample_stats={"ancestor": families},
        feature_names=names,
        **unknown.before(),
    )


def family_size(weights: Float[Array, " N K"], log_weights: Float[Array, " N"], families) -> Float[Array, ""]:
    """How many independent draws samples in families are worth: the least over weights.

    The variance of a mean is Σ_f (Σ_{i∈f} p_i (w_i - μ))² over families f (Lee & Whiteley 2018), and
    that of n independent draws is Σ p_i (w_i - μ)² / n; they count for no more than there are samples.
    """
    mean, variance = moments(weights, log_weights)
    shares = jnp.exp(log_weights)[:, None] * (weights - mean[None])
    each = jax.ops.segment_sum(shares, families, num_segments=weights.shape[0])
    return jnp.minimum(jnp.min(variance / jnp.sum(each**2, axis=0)), weights.shape[0])


def _covariance(z, weights):
    """Weighted covariance with a little more on the diagonal, so that its root exists."""
    centred = z - weights @ z
    covariance = jnp.matmul((weights[:, None] * centred).T, centred, precision=jax.lax.Precision.HIGHEST)
    largest = jnp.max(jnp.diagonal(covariance))
    return covariance + (64 * jnp.finfo(z.dtype).eps * largest + jnp.finfo(z.dtype).tiny) * jnp.eye(z.shape[1])
