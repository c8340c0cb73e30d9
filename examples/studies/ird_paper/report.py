"""What the paper's study found, as rows, a CSV, a Markdown table and pictures."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from examples._report import mean_and_error
from examples.studies.ird_paper.planners import NORMALIZERS, RISKS, SCHEMES, Outcome
from examples.studies.ird_paper.worlds import CLASSIFIER, CONDITIONS, HACKING, SIDE_EFFECTS, Condition, meant

SHIPPED = "CVaR per step, Sample-Z"
BARS = {  # what the bar chart and the curves show: a colour, and hatching for MaxEnt-Z
    "literal": ("#000000", ""),
    "mean, Sample-Z": ("#E69F00", ""),
    "mean, MaxEnt-Z": ("#E69F00", "////"),
    "CVaR per trajectory, Sample-Z": ("#56B4E9", ""),
    "CVaR per trajectory, MaxEnt-Z": ("#56B4E9", "////"),
    SHIPPED: ("#0072B2", ""),
    "CVaR per step, MaxEnt-Z": ("#0072B2", "////"),
}
# The table's rows, in order.
ROWS = [
    "literal",
    *(f"mean, {normalizer}" for normalizer in NORMALIZERS),
    *(f"{risk} {scheme}, {n}" for scheme in SCHEMES for risk in RISKS for n in NORMALIZERS),
    "oracle, lava",
    "oracle, harmless",
]


def rows(
    settings: dict[str, Any],
    part: str,
    condition: Condition,
    found: dict[str, Any],
    *,
    separation: float | None = None,
    new: float | None = None,
) -> list[dict[str, Any]]:
    """One row per planner: means over maps with standard errors, and differences from the literal plan, paired by map.

    `new` is the probability of entering the new terrain, `goal` that of reaching the goal, `lost` the return lost to
    the best plan if the new terrain is as harmless as the settings say, in units of reward.
    """
    known = meant(settings)
    rewards = {name: np.append(known, settings["truth"][name]) for name in ("lava", "harmless")}
    best = found["oracle, harmless"].visits @ rewards["harmless"]
    blind = found["blind"][~np.isnan(found["blind"])]
    if condition.latent and separation is None:
        separation = settings["latent"]["separation"]
    made = []
    for planner in (name for name in ROWS if name in found):
        outcome: Outcome = found[planner]
        kind, _, normalizer = planner.partition(", ")
        row: dict[str, Any] = {
            "part": part,
            "condition": condition.name,
            "planner": planner,
            "separation": separation,
            "new_share": settings["world"]["new"] if new is None else new,
            "maps": len(outcome.goal),
        }
        row["new"], row["new_se"] = mean_and_error(outcome.new)
        row["new_less_literal"], row["new_less_literal_se"] = mean_and_error(outcome.new - found["literal"].new)
        row["goal"], row["goal_se"] = mean_and_error(outcome.goal)
        row["lost"], row["lost_se"] = mean_and_error(best - outcome.visits @ rewards["harmless"])
        row["gap"] = float(np.max(outcome.gap))
        worth = found.get(f"worth of {normalizer}") if kind != "oracle" else None
        row["worth"] = None if worth is None else float(np.mean(worth))
        row["blind"] = float(blind.mean()) if blind.size else None
        made.append(row)
    return made


def save_csv(table: Sequence[dict[str, Any]], path: Path) -> None:
    """Every row of every part."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        for row in table:
            writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()})


TITLE = "# The inverse reward design paper: the study"
CAPTIONS = {
    "ird_paper.png": "Lava entered and goal reached in every condition, by planner",
    "ird_paper_separation.png": "Lava entered and goal reached against the separation of the terrains' means",
    "ird_paper_harmless.png": "What caution costs where the new terrain is harmless",
}


def markdown(settings: dict[str, Any], table: Sequence[dict[str, Any]], command: str, pictures: Sequence[Path]) -> str:
    """The study's page: the main table, and those of separations and of harmless new terrain."""
    world, latent = settings["world"], settings["latent"]
    D, nu = latent["dimensions"], latent["spread"]
    lines = [
        TITLE,
        "",
        f"Made by `{command}` (seed {settings['seed']}; settings chosen on maps of other seeds).",
        f"Maps: 10 × 10 cells, {world['horizon']} steps; {world['new']:.1%} of a test map is lava, and",
        f"{world['grass']:.0%} of the rest grass. Latent features have {D} dimensions: each terrain's mean is",
        f"N(0, s² I), with s the separation ({latent['separation']:g} where nothing else is said), its covariance",
        f"G Gᵀ/{nu} with G of {D} × {nu} independent N(0, 1), both drawn anew for every pair of maps, with",
        f"{latent['labels']} labelled observations of each known terrain.",
        "± one standard error over maps. **Bold**: the shipped planner. [What it means](../ird_paper.md).",
        "",
    ]
    shown = {file.name: f"![{CAPTIONS[file.name]}]({file.name})" for file in pictures}
    main = [row for row in table if row["part"] == "main"]
    names = list(dict.fromkeys(row["condition"] for row in main))
    lines += ["## Every condition", "", shown["ird_paper.png"], ""]
    lines += [f"Lava entered / goal reached, {main[0]['maps']} pairs of maps.", ""]
    lines += ["| planner | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for planner in dict.fromkeys(row["planner"] for row in main):
        cells = [_cell(main, planner, name) for name in names]
        bold = "**" if planner == SHIPPED else ""
        lines.append(f"| {bold}{planner}{bold} | " + " | ".join(cells) + " |")
    blind = [next(row["blind"] for row in main if row["condition"] == name) for name in names]
    lines.append("| *lava that looks like known terrain* | " + " | ".join(map(_share, blind)) + " |")
    for part, key, title, what in (
        ("separation", "separation", "By separation of the terrains' means", "Lava entered / goal reached"),
        (
            "harmless",
            "new_share",
            "What caution costs: new terrain that is harmless, by its share",
            "New terrain entered / goal reached / return lost to the best plan (1 is a step at the target)",
        ),
    ):
        some = _of(table, part)
        if not some:
            continue
        values = list(dict.fromkeys(row[key] for row in some))
        maps = " or ".join(str(n) for n in dict.fromkeys(row["maps"] for row in some))
        lines += ["", f"## {title}", "", shown[f"ird_paper_{part}.png"], "", f"{what}; {maps} pairs of maps.", ""]
        lines += ["| condition | planner | " + " | ".join(f"{v:g}" for v in values) + " |"]
        lines += ["|---|---|" + "---:|" * len(values)]
        for name in dict.fromkeys(row["condition"] for row in some):
            by_value = [[row for row in some if row[key] == v] for v in values]
            for planner in ("literal", SHIPPED):
                cells = [_cell(rows, planner, name, lost=part == "harmless") for rows in by_value]
                lines.append(f"| {name} | {planner} | " + " | ".join(cells) + " |")
            if part == "separation" and CLASSIFIER in name:
                blind = [next(row["blind"] for row in rows if row["condition"] == name) for rows in by_value]
                cells = " | ".join(map(_share, blind))
                lines.append(f"| {name} | *lava that looks like known terrain* | {cells} |")
    return "\n".join(lines) + "\n"


def _of(table: Sequence[dict[str, Any]], part: str) -> list[dict[str, Any]]:
    """The rows of a part; those with harmless terrain begin with the main part's maps, judged as harmless."""
    some = [row for row in table if row["part"] == part]
    if part == "harmless" and some:
        some = [row for row in table if row["part"] == "main"] + some
    return some


def _share(x: float | None) -> str:
    return "" if x is None else f"{x:.2f}"


def _cell(table: Sequence[dict[str, Any]], planner: str, condition: str, lost: bool = False) -> str:
    for row in table:
        if row["planner"] == planner and row["condition"] == condition:
            error = "" if row["new_se"] is None else f" ± {row['new_se']:.3f}"
            text = f"{row['new']:.3f}{error} / {row['goal']:.3f}"
            return text + (f" / {round(row['lost'], 1) + 0.0:.1f}" if lost else "")
    return ""


def draw(table: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """The pictures that the rows allow."""
    import matplotlib

    matplotlib.use("Agg")
    files = []
    for part, function in (("main", _bars), ("separation", _separations), ("harmless", _harmless)):
        some = _of(table, part)
        if some:
            name = "ird_paper" if part == "main" else f"ird_paper_{part}"
            files.append(folder / f"{name}.png")
            figure = function(some)
            figure.savefig(files[-1], dpi=140)
            import matplotlib.pyplot as plt

            plt.close(figure)
    return files


def _bars(table):
    """Grouped bars: lava entered above, goal reached below, a group for each condition."""
    import matplotlib.pyplot as plt

    names = [c.name for c in CONDITIONS if any(row["condition"] == c.name for row in table)]
    figure, axes = plt.subplots(2, 1, figsize=(12, 7.4), sharex=True, layout="constrained", height_ratios=(3, 2))
    width = 0.8 / len(BARS)
    for axis, measure in zip(axes, ("new", "goal"), strict=True):
        for i, (planner, (colour, hatch)) in enumerate(BARS.items()):
            found = {row["condition"]: row for row in table if row["planner"] == planner}
            at = np.arange(len(names)) + (i - (len(BARS) - 1) / 2) * width
            height = [found[name][measure] for name in names]
            error = [2 * (found[name][f"{measure}_se"] or 0) for name in names]
            style = {"color": colour} if not hatch else {"facecolor": "white", "edgecolor": colour, "hatch": hatch}
            axis.bar(at, height, 0.9 * width, yerr=error, capsize=2, error_kw={"lw": 1}, label=planner, **style)
            for x, y, e in zip(at, height, error, strict=True):
                text = f"{y:.2f}".lstrip("0") if y < 0.995 else "1"
                axis.text(x, y + e + 0.012, text, ha="center", va="bottom", fontsize=7.5)
        axis.spines[["top", "right"]].set_visible(False)
    top = max(row["new"] + 2 * (row["new_se"] or 0) for row in table if row["planner"] in BARS)
    axes[0].set(ylabel="probability of entering lava\n(± 2 standard errors)", ylim=(0, 1.15 * top + 0.02))
    axes[1].set(ylabel="probability of\nreaching the goal", ylim=(0, 1.16))
    axes[1].set_xticks(range(len(names)), [name.replace(", ", "\n") for name in names], fontsize=11)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=4, loc="outside upper center", frameon=False, fontsize=10)
    return figure


def _separations(table):
    """Rates against the separation of the terrains' means, one column for each latent condition."""
    import matplotlib.pyplot as plt

    names = [c.name for c in CONDITIONS if any(row["condition"] == c.name for row in table)]
    figure, axes = plt.subplots(
        2, len(names), figsize=(3.4 * len(names), 5.8), sharex=True, sharey="row", squeeze=False, layout="constrained"
    )
    planners = ("literal", SHIPPED)
    for column, name in zip(axes.T, names, strict=True):
        for axis, measure in zip(column, ("new", "goal"), strict=True):
            for planner, marker in zip(planners, "so", strict=True):
                curve = [row for row in table if row["condition"] == name and row["planner"] == planner]
                x, y = ([row[key] for row in curve] for key in ("separation", measure))
                error = [2 * (row[f"{measure}_se"] or 0) for row in curve]
                axis.errorbar(x, y, error, marker=marker, color=BARS[planner][0], capsize=2, ms=5, label=planner)
            axis.grid(alpha=0.3)
        literal = [row for row in table if row["condition"] == name and row["planner"] == "literal"]
        if literal[0]["blind"] is not None:
            x, y = ([row[key] for row in literal] for key in ("separation", "blind"))
            column[0].plot(x, y, ":", color="#D55E00", lw=2, label="lava that looks like known terrain")
        else:
            x, y = [row["separation"] for row in literal], [row["new"] / 3 for row in literal]
            column[0].plot(x, y, "--", color="#999999", lw=1, label="a third of the literal plan's")
        column[0].set_title(name.replace(", ", "\n"), fontsize=11)
        column[1].set_xlabel("separation of the means,\nin units of the noise")
    axes[0, 0].set(ylabel="probability of entering lava\n(± 2 standard errors)", ylim=(0, None))
    axes[1, 0].set(ylabel="probability of\nreaching the goal", ylim=(0, 1.05))
    named = dict(pair[::-1] for axis in axes[0] for pair in zip(*axis.get_legend_handles_labels(), strict=True))
    figure.legend(named.values(), named, ncols=5, loc="outside upper center", frameon=False, fontsize=9)
    return figure


def _harmless(table):
    """What caution costs where the new terrain is harmless: entered, goal reached, return lost, by its share."""
    import matplotlib.pyplot as plt

    kinds = [
        kind for kind in dict.fromkeys(c.features for c in CONDITIONS) if any(kind in r["condition"] for r in table)
    ]
    figure, axes = plt.subplots(
        3, len(kinds), figsize=(3.8 * len(kinds), 7.6), sharex=True, sharey="row", squeeze=False, layout="constrained"
    )
    planners = ("literal", SHIPPED)
    for column, kind in zip(axes.T, kinds, strict=True):
        for axis, measure in zip(column, ("new", "goal", "lost"), strict=True):
            for problem, line, fill in ((SIDE_EFFECTS, "-", "full"), (HACKING, "--", "none")):
                for planner in planners:
                    curve = [
                        row for row in table if row["condition"] == f"{problem}, {kind}" and row["planner"] == planner
                    ]
                    if curve:
                        x, y = ([row[key] for row in curve] for key in ("new_share", measure))
                        error = [2 * (row[f"{measure}_se"] or 0) for row in curve]
                        style = {"color": BARS[planner][0], "ls": line, "fillstyle": fill, "marker": "o", "capsize": 2}
                        axis.errorbar(x, y, error, label=f"{planner}: {problem}", ms=5, **style)
            axis.grid(alpha=0.3)
        column[0].set_title(kind, fontsize=11)
        column[2].set_xlabel("share of new terrain")
    axes[0, 0].set(ylabel="new terrain entered\n(probability, ± 2 standard errors)", ylim=(0, 1.05))
    axes[1, 0].set(ylabel="goal reached\n(probability)", ylim=(0, 1.05))
    axes[2, 0].set(ylabel="return lost\n(1 is a step at the target)", ylim=(0, None))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=2, loc="outside upper center", frameon=False, fontsize=9)
    return figure
