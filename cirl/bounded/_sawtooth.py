"""The upper bound between the beliefs at which it is known.

The value V is convex in the belief and, for beliefs that are not normalised, positively
homogeneous; so V(x) ≤ λ V(p) + V(x - λ p) for every known point p and λ p ≤ x.  With one point and
full information for the rest this is the sawtooth (Hauskrecht 2000); here it is applied again to
the rest, and the rest is worth no more than a robot could get that is told θ one step later.

All of it as losses, V ≤ 0: then V(x) ≤ V(y) for y ≤ x, and what rounding leaves out of λ and of the rest is safe.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def interpolate(
    belief: Float[Array, " ... Theta"],
    informed: Float[Array, " ... m Theta"],
    points: Float[Array, " ... C Theta"],
    worth: Float[Array, " ... C"],
    *,
    rounds: int,
) -> Float[Array, " ..."]:
    """An upper bound at beliefs that need not be normalised; leading axes broadcast.

    Args:
        belief: x, `[..., Θ]`.
        informed: M of `_full_information` there, `[..., m, Θ]`.
        points: beliefs at which a bound is known, `[..., C, Θ]`.
        worth: the bounds, `[..., C]`.
        rounds: how many points may be taken out, one after another (static).
    """
    eps = jnp.finfo(belief.dtype).eps
    inverse = jnp.where(points > 0, (1 - 4 * eps) / points, jnp.inf)
    at_points = jnp.einsum("...ct,...mt->...cm", points, informed)

    def told(x):  # [..., m]
        return jnp.sum(informed * x[..., None, :], axis=-1)

    def take_out(carry, _):
        x, paid, best = carry
        # The largest λ with λ p ≤ x.
        share = jnp.min(jnp.where(jnp.isinf(inverse), jnp.inf, x[..., None, :] * inverse), axis=-1)
        rest = jnp.max(told(x)[..., None, :] - share[..., None] * at_points, axis=-1)
        chosen = jnp.argmin(share * worth + rest, axis=-1)
        out = jnp.where(jax.nn.one_hot(chosen, worth.shape[-1], dtype=bool), share, 0)
        paid = paid + jnp.sum(out * worth, axis=-1)
        x = jnp.maximum(x * (1 - 2 * eps) - jnp.sum(out[..., None] * points, axis=-2), 0)
        return (x, paid, jnp.minimum(best, paid + jnp.max(told(x), axis=-1))), None

    first = jnp.max(told(belief), axis=-1)
    x = jnp.broadcast_to(belief, (*first.shape, belief.shape[-1]))
    (_, _, best), _ = jax.lax.scan(take_out, (x, jnp.zeros_like(first), first), None, length=rounds)
    return best
