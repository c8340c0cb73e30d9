"""Every normalizer of a proxy's likelihood against exact enumeration: total variation, wall time, and scale.

A designer may write any proxy of a lattice; candidates are a fine grid of rewards. Exact enumeration
sums over the whole lattice, the others do not. Some minutes on two cores:

    python -m examples.studies.normalizers --out docs/studies
"""

import argparse
import functools
import textwrap
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import mdps
from examples import _report, _settings, _style
from examples._settings import COUNT, COUNTS, POSITIVES, SEED, TABLE, TABLES, Rule
from ird import ProxyReward, posterior
from ird.designer import Designer

SETTINGS = Path(__file__).with_suffix(".toml")
RULES: dict[str, Rule] = {
    "seed": SEED,
    **dict.fromkeys(("designers", "chained", "fine", "cells", "proxies"), COUNT),
    **dict.fromkeys(("betas", "scales"), POSITIVES),
    **dict.fromkeys(("sampled", "inner_steps"), COUNTS),
    "chains": TABLE,
    "worlds": TABLES,
}
SMALL: dict[str, Any] = {
    "designers": 2,
    "chained": 1,
    "fine": 8,
    "proxies": 4,
    "betas": [5.0],
    "sampled": [10],
    "inner_steps": [],
    "scales": [0.1, 1.0, 10.0],
    "chains": {"num_warmup": 100, "num_samples": 200, "num_chains": 2, "thinning": 2},
}
BOX = dist.Uniform(-1, 1).expand([3]).to_event(1)
NOTHING, EXACT, MAX, SOFT = "no evidence: the prior", "exact", "Max-Z", "MaxEnt-Z, scale 1"
COLOURS = (_style.BLUE, _style.ORANGE, _style.GREEN)


class Listed(dist.Distribution):
    """The proxies that a designer may write, all alike, as a prior to sample them from."""

    support = dist.constraints.real_vector

    def __init__(self, rewards: jax.Array):
        self.rewards = rewards
        super().__init__(event_shape=rewards.shape[1:])

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Rows of the list, with replacement."""
        return self.rewards[jax.random.choice(key, len(self.rewards), sample_shape)]


class Space(NamedTuple):
    """One world with everything that is listed about it."""

    mdp: mdps.MDP
    proxies: jax.Array
    designer: Designer
    plans: np.ndarray
    candidates: jax.Array
    cell: np.ndarray


def space(settings: dict[str, Any], world: dict[str, Any]) -> Space:
    """Lay out candidates, cells and proxies for a world, and plan for every proxy."""
    arguments = {name: value for name, value in world.items() if name not in ("title", "text", "legend")}
    mdp = mdps.GridWorld.from_text(world["text"], world["legend"], **arguments).mdp

    def lattice(points: np.ndarray) -> np.ndarray:
        return np.stack(np.meshgrid(points, points, points, indexing="ij"), axis=-1).reshape(-1, 3)

    fine = settings["fine"]
    candidates = lattice((np.arange(fine) + 0.5) * 2 / fine - 1)
    proxies = jnp.asarray(lattice(np.linspace(-1, 1, settings["proxies"])), jnp.float32)
    designer = Designer.from_rewards(proxies, mdp)
    cell = cells_of(candidates, settings["cells"])
    plans = np.asarray(designer.features, float)
    return Space(mdp, proxies, designer, plans, jnp.asarray(candidates, jnp.float32), cell)


def cells_of(weights: np.ndarray, cells: int) -> np.ndarray:
    """The cell of each reward, numbered from 0."""
    at = np.clip(np.floor((np.asarray(weights, float) + 1) / 2 * cells).astype(int), 0, cells - 1)
    return at @ np.array([cells**2, cells, 1])


def in_cells(log_weights: jax.Array | np.ndarray, cell: np.ndarray, cells: int) -> np.ndarray:
    """Probability of each cell."""
    log_weights = np.asarray(log_weights, float)
    p = np.exp(log_weights - log_weights.max())
    return np.bincount(cell, p / p.sum(), minlength=cells**3)


def distance(p: np.ndarray, q: np.ndarray) -> float:
    """Total variation."""
    return float(np.abs(p - q).sum() / 2)


def timed(run: Callable[[], Any], compiled: bool = False) -> tuple[Any, float]:
    """What the call returns, and the seconds that it takes once everything is compiled."""
    if not compiled:
        jax.block_until_ready(run())
    began = time.perf_counter()
    found = jax.block_until_ready(run())
    return found, time.perf_counter() - began


@functools.partial(jax.jit, static_argnames=("number", "include"))
def sampled(mdp, own, alternatives, candidates, beta, key, number: int, include: bool) -> jax.Array:
    """Log posterior weights of the candidates by Sample-Z; compiled, so that all draws have one shape."""
    settings = {"prior": Listed(alternatives), "num_proxies": number, "include_candidate": include}
    proxy = ProxyReward.sampled(own, mdp, beta=beta, key=key, **settings)
    return posterior.exact(proxy, candidates=candidates).log_weights


def listed_methods(settings: dict[str, Any], here: Space, row: int, beta: float, key: jax.Array):
    """(name, call that builds the evidence and returns log posterior weights of the candidates) of each method."""
    own, alternatives, N = here.proxies[row], here.proxies, len(here.candidates)

    def judged(make: Callable[[], ProxyReward]) -> Callable[[], jax.Array]:
        return lambda: posterior.exact(make(), candidates=here.candidates).log_weights

    def drawn(number: int, include: bool) -> Callable[[], jax.Array]:
        return lambda: sampled(here.mdp, own, alternatives, here.candidates, beta, key, number, include)

    yield NOTHING, lambda: jnp.zeros(N)
    yield EXACT, judged(lambda: ProxyReward(own, here.mdp, beta=beta, alternatives=alternatives))
    for number in settings["sampled"]:
        yield f"Sample-Z, {number} proxies", drawn(number, False)
        yield f"Sample-Z, {number} proxies and the candidate", drawn(number, True)
    yield MAX, judged(lambda: ProxyReward.maximum(own, here.mdp, beta=beta, alternatives=alternatives))
    yield SOFT, judged(lambda: ProxyReward.maxent(own, here.mdp, beta=beta))


def chain_methods(settings: dict[str, Any], here: Space, row: int, beta: float, key: jax.Array):
    """(name, call that returns a posterior) of the samplers that need no normalizer."""
    proxy = ProxyReward(here.proxies[row], here.mdp, beta=beta, alternatives=here.proxies)

    def run(inner: int | None) -> Callable[[], posterior.Posterior]:
        def sample() -> posterior.Posterior:
            with warnings.catch_warnings():  # the table counts chains that did not converge
                warnings.simplefilter("ignore", posterior.ConvergenceWarning)
                return posterior.exchange(proxy, prior=BOX, key=key, inner_steps=inner, **settings["chains"])

        return sample

    for inner in settings["inner_steps"]:
        yield f"double Metropolis-Hastings, {inner} inner step{'s' if inner > 1 else ''}", run(inner)
    yield "exchange, exact draws", run(None)


def study(settings: dict[str, Any], tell: Callable[[str], None]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the table (world, β, method), and of the figure of scales (world, β, scale)."""
    table, curve = [], []
    cells = settings["cells"]
    for number, world in enumerate(settings["worlds"].values()):
        here = space(settings, world)
        # Soft values at every scale do not depend on the designer.
        soft = ProxyReward.maxent(here.proxies[0], here.mdp)
        values = {c: np.asarray(soft.log_normalizer(c * here.candidates), float) for c in settings["scales"]}
        for b, beta in enumerate(settings["betas"]):
            found: dict[str, list[tuple[float, float]]] = {}
            scaled: dict[float, list[float]] = {}
            doubtful: dict[str, int] = {}
            for i in range(settings["designers"]):
                key = jax.random.fold_in(jax.random.key(settings["seed"]), (number * 10 + b) * 1000 + i)
                for_designer, for_proxies, for_chains, for_floor = jax.random.split(key, 4)
                row = int(here.designer.replace(beta=beta).simulate(BOX, key=for_designer).row)
                judged = {}
                for name, run in listed_methods(settings, here, row, beta, for_proxies):
                    log_weights, seconds = timed(run)
                    judged[name] = in_cells(log_weights, here.cell, cells)
                    found.setdefault(name, []).append(
                        (distance(judged[name], judged.get(EXACT, judged[name])), seconds)
                    )
                found[NOTHING][-1] = (distance(judged[NOTHING], judged[EXACT]), 0.0)
                for c in settings["scales"]:
                    log_weights = beta * np.asarray(here.candidates, float) @ here.plans[row] - beta / c * values[c]
                    scaled.setdefault(c, []).append(distance(in_cells(log_weights, here.cell, cells), judged[EXACT]))
                if i < settings["chained"]:
                    for name, run in chain_methods(settings, here, row, beta, for_chains):
                        belief, seconds = timed(run, compiled=i > 0)
                        drawn = np.bincount(cells_of(belief.weights, cells), minlength=cells**3) / len(belief.weights)
                        found.setdefault(name, []).append((distance(drawn, judged[EXACT]), seconds))
                        doubtful[name] = doubtful.get(name, 0) + bool(belief.warnings())
                    worth = int(belief.effective_sample_size)
                    rows = jax.random.categorical(for_floor, jnp.log(judged[EXACT] + 1e-30), shape=(worth,))
                    floor = distance(np.bincount(np.asarray(rows), minlength=cells**3) / worth, judged[EXACT])
                    found.setdefault("independent draws of the truth, as many", []).append((floor, 0.0))
                tell(world["title"])
            fastest = min(seconds for _, seconds in found[EXACT])
            for name, pairs in found.items():
                far, seconds = np.array(pairs).T
                table.append(
                    {
                        "world": world["title"],
                        "beta": beta,
                        "method": name,
                        "designers": len(far),
                        "distance": far.mean(),
                        "error": far.std(ddof=1) / len(far) ** 0.5 if len(far) > 1 else float("nan"),
                        "worst": far.max(),
                        "seconds": seconds.min(),
                        "times exact": seconds.min() / fastest,
                        "unconverged": doubtful.get(name, 0),
                    }
                )
            for c, far in scaled.items():
                curve.append({"world": world["title"], "beta": beta, "scale": c, "distance": float(np.mean(far))})
    return table, curve


def markdown(settings: dict[str, Any], table: list[dict[str, Any]], command: str) -> str:
    """The tables as a page."""
    cells, each = settings["cells"] ** 3, (settings["fine"] // settings["cells"]) ** 3
    many, few, proxies = settings["designers"], settings["chained"], settings["proxies"] ** 3
    words = (
        f"Made by `{command}` (seed {settings['seed']}). Each designer means a reward drawn from [-1, 1]³ and writes "
        f"one of {proxies:,} proxies by the very model. Total variation to exact enumeration over all of them, on "
        f"{cells} cells of {each} candidates each: mean over {many} designers with its standard error, and the worst; "
        f"for chains over the first {few}. 0 is the same posterior, 1 no overlap. The time is that of building "
        "the evidence and judging all candidates (of chains: of the run), compiled, the fastest "
        "designer's, as a multiple of exact enumeration's. "
        "What the numbers mean is on [Normalizers](../normalizers.md)."
    )
    lines = [
        "# Normalizers: the study",
        "",
        *textwrap.wrap(words, 110),
        "",
        "![Total variation of each method, and of MaxEnt-Z by the scale of the weights](normalizers.png)",
    ]
    for world in dict.fromkeys(row["world"] for row in table):
        lines += ["", f"## {world[0].upper()}{world[1:]}"]
        for beta in settings["betas"]:
            lines += [
                "",
                f"β = {beta:g}",
                "",
                "| method | total variation | worst | time / exact |",
                "|---|---:|---:|---:|",
            ]
            for row in table:
                if (row["world"], row["beta"]) == (world, beta):
                    times = row["times exact"]
                    took = (f"{times:,.0f}" if times >= 10 else f"{times:.2g}") if row["seconds"] else ""
                    far = f"{row['distance']:.3f} ± {row['error']:.3f}"
                    note = f" ({row['unconverged']} not converged)" if row["unconverged"] else ""
                    lines.append(f"| {row['method']}{note} | {far} | {row['worst']:.3f} | {took} |")
    return "\n".join(lines) + "\n"


@_style.drawing
def draw(settings: dict[str, Any], table: list[dict[str, Any]], curve: list[dict[str, Any]]) -> Figure:
    """Above: the distance of each method, by world and β. Below: that of MaxEnt-Z, by the scale of the weights."""
    worlds = list(dict.fromkeys(row["world"] for row in table))
    methods = [name for name in dict.fromkeys(row["method"] for row in table) if name != EXACT]
    shape = {"height_ratios": [0.32 * len(methods), 2.6]}
    size = (_style.WIDTH, 0.32 * len(methods) + 4.6)
    figure, axes = plt.subplots(2, len(worlds), figsize=size, squeeze=False, layout="constrained", gridspec_kw=shape)
    styles = list(zip(settings["betas"], COLOURS, ("o", "s", "^"), strict=False))
    for column, world in enumerate(worlds):
        above, below = axes[:, column]
        for k, (beta, colour, marker) in enumerate(styles):
            far = {row["method"]: row for row in table if (row["world"], row["beta"]) == (world, beta)}
            y = np.arange(len(methods)) + 0.2 * (k - (len(styles) - 1) / 2)
            x, error = ([far[name][what] for name in methods] for what in ("distance", "error"))
            error = [e or 0.0 for e in error]
            above.errorbar(x, y, xerr=error, color=colour, marker=marker, linestyle="", label=f"β = {beta:g}")
            points = [row for row in curve if (row["world"], row["beta"]) == (world, beta)]
            scale, height = [row["scale"] for row in points], [row["distance"] for row in points]
            below.plot(scale, height, color=colour, marker=marker)
            below.axhline(far[MAX]["distance"], color=colour, linestyle="--", linewidth=1.2)
            below.axhline(far[NOTHING]["distance"], color=colour, linestyle=":", linewidth=1.5)
        above.set_title("\n".join(world.split(", ", 1)), fontsize=10)
        above.set_yticks(np.arange(len(methods)), methods if column == 0 else [""] * len(methods))
        above.invert_yaxis()
        above.set_xlim(left=-0.015)
        above.grid(axis="y")
        below.set(xscale="log", ylim=(0, None))
    axes[0, len(worlds) // 2].set_xlabel("total variation to exact enumeration")
    axes[1, len(worlds) // 2].set_xlabel("scale of the weights c (β divided by c)")
    axes[1, 0].set_ylabel("total variation to exact")
    lines = [("-", "below: MaxEnt-Z"), ("--", "below: Max-Z"), (":", "below: no evidence")]
    handles = axes[0, 0].get_legend_handles_labels()[0]
    handles += [Line2D([], [], color=_style.INK, linestyle=line, label=label) for line, label in lines]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, columnspacing=1.2)
    return figure


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run, save; returns the record."""
    began = time.perf_counter()
    parser = argparse.ArgumentParser(
        prog="python -m examples.studies.normalizers",
        description="Exact enumeration, Sample-Z, Max-Z, MaxEnt-Z and double Metropolis-Hastings on small worlds: how "
        "far each posterior is from the exact one, how long it takes, and what the scale of the weights does to it.",
        epilog=f"Every setting is in {SETTINGS.name}, beside this program; change it in a file for --settings.",
    )
    parser.add_argument("--settings", type=Path, metavar="FILE.toml", help="settings that differ from the defaults")
    parser.add_argument("--seed", type=int, help="in place of the settings'")
    parser.add_argument(
        "--out", type=Path, default=Path("out/normalizers_study"), help="folder for the results (default %(default)s)"
    )
    parser.add_argument("--small", action="store_true", help="tiny sizes: a look at everything, no result to rely on")
    parser.add_argument(
        "--redraw", action="store_true", help="run nothing: draw the pictures anew from the folder's JSON"
    )
    options = parser.parse_args(arguments)
    if options.redraw:
        record = _report.kept(options.out, "normalizers.json")
        figure = draw(record["settings"], record["results"], record["scales"])
        _style.save(figure, options.out / "normalizers.png")
        return record
    settings = _settings.chosen(options, SETTINGS, RULES, small=SMALL)
    if options.small:
        settings["worlds"] = dict(list(settings["worlds"].items())[:1])
    with _report.progress() as progress:
        total = len(settings["worlds"]) * len(settings["betas"]) * settings["designers"]
        task = progress.add_task("worlds", total=total)
        table, curve = study(settings, lambda title: progress.update(task, advance=1, description=title))
    command = _report.command("examples.studies.normalizers", options, ("seed",))
    pictures = [_style.save(draw(settings, table, curve), options.out / "normalizers.png")]
    found = {"command": command, "results": table, "scales": curve}
    about = {"pictures": pictures, "file": "normalizers.json"}
    record = _report.save(options.out, began, settings, settings["seed"], found, **about)
    page = markdown(settings, table, command)
    (options.out / "normalizers.md").write_text(page, encoding="utf-8")
    print(page)
    return record


if __name__ == "__main__":
    main()
