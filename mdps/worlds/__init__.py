"""Worlds that come with the package; their maps are TOML files beside this one.

`GridWorld.from_toml(worlds.path("paper_train"))` reads one map; the functions here return those
that belong together.
"""

from pathlib import Path

from mdps.gridworld import GridWorld
from mdps.worlds import lavaland, potts, rooms, safety
from mdps.worlds._case import Case
from mdps.worlds._explore import End, Explored, explore
from mdps.worlds._families import Families, families

__all__ = [
    "Case",
    "End",
    "Explored",
    "Families",
    "distributional_shift",
    "explore",
    "families",
    "lavaland",
    "office",
    "paper",
    "path",
    "potts",
    "rooms",
    "safety",
]
__dir__ = __all__.copy


def path(name: str) -> Path:
    """The TOML file of a shipped map.

    Args:
        name: the file's name, without its ending.

    Raises:
        ValueError: if no such map is shipped.

    Example:
        >>> GridWorld.from_toml(path("paper_train")).mdp.feature_names
        ('dirt', 'grass', 'target', 'lava')
    """
    folder = Path(__file__).parent
    found = folder / f"{name}.toml"
    if not found.is_file():
        names = sorted(file.stem for file in folder.glob("*.toml") if "\nmap = " in file.read_text(encoding="utf-8"))
        raise ValueError(f"no world {name!r} is shipped; there are {', '.join(names)}.")
    return found


def paper() -> tuple[GridWorld, GridWorld]:
    """The training map and the field of the inverse reward design paper's Figure 2.

    10 × 10 cells of dirt, grass and a target that keeps emitting; in the field lava lies across the
    straight way (Hadfield-Menell et al. 2017; the map after a public re-typing).  The proxy of
    the story is dirt -0.1, grass -0.5, target 1, and says nothing of lava.  50 steps.

    Returns:
        `(train, field)`, with the same features "dirt", "grass", "target", "lava".

    Example:
        >>> train, field = paper()
        >>> int(train.where("lava").sum()), int(field.where("lava").sum())
        (0, 12)
    """
    return GridWorld.from_toml(path("paper_train")), GridWorld.from_toml(path("paper_field"))


def office() -> tuple[GridWorld, GridWorld]:
    """An office of 12 × 12 cells with two starts, and the same with glass in its short way, which nobody has seen.

    Carpet, tile, cable, a charger that keeps emitting; moves slip with probability .1, discount .95.  The reward of
    the story is carpet -0.05, tile -0.1, cable -0.6, charger 1, and says nothing of glass.

    Returns:
        `(train, field)`, with the same features "carpet", "tile", "cable", "glass", "charger".

    Example:
        >>> train, field = office()
        >>> int(train.where("glass").sum()), int(field.where("glass").sum())
        (0, 8)
    """
    return GridWorld.from_toml(path("office_train")), GridWorld.from_toml(path("office_field"))


def distributional_shift() -> tuple[GridWorld, dict[str, GridWorld]]:
    """The distributional shift worlds of AI Safety Gridworlds (Leike et al. 2017, section 2.2.1).

    A move pays -1 (the feature "step"), the goal +50, lava -50.  Unlike elsewhere in this
    package, goal and lava are paid once and end all reward, as in the original.  100 steps.

    Returns:
        `(train, fields)`: the training map with every L replaced by floor, for a designer who never met
        lava, and the three original maps, "train", "test 1" and "test 2".  All have the features
        "floor", "goal", "lava", "step".

    Example:
        >>> train, fields = distributional_shift()
        >>> {name: int(field.where("lava").sum()) for name, field in fields.items()}
        {'train': 6, 'test 1': 6, 'test 2': 6}
    """
    fields = {"train": "train", "test 1": "test1", "test 2": "test2"}
    return (
        GridWorld.from_toml(path("distributional_shift_no_lava")),
        {name: GridWorld.from_toml(path(f"distributional_shift_{file}")) for name, file in fields.items()},
    )
