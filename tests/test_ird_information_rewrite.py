"""The least change of a proxy, against every weight on a fine grid; what it prints, and what it refuses."""

import itertools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import mdps
from ird import information, posterior
from ird.information import Rewrite
from ird.information._pieces import Line, pieces
from mdps import GridWorld, policy_return, solve
from mdps.policies import uniform_policy

LEGEND = {"S": "floor", ".": "floor", "m": "mud", "g": "gravel", "s": "stone", "G": "goal"}
# Straight on through mud; a little longer over gravel; longest, over floor and stone.
FORK = GridWorld.from_text("s.s\n.#.\nSmG\n.g.", LEGEND, horizon=12)
HALL = GridWorld.from_text("s.s\n.#.\nSmG\n.m.", LEGEND, horizon=12)  # the same, with mud for gravel
WRITTEN = FORK.weights(goal=1.0)


def regrets(grid, weights, meant):
    """Regret of the literal plan, from policies."""
    mdp, reward = grid.mdp, grid.mdp.reward(meant)
    random = policy_return(mdp, uniform_policy(mdp), reward)
    best = solve(mdp, reward).value @ mdp.initial
    return float(
        (best - policy_return(mdp, solve(mdp, mdp.reward(jnp.asarray(weights))).policy, reward)) / (best - random)
    )


def test_one_metric_is_enough_and_no_smaller_change_of_one_is(x64):
    meant = FORK.weights(goal=1.0, mud=-5.0)
    found = information.rewrite([HALL.mdp, FORK.mdp], meant, WRITTEN, regret=0.05)
    assert found.found and found.changed == ("mud",) and found.share is None and found.held == 1
    for grid, regret in zip((HALL, FORK), found.regret, strict=True):
        assert abs(regrets(grid, found.weights, meant) - regret) < 1e-6 and regret <= 0.05
    at = np.arange(0.05, 6, 0.1)  # charges, none of them where plans change
    plans = jax.jit(jax.vmap(lambda w: solve(HALL.mdp, HALL.mdp.reward(w)).policy))
    charged = jnp.asarray(np.asarray(WRITTEN) - at[:, None] * np.asarray(FORK.weights(mud=1.0)))
    returns = jax.vmap(lambda p: policy_return(HALL.mdp, p, HALL.mdp.reward(meant)))(plans(charged))
    first = at[int(np.argmax(np.asarray(returns) > float(returns[-1]) - 1e-6))]
    low, high = found.between
    assert (
        first - 0.1 < -high < first and -high < -found.weights[FORK.mdp.feature_names.index("mud")] < -high * 1.1 + 1e-9
    )
    assert low < high and found.least == pytest.approx(-high * reach(FORK, "mud")) and found.cost >= found.least
    small = WRITTEN - 0.99 * -high * FORK.weights(mud=1.0)
    assert regrets(HALL, small, meant) > 0.05


def reach(grid, name):
    """What policies can make of a metric."""
    ends = [
        mdps.optimum(grid.mdp, grid.weights(**{name: sign})).features @ grid.weights(**{name: 1.0})
        for sign in (1.0, -1.0)
    ]
    return float(ends[0] - ends[1])


@hypothesis.given(st.integers(0, 2**32 - 1))
def test_pieces_are_those_of_the_upper_envelope(seed):
    rng = np.random.default_rng(seed)
    plans = rng.normal(size=(rng.integers(2, 12), 1, 3))  # feature expectations of all there are, in one MDP
    plan = lambda weights: plans[np.argmax(plans[:, 0] @ weights.T, axis=0)]  # noqa: E731
    line = Line(rng.normal(size=3), rng.normal(size=3), 5.0)
    [found] = pieces(plan, [line], precision=1e-9)
    edges = [0.0, *(piece.high for piece in found)]
    assert edges[-1] == 5 and [piece.low for piece in found] == edges[:-1]
    for piece in found:
        for t in np.linspace(piece.low, piece.high, 7)[1:-1]:
            np.testing.assert_array_equal(piece.features, plan(line.at(t)[None])[0])
    best = {int(np.argmax(plans[:, 0] @ line.at(t))) for t in np.linspace(0, 5, 3001)}
    assert len(found) >= len(best)
    assert all((a.features != b.features).any() for a, b in itertools.pairwise(found))


def test_two_metrics_where_one_is_not_enough():
    meant = FORK.weights(goal=1.0, mud=-5.0, gravel=-5.0)
    one = information.rewrite(FORK.mdp, meant, WRITTEN, most=1)
    assert not one.found and "No change of one metric brings" in str(one) and one.regret[0] > 0.05
    two = information.rewrite(FORK.mdp, meant, WRITTEN)
    assert two.found and two.changed == ("mud", "gravel") and regrets(FORK, two.weights, meant) <= 0.05
    assert str(two).startswith("Charge ") and " and charge " in str(two) and np.isnan(two.least)
    for k in np.flatnonzero(two.weights != two.written):  # both are needed, and neither is much more than needed
        less = np.array(two.weights)
        less[k] *= 0.8
        assert regrets(FORK, less, meant) > 0.05


def test_a_belief_is_judged_sample_by_sample():
    meant = jnp.stack([FORK.weights(goal=1.0, mud=-5.0), FORK.weights(goal=1.0, mud=-0.1), FORK.weights(goal=1.0)])
    p = np.array([0.6, 0.3, 0.1])
    belief = posterior.exact(candidates=meant, log_prior=jnp.log(p))
    found = information.rewrite(HALL.mdp, belief, WRITTEN, share=0.55, regret=0.02)
    each = np.array([regrets(HALL, found.weights, w) for w in meant])
    assert found.found and found.held == pytest.approx(p[each <= 0.02].sum(), abs=1e-5) and found.held >= 0.55
    assert found.regret[0] == pytest.approx(p @ each, abs=1e-4) and "of the belief" in str(found)
    none = information.rewrite(HALL.mdp, belief, WRITTEN, share=0.99, regret=0.02)
    assert not none.found and none.held <= none.attainable < 0.99 and "none that was tried of two" in str(none)
    plans = [[regrets(HALL, best, w) for w in meant] for best in meant]  # of each reward's own best plan
    assert none.attainable == pytest.approx(((np.array(plans) <= 0.02) @ p).max(), abs=1e-5)
    assert f"none is so under more than {none.attainable:.0%}" in str(none)


def test_what_is_good_enough_stays():
    kept = information.rewrite(HALL.mdp, WRITTEN, WRITTEN)
    assert kept.found and kept.changed == () and kept.cost == 0 and "Keep it as it is written" in str(kept)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ([10.0, 0.0], [0.0, 8.0], "Pay 8 for resolved instead of closed:"),
        ([10.0, 0.0], [0.0, -8.0], "Pay nothing for closed and charge 8 for resolved:"),
        ([10.0, 0.0], [4.0, 0.0], "Pay 4 for closed, not 10:"),
        ([10.0, -2.0], [10.0, 2.5], "Pay 2.5 for resolved, not charging 2:"),
    ],
)
def test_it_prints_as_a_sentence(old, new, words):
    old, new = np.array(old), np.array(new)
    nan = np.full(2, np.nan)
    made = Rewrite(new, old, True, np.zeros(2), 1.0, 1.0, 1.0, np.nan, nan, 0.05, None, 2, ("closed", "resolved"))
    assert str(made).startswith(words) and "in both worlds" in str(made)


def test_refusals_name_the_argument_and_the_cure():
    other = GridWorld.from_text("S.G", {"S": "floor", ".": "floor", "G": "goal"}, horizon=5)
    with pytest.raises(ValueError, match=r"mdps\[1\] has the features .*same features in the same order"):
        information.rewrite([FORK.mdp, other.mdp], WRITTEN, WRITTEN)
    with pytest.raises(ValueError, match=r"meant has shape \(2,\), .* 5 features"):
        information.rewrite(FORK.mdp, [1.0, 2.0], WRITTEN)
    with pytest.raises(ValueError, match="the belief's weights have shape"):
        information.rewrite(FORK.mdp, posterior.exact(candidates=jnp.ones((2, 2))), WRITTEN)
    with pytest.raises(ValueError, match="written is being traced; rewrite looks at values"):
        jax.jit(lambda w: information.rewrite(FORK.mdp, WRITTEN, w).weights)(WRITTEN)
    endless = GridWorld.from_text("S.G", {"S": "floor", ".": "floor", "G": "goal"}, terminal=("goal",)).mdp
    with pytest.raises(ValueError, match="neither a discount below 1 nor a horizon"):
        information.rewrite(endless, np.zeros(2), np.zeros(2))
