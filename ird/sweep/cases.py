"""A function over cases: posteriors, plans or maps of one's own in place of seeds, with the promises of a sweep."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from ird.sweep.axes import Axes, check_names
from ird.sweep.devices import check_devices, check_shard
from ird.sweep.fields import check_dims
from ird.sweep.given import check_cases, check_given
from ird.sweep.processors import program_folder
from ird.sweep.runner import Asked, Report, carry_out, check_engine
from ird.sweep.stores import check_store_path
from mdps.checks import check_truth

__all__ = ["OfCase", "map"]
__dir__ = __all__.copy

CASE = "case"


class OfCase:
    """A function of a case as a trial, which has no use for its key.

    Args:
        func: the function.
    """

    kind = "function"

    def __init__(self, func: Callable[..., Any]):
        self.func = func

    @property
    def __signature__(self) -> inspect.Signature:
        """The function's."""
        return inspect.signature(self.func)

    def __call__(self, key: Any, *, case: Any, **given: Any) -> Any:
        """What the function makes of the case."""
        return self.func(case, **given)


def map(
    function: Callable[..., Any],
    cases: Any,
    *,
    store: str | Path,
    executor: Any = None,
    given: Any = {},  # noqa: B006 - it is read only
    dims: Mapping[str, Sequence[str]] | None = None,
    workers: int | None = None,
    write: str = "caller",
    stop_at_error: bool = False,
    extend: bool = False,
    cache: str | Path | None = None,
    block: int | None = None,
    memory: int | None = None,
    devices: int | Sequence[Any] | None = None,
    shard: tuple[int, int] | str = (0, 1),
    progress: bool = True,
) -> Report:
    """Call a function for every case, and keep the results: a sweep whose last axis is "case" in place of "seed".

    All that `run` promises holds: the function is compiled once and mapped over blocks of cases, results are written
    block by block, and killed and started again it goes on.  What the cases are is in the store's identity.

    Args:
        function: a pure function, `function(case, *, ...)`, that returns numbers or arrays of fixed shape by name.
        cases: a list of pytrees of arrays that are alike in structure, shape and type (posteriors, plans, maps); or one
            pytree whose arrays have the cases along their first axis.
        store: as in `run`.
        executor: as in `run`; each block travels with its cases.
        given: a pytree of arrays that every call gets, as in `run`.
        dims: as in `run`.
        workers: as in `run`.
        write: as in `run`.
        stop_at_error: as in `run`.
        extend: as in `run`: the store may be that of fewer cases, of the first of these.
        cache: as in `run`.
        block: as in `run`, in cases.
        memory: as in `run`.
        devices: as in `run`.
        shard: as in `run`.
        progress: as in `run`.

    Returns:
        A `Report`, whose trials are cases.

    Raises:
        ValueError: for cases that are not alike or no arrays, and as `run` does.
        RuntimeError: as `run` does.
        OSError: as `run` does.

    Example:
        >>> import tempfile
        >>> import jax.numpy as jnp
        >>> from ird import sweep
        >>> folder = tempfile.mkdtemp()
        >>> cases = [{"returns": jnp.array([1.0, 4.0])}, {"returns": jnp.array([2.0, 3.0])}]
        >>> report = sweep.map(lambda case, offset: {"worst": case["returns"].min() - offset}, cases,
        ...                    given={"offset": 1.0}, store=folder, progress=False)
        >>> sweep.arrays(folder)["worst"].values.tolist()
        [0.0, 1.0]
    """
    if not callable(function):
        raise ValueError(f"function is a {type(function).__name__}; give a function, function(case, *, ...).")
    check_truth("extend", extend)
    path, trial = check_store_path(store), OfCase(function)
    engine = check_engine(trial, executor, workers, write, stop_at_error, devices)
    found, stacked = check_given(trial, given), check_cases(cases)
    check_names(trial, (), found.names, CASE)
    asked = Asked(
        trial=trial,
        axes=Axes({}, {}, stacked.count, CASE),
        key=jax.random.key(0),
        path=path,
        mesh=check_devices(devices),
        dims=check_dims({} if dims is None else dims),
        block=block,
        memory=memory,
        share=check_shard(shard),
        progress=progress,
        given=found,
        cases=stacked,
        engine=engine,
        by_workers=write == "workers",
        stop=bool(stop_at_error),
        cache=program_folder(cache, path),
        extend=bool(extend),
    )
    return carry_out(asked)
