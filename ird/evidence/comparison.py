"""Comparisons of trajectories: the tabular core of learning from human, or AI, feedback."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.blocks import in_blocks, rows_per_block
from ird.evidence.checks import Beta, check_beta_or_prior, check_candidates
from ird.evidence.feedback import features_of, same_length
from ird.evidence.fisher import Shown
from mdps import MDP
from mdps.checks import check_array, check_mdp, check_names, check_real, is_concrete
from mdps.pytrees import frozen_pytree, set_fields, with_fields

__all__ = ["Comparison"]
__dir__ = __all__.copy


@frozen_pytree
@dataclass(frozen=True, init=False, repr=False, eq=False)
class Comparison:
    """Which of two trajectories was preferred, for P pairs (Bradley & Terry 1952; Jeon et al. 2020).

        P(A over B | w) = σ(β w·Δφ + κ Δagree),    Δφ = φ_A - φ_B

    κ is a labeller's bias: what being agreed with is worth to them, in log-odds.  *Agreeing* is no
    feature of the reward.  A fit that leaves κ out loads the bias on whatever goes along with
    agreeing in the data; pairs whose view is flipped break that.  An unknown κ is one number for all
    pairs, summed out over a list of values.

    With `principles`, the labels come from a written list: the labeller looks at the features named
    there and at nothing else, so the weights of the others stay at their prior.

    Attributes:
        difference: Δφ of the preferred trajectory less the other, `[P, K]`.
        agrees: Δagree, how much more the preferred one agrees with the labeller's view, `[P]`.
        kappa: values that the bias may have, `[G]`, in log-odds.
        log_prior: log probability of each of them, `[G]`.
        beta: inverse temperature β of the labeller, in 1/return; a leaf.
        feature_names: one name per feature (static).

    Example:
        >>> seen = Comparison([[3.0, 1.0]], [[3.0, 0.0]], feature_names=("steps", "goal"))
        >>> round(float(jnp.exp(seen.log_likelihood(jnp.asarray([[-1.0, 2.0]]))[0])), 4)
        0.8808
    """

    difference: Float[Array, " P K"]
    agrees: Float[Array, " P"]
    kappa: Float[Array, " G"]
    log_prior: Float[Array, " G"]
    beta: Float[Array, ""]
    feature_names: tuple[str, ...] = field(metadata={"static": True})

    def __init__(
        self,
        preferred: Float[Array, " P K"] | np.ndarray | Sequence[Sequence[float]],
        other: Float[Array, " P K"] | np.ndarray | Sequence[Sequence[float]],
        *,
        beta: Beta = 1.0,
        agrees: Float[Array, " P"] | np.ndarray | Sequence[float] | None = None,
        kappa: float | Float[Array, " *G"] | np.ndarray | Sequence[float] = 0.0,
        principles: Sequence[str] | None = None,
        feature_names: Sequence[str] = (),
    ):
        """Check the pairs.

        Args:
            preferred: features of the preferred trajectory of each pair, `[P, K]` (`path_features`).
            other: features of the other, `[P, K]`.
            beta: inverse temperature of the labeller, in 1/return, or a distribution of it where it is unknown.
            agrees: how much more the preferred one agrees with the labeller's view, usually -1, 0
                or 1, `[P]`; None: not at all.
            kappa: the labeller's bias in log-odds; several values `[G]` are equally likely and summed out.
            principles: names of the features that the labeller's list mentions; None: all.
            feature_names: one name per feature; "feature 0", ... when left out.

        Raises:
            ValueError: for pairs of unequal shape, no pair, labels or features that are not finite,
                a bias without `agrees`, an unknown principle, or a β that is not positive and finite.
        """
        preferred, other = check_array("preferred", preferred), check_array("other", other)
        if preferred.ndim != 2 or preferred.shape != other.shape or 0 in preferred.shape:
            raise ValueError(
                f"preferred has shape {preferred.shape} and other {other.shape}; both must be [P, K], the features of "
                "P ≥ 1 pairs of trajectories."
            )
        names = check_names(feature_names, preferred.shape[1])
        beta = check_beta_or_prior(beta, preferred.dtype)
        bias = check_real("kappa", kappa)
        bias = check_array("kappa", bias.reshape(1) if bias.ndim == 0 else bias, dtype=preferred.dtype)
        if bias.ndim != 1 or bias.size == 0:
            raise ValueError(
                f"kappa has shape {bias.shape}; give one number, or the values it may have, [G] with G ≥ 1."
            )
        if agrees is None and is_concrete(bias) and np.any(np.asarray(bias) != 0):
            raise ValueError("kappa is not zero, but agrees is None; say how much each preferred trajectory agrees.")
        agree = jnp.zeros_like(preferred[:, 0]) if agrees is None else check_array("agrees", agrees)
        if agree.shape != preferred.shape[:1]:
            raise ValueError(f"agrees has shape {agree.shape}; give one number per pair, [{preferred.shape[0]}].")
        if principles is not None:
            listed = isinstance(principles, Iterable) and not isinstance(principles, str)
            principles = tuple(principles) if listed else principles
            if not listed or not principles:
                raise ValueError(
                    f"principles is {principles!r}; give the names of features that the list mentions, at least one: "
                    "by an empty list nothing is preferred."
                )
            unknown = [p for p in principles if p not in names]
            if unknown:
                raise ValueError(f"principles has {unknown[0]!r}, which is about no feature; the features are {names}.")
        difference = preferred - other
        if principles is not None:
            difference = difference * jnp.asarray([name in principles for name in names], difference.dtype)[None]
        log_prior = jnp.full(bias.shape, -np.log(bias.size), bias.dtype)
        agree = agree.astype(difference.dtype)
        set_fields(self, difference=difference, agrees=agree, kappa=bias, log_prior=log_prior, beta=beta)
        set_fields(self, feature_names=names)

    @classmethod
    def of_paths(cls, mdp: MDP, preferred, other, *, beta: Beta = 1.0) -> Self:
        """Compare two paths in an MDP, `states [T]` each.

        Raises:
            ValueError: for paths of unequal length, or an impossible move.
        """
        check_beta_or_prior(beta, check_mdp(mdp).features.dtype)
        preferred, other = same_length(preferred=preferred, other=other)
        features = features_of(mdp, preferred=preferred, other=other)
        return cls(features[:1], features[1:], beta=beta, feature_names=mdp.feature_names)

    def log_likelihood(self, weights: Float[Array, " N K"]) -> Float[Array, " N"]:
        """Log probability of all labels under each candidate w, `[N, K] -> [N]`."""
        weights = check_candidates(weights, self.feature_names, self.difference.dtype)
        biased = self.kappa[:, None] * self.agrees[None]  # [G, P]

        def block(rows):
            logits = self.beta * jnp.matmul(rows, self.difference.T, precision=jax.lax.Precision.HIGHEST)
            each = jnp.sum(jax.nn.log_sigmoid(logits[:, None] + biased[None]), axis=2)  # [n, G]
            return jax.scipy.special.logsumexp(each + self.log_prior[None], axis=1)

        return in_blocks(block, weights, rows_per_block(biased.size, least=1))

    def replace(self, *, beta: Beta) -> Self:
        """The same labels from a labeller of another β."""
        return with_fields(self, beta=check_beta_or_prior(beta, self.beta.dtype))

    def information(self, mean: Float[Array, " K"]) -> Float[Array, " K K"]:
        """β²/4 Σ Δφ Δφᵀ, `[K, K]` (`ird.evidence.fisher`), less what an unknown κ takes of it (Schur complement)."""
        labels = jnp.concatenate([self.beta * self.difference, self.agrees[:, None]], axis=1) / 2
        both = jnp.matmul(labels.T, labels, precision=jax.lax.Precision.HIGHEST)
        if self.kappa.size == 1:
            return both[:-1, :-1]
        bias = both[-1, -1]
        return both[:-1, :-1] - jnp.outer(both[:-1, -1], both[-1, :-1]) / jnp.where(bias > 0, bias, 1)

    def shown(self) -> Shown | None:
        """No behaviour: a comparison tells what is better, not what is normal."""
        return None

    @property
    def feature_covariance(self) -> Float[Array, " K K"]:
        """Mean of Δφ Δφᵀ / 4, `[K, K]`; along its null space no label says anything."""
        return self.difference.T @ self.difference / (4 * self.difference.shape[0])

    def __repr__(self) -> str:
        return f"Comparison(pairs={jnp.shape(self.difference)[0]}, beta={self.beta}, kappa={self.kappa})"
