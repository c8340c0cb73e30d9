"""Rooms that somebody has acted in: how many states, how they came to be as they are found, what moves by itself."""

import functools

import numpy as np
import pytest

from mdps import graph
from mdps.worlds import rooms

pytestmark = pytest.mark.usefixtures("unannotated_throughout")  # rules are asked thousands of times

STATES = {"room": 29, "far vase": 29, "train": 384, "batteries, hard": 2075, "apples": 5280}


@functools.cache
def made(title):
    makers = (rooms.vase, rooms.far_vase, rooms.train, rooms.batteries, rooms.apples)
    return dict(zip(("room", "far vase", "train", "batteries, hard", "apples"), makers, strict=True))[title]()


def walked(room, actions):
    """Probability of each state after some actions, from what the room was."""
    table, chance = np.asarray(room.past.next_state), np.asarray(room.past.probability)
    share, names = np.asarray(room.past.initial), [str(name)[0] for name in room.explored.actions]
    for action in actions:
        moved = share[:, None] * chance[:, names.index(action)]
        share = np.bincount(table.ravel(), moved.ravel(), len(share))
    return share


@pytest.mark.parametrize(("title", "number"), STATES.items())
def test_what_is_found_can_have_come_about(title, number):
    room = made(title)
    assert room.title == title
    assert room.mdp.num_states == number and graph.reachable(room.past).all()
    assert int(np.argmax(room.mdp.initial)) == room.state and room.mdp.horizon == 20
    reached = np.asarray(room.past.initial) > 0
    table = np.asarray(room.past.next_state)
    possible = np.asarray(room.past.probability).max(axis=1) > 0
    for _ in range(room.past.horizon - 1):
        ahead = np.zeros(number, bool)
        ahead[table[reached][possible[reached]]] = True
        reached = ahead
    assert reached[room.state]


def test_somebody_went_round_the_vase():
    room = made("room")
    assert walked(room, "wnne")[room.explored.index(((2, 0), True))] == 1  # round it, in four steps
    assert walked(room, "nn")[room.explored.index(((2, 0), False))] == 1  # straight on, through it
    assert np.asarray(room.mdp.features)[room.explored.index(((2, 1), False)), 0] == 1


def test_the_train_goes_round_and_a_battery_keeps_it_going():
    room = made("train")
    assert walked(room, "ssss")[room.explored.index(((0, 4), True, (2, 1), True))] == 1
    # Into the train's way: it is broken, and stands still.
    hit = walked(room, "nnnneeess")
    state = room.explored.states[int(hit.argmax())]
    assert hit.max() == 1 and state[0] == (3, 2)
    room = made("batteries, hard")
    idle = room.explored.states[int(walked(room, "s" * 9).argmax())]
    assert idle[2] == 0 and walked(room, "s" * 8).argmax() == walked(room, "s" * 20).argmax()
    assert np.asarray(room.mdp.features)[int(walked(room, "s" * 8).argmax()), 1] == 1


def test_an_apple_is_picked_carried_and_dropped():
    """North to below a tree, pick; back, turn to the bucket, drop: the apple is in it, and may have grown again."""
    room = made("apples")
    share = walked(room, "npsep")
    features = np.asarray(room.past.features)
    assert share @ features[:, 0] == pytest.approx(1, abs=1e-5) and share @ features[:, 2] == pytest.approx(0, abs=1e-6)
    # Picked in the second step, it does not grow in that one: three times a chance of a tenth.
    assert share @ features[:, 1] == pytest.approx(2 + 1 - 0.9**3, abs=1e-5)
