"""Near a discount of 1, and over long horizons: sharing what is nearly equal must not cost more than the bounds say.

The bound on the values' error adds up the rounding of all steps ahead.  Counted whole in every comparison, in float32
it made a policy that was up to a third short of the optimum, from a discount of .998 or a horizon of 1,000 steps on.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdps
from mdps import MDP

# What lies within 8 roundings of a step is shared, beside the two of the numbers compared (`share_of_error`).
MOST_BOUNDS = 20


def drawn(seed: int, S: int, few: bool, **settings):
    """An MDP that mixes: Dirichlet rows, or three successors of each state; features of states and actions."""
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.full(S, 0.3), size=(S, 3))
    if few:
        ahead = np.stack([rng.choice(S, 3, replace=False) for _ in range(S)])
        keep = np.zeros((S, S))
        keep[np.arange(S)[:, None], ahead] = 1
        P = keep[:, None] * rng.gamma(0.5, size=(S, 3, S))
        P /= P.sum(axis=-1, keepdims=True)
    features = rng.normal(size=(S, 3, 3))
    return MDP.from_dense(P, features, np.eye(S)[0], **settings), P, features @ [1.0, -0.5, 0.3]


def best_and_attained(P, r, policy, discount: float):
    """V* by policy iteration and the policy's own values, in float64."""
    S, at = len(r), np.arange(len(r))
    choice = np.zeros(S, int)
    for _ in range(60):
        value = np.linalg.solve(np.eye(S) - discount * P[at, choice], r[at, choice])
        choice = (r + discount * P @ value).argmax(axis=1)
    mixed = np.einsum("sa,sat->st", policy, P)
    return value, np.linalg.solve(np.eye(S) - discount * mixed, (policy * r).sum(axis=1))


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("discount", [0.99, 0.998, 0.999, 0.9999])
def test_a_patient_policy_is_as_good_as_its_values(discount, few):
    w = jnp.array([1.0, -0.5, 0.3])
    for seed in range(4):
        mdp, P, r = drawn(seed, 8, few, discount=discount)
        solution = mdps.solve(mdp, mdp.reward(w))
        best, attained = best_and_attained(P, r, np.asarray(solution.policy, float), discount)
        short = (best - attained).max()
        assert short <= solution.policy_bound <= MOST_BOUNDS * solution.error_bound
        found = mdps.optimum(mdp, w)
        assert best[0] - np.asarray(found.features, float) @ np.asarray(w) <= found.error_bound
        assert found.error_bound <= MOST_BOUNDS * solution.error_bound


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("horizon", [2000])
def test_a_long_horizon_is_planned_as_well_as_it_is_valued(horizon, few):
    w = jnp.array([1.0, -0.5, 0.3])
    for seed in range(3):
        mdp, P, r = drawn(seed, 8, few, discount=1.0, horizon=horizon)
        solution = mdps.solve(mdp, mdp.reward(w))
        best, attained = np.zeros(8), np.zeros(8)
        policy = np.asarray(solution.policy, float)
        for t in reversed(range(horizon)):
            best = (r + P @ best).max(axis=1)
            attained = (policy[t] * (r + P @ attained)).sum(axis=1)
        assert (best - attained).max() <= solution.policy_bound <= MOST_BOUNDS * solution.error_bound
        found = mdps.optimum(mdp, w)
        assert abs(best[0] - np.asarray(found.features, float) @ np.asarray(w)) <= found.error_bound
        assert found.error_bound <= MOST_BOUNDS * solution.error_bound


def mirror_halves(seed: int, n: int = 20):
    """Two copies of one MDP, the second's states in another order; the last state's actions choose between them."""
    rng = np.random.default_rng(seed)
    P, r = np.zeros((2 * n + 1, 3, 2 * n + 1)), np.zeros((2 * n + 1, 3))
    other = n + rng.permutation(n)
    for s in range(n):
        for a in range(3):
            ahead, chance, paid = rng.choice(n, 5, replace=False), rng.dirichlet(np.full(5, 0.3)), rng.normal()
            P[s, a, ahead] = P[other[s], a, other[ahead]] = chance
            r[s, a] = r[other[s], a] = paid
    P[-1, 0, 0] = P[-1, 1, other[0]] = P[-1, 2, other[0]] = 1
    return P, r


@pytest.mark.parametrize(
    "settings",
    [{"discount": g} for g in (0.9, 0.99, 0.999, 0.9999)] + [{"horizon": T} for T in (300,)],
    ids=str,
)
def test_mirror_images_are_still_shared(settings):
    """Their values differ by what the order of their sums rounds, and that is a tie at any reach."""
    for seed in range(3):
        P, r = mirror_halves(seed)
        mdp = MDP.from_dense(P, np.zeros((41, 1)), np.eye(41)[-1], **settings)
        solution = mdps.solve(mdp, jnp.asarray(r, jnp.float32))
        np.testing.assert_allclose(np.asarray(solution.policy).reshape(-1, 41, 3)[0, -1], 1 / 3, atol=1e-6)


def test_one_compile_serves_every_reach():
    """The share that counts follows from a traced discount: `jit(vmap)` gives what single calls give."""
    mdp, _, _ = drawn(0, 8, False, discount=0.9)
    reward = mdp.reward(jnp.array([1.0, -0.5, 0.3]))
    discounts = jnp.array([0.5, 0.98, 0.999, 0.9999])
    batch = jax.jit(jax.vmap(lambda g: mdps.solve(mdp.replace(discount=g), reward)))(discounts)
    for i, discount in enumerate(discounts):
        one = mdps.solve(mdp.replace(discount=float(discount)), reward)
        np.testing.assert_array_equal(batch.policy[i] > 0, one.policy > 0)
        assert batch.policy_bound[i] <= MOST_BOUNDS * batch.error_bound[i]
