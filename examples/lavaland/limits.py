"""Worlds where forbidding the unseen fails and a posterior does not, and one where both fail.

*Harmless moss in the way*: a river of terrain the designer never met, from edge to edge.
Forbidding it means never arriving; a posterior knows that what a few cells can cost is bounded.

*Two sensors*: the robot does not see terrain but two sensors, with an indicator each for dirt, grass
and target. They agree wherever the designer looked. Over lava one reads target and the other grass,
so every single indicator has been seen: there is nothing to forbid.

*Slippery ice*: on FrozenLake whoever goes may slip into a hole, so exposure to the unknown cannot be avoided, and
the careful plan gives up much of the goal for less of it.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from examples.lavaland import inputs, planners
from examples.lavaland.inputs import Case, Input
from examples.lavaland.table import RECOMMENDED, Plan
from ird import posterior
from mdps import GridWorld
from mdps import worlds as shipped
from mdps.worlds.lavaland import NAMES, READINGS, SENSORS

PLANS = (
    Plan("literal"),
    Plan("forbid the unseen", control=True),
    Plan("posterior mean"),
    RECOMMENDED,
)
COUNT = 1 + len(PLANS)  # stages of each world, for the progress display


def worlds(settings: dict[str, Any], key: jax.Array) -> list[Input]:
    """The three worlds."""
    return [moss(settings), two_sensors(settings, key), ice()]


def moss(settings: dict[str, Any]) -> Input:
    """Moss lies across the only way; it is worth what dirt is worth, which nobody told the robot."""
    here = Path(__file__).parent
    train, field = (GridWorld.from_toml(here / f"moss_{name}.toml") for name in ("train", "field"))
    rewards = settings["limits"]
    return inputs.fixed(
        "moss", "harmless moss bars the way", train, {"field": field}, rewards, avoid=("moss",), reach=("target",)
    )


def two_sensors(settings: dict[str, Any], key: jax.Array) -> Input:
    """Generated maps seen through two sensors; the proxy was written for the first, the second is right."""
    n, horizon = settings["limits"]["maps"], settings["generated"]["horizon"]
    maps, proxy = inputs.generator(horizon), settings["generated"]["proxy"]
    named = [proxy.get(name, 0.0) for name in NAMES[:3]]
    one, two = jnp.asarray([*named, 0.0, 0.0, 0.0]), jnp.asarray([0.0, 0.0, 0.0, *named])

    def draw(key):
        train, field = jax.random.split(key)
        return inputs.compact(maps.train(train)), inputs.compact(maps.field(field))

    def case(data):
        sensed = {"emissions": READINGS, "feature_names": SENSORS}
        train, field = (inputs.rebuild(parts, horizon, **sensed) for parts in data)
        return Case(train, field, one, two, jnp.full_like(one, jnp.max(jnp.abs(one))))

    data = jax.jit(jax.vmap(draw))(jax.random.split(key, n))
    return Input("two sensors", f"two sensors, {n} maps", data, case)


def ice() -> Input:
    """FrozenLake, 4 × 4, slippery; goal and holes end all, and nobody spoke of holes."""
    case = shipped.families()["slippery-B"][0]
    data = jax.tree.map(lambda x: x[None], Case(case.train, case.field, case.written, case.meant, case.widths))
    title = "slippery FrozenLake"
    return Input("ice", title, data, lambda data: data, avoid=(case.hazard,), reach=(case.goal,), small=True)


def plans(settings: dict[str, Any], case: Case, key: jax.Array) -> planners.Decision:
    """The plans of `PLANS` for one case, in order."""
    k_alternatives, k_samples = jax.random.split(key)
    prior = planners.prior_of(case.width)
    proxy = planners.evidence(settings["designer"], case.train.mdp, case.proxy, prior, k_alternatives)
    belief = posterior.importance(proxy, prior=prior, num_samples=settings["prior"]["samples"], key=k_samples)
    mdp = case.field.mdp
    rewards = jnp.stack([mdp.reward(case.proxy), planners.forbidding(case), mdp.reward(belief.mean())])
    plain = jax.vmap(lambda reward: planners.solved(mdp, reward))(rewards)
    careful = planners.recommended(mdp, belief, **settings["default"])
    return jax.tree.map(lambda first, last: jnp.concatenate([first, last[None]]), plain, careful)
