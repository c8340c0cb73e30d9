"""Textbook problems with published or exact values, brought in the way their readers would."""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

import mdps
from mdps import GridWorld, graph, interop

RIGHT, UP, LEFT = 1, 0, 3


def first(solution, S):
    """Values and policy of the first step, or of an endless MDP."""
    return np.asarray(solution.value).reshape(-1, S)[0], np.asarray(solution.policy).reshape(
        -1, *solution.policy.shape[-2:]
    )[0]


# --- Russell and Norvig's 4×3 world ------------------------------------------------------------------------------


def russell_norvig(**settings):
    legend = {"S": "floor", ".": "floor", "+": "plus", "-": "minus"}
    return GridWorld.from_text("...+\n.#.-\nS...", legend, terminal=("plus", "minus"), slip=0.2, **settings)


def test_the_four_by_three_world(x64):
    grid = russell_norvig(discount=1.0, horizon=200)
    plan = mdps.solve(grid.mdp, grid.mdp.reward(grid.weights(floor=-0.04, plus=1.0, minus=-1.0)))
    value, policy = first(plan, 12)
    want = [0.81155822, 0.86780822, 0.91780822, 1, 0.76155822, 0.66027397, -1, 0.70530822, 0.65530822, 0.61141553,
            0.38792491, 0]  # fmt: skip
    np.testing.assert_allclose(value, want, atol=6e-9)
    best = {0: RIGHT, 1: RIGHT, 2: RIGHT, 4: UP, 5: UP, 7: UP, 8: LEFT, 9: LEFT, 10: LEFT}
    assert {s: int(np.flatnonzero(policy[s])[0]) for s in best} == best
    np.testing.assert_array_equal(policy[list(best)].max(axis=1), 1)


def test_the_four_by_three_world_as_a_pomdp_file_has_it_begins_anywhere_but_at_its_ends(x64):
    begin = np.where([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 1]], 1 / 9, 0)
    grid = russell_norvig(discount=0.95, initial=begin)
    plan = mdps.solve(grid.mdp, grid.mdp.reward(grid.weights(plus=1.0, minus=-1.0)), tol=1e-9)
    want = [0.79438545, 0.85277717, 0.90888093, 1, 0.74534931, 0.65828675, -1, 0.69431344, 0.65145458, 0.61617981,
            0.41248249, 0]  # fmt: skip
    np.testing.assert_allclose(plan.value, want, atol=6e-9)
    np.testing.assert_allclose(grid.mdp.initial @ plan.value, 0.70378998, atol=6e-9)


# --- without discount: proper and improper policies --------------------------------------------------------------


def test_a_chain_that_arrives_in_the_end_pays_what_it_pays_until_then(x64):
    T = np.array([[[0, 0.9, 0.1]], [[0.9, 0, 0.1]], [[0, 0, 1]]])
    mdp = mdps.MDP.from_dense(T, [[1.0], [1.0], [0.0]], [1.0, 0, 0], horizon=1)
    for steps in (10, 100, 1000):
        longer = mdp.replace(horizon=steps)
        paid = mdps.policy_return(longer, np.ones((steps, 3, 1)), longer.reward(jnp.array([-10.0])))
        np.testing.assert_allclose(float(paid), -100 * (1 - 0.9**steps), rtol=1e-12)


def proper_or_not():
    """Two states with two actions and an end: a swaps the states (.8), b leaves for the end (.1)."""
    T = np.array([[[0.2, 0.8, 0], [0.9, 0, 0.1]], [[0.8, 0.2, 0], [0, 0.9, 0.1]], [[0, 0, 1], [0, 0, 1]]])
    return T, np.array([[-1.0], [-2.0], [0.0]])


def test_a_policy_that_never_ends_is_told_from_those_that_do(x64):
    T, paid = proper_or_not()
    mdp = mdps.MDP.from_dense(T, paid, [0.5, 0.5, 0], discount=1.0, horizon=2000)
    value, policy = first(mdps.solve(mdp, mdp.reward(jnp.ones(1))), 3)
    np.testing.assert_allclose(value, [-10, -12.5, 0], atol=1e-9)
    np.testing.assert_array_equal(policy[:2], [[0, 1], [1, 0]])
    ends = np.array([False, False, True])
    proper = [graph.is_proper(mdp, np.eye(2)[[a, b, 0]], ends) for a, b in ((1, 0), (1, 1), (0, 0))]
    assert proper == [True, True, False]


def test_sutton_and_bartos_uniform_policy_on_four_by_four_cells(x64):
    legend = {"S": "floor", ".": "floor", "T": "end"}
    grid = GridWorld.from_text("T...\n.S..\n....\n...T", legend, terminal=("end",), discount=1.0, horizon=500)
    uniform, reward = np.full((500, 17, 4), 0.25), grid.mdp.reward(grid.weights(floor=-1.0))
    value = jax.vmap(lambda start: mdps.policy_return(grid.mdp.replace(initial=start), uniform, reward))(
        np.eye(17)[:16]
    )
    want = [[0, -14, -20, -22], [-14, -18, -20, -20], [-20, -20, -18, -14], [-22, -20, -14, 0]]
    np.testing.assert_allclose(value.reshape(4, 4), want, atol=1e-8)


# --- the gambler's problem -----------------------------------------------------------------------------------------


def gambler(goal, chance, **settings):
    """A gymnasium table with the stakes that one has: stake k is action k - 1; both ends are over."""
    table = {0: {}, goal: {}}
    for s in range(1, goal):
        table[s] = {
            k - 1: [(chance, s + k, float(s + k == goal), s + k == goal), (1 - chance, s - k, 0.0, s == k)]
            for k in range(1, min(s, goal - s) + 1)
        }
    return interop.from_gymnasium(table, discount=1.0, initial=np.eye(goal + 1)[goal // 2], **settings)


def test_the_gambler_shares_among_exactly_the_stakes_that_tie(x64):
    mdp, reward = gambler(100, 0.4, horizon=300)
    assert mdp.num_states == 101 and mdp.available.sum() == 2500 + 2 * 50
    value, policy = first(mdps.solve(mdp, reward), 101)
    want = {25: 0.16, 50: 0.4, 75: 0.64, 51: 0.4030984372, 99: 0.9643329673}
    np.testing.assert_allclose(value[list(want)], list(want.values()), atol=6e-11)
    stakes = {13: {12, 13}, 26: {1, 24, 26}, 37: {12, 13, 37}, 50: {50}, 51: {1, 49}, 52: {2, 48}, 62: {12, 38},
              64: {11, 14, 36}, 75: {25}, 76: {1, 24}, 99: {1}}  # fmt: skip
    for s, tied in stakes.items():
        share = np.zeros(50)
        share[[k - 1 for k in tied]] = 1 / len(tied)
        np.testing.assert_allclose(policy[s], share, atol=1e-15)
    assert ((policy[1:100] > 0).sum(axis=1) > 1).sum() == 72


@pytest.mark.parametrize("goal", [20, 60])
def test_who_has_the_better_chances_stakes_little(dtype, goal):
    mdp, reward = gambler(goal, 0.55)
    solution = mdps.solve(mdp, reward)
    s = np.arange(goal + 1)
    want = np.where(s < goal, (1 - (9 / 11) ** s) / (1 - (9 / 11) ** goal), 0)
    assert solution.converged
    assert np.abs(np.asarray(solution.value, np.float64) - want).max() <= float(solution.error_bound)
    one = np.asarray(solution.policy)[1:goal, 0] == 1
    # The least gap between stakes is 1.1e-3 and 3.6e-7: float32 cannot see the second, and shares.
    assert one.all() or (goal == 60 and dtype == "float32")


# --- the recycling robot -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("temperature", "value", "policy"),
    [
        (0.0, [42.3728814, 38.1355932], [[0, 1, 0], [0, 0, 1]]),
        (1.0, [43.8112924, 39.8342196], [[0.0924461, 0.9075539, 0], [0.1375976, 0.1947960, 0.6676065]]),
    ],
)
def test_the_recycling_robot_does_not_recharge_when_it_is_charged(dtype, temperature, value, policy):
    network = nx.MultiDiGraph(discount=0.9)
    network.add_node("high", features=[[2.0], [5.0], [0.0]], initial=1.0)
    network.add_node("low", features=[[2.0], [0.2], [0.0]])
    for origin, target, action, chance in [
        ("high", "high", "0 wait", 1.0), ("low", "low", "0 wait", 1.0), ("low", "high", "2 recharge", 1.0),
        ("high", "high", "1 search", 0.8), ("high", "low", "1 search", 0.2), ("low", "low", "1 search", 0.4),
        ("low", "high", "1 search", 0.6),
    ]:  # fmt: skip
        network.add_edge(origin, target, action, probability=chance)
    mdp = graph.from_networkx(network)
    solution = mdps.solve(mdp, mdp.reward(jnp.ones(1)), temperature=temperature)
    assert np.abs(np.asarray(solution.value) - value).max() <= float(solution.error_bound) + 5e-8
    np.testing.assert_allclose(solution.policy, policy, atol=1e-5)
    assert solution.policy[0, 2] == 0


def test_the_ruin_of_a_gambler_with_even_odds():
    """From k of n, n is reached before 0 with probability k/n (Feller 1968, XIV.2), in float32 too.

    It takes hundreds of thousands of sweeps, whose rounding added up to 4e-6 and, with 1,000 states, to 8e-5.
    """
    n = 299
    chance, s = np.zeros((n + 1, 1, n + 1)), np.arange(1, n)
    chance[s, 0, s - 1] = chance[s, 0, s + 1] = 0.5
    chance[[0, n], 0, [0, n]] = 1.0
    mdp = mdps.MDP.from_dense(chance, np.ones((n + 1, 1)), np.eye(n + 1)[150], discount=0.9)
    found = mdps.visit_probability(mdp, np.ones((n + 1, 1)), np.arange(n + 1) == n, max_steps=10**7)
    assert float(found) == pytest.approx(150 / n, abs=2e-7)
