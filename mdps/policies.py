"""What a policy does: where it goes, what it collects, what it earns, and a sampled run of it."""

import functools
import warnings
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key

from mdps import bellman
from mdps.checks import (
    check_count,
    check_flags,
    check_key,
    check_mdp,
    check_policy,
    check_reward,
    check_sums,
    check_tolerance,
    is_concrete,
)
from mdps.mdp import MDP, place, shard
from mdps.policy_evaluation import MAX_STEPS, depart, evaluate, policy_weights, push
from mdps.reaching import ever, probability

__all__ = [
    "Trajectory",
    "discounted_first_visit",
    "feature_expectations",
    "occupancy",
    "policy_return",
    "rollout",
    "uniform_policy",
    "visit_probability",
]
__dir__ = __all__.copy


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
    policy = check_policy(check_mdp(mdp), policy)
    check_sums(mdp)
    check_tolerance(tol, policy.dtype)
    if mesh is None:
        return _occupancy(mdp, policy, tol)
    return _occupancy(shard(mdp, mesh), place(policy, mesh, axis=-2), tol)[: mdp.num_states]


@jax.jit
def _occupancy(mdp: MDP, policy, tol) -> Array:
    if mdp.horizon is None:
        return push(mdp, policy, mdp.initial, tol)[:, None] * policy
    start = jnp.zeros((mdp.horizon, mdp.num_states), mdp.initial.dtype).at[0].set(mdp.initial)
    policy = jnp.broadcast_to(policy, (mdp.horizon, *policy.shape[-2:]))
    return jnp.sum(push(mdp, policy, start)[..., None] * policy, axis=0)


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
    reward = check_reward(check_mdp(mdp), reward)
    policy = check_policy(check_mdp(mdp), policy)
    check_sums(mdp)
    return _policy_return(mdp, policy, reward)


@jax.jit
def _policy_return(mdp: MDP, policy, reward) -> Array:
    # What does not exist is not taken, whatever it would pay.
    reward = reward[:, None] if reward.ndim == 1 else reward
    paid = jnp.sum(policy * jnp.expand_dims(reward, tuple(range(policy.ndim - 2))), axis=-1)
    if mdp.horizon is not None:
        paid = jnp.broadcast_to(paid, (mdp.horizon, mdp.num_states))
        return mdp.initial @ evaluate(mdp, policy, paid)[0]
    value, weights = evaluate(mdp, policy, paid), policy_weights(mdp, policy)
    found = mdp.initial @ value
    return found + jax.lax.stop_gradient(mdp.initial @ _from_afar(mdp, weights, paid, value) - found)


def _from_afar(mdp: MDP, weights, paid, value) -> Array:
    """The value of a policy, swept on while its error may be large beside what is earned from the start.

    A return that is small because what pays is far away is below the rounding of the values nearby, at which
    `evaluate` stops.  A bound on the error by state is swept along (as for ties, `value_iteration.settle_ties`).
    """
    mdp, weights, paid, value = jax.lax.stop_gradient((mdp, weights, paid, value))
    gamma = jnp.asarray(mdp.discount, value.dtype)
    unit = bellman.unit(mdp.next_state.shape[1], value.dtype)

    def sweep(v):
        off = unit * (jnp.abs(paid) + gamma * depart(mdp, weights, jnp.abs(v)))
        return paid + gamma * depart(mdp, weights, v), off

    def going(carry):
        v, within, count = carry
        return (mdp.initial @ within > 1e-3 * jnp.abs(mdp.initial @ v)) & (count < v.size)

    def more(carry):
        v, within, count = carry
        ahead, off = sweep(v)
        return ahead, off + gamma * depart(mdp, weights, within), count + 1

    ahead, off = sweep(value)
    within = jnp.broadcast_to(jnp.max(jnp.abs(ahead - value) + off) / (1 - gamma), value.shape)
    return jax.lax.while_loop(going, more, (value, within, 0))[0]


def visit_probability(
    mdp: MDP,
    policy: Float[Array, " ... S A"],
    where: Bool[Array, " S"] | Int[Array, " S"],
    *,
    max_steps: int = MAX_STEPS,
) -> Float[Array, ""]:
    """Probability of being in one of the states `where` at least once: at times 0..T-1, or ever without a horizon.

    With a horizon the probability that arrives is summed.  Without one, the discount does not matter: the least
    solution of `x(s) = Σ_a π(a|s) E[x(s')]` with `x = 1` on `where` (Puterman 2005, section 7.1) is iterated from
    below, until what can still arrive is less than a millionth of it.  States from which there is no way are 0,
    and those from which there is no way past are 1, exactly.  For rewards paid at the first visit see
    `discounted_first_visit`.

    Args:
        mdp: the MDP.
        policy: `[S, A]`, or `[T, S, A]` with a horizon.
        where: which states count, such as `grid.where("lava")`.
        max_steps: most sweeps over the states (endless MDPs; static); float32 may take as many once more.

    Returns:
        The probability; NaN if after `max_steps` sweeps more than 1e-6 could still arrive.

    Raises:
        ValueError: for a policy that is none, or flags that are neither true nor false.

    Warns:
        RuntimeWarning: outside `jit`, when the result is NaN.

    Example:
        >>> import mdps
        >>> legend = {"S": "floor", ".": "floor", "L": "lava", "G": "goal"}
        >>> grid = mdps.GridWorld.from_text("S.LG", legend, discount=0.9)
        >>> right = jnp.zeros((4, 4)).at[:, 1].set(1.0)
        >>> mdps.visit_probability(grid.mdp, right, grid.where("lava")).item()
        1.0
    """
    policy, where = _check_visits(mdp, policy, where)
    max_steps = check_count("max_steps", max_steps)
    if mdp.horizon is not None:
        return _first_visit(mdp, policy, where, discounted=False)
    found, left = _ever(mdp, policy, where, max_steps)
    if is_concrete(found) and np.isnan(np.asarray(found)):
        warnings.warn(
            f"after {max_steps} sweeps a probability of {float(left):.2g} could still arrive, so visit_probability is "
            "NaN; give a larger max_steps, or the MDP a horizon: mdp.replace(horizon=T).",
            RuntimeWarning,
            stacklevel=2,
        )
    return found


def discounted_first_visit(
    mdp: MDP, policy: Float[Array, " ... S A"], where: Bool[Array, " S"] | Int[Array, " S"]
) -> Float[Array, ""]:
    """Expected discount at the first visit to one of the states `where`: `E[γ^τ]`, where γ^τ is 0 if there is none.

    What a reward of one, paid once at the first visit, is worth; at most `visit_probability`, and equal to it
    at discount 1.

    Args:
        mdp: the MDP; with a horizon only visits at times 0..T-1 count.
        policy: `[S, A]`, or `[T, S, A]` with a horizon.
        where: which states count, such as `grid.where("lava")`.

    Returns:
        The expectation; NaN without a horizon where the discount turns out to be 1 under `jit` (known to be 1 it is
        `visit_probability`).

    Raises:
        ValueError: for a policy that is none, or flags that are neither true nor false.

    Example:
        >>> import mdps
        >>> legend = {"S": "floor", ".": "floor", "L": "lava", "G": "goal"}
        >>> grid = mdps.GridWorld.from_text("S.LG", legend, discount=0.5)
        >>> right = jnp.zeros((4, 4)).at[:, 1].set(1.0)
        >>> mdps.discounted_first_visit(grid.mdp, right, grid.where("lava")).item()
        0.25
    """
    policy, where = _check_visits(mdp, policy, where)
    if mdp.layout.undiscounted:
        return visit_probability(mdp, policy, where)
    return _first_visit(mdp, policy, where, discounted=True)


@functools.partial(jax.jit, static_argnames="max_steps")
def _ever(mdp: MDP, policy, where, max_steps: int) -> tuple[Array, Array]:
    return ever(mdp, policy_weights(mdp, policy), where, max_steps)


@functools.partial(jax.jit, static_argnames="discounted")
def _first_visit(mdp: MDP, policy, where, discounted: bool) -> Array:
    keep = (~where).astype(mdp.probability.dtype)
    # Cut the edges that leave `where`; each run then pays 1 at its first visit and nothing later.
    policy = policy * jnp.expand_dims(keep[:, None], tuple(range(policy.ndim - 2)))
    paid = where.astype(mdp.probability.dtype)
    if mdp.horizon is None:
        return jnp.where(mdp.discount < 1, jnp.sum(push(mdp, policy, mdp.initial) * paid), jnp.nan)
    if not discounted:
        mdp = replace(mdp, discount=jnp.ones_like(mdp.discount))
    reached = evaluate(mdp, policy, jnp.broadcast_to(paid, (mdp.horizon, *paid.shape)))[0]
    return probability(mdp.initial, reached)


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

    Example:
        >>> import jax, mdps
        >>> grid = mdps.GridWorld.from_text("S.G", {"S": "dirt", ".": "dirt", "G": "goal"}, discount=0.9)
        >>> policy = mdps.solve(grid.mdp, grid.mdp.reward(grid.weights(goal=1.0))).policy
        >>> run = rollout(grid.mdp, policy, key=jax.random.key(0), num_steps=4)
        >>> run.states.tolist(), run.actions[:2].tolist()
        ([0, 1, 2, 2], [1, 1])
    """
    check_key(key)
    num_steps = check_count("num_steps", num_steps)
    return _rollout(mdp, check_policy(check_mdp(mdp), policy, at_least=num_steps), key, num_steps)


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


def _check_visits(mdp: MDP, policy, where) -> tuple[Array, Array]:
    return check_policy(check_mdp(mdp), policy), check_flags("where", where, mdp.num_states)


def uniform_policy(mdp: MDP) -> Float[Array, " S A"]:
    """The policy that acts at random: each action that is available as often as the others, `[S, A]`."""
    exist = jnp.ones((mdp.num_states, mdp.num_actions), bool) if mdp.available is None else mdp.available
    return jnp.asarray(bellman.shared(exist, mdp.probability.dtype))
