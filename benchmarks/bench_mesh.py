"""One very large MDP over two devices beside one: answers, seconds, memory.

    python benchmarks/bench_mesh.py [--side 3000] [--discount 0.99] [--out benchmarks/results/mesh.md]

A side × side grid of 8 terrains, slip .2, float32, asked for a certified error of 0.1 % of the largest
possible value; two host devices stand in for two accelerators, so their shares are a matter of memory
and not of speed on a machine whose one device already uses all cores.
"""

import argparse
import os
import platform
import resource
import sys
import time
from pathlib import Path

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

import mdps
from mdps.mdp import place, shard


def peak():
    """Most memory the process has held, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def clock(run):
    """Seconds of a second run, and its result."""
    jax.block_until_ready(run())
    begin = time.perf_counter()
    result = jax.block_until_ready(run())
    return time.perf_counter() - begin, result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=3000, help="rows and columns of the grid")
    parser.add_argument("--discount", type=float, default=0.99)
    parser.add_argument("--out", type=Path, help="where to write the table")
    args = parser.parse_args()
    side, gamma = args.side, args.discount

    begin = time.perf_counter()
    terrain = jnp.asarray(np.random.default_rng(0).integers(0, 8, (side, side)), jnp.int8)
    grid = mdps.GridWorld.from_terrain(
        terrain, tuple("abcdefgh"), start=(0, 0), goal=(side // 2, side // 2), slip=0.2, discount=gamma
    )
    mdp = jax.block_until_ready(grid.mdp)
    reward = mdp.reward(jnp.linspace(-1, 1, 8))
    tol = 1e-3 / (1 - gamma)
    held = sum(x.nbytes for x in jax.tree.leaves(mdp)) / 1e9
    print(f"{mdp.num_states:,} states built in {time.perf_counter() - begin:.0f} s, tables {held:.2f} GB", flush=True)
    rows, answers = [], {}
    for count in (2, 1):
        mesh = Mesh(np.array(jax.devices()[:count]), ("states",))
        shared = shard(mdp, mesh)
        seconds, found = clock(lambda m=shared, mesh=mesh: mdps.solve(m, place(reward, mesh), tol=tol, mesh=mesh))
        pushing, visits = clock(lambda m=shared, mesh=mesh, p=found.policy: mdps.occupancy(m, p, tol=1e-3, mesh=mesh))
        answers[count] = found, visits
        assert bool(found.converged)
        rows.append(
            f"| {count} | {seconds:.1f} | {int(found.steps)} | {seconds / int(found.steps) * 1e3:.1f} | "
            f"{float(found.error_bound):.3f} | {pushing:.1f} | {float(jnp.sum(visits)):.3f} | {peak():.1f} |"
        )
        print(rows[-1], flush=True)
    apart = float(jnp.max(jnp.abs(answers[1][0].value - jax.device_put(answers[2][0].value, jax.devices()[0]))))
    assert apart <= float(answers[1][0].error_bound) + float(answers[2][0].error_bound), apart
    text = (
        f"""# One large MDP over two devices

`python benchmarks/bench_mesh.py --side {side} --discount {gamma}` on {platform.machine()}, {os.cpu_count()} cores,
jax {jax.__version__}; load average {os.getloadavg()[0]:.1f}. {mdp.num_states:,} states, 4 actions, float32; the
tables of the MDP hold {held:.2f} GB. Two host devices share the machine's cores, so the times say what sharding costs,
not what a second accelerator brings. The two values differ by at most {apart:.1e}, within the sum of their bounds.
Peak memory is that of the whole process so far, the host's tables included.

| devices | solve, s | sweeps | ms a sweep | certified error | occupancy, s | visits (1/(1-γ)) | peak GB |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""
        + "\n".join(rows)
        + "\n"
    )
    print(text)
    if args.out:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
