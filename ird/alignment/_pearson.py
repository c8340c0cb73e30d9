r"""Distances between rewards by correlation, without planning: EPIC and DARD.

Both take shaping away transition by transition, and then compare by Pearson's correlation ρ, D = sqrt((1 - ρ)/2):

    EPIC   C(R) = R(s,a,s') + γ m(s') - m(s) - γ m̄,                          m(s) the mean of R(s, ·, ·)
    DARD   C(R) = R(s,a,s') + γ m(s') - m(s) - γ E[R(S', A, S'')],            m(s) the mean under P

Gleave et al. (2021), Wulfe et al. (2022).  EPIC is not told what can happen, so moving reward between successors, or
paying for what never happens, changes it; `geometry` is told.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdps.checks import check_array, check_mdp
from mdps.mdp import MDP

__all__ = ["dard", "epic", "full_rewards"]
__dir__ = __all__.copy


def epic(mdp: MDP, written: Float[Array, " S *A_S"], true: Float[Array, " S *A_S"]) -> Float[Array, ""]:
    """EPIC: 0 for rewards that are alike up to scale and shaping, 1 for opposite ones (Gleave et al. 2021).

    Every transition counts alike, possible or not.

    Args:
        mdp: the MDP, of which only the discount matters.
        written: a reward, `[S]`, `[S, A]` or `[S, A, S']`; of weights `mdp.reward(weights)`.
        true: another one.

    Raises:
        ValueError: for rewards that do not fit the MDP.

    Example:
        >>> import jax.numpy as jnp, mdps
        >>> grid = mdps.GridWorld.from_text("S.G", {"S": "floor", ".": "floor", "G": "goal"}, discount=0.9)
        >>> reward = grid.mdp.reward(grid.weights(goal=1.0))
        >>> round(float(epic(grid.mdp, reward, 1 - 2 * reward)), 6)
        1.0
    """
    one, two = full_rewards(mdp, written, true)
    weights = jnp.full(one.shape, 1 / one.size, one.dtype)
    return _distance(weights, *(_shaped(mdp, x, jnp.mean(x, axis=(1, 2))) for x in (one, two)))


def dard(mdp: MDP, written: Float[Array, " S *A_S"], true: Float[Array, " S *A_S"]) -> Float[Array, ""]:
    """DARD: as EPIC, but over transitions that can happen (Wulfe et al. 2022); states and actions count alike.

    Args:
        mdp: the MDP; its transitions are made dense, so it must be small.
        written: a reward, `[S]`, `[S, A]` or `[S, A, S']`; of weights `mdp.reward(weights)`.
        true: another one.

    Raises:
        ValueError: for rewards that do not fit the MDP.
    """
    one, two = full_rewards(mdp, written, true)
    P = mdp.to_dense().astype(one.dtype)

    def canonical(reward):
        paid = jnp.sum(P * reward, axis=2)  # E[R(s, a, S')]
        # The same action is taken after both successors, as the authors' code has it.
        after = jnp.einsum("sax,xay,tay->st", P, reward, P, precision=jax.lax.Precision.HIGHEST) / P.shape[1]
        return _shaped(mdp, reward, jnp.mean(paid, axis=1)) - mdp.discount * after[:, None, :]

    return _distance(P / P.shape[0] / P.shape[1], canonical(one), canonical(two))


def full_rewards(mdp: MDP, written, true) -> list[Array]:
    """Two rewards of transitions, `[S, A, S']`; both are checked before anything is computed."""
    check_mdp(mdp)
    shape, found = (mdp.num_states, mdp.num_actions, mdp.num_states), []
    for name, reward in (("written", written), ("true", true)):
        reward = check_array(name, reward)
        if reward.ndim not in (1, 2, 3) or reward.shape != shape[: reward.ndim]:
            raise ValueError(
                f"{name} has shape {reward.shape}; give a reward [S], [S, A] or [S, A, S'] with S, A = {shape[:2]}; "
                "of weights mdp.reward(weights)."
            )
        found.append(reward)
    return [jnp.broadcast_to(jnp.expand_dims(x, tuple(range(x.ndim, 3))), shape) for x in found]


def _shaped(mdp: MDP, reward, mean) -> Array:
    return reward + mdp.discount * mean[None, None, :] - mean[:, None, None]


def _distance(weights, one, two) -> Array:
    """Pearson's distance; rewards that are canonically constant are 0 from each other and 1/sqrt(2) from others."""
    one, two = (x - jnp.sum(weights * x) for x in (one, two))
    length, other = (jnp.sqrt(jnp.sum(weights * x * x)) for x in (one, two))
    tiny = 1e-6 if one.dtype == jnp.float32 else 1e-12
    first, second = (n > tiny * (1 + jnp.max(jnp.abs(x))) for n, x in ((length, one), (other, two)))
    apart = one / jnp.where(first, length, 1) - two / jnp.where(second, other, 1)
    found = jnp.sqrt(jnp.sum(weights * apart**2)) / 2
    return jnp.where(first & second, found, jnp.where(first == second, 0, jnp.sqrt(0.5)))
