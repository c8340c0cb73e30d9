"""Blocks on this program's own devices: a block for each, and the host writes the blocks before."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ird.sweep.axes import Blocks
from ird.sweep.compilation import Program
from ird.sweep.given import Cases
from ird.sweep.progress import Progress
from ird.sweep.stores import Store, open_store
from ird.sweep.waiting import apart
from ird.sweep.zarr_files import METADATA

__all__ = ["Watch", "do_here", "write_or_say"]
__dir__ = __all__.copy


class Watch:
    """Sees to it that a store is still that of this sweep.

    Args:
        store: the store, as it is now.
    """

    def __init__(self, store: Store):
        self.store, self.described = store, (store.path / METADATA).read_bytes()

    def check(self) -> None:
        """Raise unless the store is still there, and still that of this sweep.

        Raises:
            OSError: if it has been removed, or replaced by that of another sweep.
        """
        store = self.store
        try:
            if (store.path / METADATA).read_bytes() == self.described or open_store(store.path) == store:
                return
        except (OSError, ValueError):
            pass
        raise FileNotFoundError(
            f"the sweep stopped: {store.path} has been removed or replaced by another since it began. Nothing was "
            "written to what is there now; run the same again with a store of its own"
        )


def do_here(
    store: Store,
    made: Sequence[Program],
    numbers: Sequence[int],
    key: Any,
    given: Any,
    cases: Cases | None,
    shown: Progress,
) -> int | None:
    """Compute blocks and write them; how many bytes one needs, None if there are none."""
    need, watch = None, Watch(store)
    for program, batch, running in _batches(store.blocks, made, numbers, key, given, cases):
        need = max(need or 0, program.memory)
        for number, results in _results(program, batch, running):
            watch.check()
            write_or_say(store, number, results, shown.count)
        shown.advance(store.trials(batch))
    return need


def _batches(
    blocks: Blocks, made: Sequence[Program], numbers: Sequence[int], key: Any, given: Any, cases: Cases | None
) -> Iterator[tuple[Program, Sequence[int], dict[str, jax.Array]]]:
    """A block for each device at a time: program, blocks, and results; the next batch is under way meanwhile.

    It starts when the batch before has been computed: two at once would need twice the memory.
    """
    before, placed = None, None
    of_combination = math.prod(blocks.grid[len(blocks.axes.static) :])
    for combination, program in enumerate(made):
        own = [n for n in numbers if n // of_combination == combination]
        for start in range(0, len(own), len(program.devices)):
            batch = own[start : start + len(program.devices)]
            spare = len(program.devices) - len(batch)  # devices without a block repeat the last one
            if before is not None:
                apart(jax.block_until_ready, before[2])
            placed = program.on_every_device(given) if placed is None else placed
            each = [_with_cases(blocks, n, program.width, cases) for n in (*batch, *batch[-1:] * spare)]
            running = apart(program.run, key, each, placed)
            if before is not None:
                yield before
            before = program, batch, running
    if before is not None:
        apart(jax.block_until_ready, before[2])
        yield before


def _with_cases(blocks: Blocks, number: int, width: int, cases: Cases | None) -> tuple[dict[str, Any], np.ndarray]:
    """What each trial of a block gets, and its seed."""
    settings, seeds = blocks.trials(number, width)
    return settings | ({} if cases is None else {blocks.axes.last: cases.part(seeds)}), seeds


def _results(
    program: Program, batch: Sequence[int], running: Mapping[str, jax.Array]
) -> list[tuple[int, dict[str, np.ndarray]]]:
    """The results that this process's devices have computed, by block."""
    found: dict[int, dict[str, np.ndarray]] = {}
    for name, array in running.items():
        for part in array.addressable_shards:
            place = (part.index[0].start or 0) // program.width
            if place < len(batch):
                found.setdefault(batch[place], {})[name] = np.asarray(part.data)
    return list(found.items())


def write_or_say(store: Store, number: int, results: Mapping[str, np.ndarray], before: int) -> None:
    """Write a block, or say what became of the sweep."""
    try:
        store.write(number, results)
    except OSError as error:
        raise type(error)(
            error.errno,
            f"the sweep stopped: {error.strerror or error} in {store.path}{_where(error)}. All that was written before "
            f"is complete and can be read, {before:,} trials of this run among it; make room and run the same again to "
            "go on",
        ) from error


def _where(error: OSError) -> str:
    """What is in the way, where a directory lies in a file's place or a file in a directory's."""
    if not isinstance(error, IsADirectoryError | NotADirectoryError | FileExistsError):
        return ""
    return f" (in the way: {error.filename2 or error.filename}; delete it)"
