"""Thousands of worlds: one trial for every combination of settings and every seed, and nothing lost.

`run` compiles a trial once, spreads blocks of trials over all devices, and writes each block to a store;
killed and started again, it goes on.  `load` opens the store as one `xarray.Dataset`.
"""

from ird.sweep.results import Named, arrays, load
from ird.sweep.runner import Report, run

__all__ = ["Named", "Report", "arrays", "load", "run"]
__dir__ = __all__.copy
