"""A proxy, three comparisons and one press of the off-switch: every piece of evidence narrows the posterior.

A designer wrote a proxy for a garden without a pond. In the next garden there is one. People then
compare three pairs of walks and switch the robot off once; each says something the proxy could not.

    python -m examples.mixed_evidence
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
from rich.table import Table

from examples import _report, _style
from ird import ProxyReward, information, posterior
from ird.evidence import Comparison, OffSwitch
from ird.posterior import Posterior
from mdps import GridWorld

LEGEND = {"S": "path", ".": "path", "g": "grass", "w": "pond", "G": "shed"}
TRAIN = "S.gg\n..gg\n...G"
FIELD = "S.ww\n.gw.\n...G"
# Walks in the field, as (row, column) of each step; the shed keeps the robot.
ROUND = [(0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (2, 3), (2, 3)]
GRASS = [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (2, 3), (2, 3)]
POND = [(0, 0), (0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (2, 3)]
EDGE = [(0, 0), (0, 1), (1, 1), (1, 2), (1, 3), (2, 3), (2, 3)]
COLOURS = (_style.BLUE, _style.GREEN, _style.ORANGE)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.mixed_evidence",
        description="Combine a proxy reward, three comparisons of walks and one press of the off-switch; print what "
        "each piece taught, save a picture of the marginals and manifest.json.",
    )
    parser.add_argument("--samples", type=int, default=20_000, help="samples of the prior (default %(default)s)")
    parser.add_argument("--beta", type=float, default=5.0, help="how well people choose, in 1/return (default 5)")
    parser.add_argument("--seed", type=int, default=0, help="all chance follows from it (default 0)")
    parser.add_argument("--out", type=Path, default=Path("out/mixed_evidence"), help="folder (default %(default)s)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began = time.perf_counter()
    options = parse(arguments)
    grids = [GridWorld.from_text(text, LEGEND, horizon=len(ROUND)) for text in (TRAIN, FIELD)]
    train, field = grids
    drawn, key = jax.random.split(jax.random.key(options.seed))
    prior = dist.Uniform(-1, 1).expand([train.mdp.num_features]).to_event(1)
    written = train.weights(grass=-0.3, shed=1.0)
    rewards = jnp.concatenate([written[None], prior.sample(drawn, (300,))])

    walks = [[int(field.cell[r, c]) for r, c in walk] for walk in (ROUND, GRASS, POND, EDGE)]
    around, over_grass, through, edge = walks
    compare = [
        Comparison.of_paths(field.mdp, a, b, beta=options.beta)
        for a, b in ((around, through), (over_grass, edge), (around, over_grass))
    ]
    proxy = ProxyReward(written, train.mdp, beta=options.beta, alternatives=rewards)
    switch = OffSwitch(field.mdp, through, step=1, beta=options.beta)
    steps = {"prior": [], "+ proxy": [proxy], "+ three comparisons": [proxy, *compare]}
    steps["+ off-switch"] = [proxy, *compare, switch]

    table = Table(
        title="What each piece taught: mean ± standard deviation of each weight",
        caption="worth: effective sample size; asking: what knowing the reward would add to the return",
    )
    for head in ("evidence", *train.mdp.feature_names, "worth", "asking"):
        table.add_column(head, justify="left" if head == "evidence" else "right", no_wrap=True)
    beliefs, rows = {}, []
    for name, evidence in steps.items():
        belief = posterior.importance(*evidence, prior=prior, num_samples=options.samples, key=key)
        beliefs[name] = belief
        p = np.exp(np.asarray(belief.log_weights))
        mean = p @ np.asarray(belief.weights)
        sd = np.sqrt(p @ (np.asarray(belief.weights) - mean) ** 2)
        few = belief.resample(500, key=key)
        worth = float(information.value_of_information(field.mdp, few).value)
        size = float(belief.effective_sample_size)
        rows.append({"evidence": name, "mean": mean.tolist(), "sd": sd.tolist(), "effective_sample_size": size})
        rows[-1]["value_of_information"] = worth
        cells = [f"{m:+.2f}±{s:.2f}" for m, s in zip(mean, sd, strict=True)]
        table.add_row(name, *cells, f"{size:,.0f}", f"{worth:.2f}")
    console = Console(width=max(100, Console().width))
    console.print(table)
    pictures = [_style.save(draw(beliefs, field), options.out / "mixed_evidence.png")]
    settings = {"samples": options.samples, "beta": options.beta}
    found = {"features": train.mdp.feature_names, "results": rows}
    manifest = _report.save(options.out, began, settings, options.seed, found, pictures=pictures)
    console.print(_report.told(manifest, options.out))
    return manifest


@_style.drawing
def draw(beliefs: dict[str, Posterior], field: GridWorld) -> Figure:
    """The marginal of each weight after each piece of evidence."""
    names = field.mdp.feature_names
    figure, axes = plt.subplots(1, len(names), figsize=(_style.WIDTH, 2.9), layout="constrained")
    bins = np.linspace(-1, 1, 21)
    for k, (axis, name) in enumerate(zip(axes, names, strict=True)):
        axis.fill_between([-1, 1], 0.5, color=_style.PALE, label="prior")  # uniform, so its density is known
        for (label, belief), colour in zip(list(beliefs.items())[1:], COLOURS, strict=True):
            weight, p = np.asarray(belief.weights)[:, k], np.exp(np.asarray(belief.log_weights))
            heights = np.histogram(weight, bins=bins, weights=p, density=True)[0]
            axis.stairs(heights, bins, color=colour, linewidth=2, label=label)
        axis.set_title(name + (" (not in training)" if name == "pond" else ""))
        _style.bare(axis)
    axes[0].set_ylabel("probability density")
    figure.supxlabel("weight, reward per step there", fontsize=10)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=4, loc="outside upper center")
    return figure


if __name__ == "__main__":
    main()
