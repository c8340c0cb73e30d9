"""Grid worlds: dynamics against a slow twin, goals and ends, tracing, text and TOML, bad input, pictures."""

import sys
import warnings

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdps
from mdps import GridWorld

LEGEND = {"S": "dirt", ".": "dirt", ",": "grass", "G": "target", "L": "lava"}
ROOM = """
S.,#.
.L.#G
.,...
"""


def slow_grid(text, legend, slip=0.0, terminal=(), step=False, start="S", goal="G", wall="#"):
    """Transition `[S, 4, S']`, features `[S, K]` and initial `[S]` of a map, cell by cell."""
    rows = text.strip("\n").split("\n")
    cells = [(r, c) for r, row in enumerate(rows) for c, x in enumerate(row) if x != wall]
    S = len(cells) + bool(terminal)
    names = list(dict.fromkeys(legend.values()))
    P = np.zeros((S, 4, S))
    features = np.zeros((S, len(names) + step))
    initial = np.zeros(S)
    moves = [(-1, 0), (0, 1), (1, 0), (0, -1)]
    for s, (r, c) in enumerate(cells):
        name = legend[rows[r][c]]
        features[s, names.index(name)] = 1
        initial[s] = rows[r][c] == start
        for a in range(4):
            if name in terminal:
                P[s, a, S - 1] = 1
            elif rows[r][c] == goal:
                P[s, a, s] = 1
            else:
                for turn, chance in ((0, 1 - slip), (1, slip / 2), (-1, slip / 2)):
                    dr, dc = moves[(a + turn) % 4]
                    to = (r + dr, c + dc)
                    P[s, a, cells.index(to) if to in cells else s] += chance
        if step:
            features[s, -1] = name not in terminal and rows[r][c] != goal
    if terminal:
        P[S - 1, :, S - 1] = 1
    return P, features, initial


def dense(mdp):
    """`mdp.to_dense()` in NumPy, which compiles nothing."""
    P = np.zeros((mdp.num_states, mdp.num_actions, mdp.num_states))
    next_state, probability = np.asarray(mdp.next_state), np.asarray(mdp.probability)
    for s, a, d in np.ndindex(*probability.shape):
        P[s, a, next_state[s, d]] += probability[s, a, d]
    return P


@pytest.mark.parametrize("terminal", [(), ("lava",), ("target", "lava")])
@pytest.mark.parametrize("slip", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("step", [False, True])
def test_a_grid_equals_its_slow_twin(dtype, terminal, slip, step):
    grid = GridWorld.from_text(ROOM, LEGEND, slip=slip, terminal=terminal, step=step, discount=0.9)
    P, features, initial = slow_grid(ROOM, LEGEND, slip, terminal, step)
    mdp = grid.mdp
    assert mdp.probability.dtype == mdp.features.dtype == mdp.initial.dtype == mdp.discount.dtype == dtype
    np.testing.assert_allclose(dense(mdp), P, atol=1e-7)
    np.testing.assert_array_equal(mdp.features, features)
    np.testing.assert_array_equal(mdp.initial, initial)
    assert mdp.feature_names == ("dirt", "grass", "target", "lava") + ("step",) * step
    assert mdp.next_state.shape == (len(initial), 6 if terminal else 5)
    assert mdp.predecessor_state.shape[1] == 5  # four moves in (or bumps) and staying
    assert mdp.layout.sink == (len(initial) - 1 if terminal else None)


@hypothesis.given(st.lists(st.sampled_from(".,L#"), min_size=18, max_size=18), st.floats(0, 1), st.booleans())
def test_any_map_equals_its_slow_twin_and_the_tables_transpose_each_other(cells, slip, ends):
    cells = ["S", *cells, "G"]
    text = "\n".join("".join(cells[5 * r : 5 * r + 5]) for r in range(4))
    terminal = ("lava",) if ends else ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # some of these goals are walled in
        mdp = GridWorld.from_text(text, LEGEND, slip=slip, terminal=terminal, horizon=3).mdp
    P, features, initial = slow_grid(text, LEGEND, slip, terminal)
    np.testing.assert_allclose(dense(mdp), P, atol=1e-6)
    np.testing.assert_array_equal(mdp.features, features)
    np.testing.assert_array_equal(mdp.initial, initial)
    pushed = np.zeros((len(initial), 4, len(initial)))  # the same tensor, read from the predecessor table
    probability, origins, slots = (
        np.asarray(x) for x in (mdp.probability, mdp.predecessor_state, mdp.predecessor_slot)
    )
    for (s, i), origin in np.ndenumerate(origins):
        if slots[s, i] < probability.shape[2]:
            pushed[origin, :, s] += probability[origin, :, slots[s, i]]
    if mdp.layout.sink is not None:
        pushed[:, :, mdp.layout.sink] += probability[:, :, -1]
    np.testing.assert_allclose(pushed, P, atol=1e-6)


def test_states_are_numbered_row_by_row_and_walls_have_none():
    grid = GridWorld.from_text(ROOM, LEGEND, discount=0.9)
    assert grid.cell.tolist() == [[0, 1, 2, -1, 3], [4, 5, 6, -1, 7], [8, 9, 10, 11, 12]]
    assert grid.terrain.tolist() == [[0, 0, 1, -1, 0], [0, 3, 0, -1, 2], [0, 1, 0, 0, 0]]
    assert np.flatnonzero(grid.goal).tolist() == [7]
    assert np.flatnonzero(grid.where("lava", "target")).tolist() == [5, 7]
    assert not grid.where().any()


def test_a_goal_keeps_the_agent_and_goes_on_paying():
    grid = GridWorld.from_text("S.G", LEGEND, horizon=10)
    reward = grid.mdp.reward(grid.weights(target=1.0))
    solution = mdps.solve(grid.mdp, reward)
    assert float(solution.value @ grid.mdp.initial) == 8  # two steps to get there, eight on it


def test_a_terminal_terrain_pays_once_and_steps_count_until_it_is_entered():
    grid = GridWorld.from_text("S.G", LEGEND, horizon=10, terminal=("target",), step=True)
    reward = grid.mdp.reward(grid.weights(target=50.0, step=-1.0))
    solution = mdps.solve(grid.mdp, reward)
    assert float(solution.value @ grid.mdp.initial) == 48
    assert grid.goal.tolist() == [False, False, True, False]
    assert float(mdps.visit_probability(grid.mdp, solution.policy, grid.goal)) == 1


def test_only_the_goal_cell_absorbs_not_its_terrain():
    grid = GridWorld.from_text("SgG", {"S": "dirt", "g": "target", "G": "target"}, discount=0.9)
    assert float(grid.mdp.to_dense()[1, 1, 2]) == 1


def test_a_map_may_have_no_goal_or_several():
    none = GridWorld.from_text("S..", LEGEND, discount=0.9)
    assert not none.goal.any() and none.mdp.feature_names[2] == "target"
    several = GridWorld.from_text("GSG", LEGEND, discount=0.9)
    assert several.goal.tolist() == [True, False, True]


@pytest.mark.parametrize("text", ["S.G\n,.,", "\n\n  S.G  \n  ,.,\n", "    S.G\n    ,.,", ["S.G", ",.,"]])
def test_blank_lines_indentation_and_trailing_spaces_do_not_matter(text):
    grid = GridWorld.from_text(text, LEGEND, discount=0.9)
    assert grid.terrain.tolist() == [[0, 0, 2], [1, 0, 1]]


def test_spaces_count_where_the_legend_says_so():
    grid = GridWorld.from_text([" A ", "  G"], {"A": "floor", " ": "floor", "G": "goal"}, start="A", discount=0.9)
    assert grid.terrain.shape == (2, 3)
    walls = GridWorld.from_text("A \n G\n.G", {"A": "a", ".": "a", "G": "b"}, start="A", wall=" ", horizon=1, goal=None)
    assert walls.cell.tolist() == [[0, -1], [-1, 1], [2, 3]]


def test_slip_and_discount_may_be_traced_and_differentiated(x64):
    def value(slip, discount):
        grid = GridWorld.from_text(ROOM, LEGEND, slip=slip, discount=discount)
        reward = grid.mdp.reward(grid.weights(target=1.0, lava=-1.0))
        return mdps.solve(grid.mdp, reward).value @ grid.mdp.initial

    got = jax.jit(jax.grad(value, argnums=(0, 1)))(0.2, 0.9)
    h = 1e-5
    want = (
        (value(0.2 + h, 0.9) - value(0.2 - h, 0.9)) / (2 * h),
        (value(0.2, 0.9 + h) - value(0.2, 0.9 - h)) / (2 * h),
    )
    np.testing.assert_allclose(got, want, rtol=1e-4)


def test_maps_can_be_drawn_inside_jit_and_vmap_with_one_compile_and_shared_tables():
    traces = []
    walls = np.zeros((5, 6), bool)
    walls[2, 1:3] = True
    names = ("dirt", "grass", "target", "lava")

    def draw(key):
        where, what = jax.random.split(key)
        free = jnp.asarray(np.flatnonzero(~walls))
        start, goal = jax.random.choice(where, free, (2,), replace=False)
        terrain = jax.random.randint(what, (5, 6), 0, 2).at[goal // 6, goal % 6].set(2).at[0, 3].set(3)
        return terrain, start, (goal // 6, goal % 6)

    def value(key, slip):
        terrain, start, goal = draw(key)
        grid = GridWorld.from_terrain(
            terrain, names, start=start, goal=goal, walls=walls, slip=slip, discount=0.9, terminal=("lava",), step=True
        )
        traces.append([jax.typeof(x).shape for x in (grid.mdp.next_state, grid.mdp.predecessor_state)])
        batched = type(key)  # the tracer of what is mapped
        assert not any(
            isinstance(x, batched) for x in (grid.mdp.next_state, grid.mdp.predecessor_state, grid.mdp.predecessor_slot)
        )
        assert isinstance(grid.mdp.probability, batched) and isinstance(grid.terrain, batched)
        reward = grid.mdp.reward(grid.weights(target=1.0, grass=-0.2, lava=-3.0, step=-0.1))
        return mdps.solve(grid.mdp, reward).value @ grid.mdp.initial

    run = jax.jit(jax.vmap(value))
    keys, slips = jax.random.split(jax.random.key(0), 8), jnp.linspace(0.0, 0.5, 8)
    run(jax.random.split(jax.random.key(1), 8), slips)
    got = run(keys, slips)
    assert len(traces) == 1
    for i in range(3):
        terrain, start, (row, column) = draw(keys[i])
        text = [["#" if walls[r, c] else ".,xL"[int(terrain[r, c])] for c in range(6)] for r in range(5)]
        under_start = "dirt" if text[start // 6][start % 6] == "." else names[".,xL".index(text[start // 6][start % 6])]
        text[start // 6][start % 6] = "S"
        under_goal = names[int(terrain[row, column])]
        text[row][column] = "G"
        legend = {".": "dirt", ",": "grass", "x": "target", "L": "lava", "S": under_start, "G": under_goal}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            same = GridWorld.from_text(
                ["".join(row) for row in text], legend, slip=slips[i], discount=0.9, terminal=("lava",), step=True
            )
        reward = same.mdp.reward(same.weights(target=1.0, grass=-0.2, lava=-3.0, step=-0.1))
        want = mdps.solve(same.mdp, reward).value @ same.mdp.initial
        np.testing.assert_allclose(got[i], want, rtol=1e-4, atol=1e-5)


def test_a_batch_of_grids_can_leave_vmap_and_be_taken_apart():
    def build(terrain):
        return GridWorld.from_terrain(terrain, ("a", "b"), start=(0, 0), goal=None, discount=0.5)

    terrains = jnp.asarray([[[0, 1]], [[1, 0]]])
    grids = jax.vmap(build)(terrains)
    assert grids.terrain.shape == (2, 1, 2)
    assert jax.vmap(lambda g: g.where("b"))(grids).tolist() == [[False, True], [True, False]]
    one = jax.tree.map(lambda x: x[1], grids)
    assert one.show().startswith("S a")
    with pytest.raises(ValueError, match="batch of grids"):
        grids.show()


def test_starts_and_goals_in_every_spelling_are_the_same():
    terrain = np.zeros((3, 4), int)
    mask = np.zeros((3, 4), bool)
    mask[2, 1] = True
    grids = [
        GridWorld.from_terrain(terrain, ("a",), start=start, goal=goal, discount=0.5)
        for start, goal in [((1, 2), (2, 1)), (6, 9), (jnp.asarray([1, 2]), jnp.asarray(9)), (np.int64(6), mask)]
    ]
    for grid in grids[1:]:
        jax.tree.map(np.testing.assert_array_equal, grids[0], grid)
    assert np.flatnonzero(grids[0].mdp.initial).tolist() == [6] and np.flatnonzero(grids[0].goal).tolist() == [9]
    traced = jax.jit(lambda s, g: GridWorld.from_terrain(terrain, ("a",), start=s, goal=g, discount=0.5))
    for start, goal in [((1, 2), (2, 1)), (6, 9), (jnp.asarray([1, 2]), mask)]:
        jax.tree.map(np.testing.assert_array_equal, grids[0], traced(start, goal))


def test_several_starts_are_equally_likely_and_another_distribution_takes_their_place(x64):
    text = ["S.#S", "..S.", "G..."]
    grid = GridWorld.from_text(text, LEGEND, discount=0.9, terminal=("lava",))
    want = np.zeros(12)
    want[[0, 2, 5]] = 1 / 3
    np.testing.assert_array_equal(grid.mdp.initial, want)
    share = np.where(np.array([list(row) for row in text]) == "S", 0.25, 0.0)
    share[2, 3] = 0.25
    by_cell = GridWorld.from_text(text, LEGEND, discount=0.9, terminal=("lava",), initial=share)
    by_state = GridWorld.from_text(
        ["..#.", "....", "G..."], LEGEND, discount=0.9, terminal=("lava",), initial=by_cell.mdp.initial
    )
    want[[0, 2, 5, 10]] = 0.25
    np.testing.assert_array_equal(by_cell.mdp.initial, want)
    np.testing.assert_array_equal(by_state.mdp.initial, want)
    solution = mdps.solve(grid.mdp, grid.mdp.reward(grid.weights(target=1.0)))
    from_each = [0.9**2, 0.9**5, 0.9**3]  # over the steps to the goal, which then pays for ever
    np.testing.assert_allclose(grid.mdp.initial @ solution.value, np.mean(from_each) / 0.1, atol=1e-6)


def test_starts_may_be_drawn_inside_jit():
    terrain = np.zeros((2, 3), int)
    build = lambda **begin: GridWorld.from_terrain(terrain, ("a",), goal=None, discount=0.5, **begin).mdp.initial  # noqa: E731
    mask = np.array([[True, False, False], [False, True, True]])
    share = np.array([[0.5, 0.25, 0.0], [0.25, 0.0, 0.0]])
    np.testing.assert_allclose(jax.jit(lambda x: build(start=x))(mask), mask.ravel() / 3, rtol=1e-6)
    np.testing.assert_array_equal(jax.jit(lambda x: build(initial=x))(share), share.ravel())
    assert not jax.jit(lambda x: build(start=x))((5, 0)).any()  # off the map, unchecked: nowhere


def test_emissions_give_any_features_to_a_terrain():
    table = {"dirt": [0.0, 1.0], "grass": [1.0, 1.0], "target": [2.0, 0.0], "lava": [2.0, 5.0]}
    named = GridWorld.from_text("S,GL", LEGEND, discount=0.9, emissions=table, feature_names=("red", "blue"))
    assert named.mdp.features.tolist() == [[0, 1], [1, 1], [2, 0], [2, 5]]
    assert named.weights(blue=2.0).tolist() == [0, 2] and named.names == ("dirt", "grass", "target", "lava")
    array = np.array(list(table.values()))
    stepped = GridWorld.from_text("S,GL", LEGEND, discount=0.9, emissions=array, step=True, terminal=("lava",))
    assert stepped.mdp.feature_names == ("feature 0", "feature 1", "step")
    assert stepped.mdp.features.tolist() == [[0, 1, 1], [1, 1, 1], [2, 0, 0], [2, 5, 0], [0, 0, 0]]
    traced = jax.jit(lambda e: GridWorld.from_text("S,GL", LEGEND, discount=0.9, emissions=e).mdp.features)(array)
    np.testing.assert_array_equal(traced, array)


def test_weights_are_by_name_and_may_be_traced():
    grid = GridWorld.from_text("S.G", {"S": "dirt", ".": "tall grass", "G": "target"}, discount=0.9, step=True)
    assert grid.weights().tolist() == [0, 0, 0, 0]
    assert grid.weights({"tall grass": -0.5}, step=2.0).tolist() == [0, -0.5, 0, 2]
    jacobian = jax.jacobian(lambda x: grid.weights({"tall grass": x}, target=3 * x))(1.0)
    assert jacobian.tolist() == [0, 1, 3, 0]
    with pytest.raises(ValueError, match=r"no feature 'lava'.*'dirt', 'tall grass', 'target', 'step'"):
        grid.weights(lava=1.0)
    with pytest.raises(ValueError, match=r"no terrain 'step'.*'dirt', 'tall grass', 'target'"):
        grid.where("step")


# --- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "legend", "settings", "message"),
    [
        ("S.G\n.?.", LEGEND, {}, r"line 2, column 2 .* is '\?'.*knows 'S', '\.', ',', 'G', 'L' and the wall '#'"),
        ("\n\n  S.G\n  ..x\n", LEGEND, {}, "line 2, column 3 of the map is 'x'"),
        ("S.\tG", LEGEND, {}, r"line 1, column 3 of the map is '\\t'"),
        ("S.#", LEGEND, {"wall": None}, "line 1, column 3 of the map is '#'"),
        ("", LEGEND, {}, "map is empty"),
        (" \n\n", LEGEND, {}, "map is empty"),
        ("S..\n.G", LEGEND, {}, "ragged: line 2 has 2 characters, line 1 has 3"),
        ("S..\n\n..G", LEGEND, {}, "ragged: line 2 has 0 characters"),
        ("..G", LEGEND, {}, "no start cell 'S'; it needs at least one, or initial"),
        ("S.G", LEGEND, {"initial": [1.0, 0.0]}, r"initial has shape \(2,\); .*\[1, 3\], or per state, \[3\]"),
        ("S.G", LEGEND, {"initial": [0.5, 0.4, 0.0]}, r"initial sums to 0.9"),
        ("S#G", LEGEND, {"initial": [[0.5, 0.5, 0.0]]}, "initial is 0.5 at row 0, column 1, which is a wall"),
        ("S.G", {}, {}, "legend is empty"),
        ("S.G", {"S": "dirt", ".": "", "G": "target"}, {}, "non-empty string"),
        ("S.G", {"S": "dirt", "..": "dirt", "G": "target"}, {}, "exactly one"),
        ("S.G", LEGEND, {"start": "SS"}, "start holds 'SS'"),
        ("S.G", LEGEND, {"goal": "S"}, "start and goal are both 'S'"),
        ("S.G", LEGEND, {"wall": "."}, "wall '.' is also"),
        ("S.G", LEGEND, {"slip": -0.1}, r"slip is -0.1.*\[0, 1\]"),
        ("S.G", LEGEND, {"slip": 1.1}, "slip is 1.1"),
        ("S.G", LEGEND, {"slip": float("nan")}, "slip is nan"),
        ("S.G", LEGEND, {"discount": 1.0}, "without a horizon"),
        ("S.G", LEGEND, {"discount": 1.5}, "discount is 1.5"),
        ("S.G", LEGEND, {"discount": -0.5, "horizon": 3}, "discount is -0.5"),
        ("S.G", LEGEND, {"horizon": 0}, "horizon is 0"),
        ("S.G", LEGEND, {"horizon": 2.5}, "horizon is 2.5"),
        ("S.G", LEGEND, {"terminal": ("water",)}, "terminal names 'water'.*'dirt', 'grass', 'target', 'lava'"),
        ("S.G", LEGEND, {"terminal": "lava"}, "in a tuple"),
        ("S.G", {**LEGEND, "s": "step"}, {"step": True}, "bears that name"),
        ("S.G", LEGEND, {"feature_names": ("a", "b", "c", "d")}, "goes with emissions"),
        ("S.G", LEGEND, {"emissions": np.zeros((3, 2))}, r"must be \[4, K\]"),
        ("S.G", LEGEND, {"emissions": np.full((4, 2), np.nan)}, "emissions is nan"),
        ("S.G", LEGEND, {"emissions": np.zeros((4, 2)), "feature_names": ("a", "a")}, "distinct"),
        ("S.G", LEGEND, {"emissions": {"dirt": [1.0], "mud": [1.0]}}, "'target', 'lava' missing and 'mud' unknown"),
        ("S.G", LEGEND, {"emissions": {name: [0.0] * len(name) for name in LEGEND.values()}}, "same number"),
    ],
)  # fmt: skip
def test_bad_maps_and_settings_say_what_is_wrong(text, legend, settings, message):
    with pytest.raises(ValueError, match=message):
        GridWorld.from_text(text, legend, **{"discount": 0.9, **settings})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"terrain": np.zeros((2, 2))}, "whole numbers"),
        ({"terrain": np.zeros(4, int)}, r"must be \[H, W\]"),
        ({"terrain": np.zeros((0, 3), int)}, "at least one cell"),
        ({"terrain": np.array([[0, 1], [2, 0]])}, "terrain is 2 at row 1, column 0; with 2 names it must lie in 0..1"),
        ({"terrain": np.array([[0, -1], [1, 0]])}, "terrain is -1 at row 0, column 1.*mark walls"),
        ({"names": ("a", "a")}, "distinct"),
        ({"names": ()}, "distinct, non-empty"),
        ({"names": "ab"}, "sequences of terrain names"),
        ({"start": (2, 0)}, "start is row 2, column 0; the map has 2 rows and 2 columns"),
        ({"start": (0, -1)}, "start is row 0, column -1"),
        ({"start": (0.0, 1.0)}, "start is float64"),
        ({"start": (0, 1, 2)}, r"shape \(3,\)"),
        ({"start": None}, r"give start .* or initial .*, one of the two"),
        ({"initial": [[1.0, 0.0], [0.0, 0.0]]}, r"give start .* or initial .*, one of the two"),
        ({"start": np.zeros((2, 2), bool)}, "start marks no cell"),
        ({"start": np.ones((2, 2), bool)}, "a start stands on a wall"),
        ({"start": (0, 1)}, r"start \(row 0, column 1\) stands on a wall"),
        ({"goal": 1}, r"goal \(row 0, column 1\) stands on a wall"),
        ({"goal": np.array([[False, True], [False, False]])}, "goal stands on a wall"),
        ({"walls": np.zeros((2, 3), bool)}, "boolean mask"),
        ({"walls": np.zeros((2, 2), int)}, "boolean mask"),
        ({"walls": np.ones((2, 2), bool)}, "every cell is a wall"),
    ],
)
def test_bad_arrays_say_what_is_wrong(changes, message):
    good = {"terrain": np.zeros((2, 2), int), "names": ("a", "b"), "start": (0, 0), "goal": None}
    good["walls"] = np.array([[False, True]] * 2)
    arguments = {**good, **({"walls": None} if "terrain" in changes else {}), **changes}
    with pytest.raises(ValueError, match=message):
        GridWorld.from_terrain(arguments.pop("terrain"), arguments.pop("names"), discount=0.5, **arguments)


def test_walls_cannot_be_traced():
    terrain = np.zeros((2, 2), int)
    with pytest.raises(TypeError, match="walls is traced"):
        jax.jit(lambda w: GridWorld.from_terrain(terrain, ("a",), start=0, goal=None, walls=w, discount=0.5))(
            terrain == 1
        )


@pytest.mark.parametrize(
    ("text", "terminal", "where"),
    [("S#G", (), "row 0, column 2"), ("SLG", ("lava",), "row 0, column 2"), ("SGG", (), "row 0, column 2")],
)
def test_a_goal_that_cannot_be_reached_is_warned_of(text, terminal, where):
    with pytest.warns(UserWarning, match=f"goal at {where} cannot be reached"):
        GridWorld.from_text(text, LEGEND, discount=0.9, terminal=terminal)
    with pytest.warns(UserWarning, match="cannot be reached"):
        GridWorld.from_terrain(
            np.zeros((1, 3), int), ("a",), start=0, goal=2, walls=np.array([[False, True, False]]), discount=0.9
        )


def test_a_goal_behind_harmless_lava_or_under_the_start_is_not_warned_of():
    GridWorld.from_text("SLG", LEGEND, discount=0.9)  # warnings are errors
    GridWorld.from_terrain(np.zeros((1, 3), int), ("a",), start=0, goal=0, discount=0.9)


# --- TOML --------------------------------------------------------------------------------------------------------

FILE = """
title = "A room"
map = '''
S.,#.
.L.#G
.,...
'''
slip = 0.25
discount = 0.9
terminal = ["lava"]
step = true
[legend]
S = "dirt"
"." = "dirt"
"," = "grass"
G = "target"
L = "lava"
"""


def test_a_map_file_holds_the_arguments_of_from_text(tmp_path):
    path = tmp_path / "room.toml"
    path.write_text(FILE)
    want = GridWorld.from_text(ROOM, LEGEND, slip=0.25, discount=0.9, terminal=("lava",), step=True)
    for name in (path, str(path)):
        got = GridWorld.from_toml(name)
        assert jax.tree.structure(got) == jax.tree.structure(want)
        jax.tree.map(np.testing.assert_array_equal, got, want)


def test_a_map_file_may_name_everything(tmp_path):
    path = tmp_path / "all.toml"
    path.write_text(
        'map = "@o*%"\nstart = "@"\ngoal = "*"\nwall = "%"\nhorizon = 4\nfeature_names = ["x", "y"]\nnotes = "n"\n'
        '[legend]\n"@" = "a"\no = "b"\n"*" = "a"\n[emissions]\na = [1, 0.5]\nb = [0, 2]\n'
    )
    grid = GridWorld.from_toml(path)
    assert grid.mdp.horizon == 4 and grid.mdp.feature_names == ("x", "y")
    assert grid.mdp.features.tolist() == [[1, 0.5], [0, 2], [1, 0.5]]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("map = ", "mop = ", "unknown key 'mop'; a map file may hold map, legend,"),
        ("[legend]", "[legends]", "unknown key 'legends'"),
        ("slip = 0.25", 'slip = "a bit"', "slip is 'a bit'; it must be a probability"),
        ("slip = 0.25", "slip = true", "slip is True"),
        ("slip = 0.25", "slip = 2.5", "slip is 2.5"),
        ("step = true", "step = 1", "step is 1; it must be true or false"),
        ("discount = 0.9", "", "without a horizon"),
        ("discount = 0.9", "horizon = 3.5", "horizon is 3.5; it must be a whole number"),
        ("discount = 0.9", "discount = ", "not valid TOML"),
        ('["lava"]', '["mud"]', "terminal names 'mud'"),
        (".L.#G", ".M.#G", "line 2, column 2 of the map is 'M'"),
    ],
)
def test_bad_map_files_name_the_file_and_the_key(tmp_path, old, new, message):
    path = tmp_path / "bad.toml"
    path.write_text(FILE.replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as raised:
        GridWorld.from_toml(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("key", ["map", "legend"])
def test_a_map_file_without_map_or_legend(tmp_path, key):
    path = tmp_path / "bad.toml"
    path.write_text("discount = 0.5\n" + ('map = "S"' if key == "legend" else '[legend]\nS = "a"'))
    with pytest.raises(ValueError, match=f"the key '{key}' is missing"):
        GridWorld.from_toml(path)
    with pytest.raises(FileNotFoundError):
        GridWorld.from_toml(tmp_path / "none.toml")


# --- what policies look like -------------------------------------------------------------------------------------


def test_show_prints_terrain_letters_and_arrows_with_ties():
    grid = GridWorld.from_text("S.,\n#.G", LEGEND, discount=0.9)
    assert grid.show() == "S d g\n# d G\nd dirt, g grass, t target, l lava; S start, G goal, # wall"
    policy = np.zeros((5, 4))
    policy[0, 1] = policy[1, 2] = 1
    policy[2] = policy[3] = 0.25
    policy[3, :] = [0, 0.5, 0.5, 0]
    assert grid.show(policy).splitlines() == [
        "S→*d↓*g┼",
        "## d┌*G",  # of tied ones it keeps to its direction, down, into the wall
        "d dirt, g grass, t target, l lava; S start, G goal, # wall, * likeliest path",
        "arrows: likeliest actions, tied ones joined: └ up or right, ┼ any",
    ]
    # By step: from the start to the right, and once there up: on the path what is done there, elsewhere the first step.
    later = policy.copy()
    later[1] = [1, 0, 0, 0]
    stepwise = grid.show(np.stack([policy, later])).splitlines()
    assert stepwise[:2] == ["S→*d↑*g┼", "## d┌ G"] and "likeliest actions (first step)" in stepwise[-1]
    with pytest.raises(ValueError, match=r"policy has shape \(4, 4\)"):
        grid.show(policy[:4])
    with pytest.raises(TypeError, match="outside jit"):
        jax.jit(lambda p: grid.show(p))(policy)
    with pytest.raises(ValueError, match="policy is NaN in 1 of"):
        grid.show(jnp.asarray(policy).at[..., 0, 0].set(jnp.nan))


def test_terrains_of_one_first_letter_get_letters_of_their_own():
    grid = GridWorld.from_text("Sabc", {"S": "grass", "a": "gravel", "b": "gg", "c": "rack"}, horizon=1)
    assert grid.show().splitlines() == ["S r a c", "g grass, r gravel, a gg, c rack; S start"]


def test_the_most_likely_path_follows_the_policy_on_the_host():
    grid = GridWorld.from_text("S..\n.LG", LEGEND, slip=0.2, discount=0.9)
    policy = mdps.solve(grid.mdp, grid.mdp.reward(grid.weights(target=1.0, lava=-5.0))).policy
    assert grid.most_likely_path(policy, 10) == [(0, 0), (0, 1), (0, 2), (1, 2)]
    assert grid.most_likely_path(policy, 2) == [(0, 0), (0, 1), (0, 2)]
    timed = GridWorld.from_text("S..\n.LG", LEGEND, horizon=3, terminal=("lava",))
    down_then_right = np.zeros((3, 7, 4))
    down_then_right[0, :, 2] = down_then_right[1:, :, 1] = 1
    assert timed.most_likely_path(down_then_right, 10) == [(0, 0), (1, 0), (1, 1)]
    with pytest.raises(ValueError, match="policy has shape"):
        grid.most_likely_path(policy[:3], 2)
    with pytest.raises(TypeError, match="cannot be traced"):
        jax.jit(lambda p: grid.most_likely_path(p, 2))(policy)


def test_every_start_has_its_path():
    grid = GridWorld.from_text("S.GS\n..#.", LEGEND, discount=0.9)
    policy = mdps.solve(grid.mdp, grid.mdp.reward(grid.weights(target=1.0))).policy
    assert grid.most_likely_paths(policy, 9) == [[(0, 0), (0, 1), (0, 2)], [(0, 3), (0, 2)]]
    assert grid.most_likely_path(policy, 9) == [(0, 0), (0, 1), (0, 2)]
    assert grid.most_likely_path(policy, 9, start=(1, 1)) == [(1, 1), (0, 1), (0, 2)]
    for cell in ((1, 2), (0, 4), (-1, 0)):
        with pytest.raises(ValueError, match=f"start is row {cell[0]}, column {cell[1]}, which is no open cell"):
            grid.most_likely_path(policy, 9, start=cell)
    assert grid.show().splitlines()[0] == "S d G S"
    assert grid.show(policy).splitlines()[:2] == ["S→*d→*G *S←*", "d└ d↑ ## d↑"]
    many = GridWorld.from_text(["....", "....", "...G"], LEGEND, discount=0.9, initial=np.full((3, 4), 1 / 12))
    assert many.show().splitlines()[2:] == [
        "d d d G",
        "d dirt, g grass, t target, l lava; runs begin in 12 of 12 cells, G goal",
    ]


def test_a_tied_path_keeps_its_direction():
    grid = GridWorld.from_text("S..\n...\n..G", LEGEND, discount=0.9)
    policy = mdps.solve(grid.mdp, grid.mdp.reward(grid.weights(target=1.0))).policy
    assert grid.most_likely_path(policy, 9) == [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2)]


def test_pictures_show_terrain_policy_paths_and_values(tmp_path):
    plt = pytest.importorskip("matplotlib.pyplot")
    grid = GridWorld.from_text(ROOM, LEGEND, slip=0.1, discount=0.9, terminal=("lava",))
    solution = mdps.solve(grid.mdp, grid.mdp.reward(grid.weights(target=1.0, lava=-5.0)))
    path = grid.most_likely_path(solution.policy, 20)
    ax = grid.plot(solution.policy, trajectories={"literal": path, "careful": path[:3]}, title="A room")
    assert ax.get_title() == "A room"
    named = [text.get_text() for text in ax.get_legend().get_texts()]
    assert named == [
        *("dirt", "grass", "target", "lava", "wall", "start", "goal", "likeliest action", "literal", "careful")
    ]
    assert {"S", "G"} <= {text.get_text() for text in ax.texts}
    ax.figure.savefig(tmp_path / "map.png")
    heat = grid.plot(values=solution.value, value_label="expected return", legend=False)
    assert heat.get_legend() is None
    heat.figure.savefig(tmp_path / "values.png")
    _, axes = plt.subplots(1, 2)
    assert grid.plot(trajectories=[path], ax=axes[0]) is axes[0]
    grid.plot(values=np.zeros((3, 5)), ax=axes[1])
    plt.close("all")
    for name in ("map.png", "values.png"):
        assert (tmp_path / name).stat().st_size > 5000
    with pytest.raises(ValueError, match="values has shape"):
        grid.plot(values=np.zeros(3))
    with pytest.raises(ValueError, match="trajectory has shape"):
        grid.plot(trajectories=[[1.0, 2.0, 3.0]])
    states = [int(grid.cell[cell]) for cell in path]
    by_state = grid.plot(trajectories={"walk": np.array([*states, grid.mdp.num_states - 1])}, legend=False)
    by_cell = grid.plot(trajectories={"walk": path}, legend=False)
    np.testing.assert_array_equal(by_state.lines[0].get_xydata(), by_cell.lines[0].get_xydata())
    two = GridWorld.from_text("S.GS", LEGEND, discount=0.9)
    paths = two.most_likely_paths(np.eye(4)[[1, 1, 1, 3]], 5)
    both = two.plot(trajectories={"there": paths, "here": paths[0]})
    drawn = [line.get_xydata()[:, 0] for line in both.lines if len(line.get_xydata()) > 1]
    assert sorted(len(x) for x in drawn) == [2, 3, 3]
    assert [text.get_text() for text in both.get_legend().get_texts()] == [
        *("dirt", "target", "start", "goal", "there", "here")
    ]
    assert [text.get_text() for text in both.texts].count("S") == 2
    own = two.plot(np.eye(4)[[1, 1, 1, 3]])  # both paths, unasked
    assert [line.get_xydata()[:, 0].tolist() for line in own.lines if len(line.get_xydata()) > 1] == [[0, 1, 2], [3, 2]]
    assert "likeliest path" in [text.get_text() for text in own.get_legend().get_texts()]
    with pytest.raises(ValueError, match="trajectory is ragged"):
        two.plot(trajectories=[[(0, 0), (0, 1, 2)]])
    plt.close("all")


def test_no_two_terrains_are_drawn_in_shades_of_one_colour():
    from mdps.gridworld import _plots

    hues = {colour: hue for hue, colour in (*_plots._TERRAIN_COLOURS.values(), *_plots._OTHER_COLOURS)}
    for names in (
        ("dirt", "grass", "target", "lava", "water", "sand", "goal", "floor", "ice"),
        ("carpet", "tile", "cable", "glass", "charger"),
        tuple("abcdefghijk"),
    ):
        colours = _plots.terrain_colours(names)
        assert len({hues[colour] for colour in colours}) == len(names)
    assert _plots.terrain_colours(("dirt", "sand"))[0] == _plots.terrain_colours(("sand", "dirt"))[0]
    many = _plots.terrain_colours(tuple(map(str, range(15))))
    assert len(set(many)) == 15


def test_paths_are_set_apart_only_where_they_share_a_way():
    plt = pytest.importorskip("matplotlib.pyplot")
    grid = GridWorld.from_text("S..\n...\n..G", LEGEND, discount=0.9)
    over, under = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2)], [(0, 0), (1, 0), (2, 0), (2, 1), (2, 2)]
    ax = grid.plot(trajectories={"over": over, "under": under})
    np.testing.assert_array_equal(ax.lines[0].get_xydata()[:, ::-1], over)  # they meet at the ends alone
    ax = grid.plot(trajectories={"over": over, "back": over[1::-1]})
    off = ax.lines[0].get_xydata()[:, ::-1] - np.array(over)
    np.testing.assert_allclose(off[:2], -0.055)
    np.testing.assert_array_equal(off[2:], 0)
    plt.close("all")


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    grid = GridWorld.from_text("S.G", LEGEND, discount=0.9)
    with pytest.raises(ImportError, match=r"inverse-reward-design\[plot\]"):
        grid.plot()
