"""ChefWorld: two cook one dish, and only one of them knows which (Malik et al. 2018).

At each step human and robot, both at once, add one of the ingredients or wait.  Too much of an
ingredient, or too much in all, ruins the dish for good.  While the pot holds exactly the recipe,
both are paid 1 a step.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from cirl.game import Game

THREE = ((3, 3, 2), (3, 2, 3), (4, 1, 0))
SMALL_RECIPES = ((2, 0, 0), (0, 2, 0), (1, 1, 0), (0, 0, 2), (1, 0, 1), (0, 1, 1))


def game(
    recipes: Sequence[Sequence[int]],
    horizon: int,
    *,
    prior: Sequence[float] | None = None,
    most: int = 4,
    discount: float = 0.9,
) -> Game:
    """The game of references C: paid at every step whose resulting pot is the recipe.

    Args:
        recipes: counts of each ingredient, `[Θ, I]`.
        horizon: number of steps; more than `2 * horizon` items ruin the dish.
        prior: probability of each recipe; equal when None.
        most: more of one ingredient ruins the dish.
        discount: discount factor per step.

    Example:
        >>> game([(1, 1, 0), (2, 0, 0)], 1).mdp.num_states
        11
    """
    pots = [p for p in itertools.product(range(most + 1), repeat=len(recipes[0])) if sum(p) <= 2 * horizon]
    transition, reward = _kitchen(pots, recipes)
    return Game.from_dense(
        transition, reward, _prior(recipes, prior), np.eye(len(pots) + 1)[0], discount=discount, horizon=horizon
    )


def mini(num_recipes: int, *, discount: float = 0.9) -> Game:
    """An endless kitchen whose pot holds two items; a full pot ends the game, worth 1 if it is the recipe.

    Args:
        num_recipes: how many of the six recipes may be meant, 1..6.
        discount: discount factor per step.

    Raises:
        ValueError: for another number of recipes.

    Example:
        >>> mini(4).num_thetas
        4
    """
    if not 1 <= num_recipes <= len(SMALL_RECIPES):
        raise ValueError(f"num_recipes is {num_recipes}; the pot of two has 1..{len(SMALL_RECIPES)} recipes.")
    recipes = SMALL_RECIPES[:num_recipes]
    pots = [p for p in itertools.product(range(3), repeat=3) if sum(p) <= 2]
    transition, reward = _kitchen(pots, recipes)
    full = [i for i, pot in enumerate(pots) if sum(pot) == 2]
    transition[full] = np.eye(len(pots) + 1)[-1]
    reward[full] = 0
    return Game.from_dense(transition, reward, _prior(recipes, None), np.eye(len(pots) + 1)[0], discount=discount)


def _prior(recipes, prior) -> np.ndarray:
    return np.full(len(recipes), 1 / len(recipes)) if prior is None else np.asarray(prior, float)


def _kitchen(pots: list[tuple[int, ...]], recipes) -> tuple[np.ndarray, np.ndarray]:
    """Transition and reward; the last state is the ruined dish."""
    number = {pot: i for i, pot in enumerate(pots)}
    S, I = len(pots) + 1, len(pots[0])
    add = np.vstack([np.eye(I, dtype=int), np.zeros((1, I), int)])  # one of each, or wait
    transition, reward = np.zeros((S, I + 1, I + 1, S)), np.zeros((S, I + 1, I + 1, len(recipes)))
    transition[-1, :, :, -1] = 1
    for pot, s in number.items():
        for h, r in itertools.product(range(I + 1), repeat=2):
            after = tuple((np.array(pot) + add[h] + add[r]).tolist())
            transition[s, h, r, number.get(after, S - 1)] = 1
            for theta, recipe in enumerate(recipes):
                reward[s, h, r, theta] = float(after == tuple(recipe))
    return transition, reward
