"""The coordination POMDP: what any solver of endless POMDPs finds in its files is what the game is worth."""

import dataclasses
import re
from xml.etree import ElementTree as XML

import jax
import numpy as np
import oracles_cirl as oracles
import pytest

from cirl import Game, Order, coordination_pomdp, solve
from cirl.games import chefworld, off_switch, red_blue
from cirl.human import Fixed, Rational
from cirl.pomdp import Pomdp, read


def endless_value(p, steps=None):
    """What an endless POMDP is worth at its start, by expectimax over beliefs that are remembered.

    The search ends where nothing is paid any more, or after some steps.
    """
    assert p.horizon is None and p.first_observation is None and p.discount < 1
    A, X, O = *p.transition.shape[:2], p.observation.shape[2]
    ended = [all(p.transition[a, x, x] == 1 and p.reward[a, x] == 0 for a in range(A)) for x in range(X)]
    known = {}

    def worth(belief, left):
        mass = belief.sum()
        if mass < 1e-14 or left == 0 or belief[ended].sum() > mass - 1e-15:
            return 0.0
        key = (left, np.round(belief / mass, 12).tobytes())
        if key not in known:
            best = -np.inf
            for a in range(A):
                ahead = belief / mass @ p.transition[a]
                later = sum(worth(ahead * p.observation[a][:, o], left and left - 1) for o in range(O))
                best = max(best, belief / mass @ p.reward[a] + p.discount * later)
            known[key] = best
        return mass * known[key]

    return worth(p.start, steps)


DECIMAL = re.compile(r"-?[0-9]+\.[0-9]+")  # a digit on both sides of the point, and no exponent


def read_xml(path):
    """A `.pomdpx` file, by its tags alone, held to what the format's schema says."""
    text = path.read_bytes().decode("utf-8")
    root = XML.fromstring(text)
    assert root.tag == "pomdpx" and float(root.get("version")) and text.startswith("<?xml")
    tags = [child.tag for child in root]
    functions = ["InitialStateBelief", "StateTransitionFunction", "ObsFunction", "RewardFunction"]
    assert tags == ["Description", "Discount", "Variable", *functions]
    assert DECIMAL.fullmatch(root.findtext("Discount")) and 0 <= float(root.findtext("Discount")) < 1
    variables = {child.tag: child for child in root.find("Variable")}
    assert set(variables) == {"StateVar", "ObsVar", "ActionVar", "RewardVar"}
    state = variables["StateVar"]
    assert state.get("fullyObs") == "false"
    previous, current = state.get("vnamePrev"), state.get("vnameCurr")
    sight, action, payment = (variables[f"{kind}Var"].get("vname") for kind in ("Obs", "Action", "Reward"))
    values = {}
    for name, kind, letter in ((current, "StateVar", "s"), (action, "ActionVar", "a"), (sight, "ObsVar", "o")):
        listed, counted = variables[kind].findtext("ValueEnum"), variables[kind].findtext("NumValues")
        assert (listed is None) != (counted is None)
        values[name] = listed.split() if listed else [f"{letter}{i}" for i in range(int(counted))]
        assert len(values[name]) >= 2
    values[previous] = values[current]

    def table(kind, tag, variable, parents, number):
        [function] = root.find(kind)
        assert function.tag == tag and [child.tag for child in function] == ["Var", "Parent", "Parameter"]
        assert function.findtext("Var") == variable and function.findtext("Parent").split() == parents
        assert function.find("Parameter").get("type") == "TBL"
        axes = [name for name in parents if name != "null"] + ([variable] if tag == "CondProb" else [])
        out = np.zeros([len(values[name]) for name in axes])
        for entry in function.find("Parameter"):
            assert entry.tag == "Entry" and [child.tag for child in entry] == ["Instance", number]
            assert DECIMAL.fullmatch(entry.findtext(number))
            words = entry.findtext("Instance").split()
            where = [slice(None) if w == "*" else values[name].index(w) for w, name in zip(words, axes, strict=True)]
            out[tuple(where)] = float(entry.findtext(number))
        if tag == "CondProb":
            assert out.min() >= 0 and np.abs(out.sum(axis=-1) - 1).max() < 1e-6
        return out

    return Pomdp(
        table("StateTransitionFunction", "CondProb", current, [action, previous], "ProbTable"),
        table("ObsFunction", "CondProb", sight, [action, current], "ProbTable"),
        table("RewardFunction", "Func", payment, [action, previous], "ValueTable"),
        table("InitialStateBelief", "CondProb", previous, ["null"], "ProbTable"),
        float(root.findtext("Discount")),
    )


@pytest.fixture(params=[".pomdp", ".pomdpx"])
def there_and_back(request, tmp_path):
    """Write a POMDP, and read what is written with a reader of its own; every number is a plain decimal."""

    def trip(p):
        path = tmp_path / f"game{request.param}"
        p.write(path)
        if request.param == ".pomdpx":
            return read_xml(path)
        for line in path.read_text().splitlines():
            if line.startswith(("T", "O", "R", "discount")):
                assert DECIMAL.fullmatch(line.split()[-1]), line
            elif line.startswith("start"):
                assert all(map(DECIMAL.fullmatch, line.split()[1:])), line
        return read(path)

    return trip


def test_the_off_switch_is_worth_one_half_to_any_solver(there_and_back, dtype):
    game = off_switch.game([1.0, -1.0], [0.5, 0.5])  # one step, discount 1: waiting is worth .5 · 1 + .5 · 0
    p = there_and_back(coordination_pomdp(game))
    assert p.discount < 1 and p.transition.shape[1] == 3
    assert endless_value(p) == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("discount", [0.9, 1.0])
@pytest.mark.parametrize("order", list(Order))
def test_a_file_of_a_game_with_a_horizon_is_worth_what_the_game_is(order, discount, there_and_back, x64):
    # The robot sees in which of two states it starts: the file has a step for that.
    arrays, game = oracles.random_game(np.random.default_rng(0), order=order, discount=discount)
    p = there_and_back(coordination_pomdp(game))
    assert p.transition.shape == (4 * (4 if order is Order.HUMAN_FIRST else 2), 10, 10)
    wanted = oracles.coordination_value(arrays, discount, 2, order)
    assert endless_value(p) == pytest.approx(wanted, abs=1e-10)
    solution = solve(game)
    assert float(solution.lower) - 1e-9 <= endless_value(p) <= float(solution.upper) + 1e-9


def test_three_steps_without_a_discount_from_one_start(there_and_back, x64):
    rng = np.random.default_rng(1)
    (transition, reward, prior, _), _ = oracles.random_game(rng)
    arrays = transition, reward, prior, np.array([1.0, 0.0])
    p = there_and_back(coordination_pomdp(Game.from_dense(*arrays, horizon=3)))
    assert p.discount == 3 / 4 and p.transition.shape[1] == 13  # states 4 times 3, and the end
    assert np.abs(p.reward).max() <= np.e * np.abs(reward).max()
    assert endless_value(p) == pytest.approx(oracles.coordination_value(arrays, 1.0, 3), abs=1e-10)


def test_an_endless_game_shows_the_robot_where_it_starts(there_and_back, x64):
    arrays, _ = oracles.random_game(np.random.default_rng(2))
    p = there_and_back(coordination_pomdp(Game.from_dense(*arrays, discount=0.25)))
    assert p.discount == 0.25 and p.transition.shape[1] == 9  # 4, 4 at the first step, and one before it
    # What is left out after three steps is paid at most the largest reward for ever.
    beyond = 0.25**3 / 0.75 * np.abs(arrays[1]).max()
    wanted = oracles.coordination_value(arrays, 0.25, 3)
    assert abs(endless_value(p, 1 + 3) - wanted) < 1e-10
    solution = solve(Game.from_dense(*arrays, discount=0.25))
    assert abs(wanted - float(solution.lower)) <= beyond


def test_a_discount_of_0_leaves_the_first_step(there_and_back, x64):
    arrays, _ = oracles.random_game(np.random.default_rng(2))
    p = there_and_back(coordination_pomdp(Game.from_dense(*arrays, discount=0.0)))
    assert endless_value(p) == pytest.approx(oracles.coordination_value(arrays, 0.0, 1), abs=1e-12)


def test_a_fixed_human_leaves_the_robots_own_problem(there_and_back, x64):
    rng = np.random.default_rng(1)
    _, game = oracles.random_game(rng)
    human = Fixed(rng.dirichlet(np.ones(2), size=(2, 2)))
    p = coordination_pomdp(game, human=human)
    assert p.transition.shape == (2, 8, 8)
    solution = solve(game, human=human)
    assert float(solution.lower) - 1e-9 <= endless_value(there_and_back(p)) <= float(solution.upper) + 1e-9


def test_a_robot_that_can_only_wait_has_two_actions_in_a_schema_that_asks_for_two(there_and_back, x64):
    game = off_switch.game([1.0, -1.0], [0.5, 0.5], may_decide=False)
    human = Fixed(np.array([[[0.9, 0.1], [0.2, 0.8]]]))  # allows the good act with .9, the bad one with .2
    p = coordination_pomdp(game, human=human)
    assert p.transition.shape[0] == 1
    assert endless_value(there_and_back(p)) == pytest.approx(0.5 * 0.9 - 0.5 * 0.2, abs=1e-12)


def test_one_state_one_action_and_one_observation_are_padded_for_the_schema(there_and_back):
    p = Pomdp(np.ones((1, 1, 1)), np.ones((1, 1, 1)), np.full((1, 1), 3.0), np.ones(1), 0.5)
    again = there_and_back(dataclasses.replace(p, actions=("wait",)))
    assert endless_value(again, steps=60) == pytest.approx(6.0, abs=1e-12)
    nothing = there_and_back(dataclasses.replace(p, reward=np.zeros((1, 1))))
    assert not nothing.reward.any()


def test_files_carry_every_number(there_and_back, x64):
    """An endless POMDP from one certain start is written as it is, tiny probabilities included."""
    rng = np.random.default_rng(0)
    (transition, reward, prior, _), _ = oracles.random_game(rng)
    transition[0] = [1e-5, 1 - 1e-5]
    reward *= 10.0 ** rng.integers(-12, 12, size=reward.shape)
    p = coordination_pomdp(Game.from_dense(transition, reward, prior, [1.0, 0.0], discount=0.9))
    again = there_and_back(p)
    for name in ("transition", "observation", "reward", "start", "discount"):
        np.testing.assert_array_equal(getattr(again, name), getattr(p, name), err_msg=name)


@pytest.mark.parametrize("discount", [0.9, 1.0])
def test_time_in_the_state_is_the_pomdp_once_for_each_step(discount, there_and_back, x64):
    (transition, reward, prior, _), _ = oracles.random_game(np.random.default_rng(3), AH=3)
    p = coordination_pomdp(Game.from_dense(transition, reward, prior, [0.0, 1.0], discount=discount, horizon=3))
    T, X, again = p.horizon, len(p.start), there_and_back(p)
    assert len(again.start) == T * X + 1 and again.discount == (0.9 if discount < 1 else 3 / 4)
    for a in range(len(p.transition)):
        np.testing.assert_array_equal(again.transition[a, :-1, :-1], np.kron(np.eye(T, k=1), p.transition[a]))
        np.testing.assert_array_equal(again.transition[a, -X - 1 :, -1], 1)
        np.testing.assert_array_equal(again.observation[a, :-1], np.tile(p.observation[a], (T, 1)))
    paid = [p.reward * (p.discount / again.discount) ** t for t in range(T)]
    np.testing.assert_allclose(again.reward[:, :-1], np.concatenate(paid, axis=1), rtol=1e-14)
    assert not again.reward[:, -1].any()
    np.testing.assert_array_equal(again.start[:X], p.start)


def test_a_prior_that_misses_one_is_written_as_one(there_and_back):
    game = Game.from_dense(np.ones((1, 1, 1, 1)), np.ones((1, 1, 1, 3)), [0.333332] * 3, [1.0], discount=0.5)
    assert abs(there_and_back(coordination_pomdp(game)).start.sum() - 1) < 1e-12


def test_names_survive_writing_and_reading(there_and_back):
    stay = np.broadcast_to(np.eye(2), (2, 2, 2))
    names = {"states": ("sunny", "b&w"), "actions": ("go", "wait"), "observations": ("<3", "no")}
    p = Pomdp(stay, stay, np.eye(2), np.full(2, 0.5), 0.5, **names)
    again = there_and_back(p)
    np.testing.assert_array_equal(again.reward, p.reward)
    if again.states:  # the oracle that reads .pomdpx keeps no names
        assert (again.states, again.actions, again.observations) == tuple(names.values())


def test_a_solver_of_dense_tables_sees_the_first_observation_or_not(x64):
    _, game = oracles.random_game(np.random.default_rng(0))
    np.testing.assert_array_equal(coordination_pomdp(game).first_observation, [0, 0, 1, 1])
    assert coordination_pomdp(red_blue.game()).first_observation is None


def test_what_no_file_can_hold_is_refused(tmp_path):
    game = red_blue.game()
    with pytest.raises(ValueError, match=r"ends in '.txt'"):
        coordination_pomdp(game).write(tmp_path / "game.txt")
    with pytest.raises(TypeError, match="path is 3; give the name of a file"):
        coordination_pomdp(game).write(3)
    endless = Pomdp(np.ones((1, 1, 1)), np.ones((1, 1, 1)), np.ones((1, 1)), np.ones(1), 1.0)
    for ending in ("pomdp", "pomdpx"):
        with pytest.raises(ValueError, match=r"discount of 1 and no horizon.*dataclasses.replace"):
            endless.write(tmp_path / f"game.{ending}")
    tiny = dataclasses.replace(
        endless, discount=1e-300, first_observation=np.zeros(1, int), reward=np.full((1, 1), 1e9)
    )
    with pytest.raises(ValueError, match="beyond float64"):
        tiny.write(tmp_path / "game.pomdp")
    with pytest.raises(ValueError, match="with 20000000 steps in its states the file would hold more than 20,000,000"):
        dataclasses.replace(endless, horizon=20_000_000).write(tmp_path / "game.pomdp")
    assert not list(tmp_path.iterdir())


def test_games_that_cannot_be_reduced_are_refused():
    game = red_blue.game()
    with pytest.raises(ValueError, match="256 actions and 366 states, too many to write down"):
        coordination_pomdp(chefworld.game(chefworld.THREE, 5))
    many = Game.from_dense(np.ones((1, 9, 2, 1)), np.ones((1, 9, 2, 5000)), np.full(5000, 1 / 5000), [1.0], horizon=1)
    with pytest.raises(ValueError, match=r"10\^4772 actions"):
        coordination_pomdp(many)
    with pytest.raises(ValueError, match="changes with the step"):
        coordination_pomdp(game, human=Fixed(np.broadcast_to(red_blue.human(), (4, 12, 2, 2))))
    with pytest.raises(ValueError, match=r"human is Rational.*only a Fixed policy"):
        coordination_pomdp(game, human=Rational())
    with pytest.raises(ValueError, match=r"game is MDP; give a cirl.Game"):
        coordination_pomdp(game.mdp)
    with pytest.raises(TypeError, match="cannot be traced"):
        jax.jit(lambda g: coordination_pomdp(g).reward)(game)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"transition": np.ones((2, 2))}, r"transition has shape \(2, 2\)"),
        ({"transition": np.array([[[0.5, 0.6], [0, 1]]])}, "transition of action 0 of state 0 sums to 1.1"),
        ({"transition": np.array([[[2.0, -1.0], [0, 1]]])}, "transition of action 0 of state 0 holds -1.0"),
        ({"transition": [["a", "b"], ["c", "d"]]}, "transition is an array of <U1"),
        ({"transition": [[1.0, 2.0], [3.0]]}, "transition makes no array"),
        ({"transition": None}, "transition is None; give an array of numbers"),
        ({"reward": np.ma.masked_array([[1.0, 2.0]], [[True, False]])}, "reward is a masked array"),
        ({"observation": np.ones((1, 3, 1))}, r"observation has shape .*must be \[A, X, O\]"),
        ({"observation": np.full((1, 2, 2), np.nan)}, "observation of action 0 of end state 0 holds nan"),
        ({"reward": np.ones(2)}, r"reward has shape \(2,\); with A=1 and X=2"),
        ({"reward": np.array([[1.0, np.inf]])}, "reward is inf"),
        ({"start": np.ones(3) / 3}, r"start has shape \(3,\)"),
        ({"start": np.array([0.9, 0.5])}, "start sums to 1.4"),
        ({"discount": 1.5}, "discount is 1.5; give one number in"),
        ({"discount": float("nan")}, "discount is nan"),
        ({"discount": "0.9"}, "discount is '0.9'"),
        ({"discount": True}, "discount is True"),
        ({"horizon": 0}, "horizon is 0"),
        ({"horizon": 2.5}, "horizon is 2.5"),
        ({"first_observation": np.array([0, 1])}, "first_observation must hold"),
        ({"states": ("a", "a")}, "states are .*give 2 distinct names"),
        ({"states": ("a b", "c")}, "give 2 distinct names"),
        ({"states": "ab"}, "states is 'ab'; give a tuple of names"),
        ({"states": 3}, "states is 3; give a tuple"),
        ({"actions": ("0x",)}, "give 1 distinct names"),
    ],
)
def test_a_pomdp_that_is_none_is_refused(change, message):
    stay = np.eye(2)[None]
    fine = {"transition": stay, "observation": np.ones((1, 2, 1)), "reward": np.zeros((1, 2)), "start": np.ones(2) / 2}
    with pytest.raises(ValueError, match=message):
        Pomdp(**fine | {"discount": 0.5} | change)
