"""Examples of oversight at a small size: they run, say what they show, and save it."""

import json

import matplotlib.image
import pytest

from examples import debate

pytestmark = pytest.mark.usefixtures("unannotated_throughout")  # as users run them


def test_debate_is_shown_by_depth_by_gap_and_by_what_is_hidden(tmp_path, capsys):
    made = debate.main(["--depth", "2", "--points", "5", "--liars", "0", "5", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8")) == made
    assert matplotlib.image.imread(tmp_path / "debate.png").shape[0] > 200
    said = " ".join(capsys.readouterr().out.split())
    assert "right with 0.90 at every depth" in said and "No person judged anything here" in said
    rows = made["by depth"]
    assert rows["both perfect"] == pytest.approx([0.9, 0.9]) and rows["both toss coins"] == pytest.approx([0.7, 0.65])
    assert (
        made["by gap"]["5"]["accuracy"][2] > made["by gap"]["0"]["accuracy"][0] + 0.1
    )  # equal skill, another accuracy
    assert made["by gap"]["0"]["gap"][0] == 0  # no skill lies below a coin's
    assert made["certificates"]["1"] == {"leaves": 2, "mean": 1.25, "one is enough": 0.75, "most": 2}
    found = made["hidden flaws"]["2"]["found"]
    assert found == sorted(found) and found[0] == pytest.approx(1e-4) and found[-1] == 1
    with pytest.raises(SystemExit):
        debate.main(["--depth", "9", "--out", str(tmp_path)])
