"""What a sweep refuses before it compiles: trials that could not be repeated, and arguments of every wrong kind."""

import collections
import datetime
import gc
import hashlib
import logging
import random
import time
import traceback
import uuid
from pathlib import Path
from time import time as now

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from beartype import beartype

from ird import sweep
from ird.sweep import runner
from ird.sweep.axes import check_axes
from ird.sweep.trials import examine

KEY = jax.random.key(3)


def plain(key, *, scale):
    return {"draw": scale * jax.random.normal(key), "pair": jnp.ones(2)}


def run(trial, store, **more):
    return sweep.run(trial, **{"grid": {}, "num_seeds": 3, "key": KEY, "progress": False} | more, store=store)


# Trials that give other numbers when they are run again


@jax.jit
def stamped(x):
    return x + time.time()


IMPURE = {
    "time, which float32 rounds to two minutes": (lambda key: jax.random.normal(key) + time.time(), r"time\.time"),
    "time by another name": (lambda key: jax.random.normal(key) + now(), r"time\.time"),
    "time as a seed": (lambda key: jax.random.normal(jax.random.fold_in(key, int(time.time()))), r"time\.time"),
    "time in a function that is compiled by itself": (lambda key: stamped(jax.random.normal(key)), r"time\.time"),
    "a date": (lambda key: jax.random.normal(key) + datetime.date.today().year, r"date\.today"),
    "an hour": (lambda key: jax.random.normal(key) + datetime.datetime.now().hour, r"datetime\.now"),
    "a coin": (lambda key: jax.random.normal(key) + np.random.default_rng().integers(2), r"os\.urandom"),
    "a coin of NumPy's": (lambda key: jax.random.normal(key) + np.random.randint(2), r"np\.random"),  # noqa: NPY002
    "a coin of Python's": (lambda key: jax.random.normal(key) + random.randrange(2), r"\(random\)"),
    "a name": (lambda key: jax.random.normal(key) + uuid.uuid4().int % 2, r"os\.urandom"),
}


@pytest.mark.parametrize("name", IMPURE)
def test_what_reads_a_clock_or_draws_without_a_key_is_refused_by_name(tmp_path, name):
    trial, blamed = IMPURE[name]
    with pytest.raises(ValueError, match=rf"(?s)trial .* is not pure: .*{blamed}.*jax\.random") as refusal:
        run(trial, tmp_path / "s")
    assert blamed.startswith(("np", r"\(")) or f"{Path(__file__).name}, line" in str(refusal.value)
    assert not (tmp_path / "s").exists()


def test_what_only_looks_impure_is_not_refused(tmp_path):
    """It writes a log line, seeds what it draws from, imports a module, and is told the time."""

    def trial(key, *, hour):
        logging.getLogger("ird").warning("traced")
        chosen = np.random.default_rng(0).permutation(3)
        np.random.seed(1)  # noqa: NPY002
        import this_imports_while_it_is_traced  # pyright: ignore[reportMissingImports]

        fixed = np.random.rand() + random.Random(2).random() + this_imports_while_it_is_traced.LOADED  # noqa: NPY002
        return hour + jax.random.normal(key, (3,))[chosen] + jnp.float32(fixed)

    (tmp_path / "this_imports_while_it_is_traced.py").write_text("import time\nNOW = time.time()\nLOADED = 1\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        assert run(trial, tmp_path / "s", grid={"hour": [float(now() % 24)]}).complete


def test_what_checks_types_may_draw_the_item_that_it_checks(tmp_path):
    @beartype
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    before = random.getstate()
    assert run(lambda key: jax.random.normal(key) + total([1, 2, 3]), tmp_path / "s").complete
    assert random.getstate() != before, "beartype no longer draws: this test shows nothing"


def test_what_others_do_when_garbage_is_collected_is_not_the_trials_doing(tmp_path):
    def trial(key):
        made = [[] for _ in range(5000)]  # which is when garbage is looked for
        return jax.random.normal(key, (len(made) // 1000,))

    times, before = [], gc.get_threshold()

    def timed(*_):
        times.append(time.perf_counter())

    gc.callbacks.append(timed)
    gc.set_threshold(100)
    try:
        assert run(trial, tmp_path / "s").complete and gc.isenabled() and times
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(timed)


def test_what_is_computed_is_the_program_that_was_checked(tmp_path, monkeypatch):
    """Whatever a trial would be if it were traced later: here a variable changes before it is compiled."""
    shift = [1.0]

    def trial(key):
        return jax.random.normal(key) + shift[0]

    begin = runner.begin
    monkeypatch.setattr(runner, "begin", lambda store: (shift.append(shift.pop() + 1), begin(store))[1])
    run(trial, tmp_path / "s", num_seeds=4)
    assert shift == [2.0]
    expected = [float(jax.random.normal(jax.random.fold_in(KEY, s)) + 1) for s in range(4)]
    np.testing.assert_allclose(sweep.arrays(tmp_path / "s")["value"].values, expected, rtol=1e-6)


def test_the_digest_knows_constants_that_jax_leaves_out_of_the_program():
    def digest(constant):
        trial = jax.jit(lambda key: jax.random.normal(key, (50,)) * constant)
        return examine(trial, check_axes(trial, {}, {}, 1), KEY, {}, "cpu").digest

    ones, other = jnp.ones(50), jnp.ones(50).at[3].set(2.0)
    plain = [digest(ones), digest(other)]
    before = jax.config.jax_use_simplified_jaxpr_constants
    jax.config.update("jax_use_simplified_jaxpr_constants", True)
    try:
        assert digest(ones) == digest(jnp.ones(50)) != digest(other)
    finally:
        jax.config.update("jax_use_simplified_jaxpr_constants", before)
    assert plain[0] != plain[1] and len(plain[0]) == len(hashlib.sha256().hexdigest())


# Generators whose numbers depend on the batch


@pytest.mark.parametrize("kind", ["rbg", "unsafe_rbg"])
def test_keys_that_draw_otherwise_in_a_batch_are_refused(tmp_path, kind):
    key = jax.random.key(0, impl=kind)
    cure = r'jax\.random\.key\(seed, impl="threefry2x32"\)|impl=\'threefry2x32\''
    with pytest.raises(ValueError, match=rf"key is of impl='{kind}'.*({cure})"):
        run(plain, tmp_path / "s", grid={"scale": [1.0]}, key=key)

    def inside(key):
        return jax.random.uniform(jax.random.wrap_key_data(jnp.tile(jax.random.key_data(key), 2), impl=kind))

    with pytest.raises(ValueError, match=rf"trial .*inside draws with a generator .*({cure})"):
        run(inside, tmp_path / "s")
    with pytest.raises(ValueError, match=r"lax\.rng_uniform"):
        run(lambda key: jax.lax.rng_uniform(0.0, 1.0, ()), tmp_path / "s")
    assert not (tmp_path / "s").exists()


# Settings and results that JAX's default precision does not hold


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ([1.0, 1e39], r"holds 1e\+39, which float32 cannot \(the trial would get inf\)"),
        ([-1e300], r"holds -1e\+300, which float32 cannot \(the trial would get -inf\)"),
        ([1.0, 1e-50], r"holds 1e-50, which float32 cannot \(the trial would get 0\.0\)"),
        ([2**31], r"holds 2147483648, which int32 cannot"),
        (np.array([2**40]), r"holds 1099511627776, which int32 cannot"),
    ],
)
def test_settings_beyond_the_precision_are_refused_and_float64_takes_them(tmp_path, values, match):
    with pytest.raises(ValueError, match=rf"grid\['scale'\] {match}.*float64 mode"):
        run(plain, tmp_path / "s", grid={"scale": values})
    with jax.enable_x64(True):
        run(lambda key, scale: scale, tmp_path / "s", grid={"scale": values})
        np.testing.assert_array_equal(sweep.arrays(tmp_path / "s")["value"].values[:, 0], values)


def test_infinity_as_such_is_a_setting(tmp_path):
    run(lambda key, scale: scale, tmp_path / "s", grid={"scale": [-jnp.inf, 3e38]})
    found = sweep.arrays(tmp_path / "s")["value"].values[:, 0]
    np.testing.assert_array_equal(found, np.float32([-np.inf, 3e38]))


@pytest.mark.parametrize(
    ("result", "match"),
    [
        ("text", "returns 'x' of type str; return numbers"),
        (object(), "returns 'x' of type object; return numbers"),
        (np.array(["a"]), "returns 'x', .*which no array of numbers holds"),
        (2**40, "returns 'x' with 1099511627776, which int32 cannot hold"),
        (2**70, "returns 'x', 1180591620717411303424, which no array of numbers holds"),
        (np.array([0, 2**40]), "returns 'x' with 1099511627776, which int32 cannot hold"),
        (1e300, r"returns 'x' with 1e\+300, which float32 cannot hold"),
        (np.float64(1e-300), "returns 'x' with 1e-300, which float32 cannot hold"),
        (np.array([1e300j]), "returns 'x' with 1e\\+300j, which complex64 cannot hold"),
        (jnp.zeros((2, 0)), r"returns 'x' of shape \(2, 0\), which holds no number"),
    ],
)
def test_results_that_are_no_numbers_or_too_large(tmp_path, result, match):
    with pytest.raises(ValueError, match=match):
        run(lambda key: {"x": result, "y": jax.random.normal(key)}, tmp_path / "s")
    assert not (tmp_path / "s").exists()


# Names


NAMES = ["zarr.json", "Zarr.JSON", "", " ", ".", "..", ".x", "x.", "a..b", "a/b", "a\\b", "/", "a\n", "a\0", "a:b", "*"]
NAMES += ["__x", "seed", "key", "done", "scale", "x" * 201]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_a_store_cannot_hold(tmp_path, name):
    with pytest.raises(ValueError, match=r"returns a field .*, a name that is (taken|unfit).*rename it"):
        run(lambda key, scale: {name: scale, "y": scale}, tmp_path / "s", grid={"scale": [1.0]})
    assert not (tmp_path / "s").exists()


def test_an_empty_part_of_a_name_is_none(tmp_path):
    with pytest.raises(ValueError, match=r"a field 'a\.', a name that is unfit"):
        run(lambda key: {"a": {"": jax.random.normal(key)}}, tmp_path / "s")


def test_names_that_only_look_dangerous_are_kept(tmp_path):
    names = ["c", "zarr", "attributes", "_x", "V", "v", "a-b", "a b", "β", "x" * 200]
    run(lambda key: dict.fromkeys(names, jax.random.normal(key)), tmp_path / "s")
    assert set(names) < set(sweep.load(tmp_path / "s"))


def test_a_file_system_that_takes_two_names_for_one(tmp_path, monkeypatch):
    """As those of Macs and Windows do; here it is told to, which is all that one sees of it."""
    monkeypatch.setattr(runner.begin.__globals__["os"].path, "samefile", lambda a, b: True)
    with pytest.raises(ValueError, match=r"takes 'V' and 'v' for one name; rename one"):
        run(lambda key: dict.fromkeys("Vv", jax.random.normal(key)), tmp_path / "s")


# Arguments of every wrong kind

Thing = collections.namedtuple("Thing", "value")
THINGS = {
    "text": "text", "bytes": b"text", "None": None, "NaN": float("nan"), "2.5": 2.5, "3": 3, "-1": -1, "True": True,
    "a list": ["a"], "an empty list": [], "a table": {"what": [1.0]}, "a matrix": np.ones((2, 2)), "a set": {0, 1},
    "a function": len, "a type": int, "a tuple": Thing(1.0), "a complex": 1j, "an object": object(),
}  # fmt: skip
STORES = {"": "", " ": " ", "a NUL": "a\0b", "an address": "s3://bucket/lava", "a matrix": np.ones(2)}
ARGUMENTS = {  # what of THINGS is right, and what more is wrong
    "trial": ({"a function", "a type"}, {}),
    "grid": (set(), {"of text": {"scale": "text"}, "unnamed": {None: [1.0]}, "numbered": {0: [1.0]}}),
    "num_seeds": ({"3"}, {"too many": 2**32, "a flag": np.bool_(True)}),
    "key": (set(), {"old": jax.random.PRNGKey(0), "two": jax.random.split(KEY), "data": jax.random.key_data(KEY)}),
    "store": ({"text"}, STORES),
    "static": ({"None"}, {"0": 0, "False": False, "''": "", "of text": {"scale": "text"}}),
    "dims": ({"None"}, {"0": 0, "''": "", "text": {"pair": "ab"}, "''s": {"pair": [""]}, "Nones": {"pair": [None]},
                        "none": {"pair": None}, "numbers": {"pair": [3]}, "done": {"pair": ["done"]}, "no": {3: ["a"]},
                        "empty": {"pair": []}, "a matrix": {"pair": np.ones(1)}}),
    "block": ({"3", "None"}, {"0": 0, "a flag": np.bool_(True), "2.0": np.float32(2)}),
    "memory": ({"3", "None"}, {"0": 0, "a flag": np.bool_(True), "2.0": np.float32(2)}),
    "devices": ({"None"}, {"0": 0, "many": 99, "of None": [None], "of NaN": [float("nan")], "names": ["cpu"]}),
    "shard": (set(), {"one": (0,), "three": (0, 1, 2), "parts": (0.5, 2), "words": ("0", "2"), "NaN": (float("nan"), 2),
                      "of none": "0/0", "0/2/3": "0/2/3", "-1": (-1, 2), "2.": (0, 2.0), "flags": (False, True)}),
    "progress": ({"True"}, {"no": "no", "0": 0}),
    "given": (set(), {"keys": {"scale": KEY}, "long": {"scale": np.longdouble(1)}, "large": {"scale": 1e300}}),
    "executor": ({"None"}, {"a class": type("Pool", (), {"submit": None}), "mute": type("Pool", (), {"submit": 3})()}),
    "workers": ({"None"}, {}),  # without an executor none is right
    "write": (set(), {"both": "both", "workers": "workers"}),
    "stop_at_error": (set(), {}),
    "extend": ({"True"}, {"0": 0}),
    "cache": ({"None", "text"}, STORES | {"the store": "s", "in the store": "s/programs"}),
}  # fmt: skip
OF_MAP = {
    "function": ARGUMENTS["trial"],
    "cases": (
        {"a matrix"},
        {"none": np.ones((0, 2)), "no axis": {"a": np.ones(2), "b": 1.0}, "lengths": {"a": np.ones(2), "b": np.ones(3)},
         "shapes": [np.ones(2), np.ones(3)], "types": [np.ones(2), np.ones(2, int)], "large": [1e300], "hole": [None],
         "structures": [{"a": 1.0}, {"b": 1.0}], "keys": jax.random.split(KEY),
         "ragged": [[1.0], 2.0]},
    ),
}  # fmt: skip
OF_MAP |= {
    name: ARGUMENTS[name] for name in ("store", "given", "executor", "write", "extend")
}  # the rest as `run` does
WRONG, WRONG_OF_MAP = (
    [
        (argument, kind, value)
        for argument, (right, more) in table.items()
        for kind, value in {**{k: v for k, v in THINGS.items() if k not in right}, **more}.items()
    ]
    for table in (ARGUMENTS, OF_MAP)
)


def ours(error):
    """Whether an error was raised by a line of `ird.sweep`, or of the checks that all doors share."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return any(room in last.filename for room in ("ird/sweep/", "mdps/checks/")) and last.line.startswith(
        ("raise", "f'", 'f"', '"', ")")
    )


@pytest.mark.parametrize(("argument", "kind", "value"), WRONG, ids=[f"{a}: {k}" for a, k, _ in WRONG])
def test_every_wrong_argument_of_run_is_refused_in_our_words(tmp_path, monkeypatch, argument, kind, value):
    monkeypatch.chdir(tmp_path)
    arguments = {"grid": {"scale": [1.0]}, "num_seeds": 2, "key": KEY, "store": "s", "progress": False}
    arguments = {"trial": plain} | arguments | {argument: value}
    with pytest.raises((ValueError, TypeError)) as refusal:
        sweep.run(arguments.pop("trial"), arguments.pop("grid"), **arguments)
    assert ours(refusal.value), refusal.value
    assert not isinstance(refusal.value, jaxtyping.TypeCheckError)
    said = str(refusal.value)
    assert argument in said or (argument in ("grid", "static") and "setting" in said), said
    assert len(said) < 600 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("argument", "kind", "value"), WRONG_OF_MAP, ids=[f"{a}: {k}" for a, k, _ in WRONG_OF_MAP])
def test_every_wrong_argument_of_map_is_refused_in_our_words(tmp_path, monkeypatch, argument, kind, value):
    monkeypatch.chdir(tmp_path)
    arguments = {"cases": np.ones((3, 2)), "store": "s", "progress": False} | {argument: value}
    with pytest.raises((ValueError, TypeError)) as refusal:
        sweep.map(arguments.pop("function", lambda case: {"pair": case}), arguments.pop("cases"), **arguments)
    assert ours(refusal.value), refusal.value
    assert not isinstance(refusal.value, jaxtyping.TypeCheckError)
    said = str(refusal.value)
    assert argument in said and len(said) < 600 and not list(tmp_path.iterdir()), said


INNER = {
    "None": [None], "words": ["a"], "NaN": [float("nan")], "ragged": [[1], [1, 2]], "a scalar": np.float32(1.0),
    "a matrix": np.ones((1, 2)), "none": [], "masked": np.ma.array([1.0, 2.0], mask=[True, False]), "a key": [KEY],
    "keys": jax.random.split(KEY), "complex": [1j], "dates": np.array(["2020-01-01"], "datetime64[D]"),
    "long": np.array([1.0], np.longdouble), "beyond 64 bits": [2**70], "a set": {1.0}, "a table": {1.0: 2.0},
    "a generator": (x for x in (1.0,)), "objects": [object()], "a function": len, "bytes": b"ab", "tables": [{}],
}  # fmt: skip


@pytest.mark.parametrize("kind", INNER)
def test_every_wrong_value_of_a_setting_is_refused_in_our_words(tmp_path, kind):
    for table in ("grid", "static"):
        if table == "static" and kind in ("words", "long"):  # which can label an axis
            continue
        with pytest.raises(ValueError, match=rf"{table}\['scale'\]") as refusal:
            run(plain, tmp_path / "s", **{table: {"scale": INNER[kind]}})
        assert ours(refusal.value) and len(str(refusal.value)) < 600
    assert not (tmp_path / "s").exists()


def test_labels_that_no_store_can_hold(tmp_path):
    for value, match in (
        (2**63, "which 64 bits cannot"),
        ("\ud800", "which UTF-8 cannot"),
        (float("nan"), "holds nan"),
    ):
        with pytest.raises(ValueError, match=match):
            run(plain, tmp_path / "s", static={"scale": [value]})


@pytest.mark.parametrize("call", [sweep.load, sweep.arrays])
@pytest.mark.parametrize("kind", [*(k for k in THINGS if k != "text"), *STORES, "nothing", "a file"])
def test_every_wrong_store_to_read_is_refused_in_our_words(tmp_path, call, kind):
    (tmp_path / "file").write_text("mine")
    value = (THINGS | STORES | {"nothing": tmp_path / "nothing", "a file": tmp_path / "file"})[kind]
    with pytest.raises((ValueError, TypeError), match=r"store is|holds no sweep") as refusal:
        call(value)
    assert ours(refusal.value) and not isinstance(refusal.value, jaxtyping.TypeCheckError)


def test_a_sweep_inside_jit_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"key is being traced; call sweep\.run outside jit"):
        jax.jit(lambda key: run(plain, tmp_path / "s", grid={"scale": [1.0]}, key=key).done)(KEY)
    with pytest.raises(ValueError, match=r"grid\['scale'\] is .*no row of numbers"):
        jax.jit(lambda x: run(plain, tmp_path / "s", grid={"scale": [x]}).done)(1.0)


def test_signatures_that_no_setting_fits(tmp_path):
    with pytest.raises(ValueError, match="needs 'scale', which neither grid nor static gives by name"):
        run(lambda key, scale, /: scale, tmp_path / "s")
    with pytest.raises(ValueError, match="'__x' is the name of something else"):
        run(lambda key, __x: __x, tmp_path / "s", grid={"__x": [1.0]})


def test_more_memory_than_there_is_may_be_allowed(tmp_path):
    assert run(plain, tmp_path / "s", grid={"scale": [1.0]}, memory=2**45).complete
