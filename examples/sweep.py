"""A phase diagram of caution: where the recommended planner keeps out of lava, and where it no longer arrives.

Three things vary: how good the designer is (β), how cautious the robot is (α), and how much of the field
is lava. Every cell of the diagram is the mean over the same random maps.

    python -m examples.sweep

It may be killed and started again, a pool of processes may compute it (`--workers`), and several programs may share
one store (`--shard`).
"""

import argparse
import contextlib
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

import mdps
from examples import _report, _style
from examples.lavaland import planners
from examples.lavaland.trial import PROXY, rates, world
from ird import sweep

GRID = {"beta": [0.5, 2.0, 5.0, 20.0], "alpha": [0.05, 0.12, 0.25, 0.5, 1.0], "lava_share": [0.02, 0.05, 0.2]}
SMALL = {"beta": [1.0, 5.0], "alpha": [0.12, 1.0], "lava_share": [0.05, 0.2]}


def trial(
    key: jax.Array, *, beta: Any, alpha: Any, lava_share: Any, alternatives: int, samples: int
) -> dict[str, jax.Array]:
    """One designer and one field: what the careful planner does there, and whether the literal one enters lava."""
    made = world(key, beta=beta, lava_share=lava_share, alternatives=alternatives, samples=samples)
    field, mdp = made.field, made.field.mdp
    careful = rates(field, planners.by_step(mdp, made.belief, alpha, *made.proxies).policy)
    literal = rates(field, mdps.solve(mdp, mdp.reward(field.weights(PROXY))).policy)
    return {"lava": careful.lava, "goal": careful.goal, "literal_lava": literal.lava}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.sweep",
        description="Sweep the careful planner over the designer's β, the robot's α and the share of lava; save the "
        "results as a Zarr store, heat maps and manifest.json. Killed and started again, it goes on where it was.",
    )
    parser.add_argument("--maps", type=int, default=200, help="random maps for each cell (default %(default)s)")
    parser.add_argument("--alternatives", type=int, default=200, help="rewards the designer could have written")
    parser.add_argument("--samples", type=int, default=2000, help="samples of the prior")
    parser.add_argument("--seed", type=int, default=0, help="all chance follows from it (default 0)")
    parser.add_argument("--store", type=Path, help="the store (default: lavaland.zarr in the folder)")
    parser.add_argument("--shard", default="0/1", help="do only share i of n, from 0/n to n-1/n (default %(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="processes that compute (default: this one alone)")
    parser.add_argument("--block", type=int, help="trials between one writing and the next (default: chosen)")
    parser.add_argument("--devices", type=int, help="how many devices to use (default: all)")
    parser.add_argument("--out", type=Path, default=Path("out/sweep"), help="folder (default %(default)s)")
    parser.add_argument("--small", action="store_true", help="a few maps and cells: a look at everything")
    options = parser.parse_args(arguments)
    if options.small:
        options.maps, options.alternatives, options.samples = 4, 10, 50
    return options


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began = time.perf_counter()
    options = parse(arguments)
    grid = SMALL if options.small else GRID
    store = options.store or options.out / ("small.zarr" if options.small else "lavaland.zarr")
    sizes = {"alternatives": options.alternatives, "samples": options.samples}
    try:
        with pool(options.workers) as executor:
            report = sweep.run(
                partial(trial, **sizes),
                grid,
                num_seeds=options.maps,
                key=jax.random.key(options.seed),
                store=store,
                executor=executor,
                block=options.block,
                devices=options.devices,
                shard=options.shard,
            )
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(str(error))
    print(report)
    found, pictures = {}, []
    if report.complete:
        found = {name: array.values for name, array in sweep.arrays(store).items()}
        pictures = [_style.save(draw(found, options.maps), options.out / "sweep.png")]
    else:
        print("The other shards are not done yet; run any of them again when they are, to draw the diagram.")
    about = {name: getattr(report, name) for name in ("trials", "done", "not_a_number")}
    manifest = _report.save(
        options.out,
        began,
        {"grid": grid, "maps": options.maps, **sizes},
        options.seed,
        {"store": str(store), **about, "results": cells(found) if found else []},
        pictures=pictures,
    )
    print(_report.told(manifest, options.out))
    return manifest


def pool(workers: int) -> Any:
    """So many processes, which are no forks of this one; none for 0."""
    if not workers:
        return contextlib.nullcontext()
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def cells(found: dict[str, np.ndarray]) -> list[dict[str, float]]:
    """One row per cell: its settings, and each rate with its standard error over maps."""
    rows = []
    names = list(GRID)
    for place in np.ndindex(*(len(found[name]) for name in names)):
        row = {name: float(found[name][i]) for name, i in zip(names, place, strict=True)}
        for rate in ("lava", "goal", "literal_lava"):
            over = found[rate][place]
            row |= {rate: float(over.mean()), f"{rate}_se": float(over.std(ddof=1) / len(over) ** 0.5)}
        rows.append(row)
    return rows


@_style.drawing
def draw(found: dict[str, np.ndarray], maps: int) -> Figure:
    """Heat maps: lava entered above, goal missed below, darker is worse; a column for each share of lava."""
    betas, alphas, shares = (found[name] for name in GRID)
    size = (_style.WIDTH, 6.4)
    figure, axes = plt.subplots(2, len(shares), figsize=size, layout="constrained", squeeze=False)
    bad = {"lava entered": found["lava"].mean(axis=-1), "goal missed": 1 - found["goal"].mean(axis=-1)}
    literal = found["literal_lava"].mean(axis=-1)
    for line, (title, share), palette in zip(axes, bad.items(), ("Oranges", _style.SHADES), strict=True):
        top = max(share.max(), 1e-9)
        for k, axis in enumerate(line):
            image = axis.imshow(share[:, :, k], origin="lower", aspect="auto", cmap=palette, vmin=0, vmax=top)
            for i, j in np.ndindex(len(betas), len(alphas)):
                colour = "white" if share[i, j, k] > 0.6 * top else _style.INK
                axis.text(j, i, f"{100 * share[i, j, k]:.1f}", ha="center", va="center", color=colour)
            axis.set_xticks(range(len(alphas)), [f"{a:g}" for a in alphas])
            axis.set_yticks(range(len(betas)), [f"{b:g}" for b in betas] if k == 0 else [""] * len(betas))
            axis.tick_params(length=0)
            axis.spines[:].set_visible(False)
        line[0].set_ylabel("β: how good the designer is, 1/return")
        label = f"{title}, share of {maps} maps"
        figure.colorbar(image, ax=line, label=label, aspect=25, format=lambda x, _: f"{100 * x:.0f} %")
    for k, axis in enumerate(axes[0]):
        axis.set_title(f"{100 * shares[k]:g} % of the field is lava\n(literal plan enters it: {literal[0, 0, k]:.0%})")
    figure.supxlabel("α: share of the posterior that counts", fontsize=10)
    return figure


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)  # where there is no accelerator: one for each core
    main()
