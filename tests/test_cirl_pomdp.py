"""The coordination POMDP, solved by an independent recursion over beliefs after a trip through its files."""

from xml.etree import ElementTree as XML

import numpy as np
import oracles_cirl as oracles
import pytest

from cirl import Order, coordination_pomdp, solve
from cirl.games import chefworld, red_blue
from cirl.human import Fixed
from cirl.pomdp import Pomdp, read


def belief_value(p, belief, steps):
    """Best expected discounted sum over a number of steps, by expectimax over unnormalised beliefs."""
    if steps == 0 or belief.sum() < 1e-14:
        return 0.0
    best = -np.inf
    for a in range(len(p.transition)):
        ahead = belief @ p.transition[a]
        later = sum(belief_value(p, ahead * p.observation[a][:, o], steps - 1) for o in range(p.observation.shape[2]))
        best = max(best, belief @ p.reward[a] + p.discount * later)
    return best


def from_each_start(p, states):
    """The value when the first state is seen, as the robot sees it; states vary slowest."""
    here = p.start.reshape(states, -1)
    return sum(belief_value(p, (here * (np.arange(states) == s)[:, None]).ravel(), 2) for s in range(states))


def read_xml(path):
    """A `.pomdpx` file of numbered states, actions and observations, by its tags alone."""
    root = XML.parse(path).getroot()
    sizes = {tag: int(root.findtext(f"Variable/{tag}/NumValues")) for tag in ("StateVar", "ActionVar", "ObsVar")}
    X, A, O = sizes.values()

    def table(path, shape, value="ProbTable"):
        out = np.zeros(shape)
        for entry in root.iterfind(path + "/Parameter/Entry"):
            out[tuple(int(part[1:]) for part in entry.findtext("Instance").split())] = float(entry.findtext(value))
        return out

    return Pomdp(
        table("StateTransitionFunction/CondProb", (A, X, X)),
        table("ObsFunction/CondProb", (A, X, O)),
        table("RewardFunction/Func", (A, X), "ValueTable"),
        table("InitialStateBelief/CondProb", X),
        float(root.findtext("Discount")),
    )


@pytest.mark.parametrize("ending, reader", [(".pomdp", read), (".pomdpx", read_xml)])
@pytest.mark.parametrize("order", [Order.SIMULTANEOUS, Order.HUMAN_FIRST])
def test_its_value_is_the_games(order, ending, reader, tmp_path, x64):
    rng = np.random.default_rng(0)
    for _ in range(2):
        _, game = oracles.random_game(rng, order=order)
        coordination_pomdp(game).write(tmp_path / f"game{ending}")
        p = reader(tmp_path / f"game{ending}")
        assert p.transition.shape[0] == 2**2 * (4 if order is Order.HUMAN_FIRST else 2)
        solution = solve(game)
        value = from_each_start(p, 2)
        assert float(solution.lower) - 1e-9 <= value <= float(solution.upper) + 1e-9


def test_with_a_fixed_human(tmp_path, x64):
    rng = np.random.default_rng(1)
    _, game = oracles.random_game(rng)
    human = Fixed(rng.dirichlet(np.ones(2), size=(2, 2)))
    coordination_pomdp(game, human=human).write(tmp_path / "game.pomdp")
    p = read(tmp_path / "game.pomdp")
    assert p.transition.shape == (2, 8, 8)
    solution = solve(game, human=human)
    value = from_each_start(p, 2)
    assert float(solution.lower) - 1e-9 <= value <= float(solution.upper) + 1e-9


@pytest.mark.parametrize("ending, reader", [(".pomdp", read), (".pomdpx", read_xml)])
def test_files_carry_every_number(ending, reader, tmp_path, x64):
    p = coordination_pomdp(chefworld.mini(2))
    p.write(tmp_path / f"chef{ending}")
    again = reader(tmp_path / f"chef{ending}")
    for name in ("transition", "observation", "reward", "start", "discount"):
        np.testing.assert_array_equal(getattr(again, name), getattr(p, name))


@pytest.mark.parametrize(
    "change, message",
    [
        (("T: 0 : 0 : 0", "T: 0 : 0 : zero"), r"line \d+: .*the line is 'T: 0 : 0 : zero"),
        (("T: 0 : 0 : 0", "T: 0 : 99 : 0"), r"line \d+: index 99"),
        (("discount", "discont"), "line 2: 'discont' is no keyword"),
        (("values: reward", "values: cost"), "line 3: only 'values: reward'"),
        (("start: ", "start: 0.5 "), "line 7: start has 9 numbers for 8 states"),
        (("T: 0 : 0 : 0 ", "T: 0 : 0 : 0 0.5 # "), "T of action 0 and state 0 does not sum to one"),
        (("states", "# states"), "line 7|must be given first"),
    ],
)
def test_an_error_in_a_file_is_named_by_its_line(change, message, tmp_path, x64):
    _, game = oracles.random_game(np.random.default_rng(2))
    coordination_pomdp(game, human=Fixed(np.full((2, 2, 2), 0.5))).write(tmp_path / "game.pomdp")
    text = (tmp_path / "game.pomdp").read_text()
    assert change[0] in text
    (tmp_path / "bad.pomdp").write_text(text.replace(*change, 1))
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "bad.pomdp")


def test_bad_input_is_told_apart(tmp_path):
    game = red_blue.game()
    with pytest.raises(ValueError, match=r"ends in '.txt'"):
        coordination_pomdp(game).write(tmp_path / "game.txt")
    with pytest.raises(ValueError, match="too many to write down"):
        coordination_pomdp(chefworld.game(chefworld.THREE, 5))
    with pytest.raises(ValueError, match="changes with the step"):
        coordination_pomdp(game, human=Fixed(np.broadcast_to(red_blue.human(), (4, 12, 2, 2))))
