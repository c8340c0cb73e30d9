"""Literal and pedagogic humans against hand-made games and enumeration (Fisac et al. 2017)."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles_cirl import random_game

from cirl import Commitment, Game, Order, SubgameConsistent, evaluate, misspecification, simulate, solve
from cirl.games import chefworld, paperclips
from cirl.human import Boltzmann, Literal, Pedagogic, Rational
from examples.human_models import signal_game

BETA = 2.0
KITCHEN = ((4, 0, 0), (3, 1, 0), (2, 2, 0), (1, 3, 0), (0, 4, 0))  # references C: 0.72, and 0.54 without updating


def respond(q):
    """π `[Θ, A_H]` from Q `[Θ, A_H]`."""
    p = np.exp(BETA * (q - q.max(axis=1, keepdims=True)))
    return p / p.sum(axis=1, keepdims=True)


def fixed_points(signal, answer, prior):
    """Value of every map from signals to answers that is best at the beliefs to which it leads."""
    found = []
    for replies in itertools.product(range(len(answer)), repeat=len(signal)):
        q = (signal + answer[list(replies)]).T
        play = respond(q)
        belief = prior[:, None] * play  # unnormalised
        worth = answer @ belief  # [A_R, A_H]
        if np.all(worth[list(replies), np.arange(len(signal))] >= worth.max(axis=0) - 1e-9):
            found.append(float(prior @ (play * q).sum(axis=1)))
    return found


def literal_pair(signal, answer, prior):
    """What the literal human and the robot that knows their play are worth."""
    play = respond((signal + answer.max(axis=0)).T)
    belief = prior[:, None] * play
    replies = (answer @ belief).argmax(axis=0)
    return float(prior @ (play * (signal + answer[replies]).T).sum(axis=1))


def test_the_expert_of_paperclips_and_of_the_kitchen():
    game = paperclips.game(cells=92)
    assert abs(float(solve(game, human=Literal()).lower) - 69) < 2e-4  # demonstration by expert, references C
    kitchen = chefworld.game(KITCHEN, 2)
    # An expert who thinks that the robot knows shows too little; a rational human gets 0.72.
    literal, rational = (solve(kitchen, human=h) for h in (Literal(), Rational()))
    assert float(literal.upper) < float(rational.lower) - 0.1


@pytest.mark.parametrize("order", Order)
def test_literal_play_is_that_of_full_information(order):
    (transition, reward, _, _), game = random_game(np.random.default_rng(3), S=3, AR=3, Theta=2, T=3, order=order)
    table, best = np.asarray(Literal(BETA).fit(game).table), np.asarray(Literal().fit(game).table)
    value = np.zeros((3, 2))
    for t in reversed(range(3)):
        q = reward + 0.9 * np.einsum("sabn,nt->sabt", transition, value)
        seen = q if order is Order.ROBOT_FIRST else np.broadcast_to(q.max(axis=2, keepdims=True), q.shape)
        for s, b, th in np.ndindex(3, 3, 2):
            np.testing.assert_allclose(table[t, s, b, th], respond(seen[s, :, b, th][None])[0], atol=1e-5)
            assert best[t, s, b, th, seen[s, :, b, th].argmax()] == 1
        value = q.max(axis=(1, 2))


def test_literal_play_without_end_and_with_ties():
    stay = np.ones((1, 3, 1, 1))
    pay = np.array([1.0, 1.0, 0.0])[None, :, None, None]
    endless = Game.from_dense(stay, pay, [1.0], [1.0], discount=0.5)
    np.testing.assert_allclose(Literal().fit(endless).table[0, 0, 0, 0], [0.5, 0.5, 0])
    # Whoever waits loses 1 once: V* = 2 either way.
    np.testing.assert_allclose(
        Literal(2.0).fit(endless).table[0, 0, 0, 0], respond(np.array([[2.0, 2.0, 1.0]]))[0], rtol=1e-5
    )
    assert float(solve(endless, human=Literal()).lower) == pytest.approx(2.0, abs=2e-3)


def test_fixed_points_of_random_one_signal_games():
    """What is found is a fixed point; which one, and whether the best is worth more than literal play, is counted."""
    rng = np.random.default_rng(11)
    gains = []
    for _ in range(30):
        numbers, game = signal_game(rng)
        every, plain = fixed_points(*numbers), literal_pair(*numbers)
        found = solve(game, human=Pedagogic(BETA))
        assert float(found.residual) == 0
        assert np.min(np.abs(np.array(every) - float(found.lower))) < 2e-5
        assert float(found.lower) <= max(every) + 1e-5 <= float(found.upper) + 2e-5
        literal = solve(game, human=Literal(BETA))
        assert abs(float(literal.lower) - plain) < 2e-5
        best = solve(game, human=Boltzmann(BETA), concept=SubgameConsistent())
        assert abs(float(best.lower) - max(every)) < 2e-5
        gains.append(float(found.lower) - plain)
    assert np.mean(gains) > 0.02  # teaching pays on average


def test_the_residual_is_that_of_play_and_belief():
    """Every node's play from Q, every belief from the play, every decision from the belief, again and by hand."""
    (_, reward, prior, _), game = random_game(np.random.default_rng(5), S=2, T=3, Theta=3)
    chance = np.asarray(game.probability, float)
    solution = solve(game, human=Pedagogic(BETA))
    assert float(solution.residual) == 0
    robot = solution.robot
    state, step, child = (np.asarray(x) for x in (robot.state, robot.step, robot.child))
    action, belief = np.asarray(robot.decision)[:, 0], np.asarray(robot.belief, float)
    value, play = np.zeros((len(state) + 1, 3)), np.zeros((len(state), 3, 2))

    def q_of(n, b):
        ahead = np.einsum("ad,adt->at", chance[state[n], :, b], value[child[n]])
        return (reward[state[n], :, b] + 0.9 * ahead).T  # [Θ, A_H]

    for n in reversed(range(len(state))):
        play[n] = respond(q_of(n, action[n]))
        value[n] = (play[n] * q_of(n, action[n])).sum(axis=1)
        worth = [belief[n] @ (respond(q_of(n, b)) * q_of(n, b)).sum(axis=1) for b in range(2)]
        assert worth[action[n]] >= max(worth) - 1e-6
    np.testing.assert_allclose(solution.human_policy, play, atol=1e-5)
    for n, a, d in np.argwhere(child >= 0):
        mass = belief[n] * play[n, :, a]
        np.testing.assert_allclose(belief[child[n, a, d]], mass / mass.sum(), atol=1e-5)
    np.testing.assert_allclose(belief[step == 0], np.broadcast_to(prior, (2, 3)), atol=1e-6)


def test_a_pedagogic_human_shows_what_a_literal_one_does_not():
    game = chefworld.game(KITCHEN, 2)
    taught, plain = solve(game, human=Pedagogic(5.0)), solve(game, human=Literal(5.0))
    assert float(taught.residual) == 0 and float(taught.lower) > float(plain.upper) + 0.2
    met = np.asarray(misspecification(game, planned=[Literal(5.0), Pedagogic(5.0)], met=[Literal(5.0), Pedagogic(5.0)]))
    assert met[1, 1] == pytest.approx(float(taught.lower), abs=1e-5)
    assert met[0, 0] == pytest.approx(float(plain.lower), abs=2e-3)
    assert met[0, 0] >= met[1, 0] - 1e-6  # nobody is better with a literal human than the robot planned for one


def test_episodes_with_a_literal_human():
    game = chefworld.game(KITCHEN, 2)
    solution = solve(game, human=Literal(5.0))
    run = simulate(game, solution, key=jax.random.key(0), num_steps=2, num_episodes=20_000)
    error = float(jnp.std(run.returns)) / 20_000**0.5
    assert abs(float(run.returns.mean()) - float(solution.lower)) < 3 * error
    again = simulate(game, solution, human=Literal(5.0), key=jax.random.key(0), num_steps=2, num_episodes=20_000)
    assert (run.returns == again.returns).all()
    value, _, _ = evaluate(game, solution.robot, Literal(5.0).fit(game), sweeps=2)
    assert float(value[solution.robot.start[0]] @ game.prior) == pytest.approx(float(solution.lower), abs=1e-5)


def test_models_that_a_concept_or_solver_cannot_take_are_refused():
    game = chefworld.game(KITCHEN, 2)
    with pytest.raises(ValueError, match="SubgameConsistent"):
        solve(game, human=Pedagogic(1.0), concept=Commitment())
    with pytest.raises(ValueError, match="finite and not negative"):
        Literal(-1.0)
    with pytest.raises(ValueError, match="finite and not negative"):
        Pedagogic(float("nan"))
    with pytest.raises(ValueError, match="endless"):
        solve(chefworld.mini(2), human=Pedagogic(1.0))
    with pytest.raises(TypeError, match="fit"):
        Literal().policy(jnp.zeros((1, 2, 2)), jnp.zeros(1, int), jnp.zeros(1, int), jnp.zeros(1, int))
