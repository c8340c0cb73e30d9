"""The ways in: dense, sparse, listed, replaced, stacked, and maps, all the same table; forward and backward alike."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

import mdps
from fuzz import truth
from fuzz.problems import transitions
from fuzz.promises import Checked
from fuzz.structures import STRUCTURES, pattern

S, A, D, K, WAYS = 9, 3, 4, 2, ("dense", "csr", "matrices", "shared lists", "own lists", "replaced", "stacked")
MAP = (3, 4)
LEGEND = {"S": "floor", ".": "floor", "~": "water", "!": "lava", "G": "goal"}


class Door(NamedTuple):
    """One MDP written out, and how it came in."""

    way: str
    mdp: mdps.MDP
    P: np.ndarray  # [S, A, S'] in float64
    features: np.ndarray  # [S, A, K]
    initial: np.ndarray
    policy: np.ndarray  # [S, A]
    visited: bool  # whether visits are asked for, which compiles anew for each table

    @property
    def size(self) -> int:
        """How many problems there are."""
        return 1

    def show(self, i: int) -> str:
        """Problem `i` in a line."""
        return f"{self.way}: problems.P {self.P.shape}, problems.mdp"


def wide(seed: int, batch: int) -> bool:
    """Whether a batch is in float64."""
    return batch % 3 != 0


def draw(seed: int, batch: int) -> Door:
    """One MDP through one door."""
    rng = np.random.default_rng([seed, batch, 10])
    if batch % 4 == 3:
        return mapped(rng, visited=batch % 32 == 3)
    name, way = str(rng.choice(list(STRUCTURES))), WAYS[batch // 4 % len(WAYS)]
    p = pattern(name, S, A, D, int(rng.integers(1 << 30)), masked=bool(rng.random() < 0.4))
    visited = batch // 4 % 8 == 0
    P, initial = transitions(rng, p), rng.dirichlet(np.ones(S))
    dims = rng.integers(3)
    features = rng.normal(size=((S, K), (S, A, K), (S, A, S, K))[dims])
    exist = p.available
    more = {"discount": 0.9} | ({} if exist.all() else {"available": exist})
    mdp = built(rng, way, P, features, initial, more)
    inside = np.where(exist[..., None], P, np.eye(S)[:, None])
    meant = (
        np.einsum("sat,satk->sak", P, features)
        if dims == 2
        else features
        if dims
        else np.repeat(features[:, None], A, 1)
    )
    meant = np.where(exist[..., None], meant, 0) if dims else meant
    policy = rng.dirichlet(np.ones(A), size=S) * exist + 1e-9 * exist
    return Door(way, mdp, inside, meant, initial, policy / policy.sum(axis=1, keepdims=True), visited)


def built(rng, way: str, P, features, initial, more) -> mdps.MDP:
    """The MDP through one of the doors."""
    if way in ("csr", "matrices", "shared lists", "own lists") and features.ndim == 4:
        features = np.einsum("sat,satk->sak", P, features)
    if way == "csr":
        rows = scipy.sparse.csr_array(P.reshape(S * A, S))
        return mdps.MDP.from_sparse(rows, features, initial, **more)
    if way == "matrices":
        return mdps.MDP.from_sparse([scipy.sparse.coo_array(P[:, a]) for a in range(A)], features, initial, **more)
    if way == "shared lists":
        order = np.stack([rng.permutation(S) for _ in range(S)])
        return mdps.MDP.from_table(order, np.take_along_axis(P, order[:, None], axis=2), features, initial, **more)
    if way == "own lists":
        order = np.stack([rng.permutation(S) for _ in range(S * A)]).reshape(S, A, S)
        twice = np.concatenate([order, order[:, :, :1]], axis=2)  # the first successor in two halves
        chance = np.take_along_axis(P, twice, axis=2) * np.where(np.isin(np.arange(S + 1), (0, S)), 0.5, 1)
        return mdps.MDP.from_table(twice, chance, features, initial, **more)
    if way == "replaced":
        other = mdps.MDP.from_dense(np.full((S, A, S), 1 / S), np.zeros((S, A, K)), np.eye(S)[0], discount=0.5)
        fresh = mdps.MDP.from_dense(P, features, initial, **more)
        fields = ("next_state", "probability", "features", "initial", "discount", "available")
        return other.replace(**{name: getattr(fresh, name) for name in fields if getattr(fresh, name) is not None})
    mdp = mdps.MDP.from_dense(P, features, initial, **more)
    if way == "stacked":
        none = np.zeros((1, K) if mdp.features.ndim == 2 else (1, A, K))
        small = mdps.MDP.from_dense(np.ones((1, A, 1)), none, [1.0], discount=0.9)
        return jax.tree.map(lambda x: x[1], mdps.stack([small, mdp]))
    return mdp


def mapped(rng, visited: bool) -> Door:
    """A small map: walls, slipping, one start or several, a goal or none, terrain that ends all."""
    cells = rng.choice(list("..~!#G"), size=MAP, p=[0.3, 0.2, 0.15, 0.1, 0.15, 0.1])
    free = np.argwhere(cells != "#")
    if len(free) == 0:
        cells[0, 0], free = ".", np.array([[0, 0]])
    for place in free[rng.choice(len(free), size=min(int(rng.integers(1, 3)), len(free)), replace=False)]:
        cells[tuple(place)] = "S"
    slip, step = float(rng.choice([0.0, 0.1, 0.5, 1.0])), bool(rng.random() < 0.5)
    terminal = ("lava",) if rng.random() < 0.5 else ()
    grid = mdps.GridWorld.from_text(
        ["".join(row) for row in cells], LEGEND, slip=slip, terminal=terminal, step=step, discount=0.9
    )
    P, features, initial = moves(cells, slip, terminal, step)
    policy = rng.dirichlet(np.ones(4), size=len(P))
    return Door(
        f"map {cells.tolist()} slip {slip} terminal {terminal} step {step}",
        grid.mdp,
        P,
        features,
        initial,
        policy,
        visited,
    )


def moves(cells, slip: float, terminal, step: bool):
    """The map written out, cell by cell."""
    names = list(dict.fromkeys(LEGEND.values()))
    places = [(i, j) for i, j in np.ndindex(*cells.shape) if cells[i, j] != "#"]
    n = len(places) + bool(terminal)
    P, features = np.zeros((n, 4, n)), np.zeros((n, 4, len(names) + step))
    for s, (i, j) in enumerate(places):
        terrain = LEGEND[cells[i, j]]
        over = cells[i, j] == "G" or terrain in terminal
        features[s, :, names.index(terrain)] = 1
        features[s, :, len(names) :] = 0 if over else 1
        for a in range(4):
            for turn, chance in ((0, 1 - slip), (1, slip / 2), (3, slip / 2)):
                di, dj = ((-1, 0), (0, 1), (1, 0), (0, -1))[(a + turn) % 4]
                to = (i + di, j + dj) if (i + di, j + dj) in places else (i, j)
                target = n - 1 if terrain in terminal else s if over else places.index(to)
                P[s, a, target] += chance
    if terminal:
        P[-1, :, -1] = 1
    starts = np.array([cells[p] == "S" for p in places] + [False] * bool(terminal), float)
    return P, features, starts / starts.sum()


def answers(p: Door):
    """The table as the library holds it, and the visits of a policy, which read its transpose."""
    dense = np.asarray(p.mdp.to_dense())
    if not p.visited:
        return dense, None
    policy = np.zeros(dense.shape[:2]) + np.eye(dense.shape[1])[0]
    policy[: len(p.policy)] = p.policy
    return dense, np.asarray(mdps.occupancy(p.mdp, jnp.asarray(policy, dense.dtype)))


def call(p: Door, i: int) -> str:
    """How the library was called."""
    return f"{p.way[:60]}: mdp.to_dense() and mdps.occupancy(mdp, policy)"


def check(p: Door, s) -> list[Checked]:
    """The same probabilities, features and starts, and visits by the same dense chain."""
    dense, visits = s
    n, eps = len(p.P), float(np.finfo(dense.dtype).eps)
    features = np.asarray(p.mdp.features, float)
    features = features if features.ndim == 3 else np.repeat(features[:, None], dense.shape[1], axis=1)
    size = 1 + np.abs(p.features).max()
    found = [
        Checked("doors: probabilities", [np.abs(dense[:n, :, :n] - p.P).max()], 8 * eps),
        Checked("doors: features", [np.abs(features[:n] - p.features).max()], 16 * eps * size),
        Checked("doors: starts", [np.abs(np.asarray(p.mdp.initial)[:n] - p.initial).max()], 8 * eps),
    ]
    if visits is not None:
        known = truth.visits(p.P[None], p.policy[None], p.initial[None], np.array([0.9]))
        off = np.abs(visits[:n] - known.value[0]).sum() + np.abs(visits[n:]).sum()
        found.append(Checked("doors: visits", [off], 1e-9 if eps < 1e-10 else 1e-2))
    return found
