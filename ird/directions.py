"""Directions of the weights that something says nothing about: found, and named."""

import jax.numpy as jnp
import numpy as np

__all__ = ["blind_directions", "in_words"]
__dir__ = __all__.copy


def blind_directions(covariance, size=None) -> tuple[list[int], np.ndarray]:
    """Features that never vary over the alternatives, and directions of the rest in which they agree.

    The covariance is scaled to unit variances first; eigenvalues within its rounding are zero.

    Args:
        covariance: of the features over the alternatives, `[K, K]`; None: nothing is known.
        size: against what a feature's deviation is nothing, `[K]`; None: the largest deviation, or one.

    Returns:
        Indices of the unseen features, and directions `[B, K]` in reduced row echelon form, each
        scaled so that its first entry is 1.
    """
    if covariance is None:
        return [], np.zeros((0, 0))
    eps = float(jnp.finfo(covariance.dtype).eps)
    covariance = np.asarray(covariance, np.float64)
    variance = np.diag(covariance)
    # Plans that visit a feature equally often differ by the rounding of the visits, squared.
    against = max(variance.max(initial=0.0), 1.0) if size is None else np.asarray(size, np.float64) ** 2
    seen = np.flatnonzero(variance > (64 * eps) ** 2 * against)
    unseen = [k for k in range(len(variance)) if k not in set(seen)]
    sd = np.sqrt(variance[seen])
    values, vectors = np.linalg.eigh(covariance[np.ix_(seen, seen)] / np.outer(sd, sd))
    null = (vectors[:, values < 64 * eps * max(len(seen), 1)] / sd[:, None]).T
    blind = np.zeros((len(null), len(variance)))
    blind[:, seen] = _echelon(null)
    return unseen, blind


def _echelon(rows: np.ndarray) -> np.ndarray:
    """Reduced row echelon form with the largest pivots first, for rows of full rank."""
    rows = rows.copy()
    used: list[int] = []
    for i in range(len(rows)):
        columns = np.abs(rows[i])
        columns[used] = 0
        j = int(np.argmax(columns > 0.5 * columns.max()))
        used.append(j)
        rows[i] /= rows[i, j]
        others = [r for r in range(len(rows)) if r != i]
        rows[others] -= np.outer(rows[others, j], rows[i])
    rows[np.abs(rows) < 1e-3 * np.abs(rows).max(axis=1, initial=0.0, keepdims=True)] = 0
    return rows


def in_words(direction: np.ndarray, names: tuple[str, ...]) -> str:
    """A direction `[K]` as a sum of features by name, such as "closed - resolved"."""
    text = ""
    for k in np.flatnonzero(direction):
        size = abs(direction[k])
        sign = ("- " if direction[k] < 0 else "+ ") if text else ("-" if direction[k] < 0 else "")
        text += f" {sign}" if text else sign
        text += names[k] if abs(size - 1) < 0.005 else f"{size:.2f} {names[k]}"
    return text
