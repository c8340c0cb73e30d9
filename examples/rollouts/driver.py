"""A driver: each second it tries many sequences of controls in its head, and follows the best for that second."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from examples.rollouts import road

AHEAD, HOLD = 6, 4  # seconds that a driver looks ahead; steps for which a control is held
TRIED, KEPT, TURNS = 96, 12, 3
SPREAD = np.array([2.0, 0.03])


class Run(NamedTuple):
    """What happened in one run.

    Attributes:
        states: the car after each step, fields of `[T]`.
        features: of each step, `[T, K]`.
        truck: where the truck is at the end.
    """

    states: road.Car
    features: jax.Array
    truck: jax.Array


def thought_of(car: road.Car) -> jax.Array:
    """What any driver thinks of first: go on, faster, slower; to the left lane and to the right one, faster or not."""
    turn = 0.95 * road.LANE * road.AXLES / jnp.maximum(car.speed, 8.0) ** 2  # there in two seconds, and straight again
    straight = jnp.zeros(AHEAD)
    left = straight.at[0].set(turn).at[1].set(-turn)
    push = [straight, straight + 2.5, straight.at[:2].set(-4.0)]
    both = [(push[0], straight), (push[1], straight), (push[2], straight)]
    both += [(p, way) for way in (left, -left) for p in push[:2]]
    return jnp.stack([jnp.stack(each, axis=1) for each in both])


def plan(key: jax.Array, given: road.Scene, car: road.Car, pay: Callable, mean: jax.Array) -> jax.Array:
    """The cross-entropy method over controls `[AHEAD, 2]`, each held for a second: sample, keep the best, fit anew."""

    def worth(knots):
        return jnp.sum(pay(road.drive(given, car, jnp.repeat(knots, HOLD, axis=0))[1]))

    def turn(carry, key):
        mean, spread = carry
        tried = mean[None] + spread[None] * jax.random.normal(key, (TRIED, *mean.shape))
        tried = jnp.concatenate([mean[None], thought_of(car), tried])
        tried = jnp.clip(tried, road.LIMITS[0][None, None], road.LIMITS[1][None, None])
        best = tried[jax.lax.top_k(jax.vmap(worth)(tried), KEPT)[1]]
        return (jnp.mean(best, axis=0), jnp.std(best, axis=0) + 0.05 * SPREAD[None]), best[0]

    spread = jnp.broadcast_to(SPREAD[None], mean.shape)
    return jax.lax.scan(turn, (mean, spread), jax.random.split(key, TURNS))[1][-1]


def follow(key: jax.Array, given: road.Scene, pay: Callable) -> Run:
    """One run of a driver who is paid so: a plan each second, of which the first control is carried out."""

    def second(carry, key):
        car, mean = carry
        knots = plan(key, given, car, pay, mean)
        states, features = road.drive(given, car, jnp.repeat(knots[:1], HOLD, axis=0))
        last = jax.tree.map(lambda x: x[-1], states)
        return (last, jnp.concatenate([knots[1:], jnp.zeros((1, 2))])), (states, features)

    begin = road.start(given), jnp.zeros((AHEAD, 2))
    _, (states, features) = jax.lax.scan(second, begin, jax.random.split(key, road.STEPS // HOLD))
    joined = jax.tree.map(lambda x: x.reshape(-1), states)
    return Run(joined, features.reshape(-1, len(road.NAMES)), given.truck + given.slow * joined.time[-1])


def run(key: jax.Array, pay: Callable, icy: float) -> Run:
    """One run in a scene at random, which follows from the key alone: drivers of one key meet the same scene."""
    for_scene, for_driver = jax.random.split(key)
    return follow(for_driver, road.scene(for_scene, icy), pay)


together = jax.jit(jax.vmap(run, (0, None, None)))  # compiled once for each kind of pay
