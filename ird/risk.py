"""Risk measures: one number for an uncertain return, larger is better.

Every measure here is concave, and the worst case of an adversary who tilts the belief:

    ρ(R) = min over distributions λ with 0 ≤ λ ≤ largest(p) of Σ_i λ_i R_i + penalty(λ)

with `p` the belief's own probabilities.  `adversary` is the minimiser, `penalty` what it pays: the
certified planner in `ird.planning` needs these two, everyone else only `value`.
"""

import math
from dataclasses import dataclass, fields
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mdps.checks import is_concrete

UNEQUAL = 1e-3


def _unchecked(cls):
    """Register a dataclass of leaves; unflattening does not run `__init__`, since JAX passes placeholders."""
    names = [field.name for field in fields(cls)]

    def unflatten(_, leaves):
        risk = object.__new__(cls)
        for name, leaf in zip(names, leaves, strict=True):
            object.__setattr__(risk, name, leaf)
        return risk

    jax.tree_util.register_pytree_with_keys(
        cls,
        lambda risk: ([(jax.tree_util.GetAttrKey(name), getattr(risk, name)) for name in names], None),
        unflatten,
        lambda risk: ([getattr(risk, name) for name in names], None),
    )
    return cls


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


@jax.tree_util.register_dataclass
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
        return jnp.sum(returns * _like(returns, jnp.exp(log_weights)), axis=-1)

    def adversary(self, returns: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ... N"]:
        """The belief itself."""
        return jnp.broadcast_to(_like(returns, jnp.exp(log_weights)), returns.shape)

    def penalty(self, adversary: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ..."]:
        """Zero."""
        return jnp.zeros_like(adversary[..., 0])

    def largest(self, log_weights: Float[Array, " N"]) -> Float[Array, " N"]:
        """The belief itself."""
        return jnp.exp(log_weights)


@jax.tree_util.register_dataclass
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
        _check_equal(log_weights)
        lowest = jnp.argmin(jax.lax.stop_gradient(returns), axis=-1, keepdims=True)
        return jnp.take_along_axis(returns, lowest, axis=-1)[..., 0]

    def adversary(self, returns: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ... N"]:
        """All mass on the worst sample, shared among ties."""
        _check_equal(log_weights)
        least = jnp.min(returns, axis=-1, keepdims=True)
        # Within rounding: a compiler may compute what is compared twice, and not to the same bit.
        slack = jnp.where(jnp.isfinite(least), 4 * jnp.finfo(returns.dtype).eps * jnp.abs(least), 0)
        worst = (returns <= least + slack).astype(returns.dtype)
        return worst / jnp.sum(worst, axis=-1, keepdims=True)

    def penalty(self, adversary: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ..."]:
        """Zero."""
        return jnp.zeros_like(adversary[..., 0])

    def largest(self, log_weights: Float[Array, " N"]) -> Float[Array, " N"]:
        """One."""
        return jnp.ones_like(log_weights)


@_unchecked
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
        _check("alpha", alpha, lambda x: 0 < x <= 1, "it is a share of the probability, in (0, 1] (1 is the mean)")
        object.__setattr__(self, "alpha", alpha)

    def value(self, returns: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ..."]:
        """max_ν ν - (1/α) Σ_i p_i (ν - R_i)₊, attained at the α-quantile."""
        p, alpha = jnp.exp(log_weights).astype(returns.dtype), jnp.asarray(self.alpha, returns.dtype)
        below, share = _tail(returns, p, alpha)
        # As a mean of the samples at the quantile, ν passes them their part of the derivative.
        nu = jnp.sum(share * returns, axis=-1)
        short = jnp.where(below, nu[..., None] - returns, 0)
        return nu - jnp.sum(_like(returns, p) * short, axis=-1) / alpha

    def adversary(self, returns: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ... N"]:
        """p_i/α below the quantile, the rest at it (in proportion to p), nothing above."""
        p, alpha = jnp.exp(log_weights).astype(returns.dtype), jnp.asarray(self.alpha, returns.dtype)
        below, share = _tail(returns, p, alpha)
        full = jnp.where(below, _like(returns, p) / alpha, 0)
        rest = jnp.maximum(1 - jnp.sum(full, axis=-1, keepdims=True), 0)
        tilted = full + rest * share
        return tilted / jnp.sum(tilted, axis=-1, keepdims=True)

    def penalty(self, adversary: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ..."]:
        """Zero."""
        return jnp.zeros_like(adversary[..., 0])

    def largest(self, log_weights: Float[Array, " N"]) -> Float[Array, " N"]:
        """p_i/α, at most 1."""
        return jnp.minimum(jnp.exp(log_weights) / self.alpha, 1)


@_unchecked
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
        _check("weight", weight, lambda x: 0 <= x <= 1, "it weighs CVaR against the mean, in [0, 1]")
        _check("alpha", alpha, lambda x: 0 < x <= 1, "it is a share of the probability, in (0, 1] (1 is the mean)")
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "alpha", alpha)

    @property
    def tail(self) -> CVaR:
        """The CVaR that is mixed in."""
        risk = object.__new__(CVaR)
        object.__setattr__(risk, "alpha", self.alpha)
        return risk

    def value(self, returns: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ..."]:
        """(1-λ) Σ_i p_i R_i + λ CVaR_α(R)."""
        share = jnp.asarray(self.weight, returns.dtype)
        return (1 - share) * Mean().value(returns, log_weights) + share * self.tail.value(returns, log_weights)

    def adversary(self, returns: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ... N"]:
        """The same mixture of the belief and of CVaR's adversary."""
        share = jnp.asarray(self.weight, returns.dtype)
        mean, tail = Mean().adversary(returns, log_weights), self.tail.adversary(returns, log_weights)
        return (1 - share) * mean + share * tail

    def penalty(self, adversary: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ..."]:
        """Zero."""
        return jnp.zeros_like(adversary[..., 0])

    def largest(self, log_weights: Float[Array, " N"]) -> Float[Array, " N"]:
        """(1-λ) p_i + λ p_i/α, at most 1."""
        p = jnp.exp(log_weights)
        return jnp.minimum((1 - self.weight) * p + self.weight * p / self.alpha, 1)


@_unchecked
@dataclass(frozen=True, init=False)
class Entropic:
    """Exponential utility: `-(1/η) log Σ_i p_i exp(-η R_i)` (Howard & Matheson 1972).

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
        _check(
            "aversion",
            aversion,
            lambda x: 0 < x < math.inf,
            "it must be positive and finite, per unit of return (for no aversion use Mean())",
        )
        object.__setattr__(self, "aversion", aversion)

    def value(self, returns: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ..."]:
        """-(1/η) log Σ_i p_i exp(-η R_i)."""
        eta = jnp.asarray(self.aversion, returns.dtype)
        return -jax.nn.logsumexp(_like(returns, log_weights) - eta * returns, axis=-1) / eta

    def adversary(self, returns: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ... N"]:
        """λ_i ∝ p_i exp(-η R_i)."""
        eta = jnp.asarray(self.aversion, returns.dtype)
        return jax.nn.softmax(_like(returns, log_weights) - eta * returns, axis=-1)

    def penalty(self, adversary: Float[Array, " ... N"], log_weights: Float[Array, " N"]) -> Float[Array, " ..."]:
        """KL(λ‖p)/η; a sample without probability in the belief stays without."""
        used = adversary > 0
        log_ratio = jnp.log(jnp.where(used, adversary, 1)) - jnp.where(used, _like(adversary, log_weights), 0)
        return jnp.sum(adversary * log_ratio, axis=-1) / jnp.asarray(self.aversion, adversary.dtype)

    def largest(self, log_weights: Float[Array, " N"]) -> Float[Array, " N"]:
        """One where the belief has any probability."""
        return (log_weights > -jnp.inf).astype(log_weights.dtype)


def _like(returns: Array, row: Array) -> Array:
    """A row `[N]` with the rank and dtype of `returns` `[..., N]`."""
    return row.astype(returns.dtype).reshape((1,) * (returns.ndim - 1) + row.shape)


@jax.jit
def _tail(returns: Array, p: Array, alpha: Array) -> tuple[Array, Array]:
    """Which samples lie below the α-quantile, and the shares of those at it (by `p`, summing to one).

    The quantile is the least return with Σ_{R ≤ ν} p ≥ α.  It is found exactly, without sorting, one
    bit of its floating-point representation at a time: on a CPU that is several times faster than a sort.
    """
    unsigned = {4: jnp.uint32, 8: jnp.uint64}[returns.dtype.itemsize]
    bits = 8 * returns.dtype.itemsize
    raw = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(returns) + 0.0, unsigned)
    top = unsigned(1 << (bits - 1))
    # The usual order-preserving map of floats: flip all bits of negatives, the sign bit of the rest.
    key = jnp.where(raw >= top, ~raw, raw | top)
    p = _like(returns, p)

    def decide(i, nu):
        trial = nu | (top >> i.astype(unsigned))
        mass = jnp.sum(jnp.where(key < trial, p, 0), axis=-1, keepdims=True)
        return jnp.where(mass < alpha, trial, nu)

    nu = jax.lax.fori_loop(0, bits, decide, jnp.zeros_like(key[..., :1]))
    # Rounding may leave Σ p a little short of α = 1; the quantile is then the largest return that counts.
    nu = jnp.minimum(nu, jnp.max(jnp.where(p > 0, key, 0), axis=-1, keepdims=True))
    at = jnp.where(key == nu, p, 0)
    return key < nu, at / jnp.sum(at, axis=-1, keepdims=True)


def _check(name: str, x, allowed, why: str) -> None:
    """Raise unless a concrete parameter is allowed."""
    if is_concrete(x):
        values = np.asarray(x, np.float64)
        if not all(allowed(float(v)) for v in values.ravel()):
            raise ValueError(f"{name} is {x}; {why}.")


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
