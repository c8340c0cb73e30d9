"""The bounded solver: its bounds hold the exact value, on random games and on the games of references C."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracles_cirl as oracles
import pytest

from cirl import (
    Bounded,
    Exact,
    Game,
    Order,
    SubgameConsistent,
    coordination_pomdp,
    evaluate,
    simulate,
    simulation,
    solve,
)
from cirl.bounded import HeuristicSearch, _search
from cirl.bounded._backup import backup
from cirl.exact import best_replies, solve_plans, solve_subsets
from cirl.games import apprenticeship, chefworld, fork, meal_choice, red_blue, tiger, wormy_apples
from cirl.human import Boltzmann, EpsilonGreedy, Fixed, Rational

SPREAD = ((3, 3, 2), (3, 2, 3), (2, 3, 3), (4, 4, 0), (4, 0, 4), (0, 4, 4))
LINE = ((4, 0, 0), (3, 1, 0), (2, 2, 0), (1, 3, 0), (0, 4, 0))


def closed(game, human=None, tol=1e-6, **settings):
    """A search that has met its tolerance."""
    human = Rational() if human is None else human
    search = HeuristicSearch(game, human.fit(game) if isinstance(human, Fixed) else human, Bounded(**settings))
    search.run(tol)
    assert search.upper() - search.lower() <= tol
    return search


def people(kind, rng):
    if kind == "rational":
        return Rational()
    if kind == "epsilon":
        return EpsilonGreedy(rng.uniform(0.05, 0.6))
    return Fixed(rng.dirichlet(np.ones(2), size=(2, 3)))


def attained(game, nodes, human):
    """What a robot is worth at the prior, by itself."""
    robot = nodes.graph(game, np.zeros((len(nodes.state), game.num_thetas)))
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
            exact = solve_subsets(game, 100).upper
        else:
            exact = solve_plans(game, human, consistent=False).upper
        search = HeuristicSearch(game, human, Bounded())
        search.run(1e-7)
        for _, _, lower, upper in search.history:
            assert lower - 1e-12 <= exact <= upper + 1e-12
        assert search.upper() - search.lower() <= 1e-7
        if i < 2:
            assert attained(game, search.nodes(), human) == pytest.approx(search.lower(), abs=1e-12)


@pytest.mark.parametrize("order", [Order.SIMULTANEOUS, Order.HUMAN_FIRST])
def test_bounds_hold_the_value_of_endless_games(order, x64):
    rng = np.random.default_rng(1)
    for i in range(10):
        _, game = oracles.random_game(rng, Theta=3, T=None, order=order, discount=0.7)
        value = solve_subsets(game, 1000).upper
        search = HeuristicSearch(game, Rational(), Bounded())
        search.run(1e-5)
        for _, _, lower, upper in search.history:
            assert lower - 1e-12 <= value <= upper + 1e-12
        assert search.upper() - search.lower() <= 1e-5
        if i < 1:
            assert attained(game, search.nodes(), Rational()) >= search.lower() - 1e-9


@pytest.mark.parametrize("count, order", [(2, Order.HUMAN_FIRST), (4, Order.SIMULTANEOUS)])
def test_bounds_hold_the_value_whatever_the_number_of_rewards(count, order, x64):
    rng = np.random.default_rng(2)
    for _ in range(20):
        _, game = oracles.random_game(rng, Theta=count, T=3, order=order)
        exact = solve_subsets(game, 100).upper
        search = closed(game)
        for _, _, lower, upper in search.history:
            assert lower - 1e-12 <= exact <= upper + 1e-12
        # A rational human is worth no less than one who sometimes errs.
        slips = HeuristicSearch(game, EpsilonGreedy(0.2), Bounded(max_backups=6))
        slips.run(1e-6)
        assert slips.lower() <= exact + 1e-12


@pytest.mark.parametrize("order", [Order.SIMULTANEOUS, Order.HUMAN_FIRST])
def test_an_independent_pomdp_solver_agrees(order, x64):
    rng = np.random.default_rng(3)
    for _ in range(2):
        (*tables, prior, _), _ = oracles.random_game(rng, Theta=2, T=3, order=order)
        game = Game.from_dense(*tables, prior, [1.0, 0.0], discount=0.9, horizon=3, order=order)
        value = oracles.pomdp_value(coordination_pomdp(game), 3)
        search = closed(game, tol=1e-8)
        assert search.lower() - 1e-8 <= value <= search.upper() + 1e-8


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
def test_bounds_hold_the_published_value_of_chefworld(recipes, horizon, prior, expected, x64):
    search = closed(chefworld.game(recipes, horizon, prior=prior))
    assert search.lower() - 1e-12 <= expected <= search.upper() + 1e-12


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
def test_bounds_hold_the_published_value_of_mini_chefworld(count, x64):
    search = closed(chefworld.mini(count))
    assert search.lower() - 1e-9 <= 0.9 <= search.upper() + 1e-9


def test_games_with_a_fixed_human(x64):
    for game, table, expected in (
        (red_blue.game(), red_blue.human(), 1.71),
        (wormy_apples.game(0.99), wormy_apples.human(), 1.95232),
        (wormy_apples.game(0.99), wormy_apples.human(only_at_start=True), 1.85628),
        (wormy_apples.game(0.9), wormy_apples.human(), 1.7136),
        (wormy_apples.game(0.9), wormy_apples.human(only_at_start=True), 1.584),
        (meal_choice.game(), meal_choice.human(), 1.80495),
    ):
        search = closed(game, Fixed(table))
        assert search.lower() - 5e-6 <= expected <= search.upper() + 5e-6  # the figures are rounded


def test_bounds_hold_the_interval_of_another_solver_for_the_tiger(x64):
    """What `tiger` explains: the interval that another solver gives holds the value, and so does a narrower one."""
    human = Fixed(tiger.human())
    for low, high in ((19.3711, 19.3721), (19.37136, 19.37138)):
        assert closed(tiger.game(low), human).lower() >= low
        assert closed(tiger.game(high), human).upper() <= high


def test_an_endless_game_with_a_human_who_errs(x64):
    """Between the values of long finite games and what they may miss."""
    arrays, _ = oracles.random_game(np.random.default_rng(4), Theta=2, T=2)
    search = closed(Game.from_dense(*arrays, discount=0.3), EpsilonGreedy(0.3), tol=1e-5)
    short = Game.from_dense(*arrays, discount=0.3, horizon=6)
    missed = 0.3**6 / 0.7 * float(jnp.max(jnp.abs(short.reward)))
    long = closed(short, EpsilonGreedy(0.3), tol=1e-5)
    assert long.lower() - missed <= search.upper() and search.lower() <= long.upper() + missed
    assert missed < 5e-3


def test_the_fork_has_no_stagewise_bound(x64):
    """A threat keeps a noisy human away; a softmax of what is best at each stage would promise less than that pays."""
    search = closed(fork.game(), Boltzmann(1.0), tol=1e-3)
    stagewise = np.exp(-1.0) / (1 + np.exp(-1.0)) * -1
    assert search.lower() == pytest.approx(-0.000454, abs=1e-6)
    assert search.lower() > stagewise + 0.2
    assert search.upper() == pytest.approx(0, abs=1e-9)  # the rational human's value
    found = best_replies(fork.game(), Boltzmann(1.0))
    assert found.residual == 0 and attained(fork.game(), found.nodes, Boltzmann(1.0)) == pytest.approx(
        -0.268941, abs=1e-6
    )


def test_without_a_bound_of_its_own_the_gap_stays_open(x64):
    _, game = oracles.random_game(np.random.default_rng(8))
    settings = {"human": Boltzmann(1.0), "concept": SubgameConsistent()}
    found = solve(game, **settings, method=Bounded(max_backups=30))
    exact = solve_plans(game, settings["human"], consistent=True).upper
    rational = solve_subsets(game, 100).upper
    assert float(found.lower) - 1e-9 <= exact < rational
    assert float(found.upper) == pytest.approx(rational, abs=1e-3)
    assert not bool(found.converged) and found.concept == SubgameConsistent()


def test_bounds_for_a_boltzmann_human(x64):
    rng = np.random.default_rng(5)
    human, reached = Boltzmann(2.0), {True: 0, False: 0}
    for order in (Order.SIMULTANEOUS, Order.HUMAN_FIRST):
        for _ in range(5):
            _, game = oracles.random_game(rng, S=2 if order is Order.SIMULTANEOUS else 1, order=order)
            commitment = solve_plans(game, human, consistent=False).upper
            search = HeuristicSearch(game, human, Bounded(max_backups=30))
            search.run(1e-6)
            for _, _, lower, upper in search.history:
                assert lower - 1e-12 <= commitment <= upper + 1e-12
            assert attained(game, search.nodes(), human) == pytest.approx(search.lower(), abs=1e-12)
            reached[False] += commitment - search.lower() < 1e-9
            best = solve_plans(game, human, consistent=True).upper
            replies = best_replies(game, human)
            if replies.residual == 0:
                worth = attained(game, replies.nodes, human)
                assert worth <= best + 1e-12
                reached[True] += best - worth < 1e-9
    # Valid always; and often the best there is.
    assert reached[False] >= 3 and reached[True] >= 3


def test_two_runs_are_the_same():
    game = apprenticeship.game(5, 4, lesson=2, work=4)
    runs = [solve(game, method=Bounded(max_backups=40)) for _ in range(2)]
    np.testing.assert_array_equal(runs[0].history, runs[1].history)
    for name in ("state", "step", "decision", "child", "belief"):
        np.testing.assert_array_equal(getattr(runs[0].robot, name), getattr(runs[1].robot, name))


def test_in_float32_too_the_bounds_hold():
    garden = apprenticeship.game(5, 4, lesson=2, work=4)
    exact, found = solve(garden, method=Exact()), solve(garden, method=Bounded())
    assert found.values.dtype == jnp.float32 and bool(found.converged)
    assert float(found.lower) <= float(exact.upper) and float(exact.lower) <= float(found.upper)


def test_games_of_one_shape_compile_once(x64):
    rng, sizes = np.random.default_rng(6), []
    for T in (3, 4, 3):
        _, game = oracles.random_game(rng, Theta=3, T=T)
        HeuristicSearch(game, Rational(), Bounded(max_backups=10)).run(1e-6)
        HeuristicSearch(game, EpsilonGreedy(0.1), Bounded(max_backups=10)).run(1e-6)
        sizes.append(backup._cache_size())
    assert sizes[0] == sizes[-1] > 0


def told_of_slips(game, epsilon):
    """The value for a robot that is told which actions were slips, over subsets of Θ; simultaneous, certain moves."""
    P, R = np.asarray(game.mdp.to_dense(), float), np.asarray(game.reward, float) * np.asarray(game.prior, float)
    S, AH, AR, Theta = R.shape
    ahead = P.reshape(S, AH, AR, S).argmax(-1)

    @functools.cache
    def value(t, s, left):
        if t == game.mdp.horizon or not left:
            return 0.0

        def paid(a, r, some):
            return R[s, a, r, list(some)].sum() + value(t + 1, int(ahead[s, a, r]), some)

        def shared(a, r, some):  # the best division of some θ among the actions from a on
            if a == AH - 1:
                return paid(a, r, some)
            parts = (c for n in range(len(some) + 1) for c in itertools.combinations(sorted(some), n))
            return max(paid(a, r, frozenset(c)) + shared(a + 1, r, some - frozenset(c)) for c in parts)

        slipped = [np.mean([paid(a, r, left) for a in range(AH)]) for r in range(AR)]
        return max((1 - epsilon) * shared(0, r, left) + epsilon * slipped[r] for r in range(AR))

    return value(0, int(np.argmax(game.mdp.initial)), frozenset(range(Theta)))


def test_who_is_told_of_slips_is_worth_more_and_bounds_come_down_to_that(monkeypatch, x64):
    game = apprenticeship.game(4, 3, lesson=2, work=2)
    told = told_of_slips(game, 0.3)
    exact = solve(game, human=EpsilonGreedy(0.3), method=Bounded(), tol=1e-5)
    assert float(exact.upper) < told - 1e-3
    monkeypatch.setattr(_search, "EASY", 0)
    monkeypatch.setattr(_search.Turns, "next", lambda *_: _search.Follow.TOLD)
    search = HeuristicSearch(game, EpsilonGreedy(0.3), Bounded(max_backups=150))
    search.run(1e-5)
    assert float(exact.lower) <= search.upper() <= told + 1e-6
    assert told_of_slips(game, 0.0) == pytest.approx(float(solve(game, method=Exact()).lower), abs=1e-6)


def test_a_second_game_of_the_same_size_compiles_nothing_neither_solved_nor_played():
    """Though their policy graphs differ in size."""
    sizes, compiled = [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        tables = rng.dirichlet(np.ones(5) / 2, (5, 3, 3)), rng.normal(size=(5, 3, 3, 5))
        game = Game.from_dense(*tables, rng.dirichlet(np.ones(5)), rng.dirichlet(np.ones(5)), horizon=5)
        solution = solve(game, human=EpsilonGreedy(0.2), method=Bounded(max_backups=60))
        simulate(game, solution, key=jax.random.key(seed), num_steps=5, num_episodes=10)
        sizes.append(len(solution.robot.state))
        compiled.append((backup._cache_size(), simulation._simulate._cache_size()))
    assert min(sizes) > 128 and len(set(sizes)) > 1
    assert compiled[0] == compiled[1] == compiled[2]


def test_what_the_robot_believes_at_its_nodes(x64):
    game = chefworld.game(chefworld.THREE, 5, prior=[0.5, 0.25, 0.25])
    found = solve(game, method=Bounded())
    belief = np.asarray(found.robot.belief)
    np.testing.assert_allclose(belief.sum(axis=1), 1)
    np.testing.assert_allclose(belief[np.asarray(found.robot.start)[0]], game.prior)
    # With a rational human who plays one action for each θ, what is left is the prior on a subset.
    left = belief > 0
    np.testing.assert_allclose(belief, left * np.asarray(game.prior) / (left @ np.asarray(game.prior))[:, None])


def test_games_too_large_for_the_exact_solvers_go_to_the_bounded_one():
    garden = apprenticeship.game(5, 4, lesson=2, work=4)
    assert solve(garden).history is None
    slips = solve(garden, human=EpsilonGreedy(0.1), tol=0.5)  # no subsets, and too many plans
    assert slips.history is not None and slips.history.shape[1] == 3
    assert float(slips.lower) <= float(slips.upper)
    assert float(slips.lower) < float(solve(garden).upper)


def test_bad_settings_are_refused_by_name():
    game = chefworld.mini(2)
    for message, build in (
        ("max_backups is 0", lambda: Bounded(max_backups=0)),
        ("batch is 0", lambda: Bounded(batch=0)),
        ("width is 0", lambda: Bounded(width=0)),
        ("max_seconds is -1", lambda: Bounded(max_seconds=-1)),
        ("method is 'bounded'", lambda: solve(game, method="bounded")),
        ("needs a horizon", lambda: solve(game, human=Boltzmann(1.0), method=Bounded())),
        ("use Bounded", lambda: solve(game, human=EpsilonGreedy(0.1), method=Exact())),
        ("num_spots is 10", lambda: apprenticeship.game(3, 10)),
        ("lesson is 0", lambda: apprenticeship.game(3, 2, lesson=0)),
    ):
        with pytest.raises(ValueError, match=message):
            build()
    # A limit in seconds stops too, and the bounds are valid.
    garden = apprenticeship.game(5, 4, lesson=2, work=4)
    hurried, exact = solve(garden, method=Bounded(max_seconds=1e-9)), solve(garden, method=Exact())
    assert float(hurried.lower) <= float(exact.upper) and float(exact.lower) <= float(hurried.upper)
