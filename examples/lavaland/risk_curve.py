"""The risk curve: lava entered against goal missed, as α and what returns are measured from vary."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from examples import _style

# The careful planners from the start have colours; everything else is grey and named.
STAKES, START, OTHER = _style.INK, _style.ORANGE, _style.GREY
SINGLE = ("literal", "posterior mean", "forbid the unseen", "least exposure")
GUTTER = 0.55  # room on the left for names, as a share of the scale
TICKS = [0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1]


def draw(panels: Mapping[str, Sequence[dict[str, Any]]], note: str) -> Figure:
    """One panel by title for each list of rows, with one scale for all; lower left is better.

    Args:
        panels: rows with `planner`, `measured_from`, `alpha`, `control`, `default`, `lava` and `goal`, and the
            standard errors `lava_se` and `goal_se`.
        note: how many maps there are, for the title.
    """
    size = (_style.WIDTH, 5.4)
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False, layout="constrained")
    every = [row for rows in panels.values() for row in rows]
    near = [row for row in every if row["measured_from"].startswith("start") and not row["control"]]
    near += [row for row in every if row["planner"] in SINGLE]
    limits = [max(0.05, 1.3 * max(value(row) for row in near)) for value in (_missed, _lava)]
    for ax, (title, rows) in zip(axes[0], panels.items(), strict=True):
        ax.set_xscale("function", functions=(_root, _square))
        ax.set_yscale("function", functions=(_root, _square))
        _panel(ax, rows, limits)
        ax.set_title(title)
        ax.set_xlabel("goal missed (probability within T steps)")
        for axis, limit in zip((ax.xaxis, ax.yaxis), limits, strict=True):
            ticks = [tick for tick in TICKS if tick <= limit]
            axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.set_minor_locator(plt.NullLocator())
        ax.set_xlim(_square(-GUTTER * _root(limits[0])), limits[0])
        ax.set_ylim(_square(-0.07 * _root(limits[1])), limits[1])
        ax.grid()
    axes[0, 0].set_ylabel("lava entered (probability within T steps)")
    figure.legend(handles=_legend(every), ncols=2, loc="outside lower center")
    figure.suptitle(f"Lower left is better: {note}, bars are standard errors, scales are square roots", fontsize=10)
    return figure


def _root(x):
    return np.sign(x) * np.sqrt(np.abs(x))


def _square(x):
    return np.sign(x) * np.square(x)


def _missed(row: dict[str, Any]) -> float:
    return 1 - row["goal"]


def _lava(row: dict[str, Any]) -> float:
    return row["lava"]


def _panel(ax, rows: Sequence[dict[str, Any]], limits: Sequence[float]) -> None:
    careful = [row for row in rows if row["measured_from"] and not row["control"]]
    curves = {o: [row for row in careful if row["measured_from"] == o] for o in _origins(careful)}
    names: list[tuple[float, str, str]] = []  # of points at the left edge: height, name, colour
    away = []
    for origin, curve in curves.items():
        curve.sort(key=lambda row: row["alpha"] or 0.0)
        colour = _colour(origin)
        inside = [row for row in curve if _missed(row) <= limits[0] and _lava(row) <= limits[1]]
        if 2 * len(inside) < len(curve):
            away.append(origin)
            continue
        _points(ax, [row for row in curve if row["alpha"] is not None], colour, "o", "-")
        _points(ax, [row for row in curve if row["alpha"] is None], colour, "D", "none")
        if colour == OTHER:
            names.append((_lava(min(curve, key=_missed)), f"from {origin}", _style.INK))
        else:
            names += _alphas(ax, [row for row in curve if row["alpha"] is not None], colour, limits)
    for row in (row for row in rows if row["planner"] in SINGLE):
        _points(ax, [row], OTHER, "X", "none")
        names.append((_lava(row), row["planner"], _style.INK))
    for row in rows:
        if row["default"]:
            _points(ax, [row], _style.BLUE, "o", "none", hollow=True)
    _edge(ax, names, limits)
    if away:
        part = [row for origin in away for row in curves[origin]]
        low, high = (f(map(_lava, part)) for f in (min, max))
        text = f"beyond this corner:\nfrom {' and from '.join(away)},\nlava {low:.2f} to {high:.2f} ↗"
        ax.text(0.99, 0.99, text, ha="right", va="top", transform=ax.transAxes, fontsize=8.5, color=_style.INK)


def _origins(rows: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["measured_from"] for row in rows))


def _colour(origin: str) -> str:
    if not origin.startswith("start"):
        return OTHER
    return STAKES if origin.endswith("stakes") else START


def _alphas(ax, curve: Sequence[dict[str, Any]], colour: str, limits: Sequence[float]) -> list[tuple[float, str, str]]:
    """α beside those points of a curve that are apart; returns the name for those that miss (nearly) no goal."""
    edge = [row for row in curve if _root(_missed(row)) < 0.05 * _root(limits[0])]
    last = np.full(2, -np.inf)
    for row in sorted(curve, key=_missed):
        at = np.array([_root(_missed(row)), _root(_lava(row))]) / np.sqrt(limits)
        if row in edge or np.abs(at - last).max() < 0.13:
            continue
        last = at
        ax.annotate(f"α {row['alpha']:g}", (_missed(row), _lava(row)), (3, 6 if colour == START else -14),
                    textcoords="offset points", fontsize=8.5, color=colour)  # fmt: skip
    if not edge:
        return []
    values = sorted({row["alpha"] for row in edge}, reverse=True)
    text = f"α {values[0]:g}" + (f" to {values[-1]:g}" if len(values) > 1 else "")
    return [(float(np.median([_lava(row) for row in edge])), text, colour)]


def _edge(ax, names: list[tuple[float, str, str]], limits: Sequence[float]) -> None:
    """Names left of the points that miss (nearly) no goal, moved apart where they would touch."""
    least, place = 0.055 * np.sqrt(limits[1]), -np.inf
    for height, name, colour in sorted(names):
        place = max(np.sqrt(height), place + least)
        ax.annotate(name, (_square(-0.03 * _root(limits[0])), place**2), ha="right", va="center", fontsize=8.5,
                    color=colour)  # fmt: skip


def _points(ax, rows: Sequence[dict[str, Any]], colour: str, marker: str, line: str, hollow: bool = False) -> None:
    if rows:
        errors = {"xerr": [row["goal_se"] for row in rows], "yerr": [row["lava_se"] for row in rows]}
        x, y = list(map(_missed, rows)), list(map(_lava, rows))
        look = {"elinewidth": 0.8, "linewidth": 1.4, "capsize": 0, "linestyle": line, "marker": marker}
        look |= {"mfc": "none", "ms": 13, "mew": 2, "clip_on": False} if hollow else {}
        ax.errorbar(x, y, **errors, color=colour, zorder=2 if colour == OTHER else 4, **look)


def _legend(rows: Sequence[dict[str, Any]]) -> list[Line2D]:
    """What the marks are: six entries at most."""
    made = [
        Line2D([], [], color=STAKES, marker="o", label="CVaR α from the start, in training stakes"),
        Line2D([], [], color=START, marker="o", label="CVaR α from the start"),
        Line2D([], [], color=OTHER, marker="X", linestyle="none", label="grey: all others, named on the left"),
    ]
    if any(row["measured_from"] and row["alpha"] is None for row in rows):
        made.insert(
            2, Line2D([], [], color=OTHER, marker="D", linestyle="none", label="diamonds: the worst of the draws")
        )
    if any(row["default"] for row in rows):
        ring = {"linestyle": "none", "mfc": "none", "mew": 2, "ms": 10}
        made.append(Line2D([], [], color=_style.BLUE, marker="o", label="recommended: least exposure", **ring))
    return made
