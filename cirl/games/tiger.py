"""The tiger behind one of two doors (Kaelbling, Littman and Cassandra 1998), told as a game.

Somebody knows which door hides the tiger and growls when the robot listens: from the tiger's side
85 times in a hundred.  The robot may listen, at a price of 1, or open a door: +10, or -100 and a
tiger.  Then the next tiger is put behind a door by a coin, so the problem starts anew.  θ does not change
during a game, so a game here ends with the door, and pays what the *next* tiger is worth: the value
of the original problem is the fixed point

    V = value(game(V)),

and since value(game(v)) rises with v, by less than v does, value(game(l)) ≥ l proves V ≥ l, and
value(game(u)) ≤ u proves V ≤ u.
"""

import numpy as np

from cirl.game import Game, Order
from mdps.checks import check_horizon_and_discount, check_number

__all__ = ["game", "human"]
__dir__ = __all__.copy

LEFT, RIGHT = 0, 1  # where the tiger is, and where it is heard
LISTEN, OPEN_LEFT, OPEN_RIGHT = range(3)
HEARD = 0.85


def game(next_tiger: float = 0.0, *, discount: float = 0.95) -> Game:
    """Endless, the robot first; states: before the doors, over.

    Args:
        next_tiger: what the next tiger is worth once a door has been opened, in units of reward.
        discount: discount factor per step.

    Example:
        >>> game().num_human_actions, game().num_robot_actions
        (2, 3)
    """
    check_number("next_tiger", next_tiger)
    check_horizon_and_discount(None, discount)
    transition, reward = np.zeros((2, 2, 3, 2)), np.zeros((2, 2, 3, 2))
    transition[0, :, LISTEN, 0] = 1
    transition[0, :, OPEN_LEFT:, 1] = 1
    transition[1, ..., 1] = 1
    reward[0, :, LISTEN] = -1
    reward[0, :, OPEN_LEFT] = np.array([-100, 10]) + discount * next_tiger
    reward[0, :, OPEN_RIGHT] = np.array([10, -100]) + discount * next_tiger
    return Game.from_dense(transition, reward, [0.5, 0.5], [1.0, 0], discount=discount, order=Order.ROBOT_FIRST)


def human() -> np.ndarray:
    """The policy `[S, A_R, Θ, A_H]` of whoever growls: from the tiger's side with probability .85 if listened to."""
    policy = np.full((2, 3, 2, 2), 0.5)
    policy[:, LISTEN] = [[HEARD, 1 - HEARD], [1 - HEARD, HEARD]]
    return policy
