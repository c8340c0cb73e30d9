"""What more pressure on a written reward does to it and to the meant one: a curve, its peak and its drop."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ird.flows import unit_of
from mdps.checks import check_array, is_concrete, shown
from mdps.mdp import MDP
from mdps.pytrees import frozen_pytree, in_one_line
from mdps.solvers import solve

__all__ = ["Curve", "check_either", "check_pressures", "range_of", "reward_table"]
__dir__ = __all__.copy


@frozen_pytree
@dataclass(frozen=True, eq=False, repr=False)
class Curve:
    """Written and meant reward at several pressures; `print` shows a table.

    Attributes:
        pressure: how hard the written reward is optimised, `[P]`: n of best-of-n, or 1 over a temperature (infinite for
            the hard optimum), in any order.
        proxy: what is expected of the written reward there, `[P]`.
        true: what is expected of the meant one, `[P]`.
        kl: how far that is from no pressure, in nats, `[P]`.
        span: what lies between the least and the largest that the meant reward can be expected to be: the unit of
            `relative_drop`.
    """

    pressure: Float[Array, " *P"]
    proxy: Float[Array, " *P"]
    true: Float[Array, " *P"]
    kl: Float[Array, " *P"]
    span: Float[Array, ""]

    __repr__ = in_one_line

    @property
    def end(self) -> Float[Array, ""]:
        """The meant reward at the highest pressure."""
        return jnp.ravel(self.true)[jnp.argmax(jnp.ravel(self.pressure))]

    @property
    def drop(self) -> Float[Array, ""]:
        """By how much the meant reward lies lower at the highest pressure than where it is best; 0 for no drop."""
        return jnp.max(self.true) - self.end

    @property
    def relative_drop(self) -> Float[Array, ""]:
        """The drop as a share of all that the meant reward can differ by, from 0 to 1."""
        return jnp.where(self.span > 0, self.drop / jnp.where(self.span > 0, self.span, 1), 0)

    @property
    def peak(self) -> Float[Array, ""]:
        """The pressure at which the meant reward is best; of several that are equal the first in the list."""
        return jnp.ravel(self.pressure)[jnp.argmax(jnp.ravel(self.true))]

    def __str__(self) -> str:
        columns = (self.pressure, self.proxy, self.true, self.kl)
        if not all(is_concrete(x) for x in columns) or np.ndim(self.span):
            return f"Curve of a batch, or traced: true {shown(self.true)}"
        rows = np.stack([np.ravel(np.asarray(x, float)) for x in columns], axis=1)
        head = "".join(f"{name:>12}" for name in ("pressure", "proxy", "true", "KL"))
        table = ["".join(f"{x:12.5g}" for x in row) for row in rows]
        return "\n".join([head, *table, f"drop {float(self.drop):.4g} from its best, at {float(self.peak):.4g}"])

    def plot(self, axes=None):
        """Draw written and meant reward against the root of the KL divergence; returns the matplotlib axes."""
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ImportError("Curve.plot needs matplotlib: pip install 'inverse-reward-design[plot]'.") from error
        axes = plt.subplots(layout="constrained")[1] if axes is None else axes
        kl, proxy, true = (np.ravel(np.asarray(x, float)) for x in (self.kl, self.proxy, self.true))
        order = np.argsort(kl)
        far = np.sqrt(np.maximum(kl[order], 0))
        axes.plot(far, proxy[order], "--", color="#D55E00", label="written")
        axes.plot(far, true[order], "-", color="#0072B2", label="meant")
        axes.set(xlabel="pressure: √KL from none", ylabel="expected reward")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        return axes


def check_either(mdp: MDP, name: str, reward) -> Array:
    """Weights `[K]` (or what holds them), or a reward `[S]` or `[S, A]`; where S = K, what is `[K]` are weights."""
    reward = reward.weights if hasattr(reward, "weights") else reward
    held = check_array(name, reward, finite=False)
    S, A, K = mdp.num_states, mdp.num_actions, mdp.num_features
    if held.shape not in ((K,), (S,), (S, A)):
        raise ValueError(
            f"{name} has shape {held.shape}; give weights [{K}], one for each feature, or a reward [S] or [S, A] with "
            f"S={S} states and A={A} actions."
        )
    return check_array(name, held)


def reward_table(mdp: MDP, held: Array) -> Array:
    """The reward `[S, A]` of what `check_either` let in."""
    table = mdp.reward(held) if held.shape == (mdp.num_features,) else held
    return jnp.broadcast_to(table if table.ndim == 2 else table[:, None], (mdp.num_states, mdp.num_actions))


@jax.jit
def range_of(mdp: MDP, reward: Array) -> Array:
    """What lies between the worst and the best return of a reward `[S, A]`, in any unit."""
    unit = unit_of(reward)  # the solver's tolerance is absolute
    both = jax.vmap(lambda r: mdp.initial @ solve(mdp, r).value)(jnp.stack([reward, -reward]) / unit)
    return unit * jnp.sum(both)


def check_pressures(name: str, x, least: float, what: str) -> Array:
    """One number or a list of numbers, each at least `least`."""
    x = check_array(name, x)
    if x.ndim > 1 or x.size == 0:
        raise ValueError(f"{name} has shape {x.shape}; give one number, or a list of them, [P]: {what}.")
    if is_concrete(x) and bool((np.asarray(x) < least).any()):
        raise ValueError(f"{name} holds {float(np.asarray(x).min()):.6g}; it must be at least {least:g}: {what}.")
    return x
