"""Rooms that somebody has acted in: what their state says of what is wanted, beside penalties that know nothing of it.

Four ways to fill the gaps of a written reward: not at all, by a penalty on any change of the features, by relative
reachability against inaction, and by what the state of the room says under the person who left it so.

    python -m examples.rooms
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.table import Table

from examples import _report, _style
from ird import evidence, impact
from mdps import MDP
from mdps.worlds import rooms
from mdps.worlds.rooms import Room

ROOMS: dict[str, Callable[[], Room]] = {
    "room": rooms.vase,
    "train": rooms.train,
    "apples": rooms.apples,
    "batteries, easy": lambda: rooms.batteries(easy=True),
    "batteries, hard": rooms.batteries,
    "far vase": rooms.far_vase,
}
WAYS = ("written", "deviation", "reachability", "state of the room")
STAY = list(rooms.WAYS).index("stay")
PRIOR_SD, RATE, EPOCHS, LIVING = 0.5, 0.1, 50, 1.0  # as the code published with Shah et al. (2019) has them
DEVIATION = 0.5  # weight of the distance of features from those that were found


def planned(mdp: MDP, reward: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Least and greatest true return of the plans that are best for a reward, each `[S, A]`."""
    table, chance = np.asarray(mdp.next_state), np.asarray(mdp.probability, float)
    best = low = high = np.zeros(mdp.num_states)
    for _ in range(mdp.horizon or 0):
        q = reward + np.einsum("sad,sd->sa", chance, best[table])
        best, fair = q.max(axis=1), q >= q.max(axis=1, keepdims=True) - 1e-9
        a, b = (true + np.einsum("sad,sd->sa", chance, v[table]) for v in (low, high))
        low, high = np.where(fair, a, np.inf).min(axis=1), np.where(fair, b, -np.inf).max(axis=1)
    start = np.asarray(mdp.initial)
    return float(low @ start), float(high @ start)


@jax.jit
def slope(found: evidence.InitialState, weights: jax.Array) -> jax.Array:
    """Gradient of the log posterior: of the state that was found, and of a Gaussian prior around 0."""
    likely = jax.grad(lambda w: found.log_likelihood(w[None])[0])(weights)
    return likely - weights / PRIOR_SD**2


def inferred(room: Room, seed: int) -> np.ndarray:
    """What the state of the room says, by gradient ascent from a small random start, the original's, `[K]`."""
    found = evidence.InitialState(room.past, room.state)
    weights = 0.01 * np.random.RandomState(seed).randn(room.mdp.num_features)
    for _ in range(EPOCHS):
        step = np.asarray(slope(found, jnp.asarray(weights)))
        weights = weights + RATE * step
        if np.linalg.norm(step) < 1e-3:
            break
    return weights


def judged(room: Room, seed: int) -> dict[str, Any]:
    """Of each way, the share of the largest true return (least and greatest where ties leave a choice)."""
    mdp, features = room.mdp, np.asarray(room.mdp.features, float)
    A = mdp.num_actions

    def by_action(reward):
        return np.repeat(reward[:, None], A, axis=1)

    told, true = (features @ np.asarray(w, float) for w in (room.written, room.true))
    _, best = planned(mdp, by_action(true), by_action(true))
    steps = LIVING * (mdp.horizon or 0)

    def share(mdp, reward, true):
        return [(x + steps) / (best + steps) for x in planned(mdp, reward, true)]

    away = np.linalg.norm(features - features[room.state], axis=1)
    learnt = inferred(room, seed)
    made: dict[str, Any] = {
        "written": share(mdp, by_action(told), by_action(true)),
        "deviation": share(mdp, by_action(told - DEVIATION * away), by_action(true)),
        "reachability": None,  # it needs moves that are certain
        "state of the room": share(mdp, by_action(told + features @ learnt), by_action(true)),
        "inferred": dict(zip(mdp.feature_names, learnt.tolist(), strict=True)),
    }
    if room.title != "apples":
        penalty = impact.relative_reachability(mdp, noop=STAY, baseline=impact.Inaction())
        careful = impact.penalised(mdp, penalty / max(float(jnp.max(penalty)), 1e-9), noop=STAY)
        counts = np.asarray(careful.features, float)
        rewards = (counts @ np.append(np.asarray(w, float), x) for w, x in ((room.written, -1.0), (room.true, 0.0)))
        made["reachability"] = share(careful, *rewards)
    return made


def shown(cell: Sequence[float] | None) -> str:
    """A share, or two where ties leave a choice."""
    if cell is None:
        return "–"
    low, high = (f"{x:.3f}" for x in cell)
    return low if low == high else f"{low}…{high}"


def table(found: dict[str, Any]) -> Table:
    """The rooms, and each way's share of the best."""
    made = Table(title="share of the largest true return, +1 a step", padding=(0, 1), box=box.SIMPLE)
    for name in ("room", *WAYS):
        made.add_column(name, justify="left" if name == "room" else "right")
    for name, row in found.items():
        made.add_row(name, *(shown(row[way]) for way in WAYS))
    return made


@_style.drawing
def draw(found: dict[str, Any]) -> Figure:
    """What each way gets in each room; a thin line up to what better ties would get."""
    figure, axis = plt.subplots(figsize=(_style.WIDTH, 3.6), layout="constrained")
    colours = (_style.GREY, _style.AMBER, _style.GREEN, _style.BLUE)
    for i, (way, colour) in enumerate(zip(WAYS, colours, strict=True)):
        for j, row in enumerate(found.values()):
            if row[way] is None:
                axis.text(j + 0.2 * (i - 1.5), 0.02, "–", ha="center", color=colour)
                continue
            low, high = row[way]
            at = j + 0.2 * (i - 1.5)
            axis.bar(at, low, 0.18, color=colour, label=way if j == 0 else None)
            axis.vlines(at, low, high, color=colour, lw=1.5)
    axis.set(ylim=(0, 1.02), ylabel="share of the largest true return")
    axis.set_xticks(range(len(found)), list(found))
    axis.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def conclusion(found: dict[str, Any]) -> str:
    """What came out, in words."""
    said = {way: [name for name, row in found.items() if row[way] and row[way][0] > 0.99] for way in WAYS}
    lines = (f"{way} in {len(names)}{f' ({chr(59).join(names)})' if names else ''}" for way, names in said.items())
    return f"Of {len(found)} rooms the best is reached, however ties are broken, by: {', '.join(lines)}."


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began = time.perf_counter()
    parser = argparse.ArgumentParser(
        prog="python -m examples.rooms",
        description="Infer what is wanted from the state in which somebody left a room, and plan with it; beside the "
        "written reward and two penalties. Prints a table, saves a picture and manifest.json.",
    )
    parser.add_argument("--only", nargs="+", metavar="ROOM", choices=ROOMS, help="these rooms (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of where gradient ascent begins (default 0)")
    parser.add_argument("--out", type=Path, default=Path("out/rooms"), help="folder (default %(default)s)")
    options = parser.parse_args(arguments)
    if options.seed < 0:
        parser.error(f"--seed is {options.seed}; give at least 0.")
    console, found = Console(width=max(110, Console().width)), {}
    names = options.only or list(ROOMS)
    with _report.progress(console) as bar, jax.enable_x64(True):
        job = bar.add_task("rooms", total=len(names))
        for name in names:
            found[name] = judged(ROOMS[name](), options.seed)
            bar.advance(job)
    console.print(conclusion(found))
    console.print(table(found))
    picture = _style.save(draw(found), options.out / "rooms.png")
    manifest = _report.save(options.out, began, {"rooms": names}, options.seed, {"rooms": found}, pictures=[picture])
    console.print(_report.told(manifest, options.out))
    return manifest


if __name__ == "__main__":
    main()
