"""The ways in which the library is called: one by one, under `jit`, and mapped over rewards, MDPs or both."""

import functools
from collections.abc import Callable

import jax
import numpy as np

CALLS = {
    "plain": (4, 4),
    "jit": (8, 8),
    "shared": (1, 512),
    "stacked": (128, 1),
    "nested": (64, 8),
}  # MDPs, rewards of each


def ask(call: str, function: Callable, models: list, stacked, *arrays):
    """`function(mdp, *arrays)` for N MDPs with R problems each.

    Args:
        call: how, a key of `CALLS`.
        function: what is asked; the same object for the same program, or everything is compiled again.
        models: the MDPs, one by one.
        stacked: the same in one pytree.
        *arrays: what goes with them, `[N, R, ...]` each.

    Returns:
        The answers as NumPy arrays, every leaf `[N·R, ...]`.
    """
    if call in ("plain", "jit"):
        one = function if call == "plain" else _mapped(function, call)
        N, R = arrays[0].shape[:2]
        found = [one(models[i], *(x[i, j] for x in arrays)) for i in range(N) for j in range(R)]
        return jax.tree.map(lambda *x: np.stack(x), *found)
    if call == "shared":
        first = jax.tree.map(lambda x: x[0], stacked)
        return jax.tree.map(np.asarray, _mapped(function, call)(first, *(x[0] for x in arrays)))
    if call == "stacked":
        return jax.tree.map(np.asarray, _mapped(function, call)(stacked, *(x[:, 0] for x in arrays)))
    found = _mapped(function, call)(stacked, *arrays)
    return jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), found)


@functools.cache
def _mapped(function: Callable, call: str) -> Callable:
    if call == "jit":
        return jax.jit(function)
    over_rewards = lambda m, *x: jax.vmap(functools.partial(function, m))(*x)  # noqa: E731
    if call == "shared":
        return jax.jit(over_rewards)
    return jax.jit(jax.vmap(function if call == "stacked" else over_rewards))


def spelt(call: str, inner: str) -> str:
    """How a call is written."""
    return {
        "plain": inner,
        "jit": f"jax.jit of {inner}",
        "shared": f"jit(vmap) over rewards of {inner}",
        "stacked": f"jit(vmap) over MDPs of {inner}",
        "nested": f"jit(vmap(vmap)) over MDPs and their rewards of {inner}",
    }[call]
