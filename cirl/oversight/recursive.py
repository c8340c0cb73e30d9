"""Recursive reward modelling (Leike et al. 2018) in the small: an evaluator who is helped, and by whom.

An evaluator has to decide about something whose state is not seen, only a signal of it.  A helper who is on the
evaluator's side is a second signal, and a second signal never hurts (Blackwell 1953).  A helper who is against the
evaluator, and known to be, says nothing: however it talks, an evaluator who knows how does no worse than alone, so
that the best it can do is to babble; what it says is worth nothing.  What hurts is to trust it.  And evaluators that
are each made of three of the last level are right more and more often if they are right more often than not *and
their errors are their own*.

How tasks are taken apart, which is what recursive reward modelling is about, is not modelled.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Float

from cirl.oversight._given import Real, chance
from mdps.checks import check_count, check_finite, check_real, check_rows, require_concrete

__all__ = ["adversary", "beside", "expected_payoff", "levels"]
__dir__ = __all__.copy

MOST_WAYS = 100_000  # ways to talk that are tried

Channel = Float[Array, " S O"] | np.ndarray | Sequence[Sequence[float]]
Payoff = Float[Array, " S D"] | np.ndarray | Sequence[Sequence[float]]
Prior = Float[Array, " S"] | np.ndarray | Sequence[float]


def expected_payoff(payoff: Payoff, prior: Prior, channel: Channel, *, believed: Channel | None = None) -> float:
    """What the best decision is worth to an evaluator who sees one signal of the state.

        Σ_o max_d Σ_s P(s) P(o | s) u(s, d)

    Args:
        payoff: u, what each decision is worth in each state, `[S, D]`.
        prior: probability of each state, `[S]`.
        channel: probability of each signal in each state, `[S, O]`; one column: nothing is seen.
        believed: the channel that the evaluator takes it for; None: the right one.  Of decisions that look equally
            good the first is taken.

    Returns:
        Expected payoff.

    Raises:
        ValueError: for tables that do not fit, or rows that are no probabilities.

    Example:
        >>> right, even = [[1.0, 0.0], [0.0, 1.0]], [0.5, 0.5]
        >>> expected_payoff(right, even, [[1.0], [1.0]]), expected_payoff(right, even, [[0.75, 0.25], [0.25, 0.75]])
        (0.5, 0.75)
        >>> expected_payoff(right, even, [[0.0, 1.0], [1.0, 0.0]], believed=[[1.0, 0.0], [0.0, 1.0]])  # trust in a liar
        0.0
    """
    u, p, c = _evaluated(payoff, prior, channel)
    seen = c if believed is None else _signal("believed", believed, len(p), c.shape[1])
    decided = np.einsum("s,so,sd->od", p, seen, u).argmax(axis=1)
    return float(np.einsum("s,so,so->", p, c, u[:, decided]))


def beside(first: Channel, second: Channel) -> np.ndarray:
    """Two signals at once, each with its own noise: a helper's beside one's own.

    Args:
        first: `[S, O]`.
        second: `[S, O']`.

    Returns:
        `[S, O O']`.

    Raises:
        ValueError: for channels of different states.

    Example:
        >>> right, even, own = [[1.0, 0.0], [0.0, 1.0]], [0.5, 0.5], [[0.75, 0.25], [0.25, 0.75]]
        >>> expected_payoff(right, even, beside(own, [[0.875, 0.125], [0.125, 0.875]]))
        0.875
    """
    a = _signal("first", first)
    b = _signal("second", second, len(a))
    return np.einsum("so,sm->som", a, b).reshape(len(a), -1)


def adversary(payoff: Payoff, prior: Prior, channel: Channel, *, messages: int = 2) -> float:
    """The least that a helper who knows the state, and is known to be against it, leaves to an evaluator.

    Every way to send a message by the state is tried, each against an evaluator who knows it: none leaves less than the
    evaluator has alone, and the constant message, babbling, leaves that.

    Args:
        payoff: u, `[S, D]`.
        prior: `[S]`.
        channel: the evaluator's own signal, `[S, O]`.
        messages: how many messages there are.

    Returns:
        Expected payoff: `expected_payoff(payoff, prior, channel)`.

    Raises:
        ValueError: for tables that do not fit, or more ways to talk than are tried.

    Example:
        >>> adversary([[1.0, 0.0], [0.0, 1.0]], [0.5, 0.5], [[0.75, 0.25], [0.25, 0.75]])
        0.75
    """
    u, p, c = _evaluated(payoff, prior, channel)
    count = check_count("messages", messages)
    if count ** len(p) > MOST_WAYS:
        raise ValueError(
            f"messages and states make {count ** len(p):,} ways to talk, more than the {MOST_WAYS:,} that are tried; "
            "give fewer of either."
        )
    ways = np.stack(np.unravel_index(np.arange(count ** len(p)), (count,) * len(p)), axis=1)
    talks = np.eye(count)[ways]  # [ways, S, messages]
    left = np.einsum("s,so,wsm,sd->womd", p, c, talks, u).max(axis=3).sum(axis=(1, 2))
    return float(left.min())


def levels(right: Real, count: int, *, together: Real = 0.0) -> list[float]:
    """How often evaluators are right that are each a majority of three of the level below: p → p²(3 - 2p).

    Args:
        right: p, how often the first level is right.
        count: further levels.
        together: share of cases in which the three do not err on their own but all alike; there a majority is one.

    Returns:
        One number for each level, the first included.

    Raises:
        ValueError: for numbers that are no probabilities.

    Example:
        >>> [round(p, 4) for p in levels(0.6, 3)]
        [0.6, 0.648, 0.7155, 0.8033]
        >>> [round(p, 4) for p in levels(0.6, 3, together=1.0)]
        [0.6, 0.6, 0.6, 0.6]
    """
    told, alike = [chance("right", right)], chance("together", together)
    for _ in range(check_count("count", count, least=0)):
        p = told[-1]
        told.append((1 - alike) * p * p * (3 - 2 * p) + alike * p)
    return told


def _evaluated(payoff, prior, channel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    require_concrete("oversight.recursive", payoff=payoff, prior=prior, channel=channel)
    u = np.asarray(check_real("payoff", payoff), float)
    if u.ndim != 2 or 0 in u.shape:
        raise ValueError(f"payoff has shape {u.shape}; give what each decision is worth in each state, [S, D].")
    check_finite("payoff", u)
    p = np.asarray(check_real("prior", prior), float)
    if p.shape != (len(u),):
        raise ValueError(f"prior has shape {p.shape}; give one probability for each of the {len(u)} states.")
    check_rows("prior", p, axes=())
    return u, p / p.sum(), _signal("channel", channel, len(u))


def _signal(name: str, channel, states: int | None = None, signals: int | None = None) -> np.ndarray:
    """A channel, checked."""
    require_concrete("oversight.recursive", **{name: channel})
    c = np.asarray(check_real(name, channel), float)
    fits = c.ndim == 2 and 0 not in c.shape and states in (None, len(c)) and signals in (None, c.shape[-1])
    if not fits:
        wanted = "[S, O]" if states is None else f"[{states}, {'O' if signals is None else signals}]"
        raise ValueError(f"{name} has shape {c.shape}; give the probability of each signal in each state, {wanted}.")
    check_rows(name, c, axes=("state",))
    return c / c.sum(axis=1, keepdims=True)
