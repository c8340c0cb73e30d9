"""Classes that JAX takes apart are told from each other, and put together without their checks."""

import ast
from dataclasses import dataclass, field
from pathlib import Path

import jax
import pytest

from cirl.solvers import Commitment, SubgameConsistent
from ird.risk import CVaR, Entropic, Mean, WorstCase
from mdps.pytrees import frozen_pytree

ROOT = Path(__file__).parent.parent


@frozen_pytree
@dataclass(frozen=True)
class Here:
    x: float
    mode: str = field(default="m", metadata={"static": True})


@frozen_pytree
@dataclass(frozen=True)
class There:
    x: float
    mode: str = field(default="m", metadata={"static": True})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Here(1.0), There(1.0)),
        (Here(1.0), Here(1.0, "n")),
        (Mean(), WorstCase()),
        (CVaR(0.5), Entropic(0.5)),
        (Commitment(), SubgameConsistent()),
    ],
)
def test_classes_are_different_structures(one, other):
    """By `register_dataclass` they are equal, and only hash differently: Mean was run for WorstCase."""
    assert jax.tree.structure(one) != jax.tree.structure(other)
    assert jax.tree.structure((one, 1)) != jax.tree.structure((other, 1))
    assert jax.tree.structure(one) == jax.tree.structure(jax.tree.map(lambda x: x, one))


def test_no_class_is_registered_in_the_way_that_confuses_them():
    for package in ("mdps", "ird", "cirl", "examples"):
        for path in (ROOT / package).rglob("*.py"):
            used = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)]
            assert not [n for n in used if n.attr == "register_dataclass"], path


def test_leaves_have_paths_and_statics_do_not_move():
    tree = Here(2.0, "n")
    [(path, leaf)], _ = jax.tree_util.tree_flatten_with_path(tree)
    assert (jax.tree_util.keystr(path), leaf) == (".x", 2.0)
    assert jax.tree.map(lambda x: x + 1, tree) == Here(3.0, "n")
