"""What is seen of runs and what they are worth: every run enumerated beside the bounds, and the tomatoes."""

import itertools

import jax
import numpy as np
import pytest

import mdps
from ird import alignment
from mdps import MDP
from mdps.worlds import safety

S, A, T = 3, 2, 4
SEEN, TRUE = np.eye(2)


def drawn(rng, certain, one_sided):
    """Moves, rewards seen and true, a start and a policy by step; certain ones leave nothing to chance."""
    P = rng.dirichlet(np.full(S, 0.5), (S, A))
    policy = rng.dirichlet(np.ones(A), (T, S))
    if certain:
        P, policy = np.eye(S)[rng.integers(S, size=(S, A))], np.eye(A)[rng.integers(A, size=(T, S))]
    true = rng.normal(size=(S, A))
    apart = rng.normal(size=(S, A))
    return (
        P,
        np.stack([true + (np.abs(apart) if one_sided else apart), true], axis=-1),
        rng.dirichlet(np.ones(S)),
        policy,
    )


def every_run(P, features, start, policy, discount):
    """E max(D, 0) and E max(-D, 0) of the difference D of a run's two returns, over all runs."""
    apart, over, under = features @ [1, -1], 0.0, 0.0
    for states in itertools.product(range(S), repeat=T):
        for actions in itertools.product(range(A), repeat=T):
            chance, off = start[states[0]], 0.0
            for t, (s, a) in enumerate(zip(states, actions, strict=True)):
                chance *= policy[t, s, a] * (P[s, a, states[t + 1]] if t + 1 < T else 1)
                off += discount**t * apart[s, a]
            over, under = over + chance * max(off, 0), under + chance * max(-off, 0)
    return over, under


def test_every_run_lies_within_the_bounds_and_on_them_where_they_meet(x64):
    rng, discount = np.random.default_rng(0), 0.9
    kinds = [(False, False)] * 4 + [(True, False)] * 3 + [(False, True)] * 2
    cases = [drawn(rng, *kind) for kind in kinds]
    stack = mdps.stack([MDP.from_dense(*case[:3], discount=discount, horizon=T) for case in cases])
    policies = np.array([case[3] for case in cases])
    found = jax.vmap(lambda m, p: alignment.inflation(m, p, SEEN, TRUE))(stack, policies)
    assert "batch" in str(found)
    one = [jax.tree.map(lambda x, i=i: x[i], found) for i in range(len(cases))]
    runs = [every_run(*case, discount) for case in cases]
    for (certain, one_sided), found, (over, under) in zip(kinds, one, runs, strict=True):
        assert float(found.over_lowest) - 1e-9 <= over <= float(found.over_highest) + 1e-9
        assert float(found.under_lowest) - 1e-9 <= under <= float(found.under_highest) + 1e-9
        assert float(found.net) == pytest.approx(over - under, abs=1e-9)
        assert bool(found.exact) == (certain or one_sided)
        if found.exact:
            assert float(found.over_lowest) == pytest.approx(over, abs=1e-9)
        assert ("between" in str(found)) != bool(found.exact)
    told = 0
    for i, j in itertools.permutations(range(len(cases)), 2):
        beside = one[i].beside(one[j])
        truth = runs[i][0] > runs[j][0] + 1e-9, runs[i][1] < runs[j][1] - 1e-9
        for said, is_so in zip(beside, truth, strict=True):
            assert said is None or said == is_so
            told += said is not None
    assert told > 72  # of 144: the bounds are good for something


def test_who_is_best_by_what_is_seen_inflates_or_overjustifies(x64):
    """Beside the best in truth, as the identity says, on each of 50 random MDPs."""
    rng = np.random.default_rng(4)
    tables = [drawn(rng, False, False)[:3] for _ in range(50)]
    stack = mdps.stack([MDP.from_dense(*table, horizon=T) for table in tables])

    @jax.jit
    @jax.vmap
    def both(m):
        plans = [mdps.solve(m, m.reward(w)).policy for w in (SEEN, TRUE)]
        return [alignment.inflation(m, p, SEEN, TRUE) for p in plans]

    found, worse = both(stack), 0
    for i in range(len(tables)):
        seen, best = jax.tree.map(lambda x, i=i: x[i], found)
        assert float(seen.over_lowest) <= float(seen.over_highest) + 1e-6
        if float(best.true - seen.true) > 1e-5:
            worse += 1
            assert seen.beside(best) != (False, False)
    assert worse > 25


def test_the_bucket_is_inflation_alone_and_watering_is_none(x64):
    world = safety.tomatoes()
    literal, best = (mdps.solve(world.mdp, world.mdp.reward(w)).policy for w in (world.written, world.hidden))
    seen, honest = (alignment.inflation(world.mdp, p, world.written, world.hidden) for p in (literal, best))
    numbers = seen.seen, seen.true, seen.net, seen.over_lowest, seen.over_highest, seen.under_highest
    np.testing.assert_allclose(numbers, [17.6054450, 1.1331322, 16.4723128, 16.4723128, 16.4723128, 0], atol=1e-6)
    np.testing.assert_allclose([honest.over_highest, honest.under_highest], 0, atol=1e-9)
    assert seen.exact and honest.exact
    assert seen.beside(honest) == (True, False) and honest.beside(seen) == (False, False)


def test_endless_runs_that_are_certain_or_one_coin(x64):
    """A coin decides whether all later steps look better or worse by one; or nothing is left to chance."""
    P = np.zeros((3, 1, 3))
    P[0, 0, 1:], P[1, 0, 1], P[2, 0, 2] = 0.5, 1, 1
    features = np.array([[0, 0], [1, 0], [0, 1.0]])
    coin = MDP.from_dense(P, features, [1, 0, 0], discount=0.9)
    found = alignment.inflation(coin, np.ones((3, 1)), SEEN, TRUE)
    assert not found.exact and float(found.over_lowest) <= 4.5 <= float(found.over_highest) + 1e-6
    assert float(found.over_highest) == pytest.approx(4.5, abs=1e-6)  # Scarf's bound is attained
    sure = alignment.inflation(coin.replace(initial=np.array([0, 0.25, 0.75])), np.ones((3, 1)), SEEN, TRUE)
    np.testing.assert_allclose([sure.over_lowest, sure.over_highest, sure.under_lowest], [2.5, 2.5, 7.5], atol=1e-6)
    assert sure.exact and str(sure).endswith("overestimated by 2.5, underestimated by 7.5")


def test_the_unit_of_the_rewards_does_not_matter():
    """In float32, whose squares end at 1e38 and begin at 1e-38."""
    case = drawn(np.random.default_rng(6), False, False)
    mdp = MDP.from_dense(*case[:3], horizon=T)
    one = alignment.inflation(mdp, case[3], SEEN, TRUE)
    for unit in (2.0**-80, 2.0**80):
        other = alignment.inflation(mdp, case[3], unit * SEEN, unit * TRUE)
        for name in ("over_lowest", "over_highest", "under_lowest", "under_highest"):
            assert float(getattr(other, name)) == pytest.approx(unit * float(getattr(one, name)), rel=1e-5)
        assert not other.exact
