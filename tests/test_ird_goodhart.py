"""Pressure on a written reward: golden numbers, the early stop on random MDPs, and the four variants' tests."""

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from matplotlib import pyplot
from scipy.optimize import linprog, nnls

import mdps
from ird import alignment, goodhart
from ird.flows import visitable
from ird.goodhart._tangent import dense_flow, rising, shares_of_flow
from mdps import MDP, GridWorld

TOLERANCE = {"float32": 1e-3, "float64": 1e-6}
EXTREMAL = (0.987, 1.514013, 2.026278, 2.407593, 2.604927, 2.556036, 2.192496, 1.43736, 0.062557, -5.333)
MATRIX = {  # T1 to T4
    "regressional": (False, True, False, False),
    "extremal": (True, True, False, True),
    "causal": (False, False, False, False),
    "adversarial": (True, None, True, True),
}


def test_best_of_n_has_its_golden_divergence_and_the_bound_is_one(dtype):
    n, within = jnp.asarray([4.0], dtype), TOLERANCE[dtype.name]
    for values, p, kl in (
        (np.arange(4.0), np.full(4, 1 / 4), 0.590310),
        (np.arange(1000.0), np.full(1000, 1e-3), 0.636294),
        (np.arange(2.0), np.array([0.9, 0.1]), 0.217398),
    ):
        curve = goodhart.best_of(values.astype(dtype), values.astype(dtype), np.log(p).astype(dtype), n)
        assert curve.kl.dtype == dtype and float(curve.kl[0]) == pytest.approx(kl, abs=max(within, 1e-6))
        assert float(curve.kl[0]) <= float(goodhart.kl_bound(n)[0]) + within
    assert float(goodhart.kl_bound(4)) == pytest.approx(math.log(4) - 3 / 4, abs=1e-6)


def test_regressional_selection_pays_half_of_what_it_seems_to(dtype):
    world, within = goodhart.regressional(), TOLERANCE[dtype.name]
    curve = goodhart.best_of(world.proxy, world.true, world.log_weights, jnp.asarray([2.0, 4, 8, 16, 64]))
    np.testing.assert_allclose(curve.true, [0.320988, 0.582838, 0.785542, 0.923288, 0.999734], atol=within)
    np.testing.assert_allclose(curve.proxy[:2], 2 * np.asarray(curve.true[:2]), atol=within)
    p = np.exp(np.asarray(world.log_weights))
    for v in range(-2, 3):
        here = np.asarray(world.proxy) == v
        assert p[here] @ np.asarray(world.true)[here] / p[here].sum() == pytest.approx(v / 2, abs=within)
    assert float(curve.drop) == 0 and float(curve.peak) == 64


def test_extremal_truth_has_its_golden_curve_peak_and_drop(dtype):
    world, within = goodhart.extremal(), TOLERANCE[dtype.name]
    n = jnp.asarray([1.0, 2, 4, 8, 16, 32, 64, 128, 256, 1024])
    curve = goodhart.best_of(world.proxy, world.true, world.log_weights, n)
    np.testing.assert_allclose(curve.true[:-1], EXTREMAL[:-1], atol=within)
    assert float(curve.true[-1]) == pytest.approx(EXTREMAL[-1], abs=5e-4)  # the last is given to three digits
    every = goodhart.best_of(world.proxy, world.true, world.log_weights, jnp.arange(1.0, 101))
    assert float(every.peak) == 20 and float(jnp.max(every.true)) == pytest.approx(2.620081, abs=within)
    assert float(every.drop) == pytest.approx(2.620081 - float(every.true[-1]), abs=within)
    assert float(every.relative_drop) == pytest.approx(float(every.drop) / 13, abs=within)
    assert world.diagnose().correlation == pytest.approx(0.818, abs=5e-4)


def test_causal_association_is_not_what_setting_does(dtype):
    world, within = goodhart.causal(), TOLERANCE[dtype.name]
    p, bit, u = np.exp(np.asarray(world.log_weights)), np.asarray(world.proxy), np.asarray(world.true)
    for value, mean in ((1, 0.827273), (0, 0.1)):
        assert p[bit == value] @ u[bit == value] / p[bit == value].sum() == pytest.approx(mean, abs=within)
    curve = goodhart.best_of(world.proxy, world.true, world.log_weights, jnp.asarray([2.0, 8, 64]))
    np.testing.assert_allclose(curve.true, [0.68, 0.82605, 0.827273], atol=within)
    found = world.diagnose()
    assert found.optimised[1] == 0.5 and found.selected == pytest.approx(0.827273, abs=within)
    assert found.fall == pytest.approx(0, abs=within) and "no better than the reference" in str(found)
    costly = goodhart.causal(cost=0.3).diagnose()
    assert costly.falls and costly.verdict == "causal"


def test_adversaries_fake_where_it_pays(dtype):
    for cost in (0.1, 0.4, 0.49):
        assert float(goodhart.adversarial(cost).optimised_true) == -1
    for cost in (0.51, 0.9, 3.0):
        world = goodhart.adversarial(cost)
        assert float(world.optimised_true) == 1
        found = world.diagnose()
        assert found.verdict == "adversarial" and not found.falls


def test_the_matrix_of_four_tests_tells_the_four_variants_apart(dtype):
    for name, tests in MATRIX.items():
        found = getattr(goodhart, name)().diagnose()
        assert found.tests == tests and found.verdict == name and found.candidates == (name,), str(found)
        others = [row for other, row in MATRIX.items() if other != name]
        assert all(any(a is not None and b is not None and a != b for a, b in zip(tests, row)) for row in others)


def test_a_diagnosis_says_what_it_cannot_tell():
    world = goodhart.extremal()
    scores = (world.proxy, world.true, world.log_weights)
    blind = goodhart.diagnose(*scores)
    assert blind.tests == (True, None, None, True) and set(blind.candidates) == {"extremal", "causal", "adversarial"}
    assert "give optimised=" in str(blind) and "give by_payoff" in str(blind) and "cannot tell between" in str(blind)
    assert goodhart.diagnose(*scores, optimised=(10.0, -10.0)).candidates == ("extremal", "adversarial")
    fine = goodhart.diagnose(*scores, optimised=(3.0, 3.0), by_payoff=[3.0, 3.0], rare=0.01)
    assert fine.verdict == "no Goodhart seen" and fine.selected < 3  # by selection the score owes some to the 10
    noisy = goodhart.regressional()
    both = goodhart.diagnose(noisy.proxy, noisy.true, optimised=([1.0, 2.0], [2.5, 1.0]), by_payoff=[1.0, 1.0])
    assert both.verdict == "regressional and extremal"
    low = goodhart.diagnose(*scores, optimised=(0.1, 0.1))
    assert low.alike is None and "below the reference's mean" in str(low)


def brute_best_of(v, p, n):
    """The chances of best-of-n by listing every draw, ties shared by the reference."""
    chance = np.zeros(len(v))
    for draw in itertools.product(np.flatnonzero(p), repeat=n):
        best = v == v[list(draw)].max()
        chance += np.prod(p[list(draw)]) * np.where(best, p, 0) / p[best].sum()
    return chance


def test_best_of_n_is_what_listing_every_draw_gives(dtype):
    rng = np.random.default_rng(0)
    for _ in range(5):
        v, p = rng.integers(0, 3, 5).astype(dtype), rng.dirichlet(np.ones(5))
        p[rng.integers(5)] = 0
        p /= p.sum()
        with np.errstate(divide="ignore"):
            log_p = np.log(p).astype(dtype)
        for n in (1, 2, 4):
            found = goodhart.best_of_chances(v, log_p, float(n))
            np.testing.assert_allclose(found, brute_best_of(v, p, n), atol=1e-6)
    many = goodhart.best_of_chances(np.arange(1000, dtype=dtype), np.full(1000, -np.log(1000), dtype), 1e8)
    assert float(many[-1]) == pytest.approx(1, abs=1e-6) and float(jnp.sum(many)) == pytest.approx(1, abs=1e-5)


@pytest.mark.usefixtures("x64")
def test_curves_are_differentiated_and_mapped():
    rng = np.random.default_rng(1)
    v, true = np.array([0.0, 1, 1, 2, 5]), rng.normal(size=5)
    logits = rng.normal(size=5)

    def end(kind, pressure, logits, true):
        return kind(v, true, jax.nn.log_softmax(logits), pressure).true

    for kind, pressure in ((goodhart.best_of, 3.0), (goodhart.regularised, 0.7)):
        slopes = jax.jit(jax.grad(lambda *x, kind=kind: end(kind, *x), (0, 1, 2)))(jnp.asarray(pressure), logits, true)
        for i, x in enumerate((np.asarray(pressure), logits, true)):
            for j in np.ndindex(x.shape):
                h = np.zeros(x.shape)
                h[j] = 1e-6
                args = [np.asarray(pressure), logits, true]
                up, down = (end(kind, *[a + s * h if k == i else a for k, a in enumerate(args)]) for s in (1, -1))
                assert float(slopes[i][j]) == pytest.approx(float(up - down) / 2e-6, abs=1e-6)
    many = jax.vmap(lambda w: goodhart.best_of(v, w, jax.nn.log_softmax(logits), jnp.asarray([2.0, 4.0])))(
        jnp.stack([true, -true])
    )
    np.testing.assert_allclose(many.true[0], -many.true[1])
    assert "of a batch" in str(many) and many.drop.shape == ()


@pytest.mark.usefixtures("x64")
def test_regularised_policies_are_soft_plans_of_one_state():
    rng = np.random.default_rng(2)
    features = rng.normal(size=(12, 3))
    choice = goodhart.answers(features, feature_names=("a", "b", "c"))
    written, meant = rng.normal(size=(2, 3))
    taus = np.array([5.0, 1.0, 0.1, 0.0])
    one = goodhart.by_temperature(choice, written, meant, taus)
    two = goodhart.regularised(features @ written, features @ meant, np.full(12, -np.log(12)), taus)
    for name in ("pressure", "proxy", "true", "kl", "span"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-4, atol=1e-5)
    assert float(two.kl[-1]) == pytest.approx(np.log(12), abs=1e-5)
    cold = goodhart.regularised([0.0, 1.0, 1.0], [0.0, 3.0, 5.0], np.log([0.5, 0.125, 0.375]), 0.0)
    assert float(cold.true) == pytest.approx(4.5, abs=1e-5)


def boat_race():
    """A ring of eight cells with an arrow in the middle of each side: +3 for entering one its way, -1 a step.

    Meant: +1 for a step clockwise, -1 for any other (AI Safety Gridworlds; Leike et al. 2017).
    """
    ring = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]  # clockwise, from the start
    P, written, meant = np.zeros((8, 4, 8)), np.full((8, 4), -1.0), np.full((8, 4), -1.0)
    for (s, (r, c)), (a, (dr, dc)) in itertools.product(enumerate(ring), enumerate([(-1, 0), (0, 1), (1, 0), (0, -1)])):
        to = ring.index((r + dr, c + dc)) if (r + dr, c + dc) in ring else s
        P[s, a, to] = 1
        clockwise = to == (s + 1) % 8
        written[s, a] += 3 * (clockwise and to % 2)
        meant[s, a] = 1 if clockwise else -1
    return MDP.from_dense(P, np.stack([written, meant], axis=-1), np.eye(8)[0], horizon=100)


BOAT = [(-62.12, -50.00), (-54.73, -44.08), (-42.87, -34.43), (-22.78, -17.66), (10.33, 11.40), (41.20, 40.38),
        (50.00, 49.01), (50.00, 49.01)]  # fmt: skip


@pytest.mark.usefixtures("x64")
def test_the_boat_race_has_its_golden_curve_without_a_drop():
    mdp, taus = boat_race(), np.array([1e6, 10, 4, 2, 1, 0.5, 0.2, 0.01])
    curve = goodhart.by_temperature(mdp, np.array([1.0, 0]), np.array([0, 1.0]), taus)
    np.testing.assert_allclose(np.stack([curve.proxy, curve.true], axis=1), BOAT, atol=5.1e-3)
    assert float(curve.relative_drop) < 1e-6 and float(curve.kl[0]) < 1e-6
    assert float(curve.true[-1]) == pytest.approx(49.0099, abs=1e-4)  # of soft plans the limit
    hard = goodhart.by_temperature(mdp, np.array([1.0, 0]), np.array([0, 1.0]), 0.0)
    assert float(hard.true) == pytest.approx(49, abs=1e-6) and float(hard.pressure) == np.inf
    span = alignment.performance(mdp, np.array([1.0, 0]), np.array([0, 1.0]))
    np.testing.assert_allclose([span.lowest, span.highest], [0, 100], atol=1e-6)


@pytest.mark.usefixtures("x64")
def test_the_divergence_of_a_temperature_is_that_of_its_runs():
    grid = GridWorld.from_text("aSb", {"a": "left", "S": "mid", "b": "right"}, horizon=3, goal=None, slip=0.2)
    written, meant = grid.weights(left=1.0), grid.weights(right=1.0)
    curve = goodhart.by_temperature(grid.mdp, written, meant, [0.5])
    policy = np.asarray(mdps.solve(grid.mdp, grid.mdp.reward(written), temperature=0.5).policy)
    P, kl = np.asarray(grid.mdp.to_dense()), 0.0
    for actions, states in itertools.product(
        itertools.product(range(4), repeat=3), itertools.product(range(3), repeat=3)
    ):
        p, ratio = float(grid.mdp.initial[states[0]]), 0.0
        for t in range(3):
            p *= policy[t, states[t], actions[t]] * (P[states[t], actions[t], states[t + 1]] if t < 2 else 1)
            ratio += np.log(policy[t, states[t], actions[t]] * 4)
        kl += p * ratio
    assert float(curve.kl[0]) == pytest.approx(kl, abs=1e-9)
    runs = goodhart.path_returns(grid.mdp, written, meant, policy=policy)
    p = np.exp(np.asarray(runs.log_weights))
    np.testing.assert_allclose([p @ runs.proxy, p @ runs.true], [curve.proxy[0], curve.true[0]], atol=1e-8)
    limits = [float(goodhart.by_temperature(grid.mdp, written, meant, t).kl[0]) for t in ([1e6], [100.0])]
    assert 0 <= limits[0] < limits[1] < 1e-2


def drawn(rng, S=None, A=None):
    """A random MDP with a written and a meant reward, as the specification draws them: 4-8 states, 2-3 actions."""
    S, A = S or int(rng.integers(4, 9)), A or int(rng.integers(2, 4))
    P = rng.dirichlet(np.full(S, 0.3), (S, A))
    P = np.maximum(P, 1e-12)
    return MDP.from_dense(
        P / P.sum(axis=2, keepdims=True),
        rng.normal(size=(S, A, 2)),
        np.full(S, 1 / S),
        discount=float(rng.choice([0.5, 0.7, 0.9, 0.99])),
    )


@pytest.mark.usefixtures("x64")
def test_the_direction_is_that_of_non_negative_least_squares_and_of_a_quadratic_program():
    rng = np.random.default_rng(3)
    for _ in range(200):
        mdp = drawn(rng, 5, 3)
        flow = dense_flow(*visitable(mdp))
        basis = shares_of_flow(flow)
        N = np.eye(15) - basis @ basis.T
        c = N @ rng.normal(size=15)
        c /= np.linalg.norm(c)
        zero = rng.random(15) < 0.6
        t, _ = rising(N, c, zero)
        y, size = nnls(N[:, zero], -c)
        np.testing.assert_allclose(t, N @ c + N[:, zero] @ y, atol=1e-9)
        assert np.linalg.norm(t) == pytest.approx(size, abs=1e-9)
        assert (t[zero] >= 0).all() and np.abs(flow @ t).max() < 1e-9 and c @ t == pytest.approx(t @ t, abs=1e-9)


@pytest.mark.usefixtures("x64")
def test_the_ascent_ends_at_the_best_of_a_linear_program_and_its_slopes_do_not_rise():
    rng = np.random.default_rng(4)
    for _ in range(100):
        mdp = drawn(rng, 5, 3)
        path = goodhart.ascend(mdp, np.array([1.0, 0]))
        live, moved = visitable(mdp)
        flow = dense_flow(live, moved)
        R = np.asarray(mdp.features)[..., 0][live]
        best = linprog(-R, A_eq=flow, b_eq=(1 - float(mdp.discount)) * np.asarray(mdp.initial))
        end = np.asarray(path.occupancies)[-1][live]
        assert R @ end == pytest.approx(-best.fun, abs=1e-8) and bool(path.converged)
        slopes, proxy = np.asarray(path.slopes), np.asarray(path.proxy)
        assert (
            (np.diff(slopes) <= 1e-9).all()
            and slopes[0] <= float(path.length) + 1e-9
            and (np.diff(proxy) > -1e-9).all()
        )
        assert float(path.length) == pytest.approx(float(alignment.geometry(mdp).norm(np.array([1.0, 0]))), abs=1e-8)
        visits = np.asarray(path.occupancies)
        np.testing.assert_allclose(visits.sum(axis=(1, 2)), 1, atol=1e-9)
        policy = path.policy(len(slopes) - 1)
        exact = mdps.policy_return(mdp, policy, mdp.reward(np.array([1.0, 0])))
        assert float(exact) == pytest.approx(proxy[-1], abs=1e-6 * float(mdp.total_visits))


class Climb(NamedTuple):
    """An ascent in a random MDP, a meant reward of length one at an angle θ from the written one, and its returns."""

    path: goodhart.Path
    features: np.ndarray
    gram: np.ndarray
    angle: float
    returns: np.ndarray


@pytest.fixture(scope="module")
def climbs():
    """A thousand random MDPs, θ uniform on (0, π/2)."""
    rng, found = np.random.default_rng(20), []
    with jax.enable_x64(True):
        for _ in range(1000):
            mdp = drawn(rng)
            path, G = goodhart.ascend(mdp, np.array([1.0, 0])), np.asarray(alignment.geometry(mdp).gram)
            theta = rng.uniform(0, np.pi / 2)
            across = np.array([-G[0, 1] / G[0, 0], 1.0]) * rng.choice([-1, 1])
            true = np.array([np.cos(theta) / np.sqrt(G[0, 0]), 0]) + np.sin(theta) * across / np.sqrt(
                across @ G @ across
            )
            features = np.asarray(mdp.features)
            found.append(Climb(path, features, G, theta, np.sum(path.occupancies * (features @ true)[None], (1, 2))))
    return found


@pytest.mark.usefixtures("unannotated_throughout", "x64")
def test_no_reward_of_the_cone_falls_before_the_early_stop(climbs):
    kept, whole, gains = 0, 0, []
    for climb in climbs:
        stop = int(climb.path.stop(climb.angle))
        along = np.diff(climb.returns)
        kept += bool((along[:stop] < -1e-9).any())
        whole += bool((along < -1e-9).any())
        gains.append((climb.returns[stop] - climb.returns[0], climb.returns[-1] - climb.returns[0]))
        assert (np.diff(climb.path.slopes) <= 1e-8).all() and bool(climb.path.converged)
        assert int(climb.path.stop(np.pi / 2)) == 0 == int(climb.path.stop(2.5))
    assert kept == 0
    assert 300 < whole < 700  # without it, about half of them fall somewhere
    stopped, ended = np.array(gains).T
    assert (stopped >= -1e-9).all() and 0 < stopped.mean() < ended.mean() and (ended < 0).sum() > 20


@pytest.mark.usefixtures("unannotated_throughout", "x64")
def test_at_every_stop_the_worst_reward_of_the_cone_would_have_fallen(climbs):
    met = 0
    for climb in climbs[:300]:
        stop, visits = int(climb.path.stop(climb.angle)), np.asarray(climb.path.occupancies)
        if stop == len(visits) - 1:
            continue
        t = (visits[stop + 1] - visits[stop]).ravel()
        t /= np.linalg.norm(t)
        # The written reward's canonical form, from the steepest direction of all: within the span of directions.
        mdp = climb.path.mdp
        basis = shares_of_flow(dense_flow(*visitable(mdp)))
        c = climb.features[..., 0].ravel()
        c = c - basis @ (basis.T @ c)
        c /= np.linalg.norm(c)
        across = t - (t @ c) * c
        worst = np.cos(climb.angle) * c - np.sin(climb.angle) * across / np.linalg.norm(across)
        assert worst @ t < 0
        met += 1
    assert met > 100


@pytest.mark.usefixtures("unannotated_throughout", "x64")
def test_drops_are_more_and_deeper_the_larger_the_angle(climbs):
    rows = []
    for climb in climbs:  # the negative of a meant reward is at the angle π - θ
        for angle, returns in ((climb.angle, climb.returns), (np.pi - climb.angle, -climb.returns)):
            rows.append((np.degrees(angle), returns.max() - returns[-1]))
    angles, drops = np.array(rows).T
    edges = (0, 30, 60, 90, 120, 180)
    inside = [drops[(angles >= low) & (angles < high)] for low, high in itertools.pairwise(edges)]
    heights = [x.mean() for x in inside]
    assert heights == sorted(heights)
    near, middle, *_, opposite = ((x > 1e-3).mean() for x in inside)
    assert near < middle < opposite and opposite > 0.95


@pytest.mark.usefixtures("x64")
def test_iterates_of_another_optimiser_are_stopped_by_the_same_rule():
    rng, stopped = np.random.default_rng(6), 0
    for _ in range(20):
        mdp = drawn(rng, 6, 3)
        shape, written = alignment.geometry(mdp), np.array([1.0, 0])
        iterates = soft(mdp, written)
        path = goodhart.along(mdp, written, iterates)
        for _ in range(10):
            true = rng.normal(size=2)
            stop = int(path.stop(shape.angle(written, true)))
            returns = np.asarray(path.returns(true))
            assert (np.diff(returns[: stop + 1]) >= -1e-9).all()
            assert float(path.drop(true, stop)) <= 1e-9 <= float(path.drop(true)) + 1e-6
            stopped += 0 < stop < 11
    exact = [float(mdps.policy_return(mdp, x, mdp.reward(true))) for x in iterates]
    np.testing.assert_allclose(returns, exact, atol=1e-6 * float(mdp.total_visits))
    assert 0 <= float(path.relative_drop(true)) <= 1
    assert stopped > 10


@jax.jit
def soft(mdp, written):
    return jax.vmap(lambda t: mdps.solve(mdp, mdp.reward(written), temperature=t).policy)(jnp.geomspace(30, 0.03, 12))


@pytest.mark.usefixtures("unannotated_throughout", "x64")
def test_an_ascent_that_starts_in_a_corner_of_a_deterministic_map_ends_at_the_best():
    rng = np.random.default_rng(8)
    for i in range(60):
        P, reward = np.eye(10)[rng.integers(0, 10, (10, 4))], rng.integers(-1, 3, (10, 4)).astype(float)
        initial, gamma = np.eye(10)[0] if i % 2 else np.full(10, 0.1), float(rng.choice([0.5, 0.9, 0.99]))
        mdp = MDP.from_dense(P, reward[..., None], initial, discount=gamma)
        path = goodhart.ascend(mdp, np.array([1.0]), start=np.eye(4)[rng.integers(0, 4, 10)])
        best = initial @ oracles.policy_iteration(P, reward, gamma)
        assert float(path.proxy[-1]) == pytest.approx(best, abs=1e-7 / (1 - gamma)) and bool(path.converged)
        assert (np.diff(path.slopes) <= 1e-8).all() and (np.diff(path.proxy) >= -1e-9).all()


@pytest.mark.usefixtures("x64")
def test_states_and_actions_that_are_not_there_do_not_move_the_ascent():
    P = np.eye(4)[np.array([[0, 1], [2, 0], [0, 1], [3, 3]])]
    features = np.arange(8.0).reshape(4, 2, 1)
    available = np.array([[True, True], [True, True], [True, False], [True, True]])
    mdp = MDP.from_dense(P, features, [1.0, 0, 0, 0], discount=0.9, available=available)
    path = goodhart.ascend(mdp, np.array([1.0]))
    visits = np.asarray(path.occupancies)
    assert visits[:, 3].max() == 0 and visits[:, 2, 1].max() == 0
    assert float(path.proxy[-1]) == pytest.approx(float(mdps.optimum(mdp, np.array([1.0])).value), abs=1e-7)
    start = np.array([[1.0, 0], [1, 0], [1, 0], [1, 0]])
    there = goodhart.ascend(mdp, mdp.reward(np.array([1.0])), start=start)
    assert float(there.proxy[0]) == 0 and float(there.proxy[-1]) == pytest.approx(float(path.proxy[-1]))
    nothing = goodhart.ascend(mdp, np.zeros((4, 2)))
    assert nothing.slopes.shape == (1,) and bool(nothing.converged)
    short = goodhart.ascend(mdp, np.array([1.0]), max_steps=1)
    assert not bool(short.converged) and short.slopes.shape == (2,)


def test_float32_ascends_to_the_same_place(dtype):
    mdp = drawn(np.random.default_rng(7), 6, 3)
    assert mdp.features.dtype == dtype
    written, meant = np.array([[1.0, 0], [0, 1]], dtype)
    path = goodhart.ascend(mdp, written)
    assert path.occupancies.dtype == dtype and bool(path.converged)
    best = mdps.optimum(mdp, written).value
    assert float(path.proxy[-1]) == pytest.approx(float(best), rel=TOLERANCE[dtype.name])
    stop = path.stop(alignment.geometry(mdp).angle(written, meant))
    assert float(path.drop(meant, stop)) <= TOLERANCE[dtype.name] * float(mdp.total_visits)


def test_what_does_not_fit_is_refused_by_name():
    grid = GridWorld.from_text("S.G", {"S": "floor", ".": "floor", "G": "goal"}, horizon=4)
    endless, w = grid.mdp.replace(horizon=None, discount=0.9), grid.weights(goal=1.0)
    third = np.log(np.full(3, 1 / 3))
    for call, message in (
        (lambda: goodhart.by_temperature(grid.mdp, np.ones(5), w, [1.0]), "proxy has shape"),
        (lambda: goodhart.by_temperature(grid.mdp, w, w, [-1.0]), "temperatures holds -1"),
        (lambda: goodhart.by_temperature(grid.mdp, w, w, [[1.0]]), "temperatures has shape"),
        (lambda: goodhart.best_of(np.ones(3), np.ones(3), np.zeros(3), 2), "probability of 3"),
        (lambda: goodhart.best_of(np.ones(3), np.ones(2), third, 2), "returns_true has shape"),
        (lambda: goodhart.best_of(np.ones(3), np.ones(3), third, 0.5), "n holds 0.5"),
        (lambda: goodhart.best_of_chances(np.ones(3), third, [1.0, 2.0]), "n has shape"),
        (lambda: goodhart.regularised(np.ones(3), np.ones(3), third, -1.0), "temperatures holds -1"),
        (lambda: goodhart.ascend(grid.mdp, w), "horizon 4"),
        (lambda: goodhart.along(endless, w, np.ones((3, 4))), "policies has shape"),
        (lambda: goodhart.ascend(endless, w).stop(4.0), "angle is 4"),
        (lambda: goodhart.path_returns(endless, w, w), "no horizon"),
        (lambda: goodhart.path_returns(grid.mdp, w, w, most=2), "more than most=2"),
        (lambda: goodhart.answers(np.ones(3)), "features has shape"),
        (lambda: goodhart.causal(-1.0), "cost is -1"),
        (lambda: goodhart.adversarial(0.0), "cost is 0"),
        (lambda: goodhart.diagnose(np.ones(3), np.ones(2)), "give both scores"),
        (lambda: goodhart.diagnose(np.ones(3), np.ones(3), optimised=3.0), "optimised must be two"),
        (lambda: goodhart.diagnose(np.ones(3), np.ones(3), by_payoff=[1.0]), "by_payoff has shape"),
        (lambda: goodhart.diagnose(np.ones(3), np.ones(3), rare=1.0), "rare is 1"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="cannot be traced"):
        jax.jit(lambda w: goodhart.ascend(endless, w).slopes)(w)


def test_temperatures_are_one_program():
    grid = GridWorld.from_text("S.G", {"S": "floor", ".": "floor", "G": "goal"}, horizon=4)
    w, traced = grid.weights(goal=1.0), []

    @jax.jit
    def ends(taus):
        traced.append(None)
        return goodhart.by_temperature(grid.mdp, w, w, taus).true

    for taus in ([1.0, 0.1], [0.5, 0.0], [10.0, 1.0]):
        ends(jnp.asarray(taus))
    assert len(traced) == 1
    both = jax.vmap(lambda x: goodhart.by_temperature(grid.mdp, x, w, jnp.asarray([0.5, 0.0])).true)(jnp.stack([w, -w]))
    np.testing.assert_allclose(both[0], ends(jnp.asarray([0.5, 0.0])), atol=1e-5)
    assert both.shape == (2, 2) and float(both[1, 1]) == 0


@pytest.mark.usefixtures("x64")
def test_a_curve_does_not_depend_on_the_unit_of_its_rewards():
    rng = np.random.default_rng(3)
    mdp = MDP.from_dense(rng.dirichlet(np.ones(4), (4, 3)), rng.normal(size=(4, 3, 2)), np.eye(4)[0], discount=0.99)
    w, other = jnp.array([1.0, 0.5]), jnp.array([0.2, -1.0])
    plain = goodhart.by_temperature(mdp, w, other, [0.1, 0.0])
    for unit in (1e-7, 1e7):
        scaled = goodhart.by_temperature(mdp, unit * w, unit * other, [unit * 0.1, 0.0])
        np.testing.assert_allclose(scaled.true, unit * plain.true, rtol=1e-6)
        np.testing.assert_allclose(scaled.span, unit * plain.span, rtol=1e-6)


def test_a_curve_is_a_table_and_a_picture():
    world = goodhart.extremal()
    curve = goodhart.best_of(world.proxy, world.true, world.log_weights, [1.0, 16.0, 1024.0])
    assert len(str(curve).splitlines()) == 5 and str(curve).endswith("at 16") and "Curve(pressure=" in repr(curve)
    axes = curve.plot()
    written, meant = axes.get_lines()
    np.testing.assert_allclose(written.get_xdata() ** 2, curve.kl, rtol=1e-5)
    np.testing.assert_allclose(meant.get_ydata(), curve.true)
    pyplot.close("all")


@pytest.mark.parametrize("unit", [1e-7, 1.0, 1e7])
def test_neither_a_diagnosis_nor_the_runs_depend_on_the_unit(unit):
    rng = np.random.default_rng(0)
    score, quality = unit * rng.normal(size=(2, 500))  # which have nothing to do with each other
    found = goodhart.diagnose(score, quality, optimised=(9 * unit, 3 * unit))
    assert found.tracks is False and found.alike is None  # nothing in the reference scores 9
    grid = GridWorld.from_text("aSb", {"a": "left", "S": "mid", "b": "right"}, horizon=2, goal=None)
    small = unit * 1e-5
    runs = goodhart.path_returns(grid.mdp, small * grid.weights(left=1.0, right=1.0), grid.weights(left=1.0))
    np.testing.assert_allclose(runs.proxy / small, [0, 1, 1], rtol=1e-6)


def test_an_ascent_that_float64_can_hardly_follow_does_not_say_more_than_it_knows():
    S = 40
    P = np.zeros((S, 2, S))
    for s in range(S):
        P[s, 0, min(s + 1, S - 1)] = P[s, 1, max(s - 1, 0)] = 1
    features = np.zeros((S, 2, 1))
    features[0, 1] = 1
    mdp = MDP.from_dense(P, features, np.eye(S)[0], discount=0.5)  # acting at random is once in 1e20 at the far end
    path = goodhart.ascend(mdp, np.ones(1))
    # Where that is lost in rounding depends on the linear algebra's order of sums; what is called known must be.
    best = float(mdps.optimum(mdp, jnp.ones(1)).value)
    assert float(path.proxy[-1]) == pytest.approx(best, abs=1e-5 if path.converged else 1e-4)
    assert np.all(np.diff(path.proxy) >= -1e-6) and float(path.proxy[-1]) == pytest.approx(2.0, abs=1e-4)


def test_places_that_are_not_on_the_path_are_refused():
    grid = GridWorld.from_text("aSb", {"a": "left", "S": "mid", "b": "right"}, discount=0.5, goal=None)
    meant, path = grid.weights(right=1.0), goodhart.ascend(grid.mdp, grid.weights(left=1.0))
    many = path.slopes.shape[0]
    assert float(path.drop(meant, -1)) == float(path.drop(meant)) == float(path.drop(meant, many - 1))
    assert float(jax.jit(path.drop)(meant, many - 1)) == float(path.drop(meant))
    for odd in (many, -many - 1, 1.5, jnp.arange(2)):
        for call in (lambda i: path.drop(meant, i), path.policy):
            with pytest.raises(ValueError, match="give a whole number, an index into"):
                call(odd)
