"""Solve a game: the robot that is best for the team, with bounds on its value."""

import math
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from cirl.bounded import Bounded, Search
from cirl.consistent import best_replies
from cirl.controller import PolicyGraph, evaluate
from cirl.game import Game
from cirl.human import Human, Literal, Pedagogic, Rational, fitted
from cirl.plans import MOST, TooManyPlansError, solve_plans
from cirl.subsets import LARGEST, solve_subsets
from cirl.unfolding import beliefs_at_nodes


@dataclass(frozen=True)
class Commitment:
    """The robot's policy is chosen once, and the human knows it: the best of all deterministic ones at the prior."""


@dataclass(frozen=True)
class SubgameConsistent:
    """At every history, with the belief held there, no other decision of the robot would be better.

    The best of the consistent policies is reported.  For rational, ε-greedy and fixed humans it is
    worth as much as commitment; for Boltzmann humans it may be worth less.
    """


@dataclass(frozen=True)
class Exact:
    """Enumerate: subsets of Θ for a rational human, the robot's plans for the others."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GameSolution:
    """A robot, what it is worth, and how the human plays with it.

    Attributes:
        lower: no less than this is attained at the prior, in units of reward.
        upper: no robot of the concept's class attains more.
        converged: whether `gap` met the tolerance.
        robot: the robot's policy graph.
        human_policy: π_H at each of its nodes, `[N, Θ, A_H]`.
        values: value of each node under each θ, `[N, Θ]`.
        concept: the solution concept.
        human: the human planned for.
        residual: with a pedagogic human, how far (in probability) people's play at any node is from the play that
            the robot learns by; 0 at a fixed point.  None with others.
        history: after each trial of the bounded solver: nodes backed up so far, lower and upper bound,
            `[trials, 3]`; None where the game was solved exactly.
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


for _concept in (Commitment, SubgameConsistent):
    jax.tree_util.register_dataclass(_concept)


def solve(
    game: Game,
    *,
    human: Human | None = None,
    concept: Commitment | SubgameConsistent | None = None,
    tol: float = 1e-3,
    method: Exact | Bounded | None = None,
    max_steps: int = 100_000,
) -> GameSolution:
    """Solve a cooperative game (Hadfield-Menell et al. 2016; Malik et al. 2018).

    Exactly where that is cheap: with a rational human (the default) every belief is the prior
    restricted to a subset of Θ, and the game is a finite MDP on (state, subset), `cirl.subsets`; with
    other humans the robot's plans are listed, `cirl.plans`.  Otherwise two bounds close in on the value,
    `cirl.bounded`.

    Args:
        game: the game.
        human: the model of the human; None: `Rational()`.
        concept: `Commitment()` (the default, None) or `SubgameConsistent()`.
        tol: gap allowed, in units of reward.
        method: `Exact()` or `Bounded(...)`; None: exact where it is cheap.
        max_steps: most sweeps of an endless game that is solved exactly.

    Returns:
        `GameSolution` with `lower <= value <= upper`.

    Raises:
        ValueError: for an endless game with a human whose play is not monotone, one that is too large for
            `Exact()`, or a human policy whose axes do not fit the game.

    Example:
        >>> from cirl.games import chefworld
        >>> solution = solve(chefworld.mini(3), tol=1e-4)
        >>> round(float(solution.lower), 3)
        0.9
        >>> closing = solve(chefworld.mini(3), method=Bounded(max_backups=100))
        >>> bool(closing.converged), round(float(closing.upper), 2)
        (True, 0.9)
    """
    model: Human = Rational() if human is None else human
    taught = isinstance(model, Pedagogic)
    if concept is None:
        concept = SubgameConsistent() if taught else Commitment()
    if not isinstance(concept, Commitment | SubgameConsistent):
        raise ValueError(f"concept is {concept!r}; give Commitment() or SubgameConsistent().")
    if taught and isinstance(concept, Commitment):
        raise ValueError(
            "a pedagogic human and the robot that learns from them are an equilibrium: give SubgameConsistent(), or "
            "Boltzmann(beta) for a human who knows what the robot has committed itself to."
        )
    if not (method is None or isinstance(method, Exact | Bounded)):
        raise ValueError(f"method is {method!r}; give Exact(), Bounded(...), or None to choose by size.")
    if not tol > 0:
        raise ValueError(f"tol is {tol}; give a positive number.")
    model = fitted(model, game)
    if game.mdp.horizon is None and not model.monotone:
        raise ValueError(f"the game is endless, and {model} needs a horizon; game with Rational(), or give a horizon.")
    if isinstance(model, Pedagogic):
        return _teach_and_learn(game, model, concept, tol, method)
    if isinstance(method, Exact):
        return _solve_exactly(game, model, concept, tol, max_steps, most=MOST)
    most = _worth_listing(game, model) if method is None else 0
    try:
        if most:
            return _solve_exactly(game, model, concept, tol, max_steps, most=most)
    except TooManyPlansError:
        pass
    method = Bounded() if method is None else method
    if isinstance(concept, SubgameConsistent) and not model.monotone:
        return _close_in_consistently(game, model, concept, tol, method)
    return _close_in(game, model, concept, tol, method)


def _worth_listing(game: Game, human: Human) -> int:
    """How many plans to list before the bounded solver is the better choice; 0 where enumeration is dear anyhow."""
    T = game.mdp.horizon
    if isinstance(human, Rational) and game.num_thetas <= LARGEST:
        return int(game.mdp.num_states * game.mdp.num_actions * 4.0**game.num_thetas <= 5e8)
    if not human.monotone:
        return MOST  # only a list finds what is best
    return 300 if T is not None and T * game.mdp.num_states <= 200 else 0


def _solve_exactly(game: Game, model: Human, concept, tol: float, max_steps: int, *, most: int) -> GameSolution:
    T = game.mdp.horizon
    few = game.num_thetas <= LARGEST
    if isinstance(model, Rational) and (few or T is None):
        value, bound, robot = solve_subsets(game, tol, max_steps)
    elif T is None:
        raise ValueError(f"the game is endless, and {model} has no exact solver then; use Bounded().")
    else:
        found, robot = solve_plans(game, model, consistent=isinstance(concept, SubgameConsistent), most=most)
        dtype = game.prior.dtype
        value = jnp.asarray(found, dtype)
        bound = _rounding(game)  # listed in float64, from tables that are not
    values, play, _ = evaluate(game, robot, model, sweeps=T if T is not None else _sweeps(game, tol))
    return GameSolution(value - bound, value + bound, 2 * bound <= tol, robot, play, values, concept, model)


def _close_in(game: Game, model: Human, concept, tol: float, method: Bounded) -> GameSolution:
    search = Search(game, model, method)
    search.run(tol)
    robot = search.robot()
    sweeps = game.mdp.horizon if game.mdp.horizon is not None else _sweeps(game, tol)
    values, play, _ = evaluate(game, robot, model, sweeps=sweeps)
    belief = beliefs_at_nodes(game, robot, np.asarray(play), sweeps=sweeps)
    robot = replace(robot, belief=jnp.asarray(belief, game.prior.dtype))
    return _between(search.lower(), search, tol, robot, play, values, concept, model)


def _close_in_consistently(game: Game, model: Human, concept, tol: float, method: Bounded) -> GameSolution:
    """Below, a consistent robot if one is found, else the least that can be paid; above, the rational human's value."""
    robot, residual = best_replies(game, model)
    search = Search(game, Rational(), method)
    search.run(tol)
    values, play, _ = evaluate(game, robot, model, sweeps=int(robot.step[-1]) + 1)
    least = jnp.min(game.reward) * game.mdp.total_visits
    lower = float(_attained(game, robot, values) if residual == 0 else least)
    return _between(lower, search, tol, robot, play, values, concept, model)


def _teach_and_learn(game: Game, model: Pedagogic, concept, tol: float, method) -> GameSolution:
    """Below, what the fixed point found from literal play is worth; above, the rational human's value."""
    robot, residual = best_replies(game, model, start=Literal(model.beta).fit(game))
    values, play, _ = evaluate(game, robot, model, sweeps=int(robot.step[-1]) + 1)
    above = solve(game, tol=tol, method=method).upper
    dtype = game.prior.dtype
    below = _attained(game, robot, values) - _rounding(game)
    missed = jnp.asarray(residual, dtype)
    return GameSolution(below, above, above - below <= tol, robot, play, values, concept, model, missed)


def _rounding(game: Game) -> Array:
    """What the precision of its tables may do to the value of a game with a horizon."""
    scale = (game.mdp.horizon or 0) * jnp.max(jnp.abs(game.reward)) * game.mdp.total_visits
    return 8 * jnp.finfo(game.prior.dtype).eps * scale


def _attained(game: Game, robot: PolicyGraph, values) -> Array:
    """The value at the start of a robot whose value at each node is known."""
    return game.mdp.initial @ jnp.where(robot.start >= 0, values[robot.start] @ game.prior, 0)


def _between(lower: float, search: Search, tol: float, robot, play, values, concept, model) -> GameSolution:
    """The solution, with what rounding may have done taken off the bounds."""
    dtype = values.dtype
    below = jnp.asarray(lower - search.rounding, dtype)
    above = jnp.asarray(search.upper() + search.rounding, dtype)
    history = jnp.asarray([trial[1:] for trial in search.history], dtype)
    return GameSolution(below, above, above - below <= tol, robot, play, values, concept, model, history=history)


def _sweeps(game: Game, tol: float) -> int:
    """Passes after which what is missing of the discounted sum is below `tol`."""
    gamma, size = float(game.mdp.discount), max(float(jnp.max(jnp.abs(game.reward))), tol)
    return 1 if gamma == 0 else math.ceil(math.log(tol * (1 - gamma) / (10 * size)) / math.log(gamma))
