"""Wormy apples: ask which bin, but only once it matters (references C).

The robot gets an apple, clean with probability .8 or wormy.  A clean one becomes a pie.  A wormy one
goes to the compost or the trash, as the human wishes, before the pie.  The robot may ask, at .1, and
is answered in the same step.
"""

import numpy as np

from cirl.game import Game, Order
from mdps.checks import check_truth

__all__ = ["game", "human"]
__dir__ = __all__.copy

START, CLEAN, WORMY, COMPOST, TRASH, PIE = range(6)
GET, MAKE, TOSS_COMPOST, TOSS_TRASH, ASK = range(5)


def game(discount: float = 0.99) -> Game:
    """Four steps, the robot first; the human says nothing (0), compost (1) or trash (2).

    Args:
        discount: discount factor per step.

    Example:
        >>> game().num_human_actions
        3
    """
    transition, reward = np.zeros((6, 3, 5, 6)), np.zeros((6, 3, 5, 2))
    for s in range(6):
        transition[s, :, :, s] = 1  # what makes no sense changes nothing

    def leads(s, action, *ahead):
        transition[s, :, action] = 0
        for to, p in ahead:
            transition[s, :, action, to] = p

    leads(START, GET, (CLEAN, 0.8), (WORMY, 0.2))
    leads(WORMY, TOSS_COMPOST, (COMPOST, 1))
    leads(WORMY, TOSS_TRASH, (TRASH, 1))
    for s in (CLEAN, COMPOST, TRASH):
        leads(s, MAKE, (PIE, 1))
        reward[s, :, MAKE] = 2
    reward[WORMY, :, TOSS_COMPOST, 1] = reward[WORMY, :, TOSS_TRASH, 0] = -2
    reward[:, :, ASK] = -0.1
    return Game.from_dense(
        transition, reward, [0.5, 0.5], np.eye(6)[START], discount=discount, horizon=4, order=Order.ROBOT_FIRST
    )


def human(*, only_at_start: bool = False) -> np.ndarray:
    """The policy `[S, A_R, Θ, A_H]` of a human who answers a question, everywhere or only at the start."""
    policy = np.zeros((6, 5, 2, 3))
    policy[..., 0] = 1
    where = [START] if check_truth("only_at_start", only_at_start) else range(6)
    for theta in range(2):
        policy[where, ASK, theta] = np.eye(3)[1 + theta]
    return policy
