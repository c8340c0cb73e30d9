"""A game's tables on the host, in float64, and how far what follows from them may be off.

The solvers that list what can happen, and whatever certifies a bound, work here.  A game's dtype does not hold every
number that was given (.1 is no float32): a number x of the tables stands for one within x (1 ± ρ), a row of
probabilities for one that sums to one, the discount for the one that was given.  What is said here is true of the game
as it was given and as it is held.  With what float64 rounds, ε of the terms of a sum, and what is missing of a row's
sum, σ, and of the discount, κ,

    |Q' - Q| ≤ ρ |R| + γ (ρ E|V - c| + (σ + κ) |E V| + E e) + ε (|R| + γ |V|),    e the error of V, c any constant,

with the ρ of the table in question; value by value: a huge payoff that nobody takes makes no other value uncertain.
"""

import numpy as np

from cirl.game import CastError, Game, Order

__all__ = ["HostGame"]
__dir__ = __all__.copy

EPS = float(np.finfo(np.float64).eps)


class HostGame:
    """The tables of a game.

    Args:
        game: the game.
        as_held: whether errors count what the cast did to the discount (else: to the rest of the tables alone).

    Attributes:
        game: the game.
        reward: `[S, A_H, A_R, Θ]`.
        chance: probability of each successor slot, `[S, A_H, A_R, D]`; sums to one.
        ahead: the successors, `[S, D]`.
        prior: `[Θ]`, as held.
        initial: `[S]`, as held.
        gamma: discount factor per step, as it was given.
        reaches: γ / (1 - γ) of an endless game, at least and at most.
        horizon: number of steps, or None.
        first: whether the robot sees the human's action before its own.
        off: how far the numbers of the tables may be off, relative to themselves.
        eps: what float64 may round off a sum here, relative to its terms.
    """

    def __init__(self, game: Game, *, as_held: bool = True):
        S, AH, AR = game.mdp.num_states, game.num_human_actions, game.num_robot_actions
        self.game, self.horizon, self.first = game, game.mdp.horizon, game.order is Order.HUMAN_FIRST
        self.reward = np.asarray(game.mdp.features, float).reshape(S, AH, AR, -1)
        chance = np.asarray(game.mdp.probability, float).reshape(S, AH, AR, -1)
        total = chance.sum(axis=-1, keepdims=True)
        self.chance, self.ahead = chance / total, np.asarray(game.mdp.next_state)
        self.prior, self.initial = np.asarray(game.prior, float), np.asarray(game.mdp.initial, float)
        held, given = np.asarray(game.mdp.discount), float(game.given_discount)
        self.gamma = given if held.dtype.type(given) == held else float(held)
        self.off = CastError(*map(float, game.cast_error))
        self.eps = (self.chance.shape[3] + AH + self.num_thetas + 16) * EPS
        missing = np.asarray(np.abs(total - 1))  # [S, A_H, A_R, 1]
        # Moves that are certain are exact in any dtype.
        vague = 1.0001 * self.off.rows * ((chance > 0) & (chance < 1)).any(axis=-1, keepdims=True)
        self._vague: np.ndarray | None = np.asarray(vague) if vague.any() else None
        kappa = abs(self.gamma - float(held)) / max(self.gamma, 1e-300) if as_held else 0.0
        self._missing: np.ndarray | None = np.asarray(missing + kappa) if missing.any() or kappa else None
        if self.horizon is None:
            off = (1 + kappa) * (1 + missing.max())
            self.reaches = [np.inf if x >= 1 else x / (1 - x) for x in (self.gamma / off, self.gamma * off)]

    @property
    def num_states(self) -> int:
        """S."""
        return self.reward.shape[0]

    @property
    def num_human_actions(self) -> int:
        """A_H."""
        return self.reward.shape[1]

    @property
    def num_robot_actions(self) -> int:
        """A_R."""
        return self.reward.shape[2]

    @property
    def num_thetas(self) -> int:
        """Θ."""
        return self.reward.shape[3]

    @property
    def off_at_start(self) -> float:
        """How far what is summed over starts and θ may be off, relative to its terms."""
        return 1.0001 * (self.off.prior + self.off.initial) + self.eps

    @property
    def starts(self) -> np.ndarray:
        """The states in which a run may begin."""
        return np.flatnonzero(self.initial > 0)

    def layers(self) -> list[np.ndarray]:
        """The states that some actions lead to, for each step; in an endless game one layer of all of them."""
        used = np.asarray((self.chance > 0).any(axis=(1, 2)))
        layers = [self.starts]
        if self.horizon is None:
            seen = np.zeros(self.num_states, bool)
            new = layers[0]
            while new.size:
                seen[new] = True
                ahead = np.unique(self.ahead[new][used[new]])
                new = ahead[~seen[ahead]]
            return [np.flatnonzero(seen)]
        for _ in range(self.horizon - 1):
            layers.append(np.unique(self.ahead[layers[-1]][used[layers[-1]]]))
        return layers

    def joint_moves(self) -> tuple[np.ndarray, np.ndarray]:
        """Where every pair of actions leads and with which probability, `[S, A_H * A_R, D]`."""
        chance = self.chance.reshape(self.num_states, -1, self.chance.shape[-1])
        return np.broadcast_to(self.ahead[:, None], chance.shape), chance

    def expected(self, value: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """E[value(s')] after every pair of actions, `[S, K] -> [n, A_H, A_R, K]`, and how far it may be off."""
        AH, AR, D = self.chance.shape[1:]
        chance = self.chance[states].reshape(len(states), AH * AR, D)
        found = value[self.ahead[states]]  # [n, D, K]
        shape = (len(states), AH, AR, value.shape[-1])
        mean = (chance @ found).reshape(shape)
        error: np.ndarray = self.eps * np.abs(found).max(axis=1)[:, None, None]
        if self._vague is not None and self._vague[states].any():
            middle = (found.max(axis=1, keepdims=True) + found.min(axis=1, keepdims=True)) / 2
            error = error + self._vague[states] * (chance @ np.abs(found - middle)).reshape(shape)
        if self._missing is not None:
            error = error + self._missing[states] * np.abs(mean)
        return mean, error

    def vagueness(self, state, human, robot) -> tuple[np.ndarray, np.ndarray] | None:
        """How far rows of probabilities may be off, each `[..., 1]`: relative to each entry, and in their sum."""
        if self._vague is None and self._missing is None:
            return None
        none = np.zeros((*np.broadcast_shapes(*(np.shape(x) for x in (state, human, robot))), 1))
        vague = none if self._vague is None else self._vague[state, human, robot]
        missing = none if self._missing is None else self._missing[state, human, robot]
        return vague, missing

    def values(self, value: np.ndarray, error: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Q after every pair of actions, `[n, A_H, A_R, Θ]`, from V `[S, Θ]` and its error; and its own error."""
        later, off = self.expected(value, states)
        carried = self.expected(error, states)[0] if error.any() else 0.0
        reward = self.reward[states]
        q = reward + self.gamma * later
        return q, (self.off.reward + self.eps) * np.abs(reward) + self.gamma * (off + 1.0001 * carried)

    def decisions(self, most: int) -> np.ndarray:
        """The robot's decisions at one node, as an action for each human action, `[n, A_H]`.

        Raises:
            ValueError: for more than `most`.
        """
        AH, AR = self.num_human_actions, self.num_robot_actions
        if not self.first:
            return np.repeat(np.arange(AR)[:, None], AH, axis=1)
        if most < AR**AH:
            raise ValueError(
                f"the robot answers each of {AH} human actions with one of {AR}: {AR**AH} decisions at one node, and "
                f"at most {most} are listed. Use Bounded(), or merge actions that are alike."
            )
        return np.stack(np.meshgrid(*[np.arange(AR)] * AH, indexing="ij"), axis=-1).reshape(-1, AH)
