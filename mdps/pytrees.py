"""Frozen dataclasses that JAX takes apart and puts together: checked where people build them, not where JAX does."""

from dataclasses import fields
from typing import TypeVar

import jax

T = TypeVar("T", bound=type)


def frozen_pytree(cls: T) -> T:
    """Register a frozen dataclass; fields with `metadata={"static": True}` are static, the others are leaves.

    Use it instead of `jax.tree_util.register_dataclass`, for two reasons.  To that (jaxlib 0.10.2 and 0.12.0) the
    structures of two classes with equally many leaves and equal statics are equal and only hash differently, so that
    with about one pair in fifty (30 of 1,500 tried) the program that was compiled for one is run for the other.  And
    unflattening does not run `__init__` here: JAX passes tracers and placeholders there, which a check of values would
    refuse.

    Example:
        >>> from dataclasses import dataclass
        >>> import jax
        >>> from mdps.pytrees import frozen_pytree
        >>> @frozen_pytree
        ... @dataclass(frozen=True)
        ... class Shifted:
        ...     by: float
        >>> jax.jit(lambda shift, x: x + shift.by)(Shifted(2.0), 1.0).item()
        3.0
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
