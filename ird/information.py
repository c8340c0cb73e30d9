"""What it would be worth to know the reward: when to ask rather than be careful."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ird.beliefs import Belief, check_belief, counting
from ird.queries import Query
from mdps.checks import check_sums, shown
from mdps.mdp import MDP
from mdps.optimal_features import optimum

__all__ = ["Information", "value_of_answer", "value_of_information"]
__dir__ = __all__.copy


class Information(NamedTuple):
    """The value of being told something about the reward before acting, in units of return.

    Attributes:
        value: `informed - uninformed`: what being told is worth; less than a perfect answer is worth at most as much.
        informed: the expected return of somebody who is told and then plans: E_w[V*(w)], where w is told.
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
    check_sums(mdp)
    return _value(mdp, weights, log_weights)


def value_of_answer(mdp: MDP, belief: Belief, query: Query) -> Information:
    """Expected value of one question's answer for acting in one MDP (Raiffa & Schlaifer 1961).

        Σ_c P̄(c) max_π E[J(π; w) | c] - max_π E_w[J(π; w)]

    Between zero and `value_of_information`: an answer that leaves the best policy as it is, is worth
    nothing here, whatever it tells about w.  The query may have been made from any environment.

    Args:
        mdp: the deployment MDP.
        belief: a posterior over weights.
        query: what would be asked, such as `ird.queries.choose` returns.

    Returns:
        `Information`, `informed` by the answer alone.

    Raises:
        ValueError: for a belief or a query about other features.

    Example:
        >>> import jax.numpy as jnp, mdps
        >>> from ird import posterior, queries
        >>> fork = mdps.GridWorld.from_text("a.S.b", {"S": ".", ".": ".", "a": "a", "b": "b"}, horizon=3)
        >>> belief = posterior.exact(candidates=jnp.asarray([[0.0, 1.0, -1.0], [0.0, -1.0, 1.0]]))
        >>> pool = queries.Pool.from_rewards([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], fork.mdp, beta=1.0)
        >>> round(float(value_of_answer(fork.mdp, belief, pool.query([0, 1])).value), 3)
        0.762
    """
    weights, log_weights = check_belief(mdp, belief)
    check_sums(mdp)
    if not isinstance(query, Query):
        raise ValueError(f"query is {shown(query)}; give what queries.choose(...) or Pool.query(...) returns.")
    if tuple(query.feature_names) != tuple(mdp.feature_names):
        raise ValueError(
            f"the query is about the features {query.feature_names}, but this MDP has {tuple(mdp.feature_names)}; "
            "ask about a map with the same features in the same order."
        )
    return _value_of_answer(mdp, weights, log_weights, query)


@jax.jit
def _value_of_answer(mdp: MDP, weights, log_weights, query: Query) -> Information:
    [weights] = counting(log_weights, weights)
    joint = jnp.exp(query.log_probabilities(weights) + log_weights[:, None])  # P(w_i, c), [N, C]
    # V* is homogeneous in w, so that P̄(c) V*(E[w | c]) = V*(Σ_i P(w_i, c) w_i).
    each = jax.vmap(lambda w: optimum(mdp, w))(joint.T @ weights)
    alone = optimum(mdp, jnp.exp(log_weights) @ weights)
    informed = jnp.sum(each.value)
    return Information(informed - alone.value, informed, alone.value, jnp.sum(each.error_bound) + alone.error_bound)


@jax.jit
def _value(mdp: MDP, weights, log_weights) -> Information:
    [weights] = counting(log_weights, weights)
    p = jnp.exp(log_weights)
    each = jax.vmap(lambda w: optimum(mdp, w))(weights)
    alone = optimum(mdp, p @ weights)
    informed = p @ each.value
    return Information(informed - alone.value, informed, alone.value, p @ each.error_bound + alone.error_bound)
