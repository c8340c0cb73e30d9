"""A sweep of the Lavaland trial: beside NumPy, over devices, and how much memory it takes.

    python -m benchmarks.bench_sweep [--small] [--out benchmarks/results/sweep.md]

The trial (examples/lavaland/trial.py): a 10 x 10 map, 50 steps, 1,000 alternatives planned for, 2,000
candidates weighed, a CVaR plan per step in training stakes, and the exact probability of entering lava
and of reaching the goal.  `numpy_trial` is the same in vectorised NumPy, on the same random draws (which
it is given), planning in one of two ways: plainly, with the row gathers of bench_posterior.py, or tuned
to this grid, in place and by slices.  Its answers are checked.  Everything is timed in interleaved turns,
and for each the fastest turn is kept, of the clock and of the processors' time.

An engine's cost is what a block takes on two workers beyond what it takes in this program: a trial that is
next to nothing, in many blocks.

Devices are compared in processes of their own, since how many there are is settled when JAX starts:
one device held to one core, one device that may use both, and two devices on both.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from bench_posterior import numpy_certain_moves

ROOT = Path(__file__).parent.parent
SHAPE, STEPS, ALPHA, BETA = (10, 10), 50, 0.12, 5.0
GRID = {"alpha": [ALPHA], "beta": [BETA]}


# The same trial in NumPy.


def moves(goal):
    """Where the four moves lead from each cell, `[S, 4]`: a bump stays, and so does the goal."""
    cell = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    pad = np.pad(cell, 1, mode="edge")
    to = np.stack([pad[:-2, 1:-1], pad[1:-1, 2:], pad[2:, 1:-1], pad[1:-1, :-2]], axis=-1).reshape(-1, 4)
    to[goal] = goal
    return to


def best_actions(reward, to):
    """Which actions are optimal, ties included: `STEPS` boolean arrays `[4, S, B]`, the last step first."""
    eps = np.finfo(reward.dtype).eps
    value, q = np.zeros_like(reward), np.empty((4, *reward.shape), reward.dtype)
    chosen = []
    for _ in range(STEPS):
        for a in range(4):
            np.take(value, to[:, a], axis=0, out=q[a])
            q[a] += reward
        slack = 16 * eps * np.abs(q).max(axis=(0, 1))
        q.max(axis=0, out=value)
        chosen.append(q >= value - slack)
    return chosen


def plain(features, start, goal, weights):
    """What the plan for each row of weights collects, `[B, K]`: batch last, by row gathers."""
    initial = (np.arange(len(features)) == start).astype(features.dtype)
    return numpy_certain_moves(moves(goal), features, initial, weights, STEPS)


def tuned(features, start, goal, weights):
    """The same in place, flags for probabilities, and by slices of the grid."""
    reward = features @ weights.T
    chosen = best_actions(reward, moves(goal))
    here = np.zeros_like(reward)
    here[start] = 1
    visits, moved, later = np.zeros_like(here), np.empty_like(here), np.empty_like(here)
    grid = (*SHAPE, reward.shape[1])
    for tied in reversed(chosen):
        visits += here
        each = here / tied.sum(axis=0, dtype=reward.dtype)
        each[goal] = 0
        later[:] = 0
        later[goal] = here[goal]
        into, out = later.reshape(grid), moved.reshape(grid)
        np.multiply(each, tied[0], out=moved)
        into[:-1] += out[1:]
        into[0] += out[0]
        np.multiply(each, tied[1], out=moved)
        into[:, 1:] += out[:, :-1]
        into[:, -1] += out[:, -1]
        np.multiply(each, tied[2], out=moved)
        into[1:] += out[:-1]
        into[-1] += out[-1]
        np.multiply(each, tied[3], out=moved)
        into[:, :-1] += out[:, 1:]
        into[:, 0] += out[:, 0]
        here, later = later, here
    return visits.T @ features


def conditional_value(returns, p, alpha):
    """CVaR of each column of `[N, C]`: the mean of the worst share."""
    order = np.argsort(returns, axis=0)
    ordered, mass = np.take_along_axis(returns, order, axis=0), p[order]
    below = np.cumsum(mass, axis=0) - mass
    return (np.clip(alpha - below, 0, mass) * ordered).sum(axis=0) / alpha


def visiting(policy, to, start, states):
    """Probability of being in `states` at one of the steps; `policy` lists `[4, S]`, the last step first."""
    value = np.zeros(len(states), policy[0].dtype)
    for share in policy:
        value = np.where(states, 1, (share * value[to.T]).sum(axis=0))
    return value[start]


def numpy_trial(plan, train, train_start, field, field_start, alternatives, samples, beta=BETA, alpha=ALPHA):
    """Lava entered and goal reached, from the features `[S, K]` of two maps and the rewards that were drawn."""
    phi = plan(train, train_start, train[:, 2].argmax(), alternatives)
    logits = beta * (samples @ phi.T)
    largest = logits.max(axis=1)
    log_likelihood = logits[:, 0] - largest - np.log(np.exp(logits - largest[:, None]).sum(axis=1))
    p = np.exp(log_likelihood - log_likelihood.max())
    p /= p.sum()
    stakes = np.ptp(samples @ phi.T, axis=1) / STEPS
    # Features are indicators of terrain, so there are as many rewards to work out as terrains.
    careful = conditional_value(
        (samples / stakes[:, None]) @ (np.eye(4, dtype=p.dtype) - field[field_start]).T, p, alpha
    )
    goal = field[:, 2].argmax()
    to = moves(goal)
    chosen = [tied[:, :, 0] for tied in best_actions((field @ careful)[:, None], to)]
    policy = [tied / tied.sum(axis=0) for tied in chosen]
    lava, goals = field[:, 3] > 0, np.arange(len(field)) == goal
    return visiting(policy, to, field_start, lava), visiting(policy, to, field_start, goals)


def draws(key, alternatives, samples, lava_share=None):
    """What `numpy_trial` is given, from the key of the trial."""
    from examples.lavaland.trial import world

    made = world(key, beta=BETA, lava_share=lava_share, alternatives=alternatives, samples=samples)
    train = made.proxies[0]
    return (
        train.mdp.features, train.mdp.initial.argmax(), made.field.mdp.features, made.field.mdp.initial.argmax(),
        train.alternatives, made.belief.weights,
    )  # fmt: skip


# Timing.


def turns(jobs, rounds):
    """The fastest turn of each job, by the clock and of processor time, after one that does not count."""
    best = {}
    for turn in range(rounds + 1):
        for name, job in jobs.items():
            found = job()
            if turn:
                best.setdefault(name, []).append(found)
    return {name: tuple(map(min, zip(*found))) for name, found in best.items()}


def clocked(job):
    """Seconds by the clock and of processor time that a job takes."""

    def run():
        wall, cpu = time.perf_counter(), time.process_time()
        job()
        return time.perf_counter() - wall, time.process_time() - cpu

    return run


def swept(trial, seeds, **more):
    """One sweep into a store of its own, which is thrown away; returns its report."""
    import jax

    from ird import sweep

    with tempfile.TemporaryDirectory() as folder:
        return sweep.run(
            trial, GRID, num_seeds=seeds, key=jax.random.key(0), store=Path(folder) / "s", progress=False, **more
        )


def resident(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(what)).split()[1])


def child(options):
    """Sweep as many seeds as each line read says; say how long it took, by how much memory grew, and its own arrays."""
    from examples.lavaland.trial import trial

    os.sched_setaffinity(0, options.cores)  # before JAX counts the cores
    one = partial(trial, alternatives=options.alternatives, samples=options.samples)
    more = {"block": options.block, "devices": options.child, "memory": options.memory}
    swept(one, options.block * options.child, **more)  # compiles
    for line in sys.stdin:
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        cpu = time.process_time()
        report = swept(one, int(line), **more)
        grown = resident("VmHWM") - before
        print(json.dumps([report.seconds, time.process_time() - cpu, grown, report.memory * options.child]), flush=True)


class Child:
    """A `child` held to some cores, asked for one sweep at a time."""

    def __init__(self, devices, cores, options, **more):
        flags = f"--xla_force_host_platform_device_count={devices}"
        passed = {name: getattr(options, name) for name in ("block", "alternatives", "samples")} | more
        command = [sys.executable, "-m", "benchmarks.bench_sweep", "--child", str(devices)]
        command += [word for name, value in passed.items() for word in (f"--{name}", str(value))]
        self.process = subprocess.Popen(
            [*command, "--cores", *map(str, cores)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        )

    def sweep(self, seeds):
        print(seeds, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


def beside_numpy(options):
    """Rows of the table: the sweep and NumPy; the sweep runs in this process, with a device for each core."""
    import jax

    from examples.lavaland.trial import trial

    jax.config.update("jax_num_cpu_devices", os.cpu_count())
    one = partial(trial, alternatives=options.alternatives, samples=options.samples)
    key, few = jax.random.key(0), options.numpy
    size = options.alternatives, options.samples
    prepare = jax.jit(jax.vmap(lambda seed: draws(jax.random.fold_in(key, seed), *size)))
    inputs = [np.asarray(x) for x in prepare(np.arange(few, dtype=np.uint32))]
    cases = [tuple(x[i] for x in inputs) for i in range(few)]
    ours = jax.jit(jax.vmap(lambda seed: one(jax.random.fold_in(key, seed), alpha=ALPHA, beta=BETA)))
    found = np.stack(ours(np.arange(few, dtype=np.uint32)), axis=1)
    error = np.array(
        [[np.abs(found[i] - numpy_trial(p, *c)).max() for p in (plain, tuned)] for i, c in enumerate(cases)]
    )
    agree = (error < 1e-3).sum(axis=0)
    assert (agree >= 0.9 * few).all(), error
    start = time.perf_counter()
    first = swept(one, options.trials, block=options.block)
    first_call = time.perf_counter() - start
    jobs = {p.__name__: clocked(partial(lambda p: [numpy_trial(p, *c) for c in cases], p)) for p in (plain, tuned)}
    taken = turns({"ours": clocked(lambda: swept(one, options.trials, block=options.block)), **jobs}, options.rounds)
    here = np.array(taken["ours"]) / options.trials * 1e3
    rows = []
    for name in ("plain", "tuned"):
        there = np.array(taken[name]) / few * 1e3
        rows.append(
            f"| {options.trials:,} trials, blocks of {first.width}, two devices | {here[0]:.1f} ({here[1]:.1f}) ms a "
            f"trial | NumPy, {name}: {there[0]:.0f} ({there[1]:.0f}) ms a trial, timed on {few} "
            f"| {there[0] / here[0]:.1f}× ({there[1] / here[1]:.1f}×) | {'10×' if name == 'plain' else ''} |"
        )
    return rows, (
        f"{agree[0]} and {agree[1]} of {few} trials agree with NumPy, plain and tuned, to 1e-3. The first sweep took "
        f"{first_call:.1f} s with its checks and compilation."
    )


def over_devices(options):
    """Rows of the table: one and two devices, and memory."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    children = {
        "one device, one core": Child(1, cores[:1], options),
        "one device, both cores": Child(1, cores, options),
        "two devices, both cores": Child(2, cores, options),
    }
    taken = turns({name: partial(c.sweep, options.trials) for name, c in children.items()}, options.rounds)
    for each in children.values():
        each.close()
    base = taken["one device, one core"]
    rows = [
        f"| {options.trials:,} trials, {name} | {1e3 * wall / options.trials:.1f} "
        f"({1e3 * cpu / options.trials:.1f}) ms a trial | | {base[0] / wall:.2f}× of one core "
        f"| {'1.7×' if name.startswith('two') else ''} |"
        for name, (wall, cpu, *_) in taken.items()
    ]
    for memory in (32, 256):
        one = Child(1, cores, options, memory=memory * 2**20)
        _, _, grown, own = max(
            (one.sweep(options.block * 4) for _ in range(options.rounds)), key=lambda found: found[2]
        )
        one.close()
        rows.append(
            f"| memory, {memory} MiB allowed | {grown / 2**20:.0f} MiB at the peak | own arrays {own / 2**20:.0f} MiB "
            f"| {grown / own:.2f}× | {'2×' if memory > 100 else ''} |"
        )
    return rows


def over_engines(options):
    """Rows of the table: a block on the workers of each engine, beside a block of a plain run; both are written."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

    import distributed
    import jax

    from ird import sweep

    seeds = 20 * options.blocks

    def once(executor, **more):
        with tempfile.TemporaryDirectory() as folder:
            return sweep.run(
                jax.random.bernoulli, {"p": [0.5]}, num_seeds=seeds, key=jax.random.key(0), store=Path(folder) / "s",
                block=20, executor=executor, progress=False, **more,
            ).seconds  # fmt: skip

    spawn = multiprocessing.get_context("spawn")
    cluster = {"n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with (
        ThreadPoolExecutor(2) as threads,
        ProcessPoolExecutor(2, mp_context=spawn) as pool,
        distributed.LocalCluster(**cluster, silence_logs=50) as local,
        distributed.Client(local) as client,
    ):
        engines = {
            "two threads": (threads, {}),
            "a pool of two processes": (pool, {}),
            "the same, which write": (pool, {"write": "workers"}),
            "Dask, two processes": (client.get_executor(), {}),
        }
        jobs = {name: partial(once, executor, **more) for name, (executor, more) in engines.items()}
        jobs = {"plain": partial(once, None)} | jobs
        taken = turns({name: lambda job=job: (job(),) for name, job in jobs.items()}, options.rounds)
    each = {name: 1e3 * found[0] / options.blocks for name, found in taken.items()}
    return [
        f"| {options.blocks:,} blocks of 20 trials that are next to nothing, {name} | {ms:.1f} ms a block "
        f"| plain: {each['plain']:.1f} ms | {ms - each['plain']:+.1f} ms a block | |"
        for name, ms in each.items()
        if name != "plain"
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="small sizes, for a quick look")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--numpy", type=int, default=20, help="trials that NumPy is timed on")
    parser.add_argument("--block", type=int, default=50)
    parser.add_argument("--alternatives", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--blocks", type=int, default=300, help="blocks that engines are timed on")
    parser.add_argument("--only", nargs="*", default=["numpy", "devices", "engines"])
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--cores", type=int, nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="where to write the table")
    options = parser.parse_args()
    if options.small:
        options.trials, options.numpy, options.block, options.rounds, options.blocks = 40, 4, 10, 1, 20
        options.alternatives, options.samples = 100, 200
    if options.child:
        return child(options)
    load, rows, notes = os.getloadavg()[0], [], ""
    if "devices" in options.only:
        rows += over_devices(options)
    if "engines" in options.only:
        rows += over_engines(options)
    if "numpy" in options.only:
        found, notes = beside_numpy(options)
        rows = found + rows
    import jax

    text = "\n".join(
        [
            "# Sweeps",
            "",
            f"`python -m benchmarks.bench_sweep`: the Lavaland trial, {options.alternatives:,} alternatives, "
            f"{options.samples:,} candidates, float32, on {platform.machine()}, {os.cpu_count()} cores, jax "
            f"{jax.__version__}, numpy {np.__version__}; load average {load:.1f} at the start and "
            f"{os.getloadavg()[0]:.1f} at the end, so other work slows everybody. Interleaved turns, the fastest of "
            f"{options.rounds}; in brackets processor time, on which other work weighs less. Blocks are written to a "
            "store; checks are counted, compilation is not. NumPy may use as many threads as it likes and is given its "
            "random draws.",
            "",
            "| what | this project | beside | ratio | target |",
            "|---|---|---|---|---|",
            *rows,
            "",
            notes,
            "One device is held to one core by the process's affinity (what `taskset -c 0` does), set before JAX "
            "starts. One device that may use both cores gains little from the second, because most of its operations "
            "are too small to divide: make one device of each core.",
        ]
    )
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
