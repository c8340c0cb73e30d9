"""The library itself, imported where it is used, and what is asked of everything that is counted there."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from mdps.checks import check_number, check_real, shown

# A function of (observation, action, next observation), or the name, or names, of what `info` holds.
Counting = Callable[[Any, Any, Any], Any] | str | Sequence[str]


def library(what: str) -> Any:
    """The module gymnasium, or one sentence on how to get it."""
    try:
        import gymnasium
    except ImportError as error:
        raise ImportError(
            f'{what} needs gymnasium, which is not installed; pip install "inverse-reward-design[gymnasium]".'
        ) from error
    return gymnasium


def check_counting(features) -> Callable | tuple[str, ...]:
    """What is counted: a function, or names in `info`."""
    if isinstance(features, str):
        return (features,)
    if isinstance(features, list | tuple) and features and all(isinstance(x, str) for x in features):
        return tuple(features)
    if not callable(features) or isinstance(features, type):
        raise ValueError(
            f"features is {shown(features)}; give a function of (observation, action, next observation), or the name, "
            "or names, under which info holds them."
        )
    return features


def check_factor(discount) -> float:
    """A discount factor in (0, 1], in float64."""
    check_number("discount", discount, lambda x: 0 < x <= 1, "it must lie in (0, 1]; 1 counts every step alike.")
    return float(np.asarray(discount))


def check_ended(ended, names: Sequence[str] = ()) -> str | None:
    """The name of the feature that counts steps after an end; None for none."""
    if ended is None:
        return None
    if not isinstance(ended, str) or not ended or ended in names:
        raise ValueError(
            f"ended is {shown(ended)}; give a name that no other feature has, for the steps after an end, or None."
        )
    return ended


@contextmanager
def batched(what: str, number: int) -> Iterator[None]:
    """Errors of a function that somebody brought, with a note of what it was given."""
    try:
        yield
    except Exception as error:
        error.add_note(f"{what} gets a batch: one row for each of {number} environments, also of one.")
        raise


def as_numbers(found, where: str) -> np.ndarray:
    """Features as numbers in float64; refused, with the place, where they are none."""
    if type(found) is np.ndarray and found.dtype.kind in "fiub":  # nothing to look at; in the innermost loop
        return found.astype(float)
    try:
        return np.asarray(check_real("features", found), float)
    except ValueError as error:
        raise ValueError(f"{error} ({where})") from None


def counted_row(found, where: str) -> np.ndarray:
    """Features of one visit, `[K]`; refused where they are no finite numbers."""
    row = as_numbers(found, where).reshape(-1)
    if not np.isfinite(row).all():
        raise ValueError(f"features is {row.tolist()} ({where}); every feature of a visit must be finite.")
    return row
