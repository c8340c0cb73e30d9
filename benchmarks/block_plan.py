"""A sweep of 10^9 trials on 1,000 workers, on paper: no trial is run, only its blocks are moved.

    python -m benchmarks.block_plan

What a block costs in bytes is measured on real messages and real files.  Time is simulated: each worker has up to two
blocks, one of which it computes; the caller takes answers one after another, writes each and hands out the next block.
The caller's time for a block is an argument; `benchmarks/results/sweep.md` has what it is on one machine.
"""

import argparse
import heapq
import pickle
from collections import deque
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from ird.sweep.axes import Axes, Blocks, check_axes, chunk_of
from ird.sweep.engines import AHEAD, Engine, Job
from ird.sweep.opening import identity
from ird.sweep.spread import Spread
from ird.sweep.stores import Store
from ird.sweep.trials import examine

ENOUGH = 20_000  # blocks after which the simulated rate no longer changes


class Plan(NamedTuple):
    """Figures of one block size.

    Attributes:
        blocks: how many there are.
        files: files in the store.
        sent: bytes of a block's message to a worker.
        answered: bytes of its answer.
        rate: blocks per second.
        busy: share of the workers' time in which they compute.
        hours: how long it takes.
    """

    blocks: int
    files: int
    sent: int
    answered: int
    rate: float
    busy: float
    hours: float


def trial(key, *, scale):
    """Three numbers, as the Lavaland trial returns them."""
    draw = scale * jax.random.normal(key)
    return {"lava": draw, "goal": draw, "literal_lava": draw}


def store_of(trials: int, block: int) -> tuple[Spread, Store]:
    """The sweep, and its store, which is not made."""
    key = jax.random.key(0)
    small = check_axes(trial, {"scale": [1.0]}, {}, 1)
    examined = examine(trial, small, key, {}, "cpu")
    axes = Axes({}, {"scale": np.ones(1)}, trials)
    about = identity(examined, "trial", small, key, "cpu cpu")
    blocks = Blocks(axes, chunk_of(axes.inner, block))
    spread = Spread(Engine(None, 1), jax.random.bernoulli, examined, axes, key, "cpu")
    return spread, Store(Path("nowhere"), blocks, 64, examined.fields, about)


def messages(spread: Spread, store: Store) -> tuple[int, int]:
    """Bytes of a block's message and of its answer."""
    task = spread.task(store, Job(store.blocks.count - 1)) | {"given": "", "sent": None, "store": None}
    results = {field.name: np.zeros(store.blocks.width, field.dtype) for field in store.fields}
    answer = {
        "worker": "a-machine-in-a-rack:12345",
        "processor": "a make, 0123456789ab",
        "results": results,
        "memory": 1,
    }
    return len(pickle.dumps((spread.spec("cpu cpu"), task))), len(pickle.dumps(answer))


def simulate(blocks: int, workers: int, seconds: float, caller: float) -> tuple[float, float]:
    """Blocks per second, and the share of time in which workers compute.

    Args:
        blocks: how many there are; a few times as many as workers are moved, if there are more.
        workers: how many workers.
        seconds: what a worker needs for a block; a tenth more or less, evenly.
        caller: what the caller needs for a block.
    """
    moved = min(blocks, max(ENOUGH, 10 * workers))
    rng = np.random.default_rng(0)
    took = seconds * rng.uniform(0.9, 1.1, moved)
    queued = [deque() for _ in range(workers)]
    events: list[tuple[float, int, int]] = []  # when, worker, block
    now = idle_until = worked = 0.0
    handed = 0

    def hand(worker: int, when: float) -> None:
        nonlocal handed
        if handed < moved:
            if not queued[worker]:
                heapq.heappush(events, (when + took[handed], worker, handed))
            queued[worker].append(handed)
            handed += 1

    for _ in range(AHEAD):
        for worker in range(workers):
            idle_until += caller / 2  # handing out is half of what a block costs
            hand(worker, idle_until)
    while events:
        now, worker, block = heapq.heappop(events)
        worked += took[block]
        queued[worker].popleft()
        if queued[worker]:
            following = queued[worker][0]
            heapq.heappush(events, (now + took[following], worker, following))
        idle_until = max(idle_until, now) + caller
        hand(worker, idle_until)
    end = max(now, idle_until)
    return moved / end, worked / (end * workers)


def plan(trials: int, workers: int, block: int, seconds: float, caller: float) -> Plan:
    """The figures of one block size."""
    spread, store = store_of(trials, block)
    sent, answered = messages(spread, store)
    rate, busy = simulate(store.blocks.count, workers, seconds * store.blocks.width, caller)
    files = store.blocks.count * (len(store.fields) + 1)
    return Plan(store.blocks.count, files, sent, answered, rate, busy, store.blocks.count / rate / 3600)


def table(trials: int, workers: int, seconds: float, callers: dict[str, float], sizes: list[int]) -> list[str]:
    """Rows in Markdown."""
    head = (
        "trials a block", "who writes", "blocks", "files", "message, answer", "blocks a second", "at the caller",
        "workers busy", "hours",
    )  # fmt: skip
    rows = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for block in sizes:
        for who, caller in callers.items():
            found = plan(trials, workers, block, seconds, caller)
            answered = found.answered if who == "caller" else 300
            moved = found.rate * (found.sent + answered) / 1e6
            cells = (
                f"{block:,}", who, f"{found.blocks:,}", f"{found.files:,}",
                f"{found.sent / 1e3:.1f} kB, {answered / 1e3:,.1f} kB", f"{found.rate:,.3g}", f"{moved:.2g} MB/s",
                f"{found.busy:.0%}", f"{found.hours:.1f}",
            )  # fmt: skip
            rows.append(f"| {' | '.join(cells)} |")
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10**9)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=0.01, help="of a trial (default %(default)s)")
    parser.add_argument("--caller", type=float, default=0.009, help="the caller's seconds for a block that it writes")
    parser.add_argument("--hands-out", type=float, default=0.005, help="the same where workers write")
    options = parser.parse_args()
    callers = {"caller": options.caller, "workers": options.hands_out}
    sizes = [100, 1000, 10_000, 100_000]
    print("\n".join(table(options.trials, options.workers, options.seconds, callers, sizes)))


if __name__ == "__main__":
    main()
