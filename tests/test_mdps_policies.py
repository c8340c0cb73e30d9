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
    mdp, policy = mdp.replace(discount=1.0, horizon=4), policies(2, 4)  # one policy for each step, one reward for all
    expected = oracles.feature_expectations(P, policy, INITIAL, 1.0, features, 4)
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


def test_the_discounted_first_visit_is_a_linear_solve(x64):
    policy, where = policies(3), np.arange(S) >= 4
    exact = oracles.visit_discounted(P, policy, INITIAL, where, 0.9)
    assert float(mdps.discounted_first_visit(model(), policy, where)) == pytest.approx(exact, abs=1e-11)
    assert float(mdps.discounted_first_visit(model(), policy, np.zeros(S, bool))) == 0.0
    assert float(mdps.discounted_first_visit(model(), policy, np.ones(S, bool))) == pytest.approx(1.0)


def test_the_discounted_first_visit_with_a_horizon(x64):
    policy, where = policies(3), np.arange(S) == 2
    by = [oracles.visit_by_enumeration(P, policy, INITIAL, where, t) for t in range(1, 5)]
    exact = sum(0.7**t * p for t, p in enumerate(np.diff([0.0, *by])))
    found = mdps.discounted_first_visit(model(discount=0.7, horizon=4), policy, where)
    assert float(found) == pytest.approx(exact, abs=1e-12)


def endings(kind, rng):
    """Moves of `S` states, and a policy, under which some states are never left."""
    moves = np.zeros((S, A, S))
    for s, a in np.ndindex(S, A):
        n = {"certain": 1, "periodic": 2}.get(kind, 3)
        moves[s, a, rng.choice(S, n, replace=False)] = rng.dirichlet(np.ones(n))
    if kind == "periodic":  # every step changes sides
        moves = np.zeros((S, A, S))
        for s, a in np.ndindex(S, A):
            moves[s, a, (1 - s % 2) :: 2] = rng.dirichlet(np.ones(S // 2))
    for s in rng.choice(S, 2, replace=False):
        moves[s], moves[s, :, s] = 0, 1
    if kind == "waiting":
        moves = 1e-6 * moves + (1 - 1e-6) * np.eye(S)[:, None]
    if kind == "leaking":
        moves = 1e-3 * moves + (1 - 1e-3) * np.eye(S)[[0, 0, 2, 2, 4, 4]][:, None]
    return moves, rng.dirichlet(np.ones(A), S) if kind != "certain" else np.eye(A)[rng.integers(0, A, S)]


@pytest.mark.parametrize("kind", ["certain", "random", "periodic", "waiting", "leaking"])
def test_the_probability_of_ever_visiting_is_that_of_a_linear_solve(dtype, kind):
    rng = np.random.default_rng(7)
    for _ in range(6):
        moves, policy = endings(kind, rng)
        where = np.arange(S) == rng.integers(S)
        mdp = mdps.MDP.from_dense(moves, FEATURES, INITIAL, discount=rng.uniform())
        found = float(mdps.visit_probability(mdp, policy, where))
        held = np.asarray(mdp.to_dense(), np.float64)  # as rounded: 1 - 1e-6 is another number in float32
        exact = oracles.visit_ever(moves, policy, INITIAL, where)
        near = 1e-6 if dtype == np.float64 else 2e-6 if kind != "waiting" else 1e-6 + abs(held - moves).max() * 1e6
        assert 0 <= found <= 1
        assert found == pytest.approx(exact, abs=near)


def test_a_way_that_cannot_be_missed_is_certain(dtype):
    grid = mdps.GridWorld.from_text("S.LG", {"S": "dirt", ".": "dirt", "L": "lava", "G": "goal"}, discount=0.9)
    solution = mdps.solve(grid.mdp, grid.mdp.reward(grid.weights(goal=1.0)))
    lava = grid.where("lava")
    ever = mdps.visit_probability(grid.mdp, solution.policy, lava)
    assert ever.dtype == dtype
    assert float(ever) == 1.0
    assert float(mdps.discounted_first_visit(grid.mdp, solution.policy, lava)) == pytest.approx(0.81, rel=1e-6)
    # Bumping about for ever so long changes nothing: the corridor has no other way.
    uniform = jnp.full((4, 4), 0.25)
    assert float(mdps.visit_probability(grid.mdp, uniform, lava)) == 1.0
    stay = jnp.zeros((4, 4)).at[:, 0].set(1.0)
    assert float(mdps.visit_probability(grid.mdp, stay, lava)) == 0.0
    several = jax.jit(jax.vmap(lambda p: mdps.visit_probability(grid.mdp, p, lava)))(jnp.stack([uniform, stay]))
    assert several.tolist() == [1.0, 0.0]


def test_a_visit_that_is_rare_keeps_its_digits(dtype):
    # From 0 on with probability 1/8 at each of 12 steps, else to an end: 8^-12 = 1.5e-11, exact in binary.
    moves = np.zeros((14, 1, 14))
    moves[np.arange(12), 0, np.arange(1, 13)], moves[np.arange(12), 0, 13] = 1 / 8, 7 / 8
    moves[[12, 13], 0, [12, 13]] = 1
    mdp = mdps.MDP.from_dense(moves, np.zeros((14, 1)), np.eye(14)[0], discount=0.5)
    found = mdps.visit_probability(mdp, np.ones((14, 1)), np.arange(14) == 12)
    assert float(found) == pytest.approx(8.0**-12, rel=1e-6)


def test_what_could_still_arrive_is_not_guessed():
    moves = np.zeros((S, A, S))  # a walk of a thousand steps or so between two ends
    moves[range(1, S - 1), :, range(S - 2)], moves[range(1, S - 1), :, range(2, S)] = 0.5, 0.5
    moves[[0, S - 1], :, [0, S - 1]] = 1
    mdp, policy = mdps.MDP.from_dense(moves, FEATURES, np.eye(S)[1], discount=0.9), np.full((S, A), 1 / A)
    where = np.arange(S) == S - 1
    assert float(mdps.visit_probability(mdp, policy, where)) == pytest.approx(1 / (S - 1), abs=1e-6)
    with pytest.warns(RuntimeWarning, match="after 3 sweeps a probability of .* could still arrive.*max_steps"):
        assert np.isnan(mdps.visit_probability(mdp, policy, where, max_steps=3))
    assert np.isnan(jax.jit(lambda p: mdps.visit_probability(mdp, p, where, max_steps=3))(policy))


def test_the_derivative_of_ever_visiting_is_that_of_the_linear_system(x64):
    moves, policy = endings("random", np.random.default_rng(3))
    where = ~np.asarray((moves == 1).any(axis=(1, 2))) & (np.arange(S) == 1)
    mdp = mdps.MDP.from_dense(moves, FEATURES, INITIAL, discount=0.9)
    f = jax.jit(lambda p: mdps.visit_probability(mdp, p, where))
    shift = np.random.default_rng(4).normal(size=(S, A))
    shift -= shift.mean(axis=1, keepdims=True)
    ahead, behind = (oracles.visit_ever(moves, policy + h * shift, INITIAL, where) for h in (1e-6, -1e-6))
    slope = (ahead - behind) / 2e-6
    assert slope != 0
    assert float(jnp.sum(jax.grad(f)(jnp.asarray(policy)) * shift)) == pytest.approx(slope, abs=1e-8)
    assert float(jnp.sum(jax.jacfwd(f)(jnp.asarray(policy)) * shift)) == pytest.approx(slope, abs=1e-8)


def test_flags_given_as_numbers_are_those_flags(x64):
    policy, where = policies(3), np.arange(S) == 2
    for mdp in (model(), model(horizon=4)):
        right = float(mdps.visit_probability(mdp, policy, where))
        assert float(mdps.visit_probability(mdp, policy, where.astype(int))) == right
        with pytest.raises(ValueError, match=r"where is 2 at index 0; give one flag per state, \[6\], true or false"):
            mdps.visit_probability(mdp, policy, np.full(S, 2))


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
    with pytest.raises(ValueError, match=r"where has shape \(2,\)"):
        mdps.visit_probability(mdp, uniform, np.ones(2, bool))
    with pytest.raises(ValueError, match="num_steps is 0; give a whole number ≥ 1"):
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
