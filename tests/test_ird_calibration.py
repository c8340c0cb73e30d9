"""Ranks, their band and p-values against enumeration; then every sampler's calibration over simulated designers."""

import itertools
import json

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest
import scipy.stats

from examples.studies.calibration import __main__ as study
from examples.studies.calibration import misspecified as wrong
from ird import calibration
from ird.evidence import Choice

KEY = jax.random.key(0)
# Right samplers fail here once in a thousand files: 4 methods and 3 weights of the prior, 19 comparisons together.
LIMIT = 0.001 / 19


def test_ranks_count_the_draws_below_and_break_ties_evenly():
    rng = np.random.default_rng(0)
    truth, draws = rng.normal(size=(2, 3)), rng.normal(size=(40, 2, 3))
    np.testing.assert_array_equal(calibration.ranks(truth, draws, key=KEY), (draws < truth).sum(axis=0))
    # two draws below, three equal: 2, 3, 4 or 5, equally often
    tied = jnp.asarray([0.0, 0.0, 1.0, 1.0, 1.0, 2.0])
    keys = jax.random.split(KEY, 4000)
    found = np.asarray(jax.jit(jax.vmap(lambda key: calibration.ranks(jnp.asarray(1.0), tied, key=key)))(keys))
    counts = np.bincount(found, minlength=7)
    assert counts[[0, 1, 6]].sum() == 0
    assert scipy.stats.chisquare(counts[2:6]).pvalue > 1e-3


def test_reward_ranks_are_of_each_weight_and_of_the_log_likelihood():
    rng = np.random.default_rng(1)
    seen = [Choice(rng.normal(size=(4, 3)), i, beta=2.0, feature_names=("a", "b", "c")) for i in (0, 2)]
    meant, draws = rng.normal(size=3), rng.normal(size=(50, 3))
    found = jax.jit(lambda meant, draws: calibration.reward_ranks(meant, draws, *seen, key=KEY))(meant, draws)
    likely = [sum(np.asarray(e.log_likelihood(w), float) for e in seen) for w in (meant[None], draws)]
    np.testing.assert_array_equal(found[:3], (draws < meant).sum(axis=0))
    assert int(found[3]) == (likely[1] < likely[0]).sum()
    # a draw that equals the truth is a tie in every quantity
    same = jnp.tile(jnp.asarray(meant, jnp.float32)[None], (99, 1))
    keys = jax.random.split(KEY, 300)
    tie = jax.jit(jax.vmap(lambda key: calibration.reward_ranks(same[0], same, *seen, key=key)))
    ties = np.asarray(tie(keys))
    for column in ties.T:
        assert calibration.p_value(column, 99) > LIMIT


@pytest.mark.parametrize(("n", "L"), [(1, 4), (4, 3), (6, 2)])
def test_band_and_p_value_are_exact_by_enumeration(n, L):
    """All (L + 1)ⁿ ways in which ranks may fall, each as likely."""
    every = np.array(list(itertools.product(range(L + 1), repeat=n)))
    for level in (0.5, 0.8, 0.95):
        band = calibration.band(n, L, level=level)
        share = np.mean([band.contains(ranks) for ranks in every])
        assert share == pytest.approx(band.level, abs=1e-9) and share >= level - 1e-9
    p = np.array([calibration.p_value(ranks, L) for ranks in every])
    for value in np.unique(np.round(p, 9)):
        # the values are attained with exactly that probability (0 where the band can get no narrower)
        assert np.mean(p <= value + 1e-8) == pytest.approx(max(value, p.min()), abs=1e-6)


def test_band_holds_for_as_many_uniform_ranks_as_it_says_and_the_p_value_agrees():
    rng = np.random.default_rng(2)
    band, runs = calibration.band(200, 99), rng.integers(0, 100, (2000, 200))
    inside = np.array([band.contains(ranks) for ranks in runs])
    assert abs(inside.mean() - 0.95) < 4 * (0.95 * 0.05 / len(runs)) ** 0.5
    assert 0.95 <= band.level < 0.952
    p = np.array([calibration.p_value(ranks, 99) for ranks in runs[:200]])
    assert scipy.stats.kstest(p, scipy.stats.uniform.cdf).pvalue > 1e-3
    np.testing.assert_array_equal(p > 1 - band.level + 1e-9, inside[:200])


def test_ranks_of_a_posterior_that_is_too_narrow_too_wide_or_shifted_are_found():
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(500, 1))
    for scale, shift in ((0.7, 0.0), (1.4, 0.0), (1.0, 0.3)):
        draws = shift + scale * rng.normal(size=(500, 99))
        assert calibration.p_value((draws < truth).sum(axis=1), 99) < 1e-4
    assert calibration.p_value((rng.normal(size=(500, 99)) < truth).sum(axis=1), 99) > LIMIT


SHOWN = [name for name in study.METHODS if name != study.RAW]  # that one fails in tests/test_ird_posterior_samplers.py


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The study at its small size: what it returns, the folder, and how often each sampler was traced."""
    out, traces, judge = tmp_path_factory.mktemp("calibration"), [], study.judge

    def counted(designer, name, settings):
        one = judge(designer, name, settings)

        def traced(key):
            traces.append(name)
            return one(key)

        return traced

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "judge", counted)
        record = study.main(["--small", "--out", str(out), "--methods", *SHOWN])
    return record, out, traces


def test_every_sampler_is_calibrated_and_the_prior_is_found_out_by_the_log_likelihood_alone(small):
    record, _, traces = small
    assert traces == SHOWN  # batches of posteriors, compiled once each
    assert record["settings"]["designers"] > record["settings"]["block"]
    p = {(row["method"], row["quantity"]): row["p-value"] for row in record["results"]}
    assert len(p) == 4 * len(SHOWN)
    for (method, quantity), value in p.items():
        if (method, quantity) == (study.PRIOR, study.LIKELY):
            assert value < 1e-12  # a method that ignores the evidence passes for every weight, and fails here
        else:
            assert value > LIMIT, (method, quantity)
    for row in record["results"]:
        assert sum(row["counts"]) == record["settings"]["designers"]
        # draws that are ranked are nearly independent: thinned enough
        assert row["worth"] > (0.7 if row["method"] == study.NUTS else 0.2)


def test_a_wrong_model_shows_in_the_record(small):
    record = small[0]
    rows = {(row["kind"], row["variant"], row["value"]): row for row in record["wrong models"]}
    assert len(rows) == len(record["wrong models"]) == 10
    right = rows[(wrong.BETA, "", 1.0)]
    for (kind, variant, value), row in rows.items():
        assert row["regret"] > -1e-4 and row["mean_regret"] > -1e-4 and row["literal_regret"] > -1e-4
        assert all(0 <= row[name] <= 1 + 1e-6 for name in ("lava", "mean_lava", "literal_lava"))
        if wrong.is_right(kind, value):
            assert row | {"kind": "", "variant": "", "value": 0} == right | {"kind": "", "variant": "", "value": 0}
        elif variant != wrong.SOFT_DESIGNER:  # the same designers wrote the same proxies
            assert (row["literal_regret"] == right["literal_regret"] and row["worth"] != right["worth"]) or (
                variant == wrong.BAD_LAVA and row["coverage, seen"] == right["coverage, seen"]
            )
    narrow = rows[(wrong.TRUTH, wrong.EVERY_WEIGHT, 0.2)]
    assert narrow["coverage, seen"] < right["coverage, seen"]


def test_the_study_writes_tables_and_pictures(small):
    record, out, _ = small
    assert json.loads((out / "calibration.json").read_text(encoding="utf-8")) == record
    assert {"settings", "seed", "versions", "results", "wrong models", "seconds"} <= set(record)
    page = (out / "calibration.md").read_text(encoding="utf-8")
    for name in ("", "_ecdf", "_wrong", "_beta", "_planner", "_truth"):
        pixels = matplotlib.image.imread(out / f"calibration{name}.png")
        assert min(pixels.shape[:2]) > 400 and len(np.unique(pixels.reshape(-1, pixels.shape[-1])[::7], axis=0)) > 20
    for name in SHOWN:
        assert f"| {name}" in page


def test_bad_ranks_are_refused_by_name():
    for made, message in [
        (lambda: calibration.ranks(jnp.zeros(2), jnp.zeros((5, 3)), key=KEY), "draws has shape"),
        (lambda: calibration.ranks(jnp.zeros(2), jnp.zeros((0, 2)), key=KEY), "draws has shape"),
        (lambda: calibration.ranks(jnp.zeros(2), jnp.zeros((5, 2)), key=7), "give one random key"),
        (lambda: calibration.reward_ranks(jnp.zeros(2), jnp.zeros((5, 3)), key=KEY), "of the same weights"),
        (lambda: calibration.ecdf(np.array([]), 9), "give one whole number each"),
        (lambda: calibration.ecdf(np.array([0.5]), 9), "give one whole number each"),
        (lambda: calibration.p_value(np.array([0, 10]), 9), r"ranks lie in 0..10; among 9 draws"),
        (lambda: calibration.band(0, 9), "num_ranks is 0"),
        (lambda: calibration.band(10, 0), "num_draws is 0"),
        (lambda: calibration.band(10, 9, level=1.0), "level is 1.0; it must lie strictly between"),
    ]:
        with pytest.raises(ValueError, match=message):
            made()
