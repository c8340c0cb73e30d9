"""A support desk measured by how fast it closes conversations, and what to do when the cases change.

For people who define metrics. Managers wrote "ten points for what is closed, one off for each minute" while every
answer was right, so that closed and resolved were one. Then come cases in which the first answer is mostly wrong.
Every policy is judged exactly; the figures of the desk are invented, and stand in examples/service_desk/desk.toml.

    python -m examples.service_desk
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from examples import _report, _style
from examples.service_desk import pictures, random_tables
from examples.service_desk.agents import (
    CARE,
    CASES,
    World,
    believed,
    careful,
    inferred,
    judged,
    least_exposure,
    literal,
    never_close_unresolved,
    yardstick,
)
from examples.service_desk.desk import METRICS, TABLE, Desk
from examples.service_desk.question import Asked, ask
from ird import ProxyReward, designer, information
from ird.information import Rewrite
from ird.posterior import Posterior
from ird.risk import CVaR

SHOWN = ("literal", "posterior mean", "least exposure", "oracle")  # in the picture of conversations
LESS_CAREFUL, CUTS = (0.002, 0.01, 0.05), (0.05, 0.3)  # shares that managers give up; `cut` of the planner
FEW = 1000  # samples of the belief on each table drawn at random


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.service_desk",
        description="A support desk measured by how fast it closes conversations: what the written metrics could not "
        "tell, what each agent does when the cases change, one question, a rewrite of the metrics, and tables drawn at "
        "random. Saves pictures and manifest.json.",
        epilog="The desk's figures are invented; they stand in examples/service_desk/desk.toml.",
    )
    parser.add_argument("--table", type=Path, default=TABLE, help="the desk's figures (default: its desk.toml)")
    parser.add_argument("--tables", type=int, default=200, help="tables drawn at random (default %(default)s)")
    parser.add_argument("--samples", type=int, default=40_000, help="samples of the belief (default %(default)s)")
    parser.add_argument("--draws", type=int, default=300, help="of these where each is planned for (default 300)")
    parser.add_argument("--change", type=int, default=2, help="metrics that a rewrite may change, 1 or 2 (default 2)")
    parser.add_argument("--alternatives", type=int, default=150, help="other metrics to choose from (default 150)")
    parser.add_argument("--alpha", type=float, default=0.1, help="share that CVaR looks at (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="all chance follows from it (default 0)")
    parser.add_argument("--out", type=Path, default=Path("out/service_desk"), help="folder (default %(default)s)")
    options = parser.parse_args(arguments)
    for name, least in {"tables": 0, "samples": 1, "draws": 1, "alternatives": 1, "change": 1}.items():
        if getattr(options, name) < least:
            parser.error(f"--{name} is {getattr(options, name)}; give at least {least}.")
    if options.change > 2 or not 0 < options.alpha <= 1:
        parser.error("--change is 1 or 2, and --alpha a share of the probability, above 0 and at most 1.")
    if not options.table.is_file():
        parser.error(f"there is no table {options.table}; copy {TABLE.name} from examples/service_desk and change it.")
    return options


class Outcome(NamedTuple):
    """What was computed.

    Attributes:
        world: the desk.
        proxy: the written metrics as evidence.
        belief: what they leave of the prior.
        plans: policies by agent, on both sets of cases.
        exposure: of the plan of least exposure, on both.
        asked: the question.
        rewrites: of the metrics: told what is meant, and not.
        tables: what came out on tables drawn at random.
        by_care: regret of the plan of least exposure in deployment, had the managers been less careful, by its `cut`.
    """

    world: World
    proxy: ProxyReward
    belief: Posterior
    plans: dict[str, jax.Array]
    exposure: jax.Array
    asked: Asked
    rewrites: dict[str, Rewrite]
    tables: list[random_tables.Found]
    by_care: dict[str, dict[str, float]]


def computed(options: argparse.Namespace, on: Callable[[str], None]) -> Outcome:
    """All that is planned; `on` is told what comes next."""
    keys = jax.random.split(jax.random.key(options.seed), 6)
    world = World.of(Desk.read(options.table))
    both, written, meant = world.both, world.written, world.meant
    on("what the metrics could tell")
    # With as many samples as at random tables, so that one program serves both; then with all.
    sizes = {"alternatives": options.alternatives, "samples": FEW}
    proxy, _ = inferred(world.one("training"), written, world.worth, keys[0], **sizes)
    belief = believed(proxy, worth=world.worth, samples=options.samples, key=keys[1])
    plans = {"literal": literal(both, written), "posterior mean": literal(both, belief.mean())}
    on("CVaR")
    cvar = careful(both, belief.resample(options.draws, key=keys[2]), proxy, CVaR(options.alpha))
    plans[f"CVaR {options.alpha:g}"] = cvar.policy
    plans["never close unresolved"] = literal(never_close_unresolved(both, world.desk), written)
    on("least exposure")
    plan = least_exposure(both, belief)
    plans["least exposure"] = plan.policy
    on("one question")
    asked = ask(world.one("deployment"), belief, meant, keys[3], draws=options.draws)
    wiser = believed(proxy, asked.query.answer(asked.picked), worth=world.worth, samples=options.samples, key=keys[1])
    plans["after the answer"] = least_exposure(both, wiser).policy
    on("rewriting the metrics")
    sets = [world.one(cases) for cases in CASES]
    guesses = {"told": meant, "not told": wiser.resample(options.draws, key=keys[4])}
    rewrites = {name: information.rewrite(sets, guess, written, most=options.change) for name, guess in guesses.items()}
    plans["rewritten"] = literal(both, jnp.asarray(rewrites["told"].weights, written.dtype))
    plans["oracle"] = literal(both, meant)
    on("less careful managers")
    by_care = {f"{care:g}": less_careful(world, proxy, care, options.samples, keys[1]) for care in LESS_CAREFUL}
    found = []
    for each in random_tables.tried(world.desk, options.tables, **sizes, seed=options.seed):
        found.append(each)
        on("tables at random")
    return Outcome(world, proxy, belief, plans, plan.exposure, asked, rewrites, found, by_care)


def less_careful(world: World, proxy: ProxyReward, care: float, samples: int, key: Any) -> dict[str, float]:
    """Regret of the plan of least exposure in deployment, by its `cut`, had the managers come only so near."""
    belief = believed(
        proxy.replace(beta=designer.beta_within(care, proxy)), worth=world.worth, samples=samples, key=key
    )
    scale = yardstick(world)
    plans = {f"{cut:g}": least_exposure(world.both, belief, cut=cut).policy for cut in CUTS}
    return {cut: judged(world, policy, scale)["deployment"]["regret"] for cut, policy in plans.items()}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began, options, console = time.perf_counter(), parse(arguments), Console(width=max(112, Console().width))
    with _report.progress(console, transient=True) as bar:
        job = bar.add_task("the desk", total=6 + options.tables)
        try:
            made = computed(options, lambda what: bar.update(job, advance=1, description=what))
        except ValueError as error:
            sys.exit(f"error: {error}")
    world, plans = made.world, made.plans
    scale = yardstick(world)
    rows = {name: judged(world, policy, scale) for name, policy in plans.items()}
    summary, harmless = made.belief.summary(), if_meant_as_written(made)
    untold = [line for line in str(summary).splitlines() if "says nothing" in line]
    tables = about_tables(made.tables)
    console.print(conclusion(rows), *untold, sep="\n", highlight=False)
    console.print(table(rows), highlight=False)
    console.print("\n".join([*about_question(made.asked), *about_rewrites(made.rewrites)]), highlight=False)
    console.print("\n".join([*tables, *about_limits(harmless, made.by_care)]), highlight=False)
    deployment = world.one("deployment")
    drawn = {name: pictures.flows(world.desk, deployment, plans[name][1], "deployment") for name in SHOWN}
    figures = {"conversations.png": pictures.paths(drawn)}
    figures["metrics.png"] = pictures.bars({name: row["deployment"] for name, row in rows.items()})
    if made.tables:
        figures["tables.png"] = pictures.regrets(made.tables)
    found = {
        "states": world.both.num_states,
        "metrics": METRICS,
        "unseen": summary.unseen,
        "blind": summary.blind.tolist(),
        "untold": untold,
        "care": CARE,
        "beta": float(made.proxy.beta),
        "regret_by_care_and_cut": made.by_care,
        "results": rows,
        "exposure": made.exposure.tolist(),
        "question": made.asked._asdict() | {"query": made.asked.query.rows.tolist()},
        "rewrites": {name: rewritten(each) for name, each in made.rewrites.items()},
        "random_tables": [{"regret": f.regret, "table": random_tables.described(f.desk.table)} for f in made.tables],
        "meant_as_written": harmless,
    }
    settings = {
        name: getattr(options, name) for name in ("tables", "samples", "draws", "change", "alternatives", "alpha")
    }
    saved = [_style.save(figure, options.out / name) for name, figure in figures.items()]
    manifest = _report.save(options.out, began, settings, options.seed, found, pictures=saved)
    console.print(_report.told(manifest, options.out))
    return manifest


def rewritten(rewrite: Rewrite) -> dict[str, Any]:
    """A rewrite for the manifest."""
    said = {"sentence": str(rewrite), "found": rewrite.found, "weights": rewrite.weights.tolist()}
    return said | {
        "held": rewrite.held,
        "regret": rewrite.regret.tolist(),
        "cost": rewrite.cost,
        "least": rewrite.least,
    }


def if_meant_as_written(made: Outcome) -> dict[str, float]:
    """Where caution loses: regret in deployment, had the managers meant what they wrote."""
    world = replace(made.world, meant=made.world.written)
    scale = yardstick(world)
    return {
        name: judged(world, made.plans[name], scale)["deployment"]["regret"]
        for name in ("literal", "posterior mean", "never close unresolved", "least exposure")
    }


def conclusion(rows: dict[str, Any]) -> str:
    """What came out, in words."""
    new = {name: row["deployment"] for name, row in rows.items()}
    taken, careful, best = (new[name] for name in ("literal", "least exposure", "oracle"))
    return (
        "While every answer was right, closed conversations were resolved ones. In the new cases first answers are "
        "mostly wrong.\n"
        f"Taken at their word the metrics then resolve {taken['resolved']:.0%} of the issues, and "
        f"{taken['reopened']:.0%} come back: {taken['return']:.1f} points of the {best['return']:.1f} to be had.\n"
        f"A plan that keeps away from what they could not tell resolves {careful['resolved']:.0%}, and "
        f"{careful['reopened']:.0%} come back: {careful['return']:.1f} points."
    )


def table(rows: dict[str, Any]) -> Table:
    """What was meant, and the metrics, of every agent, in training and in deployment."""
    shown = Table(
        title="training → deployment",
        caption="points: what was meant, of a conversation; resolved, reopened, escalated: of the issues; left: of the "
        "customers; minutes: of a conversation. Exact.",
    )
    columns = {"points": "return", **dict.fromkeys(("resolved", "reopened", "escalated", "left", "minutes"), "")}
    shown.add_column("agent", no_wrap=True)
    for column in columns:
        shown.add_column(column, justify="right", no_wrap=True)
    for name, row in rows.items():
        cells = []
        for column, metric in columns.items():
            form = ".1f" if column in ("points", "minutes") else ".0%"
            cells.append(" → ".join(f"{each[metric or column]:{form}}" for each in row.values()))
        shown.add_row(name, *cells)
    return shown


def about_question(asked: Asked) -> list[str]:
    """The question, what it is worth, and its answer."""
    return [
        f"One question, of ten the one worth most: {asked.words}",
        f"  Worth {asked.worth:.1f} points a conversation before it is asked; being told everything, "
        f"{asked.everything:.1f}. The answer: {asked.answer}.",
    ]


def about_rewrites(rewrites: dict[str, Rewrite]) -> list[str]:
    """How the metrics might have been written, told what is meant and after the answer alone."""
    return [
        "How to write the metrics, so that they can be taken at their word:",
        f"  Told what is meant: {rewrites['told']}",
        f"  After the answer alone: {rewrites['not told']}",
    ]


def about_tables(found: list[random_tables.Found]) -> list[str]:
    """How the plan of least exposure did on tables that nobody tuned."""
    if not found:
        return []
    regret = {name: np.mean([f.regret[name] for f in found]) for name in random_tables.AGENTS}
    means = ", ".join(f"{name} {regret[name]:.3f}" for name in random_tables.AGENTS)
    told = ", ".join(
        f"{name} on {share['better']:.0%} (alike on {share['alike']:.0%})"
        for name, share in random_tables.shares(found).items()
    )
    lines = [f"On {len(found)} tables drawn at random around this one. Mean regret: {means}."]
    lines.append(f"  Least exposure is better than {told}.")
    worst = max(found, key=lambda f: f.regret["least exposure"])
    others = ", ".join(f"{name} {r:.2f}" for name, r in worst.regret.items())
    return [*lines, f"  Its worst table: {random_tables.described(worst.desk.table)}. Regret: {others}."]


def about_limits(harmless: dict[str, float], by_care: dict[str, dict[str, float]]) -> list[str]:
    """What caution costs where there was nothing to be careful about, and where it hides from all that there is."""
    hides = ", ".join(f"{row['0.05']:.2f} within {float(care):.1%}" for care, row in by_care.items())
    wider = ", ".join(f"{row['0.3']:.2f}" for row in by_care.values())
    return [
        "Caution loses where the managers meant what they wrote: its regret is then "
        f"{harmless['least exposure']:.2f}, that of the literal plan {harmless['literal']:.2f}.",
        "It also rests on how careful they were. Its regret, had they come within so much of the best that they could "
        f"write: {hides}; with cut = 0.3 in place of 0.05: {wider}.",
    ]


if __name__ == "__main__":
    main()
