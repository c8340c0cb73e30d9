"""The plan of least exposure: its certificate against a linear program, its limits, and what must not change it."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.optimize import linprog

import mdps
from ird import ProxyReward, planning, posterior
from ird.evidence import Comparison
from mdps import MDP, GridWorld
from mdps.pytrees import with_fields
from mdps.worlds import families

LEGEND = {"S": "dirt", ".": "dirt", "g": "grass", "G": "goal", "l": "lava"}


def belief_in(train, written, widths, *, seed=0, samples=1000, alternatives=300, beta=5.0, evidence=()):
    prior = dist.Uniform(-widths, widths).to_event(1)
    for_rewards, key = jax.random.split(jax.random.key(seed))
    rewards = jnp.concatenate([written[None], prior.sample(for_rewards, (alternatives,))])
    proxy = ProxyReward(written, train.mdp, beta=beta, alternatives=rewards)
    return posterior.importance(proxy, *evidence, prior=prior, num_samples=samples, key=key), proxy


def small(seed=0, *, per_action=False, horizon=4, K=4):
    """A random MDP, and a belief that was told something of two of four directions."""
    rng = np.random.default_rng(seed)
    P, initial = rng.dirichlet(np.ones(7), (7, 3)), rng.dirichlet(np.ones(7))  # one layout, compiled once
    features = rng.normal(size=(7, P.shape[1], K) if per_action else (7, K))
    settings = {"horizon": horizon} if horizon else {"discount": 0.9}
    mdp = MDP.from_dense(P, features, initial, **settings)
    belief = posterior.exact(candidates=jnp.asarray(rng.normal(size=(40, K))))
    root = rng.normal(size=(K, 2))
    normal = rng.normal(size=(1, K))
    kept = {
        "information": 30 * root @ root.T,
        "normal": normal,
        "gains": rng.normal(size=(1, K)),
        "reference": normal[0] - 1,
    }
    return mdp, with_fields(belief, told={name: jnp.asarray(x) for name, x in kept.items()}, feature_names=())


def occupancies(mdp):
    """Equalities of the occupancies x(t, s, a) of all policies: A x = b."""
    P, mu = np.asarray(mdp.to_dense(), float), np.asarray(mdp.initial, float)
    S, A, _ = P.shape
    gamma, T = float(mdp.discount), mdp.horizon or 1
    rows, right = [], []
    for t in range(T):
        for s in range(S):
            row = np.zeros((T, S, A))
            row[t, s] += 1
            if mdp.horizon is None:
                row[0] -= gamma * P[:, :, s]
            elif t:
                row[t - 1] -= gamma * P[:, :, s]
            rows.append(row.ravel())
            right.append(mu[s] if t == 0 else 0.0)
    return np.array(rows), np.array(right), (T, S, A)


@pytest.mark.parametrize("per_action", [False, True])
@pytest.mark.parametrize("horizon", [4, None])
@pytest.mark.parametrize("give_up", [0.0, 0.3, 0.9])
def test_no_policy_that_keeps_the_floor_is_exposed_less_than_the_bound(per_action, horizon, give_up, x64):
    for seed in range(2):
        mdp, belief = small(seed, per_action=per_action, horizon=horizon)
        found = planning.plan_least_exposure(mdp, belief, give_up=give_up)
        assert found.converged
        A, b, shape = occupancies(mdp)
        spread = lambda x, shape=shape: np.broadcast_to(x if x.ndim == 2 else x[:, None], shape).ravel()  # noqa: E731
        u = np.asarray(found.unknown)
        known = planning._unknown.known_of(mdp, belief)
        r = (np.asarray(mdp.features) - np.asarray(known.reference)) @ np.asarray(known.weights)
        r = np.where(u > 0, np.minimum(r, 0), r)
        best = -linprog(-spread(r), A_eq=A, b_eq=b).fun
        assert float(found.floor) >= best - give_up * stake(mdp, known) - 1e-6
        assert float(found.known) >= float(found.floor) - 1e-9
        least = linprog(spread(u), A_eq=A, b_eq=b, A_ub=-spread(r)[None], b_ub=[-float(found.floor) + 1e-9]).fun
        assert float(found.bound) <= least + 1e-6
        assert least <= float(found.exposure) + 1e-6
        visits = np.asarray(mdps.occupancy(mdp, found.policy))
        flat = u if u.ndim == 2 else np.broadcast_to(u[:, None], visits.shape)
        assert float(found.exposure) == pytest.approx((visits * flat).sum(), abs=1e-9)


def stake(mdp, known):
    return max(float(mdp.total_visits) * float(np.mean(np.asarray(known.gains) @ np.asarray(known.weights))), 0.0)


@pytest.mark.parametrize("name", ["island-A", "cliff-B", "shift-B", "lake-B"])  # `make worlds` has all
def test_it_goes_to_the_goal_and_not_through_the_hazard_on_maps_by_others(name):
    for case in families()[name]:
        belief, _ = belief_in(case.train, case.written, case.widths)
        found = planning.plan_least_exposure(case.field.mdp, belief)
        through, there = (
            float(mdps.visit_probability(case.field.mdp, found.policy, case.field.where(x)))
            for x in (case.hazard, case.goal)
        )
        assert through <= 0.02 and there >= 0.98 and found.converged
        assert float(found.bound) <= float(found.exposure)


@pytest.mark.parametrize("name", ["shift-B", "lake-B"])
@pytest.mark.parametrize("discount", [0.97, 0.995])
def test_without_a_horizon_a_goal_that_ends_all_reward_is_known_and_the_hazard_is_not(name, discount):
    """(1 - γ) floor + goal = 1 for every plan in training, so that no evidence tells one from the other."""
    for case in families()[name][:2]:
        train, field = (x.mdp.replace(horizon=None, discount=discount) for x in (case.train, case.field))
        belief, _ = belief_in(SimpleNamespace(mdp=train), case.written, case.widths)
        found = planning.plan_least_exposure(field, belief)
        hazard, goal = (np.asarray(case.field.where(x)) for x in (case.hazard, case.goal))
        through, there = (float(mdps.visit_probability(field, found.policy, x)) for x in (hazard, goal))
        assert through <= 0.02 and there >= 0.98 and found.converged
        u = np.asarray(found.unknown)
        assert (u[hazard] > 0.5).all() and (u[~hazard] == 0).all() and float(found.exposure) < 1e-3


def with_ends(rng, per_action, *, S=7, A=3, K=4, gamma=0.9):
    """A random MDP with two ends, and the same with one more feature, of which every plan collects 1 in all."""
    ending = rng.uniform(0, 0.4, (S - 2, A if per_action else 1, 1)) * np.ones((1, A, 1))
    P = np.zeros((S, A, S))
    P[:-2] = np.append(rng.dirichlet(np.ones(S - 2), (S - 2, A)) * (1 - ending), ending * [0.5, 0.5], axis=-1)
    P[-2:, :, -2:] = np.eye(2)[:, None]
    features = rng.normal(size=(S, A, K) if per_action else (S, 1, K))
    features[-2:] = 0
    one = np.append(1 - gamma * P[:-2, : features.shape[1], :-2].sum(-1), np.zeros((2, features.shape[1])), axis=0)
    both = [x if per_action else x[:, 0] for x in (features, np.append(features, one[..., None], axis=-1))]
    return [MDP.from_dense(P, x, np.eye(S)[0], discount=gamma) for x in both]


def test_where_two_plans_are_as_good_at_the_price_the_one_that_is_carried_out_keeps_the_floor(x64):
    """At 12.0382 a visit going and staying are as good; rounding chose to stay, which is worth less than the floor."""
    legend, ends = LEGEND | {"p": "pit"}, {"terminal": ("goal", "pit"), "discount": 0.97}
    train = GridWorld.from_text("S.g.\nggG.", legend, **ends)
    written = train.weights(dirt=-0.1, grass=-0.5, goal=1.0)
    belief, _ = belief_in(train, written, jnp.ones(5), samples=500, alternatives=100)
    maps = [GridWorld.from_text(text, legend, **ends).mdp for text in ("S.lG\n..l.", "S.l.\n..lG")]
    give_up = jnp.asarray([0.5, 0.6, 0.7, 0.8])
    each = jax.vmap(lambda mdp, share: planning.plan_least_exposure(mdp, belief, give_up=share), (None, 0))
    for mdp in maps:
        found = each(mdp, give_up)
        least = found.best - give_up * stake(mdp, planning._unknown.known_of(mdp, belief))
        assert found.converged.all() and (found.known >= least - 1e-6).all() and (found.floor <= least + 1e-9).all()


@pytest.mark.parametrize("per_action", [False, True])
def test_what_no_plan_can_change_is_not_unknown_and_changes_no_plan(per_action, x64):
    rng = np.random.default_rng(4)
    mdp, longer = with_ends(rng, per_action)
    K, total = mdp.num_features, float(mdp.total_visits)
    collected = [float(mdps.optimum(longer, w).features[-1]) for w in rng.normal(size=(3, K + 1))]
    np.testing.assert_allclose(collected, 1, atol=1e-9)
    belief, root = small(4)[1], rng.normal(size=(K, 2))
    told = {"information": 30 * root @ root.T, "normal": rng.normal(size=(1, K)), "reference": rng.normal(size=K)}

    def told_of(belief, more, gains):
        """The belief in `more` features that nothing was told about, of which a visit has 1 / total."""
        padded = {"information": np.pad(told["information"], (0, more))}
        padded |= {
            k: np.append(told[k], np.full((*told[k].shape[:-1], more), 1 / total), -1) for k in ("normal", "reference")
        }
        padded["gains"] = np.append(gains, np.zeros(more))[None]
        plain = {"prior_mean": jnp.zeros(K + more), "prior_sd": jnp.ones(K + more)}
        return with_fields(belief, told={k: jnp.asarray(x) for k, x in padded.items()}, **plain)

    k = np.asarray(planning._unknown.known_of(mdp, told_of(belief, 0, np.ones(K))).weights)
    here = told_of(belief, 0, k / total)
    there = told_of(posterior.exact(candidates=jnp.append(belief.weights, rng.normal(size=(40, 1)), -1)), 1, k / total)
    plan, other = (planning.plan_least_exposure(m, b, cut=0.0) for m, b in ((mdp, here), (longer, there)))
    assert plan.converged and float(plan.exposure) > 0 and float(plan.price) > 0
    np.testing.assert_allclose(other.policy, plan.policy, atol=1e-9)
    unit = float(plan.exposure) / float(other.exposure)  # that of the largest visit, in which the feature counts
    np.testing.assert_allclose(np.asarray(other.unknown) * unit, plan.unknown, atol=1e-9)
    assert float(other.known) == pytest.approx(float(plan.known), abs=1e-9)
    # Where all is known, what a plan is worth is what it returns above normal visits, ends or not.
    sure = with_fields(here, told=here.told | {"information": 1e12 * jnp.eye(K)})
    found, k = planning.plan_least_exposure(mdp, sure), planning._unknown.known_of(mdp, sure).weights
    assert float(found.exposure) == 0
    assert float(found.known) == pytest.approx(
        float(mdps.optimum(mdp, k).value - total * k @ told["reference"]), abs=1e-8
    )


def test_where_moss_bars_the_way_it_crosses_and_says_so():
    for name in ("moss-A", "moss-B"):
        for case in families()[name][1:2]:
            belief, _ = belief_in(case.train, case.written, case.widths)
            found = planning.plan_least_exposure(case.field.mdp, belief)
            assert float(mdps.visit_probability(case.field.mdp, found.policy, case.field.where("goal"))) > 0.98
            assert float(found.exposure) > 0.5 and found.converged


def lava_world():
    train = GridWorld.from_text("S.g.\nggG.", LEGEND, horizon=10)
    field = GridWorld.from_text("SlG.\n.g..", LEGEND, horizon=10)
    return train, field, train.weights(dirt=-0.1, grass=-0.5, goal=1.0)


@pytest.mark.parametrize(("praised", "least", "most"), [(True, 4, 256), (False, 4, 256)])
def test_what_was_praised_or_condemned_is_known(praised, least, most):
    """Pairs of single visits, lava against dirt: how many until lava counts as known, and what is done then.

    With `sure` a few that praise it suffice, and of those that condemn it as many are needed as without.
    """
    train, field, written = lava_world()
    first, bold, counts = None, None, (0, 1, 4, 16, 64, 256)
    for pairs in counts:
        a, b = np.zeros((max(pairs, 1), 4)), np.zeros((max(pairs, 1), 4))
        a[:, 3 if praised else 0], b[:, 0 if praised else 3] = 1, 1  # the first was preferred
        names = train.mdp.feature_names
        told = [Comparison(a, b, beta=2.0, feature_names=names)] if pairs else []
        belief, _ = belief_in(train, written, jnp.ones(4), evidence=told, samples=4000)
        lava = float(planning.unknown(field.mdp, belief)[1])
        found = planning.plan_least_exposure(field.mdp, belief)
        through = float(mdps.visit_probability(field.mdp, found.policy, field.where("lava")))
        assert (through > 0.5) == (praised and lava == 0), (pairs, lava, through)
        if lava == 0 and first is None:
            first = pairs
        if bold is None and float(planning.unknown(field.mdp, belief, sure=1.75)[1]) == 0:
            bold = pairs
    assert first is not None and bold is not None and least < first <= most
    assert 0 < bold < first if praised else bold == first


def noisy(seed, separation):
    """What a regression on labels leaves open of readings of terrain, and maps that show them: no cell like another."""
    rng, D, labels = np.random.default_rng(seed), 24, 100
    mean = separation * rng.normal(size=(4, D))
    root = rng.normal(size=(4, D, 4)) / 2

    def read(terrain):
        return mean[terrain] + np.einsum("sdv,sv->sd", root[terrain], rng.normal(size=(len(terrain), 4)))

    maps = []
    for text in ("S.g..\nggG.g\n.....", "S.g..\n.l.lG\n....."):
        grid = GridWorld.from_text(text, LEGEND, horizon=20)
        terrain = np.argmax(grid.mdp.features, axis=1)  # dirt, grass, goal, lava
        maps.append(grid.mdp.replace(features=read(terrain), feature_names=tuple(map(str, range(D)))))
    of = np.repeat(np.arange(3), labels)
    shown = read(of)
    regression = np.linalg.lstsq(shown, np.eye(3)[of], rcond=None)[0]
    precision = np.eye(D) / 0.3**2 + shown.T @ shown / len(shown) / 0.018**2
    covariance = np.linalg.inv(precision) + 0.4**2 * regression @ regression.T
    rewards = (rng.normal(size=(200, 3)) * 0.4) @ regression.T
    return (*maps, covariance, regression @ np.array([-0.1, -0.5, 1.0]), rewards, grid)


def test_where_readings_are_noisy_the_goal_is_known_and_lava_is_not(x64):
    """Every cell is new along some direction; what the goal brings is worth many times what may be hidden in it."""
    met = []
    for seed in range(8):
        train, field, covariance, written, rewards, grid = noisy(seed, separation=1.0)
        prior = dist.MultivariateNormal(jnp.zeros(24), covariance_matrix=jnp.asarray(covariance))
        proxy = ProxyReward(written, train, beta=5.0, alternatives=np.concatenate([written[None], rewards]))
        belief = posterior.importance(proxy, prior=prior, num_samples=2000, key=jax.random.key(seed))
        found = planning.plan_least_exposure(field, belief, sure=1.75)
        literal = mdps.solve(field, field.reward(jnp.asarray(written))).policy
        apart = planning.plan_least_exposure(field, with_fields(belief, prior_covariance=None), sure=1.75)
        np.testing.assert_array_equal(found.unknown, planning.unknown(field, belief, sure=1.75))
        assert (np.asarray(found.unknown) <= np.asarray(planning.unknown(field, belief))).all()
        met.append(
            [
                float(mdps.visit_probability(field, policy, grid.where(name)))
                for policy in (found.policy, literal, apart.policy)
                for name in ("lava", "goal")
            ]
        )
    lava, goal, literal, _, _, apart = np.mean(met, axis=0)
    assert goal > 0.9 and lava < 0.1 < 0.5 < literal, met
    assert apart < 0.5, met  # as if the weights were independent it stays


@pytest.mark.parametrize("sure", [0.0, -1.0, float("nan"), "much", [1.0, 2.0]])
def test_a_wrong_certainty_is_refused(sure):
    mdp, belief = small()
    for ask in (planning.unknown, planning.plan_least_exposure, planning.frontier):
        with pytest.raises(ValueError, match="sure"):
            ask(mdp, belief, sure=sure)


def test_coordinates_of_weights_that_go_together_change_nothing(x64):
    """Any invertible map of the features, with the prior mapped along; a diagonal covariance is independence."""
    mdp, belief = small(3)
    rng = np.random.default_rng(0)
    root, mix = rng.normal(size=(4, 4)), rng.normal(size=(4, 4))
    belief = with_fields(belief, prior_covariance=jnp.asarray(root @ root.T))
    plan = planning.plan_least_exposure(mdp, belief, cut=0.0)
    back = np.linalg.inv(mix).T  # features f @ mix, weights back.T... such that w.f stays
    told = {k: x @ mix if k != "information" else mix.T @ x @ mix for k, x in belief.told.items()}
    other = with_fields(
        belief,
        told=told,
        weights=belief.weights @ back,
        prior_mean=belief.prior_mean @ back,
        prior_covariance=back.T @ belief.prior_covariance @ back,
    )
    mixed = planning.plan_least_exposure(mdp.replace(features=mdp.features @ mix), other, cut=0.0)
    assert float(plan.exposure) > 0
    for name in ("policy", "unknown", "known", "exposure", "bound", "untold"):
        np.testing.assert_allclose(getattr(mixed, name), getattr(plan, name), atol=1e-7, err_msg=name)
    apart = with_fields(belief, prior_covariance=jnp.diag(belief.prior_sd**2))
    alone = planning.plan_least_exposure(mdp, with_fields(belief, prior_covariance=None), cut=0.0)
    for name in ("policy", "unknown", "by_feature", "known", "exposure"):
        found = getattr(planning.plan_least_exposure(mdp, apart, cut=0.0), name)
        np.testing.assert_allclose(found, getattr(alone, name), atol=1e-9, err_msg=name)


@pytest.mark.parametrize("kind", ["normal", "low rank", "student"])
def test_a_prior_says_how_its_weights_go_together_and_a_file_keeps_it(kind, tmp_path, x64):
    train, field, written = lava_world()
    rng = np.random.default_rng(1)
    factor = rng.normal(size=(4, 2))
    covariance = factor @ factor.T + np.diag([0.5, 1.0, 1.5, 0.7])
    prior = {
        "normal": dist.MultivariateNormal(jnp.zeros(4), covariance_matrix=jnp.asarray(covariance)),
        "low rank": dist.LowRankMultivariateNormal(
            jnp.zeros(4), jnp.asarray(factor), jnp.asarray([0.5, 1.0, 1.5, 0.7])
        ),
        "student": dist.MultivariateStudentT(5.0, jnp.zeros(4), jnp.linalg.cholesky(jnp.asarray(covariance) * 3 / 5)),
    }[kind]
    proxy = ProxyReward(written, train.mdp, beta=2.0, alternatives=jnp.stack([written, -written]))
    belief = posterior.importance(proxy, prior=prior, num_samples=200, key=jax.random.key(0))
    np.testing.assert_allclose(belief.prior_covariance, covariance, rtol=1e-9)
    belief.save(tmp_path / "belief")
    loaded = posterior.Posterior.load(tmp_path / "belief")
    few = belief.resample(50, key=jax.random.key(1))
    want = planning.unknown(field.mdp, belief)
    for other in (loaded, with_fields(few, weights=belief.weights, log_weights=belief.log_weights)):
        np.testing.assert_array_equal(planning.unknown(field.mdp, other), want)
    one = planning.unknown(field.mdp, with_fields(belief, told={}), proxy)
    np.testing.assert_allclose(one, want, atol=1e-12)


def test_a_feature_that_never_occurs_another_order_or_another_unit_change_no_plan(x64):
    train, field, written = lava_world()
    belief, proxy = belief_in(train, written, jnp.ones(4), samples=300)
    plan = planning.plan_least_exposure(field.mdp, belief)
    order = jnp.asarray([2, 0, 3, 1])

    def changed(f):
        """The belief in other coordinates: weights, prior and what was told, all by `f` on the last axis."""
        told = {k: f(f(x).T).T if k == "information" else f(x) for k, x in belief.told.items()}
        same = {k: f(getattr(belief, k)) for k in ("weights", "prior_mean", "prior_sd", "prior_sample")}
        return with_fields(belief, told=told, feature_names=(), **same)

    def field_with(features):
        return field.mdp.replace(features=features, feature_names=tuple(f"f{i}" for i in range(features.shape[-1])))

    turned = planning.plan_least_exposure(field_with(field.mdp.features[:, order]), changed(lambda x: x[..., order]))
    one_more = lambda x: jnp.concatenate([x, jnp.zeros_like(x[..., :1])], axis=-1)  # noqa: E731
    wider = with_fields(changed(one_more), prior_sd=jnp.append(belief.prior_sd, 1.0))
    blank = planning.plan_least_exposure(field_with(one_more(field.mdp.features)), wider)
    unit = np.array([1.0, 10.0, 1.0, 0.1])
    rescaled = with_fields(
        changed(lambda x: jnp.asarray(np.asarray(x) * unit)),
        told={
            k: jnp.asarray(np.asarray(x) / unit if k != "information" else np.asarray(x) / np.outer(unit, unit))
            for k, x in belief.told.items()
        },
    )
    scaled = planning.plan_least_exposure(field_with(jnp.asarray(np.asarray(field.mdp.features) / unit)), rescaled)
    for other in (turned, blank, scaled):
        np.testing.assert_allclose(other.policy, plan.policy, atol=1e-9)
        np.testing.assert_allclose(other.unknown, plan.unknown, atol=1e-9)
    assert proxy.shown() is not None


@pytest.mark.parametrize("horizon", [5, None])
def test_with_nothing_at_stake_the_least_exposed_of_the_best_plans_is_kept(horizon, x64):
    mdp, belief = small(3, horizon=horizon)
    idle = with_fields(belief, told=belief.told | {"gains": jnp.zeros((1, 4))})
    found = planning.plan_least_exposure(mdp, idle)
    known = planning._unknown.known_of(mdp, idle)
    r = (np.asarray(mdp.features) - np.asarray(known.reference)) @ np.asarray(known.weights)
    r = np.where(np.asarray(found.unknown) > 0, np.minimum(r, 0), r)
    best = mdps.solve(mdp, jnp.asarray(r))
    assert float(found.known) == pytest.approx(float(mdp.initial @ best.value), abs=1e-6)
    assert float(found.price) == 0 and found.converged
    # With nothing known either every plan is as good, and the least exposed is that of -u alone.
    blind = with_fields(idle, told=idle.told | {"information": jnp.zeros((4, 4))}, prior_mean=jnp.zeros(4))
    free = planning.plan_least_exposure(mdp, blind)
    alone = -mdps.solve(mdp, -free.unknown).value @ mdp.initial
    assert float(free.exposure) == pytest.approx(float(alone), abs=1e-6)


def test_without_evidence_that_shows_behaviour_it_compares_with_the_start():
    train, field, _ = lava_world()
    pair = Comparison(np.eye(4)[2:3], np.eye(4)[:1], beta=8.0, feature_names=train.mdp.feature_names)
    prior = dist.Uniform(-1, 1).expand([4]).to_event(1)
    belief = posterior.importance(pair, prior=prior, num_samples=2000, key=jax.random.key(0))
    u = planning.unknown(field.mdp, belief)
    assert float(u[0]) == 0 and float(u[1]) > 0.2  # the start is normal; lava was not spoken of
    found = planning.plan_least_exposure(field.mdp, belief)
    assert found.converged and float(found.exposure) >= float(found.bound)


def test_it_runs_under_jit_and_vmap_over_maps_and_beliefs():
    train, field, written = lava_world()
    other = GridWorld.from_text("S.Gl\n.g..", LEGEND, horizon=10)
    beliefs = [belief_in(train, written, jnp.ones(4), seed=s, samples=300)[0] for s in (0, 1)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *beliefs)
    both = jax.jit(jax.vmap(planning.plan_least_exposure))(mdps.stack([field.mdp, other.mdp]), stacked)
    for i, (grid, belief) in enumerate(zip((field, other), beliefs, strict=True)):
        one = planning.plan_least_exposure(grid.mdp, belief)
        np.testing.assert_allclose(both.policy[i], one.policy, atol=1e-5)
        assert float(both.exposure[i]) == pytest.approx(float(one.exposure), abs=1e-5)


def test_bad_input_is_refused_with_the_cure(tmp_path):
    train, field, written = lava_world()
    belief, proxy = belief_in(train, written, jnp.ones(4), samples=100)
    forgetful = with_fields(belief, told={})
    with pytest.raises(ValueError, match="pass the evidence after the belief"):
        planning.plan_least_exposure(field.mdp, forgetful)
    same = planning.plan_least_exposure(field.mdp, forgetful, proxy)
    np.testing.assert_array_equal(same.policy, planning.plan_least_exposure(field.mdp, belief).policy)
    with pytest.raises(ValueError, match=r"give_up is 1\.5"):
        planning.plan_least_exposure(field.mdp, belief, give_up=1.5)
    with pytest.raises(ValueError, match="cut is -1"):
        planning.unknown(field.mdp, belief, cut=-1)
    with pytest.raises(ValueError, match="does not say what it was able to tell"):
        planning.plan_least_exposure(field.mdp, belief, "proxy")
    with pytest.raises(ValueError, match="the class Comparison, which does not say"):
        planning.unknown(field.mdp, belief, Comparison)
    with pytest.raises(ValueError, match="the evidence that the belief was made from"):
        planning.plan_least_exposure(field.mdp, belief, Comparison(np.eye(3)[:1], np.eye(3)[1:2]))
    with pytest.raises(ValueError, match="the MDP comes first"):
        planning.plan_least_exposure(belief, field.mdp)
    with pytest.raises(ValueError, match="discount below 1 nor a horizon"):
        end = GridWorld.from_text("SlG", LEGEND, terminal=("goal",), discount=1.0)
        planning.plan_least_exposure(end.mdp, belief)


def test_a_plan_and_a_frontier_say_what_they_cost_and_rest_on():
    [case] = [case for case in families()["moss-A"] if case.title == "2 wide"]
    belief, _ = belief_in(case.train, case.written, case.widths)
    found = planning.plan_least_exposure(case.field.mdp, belief)
    assert float(found.by_feature.sum()) == pytest.approx(float(found.exposure), rel=1e-4)
    assert int(found.by_feature.argmax()) == case.field.mdp.feature_names.index("moss")
    assert "it rests on: moss" in str(found) and f"{float(found.known):.4g}" in str(found)
    several = planning.frontier(case.field.mdp, belief, give_up=[0.0, 0.7, 1.0])
    assert str(several).count("\n") == 3
    np.testing.assert_allclose(several.plans.exposure[1], found.exposure, rtol=1e-5)
    assert (np.diff(np.asarray(several.plans.bound)) <= 1e-6).all()
    with pytest.raises(ValueError, match="shares of the stake"):
        planning.frontier(case.field.mdp, belief, give_up=[0.0, 2.0])
    shape = jax.eval_shape(lambda: several)  # as under tracing: nothing to put in a table
    assert str(shape) == repr(shape) and shape._repr_html_() is None


def test_the_written_weights_may_value_what_is_known_but_not_what_is_not():
    train, field, written = lava_world()
    belief, _ = belief_in(train, written, jnp.ones(4))
    by_mean, by_written = (planning.plan_least_exposure(field.mdp, belief, value=x) for x in (None, written))
    lava = field.mdp.feature_names.index("lava")
    # What nothing was told about stays at the prior's mean, whatever number is given for it.
    absurd = planning.plan_least_exposure(field.mdp, belief, value=written.at[lava].set(100.0))
    for name in ("known", "exposure", "bound"):
        np.testing.assert_array_equal(getattr(absurd, name), getattr(by_written, name))
    same = planning.plan_least_exposure(field.mdp, belief, value=belief.mean())
    np.testing.assert_allclose(same.known, by_mean.known, rtol=1e-5)
    assert float(by_written.known) != pytest.approx(float(by_mean.known), rel=1e-3)
    with pytest.raises(ValueError, match="value has shape"):
        planning.plan_least_exposure(field.mdp, belief, value=written[:2])


def test_where_the_best_worth_is_not_known_it_is_not_converged_and_says_so():
    """Near discount 1 in float32: the solver's error is a large part of what plans are worth."""
    rng = np.random.default_rng(2)
    worlds = [
        MDP.from_dense(
            rng.dirichlet(np.full(6, 0.3), size=(6, 3)), rng.normal(size=(6, 3, 3)), np.eye(6)[0], discount=0.999
        )
        for _ in range(2)
    ]
    train, field = worlds
    written = jnp.array([0.5, -0.5, 0.0])
    belief, _ = belief_in(SimpleNamespace(mdp=train), written, jnp.ones(3), beta=1.0, samples=300, alternatives=30)
    found = planning.plan_least_exposure(field, belief, give_up=0.05)
    # From a discount of .999 policies used to share wrong actions; now only the values are off, and by little.
    assert found.converged and float(found.known) <= float(found.best)
    patient = field.replace(discount=0.99999)
    found = planning.plan_least_exposure(patient, belief, give_up=0.05)
    assert float(found.known) <= float(found.best) and not found.converged
    assert "not known well enough" in str(found)
    steady = planning.plan_least_exposure(field.replace(discount=0.9), belief, give_up=0.05)
    assert steady.converged and float(steady.known) <= float(steady.best)


def test_a_sample_without_probability_and_a_plan_that_is_not_finite_do_no_harm():
    train, field, written = lava_world()
    belief, _ = belief_in(train, written, jnp.ones(4))
    gone = with_fields(
        belief,
        weights=belief.weights.at[0].set(jnp.nan),
        log_weights=jax.nn.log_softmax(belief.log_weights.at[0].set(-jnp.inf)),
    )
    found = planning.plan_least_exposure(field.mdp, gone)
    assert found.converged and np.isfinite(found.known)
    absurd = planning.plan_least_exposure(field.mdp, belief, value=jnp.full(4, 3e38))
    assert not absurd.converged and "not converged" in str(absurd)
