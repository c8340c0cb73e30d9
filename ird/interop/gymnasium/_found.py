"""What rollouts found: every run by itself, means with their errors, and the visits where these were kept."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True, eq=False, repr=False)
class Rollouts:
    """What runs of some policies collected: P policies, E runs of each, K features.

    Attributes:
        runs: (discounted) sum of each feature over each run, `[P, E, K]`.
        lengths: steps until each run ended, or the horizon, `[P, E]`.
        terminated: whether it ended before the horizon, `[P, E]`.
        horizon: steps that a run is looked at, T.
        discount: γ; the step t = 0, 1, ... counts γ^t.
        feature_names: one name for each feature; the last counts steps after an end, unless there is none such.
        ends: whether the last feature counts steps after an end.
        steps: features of every visit, `[P, V, K]`, V = E·T, run by run; None unless they were asked for.
        often: how often each of those visits comes in a run, `[P, V]`: γ^t / E.
    """

    runs: Float[np.ndarray, " P E K"]
    lengths: Int[np.ndarray, " P E"]
    terminated: Bool[np.ndarray, " P E"]
    horizon: int
    discount: float
    feature_names: tuple[str, ...]
    ends: bool
    steps: Float[np.ndarray, " P V K"] | None = None
    often: Float[np.ndarray, " P V"] | None = None

    @property
    def features(self) -> Float[np.ndarray, " P K"]:
        """What each policy collects on average, `[P, K]`."""
        return self.runs.mean(axis=1)

    @property
    def standard_error(self) -> Float[np.ndarray, " P K"]:
        """Standard errors of `features`, `[P, K]`; NaN for a single run.

        Estimated from the runs: what no run met has an error of 0, which says nothing of how rare it is.
        """
        E = self.runs.shape[1]
        if E == 1:
            return np.full(self.features.shape, np.nan)
        return self.runs.std(axis=1, ddof=1) / E**0.5

    @property
    def covariance(self) -> Float[np.ndarray, " P K K"]:
        """Covariance of the errors of `features`, `[P, K, K]`; NaN for a single run."""
        E, K = self.runs.shape[1:]
        if E == 1:
            return np.full((len(self.runs), K, K), np.nan)
        apart = self.runs - self.features[:, None]
        return np.einsum("pek,pel->pkl", apart, apart) / (E * (E - 1))

    @property
    def visits(self) -> float:
        """How many (discounted) visits every run has, Σ_{t<T} γ^t.

        Raises:
            ValueError: where some run ended before and nothing counts the steps after its end: then runs differ.
        """
        if not self.ends and self.terminated.any():
            p, e = (int(i) for i in np.argwhere(self.terminated)[0])
            raise ValueError(
                f"run {e} of policy {p} ended after {self.lengths[p, e]} of {self.horizon} steps, so that runs have no "
                'one number of visits; count the steps after an end: ended="ended".'
            )
        return float((self.discount ** np.arange(self.horizon)).sum())

    def __str__(self) -> str:
        P, E = self.runs.shape[:2]
        ended = f"{self.terminated.mean():.0%} ended before" if self.terminated.any() else "none ended before"
        told = f"{P} polic{'y' if P == 1 else 'ies'}, {E} run{'s' * (E > 1)} of {self.horizon} steps each; {ended}"
        width = max(len(name) for name in self.feature_names)
        lines = [told]
        for p in range(min(P, 8)):
            lines += [f"policy {p}" if P > 1 else "", *self._lines(p, width)]
        return "\n".join([line for line in lines if line] + (["..."] if P > 8 else []))

    def _lines(self, p: int, width: int) -> list[str]:
        pairs = zip(self.feature_names, self.features[p], self.standard_error[p], strict=True)
        return [
            f"  {name:<{width}}  {mean:.4g}" + ("" if np.isnan(error) else f" ±{error:.2g}")
            for name, mean, error in pairs
        ]

    def __repr__(self) -> str:
        return f"Rollouts(runs={self.runs.shape}, horizon={self.horizon}, discount={self.discount})"
