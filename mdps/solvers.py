"""Optimal values and policies: value iteration, hard and soft, with certified error bounds.

The optimum is differentiated implicitly: the derivative of a (soft) optimal value with respect to
the reward is the occupancy of the optimal policy, found by one linear solve in either mode.
"""

import functools
import math
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from mdps.checks import check_finite, is_concrete
from mdps.kernels import (
    VECTOR,
    apart,
    batch_last,
    columns,
    expect,
    listed,
    neighbours,
    refine,
    repeat,
    settle_in_cycles,
    span,
    sweep,
    sweeps,
    tiled,
    worth_refining,
)
from mdps.linear import MAX_STEPS, evaluate, policy_weights
from mdps.mdp import MDP
from mdps.sharding import place, spread

ENTRIES = 2**14  # states times columns solved together on a CPU: they then stay in the caches


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Solution:
    """An optimal policy with its value and how far that value can be from the truth.

    Attributes:
        policy: probability of each action, `[S, A]`, or `[T, S, A]` with a horizon.
        value: largest expected discounted sum of rewards from each state (soft: plus
            `temperature` times the policy's entropy), `[S]`, in units of reward.
        error_bound: certified bound on `max_s |value - exact value|`, rounding included.
        converged: whether `error_bound` met the tolerance.
        steps: sweeps over the states.
    """

    policy: Float[Array, " S A"] | Float[Array, " T S A"]
    value: Float[Array, " S"]
    error_bound: Float[Array, ""]
    converged: Bool[Array, ""]
    steps: Int[Array, ""]


def solve(
    mdp: MDP,
    reward: Float[Array, " S"] | Float[Array, " S A"],
    *,
    temperature: float | Float[Array, ""] = 0.0,
    tol: float | Float[Array, ""] | None = None,
    max_steps: int = MAX_STEPS,
    mesh: Mesh | None = None,
) -> Solution:
    """Solve an MDP for the policy of greatest expected discounted reward.

    Value iteration (Puterman 2005, section 6.3), stopped on the span bound of theorem 6.6.3; with a
    `temperature` τ > 0, soft value iteration (Ziebart 2010), whose policy maximises reward plus τ
    times causal entropy.  With a horizon, backward induction.  Write `jax.vmap` over rewards,
    MDPs or both: it reaches the batched kernel.  Derivatives of `value` and of a soft `policy` are
    implicit, in forward and reverse mode; for τ = 0 they are a subgradient at ties.

    Args:
        mdp: the MDP.
        reward: paid on leaving a state, `[S]`, or for an action there, `[S, A]`.
        temperature: τ, in units of reward; a Python 0 means hard (static), anything else is traced.
        tol: absolute bound on `error_bound`; None: 1e-6 in float64, the rounding floor in float32.
        max_steps: most sweeps (endless MDPs; static).
        mesh: devices over which to spread the states of one large MDP (`jax.sharding.Mesh`); None: wherever the
            arrays are.

    Returns:
        A `Solution`.  Optimal actions within rounding of the best share the probability equally.
        A `tol` below the rounding floor stops there with `converged=False`.

    Raises:
        ValueError: for a reward of the wrong shape or not finite, or a negative temperature.

    Example:
        >>> import mdps
        >>> grid = mdps.GridWorld.from_text("S.G", {"S": "floor", ".": "floor", "G": "goal"}, discount=0.5)
        >>> [round(v, 3) for v in mdps.solve(grid.mdp, grid.mdp.reward(grid.weights(goal=1.0))).value.tolist()]
        [0.5, 1.0, 2.0]
    """
    reward = jnp.asarray(reward)
    S, A = mdp.num_states, mdp.num_actions
    if reward.shape not in ((S,), (S, A)):
        raise ValueError(
            f"reward has shape {reward.shape}; with S={S} states and A={A} actions it must be [S] or [S, A]."
        )
    check_finite("reward", reward)
    hard = isinstance(temperature, int | float) and temperature == 0
    if is_concrete(temperature) and not 0 <= float(temperature) < float("inf"):
        raise ValueError(f"temperature is {temperature}; it must be 0 (hard) or a positive finite number.")
    if tol is not None and is_concrete(tol) and not float(tol) > 0:
        raise ValueError(f"tol is {tol}; give a positive number, or None for the default.")
    dtype = jnp.result_type(reward, mdp.probability)
    to_floor = tol is None and dtype == jnp.float32
    target = (0.0 if to_floor else 1e-6) if tol is None else tol
    in_place = mesh is None and jax.default_backend() == "cpu"
    compiled = functools.partial(_solve, hard=hard, to_floor=to_floor, max_steps=max_steps, in_place=in_place)
    if mesh is None:
        return compiled(mdp, reward, temperature, target)
    spread_out = compiled(spread(mdp, mesh), place(reward, mesh), temperature, target)
    return replace(spread_out, policy=spread_out.policy[..., :S, :], value=spread_out.value[:S])


@functools.partial(jax.jit, static_argnames=("hard", "to_floor", "max_steps", "in_place"))
def _solve(
    mdp: MDP, reward, temperature, target, *, hard: bool, to_floor: bool, max_steps: int, in_place: bool
) -> Solution:
    """`solve` after its checks: compiled once per shape, dtype and static choice."""
    dtype = jnp.result_type(reward, mdp.probability)
    reward = (reward[:, None] if reward.ndim == 1 else reward).astype(dtype)
    tau, target = jnp.asarray(temperature, dtype), jnp.asarray(target, dtype)
    probability, discount = mdp.probability.astype(dtype), jnp.asarray(mdp.discount, dtype)
    mdp = replace(mdp, probability=probability, discount=discount)
    value, policy, bound, floor, steps = _optimum(hard, max_steps, in_place, mdp, reward, tau, target)
    if mdp.horizon is not None:
        value = value[0]
    converged = bound <= (jnp.maximum(target, 2 * floor) if to_floor else target)
    return Solution(policy, value, bound, converged, steps)


def _backup(hard: bool, q: list[Array], tau: Array) -> Array:
    """The value of a state from its action values: the maximum, or τ log Σ exp(Q/τ)."""
    best = functools.reduce(jnp.maximum, q)
    if hard:
        return best
    return best + tau * jnp.log(sum(jnp.exp((x - best) / tau) for x in q))


def _attain(hard: bool, q: list[Array], tau: Array) -> tuple[Array, list[Array]]:
    """`_backup`, and in which proportion the actions attain it."""
    best = functools.reduce(jnp.maximum, q)
    if hard:
        return best, [(x >= best).astype(best.dtype) for x in q]
    # Held, or the compiler would compute each exponential once more wherever it is used.
    share = jax.lax.optimization_barrier([jnp.exp((x - best) / tau) for x in q])
    return best + tau * jnp.log(sum(share)), share


def _choose(hard: bool, q: list[Array], tau: Array, slack: Array) -> list[Array]:
    """The probability of each action, `A` arrays `[S, *batch]`: equal shares of the best, or softmax of Q/τ."""
    best = functools.reduce(jnp.maximum, q)
    share = [(x >= best - slack).astype(best.dtype) if hard else jnp.exp((x - best) / tau) for x in q]
    total = sum(share)
    return [x / total for x in share]


def _ties(q: list[Array], residual: Array) -> Array:
    """How far below the best an action still counts as a tie, `[*batch]`.

    Within `2γ · residual` (the reach of the remaining Bellman residual) or 16 ulps of the largest
    |Q|: "first action wins" would leak the map's orientation into a posterior.
    """
    scale = jnp.max(functools.reduce(jnp.maximum, [jnp.abs(x) for x in q]), axis=0)
    return jnp.maximum(16 * jnp.finfo(scale.dtype).eps * scale, residual)


def _action_values(probability, reward, gamma, near: list[Array], slots) -> list[Array]:
    """Q(s, a) = r(s, a) + γ E[V(s')], a list over actions, given the values at the neighbours.

    `reward` lists one array for all actions or one for each.
    """
    ahead = expect(probability, near, slots)
    return [reward[a % len(reward)] + gamma * e for a, e in enumerate(ahead)]


def _primal(hard: bool, max_steps: int, in_place: bool, mdp: MDP, reward, tau, tol):
    """Value, policy, error bound, rounding floor and steps; with a horizon value and policy have a time axis."""
    if mdp.horizon is None:
        kernel = _endless(hard, max_steps, in_place, mdp.layout.shifts, mdp.layout.slots)  # pyright: ignore[reportGeneralTypeIssues]
        return kernel(mdp.next_state, mdp.probability, reward, mdp.discount, tau, tol)
    value, policy, bound = _backward(hard, mdp.horizon, mdp.layout.shifts, mdp.layout.slots)(
        mdp.next_state, mdp.probability, reward, mdp.discount, tau
    )
    return value, policy, bound, bound, jnp.asarray(mdp.horizon, jnp.int32)


def _optimum_jvp(hard, max_steps, in_place, primals, tangents):
    """The implicit derivative, from V = backup(Q(V)) at the optimum.

    dV = Σ_a π (dr + dγ E[V] + γ dE[V]) + dτ H(π) + γ M dV, a linear system of the optimal policy.
    """
    mdp, reward, tau, tol = primals
    d_mdp, d_reward, d_tau, _ = tangents
    value, policy, *rest = _optimum(hard, max_steps, in_place, mdp, reward, tau, tol)
    gamma, probability = mdp.discount, mdp.probability

    def ahead(x):
        """The values `[..., S, D]` at the successors, one step later."""
        x = x if mdp.horizon is None else jnp.concatenate([x[1:], jnp.zeros_like(x[:1])])
        return x[..., mdp.next_state]

    # What the inputs change in Q directly, before values respond.
    d_q = jnp.zeros_like(policy)
    if not isinstance(d_reward, SymbolicZero):
        d_q = d_q + jnp.broadcast_to(d_reward, d_q.shape)
    if not isinstance(d_mdp.discount, SymbolicZero):
        d_q = d_q + d_mdp.discount * jnp.einsum("sad,...sd->...sa", probability, ahead(value))
    if not isinstance(d_mdp.probability, SymbolicZero):
        d_q = d_q + gamma * jnp.einsum("sad,...sd->...sa", d_mdp.probability, ahead(value))
    source = jnp.sum(policy * d_q, axis=-1)
    moving_tau = not (hard or isinstance(d_tau, SymbolicZero))
    log_policy = jnp.log(jnp.maximum(policy, jnp.finfo(policy.dtype).tiny))
    if moving_tau:
        source = source - d_tau * jnp.sum(policy * log_policy, axis=-1)  # pyright: ignore[reportOperatorIssue]
    d_value = evaluate(mdp, policy_weights(mdp, policy), source)
    if hard:
        d_policy = jnp.zeros_like(policy)
    else:
        d_q = d_q + gamma * jnp.einsum("sad,...sd->...sa", probability, ahead(d_value))
        # log π = Q/τ + const, so d log π = (dQ - log π dτ)/τ up to a constant per state.
        d_logit = (d_q - d_tau * log_policy) / tau if moving_tau else d_q / tau  # pyright: ignore[reportOperatorIssue]
        d_policy = policy * (d_logit - jnp.sum(policy * d_logit, axis=-1, keepdims=True))
    flat = [jnp.zeros(x.shape, x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jax.dtypes.float0) for x in rest]
    return (value, policy, *rest), (d_value, d_policy, *flat)


_optimum = jax.custom_jvp(_primal, nondiff_argnums=(0, 1, 2))
_optimum.defjvp(_optimum_jvp, symbolic_zeros=True)


@functools.cache
def _endless(hard: bool, max_steps: int, in_place: bool, offsets: tuple[int, ...] | None, slots):
    """The optimum of an endless MDP, batch axes last.

    In a large problem in float64 almost every sweep runs in float32, on what is missing: with `Q` the action values of
    an estimate `V`, the optimum of the MDP with reward `Q - V` is `V* - V` (potential-based shaping,
    Ng, Harada & Russell 1999).  Sweeps in float64 finish and certify.
    """
    core_in, core_out = (2, 3, 2, 0, 0, 0), (1, 2, 0, 0, 0)

    @batch_last(core_in, core_out)
    def kernel(*arrays):
        batch = np.broadcast_shapes(*(x.shape[n:] for x, n in zip(arrays, core_in, strict=True)))
        refining = worth_refining(arrays[2].dtype, (arrays[0].shape[0], *batch))
        S, entries = arrays[0].shape[0], ENTRIES if hard else ENTRIES // 2  # a soft policy weighs every successor
        wide = max(entries // S, 2 * VECTOR)
        width = wide - wide % VECTOR if in_place and S <= ENTRIES else None  # more states fill the caches by themselves
        return tiled(functools.partial(columns_side_by_side, refining), arrays, core_in, core_out, width)

    def columns_side_by_side(refining, next_state, probability, reward, gamma, tau, tol):
        inputs = ((next_state, 2), (probability, 3), (reward, 2), (gamma, 0), (tau, 0), (tol, 0))
        batch = np.broadcast_shapes(*(x.shape[n:] for x, n in inputs))
        tol = jnp.broadcast_to(tol, batch)
        # Where many columns share one table a full backup costs little more than a fixed policy's sweep.
        full = hard and math.prod(probability.shape[3:]) < math.prod(batch)
        # Longer cycles where improving the policy costs as much as many sweeps: one problem, whose table is its own.
        period = 12 if full else 16 if batch else 56
        rewards = [reward[:, a] for a in range(reward.shape[1])]

        def rounding(dtype):
            # D products and sums and the reward; a soft backup also rounds its exponentials and logarithm.
            return (next_state.shape[1] + (3 if hard else 8)) * jnp.finfo(dtype).eps / 2

        here = offsets or columns(next_state)
        split = [columns(x) for x in columns(probability)]
        tables = {reward.dtype: split}
        if refining:  # the few sweeps in float64 read their table where it lies: to split it would take longer
            tables[reward.dtype] = probability
            tables[jnp.dtype(jnp.float32)] = jax.tree.map(lambda x: x.astype(jnp.float32), split)

        def q_values(v):
            near = neighbours(here, v, in_place=in_place)
            return _action_values(tables[reward.dtype], rewards, gamma, near, slots)

        def improve(q, dtype):
            """The backup of `q`, and γ times the probability of each successor under the policy that attains it."""
            ahead, share = _attain(hard, q, tau.astype(q[0].dtype))
            share = [x.astype(dtype) for x in share]
            scale = gamma.astype(dtype) / jnp.maximum(sum(share), 1)
            p = [listed(x) for x in listed(tables[jnp.dtype(dtype)])]
            taking = [[a for a in range(len(p)) if slots is None or d in slots[a]] for d in range(len(p[0]))]
            return ahead, [scale * sum(share[a] * p[a][d] for a in some) for d, some in enumerate(taking)]

        def solve(dtype, rewards, start, tol, max_steps, known=None):
            p, g, t = tables[jnp.dtype(dtype)], gamma.astype(dtype), tau.astype(dtype)

            def apply(v):
                near = neighbours(here, v, in_place=in_place)
                if full:
                    return backup(near), ()
                ahead, weight = improve(_action_values(p, rewards, g, near, slots), dtype)
                return ahead, (weight, ahead - sum(w * x for w, x in zip(weight, near, strict=True)))

            def backup(near):
                return _backup(hard, _action_values(p, rewards, g, near, slots), t)

            def advance(v, context, n):
                if full:
                    return repeat(here, backup, v, n, in_place=in_place)
                weight, paid = context
                return sweeps(here, weight, paid, v, n, in_place=in_place)

            return settle_in_cycles(
                apply, advance, start, g, span, tol.astype(dtype), rounding(dtype), max_steps, period, known
            )

        start, known = jnp.zeros((reward.shape[0], *batch), reward.dtype), None
        if refining:
            low = jnp.float32

            def apply(v):
                q = q_values(v)
                return (_backup(hard, q, tau), q) if hard else improve(q, low)

            def correct(v, ahead, centre, context, tol):
                nothing = jnp.zeros(start.shape, low)
                if hard:
                    missing = [(q - v - centre).astype(low) for q in context]
                    settled = solve(low, missing, nothing, tol, max_steps)
                else:  # a soft backup rounds in proportion to τ, however little is missing; Newton's step does not
                    missing = (ahead - v - centre).astype(low)
                    settled = settle_in_cycles(
                        lambda x: (missing + sweep(here, context, x), ()),
                        lambda x, _, n: sweeps(here, context, missing, x, n, in_place=in_place),
                        missing,
                        gamma.astype(low),
                        span,
                        tol.astype(low),
                        rounding(low),
                        max_steps,
                        period=12,
                    )
                return settled.value, settled.steps

            middle = (jnp.max(reward, axis=(0, 1)) + jnp.min(reward, axis=(0, 1))) / 2
            size = gamma / (1 - gamma) * (jnp.max(reward, axis=(0, 1)) - middle)
            near = (32 if hard else 8) * jnp.finfo(low).eps / (1 - gamma) * size
            shifted = [(x - middle).astype(low) for x in rewards]
            rough = solve(low, shifted, start.astype(low), jnp.maximum(tol / 4, near), max_steps)
            start = rough.value.astype(start.dtype) + middle / (1 - gamma)
            start, known = refine(apply, correct, start, gamma, span, tol, rounding(reward.dtype))
            known = known._replace(steps=known.steps + rough.steps)
        settled = solve(reward.dtype, rewards, start, tol, max_steps, known)
        q = q_values(settled.value)
        if hard:
            policy = jnp.stack(_choose(hard, q, tau, _ties(q, 2 * gamma * settled.residual)), axis=1)
        else:
            weigh = lambda *q: _attain(hard, list(q), tau)[1]  # noqa: E731
            # Apart, or each action would compute everybody's exponentials again.
            share = apart(jnp.all(settled.steps >= 0), weigh, *q) if in_place else weigh(*q)
            policy = jnp.stack([x / sum(share) for x in share], axis=1)
        return settled.value, policy, settled.bound, settled.floor, settled.steps

    return kernel


@functools.cache
def _backward(hard: bool, horizon: int, offsets: tuple[int, ...] | None, slots):
    """Backward induction over `horizon` steps, batch axes last."""

    @batch_last(core_in=(2, 3, 2, 0, 0), core_out=(2, 3, 0))
    def kernel(next_state, probability, reward, gamma, tau):
        def step(v, _):
            q = _action_values(probability, rewards, gamma, neighbours(offsets or next_state, v), slots)
            v = _backup(hard, q, tau)
            policy = _choose(hard, q, tau, _ties(q, jnp.zeros(v.shape[1:], v.dtype)))
            return v, (v, jnp.stack(policy, axis=1))

        rewards = [reward[:, a] for a in range(reward.shape[1])]
        batch = np.broadcast_shapes(
            *(x.shape[n:] for x, n in ((next_state, 2), (probability, 3), (reward, 2), (gamma, 0), (tau, 0)))
        )
        start = jnp.zeros((reward.shape[0], *batch), reward.dtype)
        values, policy = jax.lax.scan(step, start, None, length=horizon, reverse=True)[1]
        rounding = (next_state.shape[1] + (3 if hard else 8)) * jnp.finfo(reward.dtype).eps / 2
        bound = rounding * jnp.sum(
            jnp.max(jnp.abs(values), axis=1), axis=0
        )  # each step rounds in proportion to its values
        return values, policy, bound

    return kernel
