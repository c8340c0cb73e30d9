"""The tabular Markov decision process: one pytree, its constructors and its checks."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mdps.checks import check_finite, check_horizon_and_discount, check_rows, require_concrete


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MDP:
    """A tabular MDP stored as a successor table (and its transpose, a predecessor table).

    Every state `s` has `D` possible successors, shared by its actions; an action only decides
    how probability is divided among them.  The predecessor table lists the same edges by where
    they arrive, so that pushing probability forward is a gather too, never a scatter.

    Build one with `MDP.from_dense`, `mdps.GridWorld`, `mdps.graph.from_networkx` or
    `mdps.interop.from_gymnasium`: they check their input, this constructor does not.

    Attributes:
        next_state: successor `d` of state `s`, a state index.
        probability: probability of successor `d` after action `a` in state `s`; sums to 1 over `D`.
        predecessor_state: origin of the p-th edge into state `s`.
        predecessor_slot: which successor slot of that origin the edge is; `D` marks padding.
        features: feature counts per visit, of the state or of the state and action.
        initial: probability of starting in each state.
        discount: discount factor per step (1 only with a horizon).
        horizon: number of steps `T`, or None for an endless MDP (static).
        feature_names: one name per feature (static).
        offsets: static; slot `d` of every state `s` leads to `s + offsets[d]` or is never taken, and likewise
            the predecessor table.  Grids have such numbers, and their kernels gather nothing; None elsewhere.
        aligned: static; the p-th edge into every state left its origin by slot p, or is padding.
        slots: static; which successor slots each action takes, from one state or another; None where any may.
        sink: static index of a state to which the last slot of *every* state leads, or None.
            Those edges are left out of the predecessor table, which a state with `S`
            predecessors would otherwise make quadratic.
    """

    next_state: Int[Array, " S D"]
    probability: Float[Array, " S A D"]
    predecessor_state: Int[Array, " S P"]
    predecessor_slot: Int[Array, " S P"]
    features: Float[Array, " S K"] | Float[Array, " S A K"]
    initial: Float[Array, " S"]
    discount: Float[Array, ""]
    horizon: int | None = field(default=None, metadata={"static": True})
    feature_names: tuple[str, ...] = field(default=(), metadata={"static": True})
    offsets: tuple[int, ...] | None = field(default=None, metadata={"static": True})
    aligned: bool = field(default=False, metadata={"static": True})
    slots: tuple[tuple[int, ...], ...] | None = field(default=None, metadata={"static": True})
    sink: int | None = field(default=None, metadata={"static": True})

    @property
    def num_states(self) -> int:
        """S, the number of states."""
        return self.probability.shape[-3]

    @property
    def num_actions(self) -> int:
        """A, the number of actions."""
        return self.probability.shape[-2]

    @property
    def num_features(self) -> int:
        """K, the number of features."""
        return self.features.shape[-1]

    @property
    def total_visits(self) -> Float[Array, ""]:
        """Sum of the occupancy of any policy: T, (1 - γ^T)/(1 - γ) or 1/(1 - γ), in (discounted) steps."""
        gamma = self.discount
        if self.horizon is None:
            return 1 / (1 - gamma)
        return jnp.sum(gamma ** jnp.arange(self.horizon))

    def reward(self, weights: Float[Array, " K"]) -> Float[Array, " S"] | Float[Array, " S A"]:
        """Reward paid on leaving each state: `features @ weights`.

        Args:
            weights: reward per unit of each feature, `[K]`.

        Returns:
            Reward `[S]`, or `[S, A]` where features depend on the action.

        Raises:
            ValueError: if the number of weights is not the number of features, or one is not finite.

        Example:
            >>> import mdps
            >>> grid = mdps.GridWorld.from_text("S.G", {"S": "floor", ".": "floor", "G": "goal"}, discount=0.9)
            >>> grid.mdp.reward(grid.weights(goal=1.0)).tolist()
            [0.0, 0.0, 1.0]
        """
        weights = jnp.asarray(weights)
        if weights.ndim != 1 or weights.shape[0] != self.num_features:
            raise ValueError(
                f"weights has shape {weights.shape}, but this MDP has {self.num_features} features "
                f"{self.feature_names}; give one weight per feature, in that order."
            )
        check_finite("weights", weights)
        return self.features @ weights.astype(jnp.result_type(self.features, weights))

    def to_dense(self) -> Float[Array, " S A S"]:
        """The transition tensor `[S, A, S']`; its size is quadratic in the number of states."""
        S, A = self.num_states, self.num_actions
        dense = jnp.zeros((S, A, S), self.probability.dtype)
        rows = jnp.arange(S)[:, None, None], jnp.arange(A)[None, :, None]
        return dense.at[*rows, self.next_state[:, None, :]].add(self.probability)

    def replace(self, **changes) -> "MDP":
        """A copy with some fields replaced, e.g. `mdp.replace(horizon=20)`; nothing is checked.

        Other probabilities may take other slots: `slots` becomes None with them, unless given too.
        """
        return replace(self, **({"slots": None} if "probability" in changes else {}) | changes)

    @staticmethod
    def from_dense(
        transition: Float[Array, " S A S"] | np.ndarray,
        features: Float[Array, " S K"] | Float[Array, " S A K"] | np.ndarray,
        initial: Float[Array, " S"] | np.ndarray | Sequence[float],
        *,
        discount: float = 1.0,
        horizon: int | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> "MDP":
        """Build an MDP from dense arrays, on the host.

        Args:
            transition: probability of `s'` after `(s, a)`, `[S, A, S']`; rows sum to one.
            features: feature counts of each state `[S, K]` or of each state and action `[S, A, K]`.
            initial: probability of starting in each state, `[S]`.
            discount: discount factor; below 1 unless a horizon is given.
            horizon: number of steps, or None for an endless MDP.
            feature_names: one name per feature; "feature 0", "feature 1", ... when left out.

        Returns:
            The MDP; its floating dtype is JAX's default for the inputs.

        Raises:
            ValueError: on a wrong shape, a row that is not a distribution (named by state and action),
                non-finite features, or a discount that does not fit the horizon.
            TypeError: when called with traced arrays.

        Example:
            >>> import numpy as np
            >>> stay_or_move = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
            >>> mdp = MDP.from_dense(stay_or_move, np.eye(2), [1.0, 0.0], discount=0.9)
            >>> mdp.num_states, mdp.num_actions, mdp.num_features
            (2, 2, 2)
        """
        require_concrete("MDP.from_dense", transition=transition, features=features, initial=initial)
        transition, features, initial = (np.asarray(x) for x in (transition, features, initial))
        if transition.ndim != 3 or transition.shape[0] != transition.shape[2] or 0 in transition.shape:
            raise ValueError(f"transition has shape {transition.shape}; it must be [S, A, S'] with S' = S and A ≥ 1.")
        S = transition.shape[0]
        check_rows("transition", transition, axes=("state", "action"))
        used = transition.any(axis=1)  # [S, S']: the support shared by a state's actions
        D = max(int(used.sum(axis=1).max()), 1)
        next_state = np.argsort(~used, axis=1, kind="stable")[:, :D]
        probability = np.take_along_axis(transition, next_state[:, None, :], axis=2)
        # Slots beyond a state's support repeat the state itself with probability zero.
        padding = np.arange(D)[None, :] >= used.sum(axis=1)[:, None]
        next_state = np.where(padding, np.arange(S)[:, None], next_state)
        probability = np.where(padding[:, None, :], 0.0, probability)
        return from_table(
            next_state,
            probability,
            features,
            initial,
            discount=discount,
            horizon=horizon,
            feature_names=feature_names,
            edges=~padding,
        )


def from_table(
    next_state: np.ndarray,
    probability: np.ndarray,
    features: np.ndarray,
    initial: np.ndarray,
    *,
    discount: float = 1.0,
    horizon: int | None = None,
    feature_names: Sequence[str] | None = None,
    edges: np.ndarray | None = None,
    sink: int | None = None,
) -> MDP:
    """Build an MDP from a successor table (`next_state` `[S, D]`, `probability` `[S, A, D]`), on the host.

    `edges` `[S, D]` marks the slots that are real edges (all, when None); the others must carry no
    probability.  `sink` declares that the last slot of every state leads to that state.  The checks
    and the remaining arguments are those of `MDP.from_dense`.
    """
    require_concrete("from_table", next_state=next_state, probability=probability, features=features, initial=initial)
    next_state, probability, features, initial = (np.asarray(x) for x in (next_state, probability, features, initial))
    if probability.ndim != 3 or next_state.shape != (probability.shape[0], probability.shape[2]):
        raise ValueError(
            f"next_state has shape {next_state.shape} and probability {probability.shape}; "
            "they must be [S, D] and [S, A, D]."
        )
    S, A, D = probability.shape
    if next_state.min() < 0 or next_state.max() >= S:
        raise ValueError(f"next_state holds states outside 0..{S - 1}; every successor must be a state index.")
    check_rows("probability", probability, axes=("state", "action"))
    if not (features.shape[:1] == (S,) and (features.ndim == 2 or (features.ndim == 3 and features.shape[1] == A))):
        raise ValueError(f"features has shape {features.shape}; with S={S}, A={A} it must be [S, K] or [S, A, K].")
    check_finite("features", features)
    if initial.shape != (S,):
        raise ValueError(f"initial has shape {initial.shape}; it must be [S] with S={S}.")
    check_rows("initial", initial, axes=())
    check_horizon_and_discount(horizon, discount)
    K = features.shape[-1]
    names = tuple(f"feature {k}" for k in range(K)) if feature_names is None else tuple(feature_names)
    if len(names) != K or len(set(names)) != K:
        raise ValueError(f"feature_names has {len(names)} names {names}; give {K} distinct names, one per feature.")
    real = np.ones((S, D), bool) if edges is None else edges
    if sink is not None:
        real = real & (np.arange(D) < D - 1)
    offsets = common_offsets(next_state, np.asarray(real & probability.any(axis=1)), D + 1) if sink is None else None
    if offsets is not None:
        next_state, probability, real = _align(next_state, probability, offsets)
    predecessor_state, predecessor_slot = predecessors(next_state, real, aligned=offsets is not None)
    dtype = jnp.result_type(float, *(x for x in (probability, features, initial) if x.dtype.kind == "f"))
    with jax.ensure_compile_time_eval():  # values, not tracers, also when called while something is traced
        return MDP(
            next_state=jnp.asarray(next_state, jnp.int32),
            probability=jnp.asarray(probability, dtype),
            predecessor_state=jnp.asarray(predecessor_state),
            predecessor_slot=jnp.asarray(predecessor_slot),
            features=jnp.asarray(features, dtype),
            initial=jnp.asarray(initial, dtype),
            discount=jnp.asarray(discount, dtype),
            horizon=horizon,
            feature_names=names,
            offsets=offsets,
            aligned=offsets is not None,
            slots=taken_slots(probability),
            sink=sink,
        )


def common_offsets(next_state: np.ndarray, edges: np.ndarray, most: int) -> tuple[int, ...] | None:
    """The distinct numbers `next_state[s, d] - s` over the edges, ascending; None if there are more than `most`."""
    own = np.arange(len(next_state), dtype=next_state.dtype)[:, None]
    found = np.unique((next_state - own)[edges])
    return tuple(found.tolist()) if 0 < len(found) <= most else None


def taken_slots(probability: np.ndarray) -> tuple[tuple[int, ...], ...]:
    """`MDP.slots` of a table `[S, A, D]`."""
    return tuple(tuple(np.flatnonzero(row).tolist()) for row in np.any(probability != 0, axis=0))


def _either(slots: Sequence[tuple[tuple[int, ...], ...] | None]) -> tuple[tuple[int, ...], ...] | None:
    """`MDP.slots` of several tables of the same shape."""
    if any(some is None for some in slots):
        return None
    return tuple(tuple(sorted({d for some in action for d in some})) for action in zip(*slots, strict=True))


def _align(next_state, probability, offsets: tuple[int, ...]):
    """The table with one slot for each offset, and which slots are edges; the others repeat the state itself."""
    own = np.arange(len(next_state))[:, None]
    aligned = np.zeros((*probability.shape[:2], len(offsets)), probability.dtype)
    for j, offset in enumerate(offsets):
        aligned[:, :, j] = np.where((next_state - own == offset)[:, None, :], probability, 0).sum(axis=2)
    edges = np.asarray(aligned.any(axis=1))
    return np.where(edges, own + np.asarray(offsets), own), aligned, edges


def predecessors(next_state: np.ndarray, edges: np.ndarray, *, aligned: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Transpose a successor table: for each state, the (state, slot) pairs whose edge arrives there.

    Rows are padded with the state itself and slot `D`, which the kernels read as weight zero.
    `aligned`: no two edges arrive at a state by the same slot, and the p-th listed is that of slot p.
    """
    S, D = next_state.shape
    origin, slot = np.nonzero(edges)
    target = next_state[origin, slot]
    if aligned:
        column = slot
    else:
        order = np.argsort(target, kind="stable")
        origin, slot, target = origin[order], slot[order], target[order]
        count = np.bincount(target, minlength=S)
        first = np.cumsum(count) - count
        column = np.arange(target.size) - first[target]
    P = 1 + int(column.max(initial=0))
    state_table = np.broadcast_to(np.arange(S, dtype=np.int32)[:, None], (S, P)).copy()
    slot_table = np.full((S, P), D, dtype=np.int32)
    state_table[target, column] = origin
    slot_table[target, column] = slot
    return state_table, slot_table


def stack(mdps: Sequence[MDP]) -> MDP:
    """Stack MDPs into one pytree with a leading axis, for `jax.vmap`.

    MDPs with fewer states or successors are padded: padding states are never reached, have no
    features and stay where they are.

    Args:
        mdps: MDPs with the same number of actions, the same horizon and the same features.

    Returns:
        An `MDP` whose arrays have a leading axis of length `len(mdps)`.

    Raises:
        ValueError: for an empty sequence, or MDPs that differ in horizon, actions or features.
    """
    mdps = list(mdps)
    if not mdps:
        raise ValueError("stack needs at least one MDP; the sequence is empty.")
    require_concrete("stack", **{f"mdp {i}": m.probability for i, m in enumerate(mdps)})
    head = mdps[0]
    for i, m in enumerate(mdps[1:], 1):
        for what, a, b in (
            ("horizon", head.horizon, m.horizon),
            ("number of actions", head.num_actions, m.num_actions),
            ("feature names", head.feature_names, m.feature_names),
            ("features per action", head.features.ndim, m.features.ndim),
        ):
            if a != b:
                raise ValueError(f"MDPs to stack must share their {what}: mdp 0 has {a!r}, mdp {i} has {b!r}.")
    if len({(m.num_states, m.offsets) for m in mdps}) == 1 and head.offsets is not None:
        slots = _either([m.slots for m in mdps])
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *[replace(m, slots=slots) for m in mdps])
    S = max(m.num_states for m in mdps)
    D = max(m.next_state.shape[1] for m in mdps)
    keep_sink = len({(m.sink, m.next_state.shape[1]) for m in mdps}) == 1
    padded = [_pad(m, S, D, head.sink if keep_sink else None) for m in mdps]
    P = max(m.predecessor_state.shape[1] for m in padded)
    padded = [_pad_predecessors(m, P) for m in padded]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *padded)


def _pad(m: MDP, S: int, D: int, sink: int | None) -> MDP:
    """`m` with `S` states and `D` successors; the extra states stay put and are never reached."""
    s, d = m.next_state.shape
    own = np.arange(S, dtype=np.int32)[:, None]
    next_state = np.broadcast_to(own, (S, D)).copy()
    next_state[:s, :d] = m.next_state
    probability = np.zeros((S, m.num_actions, D), m.probability.dtype)
    probability[:s, :, :d] = m.probability
    probability[s:, :, 0] = 1.0
    edges = np.zeros((S, D), bool)
    edges[:s, :d] = np.asarray(m.probability).any(axis=1)
    edges[s:, 0] = True
    if sink is not None:
        next_state[s:, -1] = sink
        edges &= np.arange(D) < D - 1
    predecessor_state, predecessor_slot = predecessors(next_state, edges)
    pad_state = lambda x: jnp.concatenate([x, jnp.zeros((S - s, *x.shape[1:]), x.dtype)])  # noqa: E731
    return m.replace(
        next_state=jnp.asarray(next_state),
        probability=jnp.asarray(probability),
        predecessor_state=jnp.asarray(predecessor_state),
        predecessor_slot=jnp.asarray(predecessor_slot),
        features=pad_state(m.features),
        initial=pad_state(m.initial),
        offsets=None,
        aligned=False,
        sink=sink,
    )


def _pad_predecessors(m: MDP, P: int) -> MDP:
    """`m` with `P` predecessor columns."""
    S, p = m.predecessor_state.shape
    own = jnp.broadcast_to(jnp.arange(S, dtype=jnp.int32)[:, None], (S, P - p))
    blank = jnp.full((S, P - p), m.next_state.shape[1], jnp.int32)
    return m.replace(
        predecessor_state=jnp.concatenate([m.predecessor_state, own], axis=1),
        predecessor_slot=jnp.concatenate([m.predecessor_slot, blank], axis=1),
    )
