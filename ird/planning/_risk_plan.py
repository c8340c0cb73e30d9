"""A careful plan with its certificate, and what both planners charge for rounding."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ird.planning._explain import Remembers, explanation_of
from ird.risk import Risk
from mdps.checks import is_concrete, shown
from mdps.mdp import MDP
from mdps.policy_evaluation import push
from mdps.pytrees import frozen_pytree


@frozen_pytree
@dataclass(frozen=True, eq=False, repr=False)
class RiskPlan(Remembers):
    """A plan that is careful about what the reward might be, with a certificate.

    Attributes:
        policy: probability of each action, `[S, A]`, or `[T, S, A]` with a horizon.
        objective: what this policy attains at least, in units of return: what may be rounding is taken off, and
            what the least likely of the plans that it mixes would have brought (shares below a ten thousandth of
            `tol` are dropped).
        bound: no policy attains more; includes the solver's own error bound and rounding.  Infinite where
            nothing is known, because something that was traced is not finite.
        feature_expectations: expected discounted sum of features under the policy, `[K]`.
        converged: whether `bound - objective` met the tolerance.  Where it did not and `steps` reached
            `max_steps` (many features, a small `tol`), more steps help; where it stopped before that, rounding
            does not allow `tol`: a larger one, or float64 (`jax_enable_x64`), does.
        steps: calls of the solver.

    `print(plan)` says what it does on average beside the plan for the belief's mean, what its caution rests on, and
    whether it has frozen (`planning.explain`); of plans made under `vmap`, what their fields hold.
    """

    policy: Float[Array, " S A"] | Float[Array, " T S A"]
    objective: Float[Array, ""]
    bound: Float[Array, ""]
    feature_expectations: Float[Array, " K"]
    converged: Bool[Array, ""]
    steps: Int[Array, ""]

    def __str__(self) -> str:
        if not all(is_concrete(x) for x in jax.tree.leaves(self)) or np.ndim(self.objective):
            return f"{type(self).__name__} of a batch, or traced: objective {shown(self.objective)}"
        objective, bound = float(self.objective), float(self.bound)
        lines = [f"objective                {objective:.4g}  (no policy attains more than {bound:.4g})"]
        about = explanation_of(self)
        lines += [] if about is None else [str(about)]
        if not bool(self.converged):
            lines.append(f"not converged: the two may differ by {bound - objective:.2g} after {int(self.steps)} steps")
        return "\n".join(lines)


def check_risk(risk: Risk, weights, log_weights) -> None:
    """Let a risk measure look at concrete weights, computing nothing."""
    if isinstance(risk, type) or not callable(getattr(risk, "value", None)):
        raise ValueError(f"risk is {risk!r}; give a measure from ird.risk, such as CVaR(0.1) or Mean().")
    jax.eval_shape(lambda returns: risk.value(returns, log_weights), jnp.zeros(log_weights.shape, weights.dtype))


def rounding_of_sums(dtype, num_samples: int, num_features: int) -> float:
    """Relative rounding of ρ(w·φ - c) and of a cut: sums over samples and features round as pairwise sums do.

    Ten roundings are the measure's own (`ird.risk`): its formula, and a tilt that is not known any better.
    """
    return float(jnp.finfo(dtype).eps) / 2 * (math.log2(num_samples + 1.0) + num_features + 10)


def rounding_of_visits(mdp: MDP, dtype) -> Array | float:
    """Relative rounding of what a policy collects.

    Visits are sums of what arrives, step by step: in each of h steps (the horizon, or 1/(1 - γ)) D + A + 1 roundings
    that are independent of each other, and half a one that is the same whenever the same comes again.
    """
    h = 1 / (1 - mdp.discount) if mdp.horizon is None else float(mdp.horizon)
    each = mdp.next_state.shape[1] + mdp.num_actions + 1
    return float(jnp.finfo(dtype).eps) / 2 * (2 * (h * each) ** 0.5 + h / 2)


def visits_of(mdp: MDP, policy: Array, tol=None) -> Array:
    """Expected discounted visits of each state under a policy, `[S]`, or per step `[T, S]` with a horizon."""
    if mdp.horizon is None:
        return jnp.maximum(push(mdp, policy, mdp.initial, tol), 0)
    start = jnp.zeros((mdp.horizon, mdp.num_states), policy.dtype).at[0].set(mdp.initial)
    return push(mdp, policy, start)
