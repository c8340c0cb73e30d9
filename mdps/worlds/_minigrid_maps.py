"""Families of MiniGrid's maps (Chevalier-Boisvert et al. 2023), read where the package is installed."""

from collections.abc import Callable, Iterable

import numpy as np

from mdps.interop import from_minigrid
from mdps.worlds._case import Case, at_cells, both

MINIGRID_PAYS = {"step": -0.75, "goal": 50.0}


def _rows(name: str, seed: int) -> list[str]:
    """The map of an environment as text, `h` for lava."""
    import gymnasium
    import minigrid  # noqa: F401 (registers the environments)

    env = gymnasium.make(name)
    env.reset(seed=seed)
    grid = from_minigrid(env, horizon=1)
    letters = np.select([np.asarray(grid.terrain) == 1, at_cells(grid, grid.goal)], ["h", "G"], ".")
    letters = np.where(at_cells(grid, grid.mdp.initial), "S", letters)
    return ["".join(row) for row in np.where(np.asarray(grid.cell) < 0, "#", letters)]


def _read(environments: Iterable[str], seeds: Iterable[int]) -> dict[str, list[str]]:
    return {f"{name}, seed {seed}": _rows(f"MiniGrid-{name}-v0", seed) for name in environments for seed in seeds}


GAPS = ("LavaGapS5", "LavaGapS6", "LavaGapS7"), range(3)
CROSSINGS = ("LavaCrossingS9N1", "LavaCrossingS9N2", "LavaCrossingS9N3", "LavaCrossingS11N5"), range(6)
SHIFTS = ("DistShift1", "DistShift2"), range(1)


def _family(which: tuple[Iterable[str], Iterable[int]], convention: int) -> Callable[[], list[Case]]:
    return lambda: both(_read(*which), 60, "lava", proxy=MINIGRID_PAYS, harm=-50.0)[convention]()


MINIGRID = {
    f"minigrid-{name}-{letter}": _family(which, convention)
    for name, which in (("gap", GAPS), ("crossing", CROSSINGS), ("distshift", SHIFTS))
    for convention, letter in enumerate("AB")
}
