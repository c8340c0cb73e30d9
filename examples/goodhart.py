"""How hard may a written reward be optimised? Worlds on which the meant reward drops, and worlds on which it does not.

A boat that is paid for arrows, and a corridor with a machine that makes coins which nobody wants: written and meant
reward from acting at random to the optimum. Then the steepest ascent with its early stop, and the four variants of
Goodhart's law, each told from the others by four tests.

    python -m examples.goodhart
"""

import argparse
import itertools
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
from ird import alignment, goodhart
from mdps import MDP, GridWorld

WRITTEN, MEANT = np.array([1.0, 0.0]), np.array([0.0, 1.0])
CURVE = ("pressure", "proxy", "true", "kl", "relative_drop")
COLOURS = dict(zip(("regressional", "extremal", "causal", "adversarial"),
                   (_style.BLUE, _style.ORANGE, _style.GREEN, _style.PINK), strict=True))  # fmt: skip


def boat_race() -> MDP:
    """A ring of eight cells (Leike et al. 2017). Features: written and meant reward.

    Written: 3 for entering one of four arrows its way, less 1 a step. Meant: 1 for a step clockwise, -1 for any other.
    """
    ring = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    moved, features = np.zeros((8, 4, 8)), np.full((8, 4, 2), -1.0)
    moves = enumerate([(-1, 0), (0, 1), (1, 0), (0, -1)])
    for (s, (row, column)), (a, (down, right)) in itertools.product(enumerate(ring), moves):
        cell = (row + down, column + right)
        to = ring.index(cell) if cell in ring else s
        moved[s, a, to] = 1
        if to == (s + 1) % 8:
            features[s, a] += (3 * (to % 2), 2)
    return MDP.from_dense(moved, features, np.eye(8)[0], horizon=100, feature_names=("written", "meant"))


def machine(**settings: Any) -> GridWorld:
    """A corridor: coins at hand, and far away a machine that makes twice as many, and bad ones."""
    legend = {"o": "coin", "S": "floor", ".": "floor", "m": "machine"}
    return GridWorld.from_text("oS......m", legend, goal=None, **settings)


def machine_rewards(grid: GridWorld, worth: float) -> tuple[jax.Array, jax.Array]:
    """What was written for the corridor, and what is meant: a step at the machine is `worth` this."""
    return grid.weights(coin=1.0, machine=2.0), grid.weights(coin=1.0, machine=worth)


def pressures(points: int) -> np.ndarray:
    """Temperatures from hot to cold, and the hard optimum."""
    return np.append(np.geomspace(1000, 0.02, points - 1), 0.0)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Every curve and diagnosis."""
    boat, corridor = boat_race(), machine(horizon=40)
    taus = pressures(options.points)
    found: dict[str, Any] = {
        "boat race": goodhart.by_temperature(boat, WRITTEN, MEANT, taus),
        "coin machine": goodhart.by_temperature(corridor.mdp, *machine_rewards(corridor, -2.0), taus),
        "range": alignment.performance(boat, WRITTEN, MEANT),
    }
    endless = machine(discount=0.95)
    written, meant = machine_rewards(endless, 0.25)
    angle = float(alignment.geometry(endless.mdp).angle(written, meant))
    path = goodhart.ascend(endless.mdp, written)
    far = np.cumsum(np.append(0, np.linalg.norm(np.diff(path.occupancies, axis=0), axis=(1, 2))))
    visits = float(endless.mdp.total_visits)
    found["ascent"] = {
        "far": far.tolist(),
        "written": (np.asarray(path.proxy) / visits).tolist(),
        "meant": (np.asarray(path.returns(meant)) / visits).tolist(),
        "angle": angle,
        "stops": {f"{x:.0f}°": int(path.stop(np.radians(x))) for x in (*options.angles, np.degrees(angle))},
        "stop": int(path.stop(angle)),
    }
    found["variants"] = {}
    for name in COLOURS:
        world = getattr(goodhart, name)()
        curve = goodhart.best_of(world.proxy, world.true, world.log_weights, np.geomspace(1, 1e5, options.points))
        found["variants"][name] = (world, curve, world.diagnose())
    return found


def conclusion(found: dict[str, Any]) -> str:
    """What came out, in words."""
    boat, corridor, span, ascent = (found[name] for name in ("boat race", "coin machine", "range", "ascent"))
    best = float(np.max(corridor.true))
    return (
        f"On the coin machine the meant reward rises to {best:.1f} and ends at {float(corridor.end):.1f}. On "
        f"the boat race it drops by {float(boat.drop):.2g} at most, and ends at {float(boat.end):.0f} where "
        f"{float(span.best):.0f} was to be had; plans that are optimal for what was written are worth anything from "
        f"{abs(float(span.lowest)):.0f} to {float(span.highest):.0f}, which no curve shows. Where the "
        f"machine's coins are worth a little, both rewards are {np.degrees(ascent['angle']):.0f}° apart: the steepest "
        f"ascent, stopped for that angle, leaves at {ascent['meant'][ascent['stop']]:.2f} a step; its start is worth "
        f"{ascent['meant'][0]:.2f}, its best {max(ascent['meant']):.2f}, its end {ascent['meant'][-1]:.2f}."
    )


def matrix(found: dict[str, Any]) -> Table:
    """The four tests on the four variants."""
    said = {True: "yes", False: "no", None: "cannot tell"}
    table = Table(title="Four tests tell four variants apart")
    heads = (
        "world",
        "T1 agree where one often is",
        "T2 optimised as selected",
        "T3 others' pay",
        "T4 falls",
        "verdict",
    )
    for head in heads:
        table.add_column(head)
    for name, (_, _, diagnosis) in found["variants"].items():
        table.add_row(name, *(said[x] for x in diagnosis.tests), diagnosis.verdict)
    return table


@_style.drawing
def draw(found: dict[str, Any]) -> Figure:
    """Two worlds under falling temperature, above; the steepest ascent and the four variants, below."""
    figure, axes = plt.subplots(2, 2, figsize=(_style.WIDTH, 6.4), layout="constrained")
    for axis, name in zip(axes[0], ("coin machine", "boat race"), strict=True):
        curve = found[name]
        far = np.sqrt(np.asarray(curve.kl))
        axis.plot(far, curve.proxy, "--", color=_style.ORANGE, label="written")
        axis.plot(far, curve.true, color=_style.BLUE, linewidth=2.4, label="meant")
        axis.set(xlabel="pressure: √KL of the runs from random ones", title=f"{name[0].upper()}{name[1:]}")
        axis.grid()
    axes[0, 0].set_ylabel("return")
    axes[0, 0].legend(loc="upper left")
    span, end = found["range"], float(np.sqrt(found["boat race"].kl[-1]))
    axes[0, 1].vlines(end, float(span.lowest), float(span.highest), color=_style.BLUE, alpha=0.35, linewidth=7)
    axes[0, 1].annotate("every plan that is optimal\nfor what was written", (end, float(span.highest)), (-12, -4),
                        textcoords="offset points", ha="right", va="top", fontsize=9, color=_style.BLUE)  # fmt: skip
    _ascent(axes[1, 0], found["ascent"])
    _variants(axes[1, 1], found["variants"])
    return figure


def _ascent(axis: Any, ascent: dict[str, Any]) -> None:
    axis.plot(ascent["far"], ascent["written"], "--", color=_style.ORANGE)
    axis.plot(ascent["far"], ascent["meant"], color=_style.BLUE, linewidth=2.4)
    stops: dict[int, list[str]] = {}
    for label, stop in ascent["stops"].items():
        stops.setdefault(stop, []).append(label)
    for i, (stop, labels) in enumerate(sorted(stops.items())):
        at = (ascent["far"][stop], ascent["meant"][stop])
        axis.plot(*at, "o", color=_style.PURPLE, zorder=5)
        axis.annotate(", ".join(labels), at, (2, -14 if i % 2 else 8), textcoords="offset points", fontsize=9,
                      color=_style.PURPLE)  # fmt: skip
    axis.set(xlabel="length of the path of occupancies", ylabel="reward a step",
             title="Steepest ascent, stopped by angle")  # fmt: skip
    axis.grid()


def _variants(axis: Any, variants: dict[str, Any]) -> None:
    for name, (world, curve, _) in variants.items():
        unit = float(np.sqrt(np.exp(world.log_weights) @ (np.asarray(world.true) - float(curve.true[0])) ** 2))
        gained = (np.asarray(curve.true) - float(curve.true[0])) / unit
        axis.plot(curve.pressure, gained, color=COLOURS[name], label=name)
        optimised = (float(world.optimised_true) - float(curve.true[0])) / unit
        low = optimised < -4  # below the picture
        axis.plot(3e5, -3.75 if low else optimised, "v" if low else "*", color=COLOURS[name], markersize=11)
    axis.set(xscale="log", xlabel="n of best of n;  ★ ▾ optimised instead",
             ylabel="meant reward gained, in\nits own standard deviations",
             ylim=(-4, 3), title="Four variants")  # fmt: skip
    axis.legend(loc="lower left")
    axis.grid()


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began = time.perf_counter()
    parser = argparse.ArgumentParser(
        prog="python -m examples.goodhart",
        description="Optimise written rewards harder and harder, on worlds on which the meant one drops and on worlds "
        "on which it does not; stop early; and tell four variants apart. Prints a table, saves a picture and "
        "manifest.json. There is no chance in it.",
    )
    parser.add_argument("--points", type=int, default=60, help="pressures on a curve (default %(default)s)")
    parser.add_argument("--angles", type=float, nargs="+", default=[30, 70, 90],
                        help="angles of early stops to draw, in degrees (default %(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="for form's sake; nothing is drawn (default 0)")
    parser.add_argument("--out", type=Path, default=Path("out/goodhart"), help="folder (default %(default)s)")
    options = parser.parse_args(arguments)
    if options.points < 2 or not all(0 <= x <= 180 for x in options.angles):
        parser.error("--points must be at least 2, and --angles from 0 to 180")
    console = Console(width=max(110, Console().width))
    with console.status("optimising"):
        found = run(options)
    console.print(conclusion(found))
    console.print(matrix(found))
    picture = _style.save(draw(found), options.out / "goodhart.png")
    curves = {
        name: {key: np.asarray(getattr(found[name], key)).tolist() for key in CURVE}
        for name in ("boat race", "coin machine")
    }
    diagnoses = {name: {"tests": x.tests, "verdict": x.verdict} for name, (_, _, x) in found["variants"].items()}
    results = {"curves": curves, "ascent": found["ascent"], "variants": diagnoses}
    results["range"] = {key: float(getattr(found["range"], key)) for key in ("lowest", "shared", "highest", "best")}
    settings = {"points": options.points, "angles": options.angles}
    manifest = _report.save(options.out, began, settings, options.seed, results, pictures=[picture])
    console.print(_report.told(manifest, options.out))
    return manifest


if __name__ == "__main__":
    main()
