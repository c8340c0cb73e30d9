"""Run a sweep: check the trial, open the store, and do what is left, here or on the workers of an engine."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ird.sweep.axes import Axes, Blocks, Values, brief, check_axes, chunk_of, label
from ird.sweep.compilation import PIECES, fitting, prepare
from ird.sweep.devices import Devices, agreed, check_devices, check_shard, wait_for_all
from ird.sweep.engines import AHEAD, Engine, check_executor
from ird.sweep.fields import check_dims
from ird.sweep.given import NOTHING, Cases, Given, check_given, check_travels
from ird.sweep.growth import extend_store
from ird.sweep.opening import begin, find_store, identity
from ird.sweep.plain import do_here
from ird.sweep.processors import processor, program_folder, programs_kept
from ird.sweep.progress import Progress, clock
from ird.sweep.spread import Spread, warn_of_mixture
from ird.sweep.stores import Store, check_store_path
from ird.sweep.trials import Trial, check_key, examine
from ird.sweep.waiting import INTERRUPTED, STOPPED, Stopped, heard_by
from ird.sweep.zarr_files import METADATA
from mdps.checks import check_count, check_truth

__all__ = ["Asked", "Report", "carry_out", "check_engine", "run"]
__dir__ = __all__.copy

WRITERS = ("caller", "workers")


@dataclass(frozen=True)
class Asked:
    """A sweep that has been asked for, its arguments checked.

    Attributes:
        trial: the trial.
        axes: what is varied.
        key: the key.
        path: where the store is.
        mesh: this program's devices.
        dims: names for axes of fields.
        block: trials of a block at most.
        memory: bytes for the trials at once.
        share: which blocks.
        progress: whether to show it.
        given: what every trial gets.
        cases: the cases of a map.
        engine: where blocks are computed, if not here.
        by_workers: whether workers write the store.
        stop: whether the first trial that raises ends it.
        cache: a folder for compiled programs.
        extend: whether the store may be that of a smaller sweep.
    """

    trial: Callable
    axes: Axes
    key: Any
    path: Path
    mesh: Devices
    dims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    block: int | None = None
    memory: int | None = None
    share: tuple[int, int] = (0, 1)
    progress: bool = True
    given: Given = NOTHING
    cases: Cases | None = None
    engine: Engine | None = None
    by_workers: bool = False
    stop: bool = False
    cache: Path | None = None
    extend: bool = False


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
    given: Any = {},  # noqa: B006 - it is read only
    executor: Any = None,
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
        given: a pytree of arrays that every trial gets, traced: in one piece as its argument `given`; or, where it has
            none, each entry of a mapping as the argument of that name.  Workers get it once.
        executor: computes the blocks, each on one device of a worker: an object whose `submit` returns something with
            `done()` and `result()`, such as a pool of `concurrent.futures` or Dask's `client.get_executor()`.  The
            trial must be importable there.  None: all devices of this program compute.
        workers: how many blocks the executor computes at a time; None: what it says of itself, or one for each core
            here.  Twice as many are handed to it at most.
        write: who writes the store: the "caller", whom workers send results; or the "workers", who see its file system.
        stop_at_error: whether the first trial that raises on a worker ends the sweep; else the others go on.
        extend: whether the store may be that of the same sweep with fewer seeds, or with fewer values at the end of an
            axis: what is done is kept, to the bit, and blocks keep their size.
        cache: a folder for compiled programs, so that no worker compiles what another has; nothing where JAX has been
            told one already.
        block: trials between one writing and the next, at most; when None, what memory allows, and less where each
            device would get only a few blocks.  Blocks are boxes of trials, so a few less may be taken.
        memory: bytes that the trials which a device computes at once may need (an accelerator takes a block at once,
            a processor a few trials after another); None: half of the accelerator's, or 16 MiB, which caches hold.
        devices: how many devices of each process to use, or which; all when None.
        shard: do only share i of n, `(i, n)` or "i/n", counted from 0; n workers with one store do it all.
        progress: whether to show what is being done, rate and time left, on standard error.

    Returns:
        A `Report`.

    Raises:
        ValueError: for a trial that is not pure or returns other fields for other settings, unknown or missing
            settings, numbers that JAX's default precision does not hold, a key of another generator than threefry, a
            share or a device that does not exist, a store of another sweep or whose description is damaged, a trial
            that cannot be pickled, or a worker with another program or another JAX.
        RuntimeError: if trials raise on workers (their settings and seeds are named, the others done), or the
            executor breaks (the same call with another goes on).
        OSError: if the store cannot be written, or not any longer; what was written stays readable.
        SystemExit: on Ctrl-C, which is a KeyboardInterrupt too; started again, it goes on.

    Example:
        >>> import tempfile
        >>> def trial(key, *, scale):
        ...     return {"draw": scale * jax.random.normal(key)}
        >>> folder = tempfile.mkdtemp()
        >>> report = run(trial, {"scale": [0.0, 1.0]}, num_seeds=100, key=jax.random.key(0), store=folder,
        ...              progress=False)
        >>> report.done, report.complete
        (200, True)

        On two threads, with a trial that others can import:

        >>> from concurrent.futures import ThreadPoolExecutor
        >>> with ThreadPoolExecutor(2) as pool:
        ...     report = run(jax.random.bernoulli, {"p": [0.1, 0.9]}, num_seeds=50, key=jax.random.key(0),
        ...                  store=tempfile.mkdtemp(), executor=pool, progress=False)
        >>> report.complete
        True
    """
    if not callable(trial):
        raise ValueError(f"trial is a {type(trial).__name__}; give a function, trial(key, *, ...).")
    check_key(key)
    check_truth("extend", extend)
    path = check_store_path(store)
    engine = check_engine(trial, executor, workers, write, stop_at_error, devices)
    found = check_given(trial, given)
    asked = Asked(
        trial=trial,
        axes=check_axes(trial, grid, {} if static is None else static, num_seeds, found.names),
        key=key,
        path=path,
        mesh=check_devices(devices),
        dims=check_dims({} if dims is None else dims),
        block=block,
        memory=memory,
        share=check_shard(shard),
        progress=progress,
        given=found,
        engine=engine,
        by_workers=write == "workers",
        stop=bool(stop_at_error),
        cache=program_folder(cache, path),
        extend=bool(extend),
    )
    return carry_out(asked)


def check_engine(trial: Callable, executor: Any, workers: Any, write: Any, stop: Any, devices: Any) -> Engine | None:
    """The engine, if blocks are to be computed by one, once what is said of it is known to make sense.

    Raises:
        ValueError: for an executor that is none, a trial that cannot be sent to it, and what only an executor can do.
    """
    if workers is not None:
        workers = check_count("workers", workers)
    check_truth("stop_at_error", stop)
    if not isinstance(write, str) or write not in WRITERS:
        raise ValueError(f"write is {brief(write)}; give 'caller' or 'workers': who writes the store.")
    if executor is None:
        for name, used in (("workers", workers is not None), ("write", write != "caller"), ("stop_at_error", stop)):
            if used:
                raise ValueError(f"{name} is about the workers of an executor, and there is none; give executor= too.")
        return None
    engine = check_executor(executor, workers)
    if devices is not None:
        raise ValueError("devices are those of this program, and an executor computes on its workers'; leave one out.")
    check_travels(label(trial), trial)
    if jax.process_count() > 1:
        raise ValueError("executor is given in a program of several processes; use it in one process, or leave it out.")
    return engine


def carry_out(asked: Asked) -> Report:
    """Do what is asked, saying how far it is; Ctrl-C ends it in good order.

    Raises:
        ValueError: for a block, an amount of memory or a progress that is none.
        Stopped: on Ctrl-C.
    """
    for name, value in (("block", asked.block), ("memory", asked.memory)):
        if value is not None:
            check_count(name, value)
    check_truth("progress", asked.progress)
    i, n = asked.share
    title = "sweep" if n == 1 else f"sweep {i}/{n}"
    shown = Progress(0, bool(asked.progress) and jax.process_index() == 0, title)
    try:
        with shown, heard_by(shown.say), programs_kept(asked.cache):
            return _carried_out(asked, shown)
    except KeyboardInterrupt:
        print(f"{title}: {STOPPED}", file=sys.stderr, flush=True)
        raise Stopped(INTERRUPTED) from None


def _carried_out(asked: Asked, shown: Progress) -> Report:
    """The same, without the frame."""
    shown.say("tracing")
    axes, path, device = asked.axes, asked.path, asked.mesh[0]
    examined, spread, seen = _examined(asked, device.platform), None, {}
    kind, own = f"{device.platform} {device.device_kind}", processor()
    if asked.engine is not None:
        spread, seen = _meet(asked, asked.engine, examined, device.platform)
        examined, kind, own = spread.examined, seen["device"], seen["processor"]
    own = own if kind.startswith("cpu") else ""
    wanted = identity(examined, label(asked.trial), axes, asked.key, kind, own, asked.given, asked.cases)
    if asked.extend:
        extend_store(path, wanted, axes, examined, asked.cases)
    found = find_store(path, wanted)
    if found is None:
        if spread is None:
            blocks, lanes = fitting(examined, axes, asked.key, asked.mesh, asked.block, asked.memory)
        else:
            blocks, lanes = Blocks(axes, tuple(seen["chunk"])), seen["lanes"]
        found = Store(path, blocks, lanes, examined.fields, wanted)
    found = begin(found)
    if asked.block is not None and not asked.extend and found.blocks.chunk != chunk_of(axes.inner, int(asked.block)):
        raise ValueError(
            f"block is {asked.block}, but {path} was begun with blocks of {found.blocks.width}, {found.blocks.chunk}; "
            "leave block out to go on with those, or give another store."
        )
    numbers, again = _todo(found, asked.share)
    shown.expect(found.trials(numbers))
    if spread is None:
        if numbers:
            warn_of_mixture(found, own, "this machine")
        made = prepare(examined, found.blocks, asked.key, asked.mesh, found.lanes)
        need = do_here(found, made, numbers, asked.key, asked.given.tree, asked.cases, shown)
        wait_for_all("the sweep is done")
    else:
        need = spread.do(found, numbers, shown)
    return _report(found, shown, need, again)


def _examined(asked: Asked, platform: str) -> Trial:
    """The trial, once it is known to be pure, as it is on a platform."""
    return examine(asked.trial, asked.axes, asked.key, asked.dims, platform, asked.given, asked.cases)


def _meet(asked: Asked, engine: Engine, examined: Trial, platform: str) -> tuple[Spread, Mapping[str, Any]]:
    """What is to be spread, traced for the platform of the workers, and what one of them sees."""
    pieces = max(PIECES * len(asked.mesh), -(-AHEAD * engine.size // len(asked.axes.combinations)))
    fit = not (asked.path / METADATA).exists(), asked.block, asked.memory, pieces
    spread = Spread(
        engine, asked.trial, examined, asked.axes, asked.key, platform, asked.given, asked.cases, asked.cache,
        asked.by_workers, asked.stop,
    )  # fmt: skip
    seen = spread.look(*fit)
    if seen["platform"] != platform:
        spread = replace(spread, examined=_examined(asked, seen["platform"]), platform=seen["platform"])
        seen = spread.look(*fit)
    return spread, seen


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


def _report(store: Store, shown: Progress, need: int | None, again: int) -> Report:
    """What this run did."""
    done = store.done()
    return Report(
        store=store.path,
        trials=math.prod(store.blocks.axes.shape),
        done=store.trials(np.flatnonzero(done)),
        ran=shown.count,
        not_a_number=store.not_a_number(done),
        seconds=shown.seconds,
        width=store.blocks.width,
        memory=need,
        repaired=again,
    )
