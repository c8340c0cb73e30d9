"""Every kind of evidence against brute force over its choice set, by enumerating trajectories in NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from ird import posterior
from ird.evidence import (
    Choice,
    Comparison,
    Correction,
    CreditAssignment,
    Improvement,
    InitialState,
    InitialStateChoice,
    MaxEntDemonstration,
    OffSwitch,
    ProxyReward,
    RationalDemonstration,
    RewardPunish,
    Utterance,
    deformed_path,
    path_features,
)
from mdps import MDP, GridWorld, stack

LEGEND = {"S": "dirt", ".": "dirt", "g": "grass", "G": "goal"}
T, GAMMA, BETA = 4, 0.9, 1.7
ROBOT, AROUND = [0, 1, 2, 2], [0, 3, 4, 5]


@pytest.fixture(autouse=True)
def in_float64(x64):
    pass


def world(**settings):
    settings = {"horizon": T, "discount": GAMMA} | settings
    return GridWorld.from_text("SgG\n...", LEGEND, **settings).mdp


def candidates(n=5):
    return np.random.default_rng(0).normal(size=(n, 3))


def features_of(path, features, gamma=GAMMA):
    return sum(gamma**t * features[s] for t, s in enumerate(path))


def chosen_log_probability(options, chosen, weights, beta=BETA):
    """log of exp(β w·φ_c) / Σ exp(β w·φ), written out."""
    logits = beta * weights @ np.asarray(options).T
    return logits[:, chosen] - np.log(np.exp(logits).sum(axis=1))


def check(evidence, expected, weights, atol=1e-10):
    value_and_slope = jax.jit(
        lambda e, w: (e.log_likelihood(w), jax.jacrev(lambda x: e.log_likelihood(x[None])[0])(w[0]))
    )
    got, gradient = value_and_slope(evidence, jnp.asarray(weights))
    np.testing.assert_allclose(got, expected, atol=atol)
    assert np.isfinite(gradient).all()
    return gradient


def test_improvement_is_a_choice_between_two_paths():
    mdp, w = world(), candidates()
    options = [features_of(path, np.asarray(mdp.features)) for path in (AROUND, ROBOT)]
    check(Improvement(mdp, AROUND, robot=ROBOT, beta=BETA), chosen_log_probability(options, 0, w), w)


@pytest.mark.parametrize("pressed", [True, False])
def test_off_switch_freezes_the_robot(pressed):
    mdp, w = world(), candidates()
    options = [features_of(path, np.asarray(mdp.features)) for path in ([0, 1, 1, 1], ROBOT)]
    evidence = OffSwitch(mdp, ROBOT, 1, pressed=pressed, beta=BETA)
    check(evidence, chosen_log_probability(options, 0 if pressed else 1, w), w)


@pytest.mark.parametrize("sign", [1, -1])
def test_reward_and_punishment_are_measured_from_what_was_expected(sign):
    mdp, w = world(), candidates()
    features, P = np.asarray(mdp.features), np.asarray(mdp.to_dense())
    expected = np.zeros(3)
    for actions in itertools.product(range(4), repeat=T):
        path = [0]
        for a in actions[:-1]:
            path.append(int(P[path[-1], a].argmax()))
        expected += features_of(path, features) / 4**T
    options = [features_of(ROBOT, features), expected]
    check(RewardPunish(mdp, ROBOT, sign, beta=BETA), chosen_log_probability(options, 0 if sign == 1 else 1, w), w)


def test_credit_goes_to_one_of_all_segments():
    mdp, w = world(), candidates()
    options = [features_of([a, b, a, b], np.asarray(mdp.features)) for a, b in ((0, 1), (1, 2), (2, 2))]
    check(CreditAssignment(mdp, ROBOT, 1, 2, beta=BETA), chosen_log_probability(options, 1, w), w)


def test_correction_is_a_choice_among_deformed_paths():
    mdp, w = world(), candidates()
    cells = np.array([[0, 0], [0, 1], [0, 2], [0, 2]])
    pushed = deformed_path(cells, 1, (1, 0))
    assert pushed.tolist() == [[0, 0], [1, 1], [1, 2], [0, 2]]
    paths = [ROBOT, (3 * pushed[:, 0] + pushed[:, 1]).tolist()]
    options = [features_of(path, np.asarray(mdp.features)) for path in paths]
    check(Correction(mdp, paths, 1, beta=BETA), chosen_log_probability(options, 1, w), w)


def test_deformation_solves_its_linear_system():
    # A⁻¹ Δq with A = DᵀD, D the second difference: checked by applying A to the unrounded answer.
    second = 2 * np.eye(3) - np.eye(3, k=1) - np.eye(3, k=-1)
    response = np.linalg.inv(second.T @ second)[:, 1]
    moved = deformed_path(np.zeros((5, 2)), 2, (10, 0))[:, 0]
    np.testing.assert_array_equal(moved[1:-1], np.floor(10 * response / response[1] + 0.5))
    assert moved[0] == moved[-1] == 0


def test_an_utterance_is_the_mean_of_its_trajectories():
    mdp, w = world(), candidates()
    features = np.asarray(mdp.features)
    meanings = {"around": [AROUND, [0, 3, 3, 4]], "as you like": [AROUND, ROBOT]}
    options = [np.mean([features_of(path, features) for path in paths], axis=0) for paths in meanings.values()]
    check(Utterance(mdp, meanings, "around", beta=BETA), chosen_log_probability(options, 0, w), w)


def test_the_likelihoods_of_comparisons_multiply():
    mdp, w = world(), candidates()
    features = np.asarray(mdp.features)
    pairs = [(AROUND, ROBOT), ([0, 0, 1, 2], [0, 3, 4, 5])]
    a, b = (np.array([features_of(pair[i], features) for pair in pairs]) for i in (0, 1))
    expected = sum(chosen_log_probability([a[i], b[i]], 0, w) for i in range(2))
    check(Comparison(a, b, beta=BETA, feature_names=mdp.feature_names), expected, w)
    one_by_one = sum(Comparison.of_paths(mdp, *pair, beta=BETA).log_likelihood(jnp.asarray(w)) for pair in pairs)
    np.testing.assert_allclose(one_by_one, expected, atol=1e-10)


def test_an_unknown_bias_is_summed_out():
    rng, w = np.random.default_rng(1), candidates()
    a, b, agrees = rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), np.array([1.0, 0.0, -1.0, 1.0])
    kappa = np.array([0.0, 2.0])
    logits = BETA * w @ (a - b).T
    each = [np.prod(1 / (1 + np.exp(-(logits + k * agrees))), axis=1) for k in kappa]
    check(Comparison(a, b, beta=BETA, agrees=agrees, kappa=kappa), np.log(np.mean(each, axis=0)), w)


def test_maxent_demonstration_is_the_choice_of_a_path_among_all_paths():
    # Certain moves, one start, no discount: Π π_soft = exp(β w·φ(ξ)) / Σ_ξ over action sequences (Ziebart 2010).
    mdp, w = world(discount=1.0), candidates()
    features, P = np.asarray(mdp.features), np.asarray(mdp.to_dense())
    options, chosen = [], None
    for i, actions in enumerate(itertools.product(range(4), repeat=T)):
        path = [0]
        for a in actions[:-1]:
            path.append(int(P[path[-1], a].argmax()))
        options.append(features_of(path, features, 1.0))
        if actions == (2, 1, 1, 0):
            chosen, shown = i, path
    assert shown == AROUND
    evidence = MaxEntDemonstration(mdp, AROUND, [2, 1, 1, 0], beta=BETA)
    gradient = check(evidence, chosen_log_probability(options, chosen, w), w, atol=1e-9)
    slope = oracles.central(lambda x: float(chosen_log_probability(options, chosen, x[None])[0]), w[0])
    np.testing.assert_allclose(gradient, slope, atol=1e-6)


@pytest.mark.parametrize("settings", [{"horizon": None}, {"horizon": T}])
@pytest.mark.parametrize("kind", [MaxEntDemonstration, RationalDemonstration])
def test_demonstrations_follow_their_policy(kind, settings):
    mdp, w = world(slip=0.1, **settings), candidates(3)
    features, P = np.asarray(mdp.features), np.asarray(mdp.to_dense())
    tau = 1 / BETA if kind is MaxEntDemonstration else 0.0
    shown = [(0, 2), (3, 1), (4, 1)]
    expected = []
    for weights in w:
        r = features @ weights
        if mdp.horizon is None:
            value = oracles.value_iteration(P, r, GAMMA, tau)
            q = [r[:, None] + GAMMA * P @ value] * T
        else:
            values = oracles.backward_induction(P, r, GAMMA, T, tau)[0]
            after = [*values[1:], np.zeros(6)]
            q = [r[:, None] + GAMMA * P @ after[t] for t in range(T)]
        expected.append(sum(BETA * q[t][s, a] - np.log(np.exp(BETA * q[t][s]).sum()) for t, (s, a) in enumerate(shown)))
    states, actions = zip(*shown, strict=True)
    check(kind(mdp, states, actions, beta=BETA), expected, w, atol=1e-5)


def trajectories(mdp, steps, policy=None):
    """(probability, states) of every run, under a policy [T, S, A] (at random when None), by recursion."""
    P = np.asarray(mdp.to_dense())
    policy = np.full((steps, *P.shape[:2]), 1 / P.shape[1]) if policy is None else policy
    runs = [(p, [s]) for s, p in enumerate(np.asarray(mdp.initial)) if p > 0]
    for t in range(steps - 1):
        runs = [
            (p * policy[t, path[-1], a] * P[path[-1], a, s], [*path, s])
            for p, path in runs
            for a in range(P.shape[1])
            for s in np.flatnonzero(P[path[-1], a])
            if policy[t, path[-1], a] > 0
        ]
    return runs


def test_initial_state_is_the_last_step_of_the_soft_optimal_policy():
    mdp, w, found = world(slip=0.1), candidates(3), 4
    features, P = np.asarray(mdp.features), np.asarray(mdp.to_dense())
    expected = []
    for weights in w:
        r = features @ weights
        values = oracles.backward_induction(P, r, GAMMA, T, 1 / BETA)[0]
        after = [*values[1:], np.zeros(6)]
        q = np.stack([r[:, None] + GAMMA * P @ after[t] for t in range(T)])
        policy = np.exp(BETA * q) / np.exp(BETA * q).sum(axis=-1, keepdims=True)
        expected.append(np.log(sum(p for p, path in trajectories(mdp, T, policy) if path[-1] == found)))
    check(InitialState(mdp, found, beta=BETA), expected, w, atol=1e-9)


def test_initial_state_as_a_choice_among_the_ways_there():
    mdp, w, found = world(slip=0.1), candidates(3), 4
    chance, total = np.zeros(6), np.zeros((6, 3))
    for p, path in trajectories(mdp, T):
        chance[path[-1]] += p
        total[path[-1]] += p * features_of(path, np.asarray(mdp.features))
    ends = np.flatnonzero(chance)
    options = total[ends] / chance[ends, None]
    check(InitialStateChoice(mdp, found, beta=BETA), chosen_log_probability(options, list(ends).index(found), w), w)


def test_a_choice_among_alternatives_plans_is_a_proxy_reward():
    mdp, alternatives = world(), candidates(6)
    proxy = ProxyReward(alternatives[2], mdp, beta=BETA, alternatives=alternatives)
    plans = [ProxyReward(a, mdp, alternatives=alternatives).feature_expectations for a in alternatives]
    choice = Choice(jnp.stack(plans), 2, beta=BETA, feature_names=mdp.feature_names)
    np.testing.assert_allclose(
        choice.log_likelihood(jnp.asarray(alternatives)), proxy.log_likelihood(jnp.asarray(alternatives)), atol=1e-10
    )


def test_several_proxies_and_other_evidence_add():
    a, b, w = world(), world(slip=0.2), candidates(6)
    proxies = [ProxyReward(w[0], m, beta=2.0, alternatives=w) for m in (a, b)]
    rest = [Improvement(a, AROUND, robot=ROBOT), OffSwitch(a, ROBOT, 1)]
    belief = posterior.exact(*proxies, *rest, candidates=w)
    total = sum(np.asarray(e.log_likelihood(jnp.asarray(w))) for e in (*proxies, *rest))
    np.testing.assert_allclose(belief.log_weights, total - np.log(np.exp(total).sum()), atol=1e-10)


def test_a_bias_leaks_onto_what_goes_with_it_and_flipped_pairs_repair_it():
    """References B: with κ left out, an unflipped labeller's bias is read as love of the collinear feature."""
    truth, kappa = np.array([0.5, 1.0]), 3.0
    grid = np.stack(np.meshgrid(np.linspace(-3, 6, 46), np.linspace(-3, 6, 46)), axis=-1).reshape(-1, 2)

    def fitted(flip, believed, seed):
        rng = np.random.default_rng(seed)
        difference = rng.normal(size=(400, 2))
        agrees = np.sign(difference[:, 0])  # the labeller's view goes with the first feature ...
        agrees = np.where(rng.random(400) < flip, -agrees, agrees)  # ... except where the view is flipped
        prefers = rng.random(400) < 1 / (1 + np.exp(-(difference @ truth + kappa * agrees)))
        sign = np.where(prefers, 1.0, -1.0)
        labels = Comparison(sign[:, None] * difference, np.zeros((400, 2)), agrees=sign * agrees, kappa=believed)
        return np.asarray(posterior.exact(labels, candidates=grid).mean())

    for seed in range(3):
        leaked = fitted(0.0, 0.0, seed)
        repaired = fitted(0.5, np.linspace(0, 6, 13), seed)
        assert leaked[0] > truth[0] + 1.5
        np.testing.assert_allclose(repaired, truth, atol=0.5)


def test_a_principle_that_was_left_out_stays_at_its_prior():
    rng = np.random.default_rng(0)
    w = rng.normal(size=(400, 3))
    a, b = rng.normal(size=(30, 3)), rng.normal(size=(30, 3))
    labels = Comparison(a, b, principles=("dirt", "goal"), feature_names=("dirt", "grass", "goal"))
    moved = labels.log_likelihood(jnp.asarray(w + np.array([0.0, 5.0, 0.0])))
    np.testing.assert_allclose(moved, labels.log_likelihood(jnp.asarray(w)), atol=1e-12)
    assert posterior.exact(labels, candidates=w).summary().unseen == ("grass",)


def bad_inputs():
    mdp = world()
    endless = mdp.replace(horizon=None)
    yield "equal length", lambda: Comparison.of_paths(mdp, [0, 1, 2], [0, 3])
    yield "equal length", lambda: Improvement(mdp, [0, 1, 2], robot=[0, 3])
    yield "leaves the map at step 1: state 9", lambda: MaxEntDemonstration(mdp, [0, 9], [1, 1])
    yield "move at step 1 is impossible", lambda: RationalDemonstration(mdp, [0, 1, 5], [1, 2, 0])
    yield "action 7 at step 0", lambda: MaxEntDemonstration(mdp, [0], [7])
    yield "one action per state|give both", lambda: MaxEntDemonstration(mdp, [0, 1], [1])
    yield "from state 0 to state 5", lambda: path_features(mdp, [0, 5])
    yield "the MDP's horizon is 4", lambda: path_features(mdp, [0, 0, 0, 0, 0])
    yield "no action leads from state 2 to state 1", lambda: path_features(mdp, [2, 1])
    yield "T ≥ 1", lambda: path_features(mdp, [])
    yield "no horizon", lambda: InitialState(endless, 0)
    yield "cannot be reached from the start in 1 moves", lambda: InitialState(mdp.replace(horizon=2), 5)
    yield "cannot be reached", lambda: InitialStateChoice(mdp.replace(horizon=2), 5)
    yield "state is 17", lambda: InitialState(mdp, 17)
    yield "not among the utterances", lambda: Utterance(mdp, {"a": [ROBOT], "b": [AROUND]}, "c")
    yield "no trajectory is consistent with 'b'", lambda: Utterance(mdp, {"a": [ROBOT], "b": []}, "a")
    yield "paths of one length", lambda: Utterance(mdp, {"a": [ROBOT], "b": [[0]]}, "a")
    yield "C ≥ 2 options", lambda: Choice([[1.0, 2.0]], 0)
    yield "chosen is 3", lambda: Choice([[1.0], [2.0]], 3)
    yield "features is nan", lambda: Choice([[1.0], [np.nan]], 0)
    yield "preferred is nan", lambda: Comparison([[np.nan]], [[0.0]])
    yield "agrees is nan", lambda: Comparison([[1.0]], [[0.0]], agrees=[np.nan])
    yield "agrees is None", lambda: Comparison([[1.0]], [[0.0]], kappa=1.0)
    yield "about no feature", lambda: Comparison([[1.0]], [[0.0]], principles=("justice",))
    yield "P ≥ 1 pairs", lambda: Comparison(np.zeros((0, 2)), np.zeros((0, 2)))
    yield "beta is -1.0", lambda: Comparison([[1.0]], [[0.0]], beta=-1.0)
    yield "beta is inf", lambda: Choice([[1.0], [2.0]], 0, beta=np.inf)
    yield "distinct names", lambda: Choice([[1.0], [2.0]], 0, feature_names=("a", "b"))
    yield "step is 9", lambda: OffSwitch(mdp, ROBOT, 9)
    yield "sign is 0", lambda: RewardPunish(mdp, ROBOT, 0)
    yield "length is 4", lambda: CreditAssignment(mdp, ROBOT, 0, 4)
    yield "start is 3", lambda: CreditAssignment(mdp, ROBOT, 3, 2)
    yield "corrections keep the length", lambda: Correction(mdp, [ROBOT, [0]], 0)
    yield "strictly between the ends", lambda: deformed_path(np.zeros((3, 2)), 0, (1, 0))
    yield "give candidates", lambda: Choice([[1.0], [2.0]], 0).log_likelihood(jnp.zeros(1))
    both = stack([mdp, mdp])
    for label in (np.nan, 0.5, True, None, [0, 1]):  # no label at all
        yield "chosen is .*one of the 2 options, a whole number", lambda x=label: Choice([[1.0], [2.0]], x)
        yield "state is .*one of the 6 states", lambda x=label: InitialState(mdp, x)
    yield "state is nan", lambda: InitialStateChoice(mdp, np.nan)
    yield "sign is nan", lambda: RewardPunish(mdp, ROBOT, np.nan)
    yield "pressed is nan", lambda: OffSwitch(mdp, ROBOT, 1, pressed=np.nan)
    yield "step is 1.5", lambda: OffSwitch(mdp, ROBOT, 1.5)
    yield "step is 1.5", lambda: deformed_path(np.zeros((5, 2)), 1.5, (1, 0))
    yield "start is 0.5", lambda: CreditAssignment(mdp, ROBOT, 0.5, 2)
    yield "length is 1.5", lambda: CreditAssignment(mdp, ROBOT, 0, 1.5)
    yield "kappa is nan", lambda: Comparison([[1.0]], [[0.0]], agrees=[1.0], kappa=np.nan)
    yield "kappa has shape \\(0,\\)", lambda: Comparison([[1.0]], [[0.0]], agrees=[1.0], kappa=[])
    yield "give one number per pair", lambda: Comparison([[1.0]], [[0.0]], agrees=[1.0, 0.0])
    yield "principles is \\(\\)", lambda: Comparison([[1.0]], [[0.0]], principles=())
    yield "principles is 'dirt'", lambda: Comparison([[1.0]], [[0.0]], principles="dirt", feature_names=("dirt",))
    yield "preferred has shape", lambda: Comparison([[1.0, 2.0]], [[1.0]])
    yield "rows differ in length", lambda: Choice([[1.0], [2.0, 3.0]], 0)
    yield "paths differ in length", lambda: MaxEntDemonstration(mdp, [[0, 1], [0]], [[1, 1], [1]])
    yield "actions has dtype float64", lambda: RationalDemonstration(mdp, [0, 1], [np.nan, 1])
    yield "states has shape .* and dtype float64", lambda: MaxEntDemonstration(mdp, [0, np.nan], [1, 1])
    yield "2 steps, but what is to be expected at random has 4", lambda: RewardPunish(mdp, [0, 1], 1)
    yield "has no end", lambda: RewardPunish(endless, ROBOT, 1)
    yield "expected has shape", lambda: RewardPunish(mdp, ROBOT, 1, expected=jnp.zeros(2))
    yield "expected is nan", lambda: RewardPunish(mdp, ROBOT, 1, expected=jnp.full(3, jnp.nan))
    yield "cells is nan", lambda: deformed_path(np.full((5, 2), np.nan), 2, (1, 0))
    yield "push is nan", lambda: deformed_path(np.zeros((5, 2)), 2, (np.nan, 0))
    yield "pairs", lambda: deformed_path(np.zeros((5, 2)), 2, (1, 0, 0))
    yield "there are 0 paths", lambda: Correction(mdp, [], 0)
    yield "leaves the map at step 3: state 77", lambda: Correction(mdp, [ROBOT, [0, 1, 2, 77]], 0)
    yield "'a' does not mean paths", lambda: Utterance(mdp, {"a": ROBOT, "b": AROUND}, "a")
    yield "not among the utterances \\(\\)", lambda: Utterance(mdp, {}, "a")
    yield "alternatives is empty", lambda: ProxyReward([1.0, 0.0, 0.0], mdp, alternatives=np.zeros((0, 3)))
    yield "mdp is a stack", lambda: Comparison.of_paths(both, ROBOT, AROUND)
    yield "mdp is a stack", lambda: MaxEntDemonstration(both, [0, 1], [1, 1])
    yield "mdp is a stack", lambda: InitialState(both, 0)


def test_bad_evidence_is_refused_by_name():
    for message, build in bad_inputs():
        with pytest.raises(ValueError, match=message):
            build()


def test_features_that_depend_on_the_action():
    P = np.zeros((2, 2, 2))
    P[:, 0, 0] = P[:, 1, 1] = 1
    features = np.arange(8.0).reshape(2, 2, 2)
    mdp = MDP.from_dense(P, features, [1.0, 0.0], discount=0.5)
    np.testing.assert_allclose(path_features(mdp, [0, 1], [1, 0]), features[0, 1] + 0.5 * features[1, 0])
    with pytest.raises(ValueError, match="give one action per state"):
        path_features(mdp, [0, 1])
    with pytest.raises(ValueError, match="use Choice"):
        OffSwitch(mdp, [0, 1], 0)
