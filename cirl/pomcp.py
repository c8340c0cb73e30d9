"""Planning at the root by sampling, for games too large for bounds: POMCP with the human's own statistics.

Silver and Veness (2010), with the adapted tree of Malik et al. (2018): one tree over histories, in
which the robot's actions are judged by returns averaged over everybody it may be playing with, and the
human's by returns that each θ sees for itself.  The human in the tree plays by their model on those,
so what they do changes as the tree learns what the robot will make of it.  Nothing is certified.
"""

import functools
import math
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from cirl.bounded import values_with_full_information
from cirl.game import Game, Order
from cirl.human import EpsilonGreedy, Fixed, Human, Rational, check_game, fitted
from cirl.simulation import Episodes
from cirl.successors import Successors
from mdps.checks import check_count, check_index, check_key, check_number, shown
from mdps.pytrees import frozen_pytree
from mdps.tables import held

__all__ = ["Decision", "Memory", "Pomcp"]
__dir__ = __all__.copy


class Decision(NamedTuple):
    """What a search found.

    Attributes:
        action: the robot's action for each human action, `[A_H]`; constant unless the human moves first.
        play: the human's policy that the tree expects here, `[Θ, A_H]`.
        value: mean return of the robot's action over the belief, in units of reward; an estimate.
        visits: how often each action was tried, `[A_H or 1, A_R]`.
    """

    action: Int[Array, " AH"]
    play: Float[Array, " Theta AH"]
    value: Float[Array, ""]
    visits: Float[Array, " C AR"]


class Memory(NamedTuple):
    """What the robot remembers.

    Attributes:
        belief: probability of each θ, `[Θ]`.
        state: the state.
        step: the time.
        decision: what the search from here found.
        key: for the searches to come.
    """

    belief: Float[Array, " Theta"]
    state: Int[Array, ""]
    step: Int[Array, ""]
    decision: Decision
    key: Key[Array, ""]


class _Tree(NamedTuple):
    """Histories in the order in which they were added; the last row is where nothing is meant to be written.

    C is A_H where the human moves first, else 1; B is A_R or 1.  What is read and written together is one
    array, and is read once before it is written: XLA then updates it in place, else it would copy the tree.
    """

    child: Array  # [N + 1, A_R, A_H, E], -1 where there is none yet
    # [N + 1, C, A_R, 2] how often the robot's actions were tried, and their mean return
    robot: Array
    # [N + 1, B, Θ, A_H, 2] the same of the human's by what θ saw: from full information, which counts once
    human: Array
    size: Array


@frozen_pytree
@dataclass(frozen=True)
class Pomcp:
    """A robot that plans anew at every step; build one with `Pomcp.plan_for`.

    Attributes:
        game: the game.
        human: the model of the human.
        ahead: full-information values from each time on, `[T + 1, S, Θ]` (endless: `[1, S, Θ]`): where a
            simulation leaves the tree it is credited with these.
        moves: the game's successor lists.
        exploration: weight of the UCB1 bonus, in units of return.
        num_simulations: simulations of a search (static).
        depth: longest simulation (static).
    """

    game: Game
    human: Human
    ahead: Float[Array, " U S Theta"]
    moves: Successors
    exploration: Float[Array, ""]
    num_simulations: int = field(metadata={"static": True})
    depth: int = field(metadata={"static": True})

    @staticmethod
    def plan_for(
        game: Game,
        *,
        human: Human | None = None,
        num_simulations: int = 2000,
        exploration: float | None = None,
        depth: int | None = None,
    ) -> "Pomcp":
        """Prepare a robot for a game.

        Args:
            game: the game.
            human: the model of the human; None: `Rational()`.
            num_simulations: simulations of each search.
            exploration: weight of the UCB1 bonus; None: the width of what full information could pay.
            depth: longest simulation in steps; None: the horizon, or until discounting leaves a hundredth.

        Raises:
            ValueError: for numbers that are not positive, or a human policy that does not fit the game.

        Example:
            >>> from cirl.games import chefworld
            >>> robot = Pomcp.plan_for(chefworld.mini(2), num_simulations=200)
            >>> memory = robot.initial(0, key=jax.random.key(0))
            >>> memory.decision.play.shape, int(robot.action(memory)) < 4
            ((2, 4), True)
        """
        check_game(game)
        model = fitted(Rational() if human is None else human, game)
        check_count("num_simulations", num_simulations)
        if depth is not None:
            check_count("depth", depth)
        if exploration is not None:
            cure = "give a positive number, in units of return."
            check_number("exploration", exploration, lambda x: 0 < x < math.inf, cure)
        T = game.mdp.horizon
        if depth is None:
            # A discount of 0 looks one step ahead.
            gamma = min(max(float(game.mdp.discount), 1e-9), 1 - 1e-9)
            depth = T if T is not None else max(1, math.ceil(math.log(0.01) / math.log(gamma)))
        # Whoever the human is, a rational one would be worth as much to them: where the tree starts is from above.
        ahead = values_with_full_information(game, model if isinstance(model, Fixed) else EpsilonGreedy(0.0))
        spread, dtype = float(np.ptp(ahead)), game.prior.dtype
        usual = spread if spread > 0 else 1.0
        weight = held(usual if exploration is None else exploration, dtype)
        return Pomcp(game, model, held(ahead, dtype), Successors.of(game), weight, num_simulations, depth)

    def initial(self, state: Int[Array, ""] | int, *, key: Key[Array, ""]) -> Memory:
        """The memory with which a run from `state` begins, after a first search.

        Args:
            state: where.
            key: a `jax.random.key`; all searches of the run draw from it.
        """
        check_key(key)
        check_index("state", state, self.game.mdp.num_states, "states")
        return _with_decision(self, self.game.prior, jnp.asarray(state, jnp.int32), jnp.zeros((), jnp.int32), key)

    def action(self, memory: Memory, human_action: Int[Array, ""] | int | None = None) -> Int[Array, ""]:
        """The robot's action; `human_action` is needed where the human moves first.

        Raises:
            ValueError: when it is needed and missing.
        """
        _check_memory(memory)
        if human_action is None:
            if self.game.order is Order.HUMAN_FIRST:
                raise ValueError("the human moves first in this game; give the human's action.")
            human_action = 0
        check_index("human_action", human_action, self.game.num_human_actions, "human actions")
        return memory.decision.action[human_action]

    def update(self, memory: Memory, human_action: Int[Array, ""] | int, next_state: Int[Array, ""] | int) -> Memory:
        """The memory after the human's action and the state it led to: Bayes' rule, and a new search.

        The human's action is judged by the play that the last search expected.  After an action of
        probability zero the belief stays what it was.
        """
        _check_memory(memory)
        check_index("human_action", human_action, self.game.num_human_actions, "human actions")
        check_index("next_state", next_state, self.game.mdp.num_states, "states")
        belief = _learnt(memory.belief, memory.decision, human_action)
        return _with_decision(self, belief, jnp.asarray(next_state, jnp.int32), memory.step + 1, memory.key)

    def play(self, *, key: Key[Array, ""], num_steps: int, num_episodes: int = 1) -> Episodes:
        """Play with a human who knows what the tree expects of both, in one batch.

        Args:
            key: a `jax.random.key`.
            num_steps: steps played (static); at most the horizon.
            num_episodes: E (static).

        Raises:
            ValueError: for more steps than the horizon, or fewer than one.
        """
        check_key(key)
        check_count("num_steps", num_steps, most=self.game.mdp.horizon)
        check_count("num_episodes", num_episodes)
        return _play_episodes(self, key, num_steps, num_episodes)


def _check_memory(memory) -> None:
    if not isinstance(memory, Memory):
        raise ValueError(f"memory is {shown(memory)}; give what `initial` or `update` returned.")


@jax.jit
def _with_decision(robot: Pomcp, belief, state, step, key) -> Memory:
    """A memory with a decision found from here."""
    now, later = jax.random.split(key)
    return Memory(belief, state, step, _search(robot, belief, state, step, now), later)


def _learnt(belief, decision: Decision, human_action) -> Array:
    """Bayes' rule on the play that was expected; after what was impossible, the belief as it was."""
    mass = belief * decision.play[:, human_action]
    total = jnp.sum(mass)
    return jnp.where(total > 0, mass / jnp.where(total > 0, total, 1), belief)


def _search(robot: Pomcp, belief, state, step, key) -> Decision:
    tree = _grow(robot, belief, state, step, key)
    first = robot.game.order is Order.HUMAN_FIRST
    visits, means = jnp.moveaxis(tree.robot[0], -1, 0)  # [C, AR]
    best = jnp.argmax(visits, axis=1)  # [C]; the most tried, which is steadier than the best mean
    action = best if first else jnp.broadcast_to(best[0], (robot.game.num_human_actions,))
    play = _play_of(robot, tree, jnp.zeros((), jnp.int32), state, step, jnp.where(first, 0, best[0]))
    # What the human's play and the robot's answer are worth together.
    worth = jnp.take_along_axis(means, best[:, None], axis=1)[:, 0]
    value = jnp.sum(belief @ play * worth) if first else worth[0]
    return Decision(action.astype(jnp.int32), play, value, visits)


def _grow(robot: Pomcp, belief, state, when, key) -> _Tree:
    """The tree of histories after all simulations: in each θ is drawn, a path followed, and its return credited."""
    game = robot.game
    AH, AR, Theta, E = game.num_human_actions, game.num_robot_actions, game.num_thetas, robot.moves.state.shape[-1]
    N, dtype = robot.num_simulations + 1, game.prior.dtype
    first = game.order is Order.HUMAN_FIRST
    empty = _Tree(
        child=jnp.full((N + 1, AR, AH, E), -1, jnp.int32),
        robot=jnp.zeros((N + 1, AH if first else 1, AR, 2), dtype),
        human=jnp.ones((N + 1, 1 if first else AR, Theta, AH, 2), dtype),
        size=jnp.ones((), jnp.int32),
    )
    log_belief = jnp.log(belief)

    def simulate(tree, key):
        for_theta, for_steps = jax.random.split(key)
        theta = jax.random.categorical(for_theta, log_belief)
        tree, leaf, path = _descend(robot, tree, state, when, theta, for_steps)
        return _credit(robot, tree, theta, leaf, path), None

    return jax.lax.scan(simulate, _add(robot, empty, state, when, 0), jax.random.split(key, robot.num_simulations))[0]


class _Path(NamedTuple):
    """What one simulation did at each depth, `[depth]` each; beyond its end the node is no node."""

    node: Array
    action: Array
    human: Array
    paid: Array


def _nowhere(robot: Pomcp) -> Array:
    """The row of the tree that is no node: steps beyond the end of a simulation write there."""
    return jnp.asarray(robot.num_simulations + 1, jnp.int32)


def _descend(robot: Pomcp, tree: _Tree, state, when, theta, key) -> tuple[_Tree, Array, _Path]:
    """Follow the tree until a history that is new, which is added; what full information is worth there; the path.

    A loop that stopped at the end of the simulation would copy the tree in a batch.
    """
    horizon, nowhere = robot.game.mdp.horizon, _nowhere(robot)

    def step(carry, at):
        tree, node, state, leaf = carry
        depth, key = at
        alive, later = node < nowhere, when + depth + 1
        action, human, key = _select(robot, tree, node, state, when + depth, theta, key)
        slot = jax.random.categorical(key, jnp.log(robot.moves.chance[state, human, action]))
        ahead = robot.moves.state[state, human, action, slot]
        over = jnp.asarray(horizon is not None) & (later >= (horizon or 0))
        tree, after, fresh = _expand(robot, tree, (node, action, human, slot), ahead, later, alive=alive, over=over)
        leaf = jnp.where(alive, jnp.where(over, 0, robot.ahead[_when(robot, later), ahead, theta]), leaf)
        done = _Path(node, action, human, robot.game.reward[state, human, action, theta])
        return (tree, jnp.where(fresh, nowhere, after), ahead, leaf), done

    start = (tree, jnp.zeros((), jnp.int32), state, jnp.zeros((), robot.game.prior.dtype))
    steps = jnp.arange(robot.depth, dtype=jnp.int32), jax.random.split(key, robot.depth)
    (tree, *_, leaf), path = jax.lax.scan(step, start, steps)
    return tree, leaf, path


def _select(robot: Pomcp, tree: _Tree, node, state, when, theta, key):
    """The robot's action by UCB1 and the human's by their policy, in the game's order; and a key for the move."""
    for_human, for_move = jax.random.split(key)
    if robot.game.order is Order.HUMAN_FIRST:
        play = _play_of(robot, tree, node, state, when, jnp.zeros((), jnp.int32))[theta]
        human = jax.random.categorical(for_human, jnp.log(play))
        return _try(robot, tree, node, human), human, for_move
    action = _try(robot, tree, node, 0)
    play = _play_of(robot, tree, node, state, when, action)[theta]
    return action, jax.random.categorical(for_human, jnp.log(play)), for_move


def _expand(robot: Pomcp, tree: _Tree, at, ahead, later, *, alive, over):
    """The tree with the history after `at`, its row (nowhere past an end), and whether it is new."""
    nowhere, known = _nowhere(robot), tree.child[at]
    child = tree.child.at[at].set(jnp.where((known < 0) & ~over, tree.size, known), mode="promise_in_bounds")
    after = jnp.where(alive & ~over, child[at], nowhere)
    fresh = after == tree.size
    tree = _add(robot, tree._replace(child=child), ahead, later, jnp.where(fresh, after, nowhere))
    return tree._replace(size=tree.size + fresh), after, fresh


def _credit(robot: Pomcp, tree: _Tree, theta, leaf, path: _Path) -> _Tree:
    """The tree with the return of a simulation averaged in along its path, from its end."""
    first, nowhere = robot.game.order is Order.HUMAN_FIRST, _nowhere(robot)

    def credit(carry, at: _Path):
        tree, total = carry
        total = jnp.where(at.node < nowhere, at.paid + robot.game.mdp.discount * total, total)
        own = at.node, at.human if first else 0, at.action
        tried = tree.robot.at[own].set(_averaged(tree.robot[own], total), mode="promise_in_bounds")
        own = at.node, 0 if first else at.action, theta, at.human
        seen = tree.human.at[own].set(_averaged(tree.human[own], total), mode="promise_in_bounds")
        return (tree._replace(robot=tried, human=seen), total), None

    return jax.lax.scan(credit, (tree, leaf), path, reverse=True)[0][0]


def _averaged(pair: Array, total: Array) -> Array:
    """A count and a mean with one more."""
    count = pair[0] + 1
    return jnp.stack([count, pair[1] + (total - pair[1]) / count])


def _add(robot: Pomcp, tree: _Tree, state, step, n) -> _Tree:
    """The tree with a history at row `n`; its human starts from what full information is worth."""
    game = robot.game
    later = robot.ahead[_when(robot, step + 1)]
    chance, ahead = robot.moves.chance[state], robot.moves.state[state]  # [AH, AR, E]
    q = game.reward[state] + game.mdp.discount * jnp.einsum("hre,hret->hrt", chance, later[ahead])  # [AH, AR, Θ]
    own = jnp.moveaxis(q.max(axis=1), -1, 0)[None] if game.order is Order.HUMAN_FIRST else jnp.transpose(q, (1, 2, 0))
    return tree._replace(
        human=tree.human.at[n].set(jnp.stack([jnp.ones_like(own), own], axis=-1), mode="promise_in_bounds"),
    )


def _when(robot: Pomcp, step):
    """Where the values of a step stand; an endless game has one table."""
    return jnp.minimum(step, robot.ahead.shape[0] - 1)


def _play_of(robot: Pomcp, tree: _Tree, node, state, step, action) -> Array:
    """The human's policy at a history, seeing or expecting the robot's action, `[Θ, A_H]`."""
    q = tree.human[node, jnp.minimum(action, tree.human.shape[1] - 1), :, :, 1]
    return robot.human.policy(q[None], state[None], jnp.asarray(action)[None], step[None])[0]


def _try(robot: Pomcp, tree: _Tree, node, context):
    """UCB1: what has not been tried, else the best mean plus a bonus that shrinks with trials."""
    visits, worth = jnp.moveaxis(tree.robot[node, context], -1, 0)
    total = jnp.sum(visits)
    bonus = robot.exploration * jnp.sqrt(jnp.log(jnp.maximum(total, 1)) / jnp.maximum(visits, 1))
    return jnp.argmax(jnp.where(visits > 0, worth + bonus, jnp.inf))


@functools.partial(jax.jit, static_argnames=("num_steps", "num_episodes"))
def _play_episodes(robot: Pomcp, key, num_steps: int, num_episodes: int) -> Episodes:
    game = robot.game

    def episode(key):
        for_theta, for_state, key = jax.random.split(key, 3)
        theta = jax.random.categorical(for_theta, jnp.log(game.prior))
        state = jax.random.categorical(for_state, jnp.log(game.mdp.initial))

        def step(carry, at):
            belief, state, total, weight = carry
            t, key = at
            for_search, for_human, for_move = jax.random.split(key, 3)
            decision = _search(robot, belief, state, t, for_search)
            human = jax.random.categorical(for_human, jnp.log(decision.play[theta]))
            action = decision.action[human]
            slot = jax.random.categorical(for_move, jnp.log(robot.moves.chance[state, human, action]))
            ahead = robot.moves.state[state, human, action, slot]
            total = total + weight * game.reward[state, human, action, theta]
            after = _learnt(belief, decision, human), ahead, total, weight * game.mdp.discount
            return after, (state, human, action)

        nothing = jnp.zeros((), game.prior.dtype)
        start = (game.prior, state.astype(jnp.int32), nothing, nothing + 1)
        steps = jnp.arange(num_steps, dtype=jnp.int32), jax.random.split(key, num_steps)
        (*_, total, _), (states, humans, robots) = jax.lax.scan(step, start, steps)
        return Episodes(theta, states, humans, robots, total)

    return jax.vmap(episode)(jax.random.split(key, num_episodes))
