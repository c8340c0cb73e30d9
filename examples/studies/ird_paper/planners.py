"""The planners of the paper's study, as a few compiled programs over a block of maps.

Everything here takes one pair of maps and is traced; `examples.studies.ird_paper` maps it over a block.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import mdps
from examples.lavaland.inputs import rebuild
from examples.lavaland.planners import Decision, planned, recommended, solved
from examples.studies.ird_paper.worlds import Pair, Sensed, grid_of, meant, prior_of
from ird import ProxyReward, planning, posterior
from ird.posterior import Posterior
from ird.risk import CVaR
from mdps import GridWorld
from mdps.worlds.lavaland import NAMES

PLAIN = ("literal", "mean, Sample-Z", "mean, MaxEnt-Z", "oracle, lava", "oracle, harmless")
RISKS = ("CVaR", "worst case")
SCHEMES = ("per step", "per trajectory")
NORMALIZERS = ("Sample-Z", "MaxEnt-Z")
SURE = 1.75  # of least exposure, in every condition; chosen on raw observations of the seeds 1 to 3
MAX_STEPS = 100  # most plans that one plan per trajectory is mixed from


class Outcome(NamedTuple):
    """How one plan does on one test map.

    Attributes:
        new: probability of entering the new terrain within T steps.
        goal: probability of reaching the goal within T steps.
        visits: expected number of steps on each terrain, `[4]`; with a reward of each, the return.
        gap: certified distance from the optimum of what the planner maximises, relative to max(1, |objective|).
    """

    new: jax.Array
    goal: jax.Array
    visits: jax.Array
    gap: jax.Array


class Draws(NamedTuple):
    """A belief, and what was at stake in training under each sample of it: the units of its returns."""

    weights: jax.Array
    log_weights: jax.Array
    units: jax.Array
    feature_names: tuple[str, ...] = ()  # a belief need not name its features


class Weighed(NamedTuple):
    """A posterior in the forms that planners ask for; those of `RISKS` are stacked.

    Attributes:
        mean: its mean, `[K]`.
        effective_sample_size: how many independent draws it is worth.
        steps: for plans per step: the weighted samples, and the worst-case draws repeated to as many.
        few: for plans per trajectory: a few equally weighted draws, and the worst-case draws likewise.
        offset: what the returns of `few` are measured from.
    """

    mean: jax.Array
    effective_sample_size: jax.Array
    steps: Draws
    few: Draws
    offset: jax.Array


def judge(grid: GridWorld, decision: Decision) -> Outcome:
    """What a plan does on a map."""
    new, goal = (mdps.visit_probability(grid.mdp, decision.policy, x) for x in (grid.where("lava"), grid.goal))
    here = jnp.sum(mdps.occupancy(grid.mdp, decision.policy), axis=1)
    visits = jnp.stack([here @ grid.where(name).astype(here.dtype) for name in NAMES])
    return Outcome(new, goal, visits, decision.gap)


def maps_of(settings: dict[str, Any], pair: Pair, sensed: Sensed) -> tuple[GridWorld, GridWorld]:
    """Both maps, with what the robot reads off them as features."""
    horizon = settings["world"]["horizon"]
    return grid_of(pair.train, horizon, sensed.train), grid_of(pair.test, horizon, sensed.test)


def propose(settings: dict[str, Any], pair: Pair, sensed: Sensed) -> ProxyReward:
    """The proxy as evidence among its alternatives, each planned for on the training map."""
    train, _ = maps_of(settings, pair, sensed)
    beta = settings["designer"]["beta"]
    return ProxyReward(sensed.proxy, train.mdp, beta=beta, alternatives=sensed.alternatives)


def weigh(
    settings: dict[str, Any],
    pair: Pair,
    sensed: Sensed,
    scale: jax.Array,
    proxy: ProxyReward,
    key: jax.Array,
    maxent: bool,
) -> Weighed:
    """What the proxy tells of the true reward, by Sample-Z or by MaxEnt-Z."""
    table, planner, N = settings["maxent"], settings["planner"], settings["prior"]["samples"]
    _, test = maps_of(settings, pair, sensed)
    for_samples, for_few, for_worst, for_all = jax.random.split(key, 4)
    if maxent:
        evidence = ProxyReward.maxent(sensed.proxy, proxy.mdp, beta=table["beta"])
        prior, samples = prior_of(table["scale"] * scale), table["samples"]
    else:
        evidence, prior, samples = proxy, prior_of(scale), N
    belief = posterior.importance(evidence, prior=prior, num_samples=samples, key=for_samples)
    # As many samples for both posteriors, so that one program plans for both.
    everything = belief if samples == N else belief.resample(N, key=for_all)
    worst = belief.resample(planner["worst_case_draws"], key=for_worst)

    def stacked(*beliefs: Posterior) -> Draws:
        each = [Draws(x.weights, x.log_weights, planning.training_stakes(x, proxy)) for x in beliefs]
        return jax.tree.map(lambda *x: jnp.stack(x), *each)

    # The worst case of some draws is CVaR at any α below the part of one of them, however often each is repeated.
    steps = stacked(everything, worst.resample(N, key=for_all))
    few = stacked(*(each.resample(planner["trajectory_samples"], key=for_few) for each in (belief, worst)))
    offset = jax.vmap(lambda each: planning.training_offset(test.mdp, each, proxy))(few)
    return Weighed(belief.mean(), belief.effective_sample_size, steps, few, offset)


def least_exposure(
    settings: dict[str, Any], pair: Pair, sensed: Sensed, scale: jax.Array, proxy: ProxyReward, key: jax.Array
) -> Outcome:
    """The plan of least exposure under the belief that `weigh` makes by Sample-Z."""
    _, test = maps_of(settings, pair, sensed)
    for_samples, *_ = jax.random.split(key, 4)
    prior, samples = prior_of(scale), settings["prior"]["samples"]
    belief = posterior.importance(proxy, prior=prior, num_samples=samples, key=for_samples)
    return judge(test, recommended(test.mdp, belief, sure=SURE))


def alphas(settings: dict[str, Any], beliefs: Draws) -> jax.Array:
    """CVaR's share of the posterior for each of `RISKS`, or the first of them."""
    planner = settings["planner"]
    return jnp.array([planner["alpha"], 0.5 / planner["worst_case_draws"]])[: len(beliefs.weights)]


def plain(settings: dict[str, Any], pair: Pair, sensed: Sensed, means: tuple[jax.Array, jax.Array]) -> Outcome:
    """Plans without a risk measure and the oracles, in the order of `PLAIN`."""
    grid = rebuild(pair.test, settings["world"]["horizon"])
    known, truth = meant(settings), settings["truth"]
    by_terrain = [grid.mdp.features @ jnp.append(known, truth[name]) for name in ("lava", "harmless")]
    rewards = [sensed.test @ w for w in (sensed.proxy, *means)] + by_terrain
    return jax.vmap(lambda reward: judge(grid, solved(grid.mdp, reward)))(jnp.stack(rewards))


def per_step(settings: dict[str, Any], pair: Pair, sensed: Sensed, beliefs: Draws) -> Outcome:
    """Plans per step, measured from the training map's mean features, in training stakes; in the order of `RISKS`."""
    train, test = maps_of(settings, pair, sensed)
    usual = planning.map_features(train.mdp)

    def one(args):
        belief, alpha = args
        made = planning.plan_per_step(test.mdp, belief, risk=CVaR(alpha), baseline=usual, units=belief.units)
        return judge(test, planned(made))

    return jax.lax.map(one, (beliefs, alphas(settings, beliefs)))


def per_trajectory(settings: dict[str, Any], pair: Pair, sensed: Sensed, beliefs: Draws, offset: jax.Array) -> Outcome:
    """Plans per trajectory, measured from the training plan, in training stakes; in the order of `RISKS`."""
    _, test = maps_of(settings, pair, sensed)
    tol = settings["planner"]["tol"]

    def one(args):
        belief, offset, alpha = args
        risk, units = CVaR(alpha), belief.units
        made = planning.plan(test.mdp, belief, risk=risk, offset=offset, units=units, tol=tol, max_steps=MAX_STEPS)
        return judge(test, planned(made))

    return jax.lax.map(one, (beliefs, offset, alphas(settings, beliefs)))
