"""The long studies at a small size: each runs, saves a page, a picture and its numbers, and redraws from these."""

import json

import matplotlib.image
import numpy as np
import pytest

from examples.studies import active_ird, correlated, goodhart, lavaland, normalizers, teaching
from mdps.graph import walk_from

pytestmark = pytest.mark.usefixtures("unannotated_throughout")  # as users run them


def saved(out, made, picture):
    assert json.loads(next(out.glob("*.json")).read_text(encoding="utf-8")) == made
    assert matplotlib.image.imread(out / picture).shape[0] > 200


def test_lavaland_recommends_one_planner_per_condition(tmp_path):
    table = lavaland.main(["--small", "--out", str(tmp_path)])
    assert sum(row["default"] for row in table) == 2
    assert all(0 <= row["lava"] <= 1 + 1e-6 for row in table)
    assert {"lavaland.md", "lavaland.json", "lavaland.png"} <= {file.name for file in tmp_path.iterdir()}


def test_teaching_helps_and_is_told(tmp_path):
    made = teaching.main(["--small", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "teaching.json").read_text()) == made
    assert matplotlib.image.imread(tmp_path / "teaching.png").shape[0] > 200
    assert "| 10 | squared distance of rewards |" in (tmp_path / "teaching.md").read_text()
    bars = made["results"]["bars"]
    assert [row["features"] for row in bars] == [3, 3, 3, 10, 10, 10]
    # Twenty worlds are too few to compare regrets; what the robot believes is nearer to the truth in all other bars.
    for row in bars:
        if row["measure"] != "regret":
            mean, error = row["difference"]
            assert mean > error > 0, row
    with pytest.raises(SystemExit):
        teaching.main(["--trials", "1", "--out", str(tmp_path)])


def test_every_normalizer_is_compared_with_exact_enumeration(tmp_path):
    made = normalizers.main(["--small", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "normalizers.json").read_text()) == made
    rows = {row["method"]: row for row in made["results"]}
    assert rows["exact"]["distance"] == 0
    prior = rows["no evidence: the prior"]["distance"]
    assert 0 < rows["Sample-Z, 10 proxies"]["distance"] < prior and 0 < rows["Max-Z"]["distance"] < prior
    assert "exchange, exact draws" in rows and "MaxEnt-Z, scale 1" in rows
    scales = [row["distance"] for row in made["scales"]]
    assert max(scales) - min(scales) > 0.1  # of MaxEnt-Z
    assert "| Max-Z |" in (tmp_path / "normalizers.md").read_text()
    assert matplotlib.image.imread(tmp_path / "normalizers.png").shape[0] > 200


def test_staying_near_a_reference_is_compared_with_staying_near_the_evidence(tmp_path):
    asked = ["--families", "--points", "3", "--samples", "100", "--out", str(tmp_path)]
    made = correlated.main(asked)
    row = made["maps"]["mini tomato"]
    assert row["rows"]["oracle"] == [0] and row["rows"]["literal"][0] > 1 > row["rows"]["correlated"][0]
    assert 0 < row["r"] < 0.5 and 0 < row["followed"] < 1
    written, true = np.array(made["tomato"]["KL of actions"]).T
    assert np.corrcoef(written, true)[0, 1] < 0  # what looks watered is not
    assert "| mini tomato |" in (tmp_path / "correlated.md").read_text()
    assert matplotlib.image.imread(tmp_path / "correlated.png").shape[0] > 200


def test_the_early_stop_keeps_every_meant_reward_from_falling(tmp_path):
    made = goodhart.main(["--small", "--mdps", "12", "--out", str(tmp_path)])
    saved(tmp_path, made, "goodhart.png")
    assert made["overall"]["fell"] == 0 and made["overall"]["below stopped"] == 0
    assert sum(row["MDPs"] for row in made["bins"]) == 12
    page = (tmp_path / "goodhart.md").read_text(encoding="utf-8")
    assert "| 120°-180° |" in page and "--mdps 12 --small" in page
    again = goodhart.main(["--redraw", "--out", str(tmp_path)])
    assert again == made and (tmp_path / "goodhart.md").read_text(encoding="utf-8") == page
    with pytest.raises(SystemExit):
        goodhart.main(["--mdps", "1", "--out", str(tmp_path)])


def test_active_ird_runs_and_keeps_the_other_worlds(tmp_path):
    other = {"world": "elsewhere", "size": 3, "search": "random", "best": 1.0, "regret": [1.0, 1.0, 1.0]}
    other |= {f"{k}{e}": [0.0] * 3 for k in ("entropy", "none_minus_this", "random_minus_this") for e in ("", "_se")}
    other["regret_se"] = [0.0] * 3
    (tmp_path / "active_ird.json").write_text(json.dumps({"results": [other]}), encoding="utf-8")
    made = active_ird.main(["--small", "--world", "bandit", "--out", str(tmp_path)])
    saved(tmp_path, made, "active_ird.png")
    assert "## Bandit, 100 arms" in (tmp_path / "active_ird.md").read_text(encoding="utf-8")
    assert made["results"][0] == other
    rows = made["results"][1:]
    assert [row["search"] for row in rows] == list(active_ird.SEARCHES)
    assert len({row["regret"][0] for row in rows}) == 1  # before the first question all know the same
    for row in rows:
        assert row["best"] > 0 and min(row["regret"]) > -1e-3
        assert row["entropy"][0] == pytest.approx(np.log(300), abs=1e-3)
        assert row["entropy"][2] < row["entropy"][1] < row["entropy"][0]


def test_active_ird_draws_connected_maps():
    plain, near = (active_ird.grid_maps(np.random.default_rng(3), 2, by_distance) for by_distance in (False, True))
    for mdp, by_distance in zip(plain, near, strict=True):
        assert (mdp.num_features, mdp.horizon) == (20, 15) and mdp.feature_names == by_distance.feature_names
        reached = walk_from(
            np.asarray(mdp.next_state), np.asarray(mdp.probability).any(axis=1), np.asarray(mdp.initial) > 0
        )
        assert reached.all() and 42 <= mdp.num_states < 120
        features, distances = np.asarray(mdp.features), np.asarray(by_distance.features)
        assert features.sum() == 20 and features.sum(axis=0).max() == 1
        # The same maps: an object is where its distance is nought.
        np.testing.assert_array_equal(distances == 0, features == 1)


@pytest.mark.parametrize(
    ("study", "arguments", "message"),
    [
        (active_ird, ["--repetitions", "0"], "repetitions is 0; it must be a whole number ≥ 2"),
        (teaching, ["--trials", "1"], "trials is 1; it must be a whole number ≥ 2"),
        (lavaland, ["--maps", "0"], "maps is 0; it must be a whole number ≥ 1"),
        (normalizers, ["--seed", "-1"], "seed is -1"),
        (normalizers, ["--redraw"], "there is no"),
    ],
)
def test_bad_numbers_are_refused_by_name(study, arguments, message, tmp_path):
    with pytest.raises((SystemExit, ValueError), match=message):
        study.main([*arguments, "--out", str(tmp_path)])
