"""Worlds with a written and a hidden reward: could it have been known, and what do five plans make of it?

Each world's reward was written somewhere: in the world itself, or where something was missing that the world has. The
literal plan, the plan for the posterior's mean, the plan of least exposure, the plan of least regret and the one that
knows what was meant are judged exactly, by what they collect of the written reward and of the hidden one.

    python -m examples.safety
"""

import argparse
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
from rich import box
from rich.console import Console
from rich.table import Table

from examples import _report, _style
from examples.safety import pictures
from examples.safety.cases import NO, PART, YES, Case, cases
from examples.safety.pictures import number
from examples.safety.plans import ALPHA, PLANS, Settings, groups, planned

DRAWN_ONCE = ("absent supervisor", "rocks and diamonds")  # they are drawn with what they were written without


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.safety",
        description="Plan in worlds with a written and a hidden reward: what the literal plan, the posterior's mean, "
        "the careful planner, the plan of least regret and the oracle collect of both, and whether evidence could have "
        "helped; one table and one picture.",
    )
    parser.add_argument("--only", nargs="+", metavar="WORLD", help="these worlds (default: all), by their names")
    parser.add_argument("--samples", type=int, default=500, help="draws whose regret is limited (default %(default)s)")
    parser.add_argument("--alternatives", type=int, default=200, help="rewards to choose from (default %(default)s)")
    parser.add_argument("--beta", type=float, default=5.0, help="care of the designer, in 1/return (default 5)")
    parser.add_argument("--seed", type=int, default=0, help="all chance follows from it (default 0)")
    parser.add_argument("--out", type=Path, default=Path("out/safety"), help="folder (default %(default)s)")
    options = parser.parse_args(arguments)
    for name in ("samples", "alternatives"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}; give at least 1.")
    if not options.beta > 0:
        parser.error(f"--beta is {options.beta}; give a positive number.")
    return options


def computed(some: dict[str, Case], settings: Settings, done: Callable[[], None]) -> dict[str, tuple[Any, Any]]:
    """Policies and row of each case; groups of equal size side by side, because compiling takes most of it."""

    def of_group(tables) -> dict[str, tuple[Any, Any]]:
        found = {}
        with jax.enable_x64(True):  # a context belongs to its thread
            for name, (field, training) in tables.items():
                found[name] = planned(some[name], field, training, settings)
                done()
        return found

    with jax.enable_x64(True):
        tables = groups(some)
    with ThreadPoolExecutor(2) as pool:
        found = {name: each for group in pool.map(of_group, tables) for name, each in group.items()}
    return {name: found[name] for name in some}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began, options, console = time.perf_counter(), parse(arguments), Console(width=max(150, Console().width))
    with jax.enable_x64(True):
        known = cases()
    unknown = [name for name in options.only or () if name not in known]
    if unknown:
        raise SystemExit(f"error: there is no world {', '.join(unknown)}; there are {'; '.join(known)}.")
    some = {name: case for name, case in known.items() if name in (options.only or known)}
    with _report.progress(console) as bar:
        job = bar.add_task("worlds", total=len(some))
        settings = Settings(options.samples, options.alternatives, options.beta, options.seed)
        found = computed(some, settings, lambda: bar.advance(job))
    rows = {name: row for name, (_, row) in found.items()}
    console.print(conclusion(some, rows))
    console.print(table(some, rows))
    drawn = [name for name in some if name not in DRAWN_ONCE or len(some) == 1]
    with jax.enable_x64(True):
        figure = pictures.sheet({name: (some[name], *found[name]) for name in drawn})
    picture = _style.save(figure, options.out / "safety.png")
    (options.out / "safety.md").write_text(page(some, rows, options), encoding="utf-8")
    told = {name: {"helps": some[name].helps, "looked at": some[name].looked_at, **row} for name, row in rows.items()}
    kept = {"samples": options.samples, "alternatives": options.alternatives, "beta": options.beta}
    manifest = _report.save(options.out, began, kept, options.seed, {"worlds": told}, pictures=[picture])
    console.print(_report.told(manifest, options.out))
    return manifest


def short_of(row: dict[str, Any], plan: str, field: str = "hidden") -> float:
    """What a plan's hidden return lacks."""
    return row["best"] - row[plan][field]


def conclusion(some: dict[str, Case], rows: dict[str, Any]) -> str:
    """What came out, in words."""
    could = [name for name in rows if some[name].helps == YES and short_of(rows[name], "literal", "lowest") > 1e-3]
    mended = [name for name in could if short_of(rows[name], "least exposure") < 0.05 * abs(rows[name]["best"])]
    others = [name for name in rows if some[name].helps == YES and name not in could]
    worse = [n for n in rows if short_of(rows[n], "least exposure") > short_of(rows[n], "literal", "lowest") + 1e-3]
    could_not = [name for name in rows if some[name].helps == NO]
    partly = [name for name in rows if some[name].helps == PART]
    lines = []
    if could:
        lines.append(
            f"Where what the literal plan does wrong was missing when the reward was written, {len(could)} worlds, the "
            f"plan of least exposure comes within 5% of the best hidden return in {len(mended)}: {'; '.join(mended)}."
        )
    if others:
        lines.append(f"The literal plan was right anyway in {'; '.join(others)}.")
    if worse:
        lines.append(f"The plan of least exposure is worse than the worst literal plan in {'; '.join(worse)}.")
    if could_not:
        lines.append(
            f"No evidence could have helped where the reward was looked at and accepted: {'; '.join(could_not)}."
        )
    if partly:
        lines.append(f"What a thing is wanted for is not known without it, and has to be asked: {'; '.join(partly)}.")
    return "\n".join(lines)


def cell(row: dict[str, Any], plan: str) -> str:
    """Written and hidden return; of the literal plan, the range of hidden returns that ties leave."""
    written, hidden = number(row[plan]["written"]), number(row[plan]["hidden"])
    low, high = (row[plan].get(end, row[plan]["hidden"]) for end in ("lowest", "highest"))
    return f"{written} / {hidden}" if high - low < 1e-6 else f"{written} / {number(low)}…{number(high)}"


def line(name: str, case: Case, row: dict[str, Any]) -> list[str]:
    """A row of the table."""
    return [name, case.looked_at, case.helps, *(cell(row, plan) for plan in PLANS), number(row["exposure"])]


HEAD = ("world", "written where", "could help", *PLANS, "exposure")


def table(some: dict[str, Case], rows: dict[str, Any]) -> Table:
    """Written and hidden return of every plan."""
    shown = Table(title="written / hidden return", padding=(0, 1), box=box.SIMPLE)
    for name in HEAD:
        shown.add_column(name, justify="left" if name in HEAD[:3] else "right")
    for name, row in rows.items():
        shown.add_row(*line(name, some[name], row))
    return shown


def page(some: dict[str, Case], rows: dict[str, Any], options: argparse.Namespace) -> str:
    """The table as a page of the documentation."""
    command = f"python -m examples.safety --samples {options.samples} --beta {options.beta:g} --seed {options.seed}"
    lines = [
        "# Safety worlds: the table",
        "",
        f"Made by `{command}`. Each cell: written and hidden return, exact.",
        "The literal plan's hidden return is a range where plans that are equally good by what is written differ.",
        "*Could help*: whether what the literal plan does wrong was missing where the reward was written. *Exposure*:",
        "visits of the careful plan to what the evidence could not tell. *Least regret*: the least mean of the worst",
        f"{ALPHA:.0%} of regrets under the posterior.",
        "[What the worlds are](../safety-worlds.md).",
        "",
        conclusion(some, rows).replace("\n", "\n\n"),
        "",
        f"| {' | '.join(HEAD)} |",
        f"|---|---|---|{'---:|' * (len(HEAD) - 3)}",
        *(f"| {' | '.join(line(name, some[name], row))} |" for name, row in rows.items()),
        "",
        "## Why, or why not",
        "",
        "| world | could evidence have helped? |",
        "|---|---|",
        *(f"| {name} | {case.helps}: {case.why} |" for name, case in some.items()),
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
