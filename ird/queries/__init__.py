"""What to ask next: which rewards to show a designer, and in which environment.

pool = queries.Pool.from_rewards(rewards, train.mdp, beta=0.5)       # planned once
query = queries.choose(pool, belief, 3)
belief = posterior.exact(*seen, query.answer(picked), candidates=candidates)
"""

from ird.queries._choose import Pool, Query, choose
from ird.queries.environments import Disagreement, EnvironmentChoice, ProxyInformation, choose_environment
from ird.queries.objectives import InformationGain, Objective, PosteriorEntropy
from ird.queries.searches import Exhaustive, Greedy, Random, Search

__all__ = [
    "Disagreement",
    "EnvironmentChoice",
    "Exhaustive",
    "Greedy",
    "InformationGain",
    "Objective",
    "Pool",
    "PosteriorEntropy",
    "ProxyInformation",
    "Query",
    "Random",
    "Search",
    "choose",
    "choose_environment",
]
__dir__ = __all__.copy
