"""Blocks on the workers of an engine: what is sent to them, and what is made of their answers."""

import pickle
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ird.sweep.axes import Axes
from ird.sweep.engines import AHEAD, Answer, Engine, Job, Task
from ird.sweep.given import NOTHING, Cases, Given, check_travels
from ird.sweep.plain import Watch, write_or_say
from ird.sweep.progress import Progress
from ird.sweep.stores import Store
from ird.sweep.trials import Trial
from ird.sweep.waiting import in_float64, say
from ird.sweep.workers import name_here, versions

__all__ = ["Failed", "Spread", "warn_of_mixture"]
__dir__ = __all__.copy

MATMUL = "jax_default_matmul_precision"
HOPELESS = 10  # so many blocks that raise, and none that does not, end a sweep
NAMED = 5  # how many trials that raise are named in one message


class Failed(RuntimeError):
    """Some blocks could not be computed; all others are in the store."""


@dataclass
class Spread:
    """A sweep on an engine.

    Attributes:
        engine: the engine.
        call: the trial, as it was given.
        examined: the trial, as this process has traced it.
        axes: what is varied.
        key: the key of the sweep.
        platform: the platform that the trial was traced for.
        given: what every trial gets.
        cases: the cases of a map.
        cache: a folder for compiled programs.
        by_workers: whether workers write the store.
        stop: whether the first trial that raises ends the sweep.
    """

    engine: Engine
    call: Callable
    examined: Trial
    axes: Axes
    key: Any
    platform: str
    given: Given = NOTHING
    cases: Cases | None = None
    cache: Path | None = None
    by_workers: bool = False
    stop: bool = False
    run: str = field(default_factory=lambda: uuid.uuid4().hex)  # an engine may remember calls that are the same

    def spec(self, device: str) -> bytes:
        """What all blocks share, as it travels."""
        inner = {
            "trial": self.call,
            "inputs": replace(self.examined.inputs, key=None),
            "fields": self.examined.fields,
            "digests": self.examined.digests,
            "combinations": self.axes.combinations,
        }
        known = {
            **versions(),
            "caller": name_here(),
            "platform": self.platform,
            "device": device,
            "x64": in_float64(),
            "matmul": getattr(jax.config, MATMUL),
            "key": (str(jax.random.key_impl(self.key)), np.asarray(jax.random.key_data(self.key)).tolist()),
            "share": self.engine.share,
            "cache": None if self.cache is None else str(self.cache),
            "inner": check_travels("what every trial gets, or a case,", inner),
        }
        return pickle.dumps(known)

    def look(self, fit: bool, block: int | None, memory: int | None, pieces: int) -> Mapping[str, Any]:
        """What a worker sees: its platform and device, and if asked how to divide the trials.

        Raises:
            ValueError: if it is refused.
            RuntimeError: if none can be asked.
        """
        say("waiting for a worker, which compiles" if fit else "waiting for a worker")
        task = {"fit": fit, "axes": self.axes, "block": block, "memory": memory, "pieces": pieces, "run": self.run}
        answer = self.engine.ask(self.spec(""), task)
        _check_fit(answer)
        if "raised" in answer:
            raise Failed(f"no worker can be asked: {answer['raised']}")
        return answer["seen"] | {"processor": answer["processor"]}

    def do(self, store: Store, numbers: Sequence[int], shown: Progress) -> int | None:
        """Have blocks computed and written; how many bytes one needs, None if there are none.

        Raises:
            ValueError: if a worker is refused.
            Failed: once all is done that can be done, if a trial raises.
        """
        if not numbers:
            return None
        need, watch, wrong = None, Watch(store), []
        digest, sent = self.given.digest, b""
        if digest:
            sent = check_travels("given", self.given.tree)
        described = (str(store.path.resolve()), watch.described) if self.by_workers else None

        def task_of(job: Job, sends: bool) -> Task:
            task = self.task(store, job) | {"given": digest, "sent": sent if sends else None}
            return task | {"store": described}

        spec, warned = self.spec(store.identity["device"]), False
        for number, answer in self.engine.answers(spec, numbers, task_of, bool(digest)):
            _check_fit(answer)
            warned = warned or warn_of_mixture(
                store, answer.get("processor", store.identity.get("processor")), answer["worker"]
            )
            if "raised" in answer:
                wrong.append(self.words(store, number, answer))
                if self.stop or (not shown.count and len(wrong) >= max(HOPELESS, AHEAD * self.engine.size)):
                    break
                continue
            need = max(need or 0, answer["memory"])
            if "results" in answer:
                watch.check()
                write_or_say(store, number, answer["results"], shown.count)
            shown.advance(store.trials([number]))
        if wrong:
            raise Failed(_all_that_raised(wrong, store))
        return need

    def task(self, store: Store, job: Job) -> dict[str, Any]:
        """A block as it travels."""
        settings, seeds = store.blocks.along(job.number)
        cases = None
        if self.cases is not None:
            cases = self.axes.last, self.cases.part(slice(seeds.start, seeds.stop))
        return {
            "run": self.run,
            "number": job.number,
            "combination": store.blocks.combination(job.number),
            "settings": settings,
            "seeds": (seeds.start, seeds.stop),
            "cases": cases,
            "lanes": store.lanes,
            "steps": -(-store.blocks.width // store.lanes),
            "tries": job.tries,
            "last": job.last,
        }

    def words(self, store: Store, number: int, answer: Answer) -> str:
        """Which trial raised what."""
        settings, seeds = store.blocks.along(number)
        static = self.axes.combinations[store.blocks.combination(number)]
        if "seed" in answer:
            chosen = {**static, **answer["settings"], self.axes.last: answer["seed"]}
            where = ", ".join(f"{name}={value!r}" for name, value in chosen.items())
        else:
            parts = [f"{name}={value!r}" for name, value in static.items()]
            parts += [_span(name, values) for name, values in settings.items()]
            where = ", ".join([*parts, _span(self.axes.last, seeds)])
        return f"{answer['raised']} ({where}; on {answer['worker']})"


def _span(name: str, values: Sequence[Any] | np.ndarray) -> str:
    """A setting's values in a block."""
    first, last = values[0], values[-1]
    return f"{name}={first}" if len(values) == 1 else f"{name}={first} to {last}"


def _all_that_raised(wrong: Sequence[str], store: Store) -> str:
    """One message about all trials that raised."""
    more = f"\n  and {len(wrong) - NAMED:,} more" if len(wrong) > NAMED else ""
    return (
        f"{len(wrong):,} of {store.blocks.count:,} blocks raised an error, tried several times each; the others that "
        f"are done are in {store.path}. A trial of each:\n  " + "\n  ".join(wrong[:NAMED]) + more
    )


def _check_fit(answer: Answer) -> None:
    """Raise if a worker cannot do what it was sent.

    Raises:
        ValueError: naming the worker and what is wrong.
    """
    if "refused" in answer:
        raise ValueError(f"worker {answer['worker']} is refused: {answer['refused']}.")


def warn_of_mixture(store: Store, here: str, where: str) -> bool:
    """Whether a block is computed by another processor than the store was begun with, which is said."""
    begun = store.identity.get("processor")
    if begun is None or begun == here:
        return False
    warnings.warn(
        f"{store.path} was begun on {begun}, and {where} computes on {here}: their results may differ in the last bit. "
        "Use machines of one kind where that matters.",
        stacklevel=2,
    )
    return True
