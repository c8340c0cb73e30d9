"""Run a sweep: check the trial, open the store, and do what is left, block after block."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ird.sweep.axes import Blocks, Values, brief, check_axes, chunk_of, label
from ird.sweep.compilation import Program, fitting, prepare
from ird.sweep.devices import agreed, check_devices, check_shard, wait_for_all
from ird.sweep.fields import check_dims
from ird.sweep.opening import begin, find_store, identity
from ird.sweep.progress import Progress, clock
from ird.sweep.stores import Store, check_store_path, open_store
from ird.sweep.trials import check_key, examine
from ird.sweep.zarr_files import METADATA
from mdps.checks import check_count

__all__ = ["Report", "run"]
__dir__ = __all__.copy


@dataclass(frozen=True)
class Report:
    """What a run did, and how far the sweep is; `print` it.

    Attributes:
        store: where the results are.
        trials: trials of the whole sweep.
        done: those whose results are in the store, of whichever run and worker.
        ran: those that this run did.
        not_a_number: how many finished trials hold a NaN, by field of a floating type.
        seconds: how long the blocks took, compilation included.
        width: trials of a block.
        memory: bytes that a block needs on its device: settings, results and all in between; None if nothing ran.
        repaired: trials among `ran` that had been marked as done, but whose files were missing or cut.
    """

    store: Path
    trials: int
    done: int
    ran: int
    not_a_number: dict[str, int]
    seconds: float
    width: int
    memory: int | None
    repaired: int = 0

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.done == self.trials

    def __str__(self) -> str:
        """The report in words."""
        rate = f" in {clock(self.seconds)}, {self.ran / max(self.seconds, 1e-9):,.3g} per second" if self.ran else ""
        size = "" if self.memory is None else f", {self.memory / 2**20:,.1f} MiB each on a device"
        again = f" ({self.repaired:,} of them again: their files were damaged)" if self.repaired else ""
        bad = ", ".join(f"{count:,} in {name}" for name, count in self.not_a_number.items() if count)
        return (
            f"{self.store}: {self.done:,} of {self.trials:,} trials done; {self.ran:,} by this run{again}{rate}; "
            f"blocks of {self.width:,}{size}; NaN: {bad or 'none'}"
        )


def run(
    trial: Callable[..., Any],
    grid: Mapping[str, Values],
    *,
    num_seeds: int,
    key: jax.Array,
    store: str | Path,
    static: Mapping[str, Values] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    block: int | None = None,
    memory: int | None = None,
    devices: int | Sequence[Any] | None = None,
    shard: tuple[int, int] | str = (0, 1),
    progress: bool = True,
) -> Report:
    """Run a trial for every combination of settings and every seed, and keep the results.

    Trial `(settings, s)` is `trial(fold_in(key, s), **settings)`: all settings share the chance of a seed, so
    differences between them are paired, and no result depends on blocks, devices, workers or interruptions.
    Results are written block by block; killed at any moment and started again, it goes on where it was.

    Args:
        trial: a pure function of a key and settings, `trial(key, *, ...)`, that returns numbers or arrays of
            fixed shape by name (a dict, a NamedTuple, a dataclass; a bare array is called "value").
        grid: numbers to try for each setting, by the name of the trial's argument.  They are traced: other values
            compile nothing.
        num_seeds: trials of each combination.
        key: a `jax.random.key` of JAX's default generator, threefry; the others draw other numbers in a batch.
        store: a directory, made if need be: a Zarr group (`sweep.load` opens it).  One that another sweep has
            written is refused.
        static: strings, or numbers that decide shapes, to try for settings that are not traced; each
            combination is compiled for itself.  All must return the same fields.
        dims: names for the axes of fields that are arrays; `"{field}_0"` and so on when left out.
        block: trials between one writing and the next, at most; when None, what memory allows, and less where each
            device would get only a few blocks.  Blocks are boxes of trials, so a few less may be taken.
        memory: bytes that the trials which a device computes at once may need (an accelerator takes a block at once,
            a processor a few trials after another); None: half of the accelerator's, or 16 MiB, which caches hold.
        devices: how many devices of each process to use, or which; all when None.
        shard: do only share i of n, `(i, n)` or "i/n", counted from 0; n workers with one store do it all.
        progress: whether to show rate and time left, on standard error.

    Returns:
        A `Report`.

    Raises:
        ValueError: for a trial that is not pure or returns other fields for other settings, unknown or missing
            settings, numbers that JAX's default precision does not hold, a key of another generator than threefry, a
            share or a device that does not exist, or a store of another sweep or whose description is damaged.
        OSError: if the store cannot be written, or not any longer; what was written stays readable.

    Example:
        >>> import tempfile
        >>> def trial(key, *, scale):
        ...     return {"draw": scale * jax.random.normal(key)}
        >>> folder = tempfile.mkdtemp()
        >>> report = run(trial, {"scale": [0.0, 1.0]}, num_seeds=100, key=jax.random.key(0), store=folder,
        ...              progress=False)
        >>> report.done, report.complete
        (200, True)
    """
    if not callable(trial):
        raise ValueError(f"trial is a {type(trial).__name__}; give a function, trial(key, *, ...).")
    check_key(key)
    for name, value in (("block", block), ("memory", memory)):
        if value is not None:
            check_count(name, value)
    if not isinstance(progress, bool | np.bool_):
        raise ValueError(f"progress is {brief(progress)}; give True or False.")
    path, named = check_store_path(store), check_dims({} if dims is None else dims)
    share, mesh = check_shard(shard), check_devices(devices)
    axes = check_axes(trial, grid, {} if static is None else static, num_seeds)
    examined = examine(trial, axes, key, named, mesh[0].platform)
    wanted = identity(examined, label(trial), axes, key, f"{mesh[0].platform} {mesh[0].device_kind}")

    found = find_store(path, wanted)
    if found is None:
        blocks, lanes = fitting(examined, axes, key, mesh, block, memory)
        found = Store(path, blocks, lanes, examined.fields, wanted)
    found = begin(found)
    if block is not None and found.blocks.chunk != chunk_of(axes.inner, int(block)):
        raise ValueError(
            f"block is {block}, but {path} was begun with blocks of {found.blocks.width}, {found.blocks.chunk}; leave "
            "block out to go on with those, or give another store."
        )
    numbers, again = _todo(found, share)
    title = "sweep" if share[1] == 1 else f"sweep {share[0]}/{share[1]}"
    with Progress(found.trials(numbers), bool(progress) and jax.process_index() == 0, title) as shown:
        need = _do(found, prepare(examined, found.blocks, key, mesh, found.lanes), numbers, key, shown)
        wait_for_all("the sweep is done")
    done = found.done()
    return Report(
        store=path,
        trials=math.prod(axes.shape),
        done=found.trials(np.flatnonzero(done)),
        ran=shown.count,
        not_a_number=found.not_a_number(done),
        seconds=shown.seconds,
        width=found.blocks.width,
        memory=need,
        repaired=again,
    )


def _todo(store: Store, share: tuple[int, int]) -> tuple[list[int], int]:
    """The blocks to do, and how many of their trials were marked as done; the marks and all that was begun go."""
    found = store.survey()
    own = np.arange(store.blocks.count) % share[1] == share[0]
    if jax.process_index() == 0:
        for number, path in found.begun:
            if own[number]:
                path.unlink(missing_ok=True)
        for number in np.flatnonzero(found.damaged & own):
            store.unmark(int(number))
    numbers = [int(n) for n in np.flatnonzero(agreed(~found.done & own))]
    return numbers, store.trials(np.flatnonzero(agreed(found.damaged & own)))


def _do(store: Store, made: Sequence[Program], numbers: Sequence[int], key: Any, shown: Progress) -> int | None:
    """Compute blocks and write them; how many bytes one needs, None if there are none."""
    need, described = None, (store.path / METADATA).read_bytes()
    for program, batch, running in _batches(store.blocks, made, numbers, key):
        need = max(need or 0, program.memory)
        for number, results in _results(program, batch, running):
            _check_same_sweep(store, described)
            _write_or_say(store, number, results, shown.count)
        shown.advance(store.trials(batch))
    return need


def _check_same_sweep(store: Store, described: bytes) -> None:
    """Raise unless the store is still there, and still that of this sweep.

    Raises:
        OSError: if it has been removed, or replaced by that of another sweep.
    """
    try:
        if (store.path / METADATA).read_bytes() == described or open_store(store.path) == store:
            return
    except (OSError, ValueError):
        pass
    raise FileNotFoundError(
        f"the sweep stopped: {store.path} has been removed or replaced by another since it began. Nothing was written "
        "to what is there now; run the same again with a store of its own"
    )


def _batches(
    blocks: Blocks, made: Sequence[Program], numbers: Sequence[int], key: Any
) -> Iterator[tuple[Program, Sequence[int], dict[str, jax.Array]]]:
    """A block for each device at a time: program, blocks, and results; the next batch is under way meanwhile.

    It starts when the batch before has been computed: two at once would need twice the memory.
    """
    before = None
    for combination, program in enumerate(made):
        own = [n for n in numbers if blocks.combination(n) == combination]
        for start in range(0, len(own), len(program.devices)):
            batch = own[start : start + len(program.devices)]
            spare = len(program.devices) - len(batch)  # devices without a block repeat the last one
            if before is not None:
                jax.block_until_ready(before[2])
            running = program.run(key, [blocks.trials(n, program.width) for n in (*batch, *batch[-1:] * spare)])
            if before is not None:
                yield before
            before = program, batch, running
    if before is not None:
        yield before


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


def _write_or_say(store: Store, number: int, results: Mapping[str, np.ndarray], before: int) -> None:
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
