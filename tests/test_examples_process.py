"""Process against outcome at a small size: the program runs, shows who hacks, and saves it."""

import json

import matplotlib.image
import pytest

from examples import process

pytestmark = pytest.mark.usefixtures("unannotated_throughout")  # as users run them


def test_who_looks_far_hacks_and_who_is_paid_by_the_action_value_loses(tmp_path):
    made = process.main(["--small", "--overseers", "2", "--mdps", "60", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8")) == made
    assert matplotlib.image.imread(tmp_path / "process.png").shape[0] > 400
    exact = made["exact"]
    assert exact["hacks"][:8] == pytest.approx([0] * 8, abs=1e-4)
    assert exact["hacks"][11] == pytest.approx(0.5625, abs=1e-3)
    assert exact["meant"][0] == pytest.approx(0.9369, abs=1e-3)
    near, far = made["noisy"]["meant"]
    assert max(near) < 0.8 and max(far) < 0.5  # errors of the overseer cost the short-sighted most
    assert made["paid"]["advantage"]["share"] == 0 < made["paid"]["action_value"]["share"]
    with pytest.raises(SystemExit):
        process.main(["--overseers", "1", "--out", str(tmp_path)])
