"""What the evidence of a posterior was able to tell, kept with it: what careful plans stand on."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ird.evidence import Evidence
from ird.evidence.fisher import told
from ird.likelihood import as_pytrees, opened
from ird.posterior._posterior import Posterior
from mdps.pytrees import with_fields


def telling(belief: Posterior, evidence: Sequence[Evidence], *, unknown_beta: bool = False) -> Posterior:
    """The posterior, with what its evidence was able to tell (`ird.evidence.fisher`)."""
    beta = belief.parameters["beta"] if unknown_beta else None
    return with_fields(belief, told=_told(as_pytrees(evidence), belief.weights, belief.log_weights, beta))


@jax.jit
def _told(evidence, weights, log_weights, beta) -> dict[str, Array]:
    p = jnp.exp(log_weights)
    mean = jnp.matmul(p, weights, precision=jax.lax.Precision.HIGHEST)
    return told(opened(evidence), mean, None if beta is None else jnp.matmul(p, beta**2))
