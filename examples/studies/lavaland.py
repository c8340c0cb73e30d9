"""The shipped planners on thousands of generated Lavaland maps: how often they enter lava and reach the goal.

Long: half an hour or so on two cores.  Writes a table, the figures' numbers and a picture:

    python -m examples.studies.lavaland --out docs/studies
"""

import argparse
import json
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import mdps
from examples.lavaland.trial import Rates, rates, world
from ird import planning
from ird.risk import CVaR
from mdps.worlds.lavaland import lava_free_path

SETTINGS = Path(__file__).with_suffix(".toml")
SMALL = {"maps": 8, "curve_maps": 4, "block": 4}

# What is measured from where, and in which units: the rows of the curve.
STAKES = "start features, in units of training stakes"
START = "start features"
TRAINING = "mean training features"
NOTHING = "nothing"


def trial(key: jax.Array, settings: dict[str, Any], condition: dict[str, Any], curve: bool) -> dict[str, Rates]:
    """One designer, one deployment map, the shipped planner and controls, or the whole `curve` of planners."""
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
        "literal": rates(field, mdps.solve(mdp, mdp.reward(written)).policy),
        "forbid the unseen": rates(field, mdps.solve(mdp, forbidden).policy),
        "a lava-free path exists": Rates(jnp.zeros(()), lava_free_path(field).astype(float)),
        f"{STAKES}|{condition['alpha']}": careful(condition["alpha"], start, stakes),
    }
    return found


def run(settings: dict[str, Any], name: str, tell: Callable[[], None]) -> dict[str, Rates]:
    """One condition, block by block: the shipped planner on all maps, the curve on the first of them; rates per map."""
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
    """Means with standard errors over maps, controls first; the shipped planner is marked as the default."""
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
                "default": measured == STAKES and float(alpha) == condition["alpha"],
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
        "errors over maps. **Bold**: the shipped default.",
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


def draw(table: list[dict[str, Any]], path: Path) -> None:
    """The risk curve: lava entered against goal reached as α varies, by what is measured from what."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    colours = {STAKES: "#0072B2", START: "#D55E00", TRAINING: "#009E73", NOTHING: "#CC79A7"}
    markers = {STAKES: "o", START: "s", TRAINING: "^", NOTHING: "D"}
    titles = list(dict.fromkeys(row["condition"] for row in table))
    figure, axes = plt.subplots(1, len(titles), figsize=(5.6 * len(titles), 4.6), sharey=True, squeeze=False)
    for axis, title in zip(axes[0], titles, strict=True):
        for measured, colour in colours.items():
            curve = [row for row in table if row["condition"] == title and row["measured from"] == measured]
            goal, lava = [row["goal"] for row in curve], [row["lava"] for row in curve]
            error = [2 * row["lava error"] for row in curve]
            axis.errorbar(
                goal, lava, error, marker=markers[measured], color=colour, ms=5, lw=1.4, capsize=2, label=measured
            )
            if measured in (STAKES, START):
                for row in curve[:: max(1, len(curve) // 3)]:
                    axis.annotate(
                        f"α {row['alpha']:g}",
                        (row["goal"], row["lava"]),
                        (4, 5),
                        textcoords="offset points",
                        fontsize=7,
                    )
        for planner, marker in (("literal", "X"), ("posterior mean", "P"), ("forbid the unseen", "*")):
            (row,) = [row for row in table if row["condition"] == title and row["planner"] == planner]
            axis.plot(row["goal"], row["lava"], marker, color="black", ms=9, label=planner)
        (best,) = [row for row in table if row["condition"] == title and row["default"]]
        axis.plot(best["goal"], best["lava"], "o", mfc="none", mec="black", ms=13, mew=1.6, label="shipped default")
        axis.set(title=f"With {title}", xlabel="probability of reaching the goal within 50 steps")
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("probability of entering lava (± 2 standard errors)")
    axes[0, 0].legend(fontsize=7.5, title="measured from", title_fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Run, save; returns the rows of the table."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.studies.lavaland",
        description="The shipped planners on thousands of generated Lavaland maps: table, JSON and picture.",
        epilog=f"Every setting is in {SETTINGS.name}, beside this program; --settings takes a file of the same form.",
    )
    parser.add_argument("--settings", type=Path, default=SETTINGS, help="settings (default: those beside this program)")
    parser.add_argument("--maps", type=int, help="maps per condition, in place of the settings'")
    parser.add_argument(
        "--out", type=Path, default=Path("out/lavaland_study"), help="folder for the results (default %(default)s)"
    )
    parser.add_argument(
        "--condition", help="run only this condition, and keep what the folder holds of the others (default: run all)"
    )
    parser.add_argument("--small", action="store_true", help="a few maps: a look at everything, no result to rely on")
    options = parser.parse_args(arguments)
    settings = tomllib.loads(options.settings.read_text(encoding="utf-8"))
    if options.small:
        settings |= SMALL
        settings["conditions"] = {
            name: {**condition, "alternatives": 20, "samples": 200, "alphas": [condition["alpha"]]}
            for name, condition in settings["conditions"].items()
        }
    if options.maps:
        settings |= {"maps": options.maps, "curve_maps": min(options.maps, settings["curve_maps"])}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    command = "python -m examples.studies.lavaland" + (f" --maps {options.maps}" if options.maps else "")
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "lavaland.json"
    chosen = (
        {options.condition: settings["conditions"].get(options.condition)}
        if options.condition
        else settings["conditions"]
    )
    if None in chosen.values():
        parser.error(f"there is no condition {options.condition!r}; there are {', '.join(settings['conditions'])}")
    found = json.loads(file.read_text(encoding="utf-8"))["results"] if options.condition and file.exists() else []
    with Progress(*columns) as progress:
        for name, condition in chosen.items():
            blocks = -(-settings["maps"] // settings["block"]) - (-settings["curve_maps"] // settings["block"])
            task = progress.add_task(condition["title"], total=blocks)
            fresh = rows(settings, name, run(settings, name, partial(progress.advance, task)))
            found = [row for row in found if row["condition"] != condition["title"]] + fresh
            titles = [each["title"] for each in settings["conditions"].values()]
            found.sort(key=lambda row: titles.index(row["condition"]))
            record = json.dumps({"settings": settings, "results": found}, indent=1, ensure_ascii=False)
            file.write_text(record + "\n", encoding="utf-8")
            (options.out / "lavaland.md").write_text(markdown(settings, found, command), encoding="utf-8")
            draw(found, options.out / "lavaland.png")
    print(markdown(settings, found, command))
    return found


if __name__ == "__main__":
    main()
