"""Successor tables on the host: their transpose, their layout, and padding.  Plain NumPy; nothing here is traced."""

from collections.abc import Sequence

import numpy as np

from mdps.kernels.layout import Layout

Slots = tuple[tuple[int, ...], ...]


def shared_support(transition: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The successor table of a dense tensor `[S, A, S']`: successors that a state's actions share.

    Returns:
        `next_state` `[S, D]`, `probability` `[S, A, D]` and which slots are edges `[S, D]`; slots beyond a state's
        support repeat the state itself with probability zero.
    """
    S = transition.shape[0]
    used = transition.any(axis=1)
    D = max(int(used.sum(axis=1).max()), 1)
    next_state = np.argsort(~used, axis=1, kind="stable")[:, :D]
    probability = np.take_along_axis(transition, next_state[:, None, :], axis=2)
    edges = np.arange(D)[None, :] < used.sum(axis=1)[:, None]
    next_state = np.where(edges, next_state, np.arange(S)[:, None])
    return next_state, np.where(edges[:, None, :], probability, 0.0), edges


def lay_out(next_state: np.ndarray, probability: np.ndarray, edges: np.ndarray, sink: int | None):
    """Find what sweeps may rely on, and bring the table into that order.

    Args:
        next_state: `[S, D]`.
        probability: `[S, A, D]`.
        edges: which slots are edges, `[S, D]`; those to the sink are left out of what is transposed.
        sink: a state to which the last slot of every state leads, or None.

    Returns:
        `next_state`, `probability`, `predecessor_state`, `predecessor_slot`, `Layout`.
    """
    D = next_state.shape[1]
    if sink is not None:
        edges = edges & (np.arange(D) < D - 1)
    shifts = common_shifts(next_state, np.asarray(edges & probability.any(axis=1)), D + 1) if sink is None else None
    if shifts is not None:
        next_state, probability, edges = align(next_state, probability, shifts)
    layout = Layout(shifts=shifts, aligned=shifts is not None, slots=taken_slots(probability), sink=sink)
    return next_state, probability, *predecessors(next_state, edges, aligned=layout.aligned), layout


def common_shifts(next_state: np.ndarray, edges: np.ndarray, most: int) -> tuple[int, ...] | None:
    """The distinct numbers `next_state[s, d] - s` over the edges, ascending; None if there are more than `most`."""
    own = np.arange(len(next_state), dtype=next_state.dtype)[:, None]
    found = np.unique((next_state - own)[edges])
    return tuple(found.tolist()) if 0 < len(found) <= most else None


def taken_slots(probability: np.ndarray) -> Slots:
    """`Layout.slots` of a table `[S, A, D]`."""
    return tuple(tuple(np.flatnonzero(row).tolist()) for row in np.any(probability != 0, axis=0))


def either(slots: Sequence[Slots | None]) -> Slots | None:
    """`Layout.slots` of several tables of the same shape."""
    if any(some is None for some in slots):
        return None
    return tuple(tuple(sorted({d for some in action for d in some})) for action in zip(*slots, strict=True))


def align(next_state, probability, shifts: tuple[int, ...]):
    """The table with one slot for each shift, and which slots are edges; the others repeat the state itself."""
    own = np.arange(len(next_state))[:, None]
    aligned = np.zeros((*probability.shape[:2], len(shifts)), probability.dtype)
    for j, shift in enumerate(shifts):
        aligned[:, :, j] = np.where((next_state - own == shift)[:, None, :], probability, 0).sum(axis=2)
    edges = np.asarray(aligned.any(axis=1))
    return np.where(edges, own + np.asarray(shifts), own), aligned, edges


def predecessors(next_state: np.ndarray, edges: np.ndarray, *, aligned: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Transpose a successor table: for each state, the (state, slot) pairs whose edge arrives there.

    Rows are padded with the state itself and slot `D`, which the kernels read as weight zero.
    `aligned`: no two edges arrive at a state by the same slot, and the p-th listed is that of slot p.
    """
    S, D = next_state.shape
    origin, slot = np.nonzero(edges)
    target = next_state[origin, slot]
    if aligned:
        column = slot
    else:
        order = np.argsort(target, kind="stable")
        origin, slot, target = origin[order], slot[order], target[order]
        count = np.bincount(target, minlength=S)
        first = np.cumsum(count) - count
        column = np.arange(target.size) - first[target]
    P = 1 + int(column.max(initial=0))
    state_table = np.broadcast_to(np.arange(S, dtype=np.int32)[:, None], (S, P)).copy()
    slot_table = np.full((S, P), D, dtype=np.int32)
    state_table[target, column] = origin
    slot_table[target, column] = slot
    return state_table, slot_table
