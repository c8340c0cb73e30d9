"""What a policy does, against dense NumPy: occupancy, features, returns, visits and sampled runs."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import mdps

P, FEATURES, INITIAL = oracles.random_mdp(np.random.default_rng(0))
S, A = P.shape[:2]
T = 5


def model(**kwargs):
    return mdps.MDP.from_dense(P, FEATURES, INITIAL, **{"discount": 0.9, **kwargs})


def policies(seed, *lead):
    return np.random.default_rng(seed).dirichlet(np.ones(A), size=(*lead, S))


@pytest.mark.parametrize(
    ("discount", "horizon", "lead"), [(0.0, None, ()), (0.9, None, ()), (0.999, None, ()), (1.0, T, ()), (0.8, T, (T,))]
)
def test_feature_expectations_to_ten_digits(x64, discount, horizon, lead):
    mdp, policy = model(discount=discount, horizon=horizon), policies(1, *lead)
    expected = oracles.feature_expectations(P, policy, INITIAL, discount, FEATURES, horizon)
    scale = np.abs(FEATURES).max() * float(mdp.total_visits) / 10  # 1e-10 of the size of the numbers
    np.testing.assert_allclose(mdps.feature_expectations(mdp, policy), expected, atol=1e-10 * max(1, scale), rtol=0)
    occupancy = mdps.occupancy(mdp, policy)
    np.testing.assert_allclose(
        occupancy, oracles.occupancy(P, policy, INITIAL, discount, horizon), atol=1e-10 * max(1, scale), rtol=0
    )
    assert float(occupancy.sum()) == pytest.approx(float(mdp.total_visits), rel=1e-12)
    reward = FEATURES[:, 0]
    assert float(mdps.policy_return(mdp, policy, reward)) == pytest.approx(
        oracles.expected_return(P, policy, INITIAL, discount, reward, horizon), abs=1e-10 * max(1, scale)
    )


def test_float32_is_as_good_as_float32_can_be():
    mdp, policy = model(), policies(1)
    expected = oracles.feature_expectations(P, policy, INITIAL, 0.9, FEATURES)
    assert mdps.occupancy(mdp, policy).dtype == jnp.float32
    np.testing.assert_allclose(mdps.feature_expectations(mdp, policy), expected, atol=2e-5)


def test_state_action_features_and_rewards(x64):
    features = np.random.default_rng(5).normal(size=(S, A, 2))
    mdp, policy = mdps.MDP.from_dense(P, features, INITIAL, discount=0.9), policies(2)
    expected = oracles.feature_expectations(P, policy, INITIAL, 0.9, features)
    np.testing.assert_allclose(mdps.feature_expectations(mdp, policy), expected, atol=1e-10)
    weights = jnp.array([0.3, -2.0])
    assert float(mdps.policy_return(mdp, policy, mdp.reward(weights))) == pytest.approx(float(expected @ weights))


@given(logits=arrays(np.float64, (S, A), elements=st.floats(-8, 8)))
def test_occupancy_sums_to_the_total_visits(logits):
    policy = np.exp(logits - logits.max(1, keepdims=True))
    policy /= policy.sum(1, keepdims=True)
    with jax.enable_x64(True):
        mdp = model()
        visits = np.asarray(mdps.occupancy(mdp, policy))
    assert visits.min() >= 0
    assert visits.sum() == pytest.approx(10.0, rel=1e-12)
    # Flow: what is in a state is what began there and what arrived.
    np.testing.assert_allclose(visits.sum(1), INITIAL + 0.9 * np.einsum("sa,sat->t", visits, P), atol=1e-12)


@given(seed=st.integers(0, 10**6))
def test_occupancy_does_not_care_how_states_are_numbered(seed):
    rng = np.random.default_rng(seed)
    order, swap, policy = rng.permutation(S), rng.permutation(A), policies(seed)
    with jax.enable_x64(True):
        renamed = model().replace()
        dense = P[order][:, swap][:, :, order]
        renamed = mdps.MDP.from_dense(dense, FEATURES[order], INITIAL[order], discount=0.9)
        if renamed.next_state.shape != model().next_state.shape:
            return
        visits = mdps.occupancy(renamed, policy[order][:, swap])
        np.testing.assert_allclose(visits, np.asarray(mdps.occupancy(model(), policy))[order][:, swap], atol=1e-12)


@pytest.mark.parametrize("lead", [(), (4,)])
def test_visit_probability_by_enumeration(x64, lead):
    policy, states = policies(3, *lead), np.arange(S) == 2
    mdp = model(discount=0.7, horizon=4)
    exact = oracles.visit_by_enumeration(P, policy, INITIAL, states, 4)
    assert float(mdps.visit_probability(mdp, policy, states)) == pytest.approx(exact, abs=1e-12)


def test_visit_probability_without_a_horizon_discounts_the_first_visit(x64):
    policy, states = policies(3), np.arange(S) >= 4
    exact = oracles.visit_discounted(P, policy, INITIAL, states, 0.9)
    assert float(mdps.visit_probability(model(), policy, states)) == pytest.approx(exact, abs=1e-11)
    assert float(mdps.visit_probability(model(), policy, np.zeros(S, bool))) == 0.0
    assert float(mdps.visit_probability(model(), policy, np.ones(S, bool))) == pytest.approx(1.0)


def test_visit_probability_through_a_sink(x64):
    from mdps.mdp import from_table

    next_state = np.stack([np.roll(np.arange(4), 1), np.full(4, 3)], axis=1)
    probability = np.tile([0.75, 0.25], (4, 1))[:, None, :]
    mdp = from_table(next_state, probability, np.eye(4), np.eye(4)[0], discount=0.9, horizon=3, sink=3)
    dense, policy = np.asarray(mdp.to_dense()), np.ones((4, 1))
    for s in range(4):
        exact = oracles.visit_by_enumeration(dense, policy, np.eye(4)[0], np.arange(4) == s, 3)
        assert float(mdps.visit_probability(mdp, policy, np.arange(4) == s)) == pytest.approx(exact)


def test_rollout_follows_the_policy_and_the_table(x64):
    mdp, policy = model(), policies(4)
    keys = jax.random.split(jax.random.key(0), 4000)
    runs = jax.jit(jax.vmap(lambda k: mdps.rollout(mdp, policy, key=k, num_steps=T)))(keys)
    assert runs.states.shape == runs.actions.shape == (4000, T)
    gamma_free = oracles.occupancy(P, policy, INITIAL, 1.0, T)
    counted = np.zeros((S, A))
    np.add.at(counted, (np.asarray(runs.states).ravel(), np.asarray(runs.actions).ravel()), 1 / 4000)
    assert np.abs(counted - gamma_free).max() < 5 * np.sqrt(T / 4000)
    again = mdps.rollout(mdp, policy, key=keys[0], num_steps=T)
    np.testing.assert_array_equal(again.states, runs.states[0])


def test_rollout_with_a_policy_per_step(x64):
    mdp = model(horizon=T)
    policy = np.zeros((T, S, A))
    policy[np.arange(T), :, np.arange(T) % A] = 1.0
    run = mdps.rollout(mdp, policy, key=jax.random.key(1), num_steps=T)
    np.testing.assert_array_equal(run.actions, np.arange(T) % A)
    assert mdps.rollout(mdp, policy, key=jax.random.key(1), num_steps=2).states.shape == (2,)


def test_bad_policies_rewards_and_states_are_named():
    mdp = model()
    uniform = np.full((S, A), 1 / A)
    with pytest.raises(ValueError, match=r"policy has shape \(6, 2\); it must be \[6, 3\]"):
        mdps.occupancy(mdp, uniform[:, :2])
    with pytest.raises(ValueError, match=r"policy has shape \(2, 6, 3\)"):
        mdps.occupancy(model(horizon=T), np.stack([uniform] * 2))
    with pytest.raises(ValueError, match=r"policy of state 1 sums to"):
        mdps.occupancy(mdp, uniform + 0.1 * (np.arange(S) == 1)[:, None])
    with pytest.raises(ValueError, match=r"policy of state 0 holds nan"):
        mdps.occupancy(mdp, np.full((S, A), np.nan))
    with pytest.raises(ValueError, match=r"reward has shape \(5,\)"):
        mdps.policy_return(mdp, uniform, np.zeros(5))
    with pytest.raises(ValueError, match=r"reward is nan at index \(3,\)"):
        mdps.policy_return(mdp, uniform, np.where(np.arange(S) == 3, np.nan, 0.0))
    with pytest.raises(ValueError, match=r"states has shape \(2,\)"):
        mdps.visit_probability(mdp, uniform, np.ones(2, bool))
    with pytest.raises(ValueError, match="num_steps is 0; take at least one step"):
        mdps.rollout(mdp, uniform, key=jax.random.key(0), num_steps=0)
    for key, told in ((7, "key is 7"), (jnp.zeros(3), r"an array of float32 with shape \(3,\)")):
        with pytest.raises(ValueError, match=f"{told}; give one random key"):
            mdps.rollout(mdp, uniform, key=key, num_steps=2)


def test_the_policy_gradient_is_the_advantage(x64):
    """d return / d π(a|s) = visits(s) Q(s, a): reverse and forward mode agree with it."""
    mdp, policy, r = model(), policies(6), FEATURES[:, 1]
    f = jax.jit(lambda p: mdps.policy_return(mdp, p, r))
    visits = oracles.occupancy(P, policy, INITIAL, 0.9).sum(1)
    q = r[:, None] + 0.9 * P @ oracles.policy_value(P, policy, r, 0.9)
    np.testing.assert_allclose(jax.grad(f)(jnp.asarray(policy)), visits[:, None] * q, atol=1e-9)
    np.testing.assert_allclose(jax.jacfwd(f)(jnp.asarray(policy)), visits[:, None] * q, atol=1e-9)
