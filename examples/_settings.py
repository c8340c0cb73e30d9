"""Settings of programs: a TOML file with every default, and another that may change some of them."""

import difflib
import math
import tomllib
from pathlib import Path
from typing import Any

DEFAULTS = Path(__file__).parent / "lavaland" / "settings.toml"

# What each number must satisfy, and how to say so.
_COUNT = (lambda x: isinstance(x, int) and x >= 1, "a whole number ≥ 1")
_POSITIVE = (lambda x: 0 < x < math.inf, "a positive number")
_SHARE = (lambda x: 0 < x <= 1, "a share of the probability, in (0, 1]")
_RULES = {
    "seed": (lambda x: isinstance(x, int) and 0 <= x < 2**32, "a whole number in 0..2³²-1"),
    "maps": _COUNT,
    **dict.fromkeys(
        ("beta", "tol", "penalty", "separation", "width", "terrain", "weight", "within", "scale"), _POSITIVE
    ),
    "widths": (lambda x: all(_number(v) and v > 0 for v in x.values()), "a table of positive numbers by feature"),
    "alpha": _SHARE,
    "alphas": (lambda x: bool(x) and all(_number(a) and 0 < a <= 1 for a in x), "a list of numbers in (0, 1]"),
    **dict.fromkeys(
        ("values", "shares"), (lambda x: all(_number(v) and v > 0 for v in x), "a list of positive numbers")
    ),
    **dict.fromkeys(("dirt", "grass", "target", "lava", "harmless", "coupling"), (math.isfinite, "a number")),
    "new": _SHARE,
    "avoid": (lambda x: all(isinstance(n, str) for n in x), "a list of terrain names"),
    "reach": (lambda x: all(isinstance(n, str) for n in x), "a list of terrain names"),
    **dict.fromkeys(
        ("proxy", "truth"), (lambda x: all(map(_number, x.values())), "a table of numbers by feature name")
    ),
    **dict.fromkeys(
        (
            "alternatives",
            "samples",
            "trajectory_samples",
            "demonstration_samples",
            "worst_case_draws",
            "training_maps",
            "horizon",
            "first_seed",
            "block",
            "sweeps",
            "dimensions",
            "spread",
            "labels",
        ),
        _COUNT,
    ),
}
_FREE = ("proxy", "truth", "widths")  # tables whose keys are feature names

# What --small changes: enough to run every line in seconds.
SMALL: dict[str, Any] = {
    "maps": 4,
    "designer": {"alternatives": 24},
    "prior": {"samples": 256, "trajectory_samples": 32, "demonstration_samples": 16},
    "planners": {"alphas": [0.12, 0.5], "worst_case_draws": 8, "tol": 0.01},
    "ten": {"training_maps": 2, "alternatives": 16, "samples": 256},
    "limits": {"maps": 4},
}


def load(*changes: Path | dict[str, Any], defaults: Path = DEFAULTS) -> dict[str, Any]:
    """The default settings with changes laid over them, in order.

    Args:
        *changes: TOML files or tables; each holds only what it changes.
        defaults: the TOML file of every default.

    Raises:
        ValueError: naming the file, the key and what is allowed.
    """
    settings = _read(defaults)
    for change in changes:
        source = str(change) if isinstance(change, Path) else "settings"
        settings = _merge(settings, _read(change) if isinstance(change, Path) else change, source, "")
    return settings


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"there is no settings file {path}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid TOML: {error}.") from error


def _merge(base: dict[str, Any], change: dict[str, Any], source: str, table: str) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        where = f"{table}.{key}" if table else key
        if key not in base:
            near = difflib.get_close_matches(key, base, n=1)
            raise ValueError(
                f"{source}: there is no setting {where!r}; "
                + (f"did you mean {near[0]!r}? " if near else "")
                + f"{f'[{table}]' if table else 'the file'} may hold {', '.join(base)}."
            )
        if isinstance(base[key], dict) and key not in _FREE:
            if not isinstance(value, dict):
                raise ValueError(f"{source}: {where} is {value!r}; it is a table, [{where}].")
            merged[key] = _merge(base[key], value, source, where)
        else:
            merged[key] = _check(value, base[key], source, where)
    return merged


def _check(value: Any, default: Any, source: str, where: str) -> Any:
    allowed, wording = _RULES[where.rpartition(".")[2]]
    kind = type(default)
    fits = _number(value) if kind in (int, float) else isinstance(value, kind)
    if not fits or not allowed(value):
        raise ValueError(f"{source}: {where} is {value!r}; it must be {wording}.")
    return float(value) if kind is float else value


def _number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x)
