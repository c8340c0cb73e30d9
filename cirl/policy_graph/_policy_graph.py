"""The robot as a policy graph, and what a human who knows it makes of the game."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
from jaxtyping import Array, Float, Int

from cirl.game import Game, Names, Order
from cirl.human import Human, fitted
from cirl.policy_graph import _plot
from mdps.checks import check_count, check_index, is_concrete, shown
from mdps.pytrees import frozen_pytree


@frozen_pytree
@dataclass(frozen=True)
class PolicyGraph:
    """A robot that remembers a node; the node says what to do, and what is seen leads to the next.

    Attributes:
        state: the game's state at each node, `[N]`.
        step: time at each node, `[N]`; 0 in an endless game.
        decision: the robot's action at each node, `[N, A_H]`: the human's action counts only where the
            human moves first, elsewhere the row is constant.
        child: next node after a human action and a successor slot, `[N, A_H, D]`; -1 ends the game.
        belief: probability of each θ at the node, had the human acted as planned, `[N, Θ]`.
        start: the node at which a run from each state begins, `[S]`; -1 where none can.
        next_state: the game's successor table, `[S, D]`.
        order: who moves first (static).
        names: of states, actions and rewards, where the game has them (static).
    """

    state: Int[Array, " N"]
    step: Int[Array, " N"]
    decision: Int[Array, " N AH"]
    child: Int[Array, " N AH D"]
    belief: Float[Array, " N Theta"]
    start: Int[Array, " S"]
    next_state: Int[Array, " S D"]
    order: Order = field(default=Order.SIMULTANEOUS, metadata={"static": True})
    names: Names = field(default=Names(), metadata={"static": True})

    def initial(self, state: Int[Array, ""] | int) -> Int[Array, ""]:
        """The memory with which a run from `state` begins; -1 where none can."""
        check_index("state", state, self.next_state.shape[0], "states")
        return self.start[state]

    def action(self, memory: Int[Array, ""] | int, human_action: Int[Array, ""] | int | None = None) -> Int[Array, ""]:
        """The robot's action; `human_action` is needed where the human moves first.

        Raises:
            ValueError: when it is needed and missing.
        """
        self._check(memory)
        if human_action is None:
            if self.order is Order.HUMAN_FIRST:
                raise ValueError("the human moves first in this game; give the human's action.")
            human_action = 0
        check_index("human_action", human_action, self.decision.shape[1], "human actions")
        return self.decision[memory, human_action]

    def update(
        self,
        memory: Int[Array, ""] | int,
        human_action: Int[Array, ""] | int,
        next_state: Int[Array, ""] | int,
    ) -> Int[Array, ""]:
        """The memory after the human's action and the state it led to; -1 at the end of the game.

        After an action of probability zero the belief stays what it was.

        Raises:
            ValueError: for a state that cannot follow (traced: -1).
        """
        self._check(memory)
        check_index("human_action", human_action, self.decision.shape[1], "human actions")
        check_index("next_state", next_state, self.next_state.shape[0], "states")
        if all(map(is_concrete, (memory, human_action, next_state, self.child))):
            ahead, slots = np.asarray(self.child)[memory, human_action], np.asarray(self.next_state)
            here = int(np.asarray(self.state)[memory])
            if (ahead >= 0).any() and not ((slots[here] == int(next_state)) & (ahead >= 0)).any():
                raise ValueError(
                    f"next_state is {self.names.called('states', int(next_state))}, which does not follow state "
                    f"{self.names.called('states', here)} after human action "
                    f"{self.names.called('human_actions', int(human_action))} and what the robot does there."
                )
        ahead = self.child[memory, human_action]
        follows = (self.next_state[self.state[memory]] == next_state) & (ahead >= 0)
        return jnp.where(jnp.any(follows), ahead[jnp.argmax(follows)], -1)

    def _check(self, memory) -> None:
        check_index("memory", memory, self.state.shape[0], "nodes (-1: the game is over)")

    def to_networkx(self) -> nx.MultiDiGraph:
        """The graph: nodes carry `state`, `step`, `action` and `belief`, edges `human_action` and `next_state`.

        All are numbers.  Where the game has names, nodes also carry `state_name` and `action_names`, edges
        `human_action_name` and `next_state_name`, and the graph `thetas`, in the order of `belief`.
        """
        graph, names = nx.MultiDiGraph(), self.names
        if names.thetas:
            graph.graph["thetas"] = list(names.thetas)
        state, step, action, child, belief, table = (
            np.asarray(x) for x in (self.state, self.step, self.decision, self.child, self.belief, self.next_state)
        )

        for n in range(len(state)):
            what: dict[str, Any] = {"state": int(state[n]), "step": int(step[n]), "action": action[n].tolist()}
            what |= {"state_name": names.states[what["state"]]} if names.states else {}
            what |= {"action_names": [names.robot_actions[a] for a in what["action"]]} if names.robot_actions else {}
            graph.add_node(n, **what, belief=belief[n].tolist())
        for n, a, d in zip(*np.nonzero(child >= 0), strict=True):
            ahead: dict[str, Any] = {"human_action": int(a), "next_state": int(table[state[n], d])}
            ahead |= {"human_action_name": names.human_actions[int(a)]} if names.human_actions else {}
            ahead |= {"next_state_name": names.states[ahead["next_state"]]} if names.states else {}
            graph.add_edge(int(n), int(child[n, a, d]), **ahead)
        return graph

    def plot(
        self,
        play: Float[Array, " N Theta AH"] | np.ndarray | None = None,
        *,
        robot_actions: Sequence[str] | None = None,
        human_actions: Sequence[str] | None = None,
        thetas: Sequence[str] | None = None,
        most: int = 80,
        ax=None,
    ):
        """Draw the graph with matplotlib: in the boxes what the robot does and believes, on the arrows what people do.

        Args:
            play: how people play at each node, `[N, Θ, A_H]` (`GameSolution.human_policy`): only what is
                then met is drawn.  Without it every branch is.
            robot_actions: names of the robot's actions; None: the game's, or numbers.
            human_actions: names of the human's actions, as well.
            thetas: names of the rewards, as well.
            most: more nodes than this are not drawn.
            ax: matplotlib axes to draw on; new ones when left out.

        Returns:
            The matplotlib axes.

        Raises:
            ValueError: for more nodes than `most`.
            ImportError: if matplotlib is not installed.
        """
        return _plot.plot(
            self,
            play,
            robot_actions=robot_actions or self.names.robot_actions or None,
            human_actions=human_actions or self.names.human_actions or None,
            thetas=thetas or self.names.thetas or None,
            most=most,
            ax=ax,
        )


def with_room(robot: PolicyGraph) -> PolicyGraph:
    """The graph with nodes that nothing leads to, up to a power of four, so that many graphs share compiled code."""
    N = len(robot.state)
    more = max(64, 1 << 2 * ((N - 1).bit_length() + 1 >> 1)) - N
    none = {"state": 0, "step": 0, "decision": 0, "child": -1, "belief": 1.0}
    return replace(robot, **{name: lengthened(getattr(robot, name), more, fill) for name, fill in none.items()})


def lengthened(x: Array, more: int, fill: float) -> Any:
    """With `more` rows; on the host where that can be, since every length would be another program."""
    pad: Any = np.pad if is_concrete(x) else jnp.pad
    return pad(x, [(0, more)] + [(0, 0)] * (x.ndim - 1), constant_values=fill)


def evaluate(game: Game, robot: PolicyGraph, human: Human, *, sweeps: int) -> tuple[Array, Array, Array]:
    """What a robot is worth to a human who knows what it will do.

        Q(n, θ, a_H) = R + γ E[V(n', θ)],    V(n, θ) = Σ π_H(a_H | Q(n, θ, ·)) Q(n, θ, a_H)

    backwards through the graph (Malik et al. 2018, the adapted backup for one robot policy).

    Args:
        game: the game.
        robot: the robot's policy.
        human: the human's model.
        sweeps: passes over the graph: the horizon, or as many as it takes (static).

    Returns:
        V `[N, Θ]`, π_H `[N, Θ, A_H]`, and the last change of V, `[]`.

    Raises:
        ValueError: for what is no game, no policy graph or no human, a human policy whose axes do not fit the game
            or can be read in two ways, or fewer than one sweep.
    """
    for name, x, kind in (("game", game, Game), ("robot", robot, PolicyGraph)):
        if not isinstance(x, kind):
            raise ValueError(f"{name} is {shown(x)}; give a cirl.{kind.__name__}.")
    check_count("sweeps", sweeps)
    human = fitted(human, game)
    N, larger = len(robot.state), with_room(robot)
    unnamed = (replace(x, names=Names()) for x in (game, larger))  # names are no reason to compile anew
    value, policy, change = _evaluate(*unnamed, human, sweeps=sweeps)
    return value[:N], policy[:N], change


@functools.partial(jax.jit, static_argnames="sweeps")
def _evaluate(game: Game, robot: PolicyGraph, human, *, sweeps: int) -> tuple[Array, Array, Array]:
    N, AH = robot.decision.shape
    humans = jnp.arange(AH)[None]
    reward = game.reward[robot.state[:, None], humans, robot.decision]  # [N, AH, Θ]
    chance = game.probability[robot.state[:, None], humans, robot.decision]  # [N, AH, D]
    chance = jnp.where(robot.child >= 0, chance, 0)

    def backup(value):
        ahead = jnp.einsum("nad,nadt->nat", chance, value[jnp.maximum(robot.child, 0)])
        q = jnp.swapaxes(reward + game.mdp.discount * ahead, 1, 2)  # [N, Θ, AH]
        policy = human.policy(q, robot.state, robot.decision[:, 0], robot.step)
        return jnp.sum(policy * q, axis=-1), policy

    def sweep(carry, _):
        value, _ = carry
        new, _ = backup(value)
        return (new, jnp.max(jnp.abs(new - value))), None

    start = jnp.zeros((N, game.num_thetas), reward.dtype)
    (value, change), _ = jax.lax.scan(sweep, (start, jnp.zeros((), reward.dtype)), None, length=sweeps)
    return value, backup(value)[1], change
