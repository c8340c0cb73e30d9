"""The MDP pytree: what from_dense stores, what stack pads, and what bad input gets."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mdps
from mdps import MDP, GridWorld
from mdps.mdp import from_table
from mdps.tables import predecessors


def make(seed=0, **kwargs):
    P, features, initial = oracles.random_mdp(np.random.default_rng(seed), **kwargs)
    return P, features, initial


def build(P, features, initial, **kwargs):
    kwargs.setdefault("discount", 0.9)
    return mdps.MDP.from_dense(P, features, initial, **kwargs)


def test_from_dense_keeps_every_number(dtype):
    P, features, initial = make()
    mdp = build(P, features, initial)
    assert mdp.probability.dtype == dtype
    np.testing.assert_allclose(mdp.to_dense(), P, atol=float(jnp.finfo(dtype).eps))
    assert (mdp.num_states, mdp.num_actions, mdp.num_features) == (6, 3, 4)
    assert mdp.feature_names == ("feature 0", "feature 1", "feature 2", "feature 3")


def test_table_is_as_narrow_as_the_widest_state(x64):
    P = np.zeros((4, 2, 4))
    P[:, 0, 0] = 1.0
    P[:, 1, [1]] = 1.0
    assert build(P, np.eye(4), np.full(4, 0.25)).next_state.shape == (4, 2)


def test_aligned_predecessors_have_a_column_for_each_slot():
    mdp = mdps.GridWorld.from_text("S.g\n.#.\n..G", {"S": "a", ".": "a", "g": "b", "G": "b"}, discount=0.9).mdp
    assert mdp.layout.aligned and mdp.layout.shifts is None
    states, slots = np.asarray(mdp.predecessor_state), np.asarray(mdp.predecessor_slot)
    table, D = np.asarray(mdp.next_state), mdp.next_state.shape[1]
    assert ((slots == np.arange(slots.shape[1])) | (slots == D)).all()
    for s, d in zip(*np.nonzero(np.asarray(mdp.probability).any(axis=1)), strict=True):
        assert (states[table[s, d], d], slots[table[s, d], d]) == (s, d)


def test_predecessors_transpose_the_table():
    rng = np.random.default_rng(0)
    next_state = rng.integers(0, 7, size=(7, 3)).astype(np.int32)
    edges = rng.random((7, 3)) < 0.7
    states, slots, sums = predecessors(next_state, edges)
    listed = {(int(s), int(d), t) for t in range(7) for s, d in zip(states[t], slots[t]) if d < 3}
    assert sums == ()
    assert listed == {(s, d, int(next_state[s, d])) for s, d in zip(*(map(int, x) for x in np.nonzero(edges)))}


@given(
    weights=st.lists(st.floats(-5, 5), min_size=4, max_size=4),
)
def test_reward_is_features_times_weights(weights):
    with jax.enable_x64(True):
        P, features, initial = make()
        np.testing.assert_allclose(
            build(P, features, initial).reward(jnp.array(weights)), features @ weights, atol=1e-12
        )


def test_reward_of_state_action_features(x64):
    P, _, initial = make()
    features = np.random.default_rng(1).normal(size=(6, 3, 2))
    mdp = build(P, features, initial)
    assert mdp.reward(jnp.array([1.0, 2.0])).shape == (6, 3)
    np.testing.assert_allclose(mdp.reward(jnp.array([1.0, 2.0])), features @ [1.0, 2.0])


@pytest.mark.parametrize(
    ("discount", "horizon", "expected"),
    [(0.9, None, 10.0), (1.0, 7, 7.0), (0.5, 3, 1.75), (0.0, None, 1.0), (0.0, 4, 1.0)],
)
def test_total_visits_are_the_sum_of_discounts(x64, discount, horizon, expected):
    assert float(build(*make(), discount=discount, horizon=horizon).total_visits) == pytest.approx(expected)


def test_sink_edges_are_kept_out_of_the_predecessor_table(x64):
    # Every state leads to the last one through its last slot.
    S = 5
    next_state = np.stack([np.arange(S), np.full(S, S - 1)], axis=1)
    probability = np.tile([[0.9, 0.1]], (S, 1))[:, None, :]
    mdp = from_table(next_state, probability, np.eye(S), np.eye(S)[0], discount=0.9, sink=S - 1)
    assert mdp.predecessor_state.shape == (S, 1)
    P = np.asarray(mdp.to_dense())
    policy = np.ones((S, 1))
    np.testing.assert_allclose(mdps.occupancy(mdp, policy), oracles.occupancy(P, policy, np.eye(S)[0], 0.9), atol=1e-12)


@pytest.mark.parametrize("sizes", [(6, 6), (6, 3), (2, 5)])
def test_stack_pads_without_changing_anything(x64, sizes):
    parts = [make(seed=i, S=S) for i, S in enumerate(sizes)]
    singles = [build(*part) for part in parts]
    stacked = mdps.stack(singles)
    for i, (P, features, _) in enumerate(parts):
        S = len(P)
        one = jax.tree.map(lambda x, i=i: x[i], stacked)
        r = features[:, 0]
        padded = np.zeros(max(sizes))
        padded[:S] = r
        solution = mdps.solve(one, padded, tol=1e-11)
        np.testing.assert_allclose(solution.value[:S], oracles.policy_iteration(P, r, 0.9), atol=1e-10)
        np.testing.assert_allclose(solution.value[S:], 0.0, atol=1e-10)
        np.testing.assert_allclose(
            mdps.occupancy(one, solution.policy)[:S],
            mdps.occupancy(singles[i], solution.policy[:S]),
            atol=1e-10,
        )


def test_stack_refuses_what_does_not_fit():
    one, other = build(*make()), build(*make(A=2))
    with pytest.raises(ValueError, match="empty"):
        mdps.stack([])
    with pytest.raises(ValueError, match="number of actions"):
        mdps.stack([one, other])
    with pytest.raises(ValueError, match="horizon"):
        mdps.stack([one, one.replace(horizon=3)])
    with pytest.raises(ValueError, match="feature names"):
        mdps.stack([one, one.replace(feature_names=("a", "b", "c", "d"))])


def spoil(which, index, value):
    def change(P, features, initial):
        arrays = {"P": P.copy(), "features": features.copy(), "initial": initial.copy()}
        arrays[which][index] = value
        return tuple(arrays.values())

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (spoil("P", (2, 1), 0.1), r"transition of state 2 of action 1 sums to 0\.6"),
        (spoil("P", (3, 0, 1), -0.5), r"transition of state 3 of action 0 holds -0\.5"),
        (spoil("P", (3, 0, 1), np.nan), r"transition of state 3 of action 0 holds nan"),
        (spoil("P", (3, 0, 1), np.inf), r"transition of state 3 of action 0 holds inf"),
        (spoil("features", (4, 2), np.nan), r"features is nan at index \(4, 2\)"),
        (spoil("features", (4, 2), -np.inf), r"features is -inf at index \(4, 2\)"),
        (spoil("initial", 0, 3.0), r"initial sums to"),
        (spoil("initial", 0, -1.0), r"initial holds -1"),
        (lambda P, f, i: (P[0], f, i), r"transition has shape \(3, 6\)"),
        (lambda P, f, i: (P[:, :, :4], f, i), r"transition has shape \(6, 3, 4\)"),
        (lambda P, f, i: (P[:0, :, :0], f, i), r"transition has shape"),
        (lambda P, f, i: (P, f[:4], i), r"features has shape \(4, 4\)"),
        (lambda P, f, i: (P, f[:, 0], i), r"features has shape \(6,\)"),
        (lambda P, f, i: (P, f, i[:3]), r"initial has shape \(3,\)"),
    ],
)
def test_bad_arrays_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        build(*change(*make()))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            {"discount": 1.0},
            r"discount is 1 without a horizon, but from state 0 \(6 such states\) no way leads to an end",
        ),
        ({"discount": 1.5}, r"discount is 1.5; it must lie in \[0, 1"),
        ({"discount": -0.1}, "discount is -0.1"),
        ({"discount": np.nan}, "discount is nan"),
        ({"discount": 1.5, "horizon": 3}, "discount is 1.5"),
        ({"horizon": 0}, "horizon is 0"),
        ({"horizon": 2.5}, "horizon is 2.5"),
        ({"horizon": True}, "horizon is True"),
        ({"feature_names": ["a"]}, "give 4 distinct names"),
        ({"feature_names": ["a", "a", "b", "c"]}, "distinct names"),
    ],
)
def test_bad_settings_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(*make(), **kwargs)


def test_weights_of_the_wrong_number_or_not_finite():
    mdp = build(*make())
    with pytest.raises(ValueError, match=r"weights has shape \(3,\), but this MDP has 4 features"):
        mdp.reward(jnp.ones(3))
    with pytest.raises(ValueError, match=r"weights is nan at index \(1,\)"):
        mdp.reward(jnp.array([0.0, jnp.nan, 0.0, 0.0]))


def test_construction_is_refused_under_tracing():
    P, features, initial = make()
    with pytest.raises(TypeError, match="builds tables on the host and cannot be traced"):
        jax.jit(lambda p: build(p, features, initial).initial)(P)


def test_successors_outside_the_states_are_refused():
    with pytest.raises(ValueError, match=r"next_state holds 2; give whole numbers in 0\.\.1"):
        from_table(np.array([[0], [2]]), np.ones((2, 1, 1)), np.eye(2), [1.0, 0.0], discount=0.5)
    with pytest.raises(ValueError, match="they must be"):
        from_table(np.array([[0], [1]]), np.ones((2, 1, 2)) / 2, np.eye(2), [1.0, 0.0], discount=0.5)


class TestReplace:
    """What follows from the tables is made anew, and what is given is checked (X2: shifts kept, value .5 for 1)."""

    legend: ClassVar = {"S": "floor", ".": "floor", "G": "goal"}

    def check(self, mdp, transition):
        """The MDP solves, counts and evaluates like plain NumPy on `transition`."""
        np.testing.assert_allclose(mdp.to_dense(), transition, atol=1e-7)
        reward = np.arange(1.0, 1.0 + len(transition))
        gamma = float(mdp.discount)
        solution = mdps.solve(mdp, jnp.asarray(reward))
        np.testing.assert_allclose(solution.value, oracles.value_iteration(transition, reward, gamma), rtol=1e-5)
        policy = np.asarray(solution.policy)
        visits = mdps.occupancy(mdp, solution.policy)
        moves = np.einsum("sa,sat->st", policy, transition)
        expected = np.linalg.solve(np.eye(len(moves)) - gamma * moves.T, np.asarray(mdp.initial))
        np.testing.assert_allclose(visits.sum(axis=1), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(visits.sum(), mdp.total_visits, rtol=1e-5)

    @pytest.mark.parametrize("text", ["S..\n..G", "S..\n.#G"])
    @pytest.mark.parametrize("terminal", [(), ("goal",)])
    def test_probabilities_of_a_grid(self, text, terminal):
        """A blocked move that is given probability stays; traced or not, the answer is the same."""
        mdp = GridWorld.from_text(text, self.legend, discount=0.9, terminal=terminal, goal=None).mdp
        S, A, D = mdp.probability.shape
        probability = np.random.default_rng(0).dirichlet(np.ones(D), (S, A)).astype("float32")
        transition = np.zeros((S, A, S))
        for s in range(S):
            for d in range(D):
                transition[s, :, mdp.next_state[s, d]] += probability[s, :, d]
        self.check(mdp.replace(probability=probability), transition)
        traced = jax.jit(lambda p: mdp.replace(probability=p))(jnp.asarray(probability))
        self.check(traced, transition)

    @pytest.mark.parametrize("grid", [False, True])
    def test_replacing_successors_rebuilds_what_follows(self, grid):
        if grid:
            mdp = GridWorld.from_text("S.G", self.legend, discount=0.9).mdp
        else:
            mdp = MDP.from_dense(np.full((3, 4, 3), 1 / 3), np.eye(3), np.eye(3)[0], discount=0.9)
        next_state, probability = np.array([[2, 0], [0, 1], [1, 1]]), np.full((3, 4, 2), 0.5)
        transition = np.zeros((3, 4, 3))
        for s, d in np.ndindex(3, 2):
            transition[s, :, next_state[s, d]] += 0.5
        self.check(mdp.replace(next_state=next_state, probability=probability), transition)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"horizon": None}, "without a horizon"),
            ({"discount": 1.5}, "discount is 1.5"),
            ({"discount": float("nan")}, "discount is nan"),
            ({"features": np.ones((4, 2))}, "features has shape"),
            ({"features": np.full((3, 2), np.inf)}, "features is inf"),
            ({"initial": [0.5, 0.6, 0.0]}, "initial sums to 1.1"),
            ({"probability": np.ones((3, 4, 5))}, "probability of state 0 of action 0 sums to 5"),
            ({"probability": np.ones((3, 4, 2)) / 2}, "next_state has shape"),
            ({"next_state": np.full((3, 5), 7)}, "outside 0..2"),
            ({"feature_names": ("one",)}, "give 2 distinct names"),
            ({"layout": None}, "layout cannot be replaced"),
            ({"predecessor_state": None}, "predecessor_state cannot be replaced"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, changes, words):
        mdp = GridWorld.from_text("S.G", self.legend, discount=1.0, horizon=5).mdp
        with pytest.raises(ValueError, match=words):
            mdp.replace(**changes)

    def test_traced_tables_are_refused_where_they_decide_others(self):
        mdp = MDP.from_dense(np.full((3, 4, 3), 1 / 3), np.eye(3), np.eye(3)[0], discount=0.9)
        with pytest.raises(TypeError, match="probability is a tracer"):
            jax.jit(lambda p: mdp.replace(probability=p))(mdp.probability)
        with pytest.raises(TypeError, match="next_state is a tracer"):
            jax.jit(lambda n: mdp.replace(next_state=n))(mdp.next_state)


def test_mdps_compare_by_identity():
    mdp = GridWorld.from_text("S.G", TestReplace.legend, discount=0.9).mdp
    assert mdp == mdp and mdp != mdp.replace(discount=0.9)


def test_a_repr_is_one_line_of_sizes():
    grid = GridWorld.from_text("S.\n.G", {"S": "floor", ".": "floor", "G": "goal"}, discount=0.95)
    assert repr(grid.mdp) == "MDP(4 states, 4 actions, 2 features, discount 0.95)"
    short = grid.mdp.replace(horizon=50)
    assert repr(short) == "MDP(4 states, 4 actions, 2 features, horizon 50, discount 0.95)"
    assert repr(short.replace(discount=1.0)) == "MDP(4 states, 4 actions, 2 features, horizon 50)"
    assert repr(grid).startswith("GridWorld(2 × 2 cells of floor, goal; MDP(4 states")
    both = mdps.stack([grid.mdp, grid.mdp.replace(discount=0.9)])
    assert repr(both) == "MDP(a stack of 2, 4 states, 4 actions, 2 features, 2 discounts)"
    seen = []
    jax.eval_shape(lambda mdp: seen.append(repr(mdp)), grid.mdp)
    assert seen == ["MDP(4 states, 4 actions, 2 features, a traced discount)"]
    assert "MDP" in repr(jax.tree.map(lambda _: 0, grid.mdp))  # axes of a vmap
