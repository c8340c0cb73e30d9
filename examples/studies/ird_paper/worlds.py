"""The worlds of the paper's study: pairs of maps, what is read off each cell, and what the designer makes of that.

Two problems: with *side effects* the proxy never mentions lava; with *reward hacking* two sensors agree
wherever the designer looked, and over lava one of them reads "target".  Three kinds of features:
*indicators* of terrain, *raw observations* (Gaussian, one draw for each cell), and the outputs of a
*classifier* of terrain that was trained on raw observations.
"""

from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from examples.lavaland import inputs
from examples.lavaland.limits import READINGS
from mdps import GridWorld
from mdps.worlds.lavaland import NAMES, Lavaland
from mdps.worlds.potts import Potts

KNOWN = NAMES[:3]  # terrains on training maps, and those that are labelled; the last is new
INDICATORS, RAW, CLASSIFIER = "indicators", "raw observations", "classifier outputs"
SIDE_EFFECTS, HACKING = "side effects", "reward hacking"
CLOSE = 0.05  # outputs this close, each of them, to those that mean a known terrain cannot be told from it


@dataclass(frozen=True)
class Condition:
    """One of the study's conditions: a problem, and the features that it is met with."""

    problem: str
    features: str

    @property
    def name(self) -> str:
        return f"{self.problem}, {self.features}"

    @property
    def latent(self) -> bool:
        """Whether terrain is seen through Gaussian observations."""
        return self.features != INDICATORS


CONDITIONS = tuple(
    Condition(problem, features) for features in (INDICATORS, RAW, CLASSIFIER) for problem in (SIDE_EFFECTS, HACKING)
)


class Pair(NamedTuple):
    """A training map and a test map, each as terrain `[H, W]`, start and goal."""

    train: tuple[jax.Array, jax.Array, jax.Array]
    test: tuple[jax.Array, jax.Array, jax.Array]


class Sensed(NamedTuple):
    """What the robot and the designer have to do with a pair of maps.

    Attributes:
        train: features of each cell of the training map, `[S, K]`.
        test: those of the test map.
        proxy: the reward that the designer wrote, `[K]`.
        alternatives: rewards that the designer could have written, the proxy first, `[M, K]`.
        blind: share of the test map's new cells whose features are those of known terrain.
    """

    train: jax.Array
    test: jax.Array
    proxy: jax.Array
    alternatives: jax.Array
    blind: jax.Array


def generator(settings: dict[str, Any], new: float | None = None) -> Lavaland:
    """The distribution of maps; `new` is the share of new terrain in test maps."""
    world = settings["world"]
    potts = Potts(coupling=world["coupling"], penalty=world["penalty"], sweeps=world["sweeps"])
    new = world["new"] if new is None else new
    return Lavaland(horizon=world["horizon"], grass=world["grass"], lava=new, potts=potts)


def draw_pairs(maps: Lavaland, keys: jax.Array, options: tuple[tuple[str, Any], ...] = ()) -> Pair:
    """Independent pairs of maps, one for each key; `options` are the compiler's."""
    return _drawing(maps, options)(keys)


@cache
def _drawing(maps, options):
    def draw(key):
        train, test = jax.random.split(key)
        return Pair(inputs.compact(maps.train(train)), inputs.compact(maps.field(test)))

    return jax.jit(jax.vmap(draw), compiler_options=dict(options))


def grid_of(parts: tuple[jax.Array, jax.Array, jax.Array], horizon: int, features: jax.Array) -> GridWorld:
    """A map whose cells have these features; traced."""
    grid = inputs.rebuild(parts, horizon)
    names = tuple(f"feature {k}" for k in range(features.shape[-1]))
    return replace(grid, mdp=grid.mdp.replace(features=features, feature_names=names))


def prior_of(scale: jax.Array) -> dist.Distribution:
    """The prior of the true reward: a box of half-widths `[K]`, or a normal of triangular factor `[K, K]`."""
    if scale.ndim == 1:
        return dist.Uniform(-scale, scale).to_event(1)
    return dist.MultivariateNormal(jnp.zeros_like(scale[0]), scale_tril=scale)


def meant(settings: dict[str, Any]) -> np.ndarray:
    """The designer's reward of each known terrain."""
    return np.array([settings["designer"][name] for name in KNOWN], np.float32)


def sense(
    settings: dict[str, Any], condition: Condition, pairs: Pair, key: jax.Array, separation: float | None = None
) -> tuple[Sensed, jax.Array]:
    """Features of a batch of pairs, the proxies written for them, and the scale of the prior of the true reward.

    The linear algebra of the designer's regressions runs in NumPy: batched factorizations inside one compiled
    program can wait for each other for ever on a machine with few cores (jaxlib 0.10).
    """
    for_features, for_alternatives = jax.random.split(key)
    if not condition.latent:
        train, test, proxy, scale, blind = _indicators(settings, condition, pairs)
    else:
        separation = settings["latent"]["separation"] if separation is None else separation
        seen = _observations(settings, condition, pairs, for_features, separation)
        described = _raw if condition.features == RAW else _classified
        train, test, proxy, scale, blind = described(settings, condition, pairs, seen)
    n, M = len(proxy), settings["designer"]["alternatives"]
    if condition.features == RAW:  # the same regression, of other rewards of known terrain
        other = settings["prior"]["terrain"] * jax.random.normal(for_alternatives, (n, M, len(KNOWN)))
        others = jnp.einsum("nmt,nkt->nmk", other, _regression(*seen[2:]))
    else:
        others = scale[:, None] * jax.random.uniform(for_alternatives, (n, M, proxy.shape[1]), minval=-1, maxval=1)
    alternatives = jnp.concatenate([jnp.asarray(proxy)[:, None], others], axis=1)
    made = (jnp.asarray(x, jnp.float32) for x in (train, test, proxy, alternatives, blind, scale))
    *sensed, scale = made
    return Sensed(*sensed), scale


def _indicators(settings, condition, pairs):
    """One indicator per terrain; or two sensors with three each, and a proxy written for the first."""
    hacking = condition.problem == HACKING
    table = np.array(READINGS if hacking else np.eye(len(NAMES)), np.float32)
    train, test = (table[np.asarray(terrain).reshape(len(terrain), -1)] for terrain, _, _ in pairs)
    proxy = np.zeros(table.shape[1], np.float32)
    proxy[: len(KNOWN)] = meant(settings)
    n = len(train)
    box = np.full((n, table.shape[1]), settings["prior"]["width"])
    return train, test, np.tile(proxy, (n, 1)), box, np.zeros(n)


class _Seen(NamedTuple):
    """Observations of the cells of both maps, `[n, S, D]`, and labelled ones of known terrain, `[n, L, D]`."""

    train: np.ndarray
    test: np.ndarray
    labelled: np.ndarray
    labels: np.ndarray


def _observations(settings, condition, pairs, key, separation) -> _Seen:
    """Observations for every pair, drawn in one compiled program."""
    table = settings["latent"]
    labels = np.repeat(np.arange(len(KNOWN)), table["labels"])
    keys, shape = jax.random.split(key, len(pairs.train[0])), (table["dimensions"], table["spread"])
    seen = _observe(keys, pairs, jnp.asarray(labels), jnp.float32(separation), shape, condition.problem == HACKING)
    return _Seen(*(np.asarray(x) for x in seen), labels)


@partial(jax.jit, static_argnums=(4, 5))
@partial(jax.vmap, in_axes=(0, 0, None, None, None, None))
def _observe(key, pair, labels, separation, shape, hacking):
    """Each terrain has a mean and a covariance of its own; over lava, sensors that are hacked read what they know."""
    D, nu = shape
    (train, _, _), (test, _, _) = pair
    terrains = train.reshape(-1), test.reshape(-1), labels
    # All chance in one call: each call is a program of its own to compile.
    sizes = [len(NAMES) * D, len(NAMES) * D * nu, *(terrain.size * nu for terrain in terrains)]
    mean, root, *noises = jnp.split(jax.random.normal(key, (sum(sizes),)), np.cumsum(sizes)[:-1])
    mean, root = separation * mean.reshape(len(NAMES), D), root.reshape(len(NAMES), D, nu) / nu**0.5
    if hacking:
        first = jnp.arange(D) < D // 2
        target, grass = NAMES.index("target"), NAMES.index("grass")
        mean = mean.at[-1].set(jnp.where(first, mean[target], mean[grass]))
        root = root.at[-1].set(jnp.where(first[:, None], root[target], root[grass]))

    def observe(terrain, noise):
        return mean[terrain] + jnp.einsum("sdv,sv->sd", root[terrain], noise.reshape(-1, nu))

    return tuple(map(observe, terrains, noises))


def _regression(labelled, labels) -> np.ndarray:
    """The least-squares map from rewards of known terrain to weights, `[n, K, 3]` (of least norm, where not unique)."""
    x = labelled.astype(np.float64)
    transposed = np.swapaxes(x, 1, 2)
    return np.linalg.pinv(transposed @ x, rcond=1e-9, hermitian=True) @ (transposed @ np.eye(len(KNOWN))[labels])


def _raw(settings, condition, pairs, seen):
    """Observations as they are; the prior is what a Bayesian linear regression of terrain rewards leaves open.

    w = A r + u with A the regression, r ~ N(0, terrain²) the rewards of known terrain, and u of covariance
    (I/weight² + S/within²)⁻¹, S the mean square of labelled observations: what no known terrain shows is free.
    """
    table = settings["prior"]
    square = np.swapaxes(seen.labelled, 1, 2) @ seen.labelled / seen.labelled.shape[1]
    precision = np.eye(square.shape[-1]) / table["weight"] ** 2 + square.astype(np.float64) / table["within"] ** 2
    regression = _regression(seen.labelled, seen.labels)
    covariance = np.linalg.inv(precision)
    covariance = covariance + table["terrain"] ** 2 * regression @ np.swapaxes(regression, 1, 2)
    blind = np.full(len(square), np.nan)  # noise: no two cells look alike
    return seen.train, seen.test, regression @ meant(settings), np.linalg.cholesky(covariance), blind


def _classified(settings, condition, pairs, seen):
    """The outputs of a linear discriminant classifier; one for each sensor where there are two."""
    D = seen.train.shape[-1]
    sensors = (slice(0, D // 2), slice(D // 2, D)) if condition.problem == HACKING else (slice(0, D),)
    outputs = [_classifier(seen.labelled[..., part], seen.labels) for part in sensors]

    def classify(x):
        return np.concatenate(
            [output(x[..., part]) for output, part in zip(outputs, sensors, strict=True)], axis=-1, dtype=np.float32
        )

    train, test, labelled = (classify(x) for x in seen[:3])
    proxy = _regression(labelled, seen.labels) @ meant(settings)
    ideal = np.tile(np.eye(len(KNOWN)), len(sensors))
    distance = np.abs(test[:, :, None] - ideal).max(axis=-1).min(axis=-1)
    new = np.asarray(pairs.test[0]).reshape(len(test), -1) == NAMES.index("lava")
    blind = ((distance <= CLOSE) & new).sum(axis=1) / np.maximum(new.sum(axis=1), 1)
    blind = np.where(new.any(axis=1), blind, np.nan)
    return train, test, proxy, np.full(proxy.shape, settings["prior"]["width"]), blind


def _classifier(x: np.ndarray, labels: np.ndarray):
    """Linear discriminant analysis: class probabilities if each class were normal, with one covariance for all."""
    x = x.astype(np.float64)
    mean = np.stack([x[:, labels == t].mean(axis=1) for t in range(len(KNOWN))], axis=1)  # [n, 3, D]
    centred = x - mean[:, labels]
    covariance = np.swapaxes(centred, 1, 2) @ centred / (x.shape[1] - len(KNOWN))
    slope = np.linalg.solve(covariance, np.swapaxes(mean, 1, 2))  # [n, D, 3]
    level = -0.5 * np.einsum("ntd,ndt->nt", mean, slope)

    def outputs(x):
        score = x @ slope + level[:, None]
        score = np.exp(score - score.max(axis=-1, keepdims=True))
        return score / score.sum(axis=-1, keepdims=True)

    return outputs
