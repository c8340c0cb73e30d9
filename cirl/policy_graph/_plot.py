"""A picture of a policy graph: what the robot does at each node, what it believes, and what leads on."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Float

_EDGE, _TEXT, _FILL, _RIM = "0.45", "#B34700", "#CFE3F3", "#0072B2"


def plot(
    robot,
    play: Float[Array, " N Theta AH"] | np.ndarray | None = None,
    *,
    robot_actions: Sequence[str] | None = None,
    human_actions: Sequence[str] | None = None,
    thetas: Sequence[str] | None = None,
    most: int = 80,
    ax=None,
):
    """The graph with matplotlib; see `PolicyGraph.plot`."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            'drawing needs matplotlib, which is not installed; pip install "inverse-reward-design[plot]".'
        ) from error
    decision, child, belief = (np.asarray(x) for x in (robot.decision, robot.child, robot.belief))
    columns, edges = _layers(robot, child, None if play is None else np.asarray(play), belief)
    count = sum(map(len, columns))
    if count > most:
        raise ValueError(
            f"{count} nodes would be drawn, more than most={most}; give `play` to see only what is played, or raise "
            "`most`. `to_networkx` hands over graphs of any size."
        )
    name = lambda names, i: str(i) if names is None else names[i]  # noqa: E731
    tall = max(map(len, columns))
    if ax is None:
        _, ax = plt.subplots(figsize=(2.2 * len(columns) + 0.6, 0.95 * tall + 1.0), layout="constrained")
    place = {n: (x, (len(column) - 1) / 2 - i) for x, column in enumerate(columns) for i, n in enumerate(column)}
    box = {"boxstyle": "round,pad=0.35", "fc": _FILL, "ec": _RIM}
    boxes = {}
    for n, (x, y) in place.items():
        own = decision[n]
        does = (
            name(robot_actions, own[0])
            if (own == own[0]).all()
            else "\n".join(f"{name(human_actions, a)}: {name(robot_actions, r)}" for a, r in enumerate(own))
        )
        text = f"{does}\n{_held(belief[n], thetas)}"
        boxes[n] = ax.text(x, y, text, ha="center", va="center", fontsize=9, bbox=box, zorder=3).get_bbox_patch()
    for (n, ahead), humans in edges.items():
        (x0, y0), (x1, y1) = place[n], place[ahead]
        back = x1 <= x0
        bend = f"arc3,rad={0.35 if back else 0}"
        arrow = {"arrowstyle": "-|>", "color": _EDGE, "connectionstyle": bend, "shrinkA": 1, "shrinkB": 1}
        if n == ahead:  # a loop above the box
            x0, x1, y0, y1 = x0 - 0.12, x1 + 0.12, y0 + 0.2, y1 + 0.2
            arrow["connectionstyle"] = "arc3,rad=-1.2"
        else:
            arrow |= {"patchA": boxes[n], "patchB": boxes[ahead]}
        ax.annotate("", (x1, y1), (x0, y0), arrowprops=arrow, zorder=1)
        lift = 0.42 if n == ahead else 0.08 - (0.25 if back else 0)
        words = ", ".join(name(human_actions, a) for a in sorted(humans))
        where = ((x0 + x1) / 2, (y0 + y1) / 2 + lift)
        ax.text(*where, words, ha="center", va="center", fontsize=8.5, color=_TEXT, zorder=2)
    ax.set_xlim(-0.55, len(columns) - 0.45)
    ax.set_ylim(-tall / 2 - 0.1, tall / 2 + 0.1)
    ax.set_xticks(range(len(columns)), [f"step {t}" for t in range(len(columns))])
    ax.set_yticks([])
    for side in ("left", "top", "right"):
        ax.spines[side].set_visible(False)
    return ax


def _layers(robot, child: np.ndarray, play: np.ndarray | None, belief: np.ndarray):
    """Nodes by the number of steps after which they are first met, and edges with the human actions that take them."""
    columns, edges = [[int(n) for n in np.asarray(robot.start) if n >= 0]], {}
    met = set(columns[0])
    while columns[-1]:
        ahead: list[int] = []
        for n in columns[-1]:
            for a, d in np.argwhere(child[n] >= 0):
                if play is not None and not (play[n, :, a] * belief[n] > 1e-9).any():
                    continue
                to = int(child[n, a, d])
                edges.setdefault((n, to), set()).add(int(a))
                if to not in met:
                    met.add(to)
                    ahead.append(to)
        columns.append(ahead)
    return columns[:-1], edges


def _held(belief: np.ndarray, thetas: Sequence[str] | None) -> str:
    """The belief in words: what is left, with percentages where they are not equal; at most four."""
    names = [f"θ{i}" for i in range(len(belief))] if thetas is None else list(thetas)
    left = np.flatnonzero(belief > 5e-3)
    order = left[np.argsort(-belief[left], kind="stable")]
    if len(left) == 1:
        return names[left[0]]
    if np.ptp(belief[left]) < 1e-3 and len(left) <= 4:
        return ", ".join(names[i] for i in left)
    if np.ptp(belief[left]) < 1e-3:
        return f"{len(left)} left"
    told = [f"{names[i]} {100 * belief[i]:.0f}%" for i in order[:3]]
    return ", ".join(told) + (" …" if len(order) > 3 else "")
