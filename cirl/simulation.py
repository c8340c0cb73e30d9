"""Play a solved game: many episodes in one batch, with the human planned for or with another."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from cirl.controller import PolicyGraph, evaluate
from cirl.game import Game
from cirl.human import Human, fitted
from cirl.solvers import GameSolution, solve


class Episodes(NamedTuple):
    """What happened in `E` episodes of `T` steps.

    Attributes:
        theta: the reward that was meant, `[E]`.
        states: the states, `[E, T]`.
        human_actions: `[E, T]`.
        robot_actions: `[E, T]`.
        returns: realised discounted return, `[E]`.
    """

    theta: Int[Array, " E"]
    states: Int[Array, " E T"]
    human_actions: Int[Array, " E T"]
    robot_actions: Int[Array, " E T"]
    returns: Float[Array, " E"]


def simulate(
    game: Game,
    solution: GameSolution,
    *,
    human: Human | None = None,
    key: Key[Array, ""],
    num_steps: int,
    num_episodes: int = 1,
) -> Episodes:
    """Play a solution with a human, in one batch.

    The human knows the robot's policy and plans with it (an adapted human); a human other than the
    one the robot was solved for shows what misjudging people costs.

    Args:
        game: the game.
        solution: what `solve` returned.
        human: the human met; None: the one planned for.
        key: a `jax.random.key`.
        num_steps: steps played (static); at most the horizon.
        num_episodes: E (static).

    Returns:
        `Episodes`; θ is drawn from the prior in each.

    Raises:
        ValueError: for more steps than the horizon, or fewer than one.
    """
    T = game.mdp.horizon
    if num_steps < 1 or (T is not None and num_steps > T):
        raise ValueError(
            f"num_steps is {num_steps}; play at least 1 step" + ("." if T is None else f" and at most {T}.")
        )
    if num_episodes < 1:
        raise ValueError(f"num_episodes is {num_episodes}; play at least one.")
    play = _play_of(game, solution, human)
    return _simulate(game, solution.robot, play, key, num_steps, num_episodes)


def misspecification(
    game: Game, *, planned: Sequence[Human], met: Sequence[Human], tol: float = 1e-3
) -> Float[Array, " P M"]:
    """Value at the prior of robots planned for some humans when they meet others, `[P, M]` (rows: planned for).

    Every human met knows the robot's policy and plays it as their model says.

    Args:
        game: the game, with a horizon.
        planned: the humans that the robots are solved for.
        met: the humans that they meet.
        tol: gap allowed, in units of reward.

    Raises:
        ValueError: without a horizon.
    """
    T = game.mdp.horizon
    if T is None:
        raise ValueError("the game is endless; give it a horizon to compare humans exactly.")
    known = [fitted(h, game) for h in met]
    rows = []
    for human in planned:
        robot = solve(game, human=human, tol=tol).robot
        at_start = [evaluate(game, robot, h, sweeps=T)[0][robot.start] @ game.prior for h in known]
        rows.append(jnp.stack([game.mdp.initial @ v for v in at_start]))
    return jnp.stack(rows)


def _play_of(game: Game, solution: GameSolution, human: Human | None) -> Float[Array, " N Theta AH"]:
    if human is None:
        return solution.human_policy
    T = game.mdp.horizon
    sweeps = T if T is not None else 1000
    return evaluate(game, solution.robot, fitted(human, game), sweeps=sweeps)[1]


@functools.partial(jax.jit, static_argnames=("num_steps", "num_episodes"))
def _simulate(game: Game, robot: PolicyGraph, play, key, num_steps: int, num_episodes: int) -> Episodes:
    # One draw of uniform numbers a step and all the rest by counting: compiles much faster than a draw per choice.
    for_start, key = jax.random.split(key)
    first = jax.random.uniform(for_start, (2, num_episodes), game.prior.dtype)
    theta = jax.vmap(_drawn, (0, None))(first[0], game.prior)
    state = jax.vmap(_drawn, (0, None))(first[1], game.mdp.initial)

    def step(carry, key):
        state, memory, total, weight = carry
        over, node = memory < 0, jnp.maximum(memory, 0)
        for_human, for_move = jax.random.uniform(key, (2, num_episodes), total.dtype)
        human_action = jax.vmap(_drawn)(for_human, play[node, theta])
        robot_action = robot.decision[node, human_action]
        slot = jax.vmap(_drawn)(for_move, game.probability[state, human_action, robot_action])
        paid = jnp.where(over, 0, game.reward[state, human_action, robot_action, theta])
        after = jnp.where(over, memory, robot.child[node, human_action, slot])
        happened = state, human_action, robot_action
        return (game.mdp.next_state[state, slot], after, total + weight * paid, weight * game.mdp.discount), happened

    nothing = jnp.zeros(num_episodes, game.prior.dtype)
    carry = (state, robot.start[state], nothing, jnp.ones((), game.prior.dtype))
    (_, _, total, _), happened = jax.lax.scan(step, carry, jax.random.split(key, num_steps))
    states, humans, robots = (x.T for x in happened)  # [E, T]
    return Episodes(theta, states, humans, robots, total)


def _drawn(uniform: Float[Array, ""], p: Float[Array, " n"]) -> Int[Array, ""]:
    """A draw from `p`; what has probability zero is never drawn."""
    upto = jnp.cumsum(p)
    return jnp.sum(uniform * upto[-1] >= upto, dtype=jnp.int32)
