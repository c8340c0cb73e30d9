"""Without a table: a driving simulator, drivers that search over controls, and ice of which the reward said nothing.

A designer wrote a reward on dry roads. Drivers were trained, or here: told to search, for many rewards that could have
been written; what their runs collect is evidence. Then there is ice on the left lane.

    python -m examples.rollouts
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from examples import _report, _style
from examples.rollouts import driver, pictures, road, study
from ird import planning


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.rollouts",
        description="Drive on two lanes behind a slow truck, by search over controls: taken literally, a reward that "
        "was written on dry roads overtakes over ice. The same reward as evidence, from rollouts alone, keeps off it. "
        "Prints a table, saves a picture and manifest.json.",
    )
    parser.add_argument("--alternatives", type=int, default=96,
                        help="rewards that could have been written, a driver each (default %(default)s)")  # fmt: skip
    parser.add_argument("--episodes", type=int, default=12,
                        help="runs of each on dry roads, and a third on ice (default %(default)s)")  # fmt: skip
    parser.add_argument("--runs", type=int, default=48, help="runs on ice to compare drivers by (default %(default)s)")
    parser.add_argument("--samples", type=int, default=20_000, help="draws from the prior (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="all chance follows from it (default 0)")
    parser.add_argument("--out", type=Path, default=Path("out/rollouts"), help="folder (default %(default)s)")
    options = parser.parse_args(arguments)
    if min(options.alternatives, options.episodes, options.runs) < 2 or options.samples < 1:
        parser.error("--alternatives, --episodes and --runs must be at least 2, and --samples at least 1")
    return options


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Learn, drive, choose."""
    for_learning, for_field, for_test = jax.random.split(jax.random.key(options.seed), 3)
    with _report.progress(console) as bar:
        job = bar.add_task("drivers on dry roads", total=options.alternatives)
        known = study.learn(
            for_learning, options.alternatives, options.episodes, options.samples, lambda n: bar.advance(job, n)
        )
        job = bar.add_task("the same on ice", total=options.alternatives)
        few = max(2, options.episodes // 3)
        there = study.drive_for(known.rewards, for_field, few, 1.0, lambda n: bar.advance(job, n))
        visits = there.reshape(len(there), -1, len(road.NAMES))
        job = bar.add_task("drivers by what they are paid", total=6)
        keys, runs = jax.random.split(for_test, options.runs), {}
        paid = study.drivers(known, visits[:, ::few])
        for name, pay in paid.items():
            runs[name] = driver.together(keys, pay, 1.0)
            bar.advance(job)
        often = jnp.full(visits.shape[1], 1 / few)
        chosen = planning.choose(visits, known.belief, visits=often)
        of_chosen = planning.LinearPay(jnp.asarray(known.rewards[int(chosen.option)], jnp.float32))
        best = driver.together(keys, of_chosen, 1.0)
        last = runs.pop("who knows of ice")
        runs |= {"chosen of the dry ones": best, "who knows of ice": last}
        bar.advance(job)
    return {"known": known, "paid": paid, "runs": runs, "chosen": chosen, "keys": keys}


def conclusion(rows: dict[str, dict[str, np.ndarray]]) -> str:
    """What came out, in words."""
    names = ("literal", "worst tenth, per step", "least exposure", "chosen of the dry ones", "who knows of ice")
    literal, risky, careful, chosen, best = (rows[name] for name in names)
    ice = study.MEANT[study.ICE] * road.SIZE[study.ICE] * literal["ice"].mean() / road.STEP
    return (
        f"Taken literally the reward overtakes over ice: {literal['ice'].mean():.1f} s of a run, in "
        f"{(literal['ice'] > 0.5).mean():.0%} of runs. The driver who is paid for what is known, less what is unknown, "
        f"is on it for {careful['ice'].mean():.1f} s ({(careful['ice'] > 0.5).mean():.0%}), and passes the truck all "
        f"the same, later, in {careful['passed'].mean():.0%}. As it was meant that is worth "
        f"{careful['meant'].mean():.1f} instead of {literal['meant'].mean():.1f}. With care at every step it is "
        f"{risky['meant'].mean():.1f}, with knowledge of ice {best['meant'].mean():.1f} (each finds what its search "
        f"finds), and the least exposed of the drivers who were there already, none of whom knew ice, brings "
        f"{chosen['meant'].mean():.1f}. Nobody learnt that ice is bad, and care has its price: "
        f"{literal['far'].mean() - careful['far'].mean():.0f} m a run, "
        f"{(literal['written'] - careful['written']).mean():.1f} of the written reward, for nothing if the ice were "
        f"paint (the ice itself cost the literal driver {-ice:.1f})."
    )


def table(rows: dict[str, dict[str, np.ndarray]]) -> Table:
    """Means over runs, with their standard errors."""
    shown = Table(title="The same scenes with ice: mean ± standard error")
    heads = {
        "meant": "as meant",
        "written": "as written",
        "ice": "s on ice",
        "far": "metres",
        "truck": "s at the truck",
    }
    for head in ("driver", *heads.values()):
        shown.add_column(head, justify="left" if head == "driver" else "right", no_wrap=True)
    for name, row in rows.items():
        means = {key: _report.mean_and_error(row[key]) for key in heads}
        shown.add_row(name, *(_report.plus_minus(*x, digits=0 if key == "far" else 2) for key, x in means.items()))
    return shown


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began, options = time.perf_counter(), parse(arguments)
    console = Console(width=max(110, Console().width))
    found = run(options, console)
    rows = {name: study.measured(each) for name, each in found["runs"].items()}
    console.print(conclusion(rows))
    console.print(table(rows))
    belief = found["known"].belief
    sd = np.sqrt(np.diagonal(belief.covariance()))
    weights = {name: (float(m), float(s)) for name, m, s in zip(road.NAMES, belief.mean(), sd, strict=True)}
    said = ", ".join(f"{name} {m:.2f} ±{s:.2f}" for name, (m, s) in weights.items())
    console.print(f"What the dry runs told (mean ± s.d. of each weight): {said}.")
    console.print(f"Of the {options.alternatives} drivers that were there already:")
    console.print(str(found["chosen"]), highlight=False)
    scene = road.scene(jax.random.split(found["keys"][0])[0], 1.0)
    shown = {
        label: jax.tree.map(lambda x: x[0], found["runs"][name])
        for label, name in (("Taken literally", "literal"), ("Paid for the known, less the unknown", "least exposure"))
    }
    picture = _style.save(pictures.draw(scene, shown, rows), options.out / "rollouts.png")
    names = ("alternatives", "episodes", "runs", "samples")
    settings = {name: getattr(options, name) for name in names} | {
        "written": study.WRITTEN.tolist(), "meant": study.MEANT.tolist(), "beta": study.BETA,
    }  # fmt: skip
    results = {
        "results": {name: {k: _report.mean_and_error(x) for k, x in row.items()} for name, row in rows.items()},
        "weights": weights,
        "price": float(found["paid"]["least exposure"].price),
        "chosen": {"option": int(found["chosen"].option), "exposure": float(found["chosen"].exposure)},
    }
    manifest = _report.save(options.out, began, settings, options.seed, results, pictures=[picture])
    console.print(_report.told(manifest, options.out))
    return manifest


if __name__ == "__main__":
    main()
