"""The posterior from its mode: a Gaussian, or one with heavier tails, as the proposal of importance sampling."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key
from numpyro.distributions import Distribution

from ird.blocks import ROWS, in_blocks
from ird.diagnostics import pareto_k
from ird.evidence import Evidence
from ird.likelihood import as_pytrees, betas_of, check_finite_likelihood, opened, shared_names, sum_of_covariances
from ird.posterior._posterior import Posterior
from ird.posterior._told import telling
from ird.posterior._weights import normalise
from ird.unconstrained import Prior, Unknowns, check_unknowns
from mdps.checks import check_count, check_key, check_truth

_STARTS = 4
# A direction that is flatter at the mode than this share of the prior's own curvature counts as that
# flat: the proposal goes no further than about three times as far as the prior.
_FLATTEST = 0.1


def laplace(
    *evidence: Evidence,
    prior: Prior,
    num_samples: int,
    key: Key[Array, ""],
    beta: Distribution | None = None,
    weighted: bool = True,
    degrees_of_freedom: int | None = 5,
    max_steps: int = 100,
) -> Posterior:
    """The posterior by importance sampling from its Laplace approximation.

    The mode ẑ is found by L-BFGS (optax) in coordinates in which everything unknown is a real number
    (the unconstrained transform of the prior, with its Jacobian).  Draws come from a multivariate
    Student t around it whose scale is the inverse Hessian H there, z ~ t_ν(ẑ, H⁻¹), and are weighted
    by p(z) / t_ν(z) (Geweke 1989): the weights correct what the approximation gets wrong, and Pareto k
    tells whether they could.  The heavier tails matter: a flat prior over a box has exponential tails
    in these coordinates, where a Gaussian proposal has hardly any.

    Right for a dozen weights or two and evidence that leaves one bump: far fewer draws than
    `importance`, and no chains to watch.  It sees one mode only; where there may be more, use `smc`.
    Priors and β may be all that `nuts` takes.  Runs under `jit` and `vmap`.

    Args:
        *evidence: any number of pieces of evidence about the same features; none gives the prior.
        prior: a numpyro distribution over `[K]` (independent weights may also be its batch), or a
            numpyro model that returns weights `[K]`: see `nuts`.
        num_samples: how many draws, N (static).
        key: a `jax.random.key`.
        beta: numpyro distribution of an unknown β, one number for all evidence or one for each piece; evidence may
            also bring its own (`Comparison(..., beta=dist)`), named after it.
        weighted: False gives plain draws from the Gaussian N(ẑ, H⁻¹), to which nothing has been
            corrected; the summary says so.
        degrees_of_freedom: ν of the Student t, a whole number (static); None for a Gaussian proposal.
        max_steps: most steps of L-BFGS (static).

    Returns:
        A `Posterior` on the draws, with "newton_decrement" among its diagnostics: by how much, in log
        density, a further step could improve the mode (½ gᵀH⁻¹g).

    Raises:
        ValueError: for a prior that does not fit, a β that cannot be replaced, evidence about different
            features, or a density that is not finite.

    Example:
        >>> import jax, numpyro.distributions as dist
        >>> from ird.evidence import Choice
        >>> seen = Choice([[1.0, 0.0], [0.0, 1.0]], 0, beta=4.0, feature_names=("tea", "coffee"))
        >>> prior = dist.Uniform(-1, 1).expand([2]).to_event(1)
        >>> belief = laplace(seen, prior=prior, num_samples=2000, key=jax.random.key(0))
        >>> float(belief.pareto_k) < 0.7, belief.summary().warnings
        (True, ())
    """
    names = shared_names(evidence)
    check_key(key)
    num_samples, max_steps = check_count("num_samples", num_samples), check_count("max_steps", max_steps)
    weighted = check_truth("weighted", weighted)
    if degrees_of_freedom is not None:
        degrees_of_freedom = check_count("degrees_of_freedom", degrees_of_freedom)
    ready, beta_prior = check_unknowns(evidence, prior, beta)
    heavy = weighted and degrees_of_freedom is not None
    sizes = (num_samples, max_steps, degrees_of_freedom or 5)
    how = (jnp.asarray(weighted), jnp.asarray(heavy))
    belief = _approximate(as_pytrees(evidence), ready, beta_prior, how, key, sizes=sizes, names=names)
    check_finite_likelihood(belief.log_weights)
    return telling(belief, evidence, betas_of(evidence, belief.parameters, beta is not None), prior=prior)


@functools.partial(jax.jit, static_argnames=("sizes", "names"))
def _approximate(evidence, prior, beta, how, key, *, sizes, names) -> Posterior:
    evidence, (weighted, heavy), (num_samples, max_steps, nu) = opened(evidence), how, sizes
    for_prior, for_starts, for_draws = jax.random.split(key, 3)
    with jax.numpy_rank_promotion("allow"):  # numpyro and optax rely on it
        unknown = Unknowns.of(evidence, prior, beta, key=for_prior)
        starts = unknown.starts(_STARTS, key=for_starts)

        def energy(z):
            return -unknown.log_density(z)

        def twice(z):
            slope = jax.grad(energy)(z)
            return slope, slope

        found, least = jax.vmap(lambda z: minimise(energy, z, max_steps))(starts)
        mode = found[jnp.argmin(jnp.where(jnp.isnan(least), jnp.inf, least))]
        curvature, slope = jax.jacfwd(twice, has_aux=True)(mode)
        values, vectors = jnp.linalg.eigh((curvature + curvature.T) / 2)
        sd = 1 / jnp.sqrt(jnp.maximum(values, _FLATTEST))
        spread = vectors * sd[None]  # spread spreadᵀ = H⁻¹

        noise, tails = _student(heavy, nu, num_samples, mode, for_draws)
        z = mode[None] + jnp.matmul(noise, spread.T, precision=jax.lax.Precision.HIGHEST)
        weights, parameters = jax.vmap(unknown.constrain)(z)
        log_density = in_blocks(jax.vmap(unknown.log_density), z, ROWS)
    # Draws so far out that a weight overflows lie where the prior has no mass left.
    inside = jnp.all(jnp.isfinite(weights), axis=1)
    log_ratio = jnp.where(inside, log_density - tails, -jnp.inf)
    flat = jnp.full((num_samples,), -np.log(num_samples), log_ratio.dtype)
    corrected = normalise(log_ratio)
    log_weights = jnp.where(weighted | jnp.isnan(corrected), corrected, flat)
    diagnostics = {"newton_decrement": jnp.sum((slope @ spread) ** 2) / 2, "uncorrected": ~weighted}
    return Posterior(
        weights=weights,
        log_weights=log_weights,
        effective_sample_size=1 / jnp.sum(jnp.exp(2 * log_weights)),
        pareto_k=pareto_k(log_ratio),
        feature_covariance=sum_of_covariances(evidence),
        parameters=parameters,
        diagnostics=diagnostics,
        feature_names=names,
        **unknown.before(),
    )


def _student(heavy, nu: int, num_samples: int, mode: Array, key) -> tuple[Array, Array]:
    """Draws of a standard Student t, or, unless `heavy`, normal: `[N, D]`, and their log density up to a constant."""
    D = mode.size
    for_normal, for_scale = jax.random.split(key)
    normal = jax.random.normal(for_normal, (num_samples, D), mode.dtype)
    square = jnp.sum(jax.random.normal(for_scale, (num_samples, nu), mode.dtype) ** 2, axis=1)  # χ² of ν degrees
    student = normal * jnp.sqrt(nu / square)[:, None]
    log_student = -(nu + D) / 2 * jnp.log1p(jnp.sum(student**2, axis=1) / nu)
    return jnp.where(heavy, student, normal), jnp.where(heavy, log_student, -0.5 * jnp.sum(normal**2, axis=1))


def minimise(function, start: Float[Array, " D"], max_steps: int) -> tuple[Float[Array, " D"], Float[Array, ""]]:
    """A local minimum by L-BFGS with a line search, to where the slope is lost in rounding: where, and how low."""
    solver = optax.lbfgs()
    value_and_slope = optax.value_and_grad_from_state(function)
    tol = jnp.sqrt(jnp.finfo(start.dtype).eps)

    def step(carry):
        z, state, _, _, count = carry
        value, slope = value_and_slope(z, state=state)
        update, state = solver.update(slope, state, z, value=value, grad=slope, value_fn=function)
        low = optax.tree_utils.tree_get(state, "value")  # where the line search ended
        return z + update, state, low, jnp.linalg.norm(slope), count + 1

    def unfinished(carry):
        _, _, _, slope, count = carry
        return (slope > tol) & (count < max_steps)

    far = jnp.asarray(jnp.inf, start.dtype)
    z, _, low, _, _ = jax.lax.while_loop(unfinished, step, (start, solver.init(start), far, far, jnp.asarray(0)))
    return z, low
