"""Cooperative inverse reinforcement learning: games in which only the human knows the reward."""

from typing import Any

import mdps
from cirl import games, human, oversight, teaching
from cirl.bounded import Bounded
from cirl.game import Game, Order
from cirl.policy_graph import PolicyGraph, evaluate
from cirl.pomcp import Pomcp
from cirl.pomdp import Pomdp, coordination_pomdp
from cirl.simulation import Episodes, misspecification, simulate
from cirl.solvers import Commitment, Exact, GameSolution, SubgameConsistent, solve

__all__ = [
    "Bounded",
    "Commitment",
    "Episodes",
    "Exact",
    "Game",
    "GameSolution",
    "Order",
    "PolicyGraph",
    "Pomcp",
    "Pomdp",
    "SubgameConsistent",
    "coordination_pomdp",
    "evaluate",
    "games",
    "human",
    "misspecification",
    "oversight",
    "simulate",
    "solve",
    "teaching",
]
__dir__ = __all__.copy


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return mdps.__version__
    raise AttributeError(f"module 'cirl' has no attribute {name!r}")
