"""What a promise is, and how promises are counted: one row for each, with the worst case kept."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


class Checked(NamedTuple):
    """One promise held against many problems of a batch.

    Attributes:
        promise: what is promised, in a few words: the row it belongs to.
        error: how far off each answer is, `[n]`.
        allowed: how far off it may be, `[n]`; an error that is NaN is never allowed.
        tried: which problems it was tried on, `[n]`; None: all.
        show: the lines that print error and allowance of problem `i`, in a script where the answer is `s`.
    """

    promise: str
    error: np.ndarray
    allowed: np.ndarray
    tried: np.ndarray | None = None
    show: str = ""


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
    rows: dict[str, Row] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)

    def add(self, checked: Checked, script: Callable[[int], str], keep: int = 3) -> None:
        """Count one promise of a batch; `script(i)` reproduces problem `i`. Of each promise the first few are kept."""
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

    def table(self) -> str:
        """The rows, as Markdown."""
        lines = ["| promise | tried | held | worst error, of what is allowed |", "| --- | --- | --- | --- |"]
        for name, row in self.rows.items():
            lines.append(f"| {name} | {row.tried:,} | {row.held:,} | {row.worst:.2g} |")
        return "\n".join(lines)
