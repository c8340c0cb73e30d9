"""Where a store may lie, and who makes it when several come at once: an empty place of any kind, and one of them."""

import contextlib
import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from sweep_worker import bare, fill
from test_ird_sweep_stores import ROOT, WORKER, Killed, contents, environment

from ird import sweep
from ird.sweep.opening import begin
from ird.sweep.stores import open_store
from ird.sweep.zarr_files import publish


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The files of a bare store that one run has made beside its place and filled."""
    store = tmp_path_factory.mktemp("expected") / "s"
    assert fill(begin(bare(store)))
    return contents(store)


# Places of every kind


def empty_folder(place):
    place.mkdir()


def link_to_an_empty_folder(place):
    (place.parent / "real").mkdir()
    place.symlink_to("real")


def link_to_nothing(place):
    place.symlink_to(Path("yet to come", "below"))


def new_volume(place):
    """What a file system, or a server of them, has put into an empty one."""
    (place / "lost+found").mkdir(parents=True)
    (place / ".snapshot").mkdir()
    (place / ".snapshot" / "old.txt").write_text("of yesterday")


def here(place):
    place.mkdir()
    os.chdir(place)


@pytest.mark.parametrize("make", [empty_folder, link_to_an_empty_folder, link_to_nothing, new_volume, here])
def test_a_store_can_be_wherever_nothing_is(tmp_path, monkeypatch, expected, make):
    """A volume's mount point can be neither renamed, replaced nor removed (EBUSY), so nothing that was there is."""
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "s")
    place = Path(".") if make is here else tmp_path / "s"
    before = [path for path in tmp_path.rglob("*") if path.is_dir() and not path.is_symlink()]

    def busy(real):
        def call(*arguments, **more):
            if any(isinstance(a, str | Path) and Path(a).resolve() in before for a in arguments):
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            return real(*arguments, **more)

        return call

    for name in ("rename", "replace", "rmdir"):
        monkeypatch.setattr(os, name, busy(getattr(os, name)))
    assert fill(begin(bare(place)))
    assert {name: data for name, data in contents(place).items() if not name.startswith(".snap")} == expected
    assert sweep.load(place)["done"].values.all() and begin(bare(place)).done().all()
    assert not list(tmp_path.rglob("*.part"))


def test_a_sweep_in_the_folder_one_is_in(tmp_path, monkeypatch):
    def trial(key, *, scale):
        return scale * jax.random.normal(key)

    monkeypatch.chdir(tmp_path)
    arguments = {"num_seeds": 2, "key": jax.random.key(0), "progress": False}
    assert sweep.run(trial, {"scale": [1.0]}, store=".", **arguments).complete
    assert sweep.run(trial, {"scale": [1.0]}, store=tmp_path, **arguments).ran == 0
    assert set(os.listdir()) == {"zarr.json", "scale", "seed", "value", "done"}


def test_a_volume_that_is_really_mounted(tmp_path, expected):
    """Where one may mount; everywhere, the test above says the same."""
    volume = tmp_path / "volume"
    volume.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(volume)]
    try:
        mounted = subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("one may not mount here")
    try:
        with pytest.raises(OSError, match="busy"):
            os.rename(volume, tmp_path / "elsewhere")
        assert fill(begin(bare(volume))) and contents(volume) == expected
    finally:
        subprocess.run(["umount", "--lazy", str(volume)], check=True, timeout=30)


def test_file_systems_without_links_and_without_forcing_directories(tmp_path, monkeypatch, expected):
    def no_link(*_, **__):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    def fsync(handle):
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "link", no_link)
    monkeypatch.setattr(os, "fsync", fsync)
    empty_folder(tmp_path / "s")
    assert fill(begin(bare(tmp_path / "s"))) and contents(tmp_path / "s") == expected


@pytest.mark.parametrize("name", ["notes.txt", "scale/mine.txt", "mine/zarr.json", "scale/c/1", "lost"])
def test_what_is_there_is_not_taken_for_an_empty_place(tmp_path, name):
    path = tmp_path / "s" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(ValueError, match=r"holds no sweep \(zarr\.json is missing\), and it is not empty"):
        begin(bare(tmp_path / "s"))
    assert contents(tmp_path / "s") == {name: b"mine"}


def test_a_place_whose_name_means_something_to_the_shell(tmp_path, expected):
    store = tmp_path / "beta=[0-9]*.zarr"
    assert fill(begin(bare(store))) and contents(store) == expected


# Killed while a store is being made


@pytest.mark.parametrize("make", [empty_folder, None])
def test_killed_while_it_is_made_it_is_made_by_the_next(tmp_path, monkeypatch, expected, make):
    """At every single step, the next run having cut the sweep into other blocks."""
    steps, last = 0, -1

    def counted(name, real):
        def call(*arguments, **more):
            nonlocal steps
            steps += 1
            if steps == last:
                raise Killed
            return None if name == "fsync" else real(*arguments, **more)

        return call

    for name in ("fsync", "replace", "rename", "mkdir", "link"):
        monkeypatch.setattr(os, name, counted(name, getattr(os, name)))
    number, last = 1, 0
    while last < number:
        place = tmp_path / str(last)
        if make:
            make(place)
        steps = 0
        with contextlib.suppress(Killed):
            begin(bare(place, chunk=(2, 1)))
        number = max(number, steps)
        there, last = (place / "zarr.json").exists(), -1
        store = begin(bare(place))
        assert store.blocks.chunk == ((2, 1) if there else (1, 2)) and fill(store)
        assert there or contents(place) == expected
        assert sweep.arrays(place)["done"].values.all() and not list(tmp_path.rglob("*.part"))
        last = int(place.name) + 1
    assert number > 40


# Several at once


def test_the_second_to_come_takes_the_blocks_of_the_first(tmp_path, monkeypatch, expected):
    """Two fill one place at the same moment and cut it otherwise; what they wrote before they met is put right."""
    first, second = bare(tmp_path), bare(tmp_path, chunk=(2, 1))

    def meanwhile(real):
        def call(partial, path, *_, **__):
            monkeypatch.undo()
            begin(first)
            return real(partial, path)

        return call

    for name in ("link", "replace"):  # before the last file, and before the first
        monkeypatch.setattr(os, name, meanwhile(getattr(os, name)))
        found = begin(second)
        assert found.blocks.chunk == first.blocks.chunk and fill(found)
        assert contents(tmp_path) == expected
        for path in tmp_path.rglob("*"):
            if path.is_file():
                path.unlink()


def test_another_sweep_that_comes_first_is_not_overwritten(tmp_path, monkeypatch):
    mine, theirs = bare(tmp_path), bare(tmp_path)
    theirs.identity["program"] = "another"

    def first(partial, path, *_, **__):
        monkeypatch.undo()
        begin(theirs)
        os.replace(partial, path)

    monkeypatch.setattr(os, "replace", first)
    with pytest.raises(ValueError, match="was written by another sweep"):
        begin(mine)
    assert open_store(tmp_path).identity["program"] == "another"


def test_a_file_that_another_run_removes_is_written_again(tmp_path, monkeypatch):
    replace, left = os.replace, 3

    def vanishing(partial, path):
        nonlocal left
        if left:
            left -= 1
            os.unlink(partial)
        replace(partial, path)

    monkeypatch.setattr(os, "replace", vanishing)
    publish({tmp_path / "a": np.arange(4, dtype=np.uint8), tmp_path / "b": np.arange(3, dtype=np.uint8)})
    assert contents(tmp_path) == {"a": bytes(range(4)), "b": bytes(range(3))} and left == 0
    left = 1000
    with pytest.raises(FileNotFoundError):
        publish({tmp_path / "c": np.zeros(1, np.uint8)})
    assert sorted(contents(tmp_path)) == ["a", "b"]


def test_copies_of_one_call_that_race_all_finish(tmp_path, expected):
    """Three processes at a time, on places that are there and that are not; now and then whole sweeps among them."""
    cache = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    races, late, errors = tmp_path / "races", time.monotonic() + 30, tmp_path / "errors.txt"
    races.mkdir()
    with (
        open(errors, "w") as said,
        subprocess.Popen(
            [*WORKER, "--race"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            cwd=ROOT,
            env=environment(**cache),
        ) as server,
    ):
        try:
            done = 0
            while done < 24 and (time.monotonic() < late or done < 8):
                store = races / str(done)
                if done % 2:
                    store.mkdir()
                what = "run" if done == 0 else "fill"
                print(what, store, file=server.stdin, flush=True)
                assert server.stdout.readline().split() == ["0", "0", "0"], errors.read_text()
                if what == "fill":
                    assert contents(store) == expected
                else:
                    assert sweep.load(store)["done"].values.all()
                done += 1
            server.stdin.close()
            assert server.wait(timeout=30) == 0
        finally:
            server.kill()
    assert not list(races.glob(".*")) and sys.executable == WORKER[0]
