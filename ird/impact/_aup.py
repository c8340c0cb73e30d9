"""Attainable utility preservation: the agent's own aim, less how much an action changes what other aims could get."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ird.flows import unit_of
from ird.impact._baselines import Inaction, Stepwise
from ird.impact._deviations import Baseline, check_baseline, check_deviation, check_utilities
from ird.impact._penalised import ended
from ird.impact._reachability import check_discount, check_noop, known, one_start, successors
from ird.impact._rollouts import values_where_certain
from mdps.checks import check_count, check_flags
from mdps.mdp import MDP
from mdps.solvers import action_values

__all__ = ["aup"]
__dir__ = __all__.copy

INSTEAD = Stepwise()  # what an action is compared with if nothing is said: doing nothing instead of it
WHY_ROLLED = "rollouts need moves that are certain: leave out steps, and expectations are compared."


def aup(
    mdp: MDP,
    utilities: Float[Array, " N S"] | np.ndarray,
    *,
    noop: int,
    discount: float = 0.996,
    deviation: str = "absolute",
    baseline: Baseline = INSTEAD,
    ends: Bool[Array, " S"] | np.ndarray | None = None,
    steps: int | None = None,
) -> Float[Array, " S A"] | Float[Array, " T S A"]:
    """The penalty of attainable utility preservation (Turner, Hadfield-Menell & Tadepalli 2020), before its λ.

        mean_u |Q_u(s, a) - Q_u(s, noop)| / |Q_u(s, noop)|

    With `steps`, as their planning agent has it: after the action, and after the baseline, nothing is done until the
    plan is over, and what is left then is compared, Σ_u |V_u - V_u'| / Σ_u |V_u'|.  Only that sees that a switch cannot
    be pressed any more: one step later it still could.  Where doing nothing leaves nothing at all, there is nothing to
    divide by, and the change itself is the penalty.

    Args:
        mdp: the MDP; without `steps` moves may have several outcomes.
        utilities: reward of each state under each other goal, `[N, S]`.
        noop: the action that does nothing.
        discount: γ of the utilities' values, below 1.
        deviation: "absolute", or "decrease" to count what is lost alone.
        baseline: what an action is compared with.  `Stepwise()`, doing nothing instead of it; with `steps` also
            `Start()`, and `Inaction()`, doing nothing from the start to the end of the plan.
        ends: states in which the run is over, `[S]`, worth 0 to every utility.  Without them being switched off costs
            nothing that this measure sees.
        steps: T, how long the plan is.

    Returns:
        d(s, a), without unit, `[S, A]`, or by step `[T, S, A]`, as `penalised` takes it.

    Raises:
        ValueError: for utilities or flags that do not fit, or a baseline that needs `steps`.

    Example:
        >>> import jax
        >>> from mdps.worlds import End, safety
        >>> world = safety.correction()  # switched off after two steps, but for a button
        >>> utilities = jax.random.uniform(jax.random.key(0), (10, world.mdp.num_states))
        >>> off = jax.numpy.arange(world.mdp.num_states) == world.explored.index(End())
        >>> penalty = aup(world.mdp, utilities, noop=4, ends=off, steps=9)
        >>> penalty.shape, (penalty[0, 0] > 100).tolist()  # in the first step, up presses the button
        ((9, 16, 5), [True, False, False, False, False])
    """
    mdp, noop, gamma = known("aup", mdp), check_noop(mdp, noop), check_discount(discount, below_one=True)
    utilities, only = check_utilities(mdp, utilities), check_deviation(deviation)
    check_baseline(baseline)
    steps = None if steps is None else check_count("steps", steps)
    over = jnp.zeros(mdp.num_states, bool) if ends is None else check_flags("ends", ends, mdp.num_states)
    if steps is None and baseline != Stepwise():
        raise ValueError(f"baseline is {baseline}; without steps an action is compared with doing nothing: Stepwise().")
    endless = ended(mdp, np.asarray(over)).replace(horizon=None, discount=gamma)
    utilities, exist = np.where(over, 0, utilities), None if mdp.available is None else np.asarray(mdp.available)
    if steps is not None:
        to = successors(endless, WHY_ROLLED)
        v = values_where_certain(to, utilities, gamma)
        penalty = _at_the_end_of_a_plan(to, v, noop, only, steps, _fixed(endless, baseline, noop, steps))
    else:
        unit = np.asarray(jax.vmap(unit_of)(jnp.asarray(utilities, mdp.features.dtype)), np.float64)[:, None, None]
        near_one = jnp.asarray(utilities / unit[:, 0], mdp.features.dtype)  # a solver's errors do not shrink with them
        q = np.asarray(_action_values(endless, near_one), np.float64)
        change = q[:, :, noop, None] - q
        change, size = (np.maximum(change, 0) if only else np.abs(change)), np.abs(q[:, :, noop, None])
        penalty = np.where(size > 0, change / np.where(size > 0, size, 1), unit * change).mean(axis=0)
    penalty = np.where(np.asarray(over)[:, None], 0, penalty)
    return jnp.asarray(penalty if exist is None else np.where(exist, penalty, 0), mdp.features.dtype)


@jax.jit
def _action_values(mdp: MDP, utilities):
    return jax.vmap(lambda u: action_values(mdp, u))(utilities)


def _fixed(mdp: MDP, baseline: Baseline, noop: int, steps: int) -> int | None:
    """The one state that every step of a plan is compared with, if there is one."""
    if isinstance(baseline, Stepwise):
        return None
    state, follow = one_start(mdp), successors(mdp, WHY_ROLLED)[:, noop]
    for _ in range(steps if isinstance(baseline, Inaction) else 0):
        state = int(follow[state])
    return state


def _at_the_end_of_a_plan(
    to: np.ndarray, v: np.ndarray, noop: int, only: bool, steps: int, fixed: int | None
) -> np.ndarray:
    """What is left at the end of the plan after each action at each step, `[T, S, A]`, against the baseline."""
    follow, penalty = to[:, noop], np.zeros((steps, *to.shape))
    later = v  # what is left when nothing is done from here to the end of the plan, [N, S]
    for t in reversed(range(steps)):
        beside = later[:, follow] if fixed is None else v[:, fixed, None]
        size = np.abs(beside).sum(axis=0)[:, None]
        change = beside[:, :, None] - later[:, to]
        change = np.maximum(change, 0) if only else np.abs(change)
        penalty[t] = change.sum(axis=0) / np.where(size > 0, size, 1)
        later = later[:, follow]
    return penalty
