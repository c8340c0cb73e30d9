"""The short programs at a small size: each runs, shows what it says, and saves what it shows."""

import itertools
import json

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest

from benchmarks import bench_sweep
from examples import (
    biased_labels,
    cirl_games,
    goodhart,
    human_models,
    lava_game,
    mixed_evidence,
    samplers,
    sweep,
    value_of_information,
    worlds,
)
from examples.overoptimisation import __main__ as overoptimisation
from examples.overoptimisation import study as overoptimised
from examples.safety import __main__ as safety_worlds
from examples.service_desk import __main__ as service_desk
from ird import posterior
from ird.sweep import arrays

pytestmark = pytest.mark.usefixtures("unannotated_throughout")  # as users run them


def saved(out, made, picture):
    assert json.loads(next(out.glob("*.json")).read_text(encoding="utf-8")) == made
    assert matplotlib.image.imread(out / picture).shape[0] > 200


def test_mixed_evidence_narrows_the_posterior(tmp_path):
    made = mixed_evidence.main(["--samples", "2000", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "manifest.json").read_text()) == made
    assert matplotlib.image.imread(tmp_path / "mixed_evidence.png").shape[0] > 200
    prior, proxy, compared, switched = made["results"]
    pond = made["features"].index("pond")
    assert abs(proxy["sd"][pond] - prior["sd"][pond]) < 0.03  # the designer never saw one
    assert compared["sd"][pond] < 0.8 * proxy["sd"][pond] and compared["mean"][pond] < -0.3
    assert sum(switched["sd"]) < sum(compared["sd"]) < sum(proxy["sd"]) < sum(prior["sd"])
    assert switched["value_of_information"] < proxy["value_of_information"]


def test_worlds_by_others_are_planned_in_and_drawn(tmp_path):
    made = worlds.main(["--families", "cliff-B", "--maps", "1", "--samples", "500", "--out", str(tmp_path)])
    saved(tmp_path, made, "worlds.png")
    row = made["families"]["cliff-B"]
    assert row["literal"][0] > 0.98 and row["least exposure"][0] < 0.02 and row["least exposure"][1] > 0.98
    assert row["oracle"][2] == 0 and row["least exposure"][2] < 0.02


def test_safety_worlds_are_helped_where_something_was_missing(tmp_path):
    small = ["--only", "sokoban", "boat race", "absent supervisor", "--samples", "100", "--alternatives", "100"]
    made = safety_worlds.main([*small, "--out", str(tmp_path)])
    saved(tmp_path, made, "safety.png")
    assert "| sokoban | there is no box | yes | 45 / 35 |" in (tmp_path / "safety.md").read_text(encoding="utf-8")
    sokoban, race, accepted = (made["worlds"][name] for name in ("sokoban", "boat race", "absent supervisor"))
    assert sokoban["literal"]["hidden"] == 35 and sokoban["best"] == 43
    assert sokoban["least exposure"]["hidden"] == pytest.approx(43, abs=1e-3) and sokoban["helps"] == "yes"
    assert abs(race["literal"]["lowest"]) < 1e-9 and race["literal"]["highest"] == race["best"] == 100
    assert accepted["helps"] == "no" and accepted["least exposure"]["hidden"] <= 29 + 1e-6 < accepted["best"]


def test_a_safety_world_that_does_not_exist_is_refused_in_one_line(tmp_path):
    with pytest.raises(SystemExit, match="there is no world lava; there are boat race; absent supervisor"):
        safety_worlds.main(["--only", "lava", "--out", str(tmp_path)])


def test_a_support_desk_learns_what_its_metrics_could_not_tell(tmp_path):
    table = service_desk.TABLE.read_text(encoding="utf-8")
    for line, small in (
        ("steps = 16", "steps = 8"),
        ("patience = [0.0, 0.1, 0.2, 0.3, 0.4]", "patience = [0.0, 1.0]"),
    ):
        assert line in table
        table = table.replace(line, small)
    (tmp_path / "desk.toml").write_text(table, encoding="utf-8")
    small = ["--samples", "1000", "--alternatives", "60", "--tables", "2", "--draws", "20", "--change", "1"]
    made = service_desk.main([*small, "--table", str(tmp_path / "desk.toml"), "--out", str(tmp_path)])
    for picture in ("conversations.png", "metrics.png", "tables.png"):
        saved(tmp_path, made, picture)
    names = made["metrics"]
    assert made["unseen"] == ["reopened"] and len(made["blind"]) == 1 and 200 <= made["states"] <= 2000
    told_apart = np.zeros(len(names))
    told_apart[names.index("closed")], told_apart[names.index("resolved")] = 1, -1
    np.testing.assert_allclose(made["blind"][0], told_apart, atol=5e-3)
    rows = {name: row["deployment"] for name, row in made["results"].items()}
    points = {name: row["return"] for name, row in rows.items()}
    assert points["literal"] + 5 < points["least exposure"] <= points["oracle"] + 1e-3
    assert rows["after the answer"]["regret"] <= 0.05 and rows["oracle"]["regret"] < 1e-5
    told = made["rewrites"]["told"]
    assert told["found"] and max(row["regret"] for row in made["results"]["rewritten"].values()) <= 0.05
    assert told["sentence"].startswith("Charge ") and "for reopened" in told["sentence"]
    nobody = made["rewrites"]["not told"]
    assert nobody["found"] == (nobody["held"] >= 0.95)
    for table in made["random_tables"]:
        assert table["regret"]["least exposure"] < table["regret"]["literal"]
    assert made["meant_as_written"]["literal"] < 1e-5 < made["meant_as_written"]["least exposure"]
    for row in made["results"].values():
        assert abs(row["training"]["closed"] - 2 * row["training"]["resolved"]) < 1e-4  # two issues, never apart
    assert 0 < made["question"]["worth"] <= made["question"]["everything"]


def test_a_desk_that_is_none_is_refused_in_one_line(tmp_path):
    table = service_desk.TABLE.read_text(encoding="utf-8")
    for old, new, said in (
        ("wrong = 0.8", "wrong = 8", "chances lie in 0..1"),
        ("[returns]\nwrong = 0.8\n", "", "has no entry 'returns'"),
        ("resolved = 10.0\nreopened = -8.0", "solved = 10.0", r"\[meant\] has solved; the metrics are minutes"),
        ("issues = 2", "issues =", "is not valid TOML"),
    ):
        assert old in table
        (tmp_path / "desk.toml").write_text(table.replace(old, new), encoding="utf-8")
        with pytest.raises(SystemExit, match=said):
            service_desk.main(["--table", str(tmp_path / "desk.toml"), "--out", str(tmp_path)])


def test_samplers_are_compared_with_exact(tmp_path):
    made = samplers.main(["--only", "importance", "--cells", "20", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "manifest.json").read_text()) == made
    [row] = made["results"]
    assert row["error in standard errors"] < 5 and row["worth"] > 1000 and not row["warnings"]
    assert matplotlib.image.imread(tmp_path / "samplers.png").shape[0] > 200


def test_cirl_games_are_solved_played_and_drawn(tmp_path):
    made = cirl_games.main(["--episodes", "2000", "--cells", "101", "--most", "3", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "manifest.json").read_text()) == made
    for name in made["pictures"]:
        assert matplotlib.image.imread(tmp_path / name).shape[0] > 200
    kitchen = made["chefworld"]
    assert kitchen["lower"] <= 1.5876 <= kitchen["upper"]
    assert abs(kitchen["played"] - 1.5876) < 4 * kitchen["standard_error"]
    value = np.array(made["misspecification"]["value"])
    assert (value <= np.diag(value)[None] + 1e-4).all() and value[0, 2] < value[2, 2] - 0.02
    both = made["backups"]
    np.testing.assert_allclose(both["adapted"], both["coordinator"], atol=1e-4)
    np.testing.assert_allclose(both["coordinator"], 0.9, atol=1e-4)  # references C; full information would have 1
    waiting = made["off_switch"]
    assert min(waiting["rational"]) > -1e-4 and min(waiting["Boltzmann, β = 1"]) < -0.1


def test_misjudging_people_costs_and_teaching_pays(tmp_path):
    made = human_models.main(["--games", "12", "--out", str(tmp_path)])
    saved(tmp_path, made, "human_models.png")
    value = np.array(made["misspecification"]["value"])
    assert (value <= np.diag(value)[None] + 2e-3).all()  # down a column the robot planned for that human is best
    assert (value[0] >= value.max(axis=0) - 2e-3).sum() < 5  # and no robot is best for everybody
    found, best = made["teaching"]["found"], made["teaching"]["best"]
    assert found["not at a fixed point"] == 0 and found["worth more"] > 0
    assert best["mean gain"] >= found["mean gain"] - 1e-4


def test_a_robot_that_may_ask_is_worth_more_than_one_that_may_not(tmp_path):
    small = ["--maps", "2", "--side", "4", "--steps", "7", "--atoms", "3", "--samples", "2000"]
    made = lava_game.main([*small, "--out", str(tmp_path)])
    saved(tmp_path, made, "lava_game.png")
    rows = {row["robot"]: row for row in made["results"]}
    assert rows["cooperative"]["expected"][0] > max(rows[name]["expected"][0] for name in ("literal", "careful"))
    prices = [row["expected"][0] for row in made["prices"]]
    assert prices[0] >= prices[-1]  # questions that cost more are worth no more


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


def test_a_learnt_reward_is_over_optimised_where_a_feature_was_never_compared(tmp_path, optimised):
    small = ["--answers", "1000", "--pairs", "300", "--samples", "300", "--repetitions", "2", "--points", "12"]
    made = overoptimisation.main([*small, "--out", str(tmp_path)])
    saved(tmp_path, made, "overoptimisation.png")
    covered, rare = (made["results"][name] for name in overoptimised.SETS)
    assert covered["choices"]["mean"]["drop"][0] < 0.2 < 0.5 < rare["choices"]["mean"]["drop"][0]
    assert rare["choices"]["mean"]["invented"][0] == pytest.approx(1, abs=1e-3)
    assert rare["promised too much"][0] > 3 and rare["stop"]["fell before"] == 0
    for name in overoptimised.CHOICES[1:]:
        assert rare["choices"][name]["end"][0] > rare["choices"]["mean"]["end"][0] + 1
        assert rare["choices"][name]["invented"][0] < 1e-3
    with pytest.raises(SystemExit):
        overoptimisation.main(["--answers", "10", "--out", str(tmp_path)])


def test_fits_of_overoptimisation_find_what_they_are_made_of():
    kl = np.linspace(0, 9, 20)
    d = np.sqrt(kl)
    for log, gain in ((False, d * (2 - 0.5 * d)), (True, d * (2 - 0.5 * np.log(np.maximum(d, 1e-9))))):
        found = overoptimised.fitted(kl, gain, log)
        assert (found["a"], found["b"]) == pytest.approx((2, 0.5)) and found["rms"] == pytest.approx(0, abs=1e-9)


def test_the_meant_reward_drops_on_one_world_and_not_on_the_other(tmp_path):
    made = goodhart.main(["--points", "12", "--out", str(tmp_path)])
    saved(tmp_path, made, "goodhart.png")
    boat, machine, ascent = made["curves"]["boat race"], made["curves"]["coin machine"], made["ascent"]
    assert boat["relative_drop"] < 1e-3 and boat["true"][-1] == pytest.approx(49, abs=1e-2)
    assert max(machine["true"]) - machine["true"][-1] > 50 and (np.diff(machine["proxy"]) > -1e-3).all()
    assert made["range"]["lowest"] == pytest.approx(0, abs=1e-3) and made["range"]["highest"] == pytest.approx(100)
    meant = np.array(ascent["meant"])
    assert (np.diff(meant[: ascent["stop"] + 1]) > -1e-6).all() and meant[-1] < meant[ascent["stop"]] < meant.max()
    assert {name: row["verdict"] for name, row in made["variants"].items()} == {x: x for x in goodhart.COLOURS}


def test_quantiles_are_those_of_the_weights():
    belief = posterior.exact(
        candidates=jnp.asarray([[0.0], [1.0], [2.0]]), log_prior=jnp.log(jnp.asarray([0.2, 0.6, 0.2]))
    )
    np.testing.assert_allclose(biased_labels.quantiles(belief, [0.2, 0.8])[:, 0], [0, 1], atol=1e-6)


def test_sweep_in_two_shards_draws_a_diagram(tmp_path):
    arguments = ["--small", "--out", str(tmp_path), "--store", str(tmp_path / "s.zarr"), "--block", "4"]
    first = sweep.main([*arguments, "--shard", "0/2"])
    assert first["done"] < first["trials"] == 32 and not first["pictures"]
    made = sweep.main([*arguments, "--shard", "1/2"])
    assert json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8")) == made
    assert made["done"] == 32 and len(made["results"]) == 8 and not any(made["not_a_number"].values())
    for row in made["results"]:
        assert all(0 <= row[rate] <= 1 + 1e-6 for rate in ("lava", "goal", "literal_lava"))
    assert matplotlib.image.imread(tmp_path / "sweep.png").shape[0] > 400
    # Against the benchmark's twin in NumPy, which shares nothing with the library but the random draws.
    found, grid = arrays(tmp_path / "s.zarr"), sweep.SMALL
    draws = jax.jit(jax.vmap(lambda key, share: bench_sweep.draws(key, 10, 50, share), (None, 0)))
    shares = np.asarray(grid["lava_share"], "float32")
    for seed in range(4):
        given = [np.asarray(x) for x in draws(jax.random.fold_in(jax.random.key(0), seed), shares)]
        for (b, beta), (a, alpha), s in itertools.product(enumerate(grid["beta"]), enumerate(grid["alpha"]), range(2)):
            expected = bench_sweep.numpy_trial(bench_sweep.tuned, *(x[s] for x in given), beta=beta, alpha=alpha)
            got = [found[rate].values[b, a, s, seed] for rate in ("lava", "goal")]
            np.testing.assert_allclose(got, expected, atol=1e-5)
    assert 0 < found["lava"].values.mean() < 1


def test_sweep_refuses_in_one_line(tmp_path):
    with pytest.raises(SystemExit, match="shard is 3/2, which is out of range"):
        sweep.main(["--small", "--out", str(tmp_path), "--shard", "3/2"])


@pytest.mark.parametrize(
    ("example", "option"),
    [
        (value_of_information, "--maps"),
        (biased_labels, "--pairs"),
        (human_models, "--games"),
        (overoptimisation, "--pairs"),
        (goodhart, "--points"),
        (service_desk, "--draws"),
        (safety_worlds, "--samples"),
    ],
)
def test_help_is_printed_and_numbers_below_one_are_refused(example, option, capsys):
    with pytest.raises(SystemExit) as stop:
        example.main(["--help"])
    assert stop.value.code == 0 and "--seed" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        example.main([option, "0"])
    assert "at least" in capsys.readouterr().err
