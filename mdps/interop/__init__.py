"""Other people's worlds: gymnasium's transition tables in and out, MiniGrid's grids in."""

from mdps.interop._gymnasium import GymnasiumTable, from_gymnasium, make_env, to_gymnasium
from mdps.interop._minigrid import from_minigrid

__all__ = ["GymnasiumTable", "from_gymnasium", "from_minigrid", "make_env", "to_gymnasium"]
__dir__ = __all__.copy
