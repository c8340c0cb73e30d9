"""The Bellman backup: action values, their maximum or soft maximum, which of them are ties, and how all of it rounds.

    Q(s, a) = r(s, a) + γ Σ_d p(d | s, a) V(s_d)
    V(s)    = max_a Q(s, a)                        (Puterman 2005, eq. 6.2.2)
    V(s)    = τ log Σ_a exp(Q(s, a) / τ)           (Ziebart 2010, eq. 4.18)

Numbers by action come as a list of `A` arrays `[S, *batch]`, each of which a compiler may fuse by itself, or as one
array `[S, A, *batch]` where there are many actions.  An action that does not exist is worth -inf.

**Ties.**  An optimal policy shares its probability among all actions that arithmetic cannot tell from the best.  What
it can tell is decided by the error that the two numbers compared can have, never by the largest number elsewhere: the
rounding of each, and what the error of the values to which they lead, a bound by state, can do to them.

**What an action falls short of the best**, d(s, a) = Q(s, a) - max Q(s, ·), is off by no more than its slack: the
rounding ρ of both action values, and what the errors e = V* - V of the values that they lead to can do to their
difference,

    slack(s, a) = ρ_a + ρ_b + γ |Σ_d (p_a - p_b)(d) e(s_d)|,    b the best.

Most of e is the same number everywhere, for all ways end in the same places (a goal at which reward is paid for ever is
known only to within ρ / (1 - γ)), and in a difference of probabilities that number is lost.  So beside the bound on e
that comes with the values there is one on e less what it is in a state where one stays, and the smaller one counts.
Over a long reach neither bound is what the errors are like, and sharing all that lies within them would cost far more
than they say of the values: `share_of_error` is how much of them a policy goes by.  Which actions may be the best,
for the bounds themselves, goes by all of it.

There values, rewards and bounds have a leading time axis where the MDP has a horizon.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdps.kernels import held_once
from mdps.mdp import MDP

__all__ = [
    "WHOLE_REACH",
    "ByAction",
    "Interval",
    "any_of",
    "attain",
    "backup",
    "differences",
    "each",
    "expected",
    "extremes",
    "first_of",
    "followed",
    "largest_of",
    "later",
    "lookahead",
    "moved_by",
    "negligible",
    "normalised",
    "q_values",
    "rounding_of",
    "share_of_error",
    "shared",
    "shares_by_step",
    "sizes_of",
    "soft_rounding",
    "softmax_shares",
    "stacked",
    "sum_of",
    "tie_slack",
    "timed",
    "unit",
]
__dir__ = __all__.copy

ByAction = list[Array] | Array

# Steps ahead up to which the whole bound on the values' error counts as a tie, and how many times the rounding of
# one step always does (`share_of_error`).
WHOLE_REACH, MOST_ROUNDINGS = 64, 8


def each(function: Callable, *operands) -> ByAction:
    """`function` for every action; operands are by action, by state `[S, *batch]` or by column `[*batch]`."""
    lists = [x for x in operands if isinstance(x, list)]
    if lists:
        return [function(*(x[a] if isinstance(x, list) else x for x in operands)) for a in range(len(lists[0]))]
    rank = max(jnp.ndim(x) for x in operands)
    return function(*(x[:, None] if jnp.ndim(x) == rank - 1 else x for x in operands))


def largest_of(q: ByAction) -> Array:
    """The largest over the actions, `[S, *batch]`."""
    return functools.reduce(jnp.maximum, q) if isinstance(q, list) else jnp.max(q, axis=1)


def any_of(flags: ByAction) -> Array:
    """Whether any action is marked, `[S, *batch]`."""
    return functools.reduce(jnp.logical_or, flags) if isinstance(flags, list) else jnp.any(flags, axis=1)


def sum_of(x: ByAction) -> Array:
    """The sum over the actions, `[S, *batch]`."""
    return functools.reduce(jnp.add, x) if isinstance(x, list) else jnp.sum(x, axis=1)


def stacked(x: ByAction) -> Array:
    """One array `[S, A, *batch]`."""
    return jnp.stack(x, axis=1) if isinstance(x, list) else x


def first_of(q: ByAction) -> ByAction:
    """1 for the first action that is the largest, 0 for the others."""
    if not isinstance(q, list):
        A = q.shape[1]
        return (jnp.arange(A).reshape(1, A, *(1,) * (q.ndim - 2)) == jnp.argmax(q, axis=1, keepdims=True)).astype(
            q.dtype
        )
    best, taken, flags = largest_of(q), jnp.zeros(q[0].shape, bool), []
    for x in q:
        here = (x >= best) & ~taken
        taken = taken | here
        flags.append(here.astype(x.dtype))
    return flags


def extremes(x: ByAction) -> tuple[Array, Array]:
    """The largest and the smallest number of all states and actions, `[*batch]`, NaN left out."""
    if isinstance(x, list):
        highest = functools.reduce(jnp.maximum, [jnp.nanmax(r, axis=0) for r in x])
        return highest, functools.reduce(jnp.minimum, [jnp.nanmin(r, axis=0) for r in x])
    return jnp.nanmax(x, axis=(0, 1)), jnp.nanmin(x, axis=(0, 1))


def q_values(expected: ByAction, rewards: ByAction, gamma: Array) -> ByAction:
    """Q(s, a) from the expected values of the next states; `rewards` are by action, or one for all of them."""
    if isinstance(expected, list):
        return [rewards[a % len(rewards)] + gamma * e for a, e in enumerate(expected)]
    return jnp.asarray(rewards) + gamma * expected


def softmax_shares(q: ByAction, best: Array, tau: Array) -> ByAction:
    """`exp((Q - max Q) / τ)`; at τ = 0 its limit, 1 for every largest action and 0 for the others."""
    certain = tau <= 0
    safe = jnp.where(certain, 1, tau)
    return each(lambda x, b: jnp.exp(jnp.where(certain, jnp.where(x >= b, 0, -jnp.inf), (x - b) / safe)), q, best)


def backup(hard: bool, q: ByAction, tau: Array) -> Array:
    """The value of a state from its action values: the maximum, or τ log Σ exp(Q/τ)."""
    best = largest_of(q)
    if hard:
        return best
    return best + tau * jnp.log(sum_of(softmax_shares(q, best, tau)))


def attain(hard: bool, q: ByAction, tau: Array) -> tuple[Array, ByAction]:
    """`backup`, and in which proportion the actions attain it."""
    best = largest_of(q)
    if hard and not isinstance(q, list):
        # One of those that attain it: where actions are an axis a compiler computes Q for its maximum and once more
        # beside it, rounds otherwise, and finds that two attain it where it has counted one.
        return best, first_of(q)
    if hard:
        return best, each(lambda x, b: (x >= b).astype(best.dtype), q, best)
    share = held_once(softmax_shares(q, best, tau))
    return best + tau * jnp.log(sum_of(share)), share


def unit(terms: int, dtype, *, hard: bool = True) -> float:
    """Relative rounding of one backup: `terms` products, sums and the reward; softly, exponentials and a logarithm."""
    return (terms + (3 if hard else 8)) * float(jnp.finfo(dtype).eps) / 2


class Interval(NamedTuple):
    """Action values with what each can be off by.

    Attributes:
        q: Q(s, a) as computed.
        off: bound on the error of each.
    """

    q: ByAction
    off: ByAction

    def contenders(self) -> ByAction:
        """Which actions may be the best: none is certainly better."""
        floor = largest_of(each(lambda q, e: q - e, self.q, self.off))
        return each(lambda q, e, low: q + e >= low, self.q, self.off, floor)

    def loosest(self, flags: ByAction) -> Array:
        """The largest error among the actions marked, `[S, *batch]`."""
        return largest_of(each(lambda flag, e: jnp.where(flag, e, 0), flags, self.off))


def rounding_of(q: ByAction, sizes: ByAction, relative: float) -> ByAction:
    """What action values are off by when `sizes` = |r| + γ E|V| were added up; those that do not exist by nothing."""
    return each(lambda x, size: jnp.where(x > -jnp.inf, relative * size, 0), q, sizes)


def sizes_of(expected_sizes: ByAction, rewards: ByAction, gamma: Array) -> ByAction:
    """|r| + γ E|V|: what is added up in each action value."""
    return q_values(expected_sizes, each(jnp.abs, rewards), gamma)


def share_of_error(reach: Array) -> Array:
    """How much of the bound E on the values' error counts where actions are to share, by the steps that lie ahead.

    E adds up the rounding ρ of all steps ahead as if each were the worst and all had one sign: `reach` of them,
    (1 - γ^n) / (1 - γ), make E = reach · ρ.  Sharing what lies within E of the best at every step would then cost
    reach · E = reach² ρ, in float32 a third of the value at a reach of 1,000.  Errors of two values compared differ by
    a few ρ (a random walk's √reach at most, where they are drawn).  So E counts whole up to a reach of 64, where
    sharing costs no more than .2% in float32; beyond it by (64 / reach)², but by no less than 8 / reach, which is 8 ρ
    and costs at most 18 times the bound on the values.
    """
    return jnp.minimum(1, jnp.maximum((WHOLE_REACH / reach) ** 2, MOST_ROUNDINGS / reach))


def shares_by_step(gamma: Array, horizon: int) -> Array:
    """`share_of_error` at each step of a horizon, `[T, *batch]`: the reach is what the discount leaves of the rest."""
    left = jnp.arange(horizon, 0, -1, dtype=gamma.dtype).reshape(horizon, *(1,) * gamma.ndim)
    safe = jnp.where(gamma < 1, gamma, 0)
    return share_of_error(jnp.where(gamma < 1, (1 - safe**left) / (1 - safe), left))


def shared(flags: ByAction, dtype) -> ByAction:
    """Equal shares of the actions marked: a policy; NaN where none is."""
    return normalised(each(lambda flag: flag.astype(dtype), flags))


def followed(policy: ByAction, q: ByAction) -> Array:
    """Σ_a π(a | s) Q(s, a); an action without probability adds nothing, whatever it is worth."""
    return sum_of(each(lambda p, x: jnp.where(p > 0, p * x, 0), policy, q))


def normalised(share: ByAction) -> ByAction:
    """Shares as a policy."""
    return each(lambda x, n: x / n, share, sum_of(share))


def soft_rounding(share: ByAction, off: ByAction, value: Array, tau: Array, actions: int) -> Array:
    """What τ log Σ exp(Q/τ) is off by: its terms' errors, weighted as they count, and its own rounding.

    The sum may cancel against the largest Q, so its rounding is in proportion to τ, not to the result.
    """
    eps = jnp.finfo(value.dtype).eps
    total = sum_of(share)
    safe = jnp.where(tau > 0, tau, 1)
    weighted = sum_of(each(lambda w, e, t: jnp.where(w > 0, w / t * jnp.expm1(e / safe), 0), share, off, total))
    worst = largest_of(each(lambda w, e: jnp.where(w > 0, e, 0), share, off))
    terms = jnp.minimum(tau * jnp.log1p(weighted), worst)
    return terms + eps * (tau * (actions + 8 + 4 * jnp.log(float(actions))) + jnp.abs(value))


def later(mdp: MDP, x: Array) -> Array:
    """What values `[..., S]` are one step later: the next row with a horizon, themselves without."""
    return x if mdp.horizon is None else jnp.concatenate([x[1:], jnp.zeros_like(x[:1])])


def expected(mdp: MDP, probability: Float[Array, " S A D"], x: Array) -> Array:
    """Σ_d p(d | s, a) x(s_d), `[..., S, A]`."""
    return jnp.einsum("sad,...sd->...sa", probability, x[..., mdp.next_state], precision=jax.lax.Precision.HIGHEST)


def timed(mdp: MDP, x: Array) -> Array:
    """`x`, which is the same at every step, beside what has a time axis with a horizon."""
    return x if mdp.horizon is None else x[None]


def lookahead(mdp: MDP, reward: Float[Array, " S *A"], value: Array) -> Array:
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


def tie_slack(mdp: MDP, reward: Float[Array, " S *A"], q: Array, value: Array, within: Array) -> Array:
    """By how much Q(s, a) - max Q(s, ·) may be off, `[..., S, A]`, whichever action rounding makes the best.

    Args:
        mdp: the MDP, in the dtype of the values.
        reward: paid, `[S]` or `[S, A]`.
        q: `lookahead`, `[..., S, A]`.
        value: V, `[..., S]`.
        within: bound on |V* - V|, `[..., S]`.
    """
    p, paid = timed(mdp, mdp.probability), timed(mdp, reward[:, None] if reward.ndim == 1 else reward)
    # A sum rounds by its terms; a product with 0 or 1 is exact.
    terms = jnp.sum((mdp.probability > 0) & (mdp.probability < 1), axis=-1)
    relative = unit(0, q.dtype) + terms.astype(q.dtype) * (float(jnp.finfo(q.dtype).eps) / 2)
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
