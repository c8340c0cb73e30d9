"""Does it pay to teach? The apprenticeship study of Hadfield-Menell et al. (2016, section 4), reproduced.

A human who knows the reward acts for a while; a robot watches, infers the reward by maximum-entropy
inverse reinforcement learning, and then acts alone from a random state.  An expert human does as well
as possible while watched.  One who plays the best response to such a robot shows it around instead.

    python -m examples.studies.teaching
"""

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from cirl import teaching
from examples import _report, _settings, _style
from examples._settings import COUNT, COUNTS, POSITIVE, POSITIVES, SEED, count

SETTINGS = Path(__file__).with_suffix(".toml")
RULES = {
    "seed": SEED,
    "trials": count(2),  # standard errors need two
    "features": COUNTS,
    **dict.fromkeys(("choosing", "side", "steps", "beams", "gradient_steps"), COUNT),
    **dict.fromkeys(("width", "rationality"), POSITIVE),
    **dict.fromkeys(("sweep", "efforts"), POSITIVES),
}
SMALL = {"trials": 20, "choosing": 20, "sweep": [1e-3, 1.0, 100.0], "efforts": [0.1, 1.0, 10.0]}
SMALL |= {"gradient_steps": 60, "beams": 8}
MEASURES = {
    "regret": "regret of the robot, in return",
    "divergence": "KL of trajectory distributions, nats",
    "distance": "squared distance of rewards",
}
COLOURS = {"expert": _style.ORANGE, "best response": _style.BLUE}


class Measures(NamedTuple):
    """What a demonstration led to.

    Attributes:
        regret: what the robot's plan loses in deployment, in units of return.
        divergence: KL(P_θ ‖ P_θ̂) of maximum-entropy trajectory distributions, in nats.
        distance: ‖r_θ - r_θ̂‖² over states.
        residual: of the robot's inference; 0 at its optimum.
    """

    regret: jax.Array
    divergence: jax.Array
    distance: jax.Array
    residual: jax.Array


def lesson(key, rationality, effort, *, num_features: int, settings: dict[str, Any]) -> dict[str, Measures]:
    """One world and one reward, shown by an expert and by a teacher."""
    for_centres, for_theta = jax.random.split(key)
    centres = jax.random.uniform(for_centres, (num_features, 2), maxval=settings["side"] - 1.0)
    theta = jax.random.uniform(for_theta, (num_features,), minval=-1.0, maxval=1.0)
    learning = teaching.navigation(centres, side=settings["side"], horizon=settings["steps"], width=settings["width"])
    deployed = teaching.deployment(learning)

    def judge(path) -> Measures:
        shown = teaching.counts(learning, path)
        guess = teaching.infer(learning, shown, rationality=rationality, num_steps=settings["gradient_steps"])
        return Measures(
            teaching.regret(deployed, theta, guess.theta),
            teaching.divergence(learning, theta, guess.theta, rationality=rationality),
            jnp.sum((learning.reward(theta) - learning.reward(guess.theta)) ** 2),
            guess.residual,
        )

    taught = teaching.teach(learning, theta, rationality=rationality, effort=effort, num_beams=settings["beams"])
    return {"expert": judge(teaching.demonstrate(learning, theta)), "best response": judge(taught)}


def study(settings: dict[str, Any], tell) -> dict[str, Any]:
    """The bars and the sweep: η chosen on worlds of their own, everything else reported on others."""
    bars, sweep = [], []
    for number in settings["features"]:
        one = partial(lesson, num_features=number, settings=settings)
        many = jax.jit(jax.vmap(one, (0, None, None)))
        choosing = jax.random.split(jax.random.key(settings["seed"] + 1), settings["choosing"])
        keys = jax.random.split(jax.random.key(settings["seed"]), settings["trials"])
        for rationality in sorted({settings["rationality"], *settings["sweep"]}):
            regrets = [
                float(many(choosing, rationality, effort)["best response"].regret.mean())
                for effort in settings["efforts"]
            ]
            effort = settings["efforts"][int(np.argmin(regrets))]
            found = jax.tree.map(np.asarray, many(keys, rationality, effort))
            about = {"features": number, "rationality": rationality, "effort": effort, "trials": len(keys)}
            about["largest residual"] = max(float(x.residual.max()) for x in found.values())
            sweep.append(about | {who: _mean(x.regret) for who, x in found.items()})
            if rationality == settings["rationality"]:
                for name in MEASURES:
                    row = {who: _mean(getattr(x, name)) for who, x in found.items()}
                    saved = getattr(found["expert"], name) - getattr(found["best response"], name)
                    bars.append(about | {"measure": name, **row, "difference": _mean(saved)})
            tell()
    return {"bars": bars, "sweep": sweep}


def _mean(x: np.ndarray) -> list[float]:
    """Mean and its standard error."""
    return [float(x.mean()), float(x.std(ddof=1) / len(x) ** 0.5)]


def markdown(settings: dict[str, Any], found: dict[str, Any], command: str) -> str:
    """The tables as a page."""
    lines = [
        "# Teaching: the study",
        "",
        f"Made by `{command}` (seed {settings['seed']}; η chosen on worlds of seed {settings['seed'] + 1}).",
        "Means over worlds with standard errors; lower is better. Difference: expert less best response, paired.",
        "",
        "![Expert against best response, and regret against λ](teaching.png)",
        "",
        "| features | measure | expert | best response | difference |",
        "|---:|---|---:|---:|---:|",
    ]
    show = lambda pair: f"{pair[0]:.3g} ± {pair[1]:.2g}"  # noqa: E731
    for row in found["bars"]:
        cells = [str(row["features"]), MEASURES[row["measure"]]]
        cells += [show(row[x]) for x in ("expert", "best response", "difference")]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "Regret against the robot's λ:", "", "| features | λ | η | expert | best response |"]
    lines.append("|---:|---:|---:|---:|---:|")
    for row in found["sweep"]:
        cells = [str(row["features"]), f"{row['rationality']:g}", f"{row['effort']:g}"]
        lines.append("| " + " | ".join([*cells, show(row["expert"]), show(row["best response"])]) + " |")
    return "\n".join(lines) + "\n"


@_style.drawing
def draw(found: dict[str, Any]) -> Figure:
    """A pair of bars for each number of features, one panel per measure; and regret against λ."""
    figure, axes = plt.subplots(2, 2, figsize=(_style.WIDTH, 6.4), layout="constrained")
    *panels, last = axes.ravel()
    numbers = sorted({row["features"] for row in found["bars"]})
    for axis, (name, label) in zip(panels, MEASURES.items(), strict=True):
        for i, (who, colour) in enumerate(COLOURS.items()):
            rows = [row for row in found["bars"] if row["measure"] == name]
            at = np.arange(len(rows)) + 0.38 * (i - 0.5)
            heights, errors = np.array([row[who] for row in rows]).T
            axis.bar(at, heights, 0.36, yerr=2 * errors, color=colour, label=who)
            for x, height, error in zip(at, heights, errors, strict=True):
                axis.annotate(f"{height:.2g}", (x, height + 2 * error), (0, 2), textcoords="offset points", ha="center")
        axis.set_xticks(range(len(numbers)), [f"{n} features" for n in numbers])
        axis.tick_params(axis="x", length=0)
        axis.set_ylabel(label)
        axis.margins(y=0.15)
    for number, style in zip(numbers, ("-", "--", ":"), strict=False):
        for who, colour in COLOURS.items():
            rows = [row for row in found["sweep"] if row["features"] == number]
            mean, error = np.array([row[who] for row in rows]).T
            rationality = [row["rationality"] for row in rows]
            last.errorbar(rationality, mean, 2 * error, fmt=style, color=colour, marker="o", ms=4)
        place = (rows[0]["rationality"], max(rows[0][who][0] for who in COLOURS))
        last.annotate(f"{number} features", place, (6, 12), textcoords="offset points")
    last.set(xscale="log", xlabel="λ of the robot, in 1/return", ylabel=MEASURES["regret"])
    last.margins(y=0.2)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, title="who is watched (bars: ± 2 standard errors)", ncols=2, loc="outside upper center"
    )
    return figure


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began = time.perf_counter()
    parser = argparse.ArgumentParser(
        prog="python -m examples.studies.teaching",
        description="Expert demonstrations against best responses, taught to a feature-matching robot: table, JSON, "
        "picture.",
        epilog=f"Every setting is explained in {SETTINGS.name}, beside this program.",
    )
    parser.add_argument("--settings", type=Path, metavar="FILE.toml", help="settings that differ from the defaults")
    parser.add_argument("--trials", type=int, help="worlds per bar, in place of the settings'")
    parser.add_argument("--seed", type=int, help="all chance follows from it, in place of the settings'")
    parser.add_argument("--small", action="store_true", help="a few worlds: a look at everything, no result to rely on")
    parser.add_argument("--out", type=Path, default=Path("out/teaching"), help="folder (default %(default)s)")
    parser.add_argument(
        "--redraw", action="store_true", help="run nothing: draw the pictures anew from the folder's JSON"
    )
    options = parser.parse_args(arguments)
    if options.redraw:
        manifest = _report.kept(options.out, "teaching.json")
        _style.save(draw(manifest["results"]), options.out / "teaching.png")
        return manifest
    settings = _settings.chosen(options, SETTINGS, RULES, small=SMALL, given=("trials", "seed"))
    with _report.progress() as progress:
        steps = len(settings["features"]) * len({settings["rationality"], *settings["sweep"]})
        task = progress.add_task("values of λ", total=steps)
        found = study(settings, partial(progress.advance, task))
    command = _report.command("examples.studies.teaching", options, ("trials", "seed"))
    pictures = [_style.save(draw(found), options.out / "teaching.png")]
    results = {"command": command, "results": found}
    about = {"pictures": pictures, "file": "teaching.json"}
    manifest = _report.save(options.out, began, settings, settings["seed"], results, **about)
    page = markdown(settings, found, command)
    (options.out / "teaching.md").write_text(page, "utf-8")
    print(page)
    return manifest


if __name__ == "__main__":
    main()
