"""Slow, obvious NumPy twins of what the packages compute: dense tensors, plain loops, direct linear solves.

Nothing here imports the packages.  `P` is `[S, A, S']`, `r` is `[S]` or `[S, A]`, a policy is
`[S, A]` or `[T, S, A]`; everything is float64.
"""

import itertools

import numpy as np


def action_rewards(P, r):
    """The reward as `[S, A]`."""
    r = np.asarray(r, float)
    return np.broadcast_to(r[:, None] if r.ndim == 1 else r, P.shape[:2])


def backup(q, temperature=0.0):
    """max over actions, or its soft version τ log Σ exp(q/τ)."""
    if temperature == 0:
        return q.max(axis=1)
    best = q.max(axis=1)
    return best + temperature * np.log(np.exp((q - best[:, None]) / temperature).sum(axis=1))


def choose(q, temperature=0.0, slack=1e-9):
    """Equal shares of the actions within `slack` of the best, or the softmax of q/τ."""
    best = q.max(axis=1, keepdims=True)
    share = (q >= best - slack).astype(float) if temperature == 0 else np.exp((q - best) / temperature)
    return share / share.sum(axis=1, keepdims=True)


def value_iteration(P, r, gamma, temperature=0.0, change=1e-15):
    """The optimal value by plain sweeps, until they change nothing that matters."""
    r = action_rewards(P, r)
    v = np.zeros(len(P))
    while True:
        new = backup(r + gamma * P @ v, temperature)
        if np.abs(new - v).max() * gamma <= change * max(1.0, np.abs(new).max()):
            return new
        v = new


def policy_iteration(P, r, gamma, temperature=0.0, rounds=200):
    """The optimal value by Howard's method (soft: Newton's), each evaluation a dense linear solve."""
    r = action_rewards(P, r)
    v = np.zeros(len(P))
    for _ in range(rounds):
        policy = choose(r + gamma * P @ v, temperature, slack=0.0)
        entropy = -temperature * np.sum(policy * np.log(np.maximum(policy, 1e-300)), axis=1)
        new = np.linalg.solve(np.eye(len(P)) - gamma * chain(P, policy), np.sum(policy * r, axis=1) + entropy)
        if np.abs(new - v).max() <= 1e-14 * max(1.0, np.abs(new).max()):
            break
        v = new
    return new


def optimal_policy(P, r, gamma, temperature=0.0, slack=1e-9):
    """The shared-tie (or softmax) policy of the exact optimum."""
    v = policy_iteration(P, r, gamma, temperature)
    return choose(action_rewards(P, r) + gamma * P @ v, temperature, slack)


def backward_induction(P, r, gamma, horizon, temperature=0.0):
    """Values `[T, S]` and policies `[T, S, A]` of a finite horizon."""
    r = action_rewards(P, r)
    v, values, policies = np.zeros(len(P)), [], []
    for _ in range(horizon):
        q = r + gamma * P @ v
        v = backup(q, temperature)
        values.insert(0, v)
        policies.insert(0, choose(q, temperature))
    return np.array(values), np.array(policies)


def chain(P, policy):
    """The Markov chain of a policy, `[S, S']`."""
    return np.einsum("sa,sat->st", policy, P)


def policy_value(P, policy, r, gamma):
    """Value of a stationary policy by a dense linear solve."""
    return np.linalg.solve(np.eye(len(P)) - gamma * chain(P, policy), np.sum(policy * action_rewards(P, r), axis=1))


def occupancy(P, policy, initial, gamma, horizon=None):
    """Expected discounted visits `[S, A]`: a linear solve, or the sum over the steps of a horizon."""
    if horizon is None:
        visits = np.linalg.solve((np.eye(len(P)) - gamma * chain(P, policy)).T, initial)
        return visits[:, None] * policy
    policies = np.broadcast_to(policy, (horizon, *P.shape[:2]))
    now, result = np.asarray(initial, float), 0.0
    for t in range(horizon):
        result = result + gamma**t * now[:, None] * policies[t]
        now = now @ chain(P, policies[t])
    return result


def feature_expectations(P, policy, initial, gamma, features, horizon=None):
    """Expected discounted sum of features, `[K]`; features `[S, K]` or `[S, A, K]`."""
    visits = occupancy(P, policy, initial, gamma, horizon)
    features = np.asarray(features, float)
    if features.ndim == 2:
        features = np.repeat(features[:, None, :], P.shape[1], axis=1)
    return sum(visits[s, a] * features[s, a] for s in range(P.shape[0]) for a in range(P.shape[1]))


def expected_return(P, policy, initial, gamma, r, horizon=None):
    """Expected discounted sum of rewards from the initial distribution."""
    return float(np.sum(occupancy(P, policy, initial, gamma, horizon) * action_rewards(P, r)))


def visit_by_enumeration(P, policy, initial, states, horizon):
    """Probability of being in `states` at one of the times 0..T-1, summed over every path of states."""
    policies = np.broadcast_to(policy, (horizon, *P.shape[:2]))
    total = 0.0
    for path in itertools.product(range(len(P)), repeat=horizon):
        if any(states[s] for s in path):
            p = initial[path[0]]
            for t in range(horizon - 1):
                p *= policies[t][path[t]] @ P[path[t], :, path[t + 1]]
            total += p
    return total


def visit_discounted(P, policy, initial, states, gamma):
    """Expected γ to the power of the first visit of `states`, by a linear solve."""
    out = ~np.asarray(states)
    h = np.ones(len(P))
    M = gamma * chain(P, policy)
    h[out] = np.linalg.solve(np.eye(out.sum()) - M[np.ix_(out, out)], M[np.ix_(out, ~out)].sum(axis=1))
    return float(initial @ h)


def visit_ever(P, policy, initial, states):
    """Probability of ever visiting `states`: 0 where no way leads there, a linear solve elsewhere."""
    M, target = chain(P, policy), np.asarray(states)
    leads = target.copy()
    for _ in range(len(P)):
        leads = leads | (M[:, leads] > 0).any(axis=1)
    out = leads & ~target
    h = target.astype(float)
    h[out] = np.linalg.solve(np.eye(out.sum()) - M[np.ix_(out, out)], M[np.ix_(out, target)].sum(axis=1))
    return float(initial @ h)


def central(f, x, h=1e-5):
    """Gradient of a scalar function by central differences, in the shape of `x`."""
    x = np.asarray(x, float)
    grad = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        e = np.zeros(x.shape)
        e[i] = h
        grad[i] = (f(x + e) - f(x - e)) / (2 * h)
    return grad


def random_mdp(rng, S=6, A=3, K=4, successors=3):
    """A random dense tensor with few successors per row, features and an initial distribution."""
    P = np.zeros((S, A, S))
    for s, a in np.ndindex(S, A):
        P[s, a, rng.choice(S, size=min(successors, S), replace=False)] = rng.dirichlet(np.ones(min(successors, S)))
    return P, rng.normal(size=(S, K)), rng.dirichlet(np.ones(S))


def entropic(returns, p, eta, weights):
    """-(1/η) log Σ p exp(-η R), and its slope in φ where R = weights @ φ - c."""
    low = returns[p > 0].min()
    share = p * np.exp(-eta * np.where(p > 0, returns - low, 0))
    # By Σ p (exp(...) - 1) where that is small: 1/η multiplies what rounds.
    less = p @ np.expm1(-eta * np.where(p > 0, returns - low, 0))
    value = low - (np.log1p(less) if less > -0.5 else np.log(share.sum())) / eta
    return value, (share / share.sum()) @ weights


def best_mixture(P, features, initial, gamma, horizon, value_and_slope, gap=1e-9, rounds=60):
    """The largest value of a smooth concave function of feature expectations: simplicial decomposition.

    A convex solver mixes the policies found so far, and backward induction (or policy iteration) for the slope
    there finds the next (Holloway 1974).  Returns what is attained and a bound of it; features `[S, A, K]`.
    """
    from scipy.optimize import minimize

    def policy_for(w):
        if horizon is None:
            policy = optimal_policy(P, features @ w, gamma)
        else:
            policy = backward_induction(P, features @ w, gamma, horizon)[1]
        return np.einsum("sa,sak->k", occupancy(P, policy, initial, gamma, horizon), features)

    found = [policy_for(value_and_slope(np.zeros(features.shape[-1]))[1])]
    x, upper = np.ones(1), np.inf
    for _ in range(rounds):
        F = np.array(found)

        def less(x, F=F):
            value, slope = value_and_slope(x @ F)
            return -value, -F @ slope

        simplex = {"type": "eq", "fun": lambda x: x.sum() - 1, "jac": np.ones_like}
        best = minimize(less, x, jac=True, bounds=[(0, 1)] * len(x), constraints=simplex, method="SLSQP", tol=1e-14)
        x = np.maximum(best.x, 0) / np.maximum(best.x, 0).sum()
        value, slope = value_and_slope(x @ F)
        new = policy_for(slope)
        upper = min(upper, value + slope @ (new - x @ F))
        if upper - value < gap:
            break
        kept = x > 1e-12
        found, x = [*F[kept], new], np.append(x[kept], 0)
    assert upper - value < 3e-7, "what the convex solver is good for"
    return value, upper
