"""Paperclips and staples (Hadfield-Menell et al. 2016).

The human makes (2, 0), (1, 1) or (0, 2) paperclips and staples, then the robot makes (90, 0),
(50, 50) or (0, 90).  A paperclip is worth θ and a staple 1 - θ, θ uniform on [0, 1].  An expert who
only minds their own two pieces never makes (1, 1); one who teaches does, to say "both".
"""

import numpy as np

from cirl.game import Game, Order
from mdps.checks import check_count

__all__ = ["expert", "game", "thetas"]
__dir__ = __all__.copy

HUMAN = np.array([(2, 0), (1, 1), (0, 2)])
ROBOT = np.array([(90, 0), (50, 50), (0, 90)])


def game(cells: int = 92) -> Game:
    """One step, the human first; θ at the midpoints of equal cells.

    Args:
        cells: how many values of θ.

    Example:
        >>> game(4).num_thetas
        4
    """
    theta = thetas(cells)
    made = HUMAN[:, None] + ROBOT[None]  # [AH, AR, 2]
    reward = made[..., :1] * theta + made[..., 1:] * (1 - theta)
    return Game.from_dense(
        np.ones((1, 3, 3, 1)), reward[None], np.full(cells, 1 / cells), [1.0], horizon=1, order=Order.HUMAN_FIRST
    )


def thetas(cells: int) -> np.ndarray:
    """The values of θ, `[cells]`."""
    cells = check_count("cells", cells)
    return (np.arange(cells) + 0.5) / cells


def expert(cells: int = 92) -> np.ndarray:
    """The policy `[S, Θ, A_H]` of a human who only minds their own pieces."""
    theta = thetas(cells)
    own = HUMAN[:, :1] * theta + HUMAN[:, 1:] * (1 - theta)  # [AH, Θ]
    return np.eye(3)[own.argmax(axis=0)][None]
