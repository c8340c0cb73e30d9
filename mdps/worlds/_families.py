"""Maps by others, as families: in each a reward was written where something was missing that the field has.

Each case has a training map, a field, the reward that was written (the proxy), the one that was meant, and how far each
weight may lie from 0 before anything is known.  Two conventions, by the last letter of a family's name:

- **A**: the goal absorbs and goes on paying, the hazard can be walked through.  Written floor -0.1, goal 1; meant also
  hazard -10; weights within ±1.
- **B**: goal and hazard are paid once and end all reward, and a step costs.  Weights of floor and step within the
  cost of a step (1 on FrozenLake, where none is written), the others within the largest number written.

Sources: AI Safety Gridworlds (Leike et al. 2017: distributional shift, island navigation), gymnasium 1.x (FrozenLake,
CliffWalking), MiniGrid 3.x (gaps, crossings, DistShift), the inverse reward design paper (Figure 2), Lavaland.  Bars of
moss, where the unseen is harmless and cannot be avoided, detours, decoration and far goals are this library's own.
"""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec

from mdps.worlds._case import Case
from mdps.worlds._drawn_maps import DRAWN
from mdps.worlds._minigrid_maps import MINIGRID
from mdps.worlds._typed_maps import TYPED


class Families(Mapping[str, tuple[Case, ...]]):
    """Families of cases by name, each made when it is asked for."""

    def __init__(self):
        self._made = TYPED | DRAWN | (MINIGRID if find_spec("minigrid") else {})

    def __getitem__(self, name: str) -> tuple[Case, ...]:
        if name not in self._made:
            cure = "; MiniGrid's need the extra [minigrid]" if str(name).startswith("minigrid") else ""
            raise KeyError(f"there is no family {name!r}; there are {', '.join(self._made)}{cure}.")
        return tuple(self._made[name]())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Families)  # to compare values would draw every map

    def __hash__(self) -> int:
        return hash(Families)

    def __reduce__(self):
        return families, ()

    def __contains__(self, name: object) -> bool:
        return name in self._made

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)

    def __repr__(self) -> str:
        return f"Families({', '.join(self._made)})"


def families() -> Families:
    """Maps by others: every family of cases, by name.

    A `Case` holds a training map, a field, the written and the meant reward, a prior's half-widths, and what the hazard
    and the goal are called.  The map of a family is drawn or read when the family is asked for.

    Returns:
        A mapping from names to tuples of cases.  MiniGrid's families are in it where the package is installed.

    Example:
        >>> [case] = families()["island-A"]
        >>> int(case.train.where("water").sum()), int(case.field.where("water").sum())
        (0, 14)
        >>> "cliff-B" in families()
        True
    """
    return Families()
