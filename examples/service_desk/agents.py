"""What each agent believes, plans and does at the desk, on both sets of cases at once and exactly."""

import functools
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import Distribution

import mdps
from examples.service_desk.desk import ACTIONS, METRICS, WRONG, Desk, State
from ird import ProxyReward, designer, planning, posterior
from ird.posterior import Posterior
from ird.risk import CVaR
from mdps import MDP, feature_expectations, solve
from mdps.policies import uniform_policy

CASES = ("training", "deployment")
CARE = 0.002  # of who wrote the metrics: within so much of the best that they could have written, on average


@dataclass(frozen=True)
class World:
    """Both sets of cases of one table, and what its managers wrote and meant.

    Attributes:
        desk: the table.
        both: the MDPs of both sets, stacked in the order of `CASES`.
        written: points for a unit of each metric, as written, `[K]`.
        meant: as meant, `[K]`.
        worth: what they may have been: between minus and plus this, `[K]`.
    """

    desk: Desk
    both: MDP
    written: jax.Array
    meant: jax.Array
    worth: jax.Array

    @staticmethod
    def of(desk: Desk) -> "World":
        """The world of a table."""
        return World(
            desk=desk,
            both=mdps.stack([desk.mdp(cases) for cases in CASES]),
            written=jnp.asarray(desk.weights("written")),
            meant=jnp.asarray(desk.weights("meant")),
            worth=jnp.asarray(desk.weights("worth")),
        )

    def one(self, cases: str) -> MDP:
        """The MDP of one set of cases."""
        return jax.tree.map(lambda x: x[CASES.index(cases)], self.both)


def never_close_unresolved(both: MDP, desk: Desk) -> MDP:
    """Both MDPs, where no issue can be closed on a wrong answer: a rule that a person would write."""
    wrong = np.asarray([isinstance(state, State) and state.last == WRONG for state in desk.states()])
    forbidden = wrong[:, None] & (np.arange(len(ACTIONS)) == ACTIONS.index("close"))
    return replace(both, available=both.available & ~jnp.asarray(forbidden)[None])


def prior(worth: jax.Array) -> Distribution:
    """What the points may have been."""
    return dist.Uniform(-worth, worth).to_event(1)


@functools.partial(jax.jit, static_argnames=("alternatives", "samples"))
def inferred(
    train: MDP, written: jax.Array, worth: jax.Array, key: Any, *, alternatives: int, samples: int, care: Any = CARE
) -> tuple[ProxyReward, Posterior]:
    """The written metrics as evidence, and what they leave of the prior.

    The managers looked at the training cases, could have written so many other metrics, and came so near to their best.
    """
    for_proxy, for_belief = jax.random.split(key)
    rewards = jnp.concatenate([written[None], prior(worth).sample(for_proxy, (alternatives,))])
    proxy = ProxyReward(written, train, alternatives=rewards)
    proxy = proxy.replace(beta=designer.beta_within(care, proxy))
    return proxy, believed(proxy, worth=worth, samples=samples, key=for_belief)


def believed(*evidence: Any, worth: jax.Array, samples: int, key: Any) -> Posterior:
    """What the evidence leaves of the prior."""
    return posterior.importance(*evidence, prior=prior(worth), num_samples=samples, key=key)


@jax.jit
def literal(both: MDP, weights: jax.Array) -> jax.Array:
    """The optimal policy for these points, on each set of cases."""
    return jax.vmap(lambda mdp: solve(mdp, mdp.reward(weights)).policy)(both)


def least_exposure(both: MDP, *beliefs: Posterior, cut: float = 0.05) -> planning.ExposurePlan:
    """The plan of least exposure in two MDPs at once, under one belief or under one each."""
    two = jax.tree.map(lambda *x: jnp.stack(x), *(beliefs if len(beliefs) > 1 else beliefs * 2))
    return _least_exposure(both, two, cut)


@jax.jit
def _least_exposure(both: MDP, beliefs: Posterior, cut: Any) -> planning.ExposurePlan:
    return jax.vmap(lambda mdp, belief: planning.plan_least_exposure(mdp, belief, cut=cut))(both, beliefs)


@functools.partial(jax.jit, static_argnames="risk")
def careful(both: MDP, belief: Posterior, proxy: ProxyReward, risk: CVaR) -> Any:
    """The plan that is careful about the whole conversation, measured from what the written metrics did in training."""
    return jax.vmap(
        lambda mdp: planning.plan(mdp, belief, risk=risk, offset=planning.training_offset(mdp, belief, proxy))
    )(both)


@jax.jit
def collected(both: MDP, policies: jax.Array) -> jax.Array:
    """What policies collect of each metric in a conversation, on each set of cases, `[2, K]`."""
    return jax.vmap(feature_expectations)(both, policies)


def judged(world: World, policies: jax.Array, scale: np.ndarray) -> dict[str, dict[str, float]]:
    """How policies do: what was meant, regret, and the metrics; shares are of the issues or the conversations."""
    found, issues = {}, world.desk.table["issues"]
    for cases, metrics, (best, random) in zip(CASES, np.asarray(collected(world.both, policies)), scale, strict=True):
        row = dict(zip(METRICS, metrics.tolist(), strict=True))
        value = float(metrics @ np.asarray(world.meant))
        shares = {name: row[name] / issues for name in ("resolved", "reopened", "escalated")}
        found[cases] = row | shares | {"return": value, "regret": float((best - value) / (best - random))}
    return found


def at_random(both: MDP) -> jax.Array:
    """Policies that take every action that exists alike, at each step."""
    policies = jax.vmap(uniform_policy)(both)[:, None]
    return jnp.broadcast_to(policies, (len(policies), both.horizon or 1, *policies.shape[2:]))


def yardstick(world: World) -> np.ndarray:
    """What is meant under the best policy and under one that acts at random, on each set of cases, `[2, 2]`."""
    policies = literal(world.both, world.meant), at_random(world.both)
    return np.stack([np.asarray(collected(world.both, each)) @ np.asarray(world.meant) for each in policies], axis=1)
