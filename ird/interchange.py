"""A posterior on disk and in arviz."""

import zipfile
from dataclasses import MISSING, fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ird.summaries import check_single, names_of
from mdps.checks import check_count, shown

if TYPE_CHECKING:
    from ird.posterior import Posterior

_FORMAT = "inverse-reward-design posterior 1"


def to_arviz(belief: "Posterior", num_samples: int | None = None):
    """An arviz object with the posterior, its prior draws, and what the sampler noted at each draw."""
    check_single(belief)
    num_samples = None if num_samples is None else check_count("num_samples", num_samples)
    try:
        import arviz as az
    except ImportError as error:
        raise ImportError("Posterior.to_arviz needs arviz: pip install 'inverse-reward-design[arviz]'.") from error
    log_weights = np.asarray(belief.log_weights)
    if num_samples is not None or np.ptp(log_weights) > 1e-6:
        num_samples = min(len(log_weights), 4000) if num_samples is None else num_samples
        belief = belief.resample(num_samples, key=jax.random.key(0))

    def by_chain(draws: dict[str, Any], chains: int) -> dict[str, np.ndarray]:
        return {k: np.asarray(x).reshape(chains, -1, *np.shape(x)[1:]) for k, x in draws.items()}

    data = {
        "posterior": by_chain({"weights": belief.weights, **belief.parameters}, belief.num_chains),
        "prior": by_chain({"weights": belief.prior_sample, **belief.prior_parameters}, 1),
    }
    if belief.sample_stats:
        data["sample_stats"] = by_chain(belief.sample_stats, belief.num_chains)
    coords = {"feature": list(names_of(belief))}
    dims = {"weights": ["feature"]}
    if az.__version__.startswith("0."):
        return az.from_dict(**data, coords=coords, dims=dims)  # pyright: ignore[reportArgumentType]
    return az.from_dict(data, coords=coords, dims=dims)


def save(belief: "Posterior", path) -> None:
    """Write every field to an `.npz` file: arrays by field name, those of a dictionary as `field/key`."""
    arrays: dict[str, np.ndarray] = {"format": np.array(_FORMAT)}
    for field in fields(belief):
        value = getattr(belief, field.name)
        if isinstance(value, dict):
            arrays |= {f"{field.name}/{key}": np.asarray(x) for key, x in value.items()}
        elif field.metadata.get("static"):
            arrays[field.name] = np.array(value, dtype=str) if isinstance(value, tuple) else np.array(value)
        elif value is not None:
            arrays[field.name] = np.asarray(value)
    with _path(path).open("wb") as file:  # savez would add an ending of its own
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]


def load(cls: type["Posterior"], path) -> "Posterior":
    """Read what `save` wrote; see `Posterior.load`."""
    try:
        with _path(path).open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a posterior: it is no .npz file, or a damaged one ({error}).") from error
    if str(arrays.pop("format", "")) != _FORMAT:
        raise ValueError(f"{path} is an .npz file, but not one that Posterior.save of this version wrote.")
    found: dict[str, Any] = {}
    for field in fields(cls):
        if field.default_factory is dict:
            start = f"{field.name}/"
            found[field.name] = {k[len(start) :]: _exactly(x, path) for k, x in arrays.items() if k.startswith(start)}
        elif field.name in arrays:
            value = arrays[field.name]
            if not field.metadata.get("static"):
                found[field.name] = _exactly(value, path)
            else:
                found[field.name] = tuple(value.tolist()) if value.ndim else value.item()
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{path} lacks the field {field.name!r} of a posterior; save it again.")
    return cls(**found)


def _path(path) -> Path:
    if not isinstance(path, str | PathLike):
        raise ValueError(f"path is {shown(path)}; give the name of a file.")
    return Path(path)


def _exactly(x: np.ndarray, path) -> jax.Array:
    if jax.dtypes.canonicalize_dtype(x.dtype) != x.dtype:
        raise ValueError(
            f"{path} holds {x.dtype}, which JAX would round; load it after "
            "jax.config.update('jax_enable_x64', True), or within jax.enable_x64(True)."
        )
    return jnp.asarray(x)
