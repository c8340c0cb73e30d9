"""Other people's worlds: gymnasium's transition tables in and out, MiniGrid's grids in."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from mdps.checks import as_distributions, check_mdp, check_real, check_reward, require_concrete
from mdps.graph import from_edges
from mdps.gridworld import GridWorld
from mdps.mdp import MDP

LARGEST = 10_000_000  # entries of a table with time in its states


def from_gymnasium(
    env_or_P: Any,
    *,
    discount: float,
    horizon: int | None = None,
    initial: Array | np.ndarray | Sequence[float] | None = None,
) -> tuple[MDP, Float[Array, " S A"]]:
    """Read a gymnasium environment's table `P[s][a] = [(probability, next state, reward, terminated), ...]`.

    In such a table `terminated` ends all reward, whatever the next state is (CliffWalking's goal
    and Taxi's drop-off do not absorb by themselves).  Here those edges pay their reward and lead to
    an end state, added as the last state, which no action leaves and which pays nothing.

    Args:
        env_or_P: an environment with a table (FrozenLake, CliffWalking, Taxi, ...), or the table.
        discount: discount factor per step; below 1 unless a horizon is given.
        horizon: number of steps, or None for an endless MDP.
        initial: probability of starting in each state of the table; None: the environment's own
            `initial_state_distrib`.

    Returns:
        The MDP, with the single feature "reward" of each state and action, and the expected reward
        `[S, A]`, which is also `mdp.reward([1.0])`.

    Raises:
        ValueError: for an environment without a table, or a bad entry, naming its state and action.

    Example:
        >>> table = {0: {0: [(0.5, 0, 0.0, False), (0.5, 1, 1.0, True)]}, 1: {0: [(1.0, 1, 5.0, False)]}}
        >>> mdp, reward = from_gymnasium(table, discount=0.9, initial=[1.0, 0.0])
        >>> reward.tolist()  # the last state is the end
        [[0.5], [5.0], [0.0]]
    """
    P = env_or_P
    if not isinstance(P, Mapping | list | tuple):
        env = getattr(env_or_P, "unwrapped", env_or_P)
        P = getattr(env, "P", None)
        if P is None:
            raise ValueError(
                f"{type(env).__name__} has no transition table P; only tabular environments such as FrozenLake, "
                "CliffWalking and Taxi can be read."
            )
        if initial is None:
            initial = getattr(env, "initial_state_distrib", None)
    if initial is None:
        raise ValueError("a bare table says nothing of where runs begin; give initial, one probability per state.")
    S, A, rows = _read(P)
    require_concrete("from_gymnasium", initial=initial)
    initial = np.asarray(initial, float)
    if initial.shape != (S,):
        raise ValueError(f"initial has shape {initial.shape}; this table has {S} states, so it must be [{S}].")
    origin, action, chance, target, paid, ended = (np.array(column) for column in zip(*rows, strict=True))
    ended = ended.astype(bool)
    any_end = bool(ended.any())
    reward = np.zeros((S + any_end, A))
    np.add.at(reward, (origin, action), chance * paid)
    if any_end:
        target = np.where(ended, S, target)
        last = np.full(A, S)
        origin, action, target = (np.concatenate(x) for x in ((origin, last), (action, np.arange(A)), (target, last)))
        chance, initial = np.concatenate([chance, np.ones(A)]), np.append(initial, 0.0)
    mdp = from_edges(
        origin,
        action,
        target,
        chance,
        reward[:, :, None],
        initial,
        num_actions=A,
        sink=S if any_end else None,
        discount=discount,
        horizon=horizon,
        feature_names=("reward",),
    )
    return mdp, mdp.features[:, :, 0]


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
    rows = _rows("to_gymnasium", mdp, reward)
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


def _rows(name: str, mdp: MDP, reward) -> dict[int, dict[int, list[tuple]]]:
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
    table = _rows("make_env", mdp, reward)
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


_MINIGRID_OBJECTS = ("unseen", "empty", "wall", "floor", "door", "key", "ball", "box", "goal", "lava", "agent")


def from_minigrid(env: Any, *, discount: float = 1.0, horizon: int | None = None, step: bool = False) -> GridWorld:
    """Read the map of a MiniGrid environment: floor, walls, lava and goals.

    Only the map is taken over.  The agent's heading and its turns are dropped (four moves take
    their place), and so is the time-dependent reward.  As in MiniGrid, entering lava or a goal ends the
    episode: both are terminal, paid once.  MiniGrid counts (x, y) from the top left; here cells are
    (row, column).

    Args:
        env: an environment that has been reset.
        discount: discount factor per step; below 1 unless a horizon is given.
        horizon: number of steps; None: endless.
        step: add the feature "step".

    Returns:
        A `GridWorld` with the terrains "floor", "lava" and "goal", present or not.

    Raises:
        ValueError: for an environment that was not reset, or objects that a map of terrain
            cannot hold (doors, keys, balls, boxes).
    """
    env = getattr(env, "unwrapped", env)
    grid, position = getattr(env, "grid", None), getattr(env, "agent_pos", None)
    if grid is None or position is None or min(position) < 0:
        raise ValueError(
            f"{type(env).__name__} has no grid or agent yet; call env.reset(seed=...) first, on a MiniGrid environment."
        )
    kind = np.asarray(grid.encode())[:, :, 0].T  # encode() is [x, y]: transposed to [row, column]
    for r, c in np.argwhere(~np.isin(kind, [1, 2, 3, 8, 9])):
        what = _MINIGRID_OBJECTS[kind[r, c]] if kind[r, c] < len(_MINIGRID_OBJECTS) else f"object {kind[r, c]}"
        raise ValueError(f"row {r}, column {c} holds a {what}; a GridWorld can hold floor, walls, lava and goals only.")
    terrain = np.select([kind == 9, kind == 8], [1, 2], 0)
    goal = kind == 8
    return GridWorld.from_terrain(
        terrain,
        ("floor", "lava", "goal"),
        start=(int(position[1]), int(position[0])),
        goal=goal if goal.any() else None,
        walls=kind == 2,
        discount=discount,
        horizon=horizon,
        terminal=("lava", "goal"),
        step=step,
    )


def _read(P) -> tuple[int, int, list[tuple[int, int, float, int, float, bool]]]:
    """The table as a list of (state, action, probability, next state, reward, terminated), checked."""
    S = len(P)
    by_state = P if isinstance(P, Mapping) else dict(enumerate(P))
    if S == 0 or set(by_state) != set(range(S)):
        raise ValueError(
            f"the table's states must be the numbers 0 to one less than their count; they are {list(by_state)[:10]}."
        )
    A = len(by_state[0])
    rows = []
    for s in range(S):
        actions = by_state[s] if isinstance(by_state[s], Mapping) else dict(enumerate(by_state[s]))
        if A == 0 or set(actions) != set(range(A)):
            raise ValueError(
                f"state {s} has the actions {list(actions)}; every state needs the same actions, "
                f"0 to A-1 (state 0 has {A})."
            )
        for a in range(A):
            total = 0.0
            for entry in actions[a]:
                if len(entry) != 4:
                    raise ValueError(
                        f"P[{s}][{a}] holds {entry!r}; every entry is (probability, next state, reward, terminated)."
                    )
                p, target, paid, ended = float(entry[0]), int(entry[1]), float(entry[2]), bool(entry[3])
                if not np.isfinite(p) or p < 0:
                    raise ValueError(f"P[{s}][{a}] holds the probability {p}; it must be finite and not negative.")
                if not 0 <= target < S or target != entry[1]:
                    raise ValueError(f"P[{s}][{a}] leads to state {entry[1]}, but the states are 0..{S - 1}.")
                if not np.isfinite(paid):
                    raise ValueError(f"P[{s}][{a}] pays {paid}; every reward must be finite.")
                total += p
                rows.append((s, a, p, target, paid, ended))
            if abs(total - 1) > 1e-5:
                raise ValueError(f"the probabilities of P[{s}][{a}] sum to {total:.6g}; they must sum to one.")
    return S, A, rows
