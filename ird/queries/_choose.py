"""Rewards that may be shown to a designer, the set of them that is worth showing, and what the answer says."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from ird.beliefs import Belief, check_samples, counting
from ird.evidence.checks import check_beta, check_candidates
from ird.evidence.choice import Choice
from ird.evidence.plans import plan_features
from ird.queries.objectives import InformationGain, Objective
from ird.queries.scores import Scores
from ird.queries.searches import Greedy, Search
from mdps import MDP
from mdps.checks import (
    check_array,
    check_index,
    check_indices,
    check_key,
    check_mdp,
    check_names,
    check_number,
    check_part,
    check_real,
    shown,
)
from mdps.pytrees import frozen_pytree


@frozen_pytree
@dataclass(frozen=True)
class Query:
    """Some rewards, or other options, from which a person is asked to pick what they would rather have.

        P(c | w) = exp(β w·φ_c) / Σ_{c' in the query} exp(β w·φ_{c'})

    The set that is shown is the set of alternatives (Mindermann et al. 2018).

    Attributes:
        rows: which of the pool's rewards are shown, `[q]`.
        features: feature expectations of their plans, `[q, K]`.
        rewards: the rewards themselves, `[q, K]`; None where the pool has features alone.
        beta: inverse temperature β of the person, in 1/return.
        value: what the objective says of this query, such as its information gain in nats.
        feature_names: one name per feature (static).
    """

    rows: Int[Array, " q"]
    features: Float[Array, " q K"]
    rewards: Float[Array, " q K"] | None
    beta: Float[Array, ""]
    value: Float[Array, ""]
    feature_names: tuple[str, ...] = field(metadata={"static": True})

    def log_probabilities(self, weights: Float[Array, " N K"]) -> Float[Array, " N q"]:
        """Log P(c | w) of each answer under each reward w, `[N, K] -> [N, q]`."""
        weights = check_candidates(weights, self.feature_names, self.features.dtype)
        return jax.nn.log_softmax(_logits(self.features, self.beta, weights), axis=0).T

    def simulate(self, weights: Float[Array, " K"], *, key: Key[Array, ""]) -> Int[Array, ""]:
        """Which option a person picks who means `weights`: a draw of c ~ P(c | w), for `answer`.

        Args:
            weights: the true reward w, `[K]`.
            key: a `jax.random.key`.

        Raises:
            ValueError: for a wrong number of weights, or something that is no key.

        Example:
            >>> import jax
            >>> query = Pool.from_features([[1.0, 0.0], [0.0, 1.0]], beta=20.0).query([0, 1])
            >>> int(query.simulate(jnp.array([0.0, 1.0]), key=jax.random.key(0)))
            1
        """
        check_key(key)
        weights = check_array("weights", weights)
        if weights.shape != self.features.shape[-1:]:
            raise ValueError(
                f"weights has shape {weights.shape}; give one true reward, one weight per feature "
                f"{self.feature_names}: use jax.vmap for many."
            )
        return jax.random.categorical(key, self.log_probabilities(weights[None])[0])

    def answer(self, picked: int | Int[Array, ""]) -> Choice:
        """What picking that option says: evidence for a posterior.

        The same as a `ProxyReward` with the rewards shown as its alternatives, without planning again.

        Args:
            picked: which of the rewards shown was picked, 0..q-1.

        Raises:
            ValueError: for an option that was not shown.
        """
        check_index("picked", picked, self.features.shape[0], "rewards shown")
        return Choice(self.features, picked, beta=self.beta, feature_names=self.feature_names)


@frozen_pytree
@dataclass(frozen=True)
class Pool:
    r"""M rewards that a query may be made of, with what their plans do in the training MDP.

    All are planned once, by `from_rewards`; choosing queries and taking their answers plan nothing.

    Attributes:
        features: feature expectations of the plan for each reward, `[M, K]`.
        rewards: the rewards, `[M, K]`, in units of reward per unit of feature; None if never given.
        beta: inverse temperature β of the designer, in 1/return.
        feature_names: one name per feature (static).

    Example:
        >>> import mdps
        >>> legend = {"S": "dirt", ".": "dirt", "g": "grass", "G": "goal"}
        >>> train = mdps.GridWorld.from_text("S.g\nggG", legend, horizon=6)
        >>> pool = Pool.from_rewards([[0.0, -1.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], train.mdp, beta=2.0)
        >>> pool.features.shape
        (3, 3)
    """

    features: Float[Array, " M K"]
    rewards: Float[Array, " M K"] | None
    beta: Float[Array, ""]
    feature_names: tuple[str, ...] = field(metadata={"static": True})

    @staticmethod
    def from_rewards(
        rewards: Float[Array, " M K"] | np.ndarray | Sequence[Sequence[float]],
        mdp: MDP,
        *,
        beta: float | Float[Array, ""] = 1.0,
    ) -> "Pool":
        """Plan each reward in the training MDP.

        Args:
            rewards: rewards that a designer may be shown, `[M, K]`.
            mdp: the MDP in which the designer judges what they do.
            beta: inverse temperature of the designer, in 1/return.

        Raises:
            ValueError: for fewer than two rewards, a wrong number of features, values that are not
                finite, a stack of MDPs, or a β that is not positive and finite.
        """
        check_mdp(mdp)
        check_beta(beta, mdp.features.dtype)
        rewards = check_real("rewards", rewards)
        if rewards.ndim != 2 or rewards.shape[0] < 2 or rewards.shape[1] != mdp.num_features:
            raise ValueError(
                f"rewards has shape {rewards.shape}; it must be [M, K] with K={mdp.num_features} features "
                f"{mdp.feature_names} and M ≥ 2: of one nothing can be asked."
            )
        rewards = check_array("rewards", rewards)
        pool = Pool.from_features(plan_features(mdp, rewards), beta=beta, feature_names=mdp.feature_names)
        return replace(pool, rewards=rewards)

    @staticmethod
    def from_features(
        features: Float[Array, " M K"] | np.ndarray | Sequence[Sequence[float]],
        *,
        beta: float | Float[Array, ""] = 1.0,
        feature_names: Sequence[str] = (),
    ) -> "Pool":
        """Options that are not rewards, such as trajectories (`ird.evidence.path_features`) or arms of a bandit.

        Args:
            features: expected discounted sum of features of each option, `[M, K]`.
            beta: inverse temperature of the person, in 1/return.
            feature_names: one name per feature; "feature 0", ... when left out.

        Raises:
            ValueError: for fewer than two options, features that are not finite, or a β that is not
                positive and finite.
        """
        features = check_array("features", features)
        if features.ndim != 2 or features.shape[0] < 2 or features.shape[1] < 1:
            raise ValueError(
                f"the pool's features have shape {features.shape}; give [M, K] with M ≥ 2: of one option nothing can "
                "be asked."
            )
        names = check_names(feature_names, features.shape[1])
        return Pool(features, None, check_beta(beta, features.dtype), names)

    def query(self, rows: Sequence[int] | np.ndarray | Int[Array, " q"], value=jnp.nan) -> Query:
        """Ask about these rewards of the pool.

        Args:
            rows: which rewards, `[q]`.
            value: what some objective says of the query.

        Raises:
            ValueError: for fewer than two rewards, or one that is not in the pool.
        """
        M = self.features.shape[0]
        rows = check_indices("rows", rows, M, "the pool's rewards")
        _check_size(rows.shape[0] if rows.ndim == 1 else 0, M)
        value = check_number("value", value, lambda x: True, "give one number.", dtype=self.features.dtype)
        rows = jnp.asarray(rows)
        rewards = None if self.rewards is None else self.rewards[rows]
        return Query(rows, self.features[rows], rewards, self.beta, value, self.feature_names)


def choose(
    pool: Pool,
    belief: Belief,
    size: int,
    *,
    objective: Objective = InformationGain(),  # noqa: B008 — frozen, no state
    search: Search = Greedy(),  # noqa: B008 — frozen, no state
    key: Key[Array, ""] | None = None,
) -> Query:
    """Choose the set of rewards to ask about next: active inverse reward design (Mindermann et al. 2018).

    Under `jit` and `vmap`, over maps too; `size`, `objective` and `search` are static.

    Args:
        pool: rewards that may be shown.
        belief: a posterior over weights; its samples stand for it, so a hundred per expected answer or more.
        size: how many rewards to show, q.
        objective: what makes a query good.
        search: how to look for the best set.
        key: a `jax.random.key`, for searches that draw.

    Returns:
        A `Query`; `query.answer(picked)` is the evidence.

    Raises:
        ValueError: for a belief about other features, samples that are not finite, fewer than two
            rewards or more than the pool has, or what the search refuses.

    Example:
        >>> import jax
        >>> from ird import posterior
        >>> belief = posterior.exact(candidates=jnp.asarray([[1.0, 0.0], [0.0, 1.0], [0.0, 0.9]]))
        >>> options = Pool.from_features([[1.0, 1.0], [2.0, 0.0], [0.0, 2.0]], beta=2.0)
        >>> query = choose(options, belief, 2)
        >>> query.rows.tolist(), round(float(query.value), 3)
        ([1, 2], 0.542)
        >>> belief = posterior.exact(query.answer(0), candidates=belief.weights)
        >>> round(float(jnp.exp(belief.log_weights[0])), 2)
        0.96
    """
    if not isinstance(pool, Pool):
        raise ValueError(f"pool is {shown(pool)}; give a queries.Pool, such as Pool.from_rewards(rewards, mdp).")
    M = pool.features.shape[0]
    _check_size(size, M)
    check_part("objective", objective, Objective, "value", "InformationGain()")
    check_part("search", search, object, "check", "Greedy()")
    if key is not None:
        check_key(key)
    search.check(M, size, key)
    weights, log_weights = check_asked(pool.feature_names, belief)
    rows, value = _choose(pool, weights, log_weights, key, size=size, objective=objective, search=search)
    return pool.query(rows, value)


@functools.partial(jax.jit, static_argnames=("size", "objective", "search"))
def _choose(pool: Pool, weights, log_weights, key, *, size: int, objective: Objective, search: Search):
    scores = Scores(_logits(pool.features, pool.beta, weights), log_weights, objective)
    rows = search.find(scores, size, key)
    return rows, objective.value(jax.nn.log_softmax(scores.logits[rows], axis=0), log_weights)


def _logits(features, beta, weights) -> Array:
    """β w·φ of each option and sample, `[options, N]`, less what all options share: large terms never meet."""
    centred = features - jnp.mean(features, axis=0, keepdims=True)
    return beta * jnp.matmul(centred, weights.T, precision=jax.lax.Precision.HIGHEST)


def check_asked(names: tuple[str, ...], belief: Belief) -> tuple[Array, Array]:
    """The belief's samples and log probabilities, once they are known to be about these features.

    A sample without probability gets weights of 0: whatever they are, they count nothing.
    """
    weights, log_weights = check_samples(belief)
    theirs = tuple(belief.feature_names)
    if theirs and theirs != names:
        raise ValueError(
            f"the belief is about the features {theirs}, the query about {names}; build both from maps with the same "
            "features in the same order."
        )
    [weights] = counting(log_weights, weights)
    return check_candidates(weights, names, weights.dtype), log_weights


def _check_size(size, num_rewards: int) -> None:
    if not isinstance(size, int | np.integer) or isinstance(size, bool) or size < 2:
        raise ValueError(f"the query would show {shown(size)} rewards; show at least 2: with fewer nothing is chosen.")
    if size > num_rewards:
        raise ValueError(f"the query would show {size} rewards, but the pool has {num_rewards}; ask about fewer.")
