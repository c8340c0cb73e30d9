"""The study of the inverse reward design paper: four conditions, two posteriors, plans per step and per trajectory.

A designer writes a proxy reward while looking at a map without lava; the robot acts on maps that have
some (Hadfield-Menell et al. 2017, section 5).  Runs everything, saves a table (CSV and Markdown),
pictures and a JSON manifest:

    python -m examples.studies.ird_paper --out docs/studies
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import jax
import numpy as np
from rich.console import Console

from examples import _report, _settings
from examples._settings import COUNT, NUMBER, POSITIVE, POSITIVES, SEED, SHARE, Rule
from examples.studies.ird_paper import planners, report, worlds
from examples.studies.ird_paper.worlds import CONDITIONS, Condition, Pair

SETTINGS = Path(__file__).with_name("settings.toml")
RULES: dict[str, Rule] = {
    "seed": SEED,
    "maps": COUNT,
    "block": COUNT,
    **dict.fromkeys(("world.horizon", "world.sweeps"), COUNT),
    **dict.fromkeys(("world.grass", "world.coupling"), NUMBER),
    "world.new": SHARE,
    "world.penalty": POSITIVE,
    **dict.fromkeys(("designer.dirt", "designer.grass", "designer.target"), NUMBER),
    "designer.beta": POSITIVE,
    "designer.alternatives": COUNT,
    **dict.fromkeys(("truth.lava", "truth.harmless"), NUMBER),
    **dict.fromkeys(("latent.dimensions", "latent.spread", "latent.labels"), COUNT),
    "latent.separation": POSITIVE,
    **dict.fromkeys(("prior.width", "prior.terrain", "prior.weight", "prior.within"), POSITIVE),
    "prior.samples": COUNT,
    **dict.fromkeys(("maxent.beta", "maxent.scale"), POSITIVE),
    "maxent.samples": COUNT,
    "planner.alpha": SHARE,
    **dict.fromkeys(("planner.worst_case_draws", "planner.trajectory_samples"), COUNT),
    "planner.tol": POSITIVE,
    "separation.values": POSITIVES,
    "separation.maps": COUNT,
    "harmless.shares": POSITIVES,
    "harmless.maps": COUNT,
}
SMALL: dict[str, Any] = {
    "maps": 4,
    "block": 4,
    "world": {"sweeps": 4, "horizon": 30},
    "designer": {"alternatives": 16},
    "latent": {"dimensions": 6, "spread": 6, "labels": 20},
    "prior": {"samples": 128},
    "maxent": {"samples": 64},
    "planner": {"worst_case_draws": 8, "trajectory_samples": 16, "tol": 0.1},
    "separation": {"values": [1.0, 3.0], "maps": 4},
    "harmless": {"shares": [0.3], "maps": 4},
}
# The smallest programs, compiled quickly rather than well.
QUICK = {"xla_backend_optimization_level": 0}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.studies.ird_paper",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Run the study of the inverse reward design paper: side effects and reward hacking, with indicator "
        "features,\nraw latent observations and classifier outputs; Sample-Z and MaxEnt-Z against the literal proxy.",
        epilog="The settings, each with its default and its meaning; put what you want to change into a file of your "
        "own:\n\n" + SETTINGS.read_text(encoding="utf-8"),
    )
    parser.add_argument("--settings", type=Path, metavar="FILE.toml", help="settings that differ from those below")
    parser.add_argument("--seed", type=int, help="all chance follows from it")
    parser.add_argument("--maps", type=int, help="pairs of maps for the main table")
    parser.add_argument(
        "--condition",
        action="append",
        metavar="WORDS",
        help='only conditions whose names hold these words, such as "hacking" or "side effects, raw"; may be repeated',
    )
    parser.add_argument("--main", action="store_true", help="the main table alone: no separations, nothing harmless")
    parser.add_argument("--out", type=Path, default=Path("out/ird_paper"), help="folder (default %(default)s)")
    parser.add_argument("--small", action="store_true", help="a few maps and six dimensions: nothing to rely on")
    parser.add_argument(
        "--redraw", action="store_true", help="run nothing: draw the pictures anew from the folder's JSON"
    )
    return parser.parse_args(arguments)


class Study:
    """The study's compiled programs, and what is common to its parts."""

    def __init__(self, settings: dict[str, Any], quick: bool, tell: Callable[[str], None]):
        self.settings, self.tell = settings, tell
        self.options = QUICK if quick else {}
        # Plans per trajectory and those of least exposure factor matrices; two such programs at once can wait for each
        # other for ever on a machine with few cores (jaxlib 0.10).
        self.alone = Lock()
        compiled = partial(jax.jit, compiler_options=self.options)
        self.weigh = {
            maxent: compiled(jax.vmap(partial(planners.weigh, settings, maxent=maxent))) for maxent in (False, True)
        }
        stages = (planners.propose, planners.plain, planners.per_step, planners.per_trajectory, planners.least_exposure)
        self.propose, self.plain, self.per_step, self.per_trajectory, self.least_exposure = (
            compiled(jax.vmap(partial(stage, settings))) for stage in stages
        )

    def pairs(self, n: int, part: int, new: float | None = None) -> Pair:
        """Pairs of maps for one part of the study."""
        key = jax.random.fold_in(jax.random.key(self.settings["seed"]), part)
        maps = worlds.generator(self.settings, new)
        return worlds.draw_pairs(maps, jax.random.split(key, n), tuple(self.options.items()))

    def run(
        self, condition: Condition, pairs: Pair, part: int, separation: float | None = None, everything: bool = False
    ) -> dict[str, Any]:
        """Every planner on a batch of maps (or only the literal one and the recommended one), block by block."""
        key = jax.random.fold_in(jax.random.key(self.settings["seed"]), 1000 + part)
        for_features, for_plans = jax.random.split(jax.random.fold_in(key, CONDITIONS.index(condition)))
        sensed, scale = worlds.sense(self.settings, condition, pairs, for_features, separation)
        n, size = len(sensed.proxy), self.settings["block"]
        keys = jax.random.split(for_plans, n)
        parts = []
        for begin in range(0, n, size):
            here = (pairs, sensed, scale, keys)
            block = jax.tree.map(lambda x: x[begin : begin + size], here)  # noqa: B023
            parts.append(jax.tree.map(np.asarray, self._block(*block, everything)))
            self.tell(condition.name)
        found = jax.tree.map(lambda *each: np.concatenate(each), *parts)
        return found | {"blind": np.asarray(sensed.blind)}

    def _block(
        self, pairs: Pair, sensed: worlds.Sensed, scale: jax.Array, keys: jax.Array, everything: bool
    ) -> dict[str, Any]:
        proxy = self.propose(pairs, sensed)
        weighed = {"Sample-Z": self.weigh[False](pairs, sensed, scale, proxy, keys)}
        if everything:
            weighed["MaxEnt-Z"] = self.weigh[True](pairs, sensed, scale, proxy, keys)
        means = [each.mean for each in weighed.values()]
        plain = self.plain(pairs, sensed, (means[0], means[-1]))
        found = {name: _column(plain, i) for i, name in enumerate(planners.PLAIN)}
        if everything:
            with self.alone:
                least = self.least_exposure(pairs, sensed, scale, proxy, keys)
                found[report.LEAST] = jax.block_until_ready(least)
        else:
            del found["mean, MaxEnt-Z"]
        for name, belief in weighed.items():
            found[f"worth of {name}"] = belief.effective_sample_size
            steps = belief.steps if everything else jax.tree.map(lambda x: x[:, :1], belief.steps)
            made = {"per step": self.per_step(pairs, sensed, steps)}
            if everything:
                with self.alone:
                    whole = self.per_trajectory(pairs, sensed, belief.few, belief.offset)
                    made["per trajectory"] = jax.block_until_ready(whole)
            for scheme, outcomes in made.items():
                for i, risk in enumerate(planners.RISKS[: outcomes.goal.shape[1]]):
                    found[f"{risk} {scheme}, {name}"] = _column(outcomes, i)
        return found


def _column(outcomes: planners.Outcome, i: int) -> planners.Outcome:
    """One of the plans that a program made for each map."""
    return jax.tree.map(lambda x: x[:, i], outcomes)


def study(settings: dict[str, Any], options: argparse.Namespace, console: Console) -> list[dict[str, Any]]:
    """All parts; returns the rows of the table."""
    words = options.condition or [""]
    chosen = [condition for condition in CONDITIONS if any(word in condition.name for word in words)]
    if not chosen:
        names = "; ".join(condition.name for condition in CONDITIONS)
        raise ValueError(f"no condition's name holds {' or '.join(map(repr, words))}; there are {names}.")
    separations, shares, size = settings["separation"], settings["harmless"], settings["block"]
    # Each job: a part, a condition, the number of maps and the part's number in the keys, and what is particular to it.
    jobs: list[tuple[str, Condition, int, int, dict[str, float]]] = []
    jobs += [("main", condition, settings["maps"], 0, {}) for condition in chosen]
    if not options.main:
        for i, value in enumerate(separations["values"]):
            latent = [condition for condition in chosen if condition.latent]
            jobs += [("separation", each, separations["maps"], 10 + i, {"separation": value}) for each in latent]
        for i, share in enumerate(shares["shares"]):
            jobs += [("harmless", each, shares["maps"], 100 + i, {"new": share}) for each in chosen]
    with _report.progress(console, transient=True) as progress:
        task = progress.add_task("drawing maps", total=sum(-(-n // size) for _, _, n, _, _ in jobs))
        tell = lambda text: progress.update(task, description=f"{text:<34}", advance=1)  # noqa: E731
        made = Study(settings, options.small, tell)

        def work(job) -> list[dict[str, Any]]:
            part, condition, _, number, special = job
            pairs, separation = maps[part, special.get("new")], special.get("separation")
            outcomes = made.run(condition, pairs, number, separation, everything=part == "main")
            return report.rows(settings, part, condition, outcomes, **special)

        # All conditions of a part share their maps, and so do all separations.
        maps = {}
        for part, _, n, number, special in jobs:
            new = special.get("new")
            if (part, new) not in maps:
                maps[part, new] = made.pairs(n, number, new)
        # Two jobs at a time: neither compiling nor planning for a block of maps fills two cores.
        with ThreadPoolExecutor(2) as pool:
            return [row for rows in pool.map(work, jobs) for row in rows]


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began = time.perf_counter()
    options = parse(arguments)
    console = Console(soft_wrap=True)
    file = "ird_paper.json"
    try:
        if options.redraw:
            manifest = _report.kept(options.out, file)
            report.draw(manifest["results"], options.out)
            return manifest
        settings = _settings.chosen(options, SETTINGS, RULES, small=SMALL, given=("seed", "maps"))
        found = study(settings, options, console)
    except ValueError as error:
        sys.exit(f"error: {error}")
    options.out.mkdir(parents=True, exist_ok=True)
    given = ("settings", "seed", "maps", "condition")
    command = _report.command("examples.studies.ird_paper", options, given)
    pictures = report.draw(found, options.out)
    report.save_csv(found, options.out / "ird_paper.csv")
    results = {"command": command, "device": jax.devices()[0].device_kind, "results": found}
    about = {"pictures": [picture.name for picture in pictures], "file": file}
    manifest = _report.save(options.out, began, settings, settings["seed"], results, **about)
    text = report.markdown(settings, found, command, pictures)
    (options.out / "ird_paper.md").write_text(text, encoding="utf-8")
    console.print(text, markup=False, highlight=False)
    console.print(_report.told(manifest, options.out, file))
    return manifest


if __name__ == "__main__":
    main()
