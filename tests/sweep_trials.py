"""Trials that workers can import, and engines that do what a test wants of them."""

import concurrent.futures
import os
import pickle
import re
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from ird import sweep
from ird.sweep import compilation

KEY = jax.random.key(5)
GRID = {"scale": [0.5, 2.0], "shift": [0, 3]}
shift_of_the_code = 0.0  # a program of another code version, when it changes


def trial(key, *, scale, shift):
    """Results of several kinds, of a product whose precision matters."""
    draws = scale * jax.random.normal(key, (4, 4)) + shift + shift_of_the_code
    return {"square": draws @ draws, "root": jnp.sqrt(draws[0]), "above": jnp.sum(draws > 1)}


def with_given(key, *, scale, offsets, world):
    """What every trial gets, by name."""
    return {"value": scale * jax.random.normal(key, (2,)) + offsets + world["reward"].sum()}


def with_all_of(key, *, given):
    """What every trial gets, in one piece."""
    return jax.random.normal(key) + given[0] + given[1].sum()


def root(key, *, scale):
    """NaN for some."""
    return jnp.sqrt(scale + jax.random.normal(key))


def folded(key):
    """Constants that take a compiler minutes."""
    sums = jax.lax.reduce_window(jax.lax.iota(jnp.float32, 4_000_000), 0.0, jax.lax.add, (64,), (1,), "SAME")
    return jax.random.normal(key) + sums[3]


def worst(case, *, offset):
    """Something of a case that is a pytree."""
    return {"worst": jnp.min(case["returns"]) - offset, "returns": case["returns"] * case["weight"]}


def run(store, **more):
    arguments = {"num_seeds": 7, "key": KEY, "block": 4, "progress": False} | more
    return sweep.run(arguments.pop("trial", trial), arguments.pop("grid", GRID), store=store, **arguments)


class Relay:
    """An executor that computes at once, in the calling thread, and counts.

    Args:
        before: called with the spec and the task of each call; what it returns or raises is the answer, unless None.
        after: called with each answer.
        size: how many workers it says it has.
    """

    def __init__(self, before=lambda spec, task: None, after=lambda answer: answer, size=2):
        self.before, self.after, self.num_workers = before, after, size
        self.tasks, self.flying, self.most = [], 0, 0

    def submit(self, function, spec, task):
        self.tasks.append(task)
        pickle.dumps((spec, task))  # as it would be sent
        self.flying += 1
        self.most = max(self.most, self.flying)
        return Job(self, lambda: self.after(self.before(spec, task) or function(spec, task)))


class Job:
    """What comes of a call, computed when it is first looked at, which is not at once: an engine that is polled."""

    def __init__(self, relay, call):
        self.relay, self.call, self.looks, self.answer = relay, call, 0, None

    def done(self):
        self.looks += 1
        return self.looks > 1

    def result(self):
        self.relay.flying -= 1
        return self.call()


class Counting(concurrent.futures.ThreadPoolExecutor):
    """Threads, and how many calls were in flight at most."""

    def __init__(self, workers):
        super().__init__(workers)
        self.lock, self.flying, self.most = threading.Lock(), 0, 0

    def submit(self, *call):
        with self.lock:
            self.flying += 1
            self.most = max(self.most, self.flying)
        future = super().submit(*call)
        future.add_done_callback(lambda _: self.landed())
        return future

    def landed(self):
        with self.lock:
            self.flying -= 1


def process():
    """Which process this is."""
    return os.getpid()


def compiled():
    """Which process this is, and how many programs it has compiled."""
    time.sleep(0.2)  # so that each worker of a pool takes one call
    return os.getpid(), compilation._compiled_once.cache_info().misses


def lives(pid):
    """Whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def cores_of_threads():
    """The cores on which one thread or another of this process may run, threads that may run on all left out."""
    time.sleep(0.2)  # so that each worker of a pool takes one call
    files = Path("/proc/self/task").glob("*/status")
    found = {re.search(r"Cpus_allowed_list:\s*(.*)", file.read_text())[1] for file in files}
    return os.getpid(), found
