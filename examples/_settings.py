"""Settings of programs: a TOML file with every default, and changes laid over it.

Each program says beside itself what its settings may be, by their full names:

    RULES = {"maps": COUNT, "designer.beta": POSITIVE, "truth": NUMBERS_BY_NAME}

A table that has a rule of its own is replaced whole; other tables are merged.
"""

import argparse
import difflib
import math
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Rule = tuple[Callable[[Any], bool], str]  # what a value must satisfy, and how to say so


def _number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x)


def count(least: int) -> Rule:
    """A whole number that is no less."""
    return (lambda x: isinstance(x, int) and x >= least, f"a whole number ≥ {least}")


def numbers_in(low: float, high: float, wording: str) -> Rule:
    """A list of numbers above `low` and at most `high`, at least one."""
    return (lambda x: bool(x) and all(_number(v) and low < v <= high for v in x), wording)


COUNT = count(1)
SEED: Rule = (lambda x: isinstance(x, int) and 0 <= x < 2**32, "a whole number in 0..2³²-1")
NUMBER: Rule = (math.isfinite, "a number")
POSITIVE: Rule = (lambda x: 0 < x < math.inf, "a positive number")
SHARE: Rule = (lambda x: 0 < x <= 1, "a share of the probability, in (0, 1]")
SHARES = numbers_in(0, 1, "a list of numbers in (0, 1]")
NUMBERS = numbers_in(-math.inf, math.inf, "a list of numbers")
POSITIVES = numbers_in(0, math.inf, "a list of positive numbers")
COUNTS: Rule = (lambda x: all(isinstance(n, int) and n >= 1 for n in x), "a list of whole numbers ≥ 1")
NAMES: Rule = (lambda x: all(isinstance(n, str) for n in x), "a list of terrain names")
TEXT: Rule = (bool, "some text")
NUMBERS_BY_NAME: Rule = (lambda x: all(map(_number, x.values())), "a table of numbers by feature name")
POSITIVES_BY_NAME: Rule = (
    lambda x: all(_number(v) and v > 0 for v in x.values()),
    "a table of positive numbers by feature",
)
TABLES: Rule = (lambda x: bool(x) and all(isinstance(v, dict) for v in x.values()), "a table of tables by name")
TABLE: Rule = (bool, "a table")


def chosen(
    options: argparse.Namespace,
    defaults: Path,
    rules: Mapping[str, Rule],
    *,
    small: dict[str, Any] | None = None,
    given: Sequence[str] = ("seed",),
) -> dict[str, Any]:
    """The settings that a command line asks for; ends the program with one clear line where they make no sense.

    Later ones win: the defaults, those of `--small`, the file named with `--settings`, and options such as `--seed`.
    """
    changes: list[Any] = [small] if small and options.small else []
    changes += [options.settings] if options.settings else []
    changes.append({name: getattr(options, name) for name in given if getattr(options, name) is not None})
    try:
        return load(defaults, rules, *changes)
    except ValueError as error:
        sys.exit(f"error: {error}")


def load(defaults: Path, rules: Mapping[str, Rule], *changes: Path | dict[str, Any]) -> dict[str, Any]:
    """The default settings with changes laid over them, in order.

    Args:
        defaults: the TOML file of every default.
        rules: what each setting may be, by its full name.
        *changes: TOML files or tables; each holds only what it changes.

    Raises:
        ValueError: naming the file, the key and what is allowed.
    """
    settings = _read(defaults)
    for change in changes:
        source = str(change) if isinstance(change, Path) else "settings"
        settings = _merge(settings, _read(change) if isinstance(change, Path) else change, rules, source, "")
    return settings


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"there is no settings file {path}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid TOML: {error}.") from error


def _merge(
    base: dict[str, Any], change: dict[str, Any], rules: Mapping[str, Rule], source: str, table: str
) -> dict[str, Any]:
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
        if isinstance(base[key], dict) and where not in rules:
            if not isinstance(value, dict):
                raise ValueError(f"{source}: {where} is {value!r}; it is a table, [{where}].")
            merged[key] = _merge(base[key], value, rules, source, where)
        else:
            merged[key] = _check(value, base[key], rules[where], source, where)
    return merged


def _check(value: Any, default: Any, rule: Rule, source: str, where: str) -> Any:
    allowed, wording = rule
    kind = type(default)
    fits = _number(value) if kind in (int, float) else isinstance(value, kind)
    if not fits or not allowed(value):
        raise ValueError(f"{source}: {where} is {value!r}; it must be {wording}.")
    return float(value) if kind is float else value
