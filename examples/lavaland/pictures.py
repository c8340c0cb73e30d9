"""The example's pictures: maps with plans, what was inferred, where it is unsure, and the risk curve."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from examples.lavaland import planners
from examples.lavaland.table import Plan, Results
from ird.posterior import Posterior
from mdps import GridWorld

# Okabe and Ito's colours, and markers: no curve is told by its colour alone.
STYLES = {
    "start features in training stakes": ("#000000", "*"),
    "start in training stakes": ("#000000", "*"),
    "start features": ("#D55E00", "o"),
    "training features": ("#0072B2", "s"),
    "none": ("#777777", "v"),
    "start": ("#D55E00", "o"),
    "training plan": ("#0072B2", "s"),
    "log-normalizer": ("#009E73", "^"),
    "regret": ("#CC79A7", "D"),
    "literal plan": ("#E69F00", "P"),
}
DPI = 130


def save_all(found: Sequence[Results], rows: Sequence[dict[str, Any]], out: Path) -> list[Path]:
    """Draw every picture into a folder; returns the files."""
    plt.switch_backend("agg")
    made = {}
    shown = [each for each in found if each.beliefs is not None]
    shown.sort(key=lambda each: ["paper", "shift", "generated", "own"].index(each.source.name))
    made["maps"] = maps(shown)
    made["disagreement"] = disagreement(shown)
    for each in shown:
        made[f"posterior_{each.source.name}"] = weights(each)
        if each.source.name in ("paper", "own"):
            made["lavaland"] = story(each)
    if any("lava_se" in row for row in rows):
        made["risk_curve"] = risk_curve([row for row in rows if "lava_se" in row])
    files = []
    for name, figure in made.items():
        files.append(out / f"{name}.png")
        figure.savefig(files[-1], dpi=DPI, bbox_inches="tight")
        plt.close(figure)
    return files


def telling(results: Results) -> int:
    """The case to show: where care changes most, lava avoided and the goal reached all the same."""
    literal = results.outcomes[_find(results, "literal")]
    careful = results.outcomes[_default(results)]
    gain = np.asarray(literal.lava) - np.asarray(careful.lava)
    return int(np.argmax(gain + np.asarray(careful.goal)))


def sketch(results: Results, i: int) -> dict[str, list]:
    """The literal and the careful plan of one case as paths."""
    field = results.source.one(i).field
    steps = field.mdp.horizon or field.mdp.num_states
    paths = {"literal": results.policies[_find(results, "literal")], "careful": results.policies[_default(results)]}
    drawn = {name: field.most_likely_paths(policy[i], steps) for name, policy in paths.items()}
    stays = {name: all(len(set(path)) == 1 for path in each) for name, each in drawn.items()}
    return {f"{name} (stays)" if stays[name] else name: each for name, each in drawn.items()}


def maps(shown: Sequence[Results]) -> Figure:
    """Each input's training map and deployment map, with the literal and the careful plan."""
    figure, axes = plt.subplots(len(shown), 2, figsize=(8.6, 4.4 * len(shown)), squeeze=False, layout="constrained")
    for row, results in zip(axes, shown, strict=True):
        i = telling(results)
        case, label = results.source.one(i), results.source.labels
        name = f"{results.source.title}{f', {label[i]}' if label else ''}"
        case.train.plot(ax=row[0], title=f"{name}\nwhat the designer saw")
        case.field.plot(ax=row[1], title="where the robot has to go", trajectories=sketch(results, i))
    return figure


def unsure(field: GridWorld, belief: Posterior) -> jax.Array:
    """Posterior standard deviation of what a visit of each state pays more than one of the start, `[S]`."""
    visits = field.mdp.features - (field.mdp.initial @ field.mdp.features)[None]
    variance = jnp.einsum("sk,kl,sl->s", visits, belief.covariance(), visits)
    return jnp.sqrt(jnp.maximum(variance, 0))


def disagreement(shown: Sequence[Results]) -> Figure:
    """Where the posterior is unsure of the reward, cell by cell."""
    figure, axes = plt.subplots(1, len(shown), figsize=(4.6 * len(shown), 3.9), squeeze=False, layout="constrained")
    for ax, results in zip(axes[0], shown, strict=True):
        i = telling(results)
        field, belief = results.source.one(i).field, jax.tree.map(lambda x: x[i], results.beliefs.posterior)  # noqa: B023
        _heat(ax, field, belief, results.source.title, "sd of reward per visit, relative to the start")
    return figure


def _heat(ax, field: GridWorld, belief: Posterior, title: str, label: str) -> None:
    """The heat map, with lava outlined."""
    field.plot(ax=ax, values=unsure(field, belief), value_label=label, title=title)
    if "lava" in field.names:
        for r, c in np.argwhere(np.asarray(field.terrain) == field.names.index("lava")):
            ax.text(c, r, "lava", ha="center", va="center", fontsize=6, color="#222222")


def weights(results: Results) -> Figure:
    """Each weight's posterior against its prior."""
    i = telling(results)
    belief = jax.tree.map(lambda x: x[i], results.beliefs.posterior)
    figure = belief.plot()
    figure.suptitle(f"{results.source.title}: what the proxy says of each weight", fontsize=11)
    return figure


def story(results: Results) -> Figure:
    """The whole job in one strip: the designer's map, what was learnt, the plans."""
    i = telling(results)
    case, belief = results.source.one(i), jax.tree.map(lambda x: x[i], results.beliefs.posterior)
    figure, axes = plt.subplots(1, 3, figsize=(12.6, 4.3), layout="constrained", width_ratios=[1, 1.18, 1])
    plan = np.asarray(planners.solved(case.train.mdp, case.train.mdp.reward(case.proxy)).policy)
    steps = case.train.mdp.horizon or case.train.mdp.num_states
    case.train.plot(
        ax=axes[0],
        title="1  The designer wrote a proxy for this map",
        trajectories={"its plan": case.train.most_likely_paths(plan, steps)},
    )
    _heat(axes[1], case.field, belief, "2  A new map: what is the proxy silent on?", "posterior sd of reward per visit")
    case.field.plot(ax=axes[2], title="3  The literal and the careful plan", trajectories=sketch(results, i))
    return figure


def risk_curve(rows: Sequence[dict[str, Any]]) -> Figure:
    """Lava entered against goal missed, as α and what returns are measured from vary; over generated maps."""
    figure, axes = plt.subplots(1, 2, figsize=(11.6, 6.2), sharex=True, sharey=True, layout="constrained")
    one = [row for row in rows if row["training_maps"] == 1]
    for ax, scheme in zip(axes, ("per step", "per trajectory"), strict=True):
        careful = [row for row in one if row["scheme"] == scheme and not row["control"]]
        for origin in dict.fromkeys(row["measured_from"] for row in careful):
            curve = [row for row in careful if row["measured_from"] == origin]
            curve.sort(key=lambda row: row["alpha"] or 0.0)
            colour, marker = STYLES[origin]
            _points(ax, curve, label=f"from {origin}", color=colour, marker=marker, linestyle="-", markersize=6)
            for row in curve if origin.endswith("stakes") else ():
                text = "worst of draws" if row["alpha"] is None else f"α {row['alpha']:g}"
                _note(ax, row, text, colour)
        for planner, marker in (("literal", "X"), ("posterior mean", "d"), ("forbid the unseen", "h")):
            row = next(row for row in one if row["planner"] == planner)
            _points(ax, [row], label=planner, color="black", marker=marker, linestyle="none", markersize=9)
        for row in rows:
            if row["default"] and scheme == "per step":
                n = row["training_maps"]
                label = "shipped" + (f", {n} training maps" if n > 1 else ", 1 training map")
                style = {"markerfacecolor": "none", "markeredgewidth": 1.8, "linestyle": "none", "color": "black"}
                at, marker = (1 - row["goal"], row["lava"]), "o" if n == 1 else "s"
                ax.plot(*at, label=label, marker=marker, markersize=15, clip_on=False, zorder=5, **style)
        ax.set_title(scheme.capitalize(), fontsize=12)
        ax.set_xlabel("goal missed (probability within T steps)", fontsize=11)
        ax.grid(color="#dddddd", linewidth=0.6)
        ax.legend(
            fontsize=9, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.11), ncols=2, labelspacing=0.75
        )
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    axes[0].set_ylabel("lava entered (probability within T steps)", fontsize=11)
    ticks = [0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]
    for ax in axes:
        scales = (ax.xaxis, ax.set_xscale, ax.set_xlim), (ax.yaxis, ax.set_yscale, ax.set_ylim)
        for axis, set_scale, set_limits in scales:
            set_scale("symlog", linthresh=0.02, linscale=0.8)
            set_limits(-0.002, 1.1)
            axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.set_minor_locator(NullLocator())
    n = rows[0]["maps"]
    figure.suptitle(
        f"Lower left is better. {n} generated maps, bars are standard errors; axes linear up to 0.02, then logarithmic",
        fontsize=12,
    )
    return figure


def _points(ax, rows: Sequence[dict[str, Any]], **style: Any) -> None:
    x, y = [1 - row["goal"] for row in rows], [row["lava"] for row in rows]
    errors = {"xerr": [row["goal_se"] for row in rows], "yerr": [row["lava_se"] for row in rows]}
    ax.errorbar(x, y, **errors, elinewidth=0.8, linewidth=1.2, capsize=0, **style)


def _note(ax, row: dict[str, Any], text: str, colour: str) -> None:
    at = (1 - row["goal"], row["lava"])
    ax.annotate(text, at, xytext=(7, 6), textcoords="offset points", fontsize=8, color=colour)


def _find(results: Results, planner: str) -> Plan:
    return next(plan for plan in results.outcomes if plan.planner == planner)


def _default(results: Results) -> Plan:
    return next(plan for plan in results.outcomes if plan.default)
