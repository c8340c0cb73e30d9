"""The axes of a sweep, and the blocks its trials are divided into.

Every trial has a place on the axes `(static..., settings..., seed)`.  A block is a box of trials with
one choice of the static axes, cut along as few axes as will do: it is one chunk of the store, what one
device computes at a time, and what is lost when a run is killed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

SEED = "seed"
RESERVED = (SEED, "key", "done")

Index = tuple[int, ...]


@dataclass(frozen=True)
class Axes:
    """What is varied, outermost first.

    Attributes:
        static: values that are Python objects, by name; each combination is compiled for itself.
        settings: numbers that are traced, by name, as they were given.
        num_seeds: seeds 0, 1, ... of every combination.
    """

    static: dict[str, tuple]
    settings: dict[str, np.ndarray]
    num_seeds: int

    @property
    def names(self) -> tuple[str, ...]:
        """Every axis, outermost first."""
        return (*self.static, *self.settings, SEED)

    @property
    def shape(self) -> Index:
        """Length of every axis."""
        return (*(len(v) for v in self.static.values()), *self.inner)

    @property
    def inner(self) -> Index:
        """Length of the axes behind the static ones."""
        return (*(len(v) for v in self.settings.values()), self.num_seeds)

    @property
    def combinations(self) -> list[dict[str, Any]]:
        """Every choice of the static axes, in order; one empty choice where there are none."""
        lengths = [len(v) for v in self.static.values()]
        return [
            {name: values[i] for (name, values), i in zip(self.static.items(), place, strict=True)}
            for place in np.ndindex(*lengths)
        ]

    @property
    def traced(self) -> dict[str, np.ndarray]:
        """The settings as they reach the trial: in JAX's default precision."""
        return {
            name: values.astype(jax.dtypes.canonicalize_dtype(values.dtype)) for name, values in self.settings.items()
        }


@dataclass(frozen=True)
class Blocks:
    """The trials of a sweep, divided into boxes of the same shape (smaller ones at the ends of an axis).

    Attributes:
        axes: what is varied.
        chunk: length of a block along `(settings..., seed)`.
    """

    axes: Axes
    chunk: Index

    @property
    def width(self) -> int:
        """Trials of a full block, which one device computes."""
        return math.prod(self.chunk)

    @property
    def grid(self) -> Index:
        """Number of blocks along every axis."""
        lengths = [len(v) for v in self.axes.static.values()]
        return (*lengths, *(-(-n // c) for n, c in zip(self.axes.inner, self.chunk, strict=True)))

    @property
    def count(self) -> int:
        """Number of blocks."""
        return math.prod(self.grid)

    def place(self, number: int) -> Index:
        """The block's position in the grid of blocks: also the name of its chunk in the store."""
        return tuple(int(i) for i in np.unravel_index(number, self.grid))

    def combination(self, number: int) -> int:
        """Which choice of the static axes a block belongs to."""
        return number // math.prod(self.grid[len(self.axes.static) :])

    def box(self, number: int) -> tuple[slice, ...]:
        """Where the block lies on every axis."""
        place, fixed = self.place(number), len(self.axes.static)
        spans = zip(place[fixed:], self.chunk, self.axes.inner, strict=True)
        return (
            *(slice(i, i + 1) for i in place[:fixed]),
            *(slice(i * c, min(i * c + c, n)) for i, c, n in spans),
        )

    def shape(self, number: int) -> Index:
        """Length of the block along every axis."""
        return tuple(s.stop - s.start for s in self.box(number))

    def trials(self, number: int, width: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Settings and seed of each trial of a block, `[width]` each; the last trial is repeated to fill them."""
        box = self.box(number)[len(self.axes.static) :]
        index = np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij")
        flat = [i.ravel() for i in index]
        flat = [np.concatenate([i, np.full(width - len(i), i[-1])]) for i in flat]
        settings = {name: v[i] for (name, v), i in zip(self.axes.traced.items(), flat[:-1], strict=True)}
        return settings, flat[-1].astype(np.uint32)


def chunk_of(lengths: Index, width: int) -> Index:
    """The shape of blocks of at most `width` trials: whole inner axes, an even share of one, one of each outer axis.

    Example:
        >>> chunk_of((4, 3, 200), 500), chunk_of((4, 3, 200), 60), chunk_of((4, 3, 200), 10_000)
        ((1, 2, 200), (1, 1, 50), (4, 3, 200))
    """
    chunk = []
    for n in reversed(lengths):
        pieces = -(-n // max(1, min(n, width)))
        chunk.append(-(-n // pieces))
        width //= n
    return tuple(reversed(chunk))


def check_axes(trial: Callable, grid: Mapping[str, Sequence], static: Mapping[str, Sequence], num_seeds: int) -> Axes:
    """The axes, once they are known to fit the trial.

    Raises:
        ValueError: for names that the trial does not take or that are given twice, settings that it needs and does
            not get, and values that are missing, of the wrong kind or not numbers.
    """
    for name, table in (("grid", grid), ("static", static)):
        if not isinstance(table, Mapping):
            raise ValueError(f"{name} is a {type(table).__name__}; give a mapping from setting to its values.")
    _check_names(trial, list(grid), list(static))
    if not isinstance(num_seeds, int | np.integer) or isinstance(num_seeds, bool) or not 1 <= num_seeds < 2**32:
        raise ValueError(f"num_seeds is {num_seeds!r}; give a whole number ≥ 1 (each seed is one trial per setting).")
    kept = {name: _check_static(name, values) for name, values in static.items()}
    return Axes(kept, {name: _check_setting(name, values) for name, values in grid.items()}, int(num_seeds))


def _check_names(trial: Callable, grid: list[str], static: list[str]) -> None:
    import inspect

    kinds = inspect.Parameter
    twice = sorted(set(grid) & set(static))
    if twice:
        raise ValueError(f"{twice[0]!r} is both in grid and in static; a setting is traced or static, not both.")
    for name in (*grid, *static):
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"{name!r} cannot name a setting; give the name of one of the trial's arguments.")
        if name in RESERVED:
            raise ValueError(f"{name!r} is the name of something else in every sweep; rename the trial's argument.")
    try:
        parameters = list(inspect.signature(trial).parameters.values())
    except ValueError:  # a built-in: nothing to be known
        return
    if not parameters or parameters[0].kind not in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD):
        raise ValueError(f"{label(trial)} takes no key; its first argument must be one: trial(key, *, ...).")
    takes = {p.name: p for p in parameters[1:] if p.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)}
    if not any(p.kind is kinds.VAR_KEYWORD for p in parameters):
        unknown = [name for name in (*grid, *static) if name not in takes]
        if unknown:
            known = f"its settings are {', '.join(takes)}" if takes else "it has none"
            raise ValueError(f"{label(trial)} has no setting {', '.join(map(repr, unknown))}; {known}.")
    needed = [p.name for p in takes.values() if p.default is kinds.empty and p.name not in (*grid, *static)]
    if needed:
        raise ValueError(
            f"{label(trial)} needs {', '.join(map(repr, needed))}, which neither grid nor static gives; add the "
            f"values, [one] if it does not vary."
        )


def _check_setting(name: str, values: Sequence) -> np.ndarray:
    if isinstance(values, str | bytes) or np.ndim(values) == 0:
        raise ValueError(f"grid[{name!r}] is {values!r}; give its values as a sequence, [value] for one.")
    found = np.asarray(values)
    if found.dtype.kind not in "biuf":
        raise ValueError(
            f"grid[{name!r}] holds {found.ravel()[:1].tolist()[0]!r}, which cannot be traced: settings in grid are "
            f"numbers. Give other Python objects as static={{{name!r}: [...]}}; each is compiled for itself."
        )
    if found.ndim != 1 or not found.size:
        raise ValueError(f"grid[{name!r}] has shape {found.shape}; give a row of at least one number.")
    if found.dtype.kind == "f" and np.isnan(found).any():
        raise ValueError(f"grid[{name!r}] is NaN at index {int(np.isnan(found).argmax())}; give numbers.")
    kind = jax.dtypes.canonicalize_dtype(found.dtype)
    if found.dtype.kind in "iu" and (found.astype(kind) != found).any():
        worst = found[found.astype(kind) != found][0]
        raise ValueError(f"grid[{name!r}] holds {worst}, which {kind} cannot; use smaller numbers or float64 mode.")
    return found


def _check_static(name: str, values: Sequence) -> tuple:
    if isinstance(values, str | bytes) or np.ndim(np.asarray(values, object)) == 0:
        raise ValueError(f"static[{name!r}] is {values!r}; give its values as a sequence, [value] for one.")
    found = tuple(v.item() if isinstance(v, np.generic) else v for v in values)
    if not found:
        raise ValueError(f"static[{name!r}] is empty; give at least one value.")
    for value in found:
        if not isinstance(value, str | bool | int | float):
            raise ValueError(
                f"static[{name!r}] holds {value!r}; give strings or Python numbers, which can label an axis, and "
                "let the trial choose by them."
            )
    if len({type(v) for v in found}) > 1:
        raise ValueError(f"static[{name!r}] mixes kinds of values, {found}; give all strings or all numbers of a kind.")
    if len(set(found)) < len(found):
        raise ValueError(f"static[{name!r}] holds a value twice: {found}.")
    return found


def label(trial: Callable) -> str:
    """What to call a trial in a message."""
    inner = getattr(trial, "func", trial)  # a functools.partial
    return f"trial {getattr(inner, '__qualname__', type(inner).__name__)}"
