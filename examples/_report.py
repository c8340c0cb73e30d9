"""What programs leave behind: a JSON manifest of settings, versions and results; means with their errors."""

import argparse
import json
import math
import platform
import time
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def save(
    out: Path,
    began: float,
    settings: dict[str, Any],
    seed: int,
    found: dict[str, Any],
    *,
    pictures: Sequence[str] = (),
    file: str = "manifest.json",
    seconds: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a run's manifest into a folder, made where it is missing, and return it.

    Args:
        out: the folder.
        began: `time.perf_counter()` when the run began.
        settings: what the run was asked to do.
        seed: what all chance followed from.
        found: results by name, rounded here to six digits.
        pictures: names of the pictures beside it.
        file: its own name.
        seconds: wall time by stage; the total is added. Without stages, `seconds` is the total alone.
    """
    total = round(time.perf_counter() - began, 1)
    manifest = {
        "settings": settings,
        "seed": seed,
        "versions": versions(),
        **rounded(found),
        "pictures": list(pictures),
        "seconds": total if seconds is None else seconds | {"total": total},
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / file).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return manifest


def told(manifest: dict[str, Any], out: Path, file: str = "manifest.json") -> str:
    """The last line of a program: how long it took, and where to look."""
    seconds = manifest["seconds"]
    total = seconds["total"] if isinstance(seconds, dict) else seconds
    drawn = len(manifest.get("pictures", ()))
    pictures = f"{drawn} pictures and " if drawn > 1 else "picture and " * drawn
    return f"{total} s; {pictures}{file} in {out}/"


def command(module: str, options: argparse.Namespace, given: Sequence[str] = ()) -> str:
    """The command line that repeats a run, but for the folder: these options where they were given, and flags."""
    words = [f"python -m {module}"]
    for name in given:
        value = getattr(options, name)
        words += [f'--{name} "{each}"' for each in value] if isinstance(value, list) else []
        words += [f"--{name} {value}"] if value is not None and not isinstance(value, list) else []
    words += [f"--{name}" for name in ("main", "small") if getattr(options, name, False)]
    return " ".join(words)


def progress(console: Console | None = None, **more: Any) -> Progress:
    """A bar with the name of what runs, how much of it is done, the time it took and the time that is left."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, **more)


def kept(out: Path, file: str) -> dict[str, Any]:
    """What a study saved in a folder before.

    Raises:
        ValueError: where there is no such file.
    """
    try:
        return json.loads((out / file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"there is no {out / file}; run the study first, or name its folder with --out.") from None


def mean_and_error(x: Any) -> tuple[float, float | None]:
    """Mean of independent numbers and its standard error; None for a single one."""
    x = np.asarray(x, np.float64)
    return float(x.mean()), float(x.std(ddof=1) / math.sqrt(x.size)) if x.size > 1 else None


def plus_minus(mean: float, error: float | None, digits: int = 3, sign: str = "") -> str:
    """A mean with its standard error as text: `0.123 ±0.004`; without an error, the mean alone."""
    number = f"{mean:{sign}.{digits}f}"
    return number if error is None else f"{number} ±{error:.{digits}f}"


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
    """Numbers of a manifest, rounded to so many significant digits; what JSON cannot say becomes None."""
    if isinstance(value, dict):
        return {key: rounded(v, digits) for key, v in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [rounded(v, digits) for v in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    if isinstance(value, np.integer | np.bool_):
        return value.item()
    return value
