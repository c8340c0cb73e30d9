"""The recommended planners on thousands of generated Lavaland maps: how often they enter lava and reach the goal.

Long: half an hour or so on two cores.  Writes a table, the figures' numbers and a picture:

    python -m examples.studies.lavaland --out docs/studies
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import mdps
from examples import _report, _settings, _style
from examples._settings import COUNT, NUMBERS_BY_NAME, POSITIVE, SEED, TABLES, Rule
from examples.lavaland import risk_curve
from examples.lavaland.trial import Rates, rates, world
from ird import planning
from ird.risk import CVaR
from mdps.worlds.lavaland import lava_free_path

SETTINGS = Path(__file__).with_suffix(".toml")
RULES: dict[str, Rule] = {
    "seed": SEED,
    **dict.fromkeys(("maps", "curve_maps", "block"), COUNT),
    "proxy": NUMBERS_BY_NAME,
    "prior": POSITIVE,
    "conditions": TABLES,
}
SMALL = {"maps": 8, "curve_maps": 4, "block": 4}

# What is measured from where, and in which units: the rows of the curve.
STAKES = "start features, in units of training stakes"
START = "start features"
TRAINING = "mean training features"
NOTHING = "nothing"
LEAST = "least exposure"


def trial(key: jax.Array, settings: dict[str, Any], condition: dict[str, Any], curve: bool) -> dict[str, Rates]:
    """One designer, one deployment map, the plan of least exposure and controls, or the whole `curve` of planners."""
    field, proxies, belief = world(
        key,
        beta=condition["beta"],
        alternatives=condition["alternatives"],
        samples=condition["samples"],
        training_maps=condition["training_maps"],
        proxy=settings["proxy"],
        prior=settings["prior"],
    )
    mdp, written = field.mdp, field.weights(settings["proxy"])
    stakes = planning.training_stakes(belief, *proxies)
    usual = sum(planning.training_features(proxy) for proxy in proxies) / len(proxies)

    def careful(alpha: float, baseline: jax.Array, units: jax.Array | None = None) -> Rates:
        plan = planning.plan_per_step(mdp, belief, risk=CVaR(alpha), baseline=baseline, units=units)
        return rates(field, plan.policy)

    start = planning.start_features(mdp)
    if curve:
        found = {"posterior mean": rates(field, mdps.solve(mdp, mdp.reward(belief.mean())).policy)}
        for alpha in condition["alphas"]:
            found[f"{STAKES}|{alpha}"] = careful(alpha, start, stakes)
            found[f"{START}|{alpha}"] = careful(alpha, start)
            found[f"{TRAINING}|{alpha}"] = careful(alpha, usual)
            found[f"{NOTHING}|{alpha}"] = careful(alpha, jnp.zeros_like(start))
        return found
    forbidden = mdp.reward(written) - 1e3 * field.where("lava")
    found = {
        LEAST: rates(field, planning.plan_least_exposure(mdp, belief).policy),
        "literal": rates(field, mdps.solve(mdp, mdp.reward(written)).policy),
        "forbid the unseen": rates(field, mdps.solve(mdp, forbidden).policy),
        "a lava-free path exists": Rates(jnp.zeros(()), lava_free_path(field).astype(float)),
        f"{STAKES}|{condition['alpha']}": careful(condition["alpha"], start, stakes),
    }
    return found


def run(settings: dict[str, Any], name: str, tell: Callable[[], None]) -> dict[str, Rates]:
    """One condition, block by block: the recommended planner on all maps, the curve on the first; rates per map."""
    number = sorted(settings["conditions"]).index(name)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(settings["seed"]), number), settings["maps"])
    found = {}
    for curve, maps in ((False, settings["maps"]), (True, settings["curve_maps"])):
        one = partial(trial, settings=settings, condition=settings["conditions"][name], curve=curve)
        block, parts = jax.jit(jax.vmap(one)), []
        for begin in range(0, maps, settings["block"]):
            end = min(begin + settings["block"], maps)
            parts.append(jax.tree.map(np.asarray, block(keys[begin:end])))
            tell()
        found = jax.tree.map(lambda *each: np.concatenate(each), *parts) | found  # the larger sample of a row stays
    return found


def rows(settings: dict[str, Any], name: str, found: dict[str, Rates]) -> list[dict[str, Any]]:
    """Means with standard errors over maps, controls first; the recommended planner is marked as the default."""
    condition = settings["conditions"][name]
    table = []
    for planner, (lava, goal) in found.items():
        measured, _, alpha = planner.partition("|")
        n = len(lava)
        table.append(
            {
                "condition": condition["title"],
                "planner": measured if not alpha else f"CVaR {alpha} per step from {measured}",
                "measured from": measured if alpha else None,
                "alpha": float(alpha) if alpha else None,
                "default": planner == LEAST,
                "maps": n,
                "lava": float(lava.mean()),
                "lava error": float(lava.std(ddof=1) / n**0.5),
                "goal": float(goal.mean()),
                "goal error": float(goal.std(ddof=1) / n**0.5),
            }
        )
    order = [STAKES, START, TRAINING, NOTHING]
    return sorted(
        table, key=lambda row: (-1, 0) if row["alpha"] is None else (order.index(row["measured from"]), row["alpha"])
    )


def markdown(settings: dict[str, Any], table: list[dict[str, Any]], command: str) -> str:
    """The table as a page."""
    lines = [
        "# Lavaland: the study",
        "",
        f"Made by `{command}` (seed {settings['seed']}); the constants were chosen on maps of other seeds.",
        "Each row: the probability of entering lava and of reaching the goal within 50 steps, with standard",
        "errors over maps. **Bold**: the recommended planner.",
        "",
        "![Lava entered against goal reached, by risk level and by what is measured from what](lavaland.png)",
    ]
    for title in dict.fromkeys(row["condition"] for row in table):
        lines += ["", f"## With {title}", "", "| planner | maps | lava | goal |", "|---|---:|---:|---:|"]
        for row in table:
            if row["condition"] != title:
                continue
            if row["planner"] == "a lava-free path exists":
                lines.append(f"| {row['planner']} | {row['maps']} | | {row['goal']:.4f} |")
                continue
            bold = "**" if row["default"] else ""
            lava = f"{row['lava']:.4f} ± {row['lava error']:.4f}"
            goal = f"{row['goal']:.4f} ± {row['goal error']:.4f}"
            lines.append(f"| {bold}{row['planner']}{bold} | {row['maps']} | {lava} | {goal} |")
    return "\n".join(lines) + "\n"


@_style.drawing
def draw(settings: dict[str, Any], table: list[dict[str, Any]]) -> Figure:
    """The risk curve: lava entered against goal missed as α varies, by what is measured from what."""
    names = {STAKES: "start features in training stakes", START: "start features", NOTHING: "nothing"}
    panels: dict[str, list[dict[str, Any]]] = {}
    for row in table:
        if row["planner"] != "a lava-free path exists":
            measured = row["measured from"] or ""
            about = {"measured_from": names.get(measured, measured.removeprefix("mean ")), "control": False}
            errors = {f"{rate}_se": row[f"{rate} error"] for rate in ("lava", "goal")}
            title = f"With {row['condition']}"
            panels.setdefault(title, []).append(row | about | errors)
    least, most = (f(row["maps"] for row in table) for f in (min, max))
    note = f"{most:,} generated maps" + (f" (curves: {least:,})" if least < most else "")
    return risk_curve.draw(panels, note)


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Run, save; returns the rows of the table."""
    began = time.perf_counter()
    parser = argparse.ArgumentParser(
        prog="python -m examples.studies.lavaland",
        description="The recommended planners on thousands of generated Lavaland maps: table, JSON and picture.",
        epilog=f"Every setting is in {SETTINGS.name}, beside this program; change it in a file for --settings.",
    )
    parser.add_argument("--settings", type=Path, metavar="FILE.toml", help="settings that differ from the defaults")
    parser.add_argument("--maps", type=int, help="maps per condition, in place of the settings'")
    parser.add_argument(
        "--out", type=Path, default=Path("out/lavaland_study"), help="folder for the results (default %(default)s)"
    )
    parser.add_argument(
        "--condition", help="run only this condition, and keep what the folder holds of the others (default: run all)"
    )
    parser.add_argument("--small", action="store_true", help="a few maps: a look at everything, no result to rely on")
    parser.add_argument(
        "--redraw", action="store_true", help="run nothing: draw the pictures anew from the folder's JSON"
    )
    options = parser.parse_args(arguments)
    if options.redraw:
        record = _report.kept(options.out, "lavaland.json")
        _style.save(draw(record["settings"], record["results"]), options.out / "lavaland.png")
        return record["results"]
    settings = chosen(options)
    if options.condition and options.condition not in settings["conditions"]:
        names = ", ".join(settings["conditions"])
        parser.error(f"there is no condition {options.condition!r}; there are {names}")
    found = study(settings, options)
    command = _report.command("examples.studies.lavaland", options, ("maps",))
    pictures = [_style.save(draw(settings, found), options.out / "lavaland.png")]
    results = {"command": command, "results": found}
    about = {"pictures": pictures, "file": "lavaland.json"}
    _report.save(options.out, began, settings, settings["seed"], results, **about)
    page = markdown(settings, found, command)
    (options.out / "lavaland.md").write_text(page, encoding="utf-8")
    print(page)
    return found


def chosen(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that the command line asks for."""
    settings = _settings.chosen(options, SETTINGS, RULES, small=SMALL, given=("maps",))
    settings["curve_maps"] = min(settings["maps"], settings["curve_maps"])
    if options.small:
        settings["conditions"] = {
            name: {**condition, "alternatives": 20, "samples": 200, "alphas": [condition["alpha"]]}
            for name, condition in settings["conditions"].items()
        }
    return settings


def study(settings: dict[str, Any], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every condition, or one of them with what the folder holds of the others; saved after each."""
    there = options.condition and (options.out / "lavaland.json").exists()
    found = _report.kept(options.out, "lavaland.json")["results"] if there else []
    titles = [each["title"] for each in settings["conditions"].values()]
    names = [options.condition] if options.condition else list(settings["conditions"])
    with _report.progress() as progress:
        for name in names:
            title = settings["conditions"][name]["title"]
            blocks = -(-settings["maps"] // settings["block"]) - (-settings["curve_maps"] // settings["block"])
            task = progress.add_task(title, total=blocks)
            fresh = rows(settings, name, run(settings, name, partial(progress.advance, task)))
            found = [row for row in found if row["condition"] != title] + fresh
            found.sort(key=lambda row: titles.index(row["condition"]))
            about = {"began": time.perf_counter(), "settings": settings, "seed": settings["seed"]}
            _report.save(options.out, found={"results": found}, file="lavaland.json", **about)
    return found


if __name__ == "__main__":
    main()
