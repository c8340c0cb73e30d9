"""Slow, obvious NumPy twins: chain diagnostics written as the paper has them, and Monte Carlo errors of samples."""

import numpy as np
import scipy.stats


def halves(chains):
    half = chains.shape[1] // 2
    return np.concatenate([chains[:, :half], chains[:, -half:]])


def normal_scores(chains):
    ranks = scipy.stats.rankdata(chains, method="average").reshape(chains.shape)
    return scipy.stats.norm.ppf((ranks - 3 / 8) / (chains.size + 1 / 4))


def plain_r_hat(chains):
    n = chains.shape[1]
    within = chains.var(axis=1, ddof=1).mean()
    between = n * chains.mean(axis=1).var(ddof=1)
    return np.sqrt(((n - 1) / n * within + between / n) / within)


def r_hat(chains):
    """Vehtari et al. 2021: the larger of the rank-normalised R-hat of the draws and of the folded draws."""
    split = halves(chains)
    return max(plain_r_hat(normal_scores(split)), plain_r_hat(normal_scores(np.abs(split - np.median(split)))))


def effective_size(chains):
    """Geyer's initial monotone sequence over several chains, with sums over lags written out."""
    m, n = chains.shape
    if np.ptp(chains) == 0:
        return m * n
    centred = chains - chains.mean(axis=1, keepdims=True)
    covariance = np.array([(centred[:, : n - t] * centred[:, t:]).sum(axis=1).mean() / n for t in range(n)])
    within = covariance[0] * n / (n - 1)
    total = within * (n - 1) / n + chains.mean(axis=1).var(ddof=1)
    rho = 1 - (within - covariance) / total
    rho[0] = 1.0
    tau, least, t = -1.0, np.inf, 0
    while t < n - 4 and rho[t] + rho[t + 1] > 0:
        least = min(least, rho[t] + rho[t + 1])
        tau += 2 * least
        t += 2
    return m * n / max(tau + max(rho[t], 0), 1 / np.log10(m * n))


def ess_bulk(chains):
    return effective_size(normal_scores(halves(chains)))


def ess_tail(chains):
    return min(effective_size(halves((chains <= np.quantile(chains, q)).astype(float))) for q in (0.05, 0.95))


def z_scores(belief, functions, truth):
    """How many Monte Carlo standard errors the means of some functions are from the truth.

    `functions` takes (weights, parameters) to columns [N, F]; `truth` is their true means [F].  The
    errors: of chains by the effective sample size of each column, of a crowd by the variance between
    families, of independent weighted draws by the delta method.
    """
    columns = functions(
        np.asarray(belief.weights, float), {k: np.asarray(x, float) for k, x in belief.parameters.items()}
    )
    p = np.exp(np.asarray(belief.log_weights, float))
    p /= p.sum()
    mean = p @ columns
    away = columns - mean
    if "r_hat" in belief.diagnostics:
        chains = columns.reshape(belief.num_chains, -1, columns.shape[1])
        sizes = np.array([effective_size(halves(chains[:, :, f])) for f in range(columns.shape[1])])
        error = np.sqrt((away**2).mean(axis=0) / sizes)
    elif "ancestor" in belief.sample_stats:
        families = np.zeros_like(columns)
        np.add.at(families, np.asarray(belief.sample_stats["ancestor"]), p[:, None] * away)
        error = np.sqrt((families**2).sum(axis=0))
    else:
        error = np.sqrt(((p[:, None] * away) ** 2).sum(axis=0))
    # Of an event that no draw saw, its probability is known to about 3 / N (the rule of three).
    return (mean - truth) / np.maximum(error, 3 / len(columns))


def weighted_mean(belief, functions):
    """Means of the columns of `functions`, `[F]`."""
    p = np.exp(np.asarray(belief.log_weights, float))
    return p @ functions(np.asarray(belief.weights, float), belief.parameters) / p.sum()
