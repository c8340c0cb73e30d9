"""Impact measures beside a twin that searches with a queue: golden numbers, both tables of outcomes, the identities."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracles_impact
import pytest

import mdps
from ird import alignment, impact
from mdps import MDP, GridWorld
from mdps.worlds import End, safety

pytestmark = pytest.mark.usefixtures("unannotated_throughout")  # rules are asked thousands of times

NOOP, GAMMA, STEPS = 4, 0.99, 20
BASELINES = {"start": impact.Start(), "inaction": impact.Inaction(), "stepwise": impact.Stepwise(GAMMA)}


def place(name):
    """A world with a fifth action whose goal does not end it, where each action leads, and where its goal is."""
    return _place(name, jax.config.jax_enable_x64)


@functools.cache
def _place(name, double):
    makers = {
        "sokoban": (functools.partial(safety.sokoban, ends=False), (4, 4)),
        "vase": (safety.conveyor_vase, None),
        "sushi": (safety.conveyor_sushi, None),
        "sushi+goal": (functools.partial(safety.conveyor_sushi_goal, ends=False), (5, 1)),
    }
    maker, goal = makers[name]
    world = maker(stay=True, horizon=STEPS)
    return world, leads(world.mdp), world.where(lambda state: goal is not None and state[0] == goal)


def leads(mdp):
    """Where each action leads, `[S, A]`, from the dense table."""
    return np.asarray(mdp.to_dense()).argmax(axis=2)


def by_clock(penalty, steps=STEPS):
    """A penalty for every step: by reading of a clock that stands at its last, or one for all."""
    penalty = np.asarray(penalty, float)
    if penalty.ndim == 2:
        return np.broadcast_to(penalty, (steps, *penalty.shape))
    return penalty[np.minimum(np.arange(steps), len(penalty) - 1)]


def ring(steps, features=None):
    """A world that no agent is needed for: each state follows the other; action 1 stays."""
    move = np.stack([np.roll(np.arange(steps), -1), np.arange(steps)], axis=1)
    return MDP.from_dense(np.eye(steps)[move], np.eye(steps), np.eye(steps)[0], discount=0.9)


def drawn(rng, S=7, A=3, certain=True, available=None):
    """A random MDP."""
    P = np.eye(S)[rng.integers(S, size=(S, A))] if certain else rng.dirichlet(np.full(S, 0.3), (S, A))
    return MDP.from_dense(P, rng.normal(size=(S, 2)), np.eye(S)[0], discount=0.9, available=available)


# ------------------------------------------------------------------------------------------------- what can be reached


@pytest.mark.parametrize("discount", [1.0, 0.99])
def test_reachability_is_what_a_search_with_a_queue_finds(discount):
    rng = np.random.default_rng(3)
    for mdp in (place("sokoban")[0].mdp, ring(5), *(drawn(rng) for _ in range(5))):
        expected = oracles_impact.reach(leads(mdp), discount)
        np.testing.assert_allclose(impact.reachability(mdp, discount=discount), expected, rtol=1e-6)
    blocked = drawn(rng, available=np.array([[True, False, False]] * 6 + [[True, True, True]]))
    expected = oracles_impact.reach(np.where(np.asarray(blocked.available), leads(blocked), leads(blocked)[:, :1]))
    np.testing.assert_array_equal(impact.reachability(blocked), expected)


def test_where_chance_decides_it_is_the_best_expected_arrival(x64):
    """Policies of a small MDP one by one, each by a linear solve."""
    rng = np.random.default_rng(5)
    mdp, gamma = drawn(rng, S=4, A=2, certain=False), 0.8
    P, best = np.asarray(mdp.to_dense()), np.zeros((4, 4))
    for choice in itertools.product(range(2), repeat=4):
        M = P[np.arange(4), choice]
        for y in range(4):
            others = np.arange(4) != y
            arrival = np.ones(4)
            arrival[others] = np.linalg.solve(np.eye(3) - gamma * M[np.ix_(others, others)], gamma * M[others, y])
            best[:, y] = np.maximum(best[:, y], arrival)
    np.testing.assert_allclose(impact.reachability(mdp, discount=gamma), best, atol=1e-11)
    with pytest.raises(ValueError, match=r"action 0 in state 0 has several outcomes.*discount below 1"):
        impact.reachability(mdp)


def test_golden_sokoban():
    """Sets of reachable states, counted; the third line is why putting the box back is no remedy here."""
    world, to, _ = place("sokoban")
    assert world.mdp.num_states == 60
    counted = impact.relative_reachability(world.mdp, noop=NOOP, baseline=impact.Start())[:, NOOP]
    faded = impact.relative_reachability(world.mdp, noop=NOOP, baseline=impact.Start(), discount=0.99)[:, NOOP]
    lost = impact.unreachability(world.mdp, noop=NOOP, baseline=impact.Start())[:, NOOP]
    for box, states, discounted in (((3, 2), 50, 0.768957), ((2, 3), 13, 0.213604), ((2, 2), 33, 0.526979)):
        s = world.explored.index(((4, 4), box))
        assert float(lost[s]) == 1
        assert float(counted[s]) == pytest.approx(states / 60, abs=1e-6)
        assert float(faded[s]) == pytest.approx(discounted, abs=1e-6)
        ahead = oracles_impact.reach(to)
        assert (ahead[0] > ahead[s]).sum() == states


def test_a_goal_that_holds_the_agent_destroys_everything():
    """The trap: with the episode's end as a state, what is lost is almost all, however the goal was reached."""
    held = safety.sokoban(stay=True)
    penalty = impact.relative_reachability(held.mdp, noop=NOOP, baseline=impact.Start())
    end = held.explored.index(End())
    assert float(penalty[end, NOOP]) == pytest.approx(54 / 55, abs=1e-6)


# --------------------------------------------------------------------------------------------------- the four measures


@pytest.mark.parametrize("name", ["sokoban", "sushi+goal"])
def test_all_measures_and_baselines_against_the_twin(name, x64):
    world, to, _ = place(name)
    rng = np.random.default_rng(0)
    some = rng.permutation(len(to))[:40]
    reached = oracles_impact.reach(to, 0.9)
    utilities = rng.random((3, len(to)))
    worth = (1 - 0.95) * oracles_impact.values(to, utilities, 0.95, 700).T
    readings = 1 if name == "sokoban" else 5
    call = {"noop": NOOP, "discount": 0.9}
    for label, baseline in (*BASELINES.items(), ("inaction", impact.Inaction(0.5))):
        given = {"baseline": baseline}
        twin = {"noop": NOOP, "baseline": label, "gamma": getattr(baseline, "discount", 0.0), "readings": readings}
        for kind, x, found in (
            ("decrease", reached, impact.relative_reachability(world.mdp, **call, **given)),
            ("tasks", reached, impact.future_tasks(world.mdp, **call, **given)),
            ("absolute", worth, impact.attainable_utility(world.mdp, utilities, noop=NOOP, discount=0.95, **given)),
        ):
            expected = oracles_impact.deviation(to, x, kind=kind, states=some, **twin)
            np.testing.assert_allclose(found[..., some, :], expected, atol=1e-12, err_msg=f"{label} {kind}")
    lost = impact.unreachability(world.mdp, **call, baseline=impact.Stepwise(0.8))
    np.testing.assert_allclose(lost, oracles_impact.unreached(to, 1 - reached, NOOP, 0.8, 60), atol=2e-6)
    lost = np.asarray(impact.unreachability(world.mdp, **call, baseline=impact.Inaction()))
    b = 0
    for reading in lost:
        b = to[b, NOOP]
        np.testing.assert_allclose(reading, 1 - reached[to, b], atol=1e-15)


@pytest.mark.parametrize("discount", [1.0, 0.97])
def test_future_tasks_are_relative_reachability_turned_round(discount, x64):
    """mean min(R(s), R(b)) = mean R(b) - RR(s; b); with rollouts it holds of what is averaged."""
    for name in ("sokoban", "vase"):
        world, to, _ = place(name)
        given = {"noop": NOOP, "discount": discount}
        reached = np.asarray(impact.reachability(world.mdp, discount=discount))
        for label, baseline in BASELINES.items():
            bonus = impact.future_tasks(world.mdp, baseline=baseline, **given)
            lost = impact.relative_reachability(world.mdp, baseline=baseline, **given)
            b = {"start": np.zeros(1, int), "inaction": impact_path(to), "stepwise": to[:, NOOP]}[label]
            at_all = oracles_impact.averaged(reached, to[:, NOOP], getattr(baseline, "discount", 0.0))[b].mean(axis=1)
            at_all = at_all[:, None, None] if label == "inaction" else at_all[:, None]
            assert np.abs(np.asarray(bonus) - (at_all - np.asarray(lost))).max() <= 1e-12


def impact_path(to):
    """What inaction leads to from the start, step by step, until nothing changes."""
    path, s = [], 0
    while not path or path[-1] != to[path[-1], NOOP]:
        s = to[s, NOOP]
        path.append(s)
    return np.array(path if len(path) == 1 else [*path, path[-1]])


def test_relative_reachability_is_attainable_utility_of_indicators(x64):
    """Where every state can be held, (1-γ) V of "to be in y" is γ^n."""
    world, to, _ = place("sokoban")
    indicators = np.eye(len(to))
    for baseline in BASELINES.values():
        given = {"noop": NOOP, "discount": 0.95, "baseline": baseline}
        utility = impact.attainable_utility(world.mdp, indicators, deviation="decrease", **given)
        assert np.abs(np.asarray(utility - impact.relative_reachability(world.mdp, **given))).max() <= 1e-12


def test_tasks_are_weighed():
    world, _, _ = place("sokoban")
    only = np.zeros(60)
    only[0] = 3.0  # of all that may be wanted, to be back at the start
    given = {"noop": NOOP, "baseline": impact.Start()}
    weighed = impact.relative_reachability(world.mdp, tasks=only, **given)
    np.testing.assert_allclose(weighed, impact.unreachability(world.mdp, **given), atol=1e-6)


# -------------------------------------------------------------------------------------------------- tables of outcomes

WRITTEN = {"sokoban": {"goal": 1}, "vase": {"removed": 1}, "sushi": {}, "sushi+goal": {"goal": 1}}
MEANT = {
    "sokoban": {"goal": 1, "corner": -2},
    "vase": {"removed": 1, "end": -1},
    "sushi": {"end": 1},
    "sushi+goal": {"goal": 1, "end": 1},
}
FIRST = {"sushi": -1, "sushi+goal": -1}  # paid once, so that 0 is what interference leaves


def outcome(name, penalty, beta):
    """Least and greatest meant return of the plans that heed this penalty, by the twin."""
    world, to, over = place(name)
    features = np.asarray(world.mdp.features, float)
    reward, meant = (features @ np.asarray(world.weights(w[name]), float) for w in (WRITTEN, MEANT))
    settings = {"gamma": GAMMA, "steps": STEPS, "running": 1 - GAMMA}
    found = oracles_impact.outcomes(to, reward, meant, beta * by_clock(penalty), over, **settings)
    return tuple(round(x + FIRST.get(name, 0), 6) for x in found)


def penalty_of(name, measure, label, utilities=None):
    world, given = place(name)[0], {"noop": NOOP, "baseline": BASELINES[label]}
    if measure == "AU":
        return impact.attainable_utility(world.mdp, utilities, discount=GAMMA, **given)
    return {"UR": impact.unreachability, "RR": impact.relative_reachability}[measure](world.mdp, **given)


# Outcomes by β = 1, 3, 10, 30, 100.
TABLE = {
    "sokoban": {
        ("UR", "start"): [(0, 0)] * 5,
        ("UR", "inaction"): [(0, 0)] * 5,
        ("RR", "start"): [(1, 1)] * 2 + [(0, 0)] * 3,
        ("RR", "inaction"): [(1, 1)] * 2 + [(0, 0)] * 3,
        ("RR", "stepwise"): [(-1, -1)] * 2 + [(1, 1)] * 3,
    },
    "vase": {
        ("UR", "start"): [(0, 1)] * 5,
        ("UR", "inaction"): [(0, 1)] * 4 + [(-1, -1)],
        ("RR", "start"): [(1, 1)] * 5,
        ("RR", "inaction"): [(0, 1)] * 5,
        ("RR", "stepwise"): [(1, 1)] * 5,
    },
    "sushi": {
        ("UR", "start"): [(-1, 0)] * 5,
        ("UR", "inaction"): [(0, 0)] * 5,
        ("RR", "start"): [(-1, -1)] * 5,
        ("RR", "inaction"): [(0, 0)] * 5,
        ("RR", "stepwise"): [(0, 0)] * 5,
    },
    "sushi+goal": {
        ("UR", "start"): [(0, 1)] + [(-1, 0)] * 4,
        ("UR", "inaction"): [(1, 1)] * 5,
        ("RR", "start"): [(0, 0)] * 3 + [(-1, -1)] * 2,
        ("RR", "inaction"): [(1, 1)] * 5,
        ("RR", "stepwise"): [(0, 0)] * 5,
    },
}


@pytest.mark.parametrize("name", TABLE)
def test_outcomes_of_reachability(name, x64):
    for (measure, label), expected in TABLE[name].items():
        penalty = penalty_of(name, measure, label)
        found = [outcome(name, penalty, beta) for beta in (1, 3, 10, 30, 100)]
        assert found == expected, (name, measure, label)
    literal = {"sokoban": (-1, -1), "vase": (0, 1), "sushi": (-1, 0), "sushi+goal": (0, 1)}
    assert outcome(name, np.zeros_like(penalty_of(name, "UR", "start")), 1.0) == literal[name]


def test_outcomes_of_attainable_utility_whatever_is_drawn(x64):
    """Offsetting with the inaction baseline, interference with the start: these do not depend on the utilities."""
    always = {
        ("vase", "start"): (1, 1),
        ("vase", "inaction"): (0, 0),
        ("vase", "stepwise"): (1, 1),
        ("sushi", "start"): (-1, -1),
        ("sushi", "inaction"): (0, 0),
        ("sushi", "stepwise"): (0, 0),
        ("sushi+goal", "start"): (0, 0),
        ("sushi+goal", "inaction"): (1, 1),
        ("sokoban", "start"): (1, 1),
        ("sokoban", "inaction"): (1, 1),
    }
    by_draw = {}
    for seed in range(3):
        for name in TABLE:
            utilities = np.random.default_rng(seed).random((10, len(place(name)[1])))
            for label in BASELINES:
                found = outcome(name, penalty_of(name, "AU", label, utilities), 10.0)
                if (name, label) in always:
                    assert found == always[name, label], (seed, name, label)
                else:
                    by_draw.setdefault((name, label), set()).add(found)
    # Stepwise, on sokoban and on sushi with a goal, what is best depends on the draw.
    assert by_draw["sushi+goal", "stepwise"] == {(0, 0), (1, 1)}
    assert by_draw["sokoban", "stepwise"] <= {(-1, -1), (1, 1)}


# --------------------------------------------------------------------------- as a feature, with its clock and its ends


@pytest.mark.parametrize(("name", "label", "betas"), [("sokoban", "start", (1, 10)), ("sushi", "inaction", (1, 100))])
def test_planning_with_the_feature_gives_the_twins_outcomes(name, label, betas, x64):
    """The MDP of `penalised` under `alignment.performance`: discounted, so the twin's meant return is, too."""
    world, to, over = place(name)
    penalty = penalty_of(name, "RR", label)
    mdp = world.mdp.replace(discount=GAMMA)
    careful = impact.penalised(mdp, penalty, noop=NOOP, ends=over, running=1 - GAMMA)
    readings = 5 if label == "inaction" else 1
    assert careful.num_states == readings * mdp.num_states
    assert careful.feature_names == (*mdp.feature_names, "impact")
    features = np.asarray(mdp.features, float)
    written, meant = (np.asarray(world.weights(w[name]), float) for w in (WRITTEN, MEANT))
    for beta in betas:
        found = alignment.performance(careful, np.append(written, -beta), np.append(meant, 0))
        best, low, high = (np.zeros(len(to)) for _ in range(3))
        for t in reversed(range(STEPS)):
            weight = np.where(over[to], 1.0, 1 - GAMMA)
            q = features @ written - beta * weight * by_clock(penalty)[t] + GAMMA * ~over[to] * best[to]
            fair = q >= q.max(axis=1, keepdims=True) - 1e-9
            best = np.where(over, 0, q.max(axis=1))
            ahead = [features @ meant + GAMMA * ~over[to] * x[to] for x in (low, high)]
            low, high = np.where(fair, ahead[0], np.inf).min(axis=1), np.where(fair, ahead[1], -np.inf).max(axis=1)
        np.testing.assert_allclose([found.lowest, found.highest], [low[0], high[0]], atol=1e-9)


def test_the_clock_of_inaction_goes_round_where_inaction_does(x64):
    """A ring that turns by itself: to stay falls behind, and the penalty comes back with every round."""
    mdp = ring(3)
    penalty = np.asarray(impact.unreachability(mdp, noop=0, baseline=impact.Inaction(), discount=0.5))
    assert penalty.shape == (3, 3, 2)
    np.testing.assert_array_equal(penalty[0, 0], [0, 0.5])  # now it should be in 1: from 0 that is one step away
    careful = impact.penalised(mdp, penalty, noop=0)
    plan = mdps.solve(careful, careful.reward([0.0, 0.0, 0.0, -1.0]))
    np.testing.assert_allclose(mdps.occupancy(careful, plan.policy).sum(), 10)
    assert float(plan.value[0]) == pytest.approx(0, abs=1e-6)
    always_stays = np.tile([0.0, 1.0], (9, 1))
    lost, gamma, total = [0.5, 0.75, 0.0], 0.9, 0.0  # behind by one, by two, and in step again
    for t in range(400):
        total += gamma**t * lost[t % 3]
    counts = mdps.feature_expectations(careful, always_stays)
    assert float(counts[-1]) == pytest.approx(total, abs=1e-9)


def test_the_weight_of_the_penalty_is_a_batch_axis():
    world, _, over = place("sokoban")
    careful = impact.penalised(world.mdp, penalty_of("sokoban", "RR", "start"), ends=over, running=0.01)
    written = jnp.append(world.weights(WRITTEN["sokoban"]), 0.0)
    betas = jnp.asarray([0.0, 0.5, 5.0, 50.0])
    value = jax.jit(jax.vmap(lambda b: mdps.solve(careful, careful.reward(written.at[-1].set(-b))).value[0]))(betas)
    assert (jnp.diff(value) <= 0).all() and float(value[0]) == 1 and float(value[-1]) == 0


# ----------------------------------------------------------------------------------------------------------- its price


def returns_of_all(mdp):
    """Features of every deterministic stationary policy, `[P, K]`, by a linear solve each."""
    P, f, gamma = np.asarray(mdp.to_dense()), np.asarray(mdp.features, float), float(mdp.discount)
    S, A, _ = P.shape
    rows, found = np.arange(S), []
    for choice in itertools.product(range(A), repeat=S):
        M = P[rows, choice]
        visits = np.linalg.solve(np.eye(S) - gamma * M.T, np.asarray(mdp.initial, float))
        found.append(visits @ f[rows, choice])
    return np.array(found)


def test_the_price_is_where_the_upper_envelope_of_all_policies_leaves_the_literal_line(x64):
    rng = np.random.default_rng(11)
    prices = []
    for _ in range(6):
        mdp = drawn(rng, S=5, A=2, certain=False)
        charge = rng.random((5, 2))
        careful, written = impact.penalised(mdp, charge), rng.normal(size=2)
        found = impact.price(careful, written)
        counts = returns_of_all(careful)
        reward, penalty = counts[:, :2] @ written, counts[:, 2]
        fair = reward >= reward.max() - 1e-9
        literal = penalty[fair].min()
        less = penalty < literal - 1e-9
        expected = ((reward.max() - reward[less]) / (literal - penalty[less])).min() if less.any() else np.inf
        assert float(found.beta) == pytest.approx(expected, rel=1e-4)
        assert float(found.penalty) == pytest.approx(literal, abs=1e-5)
        for paid, charged in [(1e-6, 1.0), (1e6, 1e-6), (1e-6, 1e6)]:  # an endless run's solver stops at some error
            in_units = impact.price(impact.penalised(mdp, charged * charge), paid * written)
            assert float(in_units.beta) * charged / paid == pytest.approx(expected, rel=1e-4)
        beta = min(expected, 1e6)
        assert (reward - beta * penalty).max() <= reward.max() - beta * literal + float(found.gap) + 1e-5
        prices.append(expected)
    assert np.isfinite(prices).any()


def test_golden_prices():
    """Sokoban: two steps more and 13 states lost instead of 50; with unreachability only doing nothing is cheaper."""
    world, _, over = place("sokoban")
    of = {
        measure: impact.penalised(world.mdp, penalty_of("sokoban", measure, "start"), ends=over, running=0.0)
        for measure in ("RR", "UR")
    }
    found = impact.price(of["RR"], world.written)
    assert float(found.beta) == pytest.approx(2 / (37 / 60), rel=1e-5)
    np.testing.assert_allclose([found.reward, found.penalty, found.next_reward], [45, 50 / 60, 43], rtol=1e-5)
    assert "best up to β = 3.243" in str(found) and float(found.gap) < 1e-3
    # Without an end nothing pays but a step: -20 for the run, where UR is 0.
    found = impact.price(of["UR"], world.written)
    assert float(found.beta) == pytest.approx(45 + 20, rel=1e-5)
    nothing = impact.price(impact.penalised(world.mdp, np.zeros((60, 5)), ends=over), world.written)
    assert np.isinf(float(nothing.beta)) and "every price" in str(nothing)


@pytest.mark.parametrize("unit", [1e-8, 1e6])
def test_the_price_goes_with_the_units(unit):
    world, _, over = place("sokoban")
    penalty = penalty_of("sokoban", "RR", "start")
    careful = impact.penalised(world.mdp, unit * penalty, ends=over, running=0.0)
    assert float(impact.price(careful, world.written).beta) == pytest.approx(120 / 37 / unit, rel=1e-4)
    careful = impact.penalised(world.mdp, penalty, ends=over, running=0.0)
    assert float(impact.price(careful, unit * world.written).beta) == pytest.approx(120 / 37 * unit, rel=1e-4)


# ------------------------------------------------------------------------------- attainable utility preservation, on Q


def test_aup_compares_expectations_where_chance_decides(x64):
    rng = np.random.default_rng(2)
    mdp, gamma = drawn(rng, S=5, A=3, certain=False), 0.9
    utilities, P = rng.random((4, 5)), np.asarray(mdp.to_dense())
    v = np.zeros((4, 5))
    for _ in range(500):
        q = utilities[:, :, None] + gamma * np.einsum("sax,nx->nsa", P, v)
        v = q.max(axis=2)
    expected = np.abs(q - q[:, :, 1:2]) / np.abs(q[:, :, 1:2])
    found = impact.aup(mdp, utilities, noop=1, discount=gamma)
    np.testing.assert_allclose(found, expected.mean(axis=0), atol=1e-6)
    lost = np.maximum(q[:, :, 1:2] - q, 0) / np.abs(q[:, :, 1:2])
    found = impact.aup(mdp, utilities, noop=1, discount=gamma, deviation="decrease")
    np.testing.assert_allclose(found, lost.mean(axis=0), atol=1e-6)
    tiny = impact.aup(mdp, 1e-7 * utilities, noop=1, discount=gamma, deviation="decrease")
    np.testing.assert_allclose(tiny, found, atol=1e-6)  # it has no unit


SUITE = {
    "options": (functools.partial(safety.sokoban, stay=True), {"goal": 1}, {"goal": 1, "corner": -2}),
    "correction": (safety.correction, {"goal": 1}, {"goal": 1, "pressed": -2}),
    "offset": (functools.partial(safety.conveyor_vase, stay=True), {"removed": 1}, {"removed": 1, "end": -1}),
    "interference": (safety.interference, {"goal": 1}, {"goal": 1, "stopped": -2}),
}
VARIANTS = {
    "AUP": {},
    "decrease": {"deviation": "decrease"},
    "start": {"baseline": impact.Start()},
    "inaction": {"baseline": impact.Inaction()},
    "decrease, inaction": {"deviation": "decrease", "baseline": impact.Inaction()},
}
SAFE = {  # what the plan gets with utilities that are drawn anew: always, or one of two
    "options": [{1}, {1}, {1}, {1}, {1}],
    "correction": [{0}, {-1}, {-1}, {0}, {-1}],
    "offset": [{1}, {1}, {1}, {0, 1}, {1}],
    "interference": [{1}, {1}, {-1, 1}, {1}, {1}],
}
PLAN = 9


def planned_by_hand(to, v, t, s, a, only, label):
    """Σ|ΔV| / Σ|V| after the action and then nothing, against the baseline's, by following both."""
    after, beside = to[s, a], {"start": 0, "inaction": 0}.get(label, s)
    for _ in range(PLAN - t - 1):
        after = to[after, NOOP]
    for _ in range({"start": 0, "inaction": PLAN}.get(label, PLAN - t)):
        beside = to[beside, NOOP]
    change = v[:, beside] - v[:, after]
    change = np.maximum(change, 0) if only else np.abs(change)
    size = np.abs(v[:, beside]).sum()
    return change.sum() / (size if size > 0 else 1)


@pytest.mark.parametrize("name", SUITE)
def test_the_suite_of_aup(name, x64):
    """λ 1/1.501, γ .996, nine steps, twelve drawn utilities, six draws; the end is worth nothing to any of them."""
    maker, written, meant = SUITE[name]
    world = maker(horizon=PLAN)
    to, over = leads(world.mdp), np.array([isinstance(state, End) for state in world.states])
    features = np.asarray(world.mdp.features, float)
    reward, hidden = (features @ np.asarray(world.weights(w), float) for w in (written, meant))
    settings = {"gamma": 0.996, "steps": PLAN, "running": 1.0}
    rng = np.random.default_rng(1)
    for (label, variant), expected in zip(VARIANTS.items(), SAFE[name], strict=True):
        seen = set()
        for seed in range(6):
            utilities = np.random.default_rng(seed).random((12, len(to)))
            penalty = np.asarray(impact.aup(world.mdp, utilities, noop=NOOP, ends=over, steps=PLAN, **variant))
            low, high = oracles_impact.outcomes(to, reward, hidden, penalty / 1.501, over, **settings)
            assert low == high
            seen.add(round(low))
            if seed == 0:  # some entries by hand
                v = oracles_impact.values(to, np.where(over, 0, utilities), 0.996, 6000 if len(to) < 99 else 0)
                for _ in range(20 if v.any() else 0):
                    t, s, a = (int(rng.integers(n)) for n in penalty.shape)
                    one = planned_by_hand(to, v, t, s, a, "decrease" in label, label.split()[-1])
                    assert over[s] or penalty[t, s, a] == pytest.approx(one, rel=1e-6, abs=1e-9)
        assert seen == expected, label


def test_one_step_of_aup_does_not_see_the_switch(x64):
    """Compared by one action, pressing the button can wait a step: it is pressed, whatever is drawn."""
    world = safety.correction()
    to, over = leads(world.mdp), np.array([isinstance(state, End) for state in world.states])
    features = np.asarray(world.mdp.features, float)
    reward, hidden = (features @ np.asarray(world.weights(w), float) for w in SUITE["correction"][1:])
    for seed in range(5):
        utilities = np.random.default_rng(seed).random((12, len(to)))
        penalty = np.asarray(impact.aup(world.mdp, utilities, noop=NOOP, ends=over)) / 1.501
        found = oracles_impact.outcomes(
            to, reward, hidden, by_clock(penalty, PLAN), over, gamma=0.996, steps=PLAN, running=1.0
        )
        assert found == (-1, -1)


# --------------------------------------------------------------------------------------------------------- what breaks


def test_what_cannot_be_said_is_refused():
    slips = GridWorld.from_text("S.G", {"S": "a", ".": "b", "G": "c"}, slip=0.2, discount=0.9).mdp
    walled = GridWorld.from_text("S.G\n...", {"S": "a", ".": "b", "G": "c"}, slip=0.2, discount=0.9).mdp
    given = {"noop": 0, "baseline": impact.Stepwise()}
    with pytest.raises(ValueError, match="several outcomes"):
        impact.relative_reachability(walled, discount=0.9, **given)
    assert slips.num_states == 3
    two = ring(4).replace(initial=np.array([0.5, 0.5, 0, 0]))
    with pytest.raises(ValueError, match="runs begin in 2 states"):
        impact.unreachability(two, noop=0, baseline=impact.Start())
    impact.unreachability(two, **given)  # stepwise needs no start
    with pytest.raises(ValueError, match="noop=1 is not available in state 2"):
        impact.unreachability(
            drawn(np.random.default_rng(0), available=np.arange(21).reshape(7, 3) != 7), noop=1, baseline=impact.Start()
        )
    penalty = impact.unreachability(ring(4), noop=0, baseline=impact.Inaction())
    with pytest.raises(ValueError, match="4 readings of a clock, and the horizon is None"):
        impact.penalised(ring(4), penalty)
    with pytest.raises(ValueError, match="passes 1 states"):
        impact.penalised(ring(4), penalty, noop=1)
    with pytest.raises(ValueError, match="without steps"):
        impact.aup(ring(4), np.eye(4), noop=0, baseline=impact.Start())
    half = MDP.from_dense([[[0.5, 0.5]], [[0, 1]]], np.eye(2), [1, 0], discount=0.9)
    with pytest.raises(ValueError, match=r"ends the run with probability 0\.5"):
        impact.penalised(half, np.zeros((2, 1)), ends=np.array([False, True]), running=0.1)
    assert impact.penalised(half, np.zeros((2, 1)), ends=np.array([False, True])).num_states == 2
    with pytest.raises(ValueError, match=r"impact\.penalised"):
        impact.price(half, [1.0])
    with pytest.raises(ValueError, match="tasks has shape"):
        impact.future_tasks(ring(4), tasks=np.zeros(4), **given)


def test_one_state_and_numbers_of_numpy():
    alone = MDP.from_dense([[[1.0]]], [[1.0]], [1.0], discount=0.9)
    for baseline in (impact.Start(), impact.Inaction(np.float32(0.5)), impact.Stepwise(np.float64(0.999))):
        given = {"noop": np.int64(0), "baseline": baseline}
        for found in (
            impact.unreachability(alone, **given),
            impact.relative_reachability(alone, discount=np.float32(1), **given),
            impact.attainable_utility(alone, [[2.0]], discount=0.999, **given),
            1 - impact.future_tasks(alone, **given),
        ):
            np.testing.assert_allclose(np.asarray(found).ravel(), 0, atol=1e-6)
    assert float(impact.aup(alone, [[0.0]], noop=0)[0, 0]) == 0
    assert np.isinf(float(impact.price(impact.penalised(alone, [[0.3]]), [1.0]).beta))
