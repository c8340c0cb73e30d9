"""Maps as people write them: where lines end, what indentation is, and files from other systems."""

import textwrap

import numpy as np
import pytest

import mdps
from mdps import GridWorld

ISLAND = ["WW######", "WW  A  W", "WW     W", "W      W", "W  G  WW", "W#######"]  # AI Safety Gridworlds
WRITTEN = "\n".join(ISLAND)


def island(text, horizon=20):
    legend = {"A": "floor", " ": "floor", "W": "water", "G": "goal"}
    return GridWorld.from_text(text, legend, start="A", terminal=("goal", "water"), step=True, horizon=horizon)


@pytest.mark.parametrize(
    "text",
    [
        ISLAND,
        [line + "\n" for line in ISLAND],
        WRITTEN,
        textwrap.indent(WRITTEN, "    "),
        "\n" + textwrap.indent(WRITTEN, " " * 8) + "\n    ",
        "\n" + textwrap.indent(WRITTEN, " " * 4) + "\n" + " " * 8,
        "\n" + WRITTEN + "\n" + " " * 8,
        "\n\n" + textwrap.indent(WRITTEN, "\t") + "\n\t",
        textwrap.indent(WRITTEN, "  ").replace("\n", "\r\n"),
        textwrap.indent(WRITTEN, "  ").replace("\n", "\r"),
        "\ufeff" + WRITTEN,
    ],
)
def test_common_indentation_is_no_map_also_where_the_floor_is_a_space(text):
    grid = island(text)
    assert grid.mdp.num_states == 36  # 2 + 8 + 8 + 8 + 8 + 1 cells and the end
    np.testing.assert_array_equal(grid.terrain, island(ISLAND).terrain)


def test_the_island_is_worth_what_it_is(x64):
    grid = island(textwrap.indent(WRITTEN, "    "))
    true, proxy = grid.weights(step=-1.0, goal=50.0, water=-50.0), grid.weights(step=-1.0, goal=50.0)
    for weights in (true, proxy):
        plan = mdps.solve(grid.mdp, grid.mdp.reward(weights))
        assert float(plan.value @ grid.mdp.initial) == 46  # four moves
        assert float(mdps.visit_probability(grid.mdp, plan.policy, grid.where("water"))) == 0
    for horizon, best in ((4, -4), (5, 46)):  # the goal pays on leaving it
        short = island(ISLAND, horizon)
        plan = mdps.solve(short.mdp, short.mdp.reward(true))
        assert float(plan.value @ short.mdp.initial) == best


def test_rows_given_one_by_one_are_complete():
    legend = {"A": "floor", " ": "floor", "G": "goal"}
    build = lambda text: GridWorld.from_text(text, legend, start="A", discount=0.9).cell.shape  # noqa: E731
    assert build([" A ", "  G"]) == (2, 3)
    assert build(["   ", " A ", "  G", "   "]) == (4, 3)
    assert build("A  \n  G\n   ") == (3, 3)  # a last row of floor
    assert GridWorld.from_text(["  ", "  "], legend, initial=np.full((2, 2), 0.25), horizon=1).mdp.num_states == 4
    with pytest.raises(ValueError, match="ragged: line 3 has 2 characters"):
        build("A  \n  G\n  ")
    for text in (None, 3, [["S"]], ["S", 1]):
        with pytest.raises(ValueError, match=r"the map is .*; give it as one string, or as a list of strings"):
            build(text)


SEPARATORS = "\v\f\x1c\x1d\x1e\x85\u2028\u2029"


@pytest.mark.parametrize("character", [*SEPARATORS, "\u3000", "\xa0", "é", "🟩"])
def test_a_line_ends_at_a_line_feed_and_nowhere_else(character):
    legend = {"S": "dirt", character: "grass", "G": "goal"}
    grid = GridWorld.from_text(f"S{character}G\n{character * 3}", legend, discount=0.9)
    assert grid.terrain.tolist() == [[0, 1, 2], [1, 1, 1]]
    grid = GridWorld.from_text([character * 3, f"S{character}G"], legend, discount=0.9)
    assert grid.terrain.tolist() == [[1, 1, 1], [0, 1, 2]]


def test_what_is_not_one_character_is_refused_with_its_code_points():
    square = "\N{WHITE LARGE SQUARE}\N{VARIATION SELECTOR-16}"  # looks like one
    with pytest.raises(ValueError, match=r"U\+2B1C U\+FE0F.*one code point"):
        GridWorld.from_text(f"S{square}", {"S": "a", square: "b"}, discount=0.9)
    with pytest.raises(ValueError, match=r"line 1, column 2 of the map is '\\u2028'"):
        GridWorld.from_text("S\u2028G", {"S": "a", "G": "b"}, discount=0.9)


FILE = 'map = "S.G"\ndiscount = 0.9\n[legend]\nS = "dirt"\n"." = "dirt"\nG = "gold"\n'
LINES = FILE.replace('"S.G"', '"""\nS.\n.G\n"""')


@pytest.mark.parametrize(("mark", "end"), [("", "\n"), ("\ufeff", "\n"), ("", "\r\n"), ("\ufeff", "\r\n")])
def test_files_from_windows_are_read(x64, tmp_path, mark, end):
    path = tmp_path / "map.toml"
    path.write_bytes((mark + FILE.replace("\n", end)).encode())
    grid = GridWorld.from_toml(path)
    value = mdps.solve(grid.mdp, grid.mdp.reward(grid.weights(gold=1.0))).value
    np.testing.assert_allclose(value, [8.1, 9, 10], atol=2e-6)
    path.write_bytes((mark + LINES.replace("\n", end)).encode())
    assert GridWorld.from_toml(path).cell.tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "latin-1"])
def test_other_encodings_are_refused_by_name(tmp_path, encoding):
    path = tmp_path / "map.toml"
    text = FILE.replace("gold", "é")
    path.write_bytes(("\ufeff" + text if encoding == "utf-16-be" else text).encode(encoding))
    with pytest.raises(ValueError, match=r"byte order mark of UTF-16|not valid TOML: 'utf-8' codec"):
        GridWorld.from_toml(path)


def test_a_map_file_may_hold_a_distribution_of_starts(tmp_path):
    path = tmp_path / "map.toml"
    path.write_text('initial = [[0.25, 0.75, 0]]\nwall = "W"\n' + FILE)
    assert GridWorld.from_toml(path).mdp.initial.tolist() == [0.25, 0.75, 0]
    path.write_text("initial = [[0.25, 0.25, 0]]\n" + FILE)
    with pytest.raises(ValueError, match=r"map.toml: initial sums to 0.5"):
        GridWorld.from_toml(path)
