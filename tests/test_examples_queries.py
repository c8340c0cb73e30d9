"""The examples of queries, of the value of information and of biased labels run small and show what they say."""

import json

import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest

from examples import biased_labels, value_of_information
from examples.studies import active_ird
from ird import posterior
from mdps.graph import walk_from

pytestmark = pytest.mark.usefixtures("unannotated_throughout")  # as users run them


def saved(out, made, picture):
    assert json.loads(next(out.glob("*.json")).read_text(encoding="utf-8")) == made
    assert matplotlib.image.imread(out / picture).shape[0] > 200


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


def test_asking_is_worth_no_less_than_nothing_and_no_more_than_the_truth(tmp_path):
    made = value_of_information.main(["--small", "--out", str(tmp_path)])
    saved(tmp_path, made, "value_of_information.png")
    assert set(made["maps"]) == set(value_of_information.PRIORS)
    for each in made["maps"].values():
        told, asked = np.array(each["value_of_information"]), np.array(each["value_of_question"])
        assert len(told) == 6 and (asked > -1e-3).all() and (asked < told + 1e-3).all()
        care = np.array(each["price_of_care"])
        np.testing.assert_allclose(each[value_of_information.FULL], told + care, atol=1e-3)
        np.testing.assert_allclose(each[value_of_information.ONE], asked + care, atol=1e-3)
        assert (care > -1e-3).all()


def test_a_bias_leaks_and_is_repaired(tmp_path, optimised):
    made = biased_labels.main(["--pairs", "200", "--repetitions", "3", "--out", str(tmp_path)])
    saved(tmp_path, made, "biased_labels.png")
    found = {(row["fit"], row["bias"]): row for row in made["results"]}
    left_out, unknown, noisy, repaired = biased_labels.FITS
    for bias in (1.0, 2.0):
        leak = found[left_out, bias]["correct"]
        assert leak["mean"] == pytest.approx(1 + bias, abs=3 * leak["sd"])
        assert found[unknown, bias]["correct"]["sd"] > 3 * leak["sd"]
        mended = found[repaired, bias]["correct"]
        assert mended["mean"] == pytest.approx(1, abs=2 * mended["sd"]) and mended["sd"] < 0.4
        assert found[noisy, bias]["clear"]["mean"] < found[repaired, bias]["clear"]["mean"]
    assert made["principles"]["unseen"] == ["kind"]
    prior, labelled = (np.array(made["principles"][kind]) for kind in ("prior", "labelled"))
    np.testing.assert_allclose(labelled[:, 2], prior[:, 2], atol=0.2)
    assert (np.ptp(labelled[:, :2], axis=0) < 0.5 * np.ptp(prior[:, :2], axis=0)).all()


@pytest.mark.parametrize("example", [active_ird, value_of_information, biased_labels])
def test_help_and_bad_numbers(example, capsys):
    with pytest.raises(SystemExit) as stop:
        example.main(["--help"])
    assert stop.value.code == 0 and "--seed" in capsys.readouterr().out
    bad = {active_ird: "--repetitions", value_of_information: "--maps", biased_labels: "--pairs"}[example]
    with pytest.raises(SystemExit):
        example.main([bad, "0"])
    assert "at least" in capsys.readouterr().err


def test_quantiles_are_those_of_the_weights():
    belief = posterior.exact(
        candidates=jnp.asarray([[0.0], [1.0], [2.0]]), log_prior=jnp.log(jnp.asarray([0.2, 0.6, 0.2]))
    )
    np.testing.assert_allclose(biased_labels.quantiles(belief, [0.2, 0.8])[:, 0], [0, 1], atol=1e-6)
