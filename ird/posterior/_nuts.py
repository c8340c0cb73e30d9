"""The posterior by Hamiltonian Monte Carlo: many weights, sharp evidence, unknown β, hierarchical priors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from numpyro.distributions import Distribution
from numpyro.infer import MCMC, NUTS

from ird.diagnostics import chain_diagnostics
from ird.evidence import Evidence
from ird.likelihood import as_pytrees, betas_of, check_finite_likelihood, opened, shared_names, sum_of_covariances
from ird.posterior._posterior import Posterior
from ird.posterior._summary import tell
from ird.posterior._told import telling
from ird.unconstrained import Prior, Unknowns, check_unknowns
from mdps.checks import check_count, check_key, check_number, check_truth


def nuts(
    *evidence: Evidence,
    prior: Prior,
    key: Key[Array, ""],
    beta: Distribution | None = None,
    num_warmup: int = 500,
    num_samples: int = 1000,
    num_chains: int = 4,
    target_accept: float | Float[Array, ""] = 0.8,
    progress_bar: bool = False,
) -> Posterior:
    """The posterior by the No-U-Turn sampler (Hoffman & Gelman 2014), as numpyro has it.

    Right for many weights and sharp evidence, and wherever something besides the weights is unknown.
    A proxy's log-likelihood is concave in w, so a log-concave prior over weights gives one mode.

    A prior may be a numpyro model: a function without arguments that samples what it likes and
    returns the weights `[K]`.  A shared scale or a sparse prior is one; the posterior of all its other
    sites lands in `Posterior.parameters`.  An unknown β is another distribution, `beta`, which
    replaces that of the evidence, and its samples are `parameters["beta"]`.  From proxies and choices
    only β·w can be learnt: let β *or* the scale of the weights be unknown, or give both informative
    priors; otherwise the posterior is a ridge as long as the priors, and `plot_pairs` shows it.

    Runs under `jit` and `vmap`, one compilation for a batch; outside of them it compiles once per
    shape, and once per function given as a prior (arrays that such a function needs go in with
    `jax.tree_util.Partial`).  Traced, nothing can be warned of: ask `Posterior.warnings()` afterwards.

    Args:
        *evidence: any number of pieces of evidence about the same features; none gives the prior.
        prior: a numpyro distribution over `[K]` (independent weights may also be its batch), or a
            numpyro model that returns weights `[K]`.
        key: a `jax.random.key`.
        beta: numpyro distribution of an unknown β, one number for all evidence or one for each piece; evidence may
            also bring its own (`Comparison(..., beta=dist)`), named after it.
        num_warmup: steps of adaptation per chain (static).
        num_samples: draws kept per chain (static).
        num_chains: chains, run side by side (static).
        target_accept: acceptance that the step size is adapted to; nearer to one means smaller steps,
            the cure for divergences.
        progress_bar: show one (then nothing is compiled for another call).

    Returns:
        A `Posterior` of `num_chains * num_samples` equally weighted draws, with R-hat and the bulk and
        tail effective sample sizes of everything unknown, and the number of divergences, among its
        diagnostics.

    Raises:
        ValueError: for a prior that does not fit, a β that cannot be replaced, evidence about different
            features, or a density that is nowhere finite.

    Warns:
        ConvergenceWarning: if the chains have not converged, or a transition diverged.

    Example:
        >>> import jax, jax.numpy as jnp, numpyro, numpyro.distributions as dist
        >>> from ird.evidence import Choice
        >>> seen = Choice([[1.0, 0.0], [0.0, 1.0]], 0, feature_names=("tea", "coffee"))
        >>> def shared_scale():
        ...     scale = numpyro.sample("scale", dist.LogNormal(0.0, 0.3))
        ...     return scale * numpyro.sample("direction", dist.Normal(0, 1).expand([2]).to_event(1))
        >>> belief = nuts(seen, prior=shared_scale, key=jax.random.key(0), num_samples=400)
        >>> sorted(belief.parameters), bool(belief.mean()[0] > belief.mean()[1])
        (['direction', 'scale'], True)
    """
    names = shared_names(evidence)
    check_key(key)
    num_warmup = check_count("num_warmup", num_warmup, least=0)
    num_samples, num_chains = check_count("num_samples", num_samples), check_count("num_chains", num_chains)
    target_accept = check_number(
        "target_accept", target_accept, lambda x: 0 < x < 1, "it must lie strictly between 0 and 1."
    )
    progress_bar = check_truth("progress_bar", progress_bar)
    ready, beta_prior = check_unknowns(evidence, prior, beta)
    run = functools.partial(_sample, progress_bar=True) if progress_bar else _compiled
    sizes = (num_warmup, num_samples, num_chains)
    drawn = run(as_pytrees(evidence), ready, beta_prior, target_accept, key, sizes=sizes)
    check_finite_likelihood(drawn[0])
    belief = chains_as_posterior(*drawn, num_chains=num_chains, names=names)
    return tell(telling(belief, evidence, betas_of(evidence, belief.parameters, beta is not None), prior=prior))


def _sample(evidence, prior, beta, target_accept, key, *, sizes, progress_bar=False):
    """Weights, parameters, the prior, the covariance, diagnostics and notes: what `chains_as_posterior` takes."""
    evidence, (num_warmup, num_samples, num_chains) = opened(evidence), sizes
    for_prior, for_starts, for_run = jax.random.split(key, 3)
    with jax.numpy_rank_promotion("allow"):  # numpyro relies on it
        unknown = Unknowns.of(evidence, prior, beta, key=for_prior)
        start = unknown.starts(num_chains, key=for_starts)
        # A fresh sampler each time: a second run of one with new arguments fails with vectorised chains.
        sampler = MCMC(
            NUTS(potential_fn=lambda z: -unknown.log_density(z), target_accept_prob=target_accept),
            num_warmup=num_warmup,
            num_samples=num_samples,
            num_chains=num_chains,
            chain_method="vectorized",
            progress_bar=progress_bar,
        )
        fields = ("potential_energy", "energy", "num_steps", "accept_prob")
        sampler.run(for_run, init_params=start if num_chains > 1 else start[0], extra_fields=fields)
        weights, parameters = jax.vmap(unknown.constrain)(sampler.get_samples())
        noted = sampler.get_extra_fields()
    stats = {
        "lp": -noted["potential_energy"],
        "energy": noted["energy"],
        "n_steps": noted["num_steps"],
        "acceptance_rate": noted["accept_prob"],
        "diverging": noted["diverging"],
    }
    diagnostics = {"divergences": jnp.sum(noted["diverging"])}
    return weights, parameters, unknown.before(), sum_of_covariances(evidence), diagnostics, stats


_compiled = jax.jit(_sample, static_argnames=("sizes", "progress_bar"))


@functools.partial(jax.jit, static_argnames=("num_chains", "names"))
def chains_as_posterior(weights, parameters, before, covariance, diagnostics, stats, *, num_chains, names) -> Posterior:
    """The posterior that chains `[C T, ...]`, one after another, stand for, with what they say of themselves."""
    N = weights.shape[0]
    columns = jnp.concatenate([x.reshape(N, -1).astype(weights.dtype) for x in (weights, *parameters.values())], axis=1)
    found = chain_diagnostics(columns.reshape(num_chains, N // num_chains, -1))
    ends = np.cumsum([0] + [int(np.prod(x.shape[1:])) for x in (weights, *parameters.values())])
    for i, (name, x) in enumerate({"": weights, **parameters}.items()):
        for what, each in zip(("r_hat", "ess_bulk", "ess_tail"), found, strict=True):
            diagnostics = diagnostics | {f"{what} {name}".strip(): each[ends[i] : ends[i + 1]].reshape(x.shape[1:])}
    return Posterior(
        weights=weights,
        log_weights=jnp.full((N,), -np.log(N), weights.dtype),
        effective_sample_size=jnp.min(diagnostics["ess_bulk"]),
        pareto_k=jnp.full((), jnp.nan, weights.dtype),
        feature_covariance=covariance,
        parameters=parameters,
        diagnostics=diagnostics,
        sample_stats=stats,
        feature_names=names,
        num_chains=num_chains,
        **before,
    )
