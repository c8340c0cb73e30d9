r"""Rewards that correlate under a reference policy: what that says of other policies, exactly.

With X and Y the written and the meant reward, made canonical (`geometry`) under the normalised occupancy ν of the
reference and of length one, and g = μ/ν - 1 for the occupancy μ of another policy,

    r = E_ν X Y,     x = E_μ X,     χ² = E_ν g²

    exact      E_μ Y >= r x - sqrt(1 - r²) sqrt(χ² - x²)                 attained by some Y
    Laidlaw    E_μ Y >= (x - sqrt((1 - r²) χ²)) / r                      (Laidlaw, Singhal & Dragan 2025)

since Y = r X + sqrt(1 - r²) W with W ⊥ X of length one, and E_μ W = E_ν g W >= -|g - x X|.
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.flows import check_stationary, features_by_action, least_potential, reference_flow, visitable
from mdps.checks import check_mdp, check_policy, check_weights, require_concrete
from mdps.mdp import MDP
from mdps.policies import occupancy
from mdps.pytrees import frozen_pytree, in_one_line

__all__ = ["Correlation", "correlation"]
__dir__ = __all__.copy


@frozen_pytree
@dataclass(frozen=True, eq=False)
class Correlation:
    """How a written and a meant reward agree under a reference policy, and what that guarantees of others.

    Attributes:
        r: correlation of the canonical rewards: of what they prefer, however they are shaped.
        rest: sqrt(1 - r²): how much of the meant reward is not the written one; near r = 1 it cannot be had from r.
        sigma: length of the canonical meant reward under the reference: its standard deviation, in units of reward.
        raw_r: correlation of the rewards as they are written down, under the reference.
        raw_sigma: standard deviation of the meant reward as it is written down.
        mdp: the map.
        visits: normalised occupancy of the reference, `[S, A]`.
        written: the canonical written reward of length one, `[S, A]`.
    """

    r: Float[Array, ""]
    rest: Float[Array, ""]
    sigma: Float[Array, ""]
    raw_r: Float[Array, ""]
    raw_sigma: Float[Array, ""]
    mdp: MDP
    visits: Float[Array, " S A"]
    written: Float[Array, " S A"]

    __repr__ = in_one_line

    def guarantee(self, policy: Float[Array, " S A"]) -> Float[Array, ""]:
        """The least that a policy gains over the reference under any reward of this correlation.

        Per visit, in standard deviations of the meant reward: times `sigma * mdp.total_visits` in units of return.
        """
        x, _, off = self._moved(policy)
        return self.r * x - self.rest * off

    def laidlaw(self, policy: Float[Array, " S A"]) -> Float[Array, ""]:
        """The bound of Laidlaw et al. (2025), in the same units: never above `guarantee`; -inf for r <= 0."""
        x, chi, _ = self._moved(policy)
        safe = jnp.where(self.r > 0, self.r, 1)
        return jnp.where(self.r > 0, (x - self.rest * chi) / safe, -jnp.inf)

    def chi_squared(self, policy: Float[Array, " S A"]) -> Float[Array, ""]:
        """χ² of a policy's occupancy from the reference's: 0 for the reference itself."""
        return self._moved(policy)[1] ** 2

    def worst_reward(self, policy: Float[Array, " S A"]) -> Float[Array, " S A"]:
        """A reward with this correlation, of length one, under which the policy gains no more than `guarantee`."""
        gain = self._gain(policy)
        x = jnp.sum(self.visits * self.written * gain)
        hidden = gain - x * self.written
        length = jnp.sqrt(jnp.sum(self.visits * hidden**2))
        hidden = hidden / jnp.where(length > 0, length, 1)
        return self.r * self.written - self.rest * hidden

    def _gain(self, policy) -> Array:
        """μ/ν - 1, and 0 where nothing can occur."""
        policy = check_policy(self.mdp, policy, stationary=True)
        there = self.visits > 0
        moved = occupancy(self.mdp, policy) / self.mdp.total_visits
        return jnp.where(there, moved / jnp.where(there, self.visits, 1) - 1, 0)

    def _moved(self, policy) -> tuple[Array, Array, Array]:
        """x, sqrt(χ²) and sqrt(χ² - x²) of a policy."""
        gain = self._gain(policy)
        x = jnp.sum(self.visits * self.written * gain)
        length = lambda y: jnp.sqrt(jnp.sum(self.visits * y**2))  # noqa: E731
        return x, length(gain), length(gain - x * self.written)


def correlation(mdp: MDP, reference: Any, proxy: Any, true: Float[Array, " K"]) -> Correlation:
    """How far a written and a meant reward agree under a reference policy, up to shaping.

    Args:
        mdp: an endless MDP with a discount below 1.
        reference: the policy under which both were seen, `[S, A]`, which must take every action; None: the uniform one.
        proxy: weights `[K]`, or a `ProxyReward`.
        true: weights `[K]`.

    Returns:
        A `Correlation`: `r` and `raw_r`, and for other policies `guarantee`, `laidlaw`, `worst_reward`.

    Raises:
        ValueError: for an MDP with a horizon, a reference that leaves out an action (state and action are named), or
            a reward that ranks all policies alike and so correlates with nothing.

    Example:
        >>> import jax.numpy as jnp, numpy as np, mdps
        >>> bandit = mdps.MDP.from_dense(np.ones((1, 3, 1)), np.eye(3)[None], [1.0], discount=0.5)
        >>> seldom = np.array([[0.5, 0.3, 0.2]])
        >>> pair = correlation(bandit, seldom, jnp.array([0.0, 1.0, 2.0]), jnp.array([0.0, 1.0, 0.5]))
        >>> round(float(pair.r), 3)
        0.646
        >>> best = jnp.array([[0.0, 0.0, 1.0]])  # what the written reward asks for
        >>> round(float(pair.guarantee(best) * pair.sigma), 2)  # per visit, above the reference
        0.1
    """
    check_mdp(mdp)
    written = check_weights(mdp, proxy.weights if hasattr(proxy, "weights") else proxy, "proxy")
    true = check_weights(mdp, true, "true")
    require_concrete("alignment.correlation", probability=mdp.probability, proxy=written, true=true)
    check_stationary(mdp)
    counts, moved = visitable(mdp)
    _, flow = reference_flow(mdp, reference, moved, counts)
    both = features_by_action(mdp) @ np.stack([written, true], axis=1).astype(np.float64)
    inside = moved[:, np.flatnonzero(counts.any(axis=1))]
    canonical = both + inside @ least_potential(inside, flow, both)
    lengths, size = np.sqrt(flow @ canonical**2), np.sqrt(flow @ both**2)
    for name, length, whole in zip(("proxy", "true"), lengths, size, strict=True):
        if length <= 1e-9 * whole or whole == 0:
            raise ValueError(f"{name} ranks all policies of this map alike: it correlates with nothing here.")
    raw = both - flow @ both
    spread = np.sqrt(flow @ raw**2)
    dtype, shape = mdp.features.dtype, counts.shape
    r, raw_r = (float(flow @ x.prod(axis=1)) / n.prod() for x, n in ((canonical, lengths), (raw, spread)))
    one, two = (canonical / lengths).T
    rest = np.sqrt(flow @ (two - r * one) ** 2)
    numbers = (min(max(r, -1), 1), rest, lengths[1], min(max(raw_r, -1), 1), spread[1])
    tables = flow.reshape(shape), np.where(counts, one.reshape(shape), 0)
    r, rest, sigma, raw_r, raw_sigma, visits, written = (jnp.asarray(x, dtype) for x in (*numbers, *tables))
    return Correlation(r, rest, sigma, raw_r, raw_sigma, mdp, visits, written)
