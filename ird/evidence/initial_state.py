"""The state of the world as evidence: somebody has been acting here before the robot came."""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ird.blocks import ENTRIES_OF_PLANS, in_blocks, rows_per_block
from ird.evidence.boltzmann import foresighted, shaped
from ird.evidence.checks import Beta, check_beta_or_prior, check_candidates
from ird.evidence.choice import Choice
from ird.evidence.fisher import Shown
from ird.evidence.paths import check_reaches
from ird.evidence.sharpness import in_doubt, is_known, warn_if_blunt
from mdps import MDP
from mdps.checks import check_mdp
from mdps.policies import uniform_policy
from mdps.policy_evaluation import push
from mdps.pytrees import frozen_pytree, set_fields, with_fields

__all__ = ["InitialState", "InitialStateChoice"]
__dir__ = __all__.copy


@frozen_pytree
@dataclass(frozen=True, init=False, repr=False, eq=False)
class InitialState:
    """The state that a soft-optimal person left behind after T steps (RLSP: Shah et al. 2019, eq. 3).

        P(s₀ | w) = probability of being in s₀ at the last of T steps of π_soft(· | w)

    where the MDP starts from what the world was T steps ago.  A vase that stands unbroken where it
    would have been quicker to walk through it says that vases matter.  Not concave in w.  The probability itself is
    what is computed: in float32 it is 0, and its logarithm -inf, below about e^-100 (float64: e^-700).

    Attributes:
        mdp: the MDP, whose horizon is T and whose initial distribution is the world T steps ago.
        state: the state that was found.
        beta: inverse temperature of the person, in 1/return; a leaf.
    """

    mdp: MDP
    state: Int[Array, ""]
    beta: Float[Array, ""]

    def __init__(self, mdp: MDP, state: int, *, beta: Beta = 1.0):
        """Check the state.

        Args:
            mdp: the MDP, with a horizon.
            state: the state in which the robot finds the world.
            beta: inverse temperature of the person, in 1/return, or a distribution of it where it is unknown.

        Raises:
            ValueError: without a horizon, or for a state that cannot be reached in T - 1 moves.
        """
        state = check_reaches(mdp, state, _horizon(mdp) - 1)
        set_fields(
            self, mdp=mdp, state=jnp.asarray(state, jnp.int32), beta=check_beta_or_prior(beta, mdp.features.dtype)
        )

    def log_likelihood(self, weights: Float[Array, " N K"]) -> Float[Array, " N"]:
        """Log P(s₀ | w) of each candidate w, `[N, K] -> [N]`.

        Warns:
            RuntimeWarning: as a `MaxEntDemonstration` does, of a β for which float32 is too blunt.
        """
        weights = check_candidates(weights, self.feature_names, self.mdp.features.dtype)
        known = is_known(self, weights)
        likely, doubt = _log_likelihood_of_state(self, weights, with_doubt=known)
        if known:
            warn_if_blunt("InitialState", self.beta, likely, doubt)
        return likely

    def replace(self, *, beta: Beta) -> Self:
        """The same state, left behind by a person of another β."""
        return with_fields(self, beta=check_beta_or_prior(beta, self.beta.dtype))

    def information(self, mean: Float[Array, " K"]) -> Float[Array, " K K"]:
        """Σ_s p₀(s) ∇log p(s | w) ∇log p(s | w)ᵀ at w = 0, where the person acts at random, `[K, K]`."""
        return _information_of_state(self)

    def shown(self) -> Shown:
        """A visit to the state that was found, beside one to where a person who acts at random ends."""
        features = self.mdp.features
        if features.ndim == 3:
            features = jnp.einsum("sa,sak->sk", uniform_policy(self.mdp), features)
        p = _last_states(self, jnp.zeros(self.mdp.num_features, features.dtype))
        return Shown(features[self.state], jnp.matmul(p, features, precision=jax.lax.Precision.HIGHEST))

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The MDP's feature names."""
        return self.mdp.feature_names

    def __repr__(self) -> str:
        return f"InitialState(state={self.state}, beta={self.beta})"


@functools.partial(jax.jit, static_argnames="with_doubt")
def _log_likelihood_of_state(
    found: InitialState, weights: Float[Array, " N K"], *, with_doubt: bool
) -> tuple[Float[Array, " N"], Float[Array, " N"]]:
    """Log probability of the state under each candidate, and what it may be off by."""
    mdp, T, S = found.mdp, _horizon(found.mdp), found.mdp.num_states
    plain = dataclasses.replace(mdp, discount=jnp.ones_like(mdp.discount))  # probabilities, not discounted visits
    start = jnp.zeros((T, S), mdp.initial.dtype).at[0].set(mdp.initial)

    def of_gains(gain):
        policy = jax.nn.softmax(foresighted(mdp, gain), axis=-1)
        return jnp.log(push(plain, policy, start)[-1, found.state])

    def one(w):
        gains = shaped(mdp, mdp.reward(w), found.beta)
        return in_doubt(of_gains, gains) if with_doubt else (of_gains(gains.value), jnp.zeros((), w.dtype))

    return in_blocks(jax.vmap(one), weights, rows_per_block(T * S * mdp.num_actions, ENTRIES_OF_PLANS, least=1))


def _last_states(found: InitialState, w: Float[Array, " K"]) -> Float[Array, " S"]:
    """P(s₀ | w) of every state."""
    mdp, T = found.mdp, _horizon(found.mdp)
    plain = dataclasses.replace(mdp, discount=jnp.ones_like(mdp.discount))
    start = jnp.zeros((T, mdp.num_states), mdp.initial.dtype).at[0].set(mdp.initial)
    policy = jax.nn.softmax(foresighted(mdp, shaped(mdp, mdp.reward(w), found.beta).value), axis=-1)
    return push(plain, policy, start)[-1]


@jax.jit
def _information_of_state(found: InitialState) -> Float[Array, " K K"]:
    nowhere = jnp.zeros(found.mdp.num_features, found.mdp.features.dtype)
    p, slope = _last_states(found, nowhere), jax.jacfwd(lambda w: _last_states(found, w))(nowhere)  # [S], [S, K]
    inverse = jnp.where(p > 0, 1 / jnp.where(p > 0, p, 1), 0)
    return jnp.matmul((inverse[:, None] * slope).T, slope, precision=jax.lax.Precision.HIGHEST)


class InitialStateChoice(Choice):
    """The state as a choice among states, each grounded in the paths that end there (Jeon et al. 2020).

    The grounding weighs paths as a policy that acts at random makes them, which is uniform where
    moves are certain.  Another likelihood than `InitialState`: there the person plans, here they pick
    an end and are credited with an average way to it.
    """

    def __init__(self, mdp: MDP, state: int, *, beta: Beta = 1.0):
        """Ground every state that can be reached.

        Args:
            mdp: the MDP, with a horizon T; paths visit T states.
            state: the state in which the robot finds the world.
            beta: inverse temperature of the person, in 1/return, or a distribution of it where it is unknown.

        Raises:
            ValueError: without a horizon, or for a state that cannot be reached in T - 1 moves.
        """
        T = _horizon(mdp)
        state = check_reaches(mdp, state, T - 1)
        chance, collected = _random_paths(mdp, T)
        ends = np.flatnonzero(chance > 0)
        options = collected[ends] / chance[ends, None]
        chosen = int(np.searchsorted(ends, state))
        super().__init__(jnp.asarray(options, mdp.features.dtype), chosen, beta=beta, feature_names=mdp.feature_names)


def _random_paths(mdp: MDP, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Probability of each last state under random actions, `[S]`, and that times the features on the way, `[S, K]`."""
    table, gamma = np.asarray(mdp.next_state), float(mdp.discount)
    exist = np.ones(mdp.probability.shape[:2]) if mdp.available is None else np.asarray(mdp.available, np.float64)
    move = np.einsum("sa,sad->sd", exist / exist.sum(axis=1, keepdims=True), np.asarray(mdp.probability, np.float64))
    features = np.asarray(mdp.features, np.float64)
    if features.ndim == 3:
        raise ValueError("this MDP's features depend on the action; ground the states yourself and use Choice.")
    here = np.asarray(mdp.initial, np.float64)
    collected = here[:, None] * features
    for t in range(1, steps):
        arrived, brought = np.zeros_like(here), np.zeros_like(collected)
        np.add.at(arrived, table, here[:, None] * move)
        np.add.at(brought, table, collected[:, None, :] * move[..., None])
        here, collected = arrived, brought + gamma**t * arrived[:, None] * features
    return here, collected


def _horizon(mdp: MDP) -> int:
    check_mdp(mdp)
    if mdp.horizon is None:
        raise ValueError("the MDP has no horizon; say for how many steps somebody acted: mdp.replace(horizon=T).")
    return mdp.horizon
