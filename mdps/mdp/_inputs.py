"""What people bring to the constructors of `MDP`, checked on the host and made one successor table.

Dense and sparse matrices, lists of successors, actions that do not exist, features of the transition.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mdps import tables
from mdps.checks import (
    check_count,
    check_finite,
    check_horizon_and_discount,
    check_indices,
    check_names,
    check_real,
    check_rows,
    is_concrete,
    require_concrete,
    shown,
)


def check_tensor(transition: Any) -> np.ndarray:
    """A dense check_tensor `[S, A, S']`, which is refused in other shapes."""
    if any(hasattr(x, "tocsr") for x in [transition, *(transition if isinstance(transition, list | tuple) else ())]):
        raise ValueError("transition is sparse; sparse matrices are read by MDP.from_sparse.")
    transition = np.asarray(check_real("transition", transition))
    shape = transition.shape
    if len(shape) == 3 and shape[1] == shape[2] != shape[0] and 0 not in shape:
        raise ValueError(
            f"transition has shape {shape}, which is [A, S, S']; it must be [S, A, S']: give "
            "np.transpose(transition, (1, 0, 2)), and features and rewards with the state first, too."
        )
    if len(shape) != 3 or shape[0] != shape[2] or 0 in shape:
        raise ValueError(f"transition has shape {shape}; it must be [S, A, S'] with S' = S and A ≥ 1.")
    return transition


def check_fields(mdp: Any, *, tables: bool) -> None:
    """The constructors' checks of the fields of an `MDP` that are concrete; of one, or of a stack of them."""
    axes = mdp.probability.ndim - 3
    where = ("mdp",) * axes
    S, A, D = mdp.probability.shape[-3:]
    shape = mdp.features.shape[axes:]
    if len(shape) not in (2, 3) or shape[:-1] not in ((S,), (S, A)):
        raise ValueError(f"features has shape {shape}; with S={S}, A={A} it must be [S, K] or [S, A, K].")
    if mdp.initial.shape[axes:] != (S,):
        raise ValueError(f"initial has shape {mdp.initial.shape}; it must be [S] with S={S}.")
    if mdp.next_state.shape[axes:] != (S, D):
        raise ValueError(
            f"next_state has shape {mdp.next_state.shape} and probability {mdp.probability.shape}; "
            "they must be [S, D] and [S, A, D]."
        )
    name_features(mdp.feature_names, shape[-1])
    if mdp.available is not None and mdp.available.shape[axes:] != (S, A):
        raise ValueError(f"available has shape {mdp.available.shape}; it must be [S, A] with S={S}, A={A}.")
    if mdp.available is not None and is_concrete(mdp.available):
        exist = np.reshape(mdp.available, (-1, A))
        which_exist(exist, len(exist), A)
    check_finite("features", mdp.features)
    check_rows("initial", mdp.initial, axes=where)
    for gamma in np.ravel(mdp.discount) if is_concrete(mdp.discount) else (mdp.discount,):
        check_horizon_and_discount(mdp.horizon, gamma, ends=True)
    if tables:
        check_rows("probability", mdp.probability, axes=(*where, "state", "action"))
        if is_concrete(mdp.next_state):
            check_successors(mdp.next_state, S)


def check_lists(next_state: Any, probability: np.ndarray, *, by_action: bool = True) -> np.ndarray:
    """The successors beside `probability`, `[S, D]`, or `[S, A, D]` where they may be listed `by_action`."""
    shape = probability.shape
    if len(shape) != 3 or 0 in shape:
        raise ValueError(f"probability has shape {shape}; it must be [S, A, D].")
    next_state = np.asarray(check_indices("next_state", next_state, shape[0], "states"))
    if next_state.shape not in [(shape[0], shape[2])] + [shape] * by_action:
        raise ValueError(
            f"next_state has shape {next_state.shape} and probability {shape}; "
            f"they must be [S, D] and [S, A, D]{', or both [S, A, D]' if by_action else ''}."
        )
    return next_state


def check_successors(next_state, num_states: int) -> None:
    """Raise unless every successor is a state."""
    next_state = np.asarray(next_state)
    if next_state.min() < 0 or next_state.max() >= num_states:
        raise ValueError(f"next_state holds states outside 0..{num_states - 1}; every successor must be a state index.")


def which_exist(available: Any, num_states: int, num_actions: int) -> np.ndarray | None:
    """The flags `[S, A]` of the actions that exist, or None where all do."""
    if available is None:
        return None
    flags = np.asarray(check_real("available", available))
    if flags.shape != (num_states, num_actions):
        raise ValueError(
            f"available has shape {flags.shape}; it must hold flags, [S, A] with S={num_states}, A={num_actions}."
        )
    odd = np.argwhere((flags != 0) & (flags != 1))
    if odd.size:
        s, a = (int(i) for i in odd[0])
        raise ValueError(f"available is {flags[s, a]:.6g} at index {(s, a)}; give flags, true or false.")
    available = flags == 1
    stuck = np.flatnonzero(~available.any(axis=1))
    if stuck.size:
        raise ValueError(
            f"no action is available in state {stuck[0]} ({stuck.size} such states); every state needs at least one: "
            "give an end one action that stays."
        )
    return None if available.all() else available


def features_by_action(features: np.ndarray, probability: np.ndarray, available: np.ndarray | None) -> np.ndarray:
    """Features `[S, K]` or `[S, A, K]`, finite: those of the transition, `[S, A, D, K]`, averaged over successors.

    What they are for a successor without probability, or an action that does not exist, does not count.
    """
    S, A, D = probability.shape
    if features.ndim < 2 or features.shape[:-1] not in ((S,), (S, A), (S, A, D)):
        raise ValueError(
            f"features has shape {features.shape}; with S={S}, A={A} it must be [S, K], [S, A, K] or, by successor "
            "too, [S, A, S', K]."
        )
    if features.ndim > 2 and available is not None:
        features = np.where(available.reshape(S, A, *(1,) * (features.ndim - 2)), features, 0)
    if features.ndim < 4:
        return _finite(features)
    taken = _finite(np.where((probability > 0)[..., None], features, 0))
    mean = np.einsum("sad,sadk->sak", probability, taken, dtype=np.float64)
    return mean.astype(features.dtype if features.dtype.kind == "f" else float)


def name_features(feature_names: Sequence[str] | None, num_features: int) -> tuple[str, ...]:
    """One distinct name for each feature."""
    if feature_names is None:
        return tuple(f"feature {k}" for k in range(num_features))
    return check_names(feature_names, num_features)


def share(probability: np.ndarray) -> np.ndarray:
    """Rows divided by their sums, for means; rows that are no distributions are refused where the table is built."""
    total = probability.sum(axis=-1, keepdims=True)
    return np.divide(probability, total, out=np.zeros(probability.shape), where=total > 0)


def _finite(features: np.ndarray) -> np.ndarray:
    if np.isneginf(features).any():
        where = tuple(int(i) for i in np.argwhere(np.isneginf(features))[0])
        raise ValueError(
            f"features is -inf at index {where}; for actions that do not exist give available=[S, A], and every "
            "feature a finite number."
        )
    check_finite("features", features)
    return features


def by_slot(features: np.ndarray, next_state: np.ndarray, num_actions: int) -> np.ndarray:
    """Features of the transition, `[S, A, S', K]`, at the successors of a table `[S, D]`; others as they are."""
    S = len(next_state)
    if features.ndim != 4 or features.shape[:3] != (S, num_actions, S):
        return features
    return np.take_along_axis(features, next_state[:, None, :, None], axis=2)


def edges_of(
    transition: Any, num_actions: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int, int]:
    """Origin, action, target and probability of each entry of sparse matrices, S and A.

    Args:
        transition: one matrix `[S·A, S]` whose row `s·A + a` is that of action a in state s, or A matrices `[S, S]`.
        num_actions: A, or None to find it.
    """
    num_actions = None if num_actions is None else check_count("num_actions", num_actions)
    if isinstance(transition, list | tuple):
        if not transition or num_actions not in (None, len(transition)):
            raise ValueError(
                f"transition holds {len(transition)} matrices, with num_actions={num_actions}; give one per action."
            )
        parts = [_coordinates(f"transition[{a}]", matrix) for a, matrix in enumerate(transition)]
        S, A = parts[0][3][1], len(parts)
        for a, (*_, shape) in enumerate(parts):
            if shape != (S, S):
                raise ValueError(f"transition[{a}] has shape {shape}; each of the A matrices must be [S, S], S={S}.")
        action = np.repeat(np.arange(A), [len(origin) for origin, *_ in parts])
        origin, target, probability = (np.concatenate([part[i] for part in parts]) for i in range(3))
        return origin, action, target, probability, S, A
    row, target, probability, (rows, S) = _coordinates("transition", transition)
    A = rows // S if num_actions is None and S else num_actions
    if not S or not A or rows != S * A:
        raise ValueError(
            f"transition has shape {(rows, S)} with num_actions={num_actions}; it must be [S·A, S], row s·A + a for "
            "action a in state s, or a list of A matrices [S, S]."
        )
    return row // A, row % A, target, probability, S, A


def _coordinates(name: str, matrix: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]:
    """Row, column and value of each entry of a matrix that SciPy calls sparse, and its shape."""
    if not hasattr(matrix, "tocsr"):
        raise ValueError(
            f"{name} is {shown(matrix)}; give a SciPy sparse matrix or array "
            "(MDP.from_dense takes arrays, MDP.from_table lists of successors)."
        )
    rows = matrix.tocsr()
    row = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    return row, np.asarray(rows.indices, np.int64), np.asarray(rows.data), rows.shape


def table_of_lists(next_state: np.ndarray, probability: np.ndarray, num_states: int):
    """A table whose successors may be those of the state `[S, D]` or of state and action `[S, A, D]`."""
    if next_state.ndim == 3:
        return tables.merged(next_state, probability)
    edges = (probability != 0).any(axis=1)
    return np.where(edges, next_state, np.arange(num_states)[:, None]), probability, edges


def rebuilt(new: Any, old: Any) -> Any:
    """`new`, an `MDP` of other successors or probabilities than `old`, with the tables that follow from them."""
    moved = new.next_state is not old.next_state
    if moved:
        require_concrete("MDP.replace", next_state=new.next_state, probability=new.probability)
    if old.layout.stay is not None and not moved:  # the edges stay: which move has which slot is known
        probability = _stay_where_blocked(new.next_state, new.probability, old.layout.sink, old.layout.stay)
        slots = (
            tables.taken_slots(np.asarray(probability)) if probability.ndim == 3 and is_concrete(probability) else None
        )
        return dataclasses.replace(new, probability=probability, layout=dataclasses.replace(old.layout, slots=slots))
    if not is_concrete(new.probability):
        raise TypeError(
            "probability is a tracer, and other edges need other tables, which are made on the host; call replace "
            "outside jit and vmap (on a GridWorld, where every move has its slot, traced probabilities are taken)."
        )
    if new.probability.ndim != 3:
        raise ValueError("this is a stack of MDPs; replace successors or probabilities before stacking.")
    next_state, probability = np.asarray(new.next_state), np.asarray(new.probability)
    edges = np.asarray(probability.any(axis=1))
    sink = None if moved else old.layout.sink
    leads = edges.copy()
    if sink is not None:
        leads[:, -1] = True
    next_state = np.where(leads, next_state, np.arange(len(next_state))[:, None])
    next_state, probability, origin, slot, sums, layout = tables.lay_out(next_state, probability, edges, sink)
    return dataclasses.replace(
        new,
        next_state=jnp.asarray(next_state, jnp.int32),
        probability=jnp.asarray(probability, new.probability.dtype),
        predecessor_state=jnp.asarray(origin),
        predecessor_slot=jnp.asarray(slot),
        predecessor_sums=tuple(map(jnp.asarray, sums)),
        layout=layout,
    )


def _stay_where_blocked(
    next_state: Int[Array, " *mdps S D"], probability: Float[Array, " *mdps S A D"], sink: int | None, stay: int
) -> Float[Array, " *mdps S A D"]:
    """The probabilities, with what goes to a blocked move (which leads nowhere) added to that of staying."""
    S, D = next_state.shape[-2:]
    own, slot = np.arange(S)[:, None], np.arange(D)[None, :]
    # The end leads to itself by the slot by which all lead there.
    keep = np.where(own == (-1 if sink is None else sink), D - 1, stay)
    blocked = (next_state == own) & (slot != keep)
    idle = jnp.sum(jnp.where(blocked[..., None, :], probability, 0), axis=-1, keepdims=True)
    return jnp.where(blocked[..., None, :], 0, probability) + idle * (slot == keep)[:, None, :]
