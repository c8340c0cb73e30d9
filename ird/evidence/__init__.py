"""Evidence about a reward: how likely a person was to say this, had that been what they meant."""

from ird.evidence.normalizers import SumOverProxies, SumWithCandidate
from ird.evidence.protocol import Evidence, Normalizer
from ird.evidence.proxy import ProxyReward

__all__ = ["Evidence", "Normalizer", "ProxyReward", "SumOverProxies", "SumWithCandidate"]
