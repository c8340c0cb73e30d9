"""The best risk-adjusted return over all policies, by HiGHS: linear programs over occupancies."""

import numpy as np
from scipy.optimize import linprog


def occupancies(P, features, initial, gamma, horizon):
    """The polytope {x ≥ 0, flow x = start} of visits `[S·A]` or `[T·S·A]`, and their features `[K, ·]`."""
    S, A = P.shape[:2]
    leave, arrive = np.kron(np.eye(S), np.ones((1, A))), P.reshape(S * A, S).T
    F = features.reshape(S * A, -1).T
    if horizon is None:
        return leave - gamma * arrive, initial, F
    flow = np.kron(np.eye(horizon), leave) - np.kron(np.eye(horizon, k=-1), arrive)
    start = np.concatenate([initial, np.zeros((horizon - 1) * S)])
    return flow, start, np.hstack([gamma**t * F for t in range(horizon)])


def tail_optimum(flow, start, F, W, p, c, share, alpha):
    """The most that (1 - share)·mean + share·CVaR_α of the returns W φ - c can be."""
    n, m = F.shape[1], len(p)
    found = linprog(
        -np.concatenate([(1 - share) * p @ W @ F, [share], -share / alpha * p]),
        A_ub=np.hstack([-W @ F, np.ones((m, 1)), -np.eye(m)]),
        b_ub=-c,
        A_eq=np.hstack([flow, np.zeros((len(flow), m + 1))]),
        b_eq=start,
        bounds=[(0, None)] * n + [(None, None)] + [(0, None)] * m,
    )
    return -found.fun - (1 - share) * p @ c if found.status == 0 else np.nan


def entropic_optimum(flow, start, F, W, p, c, eta, most=60):
    """Bounds on the most that -(1/η) log Σ p exp(-η (W φ - c)) can be: cutting planes (Kelley 1960)."""
    n, cuts, phi, low, high = F.shape[1], [], None, -np.inf, np.inf
    for _ in range(most):
        if phi is not None:
            returns = W @ phi - c
            least = returns[p > 0].min()
            weight = p * np.exp(-eta * np.maximum(returns - least, 0))
            value = least - np.log1p((p * np.expm1(-eta * np.maximum(returns - least, 0))).sum()) / eta
            slope = weight / weight.sum() @ W
            low = max(low, value)
            cuts.append((slope, value - slope @ phi))
        else:
            cuts.append((p @ W, -p @ c))  # every measure lies below the mean
        rows = np.array([[*(-g @ F), 1.0] for g, _ in cuts])
        found = linprog(
            [*np.zeros(n), -1.0],
            A_ub=rows,
            b_ub=[h for _, h in cuts],
            A_eq=np.hstack([flow, np.zeros((len(flow), 1))]),
            b_eq=start,
            bounds=[(0, None)] * n + [(None, None)],
        )
        if found.status != 0:
            return np.nan, np.nan
        phi, high = F @ found.x[:n], min(high, -found.fun)
        if high - low < 1e-7 * max(1, abs(high)):
            break
    return low, high
