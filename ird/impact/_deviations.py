"""How far an action takes the world from a baseline: four measures, each a number for every state and action."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.impact._baselines import Inaction, Start, Stepwise
from ird.impact._reachability import (
    check_discount,
    check_noop,
    inactive,
    known,
    one_start,
    reaching_in_numpy,
    successors,
)
from ird.impact._rollouts import rolled, rolled_side_by_side, values_where_certain
from mdps.checks import check_array, require_concrete, shown
from mdps.graph import reachable
from mdps.mdp import MDP

__all__ = [
    "Baseline",
    "attainable_utility",
    "check_deviation",
    "check_utilities",
    "future_tasks",
    "relative_reachability",
    "unreachability",
]
__dir__ = __all__.copy

Baseline = Start | Inaction | Stepwise

WHY_CERTAIN = "the states that are compared must be known: use moves that are certain, or `aup`."


def unreachability(
    mdp: MDP, *, noop: int, baseline: Baseline, discount: float = 1.0
) -> Float[Array, " S A"] | Float[Array, " C S A"]:
    """How hard the baseline is to get back to: UR(s; b) = 1 - R(s; b), after each state and action.

    A measure of reversibility (Krakovna et al. 2019).  Where every way to the goal loses something it cannot tell a
    little from a lot, and from some price on the best plan is to do nothing.

    Args:
        mdp: how the world goes on if nothing ends the run (see `reachability`); moves that are certain.
        noop: the action that does nothing.
        baseline: `Start()`, `Inaction()` or `Stepwise()`; with rollouts both states are followed side by side.
        discount: γᵣ in (0, 1].

    Returns:
        d(s'; b'), in 0..1, `[S, A]`; with `Inaction` `[C, S, A]` for each reading of a clock that runs as long as
        inaction leads anywhere new, as `penalised` takes it.

    Raises:
        ValueError: where moves have several outcomes, or runs several starts with `Start` or `Inaction`.

    Example:
        >>> import mdps
        >>> from mdps.worlds import safety
        >>> world = safety.sokoban(stay=True, ends=False)
        >>> lost = unreachability(world.mdp, noop=4, baseline=Start())
        >>> lost[0].tolist()  # up and right are walls, down pushes the box, left leads round it
        [0.0, 1.0, 0.0, 0.0, 0.0]
    """
    mdp, noop = known("unreachability", mdp), check_noop(mdp, noop)
    worth, to = reaching_in_numpy(mdp, check_discount(discount)), successors(mdp, WHY_CERTAIN)
    check_baseline(baseline)
    if isinstance(baseline, Start):
        return _as_penalty(1 - worth[to, one_start(mdp)], to, mdp)
    follow = to[:, noop]
    lost, against = 1 - worth, follow[:, None]
    if isinstance(baseline, Inaction):
        going = inactive(mdp, noop)
        against = going.follow[going.path][:, None, None]
    here, there = np.broadcast_arrays(to, against)
    return _as_penalty(rolled_side_by_side(lost, follow, here, there, baseline.discount), to, mdp)


def relative_reachability(
    mdp: MDP,
    *,
    noop: int,
    baseline: Baseline,
    discount: float = 1.0,
    tasks: Float[Array, " S"] | np.ndarray | None = None,
) -> Float[Array, " S A"] | Float[Array, " C S A"]:
    """What can be reached less well than from the baseline: RR(s; b) = Σ_y F(y) max(R(b; y) - R(s; y), 0).

    Relative reachability (Krakovna, Orseau, Kumar, Martic & Legg 2019).  Stepwise with rollouts is what they recommend.

    Args:
        mdp: how the world goes on if nothing ends the run (see `reachability`); moves that are certain.
        noop: the action that does nothing.
        baseline: `Start()`, `Inaction()` or `Stepwise()`.
        discount: γᵣ in (0, 1].
        tasks: F, weights over the states that may be wanted, `[S]`; None: equal over all that can be reached from the
            start.

    Returns:
        d(s'; b'), in 0..1, `[S, A]`; with `Inaction` `[C, S, A]` (see `unreachability`).

    Raises:
        ValueError: where moves have several outcomes, or for tasks that are no weights.

    Example:
        >>> import mdps
        >>> from mdps.worlds import safety
        >>> world = safety.sokoban(stay=True, ends=False)
        >>> penalty = relative_reachability(world.mdp, noop=4, baseline=Stepwise(discount=0.99))
        >>> plan = mdps.solve(world.mdp, world.mdp.reward(world.written) - 3.0 * penalty)
    """
    mdp, noop = known("relative_reachability", mdp), check_noop(mdp, noop)
    share, worth = _tasks(mdp, tasks), reaching_in_numpy(mdp, check_discount(discount))
    return _against(mdp, noop, baseline, worth, lambda b, s: np.maximum(b - s, 0) @ share)


def future_tasks(
    mdp: MDP,
    *,
    noop: int,
    baseline: Baseline,
    discount: float = 1.0,
    tasks: Float[Array, " S"] | np.ndarray | None = None,
) -> Float[Array, " S A"] | Float[Array, " C S A"]:
    """What could still be done later, of what could be done anyway: Σ_y F(y) min(R(s; y), R(b; y)); a *bonus*.

    The auxiliary reward of Krakovna et al. (2020) where moves are certain: a future task y counts as far as both the
    agent and the baseline would come to do it, γ^max(n, n').  It equals Σ_y F(y) R(b; y) - RR(s; b): relative
    reachability, up to what the agent cannot change with the baselines that are not stepwise.

    Args:
        mdp: how the world goes on if nothing ends the run (see `reachability`); moves that are certain.
        noop: the action that does nothing.
        baseline: `Start()`, `Inaction()` or `Stepwise()`.
        discount: γ in (0, 1].
        tasks: F, weights over the states that may be asked for, `[S]`; None: equal over all that can be reached.

    Returns:
        The bonus of each state and action, to be *added* (`penalised(mdp, -bonus)`), `[S, A]` or `[C, S, A]`.

    Raises:
        ValueError: as `relative_reachability`.

    Example:
        >>> from mdps.worlds import safety
        >>> world = safety.sokoban(stay=True, ends=False)
        >>> [round(x, 3) for x in future_tasks(world.mdp, noop=4, baseline=Start())[0].tolist()]
        [1.0, 0.167, 1.0, 1.0, 1.0]
    """
    mdp, noop = known("future_tasks", mdp), check_noop(mdp, noop)
    share, worth = _tasks(mdp, tasks), reaching_in_numpy(mdp, check_discount(discount))
    return _against(mdp, noop, baseline, worth, lambda b, s: np.minimum(b, s) @ share)


def attainable_utility(
    mdp: MDP,
    utilities: Float[Array, " N S"] | np.ndarray,
    *,
    noop: int,
    baseline: Baseline,
    discount: float = 0.99,
    deviation: str = "absolute",
) -> Float[Array, " S A"] | Float[Array, " C S A"]:
    """How much of other goals' value changes: AU(s; b) = (1 - γ) mean_u |V_u(b) - V_u(s)|, or of the decrease alone.

    The value-difference form of Krakovna et al. (2019); `aup` is Turner's, on Q.  With utilities that are 1 in one
    state each, where doing nothing keeps every state, and `deviation="decrease"`, it *is* relative reachability.  With
    drawn utilities the outcome depends on the draw; try several.

    Args:
        mdp: how the world goes on if nothing ends the run; moves that are certain.
        utilities: reward of each state under each other goal, `[N, S]`.
        noop: the action that does nothing.
        baseline: `Start()`, `Inaction()` or `Stepwise()`.
        discount: γ of the utilities' values, below 1; the MDP's own discount and horizon play no part.
        deviation: "absolute", or "decrease" to count what is lost alone.

    Returns:
        d(s'; b'), in units of utility, `[S, A]`; with `Inaction` `[C, S, A]` (see `unreachability`).

    Raises:
        ValueError: where moves have several outcomes, or for utilities that do not fit.

    Example:
        >>> import jax
        >>> from mdps.worlds import safety
        >>> world = safety.conveyor_vase(stay=True)
        >>> utilities = jax.random.uniform(jax.random.key(0), (10, world.mdp.num_states))
        >>> attainable_utility(world.mdp, utilities, noop=4, baseline=Stepwise(discount=0.99)).shape
        (370, 5)
    """
    mdp, noop = known("attainable_utility", mdp), check_noop(mdp, noop)
    gamma, utilities = check_discount(discount, below_one=True), check_utilities(mdp, utilities)
    only = check_deviation(deviation)
    worth = (1 - gamma) * values_where_certain(successors(mdp, WHY_CERTAIN), utilities, gamma).T
    measure = (lambda b, s: np.maximum(b - s, 0).mean(-1)) if only else (lambda b, s: np.abs(b - s).mean(-1))
    return _against(mdp, noop, baseline, worth, measure)


def check_baseline(baseline) -> None:
    """Refuse what is no baseline."""
    if not isinstance(baseline, Baseline):
        raise ValueError(f"baseline is {shown(baseline)}; give impact.Start(), impact.Inaction() or impact.Stepwise().")


def check_deviation(deviation: str) -> bool:
    """Whether only what is lost counts."""
    if not isinstance(deviation, str) or deviation not in ("absolute", "decrease"):
        raise ValueError(f'deviation is {shown(deviation)}; give "absolute" or "decrease".')
    return deviation == "decrease"


def check_utilities(mdp: MDP, utilities) -> np.ndarray:
    """Rewards `[N, S]`, on the host."""
    require_concrete("ird.impact", utilities=utilities)
    utilities = np.asarray(check_array("utilities", utilities), np.float64)
    if utilities.ndim != 2 or utilities.shape[0] == 0 or utilities.shape[1] != mdp.num_states:
        raise ValueError(
            f"utilities has shape {utilities.shape}; give one row per goal, [N, S] with S={mdp.num_states}."
        )
    return utilities


def _tasks(mdp: MDP, tasks) -> np.ndarray:
    """F as weights that sum to one, `[S]`."""
    share = np.asarray(reachable(mdp), float) if tasks is None else np.asarray(check_array("tasks", tasks), np.float64)
    if share.shape != (mdp.num_states,) or (share < 0).any() or not share.sum() > 0:
        raise ValueError(
            f"tasks has shape {share.shape} and values from {np.min(share, initial=0):.3g}; give weights of at least "
            f"0, not all 0, one for each of the S={mdp.num_states} states."
        )
    return share / share.sum()


def _against(mdp: MDP, noop: int, baseline: Baseline, worth: np.ndarray, measure: Callable) -> Array:
    """The measure of what the baseline's state is worth, `[..., Y]`, and of what the next state is."""
    check_baseline(baseline)
    to = successors(mdp, WHY_CERTAIN)
    if isinstance(baseline, Start):
        start = worth[one_start(mdp)]
        by_state = measure(start, worth)
        return _as_penalty(by_state[to], to, mdp)
    worth = rolled(worth, to[:, noop], baseline.discount)
    if isinstance(baseline, Inaction):
        going = inactive(mdp, noop)
        by_state = np.stack([measure(worth[b], worth) for b in going.follow[going.path]])
        return _as_penalty(by_state[:, to], to, mdp)
    beside = worth[to[:, noop]]
    return _as_penalty(np.stack([measure(beside, worth[to[:, a]]) for a in range(to.shape[1])], axis=1), to, mdp)


def _as_penalty(penalty: np.ndarray, to: np.ndarray, mdp: MDP) -> Array:
    """In the MDP's dtype, and 0 for actions that do not exist."""
    return jnp.asarray(np.where(to < 0, 0, penalty), mdp.features.dtype)
