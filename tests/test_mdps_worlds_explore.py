"""Exploring a step function: the table beside one written by hand, and everything that people may get wrong."""

import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdps
from mdps import graph
from mdps.worlds import End, explore

pytestmark = pytest.mark.usefixtures("unannotated_throughout")


def walk(state, action):
    """A random walk on 0..3 that may end on the right; action 1 is surer."""
    if state == 3 and action == 1:
        return End("right")
    sure = 0.9 if action else 0.6
    return [(min(state + 1, 3), sure), (max(state - 1, 0), 1 - sure)]


def moved(state, action, after):
    return [1, 0 if isinstance(after, End) else after - state, after == End("right")]


def test_the_table_is_the_one_written_by_hand(x64):
    found = explore(1, walk, moved, actions=2, feature_names=("step", "moved", "right"), horizon=5)
    assert found.states == (1, 2, 0, 3, End()) and found.actions == (0, 1)
    assert [found.index(state) for state in (0, End(), 3)] == [2, 4, 3]
    P, F = np.zeros((5, 2, 5)), np.zeros((5, 2, 3))
    for s, state in enumerate((1, 2, 0, 3)):
        for a, sure in enumerate((0.6, 0.9)):
            F[s, a] = 1, sure * (min(state + 1, 3) - state) + (1 - sure) * (max(state - 1, 0) - state), 0
            P[s, a, found.index(min(state + 1, 3))] += sure
            P[s, a, found.index(max(state - 1, 0))] += 1 - sure
    P[3, 1], F[3, 1] = np.eye(5)[4], (1, 0, 1)
    P[4] = np.eye(5)[4]
    np.testing.assert_allclose(found.mdp.to_dense(), P, atol=1e-12)
    np.testing.assert_allclose(found.mdp.features, F, atol=1e-12)
    np.testing.assert_array_equal(found.mdp.initial, np.eye(5)[0])
    assert found.mdp.horizon == 5 and found.mdp.feature_names == ("step", "moved", "right")
    assert graph.reachable(found.mdp).all()


@dataclass(frozen=True)
class Place:
    row: int
    column: int


def test_states_are_anything_that_can_be_hashed():
    def step(place, action):
        return Place(place.row, (place.column + (1 if action == "east" else -1)) % 3)

    found = explore(
        Place(0, 0), step, lambda place, action: [place.column], actions=["east", "west"], discount=0.9, max_states=3
    )
    assert set(found.states) == {Place(0, 0), Place(0, 1), Place(0, 2)}
    np.testing.assert_array_equal(found.mdp.features[found.index(Place(0, 2))], [[2], [2]])
    east = found.policy(lambda place: "east")
    np.testing.assert_array_equal(east, [[1, 0]] * 3)
    np.testing.assert_array_equal(found.where(lambda place: place.column > 0), [False, True, True])
    assert repr(found) == "Explored(MDP(3 states, 2 actions, 1 features, discount 0.9))"


@pytest.mark.parametrize(
    ("start", "initial"),
    [(2, [1, 0, 0]), ([1, 0], [0.5, 0.5, 0]), ({0: 0.25, 2: 0.75}, [0.25, 0.75, 0]), ([1, 1, 0, 1], [0.75, 0.25, 0])],
)
def test_runs_may_begin_in_several_states(start, initial):
    found = explore(start, lambda s, a: (s + 1) % 3, lambda s, a: [1.0], actions=1, discount=0.5)
    np.testing.assert_allclose(found.mdp.initial, initial)


def test_chance_may_be_pairs_or_a_dictionary_and_equal_states_add_up():
    as_pairs = explore(0, lambda s, a: [(1, 0.25), (0, 0.5), (1, 0.25)], lambda s, a: [s], actions=1, discount=0.5)
    as_mapping = explore(0, lambda s, a: {1: 0.5, 0: 0.5}, lambda s, a: [s], actions=1, discount=0.5)
    np.testing.assert_array_equal(sorted(as_pairs.states), [0, 1])
    np.testing.assert_allclose(as_pairs.mdp.to_dense()[:, 0, as_pairs.index(1)], 0.5)
    np.testing.assert_allclose(as_mapping.mdp.to_dense()[:, 0, as_mapping.index(1)], 0.5)


def test_a_state_that_has_no_chance_is_not_one():
    found = explore(0, lambda s, a: [(0, 1.0), (7, 0.0)], lambda s, a: [1], actions=1, discount=0.5)
    assert found.states == (0,)


def test_probabilities_of_six_digits_are_shared_as_everywhere():
    found = explore(0, lambda s, a: [(i, 0.333333) for i in range(3)], lambda s, a, to: [to], actions=1, discount=0.5)
    np.testing.assert_allclose(found.mdp.features[0, 0, 0], 1, rtol=1e-6)
    np.testing.assert_allclose(found.mdp.probability.sum(axis=-1), 1, rtol=1e-6)


def test_actions_that_do_not_exist_are_not_asked_for(x64):
    def step(s, action):
        assert action != "back" or s > 0
        return min(s + 1, 2) if action == "on" else s - 1

    found = explore(
        0,
        step,
        lambda s, a, to: [to],
        actions=("on", "back"),
        available=lambda s, action: action == "on" or s > 0,
        discount=0.5,
    )
    np.testing.assert_array_equal(found.mdp.available, [[True, False], [True, True], [True, True]])
    best = mdps.solve(found.mdp, found.mdp.reward(jnp.ones(1)))
    np.testing.assert_allclose(best.value[0], 1 + 0.5 * 4, atol=1e-5)


def test_runs_that_all_end_need_no_discount(x64):
    found = explore(3, lambda s, a: s - 1 if s > 1 else End(), lambda s, a: [1], actions=1)
    assert float(found.mdp.initial @ mdps.solve(found.mdp, found.mdp.reward(jnp.ones(1))).value) == pytest.approx(3)


def test_two_ends_are_one_state_and_features_tell_them_apart():
    found = explore("start", lambda s, a: End(a), lambda s, a, to: [to == End(0), to == End(1)], actions=2, horizon=2)
    assert found.states == ("start", End()) and found.index(End(1)) == 1
    np.testing.assert_array_equal(found.mdp.features[0], np.eye(2))
    np.testing.assert_array_equal(found.where(lambda state: True), [True, False])
    np.testing.assert_array_equal(found.policy(lambda state: 1), [[0, 1], [1, 0]])


def test_a_hundred_thousand_states_take_seconds():
    side, began = 316, time.process_time()
    moves = ((-1, 0), (0, 1), (1, 0), (0, -1))

    def step(cell, a):
        r, c = cell[0] + moves[a][0], cell[1] + moves[a][1]
        return (r, c) if 0 <= r < side and 0 <= c < side else cell

    found = explore((0, 0), step, lambda cell, a: (1.0, cell[0] == cell[1]), actions=4, discount=0.99)
    assert found.mdp.num_states == side * side
    assert time.process_time() - began < 30  # 3 s where this was written; the limit is for machines that share cores


def sure(s, a):
    return s


def one(s, a):
    return [1.0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"step": lambda s, a: s + 1}, r"more than max_states=50 states were found, the last 50; raise max_states"),
        ({"step": lambda s, a: [s]}, r"step in state 0 after action 0 gives the list \[0\]; a list holds pairs"),
        ({"step": lambda s, a: []}, "step in state 0 after action 0 holds no state"),
        ({"step": lambda s, a: {}}, "holds no state"),
        ({"step": lambda s, a: [(s, 0.5)]}, r"gives probabilities that sum to 0.5; they must sum to one"),
        ({"step": lambda s, a: [(s, 1.5), (1, -0.5)]}, r"gives the state 0 the probability 1.5; give a number in 0..1"),
        ({"step": lambda s, a: [(s, float("nan"))]}, "the probability nan"),
        ({"step": lambda s, a: [(s, "all")]}, "the probability 'all'"),
        (
            {"step": lambda s, a: None},
            "step in state 0 after action 0 leads to None, which is no state; let step return",
        ),
        ({"step": lambda s, a: (pair for pair in [(s, 1.0)])}, "which is no state; let step return"),
        ({"step": lambda s, a: End}, "which is no state"),
        ({"step": lambda s, a: [([s], 1.0)]}, r"step in state 0 after action 0 leads to \[0\], which cannot be hashed"),
        (
            {"step": lambda s, a: np.array([1, 2])},
            r"leads to array\(\[1, 2\]\), which cannot be hashed; give states as",
        ),
        ({"start": {0: 0.5, 1: 0.2}}, "start gives probabilities that sum to 0.7"),
        ({"start": []}, "start holds no state"),
        ({"start": [[1], [2]]}, r"start holds \[1\], which cannot be hashed"),
        ({"start": End()}, "start holds an End; runs need a state to begin in"),
        ({"actions": 0}, "actions is 0; give a whole number ≥ 1"),
        ({"actions": []}, "actions is empty; give at least one"),
        ({"actions": ("on", "on")}, "give each action once"),
        ({"actions": "left"}, "actions is 'left'; give a whole number"),
        ({"actions": 1.5}, "actions is 1.5"),
        ({"actions": np.arange(2)}, "give a whole number ≥ 1, or a sequence, such as a list of names"),
        ({"actions": [np.arange(2), np.arange(2)]}, "actions holds arrays"),
        ({"features": lambda s, a: []}, r"features in state 0 after action 0 are \[\]; give K numbers"),
        ({"features": lambda s, a: 3.0}, "features in state 0 after action 0 are 3.0; give K numbers"),
        ({"features": lambda s, a: None}, "are None; give K numbers"),
        ({"features": lambda s, a: ["1", "2"]}, "give K numbers"),
        ({"features": lambda s, a: [[1.0], [2.0, 3.0]]}, "give K numbers"),
        ({"features": lambda s, a: [1j]}, "give K numbers"),
        ({"features": lambda s, a: [1] * (1 + a), "actions": 2}, "after action 1 are 2 numbers, and 1 before"),
        ({"features": lambda s, a: [float("nan")]}, r"after action 0 are \[nan\]; every one must be finite"),
        ({"features": lambda s, a: [np.inf]}, "every one must be finite"),
        ({"feature_names": ("a", "b")}, r"feature_names is \('a', 'b'\); give 1 distinct names"),
        ({"feature_names": "a"}, "feature_names is 'a'"),
        ({"available": lambda s, a: False}, "no action is available in state 0; let one stay"),
        ({"available": lambda s, a: None}, "available gives None in state 0 after action 0; give True or False"),
        ({"max_states": 0}, "max_states is 0; give a whole number ≥ 1"),
        ({"horizon": 0}, "horizon is 0"),
        ({"discount": 1.5}, "discount is 1.5"),
        ({"discount": 1.0}, "discount"),  # nothing ends
    ],
)
def test_what_makes_no_table_is_refused_with_cause_and_cure(change, said):
    given = {"start": 0, "step": sure, "features": one, "actions": 1, "discount": 0.5, "max_states": 50} | change
    with pytest.raises(ValueError, match=said):
        explore(given.pop("start"), given.pop("step"), given.pop("features"), **given)


def test_what_is_no_function_and_what_is_traced_is_refused():
    for change, said in (
        ({"step": 3}, "step is 3; give a function"),
        ({"features": [1.0]}, "features is a list; give a function"),
        ({"available": np.ones((1, 1))}, "available is an array of float64"),
    ):
        given = {"step": sure, "features": one} | change
        with pytest.raises(TypeError, match=said):
            explore(0, given.pop("step"), given.pop("features"), actions=1, discount=0.5, **given)

    def traced_features(x):
        return explore(0, sure, lambda s, a: [x, 1.0], actions=1, discount=0.5).mdp.features

    def traced_chance(x):
        return explore(0, lambda s, a: [(s, x)], one, actions=1, discount=0.5).mdp.features

    for function in (traced_features, traced_chance):
        with pytest.raises(TypeError, match="builds tables on the host"):
            jax.jit(function)(1.0)


def test_choices_and_states_that_do_not_exist_are_refused():
    found = explore(0, lambda s, a: 1 - s, one, actions=("go",), discount=0.5)
    with pytest.raises(ValueError, match=r"choose gives 'stay' in state 0; the actions are \('go',\)"):
        found.policy(lambda state: "stay")
    some = explore(0, lambda s, a: 1 - s, one, actions=2, discount=0.5, available=lambda s, a: s == 0 or a == 0)
    assert some.policy(lambda state: 1 - state).tolist() == [[0, 1], [1, 0]]
    with pytest.raises(ValueError, match="choose gives 1 in state 1, where it is not available"):
        some.policy(lambda state: 1)
    for state in (7, [1]):
        with pytest.raises(ValueError, match="no run reaches the state"):
            found.index(state)
