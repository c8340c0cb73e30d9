"""Side effects at a small size: one world, a few weights; the page's words about it hold."""

import json

import matplotlib.image
import numpy as np
import pytest

from examples import side_effects

pytestmark = pytest.mark.usefixtures("unannotated_throughout")  # as users run them


def test_a_box_is_left_where_it_can_be_fetched_back(tmp_path):
    made = side_effects.main(
        [
            "--only",
            "sokoban",
            "--draws",
            "1",
            "--beliefs",
            "1",
            "--samples",
            "2000",
            "--betas",
            "0",
            "1",
            "10",
            "--out",
            str(tmp_path),
        ]
    )
    assert json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8")) == made
    assert matplotlib.image.imread(tmp_path / "side_effects.png").shape[0] > 200
    result = made["results"]["worlds"]["sokoban"] if "results" in made else made["worlds"]["sokoban"]
    assert result["literal"] == [-1, -1] and result["least exposure"] == pytest.approx([1], abs=0.01)
    low = {name: np.array(row["low"])[0] for name, row in result["rows"].items()}
    np.testing.assert_allclose(low["UR start"], [-1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(low["RR start"], [-1, 1, 0], atol=1e-9)
    np.testing.assert_allclose(low["RR stepwise"], [-1, -1, 1], atol=1e-9)
    assert result["rows"]["UR start"]["price"] == pytest.approx(0.960596, abs=1e-5)  # .99 to the fourth
    assert "# Side effects: the tables" in (tmp_path / "side_effects.md").read_text(encoding="utf-8")


def test_help_is_printed_and_what_makes_no_sense_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        side_effects.main(["--help"])
    assert stop.value.code == 0 and "--seed" in capsys.readouterr().out
    for wrong in (["--draws", "0"], ["--betas", "-1"], ["--betas", "1", "--shown", "2"], ["--only", "nowhere"]):
        with pytest.raises(SystemExit):
            side_effects.main(wrong)
