"""Simulated designers: what they write against exact probabilities, and their proxies as evidence."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import oracles
import pytest
import scipy.stats
from test_ird_evidence_proxy import K, M, brute_force_features, random_problem

import mdps
from ird import ProxyReward, posterior
from ird.designer import Designer, beta_within, given_up
from ird.evidence import Choice
from ird.queries import Pool

BOX = dist.Uniform(-1, 1).expand([K]).to_event(1)
P, FEATURES, INITIAL, ALTERNATIVES, MDP = random_problem(4, horizon=2)
DESIGNER = Designer.from_rewards(ALTERNATIVES, MDP, beta=6.0)
MEANT = np.array([0.8, -0.3, 0.5])
DRAWS = 20_000


def chi_square(rows, log_probabilities):
    """p-value of the rows drawn, alternatives that are expected fewer than 10 times taken together."""
    expected = len(rows) * np.exp(np.asarray(log_probabilities, float))
    seen = np.bincount(rows, minlength=M)
    rare = expected < 10
    pool = [np.append(x[~rare], x[rare].sum()) if rare.any() else x for x in (seen, expected)]
    return scipy.stats.chisquare(pool[0], pool[1] * pool[0].sum() / pool[1].sum()).pvalue


def test_probabilities_are_those_of_every_policy_listed(dtype):
    every = brute_force_features(P, FEATURES, INITIAL, 2)
    plans = every[np.argmax(ALTERNATIVES @ every.T, axis=1)]
    weights = np.random.default_rng(0).normal(size=(9, K))
    logits = 6.0 * weights @ plans.T
    expected = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    mdp = random_problem(4, horizon=2)[-1]  # in this dtype
    found = Designer.from_rewards(ALTERNATIVES, mdp, beta=6.0).log_probabilities(weights)
    tol = 1e-10 if dtype == jnp.float64 else 1e-5
    np.testing.assert_allclose(found, expected, atol=tol)
    # and the model that reads the proxies is the same
    for row in (0, 7):
        proxy = ProxyReward(ALTERNATIVES[row], mdp, beta=6.0, alternatives=ALTERNATIVES)
        np.testing.assert_allclose(proxy.log_likelihood(weights), expected[:, row], atol=tol)


def test_a_designer_with_a_soft_planner_looks_at_soft_plans(dtype):
    mdp = random_problem(4, horizon=2)[-1]  # in this dtype
    found = Designer.from_rewards(ALTERNATIVES, mdp, temperature=0.3).features
    expected = []
    for w in ALTERNATIVES:
        policy = oracles.backward_induction(P, FEATURES @ w, 1.0, 2, 0.3)[1]
        expected.append(oracles.feature_expectations(P, policy, INITIAL, 1.0, FEATURES, 2))
    np.testing.assert_allclose(found, expected, atol=1e-10 if dtype == jnp.float64 else 2e-6)
    cold = Designer.from_rewards(ALTERNATIVES, mdp, temperature=jnp.asarray(1e-4)).features
    hard = Designer.from_rewards(ALTERNATIVES, mdp).features
    assert np.abs(cold - hard).max() < 1e-5 < 0.1 < np.abs(found - hard).max()


def test_what_is_written_has_the_softmaxs_frequencies():
    keys = jax.random.split(jax.random.key(0), DRAWS)
    write = jax.jit(jax.vmap(lambda designer, key: designer.write(MEANT, key=key), in_axes=(None, 0)))
    rows = np.asarray(write(DESIGNER, keys))
    exact = DESIGNER.log_probabilities(MEANT[None])[0]
    assert chi_square(rows, exact) > 1e-3
    assert chi_square(rows, DESIGNER.replace(beta=5.0).log_probabilities(MEANT[None])[0]) < 1e-6
    # a soft planner's plans differ less from each other, so what is written tells less
    soft = Designer.from_rewards(ALTERNATIVES, MDP, beta=6.0, temperature=1.0)
    rows = np.asarray(write(soft, keys))
    assert chi_square(rows, soft.log_probabilities(MEANT[None])[0]) > 1e-3
    assert chi_square(rows, exact) < 1e-6


def test_simulated_designers_are_draws_from_the_joint_distribution_compiled_once():
    traces = []

    @jax.jit
    def simulate(designer, keys):
        traces.append(1)
        return jax.vmap(lambda key: designer.simulate(BOX, key=key))(keys)

    meant, rows = simulate(DESIGNER, jax.random.split(jax.random.key(1), DRAWS))
    simulate(DESIGNER.replace(beta=1.0), jax.random.split(jax.random.key(2), DRAWS))
    assert len(traces) == 1
    meant, rows = np.asarray(meant), np.asarray(rows)
    for column in meant.T:
        assert scipy.stats.kstest(column, scipy.stats.uniform(-1, 2).cdf).pvalue > 1e-3
    # What those meant who wrote the same proxy is the posterior: simulation and Bayes' rule agree.
    edge = (np.arange(40) + 0.5) / 20 - 1
    grid = np.stack(np.meshgrid(edge, edge, edge, indexing="ij"), axis=-1).reshape(-1, K)
    for row in np.argsort(np.bincount(rows, minlength=M))[-3:]:
        belief = posterior.exact(DESIGNER.proxy(int(row)), candidates=grid)
        those = meant[rows == row]
        error = those.std(axis=0, ddof=1) / len(those) ** 0.5
        assert np.abs((those.mean(axis=0) - np.asarray(belief.mean())) / error).max() < 4  # 9 comparisons: 6e-4


def test_a_model_may_say_what_is_meant():
    def sparse():
        scale = numpyro.sample("scale", dist.HalfNormal(0.1))
        return scale * numpyro.sample("direction", dist.Normal(0, 1).expand([K]).to_event(1))

    keys = jax.random.split(jax.random.key(3), 500)
    meant, rows = jax.jit(jax.vmap(lambda key: DESIGNER.simulate(sparse, key=key)))(keys)
    assert meant.shape == (500, K) and rows.shape == (500,)
    assert 0.07 < float(meant.std()) < 0.13  # E[scale²] = 0.1²


def test_proxies_are_evidence_and_plan_nothing_again():
    weights = np.random.default_rng(1).normal(size=(20, K))
    listed = np.concatenate([ALTERNATIVES, 2 * ALTERNATIVES])  # the same plans once more
    designer = Designer.from_rewards(listed, MDP, beta=6.0)
    plain = ProxyReward(listed[3], MDP, beta=6.0, alternatives=listed)
    proxy = designer.proxy(3)
    assert proxy.alternative_features.shape == plain.alternative_features.shape and float(proxy.counts.min()) >= 2
    np.testing.assert_array_equal(proxy.weights, plain.weights)
    np.testing.assert_allclose(proxy.log_likelihood(weights), plain.log_likelihood(weights), atol=1e-6)

    sizes = []

    @jax.jit
    def read(rows):
        def one(row):
            proxy = designer.proxy(row)
            sizes.append(proxy.alternative_features.shape)
            return proxy.log_likelihood(weights)

        return jax.vmap(one)(rows)

    traced = read(jnp.arange(2 * M))
    assert sizes == [plain.alternative_features.shape]  # merged, since the designer's plans are known
    np.testing.assert_allclose(traced[3], plain.log_likelihood(weights), atol=1e-6)
    np.testing.assert_allclose(traced.T, designer.log_probabilities(weights), atol=1e-5)


def test_bad_designers_are_refused_by_name():
    stacked = mdps.stack([MDP, MDP])
    for made, message in [
        (lambda: Designer.from_rewards(np.zeros((0, K)), MDP), "alternatives is empty"),
        (lambda: Designer.from_rewards(np.zeros((2, K + 1)), MDP), r"must be \[M, K\] with K=3"),
        (lambda: Designer.from_rewards([[0.0, np.nan, 1.0]], MDP), r"alternatives is nan at index \(0, 1\)"),
        (lambda: Designer.from_rewards(ALTERNATIVES, stacked), "mdp is a stack of MDPs"),
        (lambda: Designer.from_rewards(ALTERNATIVES, MDP, beta=0.0), "positive and finite"),
        (lambda: Designer.from_rewards(ALTERNATIVES, MDP, temperature=-1.0), "temperature is -1.0; it must be 0"),
        (lambda: DESIGNER.replace(beta=np.inf), "positive and finite"),
        (lambda: DESIGNER.write(MEANT[:2], key=jax.random.key(0)), r"weights has shape \(2,\); give one true reward"),
        (lambda: DESIGNER.write(MEANT, key=0), "give one random key"),
        (lambda: DESIGNER.log_probabilities(MEANT), r"give candidates \[N, K\]"),
        (lambda: DESIGNER.proxy(M), "row is 12; it must be one of the 12 alternatives"),
        (lambda: DESIGNER.simulate(dist.Normal(0, jnp.ones(2)), key=jax.random.key(0)), "prior is over 2 weights"),
        (lambda: DESIGNER.simulate("box", key=jax.random.key(0)), "prior is 'box'"),
        (
            lambda: ProxyReward.from_plans(0, MDP, alternatives=ALTERNATIVES, features=np.zeros((2, K))),
            r"features has shape \(2, 3\); give one row",
        ),
        (
            lambda: ProxyReward.from_plans(0, MDP, alternatives=ALTERNATIVES, features=np.full((M, K), np.inf)),
            r"features is inf at index",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            made()


def test_what_a_designer_gives_up_is_what_the_softmax_loses_and_beta_is_asked_for_by_it(x64):
    rng = np.random.default_rng(5)
    options, meant = rng.normal(size=(M, K)), rng.normal(size=(40, K))
    returns = meant @ options.T
    best = returns.max(axis=1)
    for beta in (0.1, 1.0, 7.0):
        p = np.exp(beta * (returns - best[:, None]))
        p /= p.sum(axis=1, keepdims=True)
        expected = (best - (p * returns).sum(axis=1)).sum() / (best - returns.mean(axis=1)).sum()
        pool = Pool.from_features(jnp.asarray(options), beta=beta)
        found = given_up(pool, jnp.asarray(meant))
        assert float(found) == pytest.approx(expected, rel=1e-12)
        back = beta_within(float(found), pool, jnp.asarray(meant))
        assert float(back) == pytest.approx(beta, rel=1e-9)
        # Only β times the scale counts: in another unit of reward it is another β, of the same designers.
        assert float(beta_within(float(found), pool, 10 * jnp.asarray(meant))) == pytest.approx(
            float(back) / 10, rel=1e-3
        )


def test_equal_options_count_each_and_the_alternatives_are_what_may_be_meant():
    mdp = random_problem(4, horizon=2)[-1]
    twice = np.concatenate([ALTERNATIVES[:-3], ALTERNATIVES[:3]])
    proxy = ProxyReward(twice[0], mdp, beta=3.0, alternatives=twice)
    assert proxy.alternative_features.shape[0] < len(twice)
    designer = Designer.from_rewards(twice, mdp, beta=3.0)
    assert float(given_up(proxy)) == pytest.approx(float(given_up(designer)), rel=1e-5)
    sharper = given_up(proxy.replace(beta=30.0))
    assert 0 < float(sharper) < float(given_up(proxy)) < 1
    traced = jax.jit(lambda beta: given_up(proxy.replace(beta=beta)))(30.0)  # all but β is known inside jit, too
    assert float(traced) == pytest.approx(float(sharper), rel=1e-5)


def test_what_has_no_options_or_no_stake_is_refused_with_the_cure():
    choice = Choice(np.eye(2), 0, feature_names=("a", "b"))
    with pytest.raises(ValueError, match="which has no list of options"):
        given_up("designer")
    with pytest.raises(ValueError, match="does not know which rewards may be meant"):
        given_up(choice)
    with pytest.raises(ValueError, match=r"weights has shape \(1, 3\)"):
        given_up(choice, np.ones((1, 3)))
    with pytest.raises(ValueError, match="nothing is at stake"):
        beta_within(0.1, choice, np.ones((1, 2)))
    for share in (0.0, 1.0, 5.0):
        with pytest.raises(ValueError, match=f"share is {share}"):
            beta_within(share, choice, np.eye(2))
