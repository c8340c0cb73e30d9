"""Exact solvers, which list what can happen: subsets of Θ for a rational human, the robot's plans, all histories."""

from cirl.exact._dominance import Comparisons, TooManyComparisonsError, undominated
from cirl.exact._plans import MOST_PLANS, TooManyPlansError, solve_plans
from cirl.exact._subgame_consistent import best_replies
from cirl.exact._subsets import MOST_THETAS, Found, cost_of_subsets, solve_subsets

__all__ = [
    "MOST_PLANS",
    "MOST_THETAS",
    "Comparisons",
    "Found",
    "TooManyComparisonsError",
    "TooManyPlansError",
    "best_replies",
    "cost_of_subsets",
    "solve_plans",
    "solve_subsets",
    "undominated",
]
__dir__ = __all__.copy
