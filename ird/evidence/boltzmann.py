"""How likely people who choose noisily are to take each action: log-odds that stay right however sharp they are.

The log-odds of an action are β times what it is worth, so whatever is wrong with a value is wrong β times as much: a
tolerance of 1e-6 or the rounding of float32 decide what a sharp person does where two actions are in truth as good.
Three things keep that from happening.  Values are planned for as accurately as β asks; differences that the errors of
the two values can explain count as none (`mdps.bellman`), while derivatives are those of the values
themselves; and a soft optimum is solved as what it adds to the hard one, in nats:

    V_soft = V + τ U,    U(s) = log Σ_a exp(β d(s, a) + γ E[U(s')]),    d(s, a) = Q(s, a) - V(s),    τ = 1/β

which is potential-based shaping (Ng, Harada & Russell 1999) by the hard optimum V.  U is of the size of an entropy, so
that nothing large cancels.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mdps.bellman import differences, expected, lookahead, moved_by
from mdps.mdp import MDP
from mdps.solvers import solve, values_with_slack

__all__ = ["Gains", "accuracy", "foresighted", "rational", "shaped"]
__dir__ = __all__.copy


class Gains(NamedTuple):
    """What each action gains over the best, at most nothing, in nats.

    Attributes:
        value: β d(s, a), `[S, A]`, or `[T, S, A]` with a horizon; -inf for an action that does not exist.
        doubt: β times the slack of d: by how much it may be off.
    """

    value: Float[Array, " ... S A"]
    doubt: Float[Array, " ... S A"]


def rational(mdp: MDP, reward: Float[Array, " S *A"], beta: Float[Array, ""]) -> Gains:
    """β (Q* - V*), the log-odds of people whose choices are noisy, not their plans (Ramachandran & Amir 2007)."""
    q, slack = values_with_slack(mdp, reward, tol=accuracy(jnp.result_type(reward, mdp.probability), beta))
    return Gains(_scaled(beta, differences(q, slack)), beta * slack)


def shaped(mdp: MDP, reward: Float[Array, " S *A"], beta: Float[Array, ""]) -> Gains:
    """β (r + γ E[V*] - V*): the same numbers as a reward, for `foresighted`.

    The soft optimum is the same whatever potential shapes the reward, so V* does not move with it.
    """
    tol = jax.lax.stop_gradient(accuracy(jnp.result_type(reward, mdp.probability), beta))
    q, slack = values_with_slack(*jax.lax.stop_gradient((mdp, reward)), tol=tol)
    moving = lookahead(dataclasses.replace(mdp, available=None), reward, jnp.max(q, axis=-1))
    return Gains(_scaled(beta, moved_by(differences(q, slack), moving)), beta * slack)


def foresighted(mdp: MDP, gain: Float[Array, " ... S A"]) -> Float[Array, " ... S A"]:
    """`gain` + γ E[U], the log-odds of people who plan for their own noise (Ziebart 2010): maximum causal entropy."""
    if mdp.horizon is None:
        more = solve(mdp, jnp.where(gain > -jnp.inf, gain, 0), temperature=1.0).value
        return gain + mdp.discount * expected(mdp, mdp.probability, more)

    def earlier(more, gain):
        odds = gain + mdp.discount * expected(mdp, mdp.probability, more)
        return jax.nn.logsumexp(odds, axis=-1), odds

    return jax.lax.scan(earlier, jnp.zeros(mdp.num_states, gain.dtype), gain, reverse=True)[1]


def accuracy(dtype, beta: ArrayLike) -> Array | None:
    """The tolerance that leaves β times a value within 1e-6; None in float32, where it is the floor."""
    return None if dtype == jnp.float32 else jnp.asarray(1e-6, dtype) / jnp.maximum(beta, 1).astype(dtype)


def _scaled(beta, differences):
    """β times differences, -inf where there is no action, with finite derivatives."""
    exist = differences > -jnp.inf
    return jnp.where(exist, beta * jnp.where(exist, differences, 0), -jnp.inf)
