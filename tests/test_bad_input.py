"""Every argument of every public function, fed what it is not: the error is ours, names the argument, and comes first.

A row of the table is a function and arguments that are right, each with what kind of thing it is.  For each argument in
turn the wrong things of its kind are passed: a string, None, NaN, a wrong shape, another type, an int for a key, a grid
for an MDP.  All of them must meet a ValueError or a TypeError that is raised in this project's files, tells which
argument it was, and is raised before anything is compiled.
"""

import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import ird
import mdps
from ird import (
    alignment,
    calibration,
    designer,
    evidence,
    goodhart,
    impact,
    information,
    planning,
    posterior,
    queries,
    risk,
)

ROOT = Path(mdps.__file__).parent.parent
LEGEND = {"S": "floor", ".": "floor", "G": "goal"}


class Kind(NamedTuple):
    """What an argument is: what is right, and what is wrong, by name."""

    right: Any
    wrong: dict[str, Any]

    def but(self, **wrong) -> "Kind":
        """With other things wrong as well; `...` takes one away."""
        more = {**self.wrong, **{name.replace("_", " "): x for name, x in wrong.items()}}
        return Kind(self.right, {name: x for name, x in more.items() if x is not ...})

    def at(self, right) -> "Kind":
        """With another right value."""
        return Kind(right, self.wrong)

    def or_none(self) -> "Kind":
        return self.but(None_=...)._replace(wrong={k: v for k, v in self.wrong.items() if k != "None"})


def world() -> types.SimpleNamespace:
    """Right arguments; little is compiled for them."""
    grid = mdps.GridWorld.from_text("S.G", LEGEND, horizon=3)
    endless = mdps.GridWorld.from_text("S.G", LEGEND, discount=0.9)
    rewards = np.array([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.5]])
    features = np.array([[2.0, 1.0], [3.0, 0.0], [3.0, 0.0]])
    weights = jnp.asarray(rewards, jnp.float32)
    belief = ird.Posterior(
        weights=weights,
        log_weights=jnp.full(3, -np.log(3), jnp.float32),
        effective_sample_size=jnp.float32(3),
        pareto_k=jnp.float32(np.nan),
        prior_mean=jnp.zeros(2),
        prior_sd=jnp.ones(2),
        prior_sample=weights,
        feature_names=grid.mdp.feature_names,
    )
    proxy = ird.ProxyReward.from_plans(0, grid.mdp, alternatives=rewards, features=features)
    return types.SimpleNamespace(
        grid=grid,
        mdp=grid.mdp,
        endless=endless.mdp,
        rewards=rewards,
        features=features,
        belief=belief,
        proxy=proxy,
        prior=dist.Normal(0.0, 1.0).expand([2]).to_event(1),
        choice=evidence.Choice(features[:2], 0, feature_names=grid.mdp.feature_names),
        pool=queries.Pool.from_features(features, feature_names=grid.mdp.feature_names),
        designer=designer.Designer(grid.mdp, weights, jnp.asarray(features, jnp.float32), jnp.float32(1)),
    )


JUNK = {"a string": "junk", "None": None, "an object": object()}


def number(right=1.0, **wrong) -> Kind:
    return Kind(right, {**JUNK, "NaN": np.nan, "two": np.array([0.5, 0.5]), "complex": 1j}).but(**wrong)


def positive(right=1.0) -> Kind:
    return number(right, zero=0.0, negative=-1.0, infinite=np.inf, beyond_float32=1e300, below_float32=1e-60)


def share(right=0.5) -> Kind:
    return number(right, negative=-0.1, large=1.5)


def count(right=2, least=1) -> Kind:
    return Kind(
        right, {**JUNK, "too few": least - 1, "a fraction": 1.5, "NaN": np.nan, "true": True, "two": np.array([2, 2])}
    )


def array(right, *, shape=True, **wrong) -> Kind:
    right = np.asarray(right)
    bad = {
        **JUNK,
        "NaN": np.full(right.shape, np.nan),
        "complex": right * 1j,
        "masked": np.ma.array(right, mask=np.arange(right.size).reshape(right.shape) == 0),
        "ragged": [[1.0], [1.0, 2.0]],
        "beyond float32": np.full(right.shape, 1e300),
        "a grid": mdps.GridWorld.from_text("S.G", LEGEND, horizon=3),
    }
    if shape:
        bad |= {"a number": 1.0, "another shape": np.zeros((*right.shape, 2, 1)), "none": right[:0]}
    return Kind(right, bad).but(**wrong)


def policy(right) -> Kind:
    right = np.asarray(right)
    return array(right, negative=1 - 2 * right, unnormalised=2 * right)


def indices(right, size, **wrong) -> Kind:
    bad = {**JUNK, "fractions": np.asarray(right) + 0.5, "outside": np.asarray(right) * 0 + size}
    return Kind(right, {**bad, "negative": np.asarray(right) * 0 - 1}).but(**wrong)


def index(right, size) -> Kind:
    return Kind(
        right, {**JUNK, "a fraction": 0.5, "outside": size, "negative": -1, "true": True, "two": np.array([0, 0])}
    )


def flags(right) -> Kind:
    right = np.asarray(right)
    wrong = {**JUNK, "others": np.full(right.shape, 2), "NaN": np.full(right.shape, np.nan)}
    return Kind(right, {**wrong, "indices": np.array([0]), "masked": np.ma.array(right, mask=right), "a number": 1.0})


def truth(right=True) -> Kind:
    return Kind(right, {**JUNK, "two": 2, "NaN": np.nan})


def names(right) -> Kind:
    return Kind(
        right,
        {
            "a string": "junk",
            "numbers": [1, 2],
            "too few": list(right)[:1],
            "twice": [right[0]] * 2,
            "an object": object(),
        },
    )


def one_of(right, **wrong) -> Kind:
    """An object of some protocol: not its class, not another thing."""
    return Kind(right, {**JUNK, "its class": type(right), "a number": 3.0}).but(**wrong)


def kinds(w) -> types.SimpleNamespace:
    """The kinds of arguments that many functions share."""
    stack = mdps.stack([w.mdp, w.mdp])
    mdp = {**JUNK, "a grid": w.grid, "an array": np.zeros((3, 4, 3)), "a stack": stack, "its class": mdps.MDP}
    belief = {**JUNK, "a grid": w.grid, "an array": np.zeros((3, 2)), "evidence": w.proxy, "its class": ird.Posterior}
    # What no sampler makes, but what anybody can put together.
    for name, x in (("NaN", np.nan), ("unnormalised", 0.0)):
        belief[f"{name} log weights"] = _with(w.belief, log_weights=jnp.full(3, x, jnp.float32))
    belief["too many log weights"] = _with(w.belief, log_weights=jnp.full(5, -np.log(5), jnp.float32))
    belief["NaN weights"] = _with(w.belief, weights=jnp.full((3, 2), jnp.nan))
    keys = jax.random.split(jax.random.key(0), 2)
    key = {**JUNK, "an int": 7, "two keys": keys, "floats": np.zeros(2)}
    return types.SimpleNamespace(
        mdp=Kind(w.mdp, mdp),
        endless=Kind(w.endless, mdp),
        key=Kind(jax.random.key(0), key),
        belief=Kind(w.belief, belief),
        evidence=Kind(w.choice, {**JUNK, "a grid": w.grid, "an array": np.zeros((3, 2)), "its class": evidence.Choice}),
        proxy=Kind(w.proxy, {**JUNK, "a grid": w.grid, "a belief": w.belief, "an MDP": w.mdp}),
        prior=Kind(
            w.prior, {**JUNK, "an array": np.zeros(2), "of one weight": dist.Normal(0.0, 1.0), "its class": dist.Normal}
        ),
        rewards=array(w.rewards, one_row_only=w.rewards[0], other_features=np.zeros((3, 5))),
        weights=array(w.rewards[0]),
        candidates=array(w.rewards, one_row_only=w.rewards[0], other_features=np.zeros((3, 5))).but(none=...),
        reward=array(np.zeros(3), minus_infinity=np.array([0.0, -np.inf, 0.0]), weights=np.array([1.0, 2.0])),
    )


def _with(belief, **changes):
    import dataclasses

    return dataclasses.replace(belief, **changes)


class Row(NamedTuple):
    name: str
    call: Callable
    arguments: dict[str, Kind]
    also: dict[str, str] = {}  # noqa: RUF012 — other words by which an error may name an argument


def rows_of_mdps(w, k) -> Iterator[Row]:
    at_random = policy(np.full((3, 4), 0.25))
    tol = positive(1e-3).or_none().but(infinite=..., beyond_float32=...)
    where = flags(np.array([True, False, False]))
    steps = count(10)
    yield Row(
        "solve",
        mdps.solve,
        {"mdp": k.mdp, "reward": k.reward, "temperature": TEMPERATURE, "tol": tol, "max_steps": steps},
    )
    yield Row("optimum", mdps.optimum, {"mdp": k.endless, "weights": k.weights, "tol": tol})
    yield Row(
        "visit_probability",
        mdps.visit_probability,
        {"mdp": k.endless, "policy": at_random, "where": where, "max_steps": steps},
    )
    yield Row(
        "discounted_first_visit", mdps.discounted_first_visit, {"mdp": k.mdp, "policy": at_random, "where": where}
    )
    yield Row("occupancy", mdps.occupancy, {"mdp": k.endless, "policy": at_random, "tol": tol})
    yield Row("feature_expectations", mdps.feature_expectations, {"mdp": k.endless, "policy": at_random, "tol": tol})
    yield Row("policy_return", mdps.policy_return, {"mdp": k.mdp, "policy": at_random, "reward": k.reward})
    yield Row("rollout", mdps.rollout, {"mdp": k.mdp, "policy": at_random, "key": k.key, "num_steps": count(2)})
    yield Row("MDP.reward", w.mdp.reward, {"weights": k.weights})
    yield Row(
        "stack",
        mdps.stack,
        {"mdps": Kind([w.mdp], {**JUNK, "grids": [w.grid], "one": w.mdp, "none": [], "arrays": [np.zeros(3)]})},
    )


def rows_of_doors(w, k) -> Iterator[Row]:
    """The ways into an MDP and a map."""
    sparse = pytest.importorskip("scipy.sparse")
    T, table = np.asarray(w.endless.to_dense()), [np.asarray(x) for x in (w.endless.next_state, w.endless.probability)]
    rows = array(T, negative=1 - 2 * T, unnormalised=2 * T)
    settings = {
        "features": array(np.eye(3), minus_infinity=np.full((3, 3), -np.inf)),
        "initial": array(np.eye(3)[0], negative=[2.0, -1, 0], unnormalised=[1.0, 1, 0]),
        "available": Kind(
            np.ones((3, 4), bool),
            {"a string": "junk", "an object": object(), "none in a state": np.zeros((3, 4), bool),
             "others": np.full((3, 4), 2), "another shape": np.ones((4, 3), bool), "a number": 3},
        ),
        "discount": share().but(negative=-0.1),
        "horizon": count(3).or_none(),
        "feature_names": names(("a", "b", "c")),
    }  # fmt: skip
    yield Row(
        "MDP.from_dense", mdps.MDP.from_dense, {"transition": rows.but(a_sparse_matrix=sparse.eye(3)), **settings}
    )
    matrix = Kind(sparse.csr_array(T.reshape(12, 3)), {**rows.wrong, "other rows": sparse.eye(3) * 2, "none": []})
    few = count(4).or_none().but(others=3)
    yield Row("MDP.from_sparse", mdps.MDP.from_sparse, {"transition": matrix, "num_actions": few, **settings})
    yield Row(
        "MDP.from_table",
        mdps.MDP.from_table,
        {
            "next_state": indices(table[0], 3, another_shape=table[0][:2]),
            "probability": array(table[1], negative=-table[1], unnormalised=2 * table[1]),
            **settings,
        },
    )
    P = {0: {0: [(1.0, 0, 0.0, False)]}}
    of_one = {
        "discount": settings["discount"],
        "horizon": settings["horizon"],
        "initial": array([1.0], unnormalised=[2.0]).but(None_=...),
        "features": array(np.eye(1), another_number=np.ones(1), junk=lambda s, a, t: "junk").or_none(),
        "feature_names": names(("a",)).but(twice=..., too_few=...),
        "available": Kind([[True]], {"a string": "junk", "none": [[False]], "others": [[2]], "a number": 3}),
    }
    bad_table = {**JUNK, "a number": 3.0, "another": {0: {0: [(1.0, 0)]}}, "empty": {}, "a grid": w.grid}
    told = {"env_or_P": "P", "features": "features", "available": "state 0 has no actions"}
    yield Row("from_gymnasium", mdps.interop.from_gymnasium, {"env_or_P": Kind(P, bad_table), **of_one}, told)
    network = mdps.graph.to_networkx(w.endless)
    yield Row(
        "from_networkx",
        mdps.graph.from_networkx,
        {
            "graph": Kind(network, {**JUNK, "a number": 3.0, "a digraph": type(network).__mro__[1]()}),
            "actions": Kind([0, 1, 2, 3], {"a string": "junk", "too few": [0], "twice": [0, 0], "a number": 3}),
            "discount": settings["discount"].or_none(),
            "horizon": settings["horizon"],
            "feature_names": names(("floor", "goal")),
        },
    )
    for which in (mdps.graph.reachable, mdps.graph.is_unichain, mdps.graph.to_networkx):
        at_random = policy(np.full((3, 4), 0.25)) if which is mdps.graph.is_unichain else None
        at_random = at_random or policy(np.full((3, 4), 0.25)).or_none()
        yield Row(which.__name__, which, {"mdp": k.endless, "policy": at_random})
    yield Row("drop_unreachable", mdps.graph.drop_unreachable, {"mdp": k.endless})
    yield Row(
        "is_proper",
        mdps.graph.is_proper,
        {"mdp": k.endless, "policy": policy(np.full((3, 4), 0.25)), "targets": flags([False, False, True])},
    )


def rows_of_maps(w, k) -> Iterator[Row]:
    one = {**JUNK, "two": "ab", "a number": 3}
    settings = {
        "slip": share(),
        "discount": share(0.9),
        "horizon": count(3).or_none(),
        "terminal": Kind((), {"a string": "goal", "unknown": ("lava",), "numbers": (3,), "a number": 3}),
        "step": truth(False),
        "emissions": array(np.eye(2), by_name={"floor": [1.0]}, one_terrain=np.ones((1, 2))).or_none(),
        "feature_names": names(("a", "b")),
    }
    grid = mdps.GridWorld.from_text
    text = Kind("S.G", {**JUNK, "a number": 3, "ragged": "S.\n...", "unknown": "S.x", "no start": "..G", "empty": ""})
    yield Row(
        "GridWorld.from_text",
        grid,
        {
            "text": text,
            "legend": Kind(LEGEND, {**JUNK, "empty": {}, "no names": {"S": 3}, "long": {"SS": "floor"}}),
            "start": Kind("S", {**one, "None": None, "the goal": "G"}),
            "goal": Kind("G", one).or_none(),
            "wall": Kind("#", {**one, "a terrain": "."}).or_none(),
            **settings,
        },
        {"text": "map"},
    )
    initial = array([[1.0, 0, 0]], negative=[[2.0, -1, 0]], unnormalised=[[1.0, 1, 0]]).or_none()
    yield Row("GridWorld.from_text, initial", grid, {"text": Kind("S.G", {}), "legend": Kind(LEGEND, {}),
                                                     "discount": Kind(0.9, {}), "initial": initial})  # fmt: skip
    cell = {**JUNK, "fractions": (0.5, 1), "three": (0, 0, 0), "off the map": (7, 7), "a grid": w.grid}
    yield Row(
        "GridWorld.from_terrain",
        mdps.GridWorld.from_terrain,
        {
            "terrain": indices(np.zeros((1, 3), int), 2, a_row=np.zeros(3, int), ragged=[[0], [0, 1]]),
            "names": names(("floor", "goal")).but(too_few=...),
            "start": Kind((0, 0), {**cell, "nowhere": np.zeros((1, 3), bool)}),
            "goal": Kind((0, 2), cell).or_none(),
            "walls": Kind(
                np.zeros((1, 3), bool),
                {
                    "a string": "junk",
                    "numbers": np.zeros((1, 3)),
                    "all": np.ones((1, 3), bool),
                    "another shape": np.zeros((3, 1), bool),
                },
            ),
            **settings,
        },
        {"walls": "wall"},
    )  # fmt: skip
    yield Row(
        "GridWorld.from_toml",
        mdps.GridWorld.from_toml,
        {"path": Kind(mdps.worlds.path("paper_train"), {"None": None, "a number": 3})},
    )
    at_random, steps = (
        policy(np.full((3, 4), 0.25)).but(NaN=..., beyond_float32=..., negative=..., unnormalised=...),
        count(2, 0),
    )
    start = Kind((0, 0), cell).or_none()
    yield Row("most_likely_path", w.grid.most_likely_path, {"policy": at_random, "num_steps": steps, "start": start})
    yield Row("most_likely_paths", w.grid.most_likely_paths, {"policy": at_random, "num_steps": steps})
    yield Row("show", w.grid.show, {"policy": at_random.or_none()})
    yield Row("weights", w.grid.weights, {"floor": number(infinite=np.inf, beyond_float32=1e300)})
    yield Row(
        "where",
        w.grid.where,
        {"*terrains": Kind("floor", {**JUNK, "unknown": "lava", "a number": 3})},
        {"*terrains": "terrain"},
    )


def rows_of_worlds(w, k) -> Iterator[Row]:
    lavaland, potts = mdps.worlds.lavaland.Lavaland(4, 4), mdps.worlds.potts.Potts()
    yield Row(
        "Lavaland",
        type(lavaland),
        {
            "height": count(4, 2),
            "width": count(4, 2),
            "horizon": count(5).or_none(),
            "grass": share(),
            "lava": share(),
            "potts": one_of(potts).or_none(),
        },
    )
    yield Row("Lavaland.train", lavaland.train, {"key": k.key})
    yield Row("Lavaland.field", lavaland.field, {"key": k.key, "lava": share().or_none()})
    yield Row(
        "Potts",
        type(potts),
        {"coupling": number(infinite=np.inf), "penalty": number(negative=-1.0, infinite=np.inf), "sweeps": count()},
    )
    shares = array([0.5, 0.5], large=[0.7, 0.7], negative=[-0.5, 0.5])
    shape = Kind((3, 3), {**JUNK, "a number": 3, "fractions": (1.5, 2), "nothing": (0, 3), "three": (1, 2, 3)})
    allowed = Kind(
        np.ones((3, 3, 2), bool),
        {"a string": "junk", "another shape": np.ones((3, 3), bool), "none": np.zeros((3, 3, 2), bool)},
    )
    yield Row("Potts.sample", potts.sample, {"shares": shares, "shape": shape, "key": k.key, "allowed": allowed})
    terrain = indices(np.zeros((3, 3), int), 2, another_shape=np.zeros(3, int))
    yield Row("Potts.log_probability", potts.log_probability, {"terrain": terrain, "shares": shares})
    yield Row(
        "worlds.path", mdps.worlds.path, {"name": Kind("paper_train", {**JUNK, "a number": 3})}, {"name": "world"}
    )
    function = {**JUNK, "a number": 3, "an array": np.zeros(3)}
    yield Row(
        "worlds.explore",
        mdps.worlds.explore,
        {
            "start": Kind(0, {"none": [], "nowhere": {}, "unhashable": [[1], [2]], "half": {0: 0.5}, "a set": {1, 2}}),
            "step": Kind(
                lambda s, a: [(0, 0.5), (1, 0.5)],
                {
                    **function,
                    "half": lambda s, a: [(s, 0.5)],
                    "a list": lambda s, a: [s],
                    "NaN": lambda s, a: {s: np.nan},
                },
            ),
            "features": Kind(
                lambda s, a, to: [s, 1.0],
                {**function, "no numbers": lambda s, a: "junk", "NaN": lambda s, a: [np.nan], "one": lambda s, a: 1.0},
            ),
            "actions": Kind(2, {**JUNK, "none": 0, "a fraction": 1.5, "twice": ("a", "a"), "empty": (), "true": True}),
            "feature_names": names(("a", "b")).or_none(),
            "discount": share(0.9).but(negative=-0.1),
            "horizon": count(3).or_none(),
            "available": Kind(lambda s, a: True, function).or_none().but(never=lambda s, a: False, odd=lambda s, a: 2),
            "max_states": count(5).but(two=..., one=1),
        },
        {"available": "action", "step": "step", "features": "features"},
    )
    yield from rows_of_safety_worlds(mdps.worlds.safety)


def rows_of_safety_worlds(safety) -> Iterator[Row]:
    steps = count(5)
    makers = {
        "boat_race": {},
        "absent_supervisor": {"present": share()},
        "sokoban": {"box": truth(), "stay": truth(False), "ends": truth()},
        "correction": {},
        "interference": {},
        "interruptibility": {"level": count(1, 0).but(too_many=3), "chance": share()},
        "island": {"slip": share(0.1), "water": truth()},
        "whisky_gold": {"exploration": share()},
        "tomatoes": {"drying": share(), "bucket": truth()},
        "rocks_diamonds": {"switches": truth()},
        "conveyor_vase": {"belt_object": truth(), "stay": truth(False)},
        "conveyor_sushi": {"belt_object": truth(), "stay": truth(False)},
        "conveyor_sushi_goal": {"belt_object": truth(), "stay": truth(False), "ends": truth()},
        "camera_dropbox": {"size": count(3, 3).but(too_many=9), "boxes": count(1)},
    }
    for name, settings in makers.items():
        yield Row(f"safety.{name}", getattr(safety, name), {**settings, "horizon": steps})
    yield Row("rooms.batteries", mdps.worlds.rooms.batteries, {"easy": truth()})
    yield Row("safety.world", safety.world, {"name": Kind("sokoban", {**JUNK, "a number": 3})}, {"name": "world"})
    race = safety.boat_race(horizon=5)
    at_random = policy(np.full((8, 4), 0.25))
    loose = at_random.but(NaN=..., beyond_float32=..., negative=..., unnormalised=...)
    yield Row("World.returns", race.returns, {"policy": at_random})
    yield Row("World.show", race.show, {"policy": at_random.or_none()})
    yield Row(
        "World.replay",
        race.replay,
        {"actions": Kind("rl", {**JUNK, "a number": 3, "numbers": [0, 1], "long": "r" * 9})},
    )
    for way in (race.walk, race.path):
        start = Kind((1, 1), {"a wall": (0, 0), "a list": [1, 1], "a string": "junk"}).or_none()
        yield Row(f"World.{way.__name__}", way, {"policy": loose, "start": start}, {"start": "state"})
    yield Row("World.weights", race.weights, {"arrow": number(infinite=np.inf)})


def rows_of_evidence(w, k) -> Iterator[Row]:
    beta = positive()
    path, actions = indices(np.array([0, 1, 2]), 3, none=np.array([], int)), indices(np.array([1, 1, 1]), 4)
    path = path.but(another_shape=np.zeros((2, 2, 2), int), an_impossible_move=np.array([0, 2, 2]))
    deformed = Kind(
        [[0, 1, 2], [0, 0, 0]],
        {**JUNK, "one path": [[0, 1, 2]], "fractions": [[0.5, 1, 2], [0, 0, 0]], "unequal": [[0, 1], [0, 1, 2]]},
    )
    features = array(w.features[:2], shape=False, one_option=w.features[:1], another_shape=np.zeros((2, 2, 2)))
    of_two = names(("floor", "goal"))
    yield Row(
        "Choice", evidence.Choice, {"features": features, "chosen": index(0, 2), "beta": beta, "feature_names": of_two}
    )
    yield Row("Choice.log_likelihood", w.choice.log_likelihood, {"weights": k.candidates})
    yield Row("Choice.replace", w.choice.replace, {"beta": beta})
    pairs = array(w.features, another_shape=np.zeros((3, 5)))
    agrees = array(np.ones(3)).or_none()
    principles = Kind(
        ["goal"], {"a string": "goal", "unknown": ["lava"], "none": [], "a number": 3, "an object": object()}
    )
    yield Row(
        "Comparison",
        evidence.Comparison,
        {
            "preferred": pairs,
            "other": pairs,
            "beta": beta,
            "agrees": agrees,
            "kappa": array(np.array([0.5, 0.7])).but(a_number=...),
            "principles": principles,
            "feature_names": of_two,
        },
    )
    seen = evidence.Comparison(w.features, w.features, feature_names=("floor", "goal"))
    yield Row("Comparison.log_likelihood", seen.log_likelihood, {"weights": k.candidates})
    yield Row("Comparison.replace", seen.replace, {"beta": beta})
    yield Row(
        "Comparison.of_paths",
        evidence.Comparison.of_paths,
        {"mdp": k.mdp, "preferred": path, "other": path, "beta": beta},
        PATHS,
    )
    yield Row(
        "Correction", evidence.Correction, {"mdp": k.mdp, "paths": deformed, "chosen": index(0, 2), "beta": beta}, PATHS
    )
    yield Row(
        "CreditAssignment",
        evidence.CreditAssignment,
        {"mdp": k.mdp, "robot": path, "start": index(0, 2), "length": count(2).but(too_many=3), "beta": beta},
        PATHS,
    )
    yield Row("Improvement", evidence.Improvement, {"mdp": k.mdp, "improved": path, "robot": path, "beta": beta}, PATHS)
    yield Row(
        "OffSwitch",
        evidence.OffSwitch,
        {"mdp": k.mdp, "robot": path, "step": index(1, 3), "pressed": truth(), "beta": beta},
        PATHS,
    )
    yield Row(
        "RewardPunish",
        evidence.RewardPunish,
        {
            "mdp": k.mdp,
            "robot": path,
            "sign": Kind(1, {**JUNK, "zero": 0, "NaN": np.nan, "two": np.array([1, 1])}),
            "expected": array(w.features[0]).or_none(),
            "beta": beta,
        },
        PATHS,
    )
    yield Row("InitialState", evidence.InitialState, {"mdp": k.mdp, "state": index(1, 3), "beta": beta})
    yield Row("InitialStateChoice", evidence.InitialStateChoice, {"mdp": k.mdp, "state": index(1, 3), "beta": beta})
    yield Row("InitialState.log_likelihood", evidence.InitialState(w.mdp, 1).log_likelihood, {"weights": k.candidates})
    for kind in (evidence.MaxEntDemonstration, evidence.RationalDemonstration):
        yield Row(kind.__name__, kind, {"mdp": k.mdp, "states": path, "actions": actions, "beta": beta}, PATHS)
        yield Row(kind.__name__ + ".log_likelihood", kind(w.mdp, [0], [1]).log_likelihood, {"weights": k.candidates})
        yield Row(kind.__name__ + ".replace", kind(w.mdp, [0], [1]).replace, {"beta": beta})
    meanings = Kind(
        {"go": [[0, 1, 2]], "stay": [[0, 0, 0]]},
        {
            **JUNK,
            "a list": [[0, 1]],
            "not paths": {"go": 3},
            "no path": {"go": []},
            "words": {"go": ["abc"]},
            "unequal": {"go": [[0, 1]], "stay": [[0]]},
        },
    )
    yield Row(
        "Utterance",
        evidence.Utterance,
        {
            "mdp": k.mdp,
            "meanings": meanings,
            "said": Kind("go", {"another": "wait", "None": None, "a list": ["go"], "a number": 3}),
            "beta": beta,
        },
        PATHS | {"meanings": "path"},
    )
    yield Row(
        "path_features", evidence.path_features, {"mdp": k.mdp, "states": path, "actions": actions.or_none()}, PATHS
    )
    cells = array(np.array([[0, 0], [0, 1], [0, 2]]))
    yield Row(
        "deformed_path",
        evidence.deformed_path,
        {"cells": cells, "step": count(1).but(too_many=2), "push": array(np.array([1.0, 0.0]))},
    )
    yield from rows_of_proxies(w, k, beta)


def rows_of_proxies(w, k, beta) -> Iterator[Row]:
    alternatives = k.rewards.but(without_the_proxy=w.rewards[1:])
    also = {"alternatives": "among"}
    yield Row(
        "ProxyReward",
        evidence.ProxyReward,
        {"weights": k.weights, "mdp": k.mdp, "beta": beta, "alternatives": alternatives},
        also,
    )
    yield Row(
        "ProxyReward.maximum",
        evidence.ProxyReward.maximum,
        {"weights": k.weights, "mdp": k.mdp, "beta": beta, "alternatives": alternatives},
        also,
    )
    yield Row("ProxyReward.maxent", evidence.ProxyReward.maxent, {"weights": k.weights, "mdp": k.mdp, "beta": beta})
    yield Row(
        "ProxyReward.sampled",
        evidence.ProxyReward.sampled,
        {
            "weights": k.weights,
            "mdp": k.mdp,
            "beta": beta,
            "prior": k.prior,
            "num_proxies": count(),
            "key": k.key,
            "include_candidate": truth(False),
        },
    )
    yield Row(
        "ProxyReward.from_plans",
        evidence.ProxyReward.from_plans,
        {"row": index(0, 3), "mdp": k.mdp, "beta": beta, "alternatives": k.rewards, "features": array(w.features)},
    )
    yield Row("ProxyReward.log_likelihood", w.proxy.log_likelihood, {"weights": k.candidates})
    yield Row("ProxyReward.log_normalizer", w.proxy.log_normalizer, {"weights": k.candidates})
    yield Row("ProxyReward.replace", w.proxy.replace, {"beta": beta})


def rows_of_posteriors(w, k) -> Iterator[Row]:
    log_prior = array(np.zeros(3), plus_infinity=np.full(3, np.inf), nothing_possible=np.full(3, -np.inf)).or_none()
    beta = Kind(
        dist.LogNormal(0.0, 1.0),
        {
            "a string": "junk",
            "a number": 1.0,
            "its class": dist.LogNormal,
            "an array": np.ones(2),
            "of two": dist.LogNormal(0.0, 1.0).expand([2]),
        },
    )
    sampled = {"prior": k.prior, "num_samples": count(4), "key": k.key, "beta": beta}
    yield Row(
        "exact",
        posterior.exact,
        {"*evidence": k.evidence, "candidates": k.rewards.but(beyond_float32=...), "log_prior": log_prior},
    )
    yield Row("importance", posterior.importance, {"*evidence": k.evidence, **sampled})
    yield Row(
        "laplace",
        posterior.laplace,
        {
            "*evidence": k.evidence,
            **sampled,
            "weighted": truth(),
            "degrees_of_freedom": count().or_none(),
            "max_steps": count(),
        },
    )
    chains = {"num_warmup": count(0, 0), "num_chains": count()}
    yield Row(
        "nuts",
        posterior.nuts,
        {"*evidence": k.evidence, **sampled, **chains, "target_accept": share(), "progress_bar": truth(False)},
    )
    yield Row(
        "smc",
        posterior.smc,
        {"*evidence": k.evidence, **sampled, "target_size": share(), "num_moves": count(), "max_stages": count()},
    )
    yield Row(
        "exchange",
        posterior.exchange,
        {
            "*evidence": k.evidence.at(w.proxy).but(no_proxy=w.choice),
            **sampled,
            **chains,
            "inner_steps": count().or_none(),
            "thinning": count(),
        },
    )
    draws = {"num_samples": count(), "key": k.key}
    yield Row("Posterior.sample", w.belief.sample, draws)
    yield Row("Posterior.resample", w.belief.resample, draws)
    yield Row(
        "Posterior.tail_effective_sample_size",
        w.belief.tail_effective_sample_size,
        {"returns": array(np.zeros(3)), "alpha": share().but(zero=0.0)},
    )
    yield Row(
        "Posterior.plot_pairs",
        w.belief.plot_pairs,
        {
            "names": Kind(
                ["floor", "goal"], {"a string": "floor", "unknown": ["lava", "goal"], "one": ["goal"], "a number": 3}
            )
        },
    )
    yield Row("Posterior.to_arviz", w.belief.to_arviz, {"num_samples": count().or_none()})
    path = Kind("x.npz", {"None": None, "a number": 3, "an object": object()})
    yield Row("Posterior.save", w.belief.save, {"path": path})
    yield Row("Posterior.load", ird.Posterior.load, {"path": path})


def rows_of_plans(w, k) -> Iterator[Row]:
    for offset in (planning.start_offset, planning.regret_offset):
        yield Row(offset.__name__, offset, {"mdp": k.mdp, "belief": k.belief})
    for offset in (planning.training_offset, planning.log_normalizer_offset):
        yield Row(
            offset.__name__, offset, {"*mdp": k.mdp, "*belief": k.belief, "*proxies": k.proxy}, {"*proxies": "prox"}
        )
    yield Row(
        "policy_offset",
        planning.policy_offset,
        {"mdp": k.mdp, "belief": k.belief, "policy": policy(np.full((3, 4), 0.25))},
    )
    yield Row("no_offset", planning.no_offset, {"belief": k.belief})
    yield Row(
        "training_stakes", planning.training_stakes, {"*belief": k.belief, "*proxies": k.proxy}, {"*proxies": "prox"}
    )
    yield Row("start_features", planning.start_features, {"mdp": k.mdp})
    yield Row("map_features", planning.map_features, {"mdp": k.mdp})
    yield Row("training_features", planning.training_features, {"*proxies": k.proxy}, {"*proxies": "prox"})
    measure = one_of(risk.CVaR(0.5))
    units = array(np.ones(3), zero=np.zeros(3), negative=-np.ones(3)).or_none()
    yield Row(
        "plan",
        planning.plan,
        {
            "mdp": k.mdp,
            "belief": k.belief,
            "risk": measure,
            "offset": array(np.zeros(3)),
            "units": units,
            "tol": positive(),
            "max_steps": count(),
        },
    )
    yield Row(
        "plan_per_step",
        planning.plan_per_step,
        {"mdp": k.mdp, "belief": k.belief, "risk": measure, "baseline": array(np.zeros(2)), "units": units},
    )

    yield Row("pay_mean", planning.pay_mean, {"belief": k.belief})
    yield Row("pay_draw", planning.pay_draw, {"belief": k.belief, "key": k.key})
    paid = {"belief": k.belief, "risk": measure, "baseline": array(np.zeros(2)), "units": units}
    yield Row("pay_per_step", planning.pay_per_step, paid)
    yield Row(
        "pay_least_exposure",
        planning.pay_least_exposure,
        {
            "*belief": k.belief,
            "*evidence": k.evidence,
            "met": array(w.features),
            "visits": positive(3.0).or_none(),
            "price": number(negative=-1.0, infinite=np.inf).or_none(),
            "give_up": share().but(zero=0.0),
            "cut": share().but(one=1.0),
            "value": array(np.zeros(2)).or_none(),
        },
    )


def rows_of_simulators(w, k) -> Iterator[Row]:
    gymnasium = pytest.importorskip("gymnasium")
    one = gymnasium.make("MountainCar-v0")
    of_runs = {
        "discount": share(0.9).but(zero=0.0),
        "ended": Kind("ended", {**JUNK, "a number": 1, "empty": ""}).or_none().but(a_string=...),
    }
    count_steps = Kind(lambda before, action, after: after, {**JUNK, "a number": 3.0, "numbers": [1, 2], "none": []})
    far = {"junk": lambda *_: "junk", "NaN": lambda before, action, after: after * np.nan, "one": lambda *_: 1.0}
    envs = Kind(one, {**JUNK, "a number": 3, "its class": type(one)})
    yield Row(
        "rollouts",
        ird.interop.gymnasium.rollouts,
        {
            "envs": envs,
            "policies": Kind(
                lambda observation: np.zeros(1, int),
                {
                    **JUNK, "none": [], "a list": ["junk"], "words": lambda _: "junk", "None": lambda _: None,
                    "too many": lambda _: np.zeros(3, int), "fractions": lambda _: np.full(1, 0.5),
                },
            ),
            "features": Kind(count_steps.right, count_steps.wrong | far),
            "episodes": count(1),
            "horizon": count(3).but(beyond_the_limit=500),
            "seed": count(0, 0),
            "feature_names": names(("a", "b")),
            "keep_visits": truth(False),
            **of_runs,
        },
    )  # fmt: skip
    yield Row(
        "RewardWrapper",
        ird.interop.gymnasium.RewardWrapper,
        {
            "env": envs.but(several=gymnasium.vector.SyncVectorEnv([lambda: one])),
            "reward": array(np.zeros(3)),
            "features": count_steps.but(a_string=...),
            "horizon": count(3).or_none(),
            **of_runs,
        },
    )
    yield Row(
        "FeatureWrapper",
        ird.interop.gymnasium.FeatureWrapper,
        {"env": envs, "features": count_steps.but(a_string=...), "name": Kind("features", {"None": None, "empty": ""})},
    )


def rows_of_risks(w, k) -> Iterator[Row]:
    yield Row("CVaR", risk.CVaR, {"alpha": share().but(zero=0.0, below_float32=1e-60)})
    yield Row("MeanCVaR", risk.MeanCVaR, {"weight": share(), "alpha": share().but(zero=0.0)})
    yield Row("Entropic", risk.Entropic, {"aversion": positive()})
    log_weights = array(np.full(3, -np.log(3)))
    for measure in (risk.Mean(), risk.WorstCase(), risk.CVaR(0.5), risk.MeanCVaR(0.5, 0.5), risk.Entropic(1.0)):
        name = type(measure).__name__
        returns = array(np.zeros(3)).but(NaN=..., beyond_float32=...)
        yield Row(f"{name}.value", measure.value, {"returns": returns, "log_weights": log_weights})
        yield Row(f"{name}.adversary", measure.adversary, {"returns": returns, "log_weights": log_weights})


def rows_of_queries(w, k) -> Iterator[Row]:
    beta, of_two = positive(), names(("floor", "goal"))
    features = array(w.features, shape=False, one_option=w.features[:1], another_shape=np.zeros((2, 2, 2)))
    yield Row("Pool.from_rewards", queries.Pool.from_rewards, {"rewards": k.rewards, "mdp": k.mdp, "beta": beta})
    yield Row(
        "Pool.from_features", queries.Pool.from_features, {"features": features, "beta": beta, "feature_names": of_two}
    )
    rows = indices(
        np.array([0, 1]), 3, one=np.array([0]), too_many=np.zeros(4, int), another_shape=np.zeros((2, 2), int)
    )
    yield Row("Pool.query", w.pool.query, {"rows": rows, "value": number().but(NaN=...)}, {"rows": "query"})
    query = w.pool.query([0, 1])
    yield Row("Query.log_probabilities", query.log_probabilities, {"weights": k.candidates})
    yield Row("Query.answer", query.answer, {"picked": index(0, 2)})
    pool = Kind(w.pool, {**JUNK, "rewards": w.rewards, "a grid": w.grid, "its class": queries.Pool})
    size = count(2, 2).but(too_many=4)
    yield Row(
        "choose",
        queries.choose,
        {
            "pool": pool,
            "belief": k.belief,
            "size": size,
            "objective": one_of(queries.InformationGain()),
            "search": one_of(queries.Greedy()),
            "key": k.key.or_none(),
        },
        {"size": "query"},
    )
    yield Row("Greedy", queries.Greedy, {"starts": count(1).or_none()})
    yield Row("Exhaustive", queries.Exhaustive, {"most": count()})
    several = Kind([w.mdp, w.mdp], {**JUNK, "a grid": w.grid, "grids": [w.grid], "one": w.mdp, "none": []})
    yield Row(
        "choose_environment",
        queries.choose_environment,
        {"environments": several, "belief": k.belief, "objective": one_of(queries.Disagreement())},
    )
    yield Row(
        "ProxyInformation",
        queries.ProxyInformation,
        {
            "rewards": k.rewards.but(other_features=...),
            "beta": beta,
            "size": count(2, 2).or_none(),
            "search": one_of(queries.Greedy()),
        },
    )
    yield Row("ProxyInformation.score", queries.ProxyInformation(w.rewards).score, {"mdp": k.mdp, "belief": k.belief})
    yield Row("Disagreement.score", queries.Disagreement().score, {"mdp": k.mdp, "belief": k.belief})
    yield Row("value_of_information", information.value_of_information, {"mdp": k.mdp, "belief": k.belief})
    other = Kind(query, {**JUNK, "a pool": w.pool, "its class": queries.Query})
    yield Row("value_of_answer", information.value_of_answer, {"mdp": k.mdp, "belief": k.belief, "query": other})
    yield Row(
        "rewrite",
        information.rewrite,
        {
            "mdps": k.mdp.but(none=[], grids=[w.grid], an_array=...),
            "meant": k.belief.but(an_array=np.zeros((3, 2)), too_few=[1.0], a_proxy=w.proxy, evidence=...),
            "written": k.weights,
            "regret": share(),
            "share": share().but(zero=0.0),
            "most": count(1).but(three=3),
        },
        {"meant": "belief"},
    )


def rows_of_simulations(w, k) -> Iterator[Row]:
    beta = positive()
    yield Row(
        "Designer.from_rewards",
        designer.Designer.from_rewards,
        {"alternatives": k.rewards, "mdp": k.mdp, "beta": beta, "temperature": TEMPERATURE},
    )
    yield Row("Designer.log_probabilities", w.designer.log_probabilities, {"weights": k.candidates})
    yield Row("Designer.write", w.designer.write, {"weights": k.weights, "key": k.key})
    yield Row("Designer.simulate", w.designer.simulate, {"prior": k.prior, "key": k.key})
    yield Row("Designer.proxy", w.designer.proxy, {"row": index(0, 3)})
    yield Row("Designer.replace", w.designer.replace, {"beta": beta})
    draws = array(np.zeros((4, 2)), another_shape=np.zeros((4, 3)))
    yield Row("ranks", calibration.ranks, {"truth": array(np.zeros(2)), "draws": draws, "key": k.key})
    yield Row(
        "reward_ranks",
        lambda evidence, **more: calibration.reward_ranks(more.pop("meant"), more.pop("draws"), evidence, **more),
        {"evidence": k.evidence, "meant": array(np.zeros(2)), "draws": draws, "key": k.key},
        {"meant": "reward"},
    )
    found = indices(np.array([0, 3, 5]), 10, another_shape=np.zeros((2, 2), int), none=np.array([], int))
    yield Row("ecdf", calibration.ecdf, {"ranks": found, "num_draws": count(9)})
    yield Row("p_value", calibration.p_value, {"ranks": found, "num_draws": count(9)})
    yield Row(
        "band",
        calibration.band,
        {"num_ranks": count(5), "num_draws": count(9), "level": share().but(zero=0.0, one=1.0)},
    )
    yield Row("Band.contains", calibration.band(5, 9).contains, {"ranks": found})


def rows_of_pressure(w, k) -> Iterator[Row]:
    reward = array(np.array([0.0, 1.0]))
    taus = array(np.array([1.0, 0.0]), negative=[-1.0, 0.0]).but(a_number=...)
    yield Row(
        "by_temperature",
        goodhart.by_temperature,
        {"mdp": k.mdp, "proxy": reward, "true": reward, "temperatures": taus},
    )
    values, log_p = array(np.array([0.0, 1.0, 1.0])), np.log(np.array([0.5, 0.25, 0.25]))
    outcomes = {
        "returns_proxy": values,
        "returns_true": values,
        "log_weights": array(log_p, unnormalised=np.zeros(3), plus_infinity=np.full(3, np.inf)),
    }
    n = array(np.array([1.0, 4.0]), below_one=[0.5, 2.0]).but(a_number=...)
    yield Row("best_of", goodhart.best_of, {**outcomes, "n": n})
    yield Row("regularised", goodhart.regularised, {**outcomes, "temperatures": taus})
    alone = {name: outcomes[name] for name in ("returns_proxy", "log_weights")}
    one = number(2.0, below_one=0.5)
    yield Row("best_of_chances", goodhart.best_of_chances, {**alone, "n": one})
    yield Row("regularised_chances", goodhart.regularised_chances, {**alone, "temperature": number(negative=-1.0)})
    yield Row("kl_bound", goodhart.kl_bound, {"n": n})
    at_random = policy(np.full((3, 4), 0.25))
    climb = {"mdp": k.endless, "proxy": reward}
    yield Row("ascend", goodhart.ascend, {**climb, "start": at_random.or_none(), "max_steps": count()})
    policies = policy(np.full((2, 3, 4), 0.25))
    yield Row("along", goodhart.along, {**climb, "policies": policies})
    runs = {"mdp": k.mdp, "proxy": reward, "true": reward}
    yield Row("path_returns", goodhart.path_returns, {**runs, "policy": at_random.or_none(), "most": count(100)})
    yield Row("answers", goodhart.answers, {"features": array(w.features), "feature_names": names(("floor", "goal"))})
    yield Row("causal", goodhart.causal, {"cost": number(negative=-1.0, infinite=np.inf)})
    yield Row("adversarial", goodhart.adversarial, {"cost": positive().but(beyond_float32=..., below_float32=...)})
    pairs = {**JUNK, "one": (1.0,), "unequal": ([1.0, 2.0], [1.0]), "NaN": (np.nan, 1.0), "words": ("a", "b")}
    yield Row(
        "diagnose",
        goodhart.diagnose,
        {
            "proxy": values,
            "true": values,
            "log_weights": outcomes["log_weights"].or_none(),
            "optimised": Kind((1.0, 1.0), {x: y for x, y in pairs.items() if x != "None"}),
            "by_payoff": array(np.ones(2)).or_none(),
            "rare": share().but(large=1.0),
            "tolerance": positive(0.1).but(infinite=..., beyond_float32=..., below_float32=...),
        },
    )


def rows_of_impact(w, k) -> Iterator[Row]:
    noop, below_one = index(0, 4), share().but(one=1.0, large=..., above=1.5)
    baseline = one_of(impact.Stepwise(), a_word="start")
    tasks = array(np.ones(3), negative=-np.ones(3), nothing=np.zeros(3)).or_none().but(a_number=...)
    reached = {"mdp": k.mdp, "noop": noop, "baseline": baseline, "discount": share().but(zero=0.0)}
    utilities = array(np.ones((2, 3))).but(one_row=np.ones(3))
    also = {"discount": "several outcomes"}
    yield Row("reachability", impact.reachability, {"mdp": k.mdp, "discount": reached["discount"]}, also)
    yield Row("unreachability", impact.unreachability, reached)
    yield Row("relative_reachability", impact.relative_reachability, {**reached, "tasks": tasks})
    yield Row("future_tasks", impact.future_tasks, {**reached, "tasks": tasks})
    valued = {"mdp": k.mdp, "noop": noop, "utilities": utilities, "discount": below_one}
    valued["deviation"] = Kind("absolute", {**JUNK, "another word": "increase"})
    yield Row("attainable_utility", impact.attainable_utility, {**valued, "baseline": baseline})
    over, steps = flags(np.array([False, False, True])).or_none(), count().or_none()
    yield Row("aup", impact.aup, {**valued, "baseline": baseline, "ends": over, "steps": steps})
    yield Row("Inaction", impact.Inaction, {"discount": below_one})
    yield Row("Stepwise", impact.Stepwise, {"discount": below_one})
    yield Row(
        "penalised",
        impact.penalised,
        {
            "mdp": k.mdp,
            "penalty": array(np.ones((1, 3, 4))),
            "noop": noop.or_none(),
            "ends": over,
            "running": share(),
        },
    )
    careful = impact.penalised(w.mdp, np.ones((3, 4)))
    yield Row("price", impact.price, {"mdp": Kind(careful, k.mdp.wrong).but(plain=w.mdp), "written": k.weights})


def rows_of_measures(w, k) -> Iterator[Row]:
    written, true = k.weights, k.weights.at(w.rewards[1])
    endless, at_random = {"mdp": k.endless}, policy(np.full((3, 4), 0.25))
    reward = array(np.array([0.0, 1.0, 2.0]))
    ranges = array(np.ones(2), negative=-np.ones(2))
    yield Row("regret", alignment.regret, {"mdp": k.mdp, "plan": array(w.rewards[0]), "true": k.rewards.but(
        one_row_only=..., a_grid=w.grid)})  # fmt: skip
    lost = alignment.regret(w.mdp, w.rewards[0], w.rewards)
    yield Row("Regret.above", lost.above, {"tolerance": number(negative=-1.0)})
    yield Row("Regret.tail", lost.tail, {"alpha": share().but(zero=0.0)})
    yield Row("performance", alignment.performance, {"mdp": k.mdp, "written": written, "true": true})
    meant = {"mdp": k.mdp, "policy": at_random, "written": written, "meant": true}
    yield Row("outer_inner", alignment.outer_inner, meant)
    given = array(np.zeros(3)).or_none()
    sight = {"steps": count(), "approval": given, "noise": given}
    yield Row("myopic", alignment.myopic, {"mdp": k.mdp, "written": written, "meant": true} | sight)
    yield Row("inflation", alignment.inflation, {
        "mdp": k.mdp, "policy": at_random, "seen": written, "true": true})  # fmt: skip
    looks = alignment.inflation(w.mdp, np.full((3, 4), 0.25), w.rewards[0], w.rewards[1])
    yield Row("Inflation.beside", looks.beside, {"reference": one_of(looks)})
    yield Row("current_reward", alignment.current_reward, {
        "mdp": k.mdp, "rewards": array(w.rewards).but(one_row=w.rewards[0]), "meant": true,
        "in_force": indices(np.array([0, 1, 2]), 3), "aware": truth()})  # fmt: skip
    yield Row("process_rewards", alignment.process_rewards, {
        "mdp": k.mdp, "reward": reward, "policy": at_random.or_none()})  # fmt: skip
    form = one_of(alignment.Minimal()).or_none()
    yield Row("geometry", alignment.geometry, {**endless, "canonical": form})
    shape = alignment.geometry(w.endless)
    pair = {"weights": array(w.rewards[0]), "others": array(w.rewards)}
    yield Row("Geometry.distance", shape.distance, pair)
    yield Row("Geometry.regret_bound", shape.regret_bound, {"written": pair["weights"], "true": pair["others"]})
    yield Row("starc", alignment.starc, {**endless, "written": reward, "true": reward, "canonical": form,
                                         "order": number(2.0, three=3, negative=-1.0)})  # fmt: skip
    for measure in (alignment.epic, alignment.dard):
        yield Row(measure.__name__, measure, {**endless, "written": reward, "true": reward})
    yield Row("hackable", alignment.hackable, {**endless, "written": written, "true": true})
    yield Row("correlation", alignment.correlation, {
        **endless, "reference": at_random.or_none(), "proxy": written, "true": true})  # fmt: skip
    agreed = alignment.correlation(w.endless, None, w.rewards[0], w.rewards[1])
    for method in (agreed.guarantee, agreed.laidlaw, agreed.chi_squared, agreed.worst_reward):
        yield Row(f"Correlation.{method.__name__}", method, {"policy": at_random})
    for how in ("penalty", "correlation"):
        yield Row("plan_correlated", planning.plan_correlated, {
            **endless, "proxy": written, "reference": at_random.or_none(), how: share().but(zero=0.0, one=...).or_none()
            if how == "correlation" else positive(), "tol": positive(1e-3).or_none()})  # fmt: skip
    options = {"features": array(w.features), "belief": k.belief}
    asked = {"offset": array(np.zeros(3)), "risk": one_of(risk.CVaR(0.5)), "tol": positive(1e-3)}
    more = {"mixture": truth(False), "visits": number(1.0, negative=-1.0), "units": array(np.ones(3)).or_none()}
    yield Row("choose", planning.choose, options | asked | more)
    few = {"features": array(w.features).but(a_number=...), "true": array(w.rewards[0])}
    yield Row("order_among", alignment.order_among, {**few, "written": array(w.rewards[1])})
    yield Row("simplification", alignment.simplification, few)
    yield Row("regret_on_any_map", alignment.regret_on_any_map, {
        "written": written, "true": true, "ranges": ranges, "total_visits": number(negative=-1.0)})  # fmt: skip


TEMPERATURE = number(1.0, negative=-1.0, infinite=np.inf, beyond_float32=1e300)
# A path that cannot have happened is told by its step, and two of unequal length by both names.
PATHS = dict.fromkeys(("states", "actions", "robot", "improved", "preferred", "other", "paths"), "path")
PATHS |= {
    "actions": "action",
    "states": "state",
    "robot": "state",
    "improved": "state",
    "preferred": "state",
    "other": "state",
    "paths": "path",
}
TABLES = {
    "mdps": rows_of_mdps,
    "doors": rows_of_doors,
    "maps": rows_of_maps,
    "worlds": rows_of_worlds,
    "evidence": rows_of_evidence,
    "posteriors": rows_of_posteriors,
    "plans": rows_of_plans,
    "simulators": rows_of_simulators,
    "risks": rows_of_risks,
    "queries": rows_of_queries,
    "impact": rows_of_impact,
    "pressure": rows_of_pressure,
    "measures": rows_of_measures,
    "simulations": rows_of_simulations,
}


def failures(row: Row) -> Iterator[str]:
    """What is wrong with the errors that one row meets."""
    right = {name: kind.right for name, kind in row.arguments.items()}
    for name, kind in row.arguments.items():
        for what, bad in kind.wrong.items():
            told = refusal(row, right | {name: bad}, name)
            if told is not None:
                yield f"{row.name}({name}={what}): {told}"


def refusal(row: Row, arguments: dict[str, Any], name: str) -> str | None:
    """None where the call is refused as it should be; else what happened instead."""
    positional = [x for n, x in arguments.items() if n.startswith("*")]
    try:
        row.call(*positional, **{n: x for n, x in arguments.items() if not n.startswith("*")})
    except (ValueError, TypeError) as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        ours = Path(frame.filename).is_relative_to(ROOT) and "tests" not in Path(frame.filename).relative_to(ROOT).parts
        if not ours or Path(frame.filename).relative_to(ROOT).parts[0] not in ("mdps", "ird", "cirl"):
            return f"raised in {Path(frame.filename).name}:{frame.lineno}: {type(error).__name__}: {str(error)[:150]}"
        words = (name.lstrip("*"), row.also.get(name, name.lstrip("*")))
        if not any(word in str(error) for word in words):
            return f"does not name it: {str(error)[:150]}"
        return None
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:150]}"
    return "accepted"


class Compilations:
    """How many programs were compiled."""

    def __init__(self):
        self.count = 0

    def __call__(self, event: str, *_, **__):
        self.count += "backend_compile" in event


@pytest.fixture(scope="module")
def compiled():
    counter = Compilations()
    jax.monitoring.register_event_duration_secs_listener(counter)
    yield counter
    jax.monitoring.unregister_event_duration_listener(counter)


@pytest.mark.parametrize("package", TABLES)
def test_bad_input_is_refused_by_us_by_name_and_before_compiling(package, compiled, unannotated):
    w = world()
    rows = list(TABLES[package](w, kinds(w)))
    compiled.count = 0
    found = [told for row in rows for told in failures(row)]
    assert not found, "\n".join(found)
    assert compiled.count == 0
