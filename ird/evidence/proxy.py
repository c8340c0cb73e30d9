"""A proxy reward as evidence: how likely a designer was to write it, had another reward been what they meant."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key
from numpyro.distributions import Distribution

from ird.evidence.checks import Beta, check_alternatives, check_beta_or_prior, check_candidates
from ird.evidence.fisher import Shown
from ird.evidence.normalizers import (
    MaxOverProxies,
    SoftValue,
    SumOverProxies,
    SumWithCandidate,
    log_sum,
    log_sum_with_doubt,
)
from ird.evidence.plans import merge_equal, plan_features
from ird.evidence.rollouts import NoTable, SumOverRollouts, check_errors, check_place, covariance_of, sum_over
from ird.evidence.sharpness import is_known, warn_if_blunt, warn_if_noisy
from ird.priors import check_prior, draw_from
from mdps import MDP, feature_expectations, solve
from mdps.checks import (
    check_array,
    check_count,
    check_index,
    check_key,
    check_mdp,
    check_real,
    check_truth,
    check_weights,
    is_concrete,
)
from mdps.policies import uniform_policy
from mdps.pytrees import frozen_pytree, set_fields, with_fields

__all__ = ["ProxyReward"]
__dir__ = __all__.copy


@frozen_pytree
@dataclass(frozen=True, init=False, repr=False, eq=False)
class ProxyReward:
    r"""A proxy reward that a designer wrote while looking at one training MDP (Hadfield-Menell et al. 2017).

    The designer is taken to be the likelier to write `w̃` the better its plan does under the true `w`:

        P(w̃ | w, M̃) = exp(β w·φ̃(w̃)) / Z̃(w),    Z̃(w) = Σ_j exp(β w·φ̃(w_j))        (eqs. 1 and 3)

    with φ̃(w̃) the feature expectations of the plan for `w̃` in the training MDP and j over every proxy
    the designer could have written.  All of these are planned once, here; they depend neither on `w`
    nor on β.  Proxies that share a plan are merged and counted (when their values are known: under
    tracing they stay apart, which changes no probability).

    Attributes:
        weights: the proxy w̃, `[K]`, in units of reward per unit of feature.
        mdp: the training MDP, or what is known of a place without a table (`from_features`).
        beta: inverse temperature β of the designer, in 1/return; a leaf, so replacing it plans nothing.
        alternatives: the proxies that could have been written, `[M, K]`.
        feature_expectations: φ̃(w̃), `[K]`.
        normalizer: log Z̃; `SumOverProxies` (`SumOverRollouts` of estimates), `SumWithCandidate`, `MaxOverProxies` or
            `SoftValue`.

    Example:
        >>> import jax.numpy as jnp, mdps
        >>> legend = {"S": "dirt", ".": "dirt", "g": "grass", "G": "goal"}
        >>> train = mdps.GridWorld.from_text("S.g\nggG", legend, horizon=6)
        >>> rewards = jnp.array([[0.0, -1.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
        >>> proxy = ProxyReward(rewards[0], train.mdp, beta=2.0, alternatives=rewards)
        >>> bool(jnp.argmax(proxy.log_likelihood(rewards)) == 0)
        True
    """

    weights: Float[Array, " K"]
    mdp: MDP | NoTable
    beta: Float[Array, ""]
    alternatives: Float[Array, " M K"]
    feature_expectations: Float[Array, " K"]
    normalizer: SumOverProxies | SumWithCandidate | MaxOverProxies | SoftValue

    def __init__(
        self,
        weights: Float[Array, " K"] | np.ndarray | Sequence[float],
        mdp: MDP,
        *,
        beta: Beta = 1.0,
        alternatives: Float[Array, " M K"] | np.ndarray | Sequence[Sequence[float]],
    ):
        """Check the proxy, plan every alternative once, and merge the plans that are equal.

        Args:
            weights: the proxy w̃, `[K]`.
            mdp: the MDP the designer was looking at.
            beta: inverse temperature of the designer, in 1/return, or a distribution of it where it is unknown.
            alternatives: the rewards the designer could have written, `[M, K]`, the proxy among them.

        Raises:
            ValueError: for a wrong number of features, values that are not finite, no alternatives, a
                proxy that is not among them, or a β that is not positive and finite.
        """
        weights, alternatives = _check_proxies(weights, mdp, alternatives)
        beta = check_beta_or_prior(beta, weights.dtype)
        row = _row_of(weights, alternatives)
        if row is None:  # traced: whether it is among them cannot be seen, so plan it too
            features = plan_features(mdp, jnp.concatenate([alternatives, weights[None]]))
            features, own = features[:-1], features[-1]
        else:
            features = plan_features(mdp, alternatives)
            own = jax.lax.dynamic_index_in_dim(features, row, keepdims=False)
        self._set(weights, mdp, beta, alternatives, own, SumOverProxies(*merge_equal(features)))

    @classmethod
    def sampled(
        cls,
        weights: Float[Array, " K"] | np.ndarray | Sequence[float],
        mdp: MDP,
        *,
        beta: Beta = 1.0,
        prior: Distribution,
        num_proxies: int,
        key: Key[Array, ""],
        include_candidate: bool = False,
    ) -> Self:
        """A proxy whose normalizer is sampled: alternatives drawn from a proxy prior, and the proxy itself.

        "Sample-Z" of references A, for a space of proxies too large to list.

        Args:
            weights: the proxy w̃, `[K]`.
            mdp: the MDP the designer was looking at.
            beta: inverse temperature of the designer, in 1/return, or a distribution of it where it is unknown.
            prior: what proxies a designer might write, a numpyro distribution over `[K]`.
            num_proxies: how many to draw; each is one planning problem.
            key: a `jax.random.key`.
            include_candidate: add the candidate's own term to Z̃(w); every likelihood then plans for
                its candidates in the training MDP.

        Raises:
            ValueError: as the class; also for fewer than one draw.
        """
        check_mdp(mdp)
        num_proxies = check_count("num_proxies", num_proxies)
        include_candidate = check_truth("include_candidate", include_candidate)
        prior = check_prior(prior, mdp.num_features)
        check_key(key)
        check_beta_or_prior(beta, mdp.features.dtype)
        own = check_real("weights", weights)
        if own.shape != (mdp.num_features,):
            raise ValueError(_wrong_features("weights", own.shape, mdp))
        own = check_array("weights", own)
        drawn = draw_from(prior, num_proxies, key)
        made = cls(own, mdp, beta=beta, alternatives=jnp.concatenate([own[None].astype(drawn.dtype), drawn]))
        if not include_candidate:
            return made
        return with_fields(made, normalizer=SumWithCandidate(made._proxies, mdp))

    @classmethod
    def from_plans(
        cls,
        row: int | Int[Array, ""],
        mdp: MDP,
        *,
        beta: Beta = 1.0,
        alternatives: Float[Array, " M K"] | np.ndarray | Sequence[Sequence[float]],
        features: Float[Array, " M K"] | np.ndarray,
    ) -> Self:
        """A proxy among alternatives that have been planned for already, by whatever planner.

        For many proxies of one training map, and for designers who think of another planner than the
        optimal one; `row` may be traced.

        Args:
            row: which of the alternatives the proxy is, 0..M-1.
            mdp: the MDP the designer was looking at.
            beta: inverse temperature of the designer, in 1/return, or a distribution of it where it is unknown.
            alternatives: the rewards the designer could have written, `[M, K]`.
            features: feature expectations of the plan for each of them, `[M, K]`.

        Raises:
            ValueError: as the class; also for a row that is not among the alternatives, or features of
                another shape.
        """
        alternatives = check_alternatives(mdp, alternatives)
        beta, features = check_beta_or_prior(beta, alternatives.dtype), check_real("features", features)
        if features.shape != alternatives.shape:
            raise ValueError(_unlike("features", features.shape, alternatives.shape))
        features = check_array("features", features, dtype=alternatives.dtype)
        check_index("row", row, alternatives.shape[0], "alternatives")
        counted = SumOverProxies(*merge_equal(features))
        new = object.__new__(cls)
        new._set(alternatives[row], mdp, beta, alternatives, features[row], counted)
        return new

    @classmethod
    def from_features(
        cls,
        row: int | np.integer | Int[Array, ""],
        *,
        beta: Beta = 1.0,
        alternatives: Float[Array, " M K"] | np.ndarray | Sequence[Sequence[float]],
        features: Float[Array, " M K"] | np.ndarray | Sequence[Sequence[float]],
        visits: float | np.floating | Float[Array, ""],
        standard_error: Float[Array, " M K"] | np.ndarray | Sequence[Sequence[float]] | None = None,
        covariance: Float[Array, " M K K"] | np.ndarray | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> Self:
        """A proxy where there is no table: of each alternative only what its plan collects is known.

        For simulators that roll out, answers that a model may give, and whatever else is not a tabular MDP.

        Estimates of features have errors, and the likelihood is that of the estimates: it is not widened, because the
        errors are the same for every candidate and would not average out by themselves.  Instead
        `log_likelihood_error` says by how many nats each log-likelihood may be off (0 for a reward of nothing), and
        `log_likelihood` warns where that matters; it falls with the square root of the number of rollouts.  One thing
        is mended: errors make features differ that no alternative varied, so what they can have added is taken off
        `information`, on which `planning.unknown` and careful plans stand.

        Args:
            row: which of the alternatives the proxy is, 0..M-1; may be traced.
            beta: inverse temperature of the designer, in 1/return, or a distribution of it where it is unknown.
            alternatives: the rewards the designer could have written, `[M, K]`.
            features: expected (discounted) sum of features of the plan for each of them, `[M, K]`.
            visits: over how many (discounted) visits these are summed, the same for all: T steps, (1 - γ^T)/(1 - γ),
                or 1 for one answer.  Where runs end early, count the steps after the end too, by a feature of their
                own.
            standard_error: of each of the features, where they are means over rollouts, `[M, K]`.
            covariance: the same with how the errors of one row go together, `[M, K, K]`.
            feature_names: one name per feature; None for "feature 0", "feature 1", ...

        Raises:
            ValueError: for another shape of features or errors, values that are not finite, negative errors, visits
                or β that are not positive, a row that is not among the alternatives, or names that are not distinct.

        Example:
            >>> import jax.numpy as jnp
            >>> rewards = jnp.array([[1.0, 0.0], [0.0, 1.0]])
            >>> collected = jnp.array([[8.0, 2.0], [1.0, 9.0]])  # by the policy trained for each, in ten steps
            >>> proxy = ProxyReward.from_features(0, alternatives=rewards, features=collected, visits=10)
            >>> bool(jnp.argmax(proxy.log_likelihood(rewards)) == 0)
            True
        """
        alternatives, place = check_place(alternatives, visits, feature_names)
        features = check_real("features", features)
        if features.shape != alternatives.shape:
            raise ValueError(_unlike("features", features.shape, alternatives.shape))
        features = check_array("features", features, like=alternatives.dtype)
        alternatives = alternatives.astype(features.dtype)
        beta = check_beta_or_prior(beta, features.dtype)
        errors = check_errors(standard_error, covariance, features)
        check_index("row", row, alternatives.shape[0], "alternatives")
        counted = sum_over(features, errors)
        new = object.__new__(cls)
        new._set(alternatives[row], place, beta, alternatives, features[row], counted)
        return new

    @classmethod
    def maximum(
        cls,
        weights: Float[Array, " K"] | np.ndarray | Sequence[float],
        mdp: MDP,
        *,
        beta: Beta = 1.0,
        alternatives: Float[Array, " M K"] | np.ndarray | Sequence[Sequence[float]],
    ) -> Self:
        """A proxy whose normalizer is the largest term of the sum alone: "Max-Z" of references A.

        Args:
            weights: the proxy w̃, `[K]`.
            mdp: the MDP the designer was looking at.
            beta: inverse temperature of the designer, in 1/return, or a distribution of it where it is unknown.
            alternatives: the rewards the designer could have written, `[M, K]`, the proxy among them.

        Raises:
            ValueError: as the class.
        """
        made = cls(weights, mdp, beta=beta, alternatives=alternatives)
        return with_fields(made, normalizer=MaxOverProxies(made._proxies))

    @classmethod
    def maxent(
        cls,
        weights: Float[Array, " K"] | np.ndarray | Sequence[float],
        mdp: MDP,
        *,
        beta: Beta = 1.0,
    ) -> Self:
        """A proxy whose normalizer is a soft value, log Z̃(w) = β E[V_soft(s₀; w)]: "MaxEnt-Z" of references A.

        It needs no alternatives.  It is very sensitive to the scale of `w`: see docs/normalizers.md.

        Args:
            weights: the proxy w̃, `[K]`.
            mdp: the MDP the designer was looking at.
            beta: how many demonstrations the proxy's plan counts for.

        Raises:
            ValueError: as the class.
        """
        weights = check_weights(check_mdp(mdp), weights)
        check_beta_or_prior(beta, weights.dtype)
        made = cls(weights, mdp, beta=beta, alternatives=weights[None])
        return with_fields(made, normalizer=SoftValue(mdp))

    def log_likelihood(self, weights: Float[Array, " N K"]) -> Float[Array, " N"]:
        """Log P(w̃ | w, M̃) of each candidate w: β w·φ̃(w̃) - log Z̃(w) (eq. 1), `[N, K] -> [N]`."""
        weights = self._check_candidates(weights)
        found = -self._shifted(weights)
        if isinstance(self.normalizer, SumOverRollouts) and is_known(self.normalizer, weights, self.beta, found):
            warn_if_noisy(found, self.log_likelihood_error(weights))
        return found

    def log_likelihood_error(self, weights: Float[Array, " N K"]) -> Float[Array, " N"]:
        """What each log-likelihood is off by (root mean square) because features were estimated, nats, `[N, K] -> [N]`.

        To second order in the errors; 0 where features are exact.  Measured from w = 0, whose likelihood has none.
        """
        weights = self._check_candidates(weights)
        if not isinstance(self.normalizer, SumOverRollouts):
            return jnp.zeros(weights.shape[0], weights.dtype)
        return self.normalizer.log_likelihood_error(weights, self.beta, self.feature_expectations)

    def log_normalizer(self, weights: Float[Array, " N K"]) -> Float[Array, " N"]:
        """Log Z̃(w) of each candidate w, `[N, K] -> [N]`."""
        weights = self._check_candidates(weights)
        return self._shifted(weights) + self.beta * jnp.matmul(
            weights, self.feature_expectations, precision=jax.lax.Precision.HIGHEST
        )

    def _shifted(self, weights) -> Array:
        """Log Z̃(w) - β w·φ̃(w̃); where candidates are planned for, with a warning of a β that is too sharp."""
        arguments = self.normalizer, weights, self.beta, self.feature_expectations
        if not isinstance(self.normalizer, SumWithCandidate | SoftValue):
            return log_sum(*arguments)
        shifted, doubt = log_sum_with_doubt(*arguments)
        if is_known(arguments):
            warn_if_blunt(type(self.normalizer).__name__, self.beta, -shifted, doubt)
        return shifted

    def replace(self, *, beta: Beta) -> Self:
        """The same evidence from a designer of another β; nothing is planned or compiled again."""
        return with_fields(self, beta=check_beta_or_prior(beta, self.weights.dtype))

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The training MDP's feature names."""
        return self.mdp.feature_names

    @property
    def alternative_features(self) -> Float[Array, " M K"]:
        """Feature expectations of the alternatives' plans, equal ones merged, `[M', K]`."""
        return self._proxies.features

    @property
    def counts(self) -> Float[Array, " M"]:
        """How many alternatives share each row of `alternative_features`, `[M']`."""
        return self._proxies.counts

    @property
    def feature_covariance(self) -> Float[Array, " K K"] | None:
        """Covariance of the alternatives' feature expectations, `[K, K]`; None without alternatives.

        Its null space is what this evidence says nothing about: along it all alternatives agree.
        """
        if isinstance(self.normalizer, SoftValue):
            return None
        return covariance_of(self._proxies)

    def information(self, mean: Float[Array, " K"]) -> Float[Array, " K K"]:
        """β² times the covariance of the alternatives' features, `[K, K]` (`ird.evidence.fisher`).

        Without alternatives (MaxEnt-Z) that of the random policy's paths: the Hessian of E[V_soft] at w = 0.
        """
        if isinstance(self.normalizer, SoftValue):
            return self.beta**2 * _soft_curvature(self.normalizer.mdp)
        return self.beta**2 * covariance_of(self._proxies)

    def shown(self) -> Shown:
        """The proxy's plan in its training map, beside those of the alternatives, each as often as it was listed."""
        visits = self.mdp.total_visits
        if isinstance(self.normalizer, SoftValue):
            at_random = feature_expectations(self.normalizer.mdp, uniform_policy(self.normalizer.mdp))
            return Shown(self.feature_expectations / visits, at_random / visits)
        share = self.counts / jnp.sum(self.counts)
        every = jnp.matmul(share, self.alternative_features, precision=jax.lax.Precision.HIGHEST)
        return Shown(self.feature_expectations / visits, every / visits)

    @property
    def _proxies(self) -> SumOverProxies:
        normalizer = self.normalizer
        if isinstance(normalizer, SoftValue):
            raise ValueError("MaxEnt-Z has no alternatives; build the proxy with alternatives=... to list them.")
        return normalizer if isinstance(normalizer, SumOverProxies) else normalizer.proxies

    def _check_candidates(self, weights) -> Array:
        return check_candidates(weights, self.feature_names, self.weights.dtype)

    def _set(self, *values) -> None:
        set_fields(self, **{field.name: value for field, value in zip(fields(self), values, strict=True)})

    def __repr__(self) -> str:
        return f"ProxyReward(weights={self.weights}, beta={self.beta}, alternatives={jnp.shape(self.alternatives)})"


def _check_proxies(weights, mdp: MDP, alternatives) -> tuple[Array, Array]:
    alternatives, weights = check_alternatives(mdp, alternatives), check_real("weights", weights)
    if weights.shape != (mdp.num_features,):
        raise ValueError(_wrong_features("weights", weights.shape, mdp))
    weights = check_array("weights", weights, like=alternatives.dtype)
    return weights, check_array("alternatives", alternatives, dtype=weights.dtype)


def _unlike(name: str, shape: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    return f"{name} has shape {shape}; give one row of expected features per alternative, {wanted}."


def _wrong_features(name: str, shape: tuple[int, ...], mdp: MDP) -> str:
    return (
        f"{name} has shape {shape}, but the training MDP has {mdp.num_features} features {mdp.feature_names}; "
        "give one weight per feature, in that order."
    )


def _row_of(weights, alternatives) -> int | None:
    """Which alternative the proxy is; None when that is not known yet."""
    if not (is_concrete(weights) and is_concrete(alternatives)):
        return None
    w, rows = np.asarray(weights), np.asarray(alternatives)
    distance = np.abs(rows - w).max(axis=1)
    row = int(distance.argmin())
    if distance[row] > 8 * np.finfo(w.dtype).eps * np.abs(w).max(initial=0.0):
        raise ValueError(
            f"the proxy {w.tolist()} is not among the {len(rows)} alternatives (the nearest is row {row}, "
            f"{rows[row].tolist()}); a designer can only have written one of the alternatives: add the proxy's row."
        )
    return row


@jax.jit
def _soft_curvature(mdp: MDP) -> Float[Array, " K K"]:
    """The Hessian of the soft value at w = 0, temperature 1: the covariance of what random paths collect."""

    def value(weights):
        return mdp.initial @ solve(mdp, mdp.reward(weights), temperature=1.0).value

    return jax.hessian(value)(jnp.zeros(mdp.num_features, mdp.features.dtype))
