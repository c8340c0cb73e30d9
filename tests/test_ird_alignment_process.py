"""Looking M steps ahead, and rewards that are paid for steps: golden camera, a plain NumPy twin, two identities."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import random_mdp

import mdps
from ird import alignment
from mdps import MDP, GridWorld
from mdps.worlds import safety

# MONA's camera dropbox, horizon 50: share of runs that hack, by how far the agent looks ahead.
# Every M up to 18 is in test_mdps_worlds_safety, from the rules alone.
HACKS = {1: 0, 8: 0, 9: 0.0536, 12: 0.5625, 18: 1, 19: 1}
RETURNS = {1: (0.9369, 0.9369), 8: (0.9369, 0.9369), 12: (0.3288, 1.4538), 18: (-0.1502, 1.8498), 19: (-0.15, 1.85)}


def optimal(q):
    """Equal shares of the best actions."""
    best = q >= q.max(axis=1, keepdims=True) - 1e-9
    return best / best.sum(axis=1, keepdims=True)


def plain(P, written, meant, discount, horizon, M, approval=None, noise=0.0):
    """The policy `[T, S, A]`, each of its steps from its own induction over M steps; endless: 400 steps, one policy."""
    T, S = horizon or 400, len(P)
    value = np.zeros((T + 1, S))
    for t in reversed(range(T)):
        value[t] = (meant + discount * P @ value[t + 1]).max(axis=1)
    if approval is not None:
        value[:T] = approval
    value[:T] += noise
    policy = np.zeros((T, *written.shape))
    for t in range(T if horizon else 1):
        end = min(t + M, T)
        v = value[end] if horizon else value[0]
        for _ in range(end - t):
            q = written + discount * P @ v
            v = q.max(axis=1)
        policy[t] = optimal(q)
    return policy if horizon else policy[0]


def worth(P, start, reward, policy, discount, steps):
    """The return of a policy."""
    v = np.zeros(len(P))
    for t in reversed(range(steps)):
        now = policy if policy.ndim == 2 else policy[t]
        v = (now * (reward + discount * P @ v)).sum(axis=1)
    return start @ v


def by_action(features, w):
    return features @ w if features.ndim == 3 else np.repeat((features @ w)[:, None], 3, axis=1)


@pytest.mark.usefixtures("optimised")
def test_the_camera_is_hacked_by_who_looks_far_enough_ahead(x64):
    """In float64; the example's test does it in float32."""
    world = safety.camera_dropbox()
    others = world.mdp.feature_names.index("others")

    @jax.vmap
    def looked(M):
        found = alignment.myopic(world.mdp, world.written, world.hidden, M)
        return found.meant, found.written, mdps.feature_expectations(world.mdp, found.policy)[others]

    ahead = sorted(HACKS.keys() | RETURNS.keys())
    meant, written, hacked = looked(jnp.array(ahead))
    for M, share in HACKS.items():
        assert float(hacked[ahead.index(M)]) == pytest.approx(share, abs=5e-5)
    for M, (good, seen) in RETURNS.items():
        assert float(meant[ahead.index(M)]) == pytest.approx(good, abs=5e-5)
        assert float(written[ahead.index(M)]) == pytest.approx(seen, abs=5e-5)


@pytest.mark.parametrize(("horizon", "per_action"), [(5, True), (None, False)])
def test_against_plain_numpy_on_mdps_that_are_no_grids(horizon, per_action, x64):
    """Three MDPs, four sights: one program for what the overseer thinks by default, one for what is given."""
    rng = np.random.default_rng(3)
    discount, steps = (1.0, horizon) if horizon else (0.9, 400)
    tables = [random_mdp(rng) for _ in range(3)]
    if per_action:
        tables = [(P, rng.normal(size=(6, 3, 4)), start) for P, _, start in tables]
    stack = mdps.stack([MDP.from_dense(*table, discount=discount, horizon=horizon) for table in tables])
    w, m = rng.normal(size=(2, 3, 4))
    shape = (3, horizon, 6) if horizon else (3, 6)
    approval, noise = rng.normal(size=shape), 0.5 * rng.normal(size=(3, 6)) * np.arange(3)[:, None]
    ahead = np.array([1, 2, 4, 5])
    look = jax.vmap(lambda *x: jax.vmap(lambda M: alignment.myopic(*x[:3], M, noise=x[3], approval=x[4]))(ahead))
    for given in (None, approval):
        found = look(stack, w, m, noise, given)
        for i, (P, features, start) in enumerate(tables):
            written, meant = by_action(features, w[i]), by_action(features, m[i])
            for j, M in enumerate(ahead):
                own = None if given is None else given[i]
                policy = plain(P, written, meant, discount, horizon, M, own, noise[i])
                np.testing.assert_allclose(found.policy[i, j], policy, atol=1e-9)
                for got, reward in ((found.written, written), (found.meant, meant)):
                    assert float(got[i, j]) == pytest.approx(worth(P, start, reward, policy, discount, steps), abs=1e-6)


def test_the_shortest_sight_is_one_step_and_the_longest_is_a_plan(x64):
    """M >= T is `solve` for what is written, whoever approves; M = 1 never gains by what takes two steps."""
    hall = GridWorld.from_text("oS..m", {"o": "coin", "S": "floor", ".": "floor", "m": "machine"}, horizon=8, goal=None)
    written, meant = hall.weights(coin=1.0, machine=2.0), hall.weights(coin=1.0, machine=-2.0)
    literal = mdps.solve(hall.mdp, hall.mdp.reward(written)).policy
    for M in (8, 9, 10**12, np.int64(8)):
        far = alignment.myopic(hall.mdp, written, meant, M, noise=np.arange(5.0))
        np.testing.assert_allclose(far.policy, literal, atol=1e-6)
    near = alignment.myopic(hall.mdp, written, meant, 1)
    assert (float(near.written), float(near.meant)) == (7, 7)
    # An overseer who thinks highly of the machine is believed; one who is off by a constant changes nothing.
    fooled = alignment.myopic(hall.mdp, written, meant, 1, approval=np.arange(5.0))
    assert float(fooled.meant) == -10
    same = alignment.myopic(hall.mdp, written, meant, 1, noise=np.full(5, 3.0))
    np.testing.assert_array_equal(same.policy[:-1], near.policy[:-1])
    endless = hall.mdp.replace(horizon=None, discount=0.9)
    literal = mdps.solve(endless, endless.reward(written)).policy
    np.testing.assert_allclose(alignment.myopic(endless, written, meant, 10**9).policy, literal, atol=1e-6)


def test_units_ties_and_small_worlds():
    """In float32: the unit does not matter, nothing to want shares everything, one penalty makes no ties elsewhere."""
    hall = GridWorld.from_text("oS.L.m", {"o": "o", "S": "S", ".": "S", "L": "lava", "m": "m"}, horizon=90, goal=None)
    written, meant = hall.weights(o=1.0, m=2.0), hall.weights(o=1.0, m=-2.0, lava=-1.0)
    one = alignment.myopic(hall.mdp, written, meant, 6)
    for unit in (2.0**-60, 2.0**40):
        other = alignment.myopic(hall.mdp, unit * written, unit * meant, 6)
        np.testing.assert_array_equal(other.policy, one.policy)
    nothing = alignment.myopic(hall.mdp, 0 * written, 0 * meant, 6)
    np.testing.assert_allclose(nothing.policy, 0.25, atol=1e-6)
    harsh = alignment.myopic(hall.mdp, written, hall.weights(o=1.0, m=-2.0, lava=-1e6), 1)
    np.testing.assert_allclose(harsh.policy[0, 1], [0, 0, 0, 1], atol=1e-6)  # from S to the coin, which is one step
    for settings in ({"horizon": 1}, {"discount": 0.5}, {"discount": 0.0}):
        dot = MDP.from_dense(np.ones((1, 1, 1)), np.ones((1, 1)), [1.0], **settings)
        found = alignment.myopic(dot, np.ones(1), np.ones(1), 3)
        assert found.policy.shape[-2:] == (1, 1) and float(found.written) == float(found.meant) > 0
    two = MDP.from_dense(np.eye(2)[None].repeat(2, 0), np.eye(2), [1, 0], horizon=3, available=[[1, 0], [1, 1]])
    only = alignment.myopic(two, np.array([-5.0, 1.0]), np.array([-5.0, 1.0]), 2)
    np.testing.assert_array_equal(only.policy[:, 0], [[1, 0]] * 3)
    paid = alignment.process_rewards(two, np.array([-5.0, 1.0]))
    assert not np.asarray(paid.advantage[:, 0]).any() and not np.asarray(paid.action_value[:, 0, 1]).any()


def test_returns_have_the_derivatives_of_a_policy_that_stays(x64):
    hall = GridWorld.from_text("oS..m", {"o": "coin", "S": "floor", ".": "floor", "m": "machine"}, horizon=8, goal=None)
    written, meant = hall.weights(coin=1.0, machine=2.0), hall.weights(coin=1.0, machine=-2.0)
    slope = jax.jit(jax.grad(lambda w: alignment.myopic(hall.mdp, written, w, 3).meant))(meant)
    policy = alignment.myopic(hall.mdp, written, meant, 3).policy
    np.testing.assert_allclose(slope, mdps.feature_expectations(hall.mdp, policy), atol=1e-9)


def returns_of_all(P, start, reward, discount):
    """Normalised returns of every deterministic policy, by one linear system each."""
    S, A = reward.shape
    found = []
    for actions in itertools.product(range(A), repeat=S):
        s = np.arange(S)
        v = np.linalg.solve(np.eye(S) - discount * P[s, actions], reward[s, actions])
        found.append((1 - discount) * start @ v)
    return np.array(found)


def test_the_advantage_asks_what_the_outcome_asks_and_the_action_value_often_does_not(x64):
    """600 of the 2,000 random MDPs of the page; every policy of each, without the library's planner."""
    rng = np.random.default_rng(0)
    gamma, lost = 0.9, {"advantage": 0, "action_value": 0}
    start = np.full(3, 1 / 3)
    tables = [(rng.dirichlet(np.full(3, 0.3), (3, 2)), rng.normal(size=(3, 2))) for _ in range(600)]
    P, r = (np.concatenate(x) for x in zip(*tables, strict=True))
    there = 3 * np.repeat(np.arange(600), 3)[:, None] + np.arange(3)  # side by side, in one MDP
    paid = alignment.process_rewards(MDP.from_table(there, P, r[..., None], np.full(1800, 1 / 1800), discount=gamma), r)
    paid = jax.tree.map(lambda x: np.asarray(x).reshape(600, 3, *x.shape[1:]), paid)
    for i, (P, r) in enumerate(tables):
        meant = returns_of_all(P, start, r, gamma)
        for name in lost:
            by = returns_of_all(P, start, np.asarray(getattr(paid, name)[i]), gamma)
            lost[name] += meant.max() - meant[np.argmax(by)] > 1e-9
            if name == "advantage":  # J_A = J_R less the return of the uniform policy, for every policy
                uniform = (1 - gamma) * start @ np.asarray(paid.value[i])
                np.testing.assert_allclose(by, meant - uniform, atol=1e-6)
    assert lost["advantage"] == 0 and lost["action_value"] > 0.1 * len(tables)


def test_distances_of_process_rewards_on_the_two_state_example(x64):
    P = np.array([[[0.5, 0.5], [0.9, 0.1]], [[0.2, 0.8], [1.0, 0.0]]])
    outcome = np.array([[0.5, 0.2], [0.8, -1.0]])
    mdp = MDP.from_dense(P, outcome[..., None], [1.0, 0.0], discount=0.9)
    paid = alignment.process_rewards(mdp, outcome)
    for form, apart in ((alignment.Minimal(), 0.084352), (alignment.Advantage(), 0.076986)):
        assert float(alignment.starc(mdp, outcome, paid.advantage, canonical=form)) == pytest.approx(0, abs=1e-6)
        assert float(alignment.starc(mdp, outcome, paid.action_value, canonical=form)) == pytest.approx(apart, abs=1e-6)


@pytest.mark.parametrize("horizon", [4, None])
def test_the_advantage_of_any_policy_is_the_difference_of_two_returns(horizon, x64):
    rng = np.random.default_rng(5)
    P, features, start = random_mdp(rng)
    settings = {"horizon": horizon} if horizon else {"discount": 0.8}
    mdp = MDP.from_dense(P, features, start, **settings)
    shape = (horizon, 6, 3) if horizon else (6, 3)
    mu, pi = rng.dirichlet(np.ones(3), (2, *shape[:-1]))
    reward = rng.normal(size=(6, 3))
    paid = alignment.process_rewards(mdp, reward, mu)
    steps, gamma = horizon or 300, float(mdp.discount)
    share, earned = start.copy(), 0.0
    for t in range(steps):
        now, advantage = (pi[t], paid.advantage[t]) if horizon else (pi, paid.advantage)
        flow = share[:, None] * now
        earned += gamma**t * (flow * np.asarray(advantage)).sum()
        share = np.einsum("sa,sab->b", flow, P)
    difference = [float(mdps.policy_return(mdp, x, reward)) for x in (pi, mu)]
    assert earned == pytest.approx(difference[0] - difference[1], abs=1e-6)


def test_what_makes_no_sight_is_refused():
    hall = GridWorld.from_text("S.G", {"S": "floor", ".": "floor", "G": "goal"}, horizon=3)
    w = np.zeros(2)
    for wrong, said in (
        ({"steps": 0}, "steps is 0; give a whole number ≥ 1"),
        ({"steps": np.array([1, 2])}, "steps is"),
        ({"steps": 1, "approval": np.zeros(4)}, r"approval has shape \(4,\); it must be \[3\] or \[3, 3\]"),
        ({"steps": 1, "noise": np.full(3, np.nan)}, "noise"),
    ):
        with pytest.raises(ValueError, match=said):
            alignment.myopic(hall.mdp, w, w, **wrong)
    with pytest.raises(ValueError, match=r"approval has shape \(3, 3\); it must be \[3\]\."):
        alignment.myopic(hall.mdp.replace(horizon=None, discount=0.9), w, w, 1, approval=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="give one whole number"):
        jax.jit(lambda M: alignment.myopic(hall.mdp, w, w, M))(1.0)
