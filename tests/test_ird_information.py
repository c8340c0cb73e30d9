"""Value of information against brute force over all deterministic policies."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import mdps
from ird import information, posterior, queries
from ird.information._value import _worthiest
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


@pytest.fixture(scope="module")
def shy():
    """A way over ice, which is probably bad, beside a longer dry one; people whose single answers tell little."""
    legend = {"S": "dirt", ".": "dirt", "i": "ice", "G": "goal"}
    field = GridWorld.from_text("SiG\n.#.\n...", legend, horizon=8)
    ice = jnp.asarray([-8.0, -6.0, -4.0, 0.0])
    rewards = jnp.stack([0 * ice - 0.1, ice, 0 * ice + 1.0], axis=1)
    options = jnp.asarray([[2.0, 0.0, 6.0], [0.0, 2.0, 6.0], [1.0, 1.0, 6.0]])  # two steps on dirt, on ice, on either
    pool = queries.Pool.from_features(options, beta=0.15, feature_names=field.mdp.feature_names)
    belief = posterior.exact(candidates=rewards, log_prior=jnp.log(jnp.asarray([0.4, 0.4, 0.17, 0.03])))
    return field.mdp, belief, pool


def test_it_goes_on_asking_while_everything_is_worth_more_than_a_question(shy):
    mdp, prior, pool = shy
    first = information.next_question(mdp, prior, pool, cost=0.02)
    assert float(first.answer.value) < 0.005 < 0.02 < float(first.everything.value) and not first.stop
    told = queries.choose(pool, prior, 2)
    assert first.query.rows.tolist() == told.rows.tolist()  # what tells most, since no answer is worth its cost alone
    assert information.next_question(mdp, prior, pool, cost=5.0).stop
    truth, belief = prior.weights[3], prior
    for i in range(200):
        asked = information.next_question(mdp, belief, pool, cost=0.02)
        if asked.stop:
            break
        picked = asked.query.simulate(truth, key=jax.random.key(i))
        evidence = asked.query.answer(picked)
        belief = posterior.exact(evidence, candidates=belief.weights, log_prior=belief.log_weights)
    assert asked.stop and i > 1
    assert float(asked.everything.value) <= 0.02 + float(asked.everything.error_bound)
    # What it does then is worth all but the cost of a question less than knowing.
    policy = mdps.solve(mdp, mdp.reward(belief.mean())).policy
    own, best = (
        mdps.policy_return(mdp, x, mdp.reward(truth)) for x in (policy, mdps.solve(mdp, mdp.reward(truth)).policy)
    )
    assert float(best - own) < 0.02


def test_the_question_whose_answer_is_worth_most_is_found(shy):
    mdp, _, _ = shy
    rng = np.random.default_rng(4)
    belief = posterior.exact(candidates=jnp.asarray(rng.normal(size=(4, 3)), jnp.float32))
    pool = queries.Pool.from_features(3 * rng.normal(size=(3, 3)), beta=2.0, feature_names=mdp.feature_names)
    worth = {
        rows: float(information.value_of_answer(mdp, belief, pool.query(rows)).value)
        for rows in itertools.combinations(range(3), 2)
    }
    best = max(worth, key=worth.get)
    assert worth[best] > 0.01
    found = information.next_question(mdp, belief, pool)
    assert tuple(found.query.rows.tolist()) == best
    assert float(found.answer.value) == pytest.approx(worth[best], abs=1e-5)
    for wrong in ({"cost": -1.0}, {"cost": np.nan}):
        with pytest.raises(ValueError, match="cost is"):
            information.next_question(mdp, belief, pool, **wrong)
    with pytest.raises(ValueError, match="pool is"):
        information.next_question(mdp, belief, "pool")
    with pytest.raises(ValueError, match="the pool is about the features"):
        information.next_question(mdp, belief, queries.Pool.from_features(np.eye(3)))
    with pytest.raises(ValueError, match="one true reward"):
        found.query.simulate(jnp.ones((2, 3)), key=jax.random.key(0))


def test_a_question_of_three_adds_what_is_worth_most(shy):
    mdp, _, _ = shy
    rng = np.random.default_rng(5)
    belief = posterior.exact(candidates=jnp.asarray(rng.normal(size=(4, 3)), jnp.float32))
    pool = queries.Pool.from_features(3 * rng.normal(size=(4, 3)), beta=2.0, feature_names=mdp.feature_names)
    value = lambda rows: float(information.value_of_answer(mdp, belief, pool.query(list(rows))).value)  # noqa: E731
    pair = max(itertools.combinations(range(4), 2), key=value)
    third = max(set(range(4)) - set(pair), key=lambda i: value([*pair, i]))
    rows = _worthiest(mdp, belief.weights, belief.log_weights, pool, size=3)
    assert rows.tolist() == [*pair, third]
