"""A posterior on disk and in arviz."""

import zipfile
from dataclasses import MISSING, fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ird.posterior._summary import check_single, names_of
from mdps.checks import check_count, shown

if TYPE_CHECKING:
    from ird.posterior._importance import Posterior

_FORMAT, _NUMBER = "inverse-reward-design posterior", 1
_SHAPES = {  # of one posterior; of a batch each has the batch's axes in front
    "weights": ("N", "K"),
    "log_weights": ("N",),
    "effective_sample_size": (),
    "pareto_k": (),
    "prior_mean": ("K",),
    "prior_sd": ("K",),
    "prior_sample": ("P", "K"),
    "prior_covariance": ("K", "K"),
    "feature_covariance": ("K", "K"),
}
_FIRST = {"parameters": "N", "prior_parameters": "P", "sample_stats": "N"}  # of each array of a dictionary


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


def save_npz(belief: "Posterior", path) -> None:
    """Write every field to an `.npz` file: arrays by field name, those of a dictionary as `field/key`."""
    arrays: dict[str, np.ndarray] = {"format": np.array(f"{_FORMAT} {_NUMBER}")}
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


def load_npz(cls: type["Posterior"], path) -> "Posterior":
    """Read what `save` wrote; see `Posterior.load`."""
    try:
        with _path(path).open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a posterior: it is no .npz file, or a damaged one ({error}).") from error
    _check_format(str(arrays.pop("format", "")), path)
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
    _check_shapes(found, path)
    return cls(**found)


def _check_format(written: str, path) -> None:
    name, _, number = written.rpartition(" ")
    if name != _FORMAT or not number.isdecimal():
        raise ValueError(f"{path} is an .npz file, but not one that Posterior.save wrote.")
    if int(number) != _NUMBER:
        raise ValueError(
            f"{path} is a posterior in format {number}, and this version reads format {_NUMBER}; read it with the "
            "version that wrote it."
        )


def _check_shapes(found: dict[str, Any], path) -> None:
    """Raise unless all arrays speak of the same samples and weights, and each sample has a probability."""
    batch = found["effective_sample_size"].shape
    size: dict[str, int] = {}

    def agree(name: str, x, axes: tuple[str, ...], *, more: bool = False) -> None:
        own = x.shape[len(batch) :]
        fits = x.shape[: len(batch)] == batch and (len(own) >= len(axes) if more else len(own) == len(axes))
        if not fits or any(size.setdefault(axis, n) != n for axis, n in zip(axes, own)):
            known = ", ".join(f"{axis} = {n}" for axis, n in size.items())
            must = ", ".join((*map(str, batch), *axes, *(["..."] if more else [])))
            raise ValueError(
                f"{path} is damaged: {name} has shape {x.shape}, which must be [{must}] ({known}); save the posterior "
                "again."
            )

    for name, axes in _SHAPES.items():
        if found.get(name) is not None:
            agree(name, found[name], axes)
    for field, axis in _FIRST.items():
        for key, x in found.get(field, {}).items():
            agree(f"{field}[{key!r}]", x, (axis,), more=True)
    names, chains = found.get("feature_names", ()), found.get("num_chains", 1)
    if (names and len(names) != size["K"]) or chains < 1 or size["N"] % chains:
        raise ValueError(
            f"{path} is damaged: {len(names)} feature names for {size['K']} weights, {chains} chains of {size['N']} "
            "samples; save the posterior again."
        )


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
