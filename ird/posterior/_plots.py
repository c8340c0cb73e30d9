"""A posterior in pictures: each marginal against its prior, and every pair."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution, Independent

from ird.posterior._summary import check_single, columns_of, summarise

if TYPE_CHECKING:
    from ird.posterior._importance import Posterior

_PRIOR, _POSTERIOR = "0.82", "C0"
_MOST_PAIRS = 6
_BINS = 36  # per axis of a pair
# Shares of the probability that the contours of a pair enclose.
_SHARES = (0.5, 0.9)


def plot(belief: "Posterior", axes=None, prior=None):
    """Histograms of each weight and parameter, the prior behind the posterior; returns the matplotlib figure."""
    plt = _pyplot("plot")
    table = summarise(belief)
    K = belief.weights.shape[1]
    p = np.exp(np.asarray(belief.log_weights, np.float64))
    names, columns, draws = _to_draw(belief)
    count, own = columns.shape[1], axes is None
    if axes is None:
        wide = min(count, 4)
        rows = -(-count // wide)
        size = (9.0 * wide / 4 if wide > 2 else 3.2 * wide, 2.4 * rows + 0.2)
        _, axes = plt.subplots(rows, wide, figsize=size, squeeze=False, layout="constrained")
    axes = np.ravel(axes)
    if len(axes) < count:
        what = f"one per weight, {K}" + (f", and one per parameter, {count - K}" if count > K else "")
        raise ValueError(f"axes has {len(axes)} axes; give {what}.")
    for k, ax in enumerate(axes[:count]):
        low, high = _range(columns[:, k], draws[:, k], p)
        bins = np.linspace(low, high, _bins(belief) + 1)
        known = _density(prior, k, np.linspace(low, high, 201)) if k < K else None
        if known is not None:
            ax.fill_between(np.linspace(low, high, 201), known, color=_PRIOR, linewidth=0, label="prior")
        elif np.isfinite(draws[:, k]).all():
            ax.hist(draws[:, k], bins=bins, density=True, color=_PRIOR, label="prior")
        line = {"histtype": "step", "linewidth": 1.6, "color": _POSTERIOR, "label": "posterior"}
        ax.hist(columns[:, k], bins=bins, weights=p, density=True, **line)
        mean = p @ columns[:, k] / p.sum()
        ax.axvline(mean, ymax=0.78, color=_POSTERIOR, linewidth=1.2, linestyle=":", label="its mean")
        ax.set_title(names[k] + (" (unseen)" if names[k] in table.unseen else ""), fontsize=10)
        if not own or count > K:
            ax.set_xlabel("reward per unit" if k < K else "parameter", fontsize=9)
        ax.tick_params(labelsize=8)
        ax.set_yticks([])
        ax.set_ylim(top=1.28 * ax.get_ylim()[1])  # room for the legend
        for side in ("left", "top", "right"):
            ax.spines[side].set_visible(False)
    for ax in axes[count:]:
        ax.set_axis_off()
    axes[0].legend(fontsize=8, frameon=False, ncols=3, loc="upper left", handlelength=1.2, columnspacing=0.8)
    figure = axes[0].figure
    if own and count == K:
        figure.supxlabel("reward per unit", fontsize=9)
    return figure


def _bins(belief: "Posterior") -> int:
    """How many bars a histogram of the samples can fill: 2 n^(1/3) for n independent draws (Rice's rule)."""
    return int(np.clip(round(2 * float(belief.effective_sample_size) ** (1 / 3)), 8, 30))


def _density(prior, k: int, points: np.ndarray) -> np.ndarray | None:
    """The density of weight k where the prior's weights are independent of each other; None where it is not known."""
    base = prior
    while isinstance(base, Independent):
        base = base.base_dist
    if not isinstance(base, Distribution) or base.support is None or base.event_shape or len(base.batch_shape) != 1:
        return None
    K = base.batch_shape[0]
    at = jnp.asarray(np.repeat(points[:, None], K, axis=1), jnp.result_type(float))
    inside = np.asarray(jax.vmap(base.support)(at))
    return np.where(inside, np.exp(np.asarray(jax.vmap(base.log_prob)(at), np.float64)), 0.0)[:, k]


def plot_pairs(belief: "Posterior", names=None):
    """Every pair of weights and parameters as contours over the prior's draws; returns the matplotlib figure."""
    check_single(belief)
    known = columns_of(belief)[0]
    if names is not None and (isinstance(names, str) or not isinstance(names, Iterable)):
        raise ValueError(f"names is {names!r}; give a sequence of some of {known}.")
    names = known[:_MOST_PAIRS] if names is None else tuple(names)
    strange = [name for name in names if name not in known]
    if strange:
        raise ValueError(f"names: there is no weight or parameter {strange[0]!r}; there are {known}.")
    if len(names) < 2:
        raise ValueError(f"names is {names}; a pair needs two of {known}.")
    plt = _pyplot("plot_pairs")
    from matplotlib.lines import Line2D

    shown, columns, prior = _to_draw(belief)
    chosen = [known.index(name) for name in names]
    p = np.exp(np.asarray(belief.log_weights, np.float64))
    limits = [_range(columns[:, k], prior[:, k], p) for k in chosen]
    n = len(chosen)
    figure, axes = plt.subplots(n, n, figsize=(1.0 + 1.75 * n, 0.8 + 1.75 * n), squeeze=False, layout="constrained")
    few = np.random.default_rng(0).permutation(len(prior))[:400]
    for i, row in enumerate(chosen):
        for j, column in enumerate(chosen):
            ax = axes[i, j]
            if j > i:
                ax.set_axis_off()
                continue
            if i == j:
                bins = np.linspace(limits[i][0], limits[i][1], _bins(belief) + 1)
                if np.isfinite(prior[:, row]).all():
                    ax.hist(prior[:, row], bins=bins, density=True, color=_PRIOR, label="prior")
                line = {"histtype": "step", "linewidth": 1.6, "color": _POSTERIOR, "label": "posterior"}
                ax.hist(columns[:, row], bins=bins, weights=p, density=True, **line)
                ax.set_yticks([])
            else:
                ax.plot(prior[few, column], prior[few, row], ".", color=_PRIOR, markersize=2.5)
                _contours(ax, columns[:, column], columns[:, row], p, limits[j], limits[i])
                ax.set_ylim(*limits[i])
            ax.set_xlim(*limits[j])
            for side in ("top", "right", *(("left",) if i == j else ())):
                ax.spines[side].set_visible(False)
            ax.tick_params(labelsize=8, labelbottom=i == n - 1, labelleft=j == 0 and i > 0)
            if i == n - 1:
                ax.set_xlabel(shown[column], fontsize=10)
            if j == 0 and i > 0:
                ax.set_ylabel(shown[row], fontsize=10)
    axes[0, 0].set_title(shown[chosen[0]], fontsize=10)
    note = f"posterior: contours hold {', '.join(f'{s:.0%}' for s in _SHARES)}"
    handles = [
        Line2D([], [], color=_PRIOR, marker=".", linestyle="", markersize=8, label="prior"),
        Line2D([], [], color=_POSTERIOR, linewidth=1.6, label=note),
    ]
    figure.legend(handles=handles, loc="upper right", fontsize=9, frameon=False)
    return figure


def _contours(ax, x, y, p, x_range, y_range) -> None:
    """Contours of a weighted, smoothed histogram that enclose the shares `_SHARES` of its probability."""
    edges = [np.linspace(low, high, _BINS + 1) for low, high in (x_range, y_range)]
    heights = np.histogram2d(x, y, bins=edges, weights=p)[0]
    bell = np.exp(-0.5 * (np.arange(-4, 5) / 1.25) ** 2)
    inside = np.convolve(np.ones(_BINS), bell, mode="same")  # at the edges part of the bell lies outside
    for _ in range(2):  # smooth along one axis, turn, and along the other
        heights = np.stack([np.convolve(row, bell, mode="same") / inside for row in heights]).T
    ordered = np.sort(heights.ravel())[::-1]
    total = np.cumsum(ordered)
    levels = sorted({ordered[min(np.searchsorted(total, s * total[-1]), len(ordered) - 1)] for s in _SHARES})
    middle = [(e[1:] + e[:-1]) / 2 for e in edges]
    ax.contourf(*middle, heights.T, levels=[levels[0], np.inf], colors=[_POSTERIOR], alpha=0.15)
    ax.contour(*middle, heights.T, levels=levels, colors=_POSTERIOR, linewidths=1.2)


def _to_draw(belief):
    """`columns_of`, with the logarithm of positive parameters that spread over orders of magnitude."""
    names, columns, prior = columns_of(belief)
    names, K = list(names), belief.weights.shape[1]
    for k in range(K, len(names)):
        both = [columns[:, k], prior[np.isfinite(prior[:, k]), k]]
        spread = [np.quantile(x, 0.975) / np.quantile(x, 0.025) for x in both if x.size and (x > 0).all()]
        if len(spread) == len([x for x in both if x.size]) and max(spread) > 20:
            names[k] = f"log₁₀ {names[k]}"
            columns[:, k], prior[:, k] = np.log10(columns[:, k]), np.log10(prior[:, k])
    return tuple(names), columns, prior


def _range(posterior, prior, p) -> tuple[float, float]:
    """From where to where to draw: most of the prior and all of the posterior that carries weight."""
    seen = np.concatenate([prior[np.isfinite(prior)], posterior[p > 0.01 * p.max()]])
    low, high = np.quantile(seen, (0.002, 0.998))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _pyplot(method: str):
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f"Posterior.{method} needs matplotlib: pip install 'inverse-reward-design[plot]'.") from error
    return plt
