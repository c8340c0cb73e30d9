"""Distances in other norms, orders among a few policies, and how distances rank against regret."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_ird_alignment
from scipy.stats import spearmanr
from test_ird_alignment import GOLDEN, drawn, switch

import mdps
from ird import alignment
from mdps import MDP

float64, gridded = test_ird_alignment._float64, test_ird_alignment.gridded
pytestmark = pytest.mark.usefixtures("float64")

MAX_AND_SUM = {  # advantage in the largest and in the summed norm
    ("sparse", "center"): (0.705477, 0.711850),
    ("sparse", "penalty"): (1, 1),
    ("sparse", "dense"): (0, 0),
    ("sparse", "dirt"): (0.100645, 0.158226),
    ("sparse", "cliff"): (0.375065, 0.423642),
    ("dirt", "cliff"): (0.276226, 0.372490),
    ("center", "penalty"): (0.585335, 0.719703),
    ("center", "dirt"): (0.693674, 0.718388),
    ("center", "cliff"): (0.693674, 0.732735),
}


@pytest.mark.parametrize("pair", MAX_AND_SUM, ids="-".join)
def test_other_norms_have_their_golden_values(gridded, pair):
    mdp, rewards = gridded
    one, two = (rewards[name] for name in pair)
    val = alignment.Advantage()
    found = [alignment.starc(mdp, one, two, canonical=val, order=p) for p in (jnp.inf, 1, 2)]
    np.testing.assert_allclose(found, [*MAX_AND_SUM[pair], GOLDEN[pair][2]], atol=1e-6)
    np.testing.assert_allclose(alignment.starc(mdp, one, two), GOLDEN[pair][3], atol=1e-6)


def test_trivial_rewards_and_other_norms_than_three():
    mdp, _, _ = drawn(0)
    same, other = np.ones((6, 3)), np.asarray(mdp.features)[..., 0]
    assert alignment.starc(mdp, same, other) == 0.5 and alignment.starc(mdp, same, 2 * same) == 0
    with pytest.raises(ValueError, match="order is 3"):
        alignment.starc(mdp, same, other, order=3)
    with pytest.raises(ValueError, match="written has shape"):
        alignment.starc(mdp, np.ones(4), other)
    with pytest.raises(ValueError, match="horizon"):
        alignment.starc(mdp.replace(horizon=3), same, other)


ROOMS = np.array(list(itertools.product([0, 1], repeat=3)))  # policies of the cleaning robot: which rooms it cleans


@pytest.mark.parametrize(
    ("true", "written", "hackable", "simplifies"),
    [
        ((1, 1, 1), (1, 1, 0), None, False),
        ((1, 1, 1), (1, 0, 0), ("011", "100"), False),
        ((3, 2, 1), (3, 2, 0), None, False),
        ((3, 2, 1), (1, 0, 0), None, False),
        ((3, 2, 1), (3, 0, 1), ("010", "001"), False),
        ((4, 2, 1), (4, 0, 1), ("010", "001"), False),
        ((4, 2, 1), (4, 2, 0), None, True),
        ((4, 2, 1), (1, 0, 0), None, True),
        ((4, 2, 1), (1, 1, 1), ("100", "011"), False),
    ],
)
def test_the_cleaning_robot(true, written, hackable, simplifies):
    found = alignment.order_among(ROOMS, np.array(written), np.array(true))
    assert (found.hackable, found.simplifies) == (hackable is not None, simplifies)
    # By enumeration, and that the pair named is one.
    told, meant = ROOMS @ written, ROOMS @ true
    pairs = [(a, b) for a in range(8) for b in range(8) if told[b] > told[a] and meant[b] < meant[a]]
    assert bool(pairs) == found.hackable
    if hackable:
        assert (found.better, found.worse) in pairs
        assert tuple(int(x, 2) for x in hackable) in pairs


@pytest.mark.parametrize(
    ("written", "hackable", "simplifies"),
    [((1, 1, 0), False, True), ((1, 0, 0), False, True), ((0, 0, 1), True, False)],
)
def test_three_policies_of_the_cleaning_robot(written, hackable, simplifies):
    few = ROOMS[[0b001, 0b110, 0b111]]
    found = alignment.order_among(few, np.array(written), np.ones(3))
    assert (found.hackable, found.simplifies) == (hackable, simplifies)


def test_simplifications_are_found_where_there_are_some():
    assert alignment.simplification(ROOMS, np.ones(3)) is None
    for policies, true in ((ROOMS, (4, 2, 1)), (ROOMS, (3, 2, 1)), (ROOMS[[1, 6, 7]], (1, 1, 1))):
        found = alignment.simplification(policies, np.array(true))
        assert found is not None
        assert alignment.order_among(policies, found, np.array(true)).simplifies
    assert alignment.simplification(ROOMS, np.zeros(3)) is None  # nothing to merge
    assert alignment.order_among(ROOMS, np.ones(3), np.zeros(3)).simplifies is False


def test_four_deterministic_policies_have_no_simplification_although_all_policies_are_hackable():
    mdp = switch((1, 0, 0, 2), (1, 0, 0, 1.9), (1, 0, 0, 0))
    policies = [np.eye(2)[list(choice)] for choice in itertools.product(range(2), repeat=2)]
    collected = np.stack([np.asarray(mdps.feature_expectations(mdp, jnp.asarray(p))) for p in policies])
    np.testing.assert_allclose(sorted(collected[:, 0] / 2), [0, 0.75, 1.5, 1.5], atol=1e-9)
    true, near, dropped = np.eye(3)
    assert not alignment.order_among(collected, near, true).hackable
    assert alignment.order_among(collected, dropped, true).hackable
    # Weights of the four entries: every reward of this map.
    free = switch(*np.eye(4))
    visits = np.stack([np.asarray(mdps.feature_expectations(free, jnp.asarray(p))) for p in policies])
    assert np.linalg.matrix_rank(visits - visits[0]) == 2
    assert alignment.simplification(visits, np.array([1.0, 0, 0, 2])) is None


def test_bad_input_among_a_few_is_refused():
    with pytest.raises(ValueError, match=r"\[P, K\]"):
        alignment.order_among(np.ones(3), np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match="written has shape"):
        alignment.order_among(ROOMS, np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match="true"):
        alignment.simplification(ROOMS, np.array([np.nan, 0, 1]))


def test_starc_ranks_like_regret_and_epic_does_not():
    """300 pairs on MDPs of 8 states whose rewards carry shaping and moved reward (each its own)."""
    found = {"epic": [], "starc": [], "regret": []}
    optimum = jax.jit(jax.vmap(mdps.optimum, in_axes=(None, 0)))
    distance = jax.jit(alignment.epic)
    for seed in range(300):
        rng = np.random.default_rng(9000 + seed)
        P = rng.dirichlet(np.full(8, 0.3), (8, 3))

        def disguised(base, rng=rng, P=P):
            phi, moved = 3 * rng.normal(size=8), 3 * rng.normal(size=P.shape)
            return base[:, :, None] + 0.9 * phi - phi[:, None, None] + moved - np.sum(P * moved, axis=2, keepdims=True)

        base, other, share = rng.normal(size=(8, 3)), rng.normal(size=(8, 3)), rng.uniform()
        one, two = disguised(base), disguised(share * base + (1 - share) * other)
        mdp = MDP.from_dense(P, np.stack([one, two], axis=-1), np.full(8, 1 / 8), discount=0.9)
        both = optimum(mdp, jnp.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]]))
        phi = np.asarray(both.features)
        # Of the most that can be lost; `distance` sees neither what is possible nor what follows.
        regret = [(phi[i, i] - phi[1 - i, i]) / (phi[i, i] - phi[i + 2, i]) for i in range(2)]
        found["regret"].append(max(regret))
        found["epic"].append(float(distance(mdp, one, two)))
        found["starc"].append(float(alignment.geometry(mdp).distance(*np.eye(2))))
    rank = {name: spearmanr(found[name], found["regret"]).statistic for name in ("epic", "starc")}
    assert rank["starc"] - rank["epic"] >= 0.3, rank


@pytest.mark.parametrize("unit", [1e-10, 1e-7, 1.0, 1e7])
def test_orders_and_simplifications_do_not_depend_on_the_unit(unit):
    rooms = unit * np.array(list(itertools.product([0, 1], repeat=3)))
    found = alignment.order_among(rooms, np.array([1, 0, 0]), np.array([1, 1, 1]))
    assert found.hackable and not alignment.order_among(rooms, np.array([1, 1, 0]), np.array([1, 1, 1])).hackable
    for true, merges in (([4, 2, 1], True), ([1, 1, 1], False)):
        simpler = alignment.simplification(rooms, np.array(true))
        assert (simpler is not None) == merges
        assert not merges or alignment.order_among(rooms, simpler, np.array(true)).simplifies


def test_returns_that_are_equal_but_for_the_rounding_of_their_precision_are_equal():
    sets = np.array([[1, 1, 0], [0, 0, 1]])  # .1 + .2 against .3, which float32 tells apart by 7e-9
    for x64 in (False, True):
        with jax.enable_x64(x64):
            found = alignment.order_among(sets, np.array([1.0, 1.0, 0.0]), np.array([-0.1, -0.2, -0.3]))
            again = alignment.order_among(sets, np.array([0.0, 0.0, 1.0]), np.array([-0.1, -0.2, -0.3]))
        assert not found.hackable and not again.hackable
