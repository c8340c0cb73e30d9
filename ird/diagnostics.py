"""How far importance weights can be trusted: the shape of their tail."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


@jax.jit
def pareto_shape(log_ratios: Float[Array, " N"]) -> Float[Array, ""]:
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
        >>> 0.7 < float(pareto_shape(heavy)) < 1.1
        True
    """
    N = log_ratios.shape[0]
    size = max(min(int(np.ceil(min(0.2 * N, 3 * np.sqrt(N)))), N - 1), 1)
    top = jax.lax.top_k(log_ratios - jnp.max(log_ratios), min(size + 1, N))[0][::-1]
    cut = jnp.maximum(top[0], np.log(jnp.finfo(top.dtype).tiny))
    inside = top[1:] > cut if N > 1 else jnp.zeros(1, bool)
    x = jnp.where(inside, jnp.exp(top[1:] if N > 1 else top) - jnp.exp(cut), 0.0)
    n = jnp.sum(inside)
    k = _fit(x, inside, n, 30 + int(size**0.5))
    k = jnp.where(n > 4, (n * k + 5.0) / (n + 10.0), jnp.inf)
    # Ratios that share their largest value, as those of draws that explain the evidence fully, have no tail.
    level = top[0] > -64 * jnp.finfo(top.dtype).eps
    return jnp.where(level, -jnp.inf, k).astype(log_ratios.dtype)


def _fit(x: Array, inside: Array, n: Array, grid: int) -> Array:
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
