"""A fork in the road: the smallest game in which a threat pays (references C).

At the start the human either ends the game or leads it to a fork; there the robot loses 1 or loses 10.
A robot that is committed to losing 10 keeps a noisy human from the fork; once at the fork it would
rather lose 1.
"""

import numpy as np

from cirl.game import Game

__all__ = ["game"]
__dir__ = __all__.copy


def game() -> Game:
    """Two steps, no discount, nothing uncertain: states start, fork, end.

    Example:
        >>> game().mdp.num_states
        3
    """
    transition, reward = np.zeros((3, 2, 2, 3)), np.zeros((3, 2, 2, 1))
    transition[0, 0, :, 2] = transition[0, 1, :, 1] = 1
    transition[1:, :, :, 2] = 1
    reward[1, :, 0], reward[1, :, 1] = -1, -10
    return Game.from_dense(transition, reward, [1.0], [1.0, 0, 0], horizon=2)
