"""Choosing among options without a table, against linear programs and against plans in MDPs that are small enough."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.optimize

from ird import ProxyReward, planning, posterior
from ird.evidence import Comparison
from ird.risk import CVaR, Entropic, Mean, MeanCVaR, WorstCase
from mdps import MDP

P, N, K = 30, 24, 3
RISKS = [Mean(), WorstCase(), CVaR(0.3), MeanCVaR(0.6, 0.25), Entropic(0.7)]
SOLVED_BY_LP = [WorstCase(), CVaR(0.3), MeanCVaR(0.6, 0.25)]


def problem(seed, risk, shape=(P,)):
    """Options, a belief (of equal weights for the worst case) and an offset."""
    rng = np.random.default_rng(seed)
    prior = np.zeros(N) if isinstance(risk, WorstCase) else rng.normal(size=N)
    belief = posterior.exact(candidates=rng.normal(size=(N, K)), log_prior=prior)
    return rng.normal(size=(*shape, K)), belief, rng.normal(size=N)


def tail_mean(returns, p, alpha):
    """CVaR by sorting."""
    order = np.argsort(returns)
    before = np.concatenate([[0], np.cumsum(p[order])[:-1]])
    return np.clip(alpha - before, 0, p[order]) @ returns[order] / alpha


def attained(risk, returns, p):
    if isinstance(risk, Mean):
        return p @ returns
    if isinstance(risk, WorstCase):
        return returns.min()
    if isinstance(risk, CVaR):
        return tail_mean(returns, p, risk.alpha)
    if isinstance(risk, MeanCVaR):
        return (1 - risk.weight) * p @ returns + risk.weight * tail_mean(returns, p, risk.alpha)
    return -np.log(p @ np.exp(-risk.aversion * returns)) / risk.aversion


def best_by_lp(risk, returns, p):
    """The best mixture: maximise m·x + λ (ν - Σ p s / α), s ≥ ν - R x, s ≥ 0 (Rockafellar and Uryasev), `[N, P]`."""
    n, options = returns.shape
    weight = risk.weight if isinstance(risk, MeanCVaR) else 1.0
    tail = np.full(n, np.inf) if isinstance(risk, WorstCase) else p / risk.alpha
    gain = np.concatenate([(1 - weight) * p @ returns, [weight], -weight * np.where(np.isinf(tail), 0, tail)])
    bounds = [(0, 1)] * options + [(None, None)] + [(0, 0 if np.isinf(t) else None) for t in tail]
    less = np.concatenate([-returns, np.ones((n, 1)), -np.eye(n)], axis=1)
    one = np.concatenate([np.ones(options), np.zeros(n + 1)])[None]
    found = scipy.optimize.linprog(-gain, A_ub=less, b_ub=np.zeros(n), A_eq=one, b_eq=[1.0], bounds=bounds)
    return -found.fun


@pytest.mark.parametrize("risk", RISKS, ids=lambda risk: type(risk).__name__)
def test_the_best_option_is_that_of_numpy(risk, dtype):
    features, belief, offset = problem(0, risk)
    found = planning.choose(features.astype(dtype), belief, risk=risk, offset=offset)
    p = np.exp(np.asarray(belief.log_weights, float))
    returns = features @ np.asarray(belief.weights, float).T - offset
    values = np.array([attained(risk, row, p) for row in returns])
    assert int(found.option) == values.argmax() and found.converged and float(found.shares.sum()) == 1
    slack = 0 if dtype == jnp.float64 else 1e-6  # the belief and the options were rounded on the way in
    assert float(found.objective) - slack <= values.max() <= float(found.bound) + slack
    assert float(found.bound - found.objective) < (1e-13 if dtype == jnp.float64 else 1e-4)
    np.testing.assert_allclose(found.feature_expectations, features[values.argmax()], rtol=1e-6)


@pytest.mark.parametrize("risk", SOLVED_BY_LP, ids=lambda risk: type(risk).__name__)
def test_the_best_mixture_is_that_of_a_linear_program(risk, dtype):
    for seed, tol in ((1, 1e-3), (2, 1e-4)):
        features, belief, offset = problem(seed, risk)
        p = np.exp(np.asarray(belief.log_weights, float))
        optimum = best_by_lp(risk, np.asarray(belief.weights, float) @ features.T - offset[:, None], p)
        found = planning.choose(features.astype(dtype), belief, risk=risk, offset=offset, mixture=True, tol=tol)
        assert found.converged
        assert float(found.objective) - 1e-6 <= optimum <= float(found.bound) + 1e-6
        shares = np.asarray(found.shares, float)
        assert abs(shares.sum() - 1) < 1e-6 and shares.min() >= 0
        again = attained(risk, np.asarray(belief.weights, float) @ (shares @ features) - offset, p)
        assert float(found.objective) <= again + 1e-6 <= float(found.bound) + 2e-6
        alone = planning.choose(features.astype(dtype), belief, risk=risk, offset=offset)
        assert float(alone.objective) <= float(found.bound)


def small_world(rng, features, states=3, actions=2, horizon=3):
    """An MDP, and what each deterministic policy that depends on time collects, `[2^(S(T-1)+S), K]`."""
    transition = rng.dirichlet(np.full(states, 0.4), size=(states, actions))
    initial = rng.dirichlet(np.ones(states))
    found = []
    chains = [
        transition[np.arange(states), list(choice)] for choice in itertools.product(range(actions), repeat=states)
    ]

    def collect(here, steps, total):
        if steps == 0:
            found.append(total)
            return
        for chain in chains if steps > 1 else chains[:1]:  # where the last action leads is paid for no more
            collect(here @ chain, steps - 1, total + here @ features)

    collect(initial, horizon, np.zeros(features.shape[1]))
    names = tuple(f"feature {k}" for k in range(features.shape[1]))
    mdp = MDP.from_dense(transition, features, initial, horizon=horizon, feature_names=names)
    return mdp, np.array(found)


def test_a_mixture_of_all_policies_is_the_plan(x64):
    risk = WorstCase()
    rng = np.random.default_rng(3)
    mdp, collected = small_world(rng, rng.normal(size=(3, K)))
    _, belief, _ = problem(4, risk)
    offset = planning.start_offset(mdp, belief)
    units = jnp.linspace(1.0, 2.0, N)
    plan = planning.plan(mdp, belief, risk=risk, offset=offset, units=units, tol=1e-6)
    found = planning.choose(collected, belief, risk=risk, offset=offset, units=units, mixture=True, tol=1e-6)
    assert plan.converged and found.converged
    assert float(found.objective) <= float(plan.bound) and float(plan.objective) <= float(found.bound)
    np.testing.assert_allclose(found.objective, plan.objective, atol=2e-6)


def belief_about(kinds, untold, seed=0, beta=4.0):
    """A belief of evidence in which one kind of visit never came, and the proxy; one-hot features, ten visits a run."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(kinds - 1), size=40)
    collected = 10 * np.insert(shares, untold, 0.0, axis=1)
    rewards = rng.normal(size=(40, kinds))
    rewards[0] = rng.normal(size=kinds)
    collected[0] = collected[np.argmax(collected @ rewards[0])]
    proxy = ProxyReward.from_features(0, alternatives=rewards, features=collected, visits=10, beta=beta)
    prior = dist.Normal(0.0, 1.0).expand([kinds]).to_event(1)
    return posterior.importance(proxy, prior=prior, num_samples=2000, key=jax.random.key(seed))


def least_by_lp(values, unknown, floor):
    """What the least exposed mixture that is worth the floor is exposed to, and what one visit less costs."""
    one = np.ones((1, len(values)))
    found = scipy.optimize.linprog(unknown, A_ub=-values[None], b_ub=[-floor], A_eq=one, b_eq=[1.0])
    slope = abs(found.ineqlin.marginals[0])
    return found.fun, 1 / slope if slope > 0 else np.inf


def test_the_least_exposed_of_all_policies_is_the_plan_where_exposure_is_linear(x64):
    """One-hot features: what a run collects of each is how often each kind of visit comes."""
    rng = np.random.default_rng(5)
    belief = belief_about(4, untold=3)
    forced = 0
    for _ in range(3):
        mdp, collected = small_world(rng, np.eye(4), states=4, actions=2, horizon=3)
        kinds = np.broadcast_to(np.eye(4), (len(collected), 4, 4))
        for give_up in (0.05, 0.2):
            plan = planning.plan_least_exposure(mdp, belief, give_up=give_up)
            one = planning.choose(kinds, belief, visits=collected, give_up=give_up)
            mixed = planning.choose(kinds, belief, visits=collected, give_up=give_up, mixture=True)
            assert one.converged and mixed.converged and plan.converged
            np.testing.assert_allclose(one.best, plan.best, atol=1e-9)
            u, r = np.asarray(mixed.unknown), np.asarray(mixed.values)
            least, price = least_by_lp(r, u, float(mixed.floor))
            np.testing.assert_allclose(mixed.exposure, least, atol=1e-9)
            # The plan's bound is at the floor that it keeps, like that of one option.  It tries no price above 30 times
            # what is given up, and takes off what its solver may be wrong by (measured: 6e-6).
            free = np.isinf(float(mixed.price))
            bound = least_by_lp(r, u, float(plan.floor))[0]
            assert float(plan.bound) - 1e-8 <= bound <= float(plan.bound) + (1 / 30 if free else 2e-5)
            np.testing.assert_allclose(one.bound, least_by_lp(r, u, float(one.floor))[0], atol=1e-8)
            assert float(mixed.exposure) <= float(one.exposure) + 1e-12
            # At a price at which two plans are worth the same, the plan shares among them: it may be a mixture.
            assert float(mixed.exposure) <= float(plan.exposure) + 1e-9
            kept = r >= float(one.floor) - 1e-12
            assert float(one.exposure) == u[kept].min()
            if not free:
                forced += 1
                assert int((np.asarray(mixed.shares) > 0).sum()) == 2
                np.testing.assert_allclose(mixed.price, price, rtol=1e-6)
                assert float(mixed.price) >= float(plan.price) * (1 - 1e-9)  # the largest it tried that kept the floor
                np.testing.assert_allclose(mixed.known, mixed.floor, atol=1e-12)
            np.testing.assert_allclose(jnp.sum(mixed.by_feature), mixed.exposure, atol=1e-12)
            assert float(mixed.exposure) < 1e-9 or int(jnp.argmax(mixed.by_feature)) == 3
    assert forced > 1


def test_one_visit_each_is_the_plan_in_a_world_of_one_step(x64):
    """Comparisons alone show nothing that is normal: it is then what is met on average, and the stake is from there."""
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(2, 30, 3)) * np.array([1.0, 1.0, 0.0])
    names = ("x", "y", "z")
    seen = Comparison(jnp.asarray(a), jnp.asarray(b), feature_names=names)
    prior = dist.Normal(0.0, 1.0).expand([3]).to_event(1)
    belief = posterior.importance(seen, prior=prior, num_samples=500, key=jax.random.key(0))
    options = rng.normal(size=(5, 3))
    bandit = MDP.from_dense(np.ones((1, 5, 1)), options[None], [1.0], horizon=1, feature_names=names)
    plan = planning.plan_least_exposure(bandit, belief, give_up=0.3)
    found = planning.choose(options, belief, give_up=0.3, feature_names=names)
    np.testing.assert_allclose(found.unknown, planning.unknown(bandit, belief)[0], atol=1e-12)
    np.testing.assert_allclose(found.unknown, planning.unknown(options, belief), atol=1e-12)
    assert int(found.option) == int(jnp.argmax(plan.policy[0, 0]))
    for name in ("known", "floor", "best", "exposure", "by_feature", "untold"):
        np.testing.assert_allclose(getattr(found, name), getattr(plan, name), atol=1e-8, err_msg=name)
    assert float(plan.bound) <= float(found.bound) == float(found.exposure)


def test_alike_visits_are_too_bold_where_unknown_ones_cancel_and_too_timid_where_one_takes_all(x64):
    """What the docstring says of `[P, K]`, by an option of two visits that lie on either side of what is normal."""
    belief = belief_about(4, untold=3)
    plain = np.array([0.4, 0.3, 0.3, 0.0])
    apart = np.stack([plain + np.eye(4)[3], plain - np.eye(4)[3]])
    visits = np.stack([apart, np.stack([plain, plain])])
    each = planning.choose(visits, belief, visits=np.ones(2))
    alike = planning.choose(visits.sum(axis=1), belief, visits=2.0)
    assert float(each.unknown[0]) > 1.5 and float(alike.unknown[0]) < 1e-9
    good = np.eye(4)[int(np.argmax(belief.mean()[:3]))]
    long = np.stack([np.stack([good] * 9 + [np.eye(4)[3]]), np.stack([plain] * 10)])
    each = planning.choose(long, belief, visits=np.ones(10))
    alike = planning.choose(long.sum(axis=1), belief, visits=10.0)
    assert float(each.values[0]) > 0 and float(alike.values[0]) <= 0


def test_nothing_may_be_given_up(x64):
    belief = belief_about(4, untold=3)
    kinds = np.eye(4)
    found = planning.choose(kinds, belief, give_up=0)
    assert int(found.option) == int(jnp.argmax(found.values)) and float(found.price) == 0
    same = planning.choose(np.concatenate([kinds, kinds]), belief, give_up=0.0, mixture=True)
    np.testing.assert_allclose(same.exposure, found.exposure, atol=1e-6)
    np.testing.assert_allclose(same.known, found.known, rtol=1e-6)
    assert found.converged and same.converged


def test_batches_of_options_are_those_alone_and_one_option_of_one_feature_is_enough():
    risk = CVaR(0.3)
    features, belief, offset = problem(7, risk, shape=(3, 8))
    told = belief_about(K, untold=2)

    def both(features, belief, told):
        risky = planning.choose(features, belief, risk=risk, offset=offset, mixture=True)
        return risky, planning.choose(features, told, visits=2.0, mixture=True)

    batch = jax.jit(jax.vmap(both, (0, None, None)))(jnp.asarray(features, jnp.float32), belief, told)
    p = np.exp(np.asarray(belief.log_weights, float))
    for i in range(3):
        risky, careful = (jax.tree.map(lambda x, i=i: np.asarray(x[i], float), each) for each in batch)
        optimum = best_by_lp(risk, np.asarray(belief.weights, float) @ features[i].T - offset[:, None], p)
        assert risky.converged and risky.objective - 1e-6 <= optimum <= risky.bound + 1e-6
        floor = careful.floor - 1e-6 * abs(careful.best)
        least = least_by_lp(careful.values, careful.unknown, floor)[0]
        np.testing.assert_allclose(careful.exposure, least, rtol=1e-4, atol=1e-5)
        assert careful.exposure >= least - 1e-6
    one = posterior.exact(candidates=np.array([[1.0], [2.0]], np.float32))
    found = planning.choose(np.ones((1, 1), np.float32), one, risk=Mean(), offset=planning.no_offset(one))
    assert int(found.option) == 0 and found.converged
    np.testing.assert_allclose(found.objective, 1.5, rtol=1e-5)


def test_many_options_pass_in_blocks(x64):
    features, belief, offset = problem(8, CVaR(0.3), shape=(60_000,))
    returns = np.asarray(belief.weights) @ features.T - offset[:, None]
    p = np.exp(np.asarray(belief.log_weights))
    found = planning.choose(features, belief, risk=Mean(), offset=offset)
    assert int(found.option) == (p @ returns).argmax()
    np.testing.assert_allclose(found.objective, (p @ returns).max(), rtol=1e-12)
    mixed = planning.choose(features, belief, risk=CVaR(0.3), offset=offset, mixture=True)
    again = attained(CVaR(0.3), np.asarray(belief.weights) @ (np.asarray(mixed.shares) @ features) - offset, p)
    assert mixed.converged and float(mixed.objective) <= again + 1e-9 <= float(mixed.bound) + 2e-9


def test_a_choice_says_what_it_is():
    belief = belief_about(4, untold=3)
    options = np.array([[0.6, 0.2, 0.2, 0.0], [0.0, 0.0, 0.0, 1.0], [0.1, 0.1, 0.8, 0.0]], np.float32)
    names = tuple(f"feature {k}" for k in range(4))
    text = str(planning.choose(options, belief))
    assert text.startswith("option  ") and "worth by what is known" in text and "price of caution" in text
    assert "it meets nothing that the evidence did not speak of" in text
    crossing = str(planning.choose(options[1:2], belief))
    assert "it rests on: feature 3 " in crossing and crossing.count("ask about these") == 1
    risky = planning.choose(options, belief, risk=CVaR(0.1), offset=planning.features_offset(belief, options[0]))
    about = str(risky)
    assert "nothing offered attains over" in about and "in the tail" in about and all(name in about for name in names)
    assert "\n" not in repr(risky)
    told = []
    jax.eval_shape(lambda x: told.append(str(planning.choose(x, belief))), options)
    assert "of a batch, or traced" in told[0]


BELIEF = {"candidates": np.random.default_rng(9).normal(size=(5, 2))}
RISKY = {"risk": Mean(), "offset": np.zeros(5)}


@pytest.mark.parametrize(
    ("features", "change", "message"),
    [
        (np.ones((0, 2)), RISKY, "at least one option"),
        (np.ones(2), RISKY, "features has shape"),
        (np.ones((3, 3)), RISKY, "one column per feature"),
        (np.full((3, 2), np.nan), RISKY, "features"),
        (np.ones((3, 2)), {"risk": Mean()}, "offset is None"),
        (np.ones((3, 2)), {"risk": Mean(), "offset": np.zeros(4)}, "one number per sample"),
        (np.ones((3, 2)), {"offset": np.zeros(5)}, "risk is None"),
        (np.ones((3, 2)), {"risk": Mean, "offset": np.zeros(5)}, "give a measure"),
        (np.ones((3, 2)), RISKY | {"units": np.zeros(5)}, "units"),
        (np.ones((3, 2)), RISKY | {"tol": 0.0}, "tol"),
        (np.ones((3, 2)), RISKY | {"mixture": 1}, "mixture is"),
        (np.ones((3, 2)), RISKY | {"visits": -1.0}, "how many"),
        (np.ones((3, 4, 2)), RISKY | {"visits": np.ones(3)}, "how often each comes"),
        (np.ones((3, 4, 2)), RISKY | {"visits": -np.ones(4)}, "a negative number"),
        (np.ones((3, 4, 2)), RISKY | {"visits": np.zeros((3, 4))}, "an option without any"),
        (np.ones((3, 2)), RISKY | {"feature_names": ("a", "b")}, "feature_names is"),
        (np.ones((3, 2)), {"give_up": 1.5}, "give_up"),
        (np.ones((3, 2)), {"cut": -0.1}, "cut"),
        (np.ones((3, 2)), {"value": np.ones(3)}, "value has shape"),
    ],
)
def test_bad_input_is_refused(features, change, message):
    seen = Comparison(jnp.asarray([[1.0, 0.0]]), jnp.asarray([[0.0, 1.0]]), feature_names=("x", "y"))
    belief = posterior.exact(seen, **BELIEF)
    with pytest.raises(ValueError, match=message):
        planning.choose(features, belief, **change)


def test_evidence_beside_a_risk_measure_and_beliefs_that_keep_nothing_are_refused():
    seen = Comparison(jnp.asarray([[1.0, 0.0]]), jnp.asarray([[0.0, 1.0]]), feature_names=("x", "y"))
    belief = posterior.exact(**BELIEF)
    with pytest.raises(ValueError, match="evidence is for the least exposed"):
        planning.choose(np.ones((3, 2)), belief, seen, **RISKY)
    with pytest.raises(ValueError, match="which has no prior_mean"):
        held = type("Held", (), {"weights": belief.weights, "log_weights": belief.log_weights, "feature_names": ()})
        planning.choose(np.ones((3, 2)), held())
