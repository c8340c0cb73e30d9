"""What both knowing θ would be worth: values that need no search, and that no pair exceeds."""

import numpy as np
from jaxtyping import Array, Float

from cirl.game import Game
from cirl.host_game import HostGame
from cirl.stationary import enclosed, settle
from mdps.tables import held

__all__ = ["above_all", "best_choice", "informed_values", "informed_values_on_host", "raised"]
__dir__ = __all__.copy


def informed_values(game: Game) -> Float[Array, " T S AH AR Theta"]:
    """Q* of a team in which both know θ, `[T, S, A_H, A_R, Θ]`; in an endless game T = 1."""
    return held(informed_values_on_host(HostGame(game))[0], game.prior.dtype)


def informed_values_on_host(g: HostGame) -> tuple[np.ndarray, np.ndarray]:
    """Q* of a team in which both know θ, and how far each may be off: both `[T or 1, S, A_H, A_R, Θ]`."""
    every = np.arange(g.num_states)
    value = error = np.zeros((g.num_states, g.num_thetas))
    if g.horizon is None:
        low, high = _best_without_end(g)
        value, error = (low + high) / 2, (high - low) / 2 + g.eps * np.abs(high)
        return tuple(x[None] for x in g.values(value, error, every))  # type: ignore[return-value]
    found = []
    for _ in range(g.horizon):
        q, off = g.values(value, error, every)
        found.insert(0, (q, off))
        value = q.max(axis=(1, 2))
        error = np.maximum((q + off).max(axis=(1, 2)) - value, value - (q - off).max(axis=(1, 2)))
    return np.stack([q for q, _ in found]), np.stack([off for _, off in found])


def above_all(g: HostGame) -> np.ndarray:
    """Φ ≥ R + γ E[Φ], so no less than any pair can get from anywhere, `[T + 1 or 1, S, Θ]`."""
    every, none = np.arange(g.num_states), np.zeros((g.num_states, g.num_thetas))
    if g.horizon is None:
        return _best_without_end(g)[1][None]
    tables = [none]
    for _ in range(g.horizon):
        q, off = g.values(tables[0], none, every)
        tables.insert(0, (q + off).max(axis=(1, 2)))
    return np.stack(tables)


def _best_without_end(g: HostGame) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of what a team that knows θ gets without end, each `[S, Θ]`; the upper one is a Φ of `above_all`."""
    every, none = np.arange(g.num_states), np.zeros((g.num_states, g.num_thetas))
    ahead, chance = g.joint_moves()
    value, _ = settle(g.reward.reshape(*chance.shape[:2], -1), ahead, chance, g.gamma, best_choice, none)
    q, off = g.values(value, none, every)
    low, _ = enclosed(value, (q - off).max(axis=(1, 2)), value, g.reaches)
    return low, raised(value, (q + off).max(axis=(1, 2)), g)


def raised(value: np.ndarray, swept: np.ndarray, g: HostGame) -> np.ndarray:
    """A value raised until one sweep lowers it everywhere: a constant c more is γ c more after the sweep, `[S, Θ]`."""
    short = np.maximum((swept - value).max(axis=0) + g.eps * np.abs(value).max(axis=0), 0)
    return value + np.where(short > 0, (1 + g.eps) * short * (1 + g.reaches[1]), 0)


def best_choice(q: np.ndarray) -> np.ndarray:
    """One on the first of the best choices, `[X, J, K]`."""
    return np.equal(np.arange(q.shape[1])[:, None], q.argmax(axis=1)[:, None]).astype(float)
