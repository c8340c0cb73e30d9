"""What the evidence said nothing about: directions of the weights, and visits that lie along them.

With I what the evidence was able to tell (`ird.evidence.fisher`) and D the prior's standard deviations,

    D I D = V diag(ι) Vᵀ

(of a prior whose weights go together, a normal one of covariance P, D is a root of it, D Dᵀ = P, and Dᵀ I D is taken)

ι is what one prior standard deviation along a direction changes in the log-likelihood, and ι/(1 + ι) the share of
that direction which the evidence speaks about.  A visit is compared with normal ones, b_e:

    u(s, a) = min_e |(1 + ι)⁻¹ Vᵀ D (φ(s, a) - b_e)| / max |D (φ - b_e)|

over all visits that can be reached, and 0 where that is small: below `cut`, or no more than the same share of what the
proxy's plan gained in training, g = b - φ̄ (the untold share of the gain).  What is at stake is known no better than
that, and who is more careful about each visit hides from all of them: with `cut` alone a designer of β = 1 left the
whole of an office unknown, its charger too (`tests/test_ird_planning_office.py`).

With `sure` it is 0, too, where a visit is known to be good: where what is known of it is worth more above a visit in
which nothing in particular is wanted than so many standard deviations of what is hidden in it,
k·(φ - φ̄) > sure |(1 + ι)⁻¹ Vᵀ D (φ - b)|.  Where readings are noisy every place is new along some direction, the
goal as well, and without it the plan would stay.

Without a horizon the visit before all reward ends decides over all that are missed: it is compared with as many normal
ones as it decides, `visits_decided`.  Otherwise goals that end everything would never be known: of their visits and
the floor's, (1 - γ) floor + goal = 1 for every plan, no evidence could tell one from the other, and none has to.

What is known of the reward is the posterior's mean along what was spoken about (or other weights, such as the written
ones), and the prior's mean elsewhere:

    k = m₀ + D V diag(ι/(1 + ι)) Vᵀ D⁻¹ (E[w] - m₀)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.beliefs import Belief, check_belief, check_same_features, counting
from ird.blocks import in_blocks, rows_per_block
from ird.evidence.fisher import Telling, told
from ird.evidence.protocol import Evidence
from ird.likelihood import shared_names
from mdps import bellman
from mdps.checks import check_array, check_number, shown
from mdps.mdp import MDP
from mdps.policies import feature_expectations, uniform_policy
from mdps.reaching import can_be_reached


class Known(NamedTuple):
    """What the evidence told, and what a visit is compared with.

    Attributes:
        weights: k, what is known of each weight, `[K]`.
        hidden: (1 + ι)⁻¹ Vᵀ D, what remains of a visit's features where nothing was told, `[K, K]`.
        directions: V, `[K, K]`.
        scale: D, `[K]`, or `[K, K]` of a prior whose weights go together.
        normal: features of normal visits, `[E, K]`.
        reference: features of a visit where nothing in particular is wanted, `[K]`.
        gains: what normal behaviour collects per visit above that, `[E, K]`.
        untold: the share of those gains, on average, that the evidence could not tell, from 0 to 1.
    """

    weights: Float[Array, " K"]
    hidden: Float[Array, " K K"]
    directions: Float[Array, " K K"]
    scale: Float[Array, " K"] | Float[Array, " K K"]
    normal: Float[Array, " E K"]
    reference: Float[Array, " K"]
    gains: Float[Array, " E K"]
    untold: Float[Array, ""]


class Visits(NamedTuple):
    """Visits that can happen where there is no table.

    Attributes:
        features: of each, `[V, K]`.
        share: how often each comes, as far as that matters, adding up to 1, `[V]`.
    """

    features: Float[Array, " V K"]
    share: Float[Array, " V"]


def unknown(
    mdp: MDP | Float[Array, " *V K"],
    belief: Belief,
    *evidence: Evidence,
    cut: float | Float[Array, ""] = 0.05,
    sure: float | Float[Array, ""] | None = None,
) -> Float[Array, " S"] | Float[Array, " S A"] | Float[Array, " *V"]:
    r"""The share of each visit that the evidence said nothing about, from 0 to 1.

    Where all reward ends after a visit, without a horizon, it decides over all visits that are missed, and can count
    for more than 1.

    Args:
        mdp: where the plan is to be carried out; without a table, the features of each visit that may be met there,
            `[..., K]`: of steps of rollouts, of answers.  The largest of them is what the others are measured by, so
            give them all at once.
        belief: a `Posterior`, which keeps what its evidence was able to tell.
        *evidence: the evidence, where the belief does not keep it.
        cut: what counts as nothing.
        sure: as in `plan_least_exposure`, by the belief's mean; None: however good a visit is.

    Returns:
        `[S]`, or `[S, A]` where features depend on the action (where they do not, and actions differ in the chance that
        all reward ends, of the action for which it is most); one number for each visit where these were given.

    Raises:
        ValueError: for a belief about other features, or one that does not keep what its evidence could tell.

    Example:
        >>> import jax, mdps, numpyro.distributions as dist
        >>> from ird import ProxyReward, posterior
        >>> legend = {"S": "dirt", ".": "dirt", "g": "grass", "G": "goal", "l": "lava"}
        >>> train = mdps.GridWorld.from_text("S.g\nggG", legend, horizon=6)
        >>> field = mdps.GridWorld.from_text("Slg\n..G", legend, horizon=6)
        >>> prior = dist.Uniform(-1, 1).expand([4]).to_event(1)
        >>> rewards = jax.numpy.concatenate([train.weights(goal=1.0)[None], prior.sample(jax.random.key(0), (50,))])
        >>> proxy = ProxyReward(rewards[0], train.mdp, beta=5.0, alternatives=rewards)
        >>> belief = posterior.importance(proxy, prior=prior, num_samples=500, key=jax.random.key(1))
        >>> [bool(x) for x in unknown(field.mdp, belief) > 0]  # the lava alone
        [False, True, False, False, False, False]
    """
    cut = check_number("cut", cut, lambda x: 0 <= x < 1, "it is a share of a visit and must lie in [0, 1).")
    sure = check_sure(sure)
    if isinstance(mdp, list | tuple | np.ndarray | jax.Array):
        features = check_array("features", mdp)
        if features.ndim < 1 or features.size == 0:
            raise ValueError(f"features has shape {features.shape}; give the features of each visit, [..., K].")
        flat = features.reshape(-1, features.shape[-1])
        every = Visits(flat, jnp.full(flat.shape[0], 1 / flat.shape[0], flat.dtype))
        return share_unknown(every, known_of(every, belief, *evidence), cut, sure).reshape(features.shape[:-1])
    return as_features(mdp, unknown_of(mdp, known_of(mdp, belief, *evidence), cut, sure))


def check_sure(sure) -> Float[Array, ""] | None:
    """Standard deviations of what is hidden in a visit that its known worth has to exceed; None of no visit."""
    if sure is None:
        return None
    return check_number("sure", sure, lambda x: x > 0, "it counts standard deviations and must be above 0 (None: off).")


def known_of(mdp: MDP | Visits, belief: Belief, *evidence: Evidence, value: Float[Array, " K"] | None = None) -> Known:
    """What is known to a belief, of which a plan here makes use; by its mean, or by the weights `value`."""
    if isinstance(mdp, Visits):
        check_same_features(belief, mdp.features.shape[1])
    else:
        check_belief(mdp, belief)
    for name in ("prior_mean", "prior_sd"):
        if not hasattr(belief, name):
            raise ValueError(
                f"belief is {shown(belief)}, which has no {name}; give a Posterior, which keeps its prior."
            )
    for i, e in enumerate(evidence):
        if isinstance(e, type) or not isinstance(e, Telling):
            raise ValueError(
                f"evidence {i} is {shown(e)}, which does not say what it was able to tell; give it the methods "
                "information(mean) -> [K, K] and shown(), as ird.evidence.Choice has them."
            )
    names = shared_names(evidence)
    if evidence and belief.feature_names and names != tuple(belief.feature_names):
        raise ValueError(
            f"the evidence is about the features {names}, but the belief about {tuple(belief.feature_names)}; pass the "
            "evidence that the belief was made from."
        )
    [weights] = counting(belief.log_weights, belief.weights)
    mean = jnp.matmul(jnp.exp(belief.log_weights), weights, precision=jax.lax.Precision.HIGHEST)
    kept = told(evidence, mean) if evidence else getattr(belief, "told", {})
    if not kept:
        raise ValueError(
            "belief does not keep what its evidence was able to tell (it was loaded from a file of an earlier version, "
            "or some of its evidence does not say); pass the evidence after the belief, as evidence."
        )
    by = mean if value is None else check_value(value, mean)
    return _known_of(mdp, by, belief.prior_mean, *_scale(belief), kept)  # pyright: ignore[reportAttributeAccessIssue]


def check_value(value, mean: Array | jax.ShapeDtypeStruct) -> Array:
    """Weights that what is known is valued by, one per feature; `mean`: of their shape and dtype."""
    value = check_array("value", value)
    if value.shape != mean.shape:
        raise ValueError(f"value has shape {value.shape}; give one weight per feature, {mean.shape}.")
    return value.astype(mean.dtype)


def _scale(belief) -> tuple[Array, Array]:
    """The prior's standard deviations `[K]`, or a root of its covariance where weights go together, and the inverse.

    Of a prior without a variance half of what 68% of its draws span.  What has no spread has an inverse of 0.
    """
    if getattr(belief, "prior_covariance", None) is not None:
        return _root(belief.prior_covariance)
    sd, draws = belief.prior_sd, belief.prior_sample
    low, high = jnp.quantile(jnp.where(jnp.isfinite(draws), draws, 0), jnp.asarray([0.16, 0.84], draws.dtype), axis=0)
    sd = jnp.where(jnp.isfinite(sd), sd, (high - low) / 2)
    return sd, jnp.where(sd > 0, 1 / jnp.where(sd > 0, sd, 1), 0)


@jax.jit
def _root(covariance: Float[Array, " K K"]) -> tuple[Array, Array]:
    """A root of a covariance and its inverse: diag(σ) C^½, with C the correlations, so that units change σ alone."""
    sd = jnp.sqrt(jnp.diagonal(covariance))
    inverse = jnp.where(sd > 0, 1 / jnp.where(sd > 0, sd, 1), 0)
    size, axes = jnp.linalg.eigh(covariance * inverse[:, None] * inverse[None])
    half = jnp.sqrt(jnp.maximum(size, 0))
    there = half > jnp.sqrt(size.shape[0] * jnp.finfo(sd.dtype).eps)  # of the correlations; less is rounding

    def with_sizes(x):
        return jnp.matmul(axes * x[None], axes.T, precision=jax.lax.Precision.HIGHEST)

    root, back = jnp.where(there, half, 0), jnp.where(there, 1 / jnp.where(there, half, 1), 0)
    return sd[:, None] * with_sizes(root), with_sizes(back) * inverse[None]


def in_prior_units(scale: Float[Array, " K"] | Float[Array, " K K"], features: Array) -> Array:
    """Dᵀ φ, features as they come in standard deviations of the prior, `[..., K]`."""
    if scale.ndim == 1:
        return features * _lifted(scale, features.ndim)
    return jnp.matmul(features, scale, precision=jax.lax.Precision.HIGHEST)


@jax.jit
def _known_of(mdp: MDP | Visits, mean, prior_mean, scale, inverse, kept) -> Known:
    whitened = in_prior_units(scale, in_prior_units(scale, kept["information"]).T)
    iota, V = jnp.linalg.eigh((whitened + whitened.T) / 2)
    # What is left of a zero after a decomposition is rounding of the largest.
    iota = jnp.where(iota > 8 * iota.shape[0] * jnp.finfo(iota.dtype).eps * jnp.max(iota), iota, 0)
    share = iota / (1 + iota)
    moved = in_prior_units(inverse.T, mean - prior_mean)
    weights = prior_mean + in_prior_units(scale.T, V @ (share * (V.T @ moved)))
    hidden = in_prior_units(scale.T, (V / (1 + iota)[None]).T)
    normal, reference, gains = kept["normal"], kept["reference"], kept["gains"]
    if normal.shape[0] == 0:  # nothing shows what is normal: what is here at first, and what acting at random brings
        first, reference = _ordinary(mdp)
        normal = first[None]
    gain = jnp.mean(gains, axis=0) if gains.shape[0] else jnp.zeros_like(mean)
    left, whole = jnp.linalg.norm(hidden @ gain), jnp.linalg.norm(in_prior_units(scale, gain))
    untold = jnp.where(whole > 0, left / jnp.where(whole > 0, whole, 1), 0)
    return Known(weights, hidden, V, scale, normal, reference, gains, untold)


def _ordinary(mdp: MDP | Visits) -> tuple[Array, Array]:
    """Features of a first visit, and of one of a policy that acts at random, `[K]` each."""
    if isinstance(mdp, Visits):
        mean = jnp.matmul(mdp.share, mdp.features, precision=jax.lax.Precision.HIGHEST)
        return mean, mean
    return first_visit(mdp), feature_expectations(mdp, uniform_policy(mdp)) / mdp.total_visits


def first_visit(mdp: MDP) -> Float[Array, " K"]:
    """Features of the first visit, of a policy that acts at random."""
    features = mdp.features
    if features.ndim == 3:
        features = jnp.einsum("sa,sak->sk", uniform_policy(mdp), features)
    return jnp.matmul(mdp.initial, features, precision=jax.lax.Precision.HIGHEST)


def visits_decided(mdp: MDP) -> Array:
    """How many visits each one decides, `[S, A]`: itself and, where all reward ends after it, those that are missed.

    Without a horizon every policy's visits add up to as many, 1/(1 - γ), when states that end all reward (every action
    keeps them, and they have no features) decide nothing.  So rewards above this many times a constant rank policies
    as the rewards do, and of what no plan can change, such as what each collects once, by and by or at the end, nothing
    is left.  With a horizon each visit decides itself.
    """
    shape = mdp.num_states, mdp.num_actions
    if mdp.horizon is not None:
        return jnp.ones(shape, mdp.probability.dtype)
    exist = jnp.ones(shape, bool) if mdp.available is None else mdp.available
    moves = (mdp.next_state != jnp.arange(shape[0])[:, None])[:, None] & (mdp.probability > 0) & exist[:, :, None]
    pays = jnp.any(mdp.features != 0, axis=tuple(range(1, mdp.features.ndim)))
    ends = ~jnp.any(moves, axis=(1, 2)) & ~pays
    missed = mdp.discount * mdp.total_visits * bellman.expected(mdp, mdp.probability, ends.astype(mdp.initial.dtype))
    return jnp.where(ends[:, None], 0, 1 + missed)


def above(mdp: MDP, normal: Float[Array, " E K"]) -> Array:
    """Features of visits above those of as many normal ones as they decide, `[S, E, K]`, or `[S, A, E, K]`."""
    if mdp.horizon is not None:
        return visits_apart(mdp.features, normal)
    features = mdp.features if mdp.features.ndim == 3 else mdp.features[:, None]
    return features[..., None, :] - visits_decided(mdp)[..., None, None] * normal[None, None]


def by_feature(apart: Array, known: Known, u: Array) -> Array:
    """Which features what is unknown about a visit rests on: shares of `u` that add up to it, `[S, (A,) K]`.

    `apart` is how far visits are from each normal one, `[S, (A,) E, K]`, and `u` `[S, (A)]`.
    """
    left = jnp.einsum("...k,lk->...l", apart, known.hidden)
    nearest = jnp.argmin(jnp.sum(left**2, axis=-1), axis=-1)
    along = jnp.take_along_axis(left, nearest[..., None, None], axis=-2)[..., 0, :]
    squares = jnp.einsum("...l,kl->...k", along, known.directions) ** 2
    whole = jnp.sum(squares, axis=-1, keepdims=True)
    return u[..., None] * jnp.where(whole > 0, squares / jnp.where(whole > 0, whole, 1), 0)


@jax.jit
def rests_on(mdp: MDP, known: Known, u, visits) -> Array:
    """The features that the exposure of some visits `[S, A]` rests on, which add up to it, `[K]`."""
    parts = by_feature(above(mdp, known.normal), known, u)
    if parts.ndim == 2:
        return jnp.matmul(jnp.sum(visits, axis=1), parts, precision=jax.lax.Precision.HIGHEST)
    return jnp.einsum("sa,sak->k", visits, parts, precision=jax.lax.Precision.HIGHEST)


@jax.jit
def unknown_of(mdp: MDP, known: Known, cut, sure=None) -> Array:
    """What is unknown about each visit, `[S]`, or `[S, A]` where features depend on the action or without a horizon."""
    whole = size_of(visits_apart(mdp.features, known.normal), known)  # [S, (A,) E]
    largest = jnp.max(jnp.where(_can_happen(mdp)[..., None], whole, 0), axis=tuple(range(whole.ndim - 1)))
    left = left_of(above(mdp, known.normal), known)
    share = counted_from(left, largest, known, cut)
    return share if sure is None else unless_good(share, worth_of(mdp, known), left, sure)


def as_features(mdp: MDP, u: Array) -> Array:
    """What is unknown about visits in the form that features have, `[S]` or `[S, A]`: of actions that differ the most.

    (Where features are those of states alone, actions differ only in the chance that all reward ends.)
    """
    if u.ndim < mdp.features.ndim:
        return u
    exist = jnp.ones(u.shape, bool) if mdp.available is None else mdp.available
    return jnp.max(u, axis=1, where=exist, initial=0)


@jax.jit
def share_unknown(every: Visits, known: Known, cut, sure=None) -> Array:
    """The share of each visit that is unknown where there is no table, `[V]`; all that are listed can happen."""

    def compared(rows):
        apart = visits_apart(rows, known.normal)
        worth = jnp.matmul(rows - known.reference[None], known.weights, precision=jax.lax.Precision.HIGHEST)
        return left_of(apart, known), size_of(apart, known), worth

    left, whole, worth = in_blocks(compared, every.features, rows_per_block(2 * known.normal.size))
    share = counted_from(left, jnp.max(whole, axis=0), known, cut)
    return share if sure is None else unless_good(share, worth, left, sure)


def visits_apart(features: Array, normal: Array) -> Array:
    """How far visits are from each normal one, `[..., E, K]`."""
    return features[..., None, :] - _lifted(normal, features.ndim + 1)


def left_of(apart: Array, known: Known) -> Array:
    """What remains of a distance where nothing was told, `[..., E]`."""
    return jnp.linalg.norm(jnp.einsum("...k,lk->...l", apart, known.hidden), axis=-1)


def size_of(apart: Array, known: Known) -> Array:
    """A distance in standard deviations of the prior, `[..., E]`."""
    return jnp.linalg.norm(in_prior_units(known.scale, apart), axis=-1)


def worth_of(mdp: MDP, known: Known) -> Array:
    """What visits are worth by what is known, above as many of a plan for nothing in particular, `[S]` or `[S, A]`."""
    gained = above(mdp, known.reference[None])[..., 0, :]
    return jnp.matmul(gained, known.weights, precision=jax.lax.Precision.HIGHEST)


def counted_from(left: Array, largest: Array, known: Known, cut) -> Array:
    """What is left of each visit as a share of the `largest`, 0 where that counts as nothing."""
    largest = _lifted(largest, left.ndim)
    share = jnp.min(jnp.where(largest > 0, left / jnp.where(largest > 0, largest, 1), 0), axis=-1)
    return jnp.where((share >= cut) & (share > known.untold), share, 0)


def unless_good(share: Array, worth: Array, left: Array, sure) -> Array:
    """The share of each visit that is unknown, 0 where it is worth more than what is hidden in it could undo."""
    return jnp.where(worth / sure > jnp.min(left, axis=-1), 0, share)


def _lifted(x: Array, rank: int) -> Array:
    """`x` with axes of length one in front."""
    return x.reshape((1,) * (rank - x.ndim) + x.shape)


def _can_happen(mdp: MDP) -> Array:
    """Which visits can happen: states that can be reached, `[S]`, and actions that exist there, `[S, A]`."""
    here = can_be_reached(mdp)
    if mdp.features.ndim == 2:
        return here
    exist = jnp.ones((mdp.num_states, mdp.num_actions), bool) if mdp.available is None else mdp.available
    return here[:, None] & exist
