"""A slow NumPy twin of the Potts model: every map of a small grid, and its probability."""

import itertools

import numpy as np


def log_probability(terrain, shares, coupling, penalty):
    """Cell by cell: one for each pair of equal neighbours, less the penalty on each terrain's count."""
    rows, columns = len(terrain), len(terrain[0])
    equal = 0
    for r in range(rows):
        for c in range(columns):
            if r + 1 < rows and terrain[r][c] == terrain[r + 1][c]:
                equal += 1
            if c + 1 < columns and terrain[r][c] == terrain[r][c + 1]:
                equal += 1
    total = coupling * equal
    for t, share in enumerate(shares):
        count = sum(int(terrain[r][c]) == t for r in range(rows) for c in range(columns))
        total -= penalty / 2 * (count - share * rows * columns) ** 2
    return total


def every_map(shape, shares, coupling, penalty, allowed=None):
    """All maps as `[maps, H, W]`, and the probability of each."""
    H, W = shape
    maps = np.array(list(itertools.product(range(len(shares)), repeat=H * W))).reshape(-1, H, W)
    log_p = np.array([log_probability(m, shares, coupling, penalty) for m in maps])
    if allowed is not None:
        fits = np.take_along_axis(np.asarray(allowed)[None], maps[..., None], axis=-1).all(axis=(1, 2, 3))
        log_p = np.where(fits, log_p, -np.inf)
    p = np.exp(log_p - log_p.max())
    return maps, p / p.sum()
