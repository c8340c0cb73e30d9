"""The best of options that are known by their features alone: policies of a simulator, plans, answers."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.beliefs import Belief, check_same_features, counting
from ird.blocks import stream
from ird.evidence.protocol import Evidence
from ird.planning._chosen import ExposureChoice, Options, RiskChoice, keep_asked, parts_of
from ird.planning._offsets import check_offset, check_units
from ird.planning._option_game import Mixed, Table, best_mixture, tabled
from ird.planning._risk_plan import check_risk
from ird.planning._unknown import known_of, share_unknown
from ird.risk import Risk
from mdps.checks import check_array, check_names, check_number, check_real, check_truth, is_concrete

_TURNS = 1000  # edges of the hull of options that are looked at, at most


def choose_option(
    features: Float[Array, " P K"] | Float[Array, " P V K"] | np.ndarray,
    belief: Belief,
    *evidence: Evidence,
    risk: Risk | None = None,
    offset: Float[Array, " N"] | None = None,
    units: Float[Array, " N"] | None = None,
    mixture: bool = False,
    visits: float | Float[Array, ""] | Float[Array, " V"] | Float[Array, " P V"] | np.ndarray = 1.0,
    give_up: float | Float[Array, ""] = 0.7,
    cut: float | Float[Array, ""] = 0.05,
    value: Float[Array, " K"] | None = None,
    tol: float | Float[Array, ""] = 1e-3,
    feature_names: Sequence[str] | None = None,
) -> RiskChoice | ExposureChoice:
    r"""The best of P options that are known by what they collect, or the best mixture of them.

    With a `risk` it is what `planning.plan` is over all policies, `max ρ(w·φ_p - c)`; without one what
    `planning.plan_least_exposure` is: the least exposed of those worth `K* - give_up · stake` by what is known.
    Both certificates speak of the options that are listed, and of no others.

    A mixture draws one option by chance before it is carried out.  Under a risk measure it can be better than each
    (the adversary does not see the coin); it is found by the same game as `planning.plan`.  Of least exposure it mixes
    two options at most, those between which the floor lies on the edge of all (worth, exposure); `plan_least_exposure`
    does not mix, and its `bound` is the exposure of this mixture.

    Exposure is a sum over visits, and what one visit is worth and how unknown it is are not linear in its features
    (an unknown visit never counts as a gain).  For `features [P, K]` each option counts as `visits` visits that are all
    alike.  That is exact for answers (one visit each); of longer runs it is too bold where unknown visits differ among
    each other and cancel, and too timid where a little that is unknown takes a whole run's gain.  Give the visits
    themselves, `[P, V, K]`, where that matters; of one-hot features these are the K kinds of visit, and how often each
    comes is what a run collects (the example in `docs/without-a-table.md`).

    Args:
        features: what each option collects, `[P, K]`; or the features of each of its visits, `[P, V, K]`.
        belief: a `Posterior` (for a risk measure any weighted samples).
        *evidence: the evidence, where the belief does not keep it; for least exposure.
        risk: a measure from `ird.risk`; None for least exposure.
        offset: what each sample's return is measured from, `[N]`, in units of return; needed with a risk measure.
        units: what one unit of each sample's return is, `[N]`, as in `plan`; with a risk measure.
        mixture: the best mixture of options instead of the best one.
        visits: how many (discounted) visits a run has; for `[P, V, K]` how often each visit comes, `[V]` or `[P, V]`,
            such as γ^t over the number of runs.
        give_up: share of the stake that may be given up; for least exposure.
        cut: share of a visit below which it counts as known; for least exposure.
        value: weights that what is known is valued by, `[K]`, as in `plan_least_exposure`.
        tol: gap allowed between `objective` and `bound`, relative to max(1, |objective|); with a risk measure.
        feature_names: of the columns, to be compared with the belief's; None: they are the belief's.

    Returns:
        A `RiskChoice`, or an `ExposureChoice` without a risk measure; `print` of it says why.

    Raises:
        ValueError: for no options, another number of features than the belief has, values that are not finite, visits
            that are negative or none, a risk measure without an offset or an offset without a risk measure, shares
            outside [0, 1], or a belief that does not keep what its evidence could tell.

    Example:
        >>> import jax.numpy as jnp
        >>> from ird import planning, posterior
        >>> from ird.risk import WorstCase
        >>> belief = posterior.exact(candidates=jnp.array([[1.0, 0.0], [0.0, 1.0]]))
        >>> answers = jnp.array([[2.0, 0.0], [0.0, 2.0], [0.5, 0.5]])
        >>> asked = {"risk": WorstCase(), "offset": planning.no_offset(belief)}
        >>> one = planning.choose(answers, belief, **asked)
        >>> int(one.option), round(float(one.objective), 3)
        (2, 0.5)
        >>> mixed = planning.choose(answers, belief, **asked, mixture=True)
        >>> [round(float(x), 2) for x in mixed.shares], round(float(mixed.objective), 2)
        ([0.5, 0.5, 0.0], 1.0)
    """
    mixture = check_truth("mixture", mixture)
    features, often = _check_options(features, visits)
    weights, log_weights = check_same_features(belief, features.shape[-1], tuple(feature_names or ()))
    names = check_names(tuple(belief.feature_names), weights.shape[1])
    if risk is None:
        if offset is not None or units is not None:
            raise ValueError(
                "offset and units are for a risk measure, and risk is None; give risk=CVaR(0.1) or another, or leave "
                "them out for the least exposed choice."
            )
        return _least_exposed_of(features, often, belief, evidence, names, mixture, give_up, cut, value)
    if evidence:
        raise ValueError("evidence is for the least exposed choice, without risk=...; a risk measure needs the belief.")
    such_as = "planning.features_offset(belief, features), planning.regret_offset(features, belief)"
    offset = check_offset(offset, log_weights, such_as)
    units = None if units is None else check_units(units, log_weights)
    cure = "it must be positive and finite (relative to max(1, |objective|))."
    tol = check_number("tol", tol, lambda x: 0 < x < np.inf, cure)
    check_risk(risk, weights, log_weights)
    options = _options_of(features, often)
    given = options.collected, weights, log_weights, risk, offset, units, tol
    found = _least_risky(*given, mixture=mixture, kind=type(risk), names=names)
    return keep_asked(found, options, belief, (), risk, offset, units)


def _check_options(features, visits) -> tuple[Array, Array]:
    """Features, and how often each visit comes (of `[P, K]` one number), refused unless all is finite and can be."""
    features = check_real("features", features)
    if features.ndim not in (2, 3) or features.size == 0:
        raise ValueError(
            f"features has shape {features.shape}; give what each option collects, [P, K], or the features of its "
            "visits, [P, V, K], with at least one option, one visit and one feature."
        )
    features = check_array("features", features)
    if features.ndim == 2:
        cure = "it is how many (discounted) visits a run has and must be positive and finite (1 for one answer)."
        return features, check_number("visits", visits, lambda x: 0 < x < np.inf, cure, dtype=features.dtype)
    given = check_real("visits", visits)
    if given.shape not in (features.shape[1:2], features.shape[:2]):
        raise ValueError(
            f"visits has shape {given.shape}; for visits of shape {features.shape} say how often each comes, "
            f"{features.shape[1:2]} or {features.shape[:2]}."
        )
    often = check_array("visits", given, dtype=features.dtype)
    if is_concrete(often) and ((np.asarray(often) < 0).any() or not (np.asarray(often).sum(axis=-1) > 0).all()):
        raise ValueError("visits holds a negative number, or an option without any; give how often each visit comes.")
    return features, often


def _options_of(features: Array, often: Array) -> Options:
    """The options, once all that was given is known to be right."""
    if features.ndim == 2:
        each = features[:, None] / jnp.reshape(often, (1, 1, 1))
        return Options(each, jnp.broadcast_to(often, each.shape[:2]), features)
    often = jnp.broadcast_to(often[None] if often.ndim == 1 else often, features.shape[:2])
    return Options(features, often, jnp.einsum("pv,pvk->pk", often, features, precision=jax.lax.Precision.HIGHEST))


@functools.partial(jax.jit, static_argnames=("mixture", "kind", "names"))
@jax.default_matmul_precision("highest")
def _least_risky(
    collected, weights, log_weights, risk: Risk, offset, units, tol, *, mixture: bool, kind: type, names
) -> RiskChoice:
    """The best option, or mixture; `kind` is the measure's class: JAX may take two for one (`mdps.pytrees`)."""
    del kind
    dtype = jnp.result_type(weights, collected, float)
    weights, offset, collected = (jnp.asarray(x, dtype) for x in (weights, offset, collected))
    log_weights, tol = log_weights.astype(dtype), tol.astype(dtype)
    # Measured from the mean option, so that what all have in common does not round.
    apart = weights @ jnp.mean(collected, axis=0) - offset
    samples = jnp.concatenate([weights, apart[:, None], jnp.zeros_like(apart)[:, None]], axis=1)
    samples = samples if units is None else samples / units.astype(dtype)[:, None]
    [samples] = counting(log_weights, samples)
    given = tabled(risk, samples, log_weights, collected)
    found = best_mixture(given, tol) if mixture else _best_single(given)
    gap = found.bound - found.objective
    return RiskChoice(
        shares=found.shares,
        option=jnp.argmax(found.shares),
        objective=found.objective,
        bound=found.bound,
        feature_expectations=found.shares @ collected,
        converged=jnp.isfinite(found.bound) & (gap <= tol * jnp.maximum(1, jnp.abs(found.objective))),
        steps=found.steps,
        feature_names=names,
    )


def _best_single(given: Table) -> Mixed:
    def attained(rows, samples, log_weights):
        return given.risk.value(rows @ samples.T, log_weights)

    values = stream(attained, given.rows, given.samples, given.log_weights)
    option = jnp.argmax(jnp.where(jnp.isnan(values), -jnp.inf, values))
    objective, most = values[option] - given.off[option], jnp.max(values + given.off)
    known = jnp.isfinite(objective) & jnp.isfinite(most)
    shares = (jnp.arange(len(values)) == option).astype(values.dtype)
    return Mixed(shares, objective, jnp.where(known, most, jnp.inf), jnp.ones((), jnp.int32))


def _least_exposed_of(features, often, belief, evidence, names, mixture, give_up, cut, value) -> ExposureChoice:
    dtype = features.dtype
    give_up = check_number(
        "give_up",
        give_up,
        lambda x: 0 <= x <= 1,
        "it is a share of what is at stake and must lie in [0, 1].",
        dtype=dtype,
    )
    cut = check_number(
        "cut", cut, lambda x: 0 <= x < 1, "it is a share of a visit and must lie in [0, 1).", dtype=dtype
    )
    options = _options_of(features, often)
    known = known_of(options.listed(), belief, *evidence, value=value)
    found = _chosen_least(options, known, give_up, cut, mixture=mixture, names=names)
    return keep_asked(found, options, belief, evidence)


@functools.partial(jax.jit, static_argnames=("mixture", "names"))
@jax.default_matmul_precision("highest")
def _chosen_least(options: Options, known, give_up, cut, *, mixture: bool, names) -> ExposureChoice:
    u = share_unknown(options.listed(), known, cut)
    r = (options.features.reshape(len(u), -1) - known.reference[None]) @ known.weights
    r = jnp.where(u > 0, jnp.minimum(r, 0), r)
    values, unknown = (jnp.sum(options.visits * x.reshape(options.visits.shape), axis=1) for x in (r, u))
    if known.gains.shape[0] == 0:  # nothing shows what is normal: what the best is worth above an option at random
        stake = jnp.maximum(jnp.max(values) - jnp.mean(values), 0)
    else:
        stake = jnp.maximum(jnp.mean(jnp.sum(options.visits, axis=1)) * jnp.mean(known.gains @ known.weights), 0)
    best, given = jnp.max(values), give_up * stake
    slack = 64 * jnp.finfo(values.dtype).eps * (jnp.max(jnp.abs(values)) + given)
    floor = best - given
    edge = _edge(values, unknown, floor, slack)
    shares = edge.shares if mixture else _one(values, unknown, floor - slack)
    worth, exposure = jnp.sum(shares * values), jnp.sum(shares * unknown)
    kept = jnp.minimum(floor, worth)
    sound = jnp.isfinite(worth) & jnp.isfinite(exposure) & (worth >= floor - slack)
    return ExposureChoice(
        shares=shares,
        option=jnp.argmax(shares),
        known=worth,
        floor=kept,
        best=best,
        exposure=exposure,
        bound=jnp.clip(jnp.where(edge.free, jnp.min(unknown), (kept - edge.most - slack) / edge.price), 0, exposure),
        by_feature=parts_of(options, known, u, shares),
        untold=known.untold,
        values=values,
        unknown=unknown,
        price=jnp.where(given > 0, jnp.where(edge.free, jnp.inf, edge.price), 0),
        feature_expectations=shares @ options.collected,
        converged=sound,
        feature_names=names,
    )


def _one(values, unknown, floor) -> Array:
    """The least exposed of the options that keep the floor; of equally exposed ones the most valuable, `[P]`."""
    least = jnp.min(jnp.where(values >= floor, unknown, jnp.inf))
    tied = (values >= floor) & (unknown <= least * (1 + 8 * jnp.finfo(unknown.dtype).eps))
    return (jnp.arange(len(values)) == jnp.argmax(jnp.where(tied, values, -jnp.inf))).astype(values.dtype)


class _Edge(NamedTuple):
    """Where the floor lies on the edge of all (worth, exposure)."""

    shares: Array  # the mixture there, [P]
    price: Array  # worth lost for one visit's exposure less, along the edge
    most: Array  # max_p values - price * unknown
    free: Array  # whether the least exposed option of all keeps the floor


def _edge(values, unknown, floor, slack) -> _Edge:
    """The least exposed mixture that keeps the floor: of the two options between which it lies on the lower hull.

    The chord between an option that keeps the floor (a) and one that does not (b) is moved to the option that lies
    farthest beyond it, until none does (Eisner and Severance 1976).
    """
    eps = jnp.finfo(values.dtype).eps

    def among(score, tied_by):
        best = jnp.max(score)
        near = score >= best - 8 * eps * jnp.abs(best)
        return jnp.argmax(jnp.where(near, tied_by, -jnp.inf))

    a, b = among(values, -unknown), among(-unknown, values)
    free = values[b] >= floor - slack

    def beyond(a, b):
        worth, exposed = values - values[b], unknown - unknown[b]
        score = worth * exposed[a] - exposed * worth[a]
        size = jnp.max(jnp.abs(worth)) * exposed[a] + jnp.max(jnp.abs(exposed)) * worth[a]
        far = jnp.argmax(score)
        return far, score[far] > 16 * eps * size

    def turn(carry):
        a, b, _, turns = carry
        far, more = beyond(a, b)
        keeps = values[far] >= floor
        new = jnp.where(more & keeps, far, a), jnp.where(more & ~keeps, far, b)
        return (*new, more & ((new[0] != a) | (new[1] != b)), turns + 1)

    start = a, b, ~free, jnp.zeros((), jnp.int32)
    a, b, _, _ = jax.lax.while_loop(lambda carry: carry[2] & (carry[3] < _TURNS), turn, start)
    apart = jnp.where(free, 1, values[a] - values[b])
    share = jnp.where(free, 0, jnp.clip((floor - values[b]) / jnp.where(apart > 0, apart, 1), 0, 1))
    at = jnp.arange(len(values))
    shares = (at == a) * share + (at == b) * (1 - share)
    less = unknown[a] - unknown[b]
    price = jnp.where(free | ~(less > 0), 1, apart / jnp.where(less > 0, less, 1))
    return _Edge(shares.astype(values.dtype), price, jnp.max(values - price * unknown), free)
