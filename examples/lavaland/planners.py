"""The planners that are compared: what each believes, how it plans, and how its plan is judged.

Everything here takes one case and is traced; `examples.lavaland` maps it over all cases at once.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

import mdps
from examples.lavaland.inputs import Case, Input
from ird import planning, posterior
from ird.evidence import ProxyReward
from ird.posterior import Posterior
from ird.risk import CVaR
from mdps import MDP
from mdps.pytrees import frozen_pytree

STAKES = "in training stakes"  # in units of what the choice among alternatives was worth in training
BASELINES = (f"start features {STAKES}", "start features", "training features", "none")
OFFSETS = ("training plan", "log-normalizer", f"start {STAKES}", "start", "none", "regret", "literal plan")


class Outcome(NamedTuple):
    """How one plan does on one deployment map.

    Attributes:
        lava: probability of entering lava within T steps.
        goal: probability of reaching the goal within T steps.
        regret: (V* - V) / (V* - V of the uniform policy) under the true reward.
        gap: certified distance from the optimum of what the planner maximises, relative to max(1, |objective|).
    """

    lava: jax.Array
    goal: jax.Array
    regret: jax.Array
    gap: jax.Array


class Beliefs(NamedTuple):
    """What the planners of one case may know.

    Attributes:
        proxy: the proxy reward as evidence.
        posterior: prior draws weighted by that evidence.
        worst: a few equally weighted draws from it, each repeated, for the worst case.
        few: equally weighted draws from the posterior, for plans per trajectory.
        few_worst: the draws of `worst`, repeated to the number of `few`.
        prior: the prior without evidence.
        demonstration: the mean weights of Bayesian IRL on the proxy's plan, `[K]`.
    """

    proxy: ProxyReward
    posterior: Posterior
    worst: Posterior
    few: Posterior
    few_worst: Posterior
    prior: Posterior
    demonstration: jax.Array


@frozen_pytree
@dataclass(frozen=True)
class ProxyPlanAsDemonstration:
    """The proxy's plan mistaken for a demonstration of the true reward (maximum-entropy IRL, Ziebart 2010).

    Σ_t E[log π_soft(a_t | s_t; w)] at temperature 1/β, with states and actions of the proxy's plan;
    it telescopes to β (w·φ̃ - V_soft(w)).  A control: it takes what the plan happens not to do for dislike.

    Attributes:
        mdp: the training MDP.
        feature_expectations: φ̃, what the plan collects, `[K]`.
        beta: inverse temperature of the supposed demonstrator, in 1/return.
    """

    mdp: MDP
    feature_expectations: jax.Array
    beta: jax.Array | float

    @property
    def feature_names(self) -> tuple[str, ...]:
        return self.mdp.feature_names

    def log_likelihood(self, weights: jax.Array) -> jax.Array:
        """`[N, K] -> [N]`."""

        def soft_value(w):
            return self.mdp.initial @ mdps.solve(self.mdp, self.mdp.reward(w), temperature=1 / self.beta).value

        best = jax.vmap(soft_value)(weights)
        return self.beta * (weights @ self.feature_expectations - best)


def prior_of(width: jax.Array) -> dist.Distribution:
    """The prior of the true reward: a box of these half-widths, `[K]`."""
    return dist.Uniform(-width, width).to_event(1)


def evidence(
    table: dict[str, Any], mdp: MDP, weights: jax.Array, prior: dist.Distribution, key: jax.Array
) -> ProxyReward:
    """The proxy on one training map, among alternatives drawn from the prior."""
    return ProxyReward.sampled(
        weights, mdp, beta=table["beta"], prior=prior, num_proxies=table["alternatives"], key=key
    )


def believe(settings: dict[str, Any], case: Case, key: jax.Array) -> Beliefs:
    """Everything that is inferred before the deployment map is seen."""
    table, n = settings["prior"], settings["planners"]["worst_case_draws"]
    k_alternatives, k_samples, k_few, k_worst, k_demonstration = jax.random.split(key, 5)
    prior = prior_of(case.width)
    proxy = evidence(settings["designer"], case.train.mdp, case.proxy, prior, k_alternatives)
    belief = posterior.importance(proxy, prior=prior, num_samples=table["samples"], key=k_samples)
    plan = ProxyPlanAsDemonstration(case.train.mdp, proxy.feature_expectations, settings["designer"]["beta"])
    demonstrations, few = table["demonstration_samples"], table["trajectory_samples"]
    nothing = posterior.importance(prior=prior, num_samples=table["samples"], key=k_samples)
    worst = belief.resample(n, key=k_worst)
    # The worst case of n draws is CVaR at any α ≤ 1/n. With the draws repeated to the number of the other
    # samples, one compiled program serves every α and the worst case.
    return Beliefs(
        proxy=proxy,
        posterior=belief,
        worst=worst.resample(-(-table["samples"] // n) * n, key=k_worst),
        few=belief.resample(few, key=k_few),
        few_worst=worst.resample(few, key=k_worst),
        prior=replace(nothing, feature_names=proxy.feature_names),
        demonstration=posterior.importance(plan, prior=prior, num_samples=demonstrations, key=k_demonstration).mean(),
    )


class Decision(NamedTuple):
    """A plan: a policy, and how far it is certified to be from the optimum of what its planner maximises."""

    policy: jax.Array
    gap: jax.Array


def yardstick(case: Case) -> tuple[jax.Array, jax.Array]:
    """The best return under the true reward, and that of the uniform policy."""
    mdp, reward = case.field.mdp, case.field.mdp.reward(case.truth)
    uniform = jnp.full((mdp.num_states, mdp.num_actions), 1 / mdp.num_actions, reward.dtype)
    return mdp.initial @ mdps.solve(mdp, reward).value, mdps.policy_return(mdp, uniform, reward)


def judge(source: Input, case: Case, yardstick: tuple[jax.Array, jax.Array], decision: Decision) -> Outcome:
    """How a plan does on the deployment map, under the true reward."""
    field, policy, mdp = case.field, decision.policy, case.field.mdp
    best, uniform = yardstick
    attained = mdps.policy_return(mdp, policy, mdp.reward(case.truth))
    return Outcome(
        lava=mdps.visit_probability(mdp, policy, field.where(*source.avoid)),
        goal=mdps.visit_probability(mdp, policy, field.where(*source.reach)),
        regret=(best - attained) / (best - uniform),
        gap=decision.gap,
    )


def solved(mdp: MDP, reward: jax.Array) -> Decision:
    """The optimal plan for a reward."""
    plan = mdps.solve(mdp, reward)
    return Decision(plan.policy, plan.error_bound / jnp.maximum(1, jnp.abs(mdp.initial @ plan.value)))


def planned(plan: planning.RiskPlan) -> Decision:
    """A careful plan as a `Decision`."""
    return Decision(plan.policy, (plan.bound - plan.objective) / jnp.maximum(1, jnp.abs(plan.objective)))


def forbidding(case: Case) -> jax.Array:
    """The proxy's reward with a prohibitive price on features that no training state has, `[S]`.

    A control: it is told which features were seen, which no planner of this library reads.
    """
    seen = jnp.any(case.train.mdp.features != 0, axis=0)
    unseen = jnp.any((case.field.mdp.features != 0) & ~seen[None], axis=-1)
    # More than a whole run can be worth.
    price = 4 * case.field.mdp.total_visits * jnp.max(jnp.abs(case.proxy))
    return case.field.mdp.reward(case.proxy) - price * unseen


def recommended(
    mdp: MDP, belief: Posterior, give_up: float = 0.7, cut: float = 0.05, sure: float | None = None
) -> Decision:
    """The recommended planner: least exposure to what the evidence says nothing about, at a bounded price."""
    plan = planning.plan_least_exposure(mdp, belief, give_up=give_up, cut=cut, sure=sure)
    return Decision(plan.policy, (plan.exposure - plan.bound) / jnp.maximum(1, plan.exposure))


def by_step(mdp: MDP, belief: Posterior, alpha: float | jax.Array, *proxies: ProxyReward) -> Decision:
    """CVaR per step, measured from the start's features, in units of training stakes."""
    start, units = planning.start_features(mdp), planning.training_stakes(belief, *proxies)
    return planned(planning.plan_per_step(mdp, belief, risk=CVaR(alpha), baseline=start, units=units))


def literal(case: Case) -> Decision:
    """Plan for the proxy as if it were the reward."""
    return solved(case.field.mdp, case.field.mdp.reward(case.proxy))


SINGLE = ("literal", "mean", "oracle", "forbid", "demonstration mean", "recommended")


def single(settings: dict[str, Any], case: Case, beliefs: Beliefs) -> Decision:
    """Planners that appear once, in the order of `SINGLE`: without a risk measure, and the controls."""
    mdp = case.field.mdp
    rewards = [
        mdp.reward(case.proxy),
        mdp.reward(beliefs.posterior.mean()),
        mdp.reward(case.truth),
        forbidding(case),
        mdp.reward(beliefs.demonstration),
    ]
    plain = jax.vmap(lambda reward: solved(mdp, reward))(jnp.stack(rewards))
    careful = recommended(mdp, beliefs.posterior, **settings["default"])
    return jax.tree.map(lambda first, last: jnp.concatenate([first, last[None]]), plain, careful)


def per_step(case: Case, proxy: ProxyReward, belief: Posterior, baseline: Any, alpha: Any) -> Decision:
    """CVaR per step, measured from the baseline of that number in `BASELINES`."""
    mdp, stakes = case.field.mdp, planning.training_stakes(belief, proxy)
    start = planning.start_features(mdp)
    row = jnp.stack([start, start, planning.training_features(proxy), jnp.zeros(mdp.num_features)])[baseline]
    units = jnp.where(baseline == 0, stakes, 1)
    return planned(planning.plan_per_step(mdp, belief, risk=CVaR(alpha), baseline=row, units=units))


def offsets(case: Case, proxy: ProxyReward, belief: Posterior) -> tuple[jax.Array, jax.Array]:
    """What each sample's return is measured from and in what units, in the order of `OFFSETS`: `[offsets, n]` twice."""
    mdp = case.field.mdp
    start = planning.start_offset(mdp, belief)
    rows = [
        planning.training_offset(mdp, belief, proxy),
        planning.log_normalizer_offset(mdp, belief, proxy),
        start,
        start,
        planning.no_offset(belief),
        planning.regret_offset(mdp, belief),
        planning.policy_offset(mdp, belief, literal(case).policy),
    ]
    units = jnp.ones((len(rows), start.shape[0])).at[OFFSETS.index(f"start {STAKES}")]
    return jnp.stack(rows), units.set(planning.training_stakes(belief, proxy))


def per_trajectory(case: Case, belief: Posterior, offset: Any, units: Any, alpha: Any, tol: Any) -> Decision:
    """CVaR over whole trajectories, measured from an offset, in units."""
    return planned(planning.plan(case.field.mdp, belief, risk=CVaR(alpha), offset=offset, units=units, tol=tol))
