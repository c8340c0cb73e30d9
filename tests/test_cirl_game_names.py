"""Names of states, actions and rewards: in graphs, pictures, files and errors, and never a reason to compile anew."""

import jax
import numpy as np
import pytest

from cirl import Game, Order, coordination_pomdp, misspecification, pomdp, simulate, simulation, solve
from cirl.human import EpsilonGreedy, Fixed, Rational
from cirl.policy_graph import _policy_graph, evaluate

NAMES = {
    "states": ("in the kitchen", "served"),
    "human_actions": ("point", "wait"),
    "robot_actions": ("brew tea", "brew coffee", "ask"),
    "thetas": ("tea", "coffee"),
}


def kitchen(order=Order.HUMAN_FIRST, **changed):
    """The robot brews or asks; whatever it brews is served and ends the game."""
    P = np.zeros((2, 2, 3, 2))
    P[0, :, :2, 1], P[0, :, 2, 0], P[1, :, :, 1] = 1, 1, 1
    R = np.zeros((2, 2, 3, 2))
    R[0, :, 0, 0], R[0, :, 1, 1], R[0, :, 2] = 1, 1, -0.1
    return Game.from_dense(P, R, [0.6, 0.4], [1.0, 0.0], **{"horizon": 2, "order": order} | NAMES | changed)


@pytest.fixture(scope="module")
def solved():
    game = kitchen()
    return game, solve(game)


def test_graphs_carry_names_beside_numbers(solved):
    _, solution = solved
    graph = solution.robot.to_networkx()
    assert graph.graph["thetas"] == ["tea", "coffee"]
    for _, told in graph.nodes(data=True):
        assert told["state_name"] == NAMES["states"][told["state"]]
        assert told["action_names"] == [NAMES["robot_actions"][a] for a in told["action"]]
    for _, _, told in graph.edges(data=True):
        assert told["human_action_name"] == NAMES["human_actions"][told["human_action"]]
        assert told["next_state_name"] == NAMES["states"][told["next_state"]]
    plain = solve(kitchen(**dict.fromkeys(NAMES, ()))).robot.to_networkx()
    assert all(set(told) == {"state", "step", "action", "belief"} for _, told in plain.nodes(data=True))


def test_pictures_use_them_unless_others_are_given(solved):
    pytest.importorskip("matplotlib")
    _, solution = solved
    words = " ".join(text.get_text() for text in solution.robot.plot().texts)
    assert "brew tea" in words and "point" in words and "tea 60%" in words
    words = " ".join(text.get_text() for text in solution.robot.plot(human_actions=["a", "b"]).texts)
    assert "point" not in words and "brew tea" in words


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize("horizon", [3, None])
def test_files_are_written_in_words_and_read_back_the_same(order, horizon, tmp_path):
    game = kitchen(order, horizon=horizon, discount=0.9)
    p = coordination_pomdp(game)
    assert p.states == ("in-the-kitchen_tea", "in-the-kitchen_coffee", "served_tea", "served_coffee")
    assert p.observations[0] == "point_in-the-kitchen" and len(set(p.actions)) == len(p.transition)
    first = "point_point_brew-tea" + "_brew-tea" * (order is Order.HUMAN_FIRST)
    assert p.actions[0] == first
    p.write(tmp_path / "game.pomdp")
    back = pomdp.read(tmp_path / "game.pomdp")
    plain = coordination_pomdp(kitchen(order, horizon=horizon, discount=0.9, **dict.fromkeys(NAMES, ())))
    plain.write(tmp_path / "plain.pomdp")
    same = pomdp.read(tmp_path / "plain.pomdp")
    for name in ("transition", "observation", "reward", "start"):
        np.testing.assert_array_equal(getattr(back, name), getattr(same, name))
    assert back.actions == p.actions and len(back.states) == len(back.start)
    if horizon:
        assert back.states[:2] == ("in-the-kitchen_tea_0", "in-the-kitchen_coffee_0") and back.states[-1] == "end"
    p.write(tmp_path / "game.pomdpx")
    assert "in-the-kitchen_tea" in (tmp_path / "game.pomdpx").read_text()


def test_several_starts_and_a_fixed_human_have_words_too(tmp_path):
    P, R = np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 2))
    game = Game.from_dense(P, R, [0.5, 0.5], [1.0], horizon=2, thetas=("1 + 1", "1 - 1"))
    p = coordination_pomdp(game, human=Fixed(np.full((1, 2, 2), 0.5)))
    assert p.states[:2] == ("s0_h0_t1-1-0", "s0_h0_t1-1-1")  # alike once in words: numbered
    stay = np.eye(2)[:, None, None] * np.ones((1, 2, 2, 1))
    game = Game.from_dense(stay, np.zeros((2, 2, 2, 2)), [0.5, 0.5], [0.5, 0.5], discount=0.5, states=("a", "b"))
    coordination_pomdp(game).write(tmp_path / "two.pomdp")
    read = pomdp.read(tmp_path / "two.pomdp")
    assert read.states[0] == "a_t0" and "b_t1_first" in read.states and read.states[-1] == "before"


def test_errors_call_things_by_their_names(solved):
    _, solution = solved
    robot = solution.robot
    start = int(robot.initial(0))
    asks = int(np.asarray(robot.decision)[start, 0]) == 2
    wrong = 1 if asks else 0
    with pytest.raises(
        ValueError, match=f"next_state is {NAMES['states'][wrong]}, .* state in the kitchen after .* point"
    ):
        robot.update(start, 0, wrong)
    P = np.zeros((1, 1, 1, 1))
    with pytest.raises(ValueError, match="of state 'hall' of human action 'go' of robot action 0 sums to 0"):
        Game.from_dense(P, P, [1.0], [1.0], horizon=1, states=["hall"], human_actions=["go"])
    with pytest.raises(ValueError, match=r"at index \(0, 0, 0, 0\) \('hall', 'tea'\)"):
        Game.from_dense(P + 1, P - np.inf, [1.0], [1.0], horizon=1, states=["hall"], thetas=["tea"])
    with pytest.raises(ValueError, match="prior of θ coffee is zero"):
        kitchen_without = np.ones((1, 1, 1, 1)), np.zeros((1, 1, 1, 2)), [1.0, 0.0], [1.0]
        Game.from_dense(*kitchen_without, horizon=1, thetas=("tea", "coffee"))
    for bad in (["tea"], ["tea", "tea"], "tc", [1, 2], None):
        with pytest.raises(ValueError, match="thetas is"):
            kitchen(thetas=bad)


def test_names_compile_nothing_anew(solved):
    game, solution = solved
    other = kitchen(thetas=("chai", "mocha"))
    with_others = solve(other)
    key = jax.random.key(0)
    simulate(game, solution, key=key, num_steps=2, num_episodes=3)
    evaluate(game, solution.robot, Rational(), sweeps=2)
    before = _policy_graph._evaluate._cache_size(), simulation._simulate._cache_size()
    simulate(other, with_others, key=key, num_steps=2, num_episodes=3)
    evaluate(other, with_others.robot, Rational(), sweeps=2)
    assert (_policy_graph._evaluate._cache_size(), simulation._simulate._cache_size()) == before
    assert with_others.robot.names.thetas == ("chai", "mocha")


def test_the_mean_of_episodes_says_how_sure_it_is_and_tables_of_people_have_bounds(solved):
    game, solution = solved
    played = simulate(game, solution, key=jax.random.key(1), num_steps=2, num_episodes=400)
    returns = np.asarray(played.returns, float)
    assert float(played.mean.value) == pytest.approx(returns.mean(), rel=1e-5)
    assert float(played.mean.standard_error) == pytest.approx(returns.std(ddof=1) / 20, rel=1e-4, abs=1e-9)
    assert abs(float(played.mean.value) - float(solution.lower)) <= 5 * float(played.mean.standard_error) + 1e-5
    one = simulate(game, solution, key=jax.random.key(1), num_steps=2)
    assert np.isinf(one.mean.standard_error) and str(one.mean).endswith("± inf")
    people = [Rational(), EpsilonGreedy(0.2)]
    table = misspecification(game, planned=people, met=people)
    own = np.diag(np.asarray(table.value, float))
    assert (own - np.diag(table.error) <= np.asarray(table.upper) + 1e-9).all()
    assert (own + np.diag(table.error) >= np.asarray(table.lower) - 1e-9).all()
    assert (np.asarray(table.error) > 0).all() and (np.asarray(table.error) < 1e-5).all()
