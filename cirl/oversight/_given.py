"""Numbers as these worlds use them: Python's own, in double precision, checked at the door and on no device."""

import numbers
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from mdps.checks import check_real, is_concrete, shown

Real = float | np.number | jax.Array  # one number


def one_real(name: str, x: Any, allowed: Callable[[float], bool], cure: str) -> float:
    """One number in double precision, refused unless it is `allowed` (which NaN must not be)."""
    if not is_concrete(x):
        raise ValueError(f"{name} is a tracer; these worlds are computed on the host: call this outside jit and vmap.")
    held = isinstance(x, numbers.Real | np.ndarray | jax.Array) and not isinstance(x, bool)
    shape = getattr(x, "shape", ())
    if held and shape:
        raise ValueError(f"{name} has shape {shape}; {cure}")
    if not held or getattr(x, "dtype", np.dtype(float)).kind not in "iuf":
        raise ValueError(f"{name} is {shown(x)}; {cure}")
    value = float(check_real(name, x))
    if not allowed(value):
        raise ValueError(f"{name} is {shown(x)}; {cure}")
    return value


def chance(name: str, x: Any) -> float:
    """A probability."""
    return one_real(name, x, lambda p: 0 <= p <= 1, "give a probability, 0 to 1.")
