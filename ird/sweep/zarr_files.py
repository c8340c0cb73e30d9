"""A Zarr (version 3) store as plain files: each chunk is one file that appears complete or not at all.

Chunks are uncompressed and little-endian, so that writing one takes no library, and its bytes depend on
its values alone.  A file is written under another name, forced to the disk, and renamed.

Why by hand: `benchmarks/zarr_writers.py` kills writers at random moments and counts what they force to the disk.  Of
thirty kills no chunk was cut, nor marked before its fields, by this file, zarr-python 3.1 or tensorstore 0.1.  But
zarr-python's local store forces nothing to the disk (no fsync; here six a block of two fields and a mark), so a machine
that goes down may keep a mark and lose the results, and its begun files (".partial") stay.  tensorstore forces as much
as this file does; what it lacks are files that can be told to be begun by which run of what block, so that whoever goes
on removes them (its "__lock" files stay until the same chunk is written again), and it would make a package of 22 MB
necessary for what is otherwise written with NumPy alone, in 1 ms a block instead of 6.  xarray and zarr-python open
what is written here like any other store.
"""

import contextlib
import errno
import glob
import json
import math
import os
import shutil
import stat
import struct
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "ChunkIndex",
    "Metadata",
    "array_metadata",
    "as_json",
    "chunk_file",
    "chunk_length",
    "decode",
    "encode",
    "encode_strings",
    "file_length",
    "find_chunks",
    "group_metadata",
    "make_directory",
    "partial_name",
    "publish",
    "publish_first",
    "remove_partials",
    "sync_directory",
]
__dir__ = __all__.copy

Metadata = dict[str, Any]
METADATA = "zarr.json"
PARTIAL = ".part"  # how the name of a file ends that is being written
TRIES = 20  # how often a file may be removed by others while it is being written

ChunkIndex = tuple[int, ...]


def array_metadata(shape: Sequence[int], chunk: Sequence[int], dtype: str, dims: Sequence[str]) -> Metadata:
    """What Zarr wants to know of an array; `dtype` "string" for labels."""
    fill: Any = {"f": "NaN", "c": ["NaN", "NaN"], "b": False}.get("" if dtype == "string" else np.dtype(dtype).kind, 0)
    single_byte = dtype != "string" and np.dtype(dtype).itemsize == 1
    codec: Metadata = {"name": "bytes"} if single_byte else {"name": "bytes", "configuration": {"endian": "little"}}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "" if dtype == "string" else fill,
        "codecs": [{"name": "vlen-utf8"} if dtype == "string" else codec],
        "dimension_names": list(dims),
        "attributes": {},
    }


def group_metadata(attributes: Metadata, arrays: Mapping[str, Metadata]) -> Metadata:
    """What Zarr wants to know of a store: its attributes and, consolidated, its arrays."""
    inline = {"kind": "inline", "must_understand": False, "metadata": dict(arrays)}
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes, "consolidated_metadata": inline}


def chunk_file(root: Path, name: str, place: Sequence[int]) -> Path:
    """The file of the chunk of that place in the grid of chunks."""
    return root.joinpath(name, "c", *map(str, place))


def encode(values: np.ndarray, chunk: Sequence[int]) -> np.ndarray:
    """A chunk's bytes; the part of a chunk beyond the end of the array repeats its edge."""
    beyond = [(0, c - n) for c, n in zip(chunk, values.shape, strict=True)]
    full = np.pad(values, beyond, mode="edge") if any(after for _, after in beyond) else values
    ordered = np.ascontiguousarray(full, np.dtype(values.dtype).newbyteorder("<"))
    return ordered.reshape(-1).view(np.uint8)


def encode_strings(values: Sequence[str]) -> np.ndarray:
    """The bytes of a chunk of strings (vlen-utf8): how many, then each with its length before it."""
    texts = [value.encode() for value in values]
    parts = [struct.pack("<I", len(texts)), *(struct.pack("<I", len(text)) + text for text in texts)]
    return np.frombuffer(b"".join(parts), np.uint8)


def chunk_length(dtype: str, chunk: Sequence[int]) -> int:
    """How many bytes a chunk has."""
    return math.prod(chunk) * np.dtype(dtype).itemsize


def decode(path: Path, dtype: str, chunk: Sequence[int]) -> np.ndarray:
    """The values of a chunk.

    Raises:
        ValueError: for a file that is not as long as the chunk.
    """
    raw = path.read_bytes()
    if len(raw) != chunk_length(dtype, chunk):
        raise ValueError(f"{path} holds {len(raw)} bytes, not a chunk of {tuple(chunk)} {dtype}; it is damaged.")
    return np.frombuffer(raw, np.dtype(dtype).newbyteorder("<")).reshape(tuple(chunk))


def as_json(metadata: Metadata) -> np.ndarray:
    """Metadata as bytes, the same for the same metadata."""
    return np.frombuffer(json.dumps(metadata, indent=1, ensure_ascii=False).encode(), np.uint8)


def find_chunks(
    root: Path, grid: Sequence[int], rank: int, finished: np.ndarray | None = None
) -> tuple[np.ndarray, list[tuple[ChunkIndex, Path]]]:
    """Which chunks of an array are there, in one walk that reads how long they are on the way.

    Whatever else lies there is no chunk: directories, files by other names, places beyond the grid.

    Args:
        root: the array's directory.
        grid: number of chunks along each axis of the sweep.
        rank: how many axes of its own the array has, along which there is one chunk.
        finished: flags by place: where nothing needs to be looked for that a killed run had begun.

    Returns:
        Lengths in bytes by place, -1 where there is no file; and the files of chunks that are being written, or were
        when a run was killed, with their places.
    """
    found, begun = np.full(tuple(grid), -1, np.int64), []
    names = [{str(i): i for i in range(n)} for n in grid]
    last, below = len(names) - 1, "/0" * rank

    def walk(folder: str, place: ChunkIndex) -> None:
        known = names[len(place)]
        for entry in _entries(folder):
            i = known.get(entry.name)
            if i is None:
                if len(place) == last and not rank:
                    i = known.get(_partial_of(entry.name))
                    begun.extend([] if i is None else [((*place, i), Path(entry.path))])
            elif len(place) < last:
                walk(entry.path, (*place, i))
            elif not rank:
                found[(*place, i)] = file_length(entry)
            else:
                found[(*place, i)] = file_length(entry.path + below)
                if finished is None or not finished[(*place, i)]:
                    inside = _entries(entry.path + below[:-2])
                    begun.extend(((*place, i), Path(e.path)) for e in inside if _partial_of(e.name) == "0")

    walk(str(root / "c"), ())
    return found, begun


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """What lies in a directory; nothing where there is none (any more)."""
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except (FileNotFoundError, NotADirectoryError):
        pass


def _partial_of(name: str) -> str:
    """The file whose other name, until it is complete, this is; "" if it is none."""
    return name.split(".")[1] if name.startswith(".") and name.endswith(PARTIAL) else ""


def file_length(file: os.DirEntry[str] | str | Path) -> int:
    """How long a file is; -1 for what is no file (any more)."""
    try:
        status = os.stat(file)
    except OSError:
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -1


def publish(files: Mapping[Path, np.ndarray]) -> None:
    """Write files so that after a crash at any moment each is complete or absent; all are on the disk on return.

    Others may publish the same files at the same time.  They hold the same, so it does not matter whose stay.

    Raises:
        OSError: if one cannot be written; what was begun is removed.
    """
    begun: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            begun[path] = partial = partial_name(path)
            _write_synced(partial, data)
        for path, data in files.items():
            _put(begun[path], path, data)
    except OSError:
        for partial in begun.values():
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
        raise
    for directory in {path.parent for path in files}:
        sync_directory(directory)


def publish_first(path: Path, data: np.ndarray) -> bool:
    """Write a file unless it is there; whether this call did.  Of several at the same time one does.

    Raises:
        OSError: if it cannot be written.
    """
    partial = partial_name(path)
    try:
        _write_synced(partial, data)
        try:
            os.link(partial, path)  # which fails where the file is
        except OSError:
            if path.exists():
                return False
            os.replace(partial, path)  # a file system without links: nearly as good
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    sync_directory(path.parent)
    return True


def remove_partials(path: Path) -> None:
    """Remove what runs that were killed had begun of a file or a directory; runs that live write it again."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 32}{PARTIAL}"):
        with contextlib.suppress(OSError):
            shutil.rmtree(partial, ignore_errors=True) if partial.is_dir() else partial.unlink(missing_ok=True)


def partial_name(path: Path) -> Path:
    """Another name for a file, until it is complete."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}{PARTIAL}")


def _write_synced(path: Path, data: np.ndarray) -> None:
    """Write a file, and force it to the disk."""
    make_directory(path.parent)
    try:
        with open(path, "xb", buffering=0) as file:
            rest = data.data
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno != errno.ESTALE:  # on NFS, another run has removed it meanwhile: it is written again, below
            raise


def _put(partial: Path, path: Path, data: np.ndarray) -> None:
    """Give a complete file its name; write it again where another run has removed it, taking this one for dead."""
    for left in reversed(range(TRIES)):
        try:
            return os.replace(partial, path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ESTALE) or not left:
                raise
        partial.unlink(missing_ok=True)
        _write_synced(partial, data)


def make_directory(path: Path) -> None:
    """Make a directory and those above it, on the disk too."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Force the names in a directory to the disk (where the system can)."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):  # it cannot
                raise
        finally:
            os.close(handle)
