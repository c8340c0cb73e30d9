"""How far a sweep is, how fast it goes and how long it will take: a bar in a terminal, lines elsewhere."""

import sys
import time
from typing import Any, Self

__all__ = ["Progress", "clock"]
__dir__ = __all__.copy

EVERY = 10.0  # seconds between lines


class Progress:
    """Counts trials; a context manager.

    Args:
        total: trials to do.
        wanted: whether to show anything.
        title: what is being done.
        stream: where lines go; standard error when None.
    """

    def __init__(self, total: int, wanted: bool, title: str, stream: Any = None):
        self.total, self.wanted, self.title = total, wanted, title
        self.stream = sys.stderr if stream is None else stream
        self.count, self.began, self.told = 0, time.perf_counter(), time.perf_counter()
        self.bar: Any = None
        self.stage, self.staged = "", self.began

    def __enter__(self) -> Self:
        if self.wanted and self.stream.isatty():
            self.bar = _rich_bar(self.stream)
            if self.bar is not None:
                self.bar.start()
                self.task = self.bar.add_task(self.title, total=self.total, rate="")
        return self

    def __exit__(self, *_) -> None:
        if self.bar is not None:
            self.bar.stop()

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.began

    @property
    def rate(self) -> float:
        """Trials per second so far."""
        return self.count / max(self.seconds, 1e-9)

    def say(self, stage: str | None = None) -> None:
        """What is being done before there are trials to count, such as "compiling"; None: that it goes on."""
        if not self.wanted:
            return
        if stage is not None and stage != self.stage:
            self.stage, self.staged = stage, time.perf_counter()
            if self.bar is not None:
                self.bar.update(self.task, description=f"{self.title}: {stage}")
            else:
                self._tell(stage)
        elif self.bar is None and time.perf_counter() - self.told > EVERY:
            more = f", {clock(time.perf_counter() - self.staged)}" if self.stage else ""
            self._tell(f"{self.stage or self._counted()}{more}")

    def expect(self, total: int) -> None:
        """From here on trials are counted, so many of them."""
        self.total, self.began, self.stage = total, time.perf_counter(), ""
        if self.bar is not None:
            self.bar.update(self.task, total=total, description=self.title)
        elif self.wanted and total:
            self._tell(self._counted())

    def _counted(self) -> str:
        return f"{self.count:,} of {self.total:,} trials"

    def _tell(self, text: str) -> None:
        """A line of its own."""
        self.told = time.perf_counter()
        print(f"{self.title}: {text}", file=self.stream, flush=True)

    def advance(self, trials: int) -> None:
        """So many trials more are done and saved."""
        self.count += trials
        self.stage = ""
        if self.bar is not None:
            rate = f"{self.rate:,.3g} trials/s"
            self.bar.update(self.task, advance=trials, rate=rate, description=self.title)
        elif self.wanted and (self.count == self.total or time.perf_counter() - self.told > EVERY):
            left = (self.total - self.count) / max(self.rate, 1e-9)
            self._tell(f"{self._counted()}, {self.rate:,.3g} trials/s, {clock(left)} left")


def clock(seconds: float) -> str:
    """A duration as hours, minutes and seconds.

    Example:
        >>> clock(3725), clock(59.6)
        ('1:02:05', '1:00')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _rich_bar(stream: Any) -> Any:
    """A bar of rich's, or None without rich."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar
    except ImportError:
        return None
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(file=stream),
    )
