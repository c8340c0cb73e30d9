"""A function over cases: what a loop over them gives, kept as a sweep keeps it, here and on engines."""

import concurrent.futures

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sweep_trials
from sweep_trials import Relay
from test_ird_sweep_stores import contents

import ird
import mdps
from ird import sweep
from ird.sweep.stores import open_store

OFFSET = {"offset": np.float32(1.5)}


def cases(count=7):
    rng = np.random.default_rng(0)
    return [{"returns": rng.normal(size=3).astype(np.float32), "weight": i} for i in range(count)]


def run(store, what=None, **more):
    arguments = {"given": OFFSET, "block": 3, "progress": False} | more
    return sweep.map(sweep_trials.worst, cases() if what is None else what, store=store, **arguments)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    store = tmp_path_factory.mktemp("cases") / "s"
    report = run(store, dims={"returns": ["option"]})
    assert report.complete and (report.trials, report.ran, report.width) == (7, 7, 3)
    return store


def test_cases_are_what_a_loop_over_them_gives(plain):
    found = sweep.arrays(plain)
    assert found["worst"].dims == ("case",) and found["returns"].dims == ("case", "option")
    for i, case in enumerate(cases()):
        expected = sweep_trials.worst(case, **OFFSET)
        np.testing.assert_allclose(found["worst"].values[i], expected["worst"], rtol=1e-6)
        np.testing.assert_allclose(found["returns"].values[i], expected["returns"], rtol=1e-6)
    data = sweep.load(plain)
    assert dict(data.sizes) == {"case": 7, "option": 3} and data["done"].all()
    np.testing.assert_array_equal(data["case"], np.arange(7))


def test_a_list_and_a_pytree_with_a_leading_axis_are_the_same_cases(plain):
    stacked = jax.tree.map(lambda *x: jnp.stack([jnp.asarray(y) for y in x]), *cases())
    assert run(plain, stacked, dims={"returns": ["option"]}).ran == 0


def test_engines_make_the_same_store_and_cases_travel_with_their_block(tmp_path, plain):
    relay = Relay()
    assert run(tmp_path / "s", executor=relay, dims={"returns": ["option"]}).complete
    assert contents(tmp_path / "s") == contents(plain)
    sent = [task["cases"][1]["weight"].tolist() for task in relay.tasks if "number" in task]
    assert sent == [[0, 1, 2], [3, 4, 5], [6]]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert run(tmp_path / "t", executor=pool, dims={"returns": ["option"]}, write="workers").complete
    assert contents(tmp_path / "t") == contents(plain)


def test_stopped_it_goes_on_and_a_block_that_fails_names_its_cases(tmp_path, plain):
    def fail(spec, task):
        if task.get("number") == 1:
            raise OSError("gone")

    with pytest.raises(RuntimeError, match=r"(?s)1 of 3 blocks raised.*OSError: gone \(case=3 to 5; on the engine\)"):
        run(tmp_path / "s", executor=Relay(fail), dims={"returns": ["option"]})
    assert run(tmp_path / "s", dims={"returns": ["option"]}).ran == 3
    assert contents(tmp_path / "s") == contents(plain)


def test_the_store_of_other_cases_is_refused(plain):
    other = cases()
    other[6]["weight"] = 7
    for wrong, match in ((other, r"cases \(digest\)"), (cases(6), "number of cases: 7 in the store, 6 now")):
        with pytest.raises(ValueError, match=match):
            run(plain, wrong, dims={"returns": ["option"]})
    with pytest.raises(ValueError, match="axes, in order"):
        sweep_trials.run(plain)
    assert open_store(plain).identity["cases"]


def test_posteriors_are_cases(tmp_path):
    """Of one shape; a posterior is a pytree whose names of features are no array."""
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(3, 5, 2)).astype(np.float32)
    beliefs = [
        ird.posterior.exact(ird.evidence.Choice(np.eye(2, dtype=np.float32), 0, beta=b), candidates=jnp.asarray(w))
        for w, b in zip(weights, (0.5, 1.0, 2.0), strict=True)
    ]
    for executor in (None, Relay()):
        store = tmp_path / str(executor is None)
        sweep.map(mean_weights, beliefs, store=store, executor=executor, progress=False)
        found = sweep.arrays(store)["mean"].values
        np.testing.assert_allclose(found, np.stack([b.mean() for b in beliefs]), rtol=1e-5)
    assert contents(tmp_path / "True") == contents(tmp_path / "False")


def test_maps_are_cases_and_one_program_is_not_taken_for_another_that_gets_something_else(tmp_path):
    """Programs that are the same in words, of an MDP and of the map that holds it; and of a case that is not used."""
    legend = {"S": "floor", ".": "floor", "G": "goal"}
    grids = [mdps.GridWorld.from_text(text, legend, horizon=3) for text in ("S.\n.G", "SG\n..")]
    for name, function, what in (
        ("mdps", lambda mdp, reward: mdp.features.sum() + reward, [grid.mdp for grid in grids]),
        ("grids", lambda grid, reward: grid.mdp.features.sum() + reward, grids),
        ("unused", lambda case, reward: 3.0 * reward, [1.0, 2.0]),
        ("unused too", lambda case, reward: 3.0 * reward, [(1.0, 2.0), (2.0, 3.0)]),
    ):
        sweep.map(function, what, given={"reward": 2.0}, store=tmp_path / name, progress=False)
        found = sweep.arrays(tmp_path / name)["value"].values
        np.testing.assert_allclose(found, [6.0, 6.0])


def mean_weights(belief):
    return {"mean": belief.mean()}


def test_what_a_map_refuses_says_function_and_case(tmp_path):
    for function, more, match in (
        (lambda: 1.0, {}, r"function .* takes no case; its first argument must be one: function\(case"),
        (lambda case, other: case, {}, "function .* needs 'other', which given does not give by name"),
        (lambda case: case, {"given": {"a": 1.0}}, r"given holds 'a', which function .* does not take"),
        (lambda case: case, {"executor": Relay()}, r"function .* cannot be sent to a worker"),
        (lambda case: jax.random.normal(jax.random.key(int(case[0]))), {}, "function .* needs a value|needs the value"),
    ):
        with pytest.raises(ValueError, match=match):
            sweep.map(function, np.ones((3, 2)), store=tmp_path / "s", progress=False, **more)
    assert not (tmp_path / "s").exists()
