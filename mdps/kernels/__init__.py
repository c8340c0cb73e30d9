"""The inner loops over the successor table, and the layouts that make them fast.

Every array here carries its batch axes *last*: values are `[S, *batch]`, so that gathering a
successor is a copy of contiguous rows and the arithmetic vectorises over the batch (12 times
faster on a CPU than `vmap` of the same loop over `[B, S]`).  `batch_last` lets callers write a
plain `jax.vmap`: it adds each mapped axis behind the core axes instead of in front.

This folder alone knows the compiler, the caches and the device.
"""

from mdps.kernels.batching import VECTOR, batch_last, tiled
from mdps.kernels.blocks import sweeps
from mdps.kernels.fixed_point import (
    Settled,
    certify,
    largest,
    refine,
    settle,
    settle_in_cycles,
    span,
    total,
    worth_refining,
)
from mdps.kernels.layout import Layout
from mdps.kernels.neighbourhood import (
    Index,
    Margins,
    arrivals,
    columns,
    expect,
    listed,
    neighbours,
    repeat,
    shifted,
    sweep,
)
from mdps.kernels.operators import Columns, Gathered, Matrix, Operator, operator
from mdps.kernels.own_successors import Own
from mdps.kernels.predecessors import Arrivals, summed
from mdps.kernels.xla import apart, on_cpu

__all__ = [
    "VECTOR",
    "Arrivals",
    "Columns",
    "Gathered",
    "Index",
    "Layout",
    "Margins",
    "Matrix",
    "Operator",
    "Own",
    "Settled",
    "apart",
    "arrivals",
    "batch_last",
    "certify",
    "columns",
    "expect",
    "largest",
    "listed",
    "neighbours",
    "on_cpu",
    "operator",
    "refine",
    "repeat",
    "settle",
    "settle_in_cycles",
    "shifted",
    "span",
    "summed",
    "sweep",
    "sweeps",
    "tiled",
    "total",
    "worth_refining",
]
