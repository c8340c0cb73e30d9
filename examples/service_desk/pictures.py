"""Pictures: where conversations go under each agent, and what the metrics say of it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from examples import _style
from examples.service_desk.desk import ACTIONS, NONE, RIGHT, Desk, State, Step
from examples.service_desk.random_tables import AGENTS, Found
from mdps import MDP, occupancy

# Where each stage of an issue stands on the picture.
PLACES = {
    "new": (0.0, 1.0),
    "1 question": (0.9, 1.8),
    "2 questions": (2.5, 1.8),
    "right answer": (2.9, 0.95),
    "wrong answer": (1.6, 0.2),
    "came back": (0.4, -0.75),
    "resolved": (4.6, 1.75),
    "escalated": (4.6, 0.95),
    "unresolved": (4.6, 0.15),
    "left": (4.6, -0.75),
}
ENDS = ("resolved", "escalated", "unresolved", "left")
COLOURS = {
    "resolved": _style.GREEN,
    "reopened": _style.ORANGE,
    "escalated": _style.AMBER,
    "left": _style.PINK,
    "unresolved": _style.GREY,
}


def stage(state: Any) -> str:
    """The stage of an issue that a state belongs to."""
    if state.last != NONE:
        return "right answer" if state.last == RIGHT else "wrong answer"
    if state.reopened:
        return "came back"
    return ("new", "1 question", "2 questions")[state.asked]


def ending(step: Step) -> str:
    """Where a step leads, as a stage or as the end of the issue."""
    counts = step.counts
    for name in ("left", "escalated", "resolved"):
        if name in counts:
            return name
    return "unresolved" if "closed" in counts and "reopened" not in counts else stage(step.to)


def flows(desk: Desk, mdp: MDP, policy: Any, cases: str) -> dict[tuple[str, str], float]:
    """How often an issue goes from one stage to another, per issue that was brought."""
    visits, mix = np.asarray(occupancy(mdp, policy)), desk.table["cases"][cases]
    found: dict[tuple[str, str], float] = defaultdict(float)
    for s, state in enumerate(desk.states()):
        for a, action in enumerate(ACTIONS if isinstance(state, State) else ()):
            if visits[s, a] > 1e-6:
                for step in desk.after(state, action, mix):
                    found[stage(state), ending(step)] += float(visits[s, a]) * step.probability
    begun = desk.table["issues"]
    return {edge: often / begun for edge, often in found.items()}


@_style.drawing
def paths(shown: Mapping[str, dict[tuple[str, str], float]]) -> Figure:
    """The conversation as a graph, once for each agent; a line is as wide as it is often taken."""
    figure, axes = plt.subplots(2, 2, figsize=(_style.WIDTH, 6.4), layout="constrained")
    figure.supxlabel("of 100 issues, how many end so or come back; a line is as wide as it is often taken", fontsize=10)
    boxes = []
    for axis, (name, edges) in zip(axes.flat, shown.items(), strict=True):
        axis.set(xlim=(-0.65, 5.35), ylim=(-1.35, 2.2), xticks=[], yticks=[], title=name)
        for side in axis.spines.values():
            side.set_visible(False)
        boxes.append({place: _box(axis, place, edges) for place in PLACES})
    figure.canvas.draw()  # boxes have their sizes now, and lines end at them
    for axis, placed, edges in zip(axes.flat, boxes, shown.values(), strict=True):
        for (start, end), often in edges.items():
            if often >= 0.01 and start != end:
                _line(axis, placed, start, end, often)
    return figure


def _box(axis: Any, place: str, edges: dict[tuple[str, str], float]) -> Any:
    """A stage, pale where nobody comes."""
    share = sum(often for (start, end), often in edges.items() if end == place and start != place)
    met = share >= 0.005 or place == "new"
    text = f"{place}\n{share:.0%}" if place in ENDS or place == "came back" else place
    style = {"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": _colour(place) if met else _style.PALE}
    colour = _style.INK if met else _style.GREY
    middle = {"ha": "center", "va": "center", "fontsize": 9, "color": colour, "zorder": 3}
    return axis.text(*PLACES[place], text, bbox=style | {"linewidth": 1.6}, **middle).get_bbox_patch()


def _line(axis: Any, placed: dict[str, Any], start: str, end: str, often: float) -> None:
    """A step from one stage to another."""
    bent = (0.1 if end == "left" else 0.25) if "came back" in (start, end) else 0.0
    axis.add_patch(
        FancyArrowPatch(
            PLACES[start],
            PLACES[end],
            patchA=placed[start],
            patchB=placed[end],
            connectionstyle=f"arc3,rad={bent}",
            arrowstyle="-|>",
            mutation_scale=9 + 4 * min(often, 1),
            shrinkA=2,
            shrinkB=3,
            linewidth=0.6 + 4.4 * min(often, 1),
            color=_colour(end),
            alpha=0.75,
            zorder=2,
        )
    )


def _colour(place: str) -> str:
    return COLOURS.get("reopened" if place == "came back" else place, _style.BLUE)


@_style.drawing
def bars(rows: Mapping[str, dict[str, float]]) -> Figure:
    """What each agent brings in deployment: what was meant, and the metrics that nobody had to look at before."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(_style.WIDTH, 0.55 * len(rows) + 1.2), layout="constrained", sharey=True, width_ratios=(1, 1.6)
    )
    place = np.arange(len(rows))[::-1]
    values = [row["return"] for row in rows.values()]
    left.barh(place, values, 0.6, color=_style.GREY)
    for y, value in zip(place, values, strict=True):
        left.annotate(f"{value:.1f}", (max(value, 0), y), (4, 0), textcoords="offset points", va="center", fontsize=9)
    left.axvline(0, color=_style.INK, linewidth=0.8)
    left.set(yticks=place, yticklabels=list(rows), xlabel="meant points a conversation", xlim=(None, 1.2 * max(values)))
    metrics = ("resolved", "reopened", "escalated", "left")
    for i, metric in enumerate(metrics):
        shares = [100 * row[metric] for row in rows.values()]
        right.barh(place + 0.27 - 0.18 * i, shares, 0.17, color=COLOURS[metric], label=metric)
    right.set(xlabel="% of issues; of conversations that the customer left", xlim=(0, 100))
    right.grid(axis="x")
    figure.legend(loc="outside upper right", ncols=len(metrics))
    return figure


@_style.drawing
def regrets(found: Sequence[Found]) -> Figure:
    """Regret of each agent on tables drawn at random, from the best table to the worst."""
    figure, axis = plt.subplots(figsize=(_style.WIDTH, 3.6), layout="constrained")
    colours = (_style.ORANGE, _style.AMBER, _style.SKY, _style.BLUE)
    share = (np.arange(len(found)) + 0.5) / len(found) * 100
    for name, colour in zip(AGENTS, colours, strict=True):
        axis.plot(share, np.sort([each.regret[name] for each in found]), color=colour, label=name)
    axis.axhline(0.05, color=_style.GREY, linewidth=0.8, linestyle=":")
    axis.set(
        xlabel="% of the tables on which regret is no more", ylabel="regret: 0 the best, 1 at random", xlim=(0, 100)
    )
    axis.grid(axis="y")
    axis.legend()
    return figure
