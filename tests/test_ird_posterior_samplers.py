"""Every sampler against the exact posterior within its own Monte Carlo error, and what each reports of itself."""

import dataclasses
import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import oracles_chains
import pytest
import scipy.stats
from test_ird_evidence_proxy import K, random_problem

import mdps
from ird import ProxyReward, posterior
from ird.diagnostics import chain_diagnostics
from ird.evidence import Comparison, InitialState, MaxEntDemonstration
from ird.posterior import ConvergenceWarning

BOX = dist.Uniform(-1, 1).expand([K]).to_event(1)
ALTERNATIVES = random_problem(2)[3]
MAPS = [random_problem(seed)[4] for seed in (2, 9)]
KEY = jax.random.key(20)
CUTS = (-0.75, -0.25, 0.25, 0.75)
# Two-sided, for all comparisons of this file together: right samplers fail here once in a thousand files.
COMPARISONS = 16 * 10 + 40
LIMIT = scipy.stats.norm.isf(0.0005 / COMPARISONS)


def written(mdp, beta=15.0):
    return ProxyReward(ALTERNATIVES[0], mdp, beta=beta, alternatives=ALTERNATIVES)


def functions(weights, parameters, evidence):
    """What is compared: the mean and four points of the distribution of each weight, and the mean log-likelihood."""
    below = [weights[:, k] < cut for k in range(K) for cut in CUTS]
    return np.column_stack([weights, *below, evidence.log_likelihood(weights)])


@functools.cache
def truth(number):
    """The means of `functions` by the midpoint rule on 80³ cells whose edges are the cuts."""
    evidence = written(MAPS[number])
    edge = (np.arange(80) + 0.5) / 40 - 1
    grid = np.stack(np.meshgrid(edge, edge, edge, indexing="ij"), axis=-1).reshape(-1, K)
    belief = posterior.exact(evidence, candidates=grid)
    p = np.exp(np.asarray(belief.log_weights, float))
    return (p / p.sum()) @ functions(grid, {}, evidence)


def z_scores(belief, number=0):
    evidence = written(MAPS[number])
    return oracles_chains.z_scores(belief, functools.partial(functions, evidence=evidence), truth(number))


def over_maps(sample):
    """The posterior on each of the maps, all sampled in one compiled batch."""
    alternatives = jnp.asarray(ALTERNATIVES, jnp.float32)

    def one(mdp, key):
        return sample(ProxyReward(alternatives[0], mdp, beta=15.0, alternatives=alternatives), key)

    beliefs = jax.jit(jax.vmap(one))(mdps.stack(MAPS), jax.random.split(KEY, 2))
    return [jax.tree.map(lambda x, i=i: x[i], beliefs) for i in range(2)]


@pytest.fixture(scope="module")
def batch():
    """Two maps × two values of β in one compiled batch of NUTS, and how often it was traced."""
    traces = []

    @jax.jit
    def infer(maps, beta, key):
        traces.append(1)

        def one(mdp, key):
            alternatives = jnp.asarray(ALTERNATIVES, jnp.float32)
            evidence = ProxyReward(alternatives[0], mdp, beta=beta, alternatives=alternatives)
            return posterior.nuts(evidence, prior=BOX, key=key, num_warmup=300, num_samples=500)

        return jax.vmap(one)(maps, jax.random.split(key, 2))

    maps = mdps.stack(MAPS)
    return infer(maps, 15.0, KEY), infer(maps, 5.0, KEY), traces


@pytest.fixture(scope="module")
def laplace():
    return posterior.laplace(written(MAPS[0]), prior=BOX, num_samples=4000, key=KEY)


def test_nuts_agrees_with_exact_on_every_map_of_a_batch_compiled_once(batch):
    beliefs, others, traces = batch
    assert len(traces) == 1
    for i in range(2):
        belief = jax.tree.map(lambda x, i=i: x[i], beliefs)
        assert np.abs(z_scores(belief, i)).max() < LIMIT
        table = belief.summary()
        assert table.r_hat.max() < 1.01 and table.ess_bulk.min() > 400 and table.ess_tail.min() > 400
        assert "bulk ESS" in str(table) and "divergences" in str(table)
    # β is traced: a vaguer designer leaves more open
    assert (others.weights.std(axis=1) > beliefs.weights.std(axis=1)).all()


def test_a_batch_says_which_of_its_posteriors_did_not_converge(batch):
    beliefs = batch[0]
    half = beliefs.weights.shape[1] // 2
    torn = beliefs.weights.at[1, :half, 0].add(1.0)  # two chains of posterior 1 are elsewhere
    found = chain_diagnostics(torn[1].reshape(beliefs.num_chains, -1, K))
    diagnostics = dict(beliefs.diagnostics)
    for name, x in zip(("r_hat", "ess_bulk", "ess_tail"), found, strict=True):
        diagnostics[name] = diagnostics[name].at[1].set(x)
    bad = dataclasses.replace(beliefs, weights=torn, diagnostics=diagnostics)
    assert not beliefs.warnings()
    first, *more = bad.warnings()
    assert first.startswith("posterior 1: the chains have not converged: R-hat of feature 0 is")
    assert all(w.startswith("posterior 1: the chains are worth only") for w in more)
    with pytest.raises(ValueError, match="batch of posteriors"):
        bad.summary()


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_importance_agrees_with_exact(precision):
    with jax.enable_x64(precision == "float64"):
        belief = posterior.importance(written(MAPS[0]), prior=BOX, num_samples=10_000, key=KEY)
        assert np.abs(z_scores(belief)).max() < LIMIT


def test_weighted_laplace_agrees_with_exact(laplace):
    assert np.abs(z_scores(laplace)).max() < LIMIT
    assert float(laplace.pareto_k) < 0.5
    assert float(laplace.effective_sample_size) > 2000
    assert float(laplace.diagnostics["newton_decrement"]) < 1e-6
    assert "Pareto k" in str(laplace.summary()) and not laplace.warnings()


def test_the_raw_laplace_gaussian_does_not_and_says_so():
    belief = posterior.laplace(written(MAPS[0]), prior=BOX, num_samples=4000, key=KEY, weighted=False)
    assert np.abs(z_scores(belief)).max() > 4 * LIMIT
    np.testing.assert_allclose(belief.log_weights, -np.log(4000), rtol=1e-6)
    assert any("nothing corrects the difference" in w for w in belief.summary().warnings)
    # nor do weights on a Gaussian proposal mend it: the tails of a box are wider than its own
    light = posterior.laplace(written(MAPS[0]), prior=BOX, num_samples=4000, key=KEY, degrees_of_freedom=None)
    assert float(light.pareto_k) > 0.5 and float(light.effective_sample_size) < 2000


def test_smc_agrees_with_exact():
    pytest.importorskip("blackjax")
    beliefs = over_maps(lambda proxy, key: posterior.smc(proxy, prior=BOX, num_samples=3000, key=key))
    for i, belief in enumerate(beliefs):
        assert np.abs(z_scores(belief, i)).max() < LIMIT
        assert float(belief.diagnostics["temperature"]) == 1.0
        assert 1000 < float(belief.effective_sample_size) <= 3000
        np.testing.assert_allclose(belief.log_weights, -np.log(3000), rtol=1e-4)
        assert not belief.warnings()


def test_too_few_stages_of_smc_are_not_kept_quiet():
    pytest.importorskip("blackjax")
    with pytest.warns(ConvergenceWarning, match=r"let in only to 0\.\d+ of its weight before max_stages ran out"):
        posterior.smc(written(MAPS[0], beta=1e3), prior=BOX, num_samples=200, num_moves=1, key=KEY, max_stages=1)


def test_exchange_agrees_with_exact():
    beliefs = over_maps(lambda proxy, key: posterior.exchange(proxy, prior=BOX, key=key, num_warmup=1000))
    for i, belief in enumerate(beliefs):
        assert np.abs(z_scores(belief, i)).max() < LIMIT
        assert 0.2 < float(belief.diagnostics["acceptance"]) < 0.4
        assert belief.summary().r_hat.max() < 1.01


def test_double_metropolis_hastings_of_few_steps_stays_too_near_the_prior():
    belief = posterior.exchange(written(MAPS[0]), prior=BOX, key=KEY, num_warmup=1000, inner_steps=1)
    assert np.abs(z_scores(belief)).max() > 2 * LIMIT
    assert (np.abs(belief.mean()) < np.abs(truth(0)[:K])).all()  # the prior's mean is zero


def compare(one, other, functions):
    """Standard scores of the difference between the means that two independent samples give."""
    nothing = np.zeros(functions(np.asarray(other.weights), other.parameters).shape[1])
    z = [oracles_chains.z_scores(belief, functions, nothing) for belief in (one, other)]
    means = [oracles_chains.weighted_mean(belief, functions) for belief in (one, other)]
    errors = [m / x for m, x in zip(means, z, strict=True)]
    return (means[0] - means[1]) / np.hypot(*errors)


def below(weights, parameter):
    """Whether each weight, and a parameter, lies below some points."""
    return np.column_stack([1.0 * (x < cut) for x in (*weights.T, parameter) for cut in (-0.5, 0.0, 0.5)])


def test_nuts_on_a_demonstration_with_a_hierarchical_prior(optimised):
    """A gradient through a planner, and a scale shared by all weights: against importance sampling."""
    grid = mdps.GridWorld.from_text(
        "SgG\n...", {"S": "path", ".": "path", "g": "grass", "G": "goal"}, horizon=4, discount=0.9
    )
    shown = MaxEntDemonstration(grid.mdp, [0, 3, 4, 5], [2, 1, 1, 0], beta=2.0)

    runs = []

    def shared_scale(least):
        runs.append(1)
        scale = numpyro.sample("scale", dist.HalfNormal(1.0))
        weights = numpyro.sample("weights", dist.Normal(0, 1).expand([K]).to_event(1))
        return numpyro.deterministic("rewards", (least + scale) * weights)

    prior = jax.tree_util.Partial(shared_scale, jnp.asarray(0.2))
    settings = {"num_warmup": 300, "num_samples": 1000, "target_accept": 0.9}
    belief = posterior.nuts(shown, prior=prior, key=KEY, **settings)
    runs.clear()
    other = posterior.nuts(shown, prior=jax.tree_util.Partial(shared_scale, jnp.asarray(2.0)), key=KEY, **settings)
    assert len(runs) == 1  # to look at its sites; the arrays of a Partial are arguments, so nothing is traced again
    assert other.weights.std() > 1.5 * belief.weights.std()
    wide = posterior.importance(shown, prior=prior, num_samples=20_000, key=jax.random.key(1))
    table = belief.summary()
    assert table.names == ("path", "grass", "goal", "rewards[0]", "rewards[1]", "rewards[2]", "scale")
    assert table.r_hat.shape == (7,) and table.r_hat.max() < 1.01
    z = compare(belief, wide, lambda w, p: below(w, p["scale"] - 1))
    assert np.abs(z).max() < LIMIT
    np.testing.assert_allclose(belief.prior_parameters["scale"].mean(), np.sqrt(2 / np.pi), atol=0.06)


def noisy_labels(n=300, scale=1.0):
    """Labels of a person with β·w = scale · (1, -1), for n pairs."""
    rng = np.random.default_rng(0)
    difference = rng.normal(size=(n, 2))
    better = rng.uniform(size=n) < 1 / (1 + np.exp(-difference @ [scale, -scale]))
    signed = np.where(better[:, None], difference, -difference)
    return Comparison(signed, np.zeros_like(signed), feature_names=("a", "b"))


def test_beta_and_the_scale_of_the_weights_make_a_ridge_together(optimised):
    """Only β·w is identified: with wide priors on both, their product is known and neither factor is."""
    labels = noisy_labels()
    informed = {"prior": dist.Normal(0, jnp.ones(2)), "beta": dist.LogNormal(0.0, 0.5)}
    settings = {"key": KEY, "num_warmup": 500, "num_samples": 2500, "target_accept": 0.95}
    belief = posterior.nuts(labels, **informed, **settings)
    log_beta = np.log(np.asarray(belief.parameters["beta"]))
    log_size = np.log(np.linalg.norm(np.asarray(belief.weights), axis=1))
    assert np.corrcoef(log_beta, log_size)[0, 1] < -0.9
    assert log_beta.std() > 2 * (log_beta + log_size).std()
    table = belief.summary()
    assert table.names == ("a", "b", "beta")
    assert table.r_hat.shape == table.contraction.shape == (3,)
    # it is the posterior all the same: importance sampling, with a β for each draw, agrees
    far = posterior.importance(labels, **informed, num_samples=40_000, key=jax.random.key(1))
    z = compare(belief, far, lambda w, p: below(w - np.array([1.0, -1.0]), np.log(p["beta"])))
    assert np.abs(z).max() < LIMIT
    # and with priors far wider the chains do not get along the ridge, which is not kept quiet
    hopeless = {"prior": dist.Normal(0, 1e3 * jnp.ones(2)), "beta": dist.LogNormal(0.0, 10.0)}
    with pytest.warns(ConvergenceWarning, match="diverged; raise target_accept"):
        lost = posterior.nuts(labels, **hopeless, **settings)
    assert lost.summary().warnings == lost.warnings() and "WARNING" in str(lost.summary())


def test_each_piece_of_evidence_may_have_its_own_unknown_beta():
    careful, careless = noisy_labels(scale=3.0), noisy_labels(scale=0.3)
    prior = dist.Normal(0.0, 0.05).expand([2]).to_event(1)

    def around():  # the direction is known, so β can be learnt
        return jnp.asarray([1.0, -1.0]) + numpyro.sample("error", prior)

    beta = dist.LogNormal(0.0, 1.0).expand([2])
    belief = posterior.importance(careful, careless, prior=around, beta=beta, num_samples=20_000, key=KEY)
    mean = np.exp(np.asarray(belief.log_weights)) @ np.asarray(belief.parameters["beta"])
    np.testing.assert_allclose(mean, [3.0, 0.3], rtol=0.4)
    assert belief.prior_parameters["error"].shape == (2048, 2)


class Unregistered:
    """Evidence by somebody else, which JAX cannot take apart."""

    feature_names = ("a", "b")

    def log_likelihood(self, weights):
        return -jnp.sum((weights - jnp.asarray([1.0, -1.0])[None]) ** 2, axis=1) / (2 * 0.5**2)


def test_foreign_evidence_and_transformed_priors():
    """What JAX cannot take apart is held whole; and the Laplace approximation of a Gaussian is the Gaussian."""
    stretched = dist.TransformedDistribution(
        dist.Normal(0, 1).expand([2]).to_event(1), dist.transforms.AffineTransform(0.0, jnp.full(2, 2.0))
    )
    belief = posterior.laplace(Unregistered(), prior=stretched, num_samples=1000, key=KEY, degrees_of_freedom=None)
    # N(0, 2²) times N(±1, ½²): precision 1/4 + 4, mean ±4 / (1/4 + 4)
    np.testing.assert_allclose(belief.effective_sample_size, 1000, rtol=1e-4)
    sd = (0.25 + 4) ** -0.5
    np.testing.assert_allclose(belief.mean(), np.array([1, -1]) * 4 / 4.25, atol=4 * sd / 1000**0.5)
    np.testing.assert_allclose(np.sqrt(np.diag(belief.covariance())), sd, rtol=0.1)


def test_every_kind_of_evidence_can_change_its_beta():
    mdp = mdps.GridWorld.from_text("SgG\n...", {"S": "p", ".": "p", "g": "g", "G": "goal"}, horizon=4).mdp
    makers = [
        lambda beta: InitialState(mdp, 5, beta=beta),
        lambda beta: MaxEntDemonstration(mdp, [0, 3], [2, 1], beta=beta),
        lambda beta: Comparison([[1.0, 0.0, 2.0]], [[0.0, 1.0, 0.5]], beta=beta, feature_names=mdp.feature_names),
    ]
    for make in makers:
        likelihood = jax.jit(lambda e: e.log_likelihood(jnp.asarray([[0.1, -1.0, 1.0]]))[0])
        found, expected, before = likelihood(make(1.0).replace(beta=3.0)), likelihood(make(3.0)), likelihood(make(1.0))
        assert float(found) == float(expected) != float(before)
        with pytest.raises(ValueError, match="positive and finite"):
            make(1.0).replace(beta=-1.0)


def test_a_missing_blackjax_is_one_clear_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "blackjax", None)
    with pytest.raises(ImportError, match=r"pip install 'inverse-reward-design\[smc\]'"):
        posterior.smc(written(MAPS[0]), prior=BOX, num_samples=10, key=KEY)


def two_sites():
    numpyro.sample("beta", dist.Normal(0, 1))
    return numpyro.sample("weights", dist.Normal(0, 1).expand([K]).to_event(1))


def discrete():
    z = numpyro.sample("z", dist.Bernoulli(0.5))
    return numpyro.sample("weights", dist.Normal(z, 1).expand([K]).to_event(1))


def looking_at_data():
    w = numpyro.sample("weights", dist.Normal(0, 1).expand([K]).to_event(1))
    numpyro.sample("data", dist.Normal(w.sum(), 1), obs=1.0)
    return w


def with_a_param():
    return numpyro.param("p", 1.0) * numpyro.sample("weights", dist.Normal(0, 1).expand([K]).to_event(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prior": "normal"}, "prior is 'normal'; give a numpyro distribution over"),
        ({"prior": lambda: jnp.zeros(2)}, r"returns weights of shape \(2,\); return \[3\], one weight per feature"),
        ({"prior": discrete}, "'z' of the prior model is discrete"),
        ({"prior": looking_at_data}, "'data' of the prior model is observed"),
        ({"prior": with_a_param}, "has a param 'p'"),
        ({"prior": two_sites, "beta": dist.LogNormal(0.0, 1.0)}, "two sites of one name"),
        ({"beta": 2.0}, "beta is 2.0; give a numpyro distribution over positive numbers"),
        ({"beta": dist.Normal(0.0, 1.0)}, r"beta may be -\d.* an inverse temperature is positive"),
        ({"beta": dist.LogNormal(0.0, 1.0).expand([3])}, r"shape \(3,\); give one number for all evidence, or one"),
    ],
)
@pytest.mark.parametrize("sampler", ["nuts", "laplace", "exchange", "importance", "smc"])
def test_every_sampler_refuses_bad_priors_by_name(sampler, change, message):
    settings = {"prior": BOX, "key": KEY} | ({} if sampler in ("nuts", "exchange") else {"num_samples": 10})
    with pytest.raises(ValueError, match=message):
        getattr(posterior, sampler)(written(MAPS[0]), **settings | change)


def test_every_sampler_refuses_bad_settings_by_name():
    proxy = written(MAPS[0])
    for sampler, change, message in [
        ("nuts", {"num_warmup": -1}, "num_warmup is -1; give a whole number ≥ 0"),
        ("nuts", {"num_chains": 0}, "num_chains is 0"),
        ("nuts", {"target_accept": 1.0}, "target_accept is 1.0; it must lie strictly between"),
        ("laplace", {"num_samples": 0}, "num_samples is 0"),
        ("laplace", {"num_samples": 10, "degrees_of_freedom": 0}, "degrees_of_freedom is 0"),
        ("laplace", {"num_samples": 10, "max_steps": 0}, "max_steps is 0"),
        ("smc", {"num_samples": 1}, "num_samples is 1; give a whole number ≥ 2"),
        ("smc", {"num_samples": 10, "target_size": 1.5}, "it is a share of the samples"),
        ("smc", {"num_samples": 10, "num_moves": 0}, "num_moves is 0"),
        ("exchange", {"inner_steps": 0}, "inner_steps is 0"),
        ("exchange", {"thinning": 0}, "thinning is 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            getattr(posterior, sampler)(proxy, **{"prior": BOX, "key": KEY} | change)
    soft = ProxyReward.maxent(ALTERNATIVES[0], MAPS[0])
    for evidence, message in [
        ((soft,), "with the normalizer SoftValue; exchange draws proxies from a list"),
        ((noisy_labels(),), "at least one ProxyReward"),
        ((np.zeros(3),), "no log_likelihood"),
    ]:
        with pytest.raises(ValueError, match=message):
            posterior.exchange(*evidence, prior=BOX if evidence[0] is soft else dist.Normal(0, jnp.ones(2)), key=KEY)
    with pytest.raises(ValueError, match=r"Unregistered, which has no replace\(beta="):
        posterior.nuts(Unregistered(), prior=dist.Normal(0, jnp.ones(2)), beta=dist.HalfNormal(1.0), key=KEY)
