"""A proxy, three comparisons and one press of the off-switch: every piece of evidence narrows the posterior.

A designer wrote a proxy for a garden without a pond. In the next garden there is one. People then
compare three pairs of walks and switch the robot off once; each says something the proxy could not.

    python -m examples.mixed_evidence
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from rich.console import Console
from rich.table import Table

from examples._report import rounded, versions
from ird import ProxyReward, information, posterior
from ird.evidence import Comparison, OffSwitch
from mdps import GridWorld

LEGEND = {"S": "path", ".": "path", "g": "grass", "w": "pond", "G": "shed"}
TRAIN = "S.gg\n..gg\n...G"
FIELD = "S.ww\n.gw.\n...G"
# Walks in the field, as (row, column) of each step; the shed keeps the robot.
ROUND = [(0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (2, 3), (2, 3)]
GRASS = [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (2, 3), (2, 3)]
POND = [(0, 0), (0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (2, 3)]
EDGE = [(0, 0), (0, 1), (1, 1), (1, 2), (1, 3), (2, 3), (2, 3)]
COLOURS = ("#999999", "#0072B2", "#009E73", "#D55E00")


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
    options.out.mkdir(parents=True, exist_ok=True)
    draw(beliefs, field, options.out / "mixed_evidence.png")
    manifest = {
        "settings": {"samples": options.samples, "beta": options.beta},
        "seed": options.seed,
        "versions": versions(),
        "features": list(train.mdp.feature_names),
        "results": rounded(rows),
        "pictures": ["mixed_evidence.png"],
        "seconds": round(time.perf_counter() - began, 1),
    }
    (options.out / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", "utf-8")
    console.print(f"{manifest['seconds']} s; picture and manifest.json in {options.out}/")
    return manifest


def draw(beliefs: dict, field: GridWorld, file: Path) -> None:
    """The field with the walks, and the marginal of each weight after each piece of evidence."""
    import matplotlib.pyplot as plt

    names = field.mdp.feature_names
    figure, axes = plt.subplots(1, len(names), figsize=(3.1 * len(names), 3.2), layout="constrained")
    bins = np.linspace(-1, 1, 26)
    for k, (axis, name) in enumerate(zip(axes, names, strict=True)):
        for (label, belief), colour in zip(beliefs.items(), COLOURS, strict=True):
            weight, p = np.asarray(belief.weights)[:, k], np.exp(np.asarray(belief.log_weights))
            heights = np.histogram(weight, bins=bins, weights=p, density=True)[0]
            axis.stairs(heights, bins, color=colour, linewidth=2 if label != "prior" else 1.2, label=label)
        axis.set_title(name + (" (not in training)" if name == "pond" else ""), fontsize=11)
        axis.set_xlabel("weight, reward per step there")
        axis.set_yticks([])
        for side in ("left", "top", "right"):
            axis.spines[side].set_visible(False)
    axes[0].set_ylabel("probability density")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=4, fontsize=10, frameon=False, loc="outside lower center")
    figure.savefig(file, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main()
