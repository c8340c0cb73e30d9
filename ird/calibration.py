"""Simulation-based calibration: are posteriors as wide as they should be, judged by truths that were drawn?

Draw a truth from the prior, evidence from the truth, and a posterior from the evidence.  If the posterior
is right, the truth is one more draw from it, so its rank among the draws is uniform (Cook, Gelman & Rubin
2006; Talts et al. 2018).  `ird.designer` draws truths and the evidence for them.
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from ird.evidence import Evidence
from ird.likelihood import log_likelihood, shared_names
from mdps.checks import check_array, check_count, check_key, check_number, check_real

__all__ = ["Band", "band", "ecdf", "p_value", "ranks", "reward_ranks"]
__dir__ = __all__.copy


def ranks(truth: Float[Array, " *Q"], draws: Float[Array, " L *Q"], *, key: Key[Array, ""]) -> Int[Array, " *Q"]:
    """How many of the draws lie below the truth; of those that equal it, a number drawn at random.

        rank = #{l : x_l < x} + U{0, ..., #{l : x_l = x}}        in 0..L

    With ties broken at random the rank is uniform on 0..L for discrete posteriors too.

    Args:
        truth: the true value of some quantities, `[*Q]`.
        draws: independent draws of them from the posterior, `[L, *Q]`; thin a chain first.
        key: a `jax.random.key`.

    Raises:
        ValueError: for draws of another shape, or something that is no key.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> ranks(jnp.array([0.5, 9.0]), jnp.array([[0.1, 1.0], [0.7, 2.0]]), key=jax.random.key(0)).tolist()
        [1, 2]
    """
    check_key(key)
    truth, draws = check_array("truth", truth), check_array("draws", draws)
    if draws.ndim < 1 or draws.shape[0] < 1 or draws.shape[1:] != truth.shape:
        raise ValueError(
            f"draws has shape {draws.shape} and truth {truth.shape}; give draws [L, ...] of the same quantities."
        )
    below = jnp.sum(draws < truth[None], axis=0)
    equal = jnp.sum(draws == truth[None], axis=0)
    return (below + jax.random.randint(key, truth.shape, 0, equal + 1)).astype(jnp.int32)


def reward_ranks(
    meant: Float[Array, " K"], draws: Float[Array, " L K"], *evidence: Evidence, key: Key[Array, ""]
) -> Int[Array, " K+1"]:
    """Ranks of each true weight, and last that of the log-likelihood of the evidence, `[K + 1]`.

    The log-likelihood is what reveals a posterior that ignores the evidence: ranks of weights alone are
    uniform for the prior as well (Modrák et al. 2025).

    Args:
        meant: the true reward w, `[K]`.
        draws: independent draws from the posterior, `[L, K]`; thin a chain first.
        *evidence: what the posterior was made from.
        key: a `jax.random.key`.

    Raises:
        ValueError: for draws of other weights, or something that is no key.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from ird.evidence import Choice
        >>> seen = Choice([[1.0, 0.0], [0.0, 1.0]], 0, feature_names=("tea", "coffee"))
        >>> draws = jnp.array([[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]])
        >>> reward_ranks(jnp.array([0.7, 0.2]), draws, seen, key=jax.random.key(0)).tolist()
        [2, 1, 3]
    """
    check_key(key)
    shared_names(evidence)
    meant, draws = check_array("meant", meant), check_array("draws", draws)
    if draws.ndim != 2 or draws.shape[0] < 1 or draws.shape[1:] != meant.shape:
        raise ValueError(
            f"draws has shape {draws.shape} and meant, the true reward, {meant.shape}; give draws [L, K] of the "
            "same weights."
        )
    together = jnp.concatenate([meant[None].astype(draws.dtype), draws])  # equal rewards: equal log-likelihoods
    values = jnp.concatenate([together, log_likelihood(evidence, together)[:, None]], axis=1)
    return ranks(values[0], values[1:], key=key)


@dataclass(frozen=True)
class Band:
    """Where the empirical distribution function of uniform ranks stays, all of it at once.

    Attributes:
        lower: least share of ranks at most 0, 1, ..., L, `[L + 1]`.
        upper: largest share, `[L + 1]`.
        level: probability that uniform ranks stay within; at least what was asked for.
    """

    lower: np.ndarray
    upper: np.ndarray
    level: float

    def contains(self, ranks: Int[Array, " n"] | np.ndarray) -> bool:
        """Whether the ranks' empirical distribution function stays within."""
        share = ecdf(ranks, len(self.lower) - 1)
        return bool(((self.lower - 1e-12 <= share) & (share <= self.upper + 1e-12)).all())


def ecdf(ranks: Int[Array, " n"] | np.ndarray, num_draws: int) -> np.ndarray:
    """Share of the ranks at most 0, 1, ..., L, `[L + 1]`; on the host.

    Args:
        ranks: one rank in 0..L for each simulation, `[n]`.
        num_draws: L.

    Raises:
        ValueError: for no ranks, or a rank outside 0..L.
    """
    num_draws = check_count("num_draws", num_draws)
    check_real("ranks", ranks)
    ranks = np.asarray(ranks)
    if ranks.ndim != 1 or ranks.size == 0 or ranks.dtype.kind not in "iu":
        raise ValueError(f"ranks is an array of {ranks.dtype} with shape {ranks.shape}; give one whole number each.")
    if ranks.min() < 0 or ranks.max() > num_draws:
        raise ValueError(
            f"ranks lie in {ranks.min()}..{ranks.max()}; among {num_draws} draws a rank is one of 0..{num_draws}."
        )
    return np.cumsum(np.bincount(ranks, minlength=num_draws + 1)) / ranks.size


def band(num_ranks: int, num_draws: int, *, level: float = 0.95) -> Band:
    """The simultaneous band of the empirical distribution function of uniform ranks (Säilynoja et al. 2022).

    At each point the band is the central interval of a binomial distribution, of one probability at all
    points: the least for which the whole function stays within with probability `level`.  That is
    computed exactly, by a recursion over the points; nothing is simulated.

    Args:
        num_ranks: how many ranks there are, n: one for each simulation.
        num_draws: draws per posterior, L; a rank lies in 0..L.
        level: probability that uniform ranks stay within.

    Raises:
        ValueError: for counts that are not positive, or a level outside (0, 1).

    Example:
        >>> found = band(500, 99)
        >>> [round(100 * float(x[49]), 1) for x in (found.lower, found.upper)]
        [43.4, 56.6]
    """
    check_count("num_ranks", num_ranks)
    check_count("num_draws", num_draws)
    check_number("level", level, lambda x: 0 < x < 1, "it must lie strictly between 0 and 1.")
    level = float(level)
    tails = _tails(num_ranks, num_draws)
    low, high = 0.0, 1.0  # at `low` the band is wide enough
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _coverage(tails > middle) >= level else (low, middle)
    inside = tails > low
    first, last = inside.argmax(axis=1), num_ranks - inside[:, ::-1].argmax(axis=1)
    lower, upper = (np.append(x, num_ranks) / num_ranks for x in (first, last))
    return Band(lower, upper, _coverage(inside))


def p_value(ranks: Int[Array, " n"] | np.ndarray, num_draws: int) -> float:
    """Probability that uniform ranks stray as far: that they leave the widest band that these ranks leave.

    Exact for every number of ranks and draws, in the sense that uniform ranks give a value of at most p
    with probability at most p.

    Args:
        ranks: one rank in 0..L for each simulation, `[n]`.
        num_draws: L.

    Raises:
        ValueError: for no ranks, or a rank outside 0..L.

    Example:
        >>> import numpy as np
        >>> p_value(np.arange(100), 99) > 0.99, p_value(np.arange(100) // 2, 99) < 1e-9
        (True, True)
    """
    share = ecdf(ranks, num_draws)
    n = np.asarray(ranks).size
    tails = _tails(n, num_draws)
    counts = np.rint(share[:-1] * n).astype(int)
    least = tails[np.arange(num_draws), counts].min()
    return float(np.clip(1 - _coverage(tails > least * (1 + 1e-9)), 0, 1))


@functools.lru_cache(maxsize=8)
def _tails(n: int, num_draws: int) -> np.ndarray:
    """Twice the smaller tail of each count of ranks at most 0, ..., L - 1, `[L, n + 1]`."""
    z = (np.arange(num_draws)[:, None] + 1) / (num_draws + 1)
    c, log = np.arange(n + 1)[None], _log_factorials(n)
    pmf = np.exp(log[n] - log[c] - log[n - c] + c * np.log(z) + (n - c) * np.log1p(-z))
    at_most = np.cumsum(pmf, axis=1)
    at_least = np.cumsum(pmf[:, ::-1], axis=1)[:, ::-1]
    return 2 * np.minimum(at_most, at_least)


def _coverage(inside: np.ndarray) -> float:
    """Probability that the counts of n uniform ranks are among the allowed ones at every point, `[L, n + 1]`.

    The counts are a Markov chain: given c ranks at most i - 1, each of the other n - c equals i with
    probability 1 / (L + 1 - i).
    """
    (L, n), log = (inside.shape[0], inside.shape[1] - 1), _log_factorials(inside.shape[1] - 1)
    before, probability = np.array([0]), np.array([1.0])
    for i in range(L):
        now, q = np.flatnonzero(inside[i]), 1 / (L + 1 - i)
        if now.size == 0:
            return 0.0
        c, d = before[:, None], now[None]
        step = np.maximum(d - c, 0)
        chance = log[n - c] - log[step] - log[n - d] + step * np.log(q) + (n - d) * np.log1p(-q)
        probability = probability @ np.where(d >= c, np.exp(np.minimum(chance, 0.0)), 0.0)
        before = now
    return float(probability.sum())


@functools.lru_cache(maxsize=8)
def _log_factorials(n: int) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
