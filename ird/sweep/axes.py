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

from mdps.checks import check_count

__all__ = [
    "Axes",
    "Blocks",
    "Index",
    "Values",
    "brief",
    "check_axes",
    "check_names",
    "chunk_of",
    "label",
    "lost",
    "trials_of",
]
__dir__ = __all__.copy

SEED = "seed"
RESERVED = (SEED, "key", "done")

Index = tuple[int, ...]
Values = Sequence[Any] | np.ndarray | jax.Array  # of a setting


@dataclass(frozen=True)
class Axes:
    """What is varied, outermost first.

    Attributes:
        static: values that are Python objects, by name; each combination is compiled for itself.
        settings: numbers that are traced, by name, as they were given.
        num_seeds: seeds 0, 1, ... of every combination.
        last: name of the innermost axis: "seed", or "case" where cases stand in place of seeds.
    """

    static: dict[str, tuple]
    settings: dict[str, np.ndarray]
    num_seeds: int
    last: str = SEED

    @property
    def names(self) -> tuple[str, ...]:
        """Every axis, outermost first."""
        return (*self.static, *self.settings, self.last)

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
        return trials_of(*self.along(number), width)

    def along(self, number: int) -> tuple[dict[str, np.ndarray], range]:
        """The values of each setting that a block has, and its seeds."""
        *box, seeds = self.box(number)[len(self.axes.static) :]
        settings = {name: v[s] for (name, v), s in zip(self.axes.traced.items(), box, strict=True)}
        return settings, range(seeds.start, seeds.stop)


def trials_of(settings: Mapping[str, np.ndarray], seeds: range, width: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Settings and seed of each trial of a box, `[width]` each, the seeds innermost; the last trial fills the rest.

    Example:
        >>> trials_of({"scale": np.array([0.5, 2.0])}, range(2), 5)
        ({'scale': array([0.5, 0.5, 2. , 2. , 2. ])}, array([0, 1, 0, 1, 1], dtype=uint32))
    """
    along = [*settings.values(), np.arange(seeds.start, seeds.stop)]
    index = np.meshgrid(*(np.arange(len(values)) for values in along), indexing="ij")
    flat = [i.ravel() for i in index]
    flat = [np.concatenate([i, np.full(width - len(i), i[-1])]) for i in flat]
    chosen = {name: values[i] for (name, values), i in zip(settings.items(), flat[:-1], strict=True)}
    return chosen, along[-1][flat[-1]].astype(np.uint32)


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


def check_axes(
    trial: Callable,
    grid: Mapping[str, Values],
    static: Mapping[str, Values],
    num_seeds: int,
    given: Sequence[str] = (),
) -> Axes:
    """The axes, once they are known to fit the trial.

    Args:
        trial: the trial, whose arguments the settings are.
        grid: values of the settings that are traced.
        static: values of the others.
        num_seeds: how many seeds.
        given: names of the arguments that are the same for every trial.

    Raises:
        ValueError: for names that the trial does not take or that are given twice, settings that it needs and does
            not get, and values that are missing, of the wrong kind, not numbers, or beyond JAX's default precision.
    """
    for name, table in (("grid", grid), ("static", static)):
        if not isinstance(table, Mapping):
            raise ValueError(f"{name} is a {type(table).__name__}; give a mapping from setting to its values.")
    check_names(trial, (*grid, *static), given)
    twice = sorted(set(grid) & set(static))
    if twice:
        raise ValueError(f"{twice[0]!r} is both in grid and in static; a setting is traced or static, not both.")
    seeds = check_count("num_seeds", num_seeds)
    if seeds >= 2**32:
        raise ValueError(f"num_seeds is {seeds}, and seeds are numbered below 2**32; fold more into the key.")
    kept = {name: _check_static(name, values) for name, values in static.items()}
    return Axes(kept, {name: _check_setting(name, values) for name, values in grid.items()}, seeds)


def brief(value: Any) -> str:
    """A value in a message: at most a line of it."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a value that cannot even be shown
        text = f"a {type(value).__name__}"
    return text if len(text) <= 120 else f"{text[:100]}... ({type(value).__name__})"


def lost(values: np.ndarray) -> np.ndarray:
    """Where JAX's default precision makes another number of a number: infinite, zero, or cut to fewer bits.

    Example:
        >>> lost(np.array([1.0, 1e39, 1e-50, np.inf])), lost(np.array([2**31 - 1, 2**31]))
        (array([False,  True,  True, False]), array([False,  True]))
    """
    kind = jax.dtypes.canonicalize_dtype(values.dtype)
    if values.dtype.kind == "c":
        return np.asarray(lost(np.real(values)) | lost(np.imag(values)))
    with np.errstate(all="ignore"):
        cast = values.astype(kind)
    if values.dtype.kind in "iu":
        return np.asarray(cast != values)
    if values.dtype.kind != "f" or kind == values.dtype:
        return np.zeros(values.shape, bool)
    beyond = np.isinf(cast) | (values != 0) & (np.abs(cast) < np.finfo(kind).tiny)
    return np.asarray(np.isfinite(values) & beyond)


def check_names(trial: Callable, settings: Sequence[Any], given: Sequence[str] = (), first: str = "key") -> None:
    """Raise unless a trial takes what it will be given, and gets what it needs.

    Args:
        trial: the trial.
        settings: names of settings.
        given: names of arguments that are the same for every trial.
        first: what its first argument is.

    Raises:
        ValueError: naming the argument.
    """
    import inspect

    kinds = inspect.Parameter
    for name in settings:
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"{brief(name)} cannot name a setting; give the name of one of the trial's arguments.")
        if name in RESERVED or name.startswith("__"):
            raise ValueError(f"{name!r} is the name of something else in every sweep; rename the trial's argument.")
        if name in given:
            raise ValueError(f"{name!r} is both a setting and in given; what is given is the same for every trial.")
    try:
        parameters = list(inspect.signature(trial).parameters.values())
    except ValueError:  # a built-in: nothing to be known
        return
    if not parameters or parameters[0].kind not in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD):
        raise ValueError(
            f"{label(trial)} takes no {first}; its first argument must be one: {_kind(trial)}({first}, *, ...)."
        )
    takes = {p.name: p for p in parameters[1:] if p.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)}
    if not any(p.kind is kinds.VAR_KEYWORD for p in parameters):
        known = f"its settings are {', '.join(takes)}" if takes else "it has none"
        unknown = [name for name in settings if name not in takes]
        if unknown:
            raise ValueError(f"{label(trial)} has no setting {', '.join(map(repr, unknown))}; {known}.")
        unknown = [name for name in given if name not in takes]
        if unknown:
            raise ValueError(f"given holds {unknown[0]!r}, which {label(trial)} does not take; {known}.")
    sources = "neither grid nor static gives" if first == "key" else "given does not give"
    _check_needs(trial, [p for p in parameters[1:] if p.default is kinds.empty], (*settings, *given), sources)


def _check_needs(trial: Callable, needed: Sequence[Any], names: Sequence[str], sources: str) -> None:
    """Raise if a trial needs an argument that is not among some names, or takes one by its place alone."""
    without = [
        p.name
        for p in needed
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and (p.kind is p.POSITIONAL_ONLY or p.name not in names)
    ]
    if without:
        raise ValueError(
            f"{label(trial)} needs {', '.join(map(repr, without))}, which {sources} by name; add "
            + ("the values, [one] if it does not vary." if "grid" in sources else "it there.")
        )


def _check_setting(name: str, values: Values) -> np.ndarray:
    found = _row(f"grid[{name!r}]", values)
    if found.dtype.kind not in "biuf" or found.dtype.itemsize > 8:
        raise ValueError(
            f"grid[{name!r}] holds {brief(found.tolist()[0])}, which cannot be traced ({found.dtype}): settings in "
            f"grid are real numbers of at most 64 bits. Give other Python objects as static={{{name!r}: [...]}}; each "
            "is compiled for itself."
        )
    if found.dtype.kind == "f" and np.isnan(found).any():
        raise ValueError(f"grid[{name!r}] is NaN at index {int(np.isnan(found).argmax())}; give numbers.")
    if lost(found).any():
        kind, worst = jax.dtypes.canonicalize_dtype(found.dtype), found[lost(found)][:1]
        with np.errstate(all="ignore"):
            became = worst.astype(kind)[0]
        raise ValueError(
            f"grid[{name!r}] holds {worst[0]}, which {kind} cannot (the trial would get {became}); use numbers that it "
            "holds, in another unit say, or float64 mode."
        )
    return found


def _row(what: str, values: Any) -> np.ndarray:
    """The values of a setting as an array of one axis, whatever they are."""
    wanted = "give its values as a sequence, [value] for one"
    if isinstance(values, str | bytes | Mapping | set | frozenset) or not hasattr(values, "__len__"):
        raise ValueError(f"{what} is {brief(values)}; {wanted}.")
    if np.ma.is_masked(values):
        raise ValueError(f"{what} has masked values; {wanted}, those alone that are to be tried.")
    try:
        found = np.asarray(values)
    except Exception as error:  # ragged, traced, or an object that will not be an array
        raise ValueError(f"{what} is {brief(values)}, which is no row of numbers ({error}); {wanted}.") from error
    if found.ndim != 1 or not found.size:
        raise ValueError(f"{what} has shape {found.shape}; give a row of at least one number.")
    return found


def _check_static(name: str, values: Values) -> tuple:
    plain = isinstance(values, str | bytes | Mapping | set | frozenset) or not hasattr(values, "__len__")
    if plain or np.ndim(values if isinstance(values, np.ndarray) else 0) > 1 or getattr(values, "shape", None) == ():
        raise ValueError(f"static[{name!r}] is {brief(values)}; give its values as a sequence, [value] for one.")
    found = tuple(v.item() if isinstance(v, np.generic) else v for v in values)
    if not found:
        raise ValueError(f"static[{name!r}] is empty; give at least one value.")
    for value in found:
        if not isinstance(value, str | bool | int | float) or value != value:
            raise ValueError(
                f"static[{name!r}] holds {brief(value)}; give strings or Python numbers, which can label an axis, and "
                "let the trial choose by them."
            )
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError(f"static[{name!r}] holds {value}, which 64 bits cannot; use a smaller number or a string.")
        if isinstance(value, str) and any(0xD800 <= ord(letter) < 0xE000 for letter in value):
            raise ValueError(f"static[{name!r}] holds {value!r}, which UTF-8 cannot; use letters that it can write.")
    if len({type(v) for v in found}) > 1:
        raise ValueError(f"static[{name!r}] mixes kinds of values, {found}; give all strings or all numbers of a kind.")
    if len(set(found)) < len(found):
        raise ValueError(f"static[{name!r}] holds a value twice: {found}.")
    return found


def label(trial: Callable) -> str:
    """What to call a trial in a message."""
    inner = getattr(trial, "func", trial)  # a functools.partial, or what a map calls
    return f"{_kind(trial)} {getattr(inner, '__qualname__', type(inner).__name__)}"


def _kind(trial: Callable) -> str:
    """What kind of function it is: a trial, unless it says something else."""
    return getattr(trial, "kind", "trial")
