"""Bounds that need no search: what full information would be worth, and what simple robots are worth.

Above: a robot that is told θ after its next action.  Its value is linear in the belief for each action m,

    V(s, b) ≤ max_m Σ_θ b(θ) M(s, m, θ),    M(s, m, θ) = Σ_a π_H(a | Q(s, ·, m, θ)) Q(s, a, m, θ),
    Q(s, a, r, θ) = R + γ E[ max_m M(s', m, θ) ]

(with θ fixed and the state seen, the fast informed bound of Hauskrecht 2000 and QMDP are both this).  Below:
robots that do not look at the human at all, each worth what the human makes of it.

The search works with what is *lost*.  With Φ(s, θ) no less than any pair gets that knows θ, Φ ≥ R + γ E[Φ], and

    R'(s, a_H, a_R, θ) = R + γ E[Φ(s')] - Φ(s) ≤ 0

in place of R, all that follows from a state is worth Φ(s, θ) less, so people and robots choose the same.  Every number
of the search is then the negative of a loss: sums cancel nothing, so that float32 rounds them by a share of the loss
itself, however large the values are; and mass that is left out, or a number rounded towards 0, keeps an upper bound
one.
"""

from typing import NamedTuple

import numpy as np

from cirl.full_information import above_all, raised
from cirl.game import Game
from cirl.host_game import HostGame
from cirl.human import Fixed, Human
from cirl.replies import on_host, respond
from cirl.stationary import enclosed, expected, settle

MOST_REWARDS = 32  # rewards for which a robot that is sure of it is valued


class Told(NamedTuple):
    """What a robot that is told θ next is worth at some states; m is its next action, or one row where it answers.

    Attributes:
        table: M, `[n, m, Θ]`.
        play: π_H, `[n, m, Θ, A_H]`.
        sure: the robot's action for each human action once it knows θ, `[n, A_H, Θ]`.
    """

    table: np.ndarray
    play: np.ndarray
    sure: np.ndarray


def told_next(g: HostGame, human: Human, q: np.ndarray, states: np.ndarray, step: int) -> Told:
    """M of a robot that is told θ next, from Q; and what the robot does once it knows.

    Args:
        g: the game.
        human: whom full information is played with.
        q: `[n, A_H, A_R, Θ]`.
        states: `[n]`.
        step: the time.
    """
    n, AH, _, Theta = q.shape
    rows = q.max(axis=2)[:, None] if g.first else np.swapaxes(q, 1, 2)  # [n, m, A_H, Θ]
    m = rows.shape[1]
    each = np.swapaxes(rows, 2, 3).reshape(n * m, Theta, AH)
    play = respond(human, each, np.repeat(states, m), np.tile(np.arange(m), n), np.full(n * m, step))
    table, play = np.sum(play * each, axis=-1).reshape(n, m, Theta), play.reshape(n, m, Theta, AH)
    sure = q.argmax(axis=2) if g.first else np.broadcast_to(table.argmax(axis=1)[:, None], (n, AH, Theta))
    return Told(table, play, sure)


def values_with_full_information(game: Game, human: Human) -> np.ndarray:
    """max_m M with a human: what the pair is worth if the robot knows θ too, `[T + 1 or 1, S, Θ]`."""
    g = HostGame(game)
    every, value = np.arange(g.num_states), np.zeros((g.num_states, g.num_thetas))
    if g.horizon is None:
        return without_end(g, human, g.reward)[0][None]
    tables = [value]
    for t in reversed(range(g.horizon)):
        q = g.values(tables[0], value, every)[0]
        tables.insert(0, told_next(g, human, q, every, t).table.max(axis=1))
    return np.stack(tables)


def without_end(g: HostGame, human: Human, reward: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upper bounds of max_m M in an endless game that pays `reward` `[S, A_H, A_R, Θ]`, from policy iteration.

    Returns:
        The bound, `[S, Θ]`, and the value from which it was found.
    """
    every = np.arange(g.num_states)
    S, AH, AR, Theta = reward.shape

    def choose(q):
        told = told_next(g, human, q.reshape(reward.shape), every, 0)
        own = np.equal(np.arange(AR)[:, None], told.sure[:, :, None])  # [S, A_H, A_R, Θ]
        row = np.zeros_like(told.sure[:, 0]) if g.first else told.sure[:, 0]  # [S, Θ]
        play = told.play[every[:, None], row, np.arange(Theta)]  # [S, Θ, A_H]
        return (np.swapaxes(play, 1, 2)[:, :, None] * own).reshape(S, AH * AR, Theta)

    ahead, chance = g.joint_moves()
    value, _ = settle(reward.reshape(S, AH * AR, Theta), ahead, chance, g.gamma, choose, np.zeros((S, Theta)))
    later, off = g.expected(value, every)
    above = told_next(g, human, reward + g.gamma * (later + off), every, 0).table.max(axis=1)
    above = above + g.eps * np.abs(above)
    return enclosed(value, value, above, g.reaches)[1], value


class FirstBounds(NamedTuple):
    """What is known before the search, as losses; U is T + 1, or 1 in an endless game.

    Attributes:
        informed: M for the team, from above, `[U, S, m, Θ]`.
        robots: simple robots, `[n, T or 1, S, A_H]`.
        simple: what they are worth to the human, `[n, U, S, Θ]`.
    """

    informed: np.ndarray
    robots: np.ndarray
    simple: np.ndarray


class Losses:
    """A game as losses.

    People whose play is a table cannot do better than that, so Φ counts it, and R' is what the pair loses whatever they
    do: with π fixed, only Σ_a π(a) R'(a) matters.

    Args:
        g: the game.
        team: the human that upper bounds are for: `EpsilonGreedy` or `Fixed`.

    Attributes:
        g: the game.
        team: the human, with numbers in NumPy.
        phi: Φ, `[U, S, Θ]`.
        layers: the states that can be reached, for each step.
    """

    def __init__(self, g: HostGame, team: Human):
        self.g, self.team, self.layers = g, on_host(team), g.layers()
        self._none = np.zeros((g.num_states, g.num_thetas))
        self.phi = self._above_with(self.team) if isinstance(self.team, Fixed) else above_all(g)

    def _above_with(self, human: Fixed) -> np.ndarray:
        """Φ ≥ max_m Σ_a π(a) (R + γ E[Φ]), `[U, S, Θ]`."""
        g, every = self.g, np.arange(self.g.num_states)

        def above(value: np.ndarray, step: int) -> np.ndarray:
            q, off = g.values(value, self._none, every)
            best = told_next(g, human, q + off, every, step).table.max(axis=1)
            return best + g.eps * np.abs(best)

        if g.horizon is not None:
            tables = [self._none]
            for t in reversed(range(g.horizon)):
                tables.insert(0, above(tables[0], t))
            return np.stack(tables)
        value = without_end(g, human, g.reward)[1]
        return raised(value, above(value, 0), g)[None]

    def after(self, step: int) -> int:
        """The step after, 0 in an endless game."""
        return 0 if self.g.horizon is None else step + 1

    def reward(self, step: int, states: np.ndarray) -> np.ndarray:
        """R' at some states, from above, `[n, A_H, A_R, Θ]`."""
        q, off = self.g.values(self.phi[self.after(step)], self._none, states)
        high, phi = q + off, self.phi[step][states]
        if not isinstance(self.team, Fixed):
            return np.minimum(high - phi[:, None, None], 0)
        told = told_next(self.g, self.team, high, states, step)
        lost = told.table + self.g.eps * np.abs(told.table) - phi[:, None]  # [n, m, Θ]
        if self.g.first:  # to each human action what the answer loses beside the best
            return np.minimum(high - high.max(axis=2, keepdims=True) + lost[:, :, None], 0)
        return np.minimum(np.broadcast_to(lost[:, None], high.shape), 0)

    def later(self, value: np.ndarray, states: np.ndarray) -> np.ndarray:
        """γ E[V'] from above, `[n, A_H, A_R, Θ]`."""
        mean, off = self.g.expected(value, states)
        return np.minimum(self.g.gamma * (mean + off), 0)

    def discounted(self, chance: np.ndarray, vague) -> np.ndarray:
        """γ P from below, for probabilities `[...]`."""
        return np.maximum(self.g.gamma * chance * (1 - vague - self.g.eps), 0)


def first_bounds(losses: Losses, human: Human, dtype) -> FirstBounds:
    """Both bounds: M for the team, the simple robots, and their values to the `human`."""
    g, team, human = losses.g, losses.team, on_host(human)
    T, S, Theta = g.horizon, g.num_states, g.num_thetas
    U, AR = 1 if T is None else T + 1, g.num_robot_actions
    likely = np.argsort(-g.prior, kind="stable")[:MOST_REWARDS]
    informed = np.zeros((U, S, 1 if g.first else AR, Theta), dtype)
    robots = np.zeros((AR + len(likely), max(U - 1, 1), S, g.num_human_actions), np.int32)
    robots[:AR] = np.arange(AR)[:, None, None, None]
    simple = np.zeros((len(robots), U, S, Theta), dtype)
    known, plain = np.zeros((S, Theta)), np.zeros((len(robots), S, Theta))
    for t in reversed(range(max(U - 1, 1))):
        states, reward = losses.layers[t], losses.reward(t, losses.layers[t])
        if T is None:
            known = np.minimum(without_end(g, team, losses.reward(0, np.arange(S)))[0], 0)
        told = told_next(g, team, reward + losses.later(known, states), states, t)
        informed[t, states] = towards_zero(np.minimum(told.table, 0) * (1 - g.eps), dtype)
        robots[AR:, t, states] = np.moveaxis(told.sure[..., likely], -1, 0)
        known = np.zeros((S, Theta))
        known[states] = told.table.max(axis=1)
        for n, robot in enumerate(robots[:, t]):
            plain[n] = _simple(g, human, robot, states, reward, plain[n], t)
        simple[:, t] = plain
    return FirstBounds(informed, robots, simple)


def _simple(g: HostGame, human: Human, robot: np.ndarray, states: np.ndarray, reward, later, step: int) -> np.ndarray:
    """What a simple robot is worth to each θ at some states, given the next step (or without end, from below)."""
    humans, rows = np.arange(g.num_human_actions), states[:, None]
    answer = robot[states]
    paid = reward[np.arange(len(states))[:, None], humans, answer]  # [n, A_H, Θ]
    chance = g.chance[rows, humans, answer]
    ahead = np.broadcast_to(g.ahead[states][:, None], chance.shape)
    at = states, answer[:, 0], np.full(len(states), step)
    out = np.zeros_like(later)
    if g.horizon is not None:
        q = np.swapaxes(paid + g.gamma * expected(later, ahead, chance), 1, 2)
        out[states] = np.sum(respond(human, q, *at) * q, axis=-1)
        return out
    number = np.zeros(g.num_states, int)
    number[states] = np.arange(len(states))
    ahead = number[ahead]

    def choose(q):
        return np.swapaxes(respond(human, np.swapaxes(q, 1, 2), *at), 1, 2)

    value, _ = settle(paid, ahead, chance, g.gamma, choose, np.zeros((len(states), g.num_thetas)), most=300)
    q = paid + g.gamma * expected(value, ahead, chance)
    swept = np.sum(choose(q) * q, axis=1)
    out[states] = enclosed(value, swept, swept, g.reaches)[0]
    return out


def towards_zero(x: np.ndarray, dtype) -> np.ndarray:
    """Numbers in another dtype, no further from 0 than they are."""
    held = x.astype(dtype)
    return np.where(np.abs(held.astype(float)) > np.abs(x), np.nextafter(held, np.zeros((), dtype)), held)
