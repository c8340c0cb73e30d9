"""What a careful plan says that it attains is what its policy attains."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import mdps
from ird import planning, posterior, risk


@pytest.mark.parametrize("measure", [risk.CVaR(0.4), risk.Entropic(0.5), risk.WorstCase()])
def test_the_objective_is_that_of_the_policy_to_the_last_digits(measure):
    with jax.enable_x64(True):
        for seed in range(4):
            rng = np.random.default_rng(seed)
            S, A, K, N = 8, 3, 3, 12
            P, features, initial = rng.dirichlet(np.ones(S), (S, A)), rng.normal(size=(S, K)), rng.dirichlet(np.ones(S))
            mdp = mdps.MDP.from_dense(P, features, initial, discount=0.9)
            belief = posterior.exact(candidates=jnp.asarray(rng.normal(size=(N, K))))
            offset = planning.no_offset(belief)
            plan = planning.plan(mdp, belief, risk=measure, offset=offset, tol=1e-2)
            visits = oracles.occupancy(P, np.asarray(plan.policy), initial, 0.9)
            returns = np.asarray(belief.weights) @ (visits.sum(axis=1) @ features)
            attained = float(measure.value(jnp.asarray(returns), belief.log_weights))
            size = 10 * np.abs(features).max() * np.abs(np.asarray(belief.weights)).sum(axis=1).max()
            assert 0 <= attained - float(plan.objective) <= 1e-9 * size
