"""A simulated designer, who writes proxies by the very model that the likelihood of a proxy assumes.

What is inferred from such proxies can be checked against what was meant; and where the designer differs
from the model (another β, another planner, other rewards in mind), what a wrong model costs.

And β in units that people understand: the share of what is at stake that someone of that β gives up on average.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key
from numpyro.distributions import Distribution

from ird.blocks import in_blocks, rows_per_block
from ird.evidence import ProxyReward
from ird.evidence.checks import check_alternatives, check_beta, check_candidates
from ird.evidence.plans import plan_features
from ird.priors import check_prior, draw_from
from ird.unconstrained import Prior, check_unknowns, draw_unknowns
from mdps import MDP, feature_expectations, solve
from mdps.checks import check_array, check_key, check_number, check_temperature, is_concrete, shown
from mdps.pytrees import frozen_pytree

__all__ = ["Designer", "Writing", "beta_within", "given_up"]
__dir__ = __all__.copy

_LISTS = ("alternatives", "rewards")  # where evidence holds the rewards that could have been written


class Writing(NamedTuple):
    """What a designer meant, and which proxy they wrote.

    Attributes:
        meant: the true reward w, `[K]`.
        row: the proxy written, an index into the designer's alternatives.
    """

    meant: Float[Array, " K"]
    row: Int[Array, ""]


@frozen_pytree
@dataclass(frozen=True)
class Designer:
    r"""One who looks at a training MDP and writes a proxy reward (Hadfield-Menell et al. 2017, eqs. 1 and 2).

        P(w̃_j | w, M̃) = exp(β w·φ̃_j) / Σ_i exp(β w·φ̃_i)

    with φ̃_j the feature expectations of the plan for the alternative w̃_j in the training MDP M̃.  The
    planner is the optimal one, or a soft one for a designer who expects the robot to err.

    Attributes:
        mdp: the training MDP M̃.
        alternatives: the rewards that may be written, `[M, K]`, in units of reward per unit of feature.
        features: feature expectations of the plan for each of them, `[M, K]`.
        beta: inverse temperature β, in 1/return; a leaf, so replacing it plans nothing.

    Example:
        >>> import jax, jax.numpy as jnp, mdps, numpyro.distributions as dist
        >>> legend = {"S": "dirt", ".": "dirt", "g": "grass", "G": "goal"}
        >>> train = mdps.GridWorld.from_text("S.g\nggG", legend, horizon=6)
        >>> rewards = jnp.array([[0.0, -1.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
        >>> designer = Designer.from_rewards(rewards, train.mdp, beta=2.0)
        >>> keys = jax.random.split(jax.random.key(0), 100)
        >>> rows = jax.vmap(lambda key: designer.write(jnp.array([0.0, -1.0, 1.0]), key=key))(keys)
        >>> bool(jnp.mean(rows == 0) > 0.95)
        True
        >>> prior = dist.Uniform(-1, 1).expand([3]).to_event(1)
        >>> meant, row = designer.simulate(prior, key=jax.random.key(1))
        >>> designer.proxy(row).log_likelihood(meant[None]).shape
        (1,)
    """

    mdp: MDP
    alternatives: Float[Array, " M K"]
    features: Float[Array, " M K"]
    beta: Float[Array, ""]

    @staticmethod
    def from_rewards(
        alternatives: Float[Array, " M K"] | np.ndarray | Sequence[Sequence[float]],
        mdp: MDP,
        *,
        beta: float | Float[Array, ""] = 1.0,
        temperature: float | Float[Array, ""] = 0.0,
    ) -> "Designer":
        """Plan for every reward that may be written.

        Args:
            alternatives: rewards that the designer may write, `[M, K]`; equal rows count each.
            mdp: the MDP the designer looks at.
            beta: inverse temperature of the designer, in 1/return.
            temperature: that of the planner whose plans the designer looks at, in units of reward: a
                Python 0 means optimal plans, above it maximum-entropy ones (see `mdps.solve`).

        Raises:
            ValueError: for no alternatives, a wrong number of features, values that are not finite, a
                stack of MDPs, a β that is not positive and finite, or a negative temperature.
        """
        alternatives = check_alternatives(mdp, alternatives)
        beta = check_beta(beta, alternatives.dtype)
        if check_temperature(temperature, alternatives.dtype):
            return Designer(mdp, alternatives, plan_features(mdp, alternatives), beta)

        def collected(w):
            return feature_expectations(mdp, solve(mdp, mdp.reward(w), temperature=temperature).policy)

        return Designer(mdp, alternatives, jax.vmap(collected)(alternatives), beta)

    def log_probabilities(self, weights: Float[Array, " N K"]) -> Float[Array, " N M"]:
        """Log P(w̃_j | w, M̃) of each alternative under each true reward w, `[N, K] -> [N, M]`."""
        weights = check_candidates(weights, self.mdp.feature_names, self.features.dtype)
        centred = self.features - jnp.mean(self.features, axis=0, keepdims=True)  # large terms never meet
        logits = self.beta * jnp.matmul(weights, centred.T, precision=jax.lax.Precision.HIGHEST)
        return jax.nn.log_softmax(logits, axis=1)

    def write(self, weights: Float[Array, " K"], *, key: Key[Array, ""]) -> Int[Array, ""]:
        """Which of the alternatives a designer writes who means `weights`: a draw from the softmax.

        Args:
            weights: the true reward w, `[K]`.
            key: a `jax.random.key`.

        Returns:
            A row of `alternatives`.

        Raises:
            ValueError: for a wrong number of weights, or something that is no key.
        """
        check_key(key)
        weights = check_array("weights", weights)
        if weights.shape != self.alternatives.shape[-1:]:
            raise ValueError(
                f"weights has shape {weights.shape}; give one true reward, one weight per feature "
                f"{self.mdp.feature_names}: use jax.vmap for many."
            )
        return jax.random.categorical(key, self.log_probabilities(weights[None])[0])

    def simulate(self, prior: Prior, *, key: Key[Array, ""]) -> Writing:
        """A designer who means a reward drawn from a prior: w ~ P(w), then w̃ ~ P(w̃ | w, M̃).

        Args:
            prior: a numpyro distribution over `[K]` (independent weights may also be its batch), or a
                numpyro model that returns weights `[K]`: see `ird.posterior.nuts`.
            key: a `jax.random.key`.

        Returns:
            `Writing(meant [K], row [])`.

        Raises:
            ValueError: for a prior over other weights, or something that is no key.
        """
        check_key(key)
        if isinstance(prior, Distribution):
            prior = check_prior(prior, self.mdp.num_features)
            for_truth, for_proxy = jax.random.split(key)
            (meant,) = draw_from(prior, 1, for_truth)
        else:
            ready, _ = check_unknowns([self.proxy(0)], prior, None)
            for_truth, for_proxy = jax.random.split(key)
            (meant,), _ = draw_unknowns(ready, None, 1, key=for_truth)
        return Writing(meant, self.write(meant, key=for_proxy))

    def proxy(self, row: int | Int[Array, ""]) -> ProxyReward:
        """The evidence that a written proxy is, to one who knows this designer; nothing is planned again.

        To one who takes them for another designer it is `other.proxy(row)`, with the same alternatives.

        Args:
            row: which of the alternatives was written; may be traced.

        Raises:
            ValueError: for a row that is not among the alternatives.
        """
        return ProxyReward.from_plans(
            row, self.mdp, beta=self.beta, alternatives=self.alternatives, features=self.features
        )

    def replace(self, *, beta: float | Float[Array, ""]) -> "Designer":
        """The same designer with another β; nothing is planned again."""
        return replace(self, beta=check_beta(beta, self.features.dtype))


def given_up(evidence: Any, weights: Float[Array, " N K"] | np.ndarray | None = None) -> Float[Array, ""]:
    r"""What someone of this β gives up on average, as a share of what is at stake: from 0, nothing, to 1, all.

        Σ_w (max_j w·φ_j - Σ_j P(j | w) w·φ_j) / Σ_w (max_j w·φ_j - Σ_j q_j w·φ_j),    P(j | w) ∝ q_j exp(β w·φ_j)

    At stake is what the best option brings above one that is picked blindly (as often as it is listed, q), for the
    rewards that may be meant.  So .05 says: on average within 5% of their best.

    Args:
        evidence: who chooses among what: a `ProxyReward`, a `Designer`, a `Choice`, a `queries.Pool` or `Query`.
        weights: rewards that may be meant, `[N, K]`, such as draws from the prior; None: those that could have been
            written, for evidence that knows them.

    Returns:
        The share, `[]`.

    Raises:
        ValueError: for something else, weights of another shape, or where no reward tells any options apart.

    Example:
        >>> options = jnp.asarray([[1.0, 0.0], [0.0, 1.0]])
        >>> from ird.evidence import Choice
        >>> round(float(given_up(Choice(options, 0, beta=2.0), jnp.asarray([[1.0, 0.0]]))), 3)  # 2/(1 + e²)
        0.238
    """
    return _given_up(*_choosing(evidence, weights), evidence.beta)


def beta_within(
    share: float | Float[Array, ""], evidence: Any, weights: Float[Array, " N K"] | np.ndarray | None = None
) -> Float[Array, ""]:
    r"""The β of someone who gives up this share of what is at stake, on average: the inverse of `given_up`.

    "The designer comes within 5% of the best that could have been written" is `beta_within(0.05, proxy)`, whatever
    the scale of the weights, the horizon and the map.  The β that the evidence has is not looked at.

    Args:
        share: the share, between 0 and 1: 0.05 is within 5% of their best.
        evidence: as in `given_up`.
        weights: as in `given_up`.

    Returns:
        β, in 1/return: `proxy.replace(beta=beta_within(0.05, proxy))`.

    Raises:
        ValueError: as `given_up`; also for a share that is not between 0 and 1.

    Example:
        >>> import mdps
        >>> legend = {"S": "dirt", ".": "dirt", "g": "grass", "G": "goal"}
        >>> train = mdps.GridWorld.from_text("S.g\nggG", legend, horizon=6)
        >>> rewards = jnp.array([[0.0, -1.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
        >>> proxy = ProxyReward(rewards[0], train.mdp, alternatives=rewards)
        >>> beta = beta_within(0.05, proxy)
        >>> round(float(given_up(proxy.replace(beta=beta))), 4)
        0.05
    """
    cure = "it is a share of what is at stake, between 0 and 1: 0.05 is within 5% of their best."
    features, counts, weights = _choosing(evidence, weights)
    share = check_number("share", share, lambda x: 0 < x < 1, cure, dtype=features.dtype)
    return _beta_within(share, features, counts, weights)


def _choosing(evidence: Any, weights) -> tuple[Array, Array, Array]:
    """Features of the options `[M, K]`, how often each is listed `[M]`, and the rewards that may be meant `[N, K]`."""
    features = getattr(evidence, "alternative_features", getattr(evidence, "features", None))
    if isinstance(evidence, type) or features is None or not hasattr(evidence, "beta"):
        raise ValueError(
            f"evidence is {shown(evidence)}, which has no list of options to choose from and no β; give a ProxyReward, "
            "a Designer, a Choice or a queries.Pool."
        )
    counts = getattr(evidence, "counts", jnp.ones_like(features[:, 0]))
    listed = next((x for x in (weights, *(getattr(evidence, n, None) for n in _LISTS)) if x is not None), None)
    if listed is None:
        raise ValueError(
            f"weights is None, but {shown(evidence)} does not know which rewards may be meant; give some, [N, K], such "
            "as prior.sample(key, (1000,))."
        )
    weights = check_array("weights", listed, dtype=features.dtype)
    if weights.ndim != 2 or weights.shape[1] != features.shape[1]:
        raise ValueError(f"weights has shape {weights.shape}; give rewards [N, K], K={features.shape[1]} features.")
    if is_concrete(features) and is_concrete(weights):
        held = np.asarray(features, float)  # in NumPy: inside jit even what is known is traced by jnp
        returns = np.asarray(weights, float) @ (held - held[:1]).T
        if not np.ptp(returns, axis=1).max(initial=0) > 0:
            raise ValueError("nothing is at stake: no reward tells any two options apart; give others as weights.")
    return features, counts, weights


@jax.jit
def _given_up(features: Array, counts: Array, weights: Array, beta: Array) -> Array:
    """The share, from options counted."""
    log_share = jnp.log(counts / jnp.sum(counts))[:, None]

    centred = features - features[:1]

    def lost(rows):
        returns = jnp.matmul(centred, rows.T, precision=jax.lax.Precision.HIGHEST)  # [M, n]
        short = jnp.max(returns, axis=0, keepdims=True) - returns
        picked, blindly = (jax.nn.softmax(log_share - b * short, axis=0) for b in (beta, 0.0))
        return jnp.stack([jnp.sum(picked * short, axis=0), jnp.sum(blindly * short, axis=0)], axis=1)

    paid, stake = jnp.sum(in_blocks(lost, weights, rows_per_block(features.shape[0])), axis=0)
    return paid / stake


@jax.jit
def _beta_within(share, features, counts, weights) -> Array:
    """By halving log β, since the share falls as β grows, from where returns differ by 1e-6 nats to 1e6 of them."""
    spread = jnp.max(jnp.ptp(weights @ (features - features[:1]).T, axis=1))

    def halve(_, ends):
        middle = jnp.mean(ends)
        over = _given_up(features, counts, weights, jnp.exp(middle)) > share
        return jnp.where(over, ends.at[0].set(middle), ends.at[1].set(middle))

    ends = jnp.log(jnp.asarray([1e-6, 1e6], features.dtype)) - jnp.log(spread)
    return jnp.exp(jnp.mean(jax.lax.fori_loop(0, 50, halve, ends)))
