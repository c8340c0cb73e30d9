"""Sweeps on Dask: a worker is killed in mid-run, Dask starts another, and the store is that of a plain run."""

import os
import signal
import threading

import distributed
import pytest
import sweep_trials
from test_ird_sweep_engines import bounded, marks  # noqa: F401
from test_ird_sweep_stores import contents

from ird.sweep import engines


@pytest.fixture
def cluster():
    """Two processes on this machine, which nobody else can reach; they are gone in the end."""
    made = distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        worker_dashboard_address=None,
        silence_logs=50,
    )
    seen = []
    with made, distributed.Client(made, timeout=60) as client:
        yield client, seen
    assert len(seen) == 3 and not any(map(sweep_trials.lives, seen))


def test_killed_by_sigkill_in_mid_run_dask_restarts_the_worker_and_the_store_is_whole(tmp_path, cluster):
    (cluster, seen), store = cluster, tmp_path / "s"
    executor = cluster.get_executor()
    before = cluster.run(sweep_trials.process)
    assert len(set(before.values())) == 2 and os.getpid() not in before.values()
    assert (engines.Engine(executor).size, engines.Engine(executor).share) == (2, 2)
    killed = []

    def kill():
        while marks(store) < 5 and not ended.wait(0.01):
            pass
        if not ended.is_set():
            os.kill(next(iter(before.values())), signal.SIGKILL)
            killed.append(marks(store))

    ended = threading.Event()
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        report = sweep_trials.run(store, executor=executor, block=1, num_seeds=25)
    finally:
        ended.set()
        killer.join()
    assert killed and 5 <= killed[0] < 100, killed
    assert report.complete and report.ran == 100
    cluster.wait_for_workers(2, timeout=60)
    after = cluster.run(sweep_trials.process)
    assert len(set(after.values()) - set(before.values())) == 1  # another in its place
    seen += {*before.values(), *after.values()}
    sweep_trials.run(tmp_path / "plain", block=1, num_seeds=25)
    assert contents(store) == contents(tmp_path / "plain")
