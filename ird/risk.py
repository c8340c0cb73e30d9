"""Risk measures: one number for an uncertain return, larger is better.

Every measure here is concave, and the worst case of an adversary who tilts the belief:

    ρ(R) = min over distributions λ with 0 ≤ λ ≤ largest(p) of Σ_i λ_i R_i + penalty(λ)

with `p` the belief's own probabilities.  `adversary` is the minimiser, `penalty` what it pays: the
certified planner in `ird.planning` needs these two, everyone else only `value`.

A sample of probability 0 does not count, whatever its return, infinity and NaN included.  Rounding is
relative to the returns: no formula here loses more than a few ulps of the largest return that counts.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.beliefs import check_log_weights
from mdps.checks import check_array, check_number, is_concrete
from mdps.pytrees import frozen_pytree, set_fields

__all__ = ["CVaR", "Entropic", "Mean", "MeanCVaR", "Risk", "WorstCase"]
__dir__ = __all__.copy

UNEQUAL = 1e-3


class Risk(Protocol):
    """What a risk measure offers; a new one needs these four methods and nothing else."""

    def value(self, returns: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ..."]:
        """Risk-adjusted value of `N` sampled returns, in units of return."""
        ...

    def adversary(self, returns: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ... N"]:
        """The distribution λ over samples that attains the minimum: a supergradient of `value`."""
        ...

    def penalty(self, adversary: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ..."]:
        """What that distribution pays, so that `value = Σ λ R + penalty`; convex in λ."""
        ...

    def largest(self, log_weights: Float[Array, " N"]) -> Float[Array, " N"]:
        """The most probability the adversary may put on each sample."""
        ...


@frozen_pytree
@dataclass(frozen=True)
class Mean:
    """The expected return: no aversion to risk.

    Example:
        >>> import jax.numpy as jnp
        >>> float(Mean().value(jnp.array([0.0, 4.0]), jnp.log(jnp.array([0.5, 0.5]))))
        2.0
    """

    def value(self, returns: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ..."]:
        """Σ_i p_i R_i."""
        returns, log_weights = _given(returns, log_weights)
        p, returns = _counted(returns, log_weights)
        return jnp.sum(p * returns, axis=-1)

    def adversary(self, returns: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ... N"]:
        """The belief itself."""
        returns, log_weights = _given(returns, log_weights)
        return jnp.broadcast_to(_counted(returns, log_weights)[0], returns.shape)

    def penalty(self, adversary: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ..."]:
        """Zero."""
        return jnp.zeros_like(adversary[..., 0])

    def largest(self, log_weights: Float[Array, " N"]) -> Float[Array, " N"]:
        """The belief itself."""
        return _probabilities(log_weights)


@frozen_pytree
@dataclass(frozen=True)
class WorstCase:
    """The least return over equally weighted posterior draws (Hadfield-Menell et al. 2017, section 4).

    The draws are the assumption: twice as many draws reach further into the tail.  Unequal weights
    are refused, because a sample of negligible probability would count like any other and the
    evidence would be ignored; `belief.resample(n, key=key)` makes equally weighted draws.

    Example:
        >>> import jax.numpy as jnp
        >>> float(WorstCase().value(jnp.array([3.0, 1.0]), jnp.log(jnp.array([0.5, 0.5]))))
        1.0
    """

    def value(self, returns: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ..."]:
        """min_i R_i."""
        returns, log_weights = _given(returns, log_weights)
        _check_equal(log_weights)
        possible = _like(returns, log_weights) > -jnp.inf
        lowest = jnp.argmin(jnp.where(possible, jax.lax.stop_gradient(returns), jnp.inf), axis=-1, keepdims=True)
        return jnp.take_along_axis(returns, lowest, axis=-1)[..., 0]

    def adversary(self, returns: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ... N"]:
        """All mass on the worst sample, shared among ties."""
        returns, log_weights = _given(returns, log_weights)
        _check_equal(log_weights)
        possible = _like(returns, log_weights) > -jnp.inf
        least = jnp.min(jnp.where(possible, returns, jnp.inf), axis=-1, keepdims=True)
        # Within rounding: a compiler may compute what is compared twice, and not to the same bit.
        slack = jnp.where(jnp.isfinite(least), 4 * jnp.finfo(returns.dtype).eps * jnp.abs(least), 0)
        worst = (possible & (returns <= least + slack)).astype(returns.dtype)
        return worst / jnp.sum(worst, axis=-1, keepdims=True)

    def penalty(self, adversary: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ..."]:
        """Zero."""
        return jnp.zeros_like(adversary[..., 0])

    def largest(self, log_weights: Float[Array, " N"]) -> Float[Array, " N"]:
        """One where the belief has any probability."""
        return _possible(log_weights)


@frozen_pytree
@dataclass(frozen=True, init=False)
class CVaR:
    """Conditional value at risk: the mean of the worst share `alpha` of returns (Rockafellar & Uryasev 2000).

    `CVaR_α(R) = max_ν ν - (1/α) Σ_i p_i (ν - R_i)₊`, exact for weighted samples; 1 is the mean, and
    below the smallest weight it is the worst case over samples of positive weight.

    Attributes:
        alpha: share of the probability that counts, in (0, 1].

    Raises:
        ValueError: for `alpha` outside (0, 1].

    Example:
        >>> import jax.numpy as jnp
        >>> float(CVaR(0.5).value(jnp.array([1.0, 2.0, 3.0, 9.0]), jnp.log(jnp.full(4, 0.25))))
        1.5
    """

    alpha: float | Float[Array, ""]

    def __init__(self, alpha: float | Float[Array, ""]):
        set_fields(self, alpha=_share("alpha", alpha))

    def value(self, returns: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ..."]:
        """max_ν ν - (1/α) Σ_i p_i (ν - R_i)₊, attained at the α-quantile: Σ_i λ_i R_i."""
        returns, log_weights = _given(returns, log_weights)
        tilt, returns = self.adversary(returns, log_weights), _counted(returns, log_weights)[1]
        return jnp.sum(jnp.where(tilt == 0, 0, tilt * jnp.where(tilt == 0, 0, returns)), axis=-1)

    def adversary(self, returns: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ... N"]:
        """p_i/α below the quantile, the rest at it (in proportion to p), nothing above."""
        returns, log_weights = _given(returns, log_weights)
        (p, returns), alpha = _counted(returns, log_weights), jnp.asarray(self.alpha, returns.dtype)
        below, at = _tail(returns, p, alpha)
        full = jnp.where(below, p / alpha, 0)
        some = jnp.where(at, p, 0)
        taken, mass = jnp.sum(jnp.stack([full, some]), axis=-1, keepdims=True)
        # Where rounding leaves Σ p a little short of α = 1, nothing is at the quantile, and all is below.
        return full + jnp.maximum(1 - taken, 0) / jnp.where(mass > 0, mass, 1) * some

    def penalty(self, adversary: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ..."]:
        """Zero."""
        return jnp.zeros_like(adversary[..., 0])

    def largest(self, log_weights: Float[Array, " N"]) -> Float[Array, " N"]:
        """p_i/α, at most 1."""
        return jnp.minimum(_probabilities(log_weights) / self.alpha, 1)


@frozen_pytree
@dataclass(frozen=True, init=False)
class MeanCVaR:
    """A compromise, `(1-λ)·mean + λ·CVaR_α` (Brown, Niekum & Petrik 2020, "BROIL").

    Attributes:
        weight: λ, how much the tail counts, in [0, 1].
        alpha: share of the probability that makes up the tail, in (0, 1].

    Raises:
        ValueError: for a `weight` outside [0, 1] or `alpha` outside (0, 1].

    Example:
        >>> import jax.numpy as jnp
        >>> float(MeanCVaR(0.5, 0.5).value(jnp.array([0.0, 4.0]), jnp.log(jnp.array([0.5, 0.5]))))
        1.0
    """

    weight: float | Float[Array, ""]
    alpha: float | Float[Array, ""]

    def __init__(self, weight: float | Float[Array, ""], alpha: float | Float[Array, ""]):
        check_number("weight", weight, lambda x: 0 <= x <= 1, "it weighs CVaR against the mean, in [0, 1].")
        set_fields(self, weight=weight)
        set_fields(self, alpha=_share("alpha", alpha))

    @property
    def tail(self) -> CVaR:
        """The CVaR that is mixed in."""
        risk = object.__new__(CVaR)
        set_fields(risk, alpha=self.alpha)
        return risk

    def value(self, returns: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ..."]:
        """(1-λ) Σ_i p_i R_i + λ CVaR_α(R)."""
        returns, log_weights = _given(returns, log_weights)
        share = jnp.asarray(self.weight, returns.dtype)
        mean, tail = Mean().value(returns, log_weights), self.tail.value(returns, log_weights)
        return _times(1 - share, mean) + _times(share, tail)

    def adversary(self, returns: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ... N"]:
        """The same mixture of the belief and of CVaR's adversary."""
        returns, log_weights = _given(returns, log_weights)
        share = jnp.asarray(self.weight, returns.dtype)
        mean, tail = Mean().adversary(returns, log_weights), self.tail.adversary(returns, log_weights)
        return (1 - share) * mean + share * tail

    def penalty(self, adversary: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ..."]:
        """Zero."""
        return jnp.zeros_like(adversary[..., 0])

    def largest(self, log_weights: Float[Array, " N"]) -> Float[Array, " N"]:
        """(1-λ) p_i + λ p_i/α, at most 1."""
        p = _probabilities(log_weights)
        return jnp.minimum((1 - self.weight) * p + self.weight * p / self.alpha, 1)


@frozen_pytree
@dataclass(frozen=True, init=False)
class Entropic:
    """Exponential utility: `-(1/η) log Σ_i p_i exp(-η R_i)` (Howard & Matheson 1972).

    As η goes to 0 it goes to the mean, less η/2 times the variance, and is accurate all the way.

    Attributes:
        aversion: η > 0, per unit of return; near 0 the mean, large the worst case.

    Raises:
        ValueError: for an `aversion` that is not positive and finite.

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(Entropic(1.0).value(jnp.array([0.0, 1.0]), jnp.log(jnp.array([0.5, 0.5])))), 4)
        0.3799
    """

    aversion: float | Float[Array, ""]

    def __init__(self, aversion: float | Float[Array, ""]):
        cure = "it must be positive and finite, per unit of return (for no aversion use Mean())."
        check_number("aversion", aversion, lambda x: 0 < x < math.inf, cure)
        set_fields(self, aversion=aversion)

    def value(self, returns: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ..."]:
        """-(1/η) log Σ_i p_i exp(-η R_i).

        Measured from the least return m, with d_i = R_i - m: m - log1p(Σ p_i expm1(-η d_i)) / η.  Every
        term has one sign, so that nothing cancels, and 1/η multiplies no rounding.
        """
        returns, log_weights = _given(returns, log_weights)
        eta = jnp.asarray(self.aversion, returns.dtype)
        log_p, least, above = _above_the_least(returns, log_weights)
        saved = jnp.sum(jnp.exp(log_p) * _saved(above, eta), axis=-1)  # Σ p (1 - exp(-η d)) / η
        rest = jax.nn.logsumexp(log_p - eta * above, axis=-1)  # log(1 - η saved), accurate where that is small
        rare = rest < -0.7
        near = _log_ratio(jnp.where(rare, 0, -eta * saved)) * saved
        return least + jnp.where(rare, -rest / jnp.where(rare, eta, 1), near)

    def adversary(self, returns: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ... N"]:
        """λ_i ∝ p_i exp(-η R_i)."""
        returns, log_weights = _given(returns, log_weights)
        log_p, _, above = _above_the_least(returns, log_weights)
        return jax.nn.softmax(log_p - jnp.asarray(self.aversion, returns.dtype) * above, axis=-1)

    def penalty(self, adversary: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ..."]:
        """KL(λ‖p)/η; infinite where the belief has no probability and the adversary some.

        As Σ_i p_i [(1 + u) log(1 + u) - u] with u = λ_i/p_i - 1, which differs from it by (Σλ - 1)² and
        whose terms are not negative.  A u within 4 ulps of 1 counts as 0: λ is not known any better, and
        1/η times nothing is nothing.
        """
        log_p = _like(adversary, _normal(log_weights.astype(adversary.dtype)))
        p = jnp.exp(log_p)
        blur = 4 * jnp.finfo(adversary.dtype).eps
        u = jnp.where(p > 0, adversary / jnp.where(p > 0, p, 1) - 1, 1)
        u = jnp.sign(u) * jnp.maximum(jnp.abs(u) - blur, 0)
        small = jnp.abs(u) < 0.01
        v = jnp.where(small, u, 0)
        near = v * v * (1 / 2 - v * (1 / 6 - v * (1 / 12 - v * (1 / 20 - v * (1 / 30 - v / 42)))))
        some = adversary > 0
        log_ratio = jnp.log(jnp.where(some, adversary, 1)) - jnp.where(some, log_p, 0)
        far = jnp.where(some, adversary, 0) * log_ratio - adversary + p
        total = jnp.sum(jnp.where(small, p * near, far), axis=-1)
        return jnp.where(total == 0, 0, total / jnp.asarray(self.aversion, adversary.dtype))

    def largest(self, log_weights: Float[Array, " N"]) -> Float[Array, " N"]:
        """One where the belief has any probability."""
        return _possible(log_weights)


def _given(returns, log_weights) -> tuple[Array, Array]:
    """Returns and log weights as arrays, refused unless each return has a probability and these sum to one."""
    returns = check_array("returns", returns, finite=False)
    log_weights = check_array("log_weights", log_weights, finite=False)
    if log_weights.ndim != 1 or returns.shape[-1:] != log_weights.shape:
        raise ValueError(
            f"returns has shape {returns.shape} and log_weights {log_weights.shape}; give one return, and the "
            "logarithm of one probability, for each sample: [..., N] and [N]."
        )
    if is_concrete(log_weights):
        check_log_weights(np.asarray(log_weights))
    return returns, log_weights


def _like(returns: Array, row: Array) -> Array:
    """A row `[N]` with the rank and dtype of `returns` `[..., N]`."""
    return row.astype(returns.dtype).reshape((1,) * (returns.ndim - 1) + row.shape)


def _normal(log_weights: Array) -> Array:
    """Log weights whose sum of probabilities is one, `[N]`: what they lack of that is rounding."""
    return log_weights - jax.nn.logsumexp(log_weights)


def _probabilities(log_weights: Array) -> Array:
    """The probabilities, `[N]`."""
    p = jnp.exp(log_weights)
    return p / jnp.sum(p)


def _possible(log_weights: Array) -> Array:
    """1 where the belief has any probability, else 0."""
    return (log_weights > -jnp.inf).astype(log_weights.dtype)


def _counted(returns: Array, log_weights: Array) -> tuple[Array, Array]:
    """Probabilities, in the rank of the returns, and the returns, 0 where the probability is: it counts nothing."""
    p = _like(returns, _probabilities(log_weights.astype(returns.dtype)))
    return p, jnp.where(p == 0, 0, returns)


def _above_the_least(returns: Array, log_weights: Array) -> tuple[Array, Array, Array]:
    """Log probabilities, the least return of those above 0, `[...]`, and by how much each return lies above it."""
    log_p = _like(returns, _normal(log_weights.astype(returns.dtype)))
    never = log_p == -jnp.inf
    returns = jnp.where(never, 0, returns)
    least = jax.lax.stop_gradient(jnp.min(jnp.where(never, jnp.inf, returns), axis=-1, keepdims=True))
    above = jnp.where(jnp.isinf(least), jnp.where(returns == least, 0, jnp.inf), returns - least)
    return log_p, least[..., 0], jnp.where(never, 0, above)


def _saved(d: Array, eta: Array) -> Array:
    """(1 - exp(-η d)) / η, which is d - η d²/2 + ... as η goes to 0."""
    x = eta * d
    small = x < jnp.finfo(d.dtype).eps ** (1 / 3)
    y = jnp.where(small, x, 0)
    near = jnp.where(small, d, 0) * (1 - y * (1 / 2 - y / 6))
    return jnp.where(small, near, -jnp.expm1(-x) / jnp.where(small, 1, eta))


def _log_ratio(s: Array) -> Array:
    """log(1 + s) / s for -0.6 < s ≤ 0, by the series of 2 artanh(z) / s with z = s / (2 + s).

    Compilers simplify 1 + s - 1, and their logarithms lose up to a hundred ulps near one.
    """
    square = (s / (2 + s)) ** 2
    series = jnp.zeros_like(s)
    for k in range(22, -1, -1):
        series = series * square + 1 / (2 * k + 1)
    return 2 / (2 + s) * series


def _times(share: Array, value: Array) -> Array:
    """Their product, 0 where the share is: an infinite value that counts nothing is nothing."""
    nothing = (share == 0) & jnp.isinf(value)
    return share * jnp.where(nothing, 0, value)


@jax.jit
def _tail(returns: Array, p: Array, alpha: Array) -> tuple[Array, Array]:
    """Which samples lie below the α-quantile, and which at it.

    The quantile is the least return with Σ_{R ≤ ν} p ≥ α.  It is found exactly, without sorting, one
    bit of its floating-point representation at a time: on a CPU that is several times faster than a sort.
    """
    unsigned = {4: jnp.uint32, 8: jnp.uint64}[returns.dtype.itemsize]
    bits = 8 * returns.dtype.itemsize
    raw = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(returns) + 0.0, unsigned)
    top = unsigned(1 << (bits - 1))
    # The usual order-preserving map of floats: flip all bits of negatives, the sign bit of the rest.
    key = jnp.where(raw >= top, ~raw, raw | top)

    def decide(i, nu):
        trial = nu | (top >> i.astype(unsigned))
        mass = jnp.sum(jnp.where(key < trial, p, 0), axis=-1, keepdims=True)
        return jnp.where(mass < alpha, trial, nu)

    nu = jax.lax.fori_loop(0, bits, decide, jnp.zeros_like(key[..., :1]))
    return key < nu, key == nu


def _share(name: str, x):
    """`x`, refused unless it is a share of the probability whose inverse is a number too."""

    def allowed(share: float) -> bool:
        return float(np.finfo(jnp.result_type(float)).tiny) <= share <= 1

    check_number(name, x, allowed, "it is a share of the probability, in (0, 1] (1 is the mean).")
    return x


def _check_equal(log_weights) -> None:
    """Raise if concrete weights differ."""
    if is_concrete(log_weights):
        values = np.asarray(log_weights, np.float64)
        low, high = float(values.min()), float(values.max())
        if not high - low <= UNEQUAL:
            raise ValueError(
                f"WorstCase needs equally weighted draws, but these log weights run from {low:.4g} to {high:.4g}: "
                "the worst over weighted samples ignores the evidence. Call belief.resample(num_samples, key=key) "
                "first, or use CVaR, which counts the weights."
            )
