"""Plans say what they do: returns, the tail, exposure, and when they stay at home."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from ird import ProxyReward, planning, posterior
from ird.evidence import Choice
from ird.risk import CVaR
from mdps import GridWorld, solve
from mdps.pytrees import with_fields

# Two who may have written: to one the goal is an end to costly steps, to the other a prize.
CANDIDATES = np.array([[0.0, -2.0, -1.0], [0.0, 10.0, -0.1]])


@pytest.fixture(scope="module")
def frozen():
    """A plan that goes from the right start, and stays at the left one for fear of what the goal is."""
    legend = {"S": "floor", ".": "floor", "G": "goal"}
    grid = GridWorld.from_text("S..GS", legend, terminal=("goal",), step=True, horizon=13)
    told = Choice([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], 0, beta=1e-3, feature_names=grid.mdp.feature_names)
    belief = posterior.exact(told, candidates=jnp.asarray(CANDIDATES))
    from_floor = planning.start_features(grid.mdp)
    return grid, belief, planning.plan_per_step(grid.mdp, belief, risk=CVaR(0.4), baseline=from_floor)


def test_a_plan_that_stays_at_home_says_so_and_what_would_be_gained(frozen):
    grid, belief, plan = frozen
    found = planning.explain(grid.mdp, belief, plan)
    # It stays for 13 steps of -.55 on average; three steps away is a goal of 4.
    assert found.frozen == 0.5 and found.gain == pytest.approx(4 + 10 * 0.55, rel=1e-2)
    assert found.price == pytest.approx(found.gain / 2, rel=1e-4)
    assert "frozen: it stays where it begins from 50% of the starts, although" in str(plan)
    bold = planning.explain(grid.mdp, belief, solve(grid.mdp, grid.mdp.reward(belief.mean())))
    assert bold.frozen == 0 and bold.price == 0 and "frozen" not in str(bold)


def test_returns_the_tail_and_exposure_are_what_they_say(frozen):
    grid, belief, plan = frozen
    found = planning.explain(grid.mdp, belief, plan, risk=CVaR(0.4), baseline=planning.start_features(grid.mdp))
    p, collected = np.exp(np.asarray(belief.log_weights)), np.asarray(plan.feature_expectations)
    np.testing.assert_allclose(found.collected, collected, rtol=1e-5)
    assert found.returns["this plan"] == pytest.approx(p @ CANDIDATES @ collected, rel=1e-5)
    # The right start's goal, and nothing after it, is worth -2 to the first and 10 to the second.
    np.testing.assert_allclose(found.tail, CANDIDATES[0], atol=1e-5)
    assert found.tail_size == pytest.approx(1, abs=1e-5)
    lines = str(plan).splitlines()
    assert lines[0].startswith("objective ") and f"{float(plan.objective):.4g}" in lines[0]
    assert f"mean return              {found.returns['this plan']:.4g}  (mean plan" in lines[1]
    assert f"price of caution {found.price:.2g}" in lines[1]
    # The choice told next to nothing of the goal, and of the rest nothing.
    floor, goal, ended = np.asarray(planning.unknown(grid.mdp, belief))[np.array([0, 3, 5])]
    visits = np.array([collected[0], collected[1], 13 - collected[0] - collected[1]])
    assert found.exposure == pytest.approx(visits @ [floor, goal, ended], rel=1e-4)
    assert found.exposure > 0.5 and found.by_feature.sum() == pytest.approx(found.exposure, rel=1e-4)
    assert lines[2].startswith(f"exposure to the unknown  {found.exposure:.3g} visits")
    assert any(line.split()[:1] == ["goal"] and "-2" in line for line in lines)
    assert "the belief is thin: worth 2 independent draws" in lines


def test_a_plan_without_evidence_a_batch_and_a_pickle_say_what_they_can(frozen):
    grid, belief, plan = frozen
    assert planning.explain(grid.mdp, with_fields(belief, told={}), plan).exposure is None
    again = pickle.loads(pickle.dumps(plan))
    assert str(again).splitlines() == str(plan).splitlines()[:1]
    batch = jax.tree.map(lambda x: jnp.stack([x, x]), plan)
    assert str(batch) == "RiskPlan of a batch, or traced: objective an array of float32 with shape (2,)"
    assert repr(plan).startswith("RiskPlan(policy=an array of float32 with shape (13, 6, 4), objective=")
    several = jax.tree.map(lambda x: x[0], batch)
    assert str(planning.explain(grid.mdp, belief, several)) in str(planning.explain(grid.mdp, belief, plan))
    with pytest.raises(ValueError, match="plan is 'careful', which has no policy"):
        planning.explain(grid.mdp, belief, "careful")
    with pytest.raises(ValueError, match="a proxy is 'proxy'"):
        planning.explain(grid.mdp, belief, plan, "proxy")


def test_exposure_is_that_of_the_world_and_the_belief_that_are_given():
    legend = {"S": "dirt", ".": "dirt", "l": "lava", "G": "goal"}
    train, field, dry = (GridWorld.from_text(text, legend, horizon=5) for text in ("S.G", "SlG", "S.G"))
    prior = dist.Uniform(-1, 1).expand([3]).to_event(1)
    rewards = jnp.concatenate([train.weights(goal=1.0)[None], prior.sample(jax.random.key(0), (50,))])
    proxy = ProxyReward(rewards[0], train.mdp, beta=5.0, alternatives=rewards)
    belief = posterior.importance(proxy, prior=prior, num_samples=300, key=jax.random.key(1))
    plan = planning.plan_least_exposure(field.mdp, belief)
    assert planning.explain(field.mdp, belief, plan).exposure == pytest.approx(float(plan.exposure), rel=1e-4)
    assert planning.explain(dry.mdp, belief, plan).exposure == 0
    assert planning.explain(field.mdp, belief, plan, cut=None).exposure is None
    assert planning.explain(field.mdp, with_fields(belief, told={}), plan).exposure is None
    for bad, name in (
        ({"risk": 3}, "risk"),
        ({"offset": np.ones(2)}, "offset"),
        ({"baseline": np.ones(2)}, "baseline"),
    ):
        with pytest.raises(ValueError, match=f"{name} (is|has)"):
            planning.explain(field.mdp, belief, plan, **({"risk": CVaR(0.5)} | bad))
