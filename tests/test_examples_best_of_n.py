"""Choosing among answers at a small size: the program runs, shows where care pays and where it costs, and saves it."""

import json

import matplotlib.image
import pytest

from examples import best_of_n

pytestmark = pytest.mark.usefixtures("unannotated_throughout")  # as users run them


def test_care_among_answers_pays_where_the_unknown_is_bad_and_costs_where_it_is_good(tmp_path):
    small = ["--sizes", "512", "--repetitions", "40", "--answers", "512", "--draws", "64"]
    made = best_of_n.main([*small, "--out", str(tmp_path)])
    assert json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8")) == made
    assert matplotlib.image.imread(tmp_path / "best_of_n.png").shape[0] > 400
    never, every = (made["results"][name] for name in best_of_n.SETS)
    for name in best_of_n.CHOICES[1:]:
        assert never["mean"]["manipulates"] > 0.2 > never[name]["manipulates"]
        assert never[name]["good"][0] < never["mean"]["good"][0]  # what care costs
        assert abs(every[name]["won"][0]) < 0.1  # what was compared needs no care
    never, every = (made["lines"][name] for name in best_of_n.SETS)
    assert never["slope"] < -2 * never["error"] and abs(every["slope"]) < 0.1  # care pays the more the worse it is
    assert set(made["many"]["choices"]) == {*best_of_n.CHOICES, "worst tenth, a mixture"}
    assert all(row["converged"] for row in made["many"]["choices"].values())
    with pytest.raises(SystemExit):
        best_of_n.main(["--sizes", "8", "1", "--out", str(tmp_path)])
