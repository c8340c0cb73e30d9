"""Feedback as a choice: the reward-rational choice that most evidence is an instance of."""

from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ird.evidence.normalizers import SumOverProxies, covariance, log_sum
from mdps.checks import check_finite, check_index, is_concrete


@jax.tree_util.register_pytree_with_keys_class
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
    feature_names: tuple[str, ...]

    def __init__(
        self,
        features: Float[Array, " C K"] | np.ndarray | Sequence[Sequence[float]],
        chosen: int | Int[Array, ""],
        *,
        beta: float | Float[Array, ""] = 1.0,
        feature_names: Sequence[str] = (),
    ):
        """Check the options.

        Args:
            features: expected discounted sum of features of each option, `[C, K]`.
            chosen: the option that was chosen.
            beta: inverse temperature of the person, in 1/return.
            feature_names: one name per feature; "feature 0", ... when left out.

        Raises:
            ValueError: for fewer than two options, features that are not finite or of the wrong shape,
                a choice that is not among them, or a β that is not positive and finite.
        """
        features = as_floats(features)
        if features.ndim != 2 or features.shape[0] < 2 or features.shape[1] < 1:
            raise ValueError(
                f"features has shape {features.shape}; give [C, K], one row of features for each of C ≥ 2 options: "
                "with one option nothing was chosen."
            )
        check_finite("features", features)
        check_index("chosen", chosen, features.shape[0], "options")
        names = check_names(feature_names, features.shape[1])
        self._set((features, jnp.asarray(chosen, jnp.int32), check_beta(beta, features.dtype)), names)

    def log_likelihood(self, weights: Float[Array, " N K"]) -> Float[Array, " N"]:
        """Log P(c | w, C) of each candidate w, `[N, K] -> [N]`."""
        weights = check_candidates(weights, self.feature_names, self.features.dtype)
        own = self.features[self.chosen]
        return -log_sum(SumOverProxies(self.features, jnp.ones_like(self.features[:, 0])), weights, self.beta, own)

    def replace(self, *, beta: float | Float[Array, ""]) -> Self:
        """The same choice by a person of another β."""
        return self.tree_unflatten(self.feature_names, (self.features, self.chosen, check_beta(beta, self.beta.dtype)))

    @property
    def feature_covariance(self) -> Float[Array, " K K"]:
        """Covariance of the options' features, `[K, K]`; along its null space this says nothing."""
        return covariance(self.features, jnp.ones_like(self.features[:, 0]))

    def _set(self, leaves, names) -> None:
        for name, leaf in zip(("features", "chosen", "beta"), leaves, strict=True):
            object.__setattr__(self, name, leaf)
        object.__setattr__(self, "feature_names", names)

    def __init_subclass__(cls, **settings):
        super().__init_subclass__(**settings)
        jax.tree_util.register_pytree_with_keys_class(cls)

    def __setattr__(self, name, value):
        raise AttributeError(
            f"cannot set {name}: {type(self).__name__} is frozen; use replace(beta=...), or build one."
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}(options={jnp.shape(self.features)}, chosen={self.chosen}, beta={self.beta})"

    def tree_flatten_with_keys(self):
        """JAX: the leaves by name; the feature names are static."""
        leaves = [(jax.tree_util.GetAttrKey(n), getattr(self, n)) for n in ("features", "chosen", "beta")]
        return leaves, self.feature_names

    @classmethod
    def tree_unflatten(cls, names, leaves) -> Self:
        """JAX: from leaves, which may be tracers or placeholders, so nothing is checked."""
        new = object.__new__(cls)
        new._set(leaves, names)
        return new


def as_floats(x) -> Array:
    """An array of JAX's default float, or of its own."""
    try:
        x = jnp.asarray(x)
    except ValueError as error:
        raise ValueError(f"the rows differ in length, so they make no array ({error}); make them alike.") from error
    return x if x.dtype.kind == "f" else x.astype(jnp.result_type(float))


def check_names(names: Sequence[str], num_features: int) -> tuple[str, ...]:
    """The names, or "feature 0", "feature 1", ... when there are none."""
    names = tuple(names) or tuple(f"feature {k}" for k in range(num_features))
    if len(names) != num_features or len(set(names)) != num_features:
        raise ValueError(f"feature_names is {names}; give {num_features} distinct names, one per feature.")
    return names


def check_beta(beta, dtype) -> Array:
    """β as an array, refused unless positive and finite."""
    if np.shape(beta) != ():
        raise ValueError(f"beta has shape {np.shape(beta)}; give one number, and use jax.vmap for several.")
    if is_concrete(beta) and not 0 < float(beta) < float("inf"):
        raise ValueError(
            f"beta is {float(beta)}; it must be positive and finite (small: the person hardly looked at the outcome)."
        )
    return jnp.asarray(beta, dtype)


def check_candidates(weights, names: tuple[str, ...], dtype) -> Array:
    """Candidates `[N, K]` in a dtype that fits both, refused for another number of features."""
    weights = jnp.asarray(weights)
    if weights.ndim != 2 or weights.shape[1] != len(names):
        raise ValueError(
            f"weights has shape {weights.shape}; give candidates [N, K] with K={len(names)} features {names} "
            "(one candidate: weights[None])."
        )
    return weights.astype(jnp.result_type(weights, dtype))
