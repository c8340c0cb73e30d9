"""Five plans for each case: literal, for the mean, of least exposure, of least regret, and for what was meant."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import mdps
from examples.safety.cases import Case
from ird import ProxyReward, alignment, planning, posterior, risk
from mdps import MDP

PLANS = ("literal", "posterior mean", "least exposure", "least regret", "oracle")
FEATURES = 4  # of the world that has most; others are given features that never occur
ALPHA = 0.1  # the worst tenth of regrets


class Settings(NamedTuple):
    """What all cases share.

    Attributes:
        samples: draws of the belief whose regret is limited.
        alternatives: rewards that could have been written.
        beta: how careful the designer is, in 1/return.
        seed: of all chance.
    """

    samples: int
    alternatives: int
    beta: float
    seed: int


def widths(case: Case) -> np.ndarray:
    """Half-widths of the prior, `[K]`: a step is worth as much as is written of one, all else as the largest number."""
    names, written = case.field.mdp.feature_names, np.abs(np.asarray(case.field.written))
    largest = written.max() or 50.0  # where nothing is written, what the other conveyors write
    step = written[names.index("step")] if "step" in names else largest
    return np.array([step if name.startswith("step") else largest for name in names])


def alike(each: Sequence[MDP]) -> list[MDP]:
    """MDPs of one size and with four features, so that all are planned in by the same programs."""
    names = tuple(f"feature {k}" for k in range(FEATURES))

    def padded(x):
        return jnp.pad(x, [(0, 0), (0, 0), (0, FEATURES - x.shape[-1])])

    whole = mdps.stack([mdp.replace(features=padded(mdp.features), feature_names=names) for mdp in each])
    return [jax.tree.map(lambda x, i=i: x[i], whole) for i in range(len(each))]


def groups(cases: dict[str, Case]) -> list[dict[str, tuple[MDP, MDP]]]:
    """Field and training MDP of each case; those of one group are of one size."""
    found: dict[Any, list[str]] = {}
    for name, case in cases.items():
        mdp = case.field.mdp
        found.setdefault((mdp.horizon, mdp.num_states > 100, mdp.next_state.shape[1] > 4), []).append(name)
    made = []
    for names in found.values():
        tables = alike([each.mdp for name in names for each in (cases[name].field, cases[name].training)])
        made.append({name: (tables[2 * i], tables[2 * i + 1]) for i, name in enumerate(names)})
    return made


def planned(case: Case, field: MDP, training: MDP, settings: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    """Policies by plan, and what they bring: a row of the table."""
    K, S = case.field.mdp.num_features, case.field.mdp.num_states
    written, hidden = (jnp.pad(w, (0, FEATURES - K)) for w in (case.field.written, case.field.hidden))
    half = jnp.asarray(np.append(widths(case), np.ones(FEATURES - K)), written.dtype)
    prior = dist.Uniform(-half, half).to_event(1)
    for_rewards, for_belief, for_draws = jax.random.split(jax.random.key(settings.seed), 3)
    rewards = jnp.concatenate([written[None], prior.sample(for_rewards, (settings.alternatives,))])
    proxy = ProxyReward(written, training, beta=settings.beta, alternatives=rewards)
    belief = posterior.importance(proxy, prior=prior, num_samples=20 * settings.samples, key=for_belief)
    careful = planning.plan_least_exposure(field, belief)
    # What is written in a hundred steps tells much: a few draws in a thousand keep their weight.
    drawn = belief.resample(settings.samples, key=for_draws)
    offset = planning.regret_offset(field, drawn)
    regret = planning.plan(field, drawn, risk=risk.CVaR(ALPHA), offset=offset, tol=1e-2)
    policies = {
        name: mdps.solve(field, field.reward(weights)).policy
        for name, weights in (("literal", written), ("posterior mean", belief.mean()), ("oracle", hidden))
    } | {"least exposure": careful.policy, "least regret": regret.policy}
    span = alignment.performance(field, written, hidden)
    row: dict[str, Any] = {}
    for name in PLANS:
        counts = mdps.feature_expectations(field, policies[name])
        row[name] = {"written": float(counts @ written), "hidden": float(counts @ hidden)}
    row["literal"] |= {"lowest": float(span.lowest), "highest": float(span.highest)}
    row |= {
        "best": float(span.best),
        "exposure": float(careful.exposure),
        "rests on": {
            name: float(x)
            for name, x in zip(case.field.mdp.feature_names, careful.by_feature, strict=False)
            if x > 0.01
        },
        "effective samples": float(belief.effective_sample_size),
        "gap": float(regret.bound - regret.objective),
    }
    return {name: np.asarray(policy)[..., :S, :] for name, policy in policies.items()}, row
