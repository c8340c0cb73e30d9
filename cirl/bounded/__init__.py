"""The bounded solver: two bounds on the value that close in on it, for games too large to solve exactly."""

from cirl.bounded._full_information import values_with_full_information
from cirl.bounded._search import Bounded, HeuristicSearch
from cirl.bounded._watch import Watch

__all__ = ["Bounded", "HeuristicSearch", "Watch", "values_with_full_information"]
__dir__ = __all__.copy
