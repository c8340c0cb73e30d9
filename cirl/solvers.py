"""Solve a game: the robot that is best for the team, with bounds on its value."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from cirl.controller import PolicyGraph, evaluate
from cirl.game import Game
from cirl.human import Fixed, Human, Rational
from cirl.plans import solve_plans
from cirl.subsets import solve_subsets


@dataclass(frozen=True)
class Commitment:
    """The robot's policy is chosen once, and the human knows it: the best of all deterministic ones at the prior."""


@dataclass(frozen=True)
class SubgameConsistent:
    """At every history, with the belief held there, no other decision of the robot would be better.

    The best of the consistent policies is reported.  For rational, ε-greedy and fixed humans it is
    worth as much as commitment; for Boltzmann humans it may be worth less.
    """


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
    """

    lower: Float[Array, ""]
    upper: Float[Array, ""]
    converged: Bool[Array, ""]
    robot: PolicyGraph
    human_policy: Float[Array, " N Theta AH"]
    values: Float[Array, " N Theta"]
    concept: Commitment | SubgameConsistent
    human: Human

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
    max_steps: int = 100_000,
) -> GameSolution:
    """Solve a cooperative game exactly (Hadfield-Menell et al. 2016; Malik et al. 2018).

    With a rational human (the default) every belief is the prior restricted to a subset of Θ, and
    the game is a finite MDP on (state, subset), with or without a horizon: `cirl.subsets`.  With
    other humans, or more than a dozen rewards, the robot's plans are listed, which takes a short horizon:
    `cirl.plans`.

    Args:
        game: the game.
        human: the model of the human; None: `Rational()`.
        concept: `Commitment()` (the default, None) or `SubgameConsistent()`.
        tol: gap allowed, in units of reward.
        max_steps: most backups of an endless game.

    Returns:
        `GameSolution` with `lower <= value <= upper`.

    Raises:
        ValueError: for an endless game with another human than `Rational()`, one that is too large to
            list, or a human policy whose axes do not fit the game.

    Example:
        >>> from cirl.games import chefworld
        >>> solution = solve(chefworld.mini(3), tol=1e-4)
        >>> round(float(solution.lower), 3)
        0.9
    """
    model: Human = Rational() if human is None else human
    concept = Commitment() if concept is None else concept
    if not isinstance(concept, Commitment | SubgameConsistent):
        raise ValueError(f"concept is {concept!r}; give Commitment() or SubgameConsistent().")
    if not tol > 0:
        raise ValueError(f"tol is {tol}; give a positive number.")
    if isinstance(model, Fixed):
        model = model.fit(game)
    T = game.mdp.horizon
    few = game.num_thetas <= 12
    if isinstance(model, Rational) and (few or T is None):
        value, bound, robot = solve_subsets(game, tol, max_steps)
    elif T is None:
        raise ValueError(f"the game is endless, and {model} needs a horizon; game with Rational(), or give a horizon.")
    else:
        found, robot = solve_plans(game, model, consistent=isinstance(concept, SubgameConsistent))
        dtype = game.prior.dtype
        value = jnp.asarray(found, dtype)
        # Listed in float64; the bound is the rounding of the tables it was given in.
        scale = T * jnp.max(jnp.abs(game.reward)) * game.mdp.total_visits
        bound = 8 * jnp.finfo(dtype).eps * scale
    values, play, _ = evaluate(game, robot, model, sweeps=T if T is not None else _sweeps(game, tol))
    return GameSolution(value - bound, value + bound, 2 * bound <= tol, robot, play, values, concept, model)


def _sweeps(game: Game, tol: float) -> int:
    """Passes after which what is missing of the discounted sum is below `tol`."""
    gamma, size = float(game.mdp.discount), max(float(jnp.max(jnp.abs(game.reward))), tol)
    return 1 if gamma == 0 else math.ceil(math.log(tol * (1 - gamma) / (10 * size)) / math.log(gamma))
