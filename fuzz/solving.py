"""`mdps.solve` against Howard's method: values, policies, ties, soft optima, and whether `converged` is honest."""

import functools

import numpy as np

import mdps
from fuzz import problems, truth
from fuzz.calls import spelt
from fuzz.problems import MAX_STEPS, Problems
from fuzz.promises import Checked


def wide(seed: int, batch: int) -> bool:
    """Whether a batch is in float64."""
    return problems.settings("solve", seed, batch).dtype == "float64"


def draw(seed: int, batch: int) -> Problems:
    """One batch."""
    return problems.draw("solve", seed, batch)


def answers(p: Problems) -> mdps.Solution:
    """What the library says, every leaf `[N·R, ...]`."""
    solve = solver(p.settings.soft, p.tol is not None, p.settings.far)
    return p.ask(solve, p.reward, p.temperature, *(() if p.tol is None else (p.tol,)))


@functools.cache
def solver(soft: bool, asked: bool, far: bool):
    """`mdps.solve` of an MDP, a reward, a temperature and perhaps a tolerance."""
    steps = {"max_steps": MAX_STEPS} if far else {}

    def solve(mdp, reward, temperature, *tol):
        return mdps.solve(mdp, reward, temperature=temperature if soft else 0.0, tol=tol[0] if asked else None, **steps)

    return solve


def check(p: Problems, s: mdps.Solution) -> list[Checked]:
    """Every promise of `solve` on every problem."""
    P, gamma, r, tau = p.tables()
    T = p.horizon
    known = truth.optimum(P, r, gamma, tau) if T is None else truth.backward(P, r, gamma, T, tau)
    value = known.value if T is None else known.value[:, 0]
    bound = np.asarray(s.error_bound, float)
    kind, says = "soft" if p.settings.soft else "hard", np.isfinite(bound)
    off = largest(np.abs(s.value.astype(truth.LONG) - value))
    q = action_values(P, r, gamma, known.value, T)
    eps = float(np.finfo(p.settings.dtype).eps)
    scale = largest(np.where(np.isfinite(q), np.abs(q), 0)) + (0 if tau is None else 8 * tau)
    rounding = ((P > 0).sum(axis=-1).max(axis=(1, 2)) + 4) * eps * scale
    found = [
        Checked(f"solve: {kind} value within error_bound", off, np.where(says, bound + known.error, np.inf)),
        Checked("solve: converged means known", dishonest(p, s), 0.0),
        Checked(
            "solve: what can be reached is reached",
            unsettled(p, s, rounding / np.where(gamma < 1, 1 - gamma, 1)),
            0.0,
            (gamma < 1) & (not p.settings.far),
        ),
        Checked("solve: policies are distributions over what exists", undistributed(s.policy, r), r.shape[2] * eps),
    ]
    if hasattr(s, "policy_bound"):
        found.append(policies(s, P, r, gamma, tau, value, known.error, kind))
    if p.settings.soft:
        found.append(soft_policies(s, q, tau, 2 * (bound + known.error + rounding), eps))
    else:
        gap = largest(np.where(s.policy > 0, q.max(axis=-1, keepdims=True) - q, 0))
        found.append(Checked("solve: no action known to be worse", gap, 4 * (bound + known.error + rounding), says))
        best = q[..., 0] >= q.max(axis=-1) - 2 * known.error.reshape(-1, *[1] * (q.ndim - 2))
        shared, tried = ties(p, s.policy, P, r, best)
        found.append(Checked("solve: ties are shared", shared, 4 * eps, tried))
    return found


def largest(x: np.ndarray) -> np.ndarray:
    """The largest entry of each problem, `[n]`."""
    return x.max(axis=tuple(range(1, x.ndim))).astype(float)


def action_values(P, r, gamma, value, horizon):
    """Q `[n, S, A]`, or `[n, T, S, A]` with a horizon, from the optimal values."""
    gamma = gamma.astype(truth.LONG)[:, None, None]
    if horizon is None:
        return r + gamma * truth.expected(P, value)
    ahead = np.concatenate([value[:, 1:], np.zeros_like(value[:, :1])], axis=1)
    return np.stack([r + gamma * truth.expected(P, ahead[:, t]) for t in range(horizon)], axis=1)


def dishonest(p: Problems, s) -> np.ndarray:
    """One where `converged` is true of a bound that is no number, above what was asked, or of values that are none."""
    bound, to_floor = s.error_bound, p.tol is None and p.settings.dtype == "float32"
    asked = np.full_like(bound, 1e-6) if p.tol is None else np.asarray(p.tol).reshape(-1)
    good = np.isfinite(bound) & np.isfinite(s.value).all(axis=-1) & ((bound <= asked) | to_floor)
    return (s.converged & ~good).astype(float)


def unsettled(p: Problems, s, floor: np.ndarray) -> np.ndarray:
    """One where rounding is far below what was asked, and yet `converged` is false."""
    floor = floor if p.horizon is None else floor * p.horizon
    if p.tol is None and p.settings.dtype == "float32":  # asked for what rounding allows
        return (~s.converged & ~(s.error_bound <= 16 * floor)).astype(float)
    asked = np.full(floor.shape, 1e-6) if p.tol is None else np.asarray(p.tol, float).reshape(-1)
    return (~s.converged & (asked > 100 * floor)).astype(float)


def undistributed(policy, r) -> np.ndarray:
    """How far rows are from sums of one, with what is negative or on actions that do not exist."""
    exists = np.isfinite(r) if policy.ndim == 3 else np.isfinite(r)[:, None]
    policy = np.asarray(policy, float)
    wrong = np.where(exists, np.maximum(-policy, 0), np.abs(policy)).sum(axis=-1)
    return largest(np.abs(policy.sum(axis=-1) - 1) + wrong)


def policies(s, P, r, gamma, tau, value, error, kind) -> Checked:
    """What the policy falls short of the optimum, against `policy_bound`."""
    if s.policy.ndim == 4:
        own = truth.policy_backward(P, s.policy, r, gamma, tau)
        own = truth.Known(own.value[:, 0], own.error)
    else:
        own = truth.policy_value(P, s.policy, r, gamma, tau)
    bound = np.asarray(s.policy_bound, float)
    allowed = np.where(np.isfinite(bound), bound + own.error + error, np.inf)
    return Checked(f"solve: {kind} policy within policy_bound", largest(value - own.value), allowed)


def soft_policies(s, q, tau, reach, eps) -> Checked:
    """Log odds of actions against (Q - max Q) / τ, where they are not beyond e^-60."""
    tau = tau.reshape(-1, *[1] * (q.ndim - 1))
    best = q.argmax(axis=-1)[..., None]
    odds = ((q - np.take_along_axis(q, best, -1)) / tau).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_policy = np.log(np.asarray(s.policy, float))
        off = np.abs(log_policy - np.take_along_axis(log_policy, best, -1) - odds)
    off = largest(np.where(odds > -60, off, 0))
    allowed = reach / tau.reshape(-1) + 256 * eps
    told = allowed < 600  # beyond, a share may round to zero, and its logarithm to none
    return Checked("solve: soft policies are exp(Q/τ)", off, allowed, told)


def ties(p: Problems, policy, P, r, best) -> tuple[np.ndarray, np.ndarray]:
    """How differently the first and the last action are shared where both are the `best`, and where such ties are.

    Two that tie with each other alone may lie on either side of what can be told from the best.
    """
    R = p.reward.shape[1]
    error, tried = np.zeros(len(P)), np.zeros(len(P), bool)
    for i in range(len(P)):
        pattern, n = p.patterns[i // R], len(p.patterns[i // R].tied)
        own, paid = P[i, :n, :, :n], r[i, :n]
        if pattern.mirrored:
            same = (own == own[::-1, :, ::-1]).all() and (paid == paid[::-1]).all()
            tied = same & (own[:, -1] == own[:, 0, ::-1]).all(axis=-1) & (paid[:, 0] == paid[:, -1])
        else:
            tied = (own[:, -1] == own[:, 0]).all(axis=-1) & (paid[:, 0] == paid[:, -1])
        tied = tied & pattern.tied & np.isfinite(paid[:, 0])
        tied = tied & best[i][..., :n]  # [(T,) S]
        if tied.any():
            at = policy[i][..., :n, :][tied]
            error[i], tried[i] = np.abs(at[..., 0] - at[..., -1]).max(), True
    return error, tried


def call(p: Problems, i: int) -> str:
    """How the library was called."""
    soft, asked = ", temperature=t" if p.settings.soft else "", "" if p.tol is None else ", tol=e"
    return spelt(p.settings.call, f"mdps.solve(m, r{soft}{asked})")
