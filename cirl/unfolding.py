"""Robot plans unfolded into a policy graph, with what the robot believes at each node."""

import jax.numpy as jnp
import numpy as np

from cirl.bounds import Bounds, Built, Simple
from cirl.controller import PolicyGraph
from cirl.game import Game


def unfold(game: Game, bounds: Bounds, robots: np.ndarray, roots: dict[int, int]) -> PolicyGraph:
    """The plans below the roots as a policy graph; its beliefs are still to be filled in.

    Args:
        game: the game.
        bounds: the plans.
        robots: actions of the simple robots, `[n, T or 1, S, A_H]`.
        roots: the plan to start with in each state.
    """
    T, table = game.mdp.horizon, bounds.next_state
    # A built plan is named by its row; a simple robot by itself, the step and the state.
    number: dict[int | tuple[int, int, int], int] = {}
    queue: list[int | tuple[int, int, int]] = []

    def visit(key: int | tuple[int, int, int]) -> int:
        if key not in number:
            number[key] = len(queue)
            queue.append(key)
        return number[key]

    def visit_plan(row: int) -> int:
        plan = bounds.plans[row]
        return visit(row if isinstance(plan, Built) else (plan.robot, *bounds.place[row]))

    start = np.full(game.mdp.num_states, -1)
    for s, row in roots.items():
        start[s] = visit_plan(row)
    steps, states, answers, children = [], [], [], []
    for key in queue:  # grows while it is read
        if isinstance(key, int):
            plan = bounds.plans[key]
            assert isinstance(plan, Built)
            (t, s), answer = bounds.place[key], plan.answer
        else:
            plan, (robot, t, s) = Simple(key[0]), key
            answer = robots[robot, t, s]
        child = np.full((game.num_human_actions, game.mdp.next_state.shape[1]), -1)
        if T is None or t + 1 < T:
            pairs = np.arange(len(answer)), answer
            columns = bounds.columns[s][pairs]  # [A_H, E]
            for a, e in np.argwhere(bounds.possible[s][pairs]):
                if isinstance(plan, Built):
                    ahead = visit_plan(int(plan.ahead[a, e]))
                else:
                    ahead = visit((plan.robot, bounds.after(t), int(table[s, columns[a, e]])))
                child[a, columns[a, e]] = ahead
        steps.append(t)
        states.append(s)
        answers.append(answer)
        children.append(child)
    uniform = np.full((len(queue), game.num_thetas), 1 / game.num_thetas)
    return PolicyGraph(
        state=jnp.asarray(states, jnp.int32),
        step=jnp.asarray(steps, jnp.int32),
        decision=jnp.asarray(np.array(answers), jnp.int32),
        child=jnp.asarray(np.array(children), jnp.int32),
        belief=jnp.asarray(uniform, game.prior.dtype),
        start=jnp.asarray(start, jnp.int32),
        next_state=game.mdp.next_state,
        order=game.order,
    )


def beliefs_at_nodes(game: Game, robot: PolicyGraph, play: np.ndarray, *, sweeps: int) -> np.ndarray:
    """The probability of each θ given the robot's node, by Bayes over every history that leads there, `[N, Θ]`.

    In an endless game histories count by their discounted probability.  A node that no play leads to
    has the belief of the first node that leads to it.

    Args:
        game: the game.
        robot: the policy graph.
        play: π_H at each node, `[N, Θ, A_H]`.
        sweeps: steps followed.
    """
    child, state, decision = (np.asarray(x) for x in (robot.child, robot.state, robot.decision))
    prior, initial = np.asarray(game.prior, float), np.asarray(game.mdp.initial, float)
    gamma = float(game.mdp.discount) if game.mdp.horizon is None else 1.0
    N, AH, _ = child.shape
    chance = np.asarray(game.probability, float)[state[:, None], np.arange(AH), decision]  # [N, AH, D]
    n, a, d = np.nonzero((child >= 0) & (chance > 0))
    flow = gamma * chance[n, a, d][:, None] * np.asarray(play, float)[n, :, a]  # [edges, Θ]
    target = child[n, a, d]
    here = np.zeros((N, len(prior)))
    roots = np.flatnonzero(np.asarray(robot.start) >= 0)
    np.add.at(here, np.asarray(robot.start)[roots], initial[roots, None] * prior)
    total = here.copy()
    for _ in range(sweeps):
        ahead = np.zeros_like(here)
        np.add.at(ahead, target, flow * here[n])
        here = ahead
        total += here
        if here.max() < 1e-12:
            break
    known = total.sum(axis=1) > 0
    total[known] /= total[known].sum(axis=1, keepdims=True)
    for before, after in zip(n, target, strict=True):  # nodes are numbered parents first
        if not known[after]:
            total[after], known[after] = total[before], True
    return total
