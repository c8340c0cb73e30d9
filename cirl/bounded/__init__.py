"""The bounded solver: two bounds on the value that close in on it, for games too large to solve exactly."""

from cirl.bounded._full_information import values_with_full_information
from cirl.bounded._search import Bounded, Search

__all__ = ["Bounded", "Search", "values_with_full_information"]
