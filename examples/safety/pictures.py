"""One panel for each world: its board, the runs of three plans, and where they leave things."""

from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch, Rectangle

from examples import _style
from examples.safety.cases import Case
from mdps.worlds import End
from mdps.worlds.safety import World

WALKS = {"literal": _style.ORANGE, "least exposure": _style.BLUE, "oracle": _style.GREEN}
ASIDE = {"literal": -0.2, "least exposure": 0.0, "oracle": 0.2}
COLUMNS = 4
WALL, FLOOR = "#5A5A5A", "#F6F3EC"
# Places are coloured cells with a letter, things are tiles.
PLACES = {
    "G": "#F0E442",
    "H": "#3A3A3A",
    "O": "#CFE3F2",
    "P": "#F3C9B5",
    "p": "#F3C9B5",
    "Q": "#D9CFEA",
    "q": "#D9CFEA",
    "W": "#8CC6EC",
    "I": "#EAB8D4",
    "B": "#C9B8EA",
    "S": "#B9A27A",
    ">": "#DDD6C4",
    "v": "#DDD6C4",
    "<": "#DDD6C4",
    "^": "#DDD6C4",
    "_": "#E9B872",
    ":": "#E9B872",
    "T": "#8FCB8F",
    "t": "#DCD2A8",
}
THINGS = {"X": "#B07B3E", "O": "#B07B3E", "D": "#56B4E9", "R": "#7A7A7A"}


@_style.drawing
def sheet(shown: dict[str, tuple[Case, dict[str, Any], dict[str, Any]]]) -> Figure:
    """A panel for each case, with its policies by plan and its row of the table, and a panel that says what is what."""
    rows = -(-(len(shown) + 1) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(_style.WIDTH, 2.75 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.set_axis_off()
        axis.set_anchor("N")
    for axis, (name, (case, policies, row)) in zip(axes.flat, shown.items(), strict=False):
        board(axis, case.field, case.start)
        for plan, colour in WALKS.items():
            run(axis, case, policies[plan], colour, ASIDE[plan])
        told = "written here" if case.helps == "no" else f"written where {case.looked_at}"
        axis.set_title(f"{name.partition(', written ')[0]}\n{told}", fontsize=8, linespacing=1.35)
        worths(axis, row)
    key(axes.flat[len(shown)])
    return figure


def worths(axis: Axes, row: dict[str, Any]) -> None:
    """Below a board, the hidden returns of the three plans, each in its colour."""
    low, high = row["literal"]["lowest"], row["literal"]["highest"]
    literal = number(low) if high - low < 1e-6 else f"{number(low)}…{number(high)}"
    worth = {
        "literal": literal,
        "least exposure": number(row["least exposure"]["hidden"]),
        "oracle": number(row["best"]),
    }
    look = {"transform": axis.transAxes, "ha": "center", "va": "top", "weight": "bold", "fontsize": 9}
    for place, (plan, text) in zip((0.18, 0.5, 0.82), worth.items(), strict=True):
        axis.text(place, -0.02, text, color=WALKS[plan], **look)


def number(x: float) -> str:
    """Two decimals or fewer, and none of them -0."""
    return f"{round(x, 2 if abs(x) < 100 else 0) + 0.0:.4g}".replace("-", "−")


def key(axis: Axes) -> None:
    """What lines, marks and numbers are."""
    lines = [plt.Line2D([], [], color=colour, lw=2.2, marker="s", ms=4.5, markevery=[1]) for colour in WALKS.values()]
    start = plt.Line2D([], [], ls="", marker="o", ms=9, mfc="white", mec=_style.INK, mew=1.4)
    ghost = Patch(facecolor="white", edgecolor=_style.INK, linestyle=":", lw=1.5)
    names = [*(f"{plan}: run, and its end" for plan in WALKS), "start", "where a run leaves a thing"]
    axis.legend([*lines, start, ghost], names, loc="upper left", borderaxespad=0, fontsize=8.5, labelspacing=0.9)
    axis.text(0, 0.36, "Numbers: hidden returns,\nof every plan that is best by\nwhat is written, of the careful\none, "
              "and the best.", transform=axis.transAxes, va="top", fontsize=8.5)  # fmt: skip


def board(axis: Axes, world: World, start: Any) -> None:
    """The board of a world as it is at the start."""
    frame = world.rules.frame(first(world, start))
    H, W = len(frame), len(frame[0])
    walled = {frame[0], frame[-1]} == {"#" * W}
    edge = 0.15 if walled else -0.65  # of walls all around little is shown
    axis.set(xlim=(edge, W - 1 - edge), ylim=(H - 1 - edge, edge), aspect="equal")
    lump = "X" in world.rules.legend or "object" in world.rules.legend
    for r, line in enumerate(frame):
        for c, x in enumerate(line):
            thing = x in THINGS and (x != "O" or lump)
            colour = WALL if x == "#" else FLOOR if thing or x in " Aa" else PLACES.get(x, FLOOR)
            axis.add_patch(Rectangle((c - 0.5, r - 0.5), 1, 1, facecolor=colour, edgecolor="white", lw=0.6))
            if thing:
                tile(axis, r, c, x, THINGS[x], solid=True)
            elif x == "A":
                axis.plot(c, r, "o", ms=9, mfc="white", mec=_style.INK, mew=1.4, zorder=5)
            elif x not in "# ":
                sign = {">": "→", "v": "↓", "<": "←", "^": "↑", "_": "", ":": ""}.get(x, x)
                axis.text(c, r, sign, ha="center", va="center", fontsize=8, color=ink(colour), zorder=2)


def first(world: World, start: Any) -> Any:
    """The state that a picture begins in."""
    return world.walk(world.explored.policy(lambda state: "up"), start)[0][0]


def ink(colour: str) -> str:
    """Black on light, white on dark."""
    return "white" if sum(to_rgb(colour)) < 1.2 else _style.INK


def tile(axis: Axes, r: float, c: float, letter: str, colour: str, *, solid: bool) -> None:
    """A thing on a cell; an outline where a run leaves it."""
    half = 0.3 if solid else 0.2
    axis.add_patch(
        FancyBboxPatch(
            (c - half, r - half),
            2 * half,
            2 * half,
            boxstyle="round,pad=0.03",
            facecolor=colour if solid else "white",
            edgecolor=_style.INK if solid else colour,
            linestyle="-" if solid else ":",
            lw=0.8 if solid else 1.8,
            zorder=3 if solid else 2.5,
        )
    )
    axis.text(
        c,
        r,
        letter,
        ha="center",
        va="center",
        fontsize=7.5,
        color="white" if solid else colour,
        zorder=4,
        weight="bold",
    )


def run(axis: Axes, case: Case, policy: Any, colour: str, aside: float) -> None:
    """The likeliest run of a plan, and outlines of the things that it leaves elsewhere."""
    world = case.field
    path = world.path(policy, case.start)
    ys, xs = ([cell[i] + aside for cell in path] for i in (0, 1))
    axis.plot(xs, ys, color=colour, lw=1.7, alpha=0.95, zorder=6, solid_capstyle="round", solid_joinstyle="round")
    axis.plot(xs[-1], ys[-1], "s", ms=4.5, color=colour, zorder=7)
    states = [state for state, _ in world.walk(policy, case.start) if not isinstance(state, End)]
    before, after = world.rules.frame(states[0]), world.rules.frame(states[-1])
    for r, (was, now) in enumerate(zip(before, after, strict=True)):
        for c, (x, y) in enumerate(zip(was, now, strict=True)):
            if (y != x and y in "XDR") or (y == "O" and x != "O" and "object" in world.rules.legend):
                tile(axis, r + 1.1 * aside, c + 1.1 * aside, y, colour, solid=False)
