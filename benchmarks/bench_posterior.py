"""The posterior beside NumPy: a wide one, streamed, and planning plus a square one on a grid.

    python benchmarks/bench_posterior.py [--small]

Both sides run in this process on the same inputs, in interleaved pairs; the medians are compared and
the answers must agree.  Prints a Markdown table and writes it to benchmarks/results/posterior.md.
"""

import argparse
import os
import platform
import resource
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ird import ProxyReward, posterior
from ird.evidence import SumOverProxies
from mdps import GridWorld

RESULTS = Path(__file__).parent / "results" / "posterior.md"
LETTERS = "abcdefghijklmnopqrst"  # the terrains of the 20 objects


def numpy_log_normalizer(weights, features, rows=256):
    """One matrix product and one log-sum-exp, over blocks that fit a cache: what a careful NumPy user writes."""
    out = np.empty(len(weights), weights.dtype)
    for start in range(0, len(weights), rows):
        x = weights[start : start + rows] @ features.T
        largest = x.max(axis=1, keepdims=True)
        x -= largest
        np.exp(x, out=x)
        out[start : start + rows] = largest[:, 0] + np.log(x.sum(axis=1))
    return out


def numpy_any_table(mdp, weights):
    """Plan for every row of weights at once in any MDP: the successor table forward, the predecessor table back."""
    next_state, chance, origin, slot = (
        np.asarray(x) for x in (mdp.next_state, mdp.probability, mdp.predecessor_state, mdp.predecessor_slot)
    )
    (S, A, D), P = chance.shape, origin.shape[1]
    features = np.asarray(mdp.features)
    reward = features @ weights.T  # [S, B]
    eps = np.finfo(reward.dtype).eps
    value = np.zeros_like(reward)
    policies = []
    for _ in range(mdp.horizon):
        ahead = [value[next_state[:, d]] for d in range(D)]
        q = [reward + sum(chance[:, a, d, None] * ahead[d] for d in range(D)) for a in range(A)]
        value = np.maximum.reduce(q)
        slack = 16 * eps * np.max([np.abs(x).max(axis=0) for x in q], axis=0)
        share = [(x >= value - slack).astype(reward.dtype) for x in q]
        count = sum(share)
        policies.append([x / count for x in share])
    edge = (origin * (D + 1) + slot).T  # rows of the flow [S, D + 1], whose last column stays empty
    here = np.repeat(np.asarray(mdp.initial)[:, None], reward.shape[1], axis=1)
    visits = np.zeros_like(here)
    flow = np.zeros((S, D + 1, reward.shape[1]), reward.dtype)
    for policy in reversed(policies):
        visits += here
        for d in range(D):
            flow[:, d] = here * sum(chance[:, a, d, None] * policy[a] for a in range(A))
        here = sum(flow.reshape(S * (D + 1), -1)[edge[p]] for p in range(P))
    return visits.T @ features


def numpy_certain_moves(next_state, features, initial, weights, horizon):
    """The same where moves are known to be certain: no probabilities, one row gather per move."""
    S, A = next_state.shape
    reward = features @ weights.T  # [S, B]
    eps = np.finfo(reward.dtype).eps
    value = np.zeros_like(reward)
    policies = []
    for _ in range(horizon):
        q = [reward + value[next_state[:, a]] for a in range(A)]
        value = np.maximum.reduce(q)
        slack = 16 * eps * np.max([np.abs(x).max(axis=0) for x in q], axis=0)
        share = [(x >= value - slack).astype(reward.dtype) for x in q]
        count = sum(share)
        policies.append([x / count for x in share])
    origins = [[np.flatnonzero(next_state[:, a] == s) for s in range(S)] for a in range(A)]
    width = max(len(o) for per in origins for o in per)
    table = np.full((A, S, width), S)  # S: a row of zeros
    for a in range(A):
        for s in range(S):
            table[a, s, : len(origins[a][s])] = origins[a][s]
    here = np.repeat(initial[:, None], reward.shape[1], axis=1).astype(reward.dtype)
    visits = np.zeros_like(here)
    moved = np.zeros((S + 1, reward.shape[1]), reward.dtype)
    for policy in reversed(policies):
        visits += here
        later = np.zeros_like(here)
        for a in range(A):
            np.multiply(here, policy[a], out=moved[:S])
            for j in range(width):
                if (table[a, :, j] < S).any():
                    later += moved[table[a, :, j]]
        here = later
    return visits.T @ features


def numpy_posterior(own, features, candidates, beta):
    logits = beta * (candidates @ own) - numpy_log_normalizer(candidates, beta * features)
    largest = logits.max()
    return logits - largest - np.log(np.exp(logits - largest).sum())


def pairs(ours, theirs, rounds, repeats=1):
    """Median seconds of each, run in turn after a warm-up; the median ratio; the ratio of the fastest runs.

    A turn is the fastest of `repeats` calls, so that millisecond calls are not timed waking their threads up.
    """
    ours(), theirs()
    seconds = []
    for _ in range(rounds):
        pair = []
        for f in (ours, theirs):
            turn = []
            for _ in range(repeats):
                start = time.perf_counter()
                f()
                turn.append(time.perf_counter() - start)
            pair.append(min(turn))
        seconds.append(pair)
    a, b = np.array(seconds).T
    return np.median(a), np.median(b), f"{np.median(b / a):.1f} | {b.min() / a.min():.1f}"


def wide(rng, N, M, K, dtype):
    """Candidates and alternatives' feature expectations, and the streamed normalizer over them."""
    weights = rng.normal(size=(N, K)).astype(dtype)
    features = rng.uniform(0, 3, size=(M, K)).astype(dtype)
    normalizer = SumOverProxies(jnp.asarray(features), jnp.ones(M, dtype))
    one, origin = jnp.ones((), dtype), jnp.zeros(K, dtype)
    run = jax.jit(lambda normalizer, w: normalizer.log_sum(w, one, origin))
    return weights, features, lambda w: run(normalizer, w).block_until_ready()


def grid_problem(rng, num_candidates):
    """The 12 × 12 grid with 20 objects and 15 steps on which active reward design was studied (references A)."""
    while True:
        cells = np.where(rng.random((12, 12)) < 0.35, "#", ".")
        free = np.argwhere(cells == ".")
        spots = rng.permutation(len(free))[:21]
        for letter, spot in zip("S" + LETTERS, spots, strict=True):
            cells[tuple(free[spot])] = letter
        legend = {"S": "floor", ".": "floor"} | {c: f"object {c}" for c in LETTERS}
        grid = GridWorld.from_text("\n".join("".join(row) for row in cells), legend, goal=None, horizon=15)
        candidates = np.zeros((num_candidates, 21), np.float32)
        candidates[:, 1:] = rng.integers(-9, 10, size=(num_candidates, 20))
        return grid, candidates


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="small sizes, for a quick look; writes nothing")
    small = parser.parse_args().small
    rng = np.random.default_rng(0)
    N, M, K = (20_000, 1_000, 20) if small else (1_000_000, 10_000, 20)
    rounds = 3 if small else 7
    lines = [
        f"# Posterior\n\nCPU: {os.cpu_count()} cores ({platform.processor() or platform.machine()}), "
        f"jax {jax.__version__}, numpy {np.__version__}. One process, interleaved pairs, median of {rounds}; "
        f"load average {os.getloadavg()[0]:.1f}: other work slows both sides, so read the ratios.\n",
        "| what | this project | NumPy | NumPy / this | of the fastest runs | target |",
        "|---|---|---|---|---|---|",
    ]

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    weights, features, run = wide(rng, N, M, K, np.float32)
    start = time.perf_counter()
    total = run(jnp.asarray(weights))
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    check = rng.choice(N, 200, replace=False)
    error = np.abs(
        np.asarray(total)[check] - numpy_log_normalizer(weights[check].astype(float), features.astype(float))
    )
    assert error.max() < 1e-4, error.max()
    memory = (
        f"{N:,} candidates × {M:,} alternatives × {K} features, float32, one call with its compilation: "
        f"{seconds:.1f} s, {seconds / N / M * 1e9:.2f} ns per pair; peak resident memory of the whole process "
        f"{peak / 2**20:.2f} GiB ({before / 2**20:.2f} before), target under 1 GB; largest error of 200 "
        f"checked {error.max():.1e}."
    )
    print(memory, flush=True)

    for dtype in (np.float32, np.float64):
        with jax.enable_x64(dtype == np.float64):
            n = N // 100
            weights, features, run = wide(rng, n, M, K, dtype)
            device = jnp.asarray(weights)
            ours, theirs, ratio = pairs(partial(run, device), partial(numpy_log_normalizer, weights, features), rounds)
            np.testing.assert_allclose(run(device), numpy_log_normalizer(weights, features), atol=2e-5)
            scale = 1e9 / n / M
            lines.append(
                f"| log-normalizer, {n:,} × {M:,} × {K}, {np.dtype(dtype)} | {ours * scale:.2f} ns/pair "
                f"| {theirs * scale:.2f} ns/pair | {ratio} | 1 |"
            )
            print(lines[-1], flush=True)

    count = 100 if small else 1_000
    grid, candidates = grid_problem(rng, count)
    mdp, beta = grid.mdp, 0.5
    dense = np.asarray(mdp.to_dense())
    next_state, initial = dense.argmax(axis=2), np.asarray(mdp.initial)
    assert (dense.max(axis=2) == 1).all()
    phi = np.asarray(mdp.features)

    def here():
        proxy = ProxyReward(candidates[0], mdp, beta=beta, alternatives=candidates)
        return posterior.exact(proxy, candidates=candidates).log_weights.block_until_ready()

    def any_table():
        expected = numpy_any_table(mdp, candidates)
        return numpy_posterior(expected[0], expected, candidates, beta)

    def certain_moves():
        expected = numpy_certain_moves(next_state, phi, initial, candidates, mdp.horizon)
        return numpy_posterior(expected[0], expected, candidates, beta)

    job = f"plan {count:,} rewards on 12×12 (15 steps) + {count:,} × {count:,} posterior, float32"
    for who, there, target in (("for any MDP", any_table, "5"), ("written for certain moves", certain_moves, "")):
        np.testing.assert_allclose(here(), there(), atol=2e-3)
        ours, theirs, ratio = pairs(here, there, rounds, repeats=5)
        lines.append(f"| {job}; NumPy {who} | {ours * 1e3:.1f} ms | {theirs * 1e3:.1f} ms | {ratio} | {target} |")
        print(lines[-1], flush=True)
    lines += [
        "",
        memory,
        "",
        "A turn of the last rows is the fastest of five calls. NumPy for any MDP multiplies with every probability, as "
        "this project does; written for certain moves it gathers one row per move and multiplies with none. Both "
        "sides' answers agree to 2e-5 (log-normalizer) and 2e-3 (log posterior).",
    ]
    report = "\n".join(lines) + "\n"
    print(report)
    if not small:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(report)


if __name__ == "__main__":
    main()
