"""What a machine is, how its processes share it, and where compiled programs are kept."""

import contextlib
import os
import subprocess
import sys

import jax
import pytest
import sweep_trials
from test_ird_sweep_stores import ROOT, contents, environment

from ird.sweep import compilation, processors

FOLDER = "jax_compilation_cache_dir"


def files(folder):
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def nothing_compiled():
    """Nothing is compiled, and JAX has been told no place for what is."""
    told = getattr(jax.config, FOLDER)
    jax.config.update(FOLDER, None)
    processors._forget_the_place()
    compilation._compiled_once.cache_clear()
    yield
    jax.config.update(FOLDER, told)
    processors._forget_the_place()
    compilation._compiled_once.cache_clear()


def test_programs_are_kept_beside_the_store_and_jax_forgets_the_place(tmp_path, nothing_compiled):
    before = {name: getattr(jax.config, name) for name in (FOLDER, "jax_persistent_cache_min_compile_time_secs")}
    assert not before[FOLDER]
    sweep_trials.run(tmp_path / "plain")
    compilation._compiled_once.cache_clear()
    sweep_trials.run(tmp_path / "s", cache=tmp_path / "programs")
    kept = files(tmp_path / "programs")
    assert kept and contents(tmp_path / "s") == contents(tmp_path / "plain")
    assert before == {name: getattr(jax.config, name) for name in before}
    compilation._compiled_once.cache_clear()
    sweep_trials.run(tmp_path / "again", cache=tmp_path / "programs")
    assert {x for x in files(tmp_path / "programs") if "atime" not in x.name} == {
        x for x in kept if "atime" not in x.name
    }
    assert contents(tmp_path / "again") == contents(tmp_path / "plain")


def test_a_callers_own_place_is_respected(tmp_path, nothing_compiled):
    jax.config.update(FOLDER, str(tmp_path / "mine"))
    sweep_trials.run(tmp_path / "s", cache=tmp_path / "programs")
    assert getattr(jax.config, FOLDER) == str(tmp_path / "mine") and not (tmp_path / "programs").exists()
    assert not processors.keep_programs(tmp_path / "programs")


def test_a_store_is_no_place_for_programs(tmp_path):
    for cache, match in (
        (tmp_path / "s", "cache is .* lies in the store"),
        (tmp_path / "s" / "deep" / "down", "cache is .* lies in the store"),
        ("", "cache is ''"),
        (3, "cache is 3"),
    ):
        with pytest.raises(ValueError, match=match):
            sweep_trials.run(tmp_path / "s", cache=cache)
    assert not list(tmp_path.iterdir())


def test_the_make_and_the_features_of_a_processor_are_known():
    make, _, digest = processors.processor().rpartition(", ")
    assert make and len(digest) == 12 and int(digest, 16) >= 0


CLAIM = """
import sys
from ird.sweep.processors import claimed
print(claimed("test " + sys.argv[1], 2), flush=True)
sys.stdin.read()
"""


def test_processes_claim_things_one_after_another_and_give_them_back_when_they_end(tmp_path):
    def start():
        made = subprocess.Popen(
            [sys.executable, "-c", CLAIM, tmp_path.name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment(),
        )  # fmt: skip
        return made, made.stdout.readline().strip()

    with contextlib.ExitStack() as stack:
        first, found = start()
        stack.enter_context(first)
        assert found == "0" and processors.claimed(f"test {tmp_path.name}", 2) == 1
        assert processors.claimed(f"test {tmp_path.name}", 2) is None
        first.kill()
        first.wait()
        assert processors.claimed(f"test {tmp_path.name}", 2) == 0
    while processors._locks:
        processors._locks.pop().close()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are shared where Linux is")
def test_threads_that_start_meanwhile_run_on_a_share(tmp_path, monkeypatch):
    monkeypatch.setenv("PJRT_NPROC", "7")
    all_cores = os.sched_getaffinity(0)
    with processors.share_of_cores(len(all_cores)):
        assert len(os.sched_getaffinity(0)) == 1
    with processors.share_of_cores(None):
        assert os.sched_getaffinity(0) == all_cores
    assert os.sched_getaffinity(0) == all_cores and os.environ["PJRT_NPROC"] == "7"
    while processors._locks:
        processors._locks.pop().close()
