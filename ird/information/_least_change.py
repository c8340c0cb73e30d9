"""The search for the least change of a proxy: exact along one weight, coarse and then exact along two."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ird.information._pieces import Line, Piece, Planner, pieces

# How far a weight is moved, in units of all that the written proxy has at stake: so far at first, and if no change is
# good enough, further.
_FURTHER = (0.5, 4.0, 64.0)
# Weights of one metric that are tried beside another's: so many between the places where plans change along it, these
# times the last of those places, and these times what the written proxy has at stake for each unit that can be had.
_SOME, _BEYOND, _OF_STAKE = 4, (1.25, 4.0), (-4.0, -0.5, 0.5, 4.0)
_BATCH = 128  # pairs that are planned for before it is looked whether one is good enough
_NEARLY = 0.1  # what a weight with fewer digits may cost above the least, as a share of it


class Judge(NamedTuple):
    """What is good enough: the regret of plans under each reward that may be meant.

    Attributes:
        weights: rewards that may be meant, `[N, K]`.
        p: probability of each, `[N]`.
        best: what each allows at most in each MDP, `[M, N]`.
        random: what acting at random brings, `[M, N]`.
        limit: the largest regret that is good enough.
        share: with which probability it has to be.
        precision: relative error of the planner's features.
    """

    weights: np.ndarray
    p: np.ndarray
    best: np.ndarray
    random: np.ndarray
    limit: float
    share: float
    precision: float

    def regret(self, features: np.ndarray) -> np.ndarray:
        """Of plans with these features, `[..., M, K] -> [..., M, N]`; 0 where all plans are alike."""
        lost, gain = self.best - features @ self.weights.T, self.best - self.random
        rounding = self.precision * (np.abs(features) @ np.abs(self.weights.T) + np.abs(self.best))
        lost = np.where(lost > rounding, lost, 0)
        return np.where(lost > 0, lost / np.where(gain > rounding, gain, np.finfo(float).tiny), 0)

    def held(self, features: np.ndarray) -> np.ndarray:
        """Probability that plans are good enough in every MDP, `[..., M, K] -> [...]`."""
        return np.asarray(np.all(self.regret(features) <= self.limit, axis=-2) @ self.p)

    def enough(self, features: np.ndarray) -> np.ndarray:
        """Whether that is as probable as it has to be."""
        return np.asarray(self.held(features) >= self.share - 1e-9)


class Change(NamedTuple):
    """A proxy, and what its literal plan does.

    Attributes:
        weights: the proxy, `[K]`.
        features: feature expectations of its plan in each MDP, `[M, K]`.
        least: the cost at which it begins to be good enough; NaN if that was not found exactly.
        between: of the one weight that is changed, where the plan is the same, `[2]`; NaN otherwise.
    """

    weights: np.ndarray
    features: np.ndarray
    least: float = np.nan
    between: tuple[float, float] = (np.nan, np.nan)


class Rewriting(NamedTuple):
    """What is searched in.

    Attributes:
        plan: literal plans.
        judge: what is good enough.
        written: the proxy as it is, `[K]`.
        reach: what policies can make of each metric, `[K]`.
        stake: what all of the written proxy has at stake, in units of return.
        attainable: the largest probability with which a plan that is best for one of the rewards is good enough.
    """

    plan: Planner
    judge: Judge
    written: np.ndarray
    reach: np.ndarray
    stake: float
    attainable: float

    def cost(self, weights: np.ndarray) -> np.ndarray:
        """Σ_k |Δw_k| · range_k, `[..., K] -> [...]`."""
        return np.asarray(np.abs(weights - self.written) @ self.reach)

    def planned(self, weights: np.ndarray) -> np.ndarray:
        """Features of one literal plan, `[K] -> [M, K]`."""
        return self.plan(weights[None])[0]


def least_change(search: Rewriting, most: int) -> Change:
    """The least change that is good enough; where none is, of those that were tried the one that comes nearest."""
    as_it_is = Change(search.written, search.planned(search.written), 0.0)
    if search.judge.enough(as_it_is.features):
        return as_it_is
    tried: list[Change] = [as_it_is]
    along: list[tuple[Line, Piece]] = []
    for change in itertools.chain(_of_one(search, along), _of_two(search, along) if most > 1 else ()):
        if search.judge.enough(change.features):
            return change
        tried.append(change)
    return max(tried, key=lambda change: (search.judge.held(change.features), -search.cost(change.weights)))


def _of_one(search: Rewriting, along: list[tuple[Line, Piece]]) -> Iterator[Change]:
    """Changes of one metric that are good enough, the least first; where there is none what comes nearest.

    The pieces that were looked at are added to `along`.  All lines are followed as far in cost before any is followed
    further, so that the first that is good enough costs least.
    """
    for low, high in itertools.pairwise((0.0, *_FURTHER)):
        some = _along(search, low, high)
        along += some
        costs = [float(search.cost(line.at(piece.low))) for line, piece in some]
        enough = [i for i, (_, piece) in enumerate(some) if search.judge.enough(piece.features)]
        for i in sorted(enough, key=lambda i: costs[i]):
            yield _inside(search, some[i][0], _whole(search, *some[i]), costs[i])
    if along:
        held = [search.judge.held(piece.features) - 1e-6 * search.cost(line.at(piece.low)) for line, piece in along]
        yield _inside(search, *along[int(np.argmax(held))], np.nan)


def _along(search: Rewriting, low: float, high: float) -> list[tuple[Line, Piece]]:
    """The pieces of every line along which one weight is changed, up and down, from one cost to another in stakes."""
    axes = np.eye(len(search.written))
    which = [(k, sign) for k in np.flatnonzero(search.reach > 0) for sign in (1, -1)]
    unit = [search.stake / search.reach[k] for k, _ in which]
    lines = [Line(search.written, s * axes[k], _FURTHER[-1] * u) for (k, s), u in zip(which, unit, strict=True)]
    parts = [Line(line.at(low * u), line.direction, (high - low) * u) for line, u in zip(lines, unit, strict=True)]
    made = pieces(search.plan, parts, precision=search.judge.precision)
    return [
        (line, Piece(low * u + piece.low, low * u + piece.high, piece.features))
        for line, u, each in zip(lines, unit, made, strict=True)
        for piece in each
    ]


def _whole(search: Rewriting, line: Line, piece: Piece) -> Piece:
    """A piece to its end, which may lie beyond as far as was looked."""
    middle = (piece.low + piece.high) / 2
    rest = Line(line.at(middle), line.direction, line.length - middle)
    first = pieces(search.plan, [rest], precision=search.judge.precision)[0][0]
    return piece._replace(high=middle + first.high)


def _inside(search: Rewriting, line: Line, piece: Piece, least: float) -> Change:
    """A weight of few digits at the near end of a piece."""
    k = int(np.argmax(np.abs(line.direction)))
    near, far = sorted((line.at(piece.low)[k], line.at(piece.high)[k]), key=lambda w: abs(w - search.written[k]))
    wanted = min(search.judge.share, float(search.judge.held(piece.features)))
    weights = _short(search, line.start, k, near, far, wanted)
    return Change(weights, search.planned(weights), least, (min(near, far), max(near, far)))


def _short(search: Rewriting, weights: np.ndarray, k: int, near: float, far: float, wanted: float) -> np.ndarray:
    """The weights with the k-th between two ends, of as few digits as are near the first of them and hold as wanted."""
    moved = weights.copy()
    change = max(abs(near - search.written[k]), 0.01 * search.stake / search.reach[k])  # of a tie, hardly any is least
    allowed = near + np.clip(far - near, -_NEARLY * change, _NEARLY * change)
    low, high = sorted((near, allowed))
    for digits in range(1, 7):
        step = 10.0 ** (np.floor(np.log10(max(abs(low), abs(high)))) + 1 - digits)
        away = (np.floor(near / step) + 1 if far > near else np.ceil(near / step) - 1) * step
        moved[k] = float(f"{away:.{digits + 1}g}")
        if low < moved[k] < high and search.judge.held(search.planned(moved)) >= wanted - 1e-9:
            return moved
    moved[k] = (near + far) / 2
    return moved


def _coarse(search: Rewriting, along: list[tuple[Line, Piece]], k: int) -> list[float]:
    """Weights of a metric that are worth trying beside another's: none, and some from its own pieces."""
    own = [(line, piece) for line, piece in along if line.direction[k] != 0 and piece.low > 0]
    tried = [line.at((piece.low + piece.high) / 2)[k] for line, piece in own if piece.high < line.length]
    tried = [tried[i] for i in np.unique(np.linspace(0, len(tried) - 1, _SOME).astype(int))] if tried else []
    last = [(line, piece) for line, piece in own if piece.high == line.length]
    beyond = [line.at(more * piece.low)[k] for line, piece in last for more in _BEYOND]
    return [0.0, *tried, *beyond, *(more * search.stake / search.reach[k] for more in _OF_STAKE)]


def _of_two(search: Rewriting, along: list[tuple[Line, Piece]]) -> Iterator[Change]:
    """Changes of two metrics: of a coarse grid the cheapest that is good enough, made smaller; else the nearest."""
    coarse = {k: _coarse(search, along, k) for k in np.flatnonzero(search.reach > 0).tolist()}
    grid = []
    for k, l in itertools.combinations(coarse, 2):
        for pair in itertools.product(coarse[k], coarse[l]):
            weights = search.written.copy()
            weights[[k, l]] = pair
            grid.append(weights)
    grid = sorted(grid, key=search.cost)
    nearest: tuple[float, Change] | None = None
    for first in range(0, len(grid), _BATCH):
        batch = np.stack(grid[first : first + _BATCH])
        features = search.plan(batch)
        held = search.judge.held(features)
        enough = np.flatnonzero(held >= search.judge.share - 1e-9)
        if enough.size:
            yield _smaller(search, Change(batch[enough[0]], features[enough[0]]))
            return
        i = int(np.argmax(held))
        if nearest is None or held[i] > nearest[0]:
            nearest = float(held[i]), Change(batch[i], features[i])
    if nearest is not None:
        yield _shorter(search, *nearest)


def _shorter(search: Rewriting, held: float, change: Change) -> Change:
    """A change whose weights have as few digits as hold as well."""
    for k in np.flatnonzero(change.weights != search.written).tolist():
        for digits in range(1, 4):
            weights = change.weights.copy()
            weights[k] = float(f"{weights[k]:.{digits}g}")
            features = search.planned(weights)
            if search.judge.held(features) >= held - 1e-9:
                change = Change(weights, features)
                break
    return change


def _smaller(search: Rewriting, change: Change) -> Change:
    """Each of the changed weights moved back towards the written one in turn, as far as it stays good enough."""
    for _ in range(2):
        for k in np.flatnonzero(change.weights != search.written).tolist():
            line = _back(search, change.weights, k)
            [found] = pieces(search.plan, [line], precision=search.judge.precision)
            kept = [piece for piece in found if search.judge.enough(piece.features)]
            if kept:
                near, far = line.at(kept[-1].high)[k], line.at(kept[-1].low)[k]
                weights = _short(search, change.weights, k, near, far, search.judge.share)
                features = search.planned(weights)
                if search.judge.enough(features) and search.cost(weights) <= search.cost(change.weights):
                    change = Change(weights, features)
    return change


def _back(search: Rewriting, weights: np.ndarray, k: int) -> Line:
    """From a change back to where one metric is as written."""
    gap = search.written[k] - weights[k]
    return Line(weights, np.sign(gap) * np.eye(len(weights))[k], abs(gap))
