"""What any kind of evidence offers, and what a proxy's normalizer does."""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float

__all__ = ["Evidence", "Normalizer"]
__dir__ = __all__.copy


@runtime_checkable
class Evidence(Protocol):
    """What a posterior asks of any kind of evidence; independent evidence adds."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The features that the weights multiply, in order."""
        ...

    def log_likelihood(self, weights: Float[Array, " N K"]) -> Float[Array, " N"]:
        """Log probability of the evidence under each reward, up to a constant, `[N, K] -> [N]`."""
        ...


class Normalizer(Protocol):
    """What makes a proxy's likelihood sum to one over the proxies a designer could have written."""

    def log_sum(
        self, weights: Float[Array, " N K"], beta: Float[Array, ""], origin: Float[Array, " K"]
    ) -> Float[Array, " N"]:
        """Log Z̃(w) - β w·origin: measured from `origin`, so that large common terms never meet in float32."""
        ...
