"""Choosing among answers at a small size: the program runs, shows where care pays and where it costs, and saves it."""

import json

import matplotlib.image
import pytest

from examples import best_of_n

pytestmark = pytest.mark.usefixtures("unannotated_throughout")  # as users run them


def test_care_among_answers_pays_where_the_unknown_is_bad_and_costs_where_it_is_good(tmp_path):
    small = ["--sizes", "512", "--repetitions", "30", "--answers", "2000", "--draws", "64"]
    made = best_of_n.main([*small, "--out", str(tmp_path)])
    assert json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8")) == made
    assert matplotlib.image.imread(tmp_path / "best_of_n.png").shape[0] > 400
    never, every = (made["results"][name] for name in best_of_n.SETS)
    for name in best_of_n.CHOICES[1:]:
        assert never["mean"]["manipulates"] > 0.3 > never[name]["manipulates"]
        assert never["mean"]["good"][0] > never[name]["good"][0]  # what care costs
        assert never["mean"]["bad"][0] < never[name]["bad"][0]
        assert abs(every[name]["won"][0]) < 0.3
    assert set(made["many"]["choices"]) == {*best_of_n.CHOICES, "worst tenth, a mixture"}
    assert all(row["converged"] for row in made["many"]["choices"].values())
    with pytest.raises(SystemExit):
        best_of_n.main(["--sizes", "8", "1", "--out", str(tmp_path)])
