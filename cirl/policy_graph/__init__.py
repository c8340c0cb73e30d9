"""What a robot is to do as a graph: nodes that remember, what each is worth, what is believed there, its picture."""

from cirl.policy_graph._beliefs import believed
from cirl.policy_graph._policy_graph import PolicyGraph, evaluate, lengthened, with_room
from cirl.policy_graph._values import Nodes, Values, values_of

__all__ = ["Nodes", "PolicyGraph", "Values", "believed", "evaluate", "lengthened", "values_of", "with_room"]
__dir__ = __all__.copy
