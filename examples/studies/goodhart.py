"""How often optimising a written reward lowers the meant one, by the angle between them; what an early stop saves.

Random MDPs; a meant reward at an angle from the written one, uniform on 0 to 180 degrees. Followed by steepest ascent
and by falling temperature; with the early stop that knows the angle, and without. Some minutes on two cores:

    python -m examples.studies.goodhart --out docs/studies
"""

import argparse
import itertools
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich.console import Console

from examples import _report, _style
from ird import alignment, goodhart
from mdps import MDP

EDGES = (0, 30, 60, 90, 120, 180)
SIZES = ([4, 8], [2, 3])  # least and most states, and actions
SMALL = ([5, 5], [2, 2])  # one program
DISCOUNTS = (0.5, 0.7, 0.9, 0.99)
NOTHING = 1e-3  # of all that the meant reward can differ by: what counts as no drop
TEMPERATURES = np.geomspace(100, 1e-3, 60)
WRITTEN = np.array([1.0, 0.0])
HEADS = ("angle", "MDPs", "drop, ascent", "drop, temperature", "height", "drop, early stop", "gain stopped", "gain")


def drawn(rng: np.random.Generator, states: Sequence[int], actions: Sequence[int]) -> tuple[MDP, np.ndarray, float]:
    """A random MDP with two random rewards as features, a meant reward in their plane, and its angle in degrees."""
    S, A = (int(rng.integers(low, high + 1)) for low, high in (states, actions))
    moved = np.maximum(rng.dirichlet(np.full(S, 0.3), (S, A)), 1e-12)
    moved /= moved.sum(axis=2, keepdims=True)
    gamma = float(rng.choice(DISCOUNTS))
    mdp = MDP.from_dense(moved, rng.normal(size=(S, A, 2)), np.full(S, 1 / S), discount=gamma)
    gram, angle = np.asarray(alignment.geometry(mdp).gram), rng.uniform(0, np.pi)
    across = np.array([-gram[0, 1] / gram[0, 0], 1.0]) * rng.choice([-1, 1])
    across /= np.sqrt(across @ gram @ across)
    return mdp, np.cos(angle) * WRITTEN / np.sqrt(gram[0, 0]) + np.sin(angle) * across, angle


def followed(mdp: MDP, meant: np.ndarray, angle: float) -> dict[str, float]:
    """What happens to the meant reward on the way, in shares of all that it can differ by."""
    curve = goodhart.by_temperature(mdp, WRITTEN, meant, TEMPERATURES)
    path = goodhart.ascend(mdp, WRITTEN)
    span = float(curve.span)
    returns = np.sum(np.asarray(path.occupancies) * (np.asarray(mdp.features) @ meant)[None], axis=(1, 2))
    returns = returns * float(mdp.total_visits) / span
    stop = int(path.stop(angle))
    walked = returns[: stop + 1]
    return {
        "angle": float(np.degrees(angle)),
        "ascent": float(returns.max() - returns[-1]),
        "temperature": float(curve.drop) / span,
        "stopped": float(walked.max() - walked[-1]),
        "fell": float(np.diff(walked).min(initial=0.0)),
        "gain stopped": float(walked[-1] - returns[0]),
        "gain": float(returns[-1] - returns[0]),
        "steps": len(returns) - 1,
    }


def binned(rows: list[dict[str, float]]) -> list[dict[str, Any]]:
    """Shares and means by bins of the angle."""
    angle = np.array([row["angle"] for row in rows])
    table = []
    for low, high in itertools.pairwise(EDGES):
        mine = {key: np.array([r[key] for r, a in zip(rows, angle, strict=True) if low <= a < high]) for key in rows[0]}
        if len(mine["angle"]) == 0:
            continue
        shares = {key: _report.mean_and_error(mine[key] > NOTHING) for key in ("ascent", "temperature", "stopped")}
        means = {key: _report.mean_and_error(mine[key]) for key in ("gain stopped", "gain")}
        row = {"low": low, "high": high, "MDPs": len(mine["angle"]), "height": _report.mean_and_error(mine["ascent"])}
        table.append(row | {f"share {key}": x for key, x in shares.items()} | means)
    return table


def page(made: dict[str, Any]) -> str:
    """The study as a page."""
    told, settings = made["overall"], made["settings"]

    def between(name: str) -> str:
        low, high = settings[name]
        return f"{low} to {high}" if low < high else f"{low}"

    lines = [
        "# Goodhart: the study",
        "",
        f"Made by `{settings['command']}` (seed {made['seed']}): {settings['mdps']} random MDPs of {between('states')} "
        f"states and {between('actions')} actions, transitions from Dirichlet(0.3), γ from .5, .7, .9 and .99, rewards "
        "of states and actions from N(0, 1). The meant reward lies in the plane of the written one and another such "
        "draw, at an angle uniform on 0° to 180°. A drop is more than a thousandth of all that the meant reward can "
        "differ by; heights and gains are in the same unit. The early stop is told the angle. ± is one standard error.",
        "",
        "![Share of drops and their height by angle, and what the early stop keeps](goodhart.png)",
        "",
        "| " + " | ".join(HEADS) + " |",
        "|---|" + "---:|" * (len(HEADS) - 1),
    ]
    for row in made["bins"]:
        cells = [f"{row['low']}°-{row['high']}°", f"{row['MDPs']}"]
        keys = ("share ascent", "share temperature", "height", "share stopped", "gain stopped", "gain")
        lines.append("| " + " | ".join([*cells, *(_report.plus_minus(*row[key]) for key in keys)]) + " |")
    lines += [
        "",
        f"Before the early stop the meant reward fell on {told['fell']} of {settings['mdps']} MDPs (by more than 1e-9 "
        f"of its unit on any piece of the path). Below 90° the end is worth less than the start on {told['below']:.1%} "
        f"of them without the stop and on {told['below stopped']:.1%} with it; the gain is "
        f"{told['gain stopped']:.2f} with it and {told['gain']:.2f} without. From 90° on the rule is to stop at once. "
        f"A path has {told['steps']:.0f} pieces on average.",
        "",
        "Over all angles a drop is met on "
        f"{told['prevalence']:.1%} of these MDPs. Karwowski et al. (2024) report 19.3% of 30,400 experiments by the "
        "summaries that were at hand. Both numbers are properties of how MDPs and pairs of rewards are drawn, which is "
        "why only what happens at an angle is compared here, and nothing is asserted about either.",
        "",
        "What the numbers mean is on [Goodhart](../goodhart.md).",
    ]
    return "\n".join(x if x[:1] in "|!#" else textwrap.fill(x, 118) for x in lines) + "\n"


@_style.drawing
def draw(made: dict[str, Any]) -> Figure:
    """How often and how far, by angle; and what the early stop keeps of what was gained."""
    figure, (often, far) = plt.subplots(1, 2, figsize=(_style.WIDTH, 3.6), layout="constrained")
    rows = made["bins"]
    at = np.arange(len(rows))
    kinds = (("ascent", _style.ORANGE), ("temperature", _style.AMBER), ("stopped", _style.PURPLE))
    for i, (kind, colour) in enumerate(kinds):
        mean, error = zip(*(row[f"share {kind}"] for row in rows), strict=True)
        label = {"ascent": "steepest ascent", "temperature": "falling temperature"}
        label["stopped"] = f"with the early stop (at most {max(mean):.0%})"
        often.bar(at + 0.27 * (i - 1), mean, 0.25, yerr=[e or 0 for e in error], color=colour, label=label[kind])
    often.set(title="How often the meant reward drops", ylabel="share of MDPs", ylim=(0, 1.05))
    often.legend(loc="upper left")
    for key, colour, label in (("gain", _style.ORANGE, "to the end"), ("gain stopped", _style.PURPLE, "to the stop")):
        mean, error = zip(*(row[key] for row in rows), strict=True)
        far.errorbar(at, mean, [e or 0 for e in error], color=colour, marker="o", label=label)
    far.axhline(0, color=_style.INK, linewidth=1)
    far.set(title="What the meant reward gains", ylabel="share of its range")
    far.legend()
    for axis in (often, far):
        axis.set_xticks(at, [f"{row['low']}°-{row['high']}°" for row in rows])
        axis.set_xlabel("angle between written and meant reward")
        axis.grid(axis="y")
    return figure


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the numbers."""
    began = time.perf_counter()
    parser = argparse.ArgumentParser(
        prog="python -m examples.studies.goodhart",
        description="Drops of the meant reward by its angle from the written one, with and without the early stop, on "
        "random MDPs. Writes goodhart.md, goodhart.json and goodhart.png.",
    )
    parser.add_argument("--mdps", type=int, default=None, help="how many (default 2000; with --small 60)")
    parser.add_argument("--seed", type=int, default=0, help="all chance follows from it (default 0)")
    parser.add_argument("--small", action="store_true", help="a look at everything in a minute")
    parser.add_argument("--redraw", action="store_true", help="page and picture anew, from the numbers in --out")
    parser.add_argument("--out", type=Path, default=Path("out/goodhart_study"), help="folder (default %(default)s)")
    options = parser.parse_args(arguments)
    number = options.mdps if options.mdps is not None else 60 if options.small else 2000
    if number < 2:
        parser.error("--mdps must be at least 2")
    console = Console(width=max(110, Console().width))
    if options.redraw:
        made = _report.kept(options.out, "goodhart.json")
    else:
        made = run(number, options, console, began)
    _style.save(draw(made), options.out / "goodhart.png")
    (options.out / "goodhart.md").write_text(page(made), encoding="utf-8")
    console.print(page(made), highlight=False)
    console.print(_report.told(made, options.out, "goodhart.json"))
    return made


def run(number: int, options: argparse.Namespace, console: Console, began: float) -> dict[str, Any]:
    """Follow every MDP, in float64, and save the numbers."""
    rng, rows = np.random.default_rng(options.seed), []
    sizes = SMALL if options.small else SIZES
    with jax.enable_x64(True), _report.progress(console) as bar:
        job = bar.add_task("MDPs", total=number)
        for _ in range(number):
            rows.append(followed(*drawn(rng, *sizes)))
            bar.advance(job)
    acute = [row for row in rows if row["angle"] < 90]
    overall = {
        "prevalence": float(np.mean([row["ascent"] > NOTHING for row in rows])),
        "fell": int(sum(row["fell"] < -1e-9 for row in rows)),
        "below": float(np.mean([row["gain"] < -NOTHING for row in acute])),
        "below stopped": float(np.mean([row["gain stopped"] < -NOTHING for row in acute])),
        "gain": float(np.mean([row["gain"] for row in acute])),
        "gain stopped": float(np.mean([row["gain stopped"] for row in acute])),
        "steps": float(np.mean([row["steps"] for row in rows])),
    }
    given = ["mdps"] if options.mdps is not None else []
    settings = {
        "mdps": number,
        "states": sizes[0],
        "actions": sizes[1],
        "command": _report.command("examples.studies.goodhart", options, given),
    }
    found = {"bins": binned(rows), "overall": overall}
    return _report.save(
        options.out, began, settings, options.seed, found, pictures=["goodhart.png"], file="goodhart.json"
    )


if __name__ == "__main__":
    main()
