"""Active inverse reward design: what five questions teach, asked greedily, at random or not at all.

A designer is shown a few rewards and picks the one whose plan they like best in a training map; the
posterior mean is then planned for in maps that nobody has seen. Mindermann et al. (2018) chose the
rewards to show by expected posterior entropy. This repeats their comparison on gridworlds and
bandits, with their settings. Long: about half an hour on two cores.

    python -m examples.studies.active_ird --out docs/studies
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich.console import Console

from examples import _report, _settings, _style
from examples._settings import COUNT, COUNTS, POSITIVE, SEED, Rule, count
from ird import posterior, queries
from mdps import MDP, GridWorld, optimum, stack
from mdps.graph import walk_from

FEATURES = 20  # objects of a gridworld, dimensions of an arm
SIDE, WALLS, STEPS, ARMS = 12, 0.35, 15, 100
SETTINGS = Path(__file__).with_suffix(".toml")
RULES: dict[str, Rule] = {
    "seed": SEED,
    "repetitions": count(2),  # standard errors need two
    **dict.fromkeys(("test_maps", "candidates", "pool", "questions", "block"), COUNT),
    "beta": POSITIVE,
    "sizes": COUNTS,
}
SMALL = {"repetitions": 4, "test_maps": 2, "candidates": 300, "pool": 12, "questions": 2, "sizes": [3], "block": 4}

SEARCHES: dict[str, queries.Search] = {
    "random": queries.Random(),
    "greedy": queries.Greedy(starts=1),
    "greedy, best of ten beginnings": queries.Greedy(starts=10),
}
NOTHING = "no question"
COLOURS = {NOTHING: _style.GREY, "random": _style.AMBER, "greedy": _style.BLUE}
COLOURS |= {"greedy, best of ten beginnings": _style.GREEN}
MARKERS = {NOTHING: "", "random": "s", "greedy": "o", "greedy, best of ten beginnings": "^"}


class World(NamedTuple):
    """Training and test environments of every repetition, and how to plan in one of them.

    Attributes:
        title: what it is called.
        train: a training environment for each repetition.
        test: test environments, `[repetitions, test maps, ...]`.
        plan: from an environment and weights `[K]` to what the best plan collects, `[K]`.
    """

    title: str
    train: Any
    test: Any
    plan: Callable[[Any, jax.Array], jax.Array]


def grid_maps(rng: np.random.Generator, count: int, by_distance: bool) -> list[MDP]:
    """Maps with walls, 20 objects and a start, all connected; features: standing on an object, or how near each is."""
    names = ("floor", *(f"object {i}" for i in range(FEATURES)))
    made = []
    while len(made) < count:
        open_cells = np.argwhere(rng.random((SIDE, SIDE)) >= WALLS)
        reached = connected(open_cells, open_cells[rng.integers(len(open_cells))])
        if len(reached) < 2 * (FEATURES + 1):
            continue  # the start is walled in
        start, *objects = rng.permutation(reached)[: FEATURES + 1]
        walls, terrain = np.ones((SIDE, SIDE), bool), np.zeros((SIDE, SIDE), int)
        walls[tuple(reached.T)] = False
        terrain[tuple(np.array(objects).T)] = np.arange(1, FEATURES + 1)
        grid = GridWorld.from_terrain(
            terrain,
            names,
            start=tuple(start),
            goal=None,
            walls=walls,
            horizon=STEPS,
            emissions=np.eye(FEATURES + 1)[:, 1:],
            feature_names=names[1:],
        )
        mdp = grid.mdp
        if by_distance:
            away = np.linalg.norm(np.argwhere(~walls)[:, None] - np.array(objects)[None], axis=-1)
            mdp = mdp.replace(features=jnp.asarray(-away / 5, mdp.features.dtype))
        made.append(mdp)
    return made


def connected(cells: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The cells `[n, 2]` that can be walked to from `start`."""
    number = np.full((SIDE + 2, SIDE + 2), -1)
    number[tuple(cells.T + 1)] = np.arange(len(cells))
    row, column = cells.T + 1
    beside = np.stack([number[row + r, column + c] for r, c in ((-1, 0), (0, 1), (1, 0), (0, -1))], axis=1)
    here = (cells == start).all(axis=1)
    return cells[walk_from(np.where(beside < 0, np.arange(len(cells))[:, None], beside), beside >= 0, here)]


def gridworld(settings: dict[str, Any], rng: np.random.Generator, by_distance: bool) -> World:
    """12 × 12 cells, 35% walls, 20 objects, 15 steps."""
    R, T = settings["repetitions"], settings["test_maps"]
    maps = stack(grid_maps(rng, R * (1 + T), by_distance))
    maps = jax.tree.map(lambda x: x.reshape(R, 1 + T, *x.shape[1:]), maps)
    title = "gridworld, distances to objects" if by_distance else "gridworld, objects"
    train, test = (jax.tree.map(lambda x: x[:, part], maps) for part in (0, slice(1, None)))  # noqa: B023
    return World(title, train, test, lambda mdp, weights: optimum(mdp, weights).features)


def bandits(settings: dict[str, Any], rng: np.random.Generator) -> World:
    """100 arms with features from a standard normal distribution."""
    arms = rng.normal(size=(settings["repetitions"], 1 + settings["test_maps"], ARMS, FEATURES))
    arms = jnp.asarray(arms, jnp.float32)
    return World("bandit, 100 arms", arms[:, 0], arms[:, 1:], lambda arm, weights: arm[jnp.argmax(arm @ weights)])


class Learnt(NamedTuple):
    """What one repetition knows after 0, 1, ... questions, by search: `[searches, questions + 1, ...]`."""

    mean: jax.Array
    entropy: jax.Array


def learn(features: jax.Array, candidates: jax.Array, key: jax.Array, *, settings: dict[str, Any], size: int) -> Learnt:
    """Ask, let the designer pick, update, again; the first candidate is what the designer means.

    The designer's noise is drawn per question and reward, so that searches that ask the same get the same answer.
    """
    pool = queries.Pool.from_features(features, beta=settings["beta"])
    prior = posterior.exact(candidates=candidates)

    def ask(search, log_weights, key):
        for_query, for_answer = jax.random.split(key)
        belief = posterior.exact(candidates=candidates, log_prior=log_weights)
        query = queries.choose(pool, belief, size, objective=queries.PosteriorEntropy(), search=search, key=for_query)
        noise = jax.random.gumbel(for_answer, features.shape[:1])[query.rows]
        picked = jnp.argmax(query.log_probabilities(candidates[:1])[0] + noise)
        told = posterior.exact(query.answer(picked), candidates=candidates, log_prior=log_weights)
        return told.log_weights, told

    keys = jax.random.split(jax.random.fold_in(key, 1), settings["questions"])
    found = []
    for search in SEARCHES.values():
        _, told = jax.lax.scan(
            partial(ask, search), prior.log_weights, keys
        )  # beliefs with a leading axis of questions
        every = jax.tree.map(
            lambda first, rest: jnp.concatenate([first[None], rest]), prior.log_weights, told.log_weights
        )
        p = jnp.exp(every)
        found.append(Learnt(p @ candidates, -jnp.sum(jnp.where(p > 0, p * every, 0), axis=1)))
    return jax.tree.map(lambda *each: jnp.stack(each), *found)


def regrets(test: Any, means: jax.Array, truth: jax.Array, *, plan: Callable) -> tuple[jax.Array, jax.Array]:
    """Mean test regret of planning for each of the means `[..., K]`, and what the truth's own plans earn."""

    def one(environment):
        best = plan(environment, truth) @ truth
        flat = means.reshape(-1, means.shape[-1])
        attained = jax.vmap(lambda w: plan(environment, w))(flat) @ truth
        return (best - attained).reshape(means.shape[:-1]), best

    lost, best = jax.vmap(one)(test)
    return jnp.mean(lost, axis=0), jnp.mean(best)


WORLDS: dict[str, Callable[[dict[str, Any], np.random.Generator], World]] = {
    "objects": partial(gridworld, by_distance=False),
    "distances": partial(gridworld, by_distance=True),
    "bandit": bandits,
}


def run(settings: dict[str, Any], seed: int, name: str, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """One world, every size: a row for each search, with figures per repetition."""
    number = list(WORLDS).index(name)
    rng = np.random.default_rng([seed, number])
    world = WORLDS[name](settings, rng)
    R, N, M = settings["repetitions"], settings["candidates"], settings["pool"]
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), number), R)
    shown = jnp.asarray(rng.integers(-9, 10, size=(R, M, FEATURES)), jnp.float32)
    features = jax.jit(jax.vmap(lambda env, w: jax.vmap(partial(world.plan, env))(w)))(world.train, shown)
    judge = jax.jit(jax.vmap(partial(regrets, plan=world.plan)))
    draw = jax.jit(jax.vmap(lambda key: jax.random.randint(key, (N, FEATURES), -9, 10).astype(jnp.float32)))
    rows = []
    for size in settings["sizes"]:
        learner, parts = jax.jit(jax.vmap(partial(learn, settings=settings, size=size))), []
        for begin in range(0, R, settings["block"]):
            part = slice(begin, begin + settings["block"])
            candidates = draw(keys[part])  # the same for every size; all at once they would not fit in memory
            learnt = learner(features[part], candidates, keys[part])
            test = jax.tree.map(lambda x: x[part], world.test)  # noqa: B023
            parts.append(jax.tree.map(np.asarray, (*judge(test, learnt.mean, candidates[:, 0]), learnt.entropy)))
            tell(f"{world.title}, {size} rewards per question")
        lost, best, entropy = (np.concatenate(each) for each in zip(*parts, strict=True))
        for i, search in enumerate(SEARCHES):
            row = {"world": world.title, "size": size, "search": search, "best": best}
            rows.append(row | {"regret": lost[:, i], "entropy": entropy[:, i]})
    return rows


def mean_and_error(x: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean over repetitions and its standard error, for each number of questions."""
    return x.mean(axis=0).tolist(), (x.std(axis=0, ddof=1) / len(x) ** 0.5).tolist()


def summarise(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means with standard errors, and differences paired by repetition after the last question."""
    table = []
    for row in rows:
        regret = row["regret"].astype(float)
        other = next(r for r in rows if r["search"] == "random" and all(r[k] == row[k] for k in ("world", "size")))
        made = {key: row[key] for key in ("world", "size", "search")} | {"best": float(row["best"].mean())}
        made["regret"], made["regret_se"] = mean_and_error(regret)
        made["entropy"], made["entropy_se"] = mean_and_error(row["entropy"].astype(float))
        for name, reference in ((NOTHING, regret[:, :1]), ("random", other["regret"].astype(float))):
            short = "none" if name == NOTHING else name
            made[f"{short}_minus_this"], made[f"{short}_minus_this_se"] = mean_and_error(reference - regret)
        table.append(made)
    return table


def markdown(settings: dict[str, Any], seed: int, table: list[dict[str, Any]], command: str) -> str:
    """The table as a page."""
    lines = [
        "# Active inverse reward design: the study",
        "",
        f"Made by `{command}` (seed {seed}); {settings['repetitions']} repetitions, {settings['test_maps']} test "
        f"environments each, {settings['candidates']:,} candidate rewards, {settings['pool']} rewards that may be "
        f"shown, β = {settings['beta']}.",
        "",
        f"Test regret after {settings['questions']} questions, in units of reward, ± its standard error; then "
        "differences paired by repetition, positive where the order is the expected one: greedy below random below no "
        "question.",
        "",
        "![Test regret falls with the number of questions, faster when they are chosen](active_ird.png)",
    ]
    for world in dict.fromkeys(row["world"] for row in table):
        mine = [row for row in table if row["world"] == world]
        lines += ["", f"## {world[0].upper()}{world[1:]}", ""]
        lines += [
            f"Knowing the reward, the plans earn {mine[0]['best']:.1f}; with no question the regret is "
            f"{mine[0]['regret'][0]:.1f} ± {mine[0]['regret_se'][0]:.1f}.",
            "",
            "| rewards shown | questions chosen | regret | no question − this | random − this | nats left |",
            "|---:|---|---:|---:|---:|---:|",
        ]
        for row in mine:
            cells = [
                f"{row[k][-1]:.2f} ± {row[k + '_se'][-1]:.2f}"
                for k in ("regret", "none_minus_this", "random_minus_this")
            ]
            if row["search"] == "random":
                cells[2] = ""
            lines.append(f"| {row['size']} | {row['search']} | {' | '.join(cells)} | {row['entropy'][-1]:.2f} |")
    return "\n".join(lines) + "\n"


@_style.drawing
def draw(table: list[dict[str, Any]]) -> Figure:
    """Test regret against the number of questions: a row of panels per world, a column per query size."""
    worlds, sizes = (list(dict.fromkeys(row[k] for row in table)) for k in ("world", "size"))
    shape = {"sharex": True, "sharey": "row", "squeeze": False, "layout": "constrained"}
    size = (_style.WIDTH if len(sizes) > 1 else 5.0, 2.5 * len(worlds) + 0.8)
    figure, axes = plt.subplots(len(worlds), len(sizes), figsize=size, **shape)
    for y, world in enumerate(worlds):
        for x, shown in enumerate(sizes):
            axis = axes[y, x]
            mine = [row for row in table if (row["world"], row["size"]) == (world, shown)]
            asked = np.arange(len(mine[0]["regret"]))
            axis.axhline(mine[0]["regret"][0], color=COLOURS[NOTHING], linestyle="--", linewidth=1.4, label=NOTHING)
            for i, row in enumerate(mine):
                name = row["search"]
                at, height, error = asked[1:] + 0.08 * (i - 1), row["regret"][1:], row["regret_se"][1:]
                axis.errorbar(at, height, error, color=COLOURS[name], marker=MARKERS[name], linewidth=1.5, label=name)
            axis.set_ylim(bottom=0)
            axis.set_xticks(asked[1:])
            axis.grid()
            if y == 0:
                axis.set_title(f"{shown} rewards shown")
        axes[y, 0].set_ylabel(f"{world.replace(', ', chr(10))}\n\ntest regret (± s.e.)")
    figure.supxlabel("questions asked", fontsize=10)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), ncols=4, loc="outside upper center")
    return figure


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.studies.active_ird",
        description="Test regret after questions chosen greedily, at random or not at all, on gridworlds and bandits: "
        "table, JSON and picture.",
        epilog=f"Every setting is in {SETTINGS.name}, beside this program.",
    )
    parser.add_argument("--settings", type=Path, metavar="FILE.toml", help="settings that differ from the defaults")
    parser.add_argument("--repetitions", type=int, help="in place of the settings'")
    parser.add_argument("--seed", type=int, help="all chance follows from it, in place of the settings'")
    parser.add_argument("--out", type=Path, default=Path("out/active_ird"), help="folder (default %(default)s)")
    parser.add_argument("--world", choices=WORLDS, help="run only this one, and keep what the folder holds of others")
    parser.add_argument("--small", action="store_true", help="a look at everything in seconds, no result to rely on")
    parser.add_argument(
        "--redraw", action="store_true", help="run nothing: draw the pictures anew from the folder's JSON"
    )
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    console = Console()
    file = "active_ird.json"
    if options.redraw:
        manifest = _report.kept(options.out, file)
        _style.save(draw(manifest["results"]), options.out / "active_ird.png")
        return manifest
    settings = _settings.chosen(options, SETTINGS, RULES, small=SMALL, given=("repetitions", "seed"))
    there = options.world and (options.out / file).exists()
    table = study(settings, options, _report.kept(options.out, file)["results"] if there else [], console)
    command = _report.command("examples.studies.active_ird", options, ("repetitions",))
    pictures = [_style.save(draw(table), options.out / "active_ird.png")]
    found = {"command": command, "results": table}
    manifest = _report.save(options.out, began, settings, settings["seed"], found, pictures=pictures, file=file)
    page = markdown(settings, settings["seed"], table, command)
    (options.out / "active_ird.md").write_text(page, encoding="utf-8")
    console.print(page, markup=False)
    console.print(_report.told(manifest, options.out, file))
    return manifest


def study(
    settings: dict[str, Any], options: argparse.Namespace, table: list[dict[str, Any]], console: Console
) -> list[dict[str, Any]]:
    """The rows of every world that is asked for, in place of those that the table held of it."""
    chosen = [options.world] if options.world else list(WORLDS)
    with _report.progress(console) as progress:
        blocks = len(chosen) * len(settings["sizes"]) * -(-settings["repetitions"] // settings["block"])
        task = progress.add_task("drawing maps", total=blocks)
        for name in chosen:
            seed = settings["seed"]
            rows = run(settings, seed, name, lambda text: progress.update(task, description=text, advance=1))
            table = [row for row in table if row["world"] != rows[0]["world"]] + _report.rounded(summarise(rows))
    return table


if __name__ == "__main__":
    main()
