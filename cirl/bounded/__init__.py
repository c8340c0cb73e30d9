"""The bounded solver: two bounds on the value that close in on it, for games too large to solve exactly."""

from cirl.bounded._full_information import values_with_full_information
from cirl.bounded._search import Bounded, HeuristicSearch

__all__ = ["Bounded", "HeuristicSearch", "values_with_full_information"]
__dir__ = __all__.copy
