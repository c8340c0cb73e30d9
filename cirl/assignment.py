"""The upper backup's inner problem: which action should the human take for which θ?

The coordinator of a chosen robot action picks δ: Θ -> A_H to maximise

    Σ_a g_a(x_a),    x_a(θ) = b(θ) π(a | δ(θ)),    g_a(x) = Σ_θ x(θ) R(a, θ) + γ Σ_s' T(s') V̄(s', x)

(with an answer to each a where the human moves first).  There are |A_H|^|Θ| assignments; they are
searched one θ after another, keeping the `width` best partial ones.  A partial assignment is worth
at most its g on what is assigned, plus full information on the rest, because V(x + y) ≤ V(x) + V(y).
What falls out of the beam is remembered by the best such bound, so the result is an upper bound
whatever the width, and exact for V̄ where nothing that fell out was better than what is left.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Ahead(NamedTuple):
    """What follows each pair of actions at one node; `O` robot actions outside, `I` answers inside, `O * I = A_R`.

    Attributes:
        paid: the reward, `[O, A_H, I, Θ]`.
        chance: discounted probability of each successor, `[O, A_H, I, E]`.
        informed: M there, `[O, A_H, I, E, m, Θ]`.
        points: beliefs at which a bound is known there, `[O, A_H, I, E, C, Θ]`.
        worth: the bounds, `[O, A_H, I, E, C]`.
    """

    paid: Float[Array, " O AH I Theta"]
    chance: Float[Array, " O AH I E"]
    informed: Float[Array, " O AH I E M Theta"]
    points: Float[Array, " O AH I E C Theta"]
    worth: Float[Array, " O AH I E C"]

    def certain(self) -> Float[Array, " O AH Theta"]:
        """Q of the human's actions if the robot were told θ, `[O, A_H, Θ]`."""
        later = jnp.einsum("oaie,oaiet->oait", self.chance, self.informed.max(axis=4))
        return jnp.max(self.paid + later, axis=2)


class Assigned(NamedTuple):
    """The beam at the end.

    Attributes:
        action: δ of each assignment kept, `[O, W, Θ]`.
        bound: an upper bound on each, `[O, W]`; -inf where there are fewer.
        dropped: an upper bound on all the others, `[O]`; -inf where there are none.
    """

    action: Int[Array, " O W Theta"]
    bound: Float[Array, " O W"]
    dropped: Float[Array, " O"]


def beliefs(
    belief: Float[Array, " Theta"], action: Int[Array, " ... Theta"], epsilon: Float[Array, ""], num_actions: int
) -> Float[Array, " ... AH Theta"]:
    """x_a(θ) = b(θ) [(1 - ε) 1{a = δ(θ)} + ε / A_H], `[..., A_H, Θ]`."""
    chosen = jax.nn.one_hot(action, num_actions, axis=-2, dtype=belief.dtype)
    return jnp.broadcast_to(belief, chosen.shape) * ((1 - epsilon) * chosen + epsilon / num_actions)


def assign(belief: Float[Array, " Theta"], epsilon: Float[Array, ""], ahead: Ahead, *, width: int) -> Assigned:
    """Search the assignments at one node, for each robot action outside.

    Args:
        belief: b, `[Θ]`.
        epsilon: the human's probability of a uniform draw; 0 for a rational one.
        ahead: what follows.
        width: partial assignments kept (static).
    """
    full = ahead.certain()  # [O, AH, Θ]
    # The θ first for which the choice matters most.
    two = jax.lax.top_k(jnp.moveaxis(full, 1, -1), min(2, full.shape[1]))[0]
    order = jnp.argsort(-belief[None] * (two[..., 0] - two[..., -1]), axis=-1, stable=True)  # [O, Θ]
    rest = belief[None] * ((1 - epsilon) * full.max(axis=1) + epsilon * full.mean(axis=1))  # [O, Θ]
    search = jax.vmap(_beam, in_axes=(None, None, 0, 0, 0, None))
    return search(belief, epsilon, order, rest, ahead, width)


class _Sums(NamedTuple):
    """What a partial assignment adds up to, for each of `W` in the beam."""

    paid: Array  # x_a · R, [W, AH, I]
    told: Array  # x_a · M at the successors, and x_a · max_m M last, [W, AH, I, E, m + 1]
    share: Array  # largest λ with λ p ≤ x_a on the θ seen, [W, AH, I, E, C]

    def grown(self, mass, paid, told, inverse) -> "_Sums":
        """With `mass` more of one θ for every human action; `inverse` is 1/p(θ), infinite where p(θ) = 0."""
        free = jnp.isinf(inverse)
        part = jnp.where(free, jnp.inf, mass * jnp.where(free, 0, inverse))
        return _Sums(
            self.paid + mass * paid[None],
            self.told + mass * told[None],
            jnp.minimum(self.share, part[None]),
        )


def _beam(belief, epsilon, order, rest, ahead: Ahead, width: int) -> Assigned:
    AH, I, E, C, Theta = ahead.points.shape
    corner = ahead.informed.max(axis=3)  # [AH, I, E, Θ]
    saved = jnp.maximum(jnp.einsum("aiet,aiect->aiec", corner, ahead.points) - ahead.worth, 0)
    held = ahead.points > 0
    told = jnp.concatenate([ahead.informed, corner[:, :, :, None]], axis=3)
    inverse = jnp.where(held, 1 / ahead.points, jnp.inf)
    in_order = lambda x: jnp.moveaxis(x[..., order], -1, 0)  # noqa: E731
    later = rest[order]
    steps = (
        order,
        later.sum() - jnp.cumsum(later),  # what the θ after each may be worth
        belief[order],
        tuple(map(in_order, (ahead.paid, told, inverse))),
        # A point counts once all its θ have been seen.
        jnp.moveaxis(held.sum(axis=-1, keepdims=True) == jnp.cumsum(held[..., order], axis=-1), -1, 0),
    )

    def extend(carry, step):
        sums, action, alive, dropped = carry
        theta, remaining, mass, tables, closed = step
        # For every human action: as if θ took it, and as if θ did not.
        taken = sums.grown(mass * (1 - epsilon + epsilon / AH), *tables)
        missed = sums.grown(mass * epsilon / AH, *tables)

        def g(sums: _Sums):
            less = jnp.max(jnp.where(closed, sums.share, 0) * saved[None], axis=-1)
            bound = jnp.minimum(sums.told[..., :-1].max(axis=-1), sums.told[..., -1] - less)  # [W, AH, I, E]
            return jnp.max(sums.paid + jnp.sum(ahead.chance[None] * bound, axis=-1), axis=-1)  # [W, AH]

        without = g(missed)
        total = without.sum(axis=-1, keepdims=True) - without + g(taken) + remaining
        total = jnp.minimum(total, alive[:, None]).reshape(-1)  # parents bound their children too
        best, which = jax.lax.top_k(jnp.pad(total, (0, width + 1), constant_values=-jnp.inf), width + 1)
        which = jnp.minimum(which[:width], total.shape[0] - 1)
        parent = jax.lax.div(which, jnp.full_like(which, AH))
        chosen = which - AH * parent

        def follow(taken, missed):
            own = jax.nn.one_hot(chosen, AH, dtype=bool).reshape(width, AH, *(1,) * (taken.ndim - 2))
            rows = lambda x: x.at[parent].get(mode="promise_in_bounds")  # noqa: E731
            return jnp.where(own, rows(taken), rows(missed))

        sums = jax.tree.map(follow, taken, missed)
        action = jnp.where(jnp.arange(Theta)[None] == theta, chosen[:, None], action[parent])
        return (sums, action, best[:width], jnp.maximum(dropped, best[width])), None

    zeros = lambda *shape: jnp.zeros((width, *shape), belief.dtype)  # noqa: E731
    empty = _Sums(zeros(AH, I), zeros(AH, I, E, told.shape[3]), zeros(AH, I, E, C) + jnp.inf)
    none = jnp.full(width, -jnp.inf, belief.dtype)
    first = (empty, jnp.zeros((width, Theta), jnp.int32), none.at[0].set(jnp.inf), none[0])
    (_, action, bound, dropped), _ = jax.lax.scan(extend, first, steps)
    return Assigned(action, bound, dropped)
