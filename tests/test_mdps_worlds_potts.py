"""Patchy terrain by the Potts model: its probabilities, its sampler against enumeration, and its use in Lavaland."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles_potts
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mdps.worlds.lavaland import NAMES, Lavaland
from mdps.worlds.potts import Potts

SHARES = (0.5, 0.3, 0.2)
SHAPE = (2, 3)
# The corner may not be of the last terrain, and one cell is fixed: what Lavaland does with start and goal.
MASK = np.ones((*SHAPE, 3), bool)
MASK[0, 0, 2] = False
MASK[1, 1] = [False, True, False]


@given(
    hnp.arrays(np.int32, (3, 4), elements=st.integers(0, 2)),
    st.floats(-1, 2, width=32),
    st.floats(0, 4, width=32),
)
def test_log_probability_is_that_of_the_slow_twin(terrain, coupling, penalty):
    found = Potts(coupling=coupling, penalty=penalty).log_probability(jnp.asarray(terrain), SHARES)
    np.testing.assert_allclose(found, oracles_potts.log_probability(terrain, SHARES, coupling, penalty), atol=1e-4)


def excess(drawn, potts, allowed=None):
    """χ² of drawn maps against enumeration, as standard deviations above its mean if the sampler is right."""
    _, p = oracles_potts.every_map(SHAPE, SHARES, potts.coupling, potts.penalty, allowed)
    digits = np.asarray(drawn).reshape(len(drawn), -1)
    number = digits @ 3 ** np.arange(digits.shape[1])[::-1]
    assert (p[number] > 0).all()
    expected = p * len(drawn)
    rare = expected < 8  # pooled: χ² needs a few in every cell
    seen = np.bincount(number, minlength=len(p))
    seen, expected = (np.append(x[~rare], x[rare].sum()) for x in (seen, expected))
    freedom = len(seen) - 1
    return (((seen - expected) ** 2 / np.maximum(expected, 1)).sum() - freedom) / np.sqrt(2 * freedom)


@pytest.mark.parametrize("allowed", [None, MASK], ids=["free", "masked"])
def test_maps_are_drawn_from_the_enumerated_distribution(allowed):
    potts = Potts(coupling=0.7, penalty=0.4, sweeps=12)
    keys = jax.random.split(jax.random.key(5), 20_000)
    drawn = jax.jit(jax.vmap(lambda key: potts.sample(SHARES, SHAPE, key=key, allowed=allowed)))(keys)
    assert abs(excess(drawn, potts, allowed)) < 4
    # The check has power: a coupling or a penalty that is a little off would fail it.
    assert excess(drawn, Potts(coupling=0.85, penalty=0.4), allowed) > 10
    assert excess(drawn, Potts(coupling=0.7, penalty=0.6), allowed) > 10


def equal_neighbours(terrain):
    across = (terrain[:, :, 1:] == terrain[:, :, :-1]).sum(axis=(1, 2))
    return (across + (terrain[:, 1:] == terrain[:, :-1]).sum(axis=(1, 2))) / 180


def test_lavaland_by_the_papers_likelihood_has_its_shares_and_its_patches_and_has_mixed():
    traces = []

    def draw(key, sweeps):
        traces.append(sweeps)
        return Lavaland(potts=Potts(sweeps=sweeps)).field(key)

    compiled = jax.jit(jax.vmap(draw, in_axes=(0, None)), static_argnums=1)
    keys = jax.random.split(jax.random.key(2), 300)
    fields = compiled(keys, 40)
    terrain = np.asarray(fields.terrain)
    share = {name: (terrain == i).mean(axis=(1, 2)) for i, name in enumerate(NAMES)}
    for name, wanted in (("dirt", 0.665), ("grass", 0.285), ("lava", 0.05)):
        assert abs(share[name].mean() - wanted) < 0.007, name
        assert share[name].std() < 0.01, name
    assert (share["target"] == 0.01).all() and np.asarray(fields.goal).sum() == 300
    start = np.asarray(fields.mdp.initial) > 0
    assert not (start & np.asarray(jax.vmap(lambda grid: grid.where("lava"))(fields))).any()
    # Neighbours are alike on .74 of the edges, on .53 without patches; half as many sweeps change nothing.
    alike = equal_neighbours(terrain)
    assert alike.mean() > 0.7
    shorter = equal_neighbours(np.asarray(compiled(jax.random.split(jax.random.key(3), 300), 20).terrain))
    assert abs(alike.mean() - shorter.mean()) < 4 * np.hypot(alike.std(), shorter.std()) / 300**0.5
    trains = np.asarray(jax.jit(jax.vmap(Lavaland(potts=Potts(sweeps=5)).train))(keys[:50]).terrain)
    assert not (trains == NAMES.index("lava")).any()
    # A share may be traced: 0 and 20 of 100 cells, in one program.
    traced = jax.jit(jax.vmap(lambda share: Lavaland(potts=Potts(sweeps=5)).field(keys[0], lava=share).terrain))
    none, some = (np.asarray(traced(jnp.array([0.0, 0.2]))) == NAMES.index("lava")).sum(axis=(1, 2))
    assert none == 0 and abs(some - 20) <= 3
    compiled(keys, 40)
    assert traces == [40, 20]  # one trace for each number of sweeps, whatever the keys


def test_settings_are_read_from_a_file(tmp_path):
    file = tmp_path / "generator.toml"
    file.write_text("lava = 0.1\n[potts]\ncoupling = 0.5\n", encoding="utf-8")
    assert Lavaland.from_toml(file) == Lavaland(lava=0.1, potts=Potts(coupling=0.5))
    file.write_text("[potts]\nheat = 2.0\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"potts\.heat is not a setting"):
        Lavaland.from_toml(file)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Potts(coupling=float("nan")), "coupling is nan"),
        (lambda: Potts(penalty=-1.0), r"penalty is -1\.0; it must be a finite number ≥ 0"),
        (lambda: Potts(sweeps=0), "sweeps is 0"),
        (lambda: Potts().sample((0.7, 0.5), (3, 3), key=jax.random.key(0)), "together they are at most 1"),
        (lambda: Potts().sample(SHARES, (3, 3), key=jax.random.key(0), allowed=MASK), r"allowed has shape \(2, 3, 3\)"),
        (
            lambda: Potts().sample(SHARES, SHAPE, key=jax.random.key(0), allowed=MASK & (np.arange(3) == 2)),
            "no terrain to the cell at row 0, column 0",
        ),
    ],
)
def test_bad_settings_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
