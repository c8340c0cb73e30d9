"""Where a sweep runs: which devices, which share of the blocks, which processes.

Shares of one store need no connection: worker i of n does the blocks whose number leaves the remainder
i.  Processes that `jax.distributed` has joined are one program, and its devices one mesh.
"""

import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ird.sweep.axes import brief

__all__ = ["Device", "Devices", "agreed", "check_devices", "check_shard", "wait_for_all"]
__dir__ = __all__.copy

Device = Any  # jax.Device, which is no class that a type checker knows
Devices = tuple[Device, ...]


def check_shard(shard: tuple[int, int] | str) -> tuple[int, int]:
    """Which share of the blocks to do: `(i, n)` or "i/n", counted from 0.

    Raises:
        ValueError: for anything else, or i outside 0..n-1.

    Example:
        >>> check_shard("2/8")
        (2, 8)
    """
    parts = re.fullmatch(r"\s*(-?\d+)\s*/\s*(-?\d+)\s*", shard, re.ASCII) if isinstance(shard, str) else None
    pair: Any = tuple(int(part) for part in parts.groups()) if parts else shard
    whole = isinstance(pair, tuple | list) and all(
        isinstance(x, int | np.integer) and not isinstance(x, bool) for x in pair
    )
    if not whole or len(pair) != 2 or int(pair[1]) < 1:
        raise ValueError(f"shard is {brief(shard)}; give i/n, worker i of n, such as '0/4' or (0, 4).")
    i, n = int(pair[0]), int(pair[1])
    if not 0 <= i < n:
        raise ValueError(f"shard is {i}/{n}, which is out of range; with {n} workers they are 0/{n} to {n - 1}/{n}.")
    return i, n


def check_devices(devices: int | Sequence[Any] | None) -> Devices:
    """The devices to use: all, the first few of each process, or those listed.

    Args:
        devices: None for all; how many; or a sequence of devices, or of their numbers in `jax.local_devices()`.

    Raises:
        ValueError: for one that does not exist, or none.
    """
    local = jax.local_devices()
    if devices is None:
        return tuple(jax.devices())
    if isinstance(devices, int | np.integer) and not isinstance(devices, bool):
        if not 1 <= devices <= len(local):
            raise ValueError(f"devices is {devices}, but {_there_are(local)}.")
        wanted = list(range(int(devices)))
    elif isinstance(devices, str | bytes) or not isinstance(devices, Sequence) or not devices:
        raise ValueError(f"devices is {brief(devices)}; give how many, or a sequence of devices or of their numbers.")
    elif all(isinstance(d, jax.Device) for d in devices):
        gone = [d for d in devices if d not in jax.devices(d.platform)]
        if gone or len(set(devices)) < len(devices) or len({d.platform for d in devices}) > 1:
            raise ValueError(f"devices is {list(devices)}; list devices of one kind, each once, that exist here.")
        return tuple(devices)
    else:
        wanted = [int(d) if isinstance(d, np.integer) else d for d in devices]
        for number in wanted:
            if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(local):
                raise ValueError(f"devices lists {brief(number)}, but {_there_are(local)}.")
        if len(set(wanted)) < len(wanted):
            raise ValueError(f"devices is {wanted}; list each device once.")
    owners: dict[int, list[Device]] = {}
    for device in jax.devices():
        owners.setdefault(device.process_index, []).append(device)
    short = [p for p, owned in owners.items() if max(wanted) >= len(owned)]
    if short:
        raise ValueError(f"devices is {devices}, but process {short[0]} has only {len(owners[short[0]])}.")
    return tuple(owners[p][number] for p in sorted(owners) for number in wanted)


def _there_are(local: Sequence[Device]) -> str:
    names = ", ".join(f"{i}: {device}" for i, device in enumerate(local))
    more = (
        "; XLA_FLAGS=--xla_force_host_platform_device_count=N makes N of the CPU" if local[0].platform == "cpu" else ""
    )
    return f"there {'is' if len(local) == 1 else 'are'} {len(local)} here ({names}{more})"


def agreed(values: np.ndarray) -> np.ndarray:
    """What the first process says, in every process of this program."""
    if jax.process_count() == 1:
        return values
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.broadcast_one_to_all(values))


def wait_for_all(what: str) -> None:
    """Wait until every process of this program is here."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(what)
