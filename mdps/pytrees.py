"""Frozen dataclasses that JAX takes apart and puts together: checked where people build them, not where JAX does."""

from dataclasses import fields
from typing import TypeVar

import jax

T = TypeVar("T", bound=type)


def frozen_pytree(cls: T) -> T:
    """Register a frozen dataclass; fields with `metadata={"static": True}` are static, the others are leaves.

    Unlike `jax.tree_util.register_dataclass`, unflattening does not run `__init__`: JAX passes tracers and
    placeholders there, which a check of values would refuse.
    """
    static = [field.name for field in fields(cls) if field.metadata.get("static")]
    leaves = [field.name for field in fields(cls) if field.name not in static]

    def statics(tree):
        return tuple(getattr(tree, name) for name in static)

    def unflatten(held, children):
        tree = object.__new__(cls)
        for name, value in (*zip(static, held, strict=True), *zip(leaves, children, strict=True)):
            object.__setattr__(tree, name, value)
        return tree

    jax.tree_util.register_pytree_with_keys(
        cls,
        lambda tree: ([(jax.tree_util.GetAttrKey(name), getattr(tree, name)) for name in leaves], statics(tree)),
        unflatten,
        lambda tree: ([getattr(tree, name) for name in leaves], statics(tree)),
    )
    return cls
