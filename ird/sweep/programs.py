"""The program of a block: compiled once per shape, the same on every device, and as wide as memory allows.

Every device computes a block of its own under `jit(vmap)`, mapped over a one-dimensional mesh without any
communication, so that a block's results depend neither on how many devices there are nor on which one
computes it.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ird.sweep.axes import Axes, Blocks, chunk_of
from ird.sweep.places import Devices, agreed
from ird.sweep.trials import Trial

AXIS = "trials"
PIECES = 8  # blocks per device at least: for progress, and so that little is lost when a run is killed
FIRST = 256  # width that is tried first
ON_HOST = 2**30  # bytes of a block on a CPU, at most: more is no faster


@dataclass(frozen=True)
class Program:
    """What is compiled; equal programs are compiled once in a process.

    Attributes:
        digest: digest of the program of one trial.
        settings: name and dtype of each traced setting.
        key: the kind of key.
        width: trials per device.
        devices: the mesh.
        trial: the trial.
        static: this program's choice of the static axes.
    """

    digest: str
    settings: tuple[tuple[str, str], ...]
    key: str
    width: int
    devices: Devices
    trial: Trial = field(compare=False)
    static: Mapping[str, Any] = field(compare=False)

    @property
    def mesh(self) -> Mesh:
        """The devices in a row."""
        return Mesh(np.array(self.devices), (AXIS,))

    def spread(self, host: np.ndarray) -> jax.Array:
        """One number per trial, laid out over the devices, of which each process fills its own."""
        sharding = NamedSharding(self.mesh, PartitionSpec(AXIS))
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    def run(self, key: Any, blocks: Sequence[tuple[dict[str, np.ndarray], np.ndarray]]) -> dict[str, jax.Array]:
        """Start computing one block per device; the results are there when they are looked at."""
        settings = {name: np.concatenate([s[name] for s, _ in blocks]) for name, _ in self.settings}
        seeds = np.concatenate([seed for _, seed in blocks])
        key = np.asarray(jax.random.key_data(key))
        return compiled(self)(key, self.spread(seeds), {name: self.spread(x) for name, x in settings.items()})

    @property
    def memory(self) -> int:
        """Bytes that a block needs on its device: its settings, its results and everything in between."""
        found = compiled(self).memory_analysis()
        return int(found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes)


@functools.lru_cache(maxsize=64)
def compiled(program: Program) -> Any:
    """The compiled program."""

    def block(key_data, seeds, settings):
        key = jax.random.wrap_key_data(key_data, impl=program.key)

        def one(seed, settings):
            return program.trial.results(jax.random.fold_in(key, seed), program.static, settings)

        return jax.vmap(one)(seeds, settings)

    spread, whole = PartitionSpec(AXIS), PartitionSpec()
    mapped = jax.shard_map(
        block, mesh=program.mesh, in_specs=(whole, spread, spread), out_specs=spread, check_vma=False
    )
    total = program.width * len(program.devices)
    over = NamedSharding(program.mesh, spread)
    key_data = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0, impl=program.key)))
    seeds = jax.ShapeDtypeStruct((total,), np.uint32, sharding=over)
    settings = {name: jax.ShapeDtypeStruct((total,), dtype, sharding=over) for name, dtype in program.settings}
    return jax.jit(mapped).lower(key_data, seeds, settings).compile()


def programs(trial: Trial, axes: Axes, key: Any, devices: Devices, width: int) -> list[Program]:
    """The program of each choice of the static axes."""
    settings = tuple((name, str(values.dtype)) for name, values in axes.traced.items())
    return [
        Program(digest, settings, str(jax.random.key_impl(key)), width, devices, trial, static)
        for digest, static in zip(trial.digests, axes.combinations, strict=True)
    ]


def fitting(make: Callable[[int], list[Program]], axes: Axes, num_devices: int, budget: int) -> Blocks:
    """The largest blocks that fit a budget of bytes per device, of which every device gets several.

    Memory grows in proportion to the width, but for a constant: each guess is compiled and measured.
    """
    most = max(1, -(-int(np.prod(axes.inner)) // (PIECES * num_devices)))
    blocks = Blocks(axes, chunk_of(axes.inner, min(most, FIRST)))
    grown = False
    while True:
        worst = max(program.memory for program in make(blocks.width))
        if worst > budget and blocks.width > 1:
            wanted, grown = min(blocks.width - 1, int(0.95 * blocks.width * budget / worst)), True
        elif worst < budget / 4 and not grown:
            wanted, grown = min(most, int(0.95 * blocks.width * budget / worst)), True
        else:
            return blocks
        found = Blocks(axes, chunk_of(axes.inner, max(1, wanted)))
        if found.width == blocks.width:
            return blocks
        blocks = found


def budget(memory: int | None, devices: Devices) -> int:
    """Bytes that a block may need on its device: what was asked for, or half of what an accelerator has.

    On a CPU a quarter of what is free, shared by its devices, and at most 1 GiB each.
    """
    size = memory
    if size is None:
        here = [d for d in devices if d.process_index == jax.process_index()] or list(devices)
        stats = here[0].memory_stats()
        if stats and stats.get("bytes_limit"):
            size = int(stats["bytes_limit"]) // 2
        else:
            size = min(ON_HOST, _free_bytes() // (4 * len(here)))
    return int(agreed(np.asarray(max(size // 1024, 1), np.int32))) * 1024  # int32: KiB


def _free_bytes() -> int:
    """Memory of this machine, or of this container, that can still be had."""
    found = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(1024 * int(line.split()[1]))
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            found.append(int(limit) - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return max(min(found, default=4 * ON_HOST), 2**20)
