"""What plans that are optimal for a written reward are worth under another one: the whole range, ties included."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ird.flows import unit_of
from mdps import bellman
from mdps.checks import check_mdp, check_sums, check_weights
from mdps.mdp import MDP
from mdps.policies import policy_return
from mdps.pytrees import frozen_pytree, in_one_line
from mdps.solvers import solve

__all__ = ["Performance", "performance", "range_among"]
__dir__ = __all__.copy


@frozen_pytree
@dataclass(frozen=True, eq=False)
class Performance:
    """True return of the plans that are optimal for a written reward, in units of return.

    Attributes:
        lowest: of the worst of them.
        shared: of the one that `mdps.solve` returns, which shares ties.
        highest: of the best of them.
        best: of the best plan for the true reward.
        error_bound: certified bound on the error of `lowest`, `highest` and `best`.
    """

    lowest: Float[Array, ""]
    shared: Float[Array, ""]
    highest: Float[Array, ""]
    best: Float[Array, ""]
    error_bound: Float[Array, ""]

    __repr__ = in_one_line


def performance(mdp: MDP, written: Any, true: Float[Array, " K"]) -> Performance:
    """The lowest, the highest and the tie-sharing true return over all policies that are optimal for a written reward.

    A written reward often leaves a choice that it does not care about and the true one does: then a single number
    depends on how ties happen to be broken.  Optimal actions are those between which `mdps.solve` shares a state:
    those whose values are as good as can be told apart.  With a horizon by backward induction over the sets of optimal
    actions; endless, by solving the MDP that has only these.

    Args:
        mdp: the MDP.
        written: weights `[K]`, or a `ProxyReward`.
        true: weights `[K]`.

    Returns:
        A `Performance`.

    Raises:
        ValueError: for weights that do not fit the MDP, or an MDP without a discount and a horizon.

    Example:
        >>> import mdps
        >>> fork = mdps.GridWorld.from_text("aSb", {"a": "left", "S": "start", "b": "right"}, horizon=3, goal=None)
        >>> either = performance(fork.mdp, fork.weights(left=1.0, right=1.0), fork.weights(right=1.0))
        >>> [round(float(x)) for x in (either.lowest, either.shared, either.highest, either.best)]
        [0, 1, 2, 2]
    """
    check_sums(check_mdp(mdp))
    written = written.weights if hasattr(written, "weights") else written
    return _performance(mdp, check_weights(mdp, written, "written"), check_weights(mdp, true, "true"))


@jax.jit
def _performance(mdp: MDP, written, true) -> Performance:
    wanted, reward = mdp.reward(written), mdp.reward(true)
    policy = solve(mdp, wanted / unit_of(wanted)).policy
    best, error = _return_of_best(mdp, reward)
    shared = policy_return(mdp, policy, reward)
    lowest, highest, rounding = range_among(mdp, policy > 0, reward)
    return Performance(lowest, shared, highest, best, jnp.maximum(rounding, error))


def range_among(mdp: MDP, allowed, reward) -> tuple[Array, Array, Array]:
    """The lowest and the highest return of the policies that take only `allowed` actions, `[S, A]` or `[T, S, A]`.

    And a bound on the error of both, but for what rounds in a horizon's sums.
    """
    if mdp.horizon is not None:
        lowest, highest = (sign * _best_among(mdp, allowed, sign * reward) for sign in (-1, 1))
        return lowest, highest, jnp.zeros_like(lowest)
    # Where only these actions exist every policy takes them.
    only = dataclasses.replace(mdp, available=allowed)
    (low, highest), errors = jax.lax.map(lambda r: _return_of_best(only, r), jnp.stack([-reward, reward]))
    return -low, highest, jnp.max(errors)


def _return_of_best(mdp: MDP, reward) -> tuple[Array, Array]:
    unit = jnp.minimum(unit_of(reward), 1)  # a solver's errors do not shrink with a small reward
    found = solve(mdp, reward / unit)
    return unit * (mdp.initial @ found.value), unit * found.error_bound


def _best_among(mdp: MDP, allowed, reward) -> Array:
    """The best return of the policies that take only `allowed` actions, `[T, S, A]`."""

    def back(ahead, allowed):
        q = mdp.discount * bellman.expected(mdp, mdp.probability, ahead) + (
            reward if reward.ndim == 2 else reward[:, None]
        )
        return jnp.max(q, axis=1, where=allowed, initial=-jnp.inf), None

    return mdp.initial @ jax.lax.scan(back, jnp.zeros(mdp.num_states, reward.dtype), allowed, reverse=True)[0]
