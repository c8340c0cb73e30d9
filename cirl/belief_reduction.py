"""A posterior over rewards reduced to a few weighted atoms, and what that can cost."""

import numpy as np

__all__ = ["reduce_belief"]
__dir__ = __all__.copy


def reduce_belief(weights: np.ndarray, masses: np.ndarray, features: np.ndarray, num_atoms: int, rounds: int = 30):
    """Weighted k-means of reward functions (Lloyd 1982), started far apart; deterministic.

    Distances are between rewards `features @ w`, not between weights: weights that no pair of
    actions tells apart are one atom.

    Args:
        weights: `[N, K]`.
        masses: probability of each, `[N]`.
        features: `[..., K]`, where the rewards are compared.
        num_atoms: most atoms.
        rounds: rounds of Lloyd's algorithm.

    Returns:
        Atoms `[Θ, K]` (means of their weights), their masses `[Θ]`, and the mean over the belief of
        the largest difference in reward between a weight and its atom.
    """
    rows = np.unique(features.reshape(-1, weights.shape[1]), axis=0)
    kept = masses > 1e-30 * masses.max()  # the rest is nothing beside them
    weights, masses = weights[kept], masses[kept] / masses[kept].sum()
    rewards = weights @ rows.T  # [N, R]
    centres = [rewards[masses.argmax()]]
    gap = np.abs(rewards - centres[0]).max(axis=1)
    while len(centres) < num_atoms and (masses * gap).max() > 1e-12:
        centres.append(rewards[(masses * gap).argmax()])
        gap = np.minimum(gap, np.abs(rewards - centres[-1]).max(axis=1))
    centres = np.array(centres)
    nearest = np.zeros(len(weights), int)
    for count in range(rounds):
        distance = (rewards**2).sum(1)[:, None] - 2 * rewards @ centres.T + (centres**2).sum(1)
        moved = distance.argmin(axis=1)
        total = np.bincount(moved, masses, len(centres))
        sums = np.stack([np.bincount(moved, masses * x, len(centres)) for x in rewards.T], axis=1)
        centres = np.where(total[:, None] > 0, sums / np.where(total > 0, total, 1)[:, None], centres)
        if (moved == nearest).all() and count:
            break
        nearest = moved
    used, nearest = np.unique(nearest, return_inverse=True)
    total = np.bincount(nearest, masses, len(used))
    atoms = np.stack([np.bincount(nearest, masses * x, len(used)) for x in weights.T], axis=1) / total[:, None]
    away = np.abs(rewards - (atoms @ rows.T)[nearest]).max(axis=1)
    return atoms, total, float(masses @ away)
