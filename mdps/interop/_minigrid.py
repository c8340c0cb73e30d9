"""MiniGrid's grids in."""

from typing import Any

import numpy as np

from mdps.gridworld import GridWorld

_MINIGRID_OBJECTS = ("unseen", "empty", "wall", "floor", "door", "key", "ball", "box", "goal", "lava", "agent")


def from_minigrid(env: Any, *, discount: float = 1.0, horizon: int | None = None, step: bool = False) -> GridWorld:
    """Read the map of a MiniGrid environment: floor, walls, lava and goals.

    Only the map is taken over.  The agent's heading and its turns are dropped (four moves take
    their place), and so is the time-dependent reward.  As in MiniGrid, entering lava or a goal ends the
    episode: both are terminal, paid once.  MiniGrid counts (x, y) from the top left; here cells are
    (row, column).

    Args:
        env: an environment that has been reset.
        discount: discount factor per step; below 1 unless a horizon is given.
        horizon: number of steps; None: endless.
        step: add the feature "step".

    Returns:
        A `GridWorld` with the terrains "floor", "lava" and "goal", present or not.

    Raises:
        ValueError: for an environment that was not reset, or objects that a map of terrain
            cannot hold (doors, keys, balls, boxes).

    Example:
        >>> import gymnasium, minigrid
        >>> env = gymnasium.make("MiniGrid-LavaGapS5-v0")
        >>> _ = env.reset(seed=0)
        >>> grid = from_minigrid(env, horizon=20)
        >>> print(grid.show().splitlines()[2])
        # f l f #
    """
    env = getattr(env, "unwrapped", env)
    grid, position = getattr(env, "grid", None), getattr(env, "agent_pos", None)
    if grid is None or position is None or min(position) < 0:
        raise ValueError(
            f"{type(env).__name__} has no grid or agent yet; call env.reset(seed=...) first, on a MiniGrid environment."
        )
    kind = np.asarray(grid.encode())[:, :, 0].T  # encode() is [x, y]: transposed to [row, column]
    for r, c in np.argwhere(~np.isin(kind, [1, 2, 3, 8, 9])):
        what = _MINIGRID_OBJECTS[kind[r, c]] if kind[r, c] < len(_MINIGRID_OBJECTS) else f"object {kind[r, c]}"
        raise ValueError(f"row {r}, column {c} holds a {what}; a GridWorld can hold floor, walls, lava and goals only.")
    terrain = np.select([kind == 9, kind == 8], [1, 2], 0)
    goal = kind == 8
    return GridWorld.from_terrain(
        terrain,
        ("floor", "lava", "goal"),
        start=(int(position[1]), int(position[0])),
        goal=goal if goal.any() else None,
        walls=kind == 2,
        discount=discount,
        horizon=horizon,
        terminal=("lava", "goal"),
        step=step,
    )
