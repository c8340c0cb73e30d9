"""The bounded solver: its bounds hold the exact value, on random games and on the games of references C."""

import numpy as np
import oracles_cirl as oracles
import pytest

from cirl import Bounded, Order
from cirl.bounded import Search
from cirl.controller import evaluate
from cirl.human import EpsilonGreedy, Fixed, Rational
from cirl.plans import solve_plans
from cirl.subsets import solve_subsets

SPREAD = ((3, 3, 2), (3, 2, 3), (2, 3, 3), (4, 4, 0), (4, 0, 4), (0, 4, 4))
LINE = ((4, 0, 0), (3, 1, 0), (2, 2, 0), (1, 3, 0), (0, 4, 0))


def people(kind, rng):
    if kind == "rational":
        return Rational()
    if kind == "epsilon":
        return EpsilonGreedy(rng.uniform(0.05, 0.6))
    return Fixed(rng.dirichlet(np.ones(2), size=(2, 3)))


def attained(game, search, human):
    """What the search's robot is worth at the prior, by itself."""
    robot = search.robot()
    values, _, _ = evaluate(game, robot, human, sweeps=game.mdp.horizon or 300)
    start, prior = np.asarray(robot.start), np.asarray(game.prior)
    return sum(p * np.asarray(values)[start[s]] @ prior for s, p in enumerate(np.asarray(game.mdp.initial)) if p > 0)


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize("kind", ["rational", "epsilon", "fixed"])
def test_the_exact_value_lies_between_the_bounds_after_every_trial(kind, order, x64):
    rng = np.random.default_rng(0)
    for i in range(25):
        _, game = oracles.random_game(rng, Theta=3, T=3 if kind == "rational" else 2, order=order)
        human = people(kind, rng)
        human = human.fit(game) if isinstance(human, Fixed) else human
        if kind == "rational":
            exact = float(solve_subsets(game, 1e-9, 100)[0])
        else:
            exact, _ = solve_plans(game, human, consistent=False)
        search = Search(game, human, Bounded())
        search.run(1e-7)
        for _, _, lower, upper in search.history:
            assert lower - 1e-12 <= exact <= upper + 1e-12
        assert search.upper() - search.lower() <= 1e-7
        if i < 2:
            assert attained(game, search, human) == pytest.approx(search.lower(), abs=1e-12)


@pytest.mark.parametrize("order", [Order.SIMULTANEOUS, Order.HUMAN_FIRST])
def test_endless_games(order, x64):
    rng = np.random.default_rng(1)
    for i in range(10):
        _, game = oracles.random_game(rng, Theta=3, T=None, order=order, discount=0.7)
        value, error, _ = solve_subsets(game, 1e-9, 1000)
        search = Search(game, Rational(), Bounded())
        search.run(1e-5)
        for _, _, lower, upper in search.history:
            assert lower - float(error) <= float(value) <= upper + float(error)
        assert search.upper() - search.lower() <= 1e-5
        if i < 1:
            assert attained(game, search, Rational()) >= search.lower() - 1e-9
