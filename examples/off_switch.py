"""Both sides of an off-switch know something that the other does not: does the robot still wait? Exact, on small games.

A script that a robot runs itself although the human makes no mistake; 1,000 random games, in which a bit sent before
and a clearer sight never lower what both are paid, but may lower how often the robot waits; and a search for the
smallest game in which one bit makes it wait less in every optimal pair of plans.

    python -m examples.off_switch
"""

import argparse
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from cirl.games import private_off_switch
from cirl.games.private_off_switch import Bit
from examples import _report, _style

BITS = {"nobody": Bit.NONE, "the human": Bit.FROM_HUMAN, "the robot": Bit.FROM_ROBOT}
DOES = {0: ("acts", _style.ORANGE), 1: ("waits", _style.BLUE), 2: ("switches off", _style.GREY)}
EQUAL = 1e-9


def script() -> dict[str, Any]:
    """The script game: who may send a bit, what both are paid, how often the robot waits."""
    found = {name: private_off_switch.script().best(bit) for name, bit in BITS.items()}
    return {name: {"value": x.value, "least": x.least, "most": x.most} for name, x in found.items()}


def at_random(count: int, seed: int) -> dict[str, dict[str, float]]:
    """What a bit, or a clearer sight, does in random games of five states and three things to see on either side."""
    rng, sets = np.random.default_rng(seed), max(1, count // 20)
    names = ("a bit from the human", "a bit from the robot", "a human who sees more", "a robot that sees more")
    rows = {name: {"paid more": 0, "paid less": 0, "waits less": 0, "waits more": 0} for name in names}
    for _ in range(sets):
        utilities, prior = rng.normal(size=(20, 5)), rng.dirichlet(np.ones(5))
        human, robot = rng.dirichlet(np.full(3, 0.3), 5), rng.dirichlet(np.full(3, 0.3), 5)
        blurs = rng.dirichlet(np.full(2, 0.5), (2, 3))
        asked = [(human, robot, bit) for bit in BITS.values()]
        asked += [(human @ blurs[0], robot, Bit.NONE), (human, robot @ blurs[1], Bit.NONE)]
        plain, *told, human_blurred, robot_blurred = (
            private_off_switch.outcomes(utilities, prior, human_sees=h, robot_sees=r, bit=bit) for h, r, bit in asked
        )
        steps = [(plain, told[0]), (plain, told[1]), (human_blurred, plain), (robot_blurred, plain)]
        for name, (poor, rich) in zip(names, steps, strict=True):
            rows[name]["paid more"] += int((rich.value > poor.value + EQUAL).sum())
            rows[name]["paid less"] += int((rich.value < poor.value - EQUAL).sum())
            rows[name]["waits less"] += int((rich.most < poor.least - EQUAL).sum())
            rows[name]["waits more"] += int((rich.least > poor.most + EQUAL).sum())
    games = 20 * sets
    return {name: {key: x / games for key, x in row.items()} | {"games": games} for name, row in rows.items()}


def labels(states: int) -> Iterator[tuple[int, ...]]:
    """Every way to tell states apart, or not: what is seen in each, named in order of appearance."""

    def longer(told: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if len(told) == states:
            yield told
        else:
            for each in range(max(told, default=-1) + 2):
                yield from longer((*told, each))

    return longer(())


def search(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """The smallest game in which a bit makes the robot wait less in all optimal pairs: fewest states, then sights."""
    payoffs = sorted({sign * x for x in options.payoffs for sign in (1, -1)})
    tried, found = 0, []
    for states in range(1, options.states + 1):
        # States are equally likely, so that their order does not matter.
        utilities = np.array(list(itertools.combinations_with_replacement(payoffs, states)))
        ways, prior = list(labels(states)), np.full(states, 1 / states)
        with _report.progress(console, transient=True) as bar:
            for human, robot in bar.track(list(itertools.product(ways, ways)), description=f"{states} states"):
                sees = {"human_sees": human, "robot_sees": robot}
                before = private_off_switch.outcomes(utilities, prior, **sees)
                tried += len(utilities)
                for name, bit in list(BITS.items())[1:]:
                    after = private_off_switch.outcomes(utilities, prior, **sees, bit=bit)
                    for i in np.flatnonzero(after.most < before.least - EQUAL):
                        size = (max(human) + max(robot) + 2, np.abs(utilities[i]).max(), np.abs(utilities[i]).sum())
                        found.append((*map(float, size), name, utilities[i].tolist(), human, robot))
        if found:
            break
    found.sort(key=lambda x: x[:3])
    return {"games": tried, "states": states, "found": len(found), "by": found[0][3:] if found else None,
            "senders": {name: sum(x[3] == name for x in found) for name in list(BITS)[1:]}}  # fmt: skip


def smallest(found: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    """The game that the search found, and optimal play without and with the bit."""
    if found["by"] is None:
        return None
    sender, utility, human, robot = found["by"]
    game = private_off_switch.game(
        utility, np.full(len(utility), 1 / len(utility)), human_sees=list(human), robot_sees=list(robot)
    )
    return game, {"without": game.best(), "with": game.best(BITS[sender]), "sender": sender}


def conclusion(found: dict[str, Any], play: tuple[Any, dict[str, Any]] | None) -> str:
    """What came out, in words."""
    alone, rows, search = found["script"]["nobody"], found["at random"], found["search"]
    human, robot = rows["a bit from the human"], rows["a bit from the robot"]
    fell = sum(row["paid less"] for row in rows.values())
    said = (
        f"The robot that knows the script runs it itself in half of the cases and is worth {alone['value']:g}; always "
        f"waiting would be worth 1.5, though the human makes no mistake. In {human['games']:,} random games neither a "
        f"bit nor a clearer sight {'ever lowered' if fell == 0 else 'seldom lowered'} what both are paid. A bit from "
        f"the human made the robot wait less in {human['waits less']:.1%} and more in {human['waits more']:.1%}, one "
        f"from the robot less in {robot['waits less']:.1%} and more in {robot['waits more']:.1%}. "
    )
    if play is None:
        return said + f"Among {search['games']:,} games of up to {search['states']} states no bit made it wait less."
    _, plays = play
    without, with_it = plays["without"], plays["with"]
    return said + (
        f"The smallest game found in which one bit makes it wait less in every optimal pair has {search['states']} "
        f"states ({search['found']} of {search['games']:,} games tried): {plays['sender']} sends it, both are paid "
        f"{with_it.value:g} instead of {without.value:g}, and the robot waits with probability {with_it.least:g} to "
        f"{with_it.most:g} instead of {without.most:g}."
    )


def table(game: private_off_switch.PrivateOffSwitch) -> Table:
    """The game, state by state."""
    shown = Table(title="The smallest game found")
    for head in ("state", "worth", "the human sees", "the robot sees"):
        shown.add_column(head, justify="right")
    for s, u in enumerate(game.utility):
        shown.add_row(str(s), f"{u:g}", str(game.human_sees[s].argmax()), str(game.robot_sees[s].argmax()))
    return shown


@_style.drawing
def draw(found: dict[str, Any], play: tuple[Any, dict[str, Any]]) -> Figure:
    """What the robot does in the smallest game, without and with the bit; and waiting in random games."""
    game, plays = play
    figure, panels = plt.subplot_mosaic([["without", "random"], ["with", "random"]], layout="constrained",
                                        figsize=(_style.WIDTH, 4.2), width_ratios=(1, 1.2))  # fmt: skip
    human, robot = game.human_sees.argmax(axis=1), game.robot_sees.argmax(axis=1)
    for name in ("without", "with"):
        axis, played = panels[name], plays[name]
        for s, u in enumerate(game.utility):
            sent = (
                0
                if played.message is None
                else played.message[human[s] if plays["sender"] == "the human" else robot[s]]
            )
            act = played.robot[robot[s], sent if played.robot.shape[1] > 1 else 0]
            axis.add_patch(
                plt.Rectangle((human[s], robot[s]), 1, 1, facecolor=DOES[act][1], alpha=0.75, edgecolor="white")
            )
            axis.text(human[s] + 0.5, robot[s] + 0.5, f"{u:+g}", ha="center", va="center", fontsize=13, color="white")
        size = game.human_sees.shape[1], game.robot_sees.shape[1]
        ticks = [np.arange(n) + 0.5 for n in size]
        axis.set(xlim=(0, size[0]), ylim=(size[1], 0), aspect="equal", ylabel="the robot sees",
                 title=f"{name.capitalize()} the bit: worth {played.value:g}")  # fmt: skip
        axis.set_xlabel("the human sees" if name == "with" else "")
        axis.set_xticks(ticks[0], map(str, range(size[0])))
        axis.set_yticks(ticks[1], map(str, range(size[1])))
    handles = [
        plt.Rectangle((0, 0), 1, 1, facecolor=colour, alpha=0.75, label=f"it {name}") for name, colour in DOES.values()
    ]
    panels["with"].legend(handles=handles, loc="center left", bbox_to_anchor=(1.05, 1.2))
    rows = found["at random"]
    at = np.arange(len(rows))
    for shift, key, colour in ((-0.2, "waits less", _style.ORANGE), (0.2, "waits more", _style.BLUE)):
        panels["random"].barh(at + shift, [100 * row[key] for row in rows.values()], 0.36, color=colour, label=key)
    panels["random"].set_yticks(at, rows)
    panels["random"].invert_yaxis()
    panels["random"].set(xlabel="% of random games", title="The robot, in every optimal pair")
    panels["random"].legend(loc="upper right")
    panels["random"].grid(axis="x")
    return figure


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.off_switch",
        description="Off-switch games in which both sides have private knowledge: when does the robot not wait, and "
        "can a bit make it wait less? Prints a conclusion and the smallest such game, saves a picture and "
        "manifest.json.",
    )
    parser.add_argument("--states", type=int, default=5, help="search up to so many states (default %(default)s)")
    parser.add_argument("--payoffs", type=int, nargs="+", default=[1, 2],
                        help="sizes of payoffs, of either sign, that are tried (default %(default)s)")  # fmt: skip
    parser.add_argument("--games", type=int, default=1000, help="random games (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the random games (default 0)")
    parser.add_argument("--out", type=Path, default=Path("out/off_switch"), help="folder (default %(default)s)")
    options = parser.parse_args(arguments)
    if not 1 <= options.states <= 6 or options.games < 20 or min(options.payoffs) < 1:
        parser.error("--states must be 1 to 6, --games at least 20, and --payoffs at least 1")
    return options


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began, options = time.perf_counter(), parse(arguments)
    console = Console(width=max(110, Console().width))
    found = {
        "script": script(),
        "at random": at_random(options.games, options.seed),
        "search": search(options, console),
    }
    play = smallest(found["search"])
    console.print(conclusion(found, play))
    pictures = []
    if play is not None:
        console.print(table(play[0]))
        pictures = [_style.save(draw(found, play), options.out / "private_off_switch.png")]
    settings = {name: getattr(options, name) for name in ("states", "payoffs", "games")}
    manifest = _report.save(options.out, began, settings, options.seed, found, pictures=pictures)
    console.print(_report.told(manifest, options.out))
    return manifest


if __name__ == "__main__":
    main()
