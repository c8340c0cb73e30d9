"""Value of information against brute force over all deterministic policies."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from ird import information, posterior, queries
from mdps import GridWorld

LEGEND = {"S": "dirt", ".": "dirt", "g": "grass", "G": "goal"}


def test_against_every_deterministic_policy(x64):
    mdp = GridWorld.from_text("Sg\n.G", LEGEND, discount=0.7, slip=0.1).mdp
    rng = np.random.default_rng(0)
    weights, p = rng.normal(size=(4, 3)), rng.dirichlet(np.ones(4))
    P, features, initial = (np.asarray(x) for x in (mdp.to_dense(), mdp.features, mdp.initial))
    returns = []  # of every policy under every reward
    for actions in itertools.product(range(4), repeat=4):
        policy = np.eye(4)[list(actions)]
        returns.append([initial @ oracles.policy_value(P, policy, features @ w, 0.7) for w in weights])
    returns = np.array(returns)
    informed, uninformed = p @ returns.max(axis=0), (returns @ p).max()
    belief = posterior.exact(candidates=weights, log_prior=np.log(p))
    got = information.value_of_information(mdp, belief)
    np.testing.assert_allclose([got.informed, got.uninformed], [informed, uninformed], atol=1e-6)
    assert abs(float(got.value) - (informed - uninformed)) <= float(got.error_bound) + 1e-9
    assert float(got.error_bound) < 1e-4


def test_it_is_zero_where_the_answer_changes_nothing():
    corridor = GridWorld.from_text("SG", {"S": "dirt", "G": "goal"}, horizon=5).mdp
    belief = posterior.exact(candidates=jnp.asarray([[0.0, 1.0], [0.0, 7.0]]))
    assert float(information.value_of_information(corridor, belief).value) == pytest.approx(0, abs=1e-5)


def test_it_maps_over_beliefs_and_refuses_other_features():
    mdp = GridWorld.from_text("Sg\n.G", LEGEND, horizon=4).mdp
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(2, 5, 3)), jnp.float32)
    many = jax.vmap(lambda w: information.value_of_information(mdp, posterior.exact(candidates=w)).value)(weights)
    one = information.value_of_information(mdp, posterior.exact(candidates=weights[1])).value
    np.testing.assert_allclose(many[1], one, rtol=1e-5)
    assert (np.asarray(many) >= -1e-5).all()
    with pytest.raises(ValueError, match=r"features|weights"):
        information.value_of_information(mdp, posterior.exact(candidates=jnp.zeros((2, 5))))


def test_a_sample_without_probability_counts_nothing_whatever_it_is(x64):
    mdp = GridWorld.from_text("Sg\n.G", LEGEND, horizon=3).mdp
    weights = np.random.default_rng(3).normal(size=(3, 3))
    some = posterior.exact(candidates=weights, log_prior=jnp.log(jnp.array([0.5, 0.5, 0.0])))
    spoilt = replace(some, weights=some.weights.at[2].set(jnp.nan))
    pool = queries.Pool.from_rewards(weights[:2], mdp)
    for ask in (
        lambda belief: information.value_of_information(mdp, belief).value,
        lambda belief: information.value_of_answer(mdp, belief, pool.query([0, 1])).value,
        lambda belief: queries.Disagreement().score(mdp, belief),
        lambda belief: queries.ProxyInformation(weights[:2]).score(mdp, belief),
    ):
        assert float(ask(spoilt)) == float(ask(some)) and np.isfinite(float(ask(some)))
