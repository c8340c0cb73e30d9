"""Files of a POMDP for other solvers, which know no horizon, no discount of 1 and nothing that is seen at the start.

All three go into the states before anything is written, so that every solver of endless POMDPs finds the same value.
Only what is not zero is listed: a file grows with the horizon, not with its square.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import numpy as np

if TYPE_CHECKING:
    from cirl.pomdp._pomdp import Pomdp

MOST_NUMBERS = 20_000_000  # numbers in a file
Rows = tuple[np.ndarray, ...]  # an array for each index, then the numbers


@dataclass(frozen=True)
class Listing:
    """An endless POMDP as lists of its nonzero numbers.

    Attributes:
        sizes: how many states, actions and observations there are.
        names: theirs; empty where they are numbered.
        discount: below one.
        start: (state, probability).
        moves: (action, state, next state, probability).
        sights: (action, next state, observation, probability).
        pays: (action, state, reward).
        about: what the states are, for a reader.
    """

    sizes: tuple[int, int, int]
    names: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    discount: float
    start: Rows
    moves: Rows
    sights: Rows
    pays: Rows
    about: str


def endless(p: "Pomdp") -> Listing:
    """The POMDP in a form without a horizon, without a discount of 1, and with nothing seen at the start.

    With a horizon T the states are there T times, state x at step t as number t·X + x; then comes an absorbing end
    that pays nothing.  An endless POMDP whose start shows something has its states twice, the second time for the
    first step.  Where the start shows something, all begins in one more state, the last, which every action leaves
    for the first step: what is seen then is what the start shows.

    A discount of 1 becomes γ' = N/(N + 1), N the number of steps, and what step t pays is divided by γ'^t, which
    makes it e times larger at most.  The step before the first is made up for in the same way.

    Raises:
        ValueError: for a discount of 1 without a horizon, or more than `MOST_NUMBERS` numbers.
    """
    A, X, _ = p.transition.shape
    T = 1 if p.discount == 0 else p.horizon  # with a discount of 0 only the first step counts
    early = p.first_observation is not None
    if T is None and p.discount == 1:
        raise ValueError(
            "the POMDP has a discount of 1 and no horizon, and these files hold endless POMDPs with a discount below "
            "1; give it a horizon, such as dataclasses.replace(pomdp, horizon=20), or another discount."
        )
    copies = (1 + early) if T is None else T
    end, before = copies * X, copies * X + (T is not None)
    first = X if T is None and early else 0  # where the states of the first step begin
    gamma = p.discount if 0 < p.discount < 1 else (copies + early) / (copies + early + 1)
    (ma, mx, my, moved), (sa, sy, so, seen), (pa, px, paid) = map(_nonzero, (p.transition, p.observation, p.reward))
    if copies * (len(moved) + len(seen) + len(paid)) > MOST_NUMBERS:
        raise ValueError(f"with {T} steps in its states the file would hold more than {MOST_NUMBERS:,} numbers.")
    moves, sights, pays = [], [], []
    for own in range(0, end, X):
        t, ahead = (0, 0) if T is None else (own // X, own + X)
        to_the_end = _whatever(A, np.arange(own, own + X), np.full(X, end))
        moves.append((ma, own + mx, ahead + my, moved) if ahead < end else to_the_end)
        shown = None if p.first_observation is None else _whatever(A, np.arange(own, own + X), p.first_observation)
        sights.append((sa, own + sy, so, seen) if shown is None or own != first else shown)
        with np.errstate(over="ignore"):  # looked at below
            pays.append((pa, own + px, paid * ((p.discount / gamma) ** t / gamma**early)))
    start, size = _nonzero(p.start), before
    if T is not None:
        moves.append(_whatever(A, [end], [end]))
        sights.append(_whatever(A, [end], [0]))
    if early:
        x, chance = start
        a = np.repeat(np.arange(A), len(x))
        moves.append((a, np.full(len(a), before), np.tile(first + x, A), np.tile(chance, A)))
        sights.append(_whatever(A, [before], [0]))
        start, size = (np.array([before]), np.ones(1)), before + 1
    pays = _joined(pays)
    if not np.isfinite(pays[-1]).all():
        raise ValueError(f"the rewards are beyond float64 once divided by the discount {p.discount:.3g}; scale them.")
    sizes, names = (size, A, p.observation.shape[2]), (_of_copies(p.states, T, early, size), p.actions, p.observations)
    return Listing(sizes, names, gamma, start, _joined(moves), _joined(sights), pays, _about(X, T, early))


def _of_copies(states: Sequence[str], T: int | None, early: bool, size: int) -> tuple[str, ...]:
    """Names of the states of `endless`, with the step in them; none where there are none, or they would be alike."""
    if not states or len(states) == size:
        return tuple(states)
    marks = ["", "_first"] if T is None else [f"_{t}" for t in range(T)]
    names = [f"{x}{mark}" for mark in marks for x in states] + ["end"] * (T is not None) + ["before"] * early
    return tuple(names) if len(set(names)) == size else ()


def _joined(rows: Sequence[Rows]) -> Rows:
    """Rows and more rows as rows."""
    return tuple(map(np.concatenate, zip(*rows, strict=True)))


def _nonzero(table: np.ndarray) -> Rows:
    """Where a table is not zero, and the numbers there."""
    where = np.nonzero(table)
    return *where, table[where]


def _whatever(A: int, x: Sequence[int] | np.ndarray, y: Sequence[int] | np.ndarray) -> Rows:
    """From each of x to its y, or seeing it, for certain, whatever the action."""
    x, y = np.asarray(x), np.asarray(y)
    return np.repeat(np.arange(A), len(x)), np.tile(x, A), np.tile(y, A), np.ones(A * len(x))


def _about(X: int, T: int | None, early: bool) -> str:
    """What the states of `endless` are, in a sentence."""
    if T is None and not early:
        return "The states are those of the POMDP."
    said = f"State x at step t is {X}*t + x, for t < {T}; {T * X} is the end." if T is not None else ""
    if T is None:
        said = f"State x is x, and {X} + x at the first step."
    return said + (" All begins in the last state, before the first step." if early else "")


def decimal(number: float) -> str:
    """A number without an exponent and with a digit on both sides of the point; read back, it is the same."""
    return np.format_float_positional(number, unique=True, trim="0")


def cassandra(p: Listing) -> str:
    """The text of a `.pomdp` file."""
    lines = [f"# {p.about}", f"discount: {decimal(p.discount)}", "values: reward"]
    kinds = ("states", "actions", "observations")
    for kind, size, names in zip(kinds, p.sizes, p.names, strict=True):
        lines.append(f"{kind}: {' '.join(names) if names else size}")
    start = np.zeros(p.sizes[0])
    start[p.start[0]] = p.start[1]
    lines.append("start: " + " ".join(map(decimal, start)))
    for letter, rows in (("T", p.moves), ("O", p.sights)):
        lines += [f"{letter}: {a} : {x} : {y} {decimal(n)}" for a, x, y, n in _each(rows)]
    lines += [f"R: {a} : {x} : * : * {decimal(n)}" for a, x, n in _each(p.pays)]
    return "\n".join(lines) + "\n"


def pomdpx(p: Listing) -> str:
    """The text of a `.pomdpx` file, whose schema asks for two states, actions and observations at the least."""
    p = _padded(p)
    told = [
        [escape(name) for name in names] or [f"{letter}{i}" for i in range(size)]
        for letter, size, names in zip("sao", p.sizes, p.names, strict=True)
    ]
    states, actions, observations = told
    counts = [
        f"<ValueEnum>{' '.join(each)}</ValueEnum>" if names else f"<NumValues>{len(each)}</NumValues>"
        for each, names in zip(told, p.names, strict=True)
    ]
    starts = ((states[x], n) for x, n in _each(p.start))
    moves = ((f"{actions[a]} {states[x]} {states[y]}", n) for a, x, y, n in _each(p.moves))
    sights = ((f"{actions[a]} {states[y]} {observations[o]}", n) for a, y, o, n in _each(p.sights))
    pays = [(f"{actions[a]} {states[x]}", n) for a, x, n in _each(p.pays)] or [("* *", 0.0)]
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<pomdpx version="1.0" id="cirl">',
        f"<Description>{escape(p.about)}</Description>",
        f"<Discount>{decimal(p.discount)}</Discount>",
        "<Variable>",
        f'<StateVar vnamePrev="x0" vnameCurr="x1" fullyObs="false">{counts[0]}</StateVar>',
        f'<ObsVar vname="o">{counts[2]}</ObsVar>',
        f'<ActionVar vname="a">{counts[1]}</ActionVar>',
        '<RewardVar vname="r"/>',
        "</Variable>",
        *_function("InitialStateBelief", "CondProb", "x0", "null", "ProbTable", starts),
        *_function("StateTransitionFunction", "CondProb", "x1", "a x0", "ProbTable", moves),
        *_function("ObsFunction", "CondProb", "o", "a x1", "ProbTable", sights),
        *_function("RewardFunction", "Func", "r", "a x0", "ValueTable", pays),
        "</pomdpx>",
    ]
    return "\n".join(lines) + "\n"


def _function(kind: str, tag: str, variable: str, parents: str, table: str, entries: Iterable[tuple[str, float]]):
    """The lines of one function of a `.pomdpx` file."""
    yield f'<{kind}><{tag}><Var>{variable}</Var><Parent>{parents}</Parent><Parameter type="TBL">'
    for instance, number in entries:
        yield f"<Entry><Instance>{instance}</Instance><{table}>{decimal(number)}</{table}></Entry>"
    yield f"</Parameter></{tag}></{kind}>"


def _padded(p: Listing) -> Listing:
    """At least two of everything: a twin of the only action or state, and an observation that is never made."""
    (X, A, O), names = p.sizes, p.names
    if X == 1:  # a state like the first, in which nobody ever is
        moves, sights, pays = (_twin(rows, 1) for rows in (p.moves, p.sights, p.pays))
        p = replace(p, moves=(*moves[:2], np.zeros_like(moves[2]), moves[3]), sights=sights, pays=pays)
    if A == 1:
        p = replace(p, **{kind: _twin(getattr(p, kind), 0) for kind in ("moves", "sights", "pays")})
    sizes = max(X, 2), max(A, 2), max(O, 2)
    more = tuple((*each, f"not-{each[0]}") if each and len(each) < size else each for each, size in zip(names, sizes))
    return replace(p, sizes=sizes, names=more)


def _twin(rows: Rows, axis: int) -> Rows:
    """Rows that are about number 0 of an axis, and as many alike about number 1."""
    first, second = list(rows), list(rows)
    second[axis] = np.ones_like(rows[axis])
    return _joined((tuple(first), tuple(second)))


def _each(rows: Rows) -> Iterable[tuple]:
    """Rows one at a time, as Python's numbers."""
    return zip(*(column.tolist() for column in rows), strict=True)
