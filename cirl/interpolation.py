"""The upper bound between the beliefs at which it is known.

The value V is convex in the belief and, for beliefs that are not normalised, positively
homogeneous; so V(x) ≤ λ V(p) + V(x - λ p) for every known point p and λ p ≤ x.  With one point and
full information for the rest this is the sawtooth (Hauskrecht 2000); here it is applied again to
the rest, and the rest is worth no more than a robot could get that is told θ one step later.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def shares(belief: Float[Array, " Theta"], points: Float[Array, " C Theta"]) -> Float[Array, " C"]:
    """The largest λ with λ p ≤ belief for each point, `[C]`."""
    held = points > 0
    return jnp.min(jnp.where(held, belief[None] / jnp.where(held, points, 1), jnp.inf), axis=-1)


def interpolate(
    belief: Float[Array, " Theta"],
    informed: Float[Array, " m Theta"],
    points: Float[Array, " C Theta"],
    worth: Float[Array, " C"],
    *,
    rounds: int,
) -> Float[Array, ""]:
    """An upper bound at a belief that need not be normalised.

    Args:
        belief: x, `[Θ]`.
        informed: M of `cirl.informed` here, `[m, Θ]`.
        points: beliefs at which a bound is known, `[C, Θ]`.
        worth: the bounds, `[C]`.
        rounds: how many points may be taken out, one after another (static).
    """
    at_points = points @ informed.T  # [C, m]

    def take_out(carry, _):
        belief, paid, best = carry
        part = shares(belief, points)
        i = jnp.argmin(part * worth + jnp.max((informed @ belief)[None] - part[:, None] * at_points, axis=-1))
        paid = paid + part[i] * worth[i]
        belief = jnp.maximum(belief - part[i] * points[i], 0)  # not negative by rounding
        return (belief, paid, jnp.minimum(best, paid + jnp.max(informed @ belief))), None

    first = jnp.max(informed @ belief)
    (_, _, best), _ = jax.lax.scan(take_out, (belief, jnp.zeros_like(first), first), None, length=rounds)
    return best
