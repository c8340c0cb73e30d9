"""The table of bad input (`test_bad_input`) for games: every argument of every public function, fed what it is not."""

import types
from collections.abc import Iterator

import jax
import numpy as np
import oracles_cirl as oracles
import pytest
from test_bad_input import (
    JUNK,
    Kind,
    Row,
    array,
    compiled,  # noqa: F401 — a fixture
    count,
    failures,
    index,
    number,
    one_of,
    policy,
    positive,
    share,
    truth,
)

import cirl
from cirl import Bounded, Commitment, Exact, Game, Order, Pomcp, games, teaching
from cirl.human import Boltzmann, EpsilonGreedy, Fixed, Literal, Pedagogic, Rational
from cirl.oversight import amplification, debate, principles, recursive
from ird import posterior
from mdps import GridWorld

TABLE = np.full((2, 2, 2), 0.5)


def world() -> types.SimpleNamespace:
    """Right arguments; all that is compiled is compiled here."""
    arrays, game = oracles.random_game(np.random.default_rng(0))
    first = oracles.random_game(np.random.default_rng(0), order=Order.HUMAN_FIRST)[1]
    belief = posterior.exact(candidates=np.array([[1.0, 0.0], [0.0, 1.0]]))
    robot = Pomcp.plan_for(game, num_simulations=5)
    endless = Game.from_dense(*arrays, discount=0.9)
    lesson = teaching.navigation(np.array([[0.0, 0.0], [2.0, 2.0]]), side=3, horizon=3)
    return types.SimpleNamespace(
        arrays=arrays,
        game=game,
        endless=endless,
        first=first,
        solution=cirl.solve(game),
        solved_first=cirl.solve(first),
        belief=belief,
        robot=robot,
        memory=robot.initial(0, key=jax.random.key(0)),
        lesson=lesson,
    )


def kinds(w) -> types.SimpleNamespace:
    grid = GridWorld.from_text("S.G", {"S": "a", ".": "a", "G": "b"}, horizon=3)
    game = {**JUNK, "a grid": grid, "its MDP": w.game.mdp, "its class": Game, "an array": np.zeros((2, 2))}
    nan = jax.tree.map(lambda x: x * np.nan if isinstance(x, jax.Array) and x.dtype.kind == "f" else x, w.game)
    human = one_of(Rational(), a_list=[Rational()], a_table=TABLE, of_another_game=Fixed(np.full((3, 2, 2), 0.5)))
    human = human.but(which_is_endless=...).or_none()
    return types.SimpleNamespace(
        game=Kind(w.game, game | {"of NaN": nan}),
        plain=Kind(w.game, game),
        human=human,
        people=Kind(
            [Rational()], {**JUNK, "a human": Rational(), "its class": [Rational], "words": ["x"], "nobody": []}
        ),
        key=Kind(
            jax.random.key(0),
            {**JUNK, "an int": 7, "two keys": jax.random.split(jax.random.key(0), 2), "floats": np.zeros(2)},
        ),
        tol=positive(1e-3).but(infinite=..., beyond_float32=...),
        order=one_of(Order.SIMULTANEOUS, a_name="SIMULTANEOUS"),
        horizon=Kind(2, {"a string": "x", "a fraction": 1.5, "none": 0, "true": True, "two": np.array([2, 2])}),
        discount=number(0.9, negative=-0.1, large=1.5, infinite=np.inf),
    )


def rows_of_games(w, k) -> Iterator[Row]:
    tables = dict(zip(("transition", "reward", "prior", "initial"), w.arrays, strict=True))
    common = {
        "reward": array(tables["reward"], minus_infinity=np.where(tables["reward"] > 0, -np.inf, tables["reward"])),
        "prior": policy(tables["prior"]).but(below_float32=np.array([1.0, 1e-46]), zero=np.array([1.0, 0.0])),
        "initial": policy(tables["initial"]),
        "discount": k.discount,
        "horizon": k.horizon,
        "order": k.order,
    }
    rows = policy(tables["transition"])
    yield Row("Game.from_dense", Game.from_dense, {"transition": rows} | common)
    huge = array(tables["reward"], shape=False, beyond_float32=tables["reward"] * 1e39).but(**{"NaN": ...})
    yield Row("Game.from_dense, endless", _endless, {"reward": huge, "discount": number(0.9, one_in_float32=1 - 1e-9)})
    steps = Kind(
        np.array([[0, 1], [0, 1]]),
        {**JUNK, "fractions": np.full((2, 2), 0.5), "outside": np.full((2, 2), 2), "negative": np.full((2, 2), -1)},
    )
    table = {"next_state": steps.but(twice=np.zeros((2, 2), int)), "probability": rows}
    yield Row("Game.from_table", Game.from_table, table | common)
    belief = {**JUNK, "an array": np.zeros((3, 2)), "its class": type(w.belief)}
    reduced = {
        "transition": rows,
        "features": array(np.ones((2, 2, 2, 2))),
        "belief": Kind(w.belief, belief),
        "num_atoms": count(2),
        "initial": common["initial"],
        "discount": k.discount,
        "horizon": k.horizon,
        "order": k.order,
    }
    yield Row("Game.from_belief", Game.from_belief, reduced)


def _endless(*, reward, discount):
    transition, _, prior, initial = oracles.random_game(np.random.default_rng(0))[0]
    return Game.from_dense(transition, reward, prior, initial, discount=discount)


def rows_of_people(w, k) -> Iterator[Row]:
    beta = number(1.0, negative=-1.0, infinite=np.inf, beyond_float32=1e300)
    yield Row("Boltzmann", Boltzmann, {"beta": beta})
    yield Row("Pedagogic", Pedagogic, {"beta": beta})
    yield Row("Literal", Literal, {"beta": beta.or_none()})
    yield Row("EpsilonGreedy", EpsilonGreedy, {"epsilon": share()})
    yield Row("Fixed", Fixed, {"table": policy(TABLE).but(another_shape=np.full((2, 2), 0.5))})
    yield Row("Fixed.fit", Fixed(TABLE).fit, {"game": k.game})
    yield Row("Literal.fit", Literal().fit, {"game": k.game})


def rows_of_solvers(w, k) -> Iterator[Row]:
    method = one_of(None, a_name="exact", its_class=Exact, a_number=3.0).but(None_=...)
    method = Kind(None, {name: x for name, x in method.wrong.items() if x is not None and name != "its class"})
    settings = {
        "human": k.human,
        "concept": Kind(Commitment(), {"a string": "x", "its class": Commitment, "a number": 3.0}),
        "tol": k.tol,
        "method": method.but(its_class=Exact),
        "max_steps": count(10).or_none(),
    }
    yield Row("solve", cirl.solve, {"game": k.game} | settings)
    sharp = one_of(Boltzmann(1.0), too_sharp=Boltzmann(1e30)).or_none()
    yield Row("solve, sharp", lambda human: cirl.solve(w.game, human=human), {"human": sharp}, {"human": "beta"})
    limits = {name: count(8) for name in ("max_backups", "batch", "width")}
    seconds = positive(1.0).or_none().but(infinite=..., beyond_float32=...)
    yield Row("Bounded", Bounded, {"max_seconds": seconds} | limits)
    misread = {"read in two ways": Fixed(np.full((2, 2, 2, 2), 0.5))}
    graph = Kind(w.solution.robot, {**JUNK, "a solution": w.solution, "an array": np.zeros(3)})
    human = k.human.but(None_=..., **misread)
    yield Row(
        "evaluate",
        cirl.evaluate,
        {"game": k.plain, "robot": graph, "human": Kind(Rational(), human.wrong), "sweeps": count(2)},
    )
    yield Row("PolicyGraph.initial", w.solution.robot.initial, {"state": index(0, 2)})
    memory = index(0, len(w.solution.robot.state))
    acts = {"memory": memory, "human_action": index(0, 2).or_none()}
    yield Row("PolicyGraph.action", w.solution.robot.action, acts)
    yield Row(
        "PolicyGraph.action, human first",
        w.solved_first.robot.action,
        {"memory": index(0, len(w.solved_first.robot.state)), "human_action": index(0, 2)},
        {"human_action": "human's action"},
    )
    yield Row(
        "PolicyGraph.update",
        w.solution.robot.update,
        {"memory": memory, "human_action": index(0, 2), "next_state": index(0, 2)},
    )
    solution = Kind(w.solution, {**JUNK, "a robot": w.solution.robot, "its class": type(w.solution)})
    played = {"num_steps": count(2).but(too_many=3), "num_episodes": count(1), "key": k.key}
    yield Row("simulate", cirl.simulate, {"game": k.game, "solution": solution, "human": k.human} | played)
    yield Row(
        "misspecification",
        cirl.misspecification,
        {"game": k.game.but(endless=w.endless), "planned": k.people, "met": k.people, "tol": k.tol},
        {"planned": "human", "met": "human"},
    )


def rows_of_pomcp(w, k) -> Iterator[Row]:
    settings = {
        "game": k.game,
        "human": k.human,
        "num_simulations": count(5),
        "exploration": positive().or_none(),
        "depth": count(2).or_none(),
    }
    yield Row("Pomcp.plan_for", Pomcp.plan_for, settings)
    yield Row("Pomcp.initial", w.robot.initial, {"state": index(0, 2), "key": k.key})
    memory = Kind(w.memory, {**JUNK, "a number": 0, "an array": np.zeros(2)})
    yield Row("Pomcp.action", w.robot.action, {"memory": memory, "human_action": index(0, 2).or_none()})
    yield Row(
        "Pomcp.update", w.robot.update, {"memory": memory, "human_action": index(0, 2), "next_state": index(0, 2)}
    )
    played = {"num_steps": count(2).but(too_many=3), "num_episodes": count(1), "key": k.key}
    yield Row("Pomcp.play", w.robot.play, played)


def rows_of_lessons(w, k) -> Iterator[Row]:
    mdp = Kind(w.lesson, {**JUNK, "a game": w.game, "an array": np.zeros((2, 2)), "endless": w.endless.mdp})
    theta, rationality = array(np.array([0.5, -0.5])), positive()
    both = {"mdp": mdp, "theta": theta}
    yield Row("maxent_features", teaching.maxent_features, both | {"rationality": rationality})
    learnt = {"mdp": mdp, "features": theta, "rationality": rationality, "bound": positive(), "num_steps": count(5)}
    yield Row("infer", teaching.infer, learnt)
    yield Row("demonstrate", teaching.demonstrate, both)
    effort = number(0.1, negative=-1.0, infinite=np.inf)
    yield Row("teach", teaching.teach, both | {"rationality": rationality, "effort": effort, "num_beams": count(4)})
    states = Kind(np.array([0, 1, 2]), {**JUNK, "fractions": np.array([0.5, 1.0, 2.0]), "outside": np.array([0, 9, 0])})
    yield Row("counts", teaching.counts, {"mdp": mdp.but(endless=...), "states": states})
    yield Row("divergence", teaching.divergence, both | {"other": theta, "rationality": rationality})
    yield Row("regret", teaching.regret, {"mdp": mdp.but(endless=...), "theta": theta, "guess": theta})
    spots = array(np.zeros((2, 2)), one_row=np.zeros(2))
    yield Row(
        "navigation",
        teaching.navigation,
        {"centres": spots, "side": count(3), "horizon": count(3), "width": positive()},
    )
    yield Row("deployment", teaching.deployment, {"mdp": mdp.but(endless=...)})


def rows_of_known_games(w, k) -> Iterator[Row]:
    recipes = Kind([(1, 1, 0), (2, 0, 0)], {**JUNK, "ragged": [(1, 1), (2, 0, 0)], "none": [], "halves": [(0.5, 0.5)]})
    kitchen = {"recipes": recipes, "horizon": count(1), "most": count(4), "discount": k.discount}
    yield Row("chefworld.game", games.chefworld.game, kitchen)
    yield Row("chefworld.mini", games.chefworld.mini, {"num_recipes": count(2), "discount": k.discount})
    pair = {"utility": array(np.array([1.0, -1.0])), "prior": policy(np.array([0.5, 0.5])), "may_decide": truth()}
    yield Row("off_switch.game", games.off_switch.game, pair)
    yield Row("paperclips.game", games.paperclips.game, {"cells": count(4)})
    yield Row("paperclips.expert", games.paperclips.expert, {"cells": count(4)})
    yield Row("red_blue.game", games.red_blue.game, {"order": k.order, "may_wait": truth()})
    yield Row("tiger.game", games.tiger.game, {"next_tiger": number(0.0, infinite=np.inf), "discount": k.discount})
    yield Row("wormy_apples.game", games.wormy_apples.game, {"discount": k.discount})
    yield Row("wormy_apples.human", games.wormy_apples.human, {"only_at_start": truth()})
    sizes = {name: count(2) for name in ("size", "num_spots", "lesson", "work", "stride")}
    prices = {"reach": positive(), "call": number(1.0, infinite=np.inf), "discount": k.discount}
    yield Row("apprenticeship.game", games.apprenticeship.game, sizes | prices)


def rows_of_secrets(w, k) -> Iterator[Row]:
    made, bit = games.private_off_switch.script(), one_of(games.private_off_switch.Bit.NONE, a_name="NONE", true=True)
    sees = Kind(
        np.array([0, 1]), {**JUNK, "one row": np.ones((1, 2)), "unnormalised": np.ones((2, 2)), "outside": [0, 5]}
    )
    both = {"prior": policy(np.array([0.5, 0.5])), "human_sees": sees, "robot_sees": sees}
    both["prior"] = both["prior"].but(beyond_float32=...)
    utility = array(np.array([1.0, -1.0])).but(beyond_float32=...)
    yield Row("private_off_switch.game", games.private_off_switch.game, {"utility": utility} | both)
    many = array(np.array([[1.0, -1.0], [0.0, 2.0]])).but(beyond_float32=...)
    yield Row("outcomes", games.private_off_switch.outcomes, {"utilities": many, "bit": bit} | both)
    yield Row("best", made.best, {"bit": bit})


def rows_of_oversight(w, k) -> Iterator[Row]:
    claim = Kind([[True, False], True], {**JUNK, "numbers": [0, 1], "none": [], "an array": np.zeros((2, 2))})
    skill, either = number(2.0, negative=-1.0, true=True), {"or_first": truth()}
    pair = {"honest": skill, "liar": skill}
    one = number(0.1, negative=-0.1, large=1.1, true=True)
    error = one.but(two=..., of_another_shape=[0.1, 0.1, 0.1], too_large=[[0.1, 2.0], 0.1])
    yield Row("verdict", debate.verdict, {"claim": claim, "error": error} | pair | either)
    sizes = {"depth": count(2, least=0), "branching": count(2)}
    yield Row("accuracy", debate.accuracy, {"error": one, "share": one} | sizes | pair | either)
    yield Row("certificate", debate.certificate, {"claim": claim} | either)
    hidden = {"width": count(3), "depth": count(2, least=0), "budget": count(1, least=0)}
    yield Row("obfuscated", debate.obfuscated, {"error": one, "guess": truth()} | hidden)
    rounds = count(3, least=0).or_none().but(true=True)
    summed = {"error": number(0.1, negative=-1.0, infinite=np.inf), "discount": number(0.9, negative=-1.0, large=1.5)}
    yield Row("accumulated", amplification.accumulated, {"rounds": rounds} | summed)
    mdp = Kind(w.endless.mdp, {**JUNK, "a game": w.game, "an array": np.zeros((2, 2))})
    off = array(np.zeros(2), shape=False, another_shape=np.zeros((7, 3))).but(beyond_float32=...)
    steps = {"mdp": mdp, "reward": array(np.zeros(2)), "rounds": count(3), "error": off}
    yield Row("amplify", amplification.amplify, steps)
    payoff, prior = array(np.eye(2)).but(beyond_float32=...), policy(np.array([0.5, 0.5])).but(beyond_float32=...)
    channel = policy(np.array([[0.25, 0.75], [0.75, 0.25]])).but(
        beyond_float32=..., negative=np.array([[-1.0, 2.0]] * 2)
    )
    tables = {"payoff": payoff, "prior": prior, "channel": channel}
    yield Row("expected_payoff", recursive.expected_payoff, tables | {"believed": channel.or_none()})
    yield Row("beside", recursive.beside, {"first": channel, "second": channel})
    yield Row("adversary", recursive.adversary, tables | {"messages": count(2).but(too_many=2000)})
    yield Row("levels", recursive.levels, {"right": one, "count": count(2, least=0), "together": one})
    rule = Kind(np.zeros(2, bool), {**JUNK, "others": np.full(2, 2), "too few": [True]})
    yield Row("forbid", principles.forbid, {"mdp": mdp, "where": rule})


TABLES = {
    "games": rows_of_games,
    "people": rows_of_people,
    "solvers": rows_of_solvers,
    "pomcp": rows_of_pomcp,
    "lessons": rows_of_lessons,
    "known games": rows_of_known_games,
    "secrets": rows_of_secrets,
    "oversight": rows_of_oversight,
}


@pytest.fixture(scope="module")
def made():
    w = world()
    return w, kinds(w)


@pytest.mark.parametrize("part", TABLES)
def test_bad_input_is_refused_by_us_by_name_and_before_compiling(part, made, compiled, unannotated):  # noqa: F811
    rows = list(TABLES[part](*made))
    compiled.count = 0
    found = [told for row in rows for told in failures(row)]
    assert not found, "\n".join(found)
    assert compiled.count == 0
