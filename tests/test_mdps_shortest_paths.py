"""No discount and no horizon: values between certified bounds, and what has none is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions import Normal

import mdps
from ird import ProxyReward, information, planning, posterior, queries, risk
from ird.designer import Designer
from mdps import MDP, GridWorld


def two_ways(**settings):
    """Bertsekas' kind of example: a moves between states 0 and 1, b ends with probability .1 (cases B3, ii)."""
    T = np.zeros((3, 2, 3))
    T[0, 0], T[1, 0] = [0.2, 0.8, 0], [0.8, 0.2, 0]
    T[0, 1], T[1, 1] = [0.9, 0, 0.1], [0, 0.9, 0.1]
    T[2, :, 2] = 1
    features = np.array([[1.0, 0], [0, 1], [0, 0]])
    return MDP.from_dense(T, features, [1, 0, 0], **({"discount": 1.0} | settings))


COSTS = jnp.array([-1.0, -2.0])


def four_by_three(**settings):
    """Russell and Norvig's world."""
    legend = {"S": "floor", ".": "floor", "+": "plus", "-": "minus"}
    settings = {"goal": None, "terminal": ("plus", "minus"), "slip": 0.2, "discount": 1.0} | settings
    return GridWorld.from_text("...+\n.#.-\nS...", legend, **settings)


UTILITIES = [0.81155822, 0.86780822, 0.91780822, 1, 0.76155822, 0.66027397, -1]
UTILITIES += [0.70530822, 0.65530822, 0.61141553, 0.38792491, 0]


def gambler(goal=100, chance=0.4):
    S, A = goal + 1, goal // 2
    T, exists, paid = np.zeros((S, A, S)), np.zeros((S, A), bool), np.zeros((S, A, 1))
    for s in range(1, goal):
        for a in range(min(s, goal - s)):
            T[s, a, s + a + 1], T[s, a, s - a - 1], exists[s, a] = chance, 1 - chance, True
            paid[s, a] = chance * (s + a + 1 == goal)
    T[0, 0, 0] = T[goal, 0, goal] = 1
    exists[[0, goal], 0] = True
    return MDP.from_dense(T, paid, np.eye(S)[goal // 2], available=exists, discount=1.0)


def test_proper_and_improper_policies(dtype):
    mdp = two_ways()
    solution = mdps.solve(mdp, mdp.reward(COSTS))
    assert solution.converged
    assert np.abs(np.asarray(solution.value) - [-10, -12.5, 0]).max() <= solution.error_bound < 2e-3
    np.testing.assert_array_equal(solution.policy[:2], [[0, 1], [1, 0]])
    assert solution.policy_bound < 5e-3


def test_russell_and_norvigs_world_has_its_utilities(dtype):
    grid = four_by_three()
    solution = mdps.solve(grid.mdp, grid.mdp.reward(grid.weights(floor=-0.04, plus=1, minus=-1)))
    assert solution.converged and solution.error_bound <= (1e-6 if dtype == "float64" else 1e-4)
    assert np.abs(np.asarray(solution.value) - UTILITIES).max() <= solution.error_bound + 5e-9
    ways = np.argmax(np.asarray(solution.policy), axis=1)
    assert ways[[0, 1, 2, 4, 5, 7, 8, 9, 10]].tolist() == [1, 1, 1, 0, 0, 0, 3, 3, 3]


def test_the_gamblers_values_are_exact_and_his_ties_shared(x64):
    """Exact ties, and stakes that do not exist (cases B2)."""
    mdp = gambler()
    solution = mdps.solve(mdp, mdp.reward(jnp.ones(1)))
    assert solution.converged
    found = np.asarray(solution.value)[[25, 50, 75, 51, 99]]
    assert np.abs(found - [0.16, 0.4, 0.64, 0.4030984372, 0.9643329673]).max() <= solution.error_bound + 5e-11
    stakes = {13: [12, 13], 26: [1, 24, 26], 37: [12, 13, 37], 50: [50], 51: [1, 49], 52: [2, 48], 62: [12, 38]}
    stakes |= {64: [11, 14, 36], 75: [25], 76: [1, 24], 99: [1]}
    for s, expected in stakes.items():
        assert (np.flatnonzero(np.asarray(solution.policy[s])) + 1).tolist() == expected
    assert sum(np.count_nonzero(row) > 1 for row in np.asarray(solution.policy)[1:100]) == 72


def test_batches_without_a_discount_are_certified(x64):
    mdp = two_ways()
    rewards = jnp.array([1.0, 0.5, 3.0])[:, None] * mdp.reward(COSTS)[None]
    found = jax.jit(jax.vmap(lambda r: mdps.solve(mdp, r)))(rewards)
    exact = np.array([1, 0.5, 3])[:, None] * [-10, -12.5, 0]
    assert (np.abs(np.asarray(found.value) - exact).max(axis=1) <= found.error_bound).all() and found.converged.all()
    stacked = mdps.stack([mdp, mdp])
    both = jax.vmap(lambda m: mdps.solve(m, m.reward(COSTS)).value)(stacked)
    np.testing.assert_allclose(both[1], [-10, -12.5, 0], atol=1e-6)


def test_what_pays_for_ever_is_not_certified(x64):
    mdp = two_ways()
    gains = mdps.solve(mdp, -mdp.reward(COSTS), max_steps=2000)  # staying in the game pays
    ends = mdps.solve(mdp, jnp.array([-1.0, -2.0, 1.0]), max_steps=2000)  # the end pays
    for solution in (gains, ends):
        assert not solution.converged and solution.error_bound == np.inf
        np.testing.assert_allclose(np.sum(solution.policy, axis=1), 1)
    assert mdps.optimum(mdp, COSTS).error_bound == np.inf


def test_a_plan_that_is_not_certified_is_a_plan_all_the_same(x64):
    """Walking to and fro costs nothing and ties with the way out, so that no time to the end bounds what is missed."""
    grid = GridWorld.from_text("...T", {".": "floor", "S": "floor", "T": "end"}, terminal=("end",), goal=None,
                               initial=[1.0, 0, 0, 0, 0], discount=1.0)  # fmt: skip
    plan = mdps.solve(grid.mdp, grid.mdp.reward(grid.weights(end=1.0)), max_steps=200)
    np.testing.assert_allclose(plan.value, [1, 1, 1, 1, 0])
    np.testing.assert_allclose(np.asarray(plan.policy).sum(axis=1), 1)
    assert not plan.converged and plan.error_bound == plan.policy_bound == np.inf


def test_worlds_without_an_end_are_refused():
    T = np.array([[[0.5, 0.25, 0.25], [1 / 16, 3 / 4, 3 / 16]]] * 3)  # Howard's taxicab never stops
    with pytest.raises(ValueError, match=r"from state 0 \(3 such states\) no way leads to an end"):
        MDP.from_dense(T, np.eye(3), [1, 0, 0], discount=1.0)
    legend = {"S": "floor", ".": "floor", "G": "goal"}
    with pytest.raises(ValueError, match="state 2 stays but has features"):
        GridWorld.from_text("S.G", legend, discount=1.0)
    with pytest.raises(ValueError, match="no way leads to an end"):
        GridWorld.from_text("S.G", legend, discount=0.9).mdp.replace(discount=1.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda mdp: mdp.total_visits,
        lambda mdp: mdps.occupancy(mdp, jnp.full((3, 2), 0.5)),
        lambda mdp: mdps.policy_return(mdp, jnp.full((3, 2), 0.5), jnp.zeros(3)),
        lambda mdp: mdps.feature_expectations(mdp, jnp.full((3, 2), 0.5)),
        lambda mdp: mdps.solve(mdp, jnp.zeros(3), temperature=1.0),
        lambda mdp: mdps.stack([mdp, mdp.replace(discount=0.9)]),
    ],
)
def test_what_needs_a_sum_of_visits_is_refused(call):
    with pytest.raises(ValueError, match="discount"):
        call(two_ways())


ALTERNATIVES = np.array([[-1.0, -0.5], [-0.5, -1.0]])


@pytest.mark.parametrize(
    "call",
    [
        lambda mdp, belief, _: ProxyReward(ALTERNATIVES[0], mdp, alternatives=ALTERNATIVES),
        lambda mdp, belief, _: ProxyReward.maximum(ALTERNATIVES[0], mdp, alternatives=ALTERNATIVES),
        lambda mdp, belief, _: ProxyReward.maxent(ALTERNATIVES[0], mdp),
        lambda mdp, belief, _: ProxyReward.sampled(
            ALTERNATIVES[0],
            mdp,
            prior=Normal(jnp.zeros(2), 1.0).to_event(1),
            num_proxies=2,
            key=jax.random.key(0),
            include_candidate=True,
        ),
        lambda mdp, belief, _: ProxyReward.from_plans(0, mdp, alternatives=ALTERNATIVES, features=ALTERNATIVES),
        lambda mdp, belief, _: Designer.from_rewards(ALTERNATIVES, mdp),
        lambda mdp, belief, _: queries.Pool.from_rewards(ALTERNATIVES, mdp),
        lambda mdp, belief, _: queries.choose_environment([mdp, mdp], belief, objective=queries.Disagreement()),
        lambda mdp, belief, _: information.value_of_information(mdp, belief),
        lambda mdp, belief, _: planning.plan(mdp, belief, risk=risk.Mean(), offset=planning.no_offset(belief)),
        lambda mdp, belief, _: planning.plan_per_step(mdp, belief, risk=risk.Mean(), baseline=np.zeros(2)),
        lambda mdp, belief, _: planning.start_offset(mdp, belief),
        lambda mdp, belief, _: planning.regret_offset(mdp, belief),
        lambda mdp, belief, _: planning.policy_offset(mdp, belief, np.full((3, 2), 0.5)),
        lambda mdp, belief, proxy: planning.training_offset(mdp, belief, proxy),
        lambda mdp, belief, proxy: planning.log_normalizer_offset(mdp, belief, proxy),
    ],
)
def test_what_multiplies_visits_with_weights_is_refused_with_the_cure(call):
    proxy = ProxyReward(ALTERNATIVES[0], two_ways(discount=0.9), alternatives=ALTERNATIVES)
    belief = posterior.exact(proxy, candidates=ALTERNATIVES)
    with pytest.raises(ValueError, match=r"give a horizon \(mdp.replace\(horizon=T\)\) or a discount"):
        call(two_ways(), belief, proxy)


def test_an_optimum_promises_nothing_and_a_first_visit_is_a_probability(x64):
    found = mdps.optimum(two_ways(), ALTERNATIVES[0])
    assert found.error_bound == np.inf and np.isnan(found.value) and np.all(np.isnan(found.features))
    policy, where = np.full((3, 2), 0.5), np.array([False, True, False])
    # From state 0: to 1 by a with .5 · .8, to the end by b with .5 · .1, else once more.
    np.testing.assert_allclose(mdps.discounted_first_visit(two_ways(), policy, where), 0.4 / 0.45, atol=1e-9)
    nearly = jax.jit(
        lambda gamma: mdps.discounted_first_visit(two_ways(discount=0.9).replace(discount=gamma), policy, where)
    )
    np.testing.assert_allclose(nearly(0.9), 0.36 / (1 - 0.9 * 0.55), atol=1e-9)
    assert np.isnan(nearly(1.0))


def test_a_discount_or_a_horizon_takes_the_flag_away():
    mdp = two_ways()
    assert mdp.layout.undiscounted
    for other in (mdp.replace(discount=0.9), mdp.replace(horizon=5)):
        assert not other.layout.undiscounted and float(other.total_visits) > 0
        assert other.replace(discount=1.0, horizon=None).layout.undiscounted
