"""A plan in words: what it brings on average beside bolder plans, what its caution rests on, and whether it stays home.

A run whose every step is like the first collects `T φ(s₀)`.  A plan has frozen from a start if it collects little else
from there although the plan for the belief's mean does, and gains by it.
"""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.beliefs import Belief, Proxy, check_belief, counting
from ird.planning._offsets import by_state, check_proxies, check_units
from ird.planning._unknown import known_of, rests_on, unknown_of
from ird.risk import Risk
from mdps.checks import check_array, check_policy, check_sums, is_concrete, shown
from mdps.mdp import MDP
from mdps.policies import feature_expectations, occupancy
from mdps.pytrees import in_one_line
from mdps.solvers import solve

Plan = TypeVar("Plan", bound="Remembers")

_MOST_STARTS = 16  # of more starts the mean is judged
_LITTLE = 0.1  # share of what the bolder plan collects apart from staying, and gains by it
_TOLD, _GUESS = 0.05, 0.5  # shares of the gain in training untold from which a plan says so, and is little but a guess
_THIN = 100  # draws that a belief should be worth


@dataclass(frozen=True)
class Explanation:
    """What a plan does on average under a belief, on the host; `print` shows it.

    Attributes:
        returns: mean return under the belief of "this plan", "mean plan" and, for each proxy given, "literal plan".
        price: what the plan for the belief's mean would bring more, in units of return: the price of caution.
        names: names of the features, K of them.
        collected: expected discounted sum of each feature, `[K]`.
        mean: mean weight of each feature under the belief, `[K]`.
        tail: mean weight among the samples that the risk measure fears, `[K]`; None for a plan without one.
        tail_size: how many independent draws these are worth; NaN for a plan without one.
        exposure: expected visits to what the evidence could not tell; None where the belief does not keep that.
        by_feature: the features that the exposure rests on, which add up to it, `[K]`; None likewise.
        frozen: probability of starting where the plan stays although the mean plan would gain.
        gain: what the mean plan would gain on average from there, in units of return.
        belief_size: how many independent draws the belief is worth.
    """

    returns: dict[str, float]
    price: float
    names: tuple[str, ...]
    collected: np.ndarray
    mean: np.ndarray
    tail: np.ndarray | None
    tail_size: float
    exposure: float | None
    by_feature: np.ndarray | None
    frozen: float
    gain: float
    belief_size: float

    def __str__(self) -> str:
        return "\n".join([*self.lines(), *self.table(), *self.sentences()])

    def lines(self) -> list[str]:
        """The returns, and the exposure where it is known."""
        bolder = ", ".join(f"{name} {x:.4g}" for name, x in self.returns.items() if name != "this plan")
        own = f"{self.returns['this plan']:.4g}"
        found = [f"mean return              {own}  ({bolder}; price of caution {self.price:.2g})"]
        if self.exposure is not None and self.by_feature is not None:
            rests = resting(self.exposure, self.by_feature, self.names)
            found.append(f"exposure to the unknown  {self.exposure:.3g} visits" + (f"  ({rests})" if rests else ""))
        return found

    def table(self) -> list[str]:
        """What is collected of each feature, and what it is worth, to the tail too; of what counts for something."""
        tail = np.full_like(self.mean, np.nan) if self.tail is None else self.tail
        wide = max(7, *map(len, self.names))
        head = f"{'feature':{wide}} {'collected':>10} {'mean weight':>12}" + " in the tail" * (self.tail is not None)
        rows = [head]
        for name, found, mean, worst in zip(self.names, self.collected, self.mean, tail, strict=True):
            cells = [f"{_clean(found):10.3g}", f"{_clean(mean):12.3g}"]
            cells += [f"{_clean(worst):11.3g}"] if self.tail is not None else []
            rows.append(" ".join([f"{name:{wide}}", *cells]))
        if self.tail is not None:
            rows.append(f"the tail is worth {self.tail_size:.0f} draws of the belief's {self.belief_size:.0f}")
        return rows

    def sentences(self) -> list[str]:
        """What a reader has to be warned of."""
        found = []
        if self.frozen > 0:
            where = "" if self.frozen > 1 - 1e-6 else f" from {self.frozen:.0%} of the starts"
            found.append(
                f"frozen: it stays where it begins{where}, although the plan for the belief's mean would gain "
                f"{self.gain:.3g} on average from there"
            )
        if self.belief_size < _THIN:
            found.append(f"the belief is thin: worth {self.belief_size:.0f} independent draws")
        return found


def explain(
    mdp: MDP,
    belief: Belief,
    plan: Any,
    *proxies: Proxy,
    risk: Risk | None = None,
    offset: Float[Array, " N"] | None = None,
    baseline: Float[Array, " K"] | None = None,
    units: Float[Array, " N"] | None = None,
    cut: float | None = 0.05,
) -> Explanation:
    """What a plan does on average under a belief, beside the plan for its mean and the literal ones.

    `print` of a plan says the same, without the literal plans, which a belief does not know; this is for plans that
    were made under `vmap` or by others, and to see what the proxies' own plans would bring.

    Args:
        mdp: where it was planned.
        belief: a `Posterior`.
        plan: anything that has a `policy`.
        *proxies: evidence whose literal plans are to be shown too.
        risk: the measure that it was planned with, for the tail; None leaves the tail out.
        offset: what returns were measured from, `[N]`, as in `plan`; None: zero.
        baseline: or features of an ordinary visit, `[K]`, as in `plan_per_step`.
        units: as in `plan`.
        cut: share of a visit below which it counts as known, as in `plan_least_exposure`; None leaves exposure out.

    Returns:
        An `Explanation`.

    Raises:
        ValueError: for a belief or a proxy about other features, or a plan without a policy for this MDP.

    Example:
        >>> import jax.numpy as jnp, mdps
        >>> from ird import planning, posterior
        >>> legend = {"S": "floor", ".": "floor", "?": "new", "G": "goal"}
        >>> grid = mdps.GridWorld.from_text("S?G", legend, horizon=6)
        >>> belief = posterior.exact(candidates=jnp.array([[0.0, -3.0, 0.5], [0.0, 3.0, 0.5]]))
        >>> print(planning.explain(grid.mdp, belief, mdps.solve(grid.mdp, grid.mdp.reward(belief.mean()))))
        mean return              2  (mean plan 2; price of caution 0)
        exposure to the unknown  1 visits  (new 100%)
        feature  collected  mean weight
        floor            1            0
        new              1            0
        goal             4          0.5
        the belief is thin: worth 2 independent draws
    """
    weights, log_weights = check_belief(mdp, belief)
    check_sums(mdp)
    if not hasattr(plan, "policy"):
        raise ValueError(f"plan is {shown(plan)}, which has no policy; give what a planner or solve returns.")
    policy = check_policy(mdp, plan.policy)
    if proxies:
        check_proxies(proxies, tuple(mdp.feature_names), "this MDP has")
    [weights] = counting(log_weights, weights)
    p = np.exp(np.asarray(log_weights, float))
    mean = p @ np.asarray(weights, float)
    starts, rows = _starts(mdp)
    bold = solve(mdp, mdp.reward(jnp.asarray(mean, weights.dtype))).policy
    own, bolder = (np.asarray(_from_each(mdp, x, rows), float) for x in (policy, bold))
    returns = {"this plan": mean @ (starts @ own), "mean plan": mean @ (starts @ bolder)}
    for i, proxy in enumerate(proxies):
        literal = solve(mdp, mdp.reward(proxy.weights)).policy  # pyright: ignore[reportAttributeAccessIssue]
        name = "literal plan" if len(proxies) == 1 else f"literal plan {i}"
        returns[name] = mean @ np.asarray(feature_expectations(mdp, literal), float)
    frozen, gain = _frozen(mdp, rows, starts, mean, own, bolder)
    tail, tail_size = None, float("nan")
    if risk is not None:
        _check_measured(mdp, log_weights, risk, offset=offset, baseline=baseline, units=units)
        apart = starts @ own - (0 if baseline is None else np.asarray(baseline) * float(mdp.total_visits))
        tilt = feared(risk, weights, log_weights, apart, offset, units)
        tail, tail_size = tilt @ np.asarray(weights, float), float(tilt.sum() ** 2 / (tilt**2).sum())
    exposure, by_feature = _exposure(mdp, belief, policy, cut)
    return Explanation(
        returns={name: float(x) for name, x in returns.items()},
        price=float(returns["mean plan"] - returns["this plan"]),
        names=tuple(mdp.feature_names) or tuple(f"feature {k}" for k in range(mdp.num_features)),
        collected=starts @ own,
        mean=mean,
        tail=tail,
        tail_size=tail_size,
        exposure=exposure,
        by_feature=by_feature,
        frozen=frozen,
        gain=gain,
        belief_size=float(getattr(belief, "effective_sample_size", 1 / np.sum(p**2))),
    )


def resting(exposure: float, by_feature, names: tuple[str, ...]) -> str:
    """The features that an exposure rests on, the largest first; nothing where there is no exposure."""
    if exposure < 1e-6:
        return ""
    parts = sorted(zip(np.asarray(by_feature), names, strict=True), reverse=True)
    return ", ".join(f"{name} {part / exposure:.0%}" for part, name in parts if part > 0.01 * exposure)


def what_was_met(plan) -> list[str]:
    """In words what a plan or a choice of least exposure rests on, and what the evidence could not tell."""
    exposure, untold, lines = float(plan.exposure), float(plan.untold), []
    if exposure < 1e-6 and untold > _GUESS:
        lines.append("it meets nothing that is known less than what was gained in training")
    elif exposure < 1e-6:
        lines.append("it meets nothing that the evidence did not speak of")
    elif np.isfinite(exposure):
        names = plan.feature_names or tuple(f"feature {k}" for k in range(plan.by_feature.shape[0]))
        lines.append(f"it rests on: {resting(exposure, plan.by_feature, names)}; ask about these")
    if untold > _TOLD:
        guess = ": what is known is little better than a guess" if untold > _GUESS else ""
        lines.append(f"of what was gained in training the evidence could not tell {untold:.0%}{guess}")
    return lines


def _clean(x: float) -> float:
    """A number to print: 0 where it is rounding."""
    return 0.0 if abs(x) < 1e-6 else float(x)


class Remembers:
    """A plan that may remember what it was asked, so that it can explain itself.

    What is remembered is no field: it takes no part in `jit`, is not pickled, and costs nothing until it is printed.
    """

    __repr__ = in_one_line

    def __getstate__(self):
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # pyright: ignore[reportArgumentType]


def remember(plan: Plan, mdp: MDP, belief: Belief, **measured: Any) -> Plan:
    """The plan, which then can explain itself; traced plans, and parts of a batch, remember nothing."""
    if all(is_concrete(x) for x in jax.tree.leaves((plan, mdp, belief.weights, belief.log_weights, measured))):
        object.__setattr__(plan, "_asked", (mdp, belief, measured))
    return plan


def explanation_of(plan: Remembers) -> Explanation | None:
    """What a plan that remembers what it was asked has to say."""
    asked = getattr(plan, "_asked", None)
    if asked is None:
        return None
    mdp, belief, measured = asked
    if hasattr(plan, "by_feature"):  # it says itself what it is exposed to
        measured = measured | {"cut": None}
    return explain(mdp, belief, plan, **measured)


def _starts(mdp: MDP) -> tuple[np.ndarray, np.ndarray]:
    """The probability of each start, `[B]`, and the distributions of initial states themselves, `[B, S]`."""
    initial = np.asarray(mdp.initial)
    at = np.flatnonzero(initial)
    if not 1 < len(at) <= _MOST_STARTS:
        return np.ones(1), initial[None]
    return initial[at].astype(float), np.eye(len(initial), dtype=initial.dtype)[at]


@jax.jit
def _from_each(mdp: MDP, policy: Array, rows: Array) -> Array:
    """Feature expectations from each of some distributions of initial states, `[B, K]`."""
    return jax.vmap(lambda row: feature_expectations(dataclasses.replace(mdp, initial=row), policy))(rows)


def _frozen(mdp: MDP, rows, starts, mean, own, bolder) -> tuple[float, float]:
    """The probability of the starts from which the plan has frozen, and what is gained from there on average."""
    home = rows @ np.asarray(by_state(mdp), float) * float(mdp.total_visits)
    apart, theirs = np.abs(own - home).sum(axis=1), np.abs(bolder - home).sum(axis=1)
    gains, gain = (bolder - home) @ mean, (bolder - own) @ mean
    size = np.abs(bolder) @ np.abs(mean)
    rounding = 1e-4 * np.where(size > 0, size, 1)
    stays = (apart <= _LITTLE * theirs) & (gains > rounding) & (gain >= (1 - _LITTLE) * gains)
    chance = float(starts[stays].sum())
    return chance, float(starts[stays] @ gain[stays]) / chance if chance else 0.0


def _check_measured(mdp: MDP, log_weights, risk: Risk, *, offset, baseline, units) -> None:
    """Refuse a risk measure that is none, and what returns are measured from in the wrong shape."""
    if isinstance(risk, type) or not callable(getattr(risk, "adversary", None)):
        raise ValueError(f"risk is {shown(risk)}; give a measure from ird.risk, such as CVaR(0.1) or Mean().")
    for name, x, size in (("offset", offset, len(log_weights)), ("baseline", baseline, mdp.num_features)):
        if x is not None and check_array(name, x).shape != (size,):
            raise ValueError(f"{name} has shape {np.shape(x)}; give [{size}], as the plan was made with.")
    if units is not None:
        check_units(units, log_weights)


def feared(risk: Risk, weights, log_weights, collected, offset, units) -> np.ndarray:
    """The adversary's tilt of the belief against a plan that collects these features, `[N]`."""
    returns = weights @ jnp.asarray(collected, weights.dtype) - (0 if offset is None else offset)
    returns = returns if units is None else returns / units
    return np.asarray(_adversary(risk, returns, log_weights, kind=type(risk)), float)


@functools.partial(jax.jit, static_argnames="kind")
def _adversary(risk: Risk, returns: Array, log_weights: Array, kind: type) -> Array:
    """In one program; `kind` is the measure's class: JAX may take two classes for one (`mdps.pytrees`)."""
    del kind
    return risk.adversary(returns, log_weights)


def _exposure(mdp: MDP, belief: Belief, policy, cut) -> tuple[float | None, np.ndarray | None]:
    """The exposure of a plan and what it rests on, where the belief keeps what its evidence was able to tell."""
    if cut is None or not getattr(belief, "told", {}):
        return None, None
    known = known_of(mdp, belief)
    parts = np.asarray(rests_on(mdp, known, unknown_of(mdp, known, cut), occupancy(mdp, policy)))
    return float(parts.sum()), parts
