"""One scene under two drivers, from above, and what all drivers collect."""

from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.patches import Rectangle
from matplotlib.path import Path
from matplotlib.transforms import Affine2D

from examples import _style
from examples.rollouts import driver, road, study

ROAD, GRASS, ICE = "#6E7277", "#DCE6CF", "#BFE3F5"
FADE = "viridis"


def _body(long: float, wide: float, turned: float) -> MarkerStyle:
    """A body seen from above, of one shape whatever the axes are; turned by so many degrees on the picture."""
    corners = np.array([[-long, -wide], [long, -wide], [1.15 * long, 0], [long, wide], [-long, wide], [-long, -wide]])
    return MarkerStyle(Path(corners / long), transform=Affine2D().rotate_deg(turned))


def _road(axis: Any, given: road.Scene, run: driver.Run, title: str, every: int) -> None:
    """The road from above, wider than it is; the car and the truck every so many steps, in the colour of their time."""
    half = road.LANE / 2
    axis.set_facecolor(GRASS)
    axis.axhspan(-half, 3 * half, color=ROAD, linewidth=0)
    begins, ends = (float(x) for x in given.ice)
    if float(given.icy):
        axis.add_patch(Rectangle((begins, half), ends - begins, road.LANE, facecolor=ICE, edgecolor="white",
                                 hatch="xx", linewidth=0))  # fmt: skip
        axis.text(ends - 2, half + 0.35, "ice", ha="right", fontsize=10, color="#1F5F8B",
                  path_effects=_style.halo(2.5))  # fmt: skip
    axis.axhline(half, color="white", linewidth=1.2, dashes=(8, 6))
    axis.set(xlim=(-6, 325), ylim=(-4.2, 7.8), yticks=[])
    axis.set_title(title, loc="left")
    x, y = (np.append(0, np.asarray(each, float)) for each in (run.states.x, run.states.y))
    axis.plot(x, y, color="white", linewidth=1.0, zorder=2)
    steep = 3.4  # what a metre across is on the picture, of a metre along
    for t in range(every, len(x), every):
        seconds = t * road.STEP
        colour = plt.get_cmap(FADE)(seconds / (road.STEPS * road.STEP))
        truck = float(given.truck) + float(given.slow) * seconds
        ahead = np.degrees(np.arctan2(steep * (y[t] - y[t - 1]), x[t] - x[t - 1]))
        axis.plot(truck, 0.0, marker=_body(1.0, 0.4, 0.0), markersize=25, color=colour, alpha=0.45, zorder=3,
                  markeredgecolor=_style.INK, markeredgewidth=0.5)  # fmt: skip
        axis.plot(x[t], y[t], marker=_body(1.0, 0.48, ahead), markersize=15, color=colour, zorder=4,
                  markeredgecolor="white", markeredgewidth=1.0)  # fmt: skip
        low = y[t] < half
        axis.text(x[t], -half - 0.5 if low else 3 * half + 0.5, f"{seconds:.0f} s", ha="center",
                  va="top" if low else "bottom", fontsize=8, color=_style.INK)  # fmt: skip
    for side in axis.spines.values():
        side.set_visible(False)


@_style.drawing
def draw(given: road.Scene, shown: dict[str, driver.Run], rows: dict[str, dict[str, np.ndarray]]) -> Figure:
    """Two drivers in one scene, above; what every driver collects in all scenes, below."""
    figure = plt.figure(figsize=(_style.WIDTH, 6.6), layout="constrained")
    grid = figure.add_gridspec(3, 2, height_ratios=(1, 1, 1.25))
    every = 2 * driver.HOLD
    for i, (name, run) in enumerate(shown.items()):
        axis = figure.add_subplot(grid[i, :])
        ice = float(np.asarray(run.features, float)[:, study.ICE].sum()) / road.SIZE[study.ICE] * road.STEP
        _road(axis, given, run, f"{name}: {ice:.1f} s on ice, {float(run.states.x[-1]):.0f} m in 16 s", every)
        axis.tick_params(labelbottom=i == len(shown) - 1)
        if i == len(shown) - 1:
            axis.set_xlabel("metres along the road (drawn wider than it is); pale: the truck, timed by its colour")
    scale = plt.cm.ScalarMappable(Normalize(0, road.STEPS * road.STEP), FADE)
    figure.colorbar(scale, ax=figure.axes[:2], label="seconds", pad=0.01, aspect=18)
    for column, (key, label) in enumerate((("ice", "seconds on ice"), ("meant", "return as it was meant"))):
        axis = figure.add_subplot(grid[2, column])
        places = np.arange(len(rows))[::-1]
        for place, (name, row) in zip(places, rows.items(), strict=True):
            colour = {"literal": _style.ORANGE, "least exposure": _style.GREEN}.get(name, _style.GREY)
            spread = np.random.default_rng(0).uniform(-0.22, 0.22, len(row[key]))  # so that dots do not hide dots
            axis.plot(row[key], place + spread, ".", color=colour, alpha=0.35, markersize=4)
            axis.plot(row[key].mean(), place, "D", color=colour, markeredgecolor=_style.INK, markersize=7)
        axis.set_yticks(places, list(rows) if column == 0 else [])
        axis.set_xlabel(f"{label}; a dot: one run")
        axis.grid(axis="x")
    return figure
