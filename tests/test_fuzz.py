"""The machine that looks for wrong numbers: its own answers are right, and it finds what is planted."""

import itertools
import sys

import jax
import numpy as np
import oracles
import pytest

import mdps
from fuzz import __main__, machine, problems, solving, trouble, truth
from fuzz.promises import Checked, Report


def random_problems(rng, n=4):
    """P `[n, S, A, S']`, r `[n, S, A]`, discounts, policies and initial distributions."""
    drawn = [oracles.random_mdp(rng) for _ in range(n)]
    P = np.stack([d[0] for d in drawn])
    policy = rng.dirichlet(np.ones(P.shape[2]), size=P.shape[:2])
    return P, rng.normal(size=P.shape[:3]), rng.uniform(0, 0.95, n), policy, rng.dirichlet(np.ones(P.shape[1]), size=n)


def test_slow_answers_are_those_of_the_oracles():
    rng = np.random.default_rng(0)
    P, r, gamma, policy, initial = random_problems(rng)
    tau, where = rng.uniform(0.1, 2, len(P)), rng.random(P.shape[:2]) < 0.3
    hard, soft = truth.optimum(P, r, gamma), truth.optimum(P, r, gamma, tau)
    ahead, soft_ahead = truth.backward(P, r, gamma, 5), truth.backward(P, r, gamma, 5, tau)
    own, visits, short = (
        truth.policy_value(P, policy, r, gamma),
        *(truth.visits(P, policy, initial, gamma, T) for T in (None, 4)),
    )
    first, _ = truth.first_visit(P, policy, initial, where, gamma)
    ever, _ = truth.first_visit(P, policy, initial, where, np.ones_like(gamma), 4)
    for known in (hard, soft, ahead, soft_ahead, own):
        assert (known.error < 1e-14 * (1 + np.abs(known.value).max())).all()
    for i in range(len(P)):
        g, t = gamma[i], tau[i]
        np.testing.assert_allclose(hard.value[i], oracles.policy_iteration(P[i], r[i], g), rtol=1e-11)
        np.testing.assert_allclose(soft.value[i], oracles.policy_iteration(P[i], r[i], g, t), rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(ahead.value[i], oracles.backward_induction(P[i], r[i], g, 5)[0], atol=1e-12)
        np.testing.assert_allclose(soft_ahead.value[i], oracles.backward_induction(P[i], r[i], g, 5, t)[0], atol=1e-12)
        np.testing.assert_allclose(own.value[i], oracles.policy_value(P[i], policy[i], r[i], g), atol=1e-11)
        np.testing.assert_allclose(visits.value[i], oracles.occupancy(P[i], policy[i], initial[i], g), atol=1e-11)
        np.testing.assert_allclose(short.value[i], oracles.occupancy(P[i], policy[i], initial[i], g, 4), atol=1e-12)
        assert first[i] == pytest.approx(oracles.visit_discounted(P[i], policy[i], initial[i], where[i], g), abs=1e-11)
        by_paths = oracles.visit_by_enumeration(P[i], policy[i], initial[i], where[i], 4)
        assert ever[i] == pytest.approx(by_paths, abs=1e-12)


def test_actions_that_do_not_exist_are_not_taken():
    P, r, gamma, _, _ = random_problems(np.random.default_rng(1))
    less = np.concatenate([r[:, :, :2], np.full_like(r[:, :, 2:], -np.inf)], axis=2)
    np.testing.assert_array_equal(
        truth.optimum(P, less, gamma).value, truth.optimum(P[:, :, :2], r[:, :, :2], gamma).value
    )


@pytest.mark.parametrize("family", list(machine.FAMILIES))
def test_the_same_seed_draws_the_same_problems(family):
    module = machine.FAMILIES[family]
    with jax.enable_x64(module.wide(3, 1)):
        once, again = module.draw(3, 1), module.draw(3, 1)
        assert once.size == again.size > 0
        assert once.show(0) == again.show(0)
        for a, b in zip(jax.tree.leaves(vars_of(once)), jax.tree.leaves(vars_of(again)), strict=True):
            np.testing.assert_array_equal(a, b)


def vars_of(drawn):
    """The arrays of what was drawn, by field."""
    fields = drawn._asdict() if hasattr(drawn, "_asdict") else vars(drawn)
    return {k: v for k, v in fields.items() if k not in ("said", "problems", "settings")}


def small(seed: int, batch: int) -> problems.Settings:
    """Settings that compile little."""
    return problems.Settings("float64", "tiny", "plain", "sparse", False, False, False, False)


def test_a_planted_fault_is_found_and_its_script_shows_it(monkeypatch):
    monkeypatch.setattr(problems, "settings", lambda family, seed, batch: small(seed, batch))
    held = machine.run(only=["solve"], batches=3)
    assert not held.violations and held.problems == 3 * 4 * 4
    right = mdps.solve

    def wrong(*args, **settings):
        s = right(*args, **settings)
        return jax.tree_util.tree_map(lambda x: x, s).__class__(
            **{**vars(s), "value": s.value + 2 * s.error_bound + 1e-9}
        )

    monkeypatch.setattr(mdps, "solve", wrong)
    solving.solver.cache_clear()
    found = machine.run(only=["solve"], batches=3)
    [violation] = [v for v in found.violations if "value" in v.promise][:1]
    assert violation.error > violation.allowed
    assert len(violation.script.splitlines()) <= 15
    with pytest.raises(AssertionError):
        exec(compile(violation.script, "script", "exec"), {})
    monkeypatch.setattr(mdps, "solve", right)
    solving.solver.cache_clear()
    exec(compile(violation.script, "script", "exec"), {})


# Few programs, each for many problems: a dtype, a shape, 512 rewards of one MDP at once, a structure, hard or soft.
SLICE = (
    problems.Settings("float64", "middle", "shared", "own", False, False, False, False),
    problems.Settings("float32", "tiny", "shared", "blocks", True, False, True, False),
    problems.Settings("float64", "tiny", "shared", "sparse", False, True, False, False),
)


def test_a_slice_of_optima_holds(monkeypatch):
    """`make fuzz` for some seconds: nearly all of them compile."""
    monkeypatch.setattr(problems, "settings", lambda family, seed, batch: SLICE[batch % problems.PALETTE])
    report = Report()
    for k, turn in itertools.product(range(5), range(len(SLICE))):
        machine.one_batch(report, "solve", 29, k * problems.PALETTE + turn)  # a palette later structures are the same
    assert not report.violations, report.told()
    assert report.problems == 5 * 512 * len(SLICE)


def test_an_exception_is_a_violation(monkeypatch):
    monkeypatch.setattr(problems, "settings", lambda family, seed, batch: small(seed, batch))

    def broken(*args, **settings):
        raise RuntimeError("out of order")

    monkeypatch.setattr(mdps, "solve", broken)
    solving.solver.cache_clear()
    [violation] = machine.run(only=["solve"], batches=1).violations  # one for the whole batch
    assert violation.promise == "solve: no exception" and "RuntimeError: out of order" in violation.script
    solving.solver.cache_clear()


def test_rows_count_what_was_tried_and_keep_the_worst():
    report = Report()
    report.add(Checked("near", [0.0, 0.5, 3.0, np.nan], [0.0, 1.0, 1.0, 1.0], [True, True, True, False]), str)
    report.add(Checked("near", [np.nan], [1.0]), str)
    [row] = report.rows.values()
    assert (row.tried, row.held, row.worst) == (4, 2, 3.0)
    assert [v.script for v in report.violations] == ["2", "0"]
    assert "| near | 4 | 2 | 3 |" in report.table()


def test_the_command_says_what_was_violated(monkeypatch, capsys, tmp_path):
    violated = Report()
    violated.add(Checked("near", [1.0], [0.5]), lambda i: "the script")
    for report, status in ((Report(), 0), (violated, 1)):
        monkeypatch.setattr(machine, "run", lambda *args, report=report, **settings: report)
        monkeypatch.setattr(sys, "argv", ["fuzz", "--minutes", "0", "--json", str(tmp_path / "found.json")])
        assert __main__.main() == status
    assert "the script" in capsys.readouterr().out
    assert '"violations": 1' in (tmp_path / "found.json").read_text()


@pytest.mark.parametrize(("x64", "batch"), [(False, 43), (True, 67)])
def test_infinity_in_a_transition_whose_action_is_never_taken(x64, batch):
    """Found by the machine: values were finite, and `converged` said that they were known."""
    with jax.enable_x64(x64):
        problems = trouble.draw(13, batch)
        assert (problems.broken, problems.value) == ("probability", -np.inf)
        known, _ = trouble.check(problems, trouble.answers(problems))
        assert known.at(problems.where) == (0, 0)
