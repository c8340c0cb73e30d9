"""Slow, obvious NumPy twins of choosing queries: every answer, every sample and every set written out in loops."""

import itertools

import numpy as np


def chances(features, weights, beta):
    """P(c | w_i) over the options of one query, `[N, C]`."""
    table = np.zeros((len(weights), len(features)))
    for i, w in enumerate(weights):
        scores = [beta * float(np.dot(w, phi)) for phi in features]
        terms = [np.exp(s - max(scores)) for s in scores]
        table[i] = [t / sum(terms) for t in terms]
    return table


def entropy(p):
    """-Σ p log p, in nats."""
    return -sum(float(x) * np.log(float(x)) for x in np.ravel(p) if x > 0)


def expected_posterior_entropy(features, weights, p, beta):
    """Σ_c P(c) H(w | c), through the posterior after each answer."""
    table, total = chances(features, weights, beta), 0.0
    for c in range(len(features)):
        joint = p * table[:, c]
        if joint.sum() > 0:
            total += joint.sum() * entropy(joint / joint.sum())
    return total


def answer_information(features, weights, p, beta):
    """H(c) - Σ_i p_i H(c | w_i): the same mutual information, seen from the answers."""
    table = chances(features, weights, beta)
    return entropy(p @ table) - sum(p[i] * entropy(table[i]) for i in range(len(p)))


def best_set(features, weights, p, beta, size):
    """The set of least expected posterior entropy, among all, and that entropy."""
    found = {
        rows: expected_posterior_entropy(features[list(rows)], weights, p, beta)
        for rows in itertools.combinations(range(len(features)), size)
    }
    rows = min(found, key=found.get)
    return rows, found[rows]


def greedy_set(features, weights, p, beta, size, first=None):
    """Begin with the best pair (that `first` is in, if given), add the best option until there are enough."""
    pairs = itertools.combinations(range(len(features)), 2)
    starts = [rows for rows in pairs if first is None or first in rows]
    rows = list(min(starts, key=lambda r: expected_posterior_entropy(features[list(r)], weights, p, beta)))
    while len(rows) < size:
        rest = [m for m in range(len(features)) if m not in rows]
        rows.append(min(rest, key=lambda m: expected_posterior_entropy(features[[*rows, m]], weights, p, beta)))
    return set(rows)
