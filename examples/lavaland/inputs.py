"""The example's inputs: maps to train on, maps to deploy on, a proxy, and a reward to judge by."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mdps import GridWorld, worlds
from mdps.worlds.lavaland import NAMES, Lavaland


class Case(NamedTuple):
    """One problem: the map the designer looked at, the map to plan in, and two rewards.

    Attributes:
        train: the training map.
        field: the deployment map.
        proxy: the reward that the designer wrote, `[K]`.
        truth: the reward that plans are judged by, `[K]`; no planner sees it.
        width: half-width of the prior of each weight, `[K]`.
    """

    train: GridWorld
    field: GridWorld
    proxy: jax.Array
    truth: jax.Array
    width: jax.Array


@dataclass(frozen=True)
class Input:
    """A batch of cases.

    Attributes:
        name: short name, for the manifest.
        title: what the table and the pictures call it.
        data: any pytree with a leading axis of cases.
        case: makes one `Case` of one slice of it; traced, so that maps of one shape share their tables.
        avoid: terrains that count as entering lava.
        reach: terrains that count as reaching the goal.
        labels: a name for each case; empty where cases differ only by chance.
        small: few cases, for which compiling costs more than running.
    """

    name: str
    title: str
    data: Any
    case: Callable[[Any], Case]
    avoid: tuple[str, ...] = ("lava",)
    reach: tuple[str, ...] = ("target",)
    labels: tuple[str, ...] = ()
    small: bool = False

    def __len__(self) -> int:
        """How many cases there are."""
        return jax.tree.leaves(self.data)[0].shape[0]

    def one(self, i: int = 0) -> Case:
        """One case, concrete."""
        return self.case(jax.tree.map(lambda x: x[i], self.data))


def fixed(
    name: str, title: str, train: GridWorld, fields: Mapping[str, GridWorld], rewards: Mapping[str, Any], **more: Any
) -> Input:
    """An input of given maps: one to train on, one or several of the same shape to deploy on."""
    for field in fields.values():
        if field.mdp.feature_names != train.mdp.feature_names:
            raise ValueError(
                f"{title}: the training map has the features {train.mdp.feature_names}, the deployment map "
                f"{field.mdp.feature_names}; give both maps the same legend, in the same order. A terrain that is in "
                "the legend is a feature, whether it is on the map or not."
            )
    proxy, truth = train.weights(rewards["proxy"]), train.weights(rewards["truth"])
    width = jnp.full_like(proxy, jnp.max(jnp.abs(proxy)))
    cases = [Case(train, field, proxy, truth, width) for field in fields.values()]
    data = jax.tree.map(lambda *x: jnp.stack(x), *cases)
    labels = tuple(fields) if len(fields) > 1 else ()
    made = Input(name, title, data, lambda case: case, labels=labels, small=True, **more)
    train.where(*made.avoid, *made.reach)  # refuses names that the maps do not know
    return made


def shift(settings: dict[str, Any]) -> Input:
    """AI Safety Gridworlds' distributional shift: no lava in training, then all three original maps."""
    train, fields = worlds.distributional_shift()
    return fixed("shift", "distributional shift", train, fields, settings["shift"], reach=("goal",))


def own(settings: dict[str, Any], train: Path, field: Path) -> Input:
    """Maps of one's own, as TOML files."""
    for path in (train, field):
        if not path.is_file():
            raise ValueError(f"there is no map file {path}.")
    table = settings["own"]
    ends = {key: tuple(table[key]) for key in ("avoid", "reach")}
    title = f"{train.stem} → {field.stem}"
    return fixed("own", title, GridWorld.from_toml(train), {field.stem: GridWorld.from_toml(field)}, table, **ends)


def lavalands(settings: dict[str, Any], key: jax.Array) -> list[Input]:
    """The paper's map and the generated pairs; of one size and horizon, so they can be one batch."""
    table, n = settings["generated"], settings["maps"]
    maps = generator(table["horizon"])
    proxy, truth = (jnp.asarray([table[w].get(name, 0.0) for name in NAMES]) for w in ("proxy", "truth"))
    width = jnp.full_like(proxy, jnp.max(jnp.abs(proxy)))

    def draw(key):
        train, field = jax.random.split(key)
        return compact(maps.train(train)), compact(maps.field(field)), proxy, truth, width

    def case(data):
        train, field, *rewards = data
        return Case(rebuild(train, table["horizon"]), rebuild(field, table["horizon"]), *rewards)

    data = jax.jit(jax.vmap(draw))(jax.random.split(key, n))
    generated = Input("generated", f"{n} generated maps", data, case)
    train, field = worlds.paper()
    paper = fixed("paper", "IRD paper, Figure 2", train, {"field": field}, settings["paper"])
    like = generated.one().field
    if (train.names, train.cell.shape, train.mdp.horizon) == (like.names, like.cell.shape, like.mdp.horizon):
        one = paper.one()
        data = (compact(train), compact(field), one.proxy, one.truth, one.width)
        paper = replace(paper, data=jax.tree.map(lambda x: jnp.asarray(x)[None], data), case=case)
    return [paper, generated]


def generator(horizon: int) -> Lavaland:
    """The library's generator of maps, for runs of so many steps."""
    return replace(Lavaland.from_toml(), horizon=horizon)


def compact(grid: GridWorld) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A Lavaland map as terrain `[H, W]`, start and goal."""
    return grid.terrain, jnp.argmax(grid.mdp.initial), jnp.argmax(grid.goal)


def rebuild(parts: tuple[jax.Array, jax.Array, jax.Array], horizon: int, **more: Any) -> GridWorld:
    """The map of `compact`, its tables shared by all maps of the batch."""
    terrain, start, goal = parts
    return GridWorld.from_terrain(terrain, NAMES, start=start, goal=goal, horizon=horizon, **more)


def batches(inputs: Sequence[Input]) -> list[list[Input]]:
    """Inputs that can run as one batch, together: those made by the same `case`."""
    groups: dict[int, list[Input]] = {}
    for each in inputs:
        groups.setdefault(id(each.case), []).append(each)
    return list(groups.values())


def joined(inputs: Sequence[Input]) -> Input:
    """Several inputs of one kind as one batch, in order."""
    head = inputs[0]
    if len(inputs) == 1:
        return head
    data = jax.tree.map(lambda *x: jnp.concatenate(x), *(each.data for each in inputs))
    title = ", ".join(each.title for each in inputs)
    return replace(head, title=title, data=data, labels=(), small=all(each.small for each in inputs))
