"""What the paper's study found, as rows, a CSV, a Markdown table and pictures."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from examples import _style
from examples._report import mean_and_error
from examples.studies.ird_paper.planners import NORMALIZERS, RISKS, SCHEMES, Outcome
from examples.studies.ird_paper.worlds import CLASSIFIER, CONDITIONS, HACKING, SIDE_EFFECTS, Condition, meant

RECOMMENDED = "CVaR per step, Sample-Z"
LEAST = "least exposure, Sample-Z"
BARS = {  # what the bar chart and the curves show: a colour, and hatching for MaxEnt-Z
    "literal": (_style.INK, ""),
    "mean, Sample-Z": (_style.AMBER, ""),
    "mean, MaxEnt-Z": (_style.AMBER, "////"),
    "CVaR per trajectory, Sample-Z": (_style.SKY, ""),
    "CVaR per trajectory, MaxEnt-Z": (_style.SKY, "////"),
    RECOMMENDED: (_style.BLUE, ""),
    "CVaR per step, MaxEnt-Z": (_style.BLUE, "////"),
    LEAST: (_style.PURPLE, ""),
}
# The table's rows, in order.
ROWS = [
    "literal",
    *(f"mean, {normalizer}" for normalizer in NORMALIZERS),
    *(f"{risk} {scheme}, {n}" for scheme in SCHEMES for risk in RISKS for n in NORMALIZERS),
    LEAST,
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
        "± one standard error over maps. **Bold**: the recommended planner. [What it means](../ird_paper.md).",
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
        bold = "**" if planner == RECOMMENDED else ""
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
            for planner in ("literal", RECOMMENDED):
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


@_style.drawing
def draw(table: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """The pictures that the rows allow."""
    files = []
    for part, function in (("main", _bars), ("separation", _separations), ("harmless", _harmless)):
        some = _of(table, part)
        if some:
            name = "ird_paper" if part == "main" else f"ird_paper_{part}"
            files.append(folder / f"{name}.png")
            _style.save(function(some), files[-1])
    return files


def _bars(table) -> Figure:
    """Lava entered, a panel for each condition and a bar for each planner; beside each bar, how often it arrives."""
    names = [c.name for c in CONDITIONS if any(row["condition"] == c.name for row in table)]
    problems = [p for p in (SIDE_EFFECTS, HACKING) if any(name.startswith(p) for name in names)]
    columns = max(sum(name.startswith(problem) for name in names) for problem in problems)
    shape = {"sharex": True, "sharey": True, "squeeze": False, "layout": "constrained"}
    size = (_style.WIDTH, 2.9 * len(problems) + 0.5)
    figure, axes = plt.subplots(len(problems), columns, figsize=size, **shape)
    top = max(row["new"] + 2 * (row["new_se"] or 0) for row in table if row["planner"] in BARS)
    for line, problem in zip(axes, problems, strict=True):
        mine = [name for name in names if name.startswith(problem)]
        for axis in line[len(mine) :]:
            axis.set_axis_off()
        for axis, name in zip(line, mine, strict=False):
            _planners(axis, {row["planner"]: row for row in table if row["condition"] == name}, 1.28 * top)
            axis.set_title(name.replace(", ", ",\n"), fontsize=10)
    figure.supxlabel("probability of entering lava (± 2 standard errors); in grey on the right: of reaching the goal",
                     fontsize=10)  # fmt: skip
    return figure


def _planners(axis, found: dict[str, dict[str, Any]], top: float) -> None:
    """One panel of bars, with numbers."""
    for y, (planner, (colour, hatch)) in enumerate(BARS.items()):
        row = found[planner]
        error = 2 * (row["new_se"] or 0)
        style = {"color": colour} if not hatch else {"facecolor": "white", "edgecolor": colour, "hatch": hatch}
        axis.barh(y, row["new"], 0.72, xerr=error, error_kw={"lw": 1}, **style)
        axis.annotate(f"{row['new']:.2f}".lstrip("0"), (row["new"] + error, y), (3, 0), textcoords="offset points",
                      va="center", fontsize=8.5)  # fmt: skip
        axis.annotate("1" if row["goal"] > 0.995 else f"{row['goal']:.2f}".lstrip("0"), (top, y), va="center",
                      ha="right", fontsize=8.5, color=_style.GREY)  # fmt: skip
    axis.set_xlim(0, top)
    axis.set_yticks(range(len(BARS)), BARS)
    axis.tick_params(axis="y", length=0)
    axis.invert_yaxis() if not axis.yaxis_inverted() else None


def _separations(table):
    """Rates against the separation of the terrains' means, one column for each latent condition."""
    names = [c.name for c in CONDITIONS if any(row["condition"] == c.name for row in table)]
    shape = {"sharex": True, "sharey": "row", "squeeze": False, "layout": "constrained"}
    figure, axes = plt.subplots(2, len(names), figsize=(_style.WIDTH, 5.4), **shape)
    planners = ("literal", RECOMMENDED)
    for column, name in zip(axes.T, names, strict=True):
        for axis, measure in zip(column, ("new", "goal"), strict=True):
            for planner, marker in zip(planners, "so", strict=True):
                curve = [row for row in table if row["condition"] == name and row["planner"] == planner]
                x, y = ([row[key] for row in curve] for key in ("separation", measure))
                error = [2 * (row[f"{measure}_se"] or 0) for row in curve]
                axis.errorbar(x, y, error, marker=marker, color=BARS[planner][0], capsize=2, ms=5, label=planner)
            axis.grid()
        literal = [row for row in table if row["condition"] == name and row["planner"] == "literal"]
        if literal[0]["blind"] is not None:
            x, y = ([row[key] for row in literal] for key in ("separation", "blind"))
            column[0].plot(x, y, ":", color=_style.ORANGE, lw=2, label="lava that looks like known terrain")
        else:
            x, y = [row["separation"] for row in literal], [row["new"] / 3 for row in literal]
            column[0].plot(x, y, "--", color=_style.GREY, lw=1.2, label="a third of the literal plan's")
        column[0].set_title(name.replace(", ", ",\n"), fontsize=10)
    figure.supxlabel("separation of the means, in units of the noise", fontsize=10)
    axes[0, 0].set(ylabel="lava entered\n(probability, ± 2 s.e.)", ylim=(0, None))
    axes[1, 0].set(ylabel="goal reached\n(probability)", ylim=(0, 1.05))
    named = dict(pair[::-1] for axis in axes[0] for pair in zip(*axis.get_legend_handles_labels(), strict=True))
    figure.legend(named.values(), named, ncols=4, loc="outside upper center", columnspacing=1.0)
    return figure


def _harmless(table):
    """What caution costs where the new terrain is harmless: entered, goal reached, return lost, by its share."""
    kinds = [
        kind for kind in dict.fromkeys(c.features for c in CONDITIONS) if any(kind in r["condition"] for r in table)
    ]
    shape = {"sharex": True, "sharey": "row", "squeeze": False, "layout": "constrained"}
    figure, axes = plt.subplots(3, len(kinds), figsize=(_style.WIDTH, 7.4), **shape)
    planners = ("literal", RECOMMENDED)
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
            axis.grid()
        column[0].set_title(kind[0].upper() + kind[1:])
    figure.supxlabel("share of new terrain", fontsize=10)
    axes[0, 0].set(ylabel="new terrain entered\n(probability, ± 2 s.e.)", ylim=(0, 1.05))
    axes[1, 0].set(ylabel="goal reached\n(probability)", ylim=(0, 1.05))
    axes[2, 0].set(ylabel="return lost\n(1 is a step at the target)", ylim=(0, None))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=2, loc="outside upper center")
    return figure
