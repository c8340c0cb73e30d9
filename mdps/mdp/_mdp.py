"""The tabular Markov decision process: one pytree, its constructors and its checks."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mdps import tables
from mdps.checks import (
    as_distributions,
    check_array,
    check_horizon_and_discount,
    check_real,
    check_sums,
    check_weights,
    is_concrete,
    require_concrete,
)
from mdps.kernels.layout import Layout
from mdps.mdp import _inputs
from mdps.pytrees import frozen_pytree


@frozen_pytree
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
        predecessor_state: origin of the p-th edge into state `s`, in row `s`; a state with more than `P` predecessors
            has further rows behind the first `S`.
        predecessor_slot: which successor slot of that origin the edge is; `D` marks padding.
        features: feature counts per visit, of the state or of the state and action.
        initial: probability of starting in each state.
        discount: discount factor per step (1 only with a horizon).
        available: which actions exist in each state; None: all of them.  The row of an action that does not exist
            stays where it is, so that tables have no holes; no policy takes it.
        predecessor_sums: where what is in the further rows of the predecessor table is added up: the state of each
            row; where one has too many to add up one after the other, first the part of each row, then the state of
            each part.  Empty where every state has one row.
        horizon: number of steps `T`, or None for an endless MDP (static).
        feature_names: one name per feature (static).
        layout: what compiled sweeps may rely on (static); it follows from the tables.
    """

    next_state: Int[Array, " S D"]
    probability: Float[Array, " S A D"]
    predecessor_state: Int[Array, " R P"]
    predecessor_slot: Int[Array, " R P"]
    features: Float[Array, " S K"] | Float[Array, " S A K"]
    initial: Float[Array, " S"]
    discount: Float[Array, ""]
    available: Bool[Array, " S A"] | None = None
    predecessor_sums: tuple[Int[Array, " _"], ...] = ()
    horizon: int | None = field(default=None, metadata={"static": True})
    feature_names: tuple[str, ...] = field(default=(), metadata={"static": True})
    layout: Layout = field(default=Layout(), metadata={"static": True})

    def __repr__(self) -> str:
        shape = np.shape(self.probability)
        if len(shape) < 3:  # a tree of other things, such as axes
            return object.__repr__(self)
        runs = [] if self.horizon is None else [f"horizon {self.horizon}"]
        values = np.unique(np.asarray(self.discount)) if is_concrete(self.discount) else []
        if len(values) != 1:
            runs.append(f"{len(values)} discounts" if len(values) else "a traced discount")
        elif not runs or values[0] != 1:
            runs.append(f"discount {values[0]:.6g}")
        counts = [f"{shape[-3]} states, {shape[-2]} actions, {np.shape(self.features)[-1]} features"]
        return f"MDP({', '.join([*(f'a stack of {n}' for n in shape[:-3]), *counts, *runs])})"

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
        """Sum of the occupancy of any policy: T, (1 - γ^T)/(1 - γ) or 1/(1 - γ), in (discounted) steps.

        Raises:
            ValueError: without a discount and a horizon, where it has none.
        """
        gamma = self.discount
        check_sums(self)
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
        weights = check_weights(self, weights)
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
        _inputs.check_fields(new, tables="next_state" in given or "probability" in given)
        axes = ("mdp",) * (self.probability.ndim - 3)
        for name, rows in (("initial", axes), ("probability", (*axes, "state", "action"))):
            if name in given and is_concrete(changes[name]):
                exact = as_distributions(name, changes[name], axes=rows, dtype=given[name].dtype)
                new = dataclasses.replace(new, **{name: jnp.asarray(exact, given[name].dtype)})
        return ending(_inputs.rebuilt(new, self) if "next_state" in given or "probability" in given else new)

    @staticmethod
    def from_dense(
        transition: Float[Array, " S A S"] | np.ndarray | Sequence,
        features: Float[Array, " S K"] | Float[Array, " S A K"] | Float[Array, " S A S K"] | np.ndarray | Sequence,
        initial: Float[Array, " S"] | np.ndarray | Sequence[float],
        *,
        available: Bool[Array, " S A"] | np.ndarray | Sequence | None = None,
        discount: float = 1.0,
        horizon: int | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> "MDP":
        """Build an MDP from dense arrays, on the host.

        Rows that miss one by at most 1e-5 (printed with six digits, say) are divided by their sums, in float64,
        before they are rounded to the MDP's dtype; those within four units in its last place are left as they are.

        Features of the transition, r(s, a, s') for one, are averaged over the successors.  Nothing is lost by
        that for planning: values, policies and feature expectations are those of the transition's features.  What
        is lost is the features along one realised path, which are then those expected at each step.

        Args:
            transition: probability of `s'` after `(s, a)`, `[S, A, S']`; rows sum to one.
            features: feature counts of each state `[S, K]`, of each state and action `[S, A, K]`, or of each
                transition `[S, A, S', K]` (of a reward `[S, A, S']`: `reward[..., None]`).
            initial: probability of starting in each state, `[S]`.
            available: which actions exist in each state, `[S, A]`; None: all.  What the other arrays hold where
                an action does not exist is not read.
            discount: discount factor; below 1 unless a horizon is given.
            horizon: number of steps, or None for an endless MDP.
            feature_names: one name per feature; "feature 0", "feature 1", ... when left out.

        Returns:
            The MDP; its floating dtype is JAX's default for the inputs.

        Raises:
            ValueError: on a wrong shape, a row that is not a distribution (named by state and action), a state
                without actions, non-finite features, or a discount that does not fit the horizon.
            TypeError: when called with traced arrays.

        Example:
            >>> import numpy as np
            >>> stay_or_move = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
            >>> mdp = MDP.from_dense(stay_or_move, np.eye(2), [1.0, 0.0], discount=0.9)
            >>> mdp.num_states, mdp.num_actions, mdp.num_features
            (2, 2, 2)
        """
        require_concrete("MDP.from_dense", transition=transition, features=features, initial=initial)
        transition, features = _inputs.check_tensor(transition), np.asarray(check_real("features", features))
        S, A, _ = transition.shape
        exist = _inputs.which_exist(available, S, A)
        if exist is not None:
            transition = np.where(exist[:, :, None], transition, 0)
        next_state, probability, edges = tables.shared_support(transition)
        return from_table(
            next_state,
            probability,
            _inputs.by_slot(features, next_state, A),
            initial,
            available=exist,
            discount=discount,
            horizon=horizon,
            feature_names=feature_names,
            edges=edges,
            called="transition",
        )

    @staticmethod
    def from_sparse(
        transition: Any,
        features: Float[Array, " S K"] | Float[Array, " S A K"] | np.ndarray | Sequence,
        initial: Float[Array, " S"] | np.ndarray | Sequence[float],
        *,
        num_actions: int | None = None,
        available: Bool[Array, " S A"] | np.ndarray | Sequence | None = None,
        discount: float = 1.0,
        horizon: int | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> "MDP":
        """Build an MDP from SciPy's sparse matrices, on the host; everything else is as in `from_dense`.

        A reward of the transition in a matrix `R` of the same shape is, averaged over the successors,
        `np.asarray(transition.multiply(R).sum(axis=1)).reshape(S, A, 1)`.

        Args:
            transition: one matrix `[S·A, S]` whose row `s·A + a` is that of action `a` in state `s`, or a list of
                A matrices `[S, S]`; entries that occur twice add up.
            features: `[S, K]` or `[S, A, K]`.
            initial: probability of starting in each state, `[S]`.
            num_actions: A; None: what the shape says.
            available: which actions exist, `[S, A]`; the rows of others are not read, and may be empty.
            discount: discount factor.
            horizon: number of steps, or None.
            feature_names: one name per feature.

        Raises:
            ValueError: as `from_dense`, and for an empty row of an action that exists.

        Example:
            >>> import numpy as np, scipy.sparse
            >>> go = scipy.sparse.csr_array(np.array([[0.0, 1.0], [0.5, 0.5]]))
            >>> MDP.from_sparse([go], np.eye(2), [1.0, 0.0], discount=0.9).to_dense().tolist()
            [[[0.0, 1.0]], [[0.5, 0.5]]]
        """
        require_concrete("MDP.from_sparse", transition=transition, features=features, initial=initial)
        features = np.asarray(check_real("features", features))
        origin, action, target, probability, S, A = _inputs.edges_of(transition, num_actions)
        exist = _inputs.which_exist(available, S, A)
        if exist is not None:
            probability = np.where(exist[origin, action], probability, 0)
        next_state, probability, edges = tables.from_edges(origin, action, target, probability, (S, A))
        return from_table(
            next_state,
            probability,
            _inputs.by_slot(features, next_state, A),
            initial,
            available=exist,
            discount=discount,
            horizon=horizon,
            feature_names=feature_names,
            edges=edges,
            called="transition",
        )

    @staticmethod
    def from_table(
        next_state: Int[Array, " S D"] | Int[Array, " S A D"] | np.ndarray | Sequence,
        probability: Float[Array, " S A D"] | np.ndarray | Sequence,
        features: Float[Array, " S K"] | Float[Array, " S A K"] | Float[Array, " S A D K"] | np.ndarray | Sequence,
        initial: Float[Array, " S"] | np.ndarray | Sequence[float],
        *,
        available: Bool[Array, " S A"] | np.ndarray | Sequence | None = None,
        discount: float = 1.0,
        horizon: int | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> "MDP":
        """Build an MDP from lists of successors, on the host; everything else is as in `from_dense`.

        Args:
            next_state: successors of each state `[S, D]`, or of each state and action `[S, A, D]`; those without
                probability may be any states.
            probability: probability of each, `[S, A, D]`.
            features: `[S, K]`, `[S, A, K]`, or of each listed transition `[S, A, D, K]`.
            initial: probability of starting in each state, `[S]`.
            available: which actions exist, `[S, A]`.
            discount: discount factor.
            horizon: number of steps, or None.
            feature_names: one name per feature.

        Raises:
            ValueError: as `from_dense`, and for successors that are no states.

        Example:
            >>> import numpy as np
            >>> ring = np.array([[1], [2], [0]])
            >>> mdp = MDP.from_table(ring, np.ones((3, 1, 1)), np.eye(3), [1.0, 0.0, 0.0], discount=0.5)
            >>> mdp.to_dense()[2, 0].tolist()
            [1.0, 0.0, 0.0]
        """
        require_concrete("MDP.from_table", next_state=next_state, probability=probability, features=features)
        probability, features = (
            np.asarray(check_real(*x)) for x in (("probability", probability), ("features", features))
        )
        next_state = _inputs.check_lists(next_state, probability)
        S, A, _ = probability.shape
        exist = _inputs.which_exist(available, S, A)
        if exist is not None:
            probability = np.where(exist[:, :, None], probability, 0)
        if features.ndim == 4:
            features = _inputs.features_by_action(features, _inputs.share(probability), exist)
        next_state, probability, edges = _inputs.table_of_lists(next_state, probability, S)
        return from_table(
            next_state,
            probability,
            features,
            initial,
            available=exist,
            discount=discount,
            horizon=horizon,
            feature_names=feature_names,
            edges=edges,
        )


def from_table(
    next_state: np.ndarray,
    probability: np.ndarray,
    features: np.ndarray,
    initial: Array | np.ndarray | Sequence[float],
    *,
    available: np.ndarray | None = None,
    discount: float = 1.0,
    horizon: int | None = None,
    feature_names: Sequence[str] | None = None,
    edges: np.ndarray | None = None,
    sink: int | None = None,
    called: str = "probability",
) -> MDP:
    """Build an MDP from a successor table (`next_state` `[S, D]`, `probability` `[S, A, D]`), on the host.

    `edges` `[S, D]` marks the slots that are real edges (all, when None); the others must carry no
    probability.  `sink` declares that the last slot of every state leads to that state.  The checks
    and the remaining arguments are those of `MDP.from_dense`; errors name the rows as they were `called`.
    """
    require_concrete("from_table", next_state=next_state, probability=probability, features=features, initial=initial)
    rows = {"probability": probability, "features": features, "initial": initial}
    probability, features, initial = (np.asarray(check_real(*row)) for row in rows.items())
    next_state = _inputs.check_lists(next_state, probability, by_action=False)
    S, A, _ = probability.shape
    dtype = jnp.result_type(float, *(x for x in (probability, features, initial) if x.dtype.kind == "f"))
    exist = _inputs.which_exist(available, S, A)
    if exist is not None:
        probability = np.where(exist[:, :, None], probability, np.arange(probability.shape[2]) == 0)
    probability = as_distributions(called, probability, axes=("state", "action"), dtype=dtype)
    features = _inputs.features_by_action(features, probability, exist)
    if initial.shape != (S,):
        raise ValueError(f"initial has shape {initial.shape}; it must be [S] with S={S}.")
    initial = as_distributions("initial", initial, axes=(), dtype=dtype)
    check_horizon_and_discount(horizon, discount, ends=True)
    undiscounted = horizon is None and float(discount) == 1
    if undiscounted:
        tables.check_ends(next_state, probability, features, exist)
    names = _inputs.name_features(feature_names, features.shape[-1])
    counted = check_array("features", features, dtype=dtype)
    real = np.ones(next_state.shape, bool) if edges is None else edges
    if exist is not None:
        next_state, probability, real = tables.without(exist, next_state, probability, real)
    next_state, probability, origin, slot, sums, layout = tables.lay_out(next_state, probability, real, sink)
    with jax.ensure_compile_time_eval():  # values, not tracers, also when called while something is traced
        return MDP(
            next_state=tables.held(next_state, np.int32),
            probability=tables.held(probability, dtype),
            predecessor_state=tables.held(origin),
            predecessor_slot=tables.held(slot),
            predecessor_sums=tuple(map(tables.held, sums)),
            features=counted,
            initial=tables.held(initial, dtype),
            discount=tables.held(discount, dtype),
            available=None if exist is None else tables.held(exist),
            horizon=horizon,
            feature_names=names,
            layout=dataclasses.replace(layout, undiscounted=undiscounted),
        )


def ending(mdp: MDP) -> MDP:
    """The MDP, with it known whether nothing is discounted and there is no horizon; and then that ends are reached."""
    undiscounted = mdp.horizon is None and is_concrete(mdp.discount) and bool(np.any(np.asarray(mdp.discount) == 1))
    if undiscounted:
        require_concrete("MDP.replace", probability=mdp.probability, features=mdp.features)
        if mdp.probability.ndim != 3:
            raise ValueError("this is a stack of MDPs; replace the discount by 1 before stacking.")
        next_state, probability, features = (np.asarray(x) for x in (mdp.next_state, mdp.probability, mdp.features))
        tables.check_ends(next_state, probability, features, mdp.available)
    return dataclasses.replace(mdp, layout=dataclasses.replace(mdp.layout, undiscounted=undiscounted))
