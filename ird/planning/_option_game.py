"""The best mixture of listed options under a risk measure: the game of `plan`, with a list where that has a solver."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.planning._matrix_game import equilibrium
from ird.planning._per_trajectory import MAX_STEPS, ROUNDS, worst_tilt
from ird.planning._risk_plan import rounding_of_sums
from ird.risk import Risk


class Table(NamedTuple):
    """What a risk measure looks at; L = K + 2, returns are samples @ (φ, 1, 1).

    Attributes:
        risk: the measure.
        samples: weights, less the offset, and 0, in the units given, `[N, L]`.
        log_weights: their log probabilities, `[N]`.
        rows: (φ, 1, 1) of each option, `[P, L]`, with features measured from the mean option's.
        off: what rounding may make of each option's return, `[P]`.
    """

    risk: Risk
    samples: Float[Array, " N L"]
    log_weights: Float[Array, " N"]
    rows: Float[Array, " P L"]
    off: Float[Array, " P"]


class Mixed(NamedTuple):
    """A mixture of options, and how good it is."""

    shares: Float[Array, " P"]
    objective: Float[Array, ""]
    bound: Float[Array, ""]
    steps: Array


class _Game(NamedTuple):
    """The game so far: some options against some answers of the adversary, as in `plan`."""

    table: Array  # [2, n, L] (φ, 1, 1) of the options, (w, h, 1) of the adversary's answers
    used: Array  # [2, n] which rows hold one
    mixture: Array  # [2, n] the equilibrium of these
    reward: Array  # [L] the adversary's mixture of its answers
    held: Array  # [n] which option each row is
    best: Array  # [P] the mixture of options that attains the most
    lower: Array  # what that attains
    upper: Array  # what nothing exceeds
    floor: Array  # the part of the gap that is rounding
    stalled: Array  # steps since the gap last shrank noticeably
    steps: Array


def tabled(risk: Risk, samples, log_weights, collected) -> Table:
    """The table of a risk measure over options that collect `[P, K]`; `samples` are measured from their mean."""
    home = jnp.mean(collected, axis=0)
    rows = jnp.concatenate([collected - home[None], jnp.ones((len(collected), 2), collected.dtype)], axis=1)
    size = jnp.abs(rows) @ jnp.max(jnp.abs(samples), axis=0)
    return Table(risk, samples, log_weights, rows, rounding_of_sums(rows.dtype, *np.shape(samples)) * size)


def best_mixture(given: Table, tol) -> Mixed:
    """The mixture of the best risk-adjusted return, and a bound on that of all."""
    P, L = given.rows.shape

    def unfinished(s: _Game):
        enough = jnp.maximum(0.95 * tol * jnp.maximum(1, jnp.abs(s.lower)) - s.floor / 2, 1.1 * s.floor)
        hopeless = jnp.isnan(s.upper) | (s.stalled >= 12 + L)
        return (s.steps < 1) | (~(s.upper - s.lower <= enough) & (s.steps < MAX_STEPS) & ~hopeless)

    n, dtype = max(64, 8 * L), given.rows.dtype
    first = np.zeros((2, n), bool)
    first[1, 0] = True
    p = jnp.exp(given.log_weights)
    mean = (p / jnp.sum(p)) @ given.samples + (np.arange(L) == L - 1)  # every measure lies below the mean
    inf, none = jnp.asarray(jnp.inf, dtype), jnp.zeros((), jnp.int32)
    start = _Game(
        table=jnp.where(first[..., None], mean[None, None], 0),
        used=jnp.asarray(first),
        mixture=jnp.asarray(first, dtype),
        reward=mean,
        held=jnp.zeros(n, jnp.int32),
        best=jnp.zeros(P, dtype),
        lower=-inf,
        upper=inf,
        floor=jnp.zeros((), dtype),
        stalled=none,
        steps=none,
    )
    found = jax.lax.while_loop(unfinished, functools.partial(_turn, given), start)
    shares = jnp.where(found.best < 1e-4 * tol, 0, found.best)
    whole = jnp.sum(shares)
    shares = shares / jnp.where(whole > 0, whole, 1)
    objective = worst_tilt(*given[:3], shares @ given.rows)[1] - 2 * (shares @ given.off)
    known = jnp.isfinite(objective) & jnp.isfinite(found.upper)
    return Mixed(shares, objective, jnp.where(known, jnp.maximum(found.upper, objective), jnp.inf), found.steps)


def _turn(given: Table, s: _Game) -> _Game:
    """The best option against the adversary's mixture, and a few answers of the adversary to the options so far."""
    worth = given.rows[:, :-1] @ s.reward[:-1]
    option = jnp.argmax(worth)
    upper = jnp.max(worth + given.off)
    s = s._replace(floor=jnp.where(upper < s.upper, 4 * given.off[option], s.floor), upper=jnp.minimum(upper, s.upper))
    now = _placed(s, 0, given.rows[option], option)
    now = jax.lax.fori_loop(0, ROUNDS, lambda _, s: _answered(given, s), now)
    shrunk = now.upper - now.lower < 0.99 * (s.upper - s.lower)
    return now._replace(stalled=jnp.where(shrunk & (s.steps > 0), 0, s.stalled + 1), steps=s.steps + 1)


def _answered(given: Table, s: _Game) -> _Game:
    """One more answer of the adversary, to the equilibrium so far, and what that attains."""
    mixture = equilibrium(s.table, s.used, 0.05 * (s.upper - s.lower))
    features, reward = jnp.einsum("pn,pnl->pl", mixture, s.table)
    cut, value = worst_tilt(*given[:3], features)
    better = value > s.lower
    best = jnp.where(better, jnp.zeros_like(s.best).at[s.held].add(mixture[0]), s.best)
    s = s._replace(mixture=mixture, reward=reward, best=best, lower=jnp.where(better, value, s.lower))
    return _placed(s, 1, cut, jnp.zeros((), jnp.int32))


def _placed(s: _Game, player: int, row: Array, option: Array) -> _Game:
    """One more answer of a player: over an equal one, else in a free row, else over the least of the equilibrium."""
    table, n = s.table[player], s.used.shape[1]
    same = jnp.all(table == row[None], axis=1) & s.used[player]
    place = jnp.argmin(jnp.where(same, -2, jnp.where(s.used[player], s.mixture[player], -1)))
    here = (np.arange(n) == place)[None] & (np.arange(2) == player)[:, None]
    held = s.held if player else jnp.where(here[0], option.astype(s.held.dtype), s.held)
    return s._replace(table=jnp.where(here[..., None], row[None, None], s.table), used=s.used | here, held=held)
