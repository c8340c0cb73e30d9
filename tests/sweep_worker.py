"""A worker of a sweep in a process of its own, for the tests that kill it or start several.

python tests/sweep_worker.py STORE [--shard I/N] [--join PORT I N] [--devices N]
python tests/sweep_worker.py --serve      # reads STORE per line, runs each in a fork, prints its pid and end
"""

import argparse
import os
import sys

import jax
import jax.numpy as jnp

from ird import sweep

GRID = {"scale": [0.5, 1.0, 2.0], "shift": [0, 3]}
SETTINGS = {"num_seeds": 30, "static": {"rule": ["mean", "median"]}, "block": 10, "progress": False}


def trial(key, *, rule, scale, shift):
    """Something to compute, with results of several kinds, one of them NaN now and then."""
    draws = scale * jax.random.normal(key, (64,)) + shift
    middle = {"mean": jnp.mean, "median": jnp.median}[rule](draws)
    return {"middle": middle, "root": jnp.sqrt(draws[:3]), "above": jnp.sum(draws > 1)}


def run(store, **more):
    return sweep.run(trial, GRID, key=jax.random.key(5), store=store, **SETTINGS | more)


def serve():
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            report = run(line.strip())
            os._exit(0 if report.complete else 1)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("store", nargs="?")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--shard", default="0/1")
    parser.add_argument("--devices", type=int)
    parser.add_argument("--join", type=int, nargs=3, metavar=("PORT", "I", "N"))
    options = parser.parse_args()
    if options.serve:
        return serve()
    if options.join:
        port, i, n = options.join
        jax.distributed.initialize(f"localhost:{port}", n, i, initialization_timeout=60)
    print(run(options.store, shard=options.shard, devices=options.devices))
    print(len(jax.devices()), "devices")
    if options.join:
        jax.distributed.shutdown()


if __name__ == "__main__":
    main()
