"""Pressure by temperature: soft-optimal plans of the written reward, from acting at random to its optimum."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.flows import unit_of
from ird.goodhart._curve import Curve, check_either, check_pressures, range_of, reward_table
from mdps.checks import check_mdp, check_sums
from mdps.mdp import MDP
from mdps.policies import uniform_policy
from mdps.policy_evaluation import evaluate
from mdps.solvers import solve


def by_temperature(mdp: MDP, proxy: Any, true: Any, temperatures: Float[Array, " *P"] | np.ndarray | Any) -> Curve:
    r"""What soft-optimal plans for a written reward are worth, from hot to cold.

        π_τ = argmax of  J̃(π) - τ KL(π),      KL(π) = E Σ γ^t log π(a_t|s_t) / u(a_t|s_t)

    u acts at random; KL is that of the trajectories from those of u where nothing is discounted.  One batched solve.

    **At temperature 0** it is the hard optimum that `mdps.solve` returns, which shares ties state by state.  That
    is not the limit of low temperatures, which prefer actions that leave more good ways open; `alignment.performance`
    gives the range over all that is optimal.

    Args:
        mdp: the MDP, with a horizon or a discount below 1.
        proxy: the written reward: weights `[K]`, a `ProxyReward`, or a table `[S]` or `[S, A]` (where S = K, what is
            `[K]` are weights).
        true: the meant one, likewise.
        temperatures: τ, in units of the written reward, `[P]`, in any order; 0 for the hard optimum.

    Returns:
        A `Curve`; its pressure is 1/τ, its rewards are returns from the start.

    Raises:
        ValueError: for rewards that do not fit the MDP, a negative temperature, or an MDP without a discount and a
            horizon.

    Example:
        >>> import mdps
        >>> legend = {"S": "floor", ".": "floor", "o": "coin", "T": "trap"}
        >>> grid = mdps.GridWorld.from_text("o.S.T", legend, horizon=6, goal=None)
        >>> written, meant = grid.weights(coin=1.0, trap=2.0), grid.weights(coin=1.0, trap=-2.0)
        >>> curve = by_temperature(grid.mdp, written, meant, [10.0, 1.0, 0.0])
        >>> [round(float(x), 2) for x in curve.true]
        [-0.85, -7.08, -8.0]
    """
    check_sums(check_mdp(mdp))
    written, meant = (check_either(mdp, name, x) for name, x in (("proxy", proxy), ("true", true)))
    taus = check_pressures("temperatures", temperatures, 0, "0 for the hard optimum, larger for less pressure")
    return _by_temperature(mdp, written, meant, taus)


@jax.jit
def _by_temperature(mdp: MDP, written, meant, taus) -> Curve:
    written, meant = reward_table(mdp, written), reward_table(mdp, meant)
    unit = unit_of(written)  # the solver's tolerance is absolute
    log_random = jnp.where(uniform_policy(mdp) > 0, jnp.log(jnp.maximum(uniform_policy(mdp), 1e-30)), 0)

    def at(tau):
        policy = solve(mdp, written / unit, temperature=tau / unit).policy
        lead = (None,) * (policy.ndim - 2)
        some = policy > 0
        apart = jnp.where(some, policy * (jnp.log(jnp.where(some, policy, 1)) - log_random[lead]), 0)
        paid = [jnp.sum(policy * r[lead], axis=-1) for r in (written, meant)]
        return [_from_start(mdp, policy, x) for x in (*paid, jnp.sum(apart, axis=-1))]

    proxy, true, kl = (x.reshape(taus.shape) for x in jax.vmap(at)(jnp.ravel(taus)))
    cold = taus == 0
    pressure = jnp.where(cold, jnp.inf, 1 / jnp.where(cold, 1, taus))
    return Curve(pressure, proxy, true, jnp.maximum(kl, 0), range_of(mdp, meant))


def _from_start(mdp: MDP, policy, paid) -> Array:
    """What a policy collects of what is paid per state, `[S]`, or `[T, S]` with a horizon."""
    if mdp.horizon is None:
        return mdp.initial @ evaluate(mdp, policy, paid)
    return mdp.initial @ evaluate(mdp, policy, jnp.broadcast_to(paid, (mdp.horizon, mdp.num_states)))[0]
