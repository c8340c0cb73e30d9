"""Normalizers of a proxy's likelihood, and the streamed log-sum-exp behind them."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ird.blocks import stream
from ird.evidence.boltzmann import accuracy
from ird.evidence.plans import plan_for
from ird.evidence.protocol import Normalizer
from mdps import MDP, solve
from mdps.pytrees import frozen_pytree

__all__ = [
    "MaxOverProxies",
    "SoftValue",
    "SumOverProxies",
    "SumWithCandidate",
    "log_sum",
    "log_sum_exp",
    "log_sum_with_doubt",
]
__dir__ = __all__.copy


@frozen_pytree
@dataclass(frozen=True)
class SumOverProxies:
    """Z̃(w) = Σ_j n_j exp(β w·φ_j), over a finite set of proxies (references A, normalizers 1 and 2).

    Attributes:
        features: feature expectations φ_j of the plan for each proxy, `[M, K]`.
        counts: how many proxies share that plan, n_j, `[M]`.
    """

    features: Float[Array, " M K"]
    counts: Float[Array, " M"]

    def log_sum(
        self, weights: Float[Array, " N K"], beta: Float[Array, ""], origin: Float[Array, " K"]
    ) -> Float[Array, " N"]:
        """Log Σ_j n_j exp(β w·(φ_j - origin)), streamed over blocks of rows of `weights`."""
        return log_sum_exp(beta * (self.features - origin[None]), jnp.log(self.counts), weights)


@frozen_pytree
@dataclass(frozen=True)
class SumWithCandidate:
    """Sample-Z with the candidate's own term: Z̃(w) + exp(β w·φ̃(w)), one more plan per candidate.

    Attributes:
        proxies: the sum over sampled proxies.
        mdp: the training MDP, in which the candidate itself is planned for.
    """

    proxies: SumOverProxies
    mdp: MDP

    def log_sum(
        self, weights: Float[Array, " N K"], beta: Float[Array, ""], origin: Float[Array, " K"]
    ) -> Float[Array, " N"]:
        """Log of the sum over proxies plus exp(β (V*(w) - w·origin))."""
        return self.log_sum_with_doubt(weights, beta, origin)[0]

    def log_sum_with_doubt(self, weights, beta, origin) -> tuple[Array, Array]:
        """The same, and β times what the candidates' own values may be off by, `[N]` each."""
        # The derivative of the best return is its features (the envelope theorem): plans themselves need none.
        plans = plan_for(*jax.lax.stop_gradient((self.mdp, weights, beta)))
        own = jnp.sum(weights * (plans.features - origin[None]), axis=1)
        log_sum = self.proxies.log_sum(weights, beta, origin)
        share = jax.lax.stop_gradient(jax.nn.sigmoid(beta * own - log_sum))
        return jnp.logaddexp(log_sum, beta * own), share * jax.lax.stop_gradient(beta) * plans.error_bound


@frozen_pytree
@dataclass(frozen=True)
class MaxOverProxies:
    """Max-Z: log Z̃(w) = max_j β w·φ_j, the sum's largest term alone (references A, normalizer 4).

    Attributes:
        proxies: the proxies and their plans; how many share a plan does not matter here.
    """

    proxies: SumOverProxies

    def log_sum(
        self, weights: Float[Array, " N K"], beta: Float[Array, ""], origin: Float[Array, " K"]
    ) -> Float[Array, " N"]:
        """Max_j β w·(φ_j - origin), over blocks of rows of `weights`."""
        scaled = beta * (self.proxies.features - origin[None])

        def block(rows, scaled):
            # By its place: the derivative of a maximum compares numbers that a compiler may compute twice.
            fixed = jax.lax.stop_gradient((scaled, rows))
            largest = jnp.argmax(jnp.matmul(fixed[0], fixed[1].T, precision=jax.lax.Precision.HIGHEST), axis=0)
            return jnp.sum(scaled[largest] * rows, axis=1)

        return stream(block, weights, scaled)


@frozen_pytree
@dataclass(frozen=True)
class SoftValue:
    """MaxEnt-Z: log Z̃(w) = β E_{s₀}[V_soft(s₀; w)], causal entropy at temperature 1 (references A, normalizer 3).

    It reads the proxy's plan as β demonstrations of a soft-optimal planner.  No set of proxies is
    needed, one soft planning problem per candidate is.  The entropy of paths does not scale with `w`,
    so the scale of `w` matters by itself, not only in the product β·w.

    Attributes:
        mdp: the training MDP.
    """

    mdp: MDP

    def log_sum(
        self, weights: Float[Array, " N K"], beta: Float[Array, ""], origin: Float[Array, " K"]
    ) -> Float[Array, " N"]:
        """β (E_{s₀}[V_soft(s₀; w)] - w·origin): one soft planning problem per row of `weights`."""
        return self.log_sum_with_doubt(weights, beta, origin)[0]

    def log_sum_with_doubt(self, weights, beta, origin) -> tuple[Array, Array]:
        """The same, and β times what the values may be off by, `[N]` each."""
        tol = jax.lax.stop_gradient(accuracy(jnp.result_type(weights, self.mdp.features), beta))

        def value(w):
            solution = solve(self.mdp, self.mdp.reward(w), temperature=1.0, tol=tol)
            return jnp.sum(self.mdp.initial * solution.value), solution.error_bound

        values, bounds = jax.vmap(value)(weights)
        at_origin = jnp.matmul(weights, origin, precision=jax.lax.Precision.HIGHEST)
        return beta * (values - at_origin), jax.lax.stop_gradient(beta * bounds)


@jax.jit
def log_sum(normalizer: Normalizer, weights, beta, origin) -> Array:
    """`normalizer.log_sum`, compiled once per shape."""
    return normalizer.log_sum(weights, beta, origin)


@jax.jit
def log_sum_with_doubt(normalizer: SumWithCandidate | SoftValue, weights, beta, origin) -> tuple[Array, Array]:
    """`normalizer.log_sum_with_doubt`, compiled once per shape."""
    return normalizer.log_sum_with_doubt(weights, beta, origin)


def log_sum_exp(scaled: Float[Array, " M K"], log_counts: Float[Array, " M"], weights: Float[Array, " N K"]):
    """Log Σ_j exp(scaled_j · w + log_counts_j) for each row w; N × M is never held in full.

    The block is `[M, rows]` so that sums run over the leading axis, which vectorises; derivatives
    recompute their block.
    """

    @jax.checkpoint
    def block(rows, scaled, log_counts):
        logits = jnp.matmul(scaled, rows.T, precision=jax.lax.Precision.HIGHEST) + log_counts[:, None]
        largest = jax.lax.stop_gradient(jnp.max(logits, axis=0))
        return largest + jnp.log(jnp.sum(jnp.exp(logits - largest[None]), axis=0))

    return stream(block, weights, scaled, log_counts)
