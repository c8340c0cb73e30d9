"""Evidence against brute force: every deterministic policy listed, every sum written out in NumPy."""

import itertools
import subprocess
import sys
import textwrap

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import mdps
from ird import ProxyReward
from ird.evidence.normalizers import SumOverProxies, log_sum
from ird.evidence.plans import merge_equal
from mdps import MDP

S, A, K, M = 4, 2, 3, 12


def random_problem(seed, *, horizon=3, discount=1.0, names=None):
    """A tiny MDP with its dense arrays, and integer-free alternatives, so that optimal plans are unique."""
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.ones(S), size=(S, A))
    features = rng.uniform(-1, 1, size=(S, K))
    initial = rng.dirichlet(np.ones(S))
    alternatives = rng.normal(size=(M, K))
    mdp = MDP.from_dense(P, features, initial, horizon=horizon, discount=discount, feature_names=names)
    return P, features, initial, alternatives, mdp


def brute_force_features(P, features, initial, horizon):
    """Feature expectations of every deterministic policy that depends on time, `[A^(S T), K]`."""
    choices = [np.array(c) for c in itertools.product(range(A), repeat=S)]
    chains = [P[np.arange(S), c] for c in choices]

    def collect(here, steps):
        if steps == 0:
            yield np.zeros(features.shape[1])
            return
        for chain in chains:
            for rest in collect(here @ chain, steps - 1):
                yield here @ features + rest

    return np.array(list(collect(initial, horizon)))


def numpy_log_likelihood(own, features, weights, beta):
    logits = beta * weights @ features.T
    largest = logits.max(axis=1)
    return beta * weights @ own - largest - np.log(np.exp(logits - largest[:, None]).sum(axis=1))


@pytest.mark.parametrize("seed", [0, 1])
def test_likelihood_is_that_of_every_policy_listed(seed, dtype):
    P, features, initial, alternatives, mdp = random_problem(seed, horizon=2)
    every = brute_force_features(P, features, initial, 2)
    plans = every[np.argmax(alternatives @ every.T, axis=1)]  # [M, K]
    weights = np.random.default_rng(seed + 10).normal(size=(50, K))
    for own in (0, 5):
        proxy = ProxyReward(alternatives[own], mdp, beta=4.0, alternatives=alternatives)
        assert proxy.weights.dtype == proxy.log_likelihood(weights).dtype == dtype
        expected = numpy_log_likelihood(plans[own], plans, weights, 4.0)
        tol = 1e-10 if dtype == jnp.float64 else 5e-6
        np.testing.assert_allclose(proxy.feature_expectations, plans[own], atol=tol)
        np.testing.assert_allclose(proxy.log_likelihood(weights), expected, atol=tol)
        np.testing.assert_allclose(proxy.log_normalizer(weights), 4.0 * weights @ plans[own] - expected, atol=4 * tol)
        assert float(jnp.max(proxy.log_likelihood(weights))) <= tol


def test_the_likelihood_sums_to_one_over_the_alternatives(x64):
    _, _, _, alternatives, mdp = random_problem(3)
    weights = np.random.default_rng(0).normal(size=(7, K))
    each = [ProxyReward(a, mdp, beta=3.0, alternatives=alternatives).log_likelihood(weights) for a in alternatives]
    np.testing.assert_allclose(np.exp(each).sum(axis=0), 1.0, atol=1e-12)


def test_discounted_plans_match_dense_linear_algebra(x64):
    import oracles

    P, features, initial, alternatives, mdp = random_problem(4, horizon=None, discount=0.8)
    proxy = ProxyReward(alternatives[1], mdp, alternatives=alternatives)
    policy = oracles.optimal_policy(P, features @ alternatives[1], 0.8)
    expected = oracles.feature_expectations(P, policy, initial, 0.8, features)
    np.testing.assert_allclose(proxy.feature_expectations, expected, atol=1e-6)


@hypothesis.given(
    shift=hnp.arrays(float, K, elements=st.floats(-3, 3)),
    weights=hnp.arrays(float, (5, K), elements=st.floats(-2, 2)),
)
def test_features_shifted_by_a_constant_change_no_likelihood(shift, weights):
    with jax.enable_x64(True):
        P, features, initial, alternatives, mdp = random_problem(5)
        moved = MDP.from_dense(P, features + shift, initial, horizon=3)
        a = ProxyReward(alternatives[0], mdp, beta=2.0, alternatives=alternatives)
        b = ProxyReward(alternatives[0], moved, beta=2.0, alternatives=alternatives)
        np.testing.assert_allclose(a.log_likelihood(weights), b.log_likelihood(weights), atol=1e-9)


@hypothesis.given(order=st.permutations(range(S)), actions=st.permutations(range(A)), rows=st.permutations(range(M)))
def test_the_order_of_states_actions_and_alternatives_changes_nothing(order, actions, rows):
    with jax.enable_x64(True):
        P, features, initial, alternatives, mdp = random_problem(6)
        order, rows = np.array(order), np.array(rows)
        shuffled = MDP.from_dense(
            P[np.ix_(order, np.array(actions), order)], features[order], initial[order], horizon=3
        )
        weights = np.random.default_rng(1).normal(size=(5, K))
        a = ProxyReward(alternatives[2], mdp, beta=3.0, alternatives=alternatives)
        b = ProxyReward(alternatives[2], shuffled, beta=3.0, alternatives=alternatives[rows])
        np.testing.assert_allclose(a.log_likelihood(weights), b.log_likelihood(weights), atol=1e-10)


def test_alternatives_that_share_a_plan_are_merged_and_counted(x64):
    P, features, initial, alternatives, mdp = random_problem(7)
    twice = np.concatenate([alternatives, 2 * alternatives[:4], alternatives[:1]])
    proxy = ProxyReward(alternatives[0], mdp, beta=2.0, alternatives=twice)
    assert proxy.counts.sum() == len(twice)
    assert len(proxy.counts) < len(twice)
    every = brute_force_features(P, features, initial, 3)
    plans = every[np.argmax(twice @ every.T, axis=1)]
    weights = np.random.default_rng(2).normal(size=(9, K))
    np.testing.assert_allclose(
        proxy.log_likelihood(weights), numpy_log_likelihood(plans[0], plans, weights, 2.0), atol=1e-10
    )


@hypothesis.given(order=st.permutations([1, 1, 2, 3, 4, 5]))
def test_a_plan_that_many_proxies_share_counts_for_each(order):
    counts = np.array(order)  # of fixed sum, so that nothing is compiled again
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        features, weights = rng.normal(size=(6, K)), rng.normal(size=(4, K))
        listed = SumOverProxies(jnp.asarray(np.repeat(features, counts, axis=0)), jnp.ones(counts.sum()))
        merged = SumOverProxies(jnp.asarray(features), jnp.asarray(counts, float))
        a, b = (n.log_sum(jnp.asarray(weights), jnp.asarray(1.5), jnp.zeros(K)) for n in (listed, merged))
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_merging_keeps_rows_apart_that_differ_by_more_than_rounding(dtype):
    eps = float(jnp.finfo(dtype).eps)
    rows = jnp.asarray([[1.0, 0.0], [1.0, 1000 * eps], [0.0, 0.0], [1.0, eps], [-0.0, 0.0]], dtype)
    features, counts = merge_equal(rows)
    assert counts.tolist() == [2, 1, 2]
    np.testing.assert_array_equal(features, rows[:3])


def test_rows_in_which_nothing_ever_occurs_are_equal(dtype):
    # In float64 the grid that rows are compared on was once 0 wide, and 0 / 0 warned.
    features, counts = merge_equal(jnp.zeros((3, 2), dtype))
    np.testing.assert_array_equal(features, [[0, 0]])
    np.testing.assert_array_equal(counts, [3])


def test_rows_of_one_sum_are_told_apart(monkeypatch, dtype):
    """Rows are compared by random sums; these come out equal for all rows."""

    class Alike:
        def integers(self, low, high, size):
            return np.zeros(size, np.int64)

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Alike())
    features, counts = merge_equal(jnp.asarray([[1.0, 2.0], [3.0, 0.0], [1.0, 2.0]], dtype))
    assert counts.tolist() == [2, 1]
    assert features.tolist() == [[1.0, 2.0], [3.0, 0.0]]


def test_a_batch_of_problems_streams_as_each_alone(x64):
    """Also its derivatives, which a processor takes for one problem after another no longer."""
    rng = np.random.default_rng(4)
    features, weights = jnp.asarray(rng.normal(size=(5, 7, K))), jnp.asarray(rng.normal(size=(5, 9, K)))

    def total(features, weights):
        return SumOverProxies(features, jnp.ones(7)).log_sum(weights, jnp.asarray(1.5), jnp.zeros(K)).sum()

    def dense(features, weights):
        return jnp.log(jnp.exp(1.5 * weights @ features.T).sum(axis=1)).sum()

    for argument in (0, 1):
        for derivative in (lambda f, i: f, jax.grad, jax.jacfwd, jax.hessian):
            here, there = (derivative(f, argument) for f in (total, dense))
            np.testing.assert_allclose(
                jax.vmap(here)(features, weights), jax.vmap(there)(features, weights), atol=1e-10
            )


def test_streaming_gives_what_one_product_gives(monkeypatch, x64):
    rng = np.random.default_rng(3)
    features, weights = rng.normal(size=(37, K)), rng.normal(size=(1001, K))
    expected = np.log(np.exp(1.7 * weights @ features.T).sum(axis=1))
    monkeypatch.setattr("ird.blocks.ENTRIES", (37 * 64, 37 * 64))
    normalizer = SumOverProxies(jnp.asarray(features), jnp.ones(37))
    got = normalizer.log_sum(jnp.asarray(weights), jnp.asarray(1.7), jnp.zeros(K))
    np.testing.assert_allclose(got, expected, atol=1e-12)
    gradient = jax.grad(lambda w: normalizer.log_sum(w, jnp.asarray(1.7), jnp.zeros(K)).sum())(jnp.asarray(weights))
    share = np.exp(1.7 * weights @ features.T - expected[:, None])
    np.testing.assert_allclose(gradient, 1.7 * share @ features, atol=1e-12)


def test_huge_returns_neither_overflow_nor_vanish():
    normalizer = SumOverProxies(jnp.asarray([[1000.0], [999.0]]), jnp.ones(2))
    got = normalizer.log_sum(jnp.asarray([[50.0], [-50.0]]), jnp.asarray(10.0), jnp.asarray([1000.0]))
    np.testing.assert_allclose(got, [0.0, 500.0])


def test_the_wide_sum_streams_in_little_memory():
    """N × M would be 8 GB; the compiled program asks for a few blocks, in value and in gradient."""
    N, wide = 200_000, 10_000
    shapes = SumOverProxies(jax.ShapeDtypeStruct((wide, 20), jnp.float32), jax.ShapeDtypeStruct((wide,), jnp.float32))
    rest = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((N, 20), (), (20,))]
    inputs = 4 * 20 * (N + wide)
    for function in (log_sum, jax.jit(jax.grad(lambda *a: log_sum(*a).sum(), argnums=1))):
        needed = function.lower(shapes, *rest).compile().memory_analysis().temp_size_in_bytes
        assert needed < 60e6 + 3 * inputs


def test_derivatives_agree_with_differences_and_hessian_is_concave(x64):
    _, _, _, alternatives, mdp = random_problem(8)
    proxy = ProxyReward(alternatives[0], mdp, beta=2.0, alternatives=alternatives)
    at = jnp.asarray([0.3, -0.2, 0.5])
    f = lambda w: proxy.log_likelihood(w[None])[0]  # noqa: E731
    step = 1e-5 * jnp.eye(K)
    differences = [(f(at + d) - f(at - d)) / 2e-5 for d in step]
    np.testing.assert_allclose(jax.grad(f)(at), differences, atol=1e-8)
    np.testing.assert_allclose(jax.jacfwd(f)(at), differences, atol=1e-8)
    assert np.linalg.eigvalsh(jax.hessian(f)(at)).max() < 1e-10


def test_sampled_normalizer_sums_over_the_draws_and_the_proxy(x64):
    P, features, initial, alternatives, mdp = random_problem(9)
    prior = dist.Normal(0, 1).expand([K]).to_event(1)
    make = lambda **kw: ProxyReward.sampled(  # noqa: E731
        alternatives[0], mdp, beta=2.0, prior=prior, num_proxies=20, key=jax.random.key(0), **kw
    )
    proxy, own_too = make(), make(include_candidate=True)
    drawn = np.concatenate([alternatives[:1], prior.sample(jax.random.key(0), (20,))])
    np.testing.assert_allclose(proxy.alternatives, drawn)
    every = brute_force_features(P, features, initial, 3)
    plans = every[np.argmax(drawn @ every.T, axis=1)]
    weights = np.random.default_rng(4).normal(size=(6, K))
    np.testing.assert_allclose(
        proxy.log_likelihood(weights), numpy_log_likelihood(plans[0], plans, weights, 2.0), atol=1e-10
    )
    best = (weights @ every.T).max(axis=1)
    expected = np.logaddexp(proxy.log_normalizer(weights), 2.0 * best)
    np.testing.assert_allclose(own_too.log_normalizer(weights), expected, atol=1e-10)
    gradient = jax.grad(lambda w: own_too.log_normalizer(w).sum())(jnp.asarray(weights))
    for k in range(K):
        up, down = weights.copy(), weights.copy()
        up[:, k] += 1e-5
        down[:, k] -= 1e-5
        slope = (own_too.log_normalizer(up) - own_too.log_normalizer(down)) / 2e-5
        np.testing.assert_allclose(gradient[:, k], slope, atol=1e-6)


def test_sampled_normalizer_settles_as_draws_grow():
    _, _, _, alternatives, mdp = random_problem(10)
    prior = dist.Normal(0, 1).expand([K]).to_event(1)
    weights = jnp.asarray(np.random.default_rng(5).normal(size=(40, K)), jnp.float32)

    def contrast(num, seed):
        made = ProxyReward.sampled(alternatives[0], mdp, prior=prior, num_proxies=num, key=jax.random.key(seed))
        log = made.log_likelihood(weights)
        return np.asarray(log - log.mean())

    spread = [np.abs(contrast(num, 0) - contrast(num, 1)).max() for num in (20, 5000)]
    assert spread[1] < 0.05 < spread[0]


def test_compiles_once_whatever_beta_and_proxy():
    _, _, _, alternatives, mdp = random_problem(11)
    weights = jnp.asarray(np.random.default_rng(6).normal(size=(5, K)), jnp.float32)
    traces = []

    @jax.jit
    def likelihood(proxy, weights):
        traces.append(1)
        return proxy.log_likelihood(weights)

    proxy = ProxyReward(alternatives[0], mdp, beta=1.0, alternatives=alternatives)
    first = likelihood(proxy, weights)
    hotter = proxy.replace(beta=3.0)
    other = ProxyReward(alternatives[1], mdp, beta=1.0, alternatives=alternatives)
    assert not np.allclose(likelihood(hotter, weights), first)
    assert not np.allclose(likelihood(other, weights), first)
    assert len(traces) == 1
    assert hotter.normalizer is proxy.normalizer
    from ird.evidence.plans import plan_features

    before = plan_features._cache_size()
    ProxyReward(alternatives[3], mdp, beta=7.0, alternatives=alternatives[::-1])
    assert plan_features._cache_size() == before


def test_inside_jit_and_vmap_it_says_the_same():
    problems = [random_problem(seed) for seed in (12, 13)]
    alternatives = jnp.asarray(problems[0][3], jnp.float32)
    weights = jnp.asarray(np.random.default_rng(7).normal(size=(5, K)), jnp.float32)

    @jax.jit
    def over_maps(stacked, beta, alternatives):
        make = lambda mdp: ProxyReward(alternatives[2], mdp, beta=beta, alternatives=alternatives)  # noqa: E731
        return jax.vmap(lambda mdp: make(mdp).log_likelihood(weights))(stacked)

    got = over_maps(mdps.stack([p[4] for p in problems]), 2.0, alternatives)
    for row, problem in zip(got, problems, strict=True):
        alone = ProxyReward(alternatives[2], problem[4], beta=2.0, alternatives=alternatives)
        np.testing.assert_allclose(row, alone.log_likelihood(weights), atol=1e-5)
    batched = jax.vmap(lambda a, b: ProxyReward(a, problems[0][4], beta=b, alternatives=alternatives))(
        alternatives[:3], jnp.array([1.0, 2.0, 3.0])
    )
    second = jax.tree.map(lambda x: x[1], batched)
    alone = ProxyReward(alternatives[1], problems[0][4], beta=2.0, alternatives=alternatives)
    np.testing.assert_allclose(second.log_likelihood(weights), alone.log_likelihood(weights), atol=1e-5)


def test_is_frozen_and_says_what_it_is():
    _, _, _, alternatives, mdp = random_problem(14, names=("a", "b", "c"))
    proxy = ProxyReward(alternatives[0], mdp, alternatives=alternatives)
    assert proxy.feature_names == ("a", "b", "c")
    assert "alternatives=(12, 3)" in repr(proxy)
    with pytest.raises(AttributeError, match="cannot assign to field"):
        proxy.beta = 2.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.zeros(4)}, "3 features"),
        ({"weights": np.array([np.nan, 0, 0])}, "weights is nan at index"),
        ({"alternatives": np.zeros((0, 3))}, "alternatives is empty"),
        ({"alternatives": np.zeros(3)}, r"must be \[M, K\] with K=3"),
        ({"alternatives": np.zeros((5, 4))}, r"must be \[M, K\] with K=3"),
        ({"alternatives": np.full((5, 3), np.inf)}, "alternatives is inf at index"),
        ({"weights": np.array([9.0, 9.0, 9.0])}, "not among the 12 alternatives.*add the proxy's row"),
        ({"beta": 0.0}, "beta is 0.0; it must be positive and finite"),
        ({"beta": -1.0}, "beta is -1.0"),
        ({"beta": float("nan")}, "beta is nan"),
        ({"beta": float("inf")}, "beta is inf"),
        ({"beta": jnp.ones(2)}, "give one number"),
    ],
)
def test_bad_input_is_refused_before_anything_is_compiled(change, message):
    _, _, _, alternatives, mdp = random_problem(15)
    given = {"weights": alternatives[0], "alternatives": alternatives, "beta": 1.0} | change
    weights = given.pop("weights")
    with jax.log_compiles(False), pytest.raises(ValueError, match=message):
        ProxyReward(weights, mdp, **given)


def test_bad_candidates_are_refused_by_name():
    _, _, _, alternatives, mdp = random_problem(16)
    proxy = ProxyReward(alternatives[0], mdp, alternatives=alternatives)
    with pytest.raises(ValueError, match=r"weights\[None\]"):
        proxy.log_likelihood(jnp.zeros(3))
    with pytest.raises(ValueError, match="K=3"):
        proxy.log_normalizer(jnp.zeros((2, 4)))
    with pytest.raises(ValueError, match="positive"):
        proxy.replace(beta=-2.0)
    with pytest.raises(ValueError, match="stack of MDPs"):
        ProxyReward(alternatives[0], mdps.stack([mdp, mdp]), alternatives=alternatives)
    prior = dist.Normal(0, 1).expand([3]).to_event(1)
    with pytest.raises(ValueError, match="num_proxies is 0"):
        ProxyReward.sampled(alternatives[0], mdp, prior=prior, num_proxies=0, key=jax.random.key(0))
    with pytest.raises(ValueError, match="2 weights, but the evidence has 3"):
        wrong = dist.Normal(0, 1).expand([2]).to_event(1)
        ProxyReward.sampled(alternatives[0], mdp, prior=wrong, num_proxies=4, key=jax.random.key(0))


def test_peak_memory_of_a_wide_likelihood():
    """A whole process that weighs 100,000 candidates against 5,000 proxies stays far below N × M (2 GB)."""
    program = """
        import resource
        import jax.numpy as jnp, numpy as np
        from ird.evidence.normalizers import SumOverProxies, log_sum
        rng = np.random.default_rng(0)
        proxies = SumOverProxies(jnp.asarray(rng.normal(size=(5_000, 20)), jnp.float32), jnp.ones(5_000))
        weights = jnp.asarray(rng.normal(size=(100_000, 20)), jnp.float32)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        log_sum(proxies, weights, jnp.ones(()), jnp.zeros(20)).block_until_ready()
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 250
