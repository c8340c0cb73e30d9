"""The off-switch game when both know something that the other does not (Garber et al. 2024, arXiv 2411.17749).

A script may be run, which is worth u(s) to both, and s is known to neither: the human sees one thing of it, the robot
another.  The robot runs the script, switches itself off, or waits; if it waits, the human allows the script or presses
the switch.  A human who sees all that the robot sees decides no worse than the robot, and the robot may as well wait.
One who does not cannot use what the robot knows, and now a robot that wants what she wants, beside a human who makes
no mistake, is worth more if it does not always wait.

What both are paid never falls with what either sees, nor with a bit that one may send to the other before.  How often
the robot waits may fall with both.
"""

import enum
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Float, Int

from cirl.game import Game, Order
from mdps.checks import check_finite, check_indices, check_real, check_rows, require_concrete, shown

__all__ = ["Bit", "Outcomes", "Play", "PrivateOffSwitch", "game", "one_bit", "outcomes", "script"]
__dir__ = __all__.copy

ACT, WAIT, OFF = 0, 1, 2
ALLOW, STOP = 0, 1
MOST_STRATEGIES = 2**17  # of the human, messages included
TIE = 1e-10  # of the largest |u|: payoffs that differ by less are equal

Numbers = Float[Array, " n"] | np.ndarray | Sequence[float]
Sees = Float[Array, " S O"] | Int[Array, " S"] | np.ndarray | Sequence


class Bit(enum.Enum):
    """Who may send one bit to the other before the robot moves: NONE, FROM_HUMAN to the robot, or FROM_ROBOT."""

    NONE = "none"
    FROM_HUMAN = "from human"
    FROM_ROBOT = "from robot"


@dataclass(frozen=True)
class Outcomes:
    """What optimal pairs of plans bring, for G utilities; `[G]` each.

    Attributes:
        value: largest expected payoff of any pair.
        least: smallest probability of waiting among the pairs that attain it.
        most: largest.
    """

    value: np.ndarray
    least: np.ndarray
    most: np.ndarray


@dataclass(frozen=True)
class Play:
    """One optimal pair of plans, of those the one that waits most; and the range of waiting over all of them.

    Attributes:
        value: expected payoff.
        least: smallest probability of waiting among optimal pairs.
        most: largest.
        human: 0 allows, 1 stops, by what the human sees and the bit that was sent to her, `[O_H, 1 or 2]`.
        robot: 0 acts, 1 waits, 2 switches off, by what the robot sees and the bit sent to it, `[O_R, 1 or 2]`.
        message: the bit, by what its sender sees; None without.
    """

    value: float
    least: float
    most: float
    human: np.ndarray
    robot: np.ndarray
    message: np.ndarray | None

    def __str__(self) -> str:
        waits = f"{self.most:.6g}" if self.most - self.least < 1e-9 else f"{self.least:.6g} to {self.most:.6g}"
        return f"worth {self.value:.6g}; the robot waits with probability {waits}"


@dataclass(frozen=True, eq=False, repr=False)
class PrivateOffSwitch:
    """An off-switch game in which each side sees its own part of the state; made by `game`.

    Attributes:
        utility: what running the script is worth in each state, `[S]`.
        prior: probability of each, `[S]`.
        human_sees: probability of each thing that the human may see, in each state, `[S, O_H]`.
        robot_sees: the same for the robot, `[S, O_R]`; given the state the two are independent.
    """

    utility: np.ndarray
    prior: np.ndarray
    human_sees: np.ndarray
    robot_sees: np.ndarray

    def __repr__(self) -> str:
        sees = f"the human sees {self.human_sees.shape[1]} things, the robot {self.robot_sees.shape[1]}"
        return f"{type(self).__name__}({len(self.prior)} states; {sees})"

    def best(self, bit: Bit = Bit.NONE) -> Play:
        """Optimal pairs of plans, by trying every plan of the human against the robot's best reply to it; exact.

        Args:
            bit: who may send one.

        Returns:
            A `Play`.

        Raises:
            ValueError: for a bit that is none, or where the human has too many plans to try.

        Example:
            >>> print(script().best())
            worth 1.75; the robot waits with probability 0.5
        """
        U, P = _masses(self.utility[None], self.prior, self.human_sees, self.robot_sees)
        slack = TIE * np.abs(self.utility).max()
        chosen, top, range_ = None, -np.inf, (np.inf, -np.inf)
        for plan in _plans(P.shape[1], _check_bit(bit)):
            value, least, most = (float(x[0]) for x in _replied(U, P, plan, slack))
            if value > top + slack:
                top, range_, chosen = value, (least, most), plan
            elif value >= top - slack:
                chosen = plan if most > range_[1] else chosen
                range_ = min(range_[0], least), max(range_[1], most)
        assert chosen is not None
        human, robot, message = _told(U[0], chosen, slack)
        return Play(top, *range_, human, robot, message)

    def to_game(self) -> Game:
        """The same as a `cirl.Game`, where the human sees all that the robot sees; for `cirl.solve`.

        The state is what the robot sees, θ what the human sees.  A game draws the two independently, so that rewards
        are weighted by how much more often they come together than that; its value is that of this game.

        Raises:
            ValueError: where the robot sees something that the human does not: θ is the only secret of a game.

        Example:
            >>> same = game([1.0, -1.0], [0.5, 0.5], human_sees=[0, 1], robot_sees=[0, 0])
            >>> same.to_game().num_thetas
            2
        """
        U, P = _masses(self.utility[None], self.prior, self.human_sees, self.robot_sees)
        U, P = U[0][P.sum(1) > 0][:, P.sum(0) > 0], P[P.sum(1) > 0][:, P.sum(0) > 0]
        shared = np.flatnonzero((P > 0).sum(axis=0) > 1)
        if shared.size:
            raise ValueError(
                f"robot_sees tells apart what human_sees does not (its column {shared[0]} goes along with several "
                "things that the robot may see); a Game has no secrets of the robot: call best() instead."
            )
        by_robot, by_human = P.sum(axis=1), P.sum(axis=0)
        reward = np.zeros((len(U), 2, 3, U.shape[1]))
        reward[:, :, ACT] = (U / (by_robot[:, None] * by_human))[:, None]
        reward[:, ALLOW, WAIT] = reward[:, ALLOW, ACT]
        stay = np.broadcast_to(np.eye(len(U))[:, None, None], (len(U), 2, 3, len(U)))
        return Game.from_dense(
            stay,
            reward,
            by_human,
            by_robot,
            horizon=1,
            order=Order.ROBOT_FIRST,
            human_actions=("allow", "stop"),
            robot_actions=("act", "wait", "off"),
        )


def game(utility: Numbers, prior: Numbers, *, human_sees: Sees, robot_sees: Sees) -> PrivateOffSwitch:
    """An off-switch game in which each side sees its own part of the state.

    Args:
        utility: what acting is worth in each state, `[S]`; being off is worth 0.
        prior: probability of each, `[S]`.
        human_sees: the number of what the human sees in each state, `[S]`, or probabilities `[S, O_H]`.
        robot_sees: the same for the robot; given the state the two are independent (noise that both see alike belongs
            into the state).

    Returns:
        A `PrivateOffSwitch`.

    Raises:
        ValueError: for tables that do not fit, or rows that are no probabilities.

    Example:
        >>> game([1.0, -1.0], [0.5, 0.5], human_sees=[0, 1], robot_sees=[[0.9, 0.1], [0.1, 0.9]])
        PrivateOffSwitch(2 states; the human sees 2 things, the robot 2)
    """
    u = _table("utility", utility, 1)
    p = _distribution("prior", prior, (len(u),), ())
    sees = {name: _channel(name, x, len(u)) for name, x in (("human_sees", human_sees), ("robot_sees", robot_sees))}
    return PrivateOffSwitch(u, p, **sees)


def outcomes(
    utilities: Float[Array, " G S"] | np.ndarray | Sequence[Sequence[float]],
    prior: Numbers,
    *,
    human_sees: Sees,
    robot_sees: Sees,
    bit: Bit = Bit.NONE,
) -> Outcomes:
    """`PrivateOffSwitch.best` for many utilities at once, without the plans.

    Args:
        utilities: what acting is worth in each state, `[G, S]`.
        prior: probability of each state, `[S]`.
        human_sees: as in `game`.
        robot_sees: as in `game`.
        bit: who may send one.

    Returns:
        `Outcomes`, `[G]` each.

    Raises:
        ValueError: as in `game`.

    Example:
        >>> found = outcomes([[1.0, -1.0], [2.0, 1.0]], [0.5, 0.5], human_sees=[0, 1], robot_sees=[0, 0])
        >>> found.value.tolist(), found.most.tolist()
        ([0.5, 1.5], [1.0, 1.0])
    """
    u = _table("utilities", utilities, 2)
    p = _distribution("prior", prior, (u.shape[1],), ())
    human, robot = _channel("human_sees", human_sees, len(p)), _channel("robot_sees", robot_sees, len(p))
    U, P = _masses(u, p, human, robot)
    slack = TIE * np.abs(u).max(axis=1)
    value, least, most = np.full(len(u), -np.inf), np.full(len(u), np.inf), np.full(len(u), -np.inf)
    for plan in _plans(P.shape[1], _check_bit(bit)):
        worth, low, high = _replied(U, P, plan, slack)
        better, equal = worth > value + slack, np.abs(worth - value) <= slack
        value = np.where(better, worth, value)
        least = np.where(better, low, np.where(equal, np.minimum(least, low), least))
        most = np.where(better, high, np.where(equal, np.maximum(most, high), most))
    return Outcomes(value, least, most)


def script() -> PrivateOffSwitch:
    """A script for an old or a new machine: the human knows the machine, the robot whether the script is plain.

    A plain script is worth 1 on the old machine and 3 on the new one, a special one -5 and 3.  All four are equally
    likely.  If the robot always waited, the human would have to stop every script on the old machine.  So it runs
    plain scripts itself, beside a human who makes no mistake.

    Example:
        >>> script().best().robot[:, 0].tolist()  # plain: act; special: wait
        [0, 1]
    """
    return game([1.0, 3.0, -5.0, 3.0], np.full(4, 0.25), human_sees=[0, 1, 0, 1], robot_sees=[0, 0, 1, 1])


def one_bit() -> PrivateOffSwitch:
    """The smallest game found in which a bit from the human makes the robot wait less, in all optimal pairs.

    Five states that are equally likely, payoffs of ±1 and ±2.  Without the bit the robot always waits; with it both are
    paid more, and it waits with probability 0.8 at most.  Among all games with at most four equally likely states,
    observations that are functions of the state and payoffs ±1, ±2, ±3 there is none (`examples/off_switch.py`).

    Example:
        >>> print(one_bit().best())
        worth 0.6; the robot waits with probability 1
        >>> print(one_bit().best(Bit.FROM_HUMAN))
        worth 0.8; the robot waits with probability 0.4 to 0.8
    """
    utility = [-2.0, -1.0, -1.0, 2.0, 2.0]
    return game(utility, np.full(5, 0.2), human_sees=[0, 0, 1, 1, 2], robot_sees=[0, 1, 1, 0, 1])


def _check_bit(bit: Bit) -> Bit:
    if not isinstance(bit, Bit):
        raise ValueError(f"bit is {shown(bit)}; give Bit.NONE, Bit.FROM_HUMAN or Bit.FROM_ROBOT.")
    return bit


def _table(name: str, x, rank: int) -> np.ndarray:
    require_concrete("private_off_switch", **{name: x})
    table = np.asarray(check_real(name, x), float)
    if table.ndim != rank or 0 in table.shape:
        raise ValueError(
            f"{name} has shape {table.shape}; give {'[S]' if rank == 1 else '[G, S]'}, one number a state."
        )
    check_finite(name, table)
    return table


def _distribution(name: str, x, shape: tuple[int, ...], axes: tuple[str, ...]) -> np.ndarray:
    require_concrete("private_off_switch", **{name: x})
    table = np.asarray(check_real(name, x), float)
    if table.shape[: len(shape)] != shape or table.ndim != len(axes) + 1 or 0 in table.shape:
        raise ValueError(f"{name} has shape {table.shape}; give one row of probabilities for {shape[0]} states.")
    check_rows(name, table, axes=axes)
    return table / table.sum(axis=-1, keepdims=True)


def _channel(name: str, x, states: int) -> np.ndarray:
    """What is seen in each state: labels `[S]` as probabilities `[S, O]`."""
    require_concrete("private_off_switch", **{name: x})
    if np.ndim(check_real(name, x)) != 1:
        return _distribution(name, x, (states,), ("state",))
    labels = np.asarray(check_indices(name, x, states, "things to see"))
    if labels.shape != (states,):
        raise ValueError(f"{name} has shape {labels.shape}; give what is seen in each of the {states} states.")
    return np.eye(labels.max() + 1)[labels]


def _masses(u: np.ndarray, p: np.ndarray, human: np.ndarray, robot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Payoff times probability, and probability, of what the two see together: `[G, O_R, O_H]`, `[O_R, O_H]`."""
    return np.einsum("gs,s,sr,sh->grh", u, p, robot, human), np.einsum("s,sr,sh->rh", p, robot, human)


# A plan of the human: whether she allows, by what she sees and the bit she got `[O_H, 2]`, and the bit that she sends.
Plan = tuple[np.ndarray, np.ndarray | None]


def _plans(seen: int, bit: Bit) -> Iterator[Plan]:
    """Every plan of the human, up to renaming the bit."""
    count = 2 ** (seen if bit is Bit.NONE else 2 * seen)
    if count > MOST_STRATEGIES:
        raise ValueError(
            f"human_sees has {seen} things, which makes {count:,} plans, more than the {MOST_STRATEGIES:,} that are "
            "tried; merge some of them."
        )
    tables = [np.array(row, float) for row in itertools.product((1, 0), repeat=seen)]
    for i, allows in enumerate(tables):
        if bit is Bit.NONE:
            yield np.stack([allows, allows], axis=1), None
        elif bit is Bit.FROM_HUMAN:
            for sent in tables[: max(1, len(tables) // 2)]:  # what is seen first sends a 1
                yield np.stack([allows, allows], axis=1), sent.astype(int)
        else:
            for other in tables[i:]:
                yield np.stack([allows, other], axis=1), None


def _replied(U: np.ndarray, P: np.ndarray, plan: Plan, slack) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the robot's best reply is worth, and the least and most that it waits; `[G]` each."""
    allows, sent = plan
    slack = np.asarray(slack)[..., None]
    value = least = most = np.zeros(len(U))
    for each in [np.ones(U.shape[2], bool)] if sent is None else [sent == 1, sent == 0]:
        alone = np.maximum(U[:, :, each].sum(axis=2), 0)
        wait = (U[:, :, each] @ allows[each]).max(axis=2)
        often = P[:, each].sum(axis=1)
        value = value + np.maximum(alone, wait).sum(axis=1)
        least = least + (wait > alone + slack) @ often
        most = most + (wait >= alone - slack) @ often
    return value, least, most


def _told(U: np.ndarray, plan: Plan, slack: float) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """A plan of the human and the reply that waits wherever it may: her actions, its actions, the bit."""
    allows, sent = plan
    groups = [np.ones(U.shape[1], bool)] if sent is None else [sent == 0, sent == 1]
    robot = []
    for each in groups:
        act, wait = U[:, each].sum(axis=1), (U[:, each] @ allows[each]).max(axis=1)
        robot.append(np.where(wait >= np.maximum(act, 0) - slack, WAIT, np.where(act > 0, ACT, OFF)))
    chosen = (U @ allows).argmax(axis=1) if (allows[:, 0] != allows[:, 1]).any() else None
    columns = 1 if chosen is None else 2
    human = np.where(allows[:, :columns] > 0, ALLOW, STOP)
    return human, np.stack(robot, axis=1), sent if sent is not None else chosen
