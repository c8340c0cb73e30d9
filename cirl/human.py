"""Models of the human: how a person who knows θ acts, given what each action is worth to them."""

import warnings
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Array, Float

from cirl.full_information import informed_values_on_host
from cirl.game import Game, Order
from cirl.host_game import EPS, HostGame
from mdps.checks import as_distributions, check_finite, check_number, check_real, is_concrete, require_concrete, shown
from mdps.pytrees import frozen_pytree, set_fields, with_fields

__all__ = [
    "Boltzmann",
    "EpsilonGreedy",
    "Fixed",
    "Human",
    "Literal",
    "Numbers",
    "Pedagogic",
    "Rational",
    "check_game",
    "check_sharpness",
    "fitted",
]
__dir__ = __all__.copy

Numbers = Array | np.ndarray


class Human(Protocol):
    """What every model of a human offers."""

    @property
    def monotone(self) -> bool:
        """Whether better continuations never make the human's play worth less: dominated plans can then be dropped."""
        ...

    def policy(self, q: Numbers, state: Numbers, robot: Numbers, step: Numbers) -> Numbers:
        """Probability of each human action.

        Args:
            q: value of each action to a human who means θ, `[N, Θ, A_H]`.
            state: where, `[N]`.
            robot: the robot's action, `[N]`.
            step: when, `[N]`.

        Returns:
            `[N, Θ, A_H]`.
        """
        ...


class _Model:
    """What the models below share: at most one number, and better continuations are worth more."""

    @property
    def monotone(self) -> bool:
        """Whether better continuations never make the human's play worth less."""
        return True

    def __repr__(self) -> str:
        values = [getattr(self, name) for name in getattr(self, "__dataclass_fields__", ())]
        return f"{type(self).__name__}({', '.join(str(x) for x in values if x is not None)})"


@frozen_pytree
@dataclass(frozen=True, repr=False, eq=False)
class Rational(_Model):
    """Takes an action of greatest value.

    A tie costs the team nothing whichever way it goes, because Q already counts what the robot will
    do; among ties the first is taken.
    """

    def policy(self, q: Numbers, state: Numbers, robot: Numbers, step: Numbers) -> Numbers:
        """One on the best action, `[N, Θ, A_H]`."""
        xp = q.__array_namespace__()  # the solvers ask on the host too
        actions = xp.arange(q.shape[-1]).reshape((1,) * (q.ndim - 1) + (-1,))
        return (xp.argmax(q, axis=-1)[..., None] == actions).astype(q.dtype)


@frozen_pytree
@dataclass(frozen=True, init=False, repr=False, eq=False)
class Boltzmann(_Model):
    """Takes actions with probability ∝ exp(β Q).

    Not monotone: a better continuation can make the mixture worth less (references C, trap 2).

    Args:
        beta: inverse temperature, in 1/return.
    """

    beta: float | Float[Array, ""]

    @property
    def monotone(self) -> bool:
        """False (references C, trap 2)."""
        return False

    def __init__(self, beta: float | Float[Array, ""]):
        cure = "it must be finite and not negative (Rational() is its limit)."
        check_number("beta", beta, lambda beta: 0 <= beta < np.inf, cure)
        set_fields(self, beta=beta)

    def policy(self, q: Numbers, state: Numbers, robot: Numbers, step: Numbers) -> Numbers:
        """Softmax of βQ, `[N, Θ, A_H]`."""
        xp = q.__array_namespace__()
        weight = xp.exp(self.beta * (q - xp.max(q, axis=-1, keepdims=True)))
        return weight / xp.sum(weight, axis=-1, keepdims=True)


@frozen_pytree
@dataclass(frozen=True, init=False, repr=False, eq=False)
class EpsilonGreedy(_Model):
    """Takes a best action, but with probability ε a uniform draw over all actions.

    Args:
        epsilon: probability of the draw.
    """

    epsilon: float | Float[Array, ""]

    def __init__(self, epsilon: float | Float[Array, ""]):
        check_number("epsilon", epsilon, lambda p: 0 <= p <= 1, "it is a probability and must lie in [0, 1].")
        set_fields(self, epsilon=epsilon)

    def policy(self, q: Numbers, state: Numbers, robot: Numbers, step: Numbers) -> Numbers:
        """(1 - ε) on the best action plus ε / A_H on each, `[N, Θ, A_H]`."""
        return (1 - self.epsilon) * Rational().policy(q, state, robot, step) + self.epsilon / q.shape[-1]


@frozen_pytree
@dataclass(frozen=True, init=False, repr=False, eq=False)
class Fixed(_Model):
    """Follows a given policy, whatever the robot does.

    Args:
        table: probability of each action, `[S, Θ, A_H]`; with the robot first, `[S, A_R, Θ, A_H]`; either
            may have a leading `T`.  Where four axes can be read both ways, spell out all five.
    """

    table: Numbers

    def __init__(self, table: Float[Array, " ..."] | np.ndarray):
        table = check_real("table", table)
        if not 3 <= table.ndim <= 5 or 0 in table.shape:
            raise ValueError(
                f"table has shape {table.shape}; a human policy is [S, Θ, A_H], with robot first [S, A_R, Θ, A_H], "
                "and may have a leading T."
            )
        if is_concrete(table):
            axes = ("axis 0,", "axis 1,", "axis 2,", "axis 3,")[: table.ndim - 1]
            table = as_distributions("table", table, axes=axes)
        set_fields(self, table=table)

    def policy(self, q: Numbers, state: Numbers, robot: Numbers, step: Numbers) -> Numbers:
        """The table's rows, `[N, Θ, A_H]`; the table is that of `fit`, or lacks its leading axes."""
        xp = q.__array_namespace__()
        table = xp.asarray(self.table)
        if table.ndim == 3:
            return table[state].astype(q.dtype)
        if table.ndim == 4:
            return table[state, robot].astype(q.dtype)
        return table[xp.minimum(step, table.shape[0] - 1), state, robot].astype(q.dtype)

    def fit(self, game: Game) -> "Fixed":
        """The policy with every axis spelt out for this game, `[T, S, A_R, Θ, A_H]`; T is 1 where it does not matter.

        Raises:
            ValueError: for a table of another shape, one that can be read in two ways, or one that
                depends on a robot action which the human cannot see.
        """
        check_game(game)
        S, AR, AH, Theta = game.mdp.num_states, game.num_robot_actions, game.num_human_actions, game.num_thetas
        T = game.mdp.horizon
        readings = {
            "[S, Θ, A_H]": ((S, Theta, AH), (None, slice(None), None)),
            "[S, A_R, Θ, A_H]": ((S, AR, Theta, AH), (None,)),
            "[T, S, Θ, A_H]": ((T, S, Theta, AH), (slice(None), slice(None), None)),
            "[T, S, A_R, Θ, A_H]": ((T, S, AR, Theta, AH), ()),
            "[1, S, A_R, Θ, A_H]": ((1, S, AR, Theta, AH), ()),
        }
        fits = {name: index for name, (shape, index) in readings.items() if shape == self.table.shape}
        if not fits:
            raise ValueError(
                f"the human's policy has shape {self.table.shape}; for this game it must be [S, Θ, A_H] = "
                f"{(S, Theta, AH)} or [S, A_R, Θ, A_H] = {(S, AR, Theta, AH)}, either with a leading T = {T}."
            )
        if len(fits) > 1 and self.table.ndim == 4:
            raise ValueError(
                f"the human's policy has shape {self.table.shape}, which is {' as well as '.join(fits)} in this game; "
                "spell all axes out: [T, S, A_R, Θ, A_H], with T = 1 for a policy that does not change."
            )
        xp = self.table.__array_namespace__()
        table = self.table[next(iter(fits.values()))]
        table = xp.broadcast_to(table, (table.shape[0], S, AR, Theta, AH))
        blind = game.order is Order.HUMAN_FIRST and is_concrete(table)
        if blind and not np.array_equal(table, np.broadcast_to(table[:, :, :1], table.shape)):
            raise ValueError(
                "the human's policy depends on the robot's action, but the human moves first in this game and cannot "
                "see it; give [S, Θ, A_H], or a game with another order."
            )
        return with_fields(self, table=table)


@frozen_pytree
@dataclass(frozen=True, init=False, repr=False, eq=False)
class Literal(_Model):
    """An expert who shows nothing on purpose: acts as if the robot knew θ as well, so that nothing need be shown.

        π_H(a_H | s, θ) ∝ exp(β Q*(s, a_H; θ)),    Q* = R + γ E[V*],    V* = max over both actions of Q*

    The level-0 human of Fisac et al. 2017 and, without β, the expert of Hadfield-Menell et al. 2016.
    The robot may still learn from what such a human does.  `cirl.solve` makes a `Fixed` policy of it.

    Args:
        beta: inverse temperature, in 1/return; None: one of the best actions, each as likely.
    """

    beta: float | Float[Array, ""] | None

    def __init__(self, beta: float | Float[Array, ""] | None = None):
        set_fields(self, beta=beta if beta is None else Boltzmann(beta).beta)

    def policy(self, q: Numbers, state: Numbers, robot: Numbers, step: Numbers) -> Numbers:
        """Not from `q`, which knows that the robot has to learn.

        Raises:
            TypeError: always.
        """
        raise TypeError("Literal plays by the values of full information; use the policy `Literal(...).fit(game)`.")

    def fit(self, game: Game) -> Fixed:
        """The policy in this game, with every axis spelt out, `[T, S, A_R, Θ, A_H]` (endless: T = 1).

        Example:
            >>> from cirl.games import paperclips
            >>> table = Literal().fit(paperclips.game(cells=4)).table
            >>> table[0, 0, 0].tolist()  # never one of each, which pays only if the robot has to learn
            [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
        """
        check_game(game)
        q, off = informed_values_on_host(HostGame(game, as_held=False))  # [T, S, A_H, A_R, Θ]
        if game.order is not Order.ROBOT_FIRST:
            # The robot answers, or acts at the same time, as is best for θ.
            best = q.max(axis=3, keepdims=True)
            off = np.maximum((q + off).max(axis=3, keepdims=True) - best, best - (q - off).max(axis=3, keepdims=True))
            q, off = (np.broadcast_to(x, q.shape) for x in (best, off))
        q, off = (np.transpose(x, (0, 1, 3, 4, 2)) for x in (q, off))
        top = q.argmax(axis=-1)[..., None]
        # What lies within the error of both numbers is a tie.
        slack = off + np.take_along_axis(off, top, axis=-1)
        behind = np.take_along_axis(q, top, axis=-1) - q
        behind = np.where(behind <= slack, 0, behind)
        if self.beta is None:
            weight = (behind == 0).astype(float)
        else:
            beta = float(np.asarray(self.beta))
            check_sharpness(beta, float(np.abs(q).max()), float(slack[beta * behind < 30].max()))
            weight = np.exp(-beta * behind)
        return Fixed(weight / weight.sum(axis=-1, keepdims=True))


@frozen_pytree
class Pedagogic(Boltzmann):
    """Knows that a robot is learning from every action, and plays by what each is worth when it does.

        π_H(a_H | s, b, θ) ∝ exp(β Q_H(s, b, a_H; θ)),    Q_H anticipates b' ∝ b(θ) π_H(a_H | s, b, θ)

    and the robot, which learns by the same π_H, does what is best at each belief: a fixed point (Fisac et
    al. 2017).  `cirl.solve` looks for one from `Literal(beta)` play, by repeated best replies, and
    reports its residual.  There may be others, and one may be worth less than literal play.  Against any other
    robot, whose policy it knows, it plays as `Boltzmann(beta)` does.

    Args:
        beta: inverse temperature, in 1/return.
    """


def fitted(human: Human, game: Game) -> Human:
    """The human in this game: one whose policy has axes gets them spelt out.

    Raises:
        ValueError: for what is no model of a human, or one whose axes do not fit.
    """
    if isinstance(human, type) or not (callable(getattr(human, "policy", None)) and hasattr(human, "monotone")):
        cure = f"call it: {human.__name__}(...)" if isinstance(human, type) else "such as cirl.human.Boltzmann(5.0)"
        raise ValueError(f"human is {shown(human)}; give a model of the human, {cure}.")
    if isinstance(human, _Model):
        for name, value in vars(human).items():
            if value is not None:
                check_finite(f"{name} of {type(human).__name__}", value)
    return human.fit(game) if isinstance(human, Fixed | Literal) else human


def check_game(game: Game) -> None:
    """Raise unless `game` is one game with values that can be looked at.

    Raises:
        ValueError: for anything else, or numbers that are not finite.
        TypeError: under tracing.
    """
    if not isinstance(game, Game):
        raise ValueError(f"game is {shown(game)}; give a cirl.Game, from Game.from_dense or Game.from_table.")
    require_concrete("a game's solver", prior=game.prior, **{"game.mdp": game.mdp.features})
    for name in ("features", "probability", "initial", "discount"):
        check_finite(f"game.mdp.{name}", getattr(game.mdp, name))
    check_finite("game.prior", game.prior)
    if game.mdp.available is not None:
        raise ValueError(
            "game.mdp has actions that do not exist in some states, which games do not support yet; let such an action "
            "do what another one does, or cost more than everything else together."
        )
    if game.prior.ndim != 1:
        raise ValueError(f"game.prior has shape {game.prior.shape}; games are solved one at a time.")


def check_sharpness(beta: float, size: float, error: float) -> None:
    """Refuse a β at which the rounding of float64 would decide how people play; warn where the game's dtype may.

    Args:
        beta: inverse temperature.
        size: the largest value met.
        error: how far two values that are compared may be off together.

    Raises:
        ValueError: where β times what float64 rounds off such a value is more than .01.
    """
    if beta * size * 4 * EPS > 0.01:
        raise ValueError(
            f"beta is {beta:g} and values reach {size:.3g}: people this sharp would tell apart values that differ by "
            "less than float64 holds. Rational() is the limit; else give a smaller beta."
        )
    if beta * error > 0.01:
        warnings.warn(
            f"people with beta {beta:g} tell apart values that differ by less than the game's tables hold "
            f"({error:.1e}); for them build the game in float64, with jax.config.update('jax_enable_x64', True).",
            RuntimeWarning,
            stacklevel=2,
        )
