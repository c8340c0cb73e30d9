"""Trajectories that people point at: checked against the MDP's moves, and counted in features."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mdps import MDP
from mdps.checks import check_index, check_mdp, is_concrete, require_concrete

__all__ = ["check_path", "check_reaches", "collected", "path_features"]
__dir__ = __all__.copy


def path_features(mdp: MDP, states, actions=None) -> Float[Array, " K"]:
    """Discounted sum of features along a path: Σ_t γ^t φ(s_t, a_t), `[K]`.

    Args:
        mdp: the MDP.
        states: the states visited, `[T]`.
        actions: the actions taken in them, `[T]`; needed where features depend on the action.

    Raises:
        ValueError: for a path that leaves the map or uses an impossible move, with the step named.

    Example:
        >>> import mdps
        >>> grid = mdps.GridWorld.from_text("S.G", {"S": "floor", ".": "floor", "G": "goal"}, horizon=3)
        >>> path_features(grid.mdp, [0, 1, 2]).tolist()
        [2.0, 1.0]
    """
    states, actions = check_path(mdp, states, actions)
    if mdp.features.ndim == 3 and actions is None:
        raise ValueError("actions is None, but this MDP's features depend on the action; give one action per state.")
    return collected(mdp, states, actions)


def collected(mdp: MDP, states: np.ndarray, actions: np.ndarray | None = None) -> Float[Array, " ... K"]:
    """Discounted sums of features along paths `[..., T]` that have been checked; on the host, where all is known."""
    at = (states,) if mdp.features.ndim == 2 else (states, actions)
    if not (is_concrete(mdp.features) and is_concrete(mdp.discount)):
        return jnp.einsum("t,...tk->...k", mdp.discount ** jnp.arange(states.shape[-1]), mdp.features[at])
    discounts = float(mdp.discount) ** np.arange(states.shape[-1])
    summed = np.einsum("t,...tk->...k", discounts, np.asarray(mdp.features, np.float64)[at])
    return jax.device_put(summed.astype(mdp.features.dtype))


def check_path(
    mdp: MDP, states, actions=None, *, moves: bool = True, name: str = "states"
) -> tuple[np.ndarray, np.ndarray | None]:
    """The path on the host, refused where it cannot have happened.

    Args:
        mdp: the MDP.
        states: the states visited, `[T]`.
        actions: the actions taken in them, `[T]`, or None.
        moves: whether every step must be a possible move.
        name: what the states are called, for errors.
    """
    check_mdp(mdp)
    require_concrete("a path", states=states, actions=actions, probability=mdp.probability)
    try:
        states = np.asarray(states)
    except ValueError as error:
        raise ValueError(f"{name} makes no array ({error}); give T ≥ 1 state indices, [T].") from error
    S, A = mdp.num_states, mdp.num_actions
    if states.ndim != 1 or states.size == 0 or states.dtype.kind not in "iu":
        raise ValueError(f"{name} has shape {states.shape} and dtype {states.dtype}; give T ≥ 1 state indices, [T].")
    if mdp.horizon is not None and len(states) > mdp.horizon:
        raise ValueError(f"{name}: the path has {len(states)} steps, but the MDP's horizon is {mdp.horizon}.")
    outside = (states < 0) | (states >= S)
    if outside.any():
        t = int(outside.argmax())
        raise ValueError(f"{name}: the path leaves the map at step {t}: state {states[t]} is not in 0..{S - 1}.")
    if actions is not None:
        try:
            actions = np.asarray(actions)
        except ValueError as error:
            raise ValueError(f"actions makes no array ({error}); give one action per state.") from error
        if actions.shape != states.shape:
            raise ValueError(f"actions has shape {actions.shape}, {name} {states.shape}; give one action per state.")
        if actions.dtype.kind not in "iu":
            raise ValueError(f"actions has dtype {actions.dtype}; give action indices, whole numbers in 0..{A - 1}.")
        outside = (actions < 0) | (actions >= A)
        if outside.any():
            t = int(outside.argmax())
            raise ValueError(f"actions: action {actions[t]} at step {t} is not in 0..{A - 1}.")
        if mdp.available is not None and is_concrete(mdp.available):
            missing = ~np.asarray(mdp.available)[states, actions]
            if missing.any():
                t = int(missing.argmax())
                raise ValueError(
                    f"actions: action {actions[t]} at step {t} is not available in state {states[t]} (mdp.available)."
                )
    if moves:
        chance = _chances(mdp)
        for t in range(len(states) - 1):
            s, ahead = states[t], states[t + 1]
            row = chance[s].max(axis=0) if actions is None else chance[s, actions[t]]
            if row[np.asarray(mdp.next_state)[s] == ahead].sum() <= 0:
                by = "no action leads" if actions is None else f"action {actions[t]} does not lead"
                raise ValueError(f"{name}: the move at step {t} is impossible: {by} from state {s} to state {ahead}.")
    return states, actions


def check_reaches(mdp: MDP, state: int, steps: int) -> int:
    """`state`, refused unless some actions can lead there from the start in exactly `steps` moves."""
    check_mdp(mdp)
    check_index("state", state, mdp.num_states, "states")
    if not is_concrete(mdp.probability):
        return int(state)
    edges, table = np.any(_chances(mdp), axis=1), np.asarray(mdp.next_state)
    here: np.ndarray = np.asarray(mdp.initial) > 0
    for _ in range(steps):
        ahead = np.zeros_like(here)
        ahead[table[here][edges[here]]] = True
        here = ahead
    if not here[int(state)]:
        raise ValueError(f"state {int(state)} cannot be reached from the start in {steps} moves, so it is no evidence.")
    return int(state)


def _chances(mdp: MDP) -> np.ndarray:
    """Probability of each successor, `[S, A, D]`, 0 for an action that does not exist."""
    chance = np.asarray(mdp.probability)
    return chance if mdp.available is None else np.where(np.asarray(mdp.available)[..., None], chance, 0)
