"""Simulators of other libraries: what their runs collect, and what their agents are paid."""

from ird.interop import gymnasium

__all__ = ["gymnasium"]
__dir__ = __all__.copy
