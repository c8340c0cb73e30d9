"""Which store a run goes on with: that of the same sweep, or a new one in an empty place.

Several runs may come at the same moment, in one process or in many.  A directory that is not there is made beside
its place and renamed, all at once.  One that is there (a mounted volume, a link, ".") is filled where it is, what
describes the store as a whole last: until then it is no store, and of several runs one writes it.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ird.sweep import zarr_files as zarr
from ird.sweep.axes import Axes
from ird.sweep.given import NOTHING, Cases, Given
from ird.sweep.stores import DONE, VERSION, Store, open_store
from ird.sweep.trials import Trial

__all__ = ["begin", "check_writable", "find_store", "identity", "is_whole"]
__dir__ = __all__.copy

# What must be the same for a run to go on with a store, and what to say when it is not.
SAME = {
    "version": "format of the store",
    "axes": "axes, in order",
    "static": "static settings",
    "settings": "settings",
    "num_seeds": "number of seeds",
    "key": "key",
    "given": "what every trial is given (digest)",
    "cases": "cases (digest)",
    "precision": "default precision",
    "fields": "fields of the results",
    "program": "code version of the trial (digest of its program)",
    "jax": "version of jax",
    "jaxlib": "version of jaxlib",
    "device": "kind of device",
}
VOLUME = "lost+found"  # what a file system's own directory holds when it is empty


def identity(
    trial: Trial,
    name: str,
    axes: Axes,
    key: Any,
    device: str,
    processor: str = "",
    given: Given = NOTHING,
    cases: Cases | None = None,
) -> dict[str, Any]:
    """Everything that the results of a sweep follow from, as JSON has it.

    Args:
        trial: the trial.
        name: what to call it.
        axes: what is varied.
        key: the key of the sweep.
        device: the kind of device that computes.
        processor: the make and the features of the processor, where that is the device.
        given: what every trial gets.
        cases: the cases of a map.
    """
    found = {
        "version": VERSION,
        "trial": name,
        "axes": list(axes.names),
        "static": {name: list(values) for name, values in axes.static.items()},
        "settings": {name: [_number(v) for v in values.tolist()] for name, values in axes.settings.items()},
        "num_seeds": axes.num_seeds,
        "key": [str(jax.random.key_impl(key)), *np.asarray(jax.random.key_data(key)).ravel().tolist()],
        "precision": str(jax.numpy.result_type(float)),
        "fields": {f.name: {"dtype": f.dtype, "shape": list(f.shape), "dims": list(f.dims)} for f in trial.fields},
        "program": trial.digest,
        "jax": jax.__version__,
        "jaxlib": metadata.version("jaxlib"),
        "device": device,
    }
    found |= {"given": given.digest} if given.digest else {}
    found |= {"cases": cases.digest()} if cases else {}
    found |= {"processor": processor} if processor else {}
    return json.loads(json.dumps(found))


def _number(value: Any) -> Any:
    """A number for JSON, which has no infinity."""
    return str(value) if value in (float("inf"), float("-inf")) else value


def find_store(path: Path, wanted: Mapping[str, Any]) -> Store | None:
    """The store at a path, once it is known to belong to the wanted sweep; None where there is none yet.

    Raises:
        ValueError: if something else is there, naming what differs.
        OSError: if one cannot write there.
    """
    check_writable(path)
    if not path.exists() or (path.is_dir() and not (path / zarr.METADATA).exists() and _vacant(path, wanted)):
        return None
    if not (path / zarr.METADATA).exists():
        raise ValueError(
            f"{path} holds no sweep ({zarr.METADATA} is missing), and it is not empty: "
            f"{_brief(sorted(os.listdir(path)))}. Give another store=, or remove what is there."
        )
    store = open_store(path)
    changed = [
        f"  {title}: {_brief(store.identity.get(name))} in the store, {_brief(wanted.get(name))} now"
        for name, title in (SAME | {"num_seeds": f"number of {wanted['axes'][-1]}s"}).items()
        if store.identity.get(name) != wanted.get(name)
    ]
    if changed:
        raise ValueError(
            f"{path} was written by another sweep, so its results and new ones would not belong together:\n"
            + "\n".join(changed)
            + "\nGive another store=, or delete this one to start over (extend=True adds seeds, and values at the end "
            "of an axis, and changes none that are there)."
        )
    return store


def _vacant(path: Path, wanted: Mapping[str, Any]) -> bool:
    """Whether a directory holds nothing, or no more than a run of this sweep has put there to make it a store."""
    coordinates = wanted["axes"]
    arrays = (*coordinates, *wanted["fields"], DONE)
    frame = {f"{name}/{zarr.METADATA}" for name in arrays} | {f"{name}/c/0" for name in coordinates}
    for folder, inner, files in os.walk(path):
        inside = Path(folder).relative_to(path)
        inner[:] = [name for name in inner if not name.startswith(".") and (inside.parts or name != VOLUME)]
        if not inside.parts and not set(inner) <= set(arrays):
            return False
        if any(not name.startswith(".") and (inside / name).as_posix() not in frame for name in files):
            return False
    return True


def begin(store: Store) -> Store:
    """The store on the disk: the one that is there, or this one, made.

    Raises:
        ValueError: if that of another sweep is there, or the file system takes two of its arrays for one.
        OSError: if it cannot be made.
    """
    found = find_store(store.path, store.identity)
    if found is None:
        try:
            _make(store)
        except OSError as error:
            found = find_store(store.path, store.identity)
            if found is None:
                raise type(error)(error.errno, f"cannot make the store {store.path} ({error.strerror})") from error
        found = find_store(store.path, store.identity)
    if found is None:  # removed at this very moment
        raise FileNotFoundError(f"cannot make the store {store.path}: something removes it; give another store=.")
    _mend(found)
    _check_told_apart(found)
    return found


def _make(store: Store) -> None:
    """Make an empty store, or leave that which another run makes at the same time.

    Raises:
        OSError: if it cannot be written, or another run was first.
    """
    path = Path(os.path.realpath(store.path))  # a link may point to what is not there yet
    frame = dict(store.frame())
    if not path.exists():
        zarr.make_directory(path.parent)
        begun = zarr.partial_name(path)
        try:
            zarr.publish({begun / name: data for name, data in frame.items()})
            os.rename(begun, path)
        except OSError:
            shutil.rmtree(begun, ignore_errors=True)
            if not path.is_dir():
                raise
        else:
            zarr.sync_directory(path.parent)
            return
    whole = frame.pop(zarr.METADATA)
    for name, data in frame.items():
        if (path / zarr.METADATA).exists():
            return
        zarr.publish({path / name: data})
    zarr.publish_first(path / zarr.METADATA, whole)


def _mend(store: Store) -> None:
    """Write anew what a store must hold besides results, where it is missing or damaged, and remove what was begun.

    Two runs that fill one place may cut it up differently; the store is as the one says that was first.
    """
    for name, data in store.frame():
        path = store.path / name
        if name != zarr.METADATA and not is_whole(path, data):
            zarr.publish({path: data})
        zarr.remove_partials(path)
    path = Path(os.path.realpath(store.path))
    if path.name:
        zarr.remove_partials(path)


def is_whole(path: Path, data: np.ndarray) -> bool:
    """Whether a file of the frame says what it must; further attributes of an array do no harm."""
    try:
        there = path.read_bytes()
        if there == data.tobytes() or path.name != zarr.METADATA:
            return there == data.tobytes()
        said, wanted = json.loads(there), json.loads(data.tobytes())
        return {**said, "attributes": {}} == {**wanted, "attributes": {}}
    except (OSError, ValueError, TypeError):
        return False


def _check_told_apart(store: Store) -> None:
    """Raise if the file system takes two of the store's arrays for one, as some do with "V" and "v"."""
    before: dict[str, str] = {}
    for name in (*store.blocks.axes.names, *(field.name for field in store.fields), DONE):
        other = before.setdefault(name.casefold(), name)
        if other != name and os.path.samefile(store.path / other, store.path / name):
            raise ValueError(
                f"the file system of {store.path} takes {other!r} and {name!r} for one name; rename one of them, and "
                f"delete {store.path}, which holds neither."
            )


def check_writable(path: Path) -> None:
    """Raise unless files can be written at a path, or where it is to be made.

    Raises:
        OSError: naming the place.
    """
    there = path
    with contextlib.suppress(OSError):
        while not there.exists():
            there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there, prefix="."):  # hidden: an empty place stays one for others who look
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise type(error)(
            error.errno, f"cannot write the store {path} ({reason}, in {there}); choose another"
        ) from None


def _brief(value: Any) -> str:
    """A value of the identity, short enough for a message."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 240 else text[:200] + f"... ({len(text)} characters)"
