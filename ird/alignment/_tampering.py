"""Planning for the reward that is in force now, where acting can change which one is: tampering, and guarding it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ird.alignment._performance import range_among
from ird.flows import unit_of
from mdps import bellman
from mdps.checks import (
    check_array,
    check_indices,
    check_mdp,
    check_sums,
    check_truth,
    check_weights,
    is_concrete,
    shown,
)
from mdps.mdp import MDP
from mdps.policies import policy_return
from mdps.pytrees import frozen_pytree
from mdps.solvers import solve

__all__ = ["CurrentReward", "current_reward"]
__dir__ = __all__.copy


@frozen_pytree
@dataclass(frozen=True, eq=False, repr=False)
class CurrentReward:
    """What an agent does that plans, at every step, for the reward in force then; in units of return.

    Attributes:
        policy: `[S, A]`, or `[T, S, A]` with a horizon; ties are shared.
        observed: its return by the rewards that are in force when they are paid.
        lowest: the lowest meant return that was found by breaking ties; of an agent that is not aware, the lowest.
        shared: the meant return of `policy`.
        highest: the highest that was found; of an agent that is not aware, the highest.
        at_least: no way to break ties has a lower meant return.
        at_most: nor a higher one.
        aware: whether it knows what later selves will want (static).
    """

    policy: Float[Array, " S A"] | Float[Array, " T S A"]
    observed: Float[Array, ""]
    lowest: Float[Array, ""]
    shared: Float[Array, ""]
    highest: Float[Array, ""]
    at_least: Float[Array, ""]
    at_most: Float[Array, ""]
    aware: bool = field(default=False, metadata={"static": True})

    def __str__(self) -> str:
        numbers = self.lowest, self.shared, self.highest, self.at_least, self.at_most
        if not all(is_concrete(x) for x in numbers) or np.ndim(self.shared):
            return f"{type(self).__name__} of a batch, or traced: meant {shown(self.shared)}"
        lowest, shared, highest, least, most = (float(x) + 0.0 for x in numbers)  # no -0
        found = f"meant {shared:.6g} with ties shared, {lowest:.6g} to {highest:.6g} by how they are broken"
        rounding = 1e-4 * max(1.0, abs(least), abs(most))
        loose = lowest - least > rounding or most - highest > rounding
        return found + f" (not outside {least:.6g} to {most:.6g})" * loose

    __repr__ = __str__


def current_reward(
    mdp: MDP,
    rewards: Float[Array, " G K"] | Sequence,
    in_force: Int[Array, " S"] | Sequence[int],
    meant: Float[Array, " K"],
    *,
    aware: bool,
) -> CurrentReward:
    r"""Plan, at each step, for the reward that is in force there, whatever will be in force later.

    Some of a map's states say what the reward is: a switch, a file with tests, a score that can be edited.  Literal
    planning counts what will be paid by what will be in force, and so tampers where that pays.  Planning for the
    *current* reward counts all later states by the reward g(s) that is in force in the state where it plans (current-RF
    optimisation; Everitt et al. 2021), so that changing it brings nothing:

        unaware    π(s) ∈ argmax_a Q*_{g(s)}(s, a)                   it believes that later selves want the same
        aware      π(s) ∈ argmax_a r_{g(s)}(s, a) + γ E W_{g(s)}(s')    W_g: what later selves' policy is worth by g

    Having no wish to tamper, the unaware agent has none not to: where it is indifferent it may change its reward and
    want something else afterwards.  The aware one protects its reward.  How it breaks ties matters to its earlier
    selves, so that the range over all ways is bracketed: `lowest` and `highest` are attained (every self breaks ties
    against, or for, what is meant), `at_least` and `at_most` hold for every way, also a random one.

    Args:
        mdp: the MDP.
        rewards: the rewards that can be in force, as weights `[G, K]`.
        in_force: which of them is, by state, `[S]`; whole numbers.
        meant: what it is judged by, weights `[K]`.
        aware: whether it knows what later selves will want; needs a horizon.

    Returns:
        A `CurrentReward`.

    Raises:
        ValueError: for rewards or numbers that do not fit the MDP, an MDP without a discount and a horizon, or an aware
            agent without a horizon, whose selves have no last one to begin with.

    Example:
        An agent that can edit its code, or the test that it is paid for passing:

        >>> from ird import alignment
        >>> from mdps.worlds import safety
        >>> world = safety.edit_the_test()
        >>> literal = alignment.performance(world.mdp, world.written, world.hidden)
        >>> print(f"literal: {float(literal.highest):.4g} of {float(literal.best):.4g}")
        literal: -0.1 of 97.9
        >>> rewards = [world.weights(works=1.0, edits=-0.1), world.weights(edits=-0.1)]  # an empty test asks nothing
        >>> emptied = world.where(lambda state: state[2]).astype(int)
        >>> print(current_reward(world.mdp, rewards, emptied, world.hidden, aware=False))
        meant 97.9 with ties shared, 97.9 to 97.9 by how they are broken
    """
    check_sums(check_mdp(mdp))
    rewards = check_array("rewards", rewards, dtype=mdp.features.dtype)
    if rewards.ndim != 2 or rewards.shape[1] != mdp.num_features or not len(rewards):
        raise ValueError(
            f"rewards has shape {rewards.shape}; give weights [G, {mdp.num_features}], a row for each reward that can "
            f"be in force, of the features {mdp.feature_names}."
        )
    now = check_indices("in_force", in_force, len(rewards), "rewards", rank=1)
    if np.shape(now) != (mdp.num_states,):
        raise ValueError(f"in_force has shape {np.shape(now)}; give one number for each of {mdp.num_states} states.")
    meant, aware = check_weights(mdp, meant, "meant"), check_truth("aware", aware)
    if aware and mdp.horizon is None:
        raise ValueError(
            "aware agents need a horizon: without a last step there is no self from which to begin; give one, "
            "mdp.replace(horizon=T)."
        )
    return (_aware if aware else _unaware)(mdp, rewards, jnp.asarray(now), meant)


@jax.jit
def _unaware(mdp: MDP, rewards, in_force, meant) -> CurrentReward:
    tables, judged = _tables(mdp, rewards), mdp.reward(meant)
    plans = jax.vmap(lambda r: solve(mdp, r / unit_of(r)).policy)(tables)  # [G, T, S, A] or [G, S, A]
    policy = jnp.moveaxis(plans, -2, 0)[jnp.arange(mdp.num_states), in_force]  # [S, G, T, A] by state
    policy = jnp.moveaxis(policy, 0, -2)
    lowest, highest, off = range_among(mdp, policy > 0, judged)
    shared = policy_return(mdp, policy, judged)
    observed = policy_return(mdp, policy, _of_own(tables, in_force))
    return CurrentReward(policy, observed, lowest, shared, highest, lowest - off, highest + off, aware=False)


def _tables(mdp: MDP, rewards) -> Array:
    """Rewards as `[G, S, A]`."""
    return jax.vmap(partial(_table, mdp))(rewards)


def _table(mdp: MDP, weights) -> Array:
    reward = mdp.reward(weights)
    reward = jnp.broadcast_to(reward[:, None] if reward.ndim == 1 else reward, mdp.probability.shape[:2])
    return reward if mdp.available is None else jnp.where(mdp.available, reward, 0)


def _of_own(x, in_force) -> Array:
    """Numbers `[G, S, ...]` by the reward that is in force in each state, `[S, ...]`."""
    return x[in_force, jnp.arange(len(in_force))]


class _Selves(NamedTuple):
    """What the policy of later selves is worth from each state, by each reward and by what is meant."""

    value: Array  # [G, S]
    within: Array  # [G, S], a bound on its error
    meant: Array  # [S]


class _Brackets(NamedTuple):
    """What it can be worth, however they break their ties."""

    low: Array  # [G, S]
    high: Array
    meant_low: Array  # [S]
    meant_high: Array


@jax.jit
def _aware(mdp: MDP, rewards, in_force, meant) -> CurrentReward:
    tables, judged = _tables(mdp, rewards), _table(mdp, meant)
    gamma = jnp.asarray(mdp.discount, tables.dtype)
    G, S = tables.shape[:2]
    own = in_force[None] == jnp.arange(G)[:, None]

    def look(paid, ahead):
        """Q of later values, and by how much it may round; an action that does not exist is worth -inf."""
        both = bellman.expected(mdp, mdp.probability, jnp.stack([ahead, jnp.abs(ahead)]))
        relative = bellman.unit(mdp.next_state.shape[1], paid.dtype)
        exist = jnp.broadcast_to(True if mdp.available is None else mdp.available, paid.shape)
        return jnp.where(exist, paid + gamma * both[0], -jnp.inf), relative * (jnp.abs(paid) + gamma * both[1])

    def one_step(selves: _Selves, counts, prefer: float) -> tuple[_Selves, Array]:
        q, rounding = look(tables, selves.value)
        passed_on = gamma * bellman.expected(mdp, mdp.probability, selves.within)
        judges, _ = look(judged, selves.meant)
        mine, off = (_of_own(x, in_force) for x in (q, rounding + counts * passed_on))
        tied = bellman.stacked(bellman.Interval(mine, off).contenders())
        if prefer:
            tied = bellman.stacked(bellman.first_of(jnp.where(tied, prefer * judges, -jnp.inf))) > 0
        share = bellman.stacked(bellman.shared(tied, mine.dtype))
        value = jnp.sum(jnp.where(share[None] > 0, share[None] * q, 0), axis=-1)
        within = jnp.sum(share[None] * (rounding + passed_on), axis=-1)
        return _Selves(value, within, bellman.followed(share, judges)), share

    def bracketed(now: _Brackets) -> _Brackets:
        (low, below), (high, above) = look(tables, now.low), look(tables, now.high)
        low, high = low - below, high + above
        may = _of_own(high, in_force) >= jnp.max(_of_own(low, in_force), axis=-1, keepdims=True)
        best_low, best_high = jnp.max(low, axis=-1), jnp.max(high, axis=-1)  # by its own reward it takes the best
        worst, most = (
            jnp.min(jnp.where(may[None], low, jnp.inf), axis=-1),
            jnp.max(jnp.where(may[None], high, -jnp.inf), axis=-1),
        )
        (meant_low, below), (meant_high, above) = look(judged, now.meant_low), look(judged, now.meant_high)
        return _Brackets(
            jnp.where(own, best_low, worst),
            jnp.where(own, best_high, most),
            jnp.min(jnp.where(may, meant_low - below, jnp.inf), axis=-1),
            jnp.max(jnp.where(may, meant_high + above, -jnp.inf), axis=-1),
        )

    def back(carry, counts):
        found = [one_step(selves, counts, prefer) for selves, prefer in zip(carry[:3], (0.0, -1.0, 1.0), strict=True)]
        return (*(selves for selves, _ in found), bracketed(carry[3])), found[0][1]

    none, nowhere = jnp.zeros((G, S), tables.dtype), jnp.zeros(S, tables.dtype)
    start = (*[_Selves(none, none, nowhere)] * 3, _Brackets(none, none, nowhere, nowhere))
    counts = bellman.shares_by_step(gamma, mdp.horizon or 1)
    (shared, low, high, every), policy = jax.lax.scan(back, start, counts, reverse=True)
    numbers = [mdp.initial @ x for x in (low.meant, shared.meant, high.meant, every.meant_low, every.meant_high)]
    lowest, highest = (pick(jnp.stack(numbers[:3])) for pick in (jnp.min, jnp.max))
    observed = policy_return(mdp, policy, _of_own(tables, in_force))
    return CurrentReward(policy, observed, lowest, numbers[1], highest, *numbers[3:], aware=True)
