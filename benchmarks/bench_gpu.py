"""What one accelerator does: Lavaland trials a minute, a batched solve, a wide posterior, and what limits each.

    python -m benchmarks.bench_gpu [--minutes 8] [--out FILE]

Needs only jax, numpyro, optax, networkx, jaxtyping and NumPy.  On a GPU the sizes are those that the
targets are about; without one the same programs run on the CPU at a small size.  Every limit is measured
here too, by a program that does nothing else.  Writes a Markdown table to benchmarks/results/.
"""

import argparse
import platform
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import mdps
from examples.lavaland.trial import trial
from ird.evidence import SumOverProxies

SIZES = {
    "gpu": {
        "trials": 100_000,
        "block": 2048,
        "side": 32,
        "rewards": 32_768,
        "N": 1_000_000,
        "M": 100_000,
        "probe": 1024,
    },
    "cpu": {"trials": 64, "block": 32, "side": 12, "rewards": 512, "N": 10_000, "M": 5_000, "probe": 16},
}
MOVED = 3  # numbers moved by a sweep: one read of r and of V, one write of V


def clock(run, turns=3):
    """Seconds of the fastest of some calls after the first, and the last result."""
    result = jax.block_until_ready(run())
    best = float("inf")
    for _ in range(turns):
        begin = time.perf_counter()
        result = jax.block_until_ready(run())
        best = min(best, time.perf_counter() - begin)
    return best, result


def bandwidth(megabytes, turns=32):
    """Bytes read and written per second by `x + 1` in place, and those copied once."""
    x = jnp.ones(megabytes * 2**20 // 4, jnp.float32)
    add = jax.jit(lambda x: jax.lax.fori_loop(0, turns, lambda _, y: y + 1, x))
    return 2 * turns * x.nbytes / clock(lambda: add(x))[0]


def memory():
    """Most bytes the device has held, where it says."""
    stats = jax.devices()[0].memory_stats() or {}
    return stats.get("peak_bytes_in_use")


def trials(size, seconds):
    """Blocks of whole trials until the number or the time is reached; nothing leaves the device inside a block."""
    block = size["block"]
    program = jax.jit(jax.vmap(trial))
    keys = lambda i: jax.vmap(partial(jax.random.fold_in, jax.random.key(0)))(i * block + jnp.arange(block))  # noqa: E731
    begin = time.perf_counter()
    jax.block_until_ready(program(keys(0)))
    compiling, done, sums, begin = time.perf_counter() - begin, 0, [], time.perf_counter()
    while done < size["trials"] and time.perf_counter() - begin < seconds:
        sums.append(jax.block_until_ready(program(keys(len(sums)))))
        done += block
    taken = time.perf_counter() - begin
    lava, goal = (float(np.mean([np.mean(getattr(x, name)) for x in sums])) for name in ("lava", "goal"))
    assert 0 < goal <= 1 and 0 <= lava < 0.1, (lava, goal)  # the recommended planner's rates
    told = f"blocks of {block:,}; lava {lava:.4f}, goal {goal:.4f}; first call {compiling:.0f} s"
    return [
        f"| {done:,} Lavaland trials (10 × 10, 1,000 alternatives, 2,000 candidates) "
        f"| {done / taken * 60:,.0f} a minute | 100,000 a minute | {told} |"
    ]


def batched_solve(size):
    """Many rewards on one grid, hard and soft, against the memory's bandwidth."""
    side, count = size["side"], size["rewards"]
    terrain = np.random.default_rng(0).integers(0, 8, (side, side))
    grid = mdps.GridWorld.from_terrain(
        jnp.asarray(terrain), tuple("abcdefgh"), start=(0, 0), goal=None, slip=0.2, discount=0.95
    )
    weights = jax.random.normal(jax.random.key(1), (count, 8))
    speed = bandwidth(size["probe"])
    held = side * side * count * 4
    rows = [
        f"| memory bandwidth, x + 1 in place on {size['probe']:,} MB | {speed / 1e9:,.0f} GB/s | | read and write |"
    ]
    for name, temperature in (("hard", 0.0), ("soft, τ = .1", jnp.asarray(0.1))):
        solve = jax.jit(jax.vmap(lambda m, w, t: mdps.solve(m, m.reward(w), temperature=t, tol=5e-3), (None, 0, None)))
        if name == "hard":
            solve = jax.jit(jax.vmap(lambda m, w, t: mdps.solve(m, m.reward(w), tol=5e-3), (None, 0, None)))
        seconds, found = clock(lambda s=solve, t=temperature: s(grid.mdp, weights, t))
        assert bool(found.converged.all())
        steps = int(found.steps.max())
        share = steps * MOVED * held / seconds / speed
        rows.append(
            f"| solve {count:,} rewards on {side} × {side}, {name} | {seconds * 1e3:,.1f} ms, {steps} sweeps "
            f"| ≥ 50% of the bandwidth | {share:.0%} of it; one array is {held / 2**20:,.0f} MB |"
        )
    return rows


def wide_posterior(size):
    """A log-normalizer over N × M pairs against a matrix product and an exponential of as many entries."""
    N, M, K = size["N"], size["M"], 20
    for_weights, for_features = jax.random.split(jax.random.key(2))
    weights = jax.random.normal(for_weights, (N, K))
    normalizer = SumOverProxies(jax.random.uniform(for_features, (M, K), maxval=3.0), jnp.ones(M))
    one, origin = jnp.ones(()), jnp.zeros(K)
    run = jax.jit(lambda n, w: n.log_sum(w, one, origin))
    seconds, found = clock(lambda: run(normalizer, weights), turns=1)
    some = np.random.default_rng(0).choice(N, 50, replace=False)
    logits = np.asarray(weights, np.float64)[some] @ np.asarray(normalizer.features, np.float64).T
    largest = logits.max(axis=1, keepdims=True)
    exact = largest[:, 0] + np.log(np.exp(logits - largest).sum(axis=1))
    error = float(np.abs(np.asarray(found)[some] - exact).max())
    assert error < 1e-3, error
    # The two parts alone, on a block that fits the memory.
    rows = min(N, max(1, 2**28 // M if jax.default_backend() != "cpu" else 2**22 // M))
    product = jax.jit(lambda f, w: jnp.matmul(f, w.T, precision=jax.lax.Precision.HIGHEST))
    multiply, block = clock(lambda: product(normalizer.features, weights[:rows]))
    exponential = jax.jit(lambda x: jnp.sum(jnp.exp(x - 9.0), axis=0))
    raise_, _ = clock(lambda: exponential(block))
    limit = (multiply + raise_) * N / rows
    return [
        f"| log-normalizer, {N:,} candidates × {M:,} alternatives × {K} "
        f"| {seconds:.2f} s, {seconds / N / M * 1e12:.2f} ps a pair | within 2× "
        f"| {seconds / limit:.2f}× a product and an exponential of as many entries ({limit:.2f} s); "
        f"largest error of 50 checked {error:.0e} |"
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="time that may be taken in all (default 8)")
    parser.add_argument(
        "--out", type=Path, help="where to write the table (default: by the device, in benchmarks/results)"
    )
    args = parser.parse_args()
    began = time.perf_counter()
    device = jax.devices()[0]
    on_cpu = device.platform == "cpu"
    size = SIZES["cpu" if on_cpu else "gpu"]
    rows = []
    for part in (partial(batched_solve, size), partial(wide_posterior, size)):
        rows += part()
        print(*rows, sep="\n", flush=True)
    left = args.minutes * 60 - (time.perf_counter() - began)
    rows += trials(size, max(20.0, min(120.0, 0.5 * left)))
    peak = memory()
    held = f"; most memory held {peak / 2**30:.1f} GiB" if peak else ""
    small = " No accelerator here: small sizes, to see that it runs; the targets are a GPU's." if on_cpu else ""
    text = (
        f"""# One accelerator

`python -m benchmarks.bench_gpu` on {device.device_kind} ({device.platform}), jax {jax.__version__}, Python
{platform.python_version()}; {time.perf_counter() - began:.0f} s in all{held}.{small}

| what | measured | target | notes |
|---|---|---|---|
"""
        + "\n".join(rows)
        + "\n"
    )
    print(text)
    out = args.out or Path(__file__).parent / "results" / ("gpu_on_cpu.md" if on_cpu else "gpu.md")
    out.parent.mkdir(exist_ok=True)
    out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
