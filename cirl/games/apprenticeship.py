"""Apprenticeship on a grid: a short lesson, then work (after Hadfield-Menell et al. 2016, section 4).

A gardener wants the garden tended around one spot, and only the gardener knows which.  For a few
steps the gardener walks, and the apprentice watches; then the apprentice walks, from the shed, for
longer.  Each step pays more the nearer to the spot whoever walks comes to stand.  A gardener who minds only the
lesson's own pay walks straight to the spot; one who also minds the work walks so that spots which
look alike from the start are told apart in time.  While the apprentice works the gardener may call out, at a
price.
"""

import itertools

import numpy as np

from cirl.game import Game
from cirl.successors import table_of_moves
from mdps.checks import check_count, check_number

__all__ = ["game", "nearness", "shed", "spots"]
__dir__ = __all__.copy

MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1), (0, 0)])  # up, right, down, left, stay


def game(
    size: int = 10,
    num_spots: int = 20,
    *,
    lesson: int = 3,
    work: int = 8,
    reach: float = 2.0,
    call: float = 1.0,
    stride: int = 1,
    discount: float = 1.0,
) -> Game:
    """The garden, both acting at once: five moves each, of which one walker's count at a time.

    State `(lesson - t) * size² + cell` for the gardener's walk while steps of the lesson are left,
    and `cell` for the apprentice's.  Standing at distance d (in cells) from the spot pays exp(-d² / (2 reach²)).

    Args:
        size: cells along one side.
        num_spots: how many spots may be meant; they are spread evenly.
        lesson: steps that the gardener walks.
        work: steps that the apprentice walks.
        reach: how near is near, in cells.
        call: price of any move but staying for a gardener who does not walk, in units of reward.
        stride: cells, counted along rows and columns, that the gardener may go in one step; staying is the last of
            the gardener's moves.
        discount: discount factor per step.

    Raises:
        ValueError: for fewer than one spot or more spots than cells, or a lesson, work or stride below one.

    Example:
        >>> garden = game(4, 3, lesson=1, work=2)
        >>> garden.mdp.num_states, garden.num_thetas, garden.mdp.horizon
        (32, 3, 3)
    """
    size = check_count("size", size)
    num_spots = check_count("num_spots", num_spots, most=size * size)
    lesson, work, stride = (
        check_count(name, x) for name, x in (("lesson", lesson), ("work", work), ("stride", stride))
    )
    check_number("reach", reach, lambda x: 0 < x < np.inf, "give a positive number of cells.")
    check_number("call", call)
    N = size * size
    cells = np.array(list(itertools.product(range(size), repeat=2)))
    near = nearness(cells, spots(size, num_spots), reach)
    land = lambda moves: np.clip(cells[:, None] + moves, 0, size - 1) @ np.array([size, 1])  # noqa: E731
    step, walk = land(MOVES), land(_moves(stride))  # [N, 5], [N, A_H]
    ahead = np.zeros(((lesson + 1) * N, walk.shape[1], len(MOVES)), int)
    reward = np.zeros((*ahead.shape, num_spots))
    ahead[:N], reward[:N] = step[:, None], near[step][:, None]
    reward[:N, :-1] -= call
    for left in range(1, lesson + 1):
        here = slice(left * N, (left + 1) * N)
        ahead[here] = shed(size) if left == 1 else (left - 1) * N + walk[:, :, None]
        reward[here] = near[walk][:, :, None]
    start = np.zeros(len(ahead))
    start[lesson * N + (size // 2) * (size + 1)] = 1
    prior = np.full(num_spots, 1 / num_spots)
    table = table_of_moves(ahead)
    return Game.from_table(*table, reward, prior, start, discount=discount, horizon=lesson + work)


def _moves(stride: int) -> np.ndarray:
    """What the gardener may do, `[A_H, 2]`: the four short moves and staying come last, as in `MOVES`."""
    far = [m for m in itertools.product(range(-stride, stride + 1), repeat=2) if 1 < abs(m[0]) + abs(m[1]) <= stride]
    return np.array([*far, *MOVES.tolist()])


def spots(size: int, count: int) -> np.ndarray:
    """Cells (row, column) spread over the garden, `[count, 2]`: golden-angle spiral points, the nearest cells."""
    i = np.arange(count) + 0.5
    radius, angle = np.sqrt(i / count), i * np.pi * (3 - np.sqrt(5))
    disc = np.stack([np.sin(angle), np.cos(angle)], axis=1) * radius[:, None]
    # From the disc to the square, ring by ring.
    square = disc * (radius / np.maximum(np.abs(disc).max(axis=1), 1e-9))[:, None]
    wanted = (square + 1) / 2 * (size - 1)
    cells = np.array(list(itertools.product(range(size), repeat=2)))
    taken: list[int] = []
    for point in wanted:
        distance = ((cells - point) ** 2).sum(axis=1).astype(float)
        distance[taken] = np.inf
        taken.append(int(distance.argmin()))
    return cells[taken]


def nearness(cells: np.ndarray, spots: np.ndarray, reach: float) -> np.ndarray:
    """exp(-d² / (2 reach²)) between cells `[N, 2]` and spots `[Θ, 2]`: `[N, Θ]`."""
    apart = ((cells[:, None] - spots) ** 2).sum(axis=-1)
    return np.exp(-apart / (2 * reach**2))


def shed(size: int) -> int:
    """The cell at which the apprentice starts to work."""
    return 0
