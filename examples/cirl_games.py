"""Two games in which only the human knows what is wanted: a kitchen, and a robot with an off-switch.

Solves both exactly, plays them, and draws what the robot believes, what it does, and when it pays
to let oneself be switched off.

    python -m examples.cirl_games
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from cirl import GameSolution, misspecification, simulate, solve
from cirl.games import chefworld, off_switch
from cirl.human import Boltzmann, EpsilonGreedy, Rational
from examples import cirl_backups
from examples._report import rounded, versions

RECIPES = ((3, 3, 2), (3, 2, 3), (4, 1, 0))
PRIOR = (0.5, 0.25, 0.25)
HORIZON = 5
INGREDIENTS = ("tomato", "onion", "basil", "wait")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.cirl_games",
        description="Solve ChefWorld and the off-switch game exactly, play them, print what they are worth and what "
        "misjudging the human costs; save pictures and manifest.json.",
    )
    parser.add_argument("--episodes", type=int, default=100_000, help="episodes played (default %(default)s)")
    parser.add_argument(
        "--cells", type=int, default=801, help="cells of the utility in the off-switch game (default 801)"
    )
    parser.add_argument(
        "--most", type=int, default=5, help="recipes of the small kitchen, 2 to so many (default 5; 6 takes a minute)"
    )
    parser.add_argument("--seed", type=int, default=0, help="all chance follows from it (default 0)")
    parser.add_argument("--out", type=Path, default=Path("out/cirl"), help="folder (default %(default)s)")
    options = parser.parse_args(arguments)
    if not 2 <= options.most <= 6:
        parser.error(f"--most is {options.most}; the small kitchen has 2 to 6 recipes.")
    return options


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began = time.perf_counter()
    options = parse(arguments)
    console = Console(width=max(100, Console().width))
    options.out.mkdir(parents=True, exist_ok=True)

    game = chefworld.game(RECIPES, HORIZON, prior=PRIOR)
    solution = solve(game, tol=1e-4)
    played = simulate(
        game, solution, key=jax.random.key(options.seed), num_steps=HORIZON, num_episodes=options.episodes
    )
    error = float(np.std(played.returns)) / np.sqrt(options.episodes)
    kitchen = {
        "lower": float(solution.lower),
        "upper": float(solution.upper),
        "played": float(np.mean(played.returns)),
        "standard_error": error,
        "nodes": len(solution.robot.state),
    }
    console.print(
        f"ChefWorld, {len(RECIPES)} recipes, {HORIZON} steps: value in "
        f"[{kitchen['lower']:.4f}, {kitchen['upper']:.4f}]; "
        f"{options.episodes:,} episodes paid {kitchen['played']:.4f} ± {error:.4f}",
        highlight=False,
    )

    humans = [Rational(), EpsilonGreedy(0.3), Boltzmann(1.0)]
    small = chefworld.game(((2, 1, 0), (2, 0, 1), (1, 2, 0), (0, 2, 1), (1, 1, 1)), 2)
    matrix = np.asarray(misspecification(small, planned=humans, met=humans))
    table = Table(title="A two-step kitchen: value of a robot planned for one human (rows) who meets another (columns)")
    for head in ("planned for", *map(str, humans)):
        table.add_column(head, justify="left" if head == "planned for" else "right")
    for human, row in zip(humans, matrix, strict=True):
        table.add_row(str(human), *(f"{x:.3f}" for x in row))
    console.print(table)

    backups = cirl_backups.compare(options.most)
    curves = off_switch_curves(options.cells)
    files = ["belief.png", "off_switch.png", "policy_graph.png", "backups.png"]
    draw_belief(solution, options.out / files[0])
    draw_off_switch(curves, options.out / files[1])
    draw_graph(solution, options.out / files[2])
    cirl_backups.draw(backups, options.out / files[3])
    manifest = {
        "settings": {"episodes": options.episodes, "cells": options.cells, "most": options.most},
        "seed": options.seed,
        "versions": versions(),
        "chefworld": rounded(kitchen),
        "misspecification": {"humans": [str(h) for h in humans], "value": rounded(matrix.tolist())},
        "backups": rounded(backups),
        "off_switch": rounded({k: np.asarray(v).tolist() for k, v in curves.items()}),
        "pictures": files,
        "seconds": round(time.perf_counter() - began, 1),
    }
    (options.out / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", "utf-8")
    console.print(f"{manifest['seconds']} s; pictures and manifest.json in {options.out}/", highlight=False)
    return manifest


def off_switch_curves(cells: int) -> dict[str, np.ndarray]:
    """What waiting for the human adds, Δ, for U ~ N(μ, 1): against a rational human and against noisier ones."""
    means = np.linspace(-2, 2, 17)
    curves: dict[str, np.ndarray] = {"mean": means}
    for name, human in (
        ("rational", Rational()),
        ("Boltzmann, τ = .5", Boltzmann(2.0)),
        ("Boltzmann, τ = 1", Boltzmann(1.0)),
    ):
        gains = []
        for mean in means:
            edges = np.linspace(mean - 6, mean + 6, cells + 1)
            atoms = (edges[1:] + edges[:-1]) / 2
            p = np.exp(-0.5 * (atoms - mean) ** 2)
            p /= p.sum()
            waiting = solve(off_switch.game(atoms, p, may_decide=False), human=human).lower
            gains.append(float(waiting) - max(float(p @ atoms), 0))
        curves[name] = np.array(gains)
    return curves


def episode(solution: GameSolution, theta: int) -> list[tuple[int, int, int]]:
    """(node, human action, robot action) along the likeliest episode in which θ is meant."""
    robot, steps = solution.robot, []
    node = int(robot.start[0])
    while node >= 0:
        human_action = int(np.argmax(solution.human_policy[node, theta]))
        steps.append((node, human_action, int(robot.decision[node, human_action])))
        ahead = np.asarray(robot.child[node, human_action])
        node = int(ahead.max())
    return steps


def draw_belief(solution: GameSolution, file: Path) -> None:
    """For each recipe: what is added at each step, and what the robot believes before it."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(RECIPES), figsize=(4.1 * len(RECIPES), 3.4), sharey=True, layout="constrained")
    for theta, (axis, recipe) in enumerate(zip(axes, RECIPES, strict=True)):
        steps = episode(solution, theta)
        belief = np.array([np.asarray(solution.robot.belief[node]) for node, _, _ in steps])
        base = np.zeros(len(steps))
        for other, colour in zip(range(len(RECIPES)), COLOURS, strict=False):
            label = f"recipe {RECIPES[other]}"
            axis.bar(range(len(steps)), belief[:, other], 0.86, bottom=base, color=colour, alpha=0.8, label=label)
            base += belief[:, other]
        labels = [f"step {t}\n{INGREDIENTS[h]}\n{INGREDIENTS[r]}" for t, (_, h, r) in enumerate(steps)]
        axis.set_xticks(range(len(steps)), labels, fontsize=8)
        axis.set_title(f"the human means {recipe}", fontsize=11)
        for side in ("left", "top", "right"):
            axis.spines[side].set_visible(False)
    axes[0].set_ylabel("robot's belief before the step")
    axes[0].set_xlabel("second line: the human adds; third: the robot adds", fontsize=9)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def draw_off_switch(curves: dict[str, np.ndarray], file: Path) -> None:
    """What waiting is worth against the mean utility of acting."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 3.7), layout="constrained")
    axis.axhline(0, color="0.6", linewidth=1)
    for (name, gain), colour, style in zip(list(curves.items())[1:], COLOURS, ("-", "--", "-."), strict=False):
        axis.plot(curves["mean"], gain, style, color=colour, linewidth=2, label=name)
    axis.set_xlabel("mean μ of the utility of acting, U ~ N(μ, 1)")
    axis.set_ylabel("worth of waiting, Δ")
    axis.legend(title="human", frameon=False, fontsize=9)
    axis.set_title("Letting the human decide pays while the robot is unsure", fontsize=11)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def draw_graph(solution: GameSolution, file: Path) -> None:
    """The part of the policy graph that is played: what the robot adds in the boxes, the human on the arrows."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(11, 3.8), layout="constrained")
    names = {"robot_actions": INGREDIENTS, "human_actions": INGREDIENTS, "thetas": "ABC"}
    solution.robot.plot(solution.human_policy, ax=axis, **names)
    recipes = "; ".join(f"{letter} = {recipe}" for letter, recipe in zip("ABC", RECIPES, strict=True))
    axis.set_title(
        "In the boxes what the robot adds and what it believes; on the arrows what the human adds\n" + recipes,
        fontsize=10,
    )
    figure.savefig(file, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main()
