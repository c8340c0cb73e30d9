"""Where to ask next: the environment whose answer tells most, or in which the belief's plans differ most."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ird.beliefs import Belief, check_belief, counting
from ird.blocks import MAPS, in_blocks
from ird.evidence.checks import check_beta
from ird.evidence.plans import plan_features
from ird.queries._choose import Pool, check_asked, choose
from ird.queries.objectives import InformationGain
from ird.queries.searches import Greedy, Search
from mdps import MDP, stack
from mdps.checks import check_array, check_count, check_mdp, check_part, shown
from mdps.pytrees import frozen_pytree, set_fields

__all__ = ["Disagreement", "EnvironmentChoice", "EnvironmentObjective", "ProxyInformation", "choose_environment"]
__dir__ = __all__.copy


class EnvironmentObjective(Protocol):
    """What an environment is chosen by; larger is better."""

    def score(self, mdp: MDP, belief: Belief) -> Float[Array, ""]:
        """How much asking in this environment is worth."""
        ...


class EnvironmentChoice(NamedTuple):
    """The environment to ask in.

    Attributes:
        best: which of the candidates.
        scores: the objective of each candidate, `[E]`.
    """

    best: Int[Array, ""]
    scores: Float[Array, " E"]


@frozen_pytree
@dataclass(frozen=True, init=False, eq=False)
class ProxyInformation:
    """Expected information gain of a designer's proxy in that environment, in nats (He & Dragan 2021).

        I(w; w̃ | M) with P(w̃ | w, M) ∝ exp(β w·φ(w̃; M)) over the rewards that can be written

    With a `size` the designer will not write a proxy but answer the best query of that many rewards.

    Attributes:
        rewards: the rewards that the designer may write, or be shown, `[M, K]`.
        beta: inverse temperature β of the designer, in 1/return.
        size: how many rewards a query will show (static); None: a proxy is written, any of all.
        search: how that query will be looked for (static).
    """

    rewards: Float[Array, " M K"]
    beta: Float[Array, ""]
    size: int | None = field(metadata={"static": True})
    search: Search = field(metadata={"static": True})

    def __init__(
        self,
        rewards: Float[Array, " M K"] | np.ndarray | Sequence[Sequence[float]],
        beta: float | Float[Array, ""] = 1.0,
        size: int | None = None,
        search: Search = Greedy(),  # noqa: B008 — frozen, no state
    ):
        """Check the parts.

        Args:
            rewards: the rewards that the designer may write, or be shown, `[M, K]`.
            beta: inverse temperature of the designer, in 1/return.
            size: how many rewards a query will show; None: a proxy is written, any of all.
            search: how that query will be looked for.

        Raises:
            ValueError: for rewards that are fewer than two or not finite, a β that is not positive and finite, a
                size below two, or what is no search.
        """
        rewards = check_array("rewards", rewards)
        if rewards.ndim != 2 or rewards.shape[0] < 2:
            raise ValueError(f"rewards has shape {rewards.shape}; give [M, K], at least two that may be written.")
        set_fields(self, rewards=rewards)
        set_fields(self, beta=check_beta(beta, rewards.dtype))
        set_fields(self, size=None if size is None else check_count("size", size, least=2))
        set_fields(self, search=check_part("search", search, object, "check", "Greedy()"))

    def score(self, mdp: MDP, belief: Belief) -> Float[Array, ""]:
        """I(w; answer), in nats."""
        check_mdp(mdp)
        weights, _ = check_asked(tuple(mdp.feature_names), belief)
        pool = Pool.from_rewards(self.rewards, mdp, beta=self.beta)
        if self.size is not None:
            return choose(pool, belief, self.size, search=self.search).value
        everything = pool.query(np.arange(pool.features.shape[0]))
        return InformationGain().value(everything.log_probabilities(weights).T, jnp.asarray(belief.log_weights))


@frozen_pytree
@dataclass(frozen=True)
class Disagreement:
    """How much the plans for the belief's samples disagree there, in units of return.

        E_{w, w'}[V*(w) - J(π*_{w'}; w)] = E_w[w·φ(w)] - E_w[w]·E_w[φ(w)]

    What acting for one sample costs when another is true, averaged over both.  It asks where a
    mistake would show and hurt, and needs no model of who answers.  One planning problem per sample
    and environment: use a few hundred (`belief.resample`).
    """

    def score(self, mdp: MDP, belief: Belief) -> Float[Array, ""]:
        """The expected loss of acting for the wrong sample."""
        weights, log_weights = check_belief(mdp, belief)
        [weights] = counting(log_weights, weights)
        p, features = jnp.exp(log_weights), plan_features(mdp, weights)
        centred = weights - (p @ weights)[None]
        return jnp.sum(p * jnp.sum(centred * features, axis=1))


def choose_environment(
    environments: MDP | Sequence[MDP], belief: Belief, *, objective: EnvironmentObjective
) -> EnvironmentChoice:
    """Choose the training environment to ask in next: assisted reward design (He & Dragan 2021).

    Args:
        environments: the candidates, a sequence of MDPs or a stack of them (`mdps.stack`).
        belief: a posterior over weights.
        objective: `ProxyInformation`, `Disagreement`, or anything with `score(mdp, belief)`.

    Returns:
        `EnvironmentChoice(best [], scores [E])`.

    Raises:
        ValueError: for no environment, environments that differ in features, a single MDP, or a
            belief about other features.

    Example:
        >>> import mdps
        >>> from ird import posterior
        >>> legend = {"S": "path", ".": "path", "w": "pond", "G": "goal"}
        >>> dry, wet = (mdps.GridWorld.from_text(t, legend, horizon=6).mdp for t in ("S..G", "SwwG"))
        >>> belief = posterior.exact(candidates=jnp.asarray([[0.0, -1.0, 1.0], [0.0, 1.0, 0.3]]))
        >>> found = choose_environment([dry, wet], belief, objective=Disagreement())
        >>> int(found.best), [round(x, 2) for x in found.scores.tolist()]
        (1, [0.0, 2.03])
    """
    check_part("objective", objective, object, "score", "Disagreement()")
    if isinstance(environments, MDP):
        if np.ndim(environments.probability) != 4:
            raise ValueError("environments is a single MDP; give a sequence of candidates, or a stack of them.")
        stacked = environments
    else:
        if isinstance(environments, str) or not isinstance(environments, Sequence) or not environments:
            raise ValueError(
                f"environments is {shown(environments)}; give a sequence of at least one MDP, or a stack of them."
            )
        stacked = stack([check_mdp(mdp, f"environments[{i}]") for i, mdp in enumerate(environments)])
    check_asked(tuple(stacked.feature_names), belief)
    scores = _score_each(stacked, belief, objective)
    return EnvironmentChoice(jnp.argmax(scores).astype(jnp.int32), scores)


@jax.jit
def _score_each(stacked: MDP, belief: Belief, objective: EnvironmentObjective) -> Array:
    return in_blocks(jax.vmap(lambda mdp: objective.score(mdp, belief)), stacked, MAPS)
