"""Off-switch games with private knowledge: all pairs of plans by brute force, the classic game, information, a bit."""

import itertools

import numpy as np
import pytest

import cirl
from cirl.games import off_switch, private_off_switch
from cirl.games.private_off_switch import Bit

ACT, WAIT, OFF = 0, 1, 2


def drawn(rng, states=4, human=2, robot=2):
    """A game with noisy channels."""
    sees = {"human_sees": rng.dirichlet(np.ones(human), states), "robot_sees": rng.dirichlet(np.ones(robot), states)}
    return {"utility": rng.normal(size=states), "prior": rng.dirichlet(np.ones(states)), **sees}


def every_pair(utility, prior, human_sees, robot_sees, bit):
    """The twin: value, and the least and most waiting, over all pairs of deterministic plans, state by state."""
    S, H = human_sees.shape
    R = robot_sees.shape[1]
    to_robot, to_human = bit is Bit.FROM_HUMAN, bit is Bit.FROM_ROBOT
    messages = list(itertools.product((0, 1), repeat=H if to_robot else R if to_human else 0))
    humans = list(itertools.product((True, False), repeat=H * (1 + to_human)))
    robots = list(itertools.product((ACT, WAIT, OFF), repeat=R * (1 + to_robot)))
    found = []
    for message, allows, acts in itertools.product(messages, humans, robots):
        value = waits = 0.0
        for s, h, r in itertools.product(range(S), range(H), range(R)):
            p = prior[s] * human_sees[s, h] * robot_sees[s, r]
            act = acts[r + R * message[h]] if to_robot else acts[r]
            allowed = allows[h + H * message[r]] if to_human else allows[h]
            if act == ACT or (act == WAIT and allowed):
                value += p * utility[s]
            waits += p * (act == WAIT)
        found.append((value, waits))
    found = np.array(found)
    best = found[found[:, 0] >= found[:, 0].max() - 1e-12, 1]
    return found[:, 0].max(), best.min(), best.max()


@pytest.mark.parametrize("human, robot", [(2, 2), (3, 2)])
@pytest.mark.parametrize("bit", Bit)
def test_best_is_the_best_of_every_pair_of_plans(bit, human, robot, unannotated):
    rng = np.random.default_rng(0)
    for _ in range(2):
        given = drawn(rng, 3, human, robot)
        found = private_off_switch.game(**given).best(bit)
        assert (found.value, found.least, found.most) == pytest.approx(every_pair(**given, bit=bit), abs=1e-12)


@pytest.mark.parametrize("made", [private_off_switch.script, private_off_switch.one_bit])
def test_the_same_where_there_are_ties(made, unannotated):
    game = made()
    tables = {name: getattr(game, name) for name in ("utility", "prior", "human_sees", "robot_sees")}
    for bit in (Bit.NONE, Bit.FROM_ROBOT if game.human_sees.shape[1] == 2 else Bit.NONE):
        found = game.best(bit)
        assert (found.value, found.least, found.most) == pytest.approx(every_pair(**tables, bit=bit), abs=1e-12)


def played(game, play):
    """What a pair of plans is worth, and how often the robot waits, state by state."""
    S, H, R = len(game.prior), game.human_sees.shape[1], game.robot_sees.shape[1]
    value = waits = 0.0
    for s, h, r in itertools.product(range(S), range(H), range(R)):
        p = game.prior[s] * game.human_sees[s, h] * game.robot_sees[s, r]
        act = play.robot[r, play.message[h] if play.robot.shape[1] > 1 else 0]
        allowed = play.human[h, play.message[r] if play.human.shape[1] > 1 else 0] == 0
        value += p * game.utility[s] * (act == ACT or (act == WAIT and allowed))
        waits += p * (act == WAIT)
    return value, waits


@pytest.mark.parametrize("bit", Bit)
def test_the_plans_that_are_shown_are_worth_what_is_said(bit):
    rng = np.random.default_rng(1)
    games = [private_off_switch.game(**drawn(rng, 5, 3, 3)) for _ in range(20)]
    for game in [*games, private_off_switch.script(), private_off_switch.one_bit()]:
        play = game.best(bit)
        assert played(game, play) == pytest.approx((play.value, play.most), abs=1e-12)


def test_a_human_who_sees_all_that_the_robot_sees_plays_the_classic_game(x64):
    """The robot blind and the human informed: `off_switch`, solved exactly; and waiting is optimal."""
    rng = np.random.default_rng(2)
    for _ in range(3):
        utility, prior = rng.normal(size=4), rng.dirichlet(np.ones(4))
        classic = cirl.solve(off_switch.game(utility, prior), tol=1e-9)
        mine = private_off_switch.game(utility, prior, human_sees=np.arange(4), robot_sees=np.zeros(4, int))
        found = mine.best()
        assert found.value == pytest.approx(float(classic.lower), abs=1e-9) and found.most == 1
        assert found.value == pytest.approx(prior @ np.maximum(utility, 0), abs=1e-12)
        exported = cirl.solve(mine.to_game(), tol=1e-9)
        assert float(exported.lower) == pytest.approx(found.value, abs=1e-8)


def test_export_to_a_game_where_the_robot_sees_part_of_what_the_human_sees(x64):
    """The human is told all that the robot is told, and more, with noise: the exact solver finds the same value."""
    rng = np.random.default_rng(3)
    robot = rng.dirichlet(np.ones(2), 4)
    # A state for each pair (state, what the robot sees), so that the human's channel can hold the robot's.
    utility, prior = np.repeat(rng.normal(size=4), 2), (rng.dirichlet(np.ones(4))[:, None] * robot).ravel()
    sees, noise = np.tile([0, 1], 4), rng.dirichlet(np.ones(3), 8)
    human = np.zeros((8, 6))
    for s in range(8):
        human[s, 3 * sees[s] : 3 * sees[s] + 3] = noise[s]
    mine = private_off_switch.game(utility, prior, human_sees=human, robot_sees=sees)
    found, exported = mine.best(), cirl.solve(mine.to_game(), tol=1e-9)
    assert float(exported.lower) == pytest.approx(found.value, abs=1e-8)
    assert found.most == pytest.approx(1)  # nothing that the robot knows is hidden from her
    with pytest.raises(ValueError, match="robot_sees tells apart what human_sees does not"):
        private_off_switch.script().to_game()


def test_a_robot_with_a_secret_avoids_the_switch_though_the_human_is_rational():
    found = private_off_switch.script().best()
    assert found.value == pytest.approx(1.75) and found.least == found.most == pytest.approx(0.5)
    assert found.robot[:, 0].tolist() == [ACT, WAIT]
    # A robot that always waits: the better of the human's four plans.
    waiting = max(0.25 * (a * (1 - 5) + b * (3 + 3)) for a in (0, 1) for b in (0, 1))
    assert waiting == 1.5 < found.value
    # One that knows nothing of the script waits, and is worth less.
    blind = private_off_switch.game(
        [1.0, 3, -5, 3], np.full(4, 0.25), human_sees=[0, 1, 0, 1], robot_sees=np.zeros(4, int)
    )
    assert blind.best().value == pytest.approx(1.5) and blind.best().least == 1


def test_in_a_thousand_games_the_common_payoff_never_falls_with_information_or_a_bit():
    rng, counts = np.random.default_rng(4), np.zeros((4, 3), int)
    for _ in range(50):
        utilities, prior = rng.normal(size=(20, 5)), rng.dirichlet(np.ones(5))
        human, robot = rng.dirichlet(np.full(3, 0.3), 5), rng.dirichlet(np.full(3, 0.3), 5)
        pairs = [(human @ rng.dirichlet(np.full(2, 0.5), 3), robot), (human, robot @ rng.dirichlet(np.full(2, 0.5), 3))]
        asked = [(human, robot, bit) for bit in Bit] + [(*pair, Bit.NONE) for pair in pairs]
        plain, told, heard, blurred_human, blurred_robot = (
            private_off_switch.outcomes(utilities, prior, human_sees=h, robot_sees=r, bit=bit) for h, r, bit in asked
        )
        steps = [(plain, told), (plain, heard), (blurred_human, plain), (blurred_robot, plain)]
        for i, (poor, rich) in enumerate(steps):
            assert (rich.value >= poor.value - 1e-9).all()
            assert (rich.value <= prior @ np.maximum(utilities, 0).T + 1e-9).all()
            won, less, more = (
                rich.value > poor.value + 1e-6,
                rich.most < poor.least - 1e-9,
                rich.least > poor.most + 1e-9,
            )
            counts[i] += won.sum(), less.sum(), more.sum()
    assert (counts[:, 0] > 200).all()  # information and bits were worth something
    assert counts[0, 1] > 0 and counts[3, 1] > 0  # a bit from the human, and a robot that sees more: it waits less
    assert counts[1, 2] > 0 and counts[2, 2] > 0  # a bit from the robot, and a human who sees more: it waits more


def test_one_bit_makes_the_robot_wait_less_in_every_optimal_pair():
    game = private_off_switch.one_bit()
    without, with_it = game.best(), game.best(Bit.FROM_HUMAN)
    assert (without.value, without.least, without.most) == pytest.approx((0.6, 1, 1))
    assert (with_it.value, with_it.least, with_it.most) == pytest.approx((0.8, 0.4, 0.8))
    assert set(np.abs(game.utility)) == {1, 2} and len(game.prior) == 5
    # Taking any one of its states away, or what anybody can tell apart, undoes it: nothing in it is idle.
    sees = {"human_sees": game.human_sees.argmax(1), "robot_sees": game.robot_sees.argmax(1)}
    for gone in range(5):
        kept = np.arange(5) != gone
        part = {name: np.unique(x[kept], return_inverse=True)[1] for name, x in sees.items()}
        rest = private_off_switch.game(game.utility[kept], np.full(4, 0.25), **part)
        assert rest.best(Bit.FROM_HUMAN).most >= rest.best().least - 1e-12


def test_ties_huge_units_and_the_smallest_games():
    nothing = private_off_switch.game([0.0], [1.0], human_sees=[0], robot_sees=[0])
    for bit in Bit:
        play = nothing.best(bit)
        assert (play.value, play.least, play.most) == (0, 0, 1)  # all plans are equal
    assert float(cirl.solve(nothing.to_game()).lower) == pytest.approx(0)
    for unit in (1e-30, 1e30):
        game = private_off_switch.script()
        scaled = private_off_switch.game(
            unit * game.utility, game.prior, human_sees=game.human_sees, robot_sees=game.robot_sees
        )
        for bit in Bit:
            mine, other = scaled.best(bit), game.best(bit)
            assert (mine.value / unit, mine.least, mine.most) == pytest.approx((other.value, other.least, other.most))
    never = private_off_switch.game([1.0, -9.0], [1.0, 0.0], human_sees=[0, 1], robot_sees=[0, 1])
    assert never.best().value == 1 and float(cirl.solve(never.to_game()).lower) == pytest.approx(1)


def test_many_utilities_at_once_are_each_alone():
    rng = np.random.default_rng(5)
    given = drawn(rng, 4, 3, 2)
    utilities = np.concatenate([rng.normal(size=(10, 4)), rng.integers(-1, 2, (10, 4))])
    shared = {name: given[name] for name in ("prior", "human_sees", "robot_sees")}
    for bit in Bit:
        found = private_off_switch.outcomes(utilities, **shared, bit=bit)
        for i, utility in enumerate(utilities):
            alone = private_off_switch.game(utility, **shared).best(bit)
            told = found.value[i], found.least[i], found.most[i]
            assert told == pytest.approx((alone.value, alone.least, alone.most), abs=1e-12)


def test_what_is_wrong_is_named(unannotated):
    right = {"utility": [1.0, -1.0], "prior": [0.5, 0.5], "human_sees": [0, 1], "robot_sees": [0, 0]}
    for name, wrong, said in (
        ("utility", [[1.0]], r"utility has shape \(1, 1\)"),
        ("utility", [1.0, np.nan], "utility"),
        ("prior", [0.5, 0.6], "prior sums to 1.1"),
        ("prior", [1.0], "prior sums|prior has shape"),
        ("human_sees", [0, 5], "human_sees holds 5"),
        ("human_sees", [0.5, 0.5], "human_sees"),
        ("robot_sees", [[0.5, 0.4], [1, 0]], "robot_sees of state 0 sums to 0.9"),
        ("robot_sees", [[1.0]], r"robot_sees has shape \(1, 1\)"),
    ):
        with pytest.raises(ValueError, match=said):
            private_off_switch.game(**{**right, name: wrong})
    with pytest.raises(ValueError, match=r"bit is 'human'; give Bit\.NONE"):
        private_off_switch.script().best("human")
    wide = private_off_switch.game(np.ones(20), np.full(20, 0.05), human_sees=np.arange(20), robot_sees=np.arange(20))
    with pytest.raises(ValueError, match="human_sees has 20 things, which makes 1,048,576 plans"):
        wide.best()
