"""With a horizon: rows sum to one and exact ties are shared equally, in every layout and both precisions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdps


def mirrored(x: np.ndarray) -> np.ndarray:
    """`x` `[S, A, S']` its own mirror image, whose last action leads to the mirror image of the first's."""
    x = (x + x[::-1, :, ::-1]) / 2
    x[:, -1] = x[:, 0, ::-1]
    return x / x.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(("S", "A", "dense"), [(9, 3, True), (16, 6, False), (8, 10, True)])
def test_ties_of_mirror_images_are_shared_to_the_bit(S, A, dense, wide):
    rng = np.random.default_rng(S)
    chance = rng.gamma(0.5, size=(S, A, S)) * (1 if dense else rng.random((S, 1, S)) < 0.2) + np.eye(S)[:, None]
    P = mirrored(chance)
    P = (P + P[::-1, :, ::-1]) / 2
    P[:, -1] = P[:, 0, ::-1]
    with jax.enable_x64(wide):
        mdp = mdps.MDP.from_dense(P, np.zeros((S, 1)), np.full(S, 1 / S), discount=0.9, horizon=6)
        r = rng.normal(size=(64, S, A)) * 10.0 ** rng.integers(-6, 7, (64, 1, 1))
        r = (r + r[:, ::-1]) / 2
        r[:, :, 0] = r[:, :, -1] = r.max(axis=2)  # so that the tie is often optimal
        rewards = jnp.asarray(r, jnp.float64 if wide else jnp.float32)
        policy = np.asarray(jax.jit(jax.vmap(lambda x: mdps.solve(mdp, x).policy))(rewards))
        eps = np.finfo(policy.dtype).eps
        assert np.abs(policy.sum(axis=-1) - 1).max() <= A * eps / 2
        most = policy.max(axis=-1, keepdims=True)
        assert ((policy == 0) | (policy == most)).all()  # equal shares, to the bit
        last = policy[:, -1]  # no later values, so that the tie is of rewards alone
        np.testing.assert_array_equal(last[..., 0], last[..., -1])
        assert (last[..., 0] > 0).all()
