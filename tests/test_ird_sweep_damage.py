"""Stores that something else has touched: what is not whole is not done, and every damage has a way out."""

import json
import os
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import sweep_of_before as before
from sweep_worker import bare, fill

from ird import sweep
from ird.sweep import zarr_files
from ird.sweep.opening import begin
from ird.sweep.stores import open_store

pytestmark = pytest.mark.usefixtures("unannotated_throughout")  # of sweeps, tests/test_ird_sweep.py checks them
BLOCK = (0, 1, 1)  # one of eight, of two trials: the last of five seeds are two


def contents(store):
    """Every file of a store, hidden ones too, with its bytes."""
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    store = tmp_path_factory.mktemp("whole") / "s"
    assert before.run(store).complete
    return store


@pytest.fixture
def store(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "s"))


def chunk(store, name, block=BLOCK):
    return store.joinpath(name, "c", *map(str, block), *(["0"] if name == "pair" else []))


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def lengthen(path):
    path.write_bytes(path.read_bytes() + b"\0")


def empty(path):
    path.write_bytes(b"")


def into_directory(path):
    path.unlink()
    path.mkdir()


# Blocks


@pytest.mark.parametrize("name", ["above", "middle", "pair", "done"])
@pytest.mark.parametrize("damage", [os.remove, cut, lengthen, empty])
def test_a_block_that_is_not_whole_is_not_done_and_is_done_again(store, whole, name, damage):
    damage(chunk(store, name))
    if (name, damage) == ("done", os.remove):  # as if it had never been done
        assert sweep.load(store)["done"].values.sum() == sweep.arrays(store)["done"].values.sum() == 18
    else:
        for read in (sweep.load, sweep.arrays):
            with pytest.raises(ValueError, match=rf"{name}/c/0/1/1.* is damaged, although .*sweep\.run again.*delete"):
                read(store)
    assert open_store(store).done().sum() == 7
    report = before.run(store)
    assert (report.done, report.ran, report.complete) == (20, 2, True)
    assert report.repaired == (0 if (name, damage) == ("done", os.remove) else 2)
    assert ("2 of them again: their files were damaged" in str(report)) == bool(report.repaired)
    assert contents(store) == contents(whole)


def test_a_damaged_block_may_be_left_out(store, whole):
    chunk(store, "middle").unlink()
    with pytest.raises(ValueError, match="delete") as refusal:
        sweep.load(store)
    [mark] = [word for word in str(refusal.value).rstrip(".").split() if "/done/" in word]
    os.remove(mark)
    left, data = sweep.arrays(whole), sweep.load(store)
    done = data["done"].values
    assert done.sum() == 18 and np.isnan(data["middle"].values[~done]).all()
    np.testing.assert_array_equal(data["middle"].values[done], left["middle"].values[done])


def test_a_whole_array_that_is_gone_is_made_anew(store, whole):
    shutil.rmtree(store / "above")
    with pytest.raises(ValueError, match=r"above/c/0/0/0 is missing.*and 7 more blocks like it"):
        sweep.load(store)
    report = before.run(store)
    assert report.ran == report.repaired == 20 and contents(store) == contents(whole)


def test_another_worker_leaves_a_damaged_block_alone_and_says_so(store, whole):
    empty(chunk(store, "above", (0, 0, 0)))  # block 0
    report = before.run(store, shard=(1, 2))
    assert (report.ran, report.repaired, report.done, report.complete) == (0, 0, 17, False)
    with pytest.raises(ValueError, match="is damaged"):
        sweep.load(store)
    assert before.run(store, shard=(0, 2)).repaired == 3 and contents(store) == contents(whole)


def test_readers_see_that_a_damaged_block_is_being_done_again(store, monkeypatch):
    cut(chunk(store, "above"))
    found = open_store(store)
    monkeypatch.setattr(sweep.runner.Store, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        before.run(store)
    assert found.survey().done.sum() == 7 and not found.survey().damaged.any()
    assert sweep.load(store)["done"].values.sum() == 18


def test_a_directory_in_the_way_is_named(store):
    into_directory(chunk(store, "above"))
    with pytest.raises(OSError, match=r"in the way: .*above/c/0/1/1; delete it"):
        before.run(store)


STRAYS = [
    "done/c/99/0/0",
    "above/c/0/1/77",
    "done/c/0/1/x",
    "done/c/0/1/007",
    "done/c/0/1/+1",
    "done/c/0/1/²",
    "notes.txt",
]
STRAYS += [
    "pair/c/0/1/1/0.bak",
    "pair/c/0/1/1/1",
    "done/c/.DS_Store",
    "above/c/0/1/.nfs0001",
    "done/c/0/1/.x.part",
    ".part",
]


def test_files_that_are_not_the_sweeps_are_ignored(store, whole):
    for name in STRAYS:
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_text("1")
    (store / "done" / "c" / "1" / "0" / "9").mkdir()
    for name, (dims, values) in sweep.arrays(store).items():
        np.testing.assert_array_equal(sweep.load(store)[name].values, values)
        assert sweep.arrays(whole)[name].dims == dims
    assert before.run(store).ran == 0


# What describes the store


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"attributes": 3}', '{"attributes": {}}', "\xff", None])
def test_a_damaged_description_is_refused_with_a_way_out(store, text):
    file = store / "zarr.json"
    if text is None:
        file.write_bytes(file.read_bytes()[:-200])
    else:
        file.write_text(text, encoding="latin-1")
    calls = [lambda: sweep.load(store), lambda: sweep.arrays(store), lambda: before.run(store)]
    for call in calls:
        with pytest.raises(ValueError, match=r"zarr\.json is damaged.*put a copy.*delete .*start over|holds no sweep"):
            call()


@pytest.mark.parametrize("key", ["static", "settings", "num_seeds", "fields", "chunk", "lanes"])
@pytest.mark.parametrize("value", [None, "nothing", 3, [0], {"a": 1}])
def test_a_description_that_lacks_something_is_refused(store, key, value):
    group = json.loads((store / "zarr.json").read_text())
    if value == 3 and key in ("num_seeds", "lanes"):
        value = -3
    group["attributes"]["sweep"][key] = value
    (store / "zarr.json").write_text(json.dumps(group))
    with pytest.raises(ValueError, match=r"zarr\.json is damaged"):
        sweep.arrays(store)


def test_a_store_without_its_description_is_not_taken_for_an_empty_place(store):
    (store / "zarr.json").unlink()
    there = contents(store)
    with pytest.raises(ValueError, match=r"holds no sweep \(zarr\.json is missing\), and it is not empty: .*above"):
        before.run(store)
    assert contents(store) == there


@pytest.mark.parametrize(
    "name", ["scale/c/0", "rule/c/0", "seed/c/0", "scale/zarr.json", "above/zarr.json", "done/zarr.json"]
)
@pytest.mark.parametrize("damage", [os.remove, cut, empty])
def test_labels_and_descriptions_of_arrays_are_written_anew(store, whole, name, damage):
    damage(store / name)
    if name.endswith("c/0"):
        with pytest.raises(ValueError, match=rf"{name}, which labels an axis, is missing or damaged.*again"):
            sweep.load(store)
    assert sweep.arrays(store)["scale"].values.tolist() == [0.5, 2.0]
    assert before.run(store).ran == 0
    assert contents(store) == contents(whole)


def test_units_that_somebody_has_added_stay(store):
    file = store / "middle" / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"attributes": {"units": "steps"}}))
    there = contents(store)
    assert before.run(store).ran == 0 and contents(store) == there


def test_a_store_that_is_replaced_while_a_sweep_runs_stays_as_it_is(store, tmp_path, monkeypatch):
    """As when somebody deletes it and begins another sweep, while an old worker is still at work."""
    for name in ("above", "middle", "pair", "done"):
        shutil.rmtree(store / name / "c")
    other, write = tmp_path / "other", sweep.runner.Store.write
    fill(begin(bare(other)))
    there = contents(other)

    def replaced(self, *arguments):
        write(self, *arguments)
        shutil.rmtree(store)
        shutil.copytree(other, store)

    monkeypatch.setattr(sweep.runner.Store, "write", replaced)
    with pytest.raises(OSError, match=r"has been removed or replaced by another.*Nothing was written to what is there"):
        before.run(store)
    assert contents(store) == there


# Stores that an earlier version has written


def test_a_finished_store_of_before_loads_and_is_done(tmp_path):
    """Written by commit 1faf575 with jax 0.10.2; `sweep_of_before.py` says how."""
    store = shutil.copytree(before.STORE, tmp_path / "s")
    there = contents(store)
    data, found = sweep.load(store), sweep.arrays(store)
    assert data["done"].values.all() and data["pair"].dims == ("rule", "scale", "seed", "half")
    for rule, scale, seed in np.ndindex(2, 2, 5):
        draws = (0.5, 2.0)[scale] * jax.random.normal(jax.random.fold_in(jax.random.key(7), seed), (4,))
        one = data.isel(rule=rule, scale=scale, seed=seed)
        np.testing.assert_allclose(one["middle"], (draws.mean(), draws.max())[rule], rtol=1e-6)
        np.testing.assert_allclose(one["pair"], draws[:2], rtol=1e-6)
        assert int(one["above"]) == int((draws > 1).sum()) == int(found["above"].values[rule, scale, seed])
    assert data["rule"].values.tolist() == ["mean", "max"] and data["scale"].values.tolist() == [0.5, 2.0]
    if jax.__version__ == open_store(store).identity["jax"]:
        report = before.run(store)
        assert (report.ran, report.done, report.complete) == (0, 20, True)
    else:
        with pytest.raises(ValueError, match="version of jax") as refusal:
            before.run(store)
        assert not {"axes", "settings:", "seeds", "key:", "fields"} & set(str(refusal.value).split())
    assert contents(store) == there
    cut(chunk(store, "pair"))
    if jax.__version__ == open_store(store).identity["jax"]:
        assert before.run(store).repaired == 2
        np.testing.assert_allclose(sweep.arrays(store)["pair"].values, data["pair"].values, rtol=1e-6)


# Large stores


def test_a_survey_opens_no_file_and_lists_each_directory_once(tmp_path, monkeypatch):
    store = begin(bare(tmp_path / "s"))
    assert fill(store)
    places = [folder for name in ("done", "pair", "count") for folder, *_ in os.walk(tmp_path / "s" / name / "c")]
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (listed.append(str(path)), scandir(path))[1])
    monkeypatch.setattr(Path, "read_bytes", None)
    monkeypatch.setattr("builtins.open", None)
    assert store.survey().done.all()
    monkeypatch.undo()
    deepest = max(place.count("/") for place in places if "/pair/" in place)  # where a block's only chunk lies
    assert sorted(listed) == sorted(place for place in places if place.count("/") < deepest or "/pair/" not in place)


def test_writing_a_block_lists_no_directory(tmp_path, monkeypatch):
    """Else n blocks of one directory would take n² steps."""
    store = begin(bare(tmp_path / "s"))
    monkeypatch.setattr(os, "scandir", None)
    monkeypatch.setattr(os, "listdir", None)
    store.write(0, {"pair": np.zeros((2, 2), np.float32), "count": np.zeros(2, np.int32)})
    monkeypatch.undo()
    assert store.done().tolist() == [True, False, False, False]


def test_what_killed_runs_had_begun_is_removed_but_not_another_workers(store, whole):
    for name, block in (("pair", (0, 0, 0)), ("done", (0, 0, 1)), ("above", (0, 1, 0))):
        chunk(store, "done", block).unlink()
        zarr_files.partial_name(chunk(store, name, block)).write_bytes(b"half")
    zarr_files.partial_name(store / "scale" / "zarr.json").write_bytes(b"half")
    before.run(store, shard=(0, 2))
    left = [path for path in store.rglob(".*") if path.is_file()]
    assert [path.parent.name for path in left] == ["0"] and left[0].name.startswith(".1.")  # that of block 1
    before.run(store)
    assert contents(store) == contents(whole)
