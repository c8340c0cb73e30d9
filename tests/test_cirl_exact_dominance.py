"""What is dropped among vectors and plans, and how much work that may be."""

import numpy as np
import pytest

import cirl
from cirl.exact import Comparisons, TooManyComparisonsError, _plans, undominated


def test_undominated_are_those_that_no_other_beats_in_every_entry():
    rng = np.random.default_rng(0)
    for n, entries in ((1, 3), (40, 2), (700, 3), (400, 1)):
        x = rng.integers(0, 12, (n, entries)).astype(float)
        kept = undominated(x)
        at_least = (x[None] >= x[:, None]).all(axis=2)
        first = np.tril(np.ones((n, n), bool), -1)  # of equal ones the first stays
        better = at_least & (~at_least.T | first)
        np.testing.assert_array_equal(kept, np.flatnonzero(~better.any(axis=1)))


def test_work_is_counted_and_bounded():
    x = np.stack([np.arange(500.0), -np.arange(500.0)], axis=1)  # all have the same sum, and none is beaten
    allowed = Comparisons(1e9)
    assert len(undominated(x, None, allowed)) == 500
    assert 2 * 500 * 499 / 2 < 1e9 - allowed.left < 1e7
    with pytest.raises(TooManyComparisonsError):
        undominated(x, None, Comparisons(1e5))


def game(Theta: int, T: int) -> cirl.Game:
    """Two states, two actions each, random rewards."""
    rng = np.random.default_rng(0)
    chance, start = rng.dirichlet(np.ones(2), size=(2, 2, 2)), rng.dirichlet(np.ones(2))
    prior = rng.dirichlet(np.ones(Theta))
    return cirl.Game.from_dense(chance, rng.normal(size=(2, 2, 2, Theta)), prior, start, discount=0.9, horizon=T)


def test_exact_says_how_large_a_game_is_that_would_take_minutes(monkeypatch):
    monkeypatch.setattr(_plans, "COMPARISONS", 1e6)
    person = cirl.human.EpsilonGreedy(0.2)
    with pytest.raises(ValueError, match="2 states, 2 decisions at each node, 2 values of θ, horizon 3"):
        cirl.solve(game(2, 3), human=person, method=cirl.Exact())
    closing = cirl.solve(game(2, 3), human=person, tol=1e-2)  # chooses for itself
    assert closing.lower <= closing.upper
