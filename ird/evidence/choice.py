"""Feedback as a choice: the reward-rational choice that most evidence is an instance of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ird.evidence.checks import Beta, check_beta_or_prior, check_candidates
from ird.evidence.fisher import Shown
from ird.evidence.normalizers import SumOverProxies, log_sum
from ird.evidence.plans import covariance
from mdps.checks import check_array, check_index, check_names, check_real
from mdps.pytrees import frozen_pytree, set_fields, with_fields

__all__ = ["Choice"]
__dir__ = __all__.copy


@frozen_pytree
@dataclass(frozen=True, init=False, repr=False, eq=False)
class Choice:
    """One of several options, chosen for what it makes happen (Jeon, Milli & Dragan 2020, eq. 1).

        P(c | w, C) = exp(β w·φ_c) / Σ_{c' ∈ C} exp(β w·φ_{c'})

    with φ_c the expected features of the trajectories that option c stands for (its grounding).
    Corrections, improvements, the off-switch, language, reward and punishment, initial states and
    credit assignment are choices; their classes know which options there are and what they stand for.

    Attributes:
        features: expected discounted sum of features of each option, `[C, K]`.
        chosen: which option was chosen, an index into `features`.
        beta: inverse temperature β of the person, in 1/return; a leaf.
        feature_names: one name per feature (static).

    Example:
        >>> seen = Choice([[1.0, 0.0], [0.0, 1.0]], 0, beta=2.0, feature_names=("tea", "coffee"))
        >>> round(float(seen.log_likelihood(jnp.asarray([[1.0, 0.0]]))[0]), 4)
        -0.1269
    """

    features: Float[Array, " C K"]
    chosen: Int[Array, ""]
    beta: Float[Array, ""]
    feature_names: tuple[str, ...] = field(metadata={"static": True})

    def __init__(
        self,
        features: Float[Array, " C K"] | np.ndarray | Sequence[Sequence[float]],
        chosen: int | Int[Array, ""],
        *,
        beta: Beta = 1.0,
        feature_names: Sequence[str] = (),
    ):
        """Check the options.

        Args:
            features: expected discounted sum of features of each option, `[C, K]`.
            chosen: the option that was chosen.
            beta: inverse temperature of the person, in 1/return, or a distribution of it where it is unknown.
            feature_names: one name per feature; "feature 0", ... when left out.

        Raises:
            ValueError: for fewer than two options, features that are not finite or of the wrong shape,
                a choice that is not among them, or a β that is not positive and finite.
        """
        features = check_real("features", features)
        if features.ndim != 2 or features.shape[0] < 2 or features.shape[1] < 1:
            raise ValueError(
                f"features has shape {features.shape}; give [C, K], one row of features for each of C ≥ 2 options: "
                "with one option nothing was chosen."
            )
        features = check_array("features", features)
        check_index("chosen", chosen, features.shape[0], "options")
        names = check_names(feature_names, features.shape[1])
        beta = check_beta_or_prior(beta, features.dtype)
        set_fields(self, features=features, chosen=jnp.asarray(chosen, jnp.int32), beta=beta, feature_names=names)

    def log_likelihood(self, weights: Float[Array, " N K"]) -> Float[Array, " N"]:
        """Log P(c | w, C) of each candidate w, `[N, K] -> [N]`."""
        weights = check_candidates(weights, self.feature_names, self.features.dtype)
        own = self.features[self.chosen]
        return -log_sum(SumOverProxies(self.features, jnp.ones_like(self.features[:, 0])), weights, self.beta, own)

    def replace(self, *, beta: Beta) -> Self:
        """The same choice by a person of another β."""
        return with_fields(self, beta=check_beta_or_prior(beta, self.beta.dtype))

    def information(self, mean: Float[Array, " K"]) -> Float[Array, " K K"]:
        """β² times the covariance of the options' features, `[K, K]` (`ird.evidence.fisher`)."""
        return self.beta**2 * self.feature_covariance

    def shown(self) -> Shown | None:
        """No behaviour: a choice tells what is better, not what is normal."""
        return None

    @property
    def feature_covariance(self) -> Float[Array, " K K"]:
        """Covariance of the options' features, `[K, K]`; along its null space this says nothing."""
        return covariance(self.features, jnp.ones_like(self.features[:, 0]))

    def __init_subclass__(cls, **settings):
        super().__init_subclass__(**settings)
        frozen_pytree(cls)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(options={jnp.shape(self.features)}, chosen={self.chosen}, beta={self.beta})"
