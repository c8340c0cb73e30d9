"""Maps by others, one picture of what careful planning can do and cannot.

Each family of `mdps.worlds.families()` has maps with something on them that the designer never saw. The literal plan,
the plan for the posterior's mean, the plan of least exposure, and the one that knows what was meant are judged exactly.

    python -m examples.worlds
"""

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.table import Table

from examples import _report, _style
from ird import ProxyReward, planning, posterior
from mdps import policy_return, solve, visit_probability
from mdps.policies import uniform_policy
from mdps.worlds import Case, families

PLANS = ("literal", "posterior mean", "least exposure", "oracle")
WALKS = ("literal", "least exposure", "oracle")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.worlds",
        description="Plan on families of maps by others: hazard entered, goal reached and regret of four plans, a "
        "table, and one picture of all families.",
    )
    parser.add_argument("--families", nargs="*", default=list(families()), help="which families (default all)")
    parser.add_argument(
        "--all", action="store_true", help="every map of a family, not only those as large as its first: half an hour"
    )
    parser.add_argument("--maps", type=int, default=12, help="most maps of a family (default %(default)s)")
    parser.add_argument("--samples", type=int, default=1000, help="samples of the belief (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="all chance follows from it (default 0)")
    parser.add_argument("--out", type=Path, default=Path("out/worlds"), help="folder (default %(default)s)")
    return parser.parse_args(arguments)


def plans_of(case: Case, samples: int, key: Any) -> dict[str, Any]:
    """Policies in the field, by name, and the plan of least exposure itself."""
    prior = dist.Uniform(-case.widths, case.widths).to_event(1)
    for_rewards, for_belief = jax.random.split(key)
    rewards = jnp.concatenate([case.written[None], prior.sample(for_rewards, (300,))])
    proxy = ProxyReward(case.written, case.train.mdp, beta=5.0, alternatives=rewards)
    belief = posterior.importance(proxy, prior=prior, num_samples=samples, key=for_belief)
    mdp = case.field.mdp
    careful = planning.plan_least_exposure(mdp, belief)
    rewards = {"literal": case.written, "posterior mean": belief.mean(), "oracle": case.meant}
    found = {name: solve(mdp, mdp.reward(w)).policy for name, w in rewards.items()}
    return found | {"least exposure": careful.policy, "plan": careful}


def judged(case: Case, policy: Any) -> tuple[float, float, float]:
    """Probability of the hazard and of the goal, and regret: 0 is the best, 1 a policy that acts at random."""
    mdp, reward = case.field.mdp, case.field.mdp.reward(case.meant)
    best = float(solve(mdp, reward).value @ mdp.initial)
    random = float(policy_return(mdp, uniform_policy(mdp), reward))
    lost = (best - float(policy_return(mdp, policy, reward))) / (best - random) if best > random else 0.0
    entered, reached = (float(visit_probability(mdp, policy, x)) for x in (case.entered, case.field.goal))
    return entered, reached, lost


def chosen(cases: Sequence[Case], options: argparse.Namespace) -> list[Case]:
    """The cases to try: maps of one size and horizon share what is compiled."""

    def size(case: Case) -> tuple[int | None, ...]:
        return (*case.field.terrain.shape, case.field.mdp.horizon)

    return [case for case in cases if options.all or size(case) == size(cases[0])][: options.maps]


def tried(name: str, options: argparse.Namespace) -> tuple[dict[str, Any], tuple[Case, dict[str, Any]]]:
    """One family: what every plan does, mean over its maps, and the first map with its plans."""
    cases = chosen(families()[name], options)
    keys = jax.random.split(jax.random.key(options.seed), len(cases))
    made = [plans_of(case, options.samples, key) for case, key in zip(cases, keys, strict=True)]
    row: dict[str, Any] = {
        plan: np.mean([judged(c, p[plan]) for c, p in zip(cases, made, strict=True)], axis=0).tolist() for plan in PLANS
    }
    row |= {"exposure": float(np.mean([float(p["plan"].exposure) for p in made])), "maps": len(cases)}
    jax.clear_caches()  # no other family is of this shape, and programs take memory
    return row, (cases[0], made[0])


@_style.drawing
def sheet(shown: dict[str, tuple[Case, dict[str, Any]]]) -> Figure:
    """One map of each family, with the walks of three plans."""
    columns = 4
    rows = -(-len(shown) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(_style.WIDTH, 2.1 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (name, (case, plans)) in zip(axes.flat, shown.items(), strict=False):
        axis.set_axis_on()
        paths = {plan: case.field.most_likely_paths(plans[plan], num_steps=60) for plan in WALKS}
        case.field.plot(ax=axis, legend=False, trajectories=paths, title=name)
        axis.title.set_fontsize(9)
        axis.set(xticks=[], yticks=[])
    handles, names = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3)
    return figure


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began, options, console = time.perf_counter(), parse(arguments), Console(width=max(110, Console().width))
    unknown = [name for name in options.families if name not in families()]
    if unknown:
        raise SystemExit(f"error: there is no family {', '.join(unknown)}; there are {', '.join(families())}.")
    rows, shown = {}, {}
    with _report.progress(console) as bar, ThreadPoolExecutor(2) as pool:  # compiling takes most of it, and one core
        job = bar.add_task("families", total=len(options.families))
        jobs = [pool.submit(tried, name, options) for name in options.families]
        for name, each in zip(options.families, jobs, strict=True):
            rows[name], shown[name] = each.result()
            bar.advance(job)
    console.print(conclusion(rows))
    console.print(table(rows))
    picture = _style.save(sheet(shown), options.out / "worlds.png")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "worlds.md").write_text(page(rows, options), encoding="utf-8")
    settings = {"maps": options.maps, "all": options.all, "samples": options.samples, "families": options.families}
    manifest = _report.save(options.out, began, settings, options.seed, {"families": rows}, pictures=[picture])
    console.print(_report.told(manifest, options.out))
    return manifest


def conclusion(rows: dict[str, Any]) -> str:
    """What came out, in words."""
    fine = [name for name, row in rows.items() if row["least exposure"][2] <= row["oracle"][2] + 0.02]
    rest = [f"{name} ({row['least exposure'][2]:.2f})" for name, row in rows.items() if name not in fine]
    literal = [name for name, row in rows.items() if row["literal"][2] > row["oracle"][2] + 0.02]
    met = [name for name, row in rows.items() if row["exposure"] > 0.01]
    return (
        f"The plan of least exposure is within .02 of the best regret on {len(fine)} of {len(rows)} families; the "
        f"literal plan is not on {len(literal)}.\n"
        + (f"It falls short on {', '.join(rest)}.\n" if rest else "")
        + (f"It could not avoid the unknown, and says so, on {', '.join(met)}." if met else "It met nothing unknown.")
    )


def cell(measures: Sequence[float]) -> str:
    """Hazard, goal and regret, rounded, none of them -0.00."""
    return " ".join(f"{x + 0.0:.2f}" for x in np.round(measures, 2))


def page(rows: dict[str, Any], options: argparse.Namespace) -> str:
    """The table as a page of the documentation."""
    asked = f"python -m examples.worlds{' --all' * options.all} --maps {options.maps} --seed {options.seed}"
    lines = [
        "# Maps by others",
        "",
        f"Made by `{asked}`. Each cell: probability of entering the hazard, of reaching the goal,",
        "and regret (0 is the best policy, 1 one that acts at random), mean over the maps of a family. In the families",
        "called moss and decoration what was never seen is harmless. [What the planner does](../planning.md).",
        "",
        f"| family | maps | {' | '.join(PLANS)} | exposure |",
        f"|---|---:|{'---:|' * len(PLANS)}---:|",
    ]
    for name, row in rows.items():
        cells = " | ".join(cell(row[plan]) for plan in PLANS)
        lines.append(f"| {name} | {row['maps']} | {cells} | {row['exposure']:.2f} |")
    return "\n".join([*lines, "", conclusion(rows), ""])


def table(rows: dict[str, Any]) -> Table:
    """Hazard, goal and regret of every plan."""
    shown = Table(title="hazard entered, goal reached, regret; mean over maps", padding=(0, 1), box=box.SIMPLE)
    shown.add_column("family", no_wrap=True)
    shown.add_column("maps", justify="right")
    for plan in PLANS:
        shown.add_column(plan, justify="right", no_wrap=True)
    shown.add_column("exposure", justify="right")
    for name, row in rows.items():
        shown.add_row(name, str(row["maps"]), *(cell(row[plan]) for plan in PLANS), f"{row['exposure']:.2f}")
    return shown


if __name__ == "__main__":
    main()
