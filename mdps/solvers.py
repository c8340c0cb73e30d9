"""Optimal values and policies, hard and soft, with certified bounds: `solve`, and the derivatives of what it finds.

The optimum is differentiated implicitly: the derivative of a (soft) optimal value with respect to
the reward is the occupancy of the optimal policy, found by one linear solve in either mode.
"""

import functools
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.sharding import Mesh
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from mdps import bellman
from mdps.bellman import Interval, each, expected, later
from mdps.checks import check_count, check_mdp, check_reward, check_temperature, check_tolerance, is_concrete
from mdps.kernels import batch_last, on_cpu, operator
from mdps.mdp import MDP, place, shard
from mdps.policy_evaluation import MAX_STEPS, evaluate
from mdps.pytrees import frozen_pytree, in_one_line
from mdps.shortest_paths import proper
from mdps.value_iteration import Optimal, Task, endless

__all__ = ["Solution", "action_values", "check_soft", "solve", "values_with_slack"]
__dir__ = __all__.copy


@frozen_pytree
@dataclass(frozen=True, eq=False, repr=False)
class Solution:
    """An optimal policy with its value, and how far either can be from the truth.

    Attributes:
        policy: probability of each action, `[S, A]`, or `[T, S, A]` with a horizon.
        value: largest expected discounted sum of rewards from each state (soft: plus
            `temperature` times the policy's entropy), `[S]`, in units of reward.
        error_bound: certified bound on `max_s |value - exact value|`, rounding included.
        policy_bound: certified bound on what `policy` falls short of the exact value, from any state and with a horizon
            from the first step on, in units of reward.
        converged: whether `error_bound` met the tolerance; False where anything is not finite.
        steps: sweeps over the states.
    """

    policy: Float[Array, " S A"] | Float[Array, " T S A"]
    value: Float[Array, " S"]
    error_bound: Float[Array, ""]
    policy_bound: Float[Array, ""]
    converged: Bool[Array, ""]
    steps: Int[Array, ""]

    __repr__ = in_one_line


def solve(
    mdp: MDP,
    reward: Float[Array, " S"] | Float[Array, " S A"],
    *,
    temperature: ArrayLike = 0.0,
    tol: ArrayLike | None = None,
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
        temperature: τ, in units of reward; 0 means hard.  A number that is known (Python's, NumPy's or an array's) is
            not traced if it is 0; a traced one may be 0, too, and then gives the hard optimum.
        tol: absolute bound on `error_bound`; None: 1e-6 in float64, the rounding floor in float32.
        max_steps: most sweeps that find the values (endless MDPs; static); telling ties apart may take as many again.
        mesh: devices over which to spread the states of one large MDP (`jax.sharding.Mesh`); None: wherever the
            arrays are.

    Returns:
        A `Solution`.  Actions that arithmetic cannot tell from the best, with the error that these two values can have,
        share the probability equally; `policy_bound` says what that can cost.  A `tol` below the rounding floor stops
        there with `converged=False`.

    Raises:
        ValueError: for a reward of the wrong shape or not finite, or a negative temperature.

    Example:
        >>> import mdps
        >>> grid = mdps.GridWorld.from_text("S.G", {"S": "floor", ".": "floor", "G": "goal"}, discount=0.5)
        >>> [round(v, 3) for v in mdps.solve(grid.mdp, grid.mdp.reward(grid.weights(goal=1.0))).value.tolist()]
        [0.5, 1.0, 2.0]
    """
    reward = check_reward(check_mdp(mdp), reward)
    hard = check_temperature(temperature, reward.dtype)
    check_tolerance(tol, reward.dtype)
    check_soft(mdp, hard)
    max_steps = check_count("max_steps", max_steps)
    S, dtype = mdp.num_states, jnp.result_type(reward, mdp.probability)
    to_floor = tol is None and dtype == jnp.float32
    target = (0.0 if to_floor else 1e-6) if tol is None else tol
    layout = mdp.layout if mesh is None else replace(mdp.layout, own=None)  # lists by action would be made everywhere
    task = Task(hard, not is_concrete(temperature), max_steps, mesh is None and on_cpu(), layout)
    compiled = functools.partial(_solve, task=task, to_floor=to_floor)
    if mesh is None:
        return compiled(mdp, reward, temperature, target)
    spread_out = compiled(shard(mdp, mesh), place(reward, mesh), temperature, target)
    return replace(spread_out, policy=spread_out.policy[..., :S, :], value=spread_out.value[:S])


def check_soft(mdp: MDP, hard: bool) -> None:
    """Raise for a soft optimum without a discount and a horizon, whose entropy may have no end."""
    if mdp.layout.undiscounted and not hard:
        raise ValueError(
            "without a discount and a horizon only the hard optimum is solved (temperature=0); give a horizon or a "
            "discount below 1."
        )


@functools.partial(jax.jit, static_argnames=("task", "to_floor"))
def _solve(mdp: MDP, reward, temperature, target, *, task: Task, to_floor: bool) -> Solution:
    """`solve` after its checks: compiled once per shape, dtype and static choice."""
    found, sound, target = _found(mdp, reward, temperature, target, task)
    value = found.value if mdp.horizon is None else found.value[0]
    sound = sound & jnp.all(jnp.isfinite(value)) & jnp.isfinite(found.bound)
    met = found.bound <= (jnp.maximum(target, 2 * found.floor) if to_floor else target)
    bound, policy_bound = (jnp.where(sound, x, jnp.inf) for x in (found.bound, found.policy_bound))
    return Solution(found.policy, value, bound, policy_bound, met & sound, found.steps)


def _found(mdp: MDP, reward, temperature, target, task: Task) -> tuple[Optimal, Array, Array]:
    """The optimum in one dtype, whether its inputs are sound, and the tolerance."""
    dtype = jnp.result_type(reward, mdp.probability)
    reward = (reward[:, None] if reward.ndim == 1 else reward).astype(dtype)
    tau, target = jnp.asarray(temperature, dtype), jnp.asarray(target, dtype)
    gamma = jnp.asarray(mdp.discount, dtype)
    may_be = gamma < 1 if mdp.horizon is None and not task.layout.undiscounted else gamma <= 1
    sound = (gamma >= 0) & may_be & (tau >= 0) & (tau < jnp.inf)
    # -inf there would make an action worth -inf, which is then never taken, and nothing else would show it.
    sound = sound & jnp.isfinite(jnp.sum(mdp.probability))  # one pass over the table
    if mdp.available is None:
        sound = sound & jnp.all(jnp.isfinite(reward))
    else:
        sound = sound & jnp.all(jnp.isfinite(reward) | ~mdp.available)
        reward = jnp.where(mdp.available, reward, -jnp.inf)  # an action that does not exist
    mdp = replace(mdp, probability=mdp.probability.astype(dtype), discount=gamma)
    return Optimal(*_differentiable(task, mdp, reward, tau, target)), sound, target


def action_values(
    mdp: MDP,
    reward: Float[Array, " S"] | Float[Array, " S A"],
    *,
    temperature: ArrayLike = 0.0,
    tol: ArrayLike | None = None,
) -> Float[Array, " S A"] | Float[Array, " T S A"]:
    """Q*(s, a), what each action is worth when one goes on optimally (Puterman 2005, eq. 6.2.2), hard or soft.

    The arguments are those of `solve`.  Differentiable, implicitly, in forward and reverse mode.

    Returns:
        `[S, A]`, or `[T, S, A]` with a horizon, in units of reward; -inf for an action that does not exist.

    Raises:
        ValueError: as `solve` does.

    Example:
        >>> import mdps
        >>> grid = mdps.GridWorld.from_text("S.G", {"S": "floor", ".": "floor", "G": "goal"}, discount=0.5)
        >>> q = mdps.action_values(grid.mdp, grid.mdp.reward(grid.weights(goal=1.0)))
        >>> [round(x, 3) for x in q[1].tolist()]  # up and down bump, right arrives, left goes back
        [0.5, 1.0, 0.5, 0.25]
    """
    reward, target, task = _asked(mdp, reward, temperature, tol)
    return _action_values(mdp, reward, temperature, target, task=task)[0]


def values_with_slack(mdp: MDP, reward, *, tol: ArrayLike | None = None) -> tuple[Array, Array]:
    """Hard `action_values`, and by how much the difference of each from the best may be off, without a derivative."""
    reward, target, task = _asked(mdp, reward, 0.0, tol)
    return _values_with_slack(mdp, reward, target, task=task)


def _asked(mdp: MDP, reward, temperature, tol) -> tuple[Array, ArrayLike, Task]:
    """The reward, the tolerance and the task of a question about action values, checked."""
    reward = check_reward(check_mdp(mdp), reward)
    hard = check_temperature(temperature, reward.dtype)
    check_tolerance(tol, reward.dtype)
    check_soft(mdp, hard)
    dtype = jnp.result_type(reward, mdp.probability)
    target = (0.0 if dtype == jnp.float32 else 1e-6) if tol is None else tol
    return reward, target, Task(hard, not is_concrete(temperature), MAX_STEPS, on_cpu(), mdp.layout)


@functools.partial(jax.jit, static_argnames="task")
def _action_values(mdp: MDP, reward, temperature, target, *, task: Task) -> tuple[Array, MDP, Array, Optimal]:
    """Q, and what it was made of: the MDP and the reward in one dtype, and the optimum."""
    found, _, _ = _found(mdp, reward, temperature, target, task)
    dtype = found.value.dtype
    reward, gamma = reward.astype(dtype), jnp.asarray(mdp.discount, dtype)
    mdp = replace(mdp, probability=mdp.probability.astype(dtype), discount=gamma)
    return bellman.lookahead(mdp, reward, found.value), mdp, reward, found


@functools.partial(jax.jit, static_argnames="task")
def _values_with_slack(mdp: MDP, reward, target, *, task: Task) -> tuple[Array, Array]:
    q, mdp, reward, found = _action_values(mdp, reward, 0.0, target, task=task)
    seen = jax.lax.stop_gradient((mdp, reward, q, found.value, found.within))
    return q, bellman.tie_slack(*seen)


def _primal(task: Task, mdp: MDP, reward, tau, tol):
    """`Optimal` as a tuple; with a horizon values, errors and policy have a time axis."""
    if task.layout.undiscounted:
        return tuple(proper(task)(mdp.next_state, mdp.probability, reward, tol))  # pyright: ignore[reportGeneralTypeIssues]
    if mdp.horizon is None:
        return tuple(endless(task)(mdp.next_state, mdp.probability, reward, mdp.discount, tau, tol))  # pyright: ignore[reportGeneralTypeIssues]
    kernel = _backward(task, mdp.horizon)  # pyright: ignore[reportGeneralTypeIssues]
    value, policy, within, bound, short = kernel(mdp.next_state, mdp.probability, reward, mdp.discount, tau)
    return value, policy, within, bound, short, bound, jnp.asarray(mdp.horizon, jnp.int32)


def _differentiable_jvp(task: Task, primals, tangents):
    """The implicit derivative, from V = backup(Q(V)) at the optimum.

    dV = Σ_a π (dr + dγ E[V] + γ dE[V]) + dτ H(π) + γ M dV, a linear system of the optimal policy.
    """
    if task.layout.undiscounted:
        raise NotImplementedError(
            "values without a discount and a horizon have no derivative here; give a horizon or a discount below 1."
        )
    mdp, reward, tau, tol = primals
    d_mdp, d_reward, d_tau, _ = tangents
    value, policy, *rest = _differentiable(task, mdp, reward, tau, tol)
    gamma, probability = mdp.discount, mdp.probability

    def ahead(p, x):
        """The expected values `[..., S, A]` of the next step."""
        return expected(mdp, p, later(mdp, x))

    # What the inputs change in Q directly, before values respond.
    d_q = jnp.zeros_like(policy)
    if not isinstance(d_reward, SymbolicZero):
        d_q = d_q + jnp.broadcast_to(d_reward, d_q.shape)
    if not isinstance(d_mdp.discount, SymbolicZero):
        d_q = d_q + d_mdp.discount * ahead(probability, value)
    if not isinstance(d_mdp.probability, SymbolicZero):
        d_q = d_q + gamma * ahead(d_mdp.probability, value)
    source = jnp.sum(policy * d_q, axis=-1)
    moving_tau = not (task.hard or isinstance(d_tau, SymbolicZero))
    log_policy = jnp.log(jnp.maximum(policy, jnp.finfo(policy.dtype).tiny))
    if moving_tau:
        source = source - d_tau * jnp.sum(policy * log_policy, axis=-1)  # pyright: ignore[reportOperatorIssue]
    d_value = evaluate(mdp, policy, source)
    if task.hard:
        d_policy = jnp.zeros_like(policy)
    else:
        d_q = d_q + gamma * ahead(probability, d_value)
        # log π = Q/τ + const, so d log π = (dQ - log π dτ)/τ up to a constant per state.
        # A policy that shares the best actions (τ = 0) does not move.
        warmth = jnp.where(tau > 0, tau, jnp.inf)
        d_logit = (d_q - d_tau * log_policy if moving_tau else d_q) / warmth  # pyright: ignore[reportOperatorIssue]
        d_policy = policy * (d_logit - jnp.sum(policy * d_logit, axis=-1, keepdims=True))
    # Bounds do not move either.
    flat = [jnp.zeros(x.shape, x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jax.dtypes.float0) for x in rest]
    return (value, policy, *rest), (d_value, d_policy, *flat)


_differentiable = jax.custom_jvp(_primal, nondiff_argnums=(0,))
_differentiable.defjvp(_differentiable_jvp, symbolic_zeros=True)


@functools.cache
def _backward(task: Task, horizon: int):
    """Backward induction over `horizon` steps, batch axes last (Puterman 2005, section 4.5).

    Beside the values goes a bound on their error by state, and beside both what the policy so far falls short.
    """
    core_in = (2, 3, 2, 0, 0)

    @batch_last(core_in, core_out=(2, 3, 2, 0, 0))
    def kernel(next_state, probability, reward, gamma, tau):
        inputs = (next_state, probability, reward, gamma, tau)
        batch = np.broadcast_shapes(*(x.shape[n:] for x, n in zip(inputs, core_in, strict=True)))
        table = operator(task.layout, next_state, probability, in_place=False)
        rewards, unit = table.by_action(reward), bellman.unit(next_state.shape[1], reward.dtype)
        actions = probability.shape[1]

        def step(carry, counts):
            later, within, short = carry
            q = bellman.q_values(table.expect(later), rewards, gamma)
            sizes = bellman.sizes_of(table.expect(jnp.abs(later)), rewards, gamma)
            rho = bellman.rounding_of(q, sizes, unit)
            ahead = table.expect(within)
            off = each(lambda r, e: r + gamma * e, rho, ahead)
            tied = Interval(q, off).contenders()
            fair = tied
            if horizon > bellman.WHOLE_REACH:
                fair = Interval(q, each(lambda r, e: r + counts * gamma * e, rho, ahead)).contenders()
            if task.hard:
                value, policy = bellman.largest_of(q), bellman.shared(fair, later.dtype)
                within, rounding = Interval(q, off).loosest(tied), Interval(q, rho).loosest(tied)
                followed = bellman.followed(policy, q)
            else:
                value, share = bellman.attain(False, q, tau)
                policy = bellman.normalised(share)
                within, rounding = (bellman.soft_rounding(share, x, value, tau, actions) for x in (off, rho))
                followed = value
                if task.traced:
                    certain = tau <= 0
                    policy = each(lambda a, b: jnp.where(certain, a, b), bellman.shared(fair, later.dtype), policy)
                    followed = jnp.where(certain, bellman.followed(policy, q), value)
                    within = jnp.where(certain, Interval(q, off).loosest(tied), within)
                    rounding = jnp.where(certain, Interval(q, rho).loosest(tied), rounding)
            short = jnp.max(value - followed + 2 * rounding, axis=0) + gamma * short
            return (value, within, short), (value, bellman.stacked(policy), within)

        zero = jnp.zeros((reward.shape[0], *batch), reward.dtype)
        start = zero, zero, jnp.zeros(batch, reward.dtype)
        (_, within, short), out = jax.lax.scan(step, start, bellman.shares_by_step(gamma, horizon), reverse=True)
        bound = jnp.max(within, axis=0)
        return *out, bound, bound + short

    return kernel
