"""The adapted backup (Malik et al. 2018) at a belief: one robot plan, valued by what the human makes of it.

A plan is a robot action and, for each human action and successor, a plan from there:

    Q(θ, a) = R(a, r; θ) + γ Σ_s' T(s' | a, r) α_{ν(a, s')}(s', θ),    α(θ) = Σ_a π_H(a | Q(θ, ·)) Q(θ, a)

ν couples across human actions, since the human's choice depends on all of them (references C, trap 1),
so the usual argmax per observation is no maximiser.  Alternation is: with the human's play fixed,
each (a, s') takes the plan that is best for the part of the belief that comes there; then the human
replies.  For humans whose play is monotone neither half loses value; for any human each iterate is a
plan, valued truthfully, hence a lower bound.  It starts from several plays and keeps the best plan met.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Plan(NamedTuple):
    """A plan at each of K nodes.

    Attributes:
        value: what it is worth at the belief, `[K]`.
        alpha: what it is worth to each θ, `[K, Θ]`.
        answer: the robot's action for each human action, `[K, A_H]`.
        ahead: which of the successor's vectors follows, `[K, A_H, E]`.
        parts: of the belief, by what the human does with it, `[K, A_H, Θ]`.
    """

    value: Float[Array, " K"]
    alpha: Float[Array, " K Theta"]
    answer: Int[Array, " K AH"]
    ahead: Int[Array, " K AH E"]
    parts: Float[Array, " K AH Theta"]


def best_plan(
    human,
    belief: Float[Array, " K Theta"],
    plays: Float[Array, " K O n AH Theta"],
    paid: Float[Array, " K O AH I Theta"],
    chance: Float[Array, " K O AH I E"],
    vectors: Float[Array, " K O AH I E V Theta"],
    state: Int[Array, " K"],
    step: Int[Array, " K"],
    *,
    rounds: int,
) -> Plan:
    """The best plan that alternation meets, at each node.

    Args:
        human: the human's model.
        belief: b, `[K, Θ]`.
        plays: parts of the belief by human action to start from, for each robot action outside, `[K, O, n, A_H, Θ]`.
        paid: the reward, `[K, O, A_H, I, Θ]`; `O` robot actions outside, `I` answers inside.
        chance: discounted probability of each successor, `[K, O, A_H, I, E]`.
        vectors: what plans from there are worth, `[K, O, A_H, I, E, V, Θ]`.
        state: where, `[K]`.
        step: when, `[K]`.
        rounds: how often the two halves alternate (static).
    """
    K, O, n, AH, Theta = plays.shape
    I, E, V = vectors.shape[3:6]
    L, rows = K * O, vectors.reshape(-1, Theta)
    flat = vectors.reshape(L, AH, I * E * V, Theta)
    base = jnp.arange(L * AH * I * E).reshape(L, 1, AH, I * E) * V
    paid, chance = paid.reshape(L, 1, AH, I, Theta), chance.reshape(L, 1, AH * I, E, 1)
    where = jnp.repeat(state, O * n), jnp.repeat(step, O * n)
    outside = jnp.broadcast_to(jnp.tile(jnp.arange(O), K)[:, None, None], (L, n, AH))
    own = jnp.repeat(belief, O, axis=0)[:, None, None]  # [L, 1, 1, Θ]

    def alternate(carry, _):
        plays, best = carry  # [L, n, AH, Θ]
        # Where nobody comes, the plan that is best for everybody.
        parts = jnp.where(jnp.sum(plays, axis=-1, keepdims=True) > 0, plays, own)
        worth = jnp.einsum("lnat,lavt->lnav", parts, flat)
        ahead = jnp.argmax(worth.reshape(L, n, AH, I * E, V), axis=-1)
        taken = rows.at[base + ahead].get(mode="promise_in_bounds").reshape(L, n, AH * I, E, Theta)
        q = paid + jnp.sum(chance * taken, axis=3).reshape(L, n, AH, I, Theta)
        inside = jnp.argmax(jnp.sum(parts[..., None, :] * q, axis=-1), axis=-1)  # [L, n, AH]
        q = _at(q, inside)  # [L, n, AH, Θ]
        ahead = _at(ahead.reshape(L, n, AH, I, E), inside)
        answer = inside if I > 1 else outside
        q = jnp.swapaxes(q, 2, 3).reshape(L * n, Theta, AH)
        pi = human.policy(q, where[0], answer[..., 0].reshape(-1), where[1])
        alpha = jnp.sum(pi * q, axis=-1).reshape(K, O * n, Theta)
        value = jnp.sum(alpha * belief[:, None], axis=-1)
        which = jnp.argmax(value, axis=-1)[:, None, None]
        pick = lambda x: jnp.take_along_axis(x.reshape(K, O * n, -1), which, axis=1)[:, 0]  # noqa: E731
        plays = own * jnp.swapaxes(pi, 1, 2).reshape(L, n, AH, Theta)
        parts = pick(plays).reshape(K, AH, Theta)
        met = Plan(jnp.max(value, axis=-1), pick(alpha), pick(answer), pick(ahead).reshape(K, AH, E), parts)
        better = met.value > best.value
        keep = lambda new, old: jnp.where(better.reshape(K, *(1,) * (new.ndim - 1)), new, old)  # noqa: E731
        return (plays, jax.tree.map(keep, met, best)), None

    dtype, integer = belief.dtype, base.dtype
    none = Plan(
        jnp.full(K, -jnp.inf, dtype),
        jnp.zeros((K, Theta), dtype),
        jnp.zeros((K, AH), integer),
        jnp.zeros((K, AH, E), integer),
        jnp.zeros((K, AH, Theta), dtype),
    )
    (_, best), _ = jax.lax.scan(alternate, (plays.reshape(L, n, AH, Theta), none), None, length=rounds)
    return best


def _at(x: Array, index: Array) -> Array:
    """The entries of `[l, n, a, I, x]` at an index `[l, n, a]` of I; nothing to look up where I is 1."""
    if x.shape[3] == 1:
        return x[:, :, :, 0]
    return jnp.take_along_axis(x, index[..., None, None], axis=3, mode="promise_in_bounds")[:, :, :, 0]
