"""Planning under a belief about the reward: certified per trajectory, or greedily per step.

Arguments come in one order: the MDP, the belief, then proxies; choices by name.
"""

from ird.planning._offsets import (
    log_normalizer_offset,
    map_features,
    no_offset,
    policy_offset,
    regret_offset,
    start_features,
    start_offset,
    training_features,
    training_offset,
    training_stakes,
)
from ird.planning._per_step import plan_per_step
from ird.planning._per_trajectory import plan
from ird.planning._risk_plan import RiskPlan

__all__ = [
    "RiskPlan",
    "log_normalizer_offset",
    "map_features",
    "no_offset",
    "plan",
    "plan_per_step",
    "policy_offset",
    "regret_offset",
    "start_features",
    "start_offset",
    "training_features",
    "training_offset",
    "training_stakes",
]
