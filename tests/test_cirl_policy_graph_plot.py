"""The picture of a policy graph, and games from successor tables."""

import numpy as np
import pytest

from cirl import Game, Order, solve
from cirl.games import chefworld
from cirl.successors import Successors, table_of_moves


@pytest.fixture(autouse=True)
def close():
    yield
    from matplotlib import pyplot

    pyplot.close("all")


def test_the_picture_names_what_is_played():
    solution = solve(chefworld.mini(3))
    names = ("tomato", "onion", "basil", "wait")
    ax = solution.robot.plot(solution.human_policy, robot_actions=names, human_actions=names, thetas=("TT", "OO", "TO"))
    words = [text.get_text() for text in ax.texts]
    assert any("TT, OO, TO" in w for w in words)  # at the start all are left
    assert any(w.startswith("wait") for w in words)
    assert {"tomato", "onion"} & set(words)  # on the arrows
    every = solution.robot.plot()
    assert len(every.texts) > len(ax.texts)
    with pytest.raises(ValueError, match="more than most=2"):
        solution.robot.plot(most=2)


def test_where_the_human_moves_first_each_answer_is_named():
    agree = np.stack([np.diag([1.0, 0.0]), np.diag([0.0, 1.0])], axis=-1)[None]
    game = Game.from_dense(np.ones((1, 2, 2, 1)), agree, [0.5, 0.5], [1.0], horizon=1, order=Order.HUMAN_FIRST)
    ax = solve(game).robot.plot(human_actions=("left", "right"), robot_actions=("l", "r"))
    assert ax.texts[0].get_text() == "left: l\nright: r\nθ0, θ1"


def test_a_table_makes_the_game_that_a_tensor_makes(x64):
    rng = np.random.default_rng(0)
    ahead = rng.integers(4, size=(4, 2, 3))
    next_state, probability = table_of_moves(ahead)
    reward, rest = rng.normal(size=(4, 2, 3, 2)), ([0.5, 0.5], [1.0, 0, 0, 0])
    game = Game.from_table(next_state, probability, reward, *rest, horizon=3)
    dense = Game.from_dense(np.eye(4)[ahead], reward, *rest, horizon=3)
    np.testing.assert_array_equal(game.mdp.to_dense(), dense.mdp.to_dense())
    np.testing.assert_allclose(solve(game).lower, solve(dense).lower, atol=1e-12)
    moves = Successors.of(game)
    assert moves.state.shape == (4, 2, 3, 1)
    np.testing.assert_array_equal(moves.state[..., 0], ahead)
    columns = np.take_along_axis(np.asarray(game.mdp.next_state)[:, None, None], np.asarray(moves.column), axis=-1)
    np.testing.assert_array_equal(columns, moves.state)


def test_bad_tables_are_told_apart():
    next_state, probability = np.array([[0, 1], [1, 0]]), np.zeros((2, 2, 2, 2))
    probability[..., 0] = 1

    def build(next_state=next_state, probability=probability, reward=None, prior=(0.5, 0.5)):
        reward = np.ones((2, 2, 2, 2)) if reward is None else reward
        return Game.from_table(next_state, probability, reward, prior, [1.0, 0.0], horizon=2)

    twice, half = probability.copy(), np.full((2, 2, 2, 2), 0.5)
    twice[0, 0, 0] = 0.5
    for message, make in (
        (r"probability has shape .* \[S, A_H, A_R, D\]", lambda: build(probability=probability[0])),
        ("next_state has shape", lambda: build(next_state=next_state[:, :1])),
        ("dtype float64", lambda: build(next_state=next_state * 1.0)),
        ("outside 0..1", lambda: build(next_state=next_state + 1)),
        ("names state 1 twice", lambda: build(next_state=np.array([[0, 1], [1, 1]]), probability=half)),
        ("state 0 of human action 0 of robot action 0 sums to 0.5", lambda: build(probability=twice / 2)),
        (r"reward has shape .* as probability", lambda: build(reward=np.ones((2, 2, 1, 2)))),
        ("prior sums to", lambda: build(prior=(0.5, 0.6))),
    ):
        with pytest.raises(ValueError, match=message):
            make()
