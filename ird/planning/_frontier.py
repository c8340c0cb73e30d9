"""What caution costs: plans of least exposure for many shares of the stake that may be given up."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Array, Float

from ird.beliefs import Belief
from ird.evidence.protocol import Evidence
from ird.planning._least_exposure import ExposurePlan, plan_least_exposure
from mdps.checks import check_array, is_concrete, shown
from mdps.mdp import MDP
from mdps.pytrees import frozen_pytree, in_one_line

SHARES = tuple(i / 10 for i in range(11))
_HEADS = ("give up", "known", "given up", "exposure", "at least")


@frozen_pytree
@dataclass(frozen=True, eq=False, repr=False)
class Frontier:
    """Plans of least exposure, one for each share of the stake; `print` shows a table, `plot` draws it.

    Attributes:
        give_up: share of the stake that may be given up, `[G]`.
        plans: the plans, every field with a leading axis `[G]`.
    """

    give_up: Float[Array, " G"]
    plans: ExposurePlan

    __repr__ = in_one_line

    def __str__(self) -> str:
        if not all(is_concrete(x) for x in jax.tree.leaves(self)):
            return in_one_line(self)
        head = "".join(f"{h:>{8 if i == 0 else 11}}" for i, h in enumerate(_HEADS))
        rows = ["{:8.2f} {:10.4g} {:10.3g} {:10.3g} {:10.3g}".format(*row) for row in self._rows()]
        return "\n".join([head, *rows])

    def _rows(self) -> np.ndarray:
        plans = self.plans
        given = np.maximum(np.asarray(plans.best - plans.known), 0)  # but for rounding
        columns = (self.give_up, plans.known, given, plans.exposure, plans.bound)
        return np.stack([np.asarray(x, float) for x in columns], axis=1)

    def _repr_html_(self) -> str | None:
        """The table for notebooks; nothing under tracing."""
        if not all(is_concrete(x) for x in jax.tree.leaves(self)):
            return None
        rows = "".join(f"<tr>{''.join(f'<td>{x:.3g}</td>' for x in row)}</tr>" for row in self._rows())
        return f"<table><tr>{''.join(f'<th>{h}</th>' for h in _HEADS)}</tr>{rows}</table>"

    def plot(self, axes=None):
        """Draw exposure against what is given up; returns the matplotlib axes."""
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ImportError("Frontier.plot needs matplotlib: pip install 'inverse-reward-design[plot]'.") from error
        axes = plt.subplots(layout="constrained")[1] if axes is None else axes
        given = np.asarray(self.plans.best - self.plans.known)
        axes.plot(given, np.asarray(self.plans.exposure), "o-", color="#4c2a85", label="plan")
        axes.plot(given, np.asarray(self.plans.bound), ":", color="#4c2a85", label="no plan has less")
        axes.set(xlabel="given up, by what is known", ylabel="exposure to the unknown, in visits")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        return axes


def frontier(
    mdp: MDP,
    belief: Belief,
    *evidence: Evidence,
    give_up: Float[Array, " G"] | np.ndarray | Sequence[float] = SHARES,
    cut: float | Float[Array, ""] = 0.05,
    value: Float[Array, " K"] | None = None,
    sure: float | Float[Array, ""] | None = None,
) -> Frontier:
    """How much exposure each share of the stake buys off: answers "how careful?" by looking.

    Args:
        mdp: where the plan is to be carried out.
        belief: a `Posterior`.
        *evidence: the evidence, where the belief does not keep what it could tell.
        give_up: shares of the stake, `[G]`, each in [0, 1].
        cut: as in `plan_least_exposure`.
        value: likewise.
        sure: likewise.

    Returns:
        The plans, and a table of them.

    Raises:
        ValueError: as `plan_least_exposure`; also for shares that are no list of numbers in [0, 1].
    """
    shares = check_array("give_up", give_up)
    inside = not is_concrete(shares) or bool(((np.asarray(shares) >= 0) & (np.asarray(shares) <= 1)).all())
    if shares.ndim != 1 or shares.size == 0 or not inside:
        raise ValueError(f"give_up is {shown(give_up)}; give shares of the stake in [0, 1], a list of them, [G].")
    settings = {"cut": cut, "value": value, "sure": sure}
    plans = jax.vmap(lambda share: plan_least_exposure(mdp, belief, *evidence, give_up=share, **settings))(shares)
    return Frontier(shares, plans)
