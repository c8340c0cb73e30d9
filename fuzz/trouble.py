"""Traced NaN and infinity: no answer made of them may call itself known, and none may spoil its neighbours."""

import functools
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import mdps
from fuzz.planning import Belief
from fuzz.problems import MEDIUM, Settings, one, reward, structures
from fuzz.promises import Checked
from fuzz.structures import STRUCTURES
from ird import planning, risk

ROWS, SAMPLES = 8, 6
ASKED = (
    "hard",
    "soft",
    "optimum",
    "hard to a horizon",
    "soft to a horizon",
    "optimum to a horizon",
    "plan",
    "per step",
)
BAD = (np.nan, np.inf, -np.inf)


class Troubled(NamedTuple):
    """Problems side by side, and the same with something broken in one of them."""

    what: str
    stacked: mdps.MDP
    arrays: dict[str, np.ndarray]
    broken: str  # which array or field
    where: int  # which problem
    value: float

    @property
    def size(self) -> int:
        """How many problems there are."""
        return ROWS

    def show(self, i: int) -> str:
        """Problem `i` in a line."""
        return f"{self.what}, {self.broken} of problem {self.where} is {self.value} somewhere"


def wide(seed: int, batch: int) -> bool:
    """Whether a batch is in float64."""
    return batch // len(ASKED) % 2 == 0


def draw(seed: int, batch: int) -> Troubled:
    """Problems of many structures, one of them broken."""
    rng, what = np.random.default_rng([seed, batch, 6]), ASKED[batch % len(ASKED)]
    chosen = Settings(
        "", "", "stacked", str(rng.choice(list(STRUCTURES))), False, "horizon" in what, "soft" in what, False
    )
    forms = structures([seed, batch % (2 * len(ASKED)), 6], chosen, MEDIUM, ROWS)
    models = [one(rng, chosen, MEDIUM, form)[0] for form in forms]
    S, A, K = MEDIUM.states, MEDIUM.actions, MEDIUM.features
    arrays = {
        "reward": np.stack([reward(rng, (S, A)) for _ in range(ROWS)]),
        "temperature": 10 ** rng.uniform(-2, 2, ROWS),
        "weights": rng.normal(size=(ROWS, K)),
        "belief": rng.normal(size=(ROWS, SAMPLES, K)),
        "log_weights": np.log(rng.dirichlet(np.ones(SAMPLES), size=ROWS)),
        "offset": rng.normal(size=(ROWS, SAMPLES)),
        "baseline": rng.normal(size=(ROWS, K)),
        "tol": np.full(ROWS, 1e-3),
    }
    used = {
        "hard": ("reward", "tol"),
        "soft": ("reward", "temperature", "tol"),
        "optimum": ("weights", "features", "initial"),  # its bound says how far it got, whatever was asked
        "plan": ("belief", "log_weights", "offset", "features", "initial", "tol"),
        "per step": ("belief", "log_weights", "baseline", "features", "initial"),
    }[what.removesuffix(" to a horizon")]
    broken = str(rng.choice([*used, "probability", "discount"]))
    value = float(rng.choice([*BAD, *((1.5,) if broken == "discount" and "horizon" not in what else ())]))
    if broken == "tol":  # an infinite tolerance is met by any bound
        value = np.nan
    if broken == "log_weights" and value == -np.inf:  # a sample that cannot be
        value = np.inf
    dtype = jnp.result_type(float)
    arrays = {name: np.asarray(x, dtype) for name, x in arrays.items()}
    return Troubled(what, mdps.stack(models), arrays, broken, int(rng.integers(ROWS)), value)


def spoilt(p: Troubled):
    """The MDPs and arrays with the one number broken."""

    def spoil(x):
        x = np.array(x)
        row = x[p.where : p.where + 1].reshape(-1)
        places = np.flatnonzero(row != 0) if p.broken == "probability" else np.arange(row.size)
        x[p.where].reshape(-1)[places[len(places) // 2]] = p.value if x.ndim > 1 else 0
        if x.ndim == 1:
            x[p.where] = p.value
        return jnp.asarray(x)

    if p.broken in p.arrays:
        return p.stacked, p.arrays | {p.broken: np.asarray(spoil(p.arrays[p.broken]))}
    return replace(p.stacked, **{p.broken: spoil(getattr(p.stacked, p.broken))}), p.arrays


@functools.cache
def asked(what: str):
    """The function that is asked, for several MDPs at once; it says a value, a bound and whether that is known."""

    def ask(mdp, x):
        if "optimum" in what:
            found = mdps.optimum(mdp, x["weights"], tol=x["tol"])
            return found.value, found.error_bound, jnp.isfinite(found.error_bound)
        if what in ("plan", "per step"):
            belief = Belief(x["belief"], x["log_weights"], mdp.feature_names)
            if what == "plan":
                found = planning.plan(mdp, belief, risk=risk.CVaR(0.3), offset=x["offset"], tol=x["tol"])
            else:
                found = planning.plan_per_step(mdp, belief, risk=risk.CVaR(0.3), baseline=x["baseline"])
            return found.objective, found.bound, found.converged
        temperature = x["temperature"] if "soft" in what else 0.0
        found = mdps.solve(mdp, x["reward"], temperature=temperature, tol=x["tol"])
        return found.value, found.error_bound, found.converged

    return jax.jit(jax.vmap(ask))


def answers(p: Troubled):
    """What the library says of the problems as they were drawn, and with one of them broken."""
    given = asked(p.what)(p.stacked, p.arrays), asked(p.what)(*spoilt(p))
    return [[np.asarray(x) for x in found] for found in given]


def call(p: Troubled, i: int) -> str:
    """How the library was called."""
    return f"jit(vmap) of {p.what}, with {p.value} in {p.broken} of problem {p.where}"


def check(p: Troubled, s) -> list[Checked]:
    """The broken one says that it is, and its neighbours say what they said."""
    whole, broken = s
    own = np.arange(ROWS) == p.where
    differs = [
        np.reshape(~((a == b) | (np.isnan(a) & np.isnan(b))), (ROWS, -1)).any(axis=1) for a, b in zip(whole, broken)
    ]
    return [
        Checked("traced NaN and infinity: never converged", broken[2].astype(float), 0.0, own),
        Checked("traced NaN and infinity: neighbours unmoved", np.any(differs, axis=0).astype(float), 0.0, ~own),
    ]
