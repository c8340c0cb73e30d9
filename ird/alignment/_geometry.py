r"""Rewards by how they rank the policies of a map: canonical forms, and the angles between them.

Two rewards that differ by shaping, `γ Φ(s') - Φ(s)`, or in how they are spread over successors rank all policies
alike.  A canonical form takes that away and is linear in the reward, so that for `R = Σ_k w_k φ_k` one matrix

    G_kl = <c(φ_k), c(φ_l)>        cos θ(w, w') = wᵀ G w' / sqrt(wᵀ G w · w'ᵀ G w')

holds every comparison on a map (Skalse et al. 2024, STARC; Karwowski et al. 2024 for the minimal form as a projection).
With `B = γ P - E`, where E copies states to their actions,

    Minimal     c(R) = R + B Φ,  Φ = argmin |R + B Φ|        the projection on the differences of occupancies
    Advantage   c(R) = R + γ P V - V                         V the value of a fixed policy

Everything is over states that some policy reaches.  The linear systems are sparse and solved on the host in float64.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.alignment._pearson import full_rewards
from ird.directions import blind_directions, in_words
from ird.flows import check_stationary, features_by_action, least_potential, taking_all, visitable
from mdps.checks import check_array, check_mdp, check_number, require_concrete, shown
from mdps.mdp import MDP
from mdps.pytrees import frozen_pytree, in_one_line

__all__ = ["Advantage", "Geometry", "Minimal", "geometry", "starc"]
__dir__ = __all__.copy

_TRIVIAL = 1e-6  # of the norm that the weights alone would have: a reward that ranks all policies alike


@dataclass(frozen=True, eq=False)
class Minimal:
    """The shortest of all rewards that rank policies alike.

    Attributes:
        weights: of each state and action in the length, `[S, A]`; None: all count alike.
    """

    weights: Float[Array, " S A"] | np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Advantage:
    """The advantage under a fixed policy that takes every action; VAL in Skalse et al. (2024).

    Attributes:
        policy: `[S, A]`; None: the uniform one.
    """

    policy: Float[Array, " S A"] | np.ndarray | None = None


@frozen_pytree
@dataclass(frozen=True, eq=False)
class Geometry:
    """How rewards that are linear in a map's features rank its policies: lengths and angles.

    Rewards are weights, `[K]`, or many of them, `[N, K]`; all methods go through `jit` and `vmap`.  A reward that ranks
    all policies alike has no direction: its distance is 1/2 from any other, and 0 from another such.

    Attributes:
        root: a factor of the Gram matrix, G = rootᵀ root, `[K, K]`.
        size: lengths of the features before they are made canonical, `[K]`: what counts as nothing is judged by it.
        total_visits: of a run of the map.
        feature_names: names of the features (static).
        projects: whether canonical forms are projections on the differences of occupancies (static).
    """

    root: Float[Array, " K K"]
    size: Float[Array, " K"]
    total_visits: Float[Array, ""]
    feature_names: tuple[str, ...] = field(default=(), metadata={"static": True})
    projects: bool = field(default=True, metadata={"static": True})

    __repr__ = in_one_line

    @property
    def gram(self) -> Float[Array, " K K"]:
        """G, inner products of the canonical features, `[K, K]`."""
        return jnp.matmul(self.root.T, self.root, precision=jax.lax.Precision.HIGHEST)

    def canonical(self, weights: Float[Array, " ... K"]) -> Float[Array, " ... K"]:
        """Coordinates in which lengths and angles of canonical rewards are those of vectors."""
        return self._coordinates(self._checked("weights", weights))

    def norm(self, weights: Float[Array, " ... K"]) -> Float[Array, " ..."]:
        """Length of the canonical reward: 0 for one that ranks all policies alike."""
        return jnp.linalg.norm(self.canonical(weights), axis=-1)

    def unit(self, weights: Float[Array, " ... K"]) -> Float[Array, " ... K"]:
        """The same reward in the unit in which its canonical form has length one; 0 where it has no direction."""
        weights = self._checked("weights", weights)
        length, something = jnp.linalg.norm(self._coordinates(weights), axis=-1), self._something(weights)
        return jnp.where(something, 1 / jnp.where(something, length, 1), 0)[..., None] * weights

    def distance(self, weights: Float[Array, " ... K"], others: Float[Array, " ... K"]) -> Float[Array, " ..."]:
        """STARC: half the distance of the unit canonical rewards, sin(θ/2): 0 the same order, 1 the opposite one.

        Args:
            weights: a reward, `[K]`, or rewards `[N, K]`.
            others: likewise; pairs are broadcast.

        Example:
            >>> import jax.numpy as jnp, mdps
            >>> grid = mdps.GridWorld.from_text("aSb", {"a": "left", "S": "mid", "b": "right"}, discount=0.9, goal=None)
            >>> shape = geometry(grid.mdp)
            >>> opposite = shape.distance(jnp.array([1.0, 0.0, 0.0]), jnp.array([[2.0, 0, 0], [-1.0, 0, 0]]))
            >>> [round(float(x), 3) for x in opposite]
            [0.0, 1.0]
        """
        return self._distance(self._checked("weights", weights), self._checked("others", others))

    def angle(self, weights: Float[Array, " ... K"], others: Float[Array, " ... K"]) -> Float[Array, " ..."]:
        """The angle between canonical rewards, in radians, from 0 to π; π/3 where one alone has no direction."""
        return 2 * jnp.arcsin(self.distance(weights, others))

    def regret_bound(self, written: Float[Array, " ... K"], true: Float[Array, " ... K"]) -> Float[Array, " ..."]:
        r"""What the best plan for a written reward can lose at most under the true one, in units of return.

            V*(w) - w·φ*(w̃) <= total_visits · √2 · |c(w)| · sin θ     for θ <= π/2, and sin θ := 1 beyond

        since the difference of two normalised occupancies is orthogonal to all shaping and no longer than √2 (Karwowski
        et al. 2024).  Only for `Minimal()`, the form that is a projection.

        Raises:
            ValueError: for the geometry of `Advantage()` or of a weighted `Minimal()`, where it need not hold.
        """
        if not self.projects:
            raise ValueError(
                "regret_bound needs alignment.geometry(mdp): with Advantage() or weights it need not hold."
            )
        written, true = self._checked("written", written), self._checked("true", true)
        angle = 2 * jnp.arcsin(self._distance(written, true))
        sine = jnp.where(angle <= jnp.pi / 2, jnp.sin(angle), 1)
        sine = jnp.where(self._something(written), sine, 1)
        return self.total_visits * jnp.sqrt(2.0) * self.norm(true) * sine

    def unidentifiable(self) -> tuple[str, ...]:
        """Directions of the weights that rank all policies of this map alike, in words."""
        unseen, blind = blind_directions(self.gram, self.size)
        names = self.feature_names or tuple(f"feature {k}" for k in range(self.root.shape[1]))
        return tuple(names[k] for k in unseen) + tuple(in_words(row, names) for row in blind)

    def _coordinates(self, weights) -> Array:
        return jnp.matmul(weights, self.root.T, precision=jax.lax.Precision.HIGHEST)

    def _distance(self, weights, others) -> Array:
        one, two = (self._coordinates(self.unit(x)) for x in (weights, others))
        first, second = self._something(weights), self._something(others)
        one, two = jnp.broadcast_arrays(one, two)
        apart = jnp.linalg.norm(one - two, axis=-1) / 2
        return jnp.where(first & second, jnp.minimum(apart, 1), jnp.where(first == second, 0, 0.5))

    def _something(self, weights) -> Array:
        """Whether a reward ranks policies at all: whether more is left of it than rounding."""
        length = jnp.linalg.norm(self._coordinates(weights), axis=-1)
        return length > _TRIVIAL * jnp.matmul(jnp.abs(weights), self.size)

    def _checked(self, name: str, weights) -> Array:
        weights = check_array(name, weights)
        if weights.ndim == 0 or weights.shape[-1] != self.root.shape[1] or not weights.size:
            raise ValueError(f"{name} has shape {weights.shape}; give [K] or [N, K] with K = {self.root.shape[1]}.")
        return weights


def geometry(mdp: MDP, canonical: Minimal | Advantage | None = None) -> Geometry:
    r"""How rewards that are linear in a map's features rank its policies; one matrix, for any number of rewards.

    Args:
        mdp: an endless MDP with a discount below 1.
        canonical: `Minimal()` (the default) or `Advantage()`.

    Returns:
        A `Geometry`: `distance`, `angle`, `regret_bound`, `unidentifiable()`.

    Raises:
        ValueError: for an MDP with a horizon (its policies depend on time: give it a discount instead) or one that is
            traced, for weights or a policy that do not count every state and action.

    Example:
        >>> import jax.numpy as jnp, mdps
        >>> legend = {"S": "floor", ".": "floor", "g": "grass", "G": "goal"}
        >>> grid = mdps.GridWorld.from_text("Sg.\n.gG", legend, discount=0.9)
        >>> shape = geometry(grid.mdp)
        >>> written, meant = grid.weights(goal=1.0), grid.weights(goal=1.0, grass=-0.2)
        >>> round(float(shape.distance(written, meant)), 3)
        0.084
        >>> shape.unidentifiable()
        ('floor + grass + goal',)
    """
    canonical = _checked_canonical(canonical)
    check_mdp(mdp)
    require_concrete(
        "alignment.geometry", next_state=mdp.next_state, probability=mdp.probability, features=mdp.features
    )
    check_stationary(mdp)
    (counts, moved), features = visitable(mdp), features_by_action(mdp)
    weights, found = _canonical(mdp, canonical, counts, moved, features)
    found = np.sqrt(weights)[:, None] * found
    root = (
        np.linalg.qr(found, mode="r")
        if len(found) >= found.shape[1]
        else np.pad(found, [(0, found.shape[1] - len(found)), (0, 0)])
    )
    size = np.linalg.norm(np.sqrt(weights)[:, None] * features, axis=0)
    dtype = mdp.features.dtype
    root, size = jnp.asarray(root, dtype), jnp.asarray(size, dtype)
    projects = isinstance(canonical, Minimal) and canonical.weights is None
    return Geometry(root, size, mdp.total_visits, mdp.feature_names, projects)


def starc(
    mdp: MDP,
    written: Float[Array, " S *A_S"],
    true: Float[Array, " S *A_S"],
    *,
    canonical: Minimal | Advantage | None = None,
    order: float = 2,
) -> Float[Array, ""]:
    """STARC of two rewards as tables, in any norm: 0 the same order of policies, 1 the opposite one.

    `geometry` is the way for many rewards that are linear in features, in the norm that knows angles.

    Args:
        mdp: an endless MDP with a discount below 1.
        written: a reward, `[S]`, `[S, A]` or `[S, A, S']`; of weights `mdp.reward(weights)`.
        true: another one.
        canonical: `Minimal()` (the default) or `Advantage()`.
        order: of the norm over states and actions that can occur: 1, 2 or `jnp.inf`.

    Raises:
        ValueError: for rewards that do not fit the MDP, another norm, an MDP with a horizon.

    Source:
        Skalse et al. (2024), with EPIC's factor of one half.

    Example:
        >>> import jax.numpy as jnp, mdps
        >>> grid = mdps.GridWorld.from_text("S.G", {"S": "floor", ".": "floor", "G": "goal"}, discount=0.9)
        >>> reward = grid.mdp.reward(grid.weights(goal=1.0))
        >>> [round(float(starc(grid.mdp, reward, 1 - 2 * reward, order=p)), 6) for p in (1, 2, jnp.inf)]
        [1.0, 1.0, 1.0]
    """
    order = float(check_number("order", order, lambda x: x in (1, 2, np.inf), "give 1, 2 or jnp.inf."))
    canonical = _checked_canonical(canonical)
    rewards = full_rewards(mdp, written, true)
    require_concrete("alignment.starc", probability=mdp.probability, written=rewards[0], true=rewards[1])
    check_stationary(mdp)
    P = np.asarray(mdp.to_dense(), np.float64)
    paid = np.stack([(P * np.asarray(x, np.float64)).sum(axis=2).ravel() for x in rewards], axis=1)
    counts, moved = visitable(mdp)
    weights, found = _canonical(mdp, canonical, counts, moved, paid)
    on = weights > 0
    one, two = found[on].T * (1 if order != 2 else np.sqrt(weights[on]))
    size, (first, second) = np.abs(paid).max(axis=0), (np.abs(x).max() for x in (one, two))
    if first <= _TRIVIAL * size[0] or second <= _TRIVIAL * size[1]:
        same = first <= _TRIVIAL * size[0] and second <= _TRIVIAL * size[1]
        return jnp.asarray(0.0 if same else 0.5, mdp.features.dtype)
    apart = one / np.linalg.norm(one, order) - two / np.linalg.norm(two, order)
    return jnp.asarray(np.linalg.norm(apart, order) / 2, mdp.features.dtype)


def _checked_canonical(canonical) -> Minimal | Advantage:
    canonical = Minimal() if canonical is None else canonical
    if not isinstance(canonical, Minimal | Advantage):
        raise ValueError(f"canonical is {shown(canonical)}; give alignment.Minimal() or alignment.Advantage().")
    return canonical


def _canonical(mdp, canonical, counts, moved, features) -> tuple[np.ndarray, np.ndarray]:
    """The weight of each state and action, `[S·A]`, and the canonical features, `[S·A, K]`."""
    import scipy.sparse as sp
    from scipy.sparse.linalg import splu

    reached = counts.any(axis=1)
    moved = moved[:, np.flatnonzero(reached)]
    if isinstance(canonical, Minimal):
        weights = counts.astype(np.float64)
        if canonical.weights is not None:
            given = np.asarray(check_array("weights", canonical.weights), np.float64)
            if given.shape != counts.shape or (given < 0).any() or (given[counts] <= 0).any():
                raise ValueError(
                    f"weights of shape {given.shape} must be [S, A] = {counts.shape}, and above 0 for every state and "
                    "action that can occur."
                )
            weights = np.where(counts, given, 0)
        weights = weights.ravel()
        return weights, features + moved @ least_potential(moved, weights, features)
    policy = taking_all(mdp, canonical.policy, counts, "policy")
    S, A = counts.shape
    share = sp.csr_matrix((policy.ravel(), (np.repeat(np.arange(S), A), np.arange(S * A))), shape=(S, S * A))
    share = share[np.flatnonzero(reached)]
    value = splu((-share @ moved).tocsc()).solve(share @ features)
    return counts.ravel().astype(np.float64), features + moved @ value
