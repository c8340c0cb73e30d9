"""What knows the compiler and the device."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array


def on_cpu() -> bool:
    """Whether programs run on a processor, which reads in place; an accelerator would rather compute than copy."""
    return jax.default_backend() == "cpu"


def unfused(always: Array, function: Callable, *operands):
    """`function(*operands)`, which the compiler does not merge with what surrounds it.

    Args:
        always: a condition that holds, NaN or not, though the compiler cannot know; the other branch is NaN.
        function: any function of arrays.
        *operands: its arguments.
    """

    def never(*operands):
        return jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), jax.eval_shape(function, *operands))

    return jax.lax.cond(always, function, never, *operands)


def held_once(x: Any) -> Any:
    """`x`, computed once: a compiler would compute an exponential again wherever it is used."""
    return jax.lax.optimization_barrier(x)
