"""What runs in a worker: it is sent a block, checks that it is fit to compute it, compiles once, and answers.

What travels is plain: a dict with the names of versions, and pickled in it the trial and the shapes of what it gets, so
that a worker of another generation can still say why it will not do.
"""

import functools
import itertools
import multiprocessing
import os
import pickle
import socket
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from typing import Any

import jax
import numpy as np

from ird.sweep.axes import trials_of
from ird.sweep.compilation import Program, fitting
from ird.sweep.devices import Device
from ird.sweep.given import brief_error
from ird.sweep.processors import claimed, keep_programs, processor, share_of_cores
from ird.sweep.stores import open_store
from ird.sweep.trials import Trial, retrace
from ird.sweep.waiting import hear_the_keyboard
from ird.sweep.zarr_files import METADATA

__all__ = ["SPAWN", "Unfit", "name_here", "versions", "work"]
__dir__ = __all__.copy

SPAWN = 'mp_context=multiprocessing.get_context("spawn")'
BORN = os.getpid()  # the process that imported this
HELD = 4  # how many given pytrees a worker keeps

_given: OrderedDict[str, Any] = OrderedDict()  # by digest
_on_device: dict[tuple[str, Any], Any] = {}  # by digest and device
_settled: list[bool] = []  # not empty: this process shares its machine as it should
_turns = itertools.count()
_thread = threading.local()
_lock = threading.RLock()


class Unfit(Exception):
    """This worker cannot do what it was sent, and says why."""


def name_here() -> str:
    """The name of this process among all machines'."""
    return f"{socket.gethostname()}:{os.getpid()}"


def versions() -> dict[str, str]:
    """What must be the same in every worker, besides the program."""
    return {"jax": jax.__version__, "jaxlib": metadata.version("jaxlib")}


def work(spec: bytes, task: Mapping[str, Any]) -> dict[str, Any]:
    """Look around, or compute a block.

    Args:
        spec: what all blocks of a sweep share.
        task: which block; or, without a number, whether to find out how large blocks can be.

    Returns:
        An answer under one of the names "refused", "lacking", "raised", "seen" and "results" (or "written"), with the
        worker's name.
    """
    answer: dict[str, Any] = {"worker": name_here(), "processor": processor()}
    try:
        known = pickle.loads(spec)
        _settle(known)
        with jax.enable_x64(known["x64"]), jax.default_matmul_precision(known["matmul"]):
            return answer | (_compute(spec, task) if "number" in task else _look_around(spec, task))
    except Unfit as error:
        return answer | {"refused": str(error)}


def _settle(known: Mapping[str, Any]) -> None:
    """Before this process computes: whether it may, and how it shares the machine with others."""
    if os.getpid() != BORN:
        raise Unfit(f"it is a fork of a process that has loaded JAX, which may hang; make the pool with {SPAWN}")
    for what, here in versions().items():
        if known[what] != here:
            raise Unfit(f"its {what} is {here}, the caller's is {known[what]}; install the same")
    if known["caller"] == name_here():
        return
    keep_programs(known["cache"])
    if _settled:
        return
    _settled.append(True)
    # None of this does anything where JAX has looked for devices before.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if multiprocessing.parent_process() is not None and threading.current_thread() is threading.main_thread():
        hear_the_keyboard()
    with share_of_cores(known["share"]):
        jax.local_devices()  # which starts XLA's threads


@functools.lru_cache(maxsize=8)
def _inner(spec: bytes) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What was sent, and what was pickled in it."""
    known = pickle.loads(spec)
    try:
        inner = pickle.loads(known["inner"])
    except Exception as error:
        raise Unfit(
            f"it cannot load the trial ({type(error).__name__}: {brief_error(error)}); put the trial into a module "
            "that every worker can import"
        ) from error
    key = jax.eval_shape(lambda: jax.random.key(0, impl=known["key"][0])).dtype
    return known, dict(inner) | {"inputs": replace(inner["inputs"], key=key)}


def _own_device() -> Device:
    """The device of this thread: threads take turns, and so do processes that see several accelerators."""
    devices = jax.local_devices()
    if not hasattr(_thread, "turn"):
        _thread.turn = next(_turns)
    first = 0 if len(devices) == 1 or devices[0].platform == "cpu" else _accelerator(len(devices))
    return devices[(first + _thread.turn) % len(devices)]


@functools.cache
def _accelerator(count: int) -> int:
    """Which of its accelerators this process takes: the first that no other process on this machine has taken."""
    found = claimed(os.environ.get("CUDA_VISIBLE_DEVICES", "all")[:80], count)
    return os.getpid() % count if found is None else found


@functools.lru_cache(maxsize=64)
def _traced(spec: bytes, combination: int) -> Trial:
    """The trial for a choice of the static axes, as this worker traces it: it must be the caller's program."""
    known, inner = _inner(spec)
    static = inner["combinations"][combination]
    trial = retrace(inner["trial"], inner["inputs"], inner["fields"], static, known["platform"])
    there, here = trial.digests[0][:12], inner["digests"][combination][:12]
    if there != here:
        raise Unfit(
            f"the digest of the trial's program is {there} there, {here} at the caller, so its code, that of "
            "a library or a setting of JAX differs; install the same"
        )
    return trial


def _program(spec: bytes, task: Mapping[str, Any], device: Device) -> Program:
    """The program of a block."""
    known, inner = _inner(spec)
    with _lock:
        trial = _traced(spec, task["combination"])
    static = inner["combinations"][task["combination"]]
    kind = trial.inputs.described, known["key"][0]
    return Program(trial.digests[0], *kind, task["lanes"], task["steps"], (device,), trial, 0, static)


def _look_around(spec: bytes, task: Mapping[str, Any]) -> dict[str, Any]:
    """What this worker computes with; how large blocks can be, if that is asked."""
    known, inner = _inner(spec)
    device = _own_device()
    seen: dict[str, Any] = {"platform": device.platform, "device": f"{device.platform} {device.device_kind}"}
    if device.platform != known["platform"]:
        return {"seen": seen}  # its program is another: the caller traces for this platform
    with _lock:
        each = [_traced(spec, i) for i in range(len(inner["combinations"]))]
    if task["fit"]:
        digests, programs = tuple(t.digests[0] for t in each), tuple(t.programs[0] for t in each)
        trial = Trial(each[0].call, each[0].fields, digests, programs, inner["inputs"])
        key = _key(known)
        blocks, lanes = fitting(trial, task["axes"], key, (device,), task["block"], task["memory"], task["pieces"])
        seen |= {"chunk": blocks.chunk, "lanes": lanes}
    return {"seen": seen}


def _key(known: Mapping[str, Any]) -> Any:
    kind, data = known["key"]
    return jax.random.wrap_key_data(jax.numpy.asarray(data, np.uint32), impl=kind)


def _compute(spec: bytes, task: Mapping[str, Any]) -> dict[str, Any]:
    """Compute a block: its results, or that they have been written."""
    known, _ = _inner(spec)
    device = _own_device()
    if f"{device.platform} {device.device_kind}" != known["device"]:
        raise Unfit(f"its device is {device.platform} {device.device_kind}, the store's is {known['device']}")
    if not _hold(task):
        return {"lacking": True}
    program = _program(spec, task, device)
    given = _given_here(task["given"], program, device)
    settings, seeds = trials_of(task["settings"], range(*task["seeds"]), program.width)
    count = len(range(*task["seeds"])) * int(np.prod([len(v) for v in task["settings"].values()], dtype=int))
    if task["cases"] is not None:
        name, tree = task["cases"]
        settings[name] = jax.tree.map(lambda x: x[seeds - task["seeds"][0]], tree)

    def results(chosen: np.ndarray) -> dict[str, np.ndarray]:
        picked = jax.tree.map(lambda x: x[chosen], (settings, seeds))
        return {name: np.asarray(x) for name, x in program.run(_key(known), [picked], given).items()}

    try:
        found = results(np.arange(program.width))
    except Exception as error:
        wrong = {"raised": f"{type(error).__name__}: {brief_error(error)}"}
        if task["last"]:
            at = _first_that_raises(results, count, program.width)
            wrong |= {"settings": {n: settings[n][at].item() for n in task["settings"]}, "seed": int(seeds[at])}
        return wrong
    found = {name: values[:count] for name, values in found.items()}
    if task["store"] is None:
        return {"results": found, "memory": program.memory}
    _write(task, found)
    return {"written": count, "memory": program.memory}


def _first_that_raises(results: Any, count: int, width: int) -> int:
    """A trial without which a block would not raise, found by halves."""
    left, right = 0, count
    while right - left > 1:
        middle = (left + right) // 2
        try:
            results(np.resize(np.arange(left, middle), width))
        except Exception:
            right = middle
        else:
            left = middle
    return left


def _hold(task: Mapping[str, Any]) -> bool:
    """Whether this worker has what every trial gets, kept from an earlier block or sent with this one."""
    digest, sent = task["given"], task["sent"]
    with _lock:
        if sent is not None and digest not in _given:
            _given[digest] = pickle.loads(sent)
            for old in list(_given)[:-HELD]:
                del _given[old]
                for key in [key for key in _on_device if key[0] == old]:
                    del _on_device[key]
        return not digest or digest in _given


def _given_here(digest: str, program: Program, device: Device) -> Any:
    """What every trial gets, on the device."""
    if not digest:
        return []
    with _lock:
        if (digest, device) not in _on_device:
            _on_device[digest, device] = program.on_every_device(_given[digest])
        return _on_device[digest, device]


def _write(task: Mapping[str, Any], results: Mapping[str, np.ndarray]) -> None:
    """Write a block to the store, if it is there."""
    path, described = task["store"]
    try:
        found = (open_store(path).path / METADATA).read_bytes() == described
    except (OSError, ValueError):
        found = False
    if not found:
        raise Unfit(
            f"it does not see the store {path} that the caller has made; write='workers' needs a file system that all "
            "share, write='caller' does not"
        )
    open_store(path).write(task["number"], results)
