"""What a trial is: traced by itself, once per choice of the static axes, before anything is compiled.

From the trace follow the fields of its results, whether it is a pure function of its key and settings,
and a digest of the program, which is the code version of a store: it changes with anything that
changes what is computed, in the trial or in what it calls, and with nothing else.
"""

import contextlib
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ird.sweep.axes import RESERVED, Axes, Index, label

# The kinds of number that every reader of a store knows.
DTYPES = {"bool", "float16", "float32", "float64", "complex64", "complex128"}
DTYPES |= {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}


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


@dataclass(frozen=True)
class Trial:
    """A trial that has passed its checks.

    Attributes:
        call: the function, `call(key, **settings)`.
        fields: what it returns, in order.
        digests: digest of the program of each choice of the static axes.
    """

    call: Callable
    fields: tuple[Field, ...]
    digests: tuple[str, ...]

    def results(self, key: Any, static: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
        """The trial's results by the name of their field."""
        found = jax.tree.leaves(self.call(key, **static, **settings))
        return {field.name: x for field, x in zip(self.fields, found, strict=True)}

    @property
    def digest(self) -> str:
        """The code version: a digest of all its programs."""
        return hashlib.sha256("".join(self.digests).encode()).hexdigest()


def examine(trial: Callable, axes: Axes, key: Any, dims: Mapping[str, Sequence[str]], platform: str) -> Trial:
    """Trace a trial twice for each choice of the static axes, and refuse what cannot be repeated or stored.

    Raises:
        ValueError: for a trial that is not pure, uses a traced setting's value, returns nothing or what is no
            array, or returns other fields for other static settings.
    """
    fields: tuple[Field, ...] = ()
    digests, first = [], axes.combinations[0]
    for static in axes.combinations:
        program, out = _program(trial, axes, key, static, platform)
        again, _ = _program(trial, axes, key, static, platform, leaks=True)
        if program != again:
            raise ValueError(
                f"{label(trial)} is not pure: traced twice{_for(static)}, it gave two programs, so it depends on "
                "something besides its key and settings (NumPy's random numbers, the clock, a variable it changes). "
                f"Draw from its key with jax.random. The first difference:\n{_difference(program, again)}"
            )
        found = _fields(trial, out, dims, axes)
        fields = fields or found
        _check_same(trial, fields, found, first, static)
        digests.append(hashlib.sha256(program.encode()).hexdigest())
    unknown = sorted(set(dims) - {field.name for field in fields})
    if unknown:
        known = ", ".join(field.name for field in fields)
        raise ValueError(f"dims names {unknown[0]!r}, which {label(trial)} does not return; its fields are {known}.")
    return Trial(trial, fields, tuple(digests))


def _program(
    trial: Callable, axes: Axes, key: Any, static: Mapping[str, Any], platform: str, *, leaks: bool = False
) -> tuple[str, Any]:
    """The program of one trial as text, and the shapes of what it returns."""

    def one(key, settings):  # a new function each time, so that JAX traces anew
        return trial(key, **static, **settings)

    settings = {name: jax.ShapeDtypeStruct((), values.dtype) for name, values in axes.traced.items()}
    try:
        with jax.checking_leaks() if leaks else contextlib.nullcontext():
            traced = jax.jit(one).trace(jax.ShapeDtypeStruct((), key.dtype), settings)
    except Exception as error:
        said = str(error)
        if said.startswith("Leaked"):
            raise ValueError(
                f"{label(trial)} is not pure: it keeps a traced value in a variable that outlives the call. Return "
                f"what is wanted instead. JAX says:\n{said}"
            ) from error
        blamed = re.search(r"value of the argument settings\['(\w+)'\]", said)
        if blamed or isinstance(error, jax.errors.ConcretizationTypeError | jax.errors.NonConcreteBooleanIndexError):
            raise ValueError(
                f"{label(trial)} needs {f'the value of {blamed[1]!r}' if blamed else 'a value'} while it is being "
                "compiled (for a shape, an `if` or a Python number): give that setting in static= instead of grid, or "
                f"use jnp.where and jax.lax. JAX says: {said.splitlines()[0]}"
            ) from error
        raise
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    if traced.jaxpr.effects or re.search(r"custom_call @\S*callback", text):
        raise ValueError(
            f"{label(trial)} calls back into Python (jax.debug.print, io_callback or pure_callback), which a sweep "
            "can neither repeat nor check, and which stops an accelerator. Return what is wanted instead; to debug, "
            "call the trial by itself."
        )
    return text, traced.out_info


def _fields(trial: Callable, out: Any, dims: Mapping[str, Sequence[str]], axes: Axes) -> tuple[Field, ...]:
    """The fields of a trial's results."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(out)
    if not leaves:
        raise ValueError(f"{label(trial)} returns nothing; return numbers or arrays by name, as a dict or NamedTuple.")
    fields = []
    for path, leaf in leaves:
        name = jax.tree_util.keystr(path, simple=True, separator=".") or "value"
        dtype = str(leaf.dtype)
        if dtype not in DTYPES:
            raise ValueError(f"{label(trial)} returns {name!r} of type {dtype}, which no store holds; convert it.")
        if name in (*axes.names, *RESERVED) or not re.fullmatch(r"\w[\w .-]*", name):
            raise ValueError(f"{label(trial)} returns a field {name!r}, a name that is taken or unfit; rename it.")
        given = tuple(dims.get(name, ()))
        own = given or tuple(f"{name}_{i}" for i in range(len(leaf.shape)))
        if len(own) != len(leaf.shape) or len(set(own) | set(axes.names)) < len(own) + len(axes.names):
            raise ValueError(
                f"dims[{name!r}] is {given}, but {name!r} has shape {leaf.shape}; give each of its axes a name that "
                f"no other has ({', '.join(axes.names)} are taken)."
            )
        fields.append(Field(name, tuple(leaf.shape), dtype, own))
    names = [field.name for field in fields]
    if len(set(names)) < len(names):
        raise ValueError(f"{label(trial)} returns two fields by one name: {', '.join(names)}; rename them.")
    lengths: dict[str, int] = {}
    for field in fields:
        for dim, n in zip(field.dims, field.shape, strict=True):
            if lengths.setdefault(dim, n) != n or dim in names:
                raise ValueError(f"dims gives {dim!r} to axes of other lengths or to a field; rename one of them.")
    return tuple(fields)


def _check_same(
    trial: Callable, first: Sequence[Field], other: Sequence[Field], at: Mapping[str, Any], here: Mapping[str, Any]
) -> None:
    """Raise if a choice of the static axes changes what is returned, naming the field."""
    before, after = ({field.name: (field.shape, field.dtype) for field in some} for some in (first, other))
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            was, now = (
                f"{found[name][1]}{list(found[name][0])}" if name in found else "missing" for found in (before, after)
            )
            raise ValueError(
                f"{label(trial)} returns another {name!r} for other settings: {was}{_for(at)}, {now}{_for(here)}. "
                "Give it one shape and type (pad it), or run one sweep for each."
            )


def _for(static: Mapping[str, Any]) -> str:
    """Which choice of the static axes is meant, where there are any."""
    return " for " + ", ".join(f"{name}={value!r}" for name, value in static.items()) if static else ""


def _difference(a: str, b: str) -> str:
    """The first line in which two programs differ, in both."""
    lines = zip_longest(a.splitlines(), b.splitlines(), fillvalue="")
    before, after = next((x, y) for x, y in lines if x != y)
    return f"- {before.strip()[:160]}\n+ {after.strip()[:160]}"


def is_key(key: Any) -> bool:
    """Whether this is one typed key."""
    return hasattr(key, "dtype") and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and np.shape(key) == ()
