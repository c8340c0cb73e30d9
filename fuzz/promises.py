"""What a promise is, and how promises are counted: one row for each, with the worst case kept."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Checked(NamedTuple):
    """One promise held against many problems of a batch.

    Attributes:
        promise: what is promised, in a few words: the row it belongs to.
        error: how far off each answer is, `[n]`.
        allowed: how far off it may be, `[n]`; an error that is NaN is never allowed.
        tried: which problems it was tried on, `[n]`; None: all.
    """

    promise: str
    error: np.ndarray
    allowed: np.ndarray
    tried: np.ndarray | None = None

    def at(self, i: int) -> tuple[float, float]:
        """Error and allowance of one problem."""
        error, allowed = np.broadcast_arrays(np.asarray(self.error, float), np.asarray(self.allowed, float))
        return float(error.flat[i]), float(allowed.flat[i])


class Violation(NamedTuple):
    """A promise that was not held, with a script that shows it."""

    promise: str
    error: float
    allowed: float
    script: str


@dataclass
class Row:
    """One promise over all problems so far."""

    tried: int = 0
    held: int = 0
    worst: float = 0.0  # the largest error as a share of what was allowed


@dataclass
class Report:
    """Everything that a run found."""

    problems: int = 0
    seconds: float = 0.0
    rows: dict[str, Row] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)

    def add(self, checked: Checked, script: Callable[[int], str], keep: int = 3) -> None:
        """Count one promise of a batch; `script(i)` reproduces problem `i`, and a few of each promise are kept."""
        row = self.rows.setdefault(checked.promise, Row())
        error, allowed = np.broadcast_arrays(np.asarray(checked.error, float), np.asarray(checked.allowed, float))
        tried = np.ones(error.shape, bool) if checked.tried is None else np.asarray(checked.tried)
        held = error <= allowed  # also where both are zero; never where the error is NaN
        row.tried += int(tried.sum())
        row.held += int((tried & held).sum())
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(error == 0, 0.0, error / allowed)
        share = share[tried & np.isfinite(share)]
        row.worst = max(row.worst, float(share.max(initial=0.0)))
        for i in np.flatnonzero(tried & ~held):
            if sum(v.promise == checked.promise for v in self.violations) < keep:
                self.violations.append(Violation(checked.promise, float(error[i]), float(allowed[i]), script(int(i))))

    def told(self) -> str:
        """The table, then a script for each violation that was kept."""
        head = f"{self.problems:,} problems in {self.seconds / 60:.1f} minutes, {self.violated:,} violations"
        scripts = [f"violation {i + 1}:\n\n{v.script}" for i, v in enumerate(self.violations)]
        return "\n\n".join([head, self.table(), *scripts])

    @property
    def violated(self) -> int:
        """How often a promise was not held."""
        return sum(row.tried - row.held for row in self.rows.values())

    def save(self, path: str, **settings) -> None:
        """Write settings, counts and rows as JSON."""
        rows = {name: vars(row) for name, row in self.rows.items()}
        found = settings | {"problems": self.problems, "minutes": self.seconds / 60, "violations": self.violated}
        Path(path).write_text(json.dumps(found | {"promises": rows}, indent=1) + "\n", encoding="utf-8")

    def table(self) -> str:
        """The rows, as Markdown."""
        lines = ["| promise | tried | held | worst error, of what is allowed |", "| --- | --- | --- | --- |"]
        for name, row in self.rows.items():
            lines.append(f"| {name} | {row.tried:,} | {row.held:,} | {row.worst:.2g} |")
        return "\n".join(lines)
