"""Labels with a bias: what a labeller's wish to be agreed with does to a reward learnt from comparisons.

People compare pairs of answers by how correct and how clear they are, and prefer what agrees with them by κ
(in log-odds). Where their views are right, agreeing and being correct are one; a fit that knows no κ takes the
one for the other. Asking half of the questions with the view flipped tells them apart. Beside it, labels by a
written list of principles: what the list forgot is not learnt.

    python -m examples.biased_labels
"""

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from examples import _report, _style
from ird import posterior
from ird.evidence import Comparison

NAMES = ("correct", "clear")
TRUTH = jnp.asarray([1.0, 1.0])
BIASES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
UNKNOWN = jnp.linspace(0, 6, 13)  # what κ may be, where the fit allows for one
GRID = jnp.stack(jnp.meshgrid(jnp.linspace(-2, 7, 37), jnp.linspace(-2, 4, 25)), axis=-1).reshape(-1, 2)
# (share of pairs whose view is flipped, values of κ that the fit allows)
FITS = {
    "views as they are, κ left out": (0.0, jnp.zeros(1)),
    "views as they are, κ unknown": (0.0, UNKNOWN),
    "half the views flipped, κ left out": (0.5, jnp.zeros(1)),
    "half the views flipped, κ unknown": (0.5, UNKNOWN),
}
COLOURS = (_style.ORANGE, _style.AMBER, _style.SKY, _style.BLUE)
MARKERS = ("o", "s", "v", "^")
PRINCIPLES = ("correct", "clear")
ALL = ("correct", "clear", "kind")


def fit(
    key: jax.Array, bias: jax.Array, flipped: jax.Array, believed: jax.Array, *, pairs: int
) -> tuple[jax.Array, ...]:
    """Mean and standard deviation of both weights after `pairs` comparisons by a labeller of that bias."""
    for_correct, for_clear, for_views, for_labels = jax.random.split(key, 4)
    correct = jax.random.rademacher(for_correct, (pairs,), float)  # one of the two answers is right
    difference = jnp.stack([correct, jax.random.normal(for_clear, (pairs,))], axis=1)
    agrees = jnp.where(jax.random.uniform(for_views, (pairs,)) < flipped, -correct, correct)
    prefers = jax.random.bernoulli(for_labels, jax.nn.sigmoid(difference @ TRUTH + bias * agrees))
    sign = jnp.where(prefers, 1.0, -1.0)
    preferred = sign[:, None] * difference
    seen = Comparison(preferred, jnp.zeros_like(preferred), agrees=sign * agrees, kappa=believed, feature_names=NAMES)
    belief = posterior.exact(seen, candidates=GRID)
    return belief.mean(), jnp.sqrt(jnp.diagonal(belief.covariance()))


def by_principles(key: jax.Array, pairs: int) -> tuple[posterior.Posterior, posterior.Posterior]:
    """The prior over three weights, and the posterior after labels by a list that names two of them."""
    for_weights, for_pairs, for_labels = jax.random.split(key, 3)
    candidates = jax.random.normal(for_weights, (20_000, len(ALL)))
    truth = jnp.asarray([1.0, 1.0, 1.0])
    difference = jax.random.normal(for_pairs, (pairs, len(ALL)))
    named = jnp.asarray([name in PRINCIPLES for name in ALL], float)
    prefers = jax.random.bernoulli(for_labels, jax.nn.sigmoid(difference @ (named * truth)))
    preferred = jnp.where(prefers, 1.0, -1.0)[:, None] * difference
    seen = Comparison(preferred, jnp.zeros_like(preferred), principles=PRINCIPLES, feature_names=ALL)
    return posterior.exact(candidates=candidates), posterior.exact(seen, candidates=candidates)


def quantiles(belief: posterior.Posterior, levels: Sequence[float]) -> np.ndarray:
    """Quantiles of each weight, `[levels, K]`."""
    weights, p = np.asarray(belief.weights, float), np.exp(np.asarray(belief.log_weights, float))
    found = []
    for column in weights.T:
        order = np.argsort(column)
        found.append(np.interp(levels, np.cumsum(p[order]), column[order]))
    return np.array(found).T


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began = time.perf_counter()
    parser = argparse.ArgumentParser(
        prog="python -m examples.biased_labels",
        description="Fit a reward to comparisons by a labeller who likes to be agreed with, with and without allowing "
        "for it; and to labels by a written list of principles. Prints a table, saves a picture and manifest.json.",
    )
    parser.add_argument("--pairs", type=int, default=400, help="comparisons per data set (default %(default)s)")
    parser.add_argument("--repetitions", type=int, default=20, help="data sets per bias (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="all chance follows from it (default 0)")
    parser.add_argument("--out", type=Path, default=Path("out/biased_labels"), help="folder (default %(default)s)")
    options = parser.parse_args(arguments)
    if min(options.pairs, options.repetitions) < 1:
        parser.error("--pairs and --repetitions must be at least 1")
    key = jax.random.key(options.seed)
    console = Console(width=max(125, Console().width))

    rows: list[dict[str, Any]] = []
    keys = jax.random.split(key, options.repetitions)
    many = jax.jit(jax.vmap(partial(fit, pairs=options.pairs), in_axes=(0, None, None, None)))
    with console.status("fitting"):
        for name, (flipped, believed) in FITS.items():
            for bias in BIASES:
                mean, sd = (np.asarray(x) for x in many(keys, bias, flipped, believed))
                row: dict[str, Any] = {"fit": name, "bias": bias}
                for k, feature in enumerate(NAMES):
                    row[feature] = {"mean": mean[:, k].mean(), "spread": mean[:, k].std(), "sd": sd[:, k].mean()}
                rows.append(row)
        prior, labelled = by_principles(jax.random.fold_in(key, 1), options.pairs)
    levels = (0.05, 0.5, 0.95)
    intervals = {"levels": levels, "prior": quantiles(prior, levels), "labelled": quantiles(labelled, levels)}
    unseen = labelled.summary().unseen

    table = Table(title=f"Weight of 'correct' (truth {float(TRUTH[0]):g}): mean over data sets ± mean posterior s.d.")
    for head in ("fit", *(f"κ = {bias:g}" for bias in BIASES)):
        table.add_column(head, justify="left" if head == "fit" else "right", no_wrap=True)
    for name in FITS:
        mine = [row["correct"] for row in rows if row["fit"] == name]
        table.add_row(name, *(f"{each['mean']:.1f}±{each['sd']:.1f}" for each in mine))
    console.print(table)
    console.print(f"Labels by {', '.join(PRINCIPLES)} say nothing about: {', '.join(unseen)}.")
    pictures = [_style.save(draw(rows, intervals), options.out / "biased_labels.png")]
    settings = {"pairs": options.pairs, "repetitions": options.repetitions, "truth": TRUTH.tolist()}
    found = {"results": rows, "principles": intervals | {"unseen": unseen}}
    manifest = _report.save(options.out, began, settings, options.seed, found, pictures=pictures)
    console.print(_report.told(manifest, options.out))
    return manifest


@_style.drawing
def draw(rows: list[dict[str, Any]], intervals: dict[str, Any]) -> Figure:
    """The leak and its repair against the bias, for both weights; and what a forgotten principle teaches."""
    figure, axes = plt.subplots(1, 3, figsize=(_style.WIDTH, 4.0), layout="constrained", width_ratios=(1, 1, 0.9))
    for axis, name, truth in zip(axes, NAMES, TRUTH.tolist(), strict=False):
        axis.axhline(truth, color=_style.INK, linewidth=1, linestyle=":", label="truth")
        for i, (label, colour, marker) in enumerate(zip(FITS, COLOURS, MARKERS, strict=True)):
            mine = [row for row in rows if row["fit"] == label]
            x = np.array([row["bias"] for row in mine]) + 0.04 * (i - 1.5)
            y, error = ([row[name][key] for row in mine] for key in ("mean", "sd"))
            axis.errorbar(x, y, error, color=colour, marker=marker, linewidth=1.5, label=label)
        axis.set_title(f"Weight of '{name}'")
        axis.set_xlabel("labeller's bias κ (log-odds)")
        axis.grid()
    axes[0].set_ylabel("posterior mean ± s.d.\n(log-odds per unit)")
    figure.legend(*axes[0].get_legend_handles_labels(), ncols=2, loc="outside lower left")
    _principles(axes[2], intervals)
    return figure


def _principles(axis, intervals: dict[str, Any]) -> None:
    """The 90 % intervals of three weights before and after labels by a list that names two of them."""
    places = np.arange(len(ALL))[::-1]
    for shift, kind, colour, label in (
        (0.14, "prior", _style.GREY, "prior"),
        (-0.14, "labelled", _style.PINK, "posterior"),
    ):
        low, middle, high = intervals[kind]
        axis.hlines(places + shift, low, high, color=colour, linewidth=4)
        axis.plot(middle, places + shift, "|", color=_style.INK, markersize=10)
        axis.annotate(label, (middle[0], places[0] + shift), (0, 6 if shift > 0 else -14), color=colour,
                      textcoords="offset points", ha="center", fontsize=9, fontweight="bold")  # fmt: skip
    axis.axvline(1.0, color=_style.INK, linewidth=1, linestyle=":")
    axis.annotate("truth", (1.0, -0.5), (3, 0), textcoords="offset points", fontsize=9)
    axis.set_yticks(places, [name if name in PRINCIPLES else f"{name}\n(not on\nthe list)" for name in ALL])
    axis.set_ylim(-0.55, len(ALL) - 0.4)
    axis.set_title(f"Labels by a list: {', '.join(PRINCIPLES)}")
    axis.set_xlabel("weight (log-odds per unit),\n90 % interval and median")


if __name__ == "__main__":
    main()
