"""What misjudging people costs, and what teaching adds: five models of the human, planned for and met.

Solves one kitchen for every model of the human and lets each robot meet each human; then compares
pedagogic with literal play over random games in which the human signals once and the robot answers.

    python -m examples.human_models
"""

import argparse
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cirl import Game, misspecification, solve
from cirl.games import chefworld
from cirl.human import Boltzmann, EpsilonGreedy, Human, Literal, Pedagogic, Rational
from examples import _report, _style

RECIPES = ((2, 1, 0), (2, 0, 1), (1, 2, 0), (0, 2, 1), (1, 1, 1))
HORIZON = 2
SIGNALS = ANSWERS = REWARDS = 3


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.human_models",
        description="Let robots planned for some models of the human meet others, and compare pedagogic with literal "
        "play over random games; print both, save a picture and manifest.json.",
    )
    parser.add_argument("--games", type=int, default=500, help="random games (default %(default)s)")
    parser.add_argument("--beta", type=float, default=2.0, help="inverse temperature in them (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="all chance follows from it (default 0)")
    parser.add_argument("--out", type=Path, default=Path("out/human_models"), help="folder (default %(default)s)")
    options = parser.parse_args(arguments)
    if options.games < 1:
        parser.error(f"--games is {options.games}; give at least one.")
    return options


def humans() -> dict[str, Human]:
    """Models of the human, by the name they have in the picture."""
    return {
        "rational": Rational(),
        "ε-greedy, ε = .3": EpsilonGreedy(0.3),
        "Boltzmann, β = 2": Boltzmann(2.0),
        "literal, an expert": Literal(),
        "pedagogic, β = 2": Pedagogic(2.0),
    }


def signal_game(rng: np.random.Generator) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], Game]:
    """The human signals, then the robot answers, each paid by its own action and θ; rewards ~ N(0, 1)."""
    signal, answer = rng.normal(size=(SIGNALS, REWARDS)), rng.normal(size=(ANSWERS, REWARDS))
    prior = rng.dirichlet(np.ones(REWARDS))
    transition = np.zeros((2, SIGNALS, ANSWERS, 2))
    transition[..., 1] = 1
    reward = np.zeros((2, SIGNALS, ANSWERS, REWARDS))
    reward[0], reward[1] = signal[:, None], answer[None]
    return (signal, answer, prior), Game.from_dense(transition, reward, prior, [1.0, 0.0], horizon=2)


def best_fixed_point(beta: float, signal: np.ndarray, answer: np.ndarray, prior: np.ndarray) -> float:
    """The best of all fixed points of a one-signal game, by trying every map from signals to answers.

    -inf where no deterministic map is best at the beliefs to which it leads.
    """
    best = -np.inf
    for replies in itertools.product(range(len(answer)), repeat=len(signal)):
        q = (signal + answer[list(replies)]).T
        play = np.exp(beta * (q - q.max(axis=1, keepdims=True)))
        play /= play.sum(axis=1, keepdims=True)
        worth = answer @ (prior[:, None] * play)
        if (worth[list(replies), np.arange(len(signal))] >= worth.max(axis=0) - 1e-9).all():
            best = max(best, float(prior @ (play * q).sum(axis=1)))
    return best


def teach(options: argparse.Namespace, console: Console) -> dict[str, np.ndarray]:
    """Per game: what the pair gains over literal play, at the fixed point found and at the best; the residual."""
    rng = np.random.default_rng(options.seed)
    found, best, residual = [], [], []
    for _ in track(range(options.games), "random games", console=console):
        numbers, game = signal_game(rng)
        literal = solve(game, human=Literal(options.beta))
        taught = solve(game, human=Pedagogic(options.beta))
        assert taught.residual is not None
        found.append(float(taught.lower - literal.lower))
        best.append(best_fixed_point(options.beta, *numbers) - float(literal.lower))
        residual.append(float(taught.residual))
    return {"found": np.array(found), "best": np.array(best), "residual": np.array(residual)}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began = time.perf_counter()
    options = parse(arguments)
    console = Console(width=max(100, Console().width))
    models = humans()
    kitchen = chefworld.game(RECIPES, HORIZON)
    matrix = np.asarray(misspecification(kitchen, planned=list(models.values()), met=list(models.values())), float)
    table = Table(title="A two-step kitchen: value of a robot planned for one human (rows) who meets another (columns)")
    for head in ("planned for", *models):
        table.add_column(head, justify="left" if head == "planned for" else "right", no_wrap=head == "planned for")
    for name, row in zip(models, matrix, strict=True):
        table.add_row(name, *(f"{x:.3f}" for x in row))
    console.print(table)

    gains = teach(options, console)
    counts = {which: _count(gains[which]) for which in ("found", "best")}
    counts["found"]["not at a fixed point"] = int((gains["residual"] > 0).sum())
    for which, count in counts.items():
        console.print(f"{which} fixed point against literal play: {count}", highlight=False)
    figure = draw(matrix, list(models), gains, options)
    manifest = _report.save(
        options.out,
        began,
        {"games": options.games, "beta": options.beta},
        options.seed,
        {"misspecification": {"humans": list(models), "value": matrix}, "teaching": counts},
        pictures=[_style.save(figure, options.out / "human_models.png")],
    )
    console.print(_report.told(manifest, options.out), highlight=False)
    return manifest


def _count(gain: np.ndarray) -> dict[str, Any]:
    """How often more, and less, than literal play; mean and standard error where there is a fixed point."""
    there = gain[np.isfinite(gain)]
    mean, error = _report.mean_and_error(there) if len(there) else (0.0, None)
    return {
        "games": len(there),
        "worth more": int((there > 1e-4).sum()),
        "worth less": int((there < -1e-4).sum()),
        "mean gain": mean,
        "standard error": error or 0.0,
    }


@_style.drawing
def draw(matrix: np.ndarray, names: list[str], gains: dict[str, np.ndarray], options: argparse.Namespace) -> Figure:
    """The matrix as a heat map; what teaching adds as a histogram."""
    size = (_style.WIDTH, 4.4)
    figure, (heat, bars) = plt.subplots(1, 2, figsize=size, layout="constrained", width_ratios=(1.15, 1))
    image = heat.imshow(matrix, cmap=_style.SHADES, vmin=0)
    for i, j in np.ndindex(*matrix.shape):
        colour = "white" if matrix[i, j] > 0.6 * matrix.max() else _style.INK
        heat.text(j, i, f"{matrix[i, j]:.2f}", ha="center", va="center", color=colour)
    lines = [name.replace(", ", "\n") for name in names]
    heat.set_xticks(range(len(names)), lines, rotation=90)
    heat.set_yticks(range(len(names)), lines)
    heat.tick_params(length=0)
    heat.spines[:].set_visible(False)
    heat.set_xlabel("human met")
    heat.set_ylabel("human planned for")
    heat.set_title("Misjudging people:\na two-step kitchen, five recipes")
    figure.colorbar(image, ax=heat, label="value, in reward", shrink=0.75)
    edges = np.linspace(min(gains["found"].min(), -0.05), max(gains["found"].max(), 0.05), 41)
    bars.hist(gains["found"], edges, color=_style.SKY, label="fixed point found from literal play")
    best = gains["best"][np.isfinite(gains["best"])]
    bars.hist(best, edges, color=_style.ORANGE, histtype="step", lw=1.8, label="best fixed point")
    bars.axvline(0, color=_style.INK, lw=1)
    bars.set_xlabel("value of pedagogic less literal play,\nin reward")
    bars.set_ylabel("games")
    bars.set_title(f"Teaching with one signal:\n{options.games} random games, β = {options.beta:g}")
    bars.legend()
    return figure


if __name__ == "__main__":
    main()
