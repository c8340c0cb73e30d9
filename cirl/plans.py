"""Exact solutions by listing the robot's plans: for any human, over a finite horizon.

A plan σ from a state is an action and, for each human action and next state, a plan from there
(Malik et al. 2018).  Its value to each θ needs the human's play, which depends on the whole plan:

    Q_σ(s, θ, a_H) = R + γ Σ_s' T(s') α_{ν(a_H, s')}(s', θ),    α_σ(s, θ) = Σ π_H(a_H | Q_σ) Q_σ

Continuations are chosen jointly over human actions (references C, trap 1), and a plan is dropped as
dominated only for humans whose play is monotone in Q (trap 2).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from cirl.controller import PolicyGraph
from cirl.game import Game, Order

MOST = 400_000  # plans listed at once
_SLACK = 1e-12


class TooManyPlansError(ValueError):
    """The robot's plans are too many to list."""


@dataclass(frozen=True)
class _Plans:
    """Plans from one state at one time: `alpha [n, Θ]`, `action [n, A_H]`, `child [n, A_H, D]` into the next lists."""

    alpha: np.ndarray
    action: np.ndarray
    child: np.ndarray


class _Tables:
    """A game on the host."""

    def __init__(self, game: Game):
        self.reward, self.chance = np.asarray(game.reward, float), np.asarray(game.probability, float)
        self.ahead, self.gamma = np.asarray(game.mdp.next_state), float(game.mdp.discount)
        self.initial, self.prior = np.asarray(game.mdp.initial, float), np.asarray(game.prior, float)
        self.AH, self.AR, self.T = game.num_human_actions, game.num_robot_actions, game.mdp.horizon or 0
        self.order = game.order

    def reachable(self) -> list[np.ndarray]:
        """The states that some actions lead to, for each step."""
        used = np.asarray((self.chance > 0).any(axis=(1, 2)))
        layers = [np.flatnonzero(self.initial > 0)]
        for _ in range(self.T - 1):
            layers.append(np.unique(self.ahead[layers[-1]][used[layers[-1]]]))
        return layers

    def decisions(self) -> np.ndarray:
        """The robot's decisions at one node, as an action for each human action, `[n, A_H]`."""
        if self.order is Order.HUMAN_FIRST:
            return np.stack(np.meshgrid(*[np.arange(self.AR)] * self.AH, indexing="ij"), axis=-1).reshape(-1, self.AH)
        return np.repeat(np.arange(self.AR)[:, None], self.AH, axis=1)


def solve_plans(game: Game, human, *, consistent: bool, most: int = MOST) -> tuple[float, PolicyGraph]:
    """The best value at the prior and the robot that attains it.

    Args:
        game: the game, with a horizon.
        human: the human's model.
        consistent: whether only subgame-consistent plans count (else commitment).
        most: plans listed at once, at most.

    Raises:
        TooManyPlansError: where there are more.
        ValueError: where no plan is consistent.
    """
    g = _Tables(game)
    every = consistent and not human.monotone
    later: dict[int, _Plans] = {}
    lists: list[dict[int, _Plans]] = []
    layers = g.reachable()
    for t in reversed(range(g.T)):
        now = {int(s): _plans(g, human, int(s), t, later, every, most) for s in layers[t]}
        lists.insert(0, now)
        later = now
    value, roots = 0.0, {}
    for s in layers[0]:
        plans = lists[0][int(s)]
        worth = plans.alpha @ g.prior
        order = np.argsort(-worth, kind="stable")
        if every:
            order = [n for n in order if _is_consistent(g, human, lists, 0, int(s), int(n), g.prior)][:1]
            if not order:
                raise ValueError(f"no deterministic plan from state {s} is subgame-consistent for {human}.")
        roots[int(s)] = int(order[0])
        value += float(g.initial[s] * worth[order[0]])
    return value, _graph(game, g, human, lists, roots)


def _respond(human, q: np.ndarray, s: int, actions: np.ndarray, t: int) -> np.ndarray:
    """π_H of many plans at one state, `[n, Θ, A_H]`."""
    n = len(q)
    at = (np.full(n, s), actions[:, 0], np.full(n, t))
    with jax.ensure_compile_time_eval():
        return np.asarray(human.policy(jnp.asarray(q), *(jnp.asarray(x) for x in at)), float)


def _values(g: _Tables, s: int, action: np.ndarray, child: np.ndarray, later: dict[int, _Plans]) -> np.ndarray:
    """Q of plans `[n, Θ, A_H]`."""
    humans = np.arange(g.AH)[None]
    q = g.reward[s, humans, action]  # [n, AH, Θ]
    if later:
        chance = g.chance[s, humans, action]  # [n, AH, D]
        for d, ahead in enumerate(g.ahead[s]):
            if chance[..., d].any():
                alpha = later[int(ahead)].alpha[np.maximum(child[..., d], 0)]
                q = q + g.gamma * chance[..., d, None] * alpha
    return np.swapaxes(q, 1, 2)


def _plans(g: _Tables, human, s: int, t: int, later: dict[int, _Plans], every: bool, most: int) -> _Plans:
    """Every plan from a state that may be part of a best one."""
    found = []
    for action in g.decisions():
        chance = g.chance[s].max(axis=1) if every else g.chance[s, np.arange(g.AH), action]  # [AH, D]
        slots = [(a, d) for a, d in np.argwhere(chance > 0)] if later else []
        sizes = [len(later[int(g.ahead[s, d])].alpha) for _, d in slots]
        count = int(np.prod(sizes, dtype=float)) if sizes else 1
        if count > most:
            raise TooManyPlansError(
                f"{count} plans would have to be listed in state {s} at step {t}; the exact solver takes at most "
                f"{most}. Shorten the horizon, or use Bounded()."
            )
        child = np.full((count, g.AH, g.ahead.shape[1]), -1)
        for index, (a, d) in zip(np.unravel_index(np.arange(count), sizes) if sizes else [], slots, strict=True):
            child[:, a, d] = index
        actions = np.broadcast_to(action, (count, g.AH))
        q = _values(g, s, actions, child, later)
        alpha = np.sum(_respond(human, q, s, actions, t) * q, axis=-1)
        found.append(_Plans(alpha, actions, child))
        if human.monotone:
            found[-1] = _undominated(found[-1])
    together = _Plans(*(np.concatenate([getattr(p, n) for p in found]) for n in ("alpha", "action", "child")))
    return _undominated(together) if human.monotone else together


def _undominated(plans: _Plans) -> _Plans:
    """Without the plans that another is at least as good as for every θ."""
    order = np.argsort(-plans.alpha.sum(axis=1), kind="stable")
    kept: list[int] = []
    for n in order:
        if not any((plans.alpha[k] >= plans.alpha[n] - _SLACK).all() for k in kept):
            kept.append(int(n))
    return _Plans(plans.alpha[kept], plans.action[kept], plans.child[kept])


def _is_consistent(g: _Tables, human, lists, t: int, s: int, n: int, belief: np.ndarray) -> bool:
    """Whether no change of one decision, anywhere below, raises the value at the belief held there."""
    plans, later = lists[t][s], lists[t + 1] if t + 1 < g.T else {}
    options = g.decisions()
    child = np.repeat(plans.child[n][None], len(options), axis=0)
    q = _values(g, s, options, child, later)
    worth = np.sum(_respond(human, q, s, options, t) * q, axis=-1) @ belief
    if worth.max() > plans.alpha[n] @ belief + _SLACK * max(1.0, np.abs(worth).max()):
        return False
    own = plans.action[n][None]
    play = _respond(human, _values(g, s, own, plans.child[n][None], later), s, own, t)[0]  # [Θ, AH]
    for a, d in np.argwhere(plans.child[n] >= 0):
        mass = belief * play[:, a]
        if g.chance[s, a, own[0, a], d] > 0 and mass.sum() > 0:
            ahead = int(g.ahead[s, d])
            if not _is_consistent(g, human, lists, t + 1, ahead, int(plans.child[n, a, d]), mass / mass.sum()):
                return False
    return True


def _graph(game: Game, g: _Tables, human, lists, roots: dict[int, int]) -> PolicyGraph:
    """The plans below the roots as a policy graph, with the beliefs that lead there."""
    nodes: list[tuple[int, int, int, np.ndarray]] = []
    start = np.full(game.mdp.num_states, -1)
    for s, n in roots.items():
        start[s] = len(nodes)
        nodes.append((0, s, n, g.prior))
    actions, children = [], []
    for t, s, n, belief in nodes:  # grows while it is read
        plans, later = lists[t][s], lists[t + 1] if t + 1 < g.T else {}
        action = plans.action[n]
        play = _respond(human, _values(g, s, action[None], plans.child[n][None], later), s, action[None], t)[0]
        child = np.full_like(plans.child[n], -1)
        for a, d in np.argwhere(g.chance[s, np.arange(g.AH), action] > 0) if later else []:
            mass = belief * play[:, a]
            seen = mass / mass.sum() if mass.sum() > 0 else belief
            child[a, d] = len(nodes)
            nodes.append((t + 1, int(g.ahead[s, d]), max(int(plans.child[n, a, d]), 0), seen))
        actions.append(action)
        children.append(child)
    return PolicyGraph(
        state=jnp.asarray([s for _, s, _, _ in nodes], jnp.int32),
        step=jnp.asarray([t for t, *_ in nodes], jnp.int32),
        decision=jnp.asarray(np.array(actions), jnp.int32),
        child=jnp.asarray(np.array(children), jnp.int32),
        belief=jnp.asarray(np.array([b for *_, b in nodes]), game.prior.dtype),
        start=jnp.asarray(start, jnp.int32),
        next_state=game.mdp.next_state,
        order=game.order,
    )
