"""Sweeps: the same numbers as a plain loop, however they are cut up; and what is refused, with its reason."""

import io
import itertools
import math
import os
import sys
import time
import types
from pathlib import Path
from typing import NamedTuple

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

from ird import sweep
from ird.sweep import compilation as programs
from ird.sweep.axes import Axes, Blocks, chunk_of
from ird.sweep.progress import Progress
from ird.sweep.stores import open_store
from ird.sweep.trials import Trial

KEY = jax.random.key(3)
GRID = {"scale": [0.5, 2.0], "shift": [0, 1, 4]}


class Outcome(NamedTuple):
    total: jax.Array
    draws: jax.Array


def trial(key, *, scale, shift=0):
    draws = scale * jax.random.normal(key, (3,)) + shift
    return {"outcome": Outcome(jnp.sum(draws), draws), "above": draws[0] > 0}


def run(trial, grid, store, **more):
    return sweep.run(trial, grid, **{"num_seeds": 7, "key": KEY, "progress": False} | more, store=store)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    store = tmp_path_factory.mktemp("sweep") / "small.zarr"
    return store, run(trial, GRID, store, dims={"outcome.draws": ["part"]}, block=5)


def test_results_are_those_of_a_plain_loop(small):
    found = sweep.arrays(small[0])
    alone = jax.jit(trial)
    for i, j, s in np.ndindex(2, 3, 7):
        expected = alone(jax.random.fold_in(KEY, s), scale=GRID["scale"][i], shift=GRID["shift"][j])
        np.testing.assert_allclose(found["outcome.draws"].values[i, j, s], expected["outcome"].draws, rtol=2e-6)
        np.testing.assert_allclose(found["outcome.total"].values[i, j, s], expected["outcome"].total, rtol=1e-6)
        assert found["above"].values[i, j, s] == expected["above"]


def test_the_store_is_one_dataset_with_named_axes(small):
    store, report = small
    assert report.complete and (report.trials, report.ran, report.width) == (42, 42, 4)
    for data in (sweep.load(store), xarray.open_zarr(store, chunks=None)):
        assert data["outcome.draws"].dims == ("scale", "shift", "seed", "part")
        assert dict(data.sizes) == {"scale": 2, "shift": 3, "seed": 7, "part": 3}
        assert {name: str(data[name].dtype) for name in ("above", "done", "outcome.total", "scale", "shift")} == {
            "above": "bool", "done": "bool", "outcome.total": "float32", "scale": "float64", "shift": "int64",
        }  # fmt: skip
        assert data["done"].all()
        for name, (dims, values) in sweep.arrays(store).items():
            assert data[name].dims == dims
            np.testing.assert_array_equal(data[name].values, values)
        one = data["outcome.draws"].sel(scale=2.0, shift=4, seed=6)
        np.testing.assert_array_equal(one, sweep.arrays(store)["outcome.draws"].values[1, 2, 6])


def test_without_zarr_arrays_read_and_load_names_the_extra(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ImportError, match=r"inverse-reward-design\[zarr\]"):
        sweep.load(small[0])
    assert sweep.arrays(small[0])["done"].values.all()


@pytest.mark.parametrize("block", [1, 7, 1000, None])
def test_blocks_change_no_draw(small, tmp_path, block):
    """XLA may round a batch of another size differently in the last bit (jax 0.12 does), and nothing more."""
    run(trial, GRID, tmp_path / "s", dims={"outcome.draws": ["part"]}, block=block)
    before, after = sweep.arrays(small[0]), sweep.arrays(tmp_path / "s")
    assert list(before) == list(after)
    for name in before:
        np.testing.assert_allclose(before[name].values, after[name].values, rtol=2e-6)
    if open_store(tmp_path / "s").lanes == open_store(small[0]).lanes:
        np.testing.assert_array_equal(before["outcome.draws"].values, after["outcome.draws"].values)


@hypothesis.given(
    st.lists(st.integers(1, 4), max_size=2), st.lists(st.integers(1, 6), max_size=3), st.integers(1, 30), st.data()
)
def test_blocks_cover_every_trial_once(static, settings, seeds, data):
    axes = Axes(
        {f"s{i}": tuple(range(n)) for i, n in enumerate(static)},
        {f"t{i}": np.arange(n) for i, n in enumerate(settings)},
        seeds,
    )
    wanted = data.draw(st.integers(1, 2 * math.prod(axes.inner)))
    blocks = Blocks(axes, chunk_of(axes.inner, wanted))
    assert 2 * blocks.width > min(wanted, math.prod(axes.inner)) or blocks.width * 2 > seeds or wanted < seeds
    assert blocks.width <= wanted
    seen = np.zeros(axes.shape, int)
    for number in range(blocks.count):
        box = blocks.box(number)
        seen[box] += 1
        chosen, seed = blocks.trials(number, blocks.width + 2)
        count = math.prod(blocks.shape(number))
        assert all(len(x) == blocks.width + 2 for x in (seed, *chosen.values()))
        index = [x[:count].reshape(blocks.shape(number)) for x in (*chosen.values(), seed)]
        full = np.meshgrid(*(np.arange(n) for n in axes.shape), indexing="ij")
        for values, expected in zip(index, full[len(static) :], strict=True):
            np.testing.assert_array_equal(values, expected[box])
        assert axes.combinations[blocks.combination(number)] == {
            f"s{i}": s.start for i, s in enumerate(box[: len(static)])
        }
    assert (seen == 1).all()


def test_compiled_once_however_many_blocks_and_values(tmp_path):
    traced = []

    def counted(key, *, scale):
        traced.append("scale")
        return scale * jax.random.normal(key)

    run(counted, {"scale": [1.0, 2.0, 3.0]}, tmp_path / "a", block=2)
    assert len(traced) == 2  # for the check of what it is; what was checked is compiled
    run(counted, {"scale": [4.0, 5.0]}, tmp_path / "b", block=2)
    assert len(traced) == 4  # checked anew, not compiled
    assert run(counted, {"scale": [4.0, 5.0]}, tmp_path / "b").ran == 0


def test_static_settings_are_axes_with_a_program_each(tmp_path):
    traced = []

    def two(key, *, rule, size, scale):
        traced.append(rule)
        x = jax.random.normal(key, (size,))
        return scale * {"sum": jnp.sum, "max": jnp.max}[rule](x)

    static = {"rule": ["sum", "max"], "size": [2, 5]}
    run(two, {"scale": [1.0, 2.0]}, tmp_path / "s", static=static, block=4)
    assert len(traced) == 4 * 2
    data = sweep.load(tmp_path / "s")["value"]
    assert data.dims == ("rule", "size", "scale", "seed")
    for rule, size, seed in itertools.product(("sum", "max"), (2, 5), range(7)):
        x = jax.random.normal(jax.random.fold_in(KEY, seed), (size,))
        expected = {"sum": jnp.sum, "max": jnp.max}[rule](x)
        np.testing.assert_allclose(data.sel(rule=rule, size=size, scale=2.0, seed=seed), 2 * expected, atol=1e-6)


def test_settings_reach_the_trial_in_the_default_precision(tmp_path, dtype):
    run(lambda key, x, n: {"same": x, "count": n}, {"x": [0.1, jnp.inf], "n": [1, 2]}, tmp_path / "s")
    found = sweep.arrays(tmp_path / "s")
    assert found["same"].values.dtype == dtype and found["count"].values.dtype.itemsize == dtype.itemsize
    assert found["same"].values[0, 0, 0] == np.asarray(0.1, dtype)
    assert sweep.load(tmp_path / "s").sel(x=0.1)["count"].shape == (2, 7)


def test_nan_is_recorded_and_counted(tmp_path):
    def sometimes(key, *, limit):
        x = jax.random.normal(key, (2,))
        return {"root": jnp.sqrt(x - limit), "fine": x[0], "count": jnp.sum(x > 0)}

    report = run(sometimes, {"limit": [0.0, -9.0]}, tmp_path / "s", num_seeds=50)
    root = sweep.arrays(tmp_path / "s")["root"].values
    bad = np.isnan(root).any(axis=-1)
    assert 20 < bad.sum() < 50 and not bad[1].any()
    assert report.complete and report.not_a_number == {"root": bad.sum(), "fine": 0}
    assert f"NaN: {bad.sum()} in root" in str(report)


def test_what_has_not_run_is_known_not_to_have(tmp_path):
    first = run(trial, GRID, tmp_path / "s", block=4, shard=(0, 2))
    assert (first.done, first.ran, first.complete) == (24, 24, False)
    data = sweep.load(tmp_path / "s")
    assert int(data["done"].sum()) == 24
    missing = ~data["done"].values
    assert np.isnan(data["outcome.total"].values[missing]).all() and not data["above"].values[missing].any()
    assert not np.isnan(data["outcome.total"].values[~missing]).any() and first.not_a_number["outcome.total"] == 0
    np.testing.assert_array_equal(sweep.arrays(tmp_path / "s")["outcome.total"].values, data["outcome.total"].values)
    assert run(trial, GRID, tmp_path / "s", shard="1/2").complete


# Progress


def test_progress_says_rate_and_time_left(monkeypatch):
    now = itertools.count(100.0, 4.0)
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    out = io.StringIO()
    with Progress(30, True, "sweep", out) as shown:
        for _ in range(3):
            shown.advance(10)
    lines = out.getvalue().splitlines()
    assert lines and lines[-1].startswith("sweep: 30 of 30 trials") and lines[-1].endswith("0:00 left")
    assert " trials/s, " in lines[0]


def test_a_terminal_gets_a_bar():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out = Terminal()
    with Progress(30, True, "sweep 1/2", out) as shown:
        shown.advance(30)
    assert "sweep 1/2" in out.getvalue() and "trials/s" in out.getvalue()


# Memory


def heavy(key, *, scale):
    """Much memory for little work."""
    x = jax.random.normal(key, (425,))
    first = jax.lax.optimization_barrier(jnp.outer(x, x))
    second = jax.lax.optimization_barrier(first.T * scale)
    return jnp.max(first) + jnp.min(second)  # 1.4 MB


def test_trials_at_once_and_blocks_are_chosen_from_memory(tmp_path):
    grid = {"scale": [1.0]}
    wide = run(heavy, grid, tmp_path / "a", num_seeds=128, memory=2**24)
    narrow = run(heavy, grid, tmp_path / "b", num_seeds=128, memory=2**22)
    lanes = [open_store(tmp_path / name).lanes for name in "ab"]
    assert wide.width == narrow.width == 16  # an eighth of the trials
    assert 2 * lanes[1] <= lanes[0] <= 16 and narrow.memory < 2**22 + 2**16 and 2**23 < wide.memory < 2**24 + 2**16
    np.testing.assert_allclose(*(sweep.arrays(tmp_path / name)["value"].values for name in "ab"), rtol=2e-6)


def test_an_accelerator_takes_a_block_at_once(monkeypatch):
    """Without one here, the choice alone: half of its memory, measured on programs that report what theirs would."""
    device = types.SimpleNamespace(
        platform="gpu", process_index=0, memory_stats=lambda: {"bytes_limit": 2**31, "bytes_in_use": 0}
    )
    monkeypatch.setattr(programs.Program, "memory_at_once", property(lambda p: 2**20 + 2**18 * p.lanes * p.steps))
    examined = Trial(trial, (), ("digest",))
    axes = Axes({}, {"scale": np.zeros(100)}, 1000)
    blocks, lanes = programs.fitting(examined, axes, KEY, (device,), None, None)
    assert blocks.width == lanes and 2**29 < 2**18 * lanes < 2**30
    blocks, lanes = programs.fitting(examined, axes, KEY, (device,), None, 2**25)
    assert blocks.width == lanes and 2**24 < 2**18 * lanes < 2**25
    blocks, lanes = programs.fitting(examined, axes, KEY, (device,), 500, None)
    assert blocks.width == lanes == 500  # as asked
    few = Axes({}, {"scale": np.zeros(2)}, 1000)
    assert programs.fitting(examined, few, KEY, (device,), None, None)[0].width == 250


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is read from /proc")
def test_peak_memory_is_below_twice_the_blocks_own_arrays(tmp_path):
    def resident(what):
        [line] = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(what)]
        return 1024 * int(line.split()[1])

    grid, more = {"scale": [1.0, 2.0]}, {"block": 200, "memory": 2**30}
    run(heavy, grid, tmp_path / "warm", num_seeds=200, shard=(0, 2), **more)  # compiled
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    report = run(heavy, grid, tmp_path / "s", num_seeds=600, **more)
    grown = resident("VmHWM") - before
    assert report.memory > 2.5e8 and report.width == 200
    assert grown < 2 * report.memory


# A store that does not fit


def refused(match, store, run_now):
    before = {path: path.read_bytes() for path in Path(store).rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=match):
        run_now()
    assert before == {path: path.read_bytes() for path in Path(store).rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"grid": {"scale": [0.5, 3.0], "shift": [0, 1, 4]}}, r'settings: \{"scale": \[0.5, 2.0\].*\[0.5, 3.0\]'),
        ({"grid": {"scale": [0.5, 2.0]}}, "axes, in order"),
        ({"num_seeds": 8}, "number of seeds: 7 in the store, 8 now"),
        ({"key": jax.random.key(4)}, "key: "),
        ({"trial": lambda key, scale, shift: {"other": scale * jax.random.normal(key)}}, "fields of the results"),
        ({"trial": lambda key, scale, shift=0: trial(key, scale=scale + 1, shift=shift)}, "code version of the trial"),
    ],
    ids=["settings", "axes", "seeds", "key", "fields", "code"],
)
def test_the_store_of_another_sweep_is_refused(small, change, match):
    arguments = {"trial": trial, "grid": GRID, "dims": {"outcome.draws": ["part"]}} | change
    if match.startswith("fields"):
        del arguments["dims"]
    refused(match, small[0], lambda: run(arguments.pop("trial"), arguments.pop("grid"), small[0], **arguments))


def test_the_store_of_another_precision_or_version_is_refused(small, monkeypatch):
    def again():
        return run(trial, GRID, small[0], dims={"outcome.draws": ["part"]})

    with jax.enable_x64(True):
        refused('default precision: "float32" in the store, "float64" now', small[0], again)
    monkeypatch.setattr(jax, "__version__", "0.9.9")
    refused('version of jax: .*"0.9.9" now', small[0], again)


def test_renaming_and_comments_are_no_other_code(small):
    def same(key, *, shift=0, scale):  # a comment
        noise = scale * jax.random.normal(key, (3,)) + shift
        return {"outcome": Outcome(jnp.sum(noise), noise), "above": noise[0] > 0}

    assert run(same, GRID, small[0], dims={"outcome.draws": ["part"]}).ran == 0


def test_other_blocks_than_the_stores_are_refused(small):
    refused(
        "block is 3, but .* was begun with blocks of 4",
        small[0],
        lambda: run(trial, GRID, small[0], dims={"outcome.draws": ["part"]}, block=3),
    )


def test_what_is_no_sweep_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    refused("holds no sweep", tmp_path, lambda: run(trial, GRID, tmp_path))
    with pytest.raises(ValueError, match="holds no sweep"):
        sweep.arrays(tmp_path / "nothing")
    with pytest.raises(OSError, match="cannot write the store"):
        run(trial, GRID, tmp_path / "notes.txt")


def test_a_damaged_chunk_is_named(tmp_path):
    run(trial, GRID, tmp_path / "s")
    [chunk, *_] = [path for path in (tmp_path / "s" / "above" / "c").rglob("*") if path.is_file()]
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"above.*is damaged"):
        sweep.arrays(tmp_path / "s")


def test_no_permission_to_write(tmp_path, monkeypatch):
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o555)
    if os.geteuid() == 0:  # to whom nothing is forbidden
        os.chmod(tmp_path, 0o755)
        os.seteuid(65534)
    try:
        with pytest.raises(PermissionError, match=r"cannot write the store .*shut.*Permission denied"):
            run(trial, GRID, shut / "s")
    finally:
        if os.geteuid() == 65534:
            os.seteuid(0)


# Trials that cannot be swept


def clock_trial(key):
    return jax.random.normal(key) + time.perf_counter()


def random_trial(key):
    return jax.random.normal(key) + np.random.default_rng().normal()


KEPT = []


def keeping_trial(key):
    KEPT.append(jax.random.normal(key))
    return KEPT[-1]


def counting_trial(key):
    KEPT.append(0)
    return jax.random.normal(key) * len(KEPT)


def printing_trial(key):
    x = jax.random.normal(key)
    jax.debug.print("{}", x)
    return x


def calling_trial(key):
    return jax.pure_callback(lambda x: np.float32(x), jax.ShapeDtypeStruct((), "float32"), jax.random.normal(key))


@pytest.mark.parametrize(
    ("impure", "match"),
    [
        (clock_trial, "is not pure: traced twice, it gave two programs"),
        (random_trial, "is not pure: traced twice"),
        (counting_trial, "is not pure: traced twice"),
        (keeping_trial, "is not pure: it keeps a traced value"),
        (printing_trial, "calls back into Python"),
        (calling_trial, "calls back into Python"),
    ],
)
def test_a_trial_that_is_not_pure(tmp_path, impure, match):
    with pytest.raises(ValueError, match=match):
        run(impure, {}, tmp_path / "s")
    KEPT.clear()
    assert not (tmp_path / "s").exists()


def shape_trial(key, *, n):
    return {"same": n, "walk": jax.random.normal(key, (n,))}


def missing_trial(key, *, n):
    return {"a": 1.0} | ({"b": 2.0} if n == 2 else {})


def typed_trial(key, *, n):
    return {"a": jnp.ones((), bool if n == 2 else int)}


@pytest.mark.parametrize(
    ("other", "match"),
    [
        (shape_trial, r"another 'walk' for other settings: float32\[2\] for n=2, float32\[3\] for n=3"),
        (missing_trial, r"another 'b' for other settings: float32\[\] for n=2, missing for n=3"),
        (typed_trial, r"another 'a' for other settings: bool\[\] for n=2, int32\[\] for n=3"),
    ],
)
def test_other_fields_for_other_settings_are_named(tmp_path, other, match):
    with pytest.raises(ValueError, match=match):
        run(other, {}, tmp_path / "s", static={"n": [2, 3]})


def test_a_traced_setting_that_decides_a_shape_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"needs the value of 'n' while it is being compiled.*in static="):
        run(shape_trial, {"n": [2, 3]}, tmp_path / "s")
    with pytest.raises(ValueError, match="needs the value of 'n'"):
        run(lambda key, n: {"a": 1.0 if n > 2 else 2.0}, {"n": [2, 3]}, tmp_path / "s")


@pytest.mark.parametrize(
    ("out", "match"),
    [
        (lambda: {}, "returns nothing"),
        (lambda: {"scale": 1.0}, "a name that is taken"),
        (lambda: {"done": 1.0}, "a name that is taken"),
        (lambda: {"a/b": 1.0}, "unfit"),
        (lambda: {"a": {"b": 1.0}, "a.b": 2.0}, "two fields by one name"),
        (lambda: {"a": jnp.ones((), jnp.bfloat16)}, "of type bfloat16"),
        (lambda: {"a": jax.random.key(0)}, "of type key"),
    ],
)
def test_results_that_no_store_holds(tmp_path, out, match):
    with pytest.raises(ValueError, match=match):
        run(lambda key, scale: out(), {"scale": [1.0]}, tmp_path / "s")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"trial": 3}, "trial is a int"),
        ({"trial": lambda: 1.0}, "takes no key"),
        ({"grid": [1.0]}, "grid is a list"),
        ({"grid": {"scale": [1.0], "colour": [1]}}, r"has no setting 'colour'; its settings are scale, shift"),
        ({"grid": {"shift": [1.0]}}, "needs 'scale', which neither grid nor static gives"),
        ({"grid": {"scale": [1.0]}, "static": {"scale": [1]}}, "both in grid and in static"),
        ({"grid": {"scale": 1.0}}, "give its values as a sequence"),
        ({"grid": {"scale": []}}, "at least one number"),
        ({"grid": {"scale": [[1.0]]}}, r"has shape \(1, 1\)"),
        ({"grid": {"scale": ["a", "b"]}}, r"holds 'a', which cannot be traced.*static="),
        ({"grid": {"scale": [1.0, np.nan]}}, "NaN at index 1"),
        ({"grid": {"scale": [2**40]}}, "holds 1099511627776, which int32 cannot"),
        ({"grid": {"key": [1]}}, "'key' is the name of something else"),
        ({"grid": {"a b": [1]}}, "cannot name a setting"),
        ({"static": {"shift": "ab"}}, "give its values as a sequence"),
        ({"static": {"shift": []}}, "is empty"),
        ({"static": {"shift": [None]}}, "give strings or Python numbers"),
        ({"static": {"shift": ["a", 1]}}, "mixes kinds"),
        ({"static": {"shift": [1, 1]}}, "holds a value twice"),
        ({"num_seeds": 0}, "num_seeds is 0"),
        ({"num_seeds": 2.0}, r"num_seeds is 2\.0"),
        ({"key": 0}, "give one typed key"),
        ({"key": jax.random.split(KEY)}, "give one typed key"),
        ({"block": 0}, "block is 0"),
        ({"memory": 1.5}, r"memory is 1\.5"),
        ({"dims": {"what": ["x"]}}, "dims names 'what', which trial trial does not return"),
        ({"dims": {"outcome.draws": ["x", "y"]}}, "give each of its axes a name"),
        ({"dims": {"outcome.draws": ["seed"]}}, "give each of its axes a name"),
        ({"dims": {"outcome.draws": ["above"]}}, "or to a field"),
        ({"shard": (2, 2)}, "shard is 2/2, which is out of range; with 2 workers they are 0/2 to 1/2"),
        ({"shard": "-1/4"}, "out of range"),
        ({"shard": "1"}, "give i/n"),
        ({"shard": "a/b"}, "give i/n"),
        ({"devices": 99}, "devices is 99, but there is 1 here"),
        ({"devices": 0}, "devices is 0"),
        ({"devices": [5]}, r"devices lists 5, but there is 1 here \(0: .*xla_force_host_platform_device_count"),
        ({"devices": [0, 0]}, "each device once"),
        ({"devices": "gpu"}, "give how many, or a sequence"),
        ({"devices": []}, "give how many, or a sequence"),
    ],
)
def test_bad_arguments_are_refused_before_a_store_is_made(tmp_path, change, match):
    arguments = {"trial": trial, "grid": {"scale": [1.0]}} | change
    with pytest.raises(ValueError, match=match):
        run(arguments.pop("trial"), arguments.pop("grid"), tmp_path / "s", **arguments)
    assert not (tmp_path / "s").exists()


def test_a_format_of_another_version(small, tmp_path):
    copy = tmp_path / "s"
    copy.mkdir()
    text = (small[0] / "zarr.json").read_text()
    assert '"version": 1' in text
    (copy / "zarr.json").write_text(text.replace('"version": 1', '"version": 2'))
    with pytest.raises(ValueError, match="has format 2"):
        open_store(copy)
