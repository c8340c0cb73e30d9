"""What came out, in a few sentences and eight rows; the full table is in table.py.

Every sentence is made from the numbers of the run: where they change, so does what is said.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from examples.lavaland.table import MEASURES, Plan, Results, literal, plan_of, recommended

WORSE = 0.05  # of regret, or of a probability: less is no difference worth a word
WIDTH = 100
BEST = ("per step", "per trajectory")  # the schemes of which the short table shows the best planner


def sentences(found: Sequence[Results], limits: Sequence[Results]) -> list[str]:
    """What the careful plan bought, where it failed, and where forbidding the unseen fails."""
    said = [bought(found), failed([*found, *limits])]
    return said + ([forbidding(limits)] if limits else [])


def bought(found: Sequence[Results]) -> str:
    """Lava, goal and regret of the careful plan beside the literal one, on the input with the most maps."""
    results = max(found, key=lambda each: len(each.source))
    plain, careful = (means(plan(results.outcomes)) for plan in (literal, recommended))
    less = careful["lava"] < plain["lava"]
    return (
        f"What the careful plan {'bought' if less else 'did not buy'}: on {results.source.title} the literal plan "
        f"enters lava with probability {plain['lava']:.3f}, the recommended careful plan with {careful['lava']:.3f}; "
        f"it reaches the goal with {careful['goal']:.3f} (literal {plain['goal']:.3f}), and its regret is "
        f"{careful['regret']:.3f} (literal {plain['regret']:.3f})."
    )


def failed(found: Sequence[Results]) -> str:
    """The inputs where the recommended plan loses more than the literal one, and what it does there."""
    parts = []
    for results in found:
        plain, careful = literal(results.outcomes), recommended(results.outcomes)
        lost = np.asarray(careful.regret) - np.asarray(plain.regret)
        if lost.mean() <= WORSE:
            continue
        worse, n = np.flatnonzero(lost > WORSE), len(results.source)
        where = "" if n == 1 else " on every map" if len(worse) == n else f" on {len(worse)} of {n} maps"
        arrives = np.asarray(careful.goal) > WORSE  # where chance moves it the likeliest path says little
        still = sum(not arrives[i] and stays(results, recommended(results.policies), int(i)) for i in worse)
        if still == len(worse):
            deed = "it stays where it is"
        elif still:
            deed = f"it stays where it is on {still} of {n} maps"
        else:
            deed = f"it reaches the goal with probability {means(careful)['goal']:.3f}"
        regret = means(careful)["regret"]
        parts.append(
            f"on {results.source.title} {deed}{where if still == len(worse) else ''}: regret {regret:.3f}"
            f"{', worse than walking at random' if regret > 1 else ''}, where the literal plan's is "
            f"{means(plain)['regret']:.3f}"
        )
    if not parts:
        return f"Where it failed: nowhere here; its mean regret is at most {WORSE:g} above the literal plan's."
    return f"Where it failed: {'; '.join(parts)}."


def forbidding(limits: Sequence[Results]) -> str:
    """What a rule that forbids unseen terrain does in the worlds of limits.py."""
    parts = []
    for results in limits:
        rule = next(means(o) for plan, o in results.outcomes.items() if plan.planner == "forbid the unseen")
        careful, new = means(recommended(results.outcomes)), "/".join(results.source.avoid)
        missed, entered = careful["goal"] - rule["goal"], rule["lava"] - careful["lava"]
        if max(missed, entered) <= WORSE:
            how = f"does as well as the careful plan (regret {rule['regret']:.3f} and {careful['regret']:.3f})"
        elif missed > entered:
            how = f"reaches the goal with probability {rule['goal']:.3f}, the careful plan with {careful['goal']:.3f}"
        else:
            how = f"enters {new} with probability {rule['lava']:.3f}, the careful plan with {careful['lava']:.3f}"
        parts.append(f"{results.source.title}, and it {how}")
    return f"Where forbidding the unseen fails: {'; '.join(parts)}."


def stays(results: Results, policies: np.ndarray, i: int) -> bool:
    """Whether a plan's likeliest paths on one map of an input never leave the start."""
    field = results.source.one(i).field
    paths = field.most_likely_paths(policies[i], field.mdp.horizon or field.mdp.num_states)
    return all(len(set(path)) == 1 for path in paths)


def means(outcome: Any) -> dict[str, float]:
    """Each measure's mean over the maps of an input."""
    return {measure: float(np.mean(getattr(outcome, measure))) for measure in MEASURES}


def chosen(every: Sequence[dict[str, Any]]) -> dict[str, Plan]:
    """The eight planners of the short table by what they are called there; those that did not run are left out."""
    plans = list(dict.fromkeys(plan_of(row) for row in every))
    named: dict[str, Plan] = {}
    for plan in plans:
        if plan.planner == "literal":
            named["literal: the proxy is the reward"] = plan
        elif plan.planner == "posterior mean":
            named["posterior mean"] = plan
        elif plan.default:
            named[f"recommended: {plan.label}"] = plan
        elif plan.control and plan.planner != "mean, Bayesian IRL":
            named[plan.planner] = plan
    for scheme in BEST:
        those = [plan for plan in plans if plan.scheme == scheme and not plan.control]
        if those:
            best = min(those, key=lambda plan: np.mean([row["regret"] for row in every if plan_of(row) == plan]))
            named[f"best {scheme}: {best.label}"] = best
    order = ("literal", "posterior", "recommended", "best per step", "best per tr", "forbid", "CVaR", "oracle")
    return dict(sorted(named.items(), key=lambda pair: [pair[0].startswith(word) for word in order].index(True)))


def short_table(every: Sequence[dict[str, Any]], titles: dict[str, str]) -> str:
    """The eight rows that most people need: planners down, inputs across."""
    named = chosen(every)
    found = {(row["input"], plan_of(row)): row for row in every}
    first = 3 + max(map(len, named))
    above = " " * first + "".join(f"  {title:^20.20}" for title in titles.values())
    heads = " " * first + ("  " + "".join(f"{m:>7}" for m in MEASURES)[1:]) * len(titles)
    lines = [above.rstrip(), heads, "─" * len(heads)]
    for label, plan in named.items():
        cells = ""
        for name in titles:
            row = found.get((name, plan))
            cells += "  " + "".join(f"{row[m]:7.3f}" if row else " " * 7 for m in MEASURES)[1:]
        lines.append(f"{'▸' if plan.default else ' '} {label:<{first - 2}}{cells}".rstrip())
    lines.append("─" * len(heads))
    notes = "Probability of entering lava and of reaching the goal within T steps; regret: 0 is the best policy, 1 the "
    notes += "uniform one."
    errors = [row[f"{m}_se"] for row in every if plan_of(row) in named.values() for m in MEASURES if f"{m}_se" in row]
    if errors:
        notes += f" Standard errors on generated maps are at most {max(errors):.3f}."
    for label, plan in named.items():
        if label.startswith("best per"):
            notes += f" {label.partition(':')[0].capitalize()}: of its planners, the least mean regret here, known "
            notes += f"afterwards; measured from {plan.measured_from}."
    return "\n".join([*lines, *textwrap.wrap(notes, WIDTH)])


def text(
    every: Sequence[dict[str, Any]], titles: dict[str, str], found: Sequence[Results], limits: Sequence[Results]
) -> str:
    """The sentences, then the short table."""
    said = [textwrap.fill(sentence, WIDTH) for sentence in sentences(found, limits)]
    return "\n\n".join([*said, short_table(every, titles)])
