"""gymnasium's tables `P[s][a] = [(probability, next state, reward, terminated), ...]`, read and given their ends."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mdps.checks import check_finite, check_real


class Edges(NamedTuple):
    """A table as one list of edges, and which actions exist.

    Attributes:
        origin: state that each edge leaves, `[E]`, like all that follow.
        action: its action.
        chance: its probability, given its state and action.
        target: state that it enters.
        paid: its reward.
        terminated: whether the run ends by it.
        exist: which actions exist, `[S, A]`.
    """

    origin: np.ndarray
    action: np.ndarray
    chance: np.ndarray
    target: np.ndarray
    paid: np.ndarray
    terminated: np.ndarray
    exist: np.ndarray


def read(P: Any, available: Any) -> Edges:
    """The table as edges, checked; without what is not `available`, flags `[S, A]` or a function of the state."""
    S = len(P)
    by_state = P if isinstance(P, Mapping) else dict(enumerate(P))
    if S == 0 or set(by_state) != set(range(S)):
        raise ValueError(
            f"the states of P must be the numbers 0 to one less than their count; they are {list(by_state)[:10]}."
        )
    actions = [x if isinstance(x, Mapping) else dict(enumerate(x)) for x in (by_state[s] for s in range(S))]
    for s, some in enumerate(actions):
        for a in some:
            if isinstance(a, bool) or not isinstance(a, int | np.integer) or a < 0:
                raise ValueError(f"state {s} has the actions {list(some)}; actions are numbers from 0.")
    A = 1 + max((a for some in actions for a in some), default=-1)
    if A == 0:
        raise ValueError("P has no actions.")
    exist = np.array([[a in some for a in range(A)] for some in actions]) & _flags(available, S, A)
    rows = []
    for s, a in np.argwhere(exist).tolist():
        total = 0.0
        for entry in actions[s][a]:
            rows.append((s, a, *_entry(s, a, entry, S)))
            total += rows[-1][2]
        if abs(total - 1) > 1e-5:
            raise ValueError(f"the probabilities of P[{s}][{a}] sum to {total:.6g}; they must sum to one.")
    if not rows:
        raise ValueError("available leaves no action in any state; every state needs at least one.")
    origin, action, chance, target, paid, terminated = (np.array(x) for x in zip(*rows, strict=True))
    some = chance > 0
    return Edges(origin[some], action[some], chance[some], target[some], paid[some], terminated[some], exist)


def _flags(available: Any, num_states: int, num_actions: int) -> np.ndarray:
    if available is None:
        return np.ones((num_states, num_actions), bool)
    given = [available(s) for s in range(num_states)] if callable(available) else available
    flags = np.asarray(check_real("available", given))
    if flags.shape != (num_states, num_actions) or not np.isin(flags, (0, 1)).all():
        raise ValueError(
            f"available has shape {flags.shape}; it must hold flags, [S, A] with S={num_states}, A={num_actions}."
        )
    return flags.astype(bool)


def _entry(s: int, a: int, entry: Any, num_states: int) -> tuple[float, int, float, bool]:
    if len(entry) != 4:
        raise ValueError(f"P[{s}][{a}] holds {entry!r}; every entry is (probability, next state, reward, terminated).")
    p, target, paid, ended = float(entry[0]), int(entry[1]), float(entry[2]), bool(entry[3])
    if not np.isfinite(p) or p < 0:
        raise ValueError(f"P[{s}][{a}] holds the probability {p}; it must be finite and not negative.")
    if not 0 <= target < num_states or target != entry[1]:
        raise ValueError(f"P[{s}][{a}] leads to state {entry[1]}, but the states are 0..{num_states - 1}.")
    if not np.isfinite(paid):
        cure = "; leave out of the table what cannot be done, or give available=" if paid == -np.inf else ""
        raise ValueError(f"P[{s}][{a}] pays {paid}; every reward must be finite{cure}.")
    return p, target, paid, ended


def ends(edges: Edges, initial: np.ndarray) -> np.ndarray:
    """Which states are ends, `[S]`.

    Those that other states enter, by terminated edges alone, and in which no run begins; and those in which every
    action stays, pays nothing and is terminated, however they are entered.
    """
    S = len(edges.exist)
    entered, passed, goes_on = (np.zeros(S, bool) for _ in range(3))
    other = edges.origin != edges.target
    entered[edges.target[other & edges.terminated]] = True
    passed[edges.target[other & ~edges.terminated]] = True
    goes_on[edges.origin[other | (edges.paid != 0) | ~edges.terminated]] = True
    has_actions = edges.exist.any(axis=1)
    found = (entered & ~passed & (initial == 0)) | (has_actions & ~goes_on)
    stuck = np.flatnonzero(~has_actions & ~found)
    if stuck.size:
        raise ValueError(
            f"state {stuck[0]} has no actions; every state needs at least one, unless all edges into it are "
            "terminated and no run begins there."
        )
    return found


def played(edges: Edges, is_end: np.ndarray) -> Edges:
    """The edges that leave states in which runs go on."""
    kept = ~is_end[edges.origin]
    origin, action, chance, target, paid, terminated, exist = edges
    return Edges(origin[kept], action[kept], chance[kept], target[kept], paid[kept], terminated[kept], exist)


def ended(edges: Edges, is_end: np.ndarray) -> Edges:
    """The edges once ends stay and pay nothing; other terminated edges lead to one more state, an end, if any do."""
    S, A = edges.exist.shape
    origin, action, chance, target, paid, terminated, exist = played(edges, is_end)
    beyond = terminated & ~is_end[target]
    extra = int(beyond.any())
    exist = np.concatenate([exist | is_end[:, None], np.ones((extra, A), bool)])
    stay = np.repeat(np.append(np.flatnonzero(is_end), [S] * extra).astype(int), A)
    return Edges(
        origin=np.append(origin, stay),
        action=np.append(action, np.arange(len(stay)) % A),
        chance=np.append(chance, np.ones(len(stay))),
        target=np.append(np.where(beyond, S, target), stay),
        paid=np.append(paid, np.zeros(len(stay))),
        terminated=np.append(terminated, np.ones(len(stay), bool)),
        exist=exist,
    )


def mean(edges: Edges, value: np.ndarray) -> np.ndarray:
    """Numbers of edges, `[E, K]`, averaged over the edges of each state and action, `[S, A, K]`."""
    S, A = edges.exist.shape
    pair = edges.origin * A + edges.action
    add_up = lambda x: np.bincount(pair, weights=x, minlength=S * A)  # noqa: E731
    total = np.maximum(add_up(edges.chance), np.finfo(float).tiny)  # 0 where there is no edge
    return np.stack([add_up(edges.chance * x) / total for x in value.T], axis=-1).reshape(S, A, value.shape[1])


def features(edges: Edges, is_end: np.ndarray, given: Any) -> np.ndarray:
    """Features of each state and action of the table, `[S, A, K]`; see `mdps.interop._gymnasium.from_gymnasium`."""
    S, A = edges.exist.shape
    edges = played(edges, is_end)
    s, a, t = edges.origin, edges.action, edges.target
    if callable(given):
        found: list[Any] = [given(*edge) for edge in zip(s.tolist(), a.tolist(), t.tolist(), strict=True)]
        counted = [np.asarray(check_real("features(s, a, s')", x)) for x in found]
        lengths = {x.shape for x in counted}
        if len(lengths) != 1 or len(next(iter(lengths))) > 1:
            raise ValueError(f"features(s, a, s') has the shapes {sorted(lengths)}; give one number, or always [K].")
        value = np.array(counted).reshape(len(s), -1)
        return _checked_mean(edges, value, "features(s, a, s')")
    given = np.asarray(check_real("features", given))
    if given.ndim < 2 or given.shape[:-1] not in ((S,), (S, A), (S, A, S)):
        raise ValueError(
            f"features has shape {given.shape}; with S={S}, A={A} it must be [S, K], [S, A, K] or [S, A, S', K], or a "
            "function of (s, a, s')."
        )
    if given.ndim == 2:
        return _checked_mean(
            edges, given[s] + ((edges.terminated | is_end[t]) & (s != t))[:, None] * given[t], "features"
        )
    if given.ndim == 4:
        return _checked_mean(edges, given[s, a, t], "features")
    for end in np.flatnonzero(is_end & given.any(axis=(1, 2)))[:1]:
        raise ValueError(
            f"features of state {end} would never be collected, because runs end on entering it; put 0 there, and "
            "what arriving there counts for in features that are a function of (s, a, s')."
        )
    return _checked_mean(edges, given[s, a], "features")


def _checked_mean(edges: Edges, value: np.ndarray, name: str) -> np.ndarray:
    check_finite(name, value)
    return mean(edges, value)
