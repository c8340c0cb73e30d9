"""Optimal plans along lines of weights: they are piecewise constant, and where they change is found exactly.

Along w(t) = w₀ + t d the optimal value V(t) = max_π w(t)·φ(π) is convex and piecewise linear, its slope d·φ.  Two plans
are neighbours where the value meets the crossing of their two lines; where it lies above, there is a plan between
them (Eisner & Severance 1976).  So P pieces take about 2P plans, whatever lies between them.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

Planner = Callable[[np.ndarray], np.ndarray]  # weights [P, K] -> feature expectations [P, M, K] in each of M MDPs


class Line(NamedTuple):
    """Weights w₀ + t d for t from 0 to `length`.

    Attributes:
        start: w₀, `[K]`.
        direction: d, `[K]`.
        length: the largest t.
    """

    start: np.ndarray
    direction: np.ndarray
    length: float

    def at(self, t: float) -> np.ndarray:
        """The weights there, `[K]`."""
        return self.start + t * self.direction


class Piece(NamedTuple):
    """A part of a line on which the optimal plan is the same in every MDP.

    Attributes:
        low: where it begins.
        high: where it ends.
        features: feature expectations of the plan in each MDP, `[M, K]`.
    """

    low: float
    high: float
    features: np.ndarray


class _Point(NamedTuple):
    t: float
    features: np.ndarray  # [M, K]


def pieces(plan: Planner, lines: Sequence[Line], *, precision: float) -> list[list[Piece]]:
    """The pieces of each line, in order.

    Args:
        plan: plans for many weights at once.
        lines: along which weights change; all are worked on together, so that plans come in large batches.
        precision: relative error of the planner's features.
    """
    ends = _planned(plan, lines, [(i, t) for i, line in enumerate(lines) for t in (0.0, line.length)])
    waiting = [(i, ends[2 * i], ends[2 * i + 1]) for i in range(len(lines))]
    breaks: list[list[float]] = [[] for _ in lines]
    while waiting:
        crossings = []
        for i, a, b in waiting:
            t = _crossing(lines[i], a, b, precision)
            if t is not None and min(t - a.t, b.t - t) <= precision * lines[i].length:
                breaks[i].append(t)  # an end of the interval is itself a tie
            elif t is not None:
                crossings.append((i, a, b, t))
        waiting = []
        for (i, a, b, t), between in zip(crossings, _planned(plan, lines, [c[::3] for c in crossings]), strict=True):
            if _above(lines[i], between, a, precision):
                waiting += [(i, a, between), (i, between, b)]
            else:
                breaks[i].append(t)
    return _between(plan, lines, breaks, precision)


def _between(
    plan: Planner, lines: Sequence[Line], breaks: Sequence[Sequence[float]], precision: float
) -> list[list[Piece]]:
    """The pieces between the places where plans change, each with the plan of its middle."""
    spans = []
    for i, (line, inner) in enumerate(zip(lines, breaks, strict=True)):
        edges = itertools.pairwise([0.0, *sorted(inner), line.length])
        spans += [(i, low, high) for low, high in edges if high - low > precision * line.length]
    found: list[list[Piece]] = [[] for _ in lines]
    middles = _planned(plan, lines, [(i, (low + high) / 2) for i, low, high in spans])
    for (i, low, high), middle in zip(spans, middles, strict=True):
        found[i].append(Piece(low, high, middle.features))
    return found


def _planned(plan: Planner, lines: Sequence[Line], where: Sequence[tuple[int, float]]) -> list[_Point]:
    if not where:
        return []
    features = plan(np.stack([lines[i].at(t) for i, t in where]))
    return [_Point(t, each) for (_, t), each in zip(where, features, strict=True)]


def _crossing(line: Line, a: _Point, b: _Point, precision: float) -> float | None:
    """Where the value lines of two plans cross, all MDPs added up; None where they are one line."""
    apart = np.sum(b.features - a.features, axis=0)  # [K]
    steeper, size = float(apart @ line.direction), np.abs(a.features).sum() + np.abs(b.features).sum()
    if steeper <= precision * size * np.abs(line.direction).max():  # the slope never falls: then it is rounding
        return None
    return float(np.clip(-(apart @ line.start) / steeper, a.t, b.t))


def _above(line: Line, found: _Point, a: _Point, precision: float) -> bool:
    """Whether the value at a point lies above the line of another plan, by more than rounding."""
    weights = line.at(found.t)
    gain = np.sum((found.features - a.features) @ weights)
    return bool(gain > precision * np.sum(np.abs(weights) * (np.abs(found.features) + np.abs(a.features))))
