"""What policies do, against dense linear systems: visits, features, returns, first visits; and `mdps.optimum`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import mdps
from fuzz import problems, truth
from fuzz.calls import spelt
from fuzz.problems import MAX_STEPS, Problems
from fuzz.promises import Checked
from fuzz.solving import action_values, largest

FIRST = hasattr(mdps, "discounted_first_visit")


class Visits(NamedTuple):
    """Problems, and for each a policy, states that are asked about, and weights of the features."""

    problems: Problems
    policy: jax.Array  # [N, R, (T,) S, A]
    where: jax.Array  # [N, R, S]
    weights: jax.Array  # [N, R, K]

    @property
    def size(self) -> int:
        """How many problems there are."""
        return self.problems.size

    def show(self, i: int) -> str:
        """Problem `i` in a line."""
        return self.problems.show(i) + "; policy, where and weights likewise"


def wide(seed: int, batch: int) -> bool:
    """Whether a batch is in float64."""
    return problems.settings("visit", seed, batch).dtype == "float64"


def draw(seed: int, batch: int) -> Visits:
    """One batch."""
    p, rng = problems.draw("visit", seed, batch), np.random.default_rng([seed, batch, 2])
    (N, R, S), A = p.reward.shape[:3], p.stacked.probability.shape[2]
    steps = (p.horizon,) if p.horizon is not None and rng.random() < 0.5 else ()
    policy = rng.dirichlet(np.full(A, rng.choice([0.05, 1.0])), size=(N, R, *steps, S))
    if rng.random() < 0.3:
        policy = np.eye(A)[policy.argmax(axis=-1)]
    available = getattr(p.stacked, "available", None)
    if available is not None:
        exists = np.asarray(available).reshape(N, 1, *[1] * len(steps), S, A)
        policy = policy * exists + 1e-9 * exists
        policy = policy / policy.sum(axis=-1, keepdims=True)
    where = rng.random((N, R, S)) < rng.choice([0.05, 0.3])
    weights = np.stack([problems.rewards(rng, R, p.stacked.features.shape[-1], 1, per_action=False) for _ in range(N)])
    dtype = p.settings.dtype
    return Visits(p, jnp.asarray(policy, dtype), jnp.asarray(where), jnp.asarray(weights, dtype))


def asked(mdp, reward, policy, where, weights):
    """Everything that is asked about one problem."""
    found = {
        "occupancy": mdps.occupancy(mdp, policy),
        "features": mdps.feature_expectations(mdp, policy),
        "return": mdps.policy_return(mdp, policy, reward),
        "ever": mdps.visit_probability(mdp, policy, where, max_steps=MAX_STEPS),
        "total": mdp.total_visits,
        "optimum": mdps.optimum(mdp, weights),
    }
    if FIRST:
        found["first"] = mdps.discounted_first_visit(mdp, policy, where)
    return found


def answers(v: Visits) -> dict:
    """What the library says."""
    return v.problems.ask(asked, v.problems.reward, v.policy, v.where, v.weights)


def check(v: Visits, s: dict) -> list[Checked]:
    """Every promise about one policy, and `optimum`."""
    p = v.problems
    P, gamma, r, _ = p.tables()
    R, T = p.reward.shape[1], p.horizon
    policy, where = flat(v.policy), flat(v.where)
    initial = np.repeat(np.asarray(p.stacked.initial, float), R, axis=0)
    features = np.repeat(np.asarray(p.stacked.features, float), R, axis=0)
    features = features if features.ndim == 4 else np.repeat(features[:, :, None], P.shape[2], axis=2)
    known = truth.visits(P, policy, initial, gamma, T)
    total = np.asarray(known.value.sum(axis=(1, 2)), float)
    accuracy = known.error + (1e-10 if p.settings.dtype == "float64" else floor(P, gamma, T)) * total
    eps = float(np.finfo(p.settings.dtype).eps)
    off = s["occupancy"].astype(truth.LONG) - known.value
    paid = np.where(np.isfinite(r), r, 0)
    collected, earned = np.einsum("nsa,nsak->nk", known.value, features), (known.value * paid).sum(axis=(1, 2))
    worth, most = np.abs(paid).max(axis=(1, 2)), np.abs(features).max(axis=(1, 2))
    sums = accuracy + (P.shape[1] * P.shape[2] + 2) * eps * total  # visits, then a sum over states and actions
    found = [
        Checked("visits: sum of errors", np.abs(off).sum(axis=(1, 2)), accuracy),
        Checked("visits: sum to total_visits", np.abs(s["occupancy"].sum(axis=(1, 2)) - s["total"]), sums),
        Checked("visits: features", np.max(np.abs(s["features"] - collected) / np.maximum(most, 1e-300), axis=1), sums),
        Checked("visits: return", np.abs(s["return"] - earned), worth * sums),
        *first_visits(s, P, policy, initial, where, gamma, T, p.settings.dtype),
        *optima(v, s, P, gamma, initial, features, accuracy, total),
    ]
    return found


def flat(x) -> np.ndarray:
    """`[N, R, ...]` as `[N·R, ...]`."""
    return np.asarray(x).reshape(-1, *x.shape[2:])


def floor(P, gamma, T) -> np.ndarray:
    """What float32 can do to visits: the rounding of one step, as often as there are steps."""
    steps = 1 / (1 - gamma) if T is None else T
    return 4 * (P.shape[1] + P.shape[2] + 8) * float(np.finfo(np.float32).eps) * steps


def first_visits(s, P, policy, initial, where, gamma, T, dtype) -> list[Checked]:
    """`visit_probability` is a probability; `discounted_first_visit` its discounted kin."""
    if not FIRST:
        return []
    ever, error = truth.first_visit(P, policy, initial, where, np.ones_like(gamma), T)
    given = np.asarray(s["ever"], float)
    says = np.isfinite(given)
    rounding = 1e-6 if dtype == "float64" else 1e-6 + floor(P, np.zeros_like(gamma), T)
    first, first_error = truth.first_visit(P, policy, initial, where, gamma, T)
    near = 1e-9 if dtype == "float64" else floor(P, gamma, T)
    return [
        Checked("visits: a probability is between 0 and 1", np.maximum(-given, given - 1), 0.0, says),
        Checked("visits: visit_probability", np.abs(given - ever), rounding + error, says),
        Checked("visits: discounted_first_visit", np.abs(s["first"] - first), near + first_error, gamma < 1),
    ]


def optima(v: Visits, s, P, gamma, initial, features, accuracy, total) -> list[Checked]:
    """`optimum`: its value, whether its features earn it, and, where ties are plain, whose features they are."""
    p, found, weights = v.problems, s["optimum"], flat(v.weights).astype(truth.LONG)
    T, eps = p.horizon, float(np.finfo(p.settings.dtype).eps)
    r = (features * weights[:, None, None]).sum(axis=-1)
    r = np.where(np.isfinite(p.tables()[2]), r, -np.inf)
    known = truth.optimum(P, r, gamma) if T is None else truth.backward(P, r, gamma, T)
    value = (initial * (known.value if T is None else known.value[:, 0])).sum(axis=-1)
    bound = np.asarray(found.error_bound, float)
    says, size = np.isfinite(bound), (np.abs(weights) * np.abs(features).max(axis=(1, 2))).sum(axis=-1)
    earns = (found.features * weights).sum(axis=-1)
    rounding = (P.shape[1] * P.shape[2] + weights.shape[1]) * eps * total * size
    q = action_values(P, r, gamma, known.value, T)
    gap, each = q.max(axis=-1, keepdims=True) - q, (-1, *[1] * (q.ndim - 1))
    step = (P.shape[1] + features.shape[-1] + 8) * eps * (largest(np.where(np.isfinite(q), np.abs(q), 0)) + size)
    clear, tied = 16 * (bound + step) * (T or 1), gap <= 4 * known.error.reshape(each)
    plain = largest(~tied & (gap <= clear.reshape(each))) == 0
    shares = tied / tied.sum(axis=-1, keepdims=True)
    collected = np.einsum("nsa,nsak->nk", truth.visits(P, shares, initial, gamma, T).value, features)
    most = np.maximum(np.abs(features).max(axis=(1, 2)), 1e-300)
    return [
        Checked("optimum: value within error_bound", np.abs(found.value - value), bound + known.error, says),
        Checked("optimum: features earn the value", np.abs(earns - found.value), accuracy * size + rounding, says),
        Checked(
            "optimum: features are those of the shares",
            np.max(np.abs(found.features - collected) / most, axis=1),
            accuracy + rounding / np.maximum(size, 1e-300),
            says & plain,
        ),
    ]


def call(v: Visits, i: int) -> str:
    """How the library was called."""
    return spelt(v.problems.settings.call, "visiting.asked(mdp, reward, policy, where, weights)")
