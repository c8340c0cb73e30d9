"""Graphs: round trips, reachability, proper policies and chains, against slow twins and networkx itself."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from test_mdps_gridworld import dense

import mdps
from mdps import GridWorld, graph
from mdps.kernels import operator

LEGEND = {"S": "dirt", ".": "dirt", ",": "grass", "G": "target", "L": "lava"}


def small(seed, S=7, A=2, isolated=3):
    """A random sparse MDP whose last states can only be left, with dense tensor, features, initial."""
    rng = np.random.default_rng(seed)
    P = np.zeros((S, A, S))
    for s, a in np.ndindex(S, A):
        reach = np.arange(S - isolated) if s < S - isolated else np.arange(S)
        for t in rng.choice(reach, 2, replace=False):
            P[s, a, t] = rng.uniform(0.1, 1)
    P /= P.sum(axis=2, keepdims=True)
    initial = np.zeros(S)
    initial[:2] = 0.25, 0.75
    return P, rng.normal(size=(S, 3)), initial


def closure(P, initial):
    """Reachable states by repeated products."""
    seen = initial > 0
    for _ in range(len(initial)):
        seen = seen | (P.sum(axis=1)[seen].sum(axis=0) > 0)
    return seen


@pytest.mark.parametrize("per_action", [False, True])
def test_an_mdp_survives_the_way_to_networkx_and_back(x64, per_action):
    P, features, initial = small(0)
    if per_action:
        features = np.random.default_rng(1).normal(size=(7, 2, 3))
    mdp = mdps.MDP.from_dense(P, features, initial, discount=0.8, horizon=6, feature_names=("a", "b", "c"))
    network = graph.to_networkx(mdp)
    assert isinstance(network, nx.MultiDiGraph) and network.number_of_nodes() == 7
    assert network.number_of_edges() == np.count_nonzero(P)
    back = graph.from_networkx(network)
    np.testing.assert_allclose(dense(back), P, atol=1e-12)
    np.testing.assert_allclose(back.features, features)
    np.testing.assert_allclose(back.initial, initial)
    assert (back.horizon, back.feature_names, float(back.discount)) == (6, ("a", "b", "c"), 0.8)


def test_a_grid_survives_too_bumps_and_end_state_included():
    grid = GridWorld.from_text("S.L\n.,G", LEGEND, slip=0.3, discount=0.9, terminal=("lava",))
    network = graph.to_networkx(grid.mdp)
    assert network.edges[0, 0, 0]["probability"] == pytest.approx(0.85)  # up from the corner: ahead and left bump
    back = graph.from_networkx(network)
    np.testing.assert_allclose(dense(back), dense(grid.mdp), atol=1e-6)
    assert back.feature_names == grid.mdp.feature_names


def test_the_graph_of_a_policy_has_only_what_it_does():
    grid = GridWorld.from_text("S.G", LEGEND, discount=0.9)
    policy = np.tile([0.0, 0.75, 0.0, 0.25], (3, 1))
    network = graph.to_networkx(grid.mdp, policy)
    assert {key for _, _, key in network.edges(keys=True)} == {1, 3}
    assert network.edges[0, 1, 1] == {"probability": 1.0, "policy": 0.75}
    with pytest.raises(ValueError, match="policy has shape"):
        graph.to_networkx(grid.mdp, policy[:2])


def test_names_of_nodes_and_actions_may_be_anything():
    network = nx.MultiDiGraph()
    network.add_node("home", features=[1, 0], initial=1)
    network.add_node(("shop", 2), features=[0, 1])
    network.add_edge("home", ("shop", 2), "walk", probability=0.5)
    network.add_edge("home", "home", "walk", probability=0.5)
    network.add_edge("home", "home", "rest", probability=1)
    for key in ("walk", "rest"):
        network.add_edge(("shop", 2), "home", key, probability=1)
    mdp = graph.from_networkx(network, horizon=4, actions=("walk", "rest"))
    np.testing.assert_allclose(dense(mdp), [[[0.5, 0.5], [1, 0]], [[1, 0], [1, 0]]])
    sorted_actions = graph.from_networkx(network, discount=0.5)
    np.testing.assert_allclose(dense(sorted_actions)[0], [[1, 0], [0.5, 0.5]])
    mixed = nx.relabel_nodes(network, {})
    mixed.add_edge("home", "home", 7, probability=1)
    mixed.add_edge(("shop", 2), "home", 7, probability=1)
    assert graph.from_networkx(mixed, discount=0.5).num_actions == 3  # as they appear: these do not sort


def test_graphs_that_are_no_mdp_say_why():
    def build(**edge):
        network = nx.MultiDiGraph()
        network.add_node("a", features=[1.0], initial=1.0)
        network.add_node("b", features=[0.0])
        network.add_edge("a", "b", "go", probability=1.0)
        network.add_edge("b", "b", "go", **{"probability": 1.0, **edge})
        return network

    assert graph.from_networkx(build(), discount=0.5).num_states == 2
    with pytest.raises(ValueError, match=r"is a DiGraph; an MDP needs a networkx.MultiDiGraph"):
        graph.from_networkx(nx.DiGraph(), discount=0.5)
    with pytest.raises(ValueError, match="no nodes or no edges"):
        graph.from_networkx(nx.MultiDiGraph(), discount=0.5)
    with pytest.raises(ValueError, match=r"edges of action 'go' out of node 'b' have total probability 0.5"):
        graph.from_networkx(build(probability=0.5), discount=0.5)
    for bad in (None, -1.0, float("nan")):
        with pytest.raises(ValueError, match=r"edge 'b' -> 'b' of action 'go' has probability"):
            graph.from_networkx(build(probability=bad), discount=0.5)
    with pytest.raises(ValueError, match="action 'go', which is not among"):
        graph.from_networkx(build(), discount=0.5, actions=("stop",))
    assert graph.from_networkx(build()).layout.undiscounted  # b is an end: it stays and has no features
    paying = build()
    paying.nodes["b"]["features"] = [1.0]
    with pytest.raises(ValueError, match="without a horizon"):
        graph.from_networkx(paying)
    missing = build()
    missing.add_edge("a", "a", "stop", probability=1.0)
    assert graph.from_networkx(missing, discount=0.5).available.tolist() == [[True, True], [True, False]]
    missing.add_edge("b", "a", "stop", probability=0.0)
    with pytest.raises(ValueError, match="edges of action 'stop' out of node 'b' have total probability 0"):
        graph.from_networkx(missing, discount=0.5)
    for features, message in [({}, "node 'c' has no attribute 'features'"), ({"features": [1, 2]}, "shapes")]:
        wrong = build()
        wrong.add_node("c", **features)
        with pytest.raises(ValueError, match=message):
            graph.from_networkx(wrong, discount=0.5)
    nowhere = build()
    nowhere.nodes["a"]["initial"] = 0.0
    with pytest.raises(ValueError, match="initial sums to 0"):
        graph.from_networkx(nowhere, discount=0.5)


@hypothesis.given(st.integers(0, 10**6))
def test_reachable_is_the_closure_of_the_transitions(seed):
    P, features, initial = small(seed)
    mdp = mdps.MDP.from_dense(P, features, initial, discount=0.9)
    np.testing.assert_array_equal(graph.reachable(mdp), closure(P, initial))
    policy = np.eye(2)[np.random.default_rng(seed).integers(0, 2, 7)]
    followed = closure(np.einsum("sa,sat->st", policy, P)[:, None, :], initial)
    np.testing.assert_array_equal(graph.reachable(mdp, policy), followed)


@pytest.mark.parametrize("seed", range(3))
def test_an_mdp_solved_whole_equals_itself_without_its_unreachable_states(x64, seed):
    P, features, initial = small(seed)
    mdp = mdps.MDP.from_dense(P, features, initial, discount=0.9)
    keep = graph.reachable(mdp)
    part = graph.drop_unreachable(mdp)
    assert 2 <= part.num_states == keep.sum() < 7
    np.testing.assert_allclose(dense(part), P[keep][:, :, keep])
    w = jnp.array([1.0, -2.0, 0.5])
    whole, rest = mdps.solve(mdp, mdp.reward(w), tol=1e-9), mdps.solve(part, part.reward(w), tol=1e-9)
    np.testing.assert_allclose(np.asarray(whole.value)[keep], rest.value, atol=1e-8)
    np.testing.assert_allclose(np.asarray(whole.policy)[keep], rest.policy)
    np.testing.assert_allclose(
        mdps.feature_expectations(mdp, whole.policy), mdps.feature_expectations(part, rest.policy), atol=1e-8
    )


def test_a_slot_that_no_action_takes_any_more_is_an_array_of_zeros(x64):
    P, features, initial = small(0)
    part = graph.drop_unreachable(mdps.MDP.from_dense(P, features, initial, discount=0.9))
    assert {d for slots in part.layout.slots for d in slots} < set(range(part.next_state.shape[1]))
    table = operator(part.layout, part.next_state, part.probability, in_place=False)
    mixed = table.mixed([np.full(4, 0.5)] * 2)
    assert all(isinstance(x, jax.Array) and x.shape == (4,) for x in mixed)


@pytest.mark.parametrize("ends", [False, True])
def test_dropping_keeps_the_end_state_only_where_it_is_reached(ends):
    text = "SLG." if ends else "S.GL"
    grid = GridWorld.from_text(text, {**LEGEND, "G": "dirt"}, horizon=5, terminal=("lava",), goal=None if ends else "G")
    part, keep = graph.drop_unreachable(grid.mdp), graph.reachable(grid.mdp)
    assert part.num_states == keep.sum() == 3 and keep[-1] == ends
    assert part.layout.sink == (2 if ends else None)
    np.testing.assert_array_equal(dense(part), dense(grid.mdp)[keep][:, :, keep])
    np.testing.assert_array_equal(part.features, np.asarray(grid.mdp.features)[keep])
    if ends:  # what arrives at the end state is counted without the predecessor table
        policy = jnp.full((3, 4), 0.25)
        visits = np.linalg.matrix_power(dense(part).mean(axis=1), 4)[0]
        reached = mdps.visit_probability(part, policy, jnp.array([False, False, True]))
        np.testing.assert_allclose(reached, visits[2], atol=1e-6)


def test_proper_policies_arrive_with_probability_one():
    grid = GridWorld.from_text("S..G\n.##.\n....", LEGEND, discount=0.9)
    optimal = mdps.solve(grid.mdp, grid.mdp.reward(grid.weights(target=1.0))).policy
    assert graph.is_proper(grid.mdp, optimal, grid.goal)
    S = grid.mdp.num_states
    assert graph.is_proper(grid.mdp, np.full((S, 4), 0.25), grid.goal)
    up = np.eye(4)[np.zeros(S, int)]
    assert not graph.is_proper(grid.mdp, up, grid.goal)
    assert graph.is_proper(grid.mdp, up, grid.mdp.initial > 0)
    lost = np.array(optimal)
    lost[int(grid.cell[2, 0])] = np.eye(4)[3]  # a trap that the policy never meets
    lost[int(grid.cell[0, 0])], lost[int(grid.cell[0, 1])] = np.eye(4)[1], np.eye(4)[1]
    assert graph.is_proper(grid.mdp, lost, grid.goal)
    lost[int(grid.cell[0, 0])] = [0, 0.9, 0.1, 0]  # now it may
    lost[int(grid.cell[1, 0])] = np.eye(4)[2]
    assert not graph.is_proper(grid.mdp, lost, grid.goal)
    with pytest.raises(ValueError, match="one flag per state"):
        graph.is_proper(grid.mdp, optimal, np.zeros(3, bool))
    with pytest.raises(ValueError, match="sums to"):
        graph.is_proper(grid.mdp, np.ones((S, 4)), grid.goal)


def test_unichain_policies_have_one_set_of_states_that_is_never_left():
    grid = GridWorld.from_text("GSG", LEGEND, discount=0.9)
    left = np.eye(4)[[3, 3, 3]]
    assert not graph.is_unichain(grid.mdp, left)  # the other goal keeps what it holds
    assert not graph.is_unichain(grid.mdp, np.full((3, 4), 0.25))
    open_floor = GridWorld.from_text("S..\n...", LEGEND, discount=0.9)
    S = open_floor.mdp.num_states
    assert graph.is_unichain(open_floor.mdp, np.full((S, 4), 0.25))
    assert not graph.is_unichain(open_floor.mdp, np.eye(4)[np.zeros(S, int)])


def test_graphs_are_made_of_one_concrete_mdp():
    grid = GridWorld.from_text("S.G", LEGEND, discount=0.9)
    with pytest.raises(TypeError, match="cannot be traced"):
        jax.jit(lambda mdp: graph.reachable(mdp))(grid.mdp)
    with pytest.raises(ValueError, match=r"is a stack of MDPs .*; this takes one"):
        graph.to_networkx(mdps.stack([grid.mdp, grid.mdp]))
    with pytest.raises(ValueError, match=r"mdp is a GridWorld; pass grid\.mdp"):
        graph.reachable(grid)
