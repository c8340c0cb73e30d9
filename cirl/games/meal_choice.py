"""Meal choice: the answer comes late, and waiting for it is worth it (references C).

Flour becomes dough, dough becomes an apple or a blueberry pie, and the pie is served.  The human
wants one of the two, apple more probably, and answers a question only from step 3 on.
"""

import numpy as np

from cirl.game import Game, Order

__all__ = ["game", "human"]
__dir__ = __all__.copy

FLOUR, DOUGH, APPLE, BLUEBERRY, SERVED = range(5)
CREATE, CREATE_APPLE, CREATE_BLUEBERRY, ASK, WAIT = range(5)
HORIZON, ANSWERS_FROM = 6, 3


def game() -> Game:
    """Six steps, the robot first, discount .99; the human says nothing (0), apple (1) or blueberry (2).

    Example:
        >>> game().mdp.horizon
        6
    """
    transition, reward = np.zeros((5, 3, 5, 5)), np.zeros((5, 3, 5, 2))
    for s in range(5):
        transition[s, :, :, s] = 1
    moves = {(FLOUR, CREATE): DOUGH, (DOUGH, CREATE_APPLE): APPLE, (DOUGH, CREATE_BLUEBERRY): BLUEBERRY}
    moves |= {(APPLE, CREATE): SERVED, (BLUEBERRY, CREATE): SERVED}
    for (s, action), to in moves.items():
        transition[s, :, action] = np.eye(5)[to]
    reward[APPLE, :, CREATE] = (2, -1)
    reward[BLUEBERRY, :, CREATE] = (-1, 2)
    reward[:, :, ASK] = -0.1
    return Game.from_dense(
        transition, reward, [0.875, 0.125], np.eye(5)[FLOUR], discount=0.99, horizon=HORIZON, order=Order.ROBOT_FIRST
    )


def human() -> np.ndarray:
    """The policy `[T, S, A_R, Θ, A_H]` of a human who answers from step 3 on."""
    policy = np.zeros((HORIZON, 5, 5, 2, 3))
    policy[..., 0] = 1
    for theta in range(2):
        policy[ANSWERS_FROM:, :, ASK, theta] = np.eye(3)[1 + theta]
    return policy
