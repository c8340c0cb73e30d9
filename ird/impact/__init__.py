"""Impact measures: penalties for what changes beside the aim, exact, as one more feature of an MDP.

`unreachability`, `relative_reachability`, `attainable_utility` and `future_tasks` compare the state after each action
with a baseline: `Start()`, `Inaction()` or `Stepwise()`; `aup` compares the action with doing nothing.  `penalised`
makes the penalty a feature, ends the run where it ends, and keeps the clock that inaction needs; `price` says from
which weight on the penalty changes the plan.
"""

from ird.impact._aup import aup
from ird.impact._baselines import Inaction, Start, Stepwise
from ird.impact._deviations import attainable_utility, future_tasks, relative_reachability, unreachability
from ird.impact._penalised import penalised
from ird.impact._price import Price, price
from ird.impact._reachability import reachability

__all__ = [
    "Inaction",
    "Price",
    "Start",
    "Stepwise",
    "attainable_utility",
    "aup",
    "future_tasks",
    "penalised",
    "price",
    "reachability",
    "relative_reachability",
    "unreachability",
]
__dir__ = __all__.copy
