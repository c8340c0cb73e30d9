"""From a simulator with few states to a table: every state that a step function can reach, and the MDP of them."""

import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float

from mdps.checks import check_count, check_horizon_and_discount, check_names, is_concrete, shown
from mdps.mdp import MDP


@dataclass(frozen=True)
class End:
    """What a step leads to when the run is over; all ends are one state of the MDP.

    Attributes:
        reason: anything that `features` wants to know of it, such as what was entered.

    Example:
        >>> End("water")
        End('water')
    """

    reason: Any = None

    def __repr__(self) -> str:
        return "End()" if self.reason is None else f"End({self.reason!r})"


@dataclass(frozen=True, eq=False)
class Explored:
    """A table, and which states of a simulator it is about.

    Attributes:
        mdp: the MDP; its state `i` is `states[i]`, its action `a` is `actions[a]`.
        states: the simulator's states in the order in which they were found, `End()` last if a run can end.
        actions: the actions as `step` was given them.
    """

    mdp: MDP
    states: tuple[Hashable, ...]
    actions: tuple[Any, ...]
    _number: dict[Hashable, int] = field(repr=False)

    def __repr__(self) -> str:
        return f"Explored({self.mdp!r})"

    def index(self, state: Hashable) -> int:
        """The number of a state in the MDP.

        Raises:
            ValueError: for a state that no run reaches.
        """
        try:
            return self._number[End() if isinstance(state, End) else state]  # all ends are one
        except (KeyError, TypeError):
            raise ValueError(
                f"no run reaches the state {_said(state)}; there are {len(self.states)}, such as {self.states[0]!r}."
            ) from None

    def where(self, test: Callable[[Any], Any]) -> Bool[np.ndarray, " S"]:
        """Which states pass a test, `[S]`, as `visit_probability` asks for; the end, which has no parts, never does."""
        return np.array([not isinstance(state, End) and bool(test(state)) for state in self.states])

    def policy(self, choose: Callable[[Any], Any]) -> Float[np.ndarray, " S A"]:
        """The policy that takes the action `choose(state)` in each state, `[S, A]`; `choose` is not asked at the end.

        Raises:
            ValueError: for a choice that is no action, or none that exists in that state.
        """
        exist = None if self.mdp.available is None else np.asarray(self.mdp.available)
        rows = np.zeros((len(self.states), len(self.actions)))
        for s, state in enumerate(self.states):
            action = self.actions[0] if isinstance(state, End) else choose(state)
            if action not in self.actions:
                raise ValueError(f"choose gives {_said(action)} in state {state!r}; the actions are {self.actions}.")
            a = self.actions.index(action)
            if exist is not None and not exist[s, a]:
                raise ValueError(f"choose gives {action!r} in state {state!r}, where it is not available.")
            rows[s, a] = 1
        return rows


def explore(
    start: Any,
    step: Callable[[Any, Any], Any],
    features: Callable[..., Any],
    *,
    actions: int | Sequence[Any],
    feature_names: Sequence[str] | None = None,
    discount: float = 1.0,
    horizon: int | None = None,
    available: Callable[[Any, Any], bool] | None = None,
    max_states: int = 100_000,
) -> Explored:
    """The MDP of a simulator with few states: follow every action from the start, and number what is found.

    This is the general door from code to a table.  States are whatever the simulator has, as long as it can be hashed
    and says all that matters for what comes next: tuples, strings, frozen dataclasses.  What is hidden inside the
    simulator (a counter, a random generator) is not seen, so `step` must be a function of its two arguments.  It is
    asked once for each state and action, on the host: 100,000 states take seconds.

    Args:
        start: one state; a list of states, equally likely; or a dictionary from states to probabilities.
        step: `step(state, action)` gives the next state; or, where chance decides, a list of pairs
            `(next_state, probability)` or a dictionary from next states to probabilities.  A next state `worlds.End()`
            ends the run: it keeps the agent, has no features, and is the last state of the MDP.
        features: `features(state, action, next_state)`, or `features(state, action)`: the feature counts of that step,
            K numbers.  Those of the transition are averaged over the next states.
        actions: how many, which `step` is then given as 0 … A-1; or a sequence of what it is to be given, such as
            names.
        feature_names: one name per feature; "feature 0", "feature 1", ... when left out.
        discount: discount factor; below 1 unless a horizon is given, or every run ends.
        horizon: number of steps, or None for an endless MDP.
        available: `available(state, action)`, whether the action exists there; None: every one does.  `step` is not
            asked about the others.
        max_states: how many states may be found before it is an error.

    Returns:
        An `Explored`: the `mdp`, and the `states` by number (`index` is the way back).

    Raises:
        ValueError: for more than `max_states` states; no action, or none that exists in some state; a state that
            cannot be hashed; probabilities that are negative, not finite or do not sum to one; features that are not
            K finite numbers; all of it named by state and action.
        TypeError: for functions that are none, and traced numbers.

    Example:
        A ladder of four rungs: a climb fails one time in ten, and whoever jumps is done.

        >>> import jax.numpy as jnp, mdps
        >>> from mdps import worlds
        >>> def step(rung, action):
        ...     if action == "jump":
        ...         return worlds.End()
        ...     return [(min(rung + 1, 3), 0.9), (rung, 0.1)]
        >>> def features(rung, action, after):
        ...     return [rung if action == "jump" else 0, 1]
        >>> ladder = worlds.explore(
        ...     0, step, features, actions=("climb", "jump"), feature_names=("height", "step"), horizon=10
        ... )
        >>> ladder.states
        (0, 1, 2, 3, End())
        >>> best = mdps.solve(ladder.mdp, ladder.mdp.reward(jnp.array([10.0, -1.0])))
        >>> [ladder.actions[a] for a in best.policy[0].argmax(axis=1)[:4]]
        ['climb', 'climb', 'climb', 'jump']
    """
    _check_functions(step=step, features=features, available=available)
    most, named = check_count("max_states", max_states), _actions(actions)
    check_horizon_and_discount(horizon, discount, ends=True)
    search = _Exploration(step, _of_three(features), named, available, most)
    begins = _outcomes(start, "start", lists=False)
    search.follow([search.begin(state) for state, _ in begins])
    return search.table([chance for _, chance in begins], feature_names, discount, horizon)


class _Exploration:
    """States as they are found, and the edges between them."""

    def __init__(self, step, features, actions, available, most):
        self.step, self.features, self.actions, self.available, self.most = step, features, actions, available, most
        self.numbers: dict[Hashable, int] = {}
        self.states: list[Any] = []
        self.begins: list[int] = []
        self.edges: list[tuple[int, int, int, float]] = []  # origin, action, target (-1 the end), probability
        self.counts: list[np.ndarray] = []  # features of each edge
        self.missing: list[tuple[int, int]] = []

    def begin(self, state: Any) -> int:
        if isinstance(state, End):
            raise ValueError("start holds an End; runs need a state to begin in.")
        return self.number(state, lambda: "start holds")

    def number(self, state: Any, said: Callable[[], str]) -> int:
        """The number of a state, which is a new one if it is not known yet; -1 for an end."""
        if isinstance(state, End):
            return -1
        if state is None or state is End or inspect.isgenerator(state):
            raise ValueError(
                f"{said()} {_said(state)}, which is no state; let step return the next state, worlds.End(), or a list "
                "of pairs (next_state, probability)."
            )
        try:
            known = self.numbers.get(state)
        except TypeError:
            raise ValueError(
                f"{said()} {_said(state)}, which cannot be hashed; give states as tuples, strings or frozen "
                "dataclasses (of a NumPy array, tuple(x.tolist()))."
            ) from None
        if known is None:
            known = self.numbers[state] = len(self.states)
            if known == self.most:
                raise ValueError(
                    f"more than max_states={self.most} states were found, the last {_said(state)}; raise max_states, "
                    "or leave out of the state what decides nothing (a clock, a score)."
                )
            self.states.append(state)
        return known

    def follow(self, begins: list[int]) -> None:
        """Take every action in every state, in the order in which states are found."""
        self.begins = begins
        done = 0
        while done < len(self.states):
            some = False
            for a in range(len(self.actions)):
                if self._exists(done, a):
                    some = True
                    self._take(done, a)
                else:
                    self.missing.append((done, a))
            if not some:
                raise ValueError(
                    f"no action is available in state {_said(self.states[done])}; let one stay, or let the step before "
                    "it lead to an End."
                )
            done += 1

    def _exists(self, s: int, a: int) -> bool:
        if self.available is None:
            return True
        flag = self.available(self.states[s], self.actions[a])
        if not isinstance(flag, bool | np.bool_):
            raise ValueError(f"available gives {_said(flag)} {self._at(s, a)}; give True or False.")
        return bool(flag)

    def _at(self, s: int, a: int) -> str:
        return f"in state {_said(self.states[s])} after action {self.actions[a]!r}"

    def _take(self, s: int, a: int) -> None:
        state, action = self.states[s], self.actions[a]
        after = self.step(state, action)
        several = isinstance(after, list | Mapping)
        outcomes = _outcomes(after, f"step {self._at(s, a)}", lists=True) if several else [(after, 1.0)]
        for target, chance in outcomes:
            if chance > 0:
                self.edges.append((s, a, self.number(target, lambda: f"step {self._at(s, a)} leads to"), chance))
                self.counts.append(self._features(self.features(state, action, target), s, a))

    def _features(self, given: Any, s: int, a: int) -> np.ndarray:
        try:
            counts = np.array(given)
        except jax.errors.TracerArrayConversionError:
            raise TypeError(
                "explore builds tables on the host, but features gives tracers; call it outside jit."
            ) from None
        except (ValueError, TypeError):
            counts = np.array(None)
        if counts.ndim != 1 or not counts.size or counts.dtype.kind not in "biuf":
            raise ValueError(f"features {self._at(s, a)} are {_said(given)}; give K numbers, as a sequence.")
        if self.counts and len(counts) != len(self.counts[0]):
            raise ValueError(
                f"features {self._at(s, a)} are {len(counts)} numbers, and {len(self.counts[0])} before; give the same "
                "K numbers for every step, 0 for what does not happen."
            )
        return counts

    def table(self, chances, feature_names, discount, horizon) -> Explored:
        """The MDP of what was found."""
        origin, action, target = (np.array([edge[i] for edge in self.edges]) for i in range(3))
        chance, counts = np.array([edge[3] for edge in self.edges]), np.stack(self.counts).astype(float)
        odd = np.flatnonzero(~np.isfinite(counts).all(axis=1))
        if odd.size:
            said = self._at(int(origin[odd[0]]), int(action[odd[0]]))
            raise ValueError(f"features {said} are {counts[odd[0]].tolist()}; every one must be finite.")
        ends = bool((target < 0).any())
        S, A, K = len(self.states) + ends, len(self.actions), counts.shape[1]
        if feature_names is not None:
            check_names(feature_names, K)
        target = np.where(target < 0, S - 1, target)
        # Which of a state and action's edges each is: they were found one after the other.
        row = origin * A + action
        begins = np.flatnonzero(np.diff(row, prepend=-1))
        slot = np.arange(len(row)) - np.repeat(begins, np.diff(begins, append=len(row)))
        next_state = np.broadcast_to(np.arange(S)[:, None, None], (S, A, slot.max() + 1)).copy()
        probability = np.zeros(next_state.shape)
        next_state[origin, action, slot], probability[origin, action, slot] = target, chance
        probability[S - ends :, :, 0] = 1  # the end keeps
        mean, total = np.zeros((S * A, K)), np.bincount(row, chance, S * A)
        for k in range(K):
            mean[:, k] = np.bincount(row, chance * counts[:, k], S * A)
        mean = np.divide(mean, total[:, None], out=np.zeros_like(mean), where=total[:, None] > 0)
        initial = np.bincount(self.begins, chances, S)
        exist = np.ones((S, A), bool)
        exist[tuple(np.array(self.missing, int).reshape(-1, 2).T)] = False
        mdp = MDP.from_table(
            next_state,
            probability,
            mean.reshape(S, A, K),
            initial,
            available=exist,
            discount=discount,
            horizon=horizon,
            feature_names=feature_names,
        )
        states, numbers = (*self.states, *[End()] * ends), dict(self.numbers) | ({End(): S - 1} if ends else {})
        return Explored(mdp, states, self.actions, numbers)


def _outcomes(given: Any, said: str, *, lists: bool) -> list[tuple[Any, float]]:
    """States and their probabilities, which sum to one: pairs where `lists` hold pairs, else equally likely states."""
    if isinstance(given, Mapping):
        pairs = list(given.items())
    elif isinstance(given, list) and lists:
        if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in given):
            raise ValueError(
                f"{said} gives the list {_said(given)}; a list holds pairs (next_state, probability), and a state that "
                "is a list cannot be hashed: give a tuple."
            )
        pairs = [(state, chance) for state, chance in given]
    elif isinstance(given, list):
        pairs = [(state, 1 / len(given)) for state in given]
    else:
        pairs = [(given, 1.0)]
    if not pairs:
        raise ValueError(f"{said} holds no state; give at least one.")
    chances = [_chance(chance, state, said) for state, chance in pairs]
    if abs(sum(chances) - 1) > 1e-5:
        raise ValueError(f"{said} gives probabilities that sum to {sum(chances):.6g}; they must sum to one.")
    return [(state, chance) for (state, _), chance in zip(pairs, chances, strict=True)]


def _chance(chance: Any, state: Any, said: str) -> float:
    if not is_concrete(chance):
        raise TypeError(f"explore builds tables on the host, but {said} gives a tracer; call it outside jit.")
    try:
        number = None if isinstance(chance, str | bytes) else float(chance)
    except (TypeError, ValueError):
        number = None
    if number is None or not 0 <= number <= 1 + 1e-5:  # NaN is neither
        raise ValueError(
            f"{said} gives the state {_said(state)} the probability {_said(chance)}; give a number in 0..1."
        )
    return number


def _actions(actions: Any) -> tuple[Any, ...]:
    """The actions as `step` is given them."""
    if isinstance(actions, Sequence) and not isinstance(actions, str | bytes):
        named = tuple(actions)
        if not named:
            raise ValueError("actions is empty; give at least one.")
        if any(isinstance(name, np.ndarray | jax.Array) for name in named):
            raise ValueError(f"actions holds arrays, {_said(named)}; give numbers, strings or tuples.")
        if any(named[i] == named[j] for i in range(len(named)) for j in range(i)):
            raise ValueError(f"actions is {_said(named)}; give each action once.")
        return named
    try:
        return tuple(range(check_count("actions", actions)))
    except ValueError as error:
        raise ValueError(f"{str(error).rstrip('.')}, or a sequence, such as a list of names.") from None


def _check_functions(**functions: Any) -> None:
    for name, function in functions.items():
        if not callable(function) and not (name == "available" and function is None):
            raise TypeError(f"{name} is {shown(function)}; give a function of a state and an action.")


def _of_three(features: Callable[..., Any]) -> Callable[..., Any]:
    """Features of the transition; a function of state and action is asked for no more."""
    try:
        inspect.signature(features).bind(None, None, None)
    except ValueError:  # no signature is known
        return features
    except TypeError:
        return lambda state, action, _: features(state, action)
    return features


def _said(thing: Any) -> str:
    """A state or number for an error, cut where it is long."""
    text = repr(thing)
    return text if len(text) <= 60 else f"{text[:57]}..."
