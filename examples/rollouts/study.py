"""From runs to evidence to a belief to drivers that heed it, and what each of them does on a road with ice."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from examples.rollouts import driver, road
from ird import ProxyReward, planning, posterior
from ird.risk import CVaR

WRITTEN = np.array([1.0, -0.2, -0.4, -0.2, -1.5, -1.0, 0.0])  # of a designer who knew dry roads
MEANT = np.array([1.0, -0.2, -0.4, -0.2, -1.5, -1.0, -1.0])
BETA = 0.04
ICE = road.NAMES.index("ice")
ALPHA = 0.1
BLOCK = 8  # drivers that drive side by side


class Known(NamedTuple):
    """What came of the designer's dry road.

    Attributes:
        belief: the posterior.
        proxy: the evidence.
        rewards: what could have been written, `[M, K]`, the written one first.
    """

    belief: posterior.Posterior
    proxy: ProxyReward
    rewards: np.ndarray


@jax.jit
def _of_rewards(keys, weights, icy, seeds):
    def one(key, w):
        return jax.vmap(lambda k: driver.run(k, planning.LinearPay(w), icy).features)(jax.random.split(key, len(seeds)))

    return jax.vmap(one)(keys, weights)


def drive_for(rewards: np.ndarray, key: jax.Array, episodes: int, icy: float, advance: Callable) -> np.ndarray:
    """Features of every visit of runs of a driver for each reward, `[M, E, T, K]`; every run in its own scene."""
    keys, found = jax.random.split(key, len(rewards)), []
    for first in range(0, len(rewards), BLOCK):
        rows = np.arange(first, first + BLOCK) % len(rewards)  # all blocks of one size
        found.append(np.asarray(_of_rewards(keys[rows], jnp.asarray(rewards[rows]), icy, jnp.zeros(episodes))))
        advance(min(BLOCK, len(rewards) - first))
    return np.concatenate(found)[: len(rewards)]


def learn(key: jax.Array, alternatives: int, episodes: int, samples: int, advance: Callable) -> Known:
    """Drivers for rewards that could have been written, on dry roads; their runs as evidence of what was meant."""
    for_rewards, for_runs, for_belief = jax.random.split(key, 3)
    prior = dist.Normal(0.0, 1.0).expand([len(road.NAMES)]).to_event(1)
    drawn = np.asarray(prior.sample(for_rewards, (alternatives - 1,)))
    rewards = np.concatenate([WRITTEN[None], drawn])
    runs = drive_for(rewards, for_runs, episodes, 0.0, advance).sum(axis=2)
    proxy = ProxyReward.from_features(
        0,
        beta=BETA,
        alternatives=rewards,
        features=runs.mean(axis=1),
        standard_error=runs.std(axis=1, ddof=1) / episodes**0.5,
        visits=road.STEPS,
        feature_names=road.NAMES,
    )
    belief = posterior.importance(proxy, prior=prior, num_samples=samples, key=for_belief)
    return Known(belief, proxy, rewards)


def drivers(known: Known, met: np.ndarray) -> dict[str, Any]:
    """What each driver is paid."""
    belief, proxy = known.belief, known.proxy
    return {
        "literal": planning.LinearPay(jnp.asarray(WRITTEN, jnp.float32)),
        "mean": planning.pay_mean(belief),
        "worst tenth, per step": planning.pay_per_step(
            belief.resample(100, key=jax.random.key(0)), risk=CVaR(ALPHA), baseline=planning.training_features(proxy)
        ),
        "least exposure": planning.pay_least_exposure(belief, met=met, visits=road.STEPS),
        "who knows of ice": planning.LinearPay(jnp.asarray(MEANT, jnp.float32)),
    }


def measured(run: driver.Run) -> dict[str, np.ndarray]:
    """What runs were worth and met, one number a run."""
    features = np.asarray(run.features, float).sum(axis=1)
    seconds = features / road.SIZE * road.STEP
    return {
        "meant": features @ MEANT,
        "written": features @ WRITTEN,
        "ice": seconds[:, ICE],
        "passed": np.asarray(run.states.x, float)[:, -1] > np.asarray(run.truck, float),
        "far": np.asarray(run.states.x, float)[:, -1],
        "truck": seconds[:, road.NAMES.index("near truck")],
    }
