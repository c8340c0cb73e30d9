"""How people reply, on the host: π_H for given values, what that is worth, and how far it may be off."""

import jax
import jax.numpy as jnp
import numpy as np

from cirl.host_game import EPS
from cirl.human import Boltzmann, EpsilonGreedy, Fixed, Human, Rational

__all__ = ["on_host", "respond", "worth"]
__dir__ = __all__.copy


def on_host(human: Human) -> Human:
    """A human of this package's models with its numbers in NumPy, so that it plays without compiling anything."""
    known = isinstance(human, Rational | EpsilonGreedy | Boltzmann | Fixed)
    return jax.tree.map(np.asarray, human) if known else human


def respond(human: Human, q: np.ndarray, state: np.ndarray, robot: np.ndarray, step: np.ndarray) -> np.ndarray:
    """π_H on the host, `[n, Θ, A_H]`, for values `q [n, Θ, A_H]`."""
    if isinstance(human, Rational | EpsilonGreedy | Boltzmann | Fixed):
        return np.asarray(human.policy(q, state, robot, step), float)
    with jax.ensure_compile_time_eval():
        at = (jnp.asarray(x, jnp.int32) for x in (state, robot, step))
        return np.asarray(human.policy(jnp.asarray(q), *at), float)


def worth(
    human: Human, q: np.ndarray, error: np.ndarray, state: np.ndarray, robot: np.ndarray, step: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What values are worth to a human who plays by them: Σ_a π_H(a | q) q(a).

    Args:
        human: the human, of `on_host`.
        q: `[n, Θ, A_H]`.
        error: how far each may be off, `[n, Θ, A_H]`.
        state: `[n]`.
        robot: `[n]`.
        step: `[n]`.

    Returns:
        The play `[n, Θ, A_H]`, its worth `[n, Θ]`, and how far the worth may be off, `[n, Θ]`.
    """
    at = state, robot, step
    play = respond(human, q, *at)
    value = np.sum(play * q, axis=-1)
    rounded = 4 * q.shape[-1] * EPS * np.sum(play * np.abs(q), axis=-1)
    if isinstance(human, Fixed):
        return play, value, np.sum(play * error, axis=-1) + rounded
    if human.monotone:
        # Worth rises with every value, so that the ends of the intervals enclose it.
        low, high = q - error, q + error
        above = np.sum(respond(human, high, *at) * high, axis=-1) - value
        below = value - np.sum(respond(human, low, *at) * low, axis=-1)
        return play, value, np.maximum(np.maximum(above, below), 0) + rounded
    widest = error.max(axis=-1)
    if isinstance(human, Boltzmann):
        # dV/dQ(a) = π(a) (1 + β (Q(a) - V)), and what it may become within the error.
        beta = float(np.asarray(human.beta))
        sharp = beta * widest
        slope = np.sum(play * np.abs(1 + beta * (q - value[..., None])), axis=-1)
        within = np.exp(2 * np.minimum(sharp, 1)) * (slope + 3 * sharp)
        steep = np.where(sharp < 0.1, within, np.inf)
    else:
        steep = np.full(value.shape, 1 + 2 * np.log(q.shape[-1]))  # the steepest that a softmax gets
    bound = np.where(widest > 0, steep * widest, 0)
    return play, value, np.minimum(bound, np.ptp(q, axis=-1) + widest) + rounded
