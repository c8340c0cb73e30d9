"""Pictures of the calibration study: rank histograms, differences of distribution functions, wrong models."""

from pathlib import Path
from typing import Any

import numpy as np

from examples.studies.calibration import misspecified
from ird import calibration

BINS = 20
INK, RED = "#0072B2", "#D55E00"
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00")
STYLES = ("-", "--", "-.", "-")


def _grouped(table: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in table:
        found.setdefault(row["method"], []).append(row)
    return found


def _ranks(row: dict[str, Any]) -> np.ndarray:
    return np.repeat(np.arange(len(row["counts"])), row["counts"])


def histograms(table: list[dict[str, Any]], level: float, path: Path) -> None:
    """A row of panels per method, a column per quantity; orange where the ranks leave the simultaneous band."""
    import matplotlib.pyplot as plt

    methods = _grouped(table)
    quantities = [row["quantity"] for row in next(iter(methods.values()))]
    size = (2.7 * len(quantities) + 1.6, 1.45 * len(methods) + 1.3)
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
            axis.text(0.97, 0.95, shown, ha="right", va="top", transform=axis.transAxes, fontsize=8.5)
            if y == 0:
                axis.set_title(row["quantity"] if x == len(rows) - 1 else f"weight of {row['quantity']}", fontsize=11)
            for side in ("top", "right"):
                axis.spines[side].set_visible(False)
        axes[y, 0].set_ylabel(name.replace(", ", ",\n").replace(" Laplace ", "\nLaplace\n").replace("the ", "the\n"))
        axes[y, 0].set_ylim(0, 3.8)
        axes[y, 0].set_yticks([0, 1, 2, 3])
    for axis in axes[-1]:
        axis.set_xticks([0, 0.5, 1], ["lowest", "middle", "highest"])
        axis.set_xlabel("rank of the truth")
    figure.suptitle(
        "Share of designers at each rank, over what is expected (1)\n"
        "grey: where the bars of right samplers stay; orange: ranks that are not uniform",
        fontsize=11,
    )
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _bin_band(n: int, bins: int, level: float) -> tuple[int, int]:
    """Counts of a bin that hold for all bins at once with at least this probability (Bonferroni)."""
    c = np.arange(n + 1)
    log = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    below = np.cumsum(np.exp(log[n] - log[c] - log[n - c] - c * np.log(bins) + (n - c) * np.log1p(-1 / bins)))
    tail = (1 - level) / bins / 2
    return int(np.searchsorted(below, tail)), int(np.searchsorted(below, 1 - tail))


def differences(table: list[dict[str, Any]], level: float, path: Path) -> None:
    """For each method: the ranks' distribution function less the uniform one, with its simultaneous band."""
    import matplotlib.pyplot as plt

    methods = _grouped(table)
    columns = 3
    rows_of_panels = -(-len(methods) // columns)
    figure, axes = plt.subplots(
        rows_of_panels, columns, figsize=(11, 3.1 * rows_of_panels + 0.7), sharex=True, squeeze=False
    )
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
    for axis in axes[-1]:
        axis.set_xlabel("rank of the truth / number of draws")
    for axis in axes[:, 0]:
        axis.set_ylabel("share at or below,\nless what is expected")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=len(labels), frameon=False, loc="lower center", fontsize=9.5)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(path, dpi=120)
    plt.close(figure)


def wrong(table: list[dict[str, Any]], folder: Path) -> None:
    """Coverage above, regret and lava below, a column for each way of being wrong; each also by itself."""
    import matplotlib.pyplot as plt

    kinds = list(dict.fromkeys(row["kind"] for row in table))
    figure, axes = plt.subplots(2, len(kinds), figsize=(4.9 * len(kinds), 9.2), squeeze=False, layout="constrained")
    for column, kind in zip(axes.T, kinds, strict=True):
        _coverage(column[0], table, kind)
        _costs(column[1], table, kind)
    figure.savefig(folder / "calibration_wrong.png", dpi=110)
    plt.close(figure)
    for kind, short in zip(misspecified.VARIANTS, ("beta", "planner", "truth"), strict=True):
        if kind in kinds:
            figure, axes = plt.subplots(1, 2, figsize=(10.5, 5.2), layout="constrained")
            _coverage(axes[0], table, kind)
            _costs(axes[1], table, kind)
            figure.savefig(folder / f"calibration_{short}.png", dpi=110)
            plt.close(figure)


def _curves(axis, table: list[dict[str, Any]], kind: str, named: dict[str, tuple[str, str, str]]) -> None:
    """Each quantity with error bars, solid for the first variant and dashed for the second."""
    variants = misspecified.VARIANTS[kind]
    for variant, style, fill in zip(variants, ("-", "--"), ("full", "none"), strict=False):
        rows = [row for row in table if (row["kind"], row["variant"]) == (kind, variant)]
        x = [row["value"] for row in rows]
        for key, (label, colour, marker) in named.items():
            y, error = ([row[name] for row in rows] for name in (key, f"{key} ±"))
            said = label if variant == variants[0] else None
            look = {"color": colour, "marker": marker, "linestyle": style, "fillstyle": fill}
            axis.errorbar(x, y, error, label=said, markersize=5, linewidth=1.5, **look)
        if variant:
            axis.plot([], [], color="0.3", marker="o", linestyle=style, fillstyle=fill, label=variant)
    if kind == misspecified.BETA:
        axis.set_xscale("log", base=2)
        axis.set_xticks(x, [f"{v:g}" if v >= 1 else f"1/{round(1 / v)}" for v in x])
        axis.minorticks_off()
    if kind == misspecified.TRUTH:
        axis.invert_xaxis()
    axis.set_xlabel(misspecified.AXES[kind])
    axis.grid(alpha=0.3)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _coverage(axis, table: list[dict[str, Any]], kind: str) -> None:
    named = {
        "coverage, seen": ("weights seen in training", "#0072B2", "o"),
        "coverage, lava": ("weight of lava", "#D55E00", "s"),
        "coverage, log-likelihood": ("log-likelihood", "#009E73", "^"),
    }
    axis.axhline(0.9, color="0.35", linewidth=1)
    _curves(axis, table, kind, named)
    axis.set_ylim(-0.02, 1.02)
    axis.set_ylabel("share of truths inside\nthe central 90 % of the posterior")
    axis.set_title(f"{kind}: calibration", fontsize=11)
    axis.legend(fontsize=7.5, loc="lower left")


def _costs(axis, table: list[dict[str, Any]], kind: str) -> None:
    named = {
        "regret": ("regret, careful plan", "#0072B2", "o"),
        "mean_regret": ("regret, plan for the posterior mean", "#56B4E9", "v"),
        "lava": ("enters lava, careful plan", "#D55E00", "s"),
        "mean_lava": ("enters lava, plan for the posterior mean", "#E69F00", "D"),
    }
    _curves(axis, table, kind, named)
    axis.set_ylim(bottom=0)
    axis.set_ylabel("regret (share of what is at stake);\nshare of plans that enter lava")
    axis.set_title(f"{kind}: the plans", fontsize=11)
    axis.set_ylim(top=1.28 * axis.get_ylim()[1])
    axis.legend(fontsize=7.5, loc="upper left")
