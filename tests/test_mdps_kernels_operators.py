"""Tables that are no grid (dense, nearly closed blocks, many successors): solvers against NumPy and linear programs."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

import mdps
from mdps.kernels import Gathered, Matrix, Own, operator

S, A, GAMMA = 24, 3, 0.9
KINDS = ("dense", "blocks", "middling", "own")
WEIGHTS = np.array([1.0, -0.5, 0.3])


def transition(kind, seed=0):
    """`[S, A, S']`: Dirichlet rows; three blocks that are left with probability 1e-3; or 14 successors of 48 states.

    "own" are 6 successors of 48 states, or fewer, that each action has for itself, but for what two have in common.
    """
    rng = np.random.default_rng(seed)
    if kind == "own":
        chance = np.zeros((2 * S, A, 2 * S))
        for s, a in itertools.product(range(2 * S), range(A)):
            some = rng.choice(2 * S, rng.integers(1, 7) if s else 6, replace=False)
            chance[s, a, some] = rng.dirichlet(np.ones(len(some)))
        return chance
    if kind == "middling":
        chance = np.zeros((2 * S, A, 2 * S))
        for s in range(2 * S):
            chance[s][:, rng.choice(2 * S, 14, replace=False)] = rng.dirichlet(np.ones(14), size=A)
        return chance
    chance = rng.dirichlet(np.ones(S), size=(S, A))
    if kind == "blocks":
        block = np.arange(S) % 3
        inside = np.where(block[:, None, None] == block, chance, 0)
        chance = 0.999 * inside / inside.sum(axis=2, keepdims=True) + 1e-3 * chance
    return chance


def build(kind, seed=0, **options):
    chance = transition(kind, seed)
    rng = np.random.default_rng(7)
    features, initial = rng.normal(size=(len(chance), A, 3)), rng.dirichlet(np.ones(len(chance)))
    return mdps.MDP.from_dense(chance, features, initial, **{"discount": GAMMA, **options}), chance, features


def exists(states):
    """A mask in which every state has an action."""
    mask = np.random.default_rng(5).random((states, A)) < 0.6
    mask[np.arange(states), np.arange(states) % A] = True
    return mask


def evaluated(chance, reward, policy):
    """The value of a policy, exactly."""
    chain = np.einsum("sa,sat->st", policy, chance)
    return np.linalg.solve(np.eye(len(chain)) - GAMMA * chain, np.sum(policy * np.where(policy > 0, reward, 0), axis=1))


def best(chance, reward):
    """The optimal value by policy iteration; an action that does not exist has the reward -inf."""
    action = np.argmax(reward, axis=1)
    while True:
        value = evaluated(chance, reward, np.eye(A)[action])
        q = reward + GAMMA * chance @ value
        better = np.where(q.max(axis=1) > q[np.arange(len(q)), action] + 1e-11, q.argmax(axis=1), action)
        if (better == action).all():
            return value
        action = better


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_table_have_their_operator(kind):
    mdp, chance, _ = build(kind)
    table = operator(mdp.layout, mdp.next_state, mdp.probability, in_place=True)
    assert isinstance(table, {"middling": Gathered, "own": Own}.get(kind, Matrix))
    np.testing.assert_allclose(mdp.to_dense(), chance, rtol=1e-6)


@pytest.mark.parametrize(("actions", "most", "states"), [(3, 6, 48), (12, 3, 100), (4, 20, 300)])
def test_lists_by_action_are_the_dense_product(dtype, actions, most, states):
    """A few actions, many, and more successors than a word has bits."""
    rng = np.random.default_rng(actions)
    chance = np.zeros((states, actions, states))
    for s, a in itertools.product(range(states), range(actions)):
        some = rng.choice(states, rng.integers(1, most + 1) if s + a else most, replace=False)
        chance[s, a, some] = rng.dirichlet(np.ones(len(some)))
    mdp = mdps.MDP.from_dense(chance, np.ones((states, 1)), np.full(states, 1 / states), discount=GAMMA)
    D = mdp.next_state.shape[1]
    assert mdp.layout.own == most and 2 * most < D
    table = operator(mdp.layout, mdp.next_state, mdp.probability, in_place=True)
    assert isinstance(table, Own) and table.probability.shape == (most, actions, states)
    stacked = lambda x: np.stack(x, axis=1) if isinstance(x, list) else np.asarray(x)  # noqa: E731
    for shape in ((states,), (states, 5)):
        values = rng.normal(size=shape)
        near = np.einsum("sat,t...->sa...", chance, values)
        np.testing.assert_allclose(stacked(table.expect(jnp.asarray(values, dtype))), near, atol=1e-5)
    action = rng.integers(actions, size=states)
    values, one = rng.normal(size=states), np.eye(actions)[action]
    weight = table.following(table.by_action(jnp.asarray(0.5 * one, dtype)), one=True)
    after = 0.5 * chance[np.arange(states), action] @ values
    np.testing.assert_allclose(table.follow(weight, jnp.asarray(values, dtype)), after, atol=1e-5)
    paid = jnp.ones(states, dtype)
    swept = 1 + 0.5 * chance[np.arange(states), action] @ (1 + after)
    np.testing.assert_allclose(table.sweeps(weight, paid, jnp.asarray(values, dtype), 2), swept, atol=1e-5)
    gap = np.abs(chance - chance[np.arange(states), action][:, None]) @ np.abs(values)
    with jax.numpy_rank_promotion("allow"):  # as all kernels do
        apart = table.apart(table.by_action(jnp.asarray(one, dtype)), jnp.abs(jnp.asarray(values, dtype)))
    np.testing.assert_allclose(stacked(apart), gap, atol=1e-4)


def test_lists_by_action_follow_what_is_replaced_and_stacked():
    mdp, chance, _ = build("own")
    assert mdp.layout.own == 6
    every = jnp.broadcast_to(mdp.probability.mean(axis=1, keepdims=True), mdp.probability.shape)
    assert mdp.replace(probability=every).layout.own is None
    few = mdp.replace(probability=jnp.zeros_like(mdp.probability).at[:, :, 0].set(1.0))
    assert few.layout.own in (None, 1)
    assert mdps.stack([mdp, mdp]).layout.own == 6
    assert mdps.stack([mdp, build("middling")[0]]).layout.own is None
    assert mdp.replace(horizon=3).layout.own == 6
    # A table that the layout is not of is no answer.
    table = operator(mdp.layout, mdp.next_state, every, in_place=True)
    assert np.isnan(np.asarray(table.expect(jnp.ones(len(chance))))).any()


def test_tables_in_a_batch_of_their_own_have_no_lists(x64):
    """Probabilities that are mapped come with the layout of the one table that they were made of."""
    mdp, chance, features = build("own")
    reward = features @ WEIGHTS
    both = jnp.stack([mdp.probability, mdp.probability[:, ::-1]])
    axes = dataclasses.replace(jax.tree.map(lambda _: None, mdp), probability=0)
    values = jax.vmap(lambda m: mdps.solve(m, jnp.asarray(reward)).value, (axes,))(
        dataclasses.replace(mdp, probability=both)
    )
    np.testing.assert_allclose(values[0], best(chance, reward), atol=2e-6)
    np.testing.assert_allclose(values[1], best(chance[:, ::-1], reward), atol=2e-6)


def test_a_dense_table_needs_no_predecessors():
    mdp, _, _ = build("dense")
    assert mdp.predecessor_state.size == 0
    np.testing.assert_array_equal(mdp.next_state[3], np.arange(S))


def test_a_linear_program_has_the_same_optimum(x64):
    mdp, chance, features = build("dense")
    reward = features @ WEIGHTS
    rows = (np.eye(S)[:, None, :] - GAMMA * chance).reshape(S * A, S)
    program = linprog(np.asarray(mdp.initial), A_ub=-rows, b_ub=-reward.ravel(), bounds=(None, None))
    solution = mdps.solve(mdp, reward)
    assert mdp.initial @ solution.value == pytest.approx(program.fun, abs=1e-6)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_bounds_hold_for_values_and_policies(dtype, kind, masked):
    mask = exists(len(transition(kind))) if masked else None
    mdp, chance, features = build(kind, available=mask)
    reward = np.where(True if mask is None else mask, features @ WEIGHTS, -np.inf)
    exact = best(np.asarray(mdp.to_dense(), float), np.where(np.isfinite(reward), reward, -np.inf))
    solution = mdps.solve(mdp, features @ WEIGHTS)
    assert solution.converged
    assert np.abs(np.asarray(solution.value) - exact).max() <= solution.error_bound
    attained = evaluated(chance, reward, np.asarray(solution.policy, float))
    assert (exact - attained).max() <= float(solution.policy_bound) + 1e-6
    assert solution.error_bound < (1e-6 if dtype == jnp.float64 else 1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_actions_share_in_every_operator(dtype, kind):
    del dtype
    chance = transition(kind)
    chance[:, 2] = chance[:, 1]
    mdp = mdps.MDP.from_dense(chance, np.eye(len(chance)), np.full(len(chance), 1 / len(chance)), discount=GAMMA)
    reward = np.linspace(0, 1, len(chance))
    policy = np.asarray(mdps.solve(mdp, reward).policy)
    np.testing.assert_array_equal(policy[:, 1], policy[:, 2])
    assert set(np.unique(policy)) <= {0.0, 0.5, 1.0}


@pytest.mark.parametrize("kind", KINDS)
def test_soft_values_are_the_fixed_point(x64, kind):
    mdp, chance, features = build(kind)
    reward, tau = features @ WEIGHTS, 0.3
    value = np.zeros(len(chance))
    for _ in range(400):
        q = (reward + GAMMA * chance @ value) / tau
        value = tau * (np.log(np.exp(q - q.max(axis=1, keepdims=True)).sum(axis=1)) + q.max(axis=1))
    solution = mdps.solve(mdp, reward, temperature=tau)
    assert np.abs(solution.value - value).max() <= solution.error_bound < 1e-6
    np.testing.assert_allclose(solution.policy, np.exp(q - value[:, None] / tau), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_visits_and_returns_are_those_of_the_linear_system(x64, kind):
    mdp, chance, features = build(kind)
    policy = np.random.default_rng(1).dirichlet(np.ones(A), size=len(chance))
    chain = np.einsum("sa,sat->st", policy, chance)
    visits = np.linalg.solve(np.eye(len(chain)) - GAMMA * chain.T, np.asarray(mdp.initial))[:, None] * policy
    np.testing.assert_allclose(mdps.occupancy(mdp, policy), visits, rtol=1e-9)
    reward = features @ WEIGHTS
    assert mdps.policy_return(mdp, policy, reward) == pytest.approx(np.sum(visits * reward), rel=1e-9)
    slope = jax.grad(lambda r: mdps.policy_return(mdp, jnp.asarray(policy), r))(jnp.asarray(reward))
    np.testing.assert_allclose(slope, visits, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_optimal_features_are_those_of_the_optimal_policy(x64, kind):
    mdp, chance, features = build(kind)
    policy = np.asarray(mdps.solve(mdp, features @ WEIGHTS).policy)
    chain = np.einsum("sa,sat->st", policy, chance)
    visits = np.linalg.solve(np.eye(len(chain)) - GAMMA * chain.T, np.asarray(mdp.initial))
    found = mdps.optimum(mdp, WEIGHTS)
    np.testing.assert_allclose(found.features, np.einsum("s,sa,sak->k", visits, policy, features), rtol=1e-8)
    assert found.error_bound < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_every_operator_agrees_with_loops_with_a_horizon(x64, kind):
    T = 5
    mdp, chance, features = build(kind, horizon=T)
    reward, value, here = features @ WEIGHTS, np.zeros(len(chance)), np.asarray(mdp.initial)
    actions = []
    for _ in range(T):
        q = reward + GAMMA * chance @ value
        value = q.max(axis=1)
        actions.append(q.argmax(axis=1))
    solution = mdps.solve(mdp, reward)
    np.testing.assert_allclose(solution.value, value, rtol=1e-12)
    visits, collected = np.zeros((len(chance), A)), np.zeros(3)
    for t, action in enumerate(reversed(actions)):
        rows = np.arange(len(chance)), action
        visits[rows] += GAMMA**t * here
        collected += GAMMA**t * here @ features[rows]
        here = here @ chance[rows]
    np.testing.assert_allclose(mdps.occupancy(mdp, solution.policy), visits, atol=1e-13)
    np.testing.assert_allclose(mdps.optimum(mdp, WEIGHTS).features, collected, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_of_rewards_of_tables_and_of_both(x64, kind):
    pair = [build(kind, seed) for seed in (0, 1)]
    weights = np.random.default_rng(2).normal(size=(4, 3))
    one = jax.vmap(lambda mdp, w: mdps.solve(mdp, mdp.reward(w)), (None, 0))
    many = jax.jit(jax.vmap(one, (0, None)))(mdps.stack([mdp for mdp, _, _ in pair]), weights)
    features = jax.vmap(jax.vmap(mdps.optimum, (None, 0)), (0, None))(mdps.stack([m for m, _, _ in pair]), weights)
    alone = jax.vmap(lambda w: mdps.solve(pair[0][0], pair[0][0].reward(w)).value)(weights)
    np.testing.assert_allclose(alone, many.value[0], atol=2e-6)
    for (i, (mdp, chance, counts)), (j, w) in itertools.product(enumerate(pair), enumerate(weights)):
        exact = best(chance, counts @ w)
        assert np.abs(many.value[i, j] - exact).max() <= many.error_bound[i, j] < 1e-6
        assert features.value[i, j] == pytest.approx(np.asarray(mdp.initial) @ exact, abs=1e-6)
        assert features.features[i, j] @ w == pytest.approx(np.asarray(mdp.initial) @ exact, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_derivative_of_values_is_the_occupancy(x64, kind):
    mdp, chance, features = build(kind)
    reward = jnp.asarray(features @ WEIGHTS)
    solution = mdps.solve(mdp, reward, temperature=0.2)
    slope = jax.grad(lambda r: mdp.initial @ mdps.solve(mdp, r, temperature=0.2).value)(reward)
    chain = np.einsum("sa,sat->st", np.asarray(solution.policy), chance)
    visits = np.linalg.solve(np.eye(len(chain)) - GAMMA * chain.T, np.asarray(mdp.initial))
    np.testing.assert_allclose(slope, visits[:, None] * np.asarray(solution.policy), atol=1e-7)


def test_tables_of_other_sizes_stack(x64):
    small = mdps.MDP.from_dense(np.full((20, A, 20), 1 / 20), np.ones((20, A, 3)), np.full(20, 1 / 20), discount=GAMMA)
    large, chance, features = build("dense")
    values = jax.vmap(lambda mdp: mdps.optimum(mdp, jnp.asarray(WEIGHTS)).value)(mdps.stack([small, large]))
    np.testing.assert_allclose(values[0], WEIGHTS.sum() / (1 - GAMMA), atol=1e-6)
    np.testing.assert_allclose(values[1], np.asarray(large.initial) @ best(chance, features @ WEIGHTS), atol=1e-6)


@pytest.mark.parametrize("kind", ["dense", "middling", "own"])
def test_without_a_discount_where_everything_ends(x64, kind):
    chance = transition(kind)
    size = len(chance)
    chance = 0.8 * chance
    chance[:, :, 0] += 0.2
    chance[0] = np.eye(size)[0]
    reward = -np.random.default_rng(3).random((size, A))
    reward[0] = 0
    mdp = mdps.MDP.from_dense(chance, reward[..., None], np.full(size, 1 / size), discount=1.0)
    solution = mdps.solve(mdp, reward)
    action = np.argmax(reward[1:] + chance[1:] @ np.asarray(solution.value), axis=1)
    chain = chance[np.arange(1, size), action][:, 1:]
    exact = np.linalg.solve(np.eye(size - 1) - chain, reward[np.arange(1, size), action])
    assert np.abs(solution.value[1:] - exact).max() <= solution.error_bound < 1e-5
    assert (reward[1:] + chance[1:, :, 1:] @ exact).max(axis=1) == pytest.approx(exact, abs=1e-9)  # it is the optimum


@pytest.mark.parametrize("kind", [*KINDS, "few"])
def test_what_mixes_fast_takes_few_sweeps(x64, kind):
    """And ten nearly closed blocks too: the slow modes are one step of extrapolation."""
    if kind == "few":
        rng = np.random.default_rng(3)
        to = np.repeat(rng.integers(0, 200, (200, 1, 4)), A, axis=1)
        rows = np.zeros((200, A, 200))
        for s, a in itertools.product(range(200), range(A)):
            np.add.at(rows[s, a], to[s, a], rng.dirichlet(np.ones(4)))
    else:
        rows = transition(kind)
    mdp = mdps.MDP.from_dense(rows, np.ones((len(rows), 1)), np.full(len(rows), 1 / len(rows)), discount=0.99)
    reward = np.random.default_rng(1).normal(size=len(rows))
    found = mdps.solve(mdp, reward)
    most = 100 if kind == "own" else 80  # plain sweeps take log(1e-8)/log(.99) = 1,800
    assert bool(found.converged) and int(found.steps) < most
    again = mdps.policy_return(mdp, found.policy, reward)
    assert float(again) == pytest.approx(float(jnp.mean(found.value)), abs=1e-6)


@pytest.mark.parametrize("length", [2, 3, 4, 30])
def test_cycles_that_do_not_mix_are_solved(dtype, length):
    """Nothing mixes there, and no step of extrapolation along one mode is right."""
    for states in (length, 40 * length if length > 2 else 40):
        chance = np.zeros((states, A, states))
        s = np.arange(states)
        chance[s, :, (s + 1) % states] = 1.0
        mdp = mdps.MDP.from_dense(chance, np.ones((states, 1)), np.full(states, 1 / states), discount=GAMMA)
        reward = np.where(s % length == 0, 1.0, 0.0)
        found = mdps.solve(mdp, reward)
        exact = GAMMA ** (-s % length) / (1 - GAMMA**length)
        assert bool(found.converged)
        assert np.abs(np.asarray(found.value) - exact).max() <= float(found.error_bound)


def test_a_column_takes_the_sweeps_that_it_takes_with_its_like(x64):
    """Columns that are done sooner, or later, change nothing."""
    mdp, _, _ = build("middling")
    scale = np.array([0.0, 1e-3, 1.0, 1e3, 1.0])
    rewards = np.random.default_rng(2).normal(size=(5, len(mdp.initial))) * scale[:, None]
    solve = jax.vmap(lambda r: mdps.solve(mdp, r))
    together, each = solve(rewards), [solve(np.stack([r, r])) for r in rewards]
    assert len(set(together.steps.tolist())) > 2
    np.testing.assert_array_equal(together.steps, [int(x.steps[0]) for x in each])
    np.testing.assert_array_equal(together.value, [np.asarray(x.value[0]) for x in each])
