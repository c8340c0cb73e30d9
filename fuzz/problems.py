"""How planning problems are drawn: a shape, structures of it, and numbers of every size on them.

Compiling takes a thousand times as long as a problem, so a family has sixteen settings (shape, dtype, horizon, hard or
soft, how the library is called), which take turns. The structures of one setting, and with them the shapes of all
tables, stay for 4,096 batches; the numbers on them are new in every batch. The same seed, family and batch number draw
the same problems.
"""

import functools
import inspect
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import mdps
from fuzz.calls import CALLS, ask
from fuzz.structures import STRUCTURES, Pattern, pattern, reflect

MASKS = "available" in inspect.signature(mdps.MDP.from_dense).parameters


class Shape(NamedTuple):
    """Sizes that problems share, so that they share what is compiled."""

    states: int
    actions: int
    successors: int
    features: int
    horizon: int
    per_action: bool


SHAPES = {
    "one": Shape(1, 2, 1, 2, 5, False),
    "tiny": Shape(6, 2, 5, 2, 3, True),
    "lone": Shape(7, 1, 4, 3, 8, False),
    "dense": Shape(12, 3, 12, 3, 6, True),
    "middle": Shape(30, 4, 6, 4, 12, False),
    "many": Shape(20, 8, 6, 3, 5, True),
    "long": Shape(200, 2, 5, 2, 40, False),
}
MEDIUM = Shape(8, 3, 4, 3, 4, True)  # of beliefs and evidence, which ask more of each problem
STRETCH, PALETTE = 4096, 16
DISCOUNTS = (0.0, 1e-6, 0.5, 0.9, 0.95, 0.99, 0.999)
FAR_DISCOUNTS = (0.9999, 0.99999)  # with few enough sweeps that a batch takes no minute
MAX_STEPS = 10_000


@dataclass(frozen=True)
class Problems:
    """N MDPs and R rewards for each, of one shape.

    Attributes:
        settings: what decides about compilation.
        mdps: the MDPs, one by one.
        stacked: all of them in one pytree, as `mdps.stack` makes it.
        reward: `[N, R, S]` or `[N, R, S, A]`.
        temperature: `[N, R]`.
        tol: tolerance asked of each, or None.
        patterns: the structure of each MDP.
    """

    settings: "Settings"
    mdps: list[mdps.MDP]
    stacked: mdps.MDP
    reward: jax.Array
    temperature: jax.Array
    tol: jax.Array | None
    patterns: list[Pattern]

    @property
    def horizon(self) -> int | None:
        """Number of steps, or None."""
        return self.stacked.horizon

    @property
    def size(self) -> int:
        """How many problems there are, N·R."""
        return self.reward.shape[0] * self.reward.shape[1]

    def ask(self, function, *arrays):
        """`calls.ask` of these MDPs, as the settings say."""
        return ask(self.settings.call, function, self.mdps, self.stacked, *arrays)

    def show(self, i: int) -> str:
        """Problem `i` in a line."""
        n, j = divmod(i, self.reward.shape[1])
        p = self.patterns[n]
        told = f"{p.name} of {len(p.tied)} states, discount {float(self.mdps[n].discount)!r}, horizon {self.horizon}"
        told += f", temperature {float(self.temperature[n, j]):.4g}" if self.settings.soft else ""
        told += "" if self.tol is None else f", tol {float(self.tol[n, j]):.4g}"
        return f"{told}; MDP problems.mdps[{n}], reward problems.reward[{n}, {j}]"

    def tables(self):
        """P `[N, S, A, S']`, discounts, rewards `[N·R, S, A]` with -inf for what does not exist, temperatures.

        As the library holds them, in float64, each MDP repeated for each of its rewards.
        """
        N, R = self.reward.shape[:2]
        P = np.asarray(dense(self.stacked), float)
        r = np.asarray(self.reward, float)
        r = np.repeat(r[..., None], P.shape[2], axis=-1) if r.ndim == 3 else r
        available = getattr(self.stacked, "available", None)
        if available is not None:
            r = np.where(np.asarray(available)[:, None], r, -np.inf)
        return (
            np.repeat(P, R, axis=0),
            np.repeat(np.asarray(self.stacked.discount, float), R),
            r.reshape(N * R, *r.shape[2:]),
            np.asarray(self.temperature, float).reshape(-1) if self.settings.soft else None,
        )


@jax.jit
def dense(stacked: mdps.MDP) -> jax.Array:
    """The transition tensors of several MDPs, `[N, S, A, S']`."""
    return jax.vmap(lambda m: m.to_dense())(stacked)


def generator(family: str, seed: int, batch: int) -> np.random.Generator:
    """The source of chance of one batch."""
    return np.random.default_rng([seed, batch, *family.encode()])


class Settings(NamedTuple):
    """What decides about compilation."""

    dtype: str
    shape: str
    call: str
    structure: str  # where the call is not of many
    masked: bool
    ends: bool  # a horizon
    soft: bool
    far: bool  # a discount close to one, and at most MAX_STEPS sweeps


def settings(family: str, seed: int, batch: int) -> Settings:
    """The settings of one batch: sixteen take turns, two for each dtype, endless or not, hard or soft."""
    turn, stretch = batch % PALETTE, batch // STRETCH
    rng = np.random.default_rng([seed, stretch, turn, *family.encode()])
    first = np.random.default_rng([seed, stretch, *family.encode()]).integers(len(SHAPES))
    return Settings(
        "float64" if turn & 1 else "float32",
        list(SHAPES)[(first + turn + turn // len(SHAPES)) % len(SHAPES)],
        str(rng.choice(list(CALLS), p=[0.05, 0.05, 0.2, 0.3, 0.4])),
        str(rng.choice(list(STRUCTURES))),
        bool(MASKS and rng.random() < 0.3),
        bool(turn & 2),
        bool(turn & 4),
        bool(rng.random() < 0.25),
    )


def draw(family: str, seed: int, batch: int) -> Problems:
    """Problems number `batch` of a family, in the precision of their settings."""
    rng, chosen = generator(family, seed, batch), settings(family, seed, batch)
    shape, (N, R) = SHAPES[chosen.shape], CALLS[chosen.call]
    if shape.states > 50 or chosen.far:  # these take longer
        N, R = -(-N // 8), -(-R // 8)
    forms = structures([seed, batch // STRETCH, batch % PALETTE, *family.encode()], chosen, shape, N)
    found = [one(rng, chosen, shape, form) for form in forms]
    models, patterns = [m for m, _ in found], [p for _, p in found]
    stacked = mdps.stack(models)
    S, A = stacked.probability.shape[1:3]
    each = [rewards(rng, R, S, A, per_action=shape.per_action) for _ in range(N)]
    reward = np.stack([tie(r, p) if shape.per_action else symmetric(r, p) for r, p in zip(each, patterns)])
    size = np.abs(reward).reshape(N, R, -1).max(axis=-1)
    size = np.where(size > 0, size, 1)
    temperature = size * 10 ** rng.uniform(-4, 3, (N, R))
    tol = size * 10 ** rng.uniform(-9, 0, (N, R)) if batch % PALETTE >= 8 else None
    numbers = [None if x is None else jnp.asarray(x, chosen.dtype) for x in (reward, temperature, tol)]
    return Problems(chosen, models, stacked, *numbers, patterns)


class Form(NamedTuple):
    """A structure in one size: the arguments of `structures.pattern`."""

    name: str
    states: int
    variant: int
    masked: bool


def structures(seed: list[int], chosen: Settings, shape: Shape, N: int) -> list[Form]:
    """The structures of N MDPs: the same for the same seed, so that their tables have the same shapes.

    Stacked ones are of many structures and sizes; the first has all the states.
    """
    if chosen.call not in ("stacked", "nested"):
        return [Form(chosen.structure, shape.states, 0, chosen.masked)] * N
    rng, forms = np.random.default_rng([*seed, 1]), []
    for i in range(N):
        S = int(rng.integers(1, shape.states + 1)) if i and rng.random() < 0.3 else shape.states
        masked = bool(MASKS and rng.random() < 0.3)
        forms.append(Form(str(rng.choice(list(STRUCTURES))), S, int(rng.integers(1 << 30)), masked))
    return forms


@functools.lru_cache(maxsize=4096)
def known_pattern(form: Form, A: int, D: int) -> Pattern:
    """The pattern of a structure, kept: it is used in every sixteenth batch."""
    return pattern(form.name, form.states, A, D, form.variant, form.masked)


def one(rng, chosen: Settings, shape: Shape, form: Form) -> tuple[mdps.MDP, Pattern]:
    """One MDP on a structure."""
    S, A, D, K = form.states, shape.actions, shape.successors, shape.features
    p = known_pattern(form, A, D)
    draw_features = rng.normal if rng.random() < 0.7 else lambda size: rng.integers(-2, 3, size).astype(float)
    if shape.per_action:
        features = np.moveaxis(tie(draw_features(size=(K, S, A)), p), 0, -1)
    else:
        features = np.moveaxis(symmetric(draw_features(size=(K, S)), p), 0, -1)
    initial = rng.dirichlet(np.ones(S)) if rng.random() < 0.5 else np.eye(S)[rng.integers(S)]
    discount = float(rng.choice(FAR_DISCOUNTS if chosen.far else DISCOUNTS)) if rng.random() < 0.8 else rng.random()
    if chosen.ends and rng.random() < 0.5:
        discount = 1.0
    horizon, more = shape.horizon if chosen.ends else None, {"available": p.available} if form.masked else {}
    rows = transitions(rng, p)
    if rng.random() < 0.3:  # printed with six digits: the constructor divides by the sum
        rows = rows * (1 + rng.uniform(-1e-6, 1e-6))
    return mdps.MDP.from_dense(rows, features, initial, discount=discount, horizon=horizon, **more), p


def transitions(rng, p: Pattern) -> np.ndarray:
    """Probabilities on a pattern: even, spread or nearly certain; ties and mirrors are kept to the bit."""
    kind = rng.choice(["even", "spread", "sharp"])
    x = p.weight.copy()
    if kind != "even":
        x = x * np.maximum(rng.gamma(1.0 if kind == "spread" else 0.1, size=x.shape), 1e-12)
        if p.mirrored:
            x = reflect(x)
        else:
            x[p.tied, -1] = x[p.tied, 0]
    P = x / x.sum(axis=-1, keepdims=True)
    # Adding in another order may round otherwise: a tie is planted after the division.
    P = reflect(P) if p.mirrored else P
    P[p.tied, -1] = P[p.tied, 0, ::-1] if p.mirrored else P[p.tied, 0]
    return P


def rewards(rng, R: int, S: int, A: int, per_action: bool) -> np.ndarray:
    """Rewards `[R, S]` or `[R, S, A]` of every kind and scale."""
    shape = (S, A) if per_action else (S,)
    return np.stack([reward(rng, shape) * scale(rng) for _ in range(R)])


def scale(rng) -> float:
    """1, or anything between 1e-8 and 1e8."""
    return 10 ** rng.uniform(-8, 8) if rng.random() < 0.5 else 1.0


def reward(rng, shape) -> np.ndarray:
    """Smooth, whole numbers (ties), one goal, constant, nothing, each of its own scale, penalties, far from 0."""
    kind = rng.choice(
        ["normal", "whole", "goal", "constant", "nothing", "wild", "penalty", "forbidden", "offset", "near"]
    )
    x = rng.normal(size=shape)
    if kind == "whole":
        return rng.integers(-2, 3, shape).astype(float)
    if kind == "goal":
        return (np.arange(x.size) == rng.integers(x.size)).astype(float).reshape(shape)
    if kind == "constant":
        return np.full(shape, x.flat[0])
    if kind == "nothing":
        return np.zeros(shape)
    if kind == "wild":
        return x * 10 ** rng.uniform(-8, 0, shape)
    if kind == "penalty":
        return np.where(rng.random(shape) < 0.2, -1e6, x)
    if kind == "forbidden":
        return np.where((np.arange(x.size) == rng.integers(x.size)).reshape(shape), -1e6, x)
    if kind == "near":  # ties, but for the last digits
        return rng.integers(-2, 3, shape) * (1 + x * 10 ** rng.uniform(-16, -3))
    return x + 1e4 if kind == "offset" else x


def tie(x: np.ndarray, p: Pattern) -> np.ndarray:
    """`x` `[..., S, A]` with the pattern's ties planted (states beyond the pattern's own are padding)."""
    s = len(p.tied)
    x = np.swapaxes(symmetric(np.swapaxes(x, -1, -2), p), -1, -2)
    x[..., :s, -1] = np.where(p.tied, x[..., :s, 0], x[..., :s, -1])
    return x


def symmetric(x: np.ndarray, p: Pattern) -> np.ndarray:
    """`x` `[..., S]`, where the pattern is a mirror image the same on both sides."""
    s, x = len(p.tied), x.copy()
    if p.mirrored:
        x[..., :s] = (x[..., :s] + x[..., :s][..., ::-1]) / 2
    return x
