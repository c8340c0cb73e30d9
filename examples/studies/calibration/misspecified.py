"""Designers that the model is wrong about: what it does to calibration, and to the careful plan on lava.

The designers' β, the planner whose plans they look at, or the rewards they may mean differ from what the
model assumes, more and more. Part of `examples.studies.calibration`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import mdps
from examples._report import mean_and_error
from ird import calibration, planning, posterior
from ird.designer import Designer
from ird.risk import CVaR
from mdps import worlds
from mdps.worlds.lavaland import NAMES, Lavaland

DRAWS = 99  # of each posterior, so that 90 of the 100 ranks are the central ones
SMALL: dict[str, Any] = {
    "designers": 8,
    "block": 8,
    "proxies": 10,
    "samples": 300,
    "planned": 40,
    "factors": [1.0, 16.0],
    "temperatures": [0.0, 1.0],
    "reaches": [1.0, -0.3],
    "widths": [1.0, 0.2],
}
BETA, PLANNER, TRUTH = "Wrong β", "Wrong planner", "Truth outside the candidates"
SOFT_DESIGNER, SOFT_MODEL = "designer soft, model optimal", "designer optimal, model soft"
BAD_LAVA, EVERY_WEIGHT = "lava no worse than −c", "every weight in [−c, c]"
AXES = {
    BETA: "β of the model / β of the designers",
    PLANNER: "temperature of the soft planner (units of reward)",
    TRUTH: "c: the candidates reach down to −c (truths in [−1, 1])",
}
VARIANTS = {BETA: ("",), PLANNER: (SOFT_DESIGNER, SOFT_MODEL), TRUTH: (BAD_LAVA, EVERY_WEIGHT)}


class Outcome(NamedTuple):
    """What became of one designer; regrets and stakes in units of return, lava as probabilities of entering it."""

    ranks: jax.Array
    worth: jax.Array
    stakes: jax.Array
    regret: jax.Array
    lava: jax.Array
    mean_regret: jax.Array
    mean_lava: jax.Array
    literal_regret: jax.Array
    literal_lava: jax.Array


def trial(key: jax.Array, designer: Designer, model: Designer, box: tuple[jax.Array, jax.Array], *, settings):
    """A designer writes a proxy, the model reads it, and plans take it to a field with lava.

    Args:
        key: all chance follows from it.
        designer: who writes; what is meant is uniform on [-1, 1]⁴.
        model: who the designer is taken for.
        box: least and largest weights of the candidates, `[4]` each.
        settings: sizes (static).
    """
    for_designer, for_field, for_samples, for_draws, for_plan, for_ties = jax.random.split(key, 6)
    meant, row = designer.simulate(dist.Uniform(-1, 1).expand([4]).to_event(1), key=for_designer)
    proxy, candidates = model.proxy(row), dist.Uniform(*box).to_event(1)
    belief = posterior.importance(proxy, prior=candidates, num_samples=settings["samples"], key=for_samples)
    ranks = calibration.reward_ranks(meant, belief.sample(DRAWS, key=for_draws), proxy, key=for_ties)

    field = Lavaland.from_toml().field(for_field)
    mdp, few = field.mdp, belief.resample(settings["planned"], key=for_plan)
    start, units = planning.start_features(mdp), planning.training_stakes(few, proxy)
    careful = planning.plan_per_step(mdp, few, risk=CVaR(settings["alpha"]), baseline=start, units=units).policy
    best = mdps.optimum(mdp, meant).value

    def outcome(policy):
        lost = best - mdps.feature_expectations(mdp, policy) @ meant
        return lost, mdps.visit_probability(mdp, policy, field.where("lava"))

    aimless = jnp.full((mdp.num_states, mdp.num_actions), 1 / mdp.num_actions)
    plain = [mdps.solve(mdp, mdp.reward(w)).policy for w in (belief.mean(), proxy.weights)]
    outcomes = [x for policy in (careful, *plain) for x in outcome(policy)]
    return Outcome(ranks, belief.effective_sample_size, outcome(aimless)[0], *outcomes)


def settings_of(settings: dict[str, Any]) -> list[tuple[str, str, float]]:
    """Every way and degree of being wrong."""
    degrees = {"": "factors", SOFT_DESIGNER: "temperatures", SOFT_MODEL: "temperatures"}
    degrees |= {BAD_LAVA: "reaches", EVERY_WEIGHT: "widths"}
    return [
        (kind, variant, value)
        for kind, every in VARIANTS.items()
        for variant in every
        for value in settings[degrees[variant]]
    ]


def is_right(kind: str, value: float) -> bool:
    """Whether this degree of being wrong is none."""
    return value == (0.0 if kind == PLANNER else 1.0)


def blocks(settings: dict[str, Any]) -> int:
    """How many blocks of designers there are in all."""
    wrong = [each for each in settings_of(settings) if not is_right(each[0], each[2])]
    return (len(wrong) + 1) * -(-settings["designers"] // settings["block"])


def study(settings: dict[str, Any], seed: int, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """A row for every way and degree of being wrong; one compiled program for all, the same chance in each."""
    for_proxies, for_designers = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1))
    keys = jax.random.split(for_designers, settings["designers"])
    train, lava = worlds.paper()[0].mdp, NAMES.index("lava")
    rewards = dist.Uniform(-1, 1).expand([4]).to_event(1).sample(for_proxies, (settings["proxies"],))
    rewards = rewards.at[:, lava].set(0.0)  # nobody thought of lava

    def planner(temperature: float) -> Designer:
        return Designer.from_rewards(rewards, train, beta=settings["beta"], temperature=temperature)

    soft, one = {t: planner(t) for t in settings["temperatures"]}, jnp.ones(4)
    right, batch = planner(0.0), jax.vmap(partial(trial, settings=settings), in_axes=(0, None, None, None))
    run = jax.jit(batch, compiler_options=settings.get("compiler"))

    def found(label: str, designer: Designer, model: Designer, least: jax.Array, most: jax.Array) -> dict[str, Any]:
        parts = []
        for begin in range(0, len(keys), settings["block"]):
            block = run(keys[begin : begin + settings["block"]], designer, model, (least, most))
            parts.append(jax.tree.map(np.asarray, block))
            tell(label)
        return summary(Outcome(*(np.concatenate(x).astype(float) for x in zip(*parts, strict=True))))

    reference, table = found("the right model", right, right, -one, one), []
    for kind, variant, value in settings_of(settings):
        given, label = [right, right, -one, one], f"{kind} {value:g}"
        if variant in (SOFT_DESIGNER, SOFT_MODEL):
            given[variant == SOFT_MODEL] = soft[value]
        elif variant == BAD_LAVA:
            given[2] = given[2].at[lava].set(-value)
        elif variant == EVERY_WEIGHT:
            given[2:] = [-value * one, value * one]
        else:
            given[1] = right.replace(beta=value * settings["beta"])
        row = reference if is_right(kind, value) else found(label, *given)
        table.append({"kind": kind, "variant": variant, "value": value} | row)
    return table


def summary(found: Outcome) -> dict[str, Any]:
    """Coverage of central 90 % intervals, regret as a share of what is at stake, lava; with standard errors."""
    inside = (found.ranks >= (DRAWS + 1) // 20) & (found.ranks < DRAWS + 1 - (DRAWS + 1) // 20)
    lava = NAMES.index("lava")
    groups = {"seen": inside[:, :lava].mean(axis=1), "lava": inside[:, lava], "log-likelihood": inside[:, -1]}
    made: dict[str, Any] = {}
    for name, x in groups.items():
        made[f"coverage, {name}"], made[f"coverage, {name} ±"] = mean_and_error(x.astype(float))
    for name in ("regret", "mean_regret", "literal_regret"):
        lost, stakes = getattr(found, name), found.stakes
        share = lost.mean() / stakes.mean()
        made[name], made[f"{name} ±"] = share, mean_and_error(lost - share * stakes)[1] / stakes.mean()
    for name in ("lava", "mean_lava", "literal_lava"):
        made[name], made[f"{name} ±"] = mean_and_error(getattr(found, name))
    return made | {"worth": float(np.median(found.worth)), "least worth": float(found.worth.min())}


def markdown(table: list[dict[str, Any]]) -> str:
    """One table for each way of being wrong."""
    lines = []
    shown = {
        "coverage, seen": "covers: seen",
        "coverage, lava": "lava",
        "coverage, log-likelihood": "log-likelihood",
        "regret": "regret: careful",
        "mean_regret": "mean",
        "literal_regret": "literal",
        "lava": "lava: careful",
        "mean_lava": "mean",
        "literal_lava": "literal",
    }
    for kind, variants in VARIANTS.items():
        lines += ["", f"### {kind}", "", f"| {AXES[kind]} | {' | '.join(shown.values())} |"]
        lines.append("|---" + "|---:" * len(shown) + "|")
        for variant in variants:
            for row in (row for row in table if (row["kind"], row["variant"]) == (kind, variant)):
                cells = [f"{row[key]:.2f} ± {row[key + ' ±']:.2f}" for key in shown]
                label = f"{variant}, {row['value']:g}" if variant else f"{row['value']:g}"
                lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
