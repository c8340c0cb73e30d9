"""Nothing is lost: killed anywhere, full, or shared by several processes, a store ends up the same to the last bit."""

import errno
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import sweep_worker

from ird import sweep
from ird.sweep.zarr_files import encode

pytestmark = pytest.mark.usefixtures("unannotated_throughout")  # of sweeps, tests/test_ird_sweep.py checks them
ROOT = Path(__file__).parent.parent
WORKER = [sys.executable, str(ROOT / "tests" / "sweep_worker.py")]


def contents(store):
    """Every file of a store, hidden ones too, with its bytes."""
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def environment(**more):
    return os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "JAX_PLATFORMS": "cpu"} | more


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The worker's sweep, run here without interruption."""
    store = tmp_path_factory.mktemp("whole") / "s.zarr"
    report = sweep_worker.run(store)
    assert report.complete and report.trials == 2 * 3 * 2 * 30 and report.not_a_number["root"] > 0
    return store


def check_what_is_there(store, whole):
    """What a store says is done has the results of the uninterrupted run; returns the share that is."""
    if not store.exists():
        return 0.0
    found, expected = sweep.arrays(store), sweep.arrays(whole)
    done = found["done"].values
    for name, (dims, values) in expected.items():
        if dims[: done.ndim] == found["done"].dims and name != "done":
            np.testing.assert_array_equal(found[name].values[done], values[done])
    return done.mean()


class Killed(BaseException):
    """As if the process ended here."""


class Crash:
    """Counts calls of functions of `os`, and ends the process, as it were, at one of them.

    Forcing to the disk is counted, not done: the process ends there, not the machine.
    """

    def __init__(self, monkeypatch, *names):
        self.monkeypatch, self.steps = monkeypatch, 0
        self.originals = {name: getattr(os, name) for name in names}

    def at(self, last):
        """Count from 0 again, and end at the `last`; never for None."""
        self.steps = 0
        for name in self.originals:
            self.monkeypatch.setattr(os, name, self._counting(name, last))

    def never(self):
        """Functions as they were."""
        for name, original in self.originals.items():
            self.monkeypatch.setattr(os, name, original)

    def _counting(self, name, last):
        def call(*arguments, **more):
            if self.steps == last:
                raise Killed
            self.steps += 1
            return None if name == "fsync" else self.originals[name](*arguments, **more)

        return call


def trial(key, *, scale):
    x = scale * jax.random.normal(key, (2,))
    return {"x": x, "big": x[0] > 1}


def small(store, **more):
    arguments = {"num_seeds": 4, "key": jax.random.key(1), "block": 2, "progress": False} | more
    return sweep.run(trial, {"scale": [1.0, 2.0]}, store=store, **arguments)


def test_a_crash_at_every_kind_of_write_loses_nothing(tmp_path, monkeypatch):
    expected, crash = tmp_path / "expected", Crash(monkeypatch, "fsync", "replace", "rename", "mkdir")
    crash.at(None)
    small(expected)
    number = crash.steps
    assert number > 4 * 12  # four blocks of twelve; every fifth meets each of the twelve
    for last in range(0, number, 5):
        store = tmp_path / f"killed_{last}"
        crash.at(last)
        with pytest.raises(Killed):
            small(store)
        check_what_is_there(store, expected)
        crash.at(None)
        assert small(store).complete
        assert contents(store) == contents(expected)
        assert not list(tmp_path.glob(".*"))  # nor beside it
        crash.never()


def test_killed_again_and_again_at_random_it_ends_up_the_same(tmp_path, whole):
    store, rng = tmp_path / "s.zarr", np.random.default_rng(0)
    with subprocess.Popen(
        [*WORKER, "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env=environment(),
    ) as server:

        def marks():
            return sum(len(files) for _, _, files in os.walk(store / "done" / "c"))

        def kill_after(pid, blocks, seconds):
            """Kill a run so many seconds after it has done so many blocks; how it ended."""
            enough, late = marks() + blocks, time.monotonic() + 120
            while marks() < enough and time.monotonic() < late and not select.select([server.stdout], [], [], 0.001)[0]:
                pass
            if not select.select([server.stdout], [], [], seconds)[0]:
                os.kill(pid, signal.SIGKILL)
            return int(server.stdout.readline())

        kills, share, ended = 0, [0.0], None
        while ended != 0:
            print(store, file=server.stdin, flush=True)
            pid = int(server.stdout.readline())
            ended = kill_after(pid, blocks=rng.integers(0, 8), seconds=rng.uniform(0, 0.05))
            assert ended in (0, -signal.SIGKILL)
            kills += ended != 0
            share.append(check_what_is_there(store, whole))
        assert kills >= 3 and share == sorted(share)  # what was done stays done
        assert contents(store) == contents(whole)
        assert not list(tmp_path.glob(".*"))
        server.stdin.close()
        server.wait(timeout=30)


def test_a_full_disk_stops_it_and_leaves_what_was_written(tmp_path, monkeypatch):
    expected, store = tmp_path / "expected", tmp_path / "s"
    small(expected)
    real, left = os.fsync, 40

    def fsync(handle):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match=r"the sweep stopped: No space left on device.*run the same again") as stop:
        small(store)
    assert stop.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert 0 < check_what_is_there(store, expected) < 1
    assert not list(store.rglob("*.part"))
    assert small(store).complete and contents(store) == contents(expected)


def test_a_limit_of_the_system_on_file_size_stops_it_too(tmp_path):
    """The kernel refuses the write itself: EFBIG, after SIGXFSZ, which Python ignores."""
    wide = {"num_seeds": 3000, "block": 3000}
    small(tmp_path / "s", **wide, shard=(1, 2))
    before = contents(tmp_path / "s")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"the sweep stopped: File too large"):
            small(tmp_path / "s", **wide)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(tmp_path / "s") == before
    assert sweep.arrays(tmp_path / "s")["done"].values.sum() == 3000
    assert small(tmp_path / "s", **wide).complete


def test_a_store_that_cannot_be_made_says_so(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot make the store .*No space left"):
        small(tmp_path / "s")
    assert not list(tmp_path.iterdir())


def test_chunks_are_little_endian_and_padded():
    padded = encode(np.array([[1, 2, 3]], ">i2"), (1, 4))
    assert padded.tobytes() == np.array([1, 2, 3, 3], "<i2").tobytes()
    assert encode(np.array([True, False]), (2,)).tobytes() == b"\x01\x00"


# Several processes


def together(arguments, **more):
    """Start workers at once, wait for all, and return what each said."""
    workers = [
        subprocess.Popen(
            [*WORKER, *map(str, own)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(**more),
        )
        for own in arguments
    ]
    try:
        ends = [worker.communicate(timeout=150) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    for worker, (_, errors) in zip(workers, ends, strict=True):
        assert worker.returncode == 0, errors
    return [out for out, _ in ends]


def test_two_shards_at_once_make_the_same_store(tmp_path, whole):
    store = tmp_path / "s.zarr"
    said = together([[store, "--shard", f"{i}/2"] for i in range(2)])
    assert all("180 by this run" in out for out in said)
    assert contents(store) == contents(whole)
    assert not list(tmp_path.glob(".*"))


def test_two_devices_make_the_same_store(tmp_path, whole):
    store = tmp_path / "s.zarr"
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    [said] = together([[store]], XLA_FLAGS=flags)
    assert "2 devices" in said and "360 by this run" in said
    assert contents(store) == contents(whole)


def test_two_processes_that_jax_joins_make_the_same_store(tmp_path, whole):
    store = tmp_path / "s.zarr"
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    said = together([[store, "--join", port, i, 2] for i in range(2)])
    assert all("2 devices" in out and "360 by this run" in out for out in said)
    assert contents(store) == contents(whole)


def test_a_device_is_chosen_by_number_or_as_itself(tmp_path):
    for i, devices in enumerate((1, [0], jax.devices()[:1])):
        assert small(tmp_path / str(i), devices=devices).complete
    assert contents(tmp_path / "0") == contents(tmp_path / "2")
    with pytest.raises(ValueError, match="list devices of one kind"):
        small(tmp_path / "3", devices=[jax.devices()[0]] * 2)
