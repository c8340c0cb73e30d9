"""One large MDP over two devices gives what one device gives; this file runs itself where there are two."""

import json
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

import mdps
from mdps.mdp import shard


def world(height, width, discount, walls=None):
    terrain = np.random.default_rng(0).integers(0, 8, (height, width))
    settings = {} if walls is None else {"walls": walls}
    return mdps.GridWorld.from_terrain(
        jnp.asarray(terrain),
        tuple("abcdefgh"),
        start=(0, 0),
        goal=(height // 2, width // 2),
        slip=0.2,
        discount=discount,
        **settings,
    ).mdp


def hub(S):
    """A table in which every state may lead to the first, and in which some actions do not exist."""
    rng = np.random.default_rng(2)
    next_state = np.concatenate([rng.integers(0, S, size=(S, 2)), np.zeros((S, 1), int)], axis=1)
    exists = rng.random((S, 3)) < 0.7
    exists[:, 1] = True
    probability, features = rng.dirichlet(np.ones(3), size=(S, 3)), rng.normal(size=(S, 8))
    return mdps.MDP.from_table(
        next_state,
        probability,
        features,
        np.full(S, 1 / S),
        available=exists,
        discount=0.95,
        feature_names=tuple("abcdefgh"),
    )


def compare(mdp, mesh, temperature):
    """Largest differences between one device and a mesh, the bounds they promise, and how the compiler split it."""
    weights = jnp.linspace(-1, 1, 8)
    settings = {"temperature": temperature, "tol": 1e-5}
    reward = mdp.reward(weights)
    program = jax.jit(lambda m, r: mdps.solve(m, r, mesh=mesh, **settings)).lower(mdp, reward).compile()
    alone, shared = mdps.solve(mdp, reward, **settings), program(mdp, reward)
    visits = [mdps.occupancy(mdp, alone.policy, tol=1e-6, **m) for m in ({}, {"mesh": mesh})]
    text = program.as_text()
    return {
        "value": float(jnp.max(jnp.abs(alone.value - shared.value))),
        "bounds": float(alone.error_bound + shared.error_bound),
        "converged": bool(alone.converged & shared.converged),
        "policy": float(jnp.max(jnp.abs(alone.policy - shared.policy))),
        "visits": float(jnp.sum(jnp.abs(visits[0] - visits[1]))),
        "total": float(jnp.sum(visits[1])),
        "devices": len(shared.value.sharding.device_set),
        "gathers": len(re.findall(r" all-gather\(", text)),
        "exchanges": len(re.findall(r" collective-permute\(", text)),
    }


def main():
    """Runs where there are two devices, in float64."""
    jax.config.update("jax_enable_x64", True)
    mesh = Mesh(np.array(jax.devices()), ("states",))
    square = Mesh(np.array(jax.devices())[:, None], ("rows", "columns"))
    walls = np.random.default_rng(1).random((20, 31)) < 0.1
    walls[[0, 10], [0, 15]] = False
    big = world(250, 400, 0.9)
    odd = world(21, 31, 0.95)
    rough = world(20, 31, 0.95, walls)
    found = {
        "big": compare(big, mesh, 0.0),
        "odd": compare(odd, square, 0.1),
        "rough": compare(rough, mesh, 0.0) | {"states": rough.num_states},
        "hub": compare(hub(333), mesh, 0.0),
        "steps": compare_steps(odd.replace(horizon=7), mesh),
    }
    print(json.dumps(found))


def compare_steps(mdp, mesh):
    """The same with a horizon, where a policy has a time axis."""
    reward = mdp.reward(jnp.linspace(-1, 1, 8))
    alone, shared = mdps.solve(mdp, reward), mdps.solve(mdp, reward, mesh=mesh)
    visits = [mdps.occupancy(mdp, alone.policy, **m) for m in ({}, {"mesh": mesh})]
    return {
        "value": float(jnp.max(jnp.abs(alone.value - shared.value))),
        "policy": float(jnp.max(jnp.abs(alone.policy - shared.policy))),
        "visits": float(jnp.max(jnp.abs(visits[0] - visits[1]))),
        "shape": list(shared.policy.shape),
    }


@pytest.fixture(scope="module")
def found():
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    run = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ["big", "odd", "rough", "hub"])
def test_two_devices_find_what_one_finds(found, name):
    one = found[name]
    assert one["converged"]
    assert one["devices"] == 2
    assert one["value"] <= one["bounds"] <= 2e-5
    assert one["visits"] <= 2e-6
    assert one["total"] == pytest.approx(10 if name == "big" else 20, abs=1e-5)
    # Hard policies have no ties on these maps; soft ones move by the error of the values over τ.
    assert one["policy"] <= (2e-4 if name == "odd" else 1e-12)


def test_a_grid_exchanges_only_the_edges_of_its_shares(found):
    assert found["big"]["gathers"] == 0
    assert found["big"]["exchanges"] > 0
    assert found["rough"]["states"] % 2 == 1  # walls: padded, and gathered
    assert found["rough"]["gathers"] > 0


def test_shares_agree_with_the_whole_with_a_horizon(found):
    one = found["steps"]
    assert one["shape"] == [7, 651, 4]
    assert max(one["value"], one["policy"], one["visits"]) < 1e-10


def test_padding_changes_nothing():
    mdp = world(3, 5, 0.9)
    mesh = Mesh(np.array(jax.devices()[:1]), ("states",))
    assert shard(mdp, mesh).num_states == 15
    reward = mdp.reward(jnp.linspace(-1, 1, 8))
    alone, shared = mdps.solve(mdp, reward), mdps.solve(mdp, reward, mesh=mesh)
    assert float(jnp.max(jnp.abs(alone.value - shared.value))) <= float(alone.error_bound + shared.error_bound)
    np.testing.assert_array_equal(alone.policy, shared.policy)


def test_a_stack_cannot_be_sharded():
    stacked = mdps.stack([world(3, 3, 0.9)] * 2)
    mesh = Mesh(np.array(jax.devices()[:1]), ("states",))
    with pytest.raises(ValueError, match="a stack of MDPs"):
        shard(stacked, mesh)


if __name__ == "__main__":
    main()
