"""Runs every planner on every input: stages, each one compiled program over all maps of a batch."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from examples import _report
from examples.lavaland import inputs, limits, planners
from examples.lavaland.inputs import Input
from examples.lavaland.table import RECOMMENDED, Plan, Results

# Compile the programs of a handful of maps quickly rather than well.
QUICK = {"xla_backend_optimization_level": 0}

START = planners.BASELINES[0]
SINGLE = {
    "literal": Plan("literal"),
    "mean": Plan("posterior mean"),
    "oracle": Plan("oracle: the true reward", control=True),
    "forbid": Plan("forbid the unseen", control=True),
    "demonstration mean": Plan("mean, Bayesian IRL", control=True),
    "recommended": RECOMMENDED,
}


class Stages:
    """Runs compiled stages of one batch over all its cases, keeping time and telling of progress."""

    def __init__(self, source: Input, tell: Callable[[str], None]):
        self.source, self.tell = source, tell
        self.seconds: dict[str, float] = {}
        self.outcomes: dict[Plan, planners.Outcome] = {}
        self.policies: dict[Plan, np.ndarray] = {}
        self._judge = self.compiled(partial(planners.judge, source), 0, 0)
        self._yardstick = self.compiled(planners.yardstick)(source.data)

    def compiled(self, function: Callable[..., Any], *axes: int | None) -> Callable[..., Any]:
        """One compiled program for all cases at once; `axes` are those of the arguments after the case."""
        mapped = jax.vmap(lambda data, *more: function(self.source.case(data), *more), in_axes=(0, *axes))
        return jax.jit(mapped, compiler_options=QUICK if self.source.small else None)

    def run(self, stage: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """One stage, waited for."""
        self.tell(f"{self.source.title}: {stage}")
        began = time.perf_counter()
        made = jax.block_until_ready(function(self.source.data, *arguments))
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.perf_counter() - began, 3)
        return made

    def judge(self, plan: Plan, decision: planners.Decision) -> None:
        """Note how a plan does."""
        self.outcomes[plan] = jax.device_get(self.run("judging", self._judge, self._yardstick, decision))
        if plan.default or plan.planner == "literal":
            self.policies[plan] = jax.device_get(decision.policy)


def alphas_of(settings: dict[str, Any]) -> list[float]:
    """Every α to try, the recommended one among them."""
    return sorted(set(settings["planners"]["alphas"]))


def count_of(settings: dict[str, Any]) -> int:
    """How many stages and judgements one batch takes, for the progress display."""
    risks = len(alphas_of(settings)) + 1
    return 6 + len(SINGLE) + 2 * risks * (len(planners.BASELINES) + len(planners.OFFSETS))


def careful(scheme: str, measured_from: str, alpha: float | None) -> Plan:
    """A planner with a risk measure, as a `Plan`; α None is the worst case."""
    return Plan("worst case" if alpha is None else "CVaR", scheme, measured_from, alpha)


def run_batch(
    settings: dict[str, Any], sources: Sequence[Input], key: jax.Array, tell: Callable[[str], None]
) -> list[Results]:
    """Every planner on inputs that make one batch."""
    source = inputs.joined(sources)
    stages = Stages(source, tell)
    infer = stages.compiled(partial(planners.believe, settings), 0)
    beliefs = stages.run("posterior", infer, jax.random.split(key, len(source)))
    decisions = stages.run("controls", stages.compiled(partial(planners.single, settings), 0), beliefs)
    for i, name in enumerate(planners.SINGLE):
        stages.judge(SINGLE[name], _cut(decisions, (slice(None), i)))

    # α is traced, so one program serves them all; the worst case of n draws is CVaR at any α ≤ 1/n.
    alphas = [*alphas_of(settings), None]
    traced = {alpha: jnp.float32(alpha or 0.5 / settings["planners"]["worst_case_draws"]) for alpha in alphas}
    step = stages.compiled(planners.per_step, 0, 0, None, None)
    for i, name in enumerate(planners.BASELINES):
        for alpha in alphas:
            belief = beliefs.worst if alpha is None else beliefs.posterior
            decision = stages.run("per step", step, beliefs.proxy, belief, i, traced[alpha])
            stages.judge(careful("per step", name, alpha), decision)
    middle = alphas_of(settings)[len(alphas) // 2 - 1]
    nothing = stages.run("per step", step, beliefs.proxy, beliefs.prior, 0, traced[middle])
    stages.judge(Plan("CVaR, no evidence", "per step", START, middle, control=True), nothing)

    measure = stages.compiled(planners.offsets, 0, 0)
    few = stages.run("offsets", measure, beliefs.proxy, beliefs.few)
    worst = stages.run("offsets", measure, beliefs.proxy, beliefs.few_worst)
    whole = stages.compiled(planners.per_trajectory, 0, 0, 0, None, None)
    tol = jnp.float32(settings["planners"]["tol"])
    for i, name in enumerate(planners.OFFSETS):
        for alpha in alphas:
            belief, origins = (beliefs.few_worst, worst) if alpha is None else (beliefs.few, few)
            offset, units = (x[:, i] for x in origins)
            decision = stages.run("per trajectory", whole, belief, offset, units, traced[alpha], tol)
            stages.judge(careful("per trajectory", name, alpha), decision)

    ends = np.cumsum([len(each) for each in sources])
    made = []
    for each, end in zip(sources, ends, strict=True):
        part = slice(end - len(each), end)
        outcomes, policies = (
            {plan: _cut(x, part) for plan, x in d.items()} for d in (stages.outcomes, stages.policies)
        )
        made.append(Results(each, _cut(beliefs, part), outcomes, stages.seconds, policies))
    return made


def run_all(
    settings: dict[str, Any], maps: tuple[Path, Path] | None, console: Console
) -> tuple[list[Results], list[Results]]:
    """Every planner on every input, and the worlds where forbidding the unseen fails; or given maps alone."""
    k_maps, k_plan, k_limits = jax.random.split(jax.random.key(settings["seed"]), 3)
    if maps is not None:
        groups = [[inputs.own(settings, *maps)]]
    else:
        groups = inputs.batches([*inputs.lavalands(settings, k_maps), inputs.shift(settings)])
    worlds = [] if maps is not None else limits.worlds(settings, k_limits)
    with _report.progress(console, transient=True) as progress:
        extra = limits.COUNT * len(worlds)
        task = progress.add_task("drawing maps", total=len(groups) * count_of(settings) + extra)

        def tell(text: str) -> None:
            progress.update(task, description=f"{text:<64.64}", advance=1)

        # Compiling takes most of the time and one core: two threads keep two cores busy.
        with ThreadPoolExecutor(2) as pool:
            main = [
                pool.submit(run_batch, settings, group, jax.random.fold_in(k_plan, i), tell)
                for i, group in enumerate(groups)
            ]
            rest = [pool.submit(run_limit, settings, world, k_limits, tell) for world in worlds]
            found = [each for job in main for each in job.result()]
            return found, [job.result() for job in rest]


def run_limit(settings: dict[str, Any], source: Input, key: jax.Array, tell: Callable[[str], None]) -> Results:
    """The few planners of the second table on one of its worlds."""
    stages = Stages(source, tell)
    keys = jax.random.split(jax.random.fold_in(key, len(source)), len(source))
    decisions = stages.run("planning", stages.compiled(partial(limits.plans, settings), 0), keys)
    for i, plan in enumerate(limits.PLANS):
        stages.judge(plan, _cut(decisions, (slice(None), i)))
    return Results(source, None, stages.outcomes, stages.seconds, stages.policies)


def _cut(tree: Any, part: Any) -> Any:
    return jax.tree.map(lambda x: x[part], tree)
