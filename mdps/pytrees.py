"""Frozen dataclasses that JAX takes apart and puts together: checked where people build them, not where JAX does."""

from dataclasses import fields
from typing import Any, TypeVar

import jax

from mdps.checks import shown

__all__ = ["Tree", "frozen_pytree", "in_one_line", "set_fields", "with_fields"]
__dir__ = __all__.copy

T = TypeVar("T", bound=type)
Tree = TypeVar("Tree")


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
        set_fields(tree, **dict(zip(static, held, strict=True)), **dict(zip(leaves, children, strict=True)))
        return tree

    jax.tree_util.register_pytree_with_keys(
        cls,
        lambda tree: ([(jax.tree_util.GetAttrKey(name), getattr(tree, name)) for name in leaves], statics(tree)),
        unflatten,
        lambda tree: ([getattr(tree, name) for name in leaves], statics(tree)),
    )
    return cls


def in_one_line(self: Any) -> str:
    """A `repr` without the arrays: every number, and the dtype and shape of everything else that is a leaf."""
    values = {f.name: getattr(self, f.name) for f in fields(self) if not f.metadata.get("static")}
    return f"{type(self).__name__}({', '.join(f'{name}={shown(x)}' for name, x in values.items())})"


def set_fields(tree: Any, **values: Any) -> None:
    """Set fields of a frozen dataclass: for an `__init__` that checks what it is given."""
    for name, value in values.items():
        object.__setattr__(tree, name, value)


def with_fields(tree: Tree, **changes: Any) -> Tree:
    """A copy of a frozen dataclass with some fields changed, unchecked: `dataclasses.replace` would run `__init__`."""
    new = object.__new__(type(tree))
    set_fields(new, **{field.name: getattr(tree, field.name) for field in fields(tree)} | changes)  # pyright: ignore[reportArgumentType]
    return new
