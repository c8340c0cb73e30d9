"""Every sampler on one posterior that can be summed exactly, the Laplace approximation laid bare, and a ridge.

A designer wrote a proxy for a garden. A fine grid of rewards gives the exact posterior; each sampler
should agree with it within its own error. The raw Laplace Gaussian does not.

    python -m examples.samplers
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from examples import _report, _style
from ird import ProxyReward, posterior
from ird.evidence import Comparison
from ird.posterior import Posterior
from mdps import GridWorld

LEGEND = {"S": "path", ".": "path", "g": "grass", "G": "shed"}
TRAIN = "S.gg.\n..gg.\n.....\ngg..G"
SAMPLERS = ("importance", "laplace", "raw laplace", "nuts", "smc", "exchange")
DRAWN = {"raw laplace": (_style.ORANGE, "--"), "laplace": (_style.GREEN, "-"), "nuts": (_style.BLUE, "-")}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.samplers",
        description="Sample one posterior in every way that ird.posterior offers, beside the exact one; print how far "
        "each is off and what its draws are worth, save two pictures and manifest.json.",
    )
    parser.add_argument("--only", nargs="+", choices=SAMPLERS, default=SAMPLERS, help="these samplers (default: all)")
    parser.add_argument(
        "--cells", type=int, default=60, help="grid points per weight of the exact posterior (default 60)"
    )
    parser.add_argument("--beta", type=float, default=1.0, help="how well the designer chose, in 1/return (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="all chance follows from it (default 0)")
    parser.add_argument("--out", type=Path, default=Path("out/samplers"), help="folder (default %(default)s)")
    return parser.parse_args(arguments)


def sampled(name: str, proxy: ProxyReward, key: jax.Array) -> Posterior:
    """The posterior by one of the samplers, from a uniform prior over a box."""
    settings = {"prior": dist.Uniform(-1, 1).expand([3]).to_event(1), "key": key}
    if name == "importance":
        return posterior.importance(proxy, num_samples=10_000, **settings)
    if name == "laplace":
        return posterior.laplace(proxy, num_samples=4_000, **settings)
    if name == "raw laplace":
        return posterior.laplace(proxy, num_samples=4_000, weighted=False, **settings)
    if name == "nuts":
        return posterior.nuts(proxy, **settings)
    if name == "smc":
        return posterior.smc(proxy, num_samples=4_000, **settings)
    return posterior.exchange(proxy, num_samples=2_000, **settings)


def ridge(key: jax.Array) -> Posterior:
    """β and the scale of the weights both unknown, from 300 noisy labels: only their product can be learnt."""
    rng = np.random.default_rng(0)
    difference = rng.normal(size=(300, 2))
    preferred = rng.uniform(size=300) < 1 / (1 + np.exp(-difference @ [1.0, -1.0]))
    signed = np.where(preferred[:, None], difference, -difference)
    labels = Comparison(signed, np.zeros_like(signed), feature_names=("path", "grass"))
    prior = dist.Normal(0, 1).expand([2]).to_event(1)
    settings = {"beta": dist.LogNormal(0.0, 1.0), "num_samples": 2500, "target_accept": 0.98}
    return posterior.nuts(labels, prior=prior, key=key, **settings)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began = time.perf_counter()
    options = parse(arguments)
    train = GridWorld.from_text(TRAIN, LEGEND, horizon=8)
    box = dist.Uniform(-1, 1).expand([3]).to_event(1)
    for_proxies, for_ridge, *keys = jax.random.split(jax.random.key(options.seed), 2 + len(SAMPLERS))
    written = train.weights(path=-0.1, grass=-0.5, shed=1.0)
    rewards = jnp.concatenate([written[None], box.sample(for_proxies, (500,))])
    proxy = ProxyReward(written, train.mdp, beta=options.beta, alternatives=rewards)
    middles = (np.arange(options.cells) + 0.5) * 2 / options.cells - 1
    grid = np.stack(np.meshgrid(middles, middles, middles, indexing="ij"), axis=-1).reshape(-1, 3)
    exact = posterior.exact(proxy, candidates=grid)
    truth, sd = np.asarray(exact.mean()), np.sqrt(np.diag(np.asarray(exact.covariance())))

    beliefs, rows = compare(options, proxy, truth, sd, keys)
    console = Console(width=max(100, Console().width))
    console.print(as_table(rows))
    pictures = [_style.save(draw(exact, beliefs, options.cells), options.out / "samplers.png")]
    if "nuts" in options.only:
        pictures.append(_style.save(ridge(for_ridge).plot_pairs(), options.out / "ridge.png"))
    settings = {"only": list(options.only), "cells": options.cells, "beta": options.beta}
    found = {"features": train.mdp.feature_names, "exact": {"mean": truth, "sd": sd}, "results": rows}
    manifest = _report.save(options.out, began, settings, options.seed, found, pictures=pictures)
    console.print(_report.told(manifest, options.out))
    return manifest


def compare(
    options: argparse.Namespace, proxy: ProxyReward, truth: np.ndarray, sd: np.ndarray, keys: Sequence[jax.Array]
) -> tuple[dict[str, Posterior], list[dict[str, Any]]]:
    """Every sampler's posterior, and a row of how far it is off, what its draws are worth and what it took."""
    beliefs, rows = {}, []
    with Progress() as progress:
        for name in progress.track(options.only, description="samplers"):
            key = keys[SAMPLERS.index(name)]
            first = time.perf_counter()
            jax.block_until_ready(sampled(name, proxy, key).weights)
            again = time.perf_counter()
            beliefs[name] = belief = jax.block_until_ready(sampled(name, proxy, key))
            off = (np.asarray(belief.mean()) - truth) / sd
            worth = float(belief.effective_sample_size)
            rows.append(
                {
                    "sampler": name,
                    "draws": belief.weights.shape[0],
                    "worth": worth,
                    "error": float(np.abs(off).max()),
                    "error in standard errors": float(np.abs(off).max() * worth**0.5),
                    "Pareto k": float(belief.pareto_k),
                    "seconds first": again - first,
                    "seconds then": time.perf_counter() - again,
                    "warnings": list(belief.warnings()),
                }
            )
    return beliefs, rows


def as_table(rows: Sequence[dict[str, Any]]) -> Table:
    """The rows for people."""
    table = Table(
        title="One posterior, sampled in every way",
        caption="worth: effective sample size; error: of the worst mean, in posterior standard deviations, and in "
        "standard errors of a mean of that many independent draws",
    )
    heads = ("sampler", "draws", "worth", "error", "in s.e.", "Pareto k", "first, s", "then, s")
    for head in heads:
        table.add_column(head, justify="left" if head == "sampler" else "right")
    for row in rows:
        numbers = (f"{row['draws']:,}", f"{row['worth']:,.0f}", f"{row['error']:.3f}")
        more = (f"{row['error in standard errors']:.1f}", f"{row['Pareto k']:.2f}")
        took = (f"{row['seconds first']:.1f}", f"{row['seconds then']:.2f}")
        table.add_row(row["sampler"], *numbers, *more, *took)
    return table


@_style.drawing
def draw(exact: Posterior, beliefs: dict[str, Posterior], cells: int) -> Figure:
    """The exact marginals, filled, and those of the samplers that have something to show."""
    names = exact.feature_names
    figure, axes = plt.subplots(1, len(names), figsize=(_style.WIDTH, 3.3), layout="constrained")
    bins = np.linspace(-1, 1, min(cells, 24) + 1)

    def heights(belief, k):
        p = np.exp(np.asarray(belief.log_weights, np.float64))
        return np.histogram(np.asarray(belief.weights)[:, k], bins=bins, weights=p / p.sum(), density=True)[0]

    for k, (axis, name) in enumerate(zip(axes, names, strict=True)):
        axis.stairs(heights(exact, k), bins, fill=True, color=_style.PALE, label="exact")
        for sampler, belief in beliefs.items():
            if sampler in DRAWN or len(beliefs) == 1:
                colour, line = DRAWN.get(sampler, (_style.BLUE, "-"))
                label = {"laplace": "laplace, weighted", "raw laplace": "raw Laplace Gaussian"}.get(sampler, sampler)
                axis.stairs(heights(belief, k), bins, color=colour, linestyle=line, linewidth=1.6, label=label)
        axis.set_title(name)
        axis.set_xlabel("weight, reward per step there")
        _style.bare(axis)
    axes[0].set_ylabel("probability density")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=4, loc="outside upper center")
    return figure


if __name__ == "__main__":
    main()
