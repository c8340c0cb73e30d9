"""Four tiny worlds, one for each way in which optimising a measure can miss what it measures.

The names are those of Manheim and Garrabrant (2018).  Each world lists what its reference may bring about, with the
written and the meant reward of each outcome, what a policy that optimises the written reward gets instead, and what it
would get if whoever else is in the world were paid otherwise.
"""

from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.goodhart._diagnose import Diagnosis, diagnose
from mdps.checks import check_number
from mdps.pytrees import frozen_pytree, in_one_line


@frozen_pytree
@dataclass(frozen=True, eq=False)
class Variant:
    """A world in which a measure is optimised.

    Attributes:
        proxy: written reward of each outcome, `[M]`.
        true: meant reward of each, `[M]`.
        log_weights: log probability of each under the reference, `[M]`.
        optimised_proxy: written reward of the policy that optimises it.
        optimised_true: what that policy is worth.
        by_payoff: what it would be worth if others in this world were paid nothing, what they are, and enough to
            fake, `[3]`.
        name: which it is (static).
    """

    proxy: Float[Array, " M"]
    true: Float[Array, " M"]
    log_weights: Float[Array, " M"]
    optimised_proxy: Float[Array, ""]
    optimised_true: Float[Array, ""]
    by_payoff: Float[Array, " 3"]
    name: str = field(metadata={"static": True})

    __repr__ = in_one_line

    def diagnose(self) -> Diagnosis:
        """The four tests on this world."""
        optimised = (self.optimised_proxy, self.optimised_true)
        return diagnose(self.proxy, self.true, self.log_weights, optimised=optimised, by_payoff=self.by_payoff)


def regressional() -> Variant:
    """The measure is what is meant and noise: who is best by it owes some of that to noise.

    An item is (u, ε), both uniform on -1, 0, 1; u is meant and u + ε is written.  Selecting pays, half as much as it
    seems to.

    Example:
        >>> print(regressional().diagnose().verdict)
        regressional
    """
    u, noise = (x.ravel() for x in np.meshgrid([-1.0, 0, 1], [-1.0, 0, 1], indexing="ij"))
    return _variant("regressional", u + noise, u, np.full(9, 1 / 9), (2.0, 1.0))


def extremal() -> Variant:
    """The measure is right wherever one has looked, and wrong where nobody goes without being pushed.

    Items p = 0, 1, 2, 3 are worth p; p = 10 is worth -10, and one in a thousand.

    Example:
        >>> print(extremal().diagnose().verdict)
        extremal
    """
    p, u = np.array([0.0, 1, 2, 3, 10]), np.array([0.0, 1, 2, 3, -10])
    return _variant("extremal", p, u, np.array([0.4, 0.3, 0.2, 0.099, 0.001]), (10.0, -10.0))


def causal(cost: float | Float[Array, ""] = 0.0) -> Variant:
    """The measure goes along with what is meant, and making it high does not make that.

    u is 0 or 1 by a coin, and meant.  A bit shows u nine times in ten if it is left alone, and is 1 if it is set, which
    the reference does one time in ten; the bit is written.

    Args:
        cost: what setting the bit costs, 0 or more, in units of u.

    Raises:
        ValueError: for a negative cost.

    Example:
        >>> print(causal().diagnose().verdict)
        causal
    """
    cost = check_number("cost", cost, lambda x: 0 <= x < np.inf, "it is what setting the bit costs, 0 or more.")
    u = jnp.array([0.0, 0, 1, 1, 0, 1])  # left alone: (u, bit) in four ways; set: u in two
    bit = np.array([0.0, 1, 0, 1, 1, 1])
    p = np.array([0.405, 0.045, 0.045, 0.405, 0.05, 0.05])
    true = u - jnp.array([0.0, 0, 0, 0, 1, 1]) * cost
    return _variant("causal", bit, true, p, (1.0, 0.5 - cost))


def adversarial(cost: float | Float[Array, ""] = 0.25) -> Variant:
    """Somebody else is paid by the measure, and moves it.

    Two suppliers: u = 1 shows 1, u = -1 shows 0.  Before the rule is published one is taken at random; then it is who
    shows most, who is paid 1.  The bad one may fake: two units at `cost` each, which it does where that pays.

    Args:
        cost: what a faked unit costs, above 0, in units of the payment.

    Raises:
        ValueError: for a cost that is not positive.

    Example:
        >>> print(adversarial(cost=0.25).diagnose().verdict)
        adversarial
        >>> float(adversarial(cost=0.25).optimised_true), float(adversarial(cost=0.75).optimised_true)
        (-1.0, 1.0)
    """
    cost = check_number("cost", cost, lambda x: 0 < x < np.inf, "it is what a faked unit costs, above 0.")
    paid = jnp.stack([jnp.zeros_like(cost), jnp.ones_like(cost), 4 * cost])
    fakes = paid > 2 * cost
    worth = jnp.where(fakes, -1.0, 1.0)
    shown = (jnp.where(fakes[1], 2.0, 1.0), worth[1])
    return _variant("adversarial", np.array([1.0, 0]), np.array([1.0, -1]), np.full(2, 0.5), shown, worth)


def _variant(name, proxy, true, p, optimised, by_payoff=None) -> Variant:
    true, log_p = jnp.asarray(true, float), np.log(p / p.sum())
    proxy, log_p, got_proxy, got_true = (jnp.asarray(x, true.dtype) for x in (proxy, log_p, *optimised))
    # Where nobody else is, payments change nothing.
    by_payoff = jnp.full(3, got_true) if by_payoff is None else by_payoff
    return Variant(proxy, true, log_p, got_proxy, got_true, by_payoff, name)
