"""What all programs share: settings that are read, checked and laid over each other; manifests and their numbers."""

import json
import tomllib

import numpy as np
import pytest

from examples import _report, _settings
from examples.lavaland import settings as lavaland
from examples.studies import active_ird, normalizers, teaching
from examples.studies import lavaland as lavaland_study
from examples.studies.calibration import __main__ as calibration
from examples.studies.ird_paper import __main__ as ird_paper

PROGRAMS = {
    "lavaland": (lavaland.DEFAULTS, lavaland.RULES, lavaland.SMALL),
    "the study of lavaland": (lavaland_study.SETTINGS, lavaland_study.RULES, lavaland_study.SMALL),
    "active_ird": (active_ird.SETTINGS, active_ird.RULES, active_ird.SMALL),
    "normalizers": (normalizers.SETTINGS, normalizers.RULES, normalizers.SMALL),
    "teaching": (teaching.SETTINGS, teaching.RULES, teaching.SMALL),
    "calibration": (calibration.SETTINGS, calibration.RULES, calibration.SMALL),
    "ird_paper": (ird_paper.SETTINGS, ird_paper.RULES, ird_paper.SMALL),
}


def leaves(table, rules, prefix=""):
    """Full names of all settings that have a rule or are no table."""
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name not in rules:
            yield from leaves(value, rules, f"{name}.")
        else:
            yield name


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_setting_has_a_rule_that_its_default_keeps(program):
    defaults, rules, small = PROGRAMS[program]
    table = tomllib.loads(defaults.read_text(encoding="utf-8"))
    assert set(leaves(table, rules)) == set(rules)
    assert _settings.load(defaults, rules, table) == table  # every default is checked here
    assert _settings.load(defaults, rules, small) != table


@pytest.fixture
def defaults(tmp_path):
    file = tmp_path / "defaults.toml"
    file.write_text("maps = 3\n[designer]\nbeta = 5.0\n[proxy]\ngrass = -1.0\n", encoding="utf-8")
    return file


RULES = {"maps": _settings.COUNT, "designer.beta": _settings.POSITIVE, "proxy": _settings.NUMBERS_BY_NAME}


def test_later_changes_win_and_a_table_with_a_rule_is_replaced_whole(defaults):
    found = _settings.load(defaults, RULES, {"maps": 4}, {"designer": {"beta": 2}}, {"maps": 5, "proxy": {"mud": 1}})
    assert found == {"maps": 5, "designer": {"beta": 2.0}, "proxy": {"mud": 1}}
    assert isinstance(found["designer"]["beta"], float)


def test_rules_are_known_by_full_names(defaults):
    with pytest.raises(ValueError, match=r"designer\.beta is 0; it must be a positive number"):
        _settings.load(defaults, RULES, {"designer": {"beta": 0}})
    with pytest.raises(ValueError, match=r"there is no setting 'designer\.maps'"):
        _settings.load(defaults, RULES, {"designer": {"maps": 3}})


def test_a_manifest_is_what_its_file_holds(tmp_path):
    found = {"rows": [{"x": np.float32(1) / 3, "n": np.int64(2), "bad": float("nan")}], "mean": np.ones(2)}
    made = _report.save(tmp_path / "new", 0.0, {"maps": 3}, 7, found, pictures=["a.png"], seconds={"a": 1.0})
    assert json.loads((tmp_path / "new" / "manifest.json").read_text(encoding="utf-8")) == made
    assert made["rows"] == [{"x": 0.333333, "n": 2, "bad": None}] and made["mean"] == [1, 1]
    assert made["seed"] == 7 and set(made["seconds"]) == {"a", "total"} and "jax" in made["versions"]
    assert "picture and manifest.json in" in _report.told(made, tmp_path)


def test_a_single_number_has_no_standard_error():
    assert _report.mean_and_error([2.0]) == (2.0, None)
    mean, error = _report.mean_and_error([1.0, 3.0])
    assert mean == 2 and error == pytest.approx(1)
    assert _report.plus_minus(0.5, None) == "0.500" and _report.plus_minus(0.5, 0.25, sign="+") == "+0.500 ±0.250"
