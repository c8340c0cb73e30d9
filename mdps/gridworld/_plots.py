"""Pictures of grid worlds: as text, and with matplotlib."""

import itertools
from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np

from mdps.checks import check_policy, check_real, is_concrete, shown
from mdps.gridworld._moves import MOVES

# Lines towards the tied actions, by (up, right, down, left).
_ARROWS = dict(
    zip(
        [(u, r, d, l) for u in (0, 1) for r in (0, 1) for d in (0, 1) for l in (0, 1)],
        "·←↓┐→↔┌┬↑┘↕┤└┴├┼",
        strict=True,
    )
)
_TIE = 1e-3  # shares of probability this close count as tied

# Okabe and Ito's colours, which colour-blind readers can tell apart; large areas are lightened.  Terrains are drawn in
# colours of different hues, so that no two look like shades of one: a known terrain in its own where that is free.
_TERRAIN_COLOURS = {
    "lava": ("vermilion", "#D55E00"),
    "grass": ("green", "#7CC8A8"),
    "dirt": ("sand", "#EAD7B0"),
    "sand": ("sand", "#EAD7B0"),
    "floor": ("white", "#F4F1EA"),
    "target": ("yellow", "#F0E442"),
    "goal": ("yellow", "#F0E442"),
    "water": ("blue", "#56B4E9"),
}
_OTHER_COLOURS = (
    ("blue", "#B9DDF3"),
    ("pink", "#CC79A7"),
    ("orange", "#E69F00"),
    ("green", "#7CC8A8"),
    ("yellow", "#F0E442"),
    ("grey", "#B0B0B0"),
    ("sand", "#EAD7B0"),
    ("brown", "#8C6239"),
    ("lavender", "#B7A6D9"),
    ("vermilion", "#D55E00"),
    ("white", "#F4F1EA"),
)
_PATH_COLOURS = ("#000000", "#0072B2", "#8A2F6B", "#009E73", "#D55E00", "#56B4E9")
_WALL, _EDGE = "#4A4A4A", "#666666"


def host_policy(grid, policy) -> np.ndarray:
    """A policy of one concrete grid, `[S, A]` or `[T, S, A]`, checked."""
    _require_one_known(grid, policy)
    policy = np.asarray(check_policy(grid.mdp, policy, at_least=0, shares=False))
    unknown = np.isnan(policy).reshape(-1, *policy.shape[-2:]).any(axis=(0, 2))
    if np.any(unknown):
        raise ValueError(
            f"policy is NaN in {np.sum(unknown)} of {np.size(unknown)} states: it comes from a plan in which "
            "something was not finite, and there is nothing to draw."
        )
    return policy


def state_of(grid, cell) -> int:
    """The state of a cell (row, column)."""
    at = np.asarray(check_real("start", cell))
    if at.shape != (2,) or (at != np.round(at)).any():
        raise ValueError(f"start is {shown(cell)}; give one cell, (row, column), in whole numbers.")
    row, column = (int(i) for i in at)
    H, W = np.shape(grid.cell)
    if not (0 <= row < H and 0 <= column < W) or grid.cell[row, column] < 0:
        raise ValueError(f"start is row {row}, column {column}, which is no open cell of this map of {H} × {W} cells.")
    return int(grid.cell[row, column])


def walk(grid, choice: np.ndarray, state: int, num_steps: int) -> list[tuple[int, int]]:
    """The cells of the likeliest action and outcome at each step; see `GridWorld.most_likely_path`."""
    table, chance, cells = np.asarray(grid.mdp.next_state), np.asarray(grid.mdp.probability), np.asarray(grid.cell)
    row, column = np.nonzero(cells >= 0)  # of each state, which are numbered row by row
    path, action = [(int(row[state]), int(column[state]))], 0
    for t in range(num_steps if choice.ndim == 2 else min(num_steps, len(choice))):
        share = choice[state] if choice.ndim == 2 else choice[t, state]
        if share[action] < share.max() - 1e-6:
            action = int(np.argmax(share))
        if np.isclose(chance[state][:, table[state] == state].sum(axis=1), 1).all():
            break
        state = int(table[state, np.argmax(chance[state, action])])
        if state >= len(row):
            break
        path.append((int(row[state]), int(column[state])))
    return path


def _first_step(grid, policy) -> np.ndarray | None:
    """The policy's first step, `[S, A]`."""
    if policy is None:
        return None
    policy = host_policy(grid, policy)
    return policy if policy.ndim == 2 else policy[0]


def _require_one_known(grid, *more) -> None:
    if not all(is_concrete(x) for x in (grid.cell, grid.terrain, grid.mdp.initial, *more) if x is not None):
        raise TypeError("policies are drawn on the host and cannot be traced; call this outside jit and vmap.")
    if np.ndim(grid.cell) != 2:
        raise ValueError(
            f"this is a batch of grids (cell has shape {np.shape(grid.cell)}); "
            "draw one of them, jax.tree.map(lambda x: x[i], grids)."
        )


def _best(share: np.ndarray) -> np.ndarray:
    """Which actions are the likeliest, `[..., A]`."""
    return share >= share.max(axis=-1, keepdims=True) - _TIE


def _keeps(grid) -> np.ndarray:
    """States where no action leads on: goals and terrain that ends all reward, `[S]`."""
    return np.asarray(grid.goal) | np.asarray(grid.where(*grid.terminal))


def _starts(grid) -> np.ndarray:
    """Which states are marked as starts, `[S]`: none where runs begin nearly anywhere, which would hide the terrain."""
    begins = np.asarray(grid.mdp.initial) > 0
    return begins & (begins.sum() <= max(8, np.sum(np.asarray(grid.cell) >= 0) // 2))


def letters(names: tuple[str, ...]) -> dict[str, str]:
    """One letter per terrain: the first of its name that no earlier terrain has."""
    taken: dict[str, str] = {}
    for name in names:
        choices = [*name.lower(), *"abcdefghijklmnopqrstuvwxyz0123456789"]
        taken[name] = next((c for c in choices if not c.isspace() and c not in taken.values()), "?")
    return taken


def _likely(grid, policy: np.ndarray) -> list[tuple[list[tuple[int, int]], list[int]]]:
    """The likeliest path from each marked start, as cells, and the states in them."""
    cells, starts = np.asarray(grid.cell), np.flatnonzero(_starts(grid))
    steps = 4 * cells.size if grid.mdp.horizon is None else grid.mdp.horizon
    paths = [walk(grid, policy, int(s), steps) for s in starts if s <= cells.max()]
    return [(path, [int(cells[at]) for at in path]) for path in paths]


def _done_on_paths(grid, policy: np.ndarray) -> dict[int, np.ndarray]:
    """What is done in each state on the likeliest paths, `[A]`, where one first comes there."""
    found: dict[int, np.ndarray] = {}
    for _, states in _likely(grid, policy):
        for t, s in enumerate(states):
            found.setdefault(s, policy[s] if policy.ndim == 2 else policy[min(t, len(policy) - 1), s])
    return found


def text(grid, policy=None) -> str:
    """The map as text; see `GridWorld.show`."""
    _require_one_known(grid, policy)
    whole = None if policy is None else host_policy(grid, policy)
    policy = _first_step(grid, policy)
    on_path = {} if whole is None else _done_on_paths(grid, whole)
    by_step = whole is not None and whole.ndim == 3
    letter = letters(grid.names)
    terrain, cell = np.asarray(grid.terrain), np.asarray(grid.cell)
    goal, begins, keeps = np.asarray(grid.goal), _starts(grid), _keeps(grid)
    lines = []
    for r in range(cell.shape[0]):
        line = ""
        for c in range(cell.shape[1]):
            s = int(cell[r, c])
            if s < 0:
                line += "# " if policy is None else "## "
                continue
            here = "G" if goal[s] else "S" if begins[s] else letter[grid.names[terrain[r, c]]]
            if policy is not None:
                share = on_path[s] if s in on_path else policy[s]
                here += " " if keeps[s] else _ARROWS[tuple(_best(share).astype(int).tolist())]
            line += here + ("*" if s in on_path else " ")
        lines.append(line.rstrip())
    key = ", ".join(f"{mark} {name}" for name, mark in letter.items())
    anywhere = f"runs begin in {np.sum(np.asarray(grid.mdp.initial) > 0)} of {np.sum(cell >= 0)} cells"
    marks = ["S start" if begins.any() else anywhere, "G goal" * bool(goal.any()), "# wall" * bool((cell < 0).any())]
    if policy is not None:
        first = " (first step)" * by_step
        lines_key = f"arrows: likeliest actions{first}, tied ones joined: └ up or right, ┼ any"
        marks += ["* likeliest path" * bool(on_path)]
        return "\n".join([*lines, f"{key}; {', '.join(filter(None, marks))}", lines_key])
    return "\n".join([*lines, f"{key}; {', '.join(filter(None, marks))}"])


def terrain_colours(names: tuple[str, ...]) -> list[str]:
    """A colour for each terrain, all of different hues while there are some left."""
    own = {name: _TERRAIN_COLOURS.get(name.lower()) for name in names}
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name, colour in own.items():
        if colour is not None and colour[0] not in taken:
            found[name] = colour[1]
            taken.add(colour[0])
    free = [colour for hue, colour in _OTHER_COLOURS if hue not in taken] + ["#0072B2", "#009E73", "#7A3B5E", "#5C5C5C"]
    rest = itertools.cycle(free)
    return [found[name] if name in found else next(rest) for name in names]


def plot(grid, policy, *, trajectories, values, value_label, title, legend, ax):
    """The map with matplotlib; see `GridWorld.plot`."""
    try:
        import matplotlib.pyplot as plt
        from matplotlib.colors import to_rgb
        from matplotlib.patches import Patch
    except ImportError as error:
        raise ImportError(
            'drawing needs matplotlib, which is not installed; pip install "inverse-reward-design[plot]".'
        ) from error
    _require_one_known(grid, policy, values)
    whole = None if policy is None else host_policy(grid, policy)
    policy = _first_step(grid, policy)
    if whole is not None and trajectories is None and (paths := [path for path, _ in _likely(grid, whole)]):
        trajectories = {"likeliest path": paths}
    terrain, cell = np.asarray(grid.terrain), np.asarray(grid.cell)
    H, W = cell.shape
    if ax is None:
        wide, signs = (3.2, 1.2) if policy is None or not legend else (5.2, 1.6)  # room for what is explained
        _, ax = plt.subplots(figsize=(max(wide, 0.5 * W + 0.4), max(2.6, 0.5 * H + signs)), layout="constrained")
    colours = np.array([to_rgb(c) for c in [*terrain_colours(grid.names), _WALL]])
    picture = colours[terrain]  # walls are -1, the last colour
    handles = []
    if values is None:
        ax.imshow(picture, interpolation="nearest")
        present = np.unique(terrain)
        handles = [Patch(facecolor=tuple(colours[k]), edgecolor=_EDGE, label=grid.names[k]) for k in present if k >= 0]
        if (terrain < 0).any():
            handles.append(Patch(facecolor=_WALL, edgecolor=_EDGE, label="wall"))
    else:
        numbers = _per_cell(grid, values)
        image = ax.imshow(
            np.ma.masked_invalid(numbers), interpolation="nearest", cmap="Purples"
        )  # a hue no terrain has
        ax.set_facecolor(_WALL)
        ax.figure.colorbar(image, ax=ax, label=value_label, shrink=min(1.0, 0.9 * H / W))
    _ruled(ax, H, W)
    if policy is not None:
        _arrows(ax, grid, policy)
    handles += _signs(grid, whole) + _paths(ax, grid, trajectories)
    _mark(ax, grid, aside=policy is not None)
    if title is not None:
        ax.set_title(title, fontsize=11)
    if legend and handles:
        ax.legend(
            handles=handles,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.07),
            ncols=min(len(handles), 4),
            frameon=False,
            fontsize=9,
            handlelength=1.4,
            columnspacing=1.2,
        )
    ax.set_xlim(-0.5, W - 0.5)
    ax.set_ylim(H - 0.5, -0.5)
    return ax


def _ruled(ax, H: int, W: int) -> None:
    """White lines between cells, and their numbers."""
    ax.set_xticks(np.arange(W + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(H + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=0.8)
    ax.tick_params(which="minor", length=0)
    every = max(1, -(-max(H, W) // 12))
    ax.set_xticks(np.arange(0, W, every))
    ax.set_yticks(np.arange(0, H, every))
    ax.tick_params(which="major", length=0, labelsize=8, colors="#444444")
    for spine in ax.spines.values():
        spine.set_visible(False)


def _per_cell(grid, values) -> np.ndarray:
    values, cell = np.asarray(check_real("values", values)), np.asarray(grid.cell)
    if values.shape == (grid.mdp.num_states,):
        return np.where(cell >= 0, values[cell], np.nan)
    if values.shape == cell.shape:
        return np.where(cell >= 0, values, np.nan)
    raise ValueError(
        f"values has shape {values.shape}; give one per state, [{grid.mdp.num_states}], "
        f"or per cell, {list(cell.shape)}."
    )


def _halo(width):
    from matplotlib import patheffects

    return [patheffects.withStroke(linewidth=width, foreground="white")]


def _arrows(ax, grid, policy: np.ndarray) -> None:
    """One short arrow per likeliest action; goals and ends have none."""
    cell, keeps = np.asarray(grid.cell), _keeps(grid)
    tails, heads = [], []
    for (r, c), s in np.ndenumerate(cell):
        if s < 0 or keeps[s]:
            continue
        best = _best(policy[s])
        for move in MOVES[best]:
            tails.append((r, c))
            heads.append(move * (0.36 if best.sum() == 1 else 0.3))
    if tails:
        (y, x), (v, u) = np.array(tails, float).T, np.array(heads, float).T
        alone = np.hypot(u, v) > 0.33
        x, y = x - np.where(alone, u / 2, 0), y - np.where(alone, v / 2, 0)
        ax.quiver(
            x, y, u, v, angles="xy", scale_units="xy", scale=1, width=0.0045, headwidth=4.5, headlength=4.5,
            headaxislength=4, color="#222222", zorder=3,
        )  # fmt: skip


def _signs(grid, policy: np.ndarray | None) -> list:
    """What the legend says of letters and arrows."""
    from matplotlib.lines import Line2D

    signs = [("$\\mathrm{S}$", "start")] if _starts(grid).any() else []
    signs += [("$\\mathrm{G}$", "goal")] if np.asarray(grid.goal).any() else []
    if policy is not None:
        signs.append((r"$\rightarrow$", "likeliest action" + ", first step" * (policy.ndim == 3)))
    style = {"linestyle": "", "color": "#111111", "markersize": 8}
    return [Line2D([], [], marker=marker, label=label, **style) for marker, label in signs]  # pyright: ignore[reportArgumentType]


def _cells(grid, path) -> np.ndarray:
    """A path as cells (row, column), `[n, 2]`, from cells or from states, of which the end state is no cell."""
    path = _array(path)
    if path.ndim == 1 and path.dtype.kind == "i":
        where = np.argwhere(np.asarray(grid.cell) >= 0)
        path = where[path[path < len(where)]]
    if path.ndim != 2 or path.shape[1] != 2:
        raise ValueError(f"a trajectory has shape {path.shape}; give a sequence of cells (row, column), or of states.")
    return path


def _array(path) -> np.ndarray:
    try:
        return np.asarray(path)
    except ValueError as error:
        raise ValueError(f"a trajectory is ragged: {path!r}; every cell is (row, column).") from error


def _paths(ax, grid, trajectories) -> list:
    """Draw labelled paths, side by side where they share a way; returns the legend's handles."""
    if trajectories is None:
        return []
    if not isinstance(trajectories, Iterable) or isinstance(trajectories, str):
        raise ValueError(f"trajectories is {shown(trajectories)}; give paths by label, or a sequence of paths.")
    named = isinstance(trajectories, Mapping)
    items = list(trajectories.items()) if named else [(None, path) for path in trajectories]
    every = []
    for _, found in items:
        several = isinstance(found, list | tuple) and bool(found) and all(_array(path).ndim == 2 for path in found)
        every.append([_cells(grid, path) for path in (found if several else [found])])
    ways = [set().union(*map(_edges, paths)) for paths in every]
    handles = []
    for i, ((label, _), paths) in enumerate(zip(items, every, strict=True)):
        shared = ways[i] & set().union(*ways[:i], *ways[i + 1 :])
        crowded = {cell for edge in shared for cell in edge}
        style, colour = ("-", "--", "-.", ":")[i % 4], _PATH_COLOURS[i % len(_PATH_COLOURS)]
        lines = []
        for path in paths:
            aside = np.array([tuple(cell) in crowded for cell in path.tolist()])
            at = path + np.where(aside, 0.11 * (i - (len(items) - 1) / 2), 0.0)[:, None]
            lines += ax.plot(
                at[:, 1], at[:, 0], style, color=colour, linewidth=2.4, zorder=4 + i, label=label,
                path_effects=_halo(4.4), solid_capstyle="round",
            )  # fmt: skip
            ax.plot(*at[-1, ::-1], "o", color=colour, markersize=5, zorder=4 + i, markeredgecolor="white")
        handles += lines[:1] if named else []
    return handles


def _edges(path: np.ndarray) -> set[frozenset[tuple[int, int]]]:
    """The pairs of cells that a path goes between, in either direction."""
    cells = [tuple(cell) for cell in path.tolist()]
    return {frozenset(pair) for pair in pairwise(cells)}


def _mark(ax, grid, *, aside: bool) -> None:
    """Write S on the start and G on the goals; in the corner of the start where an arrow has its middle."""
    begins, goal = _starts(grid), np.asarray(grid.goal)
    for (r, c), s in np.ndenumerate(np.asarray(grid.cell)):
        if s >= 0 and (begins[s] or goal[s]):
            corner = aside and not goal[s]
            ax.text(
                c - 0.3 * corner, r - 0.27 * corner, "G" if goal[s] else "S", ha="center", va="center",
                fontsize=8 if corner else 11, fontweight="bold", color="#111111", zorder=20, path_effects=_halo(3),
            )  # fmt: skip
