"""How far a written reward is from a meant one: golden numbers, invariances, and linear programs beside them."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

import mdps
from ird import alignment, posterior
from mdps import MDP, GridWorld

pytestmark = pytest.mark.usefixtures("float64")
TABLES = {  # (r, p) of the reward r(s) + γ p(s') - p(s) on a 3 x 3 grid (Gleave et al. 2021)
    "sparse": ([0, 0, 0, 0, 0, 0, 0, 0, 1], 0),
    "dense": ([0, 0, 0, 0, 0, 0, 0, 0, 1], -1),
    "transformed": ([-1, -1, -1, -1, -1, -1, -1, -1, 3], -3),
    "center": ([0, 0, 0, 0, 1, 0, 0, 0, 0], 0),
    "penalty": ([0, 0, 0, 0, 0, 0, 0, 0, -1], 0),
    "dirt": ([0, -1, -1, 0, 0, 0, -1, -1, 4], 0),
    "cliff": ([0, -1, -1, 0, 0, 0, -4, -4, 4], 0),
}
GOLDEN = {  # EPIC, DARD, advantage, minimal
    ("sparse", "transformed"): (0, 0, 0, 0),
    ("sparse", "dense"): (0, 0, 0, 0),
    ("sparse", "center"): (0.750000, 0.748172, 0.769489, 0.771836),
    ("sparse", "penalty"): (1, 1, 1, 1),
    ("sparse", "dirt"): (0.160182, 0.175621, 0.129249, 0.155312),
    ("sparse", "cliff"): (0.367559, 0.338964, 0.420305, 0.380062),
    ("dirt", "cliff"): (0.267213, 0.216683, 0.352880, 0.285197),
    ("center", "penalty"): (0.661438, 0.663505, 0.638660, 0.635821),
    ("center", "dirt"): (0.707107, 0.698240, 0.741855, 0.732423),
    ("center", "cliff"): (0.669232, 0.657554, 0.709360, 0.692608),
}


@pytest.fixture(scope="module", name="float64")
def _float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def gridded():
    """The 3 x 3 grid with five actions, a feature for each table, and the tables themselves, `[S, A, S']`."""
    P = np.zeros((9, 5, 9))
    for s, (a, (dr, dc)) in itertools.product(range(9), enumerate([(-1, 0), (0, 1), (1, 0), (0, -1), (0, 0)])):
        r, c = s // 3 + dr, s % 3 + dc
        P[s, a, r * 3 + c if 0 <= r < 3 and 0 <= c < 3 else s] = 1
    M = np.array([4, 3, 2, 3, 2, 1, 2, 1, 0])
    rewards = {}
    for name, (r, scale) in TABLES.items():
        p = scale * M
        rewards[name] = np.broadcast_to(np.array(r)[:, None, None] + 0.99 * p[None, None] - p[:, None, None], P.shape)
    features = np.stack(list(rewards.values()), axis=-1)
    return MDP.from_dense(P, features, np.full(9, 1 / 9), discount=0.99), rewards


@pytest.mark.parametrize("pair", GOLDEN, ids="-".join)
def test_distances_have_their_golden_values(gridded, pair):
    mdp, rewards = gridded
    one, two = (rewards[name] for name in pair)
    weights = [np.eye(len(TABLES))[list(TABLES).index(name)] for name in pair]
    found = [alignment.epic(mdp, one, two), alignment.dard(mdp, one, two)]
    for form in (alignment.Advantage(), alignment.Minimal()):
        found.append(alignment.geometry(mdp, form).distance(*weights))
    np.testing.assert_allclose(found, GOLDEN[pair], atol=1e-6)


def two_states(*rewards):
    """The stochastic example of two states and two actions; rewards `[S, A, S']` are its features."""
    P = np.array([[[0.5, 0.5], [0.9, 0.1]], [[0.2, 0.8], [1.0, 0.0]]])
    return MDP.from_dense(P, np.stack(rewards, axis=-1), [1.0, 0.0], discount=0.9)


def test_moving_reward_between_successors_changes_no_order_and_epic_all_the_same():
    one = np.array([[[1.0, 0], [0, 2]], [[0, 1], [-1, 3]]])
    two = one + np.array([[[1, -1], [0.1, -0.9]], [[-1, 0.25], [0, -7]]])
    mdp = two_states(one, two)
    assert float(alignment.epic(mdp, one, two)) == pytest.approx(0.8553, abs=5e-5)
    assert float(alignment.dard(mdp, one, two)) == pytest.approx(0.2716, abs=5e-5)
    first, second = np.eye(2)
    canonical = {
        alignment.Advantage: [0.060989, -0.060989, 0.721978, -0.721978],
        alignment.Minimal: [-0.237623, -0.190309, 0.766652, -0.338721],
    }
    for form, values in canonical.items():
        shape = alignment.geometry(mdp, form())
        assert float(shape.distance(first, second)) == pytest.approx(0, abs=1e-9)
        assert float(shape.norm(first)) == pytest.approx(np.linalg.norm(values), abs=1e-5)


def drawn(seed, S=6, A=3, K=5):
    """A random MDP with random features; one layout, so that programs are compiled once."""
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.full(S, 0.5), (S, A))
    return MDP.from_dense(P, rng.normal(size=(S, A, K)), rng.dirichlet(np.ones(S)), discount=0.9), P, rng


def test_shaping_scale_and_redistribution_change_no_distance_and_every_order_has_its_triangle():
    for seed in range(100):
        mdp, P, rng = drawn(seed)
        R, other = np.asarray(mdp.features)[..., 0], np.asarray(mdp.features)[..., 1]
        shaping = rng.normal(size=6)
        moved = rng.normal(size=P.shape)
        moved -= np.sum(P * moved, axis=2, keepdims=True)
        same = 3 * (R[..., None] + 0.9 * shaping - shaping[:, None, None] + moved)
        features = np.stack([R[..., None] + 0 * P, same, other[..., None] + 0 * P], axis=-1)
        mdp = MDP.from_dense(P, features, np.full(6, 1 / 6), discount=0.9)
        for form in (alignment.Minimal(), alignment.Advantage()):
            same, one, other, half, first, second = (
                float(x) for x in compare(alignment.geometry(mdp, form), rng.normal(size=3))
            )
            assert same < 1e-9 and one == pytest.approx(other, abs=1e-9) and one == pytest.approx(half)
            assert one <= first + second + 1e-12


@jax.jit
def compare(shape, mix):
    a, b, c = jnp.eye(3)
    angle = shape.angle(a, c)
    pairs = ((a, b), (a, c), (b, c), (a, mix), (mix, c))
    same, one, other, first, second = (shape.distance(x, y) for x, y in pairs)
    return same, one, other, jnp.sin(angle / 2), first, second


def test_no_regret_exceeds_the_bound_of_the_angle_and_none_that_of_any_map():
    one = jax.jit(lambda m, w, v: alignment.regret(m, w, v))
    tight = 0.0
    for seed in range(100):
        mdp, _, rng = drawn(1000 + seed)
        written, true = rng.normal(size=(2, 5))
        true = true if seed % 2 else written + 0.3 * true
        lost = float(one(mdp, written, true).regret)
        bound = float(alignment.geometry(mdp).regret_bound(written, true))
        assert lost <= bound + 1e-9
        tight = max(tight, lost / bound)
        ranges = np.ptp(np.asarray(mdp.features), axis=(0, 1))
        assert lost <= float(alignment.regret_on_any_map(written, true, ranges, 10.0)) + 1e-9
    assert tight > 0.2  # a bound that is never near is no use


def test_regret_of_plans_and_proxies_under_beliefs_and_rewards():
    fork = GridWorld.from_text("aSb", {"a": "left", "S": "mid", "b": "right"}, horizon=3, goal=None)

    meant = jnp.array([[1.0, 0, -1], [-1, 0, 1]])
    left = jnp.zeros((3, 4)).at[:, 3].set(1)
    belief = posterior.exact(candidates=meant)
    for plan in (left, jnp.array([1.0, 0, 0])):
        found = alignment.regret(fork.mdp, plan, belief)
        np.testing.assert_allclose(sorted(found.regret.tolist()), [0, 4])
        assert float(found.mean) == pytest.approx(2) and float(found.worst) == pytest.approx(4)
        assert float(found.above(1.0)) == pytest.approx(0.5) and float(found.tail(0.5)) == pytest.approx(4)
        np.testing.assert_allclose(sorted(found.relative.tolist()), [0, 1])
    assert alignment.regret(fork.mdp, left, meant[0]).regret.shape == ()
    many = jax.vmap(lambda w: alignment.regret(fork.mdp, w, meant).mean)(meant)
    np.testing.assert_allclose(many, [2, 2])
    for bad in ({"plan": "left"}, {"plan": None}, {"true": meant[:, :2]}, {"plan": belief}):
        with pytest.raises(ValueError, match=r"plan|true"):
            alignment.regret(fork.mdp, **({"plan": left, "true": meant} | bad))


def test_performance_brackets_every_deterministic_policy_that_is_optimal_for_the_proxy():
    rng = np.random.default_rng(0)
    for horizon, discount in ((None, 0.9), (3, 1.0)):
        for _ in range(5):
            P = rng.dirichlet(np.ones(4), (4, 2))
            features = np.concatenate([rng.integers(2, size=(4, 2, 1)), rng.normal(size=(4, 2, 1))], axis=2)
            tied = rng.random(4) < 0.7  # to the proxy, not to the truth
            P[tied, 1], features[tied, 1, 0] = P[tied, 0], features[tied, 0, 0]
            mdp = MDP.from_dense(P, features, np.full(4, 0.25), discount=discount, horizon=horizon)
            steps = 1 if horizon is None else horizon
            written, true = np.array([1.0, 0]), rng.normal(size=2)
            found = alignment.performance(mdp, written, true)
            returns = []
            for actions in itertools.product(range(2), repeat=4 * steps):
                policy = np.eye(2)[np.reshape(actions, (steps, 4))]
                policy = policy[0] if horizon is None else policy
                if horizon is None:
                    at = np.argmax(policy, 1)
                    visits = np.linalg.solve(np.eye(4) - 0.9 * P[range(4), at].T, np.full(4, 0.25))
                    got = visits @ features[range(4), at]
                else:
                    now, got = np.full(4, 0.25), np.zeros(2)
                    for t in range(3):
                        at = np.argmax(policy[t], 1)
                        got, now = got + now @ features[range(4), at], now @ P[range(4), at]
                returns.append(got)
            returns = np.array(returns)
            best = returns[returns @ written > (returns @ written).max() - 1e-9] @ true
            np.testing.assert_allclose([found.lowest, found.highest], [best.min(), best.max()], atol=1e-6)
            small = alignment.performance(mdp, written, 2.0**-20 * true)  # the solver's error is no share of it
            np.testing.assert_allclose(
                [small.lowest * 2**20, small.highest * 2**20], [best.min(), best.max()], atol=4e-6
            )
            off = 2 * found.error_bound + 1e-9
            assert found.lowest - off <= found.shared <= found.highest + off
            assert float(found.best) == pytest.approx((returns @ true).max(), abs=1e-6)


def switch(*rewards):
    """Two states, action a leads to state a; discount .5; rewards over (s, a), flat, are the features."""
    P = np.zeros((2, 2, 2))
    P[:, 0, 0] = P[:, 1, 1] = 1
    features = np.stack([np.reshape(r, (2, 2)) for r in rewards], axis=-1)
    return MDP.from_dense(P, features, [0.5, 0.5], discount=0.5)


@pytest.mark.parametrize(
    ("written", "margin"),
    [((1, 0, 0, 0), 0.75), ((1, 0, 0, 1.9), 0.019231), ((-1, 0, 0, -2), 1.5), ((2, 0, 0, 4), 0), ((1, 1, 1, 1), 0)],
)
def test_hackable_pairs_have_their_golden_margins(written, margin):
    mdp = switch(written, (1, 0, 0, 2))
    found = alignment.hackable(mdp, jnp.array([1.0, 0]), jnp.array([0, 1.0]))
    np.testing.assert_allclose([found.margin / 2, found.bound / 2], margin, atol=2e-6)  # per visit; there are two
    shaped = np.add((2, 0, 0, 4), 0.5 * np.array([0.3, -0.7, 0.3, -0.7]) - np.array([0.3, 0.3, -0.7, -0.7]))
    same = alignment.hackable(switch(shaped, (1, 0, 0, 2)), jnp.array([1.0, 0]), jnp.array([0, 1.0]))
    assert float(same.bound) < 1e-6


def test_margins_are_those_of_a_linear_program_and_the_witnesses_show_them():
    for seed in range(20):
        mdp, P, rng = drawn(2000 + seed)
        written, true = rng.normal(size=(2, 5))
        R, T = (np.asarray(mdp.features) @ w for w in (written, true))
        found = alignment.hackable(mdp, written, true)
        flow = np.zeros((6, 18))
        for s, a in itertools.product(range(6), range(3)):
            flow[s, s * 3 + a] += 1
            flow[:, s * 3 + a] -= 0.9 * P[s, a]
        zero = np.zeros((6, 18))
        equal = np.hstack([np.vstack([np.hstack([flow, zero]), np.hstack([zero, flow])]), np.zeros((12, 1))])
        up = np.concatenate([-R.ravel(), R.ravel(), [1.0]])  # δ <= R̃·(μ' - μ), with (μ', μ)
        down = np.concatenate([T.ravel(), -T.ravel(), [1.0]])
        program = linprog(
            np.append(np.zeros(36), -1.0), np.stack([up, down]), [0, 0], equal, np.tile(np.asarray(mdp.initial), 2)
        )
        assert float(found.bound) == pytest.approx(-program.fun, rel=1e-4, abs=1e-6)
        assert float(found.margin) == pytest.approx(-program.fun, rel=1e-4, abs=1e-6)
        returns = {
            name: [float(mdps.policy_return(mdp, x, mdp.reward(w))) for x in (found.worse, found.better)]
            for name, w in (("written", written), ("true", true))
        }
        assert returns["written"][0] - returns["written"][1] == pytest.approx(float(found.proxy_gain), abs=1e-6)
        assert returns["true"][1] - returns["true"][0] == pytest.approx(float(found.true_loss), abs=1e-6)


def test_directions_that_rank_all_policies_alike_are_named_and_rewards_along_them_have_no_direction():
    grid = GridWorld.from_text(
        "Sg.\n.gG", {"S": "floor", ".": "floor", "g": "grass", "G": "goal", "x": "none"}, discount=0.9
    )
    shape = alignment.geometry(grid.mdp)
    assert shape.unidentifiable() == ("none", "floor + grass + goal")
    constant, goal = jnp.array([1.0, 1, 1, 0]), grid.weights(goal=1.0)
    assert float(shape.distance(constant, goal)) == 0.5 and float(shape.distance(constant, 2 * constant)) == 0
    assert float(shape.distance(goal, goal + 3 * constant)) < 1e-8
    many = jax.jit(jax.vmap(lambda w: shape.distance(goal, w)))(jnp.stack([goal, -goal, constant]))
    np.testing.assert_allclose(many, [0, 1, 0.5], atol=1e-7)


def test_states_that_no_policy_reaches_do_not_count():
    P = np.eye(3)[np.array([[0, 1], [1, 0], [2, 0]])]
    features = np.zeros((3, 2, 2))
    features[0, 1, 0] = features[0, 1, 1] = 1
    features[2, :, 1] = 5  # nobody gets there
    mdp = MDP.from_dense(P, features, [1.0, 0, 0], discount=0.9)
    assert float(alignment.geometry(mdp).distance(*np.eye(2))) < 1e-9


def test_what_does_not_fit_is_refused_by_name():
    grid = GridWorld.from_text("S.G", {"S": "floor", ".": "floor", "G": "goal"}, horizon=4)
    endless = grid.mdp.replace(horizon=None, discount=0.9)
    w = grid.weights(goal=1.0)
    for call, message in (
        (lambda: alignment.geometry(grid.mdp), "horizon 4"),
        (lambda: alignment.hackable(grid.mdp, w, w), "horizon 4"),
        (lambda: alignment.geometry(endless, "minimal"), "canonical is 'minimal'"),
        (lambda: alignment.geometry(endless, alignment.Advantage(np.eye(4)[np.zeros(3, int)])), "never takes action"),
        (lambda: alignment.geometry(endless, alignment.Minimal(np.zeros((3, 4)))), "above 0"),
        (lambda: alignment.geometry(endless).distance(w, np.ones(3)), "give \\[K\\] or \\[N, K\\]"),
        (lambda: alignment.epic(endless, np.ones(2), np.ones(3)), "written has shape"),
        (lambda: alignment.performance(endless, np.ones(3), w), "written has shape"),
        (lambda: alignment.regret_on_any_map(w, w, -jnp.ones(2), 4.0), "negative"),
        (lambda: alignment.regret_on_any_map(w, w, jnp.ones(2), -4.0), "total_visits is -4"),
        (lambda: alignment.regret(w, endless, w), "mdp is"),
        (lambda: alignment.regret(endless, w, w).above("x"), "tolerance is 'x'"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="cannot be traced"):
        jax.jit(lambda p: alignment.geometry(endless.replace(probability=p)).root)(endless.probability)


def test_float32_is_good_to_a_thousandth(gridded):
    mdp, _ = gridded
    with jax.enable_x64(False):
        single = jax.tree.map(lambda x: x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x, mdp)
        found = alignment.geometry(single).distance(jnp.eye(7, dtype=jnp.float32)[0], jnp.eye(7, dtype=jnp.float32))
    wanted = [GOLDEN["sparse", name][3] for name in list(TABLES)[1:]]
    np.testing.assert_allclose(found[1:], wanted, atol=1e-3)


@pytest.mark.parametrize("unit", [1e-7, 1.0, 1e7])
def test_what_cannot_be_identified_does_not_depend_on_the_unit_of_a_feature(unit):
    features = np.array([[[unit, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 2.0, 1.0]]])
    for x64 in (False, True):
        with jax.enable_x64(x64):
            arms = MDP.from_dense(np.ones((1, 3, 1)), features, [1.0], discount=0.5, feature_names=("a", "b", "c"))
            assert alignment.geometry(arms).unidentifiable() == ("c",)


def test_the_bound_of_the_angle_is_refused_where_the_form_is_no_projection():
    mdp, *_ = drawn(0)
    w = jnp.ones(5)
    for canonical in (alignment.Advantage(), alignment.Minimal(np.full((6, 3), 2.0))):
        with pytest.raises(ValueError, match="regret_bound needs"):
            alignment.geometry(mdp, canonical).regret_bound(w, w)
    assert float(alignment.geometry(mdp).regret_bound(w, w)) < 1e-6


def test_samples_that_have_no_probability_may_be_anything():
    class Held(NamedTuple):
        weights: jax.Array
        log_weights: jax.Array
        feature_names: tuple[str, ...] = ()

    mdp, *_ = drawn(1)
    held = Held(jnp.array([[1.0, 0, 0, 0, 0], [np.nan, 0, 0, 0, 0]]), jnp.array([0.0, -jnp.inf]))
    lost, alone = (alignment.regret(mdp, jnp.ones(5), true) for true in (held, held.weights[:1]))
    np.testing.assert_allclose(lost.mean, alone.mean)
    assert float(lost.mean) > 0 and not np.isnan(lost.regret).any()
    with pytest.raises(ValueError, match=r"true has shape \(0, 5\)"):
        alignment.regret(mdp, jnp.ones(5), jnp.zeros((0, 5)))


@pytest.mark.parametrize("unit", [1e-7, 1.0, 1e7])
def test_plans_ranges_and_margins_do_not_depend_on_the_unit_of_the_rewards(unit):
    mdp, *_ = drawn(2)
    written, true = np.random.default_rng(3).normal(size=(2, 5))
    plain = alignment.performance(mdp, written, true), alignment.hackable(mdp, written, true)
    span = alignment.performance(mdp, unit * written, true)
    hack = alignment.hackable(mdp, unit * written, unit * true)
    for name in ("lowest", "shared", "highest"):
        np.testing.assert_allclose(getattr(span, name), getattr(plain[0], name), rtol=1e-6)
    np.testing.assert_allclose(hack.margin / unit, plain[1].margin, rtol=1e-6)
    assert float(hack.bound - hack.margin) <= 1e-5 * float(hack.bound)
    lost, again = alignment.regret(mdp, unit * written, true), alignment.regret(mdp, written, true)
    np.testing.assert_allclose(lost.regret, again.regret, rtol=1e-6)
