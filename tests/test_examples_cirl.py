"""The examples of games at a small size: what they claim holds, and what they save can be read."""

import json

import matplotlib.image
import numpy as np
import pytest

from examples import human_models, lava_game

pytestmark = pytest.mark.usefixtures("unannotated_throughout")  # as users run them


def saved(tmp_path, made, picture):
    assert json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8")) == made
    assert matplotlib.image.imread(tmp_path / picture).shape[0] > 200


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
