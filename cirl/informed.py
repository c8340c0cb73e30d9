"""Bounds that need no search: what full information would be worth, and what simple robots are worth.

Above: a robot that is told θ after its next action.  Its value is linear in the belief for each
action m,

    V(s, b) ≤ max_m Σ_θ b(θ) M(s, m, θ),    M(s, m, θ) = Σ_a π_H(a | Q(s, ·, m, θ)) Q(s, a, m, θ),
    Q(s, a, r, θ) = R + γ E[ max_m M(s', m, θ) ]

(with θ fixed and the state seen, the fast informed bound of Hauskrecht 2000 and QMDP are both this).  Below:
robots that do not look at the human at all, each worth what the human makes of it.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from cirl.game import Game, Order
from cirl.successors import Successors

MOST = 32  # rewards for which a robot that is sure of it is valued


def expected(moves: Successors, value: Float[Array, " S Theta"]) -> Float[Array, " S AH AR Theta"]:
    """E[value(s')] after every pair of actions, `[S, A_H, A_R, Θ]`."""
    return _expected(moves.chance, moves.state, value)


def _expected(chance: Array, ahead: Array, value: Array) -> Array:
    """Σ_e chance[..., e] value[ahead[..., e]], one successor at a time: `[..., Θ]`."""
    total = chance[..., 0, None] * value[ahead[..., 0]]
    for e in range(1, ahead.shape[-1]):
        total = total + chance[..., e, None] * value[ahead[..., e]]
    return total


def _worth(game: Game, human, q: Array, robot: Array, step) -> Array:
    """Σ_a π_H(a | q) q for `q [S, m, A_H, Θ]` when the human sees the robot do `robot [S, m]`: `[S, m, Θ]`."""
    S, m, AH, Theta = q.shape
    q = jnp.swapaxes(q, 2, 3).reshape(S * m, Theta, AH)
    state = jnp.repeat(jnp.arange(S), m)
    play = human.policy(q, state, robot.reshape(-1), jnp.full(S * m, step))
    return jnp.sum(play * q, axis=-1).reshape(S, m, Theta)


def informed(
    game: Game, moves: Successors, human, *, max_steps: int = 10_000
) -> tuple[Float[Array, " T S M Theta"], Int[Array, " U S AH Theta"]]:
    """M at every time, and the action that is best for each θ.

    Args:
        game: the game.
        moves: its successor lists.
        human: whom full information is played with; an ε-greedy or fixed human.
        max_steps: most sweeps of an endless game.

    Returns:
        M `[T + 1, S, m, Θ]`, zero at the end (endless: `[1, S, m, Θ]`, from above); m is the robot's
        action, or a single row where the human moves first and the robot answers.  And the robot's
        action `[T, S, A_H, Θ]` (endless: `[1, ...]`) if it knew θ.
    """
    first = game.order is Order.HUMAN_FIRST
    S, AH, AR = game.mdp.num_states, game.num_human_actions, game.num_robot_actions
    robots = jnp.broadcast_to(jnp.arange(1 if first else AR), (S, 1 if first else AR))

    def backup(value, step):
        q = game.reward + game.mdp.discount * expected(moves, value)  # [S, AH, AR, Θ]
        if first:
            table = _worth(game, human, q.max(axis=2)[:, None], robots, step)
            return table, jnp.argmax(q, axis=2)
        table = _worth(game, human, jnp.swapaxes(q, 1, 2), robots, step)
        sure = jnp.argmax(table, axis=1)
        return table, jnp.broadcast_to(sure[:, None], (S, AH, sure.shape[-1]))

    T, gamma = game.mdp.horizon, game.mdp.discount
    nothing = jnp.zeros((S, game.num_thetas), game.reward.dtype)
    if T is not None:

        def earlier(value, step):
            table, sure = backup(value, step)
            return table.max(axis=1), (table, sure)

        _, (tables, sure) = jax.lax.scan(earlier, nothing, jnp.arange(T), reverse=True)
        return jnp.concatenate([tables, jnp.zeros_like(tables[:1])]), sure
    # From above, so that every sweep is a bound; the rest of the sum is below the rounding, or nearly.
    high = nothing + jnp.max(game.reward) / (1 - gamma)
    value = _fixed_point(lambda v: backup(v, 0)[0].max(axis=1), high, gamma, max_steps)
    table, sure = backup(value, 0)
    return table[None], sure[None]


def _fixed_point(sweep, value, gamma, max_steps: int):
    """Sweep until the rest of the discounted sum is small beside the values, or rounding is all that moves."""
    tiny = 8 * jnp.finfo(value.dtype).eps

    def unfinished(carry):
        value, change, steps = carry
        return (
            (change * gamma > 64 * tiny * (1 - gamma) * jnp.max(jnp.abs(value)))
            & (change > tiny * jnp.max(jnp.abs(value)))
            & (steps < max_steps)
        )

    def body(carry):
        value, _, steps = carry
        new = sweep(value)
        return new, jnp.max(jnp.abs(new - value)), steps + 1

    return jax.lax.while_loop(unfinished, body, (value, jnp.asarray(jnp.inf, value.dtype), 0))[0]


def simple_robots(game: Game, sure: Int[Array, " U S AH Theta"]) -> Int[Array, " n U S AH"]:
    """Robots that do not look: each action always, and the best for each of the likeliest θ, `[n, T or 1, S, A_H]`."""
    U, S, AH, _ = sure.shape
    always = jnp.broadcast_to(
        jnp.arange(game.num_robot_actions)[:, None, None, None], (game.num_robot_actions, U, S, AH)
    )
    likely = jnp.argsort(-game.prior, stable=True)[:MOST]
    return jnp.concatenate([always, jnp.moveaxis(sure[..., likely], -1, 0)]).astype(jnp.int32)


def simple_values(
    game: Game, moves: Successors, human, robots: Int[Array, " n U S AH"], *, max_steps: int = 10_000
) -> Float[Array, " n T S Theta"]:
    """What each such robot is worth to each θ, `[n, T + 1, S, Θ]`; in an endless game `[n, 1, S, Θ]`, from below."""
    T, gamma = game.mdp.horizon, game.mdp.discount
    S, AH = game.mdp.num_states, game.num_human_actions
    rows, humans = jnp.arange(S)[:, None], jnp.arange(AH)[None]

    def backup(value, robot, step):
        ahead, chance = moves.state[rows, humans, robot], moves.chance[rows, humans, robot]  # [S, AH, E]
        q = game.reward[rows, humans, robot] + gamma * _expected(chance, ahead, value)  # [S, AH, Θ]
        return _worth(game, human, q[:, None], robot[:, :1], step)[:, 0]

    def one(robot):
        nothing = jnp.zeros((S, game.num_thetas), game.reward.dtype)
        if T is None:
            low = nothing + jnp.min(game.reward) / (1 - gamma)
            return _fixed_point(lambda v: backup(v, robot[0], 0), low, gamma, max_steps)[None]

        def earlier(value, at):
            new = backup(value, *at)
            return new, new

        _, values = jax.lax.scan(earlier, nothing, (robot, jnp.arange(T)), reverse=True)
        return jnp.concatenate([values, nothing[None]])

    return jax.lax.map(one, robots)


@jax.jit
def first_bounds(game: Game, moves: Successors, human, team):
    """Both bounds: M for the `team`, the simple robots `[n, T or 1, S, A_H]`, and their values to the `human`."""
    table, sure = informed(game, moves, team)
    robots = simple_robots(game, sure)
    return table, robots, simple_values(game, moves, human, robots)
