"""Gymnasium's transition tables in and out, and an environment to step through."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mdps import tables
from mdps.checks import as_distributions, check_mdp, check_real, check_reward, check_rows, require_concrete
from mdps.interop import _tables
from mdps.mdp import MDP, from_table

LARGEST = 10_000_000  # entries of a table with time in its states


def from_gymnasium(
    env_or_P: Any,
    *,
    discount: float,
    horizon: int | None = None,
    initial: Array | np.ndarray | Sequence[float] | None = None,
    features: Callable[[int, int, int], Any] | Array | np.ndarray | None = None,
    feature_names: Sequence[str] | None = None,
    available: Callable[[int], Any] | Array | np.ndarray | None = None,
) -> tuple[MDP, Float[Array, " S A"]]:
    """Read a gymnasium environment's table `P[s][a] = [(probability, next state, reward, terminated), ...]`.

    In such a table `terminated` ends all reward, whatever the next state's own rows say.  A state that other
    states enter by terminated edges alone, and that no run begins in, *is* an end here: runs stay in it, and it
    pays nothing (FrozenLake's holes and goal, CliffWalking's goal), so that it can be asked which end a run came
    to.  So is a state in which every action stays, pays nothing and is terminated.  Terminated edges into a state in
    which runs also go on (as in Taxi) pay their reward and lead to one more state, the last, which is the end of
    them all.

    Probabilities are those of `MDP.from_dense`: what misses one by at most 1e-5 is divided by its sum.

    Args:
        env_or_P: an environment with a table (FrozenLake, CliffWalking, Taxi, ...), or the table.  An action that
            `P[s]` does not have is not available in `s`.
        discount: discount factor per step; below 1 unless a horizon is given.
        horizon: number of steps, or None for an endless MDP.
        initial: probability of starting in each state of the table; None: the `initial_state_distrib` of the
            environment, or of a table from `to_gymnasium`.
        features: what to count in place of the reward: a function of `(s, a, s')` that gives `[K]` or one number,
            or an array `[S, K]`, `[S, A, K]` or `[S, A, S', K]` over the table's states.  It is averaged over the
            successors, as in `MDP.from_dense`.  Features `[S, K]` of a state are collected on leaving it; those of
            a state that a run ends in, which it never leaves, are collected on the step that ends it.
        feature_names: one name per feature; "reward" where `features` is None.
        available: flags `[S, A]` of the actions that exist, or a function that gives them for a state, such as
            an environment's `action_mask`; None: all that the table has.

    Returns:
        The MDP, with the single feature "reward" of each state and action unless others are given, and the expected
        reward `[S, A]`.

    Raises:
        ValueError: for an environment without a table, or a bad entry, naming its state and action.

    Example:
        >>> table = {0: {0: [(0.5, 0, 0.0, False), (0.5, 1, 1.0, True)]}, 1: {}}
        >>> mdp, reward = from_gymnasium(table, discount=0.9, initial=[1.0, 0.0])
        >>> reward.tolist()  # state 1 is an end
        [[0.5], [0.0]]
        >>> arrivals, _ = from_gymnasium(
        ...     table, discount=0.9, initial=[1.0, 0.0], features=lambda s, a, t: t == 1, feature_names=["arrives"]
        ... )
        >>> arrivals.features.tolist()
        [[[0.5]], [[0.0]]]
    """
    P, initial = _table_and_start(env_or_P, initial)
    require_concrete("from_gymnasium", initial=initial, features=features, available=available)
    edges = _tables.read(P, available)
    S = len(edges.exist)
    initial = np.asarray(check_real("initial", initial))
    if initial.shape != (S,):
        raise ValueError(f"initial has shape {initial.shape}; this table has {S} states, so it must be [{S}].")
    check_rows("initial", initial, axes=())
    is_end = _tables.ends(edges, initial)
    counts = None if features is None else _tables.features(edges, is_end, features)
    edges = _tables.ended(edges, is_end)
    reward = _tables.mean(edges, edges.paid[:, None])
    extra = edges.exist.shape[0] - S
    if counts is not None:
        counts = np.concatenate([counts, np.zeros((extra, *counts.shape[1:]))])
    next_state, probability, slots = tables.from_edges(
        edges.origin, edges.action, edges.target, edges.chance, edges.exist.shape, sink=S if extra else None
    )
    mdp = from_table(
        next_state,
        probability,
        reward if counts is None else counts,
        np.append(initial, np.zeros(extra)),
        available=edges.exist,
        edges=slots,
        sink=S if extra else None,
        discount=discount,
        horizon=horizon,
        feature_names=("reward",) if features is None else feature_names,
        called="P",
    )
    return mdp, mdp.features[:, :, 0] if features is None else jnp.asarray(reward[:, :, 0], mdp.features.dtype)


def _table_and_start(env_or_P: Any, initial: Any) -> tuple[Any, Any]:
    """The table of an environment, or the table itself, and where runs begin."""
    P = env_or_P
    if not isinstance(P, Mapping | list | tuple):
        env = getattr(env_or_P, "unwrapped", env_or_P)
        P = getattr(env, "P", None)
        if P is None:
            raise ValueError(
                f"{type(env).__name__} has no transition table P; only tabular environments such as FrozenLake, "
                "CliffWalking and Taxi can be read."
            )
        initial = getattr(env, "initial_state_distrib", None) if initial is None else initial
    initial = getattr(P, "initial_state_distrib", None) if initial is None else initial
    if initial is None:
        raise ValueError("a bare table says nothing of where runs begin; give initial, one probability per state.")
    return P, initial


class GymnasiumTable(dict[int, dict[int, list[tuple]]]):
    """A table `P[s][a]`, and what gymnasium's tables have no place for.

    Attributes:
        initial_state_distrib: probability of starting in each state of the table.
        discount: discount factor per step, which whoever plans on the table has to be told.
        horizon: steps of the MDP; None: endless.  The states of the table hold the time already.
    """

    def __init__(self, rows: Mapping[int, dict[int, list[tuple]]], initial: np.ndarray, discount: float, horizon):
        super().__init__(rows)
        self.initial_state_distrib, self.discount, self.horizon = initial, discount, horizon


def to_gymnasium(mdp: MDP, reward: Float[Array, " S"] | Float[Array, " S A"]) -> GymnasiumTable:
    """The table `P[s][a] = [(probability, next state, reward, terminated), ...]` of an MDP and a reward.

    A state that no action leaves and that pays nothing ends the episode: edges into it are
    `terminated`.  An action that does not exist in a state is left out there.

    Nothing in such a table says when to stop or how to discount.  So an MDP with a horizon T has time in the states
    of its table, state s at step t as number `t * S + s`, and the edges of the last step are terminated and lead to
    an end, number `T * S`: whoever reads the table as endless finds the values of the horizon.  (`make_env` keeps the
    states, and truncates.)  The discount and the initial distribution are attributes of the table.

    Args:
        mdp: the MDP.
        reward: `[S]` or `[S, A]`.

    Returns:
        A dictionary with the attributes of `GymnasiumTable`.

    Raises:
        ValueError: for a reward of another shape or one that is not finite, a stack of MDPs, or a horizon that makes
            the table too large.
        TypeError: when called with traced arrays.

    Example:
        >>> import mdps
        >>> grid = mdps.GridWorld.from_text("SG", {"S": "dirt", "G": "gold"}, discount=0.9, terminal=("gold",))
        >>> table = to_gymnasium(grid.mdp, grid.mdp.reward(grid.weights(gold=1.0)))
        >>> table[1][0]
        [(1.0, 2, 1.0, True)]
        >>> round(table.discount, 6)
        0.9
    """
    rows = _step_table("to_gymnasium", mdp, reward)
    initial = as_distributions("initial", mdp.initial, axes=(), dtype=np.float64)
    T, S = mdp.horizon, mdp.num_states
    if T is not None:
        size = T * sum(len(row) for actions in rows.values() for row in actions.values())
        if size > LARGEST:
            raise ValueError(
                f"with {T} steps in its states the table would have {size:,} entries; make_env keeps the states as "
                "they are, and truncates."
            )
        rows = _with_time(rows, T)
        initial = np.append(initial, np.zeros((T - 1) * S + 1))
    return GymnasiumTable(rows, initial, float(mdp.discount), T)


def _step_table(name: str, mdp: MDP, reward) -> dict[int, dict[int, list[tuple]]]:
    """The table of one step of an MDP, whatever its horizon."""
    mdp = check_mdp(mdp)
    require_concrete(name, mdp=mdp.probability, reward=reward)
    check_reward(mdp, reward)
    S, A = mdp.num_states, mdp.num_actions
    paid = np.asarray(check_real("reward", reward), float)
    paid = np.broadcast_to(paid[:, None] if paid.ndim == 1 else paid, (S, A))
    exists = np.ones((S, A), bool) if mdp.available is None else np.asarray(mdp.available)
    next_state = np.asarray(mdp.next_state)
    probability = as_distributions("probability", mdp.probability, axes=("state", "action"), dtype=np.float64)
    leaves = ((probability > 0) & (next_state != np.arange(S)[:, None])[:, None, :]).any(axis=-1)
    ends = ~(exists & (leaves | (paid != 0))).any(axis=1)
    table: dict[int, dict[int, list[tuple]]] = {s: {} for s in range(S)}
    for s, a in np.argwhere(exists).tolist():
        chances: dict[int, float] = {}
        for target, p in zip(next_state[s].tolist(), probability[s, a].tolist(), strict=True):
            if p > 0:
                chances[target] = chances.get(target, 0.0) + p
        table[s][a] = [(p, target, float(paid[s, a]), bool(ends[target])) for target, p in chances.items()]
    return table


def _with_time(rows: dict[int, dict[int, list[tuple]]], T: int) -> dict[int, dict[int, list[tuple]]]:
    """A table whose states are those of `rows` once for each of T steps, and then the end."""
    S = len(rows)

    def at(t: int, row: list[tuple]) -> list[tuple]:
        if t == T - 1:
            return [(1.0, T * S, row[0][2], True)]
        return [(p, (t + 1) * S + target, paid, ended) for p, target, paid, ended in row]

    timed = {t * S + s: {a: at(t, row) for a, row in rows[s].items()} for t in range(T) for s in range(S)}
    actions = sorted({a for row in rows.values() for a in row})
    return timed | {T * S: {a: [(1.0, T * S, 0.0, True)] for a in actions}}


def make_env(mdp: MDP, reward: Float[Array, " S"] | Float[Array, " S A"]):
    """A gymnasium environment that plays an MDP: integer observations and actions, one reward.

    Runs begin as `mdp.initial` says, terminate as in `to_gymnasium`, and are truncated after
    `mdp.horizon` steps if there is one.  Returns of episodes are not discounted; `metadata` holds the discount that was
    meant, and the horizon.  Where some actions do not exist everywhere, `info["action_mask"]` says which do.

    Args:
        mdp: the MDP.
        reward: `[S]` or `[S, A]`.

    Returns:
        A `gymnasium.Env`.  It has the attributes `P` (of one step: without time in the states) and
        `initial_state_distrib`, so that `from_gymnasium` reads it back, when told the discount and the horizon.

    Raises:
        ImportError: if gymnasium is not installed.
        ValueError: as `to_gymnasium`; `step` raises it for an action that does not exist.
    """
    try:
        import gymnasium
    except ImportError as error:
        raise ImportError(
            'make_env needs gymnasium, which is not installed; pip install "inverse-reward-design[gymnasium]".'
        ) from error
    table = _step_table("make_env", mdp, reward)
    initial = as_distributions("initial", mdp.initial, axes=(), dtype=np.float64)
    horizon, masked = mdp.horizon, mdp.available is not None

    class TabularEnv(gymnasium.Env):
        """An MDP as a gymnasium environment."""

        metadata = {"render_modes": [], "discount": float(mdp.discount), "horizon": horizon}  # noqa: RUF012
        observation_space = gymnasium.spaces.Discrete(mdp.num_states)
        action_space = gymnasium.spaces.Discrete(mdp.num_actions)

        def __init__(self):
            self.P = table
            self.initial_state_distrib = initial
            self.state, self.time = 0, 0

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.state = int(self.np_random.choice(len(initial), p=initial))
            self.time = 0
            return self.state, self._info()

        def step(self, action):
            known = self.action_space.contains(action) and int(action) in self.P[self.state]
            if not known:
                raise ValueError(f"state {self.state} has no action {action!r}; it has {list(self.P[self.state])}.")
            rows = self.P[self.state][int(action)]
            chance = np.array([row[0] for row in rows])
            _, self.state, paid, terminated = rows[int(self.np_random.choice(len(rows), p=chance))]
            self.time += 1
            return self.state, paid, terminated, horizon is not None and self.time >= horizon, self._info()

        def _info(self):
            if not masked:
                return {}
            mask = np.zeros(mdp.num_actions, np.int8)
            mask[list(self.P[self.state])] = 1
            return {"action_mask": mask}

    return TabularEnv()
