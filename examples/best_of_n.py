"""The best of n answers by a reward that was learnt from comparisons: of the highest mean, or with care?

Answers have features that reward models read off them. People compared ordinary answers, and none that manipulate the
reader; those look better in what was compared, and the more answers there are to choose from the surer one of them is
in front. What people want is drawn anew for every data set, so that it can be laid beside each choice: on average, in
the worst tenth, and by what manipulation is really worth.

    python -m examples.best_of_n
"""

import argparse
import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from examples import _report, _style
from ird import planning, posterior
from ird.evidence import Comparison
from ird.risk import CVaR, Mean

NAMES = ("correct", "clear", "complete", "brief", "polite", "manipulates")
PRIOR_MEAN = np.array([1.0, 0.5, 0.5, 0.2, 0.2, 0.0])
PRIOR_SD = np.array([0.5, 0.5, 0.5, 0.5, 0.5, 3.0])
LOOKS = np.array([1.0, 1.0, 1.0, 0.0, 1.0])  # by how much a manipulative answer looks better
RARE = 50  # one answer of so many manipulates
ALPHA = 0.1
CHOICES = ("mean", "worst tenth", "least exposure")
COLOURS = dict(zip(CHOICES, (_style.ORANGE, _style.SKY, _style.GREEN), strict=True))
SETS = ("manipulation never compared", "every feature compared")


def answers(key: jax.Array, number: int, share: float | jax.Array) -> jax.Array:
    """Features of answers, `[number, K]`, of which a share manipulates."""
    for_plain, for_kind = jax.random.split(key)
    plain = jax.random.normal(for_plain, (number, len(NAMES) - 1))
    kind = jax.random.bernoulli(for_kind, share, (number, 1)).astype(float)
    return jnp.concatenate([plain + kind * LOOKS[None], kind], axis=1)


def learn(key: jax.Array, pairs: int, draws: int, share: float | jax.Array) -> tuple[jax.Array, posterior.Posterior]:
    """What is meant, drawn from the prior, and what is believed after comparisons; a share shows manipulation."""
    for_truth, for_pairs, for_labels, for_belief = jax.random.split(key, 4)
    prior = dist.Normal(PRIOR_MEAN, PRIOR_SD).to_event(1)
    truth = prior.sample(for_truth)
    one, two = answers(for_pairs, 2 * pairs, share).reshape(2, pairs, -1)
    first = jax.random.bernoulli(for_labels, jax.nn.sigmoid((one - two) @ truth))[:, None]
    seen = Comparison(jnp.where(first, one, two), jnp.where(first, two, one), feature_names=NAMES)
    belief = posterior.laplace(seen, prior=prior, num_samples=draws, key=for_belief)
    return truth, belief


def choose(belief: posterior.Posterior, pool: jax.Array) -> dict[str, Any]:
    """What each way to choose takes of a pool of answers."""
    offset = planning.features_offset(belief, jnp.mean(pool, axis=0))  # of an ordinary answer
    return {
        "mean": planning.choose(pool, belief, risk=Mean(), offset=offset),
        "worst tenth": planning.choose(pool, belief, risk=CVaR(ALPHA), offset=offset),
        "least exposure": planning.choose(pool, belief),
    }


@functools.partial(jax.jit, static_argnames=("sizes", "pairs", "draws"))
def data_set(
    key: jax.Array, sizes: tuple[int, ...], pairs: int, draws: int, share: float | jax.Array
) -> dict[str, jax.Array]:
    """True rewards above an ordinary answer `[choices, sizes]`, which manipulate, and what manipulation is worth."""
    for_belief, for_pool = jax.random.split(key)
    truth, belief = learn(for_belief, pairs, draws, share)
    pool = answers(for_pool, max(sizes), 1 / RARE)
    taken = [[x.feature_expectations for x in choose(belief, pool[:n]).values()] for n in sizes]
    taken = jnp.asarray(taken).transpose(1, 0, 2)
    ordinary = jnp.mean(pool, axis=0) @ truth
    return {"true": taken @ truth - ordinary, "manipulates": taken[..., -1], "worth": truth[-1]}


def run(options: argparse.Namespace, console: Console) -> dict[str, dict[str, np.ndarray]]:
    """All data sets of both kinds, one row each."""
    found: dict[str, Any] = {}
    with _report.progress(console) as bar:
        job = bar.add_task("data sets", total=len(SETS) * options.repetitions)
        for name, share in zip(SETS, (0.0, 0.25), strict=True):
            each = []
            for i in range(options.repetitions):
                key = jax.random.fold_in(jax.random.key(options.seed), i)
                each.append(data_set(key, tuple(options.sizes), options.pairs, options.draws, share))
                bar.advance(job)
            found[name] = jax.tree.map(lambda *x: np.stack([np.asarray(y, float) for y in x]), *each)
    return found


def many(options: argparse.Namespace) -> dict[str, Any]:
    """One data set with very many answers, for the time it takes; looked at in blocks."""
    for_belief, for_pool = jax.random.split(jax.random.key(options.seed))
    truth, belief = learn(for_belief, options.pairs, options.draws, 0.0)
    pool = jax.jit(answers, static_argnums=(1, 2))(for_pool, options.answers, 1 / RARE)
    offset = planning.features_offset(belief, jnp.mean(pool, axis=0))
    asked = {
        "mean": {"risk": Mean(), "offset": offset},
        "worst tenth": {"risk": CVaR(ALPHA), "offset": offset},
        "least exposure": {},
        "worst tenth, a mixture": {"risk": CVaR(ALPHA), "offset": offset, "mixture": True},
    }
    rows = {}
    for name, how in asked.items():
        began = time.perf_counter()
        found = jax.block_until_ready(planning.choose(pool, belief, **how))
        above = found.feature_expectations - jnp.mean(pool, axis=0)
        rows[name] = {
            "seconds": time.perf_counter() - began,
            "true": float(above @ truth),
            "manipulates": float(found.feature_expectations[-1]),
            "converged": bool(found.converged),
        }
    return {"answers": options.answers, "worth": float(truth[-1]), "choices": rows}


def tail(x: np.ndarray) -> float:
    """The mean of the lowest tenth."""
    return float(np.sort(x)[: max(1, round(ALPHA * len(x)))].mean())


def summary(each: dict[str, np.ndarray]) -> dict[str, Any]:
    """What every way to choose is worth at the largest n, over all that may be meant and over parts of it."""
    rows = {}
    bad = each["worth"] < 0
    for i, name in enumerate(CHOICES):
        true = each["true"][:, i, -1]
        rows[name] = {
            "all": _report.mean_and_error(true),
            "worst tenth": tail(true),
            "bad": _report.mean_and_error(true[bad]) if bad.any() else (float("nan"), None),
            "good": _report.mean_and_error(true[~bad]) if (~bad).any() else (float("nan"), None),
            "manipulates": float(each["manipulates"][:, i, -1].mean()),
            "won": _report.mean_and_error(true - each["true"][:, 0, -1]),
        }
    return rows


def line(each: dict[str, np.ndarray]) -> dict[str, float]:
    """The line through what care (the worst tenth) wins against what manipulation is worth: slope, error, where 0."""
    won = each["true"][:, CHOICES.index("worst tenth"), -1] - each["true"][:, 0, -1]
    worth = each["worth"] - each["worth"].mean()
    slope = float(worth @ won / (worth @ worth))
    off = won - won.mean() - slope * worth
    error = float(np.sqrt(off @ off / max(len(won) - 2, 1) / (worth @ worth)))
    at = each["worth"].mean() - won.mean() / slope if slope else float("nan")
    return {"slope": slope, "error": error, "care pays below": float(at)}


def conclusion(found: dict[str, Any], n: int, at: float) -> str:
    """What came out, in words."""
    never, every = (found[name] for name in SETS)
    mean, care, least = (never[name] for name in CHOICES)
    (won, error), (same, _) = care["won"], every["worst tenth"]["won"]
    verdict = "wins" if won > 0 else "costs"
    return (
        f"Of {n} answers the one of the highest mean manipulates in {mean['manipulates']:.0%} of data sets, that of "
        f"the best worst tenth in {care['manipulates']:.0%}, the least exposed in {least['manipulates']:.0%}. Where "
        f"what is meant is drawn from the very prior, care {verdict} {abs(won):.2f} ±{error or 0:.2f} of "
        f"{mean['all'][0]:.2f} on average: no choice beats the mean at being right on average. What it buys is the "
        f"worst tenth of all that may be meant, {care['worst tenth']:.2f} instead of {mean['worst tenth']:.2f}. It "
        f"pays where manipulation is worth less than about {at:.1f}, and is thrown away where it is harmless or wanted "
        f"({care['good'][0]:.2f} instead of {mean['good'][0]:.2f}). Where comparisons showed manipulation, care "
        f"changes next to nothing ({same:+.2f})."
    )


def table(name: str, rows: dict[str, Any]) -> Table:
    """Choices by what they are worth."""
    shown = Table(title=f"{name[0].upper()}{name[1:]}: true reward above an ordinary answer")
    for head in ("chosen by", "on average", "worst tenth", "manipulation bad", "harmless or good", "manipulate"):
        shown.add_column(head, justify="left" if head == "chosen by" else "right", no_wrap=True)
    for choice, row in rows.items():
        cells = [_report.plus_minus(*row[key], digits=2) for key in ("all", "bad", "good")]
        shown.add_row(choice, cells[0], f"{row['worst tenth']:.2f}", *cells[1:], f"{row['manipulates']:.0%}")
    return shown


@_style.drawing
def draw(found: dict[str, dict[str, np.ndarray]], sizes: Sequence[int], at: float) -> Figure:
    """True reward against n, mean and worst tenth; and against what manipulation is worth, at the largest n."""
    figure, axes = plt.subplots(1, 2, figsize=(_style.WIDTH, 4.4), layout="constrained", width_ratios=(1, 1.15))
    each = found[SETS[0]]
    for i, name in enumerate(CHOICES):
        true, colour = each["true"][:, i], COLOURS[name]
        axes[0].plot(sizes, true.mean(axis=0), "o-", color=colour, label=name)
        axes[0].plot(sizes, [tail(x) for x in true.T], "v--", color=colour, markersize=4)
        fit = np.polyfit(each["worth"], true[:, -1], 1)
        span = np.array([each["worth"].min(), each["worth"].max()])
        axes[1].plot(each["worth"], true[:, -1], "o", color=colour, markersize=3.5, alpha=0.5)
        axes[1].plot(span, np.polyval(fit, span), color=colour)
    axes[0].axhline(0, color=_style.GREY, linewidth=0.8)
    axes[0].set(xscale="log", xlabel="n: answers to choose from", ylabel="true reward above an ordinary answer",
                title="On average (—) and in the worst tenth (- -)")  # fmt: skip
    axes[0].legend(loc="upper left")
    axes[0].grid()
    axes[1].axhline(0, color=_style.GREY, linewidth=0.8)
    axes[1].axvline(at, color=_style.INK, linewidth=1, linestyle=":")
    low, high = axes[1].get_ylim()
    for text, side in (("care pays ", "right"), (" care costs", "left")):
        axes[1].text(at, low + 0.03 * (high - low), text, ha=side, fontsize=9, color=_style.INK)
    axes[1].set(xlabel="what manipulation is really worth (one dot: one data set)", title=f"The best of {sizes[-1]}")
    axes[1].grid()
    return figure


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.best_of_n",
        description="Learn a reward from comparisons, then take the best of n answers by its mean, by its worst tenth "
        "and by least exposure, for many rewards that may be meant: when does care pay? Prints tables, saves a picture "
        "and manifest.json.",
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 8, 64, 512, 4096],
                        help="answers to choose from, rising (default %(default)s)")  # fmt: skip
    parser.add_argument("--pairs", type=int, default=200, help="comparisons of a data set (default %(default)s)")
    parser.add_argument("--draws", type=int, default=256, help="draws of the posterior (default %(default)s)")
    parser.add_argument("--repetitions", type=int, default=150, help="data sets of each kind (default %(default)s)")
    parser.add_argument("--answers", type=int, default=100_000,
                        help="answers of one large data set, up to a million (default %(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="all chance follows from it (default 0)")
    parser.add_argument("--out", type=Path, default=Path("out/best_of_n"), help="folder (default %(default)s)")
    options = parser.parse_args(arguments)
    if min(options.pairs, options.draws, options.answers, *options.sizes) < 1 or options.repetitions < 2:
        parser.error("--sizes, --pairs, --draws and --answers must be at least 1, and --repetitions at least 2")
    if sorted(set(options.sizes)) != options.sizes:
        parser.error("--sizes must rise")
    return options


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began, options = time.perf_counter(), parse(arguments)
    console = Console(width=max(110, Console().width))
    runs = run(options, console)
    found = {name: summary(each) for name, each in runs.items()}
    lines = {name: line(each) for name, each in runs.items()}
    at = lines[SETS[0]]["care pays below"]
    with console.status(f"choosing among {options.answers:,} answers"):
        large = many(options)
    console.print(conclusion(found, options.sizes[-1], at))
    for name, rows in found.items():
        console.print(table(name, rows))
    for name, row in large["choices"].items():
        console.print(f"  {large['answers']:,} answers by {name}: {row['seconds']:.1f} s, compiling included")
    picture = _style.save(draw(runs, options.sizes, at), options.out / "best_of_n.png")
    settings = {name: getattr(options, name) for name in ("sizes", "pairs", "draws", "repetitions", "answers")}
    results = {"results": found, "lines": lines, "many": large}
    manifest = _report.save(options.out, began, settings, options.seed, results, pictures=[picture])
    console.print(_report.told(manifest, options.out))
    return manifest


if __name__ == "__main__":
    main()
