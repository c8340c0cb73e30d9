"""Partially observed problems as files: games written for other solvers, and Cassandra's format read."""

from cirl.pomdp._pomdp import Pomdp, coordination_pomdp, read

__all__ = ["Pomdp", "coordination_pomdp", "read"]
__dir__ = __all__.copy
