"""Fixed points of contractions: measures of change, certificates, iteration and iterative refinement."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


class Settled(NamedTuple):
    """Where a γ-contraction settled, one entry per batch column.

    Attributes:
        value: the fixed point, within `bound` of the exact one.
        bound: certified error in the norm that `measure` used, rounding included.
        residual: the last change, less a constant shift (the Bellman residual).
        floor: the part of `bound` that is rounding; no tolerance below twice this can be met.
        steps: applications of the operator.
    """

    value: Array
    bound: Array
    residual: Array
    floor: Array
    steps: Array


def span_change(new: Array, old: Array) -> tuple[Array, Array, Array]:
    """Measure of change for a Bellman operator: half the span, its centre, and the scale of the values.

    A Bellman operator moves a constant `c` to `γ c`, so the fixed point lies within
    `γ/(1-γ) · half span` of `new + γ/(1-γ) · centre` (Puterman 2005, theorem 6.6.3).
    """
    change = new - old
    low, high = jnp.min(change, axis=0), jnp.max(change, axis=0)
    return (high - low) / 2, (high + low) / 2, jnp.max(jnp.abs(new), axis=0)


def l1_change(new: Array, old: Array) -> tuple[Array, Array, Array]:
    """Measure of change for pushed probability: the sum of absolute changes, which γ contracts."""
    change = jnp.sum(jnp.abs(new - old), axis=0)
    return change, jnp.zeros_like(change), jnp.sum(jnp.abs(new), axis=0)


def max_change(new: Array, old: Array) -> tuple[Array, Array, Array]:
    """Measure of change for a linear system with non-negative rows that sum to at most one: the largest."""
    change = jnp.max(jnp.abs(new - old), axis=0)
    return change, jnp.zeros_like(change), jnp.max(jnp.abs(new), axis=0)


def certify(applied, x, gamma, measure, rounding, steps, rest: float | Array = 0.0) -> tuple[Settled, Array]:
    """What one application of a γ-contraction proves of its fixed point, and the centre of the change.

    `rounding` is relative to the values; `rest` is a size that is rounded beside them.
    """
    reach = gamma / (1 - gamma)
    radius, centre, scale = measure(applied, x)
    floor = rounding * (scale + rest + jnp.abs(reach * centre)) / (1 - gamma)
    return Settled(applied + reach * centre, reach * radius + floor, radius, floor, steps), centre


class _Cycles(NamedTuple):
    """Where cycles stand, after each of them."""

    x: Array  # [S, *batch] the values to go on from
    before: tuple[Array, ...]  # change over the cycle before, and where it ended; nothing where cycles grow
    settled: Settled  # the best that has been certified
    done: Array  # columns that are certified, or as good as they get
    shrunk_at: Array  # residual at which a column last made progress
    stale: Array  # cycles since then
    steps: Array | int  # sweeps
    pairs: Any  # pairs of sweeps of the next cycle, where cycles grow


def settle_in_cycles(
    apply,
    advance,
    start,
    *,
    gamma,
    measure,
    tol,
    rounding,
    max_steps,
    period: int = 8,
    known: Settled | None = None,
    rest: float | Array = 0.0,
    growing: bool = False,
) -> Settled:
    """Iterate a γ-contraction until its certified error is at most `tol`, or at its rounding floor.

    A cycle of `period` sweeps ends in a secant step along the slowest mode (reduced rank
    extrapolation with one difference, Smith, Ford & Sidi 1987).  It is taken only when the residual
    has shrunk since the last one: between two of them are plain sweeps, whose convergence is a
    theorem.  A residual that does not shrink in the time in which γ brings 1e4 to 1 is rounding.
    Columns of the batch that are done keep their answer, so it does not depend on their neighbours.

    Args:
        apply: `x -> (T x, context)`, the contraction on arrays `[S, *batch]`.
        advance: `(T x, context, n) -> y`, `n` further sweeps (static), of `T` or of a linear
            operator that agrees with `T` at `x`.
        start: `[S, *batch]`.
        gamma: modulus of contraction, `[*batch]` (1s where shared).
        measure: `span_change`, `max_change` or `l1_change`.
        tol: absolute error allowed, in the norm of `measure`, `[*batch]`.
        rounding: relative rounding error of one application.
        max_steps: most applications of the operator.
        period: sweeps in a cycle; even, since grids alternate between two colours.
        known: what is certified already; columns in which that is within `tol` are left alone.
        rest: a size that is rounded beside the values, as in `certify`.
        growing: whether cycles begin with 5 sweeps, and get twice as many, until they have about `period`, where
            neither the sweeps of one nor the one before as a whole has divided the residual by ten.  Secant steps are
            then those of the last two pairs of sweeps, since cycles differ in length.
    """
    apart = 2 if growing else period  # sweeps between the points of a secant step
    longest = gamma**apart / (1 - gamma**apart)  # the secant step of the slowest possible mode, γ itself
    patience = 16 + np.log(1e4) / jnp.maximum(-jnp.log(gamma) * period, 1e-6)

    def body(carry):
        x, before, settled, done, shrunk_at, stale, steps, pairs = carry
        count = 1 + 2 * pairs if growing else period
        applied, context = apply(x)
        fresh, _ = certify(applied, x, gamma, measure, rounding, jnp.full_like(stale, steps + 1), rest)
        settled = jax.tree.map(lambda old, new: jnp.where(done, old, new), settled, fresh)
        shrunk = fresh.residual < 0.9 * shrunk_at
        stale = jnp.where(shrunk, 0, stale + 1)
        # Written so that NaN counts as done: it will not get better.
        done = done | ~(fresh.bound > jnp.maximum(tol, 2 * fresh.floor)) | (stale > patience)
        more = jnp.any(~done & (steps + count < max_steps))
        if growing:
            third, second, y = jax.lax.cond(
                more, lambda: _last_of(pairs, lambda v: advance(v, context, 2), x, applied), lambda: (x, x, applied)
            )
            earlier, now = _of_slow_modes(measure, second - third), _of_slow_modes(measure, y - second)
            slow = (measure(y, second)[0] > 0.1 * fresh.residual) & (fresh.residual > 0.1 * shrunk_at)
            pairs = jnp.where(slow, jnp.minimum(2 * pairs, period // 2), pairs)
        else:
            # A fixed number of sweeps: an accelerator then asks nobody after each whether to go on.
            y = jax.lax.cond(more, lambda: advance(applied, context, count - 1), lambda: applied)
            (earlier, second), now = before, _of_slow_modes(measure, y - x)
            before = now, y
        turn = now - earlier
        # In units of the longest change, whose square may be no number.
        unit = jnp.max(jnp.abs(turn), axis=0)
        turn = turn / jnp.where(unit > 0, unit, 1)
        along = jnp.sum(now * turn, axis=0) / jnp.where(unit > 0, unit * jnp.sum(turn * turn, axis=0), 1)
        secant = jnp.where(shrunk & (growing | (steps > 0)) & (unit > 0), jnp.clip(along, -longest, 0.5), 0)
        shrunk_at = jnp.where(shrunk, fresh.residual, shrunk_at)
        x = y - secant * (y - second)
        return _Cycles(x, before, settled, done, shrunk_at, stale, steps + count, pairs)

    def unfinished(carry):
        return jnp.any(~carry.done & (carry.steps < max_steps))

    column = jnp.zeros(start.shape[1:], start.dtype)
    count = jnp.zeros(start.shape[1:], jnp.int32)
    if known is None:
        known = Settled(start, column + jnp.inf, column, column, count)
    done = known.bound <= jnp.maximum(tol, 2 * known.floor)
    before, steps, pairs = ((), count, count + 2) if growing else ((start, start), 0, ())
    begin = _Cycles(start, before, known, done, column + jnp.inf, count, steps, pairs)
    return jax.lax.while_loop(unfinished, body, begin).settled


def _last_of(pairs: Array, twice, x: Array, applied: Array) -> tuple[Array, Array, Array]:
    """The last three of `x, T x, T³ x, ...`, each column after as many pairs of sweeps as it is to have, `[*batch]`."""

    def further(k, last):
        new = (*last[1:], twice(last[2]))
        return tuple(jnp.where(k < pairs, b, a) for a, b in zip(last, new, strict=True))

    return jax.lax.fori_loop(0, jnp.max(pairs), further, (x, x, applied))


def _of_slow_modes(measure, change: Array) -> Array:
    """A change without what all states have in common, where the measure is `span_change`: it is part of no mode."""
    return change - change[:1] if measure is span_change else change


def settle(operator, start, gamma, measure, tol, rounding, max_steps, period: int = 12, known=None) -> Settled:
    """`settle_in_cycles` for a contraction `operator` of arrays `[S, *batch]` that is as cheap as any part of it."""

    def advance(x, _, count):
        return jax.lax.fori_loop(0, count, lambda _, y: operator(y), x)

    return settle_in_cycles(
        lambda x: (operator(x), ()),
        advance,
        start,
        gamma=gamma,
        measure=measure,
        tol=tol,
        rounding=rounding,
        max_steps=max_steps,
        period=period,
        known=known,
    )


def pays_to_refine(dtype, shape: tuple[int, ...]) -> bool:
    """Whether mixed precision pays for its longer compilation: float64, and limited by memory."""
    return dtype == jnp.float64 and math.prod(shape) >= 2**16


class _Rounds(NamedTuple):
    """Where refinement stands, after each round."""

    x: Array  # [S, *batch] the values to go on from, in high precision
    settled: Settled  # what has been certified
    active: Array  # columns that still get better
    steps: Array
    rounds: Any  # so far


def refine(
    apply, correct, start: Array, gamma, measure, tol: Array, rounding, rounds: int = 6, rest: float | Array = 0.0
) -> tuple[Array, Settled]:
    """Iterative refinement: solve in low precision for what is missing, add it in high precision.

    Rounds go on, column by column, while the error bound is above `tol` and each divides it by four.

    Args:
        apply: `x -> (T x, context)`, the contraction on arrays `[S, *batch]`, in high precision.
        correct: `(x, T x, centre of their difference [*batch], context, tolerance [*batch]) -> (correction, steps)`,
            in low precision, beside the constant that a constant difference of `centre` adds up to.
        start: `[S, *batch]`, in high precision.
        gamma: modulus of contraction, `[*batch]`.
        measure: `span_change`, `max_change` or `l1_change`.
        tol: error allowed, `[*batch]`.
        rounding: relative rounding error of one application, in high precision.
        rounds: most corrections.
        rest: a size that is rounded beside the values, as in `certify`.

    Returns:
        Where to go on from, and what was certified on the way there.
    """
    # What a round is asked to leave of the error: more than where float32 stalls.
    gain = 32 * jnp.finfo(jnp.float32).eps / (1 - gamma)

    def body(carry):
        x, settled, active, steps, count = carry
        applied, context = apply(x)
        fresh, centre = certify(applied, x, gamma, measure, rounding, steps + 1, rest)
        goal = jnp.maximum(tol, 2 * fresh.floor)
        again = active & (fresh.bound > goal) & (fresh.bound < settled.bound / 4)
        settled = jax.tree.map(lambda old, new: jnp.where(active, new, old), settled, fresh)
        # Columns at rest ask for nothing, and stop at once.
        wanted = jnp.where(again, jnp.maximum(goal / 4, gain * fresh.bound), jnp.inf)
        ask = functools.partial(correct, x, applied, centre, context, wanted)
        idle = functools.partial(jax.tree.map, jnp.zeros_like, jax.eval_shape(ask))
        correction, taken = jax.lax.cond(jnp.any(again), ask, idle)
        move = again & jnp.all(jnp.isfinite(correction), axis=0)
        x = jnp.where(move, x + (correction.astype(x.dtype) + centre / (1 - gamma)), x)
        return _Rounds(x, settled, move, steps + jnp.where(again, taken + 1, 0), count + 1)

    column, none = jnp.zeros(start.shape[1:], start.dtype), jnp.zeros(start.shape[1:], jnp.int32)
    nothing = Settled(start, column + jnp.inf, column, column, none)
    begin = _Rounds(start, nothing, column == 0, none, 0)
    end = jax.lax.while_loop(lambda now: jnp.any(now.active) & (now.rounds <= rounds), body, begin)
    return end.x, end.settled
