"""Whether draws are to be trusted: R-hat and effective sample sizes of chains, the tail of importance weights.

What is said of chains looks at ranks (Vehtari et al. 2021), so that it works for heavy tails and does not depend on the
scale; everything runs under `jit` and `vmap`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

__all__ = ["ConvergenceWarning", "chain_diagnostics", "ess_bulk", "ess_mean", "ess_tail", "pareto_k", "r_hat"]
__dir__ = __all__.copy

# The sequence of autocorrelations needs a few draws in each half of a chain.
_FEWEST = 8


class ConvergenceWarning(UserWarning):
    """A sampler's draws are not to be trusted yet; the message says why and what to do."""


def r_hat(chains: Float[Array, " C T"]) -> Float[Array, ""]:
    """Rank-normalised split R-hat, the larger of that of the draws and of their distance from the median.

    √(((n-1)/n W + B/n) / W) of the normal scores of the halves of C chains, with B and W the variance
    between and within (Vehtari, Gelman, Simpson, Carpenter & Bürkner 2021, eqs. 4, 14 and 15).  Below
    1.01 the chains agree; the second term notices chains that differ in spread alone.

    Args:
        chains: draws of one number, `[C, T]`.

    Returns:
        R-hat; NaN for fewer than 8 draws per chain or draws that never change.

    Example:
        >>> import jax
        >>> round(float(r_hat(jax.random.normal(jax.random.key(0), (4, 500)))), 2)
        1.0
    """
    return chain_diagnostics(chains)[0]


def ess_bulk(chains: Float[Array, " C T"]) -> Float[Array, ""]:
    """Effective sample size in the bulk of the distribution: what a mean or a median can rely on.

    That of the normal scores of the draws (Vehtari et al. 2021, section 4.1).

    Args:
        chains: draws of one number, `[C, T]`.

    Returns:
        How many independent draws they are worth; NaN for fewer than 8 per chain.
    """
    return chain_diagnostics(chains)[1]


def ess_tail(chains: Float[Array, " C T"]) -> Float[Array, ""]:
    """Effective sample size in the tails: the smaller of those of the 5 % and the 95 % quantile.

    Of a quantile q it is that of the indicator of draws at most q (Vehtari et al. 2021, section 4.3).

    Args:
        chains: draws of one number, `[C, T]`.

    Returns:
        How many independent draws they are worth; NaN for fewer than 8 per chain.
    """
    return chain_diagnostics(chains)[2]


@jax.jit
def ess_mean(chains: Float[Array, " C T"]) -> Float[Array, ""]:
    """Effective sample size of the mean of the draws themselves, not of their ranks: for a Monte Carlo error.

    Args:
        chains: draws of one number, `[C, T]`.

    Returns:
        How many independent draws they are worth; NaN for fewer than 8 per chain.
    """
    if chains.shape[1] < _FEWEST:
        return jnp.full((), jnp.nan, chains.dtype)
    return _worth(_halves(chains))


@jax.jit
def chain_diagnostics(chains: Float[Array, " C T ..."]) -> tuple[Array, Array, Array]:
    """R-hat, bulk and tail effective sample size of each number that was drawn, `[C, T, ...] -> [...]` each."""
    C, T, *shape = chains.shape
    if T < _FEWEST:
        unknown = jnp.full(shape, jnp.nan, chains.dtype)
        return unknown, unknown, unknown

    def one(chains):
        halves = _halves(chains)
        scores = jax.vmap(_normal_scores)(jnp.stack([halves, jnp.abs(halves - jnp.median(halves))]))
        # A draw is at most the interpolated quantile iff it is at most the order statistic below it, which rounding
        # cannot push past the next draw.
        ordered, last = jnp.sort(chains, axis=None), chains.size - 1
        within = [(halves <= ordered[int(q * last)]).astype(chains.dtype) for q in (0.05, 0.95)]
        bulk, *tails = jax.vmap(_worth)(jnp.stack([scores[0], *within]))
        return jnp.max(jax.vmap(_r_hat)(scores)), bulk, jnp.minimum(*tails)

    columns = jnp.moveaxis(chains.reshape(C, T, -1), 2, 0)
    found = jax.lax.map(one, columns)
    return found[0].reshape(shape), found[1].reshape(shape), found[2].reshape(shape)


def _halves(chains: Array) -> Array:
    """Each chain as two, `[C, T] -> [2C, T // 2]`, so that a drift within a chain shows as a difference."""
    half = chains.shape[1] // 2
    return jnp.concatenate([chains[:, :half], chains[:, chains.shape[1] - half :]])


def _normal_scores(chains: Array) -> Array:
    """Normal scores of the ranks of all draws; equal draws share their mean rank (Blom 1958)."""
    flat = chains.ravel()
    ordered = jnp.sort(flat)
    below = jnp.searchsorted(ordered, flat, side="left")
    upto = jnp.searchsorted(ordered, flat, side="right")
    rank = (below + upto + 1).astype(chains.dtype) / 2
    return jax.scipy.special.ndtri((rank - 3 / 8) / (flat.size + 1 / 4)).reshape(chains.shape)


def _r_hat(chains: Array) -> Array:
    n = chains.shape[1]
    within = jnp.mean(jnp.var(chains, axis=1, ddof=1))
    between = n * jnp.var(jnp.mean(chains, axis=1), ddof=1)
    return jnp.sqrt((between / within + n - 1) / n)


def _worth(chains: Array) -> Array:
    """C T / τ with τ from Geyer's initial monotone sequence over all chains (Vehtari et al. 2021, eqs. 10-13)."""
    C, n = chains.shape
    centred = chains - jnp.mean(chains, axis=1, keepdims=True)
    spectrum = jnp.abs(jnp.fft.rfft(centred, n=2 * n, axis=1)) ** 2
    covariance = jnp.mean(jnp.fft.irfft(spectrum, n=2 * n, axis=1)[:, :n], axis=0).astype(chains.dtype) / n
    within = covariance[0] * n / (n - 1)
    total = within * (n - 1) / n + (jnp.var(jnp.mean(chains, axis=1), ddof=1) if C > 1 else 0.0)
    rho = (1 - (within - covariance) / total).at[0].set(1.0)
    last = (n - 3) // 2
    even = rho[0 : 2 * last + 1 : 2]
    pairs = even + rho[1 : 2 * last + 2 : 2]
    # The sums of neighbours of a reversible chain are positive and decrease; stop at the first that is not positive.
    stop = jnp.where(jnp.any(pairs <= 0), jnp.argmax(pairs <= 0), last)
    summed = jnp.sum(jnp.where(jnp.arange(last + 1) < stop, jax.lax.cummin(pairs), 0.0))
    tau = jnp.maximum(-1 + 2 * summed + jnp.maximum(even[stop], 0.0), 1 / np.log10(C * n))
    # Draws that never change are all the same draw: they tell their value exactly.
    still = jnp.ptp(chains) == 0
    return jnp.where(still, C * n, C * n / tau)


@jax.jit
def pareto_k(log_ratios: Float[Array, " N"]) -> Float[Array, ""]:
    """Shape k of a generalised Pareto distribution fitted to the largest importance ratios.

    Vehtari, Simpson, Gelman, Yao & Gabry (2024), with the fit of Zhang & Stephens (2009) and its
    weak prior of ten draws at k = 0.5.  The variance of an estimate is finite for k < 0.5; above 0.7
    no practical number of draws gives a reliable one.

    Args:
        log_ratios: log importance ratios, up to a constant, `[N]`.

    Returns:
        k; `inf` where no more than four ratios stand out of the rest, and `-inf` where the whole tail is
        level: many draws share the largest ratio, so no few of them can dominate.

    Example:
        >>> import jax
        >>> heavy = 0.9 * jax.random.exponential(jax.random.key(0), (10_000,))  # ratios with Pareto tail k = 0.9
        >>> 0.7 < float(pareto_k(heavy)) < 1.1
        True
    """
    N = log_ratios.shape[0]
    size = max(min(int(np.ceil(min(0.2 * N, 3 * np.sqrt(N)))), N - 1), 1)
    top = jax.lax.top_k(log_ratios - jnp.max(log_ratios), min(size + 1, N))[0][::-1]
    cut = jnp.maximum(top[0], np.log(jnp.finfo(top.dtype).tiny))
    inside = top[1:] > cut if N > 1 else jnp.zeros(1, bool)
    x = jnp.where(inside, jnp.exp(top[1:] if N > 1 else top) - jnp.exp(cut), 0.0)
    n = jnp.sum(inside)
    k = _fit_pareto(x, inside, n, 30 + int(size**0.5))
    k = jnp.where(n > 4, (n * k + 5.0) / (n + 10.0), jnp.inf)
    # Ratios that share their largest value, as those of draws that explain the evidence fully, have no tail.
    level = top[0] > -64 * jnp.finfo(top.dtype).eps
    return jnp.where(level, -jnp.inf, k).astype(log_ratios.dtype)


def _fit_pareto(x: Array, inside: Array, n: Array, grid: int) -> Array:
    """Zhang & Stephens' profile-likelihood average for excesses `x`, ascending, those outside zero and first."""
    dtype = x.dtype
    m = 30 + jnp.floor(jnp.sqrt(n.astype(dtype)))  # points of the grid in use
    i = jnp.arange(1, grid + 1, dtype=dtype)
    quarter = x[jnp.clip(x.shape[0] - n + jnp.floor(n / 4 + 0.5).astype(n.dtype) - 1, 0, x.shape[0] - 1)]
    safe = lambda v: jnp.where(v > 0, v, 1.0)  # noqa: E731
    theta = 1 / safe(x[-1]) + (1 - jnp.sqrt(m / (i - 0.5))) / (3 * safe(quarter))

    def shape(t):
        return jnp.sum(jnp.where(inside, jnp.log1p(-t * x), 0.0)) / jnp.maximum(n, 1)

    k = jax.vmap(shape)(theta)
    log_profile = jnp.where(i <= m, n * (jnp.log(-theta / k) - k - 1), -jnp.inf)
    weight = jax.nn.softmax(log_profile)
    return shape(jnp.sum(jnp.where(weight >= 10 * jnp.finfo(dtype).eps, weight, 0.0) * theta))
