"""Successor tables on the host: their transpose, their layout, and padding.  Plain NumPy; nothing here is traced."""

from collections.abc import Sequence

import jax
import numpy as np

from mdps.kernels.layout import MOST_PAIRS, MOST_ROWS, Layout

__all__ = [
    "Slots",
    "align",
    "arrivals_in",
    "check_ends",
    "common_shifts",
    "either",
    "from_edges",
    "held",
    "is_dense",
    "lay_out",
    "merged",
    "most_successors",
    "predecessors",
    "shared_support",
    "taken_slots",
    "tensor",
    "without",
]
__dir__ = __all__.copy

Slots = tuple[tuple[int, ...], ...]

MOST_SHIFTED = 40  # slots times actions


def held(x, dtype=None) -> jax.Array:
    """A concrete array as JAX holds it.

    It is cast by NumPy and put on the device.  `jnp.asarray` compiles a program for each shape first, a twentieth of
    a second each, which is most of the time of a first call on a small problem.
    """
    return jax.device_put(np.asarray(x, dtype))


def shared_support(transition: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The successor table of a dense tensor `[S, A, S']`: successors that a state's actions share.

    Returns:
        `next_state` `[S, D]`, `probability` `[S, A, D]` and which slots are edges `[S, D]`; slots beyond a state's
        support repeat the state itself with probability zero.
    """
    S = transition.shape[0]
    used = transition.any(axis=1)
    D = max(int(used.sum(axis=1).max()), 1)
    if is_dense(transition.shape[:2], D):
        return np.broadcast_to(np.arange(S, dtype=np.int32), (S, S)), transition, np.asarray(used)
    next_state = np.argsort(~used, axis=1, kind="stable")[:, :D]
    probability = np.take_along_axis(transition, next_state[:, None, :], axis=2)
    edges = np.arange(D)[None, :] < used.sum(axis=1)[:, None]
    next_state = np.where(edges, next_state, np.arange(S)[:, None])
    return next_state, np.where(edges[:, None, :], probability, 0.0), edges


def merged(next_state: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The successor table of lists by state and action, `next_state` and `probability` `[S, A, D]`.

    Returns:
        As `shared_support`; successors that occur twice add up.
    """
    S, A, D = next_state.shape
    target = np.where(probability != 0, next_state, S).astype(np.int32).reshape(S, A * D)  # S: not taken, sorted last
    order = np.argsort(target, axis=1, kind="stable")
    ordered = np.take_along_axis(target, order, axis=1)
    rank = np.cumsum(np.diff(ordered, axis=1, prepend=ordered[:, :1]) != 0, axis=1)
    slot = np.empty_like(rank)
    np.put_along_axis(slot, order, rank, axis=1)
    origin, action, _ = np.indices((S, A, D), sparse=True)
    used = probability != 0
    width = 1 + int(rank[ordered < S].max(initial=0))
    edges = [np.broadcast_to(x, used.shape)[used] for x in (origin, action, slot.reshape(S, A, D), next_state)]
    return _filled(edges, probability[used], (S, A, width))


def from_edges(
    origin: np.ndarray,
    action: np.ndarray,
    target: np.ndarray,
    probability: np.ndarray,
    shape: tuple[int, int],
    sink=None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The successor table of a list of edges; edges that occur twice add up.

    Args:
        origin: state that each edge leaves.
        action: action of each edge.
        target: state that each edge enters.
        probability: probability of each edge, given its state and action.
        shape: `(S, A)`.
        sink: a state to which the last slot of every state shall lead, or None.

    Returns:
        As `shared_support`.
    """
    S, A = shape
    used = probability != 0
    inner = used if sink is None else used & (target != sink)
    pairs, which = np.unique(origin[inner].astype(np.int64) * S + target[inner], return_inverse=True)
    slot = np.arange(len(pairs)) - np.searchsorted(pairs // S, np.arange(S))[pairs // S]
    D = 1 + int(slot.max(initial=0)) + (sink is not None)
    slots = np.full(len(origin), D - 1)
    slots[inner] = slot[which]
    table, chance, edges = _filled([x[used] for x in (origin, action, slots, target)], probability[used], (S, A, D))
    if sink is not None:
        table[:, -1] = sink
    return table, chance, edges


def _filled(columns: Sequence[np.ndarray], probability: np.ndarray, shape: tuple[int, int, int]):
    """A table of the shape `(S, A, D)` of edges (origin, action, slot, target); empty slots repeat the state itself."""
    S, A, D = shape
    origin, action, slot, target = columns
    flat = (origin.astype(np.int64) * A + action) * D + slot
    chance = np.bincount(flat, weights=probability, minlength=S * A * D).reshape(shape)
    next_state = np.broadcast_to(np.arange(S)[:, None], (S, D)).copy()
    next_state[origin, slot] = target
    edges = np.zeros((S, D), bool)
    edges[origin, slot] = True
    return next_state, chance.astype(probability.dtype if probability.dtype.kind == "f" else float), edges


def without(available: np.ndarray, next_state: np.ndarray, probability: np.ndarray, edges: np.ndarray):
    """The table in which actions that do not exist stay where they are, so that it has no holes.

    A first slot that leads to the state itself is added where some state needs one and has none.

    Args:
        available: which actions exist, `[S, A]`.
        next_state: `[S, D]`.
        probability: `[S, A, D]`; what the rows of other actions hold does not matter.
        edges: which slots are edges, `[S, D]`.
    """
    own = np.arange(len(next_state))[:, None]
    lacks = np.any(~available, axis=1)
    if (lacks & ~(next_state == own).any(axis=1)).any():
        next_state = np.concatenate([own, next_state], axis=1)
        probability = np.pad(probability, ((0, 0), (0, 0), (1, 0)))
        edges = np.pad(edges, ((0, 0), (1, 0)))
    slot = np.argmax(next_state == own, axis=1)
    staying = np.arange(next_state.shape[1]) == slot[:, None]
    probability = np.where(available[:, :, None], probability, staying[:, None, :])
    return next_state, probability, edges | (staying & lacks[:, None])


def lay_out(next_state: np.ndarray, probability: np.ndarray, edges: np.ndarray, sink: int | None):
    """Find what sweeps may rely on, and bring the table into that order.

    Args:
        next_state: `[S, D]`.
        probability: `[S, A, D]`.
        edges: which slots are edges, `[S, D]`; those to the sink are left out of what is transposed.
        sink: a state to which the last slot of every state leads, or None.

    Returns:
        `next_state`, `probability`, `predecessor_state`, `predecessor_slot`, `predecessor_sums`, `Layout`.
    """
    S, A, D = probability.shape
    if sink is not None:
        edges = edges & (np.arange(D) < D - 1)
    elif is_dense((S, A), D):
        none = np.zeros((S, 0), np.int32)
        own = np.broadcast_to(np.arange(S, dtype=np.int32), (S, S))
        return own, tensor(next_state, probability), none, none, (), Layout(dense=True)
    # Shifts are slots that the compiler sees one by one, for every action: no more of them than it takes in its stride.
    most = min(D + 1, MOST_SHIFTED // A)
    shifts = common_shifts(next_state, np.asarray(edges & probability.any(axis=1)), most) if sink is None else None
    if shifts is not None:
        next_state, probability, edges = align(next_state, probability, shifts)
    own = most_successors(probability) if shifts is None else None
    layout = Layout(shifts=shifts, aligned=shifts is not None, slots=taken_slots(probability), sink=sink, own=own)
    return next_state, probability, *predecessors(next_state, edges, aligned=layout.aligned), layout


def is_dense(shape: tuple[int, int], D: int) -> bool:
    """Whether a table of the shape `(S, A)` with `D` successors is swept faster as a tensor than by gathering."""
    S, A = shape
    return 2 * D > S and A * D > MOST_PAIRS


def tensor(next_state: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """The transition tensor `[S, A, S']` of a table; successors that occur twice add up."""
    S, A, D = probability.shape
    if D == S and (next_state == np.arange(S)).all():
        return probability
    flat = np.arange(S * A).reshape(S, A, 1) * S + next_state[:, None, :]
    dense = np.bincount(flat.ravel(), weights=probability.ravel(), minlength=S * A * S)
    return dense.reshape(S, A, S).astype(probability.dtype)


def common_shifts(next_state: np.ndarray, edges: np.ndarray, most: int) -> tuple[int, ...] | None:
    """The distinct numbers `next_state[s, d] - s` over the edges, ascending; None if there are more than `most`."""
    own = np.arange(len(next_state), dtype=next_state.dtype)[:, None]
    shifts = (next_state - own)[edges]
    if len(np.unique(shifts[: 64 * most])) > most:  # no pattern, seen without sorting millions of edges
        return None
    found = np.unique(shifts)
    return tuple(found.tolist()) if 0 < len(found) <= most else None


def check_ends(next_state: np.ndarray, probability: np.ndarray, features: np.ndarray, available) -> None:
    """Refuse a table without discount and horizon, unless ends absorb with features 0 and a way leads to one.

    Args:
        next_state: `[S, D]`.
        probability: `[S, A, D]`.
        features: `[S, K]` or `[S, A, K]`.
        available: which actions exist, `[S, A]`, or None.

    Raises:
        ValueError: naming the states from which no way leads to an end.
    """
    S, A = probability.shape[:2]
    exist = np.ones((S, A), bool) if available is None else np.asarray(available)
    leads = (probability > 0) & exist[:, :, None] & (next_state != np.arange(S)[:, None])[:, None, :]
    still = ~leads.any(axis=(1, 2))
    ends = still & ~features.reshape(S, -1).any(axis=1)
    origin, slot = np.nonzero(leads.any(axis=1))
    target = next_state[origin, slot]
    order = np.argsort(target, kind="stable")
    origin, first = origin[order], np.concatenate([[0], np.cumsum(np.bincount(target, minlength=S))])
    arrives, fresh = ends.copy(), np.flatnonzero(ends)
    while fresh.size:
        count = first[fresh + 1] - first[fresh]
        edge = np.repeat(first[fresh] - np.concatenate([[0], np.cumsum(count)[:-1]]), count) + np.arange(count.sum())
        fresh = np.unique(origin[edge])
        fresh = fresh[~arrives[fresh]]
        arrives[fresh] = True
    lost = np.flatnonzero(~arrives)
    if lost.size:
        paying = np.flatnonzero(still & ~ends)
        why = f" (state {paying[0]} stays but has features, so it would be paid for ever)" if paying.size else ""
        raise ValueError(
            f"discount is 1 without a horizon, but from state {lost[0]} ({lost.size} such states) no way leads to an "
            f"end, a state that every action keeps and that has no features{why}; give a discount below 1, or a "
            "horizon."
        )


def taken_slots(probability: np.ndarray) -> Slots:
    """`Layout.slots` of a table `[S, A, D]`."""
    return tuple(tuple(np.flatnonzero(row).tolist()) for row in np.any(probability != 0, axis=0))


def most_successors(probability: np.ndarray) -> int | None:
    """`Layout.own` of a table `[S, A, D]`, rounded up so that tables of like shapes share their programs."""
    _, A, D = probability.shape
    if A * D <= MOST_PAIRS:
        return None
    most = int(np.count_nonzero(probability, axis=2).max(initial=1))
    step = max(1, 2 ** (most.bit_length() - 3))  # 1, ..., 8, 10, 12, 14, 16, 20, ...
    most += -most % step
    return most if 2 * most < D else None


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


def predecessors(
    next_state: np.ndarray, edges: np.ndarray, *, aligned: bool = False, count: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
    """Transpose a successor table: for each state, the (state, slot) pairs whose edge arrives there.

    The tables take memory in proportion to the edges, however they are spread: a state with more predecessors than a
    row holds has further rows behind those of the `S` states, and `MDP.predecessor_sums` says where they belong.

    Args:
        next_state: `[S, D]`.
        edges: which slots are edges, `[S, D]`.
        aligned: no two edges arrive at a state by the same slot, and the p-th listed is that of slot p.
        count: for how many predecessors of each state there shall be room, `[S]`; None: for those that it has.

    Returns:
        Origins `[R, P]` and their slots `[R, P]`; padding is the state itself, or 0, by slot `D`, which the kernels
        read as weight zero.  Then `MDP.predecessor_sums`, empty where every state has one row.
    """
    S, D = next_state.shape
    origin, slot = np.nonzero(edges)
    target = next_state[origin, slot]
    if aligned:
        row, column, P, further = target, slot, 1 + int(slot.max(initial=0)), np.zeros(S, int)
    else:
        order = np.argsort(target, kind="stable")
        origin, slot, target = origin[order], slot[order], target[order]
        has = arrivals_in(next_state, edges)
        room = has if count is None else count
        P = _width(room)
        further = np.maximum(-(-room // P) - 1, 0)  # rows of each state behind the first
        begin = S + np.cumsum(further) - further
        place = np.arange(target.size) - (np.cumsum(has) - has)[target]
        row, column = np.where(place < P, target, begin[target] + place // P - 1), place % P
    R = S + int(further.sum())
    state_table = np.broadcast_to(np.where(np.arange(R) < S, np.arange(R), 0)[:, None], (R, P)).astype(np.int32)
    slot_table = np.full((R, P), D, dtype=np.int32)
    state_table[row, column] = origin
    slot_table[row, column] = slot
    return state_table, slot_table, _sums(further)


def arrivals_in(next_state: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """How many edges arrive in each state, `[S]`."""
    return np.bincount(next_state[edges], minlength=len(next_state))


def _width(count: np.ndarray) -> int:
    """How many predecessors a row holds, so that least is read and added: all of them, where no state has many."""
    S, most = count.size, max(1, int(count.max(initial=1)))
    if most <= 8:
        return most
    degree, states = np.unique(count, return_counts=True)

    def cost(width):
        further = int((states * np.maximum(-(-degree // width) - 1, 0)).sum())
        return (S + further) * width + 4 * further  # further rows are written, read again and added

    return min((*range(2, 9), *range(12, 68, 4)), key=cost)


def _sums(further: np.ndarray) -> tuple[np.ndarray, ...]:
    """`MDP.predecessor_sums` for states with so many further rows, which lie one after the other."""
    sums, state, rows = [], np.flatnonzero(further), further[further > 0]
    while (rows > MOST_ROWS).any():
        fewer = -(-rows // MOST_ROWS)
        place = np.arange(rows.sum()) - np.repeat(np.cumsum(rows) - rows, rows)
        sums.append(np.repeat(np.cumsum(fewer) - fewer, rows) + place // MOST_ROWS)
        rows = fewer
    return tuple(to.astype(np.int32) for to in (*sums, np.repeat(state, rows)) if state.size)
