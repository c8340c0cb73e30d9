"""Amplification and distillation (Christiano et al. 2018) as dynamic programming: what errors of the student add up to.

An overseer answers a question by asking the present model about its parts, here: what an action is worth, by one step
of the world and the model's word for the rest.  A student then learns to answer like that, with an error; it is the
next model.  In a table this is approximate value iteration under another name, and one thing can be said of it: after h
rounds with errors of at most ε the model is within ε(1 - γ^h)/(1 - γ) of what h rounds without errors would say, and an
error that always has the same sign gets there.  A bias b that every round repeats stays: b/(1 - γ) for ever.

It says nothing of whether questions can be taken apart, or of what students learn.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Float

from cirl.oversight._given import Real, one_real
from mdps.checks import check_count, check_finite, check_mdp, check_real, check_reward, require_concrete
from mdps.mdp import MDP

__all__ = ["Amplified", "accumulated", "amplify"]
__dir__ = __all__.copy


@dataclass(frozen=True, eq=False)
class Amplified:
    """A model after some rounds; in units of return.

    Attributes:
        model: what it says that each state is worth, `[S]`.
        exact: what it would say without errors, `[S]`: the best return of so many steps.
        distance: largest difference of the two.
        bound: no errors of this size can do more.
    """

    model: Float[np.ndarray, " S"]
    exact: Float[np.ndarray, " S"]
    distance: float
    bound: float

    def __str__(self) -> str:
        return f"off by {self.distance:.10g}; errors of this size can add up to {self.bound:.10g}"


def accumulated(error: Real, discount: Real, rounds: int | None = None) -> float:
    """What errors of at most ε add up to: ε(1 - γ^h)/(1 - γ), or ε/(1 - γ) without an end.

    Args:
        error: ε, in units of return, 0 or more.
        discount: γ, 0 to 1; below 1 without an end.
        rounds: h; None: for ever, which is also what a bias of this size leaves.

    Returns:
        A number in units of return.

    Raises:
        ValueError: for a negative error, or a discount that is none.

    Example:
        >>> round(accumulated(0.1, 0.9, 10), 10), round(accumulated(0.1, 0.9), 10)
        (0.6513215599, 1.0)
    """
    epsilon = one_real("error", error, lambda x: 0 <= x < math.inf, "give a finite number, 0 or more.")
    most = "give a number in [0, 1]." if rounds is not None else "give a number in [0, 1), or the number of rounds."
    gamma = one_real("discount", discount, lambda x: 0 <= x < 1 or (x == 1 and rounds is not None), most)
    if rounds is None:
        return epsilon / (1 - gamma)
    h = check_count("rounds", rounds, least=0)
    if gamma in (0.0, 1.0):
        return epsilon * (h if gamma else min(h, 1))
    return epsilon * -math.expm1(h * math.log(gamma)) / (1 - gamma)


def amplify(
    mdp: MDP,
    reward: Float[Array, " S"] | Float[Array, " S A"] | np.ndarray,
    rounds: int,
    *,
    error: Real | Float[Array, " *h S"] | np.ndarray = 0.0,
) -> Amplified:
    """Amplify and distil a model that begins by saying nothing (0 everywhere); on the host, in double precision.

    Args:
        mdp: the world; of its settings the discount counts, not the horizon.
        reward: `[S]` or `[S, A]`.
        rounds: h, how often.
        error: what the student is off after each round: one number, one for each state `[S]`, or for each round and
            state `[h, S]`; positive where it promises too much.

    Returns:
        An `Amplified`.

    Raises:
        ValueError: for a reward or errors that do not fit, or no whole number of rounds.

    Example:
        >>> import mdps
        >>> legend = {"S": "floor", ".": "floor", "G": "goal"}
        >>> grid = mdps.GridWorld.from_text("S.G", legend, discount=0.9)
        >>> print(amplify(grid.mdp, grid.mdp.reward(grid.weights(goal=1.0)), 10, error=0.1))
        off by 0.6513215599; errors of this size can add up to 0.6513215599
    """
    check_mdp(mdp)
    require_concrete("amplify", mdp=mdp.probability, reward=reward, error=error)
    h = check_count("rounds", rounds)
    r = np.asarray(check_reward(mdp, reward), float)
    r = r[:, None] if r.ndim == 1 else r
    S = mdp.num_states
    off = np.asarray(check_real("error", error), float)
    if off.shape not in ((), (S,), (h, S)):
        raise ValueError(f"error has shape {off.shape}; give one number, [S] = [{S}], or [h, S] = [{h}, {S}].")
    check_finite("error", off)
    off = np.broadcast_to(off, (h, S))
    to, P, gamma = np.asarray(mdp.next_state), np.asarray(mdp.probability, float), _double(mdp.discount)
    P = P / np.maximum(
        P.sum(axis=2, keepdims=True), 0.5
    )  # rows that float32 rounded; those of no action stay as they are
    shut = 0.0 if mdp.available is None else np.where(np.asarray(mdp.available), 0.0, -np.inf)
    model, exact = np.zeros(S), np.zeros(S)
    for each in off:
        model, exact = ((r + gamma * (P * v[to][:, None]).sum(axis=2) + shut).max(axis=1) for v in (model, exact))
        model = model + each
    return Amplified(model, exact, float(np.abs(model - exact).max()), accumulated(float(np.abs(off).max()), gamma, h))


def _double(discount) -> float:
    """A discount as it was written: 0.9, where float32 holds 0.9 to seven digits."""
    return float(str(np.asarray(discount)[()]))
