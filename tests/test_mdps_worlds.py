"""The shipped worlds are the maps of their sources, and their optimal plans do what the sources say."""

from importlib import resources

import numpy as np
import pytest

import mdps
from mdps import GridWorld, worlds


def test_the_paper_maps_are_figure_2():
    train, field = worlds.paper()
    want = np.zeros((10, 10), int)
    want[0:4, 2:8] = want[4:7, 3:7] = want[7:10, 4:6] = 1
    want[5, 8] = 2
    np.testing.assert_array_equal(train.terrain, want)
    want[4:7, 3:7] = 3
    np.testing.assert_array_equal(field.terrain, want)
    for grid in (train, field):
        assert grid.mdp.feature_names == ("dirt", "grass", "target", "lava") and grid.mdp.horizon == 50
        assert np.flatnonzero(grid.mdp.initial).tolist() == [51]
        assert np.flatnonzero(grid.goal).tolist() == [58]


def test_the_paper_proxy_walks_round_grass_and_through_lava():
    train, field = worlds.paper()
    proxy = train.weights(dirt=-0.1, grass=-0.5, target=1.0)
    naive = mdps.solve(field.mdp, field.mdp.reward(proxy)).policy
    assert float(mdps.visit_probability(field.mdp, naive, field.where("lava"))) == pytest.approx(1)
    assert float(mdps.visit_probability(field.mdp, naive, field.goal)) == pytest.approx(1)
    careful = mdps.solve(
        field.mdp, field.mdp.reward(field.weights(dirt=-0.1, grass=-0.5, target=1.0, lava=-9.0))
    ).policy
    assert float(mdps.visit_probability(field.mdp, careful, field.where("lava"))) == 0
    assert float(mdps.visit_probability(field.mdp, careful, field.goal)) == pytest.approx(1)


def test_distributional_shift_has_the_original_maps_and_returns():
    train, fields = worlds.distributional_shift()
    assert list(fields) == ["train", "test 1", "test 2"]
    lava = {"train": [(1, 3), (5, 3)], "test 1": [(1, 3), (2, 3)], "test 2": [(4, 3), (5, 3)]}
    for name, grid in {"no lava": train, **fields}.items():
        assert grid.mdp.feature_names == ("floor", "goal", "lava", "step") and grid.mdp.horizon == 100
        assert grid.terrain.shape == (7, 9) and grid.mdp.num_states == 5 * 7 + 1
        want = sorted((r, c + i) for r, c in lava.get(name, []) for i in range(3))
        assert [tuple(x) for x in np.argwhere(np.asarray(grid.terrain) == 2).tolist()] == want
        assert int(grid.cell[1, 7]) == int(np.flatnonzero(grid.goal)[0]) and int(np.argmax(grid.mdp.initial)) == 0
    true = train.weights(step=-1.0, goal=50.0, lava=-50.0)
    best = {name: float(mdps.solve(g.mdp, g.mdp.reward(true)).value @ g.mdp.initial) for name, g in fields.items()}
    assert best == {"train": 42, "test 1": 40, "test 2": 44}  # 50 less the moves of the shortest way round the lava


def test_path_finds_every_shipped_map_and_names_them_when_asked_for_another():
    shipped = [f.name for f in resources.files("mdps.worlds").iterdir() if f.name.endswith(".toml")]
    maps = [name[:-5] for name in shipped if "\nmap = " in worlds.path(name[:-5]).read_text()]
    assert len(maps) >= 6
    for name in maps:
        assert isinstance(GridWorld.from_toml(worlds.path(name)), GridWorld)
    with pytest.raises(ValueError, match=r"no world 'mars' is shipped; there are distributional_shift_no_lava, .*"):
        worlds.path("mars")
