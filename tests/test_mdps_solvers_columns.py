"""Columns of a batch do not see each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdps


@pytest.mark.parametrize("wide", [False, True])
def test_ties_of_one_column_are_settled_without_the_others(wide):
    with jax.enable_x64(wide):
        # Far from the goal values are small, and the first column's errors are swept until its actions are told apart.
        legend = {"S": "floor", ".": "floor", "G": "goal"}
        grid = mdps.GridWorld.from_text("S" + "." * 38 + "G", legend, discount=0.5)
        far = grid.mdp.reward(grid.weights(goal=1.0))
        easy = jnp.asarray(np.random.default_rng(0).normal(size=(8, far.size)), far.dtype)
        solve = jax.jit(jax.vmap(lambda r: mdps.solve(grid.mdp, r)))
        beside, alone = solve(easy.at[0].set(far)), solve(easy)
        assert beside.steps[0] > beside.steps[1]
        for x, y in zip(jax.tree.leaves(beside), jax.tree.leaves(alone), strict=True):
            np.testing.assert_array_equal(x[1:], y[1:])
