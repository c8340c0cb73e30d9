"""The sweep whose finished store, as commit 1faf575 wrote it, is `tests/data/sweep_1faf575.zarr`.

The store was written by running this file with that commit's code and jax 0.10.2 on a CPU; it is not written anew.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp

from ird import sweep

STORE = Path(__file__).parent / "data" / "sweep_1faf575.zarr"


def trial(key, *, rule, scale):
    """Something of every kind: a label, a setting, a field with an axis of its own, whole numbers and flags."""
    draws = scale * jax.random.normal(key, (4,))
    return {"middle": {"mean": jnp.mean, "max": jnp.max}[rule](draws), "pair": draws[:2], "above": jnp.sum(draws > 1)}


def run(store, **more):
    return sweep.run(
        trial, {"scale": [0.5, 2.0]}, static={"rule": ["mean", "max"]}, num_seeds=5, key=jax.random.key(7), block=4,
        store=store, dims={"pair": ["half"]}, progress=False, **more,
    )  # fmt: skip


if __name__ == "__main__":
    print(run(sys.argv[1] if len(sys.argv) > 1 else STORE))
