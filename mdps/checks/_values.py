"""Numbers, arrays, flags, counts, indices, names and keys."""

import math
import numbers
from collections.abc import Callable, Iterable

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


def is_concrete(x) -> bool:
    """Whether `x` has values that can be looked at (it is not being traced, nor a shape without an array)."""
    return not isinstance(x, jax.core.Tracer | jax.ShapeDtypeStruct)


def require_concrete(where: str, **arrays) -> None:
    """Refuse tracers where the shape of the result depends on values."""
    for name, x in arrays.items():
        if not is_concrete(x):
            raise TypeError(
                f"{where} builds tables on the host and cannot be traced, but {name} is a tracer; call it outside "
                "jit and vmap (mdps.stack batches finished MDPs, GridWorld.from_terrain can be traced)."
            )


def shown(x) -> str:
    """What an argument is, for an error: a short value itself, else its type, shape and dtype."""
    if hasattr(x, "dtype") and hasattr(x, "shape"):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return f"random keys of shape {x.shape}" if x.shape else "a random key"
        if x.shape == () and is_concrete(x):
            return str(x)
        return f"an array of {x.dtype} with shape {tuple(x.shape)}"
    if x is None or isinstance(x, bool | numbers.Number | str):
        text = repr(x)
        return text if len(text) <= 60 else f"{text[:57]}..."
    if isinstance(x, type):
        return f"the class {x.__name__}"
    name = type(x).__name__
    return f"{'an' if name[:1] in 'AEIOU' else 'a'} {name}"


def check_number(
    name: str,
    x,
    allowed: Callable[[float], bool] = math.isfinite,
    cure: str = "give one finite number.",
    *,
    dtype=None,
) -> Array:
    """One real number, in `dtype` (JAX's default float, when None), refused unless it is `allowed` there.

    Args:
        name: of the argument.
        x: a number, an array of shape [], or a tracer of one.
        allowed: which values are fine; NaN must not be.
        cure: what to give instead, the end of the error.
        dtype: floating dtype.
    """
    number = _judged(name, x, allowed, cure, dtype)
    return _known(number) if isinstance(number, np.ndarray) else number


def _judged(name: str, x, allowed: Callable[[float], bool], cure: str, dtype) -> np.ndarray | Array:
    """`check_number` without a device: a NumPy scalar, or a tracer."""
    dtype = jax.dtypes.canonicalize_dtype(float if dtype is None else dtype)
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        if x.shape != ():
            raise ValueError(f"{name} has shape {tuple(x.shape)}; give one number, and use jax.vmap for several.")
        real = _is_real(x.dtype) and not jnp.issubdtype(x.dtype, jnp.bool_) and not isinstance(x, np.ma.MaskedArray)
    else:
        real = isinstance(x, numbers.Real) and not isinstance(x, bool)
    if not real:
        raise ValueError(f"{name} is {shown(x)}; {cure}")
    if isinstance(x, jax.core.Tracer):
        return x.astype(dtype)
    value = in_dtype(np.asarray(as_float(x)), dtype)
    if not allowed(float(value)):
        raise ValueError(f"{name} is {shown(x)}{as_cast(float(value), x, dtype)}; {cure}")
    return value


def _known(values) -> Array:
    """A JAX array of what can be looked at, and that still can when something else is being traced."""
    with jax.ensure_compile_time_eval():
        return jax.device_put(values)


def check_array(name: str, x, *, finite: bool = True, dtype=None, like=None) -> Array:
    """An array of real numbers: floats keep their dtype, integers and booleans get JAX's default float.

    Args:
        name: of the argument.
        x: an array, or nested sequences of numbers.
        finite: whether every entry must be a finite number.
        dtype: floating dtype to bring it to; None: its own.
        like: the dtype of what it goes with: the wider of both is used.
    """
    held = check_real(name, x)
    dtype = jax.dtypes.canonicalize_dtype(held.dtype if dtype is None else dtype)
    if like is not None:
        dtype = jnp.promote_types(dtype, like)
    if not is_concrete(held):
        return jnp.asarray(held, dtype)
    values = in_dtype(np.asarray(held), dtype)
    if finite:
        fine = np.isfinite(values)
        if not fine.all():
            where = tuple(int(i) for i in np.argwhere(~fine)[0])
            beyond = dtype if np.isfinite(np.asarray(held)[where]) else None
            raise ValueError(_not_finite(name, np.asarray(held), where, beyond, int((~fine).sum())))
    return held if isinstance(held, jax.Array) and held.dtype == dtype else _known(values)


def check_real(name: str, x) -> np.ndarray | Array:
    """What holds real numbers and nothing else, as a NumPy array, or as the JAX array or tracer that it is.

    Integers become float64 here, before anything can wrap around.
    """
    if isinstance(x, np.ma.MaskedArray):
        if np.ma.is_masked(x):
            raise ValueError(
                f"{name} is a masked array with {np.ma.count_masked(x)} masked entries, and the mask would be lost; "
                "fill them first, such as x.filled(0.0)."
            )
        x = x.data
    if not isinstance(x, jax.Array):
        try:
            x = np.asarray(x)
        except jax.errors.TracerArrayConversionError:  # sequences that hold tracers
            x = jnp.asarray(x)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{name} makes no array: its rows differ in length ({error}); give rows of one length."
            ) from error
        if x.dtype == object and x.size and all(isinstance(each, numbers.Real) for each in np.ravel(x)):
            # Fractions, and integers beyond int64.
            x = np.array([as_float(each) for each in np.ravel(x)]).reshape(x.shape)
    if not _is_real(x.dtype):
        if jnp.issubdtype(x.dtype, jnp.complexfloating):
            raise ValueError(f"{name} is {shown(x)}; give real numbers, such as x.real.")
        what = shown(x.item() if x.shape == () and isinstance(x, np.ndarray) else x)
        raise ValueError(f"{name} is {what}; give an array of numbers.")
    if x.dtype.kind in "iub" and isinstance(x, np.ndarray):
        x = x.astype(np.float64)
    return x.astype(jnp.result_type(float)) if x.dtype.kind in "iub" else x


def check_finite(name: str, x) -> None:
    """Raise if a concrete array holds NaN or infinity, and say where."""
    if is_concrete(x):
        values = np.asarray(x)
        fine = np.isfinite(values)
        if not fine.all():
            where = tuple(int(i) for i in np.argwhere(~fine)[0])
            raise ValueError(_not_finite(name, values, where, None, int((~fine).sum())))


def check_flags(name: str, x, size: int, each: str = "state") -> Array:
    """Flags `[size]`, one for each state: booleans, or concrete numbers that are all 0 or 1."""
    cure = f"give one flag per {each}, [{size}]"
    boolean = hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.bool_)
    held = check_mask(name, x) if boolean else check_real(name, x)
    if held.shape != (size,):
        raise ValueError(
            f"{name} has shape {tuple(held.shape)}; {cure} (of a list of indices: np.isin(np.arange({size}), indices))."
        )
    if boolean:
        return jnp.asarray(held)
    if not is_concrete(held):
        raise ValueError(f"{name} is {shown(x)}; {cure} of booleans, such as x > 0.")
    values = np.asarray(held)
    odd = (values != 0) & (values != 1)
    if odd.any():
        raise ValueError(f"{name} is {values[odd][0]:.6g} at index {int(odd.argmax())}; {cure}, true or false.")
    return _known(values == 1)


def check_mask(name: str, x) -> Array:
    """Booleans of any shape, refused if some of them are themselves masked."""
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        raise ValueError(
            f"{name} is a masked array, and the mask would be lost; fill it first, such as x.filled(False)."
        )
    return jnp.asarray(x)


def check_count(name: str, x, least: int = 1, most: int | None = None) -> int:
    """A whole number that is known before anything is traced, at least `least`."""
    cure = f"give a whole number ≥ {least}" + ("" if most is None else f" and ≤ {most}")
    if not is_concrete(x):
        raise ValueError(f"{name} is a tracer; it is static, because it decides what is compiled: {cure}.")
    whole = isinstance(x, int | np.integer) and not isinstance(x, bool)
    whole = whole or (getattr(x, "shape", None) == () and getattr(getattr(x, "dtype", None), "kind", "") in "iu")
    if not whole or int(x) < least or (most is not None and int(x) > most):
        raise ValueError(f"{name} is {shown(x)}; {cure}.")
    return int(x)


def check_temperature(temperature, dtype) -> bool:
    """Whether a temperature is known to be 0; raise if it is known to be no temperature."""
    cure = "it must be 0 (hard) or a positive finite number."
    tau = _judged("temperature", temperature, lambda tau: 0 <= tau < math.inf, cure, dtype)
    return is_concrete(tau) and float(tau) == 0


def check_tolerance(tol, dtype) -> None:
    """Raise if a tolerance is known not to be positive."""
    if tol is not None:
        _judged("tol", tol, lambda tol: tol > 0, "give a positive number, or None for the default.", dtype)


def check_key(key) -> Array:
    """One key of `jax.random`."""
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ()
    if not typed and not (dtype == np.uint32 and shape == (2,)):  # the second is what jax.random.PRNGKey makes
        raise ValueError(f"key is {shown(key)}; give one random key, such as jax.random.key(0).")
    return key


def check_index(name: str, x, size: int, what: str) -> None:
    """Raise unless `x` is one whole number in 0..size-1, the index of one of `what`."""
    cure = f"it must be one of the {size} {what}, a whole number in 0..{size - 1}."
    if not is_concrete(x):
        if x.shape != () or x.dtype.kind not in "iu":
            raise ValueError(f"{name} is {shown(x)}; {cure}")
        return
    whole = isinstance(x, int | np.integer) and not isinstance(x, bool)
    whole = whole or (getattr(x, "shape", None) == () and getattr(getattr(x, "dtype", None), "kind", "") in "iu")
    if not whole or not 0 <= int(x) < size:
        raise ValueError(f"{name} is {shown(x)}; {cure}")


def check_indices(name: str, x, size: int, what: str, rank: int | None = None) -> np.ndarray | Array:
    """Whole numbers in 0..size-1, an array of any or of one rank; tracers are judged by rank and dtype alone."""
    cure = f"give whole numbers in 0..{size - 1}, indices of {what}."
    if not hasattr(x, "dtype"):
        try:
            x = np.asarray(x)
        except jax.errors.TracerArrayConversionError:
            x = jnp.asarray(x)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{name} makes no array ({error}); {cure}") from error
    x = x.astype(int) if isinstance(x, np.ndarray) and x.size == 0 else x
    if x.dtype.kind not in "iu" or isinstance(x, np.ma.MaskedArray):
        what = shown(x.item() if x.shape == () and isinstance(x, np.ndarray) else x)
        raise ValueError(f"{name} is {what}; {cure}")
    if rank is not None and x.ndim != rank:
        raise ValueError(f"{name} has shape {x.shape}, {x.ndim} axes for {rank}; {cure}")
    if is_concrete(x):
        values = np.asarray(x)
        bad = (values < 0) | (values >= size)
        if bad.any():
            raise ValueError(f"{name} holds {values[bad][0]}; {cure}")
    return x


def check_names(names, number: int, name: str = "feature_names", each: str = "feature") -> tuple[str, ...]:
    """That many distinct names; "feature 0", "feature 1", ... where there are none."""
    cure = f"give {number} distinct names, one per {each}"
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ValueError(f"{name} is {shown(names)}; {cure}, as a sequence.")
    names = tuple(names) or tuple(f"{each} {k}" for k in range(number))
    if len(names) != number or not all(isinstance(x, str) for x in names) or len(set(names)) != number:
        raise ValueError(f"{name} is {names}; {cure}.")
    return names


def check_truth(name: str, x) -> bool:
    """True or False, known before anything is traced."""
    if not isinstance(x, bool | np.bool_):
        raise ValueError(f"{name} is {shown(x)}; give True or False.")
    return bool(x)


def check_part(name: str, x, kind: type, method: str, such_as: str):
    """An object of some kind, with a method: not the class of one."""
    if isinstance(x, type) or not isinstance(x, kind) or not callable(getattr(x, method, None)):
        raise ValueError(f"{name} is {shown(x)}; give an object with {method}(...), such as {such_as}.")
    return x


def _is_real(dtype) -> bool:
    """Whether a dtype holds real numbers (or booleans, which count as 0 and 1)."""
    return jnp.issubdtype(dtype, jnp.bool_) or (
        jnp.issubdtype(dtype, jnp.number) and not jnp.issubdtype(dtype, jnp.complexfloating)
    )


def as_float(x) -> float:
    try:
        return float(x)
    except OverflowError:  # an integer beyond every float
        return math.inf if x > 0 else -math.inf


def in_dtype(values: np.ndarray, dtype) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(dtype)


def as_cast(value: float, x, dtype) -> str:
    """What became of a number in some dtype, where that is another thing: zero, one or infinity."""
    moved = value != float(as_float(x)) and (math.isinf(value) or value.is_integer())
    return f", which is {value} in {np.dtype(dtype).name}" if moved else ""


def _not_finite(name: str, held: np.ndarray, where: tuple[int, ...], beyond, count: int) -> str:
    there = "" if beyond is None else f", beyond {beyond} (at most {float(jnp.finfo(beyond).max):.3g})"
    return f"{name} is {held[where]}{there} at index {where} ({count} such entries); every entry must be finite."
