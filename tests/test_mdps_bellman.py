"""Ties, rounding and bounds: what arithmetic can tell apart is told apart, whatever stands elsewhere on the map."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import mdps
from mdps import MDP, GridWorld, bellman

FLOOR = {"S": "floor", ".": "floor", "G": "goal"}


def robot(**settings):
    """The recycling robot: states high, low; actions wait, search, recharge (which high has not)."""
    T = np.zeros((2, 3, 2))
    T[0, 0, 0] = T[0, 2, 0] = T[1, 0, 1] = T[1, 2, 0] = 1
    T[0, 1], T[1, 1] = [0.8, 0.2], [0.6, 0.4]
    return MDP.from_dense(T, np.eye(2), [1, 0], discount=0.9, **settings)


def paid(penalty):
    return jnp.array([[2.0, 5.0, penalty], [2.0, 0.2, 0.0]])


def corridor(cells, **settings):
    return GridWorld.from_text("S" + "." * (cells - 2) + "G", FLOOR, **settings)


def shares(x):
    return (np.asarray(x) > 0).tolist()


class TestPenalties:
    """One huge number must not make others look equal (float32: every state shared, worth 34.28, called 38.14)."""

    @pytest.mark.parametrize("penalty", [-1e6, -1e9])
    def test_a_forbidden_action_elsewhere_makes_no_ties(self, penalty, dtype):
        mdp, reward = robot(), paid(penalty)
        solution = mdps.solve(mdp, reward)
        assert shares(solution.policy) == [[False, True, False], [False, False, True]]
        np.testing.assert_allclose(solution.value, [42.3728814, 38.1355932], atol=float(solution.error_bound) + 1e-7)
        attained = mdps.policy_return(mdp, solution.policy, reward)
        assert attained >= 42.3728814 - solution.policy_bound - 1e-5
        soft = mdps.solve(mdp, reward, temperature=1.0)
        np.testing.assert_allclose(soft.value, [43.8112924, 39.8342196], atol=float(soft.error_bound) + 1e-7)
        expected = [[0.0924461, 0.9075539, 0], [0.1375976, 0.1947960, 0.6676065]]
        np.testing.assert_allclose(soft.policy, expected, atol=2e-6)

    def test_an_action_that_does_not_exist(self, dtype):
        mdp = robot(available=[[True, True, False], [True, True, True]])
        for reward in (paid(0.0), paid(7.0)):
            solution = mdps.solve(mdp, reward)
            assert shares(solution.policy) == [[False, True, False], [False, False, True]]
            np.testing.assert_allclose(
                solution.value, [42.3728814, 38.1355932], atol=float(solution.error_bound) + 1e-7
            )
            soft = mdps.solve(mdp, reward, temperature=1.0)
            np.testing.assert_allclose(soft.value, [43.8112924, 39.8342196], atol=float(soft.error_bound) + 1e-7)
            assert soft.policy[0, 2] == 0
        q = mdps.action_values(mdp, paid(0.0))
        np.testing.assert_allclose(q, [[40.1356, 42.3729, -np.inf], [36.3220, 36.8102, 38.1356]], atol=3e-4)
        slope = jax.grad(lambda r: mdps.solve(mdp, r, temperature=1.0).value[0])(paid(0.0))
        assert np.isfinite(slope).all() and slope[0, 2] == 0

    @pytest.mark.parametrize("horizon", [None, 6])
    def test_optimum_takes_no_action_that_does_not_exist(self, horizon, dtype):
        available = np.array([[True, True, False], [True, True, True]])
        T = np.asarray(robot().to_dense())
        features = np.zeros((2, 3, 2))
        features[..., 0], features[..., 1] = np.asarray(paid(0.0)), 1
        features[~available] = 0
        mdp = MDP.from_dense(T, features, [1, 0], discount=0.9, horizon=horizon, available=available)
        best = mdps.optimum(mdp, jnp.array([1.0, 0.0]))
        solution = mdps.solve(mdp, mdp.reward(jnp.array([1.0, 0.0])))
        np.testing.assert_allclose(best.value, solution.value[0], atol=float(best.error_bound) + 1e-5)
        assert not np.asarray(solution.policy)[..., 0, 2].any()
        # At weights of zero everything that exists is shared.
        even = mdps.solve(mdp, mdp.reward(jnp.zeros(2))).policy
        np.testing.assert_allclose(even.reshape(-1, 2, 3)[0], [[0.5, 0.5, 0], [1 / 3] * 3], atol=1e-6)
        np.testing.assert_allclose(
            mdps.optimum(mdp, jnp.zeros(2)).features, mdps.feature_expectations(mdp, even), rtol=2e-4
        )


class TestFarGoals:
    """Values shrink with the distance from the goal, and so must what is called a tie."""

    @pytest.mark.parametrize(("cells", "discount"), [(40, 0.5), (104, 0.9), (199, 0.95)])
    def test_a_corridor_goes_right_everywhere(self, cells, discount, dtype):
        grid = corridor(cells, discount=discount)
        reward = grid.mdp.reward(grid.weights(goal=1.0))
        solution = mdps.solve(grid.mdp, reward)
        assert (np.asarray(solution.policy)[:-1] == [0, 1, 0, 0]).all()
        exact = discount ** np.arange(cells - 1, -1, -1.0) / (1 - discount)
        assert np.abs(np.asarray(solution.value) - exact).max() <= solution.error_bound
        np.testing.assert_allclose(mdps.policy_return(grid.mdp, solution.policy, reward), exact[0], rtol=1e-3)
        if discount == 0.5:  # powers of two: no rounding at all
            np.testing.assert_array_equal(np.asarray(solution.value)[:-1], exact[:-1].astype(dtype))

    def test_the_far_goal_is_walked_to_with_a_horizon_too(self, dtype):
        grid = corridor(60, discount=0.8, horizon=80)
        solution = mdps.solve(grid.mdp, grid.mdp.reward(grid.weights(goal=1.0)))
        assert (np.asarray(solution.policy)[0, :-1] == [0, 1, 0, 0]).all()
        features = mdps.optimum(grid.mdp, grid.weights(goal=1.0)).features
        np.testing.assert_allclose(features[1], 0.8**59 * (1 - 0.8**21) / 0.2, rtol=1e-5)


class TestTies:
    """True ties are shared, in whatever order their sums were added."""

    @pytest.mark.parametrize("settings", [{"discount": 0.95}, {"horizon": 9}, {"discount": 0.95, "slip": 0.1}])
    def test_equally_long_ways_share(self, settings, dtype):
        grid = GridWorld.from_text("S..\n...\n..G", FLOOR, **settings)
        solution = mdps.solve(grid.mdp, grid.mdp.reward(grid.weights(floor=-0.1, goal=1.0)))
        first = np.asarray(solution.policy).reshape(-1, 9, 4)[0]
        assert shares(first[0]) == shares(first[4]) == [False, True, True, False]

    def test_the_same_worth_at_once_and_for_ever_share(self, dtype):
        """31 at once against 1 a step for ever: 31 = 31/32 · 32."""
        T = np.zeros((3, 2, 3))
        T[0, 0, 1] = T[0, 1, 2] = 1
        T[1, :, 1] = T[2, :, 2] = 1
        mdp = MDP.from_dense(T, np.eye(3), [1, 0, 0], discount=31 / 32)
        solution = mdps.solve(mdp, jnp.array([[31.0, 0], [0, 0], [1, 1]]))
        np.testing.assert_array_equal(solution.policy[0], [0.5, 0.5])

    @pytest.mark.parametrize("actions", [3, 12])
    @pytest.mark.parametrize("horizon", [None, 5])
    def test_tiny_weights_collect_what_the_tie_sharing_policy_collects(self, actions, horizon, dtype):
        """With weights of zero, or of 1e-3, optimum collects what the tie-sharing policy collects."""
        P, features, initial = oracles.random_mdp(np.random.default_rng(1), S=6, A=actions)
        mdp = MDP.from_dense(P, features, initial, discount=0.9, horizon=horizon)
        for scale in (0.0, 1e-3):
            weights = scale * jnp.arange(1.0, 1.0 + features.shape[-1])
            policy = mdps.solve(mdp, mdp.reward(weights)).policy
            if scale == 0:
                np.testing.assert_allclose(policy, np.full(policy.shape, 1 / actions), rtol=1e-6)
            expected = mdps.feature_expectations(mdp, policy)
            found = mdps.optimum(mdp, weights).features
            np.testing.assert_allclose(found, expected, atol=1e-9 if dtype == "float64" else 1e-4)


def test_visits_are_accurate_whatever_the_reward(x64):
    """Within 1e-10 of all visits, in the sum of absolute errors, for weights from 1e-9 to 1e9 and for none."""
    P, _, initial = oracles.random_mdp(np.random.default_rng(2), S=6, A=3)
    mdp = MDP.from_dense(P, np.eye(6), initial, discount=0.97)
    for scale in (0.0, 1e-9, 1.0, 1e9):
        weights = scale * jnp.asarray([0.3, -1.0, 2.0, 0.1, -0.5, 0.0])
        policy = np.asarray(mdps.solve(mdp, mdp.reward(weights)).policy)
        moves = np.einsum("sa,sat->st", policy, P)
        visits = np.linalg.solve(np.eye(6) - 0.97 * moves.T, initial)
        error = np.abs(np.asarray(mdps.optimum(mdp, weights).features) - visits).sum()
        assert error <= 1e-10 * float(mdp.total_visits)


class TestBounds:
    @pytest.mark.parametrize("horizon", [None, 7])
    @pytest.mark.parametrize("actions", [3, 12])
    def test_the_policy_is_within_its_bound(self, horizon, actions, dtype):
        """From every state, by a linear system in float64, with penalties and with rewards that nearly cancel."""
        rng = np.random.default_rng(3)
        P, features, initial = oracles.random_mdp(rng, S=6, A=actions)
        mdp = MDP.from_dense(P, features, initial, discount=0.95, horizon=horizon)
        P = np.asarray(mdp.to_dense(), np.float64)
        for reward in rng.normal(size=(6, 6, actions)) * np.array([1, 1e-6, 1e6, 1, 1, 1])[:, None, None]:
            reward[0, 0] -= 1e6
            reward = np.asarray(jnp.asarray(reward), np.float64)
            solution = mdps.solve(mdp, jnp.asarray(reward))
            gamma = float(mdp.discount)
            exact, attained = np.zeros(6), np.zeros(6)
            policy = np.asarray(solution.policy, np.float64)
            if horizon is None:
                for _ in range(1500):
                    exact = (reward + gamma * P @ exact).max(axis=1)
                attained = np.linalg.solve(
                    np.eye(6) - gamma * np.einsum("sa,sat->st", policy, P), (policy * reward).sum(axis=1)
                )
            else:
                for t in range(horizon - 1, -1, -1):
                    exact = (reward + gamma * P @ exact).max(axis=1)
                    attained = (policy[t] * (reward + gamma * P @ attained)).sum(axis=1)
            slip = 1e-12 * np.abs(exact).max()
            assert np.abs(np.asarray(solution.value) - exact).max() <= float(solution.error_bound) + slip
            assert (exact - attained).max() <= float(solution.policy_bound) + slip

    @pytest.mark.parametrize("horizon", [None, 5])
    @pytest.mark.parametrize(("actions", "temperature", "discount"), [(3, 1.0, 0.9), (7, 1e3, 0.99), (2, 1e-3, 0.5)])
    def test_soft_values_that_cancel(self, horizon, actions, temperature, discount, dtype):
        """A reward of -τ log A makes every soft value 0 exactly, up to what the logarithm rounds."""
        P, features, initial = oracles.random_mdp(np.random.default_rng(4), S=6, A=actions)
        mdp = MDP.from_dense(P, features, initial, discount=discount, horizon=horizon)
        reward = np.asarray(jnp.asarray(-temperature * np.log(actions)), np.longdouble)
        solution = mdps.solve(mdp, jnp.full(6, reward.astype(float)), temperature=temperature)
        gamma = np.asarray(mdp.discount, np.longdouble)
        visits = 1 / (1 - gamma) if horizon is None else (1 - gamma**horizon) / (1 - gamma)
        exact = (reward + np.longdouble(temperature) * np.log(np.longdouble(actions))) * visits
        rows = np.asarray(mdp.to_dense(), np.float64).sum(axis=2)
        slip = np.abs(rows - 1).max() * abs(float(reward)) * 100  # rows of float32 do not quite sum to one
        assert np.abs(np.asarray(solution.value) - float(exact)).max() <= float(solution.error_bound) + slip
        assert solution.converged or dtype == "float64"

    @pytest.mark.parametrize("temperature", [0.0, 1.0])
    @pytest.mark.parametrize("horizon", [None, 4])
    def test_what_is_not_finite_never_converged(self, temperature, horizon, dtype):
        mdp = robot().replace(horizon=horizon)
        run = jax.jit(lambda r, g: mdps.solve(mdp.replace(discount=g), r, temperature=temperature))
        fine = run(paid(0.0), 0.9)
        assert fine.converged and np.isfinite(fine.error_bound)
        for bad in (np.nan, np.inf, -np.inf):
            for solution in (run(paid(bad), 0.9), run(jnp.full((2, 3), bad), 0.9), run(paid(0.0), bad)):
                assert not solution.converged and not solution.error_bound < np.inf
                assert not solution.policy_bound < np.inf
        for gamma in (1.5, -0.5):
            assert not run(paid(0.0), gamma).converged


@pytest.mark.parametrize("zero", [0, 0.0, np.float32(0), np.int64(0), jnp.asarray(0.0)])
def test_zero_of_any_type_is_hard(zero):
    mdp, reward = robot(), paid(-1.0)
    solution, expected = mdps.solve(mdp, reward, temperature=zero), mdps.solve(mdp, reward)
    np.testing.assert_array_equal(solution.policy, expected.policy)
    np.testing.assert_array_equal(solution.value, expected.value)


@pytest.mark.parametrize("horizon", [None, 5])
def test_a_traced_temperature_may_be_zero(horizon, dtype):
    """Ties too, and the derivatives in the reward are those of the hard optimum."""
    grid = GridWorld.from_text("S..\n...\n..G", FLOOR, discount=0.9, horizon=horizon)
    reward = grid.mdp.reward(grid.weights(goal=1.0))
    run = jax.jit(lambda t, r: mdps.solve(grid.mdp, r, temperature=t))
    hard = mdps.solve(grid.mdp, reward)
    solution = run(0.0, reward)
    np.testing.assert_allclose(solution.value, hard.value, atol=float(hard.error_bound + solution.error_bound))
    np.testing.assert_array_equal(solution.policy, hard.policy)
    slope = lambda t: jax.grad(lambda r: run(t, r).value[0])(reward)  # noqa: E731
    np.testing.assert_allclose(slope(0.0), jax.grad(lambda r: mdps.solve(grid.mdp, r).value[0])(reward), atol=1e-4)
    warm = run(0.3, reward)
    np.testing.assert_allclose(warm.policy, mdps.solve(grid.mdp, reward, temperature=0.3).policy, atol=1e-5)


def test_rewards_near_the_end_of_float32():
    """1e20 squared is infinite; the values are not."""
    for size in (1e19, 1e20, 1e30):
        solution = mdps.solve(robot(), size * paid(0.0))
        np.testing.assert_allclose(solution.value, size * np.array([42.3728814, 38.1355932]), rtol=1e-5)
        assert solution.converged


def test_action_values_are_the_backup_of_the_values(dtype):
    mdp, reward = robot(), paid(-3.0)
    for temperature in (0.0, 0.7):
        q = mdps.action_values(mdp, reward, temperature=temperature)
        value = mdps.solve(mdp, reward, temperature=temperature).value
        best = q.max(axis=1) if temperature == 0 else temperature * jax.nn.logsumexp(q / temperature, axis=1)
        np.testing.assert_allclose(best, value, atol=3e-4)
    timed = mdps.action_values(mdp.replace(horizon=3), reward)
    assert timed.shape == (3, 2, 3)
    np.testing.assert_allclose(timed[-1], reward)


def test_lists_by_action_and_one_array_give_the_same(x64):
    """Lists of arrays and one array give the same; the first of the largest is one action."""
    q = jnp.array([[1.0, 3.0, 3.0], [2.0, -jnp.inf, 0.0]])
    listed = [q[:, a] for a in range(3)]
    for both in (bellman.first_of, lambda x: bellman.softmax_shares(x, bellman.largest_of(x), jnp.asarray(0.5))):
        np.testing.assert_array_equal(bellman.stacked(both(listed)), both(q))
    np.testing.assert_array_equal(bellman.first_of(q), [[0, 1, 0], [1, 0, 0]])
    flags = [x >= bellman.largest_of(listed) for x in listed]
    np.testing.assert_array_equal(bellman.stacked(bellman.shared(flags, q.dtype)), [[0, 0.5, 0.5], [1, 0, 0]])
