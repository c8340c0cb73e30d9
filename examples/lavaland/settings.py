"""What may be set: defaults in settings.toml, the rules that settings must keep, and the sizes of `--small`."""

from pathlib import Path
from typing import Any

from examples._settings import COUNT, NAMES, NUMBERS_BY_NAME, POSITIVE, SEED, SHARE, SHARES, Rule
from examples._settings import load as overlaid

DEFAULTS = Path(__file__).with_suffix(".toml")
RULES: dict[str, Rule] = {
    "seed": SEED,
    "maps": COUNT,
    "designer.beta": POSITIVE,
    "designer.alternatives": COUNT,
    "prior.samples": COUNT,
    "prior.trajectory_samples": COUNT,
    "prior.demonstration_samples": COUNT,
    "planners.alphas": SHARES,
    "planners.worst_case_draws": COUNT,
    "planners.tol": POSITIVE,
    "default.give_up": SHARE,
    "default.cut": SHARE,
    "generated.horizon": COUNT,
    "own.avoid": NAMES,
    "own.reach": NAMES,
    "limits.maps": COUNT,
    **{f"{world}.{reward}": NUMBERS_BY_NAME for world in ("generated", "paper", "shift", "own", "limits")
       for reward in ("proxy", "truth")},
}  # fmt: skip
# What --small changes: enough to run every line in seconds.
SMALL: dict[str, Any] = {
    "maps": 4,
    "designer": {"alternatives": 24},
    "prior": {"samples": 256, "trajectory_samples": 32, "demonstration_samples": 16},
    "planners": {"alphas": [0.12, 0.5], "worst_case_draws": 8, "tol": 0.01},
    "limits": {"maps": 4},
}


def load(*changes: Path | dict[str, Any]) -> dict[str, Any]:
    """The default settings with changes laid over them, in order; see `examples._settings.load`."""
    return overlaid(DEFAULTS, RULES, *changes)
