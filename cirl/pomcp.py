"""Planning at the root by sampling, for games too large for bounds: POMCP with the human's own statistics.

Silver and Veness (2010), with the adapted tree of Malik et al. (2018): one tree over histories, in
which the robot's actions are judged by returns averaged over everybody it may be playing with, and the
human's by returns that each θ sees for itself.  The human in the tree plays by their model on those,
so what they do changes as the tree learns what the robot will make of it.  Nothing is certified.
"""

import functools
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from cirl.game import Game, Order
from cirl.human import EpsilonGreedy, Fixed, Human, Rational
from cirl.informed import informed
from cirl.simulation import Episodes
from cirl.successors import Successors
from mdps.checks import check_key


class Memory(NamedTuple):
    """What the robot remembers: its belief `[Θ]`, the state, and the time."""

    belief: Float[Array, " Theta"]
    state: Int[Array, ""]
    step: Int[Array, ""]


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


class _Tree(NamedTuple):
    """Histories in the order in which they were added; C is A_H where the human moves first, else 1; B is A_R or 1."""

    state: Array  # [N]
    step: Array  # [N]
    child: Array  # [N, A_R, A_H, E], -1 where there is none yet
    visits: Array  # [N, C, A_R]
    worth: Array  # [N, C, A_R] mean return of the robot's actions
    seen: Array  # [N, B, Θ, A_H] how often, one more than in truth: the start counts
    q: Array  # [N, B, Θ, A_H] mean return that θ saw of the human's actions, starting from full information
    size: Array


@jax.tree_util.register_dataclass
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
            >>> memory = robot.initial(0)
            >>> robot.search(memory, key=jax.random.key(0)).play.shape
            (2, 4)
        """
        model: Human = Rational() if human is None else human
        if isinstance(model, Fixed):
            model = model.fit(game)
        for name, number in (("num_simulations", num_simulations), ("depth", depth)):
            if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
                raise ValueError(f"{name} is {number!r}; give a whole number ≥ 1.")
        if exploration is not None and not 0 < exploration < float("inf"):
            raise ValueError(f"exploration is {exploration}; give a positive number, in units of return.")
        T = game.mdp.horizon
        if depth is None:
            # A discount of 0 looks one step ahead.
            gamma = min(max(float(game.mdp.discount), 1e-9), 1 - 1e-9)
            depth = T if T is not None else max(1, int(jnp.ceil(jnp.log(0.01) / jnp.log(gamma))))
        moves = Successors.of(game)
        # Whoever the human is, a rational one would be worth as much to them: where the tree starts is from above.
        team = model if isinstance(model, Fixed) else EpsilonGreedy(jnp.zeros((), game.prior.dtype))
        ahead = informed(game, moves, team)[0].max(axis=2)
        spread = jnp.max(ahead) - jnp.min(ahead)
        usual = jnp.where(spread > 0, spread, 1)
        weight = jnp.asarray(usual if exploration is None else exploration, game.prior.dtype)
        return Pomcp(game, model, ahead, moves, weight, num_simulations, depth)

    def initial(self, state: Int[Array, ""] | int) -> Memory:
        """The memory with which a run from `state` begins."""
        return Memory(self.game.prior, jnp.asarray(state, jnp.int32), jnp.zeros((), jnp.int32))

    def search(self, memory: Memory, *, key: Key[Array, ""]) -> Decision:
        """Plan from here.

        Args:
            memory: what the robot remembers.
            key: a `jax.random.key`.
        """
        check_key(key)
        return _search(self, memory, key)

    def update(self, memory: Memory, decision: Decision, human_action, next_state) -> Memory:
        """The memory after the human's action and the state it led to, by Bayes' rule on the play that was expected.

        After an action of probability zero the belief stays what it was.
        """
        mass = memory.belief * decision.play[:, human_action]
        total = jnp.sum(mass)
        belief = jnp.where(total > 0, mass / jnp.where(total > 0, total, 1), memory.belief)
        return Memory(belief, jnp.asarray(next_state, jnp.int32), memory.step + 1)

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
        T = self.game.mdp.horizon
        if num_steps < 1 or (T is not None and num_steps > T):
            raise ValueError(
                f"num_steps is {num_steps}; play at least 1 step" + ("." if T is None else f" and at most {T}.")
            )
        return _play(self, key, num_steps, num_episodes)


@jax.jit
def _search(robot: Pomcp, memory: Memory, key) -> Decision:
    tree = _grow(robot, memory, key)
    first = robot.game.order is Order.HUMAN_FIRST
    best = jnp.argmax(tree.visits[0], axis=1)  # [C]; the most tried, which is steadier than the best mean
    action = best if first else jnp.broadcast_to(best[0], (robot.game.num_human_actions,))
    play = _play_of(robot, tree, jnp.zeros((), jnp.int32), jnp.where(first, 0, best[0]))
    # What the human's play and the robot's answer are worth together.
    worth = jnp.take_along_axis(tree.worth[0], best[:, None], axis=1)[:, 0]
    value = jnp.sum(memory.belief @ play * worth) if first else worth[0]
    return Decision(action.astype(jnp.int32), play, value, tree.visits[0])


def _grow(robot: Pomcp, memory: Memory, key) -> _Tree:
    game = robot.game
    AH, AR, Theta, E = (
        game.num_human_actions,
        game.num_robot_actions,
        game.num_thetas,
        robot.moves.state.shape[-1],
    )
    first = game.order is Order.HUMAN_FIRST
    N, C, B = robot.num_simulations + 1, AH if first else 1, 1 if first else AR
    dtype = game.prior.dtype
    empty = _Tree(
        state=jnp.zeros(N, jnp.int32),
        step=jnp.zeros(N, jnp.int32),
        child=jnp.full((N, AR, AH, E), -1, jnp.int32),
        visits=jnp.zeros((N, C, AR), dtype),
        worth=jnp.zeros((N, C, AR), dtype),
        seen=jnp.ones((N, B, Theta, AH), dtype),
        q=jnp.zeros((N, B, Theta, AH), dtype),
        size=jnp.ones((), jnp.int32),
    )
    tree = _add(robot, empty, memory.state, memory.step, 0)
    log_belief = jnp.log(memory.belief)

    def simulate(tree, key):
        for_theta, for_steps = jax.random.split(key)
        theta = jax.random.categorical(for_theta, log_belief)
        # Steps beyond the end of a simulation write nowhere: a loop that stopped would copy the tree in a batch.
        nowhere = jnp.asarray(N, jnp.int32)

        def step(carry, key):
            tree, node, leaf = carry
            alive, here = node < N, jnp.minimum(node, N - 1)
            for_human, for_move = jax.random.split(key)
            if first:
                play = _play_of(robot, tree, here, jnp.zeros((), jnp.int32))[theta]
                human = jax.random.categorical(for_human, jnp.log(play))
                action = _try(robot, tree, here, human)
            else:
                action = _try(robot, tree, here, 0)
                play = _play_of(robot, tree, here, action)[theta]
                human = jax.random.categorical(for_human, jnp.log(play))
            state = tree.state[here]
            slot = jax.random.categorical(for_move, jnp.log(robot.moves.chance[state, human, action]))
            paid = game.reward[state, human, action, theta]
            ahead, later = robot.moves.state[state, human, action, slot], tree.step[here] + 1
            over = jnp.asarray(game.mdp.horizon is not None) & (later >= (game.mdp.horizon or 0))
            child = tree.child[here, action, human, slot]
            fresh = alive & (child < 0) & ~over
            number = jnp.where(fresh, tree.size, nowhere)
            at = jnp.where(fresh, node, nowhere), action, human, slot
            tree = tree._replace(child=tree.child.at[at].set(number, mode="drop"))
            tree = _add(robot, tree, ahead, later, number)
            tree = tree._replace(size=tree.size + fresh)
            leaf = jnp.where(alive, jnp.where(over, 0, robot.ahead[_when(robot, later), ahead, theta]), leaf)
            after = jnp.where(alive & ~over & (child >= 0), child, nowhere)
            return (tree, after, leaf), (node, action, human, paid)

        start = (tree, jnp.zeros((), jnp.int32), jnp.zeros((), dtype))
        (tree, _, leaf), path = jax.lax.scan(step, start, jax.random.split(for_steps, robot.depth))

        def credit(carry, at):
            tree, total = carry
            node, action, human, paid = at
            alive, here = node < N, jnp.minimum(node, N - 1)
            total = jnp.where(alive, paid + game.mdp.discount * total, total)
            own = (node, human if first else 0, action)
            count = tree.visits[here, own[1], action] + 1
            mean = tree.worth[here, own[1], action]
            tree = tree._replace(
                visits=tree.visits.at[own].set(count, mode="drop"),
                worth=tree.worth.at[own].set(mean + (total - mean) / count, mode="drop"),
            )
            own = (node, 0 if first else action, theta, human)
            count, mean = tree.seen[here, *own[1:]] + 1, tree.q[here, *own[1:]]
            tree = tree._replace(
                seen=tree.seen.at[own].set(count, mode="drop"),
                q=tree.q.at[own].set(mean + (total - mean) / count, mode="drop"),
            )
            return (tree, total), None

        return jax.lax.scan(credit, (tree, leaf), path, reverse=True)[0][0], None

    return jax.lax.scan(simulate, tree, jax.random.split(key, robot.num_simulations))[0]


def _add(robot: Pomcp, tree: _Tree, state, step, n) -> _Tree:
    """The tree with a history at row `n`, if there is one; its human starts from what full information is worth."""
    game = robot.game
    later = robot.ahead[_when(robot, step + 1)]
    chance, ahead = robot.moves.chance[state], robot.moves.state[state]  # [AH, AR, E]
    q = game.reward[state] + game.mdp.discount * jnp.einsum("hre,hret->hrt", chance, later[ahead])  # [AH, AR, Θ]
    own = jnp.moveaxis(q.max(axis=1), -1, 0)[None] if game.order is Order.HUMAN_FIRST else jnp.transpose(q, (1, 2, 0))
    return tree._replace(
        state=tree.state.at[n].set(state.astype(jnp.int32), mode="drop"),
        step=tree.step.at[n].set(step.astype(jnp.int32), mode="drop"),
        q=tree.q.at[n].set(own, mode="drop"),
    )


def _when(robot: Pomcp, step):
    """Where the values of a step stand; an endless game has one table."""
    return jnp.minimum(step, robot.ahead.shape[0] - 1)


def _play_of(robot: Pomcp, tree: _Tree, node, action) -> Array:
    """The human's policy at a history, seeing or expecting the robot's action, `[Θ, A_H]`."""
    q = tree.q[node, jnp.minimum(action, tree.q.shape[1] - 1)]
    return robot.human.policy(q[None], tree.state[node][None], jnp.asarray(action)[None], tree.step[node][None])[0]


def _try(robot: Pomcp, tree: _Tree, node, context):
    """UCB1: what has not been tried, else the best mean plus a bonus that shrinks with trials."""
    visits, worth = tree.visits[node, context], tree.worth[node, context]
    total = jnp.sum(visits)
    bonus = robot.exploration * jnp.sqrt(jnp.log(jnp.maximum(total, 1)) / jnp.maximum(visits, 1))
    return jnp.argmax(jnp.where(visits > 0, worth + bonus, jnp.inf))


@functools.partial(jax.jit, static_argnames=("num_steps", "num_episodes"))
def _play(robot: Pomcp, key, num_steps: int, num_episodes: int) -> Episodes:
    game = robot.game

    def episode(key):
        for_theta, for_state, key = jax.random.split(key, 3)
        theta = jax.random.categorical(for_theta, jnp.log(game.prior))
        state = jax.random.categorical(for_state, jnp.log(game.mdp.initial))

        def step(carry, key):
            memory, total, weight = carry
            for_search, for_human, for_move = jax.random.split(key, 3)
            decision = _search(robot, memory, for_search)
            human = jax.random.categorical(for_human, jnp.log(decision.play[theta]))
            action = decision.action[human]
            state = memory.state
            slot = jax.random.categorical(for_move, jnp.log(robot.moves.chance[state, human, action]))
            ahead = robot.moves.state[state, human, action, slot]
            total = total + weight * game.reward[state, human, action, theta]
            memory = robot.update(memory, decision, human, ahead)
            return (memory, total, weight * game.mdp.discount), (state, human, action)

        nothing = jnp.zeros((), game.prior.dtype)
        start = (robot.initial(state), nothing, nothing + 1)
        (_, total, _), (states, humans, robots) = jax.lax.scan(step, start, jax.random.split(key, num_steps))
        return Episodes(theta, states, humans, robots, total)

    return jax.vmap(episode)(jax.random.split(key, num_episodes))
