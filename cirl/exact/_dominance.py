"""Vectors of which none is worth keeping beside the others."""

import numpy as np

NEAR = 128  # vectors with the largest sums, which most of the others are compared with alone
EACH = 5_000  # comparisons that take as long as everything else that is done for one vector


class Comparisons:
    """How many pairs of numbers may still be compared: a measure of work that is the same on all machines.

    A core compares about 1e9 in a second.
    """

    def __init__(self, left: float = np.inf):
        self.left = left

    def spend(self, count: int) -> None:
        """Take some off.

        Raises:
            TooManyComparisonsError: where there are none left.
        """
        self.left -= count
        if self.left < 0:
            raise TooManyComparisonsError


class TooManyComparisonsError(Exception):
    """More pairs of numbers would have to be compared than were allowed."""


def undominated(vectors: np.ndarray, slack: np.ndarray | None = None, allowed: Comparisons | None = None) -> np.ndarray:
    """Numbers of the vectors that no other is at least as good as in every entry, in order.

    Args:
        vectors: `[n, K]`.
        slack: by how much each is taken to be better than it is when others are compared with it, `[n, K]`; None: 0.
        allowed: what may be compared; None: as much as it takes.

    Raises:
        TooManyComparisonsError: where that is not enough.
    """
    allowed = Comparisons() if allowed is None else allowed
    best = vectors if slack is None else vectors + slack
    kept = np.empty(vectors.shape[::-1])  # entries first, so that each is compared with all at once
    numbers: list[int] = []
    for n in np.argsort(-vectors.sum(axis=1), kind="stable"):
        v, count = vectors[n][:, None], len(numbers)
        allowed.spend(EACH)
        if any(_beaten(v, kept[:, first:last], allowed) for first, last in ((0, min(count, NEAR)), (NEAR, count))):
            continue
        kept[:, count] = best[n]
        numbers.append(int(n))
    return np.sort(np.array(numbers, int))


def _beaten(v: np.ndarray, kept: np.ndarray, allowed: Comparisons) -> bool:
    """Whether one of those kept `[K, m]` is at least as good as `v` `[K, 1]` in every entry."""
    allowed.spend(kept.size)
    return bool((kept >= v).all(axis=0).any())
