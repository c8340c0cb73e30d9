"""Hubs: states to which most others lead, by value against SciPy's sparse solver."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg

import mdps


def table(seed, S, A=2, hubs=(0,)):
    """Two random successors of each state, and the hubs: `next_state [S, D]`, `probability [S, A, D]`."""
    rng = np.random.default_rng(seed)
    next_state = np.concatenate([rng.integers(0, S, size=(S, 2)), np.broadcast_to(hubs, (S, len(hubs)))], axis=1)
    return next_state, rng.dirichlet(np.ones(next_state.shape[1]), size=(S, A))


def build(next_state, probability, **options):
    S = len(next_state)
    features = np.random.default_rng(9).normal(size=(S, 3))
    return mdps.MDP.from_table(next_state, probability, features, np.arange(1.0, S + 1) / (S * (S + 1) / 2), **options)


def chain(next_state, probability, policy):
    """A policy's transition matrix, for SciPy."""
    S, D = next_state.shape
    weights = np.einsum("sa,sad->sd", policy, probability)
    origin = np.repeat(np.arange(S), D)
    return scipy.sparse.csr_array((weights.ravel(), (origin, next_state.ravel())), shape=(S, S))


def visits(mdp, matrix):
    """Expected discounted visits of each state, `[S]`."""
    system = scipy.sparse.eye_array(mdp.num_states) - float(mdp.discount) * matrix.T
    return scipy.sparse.linalg.spsolve(system.tocsc(), np.asarray(mdp.initial))


@pytest.mark.parametrize(("S", "hubs"), [(40, (0,)), (700, (5, 3)), (2100, (2099,))])
def test_occupancy_with_a_hub_is_that_of_the_sparse_system(x64, S, hubs):
    next_state, probability = table(S, S, hubs=hubs)
    mdp = build(next_state, probability, discount=0.9)
    policy = np.random.default_rng(1).dirichlet(np.ones(2), size=S)
    expected = visits(mdp, chain(next_state, probability, policy))[:, None] * policy
    np.testing.assert_allclose(mdps.occupancy(mdp, policy), expected, rtol=1e-9, atol=1e-12)
    reward = np.asarray(mdp.reward(np.array([1.0, -2.0, 0.5])))
    assert mdps.policy_return(mdp, policy, reward) == pytest.approx(expected.sum(axis=1) @ reward, rel=1e-9)


def test_in_float32_a_hub_adds_up_in_parts():
    """One number after the other, 20,000 of them would round off the fourth digit."""
    S = 20_000
    next_state, probability = table(2, S)
    mdp = build(next_state, probability, discount=0.5)
    policy = np.full((S, 2), 0.5)
    matrix, expected = chain(next_state, probability, policy), np.zeros(S)
    for _ in range(60):  # discount ** 60 is nothing
        expected = np.asarray(mdp.initial, float) + 0.5 * matrix.T @ expected
    assert mdps.occupancy(mdp, policy)[0].sum() == pytest.approx(expected[0], rel=3e-6)


def test_memory_is_in_proportion_to_the_edges():
    for S in (1000, 20_000):
        mdp = build(*table(0, S), discount=0.9)
        assert mdp.predecessor_state.size + sum(x.size for x in mdp.predecessor_sums) < 3 * mdp.next_state.size


def test_many_policies_at_once(x64):
    S = 150
    next_state, probability = table(3, S)
    mdp = build(next_state, probability, discount=0.8)
    policies = np.random.default_rng(4).dirichlet(np.ones(2), size=(5, S))
    found = jax.vmap(lambda policy: mdps.occupancy(mdp, policy))(jnp.asarray(policies))
    for policy, y in zip(policies, found):
        np.testing.assert_allclose(
            jnp.sum(y, axis=1), visits(mdp, chain(next_state, probability, policy)), rtol=1e-9, atol=1e-12
        )


def test_stacked_tables_with_other_hubs(x64):
    sizes, hubs = (90, 130), ((0,), (7,))
    tables = [table(i, S, hubs=h) for i, (S, h) in enumerate(zip(sizes, hubs))]
    alone = [build(*t, discount=0.9) for t in tables]
    policy = np.random.default_rng(5).dirichlet(np.ones(2), size=max(sizes))
    found = jax.vmap(mdps.occupancy, in_axes=(0, None))(mdps.stack(alone), jnp.asarray(policy))
    for mdp, t, y in zip(alone, tables, found):
        S = mdp.num_states
        np.testing.assert_allclose(jnp.sum(y[:S], axis=1), visits(mdp, chain(*t, policy[:S])), rtol=1e-9, atol=1e-12)
        assert not jnp.any(y[S:])


def test_the_features_of_an_optimal_policy(x64):
    S = 200
    next_state, probability = table(6, S)
    mdp, weights = build(next_state, probability, discount=0.9), np.array([1.0, 0.3, -0.7])
    best = mdps.optimum(mdp, weights)
    policy = np.asarray(mdps.solve(mdp, mdp.reward(weights)).policy)
    y = visits(mdp, chain(next_state, probability, policy))
    np.testing.assert_allclose(best.features, y @ np.asarray(mdp.features), rtol=1e-8)


def test_with_a_horizon_visits_are_pushed_step_by_step(x64):
    S, T = 120, 6
    next_state, probability = table(7, S)
    mdp, weights = build(next_state, probability, discount=0.9, horizon=T), np.array([1.0, 0.3, -0.7])
    policy = np.asarray(mdps.solve(mdp, mdp.reward(weights)).policy)
    here, total, features = np.asarray(mdp.initial), np.zeros((S, 2)), np.zeros(3)
    for t in range(T):
        total += 0.9**t * here[:, None] * policy[t]
        features += 0.9**t * here @ np.asarray(mdp.features)
        here = chain(next_state, probability, policy[t]).T @ here
    np.testing.assert_allclose(mdps.occupancy(mdp, policy), total, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(mdps.optimum(mdp, weights).features, features, rtol=1e-10)


def test_the_derivative_of_visits_is_that_of_the_dense_system(x64):
    S = 60
    next_state, probability = table(8, S)
    mdp = build(next_state, probability, discount=0.7)
    policy = jnp.full((S, 2), 0.5)
    move = jnp.asarray(np.outer(np.random.default_rng(0).normal(size=S), [1.0, -1.0]))
    matrices = [chain(next_state, probability, np.asarray(p)).toarray() for p in (policy, move)]
    inverse = np.linalg.inv(np.eye(S) - 0.7 * matrices[0].T)
    y = inverse @ np.asarray(mdp.initial)
    expected = (inverse @ (0.7 * matrices[1].T @ y))[:, None] * policy + y[:, None] * move
    _, found = jax.jvp(lambda p: mdps.occupancy(mdp, p), (policy,), (move,))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    cotangent = jnp.asarray(np.random.default_rng(1).normal(size=(S, 2)))
    (pulled,) = jax.vjp(lambda p: mdps.occupancy(mdp, p), policy)[1](cotangent)
    assert jnp.vdot(pulled, move) == pytest.approx(float(jnp.vdot(cotangent, expected)), rel=1e-9)


def test_the_probability_of_ever_getting_to_a_state(x64):
    S = 80
    next_state, probability = table(10, S)
    next_state[0] = 0  # the hub keeps whoever gets there
    mdp, policy = build(next_state, probability, discount=0.9), np.full((S, 2), 0.5)
    matrix = chain(next_state, probability, policy).toarray()
    matrix[[0, 1]] = 0  # whether 1 is visited before 0
    expected = np.linalg.solve(np.eye(S) - matrix, np.arange(S) == 1) @ np.asarray(mdp.initial)
    assert mdps.visit_probability(mdp, policy, np.arange(S) == 1) == pytest.approx(expected, abs=1e-6)
    slope = jax.grad(lambda p: mdps.visit_probability(mdp, p, jnp.arange(S) == 1))(jnp.asarray(policy))
    assert jnp.all(jnp.isfinite(slope)) and jnp.any(slope != 0)
