"""Endless games on the host: values that repeat themselves, by policy iteration.

Howard's policy iteration converges in a few rounds however near the discount is to one, where sweeps would need
1/(1 - γ) of them.  What is returned need not be trusted: `enclosed` bounds the fixed point from one sweep.
"""

from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["enclosed", "expected", "settle"]
__dir__ = __all__.copy

DENSE = 500  # states up to which a round solves a linear system; beyond, rounds are sweeps
SWEEPS = 3000
ENTRIES_SOLVED = 4_000_000  # of the systems solved at once


def settle(
    reward: np.ndarray,
    ahead: np.ndarray,
    chance: np.ndarray,
    gamma: float,
    choose: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    *,
    most: int = SWEEPS,
) -> tuple[np.ndarray, int]:
    """A value with V = Σ_j w_j(Q) Q_j, Q = R + γ E[V], up to rounding or the budget.

    Args:
        reward: what each of J joint choices pays, `[X, J, K]`; K problems that share their moves.
        ahead: where they lead, `[X, J, D]`.
        chance: with which probability, `[X, J, D]`.
        gamma: discount factor per step.
        choose: the weights w of the choices given Q, `[X, J, K]` to `[X, J, K]`.
        start: V to begin with, `[X, K]`.
        most: most rounds.

    Returns:
        V `[X, K]`, and the rounds taken.
    """
    X, J, _ = ahead.shape
    value, dense = start, X <= DENSE and X * X * J <= 5 * ENTRIES_SOLVED
    moves = _matrix(ahead, chance) if dense else None
    least, worse = np.inf, 0
    for count in range(most):
        q = reward + gamma * expected(value, ahead, chance)
        weights = choose(q)
        paid = _weighted(weights, q)
        change = np.abs(paid - value)
        size = max(np.abs(paid).max(), np.abs(value).max())
        # Rounding alone moves it, in sweeps also when the rest of the sum would be as small.
        near = change.max() * (1 if dense else gamma / (1 - gamma)) <= 64 * np.finfo(float).eps * size
        worse = worse + 1 if change.max() > 0.5 * least else 0
        if near or (dense and worse > 4):
            return paid, count + 1
        least = min(least, change.max())
        if moves is None:
            value = paid
        else:
            value = _solved(_weighted(weights, reward), weights, moves, gamma)
    return value, most


def expected(value: np.ndarray, ahead: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """E[V] after every choice, `[X, K] -> [X, J, K]`."""
    total = np.zeros((*ahead.shape[:2], value.shape[-1]))
    for d in range(ahead.shape[2]):
        if chance[..., d].any():
            total += chance[..., d, None] * value[ahead[..., d]]
    return total


def enclosed(
    before: np.ndarray, below: np.ndarray, above: np.ndarray, reaches: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of the fixed point from one sweep (MacQueen 1966; Porteus 1971).

    Where an operator T rises with V and T(V + c) = T V + γ c, and `below <= T V <= above`, the fixed point lies within

        T V + γ / (1 - γ) · [min_x (T V - V), max_x (T V - V)]

    Args:
        before: V, `[X, K]`.
        below: `[X, K]`.
        above: `[X, K]`.
        reaches: γ / (1 - γ), at least and at most.

    Returns:
        Lower and upper bound, each `[X, K]`.
    """
    less, more = (below - before).min(axis=0), (above - before).max(axis=0)
    return below + np.minimum(*(_times(r, less) for r in reaches)), above + np.maximum(
        *(_times(r, more) for r in reaches)
    )


def _times(reach: float, change: np.ndarray) -> np.ndarray:
    """The product; nothing stays nothing, however far it reaches."""
    return np.where(change == 0, 0, reach * np.where(change == 0, 1, change))


def _weighted(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Σ_j w_j x_j; a choice that is not made may be worth -inf."""
    return np.sum(weights * np.where(weights > 0, values, 0), axis=1)


def _matrix(ahead: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """The moves as `[X, J, X]`."""
    X, J, _ = ahead.shape
    dense = np.zeros((X, J, X))
    np.add.at(dense, (np.arange(X)[:, None, None], np.arange(J)[:, None], ahead), chance)
    return dense


def _solved(paid: np.ndarray, weights: np.ndarray, moves: np.ndarray, gamma: float) -> np.ndarray:
    """The value of always choosing with these weights: (I - γ P) V = R, for each of K."""
    X, K = paid.shape
    out = np.empty((X, K))
    size = max(1, ENTRIES_SOLVED // (X * X))
    for k in range(0, K, size):
        part = np.matmul(np.swapaxes(weights[..., k : k + size], 1, 2), moves)  # [X, k, X]
        system = np.eye(X) - gamma * np.swapaxes(part, 0, 1)
        out[:, k : k + size] = np.linalg.solve(system, paid.T[k : k + size, :, None])[..., 0].T
    return out
