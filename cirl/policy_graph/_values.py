"""What a policy graph is worth to a human who knows it, and what is believed at its nodes: on the host."""

from typing import NamedTuple

import numpy as np

from cirl.game import Game
from cirl.host_game import HostGame
from cirl.human import Human
from cirl.policy_graph._policy_graph import PolicyGraph
from cirl.replies import on_host, worth
from cirl.stationary import enclosed, expected, settle
from mdps.tables import held


class Nodes(NamedTuple):
    """A policy graph without beliefs, in NumPy; as `PolicyGraph`, parents before their children where time passes."""

    state: np.ndarray
    step: np.ndarray
    decision: np.ndarray
    child: np.ndarray
    start: np.ndarray

    @staticmethod
    def of(robot: PolicyGraph) -> "Nodes":
        """The nodes of a policy graph."""
        return Nodes(*(np.asarray(getattr(robot, name)) for name in Nodes._fields))

    def graph(self, game: Game, belief: np.ndarray) -> PolicyGraph:
        """The policy graph, with the belief at each node, `[N, Θ]`."""
        ints = {name: held(x, np.int32) for name, x in self._asdict().items()}
        believed = held(belief, game.prior.dtype)
        return PolicyGraph(**ints, belief=believed, next_state=game.mdp.next_state, order=game.order, names=game.names)

    def chance(self, g: HostGame) -> np.ndarray:
        """Probability of each successor slot after each human action, `[N, A_H, D]`; 0 where the game ends."""
        humans = np.arange(self.decision.shape[1])
        return g.chance[self.state[:, None], humans, self.decision] * (self.child >= 0)


class Values(NamedTuple):
    """What the nodes are worth.

    Attributes:
        value: to each θ, `[N, Θ]`.
        play: π_H, `[N, Θ, A_H]`.
        error: how far the value may be off, `[N, Θ]`.
    """

    value: np.ndarray
    play: np.ndarray
    error: np.ndarray

    def at_start(self, g: HostGame, nodes: Nodes) -> tuple[float, float]:
        """The value at the prior, and how far it may be off."""
        roots = nodes.start[g.starts]
        mass = g.initial[g.starts, None] * g.prior  # [starts, Θ]
        value, error = self.value[roots], self.error[roots]
        off = mass * (error + g.off_at_start * np.abs(value))
        return float(np.sum(mass * value)), float(1.0001 * np.sum(off))


def values_of(g: HostGame, nodes: Nodes, human: Human) -> Values:
    """What a robot is worth to a human who knows what it will do, backwards through its graph.

        Q(n, θ, a_H) = R + γ E[V(n', θ)],    V(n, θ) = Σ π_H(a_H | Q(n, θ, ·)) Q(n, θ, a_H)

    Args:
        g: the game.
        nodes: the robot; with a horizon every child is a step later than its parents.
        human: the human, with axes spelt out.
    """
    human = on_host(human)
    chance = nodes.chance(g)
    return _without_end(g, nodes, human, chance) if g.horizon is None else _with_horizon(g, nodes, human, chance)


def _with_horizon(g: HostGame, nodes: Nodes, human: Human, chance: np.ndarray) -> Values:
    (N, AH), Theta = nodes.decision.shape, g.num_thetas
    value, error, play = np.zeros((N, Theta)), np.zeros((N, Theta)), np.zeros((N, Theta, AH))
    order = np.argsort(-nodes.step, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(nodes.step[order])) + 1):
        at = nodes.state[rows], nodes.decision[rows, 0], nodes.step[rows]
        q, off = _values_at(g, nodes, chance, rows, value, error)
        play[rows], value[rows], error[rows] = worth(human, q, off, *at)
    return Values(value, play, error)


def _values_at(g: HostGame, nodes: Nodes, chance, rows, value, error) -> tuple[np.ndarray, np.ndarray]:
    """Q at some nodes from the value of their children, and its error, both `[n, Θ, A_H]`."""
    humans = np.arange(nodes.decision.shape[1])
    state, decision = nodes.state[rows, None], nodes.decision[rows]
    reward = g.reward[state, humans, decision]  # [n, A_H, Θ]
    child = np.maximum(nodes.child[rows], 0)
    later = expected(value, child, chance[rows])
    size = expected(np.abs(value), child, chance[rows])
    off = (g.off.reward + g.eps) * np.abs(reward) + g.gamma * (
        g.eps * size + 1.0001 * expected(error, child, chance[rows])
    )
    vague = g.vagueness(state, humans, decision)
    if vague is not None:
        spread, missing = vague
        if spread.any():
            for d in range(child.shape[2]):
                away = np.abs(value[child[..., d]] - later)
                off = off + g.gamma * spread * chance[rows, :, d, None] * away
        off = off + g.gamma * missing * np.abs(later)
    return np.swapaxes(reward + g.gamma * later, 1, 2), np.swapaxes(off, 1, 2)


def _without_end(g: HostGame, nodes: Nodes, human: Human, chance: np.ndarray) -> Values:
    """An endless game: the fixed point by policy iteration, enclosed by one sweep."""
    (N, AH), every = nodes.decision.shape, np.arange(len(nodes.state))
    at = nodes.state, nodes.decision[:, 0], nodes.step
    nothing = np.zeros((N, AH, g.num_thetas))

    def choose(q):
        return np.swapaxes(worth(human, np.swapaxes(q, 1, 2), np.swapaxes(nothing, 1, 2), *at)[0], 1, 2)

    reward = g.reward[nodes.state[:, None], np.arange(AH), nodes.decision]
    value, _ = settle(reward, np.maximum(nodes.child, 0), chance, g.gamma, choose, nothing[:, 0])
    q, off = _values_at(g, nodes, chance, every, value, nothing[:, 0])
    play, swept, error = worth(human, q, off, *at)
    low, high = enclosed(value, swept - error, swept + error, g.reaches)
    return Values((low + high) / 2, play, (high - low) / 2 + g.eps * np.abs(high))
