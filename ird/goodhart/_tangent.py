r"""Directions in which occupancies can move, and the one along which a reward rises most; in float64 on the host.

An occupancy can move along t if that keeps the flow, F t = 0 with F the rows of E - γP, and lowers nothing that is 0
already.  With N = I - Fᵀ (F Fᵀ)⁻¹ F the projector on what keeps the flow and c = N R, the nearest such t to R is

    t = N (c + E_I y),     y = argmin over y >= 0 of |N (c + E_I y)|      (Moreau; I the entries at zero)

non-negative least squares, solved by Lawson and Hanson's active sets (1974) on the Gram matrix N_II: t_I = c_I + N_II y
are its slopes, so that a solution has t_I >= 0, y >= 0 and t_I y = 0.
"""

import numpy as np

__all__ = ["MOST_PAIRS", "dense_flow", "rising", "shares_of_flow"]
__dir__ = __all__.copy

MOST_PAIRS = 4000  # states and actions of which a dense square matrix is made
_ZERO = 1e-11  # of a direction of unit length: what counts as not moving


def dense_flow(counts: np.ndarray, moved) -> np.ndarray:
    """F = E - γP over what can occur, `[S', n]`: what each pair takes out of each state and brings into it.

    `counts` and `moved` are those of `ird.flows.visitable`.
    """
    return -moved[np.flatnonzero(counts.ravel())][:, np.flatnonzero(counts.any(axis=1))].toarray().T


def shares_of_flow(flow: np.ndarray) -> np.ndarray:
    """An orthonormal basis of what changes the flow, `[n, S']`: N = I - B Bᵀ."""
    return np.linalg.qr(flow.T)[0]


def rising(
    projector: np.ndarray, wanted: np.ndarray, at_zero: np.ndarray, prices: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The direction nearest to `wanted` that keeps the flow and lowers no entry `at_zero`; not of unit length.

    Args:
        projector: N, `[n, n]`.
        wanted: c, within its range and of length one, `[n]`.
        at_zero: flags, `[n]`.
        prices: y of the direction before this one, `[n]`, whose positive entries are still at zero: where to begin.

    Returns:
        The direction `[n]`, and its y, `[n]`.
    """
    fixed = np.flatnonzero(at_zero)
    gram, slope = projector[np.ix_(fixed, fixed)], wanted[fixed]
    y = np.zeros(len(fixed)) if prices is None else prices[fixed]
    held = y > 0
    for _ in range(3 * len(fixed) + 10):
        t = slope + gram @ y
        falls = np.where(held, 0, t)
        if not len(fixed) or falls.min() >= -_ZERO:
            break
        held[falls.argmin()] = True
        y, held = _settled(gram, slope, y, held)
    moved = wanted + projector[:, fixed] @ y
    moved[fixed] = np.where(held, 0, np.maximum(moved[fixed], 0))
    prices = np.zeros(len(wanted))
    prices[fixed] = y
    return moved, prices


def _settled(gram, slope, y, held) -> tuple[np.ndarray, np.ndarray]:
    """The best y on the entries that are `held`, those let go that would become negative."""
    while held.any():
        best = np.zeros_like(y)
        on = np.ix_(held, held)
        try:
            best[held] = np.linalg.solve(gram[on], -slope[held])
        except np.linalg.LinAlgError:
            best[held] = np.linalg.lstsq(gram[on], -slope[held], rcond=None)[0]
        if best[held].min() > 0:
            return best, held
        stuck = held & (best <= 0)
        step = np.min(y[stuck] / np.maximum(y[stuck] - best[stuck], 1e-300))
        y = np.where(held, y + step * (best - y), 0)
        held = held & (y > 1e-14) & ~(stuck & (y <= y[stuck].min()))
        y = np.where(held, y, 0)
    return np.zeros_like(y), held
