"""What it would be worth to know the reward: when to ask rather than be careful."""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ird.beliefs import Belief, check_belief, counting
from ird.blocks import ROWS, in_blocks
from ird.queries import Pool, Query, choose
from mdps.checks import check_number, check_sums, shown
from mdps.mdp import MDP
from mdps.optimal_features import optimum

__all__ = ["Information", "Question", "next_question", "value_of_answer", "value_of_information"]
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


class Question(NamedTuple):
    """What to ask next, and whether to ask at all.

    Attributes:
        query: the question.
        answer: what its answer alone is worth for acting.
        everything: what it would be worth to be told the reward: no number of questions is worth more.
        stop: whether to act without asking: being told everything would not be worth the cost of one question.
    """

    query: Query
    answer: Information
    everything: Information
    stop: Bool[Array, ""]


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


def next_question(
    mdp: MDP, belief: Belief, pool: Pool, size: int = 2, *, cost: float | Float[Array, ""] = 0.0
) -> Question:
    """The question whose answer is worth most for acting in one MDP, and whether to go on asking.

    All pairs of the pool are looked at, then whichever option adds most, one at a time.  Where no single answer is
    worth its cost, it is the question that tells most (`queries.choose`): answers that change no plan one by one do
    together.  So what one answer is worth is no reason to stop; only what everything is worth bounds what all further
    questions can bring.

    Args:
        mdp: the deployment MDP.
        belief: a posterior over weights; `resample` it to a few hundred samples, each of which is planned for.
        pool: options that may be shown, such as rewards that a person judges in training.
        size: how many options to show.
        cost: what one question costs, in units of return.

    Returns:
        A `Question`; `question.query.answer(picked)` is the evidence.

    Raises:
        ValueError: for a belief or a pool about other features, or a cost that is negative.

    Example:
        >>> import jax.numpy as jnp, mdps
        >>> from ird import posterior, queries
        >>> fork = mdps.GridWorld.from_text("a.S.b", {"S": ".", ".": ".", "a": "a", "b": "b"}, horizon=3)
        >>> belief = posterior.exact(candidates=jnp.asarray([[0.0, 1.0, -1.0], [0.0, -1.0, 1.0]]))
        >>> pool = queries.Pool.from_rewards([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], fork.mdp, beta=1.0)
        >>> asked = next_question(fork.mdp, belief, pool, cost=0.1)
        >>> asked.query.rows.tolist(), round(float(asked.answer.value), 3), bool(asked.stop)
        ([1, 2], 0.762, False)
    """
    weights, log_weights = check_belief(mdp, belief)
    check_sums(mdp)
    if not isinstance(pool, Pool):
        raise ValueError(f"pool is {shown(pool)}; give a queries.Pool, such as Pool.from_rewards(rewards, mdp).")
    if tuple(pool.feature_names) != tuple(mdp.feature_names):
        raise ValueError(
            f"the pool is about the features {pool.feature_names}, but this MDP has {tuple(mdp.feature_names)}; build "
            "both from maps with the same features in the same order."
        )
    cure = "it is what one question costs, in units of return, and not negative."
    cost = check_number("cost", cost, lambda x: 0 <= x < np.inf, cure, dtype=weights.dtype)
    telling = choose(pool, belief, size)
    worthy = pool.query(_worthiest(mdp, weights, log_weights, pool, size=size))
    answers = [_value_of_answer(mdp, weights, log_weights, query) for query in (worthy, telling)]
    pays = answers[0].value > jnp.maximum(cost, answers[0].error_bound)
    query, answer = jax.tree.map(lambda a, b: jnp.where(pays, a, b), (worthy, answers[0]), (telling, answers[1]))
    everything = _value(mdp, weights, log_weights)
    return Question(query, answer, everything, everything.value - everything.error_bound <= cost)


@functools.partial(jax.jit, static_argnames="size")
def _worthiest(mdp: MDP, weights, log_weights, pool: Pool, *, size: int) -> Int[Array, " q"]:
    """The set of options whose answer is worth most: the best pair, then what adds most, one at a time."""
    [weights] = counting(log_weights, weights)
    everyone = pool.query(np.arange(pool.features.shape[0]))
    logits = everyone.log_probabilities(weights).T  # of all options at once: those of a set are these, normalised anew

    def worth(rows):
        joint = jnp.exp(jax.nn.log_softmax(logits[rows], axis=0) + log_weights[None])
        return jnp.sum(jax.vmap(lambda w: optimum(mdp, w).value)(joint @ weights))

    M = pool.features.shape[0]
    sets = jnp.asarray(np.array(list(itertools.combinations(range(M), 2))))
    best = sets[jnp.argmax(in_blocks(jax.vmap(worth), sets, ROWS))]
    for _ in range(size - 2):
        grown = jnp.concatenate([jnp.broadcast_to(best, (M, best.size)), jnp.arange(M)[:, None]], axis=1)
        again = jnp.any(best[None] == jnp.arange(M)[:, None], axis=1)
        values = jnp.where(again, -jnp.inf, in_blocks(jax.vmap(worth), grown, ROWS))
        best = grown[jnp.argmax(values)]
    return best


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
