"""What a person does about a robot's own trajectory: improve it, correct it, praise it, blame a part of it."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.evidence.checks import Beta, check_beta_or_prior
from ird.evidence.choice import Choice
from ird.evidence.paths import check_path, collected, path_features
from mdps import MDP, feature_expectations
from mdps.checks import check_array, check_index, check_mdp, shown
from mdps.policies import uniform_policy

__all__ = [
    "Correction",
    "CreditAssignment",
    "Improvement",
    "RewardPunish",
    "deformed_path",
    "features_of",
    "same_length",
]
__dir__ = __all__.copy


class Improvement(Choice):
    r"""A trajectory shown as better than the robot's: the choice set is {improved, robot's} (Jeon et al. 2020).

    Example:
        >>> import mdps
        >>> grid = mdps.GridWorld.from_text("SgG\n...", {"S": ".", ".": ".", "g": "grass", "G": "goal"}, horizon=4)
        >>> seen = Improvement(grid.mdp, [0, 3, 4, 5], robot=[0, 1, 2, 2])
        >>> bool(seen.log_likelihood(jnp.asarray([[0.0, -9.0, 0.0]]))[0] > jnp.log(0.5))
        True
    """

    def __init__(self, mdp: MDP, improved, *, robot, beta: Beta = 1.0):
        """Take two paths of equal length.

        Args:
            mdp: the MDP both are in.
            improved: the states of the better path, `[T]`.
            robot: the states of the robot's, `[T]`.
            beta: inverse temperature of the person, in 1/return, or a distribution of it where it is unknown.

        Raises:
            ValueError: for paths of unequal length, or an impossible move.
        """
        check_beta_or_prior(beta, check_mdp(mdp).features.dtype)
        improved, robot = same_length(improved=improved, robot=robot)
        options = features_of(mdp, improved=improved, robot=robot)
        super().__init__(options, 0, beta=beta, feature_names=mdp.feature_names)


class Correction(Choice):
    """A push on the robot's trajectory, among all pushes there could have been (Bajcsy 2017; Jeon et al. 2020).

    Each option is the robot's path as one possible push would have deformed it, no push among them
    (`deformed_path` makes them).  Deformed paths need not follow the MDP's moves.
    """

    def __init__(self, mdp: MDP, paths, chosen: int, *, beta: Beta = 1.0):
        """Take the paths that the possible corrections would have led to.

        Args:
            mdp: the MDP.
            paths: states along each, `[C, T]`.
            chosen: which one the person's push led to.
            beta: inverse temperature of the person, in 1/return, or a distribution of it where it is unknown.

        Raises:
            ValueError: for paths that leave the map or differ in length.
        """
        check_beta_or_prior(beta, check_mdp(mdp).features.dtype)
        if isinstance(paths, str) or not hasattr(paths, "__len__"):
            raise ValueError(f"paths is {shown(paths)}; give the states along each, [C, T].")
        if len(paths) < 2:
            raise ValueError(
                f"there are {len(paths)} paths; give what at least two pushes, or none, would have led to."
            )
        paths = [check_path(mdp, path, moves=False, name=f"paths[{i}]")[0] for i, path in enumerate(paths)]
        if len({len(path) for path in paths}) != 1:
            raise ValueError(f"the paths have lengths {sorted({len(p) for p in paths})}; corrections keep the length.")
        if mdp.features.ndim == 3:
            raise ValueError("this MDP's features depend on the action, and a deformed path has none; use Choice.")
        super().__init__(collected(mdp, np.stack(paths)), chosen, beta=beta, feature_names=mdp.feature_names)


def deformed_path(
    cells: Float[Array, " T 2"] | np.ndarray | Sequence[Sequence[int]], step: int, push: Sequence[float]
) -> np.ndarray:
    """A path on a grid after a push at one step: ξ + A⁻¹ Δq, rounded to cells, ends fixed (Bajcsy et al. 2017).

    `A` penalises second differences, so that the push fades smoothly along the path; it is scaled to
    move the pushed step by `push` itself.

    Args:
        cells: (row, column) at each step, `[T, 2]`.
        step: where the push acts, strictly between the ends.
        push: by how many rows and columns.

    Returns:
        (row, column) at each step, `[T, 2]` int.

    Raises:
        ValueError: for a step at or beyond the ends, or numbers that are not finite or not pairs.

    Example:
        >>> deformed_path(np.array([[0, 0], [0, 1], [0, 2], [0, 3], [0, 4]]), 2, (1, 0))[:, 0].tolist()
        [0, 1, 1, 1, 0]
    """
    cells, by = np.asarray(check_array("cells", cells), float), np.asarray(check_array("push", push), float)
    if cells.ndim != 2 or cells.shape[0] < 3 or cells.shape[1] != 2 or by.shape != (2,):
        raise ValueError(
            f"cells has shape {cells.shape} and push {by.shape}; give (row, column) pairs [T, 2] with T ≥ 3, and [2]."
        )
    T = len(cells)
    if not isinstance(step, int | np.integer) or isinstance(step, bool) or not 0 < step < T - 1:
        raise ValueError(f"step is {shown(step)}; a push acts strictly between the ends of the path, in 1..{T - 2}.")
    inner = T - 2
    second = 2 * np.eye(inner) - np.eye(inner, k=1) - np.eye(inner, k=-1)
    response = np.linalg.solve(second.T @ second, np.eye(inner)[step - 1])
    moved = cells.copy()
    moved[1:-1] += (response / response[step - 1])[:, None] * by[None]
    return np.floor(moved + 0.5).astype(int)


class RewardPunish(Choice):
    """Reward or punishment for a trajectory: {+1: the robot's; −1: what was to be expected} (Jeon et al. 2020)."""

    def __init__(
        self,
        mdp: MDP,
        robot,
        sign: int,
        *,
        expected: Float[Array, " K"] | None = None,
        beta: Beta = 1.0,
    ):
        """Take the robot's path and the sign it was given.

        Args:
            mdp: the MDP.
            robot: the states of the robot's path, `[T]`; with a horizon, as long as it.
            sign: +1 or −1.
            expected: features that were to be expected instead, `[K]`; None: those of a policy that
                acts at random.
            beta: inverse temperature of the person, in 1/return, or a distribution of it where it is unknown.

        Raises:
            ValueError: for another sign, an impossible move, a path of another length than what was to be
                expected, or expected features that are not finite or not one per feature.
        """
        if np.shape(sign) != () or isinstance(sign, bool) or sign not in (1, -1):
            raise ValueError(f"sign is {shown(sign)}; give +1 for reward or -1 for punishment.")
        check_beta_or_prior(beta, check_mdp(mdp).features.dtype)
        robot, _ = check_path(mdp, robot, name="robot")
        own = path_features(mdp, robot)
        if expected is None:
            if len(robot) != mdp.horizon:
                raise ValueError(
                    f"the path has {len(robot)} steps, but what is to be expected at random has "
                    f"{mdp.horizon or 'no end'}; give a path of the MDP's horizon, or `expected` for as many steps."
                )
            expected = feature_expectations(mdp, uniform_policy(mdp))
        expected = check_array("expected", expected, dtype=own.dtype)
        if expected.shape != own.shape:
            raise ValueError(f"expected has shape {expected.shape}; give one number per feature {mdp.feature_names}.")
        options = jnp.stack([own, expected])
        super().__init__(options, 0 if sign == 1 else 1, beta=beta, feature_names=mdp.feature_names)


class CreditAssignment(Choice):
    """Pointing at what matters in a trajectory: segments of length k, each as if repeated (Jeon et al. 2020)."""

    def __init__(self, mdp: MDP, robot, start: int, length: int, *, beta: Beta = 1.0):
        """Take the robot's path and the segment that was pointed at.

        Args:
            mdp: the MDP.
            robot: the states of the robot's path, `[T]`.
            start: first step of the chosen segment.
            length: k, steps in a segment.
            beta: inverse temperature of the person, in 1/return, or a distribution of it where it is unknown.

        Raises:
            ValueError: for a segment outside the path, or of its whole length.
        """
        robot, _ = check_path(mdp, robot, name="robot")
        T = len(robot)
        if not isinstance(length, int | np.integer) or isinstance(length, bool) or not 1 <= length < T:
            raise ValueError(
                f"length is {shown(length)}; a segment is shorter than the path of {T} steps, a whole number ≥ 1."
            )
        check_index("start", start, T - length + 1, f"segments of {length} steps")
        if mdp.features.ndim == 3:
            raise ValueError("this MDP's features depend on the action; count the segments' features and use Choice.")
        # The segment over and over, for as many steps as the path has.
        repeated = np.stack([robot[first + np.arange(T) % length] for first in range(T - length + 1)])
        super().__init__(collected(mdp, repeated), start, beta=beta, feature_names=mdp.feature_names)


def features_of(mdp: MDP, **paths) -> Array:
    """Features of paths of one length, `[T]` each, by their names, `[paths, K]`."""
    states = [check_path(mdp, path, name=name)[0] for name, path in paths.items()]
    if mdp.features.ndim == 3:
        raise ValueError(f"this MDP's features depend on the action, and {next(iter(paths))} has none; use Choice.")
    return collected(mdp, np.stack(states))


def same_length(**paths) -> list[np.ndarray]:
    """The paths as arrays, refused unless they are equally long."""
    arrays = {}
    for name, path in paths.items():
        try:
            arrays[name] = np.asarray(path)
        except ValueError as error:
            raise ValueError(f"{name} makes no array ({error}); give the states visited, [T].") from error
        if arrays[name].dtype.kind not in "iu":
            raise ValueError(f"{name} is {shown(path)}; give state indices, whole numbers, [T].")
    lengths = {name: x.shape[0] if x.ndim else 0 for name, x in arrays.items()}
    if len(set(lengths.values())) != 1:
        told = ", ".join(f"{name} has {n} steps" for name, n in lengths.items())
        raise ValueError(f"{told}; compare trajectories of equal length, or the longer one wins by its length alone.")
    return list(arrays.values())
