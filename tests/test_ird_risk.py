"""Risk measures against sorting, linear programs and their own duals."""

import itertools

import hypothesis.extra.numpy as arrays
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from ird.risk import CVaR, Entropic, Mean, MeanCVaR, WorstCase

N = 12
EPS = {np.dtype(x): float(np.finfo(x).eps) for x in (np.float32, np.float64)}
numbers = st.floats(-100, 100, width=32)
returns_drawn = arrays.arrays(np.float32, N, elements=numbers)
# Whole numbers make ties, and zeros samples that cannot happen.
masses = arrays.arrays(np.int64, N, elements=st.integers(0, 5)).filter(lambda x: x.sum() > 0)
RISKS = [Mean(), CVaR(0.05), CVaR(0.3), CVaR(1.0), MeanCVaR(0.4, 0.25), Entropic(0.7)]


def cvar(returns, p, alpha):
    """Mean of the worst share `alpha`, by sorting."""
    order = np.argsort(returns)
    returns, p = returns[order], p[order]
    taken = np.clip(alpha - (np.cumsum(p) - p), 0, p)
    return taken @ returns / taken.sum()


def twin(risk, returns, p):
    match risk:
        case Mean():
            return p @ returns
        case WorstCase():
            return returns.min()
        case CVaR():
            return cvar(returns, p, risk.alpha)
        case MeanCVaR():
            return (1 - risk.weight) * p @ returns + risk.weight * cvar(returns, p, risk.alpha)
        case Entropic():
            low = returns[p > 0].min()
            return low - np.log(p @ np.exp(-risk.aversion * np.maximum(returns - low, 0))) / risk.aversion


def log(p):
    with np.errstate(divide="ignore"):
        return jnp.asarray(np.log(p))


@pytest.mark.parametrize("risk", RISKS, ids=str)
@given(returns=returns_drawn, mass=masses)
def test_values_agree_with_their_adversaries_and_with_numpy(risk, returns, mass):
    with jax.enable_x64(True):
        returns, p = returns.astype(float), mass / mass.sum()
        log_p = log(p)
        value = float(risk.value(jnp.asarray(returns), log_p))
        scale = 1 + np.abs(returns).max()
        assert value == pytest.approx(twin(risk, returns, p), abs=1e-13 * scale)
        worst = risk.adversary(jnp.asarray(returns), log_p)
        tilt = np.asarray(worst)
        assert tilt.min() >= 0 and tilt.sum() == pytest.approx(1, abs=1e-14)
        assert (tilt <= np.asarray(risk.largest(log_p)) + 1e-14).all()
        assert value == pytest.approx(tilt @ returns + float(risk.penalty(worst, log_p)), abs=1e-13 * scale)
        # No distribution between the belief and the adversary is worse: it is a minimum.
        for share in (0.5, 0.9):
            other = jnp.asarray(share * tilt + (1 - share) * p)
            assert value <= float(other @ jnp.asarray(returns) + risk.penalty(other, log_p)) + 1e-13 * scale


@given(returns=returns_drawn, mass=masses)
def test_cvar_is_the_linear_program_over_its_set(returns, mass):
    p = mass / mass.sum()
    with jax.enable_x64(True):
        value = float(CVaR(0.2).value(jnp.asarray(returns, float), log(p)))
        most = np.asarray(CVaR(0.2).largest(log(p)))
    returns = returns.astype(float)
    found = linprog(returns, A_eq=np.ones((1, N)), b_eq=[1], bounds=list(zip(0 * most, most)))
    assert value == pytest.approx(found.fun, abs=1e-7 * (1 + np.abs(returns).max()))


@given(returns=returns_drawn, mass=masses, shift=numbers)
def test_order_shift_and_scale(returns, mass, shift):
    with jax.enable_x64(True):
        r, log_p = jnp.asarray(returns, float), log(mass / mass.sum())
        values = [float(CVaR(a).value(r, log_p)) for a in (1e-6, 0.1, 0.5, 1.0)]
        close = 1e-12 * (1 + float(jnp.max(jnp.abs(r))) + abs(shift))
        assert values[0] == pytest.approx(float(returns[mass > 0].min()), abs=close)
        assert all(a <= b + close for a, b in itertools.pairwise(values))
        assert values[-1] == pytest.approx(float(Mean().value(r, log_p)), abs=close)
        for risk in RISKS:
            value = float(risk.value(r, log_p))
            assert float(risk.value(r + shift, log_p)) == pytest.approx(value + shift, abs=2 * close)
            assert float(risk.value(r[::-1], log_p[::-1])) == pytest.approx(value, abs=2 * close)


def test_worst_case_is_the_least_draw(dtype):
    returns = jnp.asarray([3.0, -1.0, 2.0, -1.0], dtype)
    log_p = jnp.full(4, -np.log(4.0), dtype)
    assert float(WorstCase().value(returns, log_p)) == -1
    assert WorstCase().adversary(returns, log_p).tolist() == [0, 0.5, 0, 0.5]
    assert WorstCase().adversary(returns.at[2].set(-jnp.inf), log_p).tolist() == [0, 0, 1, 0]


def test_the_worst_case_changes_with_the_worst_sample():
    """Of returns that are computed in the same program, which may round them more than once; ties included."""
    rng = np.random.default_rng(0)
    weights, log_p = rng.normal(size=(N, 3)).astype(np.float32), jnp.full(N, -np.log(N), jnp.float32)
    weights[3] = weights[7]
    slopes = jax.jit(jax.vmap(jax.grad(lambda phi: WorstCase().value(jnp.asarray(weights) @ phi, log_p))))
    plans = np.concatenate([rng.normal(size=(200, 3)), -weights[3:4]]).astype(np.float32)
    np.testing.assert_array_equal(slopes(plans), weights[(plans @ weights.T).argmin(axis=1)])


@pytest.mark.parametrize("risk", [*RISKS, WorstCase()], ids=str)
def test_batch_rows_and_dtypes(risk, dtype):
    rng = np.random.default_rng(3)
    returns = rng.normal(size=(2, 3, 50)).astype(dtype)
    p = np.full(50, 1 / 50)
    log_p = jnp.asarray(np.log(p), dtype)
    value, tilt = risk.value(jnp.asarray(returns), log_p), risk.adversary(jnp.asarray(returns), log_p)
    assert value.shape == (2, 3) and tilt.shape == (2, 3, 50) and value.dtype == tilt.dtype == dtype
    tight = 2e-6 if dtype == np.float32 else 1e-13
    for i, j in itertools.product(range(2), range(3)):
        assert float(value[i, j]) == pytest.approx(twin(risk, returns[i, j].astype(float), p), abs=tight)
    mapped = jax.vmap(lambda r: risk.value(r, log_p))(jnp.asarray(returns[0]))
    np.testing.assert_allclose(mapped, value[0], atol=tight)


def test_float32_tail_of_twenty_thousand():
    rng = np.random.default_rng(0)
    returns, p = rng.normal(size=20_000), rng.dirichlet(np.ones(20_000))
    for alpha in (0.01, 0.3, 1.0):
        value = float(CVaR(alpha).value(jnp.asarray(returns, jnp.float32), jnp.asarray(np.log(p), jnp.float32)))
        assert value == pytest.approx(cvar(returns, p, alpha), abs=3e-6)


@pytest.mark.parametrize("risk", [*RISKS, WorstCase()], ids=str)
def test_derivative_is_the_adversary(risk, x64):
    returns = jnp.asarray(np.random.default_rng(1).normal(size=30))
    log_p = jnp.full(30, -np.log(30.0))
    np.testing.assert_allclose(jax.grad(risk.value)(returns, log_p), risk.adversary(returns, log_p), atol=1e-12)


def test_derivatives_in_the_parameters(x64):
    returns = jnp.asarray(np.random.default_rng(2).normal(size=30))
    log_p = jnp.full(30, -np.log(30.0))
    h = 1e-6
    for make, at in ((CVaR, 0.21), (Entropic, 0.7), (lambda w: MeanCVaR(w, 0.21), 0.4)):
        slope = float(jax.grad(lambda x, make=make: make(x).value(returns, log_p))(at))
        high, low = (float(make(at + d).value(returns, log_p)) for d in (h, -h))
        assert slope == pytest.approx((high - low) / (2 * h), rel=1e-5)


def test_parameters_are_leaves_and_never_recompile():
    traces = []

    @jax.jit
    def value(risk, returns):
        traces.append(None)
        return risk.value(returns, jnp.full(4, -np.log(4.0)))

    for alpha in (0.1, 0.5, 1.0):
        value(CVaR(alpha), jnp.arange(4.0))
    assert len(traces) == 1
    assert jax.tree.leaves(MeanCVaR(0.25, 0.5)) == [0.25, 0.5]
    # Unflattening does not check: JAX puts placeholders where the leaves were.
    assert jax.tree.map(lambda _: None, CVaR(0.1)).alpha is None
    many = jax.vmap(lambda a: CVaR(a).value(jnp.arange(4.0), jnp.full(4, -np.log(4.0))))(jnp.asarray([0.25, 1.0]))
    np.testing.assert_allclose(many, [0.0, 1.5], atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.5, float("nan")])
def test_alpha_outside_its_range(alpha):
    with pytest.raises(ValueError, match=r"alpha is .*share of the probability"):
        CVaR(alpha)
    with pytest.raises(ValueError, match="alpha is"):
        MeanCVaR(0.5, alpha)


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_weight_outside_its_range(weight):
    with pytest.raises(ValueError, match=r"weight is .*against the mean"):
        MeanCVaR(weight, 0.5)


@pytest.mark.parametrize("aversion", [0.0, -1.0, float("inf"), float("nan")])
def test_aversion_outside_its_range(aversion):
    with pytest.raises(ValueError, match=r"aversion is .*use Mean\(\)"):
        Entropic(aversion)


def test_worst_case_refuses_unequal_weights():
    with pytest.raises(ValueError, match=r"equally weighted draws.*belief\.resample"):
        WorstCase().value(jnp.zeros(2), jnp.log(jnp.asarray([0.2, 0.8])))
    with pytest.raises(ValueError, match="equally weighted draws"):
        WorstCase().value(jnp.zeros(2), jnp.asarray([-jnp.inf, 0.0]))


@pytest.mark.parametrize(
    ("returns", "alpha", "value"),
    [
        (np.arange(0.0, -5, -1), 0.25, -3.8),  # .2 of -4 and .05 of -3, over .25
        (np.arange(1.0, 11), 1 - 0.9, 1.0),
        (np.arange(1.0, 51), 0.01, 1.0),  # less than one sample
        (np.arange(1.0, 11), 0.95, 5 / 0.95),
        (np.array([0.0, 0, 0, 5]), 0.6, 0.0),
    ],
)
def test_the_tail_of_a_few_samples_by_hand(returns, alpha, value, dtype):
    equal = jnp.full(returns.shape, -np.log(returns.size))
    found = CVaR(alpha).value(jnp.asarray(returns), equal)
    assert float(found) == pytest.approx(value, rel=8 * EPS[dtype], abs=8 * EPS[dtype])


def test_ties_at_the_quantile_share_the_tail_and_its_derivative(dtype):
    returns, equal = jnp.array([0.0, 0.0, 0.0, 5.0]), jnp.full(4, -np.log(4))
    shares = [1 / 3, 1 / 3, 1 / 3, 0]
    np.testing.assert_allclose(CVaR(0.6).adversary(returns, equal), shares, rtol=8 * EPS[dtype])
    np.testing.assert_allclose(jax.grad(CVaR(0.6).value)(returns, equal), shares, rtol=8 * EPS[dtype])


@pytest.mark.parametrize("impossible", [-100.0, -np.inf, np.inf, np.nan])
@pytest.mark.parametrize(
    ("risk", "value"),
    [
        (CVaR(0.01), 1.0),
        (Mean(), 1.5),
        (MeanCVaR(0.5, 0.01), 1.25),
        (Entropic(1.0), 1.0 - np.log((1 + np.exp(-1)) / 2)),  # 1.3799
    ],
    ids=str,
)
def test_a_return_without_probability_does_not_count(risk, value, impossible, dtype):
    returns, log_p = jnp.array([impossible, 1.0, 2.0]), jnp.log(jnp.array([0.0, 0.5, 0.5]))
    close = {"rel": 8 * EPS[dtype]}
    assert float(risk.value(returns, log_p)) == pytest.approx(value, **close)
    assert float(jax.jit(jax.vmap(risk.value, in_axes=(0, None)))(returns[None], log_p)[0]) == pytest.approx(
        value, **close
    )
    tilt = risk.adversary(returns, log_p)
    assert float(tilt[0]) == 0 and float(tilt.sum()) == pytest.approx(1, **close)
    paid = float(tilt[1:] @ returns[1:] + risk.penalty(tilt, log_p))
    assert paid == pytest.approx(value, rel=32 * EPS[dtype])
    slope = np.asarray(jax.grad(risk.value)(returns, log_p))
    assert slope[0] == 0 and np.isfinite(slope).all()


@pytest.mark.parametrize("eta", [1e-7, 1e-6, 1e-4, 3e-4, 1e-20])
def test_a_tiny_aversion_is_the_mean_less_what_the_variance_costs(eta, dtype):
    """Its mean 1 less η/2 times the variance 2/3: rounding by eps/η gave 2.38 at 1e-7 in float32."""
    returns, equal = jnp.array([0.0, 1.0, 2.0]), jnp.full(3, -np.log(3))
    found = float(Entropic(eta).value(returns, equal))
    assert found == pytest.approx(1 - eta / 3, rel=4 * EPS[dtype])
