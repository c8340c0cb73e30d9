"""The door: what people pass in comes out in the dtype that is used, or is refused by name with a cure."""

import fractions
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdps
from mdps import checks


def positive(x):
    return 0 < x < math.inf


def refused(match):
    return pytest.raises(ValueError, match=match)


@pytest.mark.parametrize(
    ("x", "told"),
    [
        (None, "beta is None; give"),
        ("5", "beta is '5'; give"),
        (True, "beta is True; give"),
        (1j, r"beta is 1j; give"),
        (np.ma.masked, "beta is .*; give"),
        ([1.0], "beta is a list; give"),
        (np.array([1.0, 2.0]), r"beta has shape \(2,\); give one number, and use jax.vmap for several"),
        (math.nan, "beta is nan; give"),
        (10**400, "beta is 1000.*; give"),
        (0, "beta is 0; give"),
    ],
)
def test_what_is_no_allowed_number_is_refused(x, told):
    with refused(told):
        checks.check_number("beta", x, positive, "give a positive number.")


def test_numbers_are_judged_in_the_dtype_in_which_they_are_used():
    with refused(r"beta is 1e\+300, which is inf in float32; give"):
        checks.check_number("beta", 1e300, positive, "give")
    with refused("beta is 1e-60, which is 0.0 in float32; give"):
        checks.check_number("beta", 1e-60, positive, "give")
    with refused("discount is 0.99999999999, which is 1.0 in float32 without a horizon"):
        checks.check_horizon_and_discount(None, 0.99999999999)
    with jax.enable_x64(True):
        assert float(checks.check_number("beta", 1e300, positive, "give")) == 1e300
        checks.check_horizon_and_discount(None, 0.99999999999)


def test_what_is_known_stays_known_while_something_is_traced():
    def look(x):
        number = checks.check_number("beta", 3, positive, "give")
        array = checks.check_array("reward", np.arange(3))
        flags = checks.check_flags("states", np.array([0, 1, 1]), 3)
        assert checks.is_concrete(number) and checks.is_concrete(array) and checks.is_concrete(flags)
        return x + number + array[2] + flags[0]

    assert float(jax.jit(look)(1.0)) == 6.0
    assert jax.vmap(look)(jnp.ones(2)).tolist() == [6.0, 6.0]


@pytest.mark.parametrize("x", [3, 3.0, np.float32(3), np.int64(3), jnp.asarray(3), fractions.Fraction(3)])
def test_every_spelling_of_a_number_is_that_number(dtype, x):
    found = checks.check_number("beta", x, positive, "give")
    assert found.dtype == dtype
    assert float(found) == 3.0
    assert float(jax.jit(lambda x: checks.check_number("beta", x, positive, "give"))(float(x))) == 3.0


@pytest.mark.parametrize(
    ("x", "told"),
    [
        (None, "reward is None; give an array of numbers"),
        ("abc", "reward is 'abc'; give an array of numbers"),
        (["a", "b"], "reward is an array of <U1"),
        ([1.0, None], "reward is an array of object"),
        ([[1.0], [1.0, 2.0]], "reward makes no array: its rows differ in length .*; give rows of one length"),
        ({}, "reward is a dict; give an array"),
        (np.array([1j]), "reward is an array of complex128 .*; give real numbers"),
        (np.ma.array([1.0, 2.0], mask=[False, True]), "reward is a masked array with 1 masked entries.*x.filled"),
        (np.array([0.0, np.nan]), r"reward is nan at index \(1,\)"),
        (np.array([1e39]), r"reward is 1e\+39, beyond float32 \(at most 3.4e\+38\) at index \(0,\)"),
        (np.array(["2020"], "datetime64[D]"), "reward is an array of datetime64"),
        (jax.ShapeDtypeStruct((2,), np.complex64), "reward is an array of complex64"),
        (mdps.MDP, "reward is the class MDP"),
    ],
)
def test_what_holds_no_real_numbers_is_refused(x, told):
    with refused(told):
        checks.check_array("reward", x)


def test_integers_become_floats_before_they_wrap(dtype):
    np.testing.assert_array_equal(checks.check_array("reward", np.array([0, 0, 2**40])), [0, 0, 2.0**40])
    np.testing.assert_array_equal(checks.check_array("reward", [2**70, 1]), [2.0**70, 1])
    np.testing.assert_array_equal(checks.check_array("reward", [fractions.Fraction(1, 4), True]), [0.25, 1])
    for x in (jnp.array([1, 2]), np.ma.array([1.0, 2.0]), [jnp.asarray(1.0), 2]):
        found = checks.check_array("reward", x)
        assert found.dtype == dtype if not isinstance(x, np.ma.MaskedArray) else found.dtype.kind == "f"
        np.testing.assert_array_equal(found, [1, 2])
    assert jax.jit(lambda x: checks.check_array("reward", [x, 2]))(1).tolist() == [1, 2]


def test_flags_are_booleans_or_zeros_and_ones():
    for x in ([True, False, True], np.array([1, 0, 1]), [1.0, 0.0, 1.0], jnp.array([1, 0, 1])):
        found = checks.check_flags("where", x, 3)
        assert found.dtype == bool
        assert found.tolist() == [True, False, True]
    for x, told in (
        ([0, 2, 1], "where is 2 at index 1; give one flag per state"),
        ([0, np.nan, 1], "where is nan at index 1"),
        ([1, 2], r"where has shape \(2,\); .* np.isin\(np.arange\(3\), indices\)"),
        (None, "where is None"),
        (np.ma.array([True, False, True], mask=[True, False, False]), "masked"),
    ):
        with refused(told):
            checks.check_flags("where", x, 3)
    with refused("of booleans, such as x > 0"):
        jax.jit(lambda x: checks.check_flags("where", x, 3))(jnp.array([1, 0, 1]))
    assert jax.jit(lambda x: checks.check_flags("where", x, 3))(jnp.array([True, False, True])).dtype == bool


def test_counts_are_whole_numbers_that_are_known():
    assert [checks.check_count("n", x) for x in (3, np.int64(3), jnp.asarray(3), np.asarray(3))] == [3] * 4
    for x in (0, True, "5", None, 3.0, np.array([3]), np.float32(3)):
        with refused("n is .*; give a whole number ≥ 1"):
            checks.check_count("n", x)
    with refused("n is 9; give a whole number ≥ 1 and ≤ 8"):
        checks.check_count("n", 9, most=8)
    with refused("n is a tracer; it is static"):
        jax.jit(lambda x: checks.check_count("n", x))(3)


def test_indices_are_whole_numbers_in_range():
    checks.check_index("row", np.int64(2), 3, "rows")
    for x in (3, -1, True, None, "a", 1.0):
        with refused("row is .*; it must be one of the 3 rows"):
            checks.check_index("row", x, 3, "rows")
    assert checks.check_indices("rows", [[0, 2]], 3, "states").shape == (1, 2)
    for x, told in (([0, 3], "rows holds 3"), ([0.0], "an array of float64"), (None, "rows is None"), ("a", "'a'")):
        with refused(told):
            checks.check_indices("rows", x, 3, "states")
    with refused("rows makes no array"):
        checks.check_indices("rows", [[0], [0, 1]], 3, "states")


def test_only_one_typed_key_is_a_key():
    assert checks.check_key(jax.random.key(0)).shape == ()
    for x in (7, None, "a", jnp.zeros(3), jax.random.split(jax.random.key(0))):
        with refused("key is .*; give one random key, such as"):
            checks.check_key(x)


def test_an_mdp_is_an_mdp_and_one():
    grid = mdps.GridWorld.from_text("S.G", {"S": "floor", ".": "floor", "G": "goal"}, discount=0.9)
    assert checks.check_mdp(grid.mdp) is grid.mdp
    for x, told in (
        (grid, "mdp is a GridWorld; pass grid.mdp"),
        (None, "mdp is None; pass an mdps.MDP, such as grid.mdp"),
        (mdps.MDP, "mdp is the class MDP"),
        (mdps.stack([grid.mdp, grid.mdp]), r"mdp is a stack of MDPs \(probability has shape \(2, 3, 4, \d\)\)"),
    ):
        with refused(told):
            checks.check_mdp(x)


def test_rewards_and_weights_get_the_cure_that_fits(dtype):
    grid = mdps.GridWorld.from_text("S.G", {"S": "floor", ".": "floor", "G": "goal"}, discount=0.9)
    assert checks.check_reward(grid.mdp, [0, 1, 2]).dtype == dtype
    for x, told in (
        ([1.0, 2.0], r"reward has shape \(2,\).* Did you mean mdp.reward\(weights\)\?"),
        ([[1.0]], r"reward has shape \(1, 1\); with S=3 states and A=4 actions it must be \[S\] or \[S, A\]\.$"),
        ([0.0, -np.inf, 0.0], r"reward is -inf at index \(1,\); .* available="),
        ([0.0, np.nan, 0.0], r"reward is nan at index \(1,\)"),
    ):
        with refused(told):
            checks.check_reward(grid.mdp, x)
    assert checks.check_weights(grid.mdp, [0, 2**40]).tolist() == [0, 2.0**40]
    for x, told in (
        ([1.0], r"weights has shape \(1,\), but this MDP has 2 features"),
        ([1.0, None], "weights is an array of object"),
        ([1.0, np.inf], r"weights is inf at index \(1,\)"),
    ):
        with refused(told):
            checks.check_weights(grid.mdp, x)
