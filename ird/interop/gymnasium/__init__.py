"""Gymnasium: features of its environments, what policies collect of them, and rewards to train agents on.

`rollouts` runs given policies in a vector environment and returns what each collects, with standard errors, ready for
`ProxyReward.from_features` and `planning.choose`.  `RewardWrapper` pays an agent what a belief says, so that whatever
trains against gymnasium trains against that.  Gymnasium is an extra; it is imported where one of these is called.
"""

from ird.interop.gymnasium._found import Rollouts
from ird.interop.gymnasium._rollouts import rollouts
from ird.interop.gymnasium._wrappers import FeatureWrapper, RewardWrapper

__all__ = ["FeatureWrapper", "RewardWrapper", "Rollouts", "rollouts"]
__dir__ = __all__.copy
