"""Zero-sum matrix games of low rank, by an interior-point method: the master problem of `plan`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

MOST_ITERATIONS = 60  # steps
NEAREST = 0.99  # share of the way to the boundary that a step may go


class _Iterate(NamedTuple):
    """Where the method is, and the best that it has seen."""

    v: Array  # [2, n] the players' mixtures, x and y
    level: Array  # [2] U and -t, which make the slacks `pay + level` positive
    best: Array  # [2, n] the mixtures of the smallest gap
    gap: Array  # that gap
    mu: Array  # mean product of an entry and its slack, one step before
    share: Array  # share of that to aim for
    stalled: Array  # steps in which it hardly shrank
    steps: Array


def equilibrium(
    table: Float[Array, " 2 n L"], used: Bool[Array, " 2 n"], target: Float[Array, ""]
) -> Float[Array, " 2 n"]:
    """Solve `max_x min_y yᵀ C Fᵀ x` over two simplices, to a gap of `target`.

    A primal-dual interior-point method.  Both players always stay feasible, so any iterate is usable,
    and its central, unpolished answers keep cutting planes from zigzagging (Gondzio, González-Brevis &
    Munari 2013).  With the slacks

        z = U - F Cᵀ y ≥ 0        s = C Fᵀ x - t ≥ 0

    the conditions of optimality are x∘z = 0, y∘s = 0, Σx = Σy = 1; on the central path the products are
    μ instead of 0.  Both players are alike: v = (x, y), w = (z, s), and with rows (f_j, 1, 0, 0) and
    (0, 0, c_m, 1) of a matrix A, w = A·(-Cᵀy, U, Fᵀx, -t).  Newton's step towards products σμ is

        dw = A δ,    dv = r - (v/w)∘dw,    r = σμ/w - v        δ = (-q, dU, p, -dt)

    where p = Fᵀdx and q = Cᵀdy, that is Aᵀdv = (p, 0, q, 0) = Z δ with a skew Z.  Together

        (Aᵀ diag(v/w) A + Z) δ = Aᵀ r

    are 2L equations, however many answers there are.  The rows of A are measured from the players' means,
    Fᵀx and Cᵀy, which moves dU and dt alone and keeps the matrix accurate near pure answers.  σ is small
    where the last step could go far (Wright 1997, chapter 5).

    Args:
        table: F and 1, what each answer of the first player, who maximises, collects, and C and 1, what each of
            the second pays for it, `[2, n, L]`.  What an answer pays by itself is one more column of it, of ones
            on the other side.  Rows that are no answers are 0.
        used: which rows are answers.
        target: the gap between what the players are sure of at which to stop; infinite: take all as equals.

    Returns:
        Their mixtures x and y, zero where no answer is.
    """
    dtype, L = table.dtype, table.shape[2]
    last, sign = np.arange(L) == L - 1, np.array([[-1], [1]], dtype)
    Z = np.zeros((2, L, 2, L), dtype)
    Z[0, range(L - 1), 1, range(L - 1)], Z[1, range(L - 1), 0, range(L - 1)] = 1, -1
    apart = np.eye(2, dtype=dtype)[:, None, :, None]
    number = jnp.sum(used).astype(dtype)

    def advance(now: _Iterate) -> _Iterate:
        v = now.v / jnp.sum(now.v, axis=1, keepdims=True)
        means = jnp.where(last, 0, jnp.einsum("pn,pnl->pl", v, table))  # Fᵀx and Cᵀy
        pay = sign * jnp.einsum("pnl,pl->pn", table, means[::-1])
        least = jnp.min(jnp.where(used, pay, jnp.inf), axis=1)
        gap = -jnp.sum(least)
        # Where rounding took a player out of the interior, move the value it aims at, not the player.
        level = jnp.maximum(now.level, jnp.where(now.steps == 0, gap / 2, now.mu / 10) - least)
        w = jnp.where(used, pay + level[:, None], 1)
        mu = jnp.sum(v * w) / number
        better = (gap < now.gap) & (mu > 0)  # no NaN: the least of NaNs need not be NaN on a CPU
        A = table - table[..., -1:] * means[:, None]
        r = jnp.where(used, now.share * mu / w - v, 0)
        weighed = A * (v / w)[..., None]
        newton = (jnp.einsum("pnk,pnl->pkl", weighed, A)[:, :, None] * apart + Z).reshape(2 * L, 2 * L)
        right = jnp.einsum("pn,pnl->pl", r, A).reshape(-1, 1)
        # Eliminated along with the matrix, the right-hand side needs no order of its rows.
        eliminated = jax.lax.linalg.lu(jnp.concatenate([newton, right], axis=1))[0]
        delta = jax.scipy.linalg.solve_triangular(eliminated[:, :-1], eliminated[:, -1]).reshape(2, L)
        dw = jnp.einsum("pnl,pl->pn", A, delta)
        dv = r - v / w * dw
        length = 1 / jnp.maximum(jnp.max(jnp.maximum(-dv / jnp.where(v > 0, v, 1), -dw / w)) / NEAREST, 1)
        return _Iterate(
            v=jnp.maximum(v + length * dv, 0),
            level=level + length * jnp.sum(jnp.where(last, delta, -delta * means), axis=1),
            best=jnp.where(better, v, now.best),
            gap=jnp.where(better, gap, now.gap),
            mu=mu,
            share=jnp.clip((1 - length) ** 2, 0.02, 0.8),
            stalled=now.stalled + ~(mu < 0.9 * now.mu),
            steps=now.steps + 1,
        )

    def unfinished(now: _Iterate):
        return (now.gap > target) & (now.stalled < 4) & (now.steps < MOST_ITERATIONS)

    far, none = jnp.asarray(jnp.inf, dtype), jnp.zeros((), jnp.int32)
    v = used.astype(dtype)
    start = _Iterate(v, jnp.asarray([-np.inf, -np.inf], dtype), v, far, far, jnp.asarray(0.3, dtype), none, none)
    return jax.lax.while_loop(unfinished, advance, start).best
