"""The cooperative game: two act, one of them knows what it is worth."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Array, Float, Int

from cirl.belief_reduction import reduce_belief
from cirl.game._given import CastError, Given, Names, Order, given_visits, numbers
from mdps import MDP
from mdps.checks import check_array, check_count, require_concrete, shown
from mdps.mdp import from_table
from mdps.pytrees import frozen_pytree
from mdps.tables import held

if TYPE_CHECKING:
    from ird.beliefs import Belief


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
        names: of states, actions and rewards (static).
    """

    mdp: MDP
    prior: Float[Array, " Theta"]
    num_human_actions: int = field(metadata={"static": True})
    order: Order = field(default=Order.SIMULTANEOUS, metadata={"static": True})
    atoms: Float[Array, " Theta K"] | None = None
    reduction_bound: Float[Array, ""] | float = 0.0
    given_discount: float | Float[Array, ""] = 0.0
    cast_error: CastError = field(default_factory=lambda: CastError())
    names: Names = field(default=Names(), metadata={"static": True})

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
        states: Sequence[str] = (),
        human_actions: Sequence[str] = (),
        robot_actions: Sequence[str] = (),
        thetas: Sequence[str] = (),
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
            states: names of the states, for graphs, pictures, files and errors; none: they are numbered.
            human_actions: names of the human's actions.
            robot_actions: names of the robot's actions.
            thetas: names of the rewards that may be meant.

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
        transition = numbers("transition", transition)
        if transition.ndim != 4 or transition.shape[0] != transition.shape[3] or 0 in transition.shape:
            raise ValueError(f"transition has shape {transition.shape}; it must be [S, A_H, A_R, S'] with S' = S.")
        given = Given.checked(
            "transition",
            transition,
            (reward, prior, initial),
            discount,
            horizon,
            order,
            (states, human_actions, robot_actions, thetas),
        )
        S, AH, AR = transition.shape[:3]
        mdp = MDP.from_dense(
            given.rows.reshape(S, AH * AR, S),
            given.reward.reshape(S, AH * AR, -1),
            given.initial,
            discount=discount,
            horizon=horizon,
            feature_names=[f"theta {i}" for i in range(len(given.prior))],
        )
        return _of(given, mdp)

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
        states: Sequence[str] = (),
        human_actions: Sequence[str] = (),
        robot_actions: Sequence[str] = (),
        thetas: Sequence[str] = (),
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
            states: as in `from_dense`.
            human_actions: as in `from_dense`.
            robot_actions: as in `from_dense`.
            thetas: as in `from_dense`.

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
        next_state, probability = np.asarray(next_state), numbers("probability", probability)
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
        given = Given.checked(
            "probability",
            probability,
            (reward, prior, initial),
            discount,
            horizon,
            order,
            (states, human_actions, robot_actions, thetas),
        )
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
        return _of(given, mdp)

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
        states: Sequence[str] = (),
        human_actions: Sequence[str] = (),
        robot_actions: Sequence[str] = (),
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
            states: as in `from_dense`.
            human_actions: as in `from_dense`.
            robot_actions: as in `from_dense`.

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
        weights, log_weights = (numbers(f"belief.{name}", x).astype(float) for name, x in told.items())
        features = numbers("features", features).astype(float)
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
        game = Game.from_dense(
            transition,
            features @ atoms.T,
            prior,
            initial,
            discount=discount,
            horizon=horizon,
            order=order,
            states=states,
            human_actions=human_actions,
            robot_actions=robot_actions,
        )
        dtype = game.prior.dtype
        return replace(
            game, atoms=held(atoms, dtype), reduction_bound=held(away * given_visits(discount, horizon), dtype)
        )


def _of(given: Given, mdp: MDP) -> Game:
    """The game of given tables, which remembers what the cast to its dtype did, and how things are called."""
    return Game(
        mdp,
        held(given.prior, mdp.features.dtype),
        given.rows.shape[1],
        given.order,
        given_discount=given.discount,
        cast_error=CastError(*given.off(mdp.features.dtype)),
        names=given.names,
    )
