"""Exact solutions by listing the robot's plans: for any human, over a finite horizon.

A plan σ from a state is an action and, for each human action and next state, a plan from there
(Malik et al. 2018).  Its value to each θ needs the human's play, which depends on the whole plan:

    Q_σ(s, θ, a_H) = R + γ Σ_s' T(s') α_{ν(a_H, s')}(s', θ),    α_σ(s, θ) = Σ π_H(a_H | Q_σ) Q_σ

Continuations are chosen jointly over human actions (references C, trap 1), and a plan is dropped as
dominated only for humans whose play is monotone in Q (trap 2).
"""

from dataclasses import dataclass, replace

import numpy as np

from cirl.exact._dominance import Comparisons, TooManyComparisonsError, undominated
from cirl.exact._subsets import Found
from cirl.game import Game
from cirl.host_game import EPS, HostGame
from cirl.human import Human
from cirl.policy_graph import Nodes
from cirl.replies import on_host, worth

MOST_PLANS = 400_000  # plans listed at once
DECISIONS = 10_000  # of the robot at one node
COMPARISONS = 2e10  # of numbers in all: 15 to 30 seconds
LISTED = 500  # comparisons that take as long as to work out one number of a plan


class TooManyPlansError(ValueError):
    """The robot's plans are too many to list."""


@dataclass(frozen=True)
class _Plans:
    """Plans from one state at one time.

    Attributes:
        alpha: what each is worth, `[n, Θ]`.
        error: how far that may be off, `[n, Θ]`.
        action: `[n, A_H]`.
        child: into the next lists, `[n, A_H, D]`.
    """

    alpha: np.ndarray
    error: np.ndarray
    action: np.ndarray
    child: np.ndarray

    def __getitem__(self, rows) -> "_Plans":
        return _Plans(self.alpha[rows], self.error[rows], self.action[rows], self.child[rows])

    @staticmethod
    def together(parts: list["_Plans"]) -> "_Plans":
        """The plans of several lists as one."""
        return _Plans(*(np.concatenate([getattr(p, x) for p in parts]) for x in ("alpha", "error", "action", "child")))


def solve_plans(game: Game, human: Human, *, consistent: bool, most: int = MOST_PLANS) -> Found:
    """The best robot at the prior, and a bound of what any robot attains.

    Args:
        game: the game, with a horizon.
        human: the human's model, with axes spelt out.
        consistent: whether only subgame-consistent plans count (else commitment).
        most: plans listed at once, at most.

    Raises:
        TooManyPlansError: where there are more, or where to compare them would take more than about half a minute.
        ValueError: where no plan is consistent.
    """
    return _Listing(game, human, consistent, most).solve()


class _Listing:
    """One run of the solver: the plans from each state at each time, the last first."""

    def __init__(self, game: Game, human: Human, consistent: bool, most: int):
        self.g, self.human, self.most = HostGame(game), on_host(human), most
        self.allowed = Comparisons(COMPARISONS)
        self.every = consistent and not human.monotone
        self.monotone, self.options = human.monotone, self._options()
        self.lists: list[dict[int, _Plans]] = []

    def _options(self) -> np.ndarray:
        try:
            return self.g.decisions(min(self.most, DECISIONS))
        except ValueError as error:
            raise TooManyPlansError(str(error)) from None

    def solve(self) -> Found:
        g = self.g
        assert g.horizon is not None
        layers, later = g.layers(), {}
        for t in reversed(range(g.horizon)):
            later = {int(s): self._plans(int(s), t, later) for s in layers[t]}
            self.lists.insert(0, later)
        upper, roots = 0.0, {}
        for s in g.starts.tolist():
            plans = self.lists[0][s]
            worth_of, most = plans.alpha @ g.prior, (plans.alpha + plans.error) @ g.prior
            order = np.argsort(-worth_of, kind="stable").tolist()
            if self.every:
                order = [n for n in (self._first_consistent(s, order),) if n is not None]
                if not order:
                    raise ValueError(f"no deterministic plan from state {s} is subgame-consistent for {self.human}.")
                upper += g.initial[s] * most[order[0]]
            else:
                upper += g.initial[s] * most.max()
            roots[s] = order[0]
        slack = g.off_at_start * sum(
            g.initial[s] * (np.abs(self.lists[0][s].alpha[n]) @ g.prior) for s, n in roots.items()
        )
        return Found(float(upper + slack), self._graph(roots))

    def _values(self, s: int, action: np.ndarray, child: np.ndarray, later: dict[int, _Plans]):
        """Q of plans from a state and how far it may be off, both `[n, Θ, A_H]`."""
        g, humans = self.g, np.arange(self.g.num_human_actions)[None]
        q = g.reward[s, humans, action]  # [n, AH, Θ]
        off = (g.off.reward + g.eps) * np.abs(q)
        if later:
            chance = g.chance[s, humans, action]  # [n, AH, D]
            parts = []
            for d in np.flatnonzero((chance > 0).any(axis=(0, 1))):
                plans, p = later[int(g.ahead[s, d])], chance[..., d, None]
                row = np.maximum(child[..., d], 0)
                parts.append((p, plans.alpha[row]))
                off = off + g.gamma * p * (1.0001 * plans.error[row] + g.eps * np.abs(plans.alpha[row]))
            ahead = sum(p * alpha for p, alpha in parts)
            q = q + g.gamma * ahead
            vague = g.vagueness(s, humans, action)
            if vague is not None:
                away = sum(p * np.abs(alpha - ahead) for p, alpha in parts)
                off = off + g.gamma * (vague[0] * away + vague[1] * np.abs(ahead))
        return np.swapaxes(q, 1, 2), np.swapaxes(off, 1, 2)

    def _worth(self, q: np.ndarray, off: np.ndarray, s: int, action: np.ndarray, t: int):
        """The play of many plans at one state, what each is worth, and how far that may be off."""
        n = len(q)
        return worth(self.human, q, off, np.full(n, s), action[:, 0], np.full(n, t))

    def _plans(self, s: int, t: int, later: dict[int, _Plans]) -> _Plans:
        """Every plan from a state that may be part of a best one."""
        g, found, total = self.g, [], 0
        AH, D = g.num_human_actions, g.ahead.shape[1]
        for action in self.options:
            chance = g.chance[s].max(axis=1) if self.every else g.chance[s, np.arange(AH), action]  # [AH, D]
            slots = [(a, d) for a, d in np.argwhere(chance > 0)] if later else []
            sizes = [len(later[int(g.ahead[s, d])].alpha) for _, d in slots]
            count = int(min(np.prod(sizes, dtype=float), 1e18)) if sizes else 1
            total += count
            if total > self.most:
                raise TooManyPlansError(
                    f"{total:,} plans would have to be listed in state {s} at step {t}, or more; the exact solver "
                    f"takes at most {self.most:,}. Shorten the horizon, or use Bounded()."
                )
            self._spend(LISTED * count * AH * D * g.reward.shape[-1])
            child = np.full((count, AH, D), -1)
            for index, (a, d) in zip(np.unravel_index(np.arange(count), sizes) if sizes else [], slots, strict=True):
                child[:, a, d] = index
            actions = np.broadcast_to(action, (count, AH))
            q, off = self._values(s, actions, child, later)
            _, alpha, error = self._worth(q, off, s, actions, t)
            found.append(self._kept(_Plans(alpha, error, actions, child)))
        return self._kept(_Plans.together(found)) if len(found) > 1 else found[0]

    def _spend(self, comparisons: int) -> None:
        """Count work that is worth so many comparisons."""
        try:
            self.allowed.spend(comparisons)
        except TooManyComparisonsError:
            raise self._too_dear() from None

    def _too_dear(self) -> TooManyPlansError:
        g, T = self.g, self.g.horizon
        return TooManyPlansError(
            f"the plans of this game ({g.num_states} states, {self.options.shape[0]} decisions at each node, "
            f"{g.reward.shape[-1]} values of θ, horizon {T}) would take more than {COMPARISONS:.0e} comparisons, half "
            "a minute, to list and compare. Shorten the horizon, or use Bounded()."
        )

    def _kept(self, plans: _Plans) -> _Plans:
        """Without the plans that another is at least as good as for every θ, now and within what may be off."""
        if not self.monotone:
            return plans
        # Two that differ by what float64 rounds are one; what that may lose is counted.
        slack = self.g.eps * np.abs(plans.alpha)
        both = np.concatenate([plans.alpha, plans.alpha + plans.error], axis=1)
        try:
            kept = undominated(both, np.tile(slack, 2), self.allowed)
        except TooManyComparisonsError:
            raise self._too_dear() from None
        return replace(plans[kept], error=(plans.error + slack)[kept])

    def _first_consistent(self, s: int, order: list[int]) -> int | None:
        known: dict[tuple[int, int, int, bytes], bool] = {}
        return next((n for n in order if self._is_consistent(0, s, n, self.g.prior, known)), None)

    def _is_consistent(self, t: int, s: int, n: int, belief: np.ndarray, known: dict) -> bool:
        """Whether no change of one decision, anywhere below, raises the value at the belief held there."""
        key = t, s, n, belief.tobytes()
        if key not in known:
            known[key] = self._is_best(t, s, n, belief) and all(
                self._is_consistent(t + 1, *ahead, known) for ahead in self._ahead(t, s, n, belief)
            )
        return known[key]

    def _is_best(self, t: int, s: int, n: int, belief: np.ndarray) -> bool:
        plans, later, options = self.lists[t][s], self._later(t), self.options
        child = np.repeat(plans.child[n][None], len(options), axis=0)
        q, off = self._values(s, options, child, later)
        play, value, _ = self._worth(q, off, s, options, t)
        own = int(np.flatnonzero((options == plans.action[n]).all(axis=1))[0])
        # Compared as far as float64 tells two sums of such terms apart.
        size = np.sum(play * np.abs(q), axis=-1) @ belief
        return bool(((value - value[own]) @ belief <= 1e4 * EPS * (size + size[own])).all())

    def _later(self, t: int) -> dict[int, _Plans]:
        return self.lists[t + 1] if t + 1 < len(self.lists) else {}

    def _ahead(self, t: int, s: int, n: int, belief: np.ndarray):
        """What follows plan n where people may lead it: state, plan and belief."""
        plans = self.lists[t][s]
        action, child = plans.action[n][None], plans.child[n][None]
        q, off = self._values(s, action, child, self._later(t))
        play = self._worth(q, off, s, action, t)[0][0]  # [Θ, AH]
        for a, d in np.argwhere(plans.child[n] >= 0):
            mass = belief * play[:, a]
            if self.g.chance[s, a, action[0, a], d] > 0 and mass.sum() > 0:
                yield int(self.g.ahead[s, d]), int(plans.child[n, a, d]), mass / mass.sum()

    def _graph(self, roots: dict[int, int]) -> Nodes:
        """The plans below the roots; plans that are the same are one node, whatever led to them."""
        g, humans = self.g, np.arange(self.g.num_human_actions)
        number: dict[tuple[int, int, int], int] = {}
        queue: list[tuple[int, int, int]] = []

        def visit(key: tuple[int, int, int]) -> int:
            if key not in number:
                number[key] = len(queue)
                queue.append(key)
            return number[key]

        start = np.full(g.num_states, -1)
        for s, n in roots.items():
            start[s] = visit((0, s, n))
        actions, children = [], []
        for t, s, n in queue:  # grows while it is read
            plans = self.lists[t][s]
            child = np.full_like(plans.child[n], -1)
            for a, d in np.argwhere(g.chance[s, humans, plans.action[n]] > 0) if t + 1 < len(self.lists) else []:
                child[a, d] = visit((t + 1, int(g.ahead[s, d]), max(int(plans.child[n, a, d]), 0)))
            actions.append(plans.action[n])
            children.append(child)
        steps, states, _ = np.array(queue).T
        return Nodes(states, steps, np.array(actions), np.array(children), start)
