"""A β that is unknown for some evidence alone: drawn with the weights, named after its evidence, refused elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from ird import posterior, queries
from ird.evidence import Choice, Comparison
from ird.unconstrained import Unknowns, check_unknowns

KEY = jax.random.key(20)
UNSURE = dist.LogNormal(0.0, 1.0)
NAMES = ("a", "b")


def test_a_beta_that_is_unknown_for_some_evidence_alone_is_named_after_it():
    difference = np.random.default_rng(0).normal(size=(20, 2))
    unsure = Comparison(difference, 0 * difference, beta=UNSURE, feature_names=NAMES)
    certain = Choice(np.eye(2), 0, beta=2.0, feature_names=NAMES)
    prior = dist.Normal(0, 1).expand([2]).to_event(1)
    belief = posterior.importance(certain, unsure, prior=prior, num_samples=200, key=KEY)
    # Each draw is weighed with its own β for the labels, and the choice with the one it has.
    w, own = np.asarray(belief.weights, float), np.asarray(belief.parameters["beta of Comparison"], float)
    labels = -np.log1p(np.exp(-own[:, None] * (w @ difference.T))).sum(axis=1)
    expected = labels - np.log1p(np.exp(2 * (w[:, 1] - w[:, 0])))
    expected -= np.log(np.exp(expected).sum())
    np.testing.assert_allclose(belief.log_weights, expected, atol=1e-3)
    assert belief.summary().names == ("a", "b", "beta of Comparison")
    # What it could have told is that of β², on average.
    p = np.exp(np.asarray(belief.log_weights, float))
    squared = p @ own**2 * difference.T @ difference / 4 + np.asarray(certain.information(w[0]))
    np.testing.assert_allclose(belief.told["information"], squared, rtol=1e-3)
    # Of two of a kind, each by its number; as vectors, for the samplers that move.
    assert list(check_unknowns([unsure, certain, unsure], prior, None)[1]) == [
        "beta of Comparison 0",
        "beta of Comparison 2",
    ]
    unknown = Unknowns.of([certain, unsure], *check_unknowns([certain, unsure], prior, None), key=KEY)
    weights, parameters = unknown.constrain(jnp.zeros(3))
    settled = [certain, unsure.replace(beta=parameters["beta of Comparison"])]
    wanted = sum(float(e.log_likelihood(weights[None])[0]) for e in settled)
    assert float(unknown.log_likelihood(jnp.zeros(3))) == pytest.approx(wanted, rel=1e-5)


def test_a_beta_that_is_unknown_is_refused_where_it_must_be_known():
    unsure = Comparison(np.eye(2)[:1], np.eye(2)[1:], beta=UNSURE, feature_names=NAMES)
    prior = dist.Normal(0, 1).expand([2]).to_event(1)
    assert repr(unsure) == "Comparison(pairs=1, beta=unknown, LogNormal, kappa=[0.])"
    for use in (unsure.log_likelihood, unsure.information, lambda w: posterior.exact(unsure, candidates=w)):
        with pytest.raises(ValueError, match="is unknown, LogNormal; only a sampler draws it"):
            use(jnp.eye(2))
    with pytest.raises(ValueError, match="beta of Comparison is a distribution of its own"):
        posterior.importance(unsure, prior=prior, beta=UNSURE, num_samples=10, key=KEY)
    with pytest.raises(ValueError, match=r"beta is over shape \(2,\); give one number of one person"):
        Comparison(np.eye(2)[:1], np.eye(2)[1:], beta=UNSURE.expand([2]))
    with pytest.raises(ValueError, match="an inverse temperature is positive"):
        posterior.importance(unsure.replace(beta=dist.Normal(0, 1)), prior=prior, num_samples=10, key=KEY)
    with pytest.raises(ValueError, match="beta is a LogNormal"):
        queries.Pool.from_features(np.eye(2), beta=UNSURE)
