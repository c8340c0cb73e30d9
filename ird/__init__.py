"""Inverse reward design: a posterior over true rewards from a proxy, and plans that heed it."""

import importlib
from typing import TYPE_CHECKING, Any

import mdps
from ird import planning, posterior, risk, sweep
from ird.evidence import ProxyReward
from ird.posterior import Posterior

if TYPE_CHECKING:
    from ird import alignment, calibration, designer, evidence, goodhart, impact, information, interop, queries

__all__ = [
    "Posterior",
    "ProxyReward",
    "alignment",
    "calibration",
    "designer",
    "evidence",
    "goodhart",
    "impact",
    "information",
    "interop",
    "planning",
    "posterior",
    "queries",
    "risk",
    "sweep",
]

# Imported when they are asked for.
_LAZY = ("alignment", "calibration", "designer", "evidence", "goodhart", "impact", "information", "interop", "queries")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"ird.{name}")
    if name == "__version__":
        return mdps.__version__
    raise AttributeError(f"module 'ird' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})
