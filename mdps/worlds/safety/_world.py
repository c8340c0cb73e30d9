"""A world with two rewards over the same features: the one that is written, and the one that is meant."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mdps.checks import check_count, check_number, check_policy, shown
from mdps.mdp import MDP
from mdps.policies import feature_expectations
from mdps.worlds._explore import End, Explored, explore
from mdps.worlds.safety._boards import DIRECTIONS, WITH_STAYING, Board, find, walked

SIGNS = {"up": "↑", "down": "↓", "left": "←", "right": "→", "stay": "·"}
MOST_STARTS = 3  # of a world with more, one is shown


@dataclass(frozen=True)
class Rules:
    """How a world goes on, before it is a table: what `worlds.explore` is given, and how a state looks.

    Attributes:
        start: a state, or a dictionary from states to probabilities.
        step: from a state and an action to what comes next, as `worlds.explore` reads it.
        features: from a state, an action and what came next to feature counts.
        feature_names: one name per feature.
        frame: from a state to a board of characters, with `A` (or `a`) for the agent.
        legend: what the characters mean.
    """

    start: Any
    step: Callable[[Any, str], Any]
    features: Callable[[Any, str, Any], Sequence[float]]
    feature_names: tuple[str, ...]
    frame: Callable[[Any], Board]
    legend: str


@dataclass(frozen=True, eq=False)
class World:
    """One MDP and two rewards over its features: what the agent is given, and what was meant.

    Attributes:
        title: what it is called.
        source: where its rules and numbers come from.
        mdp: the MDP; reward is paid for what a step brings.
        written: weights of the reward that the agent is given, `[K]`.
        hidden: weights of the reward that it is judged by, `[K]`.
        explored: the MDP with the states that its numbers stand for.
        rules: how it goes on.

    Example:
        >>> import mdps
        >>> from mdps.worlds import safety
        >>> sokoban = safety.sokoban()
        >>> literal = mdps.solve(sokoban.mdp, sokoban.mdp.reward(sokoban.written)).policy
        >>> print(sokoban.show(literal))
        sokoban: written 45, hidden 35
        # # # # # #     # # # # # #
        #   A↓# # #     #     # # #
        #   X→→ ↓ #     #         #
        # #     ↓ #     # # X   A #
        # # #   G #     # # #   G #
        # # # # # #     # # # # # #
        down right right down down, the end
        A agent, X box, G goal, # wall; arrows: likeliest run
    """

    title: str
    source: str
    mdp: MDP
    written: Float[Array, " K"]
    hidden: Float[Array, " K"]
    explored: Explored
    rules: Rules

    def __repr__(self) -> str:
        return (
            f"World({self.title!r}, {self.mdp!r}, written {self._says(self.written)}, hidden {self._says(self.hidden)})"
        )

    def _says(self, weights: Array) -> str:
        pairs = zip(self.mdp.feature_names, np.asarray(weights).tolist(), strict=True)
        return ", ".join(f"{name} {w:g}" for name, w in pairs if w) or "nothing"

    @property
    def states(self) -> tuple[Hashable, ...]:
        """What each state of the MDP stands for."""
        return self.explored.states

    def where(self, test: Callable[[Any], Any]) -> Bool[np.ndarray, " S"]:
        """Which states pass a test, `[S]`."""
        return self.explored.where(test)

    def weights(self, named: Mapping[str, float] | None = None, /, **more: float) -> Float[Array, " K"]:
        """Weights by name of the feature, 0 for the others.

        Raises:
            ValueError: for a feature that does not exist.
        """
        return weights_of(self.mdp, {**(named or {}), **more})

    def returns(self, policy: Float[Array, " ... S A"] | np.ndarray) -> tuple[float, float]:
        """The expected written and hidden return of a policy."""
        counts = feature_expectations(self.mdp, check_policy(self.mdp, policy))
        return float(counts @ self.written), float(counts @ self.hidden)

    def replay(self, actions: str | Sequence[str]) -> tuple[float, float]:
        """The expected written and hidden return of a sequence of actions, by their names or first letters.

        Raises:
            ValueError: for what is no action, or more of them than the horizon has steps.

        Example:
            >>> from mdps.worlds import safety
            >>> safety.boat_race().replay("rrddlluu")
            (4.0, 8.0)
        """
        mdp, share = self.mdp, np.asarray(self.mdp.initial, np.float64)
        table, chance, features = (np.asarray(x) for x in (mdp.next_state, mdp.probability, mdp.features))
        numbers = self._numbers(actions)
        counts, gamma = np.zeros(mdp.num_features), 1.0
        for a in numbers:
            counts += gamma * share @ features[:, a]
            share = np.bincount(table.ravel(), (share[:, None] * chance[:, a]).ravel(), mdp.num_states)
            gamma *= float(mdp.discount)
        return float(counts @ np.asarray(self.written)), float(counts @ np.asarray(self.hidden))

    def _numbers(self, actions: str | Sequence[str]) -> list[int]:
        known = self.explored.actions
        names = {name[0]: a for a, name in enumerate(known)} | {name: a for a, name in enumerate(known)}
        if not isinstance(actions, Sequence):
            raise ValueError(
                f"actions is {shown(actions)}; give a sequence of names, or a string of their first letters."
            )
        for action in actions:
            if not isinstance(action, str) or action not in names:
                letters = " ".join(name[0] for name in known)
                raise ValueError(f"actions holds {shown(action)}; the actions are {', '.join(known)}, or {letters}.")
        if self.mdp.horizon is not None and len(actions) > self.mdp.horizon:
            raise ValueError(f"actions has {len(actions)} steps; a run has at most {self.mdp.horizon}.")
        return [names[action] for action in actions]

    def walk(self, policy: Float[Array, " ... S A"] | np.ndarray, start: Any = None) -> list[tuple[Any, str | None]]:
        """The likeliest run as pairs of state and action, to where nothing moves any more; the last has no action.

        Among tied actions it keeps to its last direction if it can.

        Args:
            policy: `[S, A]`, or `[T, S, A]`.
            start: the state to begin in; None: the likeliest, of equals the first.
        """
        choice = np.asarray(check_policy(self.mdp, policy, at_least=0, shares=False))
        table, chance = np.asarray(self.mdp.next_state), np.asarray(self.mdp.probability)
        state = int(np.argmax(self.mdp.initial)) if start is None else self.explored.index(start)
        steps = len(choice) if choice.ndim == 3 else self.mdp.horizon or 4 * self.mdp.num_states
        run, action, names = [], 0, self.explored.actions
        for t in range(steps):
            share = choice[t, state] if choice.ndim == 3 else choice[state]
            if share[action] < share.max() - 1e-6:
                action = int(np.argmax(share))
            if np.isclose(chance[state][:, table[state] == state].sum(axis=1), 1).all():
                break
            run.append((self.states[state], names[action]))
            state = int(table[state, np.argmax(chance[state, action])])
        while run and run[-1][0] == self.states[state]:
            run.pop()
        return [*run, (self.states[state], None)]

    def path(self, policy: Float[Array, " ... S A"] | np.ndarray, start: Any = None) -> list[tuple[int, int]]:
        """The cells (row, column) on the likeliest run, the one in which it ends included."""
        run = self.walk(policy, start)
        boards = [(self.rules.frame(state), action) for state, action in run if not isinstance(state, End)]
        cells = [agent(board) for board, _ in boards]
        board, action = boards[-1]
        return cells if action is None else [*cells, walked(board, cells[-1], action)]

    def show(self, policy: Float[Array, " ... S A"] | np.ndarray | None = None) -> str:
        """The world as text; with a policy, the likeliest run from each start, and what it leaves behind.

        On the left is the start, with arrows where the agent comes by; on the right is how things stand at the end, or
        before the step that ends the run.  A world with many starts is shown from the likeliest one.
        """
        starts = [self.states[s] for s in np.flatnonzero(np.asarray(self.mdp.initial) > 0)]
        starts = starts if len(starts) <= MOST_STARTS else [self.states[int(np.argmax(self.mdp.initial))]]
        if policy is None:
            boards = ["\n".join(line.rstrip() for line in spaced(self.rules.frame(start))) for start in starts]
            return "\n\n".join(boards) + f"\n{self.rules.legend}"
        paid = "written {:.6g}, hidden {:.6g}".format(*self.returns(policy))
        runs = [self._run(self.walk(policy, start)) for start in starts]
        return "\n".join([f"{self.title}: {paid}", *runs, f"{self.rules.legend}; arrows: likeliest run"])

    def _run(self, run: list[tuple[Any, str | None]]) -> str:
        """A run as two boards side by side, and in words."""
        signs: dict[tuple[int, int], str] = {}
        for state, action in run[:-1]:
            signs.setdefault(agent(self.rules.frame(state)), SIGNS[action or "up"])
        over = isinstance(run[-1][0], End)
        last = run[-2][0] if over else run[-1][0]
        left, right = spaced(self.rules.frame(run[0][0]), signs), spaced(self.rules.frame(last))
        moves = [action for _, action in run if action]
        words = " ".join(moves[:16]) + (f" … ({len(moves)} steps)" if len(moves) > 16 else "")
        board = [f"{a.ljust(len(left[0]))}    {b}".rstrip() for a, b in zip(left, right, strict=True)]
        return "\n".join([*board, f"{words or 'stays'}{', the end' * over}"])


def agent(frame: Board) -> tuple[int, int]:
    """The cell of the agent."""
    return find(frame, "Aa")[0]


def spaced(frame: Board, signs: Mapping[tuple[int, int], str] | None = None) -> list[str]:
    """A board two characters wide, with a sign behind, or in place of floor on, some cells."""
    signs = signs or {}
    lines = []
    for r, row in enumerate(frame):
        line = ""
        for c, x in enumerate(row):
            sign = signs.get((r, c), " ")
            line += sign + " " if x == " " else x + sign
        lines.append(line)
    return lines


def weights_of(mdp: MDP, named: Mapping[str, float]) -> Float[Array, " K"]:
    """Weights `[K]` by name, 0 for the others."""
    for name in named:
        if name not in mdp.feature_names:
            raise ValueError(f"there is no feature {name!r} here; the features are {', '.join(mdp.feature_names)}.")
    dtype = mdp.features.dtype
    return jnp.stack([check_number(name, named.get(name, 0.0), dtype=dtype) for name in mdp.feature_names])


def built(
    title: str,
    source: str,
    rules: Rules,
    written: Mapping[str, float],
    hidden: Mapping[str, float],
    horizon: int,
    stay: bool = False,
) -> World:
    """The world of some rules, explored; with `stay` there is a fifth action, to do nothing."""
    found = explore(
        rules.start,
        rules.step,
        rules.features,
        actions=tuple(WITH_STAYING if stay else DIRECTIONS),
        feature_names=rules.feature_names,
        horizon=check_count("horizon", horizon),
    )
    mdp = found.mdp
    return World(title, source, mdp, weights_of(mdp, written), weights_of(mdp, hidden), found, rules)
