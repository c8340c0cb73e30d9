"""How far a written reward is from a meant one: what it may cost, and how differently it ranks policies.

`regret` and `performance` ask what a plan loses under what may be meant, on a map, and `outer_inner` how much of that
is the reward's fault and how much the policy's; `geometry` measures rewards by how
they rank all policies of a map (STARC), `epic` and `dard` without planning; `correlation` under a reference policy,
with what it guarantees of others; `hackable` finds two policies on which written and meant reward disagree, or a proof
that there are none; `order_among` and `simplification` do so among a few.

`myopic` looks a few steps ahead and takes an overseer's word for the rest; `process_rewards` pays for steps.
`inflation` says by how much runs look better than they are.  `current_reward` plans for the reward in force now,
where that can be changed.
"""

from ird.alignment._correlation import Correlation, correlation
from ird.alignment._finite import Order, order_among, simplification
from ird.alignment._geometry import Advantage, Geometry, Minimal, geometry, starc
from ird.alignment._hackable import Hack, hackable
from ird.alignment._inflation import Beside, Inflation, inflation
from ird.alignment._pearson import dard, epic
from ird.alignment._performance import Performance, performance
from ird.alignment._process import Myopic, ProcessRewards, myopic, process_rewards
from ird.alignment._regret import Regret, regret, regret_on_any_map
from ird.alignment._shortfall import OuterInner, outer_inner
from ird.alignment._tampering import CurrentReward, current_reward

__all__ = [
    "Advantage",
    "Beside",
    "Correlation",
    "CurrentReward",
    "Geometry",
    "Hack",
    "Inflation",
    "Minimal",
    "Myopic",
    "Order",
    "OuterInner",
    "Performance",
    "ProcessRewards",
    "Regret",
    "correlation",
    "current_reward",
    "dard",
    "epic",
    "geometry",
    "hackable",
    "inflation",
    "myopic",
    "order_among",
    "outer_inner",
    "performance",
    "process_rewards",
    "regret",
    "regret_on_any_map",
    "simplification",
    "starc",
]
__dir__ = __all__.copy
