"""The tabular Markov decision process: the class, what its constructors read, several as one, one over many devices."""

from mdps.mdp._inputs import name_features
from mdps.mdp._mdp import MDP, ending, from_table
from mdps.mdp._shard import place, shard
from mdps.mdp._stack import stack

__all__ = ["MDP", "ending", "from_table", "name_features", "place", "shard", "stack"]
__dir__ = __all__.copy
