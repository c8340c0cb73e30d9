"""Distances and regret of a whole posterior beside the published code's method in NumPy, reward by reward.

    python benchmarks/bench_alignment.py [--small]

The published code of STARC canonicalises each reward by itself, as a table of transitions, with values found by
sweeps; regret plans for each.  Here a posterior costs one Gram matrix, and one batched solve.  NumPy's side runs on a
few draws and is given per draw.  Prints a Markdown table and writes it to benchmarks/results/alignment.md.
"""

import argparse
import platform
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from bench_solve import MOVED, bandwidth, interleaved

import mdps
from ird import alignment

RESULTS = Path(__file__).parent / "results" / "alignment.md"
DISCOUNT, TERRAINS, TOL = 0.95, "abcdefghij", 1e-6


def field(side: int, rng) -> mdps.GridWorld:
    """A map of random terrains."""
    text = "\n".join("".join(rng.choice(list(TERRAINS), side)) for _ in range(side))
    legend = {**{c: f"terrain {c}" for c in TERRAINS}, "S": "start"}
    return mdps.GridWorld.from_text("S" + text[1:], legend, discount=DISCOUNT, goal=None)


class NumPy:
    """The published method: every reward is a table `[S, A, S']` on the successors that exist."""

    def __init__(self, mdp):
        self.S, self.A = mdp.num_states, mdp.num_actions
        to, p = np.asarray(mdp.next_state), np.asarray(mdp.probability, np.float64)
        row = np.broadcast_to(np.arange(self.S * self.A).reshape(self.S, self.A, 1), p.shape)
        column = np.broadcast_to(to[:, None], p.shape)
        self.P = sp.csr_matrix((p.ravel(), (row.ravel(), column.ravel())), shape=(self.S * self.A, self.S))
        self.features = np.asarray(mdp.features, np.float64)
        self.initial = np.asarray(mdp.initial, np.float64)

    def canonical(self, w):
        """The advantage under the uniform policy, by sweeps until they move by less than the tolerance."""
        r, v = np.repeat((self.features @ w)[:, None], self.A, axis=1), np.zeros(self.S)
        while True:
            q = r + DISCOUNT * (self.P @ v).reshape(self.S, self.A)
            new = q.mean(axis=1)
            if np.abs(new - v).max() < TOL * (1 - DISCOUNT):
                return q - new[:, None]
            v = new

    def distance(self, w, others):
        """STARC of one reward from many."""
        first = self.canonical(w)
        first = first / np.linalg.norm(first)
        found = []
        for other in others:
            second = self.canonical(other)
            found.append(np.linalg.norm(first - second / np.linalg.norm(second)) / 2)
        return np.array(found)

    def best(self, w):
        """Value iteration: V*, and the greedy policy."""
        r, v = (self.features @ w)[:, None], np.zeros(self.S)
        while True:
            q = r + DISCOUNT * (self.P @ v).reshape(self.S, self.A)
            new = q.max(axis=1)
            if np.abs(new - v).max() < TOL * (1 - DISCOUNT):
                return self.initial @ new, q
            v = new

    def regret(self, w, others):
        """What the plan for one reward loses under each of many."""
        policy = self.best(w)[1].argmax(axis=1)
        step = self.P[np.arange(self.S) * self.A + policy]
        got = np.zeros(self.S)
        here = self.initial
        while here.sum() > 1e-9:
            got, here = got + here, DISCOUNT * (step.T @ here)
        return np.array([self.best(other)[0] - (got @ self.features) @ other for other in others])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a small map and few draws, to see that it runs")
    small = parser.parse_args().small
    side, draws, few, rounds = (8, 100, 3, 1) if small else (32, 10_000, 20, 5)
    jax.config.update("jax_enable_x64", True)
    rng = np.random.default_rng(0)
    grid = field(side, rng)
    mdp, peer = grid.mdp, NumPy(grid.mdp)
    weights = jnp.asarray(rng.normal(size=(draws, mdp.num_features)))
    written, some = weights[0], np.asarray(weights[1 : few + 1])
    form = alignment.Advantage()
    shape = alignment.geometry(mdp, form)
    distance = jax.jit(shape.distance)
    regret = lambda: alignment.regret(mdp, written, weights).regret  # noqa: E731
    runs = {
        "geometry": lambda: alignment.geometry(mdp, form).root,
        "distance": lambda: distance(written, weights),
        "distance, NumPy": lambda: peer.distance(np.asarray(written), some),
        "regret": regret,
        "regret, NumPy": lambda: peer.regret(np.asarray(written), some),
    }
    for run in runs.values():
        jax.block_until_ready(run())
    times, results = interleaved(runs, rounds)
    np.testing.assert_allclose(results["distance"][1 : few + 1], results["distance, NumPy"], atol=1e-5)
    np.testing.assert_allclose(results["regret"][1 : few + 1], results["regret, NumPy"], atol=1e-3)
    report(side, draws, few, times, sweeps_of(mdp, weights), bandwidth(4), small)


def sweeps_of(mdp, weights) -> float:
    """Sweeps of the batched solve, of all columns and both signs."""
    steps = jax.jit(jax.vmap(lambda w: mdps.solve(mdp, mdp.reward(w)).steps))
    return float(jnp.sum(steps(weights)) + jnp.sum(steps(-weights)))


def report(side, draws, few, times, sweeps, limit, small):
    """The table."""
    per_draw = {name: times[f"{name}, NumPy"] / few for name in ("distance", "regret")}
    ours = {"distance": times["geometry"] + times["distance"], "regret": times["regret"]}
    share = sweeps * side**2 * MOVED * 8 / times["regret"] / limit
    rows = [
        f"Beside NumPy: {draws:,} draws of {len(TERRAINS) + 1} weights on {side}×{side}, discount {DISCOUNT}, "
        f"float64, {platform.machine()}, two cores.",
        "",
        "| job | here | the published method in NumPy | ratio |",
        "|---|---|---|---|",
    ]
    for name, what in (("distance", "geometry and all distances"), ("regret", "regret, its bound and its range")):
        theirs = per_draw[name] * draws
        rows.append(f"| {what} | {ours[name]:.3g} s | {theirs:.3g} s ({per_draw[name] * 1e3:.3g} ms a draw) "
                    f"| {theirs / ours[name]:.0f} |")  # fmt: skip
    rows += [
        "",
        f"The geometry alone takes {times['geometry'] * 1e3:.1f} ms, {draws:,} distances from it "
        f"{times['distance'] * 1e3:.2f} ms. NumPy's side is timed on {few} draws and multiplied; its sums go through "
        "SciPy's sparse matrices, and it finds no largest possible loss, for which this project plans once more.",
        "",
        f"Regret sweeps {sweeps / draws / 2:.0f} times a reward; {MOVED} numbers moved in each make "
        f"{100 * share:.0f}% of the measured bandwidth of the cache ({limit / 1e9:.0f} GB/s).",
    ]
    text = "\n".join(rows) + "\n"
    print(text)
    if not small:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
