"""The posterior over true rewards: exact, by importance sampling, or by NUTS; and what it can not tell."""

from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jaxtyping import Array, Float, Key
from numpyro.diagnostics import effective_sample_size as chain_ess
from numpyro.diagnostics import split_gelman_rubin
from numpyro.distributions import Distribution
from numpyro.infer import MCMC, NUTS

from ird import summaries
from ird.diagnostics import pareto_shape
from ird.evidence import Evidence
from ird.priors import check_prior, draw_from
from mdps.checks import is_concrete

# How many prior draws are kept to draw the prior beside the posterior.
_PRIOR_DRAWS = 2048


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Posterior:
    """Weighted samples of the true reward, with what is needed to judge them.

    Attributes:
        weights: reward weights, `[N, K]`, in units of reward per unit of feature.
        log_weights: log probability of each sample, normalised: `logsumexp(log_weights) == 0`, `[N]`.
        effective_sample_size: how many independent draws the samples are worth, `[]`; for NUTS the
            least over weights.
        pareto_k: shape of the tail of the importance weights (Vehtari et al. 2024): above 0.7 the
            samples are not to be trusted, whatever the effective sample size says.  NaN where nothing
            was importance-sampled.
        prior_mean: mean of each weight before the evidence, `[K]`.
        prior_sd: its standard deviation, `[K]`.
        prior_sample: a few equally weighted draws from the prior, `[P, K]`, for pictures.
        feature_covariance: covariance of the alternatives' feature expectations, summed over the
            evidence, `[K, K]`; None if some evidence has none.  Its null space is what the evidence
            says nothing about.
        parameters: posterior samples of anything else that was unknown, such as β, each `[N, ...]`.
        diagnostics: what a sampler says about itself, such as "r_hat" `[K]` and "divergences" `[]`.
        feature_names: name of each weight (static).
        num_chains: chains of equal length that `weights` is made of, one after another (static).
    """

    weights: Float[Array, " N K"]
    log_weights: Float[Array, " N"]
    effective_sample_size: Float[Array, ""]
    pareto_k: Float[Array, ""]
    prior_mean: Float[Array, " K"]
    prior_sd: Float[Array, " K"]
    prior_sample: Float[Array, " P K"]
    feature_covariance: Float[Array, " K K"] | None = None
    parameters: dict[str, Array] = field(default_factory=dict)
    diagnostics: dict[str, Array] = field(default_factory=dict)
    feature_names: tuple[str, ...] = field(default=(), metadata={"static": True})
    num_chains: int = field(default=1, metadata={"static": True})

    def mean(self) -> Float[Array, " K"]:
        """Posterior mean of each weight, `[K]`."""
        return _moments(self.weights, self.log_weights)[0]

    def covariance(self) -> Float[Array, " K K"]:
        """Posterior covariance of the weights, `[K, K]`."""
        centred = self.weights - self.mean()[None]
        p = jnp.exp(self.log_weights)[:, None]
        return jnp.matmul((p * centred).T, centred, precision=jax.lax.Precision.HIGHEST)

    def sample(self, num_samples: int, *, key: Key[Array, ""]) -> Float[Array, " n K"]:
        """Independent draws from the posterior, `[num_samples, K]`."""
        _check_count("num_samples", num_samples)
        rows = jax.random.choice(key, self.weights.shape[0], (num_samples,), p=jnp.exp(self.log_weights))
        return self.weights[rows]

    def resample(self, num_samples: int, *, key: Key[Array, ""]) -> "Posterior":
        """Equally weighted draws, as a posterior: what the worst case needs.

        Systematic resampling (Kitagawa 1996): a sample of probability p appears ⌊np⌋ or ⌈np⌉ times.

        Args:
            num_samples: how many (static).
            key: a `jax.random.key`.
        """
        _check_count("num_samples", num_samples)
        offset = jax.random.uniform(key, (), self.log_weights.dtype)
        return self._take(_systematic(self.log_weights, num_samples, offset))

    def tail_effective_sample_size(
        self, returns: Float[Array, " N"], alpha: float | Float[Array, ""]
    ) -> Float[Array, ""]:
        """How many independent draws the worst α of some returns is worth: the samples a CVaR_α rests on.

        With λ_i the probability of sample i that lies in the α-tail, (Σλ)² / Σλ² = α² / Σλ² (Kish 1965).

        Args:
            returns: return of one plan under each sample, `[N]`, such as `belief.weights @ features`.
            alpha: the tail's probability, in (0, 1].

        Raises:
            ValueError: for returns of the wrong shape or α outside (0, 1].
        """
        returns = jnp.asarray(returns)
        if returns.shape != self.log_weights.shape:
            raise ValueError(f"returns has shape {returns.shape}; give one per sample, {self.log_weights.shape}.")
        if is_concrete(alpha) and not 0 < float(alpha) <= 1:
            raise ValueError(f"alpha is {float(alpha)}; it must lie in (0, 1].")
        p = jnp.exp(self.log_weights)[jnp.argsort(returns)]
        before = jnp.cumsum(p) - p
        tail = jnp.clip(alpha - before, 0, p)
        return jnp.sum(tail) ** 2 / jnp.sum(tail**2)

    def summary(self) -> summaries.Summary:
        """A table of what was learnt of each weight, with warnings and what the evidence could not tell.

        Printing it prints the table; its fields hold the same numbers.
        """
        return summaries.summarise(self)

    def plot(self, axes=None):
        """Draw each weight's posterior against its prior; returns the matplotlib figure.

        Args:
            axes: one matplotlib axes per weight; a new figure when None.
        """
        return summaries.plot(self, axes)

    def to_arviz(self, num_samples: int | None = None):
        """The posterior for arviz: an `InferenceData` (arviz 0.x) or a `DataTree` (arviz 1.x).

        Unequally weighted samples are resampled first, since arviz knows none.

        Args:
            num_samples: how many equally weighted draws; at most 4,000 when None.

        Raises:
            ImportError: if arviz is not installed.
        """
        return summaries.to_arviz(self, num_samples)

    def _take(self, rows) -> "Posterior":
        """Equally weighted samples at `rows`; they are worth no more than what they are drawn from."""
        n = rows.shape[0]
        dtype = self.log_weights.dtype
        # An average over n draws adds variance 1/n to that of the samples drawn from, 1/ESS.
        worth = 1 / (1 / self.effective_sample_size + jnp.asarray(1 / n, dtype))
        return replace(
            self,
            weights=self.weights[rows],
            log_weights=jnp.full((n,), -np.log(n), dtype),
            effective_sample_size=worth,
            parameters={name: x[rows] for name, x in self.parameters.items()},
            num_chains=1,
        )


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
    names = _shared_names(evidence)
    candidates = _check_candidates(candidates, names)
    N = candidates.shape[0]
    log_prior = jnp.zeros(N, candidates.dtype) if log_prior is None else jnp.asarray(log_prior)
    if log_prior.shape != (N,):
        raise ValueError(f"log_prior has shape {log_prior.shape}; give one number per candidate, [{N}].")
    log_prior = log_prior.astype(candidates.dtype)
    if is_concrete(log_prior):
        values = np.asarray(log_prior)
        bad = np.isnan(values) | (values == np.inf)
        if bad.any():
            raise ValueError(f"log_prior is {values[bad][0]} at index {bad.argmax()}; use -inf for the impossible.")
        if (values == -np.inf).all():
            raise ValueError("log_prior is -inf everywhere: the candidates have zero total prior; allow at least one.")
    found = _weigh(candidates, _log_likelihood(evidence, candidates), log_prior)
    _check_normalised(found["log_weights"])
    return Posterior(candidates, feature_covariance=_sum_of_all(evidence), feature_names=names, **found)


def importance(*evidence: Evidence, prior: Distribution, num_samples: int, key: Key[Array, ""]) -> Posterior:
    """The posterior by importance sampling: draws from the prior, weighted by the likelihood of the evidence.

    Right for up to a handful of weights, or vague evidence; `effective_sample_size` and `pareto_k`
    tell when it was not.  Runs under `jit` and `vmap`, over maps too.

    Args:
        *evidence: any number of pieces of evidence about the same features; none gives the prior.
        prior: a numpyro distribution over `[K]`; independent weights may also be its batch.
        num_samples: how many draws, N (static).
        key: a `jax.random.key`.

    Returns:
        A `Posterior` on the draws.

    Raises:
        ValueError: for a prior of another shape, or evidence about different features.

    Example:
        >>> import jax, numpyro.distributions as dist
        >>> prior = dist.Uniform(-1, 1).expand([3]).to_event(1)
        >>> belief = importance(prior=prior, num_samples=100, key=jax.random.key(0))
        >>> belief.weights.shape, round(float(belief.effective_sample_size))
        ((100, 3), 100)
    """
    names = _shared_names(evidence)
    prior = check_prior(prior, len(names) or None)
    _check_count("num_samples", num_samples)
    weights = draw_from(prior, num_samples, key)
    log_likelihood = _log_likelihood(evidence, weights)
    found = _weigh(weights, log_likelihood, jnp.zeros_like(log_likelihood))
    _check_normalised(found["log_weights"])
    found["pareto_k"] = pareto_shape(log_likelihood)
    return Posterior(weights, feature_covariance=_sum_of_all(evidence), feature_names=names, **found)


def nuts(
    *evidence: Evidence,
    prior: Distribution,
    key: Key[Array, ""],
    num_warmup: int = 500,
    num_samples: int = 1000,
    num_chains: int = 4,
    progress_bar: bool = False,
) -> Posterior:
    """The posterior by the No-U-Turn sampler (Hoffman & Gelman 2014), as numpyro has it.

    Right for many weights and sharp evidence; log P(w̃ | w) is concave in w, so a log-concave prior
    gives one mode.

    Args:
        *evidence: any number of pieces of evidence about the same features.
        prior: a numpyro distribution over `[K]`; independent weights may also be its batch.
        key: a `jax.random.key`.
        num_warmup: steps of adaptation per chain (static).
        num_samples: draws kept per chain (static).
        num_chains: chains, run side by side (static).
        progress_bar: show one.

    Returns:
        A `Posterior` of `num_chains * num_samples` equally weighted draws, with "r_hat" and
        "divergences" among its diagnostics.

    Raises:
        ValueError: for a prior of another shape, or evidence about different features.
    """
    names = _shared_names(evidence)
    prior = check_prior(prior, len(names) or None)
    _check_count("num_samples", num_samples)
    run, draw = jax.random.split(key)
    # A fresh sampler each time: a second run of one with new arguments fails with vectorised chains.
    sampler = MCMC(
        NUTS(_model),
        num_warmup=num_warmup,
        num_samples=num_samples,
        num_chains=num_chains,
        chain_method="vectorized",
        progress_bar=progress_bar,
    )
    with jax.numpy_rank_promotion("allow"):  # numpyro relies on it
        sampler.run(run, evidence, prior)
    chains = sampler.get_samples(group_by_chain=True)["weights"]
    weights = chains.reshape(-1, chains.shape[-1])
    N = weights.shape[0]
    prior_sample = draw_from(prior, _PRIOR_DRAWS, draw)
    prior_mean, prior_variance = jnp.mean(prior_sample, axis=0), jnp.var(prior_sample, axis=0)
    worth, r_hat = _chain_diagnostics(chains)
    return Posterior(
        weights=weights,
        log_weights=jnp.full((N,), -np.log(N), weights.dtype),
        effective_sample_size=jnp.min(worth),
        pareto_k=jnp.full((), jnp.nan, weights.dtype),
        prior_mean=prior_mean,
        prior_sd=jnp.sqrt(prior_variance),
        prior_sample=prior_sample,
        feature_covariance=_sum_of_all(evidence),
        diagnostics={"r_hat": r_hat, "divergences": jnp.sum(sampler.get_extra_fields()["diverging"])},
        feature_names=names,
        num_chains=num_chains,
    )


def _model(evidence, prior):
    weights = jnp.asarray(numpyro.sample("weights", prior))
    numpyro.factor("evidence", _log_likelihood(evidence, weights[None])[0])


@jax.jit
def _weigh(weights: Array, log_likelihood: Array, log_prior: Array) -> dict[str, Array]:
    """Bayes' rule on samples, and what is to be known of prior and posterior: most fields of a `Posterior`."""
    log_prior = _normalise(log_prior)
    log_weights = _normalise(log_prior + log_likelihood)
    mean, variance = _moments(weights, log_prior)
    kept = _systematic(log_prior, min(weights.shape[0], _PRIOR_DRAWS), jnp.asarray(0.5, log_prior.dtype))
    return {
        "log_weights": log_weights,
        "effective_sample_size": 1 / jnp.sum(jnp.exp(2 * log_weights)),
        "pareto_k": jnp.full((), jnp.nan, log_weights.dtype),
        "prior_mean": mean,
        "prior_sd": jnp.sqrt(variance),
        "prior_sample": weights[kept],
    }


def _chain_diagnostics(chains: Array) -> tuple[Array, Array]:
    """Effective sample size and split R-hat of each weight, over chains `[C, T, K]`; NaN while tracing."""
    if not is_concrete(chains):
        unknown = jnp.full(chains.shape[2:], jnp.nan, chains.dtype)
        return unknown, unknown
    host = np.asarray(chains)
    return jnp.asarray(chain_ess(host), chains.dtype), jnp.asarray(split_gelman_rubin(host), chains.dtype)


def _sum_of_all(evidence) -> Array | None:
    """Feature covariances summed; None if there is no evidence, or some has none."""
    total = None
    for e in evidence:
        covariance = getattr(e, "feature_covariance", None)
        if covariance is None:
            return None
        total = covariance if total is None else total + covariance
    return total


def _log_likelihood(evidence, weights: Array) -> Array:
    total = jnp.zeros(weights.shape[0], weights.dtype)
    for e in evidence:
        total = total + e.log_likelihood(weights)
    return total


def _normalise(log_weights: Array) -> Array:
    return log_weights - jax.scipy.special.logsumexp(log_weights)


def _moments(weights: Array, log_weights: Array) -> tuple[Array, Array]:
    """Weighted mean and variance, `[K]` each."""
    p = jnp.exp(log_weights)
    mean = jnp.matmul(p, weights, precision=jax.lax.Precision.HIGHEST)
    return mean, jnp.matmul(p, (weights - mean[None]) ** 2, precision=jax.lax.Precision.HIGHEST)


def _systematic(log_weights: Array, num_samples: int, offset: Array) -> Array:
    """Rows by systematic resampling: the points (i + offset) / n of the cumulative probability."""
    total = jnp.cumsum(jnp.exp(log_weights))
    points = (jnp.arange(num_samples) + offset) / num_samples * total[-1]
    return jnp.minimum(jnp.searchsorted(total, points, side="right"), log_weights.shape[0] - 1)


def _shared_names(evidence: tuple[Evidence, ...]) -> tuple[str, ...]:
    for i, e in enumerate(evidence):
        if not callable(getattr(e, "log_likelihood", None)):
            raise ValueError(
                f"evidence {i} is a {type(e).__name__}, which has no log_likelihood(weights); pass evidence such as a "
                "ProxyReward first, and the rest by name (candidates=, prior=)."
            )
    names = [tuple(e.feature_names) for e in evidence]
    for i, other in enumerate(names[1:], 1):
        if other != names[0]:
            raise ValueError(
                f"evidence {i} is about the features {other}, evidence 0 about {names[0]}; one posterior has one set "
                "of features in one order: build the maps with the same legend."
            )
    return names[0] if names else ()


def _check_candidates(candidates, names: tuple[str, ...]) -> Array:
    candidates = jnp.asarray(candidates)
    if candidates.ndim != 2 or candidates.size == 0 or (names and candidates.shape[1] != len(names)):
        features = f"K={len(names)} features {names}" if names else "one column per feature"
        raise ValueError(f"candidates has shape {candidates.shape}; it must be [N, K] with N ≥ 1 and {features}.")
    if is_concrete(candidates):
        bad = ~np.isfinite(np.asarray(candidates)).all(axis=1)
        if bad.any():
            raise ValueError(f"candidates has {bad.sum()} rows that are not finite, the first is row {bad.argmax()}.")
    return candidates.astype(jnp.result_type(float, candidates) if candidates.dtype.kind != "f" else candidates.dtype)


def _check_normalised(log_weights: Array) -> None:
    if is_concrete(log_weights) and np.isnan(np.asarray(log_weights)).any():
        raise ValueError(
            "the log-likelihood is not finite for any sample, or is NaN for some; look at evidence.log_likelihood(...) "
            "and at the size of β · weights · feature expectations."
        )


def _check_count(name: str, count) -> None:
    if not isinstance(count, int | np.integer) or isinstance(count, bool) or count < 1:
        raise ValueError(f"{name} is {count!r}; give a whole number ≥ 1.")
