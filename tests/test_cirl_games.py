"""Games with known values: references C, closed forms, and quadrature; and what happens when they are played."""

import jax
import numpy as np
import pytest

from cirl import Order, misspecification, simulate, solve
from cirl.games import chefworld, meal_choice, off_switch, paperclips, red_blue, wormy_apples
from cirl.human import Boltzmann, EpsilonGreedy, Fixed, Rational

SPREAD = ((3, 3, 2), (3, 2, 3), (2, 3, 3), (4, 4, 0), (4, 0, 4), (0, 4, 4))
LINE = ((4, 0, 0), (3, 1, 0), (2, 2, 0), (1, 3, 0), (0, 4, 0))


@pytest.fixture(autouse=True)
def in_float64(x64):
    pass


def value(game, human=None, **settings):
    solution = solve(game, human=human, tol=1e-6, **settings)
    assert bool(solution.converged)
    assert float(solution.gap) < 1e-6
    return (float(solution.lower) + float(solution.upper)) / 2


@pytest.mark.parametrize(
    "recipes, horizon, prior, expected",
    [
        (chefworld.THREE, 5, (0.5, 0.25, 0.25), 1.5876),
        (chefworld.THREE, 3, (0.5, 0.25, 0.25), 0.2025),
        (LINE[:4], 2, None, 0.9),
        (LINE, 2, None, 0.72),
        (SPREAD, 4, None, 0.6075),
    ],
)
def test_chefworld_is_worth_what_was_published_and_play_makes_the_meals(recipes, horizon, prior, expected):
    game = chefworld.game(recipes, horizon, prior=prior)
    solution = solve(game, tol=1e-6)
    assert value(game) == pytest.approx(expected, abs=1e-9)
    played = simulate(game, solution, key=jax.random.key(0), num_steps=horizon, num_episodes=2000)
    made = {theta: played.returns[played.theta == theta] for theta in range(len(recipes))}
    if expected in (1.5876, 0.9):  # full information's value: every recipe is made, every time
        assert all(len(returns) and (np.asarray(returns) > 0).all() for returns in made.values())
    error = float(np.std(played.returns)) / np.sqrt(2000)
    assert abs(float(np.mean(played.returns)) - expected) <= 3 * error + 1e-9


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
def test_mini_chefworld_is_worth_what_was_published(count):
    assert value(chefworld.mini(count)) == pytest.approx(0.9, abs=1e-6)


def test_paperclips_are_worth_what_the_closed_form_says():
    game = paperclips.game(92)
    solution = solve(game, tol=1e-6)
    assert float(solution.lower) == pytest.approx(69 + 25 / 92, abs=2e-5)
    assert value(game, Fixed(paperclips.expert(92))) == pytest.approx(69, abs=1e-6)
    theta = paperclips.thetas(92)
    teaches = np.asarray(solution.human_policy)[int(solution.robot.start[0])].argmax(axis=1)
    np.testing.assert_array_equal(teaches == 1, (theta > 41 / 92) & (theta < 51 / 92))
    full = np.mean(np.max([2 * theta, 2 * (1 - theta), np.ones(92)], axis=0)) + np.mean(
        np.max([90 * theta, 90 * (1 - theta), np.full(92, 50)], axis=0)
    )
    assert full == pytest.approx(69.27765, abs=1e-5)


def normal_atoms(mu, sigma=1.0, count=4001):
    """Midpoints of equal cells over ±8σ, weighted by the density: a quadrature that the error function checks."""
    edges = np.linspace(mu - 8 * sigma, mu + 8 * sigma, count + 1)
    atoms = (edges[1:] + edges[:-1]) / 2
    weight = np.exp(-0.5 * ((atoms - mu) / sigma) ** 2)
    return atoms, weight / weight.sum()


@pytest.mark.parametrize("mu, expected", [(0.0, 0.39894), (0.25, 0.28634), (0.75, 0.13117)])
def test_off_switch_with_a_rational_human(mu, expected):
    atoms, p = normal_atoms(mu)
    assert value(off_switch.game(atoms, p)) - max(p @ atoms, 0) == pytest.approx(expected, abs=1e-5)
    # For any distribution: the smaller of the two one-sided means.
    sides = p @ np.maximum(atoms, 0), p @ np.maximum(-atoms, 0)
    assert value(off_switch.game(atoms, p)) - max(p @ atoms, 0) == pytest.approx(min(sides), abs=1e-9)


@pytest.mark.parametrize("mu, expected", [(0.75, -0.0721), (-0.75, -0.0721), (0.0, 0.2066)])
def test_off_switch_with_a_boltzmann_human(mu, expected):
    atoms, p = normal_atoms(mu)
    waiting = value(off_switch.game(atoms, p, may_decide=False), Boltzmann(1.0))
    assert waiting - max(p @ atoms, 0) == pytest.approx(expected, abs=5e-5)
    free = value(off_switch.game(atoms, p), Boltzmann(1.0))
    assert free == pytest.approx(max(waiting, p @ atoms, 0), abs=1e-9)


@pytest.mark.parametrize("order", [Order.SIMULTANEOUS, Order.ROBOT_FIRST])
def test_red_blue_is_worth_what_the_closed_form_says(order):
    human = Fixed(red_blue.human())
    assert value(red_blue.game(order=order), human) == pytest.approx(1.71, abs=1e-9)
    assert value(red_blue.game(order=order, may_wait=False), human) == pytest.approx(1.4, abs=1e-9)


@pytest.mark.parametrize(
    "discount, only_at_start, expected",
    [(0.99, False, 1.95232), (0.99, True, 1.85628), (0.9, False, 1.7136), (0.9, True, 1.584)],
)
def test_wormy_apples_are_worth_what_the_closed_form_says(discount, only_at_start, expected):
    human = Fixed(wormy_apples.human(only_at_start=only_at_start))
    assert value(wormy_apples.game(discount), human) == pytest.approx(expected, abs=1e-6)


def test_the_meal_choice_is_worth_what_the_closed_form_says():
    assert value(meal_choice.game(), Fixed(meal_choice.human())) == pytest.approx(1.80495, abs=1e-6)


def test_a_hundred_thousand_episodes_pay_what_was_promised():
    game = wormy_apples.game(0.99)
    human = Fixed(wormy_apples.human())
    solution = solve(game, human=human)
    played = simulate(game, solution, key=jax.random.key(1), num_steps=4, num_episodes=100_000)
    error = float(np.std(played.returns)) / np.sqrt(100_000)
    assert abs(float(np.mean(played.returns)) - 1.95232) < 3 * error
    assert played.states.shape == (100_000, 4)


def test_another_human_than_the_one_planned_for():
    game = chefworld.game(LINE[:4], 2)
    humans = [Rational(), EpsilonGreedy(0.2), Boltzmann(5.0)]
    matrix = np.asarray(misspecification(game, planned=humans, met=humans))
    assert matrix.shape == (3, 3)
    # Against each human, nobody does better than the robot that was planned for them.
    assert (matrix <= np.diag(matrix)[None] + 1e-9).all()
    solution = solve(game)
    played = simulate(game, solution, human=humans[1], key=jax.random.key(2), num_steps=2, num_episodes=100_000)
    error = float(np.std(played.returns)) / np.sqrt(100_000)
    assert abs(float(np.mean(played.returns)) - matrix[0, 1]) < 3 * error


def test_bad_simulations_are_refused_by_name():
    game = chefworld.game(LINE[:2], 2)
    solution = solve(game)
    for message, build in (
        ("num_steps is 0", lambda: simulate(game, solution, key=jax.random.key(0), num_steps=0)),
        (
            "num_steps is 3; give a whole number ≥ 1 and ≤ 2",
            lambda: simulate(game, solution, key=jax.random.key(0), num_steps=3),
        ),
        ("num_episodes is 0", lambda: simulate(game, solution, key=jax.random.key(0), num_steps=1, num_episodes=0)),
        ("give it a horizon", lambda: misspecification(chefworld.mini(2), planned=[Rational()], met=[Rational()])),
        ("num_recipes is 0", lambda: chefworld.mini(0)),
    ):
        with pytest.raises(ValueError, match=message):
            build()
