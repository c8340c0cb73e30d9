"""Whether Markov chains have mixed, and what their draws are worth (Vehtari et al. 2021).

Everything here looks at ranks, so that it works for heavy tails and does not depend on the scale,
and everything runs under `jit` and `vmap`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

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
    return diagnose(chains)[0]


def bulk_size(chains: Float[Array, " C T"]) -> Float[Array, ""]:
    """Effective sample size in the bulk of the distribution: what a mean or a median can rely on.

    That of the normal scores of the draws (Vehtari et al. 2021, section 4.1).

    Args:
        chains: draws of one number, `[C, T]`.

    Returns:
        How many independent draws they are worth; NaN for fewer than 8 per chain.
    """
    return diagnose(chains)[1]


def tail_size(chains: Float[Array, " C T"]) -> Float[Array, ""]:
    """Effective sample size in the tails: the smaller of those of the 5 % and the 95 % quantile.

    Of a quantile q it is that of the indicator of draws at most q (Vehtari et al. 2021, section 4.3).

    Args:
        chains: draws of one number, `[C, T]`.

    Returns:
        How many independent draws they are worth; NaN for fewer than 8 per chain.
    """
    return diagnose(chains)[2]


@jax.jit
def plain_size(chains: Float[Array, " C T"]) -> Float[Array, ""]:
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
def diagnose(chains: Float[Array, " C T ..."]) -> tuple[Array, Array, Array]:
    """R-hat, bulk and tail effective sample size of each number that was drawn, `[C, T, ...] -> [...]` each."""
    C, T, *shape = chains.shape
    if T < _FEWEST:
        unknown = jnp.full(shape, jnp.nan, chains.dtype)
        return unknown, unknown, unknown

    def one(chains):
        halves = _halves(chains)
        scores = jax.vmap(_scores)(jnp.stack([halves, jnp.abs(halves - jnp.median(halves))]))
        low, high = jnp.quantile(chains, jnp.asarray([0.05, 0.95], chains.dtype))
        within = [(halves <= q).astype(chains.dtype) for q in (low, high)]
        bulk, *tails = jax.vmap(_worth)(jnp.stack([scores[0], *within]))
        return jnp.max(jax.vmap(_r_hat)(scores)), bulk, jnp.minimum(*tails)

    columns = jnp.moveaxis(chains.reshape(C, T, -1), 2, 0)
    found = jax.lax.map(one, columns)
    return found[0].reshape(shape), found[1].reshape(shape), found[2].reshape(shape)


def _halves(chains: Array) -> Array:
    """Each chain as two, `[C, T] -> [2C, T // 2]`, so that a drift within a chain shows as a difference."""
    half = chains.shape[1] // 2
    return jnp.concatenate([chains[:, :half], chains[:, chains.shape[1] - half :]])


def _scores(chains: Array) -> Array:
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
