"""The cooperative game, its tables as they were given, and what things in it are called."""

from cirl.game._game import Game
from cirl.game._given import CastError, Names, Order, given_visits
from cirl.game._grounded import grounded

__all__ = ["CastError", "Game", "Names", "Order", "given_visits", "grounded"]
__dir__ = __all__.copy
