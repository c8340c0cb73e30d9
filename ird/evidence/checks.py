"""What every kind of evidence checks: β, candidates and the alternatives of a designer."""

import math

from jaxtyping import Array

from mdps import MDP
from mdps.checks import check_array, check_mdp, check_number, check_real, check_sums

__all__ = ["check_alternatives", "check_beta", "check_candidates"]
__dir__ = __all__.copy


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
