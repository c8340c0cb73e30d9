"""The loops over the successor table: sweeps, the batch-last rule, and settling on a fixed point."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import mdps
from mdps.kernels import batch_last, expect, neighbours, sweep
from mdps.policy_evaluation import evaluate, push

P, FEATURES, INITIAL = oracles.random_mdp(np.random.default_rng(0))


def model(**kwargs):
    return mdps.MDP.from_dense(P, FEATURES, INITIAL, **{"discount": 0.9, **kwargs})


@given(values=arrays(np.float64, 6, elements=st.floats(-10, 10)))
def test_expect_is_the_dense_product(values):
    with jax.enable_x64(True):
        mdp = model()
        ahead = expect(mdp.probability, neighbours(mdp.next_state, jnp.asarray(values)), mdp.layout.slots)
        np.testing.assert_allclose(np.stack(ahead, axis=1), P @ values, atol=1e-13)


def test_sweep_and_neighbours_with_batch_axes(x64):
    rng = np.random.default_rng(1)
    mdp = model()
    values = jnp.asarray(rng.normal(size=(6, 5)))
    near = neighbours(mdp.next_state, values)
    np.testing.assert_array_equal(np.stack(near, axis=1), np.asarray(values)[np.asarray(mdp.next_state)])
    weight = jnp.asarray(rng.random(mdp.next_state.shape))
    dense = np.zeros((6, 6))
    for s, d in np.ndindex(*mdp.next_state.shape):
        dense[s, mdp.next_state[s, d]] += weight[s, d]
    np.testing.assert_allclose(sweep(mdp.next_state, weight[..., None], values), dense @ values, atol=1e-13)
    # A table that differs between the batch's columns.
    tables = jnp.stack([mdp.next_state, mdp.next_state[:, ::-1]], axis=-1)
    both = sweep(tables, jnp.stack([weight, weight[:, ::-1]], axis=-1), values[:, :2])
    np.testing.assert_allclose(both, dense @ values[:, :2], atol=1e-13)


def test_batch_last_appends_axes_behind_the_core():
    seen = []

    @batch_last(core_in=(1, 0), core_out=(1, 0))
    def scale(x, c):
        seen.append((x.shape, c.shape))
        return x * c.reshape(1, *c.shape), jnp.sum(x, axis=0)

    x, c = jnp.arange(12.0).reshape(2, 3, 2), jnp.arange(1.0, 4.0)
    y, t = jax.vmap(jax.vmap(scale, (0, 0)), (0, None))(x, c)
    assert seen[-1] == ((2, 2, 3), (1, 3))  # outer axis before inner, an unmapped argument broadcasts
    np.testing.assert_allclose(y, x * c[None, :, None])
    np.testing.assert_allclose(t, x.sum(-1))


def test_a_column_does_not_depend_on_its_neighbours(dtype):
    """Columns that have converged are frozen: beside harder ones they give the same answer, bit for bit."""
    mdp = model(discount=0.97)
    rng = np.random.default_rng(3)
    rewards = jnp.asarray(rng.normal(size=(8, 6)) * np.logspace(-3, 2, 8)[:, None], dtype)
    batch = jax.vmap(lambda r: mdps.solve(mdp, r))
    together = batch(rewards)
    twice = batch(jnp.concatenate([rewards[:4], rewards[:4]]))
    np.testing.assert_array_equal(together.value[:4], twice.value[:4])
    np.testing.assert_array_equal(together.error_bound[:4], twice.error_bound[4:])
    assert len(set(np.asarray(together.steps).tolist())) > 1


@pytest.mark.parametrize("temperature", [0.0, 0.3])
def test_nan_stops_and_is_reported(temperature):
    mdp = model()
    reward = jnp.zeros(6).at[2].set(jnp.nan)
    solution = jax.jit(lambda r: mdps.solve(mdp, r, temperature=temperature, max_steps=100_000))(reward)
    assert not bool(solution.converged)
    assert int(solution.steps) < 1000


@pytest.mark.parametrize("temperature", [0.0, 0.3])
def test_nan_stays_in_its_column(temperature):
    rewards = jnp.asarray(np.random.default_rng(4).normal(size=(3, 6)), jnp.float32)
    solve = jax.jit(jax.vmap(lambda r: mdps.solve(model(), r, temperature=temperature)))
    clean, spoilt = solve(rewards), solve(rewards.at[1].set(jnp.nan))
    for name in ("policy", "value", "error_bound"):
        np.testing.assert_array_equal(getattr(spoilt, name)[::2], getattr(clean, name)[::2])
    assert np.isnan(spoilt.value[1]).all() and not spoilt.converged[1]


def test_no_more_sweeps_than_max_steps_and_the_bound_still_holds(x64):
    solution = mdps.solve(model(discount=0.999), jnp.asarray(FEATURES[:, 0]), max_steps=20, tol=1e-12)
    assert 1 < int(solution.steps) <= 2 * 20  # as many again to tell ties apart
    exact = oracles.policy_iteration(P, FEATURES[:, 0], 0.999)
    assert np.abs(solution.value - exact).max() <= float(solution.error_bound)
    assert not bool(solution.converged)


def random_policy(seed, shape=(6, 3)):
    return np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), size=shape[:-1])


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.95, 0.999])
def test_push_and_evaluate_are_transposes(x64, gamma):
    mdp = model(discount=gamma)
    policy = random_policy(0)
    rng = np.random.default_rng(1)
    b, c = rng.normal(size=6), rng.normal(size=6)
    x, y = evaluate(mdp, policy, jnp.asarray(b)), push(mdp, policy, jnp.asarray(c))
    dense = np.eye(6) - gamma * oracles.chain(P, policy)
    np.testing.assert_allclose(x, np.linalg.solve(dense, b), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(y, np.linalg.solve(dense.T, c), rtol=1e-10, atol=1e-10)
    assert float(c @ x) == pytest.approx(float(b @ y), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("settings", [{"discount": 0.9}, {"horizon": 4}])
def test_infinity_in_a_transition_that_is_never_taken_is_reported(settings):
    """An action worth -inf is none that anybody takes: values are finite, and yet nothing is known."""
    mdp = mdps.MDP.from_dense(np.full((3, 2, 3), 1 / 3), np.ones((3, 1)), np.full(3, 1 / 3), **settings)

    @jax.jit
    def found(probability):
        broken = dataclasses.replace(mdp, probability=probability)
        return mdps.solve(broken, jnp.ones(3)), mdps.optimum(broken, jnp.ones(1))

    solution, optimum = found(mdp.probability.at[1, 0, 2].set(-jnp.inf))
    assert not bool(solution.converged)
    assert np.isinf(float(solution.error_bound)) and np.isinf(float(optimum.error_bound))
    assert bool(found(mdp.probability)[0].converged)
