"""Planning for the reward in force: every way to break ties, enumerated on small MDPs, beside the library's bracket."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdps
from ird import alignment
from mdps import MDP

S, A, G, T = 3, 2, 2, 3
STATES = np.arange(S)


def drawn(rng):
    """Integer rewards and certain moves, so that ties are many and exact: moves, rewards, which is in force, meant."""
    return (
        rng.integers(S, size=(S, A)),
        rng.integers(-1, 2, size=(G, S, A)).astype(float),
        rng.integers(G, size=S),
        rng.integers(-2, 3, size=(S, A)).astype(float),
    )


def made(moves, rewards, meant, **settings):
    """The MDP, whose features are the rewards that can be in force and what is meant, and their weights."""
    features = np.moveaxis(np.concatenate([rewards, meant[None]]), 0, -1)
    return MDP.from_dense(np.eye(S)[moves], features, np.eye(S)[0], **settings), np.eye(G + 1)


def every_aware_return(moves, rewards, in_force, meant):
    """Meant returns of every way in which aware selves can break ties, by enumerating policies backwards."""
    later = {((0.0,) * (G * S), (0.0,) * S)}
    for _ in range(T):
        found = set()
        for value, judged in later:
            W, H = np.reshape(value, (G, S)), np.array(judged)
            q, h = rewards + W[:, moves], meant + H[moves]
            mine = q[in_force, STATES]
            tied = [np.flatnonzero(row >= row.max() - 1e-9) for row in mine]
            for actions in itertools.product(*tied):
                found.add((tuple(q[:, STATES, actions].ravel()), tuple(h[STATES, actions])))
        later = found
    return {judged[0] for _, judged in later}


def unaware_range(moves, rewards, in_force, meant, discount=1.0, steps=T):
    """The lowest and the highest meant return of who takes its later selves' agreement for granted."""
    V, allowed = np.zeros((G, S)), []
    for _ in range(steps):
        q = rewards + discount * V[:, moves]
        mine = q[in_force, STATES]
        allowed.insert(0, mine >= mine.max(axis=1, keepdims=True) - 1e-9)
        V = q.max(axis=2)
    ends = []
    for pick in (np.nanmin, np.nanmax):
        H = np.zeros(S)
        for may in reversed(allowed):
            H = pick(np.where(may, meant + discount * H[moves], np.nan), axis=1)
        ends.append(H[0])
    return ends


def test_every_way_to_break_ties_is_bracketed(x64):
    rng = np.random.default_rng(1)
    cases = [drawn(rng) for _ in range(40)]
    stack = mdps.stack([made(moves, rewards, meant, horizon=T)[0] for moves, rewards, _, meant in cases])
    weights, forces = np.eye(G + 1), np.array([case[2] for case in cases])

    def found(aware):
        plan = jax.vmap(lambda m, f: alignment.current_reward(m, weights[:G], f, weights[G], aware=aware))
        return plan(stack, forces)

    unaware, aware, tight = found(False), found(True), 0
    assert "batch" in str(aware)
    for i, case in enumerate(cases):
        low, high = unaware_range(*case)
        np.testing.assert_allclose((unaware.lowest[i], unaware.highest[i]), (low, high), atol=1e-9)
        ways = every_aware_return(*case)
        ends = [float(getattr(aware, name)[i]) for name in ("at_least", "lowest", "shared", "highest", "at_most")]
        assert ends == sorted(ends)
        assert ends[0] - 1e-9 <= min(ways) <= ends[1] + 1e-9 and ends[3] - 1e-9 <= max(ways) <= ends[4] + 1e-9
        for attained in (ends[1], ends[3]):
            assert min(abs(attained - way) for way in ways) < 1e-9
        tight += ends[4] - ends[0] < max(ways) - min(ways) + 1e-9
    assert tight >= len(cases) / 2  # the bracket is most often the range itself


def test_where_one_reward_is_in_force_it_is_a_plan_for_it(x64):
    rng = np.random.default_rng(2)
    moves, rewards, _, meant = drawn(rng)
    mdp, weights = made(moves, rewards, meant, horizon=T)
    plan = alignment.performance(mdp, weights[0], weights[G])
    expected = plan.lowest, plan.lowest, plan.shared, plan.highest, plan.highest
    best = mdp.initial @ mdps.solve(mdp, mdp.reward(weights[0])).value
    for aware in (False, True):
        found = alignment.current_reward(mdp, weights[:1], np.zeros(S, int), weights[G], aware=aware)
        got = found.at_least, found.lowest, found.shared, found.highest, found.at_most
        np.testing.assert_allclose(got, expected, atol=1e-6)
        assert float(found.observed) == pytest.approx(float(best), abs=1e-6)


def test_endless_without_knowing_later_selves(x64):
    rng = np.random.default_rng(3)
    cases = (drawn(rng) for _ in range(100))  # the first in which ties matter
    case, (low, high) = next((x, ends) for x in cases if np.ptp(ends := unaware_range(*x, 0.8, 200)) > 0.1)
    moves, rewards, in_force, meant = case
    mdp, weights = made(moves, rewards, meant, discount=0.8)
    found = alignment.current_reward(mdp, weights[:G], in_force, weights[G], aware=False)
    np.testing.assert_allclose((found.lowest, found.highest), (low, high), atol=1e-5)
    assert found.policy.shape == (S, A)
    with pytest.raises(ValueError, match="aware agents need a horizon"):
        alignment.current_reward(mdp, weights[:G], in_force, weights[G], aware=True)


def test_numbers_that_are_no_rewards_are_refused():
    mdp = MDP.from_dense(np.ones((1, 1, 1)), np.ones((1, 1)), [1.0], horizon=2)
    with pytest.raises(ValueError, match=r"rewards has shape \(1,\); give weights \[G, 1\]"):
        alignment.current_reward(mdp, np.ones(1), [0], np.ones(1), aware=False)
    with pytest.raises(ValueError, match="in_force has shape"):
        alignment.current_reward(mdp, np.ones((1, 1)), [0, 0], np.ones(1), aware=False)
    with pytest.raises(ValueError, match="in_force"):
        alignment.current_reward(mdp, np.ones((1, 1)), [1], np.ones(1), aware=False)
    found = alignment.current_reward(mdp, jnp.ones((1, 1)), [0], jnp.ones(1), aware=True)
    assert str(found) == "meant 2 with ties shared, 2 to 2 by how they are broken"
