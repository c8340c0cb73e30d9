"""Slow NumPy twins of `ird.impact`: breadth-first search with a queue, values by plain sweeps, outcomes by induction.

Nothing here imports the packages.  A world is `to [S, A]`, where each action leads; rewards are `[S, A]`.
"""

from collections import deque

import numpy as np


def reach(to, gamma=1.0):
    """γ^n by a queue from every state, `[S, S]`."""
    S = len(to)
    worth = np.zeros((S, S))
    for s in range(S):
        steps, queue = {s: 0}, deque([s])
        while queue:
            x = queue.popleft()
            for y in to[x].tolist():
                if y not in steps:
                    steps[y] = steps[x] + 1
                    queue.append(y)
        for y, n in steps.items():
            worth[s, y] = gamma**n
    return worth


def values(to, u, gamma, sweeps):
    """Optimal values of rewards `[N, S]` by sweeps, `[N, S]`."""
    v = np.zeros_like(u)
    for _ in range(sweeps):
        v = u + gamma * v[:, to].max(axis=2)
    return v


def averaged(worth, follow, gamma):
    """(1 - γ) Σ γ^k worth[follow^k], by a linear solve."""
    moves = np.eye(len(follow))[follow]
    return (1 - gamma) * np.linalg.solve(np.eye(len(follow)) - gamma * moves, worth)


def measure(kind, b, s):
    """Of what the baseline's state is worth and what the state is, `[Y]` each, averaged."""
    if kind == "tasks":
        return np.minimum(b, s).mean()
    return (np.abs(b - s) if kind == "absolute" else np.maximum(b - s, 0)).mean()


def deviation(to, worth, noop, kind, baseline, gamma=0.0, start=0, readings=1, states=None):
    """d(s'; b') of some states, action by action: `[S, A]`, by the clock `[C, S, A]` for "inaction"."""
    S, A = to.shape
    states = range(S) if states is None else states
    follow = to[:, noop]
    if baseline != "start":
        worth = averaged(worth, follow, gamma)
    if baseline != "inaction":
        beside = [start] * S if baseline == "start" else follow
        return np.array([[measure(kind, worth[beside[s]], worth[to[s, a]]) for a in range(A)] for s in states])
    by_reading, b = [], start
    for _ in range(readings):
        b = follow[b]
        by_reading.append([[measure(kind, worth[b], worth[to[s, a]]) for a in range(A)] for s in states])
    return np.array(by_reading)


def unreached(to, lost, noop, gamma, steps):
    """Unreachability stepwise, both states followed side by side for some steps, `[S, A]`."""
    S, A = to.shape
    out = np.zeros((S, A))
    for s in range(S):
        for a in range(A):
            x, b, share = to[s, a], to[s, noop], 1.0
            for _ in range(steps):
                out[s, a] += share * (1 - gamma) * lost[x, b]
                x, b, share = to[x, noop], to[b, noop], share * gamma
            out[s, a] += share * lost[x, b]
    return out


def outcomes(to, reward, meant, penalty, over, *, gamma, steps, running, start=0, slack=1e-9):
    """Least and greatest meant return of the plans that are best for reward less penalty `[T, S, A]`."""
    S = len(to)
    best, low, high = np.zeros(S), np.zeros(S), np.zeros(S)
    weight, goes_on = np.where(over[to], 1.0, running), ~over[to]
    for t in reversed(range(steps)):
        q = reward - weight * penalty[t] + gamma * goes_on * best[to]
        fair = q >= q.max(axis=1, keepdims=True) - slack
        best = np.where(over, 0, q.max(axis=1))
        low = np.where(fair, meant + goes_on * low[to], np.inf).min(axis=1)
        high = np.where(fair, meant + goes_on * high[to], -np.inf).max(axis=1)
    return float(low[start]), float(high[start])
