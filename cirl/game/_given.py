"""The tables of a game as they were given: checked on the host, in NumPy; and what things are called."""

import enum
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from mdps.checks import (
    as_distributions,
    check_finite,
    check_horizon_and_discount,
    check_names,
    check_real,
    shown,
)


class Order(enum.Enum):
    """Who sees whose action within a step.

    SIMULTANEOUS: both act at once.  HUMAN_FIRST: the robot sees the human's action before its own.
    ROBOT_FIRST: the human sees the robot's action and replies in the same step.
    """

    SIMULTANEOUS = "simultaneous"
    HUMAN_FIRST = "human first"
    ROBOT_FIRST = "robot first"


class Names(NamedTuple):
    """What things in a game are called, or nothing: then they are numbered.

    Attributes:
        states: a name for each state.
        human_actions: for each of the human's actions.
        robot_actions: for each of the robot's.
        thetas: for each reward that may be meant.
    """

    states: tuple[str, ...] = ()
    human_actions: tuple[str, ...] = ()
    robot_actions: tuple[str, ...] = ()
    thetas: tuple[str, ...] = ()

    def called(self, kind: str, i: int) -> str:
        """The name of number `i` of a kind, such as "states"; the number where there are no names."""
        names = getattr(self, kind)
        return names[i] if names else str(i)

    @staticmethod
    def of(given: tuple, shape: tuple[int, int, int, int]) -> "Names":
        """As many names as there are things, `[S, A_H, A_R, Θ]`, or none of a kind; of each kind a sequence."""
        each = "state", "human action", "robot action", "θ"
        kinds = zip(given, shape, Names._fields, each, strict=True)
        return Names(*(_names_of(*told) for told in kinds))

    def at(self, index: tuple[int, ...]) -> str:
        """What an index `(s, a_H, a_R, θ)` is called, in brackets; nothing where nothing has names."""
        told = [f"{name!r}" for names, i in zip(self, index) for name in names[i : i + 1]]
        return f" ({', '.join(told)})" if told else ""


class CastError(NamedTuple):
    """How far the numbers of a table may be from the ones that were given, relative to themselves: 0 if all are held.

    Attributes:
        rows: of the transition probabilities.
        reward: of the rewards.
        prior: of the prior.
        initial: of the initial distribution.
    """

    rows: float = 0.0
    reward: float = 0.0
    prior: float = 0.0
    initial: float = 0.0


@dataclass(frozen=True)
class Given:
    """The tables of a game as they were given, checked, in NumPy."""

    rows: np.ndarray
    reward: np.ndarray
    prior: np.ndarray
    initial: np.ndarray
    discount: float
    order: Order
    names: Names

    @staticmethod
    def checked(beside: str, rows: np.ndarray, others, discount, horizon, order, names: tuple) -> "Given":
        """What every game must satisfy: of the transitions, `[S, A_H, A_R, ...]`, called `beside`, and the `others`.

        These are the reward, the prior and the initial distribution.
        """
        reward, prior, initial = (numbers(*x) for x in zip(("reward", "prior", "initial"), others, strict=True))
        shape = rows.shape[:3]
        called = Names.of(names, (*shape, reward.shape[-1] if reward.ndim else 0))
        rows = as_distributions(beside, rows, axes=("state", "human action", "robot action"), called=called[:3])
        if not isinstance(order, Order):
            raise ValueError(f"order is {shown(order)}; give one of cirl.Order: {', '.join(o.name for o in Order)}.")
        if reward.ndim != 4 or reward.shape[:3] != shape or reward.shape[3] == 0:
            told = ", ".join(f"{name}={size}" for name, size in zip(("S", "A_H", "A_R"), shape, strict=True))
            raise ValueError(f"reward has shape {reward.shape}; it must be [S, A_H, A_R, Θ] with {told}, as {beside}.")
        if (reward == -np.inf).any():
            where = tuple(int(i) for i in np.argwhere(reward == -np.inf)[0])
            raise ValueError(
                f"reward is -inf at index {where}{called.at(where)}: games do not support actions that do not exist in "
                "a state yet. Let such an action do what another one does, or cost more than everything else together."
            )
        check_finite("reward", reward)
        if prior.shape != (reward.shape[3],):
            raise ValueError(
                f"prior has shape {prior.shape}; reward has Θ={reward.shape[3]}, so give [{reward.shape[3]}]."
            )
        prior = as_distributions("prior", prior, axes=())
        if initial.shape != shape[:1]:
            raise ValueError(f"initial has shape {initial.shape}; it must be [S] with S={shape[0]}.")
        initial = as_distributions("initial", initial, axes=())
        check_horizon_and_discount(horizon, discount)
        given = Given(rows, reward, prior, initial, float(discount), order, called)
        given._check_held(horizon)
        return given

    @property
    def dtype(self):
        """The dtype in which JAX will hold the tables."""
        return jnp.result_type(float, *(x for x in (self.rows, self.reward, self.initial) if x.dtype.kind == "f"))

    def _check_held(self, horizon: int | None) -> None:
        """Raise where the dtype of the tables does not hold what was given."""
        dtype, info = self.dtype, jnp.finfo(self.dtype)
        cure = f"{dtype} does not hold it: rescale, or switch on float64 (jax_enable_x64)."
        low = float(self.prior.min())
        if low < float(info.tiny):
            theta = int(self.prior.argmin())
            told = "zero" if low <= 0 else f"{low:.3g}; {cure} Or it is zero"
            raise ValueError(
                f"prior of θ {self.names.called('thetas', theta)} is {told}; leave a reward that cannot be meant out."
            )
        gamma, most = self.discount, float(info.max)
        if horizon is None and float(np.asarray(gamma, dtype)) >= 1:
            raise ValueError(f"discount is {gamma!r}, which is 1 in {dtype}; {cure}")
        visits = given_visits(gamma, horizon)
        size = np.abs(self.reward.astype(float))
        if float(size.max()) * max(visits, 1) > most / 16:
            where = tuple(int(i) for i in np.unravel_index(int(size.argmax()), size.shape))
            raise ValueError(
                f"reward is {self.reward[where]:.3g} at index {where}{self.names.at(where)}, and returns add up to "
                f"{visits:.3g} times as much; {cure}"
            )

    def off(self, dtype) -> CastError:
        """What a cast to some dtype does to the tables."""
        tiny = float(jnp.finfo(dtype).tiny)

        def off(x: np.ndarray) -> float:
            x = x.astype(float)
            kept = np.abs(x) >= tiny
            return float(np.abs(x.astype(dtype).astype(float)[kept] / x[kept] - 1).max(initial=0))

        return CastError(off(self.rows), off(self.reward), off(self.prior), off(self.initial))


def _names_of(given, number: int, kind: str, each: str) -> tuple[str, ...]:
    """Names of a kind; an empty sequence: there are none."""
    return () if isinstance(given, tuple | list) and not given else check_names(given, number, kind, each)


def numbers(name: str, x) -> np.ndarray:
    """A concrete array of real numbers."""
    return np.asarray(check_real(name, x))


def given_visits(discount: float, horizon: int | None) -> float:
    """(Discounted) steps in all, on the host."""
    return 1 / (1 - discount) if horizon is None else float(np.sum(float(discount) ** np.arange(horizon)))
