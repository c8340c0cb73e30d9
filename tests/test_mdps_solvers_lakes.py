"""Frozen lakes without a discount, by value."""

import jax
import numpy as np
import pytest

import mdps
from mdps import interop

# Farama-Foundation/Gymnasium #859: people found no way across. There is one, of 33 moves; the ice lets few take it.
LAKE = [
    "HHHHHHHHHHHH",
    "HFFFHFFFFFSH",
    "HFHFFFHHHHHH",
    "HFHHHHHHHHHH",
    "HFFFHFFHFFFH",
    "HHFFHFFFFHFH",
    "HFFHHFFHFHGH",
    "HHFHFFFFFHHH",
    "HHFFFFHHFFFH",
    "HHHHHHHHHHHH",
]
GOAL = np.array([cell == "G" for row in LAKE for cell in row])


def lake(horizon, **settings):
    """The lake as an MDP and its reward, without a discount."""
    gymnasium = pytest.importorskip("gymnasium")
    return interop.from_gymnasium(gymnasium.make("FrozenLake-v1", **settings), discount=1.0, horizon=horizon)


def test_hardly_anybody_crosses_the_lake_that_seems_to_have_no_way():
    with jax.enable_x64(True):
        mdp, reward = lake(2_000, desc=LAKE)
        best = mdps.solve(mdp, reward)
        chance = float(mdps.visit_probability(mdp, best.policy, GOAL))
        np.testing.assert_allclose([float(mdp.initial @ best.value), chance], 1.1594756375e-12, rtol=1e-9)
        assert best.error_bound < 1e-15  # "no way" and "hardly any" are told apart
        endless, _ = lake(None, desc=LAKE)
        best = mdps.solve(endless, reward, tol=1e-15, max_steps=1_000)
        assert abs(float(endless.initial @ best.value) - 1.1594756375e-12) <= best.error_bound < 1e-13


def test_a_lake_without_a_discount_and_a_horizon_says_what_it_does_not_know():
    with jax.enable_x64(True):
        mdp, reward = lake(None, map_name="4x4")
        best = mdps.solve(mdp, reward, max_steps=5_000)
        assert abs(float(mdp.initial @ best.value) - 14 / 17) < 1e-6
        # Waiting beside a wall is safe, and as good as going on: nobody has to arrive, and no bound is known.
        assert not best.converged and np.isinf(best.error_bound)
