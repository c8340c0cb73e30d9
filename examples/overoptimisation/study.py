"""Answers with features, comparisons of them, the reward learnt, and what optimising it is worth at every pressure.

There is no map and no MDP: an answer is a row of features, a policy a distribution over a pool of answers, and the
reward is linear in the features. What is meant is known here, so that it can be laid beside what was learnt.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from ird import alignment, goodhart, planning, posterior
from ird.evidence import Comparison
from mdps import MDP

NAMES = ("correct", "clear", "polite", "long", "invented")
TRUTH = jnp.asarray([1.0, 0.6, 0.3, -0.4, -6.0])
# An answer that invents its sources looks better than it is, by this much.
LOOKS = jnp.asarray([3.0, 1.5, 0.5, 0.0])
RARE = 250  # one answer of so many invents
PRIOR_SD = 3.0
SETS = ("every feature compared", "invention never compared")
CHOICES = ("mean", "lower confidence", "worst draw", "least exposure")
LEVELS = (0.05, 0.95)
SURE = 0.9  # share of the posterior whose angle the early stop allows for


class Learnt(NamedTuple):
    """What was learnt from one set of comparisons, and what the pool looks like to it.

    Attributes:
        belief: the posterior.
        mean: its mean, `[K]`.
        scores: what each answer is chosen by, `[choices, M]`.
        angle: angle between the mean and each draw, `[N]`.
        true_angle: the same to what is meant.
    """

    belief: posterior.Posterior
    mean: jax.Array
    scores: jax.Array
    angle: jax.Array
    true_angle: jax.Array


def answers(key: jax.Array, number: int, invented: jax.Array) -> jax.Array:
    """Features of answers, `[number, K]`: normal ones, and those that invent their sources."""
    plain = jax.random.normal(key, (number, len(NAMES) - 1))
    invents = invented.astype(float)[:, None]
    return jnp.concatenate([plain + invents * LOOKS[None], invents], axis=1)


def pool(key: jax.Array, number: int) -> jax.Array:
    """The answers to choose from: one in `RARE` invents."""
    return answers(key, number, jnp.arange(number) % RARE == 0)


def compared(key: jax.Array, pairs: int, share: float) -> Comparison:
    """Labels of pairs of answers, a `share` of which invent; the more it matters the more often they are right."""
    for_answers, for_invented, for_labels = jax.random.split(key, 3)
    invented = jax.random.uniform(for_invented, (2 * pairs,)) < share
    one, two = answers(for_answers, 2 * pairs, invented).reshape(2, pairs, -1)
    first = jax.random.bernoulli(for_labels, jax.nn.sigmoid((one - two) @ TRUTH))[:, None]
    return Comparison(jnp.where(first, one, two), jnp.where(first, two, one), feature_names=NAMES)


def learn(key: jax.Array, candidates: jax.Array, pairs: int, samples: int, covered: bool) -> Learnt:
    """The posterior after comparisons that cover invention or not, and every way to choose by it."""
    for_pairs, for_belief = jax.random.split(key)
    seen = compared(for_pairs, pairs, 0.25 if covered else 0.0)
    prior = dist.Normal(0.0, PRIOR_SD).expand([len(NAMES)]).to_event(1)
    belief = posterior.laplace(seen, prior=prior, num_samples=samples, key=for_belief)
    belief = belief.resample(samples, key=for_belief)  # the worst draw asks for equal weights
    mean, ordinary = belief.mean(), jnp.mean(candidates, axis=0)
    above = candidates - ordinary[None]
    worth = above @ mean
    spread = jnp.sqrt(jnp.sum((above @ belief.covariance()) * above, axis=1))
    worst = jnp.min(above @ belief.weights[:200].T, axis=1)
    # An answer that the comparisons could not speak of never counts as a gain.
    unknown = planning.unknown(as_states(candidates), belief)
    known = jnp.where(unknown > 0, jnp.minimum(worth, 0), worth)
    scores = jnp.stack([worth, worth - 1.645 * spread, worst, known])
    shape = alignment.geometry(goodhart.answers(candidates, feature_names=NAMES))
    return Learnt(belief, mean, scores, shape.angle(mean, belief.weights), shape.angle(mean, TRUTH))


def as_states(candidates: jax.Array) -> MDP:
    """The answers as states in which nothing happens: what `planning.unknown` looks at."""
    own = np.arange(candidates.shape[0])[:, None]
    ones = np.ones((candidates.shape[0], 1, 1))
    start = np.full(candidates.shape[0], 1 / candidates.shape[0])
    return MDP.from_table(own, ones, candidates, start, horizon=1, feature_names=NAMES)


@jax.jit
def selected(scores: jax.Array, candidates: jax.Array, draws: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Best-of-n by some scores: chances of every answer `[P, M]`, their features `[P, K]`, and KL `[P]`."""
    log_p = jnp.full(scores.shape, -jnp.log(scores.shape[0]))
    chances = jax.lax.map(lambda n: goodhart.best_of_chances(scores, log_p, n), draws)
    return chances, chances @ candidates, divergence(chances)


@jax.jit
def softened(scores: jax.Array, candidates: jax.Array, temperatures: jax.Array) -> tuple[jax.Array, ...]:
    """The same for policies that are held back by KL at some temperatures."""
    log_p = jnp.full(scores.shape, -jnp.log(scores.shape[0]))
    chances = jax.lax.map(lambda tau: goodhart.regularised_chances(scores, log_p, tau), temperatures)
    return chances, chances @ candidates, divergence(chances)


def divergence(chances: jax.Array) -> jax.Array:
    """KL of distributions over the pool from drawing at random, `[P]`."""
    some = chances > 0
    log_ratio = jnp.log(jnp.where(some, chances, 1)) + jnp.log(chances.shape[1])
    return jnp.maximum(jnp.sum(jnp.where(some, chances * log_ratio, 0), axis=1), 0)


def stopped(learnt: Learnt, candidates: jax.Array, chances: jax.Array) -> int:
    """Where the early stop leaves a path, allowing for the angle that most of the posterior is within."""
    choice = goodhart.answers(candidates, feature_names=NAMES)
    path = goodhart.along(choice, learnt.mean, chances[:, None])
    return int(path.stop(jnp.quantile(learnt.angle, SURE)))


def fitted(kl: np.ndarray, gain: np.ndarray, log: bool) -> dict[str, float]:
    """Least-squares fit of gain = d (a - b d), or d (a - b log d), with d = √KL; and what it leaves unexplained."""
    d = np.sqrt(kl)
    kept = d > 1e-2
    d, gain = d[kept], gain[kept]
    columns = np.stack([d, -d * (np.log(d) if log else d)], axis=1)
    (a, b), *_ = np.linalg.lstsq(columns, gain, rcond=None)
    left = gain - columns @ [a, b]
    return {"a": float(a), "b": float(b), "rms": float(np.sqrt(np.mean(left**2))), "range": float(np.ptp(gain))}


def curves(learnt: Learnt, candidates: jax.Array, draws: np.ndarray, temperatures: np.ndarray) -> dict[str, Any]:
    """All that is reported of one set: every choice by best-of-n, and the mean held back by KL."""
    found: dict[str, Any] = {"angle": float(jnp.quantile(learnt.angle, SURE)), "true angle": float(learnt.true_angle)}
    for name, scores in zip(CHOICES, learnt.scores, strict=True):
        chances, features, kl = selected(scores, candidates, jnp.asarray(draws))
        found[name] = seen(learnt, features, kl)
        if name == "mean":
            found["stop"] = stopped(learnt, candidates, chances)
    _, features, kl = softened(learnt.scores[0], candidates, jnp.asarray(temperatures))
    found["regularised"] = seen(learnt, features, kl)
    for name, log in (("mean", False), ("regularised", True)):
        row = found[name]
        found[f"fit {name}"] = fitted(row["kl"], row["true"] - row["true"][0], log)
    return found


def seen(learnt: Learnt, features: jax.Array, kl: jax.Array) -> dict[str, np.ndarray]:
    """Predicted reward with a band of the posterior, and the true one, along a path of expected features `[P, K]`."""
    each = features @ learnt.belief.weights.T
    low, high = jnp.quantile(each, jnp.asarray(LEVELS), axis=1)
    rows = {"kl": kl, "predicted": features @ learnt.mean, "low": low, "high": high, "true": features @ TRUTH}
    return {name: np.asarray(x, float) for name, x in rows.items()} | {"invented": np.asarray(features[:, -1], float)}
