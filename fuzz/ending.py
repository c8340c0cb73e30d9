"""No discount and no horizon: small problems against every stationary policy, whether it ends or not."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import mdps
from fuzz import truth
from fuzz.problems import reward, scale
from fuzz.promises import Checked

ROWS, S, A, MAX_STEPS = 24, 5, 2, 20_000


class Endings(NamedTuple):
    """MDPs whose last state ends everything, and a reward for each."""

    mdps: list[mdps.MDP]
    reward: jax.Array  # [n, S, A]
    costly: np.ndarray  # [n] whether every step costs something

    @property
    def size(self) -> int:
        """How many problems there are."""
        return len(self.mdps)

    def show(self, i: int) -> str:
        """Problem `i` in a line."""
        return f"MDP problems.mdps[{i}], reward problems.reward[{i}] = {np.asarray(self.reward[i]).tolist()}"


def wide(seed: int, batch: int) -> bool:
    """Whether a batch is in float64."""
    return batch % 2 == 0


def draw(seed: int, batch: int) -> Endings:
    """From each state some action leads to the end or on towards it; others may stay or go round."""
    rng = np.random.default_rng([seed, batch, 8])
    models, rewards, costly = [], [], rng.random(ROWS) < 0.5
    for i in range(ROWS):
        P = rng.dirichlet(np.full(S, 0.3), size=(S, A)) * (rng.random((S, A, S)) < 0.6) + 1e-300
        onward = np.arange(S - 1), rng.integers(A, size=S - 1), rng.integers(1, S, S - 1)
        P[onward[0], onward[1], np.maximum(onward[2], onward[0] + 1)] += rng.choice([0.01, 1.0], S - 1)
        P = P if i else P + 0.01  # the first has every edge, so that all batches are of one shape
        P = np.where(P > 1e-9, P, 0) + (P.sum(axis=-1, keepdims=True) < 1e-9) * np.eye(S)[:, None]
        P[-1] = np.eye(S)[-1]
        if rng.random() < 0.4 and i:
            P = np.eye(S)[P.argmax(axis=-1)]
            P[onward[0], onward[1]] = np.eye(S)[np.maximum(onward[2], onward[0] + 1)]
        r = reward(rng, (S, A)) * scale(rng)
        r = -np.abs(r) - 0.01 * max(np.abs(r).max(), 1e-8) if costly[i] else r
        r[-1] = 0
        initial = rng.dirichlet(np.ones(S))
        models.append(
            mdps.MDP.from_dense(P / P.sum(axis=-1, keepdims=True), np.zeros((S, A, 1)), initial, discount=1.0)
        )
        rewards.append(r)
    return Endings(models, jnp.asarray(np.array(rewards), jnp.result_type(float)), costly)


@jax.jit
def asked(mdp, reward):
    """The optimum of several problems."""
    return jax.vmap(lambda m, r: mdps.solve(m, r, max_steps=MAX_STEPS))(mdp, reward)


def answers(p: Endings):
    """What the library says."""
    return jax.tree.map(np.asarray, asked(mdps.stack(p.mdps), p.reward))


def call(p: Endings, i: int) -> str:
    """How the library was called."""
    return "jit(vmap) over MDPs of mdps.solve(m, r, max_steps=20_000), discount 1, no horizon"


def check(p: Endings, s) -> list[Checked]:
    """Bounds hold of what is called converged, and where every step costs something that is what is found."""
    P = np.stack([np.asarray(m.to_dense(), float) for m in p.mdps])
    r, n = np.asarray(p.reward, float), p.size
    best, error, plain = np.full((n, S), -np.inf), np.zeros(n), np.ones(n, bool)
    for choice in itertools.product(range(A), repeat=S - 1):
        policy = np.broadcast_to(np.eye(A)[[*choice, 0]], (n, S, A))
        value, off, clear = total(P, policy, r)
        best, error = np.maximum(best, value), np.maximum(error, off)
        plain &= clear
    own, own_error, own_plain = total(P, np.asarray(s.policy, float), r)
    bound, says = s.error_bound.astype(float), np.isfinite(s.error_bound)
    finite = np.isfinite(best).all(axis=1)
    off = np.abs(np.where(finite[:, None], s.value - best, 0)).max(axis=1).astype(float)
    # Of a problem without a finite optimum nothing may be claimed.
    off = np.where(finite, off, np.where(says, np.inf, 0))
    short = np.where(finite[:, None], best - own, 0).max(axis=1).astype(float)
    eps = float(np.finfo(s.value.dtype).eps)
    size = np.abs(np.where(finite[:, None], best, 0)).max(axis=1).astype(float)
    steps = size / np.where(p.costly, -r[:, :-1].max(axis=(1, 2)), 1)
    floor = 64 * eps * size * steps
    asked_for = 1e-6 if eps < 1e-10 else np.inf
    reached = p.costly & finite & (100 * floor < asked_for) & (steps < MAX_STEPS / 1000)
    allowed = np.where(np.isfinite(s.policy_bound), s.policy_bound + error + own_error, np.inf)
    return [
        Checked("ends: value within error_bound", off, np.where(says, bound + error, np.inf), plain),
        Checked("ends: policy within policy_bound", short, allowed, plain & own_plain),
        Checked("ends: policies are distributions", np.abs(s.policy.sum(axis=-1) - 1).max(axis=1), 8 * eps),
        Checked("ends: converged means known", (s.converged & ~says).astype(float), 0.0),
        Checked("ends: what can be reached is reached", (~says).astype(float), 0.0, reached & plain),
    ]


def total(P, policy, r):
    """Total reward of a stationary policy from each state, ±inf where it has no end; its error; and where it is plain.

    A class of states that is never left pays for ever: nothing if all its rewards are zero, and else ±inf by the sign
    of its mean; where the mean is zero and the rewards are not, there is no total.
    """
    policy = policy / policy.sum(axis=-1, keepdims=True)
    n, M, paid = len(P), truth.chain(P, policy), truth.paid(policy, r)
    M = M / M.sum(axis=-1, keepdims=True)
    reach = (M > 0) | np.eye(S, dtype=bool)
    for _ in range(3):
        reach = np.matmul(reach, reach)
    recurrent = (~reach | np.swapaxes(reach, 1, 2)).all(axis=2)  # all it reaches reaches it
    pays = recurrent & (np.matmul(reach & recurrent[:, None, :], (np.abs(paid) > 0)[..., None])[..., 0])
    # The mean of a class, from the visits of a nearly endless discount.
    near = np.linalg.solve(np.eye(S) - (1 - 1e-9) * M, np.where(pays, paid, 0)[..., None])[..., 0] * 1e-9
    scale = np.abs(paid).max(axis=1, keepdims=True) + 1e-300
    plain = ~(pays & (np.abs(near) < 1e-6 * scale)).any(axis=1)
    inner = ~recurrent
    value, error = truth.system(M * inner[:, :, None] * inner[:, None, :], np.ones(n), np.where(inner, paid, 0))
    up = np.matmul(reach, (pays & (near > 0))[..., None])[..., 0]
    down = np.matmul(reach, (pays & (near <= 0))[..., None])[..., 0]
    plain &= ~(up & down).any(axis=1)
    return np.where(up, np.inf, np.where(down, -np.inf, value)), error, plain
