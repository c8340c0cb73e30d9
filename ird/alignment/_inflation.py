"""Looking good against being good: how far what is seen of a policy's runs is above, or below, what they are worth."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.flows import unit_of
from mdps.checks import (
    check_mdp,
    check_part,
    check_policy,
    check_sums,
    check_weights,
    is_concrete,
    require_concrete,
    shown,
)
from mdps.mdp import MDP
from mdps.policies import policy_return
from mdps.policy_evaluation import evaluate
from mdps.pytrees import frozen_pytree

__all__ = ["Beside", "Inflation", "inflation"]
__dir__ = __all__.copy


class Beside(NamedTuple):
    """How a policy misleads beside a reference; None where the bounds do not tell.

    Attributes:
        inflates: deceptive inflation, whether its runs are overestimated by more.
        overjustifies: overjustification, whether they are underestimated by less.
    """

    inflates: bool | None
    overjustifies: bool | None


@frozen_pytree
@dataclass(frozen=True, eq=False, repr=False)
class Inflation:
    """What is seen of a policy, what it is worth, and by how much its single runs are over- and underestimated.

    Attributes:
        seen: its return by what is seen.
        true: its true return; `seen - true` is the overestimation less the underestimation.
        over_lowest: E⁺, the expected overestimation of a run, is no less than this.
        over_highest: and no more.
        under_lowest: E⁻, the expected underestimation of a run, is no less than this.
        under_highest: and no more.
        rounding: no number is further off than this.
    """

    seen: Float[Array, ""]
    true: Float[Array, ""]
    over_lowest: Float[Array, ""]
    over_highest: Float[Array, ""]
    under_lowest: Float[Array, ""]
    under_highest: Float[Array, ""]
    rounding: Float[Array, ""]

    @property
    def net(self) -> Array:
        """What is seen less what is true: E⁺ - E⁻."""
        return self.seen - self.true

    @property
    def exact(self) -> Array:
        """Whether both expectations are known, but for rounding, and not between bounds alone."""
        return self.over_highest - self.over_lowest <= 2 * self.rounding

    def beside(self, reference: "Inflation") -> Beside:
        """Whether this policy misleads more than another: by inflating, by overjustifying, or both.

        A policy that is optimal by what is seen, and not in truth, does at least one of the two beside one that is
        optimal in truth (Lang et al. 2024): it looks no worse and is worse, so that E⁺ - E⁻ has grown.

        Args:
            reference: the `Inflation` of a policy to compare with, such as the best in truth; under the same rewards.

        Raises:
            ValueError: for what is no `Inflation`.
        """
        check_part("reference", reference, Inflation, "beside", "alignment.inflation(mdp, policy, seen, true)")
        require_concrete("Inflation.beside", seen=self.seen, reference=reference.seen)
        off = float(self.rounding + reference.rounding)

        def grows(low: Array, high: Array) -> bool | None:
            return True if float(low) > off else False if float(high) <= off else None

        one, two = self, reference
        return Beside(
            grows(one.over_lowest - two.over_highest, one.over_highest - two.over_lowest),
            grows(two.under_lowest - one.under_highest, two.under_highest - one.under_lowest),
        )

    def __str__(self) -> str:
        fields = self.seen, self.true, self.over_lowest, self.over_highest, self.under_lowest, self.under_highest
        if not all(is_concrete(x) for x in fields) or np.ndim(self.seen):
            return f"{type(self).__name__} of a batch, or traced: seen {shown(self.seen)}"
        seen, true, *bounds = (float(x) for x in fields)
        bounds = [0.0 if abs(x) <= float(self.rounding) else x for x in bounds]
        over, under = bounds[:2], bounds[2:]
        ends = [f"{x[0]:.5g}" if self.exact else f"between {x[0]:.5g} and {x[1]:.5g}" for x in (over, under)]
        return f"seen {seen:.5g}, true {true:.5g}; a run is overestimated by {ends[0]}, underestimated by {ends[1]}"

    __repr__ = __str__


def inflation(mdp: MDP, policy: Float[Array, " *T S A"], seen: Any, true: Float[Array, " K"]) -> Inflation:
    r"""By how much the runs of a policy look better than they are, E⁺, and by how much worse, E⁻.

        J_seen - J_true = E⁺ - E⁻        E⁺ = E max(G_seen - G_true, 0),  E⁻ = E max(G_true - G_seen, 0)

    over the returns G of single runs (Lang et al. 2024).  What is seen is a reward: what somebody who watches takes a
    state and an action to be worth.  Only the difference of E⁺ and E⁻ is a sum over visits.  Each is known where all
    runs from a state err to one side, and where nothing is left to chance.  Otherwise it is between bounds: from its
    mean (Jensen's inequality), its mean and its spread (Scarf 1958), its extremes (Edmundson 1956) and the sums of what
    each step is over- and underestimated by; of each start the tightest.

    Args:
        mdp: the MDP; rewards of the transition count as their mean for a state and an action.
        policy: `[S, A]`, or `[T, S, A]`.
        seen: weights `[K]`, or a `ProxyReward`.
        true: weights `[K]`.

    Returns:
        An `Inflation`; `.beside(reference)` tells deceptive inflation from overjustification.

    Raises:
        ValueError: for weights or a policy that do not fit the MDP, or an MDP without a discount and a horizon.

    Example:
        A bucket on the head, under which all tomatoes look watered:

        >>> import mdps
        >>> from mdps.worlds import safety
        >>> world = safety.tomatoes()
        >>> literal, best = (mdps.solve(world.mdp, world.mdp.reward(w)).policy for w in (world.written, world.hidden))
        >>> of_literal = inflation(world.mdp, literal, world.written, world.hidden)
        >>> print(of_literal)
        seen 17.605, true 1.1331; a run is overestimated by 16.472, underestimated by 0
        >>> of_literal.beside(inflation(world.mdp, best, world.written, world.hidden))
        Beside(inflates=True, overjustifies=False)
    """
    check_sums(check_mdp(mdp))
    seen = seen.weights if hasattr(seen, "weights") else seen
    policy = check_policy(mdp, policy)
    return _inflation(mdp, policy, check_weights(mdp, seen, "seen"), check_weights(mdp, true, "true"))


class _Runs(NamedTuple):
    """What is known of how far the rest of a run is overestimated, by state."""

    mean: Array
    variance: Array
    over: Array  # the sum of what its steps are overestimated by
    highest: Array
    lowest: Array


@jax.jit
def _inflation(mdp: MDP, policy, seen, true) -> Inflation:
    by_seen, by_true = mdp.reward(seen), mdp.reward(true)
    apart = by_seen - by_true
    apart = jnp.broadcast_to(apart[:, None] if apart.ndim == 1 else apart, mdp.probability.shape[:2])
    unit = unit_of(apart)  # so that squares are neither too large for their kind of number nor too small
    runs = (_endless if mdp.horizon is None else _with_horizon)(mdp, policy, apart / unit)
    mean, start = runs.mean, mdp.initial
    # E max(D, 0) for a run's D, from each start.
    spread = (mean + jnp.sqrt(mean**2 + runs.variance)) / 2
    width = jnp.where(runs.highest > runs.lowest, runs.highest - runs.lowest, 1)
    known = jnp.isfinite(width)
    chord = jnp.where(known, runs.highest / jnp.where(known, width, 1) * (mean - runs.lowest), jnp.inf)
    most = jnp.minimum(
        jnp.minimum(spread, runs.over), jnp.where(runs.highest > jnp.maximum(runs.lowest, 0), chord, jnp.inf)
    )
    # Where a run is off by no more than `far`, E|D| is no less than E D² / far.
    far = jnp.maximum(jnp.abs(runs.highest), jnp.abs(runs.lowest))
    least = jnp.maximum(jnp.maximum(mean, 0), (mean + (mean**2 + runs.variance) / jnp.where(far > 0, far, jnp.inf)) / 2)
    one_sided = (runs.lowest >= 0) | (runs.highest <= 0)
    most, least = (jnp.where(one_sided, jnp.maximum(mean, 0), x) for x in (jnp.maximum(most, least), least))
    of_seen, of_true = (policy_return(mdp, policy, r) for r in (by_seen, by_true))
    size = mdp.total_visits * jnp.maximum(jnp.max(jnp.abs(by_seen)), jnp.max(jnp.abs(by_true)))
    rounding = 64 * jnp.finfo(size.dtype).eps * size
    over_lowest, over_highest = (unit * (start @ jnp.maximum(x, 0)) for x in (least, most))
    under_lowest, under_highest = (unit * (start @ jnp.maximum(x - mean, 0)) for x in (least, most))
    return Inflation(of_seen, of_true, over_lowest, over_highest, under_lowest, under_highest, rounding)


def _variance_of_step(mdp: MDP, policy, apart, mean, ahead) -> Array:
    """The variance that a step's action and its successor add to what is known to be `mean` `[S]`, from `ahead`."""
    gamma = jnp.asarray(mdp.discount, mean.dtype)
    after = apart[:, :, None] + gamma * ahead[mdp.next_state][:, None] - mean[:, None, None]
    return jnp.sum(policy * jnp.sum(mdp.probability * after**2, axis=-1), axis=-1)


def _with_horizon(mdp: MDP, policy, apart) -> _Runs:
    gamma = jnp.asarray(mdp.discount, apart.dtype)
    policy = jnp.broadcast_to(policy, (mdp.horizon, *policy.shape[-2:]))
    leads = mdp.probability > 0

    def expected(now, x):
        return jnp.sum(now * jnp.sum(mdp.probability * x[mdp.next_state][:, None], axis=-1), axis=-1)

    def back(later: _Runs, now):
        taken = (now[:, :, None] > 0) & leads
        mean = jnp.sum(now * apart, axis=-1) + gamma * expected(now, later.mean)
        variance = _variance_of_step(mdp, now, apart, mean, later.mean) + gamma**2 * expected(now, later.variance)
        over = jnp.sum(now * jnp.maximum(apart, 0), axis=-1) + gamma * expected(now, later.over)
        highest, lowest = (
            pick(jnp.where(taken, apart[:, :, None] + gamma * x[mdp.next_state][:, None], none), axis=(1, 2))
            for pick, x, none in ((jnp.max, later.highest, -jnp.inf), (jnp.min, later.lowest, jnp.inf))
        )
        return _Runs(mean, variance, over, highest, lowest), None

    nothing = jnp.zeros(mdp.num_states, apart.dtype)
    return jax.lax.scan(back, _Runs(*[nothing] * 5), policy, reverse=True)[0]


def _endless(mdp: MDP, policy, apart) -> _Runs:
    mean, over, under = (
        evaluate(mdp, policy, jnp.sum(policy * x, axis=-1))
        for x in (apart, jnp.maximum(apart, 0), jnp.maximum(-apart, 0))
    )
    squared = replace(mdp, discount=jnp.asarray(mdp.discount) ** 2)
    variance = evaluate(squared, policy, _variance_of_step(mdp, policy, apart, mean, mean))
    # How far a run can be off is not looked for; where no step errs to a side, no run does.
    highest, lowest = jnp.where(over > 0, jnp.inf, 0), jnp.where(under > 0, -jnp.inf, 0)
    return _Runs(mean, jnp.maximum(variance, 0), over, highest, lowest)
