"""What evidence adds up to: the log-likelihood of all of it, with another β, and of what JAX cannot take apart."""

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.blocks import ROWS, in_blocks
from ird.evidence import Evidence
from ird.evidence.checks import UnknownBeta
from mdps.checks import is_concrete, shown

__all__ = [
    "Opaque",
    "as_pytrees",
    "betas_of",
    "check_finite_likelihood",
    "log_likelihood",
    "log_likelihood_of_each",
    "names_of_unknown",
    "opened",
    "settled",
    "shared_names",
    "sum_of_covariances",
    "with_beta",
]
__dir__ = __all__.copy


@jax.tree_util.register_static
@dataclass(frozen=True, eq=False)
class Opaque:
    """Evidence, or a prior, that JAX does not know how to take apart: held whole, compared by identity."""

    held: Any


def as_pytrees(evidence: Sequence[Evidence]) -> tuple[Evidence | Opaque, ...]:
    """Evidence that may be an argument of a compiled function."""
    arrays = (jax.Array, np.ndarray, np.generic, int, float)
    whole = [all(isinstance(leaf, arrays) for leaf in jax.tree.leaves(e)) for e in evidence]
    return tuple(e if known else Opaque(e) for e, known in zip(evidence, whole, strict=True))


def opened(evidence: Sequence[Evidence | Opaque]) -> tuple[Evidence, ...]:
    """The evidence that went through `as_pytrees`."""
    return tuple(e.held if isinstance(e, Opaque) else e for e in evidence)


def shared_names(evidence: Sequence[Evidence]) -> tuple[str, ...]:
    """The features that all evidence is about, checked to be the same.

    Raises:
        ValueError: for something that is no evidence, or evidence about other features.
    """
    for i, e in enumerate(evidence):
        if isinstance(e, type) or not callable(getattr(e, "log_likelihood", None)):
            raise ValueError(
                f"evidence {i} is {shown(e)}, which has no log_likelihood(weights); pass evidence such as a "
                "ProxyReward first, and the rest by name (candidates=, prior=)."
            )
    names = [tuple(e.feature_names) for e in evidence]
    for i, other in enumerate(names[1:], 1):
        if other != names[0]:
            raise ValueError(
                f"evidence {i} is about the features {other}, evidence 0 about {names[0]}; one posterior has one set "
                "of features in one order: build the maps with the same legend."
            )
    return names[0] if names else ()


def log_likelihood(evidence: Sequence[Evidence], weights: Float[Array, " N K"]) -> Float[Array, " N"]:
    """Log-likelihood of all evidence under each candidate: independent evidence adds, `[N, K] -> [N]`."""
    if not evidence:
        return jnp.zeros(weights.shape[0], weights.dtype)
    return functools.reduce(operator.add, [e.log_likelihood(weights) for e in evidence])


def with_beta(evidence: Sequence[Evidence], beta: Float[Array, " *E"]) -> tuple[Any, ...]:
    """The evidence from people of another β: one for all, `[]`, or one for each piece, `[E]`."""
    each = jnp.broadcast_to(beta, (len(evidence),))
    return tuple(e.replace(beta=each[i]) for i, e in enumerate(evidence))  # pyright: ignore[reportAttributeAccessIssue]


def names_of_unknown(evidence: Sequence[Evidence]) -> tuple[str | None, ...]:
    """The name of each piece's unknown β, after its kind (and its number, of several of a kind); None: it is known."""
    kinds = [type(e).__name__ if isinstance(getattr(e, "beta", None), UnknownBeta) else None for e in evidence]
    return tuple(
        None if kind is None else f"beta of {kind}" + (f" {i}" if kinds.count(kind) > 1 else "")
        for i, kind in enumerate(kinds)
    )


def settled(evidence: Sequence[Evidence], parameters: dict[str, Array]) -> tuple[Any, ...]:
    """The evidence with each β that is unknown taken from `parameters`: "beta" for all, or each by its name."""
    if "beta" in parameters:
        return with_beta(evidence, parameters["beta"])
    named = zip(evidence, names_of_unknown(evidence), strict=True)
    return tuple(e if name is None else e.replace(beta=parameters[name]) for e, name in named)  # pyright: ignore[reportAttributeAccessIssue]


def betas_of(evidence: Sequence[Evidence], parameters: dict[str, Array], shared: bool) -> dict[str, Array]:
    """Of all parameters, those that are a β of this evidence; `shared`: one of that name was asked for."""
    names = ("beta",) if shared else names_of_unknown(evidence)
    return {name: parameters[name] for name in names if name is not None}


def log_likelihood_of_each(evidence: Sequence[Evidence], weights, betas: dict[str, Array]) -> Float[Array, " N"]:
    """As `log_likelihood`, where each candidate may come with a β of its own (`betas_of`), `[N]` or `[N, E]`."""
    return _of_each(as_pytrees(evidence), weights, betas) if betas else log_likelihood(evidence, weights)


@jax.jit
def _of_each(evidence, weights, betas):
    def one(w, b):
        return log_likelihood(settled(opened(evidence), b), w[None])[0]

    return in_blocks(lambda rows: jax.vmap(one)(*rows), (weights, betas), ROWS)


def sum_of_covariances(evidence: Sequence[Evidence]) -> Array | None:
    """Feature covariances summed; None if there is no evidence, or some has none."""
    total = None
    for e in evidence:
        covariance = getattr(e, "feature_covariance", None)
        if covariance is None:
            return None
        total = covariance if total is None else total + covariance
    return total


def check_finite_likelihood(log_weights: Array) -> None:
    """Raise if no sample has a log-likelihood that is a number, once the values are known."""
    if is_concrete(log_weights) and np.isnan(np.asarray(log_weights)).any():
        raise ValueError(
            "the log-likelihood is not finite for any sample, or is NaN for some; look at evidence.log_likelihood(...) "
            "and at the size of β · weights · feature expectations."
        )
