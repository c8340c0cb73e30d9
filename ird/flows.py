r"""The flow of an endless MDP as a sparse matrix, and rewards up to what ranks all policies alike; mostly on the host.

Normalised occupancies μ are what satisfies (1 - γ) μ₀ + Bᵀ μ = 0 with B = γ P - E, where E copies states to their
actions.  So rewards R and R + B Φ rank all policies alike, whatever the potential Φ.
"""

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mdps.checks import check_policy
from mdps.graph import reachable
from mdps.mdp import MDP
from mdps.policies import uniform_policy

if TYPE_CHECKING:
    import scipy.sparse as sp

__all__ = [
    "check_stationary",
    "features_by_action",
    "flow_of",
    "least_potential",
    "reference_flow",
    "starts",
    "taking_all",
    "unit_of",
    "visitable",
]
__dir__ = __all__.copy


def check_stationary(mdp: MDP) -> None:
    """Refuse an MDP whose policies depend on time, or whose visits have no sum."""
    if mdp.horizon is not None or float(mdp.discount) >= 1:
        raise ValueError(
            f"this MDP has horizon {mdp.horizon} and discount {float(mdp.discount):g}; how rewards rank stationary "
            "policies is defined without a horizon: use mdp.replace(horizon=None, discount=0.95) or another discount "
            "below 1."
        )


def visitable(mdp: MDP) -> "tuple[np.ndarray, sp.csr_matrix]":
    """Which states and actions can occur, `[S, A]`, and B = γP - E as a sparse matrix, `[S·A, S]`."""
    import scipy.sparse as sp

    S, A = mdp.num_states, mdp.num_actions
    counts = np.repeat(reachable(mdp)[:, None], A, axis=1)
    if mdp.available is not None:
        counts = counts & np.asarray(mdp.available)
    to, p = np.asarray(mdp.next_state), np.asarray(mdp.probability, np.float64)
    p = p / p.sum(axis=2, keepdims=True)  # so that what float32 rounds does not make constants matter
    row = np.broadcast_to(np.arange(S * A).reshape(S, A)[:, :, None], p.shape).ravel()
    column = np.broadcast_to(to[:, None, :], p.shape).ravel()
    moved = sp.csr_matrix((float(mdp.discount) * p.ravel(), (row, column)), shape=(S * A, S))
    stays = sp.csr_matrix((np.ones(S * A), (np.arange(S * A), np.repeat(np.arange(S), A))), shape=(S * A, S))
    return counts, (moved - stays).tocsr()


def reference_flow(mdp: MDP, policy, moved: "sp.csr_matrix", counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A policy that takes every action, `[S, A]`, and its normalised occupancy, `[S·A]`, 0 where nothing can occur."""
    policy = taking_all(mdp, policy, counts, "reference")
    return policy, flow_of(mdp, policy, moved, counts)


def taking_all(mdp: MDP, policy, counts: np.ndarray, name: str) -> np.ndarray:
    """A policy that takes every action that can occur, `[S, A]` in float64; the uniform one for None.

    Raises:
        ValueError: for a policy that leaves out an action, which it names.
    """
    policy = uniform_policy(mdp) if policy is None else check_policy(mdp, policy, stationary=True, name=name)
    policy = np.asarray(policy, np.float64)
    if (policy[counts] <= 0).any():
        s, a = np.argwhere(counts & (policy <= 0))[0]
        raise ValueError(
            f"the {name} never takes action {a} in state {s}; give one that takes every action, such as "
            "0.99 * policy + 0.01 * mdps.policies.uniform_policy(mdp)."
        )
    return policy


def flow_of(mdp: MDP, policy: np.ndarray, moved: "sp.csr_matrix", counts: np.ndarray) -> np.ndarray:
    """Normalised occupancy of any policy, `[S·A]`: what satisfies (1 - γ) μ₀ + Bᵀ μ = 0."""
    import scipy.sparse as sp
    from scipy.sparse.linalg import splu

    S, A = counts.shape
    reached = np.flatnonzero(counts.any(axis=1))
    policy = policy / policy.sum(axis=1, keepdims=True)
    share = sp.csr_matrix((policy.ravel(), (np.repeat(np.arange(S), A), np.arange(S * A))), shape=(S, S * A))
    here = splu((share[reached] @ moved[:, reached]).T.tocsc()).solve(-starts(mdp)[reached])
    visits = np.zeros((S, 1))
    visits[reached, 0] = np.maximum(here, 0)
    return (visits * policy).ravel()


def starts(mdp: MDP) -> np.ndarray:
    """(1 - γ) μ₀, `[S]`: what enters the flow."""
    initial = np.asarray(mdp.initial, np.float64)
    return (1 - float(mdp.discount)) * initial / initial.sum()


def features_by_action(mdp: MDP) -> np.ndarray:
    """Features of states and actions in a row each, `[S·A, K]`, in float64."""
    features, K = np.asarray(mdp.features, np.float64), mdp.num_features
    if features.ndim == 2:
        features = np.broadcast_to(features[:, None], (mdp.num_states, mdp.num_actions, K))
    return features.reshape(-1, K)


def least_potential(moved: "sp.csr_matrix", weights: np.ndarray, rewards: np.ndarray) -> np.ndarray:
    """Φ for which R + B Φ is shortest, states and actions weighted, `[S, K]` for rewards `[S·A, K]`.

    `moved` is B over states that can occur, `weights` `[S·A]` is 0 for actions that cannot.
    """
    import scipy.sparse as sp
    from scipy.sparse.linalg import splu

    scaled = sp.diags(weights) @ moved
    solve = splu((moved.T @ scaled).tocsc()).solve
    found = solve(-(scaled.T @ rewards))
    return found + solve(-(scaled.T @ (rewards + moved @ found)))  # what 1/(1-γ)² has made of rounding


def unit_of(reward: Array) -> Array:
    """A power of two near the largest of a reward: divided by it, plans and ties are the same in any unit."""
    most = jnp.max(jnp.abs(reward))
    return jnp.where(most > 0, jnp.exp2(jnp.floor(jnp.log2(jnp.where(most > 0, most, 1)))), 1)
