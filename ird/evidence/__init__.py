"""Evidence about a reward: how likely a person was to say this, had that been what they meant."""

from ird.evidence.choice import Choice
from ird.evidence.comparison import Comparison
from ird.evidence.demonstration import MaxEntDemonstration, RationalDemonstration
from ird.evidence.feedback import Correction, CreditAssignment, Improvement, RewardPunish, deformed_path
from ird.evidence.initial_state import InitialState, InitialStateChoice
from ird.evidence.language import Utterance
from ird.evidence.normalizers import MaxOverProxies, SoftValue, SumOverProxies, SumWithCandidate
from ird.evidence.off_switch import OffSwitch
from ird.evidence.paths import path_features
from ird.evidence.protocol import Evidence, Normalizer
from ird.evidence.proxy import ProxyReward
from ird.evidence.rollouts import NoTable, SumOverRollouts

__all__ = [
    "Choice",
    "Comparison",
    "Correction",
    "CreditAssignment",
    "Evidence",
    "Improvement",
    "InitialState",
    "InitialStateChoice",
    "MaxEntDemonstration",
    "MaxOverProxies",
    "NoTable",
    "Normalizer",
    "OffSwitch",
    "ProxyReward",
    "RationalDemonstration",
    "RewardPunish",
    "SoftValue",
    "SumOverProxies",
    "SumOverRollouts",
    "SumWithCandidate",
    "Utterance",
    "deformed_path",
    "path_features",
]
__dir__ = __all__.copy
