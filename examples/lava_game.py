"""From a proxy to a game: a robot on lava maps that may act, ask, wait, or be switched off.

A designer's proxy becomes a posterior over rewards, the posterior a few rewards that the human may
have, and the map a game: the robot announces a move, and the human lets it go on or stops it for good; the
robot may also wait, or ask a question with two answers at a price.  The same maps are walked by the
literal proxy's plan and by the careful plan, which ask nobody.

    python -m examples.lava_game
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table

import mdps
from cirl import Game, GameSolution, Order, evaluate, simulate, solve
from cirl.human import Rational
from examples import _report, _style
from ird import ProxyReward, planning, posterior
from ird.risk import CVaR
from mdps.worlds.lavaland import NAMES, Lavaland, lava_free_path

PROXY = {"dirt": -0.1, "grass": -0.5, "target": 1.0}
TRUTH = PROXY | {"lava": -1.0}
MOVES, WAIT, ASK = 4, 4, 5  # the robot's actions: four moves, wait, ask
GO_ON, STOP = 0, 1  # the human's; to a question they are its two answers
COSTS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
COLOURS = {"literal": _style.INK, "careful": _style.BLUE, "cooperative": _style.PURPLE}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.lava_game",
        description="Compare a cooperative robot, which may ask or be stopped, with the careful and the literal plan "
        "on the same lava maps; print a table, save a picture and manifest.json.",
    )
    parser.add_argument("--maps", type=int, default=16, help="maps (default %(default)s)")
    parser.add_argument("--side", type=int, default=6, help="rows and columns of a map (default %(default)s)")
    parser.add_argument("--steps", type=int, default=14, help="steps of an episode (default %(default)s)")
    parser.add_argument(
        "--atoms", type=int, default=6, help="rewards the posterior is reduced to (default %(default)s)"
    )
    parser.add_argument("--cost", type=float, default=0.05, help="price of a question, in reward (default %(default)s)")
    parser.add_argument("--samples", type=int, default=10_000, help="samples of the prior (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="all chance follows from it (default 0)")
    parser.add_argument("--out", type=Path, default=Path("out/lava_game"), help="folder (default %(default)s)")
    return parser.parse_args(arguments)


class Case:
    """One pair of maps: what the designer wrote, what is believed, and the plans that ask nobody."""

    def __init__(self, key, options: argparse.Namespace):
        maps = Lavaland(height=options.side, width=options.side, horizon=options.steps, lava=0.1)
        for_train, for_field, for_rewards, for_samples, for_draws = jax.random.split(key, 5)
        self.field = maps.field(for_field)
        while not lava_free_path(self.field):  # a map without a way round lava leaves nothing to compare
            for_field = jax.random.split(for_field)[0]
            self.field = maps.field(for_field)
        train, self.mdp = maps.train(for_train).mdp, self.field.mdp
        written = self.field.weights(**PROXY)
        prior = dist.Uniform(-1, 1).expand([len(NAMES)]).to_event(1)
        rewards = jnp.concatenate([written[None], prior.sample(for_rewards, (500,))])
        proxy = ProxyReward(written, train, beta=5.0, alternatives=rewards)
        self.belief = posterior.importance(proxy, prior=prior, num_samples=options.samples, key=for_samples)
        self.draws = self.belief.resample(300, key=for_draws)
        careful = planning.plan_per_step(
            self.mdp,
            self.belief,
            risk=CVaR(0.12),
            baseline=planning.start_features(self.mdp),
            units=planning.training_stakes(self.belief, proxy),
        )
        literal = mdps.solve(self.mdp, self.mdp.reward(written))
        self.plans = {"literal": literal.policy, "careful": careful.policy}

    def board(self, cost: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Transition, features and start of the game; the last state is a robot that is switched off.

        A robot that is off stands where it began, so that a constant added to the reward changes nothing.
        """
        S, K = self.mdp.num_states, self.mdp.num_features
        move = np.asarray(self.mdp.to_dense())  # [S, 4, S]; the target keeps
        transition = np.zeros((S + 1, 2, 6, S + 1))
        transition[:S, GO_ON, :MOVES, :S] = move
        transition[:S, GO_ON, [WAIT, ASK], :S] = transition[:S, STOP, ASK, :S] = 0
        for s in range(S):
            transition[s, GO_ON, [WAIT, ASK], s] = transition[s, STOP, ASK, s] = 1
        transition[:S, STOP, :ASK, S] = 1
        transition[S, :, :, S] = 1
        features = np.zeros((S + 1, 2, 6, K + 1))
        features[:S, :, :, :K] = np.asarray(self.mdp.features)[:, None, None]
        features[S, :, :, :K] = np.asarray(planning.start_features(self.mdp))
        features[:S, :, ASK, K] = -cost
        return transition, features, np.append(np.asarray(self.mdp.initial), 0.0)

    def game(self, cost: float, horizon: int, num_atoms: int) -> Game:
        """The game under a few atoms of the posterior; what a question costs is known."""
        transition, features, start = self.board(cost)
        known = np.concatenate([np.asarray(self.draws.weights), np.ones((len(self.draws.weights), 1))], axis=1)
        settings = {"num_atoms": num_atoms, "horizon": horizon, "order": Order.ROBOT_FIRST}
        return Game.from_belief(transition, features, posterior.exact(candidates=known), start, **settings)

    def game_of(self, weights, cost: float, horizon: int) -> Game:
        """The same board for any rewards the human may have, `[Θ, K]`, each as likely."""
        transition, features, start = self.board(cost)
        reward = features @ np.concatenate([np.asarray(weights), np.ones((len(weights), 1))], axis=1).T
        prior = np.full(len(weights), 1 / len(weights))
        return Game.from_dense(transition, reward, prior, start, horizon=horizon, order=Order.ROBOT_FIRST)


def attained(game: Game, solution: GameSolution, horizon: int) -> np.ndarray:
    """What a robot is worth to a rational human under each θ of a game with the same board, `[Θ]`."""
    values, _, _ = evaluate(game, solution.robot, Rational(), sweeps=horizon)
    start = int(np.argmax(game.mdp.initial))
    return np.asarray(values[solution.robot.start[start]])


def cooperate(case: Case, cost: float, options: argparse.Namespace) -> dict[str, Any]:
    """Solve the game of the reduced posterior; say what it is worth to the whole of it, and to the truth."""
    game = case.game(cost, options.steps, options.atoms)
    solution = solve(game, tol=1e-3)
    values = attained(case.game_of(case.draws.weights, cost, options.steps), solution, options.steps)
    meant = case.game_of(case.field.weights(**TRUTH)[None], cost, options.steps)
    _, play, _ = evaluate(meant, solution.robot, Rational(), sweeps=options.steps)
    sure = replace(solution, human_policy=play)
    run = simulate(meant, sure, key=jax.random.key(0), num_steps=options.steps)
    states, robot, human = (np.asarray(x[0]) for x in (run.states, run.robot_actions, run.human_actions))
    return {
        "expected": float(values.mean()),
        "reduction_bound": float(game.reduction_bound),
        "return": float(run.returns[0]),
        "path": states,
        "asked": np.flatnonzero((robot == ASK) & (states < case.mdp.num_states)),
        "stopped": bool((states == case.mdp.num_states).any() or (human[-1] == STOP and robot[-1] != ASK)),
    }


def alone(case: Case, policy) -> dict[str, Any]:
    """The same for a plan that asks nobody."""
    collected = np.asarray(mdps.feature_expectations(case.mdp, policy))
    chance = {
        name: float(mdps.visit_probability(case.mdp, policy, where))
        for name, where in (("lava", case.field.where("lava")), ("target", case.field.goal))
    }
    expected = float((case.draws.weights @ collected).mean())
    return {"expected": expected, "return": float(case.field.weights(**TRUTH) @ collected), **chance}


def judge(case: Case, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """All three robots on one map."""
    lava, target = np.asarray(case.field.where("lava")), np.asarray(case.field.goal)
    found = {name: alone(case, policy) for name, policy in case.plans.items()}
    played = cooperate(case, options.cost, options)
    cells = played["path"][played["path"] < case.mdp.num_states]
    played |= {"lava": float(lava[cells].any()), "target": float(target[cells].any())}
    return found | {"cooperative": played}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began = time.perf_counter()
    options = parse(arguments)
    console = Console(width=max(100, Console().width))
    keys = jax.random.split(jax.random.key(options.seed), options.maps)
    cases = [Case(key, options) for key in track(keys, "maps and plans", console=console)]
    found = [judge(case, options) for case in track(cases, "games", console=console)]

    # Where the plans differ most is where there is most to see.
    shown = max(range(len(found)), key=lambda i: found[i]["literal"]["lava"] + len(found[i]["cooperative"]["asked"]))
    curve = [
        [cooperate(case, cost, options)["expected"] for case in cases]
        for cost in track(COSTS, "prices of a question", console=console)
    ]
    rows = summarise(found)
    console.print(as_table(rows, options))
    figure = draw(cases[shown], found[shown], curve, rows, options)
    manifest = _report.save(
        options.out,
        began,
        {k: v for k, v in vars(options).items() if k not in ("out", "seed")},
        options.seed,
        {"results": rows, "prices": [{"cost": c, "expected": _mean(x)} for c, x in zip(COSTS, curve, strict=True)]},
        pictures=[_style.save(figure, options.out / "lava_game.png")],
    )
    console.print(_report.told(manifest, options.out), highlight=False)
    return manifest


def summarise(found: Sequence[dict[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """One row per robot: each measure's mean over maps and its standard error."""
    rows = []
    for name in COLOURS:
        each = [one[name] for one in found]
        row: dict[str, Any] = {"robot": name}
        for measure in ("expected", "return", "lava", "target"):
            row[measure] = _mean([one[measure] for one in each])
        if name == "cooperative":
            row["asked"] = _mean([float(len(one["asked"])) for one in each])
            row["stopped"] = _mean([float(one["stopped"]) for one in each])
            row["reduction_bound"] = _mean([one["reduction_bound"] for one in each])
        rows.append(row)
    return rows


def as_table(rows: Sequence[dict[str, Any]], options: argparse.Namespace) -> Table:
    """The rows for people."""
    table = Table(title=f"{options.maps} maps, a question costs {options.cost}: means ± standard errors")
    for head in ("robot", "expected return", "true return", "enters lava", "reaches target", "questions", "stopped"):
        table.add_column(head, justify="left" if head == "robot" else "right")
    for row in rows:
        cells = [row.get(m) for m in ("expected", "return", "lava", "target", "asked", "stopped")]
        table.add_row(row["robot"], *("" if c is None else f"{c[0]:.2f} ± {c[1]:.2f}" for c in cells))
    return table


def _mean(values: Sequence[float]) -> list[float]:
    """Mean and its standard error, 0 for a single map."""
    mean, error = _report.mean_and_error(values)
    return [mean, error or 0.0]


@_style.drawing
def draw(case: Case, found, curve, rows, options: argparse.Namespace) -> Figure:
    """One map with the three walks, and what the robots are worth as a question gets dearer."""
    figure, (board, prices) = plt.subplots(1, 2, figsize=(_style.WIDTH, 4.4), layout="constrained")
    _board(board, case, found)
    mean, error = np.array([_mean(x) for x in curve]).T
    places = np.arange(len(COSTS))
    prices.errorbar(places, mean, error, color=COLOURS["cooperative"], marker="o", lw=2)
    names = {"cooperative": (float(mean[0]), "cooperative"), **{
        row["robot"]: (row["expected"][0], f"{row['robot']}, which asks nobody")
        for row in rows if row["robot"] != "cooperative"
    }}  # fmt: skip
    for name, (height, label) in names.items():
        if name != "cooperative":
            prices.axhline(height, color=COLOURS[name], lw=2)
        else:
            height += float(error[0])
        prices.annotate(label, (0, height), (0, 4), textcoords="offset points", color=COLOURS[name], fontweight="bold")
    prices.margins(y=0.12)
    prices.set_xticks(places, [f"{c:g}" for c in COSTS])
    prices.set_xlabel("price of a question, in reward")
    prices.set_ylabel("expected return under the posterior\n(± standard error)")
    prices.set_title(f"Mean over {options.maps} maps")
    return figure


def _board(board, case: Case, found) -> None:
    """One map with the walk of each robot, and where the cooperative one asks."""
    walks = {name: walk(case, case.plans[name]) if name in case.plans else found[name]["path"] for name in COLOURS}
    case.field.plot(ax=board, title="One of the maps; ? is a question", legend=False)
    board.set(xticks=[], yticks=[])
    rows, columns = np.nonzero(np.asarray(case.field.cell) >= 0)
    for i, (name, colour) in enumerate(COLOURS.items()):
        path = walks[name][walks[name] < case.mdp.num_states]
        at = np.stack([columns[path], rows[path]]) + 0.15 * (i - 1)
        board.plot(*at, "-o", color=colour, ms=4, lw=2, label=name, zorder=4, path_effects=_style.halo())
        for t in found[name].get("asked", ()):
            board.annotate("?", at[:, t], (6, 4), textcoords="offset points", fontsize=15, fontweight="bold",
                           color=colour, zorder=9, path_effects=_style.halo())  # fmt: skip
    lines = board.get_legend_handles_labels()[0]
    terrains = _style.terrains([case.field])
    one = board.legend(handles=lines, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.01), handlelength=1.4)
    board.add_artist(one)
    board.legend(handles=terrains, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.08), handlelength=1.4)


def walk(case: Case, policy) -> np.ndarray:
    """The likeliest states under a policy."""
    path = case.field.most_likely_path(policy, case.mdp.horizon)
    return np.array([int(case.field.cell[r, c]) for r, c in path])


if __name__ == "__main__":
    main()
