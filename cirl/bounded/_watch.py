"""What a long solve says while it runs, and what stops it: a time that was asked for, or Ctrl-C."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator

QUIET = 3.0  # seconds before anything is said
EVERY = 0.5  # seconds between two lines


class Watch:
    """A clock that starts when it is made; as a context it writes a line of status to stderr, again and again.

    Args:
        max_seconds: when time is up, or None.
        told: whether to write; None: where stderr is a terminal.

    Attributes:
        doing: what is being done, for the line.
        interrupted: whether somebody pressed Ctrl-C.
        stuck: whether a search stopped because nothing moved any more.
    """

    def __init__(self, max_seconds: float | None = None, told: bool | None = None):
        self.began, self.max_seconds = time.perf_counter(), max_seconds
        self.doing, self.interrupted, self.stuck = "", False, False
        self._told = sys.stderr.isatty() if told is None else told
        self._done, self._writer, self._width = threading.Event(), None, 0

    def seconds(self) -> float:
        """Since the clock started."""
        return time.perf_counter() - self.began

    def over(self) -> bool:
        """Whether to stop."""
        return self.interrupted or (self.max_seconds is not None and self.seconds() > self.max_seconds)

    @contextlib.contextmanager
    def stoppable(self) -> Iterator[None]:
        """In here Ctrl-C is the wish to stop with what there is; pressed again it is what it always was."""
        ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a program's own handler is its own
        if not ours or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._asked)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _asked(self, *_) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted, self.doing = True, "stopping"

    def __enter__(self) -> "Watch":
        if self._told:
            self._writer = threading.Thread(target=self._write, daemon=True)
            self._writer.start()
        return self

    def __exit__(self, *_) -> None:
        self._done.set()
        if self._writer is not None:
            self._writer.join()
            if self._width:
                self._line("")
                print(end="\r", file=sys.stderr, flush=True)

    def _write(self) -> None:
        wait = QUIET
        while not self._done.wait(wait):
            wait = EVERY
            self._line(f"solving, {self.seconds():.0f} s{': ' * bool(self.doing)}{self.doing}")

    def _line(self, text: str) -> None:
        print(f"\r{text:<{self._width}}", end="", file=sys.stderr, flush=True)
        self._width = len(text)
