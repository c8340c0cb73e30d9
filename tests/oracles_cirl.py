"""Slow, obvious twins for games: recursions over histories and over subsets, in plain Python."""

import itertools

import numpy as np

from cirl import Game, Order


def random_game(rng, S=2, AH=2, AR=2, Theta=2, T=2, order=Order.SIMULTANEOUS, discount=0.9):
    transition = rng.dirichlet(np.ones(S), size=(S, AH, AR))
    reward = rng.normal(size=(S, AH, AR, Theta))
    prior, initial = rng.dirichlet(np.ones(Theta)) * 0.9 + 0.1 / Theta, rng.dirichlet(np.ones(S))
    arrays = transition, reward, prior, initial
    return arrays, Game.from_dense(*arrays, discount=discount, horizon=T, order=order)


def coordination_value(arrays, gamma, T, order=Order.SIMULTANEOUS):
    """The coordination POMDP by enumeration: the pair chooses (δ_H: Θ -> A_H, a_R) at each state and belief."""
    transition, reward, prior, initial = arrays
    S, AH, AR, Theta = reward.shape
    known = {}

    def value(s, possible, t):
        """Best sum over the θ in `possible` of prior mass times return."""
        if t == T or not possible:
            return 0.0
        if (s, possible, t) not in known:
            best = -np.inf
            for delta in itertools.product(range(AH), repeat=len(possible)):
                parts = {a: tuple(th for th, d in zip(possible, delta, strict=True) if d == a) for a in set(delta)}

                def worth(a, b, parts=parts):
                    now = sum(prior[th] * reward[s, a, b, th] for th in parts[a])
                    return now + gamma * sum(transition[s, a, b, n] * value(n, parts[a], t + 1) for n in range(S))

                if order is Order.HUMAN_FIRST:
                    total = sum(max(worth(a, b) for b in range(AR)) for a in parts)
                else:
                    total = max(sum(worth(a, b) for a in parts) for b in range(AR))
                best = max(best, total)
            known[s, possible, t] = best
        return known[s, possible, t]

    return sum(initial[s] * value(s, tuple(range(Theta)), 0) for s in range(S))


def play(model, q):
    """π_H over human actions from Q `[A_H]`: model is ("rational",), ("epsilon", ε) or ("boltzmann", β)."""
    greedy = np.eye(len(q))[int(np.argmax(q))]
    if model[0] == "rational":
        return greedy
    if model[0] == "epsilon":
        return (1 - model[1]) * greedy + model[1] / len(q)
    weight = np.exp(model[1] * (q - q.max()))
    return weight / weight.sum()


def best_policies(arrays, gamma, T, model, order=Order.SIMULTANEOUS):
    """(commitment, subgame-consistent) values over all deterministic robot policies, history by history."""
    transition, reward, prior, initial = arrays
    S, AH, AR, Theta = reward.shape
    decisions = list(itertools.product(range(AR), repeat=AH if order is Order.HUMAN_FIRST else 1))
    commitment = consistent = 0.0
    for s0 in range(S):
        histories = [()]
        for length in range(1, T):
            histories += [
                tuple(zip(h[::2], h[1::2], strict=True)) for h in itertools.product(*[range(AH), range(S)] * length)
            ]
        best = {True: -np.inf, False: -np.inf}
        for choice in itertools.product(decisions, repeat=len(histories)):
            policy = dict(zip(histories, choice, strict=True))

            def outcome(h, policy=policy, s0=s0):
                """(V [Θ], π_H [Θ, AH]) at a history."""
                s = h[-1][1] if h else s0
                values, plays = [], []
                ahead = {}
                if len(h) + 1 < T:
                    ahead = {(a, n): outcome((*h, (a, n)), policy)[0] for a in range(AH) for n in range(S)}
                for th in range(Theta):
                    q = []
                    for a in range(AH):
                        b = policy[h][a] if len(policy[h]) > 1 else policy[h][0]
                        later = sum(transition[s, a, b, n] * ahead[a, n][th] for n in range(S)) if ahead else 0.0
                        q.append(reward[s, a, b, th] + gamma * later)
                    pi = play(model, np.array(q))
                    values.append(pi @ np.array(q))
                    plays.append(pi)
                return np.array(values), np.array(plays)

            def holds(h, belief, policy=policy):
                """Whether no other decision at any history below is better at the belief held there."""
                value, pi = outcome(h, policy)
                for other in decisions:
                    if outcome(h, policy | {h: other})[0] @ belief > value @ belief + 1e-12:
                        return False
                if len(h) + 1 == T:
                    return True
                for a in range(AH):
                    mass = belief * pi[:, a]
                    if mass.sum() > 0:
                        for n in range(S):
                            if not holds((*h, (a, n)), mass / mass.sum(), policy):
                                return False
                return True

            worth = outcome(())[0] @ prior
            best[False] = max(best[False], worth)
            if worth > best[True] and holds((), prior):
                best[True] = worth
        commitment += initial[s0] * best[False]
        consistent += initial[s0] * best[True]
    return commitment, consistent


def pomdp_value(p, steps):
    """A POMDP's value at its start over some steps: every alpha vector, pruned by linear programs (Monahan 1982)."""
    vectors = np.zeros((1, len(p.start)))
    for _ in range(steps):
        backed = []
        for a in range(len(p.transition)):
            total = p.reward[a][None]
            for o in range(p.observation.shape[2]):
                ahead = p.discount * vectors @ (p.transition[a] * p.observation[a][:, o]).T
                total = useful((total[:, None] + np.unique(ahead, axis=0)[None]).reshape(-1, len(p.start)))
            backed.append(total)
        vectors = useful(np.concatenate(backed))
    return (vectors @ p.start).max()


def useful(vectors):
    """The vectors that are best at some belief."""
    from scipy.optimize import linprog

    vectors = np.unique(np.round(vectors, 12), axis=0)
    kept = list(range(len(vectors)))
    for i in range(len(vectors)):
        others = [j for j in kept if j != i]
        if not others:
            continue
        # The largest d for which some belief has vector i better than all others by d.
        gap = np.append(vectors[others] - vectors[i], np.ones((len(others), 1)), axis=1)
        sums = np.append(np.ones(vectors.shape[1]), 0)[None]
        bounds = [(0, 1)] * vectors.shape[1] + [(None, None)]
        best = linprog(-np.eye(vectors.shape[1] + 1)[-1], gap, np.zeros(len(others)), sums, [1.0], bounds)
        if best.status == 0 and -best.fun <= 1e-12:
            kept = others
    return vectors[kept]
