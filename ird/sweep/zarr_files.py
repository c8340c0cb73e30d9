"""A Zarr (version 3) store as plain files: each chunk is one file that appears complete or not at all.

Chunks are uncompressed and little-endian, so that writing one takes no library, and its bytes depend on
its values alone.  A file is written under another name, forced to the disk, and renamed.
"""

import contextlib
import json
import os
import struct
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Metadata = dict[str, Any]
METADATA = "zarr.json"


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


def decode(path: Path, dtype: str, chunk: Sequence[int]) -> np.ndarray:
    """The values of a chunk.

    Raises:
        ValueError: for a file that is not as long as the chunk.
    """
    kind = np.dtype(dtype).newbyteorder("<")
    raw = path.read_bytes()
    if len(raw) != int(np.prod(chunk)) * kind.itemsize:
        raise ValueError(f"{path} holds {len(raw)} bytes, not a chunk of {tuple(chunk)} {dtype}; it is damaged.")
    return np.frombuffer(raw, kind).reshape(tuple(chunk))


def as_json(metadata: Metadata) -> np.ndarray:
    """Metadata as bytes, the same for the same metadata."""
    return np.frombuffer(json.dumps(metadata, indent=1, ensure_ascii=False).encode(), np.uint8)


def publish(files: Mapping[Path, np.ndarray]) -> None:
    """Write files so that after a crash at any moment each is complete or absent; all are on the disk on return.

    Raises:
        OSError: if one cannot be written; what was begun is removed.
    """
    begun: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            make_directory(path.parent)
            begun[path] = partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
            with open(partial, "xb", buffering=0) as file:
                rest = data.data
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
        for path, partial in begun.items():
            os.replace(partial, path)
    except OSError:
        for partial in begun.values():
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
        raise
    for directory in {path.parent for path in files}:
        sync_directory(directory)


def remove_partials(path: Path) -> None:
    """Remove what runs that were killed had begun of a file."""
    for partial in path.parent.glob(f".{path.name}.*.part"):
        partial.unlink(missing_ok=True)


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
        finally:
            os.close(handle)
