"""A posterior for people: the table with its warnings, the picture, and the way to arviz."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from ird.posterior import Posterior

_ENOUGH_SAMPLES = 100.0
_ENOUGH_R_HAT = 1.01


@dataclass(frozen=True)
class Summary:
    """What was learnt of each weight, how far to trust it, and what the evidence could not tell.

    Attributes:
        names: name of each weight, K of them.
        mean: posterior mean, `[K]`.
        sd: posterior standard deviation, `[K]`.
        quantiles: 5 %, 50 % and 95 % of the posterior, `[3, K]`.
        contraction: 1 - posterior variance / prior variance, `[K]`; 0: nothing was learnt, 1: all;
            negative: the evidence widened it.  NaN where the prior itself is a point.
        r_hat: split R-hat of each weight, `[K]`, or None without chains.
        num_samples: N.
        effective_sample_size: what the N samples are worth.
        pareto_k: tail shape of the importance weights; NaN without importance sampling.
        unseen: features that no alternative's plan changes, by name.
        blind: directions in which all alternatives agree, `[B, K]`, the unseen features left out.
        warnings: what makes this posterior untrustworthy; empty is good.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    sd: np.ndarray
    quantiles: np.ndarray
    contraction: np.ndarray
    r_hat: np.ndarray | None
    num_samples: int
    effective_sample_size: float
    pareto_k: float
    unseen: tuple[str, ...]
    blind: np.ndarray
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        wide = max([len(n) for n in self.names] + [6])
        heads = ["mean", "sd", "5%", "50%", "95%", "contraction"] + (["R-hat"] if self.r_hat is not None else [])
        lines = ["weight".ljust(wide) + "".join(f"{h:>{max(9, len(h) + 2)}}" for h in heads)]
        for k, name in enumerate(self.names):
            row = [self.mean[k], self.sd[k], *self.quantiles[:, k]]
            cells = "".join(f"{x:9.3f}" for x in row) + f"{self.contraction[k]:13.3f}"
            lines.append(name.ljust(wide) + cells + (f"{self.r_hat[k]:9.3f}" if self.r_hat is not None else ""))
        trust = f"{self.num_samples} samples, worth {self.effective_sample_size:.0f}"
        lines += ["", trust if np.isnan(self.pareto_k) else f"{trust}; Pareto k {self.pareto_k:.2f}"]
        if self.unseen:
            lines.append("The evidence says nothing about: " + ", ".join(self.unseen) + ".")
        lines += [f"It says nothing about the direction {_direction(d, self.names)}." for d in self.blind]
        return "\n".join(lines + [f"WARNING: {w}" for w in self.warnings])

    __repr__ = __str__


def summarise(belief: "Posterior") -> Summary:
    """The `Summary` of a posterior, on the host."""
    if np.ndim(belief.weights) != 2:
        raise ValueError(
            f"this is a batch of posteriors (weights {np.shape(belief.weights)}); take one first: "
            "jax.tree.map(lambda x: x[0], belief)."
        )
    weights = np.asarray(belief.weights, np.float64)
    p = np.exp(np.asarray(belief.log_weights, np.float64))
    p = p / p.sum()
    mean = p @ weights
    variance = p @ (weights - mean) ** 2
    prior_variance = np.asarray(belief.prior_sd, np.float64) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        contraction = np.where(prior_variance > 0, 1 - variance / prior_variance, np.nan)
    names = names_of(belief)
    unseen, blind = blind_directions(belief.feature_covariance)
    r_hat = belief.diagnostics.get("r_hat")
    return Summary(
        names=names,
        mean=mean,
        sd=np.sqrt(variance),
        quantiles=_quantiles(weights, p, (0.05, 0.5, 0.95)),
        contraction=contraction,
        r_hat=None if r_hat is None else np.asarray(r_hat),
        num_samples=len(p),
        effective_sample_size=float(belief.effective_sample_size),
        pareto_k=float(belief.pareto_k),
        unseen=tuple(names[k] for k in unseen),
        blind=blind,
        warnings=tuple(_warnings(belief, names)),
    )


def _warnings(belief: "Posterior", names):
    N, size, k = belief.weights.shape[0], float(belief.effective_sample_size), float(belief.pareto_k)
    sampled = not np.isnan(k) or bool(belief.diagnostics)
    if sampled and not size >= _ENOUGH_SAMPLES:
        yield (
            f"{N} samples are worth only {size:.0f} independent draws; means are rough and tails rougher: "
            "draw more samples, or use posterior.nuts."
        )
    limit = min(1 - 1 / np.log10(max(N, 3)), 0.7) if N > 10 else 0.0  # Vehtari et al. 2024, section 3.2.4
    if k > limit:
        yield (
            f"Pareto k is {k:.2f}, above {limit:.2f}: a few samples carry the weight and the error is not what the "
            "sample size suggests; use posterior.nuts, or a prior nearer to the evidence."
        )
    for name, r_hat in zip(names, np.atleast_1d(belief.diagnostics.get("r_hat", ())), strict=False):
        if not r_hat < _ENOUGH_R_HAT:
            yield f"R-hat of {name} is {float(r_hat):.3f}, not below {_ENOUGH_R_HAT}: run the chains longer."
    divergences = int(belief.diagnostics.get("divergences", 0))
    if divergences:
        yield f"{divergences} transitions diverged; raise num_warmup, or use a smoother prior."


def blind_directions(covariance) -> tuple[list[int], np.ndarray]:
    """Features that never vary over the alternatives, and directions of the rest in which they agree.

    The covariance is scaled to unit variances first; eigenvalues within its rounding are zero.

    Returns:
        Indices of the unseen features, and directions `[B, K]` in reduced row echelon form, each
        scaled so that its first entry is 1.
    """
    if covariance is None:
        return [], np.zeros((0, 0))
    eps = float(jnp.finfo(covariance.dtype).eps)
    covariance = np.asarray(covariance, np.float64)
    variance = np.diag(covariance)
    # Plans that visit a feature equally often differ by the rounding of the visits, squared.
    seen = np.flatnonzero(variance > (64 * eps) ** 2 * max(variance.max(initial=0.0), 1.0))
    unseen = [k for k in range(len(variance)) if k not in set(seen)]
    sd = np.sqrt(variance[seen])
    values, vectors = np.linalg.eigh(covariance[np.ix_(seen, seen)] / np.outer(sd, sd))
    null = (vectors[:, values < 64 * eps * max(len(seen), 1)] / sd[:, None]).T
    blind = np.zeros((len(null), len(variance)))
    blind[:, seen] = _echelon(null)
    return unseen, blind


def _echelon(rows: np.ndarray) -> np.ndarray:
    """Reduced row echelon form with the largest pivots first, for rows of full rank."""
    rows = rows.copy()
    used: list[int] = []
    for i in range(len(rows)):
        columns = np.abs(rows[i])
        columns[used] = 0
        j = int(np.argmax(columns > 0.5 * columns.max()))
        used.append(j)
        rows[i] /= rows[i, j]
        others = [r for r in range(len(rows)) if r != i]
        rows[others] -= np.outer(rows[others, j], rows[i])
    rows[np.abs(rows) < 1e-3 * np.abs(rows).max(axis=1, initial=0.0, keepdims=True)] = 0
    return rows


def _direction(direction: np.ndarray, names: tuple[str, ...]) -> str:
    text = ""
    for k in np.flatnonzero(direction):
        size = abs(direction[k])
        sign = ("- " if direction[k] < 0 else "+ ") if text else ("-" if direction[k] < 0 else "")
        text += f" {sign}" if text else sign
        text += names[k] if abs(size - 1) < 0.005 else f"{size:.2f} {names[k]}"
    return text


def names_of(belief: "Posterior") -> tuple[str, ...]:
    """The weights' names, numbered where the posterior has none."""
    return belief.feature_names or tuple(f"weight {k}" for k in range(belief.weights.shape[-1]))


def _quantiles(weights: np.ndarray, p: np.ndarray, at: tuple[float, ...]) -> np.ndarray:
    out = np.empty((len(at), weights.shape[1]))
    for k in range(weights.shape[1]):
        order = np.argsort(weights[:, k])
        total = np.cumsum(p[order])
        out[:, k] = weights[order[np.minimum(np.searchsorted(total, np.multiply(at, total[-1])), len(p) - 1)], k]
    return out


def plot(belief: "Posterior", axes=None):
    """Histograms of each weight, the prior behind the posterior; returns the matplotlib figure."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("Posterior.plot needs matplotlib: pip install 'inverse-reward-design[plot]'.") from error
    table = summarise(belief)
    K = len(table.names)
    if axes is None:
        columns = min(K, 4)
        rows = -(-K // columns)
        _, axes = plt.subplots(rows, columns, figsize=(2.9 * columns, 2.3 * rows), squeeze=False, layout="constrained")
    axes = np.ravel(axes)
    if len(axes) < K:
        raise ValueError(f"axes has {len(axes)} axes; give one per weight, {K}.")
    weights, p = np.asarray(belief.weights), np.exp(np.asarray(belief.log_weights))
    prior = np.asarray(belief.prior_sample)
    for k, ax in enumerate(axes[:K]):
        ends = np.quantile(np.concatenate([prior[:, k], weights[p > 0.01 * p.max(), k]]), (0.002, 0.998))
        low, high = ends if ends[1] > ends[0] else ends + np.array([-0.5, 0.5])
        bins = np.linspace(low, high, 31)
        ax.hist(prior[:, k], bins=bins, density=True, color="0.82", label="prior")
        line = {"histtype": "step", "linewidth": 1.6, "color": "C0", "label": "posterior"}
        ax.hist(weights[:, k], bins=bins, weights=p, density=True, **line)
        ax.axvline(table.mean[k], color="C0", linewidth=1, linestyle=":")
        ax.set_title(table.names[k] + (" (unseen)" if table.names[k] in table.unseen else ""), fontsize=10)
        ax.set_xlabel("reward per unit", fontsize=8)
        ax.tick_params(labelsize=8)
        ax.set_yticks([])
        ax.set_ylim(top=1.2 * ax.get_ylim()[1])  # room for the legend
        for side in ("left", "top", "right"):
            ax.spines[side].set_visible(False)
    for ax in axes[K:]:
        ax.set_axis_off()
    axes[0].legend(fontsize=8, frameon=False)
    return axes[0].figure


def to_arviz(belief: "Posterior", num_samples: int | None = None):
    """An arviz object with the posterior, its prior draws, and the sampler's diagnostics."""
    try:
        import arviz as az
    except ImportError as error:
        raise ImportError("Posterior.to_arviz needs arviz: pip install 'inverse-reward-design[arviz]'.") from error
    log_weights = np.asarray(belief.log_weights)
    chains = belief.num_chains
    if num_samples is not None or np.ptp(log_weights) > 1e-6:
        num_samples = min(len(log_weights), 4000) if num_samples is None else num_samples
        belief = belief.resample(num_samples, key=jax.random.key(0))
        chains = 1

    def by_chain(x):
        return np.asarray(x).reshape(chains, -1, *np.shape(x)[1:])

    data = {
        "posterior": {"weights": by_chain(belief.weights)} | {k: by_chain(x) for k, x in belief.parameters.items()},
        "prior": {"weights": np.asarray(belief.prior_sample)[None]},
    }
    coords = {"feature": list(names_of(belief))}
    dims = {"weights": ["feature"]}
    if az.__version__.startswith("0."):
        return az.from_dict(**data, coords=coords, dims=dims)
    return az.from_dict(data, coords=coords, dims=dims)
