"""Careful plans against linear programs over occupancies, in units in which HiGHS is at ease."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import mdps
from fuzz import truth
from fuzz.linear import entropic_optimum, occupancies, tail_optimum
from fuzz.measuring import exactly
from fuzz.problems import MEDIUM, Settings, one, scale
from fuzz.promises import Checked
from ird import planning, risk

SAMPLES, ROWS = 12, 6
KINDS = ("MeanCVaR", "Entropic", "WorstCase", "CVaR", "Mean")
STRUCTURES = ("sparse", "absorbing")


class Plans(NamedTuple):
    """Beliefs about one MDP each, an offset, and a measure's two numbers."""

    kind: str
    calls: str
    mdps: list[mdps.MDP]
    weights: np.ndarray  # [n, N, K]
    log_weights: np.ndarray  # [n, N]
    offset: np.ndarray  # [n, N]
    first: np.ndarray  # [n]
    second: np.ndarray  # [n]
    tol: float
    unit: np.ndarray  # [n] the scale of the weights

    @property
    def size(self) -> int:
        """How many problems there are."""
        return len(self.weights)

    def show(self, i: int) -> str:
        """Problem `i` in a line."""
        horizon, tol = self.mdps[i].horizon, self.tol
        return (
            f"{self.kind}({self.first[i]!r}, {self.second[i]!r}), horizon {horizon}, tol {tol}; MDP problems.mdps[{i}]"
        )


def wide(seed: int, batch: int) -> bool:
    """Whether a batch is in float64."""
    return batch // len(KINDS) % 2 == 0


def draw(seed: int, batch: int) -> Plans:
    """Beliefs of one scale about MDPs of one structure."""
    rng = np.random.default_rng([seed, batch, 4])
    turn = batch // (2 * len(KINDS))
    chosen = Settings("", "", "plain", STRUCTURES[turn // 2 % 2], False, turn % 2 == 1, False, False)
    kind, calls = KINDS[batch % len(KINDS)], ("stacked", "plain")[turn // 4 % 2]
    models = [one(rng, chosen, MEDIUM)[0] for _ in range(ROWS)]
    unit = np.array([scale(rng) for _ in range(ROWS)])
    weights = rng.normal(size=(ROWS, SAMPLES, MEDIUM.features)) * unit[:, None, None]
    weights = np.where(
        rng.random((ROWS, 1, 1)) < 0.2, np.rint(weights / unit[:, None, None]) * unit[:, None, None], weights
    )
    p = np.full((ROWS, SAMPLES), 1 / SAMPLES)
    if kind != "WorstCase":
        p = rng.dirichlet(np.ones(SAMPLES), size=ROWS) * (rng.random((ROWS, SAMPLES)) < 0.9) + 1e-6
        p /= p.sum(axis=1, keepdims=True)
    offset = rng.normal(size=(ROWS, SAMPLES)) * unit[:, None] * rng.choice([0.0, 1.0, 10.0], (ROWS, 1))
    first = 10 ** rng.uniform(-7, 2, ROWS) / unit if kind == "Entropic" else rng.uniform(0.05, 1, ROWS)
    dtype, tol = jnp.result_type(float), float(rng.choice([1e-3, 1e-6]))
    numbers = (np.asarray(x, dtype) for x in (weights, np.log(p), offset, first, rng.uniform(0.05, 1, ROWS)))
    return Plans(kind, calls, models, *numbers, tol, unit)


class Belief(NamedTuple):
    """What planning asks of a belief."""

    weights: jax.Array
    log_weights: jax.Array
    feature_names: tuple[str, ...]


@functools.cache
def asked(kind: str):
    """A careful plan, per trajectory and per step."""

    def ask(mdp, weights, log_weights, offset, first, second, tol):
        numbers = {"Entropic": (first,), "CVaR": (first,), "MeanCVaR": (first, second)}.get(kind, ())
        measure = getattr(risk, kind)(*numbers)
        belief = Belief(weights, log_weights, mdp.feature_names)
        baseline = planning.start_features(mdp)
        return (
            planning.plan(mdp, belief, risk=measure, offset=offset, tol=tol),
            planning.plan_per_step(mdp, belief, risk=measure, baseline=baseline),
        )

    return ask


@functools.cache
def together(kind: str):
    """The same for several MDPs and beliefs at once."""
    return jax.jit(jax.vmap(asked(kind), in_axes=(0, 0, 0, 0, 0, 0, None)))


def answers(p: Plans):
    """What the library says."""
    arrays = p.weights, p.log_weights, p.offset, p.first, p.second
    if p.calls == "stacked":
        return jax.tree.map(np.asarray, together(p.kind)(mdps.stack(p.mdps), *arrays, p.tol))
    found = [asked(p.kind)(p.mdps[i], *(x[i] for x in arrays), p.tol) for i in range(p.size)]
    return jax.tree.map(lambda *x: np.stack(x), *found)


def call(p: Plans, i: int) -> str:
    """How the library was called."""
    how = "jit(vmap) of " if p.calls == "stacked" else ""
    return how + "planning.plan and planning.plan_per_step, as in planning.asked"


def check(p: Plans, s) -> list[Checked]:
    """Optimum between objective and bound, the objective attained, and `converged` honest; per step alike."""
    careful, stepwise = s
    W, log_p, c = (x.astype(float) for x in (p.weights, p.log_weights, p.offset))
    P, features, initial, gamma = tables(p.mdps)
    prob, T, n = np.exp(log_p) / np.exp(log_p).sum(axis=1, keepdims=True), p.mdps[0].horizon, p.size
    total = 1 / (1 - gamma) if T is None else np.array([np.sum(g ** np.arange(T)) for g in gamma])
    reach = np.abs(np.einsum("nik,nsak->nisa", W, features)).max(axis=(1, 2, 3))
    size = total * reach + np.abs(c).max(axis=1)
    eps = float(np.finfo(p.weights.dtype).eps)
    near = (1e-9 if eps < 1e-10 else 64 * eps * (P.shape[1] + 8) * (1 / (1 - gamma) if T is None else T)) * size
    low, high = np.array([best(p, i, P, features, initial, gamma, prob, size) for i in range(n)]).T
    solver, says = 2e-7 * size, np.isfinite(low)
    objective, bound = careful.objective.astype(float), careful.bound.astype(float)
    attained = value(p, P, features, initial, gamma, prob, careful.policy)
    gap = (bound - objective) / np.maximum(1, np.abs(objective))
    enough = (eps < 1e-10) & (p.tol * np.maximum(1, np.abs(objective)) > 1e-8 * size)
    return [
        Checked("plan: objective is attained", np.maximum(objective - attained, 0), near),
        Checked("plan: objective below the optimum", np.maximum(objective - high, 0), near + solver, says),
        Checked("plan: bound above the optimum", np.maximum(low - bound, 0), solver, says & ~np.isnan(bound)),
        Checked("plan: converged means within tol", np.where(careful.converged, gap, 0), p.tol * (1 + 8 * eps)),
        Checked("plan: what can be reached is reached", (~careful.converged).astype(float), 0.0, enough),
        *each_step(p, stepwise, P, features, initial, gamma, prob, near),
    ]


def tables(models):
    """P `[n, S, A, S']`, features `[n, S, A, K]`, initial distributions and discounts, as the library holds them."""
    P = np.stack([np.asarray(m.to_dense(), float) for m in models])
    features = np.stack([np.asarray(m.features, float) for m in models])
    features = features if features.ndim == 4 else np.repeat(features[:, :, None], P.shape[2], axis=2)
    return (
        P,
        features,
        *(np.stack([np.asarray(x, float) for x in y]) for y in zip(*((m.initial, m.discount) for m in models))),
    )


def best(p: Plans, i, P, features, initial, gamma, prob, size) -> tuple[float, float]:
    """Bounds on the optimum of problem `i`, from linear programs in units of its size."""
    polytope = occupancies(P[i], features[i], initial[i], gamma[i], p.mdps[i].horizon)
    u = p.unit[i]
    W, c, first, second = p.weights[i] / u, p.offset[i] / u, float(p.first[i]), float(p.second[i])
    if p.kind == "Entropic":
        low, high = entropic_optimum(*polytope, W, prob[i], c, first * u)
        return low * u, high * u
    share, alpha = {
        "Mean": (0.0, 1.0),
        "WorstCase": (1.0, 0.5 / SAMPLES),
        "CVaR": (1.0, first),
        "MeanCVaR": (first, second),
    }[p.kind]
    found = tail_optimum(*polytope, W, prob[i], c, share, alpha) * u
    return found, found


def value(p: Plans, P, features, initial, gamma, prob, policy):
    """The risk-adjusted return of each policy."""
    phi = np.einsum("nsa,nsak->nk", truth.visits(P, policy, initial, gamma, p.mdps[0].horizon).value, features)
    returns = np.einsum("nik,nk->ni", p.weights, phi) - p.offset
    return exactly(p.kind, returns, prob, p.first.astype(truth.LONG), p.second.astype(truth.LONG)).astype(float)


def each_step(p: Plans, s, P, features, initial, gamma, prob, near) -> list[Checked]:
    """`plan_per_step` against the optimum for the risk-adjusted reward of each step."""
    (n, S, A), T = P.shape[:3], p.mdps[0].horizon
    moved = features - np.einsum("ns,nsk->nk", initial, features.mean(axis=2))[:, None, None]
    returns = np.einsum("nik,nsak->nsai", p.weights.astype(truth.LONG), moved).reshape(n * S * A, -1)
    each = [np.repeat(x.astype(truth.LONG), S * A, axis=0) for x in (prob, p.first, p.second)]
    r = exactly(p.kind, returns, *each).reshape(n, S, A)
    known = truth.optimum(P, r, gamma) if T is None else truth.backward(P, r, gamma, T)
    optimum = (initial * (known.value if T is None else known.value[:, 0])).sum(axis=-1).astype(float)
    earned = (truth.visits(P, s.policy, initial, gamma, T).value * r).sum(axis=(1, 2)).astype(float)
    return [
        Checked("plan_per_step: objective is attained", np.abs(s.objective - earned), near),
        Checked("plan_per_step: objective below the optimum", np.maximum(s.objective - optimum, 0), near),
        Checked(
            "plan_per_step: bound above the optimum", np.maximum(optimum - s.bound, 0), known.error, ~np.isnan(s.bound)
        ),
    ]
