"""The main example at a small size: every planner runs, what is said is what was found, bad settings are refused."""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import jax
import matplotlib.image
import numpy as np
import pytest

from examples.lavaland import __main__ as lavaland
from examples.lavaland import inputs, limits, planners, settings, summary
from examples.lavaland.planners import Outcome
from examples.lavaland.table import RECOMMENDED, Plan, Results
from ird import planning, posterior
from ird.risk import CVaR, WorstCase
from mdps import GridWorld

pytestmark = pytest.mark.usefixtures("unannotated_throughout")  # as users run them
ROOT = Path(__file__).parent.parent
TINY = """
maps = 2
[designer]
alternatives = 12
[prior]
samples = 64
trajectory_samples = 16
demonstration_samples = 8
[planners]
alphas = [0.25]
worst_case_draws = 4
tol = 0.05
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    out, said = tmp_path_factory.mktemp("lavaland"), io.StringIO()
    with contextlib.redirect_stdout(said):
        manifest = lavaland.main(["--small", "--out", str(out)])
    (out / "said.txt").write_text(said.getvalue(), encoding="utf-8")
    return out, manifest


def test_the_manifest_is_what_was_saved_and_rates_are_probabilities(small):
    out, manifest = small
    assert json.loads((out / "manifest.json").read_text(encoding="utf-8")) == manifest
    assert {"settings", "seed", "versions", "results", "limits", "seconds"} <= set(manifest)
    assert {"python", "jax", "numpyro", "inverse-reward-design"} <= set(manifest["versions"])
    rows = manifest["results"]
    assert {row["input"] for row in rows} == {"paper", "shift", "generated"}
    for row in rows:
        assert 0 <= row["lava"] <= 1 + 1e-6 and 0 <= row["goal"] <= 1 + 1e-6 and row["regret"] > -1e-4
        assert row["maps"] == {"paper": 1, "shift": 3, "generated": manifest["settings"]["maps"]}[row["input"]]


def test_each_input_has_a_row_for_every_planner_and_one_that_is_recommended(small):
    _, manifest = small
    settings = manifest["settings"]
    risks = [("CVaR", alpha) for alpha in settings["planners"]["alphas"]] + [("worst case", None)]
    careful = {("per step", origin, *risk) for origin in planners.BASELINES for risk in risks}
    careful |= {("per trajectory", origin, *risk) for origin in planners.OFFSETS for risk in risks}
    plain = {"literal", "posterior mean"}
    controls = {"oracle: the true reward", "forbid the unseen", "mean, Bayesian IRL"}
    controls |= {"CVaR, no evidence"}
    for name in ("paper", "shift", "generated"):
        rows = [row for row in manifest["results"] if row["input"] == name]
        found = [row for row in rows if row["measured_from"] and not row["control"]]
        assert {(row["scheme"], row["measured_from"], row["planner"], row["alpha"]) for row in found} == careful
        assert {row["planner"] for row in rows if row["control"]} == controls
        assert {row["planner"] for row in rows if not row["scheme"] and not row["control"]} == plain
        assert len(rows) == len(careful) + len(plain) + len(controls) + 1
        assert [row["planner"] for row in rows if row["default"]] == ["least exposure"]


def test_what_is_said_is_what_the_table_holds(small):
    out, manifest = small
    said = " ".join((out / "said.txt").read_text(encoding="utf-8").split())
    rows = {(row["input"], row["planner"]): row for row in manifest["results"] if row["default"] or not row["scheme"]}
    literal, careful = rows["generated", "literal"], rows["generated", "least exposure"]
    lava = (
        f"enters lava with probability {literal['lava']:.3f}, the recommended careful plan with {careful['lava']:.3f}"
    )
    assert lava in said
    assert rows["shift", "least exposure"]["goal"] > 0.99 and rows["shift", "least exposure"]["lava"] < 0.01
    moss = next(row for row in manifest["limits"] if (row["input"], row["planner"]) == ("moss", "forbid the unseen"))
    assert f"harmless moss bars the way, and it reaches the goal with probability {moss['goal']:.3f}" in said
    table = (out / "said.txt").read_text(encoding="utf-8").split("─\n")[1].splitlines()
    assert len(table) == 9 and sum(line.startswith("▸") for line in table) == 1  # eight planners and a rule
    full = (out / "table.txt").read_text(encoding="utf-8")
    assert "Per trajectory, from regret" in full and "Where forbidding the unseen fails" in full


def test_the_sentences_follow_the_numbers():
    one = inputs.Input("own", "my map", np.zeros((1, 2)), lambda data: None)
    plans = {"literal": Plan("literal"), "careful": RECOMMENDED}

    def results(source=one, policies=None, **measures):
        made = {plans[name]: Outcome(*(np.array([x]) for x in each), np.zeros(1)) for name, each in measures.items()}
        found = Results(source, None, made, policies={RECOMMENDED: policies})
        return summary.bought([found]), summary.failed([found])

    bought, failed = results(literal=(1.0, 1.0, 0.5), careful=(0.0, 1.0, 0.1))
    assert bought.startswith("What the careful plan bought") and failed.startswith("Where it failed: nowhere here")
    bought, _ = results(literal=(0.0, 1.0, 0.5), careful=(0.2, 1.0, 0.5))
    assert bought.startswith("What the careful plan did not buy")
    # Where the careful plan stays it is named, and what it costs.
    grid = GridWorld.from_text("S.G", {"S": "dirt", ".": "dirt", "G": "target"}, horizon=3)
    source = inputs.fixed(
        "own", "my map", grid, {"mine": grid}, {"proxy": {"target": 1.0}, "truth": {}}, avoid=("dirt",)
    )
    against_the_wall = np.zeros((1, 3, 4)) + np.eye(4)[3]
    _, failed = results(source, against_the_wall, literal=(0.0, 1.0, 0.0), careful=(0.0, 0.0, 1.2))
    assert "on my map it stays where it is: regret 1.200, worse than walking at random" in failed


def test_oracle_has_no_regret_and_literal_enters_lava_on_the_papers_map(small):
    rows = {row["planner"]: row for row in small[1]["results"] if row["input"] == "paper" and not row["scheme"]}
    assert rows["literal"]["lava"] == pytest.approx(1, abs=1e-5)
    assert rows["oracle: the true reward"]["regret"] == pytest.approx(0, abs=1e-5)
    assert rows["forbid the unseen"]["lava"] == 0


def test_differences_are_paired_by_map(small):
    rows = [row for row in small[1]["results"] if row["input"] == "generated"]
    literal = next(row for row in rows if row["planner"] == "literal")
    assert literal["lava_minus_literal"] == 0 and literal["lava_minus_literal_se"] == 0
    for row in rows:
        assert row["lava_minus_literal"] == pytest.approx(row["lava"] - literal["lava"], abs=1e-5)
        assert row["goal_se"] >= 0


def test_forbidding_fails_where_a_posterior_need_not(small):
    moss = {row["planner"]: row for row in small[1]["limits"] if row["input"] == "moss"}
    assert moss["forbid the unseen"]["goal"] == pytest.approx(0, abs=1e-6)
    assert moss["literal"]["goal"] == pytest.approx(1, abs=1e-5)
    sensors = {row["planner"]: row for row in small[1]["limits"] if row["input"] == "two sensors"}
    # Every indicator has been seen, so there is nothing to forbid.
    assert sensors["forbid the unseen"]["lava"] == sensors["literal"]["lava"]


def test_every_picture_is_drawn(small):
    out, manifest = small
    names = {"maps", "lavaland", "disagreement", "risk_curve"} | {
        f"posterior_{n}" for n in ("paper", "shift", "generated")
    }
    assert set(manifest["pictures"]) == {f"{name}.png" for name in names}
    for name in manifest["pictures"]:
        pixels = matplotlib.image.imread(out / name)
        assert min(pixels.shape[:2]) > 200
        assert len(np.unique(pixels.reshape(-1, pixels.shape[-1])[::7], axis=0)) > 20


def test_own_maps_and_settings_and_a_seed_that_repeats(tmp_path):
    tiny = tmp_path / "tiny.toml"
    tiny.write_text(TINY, encoding="utf-8")
    maps = [str(ROOT / "mdps" / "worlds" / f"paper_{name}.toml") for name in ("train", "field")]
    arguments = ["--settings", str(tiny), "--train", maps[0], "--field", maps[1]]
    first = lavaland.main([*arguments, "--out", str(tmp_path / "a"), "--seed", "3"])
    again = lavaland.main([*arguments, "--out", str(tmp_path / "b"), "--seed", "3"])
    assert first["results"] == again["results"]
    assert first["seed"] == 3 and first["settings"]["designer"]["alternatives"] == 12
    assert {row["input"] for row in first["results"]} == {"own"}


def test_worst_case_is_cvar_of_few_draws():
    chosen = settings.load(settings.SMALL)
    case = inputs.lavalands(chosen, jax.random.key(0))[0].one()
    proxy = planners.evidence(
        chosen["designer"], case.train.mdp, case.proxy, planners.prior_of(case.width), jax.random.key(1)
    )
    prior = planners.prior_of(case.width)
    belief = posterior.importance(proxy, prior=prior, num_samples=200, key=jax.random.key(2))
    draws = belief.resample(8, key=jax.random.key(3))
    start = planning.start_features(case.field.mdp)
    worst = planning.plan_per_step(case.field.mdp, draws, risk=WorstCase(), baseline=start)
    repeated = draws.resample(200, key=jax.random.key(4))
    same = planning.plan_per_step(case.field.mdp, repeated, risk=CVaR(0.5 / 8), baseline=start)
    np.testing.assert_allclose(worst.objective, same.objective, rtol=1e-4)


def test_two_sensors_agree_in_training_and_disagree_over_lava():
    source = limits.two_sensors(settings.load(settings.SMALL), jax.random.key(0))
    case = source.one()
    one, two = np.split(np.asarray(case.train.mdp.features), 2, axis=1)
    np.testing.assert_array_equal(one, two)
    lava = np.asarray(case.field.where("lava"))
    one, two = np.split(np.asarray(case.field.mdp.features), 2, axis=1)
    assert (one[lava] != two[lava]).any(axis=1).all() and (one[~lava] == two[~lava]).all()


def test_help_names_every_option():
    done = subprocess.run(
        [sys.executable, "-m", "examples.lavaland", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for option in (
        "--settings",
        "--train",
        "--field",
        "--seed",
        "--maps",
        "--out",
        "--small",
        "lavaland/settings.toml",
    ):
        assert option in done.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mapz = 3", "there is no setting 'mapz'; did you mean 'maps'"),
        ("maps = 0", "maps is 0; it must be a whole number ≥ 1"),
        ("maps = true", "maps is True"),
        ("seed = -1", "seed is -1"),
        ("designer = 3", "designer is 3; it is a table"),
        ("[designer]\nbeta = -1.0", "designer.beta is -1.0; it must be a positive number"),
        ("[default]\ngive_up = 2.0", "default.give_up is 2.0; it must be a share"),
        ("[planners]\nalphas = []", "planners.alphas is []"),
        ("[generated]\nproxy = { dirt = 'x' }", "generated.proxy is"),
        ("maps = ", "is not valid TOML"),
    ],
)
def test_bad_settings_are_refused_by_name(tmp_path, text, message):
    file = tmp_path / "bad.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        lavaland.main(["--settings", str(file), "--out", str(tmp_path)])
    assert message in str(stop.value) and "bad.toml" in str(stop.value)


def test_bad_arguments_are_refused_by_name(tmp_path):
    train = str(ROOT / "mdps" / "worlds" / "paper_train.toml")
    other = str(ROOT / "mdps" / "worlds" / "distributional_shift_train.toml")
    for arguments, message in (
        (["--train", train], "--train and --field go together"),
        (["--train", train, "--field", str(tmp_path / "none.toml")], "there is no map file"),
        (["--train", train, "--field", other], "give both maps the same legend"),
        (["--settings", str(tmp_path / "none.toml")], "there is no settings file"),
        (["--maps", "0"], "maps is 0"),
    ):
        with pytest.raises(SystemExit) as stop:
            lavaland.main([*arguments, "--out", str(tmp_path)])
        assert message in str(stop.value)
