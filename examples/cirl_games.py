"""Two games in which only the human knows what is wanted: a kitchen, and a robot with an off-switch.

Solves both exactly, plays them, and draws what the robot believes, what it does, and when it pays
to let oneself be switched off. Beside it two backups of one game find the same value: the adapted one, and that
of a coordinator who acts for both, chooses a plan θ -> a_H and an action for the robot, and so looks at
|A_H|^|Θ| · |A_R| actions at every belief (Hadfield-Menell et al. 2016; Malik et al. 2018).

    python -m examples.cirl_games
"""

import argparse
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from cirl import Game, GameSolution, misspecification, simulate, solve
from cirl.full_information import informed_values
from cirl.games import chefworld, off_switch
from cirl.human import Boltzmann, EpsilonGreedy, Rational
from examples import _report, _style

RECIPES = ((3, 3, 2), (3, 2, 3), (4, 1, 0))
PRIOR = (0.5, 0.25, 0.25)
HORIZON = 5
INGREDIENTS = ("tomato", "onion", "basil", "wait")
COLOURS = (_style.BLUE, _style.ORANGE, _style.GREEN)


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
    game = chefworld.game(RECIPES, HORIZON, prior=PRIOR)
    solution = solve(game, tol=1e-4)
    kitchen = play(game, solution, options)
    console.print(
        f"ChefWorld, {len(RECIPES)} recipes, {HORIZON} steps: value in "
        f"[{kitchen['lower']:.4f}, {kitchen['upper']:.4f}]; {options.episodes:,} episodes paid "
        f"{kitchen['played']:.4f} ± {kitchen['standard_error']:.4f}",
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

    backups, curves = compare_backups(options.most), off_switch_curves(options.cells)
    figures = {
        "belief.png": draw_belief(solution),
        "off_switch.png": draw_off_switch(curves),
        "policy_graph.png": draw_graph(solution),
        "backups.png": draw_backups(backups),
    }
    manifest = _report.save(
        options.out,
        began,
        {"episodes": options.episodes, "cells": options.cells, "most": options.most},
        options.seed,
        {
            "chefworld": kitchen,
            "misspecification": {"humans": [str(h) for h in humans], "value": matrix},
            "backups": backups,
            "off_switch": curves,
        },
        pictures=[_style.save(figure, options.out / name) for name, figure in figures.items()],
    )
    console.print(_report.told(manifest, options.out), highlight=False)
    return manifest


def play(game: Game, solution: GameSolution, options: argparse.Namespace) -> dict[str, float]:
    """The bounds of the value, and what many episodes pay."""
    key, episodes = jax.random.key(options.seed), options.episodes
    played = simulate(game, solution, key=key, num_steps=HORIZON, num_episodes=episodes)
    mean, error = _report.mean_and_error(played.returns)
    bounds = {"lower": float(solution.lower), "upper": float(solution.upper)}
    return bounds | {"played": mean, "standard_error": error or 0.0, "nodes": len(solution.robot.state)}


def coordinator_value(game: Game, tol: float = 1e-6) -> float:
    """The coordination POMDP of a rational human by value iteration over (state, subset of Θ), every action tried."""
    reward, chance = np.asarray(game.reward, float), np.asarray(game.probability, float)
    ahead, gamma, prior = np.asarray(game.mdp.next_state), float(game.mdp.discount), np.asarray(game.prior, float)
    S, AH, AR, Theta = reward.shape
    plans = np.array(list(itertools.product(range(AH), repeat=Theta)))  # [P, Θ]
    told = (plans[:, :, None] == np.arange(AH)) @ np.eye(AH, dtype=int)  # [P, Θ, A_H]
    sets = np.einsum("pta,t->pa", told, 1 << np.arange(Theta))  # those who act alike, as bits
    value = np.zeros((S, 1 << Theta))
    while True:
        new = np.zeros_like(value)
        for s, m in itertools.product(range(S), range(1, 1 << Theta)):
            held = prior * (m >> np.arange(Theta) & 1)
            parts = sets & m  # [P, A_H]
            worth = np.zeros((AR, len(plans)))
            for b, a in itertools.product(range(AR), range(AH)):
                worth[b] += told[:, :, a] @ (held * reward[s, a, b])
                worth[b] += gamma * (chance[s, a, b] @ value[ahead[s][:, None], parts[:, a]])
            new[s, m] = worth.max()
        if np.abs(new - value).max() <= tol:
            return float(np.asarray(game.mdp.initial) @ new[:, -1])
        value = new


def compare_backups(most: int) -> dict[str, list[float]]:
    """The small kitchen with 2..most recipes: value and seconds of both backups, and what full information is worth."""
    found: dict[str, list[float]] = {name: [] for name in ("thetas", "adapted", "coordinator", "informed")}
    seconds: dict[str, list[float]] = {"adapted seconds": [], "coordinator seconds": []}
    for thetas in range(2, most + 1):
        game = chefworld.mini(thetas)
        solve(game, tol=1e-4)  # compiled
        begin = time.perf_counter()
        solution = solve(game, tol=1e-4)
        between = time.perf_counter()
        found["coordinator"].append(coordinator_value(game))
        seconds["coordinator seconds"].append(time.perf_counter() - between)
        seconds["adapted seconds"].append(between - begin)
        found["thetas"].append(thetas)
        found["adapted"].append(float(solution.lower))
        best = np.asarray(informed_values(game))[0].max(axis=(1, 2)) @ np.asarray(game.prior)
        found["informed"].append(float(np.asarray(game.mdp.initial) @ best))
    return found | seconds


def off_switch_curves(cells: int) -> dict[str, np.ndarray]:
    """What waiting for the human adds, Δ, for U ~ N(μ, 1): against a rational human and against noisier ones."""
    means = np.linspace(-2, 2, 17)
    curves: dict[str, np.ndarray] = {"mean": means}
    for name, human in (
        ("rational", Rational()),
        ("Boltzmann, β = 2", Boltzmann(2.0)),
        ("Boltzmann, β = 1", Boltzmann(1.0)),
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


@_style.drawing
def draw_belief(solution: GameSolution) -> Figure:
    """For each recipe: what is added at each step, and what the robot believes before it."""
    size = (_style.WIDTH, 3.5)
    figure, axes = plt.subplots(1, len(RECIPES), figsize=size, sharey=True, layout="constrained")
    for theta, (axis, recipe) in enumerate(zip(axes, RECIPES, strict=True)):
        steps = episode(solution, theta)
        belief = np.array([np.asarray(solution.robot.belief[node]) for node, _, _ in steps])
        base = np.zeros(len(steps))
        for other, colour in zip(range(len(RECIPES)), COLOURS, strict=False):
            label = f"recipe {RECIPES[other]}"
            axis.bar(range(len(steps)), belief[:, other], 0.86, bottom=base, color=colour, alpha=0.8, label=label)
            base += belief[:, other]
        labels = [f"{t}\n{INGREDIENTS[h]}\n{INGREDIENTS[r]}" for t, (_, h, r) in enumerate(steps)]
        axis.set_xticks(range(len(steps)), labels, fontsize=8.5)
        axis.tick_params(axis="x", length=0)
        axis.set_title(f"The human means {recipe}")
        axis.spines["left"].set_visible(False)
    axes[0].set_ylabel("robot's belief before the step")
    figure.supxlabel("step; below it what the human adds, then what the robot adds", fontsize=10)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, title="belief in")
    return figure


@_style.drawing
def draw_off_switch(curves: dict[str, np.ndarray]) -> Figure:
    """What waiting is worth against the mean utility of acting."""
    figure, axis = plt.subplots(figsize=(6.4, 3.7), layout="constrained")
    axis.axhline(0, color=_style.GREY, linewidth=1)
    for (name, gain), colour, style in zip(list(curves.items())[1:], COLOURS, ("-", "--", "-."), strict=False):
        axis.plot(curves["mean"], gain, style, color=colour, linewidth=2)
        axis.annotate(name, (curves["mean"][-1], gain[-1]), (6, 0), textcoords="offset points", color=colour,
                      va="center", fontweight="bold")  # fmt: skip
    axis.set_xlabel("mean μ of the utility of acting, U ~ N(μ, 1)")
    axis.set_ylabel("worth of waiting, Δ")
    axis.set_title("Letting the human decide pays while the robot is unsure")
    return figure


@_style.drawing
def draw_graph(solution: GameSolution) -> Figure:
    """The part of the policy graph that is played: what the robot adds in the boxes, the human on the arrows."""
    figure, axis = plt.subplots(figsize=(11, 3.8), layout="constrained")
    names = {"robot_actions": INGREDIENTS, "human_actions": INGREDIENTS, "thetas": "ABC"}
    solution.robot.plot(solution.human_policy, ax=axis, **names)
    recipes = "; ".join(f"{letter} = {recipe}" for letter, recipe in zip("ABC", RECIPES, strict=True))
    title = "In the boxes what the robot adds and what it believes; on the arrows what the human adds"
    axis.set_title(f"{title}\n{recipes}")
    return figure


@_style.drawing
def draw_backups(found: dict[str, list[float]]) -> Figure:
    """Value, and time, of both backups against the number of recipes."""
    figure, (value, seconds) = plt.subplots(1, 2, figsize=(_style.WIDTH, 3.6), layout="constrained")
    x = found["thetas"]
    value.plot(x, found["coordinator"], "o", mfc="none", ms=11, mew=2, color=_style.ORANGE, label="coordinator's POMDP")
    value.plot(x, found["adapted"], "o-", color=_style.BLUE, label="adapted backup")
    value.plot(x, found["informed"], "--", color=_style.GREY, label="full information (elementwise max)")
    value.set_ylim(0.8, 1.05)
    value.set_ylabel("value at the prior, in reward")
    value.set_title("Both backups find the same value")
    value.legend(loc="lower left")
    for name, colour, what, where in (
        ("coordinator", _style.ORANGE, "coordinator: tries\n$|A_H|^{|Θ|} · |A_R|$ actions", (-44, 4)),
        ("adapted", _style.BLUE, "adapted: $|A_R|$ actions", (0, 18)),
    ):
        times = found[f"{name} seconds"]
        seconds.semilogy(x, times, "o-", color=colour)
        seconds.annotate(
            what, (x[-1], times[-1]), where, textcoords="offset points", color=colour, ha="right", va="top"
        )
    seconds.set_ylabel("seconds, compiled")
    seconds.set_title("What each costs")
    for axis in (value, seconds):
        axis.set_xlabel("recipes that may be meant, |Θ|")
        axis.set_xticks(x)
    return figure


if __name__ == "__main__":
    main()
