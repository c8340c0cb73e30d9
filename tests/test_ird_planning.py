"""Careful plans against linear programs over occupancies, and the certificates they come with."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from scipy.optimize import linprog

import mdps
from ird import planning, posterior
from ird.evidence import ProxyReward
from ird.planning import _per_trajectory
from ird.planning._matrix_game import equilibrium
from ird.risk import CVaR, Entropic, Mean, MeanCVaR, WorstCase
from mdps import MDP

S, A, K, N, D = 6, 3, 4, 30, 3
ENDLESS, FINITE = {"discount": 0.8}, {"horizon": 5}


def model(seed=0, per_action=False, **kwargs):
    """A random MDP whose states share their successors among actions, so that a few slots will do."""
    rng = np.random.default_rng(seed)
    P = np.zeros((S, A, S))
    for s in range(S):
        P[s][:, rng.choice(S, D, replace=False)] = rng.dirichlet(np.ones(D), size=A)
    features = rng.normal(size=(S, A, K) if per_action else (S, K))
    return MDP.from_dense(P, features, rng.dirichlet(np.ones(S)), **kwargs)


def belief(seed=0, weighted=True, n=N):
    """Samples with a few impossible ones among them, or equally weighted draws."""
    rng = np.random.default_rng(100 + seed)
    weights, p = rng.normal(size=(n, K)), np.full(n, 1 / n)
    if weighted:
        p = rng.dirichlet(np.ones(n)) * (np.arange(n) % 7 > 0)
    with np.errstate(divide="ignore"):
        return posterior.exact(candidates=jnp.asarray(weights), log_prior=jnp.asarray(np.log(p)))


def probabilities(samples):
    return np.exp(np.asarray(samples.log_weights, float))


def occupancies(mdp):
    """The polytope {x ≥ 0, Ax = b} of occupancies [S·A] or [T·S·A], and the map F from it to features [K, ·]."""
    P, features, gamma = np.asarray(mdp.to_dense(), float), np.asarray(mdp.features, float), float(mdp.discount)
    states, actions = P.shape[:2]
    F = features.reshape(-1, features.shape[-1]) if features.ndim == 3 else np.repeat(features, actions, axis=0)
    leave, arrive = np.kron(np.eye(states), np.ones((1, actions))), P.reshape(states * actions, states).T
    start, T = np.asarray(mdp.initial, float), mdp.horizon
    if T is None:
        return leave - gamma * arrive, start, F.T
    flow = np.kron(np.eye(T), leave) - np.kron(np.eye(T, k=-1), arrive)
    return flow, np.concatenate([start, np.zeros((T - 1) * states)]), np.hstack([gamma**t * F.T for t in range(T)])


def entropic_optimum(mdp, samples, eta, offset):
    """The optimal entropic return by a convex solver, and a bound of it, in float64 whatever the planner had."""
    W, p, c = np.asarray(samples.weights, float), probabilities(samples), np.asarray(offset, float)
    p = p / p.sum()
    P, features, start = (np.asarray(x, float) for x in (mdp.to_dense(), mdp.features, mdp.initial))
    P, start = P / P.sum(axis=2, keepdims=True), start / start.sum()
    features = features if features.ndim == 3 else np.repeat(features[:, None], P.shape[1], axis=1)
    value = lambda phi: oracles.entropic(W @ phi - c, p, eta, W)  # noqa: E731
    return oracles.best_mixture(P, features, start, float(mdp.discount), mdp.horizon, value)


def optimum_by_lp(mdp, samples, risk, offset):
    """The optimal risk-adjusted return by HiGHS, with an epigraph for the tail; the entropic one by a convex solver."""
    W, p, c = np.asarray(samples.weights, float), probabilities(samples), np.asarray(offset, float)
    if isinstance(risk, Entropic):
        return entropic_optimum(mdp, samples, risk.aversion, offset)[0]
    flow, start, F = occupancies(mdp)
    n = F.shape[1]
    share, alpha = {
        Mean: lambda: (0.0, 1.0),
        WorstCase: lambda: (1.0, 0.5 / len(p)),
        CVaR: lambda: (1.0, risk.alpha),
        MeanCVaR: lambda: (risk.weight, risk.alpha),
    }[type(risk)]()
    m = len(p)
    # Maximise (1 - share) p·(W F x - c) + share (ν - p·u/α) with u ≥ ν - (W F x - c), u ≥ 0.
    found = linprog(
        -np.concatenate([(1 - share) * p @ W @ F, [share], -share / alpha * p]),
        A_ub=np.hstack([-W @ F, np.ones((m, 1)), -np.eye(m)]),
        b_ub=-c,
        A_eq=np.hstack([flow, np.zeros((len(flow), m + 1))]),
        b_eq=start,
        bounds=[(0, None)] * n + [(None, None)] + [(0, None)] * m,
    )
    return -found.fun - (1 - share) * p @ c


def offsets(mdp, samples, seed):
    uniform = jnp.full((S, A), 1 / A)
    return {
        "none": planning.no_offset(samples),
        "start": planning.start_offset(mdp, samples),
        "regret": planning.regret_offset(mdp, samples, tol=1e-10),
        "policy": planning.policy_offset(mdp, samples, uniform),
        "any": jnp.asarray(np.random.default_rng(seed).normal(size=N) * 5),
    }


@pytest.mark.parametrize(
    ("kind", "per_action", "risks"),
    [
        # One class each: their parameters are traced, so that one program serves them all.
        (ENDLESS, True, [MeanCVaR(0.6, 0.3), MeanCVaR(1.0, 0.1), MeanCVaR(0.0, 1.0)]),
        (FINITE, True, [CVaR(0.15), CVaR(0.6)]),
        (FINITE, False, [Mean()]),
        (FINITE, False, [WorstCase()]),
        (FINITE, True, [Entropic(0.8), Entropic(0.05)]),
    ],
    ids=["endless-MeanCVaR", "CVaR", "Mean", "WorstCase", "Entropic"],
)
def test_optimum_is_that_of_the_linear_program(kind, per_action, risks, x64):
    """For every offset and two beliefs, at the default tolerance and at 1e-6, and the policy attains it."""
    before = _per_trajectory._plan._cache_size()
    for seed, risk in enumerate(risks * (2 if len(risks) == 1 else 1)):
        mdp, samples = model(seed, per_action, **kind), belief(seed, weighted=not isinstance(risk, WorstCase))
        for name, offset in offsets(mdp, samples, seed).items():
            exact = optimum_by_lp(mdp, samples, risk, offset)
            for tol in (1e-3, 1e-6):
                careful = planning.plan(mdp, samples, risk=risk, offset=offset, tol=tol)
                objective, bound = float(careful.objective), float(careful.bound)
                allowed = tol * max(1, abs(objective))
                assert bool(careful.converged) and bound - objective <= allowed, (name, tol, objective, bound, exact)
                assert objective - 5e-7 <= exact <= bound + 5e-7, (name, tol, objective, bound, exact)
            # The policy returned attains it, evaluated by someone else.
            phi = mdps.feature_expectations(mdp, careful.policy)
            np.testing.assert_allclose(phi, careful.feature_expectations, atol=1e-9)
            attained = float(risk.value(samples.weights @ phi - offset, samples.log_weights))
            assert attained == pytest.approx(objective, abs=1e-8)
    assert _per_trajectory._plan._cache_size() - before <= 1


@pytest.mark.parametrize("eta", [0.1, 1.0, 5.0])
def test_policies_that_the_best_mixture_needs_are_never_lost(eta, x64):
    """Twice as many answers as there are places, for smooth objectives whose optimum mixes K of them."""
    for seed in range(20, 27):
        mdp, samples = model(seed, True, **FINITE), belief(seed)
        offset = jnp.asarray(np.random.default_rng(seed).normal(size=N) * (seed % 2) * 5)
        careful = planning.plan(mdp, samples, risk=Entropic(eta), offset=offset, tol=1e-6)
        least, most = entropic_optimum(mdp, samples, eta, offset)
        assert bool(careful.converged), (seed, careful.steps, careful.objective, careful.bound, least)
        assert float(careful.objective) <= most + 1e-12 and float(careful.bound) >= least - 1e-12
        assert float(careful.bound) - float(careful.objective) <= 1e-6 * max(1, abs(float(careful.objective)))


def test_tiny_aversions_keep_their_bounds(dtype):
    """As η goes to 0 the plan is the mean's, and what rounds is divided by η nowhere."""
    mdp, samples = model(3, True, **FINITE), belief(3)
    offset = planning.no_offset(samples)
    for eta in (1e-7, 1e-6, 3e-4, 1e-4, 1e-2, 1e-20):
        careful = planning.plan(mdp, samples, risk=Entropic(eta), offset=offset)
        least, most = entropic_optimum(mdp, samples, float(dtype.type(eta)), offset)
        assert bool(careful.converged), (eta, careful.objective, careful.bound, least)
        assert float(careful.objective) <= most + 1e-9 and float(careful.bound) >= least - 1e-9, eta
        assert float(careful.bound) - float(careful.objective) <= 1e-3 * max(1, abs(float(careful.objective)))


def test_tiny_aversions_keep_their_bounds_per_step(dtype):
    mdp, samples = model(3, True, **FINITE), belief(3)
    P, features, start = (np.asarray(x, float) for x in (mdp.to_dense(), mdp.features, mdp.initial))
    W, p, baseline = np.asarray(samples.weights, float), probabilities(samples), planning.start_features(mdp)
    for eta in (1e-7, 1e-4, 3e-4, 0.3):
        careful = planning.plan_per_step(mdp, samples, risk=Entropic(eta), baseline=baseline)
        reward = np.apply_along_axis(
            lambda f, eta=eta: oracles.entropic(W @ (f - np.asarray(baseline, float)), p / p.sum(), eta, W)[0],
            -1,
            features,
        )
        best = start @ oracles.backward_induction(P, reward, 1.0, FINITE["horizon"])[0][0]
        assert float(careful.objective) <= best + 1e-12 and best <= float(careful.bound) + 1e-12, eta
        assert float(careful.bound - careful.objective) <= (1e-3 if dtype == np.float32 else 1e-10)


def test_a_dozen_features_converge_to_one_in_a_million(x64):
    """A dozen, to 1e-6: more policies pass than there are places, and the optimum mixes many of them."""
    rng = np.random.default_rng(0)
    S, A, K, N = 12, 3, 12, 60
    P = np.zeros((S, A, S))
    for s in range(S):
        P[s][:, rng.choice(S, 3, replace=False)] = rng.dirichlet(np.ones(3), size=A)
    mdp = MDP.from_dense(P, rng.normal(size=(S, A, K)), rng.dirichlet(np.ones(S)), horizon=4)
    samples = posterior.exact(candidates=jnp.asarray(rng.normal(size=(N, K))))
    offset = planning.start_offset(mdp, samples)
    for risk in (CVaR(0.1), CVaR(0.4)):
        careful = planning.plan(mdp, samples, risk=risk, offset=offset, tol=1e-6)
        exact = optimum_by_lp(mdp, samples, risk, offset)
        assert bool(careful.converged) and float(careful.objective) - 5e-7 <= exact <= float(careful.bound) + 5e-7


def test_the_worst_case_tosses_a_coin(x64):
    """Two ways round a wall, one of them bad, nobody knows which: half and half loses 1/2, either alone loses 1."""
    text = """
    .a.
    S#G
    .b.
    """
    legend = {".": "floor", "S": "floor", "a": "left", "b": "right", "G": "goal"}
    grid = mdps.GridWorld.from_text(text, legend, horizon=8)
    rows = [grid.weights(left=-1.0, goal=1.0), grid.weights(right=-1.0, goal=1.0)]
    samples = posterior.exact(candidates=jnp.stack(rows))
    careful = planning.plan(grid.mdp, samples, risk=WorstCase(), offset=planning.no_offset(samples), tol=1e-6)
    assert float(careful.objective) == pytest.approx(3.5, abs=1e-5)
    for side in ("left", "right"):
        seen = float(mdps.visit_probability(grid.mdp, careful.policy, grid.where(side)))
        assert seen == pytest.approx(0.5, abs=1e-5)
    np.testing.assert_allclose(careful.policy.sum(-1), 1, atol=1e-12)


def batch_of_plans(stacked, weights, log_weights, offset, alpha):
    def one(mdp, w, log_p, c):
        samples = posterior.exact(candidates=w, log_prior=log_p)
        return planning.plan(mdp, samples, risk=CVaR(alpha), offset=c)

    return jax.vmap(one)(stacked, weights, log_weights, offset)


def test_maps_and_beliefs_in_one_program(x64):
    """vmap over maps, beliefs and offsets does what a loop does, and α is traced."""
    maps = [model(seed, per_action=True, **FINITE) for seed in range(4)]
    beliefs = [belief(seed) for seed in range(4)]
    cs = [planning.start_offset(m, b) for m, b in zip(maps, beliefs)]
    run = jax.jit(batch_of_plans)
    weights, log_p = (jnp.stack([getattr(b, name) for b in beliefs]) for name in ("weights", "log_weights"))
    for alpha in (0.15, 0.5):
        together = run(mdps.stack(maps), weights, log_p, jnp.stack(cs), alpha)
        assert together.policy.shape == (4, FINITE["horizon"], S, A) and bool(together.converged.all())
        for i, (m, b, c) in enumerate(zip(maps, beliefs, cs)):
            alone = planning.plan(m, b, risk=CVaR(alpha), offset=c)
            assert float(together.objective[i]) == pytest.approx(float(alone.objective), abs=1e-9)
            assert float(together.bound[i]) == pytest.approx(float(alone.bound), abs=1e-9)
            np.testing.assert_allclose(together.policy[i], alone.policy, atol=1e-6)
    assert run._cache_size() == 1


def test_float32_is_honest_on_grids():
    """On drawn grids of 50 steps the float32 bounds hold the exact optimum, and are within 1e-3 of each other."""
    names, T, n, count = ("floor", "bush", "goal", "lava"), 50, 60, 6
    rng = np.random.default_rng(0)
    terrain = rng.choice([0, 1, 3], size=(count, 4, 4), p=[0.6, 0.2, 0.2])
    terrain[:, 0, 0], terrain[:, 3, 3] = 0, 2
    weights = rng.uniform(-1, 1, size=(count, n, 4)).astype(np.float32)

    @jax.vmap
    def run(cells, w):
        grid = mdps.GridWorld.from_terrain(cells, names, start=(0, 0), goal=(3, 3), horizon=T)
        samples = posterior.exact(candidates=w)
        offset = planning.start_offset(grid.mdp, samples)
        return grid.mdp, samples, offset, planning.plan(grid.mdp, samples, risk=CVaR(0.1), offset=offset)

    maps, beliefs, cs, plans = jax.jit(run)(jnp.asarray(terrain), jnp.asarray(weights))
    assert plans.objective.dtype == jnp.float32 and bool(plans.converged.all())
    for i in range(count):
        mdp, samples, offset, careful = jax.tree.map(lambda x, i=i: x[i], (maps, beliefs, cs, plans))
        exact = optimum_by_lp(mdp, samples, CVaR(0.1), offset)
        allowed = 1e-3 * max(1, abs(float(careful.objective)))
        assert float(careful.objective) - 1e-5 <= exact <= float(careful.bound)
        assert float(careful.bound) - float(careful.objective) <= allowed


def test_stopped_early_says_so(x64):
    mdp, samples = model(1, per_action=True, **FINITE), belief(1)
    offset = planning.no_offset(samples)
    exact = optimum_by_lp(mdp, samples, CVaR(0.15), offset)
    careful = planning.plan(mdp, samples, risk=CVaR(0.15), offset=offset, tol=1e-6, max_steps=2)
    assert not bool(careful.converged) and int(careful.steps) == 2
    assert float(careful.objective) <= exact <= float(careful.bound)


def test_a_shift_of_the_features_changes_nothing(x64):
    """Each offset moves with the features, so the optimum stays; without an offset it does not."""
    mdp, training, samples = model(2, True, **FINITE), model(3, True, **FINITE), belief(2)
    alternatives = jnp.asarray(np.random.default_rng(5).normal(size=(7, K)))
    shift = jnp.asarray(np.random.default_rng(6).normal(size=K))[None, None]

    def optima(mdp, training):
        proxy = ProxyReward(alternatives[0], training, beta=2.0, alternatives=alternatives)
        every = {
            "training": planning.training_offset(mdp, samples, proxy),
            "normalizer": planning.log_normalizer_offset(mdp, samples, proxy),
            "start": planning.start_offset(mdp, samples),
            "regret": planning.regret_offset(mdp, samples, tol=1e-9),
            "policy": planning.policy_offset(mdp, samples, jnp.full((S, A), 1 / A)),
            "none": planning.no_offset(samples),
        }
        return {
            name: float(planning.plan(mdp, samples, risk=CVaR(0.15), offset=c, tol=1e-6).objective)
            for name, c in every.items()
        }

    # A training map of twice the length: offsets are scaled to the visits here.
    training = training.replace(horizon=2 * FINITE["horizon"])
    plain = optima(mdp, training)
    moved = optima(mdp.replace(features=mdp.features + shift), training.replace(features=training.features + shift))
    assert abs(plain.pop("none") - moved.pop("none")) > 1e-2
    assert plain == pytest.approx(moved, abs=1e-5)


def test_offsets_are_what_they_say(x64):
    mdp, training, samples = model(0, **FINITE), model(1, horizon=8), belief(0)
    W, T = np.asarray(samples.weights), FINITE["horizon"]
    alternatives = jnp.asarray(np.random.default_rng(5).normal(size=(6, K)))
    proxy = ProxyReward(alternatives[2], training, beta=0.5, alternatives=alternatives)
    P, features, start = (np.asarray(x) for x in (training.to_dense(), training.features, training.initial))
    collected = []
    for w in np.asarray(alternatives):
        _, policy = oracles.backward_induction(P, features @ w, 1.0, 8)
        collected.append(oracles.feature_expectations(P, policy, start, 1.0, features, 8))
    collected = np.array(collected)
    np.testing.assert_allclose(planning.training_offset(mdp, samples, proxy), W @ collected[2] * T / 8, atol=1e-9)
    np.testing.assert_allclose(planning.training_features(proxy), collected[2] / 8, atol=1e-10)
    soft = np.log(np.exp(0.5 * W @ collected.T).sum(1)) / 0.5
    np.testing.assert_allclose(planning.log_normalizer_offset(mdp, samples, proxy), soft * T / 8, atol=1e-9)
    P, features, start = (np.asarray(x) for x in (mdp.to_dense(), mdp.features, mdp.initial))
    np.testing.assert_allclose(planning.start_features(mdp), start @ features, atol=1e-12)
    np.testing.assert_allclose(planning.map_features(mdp), features.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(planning.start_offset(mdp, samples), W @ (start @ features) * T, atol=1e-12)
    best = [start @ oracles.backward_induction(P, features @ w, 1.0, T)[0][0] for w in W]
    np.testing.assert_allclose(planning.regret_offset(mdp, samples), best, atol=1e-9)
    assert not np.any(planning.no_offset(samples))


@pytest.mark.parametrize(("kind", "per_action"), [(ENDLESS, False), (FINITE, True)], ids=str)
def test_the_plan_per_step_is_the_optimum_of_risk_adjusted_rewards(kind, per_action, x64):
    """The per-step plan is the optimum of the per-step rewards, and more cautious than the plan per trajectory."""
    mdp, samples, alpha = model(4, per_action, **kind), belief(4), 0.3
    p, W = probabilities(samples), np.asarray(samples.weights)
    baseline = planning.start_features(mdp)
    careful = planning.plan_per_step(mdp, samples, risk=CVaR(alpha), baseline=baseline)

    def cvar(returns):
        order = np.argsort(returns)
        taken = np.clip(alpha - (np.cumsum(p[order]) - p[order]), 0, p[order])
        return taken @ returns[order] / alpha

    reward = np.apply_along_axis(lambda phi: cvar(W @ (phi - np.asarray(baseline))), -1, np.asarray(mdp.features))
    P, start = np.asarray(mdp.to_dense()), np.asarray(mdp.initial)
    if mdp.horizon is None:
        best = start @ oracles.value_iteration(P, reward, float(mdp.discount))
    else:
        best = start @ oracles.backward_induction(P, reward, 1.0, mdp.horizon)[0][0]
    assert float(careful.objective) == pytest.approx(best, abs=2e-6)
    assert best <= float(careful.bound) + 1e-12 and float(careful.objective) <= float(careful.bound)
    assert bool(careful.converged)
    assert float(mdps.policy_return(mdp, careful.policy, jnp.asarray(reward))) == pytest.approx(
        float(careful.objective), abs=1e-7
    )
    np.testing.assert_allclose(careful.feature_expectations, mdps.feature_expectations(mdp, careful.policy), atol=1e-9)
    # An adversary who chooses once hurts less than one who chooses at every step.
    offset = samples.weights @ baseline * mdp.total_visits
    attained = CVaR(alpha).value(samples.weights @ careful.feature_expectations - offset, samples.log_weights)
    assert float(careful.objective) <= float(attained) + 1e-9


def test_per_step_runs_mapped_over_maps(x64):
    maps, samples = [model(seed, **FINITE) for seed in range(3)], belief(0)
    run = jax.jit(jax.vmap(lambda m, a: planning.plan_per_step(m, samples, risk=CVaR(a), baseline=jnp.zeros(K))))
    together = run(mdps.stack(maps), jnp.asarray([0.1, 0.3, 0.5]))
    for i, (m, a) in enumerate(zip(maps, (0.1, 0.3, 0.5))):
        alone = planning.plan_per_step(m, samples, risk=CVaR(a), baseline=jnp.zeros(K))
        assert float(together.objective[i]) == pytest.approx(float(alone.objective), abs=1e-10)


class TestBadInput:
    """Each is refused before anything is compiled, with what is wrong."""

    def setup_method(self):
        self.mdp = model(0, **FINITE)
        self.samples = belief(0)
        self.offset = jnp.zeros(N)

    def refused(self, match, **changes):
        given = {"risk": CVaR(0.1), "offset": self.offset, **changes}
        samples, mdp = given.pop("samples", self.samples), given.pop("mdp", self.mdp)
        before = _per_trajectory._plan._cache_size()
        with pytest.raises(ValueError, match=match):
            planning.plan(mdp, samples, **given)
        assert _per_trajectory._plan._cache_size() == before

    def test_an_offset_of_another_shape_or_not_finite_is_refused(self):
        self.refused(r"offset has shape \(29,\), but the belief holds 30 samples", offset=jnp.zeros(N - 1))
        self.refused("offset is nan at index", offset=self.offset.at[3].set(jnp.nan))
        self.refused("offset is None; say what returns are measured from", offset=None)

    @pytest.mark.parametrize("risk", [None, CVaR, 0.1])
    def test_what_is_no_risk_measure(self, risk):
        self.refused(r"risk is .*; give a measure from ird.risk", risk=risk)

    @pytest.mark.parametrize("tol", [0.0, -1e-3, float("nan"), float("inf")])
    def test_a_tolerance_that_is_not_positive_is_refused(self, tol):
        self.refused("tol is .*; it must be positive", tol=tol)

    @pytest.mark.parametrize("max_steps", [0, 2.5, True])
    def test_steps_that_are_no_whole_number_are_refused(self, max_steps):
        self.refused("max_steps is .*whole number", max_steps=max_steps)

    def test_worst_case_on_unequal_weights(self):
        self.refused("equally weighted draws", risk=WorstCase())

    def test_belief_about_other_features(self):
        names = ("a", "b", "c", "d")
        other = self.mdp.replace(feature_names=names)
        proxy = ProxyReward(jnp.ones(K), other, alternatives=jnp.ones((1, K)))
        samples = posterior.exact(proxy, candidates=self.samples.weights)
        self.refused("the belief is about the features .*'a'.*but this MDP has .*'feature 0'", samples=samples)
        for call in (planning.training_offset, planning.log_normalizer_offset):
            with pytest.raises(ValueError, match="the proxy was written for the features"):
                call(self.mdp, self.samples, proxy)
        with pytest.raises(ValueError, match="the belief is about the features"):
            planning.plan_per_step(self.mdp, samples, risk=CVaR(0.1), baseline=jnp.zeros(K))
        with pytest.raises(ValueError, match="the belief is about the features"):
            planning.start_offset(self.mdp, samples)

    def test_belief_of_the_wrong_size(self):
        samples = posterior.exact(candidates=jnp.ones((N, K + 1)))
        self.refused("the belief's weights have shape .*this MDP has 4 features", samples=samples)

    def test_a_baseline_of_other_features_is_refused(self):
        with pytest.raises(ValueError, match=r"baseline has shape \(3,\), but this MDP has 4 features"):
            planning.plan_per_step(self.mdp, self.samples, risk=CVaR(0.1), baseline=jnp.zeros(3))
        with pytest.raises(ValueError, match="baseline is inf at index"):
            planning.plan_per_step(self.mdp, self.samples, risk=CVaR(0.1), baseline=jnp.full(K, jnp.inf))
        with pytest.raises(ValueError, match="equally weighted draws"):
            planning.plan_per_step(self.mdp, self.samples, risk=WorstCase(), baseline=jnp.zeros(K))


def test_an_equilibrium_is_sound_in_a_batch_pushed_into_rounding():
    """Asked for more than float32 has, in a batch, a factorization fails; the best answer before that is returned."""
    rng, (B, J, M, K_, n) = np.random.default_rng(0), (50, 150, 300, 50, 8)
    features, cuts = (rng.normal(size=(B, rows, K_)).astype(np.float32) for rows in (J, M))

    def solved(features, cuts):
        one, rows = jnp.ones((M, 1)), jnp.arange(M)
        table = jnp.stack([jnp.pad(features, ((0, M - J), (0, 0))), cuts])
        used = jnp.broadcast_to(rows < n, (2, M))
        table = jnp.where(used[..., None], jnp.concatenate([table, jnp.stack([one, one])], axis=2), 0)
        return equilibrium(table, used, jnp.float32(0))

    x, y = np.moveaxis(np.asarray(jax.jit(jax.vmap(solved))(features, cuts), float), 1, 0)
    for player in (x, y):
        assert (player >= 0).all()
        np.testing.assert_allclose(player.sum(axis=1), 1, atol=1e-5)
        assert not player[:, n:].any()
    pay = np.einsum("bmk,bjk->bmj", cuts, features)[:, :n, :n].astype(float)
    low, high = np.einsum("bmj,bj->bm", pay, x[:, :n]).min(axis=1), np.einsum("bmj,bm->bj", pay, y[:, :n]).max(axis=1)
    assert (high - low < 0.01).all()  # of payoffs up to 29; 0.002 was the largest


@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_is_not_finite_is_not_known():
    """Traced, where nothing can be refused: no plan is good, and no bound says anything."""
    mdp, samples = model(0, **FINITE), belief(0)
    baseline = planning.start_features(mdp)
    plain = {
        "weights": samples.weights,
        "log_weights": samples.log_weights,
        "offset": jnp.zeros(N),
        "features": mdp.features,
        "initial": mdp.initial,
        "probability": mdp.probability,
        "units": jnp.ones(N),
        "baseline": baseline,
    }

    @jax.jit
    def plans(given):
        changed = replace(mdp, **{name: given[name] for name in ("features", "initial", "probability")})
        known = replace(samples, weights=given["weights"], log_weights=given["log_weights"])
        whole = planning.plan(changed, known, risk=CVaR(0.3), offset=given["offset"], units=given["units"], max_steps=8)
        return whole, planning.plan_per_step(changed, known, risk=CVaR(0.3), baseline=given["baseline"])

    assert all(bool(made.converged) and np.isfinite(made.bound) for made in plans(plain))
    for name, x in plain.items():
        for bad in (np.nan, np.inf, -np.inf):
            at = (1,) * x.ndim  # a possible sample, a state that is visited
            whole, per_step = plans({**plain, name: x.at[at].set(bad)})
            for made, matters in ((whole, name != "baseline"), (per_step, name not in ("offset", "units"))):
                if matters and not (name == "log_weights" and bad == -np.inf):
                    assert not bool(made.converged) and not np.isfinite(made.bound), (name, bad, made)


def test_the_objective_is_differentiated_by_the_envelope_where_that_is_right_and_refused_otherwise(x64):
    mdp, samples, risk = model(discount=0.8), belief(weighted=False), Entropic(0.7)
    offset, way = np.random.default_rng(3).normal(size=(2, N))
    attained = lambda c: planning.plan(mdp, samples, risk=risk, offset=c, tol=1e-9).objective  # noqa: E731
    plan = planning.plan(mdp, samples, risk=risk, offset=jnp.asarray(offset), tol=1e-9)
    collected = jax.lax.stop_gradient(plan.feature_expectations)
    own = jax.grad(lambda c: risk.value(samples.weights @ collected - c, samples.log_weights))(jnp.asarray(offset))
    apart = attained(jnp.asarray(offset + 1e-4 * way)) - attained(jnp.asarray(offset - 1e-4 * way))
    assert float(own @ way) == pytest.approx(float(apart) / 2e-4, rel=1e-3)
    for derivative in (jax.grad, jax.jacfwd):
        with pytest.raises(ValueError, match="not differentiated: its adversary"):
            derivative(attained)(jnp.asarray(offset))
