"""Solve a game: the robot that is best for the team, with bounds on its value."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float

from cirl.bounded import Bounded, HeuristicSearch, Watch
from cirl.exact import (
    MOST_PLANS,
    MOST_THETAS,
    TooManyPlansError,
    best_replies,
    cost_of_subsets,
    solve_plans,
    solve_subsets,
)
from cirl.game import Game, grounded
from cirl.host_game import HostGame
from cirl.human import (
    Boltzmann,
    EpsilonGreedy,
    Human,
    Literal,
    Pedagogic,
    Rational,
    check_game,
    check_sharpness,
    fitted,
)
from cirl.policy_graph import Nodes, PolicyGraph, Values, believed, values_of
from mdps.checks import check_count, check_number, check_truth, shown
from mdps.pytrees import frozen_pytree
from mdps.tables import held

__all__ = ["Commitment", "Exact", "GameSolution", "SubgameConsistent", "solve"]
__dir__ = __all__.copy

MAX_STEPS = 100_000
_DEAR = 1e9  # numbers compared by the exact solver for a rational human


@frozen_pytree
@dataclass(frozen=True)
class Commitment:
    """The robot's policy is chosen once, and the human knows it: the best of all deterministic ones at the prior."""


@frozen_pytree
@dataclass(frozen=True)
class SubgameConsistent:
    """At every history, with the belief held there, no other decision of the robot would be better.

    The best of the consistent policies is reported.  For rational, ε-greedy and fixed humans it is
    worth as much as commitment; for Boltzmann humans it may be worth less.
    """


@dataclass(frozen=True)
class Exact:
    """Enumerate: subsets of Θ for a rational human, the robot's plans for the others."""


@frozen_pytree
@dataclass(frozen=True)
class GameSolution:
    """A robot, what it is worth, and how the human plays with it.

    Attributes:
        lower: no less than this is attained at the prior, in units of reward.
        upper: no robot of the concept's class attains more.
        converged: whether `gap` met the tolerance.  Outside `jit` a warning tells when it is not, except where a budget
            that was asked for is spent, or the bounds of a pedagogic human stay apart though a fixed point was found.
        robot: the robot's policy graph.
        human_policy: π_H at each of its nodes, `[N, Θ, A_H]`.
        values: value of each node under each θ, `[N, Θ]`; with groundings up to half of `tol` more.
        concept: the solution concept.
        human: the human planned for.
        residual: with a pedagogic human, how far (in probability) people's play at any node is from the play that
            the robot learns by; 0 at a fixed point.  None with others.
        history: after each trial of the bounded solver: nodes backed up so far, lower and upper bound (lower: up to
            rounding), `[trials, 3]`; None where the game was solved exactly.
    """

    lower: Float[Array, ""]
    upper: Float[Array, ""]
    converged: Bool[Array, ""]
    robot: PolicyGraph
    human_policy: Float[Array, " N Theta AH"]
    values: Float[Array, " N Theta"]
    concept: Commitment | SubgameConsistent
    human: Human
    residual: Float[Array, ""] | None = None
    history: Float[Array, " trials 3"] | None = None

    @property
    def gap(self) -> Float[Array, ""]:
        """`upper - lower`."""
        return self.upper - self.lower


def solve(
    game: Game,
    *,
    human: Human | None = None,
    concept: Commitment | SubgameConsistent | None = None,
    tol: float = 1e-3,
    method: Exact | Bounded | None = None,
    max_steps: int | None = None,
    progress: bool | None = None,
    groundings: Mapping | None = None,
) -> GameSolution:
    """Solve a cooperative game (Hadfield-Menell et al. 2016; Malik et al. 2018).

    Exactly where that is cheap: with a rational human (the default) every belief is the prior
    restricted to a subset of Θ, and the game is a finite MDP on (state, subset), `cirl.exact`; with
    other humans the robot's plans are listed, `cirl.exact`.  Otherwise two bounds close in on the value,
    `cirl.bounded`.

    Args:
        game: the game.
        human: the model of the human; None: `Rational()`.
        concept: `Commitment()` (the default, None) or `SubgameConsistent()`.
        tol: gap allowed, in units of reward.
        method: `Exact()` or `Bounded(...)`; None: exact where it is cheap.
        max_steps: most rounds of policy iteration of an endless game that is solved exactly; None: 100,000.
        progress: whether to write a line of status to stderr after three seconds; None: where that is a terminal.

        groundings: what signals mean: from each θ, by number or name, to the human action that means it, such as
            `{"tea": "say tea"}`.  Among plans that are worth as much, within half of `tol`, one in which people
            say what they mean is chosen; for rational and ε-greedy humans.

    Ctrl-C stops the bounded solver, which returns the bounds that it has (pressed again it raises).

    Returns:
        `GameSolution` with `lower <= value <= upper`.

    Raises:
        ValueError: for an endless game with a human whose play is not monotone, one that is too large for
            `Exact()`, a human policy whose axes do not fit the game, or a β beyond what float64 tells apart.
        TypeError: under tracing; the policy graph is built on the host.

    Example:
        >>> from cirl.games import chefworld
        >>> solution = solve(chefworld.mini(3), tol=1e-4)
        >>> round(float(solution.lower), 3)
        0.9
        >>> closing = solve(chefworld.mini(3), method=Bounded(max_backups=100))
        >>> bool(closing.converged), round(float(closing.upper), 2)
        (True, 0.9)
    """
    check_game(game)
    model: Human = fitted(Rational() if human is None else human, game)
    taught = isinstance(model, Pedagogic)
    if concept is None:
        concept = SubgameConsistent() if taught else Commitment()
    if not isinstance(concept, Commitment | SubgameConsistent):
        raise ValueError(f"concept is {shown(concept)}; give Commitment() or SubgameConsistent().")
    if taught and isinstance(concept, Commitment):
        raise ValueError(
            "a pedagogic human and the robot that learns from them are an equilibrium: give SubgameConsistent(), or "
            "Boltzmann(beta) for a human who knows what the robot has committed itself to."
        )
    if not (method is None or isinstance(method, Exact | Bounded)):
        raise ValueError(f"method is {shown(method)}; give Exact(), Bounded(...), or None to choose by size.")
    check_number("tol", tol, lambda tol: tol > 0, "give a positive number.")
    if max_steps is not None:
        check_count("max_steps", max_steps)
    if game.mdp.horizon is None and not model.monotone:
        raise ValueError(f"the game is endless, and {model} needs a horizon; game with Rational(), or give a horizon.")
    progress = progress if progress is None else check_truth("progress", progress)
    given, added = game, 0.0
    if groundings is not None:
        if not isinstance(model, Rational | EpsilonGreedy):
            raise ValueError(f"groundings break ties of rational and ε-greedy humans; {model} has none to break.")
        game, added = grounded(game, groundings, float(tol) / 2)
    watch = Watch(method.max_seconds if isinstance(method, Bounded) else None, progress)
    # With groundings the gap leaves room for what they add, and is so narrow that they decide.
    wanted = float(tol) if given is game else float(tol) / 4
    job = _Job(game, HostGame(game), model, concept, wanted, method, max_steps, watch)
    if isinstance(model, Boltzmann):
        size = float(np.abs(job.g.reward).max()) * (game.mdp.horizon or 0)
        check_sharpness(float(np.asarray(model.beta)), size, 0.0)
    with watch:
        solution = _solve(job)
    return _told(
        job._replace(tol=float(tol)), solution if given is game else _without(job, solution, added, float(tol))
    )


class _Job(NamedTuple):
    """What is to be solved, and how."""

    game: Game
    g: HostGame
    human: Human
    concept: Commitment | SubgameConsistent
    tol: float
    method: Exact | Bounded | None
    max_steps: int | None
    watch: Watch


def _without(job: _Job, solution: GameSolution, added: float, tol: float) -> GameSolution:
    """The solution of a game with bonuses that add up to at most so much, for the game without them."""
    below, above = _outward(float(solution.lower) - added, float(solution.upper), job.game.prior.dtype)
    return replace(solution, lower=below, upper=above, converged=held(float(above) - float(below) <= tol))


def _solve(job: _Job) -> GameSolution:
    """Choose a solver by size, unless one was asked for."""
    if isinstance(job.human, Pedagogic):
        return _teach_and_learn(job, job.human)
    if isinstance(job.method, Exact):
        return _solve_exactly(job, MOST_PLANS)
    most = _worth_listing(job) if job.method is None else 0
    try:
        if most:
            return _solve_exactly(job, most)
    except TooManyPlansError:
        pass
    if isinstance(job.concept, SubgameConsistent) and not job.human.monotone:
        return _close_in_consistently(job)
    return _close_in(job)


def _worth_listing(job: _Job) -> int:
    """How many plans to list before the bounded solver is the better choice; 0 where enumeration is dear anyhow."""
    T, game = job.game.mdp.horizon, job.game
    if isinstance(job.human, Rational) and game.num_thetas <= MOST_THETAS:
        return int(cost_of_subsets(game) <= _DEAR)
    if not job.human.monotone:
        return MOST_PLANS  # only a list finds what is best
    return 300 if T is not None and T * game.mdp.num_states <= 200 else 0


def _solve_exactly(job: _Job, most: int) -> GameSolution:
    T, game, human = job.game.mdp.horizon, job.game, job.human
    if isinstance(human, Rational) and (game.num_thetas <= MOST_THETAS or T is None):
        found = solve_subsets(game, MAX_STEPS if job.max_steps is None else job.max_steps)
    elif T is None:
        raise ValueError(f"the game is endless, and {human} has no exact solver then; use Bounded().")
    else:
        found = solve_plans(game, human, consistent=isinstance(job.concept, SubgameConsistent), most=most)
    return _solution(job, found.nodes, found.upper)


def _close_in(job: _Job) -> GameSolution:
    search = _searched(job, job.human)
    nodes = search.nodes()
    found, aim = values_of(job.g, nodes, job.human), job.tol
    for _ in range(3):  # what rounding took off the bounds may be left of the tolerance
        value, error = found.at_start(job.g, nodes)
        gap = search.upper() - (value - error)
        if job.watch.over() or not search.upper() - search.lower() <= aim < gap:
            break
        aim -= min(1.2 * (gap - job.tol), 0.5 * aim)
        with job.watch.stoppable():
            search.run(aim)
        nodes = search.nodes()
        found = values_of(job.g, nodes, job.human)
    return _solution(job, nodes, search.upper(), found, history=search.history)


def _searched(job: _Job, human: Human) -> HeuristicSearch:
    method = Bounded() if job.method is None or isinstance(job.method, Exact) else job.method
    search = HeuristicSearch(job.game, human, method, job.watch)
    with job.watch.stoppable():
        search.run(job.tol)
    job.watch.doing += ", the robot is written down"
    return search


def _close_in_consistently(job: _Job) -> GameSolution:
    """Below, a consistent robot if one is found, else the least that can be paid; above, the rational human's value."""
    game, replies = job.game, best_replies(job.game, job.human)
    search = _searched(job, Rational())
    least = float(job.g.reward.min()) * float(game.mdp.total_visits)
    least -= abs(least) * 1e-5
    lower = None if replies.residual == 0 else least
    return _solution(job, replies.nodes, search.upper(), belief=replies.belief, lower=lower, history=search.history)


def _teach_and_learn(job: _Job, human: Pedagogic) -> GameSolution:
    """Below, what the fixed point found from literal play is worth; above, the rational human's value."""
    replies = best_replies(job.game, human, start=Literal(human.beta).fit(job.game))
    above = _solve(job._replace(human=Rational(), concept=Commitment()))
    upper, missed = float(above.upper), held(np.asarray(replies.residual), job.game.prior.dtype)
    return _solution(job, replies.nodes, upper, belief=replies.belief, residual=missed)


def _solution(
    job: _Job,
    nodes: Nodes,
    upper: float,
    found: Values | None = None,
    *,
    belief: np.ndarray | None = None,
    lower: float | None = None,
    residual: Array | None = None,
    history=None,
) -> GameSolution:
    """The solution: what the robot attains, rounded down, and what none exceeds, rounded up."""
    g, dtype = job.g, job.game.prior.dtype
    found = values_of(g, nodes, job.human) if found is None else found
    value, error = found.at_start(g, nodes)
    if isinstance(job.human, Boltzmann):
        check_sharpness(float(np.asarray(job.human.beta)), 0.0, float(found.error.max()))
    if belief is None:
        nodes, found, belief = believed(g, nodes, found)
    below, above = _outward(value - error if lower is None else lower, upper, dtype)
    trials = None if history is None else np.array([trial[1:] for trial in history])
    return GameSolution(
        lower=below,
        upper=above,
        converged=held(float(above) - float(below) <= job.tol),
        robot=nodes.graph(job.game, belief),
        human_policy=held(found.play, dtype),
        values=held(found.value, dtype),
        concept=job.concept,
        human=job.human,
        residual=residual,
        history=None if trials is None else held(trials, dtype),
    )


def _outward(lower: float, upper: float, dtype) -> tuple[Array, Array]:
    """Two bounds in another dtype, neither inside of what it was."""
    low, high = np.asarray(lower, dtype), np.asarray(upper, dtype)
    low = np.nextafter(low, -np.inf, dtype=low.dtype) if float(low) > lower else low
    high = np.nextafter(high, np.inf, dtype=high.dtype) if float(high) < upper else high
    return held(low), held(high)


def _told(job: _Job, solution: GameSolution) -> GameSolution:
    """The solution, with a warning where the solver stopped short and nobody asked it to."""
    budget = isinstance(job.method, Bounded) and not job.watch.stuck
    asked = budget or job.watch.interrupted or job.max_steps is not None
    settled = solution.residual is not None and float(solution.residual) == 0
    if not (bool(solution.converged) or asked or settled):
        low, high = float(solution.lower), float(solution.upper)
        warnings.warn(
            f"{job.human}: the value lies between {low:.6g} and {high:.6g}, which is wider than tol={job.tol:g}; the "
            f"robot attains the lower bound, and a better one may exist. {_cure(job)}",
            RuntimeWarning,
            stacklevel=3,
        )
    return solution


def _cure(job: _Job) -> str:
    """What may close the gap."""
    if isinstance(job.human, Pedagogic):
        return "No fixed point was found: give another beta, or a shorter horizon."
    if not job.human.monotone:
        return (
            "The upper bound is that of a rational human, and closes only if all plans can be listed: shorten the "
            "horizon, or merge actions or rewards that are alike."
        )
    return "Give a wider tol, Bounded(max_backups=...) with a larger budget, or float64 (jax_enable_x64)."
