"""Grid worlds: maps as people write them, terrain as features, four moves, pictures."""

from mdps.gridworld._gridworld import GridWorld

__all__ = ["GridWorld"]
__dir__ = __all__.copy
