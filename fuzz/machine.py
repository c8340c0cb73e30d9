"""The loop: families of promises take turns, batch by batch, until the time or the number of problems is up."""

import time
from collections.abc import Callable, Sequence
from types import ModuleType

import jax

from fuzz import doors, ending, measuring, planning, playing, refusing, saying, solving, trouble, visiting
from fuzz.promises import Checked, Report

FAMILIES: dict[str, ModuleType] = {
    "solve": solving,
    "visit": visiting,
    "end": ending,
    "trouble": trouble,
    "risk": measuring,
    "plan": planning,
    "evidence": saying,
    "game": playing,
    "door": doors,
    "refuse": refusing,
}

# How many batches of each family make a round of 32; what compiles anew nearly every time is asked less often.
SHARES = {
    "solve": 32,
    "visit": 24,
    "end": 32,
    "trouble": 16,
    "risk": 8,
    "plan": 32,
    "evidence": 2,
    "game": 32,
    "door": 4,
    "refuse": 4,
}

SCRIPT = """\
# {promise}: {error:.3g} where {allowed:.3g} is allowed.
# {call}
import jax
from fuzz import {module} as family

with jax.enable_x64({x64}):
    problems = family.draw(seed={seed}, batch={batch})
    answers = family.answers(problems)
    checked = {{c.promise: c for c in family.check(problems, answers)}}[{promise!r}]
    print("problem:", problems.show({index}))
    error, allowed = checked.at({index})
    print("error:", error, "allowed:", allowed)
assert error <= allowed
"""


def run(
    seed: int = 0,
    only: Sequence[str] | None = None,
    *,
    seconds: float = float("inf"),
    most: int | None = None,
    batches: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Report:
    """Look for violations.

    Args:
        seed: where the problems come from; the same seed draws the same ones, in the same order.
        only: names of families; None: all.
        seconds: when to stop.
        most: after how many problems to stop.
        batches: after how many batches of each family to stop.
        say: what is told on the way.

    Returns:
        Every promise with how often it was tried and held, and a script for each violation.
    """
    report, began, told, batch = Report(), time.monotonic(), 60.0, 0
    names = list(FAMILIES) if only is None else list(only)
    while batches is None or batch < batches:
        for name in names:
            share = SHARES[name]
            if batch and (batch * share) // 32 == ((batch - 1) * share) // 32:
                continue  # every family has its first batch, and then its share
            known = len(report.violations)
            one_batch(report, name, seed, (batch * share) // 32)
            for violation in report.violations[known:]:
                say(violation.script)
            report.seconds = time.monotonic() - began
            if report.seconds >= seconds or (most is not None and report.problems >= most):
                return report
            if report.seconds >= told:
                say(f"{report.seconds / 60:.0f} min: {report.problems:,} problems, {len(report.violations)} violations")
                told += 60.0
        batch += 1
    return report


def one_batch(report: Report, name: str, seed: int, batch: int) -> None:
    """Draw, ask and hold one batch of a family against its promises; an exception is a violation too."""
    family = FAMILIES[name]
    wide = family.wide(seed, batch)
    spell = {"module": family.__name__.rpartition(".")[2], "x64": wide, "seed": seed, "batch": batch}
    with jax.enable_x64(wide):
        problems = family.draw(seed, batch)
        report.problems += problems.size
        try:
            checks = family.check(problems, family.answers(problems))
        except Exception as error:
            failed = Checked(f"{name}: no exception", [1.0], 0.0)
            told = f"{type(error).__name__}: {error}".splitlines()[0][:110]
            report.add(failed, lambda i: script(failed, i, told, spell))
            return
    for c in checks:
        report.add(c, lambda i, c=c: script(c, i, family.call(problems, i), spell))


def script(c: Checked, i: int, call: str, spell: dict) -> str:
    """A program that shows problem `i` violating a promise."""
    error, allowed = c.at(i)
    return SCRIPT.format(promise=c.promise, error=error, allowed=allowed, index=i, call=call, **spell)
