"""A proxy reward, the map its designer looked at, and careful plans where there is lava the designer never saw.

Runs every planner on three inputs, says what came out, and saves the full table, pictures and a JSON manifest:

    python -m examples.lavaland
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from examples import _report, _settings
from examples.lavaland import pictures, summary, table
from examples.lavaland.settings import DEFAULTS, RULES, SMALL
from examples.lavaland.stages import run_all


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.lavaland",
        description="Plan from a proxy reward through lava that its designer never saw. Compares the literal proxy "
        "with careful planners on the IRD paper's map, on AI Safety Gridworlds' distributional shift and on generated "
        "Lavaland maps; says what came out, saves the table of every planner, pictures and manifest.json.",
        epilog="Every setting and its meaning is in examples/lavaland/settings.toml: copy what "
        "you want to change into a file of your own and name it with --settings.",
    )
    path = {"type": Path}
    parser.add_argument("--settings", **path, metavar="FILE.toml", help="settings that differ from the defaults")
    parser.add_argument(
        "--train",
        **path,
        metavar="MAP.toml",
        help="the map the designer looked at, in place of the three inputs; needs --field. The file's keys are those "
        "of mdps.GridWorld.from_toml (mdps/worlds/paper_train.toml is an example)",
    )
    parser.add_argument(
        "--field",
        **path,
        metavar="MAP.toml",
        help="the map to plan in, with the same legend; needs --train. The proxy, the true reward and which terrains "
        "count as lava and goal are in the settings, [own]",
    )
    parser.add_argument("--seed", type=int, help="all chance follows from it: a seed repeats a run exactly (default 0)")
    parser.add_argument("--maps", type=int, help="generated pairs of maps (default 200)")
    parser.add_argument(
        "--out", **path, default=Path("out/lavaland"), help="folder of pictures and manifest (default %(default)s)"
    )
    parser.add_argument("--all", action="store_true", help="print the table of every planner too")
    parser.add_argument(
        "--small", action="store_true", help="few maps and samples: every line in seconds, no result to rely on"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began = time.perf_counter()
    options = parse(arguments)
    console = Console(soft_wrap=True)
    try:
        if (options.train is None) != (options.field is None):
            raise ValueError("--train and --field go together: the map the designer looked at, and the map to plan in.")
        settings = _settings.chosen(options, DEFAULTS, RULES, small=SMALL, given=("seed", "maps"))
        found, limits = run_all(settings, (options.train, options.field) if options.train else None, console)
    except ValueError as error:
        sys.exit(f"error: {error}")
    found.sort(key=lambda each: ["paper", "shift", "generated", "own"].index(each.source.name))
    titles = {each.source.name: each.source.title for each in found}
    rows, limit_rows = ([row for each in part for row in table.rows(each)] for part in (found, limits))
    everything = table.table(rows, titles)
    if limits:
        head = "Where forbidding the unseen fails, and where the careful plan does"
        everything += f"\n\n{head}\n{table.limits_table(limit_rows, limits)}"
    console.print(summary.text(rows, titles, found, limits), markup=False, highlight=False)
    if options.all:
        console.print(f"\n{everything}", markup=False, highlight=False)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "table.txt").write_text(everything + "\n", encoding="utf-8")
    manifest = _report.save(
        options.out,
        began,
        settings,
        settings["seed"],
        {"device": jax.devices()[0].device_kind, "results": rows, "limits": limit_rows},
        pictures=pictures.save_all(found, rows, options.out),
        seconds={each.source.name: each.seconds for each in found},
    )
    every = f"every planner in {options.out}/table.txt (or --all); "
    console.print(f"\n{every}{_report.told(manifest, options.out)}", markup=False, highlight=False)
    return manifest


if __name__ == "__main__":
    main()
