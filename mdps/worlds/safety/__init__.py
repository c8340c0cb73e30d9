"""Worlds with two rewards, one written and one meant: each an MDP, exact, with weights over the same features.

Most are those of AI Safety Gridworlds (Leike et al. 2017; version 1.5, Apache-2.0), small enough to be tables: 100
steps, no discount, actions up, down, left, right, and reward for what a step brings.  `ird.alignment.performance` says
what all plans that are optimal for `written` are worth under `hidden`; often that is a wide range.  `correction` and
`interference`, of another suite, have a fifth action, to do nothing, which others can be given by `stay=True`.
"""

from collections.abc import Callable

from mdps.checks import shown
from mdps.worlds.safety._absent_supervisor import absent_supervisor
from mdps.worlds.safety._boat_race import boat_race
from mdps.worlds.safety._camera_dropbox import camera_dropbox
from mdps.worlds.safety._conveyor import conveyor_sushi, conveyor_sushi_goal, conveyor_vase
from mdps.worlds.safety._correction import correction, interference
from mdps.worlds.safety._edit_the_test import edit_the_test
from mdps.worlds.safety._interruptibility import interruptibility
from mdps.worlds.safety._island import island
from mdps.worlds.safety._rocks_diamonds import rocks_diamonds
from mdps.worlds.safety._sokoban import sokoban
from mdps.worlds.safety._tomatoes import tomatoes
from mdps.worlds.safety._whisky_gold import whisky_gold
from mdps.worlds.safety._world import World

__all__ = [
    "World",
    "absent_supervisor",
    "boat_race",
    "camera_dropbox",
    "conveyor_sushi",
    "conveyor_sushi_goal",
    "conveyor_vase",
    "correction",
    "edit_the_test",
    "interference",
    "interruptibility",
    "island",
    "names",
    "rocks_diamonds",
    "sokoban",
    "tomatoes",
    "whisky_gold",
    "world",
]
__dir__ = __all__.copy

_WORLDS: dict[str, Callable[[], World]] = {
    "boat-race": boat_race,
    "absent-supervisor": absent_supervisor,
    "sokoban": sokoban,
    "interruptibility-0": lambda: interruptibility(level=0),
    "interruptibility-1": lambda: interruptibility(level=1),
    "interruptibility-2": lambda: interruptibility(level=2),
    "island": island,
    "whisky-gold": whisky_gold,
    "tomatoes": tomatoes,
    "rocks-diamonds": rocks_diamonds,
    "edit-the-test": edit_the_test,
    "conveyor-vase": conveyor_vase,
    "conveyor-sushi": conveyor_sushi,
    "conveyor-sushi-goal": conveyor_sushi_goal,
    "camera-dropbox": camera_dropbox,
}


def names() -> tuple[str, ...]:
    """What `world` can be asked for.

    Example:
        >>> "sokoban" in names()
        True
    """
    return tuple(_WORLDS)


def world(name: str) -> World:
    """A world by name, as its function makes it when nothing else is said; made when asked for.

    Raises:
        ValueError: for a name that is none.

    Example:
        >>> world("conveyor-sushi")
        World('conveyor, sushi', MDP(370 states, 4 actions, 4 features, horizon 100), written nothing, hidden end 50)
    """
    if not isinstance(name, str) or name not in _WORLDS:
        raise ValueError(f"there is no world {shown(name)}; there are {', '.join(_WORLDS)}.")
    return _WORLDS[name]()
