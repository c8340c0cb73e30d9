"""A sweep that grows: what was done is kept to the bit, wherever the growing is interrupted."""

import shutil

import jax
import numpy as np
import pytest
import sweep_trials
from sweep_of_before import trial as with_static
from sweep_trials import GRID, Relay
from test_ird_sweep_cases import cases
from test_ird_sweep_cases import run as run_cases
from test_ird_sweep_stores import Crash, Killed, contents

from ird import sweep
from ird.sweep.stores import open_store

pytestmark = pytest.mark.usefixtures("unannotated_throughout")  # of sweeps, tests/test_ird_sweep.py checks them
MORE = {
    "seeds": {"num_seeds": 10},
    "a value": {"grid": GRID | {"scale": [0.5, 2.0, 3.0]}},
    "an inner value": {"grid": GRID | {"shift": [0, 3, -1]}},
    "all at once": {"num_seeds": 13, "grid": {"scale": [0.5, 2.0, 3.0, 4.0], "shift": [0, 3, -1]}},
}


def run(store, **more):
    return sweep_trials.run(store, **{"num_seeds": 7, "block": 4} | more)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Seven seeds in blocks of four: the second is not full."""
    store = tmp_path_factory.mktemp("small") / "s"
    assert run(store).complete
    return store


@pytest.fixture
def store(small, tmp_path):
    return shutil.copytree(small, tmp_path / "s")


def when(store):
    """When each file of results was written."""
    return {path.relative_to(store): path.stat().st_mtime_ns for path in store.glob("*/c/**/*") if path.is_file()}


@pytest.mark.parametrize(("what", "engine"), [*((what, False) for what in MORE), ("all at once", True)])
def test_it_takes_more_and_keeps_what_is_done_to_the_bit(store, tmp_path, what, engine):
    before, old = sweep.arrays(store), when(store)
    report = run(store, **MORE[what], extend=True, executor=Relay() if engine else None)
    chunk = open_store(store).blocks.chunk
    assert chunk == (1, 1, 4) and report.complete
    partly = 4 * 3 if "num_seeds" in MORE[what] else 0  # trials of the blocks that were not full
    assert report.ran == report.trials - 28 + partly and report.repaired == 0
    found = sweep.arrays(store)
    part = tuple(slice(n) for n in before["done"].values.shape)
    for name in ("square", "root", "above", "done"):
        np.testing.assert_array_equal(found[name].values[part], before[name].values)
    full = {path for path in old if path.parts[0] not in GRID | {"seed": 0} and not (partly and path.parts[4] == "1")}
    assert len(full) >= 16 and {path: when(store)[path] for path in full} == {path: old[path] for path in full}
    again = run(store, **MORE[what] | {"block": None})
    assert again.ran == 0
    data = sweep.load(store)
    assert data["done"].all() and data["square"].shape == found["square"].values.shape


def test_what_has_grown_is_what_a_larger_sweep_would_have_been(store, tmp_path):
    run(store, num_seeds=11, extend=True)
    assert run(tmp_path / "large", num_seeds=11).complete and open_store(tmp_path / "large").blocks.chunk == (1, 1, 4)
    assert contents(store) == contents(tmp_path / "large")
    assert run(store, num_seeds=11, extend=True).ran == 0  # nothing more
    new = run(tmp_path / "new", num_seeds=11, extend=True)  # nothing yet
    assert new.ran == 44 and contents(tmp_path / "new") == contents(store)


def test_a_crash_at_every_write_of_growing_loses_nothing(small, tmp_path, monkeypatch):
    expected = tmp_path / "expected"
    run(shutil.copytree(small, expected), **MORE["all at once"], extend=True)
    crash = Crash(monkeypatch, "fsync", "replace", "unlink")

    def grow(store):
        return run(store, **MORE["all at once"], extend=True, shard=(0, 10**6))  # the growing, and one block

    crash.at(None)
    grow(shutil.copytree(small, tmp_path / "once"))
    number, before = crash.steps, sweep.arrays(small)
    assert number > 30
    for last in range(0, number, 3):
        crash.never()
        store = shutil.copytree(small, tmp_path / f"killed_{last}")
        crash.at(last)
        with pytest.raises(Killed):
            grow(store)
        crash.never()
        found = sweep.arrays(store)
        done = found["done"].values[tuple(slice(n) for n in before["done"].values.shape)]
        assert done[..., :4].all()
        for name in ("square", "root", "above"):
            values = found[name].values[tuple(slice(n) for n in before["done"].values.shape)]
            np.testing.assert_array_equal(values[done], before[name].values[done])
    assert run(store, **MORE["all at once"], extend=True).complete
    assert contents(store) == contents(expected)


def test_static_values_may_be_appended_and_their_programs_are_told_apart(tmp_path):
    def grown(store, rules, **more):
        grid = {"scale": [0.5, 2.0]}
        return sweep.run(
            with_static,
            grid,
            static={"rule": rules},
            num_seeds=3,
            key=sweep_trials.KEY,
            store=store,
            progress=False,
            **more,
        )

    grown(tmp_path / "s", ["mean"], block=2)
    assert grown(tmp_path / "s", ["mean", "max"], extend=True).ran == 6
    grown(tmp_path / "both", ["mean", "max"], block=2)
    assert contents(tmp_path / "s") == contents(tmp_path / "both")
    with pytest.raises(ValueError, match="static settings"):
        grown(tmp_path / "s", ["max", "mean"], extend=True)


def test_cases_may_be_appended(tmp_path):
    run_cases(tmp_path / "s", cases(5))
    first = contents(tmp_path / "s")
    assert run_cases(tmp_path / "s", cases(7), extend=True).ran == 4  # the last block of three held two
    run_cases(tmp_path / "seven", cases(7))
    assert contents(tmp_path / "s") == contents(tmp_path / "seven")
    assert first["worst/c/0"] == contents(tmp_path / "s")["worst/c/0"]
    other = cases(8)
    other[0]["weight"] = 7
    with pytest.raises(ValueError, match=r"cases \(digest\)"):
        run_cases(tmp_path / "s", other, extend=True)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"num_seeds": 6}, "number of seeds: 7 in the store, 6 now"),
        ({"num_seeds": 9, "grid": GRID | {"scale": [0.5, 2.5, 3.0]}}, r"settings: .*extend=True adds seeds"),
        ({"grid": GRID | {"scale": [0.1, 0.5, 2.0]}}, "settings: "),
        ({"num_seeds": 9, "key": jax.random.key(6)}, "key: "),
        ({"num_seeds": 9, "trial": sweep_trials.with_all_of, "grid": {}, "given": (1.0, np.ones(1))}, "axes, in order"),
    ],
    ids=["fewer", "changed", "before", "key", "axes"],
)
def test_whatever_is_no_growth_is_refused_and_leaves_the_store_alone(small, change, match):
    before = contents(small)
    with pytest.raises(ValueError, match=rf"(?s){match}"):
        run(small, **change, extend=True)
    assert contents(small) == before


def test_without_extend_the_way_is_named(small):
    with pytest.raises(ValueError, match=r"(?s)number of seeds: 7 in the store, 9 now.*extend=True adds seeds"):
        run(small, num_seeds=9)
