"""A misspecified reward and a policy that learned something else, told apart: golden corridor, identity, stacks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdps
from ird import alignment
from mdps import MDP, GridWorld

LEGEND = {"C": "coin", ".": "floor", "S": "floor", "E": "end"}


def hall(text):
    """A corridor of five cells, six steps, a start in the middle."""
    return GridWorld.from_text(text, LEGEND, horizon=6, goal=None)


def test_the_corridor_has_its_three_cases():
    here = hall("C.S.E")
    coin, end = here.weights(coin=1.0), here.weights(end=1.0)
    to_end, to_coin = (mdps.solve(here.mdp, here.mdp.reward(w)).policy for w in (end, coin))
    cases = {  # policy, written: outer, inner, shortfall
        "another goal was learned": (to_end, coin, 0, 4, 4),
        "the reward was wrong": (to_end, end, 4, 0, 0),
        "two failures undo each other": (to_coin, end, 4, -4, 4),
        "none": (to_coin, coin, 0, 0, 0),
    }
    for name, (policy, written, *expected) in cases.items():
        found = alignment.outer_inner(here.mdp, policy, written, coin)
        np.testing.assert_allclose([found.outer, found.inner, found.shortfall], expected, atol=1e-5, err_msg=name)
        assert float(found.total) == pytest.approx(expected[0] + expected[1], abs=1e-5)
        assert ("is optimal for what was written" in str(found)) == (expected[2] == 0)


def test_in_training_nothing_shows_and_a_stack_of_maps_is_one_program():
    """Where the coin lies at the end nothing tells the two goals apart."""
    training = GridWorld.from_text("..S.E", LEGEND | {"C": "coin"}, horizon=6, goal=None)
    both = training.mdp.features.at[4, training.mdp.feature_names.index("coin")].set(1.0)
    train = training.mdp.replace(features=both)
    coin, end = training.weights(coin=1.0), training.weights(end=1.0)
    policy = mdps.solve(train, train.reward(end)).policy
    for written in (coin, end):
        found = alignment.outer_inner(train, policy, written, coin)
        np.testing.assert_allclose([found.outer, found.inner, found.shortfall], 0, atol=1e-5)
    maps = [hall("C.S.E").mdp, hall("E.S.C").mdp]
    policies = jnp.stack([mdps.solve(m, m.reward(end)).policy for m in maps])
    found = jax.jit(jax.vmap(lambda m, p: alignment.outer_inner(m, p, coin, coin)))(mdps.stack(maps), policies)
    np.testing.assert_allclose(found.inner, [4, 4], atol=1e-5)
    assert "batch" in str(found)


def worth_in_numpy(P, start, features, weights, policy, discount, steps):
    """Return of a policy, None: the best one, and its actions, by plain backward induction."""
    S, A = P.shape[:2]
    r = features @ weights
    r = r if r.ndim == 2 else np.repeat(r[:, None], A, axis=1)
    V, pi = np.zeros(S), np.zeros((steps, S, A))
    for t in reversed(range(steps)):
        Q = r + discount * P @ V
        given = None if policy is None else policy if policy.ndim == 2 else policy[t]
        pi[t] = np.eye(A)[Q.argmax(axis=1)] if given is None else given
        V = (pi[t] * Q).sum(axis=1)
    return start @ V, pi


@pytest.mark.parametrize("horizon", [5, None])
@pytest.mark.parametrize("per_action", [False, True])
def test_against_plain_numpy_on_mdps_that_are_no_grids(horizon, per_action, x64):
    rng = np.random.default_rng(7)
    S, A, K, gamma = 6, 3, 4, 0.9
    settings = {"horizon": horizon} if horizon else {"discount": gamma}
    known = (1.0, horizon) if horizon else (gamma, 600)
    for _ in range(3):
        P, start = rng.dirichlet(np.ones(S), (S, A)), rng.dirichlet(np.ones(S))
        features = rng.normal(size=(S, A, K) if per_action else (S, K))
        mdp = MDP.from_dense(P, features, start, **settings)
        written, meant = rng.normal(size=(2, K))
        policy = rng.dirichlet(np.ones(A), S)
        most, _ = worth_in_numpy(P, start, features, meant, None, *known)
        promised, literal = worth_in_numpy(P, start, features, written, None, *known)
        of_literal, of_policy = (worth_in_numpy(P, start, features, meant, x, *known)[0] for x in (literal, policy))
        short = promised - worth_in_numpy(P, start, features, written, policy, *known)[0]
        found = alignment.outer_inner(mdp, policy, written, meant)
        expected = most - of_policy, most - of_literal, of_literal - of_policy, short
        got = found.total, found.outer, found.inner, found.shortfall
        np.testing.assert_allclose(got, expected, atol=1e-6)
        assert (np.abs(np.subtract(got, expected)) <= float(found.error_bound) + 1e-9).all()


def test_the_unit_of_the_written_reward_does_not_matter():
    here = hall("C.S.E")
    coin, end = here.weights(coin=1.0), here.weights(end=1.0)
    policy = mdps.solve(here.mdp, here.mdp.reward(end)).policy
    for unit in (1e-20, 1e10):
        found = alignment.outer_inner(here.mdp, policy, unit * coin, coin)
        np.testing.assert_allclose([found.outer, found.inner], [0, 4], atol=1e-5)
        assert float(found.shortfall) == pytest.approx(4 * unit, rel=1e-4)
