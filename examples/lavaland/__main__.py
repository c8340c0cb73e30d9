"""A proxy reward, the map its designer looked at, and careful plans where there is lava the designer never saw.

Runs every planner on three inputs, prints one table, and saves pictures and a JSON manifest:

    python -m examples.lavaland
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from examples import _settings
from examples._report import rounded, versions
from examples.lavaland import pictures
from examples.lavaland import table as results
from examples.lavaland.stages import run_all


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.lavaland",
        description="Plan from a proxy reward through lava that its designer never saw. Compares the literal proxy "
        "with careful planners on the IRD paper's map, on AI Safety Gridworlds' distributional shift and on generated "
        "Lavaland maps; prints one table, saves pictures and manifest.json.",
        epilog=f"Every setting and its meaning is in examples/lavaland/{_settings.DEFAULTS.name}: copy what "
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
        changes: list[Any] = [_settings.SMALL] if options.small else []
        changes += [options.settings] if options.settings else []
        given = {name: getattr(options, name) for name in ("seed", "maps") if getattr(options, name) is not None}
        settings = _settings.load(*changes, given)
        found, limits = run_all(settings, (options.train, options.field) if options.train else None, console)
    except ValueError as error:
        sys.exit(f"error: {error}")
    rows = [row for each in found for row in results.rows(each)]
    titles = {each.source.name: each.source.title for each in found}
    titles = {name: titles[name] for name in ("paper", "shift", "generated", "own") if name in titles}
    rows.sort(key=lambda row: list(titles).index(row["input"]))
    console.print(results.table(rows, titles), markup=False, highlight=False)
    limit_rows = [row for each in limits for row in results.rows(each)]
    if limits:
        console.print("\nWhere forbidding the unseen fails", markup=False, highlight=False)
        console.print(results.limits_table(limit_rows, limits), markup=False, highlight=False)
    options.out.mkdir(parents=True, exist_ok=True)
    files = pictures.save_all(found, rows, options.out)
    seconds = {each.source.name: each.seconds for each in found}
    manifest = {
        "settings": settings,
        "seed": settings["seed"],
        "versions": versions(),
        "device": jax.devices()[0].device_kind,
        "results": rounded(rows),
        "limits": rounded(limit_rows),
        "pictures": [file.name for file in files],
        "seconds": {**seconds, "total": round(time.perf_counter() - began, 1)},
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    (options.out / "manifest.json").write_text(text, encoding="utf-8")
    console.print(f"\n{manifest['seconds']['total']:.0f} s; pictures and manifest.json in {options.out}/")
    return manifest


if __name__ == "__main__":
    main()
