"""Words that mean what they say: among conventions that are worth as much the stated one is chosen."""

import numpy as np
import pytest

from cirl import Bounded, Exact, Game, Order, solve
from cirl.human import Boltzmann, EpsilonGreedy, Rational

DRINKS = ("tea", "coffee", "water")
WORDS = ("say tea", "say coffee", "say water")
PLAIN = dict(zip(DRINKS, WORDS, strict=True))
ODD = dict(zip(DRINKS, (WORDS[1], WORDS[2], WORDS[0]), strict=True))


def words(order=Order.SIMULTANEOUS, *, named=True, horizon=2):
    """A word that changes nothing, then a drink."""
    P, R = np.zeros((2, 3, 3, 2)), np.zeros((2, 3, 3, 3))
    P[..., 1], R[1] = 1, np.eye(3)[None]
    names = {"states": ("talk", "drink"), "human_actions": WORDS, "robot_actions": DRINKS, "thetas": DRINKS}
    start = [1.0, 0.0]
    return Game.from_dense(P, R, [0.5, 0.3, 0.2], start, horizon=horizon, order=order, **names if named else {})


def said_and_served(solution):
    """What each θ says first, and what is served after each word."""
    robot, play = solution.robot, np.asarray(solution.human_policy)
    root = int(robot.initial(0))
    said = play[root].argmax(axis=-1)
    served = [int(robot.action(int(robot.update(root, a, 1)), a)) for a in range(3)]
    return said.tolist(), served


@pytest.mark.parametrize("human", [Rational(), EpsilonGreedy(0.2)], ids=str)
@pytest.mark.parametrize("method", [Exact(), Bounded()], ids=["exact", "bounded"])
@pytest.mark.parametrize("order", [Order.SIMULTANEOUS, Order.ROBOT_FIRST])
def test_a_stated_meaning_is_the_convention_whichever_it_is_and_costs_nothing(human, method, order):
    game, loose = words(order), solve(words(order), human=human, method=method)
    for meant in (PLAIN, ODD):
        found = solve(game, human=human, method=method, groundings=meant)
        said, served = said_and_served(found)
        assert said == [WORDS.index(meant[drink]) for drink in DRINKS]
        assert [served[a] for a in said] == [0, 1, 2]
        assert bool(found.converged) and float(found.gap) <= 1e-3
        assert float(found.lower) <= float(loose.upper) and float(loose.lower) <= float(found.upper)


def test_where_a_convention_is_worth_more_meaning_gives_way():
    """The word for tea costs half a drink: nobody is asked to say it."""
    P, R = np.zeros((2, 3, 3, 2)), np.zeros((2, 3, 3, 2))
    P[..., 1], R[1] = 1, np.eye(3, 2)[None]
    R[0, 0] = -0.5  # the first word costs
    game = Game.from_dense(P, R, [0.6, 0.4], [1.0, 0.0], horizon=2)
    found = solve(game, groundings={0: 0, 1: 1})
    said, served = said_and_served(found)
    assert said[0] != 0 and served[said[0]] == 0 and served[said[1]] == 1
    assert float(found.lower) == pytest.approx(float(solve(game).lower), abs=1e-3)


@pytest.mark.parametrize("cost, tol", [(0.001, 0.004), (2.0**-10, 2.0**-8)])
def test_a_cost_that_the_preference_undoes_makes_no_bound_wide(cost, tol):
    P, R = np.zeros((2, 3, 3, 2)), np.zeros((2, 3, 3, 3))
    P[..., 1], R[0], R[1] = 1, -cost, np.eye(3)[None]
    game = Game.from_dense(P, R, [0.5, 0.3, 0.2], [1.0, 0.0], horizon=2)
    for method in (Exact(), Bounded()):
        found = solve(game, tol=tol, groundings={0: 0, 1: 1, 2: 2}, method=method)
        assert bool(found.converged) and float(found.lower) <= 1 - cost <= float(found.upper)
        assert said_and_served(found) == ([0, 1, 2], [0, 1, 2])


def test_numbers_do_as_well_as_names_and_what_is_neither_is_refused():
    numbered = words(named=False)
    said, _ = said_and_served(solve(numbered, groundings={0: 1, 1: 2, 2: 0}))
    assert said == [1, 2, 0]
    game = words()
    for bad in ({}, [0, 1], "tea"):
        with pytest.raises(ValueError, match="groundings is"):
            solve(game, groundings=bad)
    for bad in ({"milk": "say tea"}, {"tea": "mumble"}, {3: 0}, {0: -1}, {True: 0}, {0: 1.0}):
        with pytest.raises(ValueError, match=r"groundings names .* which is not a .*(0 to 2|\\d)"):
            solve(game, groundings=bad)
    with pytest.raises(ValueError, match="groundings break ties of rational"):
        solve(game, human=Boltzmann(2.0), groundings=PLAIN)
    with pytest.raises(ValueError, match="tol is too small for groundings"):
        solve(game, groundings=PLAIN, tol=1e-6)
