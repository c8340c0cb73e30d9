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
from fuzz.problems import MEDIUM, Settings, dense, one, scale, structures
from fuzz.promises import Checked
from ird import planning, risk

SAMPLES, ROWS = 12, 16
KINDS = ("MeanCVaR", "Entropic", "WorstCase", "CVaR", "Mean")


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
    rng, turn = np.random.default_rng([seed, batch, 4]), batch // len(KINDS)
    calls = "plain" if turn % 32 == 31 else "stacked"
    kind, chosen = KINDS[batch % len(KINDS)], Settings("", "", "stacked", "", False, turn % 4 in (1, 2), False, False)
    shape = MEDIUM._replace(per_action=turn % 4 in (0, 1))
    forms = structures([seed, turn % 4, 4], chosen, shape, ROWS)
    models = [one(rng, chosen, shape, form)[0] for form in (forms if calls == "stacked" else forms[:1] * 4)]
    n = len(models)
    unit = np.array([scale(rng) for _ in range(n)])
    weights = rng.normal(size=(n, SAMPLES, MEDIUM.features)) * unit[:, None, None]
    weights = np.where(
        rng.random((n, 1, 1)) < 0.2, np.rint(weights / unit[:, None, None]) * unit[:, None, None], weights
    )
    p = np.full((n, SAMPLES), 1 / SAMPLES)
    if kind != "WorstCase":
        p = rng.dirichlet(np.ones(SAMPLES), size=n) * (rng.random((n, SAMPLES)) < 0.9) + 1e-6
        p /= p.sum(axis=1, keepdims=True)
    offset = rng.normal(size=(n, SAMPLES)) * unit[:, None] * rng.choice([0.0, 1.0, 10.0], (n, 1))
    first = 10 ** rng.uniform(-7, 2, n) / unit if kind == "Entropic" else rng.uniform(0.05, 1, n)
    dtype, tol = jnp.result_type(float), float(rng.choice([1e-3, 1e-6]))
    numbers = (np.asarray(x, dtype) for x in (weights, np.log(p), offset, first, rng.uniform(0.05, 1, n)))
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
    P, features, initial, gamma, exists = tables(p.mdps)
    prob, T, n = np.exp(log_p) / np.exp(log_p).sum(axis=1, keepdims=True), p.mdps[0].horizon, p.size
    total = 1 / (1 - gamma) if T is None else np.array([np.sum(g ** np.arange(T)) for g in gamma])
    reach = np.abs(np.einsum("nik,nsak->nisa", W, features)).max(axis=(1, 2, 3))
    size = total * reach + np.abs(c).max(axis=1)
    eps = float(np.finfo(p.weights.dtype).eps)
    near = (1e-9 if eps < 1e-10 else 64 * eps * (P.shape[1] + 8) * (1 / (1 - gamma) if T is None else T)) * size
    low, high = np.array([best(p, i, P, features, initial, gamma, exists, prob, size) for i in range(n)]).T
    solver, says = 2e-7 * size, np.isfinite(low)
    objective, bound = careful.objective.astype(float), careful.bound.astype(float)
    attained = value(p, P, features, initial, gamma, prob, careful.policy)
    gap = (bound - objective) / np.maximum(1, np.abs(objective))
    enough = (eps < 1e-10) & (p.tol * np.maximum(1, np.abs(objective)) > 1e-8 * size)
    return [
        Checked("plan: objective is what the policy attains", np.abs(objective - attained), near),
        Checked("plan: objective below the optimum", np.maximum(objective - high, 0), near + solver, says),
        Checked("plan: bound above the optimum", np.maximum(low - bound, 0), solver, says & ~np.isnan(bound)),
        Checked("plan: converged means within tol", np.where(careful.converged, gap, 0), p.tol * (1 + 8 * eps)),
        Checked("plan: what can be reached is reached", (~careful.converged).astype(float), 0.0, enough),
        *each_step(p, stepwise, P, features, initial, gamma, exists, prob, near),
    ]


def tables(models):
    """P `[n, S, A, S']`, features `[n, S, A, K]`, starts, discounts, and which actions exist, as held."""
    stacked = mdps.stack(models)
    P, features = np.asarray(dense(stacked), float), np.asarray(stacked.features, float)
    features = features if features.ndim == 4 else np.repeat(features[:, :, None], P.shape[2], axis=2)
    exists = np.ones(P.shape[:3], bool) if stacked.available is None else np.asarray(stacked.available)
    return P, features, np.asarray(stacked.initial, float), np.asarray(stacked.discount, float), exists


def best(p: Plans, i, P, features, initial, gamma, exists, prob, size) -> tuple[float, float]:
    """Bounds on the optimum of problem `i`, from linear programs in units of its size."""
    flow, start, F = occupancies(P[i], features[i], initial[i], gamma[i], p.mdps[i].horizon)
    taken = np.tile(exists[i].reshape(-1), p.mdps[i].horizon or 1)
    polytope = flow[:, taken], start, F[:, taken]
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


def each_step(p: Plans, s, P, features, initial, gamma, exists, prob, near) -> list[Checked]:
    """`plan_per_step` against the optimum for the risk-adjusted reward of each step."""
    (n, S, A), T = P.shape[:3], p.mdps[0].horizon
    usual = (features * exists[..., None]).sum(axis=2) / exists.sum(axis=2)[..., None]
    moved = features - np.einsum("ns,nsk->nk", initial, usual)[:, None, None]
    returns = np.einsum("nik,nsak->nsai", p.weights.astype(truth.LONG), moved).reshape(n * S * A, -1)
    each = [np.repeat(x.astype(truth.LONG), S * A, axis=0) for x in (prob, p.first, p.second)]
    r = np.where(exists, exactly(p.kind, returns, *each).reshape(n, S, A), -np.inf)
    known = truth.optimum(P, r, gamma) if T is None else truth.backward(P, r, gamma, T)
    optimum = (initial * (known.value if T is None else known.value[:, 0])).sum(axis=-1).astype(float)
    paid = np.where(exists, r, 0)
    earned = (truth.visits(P, s.policy, initial, gamma, T).value * paid).sum(axis=(1, 2)).astype(float)
    return [
        Checked("plan_per_step: objective is attained", np.abs(s.objective - earned), near),
        Checked("plan_per_step: objective below the optimum", np.maximum(s.objective - optimum, 0), near),
        Checked(
            "plan_per_step: bound above the optimum", np.maximum(optimum - s.bound, 0), known.error, ~np.isnan(s.bound)
        ),
    ]
