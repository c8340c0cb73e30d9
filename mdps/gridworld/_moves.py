"""How the four moves on a grid become a successor table."""

import numpy as np

from mdps.checks import is_concrete
from mdps.tables import common_shifts, predecessors

MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])  # up, right, down, left, as (row, column)
STAY, END = 4, 5  # successor slots after the four moves


def successor_tables(walls: np.ndarray, cell: np.ndarray, end: bool):
    """Successor table, which moves are blocked `[n, 4]`, predecessor table and `Layout.shifts`.

    The slots are the four moves, staying, and the end state if any.
    """
    row, column = np.nonzero(~walls)
    own = np.arange(len(row))
    bordered = np.full((walls.shape[0] + 2, walls.shape[1] + 2), -1)
    bordered[1:-1, 1:-1] = cell
    moved = np.stack([bordered[row + 1 + dr, column + 1 + dc] for dr, dc in MOVES], axis=1)
    blocked = moved < 0
    next_state = np.concatenate([np.where(blocked, own[:, None], moved), own[:, None]], axis=1)
    edges = np.pad(~blocked, ((0, 0), (0, 1)), constant_values=True)
    shifts = None if end else _slot_shifts(next_state, edges)
    if end:
        last = len(row)
        next_state = np.pad(next_state, ((0, 1), (0, 1)), constant_values=last)
        edges = np.pad(edges, ((0, 1), (0, 1)))  # every state's edge to the end is left to `Layout.sink`
    origin, slot, _ = predecessors(next_state, edges, aligned=True)
    return next_state.astype(np.int32), blocked, origin, slot, shifts


def _slot_shifts(next_state, edges) -> tuple[int, ...] | None:
    """How far each slot leads, the same from every cell; None where walls break the rows apart."""
    slots = [common_shifts(next_state[:, [j]], edges[:, [j]], 1) for j in range(next_state.shape[1])]
    blank = ~edges.any(axis=0)  # a slot that no cell uses, on a map of one row: any number will do
    if any(found is None for found, unused in zip(slots, blank, strict=True) if not unused):
        return None
    return tuple(0 if found is None else found[0] for found in slots)


def chance_of_slots(xp, blocked, goals, ends, slip, end: bool):
    """Probability of each successor slot, `[S, 4, D]`: moves that slip or bump, goals that keep, terrain that ends."""
    D = 6 if end else 5
    ahead, side = np.eye(4, D), (np.roll(np.eye(4), 1, axis=1) + np.roll(np.eye(4), -1, axis=1)) / 2
    side = np.pad(side, ((0, 0), (0, D - 4)))
    move = (1 - slip) * ahead.astype(slip.dtype) + slip * side.astype(slip.dtype)
    slot = lambda i: np.eye(D, dtype=slip.dtype)[i][None, None, :]  # noqa: E731
    # A bump stays.
    bump = np.pad(blocked, ((0, 0), (0, D - 4)))[:, None, :]
    stays = xp.sum(xp.where(bump, move[None], 0), axis=2, keepdims=True)
    move = xp.where(bump, 0, move[None]) + stays * slot(STAY)
    chance = xp.where(goals[:, None, None], slot(STAY), move)
    if end:
        chance = xp.where(ends[:, None, None], slot(END), chance)
        chance = xp.concatenate([chance, np.broadcast_to(slot(END), (1, 4, D))])
    return chance


def slots_of_moves(slip, end: bool) -> tuple[tuple[int, ...], ...]:
    """`Layout.slots`: every action may stay or end, and a slip leads to either side but never back."""
    certain = is_concrete(slip) and float(np.asarray(slip)) == 0
    ways = [(a,) if certain else sorted({a, (a + 1) % 4, (a + 3) % 4}) for a in range(4)]
    return tuple((*some, STAY, END) if end else (*some, STAY) for some in ways)
