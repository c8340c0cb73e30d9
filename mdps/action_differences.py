"""What each action falls short of the best, and within what that may be nothing.

    d(s, a) = Q(s, a) - max Q(s, ·)

What is computed of it is off by no more than its slack: the rounding ρ of both action values, and what the errors
e = V* - V of the values that they lead to can do to their difference,

    slack(s, a) = ρ_a + ρ_b + γ |Σ_d (p_a - p_b)(d) e(s_d)|,    b the best.

Most of e is the same number everywhere, for all ways end in the same places (a goal at which reward is paid for ever is
known only to within ρ / (1 - γ)), and in a difference of probabilities that number is lost.  So beside the bound on e
that comes with the values there is one on e less what it is in a state where one stays, and the smaller one counts.

Values, rewards and bounds have a leading time axis where the MDP has a horizon.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdps import bellman
from mdps.mdp import MDP


def later(mdp: MDP, x: Array) -> Array:
    """What values `[..., S]` are one step later: the next row with a horizon, themselves without."""
    return x if mdp.horizon is None else jnp.concatenate([x[1:], jnp.zeros_like(x[:1])])


def expected(mdp: MDP, probability: Float[Array, " S A D"], x: Array) -> Array:
    """Σ_d p(d | s, a) x(s_d), `[..., S, A]`."""
    return jnp.einsum("sad,...sd->...sa", probability, x[..., mdp.next_state], precision=jax.lax.Precision.HIGHEST)


def timed(mdp: MDP, x: Array) -> Array:
    """`x`, which is the same at every step, beside what has a time axis with a horizon."""
    return x if mdp.horizon is None else x[None]


def action_values(mdp: MDP, reward: Float[Array, " S *A"], value: Array) -> Array:
    """R + γ E[V], `[..., S, A]`; -inf for an action that does not exist."""
    paid = timed(mdp, reward[:, None] if reward.ndim == 1 else reward)
    q = paid + mdp.discount * expected(mdp, mdp.probability, later(mdp, value))
    return q if mdp.available is None else jnp.where(timed(mdp, mdp.available), q, -jnp.inf)


def differences(q: Array, slack: Array) -> Array:
    """Q - max Q over the last axis, `[..., A]`, where what lies within the slack of nothing is nothing.

    Exact ties are exact then, whatever the differences are multiplied with.  Derivatives are those of Q: the slack
    enters the comparison only, and the largest Q, which all actions have in common, does not move.  An action that
    does not exist is at -inf.
    """
    exist = q > -jnp.inf
    finite = jnp.where(exist, q, 0)
    best = jax.lax.stop_gradient(jnp.max(finite, axis=-1, keepdims=True, where=exist, initial=-jnp.inf))
    return jnp.where(exist, negligible(finite - best, slack), -jnp.inf)


def negligible(x: Array, slack: Array) -> Array:
    """`x`, but 0 where it is within the slack of 0; derivatives are those of `x`."""
    return moved_by(jnp.where(jnp.abs(x) <= slack, 0, x), x)


@jax.custom_jvp
def moved_by(value: Array, x: Array) -> Array:
    """`value`, with the derivatives of `x`.

    Not `value + (x - stop_gradient(x))`: a compiler may compute `x` twice and round it in two ways.
    """
    return value


@moved_by.defjvp
def _(primals, tangents):
    return primals[0], tangents[1]


def slack_of(mdp: MDP, reward: Float[Array, " S *A"], q: Array, value: Array, within: Array) -> Array:
    """By how much Q(s, a) - max Q(s, ·) may be off, `[..., S, A]`, whichever action rounding makes the best.

    Args:
        mdp: the MDP, in the dtype of the values.
        reward: paid, `[S]` or `[S, A]`.
        q: `action_values`, `[..., S, A]`.
        value: V, `[..., S]`.
        within: bound on |V* - V|, `[..., S]`.
    """
    p, paid = timed(mdp, mdp.probability), timed(mdp, reward[:, None] if reward.ndim == 1 else reward)
    # A sum rounds by its terms; a product with 0 or 1 is exact.
    terms = jnp.sum((mdp.probability > 0) & (mdp.probability < 1), axis=-1)
    relative = bellman.unit(0, q.dtype) + terms.astype(q.dtype) * (float(jnp.finfo(q.dtype).eps) / 2)
    sizes = jnp.abs(paid) + mdp.discount * expected(mdp, mdp.probability, jnp.abs(later(mdp, value)))
    rho = jnp.where(q > -jnp.inf, timed(mdp, relative) * sizes, 0)
    best = jnp.argmax(q, axis=-1, keepdims=True)
    of_best = jnp.take_along_axis(jnp.broadcast_to(p, (*q.shape, p.shape[-1])), best[..., None], -2)
    moved = jnp.abs(p - of_best)
    rounding = rho + jnp.take_along_axis(rho, best, -1)

    def slack(error):
        ahead = jnp.where(moved > 0, moved * later(mdp, error)[..., mdp.next_state][..., None, :], 0)
        return rounding + mdp.discount * jnp.sum(ahead, axis=-1)

    loose = slack(within)
    behind = jnp.take_along_axis(q, best, -1) - q
    return jnp.minimum(loose, slack(_relative(mdp, q, value, within, rho, behind <= loose)))


def _relative(mdp: MDP, q, value, within, rho, contends) -> Array:
    """A bound on |e - e(k)|, `[..., S]`, for the errors e = V* - V and a state k in which one stays.

    The action that is best in truth is among those that contend for it, so that with δ = max Q - V, which rounds by ρ,

        e(s) = δ(s) ± ρ(s) + γ P_a e    for one of them,

    and, as P_a e = e(k) + P_a (e - e(k)),

        |e(s) - e(k)| <= |δ(s) - δ(k)| + ρ(s) + ρ(k) + γ max P_a |e - e(k)| + γ max P_a' |e - e(k)|

    where a contends in s and a' in k.  Any bound stays one when the right side is computed from it.
    """
    delta = jnp.max(q, axis=-1) - value
    rho = jnp.max(jnp.where(contends, rho, 0), axis=-1)
    itself = mdp.next_state == jnp.arange(mdp.num_states)[:, None]
    stays = jnp.sum(jnp.where(itself[:, None], mdp.probability, 0), axis=-1)
    least = jnp.min(jnp.where(contends, timed(mdp, stays), 1), axis=-1)
    k = jnp.argmax(least if mdp.horizon is None else jnp.min(least, axis=0))

    def tightened(bound, delta, rho, contends):
        ahead = jnp.max(jnp.where(contends, expected(mdp, mdp.probability, bound), 0), axis=-1)
        off = jnp.abs(delta - delta[k]) + rho + rho[k] + mdp.discount * (ahead + ahead[k])
        return jnp.where(jnp.arange(mdp.num_states) == k, 0, off)

    start = within + within[..., k, None]
    if mdp.horizon is not None:

        def step(bound, now):
            known, *at = now
            bound = jnp.minimum(known, tightened(bound, *at))
            return bound, bound

        return jax.lax.scan(step, jnp.zeros_like(start[0]), (start, delta, rho, contends), reverse=True)[1]

    def sweep(carry):
        bound, _ = carry
        new = jnp.minimum(bound, tightened(bound, delta, rho, contends))
        return new, jnp.any(new < 0.9 * bound)

    return jax.lax.while_loop(lambda carry: carry[1], sweep, (start, jnp.asarray(True)))[0]
