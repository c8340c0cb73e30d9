"""ChefWorld: two cook one dish, and only one of them knows which (Malik et al. 2018).

At each step human and robot, both at once, add one of the ingredients or wait.  Too much of an
ingredient, or too much in all, ruins the dish for good.  While the pot holds exactly the recipe,
both are paid 1 a step.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from cirl.game import Game
from cirl.successors import table_of_moves
from mdps.checks import check_count, check_indices

__all__ = ["game", "mini", "small_recipes"]
__dir__ = __all__.copy

THREE = ((3, 3, 2), (3, 2, 3), (4, 1, 0))


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
    recipes = _whole_recipes(recipes)
    horizon, most = check_count("horizon", horizon), check_count("most", most)
    pots = [p for p in itertools.product(range(most + 1), repeat=len(recipes[0])) if sum(p) <= 2 * horizon]
    table = _kitchen(pots, recipes)
    start = np.eye(len(pots) + 1)[0]
    return Game.from_table(*table, _prior(recipes, prior), start, discount=discount, horizon=horizon)


def mini(num_recipes: int, *, discount: float = 0.9) -> Game:
    """An endless kitchen whose pot holds two items; a full pot ends the game, worth 1 if it is the recipe.

    Recipes come ingredient by ingredient: two of it, then one of it with one of each before.  There
    are three ingredients, or as many as the recipes need.

    Args:
        num_recipes: how many recipes may be meant; at least 1.
        discount: discount factor per step.

    Raises:
        ValueError: for fewer recipes.

    Example:
        >>> mini(4).num_thetas, mini(12).num_human_actions
        (4, 6)
    """
    num_recipes = check_count("num_recipes", num_recipes)
    recipes = small_recipes(num_recipes)
    pots = [p for p in itertools.product(range(3), repeat=len(recipes[0])) if sum(p) <= 2]
    table = _kitchen(pots, recipes, full=2)
    return Game.from_table(*table, _prior(recipes, None), np.eye(len(pots) + 1)[0], discount=discount)


def _whole_recipes(recipes) -> list[tuple[int, ...]]:
    """Recipes as whole numbers, `[Θ, I]`."""
    counts = np.asarray(check_indices("recipes", recipes, 1000, "how many of each ingredient"))
    if counts.ndim != 2 or 0 in counts.shape:
        raise ValueError(f"recipes has shape {counts.shape}; give counts of each ingredient, [Θ, I].")
    return [tuple(row) for row in counts.tolist()]


def small_recipes(count: int) -> list[tuple[int, ...]]:
    """The first recipes of two items, ingredient by ingredient, `[count, I]`."""
    ingredients = 3
    while ingredients * (ingredients + 1) // 2 < count:
        ingredients += 1
    one = np.eye(ingredients, dtype=int)
    pairs = [(i, j) for i in range(ingredients) for j in (i, *range(i))]
    return [tuple((one[i] + one[j]).tolist()) for i, j in pairs[:count]]


def _prior(recipes, prior) -> np.ndarray:
    return np.full(len(recipes), 1 / len(recipes)) if prior is None else np.asarray(prior, float)


def _kitchen(pots: list[tuple[int, ...]], recipes, full: int | None = None):
    """Successor table, probabilities and reward; the last state is the end (a ruined dish, or a full pot after it)."""
    number = {pot: i for i, pot in enumerate(pots)}
    S, I = len(pots) + 1, len(pots[0])
    add = np.vstack([np.eye(I, dtype=int), np.zeros((1, I), int)])  # one of each, or wait
    ahead, reward = np.full((S, I + 1, I + 1), S - 1), np.zeros((S, I + 1, I + 1, len(recipes)))
    for pot, s in number.items():
        if full is not None and sum(pot) == full:
            continue
        for h, r in itertools.product(range(I + 1), repeat=2):
            after = tuple((np.array(pot) + add[h] + add[r]).tolist())
            ahead[s, h, r] = number.get(after, S - 1)
            for theta, recipe in enumerate(recipes):
                reward[s, h, r, theta] = float(after == tuple(recipe))
    return *table_of_moves(ahead), reward
