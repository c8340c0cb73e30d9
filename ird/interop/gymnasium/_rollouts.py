"""Runs of given policies in a vector environment: what each collects of every feature."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ird.interop.gymnasium._found import Rollouts
from ird.interop.gymnasium._library import (
    Counting,
    as_numbers,
    batched,
    check_counting,
    check_ended,
    check_factor,
    library,
)
from mdps.checks import check_count, check_names, check_truth, shown


def rollouts(
    envs: Any,
    policies: Callable | Sequence[Callable],
    *,
    features: Counting = "features",
    episodes: int,
    horizon: int,
    discount: float = 1.0,
    seed: int,
    feature_names: Sequence[str] | None = None,
    ended: str | None = "ended",
    keep_visits: bool = False,
) -> Rollouts:
    """Run each policy and add up what its runs collect: feature expectations with standard errors.

    Runs go side by side in the vector environment, which is reset before each round; a run that ended waits for the
    others, and what the environment goes on with there (its autoreset, in whichever mode) counts for nothing.  So
    every run counts that was begun, short or long, and runs are independent.  Run e of policy p is begun with the seed
    `seed + (p * rounds + e // n) * n` for a vector environment of n: in `SyncVectorEnv` and `AsyncVectorEnv` each of
    them gets one of its own.

    **Ended or cut off.**  A run that *terminated* is over.  For the steps that are left until the horizon, an own
    feature is 1, the last one, named by `ended`: all runs then have one number of visits, which evidence and offsets
    need, and "it ended early" is something that a reward can like or not.  A run that the environment *truncated* is
    not over, and what it would have collected is not known; before the horizon that is refused: give the environment
    as many steps (`max_episode_steps=horizon`), or take a smaller horizon (with a discount γ, what is left after T
    steps weighs γ^T).

    Args:
        envs: a `gymnasium.vector.VectorEnv`, such as `gymnasium.make_vec("CartPole-v1", num_envs=32)`; or one
            environment.  It is left open, after the last reset of the last policy.
        policies: a function of a batch of observations that gives a batch of actions, or a list of such.  Of one
            environment the batch has one row.
        features: what is counted in each step: a function of batches of (observation, action, next observation) that
            gives `[n, K]` (or `[n]`, for one feature); or the name under which `info` holds `[K]` numbers
            (`FeatureWrapper` puts them there as "features"); or names of single numbers in `info`.
        episodes: runs of each policy, E.
        horizon: steps of a run, T.
        discount: γ in (0, 1]; step t = 0, 1, ... counts γ^t.
        seed: where all chance of the environment begins; policies bring their own.
        feature_names: one name per feature, without the one for steps after an end; None: those in `info`, or "feature
            0", "feature 1", ...
        ended: name of the feature that counts steps after an end; None: nothing counts them.
        keep_visits: keep the features of every visit too, `[P, E·T, K]`: for `planning.choose(found.steps, belief,
            visits=found.often)`, which then knows which visits are unknown, and for
            `planning.pay_least_exposure(belief, met=found.steps)`.

    Returns:
        A `Rollouts`, all of it in NumPy and float64.

    Raises:
        ImportError: if gymnasium is not installed.
        ValueError: for arguments that are none, actions or features of another shape, features that are not finite, or
            a run that was truncated before the horizon.

    Example:
        >>> import gymnasium, numpy as np
        >>> envs = gymnasium.make_vec("CartPole-v1", num_envs=4, vectorization_mode="sync")
        >>> def tilt_and_place(observation, action, after):
        ...     return np.abs(after[..., [2, 0]])
        >>> lean = lambda observation: (observation[:, 2] + observation[:, 3] > 0).astype(int)
        >>> left = lambda observation: np.zeros(len(observation), int)
        >>> found = rollouts(envs, [lean, left], features=tilt_and_place, episodes=8, horizon=100, seed=0,
        ...                  feature_names=("tilt", "place"))
        >>> found.features.shape, found.feature_names, found.visits
        ((2, 3), ('tilt', 'place', 'ended'), 100.0)
        >>> bool(found.terminated[1].all()), bool(found.features[1, 2] > 85)  # who only pushes left soon falls
        (True, True)
    """
    gymnasium = library("rollouts")
    envs = _check_envs(gymnasium, envs)
    acts = _check_policies(policies)
    counted = check_counting(features)
    episodes, horizon = check_count("episodes", episodes), check_count("horizon", horizon)
    seed, gamma = check_count("seed", seed, least=0), check_factor(discount)
    if feature_names is None and isinstance(counted, tuple) and len(counted) > 1:
        feature_names = counted
    number = len(feature_names) if isinstance(feature_names, Sequence) else 1
    names = () if feature_names is None else check_names(feature_names, number)
    ended = check_ended(ended, names)
    _check_limit(envs, horizon)
    keep = check_truth("keep_visits", keep_visits)
    mode = _mode_of(gymnasium, envs)
    job = _Job(envs, counted, len(names), gamma ** np.arange(horizon), mode, ended is not None, keep)
    rounds = -(-episodes // envs.num_envs)
    each = []
    for p, act in enumerate(acts):
        begun = seed + p * rounds * envs.num_envs
        runs = [_side_by_side(job, act, f"policy {p}", begun + r * envs.num_envs) for r in range(rounds)]
        each.append([None if x[0] is None else np.concatenate(x)[:episodes] for x in zip(*runs, strict=True)])
        K = each[0][0].shape[1]
        if each[p][0].shape[1] != K:
            raise ValueError(f"features has {each[p][0].shape[1]} numbers with policy {p}, {K} with policy 0.")
    sums, lengths, over, steps = ([row[i] for row in each] for i in range(4))
    number = sums[0].shape[1] - (ended is not None)
    told = check_names(names, number) + (() if ended is None else (ended,))
    kept = often = None
    if keep:
        kept = np.stack(steps).reshape(len(acts), episodes * horizon, -1)
        alive = np.arange(horizon)[None, None] < np.stack(lengths)[:, :, None]
        often = np.where(alive | (ended is not None), job.weights[None, None] / episodes, 0).reshape(len(acts), -1)
    return Rollouts(
        np.stack(sums), np.stack(lengths), np.stack(over), horizon, gamma, told, ended is not None, kept, often
    )


@dataclass(frozen=True)
class _Job:
    """What every round of runs needs to know."""

    envs: Any
    counted: Callable | tuple[str, ...]
    number: int  # of features, 0 where it is not known yet
    weights: np.ndarray  # γ^t, [T]
    mode: str  # how the environments begin anew
    ends: bool  # whether steps after an end are counted
    keep: bool


def _side_by_side(job: _Job, act: Callable, who: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, Any]:
    """One run in each of the n environments: sums `[n, K]`, lengths `[n]`, whether it ended, visits `[n, T, K]`."""
    envs, T, n = job.envs, len(job.weights), job.envs.num_envs
    copied = getattr(envs.unwrapped, "copy", True)  # else the next step is written over this one
    observation, _ = envs.reset(seed=seed)
    running, lengths, over = np.ones(n, bool), np.full(n, T), np.zeros(n, bool)
    sums: np.ndarray | None = None
    visits = []
    for t in range(T):
        observation = observation if copied else copy.deepcopy(observation)
        with batched(f"{who} of policies", n):
            action = act(observation)
        action = _as_actions(envs, action, who)
        after, _, terminated, truncated, info = envs.step(action)
        terminated, truncated = np.asarray(terminated, bool), np.asarray(truncated, bool)
        rows = _rows(job, observation, action, after, terminated | truncated, info, running, f"{who}, step {t}")
        wanted = job.number if sums is None else sums.shape[1]
        if wanted and rows.shape[1] != wanted:
            named = "before" if sums is not None else "by feature_names"
            raise ValueError(f"features has {rows.shape[1]} numbers, but {wanted} {named} ({who}, step {t}).")
        sums = np.zeros(rows.shape) if sums is None else sums
        sums[running] += job.weights[t] * rows[running]
        if job.keep:
            visits.append(np.where(running[:, None], rows, 0))
        cut = running & truncated & ~terminated
        if cut.any() and t + 1 < T:
            raise ValueError(
                f"horizon is {T}, but the environment truncated a run after {t + 1} steps ({who}): what it would have "
                f"collected is not known; make it with max_episode_steps={T}, or give horizon={t + 1}."
            )
        stopped = running & terminated
        lengths[stopped], over[stopped] = t + 1, t + 1 < T
        running = running & ~(terminated | truncated)
        if not running.any():
            break
        observation = after
        if job.mode == "Disabled" and (terminated | truncated).any():
            observation, _ = envs.reset(options={"reset_mask": terminated | truncated})
    assert sums is not None  # a horizon is at least one step
    return _with_ends(job, sums, lengths), lengths, over, _padded(job, visits, lengths)


def _with_ends(job: _Job, sums: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Sums with the steps after an end as one more feature, where these count."""
    if not job.ends:
        return sums
    left = np.append(np.cumsum(job.weights[::-1])[::-1], 0)[lengths]
    return np.concatenate([sums, left[:, None]], axis=1)


def _padded(job: _Job, visits: list[np.ndarray], lengths: np.ndarray) -> np.ndarray | None:
    """Features of all visits, `[n, T, K]`, those after an end included; None where they are not kept."""
    if not job.keep:
        return None
    T = len(job.weights)
    held = np.stack(visits, axis=1)
    held = np.concatenate([held, np.zeros((len(held), T - held.shape[1], held.shape[2]))], axis=1)
    if not job.ends:
        return held
    after = np.arange(T)[None] >= lengths[:, None]
    return np.concatenate([held, after[..., None].astype(float)], axis=2)


def _rows(job: _Job, observation, action, after, last, info, running, where: str) -> np.ndarray:
    """Features of one step in every environment, `[n, K]`; zeros where a run is over."""
    n, same = job.envs.num_envs, job.mode == "SameStep"
    if callable(job.counted):
        arrived = _arrived(job.envs, after, last, info) if same else after
        with batched("features", n):
            found = job.counted(observation, action, arrived)
        found = as_numbers(found, where)
        if found.ndim not in (1, 2) or len(found) != n:
            raise ValueError(
                f"features gave an array of shape {found.shape} ({where}); give one row for each of the {n} "
                f"environments, [{n}, K]: write it with [..., 0] for the last axis."
            )
        found = found.reshape(n, -1)
    else:
        at = np.flatnonzero(running).tolist()
        told = [info.get("final_info", {}) if same and last[i] else info for i in at]
        rows = [[_from_info(held, name, i, where) for name in job.counted] for held, i in zip(told, at, strict=True)]
        held = as_numbers([row[0] if len(row) == 1 else row for row in rows], where)
        found = np.zeros((n, held[0].size))
        found[at] = held.reshape(len(at), -1)
    if not np.isfinite(found[running]).all():
        i = int(np.flatnonzero(running & ~np.isfinite(found).all(axis=1))[0])
        raise ValueError(
            f"features is {found[i].tolist()} ({where}, environment {i}); every feature of a visit must be finite."
        )
    return np.where(running[:, None], found, 0)


def _from_info(info: dict, name: str, i: int, where: str) -> Any:
    """What `info` holds for one environment."""
    given = np.asarray(info.get(f"_{name}", np.ones(i + 1, bool)))
    if name not in info or isinstance(info[name], dict) or not given[i]:
        there = ", ".join(repr(x) for x in info if isinstance(x, str) and not x.startswith("_")) or "nothing"
        raise ValueError(
            f"features is {name!r}, under which info holds no numbers ({where}, environment {i}; it holds {there}); "
            "wrap each environment in FeatureWrapper, or give a function of (observation, action, next observation)."
        )
    return info[name][i]


def _arrived(envs, after, last, info) -> Any:
    """Where steps led: of runs that are over the last observation, which "same step" hides behind the next run's."""
    if not last.any():
        return after
    from gymnasium.vector.utils import concatenate, create_empty_array, iterate

    rows = [info["final_obs"][i] if last[i] else row for i, row in enumerate(iterate(envs.observation_space, after))]
    single = envs.single_observation_space
    return concatenate(single, rows, create_empty_array(single, n=envs.num_envs))


def _as_actions(envs, action, who: str) -> Any:
    """A batch of actions as the environments take them; whole numbers are not made of fractions."""
    space = envs.action_space
    if isinstance(action, dict | tuple) or space.dtype is None or space.shape is None:
        return action
    given = np.asarray(action)
    if given.shape != space.shape:
        raise ValueError(
            f"{who} of policies gave actions of shape {given.shape}; give one for each of the {envs.num_envs} "
            f"observations, {space.shape}."
        )
    if np.issubdtype(space.dtype, np.integer) and given.dtype.kind not in "iub":
        raise ValueError(f"{who} of policies gave actions of {given.dtype}; these are whole numbers: give {space}.")
    return given.astype(space.dtype)


def _check_envs(gymnasium, envs) -> Any:
    """A vector environment, or one environment as a vector of one."""
    if isinstance(envs, gymnasium.vector.VectorEnv):
        return envs
    if isinstance(envs, gymnasium.Env):
        return gymnasium.vector.SyncVectorEnv([lambda: envs])
    raise ValueError(
        f"envs is {shown(envs)}; give a vector environment, such as gymnasium.make_vec('CartPole-v1', num_envs=32), or "
        "one environment."
    )


def _check_policies(policies) -> list[Callable]:
    given = list(policies) if isinstance(policies, list | tuple) else [policies]
    for act in given:
        if not callable(act) or isinstance(act, type):
            raise ValueError(
                f"policies holds {shown(act)}; give a function of a batch of observations that gives a batch of "
                "actions, or a list of such (of Stable-Baselines3: lambda observation: model.predict(observation)[0])."
            )
    if not given:
        raise ValueError("policies is empty; give at least one.")
    return given


def _check_limit(envs, horizon: int) -> None:
    """Refuse a horizon that the environment is known to cut."""
    inner = getattr(envs.unwrapped, "envs", None)
    spec = getattr(envs, "spec", None) or (getattr(inner[0], "spec", None) if inner else None)
    limit = getattr(spec, "max_episode_steps", None)
    if limit is not None and limit < horizon:
        raise ValueError(
            f"horizon is {horizon}, but the environment truncates runs after {limit} steps; make it with "
            f"max_episode_steps={horizon}, or give horizon={limit}."
        )


def _mode_of(gymnasium, envs) -> str:
    """How environments begin anew after an end."""
    mode = (getattr(envs, "metadata", None) or {}).get("autoreset_mode")
    try:
        return gymnasium.vector.AutoresetMode(mode).value
    except ValueError:
        raise ValueError(
            f"envs says nothing of how it begins anew (metadata['autoreset_mode'] is {shown(mode)}), so that the next "
            "run could pass for this one; set it to one of gymnasium.vector.AutoresetMode."
        ) from None
