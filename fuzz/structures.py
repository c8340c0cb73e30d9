"""Who leads where: the structures that problems have, each as relative weights of its edges.

A pattern is `[S, A, S']`, zero where no edge is. Values are drawn on it afterwards, so that problems of one pattern
share what the library compiles for them.
"""

from typing import NamedTuple

import numpy as np


class Pattern(NamedTuple):
    """A structure in one size.

    Attributes:
        name: which structure.
        weight: relative weight of each edge, `[S, A, S']`; zero is no edge.
        available: which actions exist, `[S, A]`; where one does not, its row only stays.
        tied: states in which the first and the last action are worth the same, `[S]`.
        mirrored: whether states s and S - 1 - s are alike, and the last action leads to the mirror of the first's.
        ends: absorbing states, `[S]`.
    """

    name: str
    weight: np.ndarray
    available: np.ndarray
    tied: np.ndarray
    mirrored: bool
    ends: np.ndarray


def grid(rng, S, A, D):
    """Four moves on rows and columns; slipping to either side; a bump stays."""
    rows = max(r for r in range(1, int(S**0.5) + 1) if S % r == 0)
    columns = S // rows
    weight = np.zeros((S, A, S))
    moves = [(-1, 0), (0, 1), (1, 0), (0, -1)]
    for s, a in np.ndindex(S, A):
        for turn, share in ((0, 8.0), (1, 1.0), (3, 1.0)) if a % 8 < 4 else ((0, 1.0),):
            row, column = s // columns + moves[(a + turn) % 4][0], s % columns + moves[(a + turn) % 4][1]
            inside = 0 <= row < rows and 0 <= column < columns
            weight[s, a, row * columns + column if inside else s] += share
    return weight


def sparse(rng, S, A, D):
    """Each state has D successors of its own; each action takes some of them."""
    weight = np.zeros((S, A, S))
    for s in range(S):
        near = rng.choice(S, size=min(D, S), replace=False)
        for a in range(A):
            weight[s, a, rng.choice(near, size=rng.integers(1, len(near) + 1), replace=False)] = 1
    return weight


def own(rng, S, A, D):
    """Each action has successors of its own, a third or less of what all of a state's actions lead to."""
    weight = np.zeros((S, A, S))
    for s in range(S):
        near = rng.choice(S, size=max(S // 2, 1), replace=False)
        most = max(min(D, len(near) // 3), 1)
        for a in range(A):
            some = (a * most + np.arange(rng.integers(1, most + 1))) % len(near)
            weight[s, a, near[some]] = 1
    return weight


def dense(rng, S, A, D):
    """Every action may lead to any of the same D states."""
    weight = np.zeros((S, A, S))
    weight[:, :, :D] = 1
    return weight


def hub(rng, S, A, D):
    """All states lead to one, which leads to a few."""
    weight = sparse(rng, S, A, max(D - 1, 1))
    weight[:, :, 0] = 1
    weight[0] = 0
    weight[0][:, rng.choice(S, size=min(D, S), replace=False)] = 1
    return weight


def blocks(rng, S, A, D):
    """Blocks that are nearly closed: they leak at 1e-3 to 1e-9."""
    size = max(D - 1, 1)
    weight, own = np.zeros((S, A, S)), np.arange(S) // size
    for s in range(S):
        weight[s][:, own == own[s]] = 1
        leak = (own[s] + 1) * size % S
        weight[s, :, leak] = np.maximum(weight[s, :, leak], 10.0 ** -rng.integers(3, 10))
    return weight


def line(rng, S, A, D):
    """Forward, back or stay, for sure or nearly; the far end stays."""
    weight = np.zeros((S, A, S))
    for s, a in np.ndindex(S, A):
        weight[s, a, min(max(s + (1, -1, 0)[a % 3], 0), S - 1)] = 1
        if a >= 3:
            weight[s, a, min(s + 1, S - 1)] += 0.5
    weight[-1] = np.eye(S)[-1]
    return weight


def periodic(rng, S, A, D):
    """Layers that are left for the next one for sure, round and round."""
    period = max(p for p in range(1, min(S, 6) + 1) if S % p == 0)
    weight, layer = np.zeros((S, A, S)), np.arange(S) % period
    for s in range(S):
        ahead = np.flatnonzero(layer == (layer[s] + 1) % period)
        near = rng.choice(ahead, size=min(D, len(ahead)), replace=False)
        for a in range(A):
            weight[s, a, rng.choice(near, size=rng.integers(1, len(near) + 1), replace=False)] = 1
    return weight


def absorbing(rng, S, A, D):
    """Some states keep what reaches them; every other action may lead one state on towards them."""
    weight = sparse(rng, S, A, max(D - 1, 1))
    ends = S - max(S // 6, 1)
    for s in range(S):
        weight[s, :, s + 1 if s < ends else s] = 0.5
    weight[ends:] = np.eye(S)[ends:, None]
    return weight


def mirror(rng, S, A, D):
    """Two halves that mirror each other: ties whose sums are added in another order."""
    weight = sparse(rng, S, A, max(D // 4, 1))
    return reflect(weight)


def reflect(x):
    """`x` `[..., S, A, S']` made its own mirror image, and the last action the mirror image of the first."""
    x = (x + x[..., ::-1, :, ::-1]) / 2
    x[..., :, -1, :] = x[..., :, 0, ::-1]
    return x


STRUCTURES = {f.__name__: f for f in (grid, sparse, own, dense, hub, blocks, line, periodic, absorbing, mirror)}


def pattern(name: str, S: int, A: int, D: int, variant: int, masked: bool = False) -> Pattern:
    """One pattern: the same for the same arguments."""
    rng = np.random.default_rng([variant, *name.encode(), S, A, D])
    room = max(D - 1, 1) if masked else D  # an action that does not exist stays where it is
    weight = STRUCTURES[name](rng, S, A, min(room, S))
    available, tied = np.ones((S, A), bool), np.zeros(S, bool)
    if A > 1 and name == "mirror":
        tied[:] = True
    elif A > 1:
        tied = rng.random(S) < 0.3
        weight[tied, -1] = weight[tied, 0]
    if masked and A > 1:
        available = rng.random((S, A)) < 0.7
        available[np.arange(S), rng.integers(A, size=S)] = True
        available = available | available[::-1] if name == "mirror" else available
        tied &= available[:, 0] & available[:, -1]
    ends = (weight.sum(axis=1) > 0).sum(axis=1) == 1
    ends &= weight[np.arange(S), 0, np.arange(S)] > 0
    return Pattern(name, weight, available, tied, name == "mirror", ends)
