"""Red and blue: wait until the human has shown which (references C).

The human walks to a junction and then to the red or the blue side, as θ says; the robot may go to a
side at once, or wait and follow.  Both are paid 1 for θ's side.
"""

import numpy as np

from cirl.game import Game, Order
from mdps.checks import check_truth

__all__ = ["game", "human"]
__dir__ = __all__.copy

RED, BLUE, WAIT = 0, 1, 2


def game(*, order: Order = Order.SIMULTANEOUS, may_wait: bool = True) -> Game:
    """Four steps, discount .9; θ is red or blue with equal probability.

    State: 3 * (human at 0, junction 1, red 2, blue 3) + (robot at 0, red 1, blue 2).

    Args:
        order: simultaneous or robot first; the value is the same.
        may_wait: whether the robot may wait.

    Example:
        >>> game().mdp.num_states
        12
    """
    AR = 3 if check_truth("may_wait", may_wait) else 2
    transition, reward = np.zeros((12, 2, AR, 12)), np.zeros((12, 2, AR, 2))
    for h in range(4):
        for r in range(3):
            for a in range(2):
                for b in range(AR):
                    human = 1 if h == 0 else 2 + a if h == 1 else h
                    robot = (b + 1) % 3 if r == 0 else r
                    transition[3 * h + r, a, b, 3 * human + robot] = 1
                    for theta in (RED, BLUE):
                        reward[3 * h + r, a, b, theta] = float(h == 1 and a == theta) + float(r == 0 and b == theta)
    return Game.from_dense(transition, reward, [0.5, 0.5], np.eye(12)[0], discount=0.9, horizon=4, order=order)


def human() -> np.ndarray:
    """The policy `[S, Θ, A_H]` of a human who goes to θ's side."""
    policy = np.zeros((12, 2, 2))
    policy[:, RED, 0] = policy[:, BLUE, 1] = 1
    policy[[s for s in range(12) if s // 3 != 1]] = [[1, 0], [1, 0]]
    return policy
