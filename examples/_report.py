"""What programs report: means with their errors, numbers rounded, the versions they depend on."""

import math
import platform
from collections.abc import Iterable
from importlib import metadata
from typing import Any

import numpy as np


def mean_and_error(x: np.ndarray) -> tuple[float, float | None]:
    """Mean over maps and its standard error; None for a single map."""
    x = np.asarray(x, np.float64)
    return float(x.mean()), float(x.std(ddof=1) / math.sqrt(x.size)) if x.size > 1 else None


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in ("jax", "jaxlib", "numpy", "numpyro", "inverse-reward-design"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def rounded(value: Any, digits: int = 6) -> Any:
    """Numbers of a manifest, rounded to so many significant digits."""
    if isinstance(value, dict):
        return {key: rounded(v, digits) for key, v in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [rounded(v, digits) for v in value]
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    return value
