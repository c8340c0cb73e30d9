"""Planning under a belief about the reward: of least exposure to the unknown, certified per trajectory, or per step.

Arguments come in one order: the MDP, the belief, then proxies; choices by name.
"""

from ird.planning._chosen import ExposureChoice, RiskChoice
from ird.planning._correlated import CorrelatedPlan, plan_correlated
from ird.planning._explain import Explanation, explain
from ird.planning._frontier import Frontier, frontier
from ird.planning._least_exposure import ExposurePlan, plan_least_exposure
from ird.planning._offsets import (
    features_offset,
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
from ird.planning._options import choose_option as choose  # `ird.queries` has a choose of its own
from ird.planning._pay import (
    LeastExposurePay,
    LinearPay,
    Pay,
    PerStepPay,
    pay_draw,
    pay_least_exposure,
    pay_mean,
    pay_per_step,
)
from ird.planning._per_step import plan_per_step
from ird.planning._per_trajectory import plan
from ird.planning._risk_plan import RiskPlan
from ird.planning._unknown import unknown

__all__ = [
    "CorrelatedPlan",
    "Explanation",
    "ExposureChoice",
    "ExposurePlan",
    "Frontier",
    "LeastExposurePay",
    "LinearPay",
    "Pay",
    "PerStepPay",
    "RiskChoice",
    "RiskPlan",
    "choose",
    "explain",
    "features_offset",
    "frontier",
    "log_normalizer_offset",
    "map_features",
    "no_offset",
    "pay_draw",
    "pay_least_exposure",
    "pay_mean",
    "pay_per_step",
    "plan",
    "plan_correlated",
    "plan_least_exposure",
    "plan_per_step",
    "policy_offset",
    "regret_offset",
    "start_features",
    "start_offset",
    "training_features",
    "training_offset",
    "training_stakes",
    "unknown",
]
__dir__ = __all__.copy
