"""Chain diagnostics against a slow twin, against arviz, and on chains whose trouble is known."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import oracles_chains
import pytest

from ird import diagnostics


def walk(rng, C, T, memory):
    x = rng.normal(size=(C, T))
    for t in range(1, T):
        x[:, t] += memory * x[:, t - 1]
    return x


rng = np.random.default_rng(0)
CHAINS = {
    "independent": rng.normal(size=(4, 400)),
    "slow": walk(rng, 4, 400, 0.9),
    "alternating": walk(rng, 4, 400, -0.5),
    "stuck for long": walk(rng, 4, 400, 0.999),
    "heavy tails": rng.standard_cauchy(size=(4, 400)),
    "apart": rng.normal(size=(4, 400)) + np.arange(4)[:, None],
    "of unequal spread": rng.normal(size=(4, 400)) * np.array([[1.0], [1.0], [1.0], [4.0]]),
    "ties": rng.integers(0, 4, size=(4, 400)).astype(float),
    "short and odd": rng.normal(size=(2, 9)),
    "far from zero": 1e3 + walk(rng, 4, 400, 0.5),
}


@pytest.mark.parametrize("name", CHAINS)
def test_diagnostics_are_those_of_the_slow_twin(name, dtype):
    x = CHAINS[name]
    expected = [f(x) for f in (oracles_chains.r_hat, oracles_chains.ess_bulk, oracles_chains.ess_tail)]
    found = diagnostics.chain_diagnostics(jnp.asarray(x, dtype))
    np.testing.assert_allclose(found[1:], expected[1:], rtol=1e-9 if dtype == jnp.float64 else 2e-4)
    # In float32 the two draws beside the median may tie, at the lowest rank of the folded draws.
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-9 if dtype == jnp.float64 else 2e-3)
    plain = diagnostics.ess_mean(jnp.asarray(x, dtype))
    twin = oracles_chains.effective_size(oracles_chains.halves(x))
    np.testing.assert_allclose(plain, twin, rtol=1e-6 if dtype == jnp.float64 else 2e-4)
    assert found[0].dtype == dtype


def test_diagnostics_are_those_of_arviz(x64):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        az = pytest.importorskip("arviz")
    if not az.__version__.startswith("0."):
        pytest.skip("arviz 1.x takes no bare arrays")
    for x in CHAINS.values():
        expected = [az.rhat(x, method="rank"), az.ess(x, method="bulk"), az.ess(x, method="tail")]
        np.testing.assert_allclose(diagnostics.chain_diagnostics(jnp.asarray(x)), expected, rtol=1e-9)
        np.testing.assert_allclose(diagnostics.ess_mean(jnp.asarray(x)), az.ess(x, method="mean"), rtol=1e-6)


def test_every_number_is_diagnosed_by_itself():
    both = jnp.asarray(np.stack([CHAINS["independent"], CHAINS["slow"]], axis=2), jnp.float32)
    together = diagnostics.chain_diagnostics(both[..., None])
    for k, name in enumerate(("independent", "slow")):
        alone = jnp.asarray(CHAINS[name], jnp.float32)
        each = diagnostics.r_hat(alone), diagnostics.ess_bulk(alone), diagnostics.ess_tail(alone)
        np.testing.assert_allclose([x[k, 0] for x in together], each, rtol=1e-6)
    assert together[0].shape == (2, 1)


def test_known_troubles_of_chains_show_in_the_numbers():
    value = {
        name: [float(x) for x in diagnostics.chain_diagnostics(jnp.asarray(x, jnp.float32))]
        for name, x in CHAINS.items()
    }
    assert value["independent"][0] < 1.01
    assert value["apart"][0] > 1.4
    assert value["of unequal spread"][0] > 1.1  # which only the folded draws show
    # an autoregression of memory ρ is worth (1 - ρ) / (1 + ρ) of its draws
    assert value["slow"][1] == pytest.approx(1600 * 0.1 / 1.9, rel=0.4)
    assert value["alternating"][1] > 1600


def test_too_few_draws_or_none_that_differ_are_not_judged():
    assert np.isnan(diagnostics.r_hat(jnp.zeros((2, 7))))
    assert np.isnan(diagnostics.ess_bulk(jnp.zeros((2, 7))))
    assert np.isnan(diagnostics.ess_tail(jnp.zeros((2, 7))))
    assert np.isnan(diagnostics.ess_mean(jnp.zeros((2, 7))))
    assert np.isnan(diagnostics.r_hat(jnp.ones((2, 50))))
    assert float(diagnostics.ess_bulk(jnp.ones((2, 50)))) == 100


def test_diagnostics_run_under_jit_and_vmap():
    x = jnp.asarray(CHAINS["slow"], jnp.float32)
    batched = jax.jit(jax.vmap(diagnostics.chain_diagnostics))(jnp.stack([x, 2 * x]))
    np.testing.assert_allclose(batched[1][0], diagnostics.ess_bulk(x), rtol=1e-5)
    np.testing.assert_allclose(batched[1][0], batched[1][1], rtol=1e-5)  # ranks know no scale
