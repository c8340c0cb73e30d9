"""Posteriors against sums over every policy, against one another, and against arviz."""

import dataclasses
import sys
import types
import warnings
from pathlib import Path

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from test_ird_evidence_proxy import K, M, brute_force_features, numpy_log_likelihood, random_problem

import ird
import mdps
from ird import ProxyReward, posterior
from ird.diagnostics import pareto_k
from ird.directions import blind_directions
from ird.evidence import Choice
from mdps import MDP

DATA = Path(__file__).parent / "data"
NORMAL = dist.Normal(0, 1).expand([K]).to_event(1)
BOX = dist.Uniform(-1, 1).expand([K]).to_event(1)


def numpy_posterior(log_prior, *log_likelihoods):
    log = log_prior + sum(log_likelihoods)
    p = np.exp(log - log.max())
    return p / p.sum()


@pytest.fixture(scope="module")
def proxy():
    _, _, _, alternatives, mdp = random_problem(0, names=("dirt", "grass", "goal"))
    return ProxyReward(alternatives[0], mdp, beta=4.0, alternatives=alternatives)


@pytest.mark.parametrize("seed", [0, 1])
def test_exact_is_the_posterior_from_every_policy_listed(seed, dtype):
    P, features, initial, alternatives, mdp = random_problem(seed, horizon=2)
    every = brute_force_features(P, features, initial, 2)
    plans = every[np.argmax(alternatives @ every.T, axis=1)]
    rng = np.random.default_rng(seed)
    candidates, log_prior = rng.normal(size=(200, K)), rng.normal(size=200)
    log_prior[3] = -np.inf
    p = numpy_posterior(log_prior, numpy_log_likelihood(plans[1], plans, candidates, 3.0))
    evidence = ProxyReward(alternatives[1], mdp, beta=3.0, alternatives=alternatives)
    belief = posterior.exact(evidence, candidates=candidates, log_prior=log_prior)
    tol = 1e-11 if dtype == jnp.float64 else 3e-6
    np.testing.assert_allclose(np.exp(belief.log_weights), p, atol=tol)
    np.testing.assert_allclose(belief.mean(), p @ candidates, atol=10 * tol)
    centred = candidates - p @ candidates
    np.testing.assert_allclose(belief.covariance(), (p[:, None] * centred).T @ centred, atol=10 * tol)
    np.testing.assert_allclose(belief.effective_sample_size, 1 / np.sum(p**2), rtol=1e-4)
    q = numpy_posterior(log_prior)
    np.testing.assert_allclose(belief.prior_mean, q @ candidates, atol=10 * tol)
    np.testing.assert_allclose(belief.prior_sd**2, q @ (candidates - q @ candidates) ** 2, atol=10 * tol)
    assert belief.weights.dtype == belief.log_weights.dtype == dtype
    assert np.isnan(belief.pareto_k)


@pytest.mark.parametrize("far", [1.0, 1e3, 1e5])
def test_probabilities_sum_to_one_however_unlikely_the_evidence(far):
    """In float32, where log Σ p of a thousand nats rounds by thousandths."""
    worth = np.float32(far) + np.random.default_rng(0).uniform(0, 3, 50).astype(np.float32)
    odd = Choice([[1.0, 0.0], [0.0, 0.0]], 1)  # the worse of two options
    belief = posterior.exact(odd, candidates=np.stack([worth, 0 * worth], axis=1))
    p = np.exp(np.asarray(belief.log_weights, float))
    assert p.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(p, numpy_posterior(0, -np.logaddexp(0, worth.astype(float))), rtol=1e-5)


def test_independent_evidence_adds(x64):
    (_, _, _, a, first), (_, _, _, b, second) = random_problem(2), random_problem(3)
    one = ProxyReward(a[0], first, beta=2.0, alternatives=a)
    two = ProxyReward(b[1], second, beta=3.0, alternatives=b)
    candidates = np.random.default_rng(0).normal(size=(50, K))
    both = posterior.exact(one, two, candidates=candidates)
    after = posterior.exact(
        two, candidates=candidates, log_prior=posterior.exact(one, candidates=candidates).log_weights
    )
    np.testing.assert_allclose(both.log_weights, after.log_weights, atol=1e-12)
    np.testing.assert_allclose(
        np.exp(both.log_weights),
        numpy_posterior(0.0, one.log_likelihood(candidates), two.log_likelihood(candidates)),
        atol=1e-12,
    )
    np.testing.assert_allclose(both.feature_covariance, one.feature_covariance + two.feature_covariance)


@hypothesis.given(
    shift=hnp.arrays(float, K, elements=st.floats(-3, 3)), scale=st.floats(0.2, 5), order=st.permutations(range(M))
)
def test_what_should_not_matter_does_not(shift, scale, order):
    """A constant added to the features; β up and weights down; the order of the alternatives."""
    with jax.enable_x64(True):
        P, features, initial, alternatives, mdp = random_problem(4)
        candidates = np.random.default_rng(1).normal(size=(20, K))
        plain = posterior.exact(
            ProxyReward(alternatives[0], mdp, beta=2.0, alternatives=alternatives), candidates=candidates
        )
        moved = MDP.from_dense(P, features + shift, initial, horizon=3)
        other = ProxyReward(alternatives[0], moved, beta=2.0 * scale, alternatives=alternatives[np.array(order)])
        scaled = posterior.exact(other, candidates=candidates / scale)
        np.testing.assert_allclose(plain.log_weights, scaled.log_weights, atol=1e-9)


@pytest.mark.parametrize(("seed", "prior"), [(5, NORMAL), (6, BOX)])
def test_importance_agrees_with_exact_on_a_fine_grid(seed, prior, x64):
    _, _, _, alternatives, mdp = random_problem(seed)
    evidence = ProxyReward(alternatives[0], mdp, beta=3.0, alternatives=alternatives)
    edge = np.linspace(-4, 4, 41) if prior is NORMAL else (np.arange(40) + 0.5) / 20 - 1
    grid = np.stack(np.meshgrid(edge, edge, edge, indexing="ij"), axis=-1).reshape(-1, K)
    truth = posterior.exact(evidence, candidates=grid, log_prior=prior.log_prob(grid))
    belief = posterior.importance(evidence, prior=prior, num_samples=20_000, key=jax.random.key(seed))
    sd = np.sqrt(np.diag(truth.covariance()))
    error = sd / np.sqrt(float(belief.effective_sample_size))
    assert np.abs(belief.mean() - truth.mean()).max() < 4 * error.max() + 0.01 * sd.max()
    np.testing.assert_allclose(np.sqrt(np.diag(belief.covariance())), sd, rtol=0.06)
    assert float(belief.pareto_k) < 0.7
    assert not belief.summary().warnings


def test_contraction_is_what_was_learnt():
    """Lava is never met: its posterior is its prior. A sharp designer contracts the rest."""
    grid = mdps.GridWorld.from_text(
        "Sgd\nddG", {"S": "dirt", "d": "dirt", "g": "grass", "G": "goal", "l": "lava"}, horizon=8
    )
    names = grid.mdp.feature_names
    alternatives = np.random.default_rng(0).uniform(-1, 1, size=(100, 4))
    alternatives[0] = grid.weights(dirt=-0.1, grass=-0.5, goal=1.0)
    proxy = ProxyReward(alternatives[0], grid.mdp, beta=5.0, alternatives=alternatives)
    prior = dist.Uniform(-1, 1).expand([4]).to_event(1)
    table = posterior.importance(proxy, prior=prior, num_samples=20_000, key=jax.random.key(0)).summary()
    assert table.unseen == ("lava",)
    assert abs(table.contraction[names.index("lava")]) < 0.06
    assert table.contraction[names.index("goal")] > 0.3
    [direction] = table.blind
    expected = [1.0, 1.0, 1.0, 0.0]  # the steps are shared out: dirt + grass + goal is always 8
    np.testing.assert_allclose(
        direction, [expected[("dirt", "grass", "goal", "lava").index(n)] for n in names], atol=1e-3
    )
    text = str(table)
    assert "nothing about: lava" in text
    assert "direction dirt + grass + goal." in text


def test_blind_directions_are_the_null_space(dtype):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 5))
    features[:, 1] = 0.7
    features[:, 4] = 2 * features[:, 0] - features[:, 2]
    unseen, blind = blind_directions(jnp.asarray(np.cov(features.T), dtype))
    assert unseen == [1]
    np.testing.assert_allclose(blind, [[1, 0, -0.5, 0, -0.5]], atol=1e-2 if dtype == jnp.float32 else 1e-6)
    assert blind_directions(None)[0] == []


@pytest.mark.parametrize("k", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("size", [60, 5000])
def test_pareto_k_is_that_of_arviz(k, size, x64):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        az = pytest.importorskip("arviz")
    if not hasattr(az, "psislw"):
        pytest.skip("arviz 1.x keeps psislw elsewhere")
    log_ratios = k * np.random.default_rng(size).exponential(size=size)
    _, expected = az.psislw(log_ratios.copy())
    np.testing.assert_allclose(pareto_k(jnp.asarray(log_ratios)), expected, atol=1e-6)
    np.testing.assert_allclose(pareto_k(jnp.asarray(log_ratios, jnp.float32)), expected, atol=5e-3)


def test_pareto_k_of_odd_weights():
    assert float(pareto_k(jnp.zeros(500))) == -np.inf
    spike = jnp.zeros(500).at[7].set(30.0)
    assert float(pareto_k(spike)) == np.inf
    assert float(pareto_k(jnp.zeros(1))) == -np.inf


def test_summary_warns_of_poor_weights():
    _, _, _, alternatives, mdp = random_problem(7)
    sharp = ProxyReward(alternatives[0], mdp, beta=500.0, alternatives=alternatives)
    wide = dist.StudentT(2.0, 0, 3.0).expand([K]).to_event(1)
    belief = posterior.importance(sharp, prior=wide, num_samples=60, key=jax.random.key(0))
    assert float(belief.effective_sample_size) < 100
    assert any("worth only" in w for w in belief.summary().warnings)
    heavy = jax.random.exponential(jax.random.key(0), (5000,))
    k = pareto_k(1.5 * heavy)
    bad = dataclasses.replace(belief, pareto_k=k)
    assert any("Pareto k" in w for w in bad.summary().warnings)
    assert "WARNING" in str(bad.summary())


def test_a_summary_says_of_the_tail_what_it_means_and_a_posterior_prints_its_head():
    belief = posterior.importance(prior=NORMAL, num_samples=200, key=jax.random.key(0))
    tails = {"Pareto k: fine": -np.inf, "Pareto k 0.30: fine": 0.3, "Pareto k 0.90: too large": 0.9}
    for words, k in {**tails, "Pareto k: too few ratios stand out": np.inf}.items():
        text = str(dataclasses.replace(belief, pareto_k=jnp.asarray(k)).summary())
        assert words in text and "-inf" not in text and "-0.000" not in text
    p, first = np.exp(np.asarray(belief.log_weights)), np.asarray(belief.weights)[:, 0]
    head = f"Posterior(200 samples, worth 200; weight 0 {p @ first:.3g} ± "
    assert repr(belief).startswith(head) and "\n" not in repr(belief)
    html = belief._repr_html_()
    assert html.count("<tr>") == 1 + K and "Pareto k: fine" in html
    batch = jax.tree.map(lambda x: jnp.stack([x, x]), belief)
    assert repr(batch) == f"Posterior(weights (2, 200, {K}))" and batch._repr_html_() is None
    shape = jax.eval_shape(lambda: belief)
    assert repr(shape) == str(shape) == f"Posterior(weights (200, {K}))" and shape._repr_html_() is None


def test_sampling_and_resampling_keep_the_mean(proxy):
    belief = posterior.importance(proxy, prior=NORMAL, num_samples=5000, key=jax.random.key(3))
    sd = np.sqrt(np.diag(belief.covariance()))
    drawn = belief.sample(20_000, key=jax.random.key(4))
    assert drawn.shape == (20_000, K)
    assert (np.abs(drawn.mean(axis=0) - belief.mean()) < 4 * sd / np.sqrt(20_000)).all()
    again = belief.resample(2000, key=jax.random.key(5))
    np.testing.assert_allclose(again.log_weights, -np.log(2000), rtol=1e-6)
    assert (np.abs(again.mean() - belief.mean()) < 4 * sd / np.sqrt(2000)).all()
    assert float(again.effective_sample_size) < 2000
    assert float(again.effective_sample_size) < float(belief.effective_sample_size)
    np.testing.assert_array_equal(again.prior_mean, belief.prior_mean)
    np.testing.assert_array_equal(belief.sample(5, key=jax.random.key(4)), belief.sample(5, key=jax.random.key(4)))


def test_systematic_resampling_repeats_each_sample_as_often_as_it_should():
    p = np.array([0.5, 0.3, 0.15, 0.05, 0.0])
    with np.errstate(divide="ignore"):
        belief = posterior.exact(candidates=np.arange(5.0)[:, None], log_prior=np.log(p))
    for seed in range(5):
        drawn = belief.resample(30, key=jax.random.key(seed)).weights[:, 0]
        count = np.bincount(np.asarray(drawn, int), minlength=5)
        assert (np.abs(count - 30 * p) < 1).all()


def test_resampling_carries_parameters_along():
    belief = posterior.exact(candidates=np.arange(6.0).reshape(3, 2))
    belief = dataclasses.replace(belief, parameters={"beta": jnp.arange(3.0)})
    drawn = belief.resample(9, key=jax.random.key(0))
    np.testing.assert_array_equal(drawn.parameters["beta"] * 2, drawn.weights[:, 0])


def test_tail_effective_sample_size():
    belief = posterior.exact(candidates=np.arange(10.0)[:, None])
    returns = belief.weights[:, 0]
    np.testing.assert_allclose(belief.tail_effective_sample_size(returns, 1.0), 10, rtol=1e-5)
    np.testing.assert_allclose(belief.tail_effective_sample_size(returns, 0.3), 3, rtol=1e-5)
    # the tail 0.15 is sample 0 and half of sample 1: (1.5)² / (1 + .25)
    np.testing.assert_allclose(belief.tail_effective_sample_size(returns[::-1], 0.15), 2.25 / 1.25, rtol=1e-5)
    uneven = posterior.exact(candidates=np.arange(3.0)[:, None], log_prior=np.log([0.1, 0.1, 0.8]))
    np.testing.assert_allclose(uneven.tail_effective_sample_size(jnp.arange(3.0), 0.2), 2, rtol=1e-5)
    np.testing.assert_allclose(uneven.tail_effective_sample_size(-jnp.arange(3.0), 0.2), 1, rtol=1e-5)


def test_batched_over_maps_in_one_jit():
    problems = [random_problem(seed) for seed in (8, 9, 10)]
    alternatives = jnp.asarray(problems[0][3], jnp.float32)
    traces = []

    @jax.jit
    def infer(stacked, beta, key):
        traces.append(1)

        def one(mdp, key):
            evidence = ProxyReward(alternatives[0], mdp, beta=beta, alternatives=alternatives)
            belief = posterior.importance(evidence, prior=NORMAL, num_samples=500, key=key)
            return belief, belief.resample(20, key=key), belief.tail_effective_sample_size(belief.weights[:, 0], 0.1)

        return jax.vmap(one)(stacked, jax.random.split(key, 3))

    stacked = mdps.stack([p[4] for p in problems])
    beliefs, draws, tail = infer(stacked, 2.0, jax.random.key(0))
    infer(stacked, 4.0, jax.random.key(1))
    assert len(traces) == 1
    assert draws.weights.shape == (3, 20, K)
    for i, problem in enumerate(problems):
        key = jax.random.split(jax.random.key(0), 3)[i]
        evidence = ProxyReward(alternatives[0], problem[4], beta=2.0, alternatives=alternatives)
        alone = posterior.importance(evidence, prior=NORMAL, num_samples=500, key=key)
        mine = jax.tree.map(lambda x, i=i: x[i], beliefs)
        np.testing.assert_allclose(mine.log_weights, alone.log_weights, atol=2e-5)
        np.testing.assert_allclose(mine.pareto_k, alone.pareto_k, atol=1e-3)
        np.testing.assert_allclose(mine.effective_sample_size, alone.effective_sample_size, rtol=1e-4)
        np.testing.assert_allclose(tail[i], alone.tail_effective_sample_size(alone.weights[:, 0], 0.1), rtol=1e-4)
        assert str(mine.summary())
    with pytest.raises(ValueError, match="batch of posteriors"):
        beliefs.summary()


def test_exact_runs_under_jit():
    belief = jax.jit(lambda c, p: posterior.exact(candidates=c, log_prior=p))(jnp.eye(2), jnp.zeros(2))
    np.testing.assert_allclose(belief.mean(), [0.5, 0.5])


def test_the_summary_holds_the_moments_and_quantiles():
    weights = np.random.default_rng(0).normal(size=(4000, 2)) * [1.0, 3.0]
    table = posterior.exact(candidates=weights).summary()
    np.testing.assert_allclose(table.mean, weights.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(table.sd, weights.std(axis=0), rtol=1e-5)
    np.testing.assert_allclose(table.quantiles, np.quantile(weights, [0.05, 0.5, 0.95], axis=0), atol=0.02)
    np.testing.assert_allclose(table.contraction, 0, atol=1e-5)
    assert table.names == ("weight 0", "weight 1")
    lines = str(table).splitlines()
    assert lines[0].split() == ["weight", "mean", "sd", "5%", "50%", "95%", "contraction"]
    assert len({len(line) for line in lines[:3]}) == 1


def test_plot_draws_one_picture_per_weight(proxy):
    import matplotlib.pyplot as plt

    belief = posterior.importance(proxy, prior=NORMAL, num_samples=500, key=jax.random.key(6))
    figure = belief.plot()
    assert [ax.get_title() for ax in figure.axes] == ["dirt", "grass", "goal"]
    with pytest.raises(ValueError, match="one per weight, 3"):
        belief.plot(axes=figure.axes[:2])
    plt.close(figure)


def test_plot_has_as_many_bars_as_the_samples_are_worth_and_draws_a_known_prior_as_its_density():
    import matplotlib.pyplot as plt

    prior = dist.Uniform(-1, jnp.asarray([1.0, 3.0])).to_event(1)
    belief = posterior.importance(prior=prior, num_samples=1000, key=jax.random.key(6))
    few = dataclasses.replace(belief, effective_sample_size=jnp.asarray(216.0))
    for each, bars in ((belief, 20), (few, 12)):
        figure = each.plot(prior=prior)
        steps = [patch for patch in figure.axes[0].patches if patch.get_label() == "posterior"]
        assert len(steps[0].get_xy()) == 2 * bars + 2
        for axis, height in zip(figure.axes, (0.5, 0.25), strict=True):
            [area] = axis.collections
            assert area.get_paths()[0].vertices[:, 1].max() == pytest.approx(height)
        plt.close(figure)
    drawn = belief.plot()  # without it, as the draws that the posterior keeps
    assert not drawn.axes[0].collections and len(drawn.axes[0].patches) == 21
    plt.close(drawn)


def test_arviz_gets_chains_parameters_and_prior(proxy):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("arviz")
        belief = posterior.importance(proxy, prior=NORMAL, num_samples=3000, key=jax.random.key(7))
        data = belief.to_arviz()
        weights = data["posterior"]["weights"]
        assert weights.shape == (1, 3000, K)
        assert list(weights.coords["feature"].values) == ["dirt", "grass", "goal"]
        np.testing.assert_allclose(weights.values[0].mean(axis=0), belief.mean(), atol=0.05)
        assert data["prior"]["weights"].shape[-1] == K


def chains(dtype=jnp.float32):
    """A posterior of two chains with an unknown β and notes at each draw, as a sampler returns it."""
    rng = np.random.default_rng(0)
    draws = {
        name: jnp.asarray(rng.normal(size=shape), dtype) for name, shape in {"w": (60, 2), "local": (60, 3)}.items()
    }
    belief = posterior.exact(candidates=draws["w"])
    beta, before = (jnp.exp(jnp.asarray(rng.normal(size=n), dtype)) for n in (60, 60))
    return dataclasses.replace(
        belief,
        parameters={"beta": beta, "local": draws["local"]},
        prior_parameters={"beta": before, "local": draws["local"] + 1},
        diagnostics={"r_hat": jnp.asarray([1.0, 1.2], dtype), "divergences": jnp.asarray(3)},
        sample_stats={"diverging": jnp.arange(60) % 20 == 7, "lp": jnp.asarray(rng.normal(size=60), dtype)},
        feature_names=("dirt", "grass"),
        num_chains=2,
    )


def test_to_arviz_carries_chains_parameters_and_notes():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("arviz")
        belief = chains()
        data = belief.to_arviz()
        drawn = data["posterior"]
        assert drawn["weights"].shape == (2, 30, 2)
        assert drawn["beta"].shape == (2, 30) and drawn["local"].shape == (2, 30, 3)
        np.testing.assert_array_equal(drawn["weights"].values[1, 0], belief.weights[30])
        np.testing.assert_array_equal(drawn["beta"].values[1], belief.parameters["beta"][30:])
        assert int(data["sample_stats"]["diverging"].sum()) == 3
        np.testing.assert_array_equal(data["sample_stats"]["lp"].values.ravel(), belief.sample_stats["lp"])
        np.testing.assert_array_equal(data["prior"]["beta"].values[0], belief.prior_parameters["beta"])
        fewer = belief.to_arviz(num_samples=40)
        assert fewer["posterior"]["weights"].shape == (1, 40, 2)
        assert fewer["posterior"]["beta"].shape == (1, 40)
        batch = jax.tree.map(lambda x: jnp.stack([x, x]), belief)
        with pytest.raises(ValueError, match="batch of posteriors"):
            batch.to_arviz()


def test_save_and_load_keep_every_bit(tmp_path, dtype, proxy):
    importance = posterior.importance(proxy, prior=NORMAL, num_samples=300, key=jax.random.key(0))
    batch = jax.tree.map(lambda x: jnp.stack([x, x]), importance)
    for i, belief in enumerate([chains(dtype), importance, batch, posterior.exact(candidates=np.eye(2))]):
        file = tmp_path / f"belief {i}"  # kept as it is, without an ending
        belief.save(file)
        again = posterior.Posterior.load(str(file))
        assert jax.tree.structure(again) == jax.tree.structure(belief)
        assert (again.feature_names, again.num_chains) == (belief.feature_names, belief.num_chains)
        for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(belief), strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape and np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_loading_what_is_no_posterior_says_so(tmp_path):
    file = tmp_path / "x.npz"
    with pytest.raises(FileNotFoundError):
        posterior.Posterior.load(file)
    for content in (b"", b"no archive", b"PK\x03\x04 cut off"):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"x\.npz is not a posterior: it is no \.npz file, or a damaged one"):
            posterior.Posterior.load(file)
    np.save(tmp_path / "y.npy", np.eye(2))
    with pytest.raises(ValueError, match="is not a posterior"):
        posterior.Posterior.load(tmp_path / "y.npy")
    np.savez(file, weights=np.eye(2))
    with pytest.raises(ValueError, match=r"is an \.npz file, but not one that Posterior\.save"):
        posterior.Posterior.load(file)
    belief = posterior.exact(candidates=np.eye(2))
    belief.save(file)
    with np.load(file) as stored:
        kept = {name: stored[name] for name in stored.files if name != "log_weights"}
    np.savez(file, **kept)
    with pytest.raises(ValueError, match="lacks the field 'log_weights'"):
        posterior.Posterior.load(file)
    with jax.enable_x64(True):
        posterior.exact(candidates=np.eye(2)).save(file)
    with pytest.raises(ValueError, match="holds float64, which JAX would round; load it after"):
        posterior.Posterior.load(file)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("log_weights", np.full(10, -np.log(10), np.float32)),  # for 50 samples
        ("weights", np.zeros((50, 2, 1), np.float32)),
        ("prior_mean", np.zeros(3, np.float32)),
        ("prior_sample", np.zeros((7, 3), np.float32)),
        ("feature_covariance", np.eye(3, dtype=np.float32)),
        ("parameters/beta", np.zeros(49, np.float32)),
        ("sample_stats/lp", np.zeros(51, np.float32)),
        ("feature_names", np.array(["only one"])),
        ("num_chains", np.array(3)),
    ],
)
def test_a_file_whose_arrays_do_not_belong_together_is_refused(tmp_path, name, wrong):
    with np.load(DATA / "posterior_1faf575.npz") as stored:
        kept = {x: stored[x] for x in stored.files}
    np.savez(tmp_path / "x.npz", **(kept | {name: wrong}))
    with pytest.raises(ValueError, match=r"x\.npz is damaged: .*; save the posterior again\."):
        posterior.Posterior.load(tmp_path / "x.npz")


def test_a_file_of_another_format_says_which(tmp_path):
    with np.load(DATA / "posterior_1faf575.npz") as stored:
        kept = {x: stored[x] for x in stored.files}
    np.savez(tmp_path / "x.npz", **(kept | {"format": "inverse-reward-design posterior 2"}))
    with pytest.raises(ValueError, match=r"is a posterior in format 2, and this version reads format 1"):
        posterior.Posterior.load(tmp_path / "x.npz")


def test_a_file_of_before_is_still_read():
    """Two chains of 25 with an unknown β, written at commit 1faf575, whose numbers stand here."""
    belief = posterior.Posterior.load(DATA / "posterior_1faf575.npz")
    assert (belief.feature_names, belief.num_chains, belief.weights.shape) == (("dirt", "goal"), 2, (50, 2))
    np.testing.assert_allclose(belief.mean(), [-0.42639685, 0.15801027], rtol=1e-5)
    np.testing.assert_allclose(belief.effective_sample_size, 49.487892, rtol=1e-6)
    assert set(belief.parameters) == {"beta"} and "r_hat beta" in belief.diagnostics


def test_parameters_stand_below_the_weights_in_the_table():
    belief = chains()
    diagnostics = belief.diagnostics | {"ess_bulk": jnp.asarray([500.0, 500.0]), "ess_tail": jnp.asarray([500.0, 90.0])}
    for name, shape in {"beta": (), "local": (3,)}.items():
        for what, value in {"r_hat": 1.0, "ess_bulk": 300.0, "ess_tail": 300.0}.items():
            diagnostics[f"{what} {name}"] = jnp.full(shape, value)
    table = dataclasses.replace(belief, diagnostics=diagnostics).summary()
    assert table.names == ("dirt", "grass", "beta", "local[0]", "local[1]", "local[2]")
    np.testing.assert_allclose(table.mean[2], belief.parameters["beta"].mean(), rtol=1e-5)
    before = np.asarray(belief.prior_parameters["beta"])
    np.testing.assert_allclose(table.contraction[2], 1 - belief.parameters["beta"].var() / before.var(), rtol=1e-4)
    np.testing.assert_allclose(table.r_hat, [1, 1.2, 1, 1, 1, 1], rtol=1e-6)
    assert str(table).splitlines()[0].split()[-5:] == ["R-hat", "bulk", "ESS", "tail", "ESS"]
    assert len({len(line) for line in str(table).splitlines()[:7]}) == 1
    assert table.warnings == (
        "the chains have not converged: R-hat of grass is 1.200, not below 1.01; run them longer.",
        "the chains are worth only 90 independent draws in the tails of grass, fewer than 200 (100 per chain): "
        "run them longer.",
        "3 transitions diverged; raise target_accept or num_warmup, or use a smoother prior.",
    )


def test_plot_pairs_draws_every_pair_once():
    import matplotlib.pyplot as plt

    belief = chains()
    figure = belief.plot_pairs()
    drawn = [ax for ax in figure.axes if ax.axison]
    assert len(drawn) == 6 * 7 / 2
    bottom = [ax.get_xlabel() for ax in figure.axes[-6:]]
    assert bottom == ["dirt", "grass", "log₁₀ beta", "local[0]", "local[1]", "local[2]"]
    few = belief.plot_pairs(("beta", "dirt"))
    assert [ax.get_xlabel() for ax in few.axes if ax.axison] == ["", "log₁₀ beta", "dirt"]
    x, y = few.axes[2].lines[0].get_data()  # the prior's draws
    assert len(x) == len(y) == 60
    assert len(belief.plot().axes) == 8 and sum(ax.axison for ax in belief.plot().axes) == 6
    with pytest.raises(ValueError, match="no weight or parameter 'lava'; there are"):
        belief.plot_pairs(("dirt", "lava"))
    with pytest.raises(ValueError, match="a pair needs two"):
        belief.plot_pairs(("dirt",))
    with pytest.raises(ValueError, match="one per weight, 2, and one per parameter, 4"):
        belief.plot(axes=few.axes[:2])
    plt.close("all")


@pytest.mark.parametrize(
    ("package", "method"), [("arviz", "to_arviz"), ("matplotlib.pyplot", "plot"), ("matplotlib.pyplot", "plot_pairs")]
)
def test_a_missing_package_is_one_clear_sentence(proxy, package, method, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    belief = posterior.exact(candidates=np.eye(2))
    with pytest.raises(ImportError, match=r"pip install 'inverse-reward-design\["):
        getattr(belief, method)()


def test_bad_candidates_and_priors_are_refused_by_name(proxy):
    good = np.zeros((5, K))
    for change, message in [
        ({"candidates": np.zeros((5, 2))}, r"must be \[N, K\].*K=3 features \('dirt', 'grass', 'goal'\)"),
        ({"candidates": np.zeros((0, K))}, "N ≥ 1"),
        ({"candidates": np.full((5, K), np.nan)}, "5 rows that are not finite, the first is row 0"),
        ({"candidates": good, "log_prior": np.zeros(4)}, r"one number per candidate, \[5\]"),
        ({"candidates": good, "log_prior": np.full(5, -np.inf)}, "zero total prior"),
        ({"candidates": good, "log_prior": np.full(5, np.nan)}, "log_prior is nan at index 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            posterior.exact(proxy, **change)
    for prior, message in [
        ("normal", "prior is 'normal'; give a numpyro distribution"),
        (dist.Normal(0, 1), r"\.expand\(\[K\]\)\.to_event\(1\)"),
        (dist.Normal(0, 1).expand([4]).to_event(1), "4 weights, but the evidence has 3"),
        (dist.Normal(0, 1).expand([2, K]).to_event(1), "batch shape"),
    ]:
        with pytest.raises(ValueError, match=message):
            posterior.importance(proxy, prior=prior, num_samples=10, key=jax.random.key(0))
    with pytest.raises(ValueError, match="num_samples is 0"):
        posterior.importance(proxy, prior=NORMAL, num_samples=0, key=jax.random.key(0))
    with pytest.raises(ValueError, match="no log_likelihood"):
        posterior.exact(np.zeros(3), candidates=good)
    _, _, _, alternatives, mdp = random_problem(0, names=("dirt", "lava", "goal"))
    other = ProxyReward(alternatives[0], mdp, alternatives=alternatives)
    with pytest.raises(ValueError, match="one set of features in one order"):
        posterior.exact(proxy, other, candidates=good)
    belief = posterior.exact(candidates=good)
    with pytest.raises(ValueError, match="whole number"):
        belief.resample(0, key=jax.random.key(0))
    with pytest.raises(ValueError, match="one per sample"):
        belief.tail_effective_sample_size(jnp.zeros(4), 0.5)
    with pytest.raises(ValueError, match=r"alpha is 0.0; it must lie in \(0, 1\]"):
        belief.tail_effective_sample_size(jnp.zeros(5), 0.0)


def test_an_independent_batch_is_a_prior_too(proxy):
    batch = dist.Normal(jnp.zeros(K), 1.0)
    a = posterior.importance(proxy, prior=batch, num_samples=50, key=jax.random.key(0))
    b = posterior.importance(proxy, prior=batch.to_event(1), num_samples=50, key=jax.random.key(0))
    np.testing.assert_array_equal(a.log_weights, b.log_weights)


def test_posterior_remains_a_module():
    assert isinstance(ird.posterior, types.ModuleType)
