"""Backups of both bounds at many nodes at once: the compiled part of the bounded solver."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from cirl.adapted import Plan, best_plan
from cirl.assignment import Ahead, assign, beliefs
from cirl.human import Fixed
from cirl.interpolation import interpolate

ROUNDS = 4  # of alternation, and of points taken out of a belief


class Batch(NamedTuple):
    """Nodes to back up, with what is known at their successors (by column of the game's table).

    Attributes:
        state: `[K]`.
        step: `[K]`; 0 in an endless game.
        belief: probability of each θ, `[K, Θ]`.
        paid: the reward, `[K, A_H, A_R, Θ]`.
        chance: discounted probability of each successor, `[K, A_H, A_R, E]`.
        column: the successor's column in the game's table, `[K, A_H, A_R, E]`.
        informed: M of `cirl.informed` at the successors, `[K, D, m, Θ]`.
        vectors: what robot plans at the successors are worth, `[K, D, V, Θ]`.
        points: beliefs at which a bound is known at the successors, `[K, D, C, Θ]`.
        worth: the bounds, `[K, D, C]`.
    """

    state: Int[Array, " K"]
    step: Int[Array, " K"]
    belief: Float[Array, " K Theta"]
    paid: Float[Array, " K AH AR Theta"]
    chance: Float[Array, " K AH AR E"]
    column: Int[Array, " K AH AR E"]
    informed: Float[Array, " K D M Theta"]
    vectors: Float[Array, " K D V Theta"]
    points: Float[Array, " K D C Theta"]
    worth: Float[Array, " K D C"]


class Backup(NamedTuple):
    """What a backup finds.

    Attributes:
        upper: an upper bound at each node's belief, `[K]`.
        loose: whether it would be lower if the search had kept more assignments, `[K]`.
        plan: the best robot plan met, a lower bound.
        split: the part of the belief that takes each human action in the most promising joint
            decision, `[K, A_H, Θ]`.
        column: the successors of that decision, `[K, A_H, E]`.
        chance: their discounted probability, `[K, A_H, E]`.
        gap: upper less lower bound of the part of the belief that comes there, `[K, A_H, E]`.
    """

    upper: Float[Array, " K"]
    loose: Bool[Array, " K"]
    plan: Plan
    split: Float[Array, " K AH Theta"]
    column: Int[Array, " K AH E"]
    chance: Float[Array, " K AH E"]
    gap: Float[Array, " K AH E"]


@functools.partial(jax.jit, static_argnames=("first", "width"))
def backup(human, team, batch: Batch, *, first: bool, width: int) -> Backup:
    """Back up both bounds at every node of a batch.

    Args:
        human: the human that plans are valued with.
        team: the human that the upper bound is for: `EpsilonGreedy` (0 is rational) or `Fixed`.
        batch: the nodes.
        first: whether the human moves first (static).
        width: assignments kept in the search of the upper bound (static).
    """
    with jax.default_matmul_precision("highest"):
        return jax.vmap(functools.partial(_backup, human, team, first, width))(batch)


def _backup(human, team, first: bool, width: int, node: Batch) -> Backup:
    s, t, b = node.state, node.step, node.belief
    AH = node.paid.shape[0]

    def by_robot(x):  # [AH, AR, ...] -> [O, AH, I, ...]
        return x[None] if first else jnp.swapaxes(x, 0, 1)[:, :, None]

    slot, chance = by_robot(node.column), by_robot(node.chance)
    ahead = Ahead(by_robot(node.paid), chance, node.informed[slot], node.points[slot], node.worth[slot])
    vectors = node.vectors[slot]  # [O, AH, I, E, V, Θ]
    certain = ahead.certain()
    O = certain.shape[0]
    if isinstance(team, Fixed):
        robot = jnp.arange(O)
        pi = team.policy(jnp.swapaxes(certain, 1, 2), jnp.full(O, s), robot, jnp.full(O, t))  # [O, Θ, AH]
        parts = (b[None, None] * jnp.swapaxes(pi, 1, 2))[:, None]  # [O, 1, AH, Θ]
        bound, dropped = jnp.full((O, 1), jnp.inf, b.dtype), jnp.full(O, -jnp.inf, b.dtype)
        plays = parts
    else:
        found = assign(b, team.epsilon, ahead, width=width)
        bound, dropped = found.bound, found.dropped
        parts = beliefs(b, found.action, team.epsilon, AH)  # [O, W, AH, Θ]
        told = beliefs(b, jnp.argmax(certain, axis=1), team.epsilon, AH)
        nobody = jnp.broadcast_to(b / AH, told.shape)
        plays = jnp.stack([parts[:, 0], told, nobody], axis=1)

    fine = functools.partial(interpolate, rounds=ROUNDS)
    over_successors = jax.vmap(jax.vmap(fine, (None, 0, 0, 0)), (None, 0, 0, 0))  # [I, E]
    over_humans = jax.vmap(over_successors, (0, 0, 0, 0))
    over_assignments = jax.vmap(jax.vmap(over_humans, (0, None, None, None)), (0, 0, 0, 0))
    above = over_assignments(parts, ahead.informed, ahead.points, ahead.worth)  # [O, W, AH, I, E]
    now = jnp.einsum("owat,oait->owai", parts, ahead.paid)
    g = now + jnp.sum(chance[:, None] * above, axis=-1)  # [O, W, AH, I]
    bound = jnp.minimum(bound, g.max(axis=-1).sum(axis=-1))
    upper = jnp.max(jnp.maximum(bound.max(axis=1), dropped))

    o, w = jnp.unravel_index(jnp.argmax(bound), bound.shape)
    inside = jnp.argmax(g[o, w], axis=-1)  # [AH]
    pick = lambda x: x[jnp.arange(AH), inside]  # noqa: E731  [AH, I, ...] -> [AH, ...]
    split = parts[o, w]
    below = jnp.max(jnp.einsum("at,aect->aec", split, pick(vectors[o])), axis=-1)
    return Backup(
        upper=upper,
        loose=upper > jnp.max(bound),
        plan=best_plan(human, b, plays, ahead.paid, chance, vectors, s, t, rounds=ROUNDS),
        split=split,
        column=pick(slot[o]),
        chance=pick(chance[o]),
        gap=pick(above[o, w]) - below,
    )
