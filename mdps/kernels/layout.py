"""What compiled sweeps may rely on, known before anything is traced."""

from dataclasses import dataclass

MOST_PAIRS = 40  # of an action and a slot, that are arrays of their own: compiling takes time in proportion to them
MOST_ROWS = 32  # of a predecessor table, that are added up one after the other: each rounds once more


@dataclass(frozen=True)
class Layout:
    """How a successor table is laid out; static, hashable, and found by the constructors of `MDP`.

    Attributes:
        shifts: slot `d` of every state `s` leads to `s + shifts[d]` or is never taken, and likewise
            the predecessor table.  Grids have such numbers, and their kernels gather nothing; None elsewhere.
        aligned: the p-th edge into every state left its origin by slot p, or is padding.
        slots: which successor slots each action takes, from one state or another; None where any may.
        sink: index of a state to which the last slot of *every* state leads, or None.
            Those edges are left out of the predecessor table, which a state with `S`
            predecessors would otherwise make quadratic.
        own: no action leads to more states than this, from any state, and a state's actions together lead to more than
            twice as many; None elsewhere.
        undiscounted: whether nothing is discounted and there is no horizon; the constructors have then made sure that
            ends absorb, without features, and that a way leads to one from every state.
        dense: slot `d` of every state leads to state `d`: the table is a transition tensor, sweeps are matrix
            products, and the predecessor table is empty.
        stay: the slot by which every state leads to itself, where each move has a slot of its own; None elsewhere.
    """

    shifts: tuple[int, ...] | None = None
    aligned: bool = False
    slots: tuple[tuple[int, ...], ...] | None = None
    sink: int | None = None
    dense: bool = False
    stay: int | None = None
    own: int | None = None
    undiscounted: bool = False
