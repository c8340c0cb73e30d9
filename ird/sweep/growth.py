"""A sweep that grows: more seeds, or more values at the end of an axis, and what is done stays as it is.

Blocks keep their shape and their place, so only those at an old end that were not full are computed again.  Their done
marks go first; what describes the store as a whole is written last, and until then it is the store of before.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ird.sweep import zarr_files as zarr
from ird.sweep.axes import Axes, Blocks
from ird.sweep.given import Cases
from ird.sweep.opening import SAME, check_writable
from ird.sweep.stores import Store, open_store
from ird.sweep.trials import Trial

__all__ = ["extend_store"]
__dir__ = __all__.copy

GROWING = {"static", "settings", "num_seeds", "program", "cases"}  # what may differ, if it only grows


def extend_store(path: Path, wanted: Mapping[str, Any], axes: Axes, examined: Trial, cases: Cases | None) -> None:
    """Let the store at a path be that of a larger sweep, if it is that of the same sweep with less of each axis.

    Any other store is left as it is, and so is a place without one.

    Args:
        path: where the store is.
        wanted: what the results of the larger sweep follow from.
        axes: what it varies.
        examined: its trial.
        cases: its cases.

    Raises:
        OSError: if the store cannot be written; it is then that of before.
    """
    if not (path / zarr.METADATA).exists():
        return
    check_writable(path)
    with _alone(path):
        store = open_store(path)
        if not _is_part(store, wanted, examined, cases):
            return
        identity = dict(wanted)
        if "processor" in store.identity:
            identity["processor"] = store.identity["processor"]
        larger = Store(path, Blocks(axes, store.blocks.chunk), store.lanes, store.fields, identity)
        for number in _not_full(store.blocks, axes):
            store.forget(number)
        for name, data in larger.frame():
            zarr.publish({path / name: data})


def _is_part(store: Store, wanted: Mapping[str, Any], examined: Trial, cases: Cases | None) -> bool:
    """Whether a store is that of a sweep of which the wanted one has all, and more."""
    known, axes = store.identity, store.blocks.axes
    if any(known.get(name) != wanted.get(name) for name in SAME if name not in GROWING):
        return False
    if known["num_seeds"] > wanted["num_seeds"] or all(known.get(name) == wanted.get(name) for name in GROWING):
        return False
    for table in ("static", "settings"):
        if any(known[table][name] != values[: len(known[table][name])] for name, values in wanted[table].items()):
            return False
    if cases is not None and cases.digest(axes.num_seeds) != known["cases"]:
        return False
    digests = np.array(examined.digests, object).reshape([len(v) for v in wanted["static"].values()])
    before = digests[tuple(slice(len(values)) for values in axes.static.values())]
    return hashlib.sha256("".join(np.ravel(before)).encode()).hexdigest() == known["program"]


def _not_full(blocks: Blocks, axes: Axes) -> list[int]:
    """The blocks at an end of an axis that were smaller than there is room for now."""
    places = np.arange(blocks.count).reshape(blocks.grid)
    found: set[int] = set()
    fixed = len(axes.static)
    for i, (before, after, chunk) in enumerate(zip(blocks.axes.inner, axes.inner, blocks.chunk, strict=True)):
        if after > before and before % chunk:
            found.update(int(number) for number in np.ravel(places.take(-1, axis=fixed + i)))
    return sorted(found)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Of several runs that let a store grow one does it at a time, where the file system has locks."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            handle = os.open(path, os.O_RDONLY)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
