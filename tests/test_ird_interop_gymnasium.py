"""Rollouts of gymnasium's environments and what agents are paid there, against plain loops over single environments."""

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from ird import ProxyReward, planning, posterior
from ird.interop.gymnasium import FeatureWrapper, RewardWrapper, rollouts
from ird.risk import CVaR, Mean

CART, CAR = "CartPole-v1", "MountainCar-v0"
MODES = list(AutoresetMode)


def counted(before, action, after):
    """Of a cart: tilt, place, and how far it moved."""
    return np.stack([np.abs(after[..., 2]), after[..., 0], np.abs(after[..., 0] - before[..., 0])], axis=-1)


def leaning(observation):
    return (observation[..., 2] + 0.5 * observation[..., 3] > 0).astype(int)


def left(observation):
    return np.zeros(len(observation), int)


def swinging(observation):
    """Push the car the way it rolls: it gets out after some hundred steps."""
    return np.where(observation[..., 1] < 0, 0, 2)


def make(name, **more):
    return lambda: gymnasium.make(name, **more)


def plain_loop(env, act, features, horizon, gamma, seed):
    """What one run collects, how long it was, and whether it ended: one environment, one step after another."""
    before, _ = env.reset(seed=seed)
    total, t, terminated = 0.0, 0, False
    while t < horizon and not terminated:
        action = int(act(before[None])[0])
        after, _, terminated, _, _ = env.step(action)
        total = total + gamma**t * np.asarray(features(before, action, after), float)
        before, t = after, t + 1
    return np.append(total, sum(gamma**j for j in range(t, horizon))), t, terminated and t < horizon


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("by", ["function", "wrapper"])
@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_runs_are_those_of_a_plain_loop_in_every_mode_of_beginning_anew(mode, by, gamma):
    """Who only pushes left falls after ten steps of sixty: the next runs of that environment must not be counted."""
    inside = make(CART) if by == "function" else lambda: FeatureWrapper(gymnasium.make(CART), counted)
    envs = SyncVectorEnv([inside] * 3, autoreset_mode=mode)
    given = {"features": counted} if by == "function" else {}
    found = rollouts(envs, [left, leaning], episodes=7, horizon=60, discount=gamma, seed=11, **given)
    env = gymnasium.make(CART)
    for p, act in enumerate([left, leaning]):
        runs = [plain_loop(env, act, counted, 60, gamma, 11 + 9 * p + e) for e in range(7)]
        np.testing.assert_allclose(found.runs[p], [run[0] for run in runs], rtol=1e-12)
        assert found.lengths[p].tolist() == [run[1] for run in runs]
        assert found.terminated[p].tolist() == [run[2] for run in runs]
    assert found.terminated[0].all() and found.lengths[0].max() < 20
    np.testing.assert_allclose(found.features, found.runs.mean(axis=1))
    np.testing.assert_allclose(found.visits, sum(gamma**t for t in range(60)))
    assert found.feature_names == ("feature 0", "feature 1", "feature 2", "ended")


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_a_car_that_gets_out_has_ended_and_one_that_does_not_was_watched_to_the_horizon(mode):
    def where(before, action, after):
        return [after[0] < -0.9, action == 1]

    envs = gymnasium.make_vec(
        CAR, num_envs=2, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode},
        wrappers=[lambda env: FeatureWrapper(env, where)],
    )  # fmt: skip
    names = ("far left", "coasting")
    found = rollouts(envs, [swinging, left], episodes=2, horizon=200, seed=3, feature_names=names, ended="out")
    assert found.terminated[0].all() and not found.terminated[1].any() and (found.lengths[1] == 200).all()
    np.testing.assert_array_equal(found.runs[0, :, -1], 200 - found.lengths[0])
    assert found.features[1, 1:].tolist() == [0, 0] and (found.features[:, 0] > 0).all()
    env = gymnasium.make(CAR)
    runs = [plain_loop(env, swinging, where, 200, 1.0, 3 + e)[0] for e in range(2)]
    np.testing.assert_array_equal(found.runs[0], runs)
    told = str(found)
    assert told.startswith("2 policies, 2 runs of 200 steps each; 50% ended before") and "far left" in told


def test_features_may_be_names_in_info_and_environments_may_be_vectors_of_their_own():
    class Told(gymnasium.Wrapper):
        def step(self, action):
            after, *rest, info = self.env.step(action)
            return after, *rest, {**info, "speed": float(after[1]), "pushed": action == 1}

    envs = SyncVectorEnv([lambda: Told(gymnasium.make(CART))] * 2, autoreset_mode="SameStep")
    found = rollouts(envs, left, features=("speed", "pushed"), episodes=3, horizon=30, seed=0)
    assert found.feature_names == ("speed", "pushed", "ended") and found.terminated.all()
    asked = rollouts(envs, left, features=lambda before, action, after: after[..., 1], episodes=3, horizon=30, seed=0)
    np.testing.assert_allclose(found.runs[..., [0, 2]], asked.runs, rtol=1e-6)
    assert (found.runs[..., 1] == 0).all()
    own = gymnasium.make_vec(CART, num_envs=50, vectorization_mode="vector_entry_point")
    theirs = rollouts(own, left, features=counted, episodes=50, horizon=30, seed=0)
    ours = rollouts(gymnasium.make(CART), left, features=counted, episodes=50, horizon=30, seed=0)
    apart = np.abs(theirs.features - ours.features) / np.hypot(theirs.standard_error, ours.standard_error)
    assert apart.max() < 4 and ours.lengths.shape == (1, 50)


def test_standard_errors_are_those_of_repeated_rollouts():
    """Sixty times the same policy: the spread of its estimates is known to about 9%."""
    envs = gymnasium.make_vec(CART, num_envs=12, vectorization_mode="sync")
    found = rollouts(envs, [left] * 60, features=counted, episodes=12, horizon=20, discount=0.95, seed=0)
    spread, told = found.features.std(axis=0, ddof=1), np.sqrt((found.standard_error**2).mean(axis=0))
    np.testing.assert_allclose(told, spread, rtol=0.3)
    np.testing.assert_allclose(np.diagonal(found.covariance, axis1=1, axis2=2), found.standard_error**2)
    one = np.cov(found.runs[0].T) / 12
    np.testing.assert_allclose(found.covariance[0], one, atol=1e-15)
    single = rollouts(envs, [left], features=counted, episodes=1, horizon=20, seed=0)
    assert np.isnan(single.standard_error).all() and np.isfinite(single.features).all()
    assert np.isnan(single.covariance).all() and "±" not in str(single)


def test_visits_that_are_kept_add_up_to_the_runs():
    envs = SyncVectorEnv([make(CART)] * 2)
    for ended in ("ended", None):
        found = rollouts(envs, [left, leaning], features=counted, episodes=3, horizon=40, discount=0.9, seed=1,
                         keep_visits=True, ended=ended)  # fmt: skip
        assert found.steps.shape == (2, 120, 3 + (ended is not None)) and found.often.shape == (2, 120)
        np.testing.assert_allclose(np.einsum("pv,pvk->pk", found.often, found.steps), found.features, rtol=1e-12)
        if ended:
            np.testing.assert_allclose(found.often.sum(axis=1), found.visits)
    with pytest.raises(ValueError, match=r'runs have no one number of visits; .*ended="ended"'):
        _ = found.visits


def test_a_run_that_was_cut_off_is_refused_and_one_that_was_cut_at_the_horizon_is_not():
    envs = gymnasium.make_vec(CAR, num_envs=2, vectorization_mode="sync")
    with pytest.raises(ValueError, match=r"horizon is 300, but the environment truncates runs after 200 steps"):
        rollouts(envs, left, features=lambda b, a, s: s, episodes=2, horizon=300, seed=0)
    hidden = SyncVectorEnv([lambda: gymnasium.wrappers.TimeLimit(gymnasium.make(CAR).unwrapped, 25)] * 2)
    hidden.envs[0].spec.max_episode_steps = None
    with pytest.raises(ValueError, match=r"horizon is 60, but the environment truncated a run after 25 steps"):
        rollouts(hidden, left, features=lambda b, a, s: s, episodes=2, horizon=60, seed=0)
    found = rollouts(hidden, left, features=lambda b, a, s: s, episodes=2, horizon=25, seed=0)
    assert not found.terminated.any() and found.visits == 25


def paid_runs(env, act, gamma, horizon, seeds):
    """Discounted sums of what an environment pays, `[E]`."""
    sums = []
    for seed in seeds:
        observation, _ = env.reset(seed=seed)
        total, t, over = 0.0, 0, False
        while t < horizon and not over:
            observation, paid, over, _, _ = env.step(int(act(observation[None])[0]))
            total, t = total + gamma**t * paid, t + 1
        sums.append(total)
    return np.array(sums)


def belief_about(names, seed=0, untold=None):
    rng = np.random.default_rng(seed)
    K = len(names)
    rewards, collected = rng.normal(size=(60, K)), 5 * rng.normal(size=(60, K))
    if untold is not None:
        collected[:, untold] = 0
    collected[0] = collected[np.argmax(collected @ rewards[0])]
    proxy = ProxyReward.from_features(
        0, alternatives=rewards, features=collected, visits=40, feature_names=names, beta=0.5
    )
    return posterior.exact(proxy, candidates=rng.normal(size=(400, K)))


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_what_is_paid_adds_up_to_the_return_of_the_run_its_end_included(gamma, x64):
    names = ("tilt", "place", "moved", "ended")
    belief = belief_about(names, untold=1)
    envs = SyncVectorEnv([make(CART)] * 4)
    found = rollouts(envs, [left, leaning], features=counted, episodes=4, horizon=40, discount=gamma, seed=5,
                     feature_names=names[:3], keep_visits=True)  # fmt: skip
    risky = planning.pay_per_step(belief, risk=CVaR(0.3), baseline=np.zeros(4))
    exposed = planning.pay_least_exposure(belief, met=found.steps, visits=found.visits)
    linear = [planning.pay_mean(belief), planning.pay_draw(belief, key=jax.random.key(1)), np.arange(4.0)]
    like = {"features": counted, "horizon": 40, "discount": gamma}
    for p, act in enumerate([left, leaning]):
        seeds = range(5 + 4 * p, 9 + 4 * p)
        for reward in linear:
            env = RewardWrapper(gymnasium.make(CART), reward, **like)
            weights = np.asarray(getattr(reward, "weights", reward))
            np.testing.assert_allclose(paid_runs(env, act, gamma, 40, seeds), found.runs[p] @ weights, rtol=1e-9)
        for reward in (risky, exposed):
            env = RewardWrapper(gymnasium.make(CART), reward, **like)
            each = np.asarray(reward(found.steps[p])) * found.often[p] * 4
            np.testing.assert_allclose(
                paid_runs(env, act, gamma, 40, seeds), each.reshape(4, 40).sum(axis=1), rtol=1e-9
            )
    chosen = planning.choose(found.steps, belief, visits=found.often)
    worth = [(np.asarray(exposed(found.steps[p])) * found.often[p]).sum() for p in range(2)]
    np.testing.assert_allclose(worth, chosen.values - exposed.price * chosen.unknown, rtol=1e-9)


def test_an_end_without_a_horizon_is_paid_for_ever_and_none_is_paid_where_nothing_counts_it():
    weights = np.array([0.0, 0.0, 0.0, -2.0])
    lengths = []
    for reward, more, wanted in (
        (weights, {"discount": 0.9}, -2.0 * 0.9 / 0.1),
        (weights, {"discount": 0.9, "horizon": 12}, None),
        (weights[:3], {"ended": None}, 0.0),
    ):
        env = RewardWrapper(gymnasium.make(CART), reward, features=counted, **more)
        _, t, over = env.reset(seed=0), 0, False
        while not over:
            _, paid, over, _, info = env.step(0)
            t += 1
            assert over or paid == 0
        lengths.append(t)
        wanted = -2.0 * sum(0.9**j for j in range(1, 12 - t + 1)) if wanted is None else wanted
        assert paid == pytest.approx(wanted, rel=1e-6)
        assert info["env_reward"] == 1.0 and len(info["features"]) == len(reward)
    assert len(set(lengths)) == 1 and 5 < lengths[0] < 12


ICE = 0.25  # metres to the right


def training(before, action, after):
    """Upright, to the right, and no ice."""
    where = np.clip(after[..., 0], -1, 1)
    return np.stack([np.abs(after[..., 2]) < 0.1, where, np.zeros_like(where)], axis=-1)


def icy(before, action, after):
    return training(before, action, after) + np.stack([0 * after[..., 0]] * 2 + [after[..., 0] > ICE], axis=-1)


def linear(weights):
    return lambda observation: (observation @ weights[:4] + weights[4] > 0).astype(int)


def cross_entropy(score, mean, spread, rng, turns=6, number=16, kept=4):
    """Sample, keep the best, fit, again: the agent."""
    for _ in range(turns):
        tried = mean + spread * rng.normal(size=(number, len(mean)))
        best = tried[np.argsort([-score(w) for w in tried])[:kept]]
        mean, spread = best.mean(axis=0), best.std(axis=0) + 0.02
    return mean


BALANCE = np.array([0.1, 0.5, 3.0, 1.0, 0.0])


@pytest.fixture(scope="module")
def learnt():
    """Evidence from rollouts alone: forty policies, and for each reward the one that collects most of it."""
    rng = np.random.default_rng(0)
    pool = [linear(BALANCE + np.array([0.3, 0.3, 0.3, 0.3, 0.6]) * rng.normal(size=5)) for _ in range(40)]
    envs = gymnasium.make_vec(CART, num_envs=8, vectorization_mode="sync")
    names = ("upright", "right", "ice")
    found = rollouts(envs, pool, features=training, episodes=16, horizon=80, seed=0, feature_names=names)
    rewards = rng.normal(size=(80, 4))
    rewards[0] = [1.0, 1.0, 0.0, -1.0]
    best = np.argmax(rewards @ found.features.T, axis=1)
    proxy = ProxyReward.from_features(
        0, beta=0.03, alternatives=rewards, features=found.features[best], standard_error=found.standard_error[best],
        visits=found.visits, feature_names=found.feature_names,
    )  # fmt: skip
    return posterior.exact(proxy, candidates=rng.normal(size=(2000, 4))), envs, pool


def test_rollouts_are_evidence_and_options_and_the_careful_choice_keeps_off_what_no_run_had_shown(learnt):
    belief, envs, pool = learnt
    assert belief.feature_names == ("upright", "right", "ice", "ended")
    sd = np.sqrt(np.diagonal(belief.covariance()))
    assert float(belief.mean()[1]) > 0.2 and sd[2] > sd[1] + 0.05  # what it is to the right is told, ice is not
    names = ("upright", "right", "ice")
    there = rollouts(
        envs, pool, features=icy, episodes=8, horizon=80, seed=10_000, feature_names=names, keep_visits=True
    )
    measured = planning.features_offset(belief, there.features.mean(axis=0))
    ice = {}
    for risk in (Mean(), CVaR(0.1)):
        found = planning.choose(there.features, belief, risk=risk, offset=measured, visits=there.visits)
        ice[type(risk).__name__] = there.features[int(found.option), 2]
    careful = planning.choose(there.steps, belief, visits=there.often, feature_names=there.feature_names)
    assert careful.converged and float(careful.known) >= float(careful.floor)
    ice["least exposure"] = there.features[int(careful.option), 2]
    # Steps of eighty; over five seeds 14 to 34, 0 to 15 (the tail weighs all that is uncertain, not ice alone), and 0.
    assert ice["Mean"] > 10 and ice["CVaR"] < 0.7 * ice["Mean"] and ice["least exposure"] < 1


def test_an_agent_that_is_paid_for_the_known_less_the_unknown_keeps_off_it_too(learnt, unannotated):
    """A cross-entropy search over linear policies, which knows nothing of beliefs, trains against both rewards."""
    belief, envs, pool = learnt
    names = ("upright", "right", "ice")
    few = rollouts(envs, pool[:4], features=icy, episodes=2, horizon=80, seed=7, feature_names=names, keep_visits=True)
    pays = {
        "mean": planning.pay_mean(belief),
        "careful": planning.pay_least_exposure(belief, met=few.steps, visits=few.visits),
    }
    trained = []
    for pay in pays.values():
        env = RewardWrapper(gymnasium.make(CART), pay, features=icy, horizon=80)
        rng = np.random.default_rng(1)
        score = lambda w, env=env: paid_runs(env, linear(w), 1.0, 80, (0, 1)).mean()  # noqa: E731
        trained.append(linear(cross_entropy(score, BALANCE, np.full(5, 0.6), rng)))
    found = rollouts(envs, trained, features=icy, episodes=16, horizon=80, seed=20_000, feature_names=names)
    mean, careful = found.features
    assert mean[2] > 10 and careful[2] < mean[2] / 3  # steps on ice, of eighty (five seeds: 26 to 31, 0 to 7.4)
    assert min(mean[0], careful[0]) > 60 and careful[1] > 3  # both stay up, and go to the right


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policies": lambda o: np.zeros(3, int)}, "gave actions of shape"),
        ({"policies": lambda o: np.zeros(2)}, "gave actions of float64"),
        ({"features": lambda b, a, s: s[0, 0]}, "features gave an array of shape"),
        ({"features": lambda b, a, s: s * np.nan}, "every feature of a visit must be finite"),
        ({"features": "speed"}, "features is 'speed', under which info holds no numbers"),
        (
            {"features": lambda b, a, s: s, "feature_names": ("a", "b")},
            "features has 4 numbers, but 2 by feature_names",
        ),
        ({"feature_names": ("ended",), "features": lambda b, a, s: s[:, 0]}, "ended is 'ended'"),
        ({"envs": CART}, "envs is 'CartPole-v1'; give a vector environment"),
        ({"policies": []}, "policies is empty"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, message):
    given = {"policies": left, "features": counted, "episodes": 2, "horizon": 5, "seed": 0} | change
    envs = given.pop("envs", None) or SyncVectorEnv([make(CART)] * 2)
    with pytest.raises(ValueError, match=message):
        rollouts(envs, given.pop("policies"), **given)


def test_what_a_function_of_ones_own_raises_comes_with_a_note_of_what_it_got():
    with pytest.raises(IndexError) as told:
        rollouts(gymnasium.make(CART), lambda seen: int(seen[2] > 0), features=counted, episodes=1, horizon=5, seed=0)
    [note] = told.value.__notes__
    assert note.startswith("policy 0 of policies gets a batch: one row for each of 1 environments")


def test_rewards_that_do_not_fit_are_refused_by_name():
    env = gymnasium.make(CART)
    belief = belief_about(("tilt", "place", "moved", "stopped"))
    with pytest.raises(ValueError, match="of which the last is not 'ended'"):
        RewardWrapper(env, planning.pay_mean(belief), features=counted, horizon=5)
    with pytest.raises(ValueError, match="would be paid for ever"):
        RewardWrapper(env, np.ones(4), features=counted)
    with pytest.raises(ValueError, match=r"env is a SyncVectorEnv; give one gymnasium environment"):
        RewardWrapper(SyncVectorEnv([make(CART)]), np.ones(4), features=counted, horizon=5)
    short = RewardWrapper(env, np.ones(3), features=counted, horizon=5)
    short.reset(seed=0)
    with pytest.raises(ValueError, match=r"features has shape \(4,\)"):
        short.step(0)
    bare = RewardWrapper(env, lambda row: np.inf, features=counted, horizon=5)
    bare.reset(seed=0)
    with pytest.raises(ValueError, match="reward gave inf"):
        bare.step(0)
