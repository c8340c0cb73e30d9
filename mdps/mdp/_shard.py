"""One large MDP over several devices: every table is split by state, and JAX's own sharding does the rest."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from mdps.mdp._mdp import MDP


def shard(mdp: MDP, mesh: Mesh) -> MDP:
    """The MDP with its states in equal shares over all devices of a mesh, padded where they do not divide.

    A padding state is never reached and leads to a state of the MDP with certainty, so that it settles as fast.
    Where successors are found by shifting (`Layout.shifts`), sweeps exchange only the edges of each share; elsewhere
    every device gathers all values in each sweep.

    Args:
        mdp: one MDP, not a stack.
        mesh: devices, along any number of axes.

    Raises:
        ValueError: for a stack, whose batch axis is what should be shard.

    Example:
        >>> import mdps, numpy as np
        >>> grid = mdps.GridWorld.from_text("S.G", {"S": "floor", ".": "floor", "G": "goal"}, discount=0.5)
        >>> mesh = Mesh(np.array(jax.devices()[:1]), ("states",))
        >>> shard(grid.mdp, mesh).num_states
        3
    """
    if mdp.probability.ndim != 3:
        raise ValueError(
            f"mdp is a stack of MDPs (probability has shape {mdp.probability.shape}); a mesh spreads the states of one "
            "large MDP. Spread a batch over devices by its batch axis: see docs/gpus.md."
        )
    if mdp.num_states % mesh.size:
        mdp = _with_padding_states(mdp, mesh.size - mdp.num_states % mesh.size)
    missing = -mdp.predecessor_state.shape[0] % mesh.size
    if missing:  # then there are further rows: blank ones join the last
        first, *others = mdp.predecessor_sums
        mdp = replace(mdp, predecessor_sums=(jnp.pad(first, (0, missing), mode="edge"), *others))
        mdp = _with_blank_rows(mdp, mdp.predecessor_state.shape[0], missing)
    # Where further rows belong is short: every device has it.
    placed = jax.tree.map(lambda x: place(x, mesh) if x.ndim else x, replace(mdp, predecessor_sums=()))
    return replace(placed, predecessor_sums=mdp.predecessor_sums)


def place(x: Array, mesh: Mesh, axis: int = 0) -> Array:
    """`x` padded with zeros along its axis of states, and split there over the mesh."""
    x = jnp.asarray(x)
    missing = -x.shape[axis] % mesh.size
    if missing:
        x = jnp.pad(x, [(0, missing if i == axis % x.ndim else 0) for i in range(x.ndim)])
    names = [None] * (axis % x.ndim) + [mesh.axis_names]
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, PartitionSpec(*names)))


def _with_padding_states(mdp: MDP, extra: int) -> MDP:
    """`mdp` with `extra` states at the end that lead, by one slot, to a state before them."""
    S, D = mdp.next_state.shape
    if mdp.layout.shifts is None:
        slot, shift = 0, None
    else:
        slot = mdp.layout.shifts.index(min(mdp.layout.shifts))
        shift = mdp.layout.shifts[slot]
        if extra > math.ceil(-shift):  # the shift would not lead out of the padding: gather instead
            mdp, slot, shift = replace(mdp, layout=replace(mdp.layout, shifts=None)), 0, None
    own = jnp.arange(S, S + extra, dtype=mdp.next_state.dtype)[:, None]
    ahead = jnp.broadcast_to(own, (extra, D)).at[:, slot].set(0 if shift is None else own[:, 0] + shift)
    if mdp.layout.sink is not None:
        ahead = ahead.at[:, -1].set(mdp.layout.sink)
    chance = jnp.zeros((extra, *mdp.probability.shape[1:]), mdp.probability.dtype).at[:, :, slot].set(1)
    more = lambda x, rows: jnp.concatenate([x, rows])  # noqa: E731
    blank = lambda x: jnp.zeros((extra, *x.shape[1:]), x.dtype)  # noqa: E731
    next_state, probability = more(mdp.next_state, ahead), more(mdp.probability, chance)
    if mdp.layout.dense:  # a slot for each new state, too
        next_state = jnp.broadcast_to(jnp.arange(S + extra, dtype=mdp.next_state.dtype), (S + extra, S + extra))
        probability = jnp.pad(probability, ((0, 0), (0, 0), (0, extra)))
    # Nothing arrives from padding, which is never reached: the table needs no edge for it.
    return replace(
        _with_blank_rows(mdp, S, extra),
        next_state=next_state,
        probability=probability,
        features=more(mdp.features, blank(mdp.features)),
        initial=more(mdp.initial, blank(mdp.initial)),
        available=None if mdp.available is None else more(mdp.available, jnp.ones((extra, mdp.num_actions), bool)),
    )


def _with_blank_rows(mdp: MDP, at: int, extra: int) -> MDP:
    """`mdp` with rows of the predecessor table in which nothing arrives, inserted at row `at`."""
    shape = (extra, mdp.predecessor_state.shape[1])

    def insert(x, filling):
        return jnp.concatenate([x[:at], jnp.full(shape, filling, x.dtype), x[at:]])

    D = mdp.next_state.shape[1]
    return replace(
        mdp, predecessor_state=insert(mdp.predecessor_state, 0), predecessor_slot=insert(mdp.predecessor_slot, D)
    )
