"""Inverse reward design: a posterior over true rewards from a proxy, and plans that heed it."""

from ird import planning, posterior, risk, sweep
from ird.evidence import ProxyReward
from ird.posterior import Posterior

__all__ = ["Posterior", "ProxyReward", "planning", "posterior", "risk", "sweep"]
