"""The store of a sweep: which sweep it belongs to, which blocks are done, and their results.

A store is a Zarr group that xarray opens as one dataset: an array for each field, with the axes of the
sweep before its own, a coordinate for each axis, and `done`, which says of every trial whether its
results are there.  A block's chunk of `done` is written when its results are on the disk: that is its
done mark.  What the sweep was is in the group's attributes, and a sweep that differs is refused.
"""

import contextlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ird.sweep import zarr_files as zarr
from ird.sweep.axes import SEED, Axes, Blocks, Index
from ird.sweep.trials import Field, Trial

DONE = "done"
VERSION = 1

# What must be the same for a run to go on with a store, and what to say when it is not.
SAME = {
    "version": "format of the store",
    "axes": "axes, in order",
    "static": "static settings",
    "settings": "settings",
    "num_seeds": "number of seeds",
    "key": "key",
    "precision": "default precision",
    "fields": "fields of the results",
    "program": "code version of the trial (digest of its program)",
    "jax": "version of jax",
    "jaxlib": "version of jaxlib",
    "device": "kind of device",
}


def identity(trial: Trial, name: str, axes: Axes, key: Any, device: str) -> dict[str, Any]:
    """Everything that the results of a sweep follow from, as JSON has it."""
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
    return json.loads(json.dumps(found))


def _number(value: Any) -> Any:
    """A number for JSON, which has no infinity."""
    return str(value) if value in (float("inf"), float("-inf")) else value


@dataclass(frozen=True)
class Store:
    """A store on the disk.

    Attributes:
        path: its directory.
        blocks: the axes and how they are cut into chunks.
        lanes: trials that a device computes at once: kept, so that whoever goes on computes the very same.
        fields: the fields of the results.
        identity: what the results follow from.
    """

    path: Path
    blocks: Blocks
    lanes: int
    fields: tuple[Field, ...]
    identity: dict[str, Any]

    def done(self) -> np.ndarray:
        """Which blocks are done, `[blocks.count]`."""
        found = np.zeros(self.blocks.grid, bool)
        root = self.path / DONE / "c"
        for folder, _, files in os.walk(root):
            prefix = Path(folder).relative_to(root).parts
            for file in files:
                if file.isdigit():
                    found[(*map(int, prefix), int(file))] = True
        return found.ravel()

    def write(self, number: int, results: Mapping[str, np.ndarray]) -> None:
        """Write the results of a block, `[width, ...]` by field, then its done mark.

        Raises:
            OSError: if that cannot be written; the block is then not done.
        """
        shape = self.blocks.shape(number)
        count = int(np.prod(shape))
        data = {}
        for field in self.fields:
            values = np.asarray(results[field.name])[:count].reshape(*shape, *field.shape)
            data[self._file(field, number)] = zarr.encode(values, self._chunk(field))
        mark = self._file(None, number)
        zarr.publish(data)
        zarr.publish({mark: zarr.encode(np.ones(shape, bool), self._chunk(None))})
        for file in (*data, mark):
            zarr.remove_partials(file)

    def read(self, number: int, field: Field | None) -> np.ndarray:
        """A field of a block (None: whether it is done), without what lies beyond the ends of the axes."""
        dtype = "bool" if field is None else field.dtype
        chunk = zarr.decode(self._file(field, number), dtype, self._chunk(field))
        return chunk[tuple(slice(n) for n in self.blocks.shape(number))]

    def not_a_number(self) -> dict[str, int]:
        """How many finished trials hold a NaN, by field; fields that cannot are left out."""
        counts = {f.name: 0 for f in self.fields if np.dtype(f.dtype).kind in "fc"}
        numbers = np.flatnonzero(self.done())
        for field in self.fields:
            if field.name in counts:
                rank = len(self.blocks.axes.names)
                for number in numbers:
                    bad = np.isnan(self.read(int(number), field))
                    counts[field.name] += int(bad.any(axis=tuple(range(rank, bad.ndim))).sum())
        return counts

    def coordinates(self) -> dict[str, tuple[str, Sequence[Any] | np.ndarray]]:
        """The type and the values of each axis."""
        axes = self.blocks.axes
        return {
            **{name: _labels(values) for name, values in axes.static.items()},
            **{name: (str(values.dtype), values) for name, values in axes.settings.items()},
            SEED: ("int64", np.arange(axes.num_seeds)),
        }

    def _chunk(self, field: Field | None) -> Index:
        """The shape of a chunk, of a field or of the done marks."""
        return (*(1,) * len(self.blocks.axes.static), *self.blocks.chunk, *(field.shape if field else ()))

    def _file(self, field: Field | None, number: int) -> Path:
        place = self.blocks.place(number)
        return zarr.chunk_file(self.path, field.name if field else DONE, (*place, *(0 for _ in (field or _ALL).shape)))

    def _files(self) -> Iterator[tuple[str, np.ndarray]]:
        """What an empty store holds, by path from its root."""
        axes, arrays = self.blocks.axes, {}
        for name, (dtype, values) in self.coordinates().items():
            arrays[name] = zarr.array_metadata([len(values)], [len(values)], dtype, [name])
            coded = zarr.encode_strings(values) if dtype == "string" else zarr.encode(np.asarray(values), [len(values)])  # pyright: ignore[reportArgumentType]
            yield f"{name}/c/0", coded
        for field in (*self.fields, None):
            own = field or _ALL
            arrays[own.name] = zarr.array_metadata(
                [*axes.shape, *own.shape], self._chunk(field), own.dtype, [*axes.names, *own.dims]
            )
        for name, described in arrays.items():
            yield f"{name}/{zarr.METADATA}", zarr.as_json(described)
        attributes = {"sweep": {**self.identity, "chunk": list(self.blocks.chunk), "lanes": self.lanes}}
        yield zarr.METADATA, zarr.as_json(zarr.group_metadata(attributes, arrays))

    def create(self) -> None:
        """Put an empty store in its place, all at once.

        Raises:
            OSError: if it cannot be written, or another process was first.
        """
        zarr.make_directory(self.path.parent)
        begun = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}.part")
        try:
            zarr.publish({begun / name: data for name, data in self._files()})
            os.rename(begun, self.path)
        except OSError:
            shutil.rmtree(begun, ignore_errors=True)
            raise
        zarr.sync_directory(self.path.parent)
        for other in self.path.parent.glob(f".{self.path.name}.*.part"):
            shutil.rmtree(other, ignore_errors=True)


_ALL = Field(DONE, (), "bool", ())


def _labels(values: tuple) -> tuple[str, Any]:
    """The type and the values of a static axis."""
    if isinstance(values[0], str):
        return "string", list(values)
    found = np.asarray(values)
    return str(found.dtype), found


def open_store(path: str | Path) -> Store:
    """Open a store that a sweep has written.

    Raises:
        ValueError: if there is none, or one of a format that this version does not know.
    """
    path = Path(path)
    try:
        group = json.loads((path / zarr.METADATA).read_text(encoding="utf-8"))
        known = group["attributes"]["sweep"]
    except (FileNotFoundError, NotADirectoryError, KeyError, TypeError) as error:
        raise ValueError(f"{path} holds no sweep; give the store= of a sweep that has begun.") from error
    if known["version"] != VERSION:
        raise ValueError(f"{path} has format {known['version']}, and this version of ird.sweep reads {VERSION}.")
    settings = {}
    for name, values in known["settings"].items():
        dtype = group["consolidated_metadata"]["metadata"][name]["data_type"]
        settings[name] = np.asarray([float(v) if isinstance(v, str) else v for v in values], dtype)
    axes = Axes({name: tuple(v) for name, v in known["static"].items()}, settings, known["num_seeds"])
    fields = (Field(n, tuple(f["shape"]), f["dtype"], tuple(f["dims"])) for n, f in known["fields"].items())
    chunk, lanes = tuple(known.pop("chunk")), known.pop("lanes")
    return Store(path, Blocks(axes, chunk), lanes, tuple(fields), known)


def find_store(path: Path, wanted: Mapping[str, Any]) -> Store | None:
    """The store at a path, once it is known to belong to the wanted sweep; None where there is none yet.

    Raises:
        ValueError: if something else is there, naming what differs.
        OSError: if one cannot write there.
    """
    check_writable(path)
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    store = open_store(path)
    changed = [
        f"  {title}: {_brief(store.identity.get(name))} in the store, {_brief(wanted[name])} now"
        for name, title in SAME.items()
        if store.identity.get(name) != wanted[name]
    ]
    if changed:
        raise ValueError(
            f"{path} was written by another sweep, so its results and new ones would not belong together:\n"
            + "\n".join(changed)
            + "\nGive another store=, or delete this one to start over."
        )
    return store


def check_writable(path: Path) -> None:
    """Raise unless files can be written at a path, or where it is to be made."""
    there = path
    with contextlib.suppress(OSError):
        while not there.exists():
            there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):
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
