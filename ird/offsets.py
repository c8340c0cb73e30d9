"""What a return is measured from, and in which units: one number per sample of the reward, `[N]`.

Each offset is scaled to the deployment map's total visits, so that a shift of the features changes
no plan.  `ird.planning` offers all of these by the same names.
"""

from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.evidence.normalizers import stream
from mdps.checks import check_finite, is_concrete
from mdps.mdp import MDP
from mdps.optimal_features import optimum
from mdps.policies import feature_expectations

BLOCK = 256  # planning problems solved side by side


class Belief(Protocol):
    """What planning needs to know of a belief; `ird.posterior.Posterior` is one."""

    @property
    def weights(self) -> Float[Array, " N K"]: ...
    @property
    def log_weights(self) -> Float[Array, " N"]: ...
    @property
    def feature_names(self) -> tuple[str, ...]: ...


class Proxy(Protocol):
    """What an offset needs to know of a proxy; `ird.evidence.ProxyReward` is one."""

    @property
    def mdp(self) -> MDP: ...
    @property
    def beta(self) -> float | Float[Array, ""]: ...
    @property
    def feature_expectations(self) -> Float[Array, " K"]: ...
    @property
    def alternative_features(self) -> Float[Array, " M K"]: ...
    def log_normalizer(self, weights: Float[Array, " N K"]) -> Float[Array, " N"]: ...


def no_offset(belief: Belief) -> Float[Array, " N"]:
    """Zero: returns as they are.

    What is unseen and worth nothing then looks safe: with negative rewards everywhere the planner
    hedges by standing in it.  A shift of the features changes the plan.
    """
    return jnp.zeros_like(belief.log_weights, dtype=belief.weights.dtype)


def start_offset(mdp: MDP, belief: Belief) -> Float[Array, " N"]:
    """The return of staying where one starts: `w_i · start_features(mdp)` times the total visits.

    Assumes that the start's terrain is normal: neither a hazard nor a treat.
    """
    weights, _ = check_belief(mdp, belief)
    return weights @ (start_features(mdp) * mdp.total_visits).astype(weights.dtype)


def training_offset(mdp: MDP, belief: Belief, proxy: Proxy) -> Float[Array, " N"]:
    """The return of the proxy's plan in training, `w_i · φ̃(w̃)`, scaled to the deployment map's total visits.

    Assumes that training went as well as deployment can.
    """
    weights, _ = check_belief(mdp, belief)
    check_proxy(mdp, proxy)
    return weights @ (training_features(proxy) * mdp.total_visits).astype(weights.dtype)


def log_normalizer_offset(mdp: MDP, belief: Belief, proxy: Proxy) -> Float[Array, " N"]:
    """The soft-best training return over the proxies that could have been written, `log Z̃(w_i) / β`, scaled likewise.

    Above the training offset by what the designer's best proxy for `w_i` would have gained.
    """
    weights, _ = check_belief(mdp, belief)
    check_proxy(mdp, proxy)
    return proxy.log_normalizer(weights) / proxy.beta * (mdp.total_visits / proxy.mdp.total_visits)


def regret_offset(mdp: MDP, belief: Belief, *, tol: float | Float[Array, ""] | None = None) -> Float[Array, " N"]:
    """The best return that each sample allows here, `V*(w_i)`: planning against it limits regret.

    `N` planning problems, solved in blocks.
    """
    weights, _ = check_belief(mdp, belief)
    N = weights.shape[0]

    return jax.lax.map(lambda w: optimum(mdp, w, tol=tol).value, weights, batch_size=min(BLOCK, N))


def policy_offset(mdp: MDP, belief: Belief, policy: Float[Array, " ... S A"]) -> Float[Array, " N"]:
    """The return of a policy that is known to be acceptable: planning against it is robust improvement on that."""
    weights, _ = check_belief(mdp, belief)
    return weights @ feature_expectations(mdp, policy).astype(weights.dtype)


def training_stakes(belief: Belief, *proxies: Proxy) -> Float[Array, " N"]:
    """What was at stake in training under each sample, per step: the best return less the worst, `[N]`.

    `(max_j w_i·φ_j - min_j w_i·φ_j) / visits`, over the plans φ_j of the proxies that could have been
    written, averaged over the training maps.  As `units` of a plan it removes the scale of each reward
    sample, which no choice of the designer's could reveal apart from β: a sample that cared little
    about training no longer counts for little, so what was never seen weighs more against what was.

    Args:
        belief: weight samples.
        *proxies: the evidence, at least one.

    Returns:
        In units of reward.  Zero for a sample to which all of training is alike: as a unit it is refused.

    Raises:
        ValueError: without a proxy, or for one written for other features.
    """
    if not proxies:
        raise ValueError("training_stakes needs at least one proxy: it measures what was at stake in its training map.")
    weights = jnp.asarray(belief.weights)
    total = jnp.zeros(weights.shape[0], weights.dtype)
    for proxy in proxies:
        if tuple(proxy.mdp.feature_names) != tuple(belief.feature_names):
            raise ValueError(
                f"the proxy was written for the features {proxy.mdp.feature_names}, but the belief is about "
                f"{belief.feature_names}; pass the evidence that the belief was made from."
            )
        total = total + stream(_spread, weights, proxy.alternative_features) / proxy.mdp.total_visits
    return total / len(proxies)


def _spread(weights: Float[Array, " N K"], features: Float[Array, " M K"]) -> Float[Array, " N"]:
    """The best return less the worst, under each row of weights."""
    returns = features @ weights.T
    return jnp.max(returns, axis=0) - jnp.min(returns, axis=0)


def start_features(mdp: MDP) -> Float[Array, " K"]:
    """Expected features of the first step, averaged over actions where they depend on the action, `[K]`."""
    features = mdp.features.mean(axis=1) if mdp.features.ndim == 3 else mdp.features
    return mdp.initial @ features


def training_features(proxy: Proxy) -> Float[Array, " K"]:
    """Mean features per visit of the proxy's plan in training, `[K]`."""
    return proxy.feature_expectations / proxy.mdp.total_visits


def map_features(mdp: MDP) -> Float[Array, " K"]:
    """Mean features of a map's states, each counted once (without the end state, if there is one), `[K]`.

    As a baseline, of the map that the designer looked at: all that was there is normal, on average.  Where
    features are noisy readings that differ from cell to cell, one start is one draw of them; this averages.

    Example:
        >>> import mdps
        >>> legend = {"S": "dirt", ".": "dirt", "g": "grass", "G": "goal"}
        >>> map_features(mdps.GridWorld.from_text("S.gG", legend, horizon=5).mdp).tolist()
        [0.5, 0.25, 0.25]
    """
    features = mdp.features.mean(axis=1) if mdp.features.ndim == 3 else mdp.features
    if mdp.layout.sink is None:
        return jnp.mean(features, axis=0)
    real = jnp.arange(mdp.num_states) != mdp.layout.sink
    return jnp.sum(features * real[:, None], axis=0) / (mdp.num_states - 1)


def check_belief(mdp: MDP, belief: Belief) -> tuple[Array, Array]:
    """The belief's samples, once they are known to be about this MDP's features."""
    weights, log_weights = jnp.asarray(belief.weights), jnp.asarray(belief.log_weights)
    names = tuple(belief.feature_names)
    if names and mdp.feature_names and names != tuple(mdp.feature_names):
        raise ValueError(
            f"the belief is about the features {names}, but this MDP has {tuple(mdp.feature_names)}; "
            "use a map with the same features in the same order."
        )
    if weights.ndim != 2 or weights.shape[1] != mdp.num_features or log_weights.shape != weights.shape[:1]:
        raise ValueError(
            f"the belief's weights have shape {weights.shape} and its log_weights {log_weights.shape}; this MDP has "
            f"{mdp.num_features} features, so they must be [N, {mdp.num_features}] and [N]."
        )
    check_finite("the belief's weights", weights)
    return weights, log_weights


def check_units(units, log_weights: Array) -> Array:
    """Units, once they are known to be one positive number per sample."""
    units = jnp.asarray(units)
    if units.shape != log_weights.shape:
        raise ValueError(f"units has shape {units.shape}; give one number per sample, {log_weights.shape}.")
    check_finite("units", units)
    if is_concrete(units) and (np.asarray(units) <= 0).any():
        i = int((np.asarray(units) <= 0).argmax())
        raise ValueError(
            f"units is {float(units[i])} at index {i}; every unit must be positive (a sample to which all of training "
            "is alike has no stakes: leave it out of the belief)."
        )
    return units


def check_proxy(mdp: MDP, proxy: Proxy) -> None:
    """Raise if a proxy was written for other features."""
    names = tuple(proxy.mdp.feature_names)
    if names != tuple(mdp.feature_names):
        raise ValueError(
            f"the proxy was written for the features {names}, but this MDP has {tuple(mdp.feature_names)}; "
            "use maps with the same features in the same order."
        )
