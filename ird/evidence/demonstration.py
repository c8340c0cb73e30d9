"""Demonstrations: somebody acts in the MDP as they mean it, two readings of "as they mean it"."""

from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ird.evidence.choice import check_beta, check_candidates
from ird.evidence.normalizers import in_blocks
from ird.evidence.paths import check_path
from mdps import MDP, solve
from mdps.checks import check_mdp


class _Demonstration:
    """Paths that were shown, and their probability step by step under a policy that a reading chooses."""

    mdp: MDP
    states: Int[Array, " n T"]
    actions: Int[Array, " n T"]
    beta: Float[Array, ""]

    _LEAVES = ("mdp", "states", "actions", "beta")

    def __init__(self, mdp: MDP, states, actions, *, beta: float | Float[Array, ""] = 1.0):
        """Check the paths.

        Args:
            mdp: the MDP in which they were shown.
            states: the states visited, `[T]`, or `[n, T]` for several paths.
            actions: the actions taken there, of the same shape.
            beta: inverse temperature of the demonstrator, in 1/return.

        Raises:
            ValueError: for a path that leaves the map or uses an impossible move (the step is named),
                or a β that is not positive and finite.
        """
        check_mdp(mdp)
        beta = check_beta(beta, mdp.features.dtype)
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
        self._set((mdp, jnp.asarray(states, jnp.int32), jnp.asarray(actions, jnp.int32), beta))

    def log_likelihood(self, weights: Float[Array, " N K"]) -> Float[Array, " N"]:
        """Log probability of the shown actions under each candidate w, `[N, K] -> [N]`."""
        weights = check_candidates(weights, self.feature_names, self.mdp.features.dtype)
        steps = jnp.broadcast_to(jnp.arange(self.states.shape[1])[None], self.states.shape)

        def one(w):
            log_policy = jax.nn.log_softmax(self._logits(w), axis=-1)
            at = (self.states, self.actions) if log_policy.ndim == 2 else (steps, self.states, self.actions)
            return jnp.sum(log_policy[at])

        entries = (self.mdp.horizon or 1) * self.mdp.num_states * self.mdp.num_actions
        return in_blocks(jax.vmap(one), weights, max(1, 2**24 // entries))

    def replace(self, *, beta: float | Float[Array, ""]) -> Self:
        """The same paths from a demonstrator of another β."""
        return self.tree_unflatten(None, (self.mdp, self.states, self.actions, check_beta(beta, self.beta.dtype)))

    def _logits(self, w) -> Array:
        raise NotImplementedError

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The MDP's feature names."""
        return self.mdp.feature_names

    def _set(self, leaves) -> None:
        for name, leaf in zip(self._LEAVES, leaves, strict=True):
            object.__setattr__(self, name, leaf)

    def __init_subclass__(cls, **settings):
        super().__init_subclass__(**settings)
        jax.tree_util.register_pytree_with_keys_class(cls)

    def __setattr__(self, name, value):
        raise AttributeError(f"cannot set {name}: {type(self).__name__} is frozen; build another.")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(states={jnp.shape(self.states)}, beta={self.beta})"

    def tree_flatten_with_keys(self):
        """JAX: the leaves by name, and nothing static."""
        return [(jax.tree_util.GetAttrKey(n), getattr(self, n)) for n in self._LEAVES], None

    @classmethod
    def tree_unflatten(cls, _, leaves) -> Self:
        """JAX: from leaves, which may be tracers or placeholders, so nothing is checked."""
        new = object.__new__(cls)
        new._set(leaves)
        return new


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

    def _logits(self, w) -> Array:
        return self.beta * action_values(self.mdp, w, 1 / self.beta)


class RationalDemonstration(_Demonstration):
    """Boltzmann-rational demonstrations: Π exp(β Q*(s, a)) / Σ (Ramachandran & Amir 2007: Bayesian IRL).

    Noise enters the choice of each action, not the plan behind it: Q* is that of the hard optimum.
    Not concave in w.
    """

    def _logits(self, w) -> Array:
        return self.beta * action_values(self.mdp, w, 0.0)


def action_values(mdp: MDP, weights: Float[Array, " K"], temperature) -> Float[Array, " ... S A"]:
    """Q(s, a) of the hard (Python 0) or soft optimum, `[S, A]`, or `[T, S, A]` with a horizon."""
    reward = mdp.reward(weights)
    paid = reward[:, None] if reward.ndim == 1 else reward

    def q_values(value):
        return paid + mdp.discount * jnp.einsum("sad,sd->sa", mdp.probability, value[mdp.next_state])

    if mdp.horizon is None:
        return q_values(solve(mdp, reward, temperature=temperature).value)
    hard = isinstance(temperature, int | float) and temperature == 0

    def step(value, _):
        q = q_values(value)
        if not hard:
            return temperature * jax.scipy.special.logsumexp(q / temperature, axis=1), q
        # The mean of the best: the derivative of `jnp.max` compares numbers that a compiler may compute twice, and is
        # NaN where none of them is the largest any more.
        seen = jax.lax.stop_gradient(q)
        slack = 16 * jnp.finfo(q.dtype).eps * jnp.max(jnp.abs(seen))
        best = (seen >= jnp.max(seen, axis=1, keepdims=True) - slack).astype(q.dtype)
        return jnp.sum(best * q, axis=1) / jnp.sum(best, axis=1), q

    start = jnp.zeros(mdp.num_states, jnp.result_type(paid, mdp.probability))
    return jax.lax.scan(step, start, None, length=mdp.horizon, reverse=True)[1]
