"""Slow, obvious answers in NumPy, many problems at once, each with how far it can itself be from the truth.

Values come from Howard's method (soft: Newton's) with one dense inverse per policy, refined by residuals in long
double, so that they are known better than float64 alone could say; the Bellman residual over 1 - γ certifies them.
`P` is `[N, S, A, S']`, `r` is `[N, S, A]`, `gamma` is `[N]`; what does not exist is `-inf` in `r`. Nothing here imports
the packages.
"""

from typing import NamedTuple

import numpy as np

LONG = np.longdouble
EPS = float(np.finfo(LONG).eps)
ROUNDS = 60


class Known(NamedTuple):
    """Numbers and how far they can be from the truth.

    Attributes:
        value: `[N, S]`, or `[N, T, S]` with a horizon.
        error: bound on the largest error of each problem, `[N]`.
    """

    value: np.ndarray
    error: np.ndarray


def expected(P, v):
    """Σ_s' P(s' | s, a) v(s'), `[N, S, A]`."""
    return np.matmul(P, v[:, None, :, None])[..., 0]


def backup(q, tau=None):
    """The largest action value, or τ log Σ exp(q/τ)."""
    best = q.max(axis=-1)
    if tau is None:
        return best
    tau = tau[:, None]
    return best + tau * np.log(np.exp((q - best[..., None]) / tau[..., None]).sum(axis=-1))


def softmax(q, tau):
    """Proportional to exp(q/τ)."""
    weight = np.exp((q - q.max(axis=-1, keepdims=True)) / tau[:, None, None])
    return weight / weight.sum(axis=-1, keepdims=True)


def chain(P, policy):
    """Probability of each next state under a policy, `[N, S, S']`."""
    return np.einsum("nsa,nsat->nst", policy, P)


def inverses(systems):
    """The inverse of each matrix, and whether float64 has one; 0 where not (blocks that leak by less than it holds)."""
    try:
        return np.linalg.inv(systems), np.ones(len(systems), bool)
    except np.linalg.LinAlgError:
        found, known = np.zeros_like(systems), np.zeros(len(systems), bool)
        for i, system_of in enumerate(systems):
            try:
                found[i], known[i] = np.linalg.inv(system_of), True
            except np.linalg.LinAlgError:
                continue
        return found, known


def system(M, gamma, source):
    """Solve x = source + γ M x, refined in long double; and a bound on its error."""
    S = M.shape[-1]
    scaled = gamma[:, None, None].astype(LONG) * M.astype(LONG)
    inverse, known = inverses(np.eye(S)[None] - scaled.astype(float))
    source = source.astype(LONG)
    x = np.zeros_like(source)
    for _ in range(4):
        left = source + np.matmul(scaled, x[..., None])[..., 0] - x
        x = x + np.matmul(inverse, left.astype(float)[..., None])[..., 0]
    left = source + np.matmul(scaled, x[..., None])[..., 0] - x
    rounding = (S + 3) * EPS * (np.abs(source) + np.matmul(np.abs(scaled), np.abs(x)[..., None])[..., 0])
    reach = np.where(known, 2 * np.abs(inverse).sum(axis=-1).max(axis=-1), np.inf)  # twice: it is rounded itself
    return x, reach * (np.abs(left) + rounding).max(axis=-1).astype(float)


def paid(policy, r, tau=None):
    """Expected reward of each state under a policy, with τ times its entropy, `[N, S]`."""
    some = np.where(policy > 0, r, 0)
    if tau is not None:
        some = some - tau[:, None, None] * np.log(np.where(policy > 0, policy, 1))
    return (policy * some).sum(axis=-1)


def policy_value(P, policy, r, gamma, tau=None):
    """What a stationary policy (rows scaled to sum to one) is worth from each state."""
    policy = policy.astype(LONG) / policy.astype(LONG).sum(axis=-1, keepdims=True)
    return Known(*system(chain(P, policy), gamma, paid(policy, r, tau)))


def optimum(P, r, gamma, tau=None):
    """The optimal value of endless problems."""
    policy = howard(P, r, gamma)
    r, long_gamma = r.astype(LONG), gamma.astype(LONG)
    for _ in range(ROUNDS):  # once more where float64 could not tell
        v, _ = system(chain(P, policy), gamma, paid(policy, r))
        q = r + long_gamma[:, None, None] * expected(P, v)
        now = np.where(policy > 0, q, -np.inf).max(axis=-1)
        better = q.max(axis=-1) > now + 64 * EPS * np.abs(now) / (1 - long_gamma[:, None])
        if not better.any():
            break
        policy = np.where(better[..., None], np.eye(r.shape[-1])[q.argmax(axis=-1)], policy)
    if tau is None:
        return Known(v, residual(P, r, gamma, v))
    tau, last = tau.astype(LONG), np.full(len(P), np.inf)
    for _ in range(ROUNDS):
        q = r + long_gamma[:, None, None] * expected(P, v)
        off = np.abs(backup(q, tau) - v).max(axis=-1)
        if not (off < last / 2).any():
            break
        last, policy = off, softmax(q, tau)
        v, _ = system(chain(P, policy), gamma, paid(policy, r, tau))
    return Known(v, residual(P, r, gamma, v, tau))


def howard(P, r, gamma):
    """Policies `[N, S, A]` that float64 cannot improve."""
    r = np.asarray(r, float)
    exists = np.isfinite(r)
    policy = (exists & (np.cumsum(exists, axis=-1) == 1)).astype(float)  # the first action that exists
    for _ in range(ROUNDS):
        M = np.eye(P.shape[1]) - gamma[:, None, None] * chain(P, policy)
        v = np.linalg.solve(M, paid(policy, r)[..., None])[..., 0]
        q = r + gamma[:, None, None] * expected(P, v)
        now = np.where(policy > 0, q, -np.inf).max(axis=-1)
        better = q.max(axis=-1) > now + 1e-12 * np.abs(now).max(axis=-1, keepdims=True)
        if not better.any():
            break
        policy = np.where(better[..., None], np.eye(r.shape[-1])[q.argmax(axis=-1)], policy)
    return policy


def residual(P, r, gamma, v, tau=None):
    """How far a value can be from the optimum: its Bellman residual, rounding included, over 1 - γ."""
    rows = gamma * P.sum(axis=-1).max(axis=(1, 2))
    q = r + gamma.astype(LONG)[:, None, None] * expected(P, v)
    ahead = backup(q, tau)
    terms = np.where(np.isfinite(r), np.abs(r), 0) + expected(P, np.abs(v))
    soft = 0 if tau is None else np.asarray(tau, float)[:, None] * (4 + np.log(r.shape[-1]))
    rounding = (P.shape[1] + 8) * EPS * (terms.max(axis=-1) + soft)
    return ((np.abs(ahead - v) + rounding).max(axis=-1) / (1 - rows)).astype(float)


def backward(P, r, gamma, horizon, tau=None):
    """Optimal values of a finite horizon, `[N, T, S]`."""
    r, long_gamma = r.astype(LONG), gamma.astype(LONG)[:, None, None]
    v, values, error = np.zeros(r.shape[:2], LONG), [], 0.0
    for _ in range(horizon):
        q = r + long_gamma * expected(P, v)
        terms = np.where(np.isfinite(r), np.abs(r), 0) + expected(P, np.abs(v))
        soft = 0 if tau is None else tau[:, None] * (4 + np.log(r.shape[-1]))
        error = error + ((P.shape[1] + 8) * EPS * (terms.max(axis=-1) + soft)).max(axis=-1)
        v = backup(q, None if tau is None else tau.astype(LONG))
        values.insert(0, v)
    return Known(np.stack(values, axis=1), np.asarray(error, float))


def policy_backward(P, policy, r, gamma, tau=None):
    """What a policy `[N, T, S, A]` is worth from each step on, `[N, T, S]`."""
    policy = policy.astype(LONG) / policy.astype(LONG).sum(axis=-1, keepdims=True)
    v, values = np.zeros(r.shape[:2], LONG), []
    for t in reversed(range(policy.shape[1])):
        v = paid(policy[:, t], r, tau) + gamma.astype(LONG)[:, None] * (chain(P, policy[:, t]) * v[:, None, :]).sum(
            axis=-1
        )
        values.insert(0, v)
    values = np.stack(values, axis=1)
    return Known(values, (P.shape[1] + 8) * EPS * np.abs(values).sum(axis=1).max(axis=-1).astype(float))


def visits(P, policy, initial, gamma, horizon=None):
    """Expected discounted visits `[N, S, A]`, and a bound on the sum of their errors."""
    policy = policy.astype(LONG) / policy.astype(LONG).sum(axis=-1, keepdims=True)
    if horizon is None:
        y, _ = system(np.swapaxes(chain(P, policy), 1, 2), gamma, initial)
        moved = np.matmul(np.swapaxes(chain(P, policy), 1, 2), y[..., None])[..., 0]
        left = np.abs(initial + gamma[:, None].astype(LONG) * moved - y).sum(axis=-1)
        left = left + (P.shape[1] + 3) * EPS * (np.abs(y) + np.abs(moved)).sum(axis=-1)
        rows = gamma * P.sum(axis=-1).max(axis=(1, 2))
        return Known(y[..., None] * policy, (left / (1 - rows)).astype(float))
    steps = policy if policy.ndim == 4 else np.repeat(policy[:, None], horizon, axis=1)
    now, total = initial.astype(LONG), 0
    for t in range(horizon):
        total = total + now[..., None] * steps[:, t]
        now = gamma.astype(LONG)[:, None] * np.matmul(np.swapaxes(chain(P, steps[:, t]), 1, 2), now[..., None])[..., 0]
    return Known(total, (P.shape[1] + 8) * horizon * EPS * total.sum(axis=(1, 2)).astype(float))


def first_visit(P, policy, initial, where, gamma, horizon=None):
    """E[γ^(time of the first visit)] of the states `where` `[N, S]`, and a bound on its error; γ = 1: the probability.

    Rows are scaled to sum to one. Without a horizon states that cannot get there are left out of the system.
    """
    policy = policy.astype(LONG) / policy.astype(LONG).sum(axis=-1, keepdims=True)
    P = P.astype(LONG) / P.astype(LONG).sum(axis=-1, keepdims=True)
    if horizon is not None:
        steps = policy if policy.ndim == 4 else np.repeat(policy[:, None], horizon, axis=1)
        h = where.astype(LONG)
        for t in reversed(range(horizon - 1)):
            ahead = np.matmul(chain(P, steps[:, t]), h[..., None])[..., 0]
            h = np.where(where, 1, gamma[:, None].astype(LONG) * ahead)
        return (initial * h).sum(axis=-1), np.full(len(P), (P.shape[1] + 8) * horizon * EPS)
    M = chain(P, policy)
    reaches = where.copy()
    for _ in range(P.shape[1]):
        reaches = reaches | np.matmul(M > 0, reaches[..., None])[..., 0]
    rest = reaches & ~where
    inner = M * rest[:, :, None] * rest[:, None, :]
    h, error = system(inner, gamma, gamma[:, None] * np.where(rest, (M * where[:, None, :]).sum(axis=-1), 0))
    return (initial * np.where(where, 1, h)).sum(axis=-1), error
