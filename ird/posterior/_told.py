"""What the evidence of a posterior was able to tell, kept with it: what careful plans stand on."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ird.evidence import Evidence
from ird.evidence.fisher import told
from ird.likelihood import as_pytrees, names_of_unknown, opened
from ird.posterior._posterior import Posterior
from ird.priors import covariance_of_prior
from mdps.pytrees import with_fields


def telling(
    belief: Posterior, evidence: Sequence[Evidence], betas: dict[str, Array] | None = None, *, prior: Any = None
) -> Posterior:
    """The posterior, with what its evidence was able to tell (`ird.evidence.fisher`), and how its prior goes together.

    `betas` are samples of unknown β; `prior` may be anything that a sampler takes.
    """
    kept = _told(as_pytrees(evidence), belief.weights, belief.log_weights, betas or {})
    together = covariance_of_prior(prior)
    together = None if together is None else together.astype(belief.weights.dtype)
    return with_fields(belief, told=kept, prior_covariance=together)


@jax.jit
def _told(evidence, weights, log_weights, betas) -> dict[str, Array]:
    p, evidence = jnp.exp(log_weights), opened(evidence)
    mean = jnp.matmul(p, weights, precision=jax.lax.Precision.HIGHEST)
    if "beta" in betas:
        squares = jnp.broadcast_to(jnp.matmul(p, betas["beta"] ** 2), (len(evidence),))
        return told(evidence, mean, tuple(squares[i] for i in range(len(evidence))))
    names = names_of_unknown(evidence)
    return told(evidence, mean, tuple(None if name is None else p @ betas[name] ** 2 for name in names))
