"""Sums along the paths of moves that are certain, by doubling, and the values of many rewards by policy iteration."""

import numpy as np

__all__ = ["rolled", "rolled_side_by_side", "values_where_certain"]
__dir__ = __all__.copy

FORGOTTEN = 1e-17  # rollouts go on until what they still add is less than this share
SETTLED = 1e-13  # what a better action must bring, as a share of the largest value


def rolled(worth: np.ndarray, follow: np.ndarray, gamma: float) -> np.ndarray:
    """(1 - γ) Σ_k γᵏ worth[followᵏ(s)], `[S, ...]`: by doubling, 2n steps from n."""
    total, onwards, factor = (1 - gamma) * worth, follow, gamma
    while factor > FORGOTTEN:
        total, onwards, factor = total + factor * total[onwards], onwards[onwards], factor * factor
    return total


def rolled_side_by_side(
    lost: np.ndarray, follow: np.ndarray, here: np.ndarray, there: np.ndarray, gamma: float
) -> np.ndarray:
    """(1 - γ) Σ_k γᵏ lost[followᵏ(s), followᵏ(b)] for states s in `here` and b in `there`, by the pairs on the way."""
    S = len(follow)
    start = here.astype(np.int64) * S + there
    pairs = new = np.unique(start)
    while new.size:
        ahead = np.unique(follow[new // S].astype(np.int64) * S + follow[new % S])
        new = np.setdiff1d(ahead, pairs, assume_unique=True)
        pairs = np.union1d(pairs, new)
    s, b = pairs // S, pairs % S
    onwards = np.searchsorted(pairs, follow[s].astype(np.int64) * S + follow[b])
    return rolled(lost[s, b], onwards, gamma)[np.searchsorted(pairs, start)]


def values_where_certain(to: np.ndarray, utilities: np.ndarray, gamma: float) -> np.ndarray:
    """The optimal values of many rewards at once, `[N, S]`, where each action leads to one state.

    Policy iteration in float64 on the host: the paths of a policy are followed by doubling, and nothing is compiled.

    Args:
        to: where each action leads, `[S, A]`; -1 for one that does not exist.
        utilities: rewards, `[N, S]`.
        gamma: discount, below 1.
    """
    rows, states = np.arange(len(utilities))[:, None], np.arange(len(to))
    exists = to >= 0
    follow = np.broadcast_to(to[states, exists.argmax(axis=1)], utilities.shape).copy()
    while True:
        value, onwards, factor = utilities, follow, gamma
        while factor > FORGOTTEN:
            value = value + factor * value[rows, onwards]
            onwards, factor = onwards[rows, onwards], factor * factor
        ahead = np.where(exists, value[:, to], -np.inf)  # [N, S, A]
        best = ahead.argmax(axis=2)
        gain = np.take_along_axis(ahead, best[:, :, None], axis=2)[:, :, 0] - value[rows, follow]
        better = gain > SETTLED * np.abs(value).max(axis=1, keepdims=True)
        if not better.any():
            return value
        follow = np.where(better, to[states, best], follow)
