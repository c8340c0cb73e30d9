"""What a robot is to do as a graph: nodes that remember, what each is worth, what is believed there, its picture."""

from cirl.policy_graph._beliefs import believed
from cirl.policy_graph._policy_graph import PolicyGraph, evaluate
from cirl.policy_graph._values import Nodes, Values, values_of

__all__ = ["Nodes", "PolicyGraph", "Values", "believed", "evaluate", "values_of"]
__dir__ = __all__.copy
