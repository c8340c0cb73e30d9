"""The tabular Markov decision process: one pytree, its constructors and its checks."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mdps import tables
from mdps.checks import check_finite, check_horizon_and_discount, check_rows, is_concrete, require_concrete
from mdps.kernels.layout import Layout


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class MDP:
    """A tabular MDP stored as a successor table (and its transpose, a predecessor table).

    Every state `s` has `D` possible successors, shared by its actions; an action only decides
    how probability is divided among them.  The predecessor table lists the same edges by where
    they arrive, so that pushing probability forward is a gather too, never a scatter.

    Build one with `MDP.from_dense`, `mdps.GridWorld`, `mdps.graph.from_networkx` or
    `mdps.interop.from_gymnasium`, and change one with `replace`: they check, this constructor does not.

    Attributes:
        next_state: successor `d` of state `s`, a state index.
        probability: probability of successor `d` after action `a` in state `s`; sums to 1 over `D`.
        predecessor_state: origin of the p-th edge into state `s`.
        predecessor_slot: which successor slot of that origin the edge is; `D` marks padding.
        features: feature counts per visit, of the state or of the state and action.
        initial: probability of starting in each state.
        discount: discount factor per step (1 only with a horizon).
        available: which actions exist in each state; None: all of them.  The row of an action that does not exist
            stays where it is, so that tables have no holes; no policy takes it.
        horizon: number of steps `T`, or None for an endless MDP (static).
        feature_names: one name per feature (static).
        layout: what compiled sweeps may rely on (static); it follows from the tables.
    """

    next_state: Int[Array, " S D"]
    probability: Float[Array, " S A D"]
    predecessor_state: Int[Array, " S P"]
    predecessor_slot: Int[Array, " S P"]
    features: Float[Array, " S K"] | Float[Array, " S A K"]
    initial: Float[Array, " S"]
    discount: Float[Array, ""]
    available: Bool[Array, " S A"] | None = None
    horizon: int | None = field(default=None, metadata={"static": True})
    feature_names: tuple[str, ...] = field(default=(), metadata={"static": True})
    layout: Layout = field(default=Layout(), metadata={"static": True})

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
        """A copy with some fields replaced, e.g. `mdp.replace(horizon=20)`, checked as the constructors check.

        What follows from `next_state` or `probability` (the predecessor table and the layout) is made anew.  Under
        tracing other successors are refused, because the tables that follow from them are made on the host; other
        probabilities are taken where every move has its own slot, as on a `GridWorld`: probability given to a
        blocked move is probability of staying.

        Args:
            **changes: any of `next_state` [S, D], `probability` [S, A, D], `features` [S, K] or [S, A, K],
                `initial` [S], `discount`, `horizon`, `feature_names`, `available` [S, A].

        Raises:
            ValueError: for a field that follows from others or does not exist, a wrong shape, rows that are no
                distributions, or a discount that does not fit the horizon.
            TypeError: for traced successors, or traced probabilities where no slot is known to stay.

        Example:
            >>> import mdps
            >>> mdp = mdps.GridWorld.from_text("S.G", {"S": "floor", ".": "floor", "G": "goal"}, discount=0.9).mdp
            >>> mdp.replace(horizon=3, discount=1.0).total_visits.item()
            3.0
        """
        may = ("next_state", "probability", "features", "initial", "discount", "horizon", "feature_names", "available")
        for name in changes:
            if name not in may:
                raise ValueError(
                    f"{name} cannot be replaced; what can is {', '.join(may)} (the rest follows from them)."
                )
        new = dataclasses.replace(self, **{k: v for k, v in changes.items() if k in ("horizon", "feature_names")})
        arrays = ("features", "initial", "discount", "available", "next_state", "probability")
        given = {k: changes[k] for k in arrays if changes.get(k) is not None}
        for name, x in given.items():
            old = getattr(self, name)
            dtype = bool if name == "available" else jnp.int32 if name == "next_state" else self.probability.dtype
            given[name] = jnp.asarray(x, dtype) if old is None or is_concrete(x) else jnp.asarray(x)
        new = dataclasses.replace(new, **given)
        if changes.get("available", False) is None:
            new = dataclasses.replace(new, available=None)
        new._check(tables="next_state" in given or "probability" in given)
        return _rebuilt(new, self) if "next_state" in given or "probability" in given else new

    def _check(self, *, tables: bool) -> None:
        """The constructors' checks, of what is concrete; of one MDP or of a stack of them."""
        axes = self.probability.ndim - 3
        where = ("mdp",) * axes
        S, A, D = self.probability.shape[-3:]
        shape = self.features.shape[axes:]
        if len(shape) not in (2, 3) or shape[:-1] not in ((S,), (S, A)):
            raise ValueError(f"features has shape {shape}; with S={S}, A={A} it must be [S, K] or [S, A, K].")
        if self.initial.shape[axes:] != (S,):
            raise ValueError(f"initial has shape {self.initial.shape}; it must be [S] with S={S}.")
        if self.next_state.shape[axes:] != (S, D):
            raise ValueError(
                f"next_state has shape {self.next_state.shape} and probability {self.probability.shape}; "
                "they must be [S, D] and [S, A, D]."
            )
        if len(self.feature_names) != shape[-1] or len(set(self.feature_names)) != shape[-1]:
            raise ValueError(
                f"feature_names has {len(self.feature_names)} names {self.feature_names}; "
                f"give {shape[-1]} distinct names, one per feature."
            )
        if self.available is not None and self.available.shape[axes:] != (S, A):
            raise ValueError(f"available has shape {self.available.shape}; it must be [S, A] with S={S}, A={A}.")
        check_finite("features", self.features)
        check_rows("initial", self.initial, axes=where)
        for gamma in np.ravel(self.discount) if is_concrete(self.discount) else (self.discount,):
            check_horizon_and_discount(self.horizon, gamma)
        if tables:
            check_rows("probability", self.probability, axes=(*where, "state", "action"))
            if is_concrete(self.next_state):
                check_successors(self.next_state, S)

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
        check_rows("transition", transition, axes=("state", "action"))
        next_state, probability, edges = tables.shared_support(transition)
        return from_table(
            next_state,
            probability,
            features,
            initial,
            discount=discount,
            horizon=horizon,
            feature_names=feature_names,
            edges=edges,
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
    check_successors(next_state, S)
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
    next_state, probability, predecessor_state, predecessor_slot, layout = tables.lay_out(
        next_state, probability, real, sink
    )
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
            layout=layout,
        )


def check_successors(next_state, num_states: int) -> None:
    """Raise unless every successor is a state."""
    next_state = np.asarray(next_state)
    if next_state.min() < 0 or next_state.max() >= num_states:
        raise ValueError(f"next_state holds states outside 0..{num_states - 1}; every successor must be a state index.")


def _rebuilt(new: MDP, old: MDP) -> MDP:
    """`new`, whose successors or probabilities are not those of `old`, with the tables that follow from them."""
    moved = new.next_state is not old.next_state
    if moved:
        require_concrete("MDP.replace", next_state=new.next_state, probability=new.probability)
    if old.layout.stay is not None and not moved:  # the edges stay: which move has which slot is known
        probability = _stay_where_blocked(new, old.layout.stay)
        slots = (
            tables.taken_slots(np.asarray(probability)) if probability.ndim == 3 and is_concrete(probability) else None
        )
        return dataclasses.replace(new, probability=probability, layout=dataclasses.replace(old.layout, slots=slots))
    if not is_concrete(new.probability):
        raise TypeError(
            "probability is a tracer, and other edges need other tables, which are made on the host; call replace "
            "outside jit and vmap (on a GridWorld, where every move has its slot, traced probabilities are taken)."
        )
    if new.probability.ndim != 3:
        raise ValueError("this is a stack of MDPs; replace successors or probabilities before stacking.")
    next_state, probability = np.asarray(new.next_state), np.asarray(new.probability)
    edges = np.asarray(probability.any(axis=1))
    sink = None if moved else old.layout.sink
    leads = edges.copy()
    if sink is not None:
        leads[:, -1] = True
    next_state = np.where(leads, next_state, np.arange(len(next_state))[:, None])
    next_state, probability, origin, slot, layout = tables.lay_out(next_state, probability, edges, sink)
    return dataclasses.replace(
        new,
        next_state=jnp.asarray(next_state, jnp.int32),
        probability=jnp.asarray(probability, new.probability.dtype),
        predecessor_state=jnp.asarray(origin),
        predecessor_slot=jnp.asarray(slot),
        layout=layout,
    )


def _stay_where_blocked(mdp: MDP, stay: int) -> Float[Array, " S A D"]:
    """The probabilities, with what goes to a blocked move (which leads nowhere) added to that of staying."""
    S, D = mdp.next_state.shape[-2:]
    own, slot = np.arange(S)[:, None], np.arange(D)[None, :]
    # The end leads to itself by the slot by which all lead there.
    keep = np.where(own == mdp.layout.sink, D - 1, stay)
    blocked = (mdp.next_state == own) & (slot != keep)
    idle = jnp.sum(jnp.where(blocked[..., None, :], mdp.probability, 0), axis=-1, keepdims=True)
    return jnp.where(blocked[..., None, :], 0, mdp.probability) + idle * (slot == keep)[:, None, :]


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
    if len({(m.num_states, m.layout.shifts) for m in mdps}) == 1 and head.layout.shifts is not None:
        layout = dataclasses.replace(head.layout, slots=tables.either([m.layout.slots for m in mdps]))
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *[dataclasses.replace(m, layout=layout) for m in mdps])
    S = max(m.num_states for m in mdps)
    D = max(m.next_state.shape[1] for m in mdps)
    keep_sink = len({(m.layout.sink, m.next_state.shape[1]) for m in mdps}) == 1
    padded = [_pad(m, S, D, head.layout.sink if keep_sink else None) for m in mdps]
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
    predecessor_state, predecessor_slot = tables.predecessors(next_state, edges)
    pad_state = lambda x: jnp.concatenate([x, jnp.zeros((S - s, *x.shape[1:]), x.dtype)])  # noqa: E731
    return dataclasses.replace(
        m,
        next_state=jnp.asarray(next_state),
        probability=jnp.asarray(probability),
        predecessor_state=jnp.asarray(predecessor_state),
        predecessor_slot=jnp.asarray(predecessor_slot),
        features=pad_state(m.features),
        initial=pad_state(m.initial),
        layout=Layout(sink=sink),
    )


def _pad_predecessors(m: MDP, P: int) -> MDP:
    """`m` with `P` predecessor columns."""
    S, p = m.predecessor_state.shape
    own = jnp.broadcast_to(jnp.arange(S, dtype=jnp.int32)[:, None], (S, P - p))
    blank = jnp.full((S, P - p), m.next_state.shape[1], jnp.int32)
    return dataclasses.replace(
        m,
        predecessor_state=jnp.concatenate([m.predecessor_state, own], axis=1),
        predecessor_slot=jnp.concatenate([m.predecessor_slot, blank], axis=1),
    )
