"""The upper backup's inner problem: which action should the human take for which θ?

The coordinator of a chosen robot action picks δ: Θ -> A_H to maximise

    Σ_a g_a(x_a),    x_a(θ) = b(θ) π(a | δ(θ)),    g_a(x) = Σ_θ x(θ) R(a, θ) + γ Σ_s' T(s') V̄(s', x)

(with an answer to each a where the human moves first).  There are |A_H|^|Θ| assignments; they are
searched one θ after another, keeping the `width` best partial ones.  A partial assignment is worth
at most its g on what is assigned, plus full information on the rest, because V(x + y) ≤ V(x) + V(y).
What falls out of the beam is remembered by the best such bound, so the result is an upper bound
whatever the width, and exact for V̄ where nothing that fell out was better than what is left.

All numbers are losses, not above 0, and nothing is subtracted that could cancel; what is divided or interpolated is
rounded to the safe side.  So a bound is off by a share of itself, which `backup` adds.

Axes are merged until no array has more than six: XLA's library for sums on a CPU (jaxlib 0.10) crashes beyond.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


class Ahead(NamedTuple):
    """What follows each pair of actions at K nodes; `O` robot actions outside, `I` answers inside, `O * I = A_R`.

    Attributes:
        paid: the reward, `[K, O, A_H, I, Θ]`.
        chance: discounted probability of each successor, `[K, O, A_H, I, E]`.
        informed: M there, `[K, O, A_H, I, E, m, Θ]`.
        points: beliefs at which a bound is known there, `[K, O, A_H, I, E, C, Θ]`.
        worth: the bounds, `[K, O, A_H, I, E, C]`.
    """

    paid: Float[Array, " K O AH I Theta"]
    chance: Float[Array, " K O AH I E"]
    informed: Float[Array, " K O AH I E M Theta"]
    points: Float[Array, " K O AH I E C Theta"]
    worth: Float[Array, " K O AH I E C"]

    def certain(self) -> Float[Array | np.ndarray, " K O AH Theta"]:
        """Q of the human's actions if the robot were told θ, `[K, O, A_H, Θ]`."""
        later = (self.chance[..., None] * self.informed.max(axis=5)).sum(axis=4)
        return (self.paid + later).max(axis=3)


class Assigned(NamedTuple):
    """The beam at the end.

    Attributes:
        action: δ of each assignment kept, `[K, O, W, Θ]`.
        bound: an upper bound on each, `[K, O, W]`; -inf where there are fewer.
        dropped: an upper bound on all the others, `[K, O]`; -inf where there are none.
    """

    action: Int[Array, " K O W Theta"]
    bound: Float[Array, " K O W"]
    dropped: Float[Array, " K O"]


def beliefs(
    belief: Float[Array, " ... Theta"], action: Int[Array, " ... Theta"], epsilon: Float[Array, ""], num_actions: int
) -> Float[Array, " ... AH Theta"]:
    """x_a(θ) = b(θ) [(1 - ε) 1{a = δ(θ)} + ε / A_H], `[..., A_H, Θ]`; leading axes broadcast."""
    chosen = action[..., None, :] == jnp.arange(num_actions)[:, None]
    return belief[..., None, :] * jnp.where(chosen, 1 - epsilon + epsilon / num_actions, epsilon / num_actions)


class _Sums(NamedTuple):
    """What partial assignments add up to, side by side in one array `[..., A_H, G]`, so that they move as one.

    First x_a · R for each answer, then x_a · M at the successors with x_a · max_m M last, then the largest λ with
    λ p ≤ x_a on the θ seen, for each known point.
    """

    shape: tuple[int, int, int, int]  # I, E, m, C

    @property
    def added(self) -> int:
        """How many of the numbers are sums; the rest are minima."""
        I, E, m, _ = self.shape
        return I * (1 + E * (m + 1))

    def tables(self, ahead: Ahead) -> Array:
        """What one unit of each θ adds to each number, `[K O, A_H, G, Θ]`; 1 / p(θ) to a share (or infinity)."""
        K, O, AH, *_, Theta = ahead.paid.shape
        corner = ahead.informed.max(axis=5, keepdims=True)
        inverse = jnp.where(ahead.points > 0, 1 / ahead.points, jnp.inf)
        parts = ahead.paid, jnp.concatenate([ahead.informed, corner], axis=5), inverse
        return jnp.concatenate([x.reshape(K * O, AH, -1, Theta) for x in parts], axis=2)

    def grown(self, sums: Array, mass: Array, table: Array) -> Array:
        """With more mass of one θ, `[..., A_H]`, whose table is `[..., A_H, G]`."""
        more = jnp.where(jnp.isinf(table), jnp.inf, mass[..., None] * table)
        return jnp.where(jnp.arange(table.shape[-1]) < self.added, sums + more, jnp.minimum(sums, more))

    def worth(self, sums: Array, chance: Array, saved: Array, closed: Array) -> Array:
        """g_a of partial assignments, `[n, A_H]`; a point counts once all its θ have been seen.

        Args:
            sums: `[n, A_H, G]`.
            chance: `[n, A_H I, E]`.
            saved: `[n, A_H I E, C]`.
            closed: `[n, A_H I E, C]`.
        """
        (n, AH, _), (I, E, m, C) = sums.shape, self.shape
        paid, told, share = jnp.split(sums, (I, self.added), axis=-1)
        told, share = told.reshape(n, -1, m + 1), share.reshape(n, -1, C)
        less = jnp.max(jnp.where(closed, share * saved, 0), axis=-1)
        bound = jnp.minimum(told[..., :-1].max(axis=-1), told[..., -1] - less).reshape(n, AH * I, E)
        return jnp.max(paid + jnp.sum(chance * bound, axis=-1).reshape(n, AH, I), axis=-1)


def assign(
    belief: Float[Array, " K Theta"],
    epsilon: Float[Array, ""],
    ahead: Ahead,
    order: Int[Array, " K Theta"],
    *,
    width: int,
) -> Assigned:
    """Search the assignments at each node, for each robot action outside.

    Args:
        belief: b, `[K, Θ]`.
        epsilon: the human's probability of a uniform draw; 0 for a rational one.
        ahead: what follows.
        order: the order in which the θ are assigned.
        width: partial assignments kept (static).
    """
    K, O, AH, I, E, C, Theta = ahead.points.shape
    L, eps, dtype = K * O, jnp.finfo(belief.dtype).eps, belief.dtype
    layout = _Sums((I, E, ahead.informed.shape[5], C))
    tables, full = layout.tables(ahead), ahead.certain()
    G = tables.shape[2]
    rest = belief[:, None] * ((1 - epsilon) * full.max(axis=2) + epsilon * full.mean(axis=2))  # [K, O, Θ]
    rest = jnp.take_along_axis(rest, order[:, None], axis=-1).reshape(L, Theta)
    remaining = jnp.cumsum(rest[:, ::-1], axis=-1)[:, ::-1]
    remaining = jnp.pad(remaining[:, 1:], ((0, 0), (0, 1)))  # what the θ after each may be worth
    points = ahead.points.reshape(L, -1, C, Theta)
    corner = jnp.sum(ahead.informed.max(axis=5).reshape(L, -1, 1, Theta) * points, axis=-1) * (1 + (Theta + 4) * eps)
    saved = jnp.maximum(corner - ahead.worth.reshape(L, -1, C), 0) * (1 - 16 * eps)  # [L, AH I E, C]
    place = jnp.argmax(order[:, None] == jnp.arange(Theta)[:, None], axis=-1)  # [K, Θ]
    last = jnp.max(jnp.where(points > 0, jnp.repeat(place, O, axis=0)[:, None, None], -1), axis=-1)  # [L, AH I E, C]
    others = 1 - jnp.eye(AH, dtype=dtype)
    ways = jnp.stack([1 - epsilon + epsilon / AH, epsilon / AH])
    # Both ways of every partial assignment: 2 W of them at each of L.
    spread = lambda x: jnp.broadcast_to(x[:, None], (L, 2 * width, *x.shape[1:])).reshape(-1, *x.shape[1:])  # noqa: E731
    chance, twice = spread(ahead.chance.reshape(L, AH * I, E)), spread(saved)

    def extend(carry, at):
        sums, action, alive, dropped = carry  # [L, W, AH, G], [L, W, Θ], [L, W], [L]
        nth, theta, after = at  # [], [L], [L]
        table = jnp.take_along_axis(tables, theta[:, None, None, None], axis=-1, mode="promise_in_bounds")[
            :, None, ..., 0
        ]
        mass = jnp.take_along_axis(jnp.repeat(belief, O, axis=0), theta[:, None], axis=1)  # [L, 1]
        # For every human action: as if θ took it, and as if θ did not.
        both = jnp.stack(
            [layout.grown(sums, (mass * way)[..., None], table) for way in ways], axis=1
        )  # [L, 2, W, AH, G]
        found = layout.worth(both.reshape(-1, AH, G), chance, twice, spread(last <= nth)).reshape(L, 2, width, AH)
        total = found[:, 1] @ others + found[:, 0] + after[:, None, None]
        total = jnp.minimum(total, alive[..., None])  # parents bound their children too
        best, which = _best(total.reshape(L, -1), width)
        parent, chosen = jax.lax.div(which, jnp.full_like(which, AH)), jax.lax.rem(which, jnp.full_like(which, AH))
        row = parent + jnp.arange(L, dtype=parent.dtype)[:, None] * width
        rows = lambda x: x.reshape(L * width, -1).at[row].get(mode="promise_in_bounds").reshape(x.shape)  # noqa: E731
        mine = mass[..., None] * jnp.where(chosen[..., None] == jnp.arange(AH), ways[0], ways[1])  # [L, W, AH]
        action = jnp.where(jnp.arange(Theta) == theta[:, None, None], chosen[..., None], rows(action))
        sums = layout.grown(rows(sums), mine, table)
        return (sums, action, best[:, :width], jnp.maximum(dropped, best[:, width])), None

    empty = jnp.broadcast_to(jnp.where(jnp.arange(G) < layout.added, 0, jnp.inf).astype(dtype), (L, width, AH, G))
    alone = jnp.broadcast_to(jnp.where(jnp.arange(width) == 0, jnp.inf, -jnp.inf).astype(dtype), (L, width))
    first = empty, jnp.zeros((L, width, Theta), jnp.int32), alone, jnp.full(L, -jnp.inf, dtype)
    steps = jnp.arange(Theta), jnp.repeat(order, O, axis=0).T, remaining.T
    (_, action, bound, dropped), _ = jax.lax.scan(extend, first, steps)
    return Assigned(action.reshape(K, O, width, Theta), bound.reshape(K, O, width), dropped.reshape(K, O))


def _best(total: Array, width: int) -> tuple[Array, Array]:
    """The best entries of `[L, n]` and one more, `[L, width + 1]`, and where the best are, `[L, width]`."""
    short = max(0, width + 1 - total.shape[-1])
    best, which = jax.lax.top_k(jnp.pad(total, ((0, 0), (0, short)), constant_values=-jnp.inf), width + 1)
    return best, jnp.minimum(which[:, :width], total.shape[-1] - 1).astype(jnp.int32)
