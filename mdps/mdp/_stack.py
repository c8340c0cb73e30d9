"""Several MDPs as one pytree with a leading axis, for `jax.vmap`."""

import dataclasses
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mdps import tables
from mdps.checks import check_mdp, require_concrete, shown
from mdps.kernels.layout import Layout
from mdps.mdp._mdp import MDP


def stack(mdps: Sequence[MDP]) -> MDP:
    """Stack MDPs into one pytree with a leading axis, for `jax.vmap`.

    MDPs with fewer states or successors are padded: padding states are never reached, have no
    features and stay where they are.  Where some MDP lacks actions, all get flags, and what is padded has every action.

    Args:
        mdps: MDPs with the same number of actions, the same horizon and the same features.

    Returns:
        An `MDP` whose arrays have a leading axis of length `len(mdps)`.

    Raises:
        ValueError: for an empty sequence, or MDPs that differ in horizon, actions or features.
    """
    if isinstance(mdps, str) or not isinstance(mdps, Iterable):
        raise ValueError(f"mdps is {shown(mdps)}; stack takes a sequence of MDPs.")
    mdps = [check_mdp(m, f"mdps[{i}]") for i, m in enumerate(mdps)]
    if not mdps:
        raise ValueError("stack needs at least one MDP; mdps is empty.")
    require_concrete("stack", **{f"mdp {i}": m.probability for i, m in enumerate(mdps)})
    head = mdps[0]
    for i, m in enumerate(mdps[1:], 1):
        for what, a, b in (
            ("horizon", head.horizon, m.horizon),
            ("lack of a discount", head.layout.undiscounted, m.layout.undiscounted),
            ("number of actions", head.num_actions, m.num_actions),
            ("feature names", head.feature_names, m.feature_names),
            ("features per action", head.features.ndim, m.features.ndim),
        ):
            if a != b:
                raise ValueError(f"MDPs to stack must share their {what}: mdp 0 has {a!r}, mdp {i} has {b!r}.")
    if any(m.available is not None for m in mdps):
        mdps = [_flagged(m) for m in mdps]
    if len({(m.num_states, m.layout.shifts) for m in mdps}) == 1 and head.layout.shifts is not None:
        layout = dataclasses.replace(head.layout, slots=tables.either([m.layout.slots for m in mdps]))
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *[dataclasses.replace(m, layout=layout) for m in mdps])
    S = max(m.num_states for m in mdps)
    D = S if all(m.layout.dense for m in mdps) else max(m.next_state.shape[1] for m in mdps)
    keep_sink = len({(m.layout.sink, m.next_state.shape[1]) for m in mdps}) == 1
    layout = Layout(
        sink=head.layout.sink if keep_sink else None,
        dense=all(m.layout.dense for m in mdps),
        own=max(m.layout.own or 0 for m in mdps) if all(m.layout.own for m in mdps) else None,
        undiscounted=head.layout.undiscounted,
    )
    padded = [_padded_to(m, S, D, layout) for m in mdps]
    if not layout.dense:
        padded = _with_predecessors(padded)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *padded)


def _flagged(m: MDP) -> MDP:
    """`m` with `available` spelled out."""
    if m.available is not None:
        return m
    return dataclasses.replace(m, available=jnp.ones((m.num_states, m.num_actions), bool))


def _padded_to(m: MDP, S: int, D: int, layout: Layout) -> MDP:
    """`m` with `S` states and `D` successors, less its predecessors; extra states stay put and are never reached."""
    s, d = m.next_state.shape
    own = np.arange(S, dtype=np.int32)
    next_state = np.broadcast_to(own if layout.dense else own[:, None], (S, D)).copy()
    next_state[:s, :d] = m.next_state
    probability = np.zeros((S, m.num_actions, D), m.probability.dtype)
    probability[:s, :, :d] = m.probability
    probability[own[s:], :, own[s:] if layout.dense else 0] = 1.0
    if layout.sink is not None:
        next_state[s:, -1] = layout.sink
    pad_state = lambda x: jnp.concatenate([x, jnp.zeros((S - s, *x.shape[1:]), x.dtype)])  # noqa: E731
    none = jnp.zeros((S, 0), jnp.int32)
    return dataclasses.replace(
        m,
        next_state=jnp.asarray(next_state),
        probability=jnp.asarray(probability),
        predecessor_state=none,
        predecessor_slot=none,
        predecessor_sums=(),
        features=pad_state(m.features),
        initial=pad_state(m.initial),
        available=None if m.available is None else jnp.pad(m.available, ((0, S - s), (0, 0)), constant_values=True),
        layout=layout,
    )


def _with_predecessors(mdps: list[MDP]) -> list[MDP]:
    """MDPs of one shape with predecessor tables of one shape: every state has the rows that it needs in any of them."""
    kept = np.arange(mdps[0].next_state.shape[1]) < mdps[0].next_state.shape[1] - (mdps[0].layout.sink is not None)
    tables_of = [(np.asarray(m.next_state), np.asarray(m.probability).any(axis=1) & kept) for m in mdps]
    count = np.max([tables.arrivals_in(*table) for table in tables_of], axis=0)
    with_tables = []
    for m, table in zip(mdps, tables_of, strict=True):
        origin, slot, sums = (jax.tree.map(jnp.asarray, x) for x in tables.predecessors(*table, count=count))
        with_tables.append(
            dataclasses.replace(m, predecessor_state=origin, predecessor_slot=slot, predecessor_sums=sums)
        )
    return with_tables
