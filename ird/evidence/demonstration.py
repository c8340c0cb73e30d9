"""Demonstrations: somebody acts in the MDP as they mean it, two readings of "as they mean it"."""

import functools
from dataclasses import dataclass
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ird.blocks import ENTRIES_OF_PLANS, in_blocks, rows_per_block
from ird.evidence import boltzmann
from ird.evidence.boltzmann import Gains
from ird.evidence.checks import Beta, check_beta_or_prior, check_candidates
from ird.evidence.fisher import Shown
from ird.evidence.paths import check_path
from ird.evidence.sharpness import in_doubt, is_known, warn_if_blunt
from mdps import MDP, feature_expectations
from mdps.checks import check_mdp
from mdps.policies import uniform_policy
from mdps.pytrees import frozen_pytree, set_fields, with_fields

__all__ = ["MaxEntDemonstration", "RationalDemonstration"]
__dir__ = __all__.copy


@frozen_pytree
@dataclass(frozen=True, init=False, repr=False, eq=False)
class _Demonstration:
    """Paths that were shown, and their probability step by step under a policy that a reading chooses."""

    mdp: MDP
    states: Int[Array, " n T"]
    actions: Int[Array, " n T"]
    beta: Float[Array, ""]

    def __init__(self, mdp: MDP, states, actions, *, beta: Beta = 1.0):
        """Check the paths.

        Args:
            mdp: the MDP in which they were shown.
            states: the states visited, `[T]`, or `[n, T]` for several paths.
            actions: the actions taken there, of the same shape.
            beta: inverse temperature of the demonstrator, in 1/return, or a distribution of it where it is unknown.

        Raises:
            ValueError: for a path that leaves the map or uses an impossible move (the step is named),
                or a β that is not positive and finite.
        """
        check_mdp(mdp)
        beta = check_beta_or_prior(beta, mdp.features.dtype)
        try:
            states, actions = np.atleast_2d(np.asarray(states)), np.atleast_2d(np.asarray(actions))
        except ValueError as error:
            raise ValueError(
                "the paths differ in length; give one demonstration for each length, and add them."
            ) from error
        if states.shape != actions.shape or states.ndim != 2:
            raise ValueError(f"states has shape {states.shape}, actions {actions.shape}; give both as [T] or [n, T].")
        for path, taken in zip(states, actions, strict=True):
            check_path(mdp, path, taken)
        states, actions = jnp.asarray(states, jnp.int32), jnp.asarray(actions, jnp.int32)
        set_fields(self, mdp=mdp, states=states, actions=actions, beta=beta)

    def log_likelihood(self, weights: Float[Array, " N K"]) -> Float[Array, " N"]:
        """Log probability of the shown actions under each candidate w, `[N, K] -> [N]`.

        Differences of action values that their errors can explain count as none, however large β is.

        Warns:
            RuntimeWarning: outside `jit`, where β times those errors may come to more than 0.01 for one of the
                likeliest candidates: in float32 sharp demonstrators need float64.
        """
        weights = check_candidates(weights, self.feature_names, self.mdp.features.dtype)
        known = is_known(self, weights)
        likely, doubt = _log_likelihood_of_paths(self, weights, with_doubt=known)
        if known:
            warn_if_blunt(type(self).__name__, self.beta, likely, doubt)
        return likely

    def replace(self, *, beta: Beta) -> Self:
        """The same paths from a demonstrator of another β."""
        return with_fields(self, beta=check_beta_or_prior(beta, self.beta.dtype))

    def information(self, mean: Float[Array, " K"]) -> Float[Array, " K K"]:
        """Over the visits shown, the variance over equally likely actions of what each says of the weights."""
        return _information_of_paths(self, self._undecided(mean))

    def shown(self) -> Shown:
        """The visits that were shown, beside those of a policy that acts at random."""
        features = self.mdp.features
        at = (self.states, self.actions) if features.ndim == 3 else (self.states,)
        at_random = feature_expectations(self.mdp, uniform_policy(self.mdp)) / self.mdp.total_visits
        return Shown(jnp.mean(features[at].reshape(-1, features.shape[-1]), axis=0), at_random)

    def _undecided(self, mean: Array) -> Array:
        """The weights at which it is asked how an action would change with them."""
        raise NotImplementedError

    def _gains(self, w) -> Gains:
        """What each action gains over the best."""
        raise NotImplementedError

    def _log_odds(self, gain: Array) -> Array:
        """The log-odds of the actions."""
        raise NotImplementedError

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The MDP's feature names."""
        return self.mdp.feature_names

    def __init_subclass__(cls, **settings):
        super().__init_subclass__(**settings)
        frozen_pytree(cls)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(states={jnp.shape(self.states)}, beta={self.beta})"


class MaxEntDemonstration(_Demonstration):
    """Demonstrations of maximum causal entropy: Π π_soft(a | s), of temperature 1/β (Ziebart 2010).

    Concave in w where moves are certain.  With certain moves, one start and no discount it is the
    choice of the path among all paths.

    Example:
        >>> import mdps
        >>> grid = mdps.GridWorld.from_text("S.G", {"S": "floor", ".": "floor", "G": "goal"}, discount=0.9)
        >>> seen = MaxEntDemonstration(grid.mdp, [0, 1], [1, 1], beta=2.0)
        >>> low, high = seen.log_likelihood(jnp.asarray([[0.0, -1.0], [0.0, 1.0]]))
        >>> bool(low < high)
        True
    """

    def _undecided(self, mean: Array) -> Array:
        return jnp.zeros_like(mean)

    def _gains(self, w) -> Gains:
        return boltzmann.shaped(self.mdp, self.mdp.reward(w), self.beta)

    def _log_odds(self, gain: Array) -> Array:
        return boltzmann.foresighted(self.mdp, gain)


class RationalDemonstration(_Demonstration):
    """Boltzmann-rational demonstrations: Π exp(β Q*(s, a)) / Σ (Ramachandran & Amir 2007: Bayesian IRL).

    Noise enters the choice of each action, not the plan behind it: Q* is that of the hard optimum.
    Not concave in w.
    """

    def _undecided(self, mean: Array) -> Array:
        return mean  # at w = 0 every action is the best one, and Q* has no gradient

    def _gains(self, w) -> Gains:
        return boltzmann.rational(self.mdp, self.mdp.reward(w), self.beta)

    def _log_odds(self, gain: Array) -> Array:
        return gain


@functools.partial(jax.jit, static_argnames="with_doubt")
def _log_likelihood_of_paths(
    shown: _Demonstration, weights: Float[Array, " N K"], *, with_doubt: bool
) -> tuple[Float[Array, " N"], Float[Array, " N"]]:
    """Log probability of what was shown under each candidate, and what it may be off by."""
    steps = jnp.broadcast_to(jnp.arange(shown.states.shape[1])[None], shown.states.shape)

    def of_gains(gain):
        log_policy = jax.nn.log_softmax(shown._log_odds(gain), axis=-1)
        at = (shown.states, shown.actions) if log_policy.ndim == 2 else (steps, shown.states, shown.actions)
        return jnp.sum(log_policy[at])

    def one(w):
        gains = shown._gains(w)
        return in_doubt(of_gains, gains) if with_doubt else (of_gains(gains.value), jnp.zeros((), w.dtype))

    entries = (shown.mdp.horizon or 1) * shown.mdp.num_states * shown.mdp.num_actions
    return in_blocks(jax.vmap(one), weights, rows_per_block(entries, ENTRIES_OF_PLANS, least=1))


@jax.jit
def _information_of_paths(shown: _Demonstration, w: Float[Array, " K"]) -> Float[Array, " K K"]:
    """Σ over the visits shown of the covariance, over available actions, of the log-odds' gradients at w."""
    mdp = shown.mdp
    slope = jax.jacfwd(lambda w: shown._log_odds(shown._gains(w).value))(w)  # [(T,) S, A, K]
    exist = jnp.ones((mdp.num_states, mdp.num_actions), bool) if mdp.available is None else mdp.available
    share = (exist / jnp.sum(exist, axis=1, keepdims=True)).astype(w.dtype)[shown.states]  # [n, T, A]
    steps = jnp.broadcast_to(jnp.arange(shown.states.shape[1])[None], shown.states.shape)
    slope = slope[shown.states] if slope.ndim == 3 else slope[steps, shown.states]  # [n, T, A, K]
    slope = jnp.where(share[..., None] > 0, slope, 0)
    centred = slope - jnp.sum(share[..., None] * slope, axis=-2, keepdims=True)
    return jnp.einsum("nta,ntak,ntal->kl", share, centred, centred, precision=jax.lax.Precision.HIGHEST)
