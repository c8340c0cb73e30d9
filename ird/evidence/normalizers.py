"""Normalizers of a proxy's likelihood, and the streamed log-sum-exp behind them."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import sequential_vmap
from jaxtyping import Array, Float

from ird.evidence.boltzmann import accuracy
from ird.evidence.protocol import Normalizer
from mdps import MDP, solve
from mdps.checks import check_sums, is_concrete
from mdps.optimal_features import Optimum, optimum
from mdps.pytrees import frozen_pytree

# Entries of one block of N × M: small enough for a processor's cache,
# large enough to keep an accelerator busy.
_BLOCK_ON_HOST, _BLOCK_ON_DEVICE = 2**20, 2**26


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
        plans = plan(*jax.lax.stop_gradient((self.mdp, weights, beta)))
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


def merge_equal(features: Float[Array, " M K"]) -> tuple[Float[Array, " U K"], Float[Array, " U"]]:
    """Merge rows that are equal within rounding; returns the first of each `[U, K]` and how many `[U]`.

    Rows are compared on a grid of 64 ulps of the largest entry.  Two equal rows that fall on either
    side of a grid line stay apart, which changes no sum.  Traced rows all stay, each counted once.
    """
    if not is_concrete(features):
        return features, jnp.ones(features.shape[0], features.dtype)
    held = np.asarray(features)
    step = 64 * float(np.finfo(held.dtype).eps) * max(float(np.abs(held).max()), np.finfo(np.float32).tiny)
    cells = np.rint(held.astype(np.float64) / step).astype(np.int64)
    # Rows are told apart by a random sum of their cells (modulo 2^64): a sort of numbers, not of rows.
    _, first, of, counts = np.unique(
        cells @ _multipliers(cells.shape[1]), return_index=True, return_inverse=True, return_counts=True
    )
    if (cells != cells[first[of]]).any():  # two rows of one sum: not in our lifetime, but it costs little to look
        _, first, counts = np.unique(cells, axis=0, return_index=True, return_counts=True)
    order = np.argsort(first)
    return jax.device_put((held[first[order]], counts[order].astype(held.dtype)))


@functools.cache
def _multipliers(K: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-(2**63), 2**63, K)


def in_blocks(function, rows: Array, size: int):
    """`function` over blocks of `size` rows, one after another, so that only one block's work is in memory."""
    N = rows.shape[0]
    size = max(1, min(size, N))
    if size == N:
        return function(rows)
    whole = N - N % size
    out = jax.lax.map(function, rows[:whole].reshape(-1, size, *rows.shape[1:]))
    out = jax.tree.map(lambda x: x.reshape(whole, *x.shape[2:]), out)
    if whole == N:
        return out
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), out, function(rows[whole:]))


@jax.jit
def plan_features(mdp: MDP, weights: Float[Array, " M K"]) -> Float[Array, " M K"]:
    """Feature expectations of the plan for each row of weights, in the MDP, `[M, K]`."""
    check_sums(mdp)
    return jax.vmap(lambda w: optimum(mdp, w).features)(weights)


@jax.jit
def plan(mdp: MDP, weights: Float[Array, " M K"], beta: Float[Array, ""]) -> Optimum:
    """The optimum for each row of weights, as accurate as people of this β make it matter."""
    tol = accuracy(jnp.result_type(weights, mdp.features), beta)
    return jax.vmap(lambda w: optimum(mdp, w, tol=tol))(weights)


@jax.jit
def covariance(features: Float[Array, " M K"], counts: Float[Array, " M"]) -> Float[Array, " K K"]:
    """Covariance of rows that are counted, `[K, K]`."""
    share = (counts / jnp.sum(counts))[:, None]
    centred = features - features[:1]
    centred = centred - jnp.sum(share * centred, axis=0, keepdims=True)
    return jnp.matmul((share * centred).T, centred, precision=jax.lax.Precision.HIGHEST)


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


def stream(function, weights: Float[Array, " N K"], table: Float[Array, " M K"], *more: Array) -> Float[Array, " N"]:
    """`function(rows, table, *more)` over blocks of rows of `weights`, each of which meets every row of the table.

    On a processor the problems of a `vmap` pass one after another too: side by side their blocks would leave its
    caches, and memory would grow with the batch.
    """

    def plain(weights, table, *more):
        return in_blocks(lambda rows: function(rows, table, *more), weights, rows_per_block(table.shape[0]))

    if jax.default_backend() != "cpu":
        return plain(weights, table, *more)
    in_turn = jax.custom_jvp(sequential_vmap(plain))

    @in_turn.defjvp
    def _(primals, tangents):
        return in_turn(*primals), jax.jvp(plain, primals, tangents)[1]

    return in_turn(weights, table, *more)


def rows_per_block(M: int) -> int:
    """How many candidates pass at once before `M` proxies."""
    entries = _BLOCK_ON_HOST if jax.default_backend() == "cpu" else _BLOCK_ON_DEVICE
    return max(entries // M, 8)
