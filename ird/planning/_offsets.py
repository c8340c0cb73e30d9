"""What a return is measured from, and in which units: one number per sample of the reward, `[N]`.

Each offset is scaled to the deployment map's total visits, so that a shift of the features changes
no plan.  `ird.planning` offers all of these by the same names.

Where there is no table, what stands first is what an offset needs of the place: how many visits a run has there, or
what each option collects; `features_offset` takes the place of `start_offset` and `policy_offset`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.beliefs import Belief, Proxy, check_belief, check_same_features, check_samples, is_proxy
from ird.blocks import ROWS, in_blocks, stream
from mdps.checks import check_array, check_mdp, check_number, check_real, check_sums, is_concrete, shown
from mdps.mdp import MDP
from mdps.optimal_features import optimum
from mdps.policies import feature_expectations


def no_offset(belief: Belief) -> Float[Array, " N"]:
    """Zero: returns as they are.

    What is unseen and worth nothing then looks safe: with negative rewards everywhere the planner
    hedges by standing in it.  A shift of the features changes the plan.

    Example:
        >>> import jax.numpy as jnp
        >>> from ird import posterior
        >>> no_offset(posterior.exact(candidates=jnp.eye(2))).tolist()
        [0.0, 0.0]
    """
    weights, log_weights = check_samples(belief)
    return jnp.zeros(log_weights.shape, weights.dtype)


def start_offset(mdp: MDP, belief: Belief) -> Float[Array, " N"]:
    """The return of a run whose every step is like the first: `w_i · start_features(mdp)` times the total visits.

    That of staying where one starts, where that is possible; no plan need attain it.  Assumes that the start's
    terrain is normal: neither a hazard nor a treat.

    Example:
        >>> import jax.numpy as jnp, mdps
        >>> from ird import posterior
        >>> legend = {"S": "dirt", ".": "dirt", "g": "grass", "G": "goal"}
        >>> field = mdps.GridWorld.from_text("SgG", legend, horizon=4)
        >>> belief = posterior.exact(candidates=jnp.array([[1.0, 0.0, 2.0], [-1.0, 0.5, 3.0]]))
        >>> start_offset(field.mdp, belief).tolist()  # four steps on dirt
        [4.0, -4.0]
    """
    weights, log_weights = check_belief(mdp, belief)
    return _start_offset(mdp, weights, log_weights)


def features_offset(belief: Belief, features: Float[Array, " K"]) -> Float[Array, " N"]:
    """The return of what collects these features, `w_i · φ`: of a plan that is known to be acceptable, without a table.

    Args:
        belief: weight samples.
        features: expected (discounted) sum of features of a run, `[K]`: of the policy in use, or those of one ordinary
            visit times the visits of a run.

    Raises:
        ValueError: for another number of features than the belief has, or values that are not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> from ird import posterior
        >>> belief = posterior.exact(candidates=jnp.array([[1.0, 0.0, 2.0], [-1.0, 0.5, 3.0]]))
        >>> features_offset(belief, jnp.array([4.0, 0.0, 0.0])).tolist()
        [4.0, -4.0]
    """
    features = check_array("features", features)
    if features.ndim != 1:
        raise ValueError(f"features has shape {features.shape}; give what one run collects, [K].")
    weights, log_weights = check_same_features(belief, features.shape[0])
    return _return_of(weights, log_weights, features)


def training_offset(mdp: MDP | float | Float[Array, ""], belief: Belief, *proxies: Proxy) -> Float[Array, " N"]:
    """The return of the proxy's plan in training, `w_i · φ̃(w̃)`, scaled to the deployment map's total visits.

    Assumes that training went as well as deployment can.

    Args:
        mdp: the deployment MDP; without a table, how many (discounted) visits a run has there.
        belief: weight samples.
        *proxies: the evidence, at least one; the mean over their training maps.

    Example:
        >>> import jax.numpy as jnp, mdps
        >>> from ird import ProxyReward, posterior
        >>> legend = {"S": "dirt", ".": "dirt", "g": "grass", "G": "goal"}
        >>> train = mdps.GridWorld.from_text("S.G", legend, horizon=4)
        >>> rewards = jnp.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
        >>> proxy = ProxyReward(rewards[0], train.mdp, beta=2.0, alternatives=rewards)
        >>> belief = posterior.exact(proxy, candidates=rewards)
        >>> field = mdps.GridWorld.from_text("SgG", legend, horizon=8)
        >>> training_offset(field.mdp, belief, proxy).tolist()  # two on dirt and two on the goal, in twice the time
        [4.0, 4.0]
    """
    total, weights, log_weights = _deployed(mdp, belief, proxies)
    each = [(p.feature_expectations, p.mdp.total_visits) for p in proxies]
    return _training_offset(total, weights, log_weights, each)


def log_normalizer_offset(mdp: MDP | float | Float[Array, ""], belief: Belief, *proxies: Proxy) -> Float[Array, " N"]:
    """The soft-best training return over the proxies that could have been written, `log Z̃(w_i) / β`, scaled likewise.

    Above the training offset by what the designer's best proxy for `w_i` would have gained.  The arguments are
    those of `training_offset`.

    Example:
        >>> import jax.numpy as jnp, mdps
        >>> from ird import ProxyReward, posterior
        >>> legend = {"S": "dirt", ".": "dirt", "g": "grass", "G": "goal"}
        >>> train = mdps.GridWorld.from_text("S.G", legend, horizon=4)
        >>> rewards = jnp.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
        >>> proxy = ProxyReward(rewards[0], train.mdp, beta=2.0, alternatives=rewards)
        >>> belief = posterior.exact(proxy, candidates=rewards)
        >>> best = log_normalizer_offset(train.mdp, belief, proxy)
        >>> bool((best >= training_offset(train.mdp, belief, proxy)).all())
        True
    """
    total, weights, log_weights = _deployed(mdp, belief, proxies)
    weights = _counting(log_weights, weights)
    each = [p.log_normalizer(weights) / p.beta * (total / p.mdp.total_visits) for p in proxies]
    return sum(each) / len(each)  # pyright: ignore[reportReturnType]


def regret_offset(
    mdp: MDP | Float[Array, " P K"], belief: Belief, *, tol: float | Float[Array, ""] | None = None
) -> Float[Array, " N"]:
    """The best return that each sample allows here, `V*(w_i)`: planning against it limits regret.

    `N` planning problems, solved in blocks; of options without a table, `max_p w_i·φ_p`, exact.

    Args:
        mdp: the MDP; without a table, what each option collects, `[P, K]`.
        belief: weight samples.
        tol: accuracy of each value, as in `mdps.solve`.

    Example:
        >>> import jax.numpy as jnp, mdps
        >>> from ird import posterior
        >>> legend = {"S": "dirt", ".": "dirt", "g": "grass", "G": "goal"}
        >>> field = mdps.GridWorld.from_text("SgG", legend, horizon=4)
        >>> belief = posterior.exact(candidates=jnp.array([[1.0, 0.0, 2.0], [-1.0, 0.5, 3.0]]))
        >>> regret_offset(field.mdp, belief).tolist()  # dirt, grass, then twice the goal
        [5.0, 5.5]
    """
    if isinstance(mdp, list | tuple | np.ndarray | jax.Array):
        features = check_options(mdp)
        weights, log_weights = check_same_features(belief, features.shape[1])
        return _best_of_options(_counting(log_weights, weights), features)
    weights, log_weights = check_belief(mdp, belief)
    return _regret_offset(mdp, weights, log_weights, tol)


def policy_offset(mdp: MDP, belief: Belief, policy: Float[Array, " ... S A"]) -> Float[Array, " N"]:
    """The return of a policy that is known to be acceptable: planning against it is robust improvement on that.

    Example:
        >>> import jax.numpy as jnp, mdps
        >>> from ird import posterior
        >>> legend = {"S": "dirt", ".": "dirt", "g": "grass", "G": "goal"}
        >>> field = mdps.GridWorld.from_text("SgG", legend, horizon=4)
        >>> belief = posterior.exact(candidates=jnp.array([[1.0, 0.0, 2.0], [-1.0, 0.5, 3.0]]))
        >>> stay = jnp.eye(4)[jnp.array([3, 3, 3])]  # left, into the wall
        >>> policy_offset(field.mdp, belief, stay).tolist()
        [4.0, -4.0]
    """
    weights, log_weights = check_belief(mdp, belief)
    return _return_of(weights, log_weights, feature_expectations(mdp, policy))


@jax.jit
def _counting(log_weights, weights) -> Array:
    """The weights, 0 where they are no numbers and the sample has no probability."""
    return jnp.where((log_weights > -jnp.inf)[:, None] | jnp.isfinite(weights), weights, 0)


@jax.jit
def _return_of(weights, log_weights, features) -> Array:
    weights = _counting(log_weights, weights)
    return jnp.matmul(weights, features.astype(weights.dtype), precision=jax.lax.Precision.HIGHEST)


@jax.jit
def _start_offset(mdp: MDP, weights, log_weights) -> Array:
    return _return_of(weights, log_weights, first_features(mdp) * mdp.total_visits)


@jax.jit
def _training_offset(visits, weights, log_weights, each) -> Array:
    per_visit = sum(features / total for features, total in each) / len(each)
    return _return_of(weights, log_weights, per_visit * visits)


@jax.jit
def _best_of_options(weights, features) -> Array:
    def best(rows: Float[Array, " N K"], features: Float[Array, " P K"]) -> Float[Array, " N"]:
        return jnp.max(jnp.matmul(features, rows.T, precision=jax.lax.Precision.HIGHEST), axis=0)

    return stream(best, weights, features.astype(weights.dtype))


def check_offset(offset, log_weights: Array, such_as: str) -> Array:
    """What each sample's return is measured from, `[N]`; `such_as` is the offset to begin with, for the error."""
    if offset is None:
        raise ValueError(
            f"offset is None; say what returns are measured from: {such_as}, or planning.no_offset(belief) to measure "
            "from nothing."
        )
    offset = check_array("offset", offset)
    if offset.shape != log_weights.shape:
        raise ValueError(
            f"offset has shape {offset.shape}, but the belief holds {log_weights.shape[0]} samples; "
            "give one number per sample."
        )
    return offset


def check_options(features) -> Array:
    """What each option collects, `[P, K]`, refused unless there is one, of one feature at least."""
    features = check_real("features", features)
    if features.ndim != 2 or features.size == 0:
        raise ValueError(
            f"features has shape {features.shape}; give what each option collects, [P, K], with at least one option "
            "and one feature (one option: features[None]), or an mdp, from which it follows."
        )
    return check_array("features", features)


def _deployed(mdp, belief: Belief, proxies: tuple) -> tuple[Array, Array, Array]:
    """The visits of a run where a plan is to be carried out, and the belief's samples."""
    if not isinstance(mdp, int | float | np.ndarray | np.generic | jax.Array):
        weights, log_weights = check_belief(mdp, belief)
        check_proxies(proxies, mdp.feature_names, "this MDP has")
        return mdp.total_visits, weights, log_weights
    weights, log_weights = check_samples(belief)
    check_proxies(proxies, tuple(belief.feature_names), "the belief is about")
    cure = "give the MDP, or, without a table, the (discounted) visits of a run there: positive and finite."
    return check_number("mdp", mdp, lambda x: 0 < x < np.inf, cure, dtype=weights.dtype), weights, log_weights


@jax.jit
def _regret_offset(mdp: MDP, weights, log_weights, tol) -> Array:
    check_sums(mdp)
    weights = _counting(log_weights, weights)
    return in_blocks(jax.vmap(lambda w: optimum(mdp, w, tol=tol).value), weights, ROWS)


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

    Example:
        >>> import jax.numpy as jnp, mdps
        >>> from ird import ProxyReward, posterior
        >>> legend = {"S": "dirt", ".": "dirt", "g": "grass", "G": "goal"}
        >>> train = mdps.GridWorld.from_text("S.G", legend, horizon=4)
        >>> rewards = jnp.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
        >>> proxy = ProxyReward(rewards[0], train.mdp, beta=2.0, alternatives=rewards)
        >>> belief = posterior.exact(proxy, candidates=rewards)
        >>> training_stakes(belief, proxy).tolist()  # per step: two of four on the goal, or four on dirt against two
        [0.5, 0.5]
    """
    weights, log_weights = check_samples(belief)
    check_proxies(proxies, tuple(belief.feature_names), "the belief is about")
    weights = _counting(log_weights, weights)
    each = [_stakes(weights, p.alternative_features, p.mdp.total_visits) for p in proxies]
    return sum(each) / len(each)  # pyright: ignore[reportReturnType]


@jax.jit
def _stakes(weights, features, total) -> Array:
    return stream(_spread, weights, features) / total


def _spread(weights: Float[Array, " N K"], features: Float[Array, " M K"]) -> Float[Array, " N"]:
    """The best return less the worst, under each row of weights."""
    returns = features @ weights.T
    return jnp.max(returns, axis=0) - jnp.min(returns, axis=0)


def start_features(mdp: MDP) -> Float[Array, " K"]:
    """Expected features of the first step, averaged over actions where they depend on the action, `[K]`.

    Example:
        >>> import mdps
        >>> legend = {"S": "dirt", "g": "grass", "G": "goal"}
        >>> start_features(mdps.GridWorld.from_text("SgG", legend, horizon=4).mdp).tolist()
        [1.0, 0.0, 0.0]
    """
    return first_features(check_mdp(mdp))


def training_features(*proxies: Proxy) -> Float[Array, " K"]:
    """Mean features per visit of the proxy's plan in training, `[K]`; of several, the mean over their training maps.

    Example:
        >>> import jax.numpy as jnp, mdps
        >>> from ird import ProxyReward
        >>> legend = {"S": "dirt", ".": "dirt", "g": "grass", "G": "goal"}
        >>> train = mdps.GridWorld.from_text("S.G", legend, horizon=4)
        >>> rewards = jnp.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
        >>> proxy = ProxyReward(rewards[0], train.mdp, beta=2.0, alternatives=rewards)
        >>> training_features(proxy).tolist()
        [0.5, 0.0, 0.5]
    """
    check_proxies(proxies)
    return _mean_features([(p.feature_expectations, p.mdp.total_visits) for p in proxies])


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
    return _map_features(check_mdp(mdp))


def by_state(mdp: MDP) -> Array:
    """Features of each state, the mean over the actions that exist there where they depend on the action, `[S, K]`."""
    if mdp.features.ndim == 2:
        return mdp.features
    if mdp.available is None:
        return jnp.mean(mdp.features, axis=1)
    some = mdp.available[..., None].astype(mdp.features.dtype)
    return jnp.sum(some * mdp.features, axis=1) / jnp.sum(some, axis=1)


@jax.jit
def first_features(mdp: MDP) -> Array:
    """`start_features`, unchecked."""
    return mdp.initial @ by_state(mdp)


@jax.jit
def _mean_features(each) -> Array:
    return jnp.sum(jnp.stack([features / total for features, total in each]), axis=0) / len(each)


@jax.jit
def _map_features(mdp: MDP) -> Array:
    features, sink = by_state(mdp), mdp.layout.sink
    if sink is None:
        return jnp.mean(features, axis=0)
    real = jnp.arange(mdp.num_states) != sink
    return jnp.sum(features * real[:, None], axis=0) / (mdp.num_states - 1)


def check_units(units, log_weights: Array) -> Array:
    """Units, once they are known to be one positive number per sample."""
    units = check_array("units", units)
    if units.shape != log_weights.shape:
        raise ValueError(f"units has shape {units.shape}; give one number per sample, {log_weights.shape}.")
    if is_concrete(units) and (np.asarray(units) <= 0).any():
        i = int((np.asarray(units) <= 0).argmax())
        raise ValueError(
            f"units is {float(np.asarray(units)[i])} at index {i}; every unit must be positive (a sample to which all "
            "of training is alike has no stakes: leave it out of the belief)."
        )
    return units


def check_proxies(proxies: tuple, names: tuple[str, ...] = (), whose: str = "") -> None:
    """Raise unless there is one at least, all are proxies, and written for these features."""
    if not proxies:
        raise ValueError(
            "there is no proxy; give at least one proxy, after the MDP and the belief: its training map is what is "
            "measured."
        )
    for proxy in proxies:
        if not is_proxy(proxy):
            raise ValueError(
                f"a proxy is {shown(proxy)}; give a ProxyReward: the MDP comes first, then the belief, then proxies."
            )
        theirs = tuple(proxy.mdp.feature_names)
        if names and theirs != tuple(names):
            raise ValueError(
                f"the proxy was written for the features {theirs}, but {whose} {tuple(names)}; use maps with the same "
                "features in the same order, and the evidence that the belief was made from."
            )
