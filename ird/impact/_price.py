"""The price at which a penalty changes the plan: exact, because value is piecewise linear in the penalty's weight."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.alignment import performance
from ird.flows import unit_of
from ird.impact._penalised import IMPACT
from ird.impact._reachability import known
from mdps.checks import check_array, is_concrete, shown
from mdps.mdp import MDP
from mdps.policies import feature_expectations
from mdps.pytrees import frozen_pytree
from mdps.solvers import solve

__all__ = ["Price", "price"]
__dir__ = __all__.copy

MOST_CUTS = 100


@frozen_pytree
@dataclass(frozen=True, eq=False, repr=False)
class Price:
    """When the plan that heeds the written reward alone gives way.

    Attributes:
        beta: weight of the penalty up to which the literal plan is best, in reward per unit of the penalty; infinite
            where no plan has less of it.
        reward: written return of the literal plan.
        penalty: of the literal plan, the least of those that are optimal for the written reward.
        next_reward: written return of a plan that is better beyond `beta`.
        next_penalty: its penalty.
        gap: certified: with weight `beta` no plan beats the literal one by more, nor with a smaller weight.
    """

    beta: Float[Array, ""]
    reward: Float[Array, ""]
    penalty: Float[Array, ""]
    next_reward: Float[Array, ""]
    next_penalty: Float[Array, ""]
    gap: Float[Array, ""]

    def __str__(self) -> str:
        if not is_concrete(self.beta) or np.ndim(self.beta):
            return f"Price(beta={shown(self.beta)})"
        beta, *rest = (float(x) for x in (self.beta, self.reward, self.penalty, self.next_reward, self.next_penalty))
        if np.isinf(beta):
            return f"the literal plan (reward {rest[0]:.4g}, penalty {rest[1]:.4g}) is best at every price"
        return (
            f"the literal plan (reward {rest[0]:.4g}, penalty {rest[1]:.4g}) is best up to β = {beta:.4g}; beyond it, "
            f"one with reward {rest[2]:.4g} and penalty {rest[3]:.4g}"
        )

    __repr__ = __str__


def price(mdp: MDP, written: Float[Array, " K"]) -> Price:
    """The weight β of the penalty at which the literal plan stops being best.

    The best of return less β times penalty is a maximum of lines, one for each plan.  The literal plan's line (of those
    that are optimal for the written reward the one of least penalty) touches it from β = 0 on; where it leaves is found
    by cutting: at the β where the best plan so far crosses the literal line, solve; go on with what is better there.
    Each cut is nearer, each is a vertex, and the last one is solved with nothing better: two numbers of one plan, not a
    grid.  The certificate is that solve's own.

    Args:
        mdp: of `penalised`, whose last feature is "impact".
        written: weights of its other features, `[K]`.

    Returns:
        A `Price`.

    Raises:
        ValueError: for an MDP without the feature, or weights that do not fit.

    Example:
        >>> from ird import impact
        >>> from mdps.worlds import safety
        >>> world = safety.sokoban(stay=True, ends=False, horizon=20)
        >>> goal = world.where(lambda state: state[0] == (4, 4))
        >>> lost = impact.relative_reachability(world.mdp, noop=4, baseline=impact.Start())
        >>> print(price(impact.penalised(world.mdp, lost, ends=goal, running=0.0), world.written))
        the literal plan (reward 45, penalty 0.8333) is best up to β = 3.243; beyond it,
        one with reward 43 and penalty 0.2167
    """
    mdp = known("price", mdp)
    if not mdp.feature_names or mdp.feature_names[-1] != IMPACT:
        raise ValueError(f"mdp has the features {', '.join(mdp.feature_names)}; make it with impact.penalised.")
    written = check_array("written", written, like=mdp.features.dtype)
    if written.shape != (mdp.num_features - 1,):
        raise ValueError(f"written has shape {written.shape}; give a weight for each feature before impact.")
    literal, charge = (jnp.zeros(mdp.num_features, written.dtype) for _ in range(2))
    literal, charge = literal.at[:-1].set(written), charge.at[-1].set(-1.0)
    of_literal = performance(mdp, literal, charge)
    value, off, counts = _solved(mdp, literal)
    reward, penalty = max(float(value), _return_and_penalty(counts, written)[0]), 0.0 - float(of_literal.highest)
    unsure, rounding = of_literal.error_bound, 64 * float(jnp.finfo(written.dtype).eps)
    value, error, counts = _solved(mdp, charge)
    least = _return_and_penalty(counts, written)
    slack = float(unsure) + float(error) + rounding * max(abs(penalty), abs(float(value)))
    answer = (reward, penalty, *least)
    if penalty + float(value) <= slack:
        return _price(np.inf, reward, penalty, reward, penalty, slack)
    beta, gap = np.inf, np.inf
    for _ in range(MOST_CUTS):
        cut = (reward - answer[2]) / (penalty - answer[3])
        if not 0 < cut < beta:  # a plan of the same reward is a tie that rounding broke
            break
        beta = cut
        value, error, counts = _solved(mdp, literal + beta * charge)
        size = max(abs(reward), abs(beta * penalty), 1e-30)
        here, slack = float(value) - (reward - beta * penalty), float(error + off + beta * unsure) + rounding * size
        gap = max(here, 0.0) + float(error)
        better = _return_and_penalty(counts, written)
        if here <= slack or better[1] >= penalty:
            break
        answer = (reward, penalty, *better)
    return _price(beta, *answer, gap)


def _price(*numbers: float) -> Price:
    return Price(*(jnp.asarray(x, float) for x in numbers))


def _return_and_penalty(counts, written) -> tuple[float, float]:
    """Written return and penalty of a plan."""
    counts = np.asarray(counts, np.float64)
    return float(counts[:-1] @ np.asarray(written, np.float64)), float(counts[-1])


@jax.jit
def _solved(mdp: MDP, weights):
    """The best return for some weights, its error, and the features of the plan that attains it."""
    reward = mdp.reward(weights)
    unit = unit_of(reward)  # a solver's errors do not shrink with the reward
    found = solve(mdp, reward / unit)
    return unit * (mdp.initial @ found.value), unit * found.error_bound, feature_expectations(mdp, found.policy)
