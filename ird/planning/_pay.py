"""What a belief pays for a visit: rewards to train or to search against where there is no table to plan in.

An agent that is trained is paid step by step, and what it maximises is the (discounted) sum.  Of what the planners here
maximise, some is such a sum and some is not:

- a draw's return, and the mean: the sum of `w·φ_t` *is* `w·Σφ_t`;
- least exposure at a price λ, `K - λU`: both are sums over visits.  Its floor is not: it is a condition on whole runs;
- the risk-adjusted return `ρ(w·Σφ_t - c)` is no sum.  The risk-adjusted rewards `ρ(w·(φ_t - b))` add up to no more than
  it for every coherent measure (all of `ird.risk` but `Entropic`; c is w·b times the visits), and often to much less.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from ird.beliefs import Belief, check_samples, counting
from ird.blocks import in_blocks, rows_per_block
from ird.evidence.protocol import Evidence
from ird.planning._offsets import check_units
from ird.planning._risk_plan import check_risk
from ird.planning._unknown import Known, Visits, check_value, counted_from, known_of, left_of, size_of, visits_apart
from ird.risk import Risk
from mdps.checks import check_array, check_key, check_number, check_real, is_concrete
from mdps.pytrees import frozen_pytree, in_one_line


class Pay(Protocol):
    """What a visit is paid: any function of its features; those here also name them."""

    @property
    def feature_names(self) -> tuple[str, ...]: ...
    def __call__(self, features: Float[Array, " *B K"]) -> Float[Array, " *B"]: ...


@frozen_pytree
@dataclass(frozen=True, eq=False, repr=False)
class LinearPay:
    """`w·φ`, which adds up to the return under w.

    Attributes:
        weights: w, `[K]`, in reward per unit of a feature.
        feature_names: names of the features (static); none where nobody named them.
    """

    weights: Float[Array, " K"]
    feature_names: tuple[str, ...] = field(default=(), metadata={"static": True})

    __repr__ = in_one_line

    def __call__(self, features: Float[Array, " *B K"]) -> Float[Array, " *B"]:
        """What visits of these features are paid, `[..., K] -> [...]`."""
        return _linear(_check_visits(features, self.weights.shape[0]), self.weights)


@frozen_pytree
@dataclass(frozen=True, eq=False, repr=False)
class PerStepPay:
    """`ρ(w·(φ - b))`, which under a coherent measure adds up to no more than the risk-adjusted return.

    Attributes:
        weights: samples of w, in their units, `[N, K]`.
        log_weights: log probability of each, `[N]`.
        risk: the measure ρ.
        baseline: b, the features of an ordinary visit, `[K]`.
        feature_names: names of the features (static).
    """

    weights: Float[Array, " N K"]
    log_weights: Float[Array, " N"]
    risk: Risk
    baseline: Float[Array, " K"]
    feature_names: tuple[str, ...] = field(default=(), metadata={"static": True})

    __repr__ = in_one_line

    def __call__(self, features: Float[Array, " *B K"]) -> Float[Array, " *B"]:
        """What visits of these features are paid, `[..., K] -> [...]`."""
        features = _check_visits(features, self.weights.shape[1])
        return _risk_of_visits(features, self, kind=type(self.risk))


@frozen_pytree
@dataclass(frozen=True, eq=False, repr=False)
class LeastExposurePay:
    """`r - λu`: what a visit is worth by what is known, less the price of what is unknown about it.

    Attributes:
        what: what the evidence told, and what a visit is compared with.
        largest: the largest distance from a normal visit among those that may be met, `[E]`.
        price: λ, what one wholly unknown visit costs, in units of return.
        cut: share of a visit below which it counts as known.
        feature_names: names of the features (static).
    """

    what: Known
    largest: Float[Array, " E"]
    price: Float[Array, ""]
    cut: Float[Array, ""]
    feature_names: tuple[str, ...] = field(default=(), metadata={"static": True})

    __repr__ = in_one_line

    def __call__(self, features: Float[Array, " *B K"]) -> Float[Array, " *B"]:
        """What visits of these features are paid, `[..., K] -> [...]`."""
        worth, unknown = self.parts(features)
        return worth - self.price * unknown

    def parts(self, features: Float[Array, " *B K"]) -> tuple[Float[Array, " *B"], Float[Array, " *B"]]:
        """What visits are worth by what is known, and the share of each that is unknown, `[...]` both.

        A visit that is farther from all normal ones than any that was said to be met has a share above 1.
        """
        return _worth_and_unknown(_check_visits(features, self.num_features), self)

    @property
    def num_features(self) -> int:
        """K, the number of features."""
        return self.what.weights.shape[0]


def pay_mean(belief: Belief) -> LinearPay:
    """Pay each visit what it is worth on average under the belief, `E[w]·φ`.

    What is unknown counts as its average: an agent that is paid so takes any risk that pays on average.

    Args:
        belief: weight samples.

    Example:
        >>> import jax.numpy as jnp
        >>> from ird import posterior
        >>> belief = posterior.exact(candidates=jnp.array([[1.0, 0.0], [3.0, -2.0]]))
        >>> pay_mean(belief)(jnp.array([[1.0, 0.0], [0.0, 1.0]])).tolist()
        [2.0, -1.0]
    """
    weights, log_weights = check_samples(belief)
    return LinearPay(_mean_of(weights, log_weights), tuple(belief.feature_names))


def pay_draw(belief: Belief, *, key: Key[Array, ""]) -> LinearPay:
    """Pay each visit what it is worth under one draw of the belief, `w_i·φ`.

    Agents trained for several draws are options for `planning.choose`.

    Args:
        belief: weight samples.
        key: a `jax.random.key`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from ird import posterior
        >>> belief = posterior.exact(candidates=jnp.array([[1.0, 0.0], [3.0, -2.0]]))
        >>> paid = pay_draw(belief, key=jax.random.key(0))(jnp.array([1.0, 0.0]))
        >>> float(paid) in (1.0, 3.0)
        True
    """
    weights, log_weights = check_samples(belief)
    return LinearPay(weights[jax.random.categorical(check_key(key), log_weights)], tuple(belief.feature_names))


def pay_per_step(
    belief: Belief, *, risk: Risk, baseline: Float[Array, " K"], units: Float[Array, " N"] | None = None
) -> PerStepPay:
    """Pay each visit its risk-adjusted reward, `ρ(w·(φ - baseline))`: what `planning.plan_per_step` maximises.

    The adversary chooses again at every visit, so that under a coherent measure (all of `ird.risk` but `Entropic`) what
    is paid adds up to no more than the risk-adjusted return, which is not a sum over visits.  Where a goal is paid once
    and steps cost, an agent paid so may never go (`planning.plan_per_step`).

    Args:
        belief: weight samples and their log probabilities.
        risk: a measure from `ird.risk`.
        baseline: features of an ordinary visit, `[K]`, such as `planning.training_features(proxy)`.
        units: what one unit of each sample's return is, `[N]`, such as `planning.training_stakes(belief, proxy)`.

    Raises:
        ValueError: for a baseline or units of another shape, units that are not positive, or no measure of risk.

    Example:
        >>> import jax.numpy as jnp
        >>> from ird import posterior
        >>> from ird.risk import WorstCase
        >>> belief = posterior.exact(candidates=jnp.array([[1.0, 0.0], [3.0, -2.0]]))
        >>> paid = pay_per_step(belief, risk=WorstCase(), baseline=jnp.zeros(2))
        >>> paid(jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])).tolist()
        [1.0, -2.0, 1.0]
    """
    weights, log_weights = check_samples(belief)
    baseline = check_array("baseline", baseline)
    if baseline.shape != weights.shape[1:]:
        raise ValueError(
            f"baseline has shape {baseline.shape}; give the features of one ordinary visit, {weights.shape[1:]}."
        )
    units = None if units is None else check_units(units, log_weights)
    check_risk(risk, weights, log_weights)
    [weights] = counting(log_weights, weights if units is None else weights / units[:, None])
    return PerStepPay(weights, log_weights, risk, baseline.astype(weights.dtype), tuple(belief.feature_names))


def pay_least_exposure(
    belief: Belief,
    *evidence: Evidence,
    met: Float[Array, " *V K"] | np.ndarray,
    visits: float | Float[Array, ""] | None = None,
    price: float | Float[Array, ""] | None = None,
    give_up: float | Float[Array, ""] = 0.7,
    cut: float | Float[Array, ""] = 0.05,
    value: Float[Array, " K"] | None = None,
) -> LeastExposurePay:
    """Pay each visit what it is worth by what is known, less a price for what is unknown about it: `r - λu`.

    What `planning.plan_least_exposure` maximises, `K - λU`, is the sum of it.  There λ follows from a floor, `K >= K* -
    give_up · stake`, which is a condition on whole runs that no pay for visits can keep.  Here λ is given: train at
    several prices, roll out what was trained, and let `planning.choose` keep the floor.

    Args:
        belief: a `Posterior`, which keeps what its evidence was able to tell.
        *evidence: the evidence, where the belief does not keep it.
        met: features of visits that may be met, `[..., K]`, such as the steps of a few rollouts in the place where the
            agent will act.  The largest of them is what all are measured by, as in `planning.unknown`.
        visits: how many (discounted) visits a run has; for the default price.
        price: λ, what one wholly unknown visit costs, in units of return.  None: `give_up · stake`, all that may be
            given up, where the stake is what the proxy's plan gained in training in so many visits.
        give_up: share of the stake; for the default price.
        cut: share of a visit below which it counts as known.
        value: weights that what is known is valued by, `[K]`, as in `plan_least_exposure`.

    Raises:
        ValueError: for features of another number than the belief has, numbers out of range, neither a price nor
            visits, evidence that shows no behaviour from which a price could follow, or a stake of nothing.

    Example:
        >>> import jax, jax.numpy as jnp, numpyro.distributions as dist
        >>> from ird import ProxyReward, posterior
        >>> rewards = jax.random.normal(jax.random.key(0), (50, 3)).at[0].set(jnp.array([1.0, -1.0, 0.0]))
        >>> likes = jax.nn.softmax(4 * rewards[:, :2])  # ten steps; nobody ever came by the third
        >>> collected = 10 * jnp.concatenate([likes, jnp.zeros((50, 1))], axis=1)
        >>> proxy = ProxyReward.from_features(0, alternatives=rewards, features=collected, visits=10)
        >>> prior = dist.Normal(0.0, 1.0).expand([3]).to_event(1)
        >>> belief = posterior.importance(proxy, prior=prior, num_samples=1000, key=jax.random.key(1))
        >>> paid = pay_least_exposure(belief, met=jnp.eye(3), visits=10)
        >>> first, second, third = (float(x) for x in paid(jnp.eye(3)))
        >>> first > second > third
        True
    """
    met = check_real("met", met)
    if met.ndim < 1 or met.size == 0:
        raise ValueError(f"met has shape {met.shape}; give the features of visits that may be met, [..., K].")
    met = check_array("met", met)
    if met.shape[-1] != check_samples(belief)[0].shape[1]:
        raise ValueError(
            f"met has {met.shape[-1]} columns, but the belief is about {belief.weights.shape[1]} features "
            f"{tuple(belief.feature_names)}; give one column per feature, in that order."
        )
    # Nothing is computed before everything is checked.
    flat = (np.asarray(met) if is_concrete(met) else met).reshape(-1, met.shape[-1])
    dtype = jnp.result_type(belief.weights, met)
    value = None if value is None else check_value(value, jax.ShapeDtypeStruct(belief.weights.shape[1:], dtype))
    shares = {"give_up": (give_up, lambda x: 0 < x <= 1, "it is a share of what is at stake, in (0, 1].")}
    shares["cut"] = (cut, lambda x: 0 <= x < 1, "it is a share of a visit and must lie in [0, 1).")
    give_up, cut = (check_number(name, *told, dtype=dtype) for name, told in shares.items())
    if price is not None:
        cure = "it is what one wholly unknown visit costs, in units of return: give a number ≥ 0."
        price = check_number("price", price, lambda x: 0 <= x < np.inf, cure, dtype=dtype)
    elif visits is None:
        raise ValueError("visits is None, and price too; give how many (discounted) visits a run has, or a price.")
    if visits is not None:
        cure = "it is how many (discounted) visits a run has and must be positive and finite."
        visits = check_number("visits", visits, lambda x: 0 < x < np.inf, cure, dtype=dtype)
    every = Visits(flat, np.full(flat.shape[0], 1 / flat.shape[0], flat.dtype))  # pyright: ignore[reportArgumentType]
    known = known_of(every, belief, *evidence, value=value)
    price = _all_that_may_be_given(known, visits, give_up) if price is None else price
    return LeastExposurePay(known, _largest_of(flat, known), price, cut, tuple(belief.feature_names))


def _all_that_may_be_given(known: Known, visits, give_up) -> Array:
    """The default price; refused where there is nothing it could follow from."""
    cure = "give a price, what one wholly unknown visit costs in units of return."
    if known.gains.shape[0] == 0:
        raise ValueError(f"price is None, but this evidence shows no behaviour from which a stake follows; {cure}")
    given = give_up * visits * jnp.mean(known.gains @ known.weights)
    if is_concrete(given) and not float(given) > 0:
        raise ValueError(f"price is None, but by what is known the proxy's plan gained nothing in training; {cure}")
    return jnp.where(given > 0, given, jnp.nan)


def _check_visits(features, number: int) -> Array:
    """Features of visits, `[..., K]`."""
    features = check_array("features", features)
    if features.ndim < 1 or features.shape[-1] != number:
        raise ValueError(f"features has shape {features.shape}; give one number per feature last, [..., {number}].")
    return features


@jax.jit
def _mean_of(weights, log_weights) -> Array:
    [weights] = counting(log_weights, weights)
    return jnp.matmul(jnp.exp(log_weights), weights, precision=jax.lax.Precision.HIGHEST)


@jax.jit
def _linear(features, weights) -> Array:
    return jnp.matmul(features, weights, precision=jax.lax.Precision.HIGHEST)


def _by_row(function: Callable[[Array], Any], features: Array, columns: int) -> Any:
    """A function of rows, over all axes but the last."""
    flat = features.reshape(-1, features.shape[-1])
    found = in_blocks(function, flat, rows_per_block(columns))
    return jax.tree.map(lambda x: x.reshape(features.shape[:-1]), found)


@functools.partial(jax.jit, static_argnames="kind")
@jax.default_matmul_precision("highest")
def _risk_of_visits(features, pay: PerStepPay, kind: type) -> Array:
    """`kind` is the measure's class: JAX may take two classes for one (`mdps.pytrees`), should a user's be so made."""
    del kind

    def each(rows):
        return pay.risk.value((rows - pay.baseline[None]) @ pay.weights.T, pay.log_weights)

    return _by_row(each, features, pay.weights.shape[0])


@jax.jit
def _largest_of(flat, known: Known) -> Array:
    size = rows_per_block(2 * known.normal.size)
    return jnp.max(in_blocks(lambda rows: size_of(visits_apart(rows, known.normal), known), flat, size), axis=0)


@jax.jit
@jax.default_matmul_precision("highest")
def _worth_and_unknown(features, pay: LeastExposurePay) -> tuple[Array, Array]:
    known = pay.what

    def each(rows):
        u = counted_from(left_of(visits_apart(rows, known.normal), known), pay.largest, known, pay.cut)
        r = (rows - known.reference[None]) @ known.weights
        return jnp.where(u > 0, jnp.minimum(r, 0), r), u

    return _by_row(each, features, 2 * known.normal.size)
