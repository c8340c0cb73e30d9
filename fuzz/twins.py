"""Every kind of evidence made of one MDP, each with its likelihood written out in plain NumPy.

A twin takes weights `[N, K]` and gives the log-likelihood of each, with how far the library may be off: rounding, and β
times what a planner may miss. Where the twin cannot know which of nearly tied plans is meant, that is infinity.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import mdps
from fuzz import truth
from fuzz.problems import MEDIUM
from fuzz.solving import action_values, largest
from ird import evidence

LONG = truth.LONG
ALTERNATIVES, OPTIONS, PAIRS, STEPS = 5, 4, 3, 4
NAMES = tuple(f"feature {k}" for k in range(MEDIUM.features))


class Said(NamedTuple):
    """One piece of evidence.

    Attributes:
        name: which kind.
        make: makes the evidence.
        twin: log-likelihood of each candidate, and how far it may be off.
    """

    name: str
    make: Callable[[], evidence.Evidence]
    twin: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class World:
    """One MDP as the library holds it, in float64, a source of chance, and the person's β."""

    def __init__(self, mdp: mdps.MDP, rng: np.random.Generator, beta: float, unit: float):
        self.mdp, self.rng, self.beta, self.unit = mdp, rng, beta, unit
        self.P, self.initial = np.asarray(mdp.to_dense(), float), np.asarray(mdp.initial, float)
        self.gamma, self.T = float(mdp.discount), mdp.horizon
        features = np.asarray(mdp.features, float)
        self.per_action = features.ndim == 3
        self.features = features if self.per_action else np.repeat(features[:, None], self.P.shape[1], axis=1)
        self.eps = float(np.finfo(np.asarray(mdp.features).dtype).eps)
        self.total = 1 / (1 - self.gamma) if self.T is None else float(np.sum(self.gamma ** np.arange(self.T)))
        steps = 1 / (1 - self.gamma) if self.T is None else self.T
        self.rough = 8 * (len(self.P) + 8) * self.eps * steps  # a planner's rounding, as a share of returns
        self.b = float(np.asarray(beta, np.asarray(mdp.features).dtype))  # as the library holds it

    def repeated(self, weights):
        """P, rewards and discounts, once for each row of weights."""
        n = len(weights)
        r = np.einsum("sak,nk->nsa", self.features.astype(LONG), weights)
        return np.broadcast_to(self.P, (n, *self.P.shape)), r, np.full(n, self.gamma)

    def values(self, weights, tau=None):
        """Q `[N, (T,) S, A]`, the value at the start `[N]`, and the size of returns `[N]`."""
        P, r, gamma = self.repeated(weights)
        tau = None if tau is None else np.full(len(weights), tau)
        known = truth.optimum(P, r, gamma, tau) if self.T is None else truth.backward(P, r, gamma, self.T, tau)
        first = known.value if self.T is None else known.value[:, 0]
        size = largest(np.abs(r)) * self.total
        return action_values(P, r, gamma, known.value, self.T), first @ self.initial, size, known.error

    def planned(self, weights):
        """Features of the optimal policy that shares ties, `[M, K]`; None where ties are not plain."""
        P, _, gamma = self.repeated(weights)
        q, _, size, error = self.values(weights)
        each = (-1, *[1] * (q.ndim - 1))
        gap = q.max(axis=-1, keepdims=True) - q
        tied = gap <= 4 * error.reshape(each)
        clear = 1e-5 * np.minimum(size, 1) + 64 * self.rough * size
        if (~tied & (gap <= clear.reshape(each))).any():
            return None
        initial = np.broadcast_to(self.initial, (len(weights), len(self.initial)))
        visits = truth.visits(P, tied / tied.sum(axis=-1, keepdims=True), initial, gamma, self.T).value
        return np.einsum("nsa,sak->nk", visits, self.features)

    def alternatives(self):
        """Rewards that a designer may write: two are alike, one is nothing."""
        rows = self.rng.normal(size=(ALTERNATIVES, self.features.shape[2])) * self.unit
        rows[-1] = rows[0]
        rows[-2] *= self.rng.random() < 0.7
        return np.asarray(rows, np.asarray(self.mdp.features).dtype)

    def path(self, steps: int = STEPS):
        """States and actions of a run of random moves."""
        states, actions = [int(self.rng.choice(len(self.P), p=self.initial / self.initial.sum()))], []
        for _ in range(steps):
            actions.append(int(self.rng.integers(self.P.shape[1])))
            row = self.P[states[-1], actions[-1]]
            states.append(int(self.rng.choice(len(row), p=row / row.sum())))
        return states[:steps], actions

    def collected(self, states, actions=None):
        """Discounted features along a path."""
        actions = [0] * len(states) if actions is None else actions
        return sum(LONG(self.gamma) ** t * self.features[s, a] for t, (s, a) in enumerate(zip(states, actions)))

    def chosen(self, options, index, accuracy=0.0):
        """The twin of a choice among options `[C, K]`, whose features may be off by `accuracy` of the total visits."""
        options = np.asarray(options, LONG)

        def twin(w):
            logits = self.b * (w @ options.T)
            size = self.b * (np.abs(w) @ np.abs(options).max(axis=0))
            most = self.b * np.abs(w).sum(axis=1) * np.abs(self.features).max() * self.total
            return log_softmax(logits)[:, index], 64 * self.eps * (1 + size) + 4 * accuracy * most

        return twin


def log_softmax(logits):
    """Log of the softmax over the last axis."""
    logits = logits - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def proxy(x: World, maximum: bool = False) -> Said:
    """A proxy among alternatives."""
    rows, row = x.alternatives(), int(x.rng.integers(ALTERNATIVES))
    make = evidence.ProxyReward.maximum if maximum else evidence.ProxyReward

    def twin(w):
        phi = x.planned(rows.astype(LONG))
        if phi is None:
            return np.zeros(len(w)), np.full(len(w), np.inf)
        accuracy = 1e-10 if x.eps < 1e-10 else x.rough
        logits, allowed = x.b * (w @ phi.T), x.chosen(phi, row, accuracy)(w)[1]
        return (logits[:, row] - logits.max(axis=1) if maximum else log_softmax(logits)[:, row]), allowed

    name = "ProxyReward.maximum" if maximum else "ProxyReward"
    return Said(name, lambda: make(rows[row], x.mdp, beta=x.beta, alternatives=rows), twin)


def proxy_maximum(x: World) -> Said:
    """A proxy with the largest term alone."""
    return proxy(x, maximum=True)


def proxy_maxent(x: World) -> Said:
    """A proxy with a soft value as its normalizer."""
    row = x.alternatives()[0]

    def twin(w):
        phi, (_, soft, size, _) = x.planned(row[None].astype(LONG)), x.values(w, 1.0)
        if phi is None:
            return np.zeros(len(w)), np.full(len(w), np.inf)
        size = size + x.total * 8
        return x.b * (w @ phi[0] - soft), x.b * (1e-6 + (x.rough + 1e-9) * size) + 64 * x.eps * (1 + x.b * size)

    return Said("ProxyReward.maxent", lambda: evidence.ProxyReward.maxent(row, x.mdp, beta=x.beta), twin)


def choice(x: World) -> Said:
    """One of several options."""
    options, index = x.rng.normal(size=(OPTIONS, MEDIUM.features)), int(x.rng.integers(OPTIONS))
    options = np.asarray(options, np.asarray(x.mdp.features).dtype)
    make = lambda: evidence.Choice(options, index, beta=x.beta, feature_names=NAMES)  # noqa: E731
    return Said("Choice", make, x.chosen(options, index))


def comparison(x: World) -> Said:
    """Pairs, by a labeller whose bias is one of three."""
    dtype = np.asarray(x.mdp.features).dtype
    better, other = (np.asarray(x.rng.normal(size=(PAIRS, MEDIUM.features)), dtype) for _ in range(2))
    agrees, kappa = x.rng.integers(-1, 2, PAIRS), np.asarray([0.0, 0.5, 2.0])

    def twin(w):
        logits = x.b * (w @ (better - other).astype(LONG).T)  # [N, P]
        each = np.stack([-np.logaddexp(0, -(logits + k * agrees)).sum(axis=1) for k in kappa], axis=1)
        best = each.max(axis=1)
        size = np.abs(logits).sum(axis=1) + 2 * x.b * np.abs(w) @ (np.abs(better) + np.abs(other)).sum(axis=0)
        return best + np.log(np.exp(each - best[:, None]).mean(axis=1)), 64 * x.eps * (PAIRS + size)

    make = lambda: evidence.Comparison(  # noqa: E731
        better, other, beta=x.beta, agrees=agrees.astype(float), kappa=kappa, feature_names=NAMES
    )
    return Said("Comparison", make, twin)


def improvement(x: World) -> Said:
    """One path over another."""
    (better, _), (other, _) = x.path(), x.path()
    make = lambda: evidence.Improvement(x.mdp, better, robot=other, beta=x.beta)  # noqa: E731
    return Said("Improvement", make, x.chosen([x.collected(better), x.collected(other)], 0))


def correction(x: World) -> Said:
    """One of several pushes."""
    paths, index = x.rng.integers(len(x.P), size=(OPTIONS, STEPS)), int(x.rng.integers(OPTIONS))
    make = lambda: evidence.Correction(x.mdp, paths, index, beta=x.beta)  # noqa: E731
    return Said("Correction", make, x.chosen([x.collected(path) for path in paths], index))


def off_switch(x: World) -> Said:
    """Pressed, or not."""
    (robot, _), step, pressed = x.path(), int(x.rng.integers(STEPS)), bool(x.rng.random() < 0.5)
    frozen = [s if t <= step else robot[step] for t, s in enumerate(robot)]
    make = lambda: evidence.OffSwitch(x.mdp, robot, step, pressed=pressed, beta=x.beta)  # noqa: E731
    return Said("OffSwitch", make, x.chosen([x.collected(frozen), x.collected(robot)], 0 if pressed else 1))


def reward_punish(x: World) -> Said:
    """Praise or blame, against a policy that acts at random."""
    (robot, _), sign = x.path(x.T), int(x.rng.choice([1, -1]))
    uniform = np.full((1, *x.P.shape[:2]), 1 / x.P.shape[1])
    visits = truth.visits(x.P[None], uniform, x.initial[None], np.array([x.gamma]), x.T).value[0]
    options = [x.collected(robot), np.einsum("sa,sak->k", visits, x.features)]
    make = lambda: evidence.RewardPunish(x.mdp, robot, sign, beta=x.beta)  # noqa: E731
    return Said("RewardPunish", make, x.chosen(options, 0 if sign == 1 else 1, x.rough))


def credit(x: World) -> Said:
    """A segment of a path, as if repeated."""
    (robot, _), length = x.path(), int(x.rng.integers(1, STEPS))
    firsts = range(STEPS - length + 1)
    start = int(x.rng.integers(len(firsts)))
    options = [x.collected([robot[first + t % length] for t in range(STEPS)]) for first in firsts]
    make = lambda: evidence.CreditAssignment(x.mdp, robot, start, length, beta=x.beta)  # noqa: E731
    return Said("CreditAssignment", make, x.chosen(options, start))


def utterance(x: World) -> Said:
    """What was said, among three things that could have been."""
    meanings = {f"say {u}": [x.path()[0] for _ in range(1 + u)] for u in range(3)}
    said = int(x.rng.integers(3))
    options = [sum(x.collected(path) for path in paths) / len(paths) for paths in meanings.values()]
    make = lambda: evidence.Utterance(x.mdp, meanings, f"say {said}", beta=x.beta)  # noqa: E731
    return Said("Utterance", make, x.chosen(options, said))


def initial_state_choice(x: World) -> Said:
    """The state that was found, among all that random moves reach."""
    M, here = x.P.mean(axis=1).astype(LONG), x.initial.astype(LONG)
    brought = here[:, None] * x.features[:, 0]
    for t in range(1, x.T):
        brought = M.T @ brought
        here = M.T @ here
        brought = brought + LONG(x.gamma) ** t * here[:, None] * x.features[:, 0]
    ends = np.flatnonzero(here > 0)
    index = int(x.rng.integers(len(ends)))
    make = lambda: evidence.InitialStateChoice(x.mdp, int(ends[index]), beta=x.beta)  # noqa: E731
    return Said("InitialStateChoice", make, x.chosen(brought[ends] / here[ends, None], index, x.eps))


def initial_state(x: World) -> Said:
    """The state that a soft-optimal person left behind."""
    here = x.initial > 0
    for _ in range(x.T - 1):
        here = (x.P.max(axis=1).T @ here) > 0
    found = int(x.rng.choice(np.flatnonzero(here)))

    def twin(w):
        q, _, size, _ = x.values(w, 1 / LONG(x.b))
        policy, now = np.exp(log_softmax(x.b * q)), np.repeat(x.initial[None].astype(LONG), len(w), axis=0)
        for t in range(x.T - 1):
            now = np.einsum("ns,nsa,sat->nt", now, policy[:, t], x.P)
        return np.log(now[:, found]), x.T * planning_error(x, size)

    return Said("InitialState", lambda: evidence.InitialState(x.mdp, found, beta=x.beta), twin)


def demonstration(x: World, soft: bool) -> Said:
    """Two paths of a demonstrator."""
    states, actions = zip(*(x.path() for _ in range(2)), strict=True)

    def twin(w):
        q, _, size, _ = x.values(w, 1 / LONG(x.b) if soft else None)
        log_policy = log_softmax(x.b * q)
        total = np.zeros(len(w), LONG)
        for path, taken in zip(states, actions, strict=True):
            for t, (s, a) in enumerate(zip(path, taken, strict=True)):
                total = total + (log_policy[:, s, a] if x.T is None else log_policy[:, t, s, a])
        return total, 2 * STEPS * planning_error(x, size)

    kind = evidence.MaxEntDemonstration if soft else evidence.RationalDemonstration
    return Said(kind.__name__, lambda: kind(x.mdp, states, actions, beta=x.beta), twin)


def planning_error(x: World, size):
    """What a planner may do to one log probability: its rounding, times β, and a millionth where that is possible."""
    return 1e-6 + 64 * x.eps + x.b * 4 * x.rough * (size + 4 * x.total / x.b)


def maxent(x: World) -> Said:
    """A demonstrator of maximum causal entropy."""
    return demonstration(x, soft=True)


def rational(x: World) -> Said:
    """A Boltzmann-rational demonstrator."""
    return demonstration(x, soft=False)


ANYWHERE = (proxy, proxy_maximum, proxy_maxent, choice, comparison, maxent, rational)
OF_STATES = (improvement, correction, off_switch, credit, utterance)  # of paths without actions
TO_A_HORIZON = (initial_state,)
OF_STATES_TO_A_HORIZON = (reward_punish, initial_state_choice)


def everything(x: World) -> list[Said]:
    """All kinds that fit this MDP."""
    kinds = list(ANYWHERE)
    kinds += () if x.per_action else OF_STATES
    kinds += () if x.T is None else TO_A_HORIZON
    kinds += () if x.T is None or x.per_action else OF_STATES_TO_A_HORIZON
    return [kind(x) for kind in kinds]
