"""Evaluators who are helped: signals never hurt, a known adversary leaves what one has alone, majorities of three."""

import itertools

import numpy as np
import pytest
from scipy.optimize import linprog

from cirl.oversight import recursive


def drawn(rng, S=3, D=3, O=2):
    return rng.normal(size=(S, D)), rng.dirichlet(np.ones(S)), rng.dirichlet(np.ones(O), S)


def best_of_every_rule(u, p, c):
    """The twin: every way to decide by the signal."""
    rules = itertools.product(range(u.shape[1]), repeat=c.shape[1])
    return max(sum(p[s] * c[s, o] * u[s, d[o]] for s in range(len(p)) for o in range(c.shape[1])) for d in rules)


def test_worth_is_the_best_of_every_rule():
    rng = np.random.default_rng(0)
    for _ in range(20):
        u, p, c = drawn(rng)
        assert recursive.expected_payoff(u, p, c) == pytest.approx(best_of_every_rule(u, p, c), abs=1e-12)
        assert recursive.expected_payoff(u, p, np.ones((3, 1))) == pytest.approx((p @ u).max(), abs=1e-12)
        assert recursive.expected_payoff(u, p, np.eye(3)) == pytest.approx(p @ u.max(axis=1), abs=1e-12)


def test_a_helper_on_ones_side_never_hurts_and_noise_never_helps():
    rng, helped = np.random.default_rng(1), 0
    for _ in range(40):
        u, p, own = drawn(rng)
        helper, noise = rng.dirichlet(np.ones(3), 3), rng.dirichlet(np.ones(2), 3)
        alone, both = (
            recursive.expected_payoff(u, p, own),
            recursive.expected_payoff(u, p, recursive.beside(own, helper)),
        )
        assert both >= alone - 1e-12
        assert both >= recursive.expected_payoff(u, p, recursive.beside(own, helper @ noise)) - 1e-12  # Blackwell
        assert both <= p @ u.max(axis=1) + 1e-12
        helped += both > alone + 1e-9
    assert helped > 10


def value_against_an_adversary(u, p, c, messages):
    """A linear program: the evaluator's mixed rule by (signal, message), the adversary's reply state by state."""
    S, D = u.shape
    O = c.shape[1]
    rules, M = O * messages * D, messages
    cost = np.concatenate([np.zeros(rules), -p])  # variables: the rule, then what each state is left with
    above, rows = [], []
    for s, m in itertools.product(range(S), range(M)):
        row = np.zeros(rules + S)
        row[rules + s] = 1
        for o, d in itertools.product(range(O), range(D)):
            row[(o * M + m) * D + d] = -c[s, o] * u[s, d]
        above.append(row)
    for o, m in itertools.product(range(O), range(M)):
        row = np.zeros(rules + S)
        row[(o * M + m) * D : (o * M + m) * D + D] = 1
        rows.append(row)
    bounds = [(0, 1)] * rules + [(None, None)] * S
    found = linprog(cost, np.array(above), np.zeros(S * M), np.array(rows), np.ones(O * M), bounds)
    return -found.fun


def test_a_known_adversary_leaves_what_one_has_alone():
    rng = np.random.default_rng(2)
    for _ in range(10):
        u, p, c = drawn(rng)
        alone = recursive.expected_payoff(u, p, c)
        assert recursive.adversary(u, p, c) == pytest.approx(alone, abs=1e-12)
        # Neither side can do better by mixing: the value of the zero-sum game.
        assert value_against_an_adversary(u, p, c, 2) == pytest.approx(alone, abs=1e-7)


def test_trusting_a_liar_costs_and_believing_the_truth_never_does():
    rng, lost = np.random.default_rng(3), 0
    for _ in range(40):
        u, p, c = drawn(rng, O=3)
        believed = rng.dirichlet(np.ones(3), 3)
        naive = recursive.expected_payoff(u, p, c, believed=believed)
        assert naive <= recursive.expected_payoff(u, p, c) + 1e-12
        lost += naive < recursive.expected_payoff(u, p, np.ones((3, 1))) - 1e-9
        assert recursive.expected_payoff(u, p, c, believed=c) == pytest.approx(
            recursive.expected_payoff(u, p, c), abs=1e-12
        )
    assert lost > 3  # worse than not listening


def test_levels_of_majorities():
    np.testing.assert_allclose(recursive.levels(0.6, 3), [0.6, 0.648, 0.7155, 0.8033], atol=5e-5)
    for p in (0.0, 0.2, 0.5, 0.51, 0.9, 1.0):
        votes = itertools.product((1, 0), repeat=3)
        by_hand = sum(np.prod([p if v else 1 - p for v in each]) for each in votes if sum(each) >= 2)
        up = recursive.levels(p, 1)
        assert up[1] == pytest.approx(by_hand, abs=1e-12)
        assert np.sign(round(up[1] - p, 12)) == (0 if p in (0, 0.5, 1) else np.sign(p - 0.5))
    assert recursive.levels(0.6, 50)[-1] == pytest.approx(1) and recursive.levels(0.4, 50)[-1] == pytest.approx(0)
    # Errors that the three share are not voted away.
    alike = [recursive.levels(0.6, 5, together=c)[-1] for c in (0.0, 0.5, 0.9, 1.0)]
    assert alike == sorted(alike, reverse=True) and alike[-1] == pytest.approx(0.6)


def test_what_is_wrong_is_named(unannotated):
    u, p, c = [[1.0, 0.0], [0.0, 1.0]], [0.5, 0.5], [[1.0], [1.0]]
    for call, said in (
        (lambda: recursive.expected_payoff([1.0], p, c), r"payoff has shape \(1,\)"),
        (lambda: recursive.expected_payoff([[np.nan, 0.0], [0.0, 1.0]], p, c), "payoff"),
        (lambda: recursive.expected_payoff(u, [1.0], c), r"prior has shape \(1,\)"),
        (lambda: recursive.expected_payoff(u, [0.5, 0.6], c), "prior sums to 1.1"),
        (lambda: recursive.expected_payoff(u, p, [[1.0]]), r"channel has shape \(1, 1\)"),
        (lambda: recursive.expected_payoff(u, p, [[0.5, 0.4], [1, 0]]), "channel of state 0 sums to 0.9"),
        (lambda: recursive.expected_payoff(u, p, c, believed=[[1.0, 0.0]] * 2), r"believed has shape \(2, 2\)"),
        (lambda: recursive.beside(c, [[1.0]]), r"second has shape \(1, 1\)"),
        (lambda: recursive.adversary(u, p, c, messages=1000), "make 1,000,000 ways to talk"),
        (lambda: recursive.levels(1.2, 2), "right is 1.2; give a probability"),
        (lambda: recursive.levels(0.6, -1), "count is -1"),
        (lambda: recursive.levels(0.6, 1, together="all"), "together is 'all'"),
    ):
        with pytest.raises(ValueError, match=said):
            call()
