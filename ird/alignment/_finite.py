"""Hackable or not, among a few policies: orders of returns instead of all of a map's policies (Skalse et al. 2022).

Over all stationary policies almost every pair of rewards is hackable; over a finite set it need not be.  A written
reward *simplifies* a true one on a set of policies if it never reverses a strict preference, keeps equals equal, and no
longer tells some apart that the true one does, but not all of them.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mdps.checks import check_array

__all__ = ["Order", "order_among", "simplification"]
__dir__ = __all__.copy

_ROUNDING = 1e-9  # of the largest that a return can be, in float64: returns that are closer are equal


@dataclass(frozen=True)
class Order:
    """How a written and a true reward order some policies.

    Attributes:
        hackable: whether the written return rises between two of them while the true one falls.
        worse: the policy to which it rises, an index; None where there is none.
        better: the one from which.
        simplifies: whether the written reward is a simplification of the true one.
    """

    hackable: bool
    worse: int | None
    better: int | None
    simplifies: bool


def order_among(
    features: Float[Array, " P K"] | np.ndarray,
    written: Float[Array, " K"] | np.ndarray,
    true: Float[Array, " K"] | np.ndarray,
) -> Order:
    """Whether going for a written reward can lower a true one, if only these policies are possible.

    Args:
        features: what each policy collects, `[P, K]` (`mdps.feature_expectations`, or sets of tasks as zeros and ones).
        written: weights `[K]`.
        true: weights `[K]`.

    Returns:
        An `Order`; of several pairs the one with the largest true loss.

    Raises:
        ValueError: for arrays that do not fit each other.

    Example:
        A robot may clean any of three rooms (policies are the subsets); paying for the first room alone is hackable.

        >>> import itertools, numpy as np
        >>> rooms = np.array(list(itertools.product([0, 1], repeat=3)))
        >>> found = order_among(rooms, np.array([1, 0, 0]), np.array([1, 1, 1]))
        >>> found.hackable, rooms[found.better].tolist(), rooms[found.worse].tolist()
        (True, [0, 1, 1], [1, 0, 0])
        >>> order_among(rooms, np.array([1, 1, 0]), np.array([1, 1, 1])).hackable
        False
    """
    features = _checked_features(features)
    told, meant = (_told_apart(*_returns(features, name, w)) for name, w in (("written", written), ("true", true)))
    against = (told > 0) & (meant < 0)  # [to, from]
    pair = None
    if against.any():
        lost, _ = _returns(features, "true", true)
        loss = np.where(against, lost[None, :] - lost[:, None], -np.inf)
        worse, better = np.unravel_index(np.argmax(loss), loss.shape)
        pair = int(worse), int(better)
    keeps = not against.any() and not told[meant == 0].any()
    merges = bool((told[meant != 0] == 0).any()) and bool(told.any())
    return Order(pair is not None, *(pair or (None, None)), simplifies=keeps and merges)


def simplification(
    features: Float[Array, " P K"] | np.ndarray, true: Float[Array, " K"] | np.ndarray
) -> np.ndarray | None:
    """A reward that simplifies a true one on these policies, or None: there is none.

    One linear program for each pair of neighbouring classes of equal policies: keep the order, make the two equal,
    and spread the others as far as weights in [-1, 1] can.

    Args:
        features: what each policy collects, `[P, K]`.
        true: weights `[K]`.

    Returns:
        Weights `[K]`, of several the one that spreads the policies most.

    Example:
        >>> import itertools, numpy as np
        >>> rooms = np.array(list(itertools.product([0, 1], repeat=3)))
        >>> simplification(rooms, np.array([1, 1, 1])) is None
        True
        >>> order_among(rooms, simplification(rooms, np.array([4, 2, 1])), np.array([4, 2, 1])).simplifies
        True
    """
    from scipy.optimize import linprog

    features = _checked_features(features)
    returns, rounding = _returns(features, "true", true)
    features = features / (np.abs(features).max() or 1.0)  # the program's own tolerances are absolute
    order = np.argsort(returns, kind="stable")
    steps = features[order[1:]] - features[order[:-1]]
    equal = np.diff(returns[order]) <= rounding
    found, widest = None, 1e-7
    for merged in np.flatnonzero(~equal):
        kept = equal.copy()
        kept[merged] = True
        free = steps[~kept]
        answer = linprog(
            -(features[order[-1]] - features[order[0]]),
            A_ub=-free if len(free) else None,
            b_ub=np.zeros(len(free)) if len(free) else None,
            A_eq=steps[kept],
            b_eq=np.zeros(kept.sum()),
            bounds=(-1, 1),
        )
        if answer.status == 0 and -answer.fun > widest:
            found, widest = np.asarray(answer.x), -float(answer.fun)
    return found


def _checked_features(features) -> np.ndarray:
    features = np.asarray(check_array("features", features), np.float64)
    if features.ndim != 2 or not features.size:
        raise ValueError(f"features has shape {features.shape}; give what each policy collects, [P, K].")
    return features


def _returns(features: np.ndarray, name: str, weights) -> tuple[np.ndarray, float]:
    """Returns, and the difference that rounding of the weights and of what is collected could make."""
    held = check_array(name, weights)
    weights = np.asarray(held, np.float64)
    if weights.shape != features.shape[1:]:
        raise ValueError(f"{name} has shape {weights.shape}; give weights [K] with K = {features.shape[1]}.")
    share = max(_ROUNDING, 4 * float(jnp.finfo(held.dtype).eps))
    return features @ weights, share * float((np.abs(features) @ np.abs(weights)).max())


def _told_apart(returns: np.ndarray, rounding: float) -> np.ndarray:
    """The sign of each return less each other one, `[to, from]`, 0 where rounding could tell them apart."""
    apart = returns[:, None] - returns[None, :]
    return np.where(np.abs(apart) <= rounding, 0, np.sign(apart))
