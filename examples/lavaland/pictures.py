"""The example's pictures: maps with plans, what was inferred, where the posterior is unsure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from examples import _style
from examples.lavaland import planners, risk_curve
from examples.lavaland.table import Results, literal, recommended
from ird.posterior import Posterior
from mdps import GridWorld

PLANS = {"literal": literal, "careful": recommended}
OPEN = "posterior sd of the reward of a visit"  # what the heat maps show


@_style.drawing
def save_all(found: Sequence[Results], rows: Sequence[dict[str, Any]], out: Path) -> list[str]:
    """Draw every picture into a folder; returns the names of the files."""
    made = {}
    shown = [each for each in found if each.beliefs is not None]
    made["maps"] = maps(shown)
    made["disagreement"] = disagreement(shown)
    for each in shown:
        made[f"posterior_{each.source.name}"] = weights(each)
        if each.source.name in ("paper", "own"):
            made["lavaland"] = story(each)
    if any("lava_se" in row for row in rows):
        made["risk_curve"] = curves([row for row in rows if "lava_se" in row])
    return [_style.save(figure, out / f"{name}.png", bbox_inches="tight") for name, figure in made.items()]


def curves(rows: Sequence[dict[str, Any]]) -> Figure:
    """The risk curve of both schemes, side by side, over generated maps."""
    plain = [row for row in rows if row["planner"] in risk_curve.SINGLE]
    panels = {
        scheme.capitalize(): plain + [row for row in rows if row["scheme"] == scheme and not row["control"]]
        for scheme in ("per step", "per trajectory")
    }
    return risk_curve.draw(panels, f"{rows[0]['maps']} generated maps")


def telling(results: Results) -> int:
    """The case to show: where care changes most, lava avoided and the goal reached all the same."""
    plain, careful = literal(results.outcomes), recommended(results.outcomes)
    gain = np.asarray(plain.lava) - np.asarray(careful.lava)
    return int(np.argmax(gain + np.asarray(careful.goal)))


def belief_of(results: Results, i: int) -> Posterior:
    """The posterior of one case."""
    return jax.tree.map(lambda x: x[i], results.beliefs.posterior)


def sketch(results: Results, i: int) -> dict[str, list]:
    """The literal and the careful plan of one case as paths."""
    field = results.source.one(i).field
    steps = field.mdp.horizon or field.mdp.num_states
    paths = {name: plan(results.policies) for name, plan in PLANS.items()}
    return {name: field.most_likely_paths(policy[i], steps) for name, policy in paths.items()}


def titled(results: Results) -> str:
    """What a picture of one case says of where it is from."""
    sample = not results.source.labels and len(results.source) > 1
    return f"one of {results.source.title}" if sample else results.source.title


def draw_map(ax, grid: GridWorld, paths: Mapping[str, list] | None = None, title: str | None = None) -> None:
    """A map without legend or numbers, each path named where it is far from the others."""
    moving = {name: each for name, each in (paths or {}).items() if any(len(set(path)) > 1 for path in each)}
    grid.plot(ax=ax, title=title, trajectories=moving or None, legend=False)
    colours = {line.get_label(): line.get_color() for line in ax.lines}
    ax.set(xticks=[], yticks=[])
    look = {"fontsize": 9, "fontweight": "bold", "path_effects": _style.halo(), "zorder": 30, "annotation_clip": False}
    cells = {name: [cell for path in each for cell in path] for name, each in (paths or {}).items()}
    for name, each in moving.items():
        others = [cell for other, theirs in cells.items() if other != name for cell in theirs]
        (row, column), level = _place(np.asarray(each[0]), np.asarray(others))
        where = {"ha": "center", "va": "bottom"} if level else {"ha": "left", "va": "center"}
        ax.annotate(name, (column, row), (0, 5) if level else (6, 0), textcoords="offset points", color=colours[name],
                    **where, **look)  # fmt: skip
    for name in (paths or {}).keys() - moving.keys():
        row, column = paths[name][0][0]
        ax.plot(column, row, "o", mfc="none", mec=_style.BLUE, mew=2, ms=19, zorder=25)
        ax.annotate(f"{name}: stays here", (column, row), (-9, -15), textcoords="offset points", ha="left", va="top",
                    color=_style.BLUE, **look)  # fmt: skip


def _place(path: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, bool]:
    """Where on a path its name goes, and whether the path is level there: far from the others, on a level stretch."""
    level = np.zeros(len(path), bool)
    level[1:-1] = (path[:-2, 0] == path[1:-1, 0]) & (path[2:, 0] == path[1:-1, 0])
    far = np.abs(path[:, None] - others[None]).sum(axis=-1).min(axis=1) if len(others) else np.zeros(len(path))
    score = np.minimum(far, 5) + 1.5 * level
    best = np.flatnonzero(score == score.max())
    i = int(best[len(best) // 2])
    return path[i], bool(level[i])


def maps(shown: Sequence[Results]) -> Figure:
    """Each input's training map and deployment map, with the literal and the careful plan."""
    n = len(shown)
    figure, axes = plt.subplots(n, 2, figsize=(7.6, 3.5 * n + 0.5), squeeze=False, layout="constrained")
    grids = []
    for row, results in zip(axes, shown, strict=True):
        i = telling(results)
        case, label = results.source.one(i), results.source.labels
        draw_map(row[0], case.train)
        draw_map(row[1], case.field, sketch(results, i))
        row[0].set_ylabel(titled(results) + (f"\n(map {i + 1} of {len(results.source)})" if label else ""), fontsize=11)
        grids += [case.train, case.field]
    axes[0, 0].set_title("What the designer saw")
    axes[0, 1].set_title("Where the robot has to go")
    legend = {"loc": "outside lower center", "ncols": 6}
    figure.legend(handles=_style.terrains(grids), title="S: start, G: goal", **legend)
    return figure


def unsure(field: GridWorld, belief: Posterior) -> jax.Array:
    """Posterior standard deviation of what a visit of each state pays more than one of the start, `[S]`."""
    visits = field.mdp.features - (field.mdp.initial @ field.mdp.features)[None]
    variance = jnp.einsum("sk,kl,sl->s", visits, belief.covariance(), visits)
    return jnp.sqrt(jnp.maximum(variance, 0))


def heat(ax, field: GridWorld, values: np.ndarray, top: float):
    """How unsure the posterior is of each cell, with outlines around terrains and each terrain named once."""
    terrain, cell = np.asarray(field.terrain), np.asarray(field.cell)
    shade = np.where(cell >= 0, np.asarray(values)[cell], np.nan)
    image = ax.imshow(np.ma.masked_invalid(shade), cmap=_style.SHADES, vmin=0, vmax=top)
    ax.set_facecolor("#4A4A4A")  # walls
    for r, c in np.ndindex(*terrain.shape):
        if c + 1 < terrain.shape[1] and terrain[r, c] != terrain[r, c + 1]:
            ax.plot([c + 0.5] * 2, [r - 0.5, r + 0.5], color=_style.INK, linewidth=1)
        if r + 1 < terrain.shape[0] and terrain[r, c] != terrain[r + 1, c]:
            ax.plot([c - 0.5, c + 0.5], [r + 0.5] * 2, color=_style.INK, linewidth=1)
    goal = np.asarray(field.goal)[cell] & (cell >= 0)
    start = (np.asarray(field.mdp.initial)[cell] > 0) & (cell >= 0)
    named = {roomiest(mask): field.names[k] for k, mask in enumerate(terrain == k for k in range(len(field.names)))
             if (mask & ~goal & ~start).any()}  # fmt: skip
    marked = dict.fromkeys(map(tuple, np.argwhere(goal)), "G") | dict.fromkeys(map(tuple, np.argwhere(start)), "S")
    for (r, c), word in (named | marked).items():
        colour = "white" if shade[r, c] > 0.55 * top else _style.INK
        strong = "bold" if word in "SG" else "normal"
        ax.text(c, r, word, ha="center", va="center", fontsize=8.5, color=colour, fontweight=strong)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
    return image


def roomiest(mask: np.ndarray) -> tuple[int, int]:
    """The cell of a mask with the most of it around: where a word fits."""
    padded = np.pad(mask, ((1, 1), (2, 2)))
    H, W = mask.shape
    room = sum(padded[dr : dr + H, dc : dc + W] for dr in range(3) for dc in range(5))
    r, c = np.unravel_index(int(np.argmax(np.where(mask, room, -1))), mask.shape)
    return int(r), int(c)


def disagreement(shown: Sequence[Results]) -> Figure:
    """Where the proxy leaves the reward open, cell by cell, in units of its largest weight."""
    n = len(shown)
    figure, axes = plt.subplots(1, n, figsize=(3.0 * n, 3.7), squeeze=False, layout="constrained")
    values = []
    for results in shown:
        i = telling(results)
        case = results.source.one(i)
        values.append(np.asarray(unsure(case.field, belief_of(results, i)) / jnp.max(jnp.abs(case.proxy))))
    top = max(map(np.max, values))
    for ax, results, each in zip(axes[0], shown, values, strict=True):
        image = heat(ax, results.source.one(telling(results)).field, each, top)
        ax.set_title(titled(results), fontsize=10)
    figure.suptitle("What the proxy leaves open")
    label = "posterior sd of what a visit pays more than one of the start,\nin units of the proxy's largest weight"
    figure.colorbar(image, ax=list(axes[0]), location="bottom", shrink=0.6, aspect=35, label=label)
    return figure


def weights(results: Results) -> Figure:
    """Each weight's posterior against its prior."""
    i = telling(results)
    figure = belief_of(results, i).plot(prior=planners.prior_of(results.source.one(i).width))
    title = titled(results)
    figure.suptitle(f"{title[0].upper()}{title[1:]}: what the proxy says of each weight")
    return figure


def story(results: Results) -> Figure:
    """The whole job in one strip: the designer's map, what was learnt, the plans."""
    i = telling(results)
    case, belief = results.source.one(i), belief_of(results, i)
    figure, axes = plt.subplots(1, 3, figsize=(_style.WIDTH, 3.7), layout="constrained")
    plan = np.asarray(planners.solved(case.train.mdp, case.train.mdp.reward(case.proxy)).policy)
    steps = case.train.mdp.horizon or case.train.mdp.num_states
    paths = {"the proxy's plan": case.train.most_likely_paths(plan, steps)}
    draw_map(axes[0], case.train, paths, "1  The designer writes a\nproxy for this map")
    values = np.asarray(unsure(case.field, belief))
    image = heat(axes[1], case.field, values, float(values.max()))
    axes[1].set_title("2  A new map: what is\nthe proxy silent on?")
    draw_map(axes[2], case.field, sketch(results, i), "3  The literal and\nthe careful plan")
    bar = axes[1].inset_axes((0, -0.09, 1, 0.045))
    figure.colorbar(image, cax=bar, orientation="horizontal", label=OPEN)
    for ax in (axes[0], axes[2]):
        grids = [case.train if ax is axes[0] else case.field]
        ax.legend(handles=_style.terrains(grids), loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=2,
                  columnspacing=1.2, handlelength=1.4)  # fmt: skip
    return figure
