"""What each agent believes, plans and does at the desk, on both sets of cases at once and exactly."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import Distribution

import mdps
from examples.service_desk.desk import ACTIONS, METRICS, WRONG, Desk, State
from ird import ProxyReward, planning, posterior
from ird.posterior import Posterior
from ird.risk import CVaR
from mdps import MDP, feature_expectations, solve
from mdps.policies import uniform_policy

CASES = ("training", "deployment")
BETA = 10.0  # of who wrote the metrics: within a few percent of their best, which the program says


@dataclass(frozen=True)
class World:
    """Both sets of cases of one table, and what its managers wrote and meant.

    Attributes:
        desk: the table.
        both: the MDPs of both sets, stacked in the order of `CASES`.
        ruled: the same, where no issue can be closed on a wrong answer.
        written: points for a unit of each metric, as written, `[K]`.
        meant: as meant, `[K]`.
        prior: what the points may have been.
    """

    desk: Desk
    both: MDP
    ruled: MDP
    written: jax.Array
    meant: jax.Array
    prior: Distribution

    @staticmethod
    def of(desk: Desk) -> "World":
        """The world of a table."""
        each = [desk.mdp(cases) for cases in CASES]
        worth = jnp.asarray(desk.weights("worth"))
        return World(
            desk=desk,
            both=mdps.stack(each),
            ruled=mdps.stack([never_close_unresolved(desk, mdp) for mdp in each]),
            written=jnp.asarray(desk.weights("written")),
            meant=jnp.asarray(desk.weights("meant")),
            prior=dist.Uniform(-worth, worth).to_event(1),
        )

    def one(self, cases: str) -> MDP:
        """The MDP of one set of cases."""
        return jax.tree.map(lambda x: x[CASES.index(cases)], self.both)


def never_close_unresolved(desk: Desk, mdp: MDP) -> MDP:
    """The MDP without the actions that close an issue on a wrong answer: a rule that a person would write."""
    exist = np.array(mdp.available)
    for s, state in enumerate(desk.states()):
        if isinstance(state, State) and state.last == WRONG:
            exist[s, ACTIONS.index("close")] = False
    return mdp.replace(available=jnp.asarray(exist))


def written_proxy(world: World, alternatives: int, key: Any) -> ProxyReward:
    """The written metrics as evidence: managers who looked at the training cases, and could have written others."""
    rewards = jnp.concatenate([world.written[None], world.prior.sample(key, (alternatives,))])
    return ProxyReward(world.written, world.one("training"), beta=BETA, alternatives=rewards)


def given_up(proxy: ProxyReward) -> float:
    """What managers of that β give up on average, as a share of what was at stake, had they meant any alternative."""
    plans, counts = np.asarray(proxy.alternative_features, np.float64), np.asarray(proxy.counts, np.float64)
    returns = np.asarray(proxy.alternatives, np.float64) @ plans.T  # [M, M']
    best = returns.max(axis=1, keepdims=True)
    likely = counts * np.exp(float(proxy.beta) * (returns - best))
    lost = best[:, 0] - np.sum(likely * returns, axis=1) / np.sum(likely, axis=1)
    return float(np.mean(lost / np.ptp(returns, axis=1)))


@jax.jit
def literal(both: MDP, weights: jax.Array) -> jax.Array:
    """The optimal policy for these points, on each set of cases."""
    return jax.vmap(lambda mdp: solve(mdp, mdp.reward(weights)).policy)(both)


@jax.jit
def least_exposure(both: MDP, belief: Posterior) -> planning.ExposurePlan:
    """The plan of least exposure, on each set of cases."""
    return jax.vmap(lambda mdp: planning.plan_least_exposure(mdp, belief))(both)


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


def yardstick(world: World) -> np.ndarray:
    """What is meant under the best policy and under one that acts at random, on each set of cases, `[2, 2]`."""
    random = jnp.broadcast_to(jax.vmap(uniform_policy)(world.both)[:, None], literal(world.both, world.meant).shape)
    policies = literal(world.both, world.meant), random
    return np.stack([np.asarray(collected(world.both, each)) @ np.asarray(world.meant) for each in policies], axis=1)


def believed(world: World, *evidence: Any, samples: int, key: Any) -> Posterior:
    """What the evidence leaves of the prior."""
    return posterior.importance(*evidence, prior=world.prior, num_samples=samples, key=key)
