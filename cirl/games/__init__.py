"""Games with known values, one file each; every docstring tells the game as a story."""

from cirl.games import (
    apprenticeship,
    chefworld,
    fork,
    meal_choice,
    off_switch,
    paperclips,
    private_off_switch,
    red_blue,
    tiger,
    wormy_apples,
)

__all__ = [
    "apprenticeship",
    "chefworld",
    "fork",
    "meal_choice",
    "off_switch",
    "paperclips",
    "private_off_switch",
    "red_blue",
    "tiger",
    "wormy_apples",
]
__dir__ = __all__.copy
