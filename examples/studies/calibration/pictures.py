"""Pictures of the calibration study: rank histograms, differences of distribution functions, wrong models."""

from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from examples import _style
from examples.studies.calibration import misspecified
from ird import calibration

BINS = 20
INK, RED = _style.BLUE, _style.ORANGE
COLOURS = (_style.BLUE, _style.AMBER, _style.GREEN, _style.INK)
# What the curves of wrong models are: the name, colour and marker of each measure.
COVERED = {
    "coverage, seen": ("weights seen in training", _style.GREEN, "o"),
    "coverage, lava": ("weight of lava", _style.PINK, "s"),
    "coverage, log-likelihood": ("log-likelihood", _style.GREY, "^"),
}
COSTS = {
    "regret": ("regret, careful plan", _style.BLUE, "o"),
    "lava": ("enters lava, careful plan", _style.ORANGE, "s"),
    "mean_regret": ("regret, plan for the posterior mean", _style.SKY, "v"),
    "mean_lava": ("enters lava, plan for the posterior mean", _style.AMBER, "D"),
}
STYLES = ("-", "--", "-.", "-")


def _grouped(table: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in table:
        found.setdefault(row["method"], []).append(row)
    return found


def _ranks(row: dict[str, Any]) -> np.ndarray:
    return np.repeat(np.arange(len(row["counts"])), row["counts"])


@_style.drawing
def histograms(table: list[dict[str, Any]], level: float) -> Figure:
    """A row of panels per method, a column per quantity; orange where the ranks leave the simultaneous band."""
    methods = _grouped(table)
    quantities = [row["quantity"] for row in next(iter(methods.values()))]
    size = (_style.WIDTH, 1.3 * len(methods) + 1.2)
    figure, axes = plt.subplots(
        len(methods), len(quantities), figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for y, (name, rows) in enumerate(methods.items()):
        for x, row in enumerate(rows):
            axis, ranks, L = axes[y, x], _ranks(row), len(row["counts"]) - 1
            bins = min(BINS, L + 1)
            edges = np.linspace(0, L + 1, bins + 1)
            n, (low, high) = len(ranks), _bin_band(len(ranks), bins, level)
            height = np.histogram(ranks + 0.5, edges)[0] / n * bins
            colour = INK if row["inside"] else RED
            axis.axhspan(low / n * bins, high / n * bins, color="0.82", linewidth=0)
            axis.axhline(1, color="0.35", linewidth=0.8)
            axis.bar((edges[:-1] + edges[1:]) / 2 / (L + 1), height, 0.86 / bins, color=colour)
            shown = f"p = {row['p-value']:.2f}" if row["p-value"] >= 0.005 else "p < 0.005"
            axis.text(0.97, 0.95, shown, ha="right", va="top", transform=axis.transAxes, fontsize=9)
            if y == 0:
                axis.set_title(row["quantity"] if x == len(rows) - 1 else f"weight of {row['quantity']}", fontsize=11)
        axes[y, 0].set_ylabel(name.replace(", ", ",\n").replace(" Laplace ", "\nLaplace\n").replace("the ", "the\n"))
        axes[y, 0].set_ylim(0, 4.6)
        axes[y, 0].set_yticks([0, 1, 2, 3])
    for axis in axes[-1]:
        axis.set_xticks([0, 0.5, 1], ["lowest", "middle", "highest"])
        axis.set_xlabel("rank of the truth")
    figure.suptitle(
        "Share of designers at each rank, over what is expected (1)\n"
        "grey: where the bars of right samplers stay; orange: ranks that are not uniform",
        fontsize=11,
    )
    return figure


def _bin_band(n: int, bins: int, level: float) -> tuple[int, int]:
    """Counts of a bin that hold for all bins at once with at least this probability (Bonferroni)."""
    c = np.arange(n + 1)
    log = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    below = np.cumsum(np.exp(log[n] - log[c] - log[n - c] - c * np.log(bins) + (n - c) * np.log1p(-1 / bins)))
    tail = (1 - level) / bins / 2
    return int(np.searchsorted(below, tail)), int(np.searchsorted(below, 1 - tail))


@_style.drawing
def differences(table: list[dict[str, Any]], level: float) -> Figure:
    """For each method: the ranks' distribution function less the uniform one, with its simultaneous band."""
    methods = _grouped(table)
    columns = 3
    rows_of_panels = -(-len(methods) // columns)
    size = (_style.WIDTH, 2.7 * rows_of_panels + 0.7)
    shape = {"sharex": True, "squeeze": False, "layout": "constrained"}
    figure, axes = plt.subplots(rows_of_panels, columns, figsize=size, **shape)
    for axis in axes.ravel()[len(methods) :]:
        axis.set_visible(False)
    for axis, (name, rows) in zip(axes.ravel(), methods.items(), strict=False):
        counts = rows[0]["counts"]
        n, L = sum(counts), len(counts) - 1
        uniform, z = np.arange(1, L + 2) / (L + 1), np.arange(L + 2) / (L + 1)
        band = calibration.band(n, L, level=level)
        lower, upper = (np.append(0, x - uniform) for x in (band.lower, band.upper))
        axis.fill_between(z, lower, upper, color="0.82", linewidth=0, label="right samplers stay in here")
        for row, colour, style in zip(rows, COLOURS, STYLES, strict=False):
            off = np.append(0, calibration.ecdf(_ranks(row), L) - uniform)
            last = row is rows[-1]
            label = row["quantity"] if last else f"weight of {row['quantity']}"
            axis.plot(z, off, style, color=colour, linewidth=2.2 if last else 1.3, label=label)
        axis.set_title(name, fontsize=11)
        limit = 1.15 * max(np.abs(line.get_ydata()).max() for line in axis.lines)
        limit = max(limit, 2 * upper.max())
        axis.set_ylim(-limit, limit)
        axis.axhline(0, color="0.35", linewidth=0.8)
        axis.set_xticks([0, 0.5, 1])
    figure.supxlabel("rank of the truth / number of draws", fontsize=10)
    for axis in axes[:, 0]:
        axis.set_ylabel("share at or below,\nless what is expected")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=len(labels), loc="outside upper center", columnspacing=1.2)
    return figure


@_style.drawing
def wrong(table: list[dict[str, Any]]) -> dict[str, Figure]:
    """Coverage above, regret and lava below, a column for each way of being wrong; each also by itself."""
    kinds = list(dict.fromkeys(row["kind"] for row in table))
    files = {"calibration_wrong.png": _panels(table, kinds)}
    for kind, short in zip(misspecified.VARIANTS, ("beta", "planner", "truth"), strict=True):
        if kind in kinds:
            files[f"calibration_{short}.png"] = _panels(table, [kind])
    return files


def _panels(table: list[dict[str, Any]], kinds: list[str]) -> Figure:
    """Both measures of these ways of being wrong; beside each row, what its curves are."""
    size = (_style.WIDTH, 7.6) if len(kinds) > 1 else (7.6, 6.6)
    figure = plt.figure(figsize=size, layout="constrained")
    for part, named, draw in zip(figure.subfigures(2, 1), (COVERED, COSTS), (_coverage, _costs), strict=True):
        axes = part.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
        for axis, kind in zip(axes, kinds, strict=True):
            draw(axis, table, kind)
            axis.set_title(kind, pad=36 if len(kinds) > 1 or misspecified.VARIANTS[kind][0] else 6)
            axis.label_outer()
            axis.set_xlabel(misspecified.AXES[kind].replace(" (", "\n("))
        lines = [Line2D([], [], color=c, marker=m, label=label) for label, c, m in named.values()]
        part.legend(handles=lines, loc="outside upper center", ncols=len(lines) if len(lines) < 4 else 2)
    return figure


def _curves(axis, table: list[dict[str, Any]], kind: str, named: dict[str, tuple[str, str, str]]) -> None:
    """Each quantity with error bars, solid for the first variant and dashed for the second."""
    variants = misspecified.VARIANTS[kind]
    for variant, style, fill in zip(variants, ("-", "--"), ("full", "none"), strict=False):
        rows = [row for row in table if (row["kind"], row["variant"]) == (kind, variant)]
        x = [row["value"] for row in rows]
        for key, (_, colour, marker) in named.items():
            y, error = ([row[name] for row in rows] for name in (key, f"{key} ±"))
            axis.errorbar(x, y, error, color=colour, marker=marker, linestyle=style, fillstyle=fill, linewidth=1.5)
    if variants[0]:
        lines = [
            Line2D([], [], color=_style.INK, marker="o", linestyle=style, fillstyle=fill, label=variant)
            for variant, style, fill in zip(variants, ("-", "--"), ("full", "none"), strict=True)
        ]
        axis.legend(handles=lines, fontsize=8.5, loc="lower center", bbox_to_anchor=(0.5, 0.98), borderpad=0)
    if kind == misspecified.BETA:
        axis.set_xscale("log", base=2)
        axis.set_xticks(x, [f"{v:g}" if v >= 1 else f"1/{round(1 / v)}" for v in x])
        axis.minorticks_off()
    if kind == misspecified.TRUTH:
        axis.invert_xaxis()
    axis.grid()


def _coverage(axis, table: list[dict[str, Any]], kind: str) -> None:
    axis.axhline(0.9, color=_style.INK, linewidth=1)
    _curves(axis, table, kind, COVERED)
    axis.set_ylim(-0.02, 1.02)
    axis.set_ylabel("share of truths inside\nthe central 90 % of the posterior")


def _costs(axis, table: list[dict[str, Any]], kind: str) -> None:
    _curves(axis, table, kind, COSTS)
    axis.set_ylim(-0.02, 1.05 * max(row[key] + row[f"{key} ±"] for row in table for key in COSTS))
    axis.set_ylabel("regret (share of what is at stake);\nshare of plans that enter lava")
