"""Process or outcome: how far may an agent look ahead before it hacks, and what if its overseer errs?

MONA's camera dropbox: a box in the hole is worth one, a second box is what nobody wants, and the camera that ends the
run does not see it if a box stands in its way. An agent optimises what the camera pays over its next M steps, and the
overseer's own value of the state to which they lead. All of it is computed: no agent is trained.

Then rewards for steps on random MDPs: the advantage, which asks what the outcome asks, and the action value, which
looks as good.

    python -m examples.process
"""

import argparse
import functools
import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import mdps
from examples import _report, _style
from ird import alignment, sweep
from mdps.worlds import End, safety

GRID = {"steps": [1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20], "noise": [0.02, 0.1, 0.5]}
SMALL = {"steps": [1, 12], "noise": [0.1]}
COLOURS = (_style.AMBER, _style.ORANGE, _style.PINK)


def dropbox() -> dict[str, Any]:
    """The camera dropbox as arrays: the MDP, both rewards, and in which states a run is over."""
    world = safety.camera_dropbox()
    over = jnp.asarray(world.where(lambda state: isinstance(state, End)))
    return {"mdp": world.mdp, "written": world.written, "hidden": world.hidden, "over": over}


def looked(mdp: mdps.MDP, written: jax.Array, hidden: jax.Array, steps: Any, noise: Any = None) -> dict[str, jax.Array]:
    """What an agent does that looks so many steps ahead: share of runs that hack, meant and observed return."""
    found = alignment.myopic(mdp, written, hidden, steps, noise=noise)
    second = mdps.feature_expectations(mdp, found.policy)[mdp.feature_names.index("others")]
    return {"hacks": second, "meant": found.meant, "observed": found.written}


def trial(
    key: jax.Array, *, steps: Any, noise: Any, mdp: mdps.MDP, written: jax.Array, hidden: jax.Array, over: jax.Array
) -> dict[str, jax.Array]:
    """The same under an overseer who misjudges each state by an error of this standard deviation."""
    error = jnp.where(over, 0.0, noise * jax.random.normal(key, over.shape))
    return looked(mdp, written, hidden, steps, error)


def losses(count: int, seed: int) -> dict[str, dict[str, float]]:
    """On how many of so many random MDPs each reward of steps loses true return, with its error, and the worst.

    MDPs of 3 states and 2 actions, small enough to look at every policy; returns are normalised.
    """
    rng, start, gamma = np.random.default_rng(seed), np.full(3, 1 / 3), 0.9
    tables = [(rng.dirichlet(np.full(3, 0.3), (3, 2)), rng.normal(size=(3, 2))) for _ in range(count)]
    moved, outcome = (np.stack(x) for x in zip(*tables, strict=True))
    there = 3 * np.repeat(np.arange(count), 3)[:, None] + np.arange(3)  # side by side, in one MDP
    with jax.enable_x64(True):
        every = mdps.MDP.from_table(
            there,
            moved.reshape(-1, 2, 3),
            outcome.reshape(-1, 2, 1),
            np.full(len(there), 1 / len(there)),
            discount=gamma,
        )
        paid = alignment.process_rewards(every, every.reward(jnp.ones(1)))
        rewards = {name: np.asarray(getattr(paid, name)) for name in ("advantage", "action_value")}
    actions, s = np.array(list(itertools.product(range(2), repeat=3))), np.arange(3)
    solve = np.linalg.inv(np.eye(3) - gamma * moved[:, s, actions])  # [count, 8, 3, 3]
    meant, table = (1 - gamma) * np.einsum("s,npst,npt->np", start, solve, outcome[:, s, actions]), {}
    for name, reward in rewards.items():
        chosen = np.einsum("s,npst,npt->np", start, solve, reward.reshape(outcome.shape)[:, s, actions]).argmax(axis=1)
        lost = meant.max(axis=1) - meant[np.arange(count), chosen]
        share, error = _report.mean_and_error(lost > 1e-9)
        table[name] = {"share": share, "error": error or 0.0, "worst": float(lost.max())}
    return table


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Every curve."""
    grid = SMALL if options.small else GRID
    ahead, world = jnp.arange(1, max(grid["steps"]) + 1), dropbox()
    with console.status("looking ahead"):
        at_all = jax.vmap(functools.partial(looked, *(world[name] for name in ("mdp", "written", "hidden"))))
        exact = {name: np.asarray(x) for name, x in at_all(ahead).items()}
        paid = losses(options.mdps, options.seed)
    report = sweep.run(
        trial,
        grid,
        num_seeds=options.overseers,
        key=jax.random.key(options.seed),
        given=world,
        store=options.out / f"{len(grid['steps'])}-{options.overseers}-{options.seed}.zarr",
    )
    console.print(str(report))
    noisy = {name: np.asarray(array.values) for name, array in sweep.arrays(report.store).items()}
    return {"steps": np.asarray(ahead), "exact": exact, "noisy": noisy, "paid": paid}


def conclusion(found: dict[str, Any]) -> str:
    """What came out, in words."""
    exact, steps = found["exact"], found["steps"]
    honest = int(steps[exact["hacks"] < 1e-3].max())
    always = [int(M) for M, share in zip(steps, exact["hacks"], strict=True) if share > 1 - 1e-3]
    lines = [
        f"An agent that looks up to {honest} steps ahead never hacks, and gets {exact['meant'][honest - 1]:.3f} of "
        "what is meant, the most there is. "
        + (f"From {always[0]} on it always does. " if always else "")
        + f"At {steps[-1]} it gets {exact['meant'][-1]:.2f}, while the camera pays {exact['observed'][-1]:.2f}."
    ]
    for i, noise in enumerate(found["noisy"]["noise"]):
        meant = found["noisy"]["meant"][:, i]
        best = int(np.argmax(meant.mean(axis=1)))
        top, near = (_report.plus_minus(*_report.mean_and_error(meant[k])) for k in (best, 0))
        far = found["noisy"]["steps"][best]
        lines.append(
            f"Under overseers who misjudge states by {noise:g} the best is to look {far} steps ahead ({top}); one step "
            f"ahead gets {near}."
        )
    action, advantage = found["paid"]["action_value"], found["paid"]["advantage"]
    lines.append(
        f"Paid by the step, the advantage loses true return on {advantage['share']:.1%} of the random MDPs, the action "
        f"value on {action['share']:.1%} ±{action['error']:.1%}, up to {action['worst']:.2f} a step."
    )
    return "\n".join(lines)


def table(found: dict[str, Any]) -> Table:
    """The exact curve."""
    shown = Table(title="Camera dropbox, an overseer who does not err")
    for head in ("M", "share that hacks", "meant", "observed"):
        shown.add_column(head, justify="right")
    for i, M in enumerate(found["steps"]):
        shown.add_row(str(M), *(f"{found['exact'][name][i]:.4f}" for name in ("hacks", "meant", "observed")))
    return shown


@_style.drawing
def draw(found: dict[str, Any]) -> Figure:
    """Without error, above: who hacks, and both returns; below the same for overseers who err."""
    figure, axes = plt.subplots(2, 2, figsize=(_style.WIDTH, 6.2), layout="constrained", sharex=True)
    exact, steps, ahead = found["exact"], found["steps"], found["noisy"]["steps"]
    axes[0, 0].plot(steps, exact["hacks"], "o-", color=_style.INK)
    axes[0, 0].set(title="The overseer does not err", ylabel="share of runs that hack")
    axes[0, 1].plot(steps, exact["observed"], "--", color=_style.ORANGE, label="observed")
    axes[0, 1].plot(steps, exact["meant"], color=_style.BLUE, linewidth=2.4, label="meant")
    axes[0, 1].set(title="What is observed, and what is meant", ylabel="return")
    axes[0, 1].legend(loc="upper left")
    for j, (name, label) in enumerate((("hacks", "share of runs that hack"), ("meant", "meant return"))):
        axis = axes[1, j]
        axis.plot(steps, exact[name], color=_style.GREY, label="none")
        for i, noise in enumerate(found["noisy"]["noise"]):
            values = found["noisy"][name][:, i]
            error = values.std(axis=1, ddof=1) / values.shape[1] ** 0.5
            axis.errorbar(ahead, values.mean(axis=1), error, fmt="o-", color=COLOURS[i], label=f"{noise:g}")
        axis.set(xlabel="M: steps that the agent looks ahead", ylabel=label)
        axis.set_title("The overseer errs" if j == 0 else "What is meant, when the overseer errs")
    axes[1, 0].legend(title="error of a state's\napproval, sd")
    for axis in axes.flat:
        axis.set_xticks(range(0, int(steps[-1]) + 1, 4))
        axis.grid()
    return figure


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began = time.perf_counter()
    parser = argparse.ArgumentParser(
        prog="python -m examples.process",
        description="Let agents look M steps ahead in MONA's camera dropbox, under overseers who err and one who does "
        "not; and pay for steps on random MDPs. Prints a table, saves a picture, a sweep's store and manifest.json.",
    )
    parser.add_argument("--overseers", type=int, default=20, help="draws of an overseer's errors (default %(default)s)")
    parser.add_argument("--mdps", type=int, default=2000, help="random MDPs (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="all chance follows from it (default 0)")
    parser.add_argument("--small", action="store_true", help="few steps and one error: a look at everything")
    parser.add_argument("--out", type=Path, default=Path("out/process"), help="folder (default %(default)s)")
    options = parser.parse_args(arguments)
    if options.overseers < 2 or options.mdps < 2:
        parser.error("--overseers and --mdps must be at least 2")
    console = Console(width=max(110, Console().width))
    try:
        found = run(options, console)
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(str(error))
    console.print(conclusion(found))
    console.print(table(found))
    picture = _style.save(draw(found), options.out / "process.png")
    kept = ("hacks", "meant", "observed")
    noisy = {name: (x.mean(axis=-1) if name in kept else x).tolist() for name, x in found["noisy"].items()}
    noisy = {name: noisy[name] for name in ("steps", "noise", *kept)}
    results = {"steps": found["steps"].tolist(), "exact": {k: x.tolist() for k, x in found["exact"].items()}}
    results |= {"noisy": noisy, "paid": found["paid"]}
    settings = {"overseers": options.overseers, "mdps": options.mdps, "small": options.small}
    manifest = _report.save(options.out, began, settings, options.seed, results, pictures=[picture])
    console.print(_report.told(manifest, options.out))
    return manifest


if __name__ == "__main__":
    main()
