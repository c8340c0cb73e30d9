"""Pytrees of arrays that a sweep is given: what every trial gets besides its settings, and the cases of a map.

On this side they are NumPy's, in JAX's default precision, so that they can travel and be told apart by their bytes.
"""

import hashlib
import inspect
import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from ird.sweep.axes import brief, label, lost

__all__ = ["NOTHING", "Cases", "Given", "brief_error", "check_cases", "check_given", "check_travels"]
__dir__ = __all__.copy

WHOLE = "given"  # the argument that takes it in one piece


@dataclass(frozen=True)
class Given:
    """What every trial gets.

    Attributes:
        tree: a pytree, its leaves NumPy's.
        whole: whether the trial takes it in one piece, as its argument `given`; else by name.
    """

    tree: Any = field(default_factory=dict)
    whole: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The trial's arguments that it fills."""
        return (WHOLE,) if self.whole else tuple(self.tree)

    @property
    def shapes(self) -> Any:
        """The same pytree of shapes and types."""
        return _shapes(self.tree)

    @property
    def size(self) -> int:
        """Bytes of all its arrays."""
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self.tree))

    @property
    def digest(self) -> str:
        """What tells it from any other; "" if nothing is given."""
        return _digest(self.tree) if jax.tree.leaves(self.tree) else ""


NOTHING = Given()


@dataclass(frozen=True)
class Cases:
    """The cases of a map.

    Attributes:
        tree: a pytree whose leaves have the cases along their first axis, NumPy's.
        count: how many there are.
    """

    tree: Any
    count: int

    @property
    def shapes(self) -> Any:
        """Shapes and types of one case."""
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), self.tree)

    def part(self, numbers: slice | np.ndarray) -> Any:
        """Some of the cases."""
        return jax.tree.map(lambda x: x[numbers], self.tree)

    def digest(self, count: int | None = None) -> str:
        """What tells the first so many cases from any others."""
        return _digest(self.part(slice(count)))


def check_given(trial: Callable, given: Any) -> Given:
    """What every trial gets, once it is known to be arrays that the trial takes.

    Raises:
        ValueError: for leaves that are no numbers, are being traced, or are beyond JAX's default precision, and for a
            pytree that is neither a mapping by the trial's arguments nor taken whole.
    """
    if isinstance(given, dict) and not given:
        return NOTHING
    tree = _numpy("given", given)
    if not jax.tree.leaves(tree):
        raise ValueError(f"given is {brief(given)}, which holds no array; give a pytree of arrays, or leave it out.")
    try:
        takes = WHOLE in inspect.signature(trial).parameters
    except ValueError:  # a built-in: nothing to be known
        takes = False
    named = isinstance(tree, Mapping) and all(isinstance(name, str) and name.isidentifier() for name in tree)
    if not takes and not named:
        raise ValueError(
            f"given is a {type(given).__name__}, but {label(trial)} takes no argument 'given'; add it, or give a "
            "mapping from names of its arguments to pytrees."
        )
    return Given(tree if takes else dict(tree), takes)


def check_cases(cases: Any) -> Cases:
    """The cases of a map, stacked.

    Args:
        cases: a list of pytrees that are alike, or one pytree whose leaves have the cases along their first axis.

    Raises:
        ValueError: for none, for cases that differ in shape, type or structure, and for leaves that are no numbers.
    """
    if isinstance(cases, list):
        tree = _stacked(cases)
    else:
        tree = _numpy("cases", cases)
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    lengths = {jax.tree_util.keystr(path): x.shape[0] if x.ndim else None for path, x in leaves}
    if not leaves or None in lengths.values() or len(set(lengths.values())) > 1:
        found = ", ".join(f"{name or 'itself'}: {'no axis' if n is None else n}" for name, n in lengths.items())
        raise ValueError(
            f"cases is a {type(cases).__name__} whose arrays have no first axis of one length ({found or 'no array'}); "
            "give a list of cases, or one pytree with the cases along the first axis of every array."
        )
    [count] = set(lengths.values())
    if not count:
        raise ValueError("cases is empty; give at least one case.")
    return Cases(tree, int(count))


def _stacked(cases: list) -> Any:
    """A list of cases as one pytree, the list along the first axis."""
    if not cases:
        raise ValueError("cases is empty; give at least one case.")
    trees = [_numpy(f"cases[{i}]", case) for i, case in enumerate(cases)]
    first = jax.tree.structure(trees[0])
    kinds = [(*x.shape, x.dtype) for x in jax.tree.leaves(trees[0])]
    for i, tree in enumerate(trees):
        if jax.tree.structure(tree) != first:
            raise ValueError(
                f"cases[{i}] has another structure than cases[0] (other fields, or other names in what is no array), "
                "and all are computed by one program; make them alike, or map over each kind by itself."
            )
        for (path, x), kind in zip(jax.tree_util.tree_flatten_with_path(tree)[0], kinds, strict=True):
            if (*x.shape, x.dtype) != kind:
                was = f"{kind[-1]}{list(kind[:-1])}"
                raise ValueError(
                    f"cases[{i}]{jax.tree_util.keystr(path)} is {x.dtype}{list(x.shape)}, that of cases[0] is {was}, "
                    "and all are computed by one program; pad them to one shape and type."
                )
    return jax.tree.map(lambda *x: np.stack(x), *trees)


def check_travels(what: str, value: Any) -> bytes:
    """What is sent to a worker, as bytes.

    Raises:
        ValueError: if Python cannot pickle it, or not read it back.
    """
    try:
        data = pickle.dumps(value)
        pickle.loads(data)
    except Exception as error:
        raise ValueError(
            f"{what} cannot be sent to a worker ({type(error).__name__}: {brief_error(error)}): it must be pickled. "
            "Let it consist of functions and classes defined at the top of a module that can be imported."
        ) from error
    return data


def brief_error(error: BaseException) -> str:
    """What an error says, on one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else f"{text[:200]}..."


def _numpy(what: str, tree: Any) -> Any:
    """A pytree with leaves as NumPy has them, in JAX's default precision, once all are known to be numbers."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    found = []
    for path, leaf in leaves:
        name = what + jax.tree_util.keystr(path)
        if isinstance(leaf, Tracer):
            raise ValueError(f"{name} is being traced; call it outside jit, vmap and grad.")
        if isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            raise ValueError(f"{name} is a key; give jax.random.key_data of it, and wrap that in the function.")
        if np.ma.is_masked(leaf):
            raise ValueError(f"{name} has masked values; give numbers.")
        try:
            values = np.asarray(leaf)
        except Exception as error:
            raise ValueError(f"{name} is {brief(leaf)}, which is no array ({brief_error(error)}).") from error
        if values.dtype.kind not in "biufc" or values.dtype.itemsize > 8 * (1 + (values.dtype.kind == "c")):
            raise ValueError(f"{name} is {brief(leaf)}, which is no array of numbers; give numbers in its place.")
        if lost(values).any():
            kind = jax.dtypes.canonicalize_dtype(values.dtype)
            raise ValueError(
                f"{name} holds {values[lost(values)].ravel()[0]}, which {kind} cannot; scale it, or use float64 mode."
            )
        found.append(values.astype(jax.dtypes.canonicalize_dtype(values.dtype)))
    return jax.tree.unflatten(structure, found)


def _shapes(tree: Any) -> Any:
    """Shapes and types of a pytree's arrays."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def _digest(tree: Any) -> str:
    """A digest of every array of a pytree and of where it lies."""
    found = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        shape = "x".join(map(str, leaf.shape))
        found.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {shape} {math.prod(leaf.shape)}\n".encode())
        found.update(np.ascontiguousarray(leaf).data)
    return found.hexdigest()
