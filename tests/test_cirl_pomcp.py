"""Planning by sampling, against exact values: what is played is worth nearly what could be, and never more."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cirl import Game, Order, Pomcp, solve
from cirl.games import chefworld, red_blue, wormy_apples
from cirl.human import Boltzmann, EpsilonGreedy, Fixed

KITCHEN = [(4, 0, 0), (3, 1, 0), (2, 2, 0), (1, 3, 0), (0, 4, 0)]
CASES = {
    "a kitchen that needs showing": (lambda: chefworld.game(KITCHEN, 2), None, 2, 0.72),
    "red and blue": (red_blue.game, Fixed(red_blue.human()), 4, 1.71),
    "wormy apples": (wormy_apples.game, Fixed(wormy_apples.human()), 4, 1.95232),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_played_is_worth_nearly_the_optimum(name):
    make, human, steps, exact = CASES[name]
    robot = Pomcp.plan_for(make(), human=human, num_simulations=300)
    returns = np.asarray(robot.play(key=jax.random.key(0), num_steps=steps, num_episodes=100).returns)
    error = returns.std(ddof=1) / len(returns) ** 0.5
    assert 0.85 * exact - 3 * error < returns.mean() < exact + 3 * error
    if name == "a kitchen that needs showing":  # 0.54 is all that can be had by somebody who learns nothing
        assert returns.mean() - 2 * error > 0.54


def one_step(order, human_actions=2):
    rng = np.random.default_rng(0)
    reward = rng.normal(size=(1, human_actions, 3, 2))
    return reward, Game.from_dense(np.ones((1, human_actions, 3, 1)), reward, [0.3, 0.7], [1.0], horizon=1, order=order)


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize("human", [EpsilonGreedy(0.2), Boltzmann(1.5)], ids=str)
def test_means_of_one_step_converge_to_sums_written_out(order, human):
    """Nothing is uncertain but θ and the human's draw, so means converge to sums that can be written out."""
    reward, game = one_step(order)
    decision = Pomcp.plan_for(game, human=human, num_simulations=4000).initial(0, key=jax.random.key(2)).decision
    zero = jnp.zeros(1, jnp.int32)

    def play(q):  # [Θ, AH]
        return np.asarray(human.policy(jnp.asarray(q)[None], zero, zero, zero)[0])

    prior = np.array([0.3, 0.7])
    if order is Order.HUMAN_FIRST:
        # The human foresees an answer that is best for them; the robot answers by Bayes' rule.
        pi = play(reward[0].max(axis=1).T)
        mass = prior[:, None] * np.asarray(decision.play)
        answers = [int(np.argmax(mass[:, a] @ reward[0, a].T)) for a in range(2)]
        assert decision.action.tolist() == answers
        assert decision.play.shape == pi.shape
        return
    worth = [prior @ np.sum(play(reward[0, :, b].T) * reward[0, :, b].T, axis=1) for b in range(3)]
    best = int(np.argmax(worth))
    assert decision.action.tolist() == [best, best]
    np.testing.assert_allclose(decision.play, play(reward[0, :, best].T), atol=1e-5)
    assert float(decision.value) == pytest.approx(worth[best], abs=4 * np.ptp(reward) / 4000**0.5)
    assert float(decision.visits.sum()) == 4000


def test_beliefs_follow_bayes_and_survive_the_impossible():
    _, game = one_step(Order.SIMULTANEOUS)
    robot = Pomcp.plan_for(game, human=EpsilonGreedy(0.2), num_simulations=200)
    memory = robot.initial(0, key=jax.random.key(0))
    after = robot.update(memory, 1, 0)
    expected = np.array([0.3, 0.7]) * np.asarray(memory.decision.play)[:, 1]
    np.testing.assert_allclose(after.belief, expected / expected.sum(), rtol=1e-6)
    assert int(after.step) == 1
    # The same three functions as a solution's robot has, pure, and here the same action.
    exact = solve(game, human=EpsilonGreedy(0.2)).robot
    assert int(robot.action(memory)) == int(exact.action(exact.initial(0)))
    assert jax.tree.structure(after) == jax.tree.structure(memory)
    with pytest.raises(ValueError, match="the human moves first"):
        Pomcp.plan_for(one_step(Order.HUMAN_FIRST)[1]).action(memory)
    impossible = memory.decision._replace(play=jnp.array([[1.0, 0.0], [1.0, 0.0]]))
    np.testing.assert_array_equal(robot.update(memory._replace(decision=impossible), 1, 0).belief, memory.belief)


def test_one_compile_and_the_same_key_the_same_plan():
    robot = Pomcp.plan_for(chefworld.mini(2), num_simulations=20, depth=3)
    traces = []

    @jax.jit
    def plan(robot, state, key):
        traces.append(1)
        return robot.initial(state, key=key).decision

    a, b = (plan(robot, s, jax.random.key(3)) for s in (0, 0))
    plan(robot, 1, jax.random.key(4))
    assert len(traces) == 1
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_bad_settings_are_refused_by_name():
    game = chefworld.mini(2)
    for settings, told in (
        ({"num_simulations": 0}, "num_simulations is 0"),
        ({"depth": 2.5}, "depth is 2.5"),
        ({"exploration": -1.0}, "exploration is -1.0"),
        ({"human": Fixed(np.full((3, 2, 2), 0.5))}, "the human's policy has shape"),
    ):
        with pytest.raises(ValueError, match=told):
            Pomcp.plan_for(game, **settings)
    robot = Pomcp.plan_for(chefworld.game(KITCHEN, 2), num_simulations=5)
    with pytest.raises(ValueError, match="num_steps is 3; give a whole number ≥ 1 and ≤ 2"):
        robot.play(key=jax.random.key(0), num_steps=3)
    with pytest.raises(ValueError, match="give one random key"):
        robot.initial(0, key=1)
