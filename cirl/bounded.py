"""The bounded solver: two bounds on the value that close in on it, for games too large to solve exactly.

Trials in the manner of HSVI (Smith and Simmons 2005): from the start follow the joint decision with
the highest upper bound, then go where the bounds are furthest apart, weighted by how likely one
gets there; on the way back both bounds are backed up.  A trial follows the widest gaps of each step
together, so that their backups are one batch.  The lower bound is the adapted backup (`cirl.adapted`), the upper
one a search over the human's assignments (`cirl.assignment`).  No chance is involved.
"""

import time
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from cirl.backups import Backup, backup
from cirl.bounds import Bounds
from cirl.controller import PolicyGraph
from cirl.game import Game, Order
from cirl.human import Boltzmann, EpsilonGreedy, Fixed, Human, Rational
from cirl.informed import first_bounds
from cirl.successors import Successors
from cirl.unfolding import unfold
from mdps.kernels.layout import Layout


@dataclass(frozen=True)
class Bounded:
    """Close in from both sides, and stop at the tolerance or when the budget is spent.

    Attributes:
        max_backups: most nodes backed up.
        max_seconds: most wall-clock time, or None; results that it cuts short depend on the machine.
        batch: nodes backed up at once.
        width: partial assignments kept in the upper bound's search, at first; it grows where that stalls.
    """

    max_backups: int = 50_000
    max_seconds: float | None = None
    batch: int = 8
    width: int = 16

    def __post_init__(self):
        for name in ("max_backups", "batch", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give at least 1.")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise ValueError(f"max_seconds is {self.max_seconds}; give a positive number, or None.")


def rounded_up(game: Game, human: Human) -> tuple[Game, Human]:
    """The game with Θ and D rounded up to multiples of four, so that games of similar size share compiled code.

    What is added has no probability: rewards like the last one that nobody means, successors that
    no action leads to.  Human models of others than this package's are left alone, with their game.
    """
    known = isinstance(human, Rational | EpsilonGreedy | Boltzmann | Fixed)
    Theta, (S, D) = game.num_thetas, game.mdp.next_state.shape
    more, wider = (-Theta % 4 if known else 0), -D % 4
    as_last = np.minimum(np.arange(Theta + more), Theta - 1)
    own = jnp.broadcast_to(jnp.arange(S, dtype=jnp.int32)[:, None], (S, wider))
    mdp = replace(
        game.mdp,
        features=game.mdp.features[..., as_last],
        next_state=jnp.concatenate([game.mdp.next_state, own], axis=1),
        probability=jnp.pad(game.mdp.probability, ((0, 0), (0, 0), (0, wider))),
        layout=Layout(),
    )
    human = Fixed(human.table[..., as_last, :]) if isinstance(human, Fixed) else human
    return replace(game, mdp=mdp, prior=jnp.pad(game.prior, (0, more))), human


class Search:
    """One run of the solver; bounds are valid after any number of trials."""

    WIDEST = 256

    def __init__(self, game: Game, human: Human, method: Bounded):
        self.given, (game, human) = game, rounded_up(game, human)
        self.game, self.method, self.width = game, method, method.width
        self.human = EpsilonGreedy(0.0) if isinstance(human, Rational) else human
        # A rational human is worth no less to a robot than any other: their bound is everybody's.
        self.team = self.human if isinstance(self.human, EpsilonGreedy | Fixed) else EpsilonGreedy(0.0)
        if isinstance(self.team, EpsilonGreedy):
            self.team = EpsilonGreedy(jnp.asarray(self.team.epsilon, game.prior.dtype))
        self.human = self.team if type(self.human) is type(self.team) else self.human
        self.moves = Successors.of(game)
        informed, robots, values = first_bounds(game, self.moves, self.human, self.team)
        self.robots = np.asarray(robots)
        self.bounds = Bounds(game, self.moves, informed, values, human.monotone)
        self.initial, prior = np.asarray(game.mdp.initial), np.asarray(game.prior)
        starts = np.flatnonzero(self.initial > 0)
        self.roots = {int(s): self.bounds.node(0, int(s), prior) for s in starts}
        self.gamma, self.last = float(game.mdp.discount), game.mdp.horizon
        self.backups, self.loose = 0, False
        self.size = max(float(np.abs(x).max()) for x in (self.bounds.informed, self.bounds.simple, self.bounds.reward))
        self.eps = float(jnp.finfo(game.prior.dtype).eps)
        self.history: list[tuple[float, int, float, float]] = []  # (seconds, backups, lower, upper)

    @property
    def rounding(self) -> float:
        """What rounding can have done to either bound.

        Each backup rounds sums over successors, θ and human actions, of numbers no larger than the
        largest value or vector met, and passes on what the backups below it have rounded.
        """
        terms = self.moves.state.shape[-1] + self.given.num_thetas + self.given.num_human_actions + 3
        depth = self.last if self.last is not None else 1 / (1 - self.gamma)
        return terms * depth * self.eps * max(self.size, self.bounds.largest)

    def lower(self) -> float:
        """What the best plans found are worth at the prior."""
        return sum(float(self.initial[s]) * self.bounds.lower(n)[0] for s, n in self.roots.items())

    def upper(self) -> float:
        """What no robot exceeds at the prior."""
        return sum(float(self.initial[s]) * self.bounds.upper(n) for s, n in self.roots.items())

    def robot(self) -> PolicyGraph:
        """The robot that attains the lower bound."""
        return unfold(self.given, self.bounds, self.robots, {s: self.bounds.lower(n)[1] for s, n in self.roots.items()})

    def run(self, tol: float) -> None:
        """Trials until the bounds are within `tol`, the budget is spent, or nothing moves any more."""
        began = time.perf_counter()
        self._visit_all(list(self.roots.values()))
        share = 0.3

        def spent() -> bool:
            late = self.method.max_seconds is not None and time.perf_counter() - began > self.method.max_seconds
            return late or self.backups >= self.method.max_backups

        while True:
            gap = self.upper() - self.lower()
            self.history.append((time.perf_counter() - began, self.backups, self.lower(), self.upper()))
            aim = max(tol - 2 * self.rounding, self.rounding)
            if gap <= aim or spent():
                return
            self.loose = False
            if not self._trial(max(aim, share * gap), spent):
                if share * gap > aim:
                    share *= 0.3
                elif self.loose and self.width < self.WIDEST:
                    self.width *= 4
                else:
                    return

    def _trial(self, target: float, spent) -> bool:
        """One trial; whether any bound moved."""
        layer = [(n, float(self.initial[s])) for s, n in self.roots.items()]
        layers, moved, depth = [], False, 0
        while layer and not spent():
            ahead: dict[int, float] = {}
            score: dict[int, float] = {}
            for i in range(0, len(layer), self.method.batch):
                part = layer[i : i + self.method.batch]
                changed, found = self._visit([n for n, _ in part])
                moved |= changed
                for node, reach, worth in self._children(part, found, depth, target):
                    ahead[node] = ahead.get(node, 0) + reach
                    score[node] = score.get(node, 0) + worth
            layers.append([n for n, _ in layer])
            chosen = sorted(score, key=lambda n: -score[n])[: self.method.batch]
            layer = [(n, ahead[n]) for n in chosen]
            depth += 1
        for nodes in reversed(layers[:-1]):
            moved |= self._visit_all(nodes)
        return moved

    def _visit_all(self, nodes: list[int]) -> bool:
        size = self.method.batch
        parts = [nodes[i : i + size] for i in range(0, len(nodes), size)]
        return sum(self._visit(part)[0] for part in parts) > 0

    def _visit(self, nodes: list[int]) -> tuple[bool, Backup]:
        """Back up some nodes; whether any bound moved, and what was found."""
        size = self.method.batch
        batch, index = self.bounds.batch(nodes, size)
        found = backup(self.human, self.team, batch, first=self.game.order is Order.HUMAN_FIRST, width=self.width)
        found = jax.tree.map(np.asarray, found)
        self.backups += len(nodes)
        self.loose |= bool(found.loose[: len(nodes)].any())
        return self.bounds.learn(nodes, found, index, 4 * self.eps * self.size), found

    def _children(self, part, found: Backup, depth: int, target: float):
        """Nodes ahead whose gap is wider than wanted: (node, probability of getting there, weighted excess)."""
        for k, (node, reach) in enumerate(part):
            step, state = self.bounds.node_place[node]
            if self.last is not None and step + 1 >= self.last:
                continue
            mass = found.split[k].sum(axis=-1)  # [A_H]
            weight = reach * mass[:, None] * found.chance[k]  # discounted
            gap = np.where(weight > 0, found.gap[k] / np.maximum(mass, 1e-30)[:, None], 0)
            excess = weight * (gap - target / max(self.gamma ** (depth + 1), 1e-30))
            for a, e in np.argwhere(excess > 0):
                ahead = int(self.bounds.next_state[state, found.column[k, a, e]])
                child = self.bounds.node(self.bounds.after(step), ahead, np.asarray(found.split[k, a]))
                yield child, float(weight[a, e]), float(excess[a, e])
