"""Each normalizer of a proxy against trajectories listed one by one, or its sum written out."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_ird_evidence_proxy import K, random_problem

from ird import ProxyReward
from mdps import MDP


def deterministic_problem(seed=0, horizon=3):
    """A deterministic MDP from one start, and the features of every trajectory in it."""
    S, A = 4, 2
    rng = np.random.default_rng(seed)
    following = rng.integers(S, size=(S, A))
    features = rng.normal(size=(S, K))
    mdp = MDP.from_dense(np.eye(S)[following], features, np.eye(S)[0], horizon=horizon)
    every = []
    for actions in itertools.product(range(A), repeat=horizon):
        state, total = 0, np.zeros(K)
        for a in actions:
            total, state = total + features[state], following[state, a]
        every.append(total)
    return mdp, np.array(every)


def test_maxent_is_the_sum_over_trajectories_where_it_should_be(dtype):
    mdp, every = deterministic_problem()
    weights = np.random.default_rng(1).normal(size=(20, K))
    proxy = ProxyReward.maxent(weights[0], mdp, beta=2.5)
    logits = weights @ every.T
    expected = 2.5 * np.log(np.exp(logits).sum(axis=1))
    tol = 1e-10 if dtype == jnp.float64 else 2e-5
    np.testing.assert_allclose(proxy.log_normalizer(weights), expected, atol=tol)
    own = every[np.argmax(every @ weights[0])]
    np.testing.assert_allclose(proxy.log_likelihood(weights), 2.5 * weights @ own - expected, atol=tol)
    assert proxy.feature_covariance is None
    assert proxy.log_likelihood(weights).dtype == dtype


def test_maxent_of_the_coin_flip_is_the_causal_reading(x64):
    """One action, a fair coin, rewards 0 and 3, β = 1: expected value 1.5; the sums over paths 2.36 and 3.05."""
    transition = np.zeros((3, 1, 3))
    transition[0, 0, 1:] = 0.5
    transition[1, 0, 1] = transition[2, 0, 2] = 1
    mdp = MDP.from_dense(transition, np.array([[0.0], [0.0], [1.0]]), np.eye(3)[0], horizon=2)
    found = ProxyReward.maxent([3.0], mdp).log_normalizer(np.array([[3.0]]))
    np.testing.assert_allclose(found, [1.5], atol=1e-12)
    assert round(np.log(0.5 + 0.5 * np.exp(3.0)), 2) == 2.36
    assert round(np.log(1 + np.exp(3.0)), 2) == 3.05


def test_maxent_has_the_gradient_of_its_soft_policy(x64):
    _, _, _, alternatives, mdp = random_problem(1)
    proxy = ProxyReward.maxent(alternatives[0], mdp, beta=2.0)
    w = jnp.asarray(alternatives[1])
    slope = jax.jit(jax.grad(lambda w: proxy.log_likelihood(w[None])[0]))(w)
    steps = w[None] + 1e-5 * np.concatenate([np.eye(K), -np.eye(K)])
    up, down = np.split(np.asarray(proxy.log_likelihood(steps)), 2)
    np.testing.assert_allclose(slope, (up - down) / 2e-5, atol=1e-6)


def test_only_maxent_cares_for_the_scale_of_the_weights(x64):
    """β up and weights down by as much changes no other normalizer's likelihood."""
    _, _, _, alternatives, mdp = random_problem(2)
    weights = np.random.default_rng(3).normal(size=(6, K))

    def change(make):
        return np.abs(make(2.0).log_likelihood(weights) - make(6.0).log_likelihood(weights / 3)).max()

    assert change(lambda b: ProxyReward(alternatives[0], mdp, beta=b, alternatives=alternatives)) < 1e-10
    assert change(lambda b: ProxyReward.maximum(alternatives[0], mdp, beta=b, alternatives=alternatives)) < 1e-10
    assert change(lambda b: ProxyReward.maxent(alternatives[0], mdp, beta=b)) > 1.0


def test_maximum_is_the_largest_term(dtype):
    _, _, _, alternatives, mdp = random_problem(4)
    weights = np.random.default_rng(5).normal(size=(30, K))
    exact = ProxyReward(alternatives[2], mdp, beta=3.0, alternatives=alternatives)
    proxy = ProxyReward.maximum(alternatives[2], mdp, beta=3.0, alternatives=alternatives)
    logits = 3.0 * weights @ np.asarray(exact.alternative_features, np.float64).T
    own = 3.0 * weights @ np.asarray(exact.feature_expectations, np.float64)
    tol = 1e-10 if dtype == jnp.float64 else 2e-5
    np.testing.assert_allclose(proxy.log_likelihood(weights), own - logits.max(axis=1), atol=tol)
    assert (proxy.log_likelihood(weights) >= exact.log_likelihood(weights) - tol).all()
    np.testing.assert_array_equal(proxy.feature_covariance, exact.feature_covariance)
    slopes = jax.jit(jax.vmap(jax.grad(lambda w: proxy.log_likelihood(w[None])[0])))(jnp.asarray(weights, dtype))
    largest = np.asarray(exact.alternative_features)[logits.argmax(axis=1)]
    np.testing.assert_allclose(slopes, 3.0 * (np.asarray(exact.feature_expectations) - largest), atol=tol)


def test_what_maxent_does_not_have_is_said():
    _, _, _, alternatives, mdp = random_problem(0)
    proxy = ProxyReward.maxent(alternatives[0], mdp)
    with pytest.raises(ValueError, match="no alternatives"):
        _ = proxy.counts
    with pytest.raises(ValueError, match="3 features"):
        ProxyReward.maxent([1.0], mdp)
    with pytest.raises(ValueError, match="positive and finite"):
        ProxyReward.maxent(alternatives[0], mdp, beta=-1.0)
