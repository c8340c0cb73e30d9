"""The exact solution with a rational human: a finite MDP on (state, subset of Θ).

A rational human's action splits the rewards that are still possible, so every belief is the prior
restricted to a subset.  Written with the prior's masses, not renormalised, the value adds up over
the parts of a split,

    W(s, B) = max_{a_R} max_{B = ⊎ B_a} Σ_a [ Σ_{θ ∈ B_a} P₀(θ) R(s, a, a_R; θ) + γ E W(s', B_a) ]

and the best split is a max-plus subset convolution, one human action after another: the human's
choice is optimised for all θ together, which an argmax per observation would get wrong.

Without end, a subset stays whole or falls into smaller ones, whose values are then known: from the
smallest on, each is an MDP of its own, in which falling apart is one more way to stop.
"""

import functools
from dataclasses import dataclass

import numpy as np

from cirl.full_information import best_choice
from cirl.game import Game
from cirl.host_game import HostGame
from cirl.policy_graph import Nodes
from cirl.stationary import settle

MOST_THETAS = 12  # rewards; tables hold 2^Θ columns
ENTRIES_COMPARED = 4_000_000  # numbers compared at once


@dataclass(frozen=True)
class Found:
    """What the solver finds.

    Attributes:
        upper: no robot attains more at the prior.
        nodes: the robot.
    """

    upper: float
    nodes: Nodes


@dataclass(frozen=True)
class _Choice:
    """Decisions at some states, `[n, B, A_H]`: the robot's action for each human action, and the part that takes it."""

    robot: np.ndarray
    part: np.ndarray


def cost_of_subsets(game: Game) -> float:
    """Numbers compared, about."""
    steps = 1 if game.mdp.horizon is None else game.mdp.horizon
    return float(steps) * game.mdp.num_states * game.mdp.num_actions * 3.0**game.num_thetas


def solve_subsets(game: Game, max_steps: int) -> Found:
    """The best robot for a rational human, and bounds of its value at the prior.

    Args:
        game: the game.
        max_steps: most rounds of policy iteration, in all, in an endless game.

    Raises:
        ValueError: for more rewards than the tables can hold.
    """
    if game.num_thetas > MOST_THETAS:
        raise ValueError(
            f"the game has {game.num_thetas} rewards; the exact solver for a rational human keeps 2^Θ columns and "
            f"takes at most {MOST_THETAS}. Merge rewards that are alike, or use Bounded()."
        )
    g = HostGame(game)
    return _backward(g) if g.horizon is not None else _endless(g, max_steps)


@functools.cache
def _levels(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each size the subsets of it `[n]`, as numbers with those bits, and the parts of each, `[n, 2^size]`."""
    every = np.arange(1 << count)
    sizes, out = np.bitwise_count(every), []
    for size in range(count + 1):
        subsets = every[sizes == size]
        bits = np.nonzero(subsets[:, None] >> np.arange(count) & 1)[1].reshape(len(subsets), size)
        inside = np.arange(1 << size)[:, None] >> np.arange(size) & 1
        out.append((subsets, (1 << bits) @ inside.T if size else np.zeros((1, 1), int)))
    return out


def _sums(values: np.ndarray) -> np.ndarray:
    """Sums over every subset, `[..., Θ] -> [..., 2^Θ]`."""
    count = values.shape[-1]
    member = (np.arange(1 << count) >> np.arange(count)[:, None]) & 1
    return values @ member.astype(float)


class _Split:
    """The best way to share subsets among the human's actions, from the smallest subsets on.

    Args:
        gain: what each part is worth if it takes each action, `[n, A_H, O, B]`; may be filled in level by level.
    """

    def __init__(self, gain: np.ndarray):
        n, AH, O, B = gain.shape
        self.gain = gain
        self.best = np.zeros((AH, n, O, B))  # of sharing among the actions up to each
        self.taken = np.zeros((AH, n, O, B), np.int16)  # the part that takes each

    def level(self, subsets: np.ndarray, parts: np.ndarray) -> None:
        """Share the subsets of one size `[m]`, whose parts are `[m, P]`."""
        n, AH, O, _ = self.gain.shape
        rest = subsets[:, None] ^ parts
        self.best[0][..., subsets], self.taken[0][..., subsets] = self.gain[:, 0][..., subsets], subsets
        rows = max(1, ENTRIES_COMPARED // (O * parts.size))
        for i in range(0, n, rows):
            here = slice(i, i + rows)
            for a in range(1, AH):
                total = self.gain[here, a][..., parts] + self.best[a - 1, here][..., rest]  # [n, O, m, P]
                which = total.argmax(axis=-1)
                self.best[a, here][..., subsets] = np.take_along_axis(total, which[..., None], axis=-1)[..., 0]
                self.taken[a, here][..., subsets] = parts[np.arange(len(subsets)), which]

    def chosen(self, outside: np.ndarray) -> np.ndarray:
        """The part that takes each action, given the robot's action outside `[n, B]`: `[n, B, A_H]`."""
        n, B = outside.shape
        left, rows = np.broadcast_to(np.arange(B), (n, B)), np.arange(n)[:, None]
        part = np.zeros((n, B, len(self.taken)), np.int16)
        for a in reversed(range(len(self.taken))):
            part[..., a] = self.taken[a][rows, outside, left]
            left = left ^ part[..., a]
        return part


def _inside(g: HostGame, gain: np.ndarray) -> np.ndarray:
    """`[n, A_H, A_R, B]` to `[n, A_H, O, B]`: a robot that answers does what is best for each part by itself."""
    return gain.max(axis=2, keepdims=True) if g.first else gain


def _when_shared(g: HostGame, gain: np.ndarray, split: _Split) -> tuple[np.ndarray, _Choice]:
    """The value `[n, B]` and the decisions once all subsets are shared; `gain` is by robot action."""
    value = split.best[-1]  # [n, O, B]
    outside = value.argmax(axis=1)  # [n, B]
    part = split.chosen(outside)
    if g.first:
        answer = gain.argmax(axis=2)  # [n, A_H, B]
        robot = np.stack(
            [np.take_along_axis(answer[:, a], part[..., a].astype(int), axis=1) for a in range(part.shape[2])], -1
        )
    else:
        robot = np.broadcast_to(outside[..., None], part.shape)
    return value.max(axis=1), _Choice(robot.astype(np.int16), part)


class _Gains:
    """What parts of the prior are paid and worth at some states."""

    def __init__(self, g: HostGame, states: np.ndarray):
        self.g, self.states = g, states
        paid = g.reward[states] * g.prior
        self.paid, self._size = _sums(paid), _sums(np.abs(paid))
        self._off = g.off.prior + g.off.reward

    def of(self, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The gain of each part, `[n, A_H, A_R, B]`, from W `[S, B]` of the next step, and how far it may be off."""
        later, off = self.g.expected(value, self.states)
        # The numbers of the prior may be off, and those of the reward.
        return self.paid + self.g.gamma * later, (1.0001 * self._off + self.g.eps) * self._size + self.g.gamma * off


def _shared(g: HostGame, gain: np.ndarray) -> tuple[np.ndarray, _Choice]:
    """The value `[n, B]` of the best way to share every subset, and the decisions."""
    split = _Split(_inside(g, gain))
    for subsets, parts in _levels(g.num_thetas)[1:]:
        split.level(subsets, parts)
    return _when_shared(g, gain, split)


def _placed(g: HostGame, states: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Values at some states among all, `[S, B]`."""
    out = np.zeros((g.num_states, value.shape[1]))
    out[states] = value
    return out


def _backward(g: HostGame) -> Found:
    """With a horizon: backwards over the states that can be reached, with every number as high as it may be."""
    layers, choices = g.layers(), []
    above = np.zeros((g.num_states, 1 << g.num_thetas))
    for states in reversed(layers):
        gain, off = _Gains(g, states).of(above)
        value, choice = _shared(g, gain + off)
        choices.insert(0, choice)
        above = _placed(g, states, value)
    return _found(g, above[:, -1], layers, choices)


def _endless(g: HostGame, max_steps: int) -> Found:
    """Without end: subset by subset, from the smallest on; then one sweep that certifies all."""
    [states] = g.layers()
    value = _placed(g, states, _settled(g, states, max_steps))
    mass = _sums(g.prior)[1:]
    gain, off = _Gains(g, states).of(value)
    swept, choice = _shared(g, gain + off)
    rise = ((swept - value[states])[:, 1:] / mass).max()
    above = swept[:, -1] + max(0.0 if rise == 0 else reach * rise for reach in g.reaches) * mass[-1]
    return _found(g, _placed(g, states, above[:, None])[:, 0], [states], [choice])


def _settled(g: HostGame, states: np.ndarray, most: int) -> np.ndarray:
    """W without end at some states, closed under moves, `[n, B]`, up to rounding or the budget."""
    number = np.zeros(g.num_states, int)
    number[states] = np.arange(len(states))
    ahead, chance = (x[states] for x in g.joint_moves())
    stop = np.zeros((len(states), 1, ahead.shape[2]))
    ahead = np.concatenate([number[ahead], stop.astype(int)], axis=1)
    chance = np.concatenate([chance, stop], axis=1)
    gains, joint = _Gains(g, states), (len(states), -1, 1 << g.num_thetas)
    gain = np.zeros_like(gains.paid)
    split, value = _Split(_inside(g, gain)), np.zeros((g.num_states, joint[2]))
    for subsets, parts in _levels(g.num_thetas)[1:]:
        paid = gains.paid.reshape(joint)[..., subsets]
        low = min(paid.min() / (1 - g.gamma), 0.0)
        if most < 1:
            value[np.ix_(states, subsets)] = low
            continue
        # Falling apart: no action takes the whole.
        split.gain[..., subsets] = -np.inf
        split.level(subsets, parts)
        apart = split.best[-1][..., subsets].max(axis=1)
        reward = np.concatenate([paid, apart[:, None]], axis=1)
        begin = np.maximum(apart, low)
        found, rounds = settle(reward, ahead, chance, g.gamma, best_choice, begin, most=most)
        most -= rounds
        value[np.ix_(states, subsets)] = found
        gain[..., subsets] = gains.of(value)[0][..., subsets]
        split.gain[..., subsets] = _inside(g, gain[..., subsets])
        split.level(subsets, parts)
    return value[states]


def _found(g: HostGame, above: np.ndarray, layers: list[np.ndarray], choices: list[_Choice]) -> Found:
    upper = float(g.initial @ above)
    return Found(upper + g.off_at_start * float(g.initial @ np.abs(above)), _reached(g, layers, choices))


def _reached(g: HostGame, layers: list[np.ndarray], choices: list[_Choice]) -> Nodes:
    """The robot from the starts on: a node for each (time, state, subset) that it may come to."""
    AH, D, B = g.num_human_actions, g.ahead.shape[1], 1 << g.num_thetas
    humans = np.arange(AH)[:, None]
    possible = np.moveaxis(g.chance > 0, 3, 2)  # [S, A_H, D, A_R]
    start = np.full(g.num_states, -1)
    start[g.starts] = np.arange(len(g.starts))
    code, count, t = g.starts * B + B - 1, len(g.starts), 0
    seen = {} if g.horizon is not None else dict(zip(code.tolist(), range(count), strict=True))
    states, steps, answers, children = [], [], [], []
    while len(code):
        state, subset = code // B, code % B
        choice = choices[t]
        row = np.searchsorted(layers[t], state)
        answer, part = choice.robot[row, subset].astype(int), choice.part[row, subset].astype(int)  # [n, A_H]
        child = np.full((len(code), AH, D), -1)
        new = code[:0]
        if g.horizon is None or t + 1 < g.horizon:
            n, a, d = np.nonzero(possible[state[:, None, None], humans, np.arange(D), answer[:, :, None]])
            seen_as = np.where(part[n, a] > 0, part[n, a], subset[n])  # nobody would have: the belief stays what it was
            target = g.ahead[state[n], d] * B + seen_as
            new, child[n, a, d] = _numbered(target, seen, count)
            count += len(new)
        states.append(state)
        steps.append(np.full(len(code), t))
        answers.append(answer)
        children.append(child)
        code = new
        if g.horizon is not None:
            t, seen = t + 1, {}
    return Nodes(
        np.concatenate(states), np.concatenate(steps), np.concatenate(answers), np.concatenate(children), start
    )


def _numbered(codes: np.ndarray, seen: dict[int, int], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes that were not seen yet, in the order in which they are met, and the number of each code."""
    unique, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order, ids, new = np.argsort(first), np.empty(len(unique), int), []
    for k in order:
        told = int(unique[k])
        if told not in seen:
            seen[told] = count + len(new)
            new.append(told)
        ids[k] = seen[told]
    return np.array(new, int), ids[inverse]
