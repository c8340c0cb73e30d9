"""The fields of a trial's results: a name, a shape, a type and named axes each, all of which a store can hold."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ird.sweep.axes import RESERVED, Axes, Index, brief, label, lost
from ird.sweep.zarr_files import METADATA

__all__ = ["Field", "check_dims", "check_results", "fields_of"]
__dir__ = __all__.copy

# The kinds of number that every reader of a store knows.
DTYPES = {"bool", "float16", "float32", "float64", "complex64", "complex128"}
DTYPES |= {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
LONGEST = 200  # bytes of a field's name, which is that of a directory


@dataclass(frozen=True)
class Field:
    """One array among a trial's results.

    Attributes:
        name: its name; parts of nested results are joined by dots.
        shape: its shape in one trial.
        dtype: its dtype.
        dims: names of its axes.
    """

    name: str
    shape: Index
    dtype: str
    dims: tuple[str, ...]


def check_dims(dims: Any) -> dict[str, tuple[str, ...]]:
    """The names that are given to the fields' axes.

    Raises:
        ValueError: for anything but a mapping from a field to the names of its axes.
    """
    if not isinstance(dims, Mapping):
        raise ValueError(f"dims is {brief(dims)}; give a mapping from field to the names of its axes, or None.")
    found = {}
    for name, given in dims.items():
        if not isinstance(name, str):
            raise ValueError(f"dims names {brief(name)}, which is no field; give the names of fields.")
        if isinstance(given, str | bytes) or not isinstance(given, Sequence):
            raise ValueError(f"dims[{name!r}] is {brief(given)}; give a list of names, one for each axis of the field.")
        for dim in given:
            if not isinstance(dim, str) or not dim or dim == RESERVED[-1]:
                raise ValueError(f"dims[{name!r}] names an axis {brief(dim)}; give another word.")
        found[name] = tuple(given)
    return found


def check_results(trial: Callable, out: Any) -> None:
    """Raise unless what a trial returned while it was traced is numbers, and such as JAX's default precision holds.

    Raises:
        ValueError: naming the field.
    """
    for path, leaf in jax.tree_util.tree_flatten_with_path(out)[0]:
        if isinstance(leaf, jax.Array):
            continue
        name = _name(path)
        if not isinstance(leaf, np.ndarray | np.generic | bool | int | float | complex):
            kind = type(leaf).__name__
            raise ValueError(f"{label(trial)} returns {name!r} of type {kind}; return numbers, or arrays of numbers.")
        values = np.asarray(leaf)
        if values.dtype.kind not in "biufc":
            if values.dtype.kind == "V":  # jax.numpy's own small types: refused later, by name
                continue
            raise ValueError(
                f"{label(trial)} returns {name!r}, {brief(leaf)}, which no array of numbers holds; convert it."
            )
        if lost(values).any():
            kind = jax.dtypes.canonicalize_dtype(values.dtype)
            raise ValueError(
                f"{label(trial)} returns {name!r} with {values[lost(values)].ravel()[0]}, which {kind} cannot hold; "
                "scale it, or use float64 mode."
            )


def fields_of(trial: Callable, out: Any, dims: Mapping[str, tuple[str, ...]], axes: Axes) -> tuple[Field, ...]:
    """The fields of a trial's results.

    Args:
        trial: the trial, to name it.
        out: shapes and dtypes of what it returns.
        dims: names for axes, by field.
        axes: what is varied; its names are taken.

    Raises:
        ValueError: for names, types, shapes or names of axes that no store can hold.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(out)
    if not leaves:
        raise ValueError(f"{label(trial)} returns nothing; return numbers or arrays by name, as a dict or NamedTuple.")
    fields = []
    for path, leaf in leaves:
        name, dtype = _name(path), str(leaf.dtype)
        if dtype not in DTYPES:
            raise ValueError(f"{label(trial)} returns {name!r} of type {dtype}, which no store holds; convert it.")
        unfit = _unfit(name, axes)
        if unfit:
            raise ValueError(f"{label(trial)} returns a field {brief(name)}, {unfit}; rename it.")
        if 0 in leaf.shape:
            raise ValueError(
                f"{label(trial)} returns {name!r} of shape {leaf.shape}, which holds no number; leave it out."
            )
        given = dims.get(name)
        own = tuple(f"{name}_{i}" for i in range(len(leaf.shape))) if given is None else given
        if len(own) != len(leaf.shape) or len(set(own) | set(axes.names)) < len(own) + len(axes.names):
            raise ValueError(
                f"dims[{name!r}] is {own}, but {name!r} has shape {leaf.shape}; give each of its axes a name that "
                f"no other has ({', '.join(axes.names)} are taken)."
            )
        fields.append(Field(name, tuple(leaf.shape), dtype, own))
    _check_together(trial, fields)
    return tuple(fields)


def _name(path: Any) -> str:
    """The name of a field: where it lies in the results."""
    return jax.tree_util.keystr(path, simple=True, separator=".") if path else "value"


def _unfit(name: str, axes: Axes) -> str | None:
    """Why a field cannot bear a name, in words; None if it can."""
    if name in (*axes.names, *RESERVED):
        return "a name that is taken"
    if name.casefold() == METADATA:
        return f"a name that is taken: {METADATA} is the file that describes the store"
    if name.startswith("__"):
        return "a name that is unfit: Zarr keeps those that begin with two underscores for itself"
    if not re.fullmatch(r"\w[\w .-]*", name) or not all(part.strip() for part in name.split(".")):
        return "a name that is unfit: it becomes a directory, so use letters, digits, -, _ and spaces"
    if len(name.encode(errors="replace")) > LONGEST:
        return f"a name that is unfit: it becomes a directory, so use at most {LONGEST} bytes"
    return None


def _check_together(trial: Callable, fields: Sequence[Field]) -> None:
    """Raise if two fields have one name, or an axis's name is that of another length or of a field."""
    names = [field.name for field in fields]
    if len(set(names)) < len(names):
        raise ValueError(f"{label(trial)} returns two fields by one name: {', '.join(names)}; rename them.")
    lengths: dict[str, int] = {}
    for field in fields:
        for dim, n in zip(field.dims, field.shape, strict=True):
            if lengths.setdefault(dim, n) != n or dim in names:
                raise ValueError(f"dims gives {dim!r} to axes of other lengths or to a field; rename one of them.")
