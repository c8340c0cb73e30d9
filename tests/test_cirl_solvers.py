"""Game solvers against enumeration: of joint decisions, of all robot policies, of deviations at every history."""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import oracles_cirl as oracles
import pytest

from cirl import Bounded, Commitment, Exact, Game, Order, SubgameConsistent, evaluate, misspecification, solve
from cirl.exact import solve_plans, solve_subsets
from cirl.games import chefworld, fork
from cirl.human import Boltzmann, EpsilonGreedy, Fixed, Rational

GAMMA = 0.9


@pytest.mark.parametrize("order", list(Order))
def test_subsets_are_the_coordination_pomdp_on_many_random_games(order, x64):
    rng, T = np.random.default_rng(0), 3
    for _ in range(70):
        arrays, game = oracles.random_game(rng, S=2, AH=2, AR=2, Theta=4, T=T, order=order)
        value = oracles.coordination_value(arrays, GAMMA, T, order)
        solution = solve(game, method=Exact())
        assert float(solution.lower) <= value <= float(solution.upper)
        assert float(solution.gap) < 1e-12


@pytest.mark.parametrize("order", list(Order))
def test_the_adapted_backup_is_the_coordination_pomdp_on_many_random_games(order, x64):
    rng = np.random.default_rng(7)
    for i in range(70):
        arrays, game = oracles.random_game(rng, Theta=2 + i % 3, order=order)
        listed = solve_plans(game, Rational(), consistent=False).upper
        assert listed == pytest.approx(oracles.coordination_value(arrays, GAMMA, 2, order), abs=1e-10)


@pytest.mark.parametrize("order", [Order.SIMULTANEOUS, Order.HUMAN_FIRST])
def test_listing_plans_agrees_with_subsets_for_a_rational_human(order, x64):
    rng = np.random.default_rng(1)
    for _ in range(5):
        arrays, game = oracles.random_game(rng, Theta=3, AH=3 if order is Order.SIMULTANEOUS else 2, order=order)
        listed = solve_plans(game, Rational(), consistent=False).upper
        assert listed == pytest.approx(solve_subsets(game, 100).upper, abs=1e-12)
        assert listed == pytest.approx(oracles.coordination_value(arrays, GAMMA, 2, order), abs=1e-10)


HUMANS = [
    (Rational(), ("rational",)),
    (EpsilonGreedy(0.3), ("epsilon", 0.3)),
    (Boltzmann(2.0), ("boltzmann", 2.0)),
]


@pytest.mark.parametrize("order", [Order.SIMULTANEOUS, Order.HUMAN_FIRST])
@pytest.mark.parametrize("human, model", HUMANS, ids=lambda x: str(x))
def test_against_all_robot_policies(human, model, order, x64):
    rng = np.random.default_rng(2)
    differ = False
    for _ in range(2 if order is Order.HUMAN_FIRST else 6):
        S = 1 if order is Order.HUMAN_FIRST else 2
        arrays, game = oracles.random_game(rng, S=S, order=order)
        commitment, consistent = oracles.best_policies(arrays, GAMMA, 2, model, order)
        for concept, expected in ((Commitment(), commitment), (SubgameConsistent(), consistent)):
            solution = solve(game, human=human, concept=concept)
            assert float(solution.lower) - 1e-9 <= expected <= float(solution.upper) + 1e-9
            assert solution.concept == concept
            attained = game.mdp.initial @ (solution.values[solution.robot.start] @ game.prior)
            assert float(attained) == pytest.approx(expected, abs=1e-9)
        differ = differ or abs(commitment - consistent) > 1e-6
    if human.monotone:
        assert not differ


def test_the_fork_tells_the_concepts_apart(x64):
    values = {
        c: float(solve(fork.game(), human=Boltzmann(1.0), concept=c).lower) for c in (Commitment(), SubgameConsistent())
    }
    assert values[Commitment()] == pytest.approx(-0.000454, abs=1e-6)
    assert values[SubgameConsistent()] == pytest.approx(-0.268941, abs=1e-6)
    assert float(solve(fork.game()).lower) == pytest.approx(0, abs=1e-9)


def test_an_endless_game_is_the_limit_of_long_ones(x64):
    arrays, _ = oracles.random_game(np.random.default_rng(3), Theta=3)
    endless = solve(Game.from_dense(*arrays, discount=0.5), tol=1e-8)
    long = solve(Game.from_dense(*arrays, discount=0.5, horizon=60))
    assert bool(endless.converged) and float(endless.gap) <= 1e-8
    assert float(endless.lower) - 1e-8 <= float(long.upper) and float(long.lower) <= float(endless.upper) + 1e-8


def test_bounds_are_valid_when_stopped_early(x64):
    game = chefworld.mini(3)
    early = solve(game, tol=1e-6, max_steps=2)
    assert not bool(early.converged)
    assert float(early.lower) <= 0.9 <= float(early.upper)
    single = solve(chefworld.mini(3))
    assert single.values.shape == (len(single.robot.state), 3)


def test_bounds_hold_in_float32():
    solution = solve(chefworld.game(chefworld.THREE, 3, prior=[0.5, 0.25, 0.25]))
    assert float(solution.lower) <= 0.2025 <= float(solution.upper)
    assert bool(solution.converged)


def test_the_policy_graph_is_a_graph_and_a_memory(x64):
    game = chefworld.game(chefworld.THREE, 5, prior=[0.5, 0.25, 0.25])
    robot = solve(game).robot
    graph = robot.to_networkx()
    assert len(graph) == len(robot.state)
    np.testing.assert_allclose(np.asarray(robot.belief).sum(axis=1), 1)

    @jax.jit
    def follow(human_action):
        memory = robot.initial(0)
        action = robot.action(memory)
        chance = game.probability[0, human_action, action]
        ahead = game.mdp.next_state[0, jnp.argmax(chance)]
        return action, robot.update(memory, human_action, ahead), ahead

    action, memory, ahead = follow(0)
    assert int(robot.state[memory]) == int(ahead)
    edges = [d for _, d in graph.out_edges(int(robot.start[0]))]
    assert int(memory) in edges and graph.nodes[int(robot.start[0])]["action"][0] == int(action)


def test_a_belief_after_the_impossible_stays(x64):
    game = chefworld.mini(2)
    solution = solve(game)
    start = int(solution.robot.start[0])
    never = int(np.flatnonzero(np.asarray(solution.human_policy)[start].sum(axis=0) == 0)[0])
    slot = int(jnp.argmax(game.probability[0, never, solution.robot.decision[start, never]]))
    child = int(solution.robot.child[start, never, slot])
    np.testing.assert_allclose(solution.robot.belief[child], solution.robot.belief[start])


def test_evaluate_matches_a_hand_written_sum(x64):
    arrays, game = oracles.random_game(np.random.default_rng(5), T=1)
    solution = solve(game, human=Boltzmann(1.5))
    values, play, _ = evaluate(game, solution.robot, Boltzmann(1.5), sweeps=1)
    node = int(solution.robot.start[1])
    q = arrays[1][1, :, int(solution.robot.decision[node, 0]), 0]
    pi = oracles.play(("boltzmann", 1.5), q)
    np.testing.assert_allclose(play[node, 0], pi, atol=1e-12)
    np.testing.assert_allclose(values[node, 0], pi @ q, atol=1e-12)


def tied_game(rng, Theta=3, **settings):
    """A game full of ties that rounding may break: payments are tenths, moves certain, round or neither."""
    chance = rng.dirichlet(np.ones(2), size=(2, 2, 2))
    kind = rng.integers(3)
    chance = np.eye(2)[chance.argmax(axis=-1)] if kind == 0 else np.round(chance, 1) if kind == 1 else chance
    reward = 0.1 * rng.integers(-2, 3, size=(2, 2, 2, Theta))
    if rng.random() < 0.3:
        reward[:, 1] = reward[:, 0]
    prior = rng.dirichlet(np.full(Theta, 3.0))
    return Game.from_dense(chance, reward, prior, [1.0, 0.0], order=list(Order)[rng.integers(3)], **settings)


def contradiction(game, solution):
    """The largest difference between what the robot believes at a node and Bayes' rule on the play that is reported."""
    robot = solution.robot
    belief, child = np.asarray(robot.belief, float), np.asarray(robot.child)
    play = np.asarray(solution.human_policy, float)
    wanted = {int(robot.start[0]): np.asarray(game.prior, float)}
    for n, a, d in np.argwhere(child >= 0):
        mass = belief[n] * play[n, :, a]
        wanted[int(child[n, a, d])] = mass / mass.sum() if mass.sum() > 0 else belief[n]
    return max(np.abs(belief[n] - b).max() for n, b in wanted.items())


@pytest.mark.parametrize("human, T", [(Rational(), 3), (EpsilonGreedy(0.25), 2), (Boltzmann(1.5), 2)], ids=str)
def test_what_is_believed_is_bayes_on_the_play_that_is_reported_at_ties_too(human, T, unannotated):
    rng = np.random.default_rng(0)
    for _ in range(30):
        game = tied_game(rng, horizon=T, discount=float(rng.choice([0.9, 1.0])))
        assert contradiction(game, solve(game, human=human, tol=10.0, method=Exact())) < 1e-5


def test_endless_beliefs_are_bayes_too(dtype, unannotated):
    rng = np.random.default_rng(1)
    for _ in range(30):
        game = tied_game(rng, discount=float(rng.choice([0.5, 0.9, 0.999])))
        assert contradiction(game, solve(game, tol=10.0)) < 1e-5


@pytest.mark.parametrize("discount", [0.99, 0.9999, 0.99999])
def test_endless_games_near_a_discount_of_one_close_in_float32(discount):
    """Two θ that want two buttons: shown at once, so worth (γ + 1/2 (1 - γ)) / (1 - γ), in tables of seven digits."""
    stay = np.ones((1, 2, 2, 1))
    agree = np.stack([np.diag([1.0, 0.0]), np.diag([0.0, 1.0])], axis=-1)[None]
    game = Game.from_dense(stay, agree, [0.5, 0.5], [1.0], discount=discount)
    assert game.prior.dtype == np.float32
    exact = 0.5 + discount / (1 - discount)
    found = solve(game, tol=0.01 * exact)
    assert bool(found.converged) and float(found.lower) <= exact <= float(found.upper)
    # The discount of the tables is another, and so is its value: both lie between the bounds, and little else does.
    held = float(np.float32(discount))
    assert float(found.lower) <= 0.5 + held / (1 - held) <= float(found.upper)
    assert float(found.gap) <= (2.5 * abs(held - discount) / (1 - discount) + 1e-6) * exact


def idle(horizon, human_actions=2, robot_actions=2, **settings):
    """One state, and the same payment for whatever is done."""
    shape = 1, human_actions, robot_actions, 1
    return Game.from_dense(np.ones(shape), np.ones(shape), [1.0], [1.0], horizon=horizon, **settings)


@pytest.mark.parametrize("method", [None, Exact(), Bounded()], ids=["by size", "Exact", "Bounded"])
@pytest.mark.parametrize("human, steps", [(Fixed(np.array([[[0.4, 0.6]]])), 24), (EpsilonGreedy(0.3), 18)], ids=str)
def test_nodes_that_are_alike_are_one(human, steps, method):
    """As a tree the graph would have 2²⁴ - 1 nodes, and the solver would never return."""
    found = solve(idle(steps), human=human, method=method)
    assert len(found.robot.state) == steps
    assert float(found.lower) <= steps <= float(found.upper) and bool(found.converged)


def test_what_would_not_finish_goes_to_the_bounded_solver_or_is_refused_with_its_size():
    rng = np.random.default_rng(3)
    arrays, game = oracles.random_game(rng, AH=3, T=4)
    with pytest.raises(
        ValueError, match=r"[0-9,]{7,} plans would have to be listed in state . at step .*at most 400,000"
    ):
        solve(game, human=EpsilonGreedy(0.3), method=Exact())
    found = solve(game, human=EpsilonGreedy(0.3), tol=5.0)
    assert found.history is not None and float(found.lower) < float(found.upper)
    long = Game.from_dense(*arrays, horizon=12)
    with pytest.raises(
        ValueError, match=r"the game has 870,712,934 histories.* at most 50,000"
    ):  # 2 (1 + 6 + ... + 6¹¹)
        solve(long, human=Boltzmann(1.0), concept=SubgameConsistent())


def wide_game():
    """Too many plans for a list, so that a Boltzmann human's bounds stay apart."""
    return oracles.random_game(np.random.default_rng(8), S=2, AH=2, AR=2, T=3)[1]


def test_bounds_that_stay_apart_are_warned_of():
    game, human = wide_game(), Boltzmann(5.0)
    with pytest.warns(
        RuntimeWarning, match=r"Boltzmann\(5.0\): the value lies between .* wider than tol=0.001; the robot"
    ):
        found = solve(game, human=human)
    assert not bool(found.converged) and float(found.gap) > 1e-3
    with pytest.warns(RuntimeWarning, match="the value lies between"):
        table = misspecification(game, planned=[human, Rational()], met=[human, Rational()])
    assert table.converged.tolist() == [False, True]
    np.testing.assert_array_equal(table.lower[0], found.lower)
    np.testing.assert_array_equal(table.upper[0], found.upper)
    assert float(table.lower[0]) <= float(table.value[0, 0]) <= float(table.upper[0])
    with warnings.catch_warnings():  # what was asked for is no news
        warnings.simplefilter("error")
        solve(game, human=human, method=Bounded(max_backups=10))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_never_look_solved(value):
    """A game or a human whose leaves were set behind their constructors' backs."""

    def spoilt(tree):
        return jax.tree.map(lambda x: np.full_like(np.asarray(x, float), value), tree)

    _, game = oracles.random_game(np.random.default_rng(0))
    for name in ("features", "probability", "initial", "discount"):
        mdp = dataclasses.replace(game.mdp, **{name: spoilt(getattr(game.mdp, name))})
        with pytest.raises(ValueError, match=rf"game\.mdp\.{name}"):
            solve(dataclasses.replace(game, mdp=mdp))
    with pytest.raises(ValueError, match=r"game\.prior"):
        solve(dataclasses.replace(game, prior=spoilt(game.prior)))
    for human in (Boltzmann(1.0), EpsilonGreedy(0.1), Fixed(np.full((2, 2, 2), 0.5))):
        with pytest.raises(ValueError, match=f"of {type(human).__name__} is {value}"):
            solve(game, human=spoilt(human))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vague = dataclasses.replace(game, cast_error=spoilt(game.cast_error))
        assert not bool(solve(vague, human=EpsilonGreedy(0.1)).converged)


def test_actions_that_do_not_exist_are_not_supported_yet():
    (P, r, prior, initial), game = oracles.random_game(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"reward is -inf at index .*not.* yet"):
        Game.from_dense(P, np.where(r == r.max(), -np.inf, r), prior, initial, horizon=2)
    some = np.ones((2, 4), bool)
    some[0, 0] = False
    with pytest.raises(ValueError, match="do not exist in some states, which games do not support yet"):
        solve(dataclasses.replace(game, mdp=game.mdp.replace(available=some)))


def bad_inputs():
    (P, r, prior, initial), game = oracles.random_game(np.random.default_rng(0))

    def build(P=P, r=r, prior=prior, initial=initial, **settings):
        return Game.from_dense(P, r, prior, initial, **{"horizon": 2} | settings)

    yield "prior sums to 0.8", lambda: build(prior=[0.4, 0.4])
    yield "prior of θ 1 is zero", lambda: build(prior=[1.0, 0.0])
    yield "prior has shape", lambda: build(prior=[1.0])
    yield r"reward has shape .* S=2, A_H=2, A_R=2", lambda: build(r=r[:, :1])
    yield r"transition has shape .* \[S, A_H, A_R, S'\]", lambda: build(P=P[0])
    yield "transition of state 0 of human action 0 of robot action 0 sums", lambda: build(P=P * 0.5)
    yield "reward is nan", lambda: build(r=np.where(r > 0, np.nan, r))
    yield "initial", lambda: build(initial=[0.5, 0.1])
    yield "horizon is 0", lambda: build(horizon=0)
    yield "discount is 1.0 without a horizon", lambda: build(horizon=None, discount=1.0)
    yield "order is 'first'", lambda: build(order="first")
    yield "concept is 'best'", lambda: solve(game, concept="best")
    yield "tol is 0", lambda: solve(game, tol=0)
    yield "beta is -1", lambda: Boltzmann(-1.0)
    yield "epsilon is 2", lambda: EpsilonGreedy(2.0)
    yield "sums to 0.5", lambda: Fixed(np.full((2, 2, 2), 0.25))
    yield "table has shape", lambda: Fixed(np.ones(2))
    yield "human's policy has shape", lambda: solve(game, human=Fixed(np.full((3, 2, 2), 0.5)))
    yield "needs a horizon", lambda: solve(build(horizon=None, discount=0.9), human=Boltzmann(1.0))
    yield "plans would have to be listed", lambda: solve(build(horizon=6), human=Boltzmann(1.0), method=Exact())


def test_bad_games_and_humans_are_refused_by_name():
    for message, build in bad_inputs():
        with pytest.raises(ValueError, match=message):
            build()
    with pytest.raises(ValueError, match="the human moves first"):
        game = oracles.random_game(np.random.default_rng(0), order=Order.HUMAN_FIRST)[1]
        solve(game).robot.action(0)
