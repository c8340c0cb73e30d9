"""Where pairs of actions lead: from certain moves to a successor table, and from the table to short lists.

The table `next_state [S, D]` shares a state's successors among all pairs of actions.  One pair
often leads to one of them alone: solvers that look at each pair by itself use lists of the few
successors it has, `[S, A_H, A_R, E]`, which keeps their work linear in what can happen.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Float, Int

from cirl.game import Game
from mdps.pytrees import frozen_pytree
from mdps.tables import held

__all__ = ["Successors", "short_lists", "table_of_moves"]
__dir__ = __all__.copy


def table_of_moves(ahead: Int[Array, " S AH AR"] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`next_state [S, D]` and `probability [S, A_H, A_R, D]` of moves that are certain, for `Game.from_table`.

    Args:
        ahead: the state that each pair of actions leads to, `[S, A_H, A_R]`.

    Example:
        >>> next_state, probability = table_of_moves(np.array([[[0, 1]], [[1, 1]]]))
        >>> next_state.tolist(), probability[0, 0].tolist()
        ([[0, 1], [1, 1]], [[1.0, 0.0], [0.0, 1.0]])
    """
    ahead = np.asarray(ahead)
    lists = [np.unique(row) for row in ahead]
    D = max(map(len, lists))
    next_state = np.array([np.pad(row, (0, D - len(row)), constant_values=s) for s, row in enumerate(lists)])
    probability = np.zeros((*ahead.shape, D))
    for s, row in enumerate(lists):
        probability[s] = np.eye(D)[np.searchsorted(row, ahead[s])]
    return next_state, probability


@frozen_pytree
@dataclass(frozen=True)
class Successors:
    """For each pair of actions the successors that it has; short lists are padded with probability zero.

    Attributes:
        state: `[S, A_H, A_R, E]`.
        chance: probability of each, `[S, A_H, A_R, E]`.
        column: its place in the game's table, `[S, A_H, A_R, E]`.
    """

    state: Int[Array, " S AH AR E"]
    chance: Float[Array, " S AH AR E"]
    column: Int[Array, " S AH AR E"]

    @staticmethod
    def of(game: Game) -> "Successors":
        """The lists of a game, made on the host."""
        shape = game.mdp.num_states, game.num_human_actions, game.num_robot_actions, -1
        chance, column = short_lists(np.asarray(game.mdp.probability).reshape(shape))
        state = np.asarray(game.mdp.next_state)[np.arange(len(chance))[:, None, None, None], column]
        return Successors(held(state, np.int32), held(chance), held(column, np.int32))


def short_lists(chance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities `[S, A_H, A_R, D]` that are not 0, and their columns, both `[S, A_H, A_R, E]`."""
    E = int((chance > 0).sum(axis=-1).max())
    column = np.argsort(chance <= 0, axis=-1, kind="stable")[..., :E]
    return np.take_along_axis(chance, column, axis=-1), column
