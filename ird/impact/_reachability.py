"""What can still be reached from where, and where doing nothing leads: on the host, exactly where moves are certain."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mdps.checks import check_index, check_mdp, check_number, require_concrete
from mdps.mdp import MDP

__all__ = [
    "Inactive",
    "check_discount",
    "check_noop",
    "inactive",
    "known",
    "one_start",
    "reachability",
    "reaching_in_numpy",
    "successors",
]
__dir__ = __all__.copy

CERTAIN = 1e-5  # a move of at least this much less than probability one is certain: rows are stored in float32
SMALLEST = 1e-13  # what sweeps may still add to a reachability


def reachability(mdp: MDP, *, discount: float = 1.0) -> Float[Array, " S S"]:
    """How well every state can be reached from every other, `[S, S]`: from the state of the row to that of the column.

        R(x; y) = γᵣⁿ, n the steps of the shortest way from x to y; 0 where there is none        (Krakovna et al. 2019)

    With `discount=1`, whether there is a way.  Where chance decides, the largest expected γᵣⁿ over all policies,
    R(x; y) = γᵣ max_a E R(x'; y), which is the same number where nothing is left to chance.

    **What holds the agent counts as lost.**  On a map whose goal ends the run or keeps the agent, nothing can be
    reached from the goal, and all measures that are made of reachability punish reaching it.  Give dynamics in which
    the goal does neither (`safety.sokoban(ends=False)`), and let `penalised` end the run.

    Args:
        mdp: the MDP; its discount, horizon and rewards play no part.
        discount: γᵣ in (0, 1].

    Returns:
        R, in 0..1, with ones on its diagonal.

    Raises:
        ValueError: for `discount=1` where a move has several outcomes.
        TypeError: under tracing; it is made on the host.

    Example:
        >>> import mdps
        >>> grid = mdps.GridWorld.from_text("S.G", {"S": "dirt", ".": "dirt", "G": "target"}, discount=0.9)
        >>> reachability(grid.mdp, discount=0.5).tolist()  # the goal keeps the agent
        [[1.0, 0.5, 0.25], [0.5, 1.0, 0.5], [0.0, 0.0, 1.0]]
    """
    mdp, gamma = known("reachability", mdp), check_discount(discount)
    return jnp.asarray(reaching_in_numpy(mdp, gamma), mdp.features.dtype)


def known(where: str, mdp: MDP) -> MDP:
    """An MDP whose tables can be looked at."""
    require_concrete(where, mdp=check_mdp(mdp).probability, next_state=mdp.next_state, initial=mdp.initial)
    return mdp


def check_discount(discount: float, *, below_one: bool = False) -> float:
    """A discount in (0, 1]; or, where it must be below one, in [0, 1)."""
    require_concrete("ird.impact", discount=discount)
    if below_one:
        check_number("discount", discount, lambda x: 0 <= x < 1, "give a number ≥ 0 and below 1.")
    else:
        check_number("discount", discount, lambda x: 0 < x <= 1, "give a number above 0, at most 1.")
    return float(discount)


def check_noop(mdp: MDP, noop: int) -> int:
    """The number of the action that does nothing, which must exist in every state."""
    require_concrete("ird.impact", noop=noop)
    check_index("noop", noop, mdp.num_actions, "actions")
    if mdp.available is not None and not np.asarray(mdp.available)[:, int(noop)].all():
        state = int(np.argmin(np.asarray(mdp.available)[:, int(noop)]))
        raise ValueError(f"noop={int(noop)} is not available in state {state}; give an action that exists everywhere.")
    return int(noop)


def successors(mdp: MDP, why: str) -> np.ndarray:
    """Where each action leads, `[S, A]`; -1 for one that does not exist.

    Raises:
        ValueError: naming a state and an action with several outcomes, and why that is none.
    """
    to, chance, exists = _likeliest(mdp)
    odd = exists & (chance < 1 - CERTAIN)
    if odd.any():
        s, a = (int(i) for i in np.argwhere(odd)[0])
        raise ValueError(f"action {a} in state {s} has several outcomes (the likeliest {chance[s, a]:.3g}); {why}")
    return np.where(exists, to, -1)


def _likeliest(mdp: MDP) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The likeliest next state, its probability, and whether the action exists, `[S, A]` each."""
    table, chance = np.asarray(mdp.next_state), np.asarray(mdp.probability, np.float64)
    to = np.take_along_axis(table, chance.argmax(axis=2), axis=1)
    share = np.where(table[:, None, :] == to[:, :, None], chance, 0).sum(axis=2)
    exists = np.ones(to.shape, bool) if mdp.available is None else np.asarray(mdp.available)
    return to, share, exists


def reaching_in_numpy(mdp: MDP, gamma: float) -> np.ndarray:
    """R in float64."""
    to, chance, exists = _likeliest(mdp)
    if (chance[exists] >= 1 - CERTAIN).all():
        return _by_steps(np.where(exists, to, np.arange(len(to))[:, None]), gamma)
    if gamma == 1:
        successors(mdp, "give a discount below 1: then it is the expected discounted arrival that is measured.")
    return _by_sweeps(mdp, gamma)


def _by_steps(to: np.ndarray, gamma: float) -> np.ndarray:
    """γⁿ by breadth-first search from all states at once."""
    reached = np.eye(len(to), dtype=bool)
    worth, factor = reached.astype(float), 1.0
    while True:
        further = reached[to[:, 0]]
        for a in range(1, to.shape[1]):
            further = further | reached[to[:, a]]
        new = further & ~reached
        if not new.any():
            return worth
        factor *= gamma
        worth[new] = factor
        reached |= new


def _by_sweeps(mdp: MDP, gamma: float) -> np.ndarray:
    """Value iteration from below, one column for each target."""
    table, chance = np.asarray(mdp.next_state), np.asarray(mdp.probability, np.float64)
    if mdp.available is not None:
        chance = np.where(np.asarray(mdp.available)[:, :, None], chance, 0)
    worth, own = np.eye(len(table)), np.eye(len(table), dtype=bool)
    while True:
        ahead = gamma * np.max(np.einsum("sad,sdy->say", chance, worth[table]), axis=1)
        ahead[own] = 1
        change, worth = np.max(ahead - worth), ahead
        if change * gamma <= SMALLEST * (1 - gamma):
            return worth


class Inactive(NamedTuple):
    """What happens by itself.

    Attributes:
        follow: where doing nothing leads from each state, `[S]`.
        path: the states that a run of doing nothing passes from the start, each once, `[C]`.
        returns: which of them, by its place on the path, follows the last.
    """

    follow: np.ndarray
    path: np.ndarray
    returns: int


def inactive(mdp: MDP, noop: int) -> Inactive:
    """Where doing nothing leads, from everywhere and from the start, which must be one state."""
    follow = successors(mdp, "a baseline by inaction needs moves that are certain; `aup` compares expectations.")[
        :, noop
    ]
    begins = one_start(mdp)
    path, place = [], {}
    while begins not in place:
        place[begins] = len(path)
        path.append(begins)
        begins = int(follow[begins])
    return Inactive(follow, np.array(path), place[begins])


def one_start(mdp: MDP) -> int:
    """The state in which every run begins."""
    starts = np.flatnonzero(np.asarray(mdp.initial) > 0)
    if len(starts) != 1:
        raise ValueError(
            f"runs begin in {len(starts)} states, and which of them must be known later to compare with it; ask for "
            "one start at a time: mdp.replace(initial=np.eye(S)[s])."
        )
    return int(starts[0])
