"""Rules: kept for sure by what is left, nothing more taken away; and beside the same rule fitted into a reward."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

import mdps
from cirl.oversight import principles
from ird import posterior
from ird.evidence import Comparison
from mdps import MDP


def reached(moves, policy, start):
    """States that a deterministic policy may get to."""
    seen, todo = set(start), list(start)
    while todo:
        s = todo.pop()
        for x in np.flatnonzero(moves[s, policy[s]]):
            if x not in seen:
                seen.add(int(x))
                todo.append(int(x))
    return seen


def test_every_plan_that_keeps_the_rule_for_sure_is_left_and_no_other():
    rng, kept, refused = np.random.default_rng(0), 0, 0
    for _ in range(30):
        S, A = 4, 2
        moves = rng.random((S, A, S)) < 0.3
        moves[np.arange(S), :, rng.integers(0, S, S)] = True
        P = moves / moves.sum(axis=2, keepdims=True)
        broken, start = rng.random(S) < 0.35, int(rng.integers(S))
        mdp = MDP.from_dense(P, np.eye(S), np.eye(S)[start], discount=0.9)
        keeping = []
        for policy in itertools.product(range(A), repeat=S):
            there = reached(moves, policy, [start])
            if not any(broken[s] for s in there):
                keeping.append((policy, there))
        if not keeping:
            refused += 1
            with pytest.raises(ValueError, match=f"where cannot be kept to from state {start}"):
                principles.forbid(mdp, broken)
            continue
        kept += 1
        left = principles.forbid(mdp, broken)
        exists = np.asarray(left.available)
        assert all(exists[s, policy[s]] for policy, there in keeping for s in there)
        anyhow = (moves & exists[:, :, None]).any(axis=1)[:, None]  # every action that is left
        assert not broken[sorted(reached(anyhow, np.zeros(S, int), [start]))].any()
    assert kept > 5 and refused > 5


def test_actions_that_did_not_exist_stay_away_and_a_rule_about_nothing_changes_nothing():
    P = np.zeros((3, 2, 3))
    P[0, 0, 1] = P[0, 1, 2] = P[1, :, 1] = P[2, :, 2] = 1
    mdp = MDP.from_dense(P, np.eye(3), [1.0, 0, 0], horizon=4, available=[[True, False], [True, True], [True, True]])
    assert (
        np.asarray(principles.forbid(mdp, np.zeros(3, bool)).available).tolist() == np.asarray(mdp.available).tolist()
    )
    with pytest.raises(ValueError, match="each of its actions may lead to a broken state"):
        principles.forbid(mdp, np.array([False, True, False]))
    with pytest.raises(ValueError, match="it is a broken state itself"):
        principles.forbid(mdp, np.array([True, False, False]))
    with pytest.raises(ValueError, match="where"):
        principles.forbid(mdp, np.array([True, False]))


STEPS, AROUND, DOOR = 60, 24, 28


def garden(rows):
    """From the start either over three cells of lawn to the door, or around it in `2 rows + 3` cells of path."""
    P = np.zeros((DOOR + 1, 2, DOOR + 1))
    P[0, 0, 1] = P[0, 1, 4] = P[3, :, DOOR] = P[DOOR, :, DOOR] = 1
    P[1, :, 2] = P[2, :, 3] = 1
    for i in range(AROUND):
        P[4 + i, :, DOOR if i + 1 >= 2 * rows + 3 else 5 + i] = 1
    features = np.zeros((DOOR + 1, 3))  # path, lawn, door
    features[[0, *range(4, DOOR)], 0] = features[1:4, 1] = features[DOOR, 2] = 1
    names = ("path", "lawn", "door")
    return MDP.from_dense(P, features, np.eye(DOOR + 1)[0], horizon=STEPS, feature_names=names)


def ways(rows):
    """What is collected on the way around, and on the way across."""
    return (2 * rows + 4, 0, STEPS - 2 * rows - 4), (1, 3, STEPS - 4)


def test_a_fitted_rule_has_a_price_and_a_kept_one_has_none():
    """Training: gardens with a short way around, where labels by the rule prefer it; then one with a long way."""
    around, across = (np.array(x, float) for x in zip(*map(ways, (1, 2, 3)), strict=True))
    # The price of a cell of lawn is unknown, from 0 to 4; a step at the door is worth 1.
    prices = np.linspace(0, 4, 81)
    candidates = np.stack([0 * prices, -prices, 1 + 0 * prices], axis=1)
    labels = Comparison(around, across, beta=5.0, feature_names=("path", "lawn", "door"))
    fitted = np.asarray(posterior.exact(labels, candidates=jnp.asarray(candidates, jnp.float32)).mean())
    for rows in (1, 2, 3):  # what was trained on is kept
        assert fitted @ ways(rows)[0] > fitted @ ways(rows)[1]
    mdp = garden(10)
    lawn = np.asarray(mdp.features[:, 1]) > 0
    kept = principles.forbid(mdp, lawn)
    for world, weights, crosses in ((mdp, fitted, 1), (kept, jnp.asarray([0.0, 0.0, 1.0]), 0)):
        plan, moves, state = np.asarray(mdps.solve(world, world.reward(weights)).policy), mdp.to_dense(), 0
        collected = np.zeros(3)
        for step in plan:
            collected += np.asarray(mdp.features)[state]
            state = int(np.argmax(moves[state, step[state].argmax()]))
        np.testing.assert_array_equal(collected, ways(10)[crosses])
    # The price that was learnt, against what the unseen case offers for breaking the rule.
    price = -3 * float(fitted[1])
    assert 2 * 3 < price < 2 * 10


def test_what_a_list_of_principles_does_not_mention_keeps_its_prior_exactly():
    rng = np.random.default_rng(1)
    axes = np.linspace(-1, 1, 5)
    candidates = np.array(list(itertools.product(axes, repeat=3)), np.float32)
    prior = rng.dirichlet(np.ones(len(axes)))
    log_prior = np.log([prior[np.abs(axes - w[2]).argmin()] / 25 for w in candidates])
    meant = np.array([0.5, -0.5, 1.0])
    a, b = rng.normal(size=(2, 40, 3))
    marginal = {}
    for name, listed in (("by principle", ("true", "short")), ("by outcome", None)):
        seen = meant * ([1, 1, 0] if listed else [1, 1, 1])
        better = ((a - b) @ seen > 0)[:, None]
        labels = Comparison(np.where(better, a, b), np.where(better, b, a), principles=listed, beta=3.0,
                            feature_names=("true", "short", "kind"))  # fmt: skip
        belief = posterior.exact(labels, candidates=jnp.asarray(candidates), log_prior=jnp.asarray(log_prior))
        weights = np.exp(np.asarray(belief.log_weights))
        marginal[name] = np.array([weights[candidates[:, 2] == np.float32(x)].sum() for x in axes])
    np.testing.assert_allclose(marginal["by principle"], prior, atol=1e-5)
    assert marginal["by outcome"][-1] > prior[-1] + 0.2  # outcomes told that kindness is meant
