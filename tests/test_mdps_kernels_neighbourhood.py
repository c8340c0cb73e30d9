"""Tables whose slots lead equally far from every state are read by shifting instead of gathering: the same answers."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import mdps
from mdps import MDP, GridWorld, kernels, stack
from mdps.kernels import Layout, blocks
from mdps.kernels.neighbourhood import Margins

LEGEND = {"S": "floor", ".": "floor", "g": "grass", "G": "goal"}


def grid(text="S.g.\n.gg.\n...G", slip=0.2, **settings):
    return GridWorld.from_text(text, LEGEND, slip=slip, **settings)


def gathering(mdp):
    """The same MDP, of whose layout its kernels know nothing."""
    return replace(mdp, layout=Layout())


def dense_again(mdp):
    return MDP.from_dense(
        np.asarray(mdp.to_dense()), np.asarray(mdp.features), np.asarray(mdp.initial), discount=float(mdp.discount)
    )


def test_grids_have_offsets_and_broken_rows_have_none():
    assert grid(discount=0.9).mdp.layout.shifts == (-4, 1, 4, -1, 0)
    assert grid("####\n#S.#\n#.G#\n####", discount=0.9).mdp.layout.shifts == (-2, 1, 2, -1, 0)
    assert grid("S.g.\n.#g.\n...G", discount=0.9).mdp.layout.shifts is None
    terminal = GridWorld.from_text("S.G", LEGEND, terminal=("grass",), discount=0.9)
    assert terminal.mdp.layout.shifts is None


def test_which_slots_an_action_takes(x64):
    sure = ((0, 4), (1, 4), (2, 4), (3, 4))
    slipping = ((0, 1, 3, 4), (0, 1, 2, 4), (1, 2, 3, 4), (0, 2, 3, 4))
    mdp = grid(discount=0.9).mdp
    assert grid(slip=0.0, discount=0.9).mdp.layout.slots == sure
    assert mdp.layout.slots == slipping
    unknown = jax.eval_shape(lambda slip: grid(slip=slip, discount=0.9).mdp, 0.0)
    assert unknown.layout.slots == slipping
    assert dense_again(mdp).layout.slots == ((0, 1, 2, 3), (0, 2, 3, 4), (1, 2, 3, 4), (0, 1, 2, 4))
    assert mdp.replace(horizon=3).layout.slots == slipping
    assert mdp.replace(probability=mdp.probability).layout.slots == slipping


def test_a_stack_takes_the_slots_of_all(x64):
    mixed = stack([grid(slip=0.0, discount=0.9).mdp, grid(discount=0.9).mdp])
    assert mixed.layout.slots == grid(discount=0.9).mdp.layout.slots
    weights = jnp.asarray([0.1, -1.0, 1.0])
    got = jax.vmap(lambda m: mdps.solve(m, m.reward(weights)).value)(mixed)
    for slip, value in zip((0.0, 0.2), got, strict=True):
        mdp = grid(slip=slip, discount=0.9).mdp
        expected = oracles.value_iteration(np.asarray(mdp.to_dense()), np.asarray(mdp.reward(weights)), 0.9)
        np.testing.assert_allclose(value, expected, atol=2e-6)


@pytest.mark.parametrize("text", ["S.G", "S\n.\nG", "S.\n.G"])
def test_narrow_maps_shift_as_they_gather(text, x64):
    mdp = grid(text, discount=0.9).mdp
    assert mdp.layout.shifts is not None
    weights = jnp.asarray([0.1, -1.0, 1.0])
    with_offsets, gathered = (mdps.solve(m, m.reward(weights)) for m in (mdp, gathering(mdp)))
    np.testing.assert_allclose(with_offsets.value, gathered.value, atol=1e-12)
    value = oracles.value_iteration(np.asarray(mdp.to_dense()), np.asarray(mdp.reward(weights)), 0.9)
    np.testing.assert_allclose(with_offsets.value, value, atol=1e-6)


def test_from_dense_finds_the_offsets_of_a_grid(x64):
    mdp = grid(discount=0.9).mdp
    again = dense_again(mdp)
    assert again.layout.shifts == (-4, -1, 0, 1, 4)
    np.testing.assert_array_equal(again.to_dense(), mdp.to_dense())


@pytest.mark.parametrize(
    "settings", [{"discount": 0.9}, {"horizon": 7}, {"horizon": 7, "discount": 0.9}, {"discount": 0.9, "slip": 0.0}]
)
def test_shifting_and_gathering_agree(settings, x64):
    """They take other sweeps, so both are asked for more digits than are compared."""
    mdp = grid(**settings).mdp
    gathered = gathering(mdp)
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)))

    first = lambda value: value if value.ndim == 1 else value[0]  # noqa: E731

    @jax.jit
    def everything(mdp, weights):
        def one(w):
            solution = mdps.solve(mdp, mdp.reward(w), tol=1e-11)
            soft = mdps.solve(mdp, mdp.reward(w), temperature=0.3, tol=1e-11)
            visits = mdps.occupancy(mdp, solution.policy)
            value = mdps.policy_return(mdp, soft.policy, mdp.reward(w))
            return solution.value, soft.value, visits, value, mdps.optimum(mdp, w, tol=1e-11)

        def soft_value(w):
            return mdp.initial @ first(mdps.solve(mdp, mdp.reward(w), temperature=0.3, tol=1e-11).value)

        return jax.vmap(one)(weights), jax.vmap(jax.grad(soft_value))(weights)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9),
        everything(mdp, weights),
        everything(gathered, weights),
    )


@pytest.mark.parametrize(  # in one tile, and in several
    ("per_action", "count", "slip"), [(False, 200, 0.2), (True, 2100, 0.2), (True, 200, 0.0)]
)
def test_planning_in_margins_by_shifting_and_by_gathering_agree(per_action, count, slip, monkeypatch):
    """The three ways to read neighbours: a processor's on a grid, an accelerator's, and that of any MDP."""
    mdp = grid(slip=slip, horizon=7, discount=0.9).mdp
    rng = np.random.default_rng(3)
    if per_action:
        mdp = mdp.replace(features=jnp.asarray(rng.normal(size=(mdp.num_states, 4, 3)), "float32"))
    weights = jnp.asarray(rng.normal(size=(count, 3)), "float32")

    def found(mdp):
        return jax.jit(jax.vmap(lambda w: mdps.optimum(mdp, w)))(weights)

    here, gathered = found(mdp), found(gathering(mdp))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    for other in (gathered, found(mdp)):
        np.testing.assert_allclose(here.value, other.value, rtol=1e-6, atol=1e-5)
        np.testing.assert_allclose(here.features, other.features, rtol=1e-6, atol=1e-5)
        # A bound holds the rounding that happened, in units of the sums that were rounded.
        ulp = np.finfo(np.float32).eps * np.abs(here.value).max()
        np.testing.assert_allclose(here.error_bound, other.error_bound, atol=16 * ulp)


def test_margins_hold_what_shifting_adds():
    x = jnp.arange(1.0, 9.0).reshape(4, 2)
    margins = Margins((-2, 0, 1), 4)
    wide = margins.put(margins.empty(x), x)
    for near, offset in zip(margins.near(wide), margins.offsets, strict=True):
        np.testing.assert_array_equal(near, kernels.shifted(x, offset))


def test_shifted_is_zero_beyond_the_ends():
    x = jnp.arange(1.0, 5.0)
    assert kernels.shifted(x, 2).tolist() == [3, 4, 0, 0]
    assert kernels.shifted(x, -1).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_sweeps_alternate_between_two_arrays(count, batch, x64):
    rng = np.random.default_rng(1)
    weight, source, x = rng.uniform(size=(6, 3, *batch)), rng.normal(size=(6, *batch)), rng.normal(size=(6, *batch))
    offsets = (-2, 0, 1)
    expected = x
    for _ in range(count):
        at = lambda s, v: v[s] if 0 <= s < 6 else 0 * v[0]  # noqa: E731
        expected = source + np.array(
            [sum(weight[s, j] * at(s + o, expected) for j, o in enumerate(offsets)) for s in range(6)]
        )
    table = [jnp.asarray(weight[:, j]) for j in range(3)]
    got = kernels.sweeps(offsets, table, jnp.asarray(source), jnp.asarray(x), count)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("count", [0, 1, 4, 7])
@pytest.mark.parametrize("reach", [1, 3])
def test_a_large_problem_is_swept_block_by_block(x64, monkeypatch, count, reach):
    monkeypatch.setattr(blocks, "_BLOCK", 24 * reach)
    rng = np.random.default_rng(2)
    S, offsets = 100, (-reach, 0, 1)
    assert 24 * reach < S
    weight, source, x = rng.uniform(size=(S, 3)), rng.normal(size=S), rng.normal(size=S)
    for j, offset in enumerate(offsets):
        weight[[s for s in range(S) if not 0 <= s + offset < S], j] = 0
    expected = x
    for _ in range(count):
        ahead = np.stack([expected[np.clip(np.arange(S) + o, 0, S - 1)] for o in offsets], axis=1)
        expected = source + (weight * ahead).sum(axis=1)
    sweep = jax.jit(lambda x: kernels.sweeps(offsets, jnp.asarray(weight), jnp.asarray(source), x, count))
    np.testing.assert_allclose(sweep(jnp.asarray(x)), expected, rtol=1e-12)
    assert ("cond" in str(jax.make_jaxpr(sweep)(jnp.asarray(x)))) == (count > 0)  # in blocks indeed


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_large_problem_that_is_not_finite_stays_so(monkeypatch):
    monkeypatch.setattr(blocks, "_BLOCK", 24)
    weight, source = jnp.full((100, 1), 0.5), jnp.ones(100).at[jnp.asarray([0, 40])].set(jnp.nan)
    got = kernels.sweeps((0,), weight, source, jnp.zeros(100), 4)
    assert np.isnan(got[0]) and np.isnan(got[40])


def test_stack_keeps_offsets_that_are_shared():
    a, b = grid(discount=0.9).mdp, grid("S..g\n.gg.\n...G", discount=0.9).mdp
    assert stack([a, b]).layout.shifts == a.layout.shifts
    mixed = stack([a, grid("S..\n..G", discount=0.9).mdp])
    assert mixed.layout.shifts is None
    reward = jnp.asarray([0.1, -1.0, 1.0])
    got = jax.vmap(lambda m: m.initial @ mdps.solve(m, m.reward(reward)).value)(mixed)
    alone = mdps.solve(a, a.reward(reward)).value[0]
    np.testing.assert_allclose(got[0], alone, rtol=1e-5)


def test_solving_leaves_out_the_slots_that_nobody_takes(x64):
    """Fewer products in the program, whose answer is the same (above)."""
    mdp = grid(slip=0.0, discount=0.9).mdp

    def products(mdp):
        text = str(jax.make_jaxpr(lambda m, r: mdps.solve(m, r).value)(mdp, mdp.features[:, 0]))
        return text.count(" mul ")

    assert products(mdp) < 0.75 * products(replace(mdp, layout=replace(mdp.layout, slots=None)))
