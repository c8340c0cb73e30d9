"""Engines: whatever takes a call with `submit` and gives back something with `done()` and `result()`.

The pools of `concurrent.futures`, Dask's `client.get_executor()` and mpi4py's pools do (PEP 3148), and so do submitit's
executors, whose jobs are looked at now and then.  Which worker gets a block is the engine's business; here are few
blocks in flight at a time, each is tried again if need be, and one that cannot be done does not hold up the others.
"""

import collections
import concurrent.futures
import contextlib
import pickle
import queue
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlparse

from ird.sweep.axes import brief
from ird.sweep.given import brief_error
from ird.sweep.processors import cores
from ird.sweep.waiting import BEAT, deaf_children, say
from ird.sweep.workers import SPAWN, work

__all__ = ["Engine", "Job", "check_executor"]
__dir__ = __all__.copy

ATTEMPTS = 3  # how often a block is tried
AHEAD = 2  # blocks in flight for each worker, at most
SOONEST, LATEST = 0.01, 1.0  # seconds between two looks at jobs that cannot be waited for
RECOUNT = 5.0  # seconds between two counts of an engine's workers, which may come and go

Task = Mapping[str, Any]
Answer = Mapping[str, Any]


@dataclass
class Job:
    """A block on its way.

    Attributes:
        number: which block.
        tries: how often it has been tried.
        lacked: whether a worker had not what every trial gets.
    """

    number: int
    tries: int = 0
    lacked: bool = False

    @property
    def last(self) -> bool:
        """Whether it is not tried again."""
        return self.tries + 1 >= ATTEMPTS


@dataclass
class Engine:
    """An executor, and what is known of it.

    Attributes:
        executor: the executor.
        told: how many workers it has, if the caller has said so.
    """

    executor: Any
    told: int | None = None
    _size: int = field(default=0, repr=False)
    _counted: float = field(default=-RECOUNT, repr=False)

    @property
    def size(self) -> int:
        """How many workers there are now; as many as this machine has cores if nobody knows."""
        if self.told is not None:
            return self.told
        if time.monotonic() - self._counted >= RECOUNT:
            self._size, self._counted = max(1, self._count()), time.monotonic()
        return self._size

    def _count(self) -> int:
        for name in ("num_workers", "_max_workers"):
            known = getattr(self.executor, name, None)
            if isinstance(known, int):
                return known
        threads = self._threads()
        return cores() if threads is None else sum(threads.values())

    def _threads(self) -> Mapping[str, int] | None:
        """Dask's workers, by address, with the threads of each."""
        count: Any = getattr(getattr(self.executor, "_client", self.executor), "nthreads", None)
        found: Any = count() if callable(count) else None
        return found

    @property
    def share(self) -> int | None:
        """How many processes share the cores of a machine; None where that is not known."""
        if isinstance(self.executor, concurrent.futures.ProcessPoolExecutor):
            return self.size
        threads = self._threads()
        if not threads:
            return None
        return max(collections.Counter(urlparse(address).hostname for address in threads).values())

    def ask(self, spec: bytes, task: Task) -> Answer:
        """What one worker answers.

        Raises:
            RuntimeError: if the engine breaks, or fails too often.
        """
        [(_, answer)] = self.answers(spec, [0], lambda job, sends: {**task, "tries": job.tries})
        return answer

    def answers(
        self, spec: bytes, numbers: Iterable[int], task_of: Callable[[Job, bool], Task], supply: bool = False
    ) -> Iterator[tuple[int, Answer]]:
        """The workers' answers for some blocks, as they come.

        Args:
            spec: what all blocks share.
            numbers: the blocks.
            task_of: what to send for a block, with or without what every trial gets.
            supply: whether there is something that every trial gets: it goes with as many blocks as there are
                workers, and with those that a worker without it has sent back.

        Raises:
            RuntimeError: once the engine is broken; answers that had come before are given first.
            ValueError: if workers cannot load what they are sent.
        """
        fresh, again = (Job(number) for number in numbers), collections.deque[Job]()
        flight: dict[Any, Job] = {}
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        supplied = 0
        try:
            while True:
                while len(flight) < AHEAD * self.size:
                    job = again.popleft() if again else next(fresh, None)
                    if job is None:
                        break
                    sends = supply and (job.lacked or supplied < self.size)
                    supplied += sends
                    try:
                        future = self._submit(spec, task_of(job, sends))
                    except concurrent.futures.BrokenExecutor as error:
                        yield from _finished(flight)
                        raise _broken(error) from error
                    flight[future] = job
                    if isinstance(future, concurrent.futures.Future):
                        future.add_done_callback(ended.put)
                if not flight:
                    return
                for future in _wait(flight, ended):
                    job = flight.pop(future)
                    try:
                        answer = _answer(future)
                    except concurrent.futures.BrokenExecutor as error:
                        yield from _finished(flight)
                        raise _broken(error) from error
                    if "lacking" in answer:
                        job.lacked = True
                        again.appendleft(job)
                    elif "raised" in answer and not job.last:
                        job.tries += 1
                        again.append(job)
                    else:
                        yield job.number, answer
        finally:
            for future in flight:
                with contextlib.suppress(Exception):
                    future.cancel()

    def _submit(self, spec: bytes, task: Task) -> Any:
        """Hand a block to the engine."""
        try:
            with deaf_children():
                future = self.executor.submit(work, spec, task)
        except concurrent.futures.BrokenExecutor:
            raise
        except RuntimeError as error:  # it has been shut down
            raise RuntimeError(f"executor takes no block ({error}); give one that is running") from error
        if not callable(getattr(future, "done", None)) or not callable(getattr(future, "result", None)):
            raise ValueError(
                f"executor.submit returned {brief(future)}, which has no done() and result(); give an executor whose "
                "submit returns a future."
            )
        return future


def _answer(future: Any) -> Answer:
    """What a worker says, or that the engine has failed."""
    try:
        return future.result()
    except concurrent.futures.BrokenExecutor:
        raise
    except (ImportError, AttributeError, pickle.PickleError) as error:
        raise ValueError(
            f"a worker cannot load what it is sent ({type(error).__name__}: {brief_error(error)}); install the same "
            "there as here"
        ) from error
    except (Exception, concurrent.futures.CancelledError) as error:
        return {"raised": f"{type(error).__name__}: {brief_error(error)}", "worker": "the engine"}


def _wait(flight: Mapping[Any, Job], ended: "queue.SimpleQueue[Any]") -> list[Any]:
    """Those that are done, once there are any.

    Python's own futures say so themselves, so that a thousand workers cost no more to wait for than one.
    """
    pause = SOONEST
    while True:
        if isinstance(next(iter(flight)), concurrent.futures.Future):
            with contextlib.suppress(queue.Empty):
                return [ended.get(timeout=BEAT)]
        else:
            done = [future for future in flight if future.done()]
            if done:
                return done
            time.sleep(pause)
            pause = min(2 * pause, LATEST)
        say()


def _finished(flight: Mapping[Any, Job]) -> Iterator[tuple[int, Answer]]:
    """What had been answered when the engine broke."""
    for future, job in flight.items():
        with contextlib.suppress(Exception, concurrent.futures.CancelledError):
            answer = future.result() if future.done() else {}
            if "results" in answer or "written" in answer:
                yield job.number, answer


def _broken(error: BaseException) -> RuntimeError:
    return RuntimeError(
        f"the executor broke ({type(error).__name__}: a worker has ended); what was finished is in the store, and the "
        "same call with a new executor goes on"
    )


def check_executor(executor: Any, workers: Any) -> Engine:
    """The engine, once it is known to be one that can be used.

    Raises:
        ValueError: for what has no `submit`, and for a pool whose workers are forks of this process.
    """
    if not callable(getattr(executor, "submit", None)) or isinstance(executor, type):
        raise ValueError(
            f"executor is {brief(executor)}, which has no submit; give a concurrent.futures pool, Dask's "
            "client.get_executor(), or another object whose submit returns a future."
        )
    start = getattr(getattr(executor, "_mp_context", None), "get_start_method", lambda: "")()
    if isinstance(executor, concurrent.futures.ProcessPoolExecutor) and start == "fork":
        raise ValueError(
            f"executor forks this process, in which JAX runs threads, so it may hang; make it with {SPAWN}."
        )
    return Engine(executor, workers)
