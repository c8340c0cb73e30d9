"""Which Goodhart is this: four tests of a measure that was optimised, and which of the four variants they fit.

    T1  written and meant reward agree on what the reference often brings about (up to scale and zero)
    T2  making the written reward high is worth what selecting for it is, at the same written reward
    T3  the meant reward depends on what somebody else is paid
    T4  the meant reward falls at high pressure

    regressional  T1 no,  T2 yes, T3 no,  T4 no        extremal     T1 yes, T2 yes, T3 no, T4 yes
    causal        T2 no,  T3 no                        adversarial  T3 yes

T2 is the test of an intervention: what goes along with a high measure against what making it high does; it is
failed by less, not by more.  It can be run on any learnt reward: scores of the reference's outcomes, and those of the
optimised policy.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from ird.goodhart._selection import best_of, check_outcomes
from mdps.checks import check_array, check_number, require_concrete

__all__ = ["Diagnosis", "diagnose"]
__dir__ = __all__.copy

# What T1 to T4 say of each; None: either.
_SIGNATURES = {
    "no Goodhart seen": (True, True, False, False),
    "regressional": (False, True, False, False),
    "extremal": (True, True, False, True),
    "regressional and extremal": (False, True, False, True),
    "causal": (None, False, False, None),
    "adversarial": (None, None, True, None),
}
_DRAWS = np.geomspace(1, 1e9, 721)
_STILL = 1e-14  # of the mean square: a variance that float32 makes of one number


@dataclass(frozen=True)
class Diagnosis:
    """What four tests say of a measure that was optimised; `print` says it in words.

    Attributes:
        tracks: T1, whether written and meant reward agree on what the reference often brings about.
        alike: T2, whether optimisation is worth what selection to the same written reward is; None: cannot tell.
        paid: T3, whether the meant reward depends on what others are paid; None: cannot tell.
        falls: T4, whether the meant reward falls at high pressure.
        verdict: the variant that fits, or between which of them the tests cannot tell.
        candidates: the variants that fit.
        fit: share of the meant reward's variance that the written one explains where the reference often is.
        correlation: of both under the reference, everything counted.
        reference: what the reference is worth, written and meant.
        optimised: the same of the optimised policy; None: not given.
        selected: what selection to the same written reward is worth; None: cannot tell.
        fall: by how much the meant reward ends below its best, of the optimised policy or else of selection.
        spread: by how much the meant reward differs between payoffs; None: not given.
        unit: standard deviation of the meant reward under the reference, by which differences are judged.
        why: what could not be told, and what to give.
    """

    tracks: bool
    alike: bool | None
    paid: bool | None
    falls: bool
    verdict: str
    candidates: tuple[str, ...]
    fit: float
    correlation: float
    reference: tuple[float, float]
    optimised: tuple[float, float] | None
    selected: float | None
    fall: float
    spread: float | None
    unit: float
    why: tuple[str, ...]

    @property
    def tests(self) -> tuple[bool | None, ...]:
        """T1 to T4; None: cannot tell."""
        return self.tracks, self.alike, self.paid, self.falls

    def __str__(self) -> str:
        said = {True: "yes", False: "no", None: "cannot tell"}
        how = "optimised" if self.optimised is not None else "selected"
        moved = ""
        if self.optimised is not None:
            chosen = "?" if self.selected is None else f"{self.selected:.4g}"
            moved = f"  (at the same written reward: selected {chosen}, optimised {self.optimised[1]:.4g})"
        gain = self.optimised is not None and self.optimised[1] <= self.reference[1] + 1e-3 * self.unit
        ends = f"{how} ends {self.fall:.4g} below its best" + (", no better than the reference" if gain else "")
        spread = "" if self.spread is None else f"  (it differs by {self.spread:.4g})"
        rows = [
            f"T1 agree where the reference often is    {said[self.tracks]}  (explains {self.fit:.0%} there)",
            f"T2 optimised is worth what selected is   {said[self.alike]}{moved}",
            f"T3 depends on what others are paid       {said[self.paid]}{spread}",
            f"T4 falls at high pressure                {said[self.falls]}  ({ends})",
        ]
        return "\n".join([f"looks like: {self.verdict}", *rows, *self.why])


def diagnose(
    proxy: Float[Array, " M"] | np.ndarray | Any,
    true: Float[Array, " M"] | np.ndarray | Any,
    log_weights: Float[Array, " M"] | np.ndarray | Any = None,
    *,
    optimised: tuple[Any, Any] | None = None,
    by_payoff: Float[Array, " J"] | np.ndarray | Any = None,
    rare: float = 0.01,
    tolerance: float = 0.1,
) -> Diagnosis:
    """Run the four tests on outcomes of a reference and on what optimising the written reward brought about.

    On the host.  Differences of the meant reward are judged in standard deviations of it under the reference.

    Args:
        proxy: written reward of outcomes of the reference, `[M]`.
        true: their meant reward, `[M]`: by the people whose reward it is, or by the best judge there is.
        log_weights: log probability of each, `[M]`; None: draws that count alike.
        optimised: mean written and mean meant reward of what was made to score high, each a number or, in order of
            rising pressure, `[P]`, as of a `Curve`; None: T2 cannot be told, and T4 looks at best-of-n alone.
        by_payoff: mean meant reward of the optimised policy at two or more payments to whoever else moves the measure,
            `[J]`; where there is nobody, the same number twice; None: T3 cannot be told.
        rare: T1 leaves out this share of the reference's outcomes, those that score highest.
        tolerance: in standard deviations of the meant reward, what counts as a difference; T1 wants the same share of
            them at most to be left unexplained.

    Returns:
        A `Diagnosis`; `print` it.

    Raises:
        ValueError: for arrays of other shapes or that are not finite, probabilities that do not sum to one, or settings
            out of their range.
        TypeError: under `jit` or `vmap`.

    Example:
        >>> import numpy as np
        >>> helpful = np.array([0.0, 1.0, 2.0, 3.0])  # and so it was scored, wherever one had looked
        >>> print(diagnose(helpful, helpful, optimised=([2.5, 6.0], [2.4, -4.0]), by_payoff=[-4.0, -4.0]))
        looks like: cannot tell between extremal and causal
        T1 agree where the reference often is    yes  (explains 100% there)
        T2 optimised is worth what selected is   cannot tell  (at the same written reward: selected ?, optimised -4)
        T3 depends on what others are paid       no  (it differs by 0)
        T4 falls at high pressure                yes  (optimised ends 6.4 below its best, no better than the reference)
        T2: the reference never scores as high as 6 (its highest is 3), so that nothing can be selected there
    """
    proxy, true, log_p = _scores(proxy, true, log_weights)
    pushed = None if optimised is None else _pushed(optimised)
    spread = _differ_by(by_payoff)
    rare = float(
        check_number("rare", rare, lambda x: 0 <= x < 1, "it is a share of the reference's outcomes, in [0, 1).")
    )
    tolerance = float(check_number("tolerance", tolerance, lambda x: x > 0, "it is in standard deviations, above 0."))
    p = np.exp(log_p)
    mean = (float(p @ proxy), float(p @ true))
    sd = float(np.sqrt(p @ (true - mean[1]) ** 2))
    unit = sd if sd > 0 else 1.0
    fit, correlation = _explained(proxy, true, p, rare), _explained(proxy, true, p, 0.0)
    selected, why = _selected(proxy, true, log_p, mean[0], pushed)
    alike = None if pushed is None or selected is None else bool(pushed[1][-1] >= selected - tolerance * unit)
    if pushed is None:
        curve = np.asarray(best_of(proxy, true, log_p, _DRAWS).true, float)
        fall = float(curve.max() - curve[-1])
    else:
        fall = float(max(mean[1], pushed[1].max()) - pushed[1][-1])
    if spread is None:
        why = (
            *why,
            "T3: give by_payoff, the meant reward at two or more payments to others (the same twice for nobody)",
        )
    tests = (
        bool(fit >= 1 - tolerance**2),
        alike,
        None if spread is None else bool(spread > tolerance * unit),
        bool(fall > tolerance * unit),
    )
    found = tuple(name for name, row in _SIGNATURES.items() if _fits(tests, row))
    verdict = found[0] if len(found) == 1 else f"cannot tell between {', '.join(found[:-1])} and {found[-1]}"
    ended = None if pushed is None else (float(pushed[0][-1]), float(pushed[1][-1]))
    numbers = (fit, float(np.sign(correlation) * np.sqrt(abs(correlation))), mean, ended, selected, fall, spread, unit)
    return Diagnosis(*tests, verdict, found, *numbers, why)


def _fits(tests, signature) -> bool:
    """Whether no test contradicts a signature."""
    return all(a is None or b is None or a == b for a, b in zip(tests, signature, strict=True))


def _scores(proxy, true, log_weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    proxy, true = check_array("proxy", proxy), check_array("true", true)
    if proxy.ndim != 1 or proxy.shape[0] < 2 or true.shape != proxy.shape:
        raise ValueError(
            f"proxy has shape {proxy.shape} and true {true.shape}; give both scores of M ≥ 2 outcomes of the "
            "reference, [M]."
        )
    log_p = np.full(proxy.shape, -np.log(proxy.shape[0])) if log_weights is None else log_weights
    require_concrete("goodhart.diagnose", proxy=proxy, true=true, log_weights=log_p)
    log_p = np.asarray(check_outcomes(proxy, log_p, "proxy")[1], np.float64)
    return np.asarray(proxy, np.float64), np.asarray(true, np.float64), log_p - np.log(np.exp(log_p).sum())


def _pushed(optimised) -> tuple[np.ndarray, np.ndarray]:
    """Written and meant reward of what was optimised, in order of pressure, `[P]` each."""
    if not isinstance(optimised, tuple | list) or len(optimised) != 2:
        raise ValueError("optimised must be two: the mean written and the mean meant reward, numbers or [P] each.")
    both = [check_array(f"optimised ({name})", x) for name, x in zip(("written", "meant"), optimised, strict=True)]
    require_concrete("goodhart.diagnose", optimised=both[0], optimised_true=both[1])
    if both[0].shape != both[1].shape or both[0].ndim > 1 or both[0].size == 0:
        raise ValueError(
            f"optimised has the shapes {both[0].shape} and {both[1].shape}; give a number each, or [P] in order of "
            "pressure."
        )
    written, meant = (np.ravel(np.asarray(x, np.float64)) for x in both)
    return written, meant


def _explained(proxy, true, p, rare: float) -> float:
    """The share of the variance of `true` that rises with `proxy`, the highest scores left out; below 0 if it falls."""
    order = np.argsort(proxy, kind="stable")
    upto = np.cumsum(p[order])
    # A value counts whole if what is left out begins above it.
    cut = proxy[order][np.argmax(upto >= 1 - rare - 1e-9)]
    q = np.where(proxy <= cut, p, 0)
    q = q / q.sum()
    one, two = proxy - q @ proxy, true - q @ true
    first, second, joint = q @ one**2, q @ two**2, q @ (one * two)
    still = [spread <= _STILL * float(q @ x**2) for spread, x in ((first, proxy), (second, true))]
    if any(still):
        return float(all(still))
    return float(np.sign(joint) * joint**2 / (first * second))


def _selected(proxy, true, log_p, mean: float, pushed) -> tuple[float | None, tuple[str, ...]]:
    """What best-of-n is worth at the written reward that optimisation reached, or why nobody can tell."""
    if pushed is None:
        return None, ("T2: give optimised=(written, meant), the mean scores of what was made to score high",)
    reached, counts = float(pushed[0][-1]), log_p > -np.inf
    top = proxy[counts].max()
    small = 1e-5 * float(np.abs(proxy[counts]).max())
    if reached > top + small:
        return None, (
            f"T2: the reference never scores as high as {reached:.4g} (its highest is {top:.4g}), so that nothing "
            "can be selected there",
        )
    if reached < mean - small:
        return None, (f"T2: what was optimised scores {reached:.4g}, below the reference's mean of {mean:.4g}",)
    curve = best_of(proxy, true, log_p, _DRAWS)
    at_top = counts & (proxy == top)
    p = np.where(at_top, np.exp(log_p), 0)
    written = np.append(np.asarray(curve.proxy, float), top)
    meant = np.append(np.asarray(curve.true, float), p @ true / p.sum())
    return float(np.interp(reached, np.maximum.accumulate(written), meant)), ()


def _differ_by(by_payoff) -> float | None:
    if by_payoff is None:
        return None
    worth = check_array("by_payoff", by_payoff)
    if worth.ndim != 1 or worth.shape[0] < 2:
        raise ValueError(f"by_payoff has shape {worth.shape}; give the meant reward at two or more payments, [J].")
    require_concrete("goodhart.diagnose", by_payoff=worth)
    return float(np.ptp(np.asarray(worth, float)))
