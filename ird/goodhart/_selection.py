r"""Pressure by selection, exactly: best-of-n, and the policies that KL regularisation leads to, over listed outcomes.

With F(v) and f(v) the reference's probability of at most, and of exactly, the written reward v,

    P_n(v) = F(v)ⁿ - (F(v) - f(v))ⁿ        KL_n = Σ_v P_n(v) log P_n(v)/f(v)  <=  log n - (n - 1)/n

and outcomes of one v share P_n(v) as the reference does.  The bound is attained only without ties, by outcomes none of
which has a probability of its own (Beirami et al. 2025).
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.goodhart._curve import Curve, check_pressures
from mdps.checks import check_array, is_concrete

__all__ = ["best_of", "best_of_chances", "check_outcomes", "kl_bound", "regularised", "regularised_chances"]
__dir__ = __all__.copy

_NORMALISED = 1e-3  # what probabilities may miss one by: rounding of a million of them in float32


def best_of(
    returns_proxy: Float[Array, " M"] | np.ndarray | Any,
    returns_true: Float[Array, " M"] | np.ndarray | Any,
    log_weights: Float[Array, " M"] | np.ndarray | Any,
    n: Float[Array, " *P"] | np.ndarray | Any,
) -> Curve:
    r"""What the best of n draws is worth, judged by the written reward; exact, ties shared by the reference.

    Differentiable in both rewards' values, the log weights and n where no tie is made or broken; goes through `jit` and
    `vmap`.

    Args:
        returns_proxy: written reward of each outcome, `[M]`; only values that are equal to the bit are ties.
        returns_true: meant reward of each, `[M]`.
        log_weights: log probability of each under the reference, `[M]`; they sum to one (`-log(M)` for draws).
        n: how many are drawn, `[P]`, each at least 1; not only whole numbers.

    Returns:
        A `Curve`; its pressure is n, and KL is from the reference.

    Raises:
        ValueError: for arrays of other shapes, probabilities that do not sum to one, or n below 1.

    Example:
        >>> import numpy as np
        >>> value = np.arange(4.0)
        >>> curve = best_of(value, value, np.log(np.full(4, 0.25)), [1, 4])
        >>> [round(float(x), 4) for x in (*curve.true, curve.kl[1], kl_bound(4))]
        [1.5, 2.6172, 0.5903, 0.6363]
    """
    proxy, log_p = check_outcomes(returns_proxy, log_weights)
    true = _beside(returns_true, proxy)
    n = check_pressures("n", n, 1, "one draw is no pressure").astype(proxy.dtype)
    return _curve_of(_BEST, proxy, true, log_p, n)


def best_of_chances(
    returns_proxy: Float[Array, " M"] | np.ndarray | Any,
    log_weights: Float[Array, " M"] | np.ndarray | Any,
    n: Float[Array, ""] | float,
) -> Float[Array, " M"]:
    """The probability with which each outcome is the best of n draws, ties shared by the reference, `[M]`.

    Args:
        returns_proxy: written reward of each outcome, `[M]`.
        log_weights: log probability of each under the reference, `[M]`.
        n: how many are drawn, at least 1.

    Raises:
        ValueError: as `best_of`.

    Example:
        >>> import numpy as np
        >>> [round(float(x), 3) for x in best_of_chances([0.0, 1.0, 1.0], np.log([0.5, 0.125, 0.375]), 2.0)]
        [0.25, 0.188, 0.562]
    """
    proxy, log_p = check_outcomes(returns_proxy, log_weights)
    n = check_pressures("n", n, 1, "one draw is no pressure")
    if n.ndim:
        raise ValueError(f"n has shape {n.shape}; give one number, and use jax.vmap for several.")
    return _chances_under(_BEST, proxy, log_p, n.astype(proxy.dtype))


def regularised(
    returns_proxy: Float[Array, " M"] | np.ndarray | Any,
    returns_true: Float[Array, " M"] | np.ndarray | Any,
    log_weights: Float[Array, " M"] | np.ndarray | Any,
    temperatures: Float[Array, " *P"] | np.ndarray | Any,
) -> Curve:
    r"""What the policies are worth that maximise the written reward less τ times the KL from the reference.

        π_τ ∝ reference · exp(written / τ)

    At temperature 0 the reference shares what is best, which here is the limit, too.

    Args:
        returns_proxy: written reward of each outcome, `[M]`.
        returns_true: meant reward of each, `[M]`.
        log_weights: log probability of each under the reference, `[M]`.
        temperatures: τ, in units of the written reward, `[P]`; 0 for the hard optimum.

    Returns:
        A `Curve`; its pressure is 1/τ.

    Raises:
        ValueError: for arrays of other shapes, probabilities that do not sum to one, or a negative temperature.

    Example:
        >>> import numpy as np
        >>> curve = regularised([0.0, 1.0], [0.0, 1.0], np.log([0.5, 0.5]), [1.0, 0.0])
        >>> [round(float(x), 3) for x in curve.true]
        [0.731, 1.0]
    """
    proxy, log_p = check_outcomes(returns_proxy, log_weights)
    true = _beside(returns_true, proxy)
    taus = check_pressures("temperatures", temperatures, 0, "0 for the hard optimum, larger for less pressure")
    curve = _curve_of(_HELD, proxy, true, log_p, taus.astype(proxy.dtype))
    cold = curve.pressure == 0
    pressure = jnp.where(cold, jnp.inf, 1 / jnp.where(cold, 1, curve.pressure))
    return Curve(pressure, curve.proxy, curve.true, curve.kl, curve.span)


def regularised_chances(
    returns_proxy: Float[Array, " M"] | np.ndarray | Any,
    log_weights: Float[Array, " M"] | np.ndarray | Any,
    temperature: Float[Array, ""] | float,
) -> Float[Array, " M"]:
    """The probability of each outcome under the policy of `regularised` at one temperature, `[M]`.

    Args:
        returns_proxy: written reward of each outcome, `[M]`.
        log_weights: log probability of each under the reference, `[M]`.
        temperature: τ, 0 or more.

    Raises:
        ValueError: as `regularised`.

    Example:
        >>> import numpy as np
        >>> [round(float(x), 3) for x in regularised_chances([0.0, 1.0, 1.0], np.log([0.5, 0.125, 0.375]), 0.0)]
        [0.0, 0.25, 0.75]
    """
    proxy, log_p = check_outcomes(returns_proxy, log_weights)
    tau = check_pressures("temperature", temperature, 0, "0 for the hard optimum")
    if tau.ndim:
        raise ValueError(f"temperature has shape {tau.shape}; give one number, and use jax.vmap for several.")
    return _chances_under(_HELD, proxy, log_p, tau.astype(proxy.dtype))


def kl_bound(n: Float[Array, " *P"] | np.ndarray | Any) -> Float[Array, " *P"]:
    """The most that best-of-n can be away from its reference, log n - (n - 1)/n, in nats.

    Args:
        n: how many are drawn, one number or `[P]`, each at least 1.

    Raises:
        ValueError: for n below 1.
    """
    n = check_pressures("n", n, 1, "one draw is no pressure")
    return jnp.log(n) - (n - 1) / n


class _Ranked(NamedTuple):
    """Outcomes from the lowest written reward to the highest; what is equal is one group.

    Attributes:
        place: where each outcome stands among them, `[M]`.
        group: of each place, `[M]`.
        share: of the outcome at each place in its group, `[M]`.
        log_upto: log F of each group, `[M]`; -inf for what has no probability.
        log_below: log of (F - f)/F, `[M]`; -inf for the lowest.
    """

    place: Array
    group: Array
    share: Array
    log_upto: Array
    log_below: Array


def _ranked(proxy, log_p) -> _Ranked:
    order = jnp.argsort(proxy)
    value, p = proxy[order], jnp.exp(log_p)[order]
    group = jnp.cumsum(jnp.concatenate([jnp.zeros(1, bool), value[1:] != value[:-1]]))
    mass = jax.ops.segment_sum(p, group, num_segments=proxy.shape[0])  # f
    nothing, sums = jnp.zeros(1, mass.dtype), jnp.cumsum(mass)
    above = jnp.concatenate([jnp.cumsum(mass[::-1])[::-1][1:], nothing])
    some = mass > 0
    upto, below = jnp.where(some, sums, 1), jnp.concatenate([nothing, sums[:-1]])
    # From whichever side of one the sums are small, so that nothing cancels.
    low = upto < 0.5
    log_upto = jnp.where(low, jnp.log(upto), jnp.log1p(-jnp.where(low, 0, jnp.minimum(above, 0.5))))
    ahead = (below > 0) & (mass < upto)
    log_below = jnp.where(ahead, jnp.log1p(-jnp.where(ahead, mass / upto, 0)), -jnp.inf)
    share = p / jnp.where(some, mass, 1)[group]
    return _Ranked(jnp.argsort(order), group, share, jnp.where(some, log_upto, -jnp.inf), log_below)


def _best_of_at(ranked: _Ranked, n) -> Array:
    has, ahead = ranked.log_upto > -jnp.inf, ranked.log_below > -jnp.inf
    upto = jnp.where(has, jnp.exp(n * jnp.where(has, ranked.log_upto, 0)), 0)
    chance = upto * jnp.where(ahead, -jnp.expm1(n * jnp.where(ahead, ranked.log_below, 0)), 1)
    return (chance[ranked.group] * ranked.share)[ranked.place]


def _measured(proxy, log_p) -> tuple[Array, Array]:
    """Log probabilities, and how far each outcome that has any is below the best one."""
    possible = log_p > -jnp.inf
    best = jnp.max(jnp.where(possible, proxy, -jnp.inf))
    return log_p, jnp.where(possible, proxy - best, 0)


def _regularised_at(measured: tuple[Array, Array], tau) -> Array:
    log_p, above = measured
    warm = log_p + above / jnp.where(tau > 0, tau, 1)
    return jax.nn.softmax(jnp.where(tau > 0, warm, jnp.where(above == 0, log_p, -jnp.inf)))


# What is done once for all pressures, and what for each.
_BEST, _HELD = (_ranked, _best_of_at), (_measured, _regularised_at)


@functools.partial(jax.jit, static_argnames="kind")
def _chances_under(kind, proxy, log_p, pressure) -> Array:
    prepare, at = kind
    return at(prepare(proxy, log_p - jax.nn.logsumexp(log_p)), pressure)


@functools.partial(jax.jit, static_argnames="kind")
def _curve_of(kind, proxy, true, log_p, pressures) -> Curve:
    prepare, at = kind
    log_p = log_p - jax.nn.logsumexp(log_p)
    counts, prepared = log_p > -jnp.inf, prepare(proxy, log_p)
    log_known = jnp.where(counts, log_p, 0)

    def measured(pressure):
        q = at(prepared, pressure)
        some = q > 0
        kl = jnp.sum(jnp.where(some, q * (jnp.log(jnp.where(some, q, 1)) - log_known), 0))
        return jnp.sum(q * proxy), jnp.sum(q * true), jnp.maximum(kl, 0)

    proxies, trues, kls = (x.reshape(pressures.shape) for x in jax.lax.map(measured, jnp.ravel(pressures)))
    span = jnp.max(jnp.where(counts, true, -jnp.inf)) - jnp.min(jnp.where(counts, true, jnp.inf))
    return Curve(pressures, proxies, trues, kls, span)


def check_outcomes(proxy, log_weights, name: str = "returns_proxy") -> tuple[Array, Array]:
    """Written rewards and log probabilities, `[M]` each; these miss one by no more than rounding."""
    proxy = check_array(name, proxy)
    log_p = check_array("log_weights", log_weights, finite=False, dtype=proxy.dtype)
    if proxy.ndim != 1 or proxy.size == 0 or log_p.shape != proxy.shape:
        raise ValueError(
            f"{name} has shape {proxy.shape} and log_weights {log_p.shape}; give one number for each of M ≥ 1 "
            "outcomes, [M]."
        )
    if is_concrete(log_p):
        values = np.asarray(log_p, np.float64)
        total = float(np.exp(values).sum()) if not np.isnan(values).any() else np.nan
        if not abs(total - 1) <= _NORMALISED:
            raise ValueError(
                f"log_weights sum to a probability of {total:.6g}; they must sum to one: subtract "
                "jax.nn.logsumexp(log_weights), or give np.full(M, -np.log(M)) for M draws of the reference."
            )
    return proxy, log_p


def _beside(returns_true, proxy) -> Array:
    true = check_array("returns_true", returns_true)
    if true.shape != proxy.shape:
        raise ValueError(f"returns_true has shape {true.shape}; give one number per outcome, {proxy.shape}.")
    return true
