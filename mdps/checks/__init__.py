"""The door of every public function: one set of checks for numbers, arrays, flags, counts, keys, rewards and MDPs.

Each check returns what it was given as the function will use it (numbers and arrays in a floating dtype, flags as
booleans), or raises a `ValueError` that names the argument, what it was and what to give instead.  Values are judged
*after* they were brought into the dtype in which they will be used: 1e300 is infinite in float32, and 1e-50 is zero.
Of a tracer only its shape and dtype can be judged; its values pass.
"""

from mdps.checks._mdps import (
    check_horizon_and_discount,
    check_mdp,
    check_policy,
    check_reward,
    check_sums,
    check_weights,
)
from mdps.checks._probabilities import as_distributions, check_rows
from mdps.checks._values import (
    check_array,
    check_count,
    check_finite,
    check_flags,
    check_index,
    check_indices,
    check_key,
    check_mask,
    check_names,
    check_number,
    check_part,
    check_real,
    check_temperature,
    check_tolerance,
    check_truth,
    is_concrete,
    require_concrete,
    shown,
)

__all__ = [
    "as_distributions",
    "check_array",
    "check_count",
    "check_finite",
    "check_flags",
    "check_horizon_and_discount",
    "check_index",
    "check_indices",
    "check_key",
    "check_mask",
    "check_mdp",
    "check_names",
    "check_number",
    "check_part",
    "check_policy",
    "check_real",
    "check_reward",
    "check_rows",
    "check_sums",
    "check_temperature",
    "check_tolerance",
    "check_truth",
    "check_weights",
    "is_concrete",
    "require_concrete",
    "shown",
]
__dir__ = __all__.copy
