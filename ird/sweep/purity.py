"""What a trial does besides computing, while it is traced: reading a clock, or drawing numbers that no key decides.

Two traces of such a trial may well agree: `time.time()` rounded to float32 stays the same for two minutes, and a
coin falls the same way twice every other time.  So the sources themselves are watched, not what came of them.
"""

import contextlib
import datetime
import gc
import os
import pickle
import random
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import numpy as np

__all__ = ["Seen", "in_other_states", "states", "watched"]
__dir__ = __all__.copy

_CLOCKS = ("time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime")
_WATCHED: dict[Any, str] = {
    getattr(time, name): f"reads the clock (time.{name})"
    for name in (*_CLOCKS, *(f"{name}_ns" for name in _CLOCKS), "localtime", "gmtime", "ctime", "strftime")
    if hasattr(time, name)
}
_WATCHED |= {getattr(datetime.datetime, x): f"reads the clock (datetime.{x})" for x in ("now", "utcnow", "today")}
_WATCHED |= {datetime.date.today: "reads the clock (date.today)"}
_WATCHED |= {
    getattr(os, name): f"draws random numbers that no key decides (os.{name})"
    for name in ("urandom", "getrandom")
    if hasattr(os, name)
}
_DRAWERS = {"random", "secrets", "uuid"}  # the standard library's, through which others draw
_PYTHON = "Python's own generator (random)"
_PYTHONS = getattr(random.random, "__self__", None)  # that generator
_STANDARD = sysconfig.get_paths()["stdlib"]


@dataclass
class Seen:
    """What was seen of a trial.

    Attributes:
        what: the end of a sentence, such as "reads the clock (time.time), in file.py, line 3"; None if nothing.
        drawn: the generators of the whole process whose state has changed, with the state that they were left in.
    """

    what: str | None = None
    drawn: dict[str, bytes] = field(default_factory=dict)

    @property
    def draws(self) -> str:
        """The end of a sentence about `drawn`."""
        return f"draws from {' and '.join(self.drawn)}"


@contextlib.contextmanager
def watched(top: str) -> Iterator[Seen]:
    """Watch what this thread calls, and the generators of the whole process.

    Where a profiler is at work already, calls are not watched.  No garbage is collected meanwhile: what others have
    asked to be done then (some take the time that it takes) is not the trial's doing.

    Args:
        top: name of the module that calls the trial; what is above it is not the trial's.
    """
    seen, before = Seen(), states()

    free, collects = sys.getprofile() is None, gc.isenabled()
    ours = not free  # did the trial itself draw from Python's generator? unwatched, whoever did is taken for it

    def look(frame: FrameType, event: str, called: Any) -> None:
        nonlocal ours
        if event != "c_call":
            return
        if called in _WATCHED and seen.what is None:
            by = _who(frame, top)
            if by is not None:
                seen.what = f"{_WATCHED[called]}, in {by.f_code.co_filename}, line {by.f_lineno}"
        elif not ours and getattr(called, "__self__", None) is _PYTHONS:
            ours = _who(frame, top) is not None

    gc.disable()
    if free:
        sys.setprofile(look)
    try:
        yield seen
    finally:
        if free:
            sys.setprofile(None)
        if collects:
            gc.enable()
        after = states()
        seen.drawn = {x: after[x] for x in after if after[x] != before[x] and (ours or x != _PYTHON)}


@contextlib.contextmanager
def in_other_states() -> Iterator[Callable[[], dict[str, bytes]]]:
    """Give the generators of the whole process other states, and their own back in the end."""
    numpy, python = np.random.get_state(legacy=False), random.getstate()  # noqa: NPY002 - it is what is watched
    try:
        np.random.random_sample()  # noqa: NPY002
        random.random()
        yield states
    finally:
        np.random.set_state(numpy)  # noqa: NPY002
        random.setstate(python)


def states() -> dict[str, bytes]:
    """The states of the generators of which a process has one."""
    return {
        "NumPy's own generator (np.random)": pickle.dumps(np.random.get_state(legacy=False)),  # noqa: NPY002
        _PYTHON: pickle.dumps(random.getstate()),
    }


def _who(frame: FrameType, top: str) -> FrameType | None:
    """The code that asked; None for what asks on its own behalf, whatever is computed.

    That is JAX, the standard library (a log), modules being imported, and beartype, which draws the item of a list
    whose type it checks.
    """
    by: FrameType | None = frame
    while by is not None and _module(by) in _DRAWERS:
        by = by.f_back
    if by is None or _module(by).partition(".")[0] in ("jax", "jaxlib"):
        return None
    file = by.f_code.co_filename
    if file.startswith("<@beartype"):
        return None
    if file.startswith(_STANDARD) and "-packages" not in file:
        return None
    above: FrameType | None = by
    while above is not None and _module(above) != top:
        if above.f_code.co_filename.startswith("<frozen importlib"):
            return None
        above = above.f_back
    return by


def _module(frame: FrameType) -> str:
    """The name of the module whose code a frame runs."""
    return str(frame.f_globals.get("__name__", ""))
