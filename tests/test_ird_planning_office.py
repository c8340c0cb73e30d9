"""The office: what the recommended planner does, as it is, for designers of any β, and what it says it cannot know."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import mdps
from ird import ProxyReward, planning, posterior, queries
from mdps import solve, worlds

BETAS = (0.2, 1.0, 5.0, 25.0)


@pytest.fixture(scope="module")
def office(unannotated_throughout):
    """The field, the proxy, beliefs by β and their plans."""
    train, field = worlds.office()
    prior = dist.Uniform(-1, 1).expand([5]).to_event(1)
    written = train.weights(carpet=-0.05, tile=-0.1, cable=-0.6, charger=1.0)
    rewards = jnp.concatenate([written[None], prior.sample(jax.random.key(0), (300,))])
    proxy = ProxyReward(written, train.mdp, beta=1.0, alternatives=rewards)

    def belief_of(*evidence):
        return posterior.importance(*evidence, prior=prior, num_samples=20_000, key=jax.random.key(1))

    beliefs = {beta: belief_of(proxy.replace(beta=beta)) for beta in BETAS}
    plans = {beta: planning.plan_least_exposure(field.mdp, belief) for beta, belief in beliefs.items()}
    return field, proxy, beliefs, plans, belief_of


def worth(field, policy, glass):
    """What a policy brings, and the best, where the office is as written and glass is worth this."""
    weights = field.weights(carpet=-0.05, tile=-0.1, cable=-0.6, charger=1.0, glass=glass)
    best = solve(field.mdp, field.mdp.reward(weights)).value @ field.mdp.initial
    return float(mdps.feature_expectations(field.mdp, policy) @ weights), float(best)


@pytest.mark.parametrize("beta", BETAS[1:])
def test_where_glass_harms_the_plan_is_worth_nine_tenths_of_the_best(office, beta):
    field, _, _, plans, _ = office
    own, best = worth(field, plans[beta].policy, -1.0)
    glass = float(mdps.feature_expectations(field.mdp, plans[beta].policy)[3])
    assert own >= 0.9 * best and glass < 0.01 and plans[beta].converged


def test_of_a_careless_designer_it_says_how_little_was_told(office):
    field, _, beliefs, plans, _ = office
    untold = [float(plans[beta].untold) for beta in BETAS]
    assert untold == sorted(untold, reverse=True) and untold[0] > 0.5 > untold[1]
    assert f"could not tell {untold[0]:.0%}: what is known is little better than a guess" in str(plans[0.2])
    assert "could not tell" not in str(plans[5.0])
    unknown = np.asarray(planning.unknown(field.mdp, beliefs[0.2]))
    assert (unknown[np.asarray(field.where("glass"))] > 0.5).all()


def test_no_visit_of_the_plan_that_was_written_is_unknown_in_training(office):
    _, proxy, beliefs, _, _ = office
    terrain = np.asarray(proxy.mdp.features).argmax(axis=1)
    visited = np.asarray(proxy.feature_expectations)[terrain] > 0.01
    for belief in beliefs.values():
        assert np.asarray(planning.unknown(proxy.mdp, belief))[visited].max() == 0


def test_where_glass_is_harmless_the_loss_is_the_printed_price_and_one_answer_ends_it(office):
    field, proxy, beliefs, plans, belief_of = office
    for beta in (5.0, 25.0):
        own, best = worth(field, plans[beta].policy, -0.05)
        charger = planning._unknown.known_of(field.mdp, beliefs[beta]).weights[4]  # 1 in truth: the unit of the return
        price = float(plans[beta].best - plans[beta].known)
        assert f"given up {price:.2g}" in str(plans[beta])
        assert best - own > 0.1 * best
        assert best - own == pytest.approx(price / float(charger), rel=0.1)
    # What was written, with glass to be kept off, to be ignored, or to be sought.
    told = [field.mdp.reward(proxy.weights + field.weights(glass=x)) for x in (-1.0, 0.0, 1.0)]
    ways = jnp.stack([mdps.feature_expectations(field.mdp, solve(field.mdp, reward).policy) for reward in told])
    query = queries.Pool.from_features(ways, beta=5.0, feature_names=field.mdp.feature_names).query([0, 1, 2])
    for glass in (-0.05, -1.0):
        true = field.weights(carpet=-0.05, tile=-0.1, cable=-0.6, charger=1.0, glass=glass)
        picked = int(jnp.argmax(query.log_probabilities(true[None])[0]))
        asked = belief_of(proxy.replace(beta=5.0), query.answer(picked))
        own, best = worth(field, planning.plan_least_exposure(field.mdp, asked).policy, glass)
        assert own >= 0.9 * best
