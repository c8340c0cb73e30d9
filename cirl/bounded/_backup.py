"""Backups of both bounds at many nodes at once: the compiled part of the bounded solver.

All of it is one program, and its first call waits for the compiler: axes are written out, in one order, so that XLA
has few loops to make and nothing to transpose.

Where the human slips there are two bounds from above, and the lower one holds.  One is that of the parts as they are,
x_a = (1 - ε) b 1{δ = a} + (ε / A) b; the other lets the robot be told which actions were slips,

    V(x_a) <= V((1 - ε) b 1{δ = a}) + V((ε / A) b),

for V is convex, and homogeneous in the mass of a belief.  Then supports shrink as with a rational human, and what is
known at few beliefs helps everywhere; the first bound is the better one where the second is as low as it gets.
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
        meant: what of each part is no slip, for a robot that is told; else 0, `[K, A_H, Θ]`.
    """

    upper: Float[Array, " K"]
    loose: Bool[Array, " K"]
    plan: Plan
    split: Float[Array, " K AH Theta"]
    answer: Int[Array, " K AH"]
    gap: Float[Array, " K AH E"]
    meant: Float[Array, " K AH Theta"]


@functools.partial(jax.jit, static_argnames=("width", "slips"))
def backup(human, team, batch: Batch, followed=False, *, width: int, slips: bool = False) -> Backup:
    """Back up both bounds at every node of a batch.

    Args:
        human: the human that plans are valued with.
        team: the human that the upper bound is for: `EpsilonGreedy` (0 is rational) or `Fixed`.
        batch: the nodes.
        followed: whether the decision reported is the one of a robot that is told which actions were slips.
        width: assignments kept in the search of the upper bound (static).
        slips: whether the team's human slips (static): another search, with the robot told.
    """
    with jax.default_matmul_precision("highest"), jax.numpy_rank_promotion("allow"):
        return _of_batch(human, team, batch, followed, width, slips)


class _Kept(NamedTuple):
    """Assignments that a search kept, with what bounds them: `[K, O, W]`, all the others `[K, O]`."""

    bound: Array
    dropped: Array
    parts: Array  # of the belief by human action, [K, O, W, AH, Θ]
    meant: Array  # of these what is no slip, where the robot is told


class _Decided(NamedTuple):
    """The joint decision with the highest bound, at each of K nodes."""

    upper: Array
    loose: Array
    outside: Array  # the robot's action, [K]
    inside: Array  # its answers, [K, AH]
    split: Array  # parts of the belief, [K, AH, Θ]
    meant: Array
    high: Array  # bounds on the parts at the successors, [K, AH, I, E]


def _of_batch(human, team, batch: Batch, followed, width: int, slips: bool) -> Backup:
    b, ahead = batch.belief, batch.ahead
    K, O, AH, I, E, _, Theta = ahead.points.shape
    kept, plays = _promising(team, batch, width)
    g, above = _ahead_of(kept.parts, ahead)
    best = _highest(kept, jnp.sum(jnp.max(g, axis=-1), axis=-1), g, above)
    if slips:
        told, slip = _told_of_slips(team, batch, width)
        # The slips as a row more: what they are worth is the same whatever was meant.
        g, above = _ahead_of(jnp.concatenate([told.meant, slip], axis=2), ahead)
        lost = jnp.sum(jnp.max(g, axis=-1), axis=-1)  # [K, O, W + 1]
        kept = told._replace(bound=told.bound + lost[:, :, -1:], dropped=told.dropped + lost[:, :, -1])
        other = _highest(kept, lost[:, :, :-1] + lost[:, :, -1:], g[:, :, :-1], above[:, :, :-1] + above[:, :, -1:])
        upper = jnp.minimum(best.upper, other.upper)
        best = jax.tree.map(lambda x, y: jnp.where(followed, y, x), best, other)._replace(upper=upper)
        plays = jnp.concatenate([plays, told.parts[:, :, :1]], axis=2)
    # Vectors where the robot does as decided: [K, AH, I E V, Θ], then one I of them.
    vectors = jnp.take_along_axis(batch.vectors.reshape(K, O, -1, Theta), best.outside[:, None, None, None], axis=1)
    low = jnp.sum(best.split[:, :, None] * vectors.reshape(K, AH, -1, Theta), axis=-1).reshape(K, AH, I, E, -1)
    gap = jnp.take_along_axis(best.high - low.max(axis=-1), best.inside[..., None, None], axis=2)[:, :, 0]
    # Sums of losses alone are off by a share of themselves.
    terms = Theta + E + AH + ROUNDS_OF_REPLIES + 16 + 8 * slips
    return Backup(
        upper=best.upper * (1 - terms * jnp.finfo(b.dtype).eps / 2),
        loose=best.loose,
        plan=best_plan(
            human, b, plays, ahead.paid, ahead.chance, batch.vectors, batch.state, batch.step, rounds=ROUNDS_OF_REPLIES
        ),
        split=best.split,
        answer=best.inside if I > 1 else jnp.broadcast_to(best.outside[:, None], (K, AH)),
        gap=gap,
        meant=best.meant,
    )


def _ahead_of(parts: Array, ahead: Ahead) -> tuple[Array, Array]:
    """What parts of a belief `[K, O, W, AH, Θ]` are worth at most, `[..., AH, I]`, and at successors, `[..., I, E]`."""
    K, O, AH, I, E, _, Theta = ahead.points.shape
    L, W = K * O, parts.shape[2]
    # Wherever a part may come: [L, W, AH I E, Θ].
    rows = jnp.repeat(parts.reshape(L, W, AH, Theta), I * E, axis=2)
    along = lambda x: x.reshape(L, 1, AH * I * E, *x.shape[5:])  # noqa: E731
    above = interpolate(rows, along(ahead.informed), along(ahead.points), along(ahead.worth), rounds=ROUNDS_OF_REPLIES)
    now = jnp.sum(parts.reshape(L, W, AH, 1, Theta) * ahead.paid.reshape(L, 1, AH, I, Theta), axis=-1)
    later = jnp.sum(ahead.chance.reshape(L, 1, AH * I, E) * above.reshape(L, W, AH * I, E), axis=-1)
    return (now + later.reshape(L, W, AH, I)).reshape(K, O, W, AH, I), above.reshape(K, O, W, AH, I, E)


def _highest(kept: _Kept, worth: Array, g: Array, above: Array) -> _Decided:
    """The assignment kept with the highest bound; `worth` `[K, O, W]` bounds each of them too."""
    bound = jnp.minimum(kept.bound, worth)
    K, O, W, AH, I, E = above.shape
    least, most = jnp.max(bound, axis=(1, 2)), jnp.max(kept.dropped, axis=1)
    best = jnp.argmax(bound.reshape(K, O * W), axis=-1)  # [K]
    pick = lambda x: jnp.take_along_axis(x.reshape(K, O * W, -1), best[:, None, None], axis=1)[:, 0]  # noqa: E731
    split, meant = (pick(x).reshape(K, AH, -1) for x in (kept.parts, kept.meant))
    inside, high = pick(jnp.argmax(g, axis=-1)), pick(above).reshape(K, AH, I, E)
    return _Decided(jnp.maximum(least, most), most > least, best // W, inside, split, meant, high)


def _promising(team, batch: Batch, width: int) -> tuple[_Kept, Array]:
    """Parts of the belief by human action, with a bound on each and on all the others; and plays to begin with."""
    b, ahead = batch.belief, batch.ahead
    K, O, AH, _, Theta = ahead.paid.shape
    certain = ahead.certain()
    if isinstance(team, Fixed):
        at = jnp.repeat(batch.state, O), jnp.tile(jnp.arange(O), K), jnp.repeat(batch.step, O)
        pi = team.policy(jnp.swapaxes(certain, 2, 3).reshape(K * O, Theta, AH), *at).reshape(K, O, Theta, AH)
        parts = (b[:, None, None] * jnp.swapaxes(pi, 2, 3))[:, :, None]  # [K, O, 1, AH, Θ]
        none = jnp.full((K, O), jnp.inf, b.dtype)
        return _Kept(none[..., None], -none, parts, jnp.zeros_like(parts)), parts
    found = assign(b, team.epsilon, ahead, batch.order, width=width)
    parts = beliefs(b[:, None, None], found.action, team.epsilon, AH)  # [K, O, W, AH, Θ]
    told = beliefs(b[:, None], jnp.argmax(certain, axis=2), team.epsilon, AH)
    nobody = jnp.broadcast_to(b[:, None, None] / AH, told.shape)
    plays = jnp.stack([parts[:, :, 0], told, nobody], axis=2)
    return _Kept(found.bound, found.dropped, parts, jnp.zeros_like(parts)), plays


def _told_of_slips(team, batch: Batch, width: int) -> tuple[_Kept, Array]:
    """The same with the robot told which actions were slips: bounds without them, and the slips `[K, O, 1, AH, Θ]`."""
    b, ahead = batch.belief, batch.ahead
    K, O, AH, _, Theta = ahead.paid.shape
    never = jnp.zeros((), b.dtype)
    found = assign(b, never, ahead, batch.order, width=width)
    meant = (1 - team.epsilon) * beliefs(b[:, None, None], found.action, never, AH)
    slip = jnp.broadcast_to(team.epsilon / AH * b[:, None, None, None], (K, O, 1, AH, Theta))
    share = lambda x: jnp.where(jnp.isinf(x), x, (1 - team.epsilon) * x)  # noqa: E731
    return _Kept(share(found.bound), share(found.dropped), meant + slip, meant), slip
