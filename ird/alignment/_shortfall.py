"""A learned policy falls short of what was meant: how much of it is the written reward's, and how much the policy's."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.flows import unit_of
from mdps.checks import check_mdp, check_policy, check_sums, check_weights, is_concrete, shown
from mdps.mdp import MDP
from mdps.policies import policy_return
from mdps.pytrees import frozen_pytree
from mdps.solvers import solve

__all__ = ["OuterInner", "outer_inner"]
__dir__ = __all__.copy


@frozen_pytree
@dataclass(frozen=True, eq=False, repr=False)
class OuterInner:
    """What a policy falls short of the best for what was meant, in two parts; in units of return.

    Attributes:
        total: V*(meant) less the policy's meant return: `outer + inner`.
        outer: what the best plan for the *written* reward falls short: the reward was misspecified.
        inner: what the policy falls short of that plan, below 0 where it does better: it learned another goal.
        shortfall: what the policy falls short of the best in *written* return; 0 exactly where it is optimal for the
            written reward.
        error_bound: no part is further off than this.
    """

    total: Float[Array, ""]
    outer: Float[Array, ""]
    inner: Float[Array, ""]
    shortfall: Float[Array, ""]
    error_bound: Float[Array, ""]

    def __str__(self) -> str:
        parts = self.total, self.outer, self.inner, self.shortfall, self.error_bound
        if not all(is_concrete(x) for x in parts) or np.ndim(self.total):
            return f"{type(self).__name__} of a batch, or traced: total {shown(self.total)}"
        total, outer, inner, short, error = (float(x) for x in parts)
        tested = "is optimal for what was written" if short <= error else f"falls {short:.4g} short of what was written"
        return (
            f"short of what was meant {total:.4g} = {outer:.4g} for the written reward + {inner:.4g} for the policy, "
            f"which {tested}"
        )

    __repr__ = __str__


def outer_inner(mdp: MDP, policy: Float[Array, " *T S A"], written: Any, meant: Float[Array, " K"]) -> OuterInner:
    """Tell a misspecified reward from a policy that learned something else, on the map where it acts.

        V*(w) - J(π; w)  =  [V*(w) - J(π*_w̃; w)]  +  [J(π*_w̃; w) - J(π; w)]        total = outer + inner

    The total alone misleads: two failures can undo each other.  What tells them apart without knowing what was meant
    is the shortfall on the written reward, V*(w̃) - J(π; w̃): it is 0 exactly where the policy is optimal for it.
    Where several plans are, `outer` is that of the one which shares ties.  A policy that did well in training and has
    a shortfall here has learned another goal (goal misgeneralisation); nothing here searches inside it.

    Args:
        mdp: the map where the policy acts, not the one that it was trained on.
        policy: what was learned, `[S, A]`, or `[T, S, A]`.
        written: weights `[K]`, or a `ProxyReward`.
        meant: weights `[K]`.

    Returns:
        An `OuterInner`; over a stack of maps with `jax.vmap`.

    Raises:
        ValueError: for weights or a policy that do not fit the MDP, or an MDP without a discount and a horizon.

    Example:
        >>> import mdps
        >>> legend = {"C": "coin", ".": "floor", "S": "floor", "E": "end"}
        >>> hall = mdps.GridWorld.from_text("C.S.E", legend, horizon=6, goal=None)
        >>> coin, end = hall.weights(coin=1.0), hall.weights(end=1.0)
        >>> to_the_end = mdps.solve(hall.mdp, hall.mdp.reward(end)).policy  # in training the coin lay at the end
        >>> print(outer_inner(hall.mdp, to_the_end, written=coin, meant=coin))
        short of what was meant 4 = 0 for the written reward + 4 for the policy, which falls 4 short of what was written
        >>> print(outer_inner(hall.mdp, to_the_end, written=end, meant=coin))
        short of what was meant 4 = 4 for the written reward + 0 for the policy, which is optimal for what was written
    """
    check_sums(check_mdp(mdp))
    policy = check_policy(mdp, policy)
    written = written.weights if hasattr(written, "weights") else written
    return _outer_inner(mdp, policy, check_weights(mdp, written, "written"), check_weights(mdp, meant, "meant"))


@jax.jit
def _outer_inner(mdp: MDP, policy, written, meant) -> OuterInner:
    by_written, by_meant = mdp.reward(written), mdp.reward(meant)
    unit = unit_of(by_written)
    literal, best = solve(mdp, by_written / unit), solve(mdp, by_meant)
    most = mdp.initial @ best.value
    of_literal, of_policy = (policy_return(mdp, x, by_meant) for x in (literal.policy, policy))
    short = unit * (mdp.initial @ literal.value) - policy_return(mdp, policy, by_written)
    size = mdp.total_visits * jnp.maximum(jnp.max(jnp.abs(by_written)), jnp.max(jnp.abs(by_meant)))
    rounding = 64 * jnp.finfo(size.dtype).eps * size
    error = jnp.maximum(best.error_bound, unit * literal.error_bound) + rounding
    return OuterInner(most - of_policy, most - of_literal, of_literal - of_policy, short, error)
