"""The linear systems of a fixed policy, endless and finite, and their derivatives in both modes."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import mdps
from mdps.policy_evaluation import evaluate, push

P, FEATURES, INITIAL = oracles.random_mdp(np.random.default_rng(0), S=5, A=2)
POLICY = np.random.default_rng(1).dirichlet(np.ones(2), size=5)
T = 4


def model(**kwargs):
    return mdps.MDP.from_dense(P, FEATURES, INITIAL, **{"discount": 0.9, **kwargs})


def test_finite_horizon_against_unrolled_sums(x64):
    mdp = model(horizon=T)
    rng = np.random.default_rng(2)
    policies = rng.dirichlet(np.ones(2), size=(T, 5))
    source = rng.normal(size=(T, 5))
    x, y = evaluate(mdp, policies, jnp.asarray(source)), push(mdp, policies, jnp.asarray(source))
    chains = [oracles.chain(P, policies[t]) for t in range(T)]
    value, visits = np.zeros((T + 1, 5)), np.zeros((T, 5))
    for t in reversed(range(T)):
        value[t] = source[t] + 0.9 * chains[t] @ value[t + 1]
    for t in range(T):
        visits[t] = source[t] + (0.9 * visits[t - 1] @ chains[t - 1] if t else 0)
    np.testing.assert_allclose(x, value[:T], atol=1e-13)
    np.testing.assert_allclose(y, visits, atol=1e-13)


@pytest.mark.parametrize("horizon", [None, T])
def test_derivatives_in_every_mode(x64, horizon):
    """Of the occupancy (a push) and of a return (whose derivative is an evaluation): two orders, both modes."""
    mdp = model(horizon=horizon, discount=0.8)

    def f(policy):
        visits = mdps.occupancy(mdp, policy)
        return jnp.sum(visits * jnp.cos(visits))

    gradient = jax.jit(jax.grad(f))
    numeric = oracles.central(jax.jit(f), POLICY)
    np.testing.assert_allclose(gradient(jnp.asarray(POLICY)), numeric, atol=1e-7)
    direction = jnp.asarray(np.random.default_rng(3).normal(size=POLICY.shape))
    h = 1e-5
    along = (gradient(POLICY + h * direction) - gradient(POLICY - h * direction)) / (2 * h)
    forward = jax.jit(lambda p: jax.jvp(jax.grad(f), (p,), (direction,))[1])(jnp.asarray(POLICY))
    reverse = jax.jit(jax.grad(lambda p: jnp.vdot(jax.grad(f)(p), direction)))(jnp.asarray(POLICY))
    np.testing.assert_allclose(forward, along, atol=1e-6 * np.abs(along).max())
    np.testing.assert_allclose(reverse, forward, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("horizon", [None, T])
def test_sink_edges_differentiate_too(x64, horizon):
    S = 4
    next_state = np.stack([np.roll(np.arange(S), 1), np.arange(S), np.full(S, S - 1)], axis=1)
    probability = np.random.default_rng(0).dirichlet(np.ones(3), size=(S, 2))
    from mdps.mdp import from_table

    mdp = from_table(next_state, probability, np.eye(S), np.eye(S)[0], discount=0.8, horizon=horizon, sink=S - 1)
    dense = np.asarray(mdp.to_dense())
    policy = np.random.default_rng(1).dirichlet(np.ones(2), size=S)
    np.testing.assert_allclose(
        mdps.occupancy(mdp, policy), oracles.occupancy(dense, policy, np.eye(S)[0], 0.8, horizon), atol=1e-12
    )
    f = jax.jit(lambda p: jnp.sum(jnp.sin(mdps.occupancy(mdp, p))))
    np.testing.assert_allclose(jax.grad(f)(jnp.asarray(policy)), oracles.central(f, policy), atol=1e-7)


def test_tolerance_is_the_error(x64):
    mdp = model(discount=0.99)
    exact = oracles.occupancy(P, POLICY, INITIAL, 0.99)
    for tol in (1e-2, 1e-5, 1e-8):
        assert np.abs(mdps.occupancy(mdp, POLICY, tol=tol) - exact).sum() <= tol


def test_nested_vmaps_equal_loops(x64):
    rng = np.random.default_rng(4)
    policies = jnp.asarray(rng.dirichlet(np.ones(2), size=(3, 5)))
    gammas = jnp.asarray([0.0, 0.5, 0.95])
    mdp = model()
    both = jax.vmap(lambda g: jax.vmap(lambda p: mdps.occupancy(mdp.replace(discount=g), p))(policies))(gammas)
    for i, g in enumerate(gammas):
        for j, p in enumerate(policies):
            np.testing.assert_allclose(both[i, j], oracles.occupancy(P, p, INITIAL, float(g)), atol=1e-11)


def test_mixed_precision_is_as_exact(x64):
    policies = np.random.default_rng(5).dirichlet(np.ones(2), size=(14_000, 5))
    mdp = model(discount=0.99)
    visits = jax.jit(jax.vmap(lambda p: mdps.occupancy(mdp, p)))(jnp.asarray(policies))
    for i in range(0, 14_000, 500):
        np.testing.assert_allclose(visits[i], oracles.occupancy(P, policies[i], INITIAL, 0.99), atol=1e-11)
