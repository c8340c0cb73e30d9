"""Waiting that Ctrl-C ends: what takes long and cannot be interrupted is done in a thread of its own.

A compiler, a device and another process do not hear the keyboard; the main thread, which waits for them, does.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar, copy_context
from typing import Any

import jax
import numpy as np

__all__ = ["Stopped", "apart", "deaf_children", "hear_the_keyboard", "heard_by", "in_float64", "say"]
__dir__ = __all__.copy

INTERRUPTED = 130  # how a program ends that Ctrl-C has ended, as shells have it
BEAT = 0.5  # seconds between two looks at the clock while one waits
STOPPED = "stopped; start again to go on"
_TELL: ContextVar[Callable[[str | None], None] | None] = ContextVar("tell", default=None)


class Stopped(SystemExit, KeyboardInterrupt):
    """The keyboard has stopped a sweep: a `KeyboardInterrupt` that, where nobody catches it, leaves no traceback."""


@contextlib.contextmanager
def heard_by(tell: Callable[[str | None], None]) -> Iterator[None]:
    """Tell what is being done, through `say`, in all that is called meanwhile."""
    token = _TELL.set(tell)
    try:
        yield
    finally:
        _TELL.reset(token)


def say(stage: str | None = None) -> None:
    """Say what is being done now; None: that it goes on."""
    tell = _TELL.get()
    if tell is not None:
        tell(stage)


@contextlib.contextmanager
def deaf_children() -> Iterator[None]:
    """Processes that are started meanwhile do not hear Ctrl-C, which would have Python tell how far it had come.

    They hear it from `hear_the_keyboard` on.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def hear_the_keyboard() -> None:
    """Let Ctrl-C end this process at once and without a word, even while it compiles: its caller says what happens."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def in_float64() -> bool:
    """Whether JAX is in float64 mode, here and now."""
    return jax.dtypes.canonicalize_dtype(float) == np.float64


def apart(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call returns or raises; where the main thread waits for it, Ctrl-C is heard at once.

    The thread is left to itself then, and ends with the process.  It sees the caller's own settings of JAX, which are
    those of a thread, as far as they matter to what is computed.
    """
    if threading.current_thread() is not threading.main_thread():
        return call(*arguments)
    found: list[Any] = []
    wrong: list[BaseException] = []
    ended = threading.Event()
    x64, nans, infinities = in_float64(), *(getattr(jax.config, f"jax_debug_{name}") for name in ("nans", "infs"))

    def run() -> None:
        try:
            with jax.enable_x64(x64), jax.debug_nans(nans), jax.debug_infs(infinities):
                found.append(call(*arguments))
        except BaseException as error:
            wrong.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=copy_context().run, args=(run,), daemon=True, name="sweep")
    thread.start()
    try:
        while not ended.wait(BEAT):
            say()
    except BaseException:
        _left.append(thread)
        raise
    if wrong:
        raise wrong[0]
    return found[0]


_left: list[threading.Thread] = []  # what nobody waits for any more


@atexit.register
def _end_with_what_was_left() -> None:
    """End the process where a compiler or a device still works for nobody: Python cannot end such a thread."""
    if any(thread.is_alive() for thread in _left):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(INTERRUPTED)
