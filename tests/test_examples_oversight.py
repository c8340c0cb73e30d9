"""Examples of oversight at a small size: they run, say what they show, and save it."""

import json

import matplotlib.image
import pytest

from examples import debate, off_switch

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


def test_an_off_switch_with_secrets_is_searched_and_drawn(tmp_path, capsys, monkeypatch):
    small = ["--states", "2", "--payoffs", "1", "--games", "20"]
    made = off_switch.main([*small, "--out", str(tmp_path)])
    assert made["search"] == {"games": 2 + 3 * 4, "states": 2, "found": 0, "by": None,
                              "senders": {"the human": 0, "the robot": 0}}  # fmt: skip
    assert "Among 14 games of up to 2 states no bit made it wait less" in " ".join(capsys.readouterr().out.split())
    assert made["script"]["nobody"] == {"value": 1.75, "least": 0.5, "most": 0.5} and not made["pictures"]
    assert all(row["paid less"] == 0 for row in made["at random"].values())
    # The search over one game's sights finds that game; drawn.
    here = [(0, 0, 1, 1, 2), (0, 1, 1, 0, 1), (0, 0, 0, 0, 0)]
    monkeypatch.setattr(off_switch, "labels", lambda states: here if states == 5 else [(0,) * states])
    made = off_switch.main(["--states", "5", "--games", "20", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8")) == made
    assert matplotlib.image.imread(tmp_path / "private_off_switch.png").shape[0] > 200
    assert made["search"]["by"] == ["the human", [-2, -1, -1, 2, 2], list(here[0]), list(here[1])]
    assert "the robot waits with probability 0.4 to 0.8 instead of 1" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit):
        off_switch.main(["--states", "7", "--out", str(tmp_path)])
