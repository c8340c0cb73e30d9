"""cirl.solve on games of growing size, beside what solvers of the reduction need, in one process.

    python -m benchmarks.bench_cirl [--small] [--only mini large peers scaling] [--out benchmarks/results/cirl.md]
        [--picture docs/images/cirl_scaling.png]

Times are medians of warm runs of `cirl.solve`, from the game's tables to the robot's policy graph;
the first call, which compiles, is given beside them.  Every answer is checked: against the exact
value where references give one or `Exact()` reaches it, else by playing the robot 100,000 times.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", JAX_PLATFORMS="cpu")

import argparse
import importlib.util
import platform
import resource
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import cirl_peers as peers
from cirl import Bounded, Exact, Game, Pomcp, coordination_pomdp, simulate, solve
from cirl.bounded import HeuristicSearch, _search
from cirl.bounded._backup import backup
from cirl.games import apprenticeship, chefworld
from cirl.human import EpsilonGreedy, Rational

# Seconds of solving that measurements give for a leading C++ solver on the reduction, by |Θ|.
COMPILED = {3: 0.02, 4: 0.34, 5: 8.2}
SPREAD = ((3, 3, 2), (3, 2, 3), (2, 3, 3), (4, 4, 0), (4, 0, 4), (0, 4, 4))
MOST = 120.0  # seconds that a large game may take
LIMIT = Bounded(max_seconds=MOST)
SECTIONS: list[str] = []


def table(title: str, head: list[str], rows: list[list]) -> None:
    lines = [f"## {title}", "", "| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    SECTIONS.append("\n".join(lines))
    print(SECTIONS[-1], "", sep="\n", flush=True)


def clock(run):
    began = time.perf_counter()
    result = run()
    jax.block_until_ready(result)
    return time.perf_counter() - began, result


def timed(run, rounds):
    """Seconds of the first call, the median of the others, and the last result."""
    first, result = clock(run)
    return first, statistics.median(clock(run)[0] for _ in range(rounds)), result


def backups(solution) -> int:
    return int(solution.history[-1, 0])


def mini(counts, rounds):
    """Mini-ChefWorld to gap 1e-3; the runs of all sizes take turns."""
    games = {n: chefworld.mini(n) for n in counts}
    run = lambda n, method: solve(games[n], tol=1e-3, method=method)  # noqa: E731
    first = {n: clock(lambda n=n: run(n, Bounded()))[0] for n in counts}
    few = [n for n in counts if n <= 6]
    for n in few:
        run(n, Exact())
    times, exact = {n: [] for n in counts}, {n: [] for n in few}
    for _ in range(rounds):
        for n in counts:
            seconds, solution = clock(lambda n=n: run(n, Bounded()))
            times[n].append(seconds)
            assert bool(solution.converged) and float(solution.lower) <= 0.9 <= float(solution.upper)
        for n in few:
            exact[n].append(clock(lambda n=n: run(n, Exact()))[0])
    rows, median = [], {n: statistics.median(times[n]) for n in counts}
    for n in counts:
        solution = run(n, Bounded())
        reduced = COMPILED.get(n)
        rows.append(
            [
                n,
                games[n].num_human_actions,
                f"{games[n].num_human_actions ** n * games[n].num_robot_actions:,}",
                f"{median[n] * 1e3:.1f}",
                f"{min(times[n]) * 1e3:.1f}",
                backups(solution),
                f"{float(solution.lower):.5f}, {float(solution.upper):.5f}",
                f"{first[n]:.1f}",
                f"{statistics.median(exact[n]) * 1e3:.1f}" if n in few else "",
                "" if reduced is None else f"{reduced} s, **{reduced / median[n]:,.0f}x**",
            ]
        )
    head = ["Θ", "A_H", "actions of the reduction", "ms warm", "least ms", "backups", "lower, upper", "first call s"]
    title = f"Mini-ChefWorld to gap 1e-3, warm, {rounds} rounds in turns"
    table(title, [*head, "ms exact", "C++ solver of the reduction"], rows)
    if 2 in counts and 6 in counts:
        best = {n: min(times[n]) for n in counts}
        SECTIONS.append(
            f"Time for 6 rewards is {median[6] / median[2]:.2f} times that for 2 (of the least times "
            f"{best[6] / best[2]:.2f}), where growth in proportion would be 3."
        )
        print(SECTIONS[-1], flush=True)


def large(small, rounds):
    """Large games to a gap of 5% of the value."""
    jobs = {
        f"ChefWorld, 6 recipes of 8 items, horizon {T}": (lambda T=T: chefworld.game(SPREAD, T), Rational(), T)
        for T in ((4,) if small else (4, 6, 8))
    }
    size, spots = (5, 4) if small else (10, 20)
    garden = f"apprenticeship, {size}x{size}, {spots} spots"
    jobs[garden] = (lambda: apprenticeship.game(size, spots), Rational(), 11)
    if not small:
        jobs["apprenticeship, 10x10, 100 spots"] = (lambda: apprenticeship.game(10, 100), Rational(), 11)
        jobs["apprenticeship, 40x40, 20 spots"] = (lambda: apprenticeship.game(40, 20, reach=8.0), Rational(), 11)
        jobs[f"{garden}, ε-greedy .1"] = (lambda: apprenticeship.game(10, 20), EpsilonGreedy(0.1), 11)
        jobs[f"{garden}, ε-greedy .3"] = (lambda: apprenticeship.game(10, 20), EpsilonGreedy(0.3), 11)
    rows = []
    for name, (make, human, steps) in jobs.items():
        game = make()
        first, (solution, tol) = clock(lambda game=game, human=human: to_five_percent(game, human))
        lower, upper = float(solution.lower), float(solution.upper)
        share = (upper - lower) / abs(lower)
        again = lambda game=game, human=human, tol=tol: solve(game, human=human, tol=tol, method=LIMIT)  # noqa: E731
        warm = statistics.median(clock(again)[0] for _ in range(rounds if first < MOST / 2 else 1))
        played = simulate(game, solution, key=jax.random.key(0), num_steps=steps, num_episodes=100_000).returns
        mean, error = float(played.mean()), float(played.std()) / 100_000**0.5
        # The robot attains `lower`, and may attain more.
        assert lower - 3 * error <= mean <= upper + 3 * error, (name, lower, mean, upper)
        rows.append(
            [
                name,
                f"{game.mdp.num_states:,}, {game.num_thetas}, {game.num_human_actions}, {game.mdp.horizon}",
                f"{lower:.4f}, {upper:.4f}",
                f"{share:.1%}" if share <= 0.05 else f"**{share:.1%}**",
                f"{warm:.2f}",
                f"{first:.1f}",
                backups(solution),
                f"{mean:.4f} ± {error:.4f}",
            ]
        )
    head = ["game", "S, Θ, A_H, T", "lower, upper", "gap", "s warm", "s first", "backups", "played"]
    table(f"Larger games, to a gap of 5% of the value or {MOST:.0f} s", head, rows)


def to_five_percent(game, human):
    """A solution whose gap is within 5% of what is attained, and the tolerance for it, from a coarse one on."""
    tol = 0.05 * float(jnp.max(jnp.abs(game.reward)) * game.mdp.total_visits)
    while True:
        solution = solve(game, human=human, tol=tol, method=LIMIT)
        lower = float(solution.lower)
        if float(solution.gap) <= 0.05 * abs(lower) or not bool(solution.converged):
            return solution, tol
        tol = min(tol / 2, 0.05 * abs(lower))


def against_peers(small, rounds):
    """Planners for POMDPs on the reduction, answers compared."""
    rows = []
    for n in (2,) if small else (2, 3, 4):
        game = chefworld.mini(n)
        ours = timed(lambda game=game: solve(game, tol=1e-3, method=Bounded()), rounds)[1]
        seconds, value, expansions = peers.point_based(coordination_pomdp(game), 0.9, within=1e-3)
        assert abs(value - 0.9) <= 1e-3
        note = f"{value:.4f} after {expansions} expansion(s), no upper bound"
        rows.append([f"mini-ChefWorld, Θ = {n}", "pomdp-toolkit PBVI", seconds, ours, note])
    if importlib.util.find_spec("pomdp_py") is None:
        print("pomdp-py has no wheel for this Python; its rows are left out")
    else:
        rows += against_sampling(small, rounds)
    rows = [[a, b, f"{s:.3f}", f"{o:.4f}", f"{s / o:,.1f}x", n] for a, b, s, o, n in rows]
    head = ["problem", "peer, on the reduction", "s peer", "s cirl, on the game", "ratio", "answers"]
    table("Peers", head, rows)


def against_sampling(small, rounds):
    """pomdp-py: its exact recursion, and its sampling planner."""
    rows = []
    rng = np.random.default_rng(0)
    transition, reward = rng.dirichlet(np.ones(2), size=(2, 2, 2)), rng.normal(size=(2, 2, 2, 2))
    for T in (2,) if small else (3, 4):
        game = Game.from_dense(transition, reward, [0.4, 0.6], [1.0, 0.0], discount=0.9, horizon=T)
        _, ours, solution = timed(lambda game=game: solve(game, tol=1e-3, method=Bounded()), rounds)
        seconds, value = peers.enumerated(coordination_pomdp(game), T)
        assert bool(solution.converged) and float(solution.lower) - 1e-6 <= value <= float(solution.upper) + 1e-6
        note = f"{value:.5f}; bounds {float(solution.lower):.5f}, {float(solution.upper):.5f}"
        rows.append([f"random 2x2x2x2 game, horizon {T}", "pomdp-py, exact recursion", seconds, ours, note])
    game = chefworld.mini(2 if small else 3)
    reduced, count = coordination_pomdp(game), 200 if small else 10_000
    robot = Pomcp.plan_for(game, num_simulations=count, depth=4, exploration=1.0)
    _, ours, memory = timed(lambda: robot.initial(0, key=jax.random.key(0)), rounds)
    seconds, value = peers.sampled(reduced, num_simulations=count, depth=4, exploration=1.0)
    note = f"estimates {value:.3f}, ours {float(memory.decision.value):.3f}, exact 0.9"
    name = f"mini-ChefWorld, Θ = {game.num_thetas}, {count:,} simulations"
    rows.append([name, "pomdp-py POUCT (ours: `Pomcp`)", seconds, ours, note])
    return rows


AXES = {
    "rewards, Θ": [({"num_spots": n}, n) for n in (2, 5, 10, 20, 40, 80)],
    "states, S": [({"size": n, "reach": n / 5}, 4 * n * n) for n in (5, 10, 20, 40)],
    "human actions, A_H": [({"stride": n}, 2 * n * (n + 1) + 1) for n in (1, 2, 3, 4)],
    "horizon, T": [({"work": n}, 3 + n) for n in (4, 8, 16, 32)],
}


def scaling(small, rounds, picture):
    """Time and memory along four axes from one garden: 10 x 10, 10 spots, 5 moves, 11 steps."""
    found, rows = {}, []
    for axis, points in AXES.items():
        found[axis] = []
        for changes, x in points[: 2 if small else None]:
            game = apprenticeship.game(**{"size": 10, "num_spots": 10} | changes)
            _, tol = to_five_percent(game, Rational())
            runs = [clock(lambda game=game, tol=tol: solve(game, tol=tol, method=LIMIT)) for _ in range(rounds)]
            seconds, solution = statistics.median(t for t, _ in runs), runs[0][1]
            share = float(solution.gap) / float(solution.lower)
            count, kept, working = footprint(game, tol)
            found[axis].append((x, seconds, (kept + working) / 2**20))
            rows.append(
                [
                    axis,
                    f"{x:,}",
                    f"{seconds:.2f}",
                    count,
                    f"{kept / 2**20:.1f}",
                    f"{working / 2**20:.1f}",
                    f"{share:.1%}",
                ]
            )
    head = ["along", "", "s warm", "backups", "MB kept", "MB working", "gap"]
    title = "Scaling: an apprenticeship of 10 x 10 cells, 10 spots, 5 moves, 11 steps, to a gap of 5% of the value"
    table(title, head, rows)
    if picture is not None:
        draw(found, picture)


def footprint(game, tol):
    """Backups, bytes kept by the bounds at the end, and the most bytes of a compiled program."""
    largest: list = [0, None]

    def watched(*args, **settings):
        size = sum(np.asarray(x).nbytes for x in jax.tree.leaves(args[2]))
        if size > largest[0]:
            largest[:] = [size, (args, settings)]
        return backup(*args, **settings)

    _search.backup = watched
    try:
        search = HeuristicSearch(game, Rational(), LIMIT)
        search.run(tol)
    finally:
        _search.backup = backup
    b, (args, settings) = search.bounds, largest[1]
    pools = [pool[:] for pool in (b.vectors, b.points, b.worth)]
    kept = sum(x.nbytes for x in (*pools, b.informed, b.simple, b.next_state, b.columns, b.chance, b.possible))
    told = backup.lower(*args, **settings).compile().memory_analysis()
    working = told.temp_size_in_bytes + told.argument_size_in_bytes + told.output_size_in_bytes
    return search.backups, kept, working


def draw(found, path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    fig, axes = plt.subplots(2, len(found), figsize=(11, 5.2), sharex="col", sharey="row", layout="constrained")
    for column, (axis, points) in enumerate(found.items()):
        x, *ys = zip(*points, strict=True)
        for row, (y, colour) in enumerate(zip(ys, ("#0072B2", "#D55E00"), strict=True)):
            ax = axes[row, column]
            ax.loglog(x, y, "o-", color=colour, lw=2)
            # In proportion, from the first point.
            ax.loglog(x, [y[0] * v / x[0] for v in x], ":", color="0.45", lw=1.2)
            ax.grid(True, which="major", color="0.9")
            ax.spines[["top", "right"]].set_visible(False)
            ax.set_xticks(x, [f"{v:,}" for v in x])
            ax.minorticks_off()
        axes[1, column].set_xlabel(axis)
    axes[0, 0].set_ylabel("seconds, warm")
    axes[1, 0].set_ylabel("memory (MB)")
    fig.suptitle("An apprenticeship game solved to a gap of 5% of its value; dotted: growth in proportion", fontsize=11)
    fig.savefig(path, dpi=130)
    plt.close(fig)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="small sizes: a minute, to see that it runs")
    parser.add_argument("--rounds", type=int, default=5, help="warm runs of each")
    parser.add_argument("--only", nargs="*", default=["mini", "large", "peers", "scaling"])
    parser.add_argument("--out", type=Path, help="where to write the tables")
    parser.add_argument("--picture", type=Path, help="where to draw time and memory against size")
    args = parser.parse_args()
    small, rounds = args.small, 2 if args.small else args.rounds
    load = os.getloadavg()[0]
    if "mini" in args.only:
        mini((2, 3, 6) if small else (2, 3, 4, 5, 6, 8, 10, 12), rounds)
    if "large" in args.only:
        large(small, rounds)
    if "peers" in args.only:
        against_peers(small, rounds)
    if "scaling" in args.only:
        scaling(small, rounds, args.picture)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    head = f"""# Cooperative games

`python -m benchmarks.bench_cirl{" --small" if small else ""} --rounds {rounds} --only {" ".join(args.only)}`
on {platform.machine()}, {os.cpu_count()} cores, jax {jax.__version__}, float32; load average {load:.1f} at the start.
Peak memory {peak:.2f} GB, compilers and peers included.

Warm: `cirl.solve` with `Bounded()`, from the game's tables to the robot's policy graph, median of {rounds};
the first call compiles.  Bounds are checked against the exact values and by playing the robot 100,000 times."""
    text = "\n\n".join([head, *SECTIONS]) + "\n"
    if args.out:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
