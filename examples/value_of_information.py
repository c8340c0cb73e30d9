"""When is it worth asking rather than being careful? The value of information on generated Lavaland maps.

A designer wrote a proxy on a map without lava. On each new map the robot may act on the recommended careful
plan (CVaR per step, in units of what was at stake in training), or ask first: to be told the reward, or one
question, "straight or round?", between the literal plan and the careful one.

    python -m examples.value_of_information
"""

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table

from examples import _report, _style
from ird import ProxyReward, information, planning, posterior, queries
from ird.risk import CVaR
from mdps import optimum
from mdps.worlds.lavaland import Lavaland

PROXY = {"dirt": -0.1, "grass": -0.5, "target": 1.0}
# The best that unseen terrain may be: as good as a target, or nothing to go and look for.
PRIORS = {"Lava may be anything": 1.0, "Lava is no treasure": 0.0}
BETA, ALTERNATIVES, ALPHA = 5.0, 300, 0.12
BLOCK = 20
NOTHING = 0.01  # units of return: a question worth less is no question
MOST = 50.0  # units of return: where the pictures' scales end
FULL, ONE = "told the reward", "one question: straight or round?"
COLOURS = {FULL: _style.ORANGE, ONE: _style.BLUE}


def trial(key: jax.Array, best_lava: jax.Array, *, samples: int, draws: int) -> dict[str, jax.Array]:
    """One designer, one deployment map: what the plans are worth under the belief, and what asking would add."""
    maps = Lavaland.from_toml()
    for_train, for_field, for_alternatives, for_samples, for_draws = jax.random.split(key, 5)
    train, field = maps.train(for_train).mdp, maps.field(for_field)
    mdp, written = field.mdp, field.weights(PROXY)
    prior = dist.Uniform(-jnp.ones(4), jnp.ones(4).at[3].set(best_lava)).to_event(1)
    proxy = ProxyReward.sampled(written, train, beta=BETA, prior=prior, num_proxies=ALTERNATIVES, key=for_alternatives)
    belief = posterior.importance(proxy, prior=prior, num_samples=samples, key=for_samples)
    careful = planning.plan_per_step(
        mdp,
        belief,
        risk=CVaR(ALPHA),
        baseline=planning.start_features(mdp),
        units=planning.training_stakes(belief, proxy),
    ).feature_expectations
    literal = optimum(mdp, written).features

    few = belief.resample(draws, key=for_draws)  # knowing w means a plan for every w
    pair = queries.Pool.from_features(jnp.stack([literal, careful]), beta=BETA, feature_names=mdp.feature_names)
    told = information.value_of_information(mdp, few)
    answered = information.value_of_answer(mdp, few, pair.query([0, 1]))
    return {
        "lava_steps": literal[mdp.feature_names.index("lava")],
        "value_of_information": told.value,
        "value_of_question": answered.value,
        "careful": few.mean() @ careful,
        "careful_lava_steps": careful[mdp.feature_names.index("lava")],
        "price_of_care": told.uninformed - few.mean() @ careful,
        FULL: told.informed - few.mean() @ careful,
        ONE: answered.informed - few.mean() @ careful,
        "error_bound": told.error_bound,
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began = time.perf_counter()
    parser = argparse.ArgumentParser(
        prog="python -m examples.value_of_information",
        description="On generated Lavaland maps: what knowing the reward, or the answer to one question, is worth "
        "over the careful plan, against how much lava lies in the way. Prints a table, saves a picture and "
        "manifest.json.",
    )
    parser.add_argument("--maps", type=int, default=400, help="deployment maps (default %(default)s)")
    parser.add_argument("--samples", type=int, default=4000, help="samples of the prior (default %(default)s)")
    parser.add_argument("--draws", type=int, default=300, help="posterior draws that are planned for (default 300)")
    parser.add_argument("--cost", type=float, default=0.5, help="price of asking, in units of return (default 0.5)")
    parser.add_argument("--seed", type=int, default=0, help="all chance follows from it (default 0)")
    parser.add_argument("--small", action="store_true", help="few maps and samples: a look, no result to rely on")
    parser.add_argument(
        "--out", type=Path, default=Path("out/value_of_information"), help="folder (default %(default)s)"
    )
    options = parser.parse_args(arguments)
    if options.small:
        options.maps, options.samples, options.draws = 6, 300, 20
    if options.maps < 1:
        parser.error(f"--maps is {options.maps}; give at least 1")
    run = jax.jit(jax.vmap(partial(trial, samples=options.samples, draws=options.draws), in_axes=(0, None)))
    keys = jax.random.split(jax.random.key(options.seed), options.maps)
    blocks = [(name, begin) for name in PRIORS for begin in range(0, options.maps, BLOCK)]
    parts: dict[str, list] = {name: [] for name in PRIORS}
    console = Console(width=max(120, Console().width))
    for name, begin in track(blocks, description="planning", console=console):
        parts[name].append(jax.tree.map(np.asarray, run(keys[begin : begin + BLOCK], PRIORS[name])))
    found = {name: {k: np.concatenate([p[k] for p in part]) for k in part[0]} for name, part in parts.items()}

    rows = summarise(found, options.cost)
    console.print(as_table(rows, options.cost))
    pictures = [_style.save(draw(found), options.out / "value_of_information.png")]
    settings = {name: getattr(options, name) for name in ("maps", "samples", "draws", "cost")}
    everything = {"results": rows, "maps": found}
    manifest = _report.save(options.out, began, settings, options.seed, everything, pictures=pictures)
    console.print(_report.told(manifest, options.out))
    return manifest


def ways(lava_steps: np.ndarray) -> dict[str, np.ndarray]:
    """The maps by how many steps over lava the literal plan takes."""
    steps = np.rint(lava_steps)
    return {"0": steps == 0, "1": steps == 1, "2": steps == 2, "3+": steps >= 3}


def summarise(found: dict[str, dict[str, np.ndarray]], cost: float) -> list[dict[str, Any]]:
    """Means over the maps with as much lava in the way, and the share on which asking is worth its cost."""
    rows = []
    for name, each in found.items():
        for steps, here in ways(each["lava_steps"]).items():
            if here.any():
                row: dict[str, Any] = {"prior": name, "lava_steps": steps, "maps": int(here.sum())}
                for key in ("value_of_information", "value_of_question", "price_of_care", FULL, ONE):
                    row[key] = float(each[key][here].mean())
                row["share_worth_asking"] = float((each[ONE][here] > cost).mean())
                row["share_without_question"] = float((each[ONE][here] <= NOTHING).mean())
                rows.append(row)
    return rows


def as_table(rows: list[dict[str, Any]], cost: float) -> Table:
    """The summary for people."""
    table = Table(
        title="What asking is worth, in units of return, by the lava on the literal plan's way",
        caption="told all, one question: value over the best plan without asking; care costs: what the careful plan "
        "gives up of that; even: the cost at which asking, then acting, equals the careful plan; worth: share of maps "
        "on which the question is worth its cost; no need: on which it is worth nothing, whatever it costs",
    )
    heads = ("prior", "lava", "maps", "told all", "question", "care costs", "even: all", "even: one")
    for head in (*heads, f"worth {cost:g}", "no need"):
        table.add_column(head, justify="left" if head == "prior" else "right", no_wrap=True)
    for row in rows:
        keys = ("value_of_information", "value_of_question", "price_of_care", FULL, ONE)
        cells = [f"{row[key]:.2f}" for key in keys]
        cells += [f"{row[key]:.0%}" for key in ("share_worth_asking", "share_without_question")]
        table.add_row(row["prior"], row["lava_steps"], str(row["maps"]), *cells)
    return table


@_style.drawing
def draw(found: dict[str, dict[str, np.ndarray]]) -> Figure:
    """What asking is worth against the lava in the way, and on how many maps it beats the careful plan at what cost."""
    size = (_style.WIDTH, 3.4 * len(found) + 0.5)
    figure, axes = plt.subplots(len(found), 2, figsize=size, squeeze=False, layout="constrained")
    for (left, right), (name, each) in zip(axes, found.items(), strict=True):
        _worth(left, each)
        _shares(right, each)
        left.set_title(f"{name}: what is asking worth?")
        right.set_title("How often does it beat the careful plan?")
        ticks = [NOTHING, 0.1, 1, 10]
        left.set(yscale="log", ylim=(0.8 * NOTHING, MOST))
        left.set_yticks(ticks, [f"≤ {NOTHING:g}", "0.1", "1", "10"])
        right.set(xscale="log", xlim=(NOTHING, MOST))
        right.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        for axis in (left, right):
            axis.grid()
            axis.minorticks_off()
    axes[-1, 0].set_xlabel("steps over lava on the literal plan's way (number of maps)")
    axes[-1, 1].set_xlabel("cost of asking (units of return)")
    figure.legend(*axes[0, 1].get_legend_handles_labels(), ncols=2, loc="outside lower center")
    return figure


def _worth(axis, each: dict[str, np.ndarray]) -> None:
    """The value of information of every map, by the lava in the way."""
    jitter = np.random.default_rng(0)
    groups = {steps: here for steps, here in ways(each["lava_steps"]).items() if here.any()}
    kinds = {FULL: "value_of_information", ONE: "value_of_question"}
    for place, here in enumerate(groups.values()):
        for shift, (kind, key) in zip((-0.2, 0.2), kinds.items(), strict=True):
            value = np.maximum(each[key][here], NOTHING)
            x = place + shift + jitter.uniform(-0.12, 0.12, len(value))
            axis.plot(x, value, ".", color=COLOURS[kind], markersize=4, alpha=0.45)
            middle = np.median(value)
            axis.plot([place + shift - 0.18, place + shift + 0.18], 2 * [middle], color=COLOURS[kind], linewidth=3)
    axis.set_ylabel("value of information\n(units of return; bar: median)")
    axis.set_xticks(range(len(groups)), [f"{steps}\n({here.sum()})" for steps, here in groups.items()])


def _shares(axis, each: dict[str, np.ndarray]) -> None:
    """The share of maps on which asking beats the careful plan, against what it costs."""
    cost = np.geomspace(NOTHING, MOST, 300)
    crossing = np.rint(each["lava_steps"]) > 0
    for kind, colour in COLOURS.items():
        for there, style, way in ((crossing, "-", "lava in the way"), (~crossing, "--", "no lava in the way")):
            if there.any():
                share = [(each[kind][there] > c).mean() for c in cost]
                axis.plot(cost, share, style, color=colour, label=f"{kind}, {way}")
    axis.set_ylabel("share of maps")
    axis.set_ylim(-0.02, 1.04)
    axis.set_yticks(np.linspace(0, 1, 6))


if __name__ == "__main__":
    main()
