"""A worker of a sweep in a process of its own, for the tests that kill it or start several.

python tests/sweep_worker.py STORE [--shard I/N] [--join PORT I N] [--devices N]
python tests/sweep_worker.py --serve      # reads STORE per line, runs each in a fork, prints its pid and end
python tests/sweep_worker.py --race       # reads "WHAT STORE" per line, does it in three forks, prints their ends
"""

import argparse
import os
import sys
import traceback
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ird import sweep
from ird.sweep.axes import Axes, Blocks
from ird.sweep.fields import Field
from ird.sweep.opening import begin
from ird.sweep.stores import Store

GRID = {"scale": [0.5, 1.0, 2.0], "shift": [0, 3]}
SETTINGS = {"num_seeds": 30, "static": {"rule": ["mean", "median"]}, "block": 10, "progress": False}


def trial(key, *, rule, scale, shift):
    """Something to compute, with results of several kinds, one of them NaN now and then."""
    draws = scale * jax.random.normal(key, (64,)) + shift
    middle = {"mean": jnp.mean, "median": jnp.median}[rule](draws)
    return {"middle": middle, "root": jnp.sqrt(draws[:3]), "above": jnp.sum(draws > 1)}


def run(store, **more):
    return sweep.run(trial, GRID, key=jax.random.key(5), store=store, **SETTINGS | more)


def bare(path, chunk=(1, 2)):
    """A store that no trial has to be traced for, of eight trials."""
    axes = Axes({"rule": ("mean", "max")}, {"scale": np.array([0.5, 2.0])}, 2)
    fields = (Field("pair", (2,), "float32", ("pair_0",)), Field("count", (), "int32", ()))
    identity = {
        "version": 1,
        "axes": list(axes.names),
        "static": {"rule": ["mean", "max"]},
        "settings": {"scale": [0.5, 2.0]},
        "num_seeds": 2,
        "fields": {f.name: {"dtype": f.dtype, "shape": list(f.shape), "dims": list(f.dims)} for f in fields},
    }
    identity |= dict.fromkeys(("trial", "key", "precision", "program", "jax", "jaxlib", "device"), "any")
    return Store(Path(path), Blocks(axes, chunk), 1, fields, identity)


def fill(store):
    """Do what is left of a bare store."""
    found = store.survey()
    for _, path in found.begun:
        path.unlink(missing_ok=True)
    for number in np.flatnonzero(~found.done):
        count = int(np.prod(store.blocks.shape(int(number))))
        pairs = number + np.arange(2 * count, dtype=np.float32).reshape(count, 2)
        store.write(int(number), {"pair": pairs, "count": np.arange(count, dtype=np.int32)})
    return bool(store.done().all())


def serve():
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            report = run(line.strip())
            os._exit(0 if report.complete else 1)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def race(copies=3):
    """Nobody starts before all are there; nobody's disk is waited for, so that they meet more often."""
    os.fsync = lambda handle: None
    for line in sys.stdin:
        what, store = line.strip().split(" ", 1)
        ready, go = os.pipe()
        pids = []
        for _ in range(copies):
            pid = os.fork()
            if pid == 0:
                try:
                    os.close(go)
                    os.read(ready, 1)  # until it is closed
                    os._exit(0 if (run(store).complete if what == "run" else fill(begin(bare(store)))) else 1)
                except BaseException:
                    traceback.print_exc()
                    os._exit(2)
            pids.append(pid)
        os.close(go)
        os.close(ready)
        print(*(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("store", nargs="?")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--race", action="store_true")
    parser.add_argument("--shard", default="0/1")
    parser.add_argument("--devices", type=int)
    parser.add_argument("--join", type=int, nargs=3, metavar=("PORT", "I", "N"))
    options = parser.parse_args()
    if options.serve:
        return serve()
    if options.race:
        return race()
    if options.join:
        port, i, n = options.join
        jax.distributed.initialize(f"localhost:{port}", n, i, initialization_timeout=60)
    print(run(options.store, shard=options.shard, devices=options.devices))
    print(len(jax.devices()), "devices")
    if options.join:
        jax.distributed.shutdown()


if __name__ == "__main__":
    main()
