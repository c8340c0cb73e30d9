"""Read what a sweep has written, also while it runs: with xarray, or with NumPy alone."""

import os
from typing import Any, NamedTuple

import numpy as np

from ird.sweep.stores import DONE, open_store

__all__ = ["Named", "arrays", "load"]
__dir__ = __all__.copy


class Named(NamedTuple):
    """An array that knows its axes.

    Attributes:
        dims: the name of each axis.
        values: the array.
    """

    dims: tuple[str, ...]
    values: np.ndarray


def load(store: str | os.PathLike[str]) -> Any:
    """Open the results as one `xarray.Dataset`, read from the disk where they are used.

    Its dimensions are the settings, `seed`, and those of each field.  `done` says of each trial whether it has
    run; where it has not, numbers are NaN or 0.  `xarray.open_zarr(store)` opens the same.

    Raises:
        ImportError: if xarray or zarr is not installed.
        ValueError: if there is no sweep there, or files of it are missing or damaged.

    Example:
        >>> import jax, tempfile
        >>> from ird import sweep
        >>> store = tempfile.mkdtemp() + "/small.zarr"
        >>> trial = lambda key, *, scale: {"drawn": scale * jax.random.normal(key)}
        >>> _ = sweep.run(trial, {"scale": [1.0, 10.0]}, num_seeds=3, key=jax.random.key(0), store=store,
        ...               progress=False)
        >>> dict(load(store)["drawn"].sizes)
        {'scale': 2, 'seed': 3}
    """
    opened = open_store(store)
    try:
        import xarray
        import zarr  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "sweep.load needs xarray and zarr; pip install 'inverse-reward-design[zarr]' (sweep.arrays needs neither)."
        ) from error
    opened.check_whole(opened.survey())
    opened.check_labels()
    return xarray.open_zarr(opened.path, chunks=None)


def arrays(store: str | os.PathLike[str]) -> dict[str, Named]:
    """Read all results into memory with NumPy alone: each field, each axis and `done`, as `Named(dims, values)`.

    Raises:
        ValueError: if there is no sweep there, or files of it are missing or damaged.

    Example:
        >>> import jax, tempfile
        >>> from ird import sweep
        >>> folder = tempfile.mkdtemp()
        >>> _ = sweep.run(lambda key, scale: {"twice": 2 * scale}, {"scale": [1.0, 2.0]}, num_seeds=3,
        ...               key=jax.random.key(0), store=folder, progress=False)
        >>> found = sweep.arrays(folder)
        >>> found["twice"].dims, found["twice"].values.mean(axis=1).tolist()
        (('scale', 'seed'), [2.0, 4.0])
    """
    opened = open_store(store)
    axes, blocks = opened.blocks.axes, opened.blocks
    found = {name: Named((name,), np.asarray(values)) for name, (_, values) in opened.coordinates().items()}
    done = Named(axes.names, np.zeros(axes.shape, bool))
    whole = {}
    for field in opened.fields:
        empty = np.nan if np.dtype(field.dtype).kind in "fc" else 0
        whole[field.name] = np.full((*axes.shape, *field.shape), empty, field.dtype)
        found[field.name] = Named((*axes.names, *field.dims), whole[field.name])
    survey = opened.survey()
    opened.check_whole(survey)
    for number in np.flatnonzero(survey.done):
        box = blocks.box(int(number))
        done.values[box] = True
        for field in opened.fields:
            whole[field.name][box] = opened.read(int(number), field)
    return found | {DONE: done}
