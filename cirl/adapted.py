"""The adapted backup (Malik et al. 2018) at a belief: one robot plan, valued by what the human makes of it.

A plan is a robot action and, for each human action and successor, a plan from there:

    Q(θ, a) = R(a, r; θ) + γ Σ_s' T(s' | a, r) α_{ν(a, s')}(s', θ),    α(θ) = Σ_a π_H(a | Q(θ, ·)) Q(θ, a)

ν couples across human actions, since the human's choice depends on all of them (references C, trap 1),
so the usual argmax per observation is no maximiser.  Alternation is: with the human's play fixed,
each (a, s') takes the plan that is best for the part of the belief that comes there; then the human
replays.  For humans whose play is monotone neither half loses value; for any human each iterate is a
plan, valued truthfully, hence a lower bound.  It starts from several plays and keeps the best plan met.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Plan(NamedTuple):
    """A plan at one node.

    Attributes:
        value: what it is worth at the belief, `[]`.
        alpha: what it is worth to each θ, `[Θ]`.
        answer: the robot's action for each human action, `[A_H]`.
        ahead: which of the successor's vectors follows, `[A_H, E]`.
    """

    value: Float[Array, ""]
    alpha: Float[Array, " Theta"]
    answer: Int[Array, " AH"]
    ahead: Int[Array, " AH E"]


def best_plan(
    human,
    belief: Float[Array, " Theta"],
    plays: Float[Array, " O n AH Theta"],
    paid: Float[Array, " O AH I Theta"],
    chance: Float[Array, " O AH I E"],
    vectors: Float[Array, " O AH I E C Theta"],
    state: Int[Array, ""],
    step: Int[Array, ""],
    *,
    rounds: int,
) -> Plan:
    """The best plan that alternation meets.

    Args:
        human: the human's model.
        belief: b, `[Θ]`.
        plays: parts of the belief by human action to start from, for each robot action outside, `[O, n, A_H, Θ]`.
        paid: the reward, `[O, A_H, I, Θ]`; `O` robot actions outside, `I` answers inside.
        chance: discounted probability of each successor, `[O, A_H, I, E]`.
        vectors: what plans from there are worth, `[O, A_H, I, E, C, Θ]`.
        state: where.
        step: when.
        rounds: how often the two halves alternate (static).
    """
    O, n, AH, Theta = plays.shape
    I = paid.shape[2]
    outside = jnp.repeat(jnp.arange(O), n)

    def alternate(carry, _):
        plays, best = carry
        # Where nobody comes, the plan that is best for everybody.
        parts = jnp.where(plays.sum(axis=-1, keepdims=True) > 0, plays, belief[None, None, None])
        worth = jnp.einsum("onat,oaiect->onaiec", parts, vectors)
        ahead = jnp.argmax(worth, axis=-1)  # [O, n, AH, I, E]
        taken = jnp.take_along_axis(vectors[:, None], ahead[..., None, None], axis=5, mode="promise_in_bounds")[
            ..., 0, :
        ]  # [O, n, AH, I, E, Θ]
        q = paid[:, None] + jnp.einsum("oaie,onaiet->onait", chance, taken)
        inside = jnp.argmax(jnp.einsum("onat,onait->onai", parts, q), axis=-1)  # [O, n, AH]
        q = jnp.take_along_axis(q, inside[..., None, None], axis=3, mode="promise_in_bounds")[
            :, :, :, 0
        ]  # [O, n, AH, Θ]
        ahead = jnp.take_along_axis(ahead, inside[..., None, None], axis=3, mode="promise_in_bounds")[
            :, :, :, 0
        ]  # [O, n, AH, E]
        answer = inside if I > 1 else jnp.broadcast_to(jnp.arange(O)[:, None, None], inside.shape)
        q = jnp.swapaxes(q, 2, 3).reshape(O * n, Theta, AH)
        where = jnp.full(O * n, state), answer.reshape(O * n, AH)[:, 0], jnp.full(O * n, step)
        pi = human.policy(q, *where)
        alpha = jnp.sum(pi * q, axis=-1)
        value = alpha @ belief
        i = jnp.argmax(value)
        met = Plan(value[i], alpha[i], answer.reshape(O * n, AH)[i], ahead.reshape(O * n, AH, -1)[i])
        best = jax.tree.map(lambda new, old: jnp.where(met.value > best.value, new, old), met, best)
        plays = belief[None, None, None] * jnp.swapaxes(pi, 1, 2).reshape(O, n, AH, Theta)
        return (plays, best), None

    E = chance.shape[-1]
    dtype = belief.dtype
    none = Plan(
        jnp.asarray(-jnp.inf, dtype),
        jnp.zeros(Theta, dtype),
        jnp.zeros(AH, outside.dtype),
        jnp.zeros((AH, E), outside.dtype),
    )
    (_, best), _ = jax.lax.scan(alternate, (plays, none), None, length=rounds)
    return best
