"""Queries against brute force over all sets, answers and samples; and the identities of information."""

import itertools
import math
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import oracles_queries as slow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import mdps
from ird import ProxyReward, information, posterior, queries
from ird.queries import objectives
from mdps import GridWorld

LEGEND = {"S": "dirt", ".": "dirt", "g": "grass", "w": "pond", "G": "goal"}
MAPS = ("S.gG\n..w.", "Sw.G\n.gg.", "S..G\n....")
M, N, K, BETA = 7, 9, 4, 0.8


def world(text=MAPS[0], **settings):
    return GridWorld.from_text(text, LEGEND, **({"horizon": 6} | settings)).mdp


def problem(seed=0, options=M, samples=N):
    rng = np.random.default_rng(seed)
    weights, features = rng.normal(size=(samples, K)), rng.uniform(0, 3, size=(options, K))
    return features, weights, rng.dirichlet(np.ones(samples))


def believe(weights, p):
    return posterior.exact(candidates=jnp.asarray(weights), log_prior=jnp.log(jnp.asarray(p)))


numbers = st.floats(-3, 3, width=32)


@given(
    arrays(np.float32, (3, K), elements=numbers),
    arrays(np.float32, (N, K), elements=numbers),
    arrays(np.float32, (N,), elements=st.floats(0, 1, width=32)),
    st.floats(0.125, 30, width=32),
)
def test_information_is_what_the_entropy_falls_by_and_the_same_from_either_side(features, weights, share, beta):
    p = (share + 1e-3) / np.sum(share + 1e-3, dtype=float)
    belief = believe(weights.astype(np.float32), p)
    query = queries.Pool.from_features(features, beta=float(beta)).query([0, 1, 2])
    log_choice = query.log_probabilities(belief.weights).T
    gain = float(queries.InformationGain().value(log_choice, belief.log_weights))
    left = float(queries.PosteriorEntropy().value(log_choice, belief.log_weights))
    assert -1e-6 <= gain <= min(slow.entropy(p), math.log(3)) + 1e-5
    features, weights = features.astype(float), weights.astype(float)
    after = slow.expected_posterior_entropy(features, weights, p, float(beta))
    # β w·φ reaches a thousand, of which float32 keeps 1e-4.
    assert gain == pytest.approx(slow.entropy(p) - after, abs=3e-4)
    assert gain == pytest.approx(slow.answer_information(features, weights, p, float(beta)), abs=3e-4)
    assert left == pytest.approx(after, abs=3e-4)


@given(
    arrays(np.float32, (3, N), elements=st.floats(-200, 200, width=32)),
    arrays(np.float32, (5, N), elements=st.floats(-200, 200, width=32)),
)
def test_growing_a_query_is_scoring_the_grown_query(logits, more):
    p = np.random.default_rng(0).dirichlet(np.ones(N))
    log_weights = jnp.log(jnp.asarray(p, jnp.float32))
    log_choice = jax.nn.log_softmax(jnp.asarray(logits), axis=0)
    odds = jnp.asarray(more) - jax.scipy.special.logsumexp(jnp.asarray(logits), axis=0)[None]
    for objective in (queries.InformationGain(), queries.PosteriorEntropy()):
        quick = objective.grown(log_choice, odds, log_weights)
        plain = objectives.Objective.grown(objective, log_choice, odds, log_weights)
        np.testing.assert_allclose(quick, plain, atol=1e-5)


def test_searches_find_what_brute_force_finds(x64):
    gain, left = queries.InformationGain(), queries.PosteriorEntropy()
    for seed in range(3):
        features, weights, p = problem(seed)
        pool, belief, key = queries.Pool.from_features(features, beta=BETA), believe(weights, p), jax.random.key(seed)
        for size, objective in ((2, gain), (3, left)):
            best, least = slow.best_set(features, weights, p, BETA, size)
            found = queries.choose(pool, belief, size, objective=objective, search=queries.Exhaustive())
            assert tuple(found.rows.tolist()) == best
            expected = slow.entropy(p) - least if objective.maximise else least
            assert float(found.value) == pytest.approx(expected, abs=1e-9)
        grown = slow.greedy_set(features, weights, p, BETA, 4)
        for objective in (gain, left):
            found = queries.choose(pool, belief, 4, objective=objective)
            assert set(found.rows.tolist()) == grown
        begun = queries.choose(pool, belief, 4, search=queries.Greedy(starts=1), key=key)
        assert set(begun.rows.tolist()) == slow.greedy_set(features, weights, p, BETA, 4, first=int(begun.rows[0]))
        every = queries.choose(pool, belief, 4, search=queries.Greedy(starts=M), key=key)
        assert set(every.rows.tolist()) == grown


def test_random_queries_show_different_rewards_and_every_set_is_possible():
    features, weights, p = problem(options=4)
    pool, belief = queries.Pool.from_features(features), believe(weights, p)
    draw = jax.jit(jax.vmap(lambda key: queries.choose(pool, belief, 2, search=queries.Random(), key=key).rows))
    rows = np.sort(np.asarray(draw(jax.random.split(jax.random.key(0), 600))), axis=1)
    sets, counts = np.unique(rows, axis=0, return_counts=True)
    assert sets.tolist() == [list(pair) for pair in itertools.combinations(range(4), 2)]
    assert counts.min() > 100 - 5 * 9.2 and counts.max() < 100 + 5 * 9.2  # binomial(600, 1/6): s.d. 9.1


def test_a_greedy_query_never_shows_a_reward_twice():
    pool = queries.Pool.from_features(np.ones((4, K)))  # nothing to learn, everything ties
    _, weights, p = problem()
    query = queries.choose(pool, believe(weights, p), 4)
    assert sorted(query.rows.tolist()) == [0, 1, 2, 3] and float(query.value) == pytest.approx(0, abs=1e-6)


@dataclass(frozen=True)
class AnswerEntropy(queries.Objective):
    """How unsure the answer is: high also where the designer would toss a coin."""

    def value(self, log_choice, log_weights):
        mean = jnp.exp(log_choice) @ jnp.exp(log_weights)
        return jnp.sum(jax.scipy.special.entr(mean))


def test_an_objective_of_ones_own_needs_its_value_alone(x64):
    features, weights, p = problem(2)
    pool, belief = queries.Pool.from_features(features, beta=BETA), believe(weights, p)
    sets = list(itertools.combinations(range(M), 2))
    every = [slow.entropy(p @ slow.chances(features[list(rows)], weights, BETA)) for rows in sets]
    for search in (queries.Greedy(), queries.Exhaustive()):
        found = queries.choose(pool, belief, 2, objective=AnswerEntropy(), search=search)
        assert tuple(sorted(found.rows.tolist())) == sets[int(np.argmax(every))]


def test_an_answer_is_a_proxy_among_the_rewards_shown():
    mdp, rng = world(), np.random.default_rng(0)
    rewards, candidates = rng.normal(size=(6, 4)).astype(np.float32), rng.normal(size=(50, 4)).astype(np.float32)
    pool = queries.Pool.from_rewards(rewards, mdp, beta=2.0)
    query = pool.query([4, 0, 3])
    np.testing.assert_array_equal(query.rewards, rewards[[4, 0, 3]])
    for picked in range(3):
        proxy = ProxyReward(query.rewards[picked], mdp, beta=2.0, alternatives=query.rewards)
        answer = query.answer(picked)
        np.testing.assert_allclose(answer.log_likelihood(candidates), proxy.log_likelihood(candidates), atol=1e-5)
        np.testing.assert_allclose(
            answer.log_likelihood(candidates), query.log_probabilities(candidates)[:, picked], atol=1e-5
        )
        assert answer.feature_names == proxy.feature_names


def test_answers_leave_the_entropy_that_was_promised(x64):
    mdp, rng = world(), np.random.default_rng(1)
    candidates = rng.normal(size=(40, 4))
    pool = queries.Pool.from_rewards(rng.normal(size=(8, 4)), mdp, beta=3.0)
    belief = posterior.exact(pool.query([0, 1]).answer(1), candidates=candidates)
    query = queries.choose(pool, belief, 3, objective=queries.PosteriorEntropy())
    p = np.exp(np.asarray(belief.log_weights))
    expected = 0.0
    for c in range(3):
        after = posterior.exact(query.answer(c), candidates=candidates, log_prior=belief.log_weights)
        expected += p @ np.exp(query.log_probabilities(candidates)[:, c]) * slow.entropy(np.exp(after.log_weights))
    assert float(query.value) == pytest.approx(expected, abs=1e-9)
    assert expected < slow.entropy(p)


def test_it_maps_over_maps_and_compiles_once(x64):
    stacked, traces = mdps.stack([world(text) for text in MAPS]), []
    rng = np.random.default_rng(0)
    rewards, weights = jnp.asarray(rng.normal(size=(6, 4))), rng.normal(size=(30, 4))
    belief = posterior.exact(candidates=weights)

    def one(mdp, beta):
        traces.append(0)
        pool = queries.Pool.from_rewards(rewards, mdp, beta=beta)
        return pool.features, queries.choose(pool, belief, 3)

    many = jax.jit(jax.vmap(one, in_axes=(0, None)))
    for beta in (2.0, 0.5):
        features, found = many(stacked, beta)
        for i in range(len(MAPS)):
            chosen = slow.greedy_set(np.asarray(features[i]), weights, np.full(30, 1 / 30), beta, 3)
            left = slow.expected_posterior_entropy(found.features[i], weights, np.full(30, 1 / 30), beta)
            assert float(found.value[i]) == pytest.approx(math.log(30) - left, abs=1e-9)
            # Rewards with equal plans stand in for one another.
            mine, theirs = (np.unique(np.asarray(features[i])[list(rows)], axis=0) for rows in (found.rows[i], chosen))
            np.testing.assert_allclose(mine, theirs, atol=1e-9)
    assert len(traces) == 1


def test_environments_by_information_and_by_disagreement(x64):
    stacked = [world(text, slip=0.1) for text in MAPS]
    rng = np.random.default_rng(3)
    rewards, weights, p = rng.normal(size=(5, 4)), rng.normal(size=(6, 4)), rng.dirichlet(np.ones(6))
    belief = posterior.exact(candidates=weights, log_prior=np.log(p))
    told, torn, pair = [], [], []
    for mdp in stacked:
        P, phi, start = (np.asarray(x) for x in (mdp.to_dense(), mdp.features, mdp.initial))

        def collected(w, P=P, phi=phi, start=start):
            policy = oracles.backward_induction(P, phi @ w, 1.0, 6)[1]
            return oracles.feature_expectations(P, policy, start, 1.0, phi, 6)

        plans = np.array([collected(w) for w in rewards])
        told.append(slow.answer_information(plans, weights, p, 1.3))
        pair.append(slow.entropy(p) - slow.best_set(plans, weights, p, 1.3, 2)[1])
        own = [collected(w) for w in weights]
        torn.append(sum(p[i] * p[j] * weights[i] @ (own[i] - own[j]) for i in range(6) for j in range(6)))
    for objective, expected in (
        (queries.ProxyInformation(jnp.asarray(rewards), 1.3), told),
        (queries.ProxyInformation(jnp.asarray(rewards), 1.3, size=2), pair),
        (queries.Disagreement(), torn),
    ):
        found = queries.choose_environment(stacked, belief, objective=objective)
        np.testing.assert_allclose(found.scores, expected, atol=1e-6)
        assert int(found.best) == int(np.argmax(expected))
    again = queries.choose_environment(mdps.stack(stacked), belief, objective=queries.Disagreement())
    np.testing.assert_array_equal(again.scores, found.scores)


def test_an_answer_is_worth_something_and_never_more_than_the_truth(x64):
    mdp, rng = world(slip=0.1), np.random.default_rng(4)
    weights, p = rng.normal(size=(5, 4)), rng.dirichlet(np.ones(5))
    belief = posterior.exact(candidates=weights, log_prior=np.log(p))
    query = queries.Pool.from_rewards(rng.normal(size=(4, 4)), world(MAPS[1]), beta=1.5).query([2, 0, 1])
    P, phi, start = (np.asarray(x) for x in (mdp.to_dense(), mdp.features, mdp.initial))

    def best(w):
        return start @ oracles.backward_induction(P, phi @ w, 1.0, 6)[0][0]

    table = slow.chances(np.asarray(query.features), weights, 1.5)
    informed = 0.0
    for c in range(3):
        after = p * table[:, c] / (p @ table[:, c])
        informed += p @ table[:, c] * best(after @ weights)
    got = information.value_of_answer(mdp, belief, query)
    np.testing.assert_allclose([got.informed, got.uninformed], [informed, best(p @ weights)], atol=1e-6)
    everything = information.value_of_information(mdp, belief)
    assert 0.01 < float(got.value) < float(everything.value) and float(got.error_bound) < 1e-9
    blank = queries.Pool.from_features(np.ones((2, 4)), feature_names=mdp.feature_names).query([0, 1])
    assert float(information.value_of_answer(mdp, belief, blank).value) == pytest.approx(0, abs=1e-9)


def bad_inputs():
    mdp, rng = world(), np.random.default_rng(0)
    rewards = rng.normal(size=(5, 4))
    belief = posterior.exact(candidates=rewards)
    pool = queries.Pool.from_rewards(rewards, mdp)
    named = queries.Pool.from_features(rewards, feature_names=tuple("abcd"))
    about = posterior.exact(pool.query([0, 1]).answer(0), candidates=rewards)
    gone = np.where(np.eye(5, 4) > 0, np.nan, rewards)
    wide = queries.Pool.from_features(rng.normal(size=(60, 4)), feature_names=mdp.feature_names)
    yield "show 0 rewards; show at least 2", lambda: queries.choose(pool, belief, 0)
    yield "show 1 rewards; show at least 2", lambda: queries.choose(pool, belief, 1)
    yield "show 6 rewards, but the pool has 5", lambda: queries.choose(pool, belief, 6)
    yield "show 2.0 rewards", lambda: queries.choose(pool, belief, 2.0)
    yield "show 0 rewards", lambda: pool.query([])
    yield "whole numbers in 0..4, indices of the pool", lambda: pool.query([0, 5])
    yield "indices of the pool", lambda: pool.query([0.5, 1.0])
    yield "picked is 2", lambda: pool.query([0, 1]).answer(2)
    yield "rewards is nan at index \\(0, 0\\)", lambda: queries.Pool.from_rewards(gone, mdp)
    yield "features is nan", lambda: queries.Pool.from_features(gone)
    yield "with K=4 features", lambda: queries.Pool.from_rewards(rewards[:, :3], mdp)
    yield "M ≥ 2", lambda: queries.Pool.from_rewards(rewards[:1], mdp)
    yield "M ≥ 2", lambda: queries.Pool.from_features(np.zeros((0, 4)))
    yield "beta is 0.0", lambda: queries.Pool.from_rewards(rewards, mdp, beta=0.0)
    yield "stack of MDPs", lambda: queries.Pool.from_rewards(rewards, mdps.stack([mdp, mdp]))
    yield "the belief is about the features", lambda: queries.choose(named, about, 2)
    yield "the query is about the features", lambda: information.value_of_answer(mdp, about, named.query([0, 1]))
    yield "give candidates", lambda: queries.choose(pool, posterior.exact(candidates=rewards[:, :2]), 2)
    yield (
        "sets of 5 of 60 rewards, more than most=1,000",
        lambda: queries.choose(wide, belief, 5, search=queries.Exhaustive(most=1_000)),
    )
    yield "a random query needs a key", lambda: queries.choose(pool, belief, 2, search=queries.Random())
    yield "begins at random: give choose a key", lambda: queries.choose(pool, belief, 2, search=queries.Greedy(1))
    yield "starts is 9", lambda: queries.choose(pool, belief, 2, search=queries.Greedy(9), key=jax.random.key(0))
    disagreement = queries.Disagreement()
    yield "at least one MDP", lambda: queries.choose_environment([], belief, objective=disagreement)
    yield "is a single MDP", lambda: queries.choose_environment(mdp, belief, objective=disagreement)
    other = GridWorld.from_text("SG", {"S": "a", "G": "b"}, horizon=6).mdp
    yield "share their feature names", lambda: queries.choose_environment([mdp, other], belief, objective=disagreement)
    yield (
        "the belief is about the features",
        lambda: queries.choose_environment([other, other], about, objective=disagreement),
    )
    yield (
        "rewards is nan",
        lambda: queries.choose_environment([mdp, mdp], belief, objective=queries.ProxyInformation(jnp.asarray(gone))),
    )


def test_bad_queries_are_refused_by_name():
    for message, ask in bad_inputs():
        with pytest.raises(ValueError, match=message):
            ask()


def test_a_belief_that_is_not_finite_is_refused():
    features, weights, p = problem()
    belief = believe(weights, p)
    spoilt = replace(belief, weights=belief.weights.at[2, 1].set(jnp.nan))
    with pytest.raises(ValueError, match=r"the belief's weights are .*nan.* in sample 2"):
        queries.choose(queries.Pool.from_features(features), spoilt, 2)


def test_a_sample_without_probability_counts_nothing_whatever_it_is():
    features, weights, p = problem()
    rest = p * (np.arange(N) != 2) / p[np.arange(N) != 2].sum()
    with np.errstate(divide="ignore"):
        some = believe(weights, rest)
    spoilt = replace(some, weights=some.weights.at[2, 1].set(jnp.nan))
    pool = queries.Pool.from_features(features)
    for objective in (queries.InformationGain(), queries.PosteriorEntropy()):
        one, other = (queries.choose(pool, belief, 2, objective=objective) for belief in (some, spoilt))
        assert float(one.value) == float(other.value) and np.isfinite(float(one.value))
        np.testing.assert_array_equal(one.features, other.features)
