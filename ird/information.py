"""What it would be worth to know the reward: when to ask rather than be careful."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ird.offsets import Belief, check_belief
from mdps.mdp import MDP
from mdps.optima import optimum


class Information(NamedTuple):
    """The value of knowing the reward before acting, in units of reward.

    Attributes:
        value: `informed - uninformed`; asking is worth at most this much.
        informed: E_w[V*(w)], the expected return of somebody who is told w and then plans.
        uninformed: max_π E_w[J(π; w)], the best expected return without being told.
        error_bound: certified bound on the error of `value`.
    """

    value: Float[Array, ""]
    informed: Float[Array, ""]
    uninformed: Float[Array, ""]
    error_bound: Float[Array, ""]


def value_of_information(mdp: MDP, belief: Belief) -> Information:
    """Expected value of perfect information about the reward in one MDP (Howard 1966).

        VOI = E_w[V*(w)] - max_π E_w[J(π; w)]

    The return is linear in w, so the uninformed optimum is that of the mean reward.  It is zero when
    one policy is best whatever the reward, however uncertain that is: a planner should ask where the
    answer matters *here*.  It is about expected return; a risk-averse planner may pay more.

    Args:
        mdp: the deployment MDP.
        belief: a posterior over weights.

    Returns:
        `Information`.

    Raises:
        ValueError: for a belief about other features.

    Example:
        >>> import jax.numpy as jnp, mdps
        >>> from ird import posterior
        >>> fork = mdps.GridWorld.from_text("a.S.b", {"S": ".", ".": ".", "a": "a", "b": "b"}, horizon=3)
        >>> belief = posterior.exact(candidates=jnp.asarray([[0.0, 1.0, -1.0], [0.0, -1.0, 1.0]]))
        >>> round(float(value_of_information(fork.mdp, belief).value), 3)
        1.0
    """
    weights, log_weights = check_belief(mdp, belief)
    return _value(mdp, weights, log_weights)


@jax.jit
def _value(mdp: MDP, weights, log_weights) -> Information:
    p = jnp.exp(log_weights)
    each = jax.vmap(lambda w: optimum(mdp, w))(weights)
    alone = optimum(mdp, p @ weights)
    informed = p @ each.value
    return Information(informed - alone.value, informed, alone.value, p @ each.error_bound + alone.error_bound)
