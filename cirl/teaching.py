"""Teaching a robot that learns by maximum-entropy inverse reinforcement learning (Hadfield-Menell et al. 2016).

An apprenticeship game has a learning phase, in which the human acts and the robot watches, and a
deployment phase, in which the robot acts alone.  A robot that matches features hears of the human's
trajectory only its feature counts.  The best response is therefore not to do well but to show counts
from which the robot reads off the right reward: to go past what matters, and not to sit on the best of it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from mdps import MDP, policy_return, solve
from mdps.checks import check_array, check_count, check_indices, check_mdp, check_number, is_concrete
from mdps.policy_evaluation import evaluate

__all__ = [
    "Inference",
    "counts",
    "demonstrate",
    "deployment",
    "divergence",
    "infer",
    "maxent_features",
    "navigation",
    "regret",
    "teach",
]
__dir__ = __all__.copy

STEPS_OF_CELLS = ((-1, 0), (0, 1), (1, 0), (0, -1), (0, 0))  # up, right, down, left and rest, as (rows, columns)


class Inference(NamedTuple):
    """What the robot makes of a demonstration.

    Attributes:
        theta: the most probable reward weights, `[K]`.
        residual: largest step that a unit step along the gradient would still make inside the box; 0 at the optimum.
    """

    theta: Float[Array, " K"]
    residual: Float[Array, ""]


def maxent_features(mdp: MDP, theta: Float[Array, " K"], *, rationality: float | Float[Array, ""]) -> Array:
    """Expected features of P(τ) ∝ exp(λ θ·φ(τ)), the distribution that the robot expects of the human.

    Args:
        mdp: the learning phase, with a horizon and certain moves; over several starts the mean is taken.
        theta: reward weights, `[K]`.
        rationality: λ, in 1/return.

    Returns:
        φ_θ, `[K]`.
    """
    _check_lesson(mdp, rationality, theta=theta)
    return mdp.initial @ _features_ahead(mdp, theta, rationality)[0]


def infer(
    mdp: MDP,
    features: Float[Array, " K"],
    *,
    rationality: float | Float[Array, ""],
    bound: float = 1.0,
    num_steps: int = 400,
) -> Inference:
    """Maximum-entropy inverse reinforcement learning from one trajectory's features (Ziebart et al. 2008).

        θ̂ = argmax_θ λ θ·φ(τ) - log Σ_τ' exp(λ θ·φ(τ')),    θ in the box [-bound, bound]^K

    concave in θ: the mode under the uniform prior from which θ is drawn.  Projected Adam, with a step
    that fades.

    Args:
        mdp: the learning phase, with a horizon and certain moves.  Where it starts in several states log Σ is its mean
            over them: as if one trajectory had been shown from each, in proportion.
        features: φ(τ) of what was shown, `[K]`; of several trajectories their mean.
        rationality: λ, in 1/return.
        bound: half the width of the box.
        num_steps: gradient steps (static).

    Returns:
        `Inference`.

    Raises:
        ValueError: without a horizon, or for a λ that is not positive and finite.

    Example:
        >>> world = navigation(jnp.array([[0.0, 0.0], [4.0, 4.0]]), side=5, horizon=6)
        >>> shown = jnp.array([4.0, 0.1])
        >>> guess = infer(world, shown, rationality=1.0).theta
        >>> bool(guess[0] > guess[1])
        True
    """
    _check_lesson(mdp, rationality, features=features)
    check_number("bound", bound, lambda x: 0 < x < np.inf, "give a positive number.")
    check_count("num_steps", num_steps)

    def negative_log_likelihood(theta):
        scaled = rationality * theta
        log_sum = mdp.initial @ solve(mdp, mdp.reward(scaled), temperature=1.0).value
        return log_sum - scaled @ features

    gradient = jax.grad(negative_log_likelihood)
    # Adam knows no scale, so λ needs no step size of its own.
    optimiser = optax.adam(optax.cosine_decay_schedule(0.1 * bound, num_steps))

    def step(carry, _):
        theta, state = carry
        change, state = optimiser.update(gradient(theta), state)
        return (optax.projections.projection_box(optax.apply_updates(theta, change), -bound, bound), state), None

    start = jnp.zeros_like(features)
    (theta, _), _ = jax.lax.scan(step, (start, optimiser.init(start)), None, length=num_steps)
    slope = gradient(theta) / rationality
    residual = jnp.max(jnp.abs(theta - jnp.clip(theta - slope, -bound, bound)))
    return Inference(theta, residual)


def demonstrate(mdp: MDP, theta: Float[Array, " K"]) -> Int[Array, " T"]:
    """The expert: a trajectory that maximises θ·φ(τ), as states `[T]`; among equals the first action is taken.

    Args:
        mdp: the learning phase, with a horizon, certain moves and one start.
        theta: reward weights, `[K]`.

    Raises:
        ValueError: for an MDP that is no lesson, or that starts in several states.
    """
    _check_lesson(mdp, 1.0, theta=theta)
    start = _start(mdp)
    policy = solve(mdp, mdp.reward(theta)).policy

    def step(state, policy_t):
        return _moved(mdp, state, jnp.argmax(policy_t[state])), state

    return jax.lax.scan(step, start, policy)[1]


def teach(
    mdp: MDP,
    theta: Float[Array, " K"],
    *,
    rationality: float | Float[Array, ""],
    effort: float | Float[Array, ""],
    num_beams: int = 64,
) -> Int[Array, " T"]:
    """The best response to such a robot: argmax_τ θ·φ(τ) - η ‖φ_θ - φ(τ)‖² (Hadfield-Menell et al. 2016, eq. 3).

    φ_θ are the features from which the robot would read off θ itself.  The penalty is no sum over
    steps, so the trajectory is found by a beam search that completes each beginning by what
    `maxent_features` expects from there.

    Args:
        mdp: the learning phase, with a horizon, certain moves and one start.
        theta: reward weights, `[K]`.
        rationality: the robot's λ, in 1/return.
        effort: η, what a squared feature count is worth; 0 is the expert, up to the search.
        num_beams: beginnings kept at each step (static).

    Returns:
        States, `[T]`.

    Raises:
        ValueError: for an MDP that is no lesson, or that starts in several states.
    """
    _check_lesson(mdp, rationality, theta=theta)
    check_number("effort", effort, lambda x: 0 <= x < np.inf, "give a finite number, not negative.")
    check_count("num_beams", num_beams)
    first = _start(mdp)
    ahead = _features_ahead(mdp, theta, rationality)
    target, later = mdp.initial @ ahead[0], jnp.concatenate([ahead[1:], jnp.zeros_like(ahead[:1])])
    S, A = mdp.num_states, mdp.num_actions
    after = jax.vmap(jax.vmap(lambda s, a: _moved(mdp, s, a), (None, 0)), (0, None))(jnp.arange(S), jnp.arange(A))

    slack = 64 * jnp.finfo(mdp.features.dtype).eps * jnp.max(jnp.abs(mdp.features)) * mdp.total_visits

    def worth(counts):
        return counts @ theta - effort * jnp.sum((target[None] - counts) ** 2, axis=-1)

    def step(carry, later_t):
        state, counts, alive = carry  # [B], [B, K], [B]
        reached = after[state].reshape(-1)  # [B A]
        collected = jnp.repeat(counts + mdp.features[state], A, axis=0)
        may = jnp.repeat(alive, A) if mdp.available is None else (alive[:, None] & mdp.available[state]).reshape(-1)
        score = jnp.where(may, worth(collected + later_t[reached]), -jnp.inf)
        # Two ways to the same place with the same counts are one: of neighbours in order, keep the first.
        order = jnp.lexsort((reached, -score))
        apart = jnp.max(jnp.abs(jnp.diff(collected[order], axis=0)), axis=1)
        same = (apart < slack) & (jnp.diff(reached[order]) == 0)
        score = score.at[order[1:]].set(jnp.where(same, -jnp.inf, score[order[1:]]))
        best, chosen = jax.lax.top_k(score, num_beams)
        kept = reached[chosen], collected[chosen], best > -jnp.inf
        return kept, (state, chosen // A)

    none = jnp.zeros((num_beams, mdp.num_features), mdp.features.dtype)
    start = (jnp.full(num_beams, first), none, jnp.arange(num_beams) == 0)
    (_, counts, alive), (states, parents) = jax.lax.scan(step, start, later)
    last = jnp.argmax(jnp.where(alive, worth(counts), -jnp.inf))

    def back(beam, at):
        states_t, parent_t = at
        return parent_t[beam], states_t[parent_t[beam]]

    return jax.lax.scan(back, last.astype(parents.dtype), (states, parents), reverse=True)[1].astype(
        mdp.next_state.dtype
    )


def counts(mdp: MDP, states: Int[Array, " T"]) -> Float[Array, " K"]:
    """Features of a trajectory, φ(τ) = Σ_t φ(s_t), `[K]`."""
    check_mdp(mdp)
    states = jnp.asarray(check_indices("states", states, mdp.num_states, "states", rank=1))
    return jnp.sum(mdp.features[states], axis=0)


def divergence(mdp: MDP, theta: Array, other: Array, *, rationality: float | Float[Array, ""]) -> Float[Array, ""]:
    """KL(P_θ ‖ P_θ') of the maximum-entropy distributions over trajectories, in nats.

    λ (θ - θ')·φ_θ - log Z(θ) + log Z(θ').
    """
    _check_lesson(mdp, rationality, theta=theta, other=other)

    def log_sum(w):
        return mdp.initial @ solve(mdp, mdp.reward(rationality * w), temperature=1.0).value

    expected = maxent_features(mdp, theta, rationality=rationality)
    return rationality * (theta - other) @ expected - log_sum(theta) + log_sum(other)


def regret(mdp: MDP, theta: Float[Array, " K"], guess: Float[Array, " K"]) -> Float[Array, ""]:
    """What a robot loses that plans for `guess` where `theta` is meant, in units of return.

    Args:
        mdp: the deployment phase.
        theta: what is meant, `[K]`.
        guess: what the robot plans for, `[K]`.
    """
    check_mdp(mdp)
    _check_vectors(mdp, theta=theta, guess=guess)
    reward = mdp.reward(theta)
    best = mdp.initial @ solve(mdp, reward).value
    return best - policy_return(mdp, solve(mdp, mdp.reward(guess)).policy, reward)


def navigation(centres: Float[Array, " K 2"], *, side: int, horizon: int, width: float = 2.0) -> MDP:
    """An open grid with four moves and a rest, and one bump of a feature at each centre; the start is the middle.

    φ_k(s) = exp(-‖s - c_k‖² / 2 width²).

    Args:
        centres: rows and columns of the bumps, `[K, 2]`; may be traced.
        side: rows, and columns, of the grid (static).
        horizon: steps (static).
        width: width of a bump, in cells.

    Example:
        >>> navigation(jnp.array([[0.0, 0.0]]), side=3, horizon=2).num_actions
        5
    """
    side, horizon = check_count("side", side), check_count("horizon", horizon)
    check_number("width", width, lambda x: 0 < x < np.inf, "give a positive number of cells.")
    centres = check_array("centres", centres)
    if centres.ndim != 2 or centres.shape[1] != 2 or not centres.shape[0]:
        raise ValueError(f"centres has shape {centres.shape}; give rows and columns, [K, 2].")
    cells = [(row, column) for row in range(side) for column in range(side)]
    moves = np.zeros((side * side, len(STEPS_OF_CELLS), side * side))
    for s, (row, column) in enumerate(cells):
        for a, (down, right) in enumerate(STEPS_OF_CELLS):
            ahead = min(max(row + down, 0), side - 1) * side + min(max(column + right, 0), side - 1)
            moves[s, a, ahead] = 1  # a bump stays
    middle = np.eye(side * side)[side * side // 2]
    open_grid = MDP.from_dense(moves, np.zeros((side * side, 1)), middle, horizon=horizon)
    away = jnp.asarray(cells)[:, None] - centres[None]
    features = jnp.exp(-jnp.sum(away**2, axis=-1) / (2 * width**2)).astype(open_grid.features.dtype)
    names = tuple(f"bump {k}" for k in range(centres.shape[0]))
    return open_grid.replace(features=features, feature_names=names)


def deployment(mdp: MDP) -> MDP:
    """The second phase of a game: the same world from a random state."""
    check_mdp(mdp)
    return mdp.replace(initial=np.full(mdp.num_states, 1 / mdp.num_states))


def _features_ahead(mdp: MDP, theta, rationality) -> Float[Array, " T S K"]:
    """Features still to come, from each state at each step, under the maximum-entropy policy."""
    policy = solve(mdp, mdp.reward(rationality * theta), temperature=1.0).policy
    source = jnp.broadcast_to(mdp.features.T[:, None], (mdp.num_features, policy.shape[0], mdp.num_states))
    return jnp.moveaxis(jax.vmap(lambda x: evaluate(mdp, policy, x))(source), 0, -1)


def _start(mdp: MDP) -> Int[Array, ""]:
    """The state in which every trajectory begins (traced: the likeliest)."""
    if is_concrete(mdp.initial):
        starts = np.flatnonzero(np.asarray(mdp.initial))
        if len(starts) > 1:
            raise ValueError(
                f"mdp starts in {len(starts)} states ({', '.join(map(str, starts[:4]))}{', ...' * (len(starts) > 4)}), "
                "and a demonstration begins in one of them: give each its own lesson, "
                "mdp.replace(initial=jnp.eye(mdp.num_states)[start])."
            )
    return jnp.argmax(mdp.initial).astype(mdp.next_state.dtype)


def _moved(mdp: MDP, state, action):
    """Where a certain move leads."""
    return mdp.next_state[state, jnp.argmax(mdp.probability[state, action])]


def _check_lesson(mdp: MDP, rationality, **weights) -> None:
    """Raise unless this is a lesson, trajectories of one length by certain moves, and λ and weights are numbers."""
    check_mdp(mdp)
    if mdp.horizon is None or mdp.features.ndim != 2:
        raise ValueError(
            "mdp is no lesson: teaching is about trajectories of a given length, with features of states; give the MDP "
            "a horizon, and features [S, K]."
        )
    check_number("rationality", rationality, lambda x: 0 < x < np.inf, "λ must be positive and finite, in 1/return.")
    _check_vectors(mdp, **weights)
    if is_concrete(mdp.probability) and not np.isin(np.asarray(mdp.probability), (0.0, 1.0)).all():
        raise ValueError("the MDP's moves are uncertain; a trajectory is then not the human's choice alone.")


def _check_vectors(mdp: MDP, **weights) -> None:
    """Raise unless each of these holds one number for each feature."""
    for name, x in weights.items():
        if check_array(name, x).shape != (mdp.num_features,):
            raise ValueError(
                f"{name} has shape {np.shape(x)}; give one number per feature, [{mdp.num_features}]: "
                f"{mdp.feature_names}."
            )
