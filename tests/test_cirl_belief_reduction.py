"""A posterior as the robot's prior: few atoms, and a bound on what that can cost."""

import jax.numpy as jnp
import numpy as np
import pytest

from cirl import Game, solve
from ird import posterior


def problem(n=200, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(3, 2))
    weights = centres[rng.integers(3, size=n)] + 0.05 * rng.normal(size=(n, 2))
    belief = posterior.exact(candidates=weights, log_prior=np.log(rng.dirichlet(np.ones(n))))
    return rng.dirichlet(np.ones(2), size=(2, 2, 2)), rng.normal(size=(2, 2, 2, 2)), belief


def test_no_policy_is_worth_much_else_under_the_whole_belief(x64):
    transition, features, belief = problem()
    game = Game.from_belief(transition, features, belief, [1.0, 0.0], num_atoms=3, discount=0.9, horizon=2)
    assert game.num_thetas == 3 and game.atoms.shape == (3, 2)
    assert 0 < float(game.reduction_bound) < 0.5
    p = np.exp(np.asarray(belief.log_weights))
    # Play each weight's human as its atom's: their policies are then the same, and only the reward differs.
    nearest = np.argmin(((np.asarray(belief.weights)[:, None] - np.asarray(game.atoms)) ** 2).sum(-1), axis=1)
    np.testing.assert_allclose(
        np.bincount(nearest, p), np.sort(np.asarray(game.prior))[np.argsort(np.argsort(game.prior))]
    )
    for robot in range(2):
        for human in np.ndindex(2, 2, 2):  # the action of each atom's human, whatever the state
            full = reduced = 0.0
            for i, mass in enumerate(p):
                state = np.array([1.0, 0.0])
                for t in range(2):
                    phi = features[:, human[nearest[i]], robot]
                    full += 0.9**t * mass * state @ phi @ np.asarray(belief.weights)[i]
                    reduced += 0.9**t * mass * state @ phi @ np.asarray(game.atoms)[nearest[i]]
                    state = state @ transition[:, human[nearest[i]], robot]
            assert abs(full - reduced) <= float(game.reduction_bound) + 1e-12


def test_as_many_atoms_as_rewards_cost_nothing(x64):
    transition, features, _ = problem()
    candidates = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    belief = posterior.exact(candidates=candidates)
    game = Game.from_belief(transition, features, belief, [1.0, 0.0], num_atoms=5, horizon=2)
    assert game.num_thetas == 2
    assert float(game.reduction_bound) == pytest.approx(0, abs=1e-12)
    plain = Game.from_dense(transition, features @ np.asarray(game.atoms).T, game.prior, [1.0, 0.0], horizon=2)
    assert float(solve(game).lower) == pytest.approx(float(solve(plain).lower), abs=1e-12)
    np.testing.assert_allclose(np.sort(game.prior), [1 / 3, 2 / 3], atol=1e-12)


def test_a_belief_that_cannot_be_reduced_is_refused_by_name():
    transition, features, belief = problem(20)
    for message, changes in (
        ("K=2", {"features": features[..., :1]}),
        ("num_atoms is 0", {"num_atoms": 0}),
        ("no mass", {"belief": type("B", (), {"weights": belief.weights, "log_weights": jnp.full(20, -jnp.inf)})()}),
    ):
        arguments = {"features": features, "belief": belief, "num_atoms": 2} | changes
        with pytest.raises(ValueError, match=message):
            Game.from_belief(transition, initial=[1.0, 0.0], horizon=2, **arguments)
