"""Models of the human: how a person who knows θ acts, given what each action is worth to them."""

from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mdps.checks import check_rows, is_concrete


class Human(Protocol):
    """What every model of a human offers."""

    @property
    def monotone(self) -> bool:
        """Whether better continuations never make the human's play worth less: dominated plans can then be dropped."""
        ...

    def policy(self, q: Array, state: Array, robot: Array, step: Array) -> Array:
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


@jax.tree_util.register_pytree_with_keys_class
class _Parametric:
    """A model with at most one number."""

    _NAME: str | None = None

    @property
    def monotone(self) -> bool:
        """Whether better continuations never make the human's play worth less."""
        return True

    def __init_subclass__(cls, **settings):
        super().__init_subclass__(**settings)
        jax.tree_util.register_pytree_with_keys_class(cls)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({getattr(self, self._NAME) if self._NAME else ''})"

    def tree_flatten_with_keys(self):
        """JAX: the number, if any."""
        return [(jax.tree_util.GetAttrKey(self._NAME), getattr(self, self._NAME))] if self._NAME else [], None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        """JAX: from leaves, unchecked."""
        new = object.__new__(cls)
        if cls._NAME:
            setattr(new, cls._NAME, leaves[0])
        return new


class Rational(_Parametric):
    """Takes an action of greatest value.

    A tie costs the team nothing whichever way it goes, because Q already counts what the robot will
    do; among ties the first is taken.
    """

    def policy(self, q: Array, state: Array, robot: Array, step: Array) -> Array:
        """One on the best action, `[N, Θ, A_H]`."""
        return jax.nn.one_hot(jnp.argmax(q, axis=-1), q.shape[-1], dtype=q.dtype)


class Boltzmann(_Parametric):
    """Takes actions with probability ∝ exp(β Q).

    Not monotone: a better continuation can make the mixture worth less (references C, trap 2).

    Args:
        beta: inverse temperature, in 1/return.
    """

    _NAME = "beta"

    @property
    def monotone(self) -> bool:
        """False (references C, trap 2)."""
        return False

    def __init__(self, beta: float | Float[Array, ""]):
        if is_concrete(beta) and not 0 <= float(beta) < float("inf"):
            raise ValueError(f"beta is {beta}; it must be finite and not negative (Rational() is its limit).")
        self.beta = beta

    def policy(self, q: Array, state: Array, robot: Array, step: Array) -> Array:
        """Softmax of βQ, `[N, Θ, A_H]`."""
        return jax.nn.softmax(self.beta * q, axis=-1)


class EpsilonGreedy(_Parametric):
    """Takes a best action, but with probability ε a uniform draw over all actions.

    Args:
        epsilon: probability of the draw.
    """

    _NAME = "epsilon"

    def __init__(self, epsilon: float | Float[Array, ""]):
        if is_concrete(epsilon) and not 0 <= float(epsilon) <= 1:
            raise ValueError(f"epsilon is {epsilon}; it is a probability and must lie in [0, 1].")
        self.epsilon = epsilon

    def policy(self, q: Array, state: Array, robot: Array, step: Array) -> Array:
        """(1 - ε) on the best action plus ε / A_H on each, `[N, Θ, A_H]`."""
        return (1 - self.epsilon) * Rational().policy(q, state, robot, step) + self.epsilon / q.shape[-1]


class Fixed(_Parametric):
    """Follows a given policy, whatever the robot does.

    Args:
        table: probability of each action, `[S, Θ, A_H]`; with the robot first, `[S, A_R, Θ, A_H]`; either
            may have a leading `T`.  Where four axes can be read both ways, spell out all five.
    """

    _NAME = "table"

    def __init__(self, table: Float[Array, " ..."] | np.ndarray):
        table = jnp.asarray(table)
        if not 3 <= table.ndim <= 5:
            raise ValueError(
                f"table has shape {table.shape}; a human policy is [S, Θ, A_H], with robot first [S, A_R, Θ, A_H], "
                "and may have a leading T."
            )
        check_rows("table", table, axes=("axis 0,", "axis 1,", "axis 2,", "axis 3,")[: table.ndim - 1])
        self.table = table

    def policy(self, q: Array, state: Array, robot: Array, step: Array) -> Array:
        """The table's rows, `[N, Θ, A_H]`; the table is that of `fit`, or lacks its leading axes."""
        table = self.table
        if table.ndim == 3:
            return table[state].astype(q.dtype)
        if table.ndim == 4:
            return table[state, robot].astype(q.dtype)
        return table[jnp.minimum(step, table.shape[0] - 1), state, robot].astype(q.dtype)

    def fit(self, game) -> "Fixed":
        """The policy with every axis spelt out for this game, `[T, S, A_R, Θ, A_H]`; T is 1 where it does not matter.

        Raises:
            ValueError: for a table of another shape, one that can be read in two ways, or one that
                depends on a robot action which the human cannot see.
        """
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
        table = self.table[next(iter(fits.values()))]
        table = jnp.broadcast_to(table, (table.shape[0], S, AR, Theta, AH))
        if game.order.name == "HUMAN_FIRST" and not bool(jnp.all(table == table[:, :, :1])):
            raise ValueError(
                "the human's policy depends on the robot's action, but the human moves first in this game and cannot "
                "see it; give [S, Θ, A_H], or a game with another order."
            )
        return Fixed(table)
