"""The paper's study: what designer and robot are given in each condition, and a small run of it all."""

import csv
import json

import jax
import matplotlib.image
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from examples import _settings
from examples.studies.ird_paper import __main__ as ird_paper
from examples.studies.ird_paper import report, worlds
from examples.studies.ird_paper.planners import Outcome
from examples.studies.ird_paper.worlds import CONDITIONS, HACKING, INDICATORS, RAW
from mdps.worlds.lavaland import NAMES

pytestmark = pytest.mark.usefixtures("unannotated_throughout")  # as users run them
MAPS, LAVA = 4, NAMES.index("lava")


@pytest.fixture(scope="module")
def given():
    """Settings, pairs of maps, and what each condition makes of them, by name."""
    latent = {"separation": 3.0}
    settings = _settings.load(ird_paper.SETTINGS, ird_paper.RULES, ird_paper.SMALL, {"latent": latent})
    keys, options = jax.random.split(jax.random.key(3), MAPS), tuple(ird_paper.QUICK.items())
    pairs = worlds.draw_pairs(worlds.generator(settings), keys, options)
    made = {c.name: worlds.sense(settings, c, pairs, jax.random.key(4)) for c in CONDITIONS}
    return settings, pairs, made


def terrain_of(part):
    return np.asarray(part[0]).reshape(MAPS, -1)


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda c: c.name)
def test_the_proxy_says_what_the_designer_means_where_the_designer_looked(given, condition):
    settings, pairs, made = given
    sensed, scale = made[condition.name]
    np.testing.assert_array_equal(sensed.alternatives[:, 0], sensed.proxy)
    assert sensed.alternatives.shape[1] == settings["designer"]["alternatives"] + 1
    assert scale.shape[1:] == sensed.proxy.shape[1:] * (1 + (condition.features == RAW))
    terrain, meant = terrain_of(pairs.train), worlds.meant(settings)
    said = np.einsum("nsk,nk->ns", sensed.train, sensed.proxy)
    # Exact with indicators; with noisy readings the regression's error is small beside what terrains differ by.
    allowed = 1e-6 if condition.features == INDICATORS else 0.25
    assert np.sqrt(np.mean((said - meant[terrain]) ** 2)) < allowed
    if condition.problem == HACKING:
        # Over lava a sensor reads "target"; of a new terrain the proxy would say nothing.
        test = terrain_of(pairs.test)
        over_lava = np.einsum("nsk,nk->ns", sensed.test, sensed.proxy)[test == LAVA].mean()
        target, grass = meant[NAMES.index("target")], meant[NAMES.index("grass")]
        if condition.latent:  # the regression trusts both sensors in part, and the other one reads "grass"
            assert grass < over_lava < target
        else:
            assert over_lava == pytest.approx(target, abs=1e-6)


def test_hacked_sensors_read_known_terrain_over_lava_one_each(given):
    settings, pairs, _ = given
    seen = worlds._observations(settings, worlds.Condition(HACKING, RAW), pairs, jax.random.key(5), 2.0)
    terrain, half = terrain_of(pairs.test), seen.test.shape[-1] // 2
    for n in range(MAPS):
        lava = seen.test[n][terrain[n] == LAVA].mean(axis=0)
        means = [seen.labelled[n][seen.labels == t].mean(axis=0) for t in range(3)]
        nearest = [
            int(np.argmin([np.linalg.norm(lava[part] - mean[part]) for mean in means]))
            for part in (slice(0, half), slice(half, None))
        ]
        assert nearest == [NAMES.index("target"), NAMES.index("grass")]


def test_raw_priors_are_those_of_bayesian_linear_regression(given):
    settings, pairs, made = given
    table = settings["prior"]
    condition = worlds.Condition(worlds.SIDE_EFFECTS, RAW)
    key, _ = jax.random.split(jax.random.key(4))
    seen = worlds._observations(settings, condition, pairs, key, settings["latent"]["separation"])
    sensed, scale = made[condition.name]
    x, L = seen.labelled[0].astype(float), len(seen.labels)
    # Observing u·x = 0 for every label, with noise of variance within² L, leaves u of this covariance.
    prior, noise = table["weight"] ** 2 * np.eye(x.shape[1]), table["within"] ** 2 * L * np.eye(L)
    gain = prior @ x.T @ np.linalg.inv(x @ prior @ x.T + noise)
    regression = np.linalg.lstsq(x, np.eye(3)[seen.labels], rcond=None)[0]
    expected = prior - gain @ x @ prior + table["terrain"] ** 2 * regression @ regression.T
    found = np.asarray(scale[0]) @ np.asarray(scale[0]).T
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(sensed.proxy[0], regression @ worlds.meant(settings), atol=1e-4)


def test_the_classifier_is_bayes_rule_for_normal_classes_of_one_covariance():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 30)
    x = (rng.normal(size=(1, 90, 2)) + np.array([[0, 0], [2, 0], [0, 2]])[labels]).astype(np.float32)
    means = [x[0, labels == t].astype(float).mean(axis=0) for t in range(3)]
    centred = x[0] - np.array(means)[labels]
    new = rng.normal(size=(1, 7, 2))
    density = np.stack([multivariate_normal(m, centred.T @ centred / 87).pdf(new[0]) for m in means], axis=-1)
    found = worlds._classifier(x, labels)(new)[0]
    np.testing.assert_allclose(found, density / density.sum(axis=1, keepdims=True), atol=1e-6)


def test_rows_are_means_paired_by_map(given):
    settings = given[0]
    T = settings["world"]["horizon"]

    def outcome(new, steps_on_grass):
        visits = np.zeros((2, 4))
        visits[:, 1], visits[:, 2] = steps_on_grass, T - np.asarray(steps_on_grass)
        return Outcome(np.asarray(new), np.ones(2), visits, np.zeros(2))

    found = {
        "literal": outcome([1.0, 0.5], [2, 2]),
        report.RECOMMENDED: outcome([0.0, 0.5], [4, 2]),
        "oracle, harmless": outcome([1.0, 1.0], [1, 1]),
        "worth of Sample-Z": np.array([10.0, 30.0]),
        "blind": np.array([0.5, np.nan]),
    }
    rows = {row["planner"]: row for row in report.rows(settings, "main", CONDITIONS[0], found)}
    careful = rows[report.RECOMMENDED]
    assert careful["new"] == 0.25 and careful["new_less_literal"] == -0.5 and careful["new_less_literal_se"] == 0.5
    assert careful["lost"] == pytest.approx((3 + 1) / 2 * 1.5)  # 1.5 is the step from grass to the target
    assert careful["worth"] == 20 and careful["blind"] == 0.5
    assert rows["literal"]["worth"] is None and rows["oracle, harmless"]["lost"] == 0


def test_a_small_run_of_all_parts(tmp_path):
    # Both conditions have six features, so they share their programs.
    words = ["--condition", "hacking, indicators", "--condition", "hacking, classifier"]
    made = ird_paper.main(["--small", *words, "--out", str(tmp_path)])
    assert json.loads((tmp_path / "ird_paper.json").read_text(encoding="utf-8")) == made
    assert made["command"].endswith('--condition "hacking, indicators" --condition "hacking, classifier" --small')
    for name in made["pictures"]:
        assert matplotlib.image.imread(tmp_path / name).shape[0] > 200
    with open(tmp_path / "ird_paper.csv", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(made["results"])
    page = (tmp_path / "ird_paper.md").read_text(encoding="utf-8")
    assert page.startswith(report.TITLE) and "By separation" in page and "harmless" in page
    main = [row for row in made["results"] if row["part"] == "main"]
    assert {row["part"] for row in made["results"]} == {"main", "separation", "harmless"}
    for name in {row["condition"] for row in main}:
        rows = {row["planner"]: row for row in main if row["condition"] == name}
        assert list(rows) == report.ROWS
        for planner, row in rows.items():
            assert 0 <= row["new"] <= 1 + 1e-5 and 0 <= row["goal"] <= 1 + 1e-5 and row["lost"] > -1e-3
            # What a coin would save where exposure is forced is no fault of a plan that tosses none.
            assert row["gap"] < (0.15 if "trajectory" in planner else 1 if planner == report.LEAST else 1e-2)
        assert rows["oracle, lava"]["new"] < 1e-5 and abs(rows["oracle, harmless"]["lost"]) < 1e-3
    exact = {row["planner"]: row for row in main if INDICATORS in row["condition"]}
    assert exact[report.RECOMMENDED]["new"] < exact["literal"]["new"] and exact[report.RECOMMENDED]["goal"] > 0.9


def test_refusals(tmp_path):
    for arguments, message in (
        (["--condition", "swamp"], "no condition's name holds 'swamp'; there are side effects, indicators"),
        (["--maps", "0"], "maps is 0; it must be a whole number ≥ 1"),
    ):
        with pytest.raises(SystemExit) as stop:
            ird_paper.main(["--small", *arguments, "--out", str(tmp_path)])
        assert message in str(stop.value)
    file = tmp_path / "own.toml"
    file.write_text("[latent]\nseparation = -1.0\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"latent\.separation is -1\.0; it must be a positive number"):
        ird_paper.main(["--settings", str(file), "--out", str(tmp_path)])


def test_help(capsys):
    with pytest.raises(SystemExit) as stop:
        ird_paper.main(["--help"])
    said = capsys.readouterr().out
    assert stop.value.code == 0 and "--condition" in said and "separation" in said
