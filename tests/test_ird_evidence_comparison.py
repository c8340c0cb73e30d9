"""Comparisons by somebody who likes to be agreed with: the preferred answer flips iff κ > β w·Δφ."""

import jax.numpy as jnp
import numpy as np
import pytest

from ird import posterior
from ird.evidence import Comparison


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_the_answer_that_labels_prefer_flips_where_the_bias_exceeds_what_is_at_stake(beta, x64):
    """Two answers: one is better by w·Δφ > 0, the other agrees with the labeller."""
    rng, flips = np.random.default_rng(0), 0
    for _ in range(40):
        better, agreeable = rng.normal(size=(2, 3))
        weights = rng.normal(size=3)
        if weights @ (better - agreeable) < 0:
            better, agreeable = agreeable, better
        stake = beta * weights @ (better - agreeable)
        kappa = rng.uniform(0, 2) * stake
        label = Comparison(agreeable[None], better[None], beta=beta, agrees=[1.0], kappa=float(kappa))
        chance = float(jnp.exp(label.log_likelihood(jnp.asarray(weights)[None]))[0])
        assert (chance > 0.5) == (kappa > stake)  # what is trained on most labels gives the agreeable answer
        flips += kappa > stake
    assert 8 < flips < 32


@pytest.mark.parametrize("kappa, flipped", [(0.9, False), (1.1, True)])
def test_a_reward_learnt_without_the_bias_flips_with_it(kappa, flipped, x64):
    """Many labels of one pair, fitted as if nobody liked to be agreed with: the learnt stake is w·Δφ - κ/β."""
    beta, stake = 2.0, 0.5  # β w·Δφ = 1
    agreed = 1 / (1 + np.exp(-(kappa - beta * stake)))
    count = 2_000
    for_agreeable = round(agreed * count)
    stakes = np.linspace(-1, 1, 801)
    # Feature: how much better the answer is. `agreeable` is preferred in so many of the labels.
    better, other = np.zeros((count, 1)), np.ones((count, 1))
    preferred = np.where(np.arange(count)[:, None] < for_agreeable, better, other)
    labels = Comparison(preferred, 1 - preferred, beta=beta)
    belief = posterior.exact(labels, candidates=jnp.asarray(stakes)[:, None])
    learnt = float(belief.mean()[0])
    assert learnt == pytest.approx(stake - kappa / beta, abs=0.01)
    assert (learnt < 0) == flipped
