"""The off-switch game (Hadfield-Menell et al. 2017).

The robot may act, which is worth U to the human; switch itself off, worth nothing; or wait and let
the human allow the act or press the switch.  Only the human knows U.  Waiting is worth more than
deciding alone exactly as far as the human decides well and the robot is unsure.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Float

from cirl.game import Game, Order
from mdps.checks import check_array, check_truth

__all__ = ["game"]
__dir__ = __all__.copy

ACT, WAIT, OFF = 0, 1, 2


def game(
    utility: Float[Array, " Theta"] | np.ndarray | Sequence[float],
    prior: Float[Array, " Theta"] | np.ndarray | Sequence[float],
    *,
    may_decide: bool = True,
) -> Game:
    """One step, the robot first; the human's actions are allow and stop.

    Args:
        utility: U under each θ, in units of reward, `[Θ]`.
        prior: probability of each, `[Θ]`.
        may_decide: whether the robot may act or switch off by itself; else it can only wait.

    Example:
        >>> game([1.0, -1.0], [0.5, 0.5]).num_robot_actions
        3
    """
    U = np.asarray(check_array("utility", utility), float)
    if U.ndim != 1 or not len(U):
        raise ValueError(f"utility has shape {U.shape}; give U under each θ, [Θ].")
    check_truth("may_decide", may_decide)
    reward = np.zeros((1, 2, 3, len(U)))
    reward[0, :, ACT] = U
    reward[0, 0, WAIT] = U
    kept = [ACT, WAIT, OFF] if may_decide else [WAIT]
    reward = reward[:, :, kept]
    return Game.from_dense(np.ones((1, 2, len(kept), 1)), reward, prior, [1.0], horizon=1, order=Order.ROBOT_FIRST)
