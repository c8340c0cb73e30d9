"""The processor of a machine: last bits follow from it, and so does which compiled program fits it."""

import contextlib
import functools
import hashlib
import os
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from ird.sweep.axes import brief

__all__ = ["claimed", "cores", "keep_programs", "processor", "program_folder", "programs_kept", "share_of_cores"]
__dir__ = __all__.copy

FOLDER, SHORTEST = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"
_places: set[str] = set()  # folders that JAX has been told here, and not by anybody else
_locks: list[Any] = []  # files that stay open while this process lives
FLAGS = ("flags", "Features")  # what Linux calls them, by architecture


@functools.cache
def processor() -> str:
    """The make of this machine's processor, and a digest of its features.

    The compiler chooses instructions by both, so programs may round differently where either differs.
    """
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            found.setdefault(name.strip(), value.strip())
    make = found.get("model name") or platform.processor() or platform.machine()
    features = " ".join(sorted(word for name in FLAGS for word in found.get(name, "").split()))
    return f"{make}, {hashlib.sha256(features.encode()).hexdigest()[:12]}"


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def claimed(what: str, count: int) -> int | None:
    """Which of so many things on this machine this process takes, such as its accelerators: the first that is free.

    The lock on it goes with the process.  None where all are taken, or where locks do not work.
    """
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        for i in range(count):
            name = f"ird-sweep-{os.getuid()}-{what}-{i}-of-{count}.lock".replace(os.sep, "-")
            file = open(Path(tempfile.gettempdir()) / name, "a")  # noqa: SIM115 - it stays open
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
            else:
                _locks.append(file)
                return i
    return None


@contextlib.contextmanager
def share_of_cores(workers: int | None) -> Iterator[None]:
    """Threads that are started meanwhile run on a share of the cores, if so many workers divide them.

    How many threads XLA starts stays as it is: programs are cut up by that, and with it go last bits.
    """
    os.environ.setdefault("PJRT_NPROC", str(cores()))
    place = claimed("cores", workers) if workers and hasattr(os, "sched_setaffinity") else None
    if place is None or not workers:
        yield
        return
    mine = sorted(os.sched_getaffinity(0))
    each = max(1, len(mine) // workers)
    first = place * each % len(mine)
    os.sched_setaffinity(0, mine[first : first + each])
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


def program_folder(cache: Any, store: Path) -> Path | None:
    """Where compiled programs are to be kept.

    Raises:
        ValueError: for what names no folder, and for the store or a place in it.
    """
    if cache is None:
        return None
    if (
        not isinstance(cache, str | os.PathLike)
        or not isinstance(os.fspath(cache), str)
        or not os.fspath(cache).strip()
    ):
        raise ValueError(f"cache is {brief(cache)}; give the path of a folder for compiled programs, or None.")
    if "\0" in os.fspath(cache) or "://" in os.fspath(cache) or Path(cache).is_file():
        raise ValueError(f"cache is {brief(cache)}, which is no folder; give the path of one for compiled programs.")
    folder, inside = Path(cache).resolve(), store.resolve()
    if folder == inside or inside in folder.parents:
        raise ValueError(
            f"cache is {brief(str(cache))}, which lies in the store {store}; a store holds results alone, so give a "
            "folder beside it."
        )
    return folder


def keep_programs(folder: str | Path | None) -> bool:
    """Let JAX keep compiled programs in a folder from now on, unless it has been told a place; whether this did."""
    told = getattr(jax.config, FOLDER)
    if folder is None or (told and told not in _places):
        return False
    # a program compiled for one processor need not run on another
    own = Path(folder) / hashlib.sha256(processor().encode()).hexdigest()[:12]
    if told == str(own):
        return False
    own.mkdir(parents=True, exist_ok=True)
    _places.add(str(own))
    jax.config.update(FOLDER, str(own))
    jax.config.update(SHORTEST, 0.0)
    _forget_the_place()
    return True


@contextlib.contextmanager
def programs_kept(folder: Path | None) -> Iterator[None]:
    """The same for a while, in a process that is not ours."""
    before = getattr(jax.config, FOLDER), getattr(jax.config, SHORTEST)
    changed = keep_programs(folder)
    try:
        yield
    finally:
        if changed:
            jax.config.update(FOLDER, before[0])
            jax.config.update(SHORTEST, before[1])
            _forget_the_place()


def _forget_the_place() -> None:
    """JAX looks for the folder once; make it look again."""
    from jax.experimental.compilation_cache import compilation_cache

    compilation_cache.reset_cache()
