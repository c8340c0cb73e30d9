"""What a policy does: where it goes, what it collects, what it earns, and a sampled run of it."""

import functools
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key

from mdps.checks import check_finite, check_key, check_rows
from mdps.linear import evaluate, policy_weights, push
from mdps.mdp import MDP
from mdps.sharding import place, spread


class Trajectory(NamedTuple):
    """A sampled run: the states left and the actions taken, `T` of each."""

    states: Int[Array, " T"]
    actions: Int[Array, " T"]


def occupancy(
    mdp: MDP, policy: Float[Array, " ... S A"], *, tol=None, mesh: Mesh | None = None
) -> Float[Array, " S A"]:
    """Expected discounted number of times each action is taken in each state (Puterman 2005, 6.9).

    Args:
        mdp: the MDP.
        policy: `[S, A]`, or `[T, S, A]` with a horizon.
        tol: bound on the sum of absolute errors (endless MDPs); None: the rounding floor.
        mesh: devices over which to spread the states of one large MDP, as in `solve`.

    Returns:
        `[S, A]`; sums to `mdp.total_visits`: 1/(1-γ), T, or (1-γ^T)/(1-γ).

    Raises:
        ValueError: for a policy of the wrong shape or whose rows are not distributions.
    """
    policy = _check_policy(mdp, policy)
    if mesh is None:
        return _occupancy(mdp, policy, tol)
    return _occupancy(spread(mdp, mesh), place(policy, mesh, axis=-2), tol)[: mdp.num_states]


@jax.jit
def _occupancy(mdp: MDP, policy, tol) -> Array:
    weights = policy_weights(mdp, policy)
    if mdp.horizon is None:
        return push(mdp, weights, mdp.initial, tol)[:, None] * policy
    start = jnp.zeros((mdp.horizon, mdp.num_states), mdp.initial.dtype).at[0].set(mdp.initial)
    policy = jnp.broadcast_to(policy, (mdp.horizon, *policy.shape[-2:]))
    return jnp.sum(push(mdp, weights, start)[..., None] * policy, axis=0)


def feature_expectations(mdp: MDP, policy: Float[Array, " ... S A"], *, tol=None) -> Float[Array, " K"]:
    """Expected discounted sum of features under a policy, φ(π) (Abbeel & Ng 2004), `[K]`.

    The arguments are those of `occupancy`.  The return of the policy under `weights` is
    `weights @ feature_expectations(mdp, policy)`.
    """
    visits = occupancy(mdp, policy, tol=tol)
    if mdp.features.ndim == 3:
        return jnp.einsum("sa,sak->k", visits, mdp.features)
    return jnp.sum(visits, axis=1) @ mdp.features


def policy_return(mdp: MDP, policy: Float[Array, " ... S A"], reward: Float[Array, " S *A"]) -> Float[Array, ""]:
    """Expected discounted sum of rewards of a policy from the initial distribution, in units of reward.

    Args:
        mdp: the MDP.
        policy: `[S, A]`, or `[T, S, A]` with a horizon.
        reward: `[S]` or `[S, A]`.

    Raises:
        ValueError: for a policy or a reward of the wrong shape, or values that are not finite.
    """
    reward = jnp.asarray(reward)
    S, A = mdp.num_states, mdp.num_actions
    if reward.shape not in ((S,), (S, A)):
        raise ValueError(
            f"reward has shape {reward.shape}; with S={S} states and A={A} actions it must be [S] or [S, A]."
        )
    check_finite("reward", reward)
    visits = occupancy(mdp, policy)
    return jnp.sum(visits * (reward[:, None] if reward.ndim == 1 else reward))


def visit_probability(mdp: MDP, policy: Float[Array, " ... S A"], states: Bool[Array, " S"]) -> Float[Array, ""]:
    """Probability of being in one of `states` at least once, at times 0..T-1 (or ever, discounted by γ).

    Exact: the states are made to keep what reaches them, and the probability that arrives is summed.
    Without a horizon it is the expected value of γ to the power of the first visit.

    Args:
        mdp: the MDP.
        policy: `[S, A]`, or `[T, S, A]` with a horizon.
        states: which states count.
    """
    policy = _check_policy(mdp, policy)
    states = jnp.asarray(states)
    if states.shape != (mdp.num_states,):
        raise ValueError(f"states has shape {states.shape}; give one flag per state, [{mdp.num_states}].")
    return _visit_probability(mdp, policy, states)


@jax.jit
def _visit_probability(mdp: MDP, policy, states) -> Array:
    keep = (~states).astype(mdp.probability.dtype)
    # Cut the edges that leave `states`; each run then pays 1 at its first visit and nothing later.
    weights = policy_weights(mdp, policy)
    weights = weights * jnp.expand_dims(keep[:, None], tuple(range(weights.ndim - 2)))
    paid = states.astype(mdp.probability.dtype)
    if mdp.horizon is None:
        return jnp.sum(push(mdp, weights, mdp.initial) * paid)
    undiscounted = replace(mdp, discount=jnp.ones_like(mdp.discount))
    return mdp.initial @ evaluate(undiscounted, weights, jnp.broadcast_to(paid, (mdp.horizon, *paid.shape)))[0]


def rollout(mdp: MDP, policy: Float[Array, " ... S A"], *, key: Key[Array, ""], num_steps: int) -> Trajectory:
    """Sample one run of a policy.

    Args:
        mdp: the MDP.
        policy: `[S, A]`, or `[T, S, A]` with `num_steps <= T`.
        key: a `jax.random.key`.
        num_steps: number of steps (static).

    Returns:
        `Trajectory(states [num_steps], actions [num_steps])`.

    Raises:
        ValueError: for a policy of the wrong shape, fewer than one step, or what is no key.
    """
    check_key(key)
    if num_steps < 1:
        raise ValueError(f"num_steps is {num_steps}; take at least one step.")
    return _rollout(mdp, _check_policy(mdp, policy, num_steps=num_steps), key, num_steps)


@functools.partial(jax.jit, static_argnames="num_steps")
def _rollout(mdp: MDP, policy, key, num_steps: int) -> Trajectory:
    per_step = jnp.broadcast_to(policy, (num_steps, *policy.shape)) if policy.ndim == 2 else policy[:num_steps]
    first, later = jax.random.split(key)
    state = jax.random.categorical(first, jnp.log(mdp.initial)).astype(mdp.next_state.dtype)

    def step(state, now):
        key, policy_t = now
        choose, move = jax.random.split(key)
        action = jax.random.categorical(choose, jnp.log(policy_t[state]))
        slot = jax.random.categorical(move, jnp.log(mdp.probability[state, action]))
        return mdp.next_state[state, slot], (state, action)

    _, (states, actions) = jax.lax.scan(step, state, (jax.random.split(later, num_steps), per_step))
    return Trajectory(states, actions)


def _check_policy(mdp: MDP, policy, num_steps: int | None = None) -> Array:
    policy = jnp.asarray(policy)
    S, A, T = mdp.num_states, mdp.num_actions, mdp.horizon
    steps = T if num_steps is None else num_steps
    per_step = policy.ndim == 3 and policy.shape[1:] == (S, A) and steps is not None
    if per_step:
        per_step = policy.shape[0] == T if num_steps is None else policy.shape[0] >= num_steps
    if policy.shape != (S, A) and not per_step:
        shapes = f"[{S}, {A}]" + ("" if steps is None else f" or [{steps}, {S}, {A}]")
        raise ValueError(f"policy has shape {policy.shape}; it must be {shapes}.")
    check_rows("policy", policy, axes=("step", "state")[3 - policy.ndim :], tolerance=1e-4)
    return policy
