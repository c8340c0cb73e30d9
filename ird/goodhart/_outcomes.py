"""Outcomes to select from: answers with features as an MDP of one state, and the runs of a small MDP."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.goodhart._curve import check_either, reward_table
from mdps.checks import check_array, check_count, check_mdp, check_policy, require_concrete
from mdps.mdp import MDP
from mdps.policies import uniform_policy


class Outcomes(NamedTuple):
    """What a policy may lead to: written and meant return of each, and the log of its probability, `[M]` each."""

    proxy: Float[Array, " M"]
    true: Float[Array, " M"]
    log_weights: Float[Array, " M"]


def answers(features: Float[Array, " M K"] | np.ndarray | Any, *, feature_names: Sequence[str] | None = None) -> MDP:
    """A choice among answers: an MDP of one state whose actions are the answers, and which ends after one.

    Whatever takes an MDP can be asked about them: `alignment.geometry`, `alignment.regret`, `by_temperature`, `along`;
    its uniform policy draws each answer alike.  With many answers `planning.plan_least_exposure` takes minutes
    to compile.

    Args:
        features: of each answer, `[M, K]`.
        feature_names: one name per feature.

    Returns:
        The MDP: features `[1, M, K]`, discount 0.

    Raises:
        ValueError: for features of another shape, or names that are not one for each.

    Example:
        >>> import jax.numpy as jnp, mdps
        >>> choice = answers([[1.0, 0.0], [0.0, 2.0]], feature_names=("short", "kind"))
        >>> mdps.solve(choice, choice.reward(jnp.array([1.0, 1.0]))).policy.tolist()
        [[0.0, 1.0]]
    """
    features = check_array("features", features)
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(f"features has shape {features.shape}; give those of M ≥ 1 answers, [M, K].")
    require_concrete("goodhart.answers", features=features)
    stays = np.ones((1, features.shape[0], 1))
    return MDP.from_dense(stays, np.asarray(features)[None], np.ones(1), discount=0.0, feature_names=feature_names)


def path_returns(
    mdp: MDP,
    proxy: Any,
    true: Any,
    *,
    policy: Float[Array, " ... S A"] | np.ndarray | None = None,
    most: int = 100_000,
) -> Outcomes:
    """Every run of a policy in a small MDP with a horizon: its returns and its probability, for `best_of`.

    On the host.  Runs that come to the same state with the same returns are one, so that few rewards and deterministic
    moves keep them few.

    Args:
        mdp: an MDP with a horizon.
        proxy: the written reward: weights `[K]`, a `ProxyReward`, or a table `[S]` or `[S, A]`.
        true: the meant one, likewise.
        policy: `[S, A]` or `[T, S, A]`; None: the one that acts at random.
        most: how many there may be at any time.

    Returns:
        `Outcomes(proxy [M], true [M], log_weights [M])`.

    Raises:
        ValueError: without a horizon, for what does not fit the MDP, or for more runs than `most`.
        TypeError: under `jit` or `vmap`.

    Example:
        >>> import mdps
        >>> grid = mdps.GridWorld.from_text("aSb", {"a": "left", "S": "mid", "b": "right"}, horizon=2, goal=None)
        >>> runs = path_returns(grid.mdp, grid.weights(left=1.0, right=1.0), grid.weights(left=1.0, right=-1.0))
        >>> [[round(float(x), 3) for x in each] for each in (runs.proxy, runs.true, jnp.exp(runs.log_weights))]
        [[0.0, 1.0, 1.0], [0.0, -1.0, 1.0], [0.5, 0.25, 0.25]]
    """
    check_mdp(mdp)
    most = check_count("most", most)
    if mdp.horizon is None:
        raise ValueError("mdp has no horizon, so that runs have no end; give it one: mdp.replace(horizon=T).")
    held = [check_either(mdp, name, x) for name, x in (("proxy", proxy), ("true", true))]
    policy = None if policy is None else check_policy(mdp, policy)
    tables = [reward_table(mdp, x) for x in held]
    policy = uniform_policy(mdp) if policy is None else policy
    require_concrete(
        "goodhart.path_returns", probability=mdp.probability, policy=policy, proxy=tables[0], true=tables[1]
    )
    chosen = np.broadcast_to(np.asarray(policy, np.float64), (mdp.horizon, mdp.num_states, mdp.num_actions))
    paid = np.stack([np.asarray(x, np.float64) for x in tables])
    # Returns are equal to nine places of the largest reward; a power of two, by which nothing is rounded.
    unit = 2.0 ** np.ceil(np.log2(np.maximum(np.abs(paid).max(axis=(1, 2)), np.finfo(float).tiny)))
    paid = paid / unit[:, None, None]
    to, p = np.asarray(mdp.next_state), np.asarray(mdp.probability, np.float64)
    now = {(s, 0.0, 0.0): float(x) for s, x in enumerate(np.asarray(mdp.initial, np.float64)) if x > 0}
    factor = 1.0
    for t in range(mdp.horizon):
        ahead: dict[tuple[int, float, float], float] = {}
        for (s, one, two), chance in now.items():
            for a in np.flatnonzero(chosen[t, s]):
                got = (round(one + factor * paid[0, s, a], 9), round(two + factor * paid[1, s, a], 9))
                for d in np.flatnonzero(p[s, a]):
                    key = (int(to[s, d]) if t + 1 < mdp.horizon else 0, *got)
                    ahead[key] = ahead.get(key, 0.0) + chance * chosen[t, s, a] * p[s, a, d]
        if len(ahead) > most:
            raise ValueError(f"there are {len(ahead)} runs by step {t + 1}, more than most={most}; draw some instead.")
        now, factor = ahead, factor * float(mdp.discount)
    rows = np.array(sorted((one, two, chance) for (_, one, two), chance in now.items()))
    dtype = mdp.probability.dtype
    chances = rows[:, 2] / rows[:, 2].sum()
    return Outcomes(*(jnp.asarray(x, dtype) for x in (unit[0] * rows[:, 0], unit[1] * rows[:, 1], np.log(chances))))
