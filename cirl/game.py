"""The cooperative game: two act, one of them knows what it is worth."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cirl.belief_reduction import reduce_belief
from mdps import MDP
from mdps.checks import (
    as_distributions,
    check_array,
    check_count,
    check_finite,
    check_horizon_and_discount,
    check_real,
    require_concrete,
    shown,
)
from mdps.mdp import from_table
from mdps.pytrees import frozen_pytree
from mdps.tables import held

__all__ = ["CastError", "Game", "Order", "given_visits"]
__dir__ = __all__.copy

if TYPE_CHECKING:
    from ird.beliefs import Belief


class Order(enum.Enum):
    """Who sees whose action within a step.

    SIMULTANEOUS: both act at once.  HUMAN_FIRST: the robot sees the human's action before its own.
    ROBOT_FIRST: the human sees the robot's action and replies in the same step.
    """

    SIMULTANEOUS = "simultaneous"
    HUMAN_FIRST = "human first"
    ROBOT_FIRST = "robot first"


class CastError(NamedTuple):
    """How far the numbers of a table may be from the ones that were given, relative to themselves: 0 if all are held.

    Attributes:
        rows: of the transition probabilities.
        reward: of the rewards.
        prior: of the prior.
        initial: of the initial distribution.
    """

    rows: float = 0.0
    reward: float = 0.0
    prior: float = 0.0
    initial: float = 0.0


@frozen_pytree
@dataclass(frozen=True)
class Game:
    """A cooperative inverse reinforcement learning game (Hadfield-Menell et al. 2016).

    ⟨S, {A_H, A_R}, T(s' | s, a_H, a_R), {Θ, R(s, a_H, a_R; θ)}, P₀, γ⟩: human and robot are paid the
    same, and only the human knows θ.  Both see states and actions.  Build one with `from_dense`.

    Attributes:
        mdp: the joint-action MDP: its action is `a_H * num_robot_actions + a_R`, its features
            `[S, A, Θ]` are the rewards under each θ.
        prior: the robot's probability of each θ, `[Θ]`.
        num_human_actions: how many actions the human has (static).
        order: who sees whose action within a step (static).
        atoms: the reward weights that each θ stands for, `[Θ, K]`; None unless built `from_belief`.
        reduction_bound: how much the value of any robot in this game can differ from its value under
            the whole belief, in units of reward; 0 unless built `from_belief`.  The best robot here
            loses at most twice as much.
        given_discount: the discount as it was given, which the tables' dtype may not hold.
        cast_error: how far the numbers of the tables may be from those that were given, which their dtype does not
            hold.  `solve` counts both in its bounds.
    """

    mdp: MDP
    prior: Float[Array, " Theta"]
    num_human_actions: int = field(metadata={"static": True})
    order: Order = field(default=Order.SIMULTANEOUS, metadata={"static": True})
    atoms: Float[Array, " Theta K"] | None = None
    reduction_bound: Float[Array, ""] | float = 0.0
    given_discount: float | Float[Array, ""] = 0.0
    cast_error: CastError = field(default_factory=lambda: CastError())

    @property
    def num_robot_actions(self) -> int:
        """How many actions the robot has."""
        return self.mdp.num_actions // self.num_human_actions

    @property
    def num_thetas(self) -> int:
        """How many rewards the human may have."""
        return self.prior.shape[-1]

    @property
    def reward(self) -> Float[Array, " S AH AR Theta"]:
        """The reward of every pair of actions under each θ, `[S, A_H, A_R, Θ]`."""
        return self.mdp.features.reshape(-1, self.num_human_actions, self.num_robot_actions, self.num_thetas)

    @property
    def probability(self) -> Float[Array, " S AH AR D"]:
        """Probability of each successor slot after a pair of actions, `[S, A_H, A_R, D]`."""
        return self.mdp.probability.reshape(self.mdp.num_states, self.num_human_actions, self.num_robot_actions, -1)

    @staticmethod
    def from_dense(
        transition: Float[Array, " S AH AR S"] | np.ndarray,
        reward: Float[Array, " S AH AR Theta"] | np.ndarray,
        prior: Float[Array, " Theta"] | np.ndarray | Sequence[float],
        initial: Float[Array, " S"] | np.ndarray | Sequence[float],
        *,
        discount: float = 1.0,
        horizon: int | None = None,
        order: Order = Order.SIMULTANEOUS,
    ) -> "Game":
        """Build a game from dense arrays, on the host.

        Args:
            transition: probability of `s'` after `(s, a_H, a_R)`, `[S, A_H, A_R, S']`.
            reward: what both are paid for `(s, a_H, a_R)` if θ is meant, `[S, A_H, A_R, Θ]`.
            prior: the robot's probability of each θ, `[Θ]`; all positive.
            initial: probability of starting in each state, `[S]`.
            discount: discount factor per step; below 1 unless a horizon is given.
            horizon: number of steps, or None for an endless game.
            order: who sees whose action within a step.

        Raises:
            ValueError: for arrays whose axes do not fit together, rows that are no distributions, a
                θ of probability zero, rewards that are not finite, or a discount that does not fit the horizon.
            TypeError: when called with traced arrays.

        Example:
            >>> stay = np.ones((1, 2, 2, 1))
            >>> agree = np.stack([np.diag([1.0, 0.0]), np.diag([0.0, 1.0])], axis=-1)[None]
            >>> game = Game.from_dense(stay, agree, [0.5, 0.5], [1.0], horizon=2)
            >>> game.num_human_actions, game.num_robot_actions, game.num_thetas
            (2, 2, 2)
        """
        require_concrete("Game.from_dense", transition=transition, reward=reward, prior=prior, initial=initial)
        transition = _numbers("transition", transition)
        if transition.ndim != 4 or transition.shape[0] != transition.shape[3] or 0 in transition.shape:
            raise ValueError(f"transition has shape {transition.shape}; it must be [S, A_H, A_R, S'] with S' = S.")
        given = _Given.checked("transition", transition, reward, prior, initial, discount, horizon, order)
        S, AH, AR = transition.shape[:3]
        mdp = MDP.from_dense(
            given.rows.reshape(S, AH * AR, S),
            given.reward.reshape(S, AH * AR, -1),
            given.initial,
            discount=discount,
            horizon=horizon,
            feature_names=[f"theta {i}" for i in range(len(given.prior))],
        )
        return given.game(mdp, AH, order)

    @staticmethod
    def from_table(
        next_state: Int[Array, " S D"] | np.ndarray,
        probability: Float[Array, " S AH AR D"] | np.ndarray,
        reward: Float[Array, " S AH AR Theta"] | np.ndarray,
        prior: Float[Array, " Theta"] | np.ndarray | Sequence[float],
        initial: Float[Array, " S"] | np.ndarray | Sequence[float],
        *,
        discount: float = 1.0,
        horizon: int | None = None,
        order: Order = Order.SIMULTANEOUS,
    ) -> "Game":
        """Build a game from a successor table, on the host: memory grows with S·D, not with S².

        Args:
            next_state: states that some pair of actions may lead to, `[S, D]`; a slot that no pair
                takes may hold any state (the state itself, by habit).
            probability: probability of each of them after `(s, a_H, a_R)`, `[S, A_H, A_R, D]`.
            reward: as in `from_dense`.
            prior: as in `from_dense`.
            initial: as in `from_dense`.
            discount: as in `from_dense`.
            horizon: as in `from_dense`.
            order: as in `from_dense`.

        Raises:
            ValueError: for arrays whose axes do not fit together, successors that are no states or
                named twice by one state; also as `from_dense`.
            TypeError: when called with traced arrays.

        Example:
            >>> step = np.array([[0, 1], [1, 0]])  # either goes on, or both stay
            >>> go = np.zeros((2, 2, 2, 2))
            >>> go[:, :, :, 1], go[:, 0, 0] = 1, [1, 0]
            >>> game = Game.from_table(step, go, np.ones((2, 2, 2, 3)), [0.2, 0.3, 0.5], [1.0, 0.0], horizon=4)
            >>> game.num_thetas, game.mdp.num_states
            (3, 2)
        """
        require_concrete(
            "Game.from_table",
            next_state=next_state,
            probability=probability,
            reward=reward,
            prior=prior,
            initial=initial,
        )
        next_state, probability = np.asarray(next_state), _numbers("probability", probability)
        if probability.ndim != 4 or 0 in probability.shape:
            raise ValueError(f"probability has shape {probability.shape}; it must be [S, A_H, A_R, D].")
        S, AH, AR, D = probability.shape
        if next_state.shape != (S, D) or next_state.dtype.kind not in "iu":
            raise ValueError(
                f"next_state has shape {next_state.shape} and dtype {next_state.dtype}; it must hold state numbers, "
                f"[S, D] with S={S}, D={D}, as probability."
            )
        if next_state.min() < 0 or next_state.max() >= S:
            raise ValueError(f"next_state holds states outside 0..{S - 1}; every successor must be a state's number.")
        given = _Given.checked("probability", probability, reward, prior, initial, discount, horizon, order)
        used = np.asarray(probability.any(axis=(1, 2)))
        # Unused slots count as states of their own, so that only two used slots can be alike.
        named = np.sort(np.where(used, next_state, S + np.arange(D)), axis=1)
        twice = np.argwhere(named[:, 1:] == named[:, :-1])
        if twice.size:
            raise ValueError(
                f"next_state of state {twice[0][0]} names state {named[tuple(twice[0])]} twice; add the slots up."
            )
        mdp = from_table(
            np.where(used, next_state, np.arange(S)[:, None]),
            given.rows.reshape(S, AH * AR, D),
            given.reward.reshape(S, AH * AR, -1),
            given.initial,
            discount=discount,
            horizon=horizon,
            feature_names=[f"theta {i}" for i in range(len(given.prior))],
            edges=used,
        )
        return given.game(mdp, AH, order)

    @staticmethod
    def from_belief(
        transition: Float[Array, " S AH AR S"] | np.ndarray,
        features: Float[Array, " S AH AR K"] | np.ndarray,
        belief: "Belief",
        initial: Float[Array, " S"] | np.ndarray | Sequence[float],
        *,
        num_atoms: int,
        discount: float = 1.0,
        horizon: int | None = None,
        order: Order = Order.SIMULTANEOUS,
    ) -> "Game":
        """A game whose prior over rewards is a posterior, reduced to a few weighted atoms.

        Rewards `features @ w` are grouped by weighted k-means.  `reduction_bound` of the game is
        Σ_i p_i · total visits · max |φ·(w_i - atom)|.

        Args:
            transition: as in `from_dense`.
            features: feature counts of every pair of actions, `[S, A_H, A_R, K]`.
            belief: a posterior over weights `[N, K]`.
            initial: probability of starting in each state, `[S]`.
            num_atoms: most rewards to keep.
            discount: as in `from_dense`.
            horizon: as in `from_dense`.
            order: as in `from_dense`.

        Raises:
            ValueError: for a belief over another number of features or without mass, or fewer than
                one atom; also as `from_dense`.
            TypeError: when called with traced arrays.

        Example:
            >>> from ird import posterior
            >>> belief = posterior.exact(candidates=np.array([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0]]))
            >>> features = np.eye(2)[None, None]
            >>> game = Game.from_belief(np.ones((1, 1, 2, 1)), features, belief, [1.0], num_atoms=2, horizon=3)
            >>> game.num_thetas, round(float(game.reduction_bound), 3)
            (2, 0.01)
        """
        if not (hasattr(belief, "weights") and hasattr(belief, "log_weights")):
            raise ValueError(
                f"belief is {shown(belief)}; give a posterior, which has weights [N, K] and log_weights [N]."
            )
        told = {"weights": belief.weights, "log_weights": belief.log_weights}
        require_concrete("Game.from_belief", **told, features=features, transition=transition)
        weights, log_weights = (_numbers(f"belief.{name}", x).astype(float) for name, x in told.items())
        features = _numbers("features", features).astype(float)
        if weights.ndim != 2 or log_weights.shape != weights.shape[:1]:
            raise ValueError(
                f"belief.weights has shape {weights.shape} and belief.log_weights {log_weights.shape}; they must be "
                "[N, K] and [N]."
            )
        check_array("belief.weights", weights)
        if features.ndim != 4 or features.shape[3] != weights.shape[1] or 0 in features.shape:
            raise ValueError(
                f"features has shape {features.shape}; it must be [S, A_H, A_R, K] with K={weights.shape[1]}, as the "
                "belief."
            )
        check_array("features", features)
        check_count("num_atoms", num_atoms)
        top = log_weights.max(initial=-np.inf)
        if not -np.inf < top < np.inf:
            raise ValueError(
                "the belief has no mass: every log weight is -inf, or one is NaN or inf, so there is nothing to reduce."
            )
        masses = np.exp(log_weights - top)
        atoms, prior, away = reduce_belief(weights, masses, features, num_atoms)
        settings = {"discount": discount, "horizon": horizon, "order": order}
        game = Game.from_dense(transition, features @ atoms.T, prior, initial, **settings)
        dtype = game.prior.dtype
        return replace(
            game, atoms=held(atoms, dtype), reduction_bound=held(away * given_visits(discount, horizon), dtype)
        )


@dataclass(frozen=True)
class _Given:
    """The tables of a game as they were given, checked, in NumPy."""

    rows: np.ndarray
    reward: np.ndarray
    prior: np.ndarray
    initial: np.ndarray
    discount: float

    @staticmethod
    def checked(beside: str, rows: np.ndarray, reward, prior, initial, discount, horizon, order) -> "_Given":
        """What every game must satisfy; `rows` are the transitions, `[S, A_H, A_R, ...]`, called `beside`."""
        rows = as_distributions(beside, rows, axes=("state", "human action", "robot action"))
        reward, prior, initial = _numbers("reward", reward), _numbers("prior", prior), _numbers("initial", initial)
        shape = rows.shape[:3]
        if not isinstance(order, Order):
            raise ValueError(f"order is {shown(order)}; give one of cirl.Order: {', '.join(o.name for o in Order)}.")
        if reward.ndim != 4 or reward.shape[:3] != shape or reward.shape[3] == 0:
            told = ", ".join(f"{name}={size}" for name, size in zip(("S", "A_H", "A_R"), shape, strict=True))
            raise ValueError(f"reward has shape {reward.shape}; it must be [S, A_H, A_R, Θ] with {told}, as {beside}.")
        if (reward == -np.inf).any():
            where = tuple(int(i) for i in np.argwhere(reward == -np.inf)[0])
            raise ValueError(
                f"reward is -inf at index {where}: games do not support actions that do not exist in a state yet. "
                "Let such an action do what another one does, or cost more than everything else together."
            )
        check_finite("reward", reward)
        if prior.shape != (reward.shape[3],):
            raise ValueError(
                f"prior has shape {prior.shape}; reward has Θ={reward.shape[3]}, so give [{reward.shape[3]}]."
            )
        prior = as_distributions("prior", prior, axes=())
        if initial.shape != shape[:1]:
            raise ValueError(f"initial has shape {initial.shape}; it must be [S] with S={shape[0]}.")
        initial = as_distributions("initial", initial, axes=())
        check_horizon_and_discount(horizon, discount)
        given = _Given(rows, reward, prior, initial, float(discount))
        given._check_held(horizon)
        return given

    @property
    def dtype(self):
        """The dtype in which JAX will hold the tables."""
        return jnp.result_type(float, *(x for x in (self.rows, self.reward, self.initial) if x.dtype.kind == "f"))

    def _check_held(self, horizon: int | None) -> None:
        """Raise where the dtype of the tables does not hold what was given."""
        dtype, info = self.dtype, jnp.finfo(self.dtype)
        cure = f"{dtype} does not hold it: rescale, or switch on float64 (jax_enable_x64)."
        low = float(self.prior.min())
        if low < float(info.tiny):
            theta = int(self.prior.argmin())
            told = "zero" if low <= 0 else f"{low:.3g}; {cure} Or it is zero"
            raise ValueError(f"prior of θ {theta} is {told}; leave a reward that cannot be meant out.")
        gamma, most = self.discount, float(info.max)
        if horizon is None and float(np.asarray(gamma, dtype)) >= 1:
            raise ValueError(f"discount is {gamma!r}, which is 1 in {dtype}; {cure}")
        visits = given_visits(gamma, horizon)
        size = np.abs(self.reward.astype(float))
        if float(size.max()) * max(visits, 1) > most / 16:
            where = tuple(int(i) for i in np.unravel_index(int(size.argmax()), size.shape))
            raise ValueError(
                f"reward is {self.reward[where]:.3g} at index {where}, and returns add up to {visits:.3g} times as "
                f"much; {cure}"
            )

    def game(self, mdp: MDP, num_human_actions: int, order: Order) -> Game:
        """The game, which remembers what the cast to its dtype did."""
        dtype = mdp.features.dtype
        tiny = float(jnp.finfo(dtype).tiny)

        def off(x: np.ndarray) -> float:
            x = x.astype(float)
            kept = np.abs(x) >= tiny
            return float(np.abs(x.astype(dtype).astype(float)[kept] / x[kept] - 1).max(initial=0))

        error = CastError(off(self.rows), off(self.reward), off(self.prior), off(self.initial))
        return Game(
            mdp, held(self.prior, dtype), num_human_actions, order, given_discount=self.discount, cast_error=error
        )


def _numbers(name: str, x) -> np.ndarray:
    """A concrete array of real numbers."""
    return np.asarray(check_real(name, x))


def given_visits(discount: float, horizon: int | None) -> float:
    """(Discounted) steps in all, on the host."""
    return 1 / (1 - discount) if horizon is None else float(np.sum(float(discount) ** np.arange(horizon)))
