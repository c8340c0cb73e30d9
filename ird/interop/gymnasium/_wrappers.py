"""Wrappers of one environment: its features, and what an agent is paid for them."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ird.interop.gymnasium._library import Counting, check_counting, check_ended, check_factor, counted_row, library
from ird.planning import LeastExposurePay, LinearPay, Pay, PerStepPay
from mdps.checks import check_array, check_count, shown


def FeatureWrapper(env: Any, features: Counting, *, name: str = "features") -> Any:
    """An environment whose `info` holds the features of each step, so that runs can be counted wherever they are made.

    Use it inside a vector environment, `gymnasium.make_vec(..., wrappers=[lambda env: FeatureWrapper(env, f)])`: each
    environment then counts for itself, and whatever resets it cannot mix up two runs.

    Args:
        env: a `gymnasium.Env`.
        features: a function of (observation, action, next observation) that gives `[K]` numbers; or names of single
            numbers in `info`, which are then held together.
        name: under which `info` holds them, as an array `[K]` of float64.

    Returns:
        A `gymnasium.Wrapper`.

    Raises:
        ImportError: if gymnasium is not installed.
        ValueError: for what is no environment (a vector environment wraps each of its own), or no function; and when a
            step's features are not finite.

    Example:
        >>> import gymnasium
        >>> coasts = lambda before, action, after: [after[0], action == 1]
        >>> env = FeatureWrapper(gymnasium.make("MountainCar-v0"), coasts)
        >>> _ = env.reset(seed=0)
        >>> env.step(1)[-1]["features"].tolist()[1]
        1.0
    """
    library("FeatureWrapper")
    if not isinstance(name, str) or not name:
        raise ValueError(f"name is {shown(name)}; give the name under which info holds the features.")
    return _classes()[0](_check_env(env), check_counting(features), name)


def RewardWrapper(
    env: Any,
    reward: Pay | Callable[[Any], Any] | Any,
    *,
    features: Counting = "features",
    horizon: int | None = None,
    discount: float = 1.0,
    ended: str | None = "ended",
) -> Any:
    """An environment that pays what a belief says, in place of its own reward: what to train an agent on.

    The reward is one of `planning.pay_draw`, `pay_mean`, `pay_per_step` and `pay_least_exposure`, or weights `[K]`.
    Each step pays for its features.

    **What adds up.**  (Discounted) payments of a draw, of the mean and of weights add up to the return `w·φ`, ends
    included.  Those of `pay_least_exposure` add up to `K - λU` of the visits; that a plan must be worth its floor is no
    matter of visits, and is left to `planning.choose` among agents trained at several prices.  Those of `pay_per_step`
    add up to no more than the risk-adjusted return (of a coherent measure), which is not a sum over steps: no reward
    pays it.

    **Ends.**  Where an environment terminates, the visits after the end are paid at once, with the step that ends it:
    `Σ_{j=1}^{T-1-t} γ^j` times what a visit with the feature `ended` alone is paid (as in `rollouts`; with no horizon
    `γ/(1-γ)` times).  An agent that does not see the time can know this only as well as it knows the time.  Where a run
    is truncated nothing is paid: libraries go on from the value of the last observation.

    Args:
        env: a `gymnasium.Env`; wrap those of a vector environment one by one (`gymnasium.make_vec(wrappers=[...])`).
        reward: what a visit is paid: a function of features `[K]`, or weights `[K]`.
        features: as in `FeatureWrapper`; the name under which `info` holds them, when they are counted already.
        horizon: steps of a run, T; for what an end is paid.
        discount: γ of the agent, in (0, 1]; likewise.
        ended: the name of the last feature, which counts steps after an end; None: there is none, and an end pays
            nothing more.

    Returns:
        A `gymnasium.Wrapper`.  `info` holds what the environment itself paid ("env_reward") and the features
        ("features", those of `reward`).

    Raises:
        ImportError: if gymnasium is not installed.
        ValueError: for what is no environment or no reward, an end that would be paid for ever (neither a horizon nor a
            discount), a belief about other features, or a reward that is not finite.

    Example:
        >>> import gymnasium, jax.numpy as jnp
        >>> from ird import planning, posterior
        >>> belief = posterior.exact(candidates=jnp.array([[-1.0, 0.0], [-3.0, -2.0]]))  # of tilt, and of having fallen
        >>> env = RewardWrapper(
        ...     gymnasium.make("CartPole-v1"), planning.pay_mean(belief), horizon=200,
        ...     features=lambda before, action, after: [abs(after[2])],
        ... )
        >>> _ = env.reset(seed=0)
        >>> after, reward, *_ = env.step(0)
        >>> bool(abs(reward + 2 * abs(after[2])) < 1e-6)
        True
    """
    library("RewardWrapper")
    env, counted, ended = _check_env(env), check_counting(features), check_ended(ended)
    horizon, gamma = None if horizon is None else check_count("horizon", horizon), check_factor(discount)
    pay = _check_pay(reward)
    if ended is not None and horizon is None and gamma == 1:
        raise ValueError(
            "horizon is None and discount 1, so that what comes after an end would be paid for ever; give a horizon, a "
            "discount below 1, or ended=None where an end pays nothing more."
        )
    names = tuple(getattr(pay, "feature_names", ()))
    if ended is not None and names and names[-1] != ended and not names[-1].startswith("feature "):
        raise ValueError(
            f"reward is about the features {names}, of which the last is not {ended!r}: that counts the steps after an "
            "end; give its name as ended, or ended=None if nothing counts them."
        )
    return _classes()[1](env, _ready(pay), counted, horizon, gamma, ended is not None)


def _check_env(env) -> Any:
    import gymnasium

    if not isinstance(env, gymnasium.Env):
        raise ValueError(
            f"env is {shown(env)}; give one gymnasium environment, such as gymnasium.make('CartPole-v1') (of a vector "
            "environment wrap each: gymnasium.make_vec(..., wrappers=[lambda env: ...]))."
        )
    return env


def _check_pay(reward) -> Callable:
    """What a visit is paid, of features."""
    if callable(reward) and not isinstance(reward, type):
        return reward
    if reward is None or isinstance(reward, str | type) or not hasattr(reward, "__len__"):
        raise ValueError(
            f"reward is {shown(reward)}; give planning.pay_mean(belief), another of planning.pay_..., a function of "
            "features [K], or weights [K]."
        )
    weights = check_array("reward", reward)
    if weights.ndim != 1 or weights.size == 0:
        raise ValueError(f"reward has shape {weights.shape}; give one weight per feature, [K].")
    return LinearPay(weights)


def _ready(pay: Callable) -> Callable:
    """The same for one row after another: weights as NumPy has them, what is not linear compiled once for all."""
    if isinstance(pay, LinearPay):
        weights = np.asarray(pay.weights, float)

        def linear(row):
            if row.shape != weights.shape:
                raise ValueError(f"features has shape {row.shape}; reward has one weight per feature, {weights.shape}.")
            return row @ weights

        return linear
    if isinstance(pay, PerStepPay | LeastExposurePay):
        kind = type(getattr(pay, "risk", None))
        return lambda row: _paid_by(pay, row, kind=kind)
    return pay


@functools.partial(jax.jit, static_argnames="kind")
def _paid_by(pay, row, *, kind: type):
    """`kind` is the measure's class: JAX may take two classes for one (`mdps.pytrees`), should a user's be so made."""
    del kind
    return pay(row)


def _counted_in(counted: Callable | tuple[str, ...], before, action, after, info: dict) -> np.ndarray:
    """Features of one step, `[K]`."""
    if callable(counted):
        return counted_row(counted(before, action, after), "of a step")
    missing = [name for name in counted if name not in info]
    if missing:
        there = ", ".join(repr(name) for name in info) or "nothing"
        raise ValueError(
            f"features is {missing[0]!r}, which info does not hold (it holds {there}); wrap the environment in "
            "FeatureWrapper, or give a function of (observation, action, next observation)."
        )
    rows = [info[name] for name in counted]
    return counted_row(rows[0] if len(rows) == 1 else rows, "of a step")


@functools.cache
def _classes() -> tuple[type, type]:
    """The two wrappers, which are made where gymnasium is there."""
    import gymnasium

    class Featured(gymnasium.Wrapper):
        """Puts the features of each step into `info`."""

        def __init__(self, env, counted, name):
            super().__init__(env)
            self._counted, self._name, self._before = counted, name, None

        def reset(self, *, seed=None, options=None):
            observation, info = self.env.reset(seed=seed, options=options)
            self._before = copy.deepcopy(observation)
            return observation, info

        def step(self, action):
            after, paid, terminated, truncated, info = self.env.step(action)
            row = _counted_in(self._counted, self._before, action, after, info)
            self._before = copy.deepcopy(after)
            return after, paid, terminated, truncated, {**info, self._name: row}

    class Paid(Featured):
        """Pays for the features of each step, and at an end for the steps after it."""

        def __init__(self, env, pay, counted, horizon, gamma, ends):
            super().__init__(env, counted, "features")
            self._pay, self._horizon, self._gamma, self._ends, self._time = pay, horizon, gamma, ends, 0

        def reset(self, *, seed=None, options=None):
            self._time = 0
            return super().reset(seed=seed, options=options)

        def step(self, action):
            after, own, terminated, truncated, info = super().step(action)
            row = np.append(info["features"], 0.0) if self._ends else info["features"]
            paid = _payment(self._pay, row)
            if terminated and self._ends:
                paid += self._left() * _payment(self._pay, np.eye(len(row))[-1])
            self._time += 1
            return after, paid, terminated, truncated, {**info, "features": row, "env_reward": float(own)}

        def _left(self) -> float:
            """Σ γ^j over the steps after this one."""
            if self._horizon is None:
                return self._gamma / (1 - self._gamma)
            return float((self._gamma ** np.arange(1, max(self._horizon - self._time, 1))).sum())

    return Featured, Paid


def _payment(pay: Callable, row: np.ndarray) -> float:
    """What a visit is paid, one finite number."""
    paid = np.asarray(pay(row), float)
    if paid.size != 1 or not np.isfinite(paid).all():
        raise ValueError(f"reward gave {paid.tolist()} for a visit of features {row.tolist()}; it must be one number.")
    return float(paid.reshape(()))
