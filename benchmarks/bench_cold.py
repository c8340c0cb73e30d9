"""What a first call costs: a fresh process for each row, CPU seconds, no compilation cache.

    python -m benchmarks.bench_cold [--rounds 3] [--only solve ...] [--limit 120] [--out benchmarks/results/cold.md]

A row starts a process of its own that imports the packages, prepares the inputs, and calls one function twice.
"Compiling" is the first call less the second, in CPU seconds of all threads, as the kernel counts them; imports and
preparation are counted apart, and so is what else the process uses.  The dense MDPs have Dirichlet rows.  Rows run in
turns, and the median of the rounds is written.  A row that takes longer than the limit is ended and said to.
"""

import argparse
import functools
import itertools
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"20 x 4": (20, 4), "200 x 4": (200, 4), "1000 x 4": (1000, 4), "60 x 50": (60, 50)}


def dense(states, actions):
    """A random MDP whose every state leads to every other, and ten features."""
    import numpy as np

    import mdps

    rng = np.random.default_rng(0)
    transition = rng.dirichlet(np.ones(states), size=(states, actions))
    features, initial = rng.normal(size=(states, 10)), np.full(states, 1 / states)
    return mdps.MDP.from_dense(transition, features, initial, discount=0.95)


def on_dense(what, states, actions):
    import jax.numpy as jnp
    import numpy as np

    import mdps
    from ird import planning
    from ird.risk import CVaR

    mdp = dense(states, actions)
    weights = np.random.default_rng(1).normal(size=(50, 10))
    if what == "solve":
        reward = np.asarray(mdp.features) @ weights[0]
        return lambda: mdps.solve(mdp, reward)
    if what == "optimum":
        return lambda: mdps.optimum(mdp, weights[0])
    if what == "occupancy":
        policy = np.full((states, actions), 1 / actions)
        return lambda: mdps.occupancy(mdp, policy)
    flat = np.full(50, -np.log(50))
    belief = SimpleNamespace(
        weights=jnp.asarray(weights), log_weights=jnp.asarray(flat), feature_names=mdp.feature_names
    )
    return lambda: planning.plan_per_step(mdp, belief, risk=CVaR(0.12), baseline=np.zeros(10))


@functools.cache
def worlds():
    """The README's two maps, the prior, what the designer wrote and what could have been written."""
    import jax
    import jax.numpy as jnp
    import numpyro.distributions as dist

    from mdps import GridWorld
    from mdps import worlds as stored

    train, field = (GridWorld.from_toml(stored.path(name)) for name in ("paper_train", "paper_field"))
    prior = dist.Uniform(-1, 1).expand([train.mdp.num_features]).to_event(1)
    written = train.weights(dirt=-0.1, grass=-0.5, target=1.0)
    return train, field, prior, written, jnp.concatenate([written[None], prior.sample(jax.random.key(1), (500,))])


def proxy():
    from ird import ProxyReward

    train, _, _, written, rewards = worlds()
    return lambda: ProxyReward(written, train.mdp, beta=5.0, alternatives=rewards)


def importance():
    import jax

    from ird import posterior

    prior, evidence = worlds()[2], proxy()()
    return lambda: posterior.importance(evidence, prior=prior, num_samples=20_000, key=jax.random.key(0))


def nuts():
    import jax

    from ird import posterior

    prior, evidence = worlds()[2], proxy()()
    return lambda: posterior.nuts(evidence, prior=prior, key=jax.random.key(0))


def per_step():
    from ird import planning
    from ird.risk import CVaR

    mdp, belief = worlds()[1].mdp, importance()()
    start = planning.start_features(mdp)
    return lambda: planning.plan_per_step(mdp, belief, risk=CVaR(0.12), baseline=start)


def per_trajectory():
    from ird import planning
    from ird.risk import CVaR

    mdp, belief = worlds()[1].mdp, importance()()
    offset = planning.start_offset(mdp, belief)
    return lambda: planning.plan(mdp, belief, risk=CVaR(0.12), offset=offset)


def game(bounded):
    import cirl

    meal = cirl.games.chefworld.mini(3)
    return lambda: cirl.solve(meal, method=cirl.Bounded() if bounded else cirl.Exact())


ROWS = {
    f"{what}, dense {name}": functools.partial(on_dense, what, *size)
    for what in ("solve", "optimum", "occupancy", "plan_per_step")
    for name, size in SIZES.items()
} | {
    "ProxyReward": proxy,
    "posterior.importance": importance,
    "posterior.nuts": nuts,
    "planning.plan_per_step": per_step,
    "planning.plan": per_trajectory,
    "cirl.solve, exact": functools.partial(game, False),
    "cirl.solve, Bounded()": functools.partial(game, True),
}
PROGRAM = "the README's program"


def child(row, x64):
    """Run one row in this process and print what it took."""
    marks = [time.process_time()]
    import jax

    import cirl  # noqa: F401
    import ird  # noqa: F401

    jax.config.update("jax_enable_x64", x64)
    marks.append(time.process_time())
    call = ROWS[row]()
    marks.append(time.process_time())
    for _ in range(2):
        jax.block_until_ready(jax.tree.leaves(call()))
        marks.append(time.process_time())
    importing, preparing, first, second = (b - a for a, b in itertools.pairwise(marks))
    print(json.dumps({"import": importing, "prepare": preparing, "first": first, "second": second}))


def measure(row, x64, limit):
    """What a fresh process takes for a row, or None where it takes longer than the limit."""
    environment = {k: v for k, v in os.environ.items() if "COMPILATION_CACHE" not in k and "PERSISTENT_CACHE" not in k}
    environment |= {"JAX_ENABLE_COMPILATION_CACHE": "false", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    if row == PROGRAM:
        program = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
        command = [sys.executable, "-c", program]
    else:
        command = [sys.executable, "-m", "benchmarks.bench_cold", "--child", row, *(["--x64"] if x64 else [])]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{row}: {done.stderr}")
    used = sum(getattr(after, x) - getattr(before, x) for x in ("ru_utime", "ru_stime"))
    told = {} if row == PROGRAM else json.loads(done.stdout.splitlines()[-1])
    return {"process": used, "wall": time.perf_counter() - begin, **told}


def described(row, x64, runs, limit):
    """A line of the table."""
    name = f"{row}{', float64' if x64 else ''}"
    if None in runs:
        return f"| {name} | more than {limit:.0f} s | | | | |"
    middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    if row == PROGRAM:
        return f"| {name} | | | | | {middle['process']:.2f} |"
    compiling = statistics.median(run["first"] - run["second"] for run in runs)
    return (
        f"| {name} | {compiling:.2f} | {middle['second']:.3f} | {middle['prepare']:.2f} "
        f"| {middle['import']:.2f} | {middle['process']:.2f} |"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="processes for each row")
    parser.add_argument("--only", nargs="*", help="rows whose name holds one of these words")
    parser.add_argument("--limit", type=float, default=120, help="most seconds that a process may take")
    parser.add_argument("--x64", action="store_true", help="in float64 alone")
    parser.add_argument("--small", action="store_true", help="two rows, once, to see that it runs")
    parser.add_argument("--out", type=Path, help="where to write the table")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args.child, args.x64)
    rows = [
        (row, x64) for row in ROWS for x64 in ([True] if args.x64 else [False, True] if "dense" in row else [False])
    ]
    rows += [(PROGRAM, False)]
    if args.small:
        args.rounds, args.only = 1, ["solve, dense 20", "ProxyReward"]
    if args.only:
        rows = [(row, x64) for row, x64 in rows if any(word in row for word in args.only)]
    runs = {row: [] for row in rows}
    for _ in range(args.rounds):
        for row in rows:
            if None not in runs[row]:
                runs[row].append(measure(*row, args.limit))
                print(described(*row, runs[row], args.limit), flush=True)
    lines = [described(*row, runs[row], args.limit) for row in rows]
    import jax

    text = "\n".join(
        [
            f"""# First calls

`python -m benchmarks.bench_cold --rounds {args.rounds}` on {platform.machine()}, {os.cpu_count()} cores,
jax {jax.__version__}, Python {platform.python_version()}; load average {os.getloadavg()[0]:.1f}.

CPU seconds of all threads, each row in fresh processes (the median of {args.rounds}), without a compilation cache.
"Compiling" is the first call less the second; the last column is the whole process.  Dense MDPs come from
`MDP.from_dense`: states x actions, Dirichlet rows, discount .95.

| first call of | compiling | second call | preparing | imports | process |
| --- | --- | --- | --- | --- | --- |""",
            *lines,
        ]
    )
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
