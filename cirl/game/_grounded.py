"""Signals that have a stated meaning: a game in which saying what one means is worth a trifle more."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cirl.game._game import Game
from cirl.game._given import given_visits
from mdps.checks import shown
from mdps.tables import held


def grounded(game: Game, groundings: Mapping, most: float) -> tuple[Game, float]:
    """The game with a bonus for every human action that means the θ that is meant, and how much they add up to.

    Args:
        game: the game.
        groundings: from a reward θ, by number or name, to the human action that means it.
        most: what the bonuses may add up to, in units of reward.

    Raises:
        ValueError: for names that are none, or a bonus that the game's dtype would round away.
    """
    if not isinstance(groundings, Mapping) or not groundings:
        raise ValueError(
            f"groundings is {shown(groundings)}; give the human action that means each reward, "
            'such as {"tea": "say tea"}, or numbers.'
        )
    visits = given_visits(float(game.given_discount), game.mdp.horizon)
    before = np.asarray(game.reward)
    bonus = np.zeros_like(before, dtype=float)
    for theta, action in groundings.items():
        a = _number_of(action, game.names.human_actions, game.num_human_actions, "a human action")
        bonus[:, a, :, _number_of(theta, game.names.thetas, game.num_thetas, "a reward θ")] = most / visits
    size = float(np.abs(before).max())
    if most / visits < 64 * float(np.finfo(before.dtype).eps) * size:
        raise ValueError(
            f"tol is too small for groundings: the preference of {most / visits:.2g} a step that it leaves room for is "
            f"rounded away beside rewards of {size:.3g} in {before.dtype}; give a larger tol, or float64 "
            "(jax_enable_x64)."
        )
    # What was unsure of a number stays as unsure, but as a share of the new one it may be more, without bound where a
    # bonus undoes a cost: then another bonus is as good.
    after, more = min((_paid(before, share * bonus) for share in np.linspace(1, 0.5, 9)), key=lambda found: found[1])
    added = float((after.astype(float) - before).max()) * visits
    off = game.cast_error._replace(reward=game.cast_error.reward * more if game.cast_error.reward else 0.0)
    mdp = replace(game.mdp, features=held(after.reshape(game.mdp.features.shape)))
    return replace(game, mdp=mdp, cast_error=off), added * (1 + 1e-6)


def _paid(before: np.ndarray, bonus: np.ndarray) -> tuple[np.ndarray, float]:
    """Rewards with bonuses, and how much smaller than before a number is at most, as a share (in steps of two)."""
    after = (before + bonus).astype(before.dtype)
    moved = bonus > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(
            before[moved] == 0, 1, np.abs(before[moved].astype(float)) / np.abs(after[moved].astype(float))
        )
    return after, float(np.exp2(np.ceil(np.log2(np.max(shares, initial=1)))))


def _number_of(given, names: tuple[str, ...], size: int, what: str) -> int:
    """The number of what is given by name, or by number."""
    if isinstance(given, str) and given in names:
        return names.index(given)
    if isinstance(given, int | np.integer) and not isinstance(given, bool) and 0 <= given < size:
        return int(given)
    known = f"; these are called {', '.join(map(repr, names))}" if names else ""
    raise ValueError(f"groundings names {shown(given)}, which is not {what} (0 to {size - 1}{known}).")
