"""The plan that is careful about what the evidence said nothing about, and about that alone."""

import dataclasses
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ird.beliefs import Belief
from ird.evidence.protocol import Evidence
from ird.planning._explain import Remembers, explanation_of, remember, what_was_met
from ird.planning._unknown import Known, as_features, check_sure, known_of, rests_on, unknown_of, worth_of
from mdps import bellman
from mdps.checks import check_number, check_sums, is_concrete, shown
from mdps.mdp import MDP
from mdps.optimal_features import optimum
from mdps.policies import feature_expectations, occupancy, uniform_policy
from mdps.pytrees import frozen_pytree
from mdps.solvers import solve

# Prices of exposure that are tried first, in units of what may be given up; then as many between two of them, again
# and again, until no plan lies between.  (Four at a time cost a batch of maps on a CPU hardly more than one.)
PRICES = (0.0, 1e-3, 0.3, 30.0)
TURNS = 16
_KNOWN = 1e-3  # of what plans are worth: the largest error of K* with which a plan counts as found


@frozen_pytree
@dataclass(frozen=True, eq=False, repr=False)
class ExposurePlan(Remembers):
    """A plan of least exposure to what is unknown, among all that are worth enough by what is known.

    Attributes:
        policy: probability of each action, `[S, A]`, or `[T, S, A]` with a horizon.
        known: what the policy is worth by what is known of the reward, above visits in which nothing in particular is
            wanted, in units of return.
        floor: what a plan had to be worth, and this one is.
        best: what any plan is worth at most by what is known: K*, and the error of its value on top.
        exposure: expected (discounted) visits to what is unknown, each as far as it is: E Σ u (by state and action,
            where actions differ in the chance that all reward ends).
        bound: no policy that keeps the floor, randomised ones included, is exposed less.
        by_feature: the features that the exposure rests on, which add up to it, `[K]`: what to ask a person about.
        untold: the share of what the proxy's plan gained in training that the evidence could not tell: near 1, what is
            known is a guess.
        unknown: u, the share of each visit that is unknown, `[S]`, or `[S, A]` where features depend on the action.
        price: what the plan pays for less exposure at most, in units of return.
        converged: whether the plan keeps its floor, K* is known to a thousandth, and everything is finite.
        feature_names: names of the features (static).

    `print(plan)` says all of it in words.
    """

    policy: Float[Array, " S A"] | Float[Array, " T S A"]
    known: Float[Array, ""]
    floor: Float[Array, ""]
    best: Float[Array, ""]
    exposure: Float[Array, ""]
    bound: Float[Array, ""]
    by_feature: Float[Array, " K"]
    untold: Float[Array, ""]
    unknown: Float[Array, " S"] | Float[Array, " S A"]
    price: Float[Array, ""]
    converged: Bool[Array, ""]
    feature_names: tuple[str, ...] = field(default=(), metadata={"static": True})

    def __str__(self) -> str:
        if not all(is_concrete(x) for x in jax.tree.leaves(self)) or np.ndim(self.known):
            return f"{type(self).__name__} of a batch, or traced: exposure {shown(self.exposure)}"
        known, best, floor, exposure, bound = (
            float(x) for x in (self.known, self.best, self.floor, self.exposure, self.bound)
        )
        lines = [
            f"worth by what is known   {known:.4g}  (at most {best:.4g}; given up {max(best - known, 0):.2g})",
            f"exposure to the unknown  {exposure:.3g} visits  (plans worth {floor:.3g}: at least {bound:.3g})",
        ]
        about = explanation_of(self) if bool(np.isfinite([known, exposure]).all()) else None
        lines += [] if about is None else about.lines()[:1]
        lines += what_was_met(self)
        lines += [] if about is None else about.sentences()
        if not bool(self.converged):
            lines.append("not converged: the plan does not keep its floor, or its values are not known well enough")
        return "\n".join(lines)


def plan_least_exposure(
    mdp: MDP,
    belief: Belief,
    *evidence: Evidence,
    give_up: float | Float[Array, ""] = 0.7,
    cut: float | Float[Array, ""] = 0.05,
    value: Float[Array, " K"] | None = None,
    sure: float | Float[Array, ""] | None = None,
) -> ExposurePlan:
    r"""Keep away from what the evidence said nothing about, for no more than a share of what is at stake.

        minimise U(π)    subject to    K(π) >= K* - give_up · stake

    U is what a plan meets of the unknown (`planning.unknown`), K what it is worth by what is known, K* the most that
    any plan is worth so, and the stake what the proxy's plan was worth in training above a plan for nothing in
    particular, for as many steps as here.  An unknown visit never counts as a gain.  Solved by its Lagrangian,
    max_π K - λU: the price λ is where the line through the plans on either side of the floor supports all plans
    (Eisner and Severance 1976); the certificate is weak duality over all prices that were tried.

    It reads no names of terrain and no mask of what was seen.  It is the recommended planner: where the unknown can be
    avoided at that price it is; where it cannot the plan says so (`exposure` above 0), and a person should be asked
    about the features it rests on.  It is not for hazards made only of what the evidence knows well, and pays up to
    `give_up` of the stake for what turns out to be harmless.

    Args:
        mdp: where the plan is to be carried out.
        belief: a `Posterior`; it keeps what its evidence was able to tell.
        *evidence: the evidence, where the belief does not keep it.
        give_up: share of the stake that may be given up.
        cut: share of a visit below which it counts as known; so it does where it is no less known than what the
            proxy's plan gained in training (`untold`).
        value: weights that what is known is valued by, `[K]`: the belief's mean when None.  The written weights,
            `value=proxy.weights`, trust the designer's numbers wherever the training map could have told; use them
            where a wide prior makes the mean timid (it then stays where the goal is worth going to).
        sure: for noisy readings, in which every place is new along some direction: a visit counts as known where its
            known worth exceeds so many standard deviations of what is hidden in it (1.75 did as well as care per step
            on the IRD paper's).  None: what is unknown never counts as a gain, however good the rest of it is.

    Returns:
        The plan and its certificate.

    Raises:
        ValueError: for a belief about other features or one that does not keep what its evidence could tell, a share
            outside [0, 1], or an MDP without a discount and a horizon.

    Example:
        >>> import jax, mdps, numpyro.distributions as dist
        >>> from ird import ProxyReward, posterior
        >>> legend = {"S": "dirt", ".": "dirt", "g": "grass", "G": "goal", "l": "lava"}
        >>> train = mdps.GridWorld.from_text("S.g\nggG", legend, horizon=8)
        >>> field = mdps.GridWorld.from_text("SlG\n...", legend, horizon=8)
        >>> prior = dist.Uniform(-1, 1).expand([4]).to_event(1)
        >>> written = train.weights(dirt=-0.1, grass=-0.5, goal=1.0)
        >>> rewards = jax.numpy.concatenate([written[None], prior.sample(jax.random.key(0), (200,))])
        >>> proxy = ProxyReward(written, train.mdp, beta=5.0, alternatives=rewards)
        >>> belief = posterior.importance(proxy, prior=prior, num_samples=2000, key=jax.random.key(1))
        >>> careful = plan_least_exposure(field.mdp, belief)
        >>> print(field.show(careful.policy))
        S↓*l→ G *
        d→*d→*d↑*
        d dirt, g grass, o goal, l lava; S start, G goal, * likeliest path
        arrows: likeliest actions (first step), tied ones joined: └ up or right, ┼ any
        >>> float(careful.exposure), bool(careful.converged)
        (0.0, True)
        >>> print(str(careful).splitlines()[-1])
        it meets nothing that the evidence did not speak of
    """
    known = known_of(mdp, belief, *evidence, value=value)
    check_sums(mdp)
    shares = {"give_up": (give_up, lambda x: 0 <= x <= 1, "it is a share of what is at stake and must lie in [0, 1].")}
    shares["cut"] = (cut, lambda x: 0 <= x < 1, "it is a share of a visit and must lie in [0, 1).")
    give_up, cut = (check_number(name, *told, dtype=known.weights.dtype) for name, told in shares.items())
    return remember(_plan_least_exposure(mdp, known, give_up, cut, check_sure(sure)), mdp, belief)


@jax.jit
def _plan_least_exposure(mdp: MDP, known: Known, give_up, cut, sure) -> ExposurePlan:
    dtype = jnp.result_type(known.weights, mdp.probability)
    u = unknown_of(mdp, known, cut, sure).astype(dtype)
    r = worth_of(mdp, known).astype(dtype)
    r = jnp.where(u > 0, jnp.minimum(r, 0), r)
    two = dataclasses.replace(mdp, features=jnp.stack([r, u], axis=-1), feature_names=("known", "unknown"))
    given = give_up * _stake(two, known)
    # Prices are in units of what may be given up; where that is nothing, of what visits differ by, for the certificate.
    differ = jnp.max(r) - jnp.min(r)
    unit = jnp.where(given > 0, given, jnp.where(differ > 0, differ, 1))
    tried = _searched(two, unit * jnp.asarray(PRICES, dtype), given)
    off = tried.off[0]
    price = jnp.where(given > 0, _bracket(tried, tried.known[0] - given)[0].price, 0)
    best = tried.known[0] + off
    slack = 2 * off + 64 * jnp.finfo(dtype).eps * (jnp.abs(best) + given)
    price, policy, visits, worth, exposure = _plan_that_keeps(two, price, given, best - given - slack)
    sound = jnp.isfinite(worth) & jnp.isfinite(exposure) & jnp.isfinite(slack)
    # A solver that does not know K* does not know the floor either.
    sound = sound & (off <= _KNOWN * (jnp.abs(worth) + given) + 64 * jnp.finfo(dtype).eps * two.total_visits * differ)
    floor = jnp.minimum(best - given, worth)
    return ExposurePlan(
        policy=policy,
        known=worth,
        floor=floor,
        best=best,
        exposure=exposure,
        bound=jnp.clip(_least(tried, floor), 0, exposure),
        by_feature=rests_on(mdp, known, u, visits),
        untold=known.untold,
        unknown=as_features(mdp, u),
        price=price,
        converged=sound & (worth >= best - given - slack),
        feature_names=mdp.feature_names,
    )


def _plan_that_keeps(two: MDP, price, given, least):
    """The plan of a price, its visits, what it is worth and exposed to: of a lower price where it is not worth enough.

    The price is the very one at which the plan that keeps the floor and a less exposed one that does not are as good,
    and a policy that shares ties would toss a coin between them at every step.  A trifle less is paid, so that it is
    the plan which keeps the floor; what a plan is worth only grows as the price falls.
    """
    r, u = two.features[..., 0], two.features[..., 1]
    trifle = jnp.finfo(r.dtype).eps ** 0.6  # more than rounding, and less than what plans differ by

    def tried(k):
        now = price * (1 - jnp.minimum(trifle * 8.0**k, 1).astype(r.dtype))
        policy = _policy(two, jnp.where(given > 0, r - now * u, r), u, given > 0)
        visits = occupancy(two, policy)
        return now, policy, visits, *(jnp.sum(visits * (x if x.ndim == 2 else x[:, None])) for x in (r, u))

    def short(carry):
        k, (now, _, _, worth, _) = carry
        return (k == 0) | ((worth < least) & (now > 0))

    none = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(tried, jnp.zeros((), jnp.int32)))
    return jax.lax.while_loop(short, lambda carry: (carry[0] + 1, tried(carry[0])), (0, none))[1]


class _Prices(NamedTuple):
    """Optimal plans at some prices of exposure, `[P]` each; a price that was not tried is -1."""

    price: Array
    known: Array
    exposure: Array
    value: Array
    off: Array  # bound on the value's error


def _priced(two: MDP, prices: Float[Array, " P"]) -> _Prices:
    weights = jnp.stack([jnp.ones_like(prices), -prices], axis=1)
    found = jax.vmap(lambda w: optimum(two, w))(weights)
    return _Prices(prices, found.features[:, 0], found.features[:, 1], found.value, found.error_bound)


def _searched(two: MDP, first: Float[Array, " P"], given) -> _Prices:
    """Plans at the `first` prices, 0 the first of them, and at those between which the floor lies, `[P * TURNS]`."""
    count = first.shape[0]
    none = jnp.full((TURNS * count,), -1, first.dtype)

    def between(carry):
        return (carry[0] < TURNS) & ~carry[3]

    def look(carry):
        turn, prices, tried, _ = carry
        found = _priced(two, prices)
        tried = jax.tree.map(lambda a, x: jax.lax.dynamic_update_slice(a, x, (turn * count,)), tried, found)
        low, high = _bracket(tried, tried.known[0] - given)
        chord = (low.known - high.known) / (low.exposure - high.exposure)
        # The others halve the bracket, for where the chord alone is slow.
        inside = jnp.clip(chord, low.price, high.price)
        halves = jnp.sqrt(jnp.stack([low.price * inside, inside * high.price, low.price * high.price]))
        met = jnp.any(jnp.where(tried.price >= 0, _supports(tried, low, high), False))
        done = (high.price <= low.price) | ~(low.exposure > high.exposure) | met
        return turn + 1, jnp.concatenate([inside[None], halves]), tried, done

    start = 0, first, _Prices(none, none, none, none, none), jnp.zeros((), bool)
    return jax.lax.while_loop(between, look, start)[2]


def _supports(at: _Prices, low: _Prices, high: _Prices) -> Array:
    """Whether at a price both ends of the bracket are as good as the best plan: then none lies between them."""
    slack = at.off + 4 * jnp.finfo(at.value.dtype).eps * (jnp.abs(at.value) + at.price * low.exposure)
    ends = jnp.minimum(low.known - at.price * low.exposure, high.known - at.price * high.exposure)
    return ends >= at.value - slack


def _bracket(at: _Prices, floor) -> tuple[_Prices, _Prices]:
    """The plan of the largest price that keeps the floor, and that of the next price, itself where there is none."""
    tried = at.price >= 0
    low = jnp.argmax(jnp.where(tried & (at.known >= floor), at.price, -1))
    above = jnp.where(tried & (at.price > at.price[low]), at.price, jnp.inf)
    high = jnp.where(jnp.any(jnp.isfinite(above)), jnp.argmin(above), low)
    return jax.tree.map(lambda x: x[low], at), jax.tree.map(lambda x: x[high], at)


def _stake(two: MDP, known: Known) -> Array:
    """What normal behaviour collects above its reference in as many steps as here; never less than nothing."""
    if known.gains.shape[0] == 0:  # nothing shows it: what the best plan is worth above acting at random
        best = optimum(two, jnp.asarray([1.0, 0.0], two.features.dtype)).value
        return jnp.maximum(best - feature_expectations(two, uniform_policy(two))[0], 0)
    return jnp.maximum(two.total_visits * jnp.mean(known.gains @ known.weights), 0)


def _least(at: _Prices, floor) -> Array:
    """What every plan that keeps the floor is exposed to: (floor - max_π (K - λU)) / λ, at the best of the prices."""
    paid = at.price > 0
    return jnp.max(jnp.where(paid, (floor - at.value - at.off) / jnp.where(paid, at.price, 1), -jnp.inf))


def _policy(two: MDP, reward, u, priced) -> Array:
    """The optimal policy; unless exposure has been `priced`, of the optimal ones the least exposed."""
    if two.horizon is not None:
        first = solve(two, reward).policy
        return jnp.where(priced, first, _least_exposed(two, first > 0, u))
    exist = jnp.ones((two.num_states, two.num_actions), bool) if two.available is None else two.available

    def step(now, _):  # twice, so that the solver is compiled once
        policy = solve(dataclasses.replace(two, available=now[0]), now[1]).policy
        return (policy > 0, -u), policy

    first, second = jax.lax.scan(step, (exist, reward), None, length=2)[1]
    return jnp.where(priced, first, second)


def _least_exposed(two: MDP, allowed, u) -> Array:
    """Among the actions that are `allowed` at each step, `[T, S, A]`, those that meet least of u on the way."""

    def back(ahead, allowed):
        q = two.discount * bellman.expected(two, two.probability, ahead) - (u if u.ndim == 2 else u[:, None])
        best = jnp.max(q, axis=1, where=allowed, initial=-jnp.inf)
        slack = 64 * jnp.finfo(q.dtype).eps * jnp.abs(best)
        tied = (allowed & (q >= (best - slack)[:, None])).astype(q.dtype)
        return best, tied / jnp.sum(tied, axis=1, keepdims=True)

    return jax.lax.scan(back, jnp.zeros(two.num_states, u.dtype), allowed, reverse=True)[1]
