"""Does debate let a judge who reads one leaf decide what many leaves mean? Exact, on claim trees, by depth and skill.

Two debaters walk down a tree of claims to one leaf, which the judge reads with an error. How often is the judge right,
by the depth of the tree, by the debaters' skills and by the gap between them? How many leaves must a liar be able to
turn? And what if the liar writes more steps than the honest debater can look at?

    python -m examples.debate
"""

import argparse
import itertools
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from cirl.oversight import debate
from examples import _report, _style

PAIRS = {  # honest debater's skill, liar's
    "both toss coins": (0.0, 0.0),
    "both of skill 2": (2.0, 2.0),
    "both of skill 5": (5.0, 5.0),
    "both perfect": (math.inf, math.inf),
    "skill 2 against a perfect liar": (2.0, math.inf),
}
COLOURS = dict(zip(PAIRS, (_style.GREY, _style.SKY, _style.BLUE, _style.GREEN, _style.ORANGE), strict=True))
SMALL = 3  # levels of the trees that are listed one by one


def by_depth(depth: int, error: float) -> dict[str, list[float]]:
    """Accuracy at depth 1, 2, ... for each pair of skills."""
    depths = range(1, depth + 1)
    return {
        name: [debate.accuracy(d, honest=honest, liar=liar, error=error) for d in depths]
        for name, (honest, liar) in PAIRS.items()
    }


def by_gap(options: argparse.Namespace) -> dict[str, Any]:
    """Accuracy at the greatest depth, by the honest debater's skill less the liar's, for several liars."""
    curves = {}
    for liar in options.liars:
        gaps = np.linspace(max(-liar, -options.gap), options.gap, options.points)
        right = [debate.accuracy(options.depth, honest=liar + x, liar=liar, error=options.error) for x in gaps]
        curves[f"{liar:g}"] = {"gap": gaps.tolist(), "accuracy": right}
    return curves


def certificates() -> dict[str, Any]:
    """How many leaves a liar must turn, over all trees of a few levels."""
    found = {}
    for depth in range(1, SMALL + 1):
        leaves = np.array(list(itertools.product((False, True), repeat=2**depth))).reshape(-1, *[2] * depth)
        sizes = [debate.certificate(claim).size for claim in leaves]
        found[str(depth)] = {
            "leaves": 2**depth,
            "mean": float(np.mean(sizes)),
            "one is enough": float(np.mean(np.array(sizes) == 1)),
            "most": max(sizes),
        }
    return found


def hidden(options: argparse.Namespace) -> dict[str, Any]:
    """A flaw among many steps: accuracy by how many of them the honest debater looks at."""
    budgets = np.unique(np.geomspace(1, options.width, options.points).round().astype(int)).tolist()
    curves = {}
    for depth in range(1, options.depth + 1):
        each = [debate.obfuscated(options.width, depth, b, error=options.error) for b in budgets]
        curves[str(depth)] = {
            "budget": budgets,
            "found": [x.found for x in each],
            "accuracy": [x.accuracy for x in each],
        }
    return curves


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All that is shown."""
    return {
        "by depth": by_depth(options.depth, options.error),
        "by gap": by_gap(options),
        "equal skill": [debate.accuracy(options.depth, honest=x, liar=x, error=options.error) for x in options.liars],
        "certificates": certificates(),
        "hidden flaws": hidden(options),
    }


def conclusion(found: dict[str, Any], options: argparse.Namespace) -> str:
    """What came out, in words."""
    depth, rows = options.depth, found["by depth"]
    coins, even, weak = (rows[name][-1] for name in ("both toss coins", "both of skill 5", list(PAIRS)[-1]))
    equal = found["equal skill"]
    small = found["certificates"][str(SMALL)]
    one = debate.obfuscated(options.width, depth, options.width // 2, error=options.error)
    return (
        f"Between perfect debaters one leaf decides what {2**depth} leaves mean: the judge is right with "
        f"{rows['both perfect'][-1]:.2f} at every depth, which is the error of one reading and no more. Skill 5 on "
        f"both sides keeps {even:.3f} at depth {depth}, coins {coins:.3f}, and skill 2 against a perfect liar falls to "
        f"{weak:.3f}, from {rows[list(PAIRS)[-1]][0]:.3f} at depth 1. The gap in skill does not decide: at equal "
        f"skill the judge is right with {min(equal):.2f} to {max(equal):.2f}, by how able both are. A liar who may "
        f"choose which leaves are misread needs {small['mean']:.2f} of {small['leaves']} on average, and on "
        f"{small['one is enough']:.0%} of trees a single one. One who writes {options.width} steps a level for an "
        f"honest debater who looks at half of them is caught with {one.found:.3f} at depth {depth}. No person judged "
        "anything here, and the debaters know every leaf."
    )


def table(found: dict[str, Any]) -> Table:
    """Accuracy by skills and depth."""
    shown = Table(title="How often the judge is right")
    shown.add_column("debaters: honest, liar")
    rows = found["by depth"]
    for d in range(1, len(next(iter(rows.values()))) + 1):
        shown.add_column(f"depth {d}", justify="right")
    for name, right in rows.items():
        shown.add_row(name, *(f"{x:.4f}" for x in right))
    return shown


@_style.drawing
def draw(found: dict[str, Any], options: argparse.Namespace) -> Figure:
    """Accuracy by depth, by gap in skill, and by what is looked at."""
    figure, axes = plt.subplots(1, 3, figsize=(_style.WIDTH, 3.9), layout="constrained", sharey=True)
    depths = range(1, options.depth + 1)
    for name, right in found["by depth"].items():
        axes[0].plot(depths, right, "o-", color=COLOURS[name], label=name)
    axes[0].set(xticks=list(depths), xlabel="depth of the tree", ylabel="the judge is right", ylim=(0, 1),
                title="Depth costs the less able")  # fmt: skip
    axes[0].legend(loc="lower left")
    colours = (_style.PINK, _style.SKY, _style.BLUE, _style.PURPLE, _style.INK)
    for (liar, curve), colour in zip(found["by gap"].items(), itertools.cycle(colours)):
        axes[1].plot(curve["gap"], curve["accuracy"], color=colour, label=f"a liar of skill {liar}")
    axes[1].axvline(0, color=_style.GREY, linewidth=0.8)
    axes[1].set(xlabel="honest debater's skill less the liar's", title="The gap does not decide\n"
                f"(depth {options.depth})")  # fmt: skip
    axes[1].legend(loc="lower right")
    for (depth, curve), colour in zip(found["hidden flaws"].items(), itertools.cycle(colours)):
        share = np.array(curve["budget"]) / options.width
        axes[2].plot(share, curve["accuracy"], color=colour, label=f"depth {depth}")
    axes[2].set(xscale="log", xlabel=f"share of {options.width} steps looked at",
                title="A flaw among many steps,\nhidden at every level")  # fmt: skip
    axes[2].legend(loc="upper left")
    for axis in axes:
        axis.axhline(1 - options.error, color=_style.GREY, linewidth=0.8, linestyle=":")
        axis.grid()
    return figure


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.debate",
        description="How often is a judge right who reads one leaf of a tree of claims, by depth and by the debaters' "
        "skills? Prints a conclusion and a table, saves a picture and manifest.json. There is no chance in it.",
    )
    parser.add_argument("--depth", type=int, default=4, help="levels of the trees, 1 to 5 (default %(default)s)")
    parser.add_argument("--error", type=float, default=0.1,
                        help="probability that a leaf is misread (default %(default)s)")  # fmt: skip
    parser.add_argument("--liars", type=float, nargs="+", default=[0, 1, 2, 5],
                        help="skills of liars to draw (default %(default)s)")  # fmt: skip
    parser.add_argument("--gap", type=float, default=5, help="largest gap in skill (default %(default)s)")
    parser.add_argument("--width", type=int, default=100, help="steps of a level with a flaw (default %(default)s)")
    parser.add_argument("--points", type=int, default=41, help="points on a curve (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="for form's sake; nothing is drawn (default 0)")
    parser.add_argument("--out", type=Path, default=Path("out/debate"), help="folder (default %(default)s)")
    options = parser.parse_args(arguments)
    if not (1 <= options.depth <= 5 and options.points >= 2 and options.width >= 1 and options.gap > 0):
        parser.error("--depth must be 1 to 5, --points at least 2, --width at least 1, and --gap positive")
    if not (0 <= options.error <= 1 and all(0 <= x < math.inf for x in options.liars)):
        parser.error("--error must be a probability, and --liars 0 or more")
    return options


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began, options = time.perf_counter(), parse(arguments)
    console = Console(width=max(110, Console().width))
    with console.status("debating"):
        found = run(options)
    console.print(conclusion(found, options))
    console.print(table(found))
    picture = _style.save(draw(found, options), options.out / "debate.png")
    settings = {name: getattr(options, name) for name in ("depth", "error", "liars", "gap", "width", "points")}
    manifest = _report.save(options.out, began, settings, options.seed, found, pictures=[picture])
    console.print(_report.told(manifest, options.out))
    return manifest


if __name__ == "__main__":
    main()
