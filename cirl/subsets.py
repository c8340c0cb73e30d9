"""The exact solution with a rational human: a finite MDP on (state, subset of Θ).

A rational human's action splits the rewards that are still possible, so every belief is the prior
restricted to a subset.  Written with the prior's masses, not renormalised, the value adds up over
the parts of a split,

    W(s, B) = max_{a_R} max_{B = ⊎ B_a} Σ_a [ Σ_{θ ∈ B_a} P₀(θ) R(s, a, a_R; θ) + γ E W(s', B_a) ]

and the best split is a max-plus subset convolution, one human action after another: the human's
choice is optimised for all θ together, which an argmax per observation would get wrong.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from cirl.controller import PolicyGraph
from cirl.game import Game, Order

LARGEST = 12  # rewards; tables hold 2^Θ columns


def solve_subsets(game: Game, tol: float, max_steps: int) -> tuple[Array, Array, PolicyGraph]:
    """Value at the prior, a bound on its error, and the robot, for a rational human.

    Raises:
        ValueError: for more rewards than the tables can hold.
    """
    if game.num_thetas > LARGEST:
        raise ValueError(
            f"the game has {game.num_thetas} rewards; the exact solver for a rational human keeps 2^Θ columns and "
            f"takes at most {LARGEST}. Merge rewards that are alike."
        )
    T = game.mdp.horizon
    if T is None:
        value, bound, choice, split = _endless(game, jnp.asarray(tol, game.prior.dtype), max_steps)
        choice, split = choice[None], split[None]
    else:
        values, choice, split = _backward(game, T)
        value = values[0]
        size = jnp.max(jnp.abs(game.reward))
        # Each step rounds a sum over slots and rewards; values are at most the sum of what is paid.
        terms = game.mdp.next_state.shape[1] + game.num_thetas + 3
        bound = terms * T * jnp.finfo(value.dtype).eps * size * game.mdp.total_visits
    return game.mdp.initial @ value[:, -1], bound, _graph(game, np.asarray(choice), np.asarray(split))


def _parts(values: Array) -> Array:
    """Sums over every subset, `[..., Θ] -> [..., 2^Θ]`: subset B is the number with those bits."""
    n = values.shape[-1]
    member = (np.arange(2**n)[:, None] >> np.arange(n)[None]) & 1
    return jnp.einsum("...t,bt->...b", values, jnp.asarray(member, values.dtype))


def _backup(game: Game, paid: Array, ahead: Array) -> tuple[Array, Array, Array]:
    """One backup of `ahead` `[S, 2^Θ]`: value `[S, B]`, the robot's action and each human action's part."""
    AH = game.num_human_actions
    expected = jnp.einsum("shrd,sdb->shrb", game.probability, ahead[game.mdp.next_state])
    gain = paid + game.mdp.discount * expected  # [S, AH, AR, B]
    if game.order is Order.HUMAN_FIRST:  # the robot answers each human action by itself
        robot = jnp.argmax(gain, axis=2)  # [S, AH, B]
        value, split = _split([jnp.max(gain[:, a], axis=1) for a in range(AH)])  # [S, B], [S, B, AH]
        answer = jnp.stack([jnp.take_along_axis(robot[:, a], split[..., a], axis=1) for a in range(AH)], axis=-1)
        return value, answer, split
    value, split = _split([gain[:, a] for a in range(AH)])  # [S, AR, B], [S, AR, B, AH]
    robot = jnp.argmax(value, axis=1)  # [S, B]
    chosen = jnp.take_along_axis(split, robot[:, None, :, None], axis=1)[:, 0]
    return jnp.max(value, axis=1), jnp.broadcast_to(robot[..., None], chosen.shape), chosen


def _split(gains: list[Array]) -> tuple[Array, Array]:
    """The best way to share each subset among the human's actions: its value, and each action's part."""
    size = gains[0].shape[-1]
    every = jnp.arange(size).reshape((1,) * (gains[0].ndim - 1) + (size,))
    best, parts = gains[0], [jnp.broadcast_to(every, gains[0].shape)]
    for gain in gains[1:]:

        def take(carry, part, gain=gain, before=best):
            top, which = carry
            # `part` goes to this action and the rest of each superset to those before it.
            inside = (every & part) == part
            total = jnp.where(inside, gain[..., part, None] + before[..., (every ^ part).reshape(-1)], -jnp.inf)
            better = total > top
            return (jnp.where(better, total, top), jnp.where(better, part, which)), None

        first = (jnp.full_like(best, -jnp.inf), jnp.zeros(best.shape, every.dtype))
        (best, which), _ = jax.lax.scan(take, first, every.reshape(-1))
        rest = every ^ which
        parts = [jnp.take_along_axis(p, rest, axis=-1) for p in parts] + [which]
    return best, jnp.stack(parts, axis=-1)


@functools.partial(jax.jit, static_argnames="horizon")
def _backward(game: Game, horizon: int):
    paid = _parts(game.reward * game.prior[None, None, None])

    def step(ahead, _):
        value, robot, split = _backup(game, paid, ahead)
        return value, (value, robot, split)

    start = jnp.zeros((game.mdp.num_states, paid.shape[-1]), paid.dtype)
    return jax.lax.scan(step, start, None, length=horizon, reverse=True)[1]


@functools.partial(jax.jit, static_argnames="max_steps")
def _endless(game: Game, tol, max_steps: int):
    paid, gamma = _parts(game.reward * game.prior[None, None, None]), game.mdp.discount
    reach = gamma / (1 - gamma)
    rounding = (game.mdp.next_state.shape[1] + game.num_thetas + 3) * jnp.finfo(paid.dtype).eps

    def unfinished(carry):
        value, bound, _, stale, steps = carry
        floor = rounding * jnp.max(jnp.abs(value)) / (1 - gamma)
        return (bound > jnp.maximum(tol / 2, 2 * floor)) & (stale < 100) & (steps < max_steps)

    def body(carry):
        value, _, best, stale, steps = carry
        new, _, _ = _backup(game, paid, value)
        bound = reach * jnp.max(jnp.abs(new - value)) + rounding * jnp.max(jnp.abs(new)) / (1 - gamma)
        return new, bound, jnp.minimum(best, bound), jnp.where(bound < best, 0, stale + 1), steps + 1

    none = jnp.asarray(jnp.inf, paid.dtype)
    start = (jnp.zeros((game.mdp.num_states, paid.shape[-1]), paid.dtype), none, none, 0, 0)
    value, bound, *_ = jax.lax.while_loop(unfinished, body, start)
    _, robot, split = _backup(game, paid, value)
    return value, bound, robot, split


def _graph(game: Game, choice: np.ndarray, split: np.ndarray) -> PolicyGraph:
    """The nodes (step, state, subset) that can be reached, as a policy graph; the tables are `[T, S, B, A_H]`."""
    T, last = len(choice), game.mdp.horizon
    table, initial, prior = (np.asarray(x) for x in (game.mdp.next_state, game.mdp.initial, game.prior))
    possible = np.asarray(game.probability) > 0  # [S, AH, AR, D]
    everything = 2**game.num_thetas - 1
    number: dict[tuple[int, int, int], int] = {}
    queue: list[tuple[int, int, int]] = []

    def visit(node):
        if node not in number:
            number[node] = len(queue)
            queue.append(node)
        return number[node]

    start = np.full(game.mdp.num_states, -1)
    for s in np.flatnonzero(initial > 0):
        start[s] = visit((0, int(s), everything))
    actions, children = [], []
    for t, s, subset in queue:  # grows while it is read
        action, parts = choice[t % T, s, subset], split[t % T, s, subset]
        child = np.full((len(parts), table.shape[1]), -1)
        if last is None or t + 1 < last:
            for a, part in enumerate(parts):
                seen = int(part) or subset  # nobody would have: the belief stays what it was
                for d in np.flatnonzero(possible[s, a, action[a]]):
                    child[a, d] = visit((t + 1 if last else 0, int(table[s, d]), seen))
        actions.append(action)
        children.append(child)
    nodes = np.array(queue)
    member = (nodes[:, 2:] >> np.arange(game.num_thetas)[None]) & 1
    belief = member * prior
    return PolicyGraph(
        state=jnp.asarray(nodes[:, 1], jnp.int32),
        step=jnp.asarray(nodes[:, 0], jnp.int32),
        decision=jnp.asarray(np.array(actions), jnp.int32),
        child=jnp.asarray(np.array(children), jnp.int32),
        belief=jnp.asarray(belief / belief.sum(axis=1, keepdims=True), prior.dtype),
        start=jnp.asarray(start, jnp.int32),
        next_state=game.mdp.next_state,
        order=game.order,
    )
