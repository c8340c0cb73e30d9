"""Proxies without a table: as with one where features are exact, and honest about their errors where they are not."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import mdps
from ird import ProxyReward, planning, posterior
from ird.evidence import NoTable, SumOverProxies, SumOverRollouts
from ird.evidence.plans import plan_features
from ird.evidence.rollouts import told_apart

LEGEND = {"S": "dirt", ".": "dirt", "g": "grass", "G": "goal", "l": "lava"}
TRAIN = mdps.GridWorld.from_text("S.g\nggG", LEGEND, horizon=6)
FIELD = mdps.GridWorld.from_text("Slg\n..G", LEGEND, horizon=9)
REWARDS = np.concatenate([[[-0.1, -0.5, 1.0, 0.0]], np.random.default_rng(0).uniform(-1, 1, (40, 4))])


def both(beta=3.0, **more):
    """A proxy with its table, and from the features of the same plans."""
    rewards = jnp.asarray(REWARDS)
    table = ProxyReward(rewards[0], TRAIN.mdp, beta=beta, alternatives=rewards)
    features = plan_features(TRAIN.mdp, rewards.astype(TRAIN.mdp.features.dtype))
    names = TRAIN.mdp.feature_names
    given = {"alternatives": rewards, "features": features, "visits": 6, "feature_names": names, "beta": beta}
    return table, ProxyReward.from_features(0, **given | more)


def test_it_is_the_proxy_with_the_table_where_features_are_exact(dtype):
    table, bare = both()
    weights = np.random.default_rng(1).normal(size=(30, 4))
    tol = 1e-12 if dtype == jnp.float64 else 1e-5
    assert bare.log_likelihood(weights).dtype == dtype
    for name in ("log_likelihood", "log_normalizer"):
        np.testing.assert_allclose(getattr(bare, name)(weights), getattr(table, name)(weights), atol=tol)
    np.testing.assert_allclose(bare.information(jnp.zeros(4)), table.information(jnp.zeros(4)), atol=tol)
    for ours, theirs in zip(bare.shown(), table.shown(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=tol)
    assert not bare.log_likelihood_error(weights).any() and bare.log_likelihood_error(weights).shape == (30,)


def test_every_offset_stake_and_unknown_direction_needs_no_table(x64):
    table, bare = both()
    candidates = np.random.default_rng(2).normal(size=(25, 4))
    here, there = (posterior.exact(e, candidates=candidates) for e in (bare, table))
    for name in ("training_offset", "log_normalizer_offset"):
        offset = getattr(planning, name)
        np.testing.assert_allclose(offset(9, here, bare), offset(FIELD.mdp, there, table), atol=1e-12)
        np.testing.assert_allclose(offset(FIELD.mdp, here, bare), offset(FIELD.mdp, there, table), atol=1e-12)
    np.testing.assert_allclose(planning.training_stakes(here, bare), planning.training_stakes(there, table))
    np.testing.assert_allclose(planning.training_features(bare), planning.training_features(table))
    first = planning.start_features(FIELD.mdp)
    np.testing.assert_allclose(planning.features_offset(here, 9 * first), planning.start_offset(FIELD.mdp, there))
    options = np.random.default_rng(3).normal(size=(7, 4))
    np.testing.assert_allclose(planning.regret_offset(options, here), (candidates @ options.T).max(axis=1))
    met = FIELD.mdp.features  # all of its cells can be reached
    u = planning.unknown(FIELD.mdp, there)
    assert 0 < float(u[1]) == float(jnp.max(u))
    np.testing.assert_allclose(planning.unknown(met, here), u, atol=1e-12)
    np.testing.assert_allclose(planning.unknown(met.reshape(2, 3, 4), here), u.reshape(2, 3), atol=1e-12)


def estimates(rng, features, covariance, repeats):
    """Repeated estimates of the same features, `[repeats, M, K]`."""
    root = np.linalg.cholesky(covariance + 1e-15 * np.eye(features.shape[1])[None])
    noise = rng.normal(size=(repeats, *features.shape))
    return features + np.einsum("mkl,rml->rmk", root, noise)


@pytest.mark.parametrize("size", [0.02, 0.25])
@pytest.mark.parametrize("kind", ["standard_error", "covariance"])
def test_the_error_told_is_that_of_repeated_rollouts(kind, size, x64):
    """Of 4000 repeats the root mean square is known to about 1.2%; the third order of the errors is left out."""
    rng = np.random.default_rng(5)
    M, K, beta = 6, 3, 2.0
    features, alternatives = rng.normal(size=(M, K)), rng.normal(size=(M, K))
    root = size * rng.normal(size=(M, K, K)) / K**0.5
    covariance = root @ root.swapaxes(1, 2)
    if kind == "standard_error":
        covariance = np.einsum("mkk->mk", covariance)[:, :, None] * np.eye(K)[None]
    given = covariance if kind == "covariance" else np.sqrt(np.einsum("mkk->mk", covariance))
    # The last two alternatives share a plan, and its estimate.
    of = np.array([0, 1, 2, 3, 4, 5, 5])
    proxy = ProxyReward.from_features(
        2, beta=beta, alternatives=alternatives[of], features=features[of], visits=1, **{kind: given[of]}
    )
    assert isinstance(proxy.normalizer, SumOverRollouts) and proxy.counts.tolist() == [1, 1, 1, 1, 1, 2]
    weights = rng.normal(size=(8, K))
    found = np.einsum("rmk,nk->rnm", estimates(rng, features, covariance, 4000)[:, of], beta * weights)
    exact = beta * weights @ features[of].T

    def log_share(logits):
        largest = logits.max(axis=-1, keepdims=True)
        return logits[..., 2] - largest[..., 0] - np.log(np.exp(logits - largest).sum(axis=-1))

    off = np.sqrt(np.mean((log_share(found) - log_share(exact)) ** 2, axis=0))
    told = proxy.log_likelihood_error(weights)
    np.testing.assert_allclose(told, off, rtol=0.04 if size < 0.1 else 0.08)  # measured: .015, .045
    assert float(proxy.log_likelihood_error(np.zeros((1, K)))[0]) == 0


def test_errors_that_matter_are_told_with_what_it_takes_and_others_are_not():
    given = {"alternatives": np.eye(2), "features": [[3.0, 0.0], [0.0, 3.0]], "visits": 3}
    weights = np.array([[0.2, 0.0], [0.0, 0.2]])
    rough = ProxyReward.from_features(0, **given, standard_error=np.full((2, 2), 4.0))
    with pytest.warns(RuntimeWarning, match=r"off by .* nats, because features were estimated; .* as many rollouts"):
        rough.log_likelihood(weights)
    # As many rollouts as it says are enough.
    factor = float(jnp.max(rough.log_likelihood_error(weights)) / 0.25) ** 2
    fine = ProxyReward.from_features(0, **given, standard_error=np.full((2, 2), 4.0 / factor**0.5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fine.log_likelihood(weights)
    assert float(jnp.max(fine.log_likelihood_error(weights))) <= 0.25 * (1 + 1e-6)
    np.testing.assert_array_equal(rough.log_likelihood_error(weights) > 0.25, True)


def test_errors_do_not_make_the_evidence_speak_of_what_no_alternative_varied(x64):
    """Fifty experiments: three features vary, two do not, and all are estimated; beta makes the noise loud."""
    rng = np.random.default_rng(6)
    M, K, beta, error = 150, 5, 10.0, 0.3
    true = rng.normal(size=(M, K)) * np.array([3.0, 3.0, 3.0, 0.0, 0.0])
    errors, ones = jnp.full((M, K), error**2), jnp.ones(M)
    naive, told, kept = [], [], []
    for found in true + error * rng.normal(size=(50, M, K)):
        left = np.asarray(told_apart(jnp.asarray(found), ones, errors)) * beta**2
        plain = np.cov(found.T, bias=True) * beta**2
        share = [np.linalg.inv(np.eye(K) + x)[3:, 3:] for x in (left, plain)]  # what is hidden, prior sd 1
        told.append(1 - np.linalg.eigvalsh(share[0])[0])
        naive.append(1 - np.linalg.eigvalsh(share[1])[-1])
        kept.append(np.diag(left)[:3] / (beta**2 * true[:, :3].var(axis=0)))
        assert np.linalg.eigvalsh(left)[0] > -1e-9 * np.trace(left)
    assert min(naive) > 0.8  # it would have spoken of them
    assert max(told) < 0.01  # and does not
    assert np.abs(np.array(kept) - 1).max() < 0.1


def test_a_feature_without_errors_keeps_its_covariance(x64):
    rng = np.random.default_rng(7)
    features = rng.normal(size=(9, 3))
    found = told_apart(jnp.asarray(features), jnp.ones(9), jnp.zeros((9, 3)))
    np.testing.assert_allclose(found, np.cov(features.T, bias=True), atol=1e-12)
    full = told_apart(jnp.asarray(features), jnp.ones(9), jnp.zeros((9, 3, 3)))
    np.testing.assert_allclose(full, found, atol=1e-12)


def test_what_stands_for_the_table_says_that_it_is_none():
    _, bare = both()
    assert isinstance(bare.mdp, NoTable) and isinstance(bare.normalizer, SumOverProxies)
    assert bare.feature_names == TRAIN.mdp.feature_names and bare.mdp.num_features == 4
    with pytest.raises(AttributeError, match="no next_state without a table"):
        _ = bare.mdp.next_state
    with pytest.raises(ValueError, match=r"pass an mdps\.MDP"):
        planning.start_features(bare.mdp)


def test_rows_may_be_traced_and_one_of_each_is_enough(dtype):
    features = jnp.asarray(np.random.default_rng(8).normal(size=(5, 3)), dtype)
    rewards, weights = jnp.eye(5, 3, dtype=dtype), jnp.ones((2, 3), dtype)

    def likelihood(row, beta):
        errors = jnp.full((5, 3), 0.1, dtype)
        made = ProxyReward.from_features(
            row, alternatives=rewards, features=features, visits=1, beta=beta, standard_error=errors
        )
        return made.log_likelihood(weights), made.log_likelihood_error(weights)

    beta = jnp.linspace(0.1, 0.5, 5, dtype=dtype)
    found, errors = jax.jit(jax.vmap(likelihood))(jnp.arange(5), beta)
    for row in range(5):
        alone = likelihood(np.int64(row), beta[row])
        np.testing.assert_allclose(found[row], alone[0], rtol=2e-5)
        np.testing.assert_allclose(errors[row], alone[1], rtol=2e-4)
    one = ProxyReward.from_features(
        0, alternatives=[[1.0]], features=[[2.0]], visits=np.float32(4), standard_error=[[0.5]], beta=np.float64(2)
    )
    assert float(one.log_likelihood(np.array([[3.0]]))[0]) == 0  # the only one that could have been written
    assert float(one.log_likelihood_error(np.array([[3.0]]))[0]) == 0
    assert one.feature_names == ("feature 0",) and one.replace(beta=1.0).beta == 1


def test_a_belief_with_an_unknown_beta_takes_it(x64):
    prior = dist.Normal(0.0, 1.0).expand([4]).to_event(1)
    _, bare = both(beta=dist.LogNormal(0.0, 0.5))
    belief = posterior.importance(bare, prior=prior, num_samples=300, key=jax.random.key(0))
    [beta] = belief.parameters.values()
    logits = np.asarray(beta)[:, None] * np.asarray(belief.weights) @ np.asarray(bare.alternative_features).T
    own = np.asarray(beta) * (np.asarray(belief.weights) @ np.asarray(bare.feature_expectations))
    expected = own - np.log(np.exp(logits) @ np.asarray(bare.counts))
    expected -= np.log(np.exp(expected).sum())
    np.testing.assert_allclose(belief.log_weights, expected, atol=1e-9)


GOOD = {"alternatives": np.eye(2), "features": np.eye(2), "visits": 1}


@pytest.mark.parametrize(
    ("row", "change", "message"),
    [
        (2, {}, "row is 2"),
        (0, {"features": np.eye(3)}, "one row of expected features per alternative"),
        (0, {"features": [[0.0, np.nan], [0.0, 1.0]]}, "features"),
        (0, {"alternatives": np.ones((0, 2))}, "alternatives has shape"),
        (0, {"alternatives": [1.0, 2.0]}, "alternatives has shape"),
        (0, {"visits": 0}, "how many"),
        (0, {"visits": np.nan}, "how many"),
        (0, {"visits": np.ones(2)}, "visits has shape"),
        (0, {"beta": 0.0}, "beta"),
        (0, {"feature_names": ("a", "a")}, "distinct"),
        (0, {"feature_names": ("a",)}, "distinct"),
        (0, {"standard_error": np.ones(2)}, "one number per estimate"),
        (0, {"standard_error": -np.ones((2, 2))}, "negative"),
        (0, {"standard_error": np.full((2, 2), np.inf)}, "standard_error"),
        (0, {"covariance": np.ones((2, 2))}, "one matrix per row"),
        (0, {"covariance": np.array([[[1.0, 2.0], [2.0, 1.0]]] * 2)}, "a matrix that is none"),
        (0, {"covariance": np.array([[[1.0, 0.5], [0.0, 1.0]]] * 2)}, "a matrix that is none"),
        (0, {"covariance": np.ones((2, 2, 2)), "standard_error": np.ones((2, 2))}, "give one"),
    ],
)
def test_bad_input_is_refused_before_anything_is_compiled(row, change, message):
    with pytest.raises(ValueError, match=message):
        ProxyReward.from_features(row, **GOOD | change)


def test_offsets_refuse_what_is_no_place():
    _, bare = both()
    belief = posterior.exact(bare, candidates=REWARDS)
    for visits in (0, np.inf, [3.0], True):
        with pytest.raises(ValueError, match="mdp"):
            planning.training_offset(visits, belief, bare)
    with pytest.raises(ValueError, match="at least one option"):
        planning.regret_offset(np.ones((0, 4)), belief)
    with pytest.raises(ValueError, match="one column per feature"):
        planning.regret_offset(np.ones((2, 3)), belief)
    with pytest.raises(ValueError, match="what one run collects"):
        planning.features_offset(belief, np.ones((2, 4)))
    with pytest.raises(ValueError, match="one column per feature"):
        planning.unknown(np.ones((2, 3)), belief)
    with pytest.raises(ValueError, match="features of each visit"):
        planning.unknown(np.ones((0, 4)), belief)
