"""The inner loops over the successor table, and the layouts that make them fast.

Every array here carries its batch axes *last*: values are `[S, *batch]`, so that gathering a
successor is a copy of contiguous rows and the arithmetic vectorises over the batch (12 times
faster on a CPU than `vmap` of the same loop over `[B, S]`).  `batch_last` lets callers write a
plain `jax.vmap`: it adds each mapped axis behind the core axes instead of in front.

This folder alone knows the compiler, the caches and the device.
"""

from mdps.kernels.batching import batch_last, columns_at_once, fills_the_caches, tiled
from mdps.kernels.blocks import sweeps
from mdps.kernels.fixed_point import (
    Settled,
    certify,
    l1_change,
    max_change,
    pays_to_refine,
    refine,
    settle,
    settle_in_cycles,
    span_change,
)
from mdps.kernels.layout import Layout
from mdps.kernels.neighbourhood import (
    Index,
    Neighbours,
    arrivals,
    as_columns,
    columns,
    expect,
    iterate,
    neighbours,
    shifted,
    sweep,
)
from mdps.kernels.operators import Columns, Gathered, Matrix, Operator, operator
from mdps.kernels.own_successors import Own
from mdps.kernels.predecessors import Arrivals, into_sink, summed
from mdps.kernels.xla import held_once, on_cpu, unfused

__all__ = [
    "Arrivals",
    "Columns",
    "Gathered",
    "Index",
    "Layout",
    "Matrix",
    "Neighbours",
    "Operator",
    "Own",
    "Settled",
    "arrivals",
    "as_columns",
    "batch_last",
    "certify",
    "columns",
    "columns_at_once",
    "expect",
    "fills_the_caches",
    "held_once",
    "into_sink",
    "iterate",
    "l1_change",
    "max_change",
    "neighbours",
    "on_cpu",
    "operator",
    "pays_to_refine",
    "refine",
    "settle",
    "settle_in_cycles",
    "shifted",
    "span_change",
    "summed",
    "sweep",
    "sweeps",
    "tiled",
    "unfused",
]
