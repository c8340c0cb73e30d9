"""Maps as people write them (text with a legend, TOML files, arrays of terrain), read and checked."""

import codecs
import itertools
import re
import sys
import tomllib
import warnings
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mdps.checks import as_distributions, check_array, check_names, check_real, is_concrete, shown
from mdps.graph import walk_from
from mdps.mdp import name_features


def parse(
    text: str | Sequence[str], legend: Mapping[str, str], *, start: str, goal: str | None, wall: str | None
) -> tuple[np.ndarray, tuple[str, ...], np.ndarray, np.ndarray]:
    """Read a map's text; see `GridWorld.from_text`.

    Returns:
        The terrain `[H, W]` (-1: wall), the terrain names, the starts `[H, W]` and the goals `[H, W]`.
    """
    legend = _check_legend(legend, start, goal, wall)
    rows = _lines(text, meant={*legend, wall})
    names = tuple(dict.fromkeys(legend.values()))
    number = {character: names.index(name) for character, name in legend.items()}
    terrain = np.full((len(rows), len(rows[0])), -1)
    starts, goals = np.zeros(terrain.shape, bool), np.zeros(terrain.shape, bool)
    for r, row in enumerate(rows):
        for c, character in enumerate(row):
            if character == wall:
                continue
            if character not in number:
                knows = quoted(legend) + (f" and the wall {wall!r}" if wall else "")
                raise ValueError(
                    f"line {r + 1}, column {c + 1} of the map is {character!r} (in {row!r}), which the legend does not "
                    f"know; it knows {knows}. Add it to the legend or mend the map."
                )
            terrain[r, c] = number[character]
            goals[r, c] = character == goal
            starts[r, c] = character == start
    return terrain, names, starts, goals


def read_toml(path: str | Path) -> tuple[str, dict[str, Any]]:
    """Read a map file: its text and the arguments of `GridWorld.from_text` that it holds."""
    if not isinstance(path, str | Path):
        raise ValueError(f"path is {shown(path)}; give the name of a file, as a string or a pathlib.Path.")
    path = Path(path)
    written = path.read_bytes()
    if written.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(f"{path} begins with the byte order mark of UTF-16; TOML is UTF-8: save the file as that.")
    try:
        settings = tomllib.loads(written.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid TOML: {error}.") from error
    for key, value in settings.items():
        if key not in _TOML:
            raise ValueError(f"{path}: unknown key {key!r}; a map file may hold {', '.join(_TOML)}.")
        kinds, wording = _TOML[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise ValueError(f"{path}: {key} is {value!r}; it must be {wording}.")
    for key in ("map", "legend"):
        if key not in settings:
            raise ValueError(f"{path}: the key {key!r} is missing; it must be {_TOML[key][1]}.")
    text = settings.pop("map")
    return text, {key: value for key, value in settings.items() if key not in _FREE_TEXT}


def frames_inside() -> int:
    """How many callers lie within this package, so that a warning points at the user's line."""
    frame, count = sys._getframe(1), -1
    while frame is not None and frame.f_globals.get("__name__", "").startswith("mdps"):
        frame, count = frame.f_back, count + 1
    return count


def quoted(names: Iterable) -> str:
    """Names in quotes, with commas."""
    return ", ".join(repr(name) for name in names)


def check_terrains(names: Sequence[str], terminal: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Distinct terrain names, and those of them that end all reward, in the same order."""
    if not all(isinstance(x, Iterable) and not isinstance(x, str) for x in (names, terminal)):
        raise ValueError("names and terminal are sequences of terrain names; a single name goes in a tuple, ('lava',).")
    names, terminal = tuple(names), tuple(terminal)
    if not names or not all(isinstance(n, str) and n for n in names) or len(set(names)) != len(names):
        raise ValueError(f"names is {names}; give distinct, non-empty terrain names.")
    for name in terminal:
        if not isinstance(name, str) or name not in names:
            raise ValueError(f"terminal names {name!r}, which is no terrain here; the terrains are {quoted(names)}.")
    return names, tuple(name for name in names if name in terminal)


def check_walls(terrain, walls) -> np.ndarray:
    """The mask of walls, concrete and of the terrain's shape."""
    shape = check_real("terrain", terrain).shape
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"terrain has shape {shape}; it must be [H, W] with at least one cell.")
    if walls is None:
        return np.zeros(shape, bool)
    if not is_concrete(walls):
        raise TypeError(
            "walls is traced, but walls decide the number of states; give a concrete mask "
            "(terrain, start and goal may be traced)."
        )
    walls = np.asarray(walls)
    if walls.shape != shape or walls.dtype != bool:
        raise ValueError(
            f"walls is {walls.dtype} of shape {walls.shape}; it must be a boolean mask of the terrain's shape {shape}."
        )
    if walls.all():
        raise ValueError("every cell is a wall; leave at least the start open.")
    return walls


def check_terrain(terrain: Any, walls: np.ndarray, names: tuple[str, ...]) -> Any:
    """The terrain as an integer array, looked at where it is concrete."""
    terrain = np.asarray(terrain) if is_concrete(terrain) else terrain
    if not jnp.issubdtype(terrain.dtype, jnp.integer):
        raise ValueError(f"terrain has dtype {terrain.dtype}; it must hold whole numbers, indices into names.")
    if not is_concrete(terrain):
        return terrain
    bad = np.argwhere(~walls & ((terrain < 0) | (terrain >= len(names))))
    if bad.size:
        r, c = (int(i) for i in bad[0])
        raise ValueError(
            f"terrain is {terrain[r, c]} at row {r}, column {c}; with {len(names)} names it must lie in "
            f"0..{len(names) - 1} (mark walls in `walls`)."
        )
    return terrain


def check_initial(start: Any, initial: Any, walls: np.ndarray, num_states: int, dtype) -> Any:
    """Probability of starting in each state, `[S]`: uniform over the cells of `start`, or as `initial` says.

    `start` is what `mark` takes, `initial` one number per cell `[H, W]` or per state `[S]`; one of the two is None.
    """
    if (start is None) == (initial is None):
        raise ValueError("give start (a cell, or a mask of cells) or initial (a distribution), one of the two.")
    share: Any = mark(start, "start", walls) if initial is None else check_real("initial", initial)
    known = is_concrete(share)
    xp = np if known else jnp
    share = np.asarray(share) if known else share
    if share.shape not in (walls.shape, (num_states,)):
        raise ValueError(
            f"initial has shape {share.shape}; give one probability per cell, {list(walls.shape)}, "
            f"or per state, [{num_states}]."
        )
    if share.ndim == 2:
        if known and (share[walls] != 0).any():
            r, c = (int(i) for i in np.argwhere(walls & (share != 0))[0])
            raise ValueError(f"initial is {share[r, c]} at row {r}, column {c}, which is a wall; it must be 0 there.")
        share = share[np.nonzero(~walls)]
        share = xp.concatenate([share, np.zeros(num_states - share.shape[0], share.dtype)])
    if initial is None:
        return share / xp.maximum(share.sum(), 1)  # a traced start off the map begins nowhere
    return as_distributions("initial", share, axes=(), dtype=dtype) if known else share


def mark(cell: Any, what: str, walls: np.ndarray) -> Any:
    """A mask `[H, W]` of the cell (row, column), of the cell with that number, or the mask itself."""
    H, W = walls.shape
    try:
        # Tracers among the numbers make an array of JAX.
        at: Any = cell if hasattr(cell, "dtype") else np.asarray(cell)
    except jax.errors.TracerArrayConversionError:
        at = jnp.stack([jnp.asarray(x) for x in cell])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{what} is {cell!r}; give (row, column), the cell's number, or a mask of cells.") from error
    known = is_concrete(at)
    at = np.asarray(at) if known else at
    if at.dtype == np.bool_ and at.shape == (H, W):
        if known and (at & walls).any():
            raise ValueError(f"a {what} stands on a wall; move it or open the cell.")
        if known and what == "start" and not at.any():
            raise ValueError("start marks no cell; runs need at least one to begin in.")
        return at
    if at.shape not in ((), (2,)) or not jnp.issubdtype(at.dtype, jnp.integer):
        raise ValueError(
            f"{what} is {at.dtype} of shape {at.shape}; give whole numbers (row, column), the cell's number "
            f"row * {W} + column, or a boolean mask of cells [{H}, {W}]."
        )
    row, column = at if at.shape else (at // W, at % W)
    if known:
        if not (0 <= row < H and 0 <= column < W):
            raise ValueError(f"{what} is row {row}, column {column}; the map has {H} rows and {W} columns, from 0.")
        if walls[row, column]:
            raise ValueError(f"{what} (row {row}, column {column}) stands on a wall; move it or open the cell.")
    rows, columns = np.indices((H, W))
    return (rows == row) & (columns == column)


def check_emissions(names: tuple[str, ...], emissions, feature_names):
    """Features of each terrain, `[number of terrains, K]`, and their names."""
    if emissions is None:
        if feature_names is not None and check_names(feature_names, len(names)) != names:
            raise ValueError("feature_names goes with emissions; without them the features are the terrains, by name.")
        return np.eye(len(names)), names
    if isinstance(emissions, Mapping):
        missing = [name for name in names if name not in emissions]
        unknown = [name for name in emissions if name not in names]
        if missing or unknown:
            wrong = [f"{quoted(missing)} missing"] * bool(missing) + [f"{quoted(unknown)} unknown"] * bool(unknown)
            raise ValueError(f"emissions must give features for exactly {quoted(names)}; {' and '.join(wrong)}.")
        lengths = {np.shape(emissions[name]) for name in names}
        if len(lengths) != 1:
            raise ValueError(
                f"emissions have shapes {sorted(lengths)}; every terrain needs the same number of features."
            )
        emissions = [emissions[name] for name in names]
    emissions = check_real("emissions", emissions)
    emissions = np.asarray(emissions) if is_concrete(emissions) else emissions
    if emissions.ndim != 2 or emissions.shape[0] != len(names) or emissions.shape[1] == 0:
        raise ValueError(
            f"emissions has shape {emissions.shape}; with {len(names)} terrains it must be [{len(names)}, K]."
        )
    check_array("emissions", emissions, dtype=jnp.result_type(float))
    K = emissions.shape[1]
    return emissions, name_features(feature_names, K)


_FREE_TEXT = ("title", "source", "notes")
_TOML = {
    "map": ((str,), "the map's text"),
    "legend": ((dict,), "a table from characters to terrain names"),
    "start": ((str,), "one character"),
    "goal": ((str,), "one character"),
    "wall": ((str,), "one character"),
    "slip": ((int, float), "a probability"),
    "discount": ((int, float), "a number"),
    "horizon": ((int,), "a whole number of steps"),
    "terminal": ((list,), "a list of terrain names"),
    "initial": ((list,), "a list of rows of probabilities, one for each cell"),
    "step": ((bool,), "true or false"),
    "emissions": ((dict,), "a table from terrain names to lists of numbers"),
    "feature_names": ((list,), "a list of names"),
    "title": ((str,), "text"),
    "source": ((str,), "text"),
    "notes": ((str,), "text"),
}


def _check_legend(legend: Mapping[str, str], start: str, goal: str | None, wall: str | None) -> dict[str, str]:
    """The legend as a dictionary; every character is one character and means one thing."""
    if not isinstance(legend, Mapping):
        raise ValueError(f"legend is {shown(legend)}; give a mapping from each character to the name of a terrain.")
    legend = dict(legend)
    special = {"start": start, "goal": goal, "wall": wall}
    for what, character in [*special.items(), *(("legend", c) for c in legend)]:
        if character is None and what in ("goal", "wall"):
            continue
        if not isinstance(character, str) or len(character) != 1 or character in "\n\r":
            points = " ".join(f"U+{ord(c):04X}" for c in character) if isinstance(character, str) else ""
            raise ValueError(
                f"{what} holds {character!r}{f' ({points})' if points else ''}; "
                "every cell of a map is one character (one code point), so give exactly one."
            )
    if not legend:
        raise ValueError("the legend is empty; give a terrain name for every character of the map.")
    for character, name in legend.items():
        if not isinstance(name, str) or not name:
            raise ValueError(
                f"the legend gives {character!r} the terrain {name!r}; a terrain name is a non-empty string."
            )
    if start == goal:
        raise ValueError(f"start and goal are both {start!r}; give them different characters.")
    if wall is not None and (wall in legend or wall in (start, goal)):
        raise ValueError(
            f"the wall {wall!r} is also the start, the goal or in the legend; give the wall another character, "
            "or None for no walls."
        )
    return legend


def _lines(text: str | Sequence[str], *, meant: Set[str | None]) -> list[str]:
    """The lines of a map, all of one length; `meant` are the characters that stand for something.

    Lines end at a line feed, a carriage return or both, and nowhere else: `str.splitlines` would also break a row
    at a character that means a terrain.  What all lines of a string are indented by is no part of the map, whatever
    a space means; rows that are given one by one are complete.
    """
    blank = "".join(character for character in " \t" if character not in meant)
    if isinstance(text, str):
        lines = re.split(r"\r\n|\n|\r", text.removeprefix("\ufeff"))
        if not lines[0] and not lines[-1].strip(" \t"):
            lines.pop()  # what stands before the closing quotes, where the map begins below the opening ones
    else:
        lines = list(text) if isinstance(text, Iterable) else [text]
        if not all(isinstance(line, str) for line in lines):
            raise ValueError(f"the map is {text!r}; give it as one string, or as a list of strings, one for each row.")
        lines = [line.removesuffix("\n").removesuffix("\r") for line in lines]
    if isinstance(text, str) or " " in blank:
        begins = [line[: len(line) - len(line.lstrip(" \t"))] for line in lines if line.strip(" \t")]
        furthest = zip(min(begins, default=""), max(begins, default=""), strict=False)  # in the order of the alphabet
        indent = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], furthest))
        lines = [line[indent:] for line in lines]
    lines = [line.rstrip(blank) for line in lines]
    while lines and not lines[0]:
        lines.pop(0)
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise ValueError("the map is empty; give at least one line with a start.")
    for i, line in enumerate(lines):
        if len(line) != len(lines[0]):
            raise ValueError(
                f"the map is ragged: line {i + 1} has {len(line)} characters, line 1 has {len(lines[0])}; "
                "all lines of a map must be equally long."
            )
    return lines


def warn_of_unreachable_goals(next_state, begins, goals, ends, row, column) -> None:
    """Warn of goals that no walk from the start enters."""
    n = len(row)
    walk = next_state[:n, :4]
    leads_on = np.broadcast_to(~(goals | ends)[:, None], walk.shape)
    lost = np.flatnonzero(goals & ~walk_from(walk, leads_on, begins))
    if lost.size:
        where = ", ".join(f"row {row[i]}, column {column[i]}" for i in lost[:5])
        warnings.warn(
            f"the goal at {where} cannot be reached from the start; open a way to it, or leave it out.",
            stacklevel=2 + frames_inside(),
        )
