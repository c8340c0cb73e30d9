"""Plans in units of what was at stake in training: a NumPy twin, and the scale of a sample no longer matters."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import mdps
from ird import ProxyReward, planning, posterior
from ird.risk import CVaR
from mdps import worlds

NUM_SAMPLES = 60


@pytest.fixture(scope="module")
def case():
    train, field = worlds.paper()
    prior = dist.Uniform(-1, 1).expand([4]).to_event(1)
    written = train.weights(dirt=-0.1, grass=-0.5, target=1.0)
    proxies = [
        ProxyReward.sampled(written, mdp, beta=2.0, prior=prior, num_proxies=20, key=jax.random.key(1))
        for mdp in (train.mdp, train.mdp.replace(initial=jnp.roll(train.mdp.initial, 7)))
    ]
    belief = posterior.importance(*proxies, prior=prior, num_samples=NUM_SAMPLES, key=jax.random.key(0))
    return field, proxies, belief


def test_stakes_are_the_range_of_training_returns_per_step(case):
    _, proxies, belief = case
    expected = np.zeros(NUM_SAMPLES)
    for proxy in proxies:
        plans = [mdps.solve(proxy.mdp, proxy.mdp.reward(w)).policy for w in proxy.alternatives]
        features = np.array([mdps.feature_expectations(proxy.mdp, policy) for policy in plans])
        returns = np.asarray(belief.weights) @ features.T
        expected += (returns.max(axis=1) - returns.min(axis=1)) / 50 / len(proxies)
    np.testing.assert_allclose(planning.training_stakes(belief, *proxies), expected, rtol=2e-5)


def test_stakes_grow_with_the_reward_and_ignore_a_shift_of_the_features(case):
    _, proxies, belief = case
    stakes = np.asarray(planning.training_stakes(belief, *proxies))
    louder = replace(belief, weights=3.0 * belief.weights)
    np.testing.assert_allclose(planning.training_stakes(louder, *proxies), 3 * stakes, rtol=1e-5)
    shifted = [
        ProxyReward(p.weights, p.mdp.replace(features=p.mdp.features + 0.5), beta=2.0, alternatives=p.alternatives)
        for p in proxies
    ]
    np.testing.assert_allclose(planning.training_stakes(belief, *shifted), stakes, rtol=1e-4)


@pytest.mark.parametrize("planner", ["per step", "per trajectory"])
def test_in_units_of_stakes_the_scale_of_a_sample_changes_nothing(case, planner):
    field, proxies, belief = case
    scale = jnp.exp(jax.random.normal(jax.random.key(3), (NUM_SAMPLES,)))
    scaled = replace(belief, weights=scale[:, None] * belief.weights)

    def plan(samples):
        units = planning.training_stakes(samples, *proxies)
        if planner == "per step":
            start = planning.start_features(field.mdp)
            return planning.plan_per_step(field.mdp, samples, risk=CVaR(0.3), baseline=start, units=units)
        offset = planning.start_offset(field.mdp, samples)
        return planning.plan(field.mdp, samples, risk=CVaR(0.3), offset=offset, units=units, tol=1e-2)

    one, other = plan(belief), plan(scaled)
    if planner == "per step":
        np.testing.assert_allclose(one.objective, other.objective, rtol=1e-4)
        np.testing.assert_allclose(one.policy, other.policy, atol=1e-6)
    else:  # equal up to the gap that both were allowed
        assert one.objective <= other.bound + 1e-3 and other.objective <= one.bound + 1e-3


def test_units_of_one_change_nothing(case):
    field, _, belief = case
    start = planning.start_features(field.mdp)
    plain = planning.plan_per_step(field.mdp, belief, risk=CVaR(0.2), baseline=start)
    ones = planning.plan_per_step(field.mdp, belief, risk=CVaR(0.2), baseline=start, units=jnp.ones(NUM_SAMPLES))
    np.testing.assert_array_equal(plain.policy, ones.policy)


def test_bad_units_are_refused(case):
    field, _, belief = case
    start = planning.start_features(field.mdp)

    def plan(units):
        planning.plan_per_step(field.mdp, belief, risk=CVaR(0.2), baseline=start, units=units)

    with pytest.raises(ValueError, match=r"units has shape \(3,\)"):
        plan(jnp.ones(3))
    with pytest.raises(ValueError, match=r"units is 0\.0 at index 5"):
        plan(jnp.ones(NUM_SAMPLES).at[5].set(0.0))
    with pytest.raises(ValueError, match="units is nan at index"):
        plan(jnp.ones(NUM_SAMPLES).at[7].set(jnp.nan))
    with pytest.raises(ValueError, match="at least one proxy"):
        planning.training_stakes(belief)
    other = worlds.distributional_shift()[0]
    stranger = ProxyReward(jnp.ones(4), other.mdp, alternatives=jnp.ones((1, 4)))
    with pytest.raises(ValueError, match="the belief is about"):
        planning.training_stakes(belief, stranger)
