"""The coordination POMDP (Hadfield-Menell et al. 2016, theorem 1), and POMDPs in and out of files."""

import itertools
import math
import numbers
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cirl.game import Game, Order
from cirl.human import Fixed
from cirl.pomdp import _export, _format
from mdps.checks import as_distributions, check_finite, check_horizon_and_discount, check_real, require_concrete
from mdps.pytrees import set_fields

LARGEST_TENSOR = 20_000_000  # entries of the transition tensor


@dataclass(frozen=True, eq=False)
class Pomdp:
    """A finite POMDP in dense NumPy arrays of float64.

    Rows of probabilities that miss one by at most 1e-5 are divided by their sum; others are refused.

    Attributes:
        transition: probability of x' after a in x, `[A, X, X']`.
        observation: probability of each observation on arriving, `[A, X', O]`.
        reward: expected reward of a in x, `[A, X]`.
        start: probability of starting in each state, `[X]`.
        discount: discount factor per step, in [0, 1].
        horizon: number of steps, or None for an endless POMDP.
        first_observation: what is seen before the first action: the number of an observation for each state
            that one may start in, `[X]`; None: nothing is seen.
        states: names of the states; empty where they are numbers.
        actions: names of the actions, likewise.
        observations: names of the observations, likewise.

    Raises:
        ValueError: for arrays whose axes do not fit together, rows that are no distributions, rewards that are not
            finite, and a discount, horizon or name that is none.
    """

    transition: np.ndarray
    observation: np.ndarray
    reward: np.ndarray
    start: np.ndarray
    discount: float
    horizon: int | None = None
    first_observation: np.ndarray | None = None
    states: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    observations: tuple[str, ...] = ()

    def __post_init__(self):
        tables = {key: _table(key, getattr(self, key)) for key in ("transition", "observation", "reward", "start")}
        names = {key: _names(key, getattr(self, key)) for key in ("states", "actions", "observations")}
        A, X, O = _sizes(**{key: table.shape for key, table in tables.items()})
        check_finite("reward", tables["reward"])
        for key, axes in (("transition", ("action", "state")), ("observation", ("action", "end state")), ("start", ())):
            tables[key] = as_distributions(key, tables[key], axes=axes, dtype=np.float64)
        if not _is_discount(self.discount):
            raise ValueError(f"discount is {self.discount!r}; give one number in [0, 1].")
        if self.horizon is not None:
            check_horizon_and_discount(self.horizon, self.discount)
        for (key, words), size in zip(names.items(), (X, A, O), strict=True):
            _check_names(key, words, size)
        first = None if self.first_observation is None else _first(self.first_observation, X, O)
        set_fields(self, **tables, **names, discount=float(self.discount), first_observation=first)

    def write(self, path: str | Path) -> None:
        """Write the POMDP, in the format of the file's ending: Cassandra's `.pomdp`, or `.pomdpx`.

        The formats know no horizon, `.pomdpx` asks for a discount below 1, and in both nothing is seen before the
        first action.  So time goes into the states, with an absorbing end that pays nothing, a discount of 1 becomes
        one below it that larger rewards make up for, and a first observation takes a step of its own: whatever solves
        the file as an endless POMDP finds the value of this one, at the start that the file says.
        A comment on top says which state is which; a POMDP that needs none of this keeps its states.
        Numbers are written without exponents, and read back they are the same to the bit.

        Raises:
            ValueError: for another ending, or a discount of 1 without a horizon.

        Example:
            >>> import pathlib, tempfile
            >>> from cirl.games import off_switch
            >>> path = pathlib.Path(tempfile.mkdtemp()) / "game.pomdp"
            >>> coordination_pomdp(off_switch.game([1.0, -1.0], [0.5, 0.5])).write(path)
            >>> for line in path.read_text().splitlines()[:4]:
            ...     print(line)
            # State x at step t is 2*t + x, for t < 1; 2 is the end.
            discount: 0.5
            values: reward
            states: 3
        """
        path = _path(path)
        if path.suffix not in (".pomdp", ".pomdpx"):
            raise ValueError(f"{path.name} ends in {path.suffix!r}; the formats are .pomdp and .pomdpx.")
        text = _export.cassandra if path.suffix == ".pomdp" else _export.pomdpx
        path.write_text(text(_export.endless(self)), encoding="utf-8")


def _table(name: str, x) -> np.ndarray:
    """An array of real numbers, in float64."""
    require_concrete("Pomdp", **{name: x})
    return np.asarray(check_real(name, x)).astype(np.float64)


def _sizes(transition, observation, reward, start) -> tuple[int, int, int]:
    """A, X and O by the shapes of the tables."""
    if len(transition) != 3 or transition[1] != transition[2] or 0 in transition:
        raise ValueError(f"transition has shape {transition}; it must be [A, X, X'] with X' = X.")
    A, X = transition[:2]
    if len(observation) != 3 or observation[:2] != (A, X) or observation[2] == 0:
        raise ValueError(f"observation has shape {observation}; with A={A} and X={X} it must be [A, X, O].")
    if reward != (A, X):
        raise ValueError(f"reward has shape {reward}; with A={A} and X={X} it must be [A, X].")
    if start != (X,):
        raise ValueError(f"start has shape {start}; with X={X} it must be [X].")
    return A, X, observation[2]


def _is_discount(x) -> bool:
    return isinstance(x, numbers.Real) and not isinstance(x, bool) and 0 <= float(x) <= 1


def _first(x, X: int, O: int) -> np.ndarray:
    first = np.asarray(x)
    if first.shape != (X,) or first.dtype.kind not in "iu" or first.min() < 0 or first.max() >= O:
        raise ValueError(
            f"first_observation must hold the number of an observation, 0 to {O - 1}, for each of {X} states."
        )
    return first


def _names(key: str, given) -> tuple[str, ...]:
    if not isinstance(given, tuple | list):
        raise ValueError(f"{key} is {given!r}; give a tuple of names, empty for numbers.")
    return tuple(given)


def _check_names(key: str, names: tuple[str, ...], size: int) -> None:
    """Names that the file formats can hold, or none at all."""
    if names and (len(names) != size or len(set(names)) != size or not all(map(_format.is_name, names))):
        raise ValueError(
            f"{key} are {names[:5]}{'...' if len(names) > 5 else ''}; give {size} distinct names, each one word "
            "without a colon or #, that is no number and does not begin with a digit."
        )


def _path(path) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path is {path!r}; give the name of a file.")
    return Path(path)


def coordination_pomdp(game: Game, *, human: Fixed | None = None) -> Pomdp:
    """The single-agent POMDP that is equivalent to the game: exact, and exponentially wide.

    A coordinator who knows nothing of θ chooses a plan δ_H: Θ -> A_H for the human and an action for
    the robot (with the human first: an answer to each human action), and sees (a_H, s').  There are
    |A_H|^|Θ| · |A_R| actions.  With a fixed human only the robot's actions are left, and the state remembers the
    human's last action, since files tie observations to the state arrived in.

    Args:
        game: the game.
        human: a policy to fix, without a leading `T`; None: the coordinator chooses.

    Returns:
        `Pomdp`; state (s, θ) is number `s * Θ + θ`, with a fixed human (s, a_H, θ) is
        `(s * A_H + a_H) * Θ + θ`; observation (a_H, s') is `a_H * S + s'`.  Where the game may start in
        several states, `first_observation` is the state, as (0, s): the robot sees where it is before it first acts.
        Where the game has names they are joined with underscores: a state is "door_tea" (s_θ), an observation
        "point_door" (a_H_s'), an action what the human does for each θ and then what the robot does.

    Raises:
        ValueError: where the table would be too large, or the fixed human's policy does not fit.

    Example:
        >>> from cirl.games import chefworld
        >>> coordination_pomdp(chefworld.mini(2)).transition.shape[0]  # 4² plans times 4 robot actions
        64
    """
    if not isinstance(game, Game):
        raise ValueError(f"game is {type(game).__name__}; give a cirl.Game.")
    if human is not None and not isinstance(human, Fixed):
        raise ValueError(
            f"human is {human!r}; only a Fixed policy can be written down (Literal(...).fit(game) is one), and without "
            "human= the coordinator chooses what the human does."
        )
    require_concrete("coordination_pomdp", prior=game.prior, probability=game.probability)
    S, AH, AR, Theta = game.mdp.num_states, game.num_human_actions, game.num_robot_actions, game.num_thetas
    last = 1 if human is None else AH
    _check_count(game, S * last * Theta, AH * S, planned=human is None)
    dense = np.asarray(game.mdp.to_dense(), float).reshape(S, AH, AR, S)
    each = range(AR) if game.order is not Order.HUMAN_FIRST else None
    answers = [(b,) * AH for b in each] if each is not None else list(itertools.product(range(AR), repeat=AH))
    robots = np.array(answers)  # [B, A_H]: what the robot does after each human action
    play = _play_under_plans(game, human)[:, robots[:, 0]]  # [D, B, S, Θ, A_H]
    D, B = play.shape[:2]
    moved = dense[:, np.arange(AH), robots]  # [S, B, A_H, S']
    paid = np.asarray(game.reward, float)[:, np.arange(AH), robots]  # [S, B, A_H, Θ]
    R = np.broadcast_to(np.einsum("dbsta,sbat->dbst", play, paid)[:, :, :, None], (D, B, S, last, Theta))
    T = np.zeros((D, B, S, last, Theta, S, last, Theta))
    for theta in range(Theta):
        ahead = np.einsum("dbsa,sban->dbsna", play[:, :, :, theta], moved)
        kept = ahead if last > 1 else ahead.sum(axis=-1, keepdims=True)
        T[:, :, :, :, theta, :, :, theta] = kept[:, :, :, None]
    Z = np.zeros((D, B, S, last, Theta, AH, S))
    for s in range(S):  # what the human did is seen as it is, or, with a fixed human, as the state remembers it
        Z[:, :, s, :, :, :, s] = play[:, :, s, None] if human is None else np.eye(AH)[:, None]
    start = np.zeros((S, last, Theta))
    start[:, 0] = np.asarray(game.mdp.initial, float)[:, None] * np.asarray(game.prior, float)
    X, count = S * last * Theta, D * B
    return Pomdp(
        T.reshape(count, X, X),
        Z.reshape(count, X, AH * S),
        R.reshape(count, X),
        start.reshape(X),
        float(game.mdp.discount),
        game.mdp.horizon,
        np.repeat(np.arange(S), last * Theta) if np.count_nonzero(game.mdp.initial) > 1 else None,
        **_words_of(game, robots, planned=human is None),
    )


def _words_of(game: Game, robots: np.ndarray, *, planned: bool) -> dict[str, tuple[str, ...]]:
    """Names of the POMDP's states, actions and observations, joined of the game's; none where that has none.

    `robots` is what the robot does after each human action in each of its actions here, `[B, A_H]`.
    """
    if not any(game.names):
        return {}
    S, AH, AR, Theta = game.mdp.num_states, game.num_human_actions, game.num_robot_actions, game.num_thetas
    kinds = zip(("s", "h", "r", "t"), game.names, (S, AH, AR, Theta), strict=True)
    s, h, r, t = (_words(names or [f"{letter}{i}" for i in range(n)], letter) for letter, names, n in kinds)
    answers = [tuple(r[b] for b in (row if game.order is Order.HUMAN_FIRST else row[:1])) for row in robots.tolist()]
    plans = list(itertools.product(h, repeat=Theta)) if planned else [()]
    joined = lambda *parts: tuple("_".join(x) for x in itertools.product(*parts))  # noqa: E731
    return {
        "states": joined(s, t) if planned else joined(s, h, t),
        "actions": tuple("_".join((*plan, *answer)) for plan in plans for answer in answers),
        "observations": joined(h, s),
    }


def _words(names: Sequence[str], letter: str) -> list[str]:
    """Names as single words of letters, digits and hyphens, which every reader of the format takes."""
    words = [re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") for name in names]
    words = [word if word[:1].isalpha() else f"{letter}{word}" for word in words]
    return words if len(set(words)) == len(words) else [f"{word}-{i}" for i, word in enumerate(words)]


def _check_count(game: Game, X: int, O: int, *, planned: bool) -> None:
    """Refuse tables that are too large, before anything is built."""
    AH, AR = game.num_human_actions, game.num_robot_actions
    count = (AR**AH if game.order is Order.HUMAN_FIRST else AR) * (AH**game.num_thetas if planned else 1)
    if count * X * max(X, O) > LARGEST_TENSOR:
        told = f"{count:,}" if count < 10**9 else f"10^{math.log10(count):.0f}"
        raise ValueError(
            f"the coordination POMDP has {told} actions and {X:,} states, too many to write down; "
            "cirl.solve needs no such table."
        )


def _play_under_plans(game: Game, human: Fixed | None) -> np.ndarray:
    """The human's probabilities under each plan, `[D, A_R, S, Θ, A_H]`; a fixed human has but one plan."""
    S, AH, AR, Theta = game.mdp.num_states, game.num_human_actions, game.num_robot_actions, game.num_thetas
    if human is None:
        plans = np.eye(AH)[list(itertools.product(range(AH), repeat=Theta))]  # [D, Θ, A_H]
        return np.broadcast_to(plans[:, None, None], (len(plans), AR, S, Theta, AH))
    table = np.asarray(human.fit(game).table, float)
    if len(table) > 1:
        raise ValueError(
            "the human's policy changes with the step, and a POMDP file knows no time; put it in the state."
        )
    return np.swapaxes(table, 1, 2)


def read(path: str | Path, *, discount: float | None = None) -> Pomdp:
    """Read a file in Cassandra's `.pomdp` format (his `.MDP`, too).

    The whole format is read: states, actions and observations as names, numbers or both; `*`; single entries,
    rows and matrices; `uniform`, `identity` and `reset`; what is said last of a number holds.  Rewards by end state
    and observation become their expectation Σ T(x' | x, a) O(o | a, x') R(a, x, x', o), and costs negative rewards.
    Without a line `start` every state is as likely; a list of names after `start:` is read like `start include:`.
    Without `observations` (an MDP) there is one, which tells nothing.

    Args:
        path: the file, in UTF-8.
        discount: the discount of a file that gives none.

    Raises:
        ValueError: naming the line, from 1, of what cannot be read: unknown words, indices out of range, too few or
            too many numbers, negative probabilities, a start or rows that miss one by more than 1e-5 (those that
            miss it by less are divided by their sum), a discount outside [0, 1].

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "door.pomdp"
        >>> lines = ["discount: 0.9", "values: reward", "states: shut open", "actions: push", "observations: 1"]
        >>> lines += ["T: push : shut", "0.2 0.8", "T: push : open : 1 1.0", "O: * uniform", "R: * : shut : open : * 5"]
        >>> with path.open("w") as file:
        ...     print(*lines, sep=chr(10), file=file)
        >>> read(path).reward.tolist()  # 0.8 times 5
        [[4.0, 0.0]]
    """
    path = _path(path)
    if discount is not None and not _is_discount(discount):
        raise ValueError(f"discount is {discount!r}; give one number in [0, 1], or leave it to the file.")
    tables = _format.parse(_format.decode(path.read_bytes(), path.name), path.name, discount)
    return Pomdp(**tables._asdict())
