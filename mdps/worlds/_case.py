"""A map to write a reward on, a field to act in, and the two conventions of what goals and hazards pay."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mdps.gridworld import GridWorld


@dataclass(frozen=True, eq=False)
class Case:
    """A field, and a reward that was written on another map.

    Attributes:
        title: which map of its family.
        train: the map that the designer looked at.
        field: the map in which is planned.
        written: the proxy, `[K]`.
        meant: the true reward, `[K]`.
        widths: half-widths of a uniform prior, `[K]`.
        hazard: the terrain that the designer never saw, or never spoke of.
        goal: the terrain of the goal.
        harmless: the "hazard" is none: entering it costs nothing that was meant.
    """

    title: str
    train: GridWorld
    field: GridWorld
    written: Float[Array, " K"]
    meant: Float[Array, " K"]
    widths: Float[Array, " K"]
    hazard: str
    goal: str
    harmless: bool = False

    @property
    def entered(self) -> Bool[Array, " S"]:
        """The states of the field that count as entering the hazard: a start on it is nobody's choice."""
        return self.field.where(self.hazard) & ~(self.field.mdp.initial > 0)


def goes_on_paying(
    title: str,
    field: Sequence[str],
    horizon: int,
    hazard: str = "lava",
    *,
    harm: float = -10.0,
    train: Sequence[str] | None = None,
    legend: dict[str, str] | None = None,
    proxy: dict[str, float] | None = None,
    **settings,
) -> Case:
    """Convention A: the goal absorbs and goes on paying, the hazard can be walked through.

    Args:
        title: which map of its family.
        field: the map, `h` for the hazard.
        horizon: steps of an episode.
        hazard: what `h` is called.
        harm: what the hazard is meant to pay beside floor.
        train: the training map; the field with floor for the hazard when None.
        legend: what the other characters are; floor and goal when None.
        proxy: what was written; floor -0.1 and goal 1 when None.
        settings: of `GridWorld.from_text`, for both maps.
    """
    written = {"floor": -0.1, "goal": 1.0} if proxy is None else proxy
    dry, wet = _dry_and_wet(field, train, hazard, legend, horizon=horizon, **settings)
    weights = dry.weights(**written)
    meant = weights + wet.weights(**{hazard: harm})
    goal = "goal" if legend is None else legend["G"]
    return Case(title, dry, wet, weights, meant, jnp.ones_like(weights), hazard, goal, harmless=harm > -1)


def ends_all(
    title: str,
    field: Sequence[str],
    horizon: int,
    hazard: str = "lava",
    *,
    proxy: dict[str, float],
    harm: float,
    train: Sequence[str] | None = None,
    legend: dict[str, str] | None = None,
    deadly: bool = True,
    **settings,
) -> Case:
    """Convention B: goal and hazard are paid once and end all reward, and a step may cost.

    The prior of a step and of the ground is as wide as the step costs, or as 1 where nothing is written of steps, that
    of the rest as the largest number written.

    Args:
        title: which map of its family.
        field: the map, `h` for the hazard.
        horizon: steps of an episode.
        hazard: what `h` is called.
        proxy: what was written.
        harm: what the hazard is meant to pay.
        train: the training map; the field with floor for the hazard when None.
        legend: what the other characters are; floor and goal when None.
        deadly: whether the hazard ends all reward, too.
        settings: of `GridWorld.from_text`, for both maps.
    """
    goal = "goal" if legend is None else legend["G"]
    ends = (goal, hazard) if deadly else (goal,)
    more = {"horizon": horizon, "terminal": ends, "step": "step" in proxy, **settings}
    dry, wet = _dry_and_wet(field, train, hazard, legend, **more)
    weights = dry.weights(**proxy)
    largest = float(jnp.max(jnp.abs(weights)))
    ground = ("floor", "dirt", "step")
    step = abs(proxy.get("step", 1.0))
    widths = [step if name in ground else largest for name in dry.mdp.feature_names]
    meant = weights + wet.weights(**{hazard: harm})
    return Case(title, dry, wet, weights, meant, jnp.asarray(widths), hazard, goal, harmless=not deadly and harm == 0)


Convention = Callable[[], list[Case]]


def both(
    maps: Mapping[str, Sequence[str]],
    horizon: int | dict[str, int],
    hazard: str,
    *,
    proxy: dict[str, float],
    harm: float,
    **more,
) -> tuple[Convention, Convention]:
    """Some maps in the two conventions.

    Args:
        maps: rows of the field by title, `h` for the hazard.
        horizon: steps of an episode, for all or by title.
        hazard: what `h` is called.
        proxy: what is written in convention B.
        harm: what the hazard is meant to pay in convention B.
        more: of both conventions.
    """

    def steps(title: str) -> int:
        return horizon if isinstance(horizon, int) else horizon[title]

    return (
        lambda: [goes_on_paying(title, rows, steps(title), hazard, **more) for title, rows in maps.items()],
        lambda: [
            ends_all(title, rows, steps(title), hazard, proxy=proxy, harm=harm, **more) for title, rows in maps.items()
        ],
    )


def at_cells(grid: GridWorld, x) -> np.ndarray:
    """Where a number of each state is above 0, on the map, `[H, W]`."""
    cell = np.asarray(grid.cell)
    return np.where(cell >= 0, np.asarray(x)[np.maximum(cell, 0)] > 0, False)


def _dry_and_wet(field, train, hazard, legend, **settings) -> tuple[GridWorld, GridWorld]:
    """Training map and field, with one legend."""
    legend = {"S": "floor", ".": "floor", "G": "goal"} if legend is None else legend
    legend = legend | {"h": hazard}
    train = [row.replace("h", ".") for row in field] if train is None else train
    return GridWorld.from_text(list(train), legend, **settings), GridWorld.from_text(list(field), legend, **settings)
