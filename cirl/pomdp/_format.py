"""Cassandra's `.pomdp` format, read: from text to tables, and from a mistake to its line.

A file is a list of statements, `key: index : index ... values`.  All that follows a key stands after a colon, but for
the values; so a word that stands before a colon and not after one is the key of the next statement, however the
lines are broken.  Statements about probabilities and rewards are carried out in the order of the file: what is
said last holds.
"""

import math
import re
from typing import NamedTuple

import numpy as np

from mdps.checks import as_distributions

MOST_ENTRIES = 100_000_000  # entries of one table
_MOST = 1_000_000  # states, actions or observations
_TOLERANCE = 1e-5  # how far from one a row may be, which is then divided by its sum
_KEY = re.compile(r"(:\s*)?(?<!\S)(start\s+(?:include|exclude)|[^\s:]++)(?=\s*:)")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[0-9]+")
_WORDS = ("uniform", "identity", "reset")
_SETS = ("states", "actions", "observations")
_INDICES = {
    "T": ("action", "start state", "end state"),
    "O": ("action", "end state", "observation"),
    "R": ("action", "start state", "end state", "observation"),
}
_KEYS = ("discount", "values", *_SETS, "start", "start include", "start exclude", *_INDICES)


class Tables(NamedTuple):
    """What a file says: `cirl.pomdp.Pomdp` without its horizon."""

    transition: np.ndarray
    observation: np.ndarray
    reward: np.ndarray
    start: np.ndarray
    discount: float
    states: tuple[str, ...]
    actions: tuple[str, ...]
    observations: tuple[str, ...]


class _Statement(NamedTuple):
    key: str
    place: int  # where in the text the key begins
    fields: list[str]  # what stands between its colons


class _Members:
    """The states, actions or observations: how many, their names if they have any, and what each word stands for."""

    def __init__(self, size: int, names: tuple[str, ...]):
        self.size, self.names = size, names
        self.index: dict[str, int | slice] = {str(i): i for i in range(size)}
        self.index |= {name: i for i, name in enumerate(names)}
        self.index["*"] = slice(None)

    def told(self, i: int) -> str:
        return repr(self.names[i]) if self.names else str(i)


class _Refused(Exception):
    """A mistake, where in the text it is (None: nowhere), and the word after that place which is meant."""

    def __init__(self, place: int | None, told: str, word: str | None = None):
        super().__init__(told)
        self.place, self.word = place, word


def is_name(word) -> bool:
    """Whether a word can be the name of a state, an action or an observation."""
    if not isinstance(word, str) or re.fullmatch(r"[^\s:#]+", word) is None or word[0] in "0123456789":
        return False
    return _NUMBER.fullmatch(word) is None and word not in (*_WORDS, "*")


def decode(data: bytes, name: str) -> str:
    """The text of a file, which must be UTF-8, with or without a byte order mark.

    Raises:
        ValueError: for UTF-16 and other encodings.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data:
        raise ValueError(f"{name} is in UTF-16, or is no text at all; save it as UTF-8.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        raise ValueError(f"{name}, line {line}: byte {data[error.start]:#x} is no UTF-8; save it as UTF-8.") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse(text: str, name: str, discount: float | None = None) -> Tables:
    """The tables that a text describes; `discount` is for texts that say none.

    Raises:
        ValueError: naming the line, from 1, of what cannot be read or makes no sense.
    """
    bare = re.sub("#[^\n]*", "", text)
    try:
        return _tables(_statements(bare), discount)
    except _Refused as refused:
        place = refused.place
        if place is None:
            raise ValueError(f"{name}: {refused}.") from None
        if refused.word is not None:
            meant = re.compile(rf"(?<![^\s:]){re.escape(refused.word)}(?![^\s:])").search(bare, place)
            place = meant.start() if meant else place
        number = 1 + bare.count("\n", 0, place)
        line = text.split("\n")[number - 1].strip()
        shown = line if len(line) <= 70 else f"{line[:67]}..."
        raise ValueError(f"{name}, line {number}: {refused}; the line is {shown!r}.") from None


def _statements(bare: str) -> list[_Statement]:
    """The statements of a text without comments, in order."""
    keys = [match for match in _KEY.finditer(bare) if match[1] is None]
    begins = [*(match.start(2) for match in keys), len(bare)]
    junk = re.search(r"\S", bare[: begins[0]])
    if junk:
        raise _Refused(junk.start(), f"a file begins with one of {', '.join(_KEYS)} and a colon")
    found = []
    for match, end in zip(keys, begins[1:], strict=True):
        key = match[2] if match[2] in _KEYS else " ".join(match[2].split())
        if key not in _KEYS:
            raise _Refused(match.start(2), f"{key!r} is no keyword; these are {', '.join(_KEYS)}")
        found.append(_Statement(key, match.start(2), bare[match.end() : end].split(":")[1:]))
    return found


def _tables(statements: list[_Statement], discount: float | None) -> Tables:
    """Carry the statements out: the preamble, the start, then the rest in order."""
    preamble = _preamble(statements)
    gamma, sign = _read_discount(preamble.get("discount"), discount), _read_sign(preamble["values"])
    sets = [_read_set(preamble.get(key), key) for key in _SETS]
    (X, _), (A, _), (O, _) = sets
    if A * X * max(X, O) > MOST_ENTRIES:
        raise _Refused(
            None, f"{X} states, {A} actions and {O} observations make tables of {A * X * max(X, O):,} entries"
        )
    states, actions, observations = (_Members(*each) for each in sets)
    start = _read_start(preamble.get("start"), states)
    T, seen = np.zeros((A, X, X)), np.zeros((A, X, O))
    _fill(T, [each for each in statements if each.key == "T"], (actions, states, states), start)
    sights = [each for each in statements if each.key == "O"]
    if "observations" in preamble:
        _fill(seen, sights, (actions, states, observations), start)
    elif sights:
        raise _Refused(sights[0].place, "there is no line 'observations: ...', so nothing is observed")
    else:
        seen[:] = 1.0
    payments = [each for each in statements if each.key == "R"]
    paid = _rewards(payments, (actions, states, states, observations), T, seen)
    names = states.names, actions.names, observations.names
    return Tables(T, seen, paid if sign > 0 else 0.0 - paid, start, gamma, *names)


def _preamble(statements: list[_Statement]) -> dict[str, _Statement]:
    """The statements about anything but probabilities and rewards; the three kinds of start are one."""
    preamble: dict[str, _Statement] = {}
    for each in statements:
        if each.key in _INDICES:
            continue
        key = each.key.split()[0]
        if key in preamble:
            raise _Refused(each.place, f"{key!r} is given a second time")
        if len(each.fields) > 1:
            raise _Refused(each.place, f"{each.key!r} takes one colon, and something after it")
        preamble[key] = each
    for key in ("values", "states", "actions"):
        if key not in preamble:
            raise _Refused(None, f"there is no line '{key}: ...'; values, states and actions must be given")
    return preamble


def _read_sign(statement: _Statement) -> int:
    word = statement.fields[0].strip()
    if word not in ("reward", "rewards", "cost", "costs"):
        raise _Refused(statement.place, f"values are 'reward' or 'cost', not {word!r}")
    return 1 if word.startswith("reward") else -1


def _read_discount(statement: _Statement | None, given: float | None) -> float:
    if statement is None:
        if given is None:
            raise _Refused(None, "there is no line 'discount: ...'; add one, or give read(..., discount=...)")
        return given
    if given is not None:
        raise _Refused(statement.place, f"the file says its discount itself, so discount={given} must be left out")
    words = statement.fields[0].split()
    if len(words) != 1:
        raise _Refused(statement.place, f"the discount is one number, not {len(words)} words")
    gamma = _number(words[0], statement, 0.0)
    if gamma > 1:
        raise _Refused(statement.place, f"the discount is {words[0]}; it must lie in [0, 1]")
    return gamma


def _read_set(statement: _Statement | None, key: str) -> tuple[int, tuple[str, ...]]:
    """How many states, actions or observations there are, and their names, if any."""
    if statement is None:
        return 1, ()
    words = tuple(statement.fields[0].split())
    if len(words) == 1 and _WHOLE.fullmatch(words[0]) and len(words[0]) < 10 and 1 <= int(words[0]) <= _MOST:
        return int(words[0]), ()
    for word in words:
        if not is_name(word):
            raise _Refused(statement.place, f"{key} are one number from 1 to {_MOST}, or names; {word!r} is neither")
    if not words or len(set(words)) < len(words):
        wrong = f"{max(words, key=words.count)!r} is there twice" if words else "there is nothing"
        raise _Refused(statement.place, f"{key} are one number, or distinct names; {wrong}")
    return len(words), words


def _read_start(statement: _Statement | None, states: _Members) -> np.ndarray:
    """The start: probabilities, one state, `uniform`, states to take or to leave out; without a line, uniform."""
    X = states.size
    words = [] if statement is None else statement.fields[0].split()
    if statement is None or (statement.key == "start" and words == ["uniform"]):
        return np.full(X, 1 / X)
    if not words:
        raise _Refused(statement.place, f"{statement.key!r} is followed by nothing")
    one = len(words) == 1 and _WHOLE.fullmatch(words[0]) and (X > 1 or words[0] == "0")
    if statement.key != "start" or one or not any(map(_NUMBER.fullmatch, words)):
        chosen = np.zeros(X, bool)
        for word in words:
            i = states.index.get(word)
            if not isinstance(i, int):
                raise _Refused(statement.place, _unknown(word, states, "state"), word)
            if chosen[i]:
                raise _Refused(statement.place, f"state {states.told(i)} is listed twice")
            chosen[i] = True
        chosen = chosen != (statement.key == "start exclude")
        if not chosen.any():
            raise _Refused(statement.place, "no state is left to start in")
        return chosen / chosen.sum()
    start = np.array([_number(word, statement, 0.0) for word in words])
    if len(start) != X:
        raise _Refused(
            statement.place, f"start has {len(start)} numbers for {X} states ('start include:' lists states)"
        )
    if abs(start.sum() - 1) > _TOLERANCE:
        raise _Refused(statement.place, f"start sums to {start.sum():.6g}; it must sum to one")
    return as_distributions("start", start, axes=(), dtype=np.float64)


def _fill(table: np.ndarray, statements: list[_Statement], sets: tuple[_Members, ...], start: np.ndarray) -> None:
    """Write statements about transitions or observations into their table, and check its rows."""
    key = "T" if sets[1] is sets[2] else "O"
    last = np.full(table.shape[:2], -1)  # the statement that last said anything of a row
    for n, statement in enumerate(statements):
        index, words = _split(statement, sets)
        if words[0] in _WORDS and len(words) == 1:
            table[index] = _block(words[0], statement, len(index), table.shape, start)
        else:
            table[index] = _block_of(words, statement, table.shape[len(index) :], least=0.0)
        last[index[:2]] = n
    total = table.sum(axis=-1)
    for a, x in np.argwhere(np.abs(total - 1) > _TOLERANCE)[:1].tolist():
        row = f"{key} of action {sets[0].told(a)} and {_INDICES[key][1]} {sets[1].told(x)}"
        if last[a, x] < 0:
            raise _Refused(None, f"no line gives {row}; it must sum to one")
        told = f"{row} sums to {total[a, x]:.6g} (this line is the last about it); it must sum to one"
        raise _Refused(statements[last[a, x]].place, told)
    table[:] = as_distributions(key, table, axes=("action", "state"), dtype=np.float64)


def _block(word: str, statement: _Statement, given: int, shape: tuple[int, ...], start: np.ndarray):
    """What `uniform`, `identity` and `reset` write into a row or a matrix."""
    if word == "uniform" and given < 3:
        return 1 / shape[2]
    if word == "reset" and given < 3 and statement.key == "T":
        return start
    if word == "identity" and given == 1 and shape[1] == shape[2]:
        return np.eye(shape[1])
    raise _Refused(statement.place, f"{word!r} has no meaning here", word)


def _rewards(statements: list[_Statement], sets: tuple[_Members, ...], T: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Expected rewards, Σ_x' T(x' | x, a) Σ_o O(o | a, x') R(a, x, x', o), `[A, X]`.

    One action after the other has a table `[X, X', O]`, without the axes that no statement tells apart.
    """
    A, X, O = seen.shape
    every = slice(None)
    by_action: list[list[tuple]] = [[] for _ in range(A)]
    ends = sights = 1
    for statement in statements:
        index, words = _split(statement, sets)
        block = _block_of(words, statement, (A, X, X, O)[len(index) :], least=-math.inf)
        ends = X if index[2:3] != (every,) else ends
        sights = O if index[3:4] != (every,) else sights
        for action in range(A) if isinstance(index[0], slice) else (index[0],):
            by_action[action].append((index[1:], block))
    if X * ends * sights > MOST_ENTRIES:
        raise _Refused(None, f"rewards by end state and observation make a table of {X * ends * sights:,} entries")
    paid = np.zeros((A, X))
    for a, written in enumerate(by_action):
        table = np.zeros((X, ends, sights))
        for index, block in written:
            table[index] = block
        # An axis of one is no axis: it is left out, and nothing is multiplied by a sum that only nearly is one.
        if sights > 1:
            by_end = np.einsum("xyo,yo->xy", table, seen[a]) if ends > 1 else table[:, 0] @ seen[a].T
            paid[a] = np.sum(T[a] * by_end, axis=1)
        else:
            paid[a] = np.sum(T[a] * table[:, :, 0], axis=1) if ends > 1 else table[:, 0, 0]
    return paid


def _split(statement: _Statement, sets: tuple[_Members, ...]) -> tuple[tuple[int | slice, ...], list[str]]:
    """The indices of a statement, and the words of its values."""
    kinds = _INDICES[statement.key]
    *between, last = statement.fields
    words = last.split()
    if len(between) > len(kinds):
        raise _Refused(statement.place, f"{statement.key} takes at most {len(kinds)} indices: {', '.join(kinds)}")
    if len(between) < len(kinds):  # else there is a colon before the value, too, as some writers put it
        between, words = [*between, *words[:1]], words[1:]
    index = []
    for word, members, kind in zip(between, sets, kinds, strict=False):
        word = word.strip()
        if word not in members.index:
            raise _Refused(statement.place, _unknown(word, members, kind), word)
        index.append(members.index[word])
    if not words:
        raise _Refused(statement.place, f"{statement.key} has no values here")
    return tuple(index), words


def _unknown(word: str, members: _Members, kind: str) -> str:
    names = "".join(f"{name}, " for name in members.names[:4]) + (
        "..., " if members.size > 4 < len(members.names) else ""
    )
    return f"{kind} {word!r} does not exist; there are {names}0 to {members.size - 1}"


def _block_of(words: list[str], statement: _Statement, shape: tuple[int, ...], least: float) -> np.ndarray | float:
    """The numbers of a statement in the shape that they fill."""
    if len(words) == 1 and not shape:  # most statements of most files, so worth a way without NumPy
        return _number(words[0], statement, least)
    numbers = [_number(word, statement, least) for word in words]
    if len(numbers) != math.prod(shape):
        kinds = _INDICES[statement.key][-len(shape) :] if shape else ()
        each = " by ".join(f"{size} {kind}s" for size, kind in zip(shape, kinds, strict=True))
        needed = f"{math.prod(shape)}, {each}" if shape else "one"
        raise _Refused(statement.place, f"there are {len(numbers)} numbers; with these indices it must be {needed}")
    return np.array(numbers).reshape(shape)


def _number(word: str, statement: _Statement, least: float) -> float:
    """A word as a finite number that is not less than `least`."""
    if not _NUMBER.fullmatch(word):
        raise _Refused(statement.place, f"{word!r} is no number", word)
    number = float(word)
    if not math.isfinite(number):
        raise _Refused(statement.place, f"{word} is beyond float64", word)
    if number < least:
        raise _Refused(statement.place, f"{word} is negative", word)
    return number
