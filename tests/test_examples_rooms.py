"""Rooms at a small size: the shares of the best that were reported with the method, the failure included."""

import json

import matplotlib.image
import numpy as np
import pytest

from examples import rooms

pytestmark = pytest.mark.usefixtures("unannotated_throughout")  # as users run them

SHARES = {
    "room": ([0.486, 1], [1, 1], [1, 1], [1, 1]),
    "far vase": ([0.559, 0.559], [1, 1], [1, 1], [0.559, 0.559]),
}


def test_a_vase_that_was_gone_round_matters_and_one_far_away_does_not(tmp_path):
    made = rooms.main(["--only", *SHARES, "--out", str(tmp_path)])
    assert json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8")) == made
    assert matplotlib.image.imread(tmp_path / "rooms.png").shape[0] > 200
    for name, expected in SHARES.items():
        row = made["rooms"][name]
        for way, shares in zip(rooms.WAYS, expected, strict=True):
            np.testing.assert_allclose(row[way], shares, atol=1e-3, err_msg=f"{name}, {way}")
    assert made["rooms"]["room"]["inferred"]["broken"] < -0.1
    assert abs(made["rooms"]["far vase"]["inferred"]["broken"]) < 0.02


def test_rooms_that_are_none_are_refused(capsys):
    with pytest.raises(SystemExit):
        rooms.main(["--only", "nowhere"])
    with pytest.raises(SystemExit) as stop:
        rooms.main(["--help"])
    assert stop.value.code == 0 and "--seed" in capsys.readouterr().out
