"""The ways into an MDP: dense, sparse, lists of successors, graphs.

Actions that do not exist, features of the transition, rows that almost sum to one and arrays in others' order, against
the tensor that is meant or against exact values.
"""

import time
import types

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from test_mdps_gridworld import dense

import mdps
from mdps import graph
from mdps.checks import as_distributions

S, A = 6, 3


def lists(seed=0, D=3):
    """Successors and probabilities `[S, A, D]`, some of them twice or without probability, and the tensor they mean."""
    rng = np.random.default_rng(seed)
    next_state = rng.integers(0, S, (S, A, D))
    probability = rng.dirichlet(np.ones(D), (S, A))
    probability[::2, 1, 0] = 0
    probability /= probability.sum(axis=2, keepdims=True)
    P = np.zeros((S, A, S))
    for s, a, d in np.ndindex(S, A, D):
        P[s, a, next_state[s, a, d]] += probability[s, a, d]
    return next_state, probability, P


def transposed(mdp):
    """`dense(mdp)` once more, read from the predecessor table."""
    P = np.zeros((mdp.num_states, mdp.num_actions, mdp.num_states))
    origin, slot, chance = (np.asarray(x) for x in (mdp.predecessor_state, mdp.predecessor_slot, mdp.probability))
    for (t, i), s in np.ndenumerate(origin):
        if slot[t, i] < chance.shape[2]:
            P[s, :, t] += chance[s, :, slot[t, i]]
    return P


FEATURES = np.random.default_rng(1).normal(size=(S, A, 2))
START = np.full(S, 1 / S)


@pytest.mark.parametrize("seed", range(3))
def test_lists_of_successors_mean_what_their_tensor_means(x64, seed):
    next_state, probability, P = lists(seed)
    by_action = mdps.MDP.from_table(next_state, probability, FEATURES, START, discount=0.9)
    shared = mdps.MDP.from_table(next_state[:, 0], probability, FEATURES, START, discount=0.9)
    want = np.zeros_like(P)
    for s, a, d in np.ndindex(*probability.shape):
        want[s, a, next_state[s, 0, d]] += probability[s, a, d]
    for mdp, tensor in ((by_action, P), (shared, want)):
        np.testing.assert_allclose(dense(mdp), tensor, atol=1e-15)
        np.testing.assert_allclose(transposed(mdp), tensor, atol=1e-15)
    widest = max(len(np.unique(next_state[s][probability[s] > 0])) for s in range(S))
    assert by_action.next_state.shape[1] == widest


@pytest.mark.parametrize("seed", range(3))
def test_sparse_matrices_mean_what_their_tensor_means(x64, seed):
    sparse = pytest.importorskip("scipy.sparse")
    *_, P = lists(seed)
    same = [
        mdps.MDP.from_sparse(transition, FEATURES, START, discount=0.9, num_actions=num_actions)
        for transition, num_actions in [
            (sparse.csr_array(P.reshape(S * A, S)), None),
            (sparse.coo_matrix(P.reshape(S * A, S)), A),
            ([sparse.csc_matrix(P[:, a]) for a in range(A)], None),
            (tuple(sparse.lil_array(P[:, a]) for a in range(A)), A),
        ]
    ]
    for mdp in same:
        np.testing.assert_allclose(dense(mdp), P, atol=1e-15)
        np.testing.assert_allclose(transposed(mdp), P, atol=1e-15)
        np.testing.assert_array_equal(mdp.features, FEATURES)
    half = sparse.csr_array(P.reshape(S * A, S) / 2)
    doubled = sparse.csr_array(
        (np.tile(half.data, 2), (np.tile(half.tocoo().row, 2), np.tile(half.tocoo().col, 2))), shape=half.shape
    )
    np.testing.assert_allclose(dense(mdps.MDP.from_sparse(doubled, FEATURES, START, discount=0.9)), P, atol=1e-15)


def test_a_reward_of_the_transition_is_averaged_by_hand_in_the_line_that_the_docstring_gives(x64):
    sparse = pytest.importorskip("scipy.sparse")
    *_, P = lists()
    R = np.random.default_rng(2).normal(size=P.shape)
    transition, paid = (sparse.csr_array(x.reshape(S * A, S)) for x in (P, R))
    mean = np.asarray(transition.multiply(paid).sum(axis=1)).reshape(S, A, 1)
    np.testing.assert_allclose(mean[:, :, 0], (P * R).sum(axis=2), atol=1e-14)


def test_features_of_the_transition_are_averaged_over_successors(x64):
    next_state, probability, P = lists()
    F = np.random.default_rng(3).normal(size=(S, A, S, 2))
    want = np.einsum("sat,satk->sak", P, F)
    with_holes = np.where((P > 0)[..., None], F, -np.inf)  # what cannot happen does not count
    by_slot = F[np.arange(S)[:, None, None], np.arange(A)[:, None], next_state]
    made = [
        mdps.MDP.from_dense(P, F, START, discount=0.9),
        mdps.MDP.from_dense(P, with_holes, START, discount=0.9),
        mdps.MDP.from_table(next_state, probability, by_slot, START, discount=0.9),
        mdps.MDP.from_table(next_state, probability, np.where((probability > 0)[..., None], by_slot, np.nan), START,
                            discount=0.9),
    ]  # fmt: skip
    for mdp in made:
        np.testing.assert_allclose(mdp.features, want, atol=1e-14)
    with pytest.raises(ValueError, match=r"features is inf at index \(2, 1, \d, 0\)"):
        F[2, 1] = np.inf
        mdps.MDP.from_dense(P, F, START, discount=0.9)


def test_ten_thousand_returns_of_the_transitions_have_the_mean_that_was_planned_for(x64):
    *_, P = lists()
    R = np.random.default_rng(4).normal(size=P.shape)
    mdp = mdps.MDP.from_dense(P, R[..., None], START, discount=0.9, horizon=5)
    uniform = np.full((5, S, A), 1 / A)
    planned = mdps.policy_return(mdp, uniform, mdp.reward(jnp.ones(1)))
    visits, total = START, 0.0  # the same, step by step, with what each transition pays
    for t in range(5):
        total += 0.9**t * np.einsum("s,sat,sat->", visits, P, R) / A
        visits = np.einsum("s,sat->t", visits, P) / A
    np.testing.assert_allclose(planned, total, atol=1e-12)


# --- actions that do not exist -----------------------------------------------------------------------------------

EXIST = np.ones((S, A), bool)
EXIST[[0, 2, 5], [1, 0, 2]] = False


def ways_in(P, next_state, probability, features, available):
    sparse = pytest.importorskip("scipy.sparse")
    settings = {"available": available, "discount": 0.9}
    return [
        mdps.MDP.from_dense(P, features, START, **settings),
        mdps.MDP.from_sparse(sparse.csr_array(P.reshape(S * A, S)), features, START, **settings),
        mdps.MDP.from_sparse([sparse.csr_array(P[:, a]) for a in range(A)], features, START, **settings),
        mdps.MDP.from_table(next_state, probability, features, START, **settings),
    ]


@pytest.mark.parametrize("junk", [0.0, np.nan, -np.inf, 7.0])
def test_an_action_that_does_not_exist_stays_and_counts_nothing_whatever_the_arrays_hold(x64, junk):
    next_state, probability, P = lists()
    want = np.where(EXIST[:, :, None], P, np.eye(S)[:, None, :])
    P, probability = (np.where(EXIST[:, :, None], x, junk) for x in (P, probability))
    features = np.where(EXIST[:, :, None], FEATURES, junk)
    for mdp in ways_in(P, next_state, probability, features, EXIST):
        np.testing.assert_allclose(dense(mdp), want, atol=1e-15)
        np.testing.assert_allclose(transposed(mdp), want, atol=1e-15)
        np.testing.assert_array_equal(mdp.features, np.where(EXIST[:, :, None], FEATURES, 0))
        np.testing.assert_array_equal(mdp.available, EXIST)
    all_there = mdps.MDP.from_dense(want, FEATURES, START, available=np.ones((S, A), bool), discount=0.9)
    assert all_there.available is None


def test_flags_that_are_none_are_refused_by_state():
    next_state, probability, P = lists()
    for available, message in [
        (EXIST & (np.arange(S) != 3)[:, None], r"no action is available in state 3 \(1 such states\)"),
        (EXIST[:, :2], r"available has shape \(6, 2\); it must hold flags, \[S, A\] with S=6, A=3"),
        (EXIST + 0.5, r"available is 1\.5 at index \(0, 0\); give flags"),
        ("all", "available is 'all'; give an array of numbers"),
    ]:
        for way in range(2):
            with pytest.raises(ValueError, match=message):
                if way:
                    mdps.MDP.from_dense(P, FEATURES, START, available=available, discount=0.9)
                else:
                    mdps.MDP.from_table(next_state, probability, FEATURES, START, available=available, discount=0.9)
    mdp = mdps.MDP.from_dense(P, FEATURES, START, available=EXIST, discount=0.9)
    with pytest.raises(ValueError, match="no action is available in state 3"):
        mdp.replace(available=EXIST & (np.arange(S) != 3)[:, None])


def test_an_empty_row_of_an_action_that_exists_is_refused():
    sparse = pytest.importorskip("scipy.sparse")
    next_state, probability, P = lists()
    P[4, 2] = probability[4, 2] = 0
    for build in (
        lambda: mdps.MDP.from_sparse(sparse.csr_array(P.reshape(S * A, S)), FEATURES, START, discount=0.9),
        lambda: mdps.MDP.from_dense(P, FEATURES, START, discount=0.9),
        lambda: mdps.MDP.from_table(next_state, probability, FEATURES, START, discount=0.9),
    ):
        with pytest.raises(ValueError, match="of state 4 of action 2 sums to 0; it must sum to one"):
            build()


def test_stacks_mark_what_is_padded_and_what_lacks_nothing_as_existing():
    *_, P = lists()
    one = mdps.MDP.from_dense(P, FEATURES, START, available=EXIST, discount=0.9)
    ring = mdps.MDP.from_table(np.array([[1], [0]]), np.ones((2, A, 1)), FEATURES[:2], [1.0, 0.0], discount=0.9)
    both = mdps.stack([one, ring])
    np.testing.assert_array_equal(both.available, [EXIST, np.ones((S, A), bool)])
    np.testing.assert_array_equal(mdps.stack([one, one]).available, [EXIST, EXIST])
    assert mdps.stack([ring, ring]).available is None


def recycling(missing=0.0):
    """Sutton and Barto's robot: charge high or low; wait, search, recharge, which cannot be done when high."""
    T = np.array([[[1, 0], [0.8, 0.2], [0, 0]], [[0, 1], [0.6, 0.4], [1, 0]]])
    return T, np.array([[[2.0], [5.0], [missing]], [[2.0], [0.2], [0.0]]])


def test_graphs_tell_what_exists_by_the_edges_they_have(x64):
    T, features = recycling()
    network = nx.MultiDiGraph(discount=0.9)
    for s, name in enumerate(("high", "low")):
        network.add_node(name, features=features[s], initial=0.5)
    for s, a, t in np.argwhere(T > 0):
        network.add_edge(("high", "low")[s], ("high", "low")[t], ("0 wait", "1 search", "2 recharge")[a],
                         probability=T[s, a, t])  # fmt: skip
    mdp = graph.from_networkx(network)
    exist = np.array([[True, True, False], [True, True, True]])
    same = mdps.MDP.from_dense(T, features, [0.5, 0.5], available=exist, discount=0.9)
    np.testing.assert_array_equal(mdp.available, exist)
    np.testing.assert_allclose(dense(mdp), dense(same), atol=1e-15)
    again = graph.to_networkx(same)
    assert not [key for _, _, key in again.out_edges(0, keys=True) if key == 2]
    back = graph.from_networkx(again)
    np.testing.assert_array_equal(back.available, exist)
    np.testing.assert_allclose(dense(back), dense(same), atol=1e-15)
    with pytest.raises(ValueError, match="policy takes action 2 in state 0, which is not available there"):
        graph.reachable(mdp, np.full((2, 3), 1 / 3))
    assert graph.is_proper(mdp, np.array([[1.0, 0, 0], [0, 0, 1]]), np.array([True, False]))
    network.add_node("broken", features=features[0])
    with pytest.raises(ValueError, match="no edge leaves node 'broken'; every state needs at least one action"):
        graph.from_networkx(network)


def test_graphs_walk_no_edge_of_an_action_that_does_not_exist(x64):
    P = np.zeros((3, 2, 3))
    P[:, 0] = np.eye(3)
    P[[0, 1, 2], 1, [1, 2, 2]] = 1
    mdp = mdps.MDP.from_dense(P, np.eye(3), [1.0, 0, 0], discount=0.9)
    cut = mdp.replace(available=np.array([[True, True], [True, False], [True, True]]))
    assert graph.reachable(cut).tolist() == [True, True, False]
    rest = graph.drop_unreachable(cut)
    assert rest.available.tolist() == [[True, True], [True, False]]
    np.testing.assert_array_equal(dense(rest), [[[1, 0], [0, 1]], [[0, 1], [0, 1]]])


# --- rows that almost sum to one ---------------------------------------------------------------------------------


def test_rows_that_almost_sum_to_one_are_divided_by_their_sum(x64):
    mdp = mdps.MDP.from_dense([[[0.999991]]], [[1.0]], [1.0], discount=0.999)
    solution = mdps.solve(mdp, mdp.reward(jnp.ones(1)))
    policy = np.ones((1, 1))
    assert abs(float(solution.value[0]) - 1000) <= float(solution.error_bound)
    np.testing.assert_allclose(float(mdps.policy_return(mdp, policy, np.ones(1))), 1000, rtol=1e-9)
    np.testing.assert_allclose(float(mdps.occupancy(mdp, policy).sum()), float(mdp.total_visits), rtol=1e-9)


def one_d():
    """The file 1d.pomdp as an MDP: left, middle, right, goal; west, east; the goal throws one back to any of them."""
    third = np.array([0.333333, 0.333333, 0.333333, 0.0])
    T = np.zeros((4, 2, 4))
    T[[0, 1, 2], 0, [0, 0, 3]] = 1
    T[[0, 1, 2], 1, [1, 3, 2]] = 1
    T[3] = third
    return T


@pytest.mark.parametrize("way", ["dense", "sparse", "table", "networkx", "gymnasium", "replace"])
def test_thirds_printed_with_six_digits_are_thirds_at_every_door(x64, way):
    T = one_d()
    paid = T[:, :, 3]
    start, settings = np.full(4, 0.25), {"discount": 0.75}
    if way == "dense":
        mdp = mdps.MDP.from_dense(T, paid[:, :, None], [0.333333, 0.333333, 0.333333, 0], **settings)
    elif way == "sparse":
        sparse = pytest.importorskip("scipy.sparse")
        mdp = mdps.MDP.from_sparse(sparse.csr_array(T.reshape(8, 4)), paid[:, :, None], start, **settings)
    elif way == "table":
        next_state = np.broadcast_to(np.arange(4), (4, 2, 4))
        mdp = mdps.MDP.from_table(next_state, T, paid[:, :, None], start, **settings)
    elif way == "networkx":
        network = nx.MultiDiGraph()
        network.add_nodes_from((s, {"features": paid[s][:, None], "initial": 0.25}) for s in range(4))
        network.add_edges_from((s, t, a, {"probability": T[s, a, t]}) for s, a, t in np.argwhere(T > 0))
        mdp = graph.from_networkx(network, **settings)
    elif way == "gymnasium":
        P = [
            [[(T[s, a, t], t, paid[s, a], False) for t in np.flatnonzero(T[s, a])] for a in range(2)] for s in range(4)
        ]
        mdp, _ = mdps.interop.from_gymnasium(P, initial=start, **settings)
    else:
        exact = T / T.sum(axis=2, keepdims=True)
        mdp = mdps.MDP.from_dense(exact, paid[:, :, None], start, **settings)
        mdp = mdp.replace(probability=np.where(mdp.probability == 1 / 3, 0.333333, mdp.probability))
    np.testing.assert_array_equal(dense(mdp)[3], np.tile([1 / 3, 1 / 3, 1 / 3, 0], (2, 1)))
    value = mdps.solve(mdp, paid, tol=1e-9).value
    np.testing.assert_allclose(value, [1.5483871, 2.0645161, 2.0645161, 1.4193548], atol=6e-8)
    np.testing.assert_allclose(mdp.initial.sum(), 1, atol=1e-15)


def test_rows_within_four_units_in_the_last_place_are_left_to_the_bit(dtype):
    wide = np.array([0.9 / 16] * 16 + [0.1 / 16] * 16)
    for row in (np.array([0.06, 0.94]), wide, np.full(3, 1 / 3)):
        row = row.astype(dtype)
        assert as_distributions("rows", row, axes=()) is row
        assert np.asarray(as_distributions("rows", row[None], axes=("state",), dtype=dtype)).dtype == dtype


def test_float32_thirds_become_thirds_in_a_float64_mdp(x64):
    P = np.broadcast_to(np.float32([1 / 3] * 3), (3, 1, 3))
    mdp = mdps.MDP.from_dense(P, np.eye(3), np.full(3, 1 / 3), discount=0.9)  # float64, after the features
    np.testing.assert_array_equal(np.asarray(mdp.probability).sum(axis=2), np.ones((3, 1)))


def test_rows_that_miss_one_by_more_are_refused_with_their_sum():
    P = np.tile(np.eye(8)[:, None, :], (1, 2, 1))
    P[7, 0, 3] = 0.075  # a row of a published gridworld
    with pytest.raises(ValueError, match=r"of state 7 of action 0 sums to 1\.075"):
        mdps.MDP.from_dense(P, np.eye(8), np.eye(8)[0], discount=0.9)


# --- arrays in others' order -------------------------------------------------------------------------------------


def forest(n=3, fire=0.1, r1=4.0, r2=2.0):
    """pymdptoolbox's `forest`: `[A, S, S']` and `[S, A]`."""
    P = np.zeros((2, n, n))
    P[0, :, 0], P[1, :, 0] = fire, 1
    P[0, np.arange(n), np.minimum(np.arange(n) + 1, n - 1)] += 1 - fire
    R = np.zeros((n, 2))
    R[-1, 0], R[:, 1], R[0, 1], R[-1, 1] = r1, 1, 0, r2
    return P, R


@pytest.mark.parametrize(("discount", "value"), [(0.9, [26.244, 29.484, 33.484]), (0.96, [74.6496, 78.1056, 82.1056])])
def test_pymdptoolbox_order_is_refused_with_the_line_that_mends_it(dtype, discount, value):
    P, R = forest()
    start = np.eye(3)[0]
    with pytest.raises(ValueError, match=r"is \[A, S, S'\]; .* np\.transpose\(transition, \(1, 0, 2\)\)"):
        mdps.MDP.from_dense(P, R[:, :, None], start, discount=discount)
    mdp = mdps.MDP.from_dense(np.transpose(P, (1, 0, 2)), R[:, :, None], start, discount=discount)
    solution = mdps.solve(mdp, mdp.reward(jnp.ones(1)))
    assert np.abs(np.asarray(solution.value) - value).max() <= float(solution.error_bound)
    np.testing.assert_array_equal(solution.policy, [[1, 0]] * 3)


def test_pymdptoolbox_small_example(dtype):
    P = np.array([[[0.5, 0.5], [0.8, 0.2]], [[0, 1], [0.1, 0.9]]])
    R = np.array([[5.0, 10], [-1, 2]])
    mdp = mdps.MDP.from_dense(np.transpose(P, (1, 0, 2)), R[:, :, None], [1.0, 0.0], discount=0.99)
    solution = mdps.solve(mdp, mdp.reward(jnp.ones(1)))
    want = [392.2991071, 386.1607143]
    assert np.abs(np.asarray(solution.value) - want).max() <= float(solution.error_bound) + 5e-8
    np.testing.assert_array_equal(solution.policy, np.eye(2)[[1, 0]])
    # As many states as actions: nothing can be noticed, and another, legal MDP is solved.
    other = mdps.MDP.from_dense(P, R[:, :, None], [1.0, 0.0], discount=0.99)
    solution = mdps.solve(other, other.reward(jnp.ones(1)))
    want = [484.0390879, 457.9804560]
    assert np.abs(np.asarray(solution.value) - want).max() <= float(solution.error_bound) + 5e-8


def test_what_is_no_array_of_numbers_is_sent_to_its_own_door():
    sparse = pytest.importorskip("scipy.sparse")
    *_, P = lists()
    matrices = [sparse.csr_array(P[:, a]) for a in range(A)]
    with pytest.raises(ValueError, match=r"sparse matrices are read by MDP\.from_sparse"):
        mdps.MDP.from_dense(matrices, FEATURES, START, discount=0.9)
    with pytest.raises(
        ValueError,
        match=r"transition is an array of float64 with shape \(18, 6\); give a SciPy sparse matrix .*MDP\.from_dense",
    ):
        mdps.MDP.from_sparse(P.reshape(S * A, S), FEATURES, START, discount=0.9)
    stacked = sparse.csr_array(P.reshape(S * A, S))
    for transition, num_actions, message in [
        (stacked, 2, r"shape \(18, 6\) with num_actions=2; it must be \[S·A, S\]"),
        (sparse.csr_array(np.eye(5)[:, :3]), None, r"shape \(5, 3\)"),
        (matrices, 2, "transition holds 3 matrices, with num_actions=2"),
        ([], None, "transition holds 0 matrices"),
        ([matrices[0], stacked], None, r"transition\[1\] has shape \(18, 6\); each .* \[S, S\], S=6"),
        ([P[:, 0]], None, r"transition\[0\] is an array of float64"),
        (types.SimpleNamespace(), None, "transition is a SimpleNamespace"),
    ]:
        with pytest.raises(ValueError, match=message):
            mdps.MDP.from_sparse(transition, FEATURES, START, discount=0.9, num_actions=num_actions)


def test_lists_that_are_none_are_refused():
    next_state, probability, _ = lists()
    for successors, message in [
        (next_state[:, :2], r"next_state has shape \(6, 2, 3\) .* or both \[S, A, D\]"),
        (next_state.astype(float), "next_state is an array of float64 .*; give whole numbers in 0..5"),
        (
            np.where(next_state == 3, 6, next_state),
            r"next_state holds 6; give whole numbers in 0\.\.5, indices of states",
        ),
        (-1 - next_state, r"next_state holds -\d"),
    ]:
        with pytest.raises(ValueError, match=message):
            mdps.MDP.from_table(successors, probability, FEATURES, START, discount=0.9)
    with pytest.raises(ValueError, match=r"probability of state 1 of action 2 holds -"):
        wrong = probability.copy()
        wrong[1, 2] = [-0.5, 1, 0.5]
        mdps.MDP.from_table(next_state, wrong, FEATURES, START, discount=0.9)
    with pytest.raises(TypeError, match="cannot be traced"):
        jax.jit(lambda p: mdps.MDP.from_table(next_state, p, FEATURES, START, discount=0.9).initial)(probability)


def test_what_does_not_exist_is_said_so_and_not_paid_minus_infinity():
    T, features = recycling(-np.inf)
    T[0, 2, 0] = 1
    with pytest.raises(ValueError, match=r"features is -inf at index \(0, 2, 0\); .* give available="):
        mdps.MDP.from_dense(T, features, [1.0, 0.0], discount=0.9)


def test_a_million_states_are_built_in_seconds_each_way():
    sparse = pytest.importorskip("scipy.sparse")
    n = 300_000
    rng = np.random.default_rng(0)
    next_state = rng.integers(0, n, (n, 3))
    probability = rng.dirichlet(np.ones(3), (n, 2))
    rows = sparse.csr_array((probability.ravel(), np.repeat(next_state, 2, 0).ravel(), np.arange(0, 6 * n + 1, 3)))
    features, start = np.ones((n, 1)), np.full(n, 1 / n)
    for build in (
        lambda: mdps.MDP.from_table(next_state, probability, features, start, discount=0.9),
        lambda: mdps.MDP.from_sparse(rows, features, start, discount=0.9),
    ):
        begun = time.process_time()
        mdp = build()
        assert time.process_time() - begun < 10  # 1 and 2 s
        assert mdp.next_state.shape == (n, 3)


def test_howards_taxicab_has_its_gain(x64):
    T = np.array([
        [[1 / 2, 1 / 4, 1 / 4], [1 / 16, 3 / 4, 3 / 16], [1 / 4, 1 / 8, 5 / 8]],
        [[1 / 2, 0, 1 / 2], [1 / 16, 7 / 8, 1 / 16], [0, 0, 0]],
        [[1 / 4, 1 / 4, 1 / 2], [1 / 8, 3 / 4, 1 / 8], [3 / 4, 1 / 16, 3 / 16]],
    ])  # fmt: skip
    R = np.array([[8, 2.75, 4.25], [16, 15, -np.inf], [7, 4, 4.5]])
    mdp = mdps.MDP.from_dense(T, R[:, :, None], np.eye(3)[0], available=np.isfinite(R), discount=0.9)
    chain, paid = T[:, 1], R[:, 1]
    exact = np.linalg.solve(np.eye(3) - 0.9 * chain, paid)
    np.testing.assert_allclose(exact, [121.6534711, 135.3062755, 122.8369031], atol=5e-8)
    second = np.tile([0.0, 1.0, 0.0], (3, 1))
    found = mdps.policy_return(mdp, second, mdp.reward(jnp.ones(1)))
    np.testing.assert_allclose(found, exact[0], rtol=1e-9)
