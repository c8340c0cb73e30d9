"""A posterior for people: the table of what was learnt, and the warnings."""

import warnings
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Array

from ird.diagnostics import ConvergenceWarning
from ird.directions import blind_directions, in_words
from mdps.checks import is_concrete

if TYPE_CHECKING:
    from ird.posterior._importance import Posterior

_ENOUGH_SAMPLES = 100.0  # in all, and of each chain
_ENOUGH_R_HAT = 1.01
_HEAD = 6  # weights that are named in one line


@dataclass(frozen=True)
class Summary:
    """What was learnt of each weight, how far to trust it, and what the evidence could not tell.

    Where more than the weights was unknown, the parameters follow the weights: K + P rows.

    Attributes:
        names: name of each weight, K of them, then of each parameter.
        mean: posterior mean, `[K + P]`.
        sd: posterior standard deviation, `[K + P]`.
        quantiles: 5 %, 50 % and 95 % of the posterior, `[3, K + P]`.
        contraction: 1 - posterior variance / prior variance, `[K + P]`; 0: nothing was learnt, 1: all;
            negative: the evidence widened it.  NaN where the prior itself is a point.
        r_hat: rank-normalised R-hat, `[K + P]`, or None without chains.
        ess_bulk: effective sample size in the bulk, `[K + P]`, or None without chains.
        ess_tail: the smaller of those of the 5 % and 95 % quantiles, `[K + P]`, or None without chains.
        divergences: transitions of a Hamiltonian sampler that diverged, or None.
        num_samples: N.
        effective_sample_size: what the N samples are worth.
        pareto_k: tail shape of the importance weights; NaN without importance sampling.
        unseen: features that no alternative's plan changes, by name.
        blind: directions in which all alternatives agree, `[B, K]`, the unseen features left out.
        warnings: what makes this posterior untrustworthy; empty is good.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    sd: np.ndarray
    quantiles: np.ndarray
    contraction: np.ndarray
    r_hat: np.ndarray | None
    ess_bulk: np.ndarray | None
    ess_tail: np.ndarray | None
    divergences: int | None
    num_samples: int
    effective_sample_size: float
    pareto_k: float
    unseen: tuple[str, ...]
    blind: np.ndarray
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        heads, rows = self._table()
        wide = max([len(n) for n in self.names] + [6])
        lines = [heads[0].ljust(wide) + "".join(f"{h:>{max(9, len(h) + 2)}}" for h in heads[1:])]
        for name, *cells in rows:
            lines.append(
                name.ljust(wide) + "".join(f"{x:>{max(9, len(h) + 2)}}" for h, x in zip(heads[1:], cells, strict=True))
            )
        return "\n".join([*lines, "", *self._remarks()])

    def _table(self) -> tuple[list[str], list[list[str]]]:
        """The heads and the rows, as text."""
        heads, rows = ["weight", "mean", "sd", "5%", "50%", "95%", "contraction"], []
        chains = self.r_hat is not None and self.ess_bulk is not None and self.ess_tail is not None
        for k, name in enumerate(self.names):
            numbers = [self.mean[k], self.sd[k], *self.quantiles[:, k], self.contraction[k]]
            row = [name, *(f"{_plain(x):.3f}" for x in numbers)]
            if chains:
                row += [f"{self.r_hat[k]:.3f}", f"{self.ess_bulk[k]:.0f}", f"{self.ess_tail[k]:.0f}"]  # pyright: ignore[reportOptionalSubscript]
            rows.append(row)
        return heads + ["R-hat", "bulk ESS", "tail ESS"] * chains, rows

    def _remarks(self) -> list[str]:
        """How far to trust it, what the evidence could not tell, and the warnings."""
        trust = f"{self.num_samples} samples, worth {self.effective_sample_size:.0f}"
        trust += "" if np.isnan(self.pareto_k) else f"; {_tail_in_words(self.pareto_k, self.num_samples)}"
        lines = [trust + ("" if self.divergences is None else f"; {self.divergences} divergences")]
        if self.unseen:
            lines.append("The evidence says nothing about: " + ", ".join(self.unseen) + ".")
        lines += [f"It says nothing about the direction {in_words(d, self.names)}." for d in self.blind]
        return lines + [f"WARNING: {w}" for w in self.warnings]

    def _repr_html_(self) -> str:
        """The table for notebooks."""
        heads, rows = self._table()
        cells = [f"<tr>{''.join(f'<td>{escape(x)}</td>' for x in row)}</tr>" for row in rows]
        head = f"<tr>{''.join(f'<th>{escape(h)}</th>' for h in heads)}</tr>"
        return f"<table>{head}{''.join(cells)}</table>" + "".join(f"<p>{escape(x)}</p>" for x in self._remarks())

    __repr__ = __str__


def head_of(belief: "Posterior") -> str:
    """One line: how many samples, what they are worth, and mean ± sd of the first weights; of a batch its shape."""
    shape = np.shape(belief.weights)
    if len(shape) != 2 or not all(is_concrete(x) for x in (belief.weights, belief.log_weights)):
        return f"Posterior(weights {shape})"
    p = np.exp(np.asarray(belief.log_weights, np.float64))
    values = np.asarray(belief.weights, np.float64)[p > 0]
    p = p[p > 0] / p.sum()
    mean = p @ values
    sd = np.sqrt(p @ (values - mean) ** 2)
    each = [f"{n} {_plain(m):.3g} ± {s:.2g}" for n, m, s in zip(names_of(belief), mean, sd, strict=True)]
    more = each[:_HEAD] + ["..."] * (len(each) > _HEAD)
    return f"Posterior({shape[0]} samples, worth {float(belief.effective_sample_size):.0f}; {', '.join(more)})"


def summarise(belief: "Posterior") -> Summary:
    """The `Summary` of a posterior, on the host."""
    check_single(belief)
    names, columns, prior = columns_of(belief)
    p = np.exp(np.asarray(belief.log_weights, np.float64))
    p = p / p.sum()
    mean = p @ columns
    variance = p @ (columns - mean) ** 2
    K = belief.weights.shape[1]
    prior_variance = np.concatenate([np.asarray(belief.prior_sd, np.float64) ** 2, prior[:, K:].var(axis=0)])
    with np.errstate(divide="ignore", invalid="ignore"):
        contraction = np.where(prior_variance > 0, 1 - variance / prior_variance, np.nan)
    unseen, blind = blind_directions(belief.feature_covariance)
    divergences = belief.diagnostics.get("divergences")
    return Summary(
        names=names,
        mean=mean,
        sd=np.sqrt(variance),
        quantiles=_quantiles(columns, p, (0.05, 0.5, 0.95)),
        contraction=contraction,
        r_hat=_of_chains(belief, "r_hat"),
        ess_bulk=_of_chains(belief, "ess_bulk"),
        ess_tail=_of_chains(belief, "ess_tail"),
        divergences=None if divergences is None else int(divergences),
        num_samples=len(p),
        effective_sample_size=float(belief.effective_sample_size),
        pareto_k=float(belief.pareto_k),
        unseen=tuple(names[k] for k in unseen),
        blind=blind,
        warnings=tuple(_warnings(belief, names)),
    )


def check_single(belief: "Posterior") -> None:
    """Raise for a batch of posteriors."""
    if np.ndim(belief.weights) != 2:
        raise ValueError(
            f"this is a batch of posteriors (weights {np.shape(belief.weights)}); take one first: "
            "jax.tree.map(lambda x: x[0], belief)."
        )


def warnings_of(belief: "Posterior") -> tuple[str, ...]:
    """What makes a posterior untrustworthy; for a batch, each sentence names its posterior."""
    batch = np.shape(belief.log_weights)[:-1]
    if not batch:
        return tuple(_warnings(belief, columns_of(belief)[0]))
    found = []
    for index in np.ndindex(*batch):
        one = jax.tree.map(lambda x: np.asarray(x)[index], belief)  # noqa: B023
        found += [f"posterior {', '.join(map(str, index))}: {text}" for text in warnings_of(one)]
    return tuple(found)


def tell(belief: "Posterior") -> "Posterior":
    """Warn in Python of chains that have not converged, once their values are known; returns the posterior."""
    if is_concrete(belief.weights) and (found := belief.warnings()):
        warnings.warn(" ".join(found), ConvergenceWarning, stacklevel=3)
    return belief


def columns_of(belief: "Posterior") -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Weights and parameters side by side: their names, samples `[N, K + P]`, and prior draws `[D, K + P]`."""
    names = list(names_of(belief))
    columns, prior = [np.asarray(belief.weights, np.float64)], [np.asarray(belief.prior_sample, np.float64)]
    for name, draws in belief.parameters.items():
        shape = np.shape(draws)[1:]
        names += [name + (str(list(index)) if index else "") for index in np.ndindex(*shape)]
        columns.append(np.asarray(draws, np.float64).reshape(len(draws), -1))
        # Without prior draws nothing is known of how far a parameter has moved.
        before = belief.prior_parameters.get(name)
        missing = np.full((len(prior[0]), columns[-1].shape[1]), np.nan)
        prior.append(missing if before is None else np.asarray(before, np.float64).reshape(len(prior[0]), -1))
    return tuple(names), np.concatenate(columns, axis=1), np.concatenate(prior, axis=1)


def _of_chains(belief: "Posterior", what: str) -> np.ndarray | None:
    """A diagnostic of every weight and parameter, `[K + P]`; None without chains."""
    if what not in belief.diagnostics:
        return None
    each: list[Array | np.ndarray] = [belief.diagnostics[what]]
    for name, draws in belief.parameters.items():  # one that nothing is known of counts as not converged
        each.append(belief.diagnostics.get(f"{what} {name}", np.full(draws.shape[1:], np.nan)))
    return np.concatenate([np.asarray(x, np.float64).ravel() for x in each])


def _warnings(belief: "Posterior", names):
    N, size, k = belief.weights.shape[0], float(belief.effective_sample_size), float(belief.pareto_k)
    r_hats = _of_chains(belief, "r_hat")
    if r_hats is None and (not np.isnan(k) or bool(belief.diagnostics)) and not size >= _ENOUGH_SAMPLES:
        yield (
            f"{N} samples are worth only {size:.0f} independent draws; means are rough and tails rougher: "
            "draw more samples, or use posterior.nuts."
        )
    limit = _largest_k(N)
    if k > limit:
        yield (
            f"Pareto k is {k:.2f}, above {limit:.2f}: a few samples carry the weight and the error is not what the "
            "sample size suggests; use posterior.nuts, or a prior nearer to the evidence."
        )
    if r_hats is not None:
        yield from _about_chains(belief, names, r_hats)
    divergences = int(belief.diagnostics.get("divergences", 0))
    if divergences:
        yield f"{divergences} transitions diverged; raise target_accept or num_warmup, or use a smoother prior."
    if bool(belief.diagnostics.get("uncorrected", False)):
        yield (
            "these are draws from a Gaussian that resembles the posterior, and nothing corrects the difference; "
            "leave weighted=True for that."
        )
    reached = float(belief.diagnostics.get("temperature", 1.0))
    if reached < 1:
        yield (
            f"the evidence was let in only to {reached:.3f} of its weight before max_stages ran out; raise it, or "
            "lower target_size."
        )


def _about_chains(belief: "Posterior", names, r_hats):
    """Chains that disagree, or that moved too slowly to tell (Vehtari et al. 2021, section 4)."""
    apart = [k for k, r_hat in enumerate(r_hats) if not r_hat < _ENOUGH_R_HAT]
    if apart:
        worst = max(apart, key=lambda k: np.inf if np.isnan(r_hats[k]) else r_hats[k])
        others = f", and {len(apart) - 1} more are no better than that limit" if len(apart) > 1 else ""
        yield (
            f"the chains have not converged: R-hat of {names[worst]} is {r_hats[worst]:.3f}, not below "
            f"{_ENOUGH_R_HAT}{others}; run them longer."
        )
    enough = _ENOUGH_SAMPLES * belief.num_chains
    for what, words in (("ess_bulk", "bulk"), ("ess_tail", "tails")):
        sizes = _of_chains(belief, what)
        if sizes is not None and not (sizes >= enough).all():
            least = int(np.argmin(np.where(np.isnan(sizes), -1, sizes)))
            yield (
                f"the chains are worth only {sizes[least]:.0f} independent draws in the {words} of {names[least]}, "
                f"fewer than {enough:.0f} ({_ENOUGH_SAMPLES:.0f} per chain): run them longer."
            )


def _largest_k(num_samples: int) -> float:
    """The largest Pareto k that so many samples allow (Vehtari et al. 2024, section 3.2.4)."""
    return min(1 - 1 / np.log10(max(num_samples, 3)), 0.7) if num_samples > 10 else 0.0


def _tail_in_words(k: float, num_samples: int) -> str:
    """Pareto k, and whether it is fine; a level or short tail (k ≤ 0) has no number that tells anything."""
    if k == np.inf:
        return "Pareto k: too few ratios stand out to fit one"
    if k > _largest_k(num_samples):
        return f"Pareto k {k:.2f}: too large"
    return "Pareto k: fine" if k <= 0 else f"Pareto k {k:.2f}: fine"


def _plain(x: float) -> float:
    """A number to print with three decimals: no minus before a zero."""
    return 0.0 if abs(x) < 0.0005 else float(x)


def names_of(belief: "Posterior") -> tuple[str, ...]:
    """The weights' names, numbered where the posterior has none."""
    return belief.feature_names or tuple(f"weight {k}" for k in range(belief.weights.shape[-1]))


def _quantiles(weights: np.ndarray, p: np.ndarray, at: tuple[float, ...]) -> np.ndarray:
    out = np.empty((len(at), weights.shape[1]))
    for k in range(weights.shape[1]):
        order = np.argsort(weights[:, k])
        total = np.cumsum(p[order])
        out[:, k] = weights[order[np.minimum(np.searchsorted(total, np.multiply(at, total[-1])), len(p) - 1)], k]
    return out
