"""solve against NumPy: values, certified bounds, ties, derivatives, batching, traces, bad input."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import mdps

P, FEATURES, INITIAL = oracles.random_mdp(np.random.default_rng(0))
S, A = P.shape[:2]
REWARD = FEATURES[:, 0]
T = 4


@functools.cache
def model(double=True, **kwargs):
    with jax.enable_x64(double):
        return mdps.MDP.from_dense(P, FEATURES, INITIAL, **{"discount": 0.9, **kwargs})


def at(gamma, dtype=jnp.float64):
    """The model at another discount, which is traced and so compiles nothing new."""
    return model(dtype == jnp.float64).replace(discount=jnp.asarray(gamma, dtype))


@pytest.mark.parametrize("temperature", [0.0, 0.3])
@pytest.mark.parametrize("gamma", [0.0, 0.9, 0.95, 0.99, 0.999])
def test_the_error_bound_holds_at_every_tolerance(dtype, gamma, temperature):
    """The certified bound holds against an exact solution, at every tolerance, and is met where it can be."""
    rng = np.random.default_rng(1)
    mdp = at(gamma, dtype)
    # The exact answer is that of the numbers the solver was given, rounded to its dtype.
    given_P, given_gamma = np.asarray(mdp.to_dense(), np.float64), float(mdp.discount)
    for scale in (1e-2, 1.0, 1e3):
        reward = jnp.asarray(scale * rng.normal(size=S), dtype)
        exact = oracles.policy_iteration(given_P, np.asarray(reward, np.float64), given_gamma, temperature)
        for tol in (1e-1, 1e-4, 1e-8, 1e-30):
            solution = mdps.solve(mdp, reward, temperature=temperature, tol=tol)
            error = np.abs(np.asarray(solution.value, np.float64) - exact).max()
            assert error <= float(solution.error_bound)
            assert bool(solution.converged) == (float(solution.error_bound) <= np.asarray(tol, dtype))
            floor = 1e2 * float(jnp.finfo(dtype).eps) * np.abs(exact).max() / (1 - given_gamma)
            assert float(solution.error_bound) <= max(tol, floor)  # it stops short of tol only at rounding
            assert int(solution.steps) < 60_000


def test_the_default_tolerance_is_that_of_the_dtype():
    with jax.enable_x64(True):
        solution = mdps.solve(model(), jnp.asarray(REWARD))
        assert bool(solution.converged)
        assert float(solution.error_bound) <= 1e-6
    solution = mdps.solve(model(double=False), jnp.asarray(REWARD, jnp.float32))
    assert bool(solution.converged)  # "as good as float32 allows" is the default there
    assert 0 < float(solution.error_bound) < 1e-3
    below = mdps.solve(model(double=False), jnp.asarray(REWARD, jnp.float32), tol=1e-9)
    assert not bool(below.converged)
    assert float(below.error_bound) == float(solution.error_bound)


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_a_finite_horizon_agrees_with_backward_induction(dtype, temperature):
    mdp = model(dtype == jnp.float64, horizon=T)
    values, policies = oracles.backward_induction(P, REWARD, 0.9, T, temperature)
    solution = mdps.solve(mdp, jnp.asarray(REWARD, dtype), temperature=temperature)
    assert np.abs(solution.value - values[0]).max() <= max(float(solution.error_bound), 1e-15)
    np.testing.assert_allclose(solution.policy, policies, atol=30 * float(jnp.finfo(dtype).eps))
    assert bool(solution.converged)
    assert int(solution.steps) == T


def test_policies_are_the_exact_ones(x64):
    for temperature in (0.0, 0.3, 2.0):
        exact = oracles.optimal_policy(P, REWARD, 0.9, temperature)
        solution = mdps.solve(model(), jnp.asarray(REWARD), temperature=temperature, tol=1e-10)
        np.testing.assert_allclose(solution.policy, exact, atol=1e-8)


def test_the_soft_optimum_tends_to_the_hard_one(x64):
    hard = mdps.solve(model(), jnp.asarray(REWARD)).value
    for temperature in (1e-1, 1e-3, 1e-6):
        soft = mdps.solve(model(), jnp.asarray(REWARD), temperature=temperature).value
        assert np.all(soft >= hard - 2e-6)
        assert np.abs(soft - hard).max() <= temperature * np.log(A) * 10 + 2e-6


def test_rewards_of_actions_are_solved_exactly(x64):
    reward = np.random.default_rng(2).normal(size=(S, A))
    solution = mdps.solve(model(), jnp.asarray(reward), tol=1e-10)
    np.testing.assert_allclose(solution.value, oracles.policy_iteration(P, reward, 0.9), atol=1e-9)


def test_equal_actions_share_equally(dtype):
    """Equal actions share equally, whatever rounding does: a zero reward makes every policy optimal."""
    mdp = model(dtype == jnp.float64)
    np.testing.assert_allclose(mdps.solve(mdp, jnp.zeros(S, dtype)).policy, 1 / A, rtol=1e-6)
    np.testing.assert_allclose(mdps.solve(mdp, jnp.full(S, 0.1, dtype)).policy, 1 / A, rtol=1e-6)
    twins = np.concatenate([P, P[:, :1]], axis=1)  # the last action is the first again
    both = mdps.MDP.from_dense(twins, FEATURES, INITIAL, discount=0.9)
    policy = np.asarray(mdps.solve(both, jnp.asarray(REWARD, dtype)).policy)
    np.testing.assert_array_equal(policy[:, 0], policy[:, -1])
    assert set(np.unique(policy.round(3))) <= {0.0, 0.5, 1.0}


@given(
    values=arrays(np.float64, (2, S), elements=st.floats(-10, 10)),
    temperature=st.floats(0.05, 5),
    gamma=st.floats(0, 0.97),
)
def test_the_optimum_contracts_in_the_reward(values, temperature, gamma):
    """Rewards within ε of each other have optima within ε / (1 - γ), hard and soft."""
    with jax.enable_x64(True):
        mdp, distance = at(gamma), np.abs(values[0] - values[1]).max() / (1 - gamma)
        for options in ({}, {"temperature": temperature}):
            a, b = (mdps.solve(mdp, jnp.asarray(r), **options) for r in values)
            slack = float(a.error_bound + b.error_bound)
            assert np.abs(a.value - b.value).max() <= distance + slack
            assert slack <= 2e-6


@given(reward=arrays(np.float64, S, elements=st.floats(-5, 5)), shift=st.floats(-5, 5), seed=st.integers(0, 99))
def test_names_and_constants_change_nothing(reward, shift, seed):
    """A constant shifts every value by c / (1 - γ); renaming states and actions renames the answer."""
    rng = np.random.default_rng(seed)
    order, swap = rng.permutation(S), rng.permutation(A)
    with jax.enable_x64(True):
        mdp = at(0.9)
        plain = mdps.solve(mdp, jnp.asarray(reward), tol=1e-10)
        moved = mdps.solve(mdp, jnp.asarray(reward + shift), tol=1e-10)
        np.testing.assert_allclose(moved.value, plain.value + 10 * shift, atol=1e-8)
        table = np.empty(S, np.int32)
        table[order] = np.arange(S)
        renamed = mdp.replace(
            next_state=jnp.asarray(table)[mdp.next_state[order]], probability=mdp.probability[order][:, swap]
        )
        other = mdps.solve(renamed, jnp.asarray(reward[order]), tol=1e-10)
        np.testing.assert_allclose(other.value, plain.value[order], atol=1e-8)
        gaps = np.sort(oracles.action_rewards(P, reward) + 0.9 * P @ np.asarray(plain.value), axis=1)
        if (gaps[:, -1] - gaps[:, -2]).min() > 1e-6:  # no near-ties, where rounding may tell names apart
            np.testing.assert_array_equal(other.policy, np.asarray(plain.policy)[order][:, swap])


def value_of(horizon, reward, temperature, gamma, probability, tol=1e-12):
    mdp = replace(model(horizon=horizon), discount=gamma, probability=probability)
    return mdp.initial @ mdps.solve(mdp, reward, temperature=temperature, tol=tol).value


@pytest.mark.parametrize("horizon", [None, T])
def test_implicit_gradient_of_the_soft_value(x64, horizon):
    """In reverse and in forward mode, with respect to everything: the reward's is the occupancy."""
    mdp, temperature = model(horizon=horizon), 0.5
    at_point = jnp.asarray(REWARD), jnp.asarray(temperature), mdp.discount, mdp.probability
    f = functools.partial(value_of, horizon)
    reverse = jax.jit(jax.grad(f, argnums=(0, 1, 2, 3)))(*at_point)
    solution = mdps.solve(mdp, jnp.asarray(REWARD), temperature=temperature, tol=1e-12)
    policy = np.asarray(solution.policy)
    visits = oracles.occupancy(P, policy, INITIAL, 0.9, horizon)
    np.testing.assert_allclose(reverse[0], visits.sum(1), atol=1e-5)
    np.testing.assert_allclose(reverse[0], mdps.occupancy(mdp, solution.policy).sum(1), atol=1e-10)
    plain = jax.jit(f)
    for i in range(3):

        def moved(x, i=i):
            return float(plain(*at_point[:i], jnp.asarray(x), *at_point[i + 1 :]))

        np.testing.assert_allclose(reverse[i], oracles.central(moved, at_point[i]), rtol=1e-6, atol=1e-6)
    # The probabilities: along one direction, which also is the forward mode's check.
    rng = np.random.default_rng(5)
    direction = tuple(jnp.asarray(0.1 * rng.normal(size=x.shape)) for x in at_point)
    forward = jax.jit(lambda *x: jax.jvp(f, x, direction)[1])(*at_point)
    inner = sum(jnp.vdot(g, d) for g, d in zip(reverse, direction))
    np.testing.assert_allclose(forward, inner, rtol=1e-9)
    h = 1e-6
    ahead, back = (plain(*(x + s * h * d for x, d in zip(at_point, direction))) for s in (1, -1))
    np.testing.assert_allclose(forward, (ahead - back) / (2 * h), rtol=1e-5)


@pytest.mark.parametrize("horizon", [None, T])
def test_second_derivatives_agree_in_every_nesting(x64, horizon):
    def f(x):
        return value_of(horizon, x[:S], x[S], model(horizon=horizon).discount, model(horizon=horizon).probability)

    x = jnp.asarray(np.append(REWARD, 0.5))
    gradient = jax.jit(jax.grad(f))
    numeric = np.stack([(gradient(x + e) - gradient(x - e)) / 2e-5 for e in 1e-5 * np.eye(S + 1)])
    nestings = [jax.jacfwd(jax.grad(f)), jax.jacrev(jax.grad(f))]
    for hessian in nestings if horizon is None else [*nestings, jax.jacfwd(jax.jacfwd(f))]:
        result = jax.jit(hessian)(x)
        np.testing.assert_allclose(result, numeric, atol=1e-5 * np.abs(numeric).max())
        np.testing.assert_allclose(result, result.T, atol=1e-8)


def test_the_policy_has_a_derivative_when_soft(x64):
    def policy(x):
        return mdps.solve(model(), x[:S], temperature=x[S], tol=1e-12).policy

    x = jnp.asarray(np.append(REWARD, 0.5))
    forward, reverse, plain = jax.jit(jax.jacfwd(policy))(x), jax.jit(jax.jacrev(policy))(x), jax.jit(policy)
    numeric = np.stack([(plain(x + e) - plain(x - e)) / 2e-5 for e in 1e-5 * np.eye(S + 1)], axis=-1)
    np.testing.assert_allclose(forward, numeric, atol=1e-6)
    np.testing.assert_allclose(reverse, numeric, atol=1e-6)


def test_the_hard_gradient_is_the_occupancy_of_shared_ties(x64):
    f = jax.jit(jax.grad(lambda r: model().initial @ mdps.solve(model(), r).value))
    exact = oracles.optimal_policy(P, REWARD, 0.9)
    np.testing.assert_allclose(f(jnp.asarray(REWARD)), oracles.occupancy(P, exact, INITIAL, 0.9).sum(1), atol=1e-8)
    uniform = np.full((S, A), 1 / A)
    np.testing.assert_allclose(f(jnp.zeros(S)), oracles.occupancy(P, uniform, INITIAL, 0.9).sum(1), atol=1e-8)


@pytest.mark.parametrize("options", [{}, {"temperature": 0.4}])
def test_nested_vmaps_over_rewards_and_mdps_equal_loops(x64, options):
    """Maps over rewards, over MDPs of different sizes, and both nested either way round."""
    rng = np.random.default_rng(6)
    sizes, gammas = (6, 4, 2), (0.9, 0.5, 0.97)
    dense = [oracles.random_mdp(rng, S=s) for s in sizes]
    stacked = mdps.stack([mdps.MDP.from_dense(*d, discount=g) for d, g in zip(dense, gammas)])
    rewards = jnp.asarray(rng.normal(size=(4, 6)))
    temperature = options.get("temperature", 0.0)
    one = lambda m, r: mdps.solve(m, r, tol=1e-10, **options).value  # noqa: E731
    outer = jax.jit(jax.vmap(lambda m: jax.vmap(lambda r: one(m, r))(rewards)))(stacked)
    for i, (s, g) in enumerate(zip(sizes, gammas)):
        for j in range(4):
            exact = oracles.policy_iteration(dense[i][0], np.asarray(rewards)[j, :s], g, temperature)
            np.testing.assert_allclose(outer[i, j, :s], exact, atol=1e-9)
    if options:
        return
    inner = jax.jit(jax.vmap(lambda r: jax.vmap(lambda m: one(m, r))(stacked)))(rewards)
    np.testing.assert_allclose(outer, jnp.swapaxes(inner, 0, 1), atol=1e-9)
    pairs = jax.jit(jax.vmap(one))(stacked, rewards[:3])
    np.testing.assert_allclose(pairs, outer[np.arange(3), np.arange(3)], atol=1e-9)


@pytest.mark.parametrize("temperature", [0.0, 0.3])
def test_mixed_precision_is_as_exact(x64, temperature):
    """Enough columns that most sweeps run in float32: float64 tolerances hold all the same."""
    rng, mdp = np.random.default_rng(8), model()
    rewards = rng.normal(size=(12_000, S)) * np.logspace(-9, 9, 12_000)[:, None]
    rewards[0], rewards[-1] = 1e-60, 1e60  # below and above what float32 can hold
    solve = jax.jit(jax.vmap(lambda r, tol: mdps.solve(mdp, r, temperature=temperature, tol=tol)))
    scale = np.maximum(np.abs(rewards).max(1), temperature)
    solution = solve(jnp.asarray(rewards), jnp.asarray(1e-11 * scale))
    assert np.all(solution.converged)
    for i in [0, *range(1, 12_000, 503), 11_999]:
        exact = oracles.policy_iteration(P, rewards[i], 0.9, temperature)
        assert np.abs(solution.value[i] - exact).max() <= float(solution.error_bound[i]) <= 1e-11 * scale[i]


def test_gradients_under_vmap_equal_loops(x64):
    mdp = model()
    gradient = jax.grad(lambda r: mdp.initial @ mdps.solve(mdp, r, temperature=0.5, tol=1e-12).value)
    rewards = jnp.asarray(np.random.default_rng(7).normal(size=(3, S)))
    batch = jax.jit(jax.vmap(gradient))(rewards)
    for r, g in zip(rewards, batch):
        policy = oracles.optimal_policy(P, r, 0.9, 0.5)
        np.testing.assert_allclose(g, oracles.occupancy(P, policy, INITIAL, 0.9).sum(1), atol=1e-8)


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_the_smallest_problems(x64, temperature):
    bonus = temperature * np.log(2)
    one = mdps.MDP.from_dense(np.ones((1, 1, 1)), np.ones((1, 1)), [1.0], discount=0.9)
    assert float(mdps.solve(one, jnp.array([2.0]), temperature=temperature).value[0]) == pytest.approx(20.0)
    two = mdps.MDP.from_dense(np.ones((1, 2, 1)), np.ones((1, 1)), [1.0], discount=0.9)
    assert float(mdps.solve(two, jnp.array([2.0]), temperature=temperature).value[0]) == pytest.approx(20 + 10 * bonus)
    none = mdps.solve(at(0.0), jnp.asarray(REWARD), temperature=temperature)
    np.testing.assert_allclose(none.value, REWARD + temperature * np.log(A), atol=1e-12)
    once = mdps.solve(model(horizon=1), jnp.asarray(REWARD), temperature=temperature)
    np.testing.assert_allclose(once.value, REWARD + temperature * np.log(A), atol=1e-12)
    assert once.policy.shape == (1, S, A)


@pytest.mark.parametrize("zero", [{}, {"temperature": 0}, {"temperature": jnp.asarray(0.0)}])
def test_the_whole_call_under_jit(zero):
    reward = jnp.asarray([0.0, 0.0, 1.0])
    grid = mdps.GridWorld.from_text("S.G", {"S": "floor", ".": "floor", "G": "goal"}, discount=0.5)
    for solve in (jax.jit(lambda r: mdps.solve(grid.mdp, r, **zero)), lambda r: mdps.solve(grid.mdp, r, **zero)):
        assert solve(reward).value.tolist() == pytest.approx([0.5, 1.0, 2.0])
        assert bool(solve(reward).converged)


def test_traced_values_never_recompile(x64):
    traces = []

    @jax.jit
    def value(r, tol, temperature, gamma):
        traces.append(r.shape)
        return mdps.solve(model().replace(discount=gamma), r, tol=tol, temperature=temperature).value

    for tol, temperature, gamma in ((1e-6, 0.1, 0.9), (1e-3, 1.0, 0.5), (1e-9, 3.0, 0.99)):
        value(jnp.asarray(REWARD), tol, temperature, gamma)
    assert len(traces) == 1
    # Called outside jit, too: the compiled solver is found again for new values, of any Python type.
    from mdps.solvers import _solve

    mdps.solve(at(0.9), jnp.asarray(REWARD), tol=1e-5, temperature=0.2)
    mdps.solve(at(0.9), jnp.asarray(REWARD), tol=1e-5)
    size = _solve._cache_size()
    mdps.solve(at(0.5), jnp.asarray(2 * REWARD), tol=1e-4, temperature=0.7)
    mdps.solve(at(0.8), jnp.asarray(-REWARD), tol=1e-3)
    assert _solve._cache_size() == size


@settings(max_examples=10)
@given(index=st.integers(0, S - 1), bad=st.sampled_from([np.nan, np.inf, -np.inf]))
def test_rewards_that_are_not_finite_are_refused(index, bad):
    reward = np.zeros(S)
    reward[index] = bad
    with pytest.raises(ValueError, match=rf"reward is {bad} at index \({index},\)"):
        mdps.solve(model(), reward)


@pytest.mark.parametrize(
    ("reward", "options", "message"),
    [
        (np.zeros(S + 1), {}, r"reward has shape \(7,\); with S=6 states and A=3 actions"),
        (np.zeros((A, S)), {}, r"reward has shape \(3, 6\)"),
        (np.zeros(S), {"temperature": -1.0}, r"temperature is -1\.0"),
        (np.zeros(S), {"temperature": np.nan}, r"temperature is nan"),
        (np.zeros(S), {"tol": 0.0}, r"tol is 0\.0; give a positive number"),
        (np.zeros(S), {"tol": -1e-3}, r"tol is -0\.001"),
    ],
)
def test_bad_arguments_are_named(reward, options, message):
    with pytest.raises(ValueError, match=message):
        mdps.solve(model(), reward, **options)
