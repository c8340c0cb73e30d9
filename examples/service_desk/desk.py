"""The desk as an MDP: one readable table of chances and minutes, states, actions and metrics.

A state is one issue of a conversation: its kind, the questions asked (0 to 2), the last answer (none, wrong, right),
the customer's patience (0 to 4, or as far as the table says), and whether it was reopened; and two ends, the customer
left and all is done.
"""

import itertools
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mdps import MDP

TABLE = Path(__file__).with_name("desk.toml")
ACTIONS = ("ask", "answer", "escalate", "close")
METRICS = ("minutes", "closed", "resolved", "reopened", "escalated", "asked", "left", "satisfaction")
NONE, WRONG, RIGHT = range(3)
QUESTIONS = 3  # how many there may be: 0, 1 or 2


class State(NamedTuple):
    """Where a conversation is."""

    issue: int
    kind: str
    asked: int
    last: int
    patience: int
    reopened: bool


class Step(NamedTuple):
    """One thing that may happen: its probability, where it leads, and what the metrics count."""

    probability: float
    to: Any  # a State, "left" or "done"
    counts: dict[str, float]


@dataclass(frozen=True)
class Desk:
    """The table, read from `desk.toml`.

    Attributes:
        table: its entries, as they stand there.
    """

    table: dict[str, Any]

    @staticmethod
    def read(path: Path = TABLE) -> "Desk":
        """Read a table.

        Raises:
            ValueError: for what is no TOML, an entry that is missing, a chance that is none, or an unknown metric.
        """
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
            mixes = [table["cases"][cases] for cases in ("training", "deployment")]
            rows = [table["patience"], *(list(mix.values()) for mix in mixes)]
            lists = table["annoys"].values(), table["returns"].values(), *table["right"].values(), *rows
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path} is not valid TOML: {error}.") from error
        except KeyError as error:
            raise ValueError(f"{path} has no entry {error}; {TABLE.name} shows all that there are.") from None
        if not all(0 <= chance <= 1 for chances in lists for chance in chances) or any(
            abs(sum(row) - 1) > 1e-6 for row in rows
        ):
            raise ValueError(f"{path}: chances lie in 0..1; those of patience and of each set of cases add up to 1.")
        desk = Desk(table)
        for name in ("written", "meant", "worth"):
            desk.weights(name)
        return desk

    def changed(self, **entries: Any) -> "Desk":
        """The same desk with other entries."""
        return replace(self, table=self.table | entries)

    def weights(self, name: str) -> np.ndarray:
        """Points for a unit of each metric, `[K]`: "written", "meant" or "worth"."""
        unknown = set(self.table[name]) - set(METRICS)
        if unknown:
            raise ValueError(f"[{name}] has {', '.join(sorted(unknown))}; the metrics are {', '.join(METRICS)}.")
        return np.asarray([self.table[name].get(metric, 0.0) for metric in METRICS], np.float32)

    def states(self) -> list[Any]:
        """All states in order, the two ends last."""
        axes = (
            range(self.table["issues"]),
            self.table["right"],
            range(QUESTIONS),
            range(3),
            range(len(self.table["patience"])),
        )
        return [*(State(*x) for x in itertools.product(*axes, (False, True))), "left", "done"]

    def mdp(self, cases: str) -> MDP:
        """The MDP of one set of cases, "training" or "deployment"."""
        mix = self.table["cases"][cases]
        states = self.states()
        index = {state: i for i, state in enumerate(states)}
        S, A, D, K = len(states), len(ACTIONS), 4 + len(mix), len(METRICS)
        to, probability = np.zeros((S, A, D), int), np.zeros((S, A, D))
        features, available = np.zeros((S, A, D, K)), np.ones((S, A), bool)
        for (s, state), (a, action) in itertools.product(enumerate(states), enumerate(ACTIONS)):
            # The ends stay; and so do kinds that are not among these cases, where nobody ever comes.
            stays = isinstance(state, str) or state.kind not in mix
            steps = [Step(1.0, state, {})] if stays else list(self.after(state, action, mix))
            available[s, a] = bool(steps)
            for d, step in enumerate(steps):
                to[s, a, d], probability[s, a, d] = index[step.to], step.probability
                for metric, count in step.counts.items():
                    features[s, a, d, METRICS.index(metric)] = count
        initial = np.zeros(S)
        for (kind, share), (units, customers) in itertools.product(mix.items(), enumerate(self.table["patience"])):
            initial[index[State(0, kind, 0, NONE, units, False)]] += share * customers
        return MDP.from_table(
            to,
            probability,
            features,
            initial,
            available=available,
            horizon=self.table["steps"],
            feature_names=METRICS,
        )

    def after(self, state: State, action: str, mix: dict[str, float]) -> Iterator[Step]:
        """What an action may lead to; nothing where there is no such action."""
        annoys, minutes = self.table["annoys"], self.table["minutes"][action]
        spent = {"minutes": minutes[state.kind] if isinstance(minutes, dict) else minutes}
        if action == "ask" and state.asked < QUESTIONS - 1:
            chance = annoys["first_question" if state.asked == 0 else "second_question"]
            yield from lost(chance, state._replace(asked=state.asked + 1), spent | {"asked": 1.0})
        elif action == "answer" and state.last == RIGHT:
            yield from lost(annoys["repeated_answer"], state, spent)
        elif action == "answer":
            right = self.table["right"][state.kind][state.asked]
            yield Step(right, state._replace(last=RIGHT), spent)
            for step in lost(annoys["wrong_answer"], state._replace(last=WRONG), spent):
                yield step._replace(probability=(1 - right) * step.probability)
        elif action == "escalate":
            yield from self.onward(1.0, state, mix, spent | {"escalated": 1.0})
        elif action == "close" and state.last == RIGHT:
            yield from self.onward(1.0, state, mix, spent | {"closed": 1.0, "resolved": 1.0})
        elif action == "close" and state.last == WRONG:
            spent = spent | {"closed": 1.0}
            back = 0.0 if state.reopened else self.table["returns"]["wrong"]
            for step in lost(1.0, state._replace(last=NONE, reopened=True), spent | {"reopened": 1.0}):
                yield step._replace(probability=back * step.probability)
            yield from self.onward(1 - back, state, mix, spent)

    def onward(self, probability: float, state: State, mix: dict[str, float], counts: dict) -> Iterator[Step]:
        """The next issue of the conversation, of a kind that is drawn; after the last one its end."""
        if state.issue + 1 == self.table["issues"]:
            yield Step(probability, "done", counts | {"satisfaction": float(state.patience)})
            return
        for kind, share in mix.items():
            yield Step(probability * share, State(state.issue + 1, kind, 0, NONE, state.patience, False), counts)


def lost(chance: float, state: State, counts: dict[str, float]) -> Iterator[Step]:
    """A state with a unit of patience less, by this chance; who has none left, leaves."""
    if state.patience == 0:
        yield Step(chance, "left", counts | {"left": 1.0})
    else:
        yield Step(chance, state._replace(patience=state.patience - 1), counts)
    yield Step(1 - chance, state, counts)
