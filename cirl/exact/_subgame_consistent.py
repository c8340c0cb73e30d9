"""A subgame-consistent robot for humans whose play is not monotone, by repeated best replies.

At every history the robot's decision must be best at the belief held there, and that belief follows
from how people would have played, which follows from the robot's decisions.  From beliefs that have
learnt nothing: decide backwards in time, let Bayes' rule run forwards, and repeat until no decision changes.
What is then returned is consistent; there may be better consistent robots, and the repetition may
find none.
"""

from dataclasses import dataclass

import numpy as np

from cirl.exact._plans import DECISIONS
from cirl.game import Game
from cirl.host_game import EPS, HostGame
from cirl.human import Fixed, Human
from cirl.policy_graph import Nodes
from cirl.replies import on_host, respond

MOST_HISTORIES = 50_000  # histories
ROUNDS = 50


@dataclass(frozen=True)
class _Layer:
    """Histories of one length: `state [n]`, and `child [n, A_H, D]` into the next layer, -1 at the end."""

    state: np.ndarray
    child: np.ndarray


@dataclass(frozen=True)
class Replies:
    """What the repetition ends with.

    Attributes:
        nodes: a robot with one node for each history.
        belief: what it believes there, `[N, Θ]`.
        residual: how far people's play is from the play that it learns by: the largest difference of two
            probabilities of an action.  Where that is 0 the robot is subgame-consistent, and its belief and
            the human's play are a fixed point of each other.
    """

    nodes: Nodes
    belief: np.ndarray
    residual: float


def best_replies(game: Game, human: Human, *, start: Fixed | None = None) -> Replies:
    """Robot and human reply to each other until nothing changes.

    Args:
        game: the game, with a horizon.
        human: the human's model.
        start: the play that the robot learns by at first, with its axes spelt out; None: it learns nothing at first.

    Raises:
        ValueError: where there are too many histories, or decisions at one of them.
    """
    g, human = HostGame(game), on_host(human)
    assert g.horizon is not None
    layers, options = _histories(g, g.horizon), g.decisions(DECISIONS)
    beliefs = [np.tile(g.prior / g.prior.sum(), (len(layer.state), 1)) for layer in layers]
    decisions = [np.full(len(layer.state), -1) for layer in layers]
    learnt: list[np.ndarray] = []
    if start is not None:  # where it depends on the robot's action, which is not chosen yet, each is as likely
        table = np.asarray(start.table, float)
        learnt = [table[min(t, len(table) - 1), layer.state].mean(axis=1) for t, layer in enumerate(layers)]
        _learn(layers, beliefs, learnt)
    residual = np.inf
    for _ in range(ROUNDS):
        plays, changed, later = [], False, np.zeros((1, g.num_thetas))
        for t in reversed(range(g.horizon)):
            new, later, play = _decide(g, human, layers[t], t, options, beliefs[t], decisions[t], later)
            changed |= bool((new != decisions[t]).any())
            decisions[t] = new
            plays.insert(0, play)
        if learnt:
            residual = float(np.max([np.abs(new - old).max() for new, old in zip(plays, learnt, strict=True)]))
        if not changed:
            break
        learnt = plays
        _learn(layers, beliefs, learnt)
    return Replies(_as_nodes(g, layers, options[np.concatenate(decisions)]), np.concatenate(beliefs), residual)


def _decide(g: HostGame, human: Human, layer: _Layer, t: int, options, belief, before, later):
    """The best decision at each history of a length, kept where no other is better; its value and the play there."""
    rows, humans = np.arange(len(layer.state)), np.arange(g.num_human_actions)
    values, sizes, plays = [], [], []
    for option in options:
        pick = layer.state[:, None], humans, option[None]
        ahead = np.einsum("nad,nadt->nat", g.chance[pick] * (layer.child >= 0), later[layer.child])
        q = np.swapaxes(g.reward[pick] + g.gamma * ahead, 1, 2)  # [n, Θ, AH]
        play = respond(human, q, layer.state, np.full(len(rows), option[0]), np.full(len(rows), t))
        plays.append(play)
        values.append(np.sum(play * q, axis=-1))
        sizes.append(np.sum(np.sum(play * np.abs(q), axis=-1) * belief, axis=-1))
    worth = np.einsum("ont,nt->on", values, belief)
    best, kept = worth.argmax(axis=0), np.maximum(before, 0)
    # As far as float64 tells two sums of such terms apart.
    slack = 1e4 * EPS * (np.array(sizes)[best, rows] + np.array(sizes)[kept, rows])
    new = np.where((before < 0) | (worth[best, rows] > worth[kept, rows] + slack), best, kept)
    return new, np.array(values)[new, rows], np.array(plays)[new, rows]


def _learn(layers: list[_Layer], beliefs: list[np.ndarray], plays: list[np.ndarray]) -> None:
    """Bayes' rule forward in time, in place; after an action of probability zero the belief stays."""
    for t in range(len(layers) - 1):
        n, a, d = np.nonzero(layers[t].child >= 0)
        mass = beliefs[t][n] * plays[t][n, :, a]
        total = mass.sum(axis=1, keepdims=True)
        beliefs[t + 1][layers[t].child[n, a, d]] = np.where(
            total > 0, mass / np.where(total > 0, total, 1), beliefs[t][n]
        )


def _count(g: HostGame, used: np.ndarray, T: int) -> float:
    """How many histories there are, `used [S, A_H, D]`; as many as a float holds."""
    ways = used.sum(axis=1, dtype=float)  # [S, D]
    here, total = np.isin(np.arange(g.num_states), g.starts).astype(float), 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(T):
            total += here.sum()
            here = np.bincount(g.ahead.ravel(), np.where(ways > 0, here[:, None] * ways, 0).ravel(), g.num_states)
            here = np.minimum(here, 1e300)
    return total


def _histories(g: HostGame, T: int) -> list[_Layer]:
    """Every sequence of human actions and successors that some decisions of the robot allow."""
    used = np.asarray((g.chance > 0).any(axis=2))  # [S, AH, D]
    total = _count(g, used, T)
    if total > MOST_HISTORIES:
        raise ValueError(
            f"the game has {total:,.0f} histories, and a subgame-consistent robot for this human is found by listing "
            f"at most {MOST_HISTORIES:,}. Shorten the horizon; Commitment() does without histories."
        )
    state, layers = g.starts, []
    for t in range(T):
        child = np.full((len(state), *used.shape[1:]), -1)
        if t + 1 < T:
            open_ = used[state]
            child[open_] = np.arange(open_.sum())
            ahead = np.broadcast_to(g.ahead[state][:, None], open_.shape)[open_]
        else:
            ahead = state[:0]
        layers.append(_Layer(state, child))
        state = ahead
    return layers


def _as_nodes(g: HostGame, layers: list[_Layer], decision: np.ndarray) -> Nodes:
    base = np.cumsum([0, *(len(layer.state) for layer in layers)])
    start = np.full(g.num_states, -1)
    start[layers[0].state] = np.arange(len(layers[0].state))
    child = [np.where(layer.child >= 0, layer.child + base[t + 1], -1) for t, layer in enumerate(layers)]
    return Nodes(
        state=np.concatenate([layer.state for layer in layers]),
        step=np.repeat(np.arange(len(layers)), np.diff(base)),
        decision=decision,
        child=np.concatenate(child),
        start=start,
    )
