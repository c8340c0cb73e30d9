"""What visits are paid, against NumPy, against choices among options, and against plans where there is a table."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdps
from ird import ProxyReward, planning, posterior
from ird.risk import CVaR, Entropic, Mean, MeanCVaR, WorstCase

K = 4
LEGEND = {"S": "dirt", ".": "dirt", "g": "grass", "G": "goal", "l": "lava"}


def belief_without_a_table():
    """A belief of evidence in which the last feature never came, and its proxy."""
    return _belief_in(jnp.asarray(1.0).dtype)


@functools.cache
def _belief_in(dtype, seed=0, visits=10, beta=2.0):
    rng = np.random.default_rng(seed)
    collected = np.insert(rng.normal(size=(50, K - 1)), K - 1, 0.0, axis=1) * 3
    rewards = rng.normal(size=(50, K))
    collected[0] = collected[np.argmax(collected @ rewards[0])]
    proxy = ProxyReward.from_features(0, alternatives=rewards, features=collected, visits=visits, beta=beta)
    return posterior.exact(proxy, candidates=rng.normal(size=(500, K))), proxy


def tail_mean(returns, p, alpha):
    """CVaR by sorting."""
    order = np.argsort(returns)
    before = np.concatenate([[0], np.cumsum(p[order])[:-1]])
    return np.clip(alpha - before, 0, p[order]) @ returns[order] / alpha


def test_pay_is_that_of_numpy_for_visits_of_any_shape(dtype):
    belief, _ = belief_without_a_table()
    assert belief.weights.dtype == dtype
    rng = np.random.default_rng(1)
    met, baseline = rng.normal(size=(3, 5, K)), rng.normal(size=K)
    w, p = np.asarray(belief.weights, float), np.exp(np.asarray(belief.log_weights, float))
    tol = {"rtol": 1e-9, "atol": 1e-12} if dtype == jnp.float64 else {"rtol": 2e-4, "atol": 2e-5}
    units = np.linspace(0.5, 2.0, len(p))
    np.testing.assert_allclose(planning.pay_mean(belief)(met), met @ (p @ w), **tol)
    for given, held in ((None, w), (units, w / units[:, None]))[: 1 + (dtype == jnp.float64)]:
        paid = planning.pay_per_step(belief, risk=CVaR(0.2), baseline=baseline, units=given)
        wanted = [[tail_mean(held @ (row - baseline), p, 0.2) for row in rows] for rows in met]
        np.testing.assert_allclose(paid(met), wanted, **tol)
        np.testing.assert_allclose(paid(met[1, 2]), wanted[1][2], **tol)
    if dtype == jnp.float32:
        return
    key = jax.random.key(3)
    drawn = planning.pay_draw(belief, key=key)
    row = np.flatnonzero((np.asarray(belief.weights) == np.asarray(drawn.weights)).all(axis=1))
    assert len(row) == 1 and p[row[0]] > 0
    np.testing.assert_allclose(drawn(met), met @ w[row[0]], **tol)
    many = jax.vmap(lambda key: planning.pay_draw(belief, key=key).weights)(jax.random.split(key, 4000))
    spread = np.sqrt((p @ (w - p @ w) ** 2) / 4000)
    assert (np.abs(np.asarray(many, float).mean(axis=0) - p @ w) < 5 * spread).all()


def by_hand(belief, proxy, met, visits, give_up, cut):
    """r, u and the price as the page of careful plans has them, from the proxy's features alone."""
    d = np.asarray(belief.prior_sd, float)
    rows, counts = np.asarray(proxy.alternative_features, float), np.asarray(proxy.counts, int)
    info = float(proxy.beta) ** 2 * np.cov(rows.T, bias=True, fweights=counts)
    share, V = np.linalg.eigh(d[:, None] * info * d[None])
    share = np.where(share > 1e-10 * share.max(), share, 0)
    own = np.asarray(proxy.feature_expectations, float) / 10
    ordinary = counts @ rows / counts.sum() / 10
    p, w = np.exp(np.asarray(belief.log_weights, float)), np.asarray(belief.weights, float)
    m0 = np.asarray(belief.prior_mean, float)
    k = m0 + d * (V @ (share / (1 + share) * (V.T @ ((p @ w - m0) / d))))
    left = np.linalg.norm((met - own) * d @ V / (1 + share), axis=-1)
    u = left / np.linalg.norm((met - own) * d, axis=-1).max()
    gain = own - ordinary
    untold = np.linalg.norm(gain * d @ V / (1 + share)) / np.linalg.norm(gain * d)
    u = np.where((u >= cut) & (u > untold), u, 0)
    r = (met - ordinary) @ k
    return np.where(u > 0, np.minimum(r, 0), r), u, give_up * visits * gain @ k


def test_least_exposure_is_that_of_numpy_and_adds_up_to_what_a_choice_sees(x64):
    belief, proxy = belief_without_a_table()
    rng = np.random.default_rng(2)
    options, often = rng.normal(size=(6, 8, K)), rng.uniform(0.5, 2.0, size=(6, 8))
    paid = planning.pay_least_exposure(belief, met=options, visits=12.0, give_up=0.4)
    r, u, price = by_hand(belief, proxy, options, 12.0, 0.4, 0.05)
    worth, unknown = paid.parts(options)
    np.testing.assert_allclose(unknown, u, atol=1e-9)
    np.testing.assert_allclose(worth, r, atol=1e-9)
    np.testing.assert_allclose(paid.price, price, rtol=1e-9)
    np.testing.assert_allclose(paid(options), r - price * u, atol=1e-9)
    assert (u > 0).any() and (u == 0).any()
    seen = planning.choose(options, belief, visits=often)
    np.testing.assert_allclose((often * np.asarray(worth)).sum(axis=1), seen.values, atol=1e-9)
    np.testing.assert_allclose((often * np.asarray(unknown)).sum(axis=1), seen.unknown, atol=1e-9)
    far = paid.parts(10 * options[:1, :1])[1]
    assert float(far[0, 0]) > 1  # farther than anything that was said to be met
    given = planning.pay_least_exposure(belief, proxy, met=options, price=3)
    np.testing.assert_allclose(given(options), r - 3 * u, atol=1e-9)


def table():
    """A field with lava, and a belief of a training map without."""
    train = mdps.GridWorld.from_text("S.g\nggG", LEGEND, horizon=8)
    field = mdps.GridWorld.from_text("SlG\n...", LEGEND, horizon=8)
    drawn = np.random.default_rng(1).uniform(-1, 1, size=(800, 4))
    written = train.weights(dirt=-0.1, grass=-0.5, goal=1.0)
    rewards = jnp.concatenate([written[None], drawn[:60]])
    proxy = ProxyReward(written, train.mdp, beta=5.0, alternatives=rewards)
    return field, posterior.exact(proxy, candidates=drawn)


def test_an_optimiser_of_pay_finds_the_plans(x64):
    field, belief = table()
    mdp = field.mdp
    careful = planning.plan_least_exposure(mdp, belief)
    paid = planning.pay_least_exposure(belief, met=mdp.features, visits=mdp.total_visits)
    plan = mdps.solve(mdp, paid(mdp.features))
    visits = mdps.occupancy(mdp, plan.policy).sum(axis=1)
    worth, unknown = (float(visits @ x) for x in paid.parts(mdp.features))
    assert float(careful.exposure) < 1e-9 and unknown < 1e-9  # there is a way around
    np.testing.assert_allclose(worth, careful.known, rtol=1e-6)
    literal = mdps.solve(mdp, planning.pay_mean(belief)(mdp.features))
    assert float(mdps.occupancy(mdp, literal.policy).sum(axis=1) @ paid.parts(mdp.features)[1]) > 0.5
    start = planning.start_features(mdp)
    per_step = planning.plan_per_step(mdp, belief, risk=CVaR(0.3), baseline=start)
    own = mdps.solve(mdp, planning.pay_per_step(belief, risk=CVaR(0.3), baseline=start)(mdp.features))
    np.testing.assert_allclose(mdp.initial @ own.value, per_step.objective, atol=1e-8)


@pytest.mark.parametrize("risk", [Mean(), CVaR(0.3), MeanCVaR(0.5, 0.2), WorstCase()], ids=lambda x: type(x).__name__)
def test_pay_per_step_adds_up_to_no_more_than_the_risk_adjusted_return(risk, x64):
    rng = np.random.default_rng(3)
    belief = posterior.exact(candidates=rng.normal(size=(30, K)))
    visits, baseline = rng.normal(size=(20, 9, K)), rng.normal(size=K)
    gamma = 0.9 ** np.arange(9)
    summed = planning.pay_per_step(belief, risk=risk, baseline=baseline)(visits) @ gamma
    whole = np.asarray(belief.weights) @ np.einsum("pvk,v->kp", visits - baseline, gamma)
    ours = risk.value(jnp.asarray(whole.T), belief.log_weights)
    gap = np.asarray(ours - summed)
    assert (gap >= -1e-9).all() and (gap.max() < 1e-9 if isinstance(risk, Mean) else gap.max() > 1)


def test_entropic_pay_may_add_up_to_more(x64):
    """Of a measure that is not coherent: a hundred small risks are not one large one."""
    belief = posterior.exact(candidates=np.array([[1.0], [-1.0]]))
    visits = np.full((100, 1), 0.1)
    summed = planning.pay_per_step(belief, risk=Entropic(1.0), baseline=np.zeros(1))(visits).sum()
    assert float(summed) > float(Entropic(1.0).value(jnp.array([10.0, -10.0]), belief.log_weights)) + 5


def test_pay_can_be_traced_and_keeps_names():
    belief, _ = belief_without_a_table()
    met = np.eye(K, dtype=np.float32)
    paid = planning.pay_least_exposure(belief, met=met, visits=np.float64(10))
    assert paid.feature_names == belief.feature_names and "\n" not in repr(paid)
    jitted = jax.jit(lambda pay, x: pay(x))
    np.testing.assert_allclose(jitted(paid, met), paid(met), rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(paid)(jnp.asarray(met)), paid(met), rtol=1e-5)
    prices = jnp.array([0.0, 1.0, 5.0])
    rows = jax.vmap(lambda price: planning.pay_least_exposure(belief, met=met, price=price)(met))(prices)
    assert (np.diff(np.asarray(rows)[:, -1]) < 0).all()  # the last was never seen


def test_a_price_that_nothing_could_follow_from_is_refused():
    belief, _ = belief_without_a_table()
    met, nothing = np.eye(K, dtype=np.float32), jnp.zeros((0, K))
    bare = dataclasses.replace(belief, told=belief.told | {"normal": nothing, "gains": nothing})
    with pytest.raises(ValueError, match="price is None, but this evidence shows no behaviour"):
        planning.pay_least_exposure(bare, met=met, visits=5)
    assert np.isfinite(planning.pay_least_exposure(bare, met=met, price=1.0)(met)).all()
    idle = dataclasses.replace(belief, told=belief.told | {"gains": jnp.zeros((1, K))})
    with pytest.raises(ValueError, match="the proxy's plan gained nothing"):
        planning.pay_least_exposure(idle, met=met, visits=5)
    with pytest.raises(ValueError, match="one column per feature"):
        planning.pay_least_exposure(belief, met=np.eye(3), visits=5)
    with pytest.raises(ValueError, match="one number per feature last"):
        planning.pay_mean(belief)(np.ones(3))
