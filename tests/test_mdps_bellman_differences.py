"""What actions fall short of the best, in float32 against float64; and that what is said of its error holds."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from mdps import MDP, GridWorld
from mdps.bellman import differences, negligible
from mdps.solvers import values_with_slack


def test_what_is_within_the_slack_is_nothing_but_moves():
    x, slack = jnp.array([1e-7, -1e-7, 0.5, -2.0]), jnp.array([1e-6, 1e-8, 1e-6, 3.0])
    np.testing.assert_array_equal(negligible(x, slack), np.array([0, -1e-7, 0.5, 0], np.float32))
    np.testing.assert_array_equal(jax.vmap(jax.grad(negligible))(x, slack), [1, 1, 1, 1])


def test_differences_are_from_the_best_that_exists():
    q = jnp.array([[1.0, 3.0, 3.0 - 1e-6], [2.0, -jnp.inf, 0.5]])
    found = differences(q, jnp.full_like(q, 1e-5))
    np.testing.assert_array_equal(found, [[-2, 0, 0], [0, -np.inf, -1.5]])
    jacobian = jax.jacobian(lambda x: differences(jnp.where(q > -jnp.inf, x, -jnp.inf), jnp.full_like(q, 1e-5)))(q)
    np.testing.assert_array_equal(jacobian.reshape(6, 6), np.diag([1, 1, 1, 1, 0, 1]))


def random_mdp(kind, rng, S=9, A=3):
    """An endless MDP in float32, and a reward."""
    if kind == "dense":
        P = rng.dirichlet(np.full(S, 0.3), size=(S, A))
    elif kind == "certain":
        P = np.eye(S)[rng.integers(S, size=(S, A))]
    else:  # two ends in which one stays
        P = rng.dirichlet(np.full(S, 0.3), size=(S, A))
        P[:2] = np.eye(S)[:2, None]
    exist = rng.random((S, A)) < 0.8
    exist[:, 0] = True
    features = rng.normal(size=(S, A, 1))
    return MDP.from_dense(P, features, np.full(S, 1 / S), available=exist, discount=0.95)


@pytest.mark.parametrize("horizon", [None, 7])
@pytest.mark.parametrize("kind", ["dense", "certain", "ends"])
def test_the_slack_covers_what_rounding_does(kind, horizon):
    """float32 against dense linear algebra in float64 on the same numbers, with rewards of 1e-3 to 1e3."""
    rng = np.random.default_rng(3)
    for _ in range(6):
        mdp = random_mdp(kind, rng)
        reward = (mdp.reward(jnp.ones(1)) * 10 ** rng.uniform(-3, 3, size=(9, 1))).astype(jnp.float32)
        found = mdp if horizon is None else mdp.replace(horizon=horizon)
        q, slack = values_with_slack(found, reward)
        P, gamma = np.asarray(mdp.to_dense(), float), float(mdp.discount)
        r = np.where(mdp.available, np.asarray(reward, float), -np.inf)
        if horizon is None:
            later = [oracles.policy_iteration(P, np.where(mdp.available, r, -1e9), gamma)]
            q, slack = q[None], slack[None]
        else:
            later = [np.zeros(9)]
            for _ in range(horizon - 1):
                later.insert(0, np.max(r + gamma * P @ later[0], axis=1))
        for at, off, value in zip(np.asarray(q, float), slack, later, strict=True):
            exact = r + gamma * P @ value
            there = np.asarray(mdp.available)
            gap, true = ((x.max(axis=1, keepdims=True) - x)[there] for x in (at, exact))
            assert np.all(np.abs(gap - true) <= np.asarray(off)[there] + 1e-7 * true)


def test_what_is_common_to_all_values_is_no_slack():
    """The goal pays for ever, known to within ρ/(1 - γ); ways to it differ by less than that."""
    legend = {"S": "dirt", ".": "dirt", "G": "goal"}
    grid = GridWorld.from_text("S..\n...\n..G", legend, discount=0.99)
    q, slack = values_with_slack(grid.mdp, grid.mdp.reward(grid.weights(dirt=-0.1, goal=1.0)))
    rounding = 3 * np.finfo(np.float32).eps / 2 * 100
    assert float(q.max()) > 99
    assert float(slack.max()) < 30 * rounding  # ρ/(1 - γ) would be 200 of them for a pair
