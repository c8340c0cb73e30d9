"""Plans near a reference policy, and what a correlation there guarantees, against independent solvers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

import mdps
from ird import ProxyReward, alignment, planning
from mdps import MDP

SELDOM = np.array([[0.5, 0.3, 0.2]])


def bandit(**settings):
    """Three arms that are their own features."""
    return MDP.from_dense(np.ones((1, 3, 1)), np.eye(3)[None], [1.0], **{"discount": 0.5, **settings})


def two_states():
    """Action 0 stays and 1 switches; rewards 0, 1 and 2, 0."""
    P = np.zeros((2, 2, 2))
    P[0, 0, 0] = P[0, 1, 1] = P[1, 0, 1] = P[1, 1, 0] = 1
    return MDP.from_dense(P, np.array([[[0.0], [1.0]], [[2.0], [0.0]]]), [1.0, 0.0], discount=0.5)


def drawn(seed: int, states=None, **settings):
    rng = np.random.default_rng(seed)
    S, A = (rng.integers(2, 12), rng.integers(2, 4)) if states is None else (states, 3)
    P = rng.dirichlet(np.full(S, 0.2), size=(S, A))
    given = {"discount": float(rng.choice([0.5, 0.9, 0.99])), **settings}
    return MDP.from_dense(P, rng.normal(size=(S, A, 2)), rng.dirichlet(np.ones(S)), **given)


def occupancy(mdp, policy) -> np.ndarray:
    """Normalised, [S·A]: NumPy's own."""
    P, gamma = np.asarray(mdp.to_dense(), float), float(mdp.discount)
    policy = np.asarray(policy, float)
    flow = np.eye(len(P)) - gamma * np.einsum("sa,sat->ts", policy, P)
    return (np.linalg.solve(flow, (1 - gamma) * np.asarray(mdp.initial, float))[:, None] * policy).ravel()


def uniform(mdp) -> np.ndarray:
    return np.full((mdp.num_states, mdp.num_actions), 1 / mdp.num_actions)


def paid(mdp, w) -> np.ndarray:
    r = np.asarray(mdp.reward(w), float)
    return np.broadcast_to(r if r.ndim == 2 else r[:, None], (mdp.num_states, mdp.num_actions)).ravel()


def close(dtype) -> float:
    return 1e-6 if dtype == jnp.float64 else 1e-3


@pytest.mark.parametrize(
    ("penalty", "value", "arms"),
    [
        (2.0, 0.7, SELDOM[0]),
        (1.0, 0.7, SELDOM[0]),
        (0.5, 1.039445, [0, 0.26718, 0.73282]),
        (0.25, 1.5, [0, 0, 1]),
        (0.1, 1.8, [0, 0, 1]),
    ],
)
def test_a_penalised_bandit(penalty, value, arms, dtype):
    mdp = bandit()
    plan = planning.plan_correlated(mdp, jnp.array([0.0, 1.0, 2.0]), reference=SELDOM, penalty=penalty)
    np.testing.assert_allclose(plan.objective / mdp.total_visits, value, atol=close(dtype))
    np.testing.assert_allclose(plan.policy[0], arms, atol=max(close(dtype), 6e-6))
    np.testing.assert_allclose(plan.threshold, 0.7810250, atol=close(dtype))
    chi = ((np.array(arms) - SELDOM[0]) ** 2 / SELDOM[0]).sum()
    np.testing.assert_allclose(plan.chi_squared, chi, atol=1e-3)
    assert plan.converged and plan.objective <= plan.bound


@pytest.mark.parametrize(
    ("r", "value", "tilt"), [(0.9, 1.014703, None), (0.7, 0.781025, 1), (0.5, 0.557875, 1), (0.3, 0.334725, 1)]
)
def test_a_guaranteed_bandit(r, value, tilt, dtype):
    plan = planning.plan_correlated(bandit(), jnp.array([0.0, 1.0, 2.0]), reference=SELDOM, correlation=r)
    np.testing.assert_allclose(plan.objective, value, atol=close(dtype))
    np.testing.assert_allclose(plan.policy[0], [0, 3 / 7, 4 / 7] if tilt else [0, 0, 1], atol=close(dtype))
    assert plan.converged
    if tilt:  # as far as nothing but the written reward is followed: t = 1.1157500
        np.testing.assert_allclose(plan.objective / r, 1.1157500, atol=close(dtype))


@pytest.mark.parametrize(("penalty", "value"), [(0.7, 0.625), (0.4, 1.5 - 0.4 * (5 / 3) ** 0.5), (0.2, 1.24180111)])
def test_two_states(penalty, value, dtype):
    mdp = two_states()
    plan = planning.plan_correlated(mdp, jnp.ones(1), penalty=penalty)
    np.testing.assert_allclose(plan.objective / 2, value, atol=close(dtype))
    np.testing.assert_allclose(plan.threshold, 0.684653, atol=close(dtype))
    attained = mdps.policy_return(mdp, plan.policy, mdp.reward(jnp.ones(1)))
    charged = 2 * penalty * float(plan.chi_squared) ** 0.5
    np.testing.assert_allclose(attained - charged, plan.objective, atol=close(dtype))
    np.testing.assert_allclose(plan.gain, attained - 1.25, atol=close(dtype))


def by_convex_programming(mdp, charged) -> float:
    """The most that occupancies attain of an objective, by scipy's trust region from several starts."""
    P, gamma = np.asarray(mdp.to_dense(), float), float(mdp.discount)
    S, A = mdp.num_states, mdp.num_actions
    flow = np.repeat(np.eye(S), A, axis=0).T - gamma * P.reshape(S * A, S).T
    enters = (1 - gamma) * np.asarray(mdp.initial, float)
    start = occupancy(mdp, uniform(mdp))
    rng, best = np.random.default_rng(0), -np.inf
    for near in (0.3, 0.6, 0.9):
        choice = np.eye(A)[rng.integers(0, A, S)]
        x = near * start + (1 - near) * occupancy(mdp, choice)
        found = minimize(
            lambda mu: -charged(mu),
            x,
            method="SLSQP",
            bounds=[(0, None)] * len(x),
            constraints=[{"type": "eq", "fun": lambda mu: flow @ mu - enters, "jac": lambda mu: flow}],
            options={"maxiter": 500, "ftol": 1e-14},
        )
        if np.abs(flow @ found.x - enters).max() < 1e-9:
            best = max(best, -found.fun)
    return best


@pytest.mark.parametrize("seed", range(6))
def test_random_mdps_as_a_general_solver_has_them(seed, x64):
    mdp, w = drawn(seed, states=4), jnp.array([1.0, 0.5])
    nu, reward, total = occupancy(mdp, uniform(mdp)), paid(mdp, w), float(mdp.total_visits)
    chi = lambda mu: np.sqrt(max(((mu - nu) ** 2 / nu).sum(), 1e-300))  # noqa: E731
    threshold = float(planning.plan_correlated(mdp, w, penalty=1e6).threshold)
    for share in (0.99, 0.9, 0.7, 0.5, 0.2):
        penalty = share * threshold
        plan = planning.plan_correlated(mdp, w, penalty=penalty)
        assert plan.converged
        other = by_convex_programming(mdp, lambda mu, penalty=penalty: reward @ mu - penalty * chi(mu))
        # It may stop short; it cannot be above the certificate.
        assert other <= plan.bound / total + 1e-9
        np.testing.assert_allclose(plan.objective / total, other, atol=1e-6)


def test_certificates_hold_and_close_on_every_kind_of_map(x64):
    """One plan for the reward less what the adversary takes proves the same bound."""
    for seed in range(10):
        mdp, w = drawn(seed, states=7), jnp.array([1.0, -0.5])
        nu, reward, total = occupancy(mdp, uniform(mdp)), paid(mdp, w), float(mdp.total_visits)
        threshold = float(planning.plan_correlated(mdp, w, penalty=1e9).threshold)
        for share in (0.95, 0.3, 0.01):
            plan = planning.plan_correlated(mdp, w, penalty=share * threshold)
            mu = occupancy(mdp, plan.policy)
            apart = (mu - nu) / np.sqrt(nu)
            attained = reward @ mu - share * threshold * np.linalg.norm(apart)
            assert plan.objective <= total * attained + 1e-9
            assert plan.bound - plan.objective <= 1e-8 * total * threshold
            taken = share * threshold * apart / np.linalg.norm(apart)
            answered = mdps.solve(
                mdp, jnp.asarray((reward - taken / np.sqrt(nu)).reshape(uniform(mdp).shape)), tol=1e-9
            )
            upper = float(mdp.initial @ answered.value) + total * taken @ np.sqrt(nu)
            np.testing.assert_allclose(upper, plan.bound, atol=1e-6 * total * threshold)
        for r in (0.05, 0.5, 0.95):
            plan = planning.plan_correlated(mdp, w, correlation=r)
            assert plan.converged and plan.bound - plan.objective <= 1e-6


def test_the_reference_is_the_best_from_the_threshold_on(dtype):
    mdp, w = drawn(3), jnp.array([1.0, 2.0])
    threshold = float(planning.plan_correlated(mdp, w, penalty=1e9).threshold)
    stays = planning.plan_correlated(mdp, w, penalty=1.001 * threshold)
    np.testing.assert_allclose(stays.policy, uniform(mdp), atol=1e-6)
    assert stays.chi_squared < 1e-9 and "stays at the reference" in str(planning.plan_correlated(mdp, w, penalty=1e9))
    moves = planning.plan_correlated(mdp, w, penalty=0.99 * threshold)
    assert moves.chi_squared > 1e-4 and moves.gain > 0
    # Never later than at the standard deviation of the reward as it is written: equal for bandits alone.
    pair = alignment.correlation(mdp, None, w, w)
    assert threshold <= pair.raw_sigma * (1 + 1e-5)
    np.testing.assert_allclose(pair.sigma, threshold, rtol=1e-4)


def test_the_exact_worst_case_is_attained_never_beaten_and_above_laidlaws(x64):
    rng = np.random.default_rng(0)
    for seed in range(20):
        mdp, w, other = drawn(seed, states=5), *jnp.asarray(rng.normal(size=(2, 2)))
        pair = alignment.correlation(mdp, None, w, other)
        nu, X = np.asarray(pair.visits).ravel(), np.asarray(pair.written).ravel()
        np.testing.assert_allclose(nu, occupancy(mdp, uniform(mdp)), atol=1e-12)
        for _ in range(5):
            policy = jnp.asarray(rng.dirichlet(np.full(mdp.num_actions, 0.5), mdp.num_states))
            gain = occupancy(mdp, policy) - nu
            least, r = float(pair.guarantee(policy)), float(pair.r)
            assert least >= float(pair.laidlaw(policy)) - 1e-9
            worst = np.asarray(pair.worst_reward(policy)).ravel()
            np.testing.assert_allclose([nu @ worst**2, nu @ (worst * X)], [1, r], atol=1e-9)
            np.testing.assert_allclose(gain @ worst, least, atol=1e-9)
            hidden = rng.normal(size=(500, len(nu)))
            hidden -= (hidden * nu).sum(1, keepdims=True)
            hidden -= ((hidden * X) @ nu)[:, None] * X
            hidden /= np.sqrt(hidden**2 @ nu)[:, None]
            assert (gain @ (r * X + np.sqrt(1 - r**2) * hidden).T >= least - 1e-9).all()
            # The true reward is one of them.
            true = (occupancy(mdp, policy) - nu) @ paid(mdp, other) / float(pair.sigma)
            assert true >= least - 1e-9


def test_what_plans_for_laidlaws_bound_guarantee(x64):
    """Bandit: the bound's maxima, and the exact guarantee of the plans that attain them."""
    mdp, w, X = bandit(), jnp.array([0.0, 1.0, 2.0]), (np.array([0.0, 1, 2]) - 0.7) / 0.7810250
    W = np.cross(SELDOM[0] * X, SELDOM[0])  # orthogonal to X and to constants under ν
    W = W / np.sqrt(SELDOM[0] @ W**2)
    for r, highest, exact in ((0.7, 0.48078, 0.682955), (0.5, 0.30486, 0.501650), (0.3, 0.17233, 0.312855)):
        plan = planning.plan_correlated(mdp, w, reference=SELDOM, penalty=float(0.7810250 * (1 - r**2) ** 0.5))
        np.testing.assert_allclose((plan.objective / 2 - 0.7) / 0.7810250 / r, highest, atol=6e-6)
        pair = alignment.correlation(mdp, SELDOM, w, jnp.asarray(r * X + (1 - r**2) ** 0.5 * W))
        np.testing.assert_allclose(pair.r, r, atol=1e-6)
        np.testing.assert_allclose(pair.laidlaw(plan.policy), highest, atol=6e-6)
        np.testing.assert_allclose(pair.guarantee(plan.policy), exact, atol=1e-6)


def test_a_plan_for_a_correlation_is_what_its_guarantee_says_and_no_random_policy_has_more(x64):
    rng = np.random.default_rng(1)
    for seed in range(8):
        mdp, w, other = drawn(seed, states=5), *jnp.asarray(rng.normal(size=(2, 2)))
        pair = alignment.correlation(mdp, None, w, other)
        if pair.r < 0.05:
            continue
        plan = planning.plan_correlated(mdp, w, correlation=float(pair.r))
        np.testing.assert_allclose(plan.objective, pair.guarantee(plan.policy), atol=1e-7)
        for _ in range(50):
            policy = jnp.asarray(rng.dirichlet(np.full(mdp.num_actions, 0.3), mdp.num_states))
            assert pair.guarantee(policy) <= plan.bound + 1e-9


def test_shaping_changes_neither_the_correlation_nor_the_plan(x64):
    rng = np.random.default_rng(5)
    for seed in range(6):
        mdp = drawn(seed, states=6)
        S, gamma = mdp.num_states, float(mdp.discount)
        phi = rng.normal(size=S)
        shaping = gamma * np.asarray(mdp.to_dense(), float) @ phi - phi[:, None]
        features = np.concatenate([np.asarray(mdp.features), shaping[:, :, None]], axis=2)
        shaped = MDP.from_dense(mdp.to_dense(), features, mdp.initial, discount=gamma)
        plain, other = alignment.correlation(shaped, None, jnp.array([1.0, 0, 0]), jnp.array([0.3, 1.0, 0])), None
        other = alignment.correlation(shaped, None, jnp.array([1.0, 0, 3.0]), jnp.array([0.3, 1.0, -2.0]))
        np.testing.assert_allclose([other.r, other.sigma], [plain.r, plain.sigma], atol=1e-9)
        assert abs(other.raw_r - plain.raw_r) > 1e-3
        one, two = (planning.plan_correlated(shaped, jnp.array([1.0, 0, c]), correlation=0.6) for c in (0, 3.0))
        np.testing.assert_allclose(one.objective, two.objective, atol=1e-8)


def test_guarantees_go_through_jit_and_vmap_and_plans_through_a_grid():
    grid = mdps.GridWorld.from_text("S.g\n.gG", {"S": "floor", ".": "floor", "g": "grass", "G": "goal"}, discount=0.9)
    w, other = grid.weights(goal=1.0), grid.weights(goal=1.0, grass=-0.3)
    pair = alignment.correlation(grid.mdp, None, w, other)
    policies = jax.random.dirichlet(jax.random.key(0), jnp.ones(4), (5, 6))
    batch = jax.jit(jax.vmap(pair.guarantee))(policies)
    np.testing.assert_allclose(batch, [pair.guarantee(p) for p in policies], rtol=1e-4, atol=1e-6)
    proxy = ProxyReward(w, grid.mdp, beta=1.0, alternatives=w[None])
    plan = planning.plan_correlated(grid.mdp, proxy, correlation=float(pair.r))
    true = mdps.policy_return(grid.mdp, plan.policy, grid.mdp.reward(other))
    stay = mdps.policy_return(grid.mdp, jnp.asarray(uniform(grid.mdp)), grid.mdp.reward(other))
    promised = plan.objective * pair.sigma * grid.mdp.total_visits
    assert true - stay >= promised - 1e-4 and promised > 0


def test_actions_that_do_not_exist_states_that_cannot_be_reached_and_one_state():
    P = np.zeros((3, 2, 3))
    P[0, 0, 0] = P[0, 1, 1] = P[1, 0, 0] = P[2, :, 0] = 1
    features = np.zeros((3, 2, 1))
    features[0, 1], features[2, 0] = 1, 100
    available = np.array([[True, True], [True, False], [True, True]])
    P[1, 1, 1] = 1
    mdp = MDP.from_dense(P, features, [1.0, 0, 0], discount=0.8, available=available)
    plan = planning.plan_correlated(mdp, jnp.ones(1), penalty=1e-3)
    assert plan.converged and plan.policy[1, 1] == 0
    np.testing.assert_allclose(plan.policy[0], [0, 1], atol=1e-3)
    np.testing.assert_allclose(plan.policy.sum(axis=1), 1, atol=1e-6)
    lonely = MDP.from_dense(np.ones((1, 1, 1)), np.ones((1, 1, 1)), [1.0], discount=0.5)
    nothing = planning.plan_correlated(lonely, jnp.ones(1), penalty=1.0)
    assert nothing.converged and nothing.gain == 0 and nothing.threshold == 0
    np.testing.assert_allclose(nothing.objective, 2.0, rtol=1e-5)


def test_what_is_refused():
    mdp, w = bandit(), jnp.array([0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="never takes action 2 in state 0"):
        planning.plan_correlated(mdp, w, reference=np.array([[0.5, 0.5, 0.0]]), penalty=1.0)
    with pytest.raises(ValueError, match="never takes action 2 in state 0"):
        alignment.correlation(mdp, np.array([[0.5, 0.5, 0.0]]), w, w)
    with pytest.raises(ValueError, match="horizon 5"):
        planning.plan_correlated(bandit(horizon=5), w, penalty=1.0)
    given: dict[str, Any]
    for given in ({}, {"penalty": 1.0, "correlation": 0.5}):
        with pytest.raises(ValueError, match="either penalty"):
            planning.plan_correlated(mdp, w, **given)
    for given in ({"penalty": 0.0}, {"penalty": np.nan}, {"correlation": 1.0}, {"correlation": "x"}):
        with pytest.raises((ValueError, TypeError), match=r"penalty|correlation"):
            planning.plan_correlated(mdp, w, **given)
    with pytest.raises(ValueError, match="ranks all policies of this map alike"):
        alignment.correlation(mdp, SELDOM, jnp.ones(3), w)
    with pytest.raises(TypeError, match="tracer"):
        jax.jit(lambda x: planning.plan_correlated(mdp, x, penalty=1.0).objective)(w)
    with pytest.raises(ValueError, match="tol"):
        planning.plan_correlated(mdp, w, penalty=1.0, tol=-1.0)


def test_a_guarantee_near_full_correlation_keeps_what_float32_cannot_tell_from_one():
    mdp = MDP.from_dense(np.ones((1, 3, 1)), np.eye(3)[None], [1.0], discount=0.5)
    reference = np.array([[0.999, 0.0009, 0.0001]])  # far from a plan that is all third arm
    written, meant, third = jnp.array([0.0, 1.0, 2.0]), jnp.array([0.0, 1.0003, 2.0]), jnp.array([[0.0, 0.0, 1.0]])
    pair = alignment.correlation(mdp, reference, written, meant)
    nu = np.asarray(pair.visits[0], np.float64)
    X, Y = ((x - nu @ x) / np.sqrt(nu @ (x - nu @ x) ** 2) for x in np.asarray([written, meant], np.float64))
    assert float(pair.r) == pytest.approx(1, abs=1e-6)
    rest = np.sqrt(nu @ (Y - (nu @ (X * Y)) * X) ** 2)
    assert float(pair.rest) == pytest.approx(rest, rel=1e-3)
    assert float(pair.guarantee(third)) <= Y[2] * (1 + 1e-6)


def test_a_map_without_a_choice_correlates_with_nothing_however_far_it_looks(x64):
    rng = np.random.default_rng(0)
    chain = MDP.from_dense(rng.dirichlet(np.ones(3), (3, 1)), rng.normal(size=(3, 1, 2)), np.eye(3)[0], discount=0.9999)
    with pytest.raises(ValueError, match="ranks all policies of this map alike"):
        alignment.correlation(chain, None, np.array([1.0, 0.0]), np.array([0.0, 1.0]))


def test_a_traced_penalty_is_refused_by_name():
    arms, weights = bandit(), np.arange(3.0)
    with pytest.raises(TypeError, match="penalty is a tracer"):
        jax.jit(lambda x: planning.plan_correlated(arms, weights, penalty=x).objective)(0.1)


def test_the_cure_for_a_reference_that_leaves_out_an_action_works_where_some_do_not_exist():
    features, exist = np.eye(3)[None], np.array([[True, True, False]])
    mdp = MDP.from_dense(np.ones((1, 3, 1)), features, [1.0], discount=0.5, available=exist)
    policy, weights = np.array([[1.0, 0.0, 0.0]]), jnp.arange(3.0)
    with pytest.raises(ValueError, match="never takes action 1 in state 0") as refused:
        planning.plan_correlated(mdp, weights, reference=policy, correlation=0.5)
    cure = str(refused.value).partition("such as ")[2].rstrip(".")
    reference = eval(cure, {"policy": policy, "mdp": mdp, "mdps": mdps})
    assert bool(planning.plan_correlated(mdp, weights, reference=reference, correlation=0.5).converged)
