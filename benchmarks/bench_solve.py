"""mdps.solve beside quantecon, mdpsolver and pymdptoolbox, in one process.

    python -m benchmarks.bench_solve [--small] [--out benchmarks/results/solve.md]

W1 one 64 x 64 grid, discount .99; W2 1,000 rewards on 12 x 12, discount .95, hard and soft; W3 one
1000 x 1000 grid, discount .99; W4 the occupancies of W2's policies.  4 actions, slip .2, a bump
stays, rewards by 8 terrain types.  W5 dense, W6 sparse tables (8 successors, drawn at random), one reward and 100 at
once, 4 actions, discount .95, normal rewards: rows that mix in a few sweeps and ten nearly closed blocks (leak .001);
successors that a state's actions share and that each action has for itself.  float64.  Everybody's answer
is within 1e-6 of the optimum and is checked against ours to 2e-6.  Times are medians of interleaved turns,
without compilation, which is counted apart; one BLAS thread.  Peers loop over rewards; where a loop is too
long its length is cut and the time scaled up, and the table says so.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", JAX_PLATFORMS="cpu")

import argparse
import functools
import platform
import resource
import statistics
import time
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla

import mdps
from mdps.mdp import from_table

jax.config.update("jax_enable_x64", True)  # in this process only
TOL = 1e-6
MOVED = 3  # numbers moved by a sweep, for the fraction of bandwidth: one read of r and of V, one write of V
ROWS: list[str] = []


def grid(side, discount):
    """The grid as an MDP and as a list of A sparse matrices."""
    cell = np.arange(side * side).reshape(side, side)
    pad = np.pad(cell, 1, mode="edge")
    to = np.stack([pad[:-2, 1:-1], pad[1:-1, 2:], pad[2:, 1:-1], pad[1:-1, :-2], cell], axis=-1).reshape(-1, 5)
    p = np.zeros((4, 5))
    for a in range(4):
        p[a, [a, (a + 1) % 4, (a + 3) % 4]] = 0.8, 0.1, 0.1
    S = side * side
    probability = np.broadcast_to(p, (S, 4, 5))
    mdp = from_table(to, probability, np.ones((S, 1)), np.full(S, 1 / S), discount=discount)
    row = np.repeat(np.arange(S), 5)
    chains = [sp.csr_matrix((np.tile(p[a], S), (row, to.ravel())), shape=(S, S)) for a in range(4)]
    for chain in chains:
        chain.eliminate_zeros()
    return mdp, chains


def terrain_rewards(states, count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(8, count))[rng.integers(0, 8, states)].T


def clock(run):
    begin = time.perf_counter()
    result = jax.block_until_ready(run())
    return time.perf_counter() - begin, result


def interleaved(runs, rounds):
    """Median seconds and last result of each, run in turns so that a busy machine is busy for all.

    In its turn each runs for a fifth of a second, once at least, and the median counts: what has just waited for others
    finds its caches cold (a machine whose memory is managed may take four times as long then).
    """
    times, results = {name: [] for name in runs}, {}
    for _ in range(rounds):
        for name, run in runs.items():
            turn = []
            while sum(turn) < 0.2:
                seconds, results[name] = clock(run)
                turn.append(seconds)
            times[name].append(statistics.median(turn))
    return {name: statistics.median(t) for name, t in times.items()}, results


def bandwidth(megabytes, turns=16):
    """Bytes read and written per second by the best of many `x + 1`, in place: a new array would cost its pages too."""
    x = jnp.ones(megabytes * 2**20 // 8)
    add = jax.jit(lambda x, n: jax.lax.fori_loop(0, n, lambda _, y: y + 1, x))
    add(x, turns).block_until_ready()
    return 2 * turns * x.nbytes / min(clock(lambda: add(x, turns))[0] for _ in range(10))


class Compiled:
    """A jitted function that counts its traces."""

    def __init__(self, function):
        self.traces = 0

        def counted(*args):
            self.traces += 1
            return function(*args)

        self.call = jax.jit(counted)

    def __call__(self, *args):
        return self.call(*args)


def quantecon(chains, r, discount, method, dense, max_iter=100_000):
    """A run of quantecon's DiscreteDP; set-up is not counted."""
    from quantecon.markov import DiscreteDP

    S, A = r.shape[-1], len(chains)
    if dense:
        Q = np.stack([c.toarray() for c in chains], axis=1)
        make = lambda r: DiscreteDP(np.tile(r[:, None], (1, A)), Q, discount)  # noqa: E731
    else:
        Q = sp.vstack(chains, format="csr")[np.arange(S * A).reshape(A, S).T.ravel()]
        states, actions = np.repeat(np.arange(S), A), np.tile(np.arange(A), S)
        make = lambda r: DiscreteDP(np.repeat(r, A), Q, discount, states, actions)  # noqa: E731
    problems = [make(x) for x in np.atleast_2d(r)]
    # Its ε-optimality is ‖v - v*‖ < ε/2.
    return lambda: np.stack([p.solve(method=method, epsilon=2 * TOL, max_iter=max_iter).v for p in problems])


def mdpsolver(chains, r, discount, algorithm):
    import mdpsolver

    columns = [
        [chain.indices[chain.indptr[s] : chain.indptr[s + 1]].tolist() for chain in chains] for s in range(r.shape[-1])
    ]
    probs = [
        [chain.data[chain.indptr[s] : chain.indptr[s + 1]].tolist() for chain in chains] for s in range(r.shape[-1])
    ]
    problems = []
    for x in np.atleast_2d(r):
        problem = mdpsolver.model()
        rewards = [[float(v)] * len(chains) for v in x]
        problem.mdp(discount=discount, rewards=rewards, tranMatProbs=probs, tranMatColumns=columns)
        problems.append(problem)

    def run():
        for p in problems:
            p.solve(algorithm=algorithm, tolerance=TOL * 1e-3, verbose=False, initValueVector=[0.0] * r.shape[-1])
        return np.array([p.getValueVector() for p in problems])

    return run


def toolbox(chains, r, discount):
    from mdptoolbox.mdp import ValueIteration

    rewards = [np.tile(x[:, None], (1, len(chains))) for x in np.atleast_2d(r)]
    problems = [ValueIteration(chains, x, discount, epsilon=TOL, max_iter=100_000) for x in rewards]

    def run():
        for p in problems:
            p.V, p.iter = np.zeros(p.S), 0  # from the start again
            p.run()
        return np.array([p.V for p in problems])

    return run


def peak():
    """Most memory this process has held, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def milliseconds(seconds):
    """Three digits, or all before the point."""
    return f"{seconds * 1e3:,.{max(0, 2 - int(np.floor(np.log10(seconds * 1e3))))}f}"


def compare(name, ours, peers, rounds, exact, fraction, compile_seconds, note=""):
    """Write a row for ours and one for each peer: {name: (run, how much longer the whole job is)}."""
    first = ours()
    if rounds > 1:
        for run, _ in peers.values():
            run()  # numba and others compile too
    medians, results = interleaved({"mdps": ours, **{k: run for k, (run, _) in peers.items()}}, rounds)
    best = medians["mdps"]
    ROWS.append(
        f"| {name} | **mdps** | {milliseconds(best)} | | {fraction(first, best)} "
        f"| first call {compile_seconds:.1f} s{note} |"
    )
    for peer, (_, longer) in peers.items():
        off = np.abs(np.atleast_2d(results[peer]) - exact[: len(np.atleast_2d(results[peer]))]).max()
        note = f"off by {off:.0e}" + (f"; {1 / longer:.1%} of the job, scaled" if longer > 1 else "")
        if "toolbox" not in peer:
            assert off < 2 * TOL, (peer, off)
        ratio = medians[peer] * longer / best
        ROWS.append(f"| {name} | {peer} | {milliseconds(medians[peer] * longer)} | {ratio:.1f}x | | {note} |")
    print(*ROWS[-1 - len(peers) :], sep="\n", flush=True)
    return best


def share(nbytes, seconds, limit, of):
    return f"{nbytes / seconds / limit:.0%} of {of}"


def one_grid(side, discount, rounds, dram, big):
    mdp, chains = grid(side, discount)
    S = side * side
    r = terrain_rewards(S, 1)[0]
    solve = Compiled(mdps.solve)
    reward = jnp.asarray(r)
    compiling, solution = clock(lambda: solve(mdp, reward))
    assert bool(solution.converged)
    alone = f"; {peak():.2f} GB of memory so far, compiler and NumPy's tables included" if big else ""
    exact = np.asarray(solution.value)[None]
    if big:
        peers = {"quantecon mpi": (quantecon(chains, r, discount, "mpi", False), 1)}
    else:
        peers = {f"quantecon {m}": (quantecon(chains, r, discount, m, False), 1) for m in ("vi", "mpi", "pi")}
        peers |= {f"mdpsolver {m}": (mdpsolver(chains, r, discount, m), 1) for m in ("vi", "mpi")}
        peers["pymdptoolbox vi"] = (toolbox(chains, r, discount), 1)
    # Nearly all sweeps run in float32, on problems this large in float64 too.
    width = 4 if S >= 2**16 else 8
    move = lambda s, t: share(int(s.steps) * S * width * MOVED, t, *dram)  # noqa: E731
    name = f"{'W3' if big else 'W1'} {side}x{side}"
    compare(name, lambda: solve(mdp, reward), peers, rounds, exact, move, compiling, alone)
    assert solve.traces == 1
    if big:
        single = jax.tree.map(lambda x: x.astype(jnp.float32) if x.dtype == jnp.float64 else x, mdp)
        low = Compiled(lambda m, r: mdps.solve(m, r, tol=0.02))  # about what float32 can certify here
        low(single, reward.astype(jnp.float32))
        medians, results = interleaved({"low": lambda: low(single, reward.astype(jnp.float32))}, rounds)
        off = np.abs(np.asarray(results["low"].value) - exact).max()
        assert off <= float(results["low"].error_bound)
        note = f"off by {off:.0e}, certified {float(results['low'].error_bound):.0e}"
        ROWS.append(
            f"| {name}, float32 | **mdps** | {milliseconds(medians['low'])} | | "
            f"{share(int(results['low'].steps) * S * 4 * MOVED, medians['low'], *dram)} | {note} |"
        )
        print(ROWS[-1], flush=True)


def many_rewards(side, discount, count, rounds, cache):
    mdp, chains = grid(side, discount)
    S = side * side
    rewards = terrain_rewards(S, count)
    batch = jnp.asarray(rewards)
    hard = Compiled(lambda m, r: jax.vmap(lambda x: mdps.solve(m, x))(r))
    soft = Compiled(lambda m, r, t: jax.vmap(lambda x: mdps.solve(m, x, temperature=t))(r))
    compiling, solution = clock(lambda: hard(mdp, batch))
    assert bool(jnp.all(solution.converged))
    exact = np.asarray(solution.value)
    few, fewer = min(count, 40), min(count, 5)
    peers = {"quantecon pi, dense": (quantecon(chains, rewards, discount, "pi", True), 1)}
    for method in ("vi", "mpi", "pi"):
        peers[f"quantecon {method}, sparse"] = (quantecon(chains, rewards[:few], discount, method, False), count / few)
    for method in ("vi", "mpi"):
        peers[f"mdpsolver {method}"] = (mdpsolver(chains, rewards[:few], discount, method), count / few)
    peers["pymdptoolbox vi"] = (toolbox(chains, rewards[:fewer], discount), count / fewer)
    move = lambda s, t: share(int(s.steps.max()) * S * count * 4 * MOVED, t, *cache)  # noqa: E731
    compare(f"W2 {count} rewards, hard", lambda: hard(mdp, batch), peers, rounds, exact, move, compiling)
    tau = jnp.asarray(0.1)
    medians, results = interleaved(
        {"hard": lambda: hard(mdp, batch), "soft": lambda: soft(mdp, batch, tau)}, rounds + 1
    )
    assert bool(jnp.all(results["soft"].converged))
    # The soft optimum is within τ log A / (1 - γ) above the hard one.
    gap = np.asarray(results["soft"].value) - exact
    assert gap.min() > -2 * TOL
    assert gap.max() < 0.1 * np.log(4) / (1 - discount) + 2 * TOL
    move = share(int(results["soft"].steps.max()) * S * count * 4 * MOVED, medians["soft"], *cache)
    ROWS.append(
        f"| W2 {count} rewards, soft, τ = .1 | **mdps** | {milliseconds(medians['soft'])} | "
        f"{medians['soft'] / medians['hard']:.2f}x hard W2 | {move} | interleaved with hard |"
    )
    print(ROWS[-1], flush=True)

    # Twenty-five maps of forty rewards each: the same number of problems, whose tables are not all one.
    maps = max(1, count // 40)
    tables = jax.tree.map(lambda x: x, replace(mdp, probability=jnp.repeat(mdp.probability[None], maps, axis=0)))
    axes = replace(jax.tree.map(lambda _: None, mdp), probability=0)
    nested = Compiled(lambda m, r: jax.vmap(jax.vmap(mdps.solve, (None, 0)), (axes, 0))(m, r))
    grouped = batch[: maps * (count // maps)].reshape(maps, -1, S)
    compiling, solution_of_maps = clock(lambda: nested(tables, grouped))
    assert np.abs(np.asarray(solution_of_maps.value).reshape(-1, S) - exact[: maps * (count // maps)]).max() < 2 * TOL
    medians, _ = interleaved({"flat": lambda: hard(mdp, batch), "nested": lambda: nested(tables, grouped)}, rounds + 1)
    ROWS.append(
        f"| W2 as {maps} maps x {grouped.shape[1]} rewards, nested vmap | **mdps** "
        f"| {milliseconds(medians['nested'])} | "
        f"{medians['nested'] / medians['flat']:.2f}x hard W2 | | interleaved with hard; first call {compiling:.1f} s |"
    )
    print(ROWS[-1], flush=True)

    policies = solution.policy
    push = Compiled(lambda m, p: jax.vmap(lambda x: mdps.occupancy(m, x, tol=TOL))(p))
    reference = np.asarray(jax.vmap(lambda p: mdps.occupancy(mdp, p))(policies)).sum(2)
    weights = [np.asarray(policies[i]) for i in range(count)]

    def splu():
        answers = []
        for policy in weights:
            chain = sum(sp.diags(policy[:, a]) @ chains[a] for a in range(4))
            system = (sp.identity(S) - discount * chain).T.tocsc()
            answers.append(spla.splu(system).solve(np.full(S, 1 / S)))
        return np.array(answers)

    systems = [
        (sp.identity(S) - discount * sum(sp.diags(p[:, a]) @ chains[a] for a in range(4))).T.tocsc() for p in weights
    ]
    factor = lambda: np.array([spla.splu(m).solve(np.full(S, 1 / S)) for m in systems])  # noqa: E731
    steps = 120  # an estimate of the sweeps, for the fraction alone
    move = lambda _, t: share(steps * S * count * 4 * MOVED, t, *cache)  # noqa: E731
    compiling, visits = clock(lambda: push(mdp, policies))
    assert np.abs(np.asarray(visits).sum(2) - reference).sum(1).max() <= TOL
    peers = {"SciPy splu, assembled": (factor, 1), "SciPy splu with assembly": (splu, 1)}
    compare(f"W4 {count} occupancies", lambda: push(mdp, policies), peers, rounds, reference, move, compiling)
    assert hard.traces == soft.traces == push.traces == 1


def product_rate(size=1000, columns=100):
    """Multiplications and additions per second of a matrix product like that of W5's batch, one thread."""
    x, y = jnp.ones((4 * size, size)), jnp.ones((size, columns))
    product = jax.jit(jnp.matmul)
    product(x, y).block_until_ready()
    return 2 * 4 * size * size * columns / min(clock(lambda: product(x, y))[0] for _ in range(5))


def dense_rows(kind, states, rng, actions=4, leak=1e-3):
    """Transitions `[S, A, S]`."""
    if kind == "mixing":
        return rng.dirichlet(np.ones(states), size=(states, actions))
    size = states // 10
    within = rng.dirichlet(np.ones(size), size=(states, actions))
    rows = np.full((states, actions, states), leak / states)
    for k in range(10):
        block = slice(k * size, (k + 1) * size)
        rows[block, :, block] += (1 - leak) * within[block]
    return rows / rows.sum(axis=2, keepdims=True)


def sparse_rows(kind, states, rng, actions=4, successors=8):
    """Transitions as a CSR matrix `[S A, S]`."""
    to = rng.integers(0, states, (states, 1 if kind == "shared" else actions, successors))
    to = np.broadcast_to(to, (states, actions, successors))
    p = rng.dirichlet(np.ones(successors), size=(states, actions))
    row = np.repeat(np.arange(states * actions), successors)
    return sp.csr_matrix((p.ravel(), (row, to.ravel())), shape=(states * actions, states))


def unstructured(name, kind, states, count, rounds, limits, actions=4, discount=0.95):
    """W5 and W6: one reward, and a batch where `count` > 0, beside quantecon's methods."""
    from quantecon.markov import DiscreteDP

    rng = np.random.default_rng(0)
    rows = (dense_rows if name == "W5" else sparse_rows)(kind, states, rng)
    features, initial = np.ones((states, 1)), np.full(states, 1 / states)
    build = mdps.MDP.from_dense if name == "W5" else mdps.MDP.from_sparse
    mdp = build(rows, features, initial, discount=discount)
    rewards = rng.normal(size=(max(count, 1), states))
    if name == "W5":
        problem = lambda r: DiscreteDP(np.tile(r[:, None], (1, actions)), rows, discount)  # noqa: E731
    else:
        pairs = np.repeat(np.arange(states), actions), np.tile(np.arange(actions), states)
        problem = lambda r: DiscreteDP(np.repeat(r, actions), rows, discount, *pairs)  # noqa: E731
    methods = ("mpi", "pi") if name == "W5" or states <= 2000 else ("mpi",)

    def peers(r):
        """Each method on some rewards; one at a time, as they are used to."""
        some = [problem(x) for x in r[:few]]
        run = lambda m: np.stack([p.solve(method=m, epsilon=2 * TOL, max_iter=100_000).v for p in some])  # noqa: E731
        return {f"quantecon {m}": (functools.partial(run, m), len(r) / len(some)) for m in methods}

    table = mdp.probability[:, 0].nbytes  # what one sweep of a policy reads
    limit, of = limits["L3" if table < 2**23 else "DRAM"]
    few = 1
    one = Compiled(mdps.solve)
    batch = jnp.asarray(rewards)
    reward = batch[0]
    compiling, solution = clock(lambda: one(mdp, reward))
    assert bool(solution.converged)
    fraction = lambda s, t: share(int(s.steps) * table, t, limit, of)  # noqa: E731
    label = f"{name} {kind}, {states:,}"
    compare(
        label,
        lambda: one(mdp, reward),
        peers(rewards[:1]),
        rounds,
        np.asarray(solution.value)[None],
        fraction,
        compiling,
    )
    if not count:
        return
    few = min(5, count)
    many = Compiled(lambda m, r: jax.vmap(lambda x: mdps.solve(m, x))(r))
    compiling, solution = clock(lambda: many(mdp, batch))
    assert bool(jnp.all(solution.converged))
    moved = 2 * mdp.probability.size * count  # additions and multiplications of a sweep
    rate, of = limits["product"]
    fraction = lambda s, t: share(int(s.steps.max()) * moved, t, rate, of) if name == "W5" else ""  # noqa: E731
    exact = np.asarray(solution.value)
    compare(f"{label}, {count} rewards", lambda: many(mdp, batch), peers(rewards), rounds, exact, fraction, compiling)
    assert one.traces == many.traces == 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="small sizes: seconds, to see that it runs")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved runs of each")
    parser.add_argument("--only", nargs="*", default=["w1", "w2", "w3", "w5", "w6"], help="w1, w2 (with soft, W4), ...")
    parser.add_argument("--out", type=Path, help="where to write the table")
    args = parser.parse_args()
    small, rounds = args.small, 2 if args.small else args.rounds
    cache, dram = (bandwidth(4), "L3"), (bandwidth(256), "DRAM")
    if "w3" in args.only:  # first, while memory is its own
        one_grid(100 if small else 1000, 0.99, min(rounds, 3), dram, big=True)
    if "w1" in args.only:
        one_grid(16 if small else 64, 0.99, rounds, cache, big=False)
    if "w2" in args.only:
        many_rewards(6 if small else 12, 0.95, 20 if small else 1000, rounds, cache)
    limits = {"L3": cache, "DRAM": dram, "product": (product_rate(), "the product's rate")}
    for name, kinds, sizes in (
        ("W5", ("mixing", "blocks"), (100, 500, 2000)),
        ("W6", ("shared", "own"), (2000, 20_000, 200_000)),
    ):
        if name.lower() in args.only:
            for kind in kinds:
                for states in (50,) if small else sizes:
                    count = 8 if small else 100 if states <= 2000 else 0
                    unstructured(name, kind, states, count, min(rounds, 3) if states > 2000 else rounds, limits)
    head = f"""# Tabular solvers, one process

`python -m benchmarks.bench_solve{" --small" if small else ""} --rounds {rounds} --only {" ".join(args.only)}`
on {platform.machine()}, {os.cpu_count()} cores, jax {jax.__version__}; load average {os.getloadavg()[0]:.1f}.
Measured bandwidth (read + write): L3 {cache[0] / 1e9:.0f} GB/s, DRAM {dram[0] / 1e9:.0f} GB/s.
Peak memory {peak():.2f} GB, peers included.

float64; everybody stops within 1e-6 of the optimum (mdps: certified bound; quantecon: ε = 2e-6; the
others: a tolerance that reaches it) and is checked to agree (pymdptoolbox does not reach it, see its
column); medians of interleaved runs, one BLAS thread.  "Of the limit" counts, for each sweep, one read
of the reward and of the values and one write of the values, and nothing else that is moved; for one problem of W5
and W6 one read of a policy's part of the table, and for W5's batch the arithmetic of its matrix products.

| job | who | ms | times mdps | of the limit | notes |
| --- | --- | --- | --- | --- | --- |"""
    text = "\n".join([head, *ROWS]) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
