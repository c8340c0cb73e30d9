"""When is it worth asking rather than being careful? The value of information on generated Lavaland maps.

A designer wrote a proxy on a map without lava. On each new map the robot may act on the shipped careful
plan (CVaR per step, in units of what was at stake in training), or ask first: to be told the reward, or one
question, "straight or round?", between the literal plan and the careful one.

    python -m examples.value_of_information
"""

import argparse
import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from rich.console import Console
from rich.progress import track
from rich.table import Table

from examples._report import rounded, versions
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
FULL, ONE = "told the reward", "one question: straight or round?"
COLOURS = {FULL: "#D55E00", ONE: "#0072B2"}


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
    options.out.mkdir(parents=True, exist_ok=True)
    draw(found, options.out / "value_of_information.png")
    manifest = {
        "settings": {"maps": options.maps, "samples": options.samples, "draws": options.draws, "cost": options.cost},
        "seed": options.seed,
        "versions": versions(),
        "results": rounded(rows),
        "maps": {name: {k: rounded(v.astype(float)) for k, v in each.items()} for name, each in found.items()},
        "pictures": ["value_of_information.png"],
        "seconds": round(time.perf_counter() - began, 1),
    }
    (options.out / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", "utf-8")
    console.print(f"{manifest['seconds']} s; picture and manifest.json in {options.out}/")
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


def draw(found: dict[str, dict[str, np.ndarray]], file: Path) -> None:
    """What asking is worth against the lava in the way, and on how many maps it beats the careful plan at what cost."""
    import matplotlib.pyplot as plt

    floor, most = NOTHING, 50.0  # of the scales that follow
    figure, axes = plt.subplots(len(found), 2, figsize=(10.5, 3.7 * len(found)), squeeze=False, layout="constrained")
    jitter = np.random.default_rng(0)
    for (left, right), (name, each) in zip(axes, found.items(), strict=True):
        groups = {steps: here for steps, here in ways(each["lava_steps"]).items() if here.any()}
        kinds = {FULL: "value_of_information", ONE: "value_of_question"}
        for place, here in enumerate(groups.values()):
            for shift, (kind, key) in zip((-0.2, 0.2), kinds.items(), strict=True):
                value = np.maximum(each[key][here], floor)
                x = place + shift + jitter.uniform(-0.12, 0.12, len(value))
                left.plot(x, value, ".", color=COLOURS[kind], markersize=4, alpha=0.45)
                middle = np.median(value)
                left.plot([place + shift - 0.18, place + shift + 0.18], 2 * [middle], color=COLOURS[kind], linewidth=3)
        left.set_title(f"{name}: what is asking worth?", fontsize=11)
        left.set_xlabel("steps over lava on the literal plan's way (number of maps)")
        left.set_ylabel("value of information\n(units of return; bar: median)")
        left.set_xticks(range(len(groups)), [f"{steps}\n({here.sum()})" for steps, here in groups.items()])

        cost = np.geomspace(floor, most, 300)
        crossing = np.rint(each["lava_steps"]) > 0
        for kind, colour in COLOURS.items():
            for there, style, way in ((crossing, "-", "lava in the way"), (~crossing, "--", "no lava in the way")):
                if there.any():
                    share = [(each[kind][there] > c).mean() for c in cost]
                    right.plot(cost, share, style, color=colour, linewidth=1.8, label=f"{kind}, {way}")
        right.set_title("On how many maps does asking beat the careful plan?", fontsize=11)
        right.set_xlabel("cost of asking (units of return)")
        right.set_ylabel("share of maps")
        right.set_ylim(-0.02, 1.04)
        right.set_yticks(np.linspace(0, 1, 6))
        ticks = [floor, 0.1, 1, 10]
        left.set_yscale("log")
        left.set_ylim(0.8 * floor, most)
        left.set_yticks(ticks, [f"≤ {floor:g}", "0.1", "1", "10"])
        right.set_xscale("log")
        right.set_xlim(floor, most)
        right.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        for axis in (left, right):
            axis.grid(alpha=0.3)
            axis.minorticks_off()
    figure.legend(*axes[0, 1].get_legend_handles_labels(), ncols=2, frameon=False, loc="outside lower center")
    figure.savefig(file, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    main()
