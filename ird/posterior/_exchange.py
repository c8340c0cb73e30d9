"""The posterior from proxies without their normalizer: the exchange algorithm, or double Metropolis-Hastings."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key
from numpyro.distributions import Distribution

from ird.evidence import Evidence, ProxyReward, SumOverProxies
from ird.likelihood import (
    as_pytrees,
    betas_of,
    check_finite_likelihood,
    log_likelihood,
    opened,
    settled,
    shared_names,
    sum_of_covariances,
)
from ird.posterior._nuts import chains_as_posterior
from ird.posterior._posterior import Posterior
from ird.posterior._summary import tell
from ird.posterior._told import telling
from ird.unconstrained import Prior, Unknowns, check_unknowns
from mdps.checks import check_count, check_key

# What random-walk proposals should be accepted: between the best rates for one and for many unknowns.
_ACCEPT = 0.3


def exchange(
    *evidence: Evidence,
    prior: Prior,
    key: Key[Array, ""],
    beta: Distribution | None = None,
    inner_steps: int | None = None,
    num_warmup: int = 2000,
    num_samples: int = 1000,
    num_chains: int = 4,
    thinning: int = 10,
) -> Posterior:
    r"""The posterior from proxies by the exchange algorithm: no Z̃(w) is ever computed.

    A move w -> w' is judged with the help of an auxiliary proxy x, written by a designer who means w':

        a = P(w')/P(w) · exp(β (w' - w)·(φ̃(w̃) - φ̃(x)))        x ~ P(· | w', M̃)

    in which Z̃(w) and Z̃(w') cancel (Murray, Ghahramani & MacKay 2006).

    What is exact: with `inner_steps=None`, x is drawn from the list of alternatives exactly, and the
    chain's stationary distribution is the posterior, as `exact` and `nuts` have it.  Drawing x looks at
    every alternative, which costs what Z̃ would.
    What is approximate: with `inner_steps=n`, x is the end of n Metropolis steps among the
    alternatives, from the written proxy on (Liang 2010: double Metropolis-Hastings).  A move then costs
    n alternatives, however many there are; but x has not forgotten where it started, and the
    posterior comes out too close to the prior: at n = 0 the proxy would cancel altogether.
    docs/normalizers.md shows by how much.

    Other evidence, whose likelihood can be computed, may go along with the proxies.  Moves are Gaussian
    random walks whose shape is learnt during the warm-up and then fixed, so chains are long and draws
    few: prefer `nuts` wherever Z̃ is affordable.  Priors and β may be all that `nuts` takes.

    Args:
        *evidence: evidence about the same features, with at least one `ProxyReward` among it whose
            normalizer is the sum over its alternatives.
        prior: a numpyro distribution over `[K]` (independent weights may also be its batch), or a
            numpyro model that returns weights `[K]`: see `nuts`.
        key: a `jax.random.key`.
        beta: numpyro distribution of an unknown β, one number for all evidence or one for each piece; evidence may
            also bring its own (`Comparison(..., beta=dist)`), named after it.
        inner_steps: Metropolis steps for the auxiliary proxy (static); None to draw it exactly.
        num_warmup: steps of adaptation per chain, rounded up to whole rounds of `thinning` (static).
        num_samples: draws kept per chain (static).
        num_chains: chains, run side by side (static).
        thinning: steps per draw that is kept (static).

    Returns:
        A `Posterior` as from `nuts`, with "acceptance" in place of divergences.

    Raises:
        ValueError: without a proxy, for one with another normalizer, or as `nuts`.

    Warns:
        ConvergenceWarning: if the chains have not converged.

    Example:
        >>> import jax, mdps, numpyro.distributions as dist
        >>> train = mdps.GridWorld.from_text("S.g", {"S": "path", ".": "path", "g": "grass"}, horizon=3)
        >>> prior = dist.Normal(0, 1).expand([2]).to_event(1)
        >>> rewards = prior.sample(jax.random.key(0), (20,))
        >>> proxy = ProxyReward(rewards[0], train.mdp, alternatives=rewards)
        >>> belief = exchange(proxy, prior=prior, key=jax.random.key(1))
        >>> belief.weights.shape, 0.1 < float(belief.diagnostics["acceptance"]) < 0.6
        ((4000, 2), True)
    """
    names = shared_names(evidence)
    check_key(key)
    if not any(isinstance(e, ProxyReward) for e in evidence):
        raise ValueError(
            "exchange needs at least one ProxyReward: it spares proxies their normalizer, and other evidence has a "
            "likelihood that posterior.nuts can use."
        )
    for i, e in enumerate(evidence):
        if isinstance(e, ProxyReward) and not isinstance(e.normalizer, SumOverProxies):
            raise ValueError(
                f"evidence {i} is a proxy with the normalizer {type(e.normalizer).__name__}; exchange draws proxies "
                "from a list, so it needs ProxyReward(..., alternatives=...) or ProxyReward.sampled(...)."
            )
    inner_steps = None if inner_steps is None else check_count("inner_steps", inner_steps)
    num_warmup = check_count("num_warmup", num_warmup, least=0)
    num_samples, num_chains = check_count("num_samples", num_samples), check_count("num_chains", num_chains)
    sizes = (inner_steps, num_warmup, num_samples, num_chains, check_count("thinning", thinning))
    ready, beta_prior = check_unknowns(evidence, prior, beta)
    drawn = _run_chains(as_pytrees(evidence), ready, beta_prior, key, sizes=sizes)
    check_finite_likelihood(drawn[0])
    belief = chains_as_posterior(*drawn, num_chains=num_chains, names=names)
    return tell(telling(belief, evidence, betas_of(evidence, belief.parameters, beta is not None), prior=prior))


@functools.partial(jax.jit, static_argnames="sizes")
def _run_chains(evidence, prior, beta, key, *, sizes):
    """Weights, parameters, the prior, the covariance, diagnostics and notes: what `chains_as_posterior` takes."""
    evidence, (inner_steps, num_warmup, num_samples, C, thinning) = opened(evidence), sizes
    for_prior, for_starts, for_steps = jax.random.split(key, 3)
    rounds = -(-num_warmup // thinning)  # of the warm-up
    with jax.numpy_rank_promotion("allow"):  # numpyro relies on it
        unknown = Unknowns.of(evidence, prior, beta, key=for_prior)
        start = unknown.starts(C, key=for_starts)
        step = jax.vmap(_move(unknown, inner_steps), in_axes=(0, 0, None))
        D = start.shape[1]

        def move(carry, key):
            """A step, from which shape and size of the moves learn while warming up (Haario et al. 2001)."""
            z, mean, covariance, log_size, count = carry
            root = jnp.exp(log_size) * jnp.linalg.cholesky(covariance)
            z, accept = step(jax.random.split(key, C), z, root)
            gain = jnp.where(count < rounds * thinning, (count + 1.0) ** -0.6, 0.0)
            away = z - mean[None]
            mean = mean + gain * jnp.mean(away, axis=0)
            covariance = covariance + gain * (away.T @ away / C + 1e-6 * jnp.eye(D) - covariance)
            log_size = log_size + gain * (jnp.mean(accept) - _ACCEPT)
            return (z, mean, covariance, log_size, count + 1), accept

        def draw(carry, key):
            carry, accept = jax.lax.scan(move, carry, jax.random.split(key, thinning))
            return carry, (carry[0], jnp.mean(accept, axis=0))

        zero = jnp.zeros((), start.dtype)
        first = (start, jnp.mean(start, axis=0), jnp.eye(D, dtype=start.dtype), zero, zero)
        z, accept = jax.lax.scan(draw, first, jax.random.split(for_steps, rounds + num_samples))[1]
        z, accept = (jnp.swapaxes(x[rounds:], 0, 1).reshape(C * num_samples, *x.shape[2:]) for x in (z, accept))
        weights, parameters = jax.vmap(unknown.constrain)(z)
    diagnostics = {"acceptance": jnp.mean(accept)}
    return weights, parameters, unknown.before(), sum_of_covariances(evidence), diagnostics, {"acceptance_rate": accept}


def _move(unknown, inner_steps: int | None) -> Callable:
    """One step of a chain: (key, z, root of the moves' covariance) -> (z, probability of acceptance)."""

    def at(z):
        weights, parameters = unknown.constrain(z)
        evidence = settled(unknown.evidence, betas_of(unknown.evidence, parameters, unknown.shared_beta))
        others = [e for e in evidence if not isinstance(e, ProxyReward)]
        known = unknown.log_prior(z) + log_likelihood(others, weights[None])[0]
        return known, weights, [e for e in evidence if isinstance(e, ProxyReward)]

    def step(key, z, root):
        for_move, for_proxies, for_choice = jax.random.split(key, 3)
        moved = z + root @ jax.random.normal(for_move, z.shape, z.dtype)
        before, weights, proxies = at(z)
        after, meant, others = at(moved)
        log_ratio = after - before
        for i, (now, then) in enumerate(zip(proxies, others, strict=True)):
            written = _written(then, meant, jax.random.fold_in(for_proxies, i), inner_steps)
            slope = then.beta * meant - now.beta * weights
            log_ratio = log_ratio + slope @ (now.feature_expectations - written)
        accept = jnp.exp(jnp.minimum(log_ratio, 0.0))
        taken = jax.random.uniform(for_choice, (), z.dtype) < accept
        return jnp.where(taken, moved, z), accept

    return step


def _written(proxy: ProxyReward, weights, key, inner_steps: int | None):
    """Features φ̃(x) of the plan of a proxy that a designer who means `weights` may have written, `[K]`."""
    features, counts = proxy.alternative_features, proxy.counts
    if inner_steps is None:
        logits = proxy.beta * (features @ weights) + jnp.log(counts)
        return features[jax.random.categorical(key, logits)]
    ends = jnp.cumsum(counts)

    def step(at, key):
        for_proposal, for_choice = jax.random.split(key)
        point = jax.random.uniform(for_proposal, (), ends.dtype) * ends[-1]
        other = features[jnp.minimum(jnp.searchsorted(ends, point, side="right"), len(counts) - 1)]
        better = proxy.beta * (weights @ (other - at))
        return jnp.where(jnp.log(jax.random.uniform(for_choice, (), at.dtype)) < better, other, at), None

    return jax.lax.scan(step, proxy.feature_expectations, jax.random.split(key, inner_steps))[0]
