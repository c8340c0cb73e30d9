"""What takes long says so from the first second, and Ctrl-C ends it at once: while it compiles, computes or waits."""

import io
import os
import select
import signal
import subprocess
import sys
import threading
import time

import jax
import pytest
import sweep_trials
from test_ird_sweep_stores import ROOT, environment

from ird.sweep import waiting
from ird.sweep.progress import Progress
from ird.sweep.waiting import STOPPED, Stopped, apart, heard_by, say

SLOW = """
import contextlib, sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import jax, jax.numpy as jnp
import sweep_trials
from ird import sweep

def endless(key):  # takes a device minutes
    return jax.lax.fori_loop(0, 2_000_000_000, lambda i, x: jnp.sin(x), jax.random.normal(key))

class Nobody:  # an engine whose workers never come
    num_workers = 1
    def submit(self, *call):
        return self
    def done(self):
        return False
    def result(self):
        raise AssertionError

if __name__ == "__main__":
    what, store = sys.argv[1:]
    trial = {"computing": endless, "waiting": jax.random.normal}.get(what, sweep_trials.folded)
    executor = {"waiting": Nobody, "a pool": lambda: ProcessPoolExecutor(1, mp_context=get_context("spawn"))}
    with contextlib.ExitStack() as stack:
        if what in executor:
            executor = executor[what]()
            if what == "a pool":
                stack.enter_context(executor)
        else:
            executor = None
        sweep.run(trial, {}, num_seeds=1, key=jax.random.key(0), store=store, executor=executor)
"""


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("compiling", "sweep: compiling"),
        ("computing", "sweep: 0 of 1 trials"),
        ("waiting", "sweep: waiting for a worker"),
        ("a pool", "sweep: waiting for a worker"),
    ],
)
def test_ctrl_c_is_answered_within_two_seconds_without_a_traceback(tmp_path, what, line):
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, what, str(tmp_path / "s")],
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        cwd=ROOT,
        env=environment(TF_CPP_MIN_LOG_LEVEL="3"),
        start_new_session=True,  # a terminal's Ctrl-C goes to all processes of a session
    ) as program:
        try:
            said = ""
            while line not in said:
                assert select.select([program.stderr], [], [], 60)[0], said
                said += program.stderr.readline()
            time.sleep(0.5)  # well into it
            assert program.poll() is None
            os.killpg(program.pid, signal.SIGINT)
            began = time.monotonic()
            more = program.stderr.readline()
            answered = time.monotonic() - began
            more += program.communicate(timeout=30)[1]
            ended = time.monotonic() - began
        finally:
            program.kill()
    assert said.startswith("sweep: tracing\n")
    assert more == "sweep: stopped; start again to go on\n"
    assert program.returncode == 130
    assert answered < 2 and (ended < 2 or what == "a pool")  # whose process was on the way, and is waited for


def test_what_stops_is_a_keyboard_interrupt_that_ends_a_program_quietly():
    with pytest.raises(KeyboardInterrupt) as stop:
        raise Stopped(130)
    assert isinstance(stop.value, SystemExit) and stop.value.code == 130 and "start again" in STOPPED


def test_a_call_apart_returns_raises_keeps_float64_and_lets_the_main_thread_hear(monkeypatch):
    monkeypatch.setattr(waiting, "BEAT", 0.01)
    heard = []
    with heard_by(heard.append), jax.enable_x64(True):
        assert apart(lambda: (time.sleep(0.1), waiting.in_float64(), threading.current_thread())[1:]) != (
            True,
            threading.main_thread(),
        )
        assert apart(waiting.in_float64)
        with pytest.raises(ZeroDivisionError):
            apart(lambda: 1 / 0)
    assert len(heard) >= 3 and set(heard) == {None}
    say("nobody hears this")
    here = []
    thread = threading.Thread(target=lambda: here.append(apart(threading.current_thread)))
    thread.start()
    thread.join()
    assert here == [thread]  # who is not the main thread does it itself


def test_the_line_of_status_says_what_is_done_before_there_is_anything_to_count(tmp_path, capsys, monkeypatch):
    sweep_trials.run(tmp_path / "s", progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "sweep: tracing" and "sweep: 0 of 28 trials" in lines
    assert lines[-1].startswith("sweep: 28 of 28 trials")
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    out = io.StringIO()
    with Progress(0, True, "sweep", out) as shown:
        shown.say("compiling")
        shown.say("compiling")  # the next program
        for _ in range(25):
            now[0] += 1
            shown.say()
        shown.expect(4)
    assert out.getvalue().splitlines() == [
        "sweep: compiling", "sweep: compiling, 0:11", "sweep: compiling, 0:22", "sweep: 0 of 4 trials",
    ]  # fmt: skip


def test_a_terminal_is_told_in_its_bar():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out = Terminal()
    with Progress(0, True, "sweep", out) as shown:
        shown.say("compiling")
        shown.bar.refresh()
        assert "sweep: compiling" in out.getvalue()
        shown.expect(3)
        shown.advance(3)
    assert "3/3" in out.getvalue()
