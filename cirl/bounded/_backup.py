"""Backups of both bounds at many nodes at once: the compiled part of the bounded solver.

All of it is one program, and its first call waits for the compiler: axes are written out, in one order, so that XLA
has few loops to make and nothing to transpose.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from cirl.bounded._lower import Plan, best_plan
from cirl.bounded._sawtooth import interpolate
from cirl.bounded._upper import Ahead, assign, beliefs
from cirl.human import Fixed

ROUNDS_OF_REPLIES = 4  # of alternation, and of points taken out of a belief


class Batch(NamedTuple):
    """Nodes to back up, with what is known at their successors, as losses; NumPy arrays where they are filled in.

    Attributes:
        state: `[K]`.
        step: `[K]`; 0 in an endless game.
        belief: probability of each θ, `[K, Θ]`.
        ahead: R', probabilities, and what bounds the value at the successors from above.
        vectors: what robot plans at the successors are worth, `[K, O, A_H, I, E, V, Θ]`.
        order: the θ, those first for which the human's choice matters most, `[K, Θ]`.
    """

    state: Int[Array, " K"]
    step: Int[Array, " K"]
    belief: Float[Array, " K Theta"]
    ahead: Ahead
    vectors: Float[Array, " K O AH I E V Theta"]
    order: Int[Array, " K Theta"]


class Backup(NamedTuple):
    """What a backup finds.

    Attributes:
        upper: an upper bound at each node's belief, `[K]`.
        loose: whether it would be lower if the search had kept more assignments, `[K]`.
        plan: the best robot plan met, a lower bound.
        split: the part of the belief that takes each human action in the most promising joint
            decision, `[K, A_H, Θ]`.
        answer: the robot's action for each human action in that decision, `[K, A_H]`.
        gap: upper less lower bound of the part of the belief that comes to each successor, `[K, A_H, E]`.
    """

    upper: Float[Array, " K"]
    loose: Bool[Array, " K"]
    plan: Plan
    split: Float[Array, " K AH Theta"]
    answer: Int[Array, " K AH"]
    gap: Float[Array, " K AH E"]


@functools.partial(jax.jit, static_argnames="width")
def backup(human, team, batch: Batch, *, width: int) -> Backup:
    """Back up both bounds at every node of a batch.

    Args:
        human: the human that plans are valued with.
        team: the human that the upper bound is for: `EpsilonGreedy` (0 is rational) or `Fixed`.
        batch: the nodes.
        width: assignments kept in the search of the upper bound (static).
    """
    with jax.default_matmul_precision("highest"), jax.numpy_rank_promotion("allow"):
        return _of_batch(human, team, batch, width)


def _of_batch(human, team, batch: Batch, width: int) -> Backup:
    b, ahead = batch.belief, batch.ahead
    K, O, AH, I, E, _, Theta = ahead.points.shape
    bound, dropped, parts, plays = _promising(
        team, batch, width
    )  # [K, O, W], [K, O], [K, O, W, AH, Θ], [K, O, n, AH, Θ]
    W, L = bound.shape[2], K * O
    # Wherever a part may come: [L, W, AH I E, Θ].
    rows = jnp.repeat(parts.reshape(L, W, AH, Theta), I * E, axis=2)
    along = lambda x: x.reshape(L, 1, AH * I * E, *x.shape[5:])  # noqa: E731
    above = interpolate(rows, along(ahead.informed), along(ahead.points), along(ahead.worth), rounds=ROUNDS_OF_REPLIES)
    now = jnp.sum(parts.reshape(L, W, AH, 1, Theta) * ahead.paid.reshape(L, 1, AH, I, Theta), axis=-1)
    later = jnp.sum(ahead.chance.reshape(L, 1, AH * I, E) * above.reshape(L, W, AH * I, E), axis=-1)
    g = now + later.reshape(L, W, AH, I)
    bound = jnp.minimum(bound, jnp.sum(jnp.max(g, axis=-1), axis=-1).reshape(K, O, W))
    # Sums of losses alone are off by a share of themselves.
    terms = Theta + E + AH + ROUNDS_OF_REPLIES + 16
    least, most = jnp.max(bound, axis=(1, 2)), jnp.max(dropped, axis=1)
    upper = jnp.maximum(least, most) * (1 - terms * jnp.finfo(b.dtype).eps / 2)

    # The joint decision with the highest bound.
    best = jnp.argmax(bound.reshape(K, O * W), axis=-1)  # [K]
    pick = lambda x: jnp.take_along_axis(x.reshape(K, O * W, -1), best[:, None, None], axis=1)[:, 0]  # noqa: E731
    split, inside, outside = pick(parts).reshape(K, AH, Theta), pick(jnp.argmax(g, axis=-1)), best // W
    high = pick(above).reshape(K, AH, I, E)
    # Vectors where the robot does as decided: [K, AH, I E V, Θ], then one I of them.
    vectors = jnp.take_along_axis(batch.vectors.reshape(K, O, -1, Theta), outside[:, None, None, None], axis=1)
    low = jnp.sum(split[:, :, None] * vectors.reshape(K, AH, -1, Theta), axis=-1).reshape(K, AH, I, E, -1).max(axis=-1)
    gap = jnp.take_along_axis(high - low, inside[..., None, None], axis=2)[:, :, 0]
    return Backup(
        upper=upper,
        loose=most > least,
        plan=best_plan(
            human, b, plays, ahead.paid, ahead.chance, batch.vectors, batch.state, batch.step, rounds=ROUNDS_OF_REPLIES
        ),
        split=split,
        answer=inside if I > 1 else jnp.broadcast_to(outside[:, None], (K, AH)),
        gap=gap,
    )


def _promising(team, batch: Batch, width: int):
    """Parts of the belief by human action, with a bound on each and on all the others; and plays to begin with."""
    b, ahead = batch.belief, batch.ahead
    K, O, AH, _, Theta = ahead.paid.shape
    certain = ahead.certain()
    if isinstance(team, Fixed):
        at = jnp.repeat(batch.state, O), jnp.tile(jnp.arange(O), K), jnp.repeat(batch.step, O)
        pi = team.policy(jnp.swapaxes(certain, 2, 3).reshape(K * O, Theta, AH), *at).reshape(K, O, Theta, AH)
        parts = (b[:, None, None] * jnp.swapaxes(pi, 2, 3))[:, :, None]  # [K, O, 1, AH, Θ]
        return jnp.full((K, O, 1), jnp.inf, b.dtype), jnp.full((K, O), -jnp.inf, b.dtype), parts, parts
    found = assign(b, team.epsilon, ahead, batch.order, width=width)
    parts = beliefs(b[:, None, None], found.action, team.epsilon, AH)  # [K, O, W, AH, Θ]
    told = beliefs(b[:, None], jnp.argmax(certain, axis=2), team.epsilon, AH)
    nobody = jnp.broadcast_to(b[:, None, None] / AH, told.shape)
    return found.bound, found.dropped, parts, jnp.stack([parts[:, :, 0], told, nobody], axis=2)
