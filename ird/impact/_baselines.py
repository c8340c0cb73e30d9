"""What a state is compared with: the start, what inaction would have led to, or what one step of inaction would."""

from dataclasses import dataclass

from ird.impact._reachability import check_discount

__all__ = ["Inaction", "Start", "Stepwise"]
__dir__ = __all__.copy


@dataclass(frozen=True)
class Start:
    """b_t = s₀: what a state is compared with is the start.  What changes by itself is blamed on the agent.

    Example:
        >>> Start()
        Start()
    """


@dataclass(frozen=True)
class Inaction:
    """b_t = noop^t(s₀): how the world would be now if nothing had been done.  It depends on t.

    Attributes:
        discount: γ of rollouts of inaction from both states before they are compared, (1 - γ) Σ_k γᵏ f(noopᵏ(·)); 0:
            none.

    Example:
        >>> Inaction()
        Inaction(discount=0.0)
    """

    discount: float = 0.0

    def __post_init__(self):
        object.__setattr__(self, "discount", check_discount(self.discount, below_one=True))


@dataclass(frozen=True)
class Stepwise:
    """b_t = noop(s_{t-1}): how the world would be if the last action had been to do nothing.

    Attributes:
        discount: γ of rollouts of inaction from both states before they are compared, (1 - γ) Σ_k γᵏ f(noopᵏ(·)), which
            see what the action sets going; 0: none.

    Example:
        >>> Stepwise(discount=0.99)
        Stepwise(discount=0.99)
    """

    discount: float = 0.0

    def __post_init__(self):
        object.__setattr__(self, "discount", check_discount(self.discount, below_one=True))
