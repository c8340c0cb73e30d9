"""Tabular Markov decision processes on JAX: models, exact solvers, and what policies do."""

from importlib import metadata
from typing import Any

from mdps import graph, interop, worlds
from mdps.gridworld import GridWorld
from mdps.mdp import MDP, stack
from mdps.optimal_features import Optimum, optimum
from mdps.policies import (
    Trajectory,
    discounted_first_visit,
    feature_expectations,
    occupancy,
    policy_return,
    rollout,
    visit_probability,
)
from mdps.solvers import Solution, action_values, solve

__all__ = [
    "MDP",
    "GridWorld",
    "Optimum",
    "Solution",
    "Trajectory",
    "action_values",
    "discounted_first_visit",
    "feature_expectations",
    "graph",
    "interop",
    "occupancy",
    "optimum",
    "policy_return",
    "rollout",
    "solve",
    "stack",
    "visit_probability",
    "worlds",
]
__dir__ = __all__.copy


def __getattr__(name: str) -> Any:
    if name != "__version__":
        raise AttributeError(f"module 'mdps' has no attribute {name!r}")
    try:
        return metadata.version("inverse-reward-design")
    except metadata.PackageNotFoundError:
        return "unknown"  # run from a checkout that nobody installed
