r"""Whether optimising one reward can lower another: two policies that show it, or a proof that there are none.

A pair of rewards is hackable (Skalse et al. 2022) if going from some policy to another raises the written return and
lowers the true one.  How much of both at once, over all stationary policies, is a linear program whose dual is a convex
search in one number, with two plans at every step:

    δ* = min over 0 <= λ <= 1 of  max_π J_d(π) - min_π J_d(π),      d = λ w̃ - (1 - λ) w

δ* is 0 only where some d ranks all policies alike: where both rewards rank them alike, or one of them not at all.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.flows import check_stationary, unit_of
from mdps.checks import check_mdp, check_weights, require_concrete
from mdps.mdp import MDP
from mdps.policies import occupancy
from mdps.pytrees import frozen_pytree, in_one_line
from mdps.solvers import solve

__all__ = ["Hack", "hackable"]
__dir__ = __all__.copy

_STEPS = 60  # most prices λ


@frozen_pytree
@dataclass(frozen=True, eq=False)
class Hack:
    """Two policies between which the written return rises and the true one falls, by `margin` each at least.

    Attributes:
        margin: the least of `proxy_gain` and `true_loss`: what these two policies show, in units of return; 0 for none.
        bound: no two policies show more.
        worse: the policy with the higher written and the lower true return, `[S, A]`.
        better: the policy that it is compared with, `[S, A]`.
        proxy_gain: written return of `worse` less that of `better`.
        true_loss: true return of `better` less that of `worse`.
    """

    margin: Float[Array, ""]
    bound: Float[Array, ""]
    worse: Float[Array, " S A"]
    better: Float[Array, " S A"]
    proxy_gain: Float[Array, ""]
    true_loss: Float[Array, ""]

    __repr__ = in_one_line


def hackable(mdp: MDP, written: Any, true: Float[Array, " K"]) -> Hack:
    """The two policies of a map on which a written and a true reward disagree most, or a bound: they hardly do.

    The margin depends on the units of both rewards; `geometry(mdp).unit(weights)` brings them to one.

    Args:
        mdp: an endless MDP with a discount below 1.
        written: weights `[K]`, or a `ProxyReward`.
        true: weights `[K]`.

    Returns:
        A `Hack`.  `margin` is attained by its policies, `bound` is certified.

    Raises:
        ValueError: for weights that do not fit the MDP, an MDP with a horizon or without a discount, or a traced one.

    Example:
        >>> import jax.numpy as jnp, mdps
        >>> grid = mdps.GridWorld.from_text("aSb", {"a": "left", "S": "mid", "b": "right"}, discount=0.5, goal=None)
        >>> found = hackable(grid.mdp, grid.weights(left=1.0), grid.weights(left=1.0, right=2.0))
        >>> round(float(found.margin), 3), round(float(found.bound), 3)
        (1.0, 1.0)
    """
    check_mdp(mdp)
    written = check_weights(mdp, written.weights if hasattr(written, "weights") else written, "written")
    true = check_weights(mdp, true, "true")
    require_concrete("alignment.hackable", probability=mdp.probability, written=written, true=true)
    check_stationary(mdp)
    look = partial(_look, mdp, mdp.reward(written), mdp.reward(true))
    low, high, bound = _both_sides(look)
    # Between the two sides of the best price both inequalities can be met alike: mix until gain and loss are equal.
    rise, fall = float(low.slope), float(high.slope)
    share = 1.0 if rise >= 0 else 0.0 if fall <= 0 else fall / (fall - rise)
    up, down = (share * a + (1 - share) * b for a, b in ((low.up, high.up), (low.down, high.down)))
    worse, better = (_policy_of_visits(x, mdp) for x in (up, down))
    gain, loss = (float(jnp.sum((a - b) * _paid(r))) for a, b, r in (
        (up, down, mdp.reward(written)), (down, up, mdp.reward(true))))  # fmt: skip
    margin = max(min(gain, loss), 0.0)
    numbers = (margin, max(bound, margin), gain, loss)
    margin, bound, gain, loss = (jnp.asarray(x, up.dtype) for x in numbers)
    return Hack(margin, bound, worse, better, gain, loss)


@dataclass(frozen=True)
class _Look:
    """At one price: the range of returns of the mixture, visits that attain its ends, and its slope in the price."""

    price: float
    value: float  # an upper bound, errors of the plans included
    slope: float
    up: Array
    down: Array


def _look(mdp: MDP, written, true, price: float) -> _Look:
    value, error, up, down, slope = _returns_between(mdp, written, true, jnp.asarray(price, written.dtype))
    return _Look(price, float(value + error), float(slope), up, down)


@jax.jit
def _returns_between(mdp: MDP, written, true, price):
    mixed = price * written - (1 - price) * true
    unit = unit_of(mixed)
    found = jax.lax.map(lambda r: solve(mdp, r), jnp.stack([mixed, -mixed]) / unit)
    up, down = jax.lax.map(lambda policy: occupancy(mdp, policy), found.policy)
    slope = jnp.sum((up - down) * (_paid(written) + _paid(true)))
    return unit * jnp.sum(found.value @ mdp.initial), unit * jnp.sum(found.error_bound), up, down, slope


def _both_sides(look) -> tuple[_Look, _Look, float]:
    """The prices on both sides of the best one, and the least value seen: the dual is convex and piecewise linear."""
    low, high = look(0.0), look(1.0)
    least = min(low.value, high.value)
    for _ in range(_STEPS):
        if low.slope >= 0 or high.slope <= 0 or high.price - low.price < 1e-7:
            break
        # Where the lines of both sides cross; there they are below the dual, unless it is them.
        price = (high.value - low.value + low.slope * low.price - high.slope * high.price) / (low.slope - high.slope)
        price = min(max(price, low.price), high.price)
        line = low.value + low.slope * (price - low.price)
        here = look(price)
        least = min(least, here.value)
        if here.value <= line + 1e-6 * abs(here.value) or price in (low.price, high.price):
            break
        low, high = (here, high) if here.slope < 0 else (low, here)
    return low, high, least


def _paid(reward) -> Array:
    return reward if reward.ndim == 2 else reward[:, None]


def _policy_of_visits(visits: Array, mdp: MDP) -> Array:
    """The stationary policy of some visits; where there are none, any."""
    total = jnp.sum(visits, axis=1, keepdims=True)
    exist = np.ones(visits.shape) if mdp.available is None else np.asarray(mdp.available, float)
    rest = exist / exist.sum(axis=1, keepdims=True)
    return jnp.where(total > 0, visits / jnp.where(total > 0, total, 1), rest)
