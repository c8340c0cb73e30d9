"""The smallest change of a proxy after which its literal plan is good enough: what a manager wants to be told."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.beliefs import Belief, check_belief, is_belief
from ird.information._least_change import Judge, Rewriting, least_change
from ird.information._pieces import Planner
from mdps.checks import check_array, check_count, check_mdp, check_number, check_sums, is_concrete
from mdps.mdp import MDP, stack
from mdps.optimal_features import optimum
from mdps.policies import feature_expectations, uniform_policy

_AT_ONCE = 32  # weights that are planned for side by side; the last batch is filled up, so that one program serves all


@dataclass(frozen=True, eq=False)
class Rewrite:
    """A proxy that changes as little as possible of the written one; `print` says it in a sentence.

    Attributes:
        weights: the proxy, `[K]`; where none was found, the one that came nearest.
        written: the proxy as it was written, `[K]`.
        found: whether its literal plan is good enough.
        regret: what its literal plan falls short of the best in each MDP, a share of what the best gains on acting at
            random, `[M]`; the mean over the belief, where the meant reward was not told.
        held: probability under the belief that it is good enough in every MDP; 1 or 0 where the meant reward was told.
        attainable: the largest such probability among plans that are best for one of the belief's rewards: where it is
            small nothing that is written will do, and a question has to come first.
        cost: Σ_k |Δw_k| · range_k, in units of return: how much the change may move returns.
        least: the cost from which on a change of that one metric is good enough; NaN where none is, or of two.
        between: of the one weight that is changed, where the literal plan is the same, `[2]`; NaN otherwise.
        limit: the largest regret that is good enough.
        share: the probability with which it has to be; None where the meant reward was told.
        most: how many metrics might be changed.
        feature_names: names of the metrics.
    """

    weights: np.ndarray
    written: np.ndarray
    found: bool
    regret: np.ndarray
    held: float
    attainable: float
    cost: float
    least: float
    between: np.ndarray
    limit: float
    share: float | None
    most: int
    feature_names: tuple[str, ...]

    @property
    def changed(self) -> tuple[str, ...]:
        """Names of the metrics whose weight is another."""
        return tuple(self.feature_names[k] for k in np.flatnonzero(self.weights != self.written))

    def __str__(self) -> str:
        moved = [(self.feature_names[k], self.written[k], self.weights[k]) for k in np.flatnonzero(self._moved)]
        said, told = sentence(moved), self.share is None
        worlds = {1: "", 2: " in both worlds"}.get(len(self.regret), f" in all {len(self.regret)} worlds")
        good = f"within {self.limit:.3g} of the best{worlds}"
        if self.found:
            under = "" if told else f", under {self.held:.0%} of the belief"
            return f"{said[0].upper()}{said[1:]}: taken at its word, the proxy is then {good}{under}."
        asked = "" if told else f" under {self.share:.0%} of the belief"
        what = "of one metric" if self.most == 1 else "of one metric, and none that was tried of two,"
        nearest = f"with regret {np.max(self.regret):.2g}" if told else f"under {self.held:.0%}"
        told_so = (
            f"No change {what} brings the proxy, taken at its word, {good}{asked}. The nearest, {nearest}: {said}."
        )
        return told_so + (
            ""
            if told
            else f" Of the plans best for one of its rewards none is so under more than {self.attainable:.0%}."
        )

    __repr__ = __str__

    @property
    def _moved(self) -> np.ndarray:
        return self.weights != self.written


def sentence(moved: Sequence[tuple[str, float, float]]) -> str:
    """Changes in words, of names, weights as written and weights as they are to be."""
    dropped = [(name, old) for name, old, new in moved if old != 0 and new == 0]
    added = [(name, new) for name, old, new in moved if old == 0]
    if len(moved) == 2 and dropped and added and dropped[0][1] * added[0][1] > 0:
        return f"{_at_price(added[0][1], added[0][0])} instead of {dropped[0][0]}"
    return " and ".join(_changed(*each) for each in moved) or "keep it as it is written"


def _at_price(weight: float, name: str) -> str:
    return f"{'pay' if weight > 0 else 'charge'} {abs(weight):.4g} for {name}"


def _changed(name: str, old: float, new: float) -> str:
    if new == 0:
        return f"{'pay' if old > 0 else 'charge'} nothing for {name}"
    if old == 0:
        return _at_price(new, name)
    before = f"{abs(old):.4g}" if old * new > 0 else f"{'paying' if old > 0 else 'charging'} {abs(old):.4g}"
    return f"{_at_price(new, name)}, not {before}"


def rewrite(
    mdps: MDP | Sequence[MDP],
    meant: Belief | Float[Array, " K"] | np.ndarray | Sequence[float],
    written: Float[Array, " K"] | np.ndarray | Sequence[float],
    *,
    regret: float | Float[Array, ""] = 0.05,
    share: float | Float[Array, ""] = 0.95,
    most: int = 2,
) -> Rewrite:
    r"""Change as few weights of a proxy as possible, and those as little, so that taking it at its word is good enough.

    Good enough is a literal plan (that of `mdps.solve`) whose regret is at most `regret` in every MDP,

        (V*(w) - w·φ(π)) / (V*(w) - w·φ(uniform)) <= regret

    under the meant reward w, or with probability `share` under a belief about it.  Of all changes those of the fewest
    metrics count, and of these the one that costs least, Σ_k |Δw_k| · range_k, with range_k what policies can make of
    metric k.

    Of one metric the answer is exact up to rounding: a literal plan is piecewise constant in a weight, and all its
    pieces are found (Eisner & Severance 1976), as far as a change of 64 times all that the written proxy has at stake.
    Of two it is a small search, which may miss one: a coarse grid of pairs, cheapest first, then exact along each of
    the two in turn.  The weight that is given has as few digits as keep its plan, for at most a tenth more than the
    least.

    It runs on the host: call it outside `jit` and `vmap`.

    Args:
        mdps: where the literal plan has to be good enough: one MDP, or several with the same features.
        meant: the meant reward, `[K]`; or a belief about it, whose samples stand for it.  Each is planned for in each
            MDP, so give a few hundred (`belief.resample`).
        written: the proxy as it is written, `[K]`.
        regret: the largest regret that is good enough, in [0, 1).
        share: probability under the belief with which it has to be, in (0, 1].
        most: how many metrics may be changed, 1 or 2.

    Returns:
        A `Rewrite`; where nothing is good enough its `found` is False, and it is what came nearest.

    Raises:
        ValueError: for no MDPs, MDPs or a belief with other features, weights of another shape or not finite, a regret
            or a share out of range, anything traced, or an MDP without a discount and a horizon.

    Example:
        >>> import mdps, numpy
        >>> names = "minutes", "closed", "resolved"  # to close at once, to resolve first, to wait
        >>> counts = [[[1.0, 1.0, 0.0], [6.0, 1.0, 1.0], [9.0, 0.0, 0.0]]]
        >>> desk = mdps.MDP.from_dense(numpy.ones((1, 3, 1)), counts, [1.0], horizon=1, feature_names=names)
        >>> print(rewrite(desk, meant=[-0.3, 0.0, 10.0], written=[-1.0, 10.0, 0.0]))
        Pay 5.1 for resolved: taken at its word, the proxy is then within 0.05 of the best.
    """
    every = _check_mdps(mdps)
    told = not is_belief(meant)
    samples, p = (_weights("meant", meant, every[0])[None], np.ones(1)) if told else _samples(every, meant)
    old = _weights("written", written, every[0])
    limit = _portion("regret", regret, lambda x: 0 <= x < 1, "it is a share and must lie in [0, 1).")
    asked = _portion("share", share, lambda x: 0 < x <= 1, "it is a probability and must lie in (0, 1].")
    most = check_count("most", most, 1, 2)
    plan = _planner(every)
    search = _rewriting(plan, every, samples, p, old, limit, 1.0 if told else asked)
    made = least_change(search, most)
    lost = search.judge.regret(made.features)
    return Rewrite(
        weights=made.weights,
        written=old,
        found=bool(search.judge.enough(made.features)),
        regret=lost @ p,
        held=float(search.judge.held(made.features)),
        attainable=search.attainable,
        cost=float(search.cost(made.weights)),
        least=made.least,
        between=np.asarray(made.between),
        limit=limit,
        share=None if told else asked,
        most=most,
        feature_names=every[0].feature_names or tuple(f"feature {k}" for k in range(every[0].num_features)),
    )


def _check_mdps(mdps) -> list[MDP]:
    """A list of finished MDPs with the same features, where visits have a sum."""
    every = [mdps] if isinstance(mdps, MDP) or not isinstance(mdps, Sequence) else list(mdps)
    if not every:
        raise ValueError("mdps is empty; give at least one MDP in which the proxy will be taken at its word.")
    for i, mdp in enumerate(every):
        check_sums(check_mdp(mdp, "mdps" if len(every) == 1 else f"mdps[{i}]"))
        theirs = mdp.num_features, mdp.feature_names
        if theirs != (every[0].num_features, every[0].feature_names):
            raise ValueError(
                f"mdps[{i}] has the features {mdp.feature_names}, but mdps[0] has {every[0].feature_names}; give MDPs "
                "with the same features in the same order."
            )
        _untraced(f"mdps[{i}]", mdp.probability)
    return every


def _untraced(name: str, x) -> None:
    if not is_concrete(x):
        raise ValueError(f"{name} is being traced; rewrite looks at values: call it outside jit and vmap.")


def _weights(name: str, x, mdp: MDP) -> np.ndarray:
    """Weights `[K]` on the host."""
    held = check_array(name, x)
    if held.shape != (mdp.num_features,):
        raise ValueError(
            f"{name} has shape {held.shape}, but these MDPs have {mdp.num_features} features {mdp.feature_names}; give "
            "one weight per feature, in that order."
        )
    _untraced(name, held)
    return np.asarray(held, np.float64)


def _portion(name: str, x, allowed, cure: str) -> float:
    held = check_number(name, x, allowed, cure)
    _untraced(name, held)
    return float(x)


def _samples(every: Sequence[MDP], belief) -> tuple[np.ndarray, np.ndarray]:
    """The rewards that have any probability, `[N, K]`, and the probability of each, `[N]`."""
    weights, log_weights = check_belief(every[0], belief)
    _untraced("belief", weights)
    p = np.exp(np.asarray(log_weights, np.float64))
    return np.asarray(weights, np.float64)[p > 0], p[p > 0] / p.sum()


def _planner(every: Sequence[MDP]) -> Planner:
    """Literal plans in all MDPs, seen through their features; one program where the MDPs can be stacked."""
    alike = len({(m.horizon, m.layout.undiscounted, m.num_actions, m.features.ndim) for m in every}) == 1
    stacks = [stack(every)] if alike else [stack([mdp]) for mdp in every]

    def plan(weights: np.ndarray) -> np.ndarray:
        found = []
        for first in range(0, len(weights), _AT_ONCE):
            some = weights[first : first + _AT_ONCE]
            filled = jnp.asarray(np.concatenate([some, np.repeat(some[-1:], _AT_ONCE - len(some), axis=0)]))
            parts = [np.asarray(_features(each, filled), np.float64)[:, : len(some)] for each in stacks]
            found.append(np.concatenate(parts).swapaxes(0, 1))
        return np.concatenate(found)

    return plan


@jax.jit
def _features(stacked: MDP, weights: Float[Array, " P K"]) -> Float[Array, " M P K"]:
    """Feature expectations of the literal plan of each proxy in each MDP."""
    one = lambda mdp, w: optimum(mdp, w).features  # noqa: E731
    return jax.vmap(lambda mdp: jax.vmap(lambda w: one(mdp, w))(weights))(stacked)


def _rewriting(plan: Planner, every: Sequence[MDP], samples, p, old, limit: float, share: float) -> Rewriting:
    """What the least change is looked for in: what each reward allows, and what policies can make of each metric."""
    axes = np.eye(len(old))
    found = plan(np.concatenate([samples, axes, -axes]))  # [N + 2K, M, K]
    best = np.einsum("nmk,nk->mn", found[: len(samples)], samples)
    most, least = (np.einsum("kmk->km", each) for each in np.split(found[len(samples) :], 2))
    reach = np.max(most - least, axis=1)
    precision = 64 * float(jnp.finfo(every[0].features.dtype).eps)
    reach = np.where(reach > precision * np.max(np.abs(found)), reach, 0)
    random = np.stack([np.asarray(feature_expectations(m, uniform_policy(m)), np.float64) for m in every])
    judge = Judge(samples, p, best, random @ samples.T, limit, share, precision)
    stake = float(np.abs(old) @ reach) or float(p @ np.abs(samples) @ reach) or 1.0
    own = [
        judge.held(found[: len(samples)][first : first + _AT_ONCE]).max() for first in range(0, len(samples), _AT_ONCE)
    ]
    return Rewriting(plan, judge, old, reach, stake, float(max(own)))
