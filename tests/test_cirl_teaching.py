"""Teaching a feature-matching robot, against every trajectory of tiny worlds."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cirl import teaching
from mdps import GridWorld


@pytest.fixture(autouse=True)
def in_float64(x64):
    pass


T, LAMBDA = 5, 0.7
CENTRES = jnp.array([[0.0, 0.0], [2.0, 1.0]])


def world(horizon=T):
    return teaching.navigation(CENTRES, side=3, horizon=horizon, width=1.0)


def everything(mdp):
    """Features of every trajectory, one for each sequence of moves, by walking."""
    after = np.asarray(mdp.to_dense()).argmax(axis=2)
    features, start = np.asarray(mdp.features), int(np.argmax(mdp.initial))
    found = []
    for actions in itertools.product(range(5), repeat=mdp.horizon - 1):
        path = [start]
        for a in actions:
            path.append(after[path[-1], a])
        found.append(features[path].sum(axis=0))
    return np.array(found)


def log_sum(phi, theta):
    # The last action leads nowhere that counts: five equal ways to end.
    logits = LAMBDA * phi @ theta
    return logits.max() + np.log(np.exp(logits - logits.max()).sum()) + np.log(5)


def mean_features(phi, theta):
    p = np.exp(LAMBDA * phi @ theta)
    return p @ phi / p.sum()


def test_the_world_is_an_open_grid_with_bumps():
    mdp = world()
    assert mdp.num_actions == 5
    assert int(np.argmax(mdp.initial)) == 4
    after = np.asarray(mdp.to_dense()).argmax(axis=2)
    assert after[4].tolist() == [1, 5, 7, 3, 4]
    assert after[0].tolist() == [0, 1, 3, 0, 0]
    np.testing.assert_allclose(mdp.features[4], np.exp([-1.0, -0.5]), atol=1e-12)


def test_expected_features_and_divergence_are_those_of_every_trajectory():
    mdp, phi = world(), everything(world())
    theta, other = np.array([0.8, -0.3]), np.array([-0.2, 0.9])
    got = teaching.maxent_features(mdp, jnp.asarray(theta), rationality=LAMBDA)
    np.testing.assert_allclose(got, mean_features(phi, theta), atol=1e-10)
    p, q = (LAMBDA * phi @ w - log_sum(phi, w) for w in (theta, other))
    expected = 5 * np.sum(np.exp(p) * (p - q))
    got = teaching.divergence(mdp, jnp.asarray(theta), jnp.asarray(other), rationality=LAMBDA)
    assert float(got) == pytest.approx(expected, abs=1e-10)
    assert float(teaching.divergence(mdp, jnp.asarray(theta), jnp.asarray(theta), rationality=LAMBDA)) == 0


def test_inference_is_the_best_point_of_the_box():
    mdp, phi = world(), everything(world())
    axis = np.linspace(-1, 1, 201)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    for shown in (phi[100], mean_features(phi, np.array([0.3, -0.4]))):
        score = LAMBDA * grid @ shown - np.array([log_sum(phi, w) for w in grid])
        guess = teaching.infer(mdp, jnp.asarray(shown), rationality=LAMBDA)
        own = LAMBDA * np.asarray(guess.theta) @ shown - log_sum(phi, np.asarray(guess.theta))
        assert own >= score.max() - 1e-6
        np.testing.assert_allclose(guess.theta, grid[score.argmax()], atol=0.02)
        assert float(guess.residual) < 1e-3
        assert np.abs(guess.theta).max() <= 1
    # What matches the expectation under θ is read as θ: that is what a teacher aims at.
    np.testing.assert_allclose(guess.theta, [0.3, -0.4], atol=1e-3)


@pytest.mark.parametrize("effort", [0.0, 0.3, 5.0])
def test_the_teacher_finds_the_best_of_all_trajectories(effort):
    mdp, phi = world(), everything(world())
    for theta in np.random.default_rng(0).uniform(-1, 1, (4, 2)):
        target = mean_features(phi, theta)
        worth = phi @ theta - effort * ((target - phi) ** 2).sum(axis=1)
        path = teaching.teach(mdp, jnp.asarray(theta), rationality=LAMBDA, effort=effort, num_beams=256)
        shown = np.asarray(teaching.counts(mdp, path))
        assert shown @ theta - effort * ((target - shown) ** 2).sum() == pytest.approx(worth.max(), abs=1e-9)
        after = np.asarray(mdp.to_dense()).max(axis=1)
        assert int(path[0]) == 4
        assert all(after[a, b] == 1 for a, b in itertools.pairwise(np.asarray(path)))


def test_the_expert_is_the_best_trajectory():
    mdp, phi = world(), everything(world())
    for theta in np.random.default_rng(1).uniform(-1, 1, (4, 2)):
        shown = np.asarray(teaching.counts(mdp, teaching.demonstrate(mdp, jnp.asarray(theta))))
        assert shown @ theta == pytest.approx((phi @ theta).max(), abs=1e-9)


def test_a_demonstration_from_several_starts_is_refused_by_name():
    """It was taken from the likeliest of them without a word."""
    theta = jnp.array([0.8, -0.3])
    two, many = np.zeros(9), teaching.deployment(world())
    two[[4, 7]] = 0.6, 0.4
    for mdp, told in ((world().replace(initial=two), "2 states \\(4, 7\\)"), (many, r"9 states \(0, 1, 2, 3, ...\)")):
        with pytest.raises(ValueError, match=f"mdp starts in {told}, .*give each its own lesson"):
            teaching.demonstrate(mdp, theta)
        with pytest.raises(ValueError, match=f"mdp starts in {told}"):
            teaching.teach(mdp, theta, rationality=LAMBDA, effort=0.1)
    corner = world().replace(initial=np.eye(9)[8])
    assert (
        int(teaching.demonstrate(corner, theta)[0])
        == int(teaching.teach(corner, theta, rationality=1.0, effort=0.1)[0])
        == 8
    )


def test_several_starts_count_by_their_probability_in_expectations():
    theta, initial = jnp.array([0.8, -0.3]), np.zeros(9)
    initial[[4, 7]] = 0.6, 0.4
    parts = [teaching.maxent_features(world().replace(initial=np.eye(9)[s]), theta, rationality=LAMBDA) for s in (4, 7)]
    both = teaching.maxent_features(world().replace(initial=initial), theta, rationality=LAMBDA)
    np.testing.assert_allclose(both, 0.6 * parts[0] + 0.4 * parts[1], atol=1e-12)


def test_the_teacher_takes_no_move_that_does_not_exist():
    """Only rest exists in the middle, so that nobody leaves it."""
    available = np.ones((9, 5), bool)
    available[4, :4] = False
    mdp = world().replace(available=available)
    path = teaching.teach(mdp, jnp.array([1.0, -1.0]), rationality=LAMBDA, effort=0.0)
    assert path.tolist() == teaching.demonstrate(mdp, jnp.array([1.0, -1.0])).tolist() == [4] * T


def test_regret_is_what_the_wrong_plan_loses():
    mdp = teaching.deployment(world(3))
    theta = jnp.array([1.0, -0.5])
    assert float(teaching.regret(mdp, theta, theta)) == pytest.approx(0, abs=1e-12)
    assert float(teaching.regret(mdp, theta, 3 * theta)) == pytest.approx(0, abs=1e-12)
    assert float(teaching.regret(mdp, theta, -theta)) > 0.1


def test_it_maps_and_compiles_once():
    traces = []

    @jax.jit
    def lesson(theta, centres, rationality):
        traces.append(1)
        mdp = teaching.navigation(centres, side=3, horizon=4)
        path = teaching.teach(mdp, theta, rationality=rationality, effort=0.1, num_beams=8)
        return teaching.infer(mdp, teaching.counts(mdp, path), rationality=rationality, num_steps=20).theta

    thetas = jnp.asarray(np.random.default_rng(2).uniform(-1, 1, (3, 2)))
    many = jax.vmap(lesson, (0, None, None))(thetas, CENTRES, 0.5)
    assert many.shape == (3, 2)
    lesson(thetas[0], CENTRES, 0.5), lesson(thetas[1], CENTRES, 2.0)
    assert len(traces) == 1
    np.testing.assert_allclose(many[0], lesson(thetas[0], CENTRES, 0.5), atol=1e-9)


def test_bad_lessons_are_refused_by_name():
    theta = jnp.ones(2)
    with pytest.raises(ValueError, match="give the MDP a horizon"):
        teaching.infer(world().replace(horizon=None, discount=0.9), theta, rationality=1.0)
    for value in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="λ must be positive and finite"):
            teaching.teach(world(), theta, rationality=value, effort=0.1)
    slippery = GridWorld.from_text("S.", {"S": "a", ".": "b"}, goal=None, slip=0.1, horizon=3)
    with pytest.raises(ValueError, match="moves are uncertain"):
        teaching.demonstrate(slippery.mdp, theta)
