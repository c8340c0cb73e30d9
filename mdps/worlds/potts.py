"""Patchy random terrain: a Potts model whose terrains keep to given shares of the map.

The maps of Hadfield-Menell et al. (2017) are drawn from a likelihood of this kind: equal neighbours
are preferred, and departing from the wanted shares is penalised.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from mdps.checks import (
    check_array,
    check_count,
    check_indices,
    check_key,
    check_number,
    check_real,
    is_concrete,
    shown,
)

__all__ = ["Potts"]
__dir__ = __all__.copy


@dataclass(frozen=True)
class Potts:
    """A distribution over maps of terrain (Potts 1952, with a penalty on the counts of terrains).

        log P(m) = J #{neighbouring cells of equal terrain} - (κ/2) Σ_t (n_t(m) - r_t n)² + constant

    with n_t(m) of the map's n cells of terrain t, whose wanted share is r_t; neighbours share an edge.
    Without the penalty, patches of two terrains grow without limit at J = log(1 + √2) = 0.88.

    Attributes:
        coupling: J, the log odds of one more pair of equal neighbours.
        penalty: κ, per cell²; the counts of a terrain depart from its share by about 1/√κ.
        sweeps: how often every cell is drawn anew, given all others (Gibbs sampling), and then offered to
            another cell in exchange (Metropolis), from a start that is uniform at random.

    Example:
        >>> terrain = Potts().sample((0.7, 0.3), (6, 6), key=jax.random.key(0))
        >>> terrain.shape, bool(((terrain >= 0) & (terrain < 2)).all())
        ((6, 6), True)
    """

    coupling: float = 1.0
    penalty: float = 4.0
    sweeps: int = 40

    def __post_init__(self):
        check_number("coupling", self.coupling, cure="it must be a finite number.")
        check_number("penalty", self.penalty, lambda x: 0 <= x < math.inf, "it must be a finite number ≥ 0.")
        check_count("sweeps", self.sweeps)

    def log_probability(
        self, terrain: Int[Array, " H W"], shares: Sequence[float | Float[Array, ""]]
    ) -> Float[Array, ""]:
        """Log probability of a map, up to a constant.

        Args:
            terrain: terrain of each cell, an index into `shares`.
            shares: wanted share of the cells of each terrain, r.

        Example:
            >>> import jax.numpy as jnp
            >>> halves, checked = jnp.array([[0, 0], [1, 1]]), jnp.array([[0, 1], [1, 0]])
            >>> [float(Potts(coupling=1.0).log_probability(m, (0.5, 0.5))) for m in (halves, checked)]
            [2.0, 0.0]
        """
        r = _check_shares(shares)
        terrain = jnp.asarray(check_indices("terrain", terrain, len(r), "the shares", rank=2))
        wanted = r * terrain.size
        equal = jnp.sum(terrain[1:] == terrain[:-1]) + jnp.sum(terrain[:, 1:] == terrain[:, :-1])
        counts = _counts(terrain, len(shares))
        return self.coupling * equal - self.penalty / 2 * jnp.sum((counts - wanted) ** 2)

    def sample(
        self,
        shares: Sequence[float | Float[Array, ""]],
        shape: tuple[int, int],
        *,
        key: Key[Array, ""],
        allowed: Bool[Array, " H W Q"] | None = None,
    ) -> Int[Array, " H W"]:
        """Draw a map; runs inside `jit` and `vmap`.

        Args:
            shares: wanted share of the cells of each of the Q terrains; may be traced.
            shape: rows and columns (static).
            key: a `jax.random.key`.
            allowed: which terrains each cell may have, at least one; None for all.  The map is then drawn
                from the same distribution given that.

        Returns:
            Terrain of each cell, an index into `shares`.

        Raises:
            ValueError: for shares that are not in [0, 1] or sum to more than one, or a mask of the wrong
                shape or (where it is concrete) with a cell that may have no terrain.
        """
        r = _check_shares(shares)
        if not isinstance(shape, Sequence) or isinstance(shape, str) or len(shape) != 2:
            raise ValueError(f"shape is {shown(shape)}; give how many rows and columns, (H, W).")
        (H, W), Q = (check_count("shape", n) for n in shape), len(r)
        check_key(key)
        may_be = _check_allowed(allowed, (H, W, Q))
        wanted = r * (H * W)
        barred = jnp.where(may_be.reshape(H * W, Q), 0.0, -jnp.inf)
        terrains = jnp.arange(Q)

        def equal(padded, cell):
            """How many of a cell's neighbours are of each terrain, `[Q]`."""
            r, c = cell // W + 1, cell % W + 1
            near = jnp.stack([padded[r - 1, c], padded[r + 1, c], padded[r, c - 1], padded[r, c + 1]])
            return jnp.sum(near[:, None] == terrains[None], axis=0).astype(barred.dtype)

        def at(padded, cell):
            return padded[cell // W + 1, cell % W + 1]

        def put(padded, cell, terrain):
            return padded.at[cell // W + 1, cell % W + 1].set(terrain)

        def draw(i, now, noise):
            """One cell drawn given all others, by the Gumbel trick."""
            padded, counts = now
            others = counts - (at(padded, i) == terrains)
            logits = self.coupling * equal(padded, i) - self.penalty * (others - wanted + 0.5) + barred[i]
            new = jnp.argmax(logits + noise[i]).astype(padded.dtype)
            return put(padded, i, new), others + (new == terrains)

        def exchange(i, padded, partner, noise):
            """Two cells exchange their terrain, or not (Metropolis): the counts stay."""
            j = partner[i]
            a, b = at(padded, i), at(padded, j)
            swapped = put(put(padded, i, b), j, a)
            before = equal(padded, i)[a] + equal(padded, j)[b]
            after = equal(swapped, i)[b] + equal(swapped, j)[a]  # a pair that touches both counts twice in both
            accept = self.coupling * (after - before) + barred[i, b] + barred[j, a] >= noise[i]
            return put(put(padded, i, jnp.where(accept, b, a)), j, jnp.where(accept, a, b))

        def sweep(now, key):
            k_draw, k_partner, k_accept = jax.random.split(key, 3)
            noise = jax.random.gumbel(k_draw, (H * W, Q))
            padded, counts = jax.lax.fori_loop(0, H * W, lambda i, now: draw(i, now, noise), now)
            partner = jax.random.randint(k_partner, (H * W,), 0, H * W)
            level = -jax.random.exponential(k_accept, (H * W,))
            padded = jax.lax.fori_loop(0, H * W, lambda i, padded: exchange(i, padded, partner, level), padded)
            return (padded, counts), None

        first, later = jax.random.split(key)
        begin = jax.random.categorical(first, barred).astype(jnp.int32).reshape(H, W)
        padded = jnp.pad(begin, 1, constant_values=-1)
        (padded, _), _ = jax.lax.scan(sweep, (padded, _counts(begin, Q)), jax.random.split(later, self.sweeps))
        return padded[1:-1, 1:-1]


def _check_allowed(allowed, shape: tuple[int, int, int]) -> Bool[Array, " H W Q"]:
    """Which terrains each cell may have, at least one."""
    flags = np.ones(shape, bool) if allowed is None else allowed
    if not hasattr(flags, "dtype") or not jnp.issubdtype(flags.dtype, jnp.bool_):
        raise ValueError(f"allowed is {shown(flags)}; give flags, {shape}.")
    if flags.shape != shape:
        raise ValueError(f"allowed has shape {flags.shape}; with {shape[-1]} terrains it must be {shape}.")
    if is_concrete(flags) and not np.asarray(flags).any(axis=-1).all():
        r, c = (int(i) for i in np.argwhere(~np.asarray(flags).any(axis=-1))[0])
        raise ValueError(f"allowed leaves no terrain to the cell at row {r}, column {c}; allow at least one.")
    return jnp.asarray(flags)


def _check_shares(shares) -> Float[Array, " Q"]:
    """The shares as an array; those that are concrete are checked."""
    if isinstance(shares, str) or not hasattr(shares, "__len__"):
        raise ValueError(f"shares are {shown(shares)}; give one for each terrain.")
    each = [shares] if hasattr(shares, "dtype") else shares
    known = np.concatenate([np.ravel(check_real("shares", x)) for x in each if is_concrete(x)] or [np.zeros(0)])
    if not ((known >= 0) & (known <= 1)).all() or known.sum() > 1 + 1e-6:
        raise ValueError(f"shares are {shares}; each lies in [0, 1], and together they are at most 1.")
    shares = check_array("shares", shares, finite=False)
    if shares.ndim != 1 or shares.shape[0] < 1:
        raise ValueError(f"shares have shape {shares.shape}; give one for each terrain, [Q].")
    return shares


def _counts(terrain: Array, number: int) -> Array:
    """How many cells there are of each terrain."""
    return jnp.sum(terrain.reshape(-1, 1) == jnp.arange(number)[None], axis=0)
