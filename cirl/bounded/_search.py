"""The bounded solver: two bounds on the value that close in on it, for games too large to solve exactly.

Trials in the manner of HSVI (Smith and Simmons 2005): from the start follow the joint decision with
the highest upper bound, then go where the bounds are furthest apart, weighted by how likely one
gets there; on the way back both bounds are backed up.  A trial follows the widest gaps of each step
together, so that their backups are one batch.  The lower bound is the adapted backup (`_lower`), the upper
one a search over the human's assignments (`_upper`).  No chance is involved.
"""

import enum
from dataclasses import dataclass, replace

import jax
import numpy as np

from cirl.bounded._alpha_vectors import Bounds
from cirl.bounded._backup import Backup, backup
from cirl.bounded._full_information import Losses, first_bounds
from cirl.bounded._unfold import unfold
from cirl.bounded._watch import Watch
from cirl.game import Game
from cirl.host_game import HostGame
from cirl.human import Boltzmann, EpsilonGreedy, Fixed, Human, Rational
from cirl.policy_graph import Nodes
from mdps.checks import check_count, check_number
from mdps.kernels.layout import Layout
from mdps.pytrees import with_fields


@dataclass(frozen=True)
class Bounded:
    """Close in from both sides, and stop at the tolerance or when the budget is spent.

    Attributes:
        max_backups: most nodes backed up.
        max_seconds: most wall-clock time, from the tables to the bounds, or None; a program that is being compiled is
            waited for.  Results that it cuts short depend on the machine.
        batch: nodes backed up at once.
        width: partial assignments kept in the upper bound's search, at first; it grows where that stalls.
    """

    max_backups: int = 50_000
    max_seconds: float | None = None
    batch: int = 8
    width: int = 16

    def __post_init__(self):
        for name in ("max_backups", "batch", "width"):
            check_count(name, getattr(self, name))
        if self.max_seconds is not None:
            check_number("max_seconds", self.max_seconds, lambda x: x > 0, "give a positive number, or None.")


def rounded_up(game: Game, human: Human) -> tuple[Game, Human]:
    """The game with Θ and D rounded up to multiples of four, so that games of similar size share compiled code.

    What is added has no probability: rewards like the last one that nobody means, successors that
    no action leads to.  Human models of others than this package's are left alone, with their game.
    """
    known = isinstance(human, Rational | EpsilonGreedy | Boltzmann | Fixed)
    Theta, (S, D) = game.num_thetas, game.mdp.next_state.shape
    more, wider = (-Theta % 4 if known else 0), -D % 4
    as_last = np.minimum(np.arange(Theta + more), Theta - 1)
    own = np.broadcast_to(np.arange(S, dtype=np.int32)[:, None], (S, wider))
    mdp = replace(
        game.mdp,
        features=np.asarray(game.mdp.features)[..., as_last],
        next_state=np.concatenate([game.mdp.next_state, own], axis=1),
        probability=np.pad(game.mdp.probability, ((0, 0), (0, 0), (0, wider))),
        layout=Layout(),
    )
    human = with_fields(human, table=np.asarray(human.table)[..., as_last, :]) if isinstance(human, Fixed) else human
    return replace(game, mdp=mdp, prior=np.pad(game.prior, (0, more))), human


def _of_dtype(human: Human, dtype) -> Human:
    """A human of this package's models with numbers of one dtype, so that all share compiled code."""
    if isinstance(human, EpsilonGreedy | Boltzmann | Fixed):
        return jax.tree.map(lambda x: np.asarray(x, dtype), human)
    if jax.tree_util.all_leaves([human]):
        raise ValueError(
            f"human is {human!r}, which JAX cannot take apart; register its class as a pytree "
            "(mdps.pytrees.frozen_pytree)."
        )
    return human


EASY = 256  # backups after which a game with slips is not closed by what closes the others


class Follow(enum.Enum):
    """Whose decisions a trial follows from the start on: those of the highest upper bound, or other ones."""

    HIGHEST = 0
    TOLD = 1  # of the highest bound for a robot that is told which actions were slips
    OWN = 2  # of the best robot found, and what the human makes of it: where it is played, it is improved


class Turns:
    """Which kind of trial comes next: the one that last closed most of the gap a backup.

    Where only few beliefs matter the highest bound's decisions close it all; where slips leave many, the others do
    more.  So with slips all are tried, first once each, then another than the best every fourth time.
    """

    def __init__(self, slips: bool):
        self.kinds = (Follow.TOLD, Follow.HIGHEST, Follow.OWN) if slips else (Follow.HIGHEST,)
        self.count, self.before, self.barren = 0, (np.inf, 0), set()
        self.rate = dict.fromkeys(self.kinds, np.inf)
        self.kind = Follow.HIGHEST

    def next(self, gap: float, backups: int) -> Follow:
        """The next trial's; `gap` and `backups` are what the last one left."""
        closed, done = self.before[0] - gap, backups - self.before[1]
        if self.count:
            self.rate[self.kind] = closed / max(done, 1)
        self.before, self.count = (gap, backups), self.count + 1
        left = [kind for kind in self.kinds if kind not in self.barren] or [Follow.HIGHEST]
        left.sort(key=lambda kind: -self.rate[kind])
        self.kind = left[self.count // 4 % len(left)] if self.count % 4 == 0 else left[0]
        return self.kind

    def another(self) -> bool:
        """Where one kind finds nothing more: whether another is left to try."""
        self.barren.add(self.kind)
        return len(self.barren) < len(self.kinds)


class HeuristicSearch:
    """One run of the solver; bounds are valid after any number of trials."""

    WIDEST = 256

    def __init__(self, game: Game, human: Human, method: Bounded, watch: Watch | None = None):
        self.watch = Watch(method.max_seconds) if watch is None else watch
        self.watch.doing = "bounds to begin with"
        self.given, (game, human) = game, rounded_up(game, human)
        self.game, self.method, self.width = game, method, method.width
        g, dtype = HostGame(game), np.asarray(game.prior).dtype
        # A rational human is worth no less to a robot than any other: their bound is everybody's.
        self.human = EpsilonGreedy(0.0) if isinstance(human, Rational) else human
        self.team = self.human if isinstance(self.human, EpsilonGreedy | Fixed) else EpsilonGreedy(0.0)
        self.follow = Follow.HIGHEST
        self.hard = False  # whether slips have shown to be what keeps the bounds apart
        self.slips = isinstance(self.team, EpsilonGreedy) and float(np.asarray(self.team.epsilon)) > 0
        self.losses = Losses(g, self.team)
        first = first_bounds(self.losses, self.human, dtype)
        self.robots, self.bounds = first.robots, Bounds(self.losses, first, human.monotone)
        self.human, self.team = _of_dtype(self.human, dtype), _of_dtype(self.team, dtype)
        self.gamma, self.last = g.gamma, g.horizon
        self.initial, self.prior = g.initial, g.prior
        held = np.asarray(game.prior)
        self.roots = {int(s): self.bounds.node(0, int(s), held) for s in g.starts}
        self.backups, self.loose, self.least = 0, False, 0.0
        self.history: list[tuple[float, int, float, float]] = []  # (seconds, backups, lower, upper)

    def _at_start(self, losses: dict[int, float]) -> float:
        """The value at the prior, less what is lost from each start."""
        phi = self.losses.phi[0]
        return sum(float(self.initial[s] * (phi[s] @ self.prior + lost)) for s, lost in losses.items())

    def lower(self) -> float:
        """What the best plans found are worth at the prior, up to rounding."""
        return self._at_start({s: self.bounds.lower(n)[0] for s, n in self.roots.items()})

    def upper(self) -> float:
        """What no robot exceeds at the prior."""
        g, lost = self.losses.g, {}
        for s, node in self.roots.items():
            point = self.bounds.points[node].astype(float)
            held = point > 0
            # The node's belief is the prior, as nearly as the dtype holds it.
            share = (self.prior[held] / point[held]).min() * (1 - g.off_at_start)
            lost[s] = share * self.bounds.upper(node)
        value = self._at_start(lost)
        size = float(self.initial @ (np.abs(self.losses.phi[0]) @ self.prior))
        return value + g.off_at_start * size

    def nodes(self) -> Nodes:
        """The robot that attains the lower bound."""
        return unfold(self.given, self.bounds, self.robots, {s: self.bounds.lower(n)[1] for s, n in self.roots.items()})

    def run(self, tol: float) -> None:
        """Trials until the bounds are within `tol`, the budget is spent, or nothing moves any more."""
        self.watch.doing = "first backups, which are compiled"
        self._visit_all(list(self.roots.values()))
        share, self.watch.stuck = 0.3, False
        turns = Turns(self.hard)
        while True:
            if self.slips and not self.hard and self.backups >= EASY:
                self.hard, turns = True, Turns(True)
            lower, upper = self.lower(), self.upper()
            gap = upper - lower
            self.follow = turns.next(gap, self.backups)
            self.history.append((self.watch.seconds(), self.backups, lower, upper))
            self.watch.doing = f"{self.backups:,} backups, {lower:.5g} <= value <= {upper:.5g}"
            if gap <= tol or self._spent():
                return
            self.loose, self.least = False, 1e-4 * tol
            if self._trial(share * gap):
                turns.barren.clear()
            elif share * gap > 0.03 * tol:
                share *= 0.3
            elif self.loose and self.width < self.WIDEST:
                self.width *= 4
            elif turns.another():
                share = 0.3
            elif self.slips and not self.hard:
                self.hard, turns, share = True, Turns(True), 0.3
            else:
                self.watch.stuck = True
                return

    def _spent(self) -> bool:
        """Whether the budget is, or somebody wants to stop."""
        return self.backups >= self.method.max_backups or self.watch.over()

    def _trial(self, target: float) -> bool:
        """One trial; whether any bound moved."""
        layer = [(n, float(self.initial[s])) for s, n in self.roots.items()]
        layers, moved, depth = [], False, 0
        visited, news = set(), True
        while layer and news and not self._spent():
            news = False
            ahead: dict[int, float] = {}
            score: dict[int, float] = {}
            for i in range(0, len(layer), self.method.batch):
                part = layer[i : i + self.method.batch]
                changed, found = self._visit([n for n, _ in part])
                moved |= changed
                news |= changed or any(n not in visited for n, _ in part)
                visited.update(n for n, _ in part)
                for node, reach, worth in self._children(part, found, depth, target):
                    ahead[node] = ahead.get(node, 0) + reach
                    score[node] = score.get(node, 0) + worth
            layers.append([n for n, _ in layer])
            chosen = sorted(score, key=lambda n: -score[n])[: self.method.batch]
            layer = [(n, ahead[n]) for n in chosen]
            depth += 1
        for nodes in reversed(layers[:-1]):
            if self.watch.over():
                break
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
        told = self.follow is Follow.TOLD
        found = backup(self.human, self.team, batch, told, width=self.width, slips=self.hard)
        found = jax.tree.map(np.asarray, found)
        self.backups += len(nodes)
        self.loose |= bool(found.loose[: len(nodes)].any())
        return self.bounds.learn(nodes, found, index, self.least), found

    def _children(self, part, found: Backup, depth: int, target: float):
        """Nodes ahead whose gap is wider than wanted: (node, probability of getting there, weighted excess)."""
        for k, (node, reach) in enumerate(part):
            step, state = self.bounds.node_place[node]
            if self.last is not None and step + 1 >= self.last:
                continue
            ways, answer = [found.split[k]], found.answer[k]
            if self.follow is Follow.TOLD:
                ways = [found.meant[k], found.split[k] - found.meant[k]]
            elif self.follow is Follow.OWN:
                ways, answer = [found.plan.parts[k]], found.plan.answer[k]
            known = self.follow is Follow.HIGHEST  # how far the bounds are apart there
            far = target / max(self.gamma ** (depth + 1), 1e-30)
            for parts in ways:
                mass = parts.sum(axis=-1)  # [A_H]
                pairs = state, np.arange(len(mass)), answer
                weight = reach * mass[:, None] * self.bounds.chance[pairs]  # discounted, [A_H, E]
                gap = np.where(weight > 0, found.gap[k] / np.maximum(mass, 1e-30)[:, None], 0) if known else None
                columns = self.bounds.columns[pairs]
                for a, e in np.argwhere(weight > 0):
                    if gap is not None and gap[a, e] <= far:
                        continue
                    at = self.bounds.after(step), int(self.bounds.next_state[state, columns[a, e]])
                    child = self.bounds.node(*at, np.asarray(parts[a]))
                    apart = gap[a, e] if gap is not None else self.bounds.upper(child) - self.bounds.lower(child)[0]
                    if apart > far:
                        yield child, float(weight[a, e]), float(weight[a, e] * (apart - far))
