"""Pay for the process, or for the outcome: agents that look a few steps ahead, and rewards that are paid per step.

An agent that optimises what is written over a whole run finds every trick that takes many steps.  One that looks `M`
steps ahead, and takes the overseer's word for what comes after them, finds those alone that pay within M steps
(Farquhar et al. 2025, MONA).  And a reward for a step, A^μ, asks of every policy what the outcome asks, while another
that looks as good, Q^μ, does not (Jia, Rakhlin & Xie 2025).
"""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ird.flows import unit_of
from mdps import bellman
from mdps.checks import (
    check_array,
    check_count,
    check_mdp,
    check_policy,
    check_reward,
    check_sums,
    check_weights,
    is_concrete,
    shown,
)
from mdps.kernels import batch_last, operator
from mdps.mdp import MDP
from mdps.policies import policy_return, uniform_policy
from mdps.policy_evaluation import evaluate
from mdps.pytrees import frozen_pytree, in_one_line
from mdps.solvers import solve

__all__ = ["Myopic", "ProcessRewards", "myopic", "process_rewards"]
__dir__ = __all__.copy


@frozen_pytree
@dataclass(frozen=True, eq=False)
class Myopic:
    """What an agent does that looks some steps ahead and takes an overseer's word for the rest.

    Attributes:
        policy: `[S, A]`, or `[T, S, A]` with a horizon; ties are shared.
        written: its return by what is written.
        meant: its return by what is meant.
    """

    policy: Float[Array, " S A"] | Float[Array, " T S A"]
    written: Float[Array, ""]
    meant: Float[Array, ""]

    __repr__ = in_one_line


@frozen_pytree
@dataclass(frozen=True, eq=False)
class ProcessRewards:
    """Rewards that can be paid for a step, from how a policy μ goes on after it; 0 for actions that do not exist.

    Attributes:
        advantage: A^μ(s, a) = Q^μ(s, a) - V^μ(s), `[S, A]`, or `[T, S, A]` with a horizon: asks what the reward asks.
        action_value: Q^μ(s, a), in the same shape: does not.
        value: V^μ, `[S]`, or `[T, S]`.
    """

    advantage: Float[Array, " S A"] | Float[Array, " T S A"]
    action_value: Float[Array, " S A"] | Float[Array, " T S A"]
    value: Float[Array, " S"] | Float[Array, " T S"]

    __repr__ = in_one_line


def myopic(
    mdp: MDP,
    written: Any,
    meant: Float[Array, " K"],
    steps: ArrayLike,
    *,
    approval: Float[Array, " ... S"] | None = None,
    noise: Float[Array, " ... S"] | None = None,
) -> Myopic:
    r"""Optimise a written reward over the next steps, and an overseer's approval of the state to which they lead.

        U_0(s) = V(s)        U_m(s) = max_a r̃(s, a) + γ E U_{m-1}(s')        π(s) = argmax_a r̃(s, a) + γ E U_{M-1}(s')

    V is what the overseer thinks that a state is worth.  Farquhar et al. (2025) pay it as approval of every step, the
    sum of which over M steps is the value of the last state.  The agent plans anew at each step.  M = 1 is their MONA,
    which gains nothing by tricks that take more than one step; with a horizon M >= T is ordinary optimisation, and
    what the overseer thinks does not matter.

    Args:
        mdp: the MDP.
        written: weights `[K]`, or a `ProxyReward`.
        meant: weights `[K]`.
        steps: M, how far the agent looks ahead; a whole number that may be traced: `jax.vmap` over many is one program.
        approval: V, `[S]`, or `[T, S]` with a horizon: what being in a state at step t is worth to the overseer, in
            units of return; None: the most that can be had of what is meant from there.
        noise: what is added to that, in the same shape: how far off the overseer is.  After the last step of a horizon
            nothing is approved of; leave it 0 in states that end a run if the overseer knows that they do.

    Returns:
        A `Myopic`.  Its returns have derivatives by the two rewards, those of a policy that stays as it is.

    Raises:
        ValueError: for weights or values that do not fit the MDP, fewer than one step, or an MDP without a discount
            and a horizon.

    Example:
        Coins at hand; far away a machine that makes two a step, and bad ones:

        >>> import jax, mdps
        >>> legend = {"o": "coin", "S": "floor", ".": "floor", "m": "machine"}
        >>> hall = mdps.GridWorld.from_text("oS..m", legend, horizon=8, goal=None)
        >>> written, meant = hall.weights(coin=1.0, machine=2.0), hall.weights(coin=1.0, machine=-2.0)
        >>> found = jax.vmap(lambda M: myopic(hall.mdp, written, meant, M))(jnp.arange(1, 9))
        >>> found.meant.tolist()
        [7.0, 7.0, 7.0, 7.0, 7.0, 7.0, -10.0, -10.0]
    """
    check_sums(check_mdp(mdp))
    written = written.weights if hasattr(written, "weights") else written
    written, meant = check_weights(mdp, written, "written"), check_weights(mdp, meant, "meant")
    given = [None if x is None else _per_state(mdp, name, x) for name, x in (("approval", approval), ("noise", noise))]
    return _myopic(mdp, written, meant, _checked_steps(mdp, steps), *given)


def _checked_steps(mdp: MDP, steps) -> Array:
    """How far to look ahead, as an integer that may be traced."""
    if is_concrete(steps):
        most = 2**31 - 1 if mdp.horizon is None else mdp.horizon  # more change nothing
        return jnp.asarray(min(check_count("steps", steps), most), jnp.int32)
    if jnp.shape(steps) != () or not jnp.issubdtype(steps.dtype, jnp.integer):
        raise ValueError(f"steps is {shown(steps)}; give one whole number ≥ 1, and use jax.vmap for several.")
    return steps.astype(jnp.int32)


def _per_state(mdp: MDP, name: str, x) -> Array:
    """Values by state, `[S]`, or `[T, S]` with a horizon."""
    S, T = mdp.num_states, mdp.horizon
    x = check_array(name, x, dtype=mdp.probability.dtype)
    if x.shape != (S,) and (T is None or x.shape != (T, S)):
        raise ValueError(f"{name} has shape {x.shape}; it must be [{S}]{'' if T is None else f' or [{T}, {S}]'}.")
    return x


@jax.jit
def _myopic(mdp: MDP, written, meant, steps, approval, noise) -> Myopic:
    if mdp.horizon is not None:
        of_steps = mdp.horizon, mdp.num_states
        approval, noise = (None if x is None else jnp.broadcast_to(x, of_steps) for x in (approval, noise))
    by_written, by_meant = (_by_action(mdp, mdp.reward(w)) for w in (written, meant))
    kept = jax.lax.stop_gradient((by_written, by_meant, approval, noise))
    policy = _looking_ahead(jax.lax.stop_gradient(mdp), *kept, steps)
    return Myopic(policy, policy_return(mdp, policy, by_written), policy_return(mdp, policy, by_meant))


def _by_action(mdp: MDP, reward) -> Array:
    """A reward as `[S, A]`, 0 for actions that do not exist."""
    reward = jnp.broadcast_to(reward[:, None] if reward.ndim == 1 else reward, (mdp.num_states, mdp.num_actions))
    return reward if mdp.available is None else jnp.where(mdp.available, reward, 0)


def _looking_ahead(mdp: MDP, by_written, by_meant, approval, noise, steps) -> Array:
    """The policy; beside all values goes a bound on their error by state, which says what are ties."""
    T = mdp.horizon or 1
    absent = jnp.zeros(()) if mdp.available is None else jnp.where(mdp.available, 0, -jnp.inf)
    absent = jnp.broadcast_to(absent.astype(by_meant.dtype), by_meant.shape)
    tables = mdp.next_state, mdp.probability, jnp.asarray(mdp.discount, by_meant.dtype), absent
    if approval is not None:  # as if it came of a run's sums
        value = approval.astype(by_meant.dtype)
        relative = bellman.unit(mdp.next_state.shape[1], value.dtype) * mdp.total_visits
        within = jnp.abs(value) * relative.astype(value.dtype)
    elif mdp.horizon is None:
        unit = unit_of(by_meant)
        found = solve(mdp, by_meant / unit)
        value, within = unit * found.value, jnp.full(mdp.num_states, unit * found.error_bound)
    else:
        value, within = _most_to_be_had(mdp.layout, T)(*tables, by_meant)  # pyright: ignore[reportCallIssue]
    if noise is not None:
        value = value + noise.astype(value.dtype)
        within = within + jnp.finfo(value.dtype).eps * jnp.abs(value)
    if mdp.horizon is None:  # what lies further ahead is discounted to nothing, in this precision
        most = jnp.log(jnp.finfo(value.dtype).tiny) / jnp.log(jnp.maximum(tables[2], 0.5))
        steps = jnp.minimum(steps, jnp.minimum(most, 1e9).astype(steps.dtype))
    by_step = [jnp.moveaxis(jnp.broadcast_to(x, (T, mdp.num_states)), 0, 1) for x in (value, within)]
    policy = _ahead(mdp.layout, mdp.horizon)(*tables, by_written, *by_step, steps)[0]  # pyright: ignore[reportCallIssue]
    policy = jnp.moveaxis(policy, 2, 0)
    return policy[0] if mdp.horizon is None else policy


class _Sight(NamedTuple):
    """One step of looking ahead, batch axes last, from values of the next states and bounds on their errors."""

    q: bellman.ByAction
    rounding: bellman.ByAction
    passed_on: bellman.ByAction  # of the error of the values that it leads to

    @staticmethod
    def at(table, rewards, gamma, relative: float, value, within) -> "_Sight":
        q = bellman.q_values(table.expect(value), rewards, gamma)
        sizes = bellman.sizes_of(table.expect(jnp.abs(value)), rewards, gamma)
        rounding = bellman.rounding_of(q, sizes, relative)
        return _Sight(q, rounding, bellman.each(lambda e: gamma * e, table.expect(within)))

    def largest(self) -> tuple[Array, Array]:
        """The value of the best action, and a bound on its error."""
        found = self.interval(1.0)
        return bellman.largest_of(self.q), found.loosest(found.contenders())

    def interval(self, counts) -> bellman.Interval:
        """Q with its errors, of which so much counts that comes from the values."""
        return bellman.Interval(self.q, bellman.each(lambda r, e: r + counts * e, self.rounding, self.passed_on))


@functools.cache
def _most_to_be_had(layout, horizon: int):
    """Kernel for the most that can be had from every state at every step, `[T, S]`, and a bound on its error."""

    @batch_last(core_in=(2, 3, 0, 2, 2), core_out=(2, 2))
    def kernel(next_state, probability, gamma, absent, reward):
        table = operator(layout, next_state, probability, in_place=False)
        rewards, relative = table.by_action(reward + absent), bellman.unit(next_state.shape[1], reward.dtype)

        def back(carry, _):
            carry = _Sight.at(table, rewards, gamma, relative, *carry).largest()
            return carry, carry

        batch = np.broadcast_shapes(probability.shape[3:], gamma.shape, reward.shape[2:], absent.shape[2:])
        zero = jnp.zeros((reward.shape[0], *batch), reward.dtype)
        return jax.lax.scan(back, (zero, zero), None, length=horizon, reverse=True)[1]

    return kernel


@functools.cache
def _ahead(layout, horizon: int | None):
    """Kernel for the policy that looks `steps` steps ahead, `[S, A, T]`, from what is approved of, `[S, T]`."""
    core_in = (2, 3, 0, 2, 2, 2, 2, 0)

    @batch_last(core_in=core_in, core_out=(3,))
    def kernel(next_state, probability, gamma, absent, reward, value, within, steps):
        # All steps of a run side by side, as if they were a batch.
        table = operator(layout, next_state[:, :, None], probability[:, :, :, None], in_place=False)
        rewards = table.by_action((reward + absent)[:, :, None])
        relative = bellman.unit(next_state.shape[1], reward.dtype)
        inputs = (next_state, probability, gamma, absent, reward, value, within, steps)
        batch = np.broadcast_shapes(*(x.shape[n:] for x, n in zip(inputs, core_in, strict=True)))
        value, within = (jnp.broadcast_to(x, (*value.shape[:2], *batch)) for x in (value, within))

        def later(x):
            return x if horizon is None else jnp.concatenate([x[:, 1:], jnp.zeros_like(x[:, :1])], axis=1)

        def look(value, within) -> _Sight:
            return _Sight.at(table, rewards, gamma, relative, later(value), later(within))

        def more(now):
            m, value, within, _ = now
            ahead, off = look(value, within).largest()
            goes_on = m < steps
            moves = jnp.any(goes_on & (ahead != value) & (ahead == ahead))  # NaN moves nothing
            return m + 1, jnp.where(goes_on, ahead, value), jnp.where(goes_on, off, within), moves

        def unfinished(now):
            return jnp.any(now[0] < steps) & now[3]

        start = jnp.asarray(1, steps.dtype), value, within, jnp.asarray(True)
        _, value, within, _ = jax.lax.while_loop(unfinished, more, start)
        counts = bellman.share_of_error(1 / (1 - gamma)) if not horizon else bellman.shares_by_step(gamma, horizon)
        best = look(value, within).interval(counts).contenders()
        return (bellman.stacked(bellman.shared(best, reward.dtype)),)

    return kernel


def process_rewards(
    mdp: MDP, reward: Float[Array, " S *A"], policy: Float[Array, " ... S A"] | None = None
) -> ProcessRewards:
    r"""What a step is worth to somebody who goes on by a policy μ: the advantage, and the action value.

    Paying the advantage for every step, J_A(π) = J_R(π) - J_R(μ) for every policy π, whatever μ is: the same best
    plans, and the same order of all others (distance 0 in `geometry`; Kakade & Langford 2002, lemma 6.1; Jia, Rakhlin
    & Xie 2025).  Paying the action value adds V^μ(s) at every step, which is paid for being where μ does well and is
    no shaping.

    Args:
        mdp: the MDP.
        reward: what the outcome is judged by, `[S]` or `[S, A]`; of weights `mdp.reward(weights)`.
        policy: μ, `[S, A]`, or `[T, S, A]` with a horizon; None: the uniform one.

    Returns:
        `ProcessRewards`.

    Raises:
        ValueError: for a reward or a policy that do not fit the MDP, or an MDP without a discount and a horizon.

    Example:
        The two-state MDP of the documentation, and how differently each reward ranks its policies:

        >>> import jax.numpy as jnp, mdps
        >>> from ird import alignment
        >>> P = jnp.array([[[0.5, 0.5], [0.9, 0.1]], [[0.2, 0.8], [1.0, 0.0]]])
        >>> outcome = jnp.array([[0.5, 0.2], [0.8, -1.0]])
        >>> mdp = mdps.MDP.from_dense(P, outcome[..., None], [0.5, 0.5], discount=0.9)
        >>> paid = process_rewards(mdp, outcome)
        >>> three = jnp.stack([outcome, paid.advantage, paid.action_value], axis=-1)
        >>> apart = alignment.geometry(mdps.MDP.from_dense(P, three, [0.5, 0.5], discount=0.9)).distance
        >>> print([f"{float(apart(jnp.eye(3)[0], w)):.3f}" for w in jnp.eye(3)])
        ['0.000', '0.000', '0.084']
    """
    check_sums(check_mdp(mdp))
    reward = check_reward(mdp, reward)
    policy = uniform_policy(mdp) if policy is None else check_policy(mdp, policy)
    return _process_rewards(mdp, reward, policy)


@jax.jit
def _process_rewards(mdp: MDP, reward, policy) -> ProcessRewards:
    reward = _by_action(mdp, reward)
    paid = jnp.sum(policy * jnp.expand_dims(reward, tuple(range(policy.ndim - 2))), axis=-1)
    if mdp.horizon is not None:
        paid = jnp.broadcast_to(paid, (mdp.horizon, mdp.num_states))
    value = evaluate(mdp, policy, paid)
    q = bellman.lookahead(mdp, reward, value)
    advantage = q - value[..., None]
    if mdp.available is not None:
        exist = bellman.timed(mdp, mdp.available)
        q, advantage = (jnp.where(exist, x, 0) for x in (q, advantage))
    return ProcessRewards(advantage, q, value)
