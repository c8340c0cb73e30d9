"""Weighted samples of the true reward, with what is needed to judge them."""

from dataclasses import dataclass, field, replace
from os import PathLike

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from numpyro.distributions import Distribution

from ird.posterior import _export, _plots, _summary
from ird.posterior._weights import moments, systematic
from mdps.checks import check_array, check_count, check_key, check_number, is_concrete
from mdps.pytrees import frozen_pytree


@frozen_pytree
@dataclass(frozen=True)
class Posterior:
    """Weighted samples of the true reward, with what is needed to judge them.

    Attributes:
        weights: reward weights, `[N, K]`, in units of reward per unit of feature.
        log_weights: log probability of each sample, normalised: `logsumexp(log_weights) == 0`, `[N]`.
        effective_sample_size: how many independent draws the samples are worth, `[]`; for samplers that
            move, the least over weights, in the bulk.
        pareto_k: shape of the tail of the importance weights (Vehtari et al. 2024): above 0.7 the
            samples are not to be trusted, whatever the effective sample size says.  NaN where nothing
            was importance-sampled.
        prior_mean: mean of each weight before the evidence, `[K]`.
        prior_sd: its standard deviation, `[K]`.
        prior_sample: a few equally weighted draws from the prior, `[P, K]`, for _plots.
        prior_parameters: the same draws of everything in `parameters`, each `[P, ...]`.
        prior_covariance: of the prior, `[K, K]`, where it is one whose weights go together (a multivariate normal or
            Student's); None where they are taken to be independent.
        feature_covariance: covariance of the alternatives' feature expectations, summed over the
            evidence, `[K, K]`; None if some evidence has none.  Its null space is what the evidence
            says nothing about.
        told: what the evidence was able to tell, where all of it says so (`ird.evidence.fisher`): "information"
            `[K, K]`, and of the E pieces that show behaviour "normal" `[E, K]`, "gains" `[E, K]`, "reference" `[K]`.
        parameters: posterior samples of anything else that was unknown, such as "beta", each `[N, ...]`.
        diagnostics: what a sampler says about itself: for chains "r_hat", "ess_bulk" and "ess_tail" `[K]`
            (of a parameter "r_hat beta", ...) and "divergences" `[]`.
        sample_stats: what it noted at each sample, by arviz's names, such as "diverging", each `[N]`.
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
    prior_covariance: Float[Array, " K K"] | None = None
    feature_covariance: Float[Array, " K K"] | None = None
    told: dict[str, Array] = field(default_factory=dict)
    parameters: dict[str, Array] = field(default_factory=dict)
    prior_parameters: dict[str, Array] = field(default_factory=dict)
    diagnostics: dict[str, Array] = field(default_factory=dict)
    sample_stats: dict[str, Array] = field(default_factory=dict)
    feature_names: tuple[str, ...] = field(default=(), metadata={"static": True})
    num_chains: int = field(default=1, metadata={"static": True})

    def __repr__(self) -> str:
        return _summary.head_of(self)

    def _repr_html_(self) -> str | None:
        """The summary's table for notebooks; nothing for a batch, or under tracing."""
        alone = np.ndim(self.weights) == 2 and is_concrete(self.weights)
        return self.summary()._repr_html_() if alone else None

    def mean(self) -> Float[Array, " K"]:
        """Posterior mean of each weight, `[K]`."""
        return moments(self.weights, self.log_weights)[0]

    def covariance(self) -> Float[Array, " K K"]:
        """Posterior covariance of the weights, `[K, K]`."""
        centred = self.weights - self.mean()[None]
        p = jnp.exp(self.log_weights)[:, None]
        return jnp.matmul((p * centred).T, centred, precision=jax.lax.Precision.HIGHEST)

    def sample(self, num_samples: int, *, key: Key[Array, ""]) -> Float[Array, " n K"]:
        """Independent draws from the posterior, `[num_samples, K]`."""
        num_samples = check_count("num_samples", num_samples)
        check_key(key)
        rows = jax.random.choice(key, self.weights.shape[0], (num_samples,), p=jnp.exp(self.log_weights))
        return self.weights[rows]

    def resample(self, num_samples: int, *, key: Key[Array, ""]) -> "Posterior":
        """Equally weighted draws, as a posterior: what the worst case needs.

        Systematic resampling (Kitagawa 1996): a sample of probability p appears ⌊np⌋ or ⌈np⌉ times.

        Args:
            num_samples: how many (static).
            key: a `jax.random.key`.
        """
        num_samples = check_count("num_samples", num_samples)
        check_key(key)
        offset = jax.random.uniform(key, (), self.log_weights.dtype)
        return self._take(systematic(self.log_weights, num_samples, offset))

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
        returns = check_array("returns", returns)
        if returns.shape != self.log_weights.shape:
            raise ValueError(f"returns has shape {returns.shape}; give one per sample, {self.log_weights.shape}.")
        alpha = check_number("alpha", alpha, lambda x: 0 < x <= 1, "it must lie in (0, 1].", dtype=returns.dtype)
        p = jnp.exp(self.log_weights)[jnp.argsort(returns)]
        before = jnp.cumsum(p) - p
        tail = jnp.clip(alpha - before, 0, p)
        return jnp.sum(tail) ** 2 / jnp.sum(tail**2)

    def summary(self) -> _summary.Summary:
        """A table of what was learnt of each weight, with warnings and what the evidence could not tell.

        Printing it prints the table; its fields hold the same numbers.
        """
        return _summary.summarise(self)

    def warnings(self) -> tuple[str, ...]:
        """What makes this posterior untrustworthy; of a batch, each with the number of its posterior."""
        return _summary.warnings_of(self)

    def plot(self, axes=None, *, prior: Distribution | None = None):
        """Draw each weight's and parameter's posterior against its prior; returns the matplotlib figure.

        There are as many bars as the samples' effective number can fill.

        Args:
            axes: one matplotlib axes per weight, and one per parameter if there are any; a new figure
                when None.
            prior: the weights' prior, where it is known and they are independent under it: drawn as its density,
                not as the draws that the posterior keeps of it.
        """
        return _plots.plot(self, axes, prior)

    def plot_pairs(self, names=None):
        """Draw every pair of weights and parameters, posterior over prior; returns the matplotlib figure.

        What no marginal shows: which combinations the evidence fixed, and ridges along which it did not.

        Args:
            names: which weights and parameters, by name; the first six when None.

        Raises:
            ValueError: for a name that is neither, or fewer than two.
        """
        return _plots.plot_pairs(self, names)

    def to_arviz(self, num_samples: int | None = None):
        """The posterior for arviz: an `InferenceData` (arviz 0.x) or a `DataTree` (arviz 1.x).

        Chains, parameters, prior draws and the sampler's notes (such as "diverging") go along.
        Unequally weighted samples are resampled first, since arviz knows none.

        Args:
            num_samples: how many equally weighted draws; when None all of them, or at most 4,000 of
                those that have to be resampled.

        Raises:
            ImportError: if arviz is not installed.
        """
        return _export.to_arviz(self, num_samples)

    def save(self, path: str | PathLike[str]) -> None:
        """Write everything to one `.npz` file, to the bit; `Posterior.load` reads it.

        Args:
            path: the file, replaced if it is there; no ending is added.
        """
        _export.save_npz(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "Posterior":
        """Read a posterior, or a batch of them, that `save` wrote.

        Args:
            path: the file.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it is no such file, is of another format, holds arrays of sizes that do not belong
                together, or holds float64 while JAX runs in float32.
        """
        return _export.load_npz(cls, path)

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
            sample_stats={},
            num_chains=1,
        )
