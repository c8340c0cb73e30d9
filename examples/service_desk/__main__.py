"""A support desk measured by how fast it closes conversations, and what to do when the cases change.

For people who define metrics. Managers wrote "ten points for what is closed, one off for each minute" while every
answer was right, so that closed and resolved were one. Then come cases in which the first answer is mostly wrong.
Every policy is judged exactly; the figures of the desk are invented, and stand in examples/service_desk/desk.toml.

    python -m examples.service_desk
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from examples import _report, _style
from examples.service_desk import pictures
from examples.service_desk.agents import (
    World,
    believed,
    careful,
    given_up,
    judged,
    least_exposure,
    literal,
    written_proxy,
    yardstick,
)
from examples.service_desk.desk import METRICS, TABLE, Desk
from examples.service_desk.question import ask
from ird.risk import CVaR

SHOWN = ("literal", "posterior mean", "least exposure", "oracle")  # in the picture of conversations


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
    parser.add_argument("--samples", type=int, default=4000, help="samples of the belief (default %(default)s)")
    parser.add_argument("--alternatives", type=int, default=300, help="other metrics to choose from (default 300)")
    parser.add_argument("--alpha", type=float, default=0.1, help="share that CVaR looks at (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="all chance follows from it (default 0)")
    parser.add_argument("--out", type=Path, default=Path("out/service_desk"), help="folder (default %(default)s)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began, options, console = time.perf_counter(), parse(arguments), Console(width=max(112, Console().width))
    keys = jax.random.split(jax.random.key(options.seed), 6)
    world = World.of(Desk.read(options.table))
    with _report.progress(console, transient=True) as bar:
        job = bar.add_task("the desk", total=5)

        def on(what: str) -> None:
            bar.update(job, advance=1, description=what)

        on("what the metrics could tell")
        proxy = written_proxy(world, options.alternatives, keys[0])
        belief = believed(world, proxy, samples=options.samples, key=keys[1])
        plans: dict[str, Any] = {"literal": literal(world.both, world.written)}
        plans["posterior mean"] = literal(world.both, belief.mean())
        on("CVaR")
        risk = CVaR(options.alpha)
        plans[f"CVaR {options.alpha:g}"] = careful(world.both, belief.resample(500, key=keys[2]), proxy, risk).policy
        plans["never close unresolved"] = literal(world.ruled, world.written)
        on("least exposure")
        plan = least_exposure(world.both, belief)
        plans["least exposure"] = plan.policy
        on("one question")
        asked = ask(world.one("deployment"), belief, world.meant, keys[3])
        answer = asked.query.answer(asked.picked)
        wiser = believed(world, proxy, answer, samples=options.samples, key=keys[1])
        plans["after the answer"] = least_exposure(world.both, wiser).policy
        plans["oracle"] = literal(world.both, world.meant)
        on("judging")
        scale = yardstick(world)
        rows = {name: judged(world, policy, scale) for name, policy in plans.items()}
    summary = belief.summary()
    untold = [line for line in str(summary).splitlines() if "says nothing" in line]
    console.print(conclusion(rows), *untold, sep="\n", highlight=False)
    console.print(table(rows), highlight=False)
    console.print(
        f"One question, of ten: {asked.words}\nIt is worth {asked.worth:.1f} points a conversation before it is asked "
        f"(none of the ten is worth more than {asked.most:.1f}). The answer: {asked.answer}.",
        highlight=False,
    )
    deployment = world.one("deployment")
    drawn = {name: pictures.flows(world.desk, deployment, plans[name][1], "deployment") for name in SHOWN}
    saved = [
        _style.save(pictures.paths(drawn), options.out / "conversations.png"),
        _style.save(
            pictures.bars({name: row["deployment"] for name, row in rows.items()}), options.out / "metrics.png"
        ),
    ]
    settings = {name: getattr(options, name) for name in ("samples", "alternatives", "alpha")}
    found = {
        "states": world.both.num_states,
        "metrics": METRICS,
        "unseen": summary.unseen,
        "blind": summary.blind.tolist(),
        "untold": untold,
        "given_up_by_managers": given_up(proxy),
        "results": rows,
        "exposure": plan.exposure.tolist(),
        "question": asked._asdict() | {"query": asked.query.rows.tolist()},
    }
    manifest = _report.save(options.out, began, settings, options.seed, found, pictures=saved)
    console.print(_report.told(manifest, options.out))
    return manifest


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
        caption="points: what was meant, of a conversation; resolved, reopened, handed on: of the issues; left: of the "
        "customers; minutes: of a conversation. Exact.",
    )
    columns = {"points": "return", "resolved": "", "reopened": "", "handed on": "escalated", "left": "", "minutes": ""}
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


if __name__ == "__main__":
    main()
