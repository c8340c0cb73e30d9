"""What planners, queries and offsets need to know of a belief about the reward, and its checks at their door."""

from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mdps.checks import check_mdp, is_concrete, shown
from mdps.mdp import MDP

__all__ = [
    "Belief",
    "Proxy",
    "check_belief",
    "check_log_weights",
    "check_same_features",
    "check_samples",
    "counting",
    "is_belief",
    "is_proxy",
]
__dir__ = __all__.copy

_NORMAL = 1e-3  # what log weights may lack of a probability of one: rounding of a million samples in float32


class Belief(Protocol):
    """Weighted samples of the true reward; `ird.posterior.Posterior` is one."""

    @property
    def weights(self) -> Float[Array, " N K"]: ...
    @property
    def log_weights(self) -> Float[Array, " N"]: ...
    @property
    def feature_names(self) -> tuple[str, ...]: ...


class Proxy(Protocol):
    """What an offset needs to know of a proxy; `ird.evidence.ProxyReward` is one."""

    @property
    def mdp(self) -> Any: ...  # an MDP, or what has total_visits and feature_names as it does
    @property
    def beta(self) -> float | Float[Array, ""]: ...
    @property
    def feature_expectations(self) -> Float[Array, " K"]: ...
    @property
    def alternative_features(self) -> Float[Array, " M K"]: ...
    def log_normalizer(self, weights: Float[Array, " N K"]) -> Float[Array, " N"]: ...


def check_belief(mdp: MDP, belief: Belief) -> tuple[Array, Array]:
    """The belief's samples, once they are known to be about this MDP's features."""
    if not isinstance(mdp, MDP) and (is_belief(mdp) or is_proxy(mdp)):
        what = "a belief" if is_belief(mdp) else "a proxy"
        raise ValueError(f"mdp is {what}; the MDP comes first, then the belief, then proxies.")
    check_mdp(mdp)
    weights, log_weights = check_samples(belief)
    names = tuple(belief.feature_names)
    if names and mdp.feature_names and names != tuple(mdp.feature_names):
        raise ValueError(
            f"the belief is about the features {names}, but this MDP has {tuple(mdp.feature_names)}; "
            "use a map with the same features in the same order."
        )
    if weights.shape[1] != mdp.num_features:
        raise ValueError(
            f"the belief's weights have shape {weights.shape} and its log_weights {log_weights.shape}; this MDP has "
            f"{mdp.num_features} features, so they must be [N, {mdp.num_features}] and [N]."
        )
    return weights, log_weights


def check_same_features(belief: Belief, number: int, names: tuple[str, ...] = ()) -> tuple[Array, Array]:
    """The belief's samples where there is no table, once known to be about so many features, of these names."""
    weights, log_weights = check_samples(belief)
    if weights.shape[1] != number:
        raise ValueError(
            f"features has {number} columns, but the belief is about {weights.shape[1]} features"
            + (f" {tuple(belief.feature_names)}" if belief.feature_names else "")
            + "; give one column per feature, in that order."
        )
    known = tuple(belief.feature_names)
    if names and known and tuple(names) != known:
        raise ValueError(f"feature_names is {tuple(names)}, but the belief is about {known}; give the same, in order.")
    return weights, log_weights


def check_samples(belief: Belief) -> tuple[Array, Array]:
    """Weights `[N, K]` and log weights `[N]`, refused unless these are the probabilities of finite samples."""
    if not is_belief(belief):
        if is_proxy(belief):
            cure = "proxies come after the MDP and the belief"
        elif isinstance(belief, MDP) or isinstance(getattr(belief, "mdp", None), MDP):
            cure = "the MDP comes first, then the belief"
        else:
            cure = "pass what posterior.exact(...) and the others return"
        raise ValueError(f"belief is {shown(belief)}, which holds no weight samples; {cure}.")
    weights, log_weights = jnp.asarray(belief.weights), jnp.asarray(belief.log_weights)
    if weights.ndim != 2 or log_weights.shape != weights.shape[:1]:
        raise ValueError(
            f"the belief's weights have shape {weights.shape} and its log_weights {log_weights.shape}; they must be "
            "[N, K] and [N] (of a batch of beliefs take one, or use jax.vmap)."
        )
    possible = np.ones(weights.shape[0], bool)
    if is_concrete(log_weights):
        check_log_weights(np.asarray(log_weights))
        possible = np.asarray(log_weights) > -np.inf
    if is_concrete(weights):
        wrong = ~np.isfinite(np.asarray(weights)).all(axis=1) & possible
        if wrong.any():
            i = int(wrong.argmax())
            raise ValueError(
                f"the belief's weights are {np.asarray(weights)[i].tolist()} in sample {i}; every sample that has any "
                "probability must be finite."
            )
    return weights, log_weights


def check_log_weights(values: np.ndarray) -> None:
    """Raise unless these are logarithms of probabilities that sum to one."""
    bad = np.isnan(values) | (values == np.inf)
    if bad.any():
        raise ValueError(
            f"the belief's log_weights are {values[bad][0]} in sample {int(bad.argmax())}; use -inf for the impossible."
        )
    total = float(np.exp(values, dtype=np.float64).sum())
    if not abs(total - 1) <= _NORMAL:
        raise ValueError(
            f"the belief's log_weights sum to a probability of {total:.6g}; they must sum to one: subtract "
            "jax.nn.logsumexp(log_weights) from them."
        )


def counting(log_weights: Array, *arrays: Array) -> list[Array]:
    """Rows of samples, 0 where a sample has no probability: what it holds there need not be a number."""
    possible = log_weights > -jnp.inf
    return [jnp.where(possible.reshape(-1, *(1,) * (x.ndim - 1)), x, 0) for x in arrays]


def is_belief(x) -> bool:
    """Whether it holds weighted samples."""
    return not isinstance(x, type) and all(hasattr(x, name) for name in ("weights", "log_weights", "feature_names"))


def is_proxy(x) -> bool:
    """Whether it is a proxy reward."""
    return not isinstance(x, type) and all(hasattr(x, name) for name in ("mdp", "beta", "feature_expectations"))
