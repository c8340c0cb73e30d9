"""How hard may a learnt reward be optimised? Comparisons of answers, a posterior, and the truth under pressure.

python -m examples.overoptimisation
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from examples import _report, _style
from examples.overoptimisation import study

HEADS = ("chosen by", "best true reward", "at the end", "drop", "answers that invent, at the end")
LOOKS = {
    "mean": (_style.ORANGE, "-"),
    "least exposure": (_style.GREEN, "-"),
    "worst draw": (_style.SKY, (0, (6, 3))),
    "lower confidence": (_style.BLUE, (0, (1, 2))),
}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.overoptimisation",
        description="Learn a reward from comparisons of answers, then choose answers by it harder and harder: what it "
        "promises, what it is worth, where to stop, and what careful choices do. Prints tables, saves a picture and "
        "manifest.json.",
    )
    parser.add_argument("--answers", type=int, default=4000, help="answers to choose from (default %(default)s)")
    parser.add_argument("--pairs", type=int, default=400, help="comparisons of a data set (default %(default)s)")
    parser.add_argument("--samples", type=int, default=1000, help="draws of the posterior (default %(default)s)")
    parser.add_argument("--repetitions", type=int, default=10, help="data sets of each kind (default %(default)s)")
    parser.add_argument("--points", type=int, default=40, help="pressures on a curve (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="all chance follows from it (default 0)")
    parser.add_argument("--out", type=Path, default=Path("out/overoptimisation"), help="folder (default %(default)s)")
    options = parser.parse_args(arguments)
    if min(options.pairs, options.samples, options.repetitions, options.points - 1) < 1:
        parser.error("--pairs, --samples and --repetitions must be at least 1, and --points at least 2")
    if options.answers < study.RARE:
        parser.error(f"--answers must be at least {study.RARE}: one of so many is the rare kind")
    return options


def run(options: argparse.Namespace, console: Console) -> dict[str, list[dict[str, Any]]]:
    """The curves of every data set, by the kind of set."""
    key = jax.random.key(options.seed)
    draws = np.geomspace(1, 30 * options.answers, options.points)
    temperatures = np.append(np.geomspace(30, 0.05, options.points - 1), 0.0)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in study.SETS}
    with _report.progress(console) as bar:
        job = bar.add_task("data sets", total=len(found) * options.repetitions)
        for i in range(options.repetitions):
            for_pool, for_labels = jax.random.split(jax.random.fold_in(key, i))
            candidates = study.pool(for_pool, options.answers)
            for name, covered in zip(study.SETS, (True, False), strict=True):
                learnt = study.learn(for_labels, candidates, options.pairs, options.samples, covered)
                found[name].append(study.curves(learnt, candidates, draws, temperatures))
                bar.advance(job)
    return found


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over data sets, with their standard errors."""
    rows = {}
    for name in (*study.CHOICES, "regularised"):
        true = np.array([each[name]["true"] for each in runs])
        columns = {
            "best": true.max(axis=1),
            "end": true[:, -1],
            "drop": true.max(axis=1) - true[:, -1],
            "invented": np.array([each[name]["invented"][-1] for each in runs]),
        }
        rows[name] = {head: _report.mean_and_error(x) for head, x in columns.items()}
    stop = [each["stop"] for each in runs]
    at_stop = [each["mean"]["true"][i] for each, i in zip(runs, stop, strict=True)]
    falls = [np.diff(each["mean"]["true"][: i + 1]).min(initial=0) < -1e-6 for each, i in zip(runs, stop, strict=True)]
    promised = [each["mean"]["predicted"][-1] - each["mean"]["true"][-1] for each in runs]
    return {
        "choices": rows,
        "stop": {
            "true": _report.mean_and_error(at_stop),
            "kl": _report.mean_and_error([each["mean"]["kl"][i] for each, i in zip(runs, stop, strict=True)]),
            "fell before": int(np.sum(falls)),
            "angle": _report.mean_and_error([each["angle"] for each in runs]),
            "angle within": int(sum(each["true angle"] <= each["angle"] for each in runs)),
        },
        "promised too much": _report.mean_and_error(promised),
        "fits": {name: runs[0][f"fit {name}"] for name in ("mean", "regularised")},
    }


def conclusion(found: dict[str, Any], repetitions: int) -> str:
    """What came out, in words."""
    covered, rare = (found[name] for name in study.SETS)
    mean, stop = rare["choices"]["mean"], rare["stop"]
    careful = [rare["choices"][name]["end"][0] for name in study.CHOICES[1:]]
    said = f"Mean over {repetitions} data sets. " if repetitions > 1 else ""
    return (
        f"{said}Where comparisons covered every feature the true reward ends "
        f"{covered['choices']['mean']['drop'][0]:.2f} below its best, {covered['choices']['mean']['end'][0]:.2f}: a "
        "reward that is linear in features that were compared is wrong by its posterior's error and by nothing else. "
        f"Where nobody had compared answers that invent their sources it rises to {mean['best'][0]:.2f} and ends at "
        f"{mean['end'][0]:.2f}, while {rare['promised too much'][0]:.1f} more was "
        f"promised. The early stop leaves at {stop['true'][0]:.2f} (true reward had fallen before it on "
        f"{stop['fell before']} of {repetitions}, and was within its angle on {stop['angle within']}); choosing "
        f"by {', '.join(study.CHOICES[1:])} ends at "
        f"{', '.join(f'{x:.2f}' for x in careful)}."
    )


def table(name: str, found: dict[str, Any]) -> Table:
    """What every way to choose is worth, at its best and at the highest pressure."""
    shown = Table(title=name)
    for head in HEADS:
        shown.add_column(head, justify="left" if head == HEADS[0] else "right", no_wrap=True)
    for choice, row in found["choices"].items():
        cells = [_report.plus_minus(*row[key], digits=2) for key in ("best", "end", "drop", "invented")]
        shown.add_row("mean, held back by KL" if choice == "regularised" else f"{choice}, best of n", *cells)
    return shown


def fits(found: dict[str, Any]) -> str:
    """The two fits of a set's first data set, as lines."""
    forms = {"mean": "best of n: d(a - b d)", "regularised": "held back: d(a - b log d)"}
    lines = [
        f"  {forms[name]}   a {row['a']:.2f}, b {row['b']:.2f}, rms {row['rms']:.2f} of a range of {row['range']:.2f}"
        for name, row in found["fits"].items()
    ]
    return "\n".join(lines)


@_style.drawing
def draw(found: dict[str, list[dict[str, Any]]]) -> Figure:
    """Promised and true reward against √KL for both sets, above; every way to choose, below."""
    figure, axes = plt.subplots(2, 2, figsize=(_style.WIDTH, 6.6), layout="constrained", sharex=True, sharey="row")
    for column, (name, runs) in enumerate(found.items()):
        _promised(axes[0, column], runs[0])
        axes[0, column].set_title(name[0].upper() + name[1:])
        for choice, (colour, line) in LOOKS.items():
            for i, each in enumerate(runs):
                how = {"linewidth": 2.4, "label": choice, "zorder": 3} if i == 0 else {"linewidth": 0.6, "alpha": 0.35}
                d = np.sqrt(each[choice]["kl"])
                axes[1, column].plot(d, each[choice]["true"], color=colour, linestyle=line if i == 0 else "-", **how)
        axes[1, column].set_xlabel("pressure: d = √KL from drawing at random")
        axes[1, column].grid()
    axes[0, 0].set_ylabel("reward of the chosen answer")
    axes[1, 0].set_ylabel("true reward, by what\nthe answer is chosen by")
    axes[0, 0].legend(loc="upper left")
    axes[1, 1].legend(loc="upper left")
    return figure


def _promised(axis: Any, each: dict[str, Any]) -> None:
    """What the posterior's mean promises and what is true, for best-of-n and for policies held back by KL."""
    best, held, stop = each["mean"], each["regularised"], each["stop"]
    d = np.sqrt(best["kl"])
    axis.fill_between(d, best["low"], best["high"], color=_style.ORANGE, alpha=0.18, linewidth=0)
    axis.plot(d, best["predicted"], "--", color=_style.ORANGE, label="promised, 90 % of the posterior")
    axis.plot(d, best["true"], color=_style.INK, linewidth=2.4, label="true, best of n")
    axis.plot(np.sqrt(held["kl"]), held["true"], ":", color=_style.INK, label="true, held back by KL")
    axis.plot(d[stop], best["true"][stop], "o", color=_style.PURPLE, markersize=9, label="early stop", zorder=5)
    axis.grid()


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began, options = time.perf_counter(), parse(arguments)
    console = Console(width=max(110, Console().width))
    runs = run(options, console)
    found = {name: summary(each) for name, each in runs.items()}
    console.print(conclusion(found, options.repetitions))
    for name, each in found.items():
        console.print(table(name, each))
        console.print(fits(each), highlight=False)
    picture = _style.save(draw(runs), options.out / "overoptimisation.png")
    names = ("answers", "pairs", "samples", "repetitions", "points")
    settings = {name: getattr(options, name) for name in names} | {"truth": study.TRUTH.tolist()}
    manifest = _report.save(options.out, began, settings, options.seed, {"results": found}, pictures=[picture])
    console.print(_report.told(manifest, options.out))
    return manifest


if __name__ == "__main__":
    main()
