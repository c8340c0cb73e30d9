"""A long solve says what it does, keeps to its time, and hands over its bounds when it is stopped."""

import os
import signal
import threading
import time
import warnings

import pytest

from cirl import Bounded, Exact, solve
from cirl.bounded import Watch, _watch
from cirl.games import apprenticeship
from cirl.human import EpsilonGreedy

SLIPS = EpsilonGreedy(0.3)


@pytest.fixture(scope="module")
def garden():
    """A game whose bounds stay apart for minutes, with its programs compiled."""
    game = apprenticeship.game(10, 12)
    solve(game, human=SLIPS, method=Bounded(max_backups=40))
    return game


def test_a_limit_in_seconds_counts_everything_and_ctrl_c_hands_over_the_bounds(garden):
    began = time.perf_counter()
    timed = solve(garden, human=SLIPS, method=Bounded(max_seconds=2.0))
    taken = time.perf_counter() - began
    assert taken >= 2.0 and not bool(timed.converged)
    stop = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    stop.start()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # who stops it needs no warning
        stopped = solve(garden, human=SLIPS, method=None)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not bool(stopped.converged) and float(stopped.lower) <= float(timed.upper)
    assert float(timed.lower) <= float(stopped.upper) and stopped.robot.decision.shape[0] > 0


def test_pressed_twice_it_raises_and_handlers_of_others_are_left_alone():
    watch = Watch()
    with pytest.raises(KeyboardInterrupt), watch.stoppable():
        signal.raise_signal(signal.SIGINT)
        assert watch.over() and watch.interrupted
        signal.raise_signal(signal.SIGINT)
    caught, before = [], signal.signal(signal.SIGINT, lambda *_: caught.append(1))
    try:
        with Watch().stoppable():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert caught == [1]
    inside = []
    thread = threading.Thread(target=lambda: inside.append(Watch().stoppable().__enter__()))  # signals are not its own
    thread.start()
    thread.join()
    assert inside == [None]


def test_a_line_of_status_comes_after_a_while_and_goes(garden, capsys, monkeypatch):
    monkeypatch.setattr(_watch, "QUIET", 0.05)
    monkeypatch.setattr(_watch, "EVERY", 0.05)
    solve(garden, human=SLIPS, method=Bounded(max_seconds=0.6), progress=True)
    said = capsys.readouterr().err
    assert "solving, 0 s: " in said and "<= value <=" in said and said.endswith("\r")
    solve(garden, human=SLIPS, method=Bounded(max_seconds=0.3))  # stderr is no terminal here
    solve(garden, method=Bounded(max_seconds=0.3), progress=False)
    assert capsys.readouterr().err == ""
    with pytest.raises(ValueError, match="progress is 1"):
        solve(garden, progress=1)


def test_bounds_that_no_longer_move_are_warned_of_whatever_the_budget():
    game = apprenticeship.game(2, 2, lesson=1, work=1)
    with pytest.warns(RuntimeWarning, match="wider than tol"):
        stuck = solve(game, human=SLIPS, method=Bounded(max_backups=10_000), tol=1e-12)
    assert not bool(stuck.converged)
    exact = solve(game, method=Exact())
    assert float(stuck.lower) <= float(exact.upper)
