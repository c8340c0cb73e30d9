"""Simulation-based calibration of the samplers, and what a wrong model of the designer does to a posterior.

Thousands of simulated designers mean a reward and write a proxy. Where the model is right, the truth is one
more draw from the posterior, and its rank among the draws is uniform; where it is wrong, the ranks show it.
Some minutes on two cores:

    python -m examples.studies.calibration --out docs/studies
"""

import argparse
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from rich.console import Console

import mdps
from examples import _report, _settings, _style
from examples._settings import COUNT, NUMBERS, POSITIVE, POSITIVES, SEED, SHARE, TABLE, Rule, count
from examples.studies.calibration import misspecified, pictures
from ird import ProxyReward, calibration, posterior
from ird.designer import Designer
from ird.diagnostics import chain_diagnostics

SETTINGS = Path(__file__).with_name("settings.toml")
RULES: dict[str, Rule] = {
    "seed": SEED,
    **dict.fromkeys(("designers", "misspecified.designers"), count(2)),  # standard errors need two
    **dict.fromkeys(("draws", "block", "proxies"), COUNT),
    "beta": POSITIVE,
    "world": TABLE,
    **dict.fromkeys(("samplers.lattice", "samplers.importance", "samplers.laplace", "samplers.thinning"), COUNT),
    "samplers.nuts": TABLE,
    **{f"misspecified.{name}": COUNT for name in ("block", "proxies", "samples", "planned")},
    "misspecified.beta": POSITIVE,
    "misspecified.alpha": SHARE,
    **{f"misspecified.{name}": POSITIVES for name in ("factors", "widths")},
    **{f"misspecified.{name}": NUMBERS for name in ("temperatures", "reaches")},
}
QUICK = {"xla_backend_optimization_level": 0}
SMALL: dict[str, Any] = {
    "designers": 80,
    "draws": 19,
    "block": 40,
    "samplers": {
        "lattice": 5,
        "importance": 500,
        "laplace": 500,
        "nuts": {"num_warmup": 80, "num_chains": 2, "target_accept": 0.8},
        "thinning": 2,
    },
}
BOX = dist.Uniform(-1, 1).expand([3]).to_event(1)
LIKELY = "log-likelihood"
PRIOR, EXACT, IMPORTANCE, LAPLACE, NUTS, RAW = (
    "returns the prior",
    "exact",
    "importance",
    "laplace, weighted",
    "nuts",
    "raw Laplace Gaussian",
)
METHODS = (EXACT, IMPORTANCE, LAPLACE, NUTS, PRIOR, RAW)
CONTROLS = (PRIOR, RAW)
LEVEL = 1 - 0.05 / 16  # of a band, so that all 16 of four right samplers hold together with probability 0.95


class Judged(NamedTuple):
    """One designer's posterior: ranks of the truth `[K + 1]`, and what the ranked draws are worth, a share."""

    ranks: jax.Array
    worth: jax.Array


def designers(settings: dict[str, Any]) -> Designer:
    """The designer of the garden."""
    grid = mdps.GridWorld.from_text(**settings["world"])
    return Designer.from_rewards(lattice(np.linspace(-1, 1, settings["proxies"])), grid.mdp, beta=settings["beta"])


def lattice(points: np.ndarray) -> jax.Array:
    """All rewards with these weights, `[points³, 3]`."""
    every = np.stack(np.meshgrid(points, points, points, indexing="ij"), axis=-1)
    return jnp.asarray(every.reshape(-1, 3), jnp.float32)


def judge(designer: Designer, name: str, settings: dict[str, Any]) -> Callable[[jax.Array], Judged]:
    """From a key to one simulated designer, the posterior by the named method, and the truth's ranks in it."""
    sizes, L = settings["samplers"], settings["draws"]

    def drawn(proxy: ProxyReward, for_sampler: jax.Array, for_draws: jax.Array) -> tuple[jax.Array, jax.Array]:
        if name == PRIOR:
            return BOX.sample(for_draws, (L,)), jnp.ones(())
        if name == NUTS:
            thin, chains = sizes["thinning"], sizes["nuts"]["num_chains"]
            length = -(-L // chains) * thin
            belief = posterior.nuts(proxy, prior=BOX, key=for_sampler, num_samples=length, **sizes["nuts"])
            kept = belief.weights.reshape(chains, length, -1)[:, thin - 1 :: thin]
            worth = jnp.min(chain_diagnostics(kept)[1]) / (kept.shape[0] * kept.shape[1])
            return kept.reshape(-1, kept.shape[-1])[:L], worth
        if name == EXACT:
            belief = posterior.exact(proxy, candidates=lattice(np.linspace(-1, 1, sizes["lattice"])))
            return belief.sample(L, key=for_draws), jnp.ones(())
        if name == IMPORTANCE:
            belief = posterior.importance(proxy, prior=BOX, num_samples=sizes["importance"], key=for_sampler)
        else:
            given = {"prior": BOX, "num_samples": sizes["laplace"], "key": for_sampler}
            belief = posterior.laplace(proxy, weighted=name == LAPLACE, **given)
        return belief.sample(L, key=for_draws), belief.effective_sample_size / belief.weights.shape[0]

    def one(key: jax.Array) -> Judged:
        for_designer, for_truth, for_sampler, for_draws, for_ties = jax.random.split(key, 5)
        if name == EXACT:  # the truth is one of the candidates
            points = jnp.linspace(-1, 1, sizes["lattice"])
            meant = points[jax.random.randint(for_truth, (3,), 0, len(points))]
            row = designer.write(meant, key=for_designer)
        else:
            meant, row = designer.simulate(BOX, key=for_designer)
        proxy = designer.proxy(row)
        draws, worth = drawn(proxy, for_sampler, for_draws)
        return Judged(calibration.reward_ranks(meant, draws, proxy, key=for_ties), worth)

    return one


def ranked(settings: dict[str, Any], name: str, tell: Callable[[str], None]) -> Judged:
    """Ranks `[designers, K + 1]` by one method: block by block, compiled once."""
    key = jax.random.fold_in(jax.random.key(settings["seed"]), METHODS.index(name) + 2)  # other designers for each
    keys = jax.random.split(key, settings["designers"])
    run = jax.jit(jax.vmap(judge(designers(settings), name, settings)), compiler_options=settings.get("compiler"))
    parts = []
    for begin in range(0, len(keys), settings["block"]):
        parts.append(jax.tree.map(np.asarray, run(keys[begin : begin + settings["block"]])))
        tell(name)
    return Judged(*(np.concatenate(x) for x in zip(*parts, strict=True)))


def rows(settings: dict[str, Any], name: str, judged: Judged, seconds: float) -> list[dict[str, Any]]:
    """For each quantity that is ranked: how far its ranks are from uniform, and the p-value of that."""
    L, table = settings["draws"], []
    expected = np.arange(1, L + 2) / (L + 1)
    quantities = (*dict.fromkeys(settings["world"]["legend"].values()), LIKELY)
    for quantity, ranks in zip(quantities, np.asarray(judged.ranks).T, strict=True):
        table.append(
            {
                "method": name,
                "quantity": quantity,
                "p-value": calibration.p_value(ranks, L),
                "distance": float(np.abs(calibration.ecdf(ranks, L) - expected).max()),
                "inside": calibration.band(len(ranks), L, level=LEVEL).contains(ranks),
                "worth": float(np.nanmean(judged.worth)),
                "seconds": seconds,
                "counts": np.bincount(ranks, minlength=L + 1).tolist(),
            }
        )
    return table


def markdown(settings: dict[str, Any], table: list[dict[str, Any]], wrong: list[dict[str, Any]], command: str) -> str:
    """The tables as a page."""
    n, L, sizes, other = settings["designers"], settings["draws"], settings["samplers"], settings["misspecified"]
    nuts = sizes["nuts"]
    words = (
        f"Made by `{command}` (seed {settings['seed']}). {n:,} designers, each of whom means a reward drawn from "
        f"[-1, 1]³ and writes one of {settings['proxies'] ** 3} proxies for a garden of 20 cells with "
        f"β = {settings['beta']:g}; the truth is ranked among {L} draws from the posterior. Chains: "
        f"{nuts['num_chains']} of {nuts['num_warmup']} steps of warm-up and "
        f"{-(-L // nuts['num_chains']) * sizes['thinning']} more, of which one in {sizes['thinning']} is kept. "
        "What it all means is on [Calibration](../calibration.md)."
    )
    p = (
        "p-values of the ranks: the probability that uniform ranks stray as far. **Bold**: outside the simultaneous "
        "band, which is so wide that the 16 quantities of four right samplers are all inside with probability 0.95 "
        "(p < 0.003). Worth: effective sample size as a share of the draws (of chains: of the thinned draws that are "
        "ranked; the weight with the least), mean over designers. Seconds: compiling included."
    )
    quantities = list(dict.fromkeys(row["quantity"] for row in table))
    lines = ["# Calibration: the study", "", *textwrap.wrap(words, 110), ""]
    lines += ["![Rank histograms of every method and quantity](calibration.png)", ""]
    lines += ["![The same ranks as differences of distribution functions](calibration_ecdf.png)", ""]
    lines += ["## Right model", "", *textwrap.wrap(p, 110), ""]
    lines += [
        f"| method | {' | '.join(quantities)} | worth | seconds |",
        "|---" + "|---:" * (len(quantities) + 2) + "|",
    ]
    for name in dict.fromkeys(row["method"] for row in table):
        mine = [row for row in table if row["method"] == name]
        cells = []
        for row in mine:
            text = f"{row['p-value']:.2f}" if row["p-value"] >= 0.005 else f"{row['p-value']:.0e}"
            text = "< 1e-12" if row["p-value"] < 1e-12 else text
            cells.append(text if row["inside"] else f"**{text}**")
        label = f"{name} (control)" if name in CONTROLS else name
        lines.append(f"| {label} | {' | '.join(cells)} | {mine[0]['worth']:.2f} | {mine[0]['seconds']:.0f} |")
    lines += ["", "## Wrong models", ""]
    words = (
        f"{other['designers']:,} designers write proxies on the training map of Figure 2 (Hadfield-Menell et al. 2017) "
        f"with β = {other['beta']:g}, and the careful plan (CVaR {other['alpha']:g} per step, in units of training "
        "stakes) acts on a generated field with lava each. Coverage: share of truths within the central 90 % of the "
        "posterior, of the weights seen in training, of lava, and of the log-likelihood. Regret: what the plan loses "
        "against the best, as a share of what the best gains over a random walk. Lava: the share of plans that "
        "enter it. Mean: the plan for the posterior mean; literal: that for the proxy itself. ± standard errors."
    )
    lines += [*textwrap.wrap(words, 110), "", "![What wrong models do](calibration_wrong.png)", ""]
    return "\n".join(lines) + misspecified.markdown(wrong)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the record."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.studies.calibration",
        description="Simulation-based calibration of exact, importance, nuts and weighted Laplace posteriors over "
        "simulated designers, with two controls that fail; then designers that the model is wrong about: beta, the "
        "planner, the candidates. Tables, JSON and pictures.",
        epilog=f"Every setting is in {SETTINGS.name}, beside this program; change it in a file for --settings.",
    )
    parser.add_argument("--settings", type=Path, metavar="FILE.toml", help="settings that differ from the defaults")
    parser.add_argument("--seed", type=int, help="in place of the settings'")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help="these alone (default: all)")
    parser.add_argument("--part", choices=("samplers", "models"), help="only this, and keep what the folder has")
    parser.add_argument(
        "--out", type=Path, default=Path("out/calibration_study"), help="folder for the results (default %(default)s)"
    )
    parser.add_argument("--small", action="store_true", help="few designers: a look at everything, no result")
    parser.add_argument(
        "--redraw", action="store_true", help="run nothing: draw the pictures anew from the folder's JSON"
    )
    options = parser.parse_args(arguments)
    file, began = "calibration.json", time.perf_counter()
    there = options.redraw or (options.part and (options.out / file).exists())
    record = _report.kept(options.out, file) if there else {}
    table, wrong = record.get("results", []), record.get("wrong models", [])
    if options.redraw:
        draw(table, wrong, options.out)
        return record
    console = Console(width=max(120, Console().width))
    settings = _settings.chosen(options, SETTINGS, RULES, small=SMALL | {"misspecified": misspecified.SMALL})
    if options.small:  # compiling takes longer than the few designers
        settings["compiler"] = settings["misspecified"]["compiler"] = QUICK
    table, wrong = study(settings, options, table, wrong, console)
    command = _report.command("examples.studies.calibration", options, ("seed",))
    found = {"command": command, "results": table, "wrong models": wrong}
    drawn = draw(table, wrong, options.out)
    record = _report.save(options.out, began, settings, settings["seed"], found, pictures=drawn, file=file)
    if table and wrong:
        page = markdown(settings, table, wrong, command)
        (options.out / "calibration.md").write_text(page, encoding="utf-8")
        console.print(page, markup=False)
    console.print(_report.told(record, options.out, file))
    return record


def draw(table: list[dict[str, Any]], wrong: list[dict[str, Any]], out: Path) -> list[str]:
    """The pictures that the rows allow."""
    figures = {}
    if table:
        figures["calibration.png"] = pictures.histograms(table, LEVEL)
        figures["calibration_ecdf.png"] = pictures.differences(table, LEVEL)
    if wrong:
        figures |= pictures.wrong(wrong)
    return [_style.save(figure, out / name) for name, figure in figures.items()]


def study(
    settings: dict[str, Any], options: argparse.Namespace, table: list, wrong: list, console: Console
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of both parts, or of the one that is asked for beside what there was of the other."""
    with _report.progress(console) as progress:
        blocks = len(options.methods) * -(-settings["designers"] // settings["block"]) * (options.part != "models")
        other = misspecified.blocks(settings["misspecified"]) * (options.part != "samplers")
        task = progress.add_task("designers", total=blocks + other)

        def tell(text: str) -> None:
            progress.update(task, description=text, advance=1)

        if options.part != "models":
            table = []
            for name in options.methods:
                start = time.perf_counter()
                judged = ranked(settings, name, tell)
                table += _report.rounded(rows(settings, name, judged, time.perf_counter() - start))
        if options.part != "samplers":
            wrong = _report.rounded(misspecified.study(settings["misspecified"], settings["seed"], tell))
    return table, wrong


if __name__ == "__main__":
    main()
