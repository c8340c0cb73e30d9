"""Numbers that are let in as probabilities."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from mdps.checks._values import check_real, is_concrete


def check_rows(
    name: str, x, *, axes: tuple[str, ...], tolerance: float = 1e-5, called: Sequence[Sequence[str]] = ()
) -> None:
    """Raise if the last axis of a concrete array is no probability distribution, naming the row by `axes`.

    `called` are the names of what is along each axis, where it has any.
    """
    along = called or ((),) * len(axes)
    if not is_concrete(x):
        return
    x = np.asarray(check_real(name, x), np.float64)

    def at(index) -> str:
        told = zip(axes, along, index, strict=False)
        return "".join(f" of {axis} {repr(names[i]) if names else int(i)}" for axis, names, i in told)

    bad = np.argwhere(~np.isfinite(x) | (x < 0))
    if bad.size:
        raise ValueError(f"{name}{at(bad[0])} holds {x[tuple(bad[0])]}; probabilities must be finite and not negative.")
    total = x.sum(axis=-1)
    bad = np.argwhere(np.abs(total - 1) > tolerance)
    if bad.size or (total.ndim == 0 and abs(total - 1) > tolerance):
        index = bad[0] if bad.size else ()
        raise ValueError(f"{name}{at(index)} sums to {float(total[tuple(index)]):.6g}; it must sum to one.")


def as_distributions(
    name: str,
    x,
    *,
    axes: tuple[str, ...],
    dtype=None,
    tolerance: float = 1e-5,
    called: Sequence[Sequence[str]] = (),
) -> np.ndarray:
    """Concrete rows that are let in as probability distributions: checked, and divided by their sums.

    A row that misses one by less than `tolerance` was meant to sum to one (printed with six digits, say), and is
    divided by its sum, in float64, before anything is rounded to the dtype that it is stored in.  A row that
    misses it by no more than four units in the last place of that dtype is left to the bit.  What misses it by
    more is refused.  This is the one place where numbers from outside become probabilities.

    Args:
        name: what the rows are, for errors.
        x: the rows, along the last axis; a single row when one-dimensional.
        axes: names of the leading axes, for errors; they name the first bad row.
        dtype: floating dtype that the rows will be stored in; JAX's default for `x` when left out.
        tolerance: how far from one a sum may be.
        called: the names of what is along each of the axes, where it has any, for errors.

    Returns:
        The rows as a floating NumPy array, as they are where no row was divided.

    Raises:
        ValueError: for a negative or non-finite entry, or a sum that is not one.

    Example:
        >>> as_distributions("initial", [0.333333, 0.333333, 0.333333], axes=()).tolist() == [1 / 3] * 3
        True
    """
    check_rows(name, x, axes=axes, tolerance=tolerance, called=called)
    x = np.asarray(check_real(name, x))
    if dtype is None:
        dtype = jnp.result_type(float, *(x,) * (x.dtype.kind == "f"))
    total = x.sum(axis=-1, keepdims=True, dtype=np.float64)
    kept = np.abs(total - 1) <= 4 * float(jnp.finfo(dtype).eps)
    return x if kept.all() else np.where(kept, x, np.divide(x, total, dtype=np.float64))
