"""Amplification: the bound on what errors add up to, attained, never passed, and what a bias leaves for ever."""

import numpy as np
import pytest

import mdps
from cirl.oversight import amplification
from mdps import MDP


def drawn(rng, S=5, A=3, **settings):
    mdp = MDP.from_dense(rng.dirichlet(np.ones(S), (S, A)), np.eye(S), rng.dirichlet(np.ones(S)), **settings)
    return mdp, rng.normal(size=(S, A)).astype(np.float32)


def backups(mdp, reward, errors):
    """The twin: plain loops over states and actions."""
    P, gamma, S = np.asarray(mdp.to_dense(), float), float(str(np.float32(mdp.discount))), mdp.num_states
    P /= P.sum(axis=2, keepdims=True)
    V = [0.0] * S
    for error in errors:
        V = [
            max(float(reward[s, a]) + gamma * sum(P[s, a, x] * V[x] for x in range(S)) for a in range(len(reward[s])))
            + error[s]
            for s in range(S)
        ]
    return np.array(V)


def test_the_bound_is_the_golden_number_and_a_constant_error_attains_it():
    assert amplification.accumulated(0.1, 0.9, 10) == pytest.approx(0.6513215599, abs=1e-12)
    rng = np.random.default_rng(0)
    for gamma, h in ((0.9, 10), (0.5, 1), (0.999, 300), (0.0, 4)):
        mdp, reward = drawn(rng, discount=gamma)
        for sign in (1, -1):
            found = amplification.amplify(mdp, reward, h, error=sign * 0.1)
            assert found.distance == pytest.approx(found.bound, rel=1e-9)
            np.testing.assert_allclose(found.model - found.exact, sign * found.bound, rtol=1e-9)
            assert found.bound == pytest.approx(0.1 * sum(gamma**k for k in range(h)), rel=1e-9)


def test_no_errors_of_this_size_do_more_and_most_do_less():
    rng, shares = np.random.default_rng(1), []
    for _ in range(10):
        mdp, reward = drawn(rng, discount=0.9)
        errors = rng.uniform(-0.1, 0.1, (12, 5))
        found = amplification.amplify(mdp, reward, 12, error=errors)
        np.testing.assert_allclose(found.model, backups(mdp, reward, errors), atol=1e-9)
        np.testing.assert_allclose(found.exact, backups(mdp, reward, np.zeros((12, 5))), atol=1e-9)
        assert found.distance <= found.bound + 1e-12
        shares.append(found.distance / found.bound)
    assert max(shares) < 0.9  # errors of both signs undo each other


def test_a_bias_stays_for_ever():
    mdp, reward = drawn(np.random.default_rng(2), discount=0.9)
    off = [amplification.amplify(mdp, reward, h, error=0.03).distance for h in (5, 50, 500)]
    assert off[0] < off[1] < off[2] == pytest.approx(0.03 / (1 - 0.9), rel=1e-9)
    assert amplification.accumulated(0.03, 0.9) == pytest.approx(0.3)
    # The exact model is the optimum.
    best = np.asarray(mdps.solve(mdp, reward).value)
    np.testing.assert_allclose(amplification.amplify(mdp, reward, 500).exact, best, atol=1e-3)


def test_actions_that_do_not_exist_one_state_and_no_discount():
    P, only = np.ones((1, 2, 1)), np.array([[True, False]])
    mdp = MDP.from_dense(P, np.ones((1, 1)), [1.0], horizon=3, available=only)
    found = amplification.amplify(mdp, np.array([[1.0, 50.0]]), 3, error=np.array([0.5]))
    assert found.exact.tolist() == [3.0] and found.model.tolist() == [4.5] and found.bound == 1.5
    assert amplification.accumulated(0.5, 1.0, 3) == 1.5 and amplification.accumulated(0.5, 0.0, 0) == 0


def test_what_is_wrong_is_named(unannotated):
    mdp, reward = drawn(np.random.default_rng(3), discount=0.9)
    for call, said in (
        (lambda: amplification.accumulated(-1, 0.9), "error is -1"),
        (lambda: amplification.accumulated(0.1, 1.0), r"discount is 1.0; give a number in \[0, 1\), or the number"),
        (lambda: amplification.accumulated(0.1, 1.5, 3), "discount is 1.5"),
        (lambda: amplification.accumulated(0.1, 0.9, 2.5), "rounds is 2.5"),
        (lambda: amplification.amplify(mdp, reward, 0), "rounds is 0"),
        (lambda: amplification.amplify(mdp, reward[0], 2), "reward has shape"),
        (lambda: amplification.amplify(mdp, reward, 2, error=np.zeros(3)), r"error has shape \(3,\)"),
        (lambda: amplification.amplify(mdp, reward, 2, error=np.inf), "error"),
        (lambda: amplification.amplify("mdp", reward, 2), "mdp is 'mdp'"),
    ):
        with pytest.raises(ValueError, match=said):
            call()
