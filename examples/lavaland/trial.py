"""One trial of Lavaland, a pure function of a key: a designer, a belief, a careful plan, and how it does.

`trial` is what thousands of worlds are made of; the sweep, the long study and the benchmarks map it over
keys and settings.  It needs nothing but the library.
"""

import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

import mdps
from examples.lavaland import planners
from ird import ProxyReward, posterior
from ird.posterior import Posterior
from mdps import GridWorld
from mdps.worlds.lavaland import NAMES, Lavaland

PROXY = {"dirt": -0.1, "grass": -0.5, "target": 1.0, "lava": 0.0}  # the designer never thought of lava
PRIOR = 1.0  # every weight uniform on [-PRIOR, PRIOR], alike for all terrains


class Rates(NamedTuple):
    """What a policy does on one map: probability of entering lava and of reaching the goal within T steps."""

    lava: jax.Array
    goal: jax.Array


class World(NamedTuple):
    """A field to act in, and what is known when the robot gets there.

    Attributes:
        field: the deployment map.
        proxies: the proxy as evidence, from each of the training maps.
        belief: the posterior that they leave.
    """

    field: GridWorld
    proxies: list[ProxyReward]
    belief: Posterior


def trial(
    key: jax.Array,
    *,
    beta: Any = 5.0,
    alpha: Any = 0.12,
    lava_share: Any = None,
    alternatives: int = 1000,
    samples: int = 2000,
) -> Rates:
    """A designer writes a proxy on one random map; a planner that is careful per step takes it to a field.

    Args:
        key: all chance follows from it.
        beta: inverse temperature of the designer, in 1/return.
        alpha: the planner's CVaR level.
        lava_share: share of the field's cells that are lava; the generator's when None.
        alternatives: rewards the designer could have written besides the proxy, drawn from the prior (static).
        samples: draws of the prior, weighted by the evidence (static).
    """
    made = world(key, beta=beta, lava_share=lava_share, alternatives=alternatives, samples=samples)
    return rates(made.field, planners.by_step(made.field.mdp, made.belief, alpha, *made.proxies).policy)


def world(
    key: jax.Array,
    *,
    beta: Any,
    alternatives: int,
    samples: int,
    lava_share: Any = None,
    training_maps: int = 1,
    proxy: dict[str, float] = PROXY,
    prior: float = PRIOR,
) -> World:
    """Draw a field and training maps, and infer what the proxy says, checked on each of these."""
    maps = Lavaland.from_toml()
    for_field, for_samples, for_alternatives, *for_maps = jax.random.split(key, 3 + training_maps)
    box = dist.Uniform(-prior, prior).expand([len(NAMES)]).to_event(1)
    field = maps.field(for_field, lava=lava_share)
    written = field.weights(proxy)

    def proxy_on(key: jax.Array) -> ProxyReward:
        return ProxyReward.sampled(
            written, maps.train(key).mdp, beta=beta, prior=box, num_proxies=alternatives, key=for_alternatives
        )

    checked = jax.vmap(proxy_on)(jnp.stack(for_maps))
    proxies = [jax.tree.map(operator.itemgetter(i), checked) for i in range(training_maps)]
    return World(field, proxies, posterior.importance(*proxies, prior=box, num_samples=samples, key=for_samples))


def rates(field: GridWorld, policy: jax.Array) -> Rates:
    """How a policy does on a map, exactly."""
    lava, goal = (mdps.visit_probability(field.mdp, policy, where) for where in (field.where("lava"), field.goal))
    return Rates(lava, goal)
