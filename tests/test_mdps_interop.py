"""Other people's worlds: gymnasium's own tables against independent solvers, round trips, MiniGrid, bad tables."""

import sys
import types

import jax
import numpy as np
import pytest
from test_mdps_gridworld import dense

import mdps
from mdps import GridWorld, interop

TABLE = {
    0: {0: [(0.25, 0, 1.0, False), (0.25, 1, 2.0, False), (0.5, 1, 4.0, True)], 1: [(1.0, 1, 0.0, False)]},
    1: {0: [(0.5, 0, 0.0, False), (0.5, 0, -2.0, False)], 1: [(1.0, 1, 7.0, True)]},
}


def table_values(P, gamma, sweeps=20_000):
    """Optimal values of a gymnasium table, where nothing follows a terminated edge."""
    S, A = len(P), len(P[0])
    V = np.zeros(S)
    rows = [(s, a, *entry) for s in range(S) for a in range(A) for entry in P[s][a]]
    s, a, p, t, r, end = (np.array(column) for column in zip(*rows, strict=True))
    for _ in range(sweeps):
        Q = np.zeros((S, A))
        np.add.at(Q, (s, a), p * (r + gamma * np.where(end, 0.0, V[t])))
        new = Q.max(axis=1)
        if np.abs(new - V).max() < 1e-12:
            return new
        V = new
    raise AssertionError("value iteration did not settle")


@pytest.mark.parametrize("name", ["FrozenLake-v1", "CliffWalking-v1", "Taxi"])
def test_gymnasiums_own_worlds_solve_to_the_values_of_independent_solvers(x64, name):
    gymnasium = pytest.importorskip("gymnasium")
    if name == "Taxi":
        name = "Taxi-v4" if "Taxi-v4" in gymnasium.registry else "Taxi-v3"
    elif name not in gymnasium.registry:
        name = name.replace("v1", "v0")
    env = gymnasium.make(name)
    mdp, reward = interop.from_gymnasium(env, discount=0.9)
    P = env.unwrapped.P
    S = len(P)
    # Taxi's drop-off leads to states in which one may drive on: its end is one state more.
    assert mdp.num_states == S + name.startswith("Taxi") and mdp.feature_names == ("reward",)
    assert mdp.layout.sink == (S if name.startswith("Taxi") else None)
    np.testing.assert_allclose(mdp.initial[:S], env.unwrapped.initial_state_distrib)
    solution = mdps.solve(mdp, reward, tol=1e-8)
    assert bool(solution.converged)
    ends = np.flatnonzero((dense(mdp) == np.eye(mdp.num_states)[:, None, :]).all(axis=(1, 2)))
    want = np.append(table_values(P, 0.9), np.zeros(mdp.num_states - S))
    want[ends] = 0  # CliffWalking's table goes on from its goal, which no run does
    np.testing.assert_allclose(solution.value, want, atol=1e-7)


@pytest.mark.parametrize("name", ["FrozenLake-v1", "CliffWalking-v1"])
def test_and_to_the_values_of_quantecon(x64, name):
    gymnasium = pytest.importorskip("gymnasium")
    markov = pytest.importorskip("quantecon.markov")
    if name not in gymnasium.registry:
        name = name.replace("v1", "v0")
    mdp, reward = interop.from_gymnasium(gymnasium.make(name), discount=0.95)
    theirs = markov.DiscreteDP(np.asarray(reward), dense(mdp), 0.95).solve(method="policy_iteration")
    np.testing.assert_allclose(mdps.solve(mdp, reward, tol=1e-8).value, theirs.v, atol=1e-7)


def test_a_table_is_read_edge_by_edge(dtype):
    mdp, reward = interop.from_gymnasium(TABLE, discount=0.9, initial=[1.0, 0.0])
    assert reward.tolist() == [[2.75, 0], [-1, 7], [0, 0]] and reward.dtype == dtype
    want = [[[0.25, 0.25, 0.5], [0, 1, 0]], [[1, 0, 0], [0, 0, 1]], [[0, 0, 1], [0, 0, 1]]]
    np.testing.assert_array_equal(dense(mdp), want)
    assert mdp.reward(jax.numpy.ones(1)).tolist() == reward.tolist()
    as_lists = [[TABLE[s][a] for a in range(2)] for s in range(2)]
    again, _ = interop.from_gymnasium(as_lists, discount=0.9, initial=np.array([1.0, 0.0]))
    jax.tree.map(np.testing.assert_array_equal, mdp, again)


def test_without_a_terminated_edge_there_is_no_end_state():
    table = {0: {0: [(1.0, 1, 1.0, False)]}, 1: {0: [(1.0, 0, 0.0, False)]}}
    mdp, reward = interop.from_gymnasium(table, discount=0.5, initial=[1.0, 0.0])
    assert mdp.num_states == 2 and mdp.layout.sink is None
    np.testing.assert_allclose(mdps.solve(mdp, reward).value, [4 / 3, 2 / 3], rtol=1e-5)


# fmt: off
LAKE = [
    "HHHHHHHHHHHH", "HFFFHFFFFFSH", "HFHFFFHHHHHH", "HFHHHHHHHHHH", "HFFFHFFHFFFH",
    "HHFFHFFFFHFH", "HFFHHFFHFHGH", "HHFHFFFFFHHH", "HHFFFFHHFFFH", "HHHHHHHHHHHH",
]
# fmt: on


def lake(**settings):
    gymnasium = pytest.importorskip("gymnasium")
    return gymnasium.make("FrozenLake-v1", **settings)


def from_start(mdp, reward, **settings):
    return float(mdp.initial @ mdps.solve(mdp, reward, **settings).value[...].reshape(-1, mdp.num_states)[0])


@pytest.mark.parametrize(
    "features",
    [lambda s, a, t: t == 15, lambda s, a, t: [0.0 + (t == 15)], np.eye(16)[:, [15]],
     np.broadcast_to(np.eye(16)[:, [15]], (16, 4, 16, 1))],
    ids=["function", "function of [K]", "[S, K]", "[S, A, S', K]"],
)  # fmt: skip
def test_a_goal_of_ones_own_is_paid_on_arrival(x64, features):
    mdp, reward = interop.from_gymnasium(lake(), discount=0.99, features=features, feature_names=["goal"])
    goal = mdp.reward(jax.numpy.ones(1))
    np.testing.assert_allclose(goal[:, :], reward, atol=1e-15)
    assert abs(from_start(mdp, goal) - 0.5420259) < 1e-6


def test_every_end_is_a_state_that_can_be_asked_for(x64):
    mdp, reward = interop.from_gymnasium(lake(), discount=0.99, horizon=100)
    P = lake().unwrapped.P
    holes = np.array([s in (5, 7, 11, 12) for s in range(16)])
    goal = np.arange(16) == 15
    assert mdp.num_states == 16 and mdps.graph.reachable(mdp).all()
    assert interop.from_gymnasium(lake(desc=LAKE), discount=0.99)[0].num_states == 120  # holes among holes, too
    policy = mdps.solve(mdp, reward).policy
    chance = np.zeros(16)
    chance[0] = 1
    for t in range(100):
        new = np.where(holes | goal, chance, 0)
        for s, a in np.argwhere(~(holes | goal)[:, None] & (np.asarray(policy)[t] > 0)):
            for p, target, *_ in P[s][a]:
                new[target] += chance[s] * policy[t, s, a] * p
        chance = new
    for where in (holes, goal):
        arrives = mdps.visit_probability(mdp.replace(horizon=101), np.concatenate([policy, policy[-1:]]), where)
        np.testing.assert_allclose(arrives, chance[where].sum(), atol=1e-12)


def test_features_of_a_state_that_is_never_left_are_refused_by_action():
    features = np.zeros((16, 4, 1))
    interop.from_gymnasium(lake(), discount=0.9, features=features)
    features[7] = 1
    with pytest.raises(ValueError, match="features of state 7 would never be collected, because runs end on entering"):
        interop.from_gymnasium(lake(), discount=0.9, features=features)
    for bad, message in [
        (np.zeros(16), r"features has shape \(16,\); with S=16, A=4"),
        (lambda s, a, t: np.zeros(1 + (t > 2)), r"features\(s, a, s'\) has the shapes"),
        (lambda s, a, t: np.nan, r"features\(s, a, s'\) is nan"),
    ]:
        with pytest.raises(ValueError, match=message):
            interop.from_gymnasium(lake(), discount=0.9, features=bad)


def test_ends_that_are_also_places_share_one_last_state_and_features_tell_them_apart():
    table = [
        [[(0.5, 1, 1.0, True), (0.5, 2, 3.0, True)], [(1.0, 1, 0.0, False)]],
        [[(1.0, 2, 0.0, False)], [(1.0, 1, 5.0, True)]],
        [[(1.0, 0, 0.0, False)], [(1.0, 1, 0.0, False)]],
    ]
    mdp, reward = interop.from_gymnasium(
        table, discount=0.9, initial=[1.0, 0, 0], features=lambda s, a, t: np.eye(3)[t]
    )
    assert mdp.num_states == 4 and mdp.layout.sink == 3
    assert reward.tolist() == [[2.0, 0], [0, 5], [0, 0], [0, 0]]
    assert mdp.features[0].tolist() == [[0, 0.5, 0.5], [0, 1, 0]]
    # Features of states: on leaving, and once more on ending in another state.
    mdp, _ = interop.from_gymnasium(table, discount=0.9, initial=[1.0, 0, 0], features=np.eye(3))
    assert mdp.features.tolist() == [
        [[1, 0.5, 0.5], [1, 0, 0]], [[0, 1, 0], [0, 1, 0]], [[0, 0, 1], [0, 0, 1]], [[0, 0, 0], [0, 0, 0]],
    ]  # fmt: skip


def test_a_run_that_begins_where_others_end_is_not_over():
    table = {0: {0: [(1.0, 1, 1.0, True)]}, 1: {0: [(1.0, 0, 2.0, False)]}}
    both, reward = interop.from_gymnasium(table, discount=0.5, initial=[0.5, 0.5])
    assert both.num_states == 3 and reward.tolist() == [[1.0], [2.0], [0.0]]
    one, reward = interop.from_gymnasium(table, discount=0.5, initial=[1.0, 0.0])
    assert one.num_states == 2 and reward.tolist() == [[1.0], [0.0]]


def test_a_state_that_only_stays_and_is_over_is_an_end_however_it_is_entered():
    table = {
        0: {0: [(0.5, 1, 1.0, False), (0.5, 0, 0.0, False)]},
        1: {0: [(1.0, 1, 0.0, True)]},
        2: {0: [(1.0, 2, 0.0, True)]},
    }
    mdp, _ = interop.from_gymnasium(table, discount=0.5, initial=[0.5, 0.5, 0], features=np.eye(3))
    assert mdp.num_states == 3 and mdp.features.tolist() == [[[1, 0.5, 0]], [[0, 0, 0]], [[0, 0, 0]]]


def test_actions_that_a_table_does_not_have_do_not_exist(dtype):
    ragged = {0: {0: [(1.0, 1, 1.0, False)], 2: [(1.0, 0, 2.0, False)]}, 1: {1: [(1.0, 2, 3.0, True)]}, 2: {}}
    mdp, reward = interop.from_gymnasium(ragged, discount=0.5, initial=[1.0, 0, 0])
    assert mdp.available.tolist() == [[True, False, True], [False, True, False], [True, True, True]]
    assert reward.tolist() == [[1, 0, 2], [0, 3, 0], [0, 0, 0]] and reward.dtype == dtype
    lists = [[[(1.0, 0, 0.0, False)]], [[(1.0, 0, 0.0, False)], [(1.0, 1, 0.0, False)]]]
    mdp, _ = interop.from_gymnasium(lists, discount=0.5, initial=[1.0, 0])
    assert mdp.available.tolist() == [[True, False], [True, True]]
    with pytest.raises(ValueError, match=r"available has shape \(1, 2\); it must hold flags, \[S, A\]"):
        interop.from_gymnasium(lists, discount=0.5, initial=[1.0, 0], available=np.ones((1, 2), bool))
    with pytest.raises(ValueError, match="state 1 has no actions"):
        interop.from_gymnasium(lists, discount=0.5, initial=[1.0, 0], available=[[True, True], [False, False]])


def test_taxis_mask_is_taken_where_it_is_given():
    gymnasium = pytest.importorskip("gymnasium")
    env = gymnasium.make("Taxi-v4" if "Taxi-v4" in gymnasium.registry else "Taxi-v3").unwrapped
    plain, _ = interop.from_gymnasium(env, discount=0.99)
    assert plain.available is None and (plain.initial > 0).sum() == 300
    assert mdps.graph.reachable(plain).sum() == 401 and plain.num_states == 501
    masked, _ = interop.from_gymnasium(env, discount=0.99, available=env.action_mask)
    np.testing.assert_array_equal(masked.available[:500], [env.action_mask(s) == 1 for s in range(500)])


@pytest.mark.parametrize(
    ("name", "discount", "horizon", "value"),
    [
        ({"map_name": "4x4"}, 0.99, None, 0.5420259), ({"map_name": "4x4"}, 1.0, 100, 0.7441903),
        ({"map_name": "8x8"}, 0.99, None, 0.4146404), ({"map_name": "8x8"}, 1.0, 200, 0.9132202),
        ({"map_name": "4x4"}, 1.0, 20_000, 14 / 17), ({"map_name": "8x8"}, 1.0, 20_000, 1.0),
        ({"desc": LAKE, "is_slippery": False}, 0.9, None, 0.9**32), ({"desc": LAKE}, 1.0, 100, 1.1539e-12),
    ],
    ids=str,
)  # fmt: skip
def test_lakes_are_worth_what_they_are(x64, name, discount, horizon, value):
    mdp, reward = interop.from_gymnasium(lake(**name), discount=discount, horizon=horizon)
    np.testing.assert_allclose(from_start(mdp, reward, tol=1e-9), value, rtol=1e-4, atol=2e-8 if horizon is None else 0)


def test_a_lake_that_seems_to_have_no_way_has_one(x64):
    mdp, reward = interop.from_gymnasium(lake(desc=LAKE, is_slippery=False), discount=0.9)
    goal = np.array([character == "G" for row in LAKE for character in row])
    assert mdps.graph.reachable(mdp)[goal].all()
    assert mdps.graph.is_proper(mdp, mdps.solve(mdp, reward).policy, goal)


def test_cliffs_and_taxis_are_worth_what_they_are(x64):
    gymnasium = pytest.importorskip("gymnasium")
    cliff, reward = interop.from_gymnasium(gymnasium.make("CliffWalking-v1"), discount=0.99)
    assert mdps.graph.drop_unreachable(cliff).num_states == 38
    assert abs(from_start(cliff, reward) - -12.2478977) < 1e-6
    short = cliff.replace(horizon=50, discount=1.0)
    plan = mdps.solve(short, reward)
    assert float(short.initial @ plan.value) == -13
    goal = np.arange(48) == 47
    assert float(mdps.visit_probability(short, plan.policy, goal)) == 1
    taxi, reward = interop.from_gymnasium(
        gymnasium.make("Taxi-v4" if "Taxi-v4" in gymnasium.registry else "Taxi-v3"), discount=0.99
    )
    assert abs(from_start(taxi, reward) - 6.3274643) < 1e-6
    assert abs(from_start(taxi.replace(horizon=50, discount=1.0), reward) - 7.93) < 1e-9


def test_a_table_survives_the_way_out_and_back(x64):
    grid = GridWorld.from_text(
        "S.,\n.LG", dict(zip("S.,LG", "aabcd", strict=True)), slip=0.2, discount=0.9, terminal=("c",)
    )
    reward = grid.mdp.reward(grid.weights(a=-0.1, b=-0.5, c=-9.0, d=1.0))
    table = interop.to_gymnasium(grid.mdp, reward)
    S = grid.mdp.num_states
    assert set(table) == set(range(S)) and all(set(table[s]) == set(range(4)) for s in table)
    assert table[4][0] == [(1.0, S - 1, -9.0, True)] and table[S - 1][3] == [(1.0, S - 1, 0.0, True)]
    assert not any(end for s in range(4) for a in range(4) for *_, end in table[s][a])
    back, paid = interop.from_gymnasium(table, discount=0.9, initial=np.asarray(grid.mdp.initial))
    want, got = mdps.solve(grid.mdp, reward), mdps.solve(back, paid)
    assert back.num_states == S  # the end is an end
    np.testing.assert_allclose(got.value, want.value, atol=2e-6)  # each is certified to 1e-6
    by_action, paid_by_action = interop.from_gymnasium(TABLE, discount=0.9, initial=[1.0, 0.0])
    rows = interop.to_gymnasium(by_action, paid_by_action)[0][0]
    assert sorted(rows) == [(0.25, 0, 2.75, False), (0.25, 1, 2.75, False), (0.5, 2, 2.75, True)]


@pytest.mark.parametrize("discount", [0.9, 1.0])
def test_a_horizon_is_in_the_states_of_the_table(discount, x64):
    """Whoever reads the table as endless, and heeds `terminated` or not, finds the values of the horizon."""
    text = dict(zip("S.,LG", "aabcd", strict=True))
    grid = GridWorld.from_text("S.,\n.LG", text, slip=0.2, discount=discount, horizon=5, terminal=("c",))
    reward = grid.mdp.reward(grid.weights(a=-0.1, b=-0.5, c=-9.0, d=1.0))
    table, S = interop.to_gymnasium(grid.mdp, reward), grid.mdp.num_states
    assert len(table) == 5 * S + 1 and table.horizon == 5 and table.discount == pytest.approx(discount)
    wanted = mdps.solve(grid.mdp, reward).value
    np.testing.assert_allclose(table_values(table, discount)[:S], wanted, atol=1e-12)
    deaf = {s: {a: [(*edge[:3], False) for edge in table[s][a]] for a in table[s]} for s in table}
    np.testing.assert_allclose(table_values(deaf, discount)[:S], wanted, atol=1e-12)
    at_start = np.append(grid.mdp.initial, np.zeros(4 * S + 1))
    np.testing.assert_array_equal(table.initial_state_distrib, at_start)
    if discount < 1:
        back, paid = interop.from_gymnasium(table, discount=table.discount)  # the table knows where runs begin
        np.testing.assert_array_equal(back.initial[: len(table)], at_start)
        np.testing.assert_allclose(mdps.solve(back, paid, tol=1e-9).value[:S], wanted, atol=2e-9)


def test_the_discount_and_the_start_are_beside_the_table(dtype):
    mdp, reward = interop.from_gymnasium(TABLE, discount=0.75, initial=[0.25, 0.75])
    table = interop.to_gymnasium(mdp, reward)
    assert table.discount == 0.75 and table.horizon is None
    assert table.initial_state_distrib[:2].tolist() == [0.25, 0.75]


def test_a_state_that_is_left_at_all_is_no_end(x64):
    rows = np.array([[[1 - 1e-8, 1e-8]], [[0.0, 1.0]]])
    mdp = mdps.MDP.from_dense(rows, np.array([[0.0], [1.0]]), [1.0, 0.0], discount=0.9)
    table = interop.to_gymnasium(mdp, mdp.reward(np.ones(1)))
    assert not any(ended for s in table for *_, ended in table[s][0])


def test_actions_that_do_not_exist_are_left_out():
    gymnasium = pytest.importorskip("gymnasium")
    stay = np.broadcast_to(np.eye(2)[:, None], (2, 3, 2)).copy()
    stay[0, 1] = [0.5, 0.5]
    mdp = mdps.MDP.from_dense(stay, np.eye(2), [1.0, 0.0], discount=0.9)
    mdp = mdp.replace(available=np.array([[False, True, False], [True, True, True]]))
    table = interop.to_gymnasium(mdp, mdp.reward(np.array([0.0, 0.0])))
    assert list(table[0]) == [1] and list(table[1]) == [0, 1, 2]
    assert table[0][1] == [(0.5, 0, 0.0, False), (0.5, 1, 0.0, True)]
    back, _ = interop.from_gymnasium(table, discount=table.discount)
    np.testing.assert_array_equal(back.available[:2], [[False, True, False], [True, True, True]])
    timed = interop.to_gymnasium(mdp.replace(horizon=2), mdp.reward(np.ones(2)))
    assert [list(timed[s]) for s in timed] == [[1], [0, 1, 2], [1], [0, 1, 2], [0, 1, 2]]
    env = interop.make_env(mdp, np.ones(2))
    assert isinstance(env, gymnasium.Env) and env.reset(seed=0)[1]["action_mask"].tolist() == [0, 1, 0]
    for action in (0, 3, -1, 0.5, None):
        with pytest.raises(ValueError, match=rf"state 0 has no action {action!r}; it has \[1\]"):
            env.step(action)
    assert env.step(np.int64(1))[4]["action_mask"].sum() in (1, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: {0: [(0.5, 0, 0.0, False)], 1: [(1.0, 1, 0.0, False)]}}, r"P\[0\]\[0\] sum to 0.5"),
        ({1: {0: [(1.5, 0, 0.0, False), (-0.5, 0, 0.0, False)], 1: [(1.0, 1, 0.0, True)]}}, r"P\[1\]\[0\] holds the"),
        ({1: {0: [(float("nan"), 0, 0.0, False)], 1: [(1.0, 1, 0.0, False)]}}, "probability nan"),
        ({1: {0: [(1.0, 2, 0.0, False)], 1: [(1.0, 1, 0.0, False)]}}, r"P\[1\]\[0\] leads to state 2, but .* 0..1"),
        ({1: {0: [(1.0, 0, float("inf"), False)], 1: [(1.0, 1, 0.0, False)]}}, r"P\[1\]\[0\] pays inf"),
        ({1: {0: [(1.0, 0, 0.0)], 1: [(1.0, 1, 0.0, False)]}}, r"P\[1\]\[0\] holds \(1.0, 0, 0.0\); every entry"),
        ({1: {0: [], 1: [(1.0, 1, 0.0, False)]}}, r"P\[1\]\[0\] sum to 0"),
        ({1: {0: [(1.0, 0, 0.0, False)], "right": []}}, r"state 1 has the actions \[0, 'right'\]; .* numbers from 0"),
        ({1: {-1: [(1.0, 0, 0.0, False)]}}, r"state 1 has the actions \[-1\]"),
        ({1: {}}, "state 1 has no actions"),
        ({0: {}, 1: {}}, "P has no actions"),
        ({1: {0: [(1.0, 0, float("-inf"), False)], 1: [(1.0, 1, 0.0, False)]}}, "pays -inf; .*give available="),
        ({3: {0: [(1.0, 0, 0.0, False)]}}, "states of P must be the numbers 0 to"),
    ],
)  # fmt: skip
def test_bad_tables_name_the_entry(change, message):
    with pytest.raises(ValueError, match=message):
        interop.from_gymnasium({**TABLE, **change}, discount=0.9, initial=[1.0, 0.0])


def test_bad_settings_say_what_is_missing():
    with pytest.raises(ValueError, match="nothing of where runs begin"):
        interop.from_gymnasium(TABLE, discount=0.9)
    with pytest.raises(ValueError, match=r"initial has shape \(3,\); this table has 2 states"):
        interop.from_gymnasium(TABLE, discount=0.9, initial=[1.0, 0.0, 0.0])
    with pytest.raises(ValueError, match=r"initial sums to 0.9"):
        interop.from_gymnasium(TABLE, discount=0.9, initial=[0.5, 0.4])
    with pytest.raises(ValueError, match=r"discount is 1 without a horizon, but from state 0 .* no way"):
        ring = {0: {0: [(1.0, 1, 1.0, False)]}, 1: {0: [(1.0, 0, 0.0, False)]}}
        interop.from_gymnasium(ring, discount=1.0, initial=[1.0, 0.0])
    with pytest.raises(ValueError, match="has no transition table P"):
        interop.from_gymnasium(types.SimpleNamespace(), discount=0.9)
    mdp, reward = interop.from_gymnasium(TABLE, discount=0.9, initial=[1.0, 0.0])
    with pytest.raises(ValueError, match=r"reward has shape \(2,\); with S=3"):
        interop.to_gymnasium(mdp, reward[:2, 0])
    with pytest.raises(ValueError, match="reward is nan"):
        interop.to_gymnasium(mdp, reward.at[0, 0].set(np.nan))
    with pytest.raises(TypeError, match="cannot be traced"):
        jax.jit(lambda r: interop.to_gymnasium(mdp, r))(reward)
    grid = GridWorld.from_text("SG", {"S": "dirt", "G": "gold"}, discount=0.9)
    with pytest.raises(ValueError, match=r"mdp is a GridWorld; pass grid\.mdp"):
        interop.to_gymnasium(grid, reward)
    with pytest.raises(ValueError, match=r"mdp is a stack of MDPs"):
        interop.to_gymnasium(mdps.stack([mdp, mdp]), reward)
    with pytest.raises(ValueError, match="with 5000000 steps in its states the table would have 40,000,000 entries"):
        interop.to_gymnasium(mdp.replace(horizon=5_000_000), reward)


def test_an_environment_plays_the_mdp():
    pytest.importorskip("gymnasium")
    grid = GridWorld.from_text("S.G\n...", {"S": "a", ".": "a", "G": "b"}, slip=0.3, horizon=6, terminal=("b",))
    reward = grid.mdp.reward(grid.weights(a=-1.0, b=10.0))
    env = interop.make_env(grid.mdp, reward)
    total, lengths = 0.0, []
    for episode in range(400):
        state, _ = env.reset(seed=episode)
        assert env.observation_space.contains(state) and state == 0
        steps, over = 0, False
        while not over:
            state, paid, terminated, truncated, _ = env.step(1)
            total, steps, over = total + paid, steps + 1, terminated or truncated
        lengths.append(steps)
    always_right = jax.numpy.tile(jax.numpy.eye(4)[1], (6, grid.mdp.num_states, 1))
    exact = float(mdps.policy_return(grid.mdp, always_right, reward))
    assert max(lengths) <= 6 and abs(total / 400 - exact) < 0.9  # 4 standard errors
    again, _ = interop.from_gymnasium(env, discount=0.9)
    np.testing.assert_array_equal(again.initial, grid.mdp.initial)


def test_an_environment_says_its_discount_and_its_horizon(dtype):
    pytest.importorskip("gymnasium")
    thirds = np.array([0.333333, 0.333333, 0.333334])
    mdp = mdps.MDP.from_dense(np.broadcast_to(thirds, (3, 1, 3)), np.eye(3), thirds, discount=0.5, horizon=4)
    env = interop.make_env(mdp, mdp.reward(np.ones(3)))
    assert env.metadata["discount"] == 0.5 and env.metadata["horizon"] == 4
    assert abs(env.initial_state_distrib.sum() - 1) < 1e-15 and env.reset(seed=1)[1] == {}
    assert [env.step(0)[3] for _ in range(4)] == [False, False, False, True]
    again, _ = interop.from_gymnasium(env, discount=env.metadata["discount"], horizon=env.metadata["horizon"])
    assert again.num_states == 3 and again.horizon == 4


def test_without_gymnasium_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    mdp, reward = interop.from_gymnasium(TABLE, discount=0.9, initial=[1.0, 0.0])
    with pytest.raises(ImportError, match=r"inverse-reward-design\[gymnasium\]"):
        interop.make_env(mdp, reward)


def test_a_minigrid_map_is_read_row_by_row():
    gymnasium = pytest.importorskip("gymnasium")
    pytest.importorskip("minigrid")
    env = gymnasium.make("MiniGrid-DistShift1-v0")
    with pytest.raises(ValueError, match=r"call env.reset"):
        interop.from_minigrid(types.SimpleNamespace(grid=None), discount=0.9)
    env.reset(seed=0)
    grid = interop.from_minigrid(env, discount=0.9, step=True)
    assert grid.show() == (
        "# # # # # # # # #\n# S f l l l f G #\n# f f l l l f f #\n# f f f f f f f #\n# f f f f f f f #\n"
        "# f f f f f f f #\n# # # # # # # # #\nf floor, l lava, g goal; S start, G goal, # wall"
    )
    assert grid.mdp.feature_names == ("floor", "lava", "goal", "step") and grid.terminal == ("lava", "goal")
    doors = gymnasium.make("MiniGrid-DoorKey-5x5-v0")
    doors.reset(seed=0)
    with pytest.raises(ValueError, match=r"row \d, column \d holds a (door|key); a GridWorld can hold"):
        interop.from_minigrid(doors, discount=0.9)
