"""Thousands of worlds: one trial for every combination of settings and every seed, and nothing lost.

`run` compiles a trial once, spreads blocks of trials over all devices, or over the workers of an engine (a pool, Dask),
and writes each block to a store; killed and started again, it goes on.  `map` does so for a function of cases in place
of seeds.  `load` opens the store as one `xarray.Dataset`.
"""

from ird.sweep.cases import map
from ird.sweep.results import Named, arrays, load
from ird.sweep.runner import Report, run

__all__ = ["Named", "Report", "arrays", "load", "map", "run"]
__dir__ = __all__.copy
