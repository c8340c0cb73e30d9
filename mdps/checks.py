"""Checks of concrete values at the door of public functions; tracers pass through untouched."""

import math
import numbers

import jax
import jax.core
import jax.numpy as jnp
import numpy as np


def is_concrete(x) -> bool:
    """Whether `x` has values that can be looked at (it is not being traced)."""
    return not isinstance(x, jax.core.Tracer)


def require_concrete(where: str, **arrays) -> None:
    """Refuse tracers where the shape of the result depends on values."""
    for name, x in arrays.items():
        if not is_concrete(x):
            raise TypeError(
                f"{where} builds tables on the host and cannot be traced, but {name} is a tracer; call it outside "
                "jit and vmap (mdps.stack batches finished MDPs, GridWorld.from_terrain can be traced)."
            )


def check_finite(name: str, x) -> None:
    """Raise if a concrete array holds NaN or infinity, and say where."""
    if is_concrete(x):
        finite = np.isfinite(np.asarray(x))
        if not finite.all():
            bad = np.argwhere(~finite)
            where = tuple(int(i) for i in bad[0])
            raise ValueError(
                f"{name} is {np.asarray(x)[where]} at index {where} ({len(bad)} such entries); "
                "every entry must be finite."
            )


def check_key(key) -> None:
    """Raise unless `key` is one key of `jax.random`."""
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ()
    if not typed and not (dtype == np.uint32 and shape == (2,)):  # the second is what jax.random.PRNGKey makes
        what = repr(key) if dtype is None else f"an array of {dtype} with shape {shape}"
        raise ValueError(f"key is {what}; give one random key, such as jax.random.key(0).")


def check_index(name: str, x, size: int, what: str) -> None:
    """Raise unless a concrete `x` is one whole number in 0..size-1, the index of one of `what`."""
    if is_concrete(x):
        value = np.asarray(x)
        if value.shape != () or value.dtype.kind not in "iu" or not 0 <= int(value) < size:
            raise ValueError(f"{name} is {x}; it must be one of the {size} {what}, a whole number in 0..{size - 1}.")


def check_rows(name: str, x, *, axes: tuple[str, ...], tolerance: float = 1e-5) -> None:
    """Raise if the last axis of a concrete array is not a probability distribution, naming the row by `axes`."""
    if not is_concrete(x):
        return
    x = np.asarray(x, np.float64)

    def at(index) -> str:
        return "".join(f" of {axis} {int(i)}" for axis, i in zip(axes, index, strict=False))

    bad = np.argwhere(~np.isfinite(x) | (x < 0))
    if bad.size:
        raise ValueError(f"{name}{at(bad[0])} holds {x[tuple(bad[0])]}; probabilities must be finite and not negative.")
    total = x.sum(axis=-1)
    bad = np.argwhere(np.abs(total - 1) > tolerance)
    if bad.size or (total.ndim == 0 and abs(total - 1) > tolerance):
        index = bad[0] if bad.size else ()
        raise ValueError(f"{name}{at(index)} sums to {float(total[tuple(index)]):.6g}; it must sum to one.")


def as_distributions(name: str, x, *, axes: tuple[str, ...], dtype=None, tolerance: float = 1e-5) -> np.ndarray:
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

    Returns:
        The rows as a NumPy array, `x` itself where no row was divided.

    Raises:
        ValueError: for a negative or non-finite entry, or a sum that is not one.

    Example:
        >>> as_distributions("initial", [0.333333, 0.333333, 0.333333], axes=()).tolist() == [1 / 3] * 3
        True
    """
    check_rows(name, x, axes=axes, tolerance=tolerance)
    x = np.asarray(x)
    if dtype is None:
        dtype = jnp.result_type(float, *(x,) * (x.dtype.kind == "f"))
    total = x.sum(axis=-1, keepdims=True, dtype=np.float64)
    kept = np.abs(total - 1) <= 4 * float(jnp.finfo(dtype).eps)
    return x if kept.all() else np.where(kept, x, np.divide(x, total, dtype=np.float64))


def check_horizon_and_discount(horizon: int | None, discount) -> None:
    """Raise unless the horizon is a positive whole number or None and the discount fits it."""
    if horizon is not None and (not isinstance(horizon, numbers.Integral) or isinstance(horizon, bool) or horizon < 1):
        raise ValueError(f"horizon is {horizon!r}; give a whole number of steps ≥ 1, or None for an endless MDP.")
    if not is_concrete(discount):
        return
    gamma = float(discount)
    if not math.isfinite(gamma) or gamma < 0 or gamma > 1:
        raise ValueError(f"discount is {gamma}; it must lie in [0, 1).")
    if horizon is None and gamma >= 1:
        raise ValueError(f"discount is {gamma} without a horizon; give a discount below 1, or a horizon.")
