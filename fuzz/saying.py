"""Evidence against enumeration, and posteriors against Bayes' rule written out."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import mdps
from fuzz.problems import MEDIUM, Form, Settings, one, scale
from fuzz.promises import Checked
from fuzz.twins import LONG, Said, World, everything
from ird import posterior

CANDIDATES = 12
STRUCTURES = ("sparse", "absorbing", "grid")


class Evidences(NamedTuple):
    """Several pieces of evidence about one MDP, and candidates."""

    mdp: mdps.MDP
    said: list[Said]
    candidates: np.ndarray  # [N, K]
    log_prior: np.ndarray  # [N]
    beta: float
    chosen: list[int]  # which pieces the posterior takes
    jitted: bool

    @property
    def size(self) -> int:
        """How many problems there are: each kind, and the posterior."""
        return len(self.said) + 1

    def show(self, i: int) -> str:
        """Problem `i` in a line."""
        what = f"posterior of {[self.said[j].name for j in self.chosen]} beside {[x.name for x in self.said]}"
        return f"{what}, β {self.beta:.4g}, discount {float(self.mdp.discount)}, horizon {self.mdp.horizon}"


def wide(seed: int, batch: int) -> bool:
    """Whether a batch is in float64."""
    return batch % 3 != 2


def draw(seed: int, batch: int) -> Evidences:
    """Every kind of evidence about one MDP."""
    rng, turn = np.random.default_rng([seed, batch, 7]), batch // 24
    chosen = Settings("", "", "plain", STRUCTURES[turn // 2 % 3], False, turn % 2 == 0, False, False)
    form = Form(chosen.structure, MEDIUM.states, 0, False)
    mdp = one(rng, chosen, MEDIUM._replace(per_action=turn // 6 % 2 == 1), form)[0]
    unit = scale(rng)
    beta = float(10 ** rng.uniform(-2, 2) / unit)
    said = everything(World(mdp, rng, beta, unit))
    p = rng.dirichlet(np.ones(CANDIDATES)) * (rng.random(CANDIDATES) < 0.9) + 0.1 * (np.arange(CANDIDATES) < 1)
    pieces = sorted(rng.choice(len(said), size=rng.integers(0, 4), replace=False).tolist())
    dtype = jnp.result_type(float)
    with np.errstate(divide="ignore"):
        numbers = rng.normal(size=(CANDIDATES, MEDIUM.features)) * unit, np.log(p / p.sum())
    return Evidences(mdp, said, *(np.asarray(x, dtype) for x in numbers), beta, pieces, bool(rng.random() < 0.5))


jitted = jax.jit(lambda e, w: e.log_likelihood(w))


def answers(p: Evidences):
    """Log-likelihoods of each piece, and the posterior of some of them."""
    made = [x.make() for x in p.said]
    likely = [(jitted(e, p.candidates) if p.jitted else e.log_likelihood(p.candidates)) for e in made]
    belief = posterior.exact(*[made[j] for j in p.chosen], candidates=p.candidates, log_prior=p.log_prior)
    return [np.asarray(x) for x in likely], belief


def call(p: Evidences, i: int) -> str:
    """How the library was called."""
    return "evidence.log_likelihood(candidates)" + (" in jax.jit" if p.jitted else "") + "; posterior.exact"


def check(p: Evidences, s) -> list[Checked]:
    """Every likelihood is that of enumeration, and the posterior is Bayes' rule."""
    likely, belief = s
    w, eps = p.candidates.astype(LONG), float(np.finfo(p.candidates.dtype).eps)
    exact, allowed = (np.stack(x) for x in zip(*(x.twin(w) for x in p.said), strict=True))
    found = []
    for x, given, value, most in zip(p.said, likely, exact, allowed, strict=True):
        worst = np.max(np.abs(given - value) / most)
        found.append(Checked(f"evidence: {x.name}", [worst], 1.0, [bool(np.isfinite(most).all())]))
    log_prior = np.where(np.isfinite(p.log_prior), p.log_prior, -np.inf).astype(LONG)
    joint = log_prior - np.logaddexp.reduce(log_prior) + sum((exact[j] for j in p.chosen), np.zeros(len(w), LONG))
    log_p = joint - np.logaddexp.reduce(joint)
    most = 2 * sum((allowed[j] for j in p.chosen), np.zeros(len(w))).max() + 256 * eps
    tried, kept = [bool(np.isfinite(most))], log_p > -60
    given, prob = np.asarray(belief.log_weights), np.exp(log_p)
    mean, size = prob @ w, np.abs(w).max()
    most_sure = np.minimum(most, 1)
    found += [
        Checked("posterior: Bayes' rule", [np.max(np.abs(given - log_p)[kept]) if kept.any() else 0], most, tried),
        Checked("posterior: sums to one", [abs(np.exp(given.astype(float)).sum() - 1)], 64 * eps),
        Checked("posterior: mean", [np.max(np.abs(np.asarray(belief.mean()) - mean))], 2 * most_sure * size, tried),
    ]
    return found
