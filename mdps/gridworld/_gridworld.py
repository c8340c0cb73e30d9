"""Worlds drawn as maps: terrain under every cell, four moves, and rewards named by terrain."""

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from mdps.checks import check_count, check_horizon_and_discount, check_number, check_truth, is_concrete
from mdps.gridworld import _maps, _moves, _plots
from mdps.kernels.layout import Layout
from mdps.mdp import MDP, ending
from mdps.pytrees import frozen_pytree


@frozen_pytree
@dataclass(frozen=True)
class GridWorld:
    """A map of terrain with its MDP.

    States are the cells that are not walls, row by row, then the end state if `terminal` names
    any terrain.  Actions are up, right, down, left; a move off the map or into a wall stays.  With
    probability `slip` the move goes to one of the two perpendicular directions instead (half each).
    Every cell emits the features of its terrain on leaving it.  A goal keeps the agent and goes on
    emitting, so every run has the same number of steps; a cell of `terminal` terrain pays once and
    leads to the end state, which emits nothing.

    Build one with `from_text`, `from_toml` or `from_terrain`.

    Attributes:
        mdp: the MDP; `mdp.feature_names` are the terrain names, then "step" if asked for.
        terrain: terrain of each cell, an index into `names`; -1 is a wall.
        cell: state of each cell; -1 is a wall.
        goal: which states are goals.
        names: terrain names (static).
        terminal: names of the terrains that end all reward (static).
    """

    mdp: MDP
    terrain: Int[Array, " H W"]
    cell: Int[Array, " H W"]
    goal: Bool[Array, " S"]
    names: tuple[str, ...] = field(metadata={"static": True})
    terminal: tuple[str, ...] = field(default=(), metadata={"static": True})

    def __repr__(self) -> str:
        size = " × ".join(map(str, np.shape(self.cell)))
        return f"GridWorld({size} cells of {', '.join(self.names)}; {self.mdp!r})"

    @staticmethod
    def from_text(
        text: str | Sequence[str],
        legend: Mapping[str, str],
        *,
        start: str = "S",
        goal: str | None = "G",
        wall: str | None = "#",
        slip: ArrayLike = 0.0,
        discount: ArrayLike = 1.0,
        horizon: int | None = None,
        terminal: Sequence[str] = (),
        step: bool = False,
        initial=None,
        emissions=None,
        feature_names: Sequence[str] | None = None,
    ) -> "GridWorld":
        """Read a map from text, one character per cell.

        Blank lines around the map are dropped, and so is what all lines of a string are indented by, also where
        the legend gives the space a meaning; elsewhere trailing spaces are dropped too.  A map whose first column
        is all spaces that mean something is given as a list of its rows, which are taken as they are.

        Args:
            text: the map, or its lines.
            legend: terrain name of each character, the start's and the goal's included.
            start: character of the cells where runs begin, with equal probability where there are several.
            goal: character of the goal cells; a map may have none, one or several.
            wall: character of cells that cannot be entered, or None.
            slip: probability of moving perpendicular to the action, split between both sides.
            discount: discount factor per step; below 1 unless a horizon is given.
            horizon: number of steps (static), or None for an endless MDP.
            terminal: terrains that pay once, on leaving, and then end all reward.
            step: add a feature "step" that is 1 per step until a goal or terminal terrain is entered.
            initial: probability of starting in each cell `[H, W]`, or in each state `[S]`, in place of what
                the start's character says; a map may then do without that character.
            emissions: features of each terrain, `[number of terrains, K]` or a mapping from terrain to
                `[K]`; None: one indicator per terrain.
            feature_names: names of the `K` emitted features; the terrain names when left out.

        Returns:
            The grid; its terrains are the legend's names in order of first appearance in the
            legend, present on the map or not.

        Raises:
            ValueError: for an empty or ragged map, a character that the legend does not know (with
                its line and column, from 1), no start, or a setting out of range.

        Example:
            >>> grid = GridWorld.from_text('''
            ...     S..
            ...     .~G
            ... ''', {"S": "dirt", ".": "dirt", "~": "grass", "G": "target"}, discount=0.9)
            >>> grid.mdp.feature_names
            ('dirt', 'grass', 'target')
            >>> grid.mdp.reward(grid.weights(target=1.0)).tolist()
            [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
        """
        terrain, names, starts, goals = _maps.parse(text, legend, start=start, goal=goal, wall=wall)
        if initial is None and not starts.any():
            raise ValueError(f"the map has no start cell {start!r}; it needs at least one, or initial.")
        return GridWorld.from_terrain(
            terrain,
            names,
            start=starts if initial is None else None,
            goal=goals if goals.any() else None,
            walls=terrain < 0,
            slip=slip,
            discount=discount,
            horizon=horizon,
            terminal=terminal,
            step=step,
            initial=initial,
            emissions=emissions,
            feature_names=feature_names,
        )

    @staticmethod
    def from_terrain(
        terrain: Int[Array, " H W"] | np.ndarray,
        names: Sequence[str],
        *,
        start=None,
        goal,
        walls: np.ndarray | None = None,
        slip: ArrayLike = 0.0,
        discount: ArrayLike = 1.0,
        horizon: int | None = None,
        terminal: Sequence[str] = (),
        step: bool = False,
        initial=None,
        emissions=None,
        feature_names: Sequence[str] | None = None,
    ) -> "GridWorld":
        """Build a grid from an array of terrain; traceable, so maps can be drawn inside `jit` and `vmap`.

        The successor and predecessor tables depend on the shape, the walls and whether `terminal`
        is empty, and on nothing traced: a batch of maps shares them.

        Args:
            terrain: terrain of each cell, an index into `names`, `[H, W]`; ignored under walls.
            names: terrain names.
            start: (row, column) of the cell where runs begin, or its number `row * W + column`, or a mask
                `[H, W]` of cells that runs begin in with equal probability.
            goal: (row, column) or number of the goal, a mask `[H, W]` of goal cells, or None.  A goal
                emits whatever terrain it stands on.
            walls: concrete mask `[H, W]` of cells that cannot be entered; None for none.
            slip: as in `from_text`, like all that follow.
            discount: discount factor per step.
            horizon: number of steps, or None.
            terminal: terrains that pay once and then end all reward.
            step: add the feature "step".
            initial: probability of starting in each cell `[H, W]` or state `[S]`, in place of `start`.
            emissions: features of each terrain, `[number of terrains, K]` or a mapping.
            feature_names: names of the `K` emitted features.

        Returns:
            The grid.  Traced values are not checked: a start or goal off the map or on a wall
            then starts nowhere or marks nothing.

        Raises:
            ValueError: for values out of range (concrete arrays only) or wrong shapes.
            TypeError: for traced walls, which decide the number of states.

        Example:
            >>> import jax
            >>> def corner_value(key):
            ...     terrain = jax.random.randint(key, (3, 3), 0, 2).at[2, 2].set(2)
            ...     grid = GridWorld.from_terrain(terrain, ("dirt", "grass", "target"), start=(0, 0), goal=(2, 2),
            ...                                   discount=0.9)
            ...     return (grid.mdp.reward(grid.weights(target=1.0)) @ grid.mdp.initial)
            >>> jax.jit(jax.vmap(corner_value))(jax.random.split(jax.random.key(0), 4)).tolist()
            [0.0, 0.0, 0.0, 0.0]
        """
        names, terminal = _maps.check_terrains(names, terminal)
        check_horizon_and_discount(horizon, discount, ends=True)
        check_number("slip", slip, lambda p: 0 <= p <= 1, "it is a probability and must lie in [0, 1].")
        walls = _maps.check_walls(terrain, walls)
        terrain = _maps.check_terrain(terrain, walls, names)
        emitted, emitted_names = _maps.check_emissions(names, emissions, feature_names)
        dtype = jnp.result_type(float)
        row, column = np.nonzero(~walls)
        n, S = len(row), len(row) + bool(terminal)
        begins = _maps.check_initial(start, initial, walls, S, dtype)
        goals: Any = np.zeros(n, bool) if goal is None else _maps.mark(goal, "goal", walls)[row, column]
        ground = terrain[row, column]
        ends = _is_one_of(ground, [names.index(name) for name in terminal])
        cell = np.full(walls.shape, -1, np.int32)
        cell[row, column] = np.arange(n)
        next_state, blocked, predecessor_state, predecessor_slot, shifts = _moves.successor_tables(
            walls, cell, bool(terminal)
        )

        # On the host where nothing is traced: NumPy compiles nothing, whatever the number of cells.
        known = all(is_concrete(x) for x in (begins, goals, ground, slip, emitted))
        xp = np if known else jnp
        features = xp.asarray(emitted, dtype)[ground]
        if check_truth("step", step):
            emitted_names = _with_step(emitted_names)
            features = xp.concatenate([features, xp.asarray(~(goals | ends), dtype)[:, None]], axis=1)
        mdp = MDP(
            next_state=jnp.asarray(next_state),
            probability=jnp.asarray(
                _moves.chance_of_slots(xp, blocked, goals, ends, xp.asarray(slip, dtype), bool(terminal))
            ),
            predecessor_state=jnp.asarray(predecessor_state),
            predecessor_slot=jnp.asarray(predecessor_slot),
            features=jnp.asarray(_pad(xp, features, S)),
            initial=jnp.asarray(begins, dtype),
            discount=jnp.asarray(discount, dtype),
            horizon=horizon,
            feature_names=emitted_names,
            layout=Layout(
                shifts=shifts,
                aligned=True,
                slots=_moves.slots_of_moves(slip, bool(terminal)),
                sink=S - 1 if terminal else None,
                stay=_moves.STAY,
            ),
        )
        if horizon is None:
            mdp = ending(mdp)
        if goal is not None and all(is_concrete(x) for x in (begins, goals, ends)):
            _maps.warn_of_unreachable_goals(next_state, begins[:n] > 0, goals, ends, row, column)
        return GridWorld(
            mdp=mdp,
            terrain=jnp.asarray(xp.where(walls, -1, terrain), jnp.int32),
            cell=jnp.asarray(cell),
            goal=jnp.asarray(_pad(xp, xp.asarray(goals), S)),
            names=names,
            terminal=terminal,
        )

    @staticmethod
    def from_toml(path: str | Path) -> "GridWorld":
        r"""Read a grid from a TOML file.

        The file holds the arguments of `from_text` by name: `map` (the text) and the table
        `[legend]` are needed; `start`, `goal`, `wall`, `slip`, `discount`, `horizon`, `terminal`,
        `step`, the table `[emissions]` (terrain = [numbers]) and `feature_names` are as there.
        `title`, `source` and `notes` are free text and not read.  A literal string (three single
        quotes) keeps backslashes in a map as they are.

        Args:
            path: the file.

        Raises:
            ValueError: naming the file and the key, for anything missing, unknown or out of range.
            FileNotFoundError: if there is no such file.

        Example:
            >>> import pathlib, tempfile
            >>> file = pathlib.Path(tempfile.mkdtemp()) / "small.toml"
            >>> _ = file.write_text('map = "S.G"\ndiscount = 0.9\n[legend]\nS = "dirt"\n"." = "dirt"\nG = "target"\n')
            >>> GridWorld.from_toml(file).mdp.num_states
            3
        """
        text, arguments = _maps.read_toml(path)
        try:
            return GridWorld.from_text(text, **arguments)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def weights(self, named: Mapping[str, ArrayLike] | None = None, /, **more: ArrayLike) -> Float[Array, " K"]:
        """Reward weights by feature name, `[K]`; those not named are 0.

        Args:
            named: weights by name as a mapping, for names that are not Python words.
            **more: weights by name.

        Raises:
            ValueError: for a name that this grid does not have.

        Example:
            >>> grid = GridWorld.from_text("S.G", {"S": "dirt", ".": "tall grass", "G": "target"}, discount=0.9)
            >>> [round(w, 2) for w in grid.weights({"tall grass": -0.5}, target=1.0).tolist()]
            [0.0, -0.5, 1.0]
        """
        wanted = {**(named or {}), **more}
        known = self.mdp.feature_names
        for name in wanted:
            if name not in known:
                raise ValueError(
                    f"there is no feature {name!r} here; the features of this grid are {_maps.quoted(known)}."
                )
        dtype = self.mdp.features.dtype
        values = [check_number(name, wanted.get(name, 0.0), dtype=dtype) for name in known]
        if all(is_concrete(value) for value in values):
            return jnp.asarray(np.array(values, dtype))
        return jnp.stack([jnp.asarray(value, dtype) for value in values])

    def where(self, *terrains: str) -> Bool[Array, " S"]:
        """Which states are cells of the terrains named; what `visit_probability` asks for.

        Raises:
            ValueError: for a terrain that this grid does not know.

        Example:
            >>> grid = GridWorld.from_text("SLG", {"S": "dirt", "L": "lava", "G": "target"}, discount=0.9)
            >>> grid.where("lava", "target").tolist()
            [False, True, True]
        """
        for name in terrains:
            if name not in self.names:
                raise ValueError(f"there is no terrain {name!r} here; this grid has {_maps.quoted(self.names)}.")
        return _states_of(self.cell, self.terrain, tuple(map(self.names.index, terrains)), self.mdp.num_states)

    def most_likely_path(
        self,
        policy: Float[Array, " ... S A"] | np.ndarray,
        num_steps: int,
        *,
        start: tuple[int, int] | None = None,
    ) -> list[tuple[int, int]]:
        """The cells (row, column) of the likeliest action and outcome at each step, on the host.

        Among tied actions it keeps to its last direction if it can.  The path ends where the run is
        absorbed, or after `num_steps` moves.

        Args:
            policy: `[S, A]`, or `[T, S, A]` with a horizon.
            num_steps: most moves.
            start: the cell (row, column) to begin in; None: the likeliest start, of equals the first.
        """
        choice, num_steps = _plots.host_policy(self, policy), check_count("num_steps", num_steps, 0)
        state = int(np.argmax(self.mdp.initial)) if start is None else _plots.state_of(self, start)
        return _plots.walk(self, choice, state, num_steps)

    def most_likely_paths(
        self, policy: Float[Array, " ... S A"] | np.ndarray, num_steps: int
    ) -> list[list[tuple[int, int]]]:
        """`most_likely_path` from each cell that runs may begin in, in the order of the states.

        Example:
            >>> grid = GridWorld.from_text("S.GS", {"S": "dirt", ".": "dirt", "G": "target"}, discount=0.9)
            >>> grid.most_likely_paths(np.eye(4)[[1, 1, 1, 3]], 5)  # right, and left from the last cell
            [[(0, 0), (0, 1), (0, 2)], [(0, 3), (0, 2)]]
        """
        choice, num_steps = _plots.host_policy(self, policy), check_count("num_steps", num_steps, 0)
        cells = np.asarray(self.cell)
        starts = np.flatnonzero(np.asarray(self.mdp.initial) > 0)
        return [_plots.walk(self, choice, int(s), num_steps) for s in starts if s <= cells.max()]

    def show(self, policy: Float[Array, " ... S A"] | np.ndarray | None = None) -> str:
        """The map as text, with a policy's actions as arrows.

        Every cell is a letter for its terrain (S start, G goal, # wall); after it, the action of
        the policy, and * where the likeliest path from a start comes by.  Tied actions are joined by
        lines towards where they lead: └ is up or right, ┼ all four.  Of a policy with a horizon the
        first step is shown; on the path, what is done when it comes there.

        Example:
            >>> grid = GridWorld.from_text("S.G", {"S": "dirt", ".": "dirt", "G": "target"}, discount=0.9)
            >>> print(grid.show())
            S d G
            d dirt, t target; S start, G goal
            >>> print(grid.show(np.eye(4)[[1, 1, 1]]))
            S→*d→*G *
            d dirt, t target; S start, G goal, * likeliest path
            arrows: likeliest actions, tied ones joined: └ up or right, ┼ any
        """
        return _plots.text(self, policy)

    def plot(
        self,
        policy: Float[Array, " ... S A"] | np.ndarray | None = None,
        *,
        trajectories=None,
        values: Float[Array, " S"] | Float[Array, " H W"] | np.ndarray | None = None,
        value_label: str = "value",
        title: str | None = None,
        legend: bool = True,
        ax=None,
    ):
        """Draw the map with matplotlib.

        Args:
            policy: arrows for its actions, `[S, A]`, or the first step of `[T, S, A]`; the likeliest path from each
                start is drawn too, unless other trajectories are.
            trajectories: paths to draw, a mapping from label to path or a sequence of paths, each a sequence of
                (row, column), as `most_likely_path` makes them, or of states, as `rollout` does.  In place of a
                path there may be a list of paths of cells, from several starts (`most_likely_paths`).
            values: one number per state `[S]` or per cell `[H, W]`, drawn as a heat map in place of the terrain.
            value_label: what the numbers are, beside the colour bar.
            title: title of the picture.
            legend: whether to name the terrains and trajectories.
            ax: matplotlib axes to draw on; new ones when left out.

        Returns:
            The matplotlib axes.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        return _plots.plot(
            self,
            policy,
            trajectories=trajectories,
            values=values,
            value_label=value_label,
            title=title,
            legend=legend,
            ax=ax,
        )


def _is_one_of(index, numbers: Sequence[int]):
    return functools.reduce(operator.or_, [index == i for i in numbers], np.zeros(np.shape(index), bool))


@functools.partial(jax.jit, static_argnums=(2, 3))
def _states_of(cell: Array, terrain: Array, numbers: tuple[int, ...], num_states: int) -> Array:
    """Which states are cells of the terrains of these numbers, `[S]`."""
    state = jnp.where(cell < 0, num_states, cell)  # walls fall off the end
    return jnp.zeros(num_states, bool).at[state].set(_is_one_of(terrain, numbers), mode="drop")


def _pad(xp, x, length: int):
    """`x` with zeros for the end state."""
    return xp.concatenate([x, np.zeros((length - x.shape[0], *x.shape[1:]), x.dtype)])


def _with_step(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of features with that of the step."""
    if "step" in names:
        raise ValueError("step=True adds a feature 'step', but a terrain or feature bears that name; rename it.")
    return (*names, "step")
