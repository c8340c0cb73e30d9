"""People of any β: ties stay ties, values are as accurate as β asks for, and what rounding leaves open is told."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from numpyro.distributions import Normal

from ird.evidence import InitialState, MaxEntDemonstration, ProxyReward, RationalDemonstration
from ird.evidence.demonstration import _log_likelihood_of_paths
from mdps import MDP, GridWorld

BETAS = np.array([1e2, 1e4, 1e6])
KINDS = [RationalDemonstration, MaxEntDemonstration]


def square(**settings):
    """Nine cells, start and goal in opposite corners."""
    settings = {"discount": 0.95} | settings
    return GridWorld.from_text("S..\n...\n..G", {"S": "dirt", ".": "dirt", "G": "goal"}, **settings).mdp


def two_ways():
    """31 now and nothing after, or 1 a step for ever from the next one on, at discount 31/32: both are worth 31."""
    transition, features = np.zeros((3, 2, 3)), np.zeros((3, 2, 1))
    transition[0, 0, 1] = transition[0, 1, 2] = 1
    transition[1, :, 1] = transition[2, :, 2] = 1
    features[0, 0], features[2] = 31, 1
    return MDP.from_dense(transition, features, [1, 0, 0], discount=31 / 32)


# The world, its weights, states and actions shown, and log-likelihoods in the two readings, by counting optimal ways.
TIES = {
    # Two optimal actions in the first two cells.  Softly ways count: from (0, 2) one leads on, from (1, 1) two, and
    # what the second choice adds is discounted once.
    "corners": (square, [-0.1, 1.0], [0, 1, 2, 5], [1, 1, 2, 2], [2 * np.log(1 / 2), np.log(1 / 2 / (1 + 2**0.95))]),
    "in five steps": (
        lambda: square(discount=1.0, horizon=5),
        [0.0, 1.0],
        [0, 1, 2, 5],
        [1, 1, 2, 2],
        [2 * np.log(1 / 2), np.log(1 / 6)],
    ),
    "slippery": (lambda: square(slip=0.1), [-0.1, 1.0], [0], [1], [np.log(1 / 2)] * 2),
    "two ways": (two_ways, [1.0], [0], [0], [np.log(1 / 2)] * 2),
}


@pytest.fixture
def quiet():
    """What float32 cannot hold is told elsewhere."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*may be off by")
        yield


@jax.jit
def of_each(betas, weights, evidence):
    """Log-likelihoods and derivatives for every β at once."""
    of = lambda beta, w: evidence.replace(beta=beta).log_likelihood(w[None])[0]  # noqa: E731
    return jax.vmap(jax.value_and_grad(of, argnums=1), (0, None))(betas, weights)


def by_beta(evidence, weights):
    dtype = evidence.beta.dtype
    return of_each(jnp.asarray(BETAS, dtype), jnp.asarray(weights, dtype), evidence)


@pytest.mark.parametrize("reading", [0, 1], ids=["rational", "maximum entropy"])
@pytest.mark.parametrize("case", TIES)
def test_ties_are_ties_for_people_of_any_beta(case, reading, dtype, quiet):
    world, weights, states, actions, expected = TIES[case]
    shown = KINDS[reading](world(), states, actions)
    value, slope = by_beta(shown, weights)
    assert value.dtype == dtype and np.all(np.isfinite(slope))
    off = np.full(3, 2e-6)
    if case == "slippery" and reading == 1 and dtype == jnp.float32:
        # Later cells are no ties, and what float32 holds of them differs on the two sides of the diagonal; it is told.
        one = jnp.asarray([weights])
        off += [_log_likelihood_of_paths(shown.replace(beta=float(b)), one, with_doubt=True)[1][0] for b in BETAS]
        assert off[0] < 0.01
    assert np.all(np.abs(value - expected[reading]) <= off)


def sums_of_tenths(dtype):
    """Three tenths at once, or one a step for three steps: equal but for how tenths are held."""
    transition, features = np.zeros((4, 2, 4)), np.zeros((4, 2, 1))
    transition[0, 0, 1] = transition[0, 1, 2] = transition[2, :, 3] = 1
    transition[1, :, 1] = transition[3, :, 3] = 1
    features[0] = [[0.3], [0.1]]
    features[2:] = 0.1
    return MDP.from_dense(transition, features, [1, 0, 0, 0], horizon=3)


def test_the_state_that_sharp_people_leave_behind(dtype, quiet):
    found = InitialState(sums_of_tenths(dtype), 1)
    value, slope = by_beta(found, [1.0])
    np.testing.assert_allclose(value, np.log(1 / 2), atol=1e-6)
    assert np.all(np.isfinite(slope))
    if dtype == jnp.float64:
        sharpest = found.replace(beta=1e13).log_likelihood(jnp.ones((1, 1)))
        np.testing.assert_allclose(sharpest, np.log(1 / 2), atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [{}, {"horizon": 4}, {"slip": 0.2}], ids=["endless", "horizon", "slippery"])
def test_derivatives_are_slopes(kind, settings, x64):
    shown = kind(square(**settings), [0, 1, 2, 5], [1, 1, 2, 2], beta=3.0)
    w = np.array([-0.37, 1.1])
    slope = jax.grad(lambda w: shown.log_likelihood(w[None])[0])(w)
    by_hand = oracles.central(lambda w: float(shown.log_likelihood(w[None])[0]), w)
    np.testing.assert_allclose(slope, by_hand, atol=1e-5)
    sharper = jax.grad(lambda beta: shown.replace(beta=beta).log_likelihood(w[None])[0])(3.0)
    of_beta = lambda beta: float(shown.replace(beta=float(beta[0])).log_likelihood(w[None])[0])  # noqa: E731
    np.testing.assert_allclose(sharper, oracles.central(of_beta, np.array([3.0]))[0], atol=1e-5)


def told(evidence, weights):
    """The warnings of one call, which gives the same as a traced one."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = evidence.log_likelihood(jnp.asarray(weights))
    np.testing.assert_allclose(found, traced(evidence, jnp.asarray(weights)), rtol=2e-6)
    return [str(each.message) for each in caught]


@jax.jit
def traced(evidence, weights):
    return evidence.log_likelihood(weights)


@pytest.mark.parametrize("kind", KINDS)
def test_what_rounding_leaves_open_is_told_once_and_names_the_cure(kind):
    shown = kind(square(), [0, 1, 2, 5], [1, 1, 2, 2])
    weights = [[-0.1, 1.0]]
    assert told(shown.replace(beta=1e2), weights) == []
    for beta in (1e4, 1e6):
        (message,) = told(shown.replace(beta=beta), weights)
        assert message.startswith(f"{kind.__name__}: with β = {beta:.3g}") and "float64" in message
    with jax.enable_x64(True):
        shown = kind(square(), [0, 1, 2, 5], [1, 1, 2, 2])
        assert told(shown.replace(beta=1e6), weights) == []
        (message,) = told(shown.replace(beta=1e14), weights)
        assert "float64 does not reach that far" in message


def test_only_candidates_that_may_be_meant_are_told_of():
    """One who hates the goal by a million makes nothing of the others doubtful."""
    shown = RationalDemonstration(square(), [0, 1, 2, 5], [1, 1, 2, 2], beta=10.0)
    assert told(shown, [[-0.1, 1.0], [-1.0, -1e6]]) == []
    assert len(told(shown, [[-1.0, -1e6]])) == 1


def test_what_is_left_open_covers_what_rounding_does():
    """float32 against float64 on the same numbers: the answer is off by no more than is told."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(200, 2)).astype(np.float32)
    shown = RationalDemonstration(square(slip=0.1), [0, 1, 2, 5], [1, 1, 2, 2])
    with jax.enable_x64(True):
        mdp = jax.tree.map(lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, shown.mdp)
    for beta in (1.0, 10.0, 100.0):
        value, doubt = _log_likelihood_of_paths(shown.replace(beta=beta), jnp.asarray(weights), with_doubt=True)
        with jax.enable_x64(True):
            exact = RationalDemonstration(mdp, [0, 1, 2, 5], [1, 1, 2, 2], beta=beta).log_likelihood(weights)
        # float32 cannot hold the sum itself any better.
        assert np.all(np.abs(np.asarray(value) - np.asarray(exact)) <= doubt + 1e-6 * (1 + np.abs(exact)))


def test_a_candidates_own_plan_is_as_accurate_as_beta_asks(x64):
    """Where the candidate is the proxy, its own term is one more of those that share the proxy's plan."""
    mdp = square(slip=0.1)
    weights = np.array([-0.1, 1.0])
    made = ProxyReward.sampled(
        weights,
        mdp,
        beta=1e6,
        prior=Normal(jnp.array([-1e3, 0.0]), jnp.array([1.0, 1e-3])).to_event(1),
        num_proxies=3,
        key=jax.random.key(0),
        include_candidate=True,
    )
    assert float(made.counts.sum()) == 4
    gaps = np.asarray(made.alternative_features - made.feature_expectations[None]) @ weights
    sharing = float(made.counts[np.abs(gaps) < 1e-9].sum())  # one, and one more for the candidate itself
    expected = -np.log(sharing + 1)
    np.testing.assert_allclose(made.log_likelihood(weights[None]), expected, atol=2e-3)


def test_a_soft_normalizer_is_as_accurate_as_beta_asks(x64):
    mdp, w = square(slip=0.1), np.array([-0.1, 1.0])
    value = oracles.policy_iteration(np.asarray(mdp.to_dense()), np.asarray(mdp.features) @ w, 0.95, 1.0)
    made = ProxyReward.maxent(w, mdp, beta=1e6)
    np.testing.assert_allclose(made.log_normalizer(w[None]), 1e6 * value[0], atol=1e-2)


def test_a_soft_normalizer_tells_what_rounding_leaves_open():
    made = ProxyReward.maxent(np.array([-0.1, 1.0]), square(), beta=1e6)
    (message,) = told(made, [[-0.1, 1.0]])
    assert message.startswith("SoftValue: with β = 1e+06") and "jax_enable_x64" in message
