"""What a bounded solver knows so far: robot plans below (alpha vectors), beliefs with a known bound above.

Per (step, state), as losses (`cirl.bounded._full_information`), so that 0 is a bound that binds nothing.
Kept on the host in arrays that double; batches of nodes take out what they need, padded to a few
sizes so that compiled code meets few shapes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cirl.bounded._backup import Backup, Batch
from cirl.bounded._full_information import FirstBounds, Losses, towards_zero
from cirl.bounded._upper import Ahead
from cirl.exact import undominated
from cirl.successors import short_lists

VECTORS, POINTS = (32, 128, 512, 2048), (16, 64, 256, 1024, 4096)  # sizes of padded sets


class GrowingRows:
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
        losses: the game.
        first: what is known before the search.
        monotone: whether dominated plans can be dropped.
    """

    def __init__(self, losses: Losses, first: FirstBounds, monotone: bool):
        g, self.losses, self.monotone = losses.g, losses, monotone
        self.informed, self.simple = first.informed, first.simple
        self.S, self.endless, self.next_state = g.num_states, g.horizon is None, g.ahead
        Theta, self.dtype = g.num_thetas, first.simple.dtype
        self.eps = float(np.finfo(self.dtype).eps)
        chance, self.columns = short_lists(g.chance)
        self.possible = chance > 0  # [S, A_H, A_R, E]
        vague = g.vagueness(*np.indices(chance.shape[:3]))
        self.chance = towards_zero(losses.discounted(chance, 0.0 if vague is None else vague[0] + vague[1]), self.dtype)
        self.vectors, self.points, self.worth = (
            GrowingRows(Theta, self.dtype),
            GrowingRows(Theta, self.dtype),
            GrowingRows(1, self.dtype),
        )
        self.plans: list[Simple | Built] = []
        self.place: list[tuple[int, int]] = []  # (step, state) of each plan
        self.vectors_at: dict[int, list[int]] = {}
        self.points_at: dict[int, list[int]] = {}
        self.nodes: dict[tuple[int, bytes], int] = {}
        self.node_place: list[tuple[int, int]] = []
        self._paid: dict[tuple[int, int], np.ndarray] = {}

    def paid(self, step: int, state: int) -> np.ndarray:
        """R' there, `[A_H, A_R, Θ]`."""
        if (step, state) not in self._paid:
            exact = self.losses.reward(step, np.array([state]))[0]
            self._paid[step, state] = towards_zero(exact, self.dtype)
        return self._paid[step, state]

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
            self.worth.append(np.zeros((1, 1)))
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

        belief: Any = self.points[padded]  # NumPy's arrays here, JAX's in the compiled code
        nth = np.arange(size).reshape(size, 1, 1, 1, 1)
        column = self._by_robot(self.columns[states])  # [K, O, AH, I, E]
        paid = self._by_robot(np.stack([self.paid(*at) for at in zip(steps.tolist(), states.tolist(), strict=True)]))
        chance = self._by_robot(self.chance[states])
        informed = self.informed[0 if self.endless else steps.reshape(nth.shape) + 1, ahead[nth, column]]
        known = which[nth, column]  # [K, O, AH, I, E, C]
        found: Any = np.where(known[..., None] >= 0, self.points[known], np.ones((), self.dtype))
        worth: Any = np.where(known >= 0, self.worth[known][..., 0], np.zeros((), self.dtype))
        known_ahead = Ahead(paid, chance, informed, found, worth)
        certain = np.sort(known_ahead.certain(), axis=2)  # [K, O, AH, Θ]
        matters = belief * (certain[:, :, -1] - certain[:, :, -2:][:, :, 0]).max(axis=1)
        order: Any = np.argsort(-matters, axis=1, kind="stable").astype(np.int32)
        vectors: Any = self.vectors[index[nth, column]]
        return Batch(states, steps, belief, known_ahead, vectors, order), index

    def _by_robot(self, x: np.ndarray) -> Any:
        """`[K, AH, AR, ...]` to `[K, O, AH, I, ...]`: the robot acts outside, or answers inside."""
        return x[:, None] if self.losses.g.first else np.swapaxes(x, 1, 2)[:, :, :, None]

    def learn(self, nodes: list[int], found: Backup, index: np.ndarray, least: float) -> bool:
        """Take in what a backup found; whether any bound moved by more than rounding, and by at least `least`."""
        moved = False
        for k, node in enumerate(nodes):
            upper, above = float(found.upper[k]), self.upper(node)
            if upper < above:
                moved |= above - upper > max(least, 4 * self.eps * abs(above))
                self.worth[node] = found.upper[k]
            value, below = float(found.plan.value[k]), self.lower(node)[0]
            if value - below > max(least, 4 * self.eps * abs(below)):
                moved = True
                self._add(node, found, k, index)
        return moved

    def _add(self, node: int, found: Backup, k: int, index: np.ndarray) -> None:
        step, state = self.node_place[node]
        answer = np.asarray(found.plan.answer[k])
        columns = self.columns[state, np.arange(len(answer)), answer]  # [A_H, E]
        ahead = index[k, columns, np.asarray(found.plan.ahead[k])]
        alpha = np.asarray(found.plan.alpha[k])
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
            kept = undominated(simple) if self.monotone else np.sort(np.unique(simple, axis=0, return_index=True)[1])
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
