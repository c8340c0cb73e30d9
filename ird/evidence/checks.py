"""What every kind of evidence checks: β, candidates and the alternatives of a designer."""

import math
from dataclasses import dataclass
from typing import Any, NoReturn

import jax
from jaxtyping import Array, Float
from numpyro.distributions import Distribution

from mdps import MDP
from mdps.checks import check_array, check_mdp, check_number, check_real, check_sums

__all__ = ["Beta", "UnknownBeta", "check_alternatives", "check_beta", "check_beta_or_prior", "check_candidates"]
__dir__ = __all__.copy


@jax.tree_util.register_static
@dataclass(frozen=True, eq=False)
class UnknownBeta:
    """The β of evidence from people of whom it is not known: samplers draw it with the weights.

    Attributes:
        distribution: what is known of it: a numpyro distribution over positive numbers.
        dtype: in which it will be used.
    """

    distribution: Distribution
    dtype: Any

    def __jax_array__(self, *_) -> NoReturn:
        raise ValueError(
            f"the β of this evidence is unknown, {type(self.distribution).__name__}; only a sampler draws it (pass the "
            "evidence to posterior.importance, nuts, laplace, smc or exchange), or say what it is: replace(beta=...)."
        )

    __mul__ = __rmul__ = __pow__ = __truediv__ = __rtruediv__ = __array__ = __float__ = __jax_array__

    def __repr__(self) -> str:
        return f"unknown, {type(self.distribution).__name__}"


Beta = float | Float[Array, ""] | Distribution


def check_beta_or_prior(beta, dtype) -> Any:
    """β of a piece of evidence: a number, or what is known of it where it is unknown."""
    if not isinstance(beta, Distribution):
        return check_beta(beta, dtype)
    if beta.batch_shape + beta.event_shape:
        raise ValueError(
            f"beta is over shape {beta.batch_shape + beta.event_shape}; give one number of one person: a distribution "
            "such as dist.LogNormal(0.0, 1.0)."
        )
    return UnknownBeta(beta, dtype)


def check_beta(beta, dtype) -> Array:
    """β as an array, refused unless positive and finite in that dtype."""
    cure = "it must be positive and finite (small: the person hardly looked at the outcome)."
    return check_number("beta", beta, lambda x: 0 < x < math.inf, cure, dtype=dtype)


def check_candidates(weights, names: tuple[str, ...], dtype) -> Array:
    """Candidates `[N, K]` in a dtype that fits both, refused for another number of features."""
    weights = check_real("weights", weights)
    if weights.ndim != 2 or weights.shape[1] != len(names):
        raise ValueError(
            f"weights has shape {weights.shape}; give candidates [N, K] with K={len(names)} features {names} "
            "(one candidate: weights[None])."
        )
    return check_array("weights", weights, like=dtype)


def check_alternatives(mdp: MDP, alternatives) -> Array:
    """Rewards `[M, K]` that a designer could have written for one MDP, in a dtype that fits both."""
    check_sums(check_mdp(mdp))
    alternatives, K = check_real("alternatives", alternatives), mdp.num_features
    if alternatives.size == 0:
        raise ValueError(
            "alternatives is empty; give the rewards the designer could have written, [M, K], the proxy among them."
        )
    if alternatives.ndim != 2 or alternatives.shape[1] != K:
        raise ValueError(
            f"alternatives has shape {alternatives.shape}; it must be [M, K] with K={K} features {mdp.feature_names}."
        )
    return check_array("alternatives", alternatives, like=mdp.features.dtype)
