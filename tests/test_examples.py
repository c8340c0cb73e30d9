"""The example runs at a small size, repeats itself, says what it did, and refuses what it cannot use."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.experimental.compilation_cache.compilation_cache
import matplotlib.image
import numpy as np
import pytest

from benchmarks import bench_sweep
from examples import _settings, cirl_games, mixed_evidence, samplers, sweep
from examples.lavaland import __main__ as lavaland
from examples.lavaland import inputs, limits, planners
from examples.studies import lavaland as lavaland_study
from examples.studies import normalizers, teaching
from ird import planning, posterior
from ird.risk import CVaR, WorstCase
from ird.sweep import arrays

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
[default]
alpha = 0.25
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    out = tmp_path_factory.mktemp("lavaland")
    return out, lavaland.main(["--small", "--out", str(out)])


def test_manifest(small):
    out, manifest = small
    assert json.loads((out / "manifest.json").read_text(encoding="utf-8")) == manifest
    assert {"settings", "seed", "versions", "results", "limits", "seconds"} <= set(manifest)
    assert {"python", "jax", "numpyro", "inverse-reward-design"} <= set(manifest["versions"])
    rows = manifest["results"]
    assert {row["input"] for row in rows} == {"paper", "shift", "generated"}
    for row in rows:
        assert 0 <= row["lava"] <= 1 + 1e-6 and 0 <= row["goal"] <= 1 + 1e-6 and row["regret"] > -1e-4
        assert row["maps"] == {"paper": 1, "shift": 3, "generated": manifest["settings"]["maps"]}[row["input"]]


def test_every_planner_is_there(small):
    _, manifest = small
    risks = len({*manifest["settings"]["planners"]["alphas"], manifest["settings"]["default"]["alpha"]}) + 1
    count = 7 + risks * (len(planners.BASELINES) + len(planners.OFFSETS))
    for name in ("paper", "shift"):
        rows = [row for row in manifest["results"] if row["input"] == name]
        assert len(rows) == count
        assert [row["planner"] for row in rows if row["default"]] == ["CVaR"]
    generated = [row for row in manifest["results"] if row["input"] == "generated"]
    assert len(generated) == count + 1
    assert [row["training_maps"] for row in generated if row["default"]] == [1, 2]


def test_oracle_has_no_regret_and_literal_enters_lava_on_the_papers_map(small):
    rows = {row["planner"]: row for row in small[1]["results"] if row["input"] == "paper" and not row["scheme"]}
    assert rows["literal"]["lava"] == pytest.approx(1, abs=1e-5)
    assert rows["oracle: the true reward"]["regret"] == pytest.approx(0, abs=1e-5)
    assert rows["forbid the unseen"]["lava"] == 0


def test_differences_are_paired_by_map(small):
    rows = [row for row in small[1]["results"] if row["input"] == "generated" and row["training_maps"] == 1]
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


def test_pictures(small):
    out, manifest = small
    names = {"maps", "lavaland", "disagreement", "risk_curve"} | {
        f"posterior_{n}" for n in ("paper", "shift", "generated")
    }
    assert set(manifest["pictures"]) == {f"{name}.png" for name in names}
    for name in manifest["pictures"]:
        pixels = matplotlib.image.imread(out / name)
        assert min(pixels.shape[:2]) > 200
        assert len(np.unique(pixels.reshape(-1, pixels.shape[-1])[::7], axis=0)) > 20


@pytest.fixture
def compiled_once(tmp_path):
    """Keep compiled programs on disk, so that running the same thing again does not compile it again."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = [getattr(jax.config, name) for name in names]
    for name, value in zip(names, (str(tmp_path / "programs"), 0.0), strict=True):
        jax.config.update(name, value)
    yield
    for name, value in zip(names, before, strict=True):
        jax.config.update(name, value)
    jax.experimental.compilation_cache.compilation_cache.reset_cache()


def test_own_maps_and_settings_and_a_seed_that_repeats(tmp_path, compiled_once):
    settings = tmp_path / "tiny.toml"
    settings.write_text(TINY, encoding="utf-8")
    maps = [str(ROOT / "mdps" / "worlds" / f"paper_{name}.toml") for name in ("train", "field")]
    arguments = ["--settings", str(settings), "--train", maps[0], "--field", maps[1]]
    first = lavaland.main([*arguments, "--out", str(tmp_path / "a"), "--seed", "3"])
    again = lavaland.main([*arguments, "--out", str(tmp_path / "b"), "--seed", "3"])
    assert first["results"] == again["results"]
    assert first["seed"] == 3 and first["settings"]["designer"]["alternatives"] == 12
    assert {row["input"] for row in first["results"]} == {"own"}


def test_worst_case_is_cvar_of_few_draws():
    settings = _settings.load(_settings.SMALL)
    case = inputs.lavalands(settings, jax.random.key(0))[0].one()
    proxy = planners.evidence(
        settings["designer"], case.train.mdp, case.proxy, planners.prior_of(case.width), jax.random.key(1)
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
    source = limits.two_sensors(_settings.load(_settings.SMALL), jax.random.key(0))
    case = source.one()
    one, two = np.split(np.asarray(case.train.mdp.features), 2, axis=1)
    np.testing.assert_array_equal(one, two)
    lava = np.asarray(case.field.where("lava"))
    one, two = np.split(np.asarray(case.field.mdp.features), 2, axis=1)
    assert (one[lava] != two[lava]).any(axis=1).all() and (one[~lava] == two[~lava]).all()


def test_help():
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
        ("[default]\nalpha = 2.0", "default.alpha is 2.0; it must be a share of the probability"),
        ("[planners]\nalphas = []", "planners.alphas is []"),
        ("[generated]\nproxy = { dirt = 'x' }", "generated.proxy is"),
        ("maps = ", "is not valid TOML"),
    ],
)
def test_bad_settings(tmp_path, text, message):
    file = tmp_path / "bad.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        lavaland.main(["--settings", str(file), "--out", str(tmp_path)])
    assert message in str(stop.value) and "bad.toml" in str(stop.value)


def test_bad_arguments(tmp_path):
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


def test_study(tmp_path):
    table = lavaland_study.main(["--small", "--out", str(tmp_path)])
    assert sum(row["default"] for row in table) == 2
    assert all(0 <= row["lava"] <= 1 + 1e-6 for row in table)
    assert {"lavaland.md", "lavaland.json", "lavaland.png"} <= {file.name for file in tmp_path.iterdir()}


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
    assert min(waiting["rational"]) > -1e-4 and min(waiting["Boltzmann, τ = 1"]) < -0.1


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
