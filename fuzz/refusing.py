"""Bad input: one argument of a good call is replaced by what it must not be, and we refuse it, in words of ours."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import cirl
import ird
import mdps
from fuzz.promises import Checked
from ird import evidence, planning, posterior, risk

ROWS = 40
OURS = tuple(str(Path(package.__file__).parent) for package in (mdps, ird, cirl))
S, A, K, N, T = 4, 2, 3, 5, 3


class Case(NamedTuple):
    """A call, with what each argument is."""

    function: Callable
    good: dict[str, Any]
    kinds: dict[str, str]


class Bad(NamedTuple):
    """Calls, each with one argument that is bad."""

    calls: list[tuple[str, str, Any]]  # name of the call, the argument, what it is replaced by

    @property
    def size(self) -> int:
        """How many problems there are."""
        return len(self.calls)

    def show(self, i: int) -> str:
        """Problem `i` in a line."""
        name, argument, value = self.calls[i]
        return f"{name} with {argument}={value!r}"


def wide(seed: int, batch: int) -> bool:
    """Whether a batch is in float64."""
    return batch % 2 == 0


def cases() -> dict[str, Case]:
    """Good calls of the public functions that people call by hand, and of what kind each argument is."""
    rng = np.random.default_rng(0)
    P, features = rng.dirichlet(np.ones(S), size=(S, A)), rng.normal(size=(S, A, K))
    mdp = mdps.MDP.from_dense(P, features, np.full(S, 0.25), discount=0.9)
    ends = mdp.replace(horizon=T)
    policy, weights, options = np.full((S, A), 0.5), rng.normal(size=(N, K)), rng.normal(size=(N, K))
    belief = posterior.exact(candidates=weights)
    game = cirl.Game.from_dense(P[:, :, None], features[:, :, None], np.full(K, 1 / K), np.full(S, 0.25), horizon=2)
    key, where = jax.random.key(0), np.arange(S) == 1
    model = {"transition": P, "features": features, "initial": np.full(S, 0.25), "discount": 0.9, "horizon": None}
    kinds = {"transition": "rows", "features": "array", "initial": "rows", "discount": "discount", "horizon": "horizon"}
    return {
        "mdps.MDP.from_dense": Case(mdps.MDP.from_dense, model, kinds),
        "mdps.solve": Case(
            mdps.solve,
            {"mdp": mdp, "reward": features[:, :, 0], "temperature": 0.5, "tol": 1e-3, "max_steps": 100},
            {"mdp": "mdp", "reward": "array", "temperature": "not negative", "tol": "tol", "max_steps": "count"},
        ),
        "mdps.optimum": Case(mdps.optimum, {"mdp": mdp, "weights": weights[0]}, {"mdp": "mdp", "weights": "array"}),
        "mdps.occupancy": Case(mdps.occupancy, {"mdp": mdp, "policy": policy}, {"mdp": "mdp", "policy": "rows"}),
        "mdps.feature_expectations": Case(
            mdps.feature_expectations, {"mdp": ends, "policy": policy}, {"mdp": "mdp", "policy": "rows"}
        ),
        "mdps.policy_return": Case(
            mdps.policy_return,
            {"mdp": mdp, "policy": policy, "reward": features[:, :, 0]},
            {"mdp": "mdp", "policy": "rows", "reward": "array"},
        ),
        "mdps.visit_probability": Case(
            mdps.visit_probability,
            {"mdp": mdp, "policy": policy, "where": where},
            {"mdp": "mdp", "policy": "rows", "where": "flags"},
        ),
        "mdps.rollout": Case(
            mdps.rollout,
            {"mdp": mdp, "policy": policy, "key": key, "num_steps": 3},
            {"mdp": "mdp", "policy": "rows", "key": "key", "num_steps": "count"},
        ),
        "mdps.stack": Case(mdps.stack, {"mdps": [mdp, mdp]}, {"mdps": "mdps"}),
        "ird.evidence.ProxyReward": Case(
            evidence.ProxyReward,
            {"weights": options[0], "mdp": ends, "beta": 2.0, "alternatives": options},
            {"weights": "array", "mdp": "mdp", "beta": "positive", "alternatives": "options"},
        ),
        "ird.evidence.Choice": Case(
            evidence.Choice,
            {"features": options, "chosen": 1, "beta": 2.0},
            {"features": "options", "chosen": "index", "beta": "positive"},
        ),
        "ird.evidence.Comparison": Case(
            evidence.Comparison,
            {"preferred": options, "other": options[::-1], "beta": 2.0},
            {"preferred": "array", "other": "array", "beta": "positive"},
        ),
        "ird.posterior.exact": Case(
            posterior.exact,
            {"candidates": weights, "log_prior": np.zeros(N)},
            {"candidates": "array", "log_prior": "log"},
        ),
        "ird.posterior.Posterior.resample": Case(
            belief.resample, {"num_samples": 4, "key": key}, {"num_samples": "count", "key": "key"}
        ),
        "ird.risk.CVaR": Case(risk.CVaR, {"alpha": 0.3}, {"alpha": "share"}),
        "ird.risk.MeanCVaR": Case(risk.MeanCVaR, {"weight": 0.3, "alpha": 0.3}, {"weight": "weight", "alpha": "share"}),
        "ird.risk.Entropic": Case(risk.Entropic, {"aversion": 0.3}, {"aversion": "positive"}),
        "ird.planning.plan": Case(
            planning.plan,
            {"mdp": ends, "belief": belief, "risk": risk.CVaR(0.5), "offset": np.zeros(N), "tol": 1e-3, "max_steps": 9},
            {
                "mdp": "mdp",
                "belief": "belief",
                "risk": "risk",
                "offset": "array",
                "tol": "tolerance",
                "max_steps": "count",
            },
        ),
        "ird.planning.plan_per_step": Case(
            planning.plan_per_step,
            {"mdp": ends, "belief": belief, "risk": risk.CVaR(0.5), "baseline": np.zeros(K)},
            {"mdp": "mdp", "belief": "belief", "risk": "risk", "baseline": "array"},
        ),
        "ird.planning.start_offset": Case(
            planning.start_offset, {"mdp": ends, "belief": belief}, {"mdp": "mdp", "belief": "belief"}
        ),
        "cirl.Game.from_dense": Case(
            cirl.Game.from_dense,
            {
                "transition": P[:, :, None],
                "reward": features[:, :, None],
                "prior": np.full(K, 1 / K),
                "initial": np.full(S, 0.25),
                "discount": 0.9,
                "horizon": 3,
            },
            {"transition": "rows", "reward": "array", "prior": "rows", "initial": "rows", "horizon": "horizon"},
        ),
        "cirl.solve": Case(
            cirl.solve,
            {"game": game, "human": cirl.human.Rational(), "concept": cirl.Commitment(), "tol": 1e-3},
            {"game": "game", "human": "human", "concept": "human", "tol": "tolerance"},
        ),
        "cirl.human.Boltzmann": Case(cirl.human.Boltzmann, {"beta": 1.0}, {"beta": "not negative"}),
        "cirl.human.EpsilonGreedy": Case(cirl.human.EpsilonGreedy, {"epsilon": 0.1}, {"epsilon": "weight"}),
    }


ODD = ("five", b"5", {"a": 1}, 1j, object(), np.array("x"), np.array([1j]))
NO_NUMBER = (*ODD, None, np.nan, np.inf, -np.inf, [1.0], np.ones(2), True)
NO_COUNT = (*ODD, None, np.nan, 1.5, 0, -1, [3], True, np.float32(3))


def bad_values(rng, kind: str, good) -> Any:
    """Something that an argument of this kind must not be."""
    some = {
        "not negative": (*NO_NUMBER, -1.0, -1e-30),
        "positive": (*NO_NUMBER, -1.0, 0.0),
        "tolerance": (*(x for x in NO_NUMBER if x is not np.inf), -1.0, 0.0),  # any bound meets an infinite one
        "tol": (*(x for x in NO_NUMBER if x is not None and x is not np.inf), -1.0, 0.0),
        "share": (*NO_NUMBER, 0.0, -0.1, 1.1),
        "weight": (*NO_NUMBER, -0.1, 1.1),
        "discount": (*NO_NUMBER, 1.0, -0.1, 1.5),
        "count": NO_COUNT,
        "horizon": tuple(x for x in NO_COUNT if x is not None),
        "index": (*ODD, None, np.nan, 1.5, -1, 99, [1], True),
        "key": (*ODD, None, 0, 1.5, True, np.zeros(3)),
        "mdp": (*ODD, None, 3, np.ones((S, A)), "grid", "game"),
        "mdps": (*ODD, None, 3, [], [1], ["mdp"], "unlike"),
        "belief": (*ODD, None, 3, np.ones((N, K)), "mdp", "other features"),
        "risk": (*ODD, None, 0.1, risk.CVaR, "class"),
        "game": (*ODD, None, 3, "mdp"),
        "human": (*ODD, 3, cirl.human.Rational, cirl.Commitment),
    }.get(kind)
    if some is not None:
        return some[rng.integers(len(some))]
    return bad_array(rng, kind, np.asarray(good))


def bad_array(rng, kind: str, good: np.ndarray) -> Any:
    """An array of another shape or dtype, or with a number in it that must not be."""
    way = rng.choice(["odd", "none", "value", "longer", "deeper", "flat", "masked", "complex", "text"])
    if way == "longer" and kind == "options":  # one more is no fault
        way = "deeper"
    if way == "value":
        values = {"rows": (np.nan, np.inf, -0.5, 2.0), "log": (np.nan, np.inf), "flags": (np.nan, 2.0, -1.0)}
        spoilt = good.astype(float)
        spoilt.flat[rng.integers(spoilt.size)] = rng.choice(values.get(kind, (np.nan, np.inf)))
        return spoilt
    if way == "none" and kind == "log":
        way = "longer"  # None is a uniform prior
    return {
        "odd": ODD[rng.integers(len(ODD))],
        "none": None,
        "longer": np.concatenate([good, good[:1]]),
        "deeper": good[None, None, None],
        "flat": np.float64(good.flat[0]),
        "masked": np.ma.masked_array(good, np.arange(good.size).reshape(good.shape) == 0),
        "complex": good + 1j,
        "text": good.astype(str),
    }[way]


def draw(seed: int, batch: int) -> Bad:
    """Calls with one bad argument each."""
    rng, known, calls = np.random.default_rng([seed, batch, 9]), cases(), []
    for _ in range(ROWS):
        name = list(known)[rng.integers(len(known))]
        case = known[name]
        argument = list(case.kinds)[rng.integers(len(case.kinds))]
        calls.append((name, argument, bad_values(rng, case.kinds[argument], case.good[argument])))
    return Bad(calls)


def meant(value: Any, known: dict[str, Case]) -> Any:
    """Words that stand for objects."""
    mdp = known["mdps.solve"].good["mdp"]
    if not isinstance(value, str):
        return [mdp, "x"] if isinstance(value, list) and value == ["mdp"] else value
    if value == "grid":
        return mdps.GridWorld.from_text("S.G", {"S": "a", ".": "b", "G": "c"}, discount=0.9)
    if value == "other features":
        names = tuple("xyz")
        return planning_belief(names)
    return {
        "mdp": mdp,
        "game": known["cirl.solve"].good["game"],
        "class": risk.Entropic,
        "unlike": [mdp, mdp.replace(horizon=5)],
    }.get(value, value)


def planning_belief(names: tuple[str, ...]):
    """A belief about other features."""
    seen = evidence.Choice(np.eye(K), 0, feature_names=names)
    return posterior.exact(seen, candidates=np.eye(K))


def answers(p: Bad) -> list[str]:
    """Empty where a call was refused by us, else what happened."""
    known = cases()
    return [refused(known[name], argument, meant(value, known)) for name, argument, value in p.calls]


def refused(case: Case, argument: str, value: Any) -> str:
    """What happened, if it was not a ValueError or TypeError raised in our code."""
    try:
        case.function(**case.good | {argument: value})
    except (ValueError, TypeError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = frames[-1].filename.startswith(OURS) and len(str(error)) > 20
        return "" if ours else f"{type(error).__name__} from {frames[-1].filename}: {str(error)[:80]}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:80]}"
    return "accepted"


def call(p: Bad, i: int) -> str:
    """How the library was called."""
    return p.show(i)[:110]


def check(p: Bad, s: list[str]) -> list[Checked]:
    """Every one is refused by us."""
    return [Checked("bad input is refused by us", [float(bool(told)) for told in s], 0.0)]
