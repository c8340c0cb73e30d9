"""A subgame-consistent robot for humans whose play is not monotone, by repeated best replies.

At every history the robot's decision must be best at the belief held there, and that belief follows
from how people would have played, which follows from the robot's decisions.  From beliefs that have
learnt nothing: decide backwards in time, let Bayes' rule run forwards, and repeat until no decision changes.
What is then returned is consistent; there may be better consistent robots, and the repetition may
find none.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from cirl.controller import PolicyGraph
from cirl.game import Game, Order

MOST = 50_000  # histories
ROUNDS = 50


@dataclass(frozen=True)
class _Layer:
    """Histories of one length: `state [n]`, and `child [n, A_H, D]` into the next layer, -1 at the end."""

    state: np.ndarray
    child: np.ndarray


def best_replies(game: Game, human) -> tuple[PolicyGraph, bool]:
    """A robot with one node for each history, and whether it is subgame-consistent.

    Args:
        game: the game, with a horizon.
        human: the human's model.

    Raises:
        ValueError: where there are too many histories.
    """
    T = game.mdp.horizon
    assert T is not None
    layers = _histories(game, T)
    AH, AR, Theta = game.num_human_actions, game.num_robot_actions, game.num_thetas
    reward, chance = np.asarray(game.reward, float), np.asarray(game.probability, float)
    gamma, prior = float(game.mdp.discount), np.asarray(game.prior, float)
    if game.order is Order.HUMAN_FIRST:
        options = np.stack(np.meshgrid(*[np.arange(AR)] * AH, indexing="ij"), axis=-1).reshape(-1, AH)
    else:
        options = np.repeat(np.arange(AR)[:, None], AH, axis=1)
    beliefs = [np.tile(prior, (len(layer.state), 1)) for layer in layers]
    decisions = [np.full(len(layer.state), -1) for layer in layers]
    consistent = False
    for _ in range(ROUNDS):
        plays, changed, later = [], False, np.zeros((1, Theta))
        for t in reversed(range(T)):
            layer, rows = layers[t], np.arange(len(layers[t].state))
            values, play = [], []
            for option in options:
                pick = layer.state[:, None], np.arange(AH)[None], option[None]
                ahead = np.einsum("nad,nadt->nat", chance[pick] * (layer.child >= 0), later[layer.child])
                q = np.swapaxes(reward[pick] + gamma * ahead, 1, 2)  # [n, Θ, AH]
                pi = _respond(human, q, layer.state, np.full(len(rows), option[0]), t)
                play.append(pi)
                values.append(np.sum(pi * q, axis=-1))
            worth = np.einsum("ont,nt->on", values, beliefs[t])
            best = worth.argmax(axis=0)
            kept = np.maximum(decisions[t], 0)
            better = (decisions[t] < 0) | (worth[best, rows] > worth[kept, rows] + 1e-12 * np.abs(worth).max())
            changed |= bool(better.any())
            decisions[t] = np.where(better, best, kept)
            later = np.array(values)[decisions[t], rows]
            plays.insert(0, np.array(play)[decisions[t], rows])
        if not changed:
            consistent = True
            break
        for t in range(T - 1):
            n, a, d = np.nonzero(layers[t].child >= 0)
            mass = beliefs[t][n] * plays[t][n, :, a]
            total = mass.sum(axis=1, keepdims=True)
            seen = np.where(total > 0, mass / np.where(total > 0, total, 1), beliefs[t][n])
            beliefs[t + 1][layers[t].child[n, a, d]] = seen
    return _graph(game, layers, options, decisions, beliefs), consistent


def _respond(human, q: np.ndarray, state: np.ndarray, robot: np.ndarray, step: int) -> np.ndarray:
    with jax.ensure_compile_time_eval():
        at = (jnp.asarray(x) for x in (state, robot, np.full(len(state), step)))
        return np.asarray(human.policy(jnp.asarray(q), *at), float)


def _histories(game: Game, T: int) -> list[_Layer]:
    """Every sequence of human actions and successors that some decisions of the robot allow."""
    table = np.asarray(game.mdp.next_state)
    used = np.asarray((game.probability > 0).any(axis=2))  # [S, AH, D]
    state, layers, total = np.flatnonzero(np.asarray(game.mdp.initial) > 0), [], 0
    for t in range(T):
        total += len(state)
        if total > MOST:
            raise ValueError(
                f"the game has more than {MOST} histories; a subgame-consistent robot for this human takes a shorter "
                "horizon. Commitment() does without histories."
            )
        child = np.full((len(state), *used.shape[1:]), -1)
        if t + 1 < T:
            open_ = used[state]
            child[open_] = np.arange(open_.sum())
            ahead = np.broadcast_to(table[state][:, None], open_.shape)[open_]
        else:
            ahead = state[:0]
        layers.append(_Layer(state, child))
        state = ahead
    return layers


def _graph(game: Game, layers: list[_Layer], options, decisions, beliefs) -> PolicyGraph:
    base = np.cumsum([0, *(len(layer.state) for layer in layers)])
    roots = layers[0].state
    start = np.full(game.mdp.num_states, -1)
    start[roots] = np.arange(len(roots))
    child = [np.where(layer.child >= 0, layer.child + base[t + 1], -1) for t, layer in enumerate(layers)]
    return PolicyGraph(
        state=jnp.asarray(np.concatenate([layer.state for layer in layers]), jnp.int32),
        step=jnp.asarray(np.repeat(np.arange(len(layers)), np.diff(base)), jnp.int32),
        decision=jnp.asarray(options[np.concatenate(decisions)], jnp.int32),
        child=jnp.asarray(np.concatenate(child), jnp.int32),
        belief=jnp.asarray(np.concatenate(beliefs), game.prior.dtype),
        start=jnp.asarray(start, jnp.int32),
        next_state=game.mdp.next_state,
        order=game.order,
    )
