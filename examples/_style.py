"""One hand for all pictures: colours, sizes of letters, and how a picture is saved.

Pictures are at most nine inches wide, so that their letters can be read at the width of a page.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib
from matplotlib import patheffects
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mdps import GridWorld

# Okabe and Ito's colours, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, PINK, AMBER, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
PURPLE = "#6A3D9A"  # for what stands on a map, where grass is green and lava orange
INK, GREY, PALE = "#222222", "#8A8A8A", "#D9D9D9"
# For numbers on a map or in a table: one hue, white to dark, which no terrain has.
SHADES = "Purples"
WIDTH = 9.0  # inches

_LOOKS = {
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.labelsize": 10.0,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "legend.fontsize": 9.0,
    "legend.title_fontsize": 9.0,
    "legend.frameon": False,
    "figure.titlesize": 12.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.0,
    "errorbar.capsize": 2.0,
    "savefig.dpi": 150.0,
}

P = ParamSpec("P")
R = TypeVar("R")


def drawing(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function that draws: what it draws is in this hand, and needs no window."""

    @wraps(function)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        matplotlib.use("Agg")
        with plt.rc_context(_LOOKS):
            return function(*args, **kwargs)

    return drawn


def save(figure: Figure, path: Path, **more: Any) -> str:
    """Write a figure to a file, forget it, and return the file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(_LOOKS):
        figure.savefig(path, **more)
    plt.close(figure)
    return path.name


def bare(axis: Any) -> None:
    """Leave only the line below: for histograms, whose heights nobody reads."""
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)


def halo(width: float = 3.0) -> list[Any]:
    """A white rim, for lines and letters on a map."""
    return [patheffects.withStroke(linewidth=width, foreground="white")]


def terrains(grids: Sequence[GridWorld]) -> list[Patch]:
    """A legend's patches: one for each terrain that is on one of the maps; terrains of one colour share it."""
    named: dict[Any, list[str]] = {}
    figure, axis = plt.subplots()
    for grid in grids:
        grid.plot(ax=axis)
        for patch in axis.get_legend().get_patches():
            names = named.setdefault(patch.get_facecolor(), [])
            if patch.get_label() not in names:
                names.append(patch.get_label())
        axis.clear()
    plt.close(figure)
    return [Patch(facecolor=c, edgecolor="#666666", label=" or ".join(names)) for c, names in named.items()]
