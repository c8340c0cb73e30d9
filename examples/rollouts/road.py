"""A road of two lanes, a car that is steered, a slow truck ahead of it, and perhaps ice on the left lane.

Continuous, in JAX: `step` moves one car by a quarter of a second, `features` says what that step was like.  Metres,
seconds, radians; x along the road, y across it, 0 in the middle of the right lane.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

NAMES = ("progress", "left lane", "off centre", "effort", "off road", "near truck", "ice")
STEP, STEPS = 0.25, 64  # seconds; steps of a run
LANE, AXLES = 3.5, 2.7  # width of a lane; from axle to axle
FAST = 20.0  # metres a second
# A feature's size where it is fully there: what matters more is larger, so that weights are all about one.
SIZE = np.array([1.0, 0.5, 0.5, 0.5, 2.0, 2.0, 2.0])
LONG, WIDE = 7.0, 2.2  # how near to the truck's middle the car's can come, along and across
LIMITS = np.array([[-5.0, -0.06], [2.5, 0.06]])  # acceleration and steering angle, least and most


class Scene(NamedTuple):
    """What one run begins with.

    Attributes:
        speed: of the car at first.
        truck: where the truck is at first.
        slow: the truck's speed.
        ice: where ice begins on the left lane, and where it ends.
        icy: 1 where there is any.
    """

    speed: jax.Array
    truck: jax.Array
    slow: jax.Array
    ice: jax.Array
    icy: jax.Array


class Car(NamedTuple):
    """Where the car is, how it is turned, how fast it is, and the time."""

    x: jax.Array
    y: jax.Array
    turned: jax.Array
    speed: jax.Array
    time: jax.Array


def scene(key: jax.Array, icy: float) -> Scene:
    """A scene at random."""
    one, two, three, four = jax.random.uniform(key, (4,))
    begins = 40.0 + 15.0 * four
    ice = jnp.stack([begins, begins + 60.0])
    return Scene(17.0 + 3.0 * one, 28.0 + 12.0 * two, 10.0 + 2.0 * three, ice, jnp.asarray(icy))


def start(given: Scene) -> Car:
    """The car at the beginning, in the middle of the right lane."""
    zero = jnp.zeros_like(given.speed)
    return Car(zero, zero, zero, given.speed, zero)


def step(given: Scene, car: Car, control: jax.Array) -> Car:
    """A quarter of a second of a kinematic bicycle; control: acceleration and steering angle.  The truck is solid."""
    push, angle = jnp.clip(control, LIMITS[0], LIMITS[1])
    turned = car.turned + STEP * car.speed / AXLES * jnp.tan(angle)
    speed = jnp.clip(car.speed + STEP * push, 0.0, FAST)
    x = car.x + STEP * speed * jnp.cos(turned)
    y = car.y + STEP * speed * jnp.sin(turned)
    truck = given.truck + given.slow * (car.time + STEP)
    runs_in = (car.x < truck - given.slow * STEP - LONG) | (x < truck)  # from behind
    hits = (jnp.abs(x - truck) < LONG) & (jnp.abs(y) < WIDE)
    behind = hits & runs_in & (jnp.abs(car.y) < WIDE)
    x, speed = jnp.where(behind, truck - LONG, x), jnp.where(behind, jnp.minimum(speed, given.slow), speed)
    y = jnp.where(hits & ~behind, WIDE, y)
    return Car(x, y, turned, speed, car.time + STEP)


def features(given: Scene, car: Car, control: jax.Array) -> jax.Array:
    """What a step that led to this state was like, `[K]`; each from 0 to about its `SIZE`."""
    push, angle = jnp.clip(control, LIMITS[0], LIMITS[1])
    left = jax.nn.sigmoid((car.y - LANE / 2) / 0.25)
    gap = car.x - (given.truck + given.slow * car.time)
    begins, ends = given.ice
    along = jax.nn.sigmoid((car.x - begins) / 1.5) * jax.nn.sigmoid((ends - car.x) / 1.5)
    found = jnp.stack(
        [
            car.speed * jnp.cos(car.turned) / FAST,
            left,
            jnp.sin(jnp.pi * car.y / LANE) ** 2,
            (push / 5.0) ** 2 + (angle / 0.06) ** 2,
            jax.nn.sigmoid((jnp.abs(car.y - LANE / 2) - 3.0) / 0.15),
            jnp.exp(-((gap / 9.0) ** 4) - ((car.y / 2.0) ** 4)),
            given.icy * along * left,
        ]
    )
    return SIZE * found


def drive(given: Scene, car: Car, controls: jax.Array) -> tuple[Car, jax.Array]:
    """Some controls `[T, 2]` one after another: the states on the way, and the features of each step `[T, K]`."""

    def one(car, control):
        after = step(given, car, control)
        return after, (after, features(given, after, control))

    return jax.lax.scan(one, car, controls)[1]
