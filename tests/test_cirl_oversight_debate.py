"""Debate over claim trees: golden accuracies, every play listed, corrupted leaves by brute force, hidden flaws."""

import itertools
import math

import numpy as np
import pytest

from cirl.oversight import debate

INF = math.inf


def true_at_root(claim, at_or=True):
    if isinstance(claim, bool):
        return claim
    below = [true_at_root(each, not at_or) for each in claim]
    return any(below) if at_or else all(below)


def value(claim, errors, at_or, for_true, for_false):
    """The twin: plain recursion in Python, a reading's error for every leaf."""
    if isinstance(claim, bool):
        return 1 - errors if claim else errors
    below = [value(c, e, not at_or, for_true, for_false) for c, e in zip(claim, errors, strict=True)]
    skill, sign = (for_true, 1) if at_or else (for_false, -1)
    if skill == INF:
        return max(below) if at_or else min(below)
    weights = [math.exp(sign * skill * v) for v in below]
    return sum(w * v for w, v in zip(weights, below, strict=True)) / sum(weights)


def spread(claim, error):
    return error if isinstance(claim, bool) else [spread(each, error) for each in claim]


def nested(leaves, depth, b=2):
    """Leaves in a row as a complete tree."""
    if depth == 0:
        return bool(leaves[0])
    size = len(leaves) // b
    return [nested(leaves[i * size : (i + 1) * size], depth - 1, b) for i in range(b)]


def drawn(rng, depth):
    """A ragged claim."""
    if depth == 0 or rng.random() < 0.2:
        return bool(rng.random() < 0.5)
    return [drawn(rng, depth - 1) for _ in range(rng.integers(1, 4))]


GOLDEN = [  # honest, liar, accuracy at depth 1, 2, 3, 4
    (0, 0, (0.7, 0.65, 0.565625, 0.553064)),
    (5, 5, (0.892806, 0.88895, 0.882022, 0.877873)),
    (2, 2, (0.832807, 0.795792, 0.734153, 0.697924)),
    (2, INF, (None, 0.782413, None, 0.652108)),
    (INF, 2, (0.9, 0.9, 0.9, 0.9)),
]


@pytest.mark.parametrize("honest, liar, expected", GOLDEN)
def test_accuracy_by_depth_and_skill(honest, liar, expected):
    for depth, golden in enumerate(expected, start=1):
        if golden is not None:
            assert debate.accuracy(depth, honest=honest, liar=liar) == pytest.approx(golden, abs=5e-7)


def test_perfect_debaters_leave_the_error_of_one_leaf_at_any_depth():
    for depth, error, branching in itertools.product((0, 1, 7, 40), (0.0, 0.1, 0.4), (1, 2, 3)):
        found = debate.accuracy(depth, error=error, branching=branching, share=0.3)
        assert found == pytest.approx(1 - error, abs=1e-12)
    rng = np.random.default_rng(0)
    for _ in range(100):
        assert debate.verdict(drawn(rng, 5), error=0.2).accuracy == pytest.approx(0.8, abs=1e-12)


@pytest.mark.parametrize("b, depth, share, or_first", [(2, 3, 0.5, False), (3, 2, 0.8, True), (2, 0, 0.3, True)])
def test_accuracy_is_the_mean_over_all_patterns_of_leaves(b, depth, share, or_first):
    skills = {"honest": 3.0, "liar": 1.0}
    mean = total = 0.0
    for leaves in itertools.product((False, True), repeat=b**depth):
        claim = nested(leaves, depth, b)
        weight = share ** sum(leaves) * (1 - share) ** (len(leaves) - sum(leaves))
        truth = true_at_root(claim, or_first)
        pair = (3.0, 1.0) if truth else (1.0, 3.0)
        says_true = value(claim, spread(claim, 0.1), or_first, *pair)
        mean += weight * (says_true if truth else 1 - says_true)
        total += weight
    assert total == pytest.approx(1)
    found = debate.accuracy(depth, branching=b, share=share, or_first=or_first, **skills)
    assert found == pytest.approx(mean, abs=1e-12)


def test_verdicts_on_ragged_claims_with_an_error_of_each_leaf():
    rng = np.random.default_rng(1)
    for _ in range(100):
        claim = drawn(rng, 4)
        errors = spread(claim, None)

        def fill(e):
            return float(rng.random()) if e is None else [fill(each) for each in e]

        errors = fill(errors)
        honest, liar = rng.choice([0.0, 1.5, 40.0, INF], 2)
        found = debate.verdict(claim, honest=honest, liar=liar, error=errors, or_first=False)
        truth = true_at_root(claim, False)
        pair = (honest, liar) if truth else (liar, honest)
        assert found.truth == truth
        assert found.says_true == pytest.approx(value(claim, errors, False, *pair), abs=1e-12)


def leaves_of(claim, way=()):
    if isinstance(claim, bool):
        return [way]
    return [leaf for i, each in enumerate(claim) for leaf in leaves_of(each, (*way, i))]


def turned(claim, ways, way=()):
    """The errors of a judge who reads these leaves wrong and all others right."""
    if isinstance(claim, bool):
        return float(way in ways)
    return [turned(each, ways, (*way, i)) for i, each in enumerate(claim)]


def test_the_certificate_is_the_smallest_set_of_leaves_that_turns_the_verdict():
    rng = np.random.default_rng(2)
    claims = [nested(leaves, 3) for leaves in itertools.product((False, True), repeat=8)]
    claims += [claim for claim in (drawn(rng, 3) for _ in range(60)) if len(leaves_of(claim)) <= 9]
    sizes = set()
    for claim in claims:
        found, leaves = debate.certificate(claim), leaves_of(claim)
        fooled = lambda ways: debate.verdict(claim, error=turned(claim, set(ways))).accuracy == 0  # noqa: B023, E731
        assert fooled(found.leaves)
        fewer = itertools.combinations(leaves, found.size - 1)
        assert not any(fooled(ways) for ways in fewer)  # turning more never helps the honest side: so none smaller
        sizes.add(found.size)
    assert len(sizes) > 2
    assert debate.certificate(True).leaves == ((),)  # the root is the leaf


def test_turning_a_leaf_that_speaks_for_the_truth_never_helps_it():
    """Why no smaller set than the ones tried can do it: the verdict is monotone in the leaves."""
    for leaves in itertools.product((False, True), repeat=8):
        for i in range(8):
            more = tuple(x or i == j for j, x in enumerate(leaves))
            assert true_at_root(nested(leaves, 3)) <= true_at_root(nested(more, 3))


def test_a_flaw_among_many_steps_is_found_as_looking_everywhere_would_say():
    for width, depth, budget in itertools.product((1, 3, 4), (0, 1, 3), (0, 1, 2, 4)):
        looks = list(itertools.combinations(range(width), min(budget, width)))
        level = sum(0 in looked for looked in looks) / len(looks)  # the flaw is step 0
        # One who guesses points at each step that was not looked at equally often.
        guessed = sum(1 if 0 in looked else 1 / (width - len(looked)) for looked in looks) / len(looks)
        for guess, once in ((False, level), (True, guessed)):
            found = debate.obfuscated(width, depth, budget, error=0.1, guess=guess)
            assert found.found == pytest.approx(once**depth, abs=1e-12)
            assert found.accuracy == pytest.approx(0.9 * once**depth + 0.1 * (1 - once**depth), abs=1e-12)


def test_a_flaw_that_is_found_is_the_debate_about_a_tree_with_one_false_leaf():
    flawed = [[True, True], [False, True]]  # AND of ANDs, as an AND whose children are ORs of one AND
    tree = [[side] for side in flawed]
    found = debate.verdict(tree, or_first=False)
    assert not found.truth and found.accuracy == pytest.approx(debate.obfuscated(2, 2, 2).accuracy)
    # A coin in place of the honest debater: one look fewer than none, with a guess.
    coin = debate.verdict(tree, honest=0, or_first=False)
    assert coin.accuracy == pytest.approx(debate.obfuscated(2, 2, 0, guess=True).accuracy)


def test_more_skill_helps_on_the_whole_and_a_gap_alone_does_not_decide():
    skills = (0.0, 1.0, 2.0, 5.0, 10.0, INF)
    table = np.array([[debate.accuracy(4, honest=h, liar=x) for x in skills] for h in skills])
    assert (np.diff(table, axis=0) > 0).all()  # a better honest debater
    assert (np.diff(table, axis=1)[:3] < 0).all() and np.allclose(table[-1], 0.9)  # a better liar
    # An able debater meets a random liar with less to go by: what lies below a claim then differs less in value.
    assert table[3, 0] < table[3, 3] - 0.02
    same = [debate.accuracy(4, honest=b, liar=b) for b in (0.0, 2.0, 5.0)]
    assert same == sorted(same) and same[-1] - same[0] > 0.3


def test_huge_skills_and_extreme_judges():
    assert debate.accuracy(3, honest=1e9, liar=1e9) == pytest.approx(0.9, abs=1e-9)
    assert debate.accuracy(3, honest=2.0, liar=2.0, error=0.5) == pytest.approx(0.5)
    # Of 500 leaves hardly ever all are false: a true one and many others to pick from, by weight e^2.4.
    true, tilt = np.arange(1, 501), math.exp(3.0 * 0.8)
    chance = np.exp([math.lgamma(501) - math.lgamma(k + 1) - math.lgamma(501 - k) - 500 * math.log(2) for k in true])
    wide = chance @ ((0.9 * tilt * true + 0.1 * (500 - true)) / (tilt * true + 500 - true))
    assert debate.accuracy(1, branching=500, honest=3.0, liar=3.0) == pytest.approx(wide, abs=1e-9)
    assert debate.verdict(True, error=1.0).accuracy == 0
    # A judge who is mostly wrong: of one true leaf the right side must show the one that reads as true.
    assert debate.verdict([True, False], error=0.9).accuracy == pytest.approx(0.9)
    assert debate.verdict([True, True], error=0.9).accuracy == pytest.approx(0.1)
    assert debate.verdict(np.ones((2, 3), bool), honest=np.float32(2), liar=np.int64(2)).accuracy == pytest.approx(0.9)


CLAIM = [[True, False], [True, True]]
WRONG = [
    (lambda: debate.verdict([]), r"claim is a list; give True, False, or a list"),
    (lambda: debate.verdict([[True], 1]), r"claim, at \[1\], is 1; give"),
    (lambda: debate.verdict("ab"), "claim is 'ab'"),
    (lambda: debate.verdict(CLAIM, honest=-1), "honest is -1; give a skill of 0"),
    (lambda: debate.verdict(CLAIM, liar=math.nan), "liar is nan; give a skill"),
    (lambda: debate.verdict(CLAIM, error=1.1), "error is 1.1; give a probability"),
    (lambda: debate.verdict(CLAIM, error=[0.1]), "error has 1 entries where the claim has 2"),
    (lambda: debate.verdict(CLAIM, error=[0.1, [0.1, 2]]), "error is 2; give a probability"),
    (lambda: debate.verdict(CLAIM, or_first=1), "or_first is 1; give True or False"),
    (lambda: debate.accuracy(2.5), "depth is 2.5; give a whole number"),
    (lambda: debate.accuracy(2, branching=0), "branching is 0"),
    (lambda: debate.accuracy(9, honest=2.0, liar=2.0), "different sub-trees, more than"),
    (lambda: debate.accuracy(2, honest=True), "honest is True; give a skill"),
    (lambda: debate.accuracy(2, liar=[1.0]), "liar is a list; give a skill"),
    (lambda: debate.accuracy(2, liar=np.ones(2)), r"liar has shape \(2,\)"),
    (lambda: debate.accuracy(2, share=-0.1), "share is -0.1; give a probability"),
    (lambda: debate.certificate(None), "claim is None"),
    (lambda: debate.obfuscated(0, 1, 1), "width is 0"),
    (lambda: debate.obfuscated(2, -1, 1), "depth is -1"),
    (lambda: debate.obfuscated(2, 1, 0.5), "budget is 0.5"),
    (lambda: debate.obfuscated(2, 1, 1, guess=None), "guess is None"),
]


@pytest.mark.parametrize("call, said", WRONG)
def test_what_is_wrong_is_named(call, said, unannotated):
    with pytest.raises(ValueError, match=said):
        call()


def test_inside_jit_the_error_says_so():
    import jax

    with pytest.raises(ValueError, match="honest is a tracer; these worlds are computed on the host"):
        jax.jit(lambda h: debate.accuracy(2, honest=h))(1.0)
