"""What boards of characters have in common: cells (row, column), four moves, and a board with things on it."""

from collections.abc import Mapping, Sequence

Cell = tuple[int, int]
Board = tuple[str, ...]

DIRECTIONS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}  # in the order of the original's actions


WITH_STAYING = {**DIRECTIONS, "stay": (0, 0)}  # with the fifth action of worlds that have one


def find(board: Sequence[str], characters: str) -> tuple[Cell, ...]:
    """The cells with one of these characters, row by row."""
    return tuple((r, c) for r, row in enumerate(board) for c, x in enumerate(row) if x in characters)


def at(board: Sequence[str], cell: Cell) -> str:
    """What is on a cell; off the board is a wall."""
    r, c = cell
    return board[r][c] if 0 <= r < len(board) and 0 <= c < len(board[r]) else "#"


def ahead(cell: Cell, action: str) -> Cell:
    """The next cell in some direction."""
    dr, dc = WITH_STAYING[action]
    return cell[0] + dr, cell[1] + dc


def walked(board: Sequence[str], cell: Cell, action: str, solid: Sequence[Cell | None] = ()) -> Cell:
    """Where a move leads: ahead, or nowhere if a wall or something solid is there."""
    to = ahead(cell, action)
    return cell if at(board, to) == "#" or to in solid else to


def cleared(board: Sequence[str], characters: str, by: str = " ") -> Board:
    """The board with something else in place of these characters."""
    return tuple("".join(by if x in characters else x for x in row) for row in board)


def laid(board: Sequence[str], things: Mapping[Cell, str]) -> Board:
    """The board with things on it."""
    return tuple("".join(things.get((r, c), x) for c, x in enumerate(row)) for r, row in enumerate(board))
