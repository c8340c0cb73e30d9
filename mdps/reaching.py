"""The probability of ever getting somewhere under a fixed policy: no discount, no horizon, and no contraction.

With `x(s)` the probability of ever visiting a set from `s`,

    x = 1 on the set;   x(s) = Σ_d w(s, d) x(s_d) elsewhere        (the least solution; Puterman 2005, section 7.1)

Two boolean sweeps settle what needs no arithmetic: states from which no way leads there have probability 0, and states
from which no way leads to *those* have probability 1.  In between, `x` grows from below, and the probability of still
being in between bounds what can arrive yet.  Three things keep float32 honest over many steps: waiting in a state
changes nothing, so self-loops are left out; a sweep works on differences of neighbours, `Σ_d w (x_d - x)`, which
do not care whether a row's rounded probabilities add up to one; and what the equations then still lack, which these
differences show, is solved for once more.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mdps.mdp import MDP
from mdps.policy_evaluation import arrive, depart

__all__ = ["accuracy", "can_be_reached", "ever", "probability"]
__dir__ = __all__.copy

TOLERANCE = 1e-6  # what may be missing


def ever(
    mdp: MDP, weights: Float[Array, " S D"], where: Bool[Array, " S"], max_steps: int
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The probability of ever visiting `where` from the initial distribution, and what may be missing from it.

    Args:
        mdp: the MDP, whose horizon and discount do not matter.
        weights: probability of each successor slot under the policy, `[S, D]`.
        where: the states to get to.
        max_steps: most sweeps (static).

    Returns:
        The probability, NaN where more than 1e-6 may be missing; its derivatives are those of the linear system.
    """
    reached, left = _reach(mdp, weights, where, jax.lax.stop_gradient(mdp.initial), max_steps)
    return jnp.where(left <= TOLERANCE, probability(mdp.initial, reached), jnp.nan), left


def can_be_reached(mdp: MDP) -> Bool[Array, " S"]:
    """States that some policy reaches from the start, in any number of steps, `[S]`; traceable."""
    exist = 1 if mdp.available is None else mdp.available[..., None]
    edges = jnp.any(mdp.probability * exist > 0, axis=1).astype(mdp.initial.dtype)
    timeless = dataclasses.replace(mdp, horizon=None)

    def grow(now):
        here, _ = now
        more = here | (arrive(timeless, edges, here.astype(edges.dtype)) > 0)
        return more, jnp.any(more != here)

    return jax.lax.while_loop(lambda now: now[1], grow, (mdp.initial > 0, jnp.asarray(True)))[0]


def probability(initial: Float[Array, " S"], reached: Float[Array, " S"]) -> Float[Array, ""]:
    """`initial · reached` without what rounding adds beyond 0 and 1; the derivative is that of the product."""
    found = jnp.sum(initial * reached)
    return found + jax.lax.stop_gradient(jnp.clip(found, 0, 1) - found)


def accuracy(dtype) -> float:
    """What is asked for, beyond `TOLERANCE`, where time allows: the last digits of a dtype."""
    return 1e-7 if dtype == jnp.float32 else 1e-12


@functools.partial(jax.custom_jvp, nondiff_argnums=(4,))
def _reach(mdp: MDP, weights, where, initial, max_steps: int) -> tuple[Array, Array]:
    """`x` for every state, `[S]`, and what can still arrive from `initial`, where the sweeps stopped."""
    next_state, dtype = mdp.next_state, weights.dtype
    edges = weights > 0

    def leading_to(target, through):
        """The states from which a way through `through` leads to `target`, which is part of it."""

        def grow(now):
            here, _ = now
            more = here | (through & jnp.any(edges & here[next_state], axis=1))
            return more, jnp.any(more != here)

        return jax.lax.while_loop(lambda now: now[1], grow, (target, jnp.asarray(True)))[0]

    possible = leading_to(where, jnp.ones_like(where))
    sure = ~leading_to(~possible, ~where)
    between = possible & ~sure
    away = jnp.where(next_state != jnp.arange(next_state.shape[0])[:, None], weights, 0)
    leaving = jnp.where(between, jnp.sum(away, axis=1), 1)
    rate = jnp.where(between[:, None], away / leaving[:, None], 0)

    def flow(y):
        return jnp.sum(rate * (y[next_state] - y[:, None]), axis=1)

    def left(inside):
        return jnp.sum(initial * inside)

    def arrived(known):
        """`known` and what it lacks, and what can still arrive from where the sweeps stopped."""

        def step(carry):
            x, lost, change, inside, steps = carry
            # Compensated (Kahan): in float32 thousands of small steps would otherwise be rounded away.
            add = change - lost
            grown = x + add
            return grown, (grown - x) - add, change + flow(change), inside + flow(inside), steps + 1

        def unfinished(carry):  # until rounding is all that is left, relative to the answer, which may be small
            x, _, _, inside, steps = carry
            here = jnp.sum(initial * jnp.where(sure, 1, known + x))
            return (left(inside) > accuracy(dtype) * here) & (steps < max_steps)

        nothing = jnp.zeros_like(known)
        first = (nothing, nothing, flow(jnp.where(sure, 1, known)), between.astype(dtype), jnp.int32(0))
        x, _, _, inside, _ = jax.lax.while_loop(unfinished, step, first)
        return known + x, left(inside)

    # The second time for what rounding has lost; in a loop, so that it is compiled once.
    rounds = 2 if dtype == jnp.float32 else 1
    none = jnp.zeros(next_state.shape[0], dtype), jnp.zeros((), dtype)
    x, still = jax.lax.fori_loop(0, rounds, lambda _, now: arrived(now[0]), none)
    return jnp.where(sure, 1, x), still


@_reach.defjvp
def _(max_steps, primals, tangents):
    """`dx = dw x + w dx` on the states that have a way to go, where the linear system has one solution."""
    mdp, weights, where, initial = primals
    d_weights = tangents[1]
    # Every state matters here, also those to which an action of probability zero would lead.
    x, left = _reach(mdp, weights, where, jnp.ones_like(initial), max_steps)
    x = jnp.where(left <= TOLERANCE * jnp.sum(x) + TOLERANCE, x, jnp.nan)
    going = (x > 0) & ~where
    source = jnp.where(going, jnp.sum(d_weights * x[mdp.next_state], axis=1), 0)
    d_x = _absorbed(mdp, jnp.where(going[:, None], weights, 0), source, max_steps)
    return _reach(mdp, weights, where, initial, max_steps), (d_x, jnp.zeros_like(left))


def _absorbed(mdp: MDP, weights, source, max_steps: int) -> Array:
    """Solve `y = source + M y` for a chain that ends: the sum of its powers, differentiable in either mode."""
    tolerance = accuracy(source.dtype)

    def powers(operator, norm, b):
        def step(carry):
            total, term, steps = carry
            term = operator(mdp, weights, term)
            return total + term, term, steps + 1

        def unfinished(carry):
            return (norm(carry[1]) > tolerance * norm(b)) & (carry[2] < max_steps)

        total, term, _ = jax.lax.while_loop(unfinished, step, (b, b, jnp.int32(0)))
        return jnp.where(norm(term) <= tolerance * norm(b), total, jnp.nan)

    return jax.lax.custom_linear_solve(
        lambda y: y - depart(mdp, weights, y),
        source,
        solve=lambda _, b: powers(depart, lambda t: jnp.max(jnp.abs(t)), b),
        transpose_solve=lambda _, b: powers(arrive, lambda t: jnp.sum(jnp.abs(t)), b),
    )
