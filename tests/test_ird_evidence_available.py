"""Actions that do not exist somewhere: no demonstration, policy, plan, evidence, normalizer or query takes one."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from numpyro.distributions import Normal

import mdps
from ird import planning, posterior, queries, risk
from ird.evidence import (
    Improvement,
    InitialState,
    InitialStateChoice,
    MaxEntDemonstration,
    ProxyReward,
    RationalDemonstration,
    RewardPunish,
    path_features,
)
from mdps import MDP

S, A, K, T, GAMMA, BETA = 4, 3, 2, 3, 0.9, 1.7
EXIST = np.array([[False, True, True], [True, True, False], [True, False, True], [True, True, True]])
RNG = np.random.default_rng(5)
P = np.where(EXIST[:, :, None], RNG.dirichlet(np.ones(S), size=(S, A)), np.eye(S)[:, None, :])
P[0, 1:, 0], P[0, 1:, 1] = 0, P[0, 1:, 1] + P[0, 1:, 0]  # only what does not exist in state 0 would stay there
FEATURES, START = RNG.normal(size=(S, K)), np.eye(S)[0]
WEIGHTS = RNG.normal(size=(5, K))


@pytest.fixture(autouse=True)
def in_float64(x64):
    pass


def world(horizon=T):
    return MDP.from_dense(P, FEATURES, START, available=EXIST, discount=GAMMA, horizon=horizon)


def paid(w):
    """Rewards, -inf where there is no action."""
    return np.where(EXIST, (FEATURES @ w)[:, None], -np.inf)


def q_values(w, horizon, tau):
    """Q of the hard or soft optimum, `[T, S, A]`, by plain sweeps."""
    later = np.zeros(S)
    if horizon is None:
        for _ in range(500):
            later = oracles.backup(paid(w) + GAMMA * P @ later, tau)
        return np.stack([paid(w) + GAMMA * P @ later] * T)
    q = []
    for _ in range(T):
        q.insert(0, paid(w) + GAMMA * P @ later)
        later = oracles.backup(q[0], tau)
    return np.stack(q)


def collected(policy):
    """Features of a policy `[T, S, A]`, step by step."""
    here, total = START, np.zeros(K)
    for t in range(T):
        total += GAMMA**t * here @ FEATURES
        here = np.einsum("s,sa,sat->t", here, policy[t], P)
    return total


def planned(w):
    """Features of the optimal policy for these weights."""
    return collected(np.stack([oracles.choose(q) for q in q_values(w, T, 0.0)]))


@pytest.mark.parametrize("kind", [RationalDemonstration, MaxEntDemonstration])
@pytest.mark.parametrize("horizon", [T, None])
def test_demonstrations_choose_among_what_exists(kind, horizon):
    states, actions = [0, 1, 3], [2, 1, 0]
    shown = kind(world(horizon), states, actions, beta=BETA)
    expected = []
    for w in WEIGHTS:
        logits = BETA * q_values(w, horizon, 0.0 if kind is RationalDemonstration else 1 / BETA)
        each = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        expected.append(sum(each[t, s, a] for t, (s, a) in enumerate(zip(states, actions, strict=True))))
    np.testing.assert_allclose(shown.log_likelihood(WEIGHTS), expected, atol=1e-5)
    assert np.all(np.isfinite(jax.grad(lambda w: shown.log_likelihood(w).sum())(jnp.asarray(WEIGHTS))))


@pytest.mark.parametrize("kind", [RationalDemonstration, MaxEntDemonstration])
def test_a_demonstration_of_what_does_not_exist_is_refused(kind):
    with pytest.raises(ValueError, match="action 2 at step 1 is not available in state 1"):
        kind(world(), [0, 1], [1, 2])
    with pytest.raises(ValueError, match="action 0 at step 0 is not available in state 0"):
        kind(world(), [0, 0], [0, 1])
    shown = kind(world(), [0, 1], [1, 1])
    leaves, kind_of = jax.tree.flatten(shown)
    moved = [jnp.asarray([[1, 2]], jnp.int32) if x is shown.actions else x for x in leaves]
    traced = jax.jit(lambda leaves: jax.tree.unflatten(kind_of, leaves).log_likelihood(WEIGHTS))(moved)
    np.testing.assert_array_equal(traced, np.full(5, -np.inf))


def test_no_path_stays_by_an_action_that_does_not_exist():
    for call in (
        lambda: path_features(world(), [0, 0]),
        lambda: Improvement(world(), [0, 0], robot=[0, 1]),
        lambda: RewardPunish(world(), [0, 0, 1], 1),
    ):
        with pytest.raises(ValueError, match="no action leads from state 0 to state 0"):
            call()
    with pytest.raises(ValueError, match="action 0 at step 0 is not available in state 0"):
        path_features(world(), [0, 0], [0, 1])
    with pytest.raises(ValueError, match="state 0 cannot be reached from the start in 1 moves"):
        InitialState(world(2), 0)


UNIFORM = EXIST / EXIST.sum(axis=1, keepdims=True)


def test_at_random_means_among_what_exists():
    punished = RewardPunish(world(), [0, 1, 3], -1)
    np.testing.assert_allclose(punished.features[1], collected(np.stack([UNIFORM] * T)), atol=1e-12)
    found = InitialStateChoice(world(), 2)
    chance, total = np.zeros(S), np.zeros((S, K))
    move = np.einsum("sa,sat->st", UNIFORM, P)
    for path in itertools.product([0], range(S), range(S)):
        p = move[path[0], path[1]] * move[path[1], path[2]]
        chance[path[-1]] += p
        total[path[-1]] += p * sum(GAMMA**t * FEATURES[s] for t, s in enumerate(path))
    np.testing.assert_allclose(found.features, total / chance[:, None], atol=1e-12)


def test_the_state_that_was_left_behind():
    expected = []
    for w in WEIGHTS:
        logits = BETA * q_values(w, T, 1 / BETA)
        policy = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        here = START
        for t in range(T - 1):
            here = np.einsum("s,sa,sat->t", here, policy[t], P)
        expected.append(np.log(here[2]))
    np.testing.assert_allclose(InitialState(world(), 2, beta=BETA).log_likelihood(WEIGHTS), expected, atol=1e-9)


def test_every_normalizer_of_a_proxy():
    features = np.stack([planned(w) for w in WEIGHTS])
    logits = BETA * WEIGHTS @ features.T  # [N, M]
    listed = ProxyReward(WEIGHTS[0], world(), beta=BETA, alternatives=WEIGHTS)
    np.testing.assert_allclose(listed.log_normalizer(WEIGHTS), np.log(np.exp(logits).sum(axis=1)), atol=1e-9)
    largest = ProxyReward.maximum(WEIGHTS[0], world(), beta=BETA, alternatives=WEIGHTS)
    np.testing.assert_allclose(largest.log_normalizer(WEIGHTS), logits.max(axis=1), atol=1e-9)
    soft = ProxyReward.maxent(WEIGHTS[0], world(), beta=BETA)
    values = [oracles.backup(q_values(w, T, 1.0)[0], 1.0)[0] for w in WEIGHTS]
    np.testing.assert_allclose(soft.log_normalizer(WEIGHTS), BETA * np.array(values), atol=1e-9)
    drawn = ProxyReward.sampled(WEIGHTS[0], world(), beta=BETA, prior=Normal(jnp.zeros(K), 1.0).to_event(1),
                                num_proxies=3, key=jax.random.key(0), include_candidate=True)  # fmt: skip
    proxies = BETA * WEIGHTS @ np.stack([planned(np.asarray(w)) for w in drawn.alternatives]).T
    own = BETA * np.einsum("nk,nk->n", WEIGHTS, features)
    expected = np.log(np.exp(proxies).sum(axis=1) + np.exp(own))
    np.testing.assert_allclose(drawn.log_normalizer(WEIGHTS), expected, atol=1e-9)


@pytest.mark.parametrize("horizon", [T, None])
def test_optima_and_visits_take_only_what_is_available(horizon):
    mdp = world(horizon)
    for w in WEIGHTS[:2]:
        found = mdps.optimum(mdp, w)
        plan = mdps.solve(mdp, mdp.reward(w))
        visits = mdps.occupancy(mdp, plan.policy)
        assert np.all(np.asarray(visits)[~EXIST] == 0)
        np.testing.assert_allclose(visits.sum(), mdp.total_visits, rtol=1e-9)
        np.testing.assert_allclose(found.features, np.asarray(visits).sum(axis=1) @ FEATURES, atol=1e-8)
        np.testing.assert_allclose(found.value, np.max(q_values(w, horizon, 0.0)[0, 0]), atol=1e-5)
        if horizon:
            np.testing.assert_allclose(found.features, planned(w), atol=1e-10)


def test_a_policy_that_takes_what_does_not_exist_is_refused():
    mdp, everywhere = world(), np.full((S, A), 1 / A)
    belief, there = posterior.exact(candidates=jnp.asarray(WEIGHTS)), np.arange(S) == 2
    for call in (
        lambda policy: mdps.occupancy(mdp, policy),
        lambda policy: mdps.feature_expectations(mdp, policy),
        lambda policy: mdps.policy_return(mdp, policy, np.ones(S)),
        lambda policy: mdps.visit_probability(mdp, policy, there),
        lambda policy: mdps.discounted_first_visit(mdp, policy, there),
        lambda policy: mdps.rollout(mdp, policy, key=jax.random.key(0), num_steps=T),
        lambda policy: planning.policy_offset(mdp, belief, policy),
    ):
        for policy in (everywhere, np.stack([UNIFORM, everywhere, UNIFORM])):
            with pytest.raises(ValueError, match="policy takes action 0 in state 0, which is not available there"):
                call(policy)
        call(UNIFORM)


def test_runs_take_what_exists():
    run = jax.vmap(lambda key: mdps.rollout(world(), UNIFORM, key=key, num_steps=T))
    states, actions = run(jax.random.split(jax.random.key(1), 200))
    assert EXIST[states, actions].all() and len(np.unique(actions)) == A


@pytest.mark.parametrize("measure", [risk.Mean(), risk.CVaR(0.4)])
def test_plans_take_what_exists(measure):
    mdp, belief = world(), posterior.exact(candidates=jnp.asarray(WEIGHTS))
    listed = [np.eye(A)[list(choice)] for choice in itertools.product(*(np.flatnonzero(row) for row in EXIST))]
    best = max(  # the policies that are certain and do not change; a plan may change and mix
        float(measure.value(jnp.asarray(WEIGHTS @ collected(np.stack([policy] * T))), belief.log_weights))
        for policy in listed
    )
    careful = planning.plan(mdp, belief, risk=measure, offset=planning.no_offset(belief), tol=1e-6)
    assert best <= careful.bound + 1e-9 and careful.objective <= careful.bound + 1e-9
    by_step = planning.plan_per_step(mdp, belief, risk=measure, baseline=planning.start_features(mdp))
    for plan in (careful, by_step):
        assert np.all(np.asarray(plan.policy)[..., ~EXIST] == 0)
        np.testing.assert_allclose(plan.policy.sum(axis=-1), 1, atol=1e-9)
        features = collected(np.broadcast_to(plan.policy, (T, S, A)))
        np.testing.assert_allclose(plan.feature_expectations, features, atol=1e-9)
    if isinstance(measure, risk.Mean):
        w = WEIGHTS.mean(axis=0)
        np.testing.assert_allclose(careful.objective, w @ planned(w), atol=1e-6)
    np.testing.assert_allclose(planning.regret_offset(mdp, belief), [w @ planned(w) for w in WEIGHTS], atol=1e-6)


def test_queries_plan_with_what_exists():
    belief = posterior.exact(candidates=jnp.asarray(WEIGHTS))
    pool = queries.Pool.from_rewards(WEIGHTS, world(), beta=BETA)
    np.testing.assert_allclose(pool.features, [planned(w) for w in WEIGHTS], atol=1e-10)
    query = queries.choose(pool, belief, 2)
    shown = [planned(WEIGHTS[i]) for i in query.rows]
    np.testing.assert_allclose(query.answer(0).features, shown, atol=1e-10)
