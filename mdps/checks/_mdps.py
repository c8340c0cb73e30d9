"""One MDP, and what belongs to it: horizon and discount, weights, rewards, policies."""

import numbers

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mdps.checks._probabilities import as_distributions
from mdps.checks._values import as_cast, as_float, check_array, check_number, check_real, in_dtype, is_concrete, shown


def check_horizon_and_discount(horizon: int | None, discount, *, ends: bool = False) -> None:
    """Raise unless the horizon is a positive whole number or None and the discount fits it.

    `ends`: whether a discount of 1 without a horizon is judged elsewhere, by where ways lead (`tables.check_ends`).
    """
    if horizon is not None and (not isinstance(horizon, numbers.Integral) or isinstance(horizon, bool) or horizon < 1):
        raise ValueError(f"horizon is {shown(horizon)}; give a whole number of steps ≥ 1, or None for an endless MDP.")
    check_number("discount", discount, lambda gamma: 0 <= gamma <= 1, "it must lie in [0, 1).")
    if horizon is None and is_concrete(discount):
        dtype = jnp.result_type(float)
        gamma = float(in_dtype(np.asarray(as_float(discount)), dtype))
        if gamma >= 1 and not (ends and float(discount) == 1):
            raise ValueError(
                f"discount is {float(discount)}{as_cast(gamma, discount, dtype)} without a horizon; give a discount "
                "below 1, or a horizon."
            )


def check_sums(mdp) -> None:
    """Raise where visits are counted, but nothing is discounted and there is no horizon."""
    if mdp.layout.undiscounted:
        raise ValueError(
            "mdp has neither a discount below 1 nor a horizon, so that visits have no sum; give a horizon "
            "(mdp.replace(horizon=T)) or a discount (mdp.replace(discount=0.99))."
        )


def check_mdp(mdp, name: str = "mdp"):
    """One `mdps.MDP`: not the grid or the game that holds it, and not a stack of them."""
    from mdps.mdp import MDP

    if not isinstance(mdp, MDP):
        held = getattr(mdp, "mdp", None)
        cure = f"pass {_instance(mdp)}.mdp" if isinstance(held, MDP) else "pass an mdps.MDP, such as grid.mdp"
        raise ValueError(f"{name} is {shown(mdp)}; {cure}.")
    shape = np.shape(mdp.probability)
    if len(shape) != 3:
        raise ValueError(
            f"{name} is a stack of MDPs (probability has shape {shape}); this takes one: index it, or use jax.vmap "
            "over the stack."
        )
    return mdp


def check_weights(mdp, weights, name: str = "weights") -> Array:
    """Reward weights `[K]`, one for each feature of the MDP."""
    weights = check_array(name, weights, finite=False)
    if weights.shape != (mdp.num_features,):
        raise ValueError(
            f"{name} has shape {weights.shape}, but this MDP has {mdp.num_features} features "
            f"{mdp.feature_names}; give one weight per feature, in that order."
        )
    return check_array(name, weights)


def check_reward(mdp, reward) -> Array:
    """A reward `[S]` or `[S, A]` of one MDP; weights `[K]`, and -inf for actions that do not exist, get their cure."""
    held = check_real("reward", reward)
    S, A, K = mdp.num_states, mdp.num_actions, mdp.num_features
    if held.shape not in ((S,), (S, A)):
        cure = " Did you mean mdp.reward(weights)?" if held.shape == (K,) else ""
        raise ValueError(
            f"reward has shape {tuple(held.shape)}; with S={S} states and A={A} actions it must be [S] or [S, A].{cure}"
        )
    if is_concrete(held) and np.isneginf(np.asarray(held)).any():
        where = tuple(int(i) for i in np.argwhere(np.isneginf(np.asarray(held)))[0])
        raise ValueError(
            f"reward is -inf at index {where}; for actions that do not exist build the MDP with available=[S, A], "
            "and give every reward a finite number."
        )
    return check_array("reward", held)


def check_policy(
    mdp, policy, *, at_least: int | None = None, stationary: bool = False, shares: bool = True, name: str = "policy"
) -> Array:
    """A policy `[S, A]` of one MDP, or `[T, S, A]` for its horizon.

    Args:
        mdp: the MDP.
        policy: the policy.
        at_least: how many steps a policy `[T, S, A]` needs; None: those of the horizon, no more and no fewer.
        stationary: whether it must be `[S, A]`.
        shares: whether its rows are looked at: probabilities, and none for an action that does not exist.
        name: of the argument.
    """
    policy = check_real(name, policy)
    S, A, T = mdp.num_states, mdp.num_actions, mdp.horizon
    steps = None if stationary else T if at_least is None else at_least
    per_step = policy.ndim == 3 and policy.shape[1:] == (S, A) and steps is not None
    if per_step:
        per_step = policy.shape[0] == T if at_least is None else policy.shape[0] >= at_least
    if policy.shape != (S, A) and not per_step:
        shapes = f"[{S}, {A}]" + (", the same at every step" if stationary else "")
        shapes += "" if steps is None else f" or [{steps or 'T'}, {S}, {A}]"
        raise ValueError(f"{name} has shape {policy.shape}; it must be {shapes}.")
    if shares and is_concrete(policy):
        policy = as_distributions(name, policy, axes=("step", "state")[3 - policy.ndim :])
        if mdp.available is not None and is_concrete(mdp.available):
            taken = np.argwhere((np.asarray(policy) != 0) & ~np.asarray(mdp.available))
            if len(taken):
                s, a = (int(i) for i in taken[0, -2:])
                raise ValueError(
                    f"{name} takes action {a} in state {s}, which is not available there (mdp.available); give it no "
                    "share."
                )
    return check_array(name, policy, finite=False)


def _instance(x) -> str:
    return {"GridWorld": "grid", "Game": "game"}.get(type(x).__name__, "it")
