"""What evidence was able to tell, against finite differences and sums written out."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdps
from ird import ProxyReward, posterior
from ird.evidence import Choice, Comparison, InitialState, MaxEntDemonstration, RationalDemonstration
from ird.evidence.fisher import Telling, told
from mdps import GridWorld

LEGEND = {"S": "dirt", ".": "dirt", "g": "grass", "G": "goal", "l": "lava"}


def world(**settings):
    return GridWorld.from_text("S.g\nggG", LEGEND, **({"horizon": 5} | settings))


def test_a_proxy_tells_what_a_choice_among_its_alternatives_tells(x64):
    grid = world()
    rewards = jnp.asarray(np.random.default_rng(0).normal(size=(30, 4)))
    proxy = ProxyReward(rewards[3], grid.mdp, beta=2.5, alternatives=rewards)
    features = jnp.stack([mdps.optimum(grid.mdp, w).features for w in rewards])
    choice = Choice(features, 3, beta=2.5, feature_names=grid.mdp.feature_names)
    nowhere = jnp.zeros(4)
    np.testing.assert_allclose(proxy.information(nowhere), choice.information(nowhere), atol=1e-6)
    assert (np.asarray(proxy.information(nowhere))[3] == 0).all()  # no plan could meet lava
    normal, reference = proxy.shown()
    np.testing.assert_allclose(normal, features[3] / 5, atol=1e-12)
    np.testing.assert_allclose(reference, features.mean(axis=0) / 5, atol=1e-12)


def test_a_pair_tells_a_quarter_of_its_difference_squared_and_an_unknown_bias_takes_its_part(x64):
    rng = np.random.default_rng(1)
    a, b, agrees = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), rng.choice([-1.0, 0, 1], 5)
    D = a - b
    pair = Comparison(a, b, beta=3.0)
    np.testing.assert_allclose(pair.information(jnp.zeros(3)), 9 / 4 * D.T @ D, atol=1e-12)
    biased = Comparison(a, b, beta=3.0, agrees=agrees, kappa=[0.0, 1.0])
    both = np.concatenate([3 * D, agrees[:, None]], axis=1)
    inverse = np.linalg.inv(both.T @ both / 4)[:3, :3]  # what is known of w when κ is not
    np.testing.assert_allclose(np.linalg.inv(biased.information(jnp.zeros(3))), inverse, rtol=1e-8)
    assert pair.shown() is None


def curvature(evidence, at, options):
    """Minus the expected second derivative of the log-likelihood over everything that could have been seen."""
    step = 1e-4
    K = len(at)

    def log_probability(w):
        return np.array([float(e.log_likelihood(jnp.asarray(w)[None])[0]) for e in options])

    p = np.exp(log_probability(at))
    slope = np.stack(
        [(log_probability(at + step * e) - log_probability(at - step * e)) / (2 * step) for e in np.eye(K)]
    )
    return (p * slope) @ slope.T


def test_a_demonstrated_step_tells_what_other_steps_would_have_told(x64):
    mdp = world(horizon=3).mdp
    for reading, at in ((MaxEntDemonstration, np.zeros(4)), (RationalDemonstration, np.array([0.1, -0.4, 0.7, 0.2]))):
        shown = reading(mdp, [0], [1], beta=1.3)
        others = [reading(mdp, [0], [a], beta=1.3) for a in range(4)]
        expected = curvature(shown, at, others)
        if reading is RationalDemonstration:  # every action as likely, with the gradients at the belief's mean
            slope = np.stack(
                [
                    [
                        float(
                            e.log_likelihood(jnp.asarray(at + d)[None])[0]
                            - e.log_likelihood(jnp.asarray(at - d)[None])[0]
                        )
                        / 2e-4
                        for e in others
                    ]
                    for d in 1e-4 * np.eye(4)
                ]
            )
            centred = slope - slope.mean(axis=1, keepdims=True)
            expected = centred @ centred.T / 4
        np.testing.assert_allclose(shown.information(jnp.asarray(at)), expected, atol=1e-6)
        assert np.abs(expected).max() > 1e-3


def test_the_state_found_tells_what_other_states_would_have_told(x64):
    mdp = world(horizon=4).mdp
    found = InitialState(mdp, 2, beta=0.7)
    others = []
    for s in range(mdp.num_states):
        with contextlib.suppress(ValueError):  # where nobody can come in time
            others.append(InitialState(mdp, s, beta=0.7))
    np.testing.assert_allclose(found.information(jnp.zeros(4)), curvature(found, np.zeros(4), others), atol=1e-6)
    normal, reference = found.shown()
    assert normal.tolist() == [0, 1, 0, 0]  # grass
    assert float(reference.sum()) == pytest.approx(1)


def test_maxent_z_tells_the_covariance_of_random_paths(x64):
    grid = world(horizon=3)
    proxy = ProxyReward.maxent(grid.weights(goal=1.0), grid.mdp, beta=2.0)
    rng = np.random.default_rng(0)
    P, features = np.asarray(grid.mdp.to_dense()), np.asarray(grid.mdp.features)
    del rng
    total, second, first = 0.0, 0.0, 0.0
    for path in np.ndindex(4, 4, 4):
        s, collected = 0, np.zeros(4)
        for a in path:
            collected, s = collected + features[s], int(P[s, a].argmax())
        total, first, second = total + 1, first + collected, second + np.outer(collected, collected)
    covariance = second / total - np.outer(first, first) / total**2
    np.testing.assert_allclose(proxy.information(jnp.zeros(4)), 4 * covariance, atol=1e-6)


@pytest.mark.parametrize("beta", [False, True])
def test_a_posterior_keeps_what_its_evidence_told(beta, tmp_path):
    import numpyro.distributions as dist

    grid = world()
    prior = dist.Uniform(-1, 1).expand([4]).to_event(1)
    rewards = prior.sample(jax.random.key(0), (20,))
    proxy = ProxyReward(rewards[0], grid.mdp, beta=2.0, alternatives=rewards)
    pair = Comparison(np.eye(4)[:1], np.eye(4)[1:2], beta=1.0, feature_names=grid.mdp.feature_names)
    settings = {"beta": dist.LogNormal(0.0, 0.5)} if beta else {}
    belief = posterior.importance(proxy, pair, prior=prior, num_samples=500, key=jax.random.key(1), **settings)
    squared = float(jnp.exp(belief.log_weights) @ belief.parameters["beta"] ** 2) if beta else None
    one = told((proxy, pair), belief.mean(), squared)
    for name, x in one.items():
        np.testing.assert_allclose(belief.told[name], x, rtol=1e-4, atol=1e-6)
    if beta:
        alone = proxy.replace(beta=1.0).information(belief.mean()) + pair.replace(beta=1.0).information(belief.mean())
        np.testing.assert_allclose(belief.told["information"], squared * alone, rtol=1e-4, atol=1e-5)
    assert belief.told["normal"].shape == (1, 4)
    belief.save(tmp_path / "b.npz")
    again = posterior.Posterior.load(tmp_path / "b.npz")
    np.testing.assert_array_equal(again.told["information"], belief.told["information"])


def test_evidence_that_does_not_say_what_it_could_tell_leaves_nothing_to_keep():
    class Own:
        feature_names = ("a", "b")

        def log_likelihood(self, weights):
            return weights[:, 0]

    assert not isinstance(Own(), Telling)
    belief = posterior.exact(Own(), candidates=np.eye(2, dtype=np.float32))
    assert belief.told == {}
