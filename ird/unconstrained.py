"""What is not known, in one set of coordinates: the weights, and with them β or the parameters of their prior.

A sampler wants a vector of real numbers with a density.  A prior here is a numpyro distribution over
weights or a numpyro model that returns them; numpyro maps the support of every unknown onto the real
line, and the vector is centred and scaled by the prior, so that ±1 is about as far as the prior goes.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key
from numpyro import handlers
from numpyro.distributions import Distribution
from numpyro.infer.util import constrain_fn, potential_energy, unconstrain_fn

from ird.evidence import Evidence
from ird.likelihood import Opaque, betas_of, log_likelihood, names_of_unknown, settled, shared_names
from ird.priors import PRIOR_DRAWS, check_prior
from mdps.checks import is_concrete, shown

__all__ = ["Prior", "Unknowns", "check_unknowns", "draw_unknowns"]
__dir__ = __all__.copy

Prior = Distribution | Callable[[], Array]

# The name under which the weights that a model returns are recorded; a site's name has no spaces.
_RETURNED = "the reward weights"
_TRIES = 10  # starts tried per chain


@dataclass(frozen=True)
class Unknowns:
    """Everything unknown as a vector z of D real numbers, standardised by the prior.

    Attributes:
        evidence: the evidence.
        model: the prior as a numpyro model that returns the weights.
        shared_beta: whether β is unknown too.
        centre: median of the prior's unconstrained values, `[D]`.
        scale: their interquartile range, in standard deviations of a normal distribution, `[D]`.
        unravel: unconstrained vector `[D]` to numpyro's unconstrained sites.
        weights: draws from the prior, `[P, K]`.
        parameters: what else was drawn, each `[P, ...]`.
    """

    evidence: tuple[Evidence, ...]
    model: Callable[[], Array]
    shared_beta: bool
    centre: Array
    scale: Array
    unravel: Callable[[Array], dict[str, Array]]
    weights: Array
    parameters: dict[str, Array]

    @classmethod
    def of(cls, evidence: Sequence[Evidence], prior, beta, *, key: Key[Array, ""]) -> Self:
        """The coordinates for a prior that `check_unknowns` has passed; `key` draws what standardises them."""
        model = _model(prior, beta)
        (weights, parameters), latent, flat = _draws(model, PRIOR_DRAWS, key)
        one = jax.tree.map(lambda x: x[0], latent)
        unravel = ravel_pytree(unconstrain_fn(model, (), {}, one))[1]
        low, centre, high = jnp.quantile(flat, jnp.asarray([0.25, 0.5, 0.75], flat.dtype), axis=0)
        scale = (high - low) / 1.349
        scale = jnp.where(scale > 0, scale, 1.0)
        return cls(
            tuple(evidence),
            model,
            beta is not None and not isinstance(beta, dict),
            centre,
            scale,
            unravel,
            weights,
            parameters,
        )

    def constrain(self, z: Float[Array, " D"]) -> tuple[Float[Array, " K"], dict[str, Array]]:
        """The weights and everything else that a vector stands for."""
        sites = constrain_fn(self.model, (), {}, self._unconstrained(z), return_deterministic=True)
        return _split(sites)

    def log_prior(self, z: Float[Array, " D"]) -> Float[Array, ""]:
        """Log density of z before the evidence, up to a constant: that of the sites, with the Jacobian."""
        return jnp.negative(potential_energy(self.model, (), {}, self._unconstrained(z)))

    def log_likelihood(self, z: Float[Array, " D"]) -> Float[Array, ""]:
        """Log-likelihood of the evidence."""
        weights, parameters = self.constrain(z)
        evidence = settled(self.evidence, betas_of(self.evidence, parameters, self.shared_beta))
        return log_likelihood(evidence, weights[None])[0]

    def log_density(self, z: Float[Array, " D"]) -> Float[Array, ""]:
        """Log density of z after the evidence, up to a constant."""
        return self.log_prior(z) + self.log_likelihood(z)

    def draw(self, num: int, *, key: Key[Array, ""]) -> Float[Array, " num D"]:
        """Draws from the prior, as vectors."""
        flat = _draws(self.model, num, key)[2]
        # A draw that rounding put on the edge of its support lies at infinity; the median stands in for it.
        return jnp.where(jnp.isfinite(flat), (flat - self.centre) / self.scale, 0.0)

    def starts(self, num: int, *, key: Key[Array, ""]) -> Float[Array, " num D"]:
        """Scattered places to start from, within two prior scales, where the density is a positive number.

        NaN where ten tries found none.
        """
        z = jax.random.uniform(key, (num, _TRIES, self.centre.size), self.centre.dtype, -2, 2)
        fine = jnp.isfinite(jax.vmap(jax.vmap(self.log_density))(z))  # [num, tries]
        first = jnp.take_along_axis(z, jnp.argmax(fine, axis=1)[:, None, None], axis=1)[:, 0]
        return jnp.where(jnp.any(fine, axis=1)[:, None], first, jnp.nan)

    def before(self) -> dict[str, Any]:
        """What a `Posterior` keeps of the prior."""
        return {
            "prior_mean": jnp.mean(self.weights, axis=0),
            "prior_sd": jnp.std(self.weights, axis=0),
            "prior_sample": self.weights,
            "prior_parameters": self.parameters,
        }

    def _unconstrained(self, z):
        return self.unravel(self.centre + self.scale * z)


def check_unknowns(evidence: Sequence[Evidence], prior: Prior, beta: Distribution | None) -> tuple[Any, Any]:
    """A prior and β's prior that a compiled function can take, refused if they do not fit the evidence.

    Returns:
        The prior as a pytree (a distribution, or a `jax.tree_util.Partial` of a model), and β's.

    Raises:
        ValueError: for a prior over other weights, a model with sites that are discrete or observed, a
            β that is not a distribution over positive numbers, or evidence that has no β to replace.
    """
    names = shared_names(evidence)
    K = len(names) or None
    if callable(prior) and not isinstance(prior, Distribution | type):
        ready = prior if isinstance(prior, jax.tree_util.Partial) else jax.tree_util.Partial(prior)
    else:
        ready = _as_argument(check_prior(prior, K))
    unknown = {n: e.beta.distribution for n, e in zip(names_of_unknown(evidence), evidence, strict=True) if n}  # pyright: ignore[reportAttributeAccessIssue]
    if beta is None and unknown:
        own = {name: _as_argument(each) for name, each in unknown.items()}
        _check_sites(ready, own, names)
        return ready, own
    if beta is not None:
        if unknown:
            raise ValueError(
                f"beta is given for all evidence, but {', '.join(unknown)} is a distribution of its own; leave one of "
                "them out."
            )
        if not isinstance(beta, Distribution):
            raise ValueError(
                f"beta is {shown(beta)}; give a numpyro distribution over positive numbers such as "
                "dist.LogNormal(0.0, 1.0), or leave it out: the evidence has its own β."
            )
        shape = beta.batch_shape + beta.event_shape
        if shape not in ((), (len(evidence),)):
            raise ValueError(
                f"beta is over shape {shape}; give one number for all evidence, or one for each of its "
                f"{len(evidence)} pieces."
            )
        for i, e in enumerate(evidence):
            if not callable(getattr(e, "replace", None)):
                raise ValueError(
                    f"evidence {i} is a {type(e).__name__}, which has no replace(beta=...): its β cannot be unknown; "
                    "leave beta out, or that evidence."
                )
        beta = _as_argument(beta)
    _check_sites(ready, beta, names)
    return ready, beta


@functools.partial(jax.jit, static_argnames="num_samples")
def draw_unknowns(prior, beta, num_samples: int, *, key: Key[Array, ""]) -> tuple[Array, dict[str, Array]]:
    """Draws from a prior that `check_unknowns` has passed: weights `[N, K]`, and the rest, each `[N, ...]`."""
    with jax.numpy_rank_promotion("allow"):  # numpyro relies on it
        return _draws(_model(prior, beta), num_samples, key)[0]


def _model(prior, beta) -> Callable[[], Array]:
    prior, beta = (x.held if isinstance(x, Opaque) else x for x in (prior, beta))

    def model():
        weights = numpyro.sample("weights", prior) if isinstance(prior, Distribution) else jnp.asarray(prior())
        named = beta if isinstance(beta, dict) else {} if beta is None else {"beta": beta}
        for name, each in named.items():
            numpyro.sample(name, each.held if isinstance(each, Opaque) else each)
        return jnp.asarray(numpyro.deterministic(_RETURNED, weights))

    return model


def _trace_model(model, key) -> dict[str, Any]:
    with handlers.seed(rng_seed=key), handlers.trace() as sites:
        model()
    return sites


def _draws(model, num: int, key) -> tuple[tuple[Array, dict[str, Array]], dict[str, Array], Array]:
    """Draws from the prior: weights and the rest; numpyro's sites; and unconstrained vectors `[num, D]`."""

    def one(key):
        sites = _trace_model(model, key)
        latent = {name: site["value"] for name, site in sites.items() if _is_latent(site)}
        fixed = {name: site["value"] for name, site in sites.items() if site["type"] == "deterministic"}
        return _split(latent | fixed), latent, ravel_pytree(unconstrain_fn(model, (), {}, latent))[0]

    return jax.vmap(one)(jax.random.split(key, num))


def _is_latent(site) -> bool:
    return site["type"] == "sample" and not site["is_observed"]


def _split(sites: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
    """The weights, and the sites that are not the weights themselves."""
    return sites[_RETURNED], {name: x for name, x in sites.items() if name not in (_RETURNED, "weights")}


def _as_argument(distribution: Distribution) -> Any:
    """The distribution, or where numpyro cannot take it apart, the whole of it."""
    try:
        jax.tree.flatten(distribution)
    except NotImplementedError:
        return Opaque(distribution)
    return distribution


def _check_sites(prior, beta, names: tuple[str, ...]) -> None:
    """Run the model once, for its shapes alone."""
    sites = {}

    def look(key):
        sites.update(_trace_model(_model(prior, beta), key))
        return {name: site["value"] for name, site in sites.items() if site["type"] in ("sample", "deterministic")}

    try:
        with jax.numpy_rank_promotion("allow"):
            shapes = jax.eval_shape(look, jax.random.key(0))
    except AssertionError as error:
        raise ValueError(
            "the prior model has two sites of one name (beta= adds one named 'beta'); rename one of them."
        ) from error
    for name, site in sites.items():
        if site["type"] == "sample" and site["is_observed"]:
            raise ValueError(
                f"the site {name!r} of the prior model is observed; a prior sees no data: pass evidence instead."
            )
        if site["type"] == "sample" and site["fn"].support.is_discrete:
            raise ValueError(
                f"the site {name!r} of the prior model is discrete, which these samplers cannot move; sum it out, or "
                "list the possibilities and use posterior.exact."
            )
        if site["type"] == "param":
            raise ValueError(f"the prior model has a param {name!r}, which is no random number; use numpyro.sample.")
    shape = shapes[_RETURNED].shape
    if len(shape) != 1 or (names and shape != (len(names),)):
        wanted = f"[{len(names)}], one weight per feature {names}" if names else "[K]"
        raise ValueError(f"the prior model returns weights of shape {shape}; return {wanted}.")
    if beta is not None:
        _check_positive(beta)


def _check_positive(beta) -> None:
    if isinstance(beta, dict):
        for each in beta.values():
            _check_positive(each)
        return
    beta = beta.held if isinstance(beta, Opaque) else beta
    with jax.numpy_rank_promotion("allow"):
        drawn = beta.sample(jax.random.key(0), (1000,))
    if is_concrete(drawn) and not (np.asarray(drawn) > 0).all():
        raise ValueError(
            f"beta may be {float(np.asarray(drawn).min()):.3g} under its prior; an inverse temperature is positive: "
            "use dist.LogNormal, dist.Gamma or dist.HalfNormal."
        )
