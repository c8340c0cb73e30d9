"""Play a solved game: many episodes in one batch, with the human planned for or with another."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from cirl.game import Game, Names
from cirl.host_game import HostGame
from cirl.human import Human, check_game, fitted
from cirl.policy_graph import Nodes, PolicyGraph, lengthened, values_of, with_room
from cirl.solvers import GameSolution, solve
from mdps.checks import check_count, check_key, shown
from mdps.pytrees import frozen_pytree
from mdps.tables import held

__all__ = ["Episodes", "MeanReturn", "Misspecification", "misspecification", "simulate"]
__dir__ = __all__.copy


class MeanReturn(NamedTuple):
    """A mean over episodes.

    Attributes:
        value: the mean, in units of reward.
        standard_error: of it, as the episodes differ; infinite after one episode, which tells nothing of that.
    """

    value: Float[Array, ""]
    standard_error: Float[Array, ""]

    def __str__(self) -> str:
        return f"{float(self.value):.4g} ± {float(self.standard_error):.2g}"


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

    @property
    def mean(self) -> MeanReturn:
        """The mean return and its standard error; it estimates what the robot is worth at the prior over so many steps.

        Example:
            >>> told = Episodes(*[jax.numpy.zeros(4, int)] * 4, returns=jax.numpy.array([0.0, 1.0, 1.0, 2.0])).mean
            >>> print(told)
            1 ± 0.41
        """
        E = self.returns.shape[-1]
        spread = (
            jnp.std(self.returns, axis=-1, ddof=1) / E**0.5 if E > 1 else jnp.full(self.returns.shape[:-1], jnp.inf)
        )
        return MeanReturn(jnp.mean(self.returns, axis=-1), spread.astype(self.returns.dtype))


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

    Example:
        >>> import jax
        >>> from cirl.games import chefworld
        >>> game = chefworld.game([(4, 0, 0), (3, 1, 0)], 2)
        >>> played = simulate(game, solve(game), key=jax.random.key(0), num_steps=2, num_episodes=5)
        >>> played.robot_actions.shape, played.returns.shape
        ((5, 2), (5,))
    """
    check_game(game)
    if not isinstance(solution, GameSolution):
        raise ValueError(f"solution is {shown(solution)}; give what cirl.solve returned.")
    check_key(key)
    T = game.mdp.horizon
    check_count("num_steps", num_steps, most=T)
    check_count("num_episodes", num_episodes)
    play = solution.human_policy if human is None else _play_with(game, solution.robot, human)
    # Neither names nor a few nodes more are a reason to compile anew.
    game, robot = replace(game, names=Names()), replace(with_room(solution.robot), names=Names())
    play = lengthened(play, len(robot.state) - len(play), 0.0)
    return _simulate(game, robot, play, key, num_steps, num_episodes)


@frozen_pytree
@dataclass(frozen=True)
class Misspecification:
    """What robots that were planned for some humans are worth when they meet others; an array of `value` to NumPy.

    Attributes:
        value: value at the prior of each robot (rows) with each human met (columns), `[P, M]`.
        lower: with the human that it was planned for the robot attains at least this, `[P]`.
        upper: and no robot attains more with them, `[P]`.
        converged: whether these two are within the tolerance: else a better robot may exist, `[P]`.
        error: how far each value may be off, `[P, M]`: `value - error` and `value + error` are bounds.
    """

    value: Float[Array, " P M"]
    lower: Float[Array, " P"]
    upper: Float[Array, " P"]
    converged: Bool[Array, " P"]
    error: Float[Array, " P M"]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """The values, `[P, M]`."""
        return np.array(self.value, dtype)

    def __getitem__(self, index):
        """The values at an index of `[P, M]`."""
        return self.value[index]


def misspecification(
    game: Game, *, planned: Sequence[Human], met: Sequence[Human], tol: float = 1e-3
) -> Misspecification:
    """Value at the prior of robots planned for some humans when they meet others, `[P, M]` (rows: planned for).

    Every human met knows the robot's policy and plays it as their model says.

    Args:
        game: the game, with a horizon.
        planned: the humans that the robots are solved for.
        met: the humans that they meet.
        tol: gap allowed, in units of reward.

    Returns:
        `Misspecification`.  A robot that is not known to be the best for its human has `converged` false, and `solve`
        warns of it.

    Raises:
        ValueError: without a horizon, or without anybody to plan for or to meet.

    Example:
        >>> from cirl.games import chefworld
        >>> from cirl.human import EpsilonGreedy, Rational
        >>> people = [Rational(), EpsilonGreedy(0.3)]
        >>> table = misspecification(chefworld.game([(4, 0, 0), (3, 1, 0)], 2), planned=people, met=people)
        >>> table.value.shape, table.converged.tolist(), bool((table.value <= table.upper[:, None].T + 1e-6).all())
        ((2, 2), [True, True], True)
    """
    check_game(game)
    if game.mdp.horizon is None:
        raise ValueError("the game is endless; give it a horizon to compare humans exactly.")
    for name, people in (("planned", planned), ("met", met)):
        if isinstance(people, str) or not isinstance(people, Sequence) or not len(people):
            raise ValueError(f"{name} is {shown(people)}; give a list of models of humans.")
    known, g = [fitted(h, game) for h in met], HostGame(game)
    solutions, rows = [solve(game, human=human, tol=tol) for human in planned], []
    for solution in solutions:
        nodes = Nodes.of(solution.robot)
        rows.append([values_of(g, nodes, h).at_start(g, nodes) for h in known])
    value, error = np.moveaxis(np.array(rows, float), -1, 0)
    cast = np.asarray(value, game.prior.dtype)
    error = 1.0001 * (error + np.abs(cast - value)) + np.finfo(cast.dtype).tiny
    return Misspecification(
        held(cast),
        *(held([np.asarray(getattr(s, x)) for s in solutions]) for x in ("lower", "upper", "converged")),
        error=held(error, game.prior.dtype),
    )


def _play_with(game: Game, robot: PolicyGraph, human: Human) -> Float[Array, " N Theta AH"]:
    """How another human plays with a robot."""
    found = values_of(HostGame(game), Nodes.of(robot), fitted(human, game))
    return held(found.play, game.prior.dtype)


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
