"""What was chosen among options that are known by their features alone, and how it says so."""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ird.beliefs import Belief, counting
from ird.evidence.protocol import Evidence
from ird.planning._explain import Explanation, Remembers, feared, what_was_met
from ird.planning._unknown import Visits, by_feature, known_of, share_unknown, visits_apart
from ird.risk import Risk
from mdps.checks import is_concrete, shown
from mdps.pytrees import frozen_pytree


class Options(NamedTuple):
    """What can be chosen.

    Attributes:
        features: of each visit of each option, `[P, V, K]`.
        visits: how often each of these visits comes, `[P, V]`.
        collected: what each option collects, `[P, K]`.
    """

    features: Float[Array, " P V K"]
    visits: Float[Array, " P V"]
    collected: Float[Array, " P K"]

    def listed(self) -> Visits:
        """All visits that can happen, one list."""
        every = self.visits.reshape(-1)
        return Visits(self.features.reshape(-1, self.features.shape[-1]), every / jnp.sum(every))


@frozen_pytree
@dataclass(frozen=True, eq=False, repr=False)
class RiskChoice(Remembers):
    """The option, or mixture of options, of the best risk-adjusted return, with a certificate.

    Attributes:
        shares: probability with which each option is taken, `[P]`; 1 for one of them unless a mixture was asked for.
        option: the one of the largest share; of equal ones the first.
        objective: what is attained at least, in units of return: what may be rounding is taken off.
        bound: no option (with `mixture=True`: no mixture of them) attains more; infinite where what was traced is not
            finite, so that nothing is known.
        feature_expectations: what is collected of each feature on average, `[K]`.
        converged: whether `bound - objective` met the tolerance.
        steps: how often all options were looked at.
        feature_names: names of the features (static).
    """

    shares: Float[Array, " P"]
    option: Int[Array, ""]
    objective: Float[Array, ""]
    bound: Float[Array, ""]
    feature_expectations: Float[Array, " K"]
    converged: Bool[Array, ""]
    steps: Int[Array, ""]
    feature_names: tuple[str, ...] = field(default=(), metadata={"static": True})

    def __str__(self) -> str:
        if not all(is_concrete(x) for x in jax.tree.leaves(self)) or np.ndim(self.objective):
            return f"{type(self).__name__} of a batch, or traced: objective {shown(self.objective)}"
        objective, bound = float(self.objective), float(self.bound)
        lines = [_taken(self), f"objective                {objective:.4g}  (nothing offered attains over {bound:.4g})"]
        about = account_of(self)
        lines += [] if about is None else [str(about)]
        if not bool(self.converged):
            lines.append(f"not converged: the two may differ by {bound - objective:.2g} after {int(self.steps)} steps")
        return "\n".join(lines)


@frozen_pytree
@dataclass(frozen=True, eq=False, repr=False)
class ExposureChoice(Remembers):
    """The option, or mixture of options, of least exposure to what is unknown, among all that are worth enough.

    Attributes:
        shares: probability with which each option is taken, `[P]`; 1 for one of them unless a mixture was asked for.
        option: the one of the largest share; of equal ones the first.
        known: what the choice is worth by what is known of the reward, above visits in which nothing in particular is
            wanted, in units of return.
        floor: what a choice had to be worth, and this one is.
        best: what any option is worth at most by what is known.
        exposure: expected (discounted) visits to what is unknown, each as far as it is.
        bound: no mixture of the options that keeps the floor is exposed less.
        by_feature: the features that the exposure rests on, which add up to it, `[K]`.
        untold: the share of what the proxy's plan gained in training that the evidence could not tell.
        values: what each option is worth by what is known, `[P]`.
        unknown: the exposure of each option, `[P]`.
        price: what one visit's exposure less costs at the floor, in units of return: 0 where nothing may be given up,
            infinite where the least exposed of all options keeps the floor.
        feature_expectations: what is collected of each feature on average, `[K]`.
        converged: whether the choice keeps its floor, and everything is finite.
        feature_names: names of the features (static).
    """

    shares: Float[Array, " P"]
    option: Int[Array, ""]
    known: Float[Array, ""]
    floor: Float[Array, ""]
    best: Float[Array, ""]
    exposure: Float[Array, ""]
    bound: Float[Array, ""]
    by_feature: Float[Array, " K"]
    untold: Float[Array, ""]
    values: Float[Array, " P"]
    unknown: Float[Array, " P"]
    price: Float[Array, ""]
    feature_expectations: Float[Array, " K"]
    converged: Bool[Array, ""]
    feature_names: tuple[str, ...] = field(default=(), metadata={"static": True})

    def __str__(self) -> str:
        if not all(is_concrete(x) for x in jax.tree.leaves(self)) or np.ndim(self.known):
            return f"{type(self).__name__} of a batch, or traced: exposure {shown(self.exposure)}"
        known, best, floor, exposure, bound = (
            float(x) for x in (self.known, self.best, self.floor, self.exposure, self.bound)
        )
        lines = [
            _taken(self),
            f"worth by what is known   {known:.4g}  (at most {best:.4g}; given up {max(best - known, 0):.2g})",
            f"exposure to the unknown  {exposure:.3g} visits  (worth {floor:.3g}: at least {bound:.3g})",
        ]
        about = account_of(self) if bool(np.isfinite([known, exposure]).all()) else None
        lines += [] if about is None else about.lines()[:1]
        lines += what_was_met(self)
        lines += [] if about is None else about.sentences()
        if not bool(self.converged):
            lines.append("not converged: the choice does not keep its floor, or something is not finite")
        return "\n".join(lines)


def _taken(choice: RiskChoice | ExposureChoice) -> str:
    """Which options, the likeliest first."""
    shares = np.asarray(choice.shares, float)
    some = np.flatnonzero(shares >= 0.005)
    if len(some) < 2:
        return f"option                   {int(choice.option)} of {len(shares)}"
    some = some[np.argsort(-shares[some], kind="stable")]
    listed = ", ".join(f"{i} ({shares[i]:.0%})" for i in some[:8]) + (", ..." if len(some) > 8 else "")
    return f"options                  {listed} of {len(shares)}"


class _Asked(NamedTuple):
    """What a choice was made from, kept so that it can give an account of itself."""

    options: Options
    belief: Belief
    evidence: tuple[Evidence, ...]
    risk: Risk | None
    offset: Array | None
    units: Array | None


def keep_asked(choice, options: Options, belief: Belief, evidence: tuple, risk=None, offset=None, units=None):
    """The choice, which then can give an account of itself; traced ones remember nothing."""
    told = (choice, options, belief.weights, belief.log_weights, risk, offset, units)
    if all(is_concrete(x) for x in jax.tree.leaves(told)):
        object.__setattr__(choice, "_asked", _Asked(options, belief, evidence, risk, offset, units))
    return choice


def account_of(choice: RiskChoice | ExposureChoice) -> Explanation | None:
    """What a choice brings on average, beside the best by the belief's mean; None where it does not remember."""
    asked: _Asked | None = getattr(choice, "_asked", None)
    if asked is None:
        return None
    log_weights = asked.belief.log_weights
    [weights] = counting(log_weights, asked.belief.weights)
    p = np.exp(np.asarray(log_weights, float))
    mean = p @ np.asarray(weights, float)
    collected = np.asarray(choice.feature_expectations, float)
    bold = float(np.max(np.asarray(asked.options.collected) @ mean))
    tail, tail_size = None, float("nan")
    if asked.risk is not None:
        tilt = feared(asked.risk, weights, log_weights, collected, asked.offset, asked.units)
        tail, tail_size = tilt @ np.asarray(weights, float), float(tilt.sum() ** 2 / (tilt**2).sum())
    exposure = parts = None
    if isinstance(choice, ExposureChoice):
        exposure, parts = float(choice.exposure), np.asarray(choice.by_feature, float)
    elif getattr(asked.belief, "told", {}):
        every = asked.options.listed()
        known = known_of(every, asked.belief)
        u = share_unknown(every, known, jnp.asarray(0.05, weights.dtype))
        parts = np.asarray(parts_of(asked.options, known, u, choice.shares), float)
        exposure = float(parts.sum())
    return Explanation(
        returns={"this plan": float(mean @ collected), "mean plan": bold},
        price=bold - float(mean @ collected),
        names=choice.feature_names,
        collected=collected,
        mean=mean,
        tail=tail,
        tail_size=tail_size,
        exposure=exposure,
        by_feature=parts,
        frozen=0.0,
        gain=0.0,
        belief_size=float(getattr(asked.belief, "effective_sample_size", 1 / np.sum(p**2))),
    )


@jax.jit
def parts_of(options: Options, known, u, shares) -> Array:
    """The features that the exposure of a mixture of options rests on, `[K]`; `u` of every visit, in one list."""
    visits = (shares[:, None] * options.visits).reshape(-1)
    parts = by_feature(visits_apart(options.features.reshape(-1, options.features.shape[-1]), known.normal), known, u)
    return jnp.matmul(visits, parts, precision=jax.lax.Precision.HIGHEST)
