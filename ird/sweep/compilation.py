"""The program of a block: compiled once per shape, the same on every device, and no larger than memory allows.

Every device computes a block of its own under `jit(vmap)`, mapped over a one-dimensional mesh without any
communication, so that a block's results depend neither on how many devices there are nor on which one
computes it.  An accelerator takes the whole block at once.  A processor takes it a few trials after another:
as many as its caches hold, which is faster than all at once, whatever the size of the block.
"""

import functools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ird.sweep.axes import Axes, Blocks, chunk_of
from ird.sweep.devices import Devices, agreed
from ird.sweep.trials import Trial
from ird.sweep.waiting import apart, say

__all__ = ["Program", "compiled", "fitting", "prepare"]
__dir__ = __all__.copy

AXIS = "trials"
PIECES = 8  # blocks per device at least: for progress, and so that little is lost when a run is killed
FIRST_ON_DEVICE = 256  # how many trials at once are tried first
ARRAYS = 4  # a trial needs about the memory of so many arrays like its largest: a processor's first guess
CACHE = 2**24  # bytes of the trials that a processor takes at once
MOST_STEPS = 64  # how many times it does so in a block


@dataclass(frozen=True)
class Program:
    """What is compiled; equal programs are compiled once in a process.

    Attributes:
        digest: digest of the program of one trial.
        gets: shape and type of each array that a trial gets, whether it uses it or not.
        key: the kind of key.
        lanes: trials that a device computes at once.
        steps: how many times it does so in a block.
        devices: the mesh.
        trial: the trial.
        combination: this program's choice of the static axes, by number.
        static: that choice.
    """

    digest: str
    gets: tuple[str, ...]
    key: str
    lanes: int
    steps: int
    devices: Devices
    trial: Trial = field(compare=False)
    combination: int = field(compare=False)
    static: Mapping[str, Any] = field(compare=False)

    @property
    def width(self) -> int:
        """Trials per device; a block may have fewer."""
        return self.lanes * self.steps

    @property
    def mesh(self) -> Mesh:
        """The devices in a row."""
        return Mesh(np.array(self.devices), (AXIS,))

    def over_devices(self, host: np.ndarray, axis: str | None = AXIS) -> jax.Array:
        """What each trial has, laid out over the devices, or what all have; each process fills its own."""
        sharding = NamedSharding(self.mesh, PartitionSpec(axis))
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    def on_every_device(self, given: Any) -> Any:
        """The arrays of what every trial gets, where the trials are computed."""
        return [self.over_devices(x, None) for x in jax.tree.leaves(given)]

    def run(self, key: Any, blocks: Sequence[tuple[Any, np.ndarray]], given: Any) -> dict[str, jax.Array]:
        """Start computing one block per device; the results are there when they are looked at.

        Args:
            key: the key of the sweep.
            blocks: settings and seeds of the trials of each block.
            given: what `on_every_device` has returned.
        """
        along = zip(*(jax.tree.leaves(settings) for settings, _ in blocks), strict=True)
        settings = [self.over_devices(np.concatenate(each)) for each in along]
        seeds = self.over_devices(np.concatenate([seed for _, seed in blocks]))
        return compiled(self)(np.asarray(jax.random.key_data(key)), seeds, settings, given)

    @property
    def memory(self) -> int:
        """Bytes that a block needs on its device: its settings, its results and everything in between."""
        found = compiled(self).memory_analysis()
        return int(found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes)

    @property
    def memory_at_once(self) -> int:
        """Bytes of the trials that are computed at once."""
        found = compiled(self).memory_analysis()
        same = sum(int(np.prod(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(self.trial.inputs.given))
        kept = found.argument_size_in_bytes + found.output_size_in_bytes - same
        return int(kept // self.steps + found.temp_size_in_bytes)


_ONE_AT_A_TIME = threading.RLock()  # threads that want one program must not all compile it


def compiled(program: Program) -> Any:
    """The compiled program."""
    with _ONE_AT_A_TIME:
        return _compiled_once(program)


@functools.lru_cache(maxsize=64)
def _compiled_once(program: Program) -> Any:
    """The same, which threads must not ask for at once."""
    say("compiling")

    inputs = program.trial.inputs

    def block(key_data, seeds, settings, given):
        key = jax.random.wrap_key_data(key_data, impl=program.key)
        settings = jax.tree.unflatten(jax.tree.structure(inputs.settings), settings)
        given = jax.tree.unflatten(jax.tree.structure(inputs.given), given)

        def one(seed, settings):
            own = jax.random.fold_in(key, seed)
            return program.trial.results(program.combination, own, program.static, settings, given)

        if program.steps == 1:
            return jax.vmap(one)(seeds, settings)
        split = jax.tree.map(lambda x: x.reshape(program.steps, program.lanes, *x.shape[1:]), (seeds, settings))
        found = jax.lax.map(lambda now: jax.vmap(one)(*now), split)
        return jax.tree.map(lambda x: x.reshape(program.width, *x.shape[2:]), found)

    spread, whole = PartitionSpec(AXIS), PartitionSpec()
    mapped = jax.shard_map(
        block, mesh=program.mesh, in_specs=(whole, spread, spread, whole), out_specs=spread, check_vma=False
    )
    total = program.width * len(program.devices)
    over, same = NamedSharding(program.mesh, spread), NamedSharding(program.mesh, whole)
    key_data = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0, impl=program.key)))
    seeds = jax.ShapeDtypeStruct((total,), np.uint32, sharding=over)
    settings = [
        jax.ShapeDtypeStruct((total, *x.shape), x.dtype, sharding=over) for x in jax.tree.leaves(inputs.settings)
    ]
    given = [jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=same) for x in jax.tree.leaves(inputs.given)]
    return apart(jax.jit(mapped).lower(key_data, seeds, settings, given).compile)


def prepare(trial: Trial, blocks: Blocks, key: Any, devices: Devices, lanes: int) -> list[Program]:
    """The program of each choice of the static axes."""
    steps, kind = -(-blocks.width // lanes), str(jax.random.key_impl(key))
    return [
        Program(digest, trial.inputs.described, kind, lanes, steps, devices, trial, number, static)
        for number, (digest, static) in enumerate(zip(trial.digests, blocks.axes.combinations, strict=True))
    ]


def fitting(
    trial: Trial, axes: Axes, key: Any, devices: Devices, block: int | None, memory: int | None, pieces: int = 0
) -> tuple[Blocks, int]:
    """How to divide the trials, and how many to compute at once: what fits, several blocks for each device.

    Memory grows in proportion to the trials at once, but for a constant: each guess is compiled and measured.  A
    processor's caches may be missed a little: another program would cost a sweep more.

    Args:
        trial: the trial.
        axes: what is varied.
        key: the key of the sweep.
        devices: where it runs.
        block: trials of a block at most; None to choose.
        memory: bytes that the trials computed at once may need; None to choose.
        pieces: blocks of each choice of the static axes at least, where the size is ours to choose.
    """
    on_host = devices[0].platform == "cpu"
    most = block or max(1, -(-int(np.prod(axes.inner)) // max(PIECES * len(devices), pieces)))

    def divided(lanes: int) -> Blocks:
        """Blocks of a number of trials at once, or on a processor of a number of times that."""
        return Blocks(axes, chunk_of(axes.inner, block or min(most, MOST_STEPS * lanes if on_host else lanes)))

    if block and not on_host and memory is None:
        return divided(block), divided(block).width
    kibibytes = min(_budget(memory, devices) // 1024, 2**31 - 1)  # one number of 32 bits, for all processes
    allowed = int(agreed(np.asarray(kibibytes, np.int32))) * 1024
    loose = on_host and memory is None
    first = max(1, allowed // (ARRAYS * trial.largest_array)) if loose else FIRST_ON_DEVICE
    lanes, grown = min(most, first), False
    while True:
        blocks = divided(lanes)
        lanes = min(lanes, blocks.width)
        need = max(program.memory_at_once for program in prepare(trial, blocks, key, devices, lanes))
        if need > (2 * allowed if loose else allowed) and lanes > 1:
            lanes, grown = max(1, min(lanes - 1, int(0.95 * lanes * allowed / need))), True
            continue
        wider = min(most, int(0.95 * lanes * allowed / need))
        if grown or wider < (4 if loose else 2) * lanes:
            return blocks, lanes
        lanes, grown = wider, True


def _budget(memory: int | None, devices: Devices) -> int:
    """Bytes that the trials computed at once may need: as asked, a processor's caches, half of an accelerator."""
    if memory is not None:
        return max(memory, 1024)
    here = [d for d in devices if d.process_index == jax.process_index()] or list(devices)
    stats = here[0].memory_stats()
    return int(stats["bytes_limit"]) // 2 if stats and stats.get("bytes_limit") else CACHE
