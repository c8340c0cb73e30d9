"""Risk measures against sorting and sums in long double: values, adversaries and what these pay."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fuzz.problems import scale
from fuzz.promises import Checked
from ird import risk

SAMPLES, ROWS = 16, 64
KINDS = ("Mean", "WorstCase", "CVaR", "MeanCVaR", "Entropic")


class Returns(NamedTuple):
    """Sampled returns, their log probabilities and a measure's two numbers, one row for each problem."""

    kind: str
    returns: jax.Array  # [n, N]
    log_weights: jax.Array  # [n, N]
    first: jax.Array  # [n]: alpha, or the weight, or the aversion
    second: jax.Array  # [n]: alpha of MeanCVaR

    @property
    def size(self) -> int:
        """How many problems there are."""
        return len(self.returns)

    def show(self, i: int) -> str:
        """Problem `i` in a line."""
        return f"{self.kind}({float(self.first[i])!r}, {float(self.second[i])!r}) of problems.returns[{i}]"


def wide(seed: int, batch: int) -> bool:
    """Whether a batch is in float64."""
    return batch % 2 == 1


def draw(seed: int, batch: int) -> Returns:
    """Returns of one scale with ties, some of probability zero, of which some are -inf."""
    rng = np.random.default_rng([seed, batch, 3])
    kind = KINDS[batch // 2 % len(KINDS)]
    size = np.array([scale(rng) for _ in range(ROWS)])[:, None]
    x = np.where(rng.random((ROWS, 1)) < 0.3, rng.integers(-2, 3, (ROWS, SAMPLES)), rng.normal(size=(ROWS, SAMPLES)))
    p = np.full((ROWS, SAMPLES), 1 / SAMPLES)
    if kind != "WorstCase":
        p = rng.dirichlet(np.full(SAMPLES, 0.5), size=ROWS) * (rng.random((ROWS, SAMPLES)) < 0.8)
        p[:, 0] += 1e-3
        p /= p.sum(axis=1, keepdims=True)
    x = np.where((p == 0) & (rng.random(p.shape) < 0.3), -np.inf, x * size)
    first = 10 ** rng.uniform(-9, 6, ROWS) / size[:, 0] if kind == "Entropic" else 1 - rng.random(ROWS)
    dtype = jnp.result_type(float)
    with np.errstate(divide="ignore"):
        numbers = x, np.log(p), np.clip(first, 1e-15, 1e15), 1 - rng.random(ROWS)
    return Returns(kind, *(jnp.asarray(y, dtype) for y in numbers))


@jax.jit
def asked(r: Returns):
    """Value, adversary, penalty and the most it may put on a sample, for each row."""

    def one(returns, log_weights, first, second):
        numbers = {"Entropic": (first,), "CVaR": (first,), "MeanCVaR": (first, second)}.get(r.kind, ())
        measure = getattr(risk, r.kind)(*numbers)
        tilt = measure.adversary(returns, log_weights)
        return (
            measure.value(returns, log_weights),
            tilt,
            measure.penalty(tilt, log_weights),
            measure.largest(log_weights),
        )

    return jax.vmap(one)(*r[1:])


jax.tree_util.register_pytree_node(Returns, lambda r: (r[1:], r.kind), lambda kind, x: Returns(kind, *x))


def answers(r: Returns):
    """What the library says."""
    return jax.tree.map(np.asarray, asked(r))


def call(r: Returns, i: int) -> str:
    """How the library was called."""
    return f"ird.risk.{r.kind}(...): value, adversary, penalty and largest of one row, in jit(vmap)"


def check(r: Returns, s) -> list[Checked]:
    """A measure is what its name says, and the adversary it names attains it."""
    value, tilt, penalty, most = (x.astype(np.longdouble) for x in s)
    x, first, second = (np.asarray(y).astype(np.longdouble) for y in (r.returns, r.first, r.second))
    p = np.exp(np.asarray(r.log_weights).astype(np.longdouble))
    p = p / p.sum(axis=1, keepdims=True)
    x = np.where(p > 0, x, 0)
    eps = float(np.finfo(s[0].dtype).eps)
    size, rounding = np.abs(x).max(axis=1), 8 * (SAMPLES + 8) * eps
    paid = (tilt * x).sum(axis=1) + penalty
    over = np.maximum(np.maximum(-tilt, tilt - most).max(axis=1), np.abs(tilt.sum(axis=1) - 1))
    exact = exactly(r.kind, x, p, first, second)
    name = f"risk: {r.kind}"
    # KL/η: its terms are of the size of log p, whatever the returns.
    free = rounding * (1 / first if r.kind == "Entropic" else 0)
    return [
        Checked(f"{name}, value", np.abs(value - exact), rounding * size),
        Checked(f"{name}, adversary is one", over, rounding),
        Checked(f"{name}, adversary attains the value", np.abs(paid - value), rounding * size + free),
    ]


def exactly(kind: str, x, p, first, second):
    """The measure of each row."""
    if kind == "Mean":
        return (p * x).sum(axis=1)
    if kind == "WorstCase":
        return x.min(axis=1)
    if kind == "CVaR":
        return tail(x, p, first)
    if kind == "MeanCVaR":
        return (1 - first) * (p * x).sum(axis=1) + first * tail(x, p, second)
    low = np.where(p > 0, x, np.inf).min(axis=1, keepdims=True)
    above = first[:, None] * (x - low)
    saved = (p * np.expm1(-above)).sum(axis=1)
    # Near -1 the sum has cancelled; the sum of exponentials has not.
    rest = np.where(saved > -0.5, np.log1p(np.maximum(saved, -0.5)), np.log((p * np.exp(-above)).sum(axis=1)))
    return low[:, 0] - rest / first


def tail(x, p, alpha):
    """Mean of the worst share α of each row, by sorting."""
    order = np.argsort(x, axis=1)
    x, p = np.take_along_axis(x, order, 1), np.take_along_axis(p, order, 1)
    taken = np.clip(alpha[:, None] - (np.cumsum(p, axis=1) - p), 0, p)
    return (taken * x).sum(axis=1) / taken.sum(axis=1)
