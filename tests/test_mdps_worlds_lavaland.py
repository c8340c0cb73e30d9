"""The Lavaland generator: its shares, its independence, and the search for a lava-free path."""

import jax
import networkx as nx
import numpy as np
import pytest

from mdps import GridWorld
from mdps.worlds.lavaland import GENERATOR, Lavaland, lava_free_path


@pytest.fixture(scope="module")
def fields():
    return jax.jit(jax.vmap(Lavaland().field))(jax.random.split(jax.random.key(11), 400))


def share(grids, name):
    return np.asarray(jax.jit(jax.vmap(lambda grid: grid.where(name)))(grids)).mean()


def test_the_shipped_generator_is_the_default():
    assert Lavaland.from_toml(GENERATOR) == Lavaland()


def test_fields_hold_five_per_cent_lava_and_training_maps_none(fields):
    assert abs(share(fields, "lava") - 0.05) < 1e-6
    trains = jax.jit(jax.vmap(Lavaland().train))(jax.random.split(jax.random.key(12), 50))
    assert share(trains, "lava") == 0
    # Thirty cells of grass, less the hundredth that the target takes.
    assert abs(share(trains, "grass") - 0.297) < 0.003


def test_the_share_of_lava_may_be_traced():
    shares = np.array([0.0, 0.02, 0.05, 0.125, 0.3, 0.98])
    key = jax.random.key(15)
    traced = jax.jit(jax.vmap(lambda share: Lavaland().field(key, lava=share).terrain))(jax.numpy.asarray(shares))
    for terrain, lava in zip(traced, shares, strict=True):
        np.testing.assert_array_equal(terrain, Lavaland(lava=float(lava)).field(key).terrain)
        assert (np.asarray(terrain) == 3).sum() == round(100 * lava)
    with pytest.raises(ValueError, match=r"lava is 1\.2; it is a share"):
        Lavaland().field(key, lava=1.2)


def test_every_map_has_one_target_apart_from_its_start(fields):
    goal = np.asarray(fields.goal)
    start = np.asarray(fields.mdp.initial) > 0
    assert (goal.sum(axis=1) == 1).all() and (start.sum(axis=1) == 1).all()
    assert not (goal & start).any()
    lava = np.asarray(jax.vmap(lambda grid: grid.where("lava"))(fields))
    assert not (lava & start).any()


def test_terrain_comes_in_patches():
    """Neighbours are alike more often than the shares alone would make them."""
    trains = jax.jit(jax.vmap(Lavaland().train))(jax.random.split(jax.random.key(13), 200))
    terrain = np.asarray(trains.terrain)
    alike = (terrain[:, 1:] == terrain[:, :-1]).mean()
    assert alike > 0.7**2 + 0.3**2 + 0.05  # 0.58 without patches; the standard error is 0.004


def test_a_batch_of_maps_shares_one_successor_table():
    def table_rank(key):
        grid = Lavaland().field(key)
        return grid.mdp.next_state.ndim, isinstance(grid.mdp.next_state, jax.core.Tracer)

    seen = []
    jax.vmap(lambda key: seen.append(table_rank(key)) or 0)(jax.random.split(jax.random.key(0), 2))
    assert seen == [(2, False)]


def test_lava_free_path_agrees_with_a_graph_search(fields):
    lakes = Lavaland(lava=0.45)  # enough lava that many maps have no way through
    grids = jax.jit(jax.vmap(lakes.field))(jax.random.split(jax.random.key(14), 60))
    found = np.asarray(jax.jit(jax.vmap(lava_free_path))(grids))
    terrain, start, goal = (np.asarray(x) for x in (grids.terrain, grids.mdp.initial, grids.goal))
    for i in range(60):
        graph = nx.grid_2d_graph(10, 10)
        graph.remove_nodes_from([tuple(c) for c in np.argwhere(terrain[i] == 3)])
        start_cell, goal_cell = divmod(int(start[i].argmax()), 10), divmod(int(goal[i].argmax()), 10)
        assert found[i] == nx.has_path(graph, start_cell, goal_cell)
    assert 0 < found.mean() < 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"lava": 1.5}, r"lava is 1\.5"),
        ({"grass": -0.1}, r"grass is -0\.1"),
        ({"height": 1}, "too small"),
        ({"horizon": 0}, "horizon is 0"),
    ],
)
def test_bad_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        Lavaland(**setting)


def test_an_unknown_key_in_the_file_is_named(tmp_path):
    file = tmp_path / "generator.toml"
    file.write_text("water = 0.1\n")
    with pytest.raises(ValueError, match=r"generator\.toml: water is not a setting"):
        Lavaland.from_toml(file)


def test_a_wall_of_lava_leaves_no_path():
    grid = GridWorld.from_text("S.\nLL\n.G", {"S": "dirt", ".": "dirt", "L": "lava", "G": "target"}, horizon=5)
    assert not bool(lava_free_path(grid))
