"""The store of a sweep: which blocks are done, and their results.

A store is a Zarr group that xarray opens as one dataset: an array for each field, with the axes of the
sweep before its own, a coordinate for each axis, and `done`, which says of every trial whether its
results are there.  A block's chunk of `done` is written when its results are on the disk: that is its
done mark.  It counts where every file of the block is there and as long as it must be.  What the sweep was
is in the group's attributes.
"""

import contextlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ird.sweep import zarr_files as zarr
from ird.sweep.axes import Axes, Blocks, Index, brief
from ird.sweep.fields import Field

__all__ = ["Store", "Survey", "check_store_path", "open_store"]
__dir__ = __all__.copy

DONE = "done"
VERSION = 1


@dataclass(frozen=True)
class Survey:
    """What a walk through a store has found.

    Attributes:
        done: which blocks are done, `[blocks.count]`.
        damaged: which are marked as done and are not, because a file is missing or of another length, `[blocks.count]`.
        begun: files that are being written, or were when a run was killed, with the number of their block.
    """

    done: np.ndarray
    damaged: np.ndarray
    begun: list[tuple[int, Path]]


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

    def trials(self, numbers: Iterable[Any]) -> int:
        """How many trials some blocks have."""
        return sum(math.prod(self.blocks.shape(int(n))) for n in numbers)

    def survey(self) -> Survey:
        """Which blocks are done, which are damaged, and what else was begun."""
        # Marks first: what another run finishes meanwhile has its results on the disk before its mark.
        marks, begun = self._walk(None)
        marked = marks == self._length(None)
        whole = marked.copy()
        for field in self.fields:
            lengths, more = self._walk(field, marked)
            whole &= lengths == self._length(field)
            begun += more
        damaged = (marks >= 0) & ~whole
        for number in np.flatnonzero(damaged):  # one by one: a network file system may show a directory as it was
            if self.damage(int(number)) is None:
                whole[number], damaged[number] = True, False
        return Survey(whole, damaged, begun)

    def done(self) -> np.ndarray:
        """Which blocks are done, `[blocks.count]`."""
        return self.survey().done

    def damage(self, number: int) -> str | None:
        """What is wrong with the files of a block that is marked as done, in words; None if nothing is."""
        for field in (*self.fields, None):
            file, wanted = self._file(field, number), self._length(field)
            there = zarr.file_length(file)
            if there != wanted:
                return f"{file} " + ("is missing" if there < 0 else f"holds {there} bytes, not {wanted}")
        return None

    def check_whole(self, found: Survey) -> None:
        """Raise if a block is damaged.

        Raises:
            ValueError: naming a file, and the ways out.
        """
        numbers = np.flatnonzero(found.damaged)
        for number in numbers:
            wrong = self.damage(int(number))
            if wrong is not None:  # else a run has done it again by now
                more = f" (and {len(numbers) - 1:,} more blocks like it)" if len(numbers) > 1 else ""
                raise ValueError(
                    f"{wrong}: it is damaged, although its block is marked as done{more}. Make the same call of "
                    "sweep.run again, which does such blocks anew; or, to read the rest, delete "
                    f"{self._file(None, int(number))}."
                )

    def check_labels(self) -> None:
        """Raise if the values along an axis are not on the disk as they must be.

        Raises:
            ValueError: naming the file, and the way out.
        """
        for name, data in self.frame():
            file = self.path / name
            if file.name != zarr.METADATA and (not file.is_file() or file.read_bytes() != data.tobytes()):
                raise ValueError(
                    f"{file}, which labels an axis, is missing or damaged. Make the same call of sweep.run again, "
                    "which writes it anew (sweep.arrays needs it not)."
                )

    def unmark(self, number: int) -> None:
        """Take the done mark from a block that is damaged, so that readers know; not from one that is whole by now."""
        if self.damage(number) is not None:
            with contextlib.suppress(OSError):  # what cannot be removed cannot be replaced either, and is named then
                self._file(None, number).unlink(missing_ok=True)

    def forget(self, number: int) -> None:
        """Take the done mark from a block, on the disk too.

        Raises:
            OSError: if it cannot be removed.
        """
        mark = self._file(None, number)
        if zarr.file_length(mark) >= 0:
            mark.unlink(missing_ok=True)
            zarr.sync_directory(mark.parent)

    def write(self, number: int, results: Mapping[str, np.ndarray]) -> None:
        """Write the results of a block, `[width, ...]` by field, then its done mark.

        Raises:
            OSError: if that cannot be written; the block is then not done.
        """
        shape = self.blocks.shape(number)
        count = int(np.prod(shape))
        data = {}
        for field in self.fields:
            values = np.asarray(results[field.name], field.dtype)[:count].reshape(*shape, *field.shape)
            data[self._file(field, number)] = zarr.encode(values, self._chunk(field))
        zarr.publish(data)
        zarr.publish({self._file(None, number): zarr.encode(np.ones(shape, bool), self._chunk(None))})

    def read(self, number: int, field: Field | None) -> np.ndarray:
        """A field of a block (None: whether it is done), without what lies beyond the ends of the axes."""
        dtype = "bool" if field is None else field.dtype
        chunk = zarr.decode(self._file(field, number), dtype, self._chunk(field))
        return chunk[tuple(slice(n) for n in self.blocks.shape(number))]

    def not_a_number(self, done: np.ndarray) -> dict[str, int]:
        """How many trials of the blocks that are done hold a NaN, by field; fields that cannot are left out."""
        counts = {f.name: 0 for f in self.fields if np.dtype(f.dtype).kind in "fc"}
        for field in self.fields:
            if field.name in counts:
                rank = len(self.blocks.axes.names)
                for number in np.flatnonzero(done):
                    bad = np.isnan(self.read(int(number), field))
                    counts[field.name] += int(bad.any(axis=tuple(range(rank, bad.ndim))).sum())
        return counts

    def coordinates(self) -> dict[str, tuple[str, Sequence[Any] | np.ndarray]]:
        """The type and the values of each axis."""
        axes = self.blocks.axes
        return {
            **{name: _labels(values) for name, values in axes.static.items()},
            **{name: (str(values.dtype), values) for name, values in axes.settings.items()},
            axes.last: ("int64", np.arange(axes.num_seeds)),
        }

    def _chunk(self, field: Field | None) -> Index:
        """The shape of a chunk, of a field or of the done marks."""
        return (*(1,) * len(self.blocks.axes.static), *self.blocks.chunk, *(field.shape if field else ()))

    def _file(self, field: Field | None, number: int) -> Path:
        place = self.blocks.place(number)
        return zarr.chunk_file(self.path, field.name if field else DONE, (*place, *(0 for _ in (field or _ALL).shape)))

    def _length(self, field: Field | None) -> int:
        return zarr.chunk_length("bool" if field is None else field.dtype, self._chunk(field))

    def _walk(self, field: Field | None, finished: np.ndarray | None = None) -> tuple[np.ndarray, list]:
        """Lengths of the files of an array by block, and what was begun of them (of blocks that are not finished)."""
        own, grid = field or _ALL, self.blocks.grid
        flags = None if finished is None else finished.reshape(grid)
        lengths, begun = zarr.find_chunks(self.path / own.name, grid, len(own.shape), flags)
        return lengths.ravel(), [(int(np.ravel_multi_index(place, grid)), path) for place, path in begun]

    def frame(self) -> Iterator[tuple[str, np.ndarray]]:
        """What an empty store holds, by path from its root; what describes it as a whole comes last."""
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


_ALL = Field(DONE, (), "bool", ())


def _labels(values: tuple) -> tuple[str, Any]:
    """The type and the values of a static axis."""
    if isinstance(values[0], str):
        return "string", list(values)
    found = np.asarray(values)
    return str(found.dtype), found


def open_store(path: str | os.PathLike[str]) -> Store:
    """Open a store that a sweep has written.

    Raises:
        ValueError: if there is none, one of a format that this version does not know, or one whose description is
            damaged.
    """
    path = check_store_path(path)
    file = path / zarr.METADATA
    try:
        group = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(f"{path} holds no sweep; give the store= of a sweep that has begun.") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{_damaged(file)} ({error}).") from error
    attributes = group.get("attributes") if isinstance(group, dict) else None
    known = attributes.get("sweep") if isinstance(attributes, dict) else None
    if not isinstance(known, dict):
        raise ValueError(f"{path} holds no sweep; give the store= of a sweep that has begun.")
    if known.get("version") != VERSION:
        raise ValueError(f"{path} has format {known.get('version')}, and this version of ird.sweep reads {VERSION}.")
    try:
        return _opened(path, group, known)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ValueError(f"{_damaged(file)} ({type(error).__name__}: {error}).") from error


def _opened(path: Path, group: dict[str, Any], known: dict[str, Any]) -> Store:
    """The store whose description this is."""
    settings = {}
    for name, values in known["settings"].items():
        dtype = group["consolidated_metadata"]["metadata"][name]["data_type"]
        settings[name] = np.asarray([float(v) if isinstance(v, str) else v for v in values], dtype)
    axes = Axes(
        {name: tuple(v) for name, v in known["static"].items()}, settings, int(known["num_seeds"]), known["axes"][-1]
    )
    fields = (
        Field(n, tuple(map(int, f["shape"])), str(np.dtype(f["dtype"])), tuple(f["dims"]))
        for n, f in known["fields"].items()
    )
    identity = {name: value for name, value in known.items() if name not in ("chunk", "lanes")}
    chunk, lanes = tuple(map(int, known["chunk"])), int(known["lanes"])
    if len(chunk) != len(axes.inner) or min(*chunk, lanes, axes.num_seeds) < 1:
        raise ValueError(f"blocks of {chunk} by {lanes}")
    return Store(path, Blocks(axes, chunk), lanes, tuple(fields), identity)


def _damaged(file: Path) -> str:
    """What to say of a description that cannot be read."""
    return (
        f"{file} is damaged, so which sweep {file.parent} belongs to is not known; put a copy of {file.name} back, or "
        f"delete {file.parent} to start over"
    )


def check_store_path(store: Any) -> Path:
    """Where a store is.

    Raises:
        ValueError: for what names no directory.
    """
    if not isinstance(store, str | os.PathLike) or not isinstance(os.fspath(store), str):
        raise ValueError(f"store is {brief(store)}; give the path of a directory.")
    text = os.fspath(store)
    if not text.strip() or "\0" in text:
        raise ValueError(f"store is {brief(store)}; give the path of a directory ('.' for the one you are in).")
    if "://" in text:
        raise ValueError(f"store is {text!r}, an address; a store is a directory on a file system, so give its path.")
    return Path(store)
