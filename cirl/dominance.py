"""Vectors of which none is worth keeping beside the others."""

import numpy as np


def undominated(vectors: np.ndarray, slack: np.ndarray | None = None) -> np.ndarray:
    """Numbers of the vectors that no other is at least as good as in every entry, in order.

    Args:
        vectors: `[n, K]`.
        slack: by how much each is taken to be better than it is when others are compared with it, `[n, K]`; None: 0.
    """
    best = vectors if slack is None else vectors + slack
    kept = np.empty_like(vectors)
    numbers: list[int] = []
    for n in np.argsort(-vectors.sum(axis=1), kind="stable"):
        if not (kept[: len(numbers)] >= vectors[n]).all(axis=1).any():
            kept[len(numbers)] = best[n]
            numbers.append(int(n))
    return np.sort(np.array(numbers, int))
