"""What the planners did, as rows: averages over maps, standard errors, paired differences; and as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from examples._report import mean_and_error, plus_minus
from examples.lavaland.inputs import Input
from examples.lavaland.planners import Beliefs, Outcome

MEASURES = ("lava", "goal", "regret")
CONTROLS = "Controls"


@dataclass(frozen=True)
class Plan:
    """What distinguishes one planner from another.

    Attributes:
        planner: what it maximises, or what kind of control it is.
        scheme: "per step", "per trajectory", "of the unknown alone", or "" where there is no care.
        measured_from: the baseline (per step) or the offset (per trajectory).
        alpha: CVaR's share of the posterior.
        default: whether this is the recommended planner.
        control: whether it is there for comparison alone.
    """

    planner: str
    scheme: str = ""
    measured_from: str = ""
    alpha: float | None = None
    default: bool = False
    control: bool = False

    @property
    def label(self) -> str:
        """The planner in a few words."""
        alpha = "" if self.alpha is None or self.control else f" {self.alpha:g}"
        return f"{self.planner}{alpha}"

    @property
    def section(self) -> str:
        """The part of the table that it belongs to."""
        if self.control:
            return CONTROLS
        if not self.scheme:
            return "No care"
        return f"{self.scheme.capitalize()}, from {self.measured_from}" if self.measured_from else f"Care {self.scheme}"


RECOMMENDED = Plan("least exposure", "of the unknown alone", default=True)


@dataclass
class Results:
    """Everything that was computed for one input.

    Attributes:
        source: the input.
        beliefs: what was inferred, with a leading axis of cases.
        outcomes: how each planner did, `[maps]` each.
        seconds: wall time of each stage of the batch that it was part of.
        policies: the policies of the planners that are drawn, `[maps, ...]`.
    """

    source: Input
    beliefs: Beliefs | None
    outcomes: dict[Plan, Outcome]
    seconds: dict[str, float] = field(default_factory=dict)
    policies: dict[Plan, np.ndarray] = field(default_factory=dict)


def rows(results: Results) -> list[dict[str, Any]]:
    """One row per planner: the plan, the number of maps, and for each measure its mean.

    Generated maps are a sample, so their rows also have standard errors (`lava_se`) and differences paired
    by map (`lava_minus_literal`, `lava_minus_default`, and their `_se`).  Inputs of a few given maps have the
    rates on each by name instead (`by_map`).
    """
    source, made = results.source, []
    sample = not source.labels and len(source) > 1
    for plan, outcome in results.outcomes.items():
        row = {"input": source.name, **asdict(plan), "maps": len(source)}
        for measure in MEASURES:
            row[measure], error = mean_and_error(getattr(outcome, measure))
            if sample:
                row[f"{measure}_se"] = error
        row["gap"] = float(np.max(outcome.gap))
        if sample:
            for other, reference in (("literal", literal), ("default", recommended)):
                against = reference(results.outcomes)
                for measure in MEASURES if against is not None else ():
                    difference = np.asarray(getattr(outcome, measure)) - np.asarray(getattr(against, measure))
                    key = f"{measure}_minus_{other}"
                    row[key], row[f"{key}_se"] = mean_and_error(difference)
        if source.labels:
            row["by_map"] = {
                label: {m: float(getattr(outcome, m)[i]) for m in MEASURES} for i, label in enumerate(source.labels)
            }
        made.append(row)
    return made


def literal(outcomes: Mapping[Plan, Any]) -> Any:
    """What the literal planner did, among anything kept by planner."""
    return next((outcome for plan, outcome in outcomes.items() if plan.planner == "literal"), None)


def recommended(outcomes: Mapping[Plan, Any]) -> Any:
    """What the recommended planner did, among anything kept by planner; None where it did not run."""
    return next((o for plan, o in outcomes.items() if plan.default), None)


def table(every: Sequence[dict[str, Any]], titles: dict[str, str]) -> str:
    """All rows of all inputs as text: planners down, inputs across.

    Args:
        every: rows of all inputs.
        titles: title of each input by name, in order.
    """
    plans = list(dict.fromkeys(plan_of(row) for row in every))
    found = {(row["input"], plan_of(row)): row for row in every}
    columns = []  # (input, key, width)
    for name in titles:
        errors = any("lava_se" in row for row in every if row["input"] == name)
        columns += [(name, key, 14 if errors else 7) for key in MEASURES]
        columns += [(name, "lava_minus_literal", 15)] * errors
    first = max(24, *(len(plan.label) + 3 for plan in plans))
    above, heads = " " * first, " " * first
    for name, title in titles.items():
        own = [c for c in columns if c[0] == name]
        width = sum(w for *_, w in own)
        above += f" {title:^{width - 1}}"
        heads += "".join(f"{'Δ lava' if 'minus' in key else key:>{w}}" for _, key, w in own)
    heads += f"{'gap':>8}"
    lines = [
        "Probability of entering lava and of reaching the goal within T steps; regret, a share of V* - V(uniform).",
        "",
    ]
    lines += [above.rstrip(), heads, "─" * len(heads)]
    sections = sorted(dict.fromkeys(plan.section for plan in plans), key=lambda section: section == CONTROLS)
    for section in sections:
        lines.append(section)
        for plan in (plan for plan in plans if plan.section == section):
            cells = "".join(f"{_cell(found.get((name, plan)), key):>{w}}" for name, key, w in columns)
            gap = max(row["gap"] for (_, p), row in found.items() if p == plan)
            lines.append(f"{'▸' if plan.default else ' '} {plan.label:<{first - 2}}{cells}{gap:>8.0e}")
    lines += [
        "─" * len(heads),
        "▸ recommended. ± standard error over maps; Δ lava: less the literal planner's, paired by map;",
        "gap: largest certified distance from the optimum of what the planner maximises, relative to max(1, |it|).",
    ]
    return "\n".join(lines)


def limits_table(every: Sequence[dict[str, Any]], limits: Sequence[Results]) -> str:
    """The second table as text: for each of its worlds, who enters what is new and who arrives."""
    lines = []
    for each in limits:
        new = "/".join(each.source.avoid)
        lines += ["", f"{each.source.title:<32}{'enters ' + new:>16}{'goal':>16}{'regret':>16}", "─" * 80]
        for row in (row for row in every if row["input"] == each.source.name):
            cells = "".join(f"{_cell(row, key):>16}" for key in MEASURES)
            lines.append(f"{'▸' if row['default'] else ' '} {plan_of(row).label:<30}{cells}")
    return "\n".join(lines)


def plan_of(row: dict[str, Any]) -> Plan:
    """The planner of a row."""
    return Plan(**{name: row[name] for name in Plan.__dataclass_fields__})


def _cell(row: dict[str, Any] | None, key: str) -> str:
    if row is None or key not in row:
        return ""
    return plus_minus(row[key], row.get(f"{key}_se"), sign="+" if "minus" in key else "")
