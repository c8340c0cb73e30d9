"""What a plan loses against the best one, under every reward that may be meant."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.beliefs import Belief, check_belief, counting, is_belief
from ird.flows import unit_of
from ird.risk import CVaR
from mdps.checks import (
    check_array,
    check_mdp,
    check_number,
    check_policy,
    check_sums,
    check_weights,
    is_concrete,
    shown,
)
from mdps.mdp import MDP
from mdps.policies import feature_expectations
from mdps.pytrees import frozen_pytree, in_one_line
from mdps.solvers import solve

__all__ = ["Regret", "policy_of", "regret", "regret_on_any_map"]
__dir__ = __all__.copy


@frozen_pytree
@dataclass(frozen=True, eq=False)
class Regret:
    """What a plan loses against the best one, for each reward that may be meant.

    Attributes:
        regret: V*(w) - w·φ(π), at least 0, in units of return, `[N]`; `[]` for one reward.
        best: what the best plan is worth, V*(w), of the same shape.
        least: what the worst plan is worth, -V*(-w), of the same shape.
        log_weights: log of the probability of each reward, of the same shape.
        error_bound: certified bound on the error of `regret`, of the same shape.
    """

    regret: Float[Array, " ..."]
    best: Float[Array, " ..."]
    least: Float[Array, " ..."]
    log_weights: Float[Array, " ..."]
    error_bound: Float[Array, " ..."]

    __repr__ = in_one_line

    @property
    def relative(self) -> Float[Array, " ..."]:
        """The share of what can be lost at all, from 0 to 1; 0 where nothing can be lost."""
        span = self.best - self.least
        return jnp.where(span > 0, jnp.clip(self.regret / jnp.where(span > 0, span, 1), 0, 1), 0)

    @property
    def mean(self) -> Float[Array, ""]:
        """Expected regret under the belief."""
        return jnp.sum(jnp.exp(self.log_weights) * self.regret)

    @property
    def worst(self) -> Float[Array, ""]:
        """The largest regret of any reward that has probability."""
        return jnp.max(jnp.where(jnp.exp(self.log_weights) > 0, self.regret, 0))

    def above(self, tolerance: float | Float[Array, ""]) -> Float[Array, ""]:
        """The probability of a regret above a tolerance, in units of return."""
        tolerance = check_number("tolerance", tolerance, lambda x: x >= 0, "it is a loss, in units of return.")
        return jnp.sum(jnp.exp(self.log_weights) * (self.regret > tolerance))

    def tail(self, alpha: float | Float[Array, ""]) -> Float[Array, ""]:
        """The mean of the largest share `alpha` of regrets."""
        return -CVaR(alpha).value(-jnp.ravel(self.regret), jnp.ravel(self.log_weights))


def regret(mdp: MDP, plan: Any, true: Belief | Float[Array, " *N K"]) -> Regret:
    """What a plan, or the plan for a written reward, loses under every reward that may be meant.

    One batched solve over all rewards; map it over maps of one shape with `jax.vmap`.

    Args:
        mdp: the map that is acted on.
        plan: a policy, `[S, A]` or `[T, S, A]`, or anything that has a `policy`; or the written reward, weights `[K]`
            or a `ProxyReward`, whose optimal policy is taken (ties shared).
        true: what may be meant: a belief, weights `[N, K]` that are equally likely, or one reward `[K]`.

    Returns:
        A `Regret`: `mean`, `worst`, `relative`, `above(tolerance)`, `tail(alpha)`.

    Raises:
        ValueError: for a plan or rewards that do not fit the MDP, or an MDP without a discount and a horizon.

    Example:
        >>> import jax.numpy as jnp, mdps
        >>> fork = mdps.GridWorld.from_text("aSb", {"a": "left", "S": "start", "b": "right"}, horizon=3, goal=None)
        >>> meant = jnp.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
        >>> found = regret(fork.mdp, jnp.array([1.0, 0.0, 0.0]), meant)
        >>> found.regret.tolist(), float(found.mean)
        ([2.0, 0.0], 1.0)
    """
    if is_belief(mdp):
        raise ValueError("mdp is a belief; the MDP comes first, then the plan, then what may be meant.")
    check_sums(check_mdp(mdp))
    if is_belief(true):
        weights, log_weights = check_belief(mdp, true)  # pyright: ignore[reportArgumentType]
        [weights] = counting(log_weights, weights)
    else:
        weights = check_array("true", true)
        if weights.ndim not in (1, 2) or weights.shape[-1] != mdp.num_features or not weights.size:
            raise ValueError(
                f"true has shape {weights.shape}; give a belief, weights [N, {mdp.num_features}] or one reward "
                f"[{mdp.num_features}]."
            )
        log_weights = jnp.full(weights.shape[:-1], -jnp.log(weights.shape[0] if weights.ndim == 2 else 1))
    return _regret(mdp, policy_of(mdp, plan), weights, log_weights)


@jax.jit
def _regret(mdp: MDP, policy, weights, log_weights) -> Regret:
    got = jnp.matmul(weights, feature_expectations(mdp, policy), precision=jax.lax.Precision.HIGHEST)
    both = jnp.stack([weights, -weights]).reshape(-1, weights.shape[-1])

    def optimal(w):
        found = solve(mdp, mdp.reward(w))
        rounding = (mdp.num_states + 2) * jnp.finfo(w.dtype).eps / 2 * (mdp.initial @ jnp.abs(found.value))
        return mdp.initial @ found.value, found.error_bound + rounding

    (best, worst), (error, _) = (x.reshape(2, *weights.shape[:-1]) for x in jax.vmap(optimal)(both))
    return Regret(jnp.maximum(best - got, 0), best, -worst, log_weights.astype(best.dtype), error)


def policy_of(mdp: MDP, plan: Any) -> Array:
    """The policy of a plan; of a written reward, its optimal policy."""
    if hasattr(plan, "policy"):
        plan = plan.policy
    elif hasattr(plan, "weights") and not is_belief(plan):
        plan = plan.weights
    elif is_belief(plan) or isinstance(plan, str) or plan is None:
        raise ValueError(f"plan is {shown(plan)}; give a policy, what a planner returns, or the written reward [K].")
    plan = check_array("plan", plan)
    if plan.ndim == 1:
        reward = mdp.reward(check_weights(mdp, plan, "plan"))
        return solve(mdp, reward / unit_of(reward)).policy
    return check_policy(mdp, plan, name="plan")


def regret_on_any_map(
    written: Float[Array, " K"],
    true: Float[Array, " K"],
    ranges: Float[Array, " K"],
    total_visits: float | Float[Array, ""],
) -> Float[Array, ""]:
    r"""What the plan for a written reward can lose at most, on any map whose features lie in ranges of this size.

        ρ <= min over α > 0 of  Σ_k |w_k - α w̃_k| · range_k · total_visits

    since ρ <= (w - αw̃)·(φ*(w) - φ*(w̃)) for every α > 0.  It is 0 only where the rewards agree up to a factor.

    Args:
        written: the written reward w̃, `[K]`.
        true: the meant one w, `[K]`.
        ranges: largest less smallest value of each feature on any map, `[K]`.
        total_visits: steps of a run: the horizon, or 1/(1 - discount).

    Returns:
        The bound, in units of return.

    Raises:
        ValueError: for arrays that are not `[K]` alike, or negative ranges.

    Example:
        >>> import jax.numpy as jnp
        >>> float(regret_on_any_map(jnp.array([1.0, -1.0]), jnp.array([2.0, -2.5]), jnp.ones(2), 10.0))
        5.0
    """
    written, true, ranges = (check_array(n, x) for n, x in (("written", written), ("true", true), ("ranges", ranges)))
    if not written.shape == true.shape == ranges.shape or written.ndim != 1:
        raise ValueError(
            f"written, true and ranges have the shapes {written.shape}, {true.shape} and {ranges.shape}; give [K] each."
        )
    if is_concrete(ranges) and bool((np.asarray(ranges) < 0).any()):
        raise ValueError("ranges holds a negative number; give the largest less the smallest value of each feature.")
    total_visits = check_number("total_visits", total_visits, lambda x: x >= 0, "it is the steps of a run.")
    # Convex and piecewise linear in α: least at a corner, or as α goes to 0.
    corners = jnp.where(written != 0, true / jnp.where(written != 0, written, 1), 0)
    corners = jnp.append(jnp.maximum(corners, 0), 0)
    apart = jnp.abs(true[None] - corners[:, None] * written[None])
    return jnp.min(jnp.matmul(apart, ranges, precision=jax.lax.Precision.HIGHEST)) * total_visits
