"""Cooperative games against enumeration: joint decisions for a rational human, all robot policies for others."""

import itertools
from typing import NamedTuple

import numpy as np

import cirl
from cirl import human
from fuzz import truth
from fuzz.problems import reward, scale
from fuzz.promises import Checked
from tests import oracles_cirl as oracles

GAMES = 3
SHAPES = ((2, 2, 2, 2, 2), (1, 2, 2, 3, 3), (1, 2, 3, 2, 2), (2, 3, 2, 3, 2))  # S, A_H, A_R, Θ, T
MODELS = ("rational", "epsilon", "boltzmann", "endless")


class Settings(NamedTuple):
    """What decides about compilation."""

    wide: bool
    shape: tuple[int, int, int, int, int]
    order: cirl.Order
    model: str
    concept: str
    method: str


class Games(NamedTuple):
    """Games of one shape, and the number that the human model has."""

    settings: Settings
    games: list[cirl.Game]
    number: list[float]
    tol: list[float]

    @property
    def size(self) -> int:
        """How many problems there are."""
        return len(self.games)

    def show(self, i: int) -> str:
        """Problem `i` in a line."""
        return f"{self.settings}, human({self.number[i]!r}), tol {self.tol[i]!r}; game problems.games[{i}]"


def settings(seed: int, batch: int) -> Settings:
    """The settings of one batch; a few are drawn for each stretch of batches."""
    rng = np.random.default_rng([seed, batch // 48, batch % 4, 5])
    model = MODELS[batch % 4]
    order = list(cirl.Order)[rng.integers(3)]
    shapes = (
        SHAPES
        if model in ("rational", "endless")
        else SHAPES[2:3]
        if order is cirl.Order.HUMAN_FIRST
        else SHAPES[::2][:2]
    )
    shape = shapes[rng.integers(len(shapes))]
    concept = str(rng.choice(["Commitment", "SubgameConsistent"]))
    method = str(rng.choice(["None", "Bounded"] if model != "boltzmann" else ["None"]))
    return Settings(bool(rng.random() < 0.7), shape, order, model, concept, method)


def wide(seed: int, batch: int) -> bool:
    """Whether a batch is in float64."""
    return settings(seed, batch).wide


def draw(seed: int, batch: int) -> Games:
    """Games with rewards of every kind, certain or uncertain moves, and priors that may be lopsided."""
    rng, chosen = np.random.default_rng([seed, batch, 5]), settings(seed, batch)
    S, AH, AR, Theta, T = chosen.shape
    games, numbers, tols = [], [], []
    for _ in range(GAMES):
        size = scale(rng)
        P = rng.dirichlet(np.ones(S), size=(S, AH, AR))
        P = P if rng.random() < 0.6 else np.eye(S)[P.argmax(axis=-1)]
        prior = rng.dirichlet(np.full(Theta, rng.choice([0.3, 2.0]))) + 1e-6
        endless = chosen.model == "endless"
        games.append(
            cirl.Game.from_dense(
                P,
                reward(rng, (S, AH, AR, Theta)) * size,
                prior / prior.sum(),
                rng.dirichlet(np.ones(S)),
                discount=float(rng.choice([0.0, 0.5, 0.9, 0.99] if endless else [0.5, 0.9, 1.0])),
                horizon=None if endless else T,
                order=chosen.order,
            )
        )
        numbers.append(float(rng.random() if chosen.model == "epsilon" else 10 ** rng.uniform(-2, 2) / size))
        tols.append(1e-3 * size)
    return Games(chosen, games, numbers, tols)


def answers(p: Games):
    """Lower and upper bounds, whether they meet the tolerance, and what the robot attains; NaN where refused."""
    found = []
    for game, number, tol in zip(p.games, p.number, p.tol):
        model = {"epsilon": human.EpsilonGreedy, "boltzmann": human.Boltzmann}.get(p.settings.model)
        method = {"Bounded": cirl.Bounded(max_backups=200)}.get(p.settings.method)
        concept = getattr(cirl, p.settings.concept)()
        person = human.Rational() if model is None else model(number)
        try:
            s = cirl.solve(game, human=person, concept=concept, tol=tol, method=method)
        except ValueError as refusal:
            if "no deterministic plan" not in str(refusal):
                raise
            found.append([np.nan, np.nan, 0.0, np.nan])
            continue
        attained = game.mdp.initial @ (s.values[s.robot.start] @ game.prior)
        found.append([float(x) for x in (s.lower, s.upper, s.converged, attained)])
    return np.array(found)


def call(p: Games, i: int) -> str:
    """How the library was called."""
    return "cirl.solve(game, human=..., concept=..., tol=..., method=...)"


def check(p: Games, s: np.ndarray) -> list[Checked]:
    """The listed optimum lies between the bounds, and `converged` is honest."""
    lower, upper, converged, attained = s.T
    exact, error, size = np.array([listed(p, i) for i in range(p.size)]).T
    eps = float(np.finfo(np.asarray(p.games[0].prior).dtype).eps)
    tol, near = np.array(p.tol), error + 64 * eps * size
    says, refused = np.isfinite(lower) & np.isfinite(upper), np.isnan(lower)
    return [
        Checked("game: refused only where no plan holds", (refused & np.isfinite(exact)).astype(float), 0.0, refused),
        Checked("game: lower bound below the optimum", np.maximum(lower - exact, 0), error, says),
        Checked("game: upper bound above the optimum", np.maximum(exact - upper, 0), error, says),
        Checked("game: what the lower bound promises is attained", np.maximum(lower - attained, 0), near, says),
        Checked("game: converged means within tol", np.where(converged > 0, upper - lower, 0), tol * (1 + 8 * eps)),
    ]


def arrays(game: cirl.Game):
    """The game as the library holds it, in float64."""
    S, AH, AR = game.reward.shape[:3]
    P = np.asarray(game.mdp.to_dense(), float).reshape(S, AH, AR, S)
    return P, *(np.asarray(x, float) for x in (game.reward, game.prior, game.mdp.initial))


def listed(p: Games, i: int) -> tuple[float, float, float]:
    """The value of the best robot, how far it can be from the truth, and the size of values."""
    game, (kind, concept) = p.games[i], (p.settings.model, p.settings.concept)
    given, gamma, T = arrays(game), float(game.mdp.discount), game.mdp.horizon
    total = 1 / (1 - gamma) if T is None else sum(gamma**t for t in range(T))
    size = float(np.abs(given[1]).max()) * total
    if kind == "endless":
        return *endless_value(given, gamma, p.settings.order), size
    if kind == "rational":
        return oracles.coordination_value(given, gamma, T, p.settings.order), 1e-13 * size, size
    both = oracles.best_policies(given, gamma, T, (kind, p.number[i]), p.settings.order)
    return both[concept == "SubgameConsistent"], 1e-12 * size, size


def endless_value(given, gamma: float, order: cirl.Order) -> tuple[float, float]:
    """A rational human's endless game: an MDP on (state, subset of Θ), every joint decision an action."""
    P, r, prior, initial = given
    S, AH, AR, Theta = r.shape
    subsets = [b for n in range(1, Theta + 1) for b in itertools.combinations(range(Theta), n)]
    replies = list(itertools.product(range(AR), repeat=AH if order is cirl.Order.HUMAN_FIRST else 1))
    decisions = [(d, a) for d in itertools.product(range(AH), repeat=Theta) for a in replies]
    n = S * len(subsets)
    move, paid = np.zeros((n, len(decisions), n)), np.zeros((n, len(decisions)))
    for (i, possible), s, (j, (delta, reply)) in itertools.product(enumerate(subsets), range(S), enumerate(decisions)):
        mass = sum(prior[t] for t in possible)
        for t in possible:
            a, b = delta[t], reply[delta[t]] if len(reply) > 1 else reply[0]
            part = subsets.index(tuple(u for u in possible if delta[u] == a))
            paid[i * S + s, j] += prior[t] / mass * r[s, a, b, t]
            move[i * S + s, j, part * S : part * S + S] += prior[t] / mass * P[s, a, b]
    known = truth.optimum(move[None], paid[None], np.array([gamma]))
    return float(initial @ known.value[0, -S:]), float(known.error[0])
