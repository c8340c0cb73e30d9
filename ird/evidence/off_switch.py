"""Pressing, or not pressing, a robot's off-switch, as a choice between what it did and standing still from then on."""

import numpy as np

from ird.evidence.checks import Beta
from ird.evidence.choice import Choice
from ird.evidence.paths import check_path, collected
from mdps import MDP
from mdps.checks import check_index, check_truth

__all__ = ["OffSwitch"]
__dir__ = __all__.copy


class OffSwitch(Choice):
    """Pressing the switch at step t, or letting the robot go on: {path to t, then frozen; path} (Jeon et al. 2020)."""

    def __init__(self, mdp: MDP, robot, step: int, *, pressed: bool = True, beta: Beta = 1.0):
        """Take the robot's path and the step at which it was, or was not, switched off.

        Args:
            mdp: the MDP.
            robot: the states of the robot's path as it would have been, `[T]`.
            step: from this step on, a robot switched off stays where it is.
            pressed: whether the person pressed.
            beta: inverse temperature of the person, in 1/return, or a distribution of it where it is unknown.

        Raises:
            ValueError: for a step outside the path, an impossible move, or `pressed` that is neither true
                nor false.
        """
        robot, _ = check_path(mdp, robot, name="robot")
        check_index("step", step, len(robot), "steps of the robot's path")
        pressed = check_truth("pressed", pressed)
        if mdp.features.ndim == 3:
            raise ValueError(
                "this MDP's features depend on the action, and a robot switched off takes none; use Choice."
            )
        frozen = np.where(np.arange(len(robot)) <= step, robot, robot[step])
        options = collected(mdp, np.stack([frozen, robot]))
        super().__init__(options, 0 if pressed else 1, beta=beta, feature_names=mdp.feature_names)
