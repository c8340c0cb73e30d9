"""What a bounded solver knows so far: robot plans below, beliefs with a known bound above, per (step, state).

Kept on the host in arrays that double; batches of nodes take out what they need, padded to a few
sizes so that compiled code meets few shapes.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from cirl.backups import Backup, Batch
from cirl.game import Game
from cirl.successors import Successors

VECTORS, POINTS = (32, 128, 512, 2048), (16, 64, 256, 1024, 4096)  # sizes of padded sets
_FAR = 1e9  # a bound that binds nothing


class Pool:
    """Rows of numbers that are appended and never move."""

    def __init__(self, width: int, dtype):
        self._rows = np.zeros((64, width), dtype)
        self.count = 0

    def append(self, rows: np.ndarray) -> range:
        """Add rows `[n, width]`; their numbers."""
        while self.count + len(rows) > len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        self._rows[self.count : self.count + len(rows)] = rows
        self.count += len(rows)
        return range(self.count - len(rows), self.count)

    def __getitem__(self, index):
        return self._rows[index]

    def __setitem__(self, index, value):
        self._rows[index] = value


@dataclass(frozen=True)
class Simple:
    """A plan that is one of the simple robots, from here on."""

    robot: int


@dataclass(frozen=True)
class Built:
    """A plan made by a backup: the answers `[A_H]`, and at the successors in `columns [A_H, E]` the plans `ahead`."""

    answer: np.ndarray
    columns: np.ndarray
    ahead: np.ndarray


class Bounds:
    """Lower and upper bounds of one game, and the plans that attain the lower one.

    Args:
        game: the game.
        moves: its successor lists.
        informed: M of `cirl.informed`, `[T + 1 or 1, S, m, Θ]`.
        simple: what the simple robots are worth, `[n, T + 1 or 1, S, Θ]`.
        monotone: whether dominated plans can be dropped.
    """

    def __init__(self, game: Game, moves: Successors, informed: Array, simple: Array | np.ndarray, monotone: bool):
        self.next_state, self.reward = np.asarray(game.mdp.next_state), np.asarray(game.reward)
        self.columns = np.asarray(moves.column)
        self.chance = np.asarray(game.mdp.discount * moves.chance)
        self.possible = np.asarray(moves.chance) > 0  # [S, A_H, A_R, E]
        self.informed, self.simple, self.monotone = np.asarray(informed), np.asarray(simple), monotone
        self.S, self.endless = game.mdp.num_states, game.mdp.horizon is None
        Theta, dtype = self.simple.shape[-1], self.simple.dtype
        self.vectors, self.points, self.worth = Pool(Theta, dtype), Pool(Theta, dtype), Pool(1, dtype)
        self.largest = 0.0  # entry of a vector that was added
        self.plans: list[Simple | Built] = []
        self.place: list[tuple[int, int]] = []  # (step, state) of each plan
        self.vectors_at: dict[int, list[int]] = {}
        self.points_at: dict[int, list[int]] = {}
        self.nodes: dict[tuple[int, bytes], int] = {}
        self.node_place: list[tuple[int, int]] = []

    def after(self, step: int) -> int:
        """The step after, 0 in an endless game."""
        return 0 if self.endless else step + 1

    def node(self, step: int, state: int, belief: np.ndarray) -> int:
        """The node of a belief, whose probabilities need not sum to one; a new one has no bound of its own yet."""
        belief = belief / belief.sum()
        at = step * self.S + state
        key = (at, (np.round(belief, 6 if belief.dtype == np.float32 else 12) + 0.0).tobytes())
        if key not in self.nodes:
            [row] = self.points.append(belief[None])
            self.worth.append(np.full((1, 1), _FAR))
            self.nodes[key] = row
            self.node_place.append((step, state))
            self.points_at.setdefault(at, []).append(row)
        return self.nodes[key]

    def upper(self, node: int) -> float:
        """The bound known at a node."""
        return float(self.worth[node][0])

    def lower(self, node: int) -> tuple[float, int]:
        """What the best plan there is worth, and that plan."""
        step, state = self.node_place[node]
        rows = self._vectors_at(step, state)
        worth = self.vectors[rows] @ self.points[node]
        return float(worth.max()), rows[int(worth.argmax())]

    def batch(self, nodes: list[int], size: int) -> tuple[Batch, np.ndarray]:
        """The nodes with what is known at their successors, padded; and the plans' numbers `[K, D, V]`."""
        padded = nodes + [nodes[-1]] * (size - len(nodes))
        steps, states = np.array([self.node_place[n] for n in padded], np.int32).T
        ahead = self.next_state[states]  # [K, D]
        rows, points = [], []
        for k in range(len(nodes)):
            after = self.after(int(steps[k]))
            for state in ahead[k].tolist():
                rows.append(self._vectors_at(after, state))
                points.append(self.points_at.get(after * self.S + state, []))
        D = self.next_state.shape[1]
        rows += rows[-D:] * (size - len(nodes))
        points += points[-D:] * (size - len(nodes))
        index = _pad(rows, VECTORS).reshape(size, D, -1)
        which = _pad(points, POINTS, -1).reshape(size, D, -1)
        known = which >= 0
        dtype = self.simple.dtype
        worth = np.where(known, self.worth[which][..., 0], _FAR)
        batch = Batch(
            state=jnp.asarray(states),
            step=jnp.asarray(steps),
            belief=jnp.asarray(self.points[padded]),
            paid=jnp.asarray(self.reward[states]),
            chance=jnp.asarray(self.chance[states]),
            column=jnp.asarray(self.columns[states]),
            informed=jnp.asarray(self.informed[0 if self.endless else steps[:, None] + 1, ahead]),
            vectors=jnp.asarray(self.vectors[index]),
            points=jnp.asarray(np.where(known[..., None], self.points[which], 1), dtype),
            worth=jnp.asarray(worth, dtype),
        )
        return batch, index

    def learn(self, nodes: list[int], found: Backup, index: np.ndarray, slack: float) -> bool:
        """Take in what a backup found; whether any bound moved by more than the slack."""
        moved = False
        for k, node in enumerate(nodes):
            if found.upper[k] < self.worth[node][0]:
                moved |= bool(found.upper[k] < self.worth[node][0] - slack)
                self.worth[node] = found.upper[k]
            if found.plan.value[k] > self.lower(node)[0] + slack:
                moved = True
                self._add(node, found, k, index)
        return moved

    def _add(self, node: int, found: Backup, k: int, index: np.ndarray) -> None:
        step, state = self.node_place[node]
        answer = np.asarray(found.plan.answer[k])
        columns = self.columns[state, np.arange(len(answer)), answer]  # [A_H, E]
        ahead = index[k, columns, np.asarray(found.plan.ahead[k])]
        alpha = np.asarray(found.plan.alpha[k])
        self.largest = max(self.largest, float(np.abs(alpha).max()))
        [row] = self.vectors.append(alpha[None])
        self.plans.append(Built(answer, columns, ahead))
        self.place.append((step, state))
        rows = self.vectors_at[step * self.S + state]
        rows.append(row)
        if len(rows) > 32:
            self._prune(step * self.S + state)

    def _vectors_at(self, step: int, state: int) -> list[int]:
        at = step * self.S + state
        if at not in self.vectors_at:
            simple = self.simple[:, step, state]
            kept = _undominated(simple) if self.monotone else np.sort(np.unique(simple, axis=0, return_index=True)[1])
            self.vectors_at[at] = list(self.vectors.append(simple[kept]))
            self.plans += [Simple(int(n)) for n in kept]
            self.place += [(step, state)] * len(kept)
        return self.vectors_at[at]

    def _prune(self, at: int) -> None:
        """Keep the plans that are best at a belief that was met, or for one θ: the witnesses."""
        rows = np.array(self.vectors_at[at])
        vectors = self.vectors[rows]
        witnesses = np.concatenate(
            [self.points[self.points_at.get(at, [])], np.eye(vectors.shape[1], dtype=vectors.dtype)]
        )
        best = np.unique((witnesses @ vectors.T).argmax(axis=1))
        self.vectors_at[at] = rows[best].tolist()


def _pad(lists: list[list[int]], sizes: tuple[int, ...], fill: int | None = None) -> np.ndarray:
    """Lists of numbers as one array `[n, width]`; short rows repeat their first number, or hold `fill`."""
    longest = max(map(len, lists))
    width = next((size for size in sizes if size >= longest), longest)
    out = np.full((len(lists), width), -1 if fill is None else fill)
    for i, row in enumerate(lists):
        out[i, : len(row)] = row
        if fill is None:
            out[i, len(row) :] = row[0]
    return out


def _undominated(vectors: np.ndarray) -> np.ndarray:
    """Numbers of the vectors that no other is at least as good as everywhere, in order."""
    order = np.argsort(-vectors.sum(axis=1), kind="stable")
    kept: list[int] = []
    for n in order:
        if not any((vectors[m] >= vectors[n]).all() for m in kept):
            kept.append(int(n))
    return np.sort(np.array(kept))
