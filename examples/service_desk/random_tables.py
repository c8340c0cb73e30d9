"""Tables that nobody tuned: every chance of the desk moved by chance, and escalating good or bad."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from examples.service_desk.agents import (
    World,
    at_random,
    collected,
    inferred,
    least_exposure,
    literal,
    never_close_unresolved,
)
from examples.service_desk.desk import Desk

OTHERS, CAREFUL = ("literal", "posterior mean", "never close unresolved"), "least exposure"
AGENTS = (*OTHERS, CAREFUL)
WIDTH = 0.3  # a chance is drawn from so far around the table's, within [.01, .99]
ALIKE = 1e-3  # regrets that differ by less are a tie


@dataclass(frozen=True)
class Found:
    """What came out on one table.

    Attributes:
        desk: the table.
        regret: of each of `AGENTS` in deployment.
    """

    desk: Desk
    regret: dict[str, float]


def drawn(desk: Desk, rng: np.random.Generator) -> Desk:
    """A desk at random; only that every answer was right in training stays, which is what training was."""

    def moved(chance: float) -> float:
        return round(float(np.clip(chance + rng.uniform(-WIDTH, WIDTH), 0.01, 0.99)), 3)

    table, trained = desk.table, desk.table["cases"]["training"]
    right = {kind: row if kind in trained else [moved(x) for x in row] for kind, row in table["right"].items()}
    annoys, returns = ({name: moved(x) for name, x in table[part].items()} for part in ("annoys", "returns"))
    worth = abs(table["meant"]["escalated"])
    meant = table["meant"] | {"escalated": float(rng.choice([-worth, worth]))}
    return desk.changed(right=right, annoys=annoys, returns=returns, meant=meant)


def tried(desk: Desk, tables: int, *, alternatives: int, samples: int, seed: int) -> Iterator[Found]:
    """How the agents do on so many tables drawn around one; two at a time, because that is what is compiled."""
    rng, key = np.random.default_rng(seed), jax.random.key(seed)
    for first in range(0, tables, 2):
        desks = [drawn(desk, rng) for _ in range(2)]
        keys = jax.random.split(jax.random.fold_in(key, first), 2)
        yield from list(_on_two(desks, keys, alternatives, samples))[: tables - first]


def _on_two(desks: list[Desk], keys: Any, alternatives: int, samples: int) -> Iterator[Found]:
    worlds = [World.of(desk) for desk in desks]
    beliefs = [
        inferred(world.one("training"), world.written, world.worth, key, alternatives=alternatives, samples=samples)[1]
        for world, key in zip(worlds, keys, strict=True)
    ]
    both = jax.tree.map(lambda *x: jnp.stack(x), *(world.one("deployment") for world in worlds))
    shared = {"literal": literal(both, worlds[0].written), "random": at_random(both)}
    shared[CAREFUL] = least_exposure(both, *beliefs).policy
    shared["never close unresolved"] = literal(never_close_unresolved(both, desks[0]), worlds[0].written)
    for i, (world, belief) in enumerate(zip(worlds, beliefs, strict=True)):
        own = {"posterior mean": literal(both, belief.mean()), "best": literal(both, world.meant)}
        returns = {name: float(collected(both, p)[i] @ world.meant) for name, p in (shared | own).items()}
        most, random = returns["best"], returns["random"]
        regret = {name: (most - returns[name]) / (most - random) for name in AGENTS}
        yield Found(world.desk, regret)


def shares(found: list[Found]) -> dict[str, dict[str, float]]:
    """On what share of the tables the plan of least exposure does better than each other agent, as well, and worse."""
    made = {}
    for other in OTHERS:
        gap = np.asarray([each.regret[other] - each.regret[CAREFUL] for each in found])
        better, worse = float(np.mean(gap > ALIKE)), float(np.mean(gap < -ALIKE))
        made[other] = {"better": better, "alike": 1 - better - worse, "worse": worse}
    return made


def described(table: dict[str, Any]) -> str:
    """The chances that were drawn, in a line."""
    right = "/".join(f"{x:.2f}" for x in table["right"]["fault"])
    annoys = ", ".join(f"{name.replace('_', ' ')} {x:.2f}" for name, x in table["annoys"].items())
    return (
        f"answers right {right} after 0/1/2 questions; annoys: {annoys}; comes back {table['returns']['wrong']:.2f}; "
        f"escalated {table['meant']['escalated']:+.0f}"
    )
