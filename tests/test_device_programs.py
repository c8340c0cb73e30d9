"""What an accelerator would run, read from the program: no way back to the host, no scatter in a loop."""

import jax
import jax.core
import jax.numpy as jnp
import pytest

import mdps
from examples.lavaland.trial import trial
from ird.evidence import SumOverProxies

GRID = mdps.GridWorld.from_text("S.gG\n.#..", {"S": "a", ".": "a", "g": "b", "G": "c"}, slip=0.2, discount=0.9).mdp


def primitives(jaxpr, inside=()):
    """Every primitive of a program with the loops around it."""
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        yield name, inside
        around = (*inside, name) if name in ("while", "scan") else inside
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda x: hasattr(x, "jaxpr") or hasattr(x, "eqns")
        ):
            if hasattr(inner, "jaxpr"):
                inner = inner.jaxpr
            if hasattr(inner, "eqns"):
                yield from primitives(inner, around)


def batch_of_trials():
    return jax.make_jaxpr(jax.vmap(trial))(jax.random.split(jax.random.key(0), 3))


def batch_of_solves(temperature):
    rewards = jnp.zeros((3, GRID.num_states))
    return jax.make_jaxpr(jax.vmap(lambda r, t: mdps.solve(GRID, r, temperature=t), (0, None)))(rewards, temperature)


def batch_of_occupancies():
    policy = jnp.full((3, GRID.num_states, GRID.num_actions), 1 / GRID.num_actions)
    return jax.make_jaxpr(jax.vmap(lambda p: mdps.occupancy(GRID, p)))(policy)


def log_normalizer():
    normalizer = SumOverProxies(jnp.ones((7000, 4)), jnp.ones(7000))
    return jax.make_jaxpr(lambda w: normalizer.log_sum(w, jnp.ones(()), jnp.zeros(4)))(jnp.ones((9000, 4)))


@pytest.mark.parametrize(
    "program",
    [batch_of_trials, lambda: batch_of_solves(0.5), batch_of_occupancies, log_normalizer],
    ids=["Lavaland trials", "soft solves", "occupancies", "log-normalizer"],
)
def test_no_way_back_to_the_host_and_no_scatter_in_a_loop(program):
    found = list(primitives(program().jaxpr))
    names = {name for name, _ in found}
    assert names & {"while", "scan"}, "the walk has not found the loops"
    assert not [name for name in names if "callback" in name or "feed" in name]
    assert not [(name, loops) for name, loops in found if name.startswith("scatter") and loops]


def test_the_walk_finds_what_it_looks_for():
    def bad(x):
        jax.debug.callback(lambda y: None, x)
        return jax.lax.fori_loop(0, 3, lambda i, y: y.at[i].add(1.0), x)

    found = list(primitives(jax.make_jaxpr(bad)(jnp.zeros(4)).jaxpr))
    assert any("callback" in name for name, _ in found)
    assert any(name.startswith("scatter") and loops for name, loops in found)
